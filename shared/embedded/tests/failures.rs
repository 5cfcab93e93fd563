//! A fault of the file gives an error with its code, and no acknowledged write is lost.

use std::fs;
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;
use std::task::Poll;
use std::time::Duration;

use rusqlite::Connection;
use tempfile::TempDir;
use windlass_domain::ids::PoolName;
use windlass_domain::limits::MAX_MESSAGE_BYTES;
use windlass_embedded::{FILE_NAME, OpenError, Role, Store};
use windlass_engine::ports::{Agents, ErrorClass, Outgoing, PortError, QueueName, Queues};

const VISIBILITY: Duration = Duration::from_secs(30);
/// How long a message that no reader holds may take to come.
const PATIENCE: Duration = Duration::from_secs(20);

fn folder() -> TempDir {
    TempDir::new().expect("a temporary folder can be made")
}

fn open(folder: &Path) -> Result<Store, OpenError> {
    Store::open(folder, Role::Host)
}

fn code(result: Result<Store, OpenError>) -> Option<&'static str> {
    result.err().map(|error| error.code())
}

fn large(number: usize) -> Vec<Outgoing> {
    vec![Outgoing::now(format!("{number:0>60000}"))]
}

/// How many messages the inbox has. Receives them all, and hands them back.
async fn inbox(store: &Store) -> Result<usize, PortError> {
    let mut receipts = Vec::new();
    loop {
        let received = store.receive(&QueueName::Inbox, 10, VISIBILITY, Duration::ZERO).await?;
        if received.is_empty() {
            break;
        }
        receipts.extend(received.into_iter().map(|delivery| delivery.receipt));
    }
    for receipt in &receipts {
        store.extend(&QueueName::Inbox, vec![(receipt.clone(), Duration::ZERO)]).await?;
    }
    Ok(receipts.len())
}

#[tokio::test(flavor = "multi_thread")]
async fn full_disk_refuses_writes_until_room_exists() {
    const BOUND: u64 = 2 * 1024 * 1024;
    let folder = folder();
    let store = Store::open_bounded(folder.path(), Role::Host, BOUND).expect("the folder is empty");
    let mut sent = 0;
    let refused = loop {
        match store.send(&QueueName::Inbox, large(sent)).await {
            Ok(()) => sent += 1,
            Err(error) => break error,
        }
        assert!(sent < 100, "the bound holds");
    };
    assert_eq!((refused.class, refused.code), (ErrorClass::Retry, "WL0303"), "{refused}");
    assert!(sent > 5, "there was room for {sent} messages");
    let failing = store.failing();
    assert_eq!(failing.borrow().as_ref().map(|error| error.code), Some("WL0303"));
    assert_eq!(inbox(&store).await.expect("what needs no room goes on"), sent);
    assert!(failing.borrow().is_none(), "something was written since");

    let received = store.receive(&QueueName::Inbox, 2, VISIBILITY, Duration::ZERO).await.expect("it can be read");
    let receipts = received.into_iter().map(|delivery| delivery.receipt).collect();
    store.delete(&QueueName::Inbox, receipts).await.expect("what frees room goes on");
    store.send(&QueueName::Inbox, large(sent)).await.expect("there is room again");
    store.check().await.expect("the file is sound");
    drop(store);
    let store = open(folder.path()).expect("the file is sound");
    assert_eq!(inbox(&store).await.expect("it can be read"), sent - 1);
}

/// The writer refuses a batch that meets a full disk as a whole, and each of its requests gets the error.
#[tokio::test(flavor = "multi_thread")]
async fn full_disk_refuses_each_request_of_batch() {
    let folder = folder();
    let store = Store::open_bounded(folder.path(), Role::Host, 1024 * 1024).expect("the folder is empty");
    let sends = (0..50).map(|number| {
        let store = store.clone();
        tokio::spawn(async move { store.send(&QueueName::Inbox, large(number)).await })
    });
    let mut sent = 0;
    for send in sends.collect::<Vec<_>>() {
        match send.await.expect("no caller panics") {
            Ok(()) => sent += 1,
            Err(error) => assert_eq!((error.class, error.code), (ErrorClass::Retry, "WL0303"), "{error}"),
        }
    }
    assert_eq!(inbox(&store).await.expect("it can be read"), sent);
}

#[tokio::test]
async fn dropped_receive_loses_no_message() {
    let folder = folder();
    let store = open(folder.path()).expect("the folder is empty");
    let queue = QueueName::Pool(PoolName::default());
    for round in 0..50 {
        let wait = Duration::from_secs(20);
        let gone = tokio::time::timeout(Duration::from_micros(round * 40), store.receive(&queue, 1, VISIBILITY, wait));
        let (gone, sent) = tokio::join!(gone, store.send(&queue, vec![Outgoing::now(round.to_string())]));
        sent.expect("it can be written");
        let received = match gone {
            Ok(received) => received,
            Err(_) => store.receive(&queue, 1, VISIBILITY, PATIENCE).await,
        };
        let received = received.expect("it can be read").pop().expect("the message is not held by one who has gone");
        assert_eq!((received.body.as_str(), received.receive_count), (round.to_string().as_str(), 1));
        store.delete(&queue, vec![received.receipt]).await.expect("it can be written");
    }
}

