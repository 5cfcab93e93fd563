//! Handlers that are compiled into the agent.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::oneshot;
use windlass_domain::run::{ErrorInfo, Outcome, Progress};
use windlass_domain::work::{NativeWork, Work};
use windlass_engine::perform::Attempt;
use windlass_facade::Handlers;

use crate::bench::{Bench, attempt, failed, succeeded, timed, timed_out};

fn bench(handlers: Handlers) -> Bench {
    let mut bench = Bench::new();
    bench.settings.handlers = handlers.with_grace(Duration::from_millis(200));
    bench
}

fn call(handler: &str, input: Value) -> Work {
    Work::Native(NativeWork { handler: handler.to_owned(), input })
}

/// Says when it is dropped.
struct Dropped(Option<oneshot::Sender<()>>);

impl Drop for Dropped {
    fn drop(&mut self) {
        if let Some(tell) = self.0.take() {
            let _ = tell.send(());
        }
    }
}

#[tokio::test]
async fn handler_maps_its_input_to_its_output() {
    let bench = bench(Handlers::new().with("double", |input, _| async move { Ok(json!([input, input])) }));
    assert_eq!(succeeded(bench.perform(attempt(call("double", json!({"a": 1})))).await), json!([{"a": 1}, {"a": 1}]));
}

#[tokio::test]
async fn failures_have_kinds() {
    let handlers = Handlers::new()
        .with("own", |_, _| async { Err(ErrorInfo::new("db.locked", "x".repeat(100_000))) })
        .with("large", |_, _| async { Ok(Value::from("x".repeat(200_000))) })
        .with("late panic", |_, _| async {
            tokio::task::yield_now().await;
            panic!("for {}", "good")
        })
        .with("early panic", |input: Value, _| {
            assert!(input.is_string(), "not a text");
            async { Ok(Value::Null) }
        });
    let bench = bench(handlers);
    for (handler, kind, message) in [
        ("own", "db.locked", "xxx"),
        ("large", "output.too_large", "the output"),
        ("late panic", "native.panic", "the handler panicked: for good"),
        ("early panic", "native.panic", "the handler panicked: not a text"),
        ("nobody", "native.unknown_handler", "this agent has no handler `nobody`"),
    ] {
        let error = failed(bench.perform(attempt(call(handler, Value::Null))).await);
        assert_eq!(error.kind, kind, "{handler}");
        assert!(error.message.starts_with(message), "{}", error.message);
        assert!(error.message.len() <= windlass_domain::limits::MAX_ERROR_MESSAGE_BYTES);
    }
}

#[tokio::test]
async fn a_handler_is_asked_to_stop() {
    let handlers = Handlers::new()
        .with("listens", |_, control| async move {
            control.stop.cancelled().await;
            Err(ErrorInfo::new("stopped", "as asked"))
        })
        .with("completes", |_, control| async move {
            control.stop.cancelled().await;
            Ok(json!("all the same"))
        })
        .with("deaf", |_, _| std::future::pending());
    let bench = bench(handlers);
    for (handler, expected) in [
        ("listens", Outcome::Cancelled),
        ("completes", Outcome::Succeeded { output: json!("all the same") }),
        ("deaf", Outcome::Cancelled),
    ] {
        let performing = bench.start(attempt(call(handler, Value::Null)));
        tokio::task::yield_now().await;
        performing.stop.cancel();
        assert_eq!(performing.end().await, expected, "{handler}");
        // The same handlers when their time is over.
        assert_eq!(timed_out(bench.perform(timed(call(handler, Value::Null), 50)).await).kind, "timeout", "{handler}");
    }
}

#[tokio::test]
async fn handler_that_ignores_its_stop_is_dropped() {
    let (tell, told) = oneshot::channel();
    let tell = std::sync::Mutex::new(Some(tell));
    let bench = bench(Handlers::new().with("deaf", move |_, _| {
        let held = Dropped(tell.lock().expect("not poisoned").take());
        async move {
            let _held = held;
            std::future::pending().await
        }
    }));
    timed_out(bench.perform(timed(call("deaf", Value::Null), 50)).await);
    told.await.expect("dropped by the time that the attempt ended");
}

#[tokio::test]
async fn a_handler_reports_progress() {
    let bench = bench(Handlers::new().with("reports", |_, control| async move {
        control.progress.send_replace(Some(Progress { percent: Some(50.0), message: None }));
        Ok(Value::Null)
    }));
    let performing = bench.start(attempt(call("reports", Value::Null)));
    let progress = performing.progress.clone();
    performing.end().await;
    assert_eq!(progress.borrow().as_ref().and_then(|seen| seen.percent), Some(50.0));
}

#[tokio::test]
async fn a_handler_takes_up_work_and_saves_it() {
    let bench = bench(Handlers::new().with("counts", |_, control| async move {
        let row = control.checkpoint().and_then(|saved| saved["row"].as_i64()).unwrap_or_default();
        control.save(json!({ "row": row + 1 })).expect("small");
        let refused = control.save("x".repeat(9000).into()).expect_err("too large");
        Ok(refused.to_string().into())
    }));
    for (given, saved) in [(None, 1), (Some(json!({ "row": 7 })), 8)] {
        let performing = bench.start(Attempt { checkpoint: given, ..attempt(call("counts", Value::Null)) });
        let seen = performing.saved.clone();
        let refused = succeeded(performing.end().await);
        assert_eq!(*seen.borrow(), Some(json!({ "row": saved })), "what is refused replaces nothing");
        assert_eq!(refused, "the checkpoint was refused: it has 9002 bytes as JSON; at most 8192 are kept");
    }
}
