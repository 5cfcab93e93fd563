//! Machines whose wall clock steps, that boot, that sleep.

use std::path::Path;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use tempfile::TempDir;
use windlass_domain::ids::{AgentId, PoolName, RunId, TaskName};
use windlass_domain::run::{Origin, Run};
use windlass_domain::time::Millis;
use windlass_engine::ports::{AgentRecord, Agents, Outgoing, QueueName, Queues, Received, Records, Runs};

use super::*;
use crate::store::Surroundings;
use crate::{Role, Store};

const SECOND: i64 = 1_000_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
/// 2026-03-29T01:30:00Z, in microseconds.
const NOON: i64 = 1_774_747_800_000_000;

/// A machine that a test plays. Its time passes only as the test says.
#[derive(Clone)]
pub(crate) struct Played(Arc<Mutex<Shown>>);

pub(crate) struct Shown {
    boot: u32,
    elapsed: i64,
    wall: i64,
}

impl Played {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new(Shown { boot: 1, elapsed: HOUR, wall: NOON })))
    }

    fn shown(&self) -> MutexGuard<'_, Shown> {
        self.0.lock().expect("not poisoned")
    }

    /// Time passes while nothing is about: the processes are stopped or ended, or the machine is asleep.
    pub(crate) fn sleep(&self, span: i64) {
        let mut shown = self.shown();
        shown.elapsed += span;
        shown.wall += span;
    }

    pub(crate) fn step_wall_clock(&self, by: i64) {
        self.shown().wall += by;
    }

    /// The machine is off for that long; its wall clock is then wrong by `error`.
    fn boot_after(&self, off: i64, error: i64) {
        let mut shown = self.shown();
        shown.boot += 1;
        shown.elapsed = 20 * SECOND;
        shown.wall += off + error;
    }
}

impl Machine for Played {
    fn boot(&self) -> String {
        format!("boot {}", self.shown().boot)
    }

    fn elapsed_micros(&self) -> i64 {
        self.shown().elapsed
    }

    fn wall_micros(&self) -> i64 {
        self.shown().wall
    }
}

pub(crate) fn open(folder: &Path, machine: &Played, role: Role) -> Store {
    let surroundings = Surroundings { machine: Arc::new(machine.clone()), ..Surroundings::default() };
    Store::open_with(folder, role, None, surroundings).expect("the folder is ours")
}

fn world() -> (TempDir, Played, Store) {
    let (folder, machine) = (tempfile::tempdir().expect("a folder"), Played::new());
    let store = open(folder.path(), &machine, Role::Host);
    (folder, machine, store)
}

/// Time passes, and the writers of these stores are about.
async fn pass(machine: &Played, stores: &[&Store], span: i64) {
    const STEP: i64 = 5 * SECOND;
    for left in (0..span).step_by(5 * 1_000_000).map(|passed| span - passed) {
        machine.sleep(left.min(STEP));
        for store in stores {
            store.make(&pool()).await.expect("it can be written");
        }
    }
}

fn pool() -> QueueName {
    QueueName::Pool(PoolName::default())
}

async fn send(store: &Store, body: &str, delay: i64) {
    let delay = Millis((delay / 1000).unsigned_abs());
    store.send(&pool(), vec![Outgoing { delay, ..Outgoing::now(body.to_owned()) }]).await.expect("it can be written");
}

async fn agents(store: &Store) -> Vec<AgentRecord> {
    Agents::list(store).await.expect("it can be read")
}

/// Receives up to ten messages that are visible now, and hides them for a minute.
async fn receive(store: &Store) -> Vec<Received> {
    store.receive(&pool(), 10, Duration::from_mins(1), Duration::ZERO).await.expect("it can be read")
}

async fn bodies(store: &Store) -> Vec<String> {
    receive(store).await.into_iter().map(|delivery| delivery.body).collect()
}

/// One message is held for a minute, one is delayed by ten minutes, and the wall clock steps.
async fn check_step(by: i64) {
    let (_folder, machine, store) = world();
    send(&store, "held", 0).await;
    assert_eq!(bodies(&store).await, ["held"]);
    send(&store, "delayed", 10 * MINUTE).await;
    machine.step_wall_clock(by);
    assert!(receive(&store).await.is_empty(), "nothing comes early");
    send(&store, "sent after", 0).await;
    assert_eq!(bodies(&store).await, ["sent after"], "what is sent is received");
    pass(&machine, &[&store], 59 * SECOND).await;
    assert!(receive(&store).await.is_empty(), "the message is still held");
    pass(&machine, &[&store], SECOND).await;
    assert_eq!(bodies(&store).await, ["held", "sent after"]);
    pass(&machine, &[&store], 9 * MINUTE).await;
    assert_eq!(bodies(&store).await, ["held", "delayed", "sent after"], "in the order of sending");
    assert_eq!(store.depth(&pool()).await.expect("it can be read"), 0);
}

