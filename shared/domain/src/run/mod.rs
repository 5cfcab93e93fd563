//! The run: its saved state (the saga record), the facts that change it, the inputs that it answers, and what they do to it.
//!
//! [`decide`] is pure: it reads no clock and draws no chance. [`apply`] folds a fact and holds no rule.

mod aggregate;
mod change;
mod checkpoint;
mod command;
mod control;
mod draft;
mod ending;
mod fact;
mod fold;
mod graph;
mod input;
mod pages;
mod readiness;
mod reading;
mod report;
mod source;
mod state;
mod table;
mod time;
mod timers;
mod wording;
mod work;

pub use change::{Change, Rejection};
pub use checkpoint::{CheckpointError, check_checkpoint};
pub(crate) use command::{CANCELLED, resend};
pub use command::{Command, Confirm, Perform, Stop};
pub use fact::{Fact, FactKind, SkipReason};
pub use fold::apply;
pub use input::{ActionAt, CancelCause, Claim, Input, Report};
pub use pages::{Page, Pages};
pub(crate) use readiness::skip_reason;
pub(crate) use reading::Reading;
pub use source::Source;
pub use state::{Cancellation, Origin, Phase, Run, RunStatus};
pub use table::decide;
pub(crate) use timers::next_mark;

pub use crate::attempt::{ActionState, ActionStatus, ErrorInfo, Kill, Outcome, Owner, Progress, Unserved};
