//! The witness: it checks every commit, every begin of an attempt and every acknowledged message against the promises.
//!
//! It sees the whole world, at once and without loss, as no process in it does, and shares no rule with the engine.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use uuid::Uuid;
use windlass_contract::event::PublicEvent;
use windlass_contract::message::{InboxMessage, PerformMessage, decode};
use windlass_domain::definition::{Definition, Trigger};
use windlass_domain::ids::{ActionIndex, RunId, TaskName, TaskVersion};
use windlass_domain::invariants::{Invariant, check};
use windlass_domain::limits::{CHECK_AFTER_MS, CLOCKS_DIFFER_MS};
use windlass_domain::retry::Attempts;
use windlass_domain::run::{ActionAt, ActionStatus, Cancellation, ErrorInfo, Input, Run, RunStatus};
use windlass_domain::time::Timestamp;
use windlass_engine::perform::Attempt;
use windlass_engine::ports::QueueName;

use super::catalogue::{SW1, SW2, SW3, SW4, SW5, SW6, SW7, SW8, SW9, SW12, SW13, SW14};
use super::history::{self, History};
use super::keeping::Keeping;
use crate::memory::MemoryHost;

/// The witness does not look at a run with more actions than this at each acknowledgement.
const WIDE: usize = 64;

/// An invariant that did not hold, and when.
#[derive(Debug, Clone)]
pub struct Broken {
    /// Which.
    pub invariant: Invariant,
    /// The violation in words: the run, the action and the values.
    pub detail: String,
}

/// The witness's copy of a run.
pub(super) struct Seen {
    pub(super) record: Run,
    before: Option<Run>,
    pub(super) log: Vec<PublicEvent>,
    ids: BTreeSet<Uuid>,
    history: History,
    begun: BTreeMap<(ActionIndex, u32), u32>,
    /// When it was written.
    pub(super) writes: Vec<Timestamp>,
}

/// One beginning of an attempt by an agent.
#[derive(Debug, Clone)]
pub struct Performed {
    /// Of which run.
    pub run: RunId,
    /// Which attempt, under which fence.
    pub of: ActionAt,
    /// One life of an agent.
    pub by: String,
    /// When it was queued.
    pub queued: Option<Timestamp>,
    /// When it began.
    pub began: Timestamp,
    /// When it ended; absent: its agent died over it.
    pub ended: Option<Timestamp>,
}

#[derive(Default)]
pub(super) struct Witness {
    definitions: BTreeMap<(TaskName, TaskVersion), Arc<Definition>>,
    pub(super) runs: BTreeMap<RunId, Seen>,
    /// Runs whose submission was answered.
    pub(super) accepted: BTreeSet<RunId>,
    published: BTreeMap<Uuid, PublicEvent>,
    pub(super) dead_letters: Vec<String>,
    /// Attempts that were sent to their pool.
    sent: BTreeSet<(RunId, ActionIndex, u32)>,
    pub(super) broken: Vec<Broken>,
    /// Attempts that began more than once.
    pub(super) repeats: u64,
    /// Every performance, in the order in which they began.
    pub(super) performed: Vec<Performed>,
    /// Attempts whose message was lost, and none sent since.
    pub(super) lost: BTreeSet<(RunId, ActionIndex, u32)>,
    /// How often the witness has looked at a run for forgotten work.
    looks: usize,
    pub(super) keeping: Keeping,
}

/// A message that has just been deleted.
pub(super) struct Acknowledged<'a> {
    pub(super) queue: &'a QueueName,
    pub(super) body: &'a str,
    pub(super) host: &'a MemoryHost,
}

impl Witness {
    pub(super) fn knows(&mut self, version: TaskVersion, definition: Arc<Definition>) {
        self.definitions.insert((definition.task.clone(), version), definition);
    }

    pub(super) fn definition(&self, run: &Run) -> Option<Arc<Definition>> {
        self.definitions.get(&(run.task.clone(), run.version)).cloned()
    }

    pub(super) fn breaks(&mut self, invariant: Invariant, detail: impl Into<String>) {
        self.broken.push(Broken { invariant, detail: detail.into() });
    }

    /// The record as it was before its newest write.
    pub(super) fn before(&self, id: RunId) -> Option<Run> {
        self.runs.get(&id)?.before.clone()
    }

