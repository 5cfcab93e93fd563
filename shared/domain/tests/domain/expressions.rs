//! Expressions and templates: their values, their refusals, and that they end.

use serde_json::{Value, json};
use windlass_domain::expression::{Expression, Scope, Template};
use windlass_domain::limits::{
    MAX_COMPREHENSION_DEPTH, MAX_EXPRESSION_BYTES, MAX_EXPRESSION_CHAIN, MAX_EXPRESSION_DEPTH, MAX_OUTPUT_BYTES,
};

fn scope() -> Scope {
    let input = json!({
        "day": "today", "n": 3, "big": u64::MAX, "half": 0.5, "none": null, "list": [3, 1, 2],
        "files": [{"name": "b", "size": 2}, {"name": "a", "size": 10}], "a-b": 1, "map": {"z": 1, "y": 2, "x": 3},
    });
    let actions = json!({
        "extract": {"status": "succeeded", "output": {"rows": [1, 2], "z": 1, "a": 2}, "error": null},
        "charts": {"status": "failed", "output": null, "error": {"kind": "http", "message": "no"}},
        "load-data": {"status": "succeeded", "output": 7, "error": null},
    });
    let actions = actions.as_object().unwrap().clone().into_iter().collect();
    Scope { input, run: json!({"id": "r1", "labels": {"client": "acme"}}), actions, ..Scope::default() }
}

fn check(source: &str, expected: &Value) {
    let expression = Expression::parse(source).unwrap_or_else(|error| panic!("{source}: {error}"));
    let value = expression.evaluate(&scope()).unwrap_or_else(|error| panic!("{source}: {error}"));
    assert_eq!(&value, expected, "{source}");
    assert_eq!(value.to_string(), expected.to_string(), "{source}: numbers keep their kind");
}

fn check_error(source: &str, code: &str, part: &str) {
    let error = match Expression::parse(source) {
        Ok(expression) => expression.evaluate(&scope()).expect_err(source),
        Err(error) => error,
    };
    assert_eq!(error.code, code, "{source}: {error}");
    assert!(error.message.contains(part), "{source}: {error}");
}

fn check_template(text: &str, expected: &Value) {
    let template = Template::parse(&json!(text)).unwrap_or_else(|error| panic!("{text}: {error}"));
    assert_eq!(&template.render(&scope()).unwrap(), expected, "{text}");
}

#[test]
fn paths() {
    check("input.day", &json!("today"));
    check("input[\"a-b\"]", &json!(1));
    check("input.files[1].name", &json!("a"));
    check("actions.extract.output", &json!({"rows": [1, 2], "z": 1, "a": 2}));
    check("actions[\"load-data\"].output", &json!(7));
    check("run.labels.client", &json!("acme"));
    check("input.big", &json!(u64::MAX));
    check("input.none", &json!(null));
}

#[test]
fn values() {
    check("input.n + 1", &json!(4));
    check("input.half * 2.0", &json!(1.0));
    check("input.big == 18446744073709551615u", &json!(true));
    check("[input.n, -1, 1.5, true, null, 'x']", &json!([3, -1, 1.5, true, null, "x"]));
    check("{'b': 1, 'a': {'d': 2, 'c': 3}}", &json!({"a": {"c": 3, "d": 2}, "b": 1}));
    check("input.day + '-' + string(input.n)", &json!("today-3"));
    check("size(input.list) > 2 ? 'many' : 'few'", &json!("many"));
    check("input.files.map(f, f.name)", &json!(["b", "a"]));
    check("input.files.filter(f, f.size > 5).map(f, f.name)", &json!(["a"]));
    check("input.files.exists(f, f.name == 'a') && input.list.all(n, n > 0)", &json!(true));
    check("has(input.day) && !has(input.night)", &json!(true));
    check("'day' in input", &json!(true));
    check("input.day.matches('^to') && input.day.startsWith('t') && input.day.contains('oda')", &json!(true));
    check("type(input.day) == string", &json!(true));
    check("input.list.map(actions, actions + 1)", &json!([4, 2, 3]));
}

#[test]
fn a_status_does_not_need_an_output() {
    check("actions.charts.status == 'failed'", &json!(true));
    check("actions.charts.error.kind", &json!("http"));
    check("actions.charts.output == null", &json!(true));
}

