//! What agents, and queues that gave a message up, say of attempts.

use serde_json::Value;

use super::change::Rejection;
use super::checkpoint::{CheckpointError, check_checkpoint};
use super::command::{CANCELLED, Command, Confirm, Stop, queued_as};
use super::draft::Draft;
use super::ending;
use super::fact::FactKind;
use super::graph;
use super::input::{CancelCause, Report};
use super::timers;
use crate::attempt::{
    ErrorInfo, Fate, Outcome, Owner, Progress, Refused, Said, Verdict, Word, disproved, is_poison, judge,
    may_begin_unasked,
};
use crate::delivery::{Delivery, FIRST_HANDED_BACK};
use crate::depth::is_too_deep;
use crate::ids::ActionIndex;
use crate::limits::{CLOCKS_DIFFER_MS, LEASE_MS, MAX_VALUE_DEPTH, VISIBILITY_MS};
use crate::time::{Millis, Timestamp};

/// An agent has performed the attempt for a while. It may have begun it without asking.
pub(super) fn started(draft: &mut Draft<'_>, of: &Report, started_at: Timestamp) -> Result<(), Rejection> {
    if heard(draft, of, Word::Started, None)? == Verdict::Owns {
        own(draft, of, started_at, 0);
    }
    stop_if_stopping(draft, of.action);
    Ok(())
}

/// An agent asks to own the attempt. If the action is not to go on, it ends here.
pub(super) fn claim(draft: &mut Draft<'_>, of: &Report, asked: u32) -> Result<(), Rejection> {
    let verdict = heard(draft, of, Word::Claim, Some(asked))?;
    let action = of.action;
    if draft.is_stopping(action) {
        if verdict == Verdict::Again {
            // The agent may perform it by now: only its own word, or time, ends it.
            answer(draft, of, Some(asked), Fate::Report, CANCELLED);
            return Ok(());
        }
        if of.delivery.issue > 0 && may_begin_unasked(draft.state(action), draft.now) {
            return Err(refuse(draft, of, Some(asked), Refused::Replaced { fate: Fate::Leave, costs_owner: false }));
        }
        draft.cancel(action, Some(&of.agent));
        answer(draft, of, Some(asked), Fate::Delete, CANCELLED);
        graph::follow(draft);
        return Ok(());
    }
    if let Verdict::Confirmed { lost } = verdict {
        let at = draft.at(action);
        let poison = lost.is_some() && is_poison(draft.state(action));
        if let Some(delivery) = lost {
            draft.emit(FactKind::ActionLost { of: at, delivery });
        }
        if poison {
            give_up(draft, action);
            answer(draft, of, Some(asked), Fate::Delete, "the action has cost too many agents");
            return Ok(());
        }
        if draft.state(action).agent().is_some_and(|owner| *owner != of.agent) {
            // It may live all the same, cut off or asleep.
            draft.stop_owner(action, Fate::Leave, "another agent has the attempt");
        }
        own(draft, of, draft.now, 1);
    }
    confirm(draft, of, asked, None);
    Ok(())
}

/// The agent keeps the attempt without its message for a while from now, unless it is not to go on. The attempt may be one
/// that was never reported as started.
pub(super) fn renewed(draft: &mut Draft<'_>, of: &Report, started_at: Timestamp, number: u32) -> Result<(), Rejection> {
    let verdict = heard(draft, of, Word::Renewal(number), Some(number))?;
    if verdict == Verdict::Owns {
        own(draft, of, started_at, 0);
    }
    if draft.is_stopping(of.action) {
        answer(draft, of, Some(number), Fate::Report, CANCELLED);
        return Ok(());
    }
    if verdict != Verdict::Again {
        survived(draft, of.action);
        let until = draft.now.plus(Millis(LEASE_MS + CLOCKS_DIFFER_MS));
        draft.emit(FactKind::ActionLeased { of: draft.at(of.action), until, renewal: number });
        put_off_wake(draft, of.action);
    }
    let until = draft.state(of.action).owner.as_ref().and_then(|owner| owner.until);
    confirm(draft, of, number, until);
    Ok(())
}

