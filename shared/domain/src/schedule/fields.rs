//! The fields of a cron rule: their names, and their values as sets. A host that writes the rule in another spelling
//! needs them.

use std::fmt;

use jiff::ToSpan;
use jiff::civil::{Date, Weekday};

/// A field of a cron rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CronField {
    /// 0 to 59.
    Minute,
    /// 0 to 23.
    Hour,
    /// 1 to 31, `L`, `15W`.
    DayOfMonth,
    /// 1 to 12 or `JAN` to `DEC`.
    Month,
    /// 0 to 7 (0 and 7 are Sunday) or `SUN` to `SAT`, `MON#2`, `FRIL`.
    DayOfWeek,
}

impl CronField {
    /// The lowest and the highest number of the field.
    pub const fn range(self) -> (u8, u8) {
        match self {
            Self::Minute => (0, 59),
            Self::Hour => (0, 23),
            Self::DayOfMonth => (1, 31),
            Self::Month => (1, 12),
            Self::DayOfWeek => (0, 7),
        }
    }
}

impl fmt::Display for CronField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Minute => "minute",
            Self::Hour => "hour",
            Self::DayOfMonth => "day of month",
            Self::Month => "month",
            Self::DayOfWeek => "day of week",
        })
    }
}

/// The fields of a cron rule. A set is ascending and never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CronFields {
    /// 0 to 59.
    pub minutes: Vec<u8>,
    /// 0 to 23.
    pub hours: Vec<u8>,
    /// The days.
    pub days: CronDays,
    /// 1 to 12.
    pub months: Vec<u8>,
}

/// The days of a cron rule: of the month or of the week, never of both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CronDays {
    /// Every day.
    All,
    /// Days of the month, 1 to 31.
    OfMonth(Vec<u8>),
    /// The last day of the month.
    LastOfMonth,
    /// The weekday (Monday to Friday) of the month that is nearest to that day.
    NearestWeekday(u8),
    /// Days of the week, 0 (Sunday) to 6.
    OfWeek(Vec<u8>),
    /// That day of the week, 0 (Sunday) to 6, for the nth time in the month, 1 to 5.
    NthOfWeek(u8, u8),
    /// That day of the week, 0 (Sunday) to 6, for the last time in the month.
    LastOfWeek(u8),
}

impl CronFields {
    /// Whether the rule is due in the month of that date.
    pub(super) fn has_month(&self, date: Date) -> bool {
        self.months.contains(&date.month().unsigned_abs())
    }
}

impl CronDays {
    /// Whether the rule is due on that date, given that its month fits.
    pub(super) fn contain(&self, date: Date) -> bool {
        let (day, weekday) = (date.day().unsigned_abs(), date.weekday().to_sunday_zero_offset().unsigned_abs());
        match self {
            Self::All => true,
            Self::OfMonth(days) => days.contains(&day),
            Self::LastOfMonth => date == date.last_of_month(),
            Self::NearestWeekday(wanted) => nearest_weekday(date, *wanted) == Some(date),
            Self::OfWeek(days) => days.contains(&weekday),
            Self::NthOfWeek(of, nth) => weekday == *of && (day - 1) / 7 + 1 == *nth,
            Self::LastOfWeek(of) => weekday == *of && day + 7 > date.days_in_month().unsigned_abs(),
        }
    }
}

/// The weekday (Monday to Friday) of that month that is nearest to the day; none if the month has no such day.
fn nearest_weekday(month: Date, day: u8) -> Option<Date> {
    let date = month.with().day(i8::try_from(day).ok()?).build().ok()?;
    let by = match date.weekday() {
        Weekday::Saturday if date.day() == 1 => 2,
        Weekday::Saturday => -1,
        Weekday::Sunday if date == date.last_of_month() => -2,
        Weekday::Sunday => 1,
        Weekday::Monday | Weekday::Tuesday | Weekday::Wednesday | Weekday::Thursday | Weekday::Friday => 0,
    };
    date.checked_add(by.days()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::definition::{CatchUp, Overlap, Schedule, ScheduleRule};
    use crate::time::Millis;

    fn fields(rule: ScheduleRule) -> Option<CronFields> {
        let (overlap, catch_up) = (Overlap::default(), CatchUp::default());
        Schedule { rule, timezone: "UTC".to_owned(), overlap, catch_up }.cron_fields()
    }

    fn check(cron: &str, days: &CronDays) {
        let found = fields(ScheduleRule::Cron(cron.to_owned())).expect("a rule");
        assert_eq!(found.days, *days, "{cron}");
    }

    #[test]
    fn fields_are_sets() {
        let found = fields(ScheduleRule::Cron("*/20 9-17/4 * feb,MAR *".to_owned())).expect("a rule");
        assert_eq!(found.minutes, [0, 20, 40]);
        assert_eq!(found.hours, [9, 13, 17]);
        assert_eq!(found.months, [2, 3]);
        assert_eq!(fields(ScheduleRule::Every(Millis::from_secs(60))), None);
        assert_eq!(fields(ScheduleRule::Cron("nonsense".to_owned())), None);
    }

    #[test]
    fn day_fields_become_days() {
        check("0 0 * * *", &CronDays::All);
        check("0 0 ? * *", &CronDays::All);
        check("@daily", &CronDays::All);
        check("@weekly", &CronDays::OfWeek(vec![0]));
        check("@monthly", &CronDays::OfMonth(vec![1]));
        check("0 0 */10 * ?", &CronDays::OfMonth(vec![1, 11, 21, 31]));
        check("0 0 L * *", &CronDays::LastOfMonth);
        check("0 0 15W * *", &CronDays::NearestWeekday(15));
        check("0 0 * * FRI-SUN", &CronDays::OfWeek(vec![0, 5, 6]));
        check("0 0 * * 0,7,1", &CronDays::OfWeek(vec![0, 1]));
        check("0 0 * * */2", &CronDays::OfWeek(vec![0, 2, 4, 6]));
        check("0 0 * * 7#2", &CronDays::NthOfWeek(0, 2));
        check("0 0 * * MON#5", &CronDays::NthOfWeek(1, 5));
        check("0 0 * * FRIL", &CronDays::LastOfWeek(5));
        check("0 0 * * 7L", &CronDays::LastOfWeek(0));
    }
}