#[test]
fn mappings_are_walked_in_key_order() {
    for _ in 0..20 {
        check("input.map.map(k, k)", &json!(["x", "y", "z"]));
        check("input.map.map(k, input.map[k])", &json!([3, 2, 1]));
    }
}

#[test]
fn errors_name_what_is_missing() {
    check_error("input.night", "WL0208", "`input` has no key `night`");
    check_error("actions.extract.output.columns", "WL0208", "`actions.extract.output` has no key `columns`");
    check_error("actions.charts.output.rows", "WL0208", "`actions.charts.output` is null");
    check_error("input.list[7]", "WL0208", "none of index 7");
    check_error("input.night + 'x'", "WL0208", "`night`");
    check_error("input.n + 'x'", "WL0208", "`+`");
    check_error("1 / 0", "WL0208", "division by zero");
    check_error("9223372036854775807 + 1", "WL0208", "too large");
    check_error("b'bytes'", "WL0208", "bytes");
    check_error("0.0 / 0.0", "WL0208", "double");
}

/// The message names the author's own text.
#[test]
fn errors_say_what_does_not_fit() {
    for (source, message) in [
        ("1 + 'x'", "`+` can not be applied to these values"),
        ("1 - 'x'", "`-` can not be applied to these values"),
        ("1 * 'x'", "`*` can not be applied to these values"),
        ("1 / 'x'", "`/` can not be applied to these values"),
        ("1 % 'x'", "`%` can not be applied to these values"),
        ("1 in 2", "`in` can not be applied to int and int"),
        ("1 < 'a'", "`<` can not be applied to int and string"),
        ("!1", "`!` can not be applied to int"),
        ("size()", "`size` needs an argument"),
        ("1 && true", "`&&` can not be applied to int and bool"),
        ("'a'.startsWith(1)", "`startsWith` can not be applied to string and int"),
        ("([1]).a", "taking a key or an entry can not be applied to list and string"),
        ("[1]['a']", "taking a key or an entry can not be applied to list and string"),
        ("1 ? 2 : 3", "expected bool, got int"),
        ("[1][7]", "the list has no entry of that index"),
        ("{1: 2}[3]", "there is no key `3`"),
        ("{'a': 1, 'a': 2}", "a mapping names a key twice"),
        ("{[1]: 2}", "the types in the expression do not fit"),
        ("int('x')", "`int`: string parse error: invalid digit found in string"),
        ("1 % 0", "division by zero"),
        ("9223372036854775807 * 2", "`*` gives a number that is too large"),
        ("1u - 2u", "`-` gives a number that is too large"),
    ] {
        let error = Expression::parse(source).unwrap().evaluate(&scope()).expect_err(source);
        let message = format!("{message}, in `{source}`");
        assert_eq!((error.code, error.message), ("WL0208", message), "{source}");
    }
    let long = format!("1 / 0 == {}1", "1 + ".repeat(30));
    let error = Expression::parse(&long).unwrap().evaluate(&scope()).unwrap_err();
    assert_eq!(error.message, format!("division by zero, in `{}...`", &long[..100]));
}

/// A path that leads nowhere is named, wherever it stands in an expression. It is no error where its value is not needed.
#[test]
fn null_inside_an_expression_is_named() {
    let actions = [("gen".to_owned(), json!({ "status": "skipped", "output": null }))].into_iter().collect();
    let scope = Scope { input: json!({ "l": [1] }), actions, ..Scope::default() };
    let value = |source: &str| Expression::parse(source).unwrap().evaluate(&scope);
    for source in [
        "actions.gen.output.out == 'x'",
        "['a'].all(name, actions['gen'].output.out == name)",
        "{'k': size(actions.gen.output.out)}",
        "has(actions.gen.output.out.x)",
    ] {
        let is_null = "`actions.gen.output` is null, not a mapping: it has no key `out`";
        assert_eq!(value(source).unwrap_err().message, format!("{is_null}, in `{source}`"));
    }
    for source in [
        "actions.gen.output != null && actions.gen.output.out == 'x'",
        "has(input.day) ? input.day.x : false",
        "false && input.l[7] == 1",
        "[{'x': false}].exists(input, input.x)",
    ] {
        assert_eq!(value(source), Ok(json!(false)), "{source}");
    }
}

