//! SCENARIOS 4: an action of 72 hours has one attempt and one owner.

use std::time::Duration;

use serde_json::json;
use windlass_domain::ids::ActionIndex;
use windlass_domain::run::RunStatus;
use windlass_domain::time::Millis;
use windlass_engine::perform::Attempt;
use windlass_testkit::simulation::{Act, Calm, Faults, Fleet, Plan, Verdict};

use super::{in_each, live, run, seeds, simulated, task};

/// Three days; a build that is not optimised looks at one.
const HOURS: u64 = if cfg!(debug_assertions) { 24 } else { 72 };
const LASTS: Duration = Duration::from_hours(HOURS);
/// After eight hours its agent leases it for ten minutes, and renews that before a half of them has passed.
const RENEWALS: u64 = (HOURS - 8) * 12;

fn act(_: u64, _: &Attempt) -> Act {
    Act::succeeding(LASTS, json!("done"))
}

fn plan(seed: u64, faults: Faults) -> Plan {
    let long = task(json!({ "task": "long", "actions": { "a": { "native": { "handler": "a" } } } }));
    // The agent extends rarely, and the test plays three days in a moment.
    let fleet = Fleet { managers: 1, workers: 1, visibility: Duration::from_mins(10), ..Fleet::SMALL };
    let patience = LASTS + Duration::from_hours(1);
    Plan { faults, acts: Some(act), patience, ..Plan::by_hand(seed, vec![long], vec![run("long")], fleet) }
}

/// How often its message was sent.
fn sent(verdict: &Verdict) -> usize {
    verdict.lines.iter().filter(|line| line.contains("sends to pool.default: ")).count()
}

fn check_one_owner(verdict: &Verdict) {
    let (record, _) = &verdict.told[0];
    let state = record.action(ActionIndex(0));
    let seed = verdict.seed;
    assert_eq!((record.status, state.attempt(), state.fence), (RunStatus::Succeeded, 1, 1), "seed {seed}");
    // Two agents may begin a message that its queue delivers twice at once: the process manager stops one when the
    // other reports.
    let lasting = verdict
        .performed
        .iter()
        .filter(|performed| performed.ended.is_none_or(|ended| ended.since(performed.began) > Millis::from_secs(30)));
    assert_eq!(lasting.count(), 1, "seed {seed} begins it again: {:?}", verdict.performed);
    assert!(verdict.broken.is_empty(), "seed {seed}: {:?}", verdict.broken);
    assert!(record.revision > RENEWALS, "seed {seed}: written {} times", record.revision);
}

#[test]
fn long_attempt_is_sent_once_and_then_leased() {
    let verdict = simulated(&plan(0, Faults::default()), Calm::Unasked, true);
    check_one_owner(&verdict);
    assert_eq!(sent(&verdict), 1);
    let written = verdict.told[0].0.revision;
    assert!((RENEWALS..=RENEWALS * 3 / 2 + 10).contains(&written), "written {written} times");
}

/// Messages that are late, out of order and delivered twice, for all of its time. No agent begins anything again.
#[test]
fn late_or_repeated_messages_begin_nothing_again() {
    in_each(seeds(3, 0), |seed| {
        let (last, delay) = (LASTS, Duration::from_secs(30));
        let faults = Faults {
            last,
            latency: Duration::from_millis(400),
            delays: 500_000,
            delay,
            duplicates: 200_000,
            ..Faults::default()
        };
        check_one_owner(&simulated(&plan(seed, faults), Calm::Unasked, true));
    });
}

/// Anything may fail. An agent may begin it again, but it ends once, as one attempt.
#[test]
fn long_action_is_one_attempt_despite_faults() {
    in_each(seeds(3, 0), |seed| {
        let faults = Faults {
            last: LASTS / 2,
            latency: Duration::from_millis(400),
            refused: 20_000,
            unanswered: 20_000,
            duplicates: 100_000,
            delays: 300_000,
            delay: Duration::from_mins(5),
            losses: 20_000,
            ..Faults::default()
        };
        let plan = plan(seed, faults);
        let verdict = live(&Plan { patience: LASTS * 2, ..plan }, Calm::Unasked);
        let (record, _) = &verdict.told[0];
        assert_eq!((record.status, record.action(ActionIndex(0)).attempt()), (RunStatus::Succeeded, 1), "seed {seed}");
    });
}
