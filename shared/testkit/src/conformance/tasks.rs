//! The promises of the store of tasks: versions that never change, and records that are written conditionally.

use serde_json::{Value, json};
use windlass_domain::ids::TaskName;
use windlass_domain::time::{Millis, Timestamp};
use windlass_engine::Ports;
use windlass_engine::ports::{PortError, PutTask, TaskRecord};

use super::records::records;
use super::runs::steps::fresh_task;
use super::{Case, Fault, Timing, Verdict, cases, holds, run, same, some};

const CASES: &[Case] = cases![
    a_definition_becomes_the_first_version,
    the_same_content_is_the_same_version,
    versions_never_change,
    versions_are_listed_the_newest_first,
    concurrent_puts_of_one_content_make_one_version,
    a_put_keeps_what_the_schedule_knows,
    a_deleted_task_is_gone_until_it_is_put_again,
    a_large_definition_comes_back_whole,
    concurrent_puts_of_many_contents_lose_none,
    lists_are_complete_and_in_order,
];

const DUE_CASES: &[Case] = cases![a_deleted_task_is_not_due, due_task_is_found];

/// The suite of `Tasks`, and of the records of tasks.
pub async fn tasks(make: impl AsyncFn() -> Ports, timing: Timing) {
    records::<TaskRecord>("records of tasks", &make, timing).await;
    run("tasks", CASES, &make, timing).await;
}

/// The suite of the parts of `Tasks` that the engine's own scheduler reads: for hosts that run it.
pub async fn due(make: impl AsyncFn() -> Ports, timing: Timing) {
    run("due", DUE_CASES, make, timing).await;
}

/// Changes the record, as another process would.
async fn write(ports: &Ports, before: &TaskRecord, change: impl FnOnce(&mut TaskRecord)) -> Result<(), PortError> {
    let mut after = TaskRecord { revision: before.revision + 1, ..before.clone() };
    change(&mut after);
    ports.tasks.commit(before, &after, &[]).await
}

async fn put(ports: &Ports, name: &TaskName, source: &Value) -> Result<PutTask, PortError> {
    ports.tasks.put(name, source, None, ports.clock.now()).await
}

async fn record(ports: &Ports, name: &TaskName) -> Result<TaskRecord, Fault> {
    some("the task's record", ports.tasks.load(name).await?)
}

async fn a_definition_becomes_the_first_version(ports: Ports, _: Timing) -> Verdict {
    let name = fresh_task();
    same("a task that does not exist", ports.tasks.load(&name).await?, None)?;
    same("a version that does not exist", ports.tasks.version(&name, 1).await?, None)?;
    let (source, now) = (json!({ "task": "t" }), ports.clock.now());
    let done = ports.tasks.put(&name, &source, Some(now), now).await?;
    same("what became of it", done, PutTask { version: 1, created: true })?;
    let record = record(&ports, &name).await?;
    same("its name", &record.name, &name)?;
    same("its newest version", record.version, 1)?;
    same("its due time", record.next_due, Some(now))?;
    same("when it was written", record.updated_at, now)?;
    let stored = some("the version", ports.tasks.version(&name, 1).await?)?;
    same("the version", (stored.version, stored.source, stored.created_at), (1, source, now))
}

