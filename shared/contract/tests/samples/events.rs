//! One of each event, and one with those fields left out that may be absent.

use serde_json::json;
use windlass_domain::ids::{ActionIndex, AgentId, PoolName};
use windlass_domain::run::{
    ActionAt, CancelCause, ClaimedBy, ErrorInfo, Event, EventKind, Progress, RunStatus, SkipReason,
};

use super::{agent, at, of};

pub(crate) fn events() -> Vec<(&'static str, Event)> {
    let kinds = of_the_run().into_iter().chain(of_its_actions());
    kinds.map(|(name, kind)| (name, Event { at: at(9), kind })).collect()
}

fn of_the_run() -> Vec<(&'static str, EventKind)> {
    let ended = |status| EventKind::RunFinished {
        status,
        output: None,
        error: Some(ErrorInfo::new("action.failed", "`totals` failed")),
    };
    let well = |status| EventKind::RunFinished { status, output: Some(json!({ "pages": 7 })), error: None };
    vec![
        ("run.started", EventKind::RunStarted { deadline: Some(at(7200)) }),
        ("run.started-bare", EventKind::RunStarted { deadline: None }),
        ("run.paused", EventKind::RunPaused { number: 3 }),
        ("run.resumed", EventKind::RunResumed { number: 3 }),
        ("run.cancelling", EventKind::RunCancelling { cause: CancelCause::Request, reason: "not needed".into() }),
        ("run.retried", EventKind::RunRetried { deadline: Some(at(7200)), actions: vec![ActionIndex(1)] }),
        ("run.retried-bare", EventKind::RunRetried { deadline: None, actions: vec![] }),
        ("run.succeeded", well(RunStatus::Succeeded)),
        ("run.succeeded_with_faults", well(RunStatus::SucceededWithFaults)),
        ("run.failed", ended(RunStatus::Failed)),
        ("run.timed_out", ended(RunStatus::TimedOut)),
        ("run.cancelled", ended(RunStatus::Cancelled)),
    ]
}

fn of_its_actions() -> Vec<(&'static str, EventKind)> {
    let error = || ErrorInfo::new("auth.password", "the password is wrong");
    let (agent, started_at) = (Some(agent()), Some(at(2)));
    let progress = Progress { percent: Some(12.5), message: Some("reading".into()) };
    vec![
        ("action.ready", EventKind::ActionReady { action: ActionIndex(1) }),
        ("action.queued", EventKind::ActionQueued { of: of() }),
        ("action.unserved", unserved()),
        (
            "action.started",
            EventKind::ActionStarted { of: of(), agent: super::agent(), started_at: at(2), by: ClaimedBy::default() },
        ),
        ("action.leased", EventKind::ActionLeased { of: of(), until: at(9) }),
        ("action.lapsed", EventKind::ActionLapsed { of: of() }),
        ("action.lost", EventKind::ActionLost { of: of() }),
        ("action.not_lost", EventKind::ActionNotLost { of: of() }),
        ("action.progressed", EventKind::ActionProgressed { of: of(), number: 0, progress }),
        (
            "action.checkpointed",
            EventKind::ActionCheckpointed { of: of(), number: 1, checkpoint: json!({ "rows": 3 }) },
        ),
        ("action.handed_back", EventKind::ActionHandedBack { of: of() }),
        (
            "action.succeeded",
            EventKind::ActionSucceeded { of: of(), agent: agent.clone(), started_at, output: json!({ "rows": 3 }) },
        ),
        (
            "action.succeeded-bare",
            EventKind::ActionSucceeded { of: of(), agent: None, started_at: None, output: json!(null) },
        ),
        (
            "action.retrying",
            EventKind::ActionRetrying { of: of(), agent: agent.clone(), started_at, error: error(), retry_at: at(60) },
        ),
        (
            "action.failed",
            EventKind::ActionFailed { of: of(), agent: agent.clone(), started_at, error: error(), allowed: true },
        ),
        (
            "action.timed_out",
            EventKind::ActionTimedOut { of: of(), agent: None, started_at: None, error: error(), allowed: false },
        ),
        ("action.skipped", EventKind::ActionSkipped { action: ActionIndex(2), reason: SkipReason::Trigger }),
        (
            "action.skipped-condition",
            EventKind::ActionSkipped { action: ActionIndex(2), reason: SkipReason::Condition },
        ),
        ("action.cancelled", cancelled(of(), None, None)),
        ("action.cancelled-by", cancelled(of(), agent, None)),
        (
            "action.cancelled-unattempted",
            cancelled(ActionAt { action: ActionIndex(3), attempt: 0, fence: 0 }, None, None),
        ),
        ("action.cancelling", EventKind::ActionCancelling { of: of(), reason: "it hangs".into() }),
        ("action.cancelled-killed", cancelled(of(), None, Some(ErrorInfo::new("killed", "it hangs")))),
    ]
}

fn cancelled(of: ActionAt, agent: Option<AgentId>, error: Option<ErrorInfo>) -> EventKind {
    EventKind::ActionCancelled { of, agent, error, allowed: false }
}

fn unserved() -> EventKind {
    EventKind::ActionUnserved { of: of(), pool: PoolName::new("linux-gpu").expect("a name"), since: at(3) }
}

/// Fails to compile when a kind is added: give it a sample above, then name it here.
#[expect(dead_code, reason = "it is for the compiler")]
fn every_kind_has_a_sample(kind: &EventKind) {
    match kind {
        EventKind::RunStarted { .. }
        | EventKind::RunPaused { .. }
        | EventKind::RunResumed { .. }
        | EventKind::RunCancelling { .. }
        | EventKind::RunRetried { .. }
        | EventKind::RunFinished { .. }
        | EventKind::ActionReady { .. }
        | EventKind::ActionQueued { .. }
        | EventKind::ActionUnserved { .. }
        | EventKind::ActionLeased { .. }
        | EventKind::ActionLapsed { .. }
        | EventKind::ActionStarted { .. }
        | EventKind::ActionProgressed { .. }
        | EventKind::ActionLost { .. }
        | EventKind::ActionNotLost { .. }
        | EventKind::ActionCheckpointed { .. }
        | EventKind::ActionHandedBack { .. }
        | EventKind::ActionSucceeded { .. }
        | EventKind::ActionRetrying { .. }
        | EventKind::ActionFailed { .. }
        | EventKind::ActionTimedOut { .. }
        | EventKind::ActionSkipped { .. }
        | EventKind::ActionCancelling { .. }
        | EventKind::ActionCancelled { .. } => {}
    }
}
