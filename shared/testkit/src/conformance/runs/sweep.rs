//! The store's promise to the sweeper: it forgets no run that is due or that no process writes to.

use serde_json::Value;
use tokio::time::sleep;
use windlass_domain::ids::RunId;
use windlass_domain::limits::MAX_DELAY_MS;
use windlass_domain::run::Run;
use windlass_domain::time::{Millis, Timestamp};
use windlass_engine::Ports;

use super::steps::{books_follow, finished, fresh_run, fresh_task, started};
use crate::conformance::{Books, Fault, Timing, Verdict, holds, same};

/// Of these runs, the ones that are stale.
async fn stale(ports: &Ports, runs: &[&Run], now: Timestamp, untouched_since: Timestamp) -> Result<Vec<RunId>, Fault> {
    let found = ports.runs.stale(now, untouched_since, 10_000).await?;
    Ok(runs.iter().map(|run| run.id).filter(|id| found.contains(id)).collect())
}

const LONG_AGO: Timestamp = Timestamp::from_millis(0);

pub(super) async fn due_run_is_stale(ports: Ports, timing: Timing) -> Verdict {
    let (task, now) = (fresh_task(), ports.clock.now());
    // Where books are behind, a message wakes a run that is due earlier.
    let far = match timing.books {
        Books::AtOnce => Millis(0),
        Books::Behind => Millis(MAX_DELAY_MS + 60_000),
    };
    let at = |ms: u64| now.plus(far).plus(Millis(ms));
    let due = Run { wake_at: Some(at(0)), ..fresh_run(&ports, &task, 1) };
    let later = Run { wake_at: Some(at(60_000)), ..fresh_run(&ports, &task, 1) };
    let never = fresh_run(&ports, &task, 1);
    for run in [&due, &later, &never] {
        ports.runs.create(run, &[], &[]).await?;
    }
    books_follow(timing).await;
    let all = [&due, &later, &never];
    let before = Timestamp::from_millis(at(0).as_millis() - 1);
    same("before", stale(&ports, &all, before, LONG_AGO).await?, Vec::new())?;
    same("at its time", stale(&ports, &all, at(0), LONG_AGO).await?, vec![due.id])?;
    if timing.books == Books::AtOnce {
        same("one of two", ports.runs.stale(at(60_000), LONG_AGO, 1).await?.len(), 1)?;
        same("after both", stale(&ports, &all, at(60_000), LONG_AGO).await?, vec![due.id, later.id])?;
    } else {
        same("after both, if one was handed out", stale(&ports, &all, at(60_000), LONG_AGO).await?, vec![later.id])?;
        let again = at(60_000 + MAX_DELAY_MS);
        same("one of two", ports.runs.stale(again, LONG_AGO, 1).await?.len(), 1)?;
    }
    let woken = Run { wake_at: Some(at(1_800_000)), ..started(&due, now) };
    ports.runs.commit(&due, &woken, &[]).await?;
    books_follow(timing).await;
    same("once it has been woken", stale(&ports, &[&due], at(1_799_999), LONG_AGO).await?, Vec::new())?;
    let ended = finished(&woken, now, &Value::Null);
    ports.runs.commit(&woken, &ended, &[]).await?;
    books_follow(timing).await;
    same("once it has ended", stale(&ports, &[&due], at(9_000_000), LONG_AGO).await?, Vec::new())
}

/// A run whose agents write to it all the time has timers all the same.
pub(super) async fn run_written_all_the_time_is_woken(ports: Ports, timing: Timing) -> Verdict {
    let (task, now) = (fresh_task(), ports.clock.now());
    let submitted_at = Timestamp::from_millis(now.as_millis() - 600_000);
    let mut run = Run { submitted_at, ..fresh_run(&ports, &task, 1) };
    ports.runs.create(&run, &[], &[]).await?;
    for wake_at in [now.plus(Millis(3_600_000)), now, now] {
        let written = Run { wake_at: Some(wake_at), ..started(&run, ports.clock.now()) };
        ports.runs.commit(&run, &written, &[]).await?;
        run = written;
    }
    books_follow(timing).await;
    // Timers may be kept by the minute.
    same("within a minute", stale(&ports, &[&run], now.plus(Millis(60_000)), LONG_AGO).await?, vec![run.id])
}

pub(super) async fn untouched_run_is_stale(ports: Ports, timing: Timing) -> Verdict {
    if timing.books == Books::Behind {
        // The sweeper looks for a run once it is two minutes old. The next case passes another time for that.
        return Ok(());
    }
    let task = fresh_task();
    let (idle, busy) = (fresh_run(&ports, &task, 1), fresh_run(&ports, &task, 1));
    ports.runs.create(&idle, &[], &[]).await?;
    ports.runs.create(&busy, &[], &[]).await?;
    let all = [&idle, &busy];
    sleep(timing.prompt).await;
    let since = ports.clock.now();
    sleep(timing.prompt).await;
    same("both", stale(&ports, &all, LONG_AGO, since).await?, vec![idle.id, busy.id])?;
    same("one of two", ports.runs.stale(LONG_AGO, since, 1).await?.len(), 1)?;
    let touched = started(&busy, ports.clock.now());
    ports.runs.commit(&busy, &touched, &[]).await?;
    same("the one that nothing touched", stale(&ports, &all, LONG_AGO, since).await?, vec![idle.id])?;
    let ended = finished(&idle, ports.clock.now(), &Value::Null);
    ports.runs.commit(&idle, &ended, &[]).await?;
    let later = ports.clock.now().plus(Millis(60_000));
    same("of those that are open", stale(&ports, &all, LONG_AGO, later).await?, vec![busy.id])
}

/// As the sweeper asks, minute by minute: the store hands out a run without writes when it is two minutes old, then
/// again and again. Each host may choose how often, as long as it is within 15 minutes.
pub(super) async fn untouched_run_is_handed_out_now_and_then(ports: Ports, timing: Timing) -> Verdict {
    const MINUTE: u64 = 60_000;
    let task = fresh_task();
    let (idle, ended) = (fresh_run(&ports, &task, 1), fresh_run(&ports, &task, 1));
    ports.runs.create(&idle, &[], &[]).await?;
    ports.runs.create(&ended, &[], &[]).await?;
    ports.runs.commit(&ended, &finished(&ended, ports.clock.now(), &Value::Null), &[]).await?;
    books_follow(timing).await;
    let (created, mut rounds) = (ports.clock.now(), Vec::new());
    for minute in 1..30 {
        let now = created.plus(Millis(minute * MINUTE));
        let untouched_since = Timestamp::from_millis(now.as_millis() - 120_000);
        let found = stale(&ports, &[&idle, &ended], now, untouched_since).await?;
        holds("a run that has ended is not handed out", !found.contains(&ended.id))?;
        rounds.extend(found.contains(&idle.id).then_some(minute));
    }
    holds("it is not handed out while it is young", rounds.first().is_some_and(|first| (2..=4).contains(first)))?;
    let gaps = rounds.iter().zip(rounds.iter().skip(1)).map(|(one, next)| next - one);
    holds("it is handed out at least each 15 minutes", gaps.max().is_some_and(|longest| longest <= 16))?;
    ports.runs.commit(&idle, &finished(&idle, ports.clock.now(), &Value::Null), &[]).await?;
    Ok(())
}
