//! The messages that an agent holds, and its right to their attempts. A message is hidden until its visibility ends. An
//! attempt that the agent has held for long is leased (`lease.rs`).
//!
//! An agent that cannot keep its right stops the attempt before another agent can have it. All times are of the clock that
//! goes on while the machine sleeps.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio_util::sync::CancellationToken;
use windlass_contract::message::{Confirmed, Stopped as StopOrder};
use windlass_domain::attempt::Fate;
use windlass_domain::delivery::Delivery;
use windlass_domain::ids::{ActionIndex, RunId};
use windlass_domain::limits::LEASE_MS;
use windlass_domain::time::Timestamp;

use crate::ports::{Clock, Receipt, Received};

/// How long an attempt without a message is this agent's after each renewal.
pub(super) const LEASE: Duration = Duration::from_millis(LEASE_MS);

/// The attempt, the message and the delivery of a hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Key {
    pub(super) run: RunId,
    pub(super) action: ActionIndex,
    pub(super) delivery: Delivery,
    pub(super) message: u32,
}

/// Why an attempt was stopped from outside its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stopped {
    /// The process manager says so, and what becomes of the message.
    Told(Fate),
    /// Its message may be with another agent.
    Lost,
    /// The agent drains and hands it back.
    HandedBack,
}

/// The answer to a claim.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Answer {
    Confirmed(Confirmed),
    Refused(Fate),
}

/// An agent's right to one attempt: its message, or a lease in the record.
pub(super) struct Hold {
    number: u64,
    /// Cancelled when the attempt is to stop.
    pub(super) stop: CancellationToken,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    /// Given back when the hold is dropped: after its report has been sent.
    _slot: OwnedSemaphorePermit,
}

struct State {
    /// Its message's newest receipt, until it has been deleted.
    receipt: Option<Receipt>,
    /// The receipt by which it could not be extended.
    refused: Option<Receipt>,
    /// When it was received, or a little earlier: from then on its queue counts the hours.
    since: Duration,
    /// The attempt and delivery of the message, once the agent has read them.
    key: Option<Key>,
    /// The claim that waits for its answer: its number, and where the answer goes.
    claim: Option<(u32, oneshot::Sender<Answer>)>,
    /// The process manager confirmed a claim: the claiming task begins the attempt or hands it back.
    is_confirmed: bool,
    /// When the attempt began.
    began: Option<Timestamp>,
    lease: Lease,
    /// No other agent may get the attempt before.
    safe_until: Duration,
    /// For how long it is safe after each extension or renewal.
    span: Duration,
    stopped: Option<Stopped>,
}

/// The attempt's lease in the record.
#[derive(Debug, Default)]
struct Lease {
    /// The record keeps the attempt for this agent, and no message counts any more.
    is_held: bool,
    /// The number of the newest renewal.
    number: u32,
    /// When the agent first asked for that renewal, until it has the answer: the record may have granted it since then.
    asked_at: Option<Duration>,
}

/// A renewal to ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct DueRenewal {
    pub(super) key: Key,
    pub(super) started_at: Timestamp,
    pub(super) number: u32,
}

impl Hold {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why it was stopped, if it was; the first reason counts.
    pub(super) fn stopped(&self) -> Option<Stopped> {
        self.state().stopped
    }

    pub(super) fn stop(&self, why: Stopped) {
        self.state().stopped.get_or_insert(why);
        self.stop.cancel();
    }

    /// Whether no other agent can get the attempt for at least that long.
    pub(super) fn is_safe_for(&self, margin: Duration) -> bool {
        self.clock.elapsed() + margin <= self.state().safe_until
    }

    /// Whether it is time to extend or renew it.
    pub(super) fn is_due(&self) -> bool {
        let span = self.state().span;
        !self.is_safe_for(span * 2 / 3)
    }

    /// Whether it is too late to go on with it. If the agent asked for a lease and saw no answer, the record may have
    /// granted it. Then the record takes the attempt from this agent when the lease is over, though its message is
    /// here.
    pub(super) fn is_lost(&self) -> bool {
        let (span, asked_at) = {
            let state = self.state();
            (state.span, state.lease.asked_at.filter(|_| !state.lease.is_held))
        };
        let now = self.clock.elapsed();
        !self.is_safe_for(span / 3) || asked_at.is_some_and(|at| now.saturating_sub(at) >= LEASE * 2 / 3)
    }

    /// Whether the record keeps it, and no message does.
    pub(super) fn is_leased(&self) -> bool {
        self.state().lease.is_held
    }

