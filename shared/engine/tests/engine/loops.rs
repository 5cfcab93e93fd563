//! The loops together, on the host in memory and on paused time: what users rely on when things go wrong.

mod checkpoints;
mod kill;
mod late;
mod long;
mod lost;
mod poison;
mod replaced;

use std::time::Duration;

use serde_json::{Value, json};
use windlass_contract::message::{ControlMessage, InboxMessage, PerformMessage, decode, encode};
use windlass_domain::attempt::Fate;
use windlass_domain::content::Place;
use windlass_domain::ids::{ActionIndex, AgentId, PoolName};
use windlass_domain::limits::MAX_DELIVERIES;
use windlass_domain::run::{ActionState, ActionStatus, CancelCause, Input, Outcome, RunStatus};
use windlass_domain::time::Millis;
use windlass_engine::ports::{Outgoing, QueueName};

use crate::world::{Script, World, absent_run, report_of};
use windlass_testkit::faults::Moment;

fn chain() -> Value {
    json!({ "task": "chain", "actions": {
        "a": { "native": { "handler": "a" } },
        "b": { "needs": "a", "native": { "handler": "b", "input": "${{ actions.a.output }}" } },
        "c": { "needs": ["b"], "native": { "handler": "c" } },
    } })
}

fn one(extra: &Value) -> Value {
    let mut action = json!({ "native": { "handler": "a" } });
    let extra = extra.as_object().expect("a mapping").clone();
    action.as_object_mut().expect("a mapping").extend(extra);
    json!({ "task": "one", "actions": { "a": action } })
}

#[tokio::test(start_paused = true)]
async fn chain_ends_and_logs_each_event_once() {
    let world = World::new();
    world.agent(
        "agent",
        4,
        Script::new(|attempt| match attempt.name.as_str() {
            "a" => Script::give(json!({ "rows": 3 })),
            _ => Script::give(json!(attempt.name.as_str())),
        }),
    );
    let id = world.submit(&chain()).await;
    let run = world.ended(id).await;
    assert_eq!(run.status, RunStatus::Succeeded);
    let events = world.events(id).await;
    let expected = [
        "run.started",
        "action.queued a",
        "action.succeeded a",
        "action.queued b",
        "action.succeeded b",
        "action.queued c",
        "action.succeeded c",
        "run.succeeded",
    ];
    assert_eq!(events, expected);
    assert_eq!(world.left_over().await, Vec::<String>::new(), "every message was acknowledged");
}

#[tokio::test(start_paused = true)]
async fn network_failure_is_retried_unlike_wrong_password() {
    let world = World::new();
    world.agent(
        "agent",
        4,
        Script::new(|attempt| match (attempt.name.as_str(), attempt.of.attempt) {
            ("network", 1 | 2) => Script::fail("network.reset"),
            ("password", _) => Script::fail("auth.password"),
            _ => Script::give(Value::Null),
        }),
    );
    let retry = json!({ "attempts": 5, "delay": "1s", "jitter": "none" });
    let id = world
        .submit(&json!({ "task": "both", "actions": {
            "network": { "native": { "handler": "x" }, "retry": retry },
            "password": { "native": { "handler": "x" }, "retry": retry, "allow_failure": true },
        } }))
        .await;
    let run = world.ended(id).await;
    assert_eq!(run.status, RunStatus::SucceededWithFaults);
    assert_eq!(run.action(ActionIndex(0)).attempt(), 3);
    assert_eq!(run.action(ActionIndex(1)).attempt(), 1);
    let took = run.finished_at.expect("ended").since(run.submitted_at).0;
    assert!((3000..3500).contains(&took), "1 s and 2 s of waiting, not {took} ms");
}

