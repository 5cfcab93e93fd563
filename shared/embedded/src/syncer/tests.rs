//! A slow disk and a failing one: the store answers only with data on the disk.

use std::future::Future;
use std::sync::mpsc::{Sender, channel};
use std::task::Poll;

use serde_json::{Value, json};
use tempfile::TempDir;
use windlass_contract::event::PublicEvent;
use windlass_domain::ids::{PoolName, RunId, TaskName};
use windlass_domain::run::{Origin, Run};
use windlass_domain::time::Timestamp;
use windlass_engine::ports::{
    Created, ErrorClass, Outgoing, PutTask, QueueName, Queues, Records, RunFilter, Runs, TaskRecord, Tasks,
};

use super::*;
use crate::store::Surroundings;
use crate::{Role, Store};

const NOW: Timestamp = Timestamp::from_millis(1_774_747_800_000);

/// A store whose disk syncs each time that the test lets it.
fn slow() -> (TempDir, Store, Sender<()>) {
    let (let_go, gate) = channel();
    let sync_log: SyncLog = Box::new(move || gate.recv().map_err(std::io::Error::other));
    let (folder, store) = on(sync_log);
    (folder, store, let_go)
}

fn on(sync_log: SyncLog) -> (TempDir, Store) {
    let folder = tempfile::tempdir().expect("a folder");
    let surroundings = Surroundings { sync_log: Some(sync_log), ..Surroundings::default() };
    let store = Store::open_with(folder.path(), Role::Host, None, surroundings).expect("the folder is empty");
    (folder, store)
}

fn task() -> TaskName {
    TaskName::new("t").expect("a name")
}

fn pool() -> QueueName {
    QueueName::Pool(PoolName::default())
}

fn run() -> Run {
    Run::submitted(RunId::from_key(&task(), "a key"), (task(), 1), 1, Value::Null, Origin::Request, NOW)
}

