//! Writes schemas in the words that generators of clients understand: `enum` for one of several texts, and
//! `additionalProperties` for a map. Schemas made from types say the same by `oneOf` of `const`, and by
//! `patternProperties`.

use serde_json::{Map, Value, json};

/// The same schemas in plain words, all through the value.
pub(crate) fn plain(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let map = map.into_iter().map(|(key, value)| (key, plain(value))).collect();
            Value::Object(as_map(as_enum(map)))
        }
        Value::Array(items) => items.into_iter().map(plain).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value,
    }
}

/// One of several texts.
fn as_enum(mut schema: Map<String, Value>) -> Map<String, Value> {
    let Some(texts) = schema.get("oneOf").and_then(Value::as_array).and_then(|all| texts_of(all)) else {
        return schema;
    };
    let described: Vec<String> = texts.iter().filter_map(Text::described).collect();
    let own = schema.get("description").and_then(Value::as_str).map(ToOwned::to_owned);
    let description: Vec<String> = own.into_iter().chain(described).collect();
    schema.remove("oneOf");
    schema.insert("type".to_owned(), json!("string"));
    schema.insert("enum".to_owned(), texts.into_iter().map(|text| text.value).collect());
    if !description.is_empty() {
        schema.insert("description".to_owned(), json!(description.join("\n")));
    }
    schema
}

/// A text, and what it says.
struct Text {
    value: Value,
    description: Option<String>,
}

impl Text {
    fn described(&self) -> Option<String> {
        let value = self.value.as_str().unwrap_or_default();
        self.description.as_ref().map(|description| format!("- `{value}`: {description}"))
    }
}

/// The texts, if the schemas are of nothing else.
fn texts_of(schemas: &[Value]) -> Option<Vec<Text>> {
    let mut texts = Vec::new();
    for schema in schemas {
        let description = schema.get("description").and_then(Value::as_str).map(ToOwned::to_owned);
        match (schema.get("const"), schema.get("enum").and_then(Value::as_array)) {
            (Some(value), None) => texts.push(Text { value: value.clone(), description }),
            (None, Some(values)) => {
                texts.extend(values.iter().map(|value| Text { value: value.clone(), description: None }));
            }
            _ => return None,
        }
    }
    texts.iter().all(|text| text.value.is_string()).then_some(texts)
}

/// A map whose keys have one pattern.
fn as_map(mut schema: Map<String, Value>) -> Map<String, Value> {
    let is_closed = schema.get("additionalProperties") == Some(&json!(false)) && !schema.contains_key("properties");
    let Some(patterns) = schema.get("patternProperties").and_then(Value::as_object).filter(|_| is_closed) else {
        return schema;
    };
    let mut patterns = patterns.clone().into_iter();
    if let (Some((pattern, of)), None) = (patterns.next(), patterns.next()) {
        schema.remove("patternProperties");
        schema.insert("additionalProperties".to_owned(), of);
        schema.insert("propertyNames".to_owned(), json!({ "pattern": pattern }));
    }
    schema
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_become_an_enum_and_one_pattern_a_map() {
        let cases = [
            (
                json!({ "description": "Where.", "oneOf": [
                    { "type": "string", "const": "a", "description": "First." }, { "type": "string", "enum": ["b"] }
                ] }),
                json!({ "description": "Where.\n- `a`: First.", "type": "string", "enum": ["a", "b"] }),
            ),
            (
                json!({ "type": "object", "patternProperties": { "^x$": { "oneOf": [{ "const": "a" }] } },
                        "additionalProperties": false }),
                json!({ "type": "object", "additionalProperties": { "type": "string", "enum": ["a"] },
                        "propertyNames": { "pattern": "^x$" } }),
            ),
        ];
        for (given, wanted) in cases {
            assert_eq!(plain(given), wanted);
        }
        let others = [
            json!({ "oneOf": [{ "const": 1 }] }),
            json!({ "oneOf": [{ "const": "a" }, { "type": "null" }] }),
            json!({ "patternProperties": { "^x$": {} } }),
            json!({ "patternProperties": { "^x$": {}, "^y$": {} }, "additionalProperties": false }),
            json!({ "patternProperties": { "^x$": {} }, "properties": {}, "additionalProperties": false }),
        ];
        for other in others {
            assert_eq!(plain(other.clone()), other);
        }
    }
}
