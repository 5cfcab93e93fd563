//! Protection of the agent's ECS task while work is in flight: ECS then ends other tasks first when it scales in or
//! deploys (<https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-scale-in-protection-endpoint.html>).
//!
//! It spares long work an interruption, and no promise relies on it. If ECS ends the agent all the same, the agent
//! drains, and other agents go on with its attempts. So the agent logs a failure and goes on.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use windlass_engine::agent::Agent;

/// How long the agent asks ECS to protect its task; ECS allows 1 minute to 48 hours.
/// An agent that hangs keeps its task alive for no longer than this.
const EXPIRES_IN: Duration = Duration::from_hours(1);
/// When it is renewed: this long before it expires.
const RENEW_BEFORE: Duration = Duration::from_mins(20);
/// How long an agent is idle before its protection is released: work that comes in a row is one piece.
const RELEASE_AFTER: Duration = Duration::from_secs(10);
/// The wait before the agent repeats a failed request.
const RETRY_AFTER: Duration = Duration::from_secs(10);
/// How often it looks whether the agent has work.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long a request may take.
const TIMEOUT: Duration = Duration::from_secs(3);

/// The protection of this task.
#[derive(Debug)]
pub(crate) struct Protection {
    http: reqwest::Client,
    endpoint: String,
    state: State,
}

/// The last answers of ECS, and since when the agent has been idle.
#[derive(Debug, Default)]
struct State {
    /// When it expires; absent: it is not protected.
    until: Option<Instant>,
    idle_since: Option<Instant>,
    failed_at: Option<Instant>,
}

impl State {
    /// `Some(true)`: ask ECS for protection; `Some(false)`: ask ECS to end it; `None`: ask nothing now.
    fn wanted(&mut self, busy: bool, now: Instant) -> Option<bool> {
        self.idle_since = if busy { None } else { self.idle_since.or(Some(now)) };
        if self.failed_at.is_some_and(|at| now < at + RETRY_AFTER) {
            return None;
        }
        let is_lasting = self.until.is_some_and(|until| now + RENEW_BEFORE < until);
        let is_idle = self.idle_since.is_some_and(|since| now >= since + RELEASE_AFTER);
        match busy {
            true if !is_lasting => Some(true),
            false if is_idle && self.until.is_some() => Some(false),
            true | false => None,
        }
    }

    fn answered(&mut self, protected: bool, ok: bool, now: Instant) {
        self.failed_at = (!ok).then_some(now);
        if ok {
            self.until = protected.then_some(now + EXPIRES_IN);
        }
    }
}

impl Protection {
    /// By ECS's agent at that address.
    pub(crate) fn new(ecs_agent: &str) -> Option<Self> {
        let endpoint = format!("{}/task-protection/v1/state", ecs_agent.trim_end_matches('/'));
        // The address is of the machine itself: no proxy leads there.
        match windlass_facade::http_client().no_proxy().timeout(TIMEOUT).build() {
            Ok(http) => Some(Self { http, endpoint, state: State::default() }),
            Err(error) => {
                tracing::warn!(%error, "failed to set up the protection of this task; it works without");
                None
            }
        }
    }

    /// Protects the task while the agent holds work, until it has ended.
    pub(crate) async fn keep(mut self, agent: Agent, ended: CancellationToken) {
        let mut is_over = false;
        while !is_over {
            is_over = tokio::select! {
                biased;
                () = ended.cancelled() => true,
                () = tokio::time::sleep(LOOK_EVERY) => false,
            };
            let wanted = if is_over {
                self.state.until.is_some().then_some(false)
            } else {
                self.state.wanted(agent.health().busy > 0, Instant::now())
            };
            if let Some(protected) = wanted {
                self.ask(protected).await;
            }
        }
    }

    async fn ask(&mut self, protected: bool) {
        let asked = self.put(protected).await;
        self.state.answered(protected, asked.is_ok(), Instant::now());
        match asked {
            Ok(()) => tracing::debug!(protected, "the protection of this task was set"),
            Err(cause) => {
                tracing::warn!(protected, cause, "failed to set the protection of this task; it works without");
            }
        }
    }

