//! What an agent asks of the process manager: claims, gathered by run, and asked again until they are answered.
//!
//! Where many attempts of a run come to an agent at once, as after a deployment, one message carries up to 64 claims: one
//! write at the run's record, and one answer.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use windlass_domain::ids::RunId;
use windlass_domain::limits::MAX_CLAIMS;
use windlass_domain::run::{Claim, Input};

use super::Agent;
use super::hold::{Answer, Hold, Key};

/// How long claims of one run gather.
const GATHER: Duration = Duration::from_millis(50);
/// How often a claim is asked again, under the same number.
const ASK_EVERY: Duration = Duration::from_secs(5);

/// Claims that wait to be sent. A run is in it as long as a task gathers its claims.
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

    /// Adds a claim; whether no task gathers the claims of that run yet.
    fn push(&self, run: RunId, claim: Claim) -> bool {
        let mut waiting = self.waiting();
        let is_first = !waiting.contains_key(&run);
        waiting.entry(run).or_default().push(claim);
        is_first
    }

    fn take(&self, run: RunId) -> Vec<Claim> {
        self.waiting().remove(&run).unwrap_or_default()
    }

    fn waiting(&self) -> MutexGuard<'_, BTreeMap<RunId, Vec<Claim>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Agent {
    /// Claims what is held, and asks again until it is answered; none: it was stopped before.
    pub(super) async fn claim(&self, key: Key, hold: &Arc<Hold>) -> Option<Answer> {
        let asked = self.inner.asks.number();
        let mut answered = hold.claims(asked);
        let Key { run, action, delivery, message } = key;
        loop {
            self.ask(run, Claim { action, delivery, message, asked });
            tokio::select! {
                biased;
                answer = &mut answered => return answer.ok(),
                () = hold.stop.cancelled() => return None,
                () = tokio::time::sleep(ASK_EVERY) => {}
            }
        }
    }

    fn ask(&self, run: RunId, claim: Claim) {
        if !self.inner.asks.push(run, claim) {
            return;
        }
        let agent = self.clone();
        // On its own, so that the others are asked whatever becomes of the attempt that was first.
        tokio::spawn(async move {
            tokio::time::sleep(GATHER).await;
            for claims in agent.inner.asks.take(run).chunks(MAX_CLAIMS) {
                let input = Input::Claim { agent: agent.inner.settings.id.clone(), claims: claims.to_vec() };
                agent.inner.reporter.report(run, input, None);
            }
        });
    }
}
