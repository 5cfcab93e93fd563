//! SCENARIOS 6, actions: a kill races with the next step of an action.

use std::time::Duration;

use serde_json::json;
use windlass_contract::event::PublicEvent;
use windlass_domain::ids::RunId;
use windlass_domain::run::{Outcome, Run, RunStatus};
use windlass_domain::time::Timestamp;
use windlass_engine::perform::Attempt;
use windlass_testkit::simulation::{Act, Asked, Calm, Faults, Fleet, Plan, PlannedRun, PlannedTask, Verdict};

use super::{in_each, live, run, seeds, task};

/// Runs of one world; each is one interleaving.
const RUNS: u64 = 100;
/// How soon a kill is acknowledged by a program that listens: it takes up to 300 ms of them itself.
const LISTENING: u64 = 2_000;
/// How much later an action acknowledges that does not listen.
const GRACE: u64 = 10_000;

/// Spread by the number, from which a run's length, its kill and its way of stopping are drawn.
fn spread(of: u64) -> u64 {
    let mixed = (of ^ (of >> 31)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    mixed ^ (mixed >> 29)
}

fn is_listening(run: RunId) -> bool {
    !run.as_uuid().as_bytes()[0].is_multiple_of(4)
}

fn act(seed: u64, attempt: &Attempt) -> Act {
    let drawn = spread(seed ^ u64::from(attempt.run.as_uuid().as_bytes()[3]) << 8 ^ u64::from(attempt.of.action.0));
    let stops_within =
        if is_listening(attempt.run) { Duration::from_millis(drawn % 300) } else { Duration::from_millis(GRACE) };
    let ends = if drawn.is_multiple_of(7) {
        Outcome::Failed { error: windlass_domain::run::ErrorInfo::new("network.reset", "it did not work") }
    } else {
        Outcome::Succeeded { output: json!(1) }
    };
    Act {
        takes: Duration::from_millis(drawn / 512 % 4_000),
        stops_within,
        says_progress: drawn.is_multiple_of(3),
        ends,
    }
}

fn tasks() -> Vec<PlannedTask> {
    let retry = json!({ "attempts": 3, "delay": "500ms", "jitter": "none" });
    let action = |needs: &[&str]| json!({ "native": { "handler": "a" }, "retry": retry, "needs": needs });
    let mut first = action(&[]);
    first.as_object_mut().expect("an object").remove("needs");
    vec![task(
        json!({ "task": "killed", "events": "all", "actions": { "a": first, "b": action(&["a"]), "c": action(&["a"]) } }),
    )]
}

fn plan(seed: u64, faults: Faults) -> Plan {
    let killed = |number: u64| -> PlannedRun {
        let drawn = spread(seed * RUNS + number);
        let (at, after) = (Duration::from_millis(drawn % 60_000), Duration::from_millis(drawn / 65_536 % 12_000));
        PlannedRun { at, requests: vec![(after, Asked::Cancel)], ..run(format!("run{number}")) }
    };
    let fleet = Fleet { slots: 100, ..Fleet::SMALL };
    Plan { faults, acts: Some(act), ..Plan::by_hand(seed, tasks(), (0..RUNS).map(killed).collect(), fleet) }
}

fn at(log: &[PublicEvent], kind: &str) -> Option<Timestamp> {
    let event = log.iter().find(|event| event.kind == kind)?;
    let at: jiff::Timestamp = event.time.parse().expect("a time is written as such");
    Some(Timestamp::from_millis(at.as_millisecond()))
}

/// It ended cancelled, or as it had ended before the kill came. No agent performs any of it after its end.
fn check(verdict: &Verdict, (run, log): &(Run, Vec<PublicEvent>)) {
    let seed = verdict.seed;
    let cancelling = at(log, "run.cancelling");
    let is_right = match run.status {
        RunStatus::Cancelled => cancelling.is_some(),
        RunStatus::Succeeded | RunStatus::Failed | RunStatus::SucceededWithFaults => cancelling.is_none(),
        RunStatus::Submitted | RunStatus::Running | RunStatus::Paused | RunStatus::Cancelling | RunStatus::TimedOut => {
            false
        }
    };
    assert!(is_right, "seed {seed}: run {} ended {:?}, {cancelling:?}", run.id, run.status);
}

/// How long the end of a run came after its kill, in milliseconds; nothing if it was not killed.
fn acknowledged_after((_, log): &(Run, Vec<PublicEvent>)) -> Option<u64> {
    Some(at(log, "run.cancelled")?.since(at(log, "run.cancelling")?).0)
}

/// 10,000 interleavings.
#[test]
fn kill_is_acknowledged_in_time_and_is_final() {
    in_each(seeds(100, 2), |seed| {
        let faults = Faults { last: Duration::from_mins(3), latency: Duration::from_millis(20), ..Faults::default() };
        let verdict = live(&plan(seed, faults), Calm::Unasked);
        assert_eq!(verdict.told.len() as u64, RUNS);
        for told in &verdict.told {
            check(&verdict, told);
            let run = told.0.id;
            let finished = told.0.steady(told.0.finished_at.expect("it has ended"));
            let of_run = verdict.performed.iter().filter(|performed| performed.run == run);
            for performed in of_run {
                let ended = performed.ended.expect("no agent dies");
                assert!(ended <= finished, "seed {seed}: run {run} ended at {finished}, and {performed:?}");
            }
            let most = LISTENING + if is_listening(run) { 0 } else { GRACE };
            let took = acknowledged_after(told).unwrap_or(0);
            assert!(took <= most, "seed {seed}: the kill of run {run} is acknowledged after {took} ms");
        }
    });
}

/// The same while anything fails: a run waits two minutes for its agents, and the sweeper may take four more.
#[test]
fn a_kill_ends_its_run_whatever_fails() {
    in_each(seeds(20, 1), |seed| {
        let faults = Faults {
            last: Duration::from_mins(3),
            latency: Duration::from_millis(200),
            refused: 30_000,
            unanswered: 30_000,
            dies_before: 1_000,
            dies_after: 1_000,
            conflicts: 50_000,
            duplicates: 100_000,
            delays: 100_000,
            delay: Duration::from_secs(30),
            losses: 20_000,
            blows: Duration::from_secs(10),
            skew: Duration::from_secs(2),
            drops_take_messages: true,
            ..Faults::default()
        };
        let last = faults.last.as_secs();
        let verdict = live(&plan(seed, faults), Calm::Unasked);
        for told in &verdict.told {
            check(&verdict, told);
            let took = acknowledged_after(told).unwrap_or(0) / 1000;
            assert!(took <= last + 120 + 240, "seed {seed}: the kill of run {} takes {took} s", told.0.id);
        }
    });
}
