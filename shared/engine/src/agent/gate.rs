//! The gate lets an attempt whose action cost agents before begin beside few others. So an action that kills its agent
//! does not take others along for ever.
//!
//! Every attempt is on probation when it begins, and takes a part of the agent's room. The part is larger the more
//! agents its action has cost. If one more loss would make the action poison, it takes the whole room. So ever fewer of
//! the attempts that were lost together begin together, and an attempt that ends is cleared. An action that is given up
//! as poison was alone when it killed its last agent. A suspect waits at the gate before its agent claims it, so an
//! agent that dies meanwhile is no loss of it. Probation is short: an action that kills its agent later is not kept
//! apart.
//!
//! A suspect that needs more room than there is holds up no other at first. If it has waited for long, the gate is
//! closed to others until it has begun, and not again for a while. An agent that has just started takes no suspect. If
//! an agent dies again and again soon after its start, it would otherwise turn innocents into poison.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;
use windlass_domain::limits::{MAX_LOSSES, SUSPECT_LOSSES};

/// How long an attempt is on probation.
const PROBATION: Duration = Duration::from_secs(30);
/// With each loss fewer attempts by that factor are on probation together: sixteen, four, and then one.
const FEWER: u32 = 4;
/// How long an agent must have lived before it begins a suspect.
const TRIAL: Duration = Duration::from_mins(1);
/// How long a suspect waits for room before the gate is closed to others.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long the gate stays open to all after a suspect for which it was closed has begun.
const OPEN_FOR: Duration = Duration::from_mins(5);
/// How often a waiting attempt looks whether it may begin.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The room for attempts on probation: one place for each slot.
#[derive(Debug, Clone)]
pub(super) struct Gate(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    slots: u32,
    started_at: Instant,
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// Places that are taken.
    taken: u32,
    /// The number of the next attempt that comes.
    next: u64,
    /// The suspect for which the gate is closed.
    closed_for: Option<u64>,
    /// When the last one began for which it was closed.
    reopened_at: Option<Instant>,
}

/// Places on probation; they are free again when this is dropped.
#[derive(Debug)]
pub(super) struct Probation {
    gate: Arc<Inner>,
    places: u32,
}

/// An attempt before the gate. If it leaves, the gate is no longer closed for it.
struct Waiting {
    gate: Arc<Inner>,
    number: u64,
    places: u32,
    since: Instant,
}

impl Gate {
    pub(super) fn new(slots: u32) -> Self {
        let (state, changed) = (Mutex::default(), Notify::new());
        Self(Arc::new(Inner { slots, started_at: Instant::now(), state, changed }))
    }

    /// Waits until an attempt may begin whose action will have cost so many agents.
    pub(super) async fn enter(&self, losses: usize) -> Probation {
        if is_suspect(losses) {
            tokio::time::sleep_until(self.0.started_at + TRIAL).await;
        }
        let waiting = Waiting::new(self.0.clone(), places(self.0.slots, losses));
        loop {
            let changed = self.0.changed.notified();
            if let Some(probation) = waiting.try_enter() {
                return probation;
            }
            // Either way it looks again.
            let _elapsed = tokio::time::timeout(LOOK_EVERY, changed).await;
        }
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn new(gate: Arc<Inner>, places: u32) -> Self {
        let mut state = gate.state();
        let number = state.next;
        state.next += 1;
        drop(state);
        Self { gate, number, places, since: Instant::now() }
    }

    fn try_enter(&self) -> Option<Probation> {
        let (mut state, now) = (self.gate.state(), Instant::now());
        let is_open = state.closed_for.is_none_or(|number| number == self.number);
        if is_open && state.taken + self.places <= self.gate.slots {
            state.taken += self.places;
            if state.closed_for.take_if(|number| *number == self.number).is_some() {
                state.reopened_at = Some(now);
            }
            return Some(Probation { gate: self.gate.clone(), places: self.places });
        }
        let has_waited = now >= self.since + PATIENCE;
        let was_open = state.reopened_at.is_none_or(|at| now >= at + OPEN_FOR);
        if self.places > 1 && has_waited && was_open {
            state.closed_for.get_or_insert(self.number);
        }
        None
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.gate.state().closed_for.take_if(|number| *number == self.number);
        self.gate.changed.notify_waiters();
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

impl Drop for Probation {
    fn drop(&mut self) {
        self.gate.state().taken -= self.places;
        self.gate.changed.notify_waiters();
    }
}

fn is_suspect(losses: usize) -> bool {
    // The process manager gives up an attempt at `MAX_LOSSES` when an agent claims it, so it never begins.
    (SUSPECT_LOSSES..MAX_LOSSES).contains(&losses)
}

/// How many of an agent's places such an attempt takes.
fn places(slots: u32, losses: usize) -> u32 {
    if !is_suspect(losses) {
        return 1;
    }
    let further = MAX_LOSSES - 1 - losses;
    slots.div_ceil(FEWER.saturating_pow(u32::try_from(further).unwrap_or(u32::MAX))).max(1)
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[test]
    fn each_loss_takes_more_room() {
        let of = |slots| (0..=MAX_LOSSES).map(|losses| places(slots, losses)).collect::<Vec<_>>();
        assert_eq!(of(60), [1, 1, 4, 15, 60, 1]);
        assert_eq!(of(10), [1, 1, 1, 3, 10, 1]);
        assert_eq!(of(1), [1, 1, 1, 1, 1, 1]);
    }

    fn now<F: Future>(future: F) -> Option<F::Output> {
        future.now_or_never()
    }

    /// A gate of an agent that has lived for long.
    async fn gate(slots: u32) -> Gate {
        let gate = Gate::new(slots);
        tokio::time::sleep(TRIAL).await;
        gate
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_suspect_holds_up_no_other_at_first() {
        let gate = gate(10).await;
        let first = gate.enter(0).await;
        let mut suspect = tokio::spawn({
            let gate = gate.clone();
            async move { gate.enter(4).await }
        });
        tokio::time::sleep(PATIENCE / 2).await;
        assert!(now(gate.enter(0)).is_some(), "others begin");
        drop(first);
        tokio::time::timeout(LOOK_EVERY, &mut suspect).await.expect("there is room").expect("it entered");
    }

    /// One attempt a second would leave no room for it for ever.
    #[tokio::test(start_paused = true)]
    async fn suspect_begins_among_many_others() {
        let gate = gate(10).await;
        let suspect = tokio::spawn({
            let gate = gate.clone();
            async move { gate.enter(4).await }
        });
        let mut others = Vec::new();
        for _ in 0..90 {
            tokio::time::sleep(Duration::from_secs(1)).await;
            if let Some(probation) = now(gate.enter(0)) {
                others.push(tokio::spawn(probation.pass()));
            }
        }
        assert!(suspect.is_finished());
        drop(suspect.await.expect("it entered"));
        assert!(now(gate.enter(0)).is_some(), "the gate is open again");
    }

    #[tokio::test(start_paused = true)]
    async fn young_agent_begins_no_suspect() {
        let gate = Gate::new(10);
        assert!(now(gate.enter(1)).is_some(), "one loss may be chance");
        let began = Instant::now();
        gate.enter(2).await;
        assert!(began.elapsed() >= TRIAL);
    }
}