    async fn put(&self, protected: bool) -> Result<(), String> {
        let body = if protected {
            json!({ "ProtectionEnabled": true, "ExpiresInMinutes": EXPIRES_IN.as_secs() / 60 })
        } else {
            json!({ "ProtectionEnabled": false })
        };
        let request = self.http.put(&self.endpoint).json(&body);
        let response = request.send().await.map_err(|error| error.to_string())?;
        let status = response.status();
        let answer: Value = response.json().await.unwrap_or_default();
        let refused = ["failure", "error"].into_iter().find_map(|name| answer.get(name));
        match refused {
            None if status.is_success() => Ok(()),
            None => Err(format!("the answer is {status}")),
            Some(refusal) => Err(format!("the answer is {status}: {refusal}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    use axum::http::StatusCode;
    use axum::routing::put;
    use axum::{Json, Router};

    #[tokio::test(start_paused = true)]
    async fn protection_follows_the_work() {
        let mut state = State::default();
        let start = Instant::now();
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        assert_eq!(state.wanted(false, at(0)), None, "nothing to release");
        assert_eq!(state.wanted(true, at(60)), Some(true));
        state.answered(true, true, at(60));
        assert_eq!(state.wanted(true, at(120)), None);
        assert_eq!(state.wanted(true, at(60 + 41 * 60)), Some(true), "renewed in time");
        state.answered(true, false, at(60 + 41 * 60));
        assert_eq!(state.wanted(true, at(62 + 41 * 60)), None, "not at once again");
        assert_eq!(state.wanted(true, at(70 + 41 * 60)), Some(true));
        state.answered(true, true, at(70 + 41 * 60));
        assert_eq!(state.wanted(false, at(3000)), None, "idle for a moment");
        assert_eq!(state.wanted(true, at(3005)), None);
        assert_eq!(state.wanted(false, at(3006)), None);
        assert_eq!(state.wanted(false, at(3016)), Some(false));
        state.answered(false, true, at(3016));
        assert_eq!(state.wanted(false, at(4000)), None);
    }

    type Asked = Arc<Mutex<Vec<Value>>>;

    async fn endpoint(status: StatusCode, answer: Value) -> (Protection, Asked) {
        let asked = Asked::default();
        let seen = asked.clone();
        let answer = async move |Json(body): Json<Value>| {
            seen.lock().expect("not poisoned").push(body);
            (status, Json(answer.clone()))
        };
        let app = Router::new().route("/api/x/task-protection/v1/state", put(answer));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        tokio::spawn(async move { axum::serve(listener, app).await });
        (Protection::new(&format!("http://{address}/api/x")).expect("set up"), asked)
    }

    #[tokio::test]
    async fn it_is_asked_for_as_ecs_documents_it() {
        let granted = json!({ "protection": { "ProtectionEnabled": true } });
        let (mut protection, asked) = endpoint(StatusCode::OK, granted).await;
        protection.ask(true).await;
        assert!(protection.state.until.is_some());
        protection.ask(false).await;
        assert!(protection.state.until.is_none());
        let expected =
            [json!({ "ProtectionEnabled": true, "ExpiresInMinutes": 60 }), json!({ "ProtectionEnabled": false })];
        assert_eq!(*asked.lock().expect("not poisoned"), expected);
    }

    #[tokio::test]
    async fn a_refusal_is_a_failure_whatever_its_status() {
        let refused = json!({ "failure": { "Reason": "TASK_NOT_VALID", "Detail": "not of a service" } });
        for status in [StatusCode::OK, StatusCode::BAD_REQUEST] {
            let (mut protection, _) = endpoint(status, refused.clone()).await;
            protection.ask(true).await;
            assert!(protection.state.until.is_none() && protection.state.failed_at.is_some());
        }
        let mut away = Protection::new("http://127.0.0.1:9").expect("set up");
        away.ask(true).await;
        assert!(away.state.failed_at.is_some());
    }
}
