//! The process manager as a Lambda function: batches of the inbox, and of the dead-letter queues, by SQS event sources
//! with partial batch responses. It ends with code 2 if a setting is missing or wrong (WL0801).

mod context;
mod handler;

use std::process::ExitCode;

use lambda_runtime::{LambdaEvent, service_fn};
use windlass_aws::{Program, Settings, telemetry};

use context::Context;

/// A setting is missing or wrong.
const SETTINGS: u8 = 2;

#[tokio::main]
async fn main() -> ExitCode {
    let figures = telemetry::set_up("process-manager");
    let settings = match Settings::from_env(Program::ProcessManager) {
        Ok(settings) => settings,
        Err(error) => {
            tracing::error!(error.code = error.code(), %error, "failed to start");
            return SETTINGS.into();
        }
    };
    let context = &Context::new(settings, figures).await;
    let handle = async move |LambdaEvent { payload, context: call }: LambdaEvent<_>| {
        let answer = handler::handle(context, payload, call.deadline).await;
        context.tell();
        answer
    };
    match lambda_runtime::run(service_fn(handle)).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "the runtime of the function has ended");
            ExitCode::FAILURE
        }
    }
}
