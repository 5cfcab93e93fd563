//! How deep a JSON value may be. Stored and sent formats wrap it in some levels more, and readers of JSON stop at 128.

use serde_json::Value;

use crate::limits::MAX_VALUE_DEPTH;

/// Whether arrays and objects stand in one another more often than [`MAX_VALUE_DEPTH`] times.
pub fn is_too_deep(value: &Value) -> bool {
    is_deeper(value, MAX_VALUE_DEPTH)
}

fn is_deeper(value: &Value, levels: usize) -> bool {
    match value {
        Value::Array(items) => levels == 0 || items.iter().any(|item| is_deeper(item, levels - 1)),
        Value::Object(members) => levels == 0 || members.values().any(|member| is_deeper(member, levels - 1)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn nested(levels: usize) -> Value {
        (0..levels)
            .fold(Value::Null, |inner, level| if level % 2 == 0 { json!([1, inner]) } else { json!({ "a": inner }) })
    }

    #[test]
    fn levels_are_counted() {
        assert!(!is_too_deep(&Value::Null));
        assert!(!is_too_deep(&nested(MAX_VALUE_DEPTH)));
        assert!(is_too_deep(&nested(MAX_VALUE_DEPTH + 1)));
        assert!(!is_too_deep(&json!([[], {}, "x"])));
    }
}
