//! One step of one run: load, decide, one conditional write, then act.
//!
//! The order is the whole point. Nothing is sent before it is committed, and nothing is acknowledged before it is sent:
//! whoever dies in between is followed by a redelivery, which finds in the record what to send again.

use std::collections::BTreeSet;

use tokio::time::Instant;
use windlass_contract::event::PublicEvent;
use windlass_domain::decide::{Command, Rejection, decide, repeat};
use windlass_domain::definition::Definition;
use windlass_domain::ids::RunId;
use windlass_domain::limits::TOLD_WITHIN_MS;
use windlass_domain::run::{ActionState, Event, Input, Run, RunStatus};
use windlass_domain::sabotage::{Bug, sabotaged};
use windlass_domain::time::{Millis, Timestamp};

use crate::Ports;
use crate::backoff::Backoff;
use crate::definitions::Definitions;
use crate::effects::Effects;
use crate::ports::PortError;

/// Conflicting writes after which the inputs are left to be redelivered.
const MAX_CONFLICTS: usize = 10;

/// What became of the inputs of one run.
#[derive(Debug)]
pub enum Advanced {
    /// They were decided: the run as it now is, and for each input why it was refused, if it was.
    Decided {
        /// The run.
        run: Box<Run>,
        /// One answer an input.
        answers: Vec<Option<Rejection>>,
    },
    /// There is no such run.
    Unknown,
    /// Others may have the inputs by now: they are not decided here.
    Late,
}

/// How inputs came to whoever handles them.
#[derive(Debug, Clone, Copy, Default)]
pub struct Delivered {
    /// When the oldest was sent of those that have been delivered before: whoever handled them then may have died before it
    /// sent what followed.
    pub repeated: Option<Timestamp>,
    /// Until when nobody else has them; none: nobody ever has. What time alone leads to, by a wake, is sent again when the
    /// wake comes again, and that of one who decides later may have come, and gone, before.
    pub until: Option<Instant>,
}

impl Delivered {
    fn is_over(&self) -> bool {
        self.until.is_some_and(|until| Instant::now() >= until)
    }
}

/// Inputs folded into a run, not yet committed.
pub(crate) struct Folded {
    pub(crate) run: Run,
    pub(crate) events: Vec<PublicEvent>,
    again: Vec<PublicEvent>,
    pub(crate) commands: Vec<Command>,
    answers: Vec<Option<Rejection>>,
}

/// Folds the inputs into the run with one write, then sends what follows. An error means that none of it may be
/// acknowledged; doing it again does no harm.
pub async fn advance(
    ports: &Ports,
    definitions: &Definitions,
    id: RunId,
    inputs: &[Input],
    delivered: Delivered,
) -> Result<Advanced, PortError> {
    let (advanced, effects) = settle(ports, definitions, id, inputs, delivered).await?;
    effects.send(ports).await?;
    Ok(advanced)
}