    /// The agent claims it under that number; gives where the answer comes. Renewals have later numbers, so that no answer to a
    /// claim is taken for one to a renewal.
    pub(super) fn claims(&self, asked: u32) -> oneshot::Receiver<Answer> {
        let (answer, answered) = oneshot::channel();
        let mut state = self.state();
        (state.claim, state.lease.number) = (Some((asked, answer)), asked);
        answered
    }

    /// The attempt begins.
    pub(super) fn begins(&self, at: Timestamp) {
        self.state().began = Some(at);
    }

    /// The renewal that the agent must ask for at this time, if any. It asks first when it has held the message for
    /// `lease_after`, and then when a third of the lease is over. It repeats a renewal until it is answered.
    pub(super) fn due_renewal(&self, lease_after: Duration) -> Option<DueRenewal> {
        let (is_due, now) = (self.is_due(), self.clock.elapsed());
        let mut state = self.state();
        let (key, started_at) = state.key.zip(state.began)?;
        let is_held_long = now.saturating_sub(state.since) >= lease_after;
        let is_wanted = if state.lease.is_held { is_due } else { is_held_long && state.stopped.is_none() };
        if !is_wanted {
            return None;
        }
        if state.lease.asked_at.is_none() {
            (state.lease.asked_at, state.lease.number) = (Some(now), state.lease.number + 1);
        }
        Some(DueRenewal { key, started_at, number: state.lease.number })
    }

    /// The process manager answers a claim or a renewal; whether it was one of this hold's.
    fn answer(&self, confirmed: &Confirmed) -> bool {
        let mut state = self.state();
        if let Some((_, answer)) =
            state.claim.take_if(|(asked, _)| *asked == confirmed.asked && confirmed.until.is_none())
        {
            // An attempt that the agent let go meanwhile does not wait for the answer.
            state.is_confirmed = answer.send(Answer::Confirmed(confirmed.clone())).is_ok();
        }
        let is_renewal = confirmed.until.is_some() && confirmed.asked == state.lease.number;
        let Some(asked_at) = state.lease.asked_at.filter(|_| is_renewal) else {
            return state.is_confirmed || state.began.is_some();
        };
        // The agent gives an attempt that was stopped meanwhile back with its message.
        if state.stopped.is_none() || state.lease.is_held {
            state.lease.is_held = true;
            (state.span, state.safe_until) = (LEASE, asked_at + LEASE);
        }
        state.lease.asked_at = None;
        true
    }

    /// The process manager refuses a claim, or stops a running attempt.
    fn obey(&self, order: &StopOrder) {
        let mut state = self.state();
        if let Some((_, answer)) = state.claim.take_if(|(asked, _)| order.asked == Some(*asked)) {
            // An attempt that the agent let go meanwhile does not wait for the answer.
            let _let_go = answer.send(Answer::Refused(order.fate));
            return;
        }
        // The process manager may refuse a claim and confirm its repetition. The refusal may come last, and the agent
        // ignores it.
        let renewal = state.lease.asked_at.map(|_| state.lease.number);
        let is_meant = order.asked.is_none() || order.asked == renewal;
        let has_begun = state.began.is_some();
        drop(state);
        if has_begun && is_meant {
            self.stop(Stopped::Told(order.fate));
        }
    }

    /// The receipt of its message, until the message has been deleted.
    pub(super) fn receipt(&self) -> Option<Receipt> {
        self.state().receipt.clone()
    }

    /// That message is gone.
    pub(super) fn forget(&self, gone: &Receipt) {
        self.state().receipt.take_if(|receipt| receipt == gone);
    }

    /// Its message is hidden again since then, for that long.
    pub(super) fn extended(&self, receipt: &Receipt, at: Duration, span: Duration) {
        let mut state = self.state();
        if state.receipt.as_ref() == Some(receipt) && !state.lease.is_held {
            state.safe_until = at + span;
        }
    }

    /// Its message could not be extended: it is gone, or has been received again. If this agent has not received it by the
    /// next judgement, another agent has.
    pub(super) fn not_extended(&self, receipt: &Receipt) {
        self.state().refused = Some(receipt.clone());
    }

    /// Whether its message is gone, or with another agent.
    fn has_lost_message(&self) -> bool {
        let state = self.state();
        state.refused.is_some() && state.refused == state.receipt && !state.lease.is_held
    }
}

/// Every message that the agent holds.
pub(super) struct Held {
    visibility: Duration,
    clock: Arc<dyn Clock>,
    next: AtomicU64,
    holds: Mutex<Holds>,
}