/// The agent sends no report that no reader could read: it would become a dead letter.
#[tokio::test(start_paused = true)]
async fn too_deeply_nested_output_is_a_failure() {
    let world = World::new();
    world.agent("agent", 4, Script::new(|_| Script::give((0..200).fold(json!("x"), |inner, _| json!([inner])))));
    let run = world.ended(world.submit(&one(&json!({ "retry": { "attempts": 3 } }))).await).await;
    let state = run.action(ActionIndex(0));
    let kind = state.error.as_ref().map(|error| error.kind.as_str());
    assert_eq!((run.status, state.attempt(), kind), (RunStatus::Failed, 1, Some("output.too_deep")));
    assert_eq!(world.host.messages(&QueueName::DeadLetter), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_run_stops_what_runs() {
    let world = World::new();
    world.agent("agent", 4, Script::new(|_| Script::hang()));
    let id = world.submit(&one(&json!({}))).await;
    world.until(id, |run| run.action(ActionIndex(0)).status == ActionStatus::Running).await;
    let before = world.now();
    world.input(id, Input::Cancel { reason: "enough".into(), cause: CancelCause::Request, retries: 0 }).await;
    let run = world.ended(id).await;
    assert_eq!(run.status, RunStatus::Cancelled);
    assert!(world.now().since(before).0 < 2000, "a kill is acknowledged within 2 s by an action that listens");
}

#[tokio::test(start_paused = true)]
async fn cancelled_run_without_agents_ends_after_grace() {
    let world = World::new();
    let id = world.submit(&one(&json!({}))).await;
    world.until(id, |run| run.action(ActionIndex(0)).status == ActionStatus::Queued).await;
    world.input(id, Input::Cancel { reason: "enough".into(), cause: CancelCause::Request, retries: 0 }).await;
    let run = world.ended(id).await;
    assert_eq!(run.status, RunStatus::Cancelled);
    let waited = run.finished_at.expect("ended").since(run.submitted_at).0;
    assert!((30_000..33_000).contains(&waited), "{waited}");
    let script = Script::new(|_| Script::give(Value::Null));
    let performed = script.performed.clone();
    world.agent("late", 4, script);
    tokio::time::sleep(Duration::from_mins(1)).await;
    assert_eq!(performed.load(std::sync::atomic::Ordering::SeqCst), 0, "nothing starts after the run's end");
    assert_eq!(world.left_over().await, Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn deadline_ends_run_and_nothing_starts_later() {
    let world = World::new();
    world.agent(
        "agent",
        4,
        Script::new(|attempt| match attempt.name.as_str() {
            "a" => Script::give(Value::Null),
            _ => Script::hang(),
        }),
    );
    let mut definition = chain();
    definition["timeout"] = json!("10s");
    let id = world.submit(&definition).await;
    let run = world.ended(id).await;
    assert_eq!(run.status, RunStatus::TimedOut);
    let statuses: Vec<_> = run.actions.iter().map(|state| state.status).collect();
    assert_eq!(statuses, [ActionStatus::Succeeded, ActionStatus::Cancelled, ActionStatus::Cancelled]);
    let took = run.finished_at.expect("ended").since(run.submitted_at).0;
    assert!((10_000..12_000).contains(&took), "{took}");
}

#[tokio::test(start_paused = true)]
async fn dead_agents_work_moves_within_visibility_timeout() {
    let world = World::new();
    let id = world.submit(&one(&json!({}))).await;
    let taken = world.steal(Duration::from_secs(30)).await;
    assert_eq!(taken.len(), 1, "an agent took the attempt and died");
    let died = world.now();
    world.agent("other", 4, Script::new(|_| Script::give(json!("done"))));
    let run = world.ended(id).await;
    assert!(world.now().since(died).0 <= 35_000);
    let state = run.action(ActionIndex(0));
    assert_eq!((run.status, state.attempt(), state.fence), (RunStatus::Succeeded, 1, 2));
}

#[tokio::test(start_paused = true)]
async fn displaced_agent_reports_in_vain() {
    let world = World::new();
    let id = world.submit(&one(&json!({}))).await;
    let taken = world.steal(Duration::from_secs(30)).await;
    world.agent("other", 4, Script::new(|_| Script::after(Duration::from_secs(5), json!("second"))));
    let run = world.until(id, |run| run.action(ActionIndex(0)).status == ActionStatus::Running).await;
    let of = report_of(&taken[0], "zombie");
    assert_eq!(run.action(ActionIndex(0)).losses, [of.delivery], "the zombie counts as lost");
    let outcome = Outcome::Succeeded { output: json!("first") };
    let started_at = world.now();
    world.input(id, Input::Completed { of: of.clone(), started_at, outcome, checkpoint: None }).await;
    world.input(id, Input::Started { of: of.clone(), started_at }).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let state = world.run(id).await.action(ActionIndex(0)).clone();
    assert_eq!((state.status, state.losses), (ActionStatus::Running, vec![]), "it was not lost after all");
    let run = world.ended(id).await;
    assert_eq!(run.value(Place::Output(ActionIndex(0))), Some(&json!("second")));
    let completions = world.events(id).await.iter().filter(|event| event.starts_with("action.succeeded")).count();
    assert_eq!(completions, 1);
    let queue = QueueName::Control { pool: PoolName::default(), agent: of.agent };
    let [told] = &world.host.messages(&queue)[..] else { panic!("the zombie is told once") };
    let ControlMessage::Stop { stopped, .. } = decode(told).expect("a message") else { panic!("{told}") };
    assert_eq!((stopped[0].delivery, stopped[0].fate), (of.delivery, Fate::Leave));
}

#[tokio::test(start_paused = true)]
async fn draining_agent_hands_back_without_spending_attempt() {
    let world = World::new();
    let first = world.agent("first", 4, Script::new(|_| Script::hang()));
    let id = world.submit(&one(&json!({}))).await;
    world.until(id, |run| run.action(ActionIndex(0)).status == ActionStatus::Running).await;
    world.agent("second", 4, Script::new(|_| Script::give(json!("done"))));
    let before = world.now();
    first.drain().await;
    let run = world.ended(id).await;
    let state = run.action(ActionIndex(0));
    assert_eq!((run.status, state.attempt()), (RunStatus::Succeeded, 1));
    assert_eq!(state.agent().map(AgentId::as_str), Some("second"));
    let moved = world.now().since(before).0;
    assert!(moved < 61_000 + 2000, "handed back at the drain deadline, not at the visibility timeout: {moved}");
    assert_eq!(world.agents().await, ["second"], "it has left the register");
}

#[tokio::test(start_paused = true)]
async fn pause_holds_back_until_resume() {
    let world = World::new();
    world.agent("agent", 4, Script::new(|_| Script::after(Duration::from_secs(5), Value::Null)));
    let id = world.submit(&chain()).await;
    world.until(id, |run| run.action(ActionIndex(0)).status == ActionStatus::Running).await;
    world.input(id, Input::Pause { pauses: 0, retries: 0 }).await;
    tokio::time::sleep(Duration::from_mins(2)).await;
    let run = world.run(id).await;
    assert_eq!(run.status, RunStatus::Paused);
    assert_eq!(run.action(ActionIndex(0)).status, ActionStatus::Succeeded);
    assert_eq!(run.action(ActionIndex(1)).status, ActionStatus::Waiting);
    world.input(id, Input::Resume { pauses: 1 }).await;
    assert_eq!(world.ended(id).await.status, RunStatus::Succeeded);
}

#[tokio::test(start_paused = true)]
async fn retried_run_continues_where_it_failed() {
    let world = World::new();
    let script = Script::new(|attempt| match (attempt.name.as_str(), attempt.of.attempt) {
        ("b", 1) => Script::fail("exit.1"),
        _ => Script::give(Value::Null),
    });
    world.agent("agent", 4, script);
    let id = world.submit(&chain()).await;
    assert_eq!(world.ended(id).await.status, RunStatus::Failed);
    world.input(id, Input::Retry { retries: 0 }).await;
    world.until(id, |run| run.status == RunStatus::Succeeded).await;
    let attempts: Vec<_> = world.run(id).await.actions.iter().map(ActionState::attempt).collect();
    assert_eq!(attempts, [1, 2, 1]);
}

#[tokio::test(start_paused = true)]
async fn unreadable_messages_become_dead_letters_with_reason() {
    let world = World::new();
    world.agent("agent", 4, Script::new(|_| Script::give(Value::Null)));
    let ports = world.host.ports();
    let of_no_run = InboxMessage::of_run(absent_run(), Input::Wake { action: None });
    let inbox = ["no json".to_owned(), r#"{"v":7,"type":"run"}"#.to_owned(), encode(&of_no_run)];
    let batch = inbox.map(Outgoing::now).to_vec();
    ports.queues.send(&QueueName::Inbox, batch).await.expect("sent");
    let pool = QueueName::Pool(PoolName::default());
    ports.queues.send(&pool, vec![Outgoing::now("{}".into())]).await.expect("sent");
    let id = world.submit(&chain()).await;
    assert_eq!(world.ended(id).await.status, RunStatus::Succeeded, "other messages of the batch are untouched");
    let mut reasons: Vec<String> = world
        .host
        .messages(&QueueName::DeadLetter)
        .iter()
        .map(|body| serde_json::from_str::<Value>(body).expect("JSON")["reason"].as_str().expect("text").to_owned())
        .collect();
    reasons.sort();
    assert_eq!(reasons.len(), 4, "{reasons:?}");
    assert!(reasons.iter().any(|reason| reason.contains("version 7")), "{reasons:?}");
    assert!(reasons.iter().any(|reason| reason.contains("no such run")), "{reasons:?}");
}

#[tokio::test(start_paused = true)]
async fn attempt_delivered_too_often_is_given_up() {
    let world = World::new();
    let id = world.submit(&one(&json!({ "retry": { "attempts": 9 } }))).await;
    for _ in 0..MAX_DELIVERIES {
        // All before the sweeper resends the attempt at its first mark.
        assert_eq!(world.steal(Duration::from_millis(100)).await.len(), 1);
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    world.agent("agent", 4, Script::new(|_| Script::give(Value::Null)));
    let run = world.ended(id).await;
    let error = run.action(ActionIndex(0)).error.clone().expect("a reason");
    assert_eq!((run.status, error.kind.as_str()), (RunStatus::Failed, "dead_letter"));
    assert_eq!(world.host.messages(&QueueName::DeadLetter).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn panicking_attempt_comes_again_and_frees_slot() {
    let world = World::new();
    let script = Script::new(|attempt| {
        assert!(attempt.fence > 1, "by script");
        Script::give(json!("done"))
    });
    world.agent("agent", 1, script);
    let id = world.submit(&one(&json!({}))).await;
    let run = world.ended(id).await;
    let state = run.action(ActionIndex(0));
    assert_eq!((run.status, state.attempt(), state.fence), (RunStatus::Succeeded, 1, 2));
}

#[tokio::test(start_paused = true)]
async fn an_agent_never_holds_more_than_its_slots() {
    let world = World::new();
    let script = Script::new(|_| Script::after(Duration::from_secs(3), Value::Null));
    let most = script.most.clone();
    world.agent("agent", 3, script);
    let actions: serde_json::Map<String, Value> =
        (0..20).map(|n| (format!("a{n}"), json!({ "native": { "handler": "x" } }))).collect();
    let id = world.submit(&json!({ "task": "fan", "actions": actions })).await;
    assert_eq!(world.ended(id).await.status, RunStatus::Succeeded);
    assert_eq!(most.load(std::sync::atomic::Ordering::SeqCst), 3);
}

/// The run without faults, for comparison with runs that have one.
async fn diamond(world: &World) -> (Vec<String>, RunStatus) {
    world.agent(
        "agent",
        4,
        Script::new(|attempt| match (attempt.name.as_str(), attempt.of.attempt) {
            ("c", _) => Script::fail("exit.1"),
            ("b", 1) => Script::fail("network.reset"),
            _ => Script::give(json!(attempt.name.as_str())),
        }),
    );
    let id = world
        .submit(&json!({ "task": "diamond", "actions": {
            "a": { "native": { "handler": "x" } },
            "b": { "needs": "a", "native": { "handler": "x" }, "retry": { "attempts": 3, "delay": "2s" } },
            "c": { "needs": "a", "native": { "handler": "x" }, "allow_failure": true },
            "d": { "needs": ["b", "c"], "native": { "handler": "x" } },
        } }))
        .await;
    let run = world.ended(id).await;
    let took = run.finished_at.expect("ended").since(run.submitted_at).0;
    assert!(took < 100_000, "what is lost is sent again by a redelivery, not by the sweeper: {took} ms");
    let mut events = world.events(id).await;
    // Events of attempts that lasted because of a fault are no difference.
    events.retain(|event| !event.starts_with("action.started"));
    events.sort();
    (events, run.status)
}

/// SCENARIOS 11: any one call of a queue or of the store may fail, before or after its effect; the end is the same.
#[tokio::test(start_paused = true)]
async fn failure_at_any_call_changes_nothing() {
    let plain = World::new();
    let expected = diamond(&plain).await;
    assert_eq!(expected.1, RunStatus::SucceededWithFaults);
    let calls = plain.calls();
    assert!(calls > 20, "{calls}");
    for moment in [Moment::Before, Moment::After, Moment::Twice] {
        for at in 0..calls {
            let world = World::failing(at, moment);
            assert_eq!(diamond(&world).await, expected, "call {at} fails {moment:?} its effect");
        }
    }
}

/// The same where a read may be old, as on `DynamoDB`: the run loses nothing and takes nothing twice.
#[tokio::test(start_paused = true)]
async fn failures_beside_old_reads_change_nothing() {
    let expected = diamond(&World::new()).await;
    let plain = World::failing_with_old_reads(usize::MAX, Moment::Before);
    assert_eq!(diamond(&plain).await, expected);
    for moment in [Moment::Before, Moment::After, Moment::Twice] {
        for at in 0..plain.calls() {
            let world = World::failing_with_old_reads(at, moment);
            assert_eq!(diamond(&world).await, expected, "call {at} fails {moment:?} its effect");
        }
    }
}

/// A message that comes again after its attempt has ended. By the old record an agent could still perform it.
#[tokio::test(start_paused = true)]
async fn redelivery_of_ended_attempt_is_not_performed() {
    let world = World::failing_with_old_reads(usize::MAX, Moment::Before);
    let id = world.submit(&one(&json!({}))).await;
    let taken = world.steal(Duration::from_secs(30)).await;
    let script = Script::new(|_| Script::give(json!("done")));
    let performed = script.performed.clone();
    world.agent("other", 4, script);
    let state = world.ended(id).await.action(ActionIndex(0)).clone();
    assert_eq!((state.attempt(), state.fence), (1, 2));

    let pool = QueueName::Pool(PoolName::default());
    let mut message: PerformMessage = decode(&taken[0].body).expect("an attempt");
    // The last one is young enough for a look at the record; the agent claims by the others.
    let young = world.now().plus(Millis::from_secs(290));
    for (issue, queued_at) in [(1, message.queued_at), (5, message.queued_at), (0, message.queued_at), (0, young)] {
        (message.issue, message.queued_at) = (issue, queued_at);
        let waited = Outgoing { body: encode(&message), delay: Millis::from_secs(300) };
        world.host.ports().queues.send(&pool, vec![waited]).await.expect("sent");
    }
    tokio::time::sleep(Duration::from_mins(10)).await;
    assert_eq!(performed.load(std::sync::atomic::Ordering::SeqCst), 1);
    assert_eq!(world.left_over().await, Vec::<String>::new());
}

/// An agent looks up waiting attempts of one run together: one read, however many they are.
#[tokio::test(start_paused = true)]
async fn waiting_attempts_share_one_read_of_record() {
    let calls = async |width: usize| {
        let world = World::failing_with_old_reads(usize::MAX, Moment::Before);
        let actions = (0..width).map(|at| (format!("a{at}"), json!({ "exec": ["x"] })));
        let actions: serde_json::Map<_, _> = actions.collect();
        let id = world.submit(&json!({ "task": "wide", "actions": actions })).await;
        // No agent takes them before.
        tokio::time::sleep(Duration::from_secs(10)).await;
        let before = world.calls();
        world.agent("late", 10, Script::new(|_| Script::give(json!(null))));
        world.ended(id).await;
        world.calls() - before
    };
    let (one, ten) = (calls(1).await, calls(10).await);
    assert!(ten < one + 5, "ten attempts take {ten} calls where one takes {one}");
}