    pub(super) fn created(&mut self, run: &Run, events: &[PublicEvent], now: Timestamp) {
        let seen = Seen {
            record: run.clone(),
            before: None,
            log: Vec::new(),
            ids: BTreeSet::new(),
            history: History::default(),
            begun: BTreeMap::new(),
            writes: vec![now],
        };
        self.runs.insert(run.id, seen);
        self.look_at(run);
        self.log(run, events);
        self.look_at_turns(run);
    }

    pub(super) fn committed(&mut self, before: &Run, after: &Run, events: &[PublicEvent], now: Timestamp) {
        let Some(seen) = self.runs.get_mut(&after.id) else {
            return self.breaks(SW1, format!("run {} is written, and was never created", after.id));
        };
        let replaced = std::mem::replace(&mut seen.record, after.clone());
        seen.before = Some(replaced.clone());
        seen.writes.push(now);
        if replaced != *before || after.revision != before.revision + 1 {
            let (was, decided, is) = (replaced.revision, before.revision, after.revision);
            self.breaks(
                SW1,
                format!("run {} was at revision {was}, the commit was decided at {decided} and is {is}", after.id),
            );
        }
        self.look_at(after);
        self.look_at_step(&replaced, after);
        self.log(after, events);
    }

    fn look_at(&mut self, run: &Run) {
        let Some(definition) = self.definition(run) else { return };
        for violation in check(&definition, run) {
            self.breaks(violation.invariant, format!("run {}: {}", run.id, violation.detail));
        }
    }

    fn look_at_step(&mut self, before: &Run, after: &Run) {
        let is_retried = after.retries > before.retries;
        if before.status.is_final() && !is_retried && before.status != after.status {
            self.breaks(SW2, format!("run {} had ended {:?} and is {:?}", after.id, before.status, after.status));
        }
        for at in 0..after.actions.len() {
            let action = ActionIndex::from_usize(at);
            self.look_at_owners(before, after, action);
            let (was, is) = (before.action(action), after.action(action));
            if was.status.is_settled() && !is_retried && was != is {
                self.breaks(SW2, format!("run {}: action {at} had ended: {was:?}, and is {is:?}", after.id));
            }
            let is_taken = was.owner.is_some() && is.owner.is_some() && is.last > was.last && !is_retried;
            if is.attempt() < was.attempt() || is.fence < was.fence || is_taken && is.fence == was.fence {
                self.breaks(SW2, format!("run {}: action {at} goes back from {was:?} to {is:?}", after.id));
            }
            // An attempt that cost too many agents, or that its queue gave up, ends without a report; a claim may come
            // just before.
            let is_given_up = |error: &ErrorInfo| matches!(error.kind.as_str(), "poison" | "dead_letter");
            let is_end = matches!(is.status, ActionStatus::Succeeded | ActionStatus::Failed)
                && !is.error.as_ref().is_some_and(is_given_up);
            let reported = is_end && is.attempt() == was.attempt();
            if was.status == ActionStatus::Running && reported && is.agent().is_some() && was.agent() != is.agent() {
                let (had, told) = (was.agent(), is.agent());
                self.breaks(
                    SW3,
                    format!("run {}: action {at} was with {had:?}, and its end is accepted of {told:?}", after.id),
                );
            }
        }
    }

    fn log(&mut self, run: &Run, events: &[PublicEvent]) {
        let Some(seen) = self.runs.get_mut(&run.id) else { return };
        let mut found = Vec::new();
        for event in events {
            if !seen.ids.insert(event.id) {
                found.push((SW4, format!("run {}: {} is in the log twice", run.id, event.kind)));
            }
            if let Err(fault) = seen.history.goes_on(event) {
                let invariant = match fault {
                    history::Fault::SecondEnd(_) => SW3,
                    history::Fault::Illegal(_) => SW4,
                };
                found.push((invariant, format!("run {}: {fault}", run.id)));
            }
            seen.log.push(event.clone());
        }
        for (invariant, detail) in found {
            self.breaks(invariant, detail);
        }
    }

