//! Expressions that are only a path, expressions that look like one, and the messages for paths without a value.

use serde_json::{Value, json};
use windlass_domain::expression::{Expression, Part, Scope, Template};

fn scope() -> Scope {
    let input = json!({
        "n": 3, "a_b": { "c": 1 }, "a-b": { "c": 2 }, "a b": 4, "list": [5, 6, 7], "day": "today", "": { "c": 8 },
    });
    let actions = [("x-y".to_owned(), json!({ "output": 9 }))].into_iter().collect();
    Scope { input, run: json!({ "id": "r" }), actions, ..Scope::default() }
}

fn check(source: &str, expected: &Value) {
    let expression = Expression::parse(source).unwrap_or_else(|error| panic!("{source}: {error}"));
    assert_eq!(expression.evaluate(&scope()).as_ref(), Ok(expected), "{source}");
}

fn check_error(source: &str, code: &str, message: &str) {
    let error = match Expression::parse(source) {
        Ok(expression) => expression.evaluate(&scope()).expect_err(source),
        Err(error) => error,
    };
    assert_eq!((error.code, error.message.as_str()), (code, message), "{source}");
}

#[test]
fn a_path_is_followed() {
    check("input.a_b.c", &json!(1));
    check("input[\"a-b\"].c", &json!(2));
    check("input['a b']", &json!(4));
    check("input.list[2]", &json!(7));
    check(" run.id ", &json!("r"));
    check("actions['x-y'].output", &json!(9));
}

#[test]
fn expression_that_begins_like_a_path_is_evaluated() {
    check("input.n-1", &json!(2));
    check("input.n+1", &json!(4));
    check("input.list[1]-input.n", &json!(3));
    check("input['\\x64ay']", &json!("today"));
    check("input.list[1 + 1]", &json!(7));
    check("input['a' + '-b'].c", &json!(2));
}

#[test]
fn other_text_is_not_taken_for_a_path() {
    for source in ["input.in", "input.true", "input.1", "input.", "input.list[+1]", "input.list[]", "input[1", "input."]
    {
        assert_eq!(Expression::parse(source).map(|_| ()).expect_err(source).code, "WL0201", "{source}");
    }
}

#[test]
fn error_names_the_reachable_part_of_path() {
    check_error("input['night']", "WL0208", "`input` has no key `night`");
    check_error("input['a-b'].x", "WL0208", "`input[\"a-b\"]` has no key `x`");
    check_error("input.a_b.x", "WL0208", "`input.a_b` has no key `x`");
    check_error("input.a_b.c.d", "WL0208", "`input.a_b.c` is a number, not a mapping: it has no key `d`");
    check_error("input.list[3]", "WL0208", "`input.list` has 3 entries, and none of index 3");
    check_error("input.list[123456789]", "WL0208", "`input.list` has 3 entries, and none of index 123456789");
    check_error("input.list[0].x", "WL0208", "`input.list[0]` is a number, not a mapping: it has no key `x`");
    check_error("actions['x-y'].error", "WL0208", "`actions[\"x-y\"]` has no key `error`");
    for index in ["1234567890", "12345678901"] {
        let path = format!("input.list[{index}]");
        let message = format!("`input.list` has 3 entries, and none of index {index}, in `{path}`");
        check_error(&path, "WL0208", &message);
    }
}

/// A word is near a name if it is at most two letters from it, and those are less than half of it.
#[test]
fn a_name_that_is_near_is_suggested() {
    for (word, near) in [("inptu", "input"), ("rnu", "run"), ("inpu", "input"), ("action", "actions")] {
        check_error(&format!("{word}.x + 1"), "WL0204", &format!("`{word}` is not known; did you mean `{near}`?"));
    }
    for word in ["ruby", "abc", "innings"] {
        let message = format!("`{word}` is not known; an expression sees `input`, `actions` and `run`");
        check_error(&format!("{word}.x + 1"), "WL0204", &message);
    }
}

/// Comprehensions beside one another are not inside one another.
#[test]
fn comprehensions_may_follow_one_another() {
    let all = ["[1].all(x, x > 0)"; 9].join(" && ");
    check(&all, &json!(true));
}

/// Counted from the start of the text.
#[test]
fn a_condition_says_where_it_is_wrong() {
    let offset = |text: &str| Expression::parse_condition(text).unwrap_err().offset;
    assert_eq!(offset("1 + nothing"), Some(4));
    assert_eq!(offset("  ${{ 1 + nothing }}"), Some(10));
    assert_eq!(offset("${{ 1 + nothing }}"), Some(8));
    assert_eq!(offset("  ${{ 1 + nothing"), Some(2));
}

#[test]
fn an_expression_is_what_is_written() {
    let parsed = |source: &str| Expression::parse(source).unwrap();
    assert_eq!(parsed("input.n + 1").source(), "input.n + 1");
    assert_eq!(parsed("input.n"), parsed("input.n"));
    assert_ne!(parsed("input.n"), parsed("input.m"));
}

#[test]
fn a_template_without_expressions_is_a_value() {
    for plain in [json!("x"), json!(["x", [1]]), json!({ "a": { "b": ["x"] } }), json!(null)] {
        let template = Template::parse(&plain).unwrap();
        assert!(matches!(&template, Template::Plain(value) if *value == plain), "{template:?}");
    }
    for (template, expected) in [
        (json!(["x", "${{ input.n }}"]), json!(["x", 3])),
        (json!([["x"], { "a": ["${{ input.n }}"] }]), json!([["x"], { "a": [3] }])),
        (json!({ "a": "x", "b": "${{ input.n }}" }), json!({ "a": "x", "b": 3 })),
    ] {
        let parsed = Template::parse(&template).unwrap();
        assert!(!matches!(parsed, Template::Plain(_)), "{parsed:?}");
        assert_eq!(parsed.render(&scope()), Ok(expected));
    }
}

/// The text of a string in the expression ends nothing, escaped quotes included.
#[test]
fn a_hole_ends_where_its_expression_ends() {
    for (text, expected) in [
        (r#"${{ "\"}}" }}"#, json!("\"}}")),
        (r"${{ '\'}}' }}!", json!("'}}!")),
        (r"${{ {'a': {'b': {}}} }}", json!({ "a": { "b": {} } })),
        (r"${{ {'}': '{'} }}", json!({ "}": "{" })),
    ] {
        assert_eq!(Template::parse(&json!(text)).unwrap().render(&scope()), Ok(expected), "{text}");
    }
    let Template::Text(parts) = Template::parse_text("a ${{ input.n }} b").unwrap() else { panic!("a text") };
    assert!(matches!(&parts[..], [Part::Literal(a), Part::Expression(_), Part::Literal(b)] if a == "a " && b == " b"));
}
