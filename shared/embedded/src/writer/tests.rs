//! The writer by itself.

use std::fs::File;

use windlass_engine::ports::ErrorClass;

use super::*;
use crate::database::{Purpose, connect};
use crate::error::NOT_SYNCED;

/// Connections to a file, one to write and one to read, and its clock.
fn file(path: &std::path::Path) -> (Connection, Connection, FileClock) {
    let mut connection = crate::database::open_or_make(path, true).expect("a file");
    let clock = FileClock::start(&mut connection, Arc::new(crate::SystemClock)).expect("it can be written");
    (connection, connect(path, Purpose::Read).expect("it is there"), clock)
}

fn start(path: &std::path::Path, log: File, condition: &Arc<Condition>) -> (Writer, WriterThreads) {
    let (connection, reading, clock) = file(path);
    let meter = Arc::<Meter>::default();
    let syncer = Syncer::new(Box::new(move || log.sync_data()), reading, meter.clone(), condition.clone());
    let condition = (condition.clone(), OpenFiles::default());
    Writer::start(connection, syncer, clock, meter, Arc::default(), condition).expect("threads")
}

/// Requests that write nothing say nothing about the disk, so the writer tries by itself.
#[test]
fn failing_disk_is_tried_again_by_itself() {
    let folder = tempfile::tempdir().expect("a folder");
    let (connection, _, clock) = file(&folder.path().join("store"));
    let (to_sync, _unsynced) = channel();
    let condition = (Arc::default(), OpenFiles::default());
    let mut worker = Worker::new(connection, to_sync, clock, Arc::default(), Arc::default(), condition);
    let (requests, waiting) = channel();
    let ask = || {
        let (reply, _) = oneshot::channel::<Result<(), PortError>>();
        let work = |_: &mut Session<'_>| Ok(());
        let answer = |_: Result<(), PortError>, _: oneshot::Sender<_>| ();
        let durability = Durability::Ordered;
        let asked: Box<dyn Request> =
            Box::new(Asked { durability, droppable: false, work, result: None, reply, answer });
        requests.send(asked).expect("it is waited for");
    };
    let full = PortError::new(ErrorClass::Retry, "WL0303", "write: the disk is full");
    worker.condition.failed(&full);
    ask();
    assert!(worker.next(&waiting).is_some());
    assert_eq!(worker.condition.failing.borrow().as_ref(), Some(&full), "it was tried just now");
    worker.tried = Instant::now().checked_sub(TRY_EVERY).expect("this machine runs for longer than that");
    ask();
    assert!(worker.next(&waiting).is_some());
    assert_eq!(*worker.condition.failing.borrow(), None);
    worker.connection.execute_batch("PRAGMA query_only = ON").expect("a switch");
    worker.tried = Instant::now().checked_sub(TRY_EVERY).expect("this machine runs for longer than that");
    ask();
    assert!(worker.next(&waiting).is_some());
    assert!(worker.condition.failing.borrow().is_some());
}

/// What a host accepts after that would be gone with it.
#[test]
fn store_that_is_taken_away_takes_nothing_further() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("store");
    let (connection, _, clock) = file(&path);
    let (to_sync, _unsynced) = channel();
    let condition = (Arc::default(), OpenFiles::at([path.clone()]).expect("there"));
    let mut worker = Worker::new(connection, to_sync, clock, Arc::default(), Arc::default(), condition);
    let long_ago = Instant::now().checked_sub(TRY_EVERY).expect("this machine runs for longer than that");
    worker.looked = long_ago;
    worker.look_for_files();
    assert_eq!(worker.condition.why_broken(), None);
    std::fs::remove_file(&path).expect("removed");
    worker.look_for_files();
    assert_eq!(worker.condition.why_broken(), None, "it looked just now");
    worker.looked = long_ago;
    worker.look_for_files();
    let why = worker.condition.why_broken().expect("it is noticed");
    assert_eq!(why.code, "WL0317");
    assert!(why.to_string().ends_with("store was removed or replaced under it"), "{why}");
    assert!(worker.condition.stays());
}

/// The device takes a write and cannot sync it (EINVAL).
#[tokio::test]
async fn every_write_after_a_failed_sync_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let wal = File::options().write(true).open("/dev/full").expect("every Linux has it");
    let condition = Arc::<Condition>::default();
    let mut told = condition.broken.subscribe();
    let (writer, threads) = start(&folder.path().join("store"), wal, &condition);
    let nothing = |_: &mut Session<'_>| Ok(());
    writer.write(Durability::Ordered, nothing).await.expect("it needs no sync");
    assert!(told.borrow().is_none());
    let failed = writer.write(Durability::Synced, nothing).await.expect_err("it is not durable");
    assert_eq!((failed.class, failed.code), (ErrorClass::Retry, NOT_SYNCED));
    let reason = told.wait_for(Option::is_some).await.expect("told").clone().expect("told");
    assert_eq!(reason.code, NOT_SYNCED);
    assert_eq!(condition.failing.borrow().as_ref().map(|error| error.code), Some(NOT_SYNCED));
    for durability in [Durability::Ordered, Durability::Synced] {
        assert_eq!(writer.write(durability, nothing).await.expect_err("refused").code, NOT_SYNCED);
    }
    drop(writer);
    threads.join();
}

#[tokio::test]
async fn request_to_an_ended_writer_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("store");
    let log = File::create(folder.path().join("log")).expect("a file");
    let condition = Arc::<Condition>::default();
    let mut told = condition.broken.subscribe();
    let (writer, _threads) = start(&path, log, &condition);
    for is_fault in [true, false] {
        let work = move |_: &mut Session<'_>| {
            assert!(!is_fault, "by intent of the test");
            Ok(())
        };
        let closed = writer.write(Durability::Ordered, work).await.expect_err("the writer has ended");
        assert_eq!((closed.class, closed.code), (ErrorClass::Retry, "WL0307"));
    }
    let reason = told.wait_for(Option::is_some).await.expect("told").clone().expect("told");
    assert_eq!(reason.code, "WL0318", "a host without its writer ends");
    assert!(reason.to_string().contains("windlass-write"), "{reason}");
}
