//! Messages that are lost for good: which of them the world may lose, and when the sweeper must have made up for the
//! loss.

use windlass_contract::message::{InboxMessage, PerformMessage, decode};
use windlass_domain::ids::ActionIndex;
use windlass_domain::limits::{REISSUE_QUEUED_AFTER_MS, START_AGAIN_AFTER_MS};
use windlass_domain::run::{ActionStatus, Input, Run, RunStatus};
use windlass_domain::time::{Millis, Timestamp};
use windlass_engine::ports::QueueName;

use super::catalogue::SW16;
use super::witness::{Seen, Witness};
use crate::memory::MemoryHost;

/// The time from a due sweep until its messages are there. The sweeper makes a round each minute, and may have to be
/// started again.
const SWEPT_WITHIN: Millis = Millis::from_secs(240);

/// Whether the sweeper makes up for the loss of this message. An agent reports an end once, and a caller asks once. A
/// queue that loses such a message breaks its own promise, and no process can notice.
pub(super) fn may_be_lost(queue: &QueueName, body: &str) -> bool {
    match queue {
        QueueName::Pool(_) | QueueName::Control { .. } => true,
        QueueName::DeadLetter => false,
        QueueName::Inbox | QueueName::Claims => match decode::<InboxMessage>(body) {
            Ok(InboxMessage::Run { input, .. }) => is_made_good(&input),
            Ok(InboxMessage::Task { .. } | InboxMessage::Sweep { .. }) | Err(_) => false,
        },
    }
}

fn is_made_good(input: &Input) -> bool {
    match input {
        Input::Start
        | Input::Wake { .. }
        | Input::Sweep
        | Input::Unserved { .. }
        | Input::Started { .. }
        | Input::Claim { .. }
        | Input::Renewed { .. }
        | Input::Progressed { .. } => true,
        Input::Completed { .. }
        | Input::HandedBack { .. }
        | Input::DeadLettered { .. }
        | Input::Cancel { .. }
        | Input::Kill { .. }
        | Input::Pause { .. }
        | Input::Resume { .. }
        | Input::Retry { .. } => false,
    }
}

impl Witness {
    /// A message was lost on its way into the queue.
    pub(super) fn lost(&mut self, queue: &QueueName, body: &str) {
        if let (QueueName::Pool(_), Ok(perform)) = (queue, decode::<PerformMessage>(body)) {
            self.lost.insert((perform.run, perform.of.action, perform.of.attempt));
        }
    }

    /// Looks for messages that should have been resent by now. There have been no faults since `well_at`.
    pub(super) fn look_at_overdue(&mut self, host: &MemoryHost, well_at: Timestamp, now: Timestamp) {
        let open = self.runs.values().filter(|seen| !seen.record.status.is_final());
        let late = open.filter_map(|seen| Some((seen.record.id, overdue(seen, host, well_at, now)?)));
        for (run, late) in late.collect::<Vec<_>>() {
            self.breaks(SW16, format!("run {run}: {late}"));
        }
    }
}

fn overdue(seen: &Seen, host: &MemoryHost, well_at: Timestamp, now: Timestamp) -> Option<String> {
    let run = &seen.record;
    let [well_at, now] = [well_at, now].map(|at| run.time(at, Some(at)));
    let is_late = |due: Timestamp| now > due.max(well_at).plus(SWEPT_WITHIN);
    if let Some(at) = run.wake_at.filter(|at| is_late(*at)) {
        return Some(format!("it was to be woken at {at}, and it is {now}"));
    }
    let submitted_at = run.submitted_at.plus(Millis(START_AGAIN_AFTER_MS));
    if run.status == RunStatus::Submitted && is_late(submitted_at) {
        return Some(format!("it was to be begun at {submitted_at}, and it is {now}"));
    }
    if !matches!(run.status, RunStatus::Running | RunStatus::Paused) {
        return None;
    }
    let waiting = (0..run.actions.len()).map(ActionIndex::from_usize);
    let waiting = waiting.filter(|action| run.action(*action).status == ActionStatus::Queued);
    let mut overdue = waiting.filter(|action| due_again(run, *action, well_at).is_some_and(&is_late));
    let action = overdue.find(|action| !has_message(run, *action, host))?;
    Some(format!("action {} is queued since {:?} and has no message at {now}", action.0, run.action(action).queued_at))
}

/// When a queued attempt must be resent, in case its message was lost. Of ten minutes, twenty, forty and so on it is
/// the first mark after the last fault.
fn due_again(run: &Run, action: ActionIndex, well_at: Timestamp) -> Option<Timestamp> {
    let from = run.action(action).waits_since()?;
    let mut wait = Millis(REISSUE_QUEUED_AFTER_MS);
    while from.plus(wait) < well_at {
        wait = Millis(wait.0.saturating_mul(2));
    }
    Some(from.plus(wait))
}

fn has_message(run: &Run, action: ActionIndex, host: &MemoryHost) -> bool {
    let attempt = run.action(action).attempt();
    host.has_message_of(run.id, |queue, of| match queue {
        QueueName::Inbox | QueueName::Claims => true,
        QueueName::Pool(_) => of.is_some_and(|of| (of.action, of.attempt) == (action, attempt)),
        QueueName::Control { .. } | QueueName::DeadLetter => false,
    })
}
