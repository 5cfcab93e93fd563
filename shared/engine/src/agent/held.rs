//! The messages that an agent holds, and its right to them: hidden until their visibility ends, extended in batches.
//!
//! An agent that can not extend has no right to go on: it stops an attempt before its message can reach another.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::future::{join, join_all};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use windlass_contract::message::PerformMessage;
use windlass_domain::ids::RunId;
use windlass_domain::limits::MAX_BATCH;
use windlass_domain::run::ActionAt;
use windlass_domain::sabotage::{Bug, sabotaged};

use super::Agent;
use crate::ports::{Delivery, QueueName, Receipt};

/// How long after a copy was sent that nobody has brought back another one is sent; after that one twice as long.
const COPY_AGAIN: Duration = Duration::from_mins(5);
/// How long after a copy was sent an agent without a free slot looks for it; after that twice as long, and so on.
const LOOK_AFTER: Duration = Duration::from_secs(5);

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

/// One attempt's message, or its messages while one replaces the other.
#[derive(Debug)]
pub(super) struct Hold {
    number: u64,
    /// How often the message had been received when it was taken.
    pub(super) receive_count: u32,
    /// Cancelled when the attempt is to stop.
    pub(super) stop: CancellationToken,
    state: Mutex<State>,
    /// Given back when the hold is dropped: after its report has been sent.
    _slot: OwnedSemaphorePermit,
}

#[derive(Debug)]
struct State {
    /// The message that counts.
    receipt: Receipt,
    /// Which copy it is.
    copy: u32,
    /// When it was received, or a little later: from then on its queue counts the hours.
    since: Instant,
    hidden_until: Instant,
    /// Messages that were replaced and are to be deleted. Until they are, they are kept hidden too.
    replaced: Vec<Receipt>,
    /// Other receipts of the message that counts, or of another that its queue made of it. They are kept hidden with it, and
    /// deleted when it is.
    beside: Vec<Receipt>,
    /// The copies that were sent and not adopted.
    sent: Option<Sent>,
    /// The message as it would be sent again, with the fence that the agent has.
    attempt: Option<Arc<PerformMessage>>,
    stopped: Option<Stopped>,
}

/// Copies that wait to be adopted.
#[derive(Debug, Clone, Copy)]
struct Sent {
    first_at: Instant,
    newest_at: Instant,
    /// The number of the newest one.
    copy: u32,
    /// How many there are.
    count: u32,
    /// How often they were looked for.
    looks: u32,
}

/// That span, doubled so many times.
fn doubled(span: Duration, times: u32) -> Duration {
    span * 2_u32.saturating_pow(times.min(16))
}

impl Hold {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_for(&self, run: RunId, of: ActionAt) -> bool {
        self.state().attempt.as_deref().is_some_and(|held| (held.run, held.of) == (run, of))
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

    /// The receipt of the message that counts.
    pub(super) fn receipt(&self) -> Receipt {
        self.state().receipt.clone()
    }

    /// The receipts of messages that were replaced and may not have been deleted yet.
    pub(super) fn replaced(&self) -> Vec<Receipt> {
        self.state().replaced.clone()
    }

    /// These messages are gone.
    pub(super) fn forget(&self, gone: &[Receipt]) {
        let mut state = self.state();
        state.replaced.retain(|receipt| !gone.contains(receipt));
        state.beside.retain(|receipt| !gone.contains(receipt));
    }

    /// All of its receipts.
    pub(super) fn receipts(&self) -> Vec<Receipt> {
        let state = self.state();
        std::iter::once(&state.receipt).chain(&state.replaced).chain(&state.beside).cloned().collect()
    }

    /// The next copy of the message, if it is time to replace it.
    pub(super) fn due_copy(&self, reissue_after: Duration) -> Option<PerformMessage> {
        let mut state = self.state();
        let attempt = state.attempt.clone()?;
        let is_old = state.since.elapsed() >= reissue_after;
        let is_awaited = |sent: Sent| sent.newest_at.elapsed() < doubled(COPY_AGAIN, sent.count - 1);
        if !is_old || state.sent.is_some_and(is_awaited) || state.stopped.is_some() {
            return None;
        }
        let now = Instant::now();
        let first = Sent { first_at: now, newest_at: now, copy: state.copy, count: 0, looks: 0 };
        let before = state.sent.unwrap_or(first);
        let copy = before.copy + 1;
        state.sent = Some(Sent { newest_at: now, copy, count: before.count + 1, ..before });
        Some(PerformMessage { copy, ..attempt.as_ref().clone() })
    }

    /// Whether it is time to look for its copies, by an agent that receives nothing else.
    pub(super) fn due_look(&self) -> bool {
        let mut state = self.state();
        let Some(sent) = &mut state.sent else { return false };
        let is_due = sent.first_at.elapsed() >= doubled(LOOK_AFTER, sent.looks);
        sent.looks += u32::from(is_due);
        is_due
    }

    /// The copy that takes the place of the message when it is handed back.
    pub(super) fn last_copy(&self) -> Option<PerformMessage> {
        let state = self.state();
        let copy = state.sent.map_or(state.copy, |sent| sent.copy) + 1;
        state.attempt.as_ref().map(|attempt| PerformMessage { copy, ..attempt.as_ref().clone() })
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
            receipt: delivery.receipt.clone(),
            copy: 0,
            since: asked_at,
            hidden_until: asked_at + self.visibility,
            replaced: Vec::new(),
            beside: Vec::new(),
            sent: None,
            attempt: None,
            stopped: None,
        };
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let (receive_count, stop) = (delivery.receive_count, CancellationToken::new());
        let hold = Arc::new(Hold { number, receive_count, stop, state: Mutex::new(state), _slot: slot });
        self.holds().insert(number, hold.clone());
        hold
    }

