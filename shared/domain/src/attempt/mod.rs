//! The attempts of one action, as a machine of their own: it knows no graph and no run.
//!
//! The newest attempt is queued, owned, waiting for its retry, or ended ([`ActionStatus`]). One table ([`judge`]) holds
//! an agent's words about it against the record. Its rules are those of [`crate::delivery`].

mod loss;
mod outcome;
mod state;
mod table;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod transitions;

pub(crate) use loss::disproved;
pub use loss::{is_poison, is_suspect, loss_by_claim};
pub use outcome::{ErrorInfo, Outcome, Progress};
pub use state::{ActionState, ActionStatus, Kill, Owner, Unserved, Wait};
pub use table::{Fate, Refused, Said, Verdict, Word, judge, may_begin_unasked};
