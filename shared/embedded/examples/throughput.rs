//! Measures the store alone, without the engine: the durable writes of one process.
//!
//! `cargo run --release -p windlass-embedded --example throughput [FOLDER]`; the folder should be on the disk to
//! measure.
#![expect(clippy::print_stdout, reason = "a measurement is for the terminal")]

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use uuid::Uuid;
use windlass_contract::event::{EVENT_VERSION, PublicEvent};
use windlass_domain::ids::{ActionIndex, PoolName, RunId, TaskName};
use windlass_domain::run::{ActionAt, Fact, FactKind, Origin, Run, apply};
use windlass_domain::time::Timestamp;
use windlass_embedded::{Role, Store, Written};
use windlass_engine::ports::{Outgoing, PortError, QueueName, Queues, Records, Runs};

const CALLERS: usize = 50;
const SECONDS: u64 = 4;
const VISIBILITY: Duration = Duration::from_secs(30);
const BATCH: usize = 10;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = match std::env::args_os().nth(1) {
        Some(folder) => PathBuf::from(folder),
        None => std::env::temp_dir().join(format!("windlass-throughput-{}", std::process::id())),
    };
    let store = Store::open(&folder, Role::Host)?;
    println!(
        "{:>34} {:>10} {:>9} {:>9} {:>9} {:>8} {:>6}",
        "", "a second", "rows/s", "syncs/s", "commits/s", "WAL B/op", "busy"
    );
    measure(&store, "inbox: send, receive, delete", CALLERS, |store, caller, turn| async move {
        queue_turn(&store, &QueueName::Inbox, caller * 1_000_000 + turn).await
    })
    .await?;
    measure(&store, "pool: send, receive, delete", CALLERS, |store, caller, turn| async move {
        let queue = QueueName::Pool(PoolName::default());
        queue_turn(&store, &queue, caller * 1_000_000 + turn).await
    })
    .await?;
    measure_commits(&store).await?;
    measure_actions(&store, CALLERS).await?;
    measure_one(&store).await?;
    let stats = store.stats().await?;
    println!("file {} KiB, log {} KiB, messages {:?}", stats.file_bytes / 1024, stats.wal_bytes / 1024, stats.messages);
    drop(store);
    std::fs::remove_dir_all(folder)?;
    Ok(())
}

