//! The functions of expressions beside those of CEL: texts, encodings, dates. Each gives the same value on every host, and
//! none makes more than an output may have.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use cel::common::types::{CelList, CelString};
use cel::common::value::{CowVal, Val};
use cel::{Context, ExecutionError, FunctionContext};
use jiff::civil::Date;
use jiff::fmt::strtime;
use jiff::tz::TimeZoneDatabase;
use jiff::{Span, Timestamp as Instant};
use serde_json::Value;

use super::budget::{Budget, Function};
use super::convert::{as_text, to_json};
use crate::limits::MAX_OUTPUT_BYTES;
use crate::time::{Millis, Timestamp};

/// Bytes of a format of dates.
const MAX_FORMAT_BYTES: usize = 100;
/// Bytes that are made in the time of one step.
const BYTES_A_STEP: usize = 16;

/// What a function makes.
#[derive(Debug, PartialEq)]
enum Made {
    Text(String),
    List(Vec<String>),
}

type Making = Result<Made, String>;

/// A function of expressions: its name, and what it makes of its arguments. The first one may stand before its name.
struct Named {
    name: &'static str,
    /// The steps of an evaluation that a call takes, beside those for what it makes.
    steps: u64,
    make: fn(&[Value]) -> Making,
}

const FUNCTIONS: [Named; 12] = [
    Named { name: "addDays", steps: 4, make: add_days },
    Named { name: "base64Decode", steps: 4, make: base64_decode },
    Named { name: "base64Encode", steps: 4, make: |given| text(given).map(|text| Made::Text(STANDARD.encode(text))) },
    // It reads the rules of the zone.
    Named { name: "formatTime", steps: 400, make: format_time },
    Named { name: "join", steps: 4, make: join },
    Named { name: "lower", steps: 4, make: |given| text(given).map(|text| Made::Text(text.to_lowercase())) },
    Named { name: "replace", steps: 4, make: replace },
    Named { name: "shift", steps: 4, make: shift },
    Named { name: "split", steps: 4, make: split },
    Named { name: "trim", steps: 4, make: |given| text(given).map(|text| Made::Text(text.trim().to_owned())) },
    Named { name: "upper", steps: 4, make: |given| text(given).map(|text| Made::Text(text.to_uppercase())) },
    Named { name: "urlEncode", steps: 4, make: |given| text(given).map(|text| Made::Text(url_encode(text))) },
];

/// Their names.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    FUNCTIONS.iter().map(|function| function.name)
}

/// Adds those that the text of an expression may call to its context.
pub(super) fn install(
    source: &str,
    budget: &Budget,
    context: &mut Context<'_, '_>,
) -> Result<(), cel::DeclarationError> {
    for Named { name, steps, make } in FUNCTIONS.into_iter().filter(|function| source.contains(function.name)) {
        let budget = budget.share();
        let function: Function = Box::new(move |call| {
            budget.charge(steps)?;
            let made = given(call).and_then(|given| make(&given)).and_then(bounded);
            let made = made.map_err(|fault| ExecutionError::function_error(name, fault))?;
            budget.charge(cost(&made))?;
            Ok(value_of(made))
        });
        context.add_function(name, function)?;
    }
    Ok(())
}

fn given(call: &FunctionContext<'_, '_>) -> Result<Vec<Value>, String> {
    // Both `text.lower()` and `lower(text)`.
    call.this.iter().chain(&call.args).map(|value| to_json(value.as_ref()).map_err(|error| error.message)).collect()
}

fn bounded(made: Made) -> Making {
    let bytes = match &made {
        Made::Text(text) => text.len(),
        Made::List(items) => items.iter().map(|item| item.len() + 1).sum(),
    };
    if bytes > MAX_OUTPUT_BYTES { Err(too_long()) } else { Ok(made) }
}

fn too_long() -> String {
    format!("it would make more than {MAX_OUTPUT_BYTES} bytes")
}

fn cost(made: &Made) -> u64 {
    let of_text = |text: &String| (1 + text.len() / BYTES_A_STEP) as u64;
    match made {
        Made::Text(text) => of_text(text),
        Made::List(items) => 1 + items.iter().map(of_text).sum::<u64>(),
    }
}

fn value_of<'c, 'v>(made: Made) -> CowVal<'c, 'v> {
    match made {
        Made::Text(text) => CowVal::owned(CelString::from(text)),
        Made::List(items) => {
            let items = items.into_iter().map(|item| Box::new(CelString::from(item)) as Box<dyn Val + 'v>);
            CowVal::owned(CelList::from(items.collect::<Vec<_>>()))
        }
    }
}

fn text(given: &[Value]) -> Result<&str, String> {
    match given {
        [Value::String(text)] => Ok(text),
        _ => Err("it takes one text".to_owned()),
    }
}

/// Every byte but the unreserved characters of RFC 3986, 2.3: the text is safe in any part of a URL.
fn url_encode(text: &str) -> String {
    text.bytes().fold(String::with_capacity(text.len()), |mut encoded, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            // Writing to a text does not fail.
            let _written = write!(encoded, "%{byte:02X}");
        }
        encoded
    })
}