#[tokio::test]
async fn wall_clock_step_moves_no_message() {
    for by in [-10 * HOUR, -SECOND, SECOND, 10 * HOUR] {
        check_step(by).await;
    }
}

/// A receiver sleeps for as long as the clock of the file says, and is woken by it.
#[tokio::test]
async fn receiver_wakes_on_time_after_wall_clock_step() {
    let (_folder, machine, store) = world();
    send(&store, "delayed", MINUTE).await;
    machine.step_wall_clock(-10 * HOUR);
    let queue = pool();
    let receiving = store.receive(&queue, 1, Duration::from_mins(1), Duration::from_secs(20));
    let passing = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        pass(&machine, &[&store], MINUTE).await;
    };
    let (received, ()) = tokio::join!(receiving, passing);
    assert_eq!(received.expect("it can be read").len(), 1);
}

#[tokio::test]
async fn sent_at_is_wall_time() {
    let (_folder, machine, store) = world();
    machine.step_wall_clock(-10 * HOUR);
    send(&store, "one", 0).await;
    let sent_at: Vec<_> = receive(&store).await.into_iter().map(|delivery| delivery.sent_at).collect();
    assert_eq!(sent_at, [Timestamp::from_millis((NOON - 10 * HOUR) / 1000)]);
}

/// A receipt must stand for one message, also if the message is gone and the clock went back.
#[tokio::test]
async fn a_message_id_is_never_given_twice() {
    let (folder, machine, store) = world();
    send(&store, "one", 0).await;
    let first = receive(&store).await.pop().expect("it was sent");
    store.delete(&pool(), vec![first.receipt.clone()]).await.expect("it can be written");
    drop(store);
    machine.sleep(SECOND);
    machine.step_wall_clock(-SECOND);
    let store = open(folder.path(), &machine, Role::Host);
    send(&store, "two", 0).await;
    let second = receive(&store).await.pop().expect("it was sent");
    assert_ne!(second.receipt, first.receipt);
}

#[tokio::test]
async fn step_during_restart_moves_no_message() {
    for by in [-10 * HOUR, 10 * HOUR] {
        let (folder, machine, store) = world();
        send(&store, "delayed", 10 * MINUTE).await;
        drop(store);
        machine.sleep(9 * MINUTE);
        machine.step_wall_clock(by);
        let store = open(folder.path(), &machine, Role::Host);
        assert!(receive(&store).await.is_empty());
        pass(&machine, &[&store], MINUTE).await;
        assert_eq!(bodies(&store).await, ["delayed"]);
    }
}

#[tokio::test]
async fn processes_share_the_time_of_the_file() {
    let (folder, machine, host) = world();
    machine.step_wall_clock(10 * HOUR);
    let agent = open(folder.path(), &machine, Role::Agent);
    send(&host, "delayed", MINUTE).await;
    machine.step_wall_clock(-20 * HOUR);
    pass(&machine, &[&host, &agent], MINUTE - SECOND).await;
    assert!(receive(&agent).await.is_empty());
    pass(&machine, &[&host, &agent], SECOND).await;
    assert_eq!(bodies(&agent).await, ["delayed"]);
    pass(&machine, &[&host, &agent], MINUTE).await;
    assert_eq!(bodies(&host).await, ["delayed"], "what the agent held is visible to the host on time");
}

/// What ran out while everything was asleep waits for its holder, which was asleep, too.
#[tokio::test]
async fn time_asleep_counts_and_leaves_holders_time_to_wake() {
    let (folder, machine, host) = world();
    let agent = open(folder.path(), &machine, Role::Agent);
    for (body, delay) in [("kept", 0), ("lost", 0), ("delayed", 10 * MINUTE)] {
        send(&host, body, delay).await;
    }
    let held = receive(&agent).await;
    assert_eq!(held.len(), 2);
    machine.sleep(8 * HOUR);
    for store in [&host, &agent] {
        assert!(receive(store).await.is_empty(), "its holder has just woken");
    }
    let keep = vec![(held[0].receipt.clone(), Duration::from_mins(1))];
    assert_eq!(agent.extend(&pool(), keep).await.expect("it can be written").len(), 1);
    send(&host, "fresh", 0).await;
    assert_eq!(bodies(&host).await, ["fresh"]);
    pass(&machine, &[&host, &agent], 15 * SECOND).await;
    assert_eq!(bodies(&host).await, ["lost", "delayed"]);
    pass(&machine, &[&host, &agent], 45 * SECOND).await;
    assert_eq!(bodies(&host).await, ["kept", "fresh"]);
}

