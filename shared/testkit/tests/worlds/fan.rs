//! A wide fan and one join, in a world with faults. `WINDLASS_FAN=10000` makes it as wide as a task may be, which takes minutes.

use std::time::Duration;

use serde_json::{Map, json};
use windlass_domain::run::RunStatus;
use windlass_engine::perform::Attempt;
use windlass_testkit::simulation::{Act, Calm, Faults, Fleet, Plan};

use super::{live, run, task};

/// Actions, unless the environment names another number; the join is one of them.
const ACTIONS: usize = if cfg!(debug_assertions) { 300 } else { 1_500 };
const WINDOW: usize = 500;

fn act(_: u64, attempt: &Attempt) -> Act {
    Act::succeeding(Duration::from_millis(200 + u64::from(attempt.of.action.0 % 100) * 20), json!(1))
}

#[test]
fn wide_fan_joins_once_within_its_window() {
    let asked = std::env::var("WINDLASS_FAN").ok();
    let wide = asked.map_or(ACTIONS, |asked| asked.parse().expect("WINDLASS_FAN is a number"));
    let mut actions = Map::new();
    let items: Vec<_> = (1..wide).map(|number| format!("item{number}")).collect();
    for item in &items {
        actions.insert(item.clone(), json!({ "native": { "handler": "a" } }));
    }
    actions.insert("join".to_owned(), json!({ "native": { "handler": "a" }, "needs": items }));
    let fan = task(json!({ "task": "fan", "max_parallel": WINDOW, "actions": actions }));
    let fleet = Fleet { managers: 3, workers: 4, agents: 3, slots: 300, receivers: 4, ..Fleet::SMALL };
    let faults = Faults {
        last: Duration::from_mins(5),
        latency: Duration::from_millis(30),
        conflicts: 20_000,
        duplicates: 10_000,
        delays: 20_000,
        delay: Duration::from_secs(5),
        refused: 5_000,
        unanswered: 5_000,
        blows: Duration::from_mins(1),
        drops_take_messages: true,
        ..Faults::default()
    };
    let plan = Plan { faults, acts: Some(act), ..Plan::by_hand(1, vec![fan], vec![run("fan")], fleet) };
    let verdict = live(&plan, Calm::Unasked);
    let (run, log) = &verdict.told[0];
    assert_eq!(run.status, RunStatus::Succeeded);
    let (mut open, mut most, mut joins) = (0_usize, 0, 0);
    for event in log {
        match event.kind.as_str() {
            "action.queued" => open += 1,
            "action.succeeded" => open -= 1,
            _ => {}
        }
        joins += usize::from(
            event.kind == "action.queued" && event.action.as_ref().is_some_and(|name| name.as_str() == "join"),
        );
        most = most.max(open);
    }
    assert_eq!((open, joins), (0, 1));
    assert!((WINDOW.min(wide) - 1..=WINDOW).contains(&most) || most == wide - 1, "{most} at once");
}
