//! The promises of the records of aggregates, one suite for every kind: writes that are conditional on the revision.

use async_trait::async_trait;
use serde_json::json;
use windlass_domain::aggregate::Aggregate;
use windlass_domain::run::Run;
use windlass_domain::schedule::TaskRecord;
use windlass_domain::time::{Millis, Timestamp};
use windlass_engine::Ports;
use windlass_engine::ports::Records;

use super::runs::steps::{fresh_run, fresh_task, queued};
use super::{Case, Fault, Timing, Verdict, conflicts, holds, run, same, some};

/// Writers of one record at once.
const WRITERS: usize = 20;

/// A kind of record, as the suite makes and changes it.
#[async_trait]
pub(super) trait Kind: Aggregate {
    fn records(ports: &Ports) -> &dyn Records<Self>;

    /// A record that the host has, as it is read.
    async fn fresh(ports: &Ports) -> Result<Self, Fault>;

    /// The same record under a name that the host does not know.
    fn renamed(&self, ports: &Ports) -> Self;

    /// The record as the commit of that writer makes it.
    fn changed(&self, writer: usize, now: Timestamp) -> Self;

    /// How many writers' changes it has.
    fn changes(&self) -> usize;
}

#[async_trait]
impl Kind for Run {
    fn records(ports: &Ports) -> &dyn Records<Self> {
        ports.runs.as_ref()
    }

    async fn fresh(ports: &Ports) -> Result<Self, Fault> {
        let run = fresh_run(ports, &fresh_task(), WRITERS);
        ports.runs.create(&run, &[], &[]).await?;
        Ok(run)
    }

    fn renamed(&self, ports: &Ports) -> Self {
        Self { id: fresh_run(ports, &fresh_task(), 1).id, ..self.clone() }
    }

    fn changed(&self, writer: usize, now: Timestamp) -> Self {
        queued(self, now, writer)
    }

    fn changes(&self) -> usize {
        self.actions.iter().filter(|action| action.attempt() == 1).count()
    }
}

#[async_trait]
impl Kind for TaskRecord {
    fn records(ports: &Ports) -> &dyn Records<Self> {
        ports.tasks.as_ref()
    }

    async fn fresh(ports: &Ports) -> Result<Self, Fault> {
        let name = fresh_task();
        ports.tasks.put(&name, &json!({}), None, ports.clock.now()).await?;
        some("the record", ports.tasks.load(&name).await?)
    }

    fn renamed(&self, _: &Ports) -> Self {
        Self { name: fresh_task(), ..self.clone() }
    }

    fn changed(&self, writer: usize, now: Timestamp) -> Self {
        let mut after = Self { revision: self.revision + 1, next_due: Some(now), ..self.clone() };
        after.waiting.push(now.plus(Millis(writer as u64)));
        after
    }

    fn changes(&self) -> usize {
        self.waiting.len()
    }
}

/// The suite of `Records`, for one kind.
pub(super) async fn records<K: Kind>(suite: &str, make: impl AsyncFn() -> Ports, timing: Timing) {
    let cases: [Case; 5] = [
        ("unknown_record_is_not_found", |ports, _| Box::pin(unknown_record_is_not_found::<K>(ports))),
        ("commit_is_conditional", |ports, _| Box::pin(commit_is_conditional::<K>(ports))),
        ("commit_of_unknown_record_is_a_conflict", |ports, _| Box::pin(commit_of_unknown_record_conflicts::<K>(ports))),
        ("concurrent_commits_have_one_winner", |ports, _| Box::pin(concurrent_commits_have_one_winner::<K>(ports))),
        ("chain_of_commits_by_many_loses_none", |ports, _| Box::pin(chain_of_commits_loses_none::<K>(ports))),
    ];
    run(suite, &cases, make, timing).await;
}

/// The record as it is read while no writer changes it. A glance that says that it is the newest gives the same.
async fn load<K: Kind>(ports: &Ports, id: &K::Id) -> Result<K, Fault> {
    let loaded = some("the record", K::records(ports).load(id).await?)?;
    let glance = K::records(ports).glance(id).await?;
    holds(
        "a glance is the newest or older",
        glance.record.as_ref().is_none_or(|glance| glance.revision() <= loaded.revision()),
    )?;
    if glance.is_newest {
        same("the glance", glance.record.as_ref(), Some(&loaded))?;
    }
    Ok(loaded)
}

async fn unknown_record_is_not_found<K: Kind>(ports: Ports) -> Verdict {
    let unknown = K::fresh(&ports).await?.renamed(&ports);
    same("an unknown record", K::records(&ports).load(unknown.id()).await?, None)?;
    same("a glance at an unknown record", K::records(&ports).glance(unknown.id()).await?.record, None)
}

async fn commit_is_conditional<K: Kind>(ports: Ports) -> Verdict {
    let (before, records) = (K::fresh(&ports).await?, K::records(&ports));
    let after = before.changed(1, ports.clock.now());
    records.commit(&before, &after, &[]).await?;
    same("the record", load(&ports, before.id()).await?, after.clone())?;
    conflicts("the same commit again", records.commit(&before, &after, &[]).await)?;
    let mut ahead = after.clone();
    ahead.set_revision(after.revision() + 1);
    conflicts("a commit from a revision to come", records.commit(&ahead, &ahead, &[]).await)?;
    let last = after.changed(2, ports.clock.now());
    records.commit(&after, &last, &[]).await?;
    same("the record", load(&ports, before.id()).await?, last)
}

async fn commit_of_unknown_record_conflicts<K: Kind>(ports: Ports) -> Verdict {
    let unknown = K::fresh(&ports).await?.renamed(&ports);
    let after = unknown.changed(1, ports.clock.now());
    conflicts("the commit", K::records(&ports).commit(&unknown, &after, &[]).await)?;
    same("the record", K::records(&ports).load(unknown.id()).await?, None)
}

async fn concurrent_commits_have_one_winner<K: Kind>(ports: Ports) -> Verdict {
    let before = K::fresh(&ports).await?;
    let commits = (0..WRITERS).map(|writer| {
        let (ports, before) = (ports.clone(), before.clone());
        tokio::spawn(async move {
            let after = before.changed(writer, ports.clock.now());
            let done = K::records(&ports).commit(&before, &after, &[]).await;
            (after, done)
        })
    });
    let mut winners = Vec::new();
    for commit in commits.collect::<Vec<_>>() {
        match commit.await.map_err(|error| Fault(error.to_string()))? {
            (after, Ok(())) => winners.push(after),
            (_, lost) => conflicts("a lost commit", lost)?,
        }
    }
    same("winners", winners.len(), 1)?;
    same("the record is the winner's", load(&ports, before.id()).await?, winners.remove(0))
}

/// Each of many writers adds its own change, and reads again after a conflict: the end has all of them.
async fn chain_of_commits_loses_none<K: Kind>(ports: Ports) -> Verdict {
    let fresh = K::fresh(&ports).await?;
    let writers = (0..WRITERS).map(|writer| {
        let (ports, id) = (ports.clone(), fresh.id().clone());
        tokio::spawn(async move {
            loop {
                let before = some("the record", K::records(&ports).load(&id).await?)?;
                let after = before.changed(writer, ports.clock.now());
                match K::records(&ports).commit(&before, &after, &[]).await {
                    Err(error) if error.is_conflict() => {}
                    other => return other.map_err(Fault::from),
                }
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.map_err(|error| Fault(error.to_string()))??;
    }
    let found: K = load(&ports, fresh.id()).await?;
    same("the revision", found.revision(), fresh.revision() + WRITERS as u64)?;
    same("the changes", found.changes(), WRITERS)
}
