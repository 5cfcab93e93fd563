//! SCENARIOS 15a: all compute is off for two hours with a thousand open runs.

use std::time::Duration;

use serde_json::json;
use windlass_domain::time::{Millis, Timestamp};
use windlass_engine::perform::Attempt;
use windlass_testkit::simulation::{Act, Calm, Faults, Fleet, Plan, PlannedRun};

use super::{in_each, live, run, seeds, task};

const RUNS: u64 = if cfg!(debug_assertions) { 50 } else { 1_000 };
const BEGINS: Timestamp = Timestamp::from_millis(1_772_323_200_000);
const OFF_AFTER: Duration = Duration::from_mins(1);
const OFF_FOR: Duration = Duration::from_hours(2);
/// How soon after the return every run is accounted for.
const WITHIN: Millis = Millis::from_secs(300);

/// The first is open when the lights go out, wherever it stands.
fn act(_: u64, attempt: &Attempt) -> Act {
    let secs = if attempt.of.action.0 == 0 { 62 } else { 5 };
    Act::succeeding(Duration::from_secs(secs), json!(attempt.of.action.0))
}

fn plan(seed: u64, losses: u32) -> Plan {
    let steps = task(json!({ "task": "steps", "actions": {
        "a": { "native": { "handler": "a" } },
        "b": { "native": { "handler": "a" }, "needs": ["a"] },
        "c": { "native": { "handler": "a" }, "needs": ["a"] },
        "d": { "native": { "handler": "a" }, "needs": ["b", "c"] },
    } }));
    // Up to the very moment at which everything goes off; the clients do not ask again.
    let at = |number: u64| OFF_AFTER * u32::try_from(number).unwrap_or(0) / u32::try_from(RUNS).unwrap_or(1);
    let one = |number: u64| PlannedRun { at: at(number), gives_up: true, ..run(format!("run{number}")) };
    let fleet = Fleet { managers: 3, workers: 4, agents: 4, slots: 400, receivers: 4, ..Fleet::SMALL };
    let faults = Faults {
        last: OFF_AFTER,
        latency: Duration::from_millis(100),
        losses,
        drops_take_messages: true,
        blackout: Some((OFF_AFTER, OFF_FOR)),
        ..Faults::default()
    };
    Plan { faults, acts: Some(act), ..Plan::by_hand(seed, vec![steps], (0..RUNS).map(one).collect(), fleet) }
}

fn check(seed: u64, losses: u32) {
    let verdict = live(&plan(seed, losses), if losses == 0 { Calm::EndsAlike } else { Calm::Unasked });
    let off = BEGINS.plus(Millis::from_secs(OFF_AFTER.as_secs()));
    let back = off.plus(Millis::from_secs(OFF_FOR.as_secs()));
    let open =
        verdict.told.iter().filter(|(run, _)| run.finished_at.is_none_or(|at| run.steady(at) > off)).count() as u64;
    assert!(open + 20 >= RUNS, "seed {seed}: {open} runs are open when everything goes off");
    for (run, _) in &verdict.told {
        let finished = run.steady(run.finished_at.expect("it has ended"));
        let late = finished.since(back);
        assert!(late <= WITHIN, "seed {seed}: run {} ends {late} after the return", run.id);
    }
}

#[test]
fn thousand_runs_end_five_minutes_after_a_blackout() {
    in_each(seeds(1, 1), |seed| check(seed, 0));
}

/// On its return the sweeper resends a message that was lost just before, without waiting for the doubled time.
#[test]
fn messages_lost_before_a_blackout_are_resent() {
    in_each(seeds(1, 1), |seed| check(100 + seed, 50_000));
}
