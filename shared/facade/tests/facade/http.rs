//! HTTP calls to servers of the tests' own.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::Path;
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::IntoResponse as _;
use axum::routing::{any, get};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use windlass_domain::limits::{MAX_ERROR_MESSAGE_BYTES, MAX_OUTPUT_BYTES};
use windlass_domain::run::{ErrorInfo, Outcome};
use windlass_domain::work::{HttpWork, Work};
use windlass_facade::Targets;

use crate::bench::{Bench, attempt, failed, succeeded, timed, timed_out};

async fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    (listener, address)
}

/// A port that refuses connections. The test holds the port while this value lives, because another test may listen on
/// a free one.
fn refusing() -> (TcpSocket, SocketAddr) {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a port");
    let address = socket.local_addr().expect("an address");
    (socket, address)
}

/// A server that answers as its paths say; its address.
async fn server() -> SocketAddr {
    let (listener, address) = listener().await;
    let endless = || async {
        let chunks = futures::stream::repeat_with(|| Ok::<_, std::io::Error>(Bytes::from_static(&[b'x'; 4096])));
        Body::from_stream(chunks)
    };
    let app = Router::new()
        .route("/echo", any(echo))
        .route("/status/{code}", any(status))
        .route("/json", get(|| async { ([("content-type", "application/json")], r#"{"rows": 3}"#) }))
        .route("/problem", get(|| async { ([("content-type", "application/problem+json")], "[1]") }))
        .route("/broken", get(|| async { ([("content-type", "application/json")], "{") }))
        .route("/empty-json", get(|| async { ([("content-type", "application/json")], "") }))
        .route("/marked", get(|| async { ([("content-type", "application/json")], "\u{feff}[1]") }))
        .route("/zipped", get(|| async { ([("content-encoding", "gzip")], b"\x1f\x8b\x08".as_slice()) }))
        .route("/twice", get(|| async { ([("content-encoding", "identity, BR")], "x") }))
        .route("/plain", get(|| async { ([("content-encoding", "identity, utf-8")], "x") }))
        .route("/zipped-nothing", get(|| async { ([("content-encoding", "gzip")], "") }))
        .route("/zipped-failure", get(|| async { (StatusCode::CONFLICT, [("content-encoding", "gzip")], "\u{1f}") }))
        .route("/number", get(|| async { "42" }))
        .route("/text", get(|| async { "a text\n" }))
        .route("/bytes", get(|| async { b"\xff\xfe".as_slice() }))
        .route("/nothing", get(|| async { StatusCode::NO_CONTENT }))
        .route("/longest", get(|| async { "x".repeat(MAX_OUTPUT_BYTES - 2) }))
        .route("/longer", get(|| async { "x".repeat(MAX_OUTPUT_BYTES - 1) }))
        .route("/endless", get(endless))
        .route("/endless-failure", get(move || async move { (StatusCode::BAD_GATEWAY, endless().await) }));
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

async fn echo(method: Method, headers: HeaderMap, body: String) -> axum::Json<Value> {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok().map(str::to_owned));
    axum::Json(json!({
        "method": method.as_str(), "body": body, "type": header("content-type"), "key": header("idempotency-key"),
        "own": header("x-own"), "user": header("authorization"),
    }))
}

/// Sends the request back: an endpoint that is careless with secrets.
async fn status(Path(code): Path<u16>, headers: HeaderMap) -> axum::response::Response {
    let said = headers.get("authorization").and_then(|value| value.to_str().ok()).unwrap_or("nothing");
    let code = StatusCode::from_u16(code).expect("a status");
    (code, [("location", "/echo")], format!("you said {said}")).into_response()
}

fn request(method: &str, url: impl Into<String>) -> HttpWork {
    HttpWork { method: method.to_owned(), url: url.into(), headers: [].into(), body: None }
}

async fn call(work: HttpWork) -> Outcome {
    Bench::new().perform(attempt(Work::Http(work))).await
}

async fn get_failure(url: impl Into<String>) -> ErrorInfo {
    failed(call(request("GET", url)).await)
}

#[tokio::test]
async fn a_request_is_as_its_author_says() {
    let address = server().await;
    let url = format!("http://{address}/echo");
    let key = attempt(Work::Http(request("GET", ""))).idempotency_key;
    let seen = |method: &str, body: &str, media_type: Value| json!({"method": method, "body": body, "type": media_type, "key": key, "own": null, "user": null});
    for (method, body, expected) in [
        ("GET", None, seen("GET", "", Value::Null)),
        ("DELETE", None, seen("DELETE", "", Value::Null)),
        ("POST", Some(json!({"a": [1]})), seen("POST", r#"{"a":[1]}"#, "application/json".into())),
        ("PUT", Some(json!("as it stands")), seen("PUT", "as it stands", "text/plain; charset=utf-8".into())),
        ("PATCH", Some(json!(7)), seen("PATCH", "7", "application/json".into())),
    ] {
        assert_eq!(succeeded(call(HttpWork { body, ..request(method, &url) }).await), expected);
    }
}

/// No request asks for an encoding, and encoded bytes are no output.
#[tokio::test]
async fn encoded_answer_is_a_failure_that_names_the_encoding() {
    let address = server().await;
    for (path, encoding) in [("zipped", "gzip"), ("twice", "br")] {
        let error = get_failure(format!("http://{address}/{path}")).await;
        assert_eq!(error.kind, "output.invalid");
        assert!(error.message.contains(&format!("encoded (`{encoding}`)")), "{}", error.message);
    }
    let error = get_failure(format!("http://{address}/zipped-failure")).await;
    assert_eq!(error.kind, "http.409");
    assert!(error.message.ends_with("its body is encoded (`gzip`), which nobody asked for"), "{}", error.message);
    assert_eq!(succeeded(call(request("GET", format!("http://{address}/plain"))).await), json!("x"));
    assert_eq!(succeeded(call(request("GET", format!("http://{address}/marked"))).await), json!([1]));
    assert_eq!(succeeded(call(request("GET", format!("http://{address}/zipped-nothing"))).await), json!(null));
    assert_eq!(succeeded(call(request("HEAD", format!("http://{address}/zipped"))).await), json!(null));
}

#[tokio::test]
async fn headers_of_the_author_win() {
    let address = server().await;
    let headers = [("Idempotency-Key", "own-key"), ("content-type", "text/csv"), ("X-Own", "ä"), ("X-Own", "mine")];
    let work = HttpWork {
        headers: headers.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        body: Some("a,b".into()),
        ..request("POST", format!("http://me:pass@{address}/echo"))
    };
    let seen = succeeded(call(work).await);
    let expected = json!({
        "method": "POST", "body": "a,b", "type": "text/csv", "key": "own-key", "own": "mine",
        "user": "***",
    });
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn an_answer_is_the_output() {
    let address = server().await;
    for (path, expected) in [
        ("json", json!({"rows": 3})),
        ("problem", json!([1])),
        ("empty-json", Value::Null),
        ("number", json!(42)),
        ("text", json!("a text")),
        ("bytes", json!("\u{fffd}\u{fffd}")),
        ("nothing", Value::Null),
        ("longest", json!("x".repeat(MAX_OUTPUT_BYTES - 2))),
    ] {
        let output = succeeded(call(request("GET", format!("http://{address}/{path}"))).await);
        assert_eq!(output, expected, "{path}");
    }
}

#[tokio::test]
async fn answer_that_is_no_output_is_a_failure() {
    let address = server().await;
    for (path, kind) in [("broken", "output.invalid"), ("longer", "output.too_large"), ("endless", "output.too_large")]
    {
        let error = get_failure(format!("http://{address}/{path}")).await;
        assert_eq!(error.kind, kind, "{}", error.message);
        assert!(error.message.starts_with(&format!("GET http://{address}/{path} answered")), "{}", error.message);
    }
}

#[tokio::test]
async fn statuses_have_kinds() {
    let address = server().await;
    for (code, words) in
        [(400, "Bad Request"), (404, "Not Found"), (429, "Too Many Requests"), (503, "Service Unavailable")]
    {
        let error = get_failure(format!("http://{address}/status/{code}?secret=1")).await;
        assert_eq!(error.kind, format!("http.{code}"));
        let expected = format!("GET http://{address}/status/{code} answered {code} {words}\nyou said nothing");
        assert_eq!(error.message, expected);
    }
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let address = server().await;
    let error = get_failure(format!("http://{address}/status/302")).await;
    assert_eq!(error.kind, "http.302");
    assert!(error.message.contains("redirects are not followed"), "{}", error.message);
}

#[tokio::test]
async fn a_long_refusal_is_cut() {
    let address = server().await;
    let error = get_failure(format!("http://{address}/endless-failure")).await;
    assert_eq!(error.kind, "http.502");
    assert!(error.message.len() <= MAX_ERROR_MESSAGE_BYTES && error.message.ends_with("xxx…"));
}

#[tokio::test]
async fn a_secret_is_in_no_message() {
    let address = server().await;
    let headers = [("Authorization".to_owned(), "Bearer abc.s3cret".to_owned())].into();
    let url = format!("http://{address}/status/401");
    let error = failed(call(HttpWork { headers, ..request("GET", url) }).await);
    assert_eq!(error.kind, "http.401");
    assert!(error.message.ends_with("you said ***"), "{}", error.message);
    let (_held, address) = refusing();
    let error = get_failure(format!("http://me:s3cret@{address}/path?token=s3cret")).await;
    assert!(error.message.starts_with(&format!("GET http://{address}/path: no connection")), "{}", error.message);
    assert!(!error.message.contains("s3cret"), "{}", error.message);
}

#[tokio::test]
async fn a_secret_that_comes_back_is_in_no_output() {
    let address = server().await;
    let headers = [("Authorization".to_owned(), "Bearer abcdefghijkl".to_owned())].into();
    let output = succeeded(call(HttpWork { headers, ..request("GET", format!("http://{address}/echo")) }).await);
    assert_eq!(output["user"], "***");
}

#[tokio::test]
async fn denied_address_is_not_called() {
    let address = server().await;
    let mut bench = Bench::new();
    let networks = ["127.0.0.0/8", "::1"].map(|network| Targets::network(network).expect("a network"));
    bench.settings.http.targets = Targets::with(networks, []);
    let port = address.port();
    for host in ["127.0.0.1", "localhost", "0.0.0.0", "2130706433", "[::ffff:127.0.0.1]"] {
        let work = request("GET", format!("http://{host}:{port}/text"));
        let error = failed(bench.perform(attempt(Work::Http(work))).await);
        assert_eq!(error.kind, "http.denied_address", "{host}: {}", error.message);
    }
    bench.settings.http.targets.allow.push(Targets::network("127.0.0.1").expect("an address"));
    let work = request("GET", format!("http://localhost:{port}/text"));
    assert_eq!(succeeded(bench.perform(attempt(Work::Http(work))).await), "a text");
}

#[tokio::test]
async fn invalid_request_is_a_failure() {
    for work in [request("GE T", "http://127.0.0.1/"), request("GET", "ftp://127.0.0.1/"), request("GET", "nowhere")] {
        assert_eq!(failed(call(work).await).kind, "http.invalid_request");
    }
}

/// A server that reads a request, sends the given answer and closes.
async fn rude_server(answer: &'static [u8]) -> SocketAddr {
    let (listener, address) = listener().await;
    tokio::spawn(async move {
        while let Ok((mut connection, _)) = listener.accept().await {
            read_request(&mut connection).await;
            let _ = connection.write_all(answer).await;
        }
    });
    address
}

async fn read_request(connection: &mut TcpStream) {
    let mut seen = Vec::new();
    while !seen.ends_with(b"\r\n\r\n") {
        match connection.read_u8().await {
            Ok(byte) => seen.push(byte),
            Err(_) => return,
        }
    }
}

#[tokio::test]
async fn failures_of_the_network_have_kinds() {
    let (_held, refused) = refusing();
    let plain = server().await;
    let silent = rude_server(b"").await;
    let half = rude_server(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nabc").await;
    let garbage = rude_server(b"no http at all\r\n\r\n").await;
    for (url, kind) in [
        (format!("http://{refused}/"), "network.connect"),
        (format!("https://{plain}/"), "network.connect"),
        ("http://no-such-host.invalid/".to_owned(), "network.dns"),
        (format!("http://{silent}/"), "network.reset"),
        (format!("http://{half}/"), "network.reset"),
        (format!("http://{garbage}/"), "network.reset"),
    ] {
        let error = get_failure(&url).await;
        assert_eq!(error.kind, kind, "{url}: {}", error.message);
    }
}

#[tokio::test]
async fn a_call_has_a_time() {
    let (_listener, address) = listener().await;
    let work = || Work::Http(request("GET", format!("http://{address}/slow")));
    let mut bench = Bench::new();
    let error = timed_out(bench.perform(timed(work(), 100)).await);
    assert_eq!(error.kind, "timeout");
    assert_eq!(error.message, format!("GET http://{address}/slow took longer than 100ms and was given up"));
    bench.settings.http.timeout = Duration::from_millis(100);
    let error = failed(bench.perform(attempt(work())).await);
    assert_eq!(error.kind, "network.timeout");
    // The action's own timeout is longer than the facade's and counts.
    assert_eq!(timed_out(bench.perform(timed(work(), 200)).await).kind, "timeout");
}

#[tokio::test]
async fn a_stop_ends_the_call() {
    let (listener, address) = listener().await;
    let bench = Bench::new();
    let performing = bench.start(attempt(Work::Http(request("GET", format!("http://{address}/slow")))));
    let (mut connection, _) = listener.accept().await.expect("a connection");
    read_request(&mut connection).await;
    performing.stop.cancel();
    assert_eq!(performing.end().await, Outcome::Cancelled);
    let ended = connection.read(&mut [0; 16]).await;
    assert!(matches!(ended, Ok(0) | Err(_)), "the connection is still open: {ended:?}");
}
