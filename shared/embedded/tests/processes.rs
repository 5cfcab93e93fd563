//! Several processes on one data folder: they share queues, and one host at a time decides. A killed process leaves a
//! sound file with every acknowledged write.
//!
//! The children are this test binary itself: it plays the part that the environment names.
#![expect(clippy::print_stdout, reason = "children tell their parent what they have done")]

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use windlass_domain::ids::PoolName;
use windlass_embedded::{OpenError, Role, Store};
use windlass_engine::ports::{Outgoing, QueueName, Queues, Receipt};

const PART: &str = "WINDLASS_TEST_PART";
const FOLDER: &str = "WINDLASS_TEST_FOLDER";
const VISIBILITY: Duration = Duration::from_secs(30);

/// Not a test of its own: the work of a child.
#[tokio::test(flavor = "multi_thread")]
async fn child() {
    let (Ok(part), Ok(folder)) = (std::env::var(PART), std::env::var(FOLDER)) else { return };
    let folder = Path::new(&folder);
    match part.as_str() {
        "echo" => echo(folder).await,
        "write" => write_until_killed(folder).await,
        "host" => hold_as_host(folder),
        other => panic!("there is no part {other}"),
    }
}

fn start(part: &str, folder: &Path) -> (Child, BufReader<ChildStdout>) {
    let mut command = Command::new(std::env::current_exe().expect("a test knows its binary"));
    command.args(["child", "--exact", "--nocapture"]).env(PART, part).env(FOLDER, folder);
    let mut child = command.stdout(Stdio::piped()).spawn().expect("the test binary can be started");
    let output = BufReader::new(child.stdout.take().expect("it is piped"));
    (child, output)
}

/// Lines of the child, without those of the test harness.
fn said(output: BufReader<ChildStdout>) -> impl Iterator<Item = String> {
    output.lines().map_while(Result::ok).filter_map(|line| line.strip_prefix("say ").map(str::to_owned))
}

/// Prints on a line of its own, even if the test harness has begun a line.
fn say(line: &str) {
    println!("\nsay {line}");
    std::io::stdout().flush().expect("the parent listens");
}

fn pool() -> QueueName {
    QueueName::Pool(PoolName::default())
}

/// Sends every message of the pool on to the inbox.
async fn echo(folder: &Path) {
    let store = Store::open(folder, Role::Agent).expect("a host works on it");
    loop {
        let received = store.receive(&pool(), 10, VISIBILITY, VISIBILITY).await.expect("it can be read");
        let bodies = received.iter().map(|delivery| Outgoing::now(delivery.body.clone())).collect();
        store.send(&QueueName::Inbox, bodies).await.expect("it can be written");
        let receipts: Vec<Receipt> = received.into_iter().map(|delivery| delivery.receipt).collect();
        store.delete(&pool(), receipts).await.expect("it can be written");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_and_an_agent_share_queues() {
    let folder = TempDir::new().expect("a temporary folder can be made");
    let host = Store::open(folder.path(), Role::Host).expect("the folder is empty");
    let (mut agent, _output) = start("echo", folder.path());
    let mut expected = BTreeSet::new();
    let mut found = BTreeSet::new();
    let mut slowest = Duration::ZERO;
    for number in 0..60 {
        let began = Instant::now();
        expected.insert(number.to_string());
        host.send(&pool(), vec![Outgoing::now(number.to_string())]).await.expect("it can be written");
        let wait = Duration::from_secs(20);
        let received = host.receive(&QueueName::Inbox, 10, VISIBILITY, wait).await.expect("it can be read");
        found.extend(received.iter().map(|delivery| delivery.body.clone()));
        let receipts = received.into_iter().map(|delivery| delivery.receipt).collect();
        host.delete(&QueueName::Inbox, receipts).await.expect("it can be written");
        if number > 0 {
            slowest = slowest.max(began.elapsed());
        }
    }
    agent.kill().expect("it runs");
    agent.wait().expect("it was started");
    assert_eq!(found, expected);
    // A reader that is not woken waits for 20 s. A busy machine may hold one of the two up for some seconds.
    assert!(slowest < Duration::from_secs(15), "a message there and back took {slowest:?}");
    host.check().await.expect("the file is sound");
}

/// Sends to the inbox and to the pool, many at once, and prints the acknowledged messages.
async fn write_until_killed(folder: &Path) {
    let store = Store::open(folder, Role::Host).expect("nobody works on it");
    let writers = (0..8_u32).map(|writer| {
        let store = store.clone();
        tokio::spawn(async move {
            for number in 0_u32.. {
                let queue = if number % 2 == 0 { QueueName::Inbox } else { pool() };
                let body = format!("{writer}.{number}");
                store.send(&queue, vec![Outgoing::now(body.clone())]).await.expect("it can be written");
                say(&body);
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.expect("no writer ends by itself");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn acknowledged_writes_survive_a_killed_host() {
    for round in 1..=5 {
        let folder = TempDir::new().expect("a temporary folder can be made");
        let (mut child, output) = start("write", folder.path());
        let mut lines = said(output);
        let mut acknowledged: BTreeSet<String> = lines.by_ref().take(round * 150).collect();
        child.kill().expect("it runs");
        child.wait().expect("it was started");
        acknowledged.extend(lines);
        let store = Store::open(folder.path(), Role::Host).expect("the lock went with its holder");
        store.check().await.expect("the file is sound");
        let mut found = BTreeSet::new();
        for queue in [QueueName::Inbox, pool()] {
            loop {
                let received = store.receive(&queue, 10, VISIBILITY, Duration::ZERO).await.expect("it can be read");
                if received.is_empty() {
                    break;
                }
                found.extend(received.into_iter().map(|delivery| delivery.body));
            }
        }
        let lost: Vec<&String> = acknowledged.difference(&found).collect();
        assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
        assert!(acknowledged.len() >= round * 150, "the child was at work");
    }
}

fn hold_as_host(folder: &Path) {
    let _store = Store::open(folder, Role::Host).expect("nobody works on it");
    say("open");
    std::thread::sleep(Duration::from_mins(1));
}

#[test]
fn second_host_is_refused_and_names_first() {
    let folder = TempDir::new().expect("a temporary folder can be made");
    let (mut first, output) = start("host", folder.path());
    assert_eq!(said(output).next().as_deref(), Some("open"));
    let refused = Store::open(folder.path(), Role::Host).err().expect("there is a host");
    assert_eq!(refused.code(), "WL0311");
    assert!(matches!(&refused, OpenError::SecondHost { holder, .. } if *holder == first.id().to_string()), "{refused}");
    Store::open(folder.path(), Role::Agent).expect("agents may come");
    first.kill().expect("it runs");
    first.wait().expect("it was started");
    Store::open(folder.path(), Role::Host).expect("the lock went with its holder");
}
