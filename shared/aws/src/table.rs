//! The one table: names of attributes, and one file for each kind of item with its key, its encoder and its decoder.
//!
//! Names of attributes are short, because `DynamoDB` bills them with every write: an item's size is the sum of its
//! names and values
//! (<https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html>).

pub(crate) mod agent;
pub(crate) mod columns;
#[cfg(test)]
mod golden;
pub(crate) mod head;
pub(crate) mod held;
pub(crate) mod list;
pub(crate) mod mark;
pub(crate) mod packing;
pub(crate) mod page;
pub(crate) mod place;
pub(crate) mod requests;
#[cfg(test)]
pub(crate) mod samples;
pub(crate) mod task;
pub(crate) mod task_version;

use std::collections::HashMap;
use std::fmt::Display;

use aws_sdk_dynamodb::types::AttributeValue;
use windlass_engine::ports::{ErrorClass, PortError};

/// An item as `DynamoDB` takes and gives it.
pub(crate) type Item = HashMap<String, AttributeValue>;

/// The partition key (S).
pub(crate) const PK: &str = "pk";
/// The sort key (S).
pub(crate) const SK: &str = "sk";
/// The revision that a write is conditional on (N).
pub(crate) const REVISION: &str = "r";
/// The packed body (B), see [`packing`].
pub(crate) const BODY: &str = "b";
/// The generation of a page (N).
pub(crate) const GENERATION: &str = "g";
/// The partition key of the index of runs (S): the task.
pub(crate) const LIST_KEY: &str = "list_key";
/// The sort key of the index of runs (N, milliseconds).
pub(crate) const SUBMITTED_AT: &str = "submitted_at";
/// The partition key of the index of due runs (S).
pub(crate) const DUE_SHARD: &str = "due_shard";
/// The sort key of the index of due runs (N, milliseconds).
pub(crate) const DUE_AT: &str = "due_at";
/// When `DynamoDB` may delete the item (N, seconds since the epoch).
pub(crate) const EXPIRES_AT: &str = "expires_at";

/// The index of runs by task and time.
pub(crate) const RUNS_INDEX: &str = "runs";
/// The sparse index of due runs.
pub(crate) const DUE_INDEX: &str = "due";

/// A stored item is damaged, or of a version that this program does not know.
pub(crate) const UNREADABLE: &str = "WL0345";

/// Why this program cannot read an item.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Damage {
    /// An attribute is absent or of another type.
    #[error("its attribute `{0}` is missing or of another type")]
    Attribute(&'static str),
    /// The packed body has a version that this reader does not know.
    #[error("it is of version {found}; this program knows version {known}")]
    UnknownVersion {
        /// The version of the stored format.
        found: u8,
        /// The version that the reader knows.
        known: u8,
    },
    /// The packed body is not whole.
    #[error("it is not whole: {0}")]
    Broken(String),
}

impl Damage {
    pub(crate) fn broken(cause: impl Display) -> Self {
        Self::Broken(cause.to_string())
    }

    /// The damage as the engine sees it; `what` names the item (`run 0190…`).
    pub(crate) fn of(self, what: impl Display) -> PortError {
        PortError::new(ErrorClass::Bug, UNREADABLE, format!("read {what}: {self}"))
    }
}

/// A text attribute.
pub(crate) fn text(value: impl Into<String>) -> AttributeValue {
    AttributeValue::S(value.into())
}

/// A number attribute.
pub(crate) fn number(value: impl Display) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

/// The text of an attribute.
pub(crate) fn read_text<'a>(item: &'a Item, name: &'static str) -> Result<&'a str, Damage> {
    item.get(name).and_then(|value| value.as_s().ok()).map(String::as_str).ok_or(Damage::Attribute(name))
}

/// The number of an attribute.
pub(crate) fn read_number<T: std::str::FromStr>(item: &Item, name: &'static str) -> Result<T, Damage> {
    let number = item.get(name).and_then(|value| value.as_n().ok());
    number.and_then(|number| number.parse().ok()).ok_or(Damage::Attribute(name))
}

/// The number of an optional attribute.
pub(crate) fn read_optional<T: std::str::FromStr>(item: &Item, name: &'static str) -> Result<Option<T>, Damage> {
    if item.contains_key(name) { read_number(item, name).map(Some) } else { Ok(None) }
}

/// The bytes of an attribute.
pub(crate) fn read_bytes<'a>(item: &'a Item, name: &'static str) -> Result<&'a [u8], Damage> {
    item.get(name).and_then(|value| value.as_b().ok()).map(AsRef::as_ref).ok_or(Damage::Attribute(name))
}

/// The key of an item.
pub(crate) fn key(pk: impl Into<String>, sk: impl Into<String>) -> Item {
    Item::from([(PK.to_owned(), text(pk)), (SK.to_owned(), text(sk))])
}
