//! A JSON value inside an item: in its place, or as a reference to a payload in S3.
//!
//! A cell is `[value]` or `[hash, bytes]`. An absent value is `0`, which is no array; a value may itself be `null`.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::{Value, json};
use windlass_domain::content::{Apart, Content, Digest};
use windlass_domain::limits::MAX_HELD_BYTES;

use super::Damage;

/// Payloads by hash: the JSON texts that must be in S3 before an item that refers to them is written.
#[derive(Default)]
pub(crate) struct Outgoing(pub(crate) HashMap<Digest, String>);

impl Outgoing {
    /// The cell of a value.
    ///
    /// # Panics
    /// Never: JSON values can be written.
    pub(crate) fn cell(&mut self, value: &Value) -> Value {
        self.reference(value).map_or_else(|| json!([value]), of_reference)
    }

    /// The cell of a value that the record holds. A value that stands apart has its payload already.
    pub(crate) fn held(&mut self, held: &Content) -> Value {
        match held {
            Content::Here(value) => self.cell(value),
            Content::Apart(apart) => of_reference(*apart),
        }
    }

    /// The reference of a value that is too long to stand in an item.
    pub(crate) fn reference(&mut self, value: &Value) -> Option<Apart> {
        let text = value.to_string();
        if text.len() <= MAX_HELD_BYTES {
            return None;
        }
        let reference = Apart::of(&text);
        self.0.insert(reference.digest, text);
        Some(reference)
    }
}

fn of_reference(Apart { digest, bytes }: Apart) -> Value {
    json!([digest.to_string(), bytes])
}

/// The content of a cell: nothing, a value, or a reference to a payload in S3.
pub(crate) enum Cell {
    Absent,
    Inline(Value),
    Kept(Apart),
}

impl Cell {
    pub(crate) fn read(cell: Value) -> Result<Self, Damage> {
        match cell {
            Value::Number(zero) if zero.as_u64() == Some(0) => Ok(Self::Absent),
            Value::Array(mut parts) => match (parts.pop(), parts.pop(), parts.pop()) {
                (Some(value), None, None) => Ok(Self::Inline(value)),
                (Some(bytes), Some(hash), None) => read_reference(&hash, &bytes).map(Self::Kept),
                _ => Err(Damage::broken("a cell has an unknown form")),
            },
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => {
                Err(Damage::broken("a cell has an unknown form"))
            }
        }
    }
}

impl Cell {
    /// What the record holds; none: nothing.
    pub(crate) fn held(self) -> Option<Content> {
        match self {
            Self::Absent => None,
            Self::Inline(value) => Some(Content::Here(value)),
            Self::Kept(reference) => Some(Content::Apart(reference)),
        }
    }
}

/// The reference that two values of a cell are.
pub(crate) fn read_reference(hash: &Value, bytes: &Value) -> Result<Apart, Damage> {
    let reference = hash.as_str().and_then(Digest::read).zip(bytes.as_u64());
    let (digest, bytes) = reference.ok_or_else(|| Damage::broken("a reference to a payload is none"))?;
    Ok(Apart { digest, bytes })
}

/// Payloads that were read, by hash.
pub(crate) type Incoming = HashMap<Digest, Arc<Value>>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_values_stand_in_their_place() {
        let mut outgoing = Outgoing::default();
        for value in [json!(null), json!(0), json!([1, 2]), json!("x".repeat(MAX_HELD_BYTES - 2))] {
            let Ok(Cell::Inline(read)) = Cell::read(outgoing.cell(&value)) else { panic!("{value}") };
            assert_eq!(read, value);
        }
        assert!(outgoing.0.is_empty());
    }

    #[test]
    fn large_values_become_references() {
        let mut outgoing = Outgoing::default();
        let value = json!("x".repeat(MAX_HELD_BYTES - 1));
        let cell = outgoing.cell(&value);
        assert_eq!(outgoing.cell(&value), cell);
        let Ok(Cell::Kept(reference)) = Cell::read(cell) else { panic!("it stands in its place") };
        assert_eq!(reference.bytes, MAX_HELD_BYTES as u64 + 1);
        let (hash, text) = outgoing.0.into_iter().next().expect("one payload");
        assert_eq!((hash, Digest::of(text.as_bytes())), (reference.digest, reference.digest));
        assert_eq!(serde_json::from_str::<Value>(&text).ok(), Some(value));
    }

    #[test]
    fn other_forms_are_damage() {
        for cell in [json!(null), json!(1), json!([]), json!(["ab", 3]), json!([1, 2, 3]), json!({})] {
            assert!(Cell::read(cell.clone()).is_err(), "{cell}");
        }
    }
}
