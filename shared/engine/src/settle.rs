//! One step of one run: load, decide, one conditional write, then send.
//!
//! The order is the whole point. Nothing is sent before it is committed, and nothing is acknowledged before it is sent. If
//! the process dies in between, its input comes again: it changes nothing, and what it led to is sent again.

use std::collections::BTreeSet;

use tokio::time::Instant;
use windlass_contract::event::PublicEvent;
use windlass_domain::caller::Caller;
use windlass_domain::definition::Definition;
use windlass_domain::ids::{ActionIndex, RunId};
use windlass_domain::outstanding;
use windlass_domain::run::{ActionStatus, Command, Fact, Input, Rejection, Run, decide};
use windlass_domain::time::Timestamp;

use crate::Ports;
use crate::backoff::Backoff;
use crate::definitions::Definitions;
use crate::effects::Effects;
use crate::ports::{PortError, Sender};

/// Conflicting writes after which the inputs are left to be redelivered.
const MAX_CONFLICTS: usize = 10;

/// An input, and how it came.
#[derive(Debug, Clone, PartialEq)]
pub struct Given {
    /// What happened.
    pub input: Input,
    /// Who asks for it.
    pub caller: Caller,
    /// Who sent it, as far as the host can prove it.
    pub sender: Sender,
    /// It was delivered before: the process that handled it then may have died before it sent what followed.
    pub repeated: bool,
}

impl Given {
    /// An input of the host's own that comes for the first time.
    pub fn new(input: Input) -> Self {
        Self { input, caller: Caller::HOST, sender: Sender::Host, repeated: false }
    }
}

/// What became of the inputs of one run.
#[derive(Debug)]
pub enum Settled {
    /// They were decided: the run as it is since, and for each input why it was refused, if it was.
    Decided {
        /// The run.
        run: Box<Run>,
        /// One answer an input.
        answers: Vec<Result<(), Rejection>>,
    },
    /// There is no such run.
    Unknown,
    /// Other processes may have the inputs by now: they are not decided here. A commit needs an input behind it that comes
    /// again if this process dies, and another process may have acknowledged these.
    Late,
}

/// Inputs folded into a run, not yet committed.
pub(crate) struct Folded {
    pub(crate) run: Run,
    /// Events of this commit, which go to the log with it.
    pub(crate) events: Vec<PublicEvent>,
    /// Events of earlier commits, to be published again.
    again: Vec<PublicEvent>,
    pub(crate) commands: Vec<Command>,
    answers: Vec<Result<(), Rejection>>,
}

/// Folds the inputs into the run with one write, then sends what follows. An error means that none of it may be
/// acknowledged; doing it again does no harm.
pub async fn advance(
    ports: &Ports,
    definitions: &Definitions,
    id: RunId,
    inputs: &[Given],
    until: Option<Instant>,
) -> Result<Settled, PortError> {
    let (settled, effects) = settle(ports, definitions, id, inputs, until).await?;
    effects.send(ports).await?;
    Ok(settled)
}

/// Folds the inputs into the run with one write; gives what is to be sent because of it. After `until` other processes may
/// have the inputs; none: no other process ever has.
///
/// The first look at the record may be an old one. A commit proves that it was not; where nothing is committed, the record
/// is read again.
pub(crate) async fn settle(
    ports: &Ports,
    definitions: &Definitions,
    id: RunId,
    inputs: &[Given],
    until: Option<Instant>,
) -> Result<(Settled, Effects), PortError> {
    let mut read = ports.runs.glance(id).await?;
    let mut is_sure = false;
    let mut backoff = Backoff::of_conflicts();
    let mut conflicts = 0;
    while conflicts < MAX_CONFLICTS {
        if let Some(before) = read {
            let definition = definitions.get(&before.task, before.version).await?;
            // In this order: a process that is held up in between decides with the time before.
            let now = ports.clock.now();
            if until.is_some_and(|until| Instant::now() >= until) {
                return Ok((Settled::Late, Effects::default()));
            }
            let folded = fold(now, &definition, &before, inputs, conflicts > 0);
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
                }
                Err(error) => return Err(error),
            }
        } else if is_sure {
            return Ok((Settled::Unknown, Effects::default()));
        }
        (read, is_sure) = (ports.runs.load(id).await?, true);
    }
    Err(PortError::conflict())
}

impl Folded {
    /// The answers to the inputs, and the messages and events that follow from them.
    fn settled(self, now: Timestamp, definition: &Definition) -> (Settled, Effects) {
        let Self { run, mut events, again, commands, answers } = self;
        events.extend(again);
        let effects = Effects::of(now, definition, &run, &commands, events);
        (Settled::Decided { run: Box::new(run), answers }, effects)
    }
}

