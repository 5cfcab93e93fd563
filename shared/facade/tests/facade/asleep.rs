//! A machine that sleeps while an agent performs an attempt: the time counts.

use std::time::Duration;

use serde_json::Value;
use tokio::net::TcpListener;
use windlass_domain::run::Outcome;
use windlass_domain::time::Millis;
use windlass_domain::work::{HttpWork, NativeWork, Work};
use windlass_facade::Handlers;

use crate::bench::{Bench, Performing, all_dead, attempt, failed, timed, timed_out};

const TIMEOUT: u64 = 600_000;

/// The machine sleeps for half of the timeout, twice. An attempt whose time is not over goes on.
async fn outcome_after_sleep(bench: &Bench, performing: Performing) -> Outcome {
    bench.sleep(Millis(TIMEOUT / 2));
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert!(!performing.task.is_finished(), "its time is not over");
    bench.sleep(Millis(TIMEOUT / 2));
    performing.end().await
}

#[tokio::test]
async fn a_program_times_out_by_time_asleep() {
    let bench = Bench::new();
    let performing = bench.start(timed(Work::Exec(bench.sh("echo $$ > pids; exec sleep 1000")), TIMEOUT));
    let numbers = bench.written("pids").await;
    assert_eq!(timed_out(outcome_after_sleep(&bench, performing).await).kind, "timeout");
    all_dead(&numbers).await;
}

#[tokio::test]
async fn a_handler_times_out_by_time_asleep() {
    let mut bench = Bench::new();
    bench.settings.handlers = Handlers::new().with("deaf", |_, control| async move {
        control.stop.cancelled().await;
        Ok(Value::Null)
    });
    let work = Work::Native(NativeWork { handler: "deaf".to_owned(), input: Value::Null });
    let performing = bench.start(timed(work, TIMEOUT));
    tokio::task::yield_now().await;
    assert_eq!(timed_out(outcome_after_sleep(&bench, performing).await).kind, "timeout");
}

#[tokio::test]
async fn a_call_times_out_by_time_asleep() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let request = || Work::Http(get(format!("http://{address}/slow")));
    let bench = Bench::new();
    let performing = bench.start(timed(request(), TIMEOUT));
    let _connection = listener.accept().await.expect("a connection");
    assert_eq!(timed_out(outcome_after_sleep(&bench, performing).await).kind, "timeout");

    // The facade's own limit, five minutes, goes by the same clock.
    let performing = bench.start(attempt(request()));
    let _connection = listener.accept().await.expect("a connection");
    bench.sleep(Millis(TIMEOUT));
    assert_eq!(failed(performing.end().await).kind, "network.timeout");
}

fn get(url: String) -> HttpWork {
    HttpWork { method: "GET".to_owned(), url, headers: [].into(), body: None }
}
