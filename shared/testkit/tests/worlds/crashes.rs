//! SCENARIOS 11: a process fails before and after each of its calls, one by one, and the end is the same.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::json;
use windlass_domain::ids::ActionIndex;
use windlass_domain::run::{ActionStatus, ErrorInfo, Outcome, Run, RunStatus};
use windlass_engine::perform::Attempt;
use windlass_testkit::simulation::{Act, Calm, Faults, Fleet, Plan, PlannedTask, Strike, Verdict};

use super::{in_each, live, run, seeds, task};

/// Worlds in which messages are repeated and late, for each call.
const VARIANTS: u64 = if cfg!(debug_assertions) { 0 } else { 2 };
/// Of the calls, in a build that is not optimised, every so manieth.
const STEP: u64 = if cfg!(debug_assertions) { 17 } else { 1 };

/// SCENARIOS 1: A, then B and C at once, then D; C has a fault that is not critical.
fn diamond() -> PlannedTask {
    let action = |needs: &[&str]| {
        let mut action = json!({ "native": { "handler": "a" } });
        if !needs.is_empty() {
            action["needs"] = json!(needs);
        }
        action
    };
    let mut c = action(&["a"]);
    c["allow_failure"] = json!(true);
    task(json!({ "task": "diamond", "events": "all",
        "actions": { "a": action(&[]), "b": action(&["a"]), "c": c, "d": action(&["b", "c"]) } }))
}

fn act_of_diamond(_: u64, attempt: &Attempt) -> Act {
    const C: u32 = 2;
    let act = Act::succeeding(Duration::from_secs(2), json!(attempt.name.as_str()));
    if attempt.of.action.0 == C {
        return Act { ends: Outcome::Failed { error: ErrorInfo::new("auth.password", "it is wrong") }, ..act };
    }
    act
}

/// SCENARIOS 9: six steps, and the deadline passes in the fourth.
fn six_steps() -> PlannedTask {
    let mut actions = serde_json::Map::new();
    for step in 1..=6 {
        let mut action = json!({ "native": { "handler": "a" } });
        if step > 1 {
            action["needs"] = json!([format!("step{}", step - 1)]);
        }
        actions.insert(format!("step{step}"), action);
    }
    task(json!({ "task": "steps", "events": "all", "timeout": "20m", "actions": actions }))
}

fn act_of_steps(_: u64, attempt: &Attempt) -> Act {
    let takes = if attempt.of.action.0 == 3 { Duration::from_hours(1) } else { Duration::from_secs(5) };
    Act::succeeding(takes, json!(attempt.of.action.0))
}

fn plan(seed: u64, task: &PlannedTask, acts: fn(u64, &Attempt) -> Act) -> Plan {
    let fleet = Fleet { managers: 1, workers: 1, agents: 1, slots: 2, ..Fleet::SMALL };
    Plan { acts: Some(acts), ..Plan::by_hand(seed, vec![task.clone()], vec![run("run")], fleet) }
}

fn shaken(strikes: Vec<Strike>, is_shaken: bool) -> Faults {
    if !is_shaken {
        return Faults { strikes, ..Faults::default() };
    }
    let (last, delay) = (Duration::from_mins(10), Duration::from_secs(10));
    Faults {
        strikes,
        last,
        delay,
        latency: Duration::from_millis(50),
        duplicates: 200_000,
        delays: 300_000,
        ..Faults::default()
    }
}

/// A story whose process of each sort dies before and after each of its calls.
struct Story<'s> {
    task: PlannedTask,
    acts: fn(u64, &Attempt) -> Act,
    who: &'s [&'static str],
    /// Faults change nothing at all.
    calm: Calm,
}

impl Story<'_> {
    fn strike_each(&self, check: impl Fn(&Verdict, &str) + Sync) {
        let calm = live(&plan(0, &self.task, self.acts), Calm::Unasked);
        check(&calm, "without faults");
        for who in self.who {
            let calls = calm.calls.get(*who).copied().unwrap_or(0);
            assert!(calls > 3, "{who} makes {calls} calls");
            // Messages that are repeated or late make for more of them.
            let calls = calls + calls / 4;
            in_each(0..calls * 2 * (1 + VARIANTS) / STEP, |number| {
                let (death, variant) = (number * STEP % (calls * 2), number * STEP / (calls * 2));
                let strike = Strike { who, call: death / 2, after: death % 2 == 1 };
                let told = format!("{strike:?}, variant {variant}");
                let faults = shaken(vec![strike], variant > 0);
                check(&live(&Plan { faults, ..plan(variant, &self.task, self.acts) }, self.calm), &told);
            });
        }
    }
}

