//! The functions of expressions beside those of CEL.

use proptest::prelude::*;
use serde_json::{Value, json};
use windlass_domain::expression::{Expression, ExpressionError, Scope};
use windlass_domain::limits::MAX_OUTPUT_BYTES;

fn evaluate(source: &str, input: &Value) -> Result<Value, ExpressionError> {
    let run = json!({ "nominal_time": "2026-03-29T00:30:00.000Z" });
    let scope = Scope { input: input.clone(), run, ..Scope::default() };
    Expression::parse(source)?.evaluate(&scope)
}

fn check(source: &str, expected: &Value) {
    let value = evaluate(source, &json!({ "list": ["a", 1, true, null], "t": "ä b&c" }));
    assert_eq!(value.as_ref(), Ok(expected), "{source}");
}

#[test]
fn texts_and_encodings() {
    check("input.t.urlEncode()", &json!("%C3%A4%20b%26c"));
    check("urlEncode('A-z_0.9~/+')", &json!("A-z_0.9~%2F%2B"));
    check("base64Encode('user:pässwörd')", &json!("dXNlcjpww6Rzc3fDtnJk"));
    check("'dXNlcg=='.base64Decode() + 'dXNlcg'.base64Decode()", &json!("useruser"));
    check("input.list.join(', ')", &json!("a, 1, true, null"));
    check("join(['x', 'y'])", &json!("xy"));
    check("'a,b,,c'.split(',')", &json!(["a", "b", "", "c"]));
    check("'a,b'.split(',').map(x, x.upper()).join('-')", &json!("A-B"));
    check("' ÄÖ\t'.trim().lower()", &json!("äö"));
    check("'straße'.upper()", &json!("STRASSE"));
    check("'a.b.c'.replace('.', '::')", &json!("a::b::c"));
}

/// The night in which Berlin's clocks go forward: half past one there.
#[test]
fn times_of_a_run_are_shifted_and_formatted() {
    check("run.nominal_time.shift('-1d')", &json!("2026-03-28T00:30:00.000Z"));
    check("run.nominal_time.shift('1h30m')", &json!("2026-03-29T02:00:00.000Z"));
    check("run.nominal_time.formatTime('%Y-%m-%d')", &json!("2026-03-29"));
    check("formatTime(run.nominal_time, '%H:%M', 'Europe/Berlin')", &json!("01:30"));
    check("run.nominal_time.shift('1h').formatTime('%H:%M', 'Europe/Berlin')", &json!("03:30"));
    check("run.nominal_time.formatTime('%F', 'Europe/Berlin').addDays(-1)", &json!("2026-03-28"));
    check("addDays('2028-02-28', 1)", &json!("2028-02-29"));
}

#[test]
fn bad_arguments_name_the_function() {
    for (source, fault) in [
        ("urlEncode(1)", "`urlEncode`: it takes one text"),
        ("lower('a', 'b')", "`lower`: it takes one text"),
        ("input.upper()", "`upper`: it takes one text"),
        ("trim(null)", "`trim`: it takes one text"),
        ("'?'.base64Decode()", "`base64Decode`: the text is not Base64"),
        ("'/w=='.base64Decode()", "`base64Decode`: the bytes are not a text in UTF-8"),
        ("'a'.join(',')", "`join`: it takes a list"),
        ("'a'.split('')", "`split`: an empty text stands everywhere"),
        ("'a'.replace('', 'b')", "`replace`: an empty text stands everywhere"),
        ("'a'.replace('b')", "`replace`: it takes a text, the text to look for"),
        ("'today'.shift('1d')", "`shift`: the first text is not a time"),
        ("run.nominal_time.shift('1 day')", "`shift`: the second text is not a span"),
        ("run.nominal_time.shift('--1d')", "`shift`: the second text is not a span"),
        ("addDays('29.3.2026', 1)", "`addDays`: the text is not a date"),
        ("addDays('2026-03-29', 1.5)", "`addDays`: the date is too far away"),
        ("addDays('2026-03-29', 9000000000000)", "`addDays`: the date is too far away"),
        ("run.nominal_time.formatTime('%Y', 'Berlin')", "`formatTime`: there is no such time zone"),
        ("run.nominal_time.formatTime('%')", "`formatTime`: the format is wrong"),
        ("run.nominal_time.formatTime(7)", "`formatTime`: it takes a time, a format"),
    ] {
        let error = evaluate(source, &json!({})).expect_err(source);
        assert_eq!(error.code, "WL0208", "{source}: {error}");
        assert!(error.message.contains(fault), "{source}: {error}");
        assert!(error.message.contains(source), "{source}: {error}");
    }
    let error = evaluate("uper('a')", &json!({})).expect_err("unknown");
    assert!(error.message.contains("did you mean `upper`?"), "{error}");
}

