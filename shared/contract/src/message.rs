//! Messages between the parts: JSON, one object each, told apart by `type`, versioned by `v`.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use windlass_domain::ids::{ActionName, AgentId, RunId, TaskName, TaskVersion};
use windlass_domain::limits::MAX_MESSAGE_BYTES;
use windlass_domain::run::{ActionAt, Input};
use windlass_domain::time::{Millis, Timestamp};
use windlass_domain::work::Work;

use crate::instant;

/// The version of every message that is sent.
pub const MESSAGE_VERSION: u32 = 1;

/// A message to the inbox: the one way to the process manager.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum InboxMessage {
    /// Something happened to a run.
    Run {
        /// The format's version: 1.
        #[schemars(extend("const" = MESSAGE_VERSION))]
        v: u32,
        /// Which run.
        run: RunId,
        /// What happened.
        input: Input,
    },
    /// A task is due by its schedule.
    Due {
        /// The format's version: 1.
        #[schemars(extend("const" = MESSAGE_VERSION))]
        v: u32,
        /// Which task.
        task: TaskName,
        /// The due time, in milliseconds since the epoch or as RFC 3339, which is how `EventBridge` Scheduler writes
        /// `<aws.scheduler.scheduled-time>`; absent: the earliest one that waits for its turn.
        #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "instant::read_optional")]
        #[schemars(with = "Option<instant::Written>")]
        nominal: Option<Timestamp>,
    },
    /// The minute has come in which open runs are looked at a second time.
    Sweep {
        /// The format's version: 1.
        #[schemars(extend("const" = MESSAGE_VERSION))]
        v: u32,
        /// Which minute, in milliseconds since the epoch or as RFC 3339.
        #[serde(deserialize_with = "instant::read")]
        #[schemars(with = "instant::Written")]
        nominal: Timestamp,
    },
}

/// A message to a pool: one attempt to be performed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct PerformMessage {
    /// The format's version: 1.
    #[schemars(extend("const" = MESSAGE_VERSION))]
    pub v: u32,
    /// The run it is of.
    pub run: RunId,
    /// The task it is of.
    pub task: TaskName,
    /// The task's version.
    pub version: TaskVersion,
    /// The action's name.
    pub name: ActionName,
    /// The action, the attempt and the fence, to be given back in every report.
    pub of: ActionAt,
    /// What to perform.
    pub work: Work,
    /// How long the attempt may take, in milliseconds; absent: no limit of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<Millis>,
    /// When the run must have ended, in milliseconds since the epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Timestamp>,
    /// When the attempt was queued, in milliseconds since the epoch.
    pub queued_at: Timestamp,
    /// The attempt may already be with an agent: it must be claimed before it starts.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub claim: bool,
    /// Which copy of the attempt's message this is: it is sent again where the first one may be lost. 0: the first one.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub copy: u32,
    /// Where the attempt before this one said that the work can be taken up. Whoever claims finds a newer one in the
    /// record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<Value>,
    /// The attempt's trace context, a W3C `traceparent`: to be passed on to whatever performs it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<String>,
}

/// A message to one agent's control queue.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ControlMessage {
    /// Stop an attempt, and report it as cancelled (or as whatever it was before it could be stopped).
    Stop {
        /// The format's version: 1.
        #[schemars(extend("const" = MESSAGE_VERSION))]
        v: u32,
        /// The run it is of.
        run: RunId,
        /// Which attempt.
        of: ActionAt,
    },
    /// Finish what runs, take nothing further, and exit.
    Drain {
        /// The format's version: 1.
        #[schemars(extend("const" = MESSAGE_VERSION))]
        v: u32,
        /// How long what runs may take; the rest is handed back.
        deadline_ms: Millis,
        /// The agent that is meant.
        agent: AgentId,
    },
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// What is sent between the parts.
pub trait Message: Serialize + DeserializeOwned {
    /// The version of the format that it was written in.
    fn format_version(&self) -> u32;
}

impl Message for InboxMessage {
    fn format_version(&self) -> u32 {
        match self {
            Self::Run { v, .. } | Self::Due { v, .. } | Self::Sweep { v, .. } => *v,
        }
    }
}

impl Message for PerformMessage {
    fn format_version(&self) -> u32 {
        self.v
    }
}

impl Message for ControlMessage {
    fn format_version(&self) -> u32 {
        match self {
            Self::Stop { v, .. } | Self::Drain { v, .. } => *v,
        }
    }
}

/// Why a message can not be read. It goes to the dead-letter queue with this as its reason.
#[derive(Debug, thiserror::Error)]
pub enum MessageError {
    /// It is larger than any message may be.
    #[error("the message has {0} bytes; at most {MAX_MESSAGE_BYTES} are read")]
    TooLarge(usize),
    /// It is of a version that this reader does not know.
    #[error("the message is of version {0}; this reader knows version {MESSAGE_VERSION}")]
    UnknownVersion(u64),
    /// It is not JSON of the expected shape.
    #[error("the message is not of the expected shape: {0}")]
    Shape(#[from] serde_json::Error),
}

/// Writes a message.
///
/// # Panics
/// Never: messages are maps whose keys are text.
pub fn encode<M: Serialize>(message: &M) -> String {
    serde_json::to_string(message).expect("messages are maps with text keys")
}

/// Reads a message, whatever its bytes are.
///
/// A message of another version is refused as such, also where its shape happens to be one that is known.
pub fn decode<M: Message>(body: &str) -> Result<M, MessageError> {
    if body.len() > MAX_MESSAGE_BYTES {
        return Err(MessageError::TooLarge(body.len()));
    }
    match serde_json::from_str::<M>(body) {
        Ok(message) if message.format_version() == MESSAGE_VERSION => Ok(message),
        Ok(message) => Err(MessageError::UnknownVersion(u64::from(message.format_version()))),
        Err(error) => match version_of(body) {
            Some(v) if v != u64::from(MESSAGE_VERSION) => Err(MessageError::UnknownVersion(v)),
            _ => Err(error.into()),
        },
    }
}

/// The version that an otherwise unreadable object says it is of.
pub(crate) fn version_of(body: &str) -> Option<u64> {
    #[derive(Deserialize)]
    struct Versioned {
        v: u64,
    }
    serde_json::from_str::<Versioned>(body).ok().map(|versioned| versioned.v)
}