/// Folds the inputs into the run with one write; gives what is to be sent because of it.
///
/// The first look at the record may be an old one. A commit proves that it was not; where nothing is committed, it is
/// read again.
pub(crate) async fn settle(
    ports: &Ports,
    definitions: &Definitions,
    id: RunId,
    inputs: &[Input],
    delivered: Delivered,
) -> Result<(Advanced, Effects), PortError> {
    let mut read = ports.runs.glance(id).await?;
    let mut is_sure = false;
    let mut backoff = Backoff::of_conflicts();
    let mut conflicts = 0;
    while conflicts < MAX_CONFLICTS {
        if let Some(before) = read {
            let definition = definitions.get(&before.task, before.version).await?;
            // In this order: whoever is held up in between decides with the time before.
            let now = ports.clock.now();
            if delivered.is_over() {
                return Ok((Advanced::Late, Effects::default()));
            }
            let folded = fold(now, &definition, &before, inputs, delivered.repeated);
            if sabotaged(Bug::SendBeforeCommit) {
                let events = folded.events.clone();
                Effects::of(now, &definition, &folded.run, &folded.commands, events).send(ports).await?;
            }
            match commit(ports, &before, &folded).await {
                Ok(committed) if committed || is_sure => {
                    count(&before, &folded, inputs, now);
                    return Ok(folded.settled(now, &definition));
                }
                Ok(_) => {}
                Err(error) if error.is_conflict() => {
                    conflicts += 1;
                    tracing::trace!(metric = "Conflicts");
                    backoff.wait().await;
                    (read, is_sure) = (ports.runs.load(id).await?, true);
                    if let Some(found) = &read
                        && is_ours(&before, &folded.run, found, now)
                    {
                        return Ok(folded.with_claims().settled(now, &definition));
                    }
                    continue;
                }
                Err(error) => return Err(error),
            }
        } else if is_sure {
            return Ok((Advanced::Unknown, Effects::default()));
        }
        (read, is_sure) = (ports.runs.load(id).await?, true);
    }
    Err(PortError::conflict())
}

/// Whether what met a conflict stands in the record all the same: the answer to a write is lost on its way, the adapter
/// asks again, and is told of the change that it made itself. Others may have gone on from it since.
///
/// A state that came to be by the commit of that number, at that time, tells; one without a time tells nothing, for
/// somebody else may have had the same input. What it asks for is then found in the record when it is decided again.
fn is_ours(before: &Run, written: &Run, found: &Run, now: Timestamp) -> bool {
    // All of it: another may have decided a part of it in the very same millisecond, and knows nothing of the rest.
    let is_status_there = written.status_revision == before.status_revision || status_of(found) == status_of(written);
    let pages = before.actions.shared().iter().zip(written.actions.shared()).zip(found.actions.shared());
    let states = pages.flat_map(|((was, ours), theirs)| was.iter().zip(ours.iter()).zip(theirs.iter()));
    let mut changed = states.filter(|((was, ours), _)| was != ours).map(|((_, ours), theirs)| (ours, theirs));
    let is_told = |state: &ActionState| {
        state.revision == written.revision
            && [state.queued_at, state.started_at, state.finished_at].contains(&Some(now))
    };
    if sabotaged(Bug::PartOfWrite) {
        return changed.any(|(ours, theirs)| ours.status == theirs.status);
    }
    let mut told = false;
    is_status_there
        && changed.all(|(ours, theirs)| {
            told |= is_told(ours);
            ours == theirs
        })
        && told
}

fn status_of(run: &Run) -> (RunStatus, u64) {
    (run.status, run.status_revision)
}

impl Folded {
    /// What the inputs came to, and what is to be sent because of it.
    fn settled(self, now: Timestamp, definition: &Definition) -> (Advanced, Effects) {
        let Self { run, mut events, again, commands, answers } = self;
        events.extend(again);
        let effects = Effects::of(now, definition, &run, &commands, events);
        (Advanced::Decided { run: Box::new(run), answers }, effects)
    }

    /// Whoever gets an attempt must claim it, and not before whoever began it unasked has said so: another process may
    /// have decided the very same, and sent it.
    fn with_claims(mut self) -> Self {
        for command in &mut self.commands {
            if let Command::Perform(perform) = command {
                (perform.claim, perform.delay) = (true, Millis(TOLD_WITHIN_MS));
            }
        }
        self
    }
}

