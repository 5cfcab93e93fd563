//! Records in every shape that is stored.

use serde_json::json;
use windlass_domain::attempt::{ActionState, ActionStatus, ErrorInfo, Kill, Owner, Unserved};
use windlass_domain::caller::{Caller, Way};
use windlass_domain::content::Content;
use windlass_domain::definition::Definition;
use windlass_domain::delivery::Delivery;
use windlass_domain::ids::{ActionIndex, AgentId, TaskName};
use windlass_domain::keep::Keep;
use windlass_domain::run::{CancelCause, Cancellation, Origin, Page, Pages, Progress, Run, RunStatus, Source};
use windlass_domain::time::Millis;

use super::{at, id, owner, person};

/// The task that the runs are of.
pub(crate) fn definition() -> Definition {
    let text = "
        task: nightly-report
        labels: { client: acme }
        actions:
          extract: { exec: [python3, extract.py] }
          totals: { needs: [extract], exec: [python3, totals.py] }
          charts: { needs: [extract], exec: [python3, charts.py] }
          publish: { needs: [totals, charts], exec: [python3, publish.py] }
    ";
    Definition::from_text(text).expect("a definition")
}

/// A run as it is created.
pub(crate) fn submitted() -> Run {
    let task = TaskName::new("nightly-report").expect("a name");
    Run::submitted(id(), (task, 3), 4, json!({ "day": "today" }), Origin::Request, at(0))
}

/// One action in each state that has fields of its own.
fn states() -> Page {
    let succeeded = ActionState {
        status: ActionStatus::Succeeded,
        last: Delivery::new(2, 0, 1),
        attempt_base: 1,
        fence: 3,
        owner: Some(owner()),
        first_queued_at: Some(at(1)),
        queued_at: Some(at(2)),
        finished_at: Some(at(4)),
        revision: 5,
        progress: Some(Progress { percent: Some(100.0), message: Some("done".into()) }),
        output: Some(Content::Here(json!({ "rows": [1, 2] }))),
        ..ActionState::default()
    };
    let waiting = ActionState { ready: true, ..ActionState::default() };
    let retrying = ActionState {
        status: ActionStatus::RetryWaiting,
        last: Delivery::none_of(1),
        fence: 1,
        first_queued_at: Some(at(4)),
        queued_at: Some(at(4)),
        retry_at: Some(at(60)),
        revision: 6,
        source: Source::Action(ActionIndex(0)),
        error: Some(ErrorInfo::new("http.503", "the service is away")),
        ..ActionState::default()
    };
    let skipped = ActionState { status: ActionStatus::Skipped, finished_at: Some(at(5)), ..ActionState::default() };
    vec![succeeded, waiting, retrying, skipped]
}

/// A run with every field set.
pub(crate) fn run() -> Run {
    Run {
        revision: 7,
        origin: Origin::Schedule { nominal: at(0) },
        caller: Caller::by(Way::Schedule),
        status: RunStatus::Failed,
        output: Some(json!("text")),
        error: Some(ErrorInfo::new("run.failed", "an action failed")),
        started_at: Some(at(1)),
        finished_at: Some(at(70)),
        deadline: Some(at(7200)),
        wake_at: Some(at(60)),
        cancellation: Some(Cancellation {
            at: at(65),
            cause: CancelCause::Request,
            reason: "not needed".into(),
            caller: person(),
            revision: 6,
            source: Source::Cancel,
        }),
        retries: 1,
        status_revision: 7,
        status_caller: Some(person()),
        retried_by: Some(person()),
        start_revision: 1,
        status_source: Source::Sweep,
        open: 2,
        in_flight: 1,
        ready: 1,
        ready_from: 1,
        failed: 1,
        faults: 1,
        actions: Pages::from_pages(vec![states()]),
        ..submitted()
    }
}

/// A run that waits for an agent.
pub(crate) fn unserved() -> Run {
    let waiting = ActionState {
        status: ActionStatus::Queued,
        last: Delivery::none_of(1),
        fence: 1,
        first_queued_at: Some(at(2)),
        queued_at: Some(at(2)),
        revision: 1,
        unserved: Some(Unserved { since: at(3), revision: 2 }),
        ..ActionState::default()
    };
    let states = vec![waiting, ActionState::default(), ActionState::default(), ActionState::default()];
    Run {
        revision: 2,
        status: RunStatus::Running,
        started_at: Some(at(2)),
        status_revision: 1,
        start_revision: 1,
        in_flight: 1,
        actions: Pages::from_pages(vec![states]),
        ..submitted()
    }
}

