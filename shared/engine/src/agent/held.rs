//! The messages that an agent holds, and its right to them: hidden until their visibility ends, extended in batches; or
//! leased, when they have been held for long (`lease.rs`).
//!
//! An agent that can not extend has no right to go on: it stops an attempt before its message can reach another.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::future::{join, join_all};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use windlass_contract::message::PerformMessage;
use windlass_domain::ids::RunId;
use windlass_domain::limits::{LEASE_MS, MAX_BATCH};
use windlass_domain::run::ActionAt;
use windlass_domain::sabotage::{Bug, sabotaged};
use windlass_domain::time::Timestamp;

use super::Agent;
use crate::ports::{Delivery, QueueName, Receipt};

/// How long an attempt without a message is this agent's after each renewal.
const LEASE: Duration = Duration::from_millis(LEASE_MS);

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

/// What gives an agent the right to one attempt: its message, or a lease in the record.
#[derive(Debug)]
pub(super) struct Hold {
    number: u64,
    /// Cancelled when the attempt is to stop.
    pub(super) stop: CancellationToken,
    state: Mutex<State>,
    /// Given back when the hold is dropped: after its report has been sent.
    _slot: OwnedSemaphorePermit,
}

#[derive(Debug)]
struct State {
    /// Its messages: the one that counts, and others that its queue made of it. They are kept hidden until they are deleted.
    receipts: Vec<Receipt>,
    /// When it was received, or a little earlier: from then on its queue counts the hours.
    since: Instant,
    /// The record keeps it for this agent, and no message counts any more.
    is_leased: bool,
    /// Since when the record may keep it for this agent: the first answer may have been lost.
    asked_at: Option<Instant>,
    /// Nobody else may have it before.
    safe_until: Instant,
    /// For how long it is safe after each extension or renewal.
    span: Duration,
    /// The message, with the fence that the agent has, and when it began.
    attempt: Option<(Arc<PerformMessage>, Timestamp)>,
    stopped: Option<Stopped>,
}

impl Hold {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether that attempt is performed by it, under such a fence.
    fn is_for(&self, run: RunId, of: ActionAt, fits: impl Fn(u32) -> bool) -> bool {
        self.state().attempt.as_ref().is_some_and(|(held, _)| {
            let same = (held.run, held.of.action, held.of.attempt) == (run, of.action, of.attempt);
            same && fits(held.of.fence)
        })
    }

    /// Why it was stopped, if it was; the first reason counts.
    pub(super) fn stopped(&self) -> Option<Stopped> {
        self.state().stopped
    }

    pub(super) fn stop(&self, why: Stopped) {
        self.state().stopped.get_or_insert(why);
        self.stop.cancel();
    }

    /// Whether nobody else can have it for at least that long.
    pub(super) fn is_safe_for(&self, margin: Duration) -> bool {
        Instant::now() + margin <= self.state().safe_until
    }

    /// Whether it is time to extend or renew it.
    fn is_due(&self) -> bool {
        let span = self.state().span;
        !self.is_safe_for(span * 2 / 3)
    }

    /// Whether it is too late to go on with it. A lease that was asked for may have been given, whatever became of the
    /// answer, and then the record takes it from this agent when it is over, though the message is still here.
    fn is_lost(&self) -> bool {
        let (span, asked_at) = {
            let state = self.state();
            (state.span, state.asked_at)
        };
        !self.is_safe_for(span / 3) || asked_at.is_some_and(|at| at.elapsed() >= LEASE * 2 / 3)
    }

    /// Whether the record keeps it, and no message does.
    pub(super) fn is_leased(&self) -> bool {
        self.state().is_leased
    }

    /// The attempt that is to be leased now, or whose lease is to be renewed, and since when it runs.
    pub(super) fn due_lease(&self, lease_after: Duration) -> Option<(Arc<PerformMessage>, Timestamp)> {
        let is_due = self.is_due();
        let mut state = self.state();
        if state.is_leased {
            return state.attempt.clone().filter(|_| is_due);
        }
        let attempt = state.attempt.clone()?;
        if state.since.elapsed() < lease_after || state.stopped.is_some() {
            return None;
        }
        state.asked_at.get_or_insert_with(Instant::now);
        Some(attempt)
    }

    /// The record keeps it for this agent since it was asked then. What has been stopped meanwhile is given back with
    /// its message.
    pub(super) fn leased(&self, asked_at: Instant) {
        let mut state = self.state();
        if state.stopped.is_some() && !state.is_leased {
            return;
        }
        (state.is_leased, state.asked_at) = (true, None);
        (state.span, state.safe_until) = (LEASE, asked_at + LEASE);
    }

    /// Its messages that may not have been deleted yet, the one that counts first.
    pub(super) fn receipts(&self) -> Vec<Receipt> {
        self.state().receipts.clone()
    }

    /// These messages are gone.
    pub(super) fn forget(&self, gone: &[Receipt]) {
        self.state().receipts.retain(|receipt| !gone.contains(receipt));
    }
}

/// Every message that the agent holds.
#[derive(Debug)]
pub(super) struct Held {
    visibility: Duration,
    next: AtomicU64,
    holds: Mutex<BTreeMap<u64, Arc<Hold>>>,
}

impl Held {
    pub(super) fn new(visibility: Duration) -> Self {
        Self { visibility, next: AtomicU64::new(0), holds: Mutex::default() }
    }