pub(crate) fn fold(
    now: Timestamp,
    definition: &Definition,
    before: &Run,
    inputs: &[Input],
    repeated: Option<Timestamp>,
) -> Folded {
    let mut folded = Folded {
        run: before.clone(),
        events: Vec::new(),
        again: Vec::new(),
        commands: Vec::new(),
        answers: Vec::with_capacity(inputs.len()),
    };
    for input in inputs {
        match decide(definition, &folded.run, input, now) {
            Ok(decision) => {
                let public = |event: &Event| PublicEvent::of(definition, &decision.run, event);
                folded.events.extend(decision.events.iter().filter_map(public));
                folded.again.extend(decision.again.iter().filter_map(public));
                folded.commands.extend(decision.commands);
                folded.run = decision.run;
                folded.answers.push(None);
            }
            Err(rejection) => {
                folded.commands.extend(answer(rejection, input));
                folded.answers.push(Some(rejection));
            }
        }
    }
    if let Some(since) = repeated {
        let decision = repeat(definition, &folded.run, since, now);
        let public = |event: &Event| PublicEvent::of(definition, &folded.run, event);
        folded.again.extend(decision.again.iter().filter_map(public));
        folded.commands.extend(decision.commands);
        drop_repeats(&mut folded.commands);
    }
    let mut told: BTreeSet<_> = folded.events.iter().map(|event| event.id).collect();
    folded.again.retain(|event| told.insert(event.id));
    if is_changed(before, &folded.run) {
        folded.run.revision = before.revision + 1;
    }
    folded
}

/// Counts what became of the inputs. A run that only the sweep has moved, though no time of its own was due, was stuck:
/// that is a bug of ours, or a message that a queue has lost.
fn count(before: &Run, folded: &Folded, inputs: &[Input], now: Timestamp) {
    let rejections = folded.answers.iter().flatten().count();
    if rejections > 0 {
        tracing::trace!(metric = "Rejections", value = rejections as u64);
    }
    if folded.run.revision != before.revision {
        tracing::trace!(metric = "Commits");
    }
    let only_swept = inputs.iter().all(|input| matches!(input, Input::Sweep { .. }));
    if !only_swept || before.wake_at.is_some_and(|at| at <= now) {
        return;
    }
    if !folded.events.is_empty() {
        tracing::warn!(metric = "StuckRuns", run.id = %before.id, "a run was stuck; the sweep has moved it");
    } else if !folded.commands.is_empty() {
        tracing::trace!(metric = "Reissues", value = folded.commands.len() as u64);
    }
}

/// A command that two of the inputs gave is sent once.
fn drop_repeats(commands: &mut Vec<Command>) {
    let mut kept = BTreeSet::new();
    commands.retain(|command| {
        kept.insert(match command {
            Command::Perform(perform) => (0, Some(perform.of), None),
            Command::Stop { of, .. } => (1, Some(*of), None),
            Command::Wake { at } => (2, None, Some(*at)),
            Command::Ended => (3, None, None),
        })
    });
}

/// Whether anything has to be written: a decision changes the status of something, or the progress of an attempt, or
/// only when the run is to be woken.
fn is_changed(before: &Run, after: &Run) -> bool {
    before.status_revision != after.status_revision
        || before.wake_at != after.wake_at
        || !after.actions.changed_since(&before.actions).is_empty()
}

/// An agent that reports in vain is told to stop.
fn answer(rejection: Rejection, input: &Input) -> Option<Command> {
    match input {
        Input::Started { agent, of, .. } | Input::Renewed { agent, of, .. } => {
            Command::answer_to(rejection, agent, *of)
        }
        Input::Start
        | Input::Claim { .. }
        | Input::Progressed { .. }
        | Input::HandedBack { .. }
        | Input::Completed { .. }
        | Input::DeadLettered { .. }
        | Input::Cancel { .. }
        | Input::Kill { .. }
        | Input::Pause { .. }
        | Input::Resume { .. }
        | Input::Unserved { .. }
        | Input::Retry { .. }
        | Input::Wake
        | Input::Sweep { .. } => None,
    }
}

/// Writes the run, if anything has changed; gives whether it did.
async fn commit(ports: &Ports, before: &Run, folded: &Folded) -> Result<bool, PortError> {
    if folded.run.revision == before.revision {
        return Ok(false);
    }
    ports.runs.commit(before, &folded.run, &folded.events).await?;
    Ok(true)
}