/// A process that was stopped while another one worked: the time was over for those who held something, too.
#[tokio::test]
async fn time_in_which_another_process_worked_is_spared_to_nobody() {
    let (folder, machine, host) = world();
    let agent = open(folder.path(), &machine, Role::Agent);
    send(&host, "lost", 0).await;
    assert_eq!(receive(&host).await.len(), 1);
    for step in 0..14 {
        machine.sleep(5 * SECOND);
        send(&agent, &format!("late {step}"), 10 * MINUTE).await;
    }
    assert_eq!(bodies(&host).await, ["lost"]);
}

/// A machine that wakes again and again hands out what ran out all the same.
#[tokio::test]
async fn what_was_spared_once_is_not_spared_again() {
    let (_folder, machine, host) = world();
    send(&host, "lost", 0).await;
    assert_eq!(receive(&host).await.len(), 1);
    machine.sleep(HOUR);
    assert!(receive(&host).await.is_empty(), "its holder has just woken");
    machine.sleep(HOUR);
    assert_eq!(bodies(&host).await, ["lost"]);
}

/// An agent that is heard is silent by no step of the wall clock, and time asleep does not make up its age.
#[tokio::test]
async fn age_of_an_agents_entry_is_elapsed_time() {
    let (_folder, machine, store) = world();
    let now = |machine: &Played| Timestamp::from_millis(machine.shown().wall / 1000);
    let agent = AgentRecord {
        id: AgentId::new("a").expect("a name"),
        pool: PoolName::default(),
        slots: 1,
        busy: 0,
        version: "1".to_owned(),
        address: "here/1".to_owned(),
        draining: false,
        started_at: now(&machine),
        seen_at: now(&machine),
    };
    store.register(&agent).await.expect("it can be written");
    assert_eq!(agents(&store).await, std::slice::from_ref(&agent));
    machine.sleep(20 * SECOND);
    for by in [10 * HOUR, -20 * HOUR, HOUR] {
        machine.step_wall_clock(by);
        let seen_at = agents(&store).await[0].seen_at;
        assert_eq!(now(&machine).since(seen_at), Millis::from_secs(20));
    }
}

/// The time of a run is that of its start and what has passed since, whatever the wall clock is set to.
#[tokio::test]
async fn wall_clock_step_moves_no_timer_of_a_run() {
    let (_folder, machine, store) = world();
    let clock = store.ports().clock;
    let now = || Timestamp::from_millis(machine.shown().wall / 1000);
    let task = TaskName::new("t").expect("a name");
    for (key, by) in [("one", 10 * HOUR), ("two", -20 * HOUR)] {
        let id = RunId::from_key(&task, key);
        let run = Run::submitted(id, (task.clone(), 1), 1, serde_json::Value::Null, Origin::Request, now());
        let run = run.on_clock(clock.now(), clock.steady());
        let run = Run { wake_at: Some(now().plus(Millis::from_secs(60))), ..run };
        store.create(&run, &[], &[]).await.expect("it can be written");
        let due = async || store.stale(now(), Timestamp::from_millis(0), 10).await.expect("it can be read");
        let is_due = async || due().await.contains(&id);
        machine.step_wall_clock(by);
        assert!(!is_due().await, "no time has passed");
        machine.sleep(59 * SECOND);
        assert!(!is_due().await, "{by}");
        machine.sleep(SECOND);
        assert!(is_due().await, "{by}");
        let read = Records::<Run>::load(&store, &id).await.expect("it can be read").expect("it is there");
        assert_eq!(read.time(clock.now(), clock.steady()).since(read.submitted_at), Millis::from_secs(60));
    }
}

/// A message is delayed by ten minutes. A minute later the machine goes off for a while, and its wall clock may be wrong
/// when it is back. Then the message comes after `left` more.
async fn check_boot(off: i64, error: i64, left: i64) {
    let (folder, machine, store) = world();
    send(&store, "delayed", 10 * MINUTE).await;
    pass(&machine, &[&store], MINUTE).await;
    send(&store, "mark", 0).await;
    assert_eq!(bodies(&store).await, ["mark"]);
    drop(store);
    machine.boot_after(off, error);
    let store = open(folder.path(), &machine, Role::Host);
    if left > 0 {
        pass(&machine, &[&store], left - SECOND).await;
        assert!(!bodies(&store).await.contains(&"delayed".to_owned()), "off {off}, wrong by {error}: it comes early");
        pass(&machine, &[&store], SECOND).await;
    }
    assert!(bodies(&store).await.contains(&"delayed".to_owned()), "off {off}, wrong by {error}: it comes late");
}

