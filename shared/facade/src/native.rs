//! Handlers: async functions in Rust that are compiled into the agent. For embedders and benchmarks.

use std::any::Any;
use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use serde_json::Value;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use windlass_domain::limits::{MAX_ERROR_MESSAGE_BYTES, MAX_OUTPUT_BYTES};
use windlass_domain::run::{ErrorInfo, Outcome};
use windlass_domain::time::Millis;
use windlass_domain::work::NativeWork;
use windlass_engine::perform::AttemptControl;

use crate::bounded::cut_end;
use crate::kinds;
use crate::time::Time;

type Handler = Arc<dyn Fn(Value, AttemptControl) -> BoxFuture<'static, Result<Value, ErrorInfo>> + Send + Sync>;

/// The handlers of an agent, by name.
#[derive(Clone)]
pub struct Handlers {
    handlers: BTreeMap<String, Handler>,
    /// How long a handler may go on after the order to stop.
    grace: Duration,
}

impl Default for Handlers {
    fn default() -> Self {
        Self { handlers: BTreeMap::new(), grace: Duration::from_secs(10) }
    }
}

impl Handlers {
    /// No handlers.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same handlers with another grace than ten seconds.
    #[must_use]
    pub fn with_grace(self, grace: Duration) -> Self {
        Self { grace, ..self }
    }

    /// Adds a handler; one of the same name is replaced.
    ///
    /// It is polled by the task that performs the attempt, so it must not block. When `control.stop` is cancelled, for
    /// a stop or a timeout, it should return soon: after the grace it is dropped where it waits. `control.checkpoint()`
    /// is the checkpoint of an attempt before it, and `control.save()` saves one for the next attempt.
    #[must_use]
    pub fn with<F, Fut>(mut self, name: impl Into<String>, handler: F) -> Self
    where
        F: Fn(Value, AttemptControl) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Value, ErrorInfo>> + Send + 'static,
    {
        self.handlers.insert(name.into(), Arc::new(move |input, control| handler(input, control).boxed()));
        self
    }

    /// Calls the handler of one attempt.
    pub(crate) async fn perform(&self, work: NativeWork, time: &Time, control: &AttemptControl) -> Outcome {
        let NativeWork { handler: name, input } = work;
        let Some(handler) = self.handlers.get(&name) else {
            let message = format!("this agent has no handler `{name}`");
            return Outcome::Failed { error: ErrorInfo::new(kinds::NATIVE_UNKNOWN_HANDLER, message) };
        };
        // A timeout asks the handler to stop as a stop does, without being one for the agent.
        let stop = control.stop.child_token();
        let own_control = control.stopped_by(stop.clone());
        let call = async { handler(input, own_control).await };
        let mut call = Box::pin(AssertUnwindSafe(call).catch_unwind());
        let (asked, result) = tokio::select! {
            biased;
            // A handler that listens may be ahead of this very select.
            result = &mut call => (stop.is_cancelled().then_some(Asked::Stop), Ok(result)),
            asked = asked_to_end(&stop, time) => {
                stop.cancel();
                (Some(asked), timeout(self.grace, call).await)
            }
        };
        match (asked, result) {
            (None, Ok(result)) | (Some(Asked::Stop), Ok(result @ Ok(Ok(_)))) => conclude(result),
            (Some(Asked::TimeOver(allowed)), _) => Outcome::TimedOut {
                error: ErrorInfo::new(kinds::TIMEOUT, format!("took longer than {allowed} and was stopped")),
            },
            (Some(Asked::Stop), _) | (None, Err(_)) => Outcome::Cancelled,
        }
    }
}

/// Why a handler is to end.
enum Asked {
    Stop,
    TimeOver(Millis),
}

async fn asked_to_end(stop: &CancellationToken, time: &Time) -> Asked {
    let Some(left) = time.left else {
        stop.cancelled().await;
        return Asked::Stop;
    };
    tokio::select! {
        biased;
        () = stop.cancelled() => Asked::Stop,
        () = time.over() => Asked::TimeOver(left),
    }
}

fn conclude(result: Result<Result<Value, ErrorInfo>, Box<dyn Any + Send>>) -> Outcome {
    match result {
        Ok(Ok(output)) if is_too_large(&output) => {
            let message = format!("the output, as JSON, has more than {MAX_OUTPUT_BYTES} bytes");
            Outcome::Failed { error: ErrorInfo::new(kinds::OUTPUT_TOO_LARGE, message) }
        }
        Ok(Ok(output)) => Outcome::Succeeded { output },
        Ok(Err(error)) => {
            let message = cut_end(&error.message, MAX_ERROR_MESSAGE_BYTES);
            Outcome::Failed { error: ErrorInfo { message, ..error } }
        }
        Err(panic) => {
            let said = panic_text(&*panic);
            Outcome::Failed { error: ErrorInfo::new(kinds::NATIVE_PANIC, cut_end(&said, MAX_ERROR_MESSAGE_BYTES)) }
        }
    }
}

/// Whether the output is longer than it may be. A value that is plainly short is not written out to measure it.
fn is_too_large(output: &Value) -> bool {
    match output {
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
        Value::String(_) | Value::Array(_) | Value::Object(_) => output.to_string().len() > MAX_OUTPUT_BYTES,
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let said = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("the handler panicked: {}", said.unwrap_or("no message"))
}