#[tokio::test]
async fn receive_dropped_before_waking_loses_no_message() {
    let folder = folder();
    let store = open(folder.path()).expect("the folder is empty");
    let queue = QueueName::Pool(PoolName::default());
    // The writer may be so quick that the first poll has the message: then that was no case of this, and the next is.
    loop {
        store.send(&queue, vec![Outgoing::now("one".to_owned())]).await.expect("it can be written");
        let mut receiving = Box::pin(store.receive(&queue, 1, VISIBILITY, Duration::from_secs(20)));
        let Poll::Ready(received) = futures::poll!(receiving.as_mut()) else {
            // The writer has one thread: once this is answered, so is the receive.
            assert_eq!(store.extend(&queue, Vec::new()).await.expect("it can be written"), []);
            break;
        };
        let receipts = received.expect("it can be read").into_iter().map(|delivery| delivery.receipt).collect();
        store.delete(&queue, receipts).await.expect("it can be written");
    }
    let received = store.receive(&queue, 1, VISIBILITY, PATIENCE).await.expect("it can be read").pop();
    assert_eq!(received.map(|delivery| delivery.receive_count), Some(1));
}

#[test]
fn a_file_that_is_no_database_is_refused() {
    let folder = folder();
    fs::write(folder.path().join(FILE_NAME), "not a database, but longer than a header ".repeat(10))
        .expect("it is ours");
    assert_eq!(code(open(folder.path())), Some("WL0305"));
}

#[test]
fn a_database_of_another_program_is_refused() {
    let folder = folder();
    let other = Connection::open(folder.path().join(FILE_NAME)).expect("it can be made");
    other.execute_batch("CREATE TABLE notes (text TEXT)").expect("it can be written");
    assert_eq!(code(open(folder.path())), Some("WL0312"));
    let tables: i64 = other.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).expect("it is sound");
    assert_eq!(tables, 1, "it is left as it was");
}

#[test]
fn a_file_of_a_later_version_is_refused() {
    let folder = folder();
    drop(open(folder.path()).expect("the folder is empty"));
    let file = Connection::open(folder.path().join(FILE_NAME)).expect("it is there");
    file.pragma_update(None, "user_version", 99).expect("it can be written");
    drop(file);
    let refused = open(folder.path()).err().expect("it is of a later version");
    assert_eq!(refused.code(), "WL0313");
    assert!(matches!(refused, OpenError::Newer { found: 99, .. }), "{refused}");
}

#[tokio::test]
async fn a_damaged_file_is_found() {
    let folder = folder();
    drop(open(folder.path()).expect("the folder is empty"));
    let path = folder.path().join(FILE_NAME);
    let pages = || fs::metadata(&path).expect("it is there").len() / 4096;
    let of_tables = pages();
    let store = open(folder.path()).expect("it is ours");
    for number in 0..20 {
        store.send(&QueueName::Inbox, large(number)).await.expect("it can be written");
    }
    store.check().await.expect("the file is sound");
    drop(store);
    damage(&path, of_tables..pages());
    // Opening does not read the whole file; a read of a damaged page says so.
    let store = open(folder.path()).expect("its first pages are sound");
    let found = store.check().await.expect_err("it is damaged");
    assert_eq!((found.class, found.code), (ErrorClass::Bug, "WL0305"), "{found}");
    let told = store.failing().borrow().as_ref().map(|error| error.code);
    assert_eq!(told, Some("WL0305"), "a read that meets the damage says so");
    drop(store);
    damage(&path, 2..pages());
    assert_eq!(code(open(folder.path())), Some("WL0305"), "the time of the file cannot be read");
}

/// Something overwrites the file, or cuts its log, while a host has it open.
#[tokio::test]
async fn damage_of_an_open_file_is_told_by_the_first_read() {
    for is_log in [false, true] {
        let folder = folder();
        let store = open(folder.path()).expect("the folder is empty");
        for number in 0..20 {
            store.send(&QueueName::Inbox, large(number)).await.expect("it can be written");
        }
        if !is_log {
            drop(store);
            let store = open(folder.path()).expect("it is ours");
            let path = folder.path().join(FILE_NAME);
            damage(&path, 2..fs::metadata(&path).expect("there").len() / 4096);
            store.check().await.expect_err("it is damaged");
            assert_eq!(store.failing().borrow().as_ref().map(|error| error.code), Some("WL0305"));
            continue;
        }
        let log = folder.path().join(format!("{FILE_NAME}-wal"));
        fs::File::options().write(true).open(&log).and_then(|log| log.set_len(0)).expect("cut");
        // A reader with its own connection finds nothing in the log; one that has it mapped meets its end.
        let read = store.check().await;
        let told = store.failing().borrow().as_ref().map(|error| error.code);
        assert_eq!(told.is_some(), read.is_err(), "{read:?} {told:?}");
    }
}