#[test]
fn strings_in_a_hole_end_where_cel_says() {
    let scope = Scope { input: json!({ "p": "C:\\x" }), ..Scope::default() };
    for (text, expected) in [
        (r#"${{ input.p.contains(r"\") ? "windows" : "unix" }}"#, json!("windows")),
        (r#"${{ """a"b}}""" }}"#, json!("a\"b}}")),
        (r"${{ '''it's }}''' }}", json!("it's }}")),
        (r#"${{ "\"}}" + R'\' }}"#, json!("\"}}\\")),
        (r#"<${{ "" + '' }}>"#, json!("<>")),
    ] {
        assert_eq!(Template::parse_text(text).unwrap().render(&scope), Ok(expected), "{text}");
    }
}

#[test]
fn reference_out_of_sight_is_refused() {
    check_error("inputs.day", "WL0204", "did you mean `input`");
    check_error("env.HOME", "WL0204", "`env` is not known");
    check_error("now()", "WL0204", "no function `now`");
    check_error("__now()", "WL0204", "no function `__now`");
    check_error("_x() + 1", "WL0204", "no function `_x`");
    check_error("timestamp('2026-01-01T00:00:00Z')", "WL0204", "no function `timestamp`");
    check_error("actions", "WL0205", "which action");
    check_error("actions[input.day].output", "WL0205", "which action");
    check_error("size(actions) > 1", "WL0205", "which action");
    check_error("actions.map(a, a)", "WL0205", "which action");
    check_error("[1].map(x, y)", "WL0204", "`y` is not known");
    check_error("actions.load-data.output", "WL0204", "actions[\"the-name\"]");
    check_error("input.?day", "WL0201", "can not be read");
    check_error("1 +", "WL0201", "can not be read");
    check_error("", "WL0201", "empty");
    check_error("Foo{a: 1}", "WL0204", "no type `Foo`");
}

#[test]
fn actions_are_found_wherever_they_are_named() {
    let expression = Expression::parse(
        "has(actions.a.output) && actions['b-c'].status == 'x' ? [actions.d.output] : {'k': input.l.map(x, x + actions.e.output)}",
    );
    let names: Vec<String> = expression.unwrap().actions().into_iter().collect();
    assert_eq!(names, ["a", "b-c", "d", "e"]);
}

#[test]
fn templates() {
    check_template("plain", &json!("plain"));
    check_template("", &json!(""));
    check_template("${{ input.n }}", &json!(3));
    check_template(" ${{ input.n }}", &json!(" 3"));
    check_template("${{ input.n }}${{input.day}}", &json!("3today"));
    check_template("day ${{ input.day }}, ${{ input.list }}", &json!("day today, [3,1,2]"));
    check_template("$${{ input.day }}", &json!("${{ input.day }}"));
    check_template("$${{ a }} ${{ input.n }} $${{", &json!("${{ a }} 3 ${{"));
    check_template("${{ {'a': {'b': 1}} }}", &json!({"a": {"b": 1}}));
    check_template("${{ '}}' }} and ${{ \"}}\" }}", &json!("}} and }}"));
    check_template("$ { {", &json!("$ { {"));
    check_template("${{ input.none }}", &json!(null));
}

#[test]
fn hole_without_an_end_has_its_place() {
    for (text, offset) in [("ab ${{ input.day", 3), ("ä${{ input.day }", 2), ("${{ 'x }}", 0)] {
        let error = Template::parse(&json!(text)).unwrap_err();
        assert_eq!((error.code, error.offset), ("WL0202", Some(offset)), "{text}");
    }
    let error = Template::parse(&json!("ä ${{ 'ä' + § }}")).unwrap_err();
    assert_eq!(error.offset, Some("ä ${{ 'ä' + ".len()), "{error}");
    let error = Template::parse(&json!("ab ${{ input.n + inptu }}")).unwrap_err();
    assert_eq!(error.offset, Some("ab ${{ input.n + ".len()));
}

#[test]
fn conditions_may_be_wrapped() {
    for text in ["input.n == 3", "${{ input.n == 3 }}", "  ${{input.n == 3}}  "] {
        assert_eq!(Expression::parse_condition(text).unwrap().evaluate(&scope()).unwrap(), json!(true), "{text}");
    }
    assert_eq!(Expression::parse_condition("${{ true").unwrap_err().code, "WL0202");
}

#[test]
fn too_deep_expression_is_refused_without_overflow() {
    let many = 1000;
    for source in [
        "(".repeat(many) + "1" + &")".repeat(many),
        "[".repeat(many) + &"]".repeat(many),
        "!".repeat(many * 2) + "true",
        "-".repeat(many * 2) + "1",
        "input".to_owned() + &".a".repeat(many * 2),
        "input".to_owned() + &"[0]".repeat(many),
        "1".to_owned() + &"+1".repeat(many * 2),
        "true ? 1 : ".repeat(300) + "1",
        "true || false ? 1 : ".repeat(200) + "1",
        "1 == 1 == ".repeat(300) + "1",
        "'a' in ['a'] in ".repeat(200) + "[]",
        "{1:".repeat(many) + "1" + &"}".repeat(many),
        "[1].map(x, ".repeat(300) + "1" + &")".repeat(300),
        "x".repeat(MAX_EXPRESSION_BYTES + 1),
    ] {
        let error = Expression::parse(&source).expect_err(&source[..20]);
        assert_eq!(error.code, "WL0203", "{}: {error}", &source[..20]);
    }
}

#[test]
fn deepest_allowed_expression_is_evaluated() {
    let depth = MAX_EXPRESSION_DEPTH;
    check(&("(".repeat(depth) + "1" + &")".repeat(depth)), &json!(1));
    check(&("size([".repeat(depth / 2) + "1" + &"])".repeat(depth / 2)), &json!(1));
    check(&("[".repeat(depth) + &"]".repeat(depth) + " == [] || true"), &json!(true));
    check(&("1".to_owned() + &" + 1".repeat(MAX_EXPRESSION_CHAIN)), &json!(MAX_EXPRESSION_CHAIN + 1));
    check(&("!".repeat(MAX_EXPRESSION_CHAIN) + "true"), &json!(true));
    check(&("true ? 1 : ".repeat(MAX_EXPRESSION_CHAIN) + "2"), &json!(1));
    let nested = "[1].map(x, ".repeat(MAX_COMPREHENSION_DEPTH) + "x" + &")".repeat(MAX_COMPREHENSION_DEPTH);
    check(&nested, &json!([[[[1]]]]));
    check_error(&format!("[1].map(x, {nested})"), "WL0203", "in one another");
}

#[test]
fn wide_flat_expression_is_read() {
    let list = format!("[{}]", vec!["1"; 1500].join(","));
    assert_eq!(Expression::parse(&list).unwrap().evaluate(&scope()).unwrap().as_array().unwrap().len(), 1500);
    let ors = vec!["actions.extract.status == 'x'"; 60].join(" || ");
    assert_eq!(Expression::parse(&ors).unwrap().evaluate(&scope()).unwrap(), json!(false));
}

#[test]
fn the_work_of_an_evaluation_is_bounded() {
    let numbers: Vec<u32> = (0..20_000).collect();
    let scope = || Scope { input: json!({"l": numbers, "s": "x".repeat(100_000)}), ..Scope::default() };
    let run = |source: &str| Expression::parse(source).unwrap().evaluate(&scope());
    for source in [
        "input.l.all(a, input.l.all(b, input.l.all(c, true)))",
        "size(input.l.map(a, input.s)) > 0",
        "size(input.l.map(a, input.s + input.s)) > 0",
        "input.l.all(a, input.s == input.s + 'x' || true)",
        "input.l.all(a, input.s.matches('a+b') || true)",
        "input.l.exists(a, input.l.map(b, [b, b, b]) == []) || true",
        "input.s + input.s",
    ] {
        assert_eq!(run(source).expect_err(source).code, "WL0209", "{source}");
    }
    assert_eq!(run("size(input.l.map(a, a * 2))").unwrap(), json!(20_000));
    let template = Template::parse(&json!({"a": "${{ input.s }}", "b": "${{ input.s }}"})).unwrap();
    assert_eq!(template.render(&scope()).unwrap_err().code, "WL0209");
    const { assert!(100_000 < MAX_OUTPUT_BYTES && MAX_OUTPUT_BYTES < 200_000) };
}
