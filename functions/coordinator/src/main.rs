//! The coordinator as a Lambda function: the HTTP API behind an HTTP API of API Gateway (payload format 2.0), whose JWT
//! authorizer verifies tokens. It ends with code 2 if a setting is missing or wrong (WL0801).

mod context;
mod handler;

use std::process::ExitCode;

use lambda_http::service_fn;
use windlass_aws::{Program, Settings, telemetry};

use context::Context;

/// A setting is missing or wrong.
const SETTINGS: u8 = 2;

#[tokio::main]
async fn main() -> ExitCode {
    let figures = telemetry::set_up("coordinator");
    let settings = match Settings::from_env(Program::Coordinator) {
        Ok(settings) => settings,
        Err(error) => {
            tracing::error!(error.code = error.code(), %error, "failed to start");
            return SETTINGS.into();
        }
    };
    let hosts = std::env::var(context::HOSTS).unwrap_or_default();
    let context = &Context::new(settings, &hosts, figures).await;
    let handle = async move |request| {
        let answer = handler::handle(context, request).await;
        context.tell();
        answer
    };
    match lambda_http::run(service_fn(handle)).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "the runtime of the function has ended");
            ExitCode::FAILURE
        }
    }
}