fn base64_decode(given: &[Value]) -> Making {
    let text = text(given)?;
    let bytes = STANDARD_NO_PAD.decode(text.trim_end_matches('=')).map_err(|_| "the text is not Base64".to_owned())?;
    String::from_utf8(bytes).map(Made::Text).map_err(|_| "the bytes are not a text in UTF-8".to_owned())
}

fn join(given: &[Value]) -> Making {
    let (items, separator) = match given {
        [Value::Array(items)] => (items, ""),
        [Value::Array(items), Value::String(separator)] => (items, separator.as_str()),
        _ => return Err("it takes a list, and a text to put between".to_owned()),
    };
    if separator.len().saturating_mul(items.len()) > MAX_OUTPUT_BYTES {
        return Err(too_long());
    }
    Ok(Made::Text(items.iter().map(as_text).collect::<Vec<_>>().join(separator)))
}

fn split(given: &[Value]) -> Making {
    match given {
        [Value::String(_), Value::String(separator)] if separator.is_empty() => Err(EMPTY.to_owned()),
        [Value::String(text), Value::String(separator)] => {
            Ok(Made::List(text.split(separator.as_str()).map(str::to_owned).collect()))
        }
        _ => Err("it takes a text, and the text that stands between its parts".to_owned()),
    }
}

const EMPTY: &str = "an empty text stands everywhere";

fn replace(given: &[Value]) -> Making {
    match given {
        [Value::String(_), Value::String(from), Value::String(_)] if from.is_empty() => Err(EMPTY.to_owned()),
        [Value::String(text), Value::String(from), Value::String(to)] => {
            let found = text.matches(from.as_str()).count();
            if text.len().saturating_add(found.saturating_mul(to.len())) > 2 * MAX_OUTPUT_BYTES {
                return Err(too_long());
            }
            Ok(Made::Text(text.replace(from.as_str(), to)))
        }
        _ => Err("it takes a text, the text to look for, and the text to put in its place".to_owned()),
    }
}

fn instant(text: &str) -> Result<Instant, String> {
    text.parse().map_err(|_| "the first text is not a time such as `2026-03-29T01:30:00Z`".to_owned())
}

/// A time, so much later or earlier, as `run` shows times.
fn shift(given: &[Value]) -> Making {
    let [Value::String(time), Value::String(span)] = given else {
        return Err("it takes a time and a span, such as `2h` or `-1d`".to_owned());
    };
    let from = instant(time)?.as_millisecond();
    let (back, length) = span.strip_prefix('-').map_or((false, span.as_str()), |length| (true, length));
    let Some(Millis(millis)) = Millis::parse(length) else {
        return Err("the second text is not a span such as `2h` or `-1d`".to_owned());
    };
    let moved = if back { from.checked_sub_unsigned(millis) } else { from.checked_add_unsigned(millis) };
    let moved = moved.filter(|millis| Instant::from_millisecond(*millis).is_ok());
    let moved = moved.ok_or_else(|| "the time is too far away".to_owned())?;
    Ok(Made::Text(Timestamp::from_millis(moved).to_string()))
}

/// A date, so many days of the calendar later or earlier.
fn add_days(given: &[Value]) -> Making {
    let [Value::String(date), Value::Number(days)] = given else {
        return Err("it takes a date such as `2026-03-29`, and a whole number of days".to_owned());
    };
    let date: Date = date.parse().map_err(|_| "the text is not a date such as `2026-03-29`".to_owned())?;
    let days = days.as_i64().and_then(|days| Span::new().try_days(days).ok());
    let moved = days.and_then(|days| date.checked_add(days).ok());
    moved.map(|date| Made::Text(date.to_string())).ok_or_else(|| "the date is too far away".to_owned())
}

fn format_time(given: &[Value]) -> Making {
    let (time, format, zone) = match given {
        [Value::String(time), Value::String(format)] => (time, format, "UTC"),
        [Value::String(time), Value::String(format), Value::String(zone)] => (time, format, zone.as_str()),
        _ => return Err("it takes a time, a format such as `%Y-%m-%d`, and the name of a time zone".to_owned()),
    };
    if format.len() > MAX_FORMAT_BYTES {
        return Err(format!("the format has more than {MAX_FORMAT_BYTES} bytes"));
    }
    let zone = TimeZoneDatabase::bundled().get(zone).map_err(|_| "there is no such time zone".to_owned())?;
    let zoned = instant(time)?.to_zoned_datetime(zone);
    let shown = strtime::format(format, &zoned).map_err(|error| format!("the format is wrong: {error}"))?;
    Ok(Made::Text(shown))
}
