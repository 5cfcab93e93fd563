//! A JSON value inside an item: in its place, or as a reference to a payload in S3.
//!
//! A cell is `[value]` or `[hash, bytes]`. An absent value is `0`, which is no array; a value may itself be `null`.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::Damage;

/// Bytes of JSON up to which a value stands in its item. Every transition writes a value in an item again, until its
/// page is written. A kilobyte costs $0.625 per million writes. A payload in S3 costs $5 per million puts and $0.40 per
/// million reads. With about ten transitions, and values that pack to half, both cost the same at 1 to 2 KiB.
pub(crate) const MAX_INLINE_BYTES: usize = 1024;

/// The SHA-256 of a payload's JSON text.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Hash(pub(crate) [u8; 32]);

impl Hash {
    pub(crate) fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    pub(crate) fn read(text: &str) -> Option<Self> {
        let mut hash = [0; 32];
        if text.len() != 64 || !text.is_ascii() {
            return None;
        }
        for (at, byte) in hash.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).ok()?;
        }
        Some(Self(hash))
    }
}

impl std::fmt::Display for Hash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl std::fmt::Debug for Hash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

/// Where a payload is, and how long its JSON text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reference {
    pub(crate) hash: Hash,
    pub(crate) bytes: u64,
}

/// Payloads by hash: the JSON texts that must be in S3 before an item that refers to them is written.
#[derive(Default)]
pub(crate) struct Outgoing(pub(crate) HashMap<Hash, Vec<u8>>);

impl Outgoing {
    /// The cell of a value.
    ///
    /// # Panics
    /// Never: JSON values can be written.
    pub(crate) fn cell(&mut self, value: &Value) -> Value {
        match self.reference(value) {
            Some(reference) => json!([reference.hash.to_string(), reference.bytes]),
            None => json!([value]),
        }
    }

    /// The reference of a value that is too long to stand in an item.
    pub(crate) fn reference(&mut self, value: &Value) -> Option<Reference> {
        let text = serde_json::to_vec(value).expect("JSON can be written");
        if text.len() <= MAX_INLINE_BYTES {
            return None;
        }
        let reference = Reference { hash: Hash::of(&text), bytes: text.len() as u64 };
        self.0.insert(reference.hash, text);
        Some(reference)
    }
}

/// The content of a cell: nothing, a value, or a reference to a payload in S3.
pub(crate) enum Cell {
    Absent,
    Inline(Value),
    Kept(Reference),
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

/// The reference that two values of a cell are.
pub(crate) fn read_reference(hash: &Value, bytes: &Value) -> Result<Reference, Damage> {
    let reference = hash.as_str().and_then(Hash::read).zip(bytes.as_u64());
    let (hash, bytes) = reference.ok_or_else(|| Damage::broken("a reference to a payload is none"))?;
    Ok(Reference { hash, bytes })
}

/// Payloads that were read, by hash.
pub(crate) type Incoming = HashMap<Hash, Arc<Value>>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_values_stand_in_their_place() {
        let mut outgoing = Outgoing::default();
        for value in [json!(null), json!(0), json!([1, 2]), json!("x".repeat(MAX_INLINE_BYTES - 2))] {
            let Ok(Cell::Inline(read)) = Cell::read(outgoing.cell(&value)) else { panic!("{value}") };
            assert_eq!(read, value);
        }
        assert!(outgoing.0.is_empty());
    }

    #[test]
    fn large_values_become_references() {
        let mut outgoing = Outgoing::default();
        let value = json!("x".repeat(MAX_INLINE_BYTES - 1));
        let cell = outgoing.cell(&value);
        assert_eq!(outgoing.cell(&value), cell);
        let Ok(Cell::Kept(reference)) = Cell::read(cell) else { panic!("it stands in its place") };
        assert_eq!(reference.bytes, MAX_INLINE_BYTES as u64 + 1);
        let (hash, text) = outgoing.0.into_iter().next().expect("one payload");
        assert_eq!((hash, Hash::of(&text)), (reference.hash, reference.hash));
        assert_eq!(serde_json::from_slice::<Value>(&text).ok(), Some(value));
    }

    #[test]
    fn other_forms_are_damage() {
        for cell in [json!(null), json!(1), json!([]), json!(["ab", 3]), json!([1, 2, 3]), json!({})] {
            assert!(Cell::read(cell.clone()).is_err(), "{cell}");
        }
    }
}