fn damage(path: &Path, pages: std::ops::Range<u64>) {
    let mut file = fs::File::options().write(true).open(path).expect("it is there");
    for page in pages {
        file.seek(SeekFrom::Start(page * 4096)).expect("it is a file");
        file.write_all(&[0xa5; 64]).expect("it can be written");
    }
}

#[tokio::test]
async fn a_message_over_its_limit_is_refused() {
    let folder = folder();
    let store = open(folder.path()).expect("the folder is empty");
    let too_large = vec![Outgoing::now("x".repeat(MAX_MESSAGE_BYTES + 1))];
    let refused = store.send(&QueueName::Inbox, too_large).await.expect_err("it is too large");
    assert_eq!((refused.class, refused.code), (ErrorClass::Reject, "WL0314"), "{refused}");
}

/// Another process that writes for longer than a statement waits.
#[tokio::test(flavor = "multi_thread")]
async fn locked_file_refuses_until_it_is_free() {
    let folder = folder();
    let store = open(folder.path()).expect("the folder is empty");
    let other = Connection::open(folder.path().join(FILE_NAME)).expect("it is there");
    other.execute_batch("BEGIN IMMEDIATE").expect("nobody writes");
    let refused = store.send(&QueueName::Inbox, large(0)).await.expect_err("another process writes");
    assert_eq!((refused.class, refused.code), (ErrorClass::Retry, "WL0301"), "{refused}");
    other.execute_batch("ROLLBACK").expect("it is ours");
    store.send(&QueueName::Inbox, large(0)).await.expect("it is free");
}

/// Its reader gets it all the same, and buries it.
#[tokio::test]
async fn message_that_is_no_text_holds_up_no_other() {
    let folder = folder();
    let store = open(folder.path()).expect("the folder is empty");
    let send = async || store.send(&QueueName::Inbox, large(0)).await.expect("it can be written");
    send().await;
    let other = Connection::open(folder.path().join(FILE_NAME)).expect("it is there");
    for body in ["x'ff00'", "CAST(x'ff' AS TEXT)"] {
        other.execute_batch(&format!("UPDATE messages SET body = {body} WHERE body LIKE '%0'")).expect("it is there");
        send().await;
    }
    assert_eq!(inbox(&store).await, Ok(3));
}

#[tokio::test]
async fn unreadable_record_is_named() {
    let folder = folder();
    let store = open(folder.path()).expect("the folder is empty");
    let other = Connection::open(folder.path().join(FILE_NAME)).expect("it is there");
    other.execute_batch("INSERT INTO agents VALUES ('agent-1', 'no JSON')").expect("it can be written");
    let told = Agents::list(&store).await.expect_err("it can not be read");
    assert_eq!((told.class, told.code), (ErrorClass::Bug, "WL0316"), "{told}");
    assert!(told.message.contains("an agent"), "{told}");
}

#[test]
fn folder_that_cannot_be_made_is_named() {
    let folder = folder();
    let path = folder.path().join("file");
    fs::write(&path, "").expect("it can be written");
    let refused = open(&path.join("data")).err().expect("a file stands in its way");
    assert_eq!(refused.code(), "WL0310");
    assert!(refused.to_string().contains("file/data"), "{refused}");
}

#[cfg(unix)]
#[test]
fn a_folder_is_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let folder = folder();
    let path = folder.path().join("a/b");
    drop(open(&path).expect("it can be made"));
    let mode = fs::metadata(&path).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
}

#[cfg(unix)]
#[test]
fn file_and_log_are_private_to_their_owner() {
    use std::os::unix::fs::PermissionsExt;
    let folder = folder();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("it is ours");
    let _store = open(folder.path()).expect("the folder is empty");
    for name in [FILE_NAME.to_owned(), format!("{FILE_NAME}-wal"), format!("{FILE_NAME}-shm")] {
        let mode = fs::metadata(folder.path().join(&name)).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}

#[test]
fn a_clean_end_leaves_no_log_behind() {
    let folder = folder();
    drop(open(folder.path()).expect("the folder is empty"));
    let mut names: Vec<_> =
        fs::read_dir(folder.path()).expect("it is there").flatten().map(|file| file.file_name()).collect();
    names.sort();
    assert_eq!(names, ["host.lock", FILE_NAME]);
}
