//! The messages for a definition that breaks a bound, with the bound met exactly beside it.

use std::fmt::Write as _;

use serde_json::{Value, json};
use windlass_domain::definition::{Definition, Faults};
use windlass_domain::limits::{MAX_DEFINITION_DEPTH, MAX_FAULTS, MAX_SPAN_MS, MAX_WORK_BYTES};
use windlass_domain::retry::Attempts;
use windlass_domain::time::Millis;

fn with(key: &str, value: Value) -> Value {
    let mut source = json!({ "task": "t", "actions": { "a": { "exec": ["x"] } } });
    source[key] = value;
    source
}

fn action(action: Value) -> Value {
    let mut source = with("task", json!("t"));
    source["actions"]["b"] = action;
    source
}

fn faults(source: &Value) -> Faults {
    Definition::from_source(source).unwrap_err()
}

/// Exactly one fault, in these words.
fn check(source: &Value, expected: &str) {
    assert_eq!(faults(source).to_string(), expected);
}

fn check_sound(source: &Value) -> Definition {
    Definition::from_source(source).unwrap_or_else(|faults| panic!("{faults}"))
}

#[test]
fn a_bound_is_named() {
    check(&with("actions", json!({})), "actions: `actions` must not be empty [WL0105]");
    let labels = |count: usize| -> Value {
        (0..count).map(|at| (format!("l{at}"), json!("x"))).collect::<serde_json::Map<_, _>>().into()
    };
    check_sound(&with("labels", labels(32)));
    check(&with("labels", labels(33)), "labels: `labels` has 33 entries; at most 32 are allowed [WL0102]");
    check_sound(&with("description", json!("x".repeat(4096))));
    let long = with("description", json!("x".repeat(4097)));
    check(&long, "description: `description` has more than 4096 characters [WL0102]");
    let empty = action(json!({ "exec": { "command": ["x"], "workdir": "" } }));
    check(&empty, "actions.b.exec.workdir: `workdir` must not be empty [WL0107]");
    check(&action(json!({ "exec": [] })), "actions.b.exec: `exec` must not be empty [WL0119]");
    let many = action(json!({ "exec": ["x"], "retry": { "never": vec!["k"; 101] } }));
    check(&many, "actions.b.retry.never: `never` has more than 100 entries [WL0102]");
    check(&with("task", json!([])), "task: `task` must be text, not a list [WL0106]");
    check(&action(json!({ "exec": 5 })), "actions.b.exec: `exec` must be a list or a mapping, not a number [WL0106]");
}

/// The facade of an action, as JSON.
#[test]
fn action_over_its_size_bound_is_refused() {
    let native = |bytes: usize| {
        let empty = json!({ "handler": "h", "input": "" }).to_string().len();
        action(json!({ "native": { "handler": "h", "input": "x".repeat(bytes - empty) } }))
    };
    check_sound(&native(MAX_WORK_BYTES));
    let (bytes, most) = (MAX_WORK_BYTES + 1, MAX_WORK_BYTES);
    check(
        &native(bytes),
        &format!(
            "actions.b.native: `native` has {bytes} bytes as JSON; an action can be given at most {most} [WL0102]"
        ),
    );
}

/// Whoever comes from another product, or leaves a unit out, is told how it is written here.
#[test]
fn keys_of_other_products_are_recognised() {
    let help =
        |source: &Value| faults(source).iter().map(|fault| fault.help.clone().unwrap_or_default()).collect::<Vec<_>>();
    let key = |name: &str| action(json!({ "exec": ["x"], name: 3 }));
    assert_eq!(help(&key("retries")), ["write `retry: 4` for 3 retries: it counts all attempts"]);
    assert_eq!(help(&key("depends_on")), ["write `needs`"]);
    assert_eq!(help(&key("continue_on_error")), ["write `allow_failure: true`"]);
    assert_eq!(help(&with("inputs", json!({}))), ["write `input`: the JSON Schema of the run's input"]);
    assert_eq!(help(&with("schedule", json!("30 2 * * *"))), ["write `schedule: { cron: \"30 2 * * *\" }`"]);
    let units = action(json!({ "exec": ["x"], "timeout": 90, "retry": { "delay": 1.5 } }));
    assert_eq!(
        help(&units),
        ["a span of time has a unit: `90s` are seconds", "a span of time has a unit: `1.5s` are seconds"]
    );
    // What is no span at all has one fault.
    for wrong in ["1h30", "90", "h", "1 h", "10x"] {
        assert_eq!(faults(&action(json!({ "exec": ["x"], "timeout": wrong }))).iter().count(), 1, "{wrong}");
    }
}

