//! What people ask for: start, cancel, pause, resume and retry.

use std::collections::BTreeSet;

use windlass_domain::decide::Rejection;
use windlass_domain::run::{CancelCause, RunStatus};

use super::{Model, Row, Stand, Turn};
use crate::sketch::name_of;

impl Model {
    pub(super) fn start(&mut self, turn: &mut Turn<'_>) {
        if self.status == RunStatus::Submitted {
            self.begun = Some(turn.now);
            self.deadline = self.sketch.timeout.map(|timeout| turn.now.plus(timeout));
            self.set_status(RunStatus::Running, turn);
            self.follow(turn);
        } else {
            self.send_again(1, turn);
        }
    }

    pub(super) fn cancel(&mut self, cause: CancelCause, turn: &mut Turn<'_>) -> Result<(), Rejection> {
        if self.status.is_final() {
            return if self.status == RunStatus::Cancelled { Ok(()) } else { Err(Rejection::RunEnded) };
        }
        if self.is_ending() {
            return Ok(());
        }
        self.cancelled = Some((turn.now, cause));
        self.set_status(RunStatus::Cancelling, turn);
        for at in self.positions() {
            if matches!(self.row(at).stand, Stand::Waiting | Stand::Ready | Stand::RetryWaiting { .. }) {
                self.set(at, Stand::Cancelled, turn);
            }
        }
        self.follow(turn);
        Ok(())
    }

    pub(super) fn kill(&mut self, at: usize, turn: &mut Turn<'_>) -> Result<(), Rejection> {
        let Row { stand, killed, commit, .. } = self.row(at).clone();
        if killed.is_some() && (stand.is_in_flight() || stand == Stand::Cancelled) {
            if stand == Stand::Cancelled {
                self.send_again(commit, turn);
            }
            return Ok(());
        }
        self.check_controllable()?;
        if stand.is_settled() {
            return Err(Rejection::Settled);
        }
        if let Some(row) = self.actions.get_mut(&name_of(at)) {
            row.killed = Some(turn.now);
        }
        if !stand.is_in_flight() {
            self.set(at, Stand::Cancelled, turn);
        }
        self.follow(turn);
        Ok(())
    }

    fn check_controllable(&self) -> Result<(), Rejection> {
        match self.status {
            RunStatus::Running | RunStatus::Paused => Ok(()),
            RunStatus::Submitted | RunStatus::Cancelling => Err(Rejection::RunStatus(self.status)),
            RunStatus::Succeeded
            | RunStatus::SucceededWithFaults
            | RunStatus::Failed
            | RunStatus::TimedOut
            | RunStatus::Cancelled => Err(Rejection::RunEnded),
        }
    }

    pub(super) fn pause(&mut self, turn: &Turn<'_>) -> Result<(), Rejection> {
        self.check_controllable()?;
        if self.status == RunStatus::Running {
            self.pauses += 1;
            self.set_status(RunStatus::Paused, turn);
        }
        Ok(())
    }

    pub(super) fn resume(&mut self, turn: &mut Turn<'_>) -> Result<(), Rejection> {
        self.check_controllable()?;
        if self.status == RunStatus::Paused {
            self.set_status(RunStatus::Running, turn);
            self.follow(turn);
        } else {
            self.send_again(self.status_commit, turn);
        }
        Ok(())
    }

    pub(super) fn retry(&mut self, turn: &mut Turn<'_>) -> Result<(), Rejection> {
        if self.status == RunStatus::Running && self.retries > 0 {
            self.send_again(self.status_commit, turn);
            return Ok(());
        }
        if !self.status.is_final() || self.status == RunStatus::Succeeded {
            return Err(Rejection::RunStatus(self.status));
        }
        for at in self.start_over() {
            if let Some(row) = self.actions.get_mut(&name_of(at)) {
                row.base = row.attempt;
                row.killed = None;
                row.first_queued = None;
            }
            self.set(at, Stand::Waiting, turn);
        }
        self.retries += 1;
        self.cancelled = None;
        self.deadline = self.sketch.timeout.map(|timeout| turn.now.plus(timeout));
        self.set_status(RunStatus::Running, turn);
        self.follow(turn);
        Ok(())
    }

    /// What was unsuccessful, and whatever needs something that starts over.
    fn start_over(&self) -> BTreeSet<usize> {
        let unsuccessful = |at: &usize| {
            let stand = &self.row(*at).stand;
            stand.failed()
        };
        let mut over: BTreeSet<usize> = self.positions().filter(unsuccessful).collect();
        loop {
            let needs_one = |at: &usize| self.sketch.actions[*at].needs.iter().any(|need| over.contains(need));
            let more: BTreeSet<usize> = self.positions().filter(needs_one).filter(|at| !over.contains(at)).collect();
            if more.is_empty() {
                return over;
            }
            over.extend(more);
        }
    }
}
