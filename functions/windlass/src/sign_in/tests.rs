//! Against an issuer of this process.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex as SyncMutex};

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};

use super::*;
use crate::client::Client;
use crate::connection::{Connection, Credentials};

const SECRET: &str = "s3cret/+&=";

#[derive(Clone)]
struct Issuer {
    asked: Arc<SyncMutex<Vec<(String, String)>>>,
    answer: (StatusCode, Value),
}

async fn grant(State(issuer): State<Issuer>, headers: HeaderMap, body: String) -> (StatusCode, Json<Value>) {
    let authorization = headers["authorization"].to_str().expect("text").to_owned();
    let mut asked = issuer.asked.lock().expect("not poisoned");
    asked.push((authorization, body));
    let (status, mut answer) = issuer.answer.clone();
    if status.is_success() && answer.is_object() {
        answer["access_token"] = json!(format!("token-{}", asked.len()));
    }
    (status, Json(answer))
}

async fn listen(app: Router) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move { axum::serve(listener, app).await });
    format!("http://{address}")
}

/// An issuer with that answer, a client of it, and its requests.
async fn issuer(status: u16, answer: Value) -> (ClientCredentials, Issuer) {
    let status = StatusCode::from_u16(status).expect("a status");
    let issuer = Issuer { asked: Arc::default(), answer: (status, answer) };
    let url = listen(Router::new().route("/oauth2/token", post(grant)).with_state(issuer.clone())).await;
    let token_url = format!("{url}/oauth2/token").parse().expect("a URL");
    (ClientCredentials { id: "client".into(), secret: SECRET.into(), token_url, scope: None }, issuer)
}

fn signed_in(credentials: &ClientCredentials, folder: &Path) -> SignIn {
    SignIn::with_cache(credentials.clone(), Some(folder.to_owned())).expect("set up")
}

fn asked(issuer: &Issuer) -> Vec<(String, String)> {
    issuer.asked.lock().expect("not poisoned").clone()
}

#[tokio::test]
async fn token_is_fetched_once_and_kept_private() {
    let (mut credentials, issuer) = issuer(200, json!({ "expires_in": 3600, "token_type": "Bearer" })).await;
    credentials.scope = Some("windlass/call more".into());
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path().join("windlass");
    let first = signed_in(&credentials, &folder);
    assert_eq!(first.token().await.expect("a token"), "token-1");
    assert_eq!(first.token().await.expect("a token"), "token-1");
    assert_eq!(signed_in(&credentials, &folder).token().await.expect("a token"), "token-1", "the next command");
    // client:s3cret%2F%2B%26%3D
    let expected = "Basic Y2xpZW50OnMzY3JldCUyRiUyQiUyNiUzRA==";
    let form = "grant_type=client_credentials&scope=windlass%2Fcall+more";
    assert_eq!(asked(&issuer), [(expected.to_owned(), form.to_owned())]);
    let files: Vec<_> = std::fs::read_dir(&folder).expect("there").map(|file| file.expect("read").path()).collect();
    assert_eq!(files.len(), 1);
    assert_eq!(std::fs::metadata(&files[0]).expect("there").permissions().mode() & 0o777, 0o600);
    assert!(!std::fs::read_to_string(&files[0]).expect("text").contains("s3cret"));
    let other = ClientCredentials { scope: None, ..credentials.clone() };
    assert_eq!(signed_in(&other, &folder).token().await.expect("a token"), "token-2", "not another client's");
    std::fs::set_permissions(&files[0], std::fs::Permissions::from_mode(0o644)).expect("set");
    assert_eq!(signed_in(&credentials, &folder).token().await.expect("a token"), "token-3", "others could have put it");
}

#[tokio::test]
async fn a_token_that_expires_soon_is_not_used() {
    let (credentials, issuer) = issuer(200, json!({ "expires_in": 30 })).await;
    let folder = tempfile::tempdir().expect("a folder");
    let sign_in = signed_in(&credentials, folder.path());
    assert_eq!(sign_in.token().await.expect("a token"), "token-1");
    assert_eq!(sign_in.token().await.expect("a token"), "token-2");
    assert_eq!(asked(&issuer).len(), 2);
}

