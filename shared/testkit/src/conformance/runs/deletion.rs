//! Runs that are deleted.

use serde_json::json;
use windlass_domain::limits::ACTIONS_PER_PAGE;
use windlass_engine::Ports;
use windlass_engine::ports::{Created, RunFilter};

use super::steps::{event, finished, fresh_run, fresh_task, load, started};
use crate::conformance::{Timing, Verdict, conflicts, holds, same};

/// A run is gone with all that belongs to it, whatever its size, and a new one may have its id.
pub(super) async fn deleted_run_is_gone_and_its_id_is_free(ports: Ports, _: Timing) -> Verdict {
    for actions in [1, 10 * ACTIONS_PER_PAGE + 3] {
        let run = fresh_run(&ports, &fresh_task(), actions);
        ports.runs.create(&run, &[event(&run, 0)], &[]).await?;
        let begun = started(&run, ports.clock.now());
        ports.runs.commit(&run, &begun, &[event(&run, 1)]).await?;
        let ended = finished(&begun, ports.clock.now(), &json!("done"));
        ports.runs.commit(&begun, &ended, &[event(&run, 2)]).await?;

        same("the deletion", ports.runs.delete_run(&ended).await?, true)?;
        same("the run", ports.runs.load(&run.id).await?, None)?;
        holds("it is in no list", ports.runs.list(&filter(&run.task)).await?.runs.is_empty())?;
        same("its events", ports.runs.events(run.id, None, 10).await?, Vec::new())?;
        same("a second deletion", ports.runs.delete_run(&ended).await?, false)?;
        let late = started(&ended, ports.clock.now());
        conflicts("a commit to a run that is gone", ports.runs.commit(&ended, &late, &[]).await)?;

        let mut again = fresh_run(&ports, &run.task, actions);
        (again.id, again.submitted_at) = (run.id, ports.clock.now());
        // A clock of milliseconds may not have moved on.
        again.submitted_at = again.submitted_at.max(run.submitted_at.plus(windlass_domain::time::Millis(1)));
        same("a new run of that id", ports.runs.create(&again, &[], &[]).await?, Created::New)?;
        same("the new run", load(&ports, run.id).await?, again.clone())?;
        let mut last = started(&again, ports.clock.now());
        last.revision = ended.revision;
        ports.runs.commit(&again, &last, &[]).await?;
        same("the new run at the revision of the old one", load(&ports, run.id).await?, last)?;
    }
    Ok(())
}

/// Somebody has retried the run since: it stays.
pub(super) async fn run_that_has_changed_is_not_deleted(ports: Ports, _: Timing) -> Verdict {
    let run = fresh_run(&ports, &fresh_task(), 2);
    ports.runs.create(&run, &[], &[]).await?;
    let ended = finished(&run, ports.clock.now(), &json!(1));
    ports.runs.commit(&run, &ended, &[]).await?;
    let begun = started(&ended, ports.clock.now());
    ports.runs.commit(&ended, &begun, &[]).await?;
    same("the deletion", ports.runs.delete_run(&ended).await?, false)?;
    same("the run", load(&ports, run.id).await?, begun)
}

fn filter(task: &windlass_domain::ids::TaskName) -> RunFilter {
    RunFilter { task: Some(task.clone()), status: None, cursor: None, limit: 10 }
}
