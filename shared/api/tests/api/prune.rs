//! Runs that are deleted by hand.

use axum::http::StatusCode;
use serde_json::json;
use windlass_domain::ids::{RunId, TaskName};
use windlass_domain::run::{Input, Origin, Run, RunStatus};
use windlass_domain::time::{Millis, Timestamp};

use crate::world::{Call, START, World};

const DAY: Millis = Millis(86_400_000);

fn delete(id: RunId) -> Call {
    Call::new("DELETE", &format!("/v1/runs/{id}"))
}

#[tokio::test]
async fn ended_run_is_deleted() {
    let world = World::with_report().await;
    let id = world.start().await;
    world.finish(id).await;
    world.send(delete(id)).await.expect(StatusCode::NO_CONTENT);
    world.get(&format!("/v1/runs/{id}")).await.refused(404, "WL0414");
    world.get(&format!("/v1/runs/{id}/events")).await.refused(404, "WL0414");
    world.send(delete(id)).await.refused(404, "WL0414");
    let list = world.get("/v1/runs").await.expect(StatusCode::OK);
    assert_eq!(list["runs"], json!([]));
}

#[tokio::test]
async fn open_run_is_not_deleted() {
    let world = World::with_report().await;
    let id = world.start().await;
    world.feed(id, Input::Start).await;
    let refused = world.send(delete(id)).await.refused(409, "WL0419");
    assert_eq!(refused["detail"], "a run that is running can not be deleted: cancel it first");
    let pruned = world.post("/v1/runs:prune", json!({ "older_than": "0s" })).await.expect(StatusCode::OK);
    assert_eq!(pruned, json!({ "deleted": [], "next": null }));
    world.get(&format!("/v1/runs/{id}")).await.expect(StatusCode::OK);
}

#[tokio::test]
async fn key_of_a_deleted_run_starts_another() {
    let world = World::with_report().await;
    let start = async || {
        let call = Call::new("POST", "/v1/tasks/report/runs").header("idempotency-key", "monday").json(&json!({}));
        world.send(call).await
    };
    let id: RunId = start().await.json()["id"].as_str().expect("an id").parse().expect("an id");
    world.finish(id).await;
    assert_eq!(start().await.header("idempotent-replayed"), Some("true"));
    world.send(delete(id)).await.expect(StatusCode::NO_CONTENT);
    world.host.advance(Millis(1));
    let again = start().await;
    assert_eq!(again.header("idempotent-replayed"), None);
    assert_eq!(again.expect(StatusCode::ACCEPTED)["id"], json!(id));
}

#[tokio::test]
async fn runs_are_pruned_by_age_task_and_status_in_pages() {
    let world = World::with_report().await;
    let mut old = Vec::new();
    for _ in 0..3 {
        let id = world.start().await;
        world.finish(id).await;
        old.push(id);
    }
    let failed = world.start().await;
    world.feed(failed, Input::Start).await;
    world.fail(failed, 0).await;
    world.host.advance(DAY);
    let young = world.start().await;
    world.finish(young).await;

    let prune = async |body| world.post("/v1/runs:prune", body).await.expect(StatusCode::OK);
    assert_eq!(prune(json!({ "older_than": "12h", "task": "other" })).await["deleted"], json!([]));
    assert_eq!(prune(json!({ "older_than": "12h", "status": "failed" })).await["deleted"], json!([failed]));
    let mut deleted = Vec::new();
    let mut cursor = json!(null);
    loop {
        let page = prune(json!({ "older_than": "12h", "limit": 2, "cursor": cursor })).await;
        deleted.extend(
            page["deleted"].as_array().expect("a list").iter().map(|id| id.as_str().expect("an id").to_owned()),
        );
        cursor = page["next"].clone();
        if cursor.is_null() {
            break;
        }
    }
    let expected: Vec<String> = old.iter().rev().map(RunId::to_string).collect();
    assert_eq!(deleted, expected);
    world.get(&format!("/v1/runs/{young}")).await.expect(StatusCode::OK);
}

#[tokio::test]
async fn run_of_a_due_time_is_refused_while_it_is_needed() {
    let world = World::with_report().await;
    let task = TaskName::new("report").expect("a name");
    let now = Timestamp::parse_rfc3339(START).expect("a time");
    let origin = Origin::Schedule { nominal: now };
    let run = Run::submitted(RunId::from_nominal_time(&task, now), (task, 1), 2, json!({}), origin, now);
    let run = Run { status: RunStatus::Succeeded, finished_at: Some(now), ..run };
    world.ports.runs.create(&run, &[], &[]).await.expect("written");
    let refused = world.send(delete(run.id)).await.refused(409, "WL0424");
    assert!(refused["detail"].as_str().expect("a text").contains("2026-01-01T08:00:00"), "{refused}");
    let pruned = world.post("/v1/runs:prune", json!({ "older_than": "0s" })).await.expect(StatusCode::OK);
    assert_eq!(pruned["deleted"], json!([]));
    world.host.advance(Millis(8 * 3_600_000));
    world.send(delete(run.id)).await.expect(StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn request_to_prune_is_checked() {
    let world = World::with_report().await;
    world.post("/v1/runs:prune", json!({})).await.refused(400, "WL0406");
    for body in [json!({ "older_than": "7" }), json!({ "older_than": "1d", "limit": 0 })] {
        world.post("/v1/runs:prune", body).await.refused(400, "WL0410");
    }
    world.post("/v1/runs:prune", json!({ "older_than": 7 })).await.refused(400, "WL0406");
    world.post("/v1/runs:prune", json!({ "older_than": "1d", "all": true })).await.refused(400, "WL0406");
    world.get("/v1/runs:prune").await.refused(405, "WL0405");
}