    /// No two runs of one schedule are open at once, unless it allows that.
    fn look_at_turns(&mut self, run: &Run) {
        let Some(definition) = self.definition(run) else { return };
        let Some(schedule) = &definition.schedule else { return };
        if !matches!(run.origin, windlass_domain::run::Origin::Schedule { .. }) || !history::forbids_overlap(schedule) {
            return;
        }
        let others = self.runs.values().map(|seen| &seen.record).filter(|other| {
            let is_scheduled = matches!(other.origin, windlass_domain::run::Origin::Schedule { .. });
            other.id != run.id && other.task == run.task && is_scheduled && !other.status.is_final()
        });
        let open: Vec<String> = others.map(|other| other.id.to_string()).collect();
        if !open.is_empty() {
            self.breaks(SW14, format!("run {} is created while {} is open", run.id, open.join(", ")));
        }
    }

    /// An agent begins to perform; gives the attempt's place among all performed ones.
    pub(super) fn begins(&mut self, attempt: &Attempt, by: &str, now: Timestamp) -> usize {
        let (run, of, by) = (attempt.run, attempt.of, by.to_owned());
        let queued_at = |seen: &Seen| Some(seen.record.steady(seen.record.action(of.action).queued_at?));
        let queued = self.runs.get(&run).and_then(queued_at);
        self.performed.push(Performed { run, of, by, queued, began: now, ended: None });
        self.look_at_begin(attempt, now);
        self.performed.len() - 1
    }

    fn look_at_begin(&mut self, attempt: &Attempt, now: Timestamp) {
        let (id, of) = (attempt.run, attempt.of);
        let Some(seen) = self.runs.get_mut(&id) else {
            return self.breaks(SW6, format!("run {id} does not exist, and {} begins", attempt.name));
        };
        let times = seen.begun.entry((of.action, of.attempt)).or_default();
        *times += 1;
        let is_first = *times == 1;
        let run = seen.record.clone();
        let begun = seen.begun.keys().filter(|(action, _)| *action == of.action).count();
        self.repeats += u64::from(!is_first);
        if is_first && run.status.is_final() {
            self.breaks(SW6, format!("run {id} has ended {:?}, and {} begins", run.status, attempt.name));
        }
        // By a claim that was confirmed it may begin later: then it has an owner.
        let is_unasked = run.action(of.action).owner.is_none();
        let now = run.time(now, Some(now));
        let is_long_ago = |why: &Cancellation| now.since(why.at).0 > CHECK_AFTER_MS + CLOCKS_DIFFER_MS;
        if is_first && is_unasked && run.cancellation.as_ref().is_some_and(is_long_ago) {
            self.breaks(SW6, format!("run {id} was cancelled a while ago, and {} begins", attempt.name));
        }
        let Some(definition) = self.definition(&run) else { return };
        if is_first && !needs_have_ended(&definition, &run, of) {
            self.breaks(SW5, format!("run {id}: {} begins before what it needs", attempt.name));
        }
        if let Attempts::Limited(most) = definition.action(of.action).retry.attempts
            && run.retries == 0
            && begun > most as usize
        {
            self.breaks(SW7, format!("run {id}: {} begins attempt {} of {most}", attempt.name, of.attempt));
        }
    }

    pub(super) fn published(&mut self, events: &[PublicEvent]) {
        for event in events {
            self.published.entry(event.id).or_insert_with(|| event.clone());
        }
    }

    pub(super) fn sent(&mut self, queue: &QueueName, bodies: &[String]) {
        match queue {
            QueueName::DeadLetter => self.dead_letters.extend_from_slice(bodies),
            QueueName::Pool(_) => {
                let attempts = bodies.iter().filter_map(|body| decode::<PerformMessage>(body).ok());
                for message in attempts {
                    let of = (message.run, message.of.action, message.of.attempt);
                    self.lost.remove(&of);
                    self.sent.insert(of);
                }
            }
            QueueName::Inbox | QueueName::Claims => {
                for body in bodies {
                    if let Ok(InboxMessage::Run { run, input, .. }) = decode(body) {
                        self.is_given_up(run, &input);
                    }
                }
            }
            QueueName::Control { .. } => {}
        }
    }

    /// The sweeper resends an attempt whose queue gave up another message than the owner's.
    fn is_given_up(&mut self, run: RunId, input: &Input) {
        if let (Some(seen), Input::DeadLettered { action, delivery, .. }) = (self.runs.get(&run), input)
            && seen.record.action(*action).last.issue != delivery.issue
        {
            self.lost.insert((run, *action, delivery.attempt));
        }
    }

