//! The examples that people begin with, in worlds with every fault: they end as they do without.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use windlass_domain::definition::Definition;
use windlass_domain::run::{ErrorInfo, Outcome, RunStatus};
use windlass_engine::perform::Attempt;
use windlass_testkit::simulation::{Act, Calm, Faults, Fleet, Plan, PlannedRun, PlannedTask};

use super::{in_each, live, run, seeds};

const EXAMPLES: [&str; 5] = ["backup", "csv-join", "health-check", "log-pipeline", "nightly-report"];

/// As its author wrote it, without what depends on the time that faults take: its schedule and its deadlines.
fn example(name: &str) -> PlannedTask {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../examples/{name}/{name}.yaml"));
    let text = std::fs::read_to_string(&path).expect("an example can be read");
    let definition = Definition::from_text(&text).unwrap_or_else(|faults| panic!("{name}: {faults:?}"));
    let mut source = definition.source.clone();
    let task = source.as_object_mut().expect("a task is a map");
    for timed in ["schedule", "timeout", "defaults"] {
        task.remove(timed);
    }
    for action in task["actions"].as_object_mut().expect("actions are a map").values_mut() {
        action.as_object_mut().expect("an action is a map").remove("timeout");
    }
    PlannedTask { name: name.to_owned(), source, input: json!({}) }
}

/// The answers of the examples' programs; customers are not there the first time, and charts never.
fn act(seed: u64, attempt: &Attempt) -> Act {
    let output = match attempt.name.as_str() {
        "disk" => json!({ "used_percent": 85 }),
        "pack" => json!({ "archive": "backup.tar" }),
        "check" => json!({ "files": 12 }),
        "customers" | "orders" => json!({ "file": "rows.csv" }),
        "join" => json!({ "file": "joined.csv", "rows": 20_000, "best_customer": "c7" }),
        "extract" => json!({ "rows": [1, 2, 3] }),
        "generate" => json!({ "folder": "logs", "files": ["a", "b", "c", "d"] }),
        _ => json!("done"),
    };
    let fails = |kind| Outcome::Failed { error: ErrorInfo::new(kind, "it is not there") };
    let ends = match (attempt.name.as_str(), attempt.of.attempt) {
        ("customers" | "extract", 1) => fails("network.reset"),
        ("charts", _) => fails("http.503"),
        ("service", _) if seed.is_multiple_of(2) => fails("network.refused"),
        _ => Outcome::Succeeded { output },
    };
    let takes = Duration::from_millis(100 + u64::from(attempt.of.action.0) * 700);
    Act { ends, ..Act::succeeding(takes, Value::Null) }
}

fn faults(seed: u64) -> Faults {
    Faults {
        last: Duration::from_mins(5),
        latency: Duration::from_millis(100),
        slow: 5_000,
        refused: 20_000,
        unanswered: 20_000,
        dies_before: 3_000,
        dies_after: 3_000,
        conflicts: 50_000,
        old_glances: 200_000,
        duplicates: 100_000,
        delays: 100_000,
        delay: Duration::from_mins(1),
        losses: if seed.is_multiple_of(3) { 20_000 } else { 0 },
        blows: Duration::from_secs(20),
        skew: Duration::from_secs(2),
        drops_take_messages: true,
        ..Faults::default()
    }
}

#[test]
fn every_example_ends_as_it_does_without_faults() {
    let tasks: Vec<PlannedTask> = EXAMPLES.iter().map(|name| example(name)).collect();
    in_each(seeds(200, 3), |seed| {
        let runs = (0..tasks.len()).map(|task| PlannedRun { task, ..run(EXAMPLES[task]) }).collect();
        let plan = Plan::by_hand(seed, tasks.clone(), runs, Fleet::SMALL);
        let verdict = live(&Plan { faults: faults(seed), acts: Some(act), ..plan }, Calm::EndsAlike);
        assert_eq!(verdict.told.len(), EXAMPLES.len(), "seed {seed}");
        for (run, _) in &verdict.told {
            let expected = match run.task.as_str() {
                "nightly-report" => RunStatus::SucceededWithFaults,
                "health-check" if seed.is_multiple_of(2) => RunStatus::Failed,
                _ => RunStatus::Succeeded,
            };
            assert_eq!(run.status, expected, "seed {seed}: {}", run.task);
        }
    });
}
