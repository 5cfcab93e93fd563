//! Waiting for the end of a run. Time is tokio's, paused: it passes only while everybody waits.

use std::time::Duration;

use axum::http::StatusCode;
use serde_json::json;
use tokio::time::Instant;

use crate::world::{Answer, Call, World};

async fn start_and_wait(world: &World, wait: &str) -> (Answer, Duration) {
    let since = Instant::now();
    let answer = world.send(Call::new("POST", &format!("/v1/tasks/report/runs?wait={wait}"))).await;
    (answer, since.elapsed())
}

/// Ends the one run there is after that time.
async fn finish_after(world: &World, after: Duration) {
    tokio::time::sleep(after).await;
    let runs = world.get("/v1/runs").await.expect(StatusCode::OK);
    world.finish(runs["runs"][0]["id"].as_str().unwrap().parse().unwrap()).await;
}

#[tokio::test(start_paused = true)]
async fn run_that_ends_in_time_answers_its_result() {
    let world = World::with_report().await;
    let ((answer, took), ()) =
        tokio::join!(start_and_wait(&world, "20s"), finish_after(&world, Duration::from_secs(5)));
    let view = answer.expect(StatusCode::OK);
    assert_eq!((&view["status"], &view["output"]), (&json!("succeeded"), &json!({ "rows": 3 })));
    assert_eq!(took.as_secs(), 5);
    assert!(answer.header("location").is_some());
}

#[tokio::test(start_paused = true)]
async fn slow_run_is_answered_as_it_stands() {
    let world = World::with_report().await;
    let ((answer, took), ()) =
        tokio::join!(start_and_wait(&world, "20s"), finish_after(&world, Duration::from_secs(40)));
    let view = answer.expect(StatusCode::ACCEPTED);
    assert_eq!(view["status"], "running");
    assert_eq!(took.as_secs(), 20);
    let path = answer.header("location").unwrap().to_owned();
    assert_eq!(world.get(&path).await.expect(StatusCode::OK)["status"], "succeeded");
}

#[tokio::test(start_paused = true)]
async fn wait_lasts_at_most_a_minute() {
    let world = World::with_report().await;
    let (answer, took) = start_and_wait(&world, "2h").await;
    answer.expect(StatusCode::ACCEPTED);
    assert_eq!(took.as_secs(), 60);
    let (answer, took) = start_and_wait(&world, "0s").await;
    answer.expect(StatusCode::ACCEPTED);
    assert_eq!(took.as_secs(), 0);
}

#[tokio::test(start_paused = true)]
async fn shutdown_answers_waiting_callers() {
    let world = World::with_report().await;
    let shut_down = async {
        tokio::time::sleep(Duration::from_secs(3)).await;
        world.shutdown.cancel();
    };
    let ((answer, took), ()) = tokio::join!(start_and_wait(&world, "20s"), shut_down);
    answer.expect(StatusCode::ACCEPTED);
    assert_eq!(took.as_secs(), 3);
}

/// The API answers one more waiting call at once, and records its run all the same.
#[tokio::test(start_paused = true)]
async fn waits_are_bounded() {
    let world = World::with_report().await;
    let waits = futures::future::join_all((0..1001).map(|_| start_and_wait(&world, "20s"))).await;
    assert!(waits.iter().all(|(answer, _)| answer.status == StatusCode::ACCEPTED));
    let at_once = waits.iter().filter(|(_, took)| took.is_zero()).count();
    assert_eq!(at_once, 1);
}
