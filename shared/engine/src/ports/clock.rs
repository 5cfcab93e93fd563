//! The clock.

use std::time::Duration;

use windlass_domain::time::Timestamp;

/// How often both clocks are read until nothing has come between. Milliseconds between them do little harm.
const MAX_READS: usize = 10;

/// What time it is, and how much time has passed. Sleeping is tokio's, whose clock a test can pause.
pub trait Clock: Send + Sync {
    /// The wall clock of this host. A person or NTP may set it, also back.
    fn now(&self) -> Timestamp;

    /// The time of a host on one machine that nothing steps: it began as the wall clock showed, counts elapsed time, also
    /// over restarts, and every process on the host's store reads it alike. Each run counts its time by it
    /// ([`windlass_domain::run::Run::time`]). None: the host has only wall clocks, which many machines keep together.
    fn steady(&self) -> Option<Timestamp> {
        None
    }

    /// The wall clock and the steady clock at one instant. A run keeps the difference of the two, so a process that is held
    /// up between them reads them again.
    fn both(&self) -> (Timestamp, Option<Timestamp>) {
        let mut before = self.steady();
        for _ in 0..MAX_READS {
            let (wall, after) = (self.now(), self.steady());
            let apart = before.zip(after).map_or(0, |(before, after)| after.since(before).0);
            if apart <= 1 {
                return (wall, after);
            }
            before = after;
        }
        (self.now(), self.steady())
    }

    /// What stamps what is held for some time: the steady clock, or the wall clock of a host that has no other.
    fn stamp(&self) -> Timestamp {
        self.steady().unwrap_or_else(|| self.now())
    }

    /// The time since some fixed instant: it goes on while the machine sleeps, and no step of the wall clock moves it
    /// (Linux: `CLOCK_BOOTTIME`). Rights that run out are measured by it.
    fn elapsed(&self) -> Duration;
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicI64, Ordering};

    use super::*;

    /// A process that is held up for 100 ms at its second read. Its wall clock is 7 ms ahead.
    struct HeldUp(AtomicI64);

    impl HeldUp {
        fn read(&self) -> Timestamp {
            let reads = self.0.fetch_add(1, Ordering::Relaxed);
            Timestamp::from_millis(if reads < 2 { 1000 } else { 1100 })
        }
    }

    impl Clock for HeldUp {
        fn now(&self) -> Timestamp {
            Timestamp::from_millis(self.read().as_millis() + 7)
        }

        fn steady(&self) -> Option<Timestamp> {
            Some(self.read())
        }

        fn elapsed(&self) -> Duration {
            Duration::ZERO
        }
    }

    #[test]
    fn both_clocks_are_read_at_one_instant() {
        let (wall, steady) = HeldUp(AtomicI64::new(0)).both();
        assert_eq!(Some(wall), steady.map(|steady| steady.plus(windlass_domain::time::Millis(7))));
    }
}
