//! The readers of foreign input, each as a plain function from bytes to nothing. A function panics only if its reader
//! is at fault, so that any driver can call it.
//!
//! `tests/readers` drives them with [bolero](https://docs.rs/bolero). One test function is an ordinary test of stable
//! Rust. It replays the corpus, then searches at random for a second, shrinks a failure and prints its seed.
//! `cargo bolero` runs the same function under libFuzzer. `cargo-fuzz` has no part that runs in `cargo test`, and
//! `proptest` has no fuzzer that is guided by coverage.

use std::fmt::Debug;

use serde::Serialize;
use serde_json::{Value, json};
use windlass_contract::message::{self, ControlMessage, InboxMessage, Message, PerformMessage};
use windlass_contract::record;
use windlass_domain::definition::Definition;
use windlass_domain::expression::{Expression, Scope, Template};

/// Reads a definition. One that is sound reads the same from its stored form; faults lie inside the text.
///
/// # Panics
/// If a reader is at fault.
pub fn definition(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    match Definition::from_text(text) {
        Ok(definition) => {
            let again =
                Definition::from_source(&definition.source).expect("a sound definition is read from its stored form");
            assert_eq!(again.actions.len(), definition.actions.len());
            assert_eq!(Definition::canonical(&again.source), Definition::canonical(&definition.source));
            let _ = definition.check_input(Value::Null);
            let _ = definition.check_input(json!({"day": 1, "files": [{}]}));
        }
        Err(faults) => {
            assert!(!faults.faults.is_empty());
            for fault in &faults {
                let place = fault.place.expect("faults of a text have places");
                assert!(text.get(place.offset..place.offset + place.len).is_some(), "{fault}");
            }
        }
    }
}

/// Compiles and evaluates an expression and a template.
///
/// # Panics
/// If a reader is at fault.
pub fn expression(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    if let Ok(expression) = Expression::parse(text) {
        let first = expression.evaluate(&scope());
        assert_eq!(first, expression.evaluate(&scope()), "an expression has one value");
    }
    if let Ok(template) = Template::parse(&Value::String(text.to_owned())) {
        let _ = template.render(&scope());
    }
    let _ = Expression::parse_condition(text);
}

fn scope() -> Scope {
    let action = json!({"status": "succeeded", "output": {"rows": [1, 2]}, "error": null});
    Scope {
        input: json!({"day": "today", "list": [3, 1, 2], "map": {"z": 1, "a": 2}, "n": u64::MAX, "x": 0.5}),
        run: json!({"id": "r"}),
        actions: [("extract".to_owned(), action)].into_iter().collect(),
        ..Scope::default()
    }
}

/// Reads a message of every kind, and a record. A message that can be read is written, and is read again as the same.
///
/// # Panics
/// If a reader is at fault.
pub fn message(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    round::<InboxMessage>(text);
    round::<PerformMessage>(text);
    round::<ControlMessage>(text);
    let (head, pages) = text.split_once('\n').unwrap_or((text, ""));
    let pages: Vec<String> = pages.lines().map(str::to_owned).collect();
    let _ = record::decode(head, &pages);
    if let Ok(run) = record::decode(text, &[]) {
        let stored = record::encode(&run, None);
        let pages: Vec<String> = stored.pages.into_iter().map(|(_, page)| page).collect();
        assert_eq!(record::decode(&stored.head, &pages).expect("a reader takes its writer's text"), run);
    }
}

fn round<M: Message + Serialize + PartialEq + Debug>(text: &str) {
    if let Ok(message) = message::decode::<M>(text) {
        let again = message::decode::<M>(&message::encode(&message)).expect("a reader takes its writer's text");
        assert_eq!(again, message);
    }
}
