//! The reader accepts or refuses large and hostile definitions fast. `fuzz/` has the random ones.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use windlass_domain::definition::{Definition, TASK_SCHEMA};
use windlass_domain::limits;

/// Far more than it takes without optimisation on a busy machine, and far less than what grows without bound.
const SOON: Duration = Duration::from_mins(1);

fn check_refused(text: &str, code: &str) {
    let start = Instant::now();
    let faults = Definition::from_text(text).unwrap_err();
    assert!(
        faults.iter().any(|fault| fault.code == code),
        "{}",
        &faults.to_string()[..200.min(faults.to_string().len())]
    );
    assert!(start.elapsed() < SOON);
}

#[test]
fn too_large_or_deep_definition_is_refused() {
    check_refused(&" ".repeat(limits::MAX_DEFINITION_BYTES + 1), "WL0102");
    check_refused(&"[".repeat(1_000_000), "WL0102");
    check_refused(&"{a: ".repeat(500_000), "WL0102");
    check_refused(&"- ".repeat(1_000_000), "WL0102");
    check_refused(&"? ".repeat(1_000_000), "WL0102");
    check_refused(&format!("input: [{}1]", "1,".repeat(limits::MAX_DEFINITION_VALUES)), "WL0102");
    check_refused(&format!("input: {{{}}}", "a: b,".repeat(limits::MAX_DEFINITION_VALUES / 2)), "WL0102");
    let mut indented = String::new();
    for level in 0..1000 {
        writeln!(indented, "{}a:", " ".repeat(level)).unwrap();
    }
    check_refused(&indented, "WL0102");
}

#[test]
fn action_too_large_for_its_message_is_refused() {
    let task = |text: &str| format!("{{task: t, actions: {{a: {{native: {{handler: h, input: \"{text}\"}}}}}}}}");
    check_refused(&task(&"x".repeat(limits::MAX_WORK_BYTES)), "WL0102");
    Definition::from_text(&task(&"x".repeat(limits::MAX_WORK_BYTES - 100))).unwrap();
}

#[test]
fn alias_bombs_are_refused() {
    let mut laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let before = vec![format!("*a{}", level - 1); 10].join(", ");
        writeln!(laughs, "a{level}: &a{level} [{before}]").unwrap();
    }
    check_refused(&laughs, "WL0102");
    check_refused("a: &a [*a]", "WL0101");
    let mut nested = String::new();
    for level in 0..60 {
        write!(nested, "&b{level} [").unwrap();
    }
    let nested = nested + &"x, ".repeat(100_000) + &"]".repeat(60);
    check_refused(&nested, "WL0102");
    check_refused(&format!("a: &a {}\nb: [{}]", "x".repeat(100_000), "*a, ".repeat(1000)), "WL0102");
}

#[test]
fn first_of_many_faults_are_reported() {
    let mut text = "task: t\nactions:\n".to_owned();
    for at in 0..5000 {
        writeln!(text, "  a{at}: {{ need: [x], exec: [], needs: [b{at}] }}").unwrap();
    }
    let start = Instant::now();
    let faults = Definition::from_text(&text).unwrap_err();
    assert_eq!(faults.faults.len(), limits::MAX_FAULTS);
    assert_eq!(faults.faults.len() + faults.more, 15_000);
    assert!(start.elapsed() < SOON);
}

fn wide(actions: usize) -> String {
    let mut text = "task: wide\nactions:\n  first: { exec: [a] }\n".to_owned();
    for at in 0..actions {
        writeln!(
            text,
            "  a{at}:\n    needs: [first]\n    exec: [run, \"${{{{ actions.first.output.rows }}}}\", \"n{at}\"]\n    when: \"size(input.list) > {at}\""
        )
        .unwrap();
    }
    text
}

#[test]
fn ten_thousand_actions_are_the_most() {
    let definition = Definition::from_text(&wide(limits::MAX_ACTIONS - 1)).unwrap();
    assert_eq!(definition.actions.len(), limits::MAX_ACTIONS);
    assert_eq!(definition.actions[0].dependents.len(), limits::MAX_ACTIONS - 1);
    check_refused(&wide(limits::MAX_ACTIONS), "WL0102");
}

#[test]
fn chain_of_ten_thousand_actions_is_read() {
    let mut text = "task: chain\nactions:\n  a0: { exec: [a] }\n".to_owned();
    for at in 1..limits::MAX_ACTIONS {
        writeln!(text, "  a{at}: {{ needs: a{}, exec: [a, \"${{{{ actions.a0.output }}}}\"] }}", at - 1).unwrap();
    }
    assert_eq!(Definition::from_text(&text).unwrap().actions.len(), limits::MAX_ACTIONS);
    let circle = text.replace("a0: { exec", "a0: { needs: a9999, exec");
    check_refused(&circle, "WL0112");
}

#[test]
fn published_schema_has_the_limits_of_the_domain() {
    let schema: Value = serde_json::from_str(TASK_SCHEMA).unwrap();
    let at = |pointer: &str| schema.pointer(pointer).unwrap_or_else(|| panic!("{pointer}")).as_u64();
    let is = |limit: usize| Some(limit as u64);
    assert_eq!(at("/properties/actions/maxProperties"), is(limits::MAX_ACTIONS));
    assert_eq!(at("/properties/max_parallel/maximum"), is(limits::MAX_ACTIONS));
    assert_eq!(at("/$defs/action/properties/needs/maxItems"), is(limits::MAX_NEEDS));
    assert_eq!(at("/properties/labels/maxProperties"), is(limits::MAX_LABELS));
    assert_eq!(at("/properties/labels/propertyNames/maxLength"), is(limits::MAX_LABEL_BYTES));
    assert_eq!(at("/$defs/name/maxLength"), is(limits::MAX_NAME_BYTES));
    assert_eq!(at("/$defs/retry/maximum"), Some(u64::from(limits::MAX_ATTEMPTS)));
    assert_eq!(at("/$defs/retry/properties/attempts/maximum"), Some(u64::from(limits::MAX_ATTEMPTS)));
    assert_eq!(at("/$defs/retry/properties/never/items/maxLength"), is(limits::MAX_ERROR_KIND_BYTES));
    assert!(jsonschema::meta::is_valid(&schema));
}

#[test]
fn canonical_text_sorts_keys_and_keeps_action_order() {
    let one = json!({"task": "t", "actions": {"b": {"exec": ["x"], "pool": "p"}, "a": {"exec": ["y"]}}});
    let same = json!({"actions": {"b": {"pool": "p", "exec": ["x"]}, "a": {"exec": ["y"]}}, "task": "t"});
    let other = json!({"task": "t", "actions": {"a": {"exec": ["y"]}, "b": {"exec": ["x"], "pool": "p"}}});
    assert_eq!(Definition::canonical(&one), Definition::canonical(&same));
    assert_ne!(Definition::canonical(&one), Definition::canonical(&other));
}
