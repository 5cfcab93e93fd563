//! The work of an evaluation: what counts towards its bound, and what does not.

use serde_json::{Map, Value, json};
use windlass_domain::expression::{Expression, Scope, Template};
use windlass_domain::limits::{MAX_EXPRESSION_WORK, MAX_OUTPUT_BYTES};

/// Elements of the list: to walk over all of them is far below the bound, to do so once for each is above it.
const MANY: usize = 3000;
const _: () = assert!((MANY * MANY) as u64 > 2 * MAX_EXPRESSION_WORK);
/// Bytes of the text: with itself it is too long for an output.
const LONG: usize = 100_000;
const _: () = assert!(LONG < MAX_OUTPUT_BYTES && 2 * LONG > MAX_OUTPUT_BYTES);

fn scope() -> Scope {
    let list: Vec<usize> = (0..MANY).collect();
    let map: Map<String, Value> = list.iter().map(|number| (format!("k{number}"), json!(number))).collect();
    Scope { input: json!({ "l": list, "m": map, "s": "x".repeat(LONG) }), ..Scope::default() }
}

fn check(source: &str, expected: &Value) {
    let value = Expression::parse(source).unwrap().evaluate(&scope());
    assert_eq!(value.as_ref(), Ok(expected), "{source}");
}

fn check_refused(source: &str, words: &str) {
    let error = Expression::parse(source).unwrap().evaluate(&scope()).expect_err(source);
    assert_eq!(error.code, "WL0209", "{source}: {error}");
    assert!(error.message.contains(words), "{source}: {error}");
}

/// It is given to a call once for each element of the list.
#[test]
fn arguments_of_every_call_count() {
    for each in [
        "size(input.s) > 0",
        "input.s != 'x'",
        "input.s.startsWith('x')",
        "'x'.startsWith(input.s) || true",
        "size(input.l) > 0",
        "size(input.m) > 0",
        "[input.s] != []",
        "{'k': size(input.s)} != {}",
        "{string(size(input.s)): 1} != {}",
        "[size(input.s)] != []",
        "(size(input.s) > 0 ? true : false)",
        "!(size(input.s) == 0)",
        "[size(input.s)][0] > 0",
    ] {
        check_refused(&format!("input.l.all(a, {each})"), "visit or make more than");
    }
    let each_size_of = |bytes: usize| format!("input.l.all(a, size(b'{}') > 0)", "x".repeat(bytes));
    check_refused(&each_size_of(3000), "visit or make more than");
    check(&each_size_of(300), &json!(true));
}

fn spent(source: &str) -> u64 {
    let scope = scope();
    // Whether it has a value does not matter here.
    drop(Expression::parse(source).unwrap().evaluate(&scope));
    scope.budget.spent()
}

/// A pattern is compiled once in an evaluation. What it costs then depends on its states, and on the texts.
#[test]
fn pattern_costs_its_states_and_its_texts() {
    check("input.l.all(a, 'x'.matches('x+y?'))", &json!(true));
    check("input.l.all(a, matches('x', 'x+y?'))", &json!(true));
    check("input.s.matches('x')", &json!(true));
    check("'a name'.matches(r'^[\\w ]{1,64}$')", &json!(true));
    check("'2026-11-30'.matches('^[0-9]{4}-\\\\d{2}-\\\\d{2}$')", &json!(true));
    check_refused("input.l.all(a, 'x'.matches('x+' + string(a)) || true)", "visit or make more than");
    check_refused("input.l.all(a, input.s.matches('x$'))", "visit or make more than");
    let dear = r"'\\pL{5}'";
    assert!(spent(&format!("'x'.matches({dear})")) > 20 * spent("'x'.matches('x')"));
    assert!(spent(&format!("[1, 2, 3].all(a, 'x'.matches({dear}))")) < 2 * spent(&format!("'x'.matches({dear})")));
}

