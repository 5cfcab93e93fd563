//! Faults as programs read them: with the path to the fault, which stands for the place where there is no text.

use serde_json::{Value, json};
use windlass_domain::definition::Definition;

/// The first fault of a definition that is wrong; it was not read from text.
fn check(source: &Value, path: &str) {
    let faults = Definition::from_source(source).expect_err(path);
    let fault = faults.iter().next().expect("a fault");
    assert_eq!(fault.path, path, "{faults}");
    let lead = if path.is_empty() { String::new() } else { format!("{path}: ") };
    assert!(fault.to_string().starts_with(&format!("{lead}{}", fault.message)), "{fault}");
    assert_eq!(faults.to_string().lines().next(), Some(fault.to_string().as_str()));
}

fn action(action: Value) -> Value {
    let mut source = json!({ "task": "t", "actions": { "a": { "exec": ["true"] } } });
    source["actions"]["b"] = action;
    source
}

#[test]
fn path_leads_to_the_fault() {
    check(&json!([]), "");
    check(&json!({ "task": "9lives", "actions": { "a": { "exec": ["true"] } } }), "task");
    check(&action(json!({ "exec": ["true"], "needs": ["a", "x"] })), "actions.b.needs[1]");
    check(&action(json!({ "exec": ["true", 7, [8]] })), "actions.b.exec[2]");
    check(&action(json!({ "exec": ["true"], "timeout": "soon" })), "actions.b.timeout");
    check(
        &action(json!({ "exec": { "command": ["true"], "env": { "A B": "${{ 1 + }}" } } })),
        "actions.b.exec.env[\"A B\"]",
    );
    check(
        &action(json!({ "exec": { "command": ["true"], "env": { "A_B-1": "${{ 1 + }}" } } })),
        "actions.b.exec.env.A_B-1",
    );
    check(&action(json!({ "exec": { "command": ["true"], "env": { "": "${{ 1 + }}" } } })), "actions.b.exec.env[\"\"]");
}

/// To look for a name that is near costs as much as there are names.
#[test]
fn fifty_names_are_suggested_and_no_more() {
    let needs: Vec<String> = (0..60).map(|number| format!("action{number}x")).collect();
    let mut source = json!({ "task": "t", "actions": { "all": { "exec": ["true"], "needs": needs } } });
    for number in 0..60 {
        source["actions"][format!("action{number}")] = json!({ "exec": ["true"] });
    }
    let faults = Definition::from_source(&source).expect_err("nobody is called so");
    let suggested = faults.iter().filter(|fault| fault.help.as_ref().is_some_and(|help| help.contains("did you mean")));
    assert_eq!((faults.iter().count(), suggested.count()), (60, 50));
}

fn check_url(url: &str, is_taken: bool) {
    let read = Definition::from_source(&action(json!({ "http": { "url": url } })));
    assert_eq!(read.is_ok(), is_taken, "{url}: {:?}", read.err().map(|faults| faults.to_string()));
}

/// The reader refuses a URL whose fixed text shows that it is not absolute. A URL that depends on an expression is
/// checked when it is rendered.
#[test]
fn urls_are_absolute() {
    for url in ["http://h", "https://h/p?q#f", "HTTPS://H", "http://[::1]:80/", "http://h:80"] {
        check_url(url, true);
    }
    for url in
        ["h/p", "/p", "ftp://h", "http:h", "http://", "https://", "http:///p", "http://?q", "http://#f", "http://:80"]
    {
        check_url(url, false);
    }
    for url in ["http://h/a b", "http://h/\tb", "http://h/\u{7f}"] {
        check_url(url, false);
    }
    for (fixed, is_taken) in [
        ("", true),
        ("http://", true),
        ("https://h/", true),
        ("http", true),
        ("HTTPS:", true),
        ("h/", false),
        ("x", false),
    ] {
        check_url(&format!("{fixed}${{{{ input.u }}}}"), is_taken);
    }
}
