//! Runs, in the loop: who may say what of them, their events, and what follows from their decisions.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use async_trait::async_trait;
use windlass_contract::event::PublicEvent;
use windlass_contract::trace::trace_id;
use windlass_domain::content::Wanted;
use windlass_domain::definition::Definition;
use windlass_domain::ids::{ActionIndex, PoolName, RunId};
use windlass_domain::outstanding;
use windlass_domain::run::{ActionStatus, Command, Fact, Input, Run, Source};
use windlass_domain::time::{Millis, Timestamp};

use crate::Ports;
use crate::aside;
use crate::effects::{Effects, Wait, tell_after};
use crate::ports::{Clock, PortError, Records, Sender};
use crate::subject::{Engine, Given, Missing, Outstanding, Subject};

/// A start whose run does not exist comes again for that long: its submitter may be about to write the record.
const AWAITED_FOR: Millis = Millis::from_secs(3 * 60);

#[async_trait]
impl Subject for Run {
    fn span(id: &RunId) -> tracing::Span {
        tracing::info_span!("run", trace.id = trace_id(*id), run.id = %id)
    }

    fn timed(self, clock: &dyn Clock) -> (Self, Timestamp) {
        let (wall, steady) = clock.both();
        let run = self.on_clock(wall, steady);
        let now = run.time(wall, steady);
        (run, now)
    }

    fn records(ports: &Ports) -> &dyn Records<Self> {
        ports.runs.as_ref()
    }

    async fn context(&self, engine: &Engine, _: &[Given<Input>]) -> Result<Arc<Definition>, PortError> {
        engine.definitions.get(&self.task, self.version).await
    }

    /// An agent speaks only of attempts of its own pool.
    fn may_say(definition: &Arc<Definition>, given: &Given<Input>) -> bool {
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

    fn step<T>(definition: &Arc<Definition>, step: impl FnOnce() -> T) -> T {
        aside::decide(definition, step)
    }

    fn events(&self, definition: &Arc<Definition>, fact: &Fact) -> Vec<PublicEvent> {
        PublicEvent::of(definition, self, fact).into_iter().collect()
    }

    fn outstanding(
        &self,
        definition: &Arc<Definition>,
        repeated: &[&Input],
        committed: u64,
        now: Timestamp,
    ) -> Outstanding<Self> {
        let mut seen = HashSet::new();
        let sources = repeated.iter().flat_map(|input| input.sources()).filter(|source: &Source| seen.insert(*source));
        let mut all = Outstanding { facts: Vec::new(), commands: Vec::new(), wanted: Wanted::new() };
        for source in sources {
            let found = outstanding::of_source(definition, self, source, committed, now);
            all.facts.extend(found.facts);
            all.commands.extend(found.commands);
            all.wanted.extend(found.wanted);
        }
        all
    }

    fn effects(
        &self,
        definition: &Arc<Definition>,
        inputs: &[Given<Input>],
        mut commands: Vec<Command>,
        events: Vec<PublicEvent>,
        now: Timestamp,
    ) -> Effects {
        keep_what_stands(self, &mut commands);
        let mut effects = Effects::of(now, definition, self, &commands, events);
        if inputs.iter().any(|given| given.input == Input::Sweep) {
            effects.waits.extend(waiting(self, definition, now));
        }
        effects
    }

    /// Nearly every start message finds that its run has long begun: it costs the cheapest read.
    fn is_beyond(&self, inputs: &[Given<Input>]) -> bool {
        inputs.iter().all(|given| given.input == Input::Start && !given.repeated) && !self.needs_start_again()
    }

    fn missing(_: &RunId, inputs: &[Given<Input>], age: Millis) -> Missing {
        let is_start = |given: &Given<Input>| given.input == Input::Start;
        if inputs.iter().any(is_start) && age < AWAITED_FOR {
            return Missing::Awaited;
        }
        // A submitter that gave up before it wrote the record has told its caller so.
        if inputs.iter().all(is_start) {
            Missing::NeverWritten
        } else {
            Missing::Unknown("there is no such run".to_owned())
        }
    }

    /// The log has a line for each run that failed: which action, and why.
    fn tell(&self, definition: &Arc<Definition>, events: &[PublicEvent]) {
        if events.iter().any(|event| matches!(event.kind.as_str(), "run.failed" | "run.timed_out")) {
            let fault = self.actions.iter().zip(&definition.actions).find_map(|(state, action)| {
                let is_fault = matches!(state.status, ActionStatus::Failed | ActionStatus::TimedOut);
                state.error.as_ref().filter(|_| is_fault && !action.allow_failure).map(|error| (&action.name, error))
            });
            let action = fault.map(|(name, _)| name.as_str()).unwrap_or_default();
            let kind = fault.map(|(_, error)| error).or(self.error.as_ref()).map(|error| error.kind.as_str());
            tracing::warn!(run.id = %self.id, task = %self.task, action, kind, "a run has {}", self.status.as_str());
        }
    }

    /// A run that only the sweep has moved, though no time of its own was due, was stuck: that is a bug of ours, or a message
    /// that a queue has lost.
    fn observe(&self, inputs: &[Given<Input>], (events, commands): (usize, usize), now: Timestamp) {
        if !inputs.iter().all(|given| given.input == Input::Sweep) {
            return;
        }
        if events > 0 && self.wake_at.is_none_or(|at| at > now) {
            tracing::warn!(metric = "StuckRuns", run.id = %self.id, "a run was stuck; the sweep has moved it");
        } else if events == 0 && commands > 0 {
            tracing::trace!(metric = "Reissues", value = commands as u64);
        }
    }
}

/// Leaves out what a later input of the same step has made needless. A repeated input may have resent an attempt itself, so
/// it is sent once. A later input may have ended an attempt that an earlier one confirmed.
fn keep_what_stands(run: &Run, commands: &mut Vec<Command>) {
    let mut sent = BTreeSet::new();
    commands.retain(|command| match command {
        Command::Perform(perform) => sent.insert((perform.of, perform.issue)),
        Command::Confirm(confirm) => {
            let state = run.action(confirm.action);
            state.status == ActionStatus::Running && state.last == confirm.delivery
        }
        Command::Stop(_) | Command::Wake { .. } | Command::Ended => true,
    });
}

/// The pools of the queued attempts, for a second look: their agents may have gone after the attempts were sent. A young
/// attempt waits a while longer, since an agent that is being replaced comes back.
fn waiting(run: &Run, definition: &Definition, now: Timestamp) -> Vec<Wait> {
    if !run.status.goes_on() || run.in_flight == 0 {
        return Vec::new();
    }
    let mut pools: BTreeMap<&PoolName, Millis> = BTreeMap::new();
    for (action, state) in definition.indexes().zip(run.actions.iter()) {
        if state.status == ActionStatus::Queued && state.unserved.is_none() {
            let (author, waited) = (definition.action(action), state.queued_at.map_or(0, |at| now.since(at).0));
            let left = Millis(tell_after(author.queue_timeout).0.saturating_sub(waited));
            pools.entry(&author.pool).and_modify(|least| *least = left.min(*least)).or_insert(left);
        }
    }
    let wait = |(pool, tell_after): (&PoolName, Millis)| Wait { run: run.id, pool: pool.clone(), tell_after };
    pools.into_iter().map(wait).collect()
}
