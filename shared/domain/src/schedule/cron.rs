//! The five fields of a cron rule: what may stand in them, and why something may not.
//!
//! What `EventBridge` Scheduler can not express is refused, so that a definition means the same on every host. Croner
//! reads the fields and matches days; it is never asked for instants, because it moves a time in a daylight-saving
//! gap where `EventBridge` Scheduler skips it.

use std::collections::BTreeSet;

use croner::parser::{CronParser, Seconds, Year};
use croner::{CronPattern, Weekday};
use jiff::civil;

use super::error::ScheduleError;
use super::fields::{CronDays, CronField, CronFields};

/// A cron rule that has been read.
#[derive(Debug, Clone)]
pub(super) struct Cron {
    pattern: CronPattern,
    /// The two day fields, with names turned into numbers.
    days: [String; 2],
    /// The times of day, ascending.
    pub(super) times: Vec<civil::Time>,
}

const MONTHS: [&str; 12] = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];
const WEEKDAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];

impl Cron {
    /// Reads five fields, or one of the words `@hourly`, `@daily`, `@weekly`, `@monthly`, `@yearly` (`@annually`).
    pub(super) fn parse(text: &str) -> Result<Self, ScheduleError> {
        let upper = expand_word(text)?;
        let fields: Vec<&str> = upper.split_whitespace().collect();
        let [minute, hour, day, month, weekday] = fields[..] else {
            return Err(ScheduleError::FieldCount(fields.len()));
        };
        if !is_any(day) && !is_any(weekday) {
            return Err(ScheduleError::BothDays { day: day.to_owned(), weekday: weekday.to_owned() });
        }
        let normal = [
            CronField::Minute.normalize(minute)?,
            CronField::Hour.normalize(hour)?,
            CronField::DayOfMonth.normalize(day)?,
            CronField::Month.normalize(month)?,
            CronField::DayOfWeek.normalize(weekday)?,
        ];
        let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
        let read = parser.parse(&normal.join(" ")).map_err(|error| ScheduleError::Rule(error.to_string()))?;
        let [_, _, day, _, weekday] = normal;
        Ok(Self { times: times_of(&read.pattern), pattern: read.pattern, days: [day, weekday] })
    }

    /// The fields as sets.
    pub(super) fn fields(&self) -> CronFields {
        CronFields {
            minutes: numbers(self.pattern.minutes.values()),
            hours: numbers(self.pattern.hours.values()),
            days: self.days(),
            months: numbers(self.pattern.months.values()),
        }
    }

    fn days(&self) -> CronDays {
        let [day, weekday] = self.days.each_ref().map(String::as_str);
        let number = |text: &str| text.parse().unwrap_or(0);
        match (day, day.strip_suffix('W'), weekday, weekday.split_once('#')) {
            ("L", ..) => CronDays::LastOfMonth,
            (_, Some(day), ..) => CronDays::NearestWeekday(number(day)),
            (.., Some((day, "L"))) => CronDays::LastOfWeek(number(day) % 7),
            (.., Some((day, nth))) => CronDays::NthOfWeek(number(day) % 7, number(nth)),
            ("*", _, "*", None) => CronDays::All,
            ("*", _, _, None) => CronDays::OfWeek(weekdays(self.pattern.days_of_week.values())),
            (.., None) => CronDays::OfMonth(numbers(self.pattern.days.values())),
        }
    }

    /// Whether the rule is due in the month of that date.
    pub(super) fn has_month(&self, date: civil::Date) -> bool {
        self.pattern.month_match(unsigned(date.month())).unwrap_or(false)
    }

    /// Whether the rule is due on that date, given that its month fits.
    pub(super) fn has_day(&self, date: civil::Date) -> bool {
        let weekday = Weekday::from_days_from_sunday(unsigned(date.weekday().to_sunday_zero_offset()));
        let (year, month, day) = (i32::from(date.year()), unsigned(date.month()), unsigned(date.day()));
        self.pattern.day_match(year, month, day, weekday).unwrap_or(false)
    }
}

fn numbers(values: Vec<u16>) -> Vec<u8> {
    values.into_iter().filter_map(|number| u8::try_from(number).ok()).collect()
}

/// Sunday is 0 and may be 7 as well.
fn weekdays(values: Vec<u16>) -> Vec<u8> {
    numbers(values).into_iter().map(|day| day % 7).collect::<BTreeSet<_>>().into_iter().collect()
}

fn times_of(pattern: &CronPattern) -> Vec<civil::Time> {
    let minutes = pattern.minutes.values();
    let at = |hour: u16, minute: u16| civil::Time::new(i8::try_from(hour).ok()?, i8::try_from(minute).ok()?, 0, 0).ok();
    let hours = pattern.hours.values().into_iter();
    hours.flat_map(|hour| minutes.iter().filter_map(move |minute| at(hour, *minute))).collect()
}

fn unsigned(number: i8) -> u32 {
    u32::from(number.unsigned_abs())
}

fn is_any(field: &str) -> bool {
    field == "*" || field == "?"
}