/// The lasting events of a run. At a deadline, the agent or the run ends the action: the one with the faster clock.
fn events(verdict: &Verdict) -> BTreeSet<(String, String, u32)> {
    let passing = ["action.started", "action.progressed"];
    let (_, log) = &verdict.told[0];
    let kept = log.iter().filter(|event| !passing.contains(&event.kind.as_str()));
    let told = kept.map(|event| {
        let action = event.action.as_ref().map(ToString::to_string).unwrap_or_default();
        let by_deadline = action == "step4" && ["action.timed_out", "action.cancelled"].contains(&event.kind.as_str());
        let kind = if by_deadline { "ended by the deadline" } else { event.kind.as_str() };
        (kind.to_owned(), action, event.attempt.unwrap_or(0))
    });
    told.collect()
}

fn statuses(run: &Run) -> Vec<ActionStatus> {
    (0..run.actions.len()).map(|at| run.action(ActionIndex::from_usize(at)).status).collect()
}

#[test]
fn diamond_ends_the_same_despite_any_crash() {
    use ActionStatus::{Failed, Succeeded};
    let who = &["manager", "api.run", "agent"];
    let story = Story { task: diamond(), acts: act_of_diamond, who, calm: Calm::EndsAlike };
    story.strike_each(|verdict, told| {
        let (run, log) = &verdict.told[0];
        assert_eq!(run.status, RunStatus::SucceededWithFaults, "{told}");
        assert_eq!(statuses(run), [Succeeded, Succeeded, Failed, Succeeded], "{told}");
        let started = log.iter().filter(|event| event.kind == "action.queued" && event.attempt == Some(1)).count();
        assert_eq!(started, 4, "{told}: each is begun once");
        assert_eq!(log.iter().filter(|event| event.kind == "run.succeeded_with_faults").count(), 1, "{told}");
    });
}

#[test]
fn deadline_ends_the_run_despite_any_crash() {
    use ActionStatus::{Cancelled, Succeeded, TimedOut};
    let who = &["manager", "api.run", "agent", "sweeper"];
    let story = Story { task: six_steps(), acts: act_of_steps, who, calm: Calm::Unasked };
    let calm = events(&live(&plan(0, &story.task, story.acts), Calm::Unasked));
    story.strike_each(|verdict, told| {
        let (run, _) = &verdict.told[0];
        assert_eq!(run.status, RunStatus::TimedOut, "{told}");
        let statuses = statuses(run);
        assert_eq!(statuses[..3], [Succeeded; 3], "{told}");
        assert!([TimedOut, Cancelled].contains(&statuses[3]), "{told}: {statuses:?}");
        assert_eq!(statuses[4..], [Cancelled; 2], "{told}");
        assert_eq!(events(verdict), calm, "{told}");
        let later = verdict.performed.iter().filter(|performed| performed.of.action.0 > 3).count();
        assert_eq!(later, 0, "{told}: nothing starts later");
    });
}

/// Two deaths in one world, drawn from all calls.
#[test]
fn the_diamond_ends_the_same_if_two_die() {
    let diamond = diamond();
    let calls = live(&plan(0, &diamond, act_of_diamond), Calm::Unasked).calls;
    in_each(seeds(400, 10), |seed| {
        let mut chance = fastrand::Rng::with_seed(seed);
        let mut strike = || {
            let who = *chance.choice(&["manager", "manager", "api.run", "agent"]).expect("there are some");
            Strike { who, call: chance.u64(0..calls[who]), after: chance.bool() }
        };
        let strikes = vec![strike(), strike()];
        let told = format!("{strikes:?}");
        let verdict = live(
            &Plan { faults: shaken(strikes, seed % 2 == 1), ..plan(seed, &diamond, act_of_diamond) },
            Calm::EndsAlike,
        );
        assert_eq!(verdict.told[0].0.status, RunStatus::SucceededWithFaults, "{told}");
    });
}
