//! Instants and spans, in milliseconds, as values that are passed in.

use std::fmt;

use serde::{Deserialize, Serialize};

/// An instant: milliseconds since 1970-01-01T00:00:00Z. Stored as that number, shown as RFC 3339.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default)]
#[serde(transparent)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The instant that many milliseconds after the epoch.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the epoch.
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// This instant and a span later; stops at the end of time instead of wrapping.
    #[must_use]
    pub const fn plus(self, span: Millis) -> Self {
        Self(self.0.saturating_add_unsigned(span.0))
    }

    /// This instant, that much earlier.
    #[must_use]
    pub const fn minus(self, span: Millis) -> Self {
        Self(self.0.saturating_sub_unsigned(span.0))
    }

    /// The span from `earlier` to this instant; zero if `earlier` is later.
    pub const fn since(self, earlier: Self) -> Millis {
        let span = self.0.saturating_sub(earlier.0);
        Millis(if span < 0 { 0 } else { span.unsigned_abs() })
    }

    /// Reads RFC 3339, such as `2026-03-29T01:30:00Z`; anything below a millisecond is cut off.
    pub fn parse_rfc3339(text: &str) -> Option<Self> {
        let instant: jiff::Timestamp = text.parse().ok()?;
        Some(Self(instant.as_millisecond()))
    }

    /// This instant for calendar arithmetic; outside years -9999 to 9999 it is pinned to that range.
    pub fn to_jiff(self) -> jiff::Timestamp {
        jiff::Timestamp::from_millisecond(self.0).unwrap_or(if self.0 < 0 {
            jiff::Timestamp::MIN
        } else {
            jiff::Timestamp::MAX
        })
    }
}

impl schemars::JsonSchema for Timestamp {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Timestamp".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "integer",
            "description": "Milliseconds since 1970-01-01T00:00:00Z.",
        })
    }
}

impl fmt::Display for Timestamp {
    /// RFC 3339 in UTC with milliseconds: `2026-03-29T01:30:00.000Z`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3}", self.to_jiff())
    }
}

/// A span of time in milliseconds. In definitions it is written `500ms`, `20s`, `10m`, `2h`, `1d` or a sum, `1h30m`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default)]
#[serde(transparent)]
pub struct Millis(pub u64);

impl Millis {
    /// That many seconds.
    pub const fn from_secs(secs: u64) -> Self {
        Self(secs.saturating_mul(1000))
    }

    /// The span as a `Duration`.
    pub const fn as_duration(self) -> core::time::Duration {
        core::time::Duration::from_millis(self.0)
    }

    /// Reads `500ms`, `20s`, `10m`, `2h`, `1d` or a sum such as `1h30m`. The unit is never optional.
    pub fn parse(text: &str) -> Option<Self> {
        let mut rest = text;
        let mut total: u64 = 0;
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit())?;
            let number: u64 = rest[..digits].parse().ok()?;
            rest = &rest[digits..];
            let unit_end = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
            let unit: u64 = match &rest[..unit_end] {
                "ms" => 1,
                "s" => 1000,
                "m" => 60_000,
                "h" => 3_600_000,
                "d" => 86_400_000,
                _ => return None,
            };
            rest = &rest[unit_end..];
            total = total.checked_add(number.checked_mul(unit)?)?;
        }
        (!text.is_empty()).then_some(Self(total))
    }
}

impl schemars::JsonSchema for Millis {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Millis".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "integer", "minimum": 0, "description": "Milliseconds." })
    }
}

impl fmt::Display for Millis {
    /// The shortest sum of units that reads back: `1h30m`, `500ms`, `0ms`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0;
        if rest == 0 {
            return f.write_str("0ms");
        }
        for (unit, millis) in [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)] {
            if rest >= millis {
                write!(f, "{}{unit}", rest / millis)?;
                rest %= millis;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(text: &str, millis: Option<u64>) {
        assert_eq!(Millis::parse(text).map(|m| m.0), millis, "{text}");
    }

    #[test]
    fn spans_are_read() {
        check("500ms", Some(500));
        check("20s", Some(20_000));
        check("1h30m", Some(5_400_000));
        check("1d", Some(86_400_000));
        check("10", None);
        check("", None);
        check("-1s", None);
        check("1.5s", None);
        check("s", None);
        check("99999999999999999999d", None);
    }

    #[test]
    fn instants_are_shown_in_rfc_3339() {
        let at = Timestamp::parse_rfc3339("2026-03-29T01:30:00.5Z").expect("valid");
        assert_eq!(at.to_string(), "2026-03-29T01:30:00.500Z");
    }

    proptest! {
        #[test]
        fn a_span_reads_back(millis in 0u64..1 << 50) {
            prop_assert_eq!(Millis::parse(&Millis(millis).to_string()), Some(Millis(millis)));
        }
    }
}