async fn check_refused(status: u16, answer: Value, code: &str, words: &str) {
    let (credentials, _issuer) = issuer(status, answer).await;
    let folder = tempfile::tempdir().expect("a folder");
    let failure = signed_in(&credentials, folder.path()).token().await.expect_err("no token");
    assert_eq!(failure.code(), code);
    let told = format!("{failure} {failure:?}");
    assert!(told.contains(words), "{told}");
    assert!(!told.contains("s3cret"), "{told}");
}

#[tokio::test]
async fn answer_without_a_token_is_an_error() {
    check_refused(400, json!({ "error": "invalid_client" }), "WL0615", "invalid_client").await;
    check_refused(401, json!("?"), "WL0615", "401").await;
    check_refused(503, json!({}), "WL0616", "503").await;
    check_refused(200, json!([]), "WL0616", "access_token").await;
    check_refused(302, json!({}), "WL0616", "302").await;
}

#[tokio::test]
async fn unreachable_issuer_is_an_error() {
    let token_url = "http://127.0.0.1:9/token?key=s3cret".parse().expect("a URL");
    let credentials = ClientCredentials { id: "client".into(), secret: SECRET.into(), token_url, scope: None };
    let failure = SignIn::with_cache(credentials, None).expect("set up").token().await.expect_err("away");
    assert_eq!(failure.code(), "WL0616");
    assert!(!format!("{failure:?}").contains("s3cret"));
}

fn check_settings(set: &[(&str, &str)], expected: Result<bool, &str>) {
    let lookup = |name: &str| set.iter().find(|(known, _)| *known == name).map(|(_, text)| (*text).to_owned());
    match (ClientCredentials::read(lookup), expected) {
        (Ok(found), Ok(expected)) => assert_eq!(found.is_some(), expected, "{set:?}"),
        (Err(failure), Err(words)) => {
            assert_eq!(failure.code(), "WL0617");
            assert!(failure.to_string().contains(words), "{failure}");
        }
        (found, expected) => panic!("{set:?}: {found:?}, expected {expected:?}"),
    }
}

#[test]
fn client_is_complete_and_hides_its_secret() {
    let client = [(CLIENT_ID, "c"), (CLIENT_SECRET, "s")];
    let with = |url| [client.as_slice(), &[(TOKEN_URL, url)]].concat();
    check_settings(&[], Ok(false));
    check_settings(&[(SCOPE, "x"), (CLIENT_ID, "")], Ok(false));
    check_settings(&with("https://issuer.example/token"), Ok(true));
    check_settings(&with("http://localhost:4566/token"), Ok(true));
    check_settings(&client, Err(TOKEN_URL));
    check_settings(&[(TOKEN_URL, "https://issuer.example")], Err("WINDLASS_CLIENT_ID and WINDLASS_CLIENT_SECRET"));
    check_settings(&with("http://issuer.example/token"), Err("https"));
    check_settings(&with("issuer.example"), Err("not a URL"));
    let found = ClientCredentials {
        id: "c".into(),
        secret: SECRET.into(),
        token_url: "https://x/".parse().expect("a URL"),
        scope: None,
    };
    assert!(!format!("{found:?}").contains("s3cret"));
}

/// A host that takes one token.
async fn host(takes: &'static str) -> String {
    let answer = async move |headers: HeaderMap| {
        if headers["authorization"] == format!("Bearer {takes}") {
            (StatusCode::OK, Json(json!({ "agents": [] })))
        } else {
            (StatusCode::UNAUTHORIZED, Json(json!({ "message": "Unauthorized" })))
        }
    };
    listen(Router::new().route("/v1/agents", get(answer))).await
}

#[tokio::test]
async fn a_refused_token_is_fetched_again_once() {
    for (takes, calls, ends_well) in [("token-1", 1, true), ("token-2", 2, true), ("never", 2, false)] {
        let (credentials, issuer) = issuer(200, json!({ "expires_in": 3600 })).await;
        let folder = tempfile::tempdir().expect("a folder");
        let sign_in = Arc::new(signed_in(&credentials, folder.path()));
        let url = host(takes).await.parse().expect("a URL");
        let client =
            Client::new(Connection { url, credentials: Credentials::SignIn(sign_in), ca_cert: None }).expect("set up");
        let answer = client.agents().await;
        assert_eq!(answer.is_ok(), ends_well, "{takes}");
        if let Err(failure) = answer {
            assert_eq!(failure.code(), "WL0602");
        }
        assert_eq!(asked(&issuer).len(), calls, "{takes}");
    }
}
