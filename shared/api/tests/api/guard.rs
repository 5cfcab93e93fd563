//! The callers that the API lets in.

use axum::http::StatusCode;
use windlass_api::{AllowedHosts, ApiConfig, ApiState, Auth, Token, app};

use crate::world::{Call, HOST, TOKEN, World};

const PATHS: [&str; 4] = ["/v1/tasks", "/v1/runs", "/openapi.json", "/no/such/route"];

#[tokio::test]
async fn health_wants_no_token() {
    let world = World::new();
    let answer = world.send(Call::bare("GET", "/healthz").header("host", HOST)).await;
    let health = answer.expect(StatusCode::OK);
    assert_eq!(health["status"], "ok");
    assert_eq!(health["version"], env!("CARGO_PKG_VERSION"));
}

#[tokio::test]
async fn everything_else_wants_the_token() {
    let world = World::new();
    let near = format!("Bearer {TOKEN}x");
    let short = format!("Bearer {}", &TOKEN[1..]);
    let basic = format!("Basic {TOKEN}");
    for path in PATHS {
        for given in [None, Some(""), Some("Bearer"), Some("Bearer "), Some(&*near), Some(&*short), Some(&*basic)] {
            let mut call = Call::bare("GET", path).header("host", HOST);
            if let Some(value) = given {
                call = call.header("authorization", value);
            }
            let answer = world.send(call).await;
            answer.refused(401, "WL0401");
            assert!(answer.header("www-authenticate").unwrap().starts_with("Bearer realm=\"windlass\""));
            assert!(!answer.text.contains(TOKEN));
        }
    }
    let twice = Call::new("GET", "/v1/tasks").header("authorization", &format!("Bearer {TOKEN}"));
    world.send(twice).await.refused(401, "WL0401");
}

#[tokio::test]
async fn the_scheme_may_be_written_in_any_case() {
    let world = World::new();
    let call = Call::bare("GET", "/v1/tasks").header("host", HOST).header("authorization", &format!("bearer {TOKEN}"));
    world.send(call).await.expect(StatusCode::OK);
}

#[tokio::test]
async fn empty_token_refuses_every_call() {
    let world = World::new();
    let config = ApiConfig::new(Auth::token(""), AllowedHosts::loopback(8080), world.shutdown.clone());
    let definitions = std::sync::Arc::new(windlass_engine::definitions::Definitions::new(world.ports.tasks.clone()));
    let closed = app(ApiState::new(world.ports.clone(), definitions, config));
    for given in ["Bearer ", "Bearer  ", "Bearer x"] {
        let request = axum::http::Request::get("/v1/tasks").header("host", HOST).header("authorization", given);
        let request = request.body(axum::body::Body::empty()).unwrap();
        let response = tower::ServiceExt::oneshot(closed.clone(), request).await.unwrap();
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    }
}

#[test]
fn a_token_is_not_shown() {
    let token = Token::from("secret".to_owned());
    assert!(!format!("{token:?}{:?}", Auth::Token(token.clone())).contains("secret"));
}

#[tokio::test]
async fn only_this_machines_names_are_answered() {
    let world = World::new();
    let token = format!("Bearer {TOKEN}");
    let to = |host: &str| Call::bare("GET", "/v1/tasks").header("host", host).header("authorization", &token);
    // A forwarded port is another one than the host's own.
    for host in [HOST, "localhost:8080", "LOCALHOST:8080", "[::1]:8080", "127.0.0.1", "127.0.0.1:9000"] {
        world.send(to(host)).await.expect(StatusCode::OK);
    }
    for host in ["evil.example", "evil.example:8080", "127.0.0.1.evil.example", "10.0.0.7:8080", "localhost:x", ""] {
        world.send(to(host)).await.refused(403, "WL0402");
    }
    let two = Call::new("GET", "/v1/tasks").header("host", "evil.example");
    world.send(two).await.refused(403, "WL0402");
    world.send(Call::bare("GET", "/v1/tasks")).await.refused(403, "WL0402");
}

#[tokio::test]
async fn refused_name_and_allowed_names_are_told() {
    let world = World::new();
    let answer = world.send(Call::bare("GET", "/v1/tasks").header("host", "windlass.example.com")).await;
    answer.refused(403, "WL0402");
    for part in ["`windlass.example.com`", "127.0.0.1, [::1], localhost;", "--host-name"] {
        assert!(answer.text.contains(part), "{part}: {}", answer.text);
    }
    let long = world.send(Call::bare("GET", "/v1/tasks").header("host", &"x".repeat(4_000))).await;
    assert!(long.text.len() < 1_000, "{}", long.text);
}

#[tokio::test]
async fn health_is_told_by_any_name() {
    let world = World::new();
    for host in ["10.0.0.7:8080", "windlass.example.com", ""] {
        world.send(Call::bare("GET", "/healthz").header("host", host)).await.expect(StatusCode::OK);
    }
    world.send(Call::bare("GET", "/healthz")).await.expect(StatusCode::OK);
}

#[tokio::test]
async fn an_absolute_target_counts_as_a_host() {
    let world = World::new();
    let foreign = Call::new("GET", "http://evil.example/v1/tasks");
    assert_eq!(world.open(foreign).await.status(), StatusCode::FORBIDDEN);
    let own = Call::new("GET", &format!("http://{HOST}/v1/tasks"));
    assert_eq!(world.open(own).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn foreign_pages_are_refused_even_with_the_token() {
    let world = World::new();
    for origin in ["https://evil.example", "null", "http://127.0.0.1:9999", "http://127.0.0.1:8080.evil.example", ""] {
        let call = Call::new("POST", "/v1/tasks/report/runs").header("origin", origin);
        world.send(call).await.refused(403, "WL0403");
    }
    let own = Call::new("GET", "/v1/tasks").header("origin", "http://localhost:8080");
    world.send(own).await.expect(StatusCode::OK);
    let preflight = Call::bare("OPTIONS", "/v1/tasks").header("host", HOST).header("origin", "http://localhost:8080");
    world.send(preflight).await.refused(401, "WL0401");
}

#[tokio::test]
async fn unknown_route_is_a_problem() {
    let world = World::new();
    world.get("/v2/tasks").await.refused(404, "WL0404");
    world.get("/").await.refused(404, "WL0404");
    world.send(Call::new("PATCH", "/v1/tasks")).await.refused(405, "WL0405");
}
