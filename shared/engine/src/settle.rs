//! The one loop: load a record, decide, one conditional write, then send.
//!
//! The order is the whole point. Nothing is sent before it is committed, and nothing is acknowledged before it is sent. If
//! the process dies in between, its input comes again: it changes nothing, and what it led to is sent again.

use tokio::time::Instant;

use crate::backoff::Backoff;
use crate::effects::Effects;
use crate::ports::{Glance, PortError};
use crate::step::{Answer, Step};
use crate::subject::{Engine, Given, Subject};
use crate::turns;

/// Conflicting writes after which the inputs are left to be redelivered.
const MAX_CONFLICTS: usize = 10;

/// What became of the inputs of one record.
#[derive(Debug)]
pub enum Settled<S: Subject> {
    /// They were decided.
    Decided {
        /// One answer an input.
        answers: Vec<Answer<S::Refusal>>,
    },
    /// There is no such record.
    Unknown,
    /// Other processes may have the inputs by now: they are not decided here. A commit needs an input behind it that comes
    /// again if this process dies, and another process may have acknowledged these.
    Late,
}

/// Folds the inputs into the record with one write, then sends what follows. An error means that none of it may be
/// acknowledged; doing it again does no harm.
pub async fn advance<S: Subject>(
    engine: &Engine,
    id: &S::Id,
    inputs: &[Given<S::Input>],
    until: Option<Instant>,
) -> Result<Settled<S>, PortError> {
    let (settled, effects) = settle(engine, id, inputs, until).await?;
    carry_out(engine, vec![effects]).await.into_iter().collect::<Result<(), _>>()?;
    Ok(settled)
}

/// Folds the inputs into the record with one write; gives what is to be sent because of it. After `until` other processes
/// may have the inputs; none: no other process ever has.
///
/// The first look at the record may be an old one. A commit proves that it was not. Where nothing is committed, the record
/// is read again, unless the inputs mean nothing to it whatever became of it since.
pub(crate) async fn settle<S: Subject>(
    engine: &Engine,
    id: &S::Id,
    inputs: &[Given<S::Input>],
    until: Option<Instant>,
) -> Result<(Settled<S>, Effects), PortError> {
    let records = S::records(&engine.ports);
    let Glance { record: mut read, is_newest: mut is_sure } = records.glance(id).await?;
    let mut backoff = Backoff::of_conflicts();
    let mut conflicts = 0;
    let mut has_written = false;
    while conflicts < MAX_CONFLICTS {
        if let Some(before) = read {
            let context = before.context(engine, inputs).await?;
            // In this order: a process that is held up in between decides with the time before.
            let (mut before, now) = before.timed(engine.ports.clock.as_ref());
            if until.is_some_and(|until| Instant::now() >= until) {
                return Ok((Settled::Late, Effects::default()));
            }
            let step = S::step(&context, || Step::of(&before, &context, inputs, now, has_written));
            let written = commit(engine, &mut before, &step).await;
            match written.map(|written| (written, written == Written::Changed)) {
                Ok((Written::Filled, _)) => {
                    read = Some(before);
                    continue;
                }
                Ok((_, committed)) if committed || is_sure || before.is_beyond(inputs) => {
                    count(&step, committed);
                    if committed {
                        step.record.tell(&context, &step.events);
                    }
                    before.observe(inputs, step.decided(), now);
                    let (_, answers, effects) = step.settled(&context, inputs, now);
                    return Ok((Settled::Decided { answers }, effects));
                }
                Ok(_) => {}
                Err(error) if error.is_conflict() => {
                    conflicts += 1;
                    tracing::trace!(metric = "Conflicts");
                    backoff.wait().await;
                    (read, is_sure) = (records.load(id).await?, true);
                    let is_whole = step.wanted.is_empty();
                    has_written |= is_whole && read.as_ref().is_some_and(|found| may_have(found, &step.record));
                    continue;
                }
                Err(error) => return Err(error),
            }
        } else if is_sure {
            return Ok((Settled::Unknown, Effects::default()));
        }
        (read, is_sure) = (records.load(id).await?, true);
    }
    Err(PortError::conflict())
}

/// Whether the record that met this write may have it: the write may have succeeded, and its answer may have been lost.
fn may_have<S: Subject>(found: &S, written: &S) -> bool {
    found.revision() > written.revision() || found == written
}

/// What became of a step.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Written {
    /// It changed the record, and was committed.
    Changed,
    /// It changed nothing.
    Nothing,
    /// It was void for want of values, which the record before it has from here on.
    Filled,
}

/// Writes the record, if anything has changed; or loads the values that the step lacks.
async fn commit<S: Subject>(engine: &Engine, before: &mut S, step: &Step<S>) -> Result<Written, PortError> {
    let records = S::records(&engine.ports);
    if !step.wanted.is_empty() {
        records.fill(before, &step.wanted).await?;
        return Ok(Written::Filled);
    }
    if step.record.revision() == before.revision() {
        return Ok(Written::Nothing);
    }
    records.commit(before, &step.record, &step.events).await?;
    Ok(Written::Changed)
}

fn count<S: Subject>(step: &Step<S>, committed: bool) {
    let rejections = step.answers.iter().filter(|answer| !answer.is_accepted()).count();
    if rejections > 0 {
        tracing::trace!(metric = "Rejections", value = rejections as u64);
    }
    if committed {
        tracing::trace!(metric = "Commits");
    }
}

/// Carries out the effects of several steps together. It says for each step whether all of its own was done: a queue out of
/// reach holds up only the steps that send to it.
pub(crate) async fn carry_out(engine: &Engine, mut all: Vec<Effects>) -> Vec<Result<(), PortError>> {
    let mut turns = Vec::with_capacity(all.len());
    for one in &mut all {
        one.look_for_agents(&engine.pools).await;
        turns.push(std::mem::take(&mut one.turns));
    }
    let sent = Effects::send_together(all, &engine.ports).await;
    let performed = turns::perform(engine, turns).await;
    sent.into_iter().zip(performed).map(|(sent, performed)| sent.and(performed)).collect()
}
