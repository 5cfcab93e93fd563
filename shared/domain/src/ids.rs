//! Names and identifiers, each its own type, each checked where it enters.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::limits::MAX_NAME_BYTES;
use crate::time::Timestamp;

/// Why a text is not a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The text is empty.
    #[error("a name must not be empty")]
    Empty,
    /// The text is longer than [`MAX_NAME_BYTES`].
    #[error("a name has at most {MAX_NAME_BYTES} characters")]
    TooLong,
    /// The text has a character that names may not have.
    #[error("a name starts with a letter and has only letters, digits, `-` and `_`; `{0}` is not allowed here")]
    Character(char),
}

fn check_name(text: &str) -> Result<(), NameError> {
    let first = text.chars().next().ok_or(NameError::Empty)?;
    if text.len() > MAX_NAME_BYTES {
        return Err(NameError::TooLong);
    }
    if !first.is_ascii_alphabetic() {
        return Err(NameError::Character(first));
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    match text.chars().find(|c| !allowed(*c)) {
        Some(other) => Err(NameError::Character(other)),
        None => Ok(()),
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $type(Arc<str>);

        impl $type {
            /// Checks the text and makes it a name.
            pub fn new(text: &str) -> Result<Self, NameError> {
                check_name(text)?;
                Ok(Self(Arc::from(text)))
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $type {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::new(text)
            }
        }

        impl TryFrom<String> for $type {
            type Error = NameError;
            fn try_from(text: String) -> Result<Self, NameError> {
                Self::new(&text)
            }
        }

        impl From<$type> for String {
            fn from(name: $type) -> String {
                name.0.as_ref().to_owned()
            }
        }

        impl schemars::JsonSchema for $type {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($type).into()
            }
            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({
                    "type": "string",
                    "pattern": "^[A-Za-z][A-Za-z0-9_-]*$",
                    "maxLength": MAX_NAME_BYTES,
                })
            }
        }
    };
}

name!(
    /// The name of a task: `nightly-report`.
    TaskName
);
name!(
    /// The name of an action inside its task: `extract`.
    ActionName
);
name!(
    /// The name of a pool: a queue of actions and the agents that consume it.
    PoolName
);
name!(
    /// The identity of one agent process, made when it starts.
    AgentId
);

impl Default for PoolName {
    fn default() -> Self {
        Self(Arc::from("default"))
    }
}

/// The number of a task's version: 1, 2, 3, and so on; a version never changes.
pub type TaskVersion = u32;

/// The identity of a run. Runs with a client's key or a nominal time derive it, so that asking twice is one run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RunId(Uuid);

/// The namespace of every UUID that Windlass derives (RFC 9562, version 5).
const NAMESPACE: Uuid = Uuid::from_u128(0x3d1b_9f0e_52a7_5c44_9e6d_77a1_0b8e_c2f5);

impl RunId {
    /// A run id from a UUID that a host has drawn (version 7: its order is the order of submission).
    pub fn from_uuid(uuid: Uuid) -> Self {
        Self(uuid)
    }

    /// The id of the run that a client's idempotency key stands for.
    pub fn from_key(task: &TaskName, key: &str) -> Self {
        Self(derive(&["key", task.as_str(), key]))
    }

    /// The id of the run that is due at a nominal time of the task's schedule.
    pub fn from_nominal_time(task: &TaskName, nominal: Timestamp) -> Self {
        Self(derive(&["due", task.as_str(), &nominal.as_millis().to_string()]))
    }

    /// The id as a UUID.
    pub fn as_uuid(&self) -> Uuid {
        self.0
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for RunId {
    type Err = uuid::Error;
    fn from_str(text: &str) -> Result<Self, uuid::Error> {
        text.parse().map(Self)
    }
}

impl schemars::JsonSchema for RunId {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "RunId".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "format": "uuid" })
    }
}

/// A UUID derived from parts: the same parts give the same id, on every host and at every time.
pub fn derive(parts: &[&str]) -> Uuid {
    Uuid::new_v5(&NAMESPACE, parts.join("\u{1f}").as_bytes())
}

/// The place of an action in its definition, which is also its place in the run's record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(transparent)]
pub struct ActionIndex(pub u32);

impl ActionIndex {
    /// The index as a position in a slice.
    pub fn as_usize(self) -> usize {
        self.0 as usize
    }

    /// The index of a position; definitions are bounded far below `u32::MAX` actions.
    pub fn from_usize(position: usize) -> Self {
        Self(u32::try_from(position).unwrap_or(u32::MAX))
    }
}
