//! Attempts of actions that cost agents before are begun apart from others, so that what kills its agent does not take
//! others along for ever.
//!
//! Every attempt is on probation when it begins. A suspect begins when nothing else of its agent is on probation, and
//! nothing else begins while it is; so what it may do to its agent soon after it began, it does alone. It is held back
//! before it is claimed: what waits when the agent dies has not cost an agent. Probation is short, so that a suspect
//! neither waits long for others nor holds them up for long; what kills its agent later than that is not kept apart.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock};
use windlass_domain::limits::SUSPECT_LOSSES;
use windlass_domain::run::ActionState;

/// How long an attempt is on probation.
const PROBATION: Duration = Duration::from_secs(30);

/// Who is on probation: any number of others, or one suspect. Who waits first is let in first.
#[derive(Debug, Default, Clone)]
pub(super) struct Gate(Arc<RwLock<()>>);

/// A place on probation; it ends when this is dropped.
#[derive(Debug)]
pub(super) enum Probation {
    Beside(#[expect(dead_code, reason = "it is held")] OwnedRwLockReadGuard<()>),
    Alone(#[expect(dead_code, reason = "it is held")] OwnedRwLockWriteGuard<()>),
}

impl Gate {
    /// Waits until it may begin.
    pub(super) async fn enter(&self, is_suspect: bool) -> Probation {
        if is_suspect {
            Probation::Alone(self.0.clone().write_owned().await)
        } else {
            Probation::Beside(self.0.clone().read_owned().await)
        }
    }
}

impl Probation {
    /// Ends after its time, and then never returns.
    pub(super) async fn pass(self) -> std::convert::Infallible {
        tokio::time::sleep(PROBATION).await;
        drop(self);
        std::future::pending().await
    }
}

/// Whether the action will be one that is begun apart, once the claim of a redelivered message is counted.
pub(super) fn is_suspect(state: &ActionState, redelivered: bool) -> bool {
    state.lost.len() + usize::from(redelivered && !state.handed_back) >= SUSPECT_LOSSES
}
