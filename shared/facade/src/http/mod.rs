//! Performs HTTP calls. `docs/http.md` says what endpoints and authors may rely on.
//!
//! One attempt is one request: no redirect is followed and nothing is repeated here, for that is the retry policy's.

mod network;
mod request;
mod response;
mod secrets;
mod targets;

use std::sync::Arc;
use std::time::Duration;

use reqwest::{Client, ClientBuilder, Method, redirect};
use windlass_domain::run::{ErrorInfo, Outcome};
use windlass_domain::time::Millis;
use windlass_domain::work::HttpWork;
use windlass_engine::perform::{Attempt, AttemptControl};

use crate::error::FacadeError;
use crate::kinds;
use crate::starved::Starved;
use crate::time::Time;
use network::{denied_address, network, starvation};
use request::{Ours, Prepared};
use targets::Resolver;

pub use ipnet::IpNet;
pub use targets::Targets;

/// How HTTP calls are made.
#[derive(Debug, Clone)]
pub struct HttpSettings {
    /// How long a connection may take to come up, its TLS handshake included.
    pub connect_timeout: Duration,
    /// How long a call may take whose action names no timeout.
    pub timeout: Duration,
    /// The addresses that may be called.
    pub targets: Targets,
}

impl Default for HttpSettings {
    fn default() -> Self {
        let (connect_timeout, timeout) = (Duration::from_secs(10), Duration::from_mins(5));
        Self { connect_timeout, timeout, targets: Targets::default() }
    }
}

/// A client to be set up, whose TLS is rustls with the cryptography of ring.
pub fn http_client() -> ClientBuilder {
    // The first call installs it for the process. A later call is refused and finds it there.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder()
}

/// The facade for HTTP: one client, and so one pool of connections, for the whole agent.
pub(crate) struct Http {
    client: Client,
    timeout: Duration,
    targets: Arc<Targets>,
    starved: Starved,
}

impl Http {
    pub(crate) fn new(settings: &HttpSettings) -> Result<Self, FacadeError> {
        let targets = Arc::new(settings.targets.clone());
        let client = http_client()
            .dns_resolver(Resolver(targets.clone()))
            .connect_timeout(settings.connect_timeout)
            .redirect(redirect::Policy::none())
            .no_proxy()
            .user_agent(concat!("windlass/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(FacadeError::HttpClient)?;
        Ok(Self { client, timeout: settings.timeout, targets, starved: Starved::default() })
    }

    /// Makes the call of one attempt.
    pub(crate) async fn perform(
        &self,
        work: &HttpWork,
        attempt: &Attempt,
        time: &Time,
        control: &AttemptControl,
    ) -> Outcome {
        let ours = Ours { idempotency_key: &attempt.idempotency_key, trace: attempt.trace.as_deref() };
        let prepared = match request::prepare(&self.client, work, &ours) {
            Ok(prepared) => prepared,
            Err(why) => return Outcome::Failed { error: ErrorInfo::new(kinds::HTTP_INVALID_REQUEST, why) },
        };
        let place = prepared.place.clone();
        if let Err(denied) = self.targets.check_url(prepared.request.url()) {
            return Outcome::Failed { error: denied_address(&place, denied) };
        }
        let limit = self.limit(attempt, time.left);
        tokio::select! {
            biased;
            outcome = self.call(prepared) => match outcome {
                Ok(output) => {
                    self.starved.over();
                    Outcome::Succeeded { output }
                }
                Err(NoAnswer::Starved(error)) => self.starved.hand_back(&error, control),
                Err(NoAnswer::Failed(error)) => Outcome::Failed { error },
            },
            () = control.stop.cancelled() => Outcome::Cancelled,
            () = time.over_after(limit.duration()) => limit.passed(&place),
        }
    }

    fn limit(&self, attempt: &Attempt, left: Option<Millis>) -> Limit {
        match left {
            Some(left) if attempt.timeout.is_some() || left.as_duration() <= self.timeout => Limit::OfAttempt(left),
            Some(_) | None => Limit::OfFacade(self.timeout),
        }
    }

    async fn call(&self, prepared: Prepared) -> Result<serde_json::Value, NoAnswer> {
        let Prepared { request, place, secrets } = prepared;
        let has_body = request.method() != Method::HEAD;
        let response = self.client.execute(request).await.map_err(|error| match starvation(&error) {
            Some(lack) => NoAnswer::Starved(lack),
            None => NoAnswer::Failed(network(&place, error)),
        })?;
        response::read(response, has_body, &place, &secrets).await.map_err(NoAnswer::Failed)
    }
}

/// Why a call gave no output.
enum NoAnswer {
    /// The agent could not begin it.
    Starved(std::io::Error),
    Failed(ErrorInfo),
}

/// How long a call may take, and the reason of that bound.
#[derive(Debug, Clone, Copy)]
enum Limit {
    /// The action's timeout, or the rest of the run's time.
    OfAttempt(Millis),
    /// The facade's own.
    OfFacade(Duration),
}

impl Limit {
    fn duration(self) -> Duration {
        match self {
            Self::OfAttempt(left) => left.as_duration(),
            Self::OfFacade(timeout) => timeout,
        }
    }

    fn passed(self, place: &str) -> Outcome {
        match self {
            Self::OfAttempt(left) => {
                let message = format!("{place} took longer than {left} and was given up");
                Outcome::TimedOut { error: ErrorInfo::new(kinds::TIMEOUT, message) }
            }
            Self::OfFacade(timeout) => {
                let message = format!("{place} gave no answer in {} s", timeout.as_secs_f64());
                Outcome::Failed { error: ErrorInfo::new(kinds::NETWORK_TIMEOUT, message) }
            }
        }
    }
}
