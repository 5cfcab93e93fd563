//! What has happened to a run, as far as its record tells: for hosts that keep no log of events.
//!
//! Of each action the newest attempt is known, so the events of earlier attempts are not among these.

use super::again;
use super::report::failed_attempt;
use super::step::Step;
use crate::definition::Definition;
use crate::ids::ActionIndex;
use crate::run::{ActionStatus, ClaimedBy, Event, EventKind, Run};
use crate::time::Timestamp;

/// An event, and its place: events that later commits add have higher places. What a commit changes moves to its place,
/// so an event may be met twice, with the same id.
#[derive(Debug, Clone, PartialEq)]
pub struct Placed {
    /// The revision of the commit that changed last what the event is about, and what it is about.
    pub place: u64,
    /// The event.
    pub event: Event,
}

/// Actions of one revision: more than there may be.
const PLACES: u64 = 1 << 20;
/// Events of one action's newest attempt that can be told, and more.
const KINDS: u64 = 1 << 2;

/// The events that the record tells, by their places.
pub fn history(definition: &Definition, run: &Run) -> Vec<Placed> {
    let mut placed = Vec::new();
    for action in definition.indexes() {
        let base = run.action(action).revision * PLACES + u64::from(action.0 + 1) * KINDS;
        let events = of_action(definition, run, action);
        placed.extend((base..).zip(events).map(|(place, event)| Placed { place, event }));
    }
    placed.extend(of_unserved(definition, run));
    if let Some(at) = run.started_at {
        let event = Event { at, kind: EventKind::RunStarted { deadline: run.deadline } };
        placed.push(Placed { place: again::STARTING_REVISION * PLACES, event });
    }
    let last = run.status_revision * PLACES + PLACES - KINDS;
    placed.extend((last..).zip(of_status(definition, run)).map(|(place, event)| Placed { place, event }));
    placed.sort_by_key(|placed| placed.place);
    placed
}

/// What is known of the newest attempt: that it was queued, that it began, how it ended.
fn of_action(definition: &Definition, run: &Run, action: ActionIndex) -> Vec<Event> {
    let state = run.action(action);
    let mut step = Step::new(definition, run, run.submitted_at);
    let of = step.at(action);
    if let (Some(retry_at), Some(error)) = (state.retry_at, &state.error) {
        // When the attempt failed is not kept, but its policy gives the same delay again.
        let delay = step.action(action).retry.delay(&failed_attempt(&step, of, error));
        step.now = Timestamp::from_millis(retry_at.as_millis().saturating_sub_unsigned(delay.0));
    }
    if state.status != ActionStatus::Queued
        && let Some(at) = state.queued_at
    {
        step.again.push(Event { at, kind: EventKind::ActionQueued { of } });
    }
    if let (Some(agent), Some(started_at)) = (&state.agent, state.started_at) {
        let kind = EventKind::ActionStarted { of, agent: agent.clone(), started_at, by: ClaimedBy::default() };
        step.again.push(Event { at: started_at, kind });
    }
    again::of_kill(&mut step, action);
    again::publish_action(&mut step, action);
    step.again
}

/// What is told of queued attempts that wait in pools that nobody serves: each has the place of the commit that said so.
fn of_unserved(definition: &Definition, run: &Run) -> Vec<Placed> {
    let mut step = Step::new(definition, run, run.submitted_at);
    let mut placed = Vec::new();
    for action in definition.indexes() {
        let Some(unserved) = run.action(action).unserved else { continue };
        again::publish_unserved(&mut step, action);
        // After that it was queued: the same commit may have said both.
        let place = unserved.revision * PLACES + u64::from(action.0 + 2) * KINDS - 1;
        placed.extend(step.again.drain(..).map(|event| Placed { place, event }));
    }
    placed
}

/// What the run's status tells beside its start.
fn of_status(definition: &Definition, run: &Run) -> Vec<Event> {
    let mut step = Step::new(definition, run, run.finished_at.unwrap_or(run.submitted_at));
    again::status(&mut step);
    step.again.retain(|event| !matches!(event.kind, EventKind::RunStarted { .. }));
    step.again
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::decide;
    use crate::ids::{AgentId, RunId, TaskName};
    use crate::run::{ActionAt, ErrorInfo, Input, Origin, Outcome};
    use crate::time::Millis;

    const TASK: &str = "task: t\nactions: { a: { exec: [x] }, b: { exec: [x], needs: [a] } }\n";

    fn names(placed: &[Placed]) -> Vec<&'static str> {
        placed.iter().map(|placed| placed.event.kind.name()).collect()
    }

    /// Decides and commits.
    fn give(definition: &Definition, run: &Run, input: &Input, now: Timestamp) -> Run {
        let mut run = decide(definition, run, input, now).expect("accepted").run;
        run.revision += 1;
        run
    }

    fn completed(action: u32, now: Timestamp) -> Input {
        Input::Completed {
            of: ActionAt { action: ActionIndex(action), attempt: 1, fence: 1 },
            agent: AgentId::new("agent").expect("a name"),
            started_at: now,
            outcome: Outcome::Succeeded { output: serde_json::Value::Null },
            checkpoint: None,
        }
    }

    #[test]
    fn what_later_commits_add_has_higher_places() {
        let definition = Definition::from_text(TASK).expect("valid");
        let (id, task) = (RunId::from_uuid(uuid::Uuid::nil()), TaskName::new("t").expect("a name"));
        let mut now = Timestamp::from_millis(1_700_000_000_000);
        let submitted = Run::submitted(id, (task, 1), 2, serde_json::Value::Null, Origin::Request, now);
        assert_eq!(names(&history(&definition, &submitted)), Vec::<&str>::new());

        let mut run = give(&definition, &submitted, &Input::Start, now);
        let mut told = history(&definition, &run);
        assert_eq!(names(&told), ["run.started", "action.queued"]);
        for (action, expected) in [
            (0, &["action.queued", "action.started", "action.succeeded", "action.queued"][..]),
            (1, &["action.queued", "action.started", "action.succeeded", "run.succeeded"][..]),
        ] {
            now = now.plus(Millis(10));
            run = give(&definition, &run, &completed(action, now), now);
            let after = told.last().expect("some").place;
            told = history(&definition, &run);
            assert_eq!(
                names(&told.iter().filter(|placed| placed.place > after).cloned().collect::<Vec<_>>()),
                expected
            );
            assert!(told.is_sorted_by(|one, next| one.place < next.place));
        }
    }

    #[test]
    fn a_retry_is_told_at_the_time_of_the_failure() {
        let task = "task: t\nactions: { a: { exec: [x], retry: { attempts: 3, delay: 6s } } }\n";
        let definition = Definition::from_text(task).expect("valid");
        let (id, task) = (RunId::from_uuid(uuid::Uuid::nil()), TaskName::new("t").expect("a name"));
        let now = Timestamp::from_millis(1_700_000_000_000);
        let submitted = Run::submitted(id, (task, 1), 1, serde_json::Value::Null, Origin::Request, now);
        let run = give(&definition, &submitted, &Input::Start, now);
        let failed_at = now.plus(Millis(1234));
        let mut failure = completed(0, now);
        if let Input::Completed { outcome, .. } = &mut failure {
            *outcome = Outcome::Failed { error: ErrorInfo::new("network.reset", "gone") };
        }
        let run = give(&definition, &run, &failure, failed_at);
        let told = history(&definition, &run);
        let retrying = told.iter().find(|placed| placed.event.kind.name() == "action.retrying").expect("told");
        assert_eq!(retrying.event.at, failed_at);
    }
}
