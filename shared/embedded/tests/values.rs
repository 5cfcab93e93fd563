//! Long values stand beside the record: a run writes each of them once.

use serde_json::{Value, json};
use tempfile::TempDir;
use windlass_domain::content::Place;
use windlass_domain::ids::{ActionIndex, RunId, TaskName};
use windlass_domain::run::{ActionAt, Fact, FactKind, Origin, Run, apply};
use windlass_embedded::{Role, Store};

const ACTIONS: u32 = 64;
const BYTES: usize = 100_000;

fn changed(before: &Run, kind: FactKind) -> Run {
    let mut after = before.clone();
    apply(&mut after, &Fact::told(before.submitted_at, kind));
    Run { revision: before.revision + 1, ..after }
}

fn output(action: u32) -> Value {
    json!({ "of": action, "text": "x".repeat(BYTES) })
}

/// The bytes of the log grew with the square of the outputs while the record held them.
#[tokio::test(flavor = "multi_thread")]
async fn log_has_each_output_of_a_run_once() {
    let folder = TempDir::new().expect("a temporary folder can be made");
    let store = Store::open(folder.path(), Role::Host).expect("the folder is empty");
    let ports = store.ports();
    let (task, now) = (TaskName::new("wide").expect("a name"), ports.clock.now());
    let id = RunId::from_key(&task, "a key");
    let mut run = Run::submitted(id, (task, 1), ACTIONS as usize, output(0), Origin::Request, now);
    ports.runs.create(&run, &[], &[]).await.expect("it is written");
    for action in (0..ACTIONS).map(ActionIndex) {
        let of = ActionAt { action, attempt: 1 };
        let done = FactKind::ActionSucceeded { of, by: None, output: output(action.0) };
        for kind in [FactKind::ActionQueued { of, issue: 0 }, done] {
            let after = changed(&run, kind);
            ports.runs.commit(&run, &after, &[]).await.expect("it is written");
            run = after.bare();
        }
    }
    let (log, values) = (store.written().wal_bytes, (u64::from(ACTIONS) + 1) * BYTES as u64);
    assert!(log < 2 * values, "{log} bytes of log for {values} bytes of values");
    let mut found = ports.runs.load(&id).await.expect("it is read").expect("it is there");
    assert_eq!(found, run);
    let lacking = found.lacking();
    assert_eq!(lacking.len(), ACTIONS as usize + 1);
    ports.runs.fill(&mut found, &lacking).await.expect("they are read");
    assert_eq!(found.value(Place::Input), Some(&output(0)));
    let is_its = |action| found.value(Place::Output(ActionIndex(action))) == Some(&output(action));
    assert!((0..ACTIONS).all(is_its));
}
