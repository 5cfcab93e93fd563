//! When a task is due, by `EventBridge` Scheduler's rules.
//!
//! A cron rule names times on the wall clock of its zone. A time that the clock jumps over is skipped; a time that
//! the clock shows twice is due once, the first time, for every pattern. `every` counts elapsed time from the
//! epoch and knows no zone. Source of the daylight-saving rule: AWS, `EventBridge` Scheduler user guide,
//! "Schedule types".

mod cron;
mod error;
mod fields;
pub mod overlap;
mod round;
#[cfg(test)]
mod tests;
mod turns;

use jiff::civil;
use jiff::tz::{AmbiguousOffset, TimeZone, TimeZoneDatabase};

pub use error::ScheduleError;
pub use fields::{CronDays, CronField, CronFields};
pub use round::Round;
pub use turns::{Circumstances, DueRun, TaskInput, TaskRecord, TurnCommand, TurnFact, overlap_of, scheduled_input};

use crate::definition::{Schedule, ScheduleRule};
use crate::limits::{MAX_CATCH_UP_DUE, MAX_SPAN_MS, MIN_EVERY_MS};
use crate::time::{Millis, Timestamp};
use cron::Cron;

/// Days that are searched for the next due time. The rarest rule, the fifth weekday of a February, has to wait for
/// 40 years where a century has no leap day.
const HORIZON_DAYS: u32 = 41 * 366;

/// From here it is searched whether a rule is ever due: 2020-01-01T00:00:00Z.
const CHECK_FROM: Timestamp = Timestamp::from_millis(1_577_836_800_000);

/// Checks a rule and the zone that it is read in. A schedule that passes has a next due time, from any instant of
/// this age.
pub fn check(rule: &ScheduleRule, timezone: &str) -> Result<(), ScheduleError> {
    let due = Due::new(rule, timezone)?;
    due.next_after(CHECK_FROM).map(|_| ()).ok_or(ScheduleError::NeverDue)
}

impl Schedule {
    /// The first due time that is later than `after`. None if there is none within 41 years, or if [`check`] refuses
    /// the schedule.
    pub fn next_after(&self, after: Timestamp) -> Option<Timestamp> {
        Due::new(&self.rule, &self.timezone).ok()?.next_after(after)
    }

    /// The fields of its rule; none if it has no cron rule that can be read.
    pub fn cron_fields(&self) -> Option<CronFields> {
        match &self.rule {
            ScheduleRule::Cron(text) => Some(Cron::parse(text).ok()?.fields),
            ScheduleRule::Every(_) => None,
        }
    }

    /// The first `count` due times that are later than `after`; never more than [`MAX_CATCH_UP_DUE`].
    pub fn upcoming(&self, after: Timestamp, count: usize) -> Vec<Timestamp> {
        let Ok(due) = Due::new(&self.rule, &self.timezone) else { return Vec::new() };
        let times = std::iter::successors(due.next_after(after), |time| due.next_after(*time));
        times.take(count.min(MAX_CATCH_UP_DUE)).collect()
    }

    /// The due times that are later than `after` and not later than `until`: the first `most` of them.
    pub fn due_between(&self, after: Timestamp, until: Timestamp, most: usize) -> Vec<Timestamp> {
        let Ok(due) = Due::new(&self.rule, &self.timezone) else { return Vec::new() };
        let times = std::iter::successors(due.next_after(after), |time| due.next_after(*time));
        times.take_while(|time| *time <= until).take(most).collect()
    }
}

/// A rule that has been read, with its zone.
#[derive(Debug)]
enum Due {
    Cron(Box<Cron>, TimeZone),
    Every(Millis),
}

impl Due {
    fn new(rule: &ScheduleRule, timezone: &str) -> Result<Self, ScheduleError> {
        let zone = zone(timezone)?;
        match rule {
            ScheduleRule::Cron(text) => Ok(Self::Cron(Box::new(Cron::parse(text)?), zone)),
            ScheduleRule::Every(span) if (MIN_EVERY_MS..=MAX_SPAN_MS).contains(&span.0) => Ok(Self::Every(*span)),
            ScheduleRule::Every(span) => Err(ScheduleError::Every(*span)),
        }
    }

    fn next_after(&self, after: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Cron(cron, zone) => next_on_wall_clock(cron, zone, after),
            Self::Every(span) => {
                let span = i64::try_from(span.0).ok()?;
                let periods = after.as_millis().div_euclid(span).checked_add(1)?;
                periods.checked_mul(span).map(Timestamp::from_millis)
            }
        }
    }
}

/// The zone of that very name: `EventBridge` Scheduler minds the case.
fn zone(name: &str) -> Result<TimeZone, ScheduleError> {
    let zones = TimeZoneDatabase::bundled();
    match zones.get(name) {
        Ok(zone) if zone.iana_name() == Some(name) => Ok(zone),
        _ => Err(ScheduleError::UnknownTimezone { name: name.to_owned(), suggestion: nearest_zone(&zones, name) }),
    }
}

fn nearest_zone(zones: &TimeZoneDatabase, name: &str) -> Option<String> {
    let wanted = name.to_lowercase().replace(' ', "_");
    let likeness = |known: &str| {
        let known = known.to_lowercase();
        let city = known.rsplit('/').next().unwrap_or_default();
        strsim::jaro_winkler(&known, &wanted).max(strsim::jaro_winkler(city, &wanted))
    };
    let rated = zones.available().map(|known| (likeness(known.as_str()), known));
    let best = rated.max_by(|a, b| a.0.total_cmp(&b.0))?;
    (best.0 > 0.85).then(|| best.1.as_str().to_owned())
}

/// Walks over the dates of the zone's calendar from the date of `after`. If the clock shows a time twice, only the
/// first counts, so instants grow with the wall clock. The next due time is the first one later than `after`.
fn next_on_wall_clock(cron: &Cron, zone: &TimeZone, after: Timestamp) -> Option<Timestamp> {
    let start = zone.to_datetime(after.to_jiff());
    let mut date = start.date();
    for _ in 0..HORIZON_DAYS {
        if !cron.fields.has_month(date) {
            date = date.last_of_month().tomorrow().ok()?;
            continue;
        }
        if cron.fields.days.contain(date) {
            let walls = cron.times.iter().map(|time| date.to_datetime(*time)).filter(|wall| *wall > start);
            let found = walls.filter_map(|wall| resolve(zone, wall)).find(|instant| *instant > after);
            if found.is_some() {
                return found;
            }
        }
        date = date.tomorrow().ok()?;
    }
    None
}

/// The instant at which the zone's clock shows that time: none in a gap, the first in a fold.
fn resolve(zone: &TimeZone, wall: civil::DateTime) -> Option<Timestamp> {
    let offset = match zone.to_ambiguous_timestamp(wall).offset() {
        AmbiguousOffset::Gap { .. } => return None,
        AmbiguousOffset::Unambiguous { offset } => offset,
        AmbiguousOffset::Fold { before, .. } => before,
    };
    let instant = offset.to_timestamp(wall).ok()?;
    Some(Timestamp::from_millis(instant.as_millisecond()))
}
