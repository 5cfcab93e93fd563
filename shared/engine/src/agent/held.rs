//! The messages that an agent holds, and its right to them: hidden until their visibility ends, extended in batches.
//!
//! An agent that can not extend has no right to go on: it stops an attempt before its message can reach another.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::future::join_all;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use windlass_domain::ids::RunId;
use windlass_domain::limits::MAX_BATCH;
use windlass_domain::run::ActionAt;

use super::Agent;
use crate::ports::{QueueName, Receipt};

/// Why an attempt was stopped from outside its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stopped {
    /// Its run is being cancelled, or its report was refused.
    Told,
    /// Its message may be with another agent.
    Lost,
    /// The agent drains and hands it back.
    HandedBack,
}

/// One held message.
#[derive(Debug)]
pub(super) struct Hold {
    pub(super) receipt: Receipt,
    /// Cancelled when the attempt is to stop.
    pub(super) stop: CancellationToken,
    state: Mutex<State>,
    /// Given back when the hold is dropped: after its report has been sent.
    _slot: OwnedSemaphorePermit,
}

#[derive(Debug)]
struct State {
    hidden_until: Instant,
    attempt: Option<(RunId, ActionAt)>,
    stopped: Option<Stopped>,
}

impl Hold {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says which attempt it is, so that it can be stopped by name.
    pub(super) fn is_of(&self, run: RunId, of: ActionAt) {
        self.state().attempt = Some((run, of));
    }

    /// Why it was stopped, if it was; the first reason counts.
    pub(super) fn stopped(&self) -> Option<Stopped> {
        self.state().stopped
    }

    pub(super) fn stop(&self, why: Stopped) {
        self.state().stopped.get_or_insert(why);
        self.stop.cancel();
    }

    /// Whether the message can not be with another agent for at least that long.
    pub(super) fn is_safe_for(&self, margin: Duration) -> bool {
        Instant::now() + margin <= self.state().hidden_until
    }
}

/// Every message that the agent holds.
#[derive(Debug)]
pub(super) struct Held {
    visibility: Duration,
    holds: Mutex<BTreeMap<Receipt, Arc<Hold>>>,
}

impl Held {
    pub(super) fn new(visibility: Duration) -> Self {
        Self { visibility, holds: Mutex::default() }
    }

    fn holds(&self) -> MutexGuard<'_, BTreeMap<Receipt, Arc<Hold>>> {
        self.holds.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A message has been received.
    pub(super) fn take(&self, receipt: Receipt, slot: OwnedSemaphorePermit) -> Arc<Hold> {
        let now = Instant::now();
        let state = State { hidden_until: now + self.visibility, attempt: None, stopped: None };
        let stop = CancellationToken::new();
        let hold = Arc::new(Hold { receipt: receipt.clone(), stop, state: Mutex::new(state), _slot: slot });
        self.holds().insert(receipt, hold.clone());
        hold
    }

    /// The message is no longer extended: it is answered, handed back or lost.
    pub(super) fn release(&self, hold: &Hold) {
        self.holds().remove(&hold.receipt);
    }

    pub(super) fn len(&self) -> usize {
        self.holds().len()
    }

    /// Stops an attempt that is performed here, whatever fence up to that one it has; whether there was one.
    pub(super) fn stop_attempt(&self, run: RunId, of: ActionAt) -> bool {
        let is_meant = |hold: &&Arc<Hold>| {
            let meant = |(held_run, held): (RunId, ActionAt)| {
                held_run == run && held.action == of.action && held.attempt == of.attempt && held.fence <= of.fence
            };
            hold.state().attempt.is_some_and(meant)
        };
        let holds = self.holds();
        let found = holds.values().filter(is_meant).inspect(|hold| hold.stop(Stopped::Told));
        found.count() > 0
    }

    /// Stops everything, to be handed back.
    pub(super) fn hand_back_all(&self) {
        for hold in self.holds().values() {
            hold.stop(Stopped::HandedBack);
        }
    }

    fn all(&self) -> Vec<Arc<Hold>> {
        self.holds().values().cloned().collect()
    }

    /// Stops what can not be kept: its message may be with another agent within `margin`.
    fn stop_lost(&self, margin: Duration) {
        for hold in self.holds().values() {
            if !hold.is_safe_for(margin) {
                hold.stop(Stopped::Lost);
            }
        }
    }
}

impl Agent {
    /// Extends all that is held, three times within its visibility.
    pub(super) async fn keep_held(self, ended: CancellationToken) {
        let visibility = self.inner.settings.visibility;
        loop {
            tokio::select! {
                biased;
                () = ended.cancelled() => return,
                () = tokio::time::sleep(visibility / 6) => {}
            }
            let due = |hold: &Arc<Hold>| !hold.is_safe_for(visibility * 2 / 3);
            let due: Vec<_> = self.inner.held.all().into_iter().filter(due).collect();
            let extended = join_all(due.chunks(MAX_BATCH).map(|batch| self.extend(batch, visibility)));
            if tokio::time::timeout(visibility / 6, extended).await.is_err() {
                tracing::warn!("extending what is performed takes too long; it is tried again");
            }
            // A round takes a third of the visibility at most, so nothing is found too late.
            self.inner.held.stop_lost(visibility / 3);
        }
    }

    async fn extend(&self, batch: &[Arc<Hold>], visibility: Duration) {
        let pool = QueueName::Pool(self.inner.settings.pool.clone());
        let asked_at = Instant::now();
        let request = batch.iter().map(|hold| (hold.receipt.clone(), visibility)).collect();
        match self.inner.ports.queues.extend(&pool, request).await {
            Ok(kept) => {
                for hold in batch {
                    if kept.contains(&hold.receipt) {
                        hold.state().hidden_until = asked_at + visibility;
                    } else {
                        hold.stop(Stopped::Lost);
                    }
                }
            }
            Err(error) => {
                tracing::warn!(error.code = error.code, error = %error, "failed to extend what is performed");
            }
        }
    }
}