/// A word is near a key if a third of its letters is wrong, three of them at most.
#[test]
fn a_key_that_is_near_is_suggested() {
    let help = |key: &str| faults(&with(key, json!("x"))).faults[0].help.clone().unwrap_or_default();
    for (key, near) in [("tsk", "task"), ("taskk", "task"), ("dscripton", "description"), ("dscriptn", "the keys")] {
        let expected =
            if near == "the keys" { "the keys here are".to_owned() } else { format!("did you mean `{near}`?") };
        assert!(help(key).starts_with(&expected), "{key}: {}", help(key));
    }
    for key in ["tusc", "xyz", "o"] {
        assert!(help(key).starts_with("the keys here are"), "{key}: {}", help(key));
    }
}

/// The reader reports a misspelt key once, and does not report the right key as missing too.
#[test]
fn misspelt_facade_is_one_fault() {
    let codes = |source: &Value| faults(source).iter().map(|fault| fault.code).collect::<Vec<_>>();
    assert_eq!(codes(&action(json!({ "exce": ["x"] }))), ["WL0104"]);
    assert_eq!(codes(&action(json!({ "pool": "p" }))), ["WL0109"]);
    assert_eq!(codes(&action(json!({ "exec": ["x"], "native": { "handler": "h" } }))), ["WL0109"]);
    assert_eq!(codes(&with("schedule", json!({ "crno": "* * * * *" }))), ["WL0104"]);
    assert_eq!(codes(&with("schedule", json!({ "timezone": "UTC" }))), ["WL0109"]);
}

#[test]
fn span_over_its_bound_is_refused() {
    let timeout = |millis: u64| with("timeout", json!(Millis(millis).to_string()));
    assert_eq!(check_sound(&timeout(MAX_SPAN_MS)).timeout, Some(Millis(MAX_SPAN_MS)));
    let message = format!("timeout: `timeout` must be at most 366d, not {} [WL0113]", Millis(MAX_SPAN_MS + 1));
    check(&timeout(MAX_SPAN_MS + 1), &message);
    check(
        &with("timeout", json!("99999999999999999999d")),
        "timeout: `timeout` must be at most 366d, not 99999999999999999999d [WL0113]",
    );
}

#[test]
fn a_retry_policy_is_what_is_written() {
    let retry = |retry: Value| check_sound(&action(json!({ "exec": ["x"], "retry": retry }))).actions[1].retry.clone();
    assert_eq!(retry(json!(7)).attempts, Attempts::Limited(7));
    assert_eq!(retry(json!(7.0)).attempts, Attempts::Limited(7));
    assert_eq!(retry(json!("forever")).attempts, Attempts::Forever);
    let same = retry(json!({ "attempts": 2, "delay": "5s", "max_delay": "5s" }));
    assert_eq!((same.attempts, same.delay, same.max_delay), (Attempts::Limited(2), Millis(5000), Millis(5000)));
    let long = retry(json!({ "delay": "2d" }));
    assert_eq!((long.delay, long.max_delay), (Millis(2 * 86_400_000), Millis(2 * 86_400_000)));
}

#[test]
fn definition_nested_over_its_bound_is_refused() {
    // Around it are the definition, its actions, the action and the facade.
    let native = |input: Value| action(json!({ "native": { "handler": "h", "input": input } }));
    let lists = |levels: usize, inner: Value| (4..levels).fold(inner, |inner, _| json!([inner]));
    let mappings = |levels: usize, inner: Value| (4..levels).fold(inner, |inner, _| json!({ "k": inner }));
    let most = MAX_DEFINITION_DEPTH;
    for sound in
        [lists(most, json!(1)), mappings(most, json!(1)), lists(most - 1, json!({})), lists(most - 1, json!([]))]
    {
        check_sound(&native(sound));
    }
    for deep in
        [lists(most + 1, json!(1)), mappings(most + 1, json!(1)), lists(most, json!({})), lists(most, json!([]))]
    {
        check(&native(deep), "the definition nests deeper than 64 levels [WL0102]");
    }
}

