//! The five fields of a cron rule: their values, and the reasons of a refusal.
//!
//! This module refuses a rule that `EventBridge` Scheduler cannot express, so that a definition means the same on every
//! host.

use std::collections::BTreeSet;

use jiff::civil;

use super::error::ScheduleError;
use super::fields::{CronDays, CronField, CronFields};

/// A cron rule that has been read.
#[derive(Debug, Clone)]
pub(super) struct Cron {
    pub(super) fields: CronFields,
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
        let minutes = CronField::Minute.numbers(minute)?;
        let hours = CronField::Hour.numbers(hour)?;
        let of_month = CronField::DayOfMonth.days(day)?;
        let months = CronField::Month.numbers(month)?;
        let of_week = CronField::DayOfWeek.days(weekday)?;
        let days = if of_month == CronDays::All { of_week } else { of_month };
        let times = times_of(&hours, &minutes);
        Ok(Self { fields: CronFields { minutes, hours, days, months }, times })
    }
}

fn times_of(hours: &[u8], minutes: &[u8]) -> Vec<civil::Time> {
    let at = |hour: u8, minute: u8| civil::Time::new(i8::try_from(hour).ok()?, i8::try_from(minute).ok()?, 0, 0).ok();
    hours.iter().flat_map(|hour| minutes.iter().filter_map(move |minute| at(*hour, *minute))).collect()
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
    /// The numbers of the field, ascending.
    fn numbers(self, text: &str) -> Result<Vec<u8>, ScheduleError> {
        let items: Vec<&str> = text.split(',').collect();
        let mut numbers = BTreeSet::new();
        for item in &items {
            numbers.extend(self.item(item).map_err(|cause| self.refuse(text, cause))?);
        }
        if items.len() > 1 && items.contains(&"*") {
            return Err(self.refuse(text, "`*` stands alone".to_owned()));
        }
        Ok(numbers.into_iter().collect())
    }

    /// The days that a day field names.
    fn days(self, text: &str) -> Result<CronDays, ScheduleError> {
        if is_any(text) {
            return Ok(CronDays::All);
        }
        if let Some(special) = self.special(text).map_err(|cause| self.refuse(text, cause))? {
            return Ok(special);
        }
        let numbers = self.numbers(text)?;
        if self != Self::DayOfWeek {
            return Ok(CronDays::OfMonth(numbers));
        }
        let weekdays: BTreeSet<u8> = numbers.into_iter().map(|day| day % 7).collect();
        Ok(CronDays::OfWeek(weekdays.into_iter().collect()))
    }

    fn refuse(self, text: &str, cause: String) -> ScheduleError {
        ScheduleError::Field { field: self, value: text.to_owned(), cause }
    }

    /// The forms that must stand alone in their field: `L`, `15W`, `MON#2`, `FRIL`.
    fn special(self, text: &str) -> Result<Option<CronDays>, String> {
        let alone = |text: &str| !text.contains([',', '-', '/', '*']);
        match self {
            Self::DayOfMonth if text == "L" => Ok(Some(CronDays::LastOfMonth)),
            Self::DayOfMonth if text.ends_with('W') && alone(text) => {
                let day = self.number(&text[..text.len() - 1], false)?;
                Ok(Some(CronDays::NearestWeekday(day)))
            }
            Self::DayOfWeek => match (text.split_once('#'), text.strip_suffix('L')) {
                (Some((day, nth)), _) if alone(text) => match digits(nth).filter(|_| nth.len() == 1) {
                    Some(week @ 1..=5) => Ok(Some(CronDays::NthOfWeek(self.number(day, false)? % 7, week))),
                    _ => Err(format!("`{nth}` is not a week: after `#` stands a number from 1 to 5")),
                },
                (Some(_), _) => Err("a weekday with `#` stands alone".to_owned()),
                (None, Some(day)) if alone(text) && !day.is_empty() => {
                    Ok(Some(CronDays::LastOfWeek(self.number(day, false)? % 7)))
                }
                (None, _) => Ok(None),
            },
            Self::Minute | Self::Hour | Self::DayOfMonth | Self::Month => Ok(None),
        }
    }

    /// The numbers of `*`, `5`, `1-5`, `*/15` or `0-30/10`.
    fn item(self, item: &str) -> Result<impl Iterator<Item = u8>, String> {
        let (base, step) = match item.split_once('/') {
            Some((base, step)) => (base, Some(self.step(step)?)),
            None => (item, None),
        };
        let (first, last) = match base.split_once('-') {
            _ if base == "*" => self.range(),
            Some((from, to)) => self.span(from, to)?,
            None if step.is_some() => {
                let (_, last) = self.range();
                return Err(format!("a step follows `*` or a range: write `{base}-{last}{}`", &item[base.len()..]));
            }
            None => self.number(base, false).map(|number| (number, number))?,
        };
        Ok((first..=last).step_by(usize::from(step.unwrap_or(1))))
    }

    fn span(self, from: &str, to: &str) -> Result<(u8, u8), String> {
        let (first, last) = (self.number(from, false)?, self.number(to, true)?);
        if first > last {
            return Err(format!("the range `{from}-{to}` runs backwards: write it as two, with a comma"));
        }
        Ok((first, last))
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