    /// Checks an acknowledged message: it has had its effect, and a message or the sweeper still carries its run.
    pub(super) fn acknowledged(&mut self, message: &Acknowledged<'_>) {
        let run = match message.queue {
            QueueName::Inbox | QueueName::Claims => match decode::<InboxMessage>(message.body) {
                Ok(InboxMessage::Run { run, input, .. }) => {
                    // A start that came before its run is followed by another.
                    let is_start_under_way =
                        input == Input::Start && message.host.has_message_of(run, |queue, _| queue.brings_inputs());
                    if !is_start_under_way {
                        self.look_at_effect(run, &input);
                    }
                    run
                }
                Ok(InboxMessage::Task { .. } | InboxMessage::Sweep { .. }) | Err(_) => return,
            },
            QueueName::Pool(_) => match decode::<PerformMessage>(message.body) {
                Ok(perform) => perform.run,
                Err(_) => return,
            },
            QueueName::Control { .. } | QueueName::DeadLetter => return,
        };
        let Some(seen) = self.runs.get(&run) else { return };
        // The witness looks at a wide run now and then, because each look costs as much as the run is wide.
        self.looks += 1;
        if !self.looks.is_multiple_of(1 + seen.record.actions.len() / WIDE) {
            return;
        }
        if let Some(lost) = self.forgotten(&seen.record, message.host) {
            self.breaks(SW8, format!("run {run}: {lost}, and {} is acknowledged", message.body));
        }
    }

    fn look_at_effect(&mut self, id: RunId, input: &Input) {
        let Some(seen) = self.runs.get(&id) else { return };
        let run = &seen.record;
        let is_unheard = match input {
            Input::Start => run.status == RunStatus::Submitted,
            Input::Completed { of, .. } => {
                let state = run.action(of.action);
                let counts = match &state.owner {
                    Some(owner) => owner.agent == of.agent && of.delivery == state.last,
                    None => of.delivery >= state.last,
                };
                state.status.is_in_flight() && state.attempt() == of.delivery.attempt && counts
            }
            Input::Cancel { retries, .. } => {
                run.retries <= *retries && !run.status.is_final() && run.status != RunStatus::Cancelling
            }
            Input::Kill { action, retries, .. } => {
                let state = run.action(*action);
                let goes_on = matches!(run.status, RunStatus::Running | RunStatus::Paused);
                goes_on && run.retries <= *retries && !state.status.is_settled() && state.kill.is_none()
            }
            Input::Pause { pauses, retries } => {
                run.retries <= *retries && run.pauses <= *pauses && run.status == RunStatus::Running
            }
            Input::Resume { pauses } => run.pauses <= *pauses && run.status == RunStatus::Paused,
            Input::Started { .. }
            | Input::Claim { .. }
            | Input::Renewed { .. }
            | Input::Progressed { .. }
            | Input::HandedBack { .. }
            | Input::DeadLettered { .. }
            | Input::Unserved { .. }
            | Input::Retry { .. }
            | Input::Wake { .. }
            | Input::Sweep => false,
        };
        if is_unheard {
            self.breaks(SW8, format!("run {id} is {:?}, and {input:?} is acknowledged", run.status));
        }
    }

    /// The checks that make sense only when all is over.
    pub(super) fn look_back(&mut self, given_up: &[String]) {
        for id in self.accepted.clone() {
            if !self.runs.contains_key(&id) {
                self.breaks(SW9, format!("run {id} was accepted and does not exist"));
            }
        }
        let open: Vec<_> = self.runs.values().filter(|seen| !seen.record.status.is_final()).collect();
        let open: Vec<_> =
            open.iter().map(|seen| (seen.record.id, seen.record.status, format!("{:?}", seen.record))).collect();
        for (id, status, record) in open {
            self.breaks(SW9, format!("run {id} is still {status:?}: {record}"));
        }
        self.look_at_bus();
        self.look_at_letters(given_up);
    }

