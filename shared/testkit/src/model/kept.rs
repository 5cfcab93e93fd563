//! Attempts that pass from agent to agent: what is kept of their work, claims, hand-backs and losses.

use serde_json::Value;
use windlass_domain::decide::Rejection;
use windlass_domain::ids::AgentId;
use windlass_domain::limits::{CLOCKS_DIFFER_MS, LEASE_MS, MAX_CHECKPOINT_BYTES, MAX_LOSSES};
use windlass_domain::run::{ActionAt, Progress};
use windlass_domain::time::Millis;

use super::report::refusal;
use super::{Model, Stand, Turn};
use crate::sketch::name_of;

impl Model {
    /// Whether the checkpoint is kept because it is another than the one before.
    pub(super) fn keep(&mut self, at: usize, checkpoint: Option<&Value>) -> bool {
        let row = self.actions.get_mut(&name_of(at));
        let (Some(row), Some(checkpoint)) = (row, checkpoint) else { return false };
        let is_other = fits(checkpoint) && row.checkpoint.as_ref() != Some(checkpoint);
        if is_other {
            row.checkpoint = Some(checkpoint.clone());
        }
        is_other
    }

    /// What a report says of the work, unless a later one has come before it.
    pub(super) fn said(&mut self, at: usize, number: u32, progress: &Progress, checkpoint: Option<&Value>) {
        if number > 0 && number <= self.row(at).said_number {
            return;
        }
        let mut is_news = self.keep(at, checkpoint);
        let is_refused = checkpoint.is_some_and(|checkpoint| !fits(checkpoint));
        let Some(row) = self.actions.get_mut(&name_of(at)) else { return };
        let said = if is_refused {
            // Why it was refused is said instead of a message.
            Some(Progress { message: Some(String::new()), ..progress.clone() })
        } else {
            Some(progress.clone()).filter(|progress| *progress != Progress::default())
        };
        if said.is_some() && row.said != said {
            row.said = said;
            is_news = true;
        }
        if is_news {
            row.said_number = row.said_number.max(number);
        }
    }

    pub(super) fn claim(
        &mut self,
        of: ActionAt,
        agent: &AgentId,
        (received, copy, again): (u32, u32, bool),
        turn: &mut Turn<'_>,
    ) -> Result<(), Rejection> {
        let at = of.action.as_usize();
        let redelivered = received > 1;
        let row = self.row(at).clone();
        if (redelivered || again) && row.stand.is_settled() && of.attempt > 0 && row.attempt == of.attempt {
            self.send_again(row.commit, turn);
            return Ok(());
        }
        let (may, owner) = match &row.stand {
            Stand::Queued { .. } => (true, None),
            Stand::Running { agent, .. } => (redelivered, Some(agent)),
            _ => (false, None),
        };
        let is_repeated = again && (copy, received) == (row.copy, row.received) && owner == Some(agent);
        if !may && !is_repeated || row.attempt != of.attempt || !row.is_its_message(of, copy) {
            return Err(refusal(&row.stand));
        }
        if row.leased.is_some_and(|until| turn.now < until) {
            return Err(Rejection::Stale);
        }
        if copy == row.copy && received <= row.received && !is_repeated {
            return Err(Rejection::Redelivered);
        }
        if self.is_stopping(at) {
            if !redelivered && row.may_begin_unasked(turn.now) {
                return Err(Rejection::Stale);
            }
            self.set(at, Stand::Cancelled, turn);
            self.follow(turn);
            return Ok(());
        }
        if is_repeated {
            return Ok(());
        }
        let is_nobodys = owner.is_none() && row.lost.last().is_some_and(|lost| lost + 1 == row.fence);
        let is_loss = redelivered && !row.handed_back && !is_nobodys && owner != Some(agent);
        if let Some(row) = self.actions.get_mut(&name_of(at)) {
            if is_loss {
                row.lost.insert(row.fence);
            }
            if row.lost.len() < MAX_LOSSES {
                (row.fence, row.said_number) = (row.fence + 1, 0);
                (row.copy, row.received) = (copy, received);
            }
        }
        if self.row(at).lost.len() == MAX_LOSSES {
            self.set(at, Stand::Failed, turn);
            self.follow(turn);
        } else {
            self.set(at, Stand::Running { since: turn.now, agent: agent.clone() }, turn);
        }
        Ok(())
    }

    pub(super) fn renewed(&mut self, at: usize, turn: &mut Turn<'_>) {
        if let Some(row) = self.actions.get_mut(&name_of(at)) {
            row.leased = Some(turn.now.plus(Millis(LEASE_MS + CLOCKS_DIFFER_MS)));
            row.lost.clear();
        }
    }

    /// Nobody has renewed: its agent is lost.
    pub(super) fn lapse(&mut self, at: usize, turn: &mut Turn<'_>) {
        let Some(row) = self.actions.get_mut(&name_of(at)) else { return };
        row.lost.insert(row.fence);
        if row.lost.len() == MAX_LOSSES {
            self.set(at, Stand::Failed, turn);
            return;
        }
        (row.fence, row.said_number) = (row.fence + 1, 0);
        self.set(at, Stand::Queued { since: turn.now }, turn);
        turn.sent.insert((self.newest(at), true));
    }

    pub(super) fn handed_back(
        &mut self,
        of: ActionAt,
        (agent, copy): (&AgentId, u32),
        checkpoint: Option<&Value>,
        turn: &mut Turn<'_>,
    ) -> Result<(), Rejection> {
        let at = of.action.as_usize();
        let row = self.row(at).clone();
        if !row.stand.is_in_flight() || row.attempt != of.attempt || of.fence > row.fence {
            return Err(refusal(&row.stand));
        }
        if of.fence < row.fence {
            if row.handed_back && of.fence + 1 == row.fence {
                turn.sent.insert((self.newest(at), true));
            }
            if let Some(row) = self.actions.get_mut(&name_of(at)) {
                row.lost.remove(&of.fence);
            }
            return Ok(());
        }
        if matches!(&row.stand, Stand::Running { agent: holder, .. } if holder != agent) {
            return Err(Rejection::Stale);
        }
        if self.is_stopping(at) {
            if copy > 0 && row.may_begin_unasked(turn.now) {
                return Err(Rejection::Stale);
            }
            self.set(at, Stand::Cancelled, turn);
            self.follow(turn);
            return Ok(());
        }
        self.keep(at, checkpoint);
        self.set(at, Stand::Queued { since: turn.now }, turn);
        if let Some(row) = self.actions.get_mut(&name_of(at)) {
            row.handed_back = true;
            row.fence += 1;
            row.said_number = 0;
        }
        turn.sent.insert((self.newest(at), true));
        Ok(())
    }
}

fn fits(checkpoint: &Value) -> bool {
    checkpoint.to_string().len() <= MAX_CHECKPOINT_BYTES
}
