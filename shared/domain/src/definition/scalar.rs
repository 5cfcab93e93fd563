//! Single values of a definition as text.

use serde_json::Value;

/// The text under a key.
pub(super) fn text(map: &Value, key: &str) -> Option<String> {
    map.get(key).and_then(Value::as_str).map(str::to_owned)
}

/// A scalar in a place for text: it keeps numbers and booleans as they are written.
pub(super) fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(_) | Value::Number(_) => Some(value.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// The text of a scalar as a template's source.
pub(super) fn text_of(value: &Value) -> Value {
    scalar(value).map_or(Value::Null, Value::String)
}
