//! The steps of the cases of runs: they make fresh runs and advance them.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tokio::time::sleep;
use uuid::Uuid;
use windlass_contract::event::{EVENT_VERSION, PublicEvent};
use windlass_domain::ids::{ActionIndex, RunId, TaskName, derive};
use windlass_domain::run::{ActionAt, Fact, FactKind, Origin, Run, RunStatus, apply};
use windlass_domain::time::Timestamp;
use windlass_engine::Ports;

use crate::conformance::{Books, Fault, Timing, fresh_name, some};

pub(in crate::conformance) fn fresh_task() -> TaskName {
    TaskName::new(&fresh_name("task")).expect("the name has only letters, digits and dashes")
}

pub(in crate::conformance) fn fresh_run(ports: &Ports, task: &TaskName, actions: usize) -> Run {
    let id = RunId::from_uuid(derive(&[&fresh_name("run")]));
    let input = json!({ "day": "today", "text": "žluťoučký \"🐎\"\n" });
    let run = Run::submitted(id, (task.clone(), 1), actions, input, Origin::Request, ports.clock.now());
    Run { wake_at: None, ..run }
}

/// The run with these changes, as a commit would make it.
pub(in crate::conformance) fn changed(before: &Run, at: Timestamp, changes: Vec<FactKind>) -> Run {
    let mut after = before.clone();
    for kind in changes {
        apply(&mut after, &Fact::told(at, kind));
    }
    after.revision += 1;
    after
}

pub(in crate::conformance) fn event(run: &Run, number: usize) -> PublicEvent {
    PublicEvent {
        v: EVENT_VERSION,
        id: Uuid::from_u128(u128::try_from(number).unwrap_or(0)),
        kind: "action.progressed".to_owned(),
        time: run.submitted_at.to_string(),
        run: run.id,
        task: run.task.clone(),
        version: run.version,
        labels: BTreeMap::from([("client".to_owned(), "acme".to_owned())]),
        action: None,
        attempt: None,
        data: json!({ "number": number }),
    }
}

pub(in crate::conformance) fn started(before: &Run, at: Timestamp) -> Run {
    changed(before, at, vec![FactKind::RunStarted { deadline: None }])
}

pub(in crate::conformance) fn queued(before: &Run, at: Timestamp, action: usize) -> Run {
    let of = ActionAt { action: ActionIndex::from_usize(action), attempt: 1 };
    changed(before, at, vec![FactKind::ActionQueued { of, issue: 0 }])
}

pub(in crate::conformance) fn finished(before: &Run, at: Timestamp, output: &Value) -> Run {
    let (status, output) = (RunStatus::Succeeded, Some(output.clone()));
    changed(before, at, vec![FactKind::RunFinished { status, output, error: None }])
}

pub(in crate::conformance) async fn load(ports: &Ports, id: RunId) -> Result<Run, Fault> {
    some("the run", ports.runs.load(&id).await?)
}

/// Waits until indexes show what was written.
pub(in crate::conformance) async fn books_follow(timing: Timing) {
    match timing.books {
        Books::AtOnce => {}
        Books::Behind => sleep(timing.prompt).await,
    }
}