/// The attempt has come further. Of reports that overtook each other, the one that was made last counts.
pub(super) fn progressed(
    draft: &mut Draft<'_>,
    of: &Report,
    number: u32,
    progress: &Progress,
    checkpoint: Option<&Value>,
) -> Result<(), Rejection> {
    if heard(draft, of, Word::Progress, None)? == Verdict::Owns {
        // It has overtaken the report that the attempt began.
        own(draft, of, draft.now, 0);
    }
    if number == 0 || number > draft.state(of.action).progress_number {
        let refused = checkpointed(draft, of.action, number, checkpoint).err();
        let message = refused.map(|why| why.to_string()).or_else(|| progress.message.clone());
        let progress = Progress { message, ..progress.clone() };
        let says_nothing = progress == Progress::default();
        if !says_nothing && draft.state(of.action).progress.as_ref() != Some(&progress) {
            let at = draft.at(of.action);
            draft.emit(FactKind::ActionProgressed { of: at, delivery: of.delivery, number, progress });
        }
    }
    stop_if_stopping(draft, of.action);
    Ok(())
}

/// The attempt's agent has stopped it and gives it back. The attempt waits in its pool again, and none is spent; if it is
/// not to go on, the action ends here.
pub(super) fn handed_back(
    draft: &mut Draft<'_>,
    of: &Report,
    kept: bool,
    checkpoint: Option<&Value>,
) -> Result<(), Rejection> {
    heard(draft, of, Word::HandBack { kept }, None)?;
    let action = of.action;
    if draft.is_stopping(action) {
        if of.delivery.issue > 0 && may_begin_unasked(draft.state(action), draft.now) {
            return Err(Rejection::Stale);
        }
        draft.cancel(action, Some(&of.agent));
        graph::follow(draft);
        return Ok(());
    }
    // A checkpoint that is too large was refused where it was saved.
    let _kept = checkpointed(draft, action, 0, checkpoint);
    let state = draft.state(action);
    let waited = state.queued_at.map_or(0, |at| draft.now.since(at).0);
    // Another process manager may have numbered the message by another clock, above what the record knows.
    let issue = state.last.max(of.delivery).next_issue(waited).max(FIRST_HANDED_BACK);
    draft.emit(FactKind::ActionHandedBack { of: draft.at(action), issue });
    let perform = queued_as(draft.definition, &draft.run, action, issue, &mut draft.reading);
    draft.commands.extend(perform.map(|perform| Command::Perform(Box::new(perform))));
    Ok(())
}

/// The attempt has ended.
pub(super) fn completed(
    draft: &mut Draft<'_>,
    of: &Report,
    started_at: Timestamp,
    outcome: &Outcome,
    checkpoint: Option<&Value>,
) -> Result<(), Rejection> {
    heard(draft, of, Word::End, None)?;
    let action = of.action;
    survived(draft, action);
    let owner = draft.state(action).owner.clone();
    let started_at = held_within(draft, action, started_at);
    let by = Some(owner.unwrap_or_else(|| Owner::of_end(of.agent.clone(), started_at)));
    if !matches!(outcome, Outcome::Succeeded { .. }) {
        // A checkpoint that is too large was refused where it was saved.
        let _kept = checkpointed(draft, action, 0, checkpoint);
    }
    match outcome {
        Outcome::Succeeded { output } if is_too_deep(output) => {
            let message = format!("the output is nested more than {MAX_VALUE_DEPTH} levels deep");
            attempt_failed(draft, action, by, ErrorInfo::new("output.too_deep", message), false);
        }
        Outcome::Succeeded { output } => {
            let (of, output) = (draft.at(action), output.clone());
            draft.emit(FactKind::ActionSucceeded { of, by, output });
        }
        Outcome::Failed { error } => attempt_failed(draft, action, by, error.clone(), false),
        Outcome::TimedOut { error } => {
            if met_deadline(draft, action, started_at) {
                ending::cancel(draft, CancelCause::Deadline, "the run's deadline passed")?;
            }
            attempt_failed(draft, action, by, error.clone(), true);
        }
        Outcome::Cancelled if draft.is_stopping(action) => draft.cancel(action, Some(&of.agent)),
        Outcome::Cancelled => {
            let error = ErrorInfo::new("stopped", "its agent stopped the attempt although no caller had cancelled it");
            attempt_failed(draft, action, by, error, false);
        }
    }
    graph::follow(draft);
    Ok(())
}

