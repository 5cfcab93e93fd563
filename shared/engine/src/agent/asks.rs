//! The claims that an agent has not sent yet.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use windlass_domain::ids::RunId;
use windlass_domain::run::Claim;

/// Claims that the agent has not sent yet. A run is in it as long as a task gathers and sends its claims.
#[derive(Debug, Default)]
pub(super) struct Asks {
    waiting: Mutex<BTreeMap<RunId, Vec<Claim>>>,
    numbers: AtomicU32,
}

impl Asks {
    /// A number that no other request of this agent has.
    pub(super) fn number(&self) -> u32 {
        self.numbers.fetch_add(1, Ordering::Relaxed).wrapping_add(1)
    }

    /// Adds a claim, unless it waits already; whether no task gathers the claims of that run yet.
    pub(super) fn push(&self, run: RunId, claim: Claim) -> bool {
        let mut waiting = self.waiting();
        let is_first = !waiting.contains_key(&run);
        let claims = waiting.entry(run).or_default();
        if !claims.contains(&claim) {
            claims.push(claim);
        }
        is_first
    }

    /// Takes the claims of a run. None: the task that gathers them has ended.
    pub(super) fn take(&self, run: RunId) -> Option<Vec<Claim>> {
        let mut waiting = self.waiting();
        let claims = waiting.get_mut(&run).map(std::mem::take).filter(|claims| !claims.is_empty());
        if claims.is_none() {
            waiting.remove(&run);
        }
        claims
    }

    fn waiting(&self) -> MutexGuard<'_, BTreeMap<RunId, Vec<Claim>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