/// Only the actions of the definition itself keep their order: it numbers them.
#[test]
fn canonical_text_has_sorted_keys() {
    let (one, other) = (json!({ "b": 1, "a": [{ "d": 1, "c": 2 }] }), json!({ "a": [{ "c": 2, "d": 1 }], "b": 1 }));
    let canonical = Definition::canonical;
    assert_eq!(canonical(&one), canonical(&other));
    let in_list = |actions: &Value| canonical(&json!([{ "actions": actions }]));
    assert_eq!(in_list(&one), in_list(&other));
    let in_mapping = |actions: &Value| canonical(&json!({ "x": { "actions": actions } }));
    assert_eq!(in_mapping(&one), in_mapping(&other));
    let at_root = |actions: &Value| canonical(&json!({ "actions": actions }));
    assert_ne!(at_root(&one), at_root(&other));
    assert_eq!(at_root(&json!({ "b": one, "a": 1 })), at_root(&json!({ "b": other, "a": 1 })));
}

/// The message for a long circle shows its start and its length.
#[test]
fn a_circle_is_shown_up_to_twenty_actions() {
    let circle = |length: usize| {
        let needs = |at: usize| json!({ "exec": ["x"], "needs": [format!("a{}", (at + 1) % length)] });
        let actions: serde_json::Map<_, _> = (0..length).map(|at| (format!("a{at}"), needs(at))).collect();
        faults(&with("actions", actions.into())).to_string()
    };
    let names = |length: usize| (0..length).map(|at| format!("a{at}")).collect::<Vec<_>>().join(" -> ");
    let lead = "actions.a0.needs: these actions need one another in a circle:";
    assert_eq!(circle(2), format!("{lead} a0 -> a1 -> a0 [WL0112]"));
    assert_eq!(circle(20), format!("{lead} {} -> a0 [WL0112]", names(20)));
    assert_eq!(circle(21), format!("{lead} {} -> ... (21 in all) -> a0 [WL0112]", names(20)));
    assert_eq!(circle(30), format!("{lead} {} -> ... (30 in all) -> a0 [WL0112]", names(20)));
}

/// A need on one action gives no access to another.
#[test]
fn an_expression_sees_only_what_its_action_needs() {
    let actions = |needs: &[&str], refers: &str| {
        let command = json!(["x", format!("${{{{ actions.{refers}.status }}}}")]);
        let plain = json!({ "exec": ["x"] });
        with("actions", json!({ "a": plain, "b": plain, "c": { "exec": command, "needs": needs } }))
    };
    check_sound(&actions(&["a"], "a"));
    check_sound(&actions(&["a", "b"], "b"));
    assert_eq!(faults(&actions(&["a"], "b")).faults[0].code, "WL0207");
    assert_eq!(faults(&actions(&["a"], "d")).faults[0].code, "WL0206");
}

/// Those that the reader of YAML finds are counted with the others.
#[test]
fn faults_beyond_the_bound_are_counted() {
    for (count, more) in [(MAX_FAULTS, 0), (MAX_FAULTS + 1, 1), (MAX_FAULTS + 3, 3)] {
        let mut text = "task: t\nactions: { a: { exec: [x] } }\nlabels:\n  l: x\n".to_owned();
        for _ in 0..count {
            writeln!(text, "  l: x").unwrap();
        }
        let faults = Definition::from_text(&text).unwrap_err();
        assert_eq!((faults.faults.len(), faults.more, (&faults).into_iter().count()), (MAX_FAULTS, more, MAX_FAULTS));
        let last = faults.to_string().lines().last().unwrap().to_owned();
        assert_eq!(last.starts_with("and ") && last.ends_with(" more"), more > 0, "{last}");
    }
}
