//! Spans of time and retry policies, as they are written in a definition.

use serde_json::Value;

use super::code;
use super::fault::{At, Report};
use super::path::Path;
use crate::limits::{MAX_ATTEMPTS, MAX_SPAN_MS};
use crate::retry::{Attempts, Jitter, RetryPolicy};
use crate::time::Millis;

/// Whether a span may be zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Zero {
    /// `0s` means "at once" or "not at all".
    Allowed,
    /// `0s` would mean that nothing ever happens.
    Refused,
}

/// The span under a key of a mapping, if it is there and sound.
pub(super) fn read(map: &Value, key: &str, zero: Zero, path: &Path<'_>, report: &mut Report<'_>) -> Option<Millis> {
    let text = map.get(key)?.as_str()?;
    let path = path.key(key);
    let Some(span) = Millis::parse(text) else {
        // The schema has refused what has not the form of a span. What has it has too large a number.
        if has_form(text) {
            too_long(key, text, &path, report);
        }
        return None;
    };
    if span.0 == 0 && zero == Zero::Refused {
        report.add(code::SPAN, &path, At::Value, format!("`{key}` must be longer than zero"));
        return None;
    }
    if span.0 > MAX_SPAN_MS {
        too_long(key, text, &path, report);
        return None;
    }
    Some(span)
}

/// Whether a text is numbers with a unit each, as `1h30m`.
fn has_form(text: &str) -> bool {
    let mut rest = text;
    while !rest.is_empty() {
        let number = rest.trim_start_matches(|c: char| c.is_ascii_digit());
        let unit = ["ms", "s", "m", "h", "d"].iter().find_map(|unit| number.strip_prefix(unit));
        match unit {
            Some(after) if number.len() < rest.len() => rest = after,
            Some(_) | None => return false,
        }
    }
    !text.is_empty()
}

fn too_long(key: &str, text: &str, path: &Path<'_>, report: &mut Report<'_>) {
    let message = format!("`{key}` must be at most {}, not {text}", Millis(MAX_SPAN_MS));
    report.add(code::SPAN, path, At::Value, message);
}

/// The retry policy under a key of a mapping: a number of attempts, `forever`, or a mapping.
pub(super) fn read_retry(map: &Value, path: &Path<'_>, report: &mut Report<'_>) -> Option<RetryPolicy> {
    let retry = map.get("retry")?;
    let path = path.key("retry");
    if !retry.is_object() {
        return Some(RetryPolicy { attempts: attempts(retry)?, ..RetryPolicy::default() });
    }
    let default = RetryPolicy::default();
    let delay = read(retry, "delay", Zero::Allowed, &path, report).unwrap_or(default.delay);
    let max_delay = match read(retry, "max_delay", Zero::Allowed, &path, report) {
        Some(most) if most < delay => {
            let message = format!("`max_delay` ({most}) must not be shorter than `delay` ({delay})");
            report.add(code::RETRY, &path.key("max_delay"), At::Value, message);
            most
        }
        Some(most) => most,
        // If an author names only a long delay, that is the longest delay too.
        None => default.max_delay.max(delay),
    };
    let never = retry.get("never").and_then(Value::as_array).into_iter().flatten();
    Some(RetryPolicy {
        attempts: retry.get("attempts").and_then(attempts).unwrap_or(default.attempts),
        delay,
        factor: retry.get("factor").and_then(Value::as_f64).unwrap_or(default.factor),
        max_delay,
        jitter: retry.get("jitter").and_then(jitter).unwrap_or(default.jitter),
        max_age: read(retry, "max_age", Zero::Refused, &path, report),
        never: never.filter_map(Value::as_str).map(str::to_owned).collect(),
    })
}

fn attempts(value: &Value) -> Option<Attempts> {
    match value {
        Value::String(text) if text == "forever" => Some(Attempts::Forever),
        // JSON Schema counts 5.0 as a whole number.
        Value::Number(_) => {
            let number = value.as_f64().filter(|number| (1.0..=f64::from(MAX_ATTEMPTS)).contains(number))?;
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "1 to MAX_ATTEMPTS")]
            let number = number as u32;
            Some(Attempts::Limited(number))
        }
        Value::Null | Value::Bool(_) | Value::String(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

fn jitter(value: &Value) -> Option<Jitter> {
    serde_json::from_value(value.clone()).ok()
}