#[derive(Default)]
struct Holds {
    by_number: BTreeMap<u64, Arc<Hold>>,
    /// The numbers of the holds of each attempt, once the agent has read their messages.
    of_attempt: BTreeMap<(RunId, ActionIndex, u32), Vec<u64>>,
}

impl Holds {
    fn of(&self, key: Key) -> impl Iterator<Item = &Arc<Hold>> {
        let numbers = self.of_attempt.get(&attempt_of(key)).into_iter().flatten();
        numbers.filter_map(|number| self.by_number.get(number))
    }

    fn name(&mut self, hold: &Hold, key: Key) {
        hold.state().key = Some(key);
        self.of_attempt.entry(attempt_of(key)).or_default().push(hold.number);
    }

    fn remove(&mut self, hold: &Hold) {
        self.by_number.remove(&hold.number);
        let Some(attempt) = hold.state().key.map(attempt_of) else { return };
        if let Entry::Occupied(mut numbers) = self.of_attempt.entry(attempt) {
            numbers.get_mut().retain(|number| *number != hold.number);
            if numbers.get().is_empty() {
                numbers.remove();
            }
        }
    }
}

fn attempt_of(key: Key) -> (RunId, ActionIndex, u32) {
    (key.run, key.action, key.delivery.attempt)
}

impl Held {
    pub(super) fn new(visibility: Duration, clock: Arc<dyn Clock>) -> Self {
        Self { visibility, clock, next: AtomicU64::new(0), holds: Mutex::default() }
    }

    fn holds(&self) -> MutexGuard<'_, Holds> {
        self.holds.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A message has come by a receive that began at that time. When it was hidden is not known any better: the answer
    /// may have lain unread while the process slept.
    pub(super) fn take(&self, received: &Received, asked_at: Duration, slot: OwnedSemaphorePermit) -> Arc<Hold> {
        let state = State {
            receipt: Some(received.receipt.clone()),
            refused: None,
            since: asked_at,
            key: None,
            claim: None,
            is_confirmed: false,
            began: None,
            lease: Lease::default(),
            safe_until: asked_at + self.visibility,
            span: self.visibility,
            stopped: None,
        };
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let (stop, clock) = (CancellationToken::new(), self.clock.clone());
        let hold = Arc::new(Hold { number, stop, clock, state: Mutex::new(state), _slot: slot });
        self.holds().by_number.insert(number, hold.clone());
        hold
    }

    /// The agent extends the message no longer: it is answered, handed back or lost.
    pub(super) fn release(&self, hold: &Hold) {
        self.holds().remove(hold);
    }

    pub(super) fn len(&self) -> usize {
        self.holds().by_number.len()
    }

    pub(super) fn all(&self) -> Vec<Arc<Hold>> {
        self.holds().by_number.values().cloned().collect()
    }

    /// Notes the attempt of a message; whether the agent goes on with it. If this agent has that very message already,
    /// only the newest receipt is good. If it performs the attempt by another message, it leaves this one alone. The
    /// message comes again, and the process manager refuses its claim once the record names the owner.
    pub(super) fn identify(&self, hold: &Hold, key: Key) -> bool {
        let mut holds = self.holds();
        let is_in_the_way = |held: &&Arc<Hold>| {
            let state = held.state();
            state.began.is_some() || state.key.is_some_and(|held| held.message == key.message)
        };
        let Some(first) = holds.of(key).find(is_in_the_way).cloned() else {
            holds.name(hold, key);
            return true;
        };
        holds.remove(hold);
        let (receipt, safe_until) = (hold.receipt(), hold.state().safe_until);
        let mut first = first.state();
        let is_its_own = first.key.is_some_and(|held| held.message == key.message);
        if is_its_own && first.stopped.is_none() && !first.lease.is_held {
            (first.receipt, first.safe_until) = (receipt, first.safe_until.max(safe_until));
        }
        false
    }

    /// The process manager confirms a claim or a renewal; whether a hold was meant.
    pub(super) fn confirm(&self, run: RunId, confirmed: &Confirmed) -> bool {
        let Confirmed { action, delivery, message, .. } = *confirmed;
        self.of(Key { run, action, delivery, message }).is_some_and(|hold| hold.answer(confirmed))
    }

    /// The process manager refuses a claim, or stops an attempt; whether a hold was meant.
    pub(super) fn obey(&self, run: RunId, order: &StopOrder) -> bool {
        let StopOrder { action, delivery, message, .. } = *order;
        let hold = self.of(Key { run, action, delivery, message });
        hold.inspect(|hold| hold.obey(order)).is_some()
    }

