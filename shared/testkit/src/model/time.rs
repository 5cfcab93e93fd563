//! What follows because time has passed: wakes and sweeps.

use windlass_domain::decide::Rejection;
use windlass_domain::limits::{
    CANCEL_FORCE_MS, CANCEL_GRACE_MS, REISSUE_QUEUED_AFTER_MS, RESTART_AFTER_MS, TIMEOUT_MARGIN_MS, UNLEASED_MS,
};
use windlass_domain::run::{CancelCause, RunStatus};
use windlass_domain::time::{Millis, Timestamp};

use super::{Model, Stand, Turn};

impl Model {
    pub(super) fn wake(&mut self, turn: &mut Turn<'_>) -> Result<(), Rejection> {
        match self.status {
            RunStatus::Running | RunStatus::Paused => {
                if self.deadline.is_some_and(|deadline| deadline <= turn.now) {
                    return self.cancel(CancelCause::Deadline, turn);
                }
                for at in self.positions() {
                    self.wake_action(at, turn);
                }
                self.follow(turn);
            }
            RunStatus::Cancelling => self.force(turn),
            RunStatus::Submitted
            | RunStatus::Succeeded
            | RunStatus::SucceededWithFaults
            | RunStatus::Failed
            | RunStatus::TimedOut
            | RunStatus::Cancelled => {}
        }
        Ok(())
    }

    fn wake_action(&mut self, at: usize, turn: &mut Turn<'_>) {
        let sketch = &self.sketch.actions[at];
        if let Some(killed_at) = self.row(at).killed {
            return self.force_one(at, turn.now.since(killed_at).0, turn);
        }
        match self.row(at).stand.clone() {
            Stand::RetryWaiting { due } if due <= turn.now => self.set(at, Stand::Ready, turn),
            Stand::Queued { since } if sketch.queue_timeout.is_some_and(|span| since.plus(span) <= turn.now) => {
                self.attempt_failed(at, "timeout.queue", Stand::TimedOut, turn);
            }
            Stand::Running { since, .. } => {
                let is_lost = |timeout| since.plus(timeout).plus(Millis(TIMEOUT_MARGIN_MS)) <= turn.now;
                if sketch.timeout.is_some_and(is_lost) {
                    self.attempt_failed(at, "timeout.lost", Stand::TimedOut, turn);
                } else if self.row(at).leased.is_some_and(|until| until <= turn.now) {
                    self.lapse(at, turn);
                }
            }
            _ => {}
        }
    }

    fn force(&mut self, turn: &mut Turn<'_>) {
        let Some((cancelled_at, _)) = self.cancelled else { return };
        let waited = turn.now.since(cancelled_at).0;
        for at in self.positions() {
            self.force_one(at, waited, turn);
        }
        self.follow(turn);
    }

    /// Ends what was cancelled or killed so long ago and nobody has answered.
    fn force_one(&mut self, at: usize, waited: u64, turn: &Turn<'_>) {
        let patience = match self.row(at).stand {
            Stand::Queued { .. } => CANCEL_GRACE_MS,
            Stand::Running { .. } => CANCEL_FORCE_MS,
            _ => return,
        };
        let is_leased = self.row(at).leased.is_some_and(|until| turn.now < until);
        if waited >= patience && !is_leased {
            self.set(at, Stand::Cancelled, turn);
        }
    }

    pub(super) fn sweep(&mut self, since: Timestamp, turn: &mut Turn<'_>) -> Result<(), Rejection> {
        if self.status == RunStatus::Submitted {
            self.start(turn);
            return Ok(());
        }
        // The commit that begins a run is its first: until another changes where something stands, nothing is heard of it.
        let is_unheard_of = self.status_commit <= 1 && self.actions.values().all(|row| row.commit <= 1);
        self.wake(turn)?;
        if !matches!(self.status, RunStatus::Running | RunStatus::Paused) {
            return Ok(());
        }
        let now = turn.now;
        let is_at_a_mark = |from: Timestamp, first: u64| {
            let marks = (0..30).map(|doubling| from.plus(Millis(first << doubling)));
            marks.into_iter().any(|mark| mark > since && mark <= now)
        };
        if is_unheard_of {
            if self.begun.is_some_and(|begun| is_at_a_mark(begun, RESTART_AFTER_MS)) {
                self.send_again(1, turn);
            }
            return Ok(());
        }
        for at in self.positions() {
            let first = if self.row(at).commit <= 1 { RESTART_AFTER_MS } else { REISSUE_QUEUED_AFTER_MS };
            match self.row(at).stand {
                Stand::Queued { since: queued } if is_at_a_mark(queued, first) => {
                    turn.sent.insert((self.newest(at), true));
                }
                Stand::Running { since: begun, .. } if self.is_unowned(at, begun, now) => {
                    self.lapse(at, turn);
                    self.follow(turn);
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn is_unowned(&self, at: usize, begun: Timestamp, now: Timestamp) -> bool {
        let row = self.row(at);
        let has_run_for = |since| now.since(since).0 >= UNLEASED_MS;
        let is_kept = row.leased.is_some() || row.killed.is_some();
        !is_kept && has_run_for(begun) && row.queued.is_none_or(has_run_for)
    }
}
