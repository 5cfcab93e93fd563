//! The guard before every call: it refuses callers, and sets the headers of every answer.

use std::panic::AssertUnwindSafe;
use std::time::Instant;

use axum::body::to_bytes;
use axum::extract::{Request, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HOST, ORIGIN, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures::FutureExt;

use crate::hosts::AllowedHosts;
use crate::operation::Operation;
use crate::problem::{Kind, Refusal};
use crate::state::ApiState;

const SECURITY_HEADERS: [(HeaderName, HeaderValue); 4] = [
    (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (CACHE_CONTROL, HeaderValue::from_static("no-store")),
    (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'")),
];

/// Characters of a refused name that are said again.
const MAX_NAME_CHARS: usize = 255;

/// Lets a call through that is addressed to this API, comes from no foreign page and has a token.
pub(crate) async fn admit(State(api): State<ApiState>, mut request: Request, next: Next) -> Response {
    // What asks for the health of many hosts knows them by addresses alone, and learns nothing else here.
    if request.uri().path() == Operation::Health.path() {
        return next.run(request).await;
    }
    if let Err(problem) = check_place(api.hosts(), request.uri(), request.headers()) {
        return problem.into_response();
    }
    match api.auth().check(request.headers(), request.extensions()) {
        Ok(caller) => request.extensions_mut().insert(caller),
        Err(problem) => return problem.into_response(),
    };
    next.run(request).await
}

/// Refuses a call to another name, or from a page of another name.
fn check_place(hosts: &AllowedHosts, uri: &Uri, headers: &HeaderMap) -> Result<(), Refusal> {
    let named = headers.get_all(HOST).iter().map(|value| value.to_str().unwrap_or_default());
    let named: Vec<&str> = named.chain(uri.authority().map(axum::http::uri::Authority::as_str)).collect();
    if !hosts.allow(&named) {
        return Err(foreign_host(hosts, &named));
    }
    let mut origins = headers.get_all(ORIGIN).iter();
    if !origins.all(|origin| origin.to_str().is_ok_and(|origin| hosts.allow_origin(origin, &named))) {
        return Err(Refusal::new(&Kind::FOREIGN_ORIGIN, "the call comes from a web page of another origin"));
    }
    Ok(())
}

/// The refused names, those that are allowed, and how another one is let in.
fn foreign_host(hosts: &AllowedHosts, named: &[&str]) -> Refusal {
    let named = named.join("`, `");
    let named: String = named.chars().take(MAX_NAME_CHARS).collect();
    let addressed = if named.is_empty() { "names no host".to_owned() } else { format!("is addressed to `{named}`") };
    let detail = format!(
        "the call {addressed}, and this host answers to {}; `serve --host-name NAME` lets another name in",
        hosts.shown()
    );
    Refusal::new(&Kind::FOREIGN_HOST, detail)
}

/// Answers a panic with a problem that says nothing of its cause; the log has it.
pub(crate) async fn catch_panics(request: Request, next: Next) -> Response {
    let path = request.uri().path().to_owned();
    let answered = AssertUnwindSafe(next.run(request)).catch_unwind().await;
    answered.unwrap_or_else(|_| {
        tracing::error!(http.path = path, "a call panicked");
        Refusal::new(&Kind::INTERNAL, "the call failed by a fault of this program").into_response()
    })
}

/// Answers with a problem where the answer is larger than its host can hand over.
pub(crate) async fn bound_answers(State(api): State<ApiState>, request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    let Some(most) = api.max_answer() else {
        return response;
    };
    let (head, body) = response.into_parts();
    let Ok(whole) = to_bytes(body, most).await else {
        let detail = format!("the answer has more than {most} bytes, which is the most that this host hands over");
        return Refusal::new(&Kind::ANSWER_TOO_LARGE, detail).into_response();
    };
    Response::from_parts(head, whole.into())
}

/// Logs every call, but neither its parameters nor its body, which may hold private data.
pub(crate) async fn log(request: Request, next: Next) -> Response {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let since = Instant::now();
    let response = next.run(request).await;
    let (http_status, duration_ms) = (response.status().as_u16(), since.elapsed().as_millis());
    tracing::debug!(http.method = %method, http.path = path, http.status = http_status, duration_ms, "a call was answered");
    response
}

/// Adds the security headers to every answer, failures included.
pub(crate) async fn add_security_headers(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    for (name, value) in SECURITY_HEADERS {
        response.headers_mut().insert(name, value);
    }
    response
}
