//! Runs: one start for each key, lists, and requests to runs.

use axum::http::StatusCode;
use serde_json::{Value, json};
use windlass_contract::message::{InboxMessage, PerformMessage, decode};
use windlass_domain::ids::{ActionIndex, PoolName, RunId};
use windlass_domain::run::Input;
use windlass_domain::time::Millis;
use windlass_engine::ports::QueueName;

use crate::world::{Answer, Call, REPORT, World};

/// The inputs that the API has sent to the inbox for a run.
fn inbox(world: &World, id: RunId) -> Vec<Input> {
    let messages = world.host.messages(&QueueName::Inbox);
    let of_run = |body: &String| match decode(body).unwrap() {
        InboxMessage::Run { run, input, .. } if run == id => Some(input),
        InboxMessage::Run { .. } | InboxMessage::Task { .. } | InboxMessage::Sweep { .. } => None,
    };
    messages.iter().filter_map(of_run).collect()
}

fn id_of(view: &Value) -> RunId {
    view["id"].as_str().unwrap().parse().unwrap()
}

async fn start_with_key(world: &World, key: &str, body: Value) -> Answer {
    world.send(Call::new("POST", "/v1/tasks/report/runs").header("idempotency-key", key).json(&body)).await
}

#[tokio::test(start_paused = true)]
async fn run_is_recorded_before_its_attempts_are_sent() {
    let world = World::with_report().await;
    let answer = world.post("/v1/tasks/report/runs", json!({ "input": { "day": "monday" } })).await;
    let view = answer.expect(StatusCode::ACCEPTED);
    let id = id_of(&view);
    assert_eq!(answer.header("location"), Some(&*format!("/v1/runs/{id}")));
    assert_eq!(answer.header("idempotent-replayed"), None);
    assert_eq!(id.as_uuid().get_version_num(), 7);
    assert_eq!(
        view,
        json!({
            "id": id.to_string(), "task": "report", "version": 1, "status": "running",
            "input": { "day": "monday" }, "output": null,
            "submitted_at": "2026-01-01T00:00:00.000Z", "started_at": "2026-01-01T00:00:00.000Z", "finished_at": null,
            "actions": {
                "extract": queued(),
                "publish": waiting(),
            },
        })
    );
    assert_eq!(world.get(&format!("/v1/runs/{id}")).await.expect(StatusCode::OK), view);
    assert_eq!(inbox(&world, id), [Input::Start], "it was sent first, and is held back");
    let sent = world.host.messages(&QueueName::Pool(PoolName::default()));
    let sent: Vec<PerformMessage> = sent.iter().map(|body| decode(body).unwrap()).collect();
    assert_eq!(sent.iter().map(|perform| (perform.run, perform.name.as_str())).collect::<Vec<_>>(), [(id, "extract")]);
    assert_eq!(sent[0].issue, 0, "an agent begins by the first message of an attempt without a claim");
    let log = world.ports.runs.events(id, None, 10).await.unwrap();
    let told: Vec<&str> = log.iter().map(|logged| logged.event.kind.as_str()).collect();
    assert_eq!(told, ["run.started", "action.queued"]);
}

fn queued() -> Value {
    json!({
        "status": "queued", "attempts": 1, "agent": null, "queued_at": "2026-01-01T00:00:00.000Z", "started_at": null,
        "finished_at": null, "output": null, "error": null,
    })
}

fn waiting() -> Value {
    json!({
        "status": "waiting", "attempts": 0, "agent": null, "queued_at": null, "started_at": null,
        "finished_at": null, "output": null, "error": null,
    })
}

