//! What follows from an input: triggers, conditions, room, and the end of the run.

use std::collections::BTreeSet;

use windlass_domain::definition::Trigger;
use windlass_domain::limits::{CLAIM_BELOW_MS, SUSPECT_LOSSES};
use windlass_domain::run::{CancelCause, RunStatus};

use super::{Model, Stand, Turn};
use crate::sketch::{ActionSketch, Given, When, name_of};

impl Model {
    pub(super) fn follow(&mut self, turn: &mut Turn<'_>) {
        let was_ready: BTreeSet<usize> = self.positions().filter(|at| self.row(*at).stand == Stand::Ready).collect();
        loop {
            let waiting: Vec<usize> = self.positions().filter(|at| self.row(*at).stand == Stand::Waiting).collect();
            let is_taking = matches!(self.status, RunStatus::Running | RunStatus::Paused);
            let looked: Vec<_> = waiting.into_iter().filter_map(|at| Some((at, self.look(at)?))).collect();
            if is_taking && !looked.is_empty() {
                for (at, stand) in looked {
                    self.set(at, stand, turn);
                }
            } else if !self.give_room(&was_ready, turn) {
                break;
            }
        }
        let is_open = self.positions().any(|at| !self.row(at).stand.is_settled());
        if !is_open && !self.status.is_final() {
            self.set_status(self.verdict(), turn);
        }
    }

    /// What a waiting action becomes, if anything.
    fn look(&self, at: usize) -> Option<Stand> {
        let sketch = &self.sketch.actions[at];
        if !self.trigger(sketch)? {
            return Some(Stand::Skipped);
        }
        Some(match sketch.when {
            When::Always | When::True => Stand::Ready,
            When::Succeeded(need) if self.row(need).stand.succeeded() => Stand::Ready,
            When::False | When::Succeeded(_) => Stand::Skipped,
            When::Broken | When::Number => Stand::Failed,
        })
    }

    /// Whether the trigger holds; `None`: that can not be said yet.
    fn trigger(&self, sketch: &ActionSketch) -> Option<bool> {
        let needs: Vec<(&Stand, bool)> = sketch
            .needs
            .iter()
            .map(|need| (&self.row(*need).stand, self.sketch.actions[*need].allow_failure))
            .collect();
        if needs.is_empty() {
            return Some(true);
        }
        let all_settled = needs.iter().all(|(stand, _)| stand.is_settled());
        let once_all_settled = |holds: bool| all_settled.then_some(holds);
        match sketch.trigger {
            Trigger::AllSucceeded => {
                let counts = |(stand, allowed): &(&Stand, bool)| stand.succeeded() || stand.failed() && *allowed;
                let spoilt = needs.iter().any(|need| need.0.is_settled() && !counts(need));
                if spoilt { Some(false) } else { once_all_settled(true) }
            }
            Trigger::AllDone => once_all_settled(true),
            Trigger::AnySucceeded if needs.iter().any(|need| need.0.succeeded()) => Some(true),
            Trigger::AnyFailed if needs.iter().any(|need| need.0.failed()) => Some(true),
            Trigger::AnySucceeded | Trigger::AnyFailed => once_all_settled(false),
            Trigger::NoneFailed => {
                let spoils = |(stand, allowed): &(&Stand, bool)| stand.failed() && !*allowed;
                if needs.iter().any(spoils) { Some(false) } else { once_all_settled(true) }
            }
        }
    }

    /// Queues one ready action if there is room; says whether it did.
    fn give_room(&mut self, was_ready: &BTreeSet<usize>, turn: &mut Turn<'_>) -> bool {
        let in_flight = self.positions().filter(|at| self.row(*at).stand.is_in_flight()).count();
        let is_full = self.sketch.max_parallel.is_some_and(|most| in_flight >= most as usize);
        let is_late = self.deadline.is_some_and(|deadline| turn.now >= deadline);
        if self.status != RunStatus::Running || is_full || is_late {
            return false;
        }
        let ready: Vec<usize> = self.positions().filter(|at| self.row(*at).stand == Stand::Ready).collect();
        let first_of_old = ready.iter().find(|at| was_ready.contains(at)).copied();
        let may_be_next = |at: &&usize| !was_ready.contains(at) || Some(**at) == first_of_old;
        let rank = |at: &&usize| turn.order.iter().position(|name| *name == name_of(**at)).unwrap_or(usize::MAX);
        let Some(next) = ready.iter().filter(may_be_next).min_by_key(rank).copied() else {
            return false;
        };
        if self.sketch.actions[next].given == Given::Broken {
            self.set(next, Stand::Failed, turn);
            return true;
        }
        if let Some(row) = self.actions.get_mut(&name_of(next)) {
            row.attempt += 1;
            row.fence += 1;
            row.first_queued.get_or_insert(turn.now);
            (row.said, row.said_number, row.copy, row.received) = (None, 0, 0, 0);
        }
        self.set(next, Stand::Queued { since: turn.now }, turn);
        let may_end_soon = self.sketch.actions[next].queue_timeout.is_some_and(|most| most.0 < CLAIM_BELOW_MS);
        let must_claim = may_end_soon || self.row(next).lost.len() >= SUSPECT_LOSSES;
        turn.sent.insert((self.newest(next), must_claim));
        true
    }

    fn verdict(&self) -> RunStatus {
        let failed = |allowed: bool| {
            self.positions().any(|at| self.row(at).stand.failed() && self.sketch.actions[at].allow_failure == allowed)
        };
        match self.cancelled {
            Some((_, CancelCause::Deadline)) => RunStatus::TimedOut,
            Some((_, CancelCause::Request | CancelCause::Overlap)) => RunStatus::Cancelled,
            None if failed(false) || self.sketch.output == Given::Broken => RunStatus::Failed,
            None if failed(true) => RunStatus::SucceededWithFaults,
            None => RunStatus::Succeeded,
        }
    }
}