/// Polls until readers see the commit, which is not on the disk by then.
async fn commit_without_sync<T>(store: &Store, table: &str, mut writing: std::pin::Pin<Box<impl Future<Output = T>>>) {
    let sql = format!("SELECT count(*) FROM {table}");
    for _ in 0..10_000 {
        assert!(futures::poll!(writing.as_mut()).is_pending(), "the disk has not synced yet");
        let count = |connection: &Connection| Ok(connection.query_row(&sql, [], |row| row.get::<_, i64>(0))?);
        if store.readers().read(count).expect("it can be read") > 0 {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    panic!("it is never committed");
}

/// Checks that the store answers `asked` only after the disk has synced.
async fn check<T>(asked: impl Future<Output = T>, let_go: &Sender<()>) -> T {
    let mut asked = Box::pin(asked);
    for _ in 0..50 {
        assert!(matches!(futures::poll!(asked.as_mut()), Poll::Pending), "it is answered before the sync");
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    // One for the writer, one for the reader.
    for _ in 0..2 {
        let_go.send(()).expect("the disk waits");
    }
    asked.await
}

#[tokio::test]
async fn a_repeated_submit_waits_for_the_sync() {
    let (_folder, store, let_go) = slow();
    let first = run();
    commit_without_sync(&store, "runs", Box::pin(store.create(&first, &[], &[]))).await;
    let found =
        check(Records::<Run>::load(&store, &first.id), &let_go).await.expect("it can be read").expect("it is recorded");
    assert_eq!(found.id, first.id);

    let (_folder, store, let_go) = slow();
    commit_without_sync(&store, "runs", Box::pin(store.create(&first, &[], &[]))).await;
    let created = check(store.create(&first, &[], &[]), &let_go).await.expect("it can be read");
    assert_eq!(created, Created::Existing);
}

#[tokio::test]
async fn a_refused_commit_waits_for_the_sync() {
    let (_folder, store, let_go) = slow();
    let first = run();
    commit_without_sync(&store, "runs", Box::pin(store.create(&first, &[], &[]))).await;
    let stale = Run { revision: 7, ..first.clone() };
    let refused = check(store.commit(&stale, &stale, &[]), &let_go).await.expect_err("the revision is another");
    assert!(refused.is_conflict(), "{refused}");
}

#[tokio::test]
async fn every_read_of_a_run_waits_for_sync() {
    let first = run();
    for read in 0..4 {
        let (_folder, store, let_go) = slow();
        let events: [PublicEvent; 0] = [];
        commit_without_sync(&store, "runs", Box::pin(store.create(&first, &events, &[]))).await;
        let reading = async {
            match read {
                0 => Runs::list(&store, &RunFilter::default()).await.map(|page| page.runs.len()),
                1 => store.events(first.id, None, 10).await.map(|events| events.len() + 1),
                2 => store.stale(NOW, Timestamp::from_millis(i64::MAX / 2), 10).await.map(|runs| runs.len()),
                _ => {
                    let at_most = std::time::Duration::ZERO;
                    store.changed(first.id, 0, at_most).await.map(|run| usize::from(run.is_some()))
                }
            }
        };
        assert_eq!(check(reading, &let_go).await.expect("it can be read"), 1, "read {read}");
    }
}

#[tokio::test]
async fn every_read_of_a_task_waits_for_sync() {
    for read in 0..5 {
        let (_folder, store, let_go) = slow();
        let (name, source) = (task(), json!({ "task": "t" }));
        commit_without_sync(&store, "tasks", Box::pin(store.put(&name, &source, Some(NOW), NOW))).await;
        let reading = async {
            match read {
                0 => Records::<TaskRecord>::load(&store, &name).await.map(|record| usize::from(record.is_some())),
                1 => store.version(&name, 1).await.map(|version| usize::from(version.is_some())),
                2 => Tasks::list(&store, None, 10).await.map(|tasks| tasks.len()),
                3 => store.due(NOW, 10).await.map(|tasks| tasks.len()),
                _ => {
                    let put = store.put(&name, &source, Some(NOW), NOW).await;
                    put.map(|put| usize::from(put == PutTask { version: 1, created: false }))
                }
            }
        };
        assert_eq!(check(reading, &let_go).await.expect("it can be read"), 1, "read {read}");
    }
}

/// The cost of the promise: none for data that this process knows to be on the disk.
#[tokio::test]
async fn read_of_synced_record_needs_no_sync() {
    let (_folder, store, let_go) = slow();
    for _ in 0..3 {
        let_go.send(()).expect("the disk waits");
    }
    let (first, name) = (run(), task());
    store.create(&first, &[], &[]).await.expect("it can be written");
    store.put(&name, &json!({ "task": "t" }), None, NOW).await.expect("it can be written");
    Records::<TaskRecord>::load(&store, &name).await.expect("it can be read").expect("it is recorded");
    assert_eq!(store.written().syncs, 2, "the put was synced already");
    // Another commit, which nothing waits for: the disk would not sync any more.
    store.send(&pool(), vec![Outgoing::now("x".to_owned())]).await.expect("it can be written");
    assert!(Records::<Run>::load(&store, &first.id).await.expect("it can be read").is_some());
    assert!(Records::<TaskRecord>::load(&store, &name).await.expect("it can be read").is_some());
    assert_eq!(store.written().syncs, 2);
}

#[tokio::test]
async fn unsynced_record_is_never_answered() {
    let (_folder, store) = on(Box::new(|| Err(std::io::Error::other("by intent of the test"))));
    let first = run();
    store.create(&first, &[], &[]).await.expect_err("it is not on the disk");
    for told in [
        Records::<Run>::load(&store, &first.id).await.map(drop),
        Runs::list(&store, &RunFilter::default()).await.map(drop),
    ] {
        let refused = told.expect_err("it is not on the disk");
        assert_eq!((refused.class, refused.code), (ErrorClass::Retry, crate::error::NOT_SYNCED));
    }
}