/// What takes longer than the time that the budget stands for.
#[test]
fn pattern_without_bound_is_refused() {
    let refused = |pattern: &str, words: &str| {
        let scope = Scope { input: json!({ "p": pattern }), ..Scope::default() };
        let error = Expression::parse("'x'.matches(input.p)").unwrap().evaluate(&scope).expect_err(pattern);
        assert!(error.message.contains(words), "{pattern}: {error}");
        let error = Expression::parse(&format!("'x'.matches(r'{pattern}')")).expect_err(pattern);
        assert!(error.message.contains(words) && error.offset == Some(14), "{pattern}: {error:?}");
    };
    for repeated in [r"\pL{200}", r"(?:[\pL\d]{20}){10}", r"(?i)(?:\w{30}){30}", r"(?:(?:a{100}){100}){100}"] {
        refused(repeated, "too many states");
    }
    refused(&"x".repeat(1001), "the pattern has 1001 bytes; at most 1000 are allowed");
    refused("(x", "the pattern can not be read: unclosed group");
    refused(&format!("{}x{}", "(".repeat(60), ")".repeat(60)), "the pattern can not be read: exceed");
}

#[test]
fn collection_counts_once_for_each_walk() {
    check_refused("input.l.all(a, input.l.exists(b, b == 0))", "visit or make more than");
    check_refused("input.l.all(a, input.m.exists(b, true))", "visit or make more than");
    check("input.l.all(a, a >= 0) && input.m.all(k, k != '')", &json!(true));
}

/// Of what `map` and `filter` gather, each item counts when it is put in, and not again with the next.
#[test]
fn gathered_values_count_once() {
    check("size(input.l.map(a, a * 2))", &json!(MANY));
    check("size(input.l.filter(a, a > 9))", &json!(MANY - 10));
    check("size(input.l.filter(a, a > 9).map(a, [a]))", &json!(MANY - 10));
    check_refused("size(input.l.map(a, input.s)) > 0", "visit or make more than");
    check_refused("input.l.map(a, (input.l + [a])[0])", "visit or make more than");
}

#[test]
fn value_over_its_size_bound_is_refused() {
    check("input.s + ''", &json!("x".repeat(LONG)));
    check_refused("input.s + input.s", "the value of the expression has more than");
    check_refused("[input.s, input.s]", "the value of the expression has more than");
    check_refused("{'a': input.s, 'b': input.s}", "the value of the expression has more than");
    check_refused("{input.s: 1, input.s + 'x': 2}", "the value of the expression has more than");
}

#[test]
fn the_values_of_a_template_are_bounded_together() {
    let render = |template: Value| Template::parse(&template).unwrap().render(&scope());
    let (one, few) = ("${{ input.s }}", "${{ size(input.s) }}");
    assert!(render(json!({ "a": one, "b": few, "c": [few, "x"] })).is_ok());
    for twice in [json!({ "a": one, "b": one }), json!([one, [one]]), json!(format!("{one} {one}"))] {
        assert_eq!(render(twice).unwrap_err().code, "WL0209");
    }
    let lists = "${{ input.l }}";
    assert!(render(json!(vec![lists; 9])).is_ok());
    assert_eq!(render(json!(vec![lists; 10])).unwrap_err().code, "WL0209");
}

/// The bound is that of a place, such as an action's `exec`, however many expressions stand there.
#[test]
fn expressions_in_one_place_share_their_bound() {
    let large = Expression::parse("input.l.filter(a, a < 100).all(a, size(input.l) > 0)").unwrap();
    let scope = scope();
    assert_eq!(large.evaluate(&scope), Ok(json!(true)));
    let spent = scope.budget.spent();
    assert!(spent > MAX_EXPRESSION_WORK / 2 && spent < MAX_EXPRESSION_WORK, "{spent}");
    assert_eq!(large.evaluate(&scope).unwrap_err().code, "WL0209");
    assert_eq!(scope.budget.spent(), MAX_EXPRESSION_WORK);
    // Nothing is left, not even for a path.
    assert_eq!(Expression::parse("input.l[0]").unwrap().evaluate(&scope).unwrap_err().code, "WL0209");
}

/// A path makes nothing, but its value is copied.
#[test]
fn copied_values_count() {
    let spent = |source: &str| {
        let scope = scope();
        Expression::parse(source).unwrap().evaluate(&scope).unwrap();
        scope.budget.spent()
    };
    assert_eq!((spent("input.l[7]"), spent("run")), (0, 0));
    assert_eq!(spent("input.l"), (MANY as u64 + 1) / 8);
    assert_eq!(spent("input.s"), (LONG as u64 / 16 + 1) / 8);
}
