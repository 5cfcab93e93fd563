//! Runs that end, on a machine whose time passes as the test says.

use serde_json::{Value, json};
use tempfile::TempDir;
use windlass_contract::event::{EVENT_VERSION, PublicEvent};
use windlass_domain::ids::TaskName;
use windlass_domain::keep::Keep;
use windlass_domain::limits::MAX_ACTIONS;
use windlass_domain::run::{Origin, RunStatus};
use windlass_domain::time::Timestamp;
use windlass_engine::ports::{Created, Records, Runs, TaskRecord, Tasks};

use super::*;
use crate::Role;
use crate::file_clock::tests::{Played, open};

const SECOND: i64 = 1_000_000;
const HOUR: i64 = 3600 * SECOND;
const DEFAULT: Millis = Millis::from_secs(60);

struct World {
    _folder: TempDir,
    machine: Played,
    store: Store,
}

impl World {
    fn new() -> Self {
        let folder = TempDir::new().expect("a temporary folder can be made");
        let machine = Played::new();
        let store = open(folder.path(), &machine, Role::Host);
        Self { _folder: folder, machine, store }
    }

    /// A run that has ended.
    async fn ended(&self, name: &str, of: impl FnOnce(Run) -> Run) -> Run {
        let now = Timestamp::from_millis(self.store.clock().wall_ms());
        let id = RunId::from_key(&task(), name);
        let run = of(Run::submitted(id, (task(), 1), 1, json!({}), Origin::Request, now));
        assert_eq!(self.store.create(&run, &[event(&run)], &[]).await.expect("written"), Created::New);
        let status = if run.status.is_final() { run.status } else { RunStatus::Succeeded };
        let ended = Run { status, finished_at: Some(now), revision: 1, ..run.clone() };
        self.store.commit(&run, &ended, &[event(&run)]).await.expect("written");
        ended
    }

    /// Deletes all that may go; gives how many steps that took.
    async fn expire(&self) -> usize {
        let mut steps = 0;
        while expire(&self.store, DEFAULT).await.expect("it can be written") {
            steps += 1;
        }
        steps
    }

    async fn is_there(&self, run: &Run) -> bool {
        Records::<Run>::load(&self.store, &run.id).await.expect("readable").is_some()
    }

    async fn count(&self, table: &'static str) -> i64 {
        let count = move |connection: &Connection| {
            Ok(connection.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0))?)
        };
        self.store.readers().read_aside(count).await.expect("readable")
    }
}

fn task() -> TaskName {
    TaskName::new("t").expect("a name")
}

fn event(run: &Run) -> PublicEvent {
    PublicEvent {
        v: EVENT_VERSION,
        id: uuid::Uuid::nil(),
        kind: "action.progressed".to_owned(),
        time: run.submitted_at.to_string(),
        run: run.id,
        task: run.task.clone(),
        version: run.version,
        labels: std::collections::BTreeMap::default(),
        action: None,
        attempt: None,
        data: json!({}),
    }
}

fn with_input(mut run: Run, input: &Value) -> Run {
    run.input = run.values.hold(input.clone());
    run
}

fn kept(succeeded: u64, failed: u64) -> Keep {
    Keep { succeeded: Some(Millis::from_secs(succeeded)), failed: Some(Millis::from_secs(failed)) }
}

#[tokio::test]
async fn run_goes_when_it_was_kept_for_its_time() {
    let world = World::new();
    let long = json!("x".repeat(5000));
    let own = world.ended("own", |run| with_input(run.kept(kept(10, 100)), &long)).await;
    assert_eq!(world.count("run_values").await, 1);
    let failed = world.ended("failed", |run| Run { status: RunStatus::Failed, ..run.kept(kept(10, 100)) }).await;
    let default = world.ended("default", |run| run).await;
    for (passed, expected) in
        [(9, [true, true, true]), (2, [false, true, true]), (50, [false, true, false]), (40, [false; 3])]
    {
        world.machine.sleep(passed * SECOND);
        world.expire().await;
        let found = [world.is_there(&own).await, world.is_there(&failed).await, world.is_there(&default).await];
        assert_eq!(found, expected, "after {passed} s more");
    }
    for table in ["runs", "events", "run_pages", "run_values", "deleted_runs"] {
        assert_eq!(world.count(table).await, 0, "{table}");
    }
}

#[tokio::test]
async fn step_of_the_wall_clock_deletes_nothing() {
    let world = World::new();
    let run = world.ended("a", |run| run).await;
    world.machine.step_wall_clock(24 * 365 * HOUR);
    assert_eq!(world.expire().await, 0);
    assert!(world.is_there(&run).await);
}

#[tokio::test]
async fn open_run_is_never_deleted() {
    let world = World::new();
    let ended = world.ended("a", |run| run.kept(kept(1, 1))).await;
    let retried = Run { status: RunStatus::Running, finished_at: None, revision: 2, ..ended.clone() };
    world.store.commit(&ended, &retried, &[]).await.expect("written");
    world.machine.sleep(1000 * HOUR);
    assert_eq!(world.expire().await, 0);
    assert!(world.is_there(&retried).await);
}

