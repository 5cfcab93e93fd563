//! Runs of the largest size.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use windlass_domain::content::Place;
use windlass_domain::ids::ActionIndex;
use windlass_domain::limits::MAX_ACTIONS;
use windlass_domain::run::{ActionAt, ActionStatus, FactKind, Run};
use windlass_domain::time::Timestamp;
use windlass_engine::Ports;
use windlass_engine::ports::Created;

use super::steps::{changed, fresh_run, fresh_task, load};
use crate::conformance::{Fault, Timing, Verdict, holds, same};

pub(super) fn succeeded(before: &Run, at: Timestamp, actions: &[usize], output: &Value) -> Run {
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
                    let at = ActionIndex::from_usize(*at);
                    read.value(Place::Output(at)).is_some_and(|output| output["revision"] == read.action(at).revision)
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
