//! Instants in messages that another service writes: a number of milliseconds, or RFC 3339.

use std::borrow::Cow;
use std::fmt;

use serde::Deserializer;
use serde::de::{Error, Visitor};

use crate::time::Timestamp;

/// The schema of an instant in either form.
#[derive(Debug)]
pub struct Written;

impl schemars::JsonSchema for Written {
    fn schema_name() -> Cow<'static, str> {
        "Instant".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "oneOf": [{ "type": "integer" }, { "type": "string", "format": "date-time" }],
            "description": "Milliseconds since 1970-01-01T00:00:00Z, or RFC 3339.",
        })
    }
}

struct Either;

impl Visitor<'_> for Either {
    type Value = Timestamp;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("milliseconds since the epoch, or RFC 3339")
    }

    fn visit_i64<E: Error>(self, millis: i64) -> Result<Timestamp, E> {
        Ok(Timestamp::from_millis(millis))
    }

    fn visit_u64<E: Error>(self, millis: u64) -> Result<Timestamp, E> {
        i64::try_from(millis).map(Timestamp::from_millis).map_err(|_| E::custom("the instant is out of range"))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Timestamp, E> {
        Timestamp::parse_rfc3339(text).ok_or_else(|| E::custom("the instant is not RFC 3339"))
    }
}

/// Reads an instant in either form.
pub fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
    deserializer.deserialize_any(Either)
}
