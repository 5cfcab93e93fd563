//! The run: its saved state (the saga record), the events that change it, and the inputs it answers.

mod apply;
mod checkpoint;
mod event;
mod input;
mod pages;
mod record;

pub use apply::apply;
pub use checkpoint::{CheckpointError, check_checkpoint};
pub use event::{CancelCause, ClaimedBy, Event, EventKind, SkipReason};
pub use input::{ActionAt, Input, Outcome, Progress};
pub use pages::{Page, Pages};
pub(crate) use record::STARTING_REVISION;
pub use record::{ActionState, ActionStatus, Cancellation, ErrorInfo, Kill, Origin, Run, RunStatus, Unserved};