#[tokio::test]
async fn a_boot_hides_no_message_for_longer() {
    check_boot(4 * MINUTE, 0, 5 * MINUTE).await;
    check_boot(HOUR, 0, 0).await;
    // The machine has no clock that runs while it is off.
    check_boot(HOUR, -NOON, 9 * MINUTE).await;
    check_boot(HOUR, -10 * HOUR, 9 * MINUTE).await;
    check_boot(MINUTE, 10 * HOUR, 0).await;
}

/// The wall clock was wrong while the machine ran, and is right after the boot: that is no time that has passed.
#[tokio::test]
async fn steps_before_a_boot_do_not_count() {
    let (folder, machine, store) = world();
    machine.step_wall_clock(-10 * HOUR);
    pass(&machine, &[&store], 2 * SECOND).await;
    send(&store, "delayed", 10 * MINUTE).await;
    drop(store);
    machine.boot_after(MINUTE, 0);
    let store = open(folder.path(), &machine, Role::Host);
    pass(&machine, &[&store], 9 * MINUTE - SECOND).await;
    assert!(receive(&store).await.is_empty(), "nothing comes early");
    pass(&machine, &[&store], SECOND).await;
    assert_eq!(bodies(&store).await, ["delayed"]);
}

#[tokio::test]
async fn copied_file_keeps_its_delays() {
    let (folder, machine, store) = world();
    send(&store, "delayed", 10 * MINUTE).await;
    drop(store);
    let other = Played::new();
    other.boot_after(MINUTE, 0);
    other.shown().elapsed = 400 * 24 * HOUR;
    let copy = open(folder.path(), &other, Role::Host);
    assert!(receive(&copy).await.is_empty());
    pass(&other, &[&copy], 8 * MINUTE).await;
    drop(copy);
    machine.sleep(9 * MINUTE);
    let back = open(folder.path(), &machine, Role::Host);
    assert!(receive(&back).await.is_empty());
    pass(&machine, &[&back], MINUTE).await;
    assert_eq!(bodies(&back).await, ["delayed"]);
}

/// A virtual machine goes back to a snapshot, its disk does not: the boot is the same, and the mark lies ahead.
#[tokio::test]
async fn time_never_goes_back_behind_the_mark() {
    let (folder, machine, store) = world();
    drop(store);
    machine.sleep(2 * HOUR);
    let store = open(folder.path(), &machine, Role::Host);
    send(&store, "delayed", 10 * MINUTE).await;
    drop(store);
    machine.sleep(-HOUR);
    let store = open(folder.path(), &machine, Role::Host);
    pass(&machine, &[&store], 10 * MINUTE - SECOND).await;
    assert!(receive(&store).await.is_empty());
    pass(&machine, &[&store], SECOND).await;
    assert_eq!(bodies(&store).await, ["delayed"]);
}

#[tokio::test]
async fn wall_clock_step_makes_no_run_stale() {
    let (_folder, machine, store) = world();
    let now = |machine: &Played| Timestamp::from_millis(machine.shown().wall / 1000);
    let task = TaskName::new("t").expect("a name");
    let id = RunId::from_key(&task, "a run");
    let run = Run::submitted(id, (task, 1), 1, serde_json::Value::Null, Origin::Request, now(&machine));
    store.create(&run, &[], &[]).await.expect("it can be written");
    let untouched_for = async |span: i64| {
        let now = now(&machine);
        let since = Timestamp::from_millis(now.as_millis() - span / 1000);
        store.stale(Timestamp::from_millis(0), since, 10).await.expect("it can be read")
    };
    for by in [10 * HOUR, -20 * HOUR] {
        machine.step_wall_clock(by);
        assert_eq!(untouched_for(MINUTE).await, [], "it was written just now");
    }
    pass(&machine, &[&store], 2 * MINUTE).await;
    assert_eq!(untouched_for(MINUTE).await, [id]);
}

/// The machine that everything runs on.
#[test]
fn this_machine_names_its_boot() {
    let machine = crate::SystemClock;
    let boot = machine.boot();
    assert_eq!(boot, machine.boot());
    assert!(boot.len() > 36, "{boot}");
    let before = machine.elapsed_micros();
    std::thread::sleep(Duration::from_millis(2));
    assert!(machine.elapsed_micros() - before >= 2000);
}
