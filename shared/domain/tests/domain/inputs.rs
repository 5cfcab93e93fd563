//! The input of a run: values that the schema allows, fills in or refuses.

use serde_json::{Value, json};
use windlass_domain::definition::Definition;
use windlass_domain::limits::{MAX_INPUT_BYTES, MAX_INPUT_SCHEMA_NODES, MAX_VALUE_DEPTH};

fn definition(schema: &Value) -> Definition {
    Definition::from_source(&json!({"task": "t", "input": schema, "actions": {"a": {"exec": ["a"]}}}))
        .unwrap_or_else(|faults| panic!("{faults}"))
}

fn check(schema: &Value, input: &Value, expected: &Value) {
    assert_eq!(&definition(schema).check_input(input.clone()).unwrap(), expected);
}

fn check_refused(schema: &Value, input: &Value, expected: &[&str]) {
    let faults = definition(schema).check_input(input.clone()).unwrap_err();
    assert_eq!(faults.to_string().lines().collect::<Vec<_>>(), expected);
}

fn check_schema_refused(schema: &Value, part: &str) {
    let source = json!({"task": "t", "input": schema, "actions": {"a": {"exec": ["a"]}}});
    let faults = Definition::from_source(&source).unwrap_err();
    assert!(faults.to_string().contains(part), "{faults}");
    assert!(faults.iter().all(|fault| fault.code == "WL0117"), "{faults}");
}

fn days() -> Value {
    json!({
        "type": "object",
        "required": ["name"],
        "additionalProperties": false,
        "properties": {
            "name": {"type": "string"},
            "day": {"type": "string", "default": "today"},
            "limits": {"type": "object", "default": {}, "properties": {"rows": {"type": "integer", "default": 10}}},
            "files": {"type": "array", "items": {"$ref": "#/$defs/file"}},
        },
        "$defs": {"file": {"type": "object", "properties": {"size": {"type": "integer", "default": 0}}}},
    })
}

#[test]
fn defaults_are_filled_in_everywhere() {
    let input = json!({"name": "n", "files": [{}, {"size": 3}]});
    let filled = json!({"name": "n", "day": "today", "limits": {"rows": 10}, "files": [{"size": 0}, {"size": 3}]});
    check(&days(), &input, &filled);
    check(&days(), &filled, &filled);
    check(&json!({"allOf": [{"properties": {"a": {"default": 1}}}]}), &json!({}), &json!({"a": 1}));
}

#[test]
fn no_input_is_an_empty_one() {
    check(
        &json!({"type": "object", "properties": {"day": {"default": "today"}}}),
        &json!(null),
        &json!({"day": "today"}),
    );
    check(&json!({"properties": {"day": {"default": "today"}}}), &json!(null), &json!({"day": "today"}));
    check(&json!({"type": ["null", "object"]}), &json!(null), &json!({}));
    check(&json!({"description": "anything"}), &json!(null), &json!({}));
    check_refused(&json!({"required": ["day"]}), &json!(null), &["the input: the key `day` is missing [WL0210]"]);
    check(&json!({"type": ["null", "string"]}), &json!(null), &json!(null));
    check(&json!({"anyOf": [{"type": "null"}, {"type": "string"}]}), &json!(null), &json!(null));
    check(&json!({"enum": [null, "full"]}), &json!(null), &json!(null));
    check(&json!({"$ref": "#/$defs/n", "$defs": {"n": {"type": "null"}}}), &json!(null), &json!(null));
    let bare = Definition::from_text("task: t\nactions: { a: { exec: [a] } }").unwrap();
    assert_eq!(bare.check_input(json!(null)).unwrap(), json!({}));
    assert_eq!(bare.check_input(json!([1])).unwrap(), json!([1]));
}

#[test]
fn every_fault_of_an_input_has_its_place() {
    let input = json!({"day": 3, "extra": 1, "files": [{"size": "x"}]});
    check_refused(
        &days(),
        &input,
        &[
            "the input at /day: it must be text, not a number [WL0210]",
            "the input at /files/0/size: it must be a whole number, not text [WL0210]",
            "the input: the key `extra` is not known [WL0210]",
            "the input: the key `name` is missing [WL0210]",
        ],
    );
    check_refused(&json!({"type": "object"}), &json!(3), &["the input: it must be a mapping, not a number [WL0210]"]);
}

