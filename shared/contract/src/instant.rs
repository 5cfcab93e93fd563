//! Instants in messages that another service writes: a number of milliseconds, or RFC 3339.

use std::borrow::Cow;
use std::fmt;

use serde::Deserializer;
use serde::de::{Error, Visitor};
use windlass_domain::time::Timestamp;

/// The schema of an instant in either form.
pub(crate) struct Written;

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

pub(crate) fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
    deserializer.deserialize_any(Either)
}

pub(crate) fn read_optional<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
    deserializer.deserialize_any(Either).map(Some)
}

#[cfg(test)]
mod tests {
    use crate::message::{InboxMessage, decode};
    use windlass_domain::time::Timestamp;

    fn check(nominal: &str, expected: Option<i64>) {
        let due = decode(&format!(r#"{{"type":"due","v":1,"task":"t","nominal":{nominal}}}"#)).ok();
        let due = due.map(|message| match message {
            InboxMessage::Due { nominal, .. } => nominal.map(Timestamp::as_millis),
            InboxMessage::Run { .. } | InboxMessage::Sweep { .. } => None,
        });
        assert_eq!(due.flatten(), expected, "{nominal}");
        let sweep = decode(&format!(r#"{{"type":"sweep","v":1,"nominal":{nominal}}}"#));
        assert_eq!(
            sweep.is_ok_and(|sweep: InboxMessage| matches!(sweep, InboxMessage::Sweep { .. })),
            expected.is_some()
        );
    }

    #[test]
    fn instant_is_a_number_or_rfc_3339() {
        check("1774747800000", Some(1_774_747_800_000));
        check("-1", Some(-1));
        check("\"2026-03-29T01:30:00Z\"", Some(1_774_747_800_000));
        check("\"<aws.scheduler.scheduled-time>\"", None);
        check("18446744073709551615", None);
        check("true", None);
    }
}