    fn of(&self, key: Key) -> Option<Arc<Hold>> {
        self.holds().of(key).find(|hold| hold.state().key == Some(key)).cloned()
    }

    /// Stops everything, to hand it back.
    pub(super) fn hand_back_all(&self) {
        for hold in self.holds().by_number.values() {
            hold.stop(Stopped::HandedBack);
        }
    }

    /// Stops the attempts that the agent could not keep: another agent may get them soon.
    pub(super) fn stop_lost(&self) {
        for hold in self.holds().by_number.values() {
            if hold.has_lost_message() || hold.is_lost() {
                hold.stop(Stopped::Lost);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::Semaphore;

    use super::*;
    use crate::ports::Sender;

    struct Still;

    impl Clock for Still {
        fn now(&self) -> Timestamp {
            Timestamp::from_millis(0)
        }

        fn elapsed(&self) -> Duration {
            Duration::ZERO
        }
    }

    const CLAIM: u32 = 7;

    fn received(receipt: &str) -> Received {
        Received {
            receipt: Receipt(receipt.to_owned()),
            id: "m".to_owned(),
            sender: Sender::Host,
            body: String::new(),
            receive_count: 2,
            sent_at: Timestamp::from_millis(0),
        }
    }

    fn slot() -> OwnedSemaphorePermit {
        Arc::new(Semaphore::new(1)).try_acquire_owned().expect("a slot")
    }

    /// The machine slept, and the message of an attempt came into sight. This very agent may have received it once more.
    #[test]
    fn message_that_its_own_agent_received_again_stops_nothing() {
        for is_received_again in [true, false] {
            let (all, hold) = begun();
            let old = hold.receipt().expect("it has one");
            hold.not_extended(&old);
            assert_eq!(hold.stopped(), None, "that is judged later");
            if is_received_again {
                let key = hold.state().key.expect("it is known");
                let again = all.take(&received("again"), Duration::ZERO, slot());
                let delivery = Delivery::new(1, 0, 3);
                assert!(!all.identify(&again, Key { delivery, ..key }), "the attempt goes on by what it was");
                assert_eq!(hold.receipt(), Some(Receipt("again".to_owned())));
            }
            all.stop_lost();
            assert_eq!(hold.stopped().is_none(), is_received_again);
        }
    }

    /// An attempt whose claim was confirmed and that has begun, among all that its agent holds.
    fn begun() -> (Held, Arc<Hold>) {
        let all = Held::new(Duration::from_secs(30), Arc::new(Still));
        let hold = all.take(&received("r"), Duration::ZERO, slot());
        let (run, action, delivery) = (RunId::from_uuid(uuid::Uuid::nil()), ActionIndex(0), Delivery::new(1, 0, 2));
        assert!(all.identify(&hold, Key { run, action, delivery, message: 1 }));
        let mut answered = hold.claims(CLAIM);
        let (until, checkpoint) = (None, None);
        let confirmed =
            Confirmed { action, delivery, message: 1, asked: CLAIM, until, checkpoint, losses: 1, fence: 2 };
        assert!(hold.answer(&confirmed));
        assert_eq!(answered.try_recv().ok(), Some(Answer::Confirmed(confirmed)));
        hold.begins(Timestamp::from_millis(0));
        (all, hold)
    }

    fn stop(asked: Option<u32>) -> StopOrder {
        let (action, delivery, reason) = (ActionIndex(0), Delivery::new(1, 0, 2), String::new());
        StopOrder { action, delivery, message: 1, asked, fate: Fate::Delete, reason }
    }

    #[test]
    fn late_refusal_of_a_confirmed_claim_stops_nothing() {
        let (_all, hold) = begun();
        hold.obey(&stop(Some(CLAIM)));
        assert_eq!(hold.stopped(), None);
        hold.obey(&stop(None));
        assert_eq!(hold.stopped(), Some(Stopped::Told(Fate::Delete)));
    }

    #[test]
    fn refused_renewal_stops_the_attempt() {
        let (_all, hold) = begun();
        let renewal = hold.due_renewal(Duration::ZERO).expect("it is due").number;
        assert!(renewal > CLAIM, "no answer to a claim is taken for one to a renewal");
        hold.obey(&stop(Some(renewal)));
        assert_eq!(hold.stopped(), Some(Stopped::Told(Fate::Delete)));
    }
}
