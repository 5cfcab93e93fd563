//! Whose turn it is: what becomes of a due time while an earlier scheduled run of its task is open.
//!
//! The rules are those of Temporal's schedules: `skip` is its Skip, `queue` its `BufferAll` with a bound, `allow` its
//! `AllowAll`, `cancel_previous` its `CancelOther`. A due time may be delivered twice and in any order, so each
//! decision about one is remembered. It is kept by its run, which exists once it had its turn, or in [`Turns`].

use crate::definition::Overlap;
use crate::limits::{MAX_PASSED_OVER_KEPT, MAX_QUEUED_DUE};
use crate::time::Timestamp;

/// The turns of one task.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Turns {
    /// The due time that had the last turn, and whether its run is open.
    pub active: Option<Active>,
    /// Due times that wait for their turn, the earliest first.
    pub waiting: Vec<Timestamp>,
    /// Due times that were passed over, the earliest first: the newest [`MAX_PASSED_OVER_KEPT`].
    pub passed_over: Vec<Timestamp>,
}

/// Who had the last turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Active {
    /// The due time.
    pub nominal: Timestamp,
    /// Whether its run has still to end; a run that has yet to be recorded counts as open.
    pub open: bool,
    /// Whether its due time has yet to come: it had its turn by a clock that was ahead.
    pub is_ahead: bool,
}

/// The decision about a due time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// The run of this due time starts. It may be an earlier one than was asked about: then ask again.
    Start {
        /// Which.
        nominal: Timestamp,
        /// Whether it takes the turn; not under `allow`, where runs do not wait for each other.
        takes_turn: bool,
    },
    /// It waits until the open run has ended.
    Wait {
        /// Whether the open run is to be cancelled.
        cancel_active: bool,
        /// Earlier due times that give way to this one.
        superseded: Vec<Timestamp>,
    },
    /// It does not run.
    PassOver,
    /// No due time waits, or an open run has the turn.
    Nothing,
}

/// Decides about a due time whose run does not exist yet. The answer is the same for a due time that is delivered
/// again.
pub fn due(turns: &Turns, policy: Overlap, nominal: Timestamp) -> Fate {
    if turns.was_passed_over(policy, nominal) {
        return Fate::PassOver;
    }
    let active = turns.active.filter(|active| active.open);
    let (open, is_ahead) = (active.map(|active| active.nominal), active.is_some_and(|active| active.is_ahead));
    let wait = Fate::Wait { cancel_active: false, superseded: Vec::new() };
    match (policy, open) {
        (Overlap::Allow, _) => Fate::Start { nominal, takes_turn: false },
        (_, Some(active)) if active == nominal => Fate::Start { nominal, takes_turn: true },
        (Overlap::CancelPrevious, _) if turns.waiting.last().is_some_and(|last| nominal < *last) => Fate::PassOver,
        (_, None) => {
            let first = turns.waiting.first().map_or(nominal, |first| nominal.min(*first));
            Fate::Start { nominal: first, takes_turn: true }
        }
        (Overlap::Skip | Overlap::Queue, Some(_)) if turns.waits(nominal) => wait,
        (Overlap::Queue, Some(_)) if turns.waiting.len() < MAX_QUEUED_DUE => wait,
        (Overlap::Skip | Overlap::Queue, Some(_)) => Fate::PassOver,
        (Overlap::CancelPrevious, Some(active)) if nominal < active && !is_ahead => Fate::PassOver,
        (Overlap::CancelPrevious, Some(active)) => turns.supersede(active, nominal),
    }
}

/// Decides who is next when a run may have ended.
pub fn next(turns: &Turns) -> Fate {
    match turns.waiting.first() {
        Some(first) if !turns.active.is_some_and(|active| active.open) => {
            Fate::Start { nominal: *first, takes_turn: true }
        }
        Some(_) | None => Fate::Nothing,
    }
}

impl Turns {
    /// The turns once that has been done about that due time. What was done before changes nothing.
    #[must_use]
    pub fn after(&self, nominal: Timestamp, fate: &Fate) -> Self {
        let mut turns = self.clone();
        match fate {
            Fate::Start { nominal, takes_turn } => {
                turns.waiting.retain(|waiting| waiting != nominal);
                if *takes_turn {
                    turns.active = Some(Active { nominal: *nominal, open: true, is_ahead: false });
                }
            }
            Fate::Wait { superseded, .. } => {
                turns.waiting.retain(|waiting| !superseded.contains(waiting));
                insert(&mut turns.waiting, nominal);
                for gone in superseded {
                    turns.keep_passed_over(*gone);
                }
            }
            Fate::PassOver => {
                turns.waiting.retain(|waiting| *waiting != nominal);
                turns.active = turns.active.filter(|active| active.nominal != nominal);
                turns.keep_passed_over(nominal);
            }
            Fate::Nothing => {}
        }
        turns
    }

    /// A due time that is older than everything in a full memory counts as passed over: it is very late.
    fn was_passed_over(&self, policy: Overlap, nominal: Timestamp) -> bool {
        let full = self.passed_over.len() >= MAX_PASSED_OVER_KEPT && policy != Overlap::Allow;
        let forgotten = full && self.passed_over.first().is_some_and(|oldest| nominal < *oldest);
        let held = self.waits(nominal) || self.active.is_some_and(|active| active.nominal == nominal);
        self.passed_over.binary_search(&nominal).is_ok() || (forgotten && !held)
    }

    fn waits(&self, nominal: Timestamp) -> bool {
        self.waiting.binary_search(&nominal).is_ok()
    }

    /// The newest due time waits for the end of the open run, which is cancelled; earlier ones give way to it. Asked
    /// again, it names those that have already given way: the caller may have died before it published them.
    fn supersede(&self, active: Timestamp, nominal: Timestamp) -> Fate {
        let given_way = |time: &&Timestamp| active < **time && **time < nominal;
        let superseded = if self.waits(nominal) {
            self.passed_over.iter().filter(given_way).copied().collect()
        } else {
            self.waiting.clone()
        };
        Fate::Wait { cancel_active: true, superseded }
    }

    fn keep_passed_over(&mut self, nominal: Timestamp) {
        insert(&mut self.passed_over, nominal);
        let surplus = self.passed_over.len().saturating_sub(MAX_PASSED_OVER_KEPT);
        self.passed_over.drain(..surplus);
    }
}

fn insert(sorted: &mut Vec<Timestamp>, time: Timestamp) {
    if let Err(at) = sorted.binary_search(&time) {
        sorted.insert(at, time);
    }
}

#[cfg(test)]
mod tests;
