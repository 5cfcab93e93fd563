//! Submitting runs and waiting for their ends.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use futures::StreamExt;
use futures::stream;
use serde_json::Value;
use uuid::Uuid;
use windlass_contract::message::{InboxMessage, MESSAGE_VERSION, encode};
use windlass_domain::caller::Caller;
use windlass_domain::definition::Definition;
use windlass_domain::ids::RunId;
use windlass_domain::run::{Input, Origin, Run, RunStatus};
use windlass_engine::Ports;
use windlass_engine::ports::{Outgoing, QueueName};

/// No run takes longer than this.
const PATIENCE: Duration = Duration::from_mins(2);

/// Submits that many runs, so many in flight at once; gives how long each took from its submission to its end.
pub(super) async fn submit(
    ports: &Ports,
    definition: &Definition,
    runs: usize,
    in_flight: usize,
) -> anyhow::Result<Vec<Duration>> {
    let one = |_| run_one(ports, definition);
    let ended: Vec<anyhow::Result<Duration>> =
        stream::iter(0..runs).map(one).buffer_unordered(in_flight).collect().await;
    ended.into_iter().collect()
}

async fn run_one(ports: &Ports, definition: &Definition) -> anyhow::Result<Duration> {
    let began = Instant::now();
    let id = RunId::from_uuid(Uuid::now_v7());
    let run = Run::submitted(
        id,
        (definition.task.clone(), 1),
        definition.actions.len(),
        Value::Null,
        Origin::Request,
        ports.clock.now(),
    );
    ports.runs.create(&run, &[], &[]).await?;
    let start = encode(&InboxMessage::Run { v: MESSAGE_VERSION, run: id, caller: Caller::HOST, input: Input::Start });
    ports.queues.send(&QueueName::Inbox, vec![Outgoing::now(start)]).await?;
    let ended = wait(ports, id).await?;
    if ended.status != RunStatus::Succeeded {
        bail!("run {id} ended {}", ended.status.as_str());
    }
    Ok(began.elapsed())
}

async fn wait(ports: &Ports, id: RunId) -> anyhow::Result<Run> {
    let deadline = Instant::now() + PATIENCE;
    let mut revision = 0;
    while let Some(left) = deadline.checked_duration_since(Instant::now()) {
        let run = ports.runs.changed(id, revision, left).await?.context("the run has vanished")?;
        if run.status.is_final() {
            return Ok(run);
        }
        revision = run.revision;
    }
    bail!("run {id} has not ended within {PATIENCE:?}")
}
