//! The promise of the keeper of schedules: it keeps for each task the last schedule, and no other.
//!
//! The port has no call that reads its schedules, so the caller of the suite gives them, in words of its own.

use windlass_domain::definition::{CatchUp, Overlap, Schedule, ScheduleRule};
use windlass_domain::ids::TaskName;
use windlass_domain::time::Millis;
use windlass_engine::Ports;

use super::{Fault, Verdict, fresh_name, holds, same};

/// The suite of `Schedules`. `kept` gives the host's schedule of a task, in any form in which two schedules differ.
///
/// # Panics
/// If the host breaks a promise.
pub async fn schedules(ports: &Ports, kept: impl AsyncFn(&TaskName) -> Option<String>) {
    let verdicts = [
        ("the_schedule_put_last_is_kept", the_schedule_put_last_is_kept(ports, &kept).await),
        ("a_schedule_that_is_removed_can_be_put_again", removed_and_put_again(ports, &kept).await),
        ("tasks_have_schedules_of_their_own", tasks_have_schedules_of_their_own(ports, &kept).await),
        ("concurrent_puts_leave_one", concurrent_puts_leave_one(ports, &kept).await),
    ];
    let faults = verdicts.into_iter().filter_map(|(name, verdict)| Some(format!("{name}: {}", verdict.err()?.0)));
    let faults: Vec<_> = faults.collect();
    assert!(faults.is_empty(), "schedules: {} cases failed\n{}", faults.len(), faults.join("\n"));
}

fn fresh_task() -> TaskName {
    TaskName::new(&fresh_name("scheduled")).expect("the name has only letters, digits and dashes")
}

fn daily() -> Schedule {
    Schedule {
        rule: ScheduleRule::Cron("30 2 * * MON-FRI".to_owned()),
        timezone: "Europe/Berlin".to_owned(),
        overlap: Overlap::default(),
        catch_up: CatchUp::default(),
    }
}

fn every(minutes: u64) -> Schedule {
    Schedule { rule: ScheduleRule::Every(Millis::from_secs(60 * minutes)), timezone: "UTC".to_owned(), ..daily() }
}

async fn put(ports: &Ports, task: &TaskName, schedule: &Schedule) -> Verdict {
    holds("the schedule can be kept", ports.schedules.check(schedule).is_ok())?;
    Ok(ports.schedules.put(task, schedule, ports.clock.now()).await?)
}

async fn the_schedule_put_last_is_kept(ports: &Ports, kept: impl AsyncFn(&TaskName) -> Option<String>) -> Verdict {
    let task = fresh_task();
    same("before the first put", kept(&task).await, None)?;
    let mut seen: Vec<String> = Vec::new();
    let elsewhere = Schedule { timezone: "America/New_York".to_owned(), ..daily() };
    let patient = Schedule { catch_up: CatchUp(Millis::from_secs(7200)), ..daily() };
    for schedule in [daily(), elsewhere, patient, every(1), every(90), every(2880)] {
        put(ports, &task, &schedule).await?;
        let first = super::some("what is kept", kept(&task).await)?;
        holds("it is not one of those before", !seen.contains(&first))?;
        put(ports, &task, &schedule).await?;
        same("what is kept after the same again", kept(&task).await.as_ref(), Some(&first))?;
        seen.push(first);
    }
    put(ports, &task, &daily()).await?;
    same("the first one again", kept(&task).await.as_ref(), seen.first())?;
    Ok(ports.schedules.remove(&task).await?)
}

async fn removed_and_put_again(ports: &Ports, kept: impl AsyncFn(&TaskName) -> Option<String>) -> Verdict {
    let task = fresh_task();
    ports.schedules.remove(&task).await?;
    put(ports, &task, &daily()).await?;
    ports.schedules.remove(&task).await?;
    ports.schedules.remove(&task).await?;
    same("after the removal", kept(&task).await, None)?;
    put(ports, &task, &daily()).await?;
    holds("it is back", kept(&task).await.is_some())?;
    Ok(ports.schedules.remove(&task).await?)
}

async fn tasks_have_schedules_of_their_own(ports: &Ports, kept: impl AsyncFn(&TaskName) -> Option<String>) -> Verdict {
    let (one, other) = (fresh_task(), fresh_task());
    put(ports, &one, &daily()).await?;
    put(ports, &other, &every(5)).await?;
    ports.schedules.remove(&one).await?;
    same("the one", kept(&one).await, None)?;
    holds("the other is kept", kept(&other).await.is_some())?;
    Ok(ports.schedules.remove(&other).await?)
}

async fn concurrent_puts_leave_one(ports: &Ports, kept: impl AsyncFn(&TaskName) -> Option<String>) -> Verdict {
    let task = fresh_task();
    let puts = (1..=8).map(|minutes| {
        let (ports, task) = (ports.clone(), task.clone());
        tokio::spawn(async move { ports.schedules.put(&task, &every(minutes), ports.clock.now()).await })
    });
    for put in puts.collect::<Vec<_>>() {
        match put.await.map_err(|error| Fault(error.to_string()))? {
            Ok(()) => {}
            Err(error) => holds("it is a conflict", error.is_conflict())?,
        }
    }
    holds("one is kept", kept(&task).await.is_some())?;
    Ok(ports.schedules.remove(&task).await?)
}
