//! Records in every shape that is stored.

use serde_json::json;
use windlass_domain::definition::Definition;
use windlass_domain::ids::TaskName;
use windlass_domain::run::{
    ActionState, ActionStatus, CancelCause, Cancellation, ErrorInfo, Kill, Origin, Page, Pages, Progress, Run,
    RunStatus, Unserved,
};

use super::{agent, at, id};

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

/// A run with every field set, and one action in each state that has fields of its own.
pub(crate) fn run() -> Run {
    let succeeded = ActionState {
        status: ActionStatus::Succeeded,
        attempt: 2,
        attempt_base: 1,
        fence: 3,
        agent: Some(agent()),
        first_queued_at: Some(at(1)),
        queued_at: Some(at(2)),
        started_at: Some(at(3)),
        finished_at: Some(at(4)),
        revision: 5,
        progress: Some(Progress { percent: Some(100.0), message: Some("done".into()) }),
        output: Some(json!({ "rows": [1, 2] })),
        ..ActionState::default()
    };
    let waiting = ActionState { ready: true, ..ActionState::default() };
    let retrying = ActionState {
        status: ActionStatus::RetryWaiting,
        attempt: 1,
        first_queued_at: Some(at(4)),
        queued_at: Some(at(4)),
        retry_at: Some(at(60)),
        revision: 6,
        error: Some(ErrorInfo::new("http.503", "the service is away")),
        ..ActionState::default()
    };
    let skipped = ActionState { status: ActionStatus::Skipped, finished_at: Some(at(5)), ..ActionState::default() };
    Run {
        revision: 7,
        origin: Origin::Schedule { nominal: at(0) },
        status: RunStatus::Failed,
        output: Some(json!("text")),
        error: Some(ErrorInfo::new("run.failed", "an action failed")),
        started_at: Some(at(1)),
        finished_at: Some(at(70)),
        deadline: Some(at(7200)),
        wake_at: Some(at(60)),
        cancellation: Some(Cancellation { at: at(65), cause: CancelCause::Request, reason: "not needed".into() }),
        retries: 1,
        status_revision: 7,
        open: 2,
        in_flight: 1,
        ready: 1,
        ready_from: 1,
        failed: 1,
        faults: 1,
        actions: Pages::from_pages(vec![vec![succeeded, waiting, retrying, skipped]]),
        ..submitted()
    }
}

/// A run that waits for an agent.
pub(crate) fn unserved() -> Run {
    let waiting = ActionState {
        status: ActionStatus::Queued,
        attempt: 1,
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
        in_flight: 1,
        actions: Pages::from_pages(vec![states]),
        ..submitted()
    }
}

/// A run with an attempt that cost two agents and is performed by a copy of its message.
fn lost() -> Run {
    let mut states: Vec<ActionState> = taken_up().actions.iter().cloned().collect();
    if let Some(first) = states.first_mut() {
        (first.fence, first.lost, first.copy) = (5, vec![2, 4], 6);
    }
    Run { actions: Pages::from_pages(vec![states]), ..taken_up() }
}

/// A run with an attempt that was claimed and is leased.
fn leased() -> Run {
    let mut states: Vec<ActionState> = lost().actions.iter().cloned().collect();
    if let Some(first) = states.first_mut() {
        (first.received, first.leased_until) = (2, Some(at(9)));
    }
    Run { actions: Pages::from_pages(vec![states]), ..taken_up() }
}

/// A run with an attempt that somebody has killed and its agent has not answered.
fn killed() -> Run {
    let mut states: Vec<ActionState> = taken_up().actions.iter().cloned().collect();
    if let Some(first) = states.first_mut() {
        first.kill = Some(Kill { at: at(3), reason: "it hangs".into(), revision: 4 });
    }
    Run { actions: Pages::from_pages(vec![states]), ..taken_up() }
}

/// A run with an attempt that said where it can be taken up, and one that was handed back.
fn taken_up() -> Run {
    let running = ActionState {
        status: ActionStatus::Running,
        attempt: 1,
        fence: 2,
        agent: Some(agent()),
        first_queued_at: Some(at(1)),
        queued_at: Some(at(1)),
        started_at: Some(at(3)),
        revision: 3,
        progress: Some(Progress { percent: Some(12.5), message: None }),
        progress_number: 7,
        checkpoint: Some(json!({ "rows": 3 })),
        ..ActionState::default()
    };
    let handed_back = ActionState {
        status: ActionStatus::Queued,
        agent: None,
        started_at: None,
        progress_number: 0,
        handed_back: true,
        ..running.clone()
    };
    Run {
        revision: 4,
        status: RunStatus::Running,
        started_at: Some(at(1)),
        status_revision: 1,
        in_flight: 2,
        actions: Pages::from_pages(vec![vec![running, handed_back, ActionState::default(), ActionState::default()]]),
        ..submitted()
    }
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
        ("unserved", unserved()),
        ("taken_up", taken_up()),
        ("lost", lost()),
        ("leased", leased()),
        ("killed", killed()),
        ("paused", Run { status: RunStatus::Paused, pauses: 2, ..killed() }),
    ]
}
