//! One of each event, and one with those fields left out that may be absent.

use serde_json::json;
use windlass_domain::attempt::ErrorInfo;
use windlass_domain::caller::Caller;
use windlass_domain::delivery::Delivery;
use windlass_domain::ids::{ActionIndex, AgentId, PoolName};
use windlass_domain::run::{ActionAt, CancelCause, Fact, FactKind, Progress, Run, RunStatus, SkipReason};

use super::{agent, at, of, owner, person};

/// Each fact with its run: a person asked for it, or the host began it by itself.
pub(crate) fn events() -> Vec<(&'static str, Run, Fact)> {
    let (hosts, persons) = (super::run(), super::run().asked_by(person()));
    let kinds = of_the_run().into_iter().chain(of_its_actions()).map(|(name, kind)| (name, hosts.clone(), kind));
    let started = FactKind::RunStarted { deadline: None };
    let began = [("run.started-asked", persons, started)];
    kinds.chain(began).map(|(name, run, kind)| (name, run, Fact::told(at(9), kind))).collect()
}

fn of_the_run() -> Vec<(&'static str, FactKind)> {
    let ended = |status| FactKind::RunFinished {
        status,
        output: None,
        error: Some(ErrorInfo::new("action.failed", "`totals` failed")),
    };
    let well = |status| FactKind::RunFinished { status, output: Some(json!({ "pages": 7 })), error: None };
    let cancelling = |cause, caller| FactKind::RunCancelling { cause, reason: "not needed".into(), caller };
    let retried = |deadline, caller| FactKind::RunRetried { deadline, actions: vec![ActionIndex(1)], caller };
    vec![
        ("run.started", FactKind::RunStarted { deadline: Some(at(7200)) }),
        ("run.started-bare", FactKind::RunStarted { deadline: None }),
        ("run.paused", FactKind::RunPaused { number: 3, caller: person() }),
        ("run.paused-bare", FactKind::RunPaused { number: 3, caller: Caller::HOST }),
        ("run.resumed", FactKind::RunResumed { number: 3, caller: person() }),
        ("run.cancelling", cancelling(CancelCause::Request, person())),
        ("run.cancelling-deadline", cancelling(CancelCause::Deadline, Caller::HOST)),
        ("run.retried", retried(Some(at(7200)), person())),
        ("run.retried-bare", retried(None, Caller::HOST)),
        ("run.succeeded", well(RunStatus::Succeeded)),
        ("run.succeeded_with_faults", well(RunStatus::SucceededWithFaults)),
        ("run.failed", ended(RunStatus::Failed)),
        ("run.timed_out", ended(RunStatus::TimedOut)),
        ("run.cancelled", ended(RunStatus::Cancelled)),
    ]
}

fn of_its_actions() -> Vec<(&'static str, FactKind)> {
    let error = || ErrorInfo::new("auth.password", "the password is wrong");
    let (of, by, delivery) = (of(), || Some(owner()), Delivery::new(2, 0, 1));
    let cancelling = |caller| FactKind::ActionCancelling { of, reason: "it hangs".into(), caller };
    let skipped = |reason| FactKind::ActionSkipped { action: ActionIndex(2), reason };
    let unattempted = ActionAt { action: ActionIndex(3), attempt: 0 };
    vec![
        ("action.ready", FactKind::ActionReady { action: ActionIndex(1) }),
        ("action.queued", FactKind::ActionQueued { of, issue: 0 }),
        ("action.unserved", unserved()),
        ("action.started", FactKind::ActionStarted { of, delivery, owner: owner(), fence: 3 }),
        ("action.leased", FactKind::ActionLeased { of, until: at(9), renewal: 1 }),
        ("action.lapsed", FactKind::ActionLapsed { of }),
        ("action.lost", FactKind::ActionLost { of, delivery }),
        ("action.not_lost", FactKind::ActionNotLost { of, delivery }),
        ("action.progressed", progressed(delivery)),
        ("action.checkpointed", FactKind::ActionCheckpointed { of, number: 1, checkpoint: json!({ "rows": 3 }) }),
        ("action.handed_back", FactKind::ActionHandedBack { of, issue: 72_182 }),
        ("action.succeeded", FactKind::ActionSucceeded { of, by: by(), output: json!({ "rows": 3 }) }),
        ("action.succeeded-bare", FactKind::ActionSucceeded { of, by: None, output: json!(null) }),
        ("action.retrying", FactKind::ActionRetrying { of, by: by(), error: error(), retry_at: at(60) }),
        ("action.failed", FactKind::ActionFailed { of, by: by(), error: error(), allowed: true }),
        ("action.timed_out", FactKind::ActionTimedOut { of, by: None, error: error(), allowed: false }),
        ("action.skipped", skipped(SkipReason::Trigger)),
        ("action.skipped-condition", skipped(SkipReason::Condition)),
        ("action.cancelled", cancelled(of, None, None)),
        ("action.cancelled-by", cancelled(of, Some(agent()), None)),
        ("action.cancelled-unattempted", cancelled(unattempted, None, None)),
        ("action.cancelling", cancelling(person())),
        ("action.cancelling-bare", cancelling(Caller::HOST)),
        ("action.cancelled-killed", cancelled(of, None, Some(ErrorInfo::new("killed", "it hangs")))),
    ]
}

fn progressed(delivery: Delivery) -> FactKind {
    let progress = Progress { percent: Some(12.5), message: Some("reading".into()) };
    FactKind::ActionProgressed { of: of(), delivery, number: 0, progress }
}

fn cancelled(of: ActionAt, agent: Option<AgentId>, error: Option<ErrorInfo>) -> FactKind {
    FactKind::ActionCancelled { of, agent, error, allowed: false }
}

fn unserved() -> FactKind {
    FactKind::ActionUnserved {
        of: of(),
        pool: PoolName::new("linux-gpu").expect("a name"),
        since: at(3),
        last: Delivery::new(2, 0, 0),
    }
}

/// Fails to compile when a kind is added: give it a sample above, then name it here.
#[expect(dead_code, reason = "it is for the compiler")]
fn every_kind_has_a_sample(kind: &FactKind) {
    match kind {
        FactKind::RunStarted { .. }
        | FactKind::RunPaused { .. }
        | FactKind::RunResumed { .. }
        | FactKind::RunCancelling { .. }
        | FactKind::RunRetried { .. }
        | FactKind::RunFinished { .. }
        | FactKind::ActionReady { .. }
        | FactKind::ActionQueued { .. }
        | FactKind::ActionUnserved { .. }
        | FactKind::ActionLeased { .. }
        | FactKind::ActionLapsed { .. }
        | FactKind::ActionStarted { .. }
        | FactKind::ActionProgressed { .. }
        | FactKind::ActionLost { .. }
        | FactKind::ActionNotLost { .. }
        | FactKind::ActionCheckpointed { .. }
        | FactKind::ActionHandedBack { .. }
        | FactKind::ActionSucceeded { .. }
        | FactKind::ActionRetrying { .. }
        | FactKind::ActionFailed { .. }
        | FactKind::ActionTimedOut { .. }
        | FactKind::ActionSkipped { .. }
        | FactKind::ActionCancelling { .. }
        | FactKind::ActionCancelled { .. } => {}
    }
}