/// A run with an attempt that saved a checkpoint, and one that was handed back.
fn taken_up() -> Run {
    let running = ActionState {
        status: ActionStatus::Running,
        last: Delivery::new(1, 0, 1),
        fence: 1,
        owner: Some(owner()),
        first_queued_at: Some(at(1)),
        queued_at: Some(at(1)),
        revision: 3,
        progress: Some(Progress { percent: Some(12.5), message: None }),
        progress_number: 7,
        checkpoint: Some(json!({ "rows": 3 })),
        ..ActionState::default()
    };
    let handed_back = ActionState {
        status: ActionStatus::Queued,
        last: Delivery::new(1, 2001, 0),
        fence: 2,
        owner: None,
        progress_number: 0,
        ..running.clone()
    };
    Run {
        revision: 4,
        status: RunStatus::Running,
        started_at: Some(at(1)),
        status_revision: 1,
        start_revision: 1,
        in_flight: 2,
        actions: Pages::from_pages(vec![vec![running, handed_back, ActionState::default(), ActionState::default()]]),
        ..submitted()
    }
}

/// That run, with another state of its first action.
fn with_first(change: impl FnMut(&mut ActionState)) -> Run {
    let mut states: Vec<ActionState> = taken_up().actions.iter().cloned().collect();
    states.first_mut().into_iter().for_each(change);
    Run { actions: Pages::from_pages(vec![states]), ..taken_up() }
}

/// An attempt that cost two agents, and that a third has claimed by a resent message.
fn lost(state: &mut ActionState) {
    state.last = Delivery::new(1, 600_421, 1);
    (state.fence, state.losses) = (4, vec![Delivery::new(1, 0, 1), Delivery::new(1, 0, 3)]);
}

/// An attempt that its agent keeps without a message.
fn leased(state: &mut ActionState) {
    lost(state);
    state.owner = Some(Owner { until: Some(at(9)), renewal: 2, ..owner() });
}

/// An attempt whose lease has run out: it is queued again, and its agent is still named.
fn lapsed(state: &mut ActionState) {
    leased(state);
    state.status = ActionStatus::Queued;
}

/// An attempt whose agent reported only its end, so the process manager did not know the agent before.
fn short(state: &mut ActionState) {
    let by = Owner::of_end(AgentId::new("agent-2").expect("a name"), at(2));
    *state =
        ActionState { status: ActionStatus::Succeeded, owner: Some(by), finished_at: Some(at(3)), ..state.clone() };
    (state.progress, state.progress_number, state.checkpoint) = (None, 0, None);
}

/// An attempt that a person has killed and its agent has not answered.
fn killed(state: &mut ActionState) {
    state.kill = Some(Kill { at: at(3), reason: "it hangs".into(), caller: person(), revision: 4 });
}

/// A run whose values stand apart: its record has references to them.
fn apart() -> Run {
    let mut run = run();
    run.input = run.values.hold(json!({ "day": "today".repeat(1000) }));
    let output = run.values.hold(json!({ "rows": [1, "2".repeat(2000)] }));
    let mut states = states();
    states.first_mut().into_iter().for_each(|state| state.output = Some(output.clone()));
    Run { actions: Pages::from_pages(vec![states]), ..run }
}

/// Each form of a stored record: as created, with every field, and in pages.
pub(crate) fn records() -> Vec<(&'static str, Run)> {
    let states: Vec<ActionState> = run().actions.iter().cloned().collect();
    let states: Vec<ActionState> = states.iter().cycle().take(70).cloned().collect();
    let pages: Vec<Page> = states.chunks(64).map(<[_]>::to_vec).collect();
    let large = Run { actions: Pages::from_pages(pages), ..run() };
    vec![
        ("submitted", submitted()),
        ("whole", run()),
        ("paged", large),
        ("apart", apart()),
        ("unserved", unserved()),
        ("kept", submitted().kept(Keep { succeeded: Some(Millis(604_800_000)), failed: None })),
        ("taken_up", taken_up()),
        ("lost", with_first(lost)),
        ("leased", with_first(leased)),
        ("lapsed", with_first(lapsed)),
        ("short", with_first(short)),
        ("killed", with_first(killed)),
        ("paused", Run { status: RunStatus::Paused, pauses: 2, ..with_first(killed) }),
    ]
}