    fn holds(&self) -> MutexGuard<'_, BTreeMap<u64, Arc<Hold>>> {
        self.holds.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A message has been received, by a receive that was asked for at that time. When it was hidden is not known any
    /// better: the answer may have lain unread while the process slept.
    pub(super) fn take(&self, delivery: &Delivery, asked_at: Instant, slot: OwnedSemaphorePermit) -> Arc<Hold> {
        let state = State {
            receipts: vec![delivery.receipt.clone()],
            since: asked_at,
            is_leased: false,
            asked_at: None,
            safe_until: asked_at + self.visibility,
            span: self.visibility,
            attempt: None,
            stopped: None,
        };
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let stop = CancellationToken::new();
        let hold = Arc::new(Hold { number, stop, state: Mutex::new(state), _slot: slot });
        self.holds().insert(number, hold.clone());
        hold
    }

    /// The message is no longer extended: it is answered, handed back or lost.
    pub(super) fn release(&self, hold: &Hold) {
        self.holds().remove(&hold.number);
    }

    pub(super) fn len(&self) -> usize {
        self.holds().len()
    }

    /// Stops an attempt that is performed here, whatever fence up to that one it has; whether there was one.
    pub(super) fn stop_attempt(&self, run: RunId, of: ActionAt) -> bool {
        let holds = self.holds();
        let meant = holds.values().filter(|hold| hold.is_for(run, of, |fence| fence <= of.fence));
        meant.inspect(|hold| hold.stop(Stopped::Told)).count() > 0
    }

    /// Says which attempt a message is of, so that it can be stopped by name and leased. If that very attempt is performed
    /// here already, its queue has delivered the message twice: it is kept beside the other, and nothing is to be begun.
    pub(super) fn identify(&self, hold: &Hold, message: PerformMessage, began: Timestamp) -> bool {
        let mut holds = self.holds();
        if put_beside(&mut holds, hold, message.run, message.of) {
            return false;
        }
        hold.state().attempt = Some((Arc::new(message), began));
        true
    }

    /// Keeps another message of an attempt that is performed here beside the first; whether it is.
    pub(super) fn keep_beside(&self, hold: &Hold, run: RunId, of: ActionAt) -> bool {
        put_beside(&mut self.holds(), hold, run, of)
    }

    /// Stops everything, to be handed back.
    pub(super) fn hand_back_all(&self) {
        for hold in self.holds().values() {
            hold.stop(Stopped::HandedBack);
        }
    }

    pub(super) fn all(&self) -> Vec<Arc<Hold>> {
        self.holds().values().cloned().collect()
    }

    /// Stops what could not be kept: another agent may have it soon.
    fn stop_lost(&self) {
        for hold in self.holds().values() {
            if hold.is_lost() && !sabotaged(Bug::GoOnUnheld) {
                hold.stop(Stopped::Lost);
            }
        }
    }
}

fn put_beside(holds: &mut BTreeMap<u64, Arc<Hold>>, hold: &Hold, run: RunId, of: ActionAt) -> bool {
    let is_performed = |held: &&Arc<Hold>| held.is_for(run, of, |fence| fence >= of.fence);
    let Some(first) = holds.values().find(is_performed).cloned() else { return false };
    holds.remove(&hold.number);
    first.state().receipts.extend(hold.receipts());
    true
}

impl Agent {
    /// Keeps all that is held, three times within the time for which it is safe.
    pub(super) async fn keep_held(self, ended: CancellationToken) {
        let every = self.inner.settings.visibility.min(LEASE) / 6;
        loop {
            tokio::select! {
                biased;
                () = ended.cancelled() => return,
                () = tokio::time::sleep(every) => {}
            }
            let (extended, leased) = join(timeout(every, self.extend_due()), timeout(every, self.keep_leases())).await;
            if extended.is_err() || leased.is_err() {
                tracing::warn!("keeping what is performed takes too long; it is tried again");
            }
            // A round takes a third of the time for which all is safe at most, so nothing is found too late.
            self.inner.held.stop_lost();
        }
    }

    async fn extend_due(&self) {
        // The message of a leased attempt is refused and deleted by whoever gets it.
        let is_due = |hold: &Arc<Hold>| !hold.is_leased() && hold.is_due();
        let due = self.inner.held.all().into_iter().filter(is_due);
        let due: Vec<_> =
            due.flat_map(|hold| hold.receipts().into_iter().map(move |receipt| (hold.clone(), receipt))).collect();
        join_all(due.chunks(MAX_BATCH).map(|batch| self.extend(batch))).await;
    }

    async fn extend(&self, batch: &[(Arc<Hold>, Receipt)]) {
        let pool = QueueName::Pool(self.inner.settings.pool.clone());
        let visibility = self.inner.settings.visibility;
        let asked_at = Instant::now();
        let request = batch.iter().map(|(_, receipt)| (receipt.clone(), visibility)).collect();
        match self.inner.ports.queues.extend(&pool, request).await {
            Ok(kept) => {
                for (hold, receipt) in batch {
                    let counts = !hold.is_leased() && hold.receipts().first() == Some(receipt);
                    match (counts, kept.contains(receipt)) {
                        (true, true) => hold.state().safe_until = asked_at + visibility,
                        (true, false) if sabotaged(Bug::GoOnUnheld) => {}
                        (true, false) => hold.stop(Stopped::Lost),
                        (false, true) => {}
                        (false, false) => hold.forget(std::slice::from_ref(receipt)),
                    }
                }
            }
            Err(error) => {
                tracing::warn!(error.code = error.code, error = %error, "failed to extend what is performed");
            }
        }
    }
}
