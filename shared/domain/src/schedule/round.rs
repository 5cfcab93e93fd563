//! The due times that a clock has to fire when it looks at a schedule from time to time. They are all due times since
//! the last look, except those that are too old to catch up.

use crate::definition::Schedule;
use crate::limits::{DUE_GRACE_MS, MAX_CATCH_UP_DUE, MAX_FIRED_TOGETHER};
use crate::time::{Millis, Timestamp};

/// The due times that one look finds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Round {
    /// Due times that are older than the catch-up window: the first [`MAX_CATCH_UP_DUE`] of them.
    pub missed: Vec<Timestamp>,
    /// Due times to fire, the earliest first: at most [`MAX_FIRED_TOGETHER`].
    pub fire: Vec<Timestamp>,
    /// The due time after those; it may have come already if there were too many for one round.
    pub next_due: Option<Timestamp>,
}

impl Schedule {
    /// The due times to fire at `now`, if `next_due` is the first one that has not been fired.
    pub fn round(&self, next_due: Timestamp, now: Timestamp) -> Round {
        let window = self.catch_up.0.max(Millis(DUE_GRACE_MS));
        let oldest = Timestamp::from_millis(now.as_millis().saturating_sub_unsigned(window.0));
        let missed = self.due_between(just_before(next_due), just_before(oldest), MAX_CATCH_UP_DUE);
        let fire = self.due_between(just_before(next_due.max(oldest)), now, MAX_FIRED_TOGETHER);
        let last = fire.last().copied().filter(|_| fire.len() == MAX_FIRED_TOGETHER);
        let next_due = self.next_after(last.unwrap_or(now));
        Round { missed, fire, next_due }
    }
}

fn just_before(time: Timestamp) -> Timestamp {
    Timestamp::from_millis(time.as_millis().saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::definition::{CatchUp, Overlap, ScheduleRule};

    fn at(text: &str) -> Timestamp {
        Timestamp::parse_rfc3339(text).expect("an instant")
    }

    /// Times of 2026-11-21, `HH:MM` in UTC.
    fn check(catch_up: Millis, next_due: &str, now: &str, [missed, fire]: [&[&str]; 2], next: &str) {
        let instant = |time: &str| at(&format!("2026-11-21T{time}:00Z"));
        let schedule = hourly(catch_up);
        let times = |times: &[&str]| times.iter().map(|time| instant(time)).collect::<Vec<_>>();
        let expected = Round { missed: times(missed), fire: times(fire), next_due: Some(instant(next)) };
        assert_eq!(schedule.round(instant(next_due), instant(now)), expected, "{next_due} at {now}");
    }

    fn hourly(catch_up: Millis) -> Schedule {
        let rule = ScheduleRule::Cron("0 * * * *".to_owned());
        Schedule { rule, timezone: "UTC".to_owned(), overlap: Overlap::Skip, catch_up: CatchUp(catch_up) }
    }

    const HOUR: u64 = 3_600_000;

    #[test]
    fn a_look_in_time_fires_one() {
        check(Millis(0), "10:00", "10:00", [&[], &["10:00"]], "11:00");
        check(Millis(HOUR), "10:00", "10:05", [&[], &["10:00"]], "11:00");
    }

    #[test]
    fn an_outage_is_caught_up_within_the_window() {
        check(Millis(3 * HOUR), "10:00", "12:30", [&[], &["10:00", "11:00", "12:00"]], "13:00");
        check(Millis(HOUR), "10:00", "12:30", [&["10:00", "11:00"], &["12:00"]], "13:00");
        check(Millis(HOUR), "10:00", "12:00", [&["10:00"], &["11:00", "12:00"]], "13:00");
        check(Millis(60_000), "10:00", "12:30", [&["10:00", "11:00", "12:00"], &[]], "13:00");
    }

    #[test]
    fn slightly_late_look_fires_without_a_window() {
        let due = at("2026-11-21T10:00:00Z");
        let late = |millis| hourly(Millis(0)).round(due, due.plus(Millis(millis))).fire;
        assert_eq!(late(DUE_GRACE_MS), [due]);
        assert_eq!(late(DUE_GRACE_MS + 1), []);
    }

    #[test]
    fn next_round_goes_on_after_the_bound() {
        let every = ScheduleRule::Every(Millis(1000));
        let schedule = Schedule { rule: every, ..hourly(Millis(HOUR)) };
        let start = at("2026-11-21T10:00:00Z");
        let first = schedule.round(start, start.plus(Millis(1_500_000)));
        assert_eq!((first.fire.len(), first.fire[0]), (MAX_FIRED_TOGETHER, start));
        let next = first.next_due.expect("a next one");
        assert_eq!(next, first.fire[MAX_FIRED_TOGETHER - 1].plus(Millis(1000)));
        let second = schedule.round(next, start.plus(Millis(1_500_000)));
        assert_eq!((second.fire[0], second.missed.len()), (next, 0));
    }
}
