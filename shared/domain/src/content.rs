//! Values of a record: a short one stands in it, a long one stands apart, under the hash of its text.
//!
//! A record is written at each of its commits. So it holds of a long value only a reference, and its host stores the value
//! once. Whoever decides by a value that is apart has it loaded first: see [`Values`].

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::ids::ActionIndex;
use crate::limits::MAX_HELD_BYTES;

/// The one key of a reference, where a value could stand.
const APART: &str = "$apart";

/// The SHA-256 of a value's JSON text.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest(pub [u8; 32]);

/// A value that stands apart from its record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Apart {
    /// The hash of its text.
    pub digest: Digest,
    /// How many bytes its text has.
    pub bytes: u64,
}

/// A value, or a reference to it.
#[derive(Debug, Clone, PartialEq)]
pub enum Content {
    /// The value itself.
    Here(Value),
    /// It stands apart.
    Apart(Apart),
}

/// A place of a run's record whose value may stand apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Place {
    /// The run's input.
    Input,
    /// The output of that action.
    Output(ActionIndex),
}

/// Places whose values must be loaded before something can be decided.
pub type Wanted = BTreeSet<Place>;

/// The values in memory of those that a record keeps apart: a decision made them, or a host loaded them for one. They are no
/// part of the record, so any two of these are equal.
#[derive(Debug, Clone, Default)]
pub struct Values(Arc<BTreeMap<Digest, Arc<Value>>>);

impl PartialEq for Values {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Values {
    /// Holds a value as a record does; one that stands apart is kept here.
    pub fn hold(&mut self, value: Value) -> Content {
        if is_short(&value) && !is_reference(&value) {
            return Content::Here(value);
        }
        let apart = Apart::of(&value.to_string());
        self.keep(apart, Arc::new(value));
        Content::Apart(apart)
    }

    /// Keeps the value of a reference.
    pub fn keep(&mut self, apart: Apart, value: Arc<Value>) {
        Arc::make_mut(&mut self.0).insert(apart.digest, value);
    }

    /// The value; none: it stands apart and is not here.
    pub fn get<'a>(&'a self, held: &'a Content) -> Option<&'a Value> {
        match held {
            Content::Here(value) => Some(value),
            Content::Apart(apart) => self.0.get(&apart.digest).map(AsRef::as_ref),
        }
    }
}

impl Content {
    /// The reference, if the value stands apart.
    pub const fn apart(&self) -> Option<Apart> {
        match self {
            Self::Here(_) => None,
            Self::Apart(apart) => Some(*apart),
        }
    }
}

impl Default for Content {
    fn default() -> Self {
        Self::Here(Value::Null)
    }
}

impl Apart {
    /// The reference of a value with that text.
    pub fn of(text: &str) -> Self {
        Self { digest: Digest::of(text.as_bytes()), bytes: text.len() as u64 }
    }
}

/// Whether a value is so short that it stands in its record.
fn is_short(value: &Value) -> bool {
    struct Room(usize);
    impl io::Write for Room {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 = self.0.checked_sub(bytes.len()).ok_or(io::ErrorKind::StorageFull)?;
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    serde_json::to_writer(Room(MAX_HELD_BYTES), value).is_ok()
}

/// Whether a value would be read as a reference. It stands apart, however short it is.
fn is_reference(value: &Value) -> bool {
    value.as_object().is_some_and(|map| map.len() == 1 && map.contains_key(APART))
}

impl Serialize for Content {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Here(value) => value.serialize(serializer),
            Self::Apart(Apart { digest, bytes }) => json!({ APART: [digest.to_string(), bytes] }).serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        if !is_reference(&value) {
            return Ok(Self::Here(value));
        }
        let digest = value[APART][0].as_str().and_then(Digest::read);
        let reference = digest.zip(value[APART][1].as_u64()).map(|(digest, bytes)| Apart { digest, bytes });
        reference.map(Self::Apart).ok_or_else(|| D::Error::custom("a reference to a value is none"))
    }
}

impl Digest {
    /// The hash of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// The hash that was shown as this text.
    pub fn read(text: &str) -> Option<Self> {
        let mut digest = [0; 32];
        if text.len() != 64 || !text.is_ascii() {
            return None;
        }
        for (at, byte) in digest.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).ok()?;
        }
        Some(Self(digest))
    }
}

impl std::fmt::Display for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl std::fmt::Debug for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(held: &Content) -> String {
        serde_json::to_string(held).expect("it can be written")
    }

    fn read(text: &str) -> Content {
        serde_json::from_str(text).expect("it can be read")
    }

    #[test]
    fn short_value_stands_in_its_record() {
        let mut values = Values::default();
        for value in [json!(null), json!([1, 2.5]), json!("x".repeat(MAX_HELD_BYTES - 2)), json!({ "a": 1 })] {
            let held = values.hold(value.clone());
            assert_eq!(held, Content::Here(value.clone()));
            assert_eq!((stored(&held), read(&stored(&held))), (value.to_string(), held));
        }
        assert!(values.0.is_empty());
    }

    #[test]
    fn long_value_stands_apart() {
        let mut values = Values::default();
        let value = json!("x".repeat(MAX_HELD_BYTES - 1));
        let held = values.hold(value.clone());
        assert_eq!(held.apart().map(|apart| apart.bytes), Some(MAX_HELD_BYTES as u64 + 1));
        assert_eq!(values.get(&held), Some(&value));
        assert!(stored(&held).len() < 120, "{}", stored(&held));
        assert_eq!(read(&stored(&held)), held);
        assert_eq!(Values::default().get(&held), None, "it is not loaded");
    }

    #[test]
    fn value_that_looks_like_a_reference_stands_apart() {
        let mut values = Values::default();
        let value = json!({ APART: ["00", 1] });
        let held = values.hold(value.clone());
        assert_eq!((held.apart().is_some(), values.get(&held)), (true, Some(&value)));
        let beside = json!({ APART: 1, "b": 2 });
        assert_eq!(values.hold(beside.clone()), Content::Here(beside));
    }

    #[test]
    fn broken_reference_is_reported() {
        for text in [r#"{"$apart":null}"#, r#"{"$apart":["ab",3]}"#, r#"{"$apart":[]}"#] {
            assert!(serde_json::from_str::<Content>(text).is_err(), "{text}");
        }
    }
}
