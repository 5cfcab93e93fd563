//! Events: pages of them, and streams that are resumed.

use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use axum::http::{Response, StatusCode};
use futures::StreamExt;
use serde_json::{Value, json};
use windlass_domain::ids::RunId;
use windlass_domain::run::Input;

use crate::world::{Call, World};

const ALL: [&str; 6] =
    ["run.started", "action.queued", "action.succeeded", "action.queued", "action.succeeded", "run.succeeded"];

fn types(list: &Value) -> Vec<String> {
    list["events"].as_array().unwrap().iter().map(|event| event["type"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn events_are_read_in_pages() {
    let world = World::with_report().await;
    let id = world.start().await;
    let list = async |query: &str| world.get(&format!("/v1/runs/{id}/events{query}")).await.expect(StatusCode::OK);
    let begun = list("").await;
    assert_eq!((types(&begun), &begun["next"]), (ALL[..2].iter().map(|t| (*t).to_owned()).collect(), &json!("2")));
    assert_eq!(list("?after=2").await, json!({ "events": [], "next": "2" }));
    let submitted = world.get(&format!("/v1/runs/{}/events", world.start_large().await)).await;
    assert_eq!(submitted.expect(StatusCode::OK), json!({ "events": [], "next": "0" }));
    world.finish(id).await;
    let whole = list("").await;
    assert_eq!(types(&whole), ALL);
    assert_eq!(whole["next"], Value::Null);
    assert_eq!((&whole["events"][0]["run"], &whole["events"][0]["cursor"]), (&json!(id.to_string()), &json!("1")));
    let first = list("?limit=4").await;
    assert_eq!((types(&first).len(), &first["next"]), (4, &json!("4")));
    let rest = list("?limit=4&after=4").await;
    assert_eq!((types(&rest), &rest["next"]), (ALL[4..].iter().map(|t| (*t).to_owned()).collect(), &Value::Null));
}

fn stream(id: RunId) -> Call {
    Call::new("GET", &format!("/v1/runs/{id}/events")).header("accept", "text/event-stream")
}

/// A message of a stream.
#[derive(Debug, PartialEq)]
struct Message {
    id: String,
    kind: String,
    data: Value,
}

fn message(text: &str) -> Option<Message> {
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    Some(Message {
        id: field("id")?.to_owned(),
        kind: field("event")?.to_owned(),
        data: serde_json::from_str(field("data")?).unwrap(),
    })
}

fn messages(text: &str) -> Vec<Message> {
    text.split("\n\n").filter_map(message).collect()
}

fn kinds(messages: &[Message]) -> Vec<&str> {
    messages.iter().map(|message| message.kind.as_str()).collect()
}

#[tokio::test]
async fn stream_of_ended_run_has_all_its_events() {
    let world = World::with_report().await;
    let id = world.start().await;
    world.finish(id).await;
    let answer = world.send(stream(id)).await;
    assert_eq!(answer.header("content-type"), Some("text/event-stream"));
    let messages = messages(&answer.text);
    assert_eq!(kinds(&messages), ALL);
    assert_eq!(messages[5].data["type"], "run.succeeded");
    assert_eq!(messages[5].id, "6");
}

#[tokio::test]
async fn stream_resumes_after_the_last_seen_event() {
    let world = World::with_report().await;
    let id = world.start().await;
    world.finish(id).await;
    let resumed = world.send(stream(id).header("last-event-id", "4")).await;
    assert_eq!(kinds(&messages(&resumed.text)), ALL[4..]);
    let by_parameter = Call::new("GET", &format!("/v1/runs/{id}/events?after=5")).header("accept", "text/event-stream");
    assert_eq!(kinds(&messages(&world.send(by_parameter).await.text)), ALL[5..]);
    world.send(stream(id).header("last-event-id", "6")).await.expect(StatusCode::NO_CONTENT);
}

async fn next(body: &mut BodyDataStream) -> Option<String> {
    let chunk = body.next().await?.unwrap();
    Some(String::from_utf8(chunk.to_vec()).unwrap())
}

async fn open(world: &World, call: Call) -> BodyDataStream {
    let response: Response<Body> = world.open(call).await;
    assert_eq!(response.status(), StatusCode::OK);
    response.into_body().into_data_stream()
}

#[tokio::test(start_paused = true)]
async fn a_stream_follows_a_run_to_its_end() {
    let world = World::with_report().await;
    let id = world.start().await;
    let mut body = open(&world, stream(id)).await;
    let live = async {
        let mut seen = Vec::new();
        while let Some(text) = next(&mut body).await {
            seen.extend(message(&text));
        }
        seen
    };
    let work = async {
        for (action, after) in [(0, 3), (1, 1)] {
            tokio::time::sleep(Duration::from_secs(after)).await;
            world.feed(id, Input::Start).await;
            world.succeed(id, action).await;
        }
    };
    let (seen, ()) = tokio::join!(live, work);
    assert_eq!(kinds(&seen), ALL);
    let ids: Vec<&str> = seen.iter().map(|message| message.id.as_str()).collect();
    assert_eq!(ids, ["1", "2", "3", "4", "5", "6"]);
}

#[tokio::test(start_paused = true)]
async fn a_silent_stream_says_that_it_is_alive() {
    let world = World::with_report().await;
    let id = world.start().await;
    let mut body = open(&world, stream(id).header("last-event-id", "2")).await;
    for _ in 0..3 {
        assert_eq!(next(&mut body).await.unwrap().trim(), ": keep-alive");
    }
    world.shutdown.cancel();
    assert_eq!(next(&mut body).await, None);
}

#[tokio::test(start_paused = true)]
async fn streams_are_bounded() {
    let world = World::with_report().await;
    let id = world.start().await;
    let mut open_streams = Vec::new();
    for _ in 0..1000 {
        open_streams.push(open(&world, stream(id)).await);
    }
    let refused = world.send(stream(id)).await;
    refused.refused(503, "WL0420");
    assert_eq!(refused.header("retry-after"), Some("5"));
    open_streams.pop();
    drop(open(&world, stream(id)).await);
}