/// Lets callers take turns for some seconds, and prints their counts.
async fn measure<F>(
    store: &Store,
    what: &str,
    callers: usize,
    turn: impl Fn(Store, usize, usize) -> F + Send + Sync + 'static,
) -> Result<(), PortError>
where
    F: Future<Output = Result<usize, PortError>> + Send,
{
    let turn = Arc::new(turn);
    let (before, began) = (store.written(), Instant::now());
    let end = began + Duration::from_secs(SECONDS);
    let callers: Vec<_> = (0..callers)
        .map(|caller| {
            let (store, turn) = (store.clone(), turn.clone());
            tokio::spawn(async move {
                let (mut turns, mut done) = (0, 0);
                while Instant::now() < end {
                    done += turn(store.clone(), caller, turns).await?;
                    turns += 1;
                }
                Ok::<_, PortError>(done)
            })
        })
        .collect();
    let mut done = 0;
    for caller in callers {
        done += caller.await.expect("no caller panics")?;
    }
    report(what, done, began.elapsed(), before, store.written());
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn report(what: &str, done: usize, took: Duration, before: Written, after: Written) {
    let a_second = |count: u64| count as f64 / took.as_secs_f64();
    let wal = (after.wal_bytes - before.wal_bytes) as f64 / (done as f64).max(1.0);
    let busy = a_second(after.busy_micros - before.busy_micros) / 10_000.0;
    println!(
        "{what:>34} {:>10.0} {:>9.0} {:>9.0} {:>9.0} {wal:>8.0} {busy:>5.0}%",
        done as f64 / took.as_secs_f64(),
        a_second(after.rows - before.rows),
        a_second(after.syncs - before.syncs),
        a_second(after.commits - before.commits),
    );
}

/// Ten single sends, one receive, one delete: what ten actions cost one queue.
async fn queue_turn(store: &Store, queue: &QueueName, number: usize) -> Result<usize, PortError> {
    let body = |at: usize| message(number * BATCH + at);
    let sends = (0..BATCH).map(|at| store.send(queue, vec![Outgoing::now(body(at))]));
    futures::future::try_join_all(sends).await?;
    drain(store, queue).await?;
    Ok(BATCH)
}

async fn drain(store: &Store, queue: &QueueName) -> Result<(), PortError> {
    let received = store.receive(queue, BATCH, VISIBILITY, Duration::ZERO).await?;
    store.delete(queue, received.into_iter().map(|delivery| delivery.receipt).collect()).await
}

/// A message of the usual size.
fn message(number: usize) -> String {
    json!({ "v": 1, "type": "run", "run": Uuid::from_u128(number as u128), "input": { "type": "completed",
        "of": { "action": 3, "attempt": 1 }, "agent": "agent-0123456789abcdef", "started_at": 1_800_000_000_000_u64,
        "outcome": { "result": "succeeded", "output": { "rows": number } } } })
    .to_string()
}

async fn measure_commits(store: &Store) -> Result<(), PortError> {
    measure(store, "commits of runs, with two events", CALLERS, |store, caller, turn| async move {
        let mut run = new_run(caller * 1_000_000 + turn);
        store.create(&run, &[], &[]).await?;
        for action in 0..BATCH {
            run = commit(&store, &run, action).await?;
        }
        Ok(BATCH)
    })
    .await
}

/// Measures the cost of an action in the store: its message to the pool, its report to the inbox, a commit of its run.
async fn measure_actions(store: &Store, callers: usize) -> Result<(), PortError> {
    measure(store, "whole actions", callers, |store, caller, turn| async move {
        let pool = QueueName::Pool(PoolName::default());
        let mut run = new_run((caller + 1000) * 1_000_000 + turn);
        store.create(&run, &[], &[]).await?;
        for action in 0..BATCH {
            let loaded: Run = store.load(&run.id).await?.expect("the run has been created");
            run = commit(&store, &loaded, action).await?;
            store.send(&pool, vec![Outgoing::now(message(turn))]).await?;
            store.send(&QueueName::Inbox, vec![Outgoing::now(message(turn))]).await?;
        }
        drain(&store, &pool).await?;
        drain(&store, &QueueName::Inbox).await?;
        Ok(BATCH)
    })
    .await
}

/// One caller: submit, start, perform, report, finish.
async fn measure_one(store: &Store) -> Result<(), PortError> {
    const TURNS: usize = 500;
    let pool = QueueName::Pool(PoolName::default());
    for queue in [&pool, &QueueName::Inbox] {
        store.remove(queue).await?;
    }
    let mut took = Vec::with_capacity(TURNS);
    for turn in 0..TURNS {
        let began = Instant::now();
        let run = new_run(900_000_000 + turn);
        let performed = async {
            let received = store.receive(&pool, BATCH, VISIBILITY, VISIBILITY).await?;
            store.send(&QueueName::Inbox, vec![Outgoing::now(message(turn))]).await?;
            store.delete(&pool, received.into_iter().map(|delivery| delivery.receipt).collect()).await
        };
        let decided = async {
            store.create(&run, &[], &[]).await?;
            store.send(&QueueName::Inbox, vec![Outgoing::now(message(turn))]).await?;
            let mut run = run.clone();
            for action in 0..2 {
                let received = store.receive(&QueueName::Inbox, BATCH, VISIBILITY, VISIBILITY).await?;
                let loaded: Run = store.load(&run.id).await?.expect("the run has been created");
                run = commit(store, &loaded, action).await?;
                if action == 0 {
                    store.send(&pool, vec![Outgoing::now(message(turn))]).await?;
                } else {
                    took.push(began.elapsed());
                }
                let receipts = received.into_iter().map(|delivery| delivery.receipt).collect();
                store.delete(&QueueName::Inbox, receipts).await?;
            }
            Ok(())
        };
        futures::try_join!(performed, decided)?;
    }
    took.sort_unstable();
    println!("one action, from submit to done: p50 {:?}, p99 {:?}", took[TURNS / 2], took[TURNS * 99 / 100]);
    Ok(())
}

fn new_run(number: usize) -> Run {
    let task = TaskName::new("nightly-report").expect("it is a name");
    let id = RunId::from_uuid(Uuid::from_u128((number as u128) << 32));
    Run::submitted(id, (task, 1), BATCH, json!({ "day": "today" }), Origin::Request, Timestamp::from_millis(0))
}

async fn commit(store: &Store, before: &Run, action: usize) -> Result<Run, PortError> {
    let mut after = before.clone();
    let of = ActionAt { action: ActionIndex::from_usize(action), attempt: 1 };
    apply(&mut after, &Fact::told(Timestamp::from_millis(0), FactKind::ActionQueued { of, issue: 0 }));
    after.revision += 1;
    store.commit(before, &after, &[event(before), event(before)]).await?;
    Ok(after)
}

fn event(run: &Run) -> PublicEvent {
    PublicEvent {
        v: EVENT_VERSION,
        id: run.id.as_uuid(),
        kind: "action.succeeded".to_owned(),
        time: run.submitted_at.to_string(),
        run: run.id,
        task: run.task.clone(),
        version: run.version,
        labels: std::collections::BTreeMap::new(),
        action: None,
        attempt: Some(1),
        data: json!({ "agent": "agent-0123456789abcdef", "output": { "rows": 1 } }),
    }
}
