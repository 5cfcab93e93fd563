//! Runs and values of the largest size.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use windlass_domain::ids::ActionIndex;
use windlass_domain::limits::MAX_ACTIONS;
use windlass_domain::run::{ActionAt, ActionStatus, ErrorInfo, FactKind, Run, RunStatus};
use windlass_domain::time::Timestamp;
use windlass_engine::Ports;
use windlass_engine::ports::Created;

use super::steps::{changed, fresh_run, fresh_task, load, queued};
use crate::conformance::{Fault, Timing, Verdict, holds, same};

/// Values of any size that is allowed: a host may keep large ones apart from the record.
pub(super) async fn large_values_are_read_as_they_were_committed(ports: Ports, _: Timing) -> Verdict {
    let text = |of: usize, bytes: usize| -> Value {
        (0..bytes)
            .map(|at| char::from(b'a' + u8::try_from((at * at + of) % 26).unwrap_or(0)))
            .collect::<String>()
            .into()
    };
    let input = json!({ "text": text(1, 100_000) });
    let mut run = Run { input, ..fresh_run(&ports, &fresh_task(), 4) };
    ports.runs.create(&run, &[], &[]).await?;
    same("the run", load(&ports, run.id).await?, run.clone())?;
    for (action, bytes) in [100, 1022, 1023, 120_000].into_iter().enumerate() {
        let after = queued(&run, ports.clock.now(), action);
        ports.runs.commit(&run, &after, &[]).await?;
        run = succeeded(&after, ports.clock.now(), &[action], &text(action, bytes));
        ports.runs.commit(&after, &run, &[]).await?;
        same("the run", load(&ports, run.id).await?, run.clone())?;
    }
    let (status, output) = (RunStatus::Failed, Some(text(7, 100_000)));
    let error = ErrorInfo::new("exit.1", text(8, 8000).to_string());
    let last = FactKind::RunFinished { status, output, error: Some(error) };
    let after = changed(&run, ports.clock.now(), vec![last]);
    ports.runs.commit(&run, &after, &[]).await?;
    same("the run", load(&ports, run.id).await?, after)
}

fn succeeded(before: &Run, at: Timestamp, actions: &[usize], output: &Value) -> Run {
    let kind = |action: &usize| FactKind::ActionSucceeded {
        of: ActionAt { action: ActionIndex::from_usize(*action), attempt: 1 },
        by: None,
        output: output.clone(),
    };
    changed(before, at, actions.iter().map(kind).collect())
}

/// Some writers, each with actions of its own all over a run of the largest size, and readers in between. No write is
/// lost, and every reader sees the state of one revision.
pub(super) async fn many_writers_of_a_large_run_lose_nothing(ports: Ports, _: Timing) -> Verdict {
    const WRITERS: usize = 4;
    const COMMITS: usize = 6;
    const AT_ONCE: usize = 60;
    let queued = |action| FactKind::ActionQueued {
        of: ActionAt { action: ActionIndex::from_usize(action), attempt: 1 },
        issue: 0,
    };
    let run = fresh_run(&ports, &fresh_task(), MAX_ACTIONS);
    let run = changed(&run, ports.clock.now(), (0..MAX_ACTIONS).map(queued).collect());
    same("its creation", ports.runs.create(&run, &[], &[]).await?, Created::New)?;
    let id = run.id;
    let writers = (0..WRITERS).map(|writer| {
        let ports = ports.clone();
        tokio::spawn(async move {
            for commit in 0..COMMITS {
                // Spread over all pages, and each action is of one commit of one writer.
                let first = writer * COMMITS + commit;
                let actions: Vec<usize> = (0..AT_ONCE).map(|at| (at * 163 + first * 7) % (MAX_ACTIONS - 1)).collect();
                loop {
                    let before = load(&ports, id).await?;
                    let output = json!({ "writer": writer, "revision": before.revision + 1 });
                    let after = succeeded(&before, ports.clock.now(), &actions, &output);
                    match ports.runs.commit(&before, &after, &[]).await {
                        Err(error) if error.is_conflict() => {}
                        other => break other.map_err(Fault::from)?,
                    }
                }
                let read = load(&ports, id).await?;
                let is_whole = actions.iter().all(|at| {
                    let state = read.action(ActionIndex::from_usize(*at));
                    state.output.as_ref().is_some_and(|output| output["revision"] == state.revision)
                });
                holds("what was committed is read, each action as one revision left it", is_whole)?;
            }
            Ok::<(), Fault>(())
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.map_err(|error| Fault(error.to_string()))??;
    }
    let found = load(&ports, id).await?;
    same("the revision", found.revision, 1 + (WRITERS * COMMITS) as u64)?;
    let written: BTreeSet<usize> = (0..WRITERS * COMMITS)
        .flat_map(|first| (0..AT_ONCE).map(move |at| (at * 163 + first * 7) % (MAX_ACTIONS - 1)))
        .collect();
    let is_as_expected = found.actions.iter().enumerate().all(|(at, state)| {
        let expected = if written.contains(&at) { ActionStatus::Succeeded } else { ActionStatus::Queued };
        state.status == expected
    });
    holds("every action is as the last commit left it", is_as_expected)
}
