//! The agent's health for ECS, which may stop the task: `GET /healthz`.
//!
//! The agent answers 503 once its receives have failed for `FAILING_FOR`. By then it has lost all the work that it
//! held, so ECS loses nothing by starting another. A draining agent always answers 200, and its body says `draining`.
//! ECS stops an unhealthy task even if it is protected, which would cut off work that is about to finish.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::ExitCode;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use windlass_engine::agent::{Agent, AgentHealth};

use crate::settings;

/// How long receives may fail: four times the visibility timeout.
const FAILING_FOR: Duration = Duration::from_mins(2);
/// How long the health check waits.
const ASK_WITHIN: Duration = Duration::from_secs(3);
/// The beginning of an answer, in which its status stands.
const STATUS_BYTES: usize = 32;

#[derive(Debug, Serialize, PartialEq)]
struct Health {
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    busy: usize,
    slots: u32,
    version: &'static str,
}

/// Answers until the agent has ended.
pub(crate) async fn serve(listener: TcpListener, agent: Agent, ended: CancellationToken) {
    let answer = async |State(agent): State<Agent>| {
        let (status, health) = health_of(agent.health());
        (status, Json(health))
    };
    let app = Router::new().route("/healthz", get(answer)).with_state(agent);
    tokio::select! {
        served = axum::serve(listener, app) => if let Err(error) = served {
            tracing::error!(%error, "health is no longer told");
        },
        () = ended.cancelled() => {}
    }
}

fn health_of(agent: AgentHealth) -> (StatusCode, Health) {
    let AgentHealth { busy, slots, draining, failing_for } = agent;
    let failing = failing_for.filter(|span| *span >= FAILING_FOR);
    let (code, status) = match (failing, draining) {
        (None, false) => (StatusCode::OK, "ok"),
        (None | Some(_), true) => (StatusCode::OK, "draining"),
        (Some(_), false) => (StatusCode::SERVICE_UNAVAILABLE, "failing"),
    };
    let reason =
        failing.map(|span| format!("every receive has failed for {} s; the log has the cause", span.as_secs()));
    (code, Health { status, reason, busy, slots, version: env!("CARGO_PKG_VERSION") })
}

/// Asks the agent of this environment: 0 if it does well.
pub(crate) fn ask() -> ExitCode {
    match asked() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) | Err(_) => ExitCode::FAILURE,
    }
}

fn asked() -> std::io::Result<bool> {
    let mut address = settings::health_address();
    if address.ip().is_unspecified() {
        address.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
    }
    let mut stream = TcpStream::connect_timeout(&address, ASK_WITHIN)?;
    stream.set_read_timeout(Some(ASK_WITHIN))?;
    stream.write_all(b"GET /healthz HTTP/1.0\r\nHost: localhost\r\n\r\n")?;
    let mut head = Vec::with_capacity(STATUS_BYTES);
    stream.take(STATUS_BYTES as u64).read_to_end(&mut head)?;
    Ok(String::from_utf8_lossy(&head).split(' ').nth(1) == Some("200"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(draining: bool, failing_for: Option<u64>, expected: (u16, &str)) {
        let agent = AgentHealth { busy: 1, slots: 4, draining, failing_for: failing_for.map(Duration::from_secs) };
        let (code, health) = health_of(agent);
        assert_eq!((code.as_u16(), health.status), expected);
        assert_eq!(health.reason.is_some(), failing_for.is_some_and(|seconds| seconds >= 120));
    }

    #[test]
    fn only_a_failing_agent_answers_503() {
        check(false, None, (200, "ok"));
        check(false, Some(30), (200, "ok"));
        check(false, Some(120), (503, "failing"));
        check(true, None, (200, "draining"));
        check(true, Some(500), (200, "draining"));
    }
}
