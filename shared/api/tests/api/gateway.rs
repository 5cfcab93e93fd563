//! Behind a gateway that verifies tokens, and hands over answers only when they are whole.

use std::time::Duration;

use axum::http::StatusCode;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use windlass_api::{AllowedHosts, ApiConfig, Auth};
use windlass_domain::ids::RunId;
use windlass_domain::time::Timestamp;
use windlass_testkit::memory::MemoryHost;

use crate::world::{Call, REPORT, START, World};

const WHO: &str = "client-1";

async fn world() -> World {
    let host = MemoryHost::new(Timestamp::parse_rfc3339(START).unwrap());
    let ports = host.ports();
    let config = ApiConfig {
        max_wait: Duration::from_secs(20),
        stream_for: Some(Duration::from_secs(10)),
        max_answer: Some(100_000),
        ..ApiConfig::new(Auth::Gateway, AllowedHosts::BehindGateway, CancellationToken::new())
    };
    let world = World::configured(host, ports, config);
    world.send(call("PUT", "/v1/tasks/report").body(REPORT)).await.expect(StatusCode::CREATED);
    world
}

fn call(method: &'static str, path: &str) -> Call {
    Call::bare(method, path).header("host", "api.example").verified(WHO)
}

async fn start(world: &World) -> RunId {
    let answer = world.send(call("POST", "/v1/tasks/report/runs")).await.expect(StatusCode::ACCEPTED);
    answer["id"].as_str().unwrap().parse().unwrap()
}

#[tokio::test]
async fn call_that_bypasses_the_gateway_is_refused() {
    let world = world().await;
    for path in ["/v1/tasks", "/v1/runs", "/openapi.json", "/no/such/route"] {
        let bare = || Call::bare("GET", path).header("host", "api.example");
        world.send(bare()).await.refused(401, "WL0401");
        world.send(bare().header("authorization", "Bearer of-somebody")).await.refused(401, "WL0401");
        world.send(bare().verified("")).await.refused(401, "WL0401");
    }
    world.send(call("GET", "/v1/tasks")).await.expect(StatusCode::OK);
    world.send(Call::bare("GET", "/healthz")).await.expect(StatusCode::OK);
}

#[tokio::test]
async fn gateway_names_are_answered_and_foreign_pages_refused() {
    let world = world().await;
    world.send(Call::bare("GET", "/v1/tasks").verified(WHO)).await.expect(StatusCode::OK);
    for origin in ["https://evil.example", "null", "https://api.example.evil.example", ""] {
        world.send(call("GET", "/v1/tasks").header("origin", origin)).await.refused(403, "WL0403");
    }
    world.send(call("GET", "/v1/tasks").header("origin", "https://API.example")).await.expect(StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn no_call_outlasts_the_gateway() {
    let world = world().await;
    let since = Instant::now();
    world.send(call("POST", "/v1/tasks/report/runs?wait=60s")).await.expect(StatusCode::ACCEPTED);
    assert_eq!(since.elapsed().as_secs(), 20);
}

#[tokio::test]
async fn answer_too_large_for_the_gateway_is_refused() {
    let world = world().await;
    let wide = |name: &str, label: usize| {
        let text = "x".repeat(label);
        format!("task: {name}\ndescription: {text}\nactions: {{ a: {{ exec: ['true'] }} }}\n")
    };
    world.send(call("PUT", "/v1/tasks/small").body(wide("small", 10))).await.expect(StatusCode::CREATED);
    for number in 0..60 {
        let name = format!("wide-{number}");
        world.send(call("PUT", &format!("/v1/tasks/{name}")).body(wide(&name, 1900))).await.expect(StatusCode::CREATED);
    }
    world.send(call("GET", "/v1/tasks?limit=500")).await.refused(500, "WL0421");
    world.send(call("GET", "/v1/tasks?limit=5")).await.expect(StatusCode::OK);
}

/// The cursors of the events that one stream tells, and how long it lasted.
async fn stream(world: &World, id: RunId, after: Option<&str>) -> (Vec<String>, Duration) {
    let since = Instant::now();
    let mut call = call("GET", &format!("/v1/runs/{id}/events")).header("accept", "text/event-stream");
    if let Some(after) = after {
        call = call.header("last-event-id", after);
    }
    let answer = world.send(call).await;
    let cursors = answer.text.lines().filter_map(|line| line.strip_prefix("id: ")).map(str::to_owned);
    (cursors.collect(), since.elapsed())
}

#[tokio::test(start_paused = true)]
async fn stream_ends_in_time_and_is_resumed() {
    let world = world().await;
    let id = start(&world).await;
    let (first, took) = stream(&world, id, None).await;
    assert_eq!((first, took.as_secs()), (vec!["1".to_owned(), "2".to_owned()], 0), "told at once");
    let (none, took) = stream(&world, id, Some("2")).await;
    assert_eq!((none.len(), took.as_secs()), (0, 10), "nothing to tell");
    let later = async {
        tokio::time::sleep(Duration::from_secs(4)).await;
        world.succeed(id, 0).await;
    };
    let ((next, took), ()) = tokio::join!(stream(&world, id, Some("2")), later);
    assert_eq!((next, took.as_secs()), (vec!["3".to_owned(), "4".to_owned()], 4), "told when it happens");
    world.succeed(id, 1).await;
    let (last, _) = stream(&world, id, Some("4")).await;
    assert_eq!(last, ["5", "6"]);
    let over = call("GET", &format!("/v1/runs/{id}/events")).header("accept", "text/event-stream");
    world.send(over.header("last-event-id", "6")).await.expect(StatusCode::NO_CONTENT);
}
