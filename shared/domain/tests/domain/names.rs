//! Names and ids: valid ones, invalid ones, and that they are shown as they are read.

use windlass_domain::ids::{ActionName, NameError, RunId, TaskName};
use windlass_domain::limits::MAX_NAME_BYTES;
use windlass_domain::time::Timestamp;

fn check(text: &str, expected: &Result<(), NameError>) {
    assert_eq!(ActionName::new(text).map(|_| ()), *expected, "{text}");
    assert_eq!(text.parse::<TaskName>().map(|_| ()), *expected, "{text}");
    assert_eq!(serde_json::from_value::<TaskName>(text.into()).is_ok(), expected.is_ok(), "{text}");
}

#[test]
fn names_have_letters_digits_hyphens_and_underscores() {
    for text in ["a", "Z", "load-data", "load_data", "a1", "a-", "a_"] {
        check(text, &Ok(()));
    }
    check("", &Err(NameError::Empty));
    for (text, other) in [("1a", '1'), ("-a", '-'), ("_a", '_'), ("a b", ' '), ("a.b", '.'), ("a/b", '/'), ("é", 'é')]
    {
        check(text, &Err(NameError::Character(other)));
    }
}

#[test]
fn name_over_its_length_bound_is_refused() {
    for (length, expected) in [
        (MAX_NAME_BYTES - 1, Ok(())),
        (MAX_NAME_BYTES, Ok(())),
        (MAX_NAME_BYTES + 1, Err(NameError::TooLong)),
        (MAX_NAME_BYTES + 2, Err(NameError::TooLong)),
    ] {
        check(&"a".repeat(length), &expected);
    }
}

#[test]
fn run_id_is_shown_as_read() {
    let text = "0190b6a0-3c4e-7cc3-98c4-dc0c0c07398f";
    let id: RunId = text.parse().unwrap();
    assert_eq!((id.to_string().as_str(), id.as_uuid().to_string().as_str()), (text, text));
    assert!("0190b6a0".parse::<RunId>().is_err());
}

/// A client that asks twice, and a due time that is delivered twice, mean one run.
#[test]
fn a_derived_id_is_of_all_its_parts() {
    let (one, other) = (TaskName::new("one").unwrap(), TaskName::new("other").unwrap());
    let (now, later) = (Timestamp::from_millis(1_700_000_000_000), Timestamp::from_millis(1_700_000_000_001));
    assert_eq!(RunId::from_key(&one, "k"), RunId::from_key(&one, "k"));
    assert_eq!(RunId::from_nominal_time(&one, now), RunId::from_nominal_time(&one, now));
    let ids = [
        RunId::from_key(&one, "k"),
        RunId::from_key(&one, "k2"),
        RunId::from_key(&other, "k"),
        RunId::from_key(&one, &now.as_millis().to_string()),
        RunId::from_nominal_time(&one, now),
        RunId::from_nominal_time(&one, later),
        RunId::from_nominal_time(&other, now),
    ];
    let different: std::collections::BTreeSet<_> = ids.iter().map(RunId::as_uuid).collect();
    assert_eq!(different.len(), ids.len());
}