async fn the_same_content_is_the_same_version(ports: Ports, _: Timing) -> Verdict {
    let name = fresh_task();
    let one: Value = serde_json::from_str(r#"{"a": 1, "b": {"c": [1, 2], "d": null}}"#).expect("it is JSON");
    let same_one: Value = serde_json::from_str(r#"{ "b": {"d": null, "c": [1, 2]}, "a": 1 }"#).expect("it is JSON");
    put(&ports, &name, &one).await?;
    same("the same", put(&ports, &name, &same_one).await?, PutTask { version: 1, created: false })?;
    let other = json!({ "a": 1, "b": { "c": [2, 1], "d": null } });
    same("another", put(&ports, &name, &other).await?, PutTask { version: 2, created: true })?;
    same("the one before", put(&ports, &name, &one).await?, PutTask { version: 3, created: true })?;
    same("the newest version", record(&ports, &name).await?.version, 3)
}

async fn versions_are_listed_the_newest_first(ports: Ports, _: Timing) -> Verdict {
    let name = fresh_task();
    same("those of no task", ports.tasks.versions(&name, None, 10).await?, Vec::new())?;
    for number in 1..=12 {
        put(&ports, &name, &json!({ "number": number })).await?;
    }
    let listed = async |below, most| {
        let versions = ports.tasks.versions(&name, below, most).await?;
        Ok::<Vec<_>, PortError>(versions.iter().map(|listed| listed.version).collect())
    };
    same("all", listed(None, 100).await?, (1..=12).rev().collect())?;
    same("a page", listed(None, 5).await?, vec![12, 11, 10, 9, 8])?;
    same("the next page", listed(Some(8), 5).await?, vec![7, 6, 5, 4, 3])?;
    same("the last page", listed(Some(3), 5).await?, vec![2, 1])?;
    for below in [0, 1] {
        same("what is below the first", listed(Some(below), 5).await?, Vec::new())?;
    }
    let first = some("the first", ports.tasks.versions(&name, Some(2), 1).await?.first().copied())?;
    let stored = some("the version", ports.tasks.version(&name, 1).await?)?;
    same("its time", first.created_at, stored.created_at)
}

async fn versions_never_change(ports: Ports, _: Timing) -> Verdict {
    let name = fresh_task();
    for number in 1..=5 {
        put(&ports, &name, &json!({ "number": number })).await?;
    }
    for number in 1..=5 {
        let stored = some("the version", ports.tasks.version(&name, number).await?)?;
        same("its content", stored.source, json!({ "number": number }))?;
    }
    same("a version that does not exist", ports.tasks.version(&name, 6).await?, None)
}

async fn concurrent_puts_of_one_content_make_one_version(ports: Ports, _: Timing) -> Verdict {
    let name = fresh_task();
    let puts = (0..10).map(|_| {
        let (ports, name) = (ports.clone(), name.clone());
        tokio::spawn(async move { put(&ports, &name, &json!({ "a": 1 })).await })
    });
    let mut created = 0;
    for put in puts.collect::<Vec<_>>() {
        match put.await.map_err(|error| Fault(error.to_string()))? {
            Ok(done) => {
                same("the version", done.version, 1)?;
                created += u32::from(done.created);
            }
            // An adapter without transactions may say that another put came first.
            Err(error) => holds("it is a conflict", error.is_conflict())?,
        }
    }
    same("how many made it", created, 1)
}

async fn a_put_keeps_what_the_schedule_knows(ports: Ports, _: Timing) -> Verdict {
    let name = fresh_task();
    put(&ports, &name, &json!({ "a": 1 })).await?;
    let due = ports.clock.now();
    let read = record(&ports, &name).await?;
    write(&ports, &read, |record| record.waiting = vec![due]).await?;
    ports.tasks.put(&name, &json!({ "a": 2 }), Some(due), ports.clock.now()).await?;
    let stored = record(&ports, &name).await?;
    same("what waits for its turn", stored.waiting, vec![due])?;
    same("the due time is the put's", stored.next_due, Some(due))?;
    holds("the revision grows", stored.revision > read.revision + 1)
}

async fn a_deleted_task_is_gone_until_it_is_put_again(ports: Ports, _: Timing) -> Verdict {
    let name = fresh_task();
    let (source, now) = (json!({ "a": 1 }), ports.clock.now());
    ports.tasks.put(&name, &source, Some(now), now).await?;
    let read = record(&ports, &name).await?;
    write(&ports, &read, |record| record.deleted = true).await?;
    holds("its record says so", record(&ports, &name).await?.deleted)?;
    holds("it is not listed", !listed(&ports).await?.contains(&name))?;
    holds("its version is there", ports.tasks.version(&name, 1).await?.is_some())?;
    let done = ports.tasks.put(&name, &source, None, now).await?;
    same("the same content is the same version", done, PutTask { version: 1, created: false })?;
    holds("it is back", !record(&ports, &name).await?.deleted && listed(&ports).await?.contains(&name))
}

async fn a_deleted_task_is_not_due(ports: Ports, _: Timing) -> Verdict {
    let name = fresh_task();
    let now = ports.clock.now();
    ports.tasks.put(&name, &json!({}), Some(now), now).await?;
    let read = record(&ports, &name).await?;
    write(&ports, &read, |record| record.deleted = true).await?;
    let due = ports.tasks.due(now, 1000).await?;
    holds("it is not due", due.iter().all(|due| due.record.name != name))
}

/// A definition of 10,000 actions, or one whose text no packing makes smaller.
async fn a_large_definition_comes_back_whole(ports: Ports, _: Timing) -> Verdict {
    let actions = (0..10_000).map(|number| (format!("action-{number}"), json!({ "exec": ["echo", number] })));
    let wide = json!({ "task": "wide", "actions": actions.collect::<serde_json::Map<_, _>>() });
    for source in [wide, json!({ "task": "dense", "description": dense_text(1_000_000) })] {
        let name = fresh_task();
        same("what became of it", put(&ports, &name, &source).await?, PutTask { version: 1, created: true })?;
        same("the same again", put(&ports, &name, &source).await?, PutTask { version: 1, created: false })?;
        let stored = some("the version", ports.tasks.version(&name, 1).await?)?;
        holds("it comes back as it was put", stored.source == source)?;
    }
    Ok(())
}

/// Letters that do not repeat themselves, by a linear congruential generator (Knuth's MMIX).
fn dense_text(bytes: usize) -> String {
    let mut state = 1u64;
    let letter = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(b'!' + u8::try_from((state >> 33) % 90).unwrap_or(0))
    };
    (0..bytes).map(letter).collect()
}

async fn concurrent_puts_of_many_contents_lose_none(ports: Ports, _: Timing) -> Verdict {
    let name = fresh_task();
    let puts = (0..10).map(|number| {
        let (ports, name) = (ports.clone(), name.clone());
        tokio::spawn(async move { (number, put(&ports, &name, &json!({ "number": number })).await) })
    });
    let mut made = Vec::new();
    for put in puts.collect::<Vec<_>>() {
        match put.await.map_err(|error| Fault(error.to_string()))? {
            (number, Ok(done)) => made.push((done, number)),
            (_, Err(error)) => holds("it is a conflict", error.is_conflict())?,
        }
    }
    made.sort_by_key(|(done, _)| done.version);
    let versions: Vec<_> = made.iter().map(|(done, _)| done.version).collect();
    same("their versions", &versions, &(1..).take(made.len()).collect())?;
    for (done, number) in made {
        let stored = some("the version", ports.tasks.version(&name, done.version).await?)?;
        same("its content", stored.source, json!({ "number": number }))?;
    }
    same("the newest version", Some(&record(&ports, &name).await?.version), versions.last())
}

async fn due_task_is_found(ports: Ports, _: Timing) -> Verdict {
    // Long ago, so that no other task of a shared host is due as early.
    let base = Timestamp::from_millis(i64::try_from(super::fresh_number()).unwrap_or(0) * 1_000_000 + 1);
    let (early, late, never) = (fresh_task(), fresh_task(), fresh_task());
    let (early_at, late_at) = (base, base.plus(Millis(10)));
    for (name, due) in [(&late, Some(late_at)), (&early, Some(early_at)), (&never, None)] {
        ports.tasks.put(name, &json!({}), due, ports.clock.now()).await?;
    }
    let due = |now: Timestamp| {
        let ours = [early.clone(), late.clone(), never.clone()];
        let ports = ports.clone();
        async move {
            let due = ports.tasks.due(now, 1000).await?;
            let due = due.into_iter().filter(|due| ours.contains(&due.record.name));
            Ok::<_, PortError>(due.map(|due| (due.record.name, due.due)).collect::<Vec<_>>())
        }
    };
    same("before", due(Timestamp::from_millis(base.as_millis() - 1)).await?, Vec::new())?;
    same("at the first", due(base).await?, vec![(early.clone(), early_at)])?;
    same("later, the earliest first", due(late_at).await?, vec![(early.clone(), early_at), (late.clone(), late_at)])?;
    let earliest = some("the earliest due time", ports.tasks.earliest_due().await?)?;
    holds("nothing is due before the earliest", earliest <= early_at)?;
    same("no more than asked for", ports.tasks.due(late_at, 1).await?.len(), 1)?;
    for name in [early, late] {
        let read = record(&ports, &name).await?;
        write(&ports, &read, |record| record.next_due = None).await?;
    }
    Ok(())
}

async fn listed(ports: &Ports) -> Result<Vec<TaskName>, PortError> {
    let mut names: Vec<TaskName> = Vec::new();
    loop {
        let page = ports.tasks.list(names.last(), 3).await?;
        if page.is_empty() {
            return Ok(names);
        }
        names.extend(page.into_iter().map(|record| record.name));
    }
}

async fn lists_are_complete_and_in_order(ports: Ports, _: Timing) -> Verdict {
    let mut ours: Vec<TaskName> = (0..8).map(|_| fresh_task()).collect();
    for name in ours.iter().rev() {
        put(&ports, name, &json!({})).await?;
    }
    let found = listed(&ports).await?;
    holds("by name, none twice", found.is_sorted_by(|one, next| one < next))?;
    ours.sort();
    same("all of them", found.into_iter().filter(|name| ours.contains(name)).collect(), ours.clone())
}