    /// The message is no longer extended: it is answered, handed back or lost. It adopts no copy any more.
    pub(super) fn release(&self, hold: &Hold) {
        self.holds().remove(&hold.number);
    }

    pub(super) fn len(&self) -> usize {
        self.holds().len()
    }

    /// Stops an attempt that is performed here, whatever fence up to that one it has; whether there was one.
    pub(super) fn stop_attempt(&self, run: RunId, of: ActionAt) -> bool {
        let is_meant = |hold: &&Arc<Hold>| {
            let meant = |held: &PerformMessage| {
                let (held_run, held) = (held.run, held.of);
                held_run == run && held.action == of.action && held.attempt == of.attempt && held.fence <= of.fence
            };
            hold.state().attempt.as_deref().is_some_and(meant)
        };
        let holds = self.holds();
        let found = holds.values().filter(is_meant).inspect(|hold| hold.stop(Stopped::Told));
        found.count() > 0
    }

    /// Whether exactly this attempt, under this fence, is performed here.
    pub(super) fn has(&self, run: RunId, of: ActionAt) -> bool {
        self.find(run, of).is_some()
    }

    fn find(&self, run: RunId, of: ActionAt) -> Option<Arc<Hold>> {
        self.holds().values().find(|hold| hold.is_for(run, of)).cloned()
    }

    /// Says which attempt a message is of, so that it can be stopped by name and the message can be replaced. If that very
    /// attempt is performed here already, its queue has delivered the message twice: it is kept beside the other, and
    /// nothing is to be begun.
    pub(super) fn identify(&self, hold: &Hold, message: PerformMessage) -> bool {
        let mut holds = self.holds();
        if let Some(first) = holds.values().find(|held| held.is_for(message.run, message.of)).cloned() {
            holds.remove(&hold.number);
            first.state().beside.push(hold.receipt());
            return false;
        }
        let mut state = hold.state();
        state.copy = message.copy;
        state.attempt = Some(Arc::new(message));
        true
    }

    /// Puts a copy, hidden until then, in the place of the message that it replaces. It does nothing if the attempt has
    /// ended here: then the copy is left to itself.
    pub(super) fn adopt(&self, run: RunId, of: ActionAt, (copy, receipt): (u32, Receipt), hidden_until: Instant) {
        let Some(hold) = self.find(run, of) else { return };
        // Held while the receipts are swapped: whoever releases the attempt then deletes all of them.
        let holds = self.holds();
        if !holds.contains_key(&hold.number) {
            return;
        }
        let mut state = hold.state();
        if copy < state.copy {
            state.replaced.push(receipt);
            return;
        }
        let before = std::mem::replace(&mut state.receipt, receipt);
        if copy > state.copy {
            let beside = std::mem::take(&mut state.beside);
            state.replaced.extend(beside.into_iter().chain([before]));
            (state.copy, state.since) = (copy, Instant::now());
        } else if before != state.receipt {
            // If it is of the same message, it must not delete that.
            state.beside.push(before);
        }
        (state.hidden_until, state.sent) = (hidden_until, None);
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

    /// Stops what can not be kept: its message may be with another agent within `margin`.
    fn stop_lost(&self, margin: Duration) {
        for hold in self.holds().values() {
            if !hold.is_safe_for(margin) && !sabotaged(Bug::GoOnUnheld) {
                hold.stop(Stopped::Lost);
            }
        }
    }
}

impl Agent {
    /// Extends all that is held, three times within its visibility, and replaces what is held for too long.
    pub(super) async fn keep_held(self, ended: CancellationToken) {
        let visibility = self.inner.settings.visibility;
        loop {
            tokio::select! {
                biased;
                () = ended.cancelled() => return,
                () = tokio::time::sleep(visibility / 6) => {}
            }
            let round = join(self.extend_due(visibility), self.replace_due());
            if tokio::time::timeout(visibility / 6, round).await.is_err() {
                tracing::warn!("extending what is performed takes too long; it is tried again");
            }
            // A round takes a third of the visibility at most, so nothing is found too late.
            self.inner.held.stop_lost(visibility / 3);
        }
    }

    async fn extend_due(&self, visibility: Duration) {
        let is_due = |hold: &Arc<Hold>| !hold.is_safe_for(visibility * 2 / 3);
        let due = self.inner.held.all().into_iter().filter(is_due);
        let due: Vec<_> =
            due.flat_map(|hold| hold.receipts().into_iter().map(move |receipt| (hold.clone(), receipt))).collect();
        join_all(due.chunks(MAX_BATCH).map(|batch| self.extend(batch, visibility))).await;
    }

    async fn extend(&self, batch: &[(Arc<Hold>, Receipt)], visibility: Duration) {
        let pool = QueueName::Pool(self.inner.settings.pool.clone());
        let asked_at = Instant::now();
        let request = batch.iter().map(|(_, receipt)| (receipt.clone(), visibility)).collect();
        match self.inner.ports.queues.extend(&pool, request).await {
            Ok(kept) => {
                for (hold, receipt) in batch {
                    // It may have been replaced in the meantime.
                    let counts = hold.receipt() == *receipt;
                    match (counts, kept.contains(receipt)) {
                        (true, true) => hold.state().hidden_until = asked_at + visibility,
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