    /// Checks the dead letters: each message that a queue gave up is kept with its reason, and no other is.
    fn look_at_letters(&mut self, given_up: &[String]) {
        let body = |letter: &String| {
            let letter: serde_json::Value = serde_json::from_str(letter).unwrap_or_default();
            letter["body"].as_str().map(str::to_owned)
        };
        let kept: BTreeSet<String> = self.dead_letters.iter().filter_map(body).collect();
        let unasked = self.dead_letters.iter().find(|letter| body(letter).is_none_or(|body| !given_up.contains(&body)));
        if let Some(letter) = unasked.cloned() {
            self.breaks(SW13, letter);
        }
        if let Some(lost) = given_up.iter().find(|body| !kept.contains(*body)) {
            self.breaks(SW13, format!("a queue gave up {lost}, and nobody kept it"));
        }
    }

    fn look_at_bus(&mut self) {
        let mut found = Vec::new();
        let mut logged = BTreeSet::new();
        for seen in self.runs.values() {
            let Some(definition) = self.definition(&seen.record) else { continue };
            logged.extend(seen.log.iter().map(|event| event.id));
            for event in history::lasting(&seen.log) {
                if event.is_published(&definition) && !self.published.contains_key(&event.id) {
                    found.push(format!("run {}: {} of {:?} was never published", event.run, event.kind, event.action));
                }
            }
        }
        let of_runs = self.published.values().filter(|event| !event.kind.starts_with("schedule."));
        let invented = of_runs.filter(|event| self.runs.contains_key(&event.run) && !logged.contains(&event.id));
        found.extend(
            invented.map(|event| format!("run {}: {} was published and is not in the log", event.run, event.kind)),
        );
        for detail in found {
            self.breaks(SW12, detail);
        }
    }
}

impl Witness {
    /// An action that no process would ever go on with: in flight without a message, while no input of its run is under
    /// way. The sweeper resends an attempt of the run's start that was never sent, since the process that recorded the
    /// run may have died. It also resends a lost one. A queued attempt that was killed, or whose run is being
    /// cancelled, ends after the grace; a lease runs out.
    fn forgotten(&self, run: &Run, host: &MemoryHost) -> Option<String> {
        if run.status.is_final() || run.status == RunStatus::Submitted {
            return None;
        }
        if host.has_message_of(run.id, |queue, _| queue.brings_inputs()) {
            return None;
        }
        let mut in_flight: BTreeSet<(ActionIndex, u32)> = BTreeSet::new();
        for at in 0..run.actions.len() {
            let action = ActionIndex::from_usize(at);
            let state = run.action(action);
            let of = (run.id, action, state.attempt());
            let is_the_sweepers =
                state.revision <= run.start_revision && !self.sent.contains(&of) || self.lost.contains(&of);
            let is_stopping = run.status == RunStatus::Cancelling || state.kill.is_some();
            let ends_by_time = state.status == ActionStatus::Queued && is_stopping
                || state.owner.as_ref().is_some_and(|owner| owner.until.is_some());
            if state.status.is_in_flight() && !is_the_sweepers && !ends_by_time {
                in_flight.insert((action, state.attempt()));
            }
        }
        // A claim that ended its action may have led to more, and its message comes again as well.
        let mut may_be_told_again = false;
        host.has_message_of(run.id, |queue, of| {
            if let (QueueName::Pool(_), Some(of)) = (queue, of) {
                in_flight.remove(&(of.action, of.attempt));
                may_be_told_again |= run.action(of.action).status.is_settled();
            }
            in_flight.is_empty()
        });
        if may_be_told_again {
            return None;
        }
        let (action, attempt) = in_flight.first()?;
        Some(format!("action {} is {:?} in attempt {attempt} and has no message", action.0, run.action(*action).status))
    }
}

fn needs_have_ended(definition: &Definition, run: &Run, of: ActionAt) -> bool {
    let author = definition.action(of.action);
    let state = run.action(of.action);
    if state.attempt() != of.attempt {
        // An attempt that has been replaced began late; it was needed when it was sent.
        return true;
    }
    let status = |need: &ActionIndex| run.action(*need).status;
    let is_fault = |status: ActionStatus| status.is_failure() || status == ActionStatus::Cancelled;
    match author.trigger {
        Trigger::AllSucceeded | Trigger::AllDone | Trigger::NoneFailed => {
            author.needs.iter().all(|need| status(need).is_settled())
        }
        Trigger::AnySucceeded => {
            author.needs.is_empty() || author.needs.iter().any(|need| status(need) == ActionStatus::Succeeded)
        }
        Trigger::AnyFailed => author.needs.is_empty() || author.needs.iter().any(|need| is_fault(status(need))),
    }
}