/// No agent could perform the attempt's message.
pub(super) fn dead_lettered(
    draft: &mut Draft<'_>,
    action: ActionIndex,
    (delivery, message): (Delivery, u32),
    reason: &str,
) -> Result<(), Rejection> {
    let said = Said { word: Word::DeadLetter, delivery, message, agent: None };
    if let Err(refused) = judge(draft.state(action), &said, draft.now) {
        return Err(rejection(draft, action, refused));
    }
    draft.fail(action, None, ErrorInfo::new("dead_letter", reason), false);
    graph::follow(draft);
    Ok(())
}

/// Holds a report against the record. If it does not count, and its agent waits for an answer or works in vain, that
/// agent gets a stop. Any report of an agent that was taken for lost shows that it was not.
fn heard(draft: &mut Draft<'_>, of: &Report, word: Word, asked: Option<u32>) -> Result<Verdict, Rejection> {
    let said = Said { word, delivery: of.delivery, message: of.message, agent: Some(&of.agent) };
    if draft.run.status.is_final() {
        refuse_word(draft, of, word, asked, Refused::Over);
        return Err(Rejection::RunEnded);
    }
    if let Some(delivery) = disproved(draft.state(of.action), of.delivery) {
        draft.emit(FactKind::ActionNotLost { of: draft.at(of.action), delivery });
    }
    judge(draft.state(of.action), &said, draft.now).map_err(|refused| refuse_word(draft, of, word, asked, refused))
}

fn refuse_word(draft: &mut Draft<'_>, of: &Report, word: Word, asked: Option<u32>, refused: Refused) -> Rejection {
    match word {
        Word::Claim | Word::Started | Word::Renewal(_) | Word::Progress => refuse(draft, of, asked, refused),
        Word::HandBack { .. } | Word::End | Word::DeadLetter => {
            if let Refused::Replaced { costs_owner: true, .. } = refused {
                // The owner finds its message gone, stops and hands back; if it is dead, its time runs out.
                let until = draft.now.plus(Millis(2 * VISIBILITY_MS));
                draft.emit(FactKind::ActionLeased { of: draft.at(of.action), until, renewal: 0 });
            }
            rejection(draft, of.action, refused)
        }
    }
}

/// Refuses a report, and tells its agent what to do with its message.
fn refuse(draft: &mut Draft<'_>, of: &Report, asked: Option<u32>, refused: Refused) -> Rejection {
    let why = rejection(draft, of.action, refused);
    if !matches!(refused, Refused::Unknown) {
        answer(draft, of, asked, refused.fate(), &why.to_string());
    }
    why
}

fn rejection(draft: &Draft<'_>, action: ActionIndex, refused: Refused) -> Rejection {
    let is_settled = refused == Refused::Over && draft.state(action).status.is_settled();
    if is_settled { Rejection::Settled } else { Rejection::Stale }
}

fn answer(draft: &mut Draft<'_>, of: &Report, asked: Option<u32>, fate: Fate, reason: &str) {
    let stop = Stop::answering(of, draft.action(of.action).pool.clone(), asked, fate, reason);
    draft.commands.push(Command::Stop(Box::new(stop)));
}

/// A lease that is extended puts its timer off: unless the run is overdue, `wake_at` follows.
fn put_off_wake(draft: &mut Draft<'_>, action: ActionIndex) {
    let is_overdue = draft.run.wake_at.is_some_and(|at| at <= draft.now);
    if draft.run.status.goes_on() && !is_overdue {
        timers::set_wake(draft, Some(action));
    }
}

/// Confirms, or confirms again, that the attempt is the agent's own. Only a renewal is answered by a lease.
fn confirm(draft: &mut Draft<'_>, of: &Report, asked: u32, until: Option<Timestamp>) {
    let pool = draft.action(of.action).pool.clone();
    let confirm = Confirm::answering(of, pool, asked, until, draft.state(of.action));
    draft.commands.push(Command::Confirm(Box::new(confirm)));
}

