//! One process of the function keeps this context from one call to the next.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio_util::sync::CancellationToken;
use windlass_api::{AllowedHosts, ApiConfig, ApiState, Auth};
use windlass_aws::meter::Meter;
use windlass_aws::telemetry::Figures;
use windlass_aws::{AwsHost, Settings};
use windlass_engine::Ports;
use windlass_engine::definitions::Definitions;

/// The names that the API is reached by, with their ports, separated by commas. Empty: every name that the gateway
/// routes here.
pub(crate) const HOSTS: &str = "WINDLASS_HOSTS";

/// The longest wait for a run's end. API Gateway gives up after 30 s, and the function after 29.
/// <https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-quotas.html>
const MAX_WAIT: Duration = Duration::from_secs(20);
/// How long an event stream lasts that has nothing to tell.
const STREAM_FOR: Duration = Duration::from_secs(10);
/// The most bytes of an answer: Lambda hands over 6 MB of JSON, in which the answer's text stands escaped.
/// <https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>
const MAX_ANSWER: usize = 4_500_000;

/// Built once, on a cold start.
pub(crate) struct Context {
    pub(crate) app: Router,
    figures: Figures,
    meter: Option<Meter>,
    stack: String,
}

impl Context {
    /// On AWS.
    pub(crate) async fn new(settings: Settings, hosts: &str, figures: Figures) -> Self {
        let host = AwsHost::connect(settings).await;
        let (app, stack) = (app(host.ports(), hosts), host.settings().name.clone());
        Self { app, figures, meter: Some(host.meter().clone()), stack }
    }

    /// With this app, of a stack without a name.
    #[cfg(test)]
    pub(crate) fn of(app: Router) -> Self {
        Self { app, figures: Figures::new("coordinator"), meter: None, stack: String::new() }
    }

    /// Writes the counts, because the process stands still between two calls.
    pub(crate) fn tell(&self) {
        self.figures.write(&self.stack);
        if let Some(meter) = &self.meter {
            meter.count("Lambda", "Invoke", 1, 1.0);
            meter.report();
        }
    }
}

/// The API over these ports.
pub(crate) fn app((ports, definitions): (Ports, Arc<Definitions>), hosts: &str) -> Router {
    let config = ApiConfig {
        max_wait: MAX_WAIT,
        stream_for: Some(STREAM_FOR),
        max_answer: Some(MAX_ANSWER),
        ..ApiConfig::new(Auth::Gateway, allowed(hosts), CancellationToken::new())
    };
    windlass_api::app(ApiState::new(ports, definitions, config))
}

fn allowed(hosts: &str) -> AllowedHosts {
    let names: Vec<&str> = hosts.split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
    if names.is_empty() { AllowedHosts::BehindGateway } else { AllowedHosts::new(names) }
}