#[test]
fn an_input_that_is_too_large_is_refused() {
    let faults = definition(&json!({})).check_input(json!("x".repeat(200_000))).unwrap_err();
    assert_eq!(faults.faults[0].code, "WL0211");
}

/// That many lists in one another.
fn nested(levels: usize) -> Value {
    (0..levels).fold(json!("x"), |inner, _| json!([inner]))
}

#[test]
fn input_nested_too_deep_by_defaults_is_refused() {
    check(&json!({}), &nested(MAX_VALUE_DEPTH), &nested(MAX_VALUE_DEPTH));
    let too_deep = format!("the input: it is nested more than {MAX_VALUE_DEPTH} levels deep [WL0211]");
    check_refused(&json!({}), &nested(MAX_VALUE_DEPTH + 1), &[&too_deep]);
    let filled = json!({"properties": {"list": {"default": nested(MAX_VALUE_DEPTH)}}});
    check_refused(&filled, &json!({}), &[&too_deep]);
}

#[test]
fn schemas_that_could_take_for_ever_are_refused() {
    check_schema_refused(&json!({"$ref": "#"}), "must not contain itself");
    check_schema_refused(&json!({"allOf": [{"$ref": "#"}]}), "must not contain itself");
    check_schema_refused(&json!({"properties": {"a": {"$ref": "#"}}}), "must not contain itself");
    check_schema_refused(&json!({"$ref": "https://example.com/x.json"}), "leads nowhere");
    check_schema_refused(&json!({"$ref": "#/$defs/none"}), "leads nowhere");
    check_schema_refused(&json!({"$dynamicRef": "#x"}), "`$dynamicRef` can not be used");
    let mut defs = serde_json::Map::new();
    for level in 0..40 {
        let next = json!({"$ref": format!("#/$defs/d{}", level + 1)});
        defs.insert(format!("d{level}"), json!({"anyOf": [next, next]}));
    }
    defs.insert("d40".to_owned(), json!({"type": "string"}));
    check_schema_refused(&json!({"$ref": "#/$defs/d0", "$defs": defs}), "more than 10000 parts");
    check_schema_refused(&json!({"type": "strin"}), "not a JSON Schema");
    check_schema_refused(&json!({"pattern": "("}), "");
}

/// Its own parts, and those of the schemas that it names.
#[test]
fn schema_with_too_many_parts_is_refused() {
    let wide = |parts: usize| {
        let properties = (1..parts).map(|at| (format!("p{at}"), json!({})));
        json!({ "properties": properties.collect::<serde_json::Map<_, _>>() })
    };
    definition(&wide(MAX_INPUT_SCHEMA_NODES));
    check_schema_refused(&wide(MAX_INPUT_SCHEMA_NODES + 1), "the input's schema has more than 10000 parts [");
    let in_defs = json!({ "$defs": wide(MAX_INPUT_SCHEMA_NODES)["properties"] });
    definition(&in_defs);
}

#[test]
fn only_the_whole_schema_may_have_an_id() {
    let id = "https://example.com/input";
    definition(&json!({ "$id": id, "type": "object" }));
    check_schema_refused(&json!({ "properties": { "a": { "$id": id } } }), "`$id` can not be used inside");
}

#[test]
fn input_over_its_size_bound_is_refused() {
    let text = |bytes: usize| json!("x".repeat(bytes - 2));
    check(&json!({}), &text(MAX_INPUT_BYTES), &text(MAX_INPUT_BYTES));
    let bytes = MAX_INPUT_BYTES + 1;
    let message = format!("the input: it has {bytes} bytes as JSON; at most {MAX_INPUT_BYTES} are allowed [WL0211]");
    check_refused(&json!({}), &text(bytes), &[&message]);
}

#[test]
fn default_that_breaks_its_schema_is_refused() {
    let wrong = json!({ "type": "integer", "default": "x" });
    for schema in [
        wrong.clone(),
        json!({ "properties": { "a/b~c": wrong } }),
        json!({ "items": wrong }),
        json!({ "allOf": [{}, wrong] }),
        json!({ "$defs": { "d": wrong } }),
    ] {
        let source = json!({"task": "t", "input": schema, "actions": {"a": {"exec": ["a"]}}});
        let faults = Definition::from_source(&source).unwrap_err();
        assert_eq!(faults.faults[0].code, "WL0118", "{faults}");
    }
}
