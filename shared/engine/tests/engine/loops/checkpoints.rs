//! Checkpoints: the record keeps the newest, and the next agent of the action gets it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use windlass_domain::ids::ActionIndex;
use windlass_domain::run::{ActionStatus, Input, Progress, Run, RunStatus};
use windlass_testkit::faults::Moment;

use crate::world::{Act, Script, World, report_of};

const ACTION: ActionIndex = ActionIndex(0);

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn task() -> Value {
    let retry = json!({ "attempts": 3, "delay": "1s", "jitter": "none" });
    json!({ "task": "one", "actions": { "a": { "native": { "handler": "a" }, "retry": retry } } })
}

fn saved(run: &Run) -> Option<i64> {
    run.action(ACTION).checkpoint.as_ref().and_then(Value::as_i64)
}

/// The attempt, and the checkpoint that it got.
type Start = (u32, Option<i64>);

/// Each start of the action, in order.
#[derive(Clone, Default)]
struct Starts(Arc<Mutex<Vec<Start>>>);

impl Starts {
    /// An agent's script: The first start does `first`; every later one succeeds.
    fn script(&self, first: impl Fn() -> Act + Send + Sync + 'static) -> Script {
        let starts = self.0.clone();
        Script::new(move |attempt| {
            let mut starts = starts.lock().expect("not poisoned");
            starts.push((attempt.of.attempt, attempt.checkpoint.as_ref().and_then(Value::as_i64)));
            if starts.len() == 1 { first() } else { Script::give(json!("done")) }
        })
    }

    fn seen(&self) -> Vec<Start> {
        self.0.lock().expect("not poisoned").clone()
    }
}

#[tokio::test(start_paused = true)]
async fn record_keeps_newest_checkpoint_until_action_ends() {
    let world = World::new();
    let saves = || [(secs(3), json!(1)), (secs(3), json!(2))];
    world.agent("agent", 4, Script::new(move |_| Script::save(saves(), Script::after(secs(9), json!("done")))));
    let id = world.submit(&task()).await;
    world.until(id, |run| saved(run) == Some(1)).await;
    let run = world.until(id, |run| saved(run) == Some(2)).await;
    assert_eq!(run.action(ACTION).status, ActionStatus::Running);
    let run = world.ended(id).await;
    assert_eq!((run.status, saved(&run)), (RunStatus::Succeeded, None));
    let told = world.events(id).await.iter().any(|event| event.contains("checkpoint"));
    assert!(!told, "a checkpoint is nobody else's business");
}

#[tokio::test(start_paused = true)]
async fn next_owner_gets_checkpoint_of_draining_agent() {
    // The checkpoint is saved long before the hand-back; in the very moment of it; and before it was ever reported.
    for (after, drained) in [(secs(5), secs(20)), (secs(64), secs(5)), (secs(1), secs(0))] {
        let (world, starts) = (World::new(), Starts::default());
        let first = world.agent("first", 4, starts.script(move || Script::save([(after, json!(7))], Script::hang())));
        let id = world.submit(&task()).await;
        world.until(id, |run| run.action(ACTION).status == ActionStatus::Running).await;
        tokio::time::sleep(drained).await;
        world.agent("second", 4, starts.script(Script::hang));
        first.drain().await;
        let run = world.ended(id).await;
        assert_eq!(starts.seen(), [(1, None), (1, Some(7))], "saved after {after:?}");
        // One fence is the hand-back's, one the claim's.
        assert_eq!((run.status, run.action(ACTION).attempt(), run.action(ACTION).fence), (RunStatus::Succeeded, 1, 3));
        assert_eq!(world.left_over().await, Vec::<String>::new());
    }
}

/// Any one call may fail, before or after its effect: the hand-back is committed before the message is visible.
#[tokio::test(start_paused = true)]
async fn a_failure_while_handing_back_loses_no_checkpoint() {
    let drained = async |at, moment| {
        let (world, starts) = (World::failing(at, moment), Starts::default());
        let saving = || Script::save([(secs(64), json!(7))], Script::hang());
        let first = world.agent("first", 4, starts.script(saving));
        let id = world.submit(&task()).await;
        world.until(id, |run| run.action(ACTION).status == ActionStatus::Running).await;
        tokio::time::sleep(secs(5)).await;
        let begin = world.calls();
        first.drain().await;
        let end = world.calls();
        world.agent("second", 4, starts.script(Script::hang));
        assert_eq!(world.ended(id).await.status, RunStatus::Succeeded);
        assert_eq!(starts.seen(), [(1, None), (1, Some(7))], "call {at} fails {moment:?} its effect");
        begin..end
    };
    let calls = drained(usize::MAX, Moment::Before).await;
    assert!(calls.len() > 10, "{calls:?}");
    for moment in [Moment::Before, Moment::After] {
        // The hand-back is at the end of the drain.
        for at in calls.end.saturating_sub(40)..calls.end {
            drained(at, moment).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn next_attempt_gets_checkpoint_of_failed_one() {
    // One failed before it was ever reported as started, one a moment after it saved.
    for after in [Duration::from_millis(500), secs(9)] {
        let (world, starts) = (World::new(), Starts::default());
        world.agent(
            "agent",
            4,
            starts.script(move || Script::save([(after, json!(7))], Script::fail("network.reset"))),
        );
        let id = world.submit(&task()).await;
        let run = world.ended(id).await;
        assert_eq!((run.status, run.action(ACTION).attempt()), (RunStatus::Succeeded, 2));
        assert_eq!(starts.seen(), [(1, None), (2, Some(7))], "saved after {after:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn next_owner_gets_last_checkpoint_of_lost_agent() {
    let (world, starts) = (World::new(), Starts::default());
    let id = world.submit(&task()).await;
    let taken = world.steal(secs(30)).await;
    assert_eq!(taken.len(), 1);
    let of = report_of(&taken[0], "dead");
    world.input(id, Input::Started { of: of.clone(), started_at: world.now() }).await;
    let report = |number, rows: i64| Input::Progressed {
        of: of.clone(),
        number,
        progress: Progress::default(),
        checkpoint: Some(rows.into()),
    };
    // They overtake each other.
    for (number, rows) in [(1, 10), (3, 30), (2, 20)] {
        world.until(id, |run| run.action(ACTION).status == ActionStatus::Running).await;
        world.input(id, report(number, rows)).await;
        tokio::time::sleep(secs(1)).await;
    }
    world.agent("other", 4, starts.script(|| Script::give(json!("done"))));
    assert_eq!(world.ended(id).await.status, RunStatus::Succeeded);
    assert_eq!(starts.seen(), [(1, Some(30))], "the newest report counts");
}

#[tokio::test(start_paused = true)]
async fn a_retry_by_hand_starts_over() {
    let (world, starts) = (World::new(), Starts::default());
    world.agent("agent", 4, starts.script(|| Script::save([(secs(4), json!(7))], Script::fail("auth.password"))));
    let id = world.submit(&task()).await;
    let run = world.ended(id).await;
    assert_eq!((run.status, saved(&run)), (RunStatus::Failed, None));
    world.input(id, Input::Retry { retries: 0 }).await;
    world.until(id, |run| run.status == RunStatus::Succeeded).await;
    assert_eq!(starts.seen(), [(1, None), (2, None)]);
}
