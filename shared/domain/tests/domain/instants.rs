//! Instants and spans at the ends of their ranges.

use std::time::Duration;

use windlass_domain::time::{Millis, Timestamp};

const EPOCH: Timestamp = Timestamp::from_millis(0);

#[test]
fn instants_beyond_the_calendar_are_clamped() {
    for (millis, shown) in [
        (i64::MIN, "-009999-01-02T01:59:59.000Z"),
        (-1, "1969-12-31T23:59:59.999Z"),
        (0, "1970-01-01T00:00:00.000Z"),
        (i64::MAX, "9999-12-30T22:00:00.999Z"),
    ] {
        assert_eq!(Timestamp::from_millis(millis).to_string(), shown);
    }
    assert_eq!(Timestamp::from_millis(i64::MIN).to_jiff(), jiff::Timestamp::MIN);
    assert_eq!(Timestamp::from_millis(i64::MAX).to_jiff(), jiff::Timestamp::MAX);
}

#[test]
fn fractions_of_a_millisecond_are_cut_off() {
    let read = |text: &str| Timestamp::parse_rfc3339(text).map(Timestamp::as_millis);
    assert_eq!(read("1970-01-01T00:00:01.2349Z"), Some(1234));
    assert_eq!(read("1970-01-01T02:00:00+02:00"), Some(0));
    assert_eq!(read("1970-01-01"), None);
}

#[test]
fn spans_stop_at_the_ends_of_time() {
    let (first, last) = (Timestamp::from_millis(i64::MIN), Timestamp::from_millis(i64::MAX));
    assert_eq!(EPOCH.plus(Millis(7)).since(EPOCH), Millis(7));
    assert_eq!(EPOCH.since(EPOCH.plus(Millis(7))), Millis(0));
    assert_eq!(last.plus(Millis(1)), last);
    assert_eq!(last.since(first), Millis(i64::MAX.unsigned_abs()));
    assert_eq!(Millis::from_secs(u64::MAX), Millis(u64::MAX));
}

#[test]
fn a_span_is_a_duration() {
    assert_eq!(Millis(1_500).as_duration(), Duration::from_millis(1_500));
    assert_eq!(Millis::from_secs(90).as_duration(), Duration::from_secs(90));
}

#[test]
fn span_is_written_in_its_largest_units() {
    for (millis, text) in [
        (0, "0ms"),
        (999, "999ms"),
        (1_000, "1s"),
        (60_000, "1m"),
        (3_600_000, "1h"),
        (86_400_000, "1d"),
        (90_061_001, "1d1h1m1s1ms"),
    ] {
        assert_eq!(Millis(millis).to_string(), text);
        assert_eq!(Millis::parse(text).unwrap(), Millis(millis));
    }
    assert_eq!(Millis::parse("90m"), Some(Millis(5_400_000)));
    for text in ["1", "m", "1m30", "1 m", "1w", "-1m", "18446744073709551616ms", "213503982335d"] {
        assert_eq!(Millis::parse(text), None, "{text}");
    }
}
