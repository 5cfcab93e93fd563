//! Values on their way into CEL and back. Whole numbers stay whole; mappings come back with sorted keys, because CEL
//! has no order of its own and every host must see the same text.

use std::sync::Arc;

use cel::common::types::{CelBool, CelDouble, CelInt, CelList, CelMap, CelNull, CelString, CelUInt};
use cel::common::value::Val;
use cel::objects;
use serde_json::{Map, Number, Value};

use super::error::{ExpressionError, code};
use crate::limits::MAX_OUTPUT_BYTES;

/// A JSON value as CEL sees it.
pub(super) fn to_cel(value: &Value) -> cel::Value {
    match value {
        Value::Null => cel::Value::Null,
        Value::Bool(value) => cel::Value::Bool(*value),
        Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => cel::Value::Int(number),
            (None, Some(number)) => cel::Value::UInt(number),
            (None, None) => cel::Value::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        Value::String(text) => cel::Value::String(Arc::new(text.clone())),
        Value::Array(items) => cel::Value::List(Arc::new(items.iter().map(to_cel).collect())),
        Value::Object(map) => mapping(map.iter()),
    }
}

/// A mapping as CEL sees it.
pub(super) fn mapping<'v>(entries: impl Iterator<Item = (&'v String, &'v Value)>) -> cel::Value {
    let entries = entries.map(|(key, value)| (objects::Key::String(Arc::new(key.clone())), to_cel(value)));
    cel::Value::Map(objects::Map { map: Arc::new(entries.collect()) })
}

/// A CEL value as JSON, of a bounded size.
pub(super) fn to_json(value: &dyn Val) -> Result<Value, ExpressionError> {
    let mut left = MAX_OUTPUT_BYTES;
    convert(value, &mut left)
}

/// A value inside text: a string without its quotes, anything else as JSON.
pub fn as_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    }
}

fn convert(value: &dyn Val, left: &mut usize) -> Result<Value, ExpressionError> {
    take(left, 1)?;
    if let Some(text) = value.downcast_ref::<CelString>() {
        take(left, text.inner().len())?;
        return Ok(Value::String(text.inner().to_owned()));
    }
    if let Some(list) = value.downcast_ref::<CelList>() {
        let items = list.inner().iter().map(|item| convert(item.as_ref(), left));
        return Ok(Value::Array(items.collect::<Result<_, _>>()?));
    }
    if let Some(map) = value.downcast_ref::<CelMap>() {
        let mut entries = Vec::with_capacity(map.inner().len());
        for (key, item) in map.inner() {
            let key = key_text(key.inner(), left)?;
            entries.push((key, convert(item.as_ref(), left)?));
        }
        entries.sort_by(|(a, _), (b, _)| a.cmp(b));
        return Ok(Value::Object(entries.into_iter().collect::<Map<_, _>>()));
    }
    scalar(value).ok_or_else(|| {
        let kind = value.get_type().name();
        ExpressionError::new(code::NO_VALUE, format!("the value is of type `{kind}`, which JSON does not have"))
    })
}

fn scalar(value: &dyn Val) -> Option<Value> {
    if value.downcast_ref::<CelNull>().is_some() {
        return Some(Value::Null);
    }
    if let Some(value) = value.downcast_ref::<CelBool>() {
        return Some(Value::Bool(*value.inner()));
    }
    if let Some(value) = value.downcast_ref::<CelInt>() {
        return Some(Value::from(*value.inner()));
    }
    if let Some(value) = value.downcast_ref::<CelUInt>() {
        return Some(Value::from(*value.inner()));
    }
    let value = value.downcast_ref::<CelDouble>()?;
    Number::from_f64(*value.inner()).map(Value::Number)
}

fn key_text(key: &dyn Val, left: &mut usize) -> Result<String, ExpressionError> {
    Ok(as_text(&convert(key, left)?))
}

fn take(left: &mut usize, bytes: usize) -> Result<(), ExpressionError> {
    *left = left.checked_sub(bytes).ok_or_else(|| {
        let message = format!("the value of the expression has more than {MAX_OUTPUT_BYTES} bytes");
        ExpressionError::new(code::TOO_MUCH, message)
    })?;
    Ok(())
}
