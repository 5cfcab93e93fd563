//! Scalars of a definition: texts, numbers, and scalars with a tag.

use serde_json::{Value, json};
use windlass_domain::definition::Definition;

/// The text as the input of a handler, and the value that is read.
fn check(text: &str, expected: &Value) {
    let task = format!("task: t\nactions:\n  a:\n    native:\n      handler: h\n      input: {text}\n");
    let definition = Definition::from_text(&task).unwrap_or_else(|faults| panic!("{text}: {faults}"));
    assert_eq!(definition.source["actions"]["a"]["native"]["input"], *expected, "{text}");
}

fn check_refused(text: &str, message: &str) {
    let task = format!("task: t\nactions: {{ a: {{ native: {{ handler: h, input: {text} }} }} }}\n");
    let faults = Definition::from_text(&task).unwrap_err();
    assert!(faults.iter().any(|fault| fault.message == message), "{faults}");
}

#[test]
fn a_number_is_what_looks_like_one() {
    check("12", &json!(12));
    check("-1.50", &json!(-1.5));
    check("1e3", &json!(1000.0));
    for text in ["1.x", "x.1", "1e", "1ex", "1.5x", "1.2.3", "e1", ".e1", "1-", "0xg", "0b1", "1_000"] {
        check(text, &json!(text));
    }
}

#[test]
fn a_tag_says_what_a_scalar_is() {
    check("!!str 12", &json!("12"));
    check("! 12", &json!("12"));
    check("!!int \"12\"", &json!(12));
    check("!!float \"1.5\"", &json!(1.5));
    check("!!bool \"true\"", &json!(true));
    check("!!null \"null\"", &json!(null));
    check("!!seq [1]", &json!([1]));
    check("!!map {a: 1}", &json!({"a": 1}));
    check_refused("!other 12", "the tag `!other` is not known here");
    check_refused("!other [12]", "the tag `!other` is not known here");
    check_refused("!!seq {a: 1}", "the tag `tag:yaml.org,2002:seq` is not known here");
}

/// In a place for text it stays text.
#[test]
fn scalar_read_as_text_keeps_its_letters() {
    let task = "task: t
labels: { version: 1.10, on: yes, count: 007, off: false }
actions:
  a: { exec: [say, 1.10, 007, true, 1e999] }
  b: { exec: { command: [say, 1.10], env: { A: 0x1F, B: 1.0 } } }
  c: { http: { url: \"http://h\", headers: { Of: 1.10 } } }
  d: { native: { handler: h, input: { exec: [1.10] } } }
";
    let source = Definition::from_text(task).unwrap().source;
    assert_eq!(source["labels"], json!({ "version": "1.10", "on": "yes", "count": "007", "off": "false" }));
    assert_eq!(source["actions"]["a"]["exec"], json!(["say", "1.10", "007", "true", "1e999"]));
    assert_eq!(source["actions"]["b"]["exec"]["command"], json!(["say", "1.10"]));
    assert_eq!(source["actions"]["b"]["exec"]["env"], json!({ "A": "0x1F", "B": "1.0" }));
    assert_eq!(source["actions"]["c"]["http"]["headers"], json!({ "Of": "1.10" }));
    assert_eq!(source["actions"]["d"]["native"]["input"], json!({ "exec": [1.1] }));
}

#[test]
fn a_file_holds_one_definition() {
    let one = "task: t\nactions: { a: { exec: [x] } }\n";
    Definition::from_text(&format!("---\n{one}...\n")).unwrap();
    let faults = Definition::from_text(&format!("{one}---\n{one}")).unwrap_err();
    assert_eq!(faults.to_string(), "3:1: a file holds one definition; here a second document starts [WL0101]");
}
