//! A task's schedule in the spelling of `EventBridge` Scheduler.
//!
//! Both name the same due times. This module writes out the values of a cron rule's fields, because the two spellings
//! differ. In Scheduler's, weekdays count from 1 (Sunday), and one of the two day fields must be `?`. A step after a
//! range is not documented there. Source: AWS, `EventBridge` Scheduler user guide, "Schedule types".

use windlass_domain::definition::{Schedule, ScheduleRule};
use windlass_domain::schedule::{CronDays, CronField, CronFields};
use windlass_domain::time::{Millis, Timestamp};
use windlass_engine::ports::ScheduleRefusal;

/// `EventBridge` Scheduler does not support the schedule.
const REFUSED: &str = "WL0340";
/// Characters of an expression (`EventBridge` Scheduler API reference, `CreateSchedule`).
const MAX_EXPRESSION_BYTES: usize = 256;
/// The shortest rate, and the unit of every rate.
const MINUTE_MS: u64 = 60_000;
const WEEKDAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];

/// When a schedule fires.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Expression {
    /// `cron(..)` or `rate(..)`.
    pub(super) text: String,
    /// The expression's IANA zone.
    pub(super) timezone: String,
    /// For a rate: the span between its due times, which are the multiples of the span counted from the epoch. A rate
    /// of `EventBridge` Scheduler counts from its start date, which must therefore be one of them.
    pub(super) period: Option<Millis>,
}

impl Expression {
    /// The schedule's expression, or why there is none.
    pub(super) fn of(schedule: &Schedule) -> Result<Self, ScheduleRefusal> {
        match &schedule.rule {
            ScheduleRule::Every(span) => rate(*span),
            ScheduleRule::Cron(rule) => {
                let fields = schedule.cron_fields().ok_or_else(|| unreadable(rule))?;
                let text = cron(&fields);
                if text.len() > MAX_EXPRESSION_BYTES {
                    return Err(too_long(&text));
                }
                Ok(Self { text, timezone: schedule.timezone.clone(), period: None })
            }
        }
    }

    /// Where a rate begins: at its first due time that is later than `now`. AWS: "you use the `StartDate` property to set
    /// the first occurrence of the schedule"; one that is more than five minutes past is refused.
    pub(super) fn start(&self, now: Timestamp) -> Option<Timestamp> {
        let period = i64::try_from(self.period?.0).ok()?;
        let next = now.as_millis().div_euclid(period).checked_add(1)?;
        next.checked_mul(period).map(Timestamp::from_millis)
    }
}

/// The largest unit that fits. A day is 24 hours here as there, and the zone has no say: it is UTC.
fn rate(span: Millis) -> Result<Expression, ScheduleRefusal> {
    if span.0 < MINUTE_MS || !span.0.is_multiple_of(MINUTE_MS) {
        return Err(not_whole_minutes(span));
    }
    let minutes = span.0 / MINUTE_MS;
    let (count, unit) = match minutes {
        days if days.is_multiple_of(24 * 60) => (days / (24 * 60), "day"),
        hours if hours.is_multiple_of(60) => (hours / 60, "hour"),
        minutes => (minutes, "minute"),
    };
    let plural = if count == 1 { "" } else { "s" };
    Ok(Expression { text: format!("rate({count} {unit}{plural})"), timezone: "UTC".to_owned(), period: Some(span) })
}

fn cron(fields: &CronFields) -> String {
    let (days, weekdays) = match &fields.days {
        CronDays::All => ("*".to_owned(), "?".to_owned()),
        CronDays::OfMonth(days) => (set(days, CronField::DayOfMonth), "?".to_owned()),
        CronDays::LastOfMonth => ("L".to_owned(), "?".to_owned()),
        CronDays::NearestWeekday(day) => (format!("{day}W"), "?".to_owned()),
        CronDays::OfWeek(days) => ("?".to_owned(), runs(days, weekday)),
        CronDays::NthOfWeek(day, nth) => ("?".to_owned(), format!("{}#{nth}", day + 1)),
        CronDays::LastOfWeek(day) => ("?".to_owned(), format!("{}L", day + 1)),
    };
    let (minutes, hours) = (set(&fields.minutes, CronField::Minute), set(&fields.hours, CronField::Hour));
    format!("cron({minutes} {hours} {days} {} {weekdays} *)", set(&fields.months, CronField::Month))
}

/// `*`, `5/15`, or numbers and ranges with commas: the shortest that a reader knows at a glance.
fn set(numbers: &[u8], field: CronField) -> String {
    let (first, last) = field.range();
    if numbers.len() == usize::from(last - first) + 1 {
        return "*".to_owned();
    }
    stepped(numbers, last).unwrap_or_else(|| runs(numbers, |number| number.to_string()))
}

/// `first/step`, which goes on to the end of the field's range.
fn stepped(numbers: &[u8], last: u8) -> Option<String> {
    let [first, second, _, ..] = numbers else { return None };
    let step = second - first;
    let even = step > 1 && numbers.windows(2).all(|pair| pair[1] - pair[0] == step);
    let to_the_end = numbers.last()? + step > last;
    (even && to_the_end).then(|| format!("{first}/{step}"))
}

/// Numbers with commas, three and more in a row as a range.
fn runs(numbers: &[u8], name: impl Fn(u8) -> String) -> String {
    let follows = |one: &u8, next: &u8| one + 1 == *next;
    let texts = numbers.chunk_by(follows).flat_map(|run| match run {
        [first, _, .., last] => vec![format!("{}-{}", name(*first), name(*last))],
        few => few.iter().map(|number| name(*number)).collect(),
    });
    texts.collect::<Vec<_>>().join(",")
}

fn weekday(day: u8) -> String {
    WEEKDAYS[usize::from(day) % WEEKDAYS.len()].to_owned()
}

fn not_whole_minutes(span: Millis) -> ScheduleRefusal {
    let minutes = span.0.div_ceil(MINUTE_MS);
    ScheduleRefusal {
        code: REFUSED,
        path: "schedule.every",
        message: format!(
            "`every: {span}` can not be kept on AWS: EventBridge Scheduler counts whole minutes, and fires at most once \
             a minute"
        ),
        help: Some(format!("write `every: {minutes}m`")),
    }
}

fn too_long(text: &str) -> ScheduleRefusal {
    let bytes = text.len();
    ScheduleRefusal {
        code: REFUSED,
        path: "schedule.cron",
        message: format!(
            "the rule has {bytes} characters in EventBridge Scheduler's spelling, and at most {MAX_EXPRESSION_BYTES} \
             can be kept on AWS: `{text}`"
        ),
        help: Some("write two tasks, each with a part of the times".to_owned()),
    }
}

/// Reading a definition already checks its rule, so no caller meets this.
fn unreadable(rule: &str) -> ScheduleRefusal {
    let message = format!("the rule `{rule}` can not be read");
    ScheduleRefusal { code: REFUSED, path: "schedule.cron", message, help: None }
}

#[cfg(test)]
mod tests;