/// `met_conflict`: the write that met it may have been this process's own, whose answer was lost on its way. Then the record
/// has what these inputs decide, and they count as repeated.
pub(crate) fn fold(
    now: Timestamp,
    definition: &Definition,
    before: &Run,
    inputs: &[Given],
    met_conflict: bool,
) -> Folded {
    let mut folded = Folded {
        run: before.clone(),
        events: Vec::new(),
        again: Vec::new(),
        commands: Vec::new(),
        answers: Vec::with_capacity(inputs.len()),
    };
    let mut sources = Vec::new();
    for given in inputs {
        if !may_say(definition, given) {
            folded.answers.push(Err(Rejection::Forbidden));
            continue;
        }
        let change = decide(definition, &folded.run, &given.input, &given.caller, now);
        // Events that are published again were decided before this change: a retry begins another life of the run.
        let before = |fact: &Fact| PublicEvent::of(definition, &folded.run, fact);
        folded.again.extend(change.again.iter().filter_map(before));
        let public = |fact: &Fact| PublicEvent::of(definition, &change.run, fact);
        folded.events.extend(change.facts.iter().filter_map(public));
        folded.commands.extend(change.commands);
        folded.answers.push(change.answer);
        if given.repeated || met_conflict {
            sources.extend(given.input.sources());
        }
        folded.run = change.run;
    }
    for source in sources {
        let outstanding = outstanding::of_source(definition, &folded.run, source, before.revision, now);
        let public = |fact: &Fact| PublicEvent::of(definition, &folded.run, fact);
        folded.again.extend(outstanding.facts.iter().filter_map(public));
        folded.commands.extend(outstanding.commands);
    }
    // A repeated input may have resent an attempt itself, so it is sent once. A later input of the batch may have ended
    // an attempt that an earlier one confirmed.
    let (mut sent, run) = (BTreeSet::new(), &folded.run);
    folded.commands.retain(|command| match command {
        Command::Perform(perform) => sent.insert((perform.of, perform.issue)),
        Command::Confirm(confirm) => {
            let state = run.action(confirm.action);
            state.status == ActionStatus::Running && state.last == confirm.delivery
        }
        Command::Stop(_) | Command::Wake { .. } | Command::Ended => true,
    });
    let mut told: BTreeSet<_> = folded.events.iter().map(|event| event.id).collect();
    folded.again.retain(|event| told.insert(event.id));
    if is_changed(before, &folded.run) {
        folded.run.revision = before.revision + 1;
    }
    folded
}

/// Whether the sender may say this: an agent speaks only of attempts of its own pool.
fn may_say(definition: &Definition, given: &Given) -> bool {
    let Sender::Agents(pool) = &given.sender else { return true };
    let is_own =
        |action: ActionIndex| definition.actions.get(action.as_usize()).is_none_or(|action| action.pool == *pool);
    match &given.input {
        Input::Started { of, .. }
        | Input::Renewed { of, .. }
        | Input::Progressed { of, .. }
        | Input::HandedBack { of, .. }
        | Input::Completed { of, .. } => is_own(of.action),
        Input::Claim { claims, .. } => claims.iter().all(|claim| is_own(claim.action)),
        Input::DeadLettered { action, .. } => is_own(*action),
        Input::Start
        | Input::Unserved { .. }
        | Input::Cancel { .. }
        | Input::Kill { .. }
        | Input::Pause { .. }
        | Input::Resume { .. }
        | Input::Retry { .. }
        | Input::Wake { .. }
        | Input::Sweep => false,
    }
}

/// Counts what became of the inputs. A run that only the sweep has moved, though no time of its own was due, was stuck: that
/// is a bug of ours, or a message that a queue has lost.
fn count(before: &Run, folded: &Folded, inputs: &[Given], now: Timestamp) {
    let rejections = folded.answers.iter().filter(|answer| answer.is_err()).count();
    if rejections > 0 {
        tracing::trace!(metric = "Rejections", value = rejections as u64);
    }
    if folded.run.revision != before.revision {
        tracing::trace!(metric = "Commits");
    }
    let only_swept = inputs.iter().all(|given| matches!(given.input, Input::Sweep));
    if !only_swept {
        return;
    }
    if !folded.events.is_empty() && before.wake_at.is_none_or(|at| at > now) {
        tracing::warn!(metric = "StuckRuns", run.id = %before.id, "a run was stuck; the sweep has moved it");
    } else if folded.events.is_empty() && !folded.commands.is_empty() {
        tracing::trace!(metric = "Reissues", value = folded.commands.len() as u64);
    }
}

/// Whether anything has to be written: a decision changes the status of something, or the progress of an attempt, or only
/// when the run is to be woken.
fn is_changed(before: &Run, after: &Run) -> bool {
    before.status_revision != after.status_revision
        || before.wake_at != after.wake_at
        || !after.actions.changed_since(&before.actions).is_empty()
}

/// Writes the run, if anything has changed; gives whether it did.
async fn commit(ports: &Ports, before: &Run, folded: &Folded) -> Result<bool, PortError> {
    if folded.run.revision == before.revision {
        return Ok(false);
    }
    ports.runs.commit(before, &folded.run, &folded.events).await?;
    Ok(true)
}