/// Its message may come again for hours, and the next due time asks for the run of the one before.
#[tokio::test]
async fn run_of_a_due_time_goes_when_nothing_can_ask_for_it() {
    let world = World::new();
    let source = json!({ "task": "t", "actions": {} });
    world.store.put(&task(), &source, None, Timestamp::from_millis(0)).await.expect("written");
    let mut runs = Vec::new();
    for (number, keep) in [(1, kept(1, 1)), (2, Keep::default()), (3, kept(1, 1))] {
        let nominal = Timestamp::from_millis(number);
        let of = |run: Run| Run { origin: Origin::Schedule { nominal }, ..run.kept(keep) };
        runs.push(world.ended(&number.to_string(), of).await);
    }
    let turn = |at: Option<i64>, record: TaskRecord| TaskRecord {
        active: at.map(Timestamp::from_millis),
        revision: record.revision + 1,
        ..record
    };
    let record = Records::<TaskRecord>::load(&world.store, &task()).await.expect("readable").expect("it is there");
    let last_is_3 = turn(Some(3), record.clone());
    world.store.commit(&record, &last_is_3, &[]).await.expect("written");

    world.machine.sleep(7 * HOUR);
    assert_eq!(world.expire().await, 0);
    world.machine.sleep(2 * HOUR);
    world.expire().await;
    assert_eq!([world.is_there(&runs[0]).await, world.is_there(&runs[1]).await], [false; 2]);
    world.machine.sleep(1000 * HOUR);
    world.expire().await;
    assert!(world.is_there(&runs[2]).await, "it had the last turn");
    world.store.commit(&last_is_3, &turn(Some(4), last_is_3.clone()), &[]).await.expect("written");
    world.expire().await;
    assert!(!world.is_there(&runs[2]).await);
}

/// A writer that waits meanwhile gets its turn after a step.
#[tokio::test]
async fn large_run_goes_in_small_steps() {
    let world = World::new();
    let run = world.ended("large", |run| Run { actions: windlass_domain::run::Pages::new(MAX_ACTIONS), ..run }).await;
    let mut last = run.clone();
    for _ in 0..900 {
        let next = Run { revision: last.revision + 1, ..last.clone() };
        world.store.commit(&last, &next, &[event(&run)]).await.expect("written");
        last = next;
    }
    world.machine.sleep(2 * 60 * SECOND);
    let rows = async || world.count("events").await + world.count("run_pages").await;
    let before = rows().await;
    assert!(before > 2 * i64::try_from(MAX_ROWS).expect("small"), "{before} rows");
    while expire(&world.store, DEFAULT).await.expect("it can be written") {
        assert!(!world.is_there(&run).await, "its record goes first");
    }
    assert_eq!((rows().await, world.count("deleted_runs").await), (0, 0));
}

#[tokio::test]
async fn one_step_deletes_a_bounded_number_of_runs() {
    let world = World::new();
    for number in 0..=2 * MAX_RUNS {
        world.ended(&number.to_string(), |run| run).await;
    }
    world.machine.sleep(2 * 60 * SECOND);
    assert_eq!(world.expire().await, 3);
}

/// A later run must not get what is left of an earlier one.
#[tokio::test]
async fn number_of_a_deleted_run_is_not_given_again() {
    let world = World::new();
    let first = world.ended("a", |run| run).await;
    assert!(delete(&world.store, &first).await.expect("written"));
    let again = world.ended("a", |run| run).await;
    assert_eq!(world.store.events(again.id, None, 10).await.expect("readable").len(), 2, "its own alone");
    world.expire().await;
    assert_eq!(world.store.events(again.id, None, 10).await.expect("readable").len(), 2);
    assert_eq!(world.count("events").await, 2);
}

#[tokio::test]
async fn room_of_deleted_runs_goes_back_to_the_disk() {
    let world = World::new();
    let text = json!("x".repeat(100_000));
    for number in 0..100 {
        world.ended(&number.to_string(), |run| with_input(run, &text)).await;
    }
    let pages = async || {
        let read =
            |connection: &Connection| Ok(connection.query_row("PRAGMA page_count", [], |row| row.get::<_, i64>(0))?);
        world.store.readers().read_aside(read).await.expect("readable")
    };
    let before = pages().await;
    world.machine.sleep(2 * 60 * SECOND);
    world.expire().await;
    let after = pages().await;
    assert!(before > 2400 && after < 300 + LEAST_FREE_PAGES, "{before} pages became {after}");
}

#[tokio::test]
async fn version_goes_when_no_run_has_it_and_a_newer_one_is_old() {
    let world = World::new();
    let put = async |number: u32| {
        let now = Timestamp::from_millis(world.store.clock().wall_ms());
        let source = json!({ "task": "t", "actions": {}, "description": number.to_string() });
        world.store.put(&task(), &source, None, now).await.expect("written");
    };
    let there = async || {
        let mut there = Vec::new();
        for version in 1..=3 {
            there.push(world.store.version(&task(), version).await.expect("readable").is_some());
        }
        there
    };
    put(1).await;
    put(2).await;
    let run = world.ended("a", |run| Run { version: 2, ..run }).await;
    world.machine.sleep(30 * SECOND);
    put(3).await;
    let keep = DEFAULT;
    world.machine.sleep(40 * SECOND);
    world.store.expire_versions(keep).await.expect("written");
    assert_eq!(there().await, [false, true, true], "2 replaced 1 long ago; 3 has replaced 2 just now");
    world.machine.sleep(40 * SECOND);
    world.store.expire_versions(keep).await.expect("written");
    assert_eq!(there().await, [false, true, true], "a run has 2");
    assert!(delete(&world.store, &run).await.expect("written"));
    world.store.expire_versions(keep).await.expect("written");
    assert_eq!(there().await, [false, false, true]);
    let late = Run { version: 2, revision: 0, status: RunStatus::Submitted, finished_at: None, ..run };
    let refused = world.store.create(&late, &[], &[]).await.map_err(|error| error.code);
    assert_eq!(refused, Err("WL0412"), "its definition is gone");
}
