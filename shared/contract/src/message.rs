//! Messages between the parts: JSON, one object each, told apart by `type`, versioned by `v`.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use windlass_domain::attempt::Fate;
use windlass_domain::caller::Caller;
use windlass_domain::delivery::Delivery;
use windlass_domain::ids::{ActionIndex, ActionName, AgentId, RunId, TaskName, TaskVersion};
use windlass_domain::instant;
use windlass_domain::limits::MAX_MESSAGE_BYTES;
use windlass_domain::run::{ActionAt, Input};
use windlass_domain::schedule::TaskInput;
use windlass_domain::time::{Millis, Timestamp};
use windlass_domain::work::Work;

/// The version of every sent message.
pub const MESSAGE_VERSION: u32 = 1;

/// An input of the process manager: a message to the inbox or to the queue of claims. Its type says what kind of record it is for.
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
        /// The input.
        input: Input,
        /// Who asks, by which way, and why; absent: an agent or the host itself.
        #[serde(default, skip_serializing_if = "is_host")]
        caller: Caller,
    },
    /// Something happened to a task's schedule.
    Task {
        /// The format's version: 1.
        #[schemars(extend("const" = MESSAGE_VERSION))]
        v: u32,
        /// Which task.
        task: TaskName,
        /// What happened.
        input: TaskInput,
        /// Who asks, by which way, and why; absent: the host itself.
        #[serde(default, skip_serializing_if = "is_host")]
        caller: Caller,
    },
    /// The minute has come in which the sweeper looks at open runs a second time.
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

/// A message to a pool: one attempt to perform.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct PerformMessage {
    /// The format's version: 1.
    #[schemars(extend("const" = MESSAGE_VERSION))]
    pub v: u32,
    /// Its run.
    pub run: RunId,
    /// Its task.
    pub task: TaskName,
    /// The task's version.
    pub version: TaskVersion,
    /// The action's name.
    pub name: ActionName,
    /// The action and the number of its attempt.
    pub of: ActionAt,
    /// Which of the attempt's messages this is. Reports name the delivery `ATTEMPT.ISSUE.RECEIVE`. The first receipt of
    /// issue 0 may begin without asking while it is fresh; any other delivery claims first.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub issue: u64,
    /// A number that programs compare: a later owner has a greater one. A confirmed claim brings a greater one.
    pub fence: u64,
    /// How many agents the action has cost.
    #[serde(default, skip_serializing_if = "is_zero_usize")]
    pub losses: usize,
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
    /// Where an agent can take the work up, as the attempt before this one saved it. A confirmed claim brings a newer
    /// one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<Value>,
    /// The attempt's trace context, a W3C `traceparent`: the agent passes it on to the program or endpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<String>,
}

/// A message to one agent's control queue.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ControlMessage {
    /// Attempts are the agent's own: it may begin each, or keep it without its message.
    Confirm {
        /// The format's version: 1.
        #[schemars(extend("const" = MESSAGE_VERSION))]
        v: u32,
        /// The run that they are of.
        run: RunId,
        /// The confirmed attempts, with what the agent needs.
        confirmed: Vec<Confirmed>,
    },
    /// Stop attempts, or do not begin them.
    Stop {
        /// The format's version: 1.
        #[schemars(extend("const" = MESSAGE_VERSION))]
        v: u32,
        /// The run that they are of.
        run: RunId,
        /// Which, and what becomes of their messages.
        stopped: Vec<Stopped>,
    },
    /// Finish running attempts, take nothing further, and exit.
    Drain {
        /// The format's version: 1.
        #[schemars(extend("const" = MESSAGE_VERSION))]
        v: u32,
        /// How long running attempts may take; the agent hands back the rest.
        deadline_ms: Millis,
        /// The agent that is meant.
        agent: AgentId,
    },
}

/// An attempt that is the agent's own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Confirmed {
    /// The action.
    pub action: ActionIndex,
    /// The delivery that was claimed or renewed.
    pub delivery: Delivery,
    /// The hash of the message's id, as the agent gave it.
    pub message: u32,
    /// The number that the agent gave to its request. The agent's right counts from when it sent that request.
    pub asked: u32,
    /// Until when the agent has the attempt without its message; absent: as long as it keeps its message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// Where the agent can take the work up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<Value>,
    /// How many agents the action has cost.
    #[serde(default, skip_serializing_if = "is_zero_usize")]
    pub losses: usize,
    /// A number that programs compare.
    pub fence: u64,
}

/// An attempt that the agent stops, or does not begin. It ignores an entry for an attempt that it neither claims nor
/// performs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Stopped {
    /// The action.
    pub action: ActionIndex,
    /// The delivery that is meant.
    pub delivery: Delivery,
    /// The hash of the message's id, as the agent gave it.
    pub message: u32,
    /// The number of the request that this answers; absent: it answers none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked: Option<u32>,
    /// What to do: `report` how the attempt ended, `leave` its message to come again, or `delete` it.
    pub fate: Fate,
    /// Why, in words.
    pub reason: String,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
fn is_zero_usize(number: &usize) -> bool {
    *number == 0
}

fn is_host(caller: &Caller) -> bool {
    *caller == Caller::HOST
}

/// The hash of a message's id by which reports name it: its CRC-32 (as of zlib), and 1 instead of 0.
pub fn message_hash(id: &str) -> u32 {
    crc32fast::hash(id.as_bytes()).max(1)
}

impl InboxMessage {
    /// An input of a run that no person asked for.
    pub fn of_run(run: RunId, input: Input) -> Self {
        Self::Run { v: MESSAGE_VERSION, run, input, caller: Caller::HOST }
    }

    /// An input of a task's schedule.
    pub fn of_task(task: TaskName, input: TaskInput) -> Self {
        Self::Task { v: MESSAGE_VERSION, task, input, caller: Caller::HOST }
    }
}

/// A message that one part of the product sends to another, as JSON text.
pub trait Message: Serialize + DeserializeOwned {
    /// The version of the format that it was written in.
    fn format_version(&self) -> u32;
}

impl Message for InboxMessage {
    fn format_version(&self) -> u32 {
        match self {
            Self::Run { v, .. } | Self::Task { v, .. } | Self::Sweep { v, .. } => *v,
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
            Self::Confirm { v, .. } | Self::Stop { v, .. } | Self::Drain { v, .. } => *v,
        }
    }
}

/// Why a message cannot be read. It goes to the dead-letter queue with this as its reason.
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

/// Reads a message. Any text may come here.
///
/// A message of another version is refused as such, even if its shape is a known one.
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

/// The version that an otherwise unreadable object names.
pub(crate) fn version_of(body: &str) -> Option<u64> {
    #[derive(Deserialize)]
    struct Versioned {
        v: u64,
    }
    serde_json::from_str::<Versioned>(body).ok().map(|versioned| versioned.v)
}
