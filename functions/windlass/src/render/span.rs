//! Times and spans as people read them.

use windlass_domain::time::{Millis, Timestamp};

/// A span in at most two units: `340 ms`, `3.2 s`, `2m 05s`, `1h 02m`, `3d 04h`.
pub(crate) fn shown(span: Millis) -> String {
    let Millis(ms) = span;
    let secs = ms / 1000;
    match ms {
        0..1000 => format!("{ms} ms"),
        1000..60_000 => format!("{secs}.{} s", ms % 1000 / 100),
        60_000..3_600_000 => format!("{}m {:02}s", secs / 60, secs % 60),
        3_600_000..86_400_000 => format!("{}h {:02}m", secs / 3600, secs % 3600 / 60),
        _ => format!("{}d {:02}h", secs / 86_400, secs % 86_400 / 3600),
    }
}

/// The instant of an RFC 3339 text, if there is one.
pub(crate) fn instant(text: Option<&String>) -> Option<Timestamp> {
    text.and_then(|text| Timestamp::parse_rfc3339(text))
}

/// How long ago that was: `12.0 s ago`.
pub(crate) fn ago(at: Timestamp, now: Timestamp) -> String {
    format!("{} ago", shown(now.since(at)))
}

/// The time by this machine's clock.
pub(crate) fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(ms: u64, text: &str) {
        assert_eq!(shown(Millis(ms)), text);
    }

    #[test]
    fn spans_have_at_most_two_units() {
        check(0, "0 ms");
        check(999, "999 ms");
        check(3250, "3.2 s");
        check(125_000, "2m 05s");
        check(3_720_000, "1h 02m");
        check(273_600_000, "3d 04h");
    }
}
