//! The clocks of this machine.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};
use windlass_domain::time::Timestamp;
use windlass_engine::ports::Clock;

/// The clock of this machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.wall_micros().div_euclid(1000))
    }

    fn elapsed(&self) -> Duration {
        clock_gettime(ClockId::Boottime).try_into().unwrap_or_default()
    }
}

/// The clocks of a machine. A test has a machine of its own.
pub(crate) trait Machine: Send + Sync {
    /// A name of the instant from which this process counts `elapsed_micros`. Equal names are one instant.
    fn boot(&self) -> String;

    /// Microseconds since that instant. They go on while the machine sleeps, and nothing steps them.
    fn elapsed_micros(&self) -> i64;

    /// The wall clock, in microseconds since the epoch; 0 if it stands before the epoch.
    fn wall_micros(&self) -> i64;
}

impl Machine for SystemClock {
    /// The kernel draws a new id at each boot. A container may have a time namespace, which counts from another instant.
    fn boot(&self) -> String {
        let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let namespace = std::fs::read_link("/proc/self/ns/time").unwrap_or_default();
        format!("{} {}", id.trim(), namespace.display())
    }

    fn elapsed_micros(&self) -> i64 {
        i64::try_from(self.elapsed().as_micros()).unwrap_or(i64::MAX)
    }

    fn wall_micros(&self) -> i64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
    }
}