/// The agent has the attempt from here on; `raised` is added to its fence.
fn own(draft: &mut Draft<'_>, of: &Report, started_at: Timestamp, raised: u64) {
    let fence = draft.state(of.action).fence + raised;
    let owner = Owner {
        agent: of.agent.clone(),
        started_at: held_within(draft, of.action, started_at),
        since: draft.now,
        message: of.message,
        until: None,
        renewal: 0,
    };
    draft.emit(FactKind::ActionStarted { of: draft.at(of.action), delivery: of.delivery, owner, fence });
}

/// The time that an agent reports, but not before the attempt was queued nor after the process manager received the
/// report. So an agent's clock decides nothing.
fn held_within(draft: &Draft<'_>, action: ActionIndex, said: Timestamp) -> Timestamp {
    let queued_at = draft.state(action).queued_at.unwrap_or(draft.now);
    said.min(draft.now).max(queued_at.min(draft.now))
}

fn stop_if_stopping(draft: &mut Draft<'_>, action: ActionIndex) {
    if draft.is_stopping(action) {
        draft.stop_owner(action, Fate::Report, CANCELLED);
    }
}

/// Keeps where the work can be taken up, if that is within its limits.
fn checkpointed(
    draft: &mut Draft<'_>,
    action: ActionIndex,
    number: u32,
    checkpoint: Option<&Value>,
) -> Result<(), CheckpointError> {
    let Some(checkpoint) = checkpoint else { return Ok(()) };
    check_checkpoint(checkpoint)?;
    if draft.state(action).checkpoint.as_ref() != Some(checkpoint) {
        let (of, checkpoint) = (draft.at(action), checkpoint.clone());
        draft.emit(FactKind::ActionCheckpointed { of, number, checkpoint });
    }
    Ok(())
}

/// An agent came to the end of an attempt, or has performed it for hours: the agents that were lost before it may have been
/// lost for any reason.
fn survived(draft: &mut Draft<'_>, action: ActionIndex) {
    for delivery in draft.state(action).losses.clone() {
        draft.emit(FactKind::ActionNotLost { of: draft.at(action), delivery });
    }
}

fn give_up(draft: &mut Draft<'_>, action: ActionIndex) {
    let state = draft.state(action);
    let times = state.losses.len();
    let last = state.agent().map_or_else(String::new, |agent| format!("; the last one was `{agent}`"));
    let message = format!("{times} agents were lost one after the other while they performed it{last}");
    let by = state.owner.clone();
    draft.fail(action, by, ErrorInfo::new("poison", message), false);
    graph::follow(draft);
}

/// Whether an attempt that took too long did so by its run's deadline rather than by its own timeout: its agent keeps both,
/// and may be faster than the timer that ends the run.
fn met_deadline(draft: &Draft<'_>, action: ActionIndex, started_at: Timestamp) -> bool {
    let own = draft.action(action).timeout.map(|timeout| started_at.plus(timeout));
    let is_it = |deadline: Timestamp| {
        deadline <= draft.now.plus(Millis(CLOCKS_DIFFER_MS)) && own.is_none_or(|own| deadline <= own)
    };
    draft.run.status.goes_on() && draft.run.deadline.is_some_and(is_it)
}

/// An attempt failed: another is due later, or the action has failed. What is not to go on is not tried again.
pub(super) fn attempt_failed(
    draft: &mut Draft<'_>,
    action: ActionIndex,
    by: Option<Owner>,
    error: ErrorInfo,
    timed_out: bool,
) {
    let of = draft.at(action);
    let failed = draft.run.failed_attempt(action, &error.kind);
    let next = draft.action(action).retry.next_attempt(&failed, draft.now);
    let Some(retry_at) = next.filter(|_| !draft.is_stopping(action)) else {
        draft.fail(action, by, error, timed_out);
        return;
    };
    draft.emit(FactKind::ActionRetrying { of, by, error, retry_at });
    timers::wake_at(draft, Some(action), retry_at);
}
