//! The effect of an input on a run: one match on the input, and for each a file that has its rule.
//!
//! An input may come twice. Handled again, it changes nothing. Its caller then sends again what the input led to
//! ([`outstanding`](crate::outstanding)), for the process that decided it may have died before it sent.

use super::change::{Change, Rejection};
use super::draft::Draft;
use super::input::{Input, Report};
use super::source::Source;
use super::state::Run;
use super::{control, report, time, timers};
use crate::caller::Caller;
use crate::definition::Definition;
use crate::ids::ActionIndex;
use crate::time::Timestamp;

/// Decides what an input of that caller does to a run at `now`.
pub fn decide(definition: &Definition, run: &Run, input: &Input, caller: &Caller, now: Timestamp) -> Change {
    let mut draft = Draft::new(definition, run, (input.source(), caller), now);
    let answer = answer(&mut draft, input);
    if !draft.facts.is_empty() && !draft.is_wake_set {
        timers::keep_wake(&mut draft);
    }
    draft.change(answer)
}

fn answer(draft: &mut Draft<'_>, input: &Input) -> Result<(), Rejection> {
    match input {
        Input::Start => control::start(draft),
        Input::Cancel { reason, cause, retries } => control::cancel_as_asked(draft, *cause, reason, *retries)?,
        Input::Kill { action, reason, retries } => {
            check_action(draft, *action)?;
            control::kill_as_asked(draft, *action, reason, *retries)?;
        }
        Input::Pause { pauses, retries } => control::pause(draft, *pauses, *retries)?,
        Input::Resume { pauses } => control::resume(draft, *pauses)?,
        Input::Retry { retries } => control::retry(draft, *retries)?,
        Input::Wake { action } => {
            action.map_or(Ok(()), |action| check_action(draft, action))?;
            time::wake(draft, *action)?;
        }
        Input::Sweep => time::sweep(draft)?,
        Input::Unserved { pool, since } => time::unserved(draft, pool, *since),
        Input::Started { of, started_at } => {
            check_action(draft, of.action)?;
            report::started(draft, of, *started_at)?;
        }
        Input::Claim { agent, claims } => {
            let mut answers = Ok(());
            for claim in claims {
                draft.source = Source::Action(claim.action);
                let of = Report::of_claim(agent, claim);
                let known = check_action(draft, claim.action);
                answers = answers.and(known.and_then(|()| report::claim(draft, &of, claim.asked)));
            }
            answers?;
        }
        Input::Renewed { of, started_at, number } => {
            check_action(draft, of.action)?;
            report::renewed(draft, of, *started_at, *number)?;
        }
        Input::Progressed { of, number, progress, checkpoint } => {
            check_action(draft, of.action)?;
            report::progressed(draft, of, *number, progress, checkpoint.as_ref())?;
        }
        Input::HandedBack { of, kept, checkpoint } => {
            check_action(draft, of.action)?;
            report::handed_back(draft, of, *kept, checkpoint.as_ref())?;
        }
        Input::Completed { of, started_at, outcome, checkpoint } => {
            check_action(draft, of.action)?;
            report::completed(draft, of, *started_at, outcome, checkpoint.as_ref())?;
        }
        Input::DeadLettered { action, delivery, message, reason } => {
            check_action(draft, *action)?;
            report::dead_lettered(draft, *action, (*delivery, *message), reason)?;
        }
    }
    Ok(())
}

fn check_action(draft: &Draft<'_>, action: ActionIndex) -> Result<(), Rejection> {
    if action.as_usize() < draft.run.actions.len() { Ok(()) } else { Err(Rejection::UnknownAction) }
}