#[tokio::test]
async fn input_is_optional_and_is_checked() {
    let world = World::with_report().await;
    let empty = world.send(Call::new("POST", "/v1/tasks/report/runs")).await.expect(StatusCode::ACCEPTED);
    assert_eq!(empty["input"], json!({ "day": "today" }));
    let problem = world.post("/v1/tasks/report/runs", json!({ "input": { "day": 3 } })).await.refused(422, "WL0417");
    assert_eq!(problem["faults"][0]["path"], "/day");
    assert!(problem["faults"][0]["code"].as_str().unwrap().starts_with("WL02"));
    world.post("/v1/tasks/report/runs", json!({ "input": { "days": "x" } })).await.refused(422, "WL0417");
    assert_eq!(world.get("/v1/runs").await.expect(StatusCode::OK)["runs"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_version_may_be_named() {
    let world = World::with_report().await;
    world.put("report", &REPORT.replace("default: today", "default: monday")).await.expect(StatusCode::CREATED);
    let start = async |body| world.post("/v1/tasks/report/runs", body).await;
    assert_eq!(start(json!({})).await.expect(StatusCode::ACCEPTED)["version"], 2);
    let old = start(json!({ "version": 1 })).await.expect(StatusCode::ACCEPTED);
    assert_eq!((&old["version"], &old["input"]["day"]), (&json!(1), &json!("today")));
    for version in [0, 3] {
        start(json!({ "version": version })).await.refused(404, "WL0412");
    }
    world.post("/v1/tasks/other/runs", json!({})).await.refused(404, "WL0411");
}

#[tokio::test]
async fn the_same_key_is_the_same_run() {
    let world = World::with_report().await;
    let first = start_with_key(&world, "k1", json!({ "input": { "day": "monday" } })).await;
    let id = id_of(&first.expect(StatusCode::ACCEPTED));
    assert_eq!(id, RunId::from_key(&"report".parse().unwrap(), "k1"));
    let again = start_with_key(&world, "k1", json!({ "input": { "day": "monday" } })).await;
    assert_eq!(id_of(&again.expect(StatusCode::ACCEPTED)), id);
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    // A crash between the record and its messages heals: the message that was sent before the record completes the start.
    assert_eq!(inbox(&world, id), [Input::Start]);
    assert_eq!(world.ports.queues.depth(&QueueName::Inbox).await.unwrap(), 0, "it is hidden");
    world.host.advance(Millis::from_secs(60));
    assert_eq!(world.ports.queues.depth(&QueueName::Inbox).await.unwrap(), 1);

    world.finish(id).await;
    let ended = start_with_key(&world, "k1", json!({ "input": { "day": "monday" } })).await.expect(StatusCode::OK);
    assert_eq!((id_of(&ended), &ended["status"]), (id, &json!("succeeded")));
    assert_eq!(inbox(&world, id).len(), 1, "a repeated request sends nothing");
    let other = start_with_key(&world, "k2", json!({ "input": { "day": "monday" } })).await;
    assert_ne!(id_of(&other.expect(StatusCode::ACCEPTED)), id);
}

#[tokio::test]
async fn a_key_is_not_used_for_two_things() {
    let world = World::with_report().await;
    let id = id_of(&start_with_key(&world, "k", json!({})).await.expect(StatusCode::ACCEPTED));
    for body in [json!({ "input": { "day": "monday" } }), json!({ "input": { "day": 3 } }), json!({ "version": 2 })] {
        let problem = start_with_key(&world, "k", body).await.refused(422, "WL0418");
        assert_eq!(problem["instance"], format!("/v1/runs/{id}"));
    }
    // A body without values and a body with their defaults give the same input.
    start_with_key(&world, "k", json!({ "input": { "day": "today" }, "version": 1 }))
        .await
        .expect(StatusCode::ACCEPTED);
}

#[tokio::test]
async fn repeated_request_is_answered_after_its_task_changed() {
    let world = World::with_report().await;
    let id = id_of(&start_with_key(&world, "k", json!({})).await.expect(StatusCode::ACCEPTED));
    world.put("report", &REPORT.replace("default: today", "default: monday")).await.expect(StatusCode::CREATED);
    assert_eq!(id_of(&start_with_key(&world, "k", json!({})).await.expect(StatusCode::ACCEPTED)), id);
    world.send(Call::new("DELETE", "/v1/tasks/report")).await.expect(StatusCode::NO_CONTENT);
    assert_eq!(id_of(&start_with_key(&world, "k", json!({})).await.expect(StatusCode::ACCEPTED)), id);
}

#[tokio::test]
async fn keys_are_bounded() {
    let world = World::with_report().await;
    start_with_key(&world, "", json!({})).await.refused(400, "WL0410");
    start_with_key(&world, &"k".repeat(257), json!({})).await.refused(400, "WL0410");
    start_with_key(&world, &"k".repeat(256), json!({})).await.expect(StatusCode::ACCEPTED);
    let twice =
        Call::new("POST", "/v1/tasks/report/runs").header("idempotency-key", "a").header("idempotency-key", "b");
    world.send(twice).await.refused(400, "WL0410");
    start_with_key(&world, "schlüssel", json!({})).await.refused(400, "WL0410");
}

#[tokio::test]
async fn concurrent_requests_with_one_key_start_one_run() {
    let world = World::with_report().await;
    let calls = (0..20).map(|_| start_with_key(&world, "k", json!({})));
    let answers = futures::future::join_all(calls).await;
    let fresh = answers.iter().filter(|answer| answer.header("idempotent-replayed").is_none()).count();
    assert_eq!(fresh, 1);
    assert_eq!(world.get("/v1/runs").await.expect(StatusCode::OK)["runs"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn runs_are_listed_by_task_and_status() {
    let world = World::with_report().await;
    world.put("tiny", "task: tiny\nactions: { x: { exec: [echo] } }\n").await.expect(StatusCode::CREATED);
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(world.start().await.to_string());
    }
    world.finish(ids[1].parse().unwrap()).await;
    world.post("/v1/tasks/tiny/runs", json!({})).await.expect(StatusCode::ACCEPTED);
    let list = async |query: &str| world.get(&format!("/v1/runs?{query}")).await.expect(StatusCode::OK);
    let ids_of = |page: &Value| -> Vec<String> {
        page["runs"].as_array().unwrap().iter().map(|run| run["id"].as_str().unwrap().to_owned()).collect()
    };
    let first = list("task=report&limit=2").await;
    assert_eq!(ids_of(&first), [&*ids[2], &*ids[1]]);
    let next = first["next"].as_str().unwrap();
    let second = list(&format!("task=report&limit=2&cursor={next}")).await;
    assert_eq!((ids_of(&second), &second["next"]), (vec![ids[0].clone()], &Value::Null));
    assert_eq!(ids_of(&list("status=succeeded").await), [&*ids[1]]);
    assert_eq!(list("task=nobody").await["runs"], json!([]));
    assert_eq!(list("").await["runs"].as_array().unwrap().len(), 4);
}

#[tokio::test]
async fn request_to_a_run_goes_to_the_inbox() {
    let world = World::with_report().await;
    let id = world.start_large().await;
    assert_eq!(inbox(&world, id), [Input::Start, Input::Start], "a large run begins at the process manager");
    let ask = async |what: &str| world.send(Call::new("POST", &format!("/v1/runs/{id}/{what}"))).await;
    for what in ["pause", "resume", "retry"] {
        let problem = ask(what).await.refused(409, "WL0419");
        assert_eq!(problem["instance"], format!("/v1/runs/{id}"));
        assert!(problem["detail"].as_str().unwrap().contains("submitted"), "{problem}");
    }
    world.feed(id, Input::Start).await;
    assert_eq!(ask("pause").await.expect(StatusCode::ACCEPTED)["status"], "running");
    world.feed(id, Input::Pause { pauses: 0, retries: 0 }).await;
    ask("pause").await.refused(409, "WL0419");
    assert_eq!(ask("resume").await.expect(StatusCode::ACCEPTED)["status"], "paused");
    world.feed(id, Input::Resume { pauses: 1 }).await;
    // A pause may be on its way that this would not end.
    ask("resume").await.refused(409, "WL0419");
    let cancel = world.post(&format!("/v1/runs/{id}/cancel"), json!({ "reason": "not needed" })).await;
    cancel.expect(StatusCode::ACCEPTED);
    let asked = inbox(&world, id);
    assert_eq!(asked[2..4], [Input::Pause { pauses: 0, retries: 0 }, Input::Resume { pauses: 1 }]);
    assert!(matches!(&asked[4], Input::Cancel { reason, retries: 0, .. } if reason == "not needed"), "{asked:?}");
}

/// The run keeps the reason of a cancellation itself. The others go with their caller.
#[tokio::test]
async fn reason_of_a_request_goes_with_it() {
    let world = World::with_report().await;
    let id = world.start().await;
    for verb in ["pause", "cancel"] {
        let path = format!("/v1/runs/{id}/{verb}");
        world.post(&path, json!({ "reason": "the supplier called" })).await.expect(StatusCode::ACCEPTED);
    }
    let messages = world.host.messages(&QueueName::Inbox);
    let of_run = |body: &String| match decode(body).unwrap() {
        InboxMessage::Run { input: Input::Pause { .. } | Input::Cancel { .. }, caller, .. } => Some(caller.why),
        InboxMessage::Run { .. } | InboxMessage::Task { .. } | InboxMessage::Sweep { .. } => None,
    };
    let whys: Vec<_> = messages.iter().filter_map(of_run).collect();
    assert_eq!(whys, [Some("the supplier called".to_owned()), None]);
}

#[tokio::test]
async fn one_action_is_killed() {
    let world = World::with_report().await;
    let id = world.start().await;
    let kill = async |action: &str| {
        world.post(&format!("/v1/runs/{id}/actions/{action}/kill"), json!({ "reason": "it hangs" })).await
    };
    let view = kill("extract").await.expect(StatusCode::ACCEPTED);
    assert_eq!(view["actions"]["extract"]["status"], "queued", "as it stood then");
    let asked = Input::Kill { action: ActionIndex(0), reason: "it hangs".into(), retries: 0 };
    assert_eq!(inbox(&world, id).last(), Some(&asked));
    world.feed(id, asked).await;
    let view = world.get(&format!("/v1/runs/{id}")).await.expect(StatusCode::OK);
    assert!(view["actions"]["extract"]["cancelling_since"].is_string(), "{view}");
    kill("nobody").await.refused(404, "WL0423");
    kill("no%20name").await.refused(400, "WL0409");
    let long = json!({ "reason": "x".repeat(1025) });
    world.post(&format!("/v1/runs/{id}/actions/extract/kill"), long).await.refused(400, "WL0410");
    world.fail(id, 0).await;
    let problem = kill("extract").await.refused(409, "WL0419");
    assert_eq!(problem["instance"], format!("/v1/runs/{id}"));
    let large = world.start_large().await;
    world.send(Call::new("POST", &format!("/v1/runs/{large}/actions/a0/kill"))).await.refused(409, "WL0419");
}

#[tokio::test]
async fn an_ended_run_can_only_be_retried() {
    let world = World::with_report().await;
    let id = world.start().await;
    world.feed(id, Input::Start).await;
    world.fail(id, 0).await;
    let ask = async |what: &str| world.send(Call::new("POST", &format!("/v1/runs/{id}/{what}"))).await;
    let view = world.get(&format!("/v1/runs/{id}")).await.expect(StatusCode::OK);
    assert_eq!(view["status"], "failed");
    assert_eq!(view["actions"]["extract"]["error"], json!({ "kind": "auth.password", "message": "wrong" }));
    for what in ["cancel", "pause", "resume"] {
        ask(what).await.refused(409, "WL0419");
    }
    ask("retry").await.expect(StatusCode::ACCEPTED);
    assert_eq!(inbox(&world, id).last(), Some(&Input::Retry { retries: 0 }));
    world.feed(id, Input::Retry { retries: 0 }).await;
    ask("cancel").await.expect(StatusCode::ACCEPTED);
    assert!(matches!(inbox(&world, id).last(), Some(Input::Cancel { retries: 1, .. })), "as the asker saw the run");
    let succeeded = world.start().await;
    world.finish(succeeded).await;
    world.send(Call::new("POST", &format!("/v1/runs/{succeeded}/retry"))).await.refused(409, "WL0419");
}

#[tokio::test]
async fn runs_that_are_not_there() {
    let world = World::with_report().await;
    let id = "01937b5c-0000-7000-8000-000000000001";
    world.get(&format!("/v1/runs/{id}")).await.refused(404, "WL0414");
    world.get(&format!("/v1/runs/{id}/events")).await.refused(404, "WL0414");
    for what in ["cancel", "pause", "resume", "retry"] {
        world.send(Call::new("POST", &format!("/v1/runs/{id}/{what}"))).await.refused(404, "WL0414");
    }
}
