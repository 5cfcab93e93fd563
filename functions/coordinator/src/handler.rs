//! Answers one call. The gateway's authorizer names the caller; the handler trusts nothing that the caller sent.

use axum::response::Response;
use lambda_http::request::RequestContext;
use lambda_http::{Error, Request, RequestExt};
use tower::ServiceExt;
use windlass_api::Verified;

use crate::context::Context;

/// Claims that name the caller: the subject, or the client that a token of client credentials was issued to.
const SUBJECT_CLAIMS: [&str; 3] = ["sub", "client_id", "azp"];

/// Answers a call.
pub(crate) async fn handle(context: &Context, mut request: Request) -> Result<Response, Error> {
    if let Some(verified) = verified(request.request_context_ref()) {
        request.extensions_mut().insert(verified);
    }
    Ok(context.app.clone().oneshot(request).await?)
}

/// The caller that the JWT authorizer has verified; `None` without a claim that names one.
/// Only API Gateway and principals that IAM allows to invoke the function can set this context.
fn verified(context: Option<&RequestContext>) -> Option<Verified> {
    let claims = &context?.authorizer()?.jwt.as_ref()?.claims;
    let subject = SUBJECT_CLAIMS.into_iter().find_map(|name| claims.get(name).filter(|text| !text.is_empty()))?;
    Some(Verified { subject: subject.clone() })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use axum::body::to_bytes;
    use lambda_http::request::from_str;
    use serde_json::{Value, json};
    use windlass_domain::time::Timestamp;
    use windlass_engine::definitions::Definitions;
    use windlass_testkit::memory::MemoryHost;

    use super::*;
    use crate::context::app;

    /// A call, as API Gateway hands it over (payload format 2.0).
    fn call(method: &str, path: &str, host: &str, authorizer: &Value) -> String {
        json!({
            "version": "2.0", "routeKey": "$default", "rawPath": path, "rawQueryString": "", "isBase64Encoded": false,
            "headers": { "host": host, "authorization": "Bearer whatever" },
            "requestContext": {
                "accountId": "1", "apiId": "a", "domainName": "a.execute-api.localhost", "stage": "$default",
                "requestId": "r", "routeKey": "$default", "time": "", "timeEpoch": 0, "authorizer": authorizer,
                "http": { "method": method, "path": path, "protocol": "HTTP/1.1", "sourceIp": "", "userAgent": "" },
            },
        })
        .to_string()
    }

    async fn answer(hosts: &str, call: &str) -> (u16, Value) {
        let ports = MemoryHost::new(Timestamp::from_millis(0)).ports();
        let definitions = Arc::new(Definitions::new(ports.tasks.clone()));
        let context = Context::of(app((ports, definitions), hosts));
        let answer = handle(&context, from_str(call).expect("a call")).await.expect("answered");
        let status = answer.status().as_u16();
        let body = to_bytes(answer.into_body(), 100_000).await.expect("a body");
        (status, serde_json::from_slice(&body).expect("JSON"))
    }

    async fn check(hosts: &str, path: &str, host: &str, authorizer: Value, expected: u16) {
        let (status, body) = answer(hosts, &call("GET", path, host, &authorizer)).await;
        assert_eq!(status, expected, "{body}");
    }

    fn claims(claims: &Value) -> Value {
        json!({ "jwt": { "claims": claims, "scopes": ["windlass/call"] } })
    }

    #[tokio::test]
    async fn call_without_verified_claims_is_refused() {
        check("", "/v1/tasks", "a.example", claims(&json!({ "sub": "client-1", "exp": "1" })), 200).await;
        check("", "/v1/tasks", "a.example", claims(&json!({ "client_id": "client-1" })), 200).await;
        check("", "/v1/tasks", "a.example", claims(&json!({ "iss": "https://issuer.example" })), 401).await;
        check("", "/v1/tasks", "a.example", claims(&json!({ "sub": "" })), 401).await;
        check("", "/v1/tasks", "a.example", json!({ "lambda": { "sub": "client-1" } }), 401).await;
        check("", "/v1/tasks", "a.example", Value::Null, 401).await;
        check("", "/healthz", "a.example", Value::Null, 200).await;
    }

    #[tokio::test]
    async fn the_names_of_the_api_are_settings() {
        let who = || claims(&json!({ "sub": "client-1" }));
        check("a.example, 127.0.0.1:4566", "/v1/tasks", "127.0.0.1:4566", who(), 200).await;
        check("a.example, 127.0.0.1:4566", "/v1/tasks", "evil.example", who(), 403).await;
    }
}