#[test]
fn functions_make_no_more_than_an_output() {
    let half = "x".repeat(MAX_OUTPUT_BYTES / 2);
    let many = vec!["y"; 60_000];
    for source in [
        "input.half.replace('x', input.half)",
        "input.half.urlEncode() + input.half.replace('x', 'äöü')",
        "input.many.join(input.half)",
        "input.half.replace('x', ' ').urlEncode()",
        "input.many.join('1234567')",
    ] {
        let error = evaluate(source, &json!({ "half": half, "many": many })).expect_err(source);
        assert!(error.message.contains("it would make more than 131072 bytes"), "{source}: {error}");
    }
    // Each call counts: many of them end.
    let list: Vec<u32> = (0..20_000).collect();
    let error =
        evaluate("input.l.map(i, input.half.upper())", &json!({ "half": half, "l": list })).expect_err("too much");
    assert_eq!(error.code, "WL0209", "{error}");
}

proptest! {
    #[test]
    fn texts_come_back(text in "\\PC{0,40}", separator in "[,;ä]{1,2}") {
        let input = json!({ "t": text, "s": separator });
        prop_assert_eq!(evaluate("input.t.base64Encode().base64Decode()", &input), Ok(json!(text)));
        prop_assert_eq!(evaluate("input.t.split(input.s).join(input.s)", &input), Ok(json!(text)));
        prop_assert_eq!(evaluate("input.t.lower()", &input), Ok(json!(text.to_lowercase())));
        prop_assert_eq!(evaluate("input.t.upper()", &input), Ok(json!(text.to_uppercase())));
        prop_assert_eq!(evaluate("input.t.trim()", &input), Ok(json!(text.trim())));
        prop_assert_eq!(evaluate("input.t.replace(input.s, '#')", &input), Ok(json!(text.replace(&separator, "#"))));
        let encoded = evaluate("input.t.urlEncode()", &input).unwrap();
        let encoded = encoded.as_str().unwrap();
        prop_assert!(encoded.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~%".contains(&byte)));
        let mut bytes = Vec::new();
        let mut rest = encoded;
        while let Some(first) = rest.chars().next() {
            if first == '%' {
                bytes.push(u8::from_str_radix(&rest[1..3], 16).unwrap());
                rest = &rest[3..];
            } else {
                bytes.push(rest.as_bytes()[0]);
                rest = &rest[1..];
            }
        }
        prop_assert_eq!(String::from_utf8(bytes).unwrap(), text);
    }

    #[test]
    fn shifts_and_days_come_back(minutes in 0_u32..100_000_000, days in -100_000_i64..100_000) {
        let there = format!("run.nominal_time.shift('{minutes}m').shift('-{minutes}m')");
        prop_assert_eq!(evaluate(&there, &json!({})), Ok(json!("2026-03-29T00:30:00.000Z")));
        let there = format!("'2026-03-29'.addDays({days}).addDays({})", -days);
        prop_assert_eq!(evaluate(&there, &json!({})), Ok(json!("2026-03-29")));
    }
}
