//! What agents report, and what becomes of an attempt that failed.

use serde_json::Value;
use windlass_domain::decide::Rejection;
use windlass_domain::ids::AgentId;
use windlass_domain::limits::CLOCKS_DIFFER_MS;
use windlass_domain::run::{ActionAt, CancelCause, Input, Outcome, RunStatus};
use windlass_domain::time::{Millis, Timestamp};

use super::{Model, Stand, Turn};
use crate::sketch::{NEVER_RETRIED, name_of};

impl Model {
    pub(super) fn report(&mut self, input: &Input, of: ActionAt, turn: &mut Turn<'_>) -> Result<(), Rejection> {
        let at = of.action.as_usize();
        if at >= self.sketch.actions.len() {
            return Err(Rejection::UnknownAction);
        }
        let stand = self.row(at).stand.clone();
        let is_newest = self.newest(at) == of;
        let hears_late = match input {
            Input::Completed { .. } => true,
            Input::DeadLettered { .. } => stand.is_settled(),
            Input::Claim { received, again, .. } => {
                (*again || *received > 1) && stand.is_settled() && of.attempt > 0 && self.row(at).attempt == of.attempt
            }
            _ => false,
        };
        if self.status.is_final() && !hears_late {
            return Err(if is_newest { Rejection::RunEnded } else { Rejection::Stale });
        }
        match input {
            Input::Renewed { .. } if self.is_stopping(at) => Err(refusal(&stand)),
            Input::Started { agent, started_at, .. } | Input::Renewed { agent, started_at, .. } => {
                match &stand {
                    Stand::Queued { .. } if is_newest => {
                        self.set(at, Stand::Running { since: *started_at, agent: agent.clone() }, turn);
                    }
                    Stand::Running { agent: holder, .. } if is_newest && holder == agent => {}
                    other => return Err(refusal(other)),
                }
                if matches!(input, Input::Renewed { .. }) {
                    self.renewed(at, turn);
                }
                Ok(())
            }
            Input::Claim { agent, received, copy, again, .. } => {
                self.claim(of, agent, (*received, *copy, *again), turn)
            }
            Input::Progressed { number, progress, checkpoint, .. } => match &stand {
                Stand::Running { .. } if is_newest => {
                    self.said(at, *number, progress, checkpoint.as_ref());
                    Ok(())
                }
                other => Err(refusal(other)),
            },
            Input::HandedBack { agent, copy, checkpoint, .. } => {
                self.handed_back(of, (agent, *copy), checkpoint.as_ref(), turn)
            }
            Input::Completed { agent, outcome, started_at, checkpoint, .. } => {
                self.completed(of, agent, (outcome, *started_at, checkpoint.as_ref()), turn)
            }
            Input::DeadLettered { copy, .. } => {
                let row = self.row(at);
                let is_leased = row.leased.is_some_and(|until| turn.now < until);
                let was_sent_again = matches!(stand, Stand::Queued { .. }) && of.fence < row.fence;
                if stand.is_settled() {
                    self.send_again(row.commit, turn);
                } else if stand.is_in_flight()
                    && row.attempt == of.attempt
                    && row.is_its_message(of, *copy)
                    && !is_leased
                    && !was_sent_again
                {
                    self.set(at, Stand::Failed, turn);
                    self.follow(turn);
                } else {
                    return Err(Rejection::Stale);
                }
                Ok(())
            }
            Input::Start
            | Input::Cancel { .. }
            | Input::Kill { .. }
            | Input::Pause { .. }
            | Input::Resume { .. }
            | Input::Unserved { .. }
            | Input::Retry { .. }
            | Input::Wake
            | Input::Sweep { .. } => Ok(()),
        }
    }

    fn completed(
        &mut self,
        of: ActionAt,
        agent: &AgentId,
        (outcome, started_at, checkpoint): (&Outcome, Timestamp, Option<&Value>),
        turn: &mut Turn<'_>,
    ) -> Result<(), Rejection> {
        let at = of.action.as_usize();
        let is_newest = self.newest(at) == of;
        let stand = self.row(at).stand.clone();
        let is_over = stand.is_settled() && stand != Stand::Skipped || matches!(stand, Stand::RetryWaiting { .. });
        if is_newest && is_over {
            self.send_again(self.row(at).commit, turn);
            return Ok(());
        }
        let row = self.actions.get_mut(&name_of(at));
        if row.is_some_and(|row| row.attempt == of.attempt && row.lost.remove(&of.fence)) {
            return Ok(());
        }
        let is_anothers = matches!(&stand, Stand::Running { agent: holder, .. } if holder != agent);
        if !is_newest || !stand.is_in_flight() || is_anothers {
            return Err(refusal(&stand));
        }
        if let Some(row) = self.actions.get_mut(&name_of(at)) {
            row.lost.clear();
        }
        self.keep(at, checkpoint);
        match outcome {
            Outcome::Succeeded { output } => self.set(at, Stand::Succeeded(output.clone()), turn),
            Outcome::Failed { error } => self.attempt_failed(at, &error.kind, Stand::Failed, turn),
            Outcome::TimedOut { error } => {
                let own = self.sketch.actions[at].timeout.map(|timeout| started_at.plus(timeout));
                let soon = turn.now.plus(Millis(CLOCKS_DIFFER_MS));
                let is_met = self.deadline.is_some_and(|it| it <= soon && own.is_none_or(|own| it <= own));
                if is_met && matches!(self.status, RunStatus::Running | RunStatus::Paused) {
                    self.cancel(CancelCause::Deadline, turn)?;
                }
                self.attempt_failed(at, &error.kind, Stand::TimedOut, turn);
            }
            Outcome::Cancelled if self.is_stopping(at) => self.set(at, Stand::Cancelled, turn),
            Outcome::Cancelled => self.attempt_failed(at, "stopped", Stand::Failed, turn),
        }
        self.follow(turn);
        Ok(())
    }

    pub(super) fn attempt_failed(&mut self, at: usize, kind: &str, end: Stand, turn: &mut Turn<'_>) {
        let policy = self.sketch.actions[at].retry;
        let row = self.row(at);
        let spent = row.attempt - row.base;
        let growth = 1_u64 << (spent - 1).min(30);
        let delay = policy.delay.0.saturating_mul(growth).min(policy.max_delay.0);
        let due = turn.now.plus(Millis(delay));
        let is_too_old = match (policy.max_age, row.first_queued) {
            (Some(age), Some(first)) => due > first.plus(age),
            _ => false,
        };
        let is_spent = policy.attempts.is_some_and(|most| spent >= most);
        if is_spent || is_too_old || kind == NEVER_RETRIED || self.is_stopping(at) {
            self.set(at, end, turn);
        } else {
            self.set(at, Stand::RetryWaiting { due }, turn);
        }
    }
}

/// Why a report of an action that stands there is not taken.
pub(super) fn refusal(stand: &Stand) -> Rejection {
    if stand.is_settled() { Rejection::Settled } else { Rejection::Stale }
}
