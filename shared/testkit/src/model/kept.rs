//! What is kept of an attempt's work, and attempts that are handed back.

use serde_json::Value;
use windlass_domain::decide::Rejection;
use windlass_domain::ids::AgentId;
use windlass_domain::limits::MAX_CHECKPOINT_BYTES;
use windlass_domain::run::{ActionAt, Progress};

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

    pub(super) fn handed_back(
        &mut self,
        of: ActionAt,
        agent: &AgentId,
        checkpoint: Option<&Value>,
        turn: &mut Turn<'_>,
    ) -> Result<(), Rejection> {
        let at = of.action.as_usize();
        let row = self.row(at).clone();
        if !row.stand.is_in_flight() || row.attempt != of.attempt || of.fence > row.fence {
            return Err(refusal(&row.stand));
        }
        if of.fence < row.fence || row.handed_back {
            return Ok(());
        }
        if matches!(&row.stand, Stand::Running { agent: holder, .. } if holder != agent) {
            return Err(Rejection::Stale);
        }
        if self.is_ending() {
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
        Ok(())
    }
}

fn fits(checkpoint: &Value) -> bool {
    checkpoint.to_string().len() <= MAX_CHECKPOINT_BYTES
}