fn expand_word(text: &str) -> Result<String, ScheduleError> {
    let upper = text.trim().to_ascii_uppercase();
    if !upper.starts_with('@') {
        return Ok(upper);
    }
    let fields = match upper.as_str() {
        "@HOURLY" => "0 * * * *",
        "@DAILY" => "0 0 * * *",
        "@WEEKLY" => "0 0 * * 0",
        "@MONTHLY" => "0 0 1 * *",
        "@YEARLY" | "@ANNUALLY" => "0 0 1 1 *",
        _ => return Err(ScheduleError::UnknownWord(text.trim().to_owned())),
    };
    Ok(fields.to_owned())
}

impl CronField {
    /// The field with its names turned into numbers.
    fn normalize(self, text: &str) -> Result<String, ScheduleError> {
        let refuse = |cause| ScheduleError::Field { field: self, value: text.to_owned(), cause };
        if text == "?" && matches!(self, Self::DayOfMonth | Self::DayOfWeek) {
            return Ok("*".to_owned());
        }
        if let Some(special) = self.special(text).map_err(refuse)? {
            return Ok(special);
        }
        let items: Result<Vec<_>, _> = text.split(',').map(|item| self.item(item)).collect();
        let items = items.map_err(refuse)?;
        if items.len() > 1 && items.iter().any(|item| item == "*") {
            return Err(refuse("`*` stands alone".to_owned()));
        }
        Ok(items.join(","))
    }

    /// What must stand alone in its field: `L`, `15W`, `MON#2`, `FRIL`.
    fn special(self, text: &str) -> Result<Option<String>, String> {
        let alone = |text: &str| !text.contains([',', '-', '/', '*']);
        match self {
            Self::DayOfMonth if text == "L" => Ok(Some(text.to_owned())),
            Self::DayOfMonth if text.ends_with('W') && alone(text) => {
                let day = self.number(&text[..text.len() - 1], false)?;
                Ok(Some(format!("{day}W")))
            }
            Self::DayOfWeek => match (text.split_once('#'), text.strip_suffix('L')) {
                (Some((day, nth)), _) if alone(text) => match nth {
                    "1" | "2" | "3" | "4" | "5" => Ok(Some(format!("{}#{nth}", self.number(day, false)?))),
                    _ => Err(format!("`{nth}` is not a week: after `#` stands a number from 1 to 5")),
                },
                (Some(_), _) => Err("a weekday with `#` stands alone".to_owned()),
                (None, Some(day)) if alone(text) && !day.is_empty() => {
                    Ok(Some(format!("{}#L", self.number(day, false)?)))
                }
                (None, _) => Ok(None),
            },
            Self::Minute | Self::Hour | Self::DayOfMonth | Self::Month => Ok(None),
        }
    }

    /// `*`, `5`, `1-5`, `*/15` or `0-30/10`.
    fn item(self, item: &str) -> Result<String, String> {
        let (base, step) = match item.split_once('/') {
            Some((base, step)) => (base, Some(self.step(step)?)),
            None => (item, None),
        };
        let base = match base.split_once('-') {
            _ if base == "*" => base.to_owned(),
            Some((from, to)) => self.span(from, to)?,
            None if step.is_some() => {
                let (_, last) = self.range();
                return Err(format!("a step follows `*` or a range: write `{base}-{last}{}`", &item[base.len()..]));
            }
            None => self.number(base, false)?.to_string(),
        };
        Ok(step.map_or(base.clone(), |step| format!("{base}/{step}")))
    }

    fn span(self, from: &str, to: &str) -> Result<String, String> {
        let (first, last) = (self.number(from, false)?, self.number(to, true)?);
        if first > last {
            return Err(format!("the range `{from}-{to}` runs backwards: write it as two, with a comma"));
        }
        Ok(format!("{first}-{last}"))
    }

    fn step(self, text: &str) -> Result<u8, String> {
        let (_, most) = self.range();
        let step = digits(text).filter(|step| (1..=most).contains(step));
        step.ok_or_else(|| format!("the step `{text}` is not a number from 1 to {most}"))
    }

    /// A number or a name; Sunday is 7 at the end of a range, else 0.
    fn number(self, text: &str, ends_range: bool) -> Result<u8, String> {
        let (first, last) = self.range();
        let named = |names: &[&str], from: usize| {
            let at = names.iter().position(|name| *name == text)?;
            u8::try_from(at + from).ok()
        };
        let number = match self {
            Self::Month => named(&MONTHS, 1),
            Self::DayOfWeek => named(&WEEKDAYS, 0).map(|day| if day == 0 && ends_range { 7 } else { day }),
            Self::Minute | Self::Hour | Self::DayOfMonth => None,
        };
        let number = number.or_else(|| digits(text)).filter(|number| (first..=last).contains(number));
        number.ok_or_else(|| {
            let or_names = match self {
                Self::Month => " or JAN to DEC",
                Self::DayOfWeek => " (0 and 7 are Sunday) or SUN to SAT",
                Self::Minute | Self::Hour | Self::DayOfMonth => "",
            };
            format!("`{text}` is not a number from {first} to {last}{or_names}")
        })
    }
}

fn digits(text: &str) -> Option<u8> {
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| text.parse().ok()).flatten()
}
