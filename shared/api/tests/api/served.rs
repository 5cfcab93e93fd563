//! Served over a socket: streams come as they happen, and a shutdown ends them.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use windlass_domain::run::Input;

use crate::world::{HOST, TOKEN, World};

/// Longer than anything here takes, so that a failure is told and not waited for.
const LONG: Duration = Duration::from_secs(20);

/// Reads until the text has come.
async fn read_until(socket: &mut TcpStream, wanted: &str) -> String {
    let mut read = String::new();
    while !read.contains(wanted) {
        let mut chunk = [0; 4096];
        let bytes = timeout(LONG, socket.read(&mut chunk)).await.expect("in time").unwrap();
        assert_ne!(bytes, 0, "the connection ended before `{wanted}`: {read}");
        read.push_str(std::str::from_utf8(&chunk[..bytes]).unwrap());
    }
    read
}

#[tokio::test]
async fn a_stream_comes_as_it_happens_and_a_shutdown_ends_it() {
    let world = World::with_report().await;
    let id = world.start().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let shutdown = world.shutdown.clone();
    let serve = axum::serve(listener, world.router()).with_graceful_shutdown(shutdown.cancelled_owned());
    let server = tokio::spawn(serve.into_future());

    let mut socket = TcpStream::connect(address).await.unwrap();
    let request = format!(
        "GET /v1/runs/{id}/events HTTP/1.1\r\nHost: {HOST}\r\nAuthorization: Bearer {TOKEN}\r\n\
         Accept: text/event-stream\r\n\r\n"
    );
    socket.write_all(request.as_bytes()).await.unwrap();
    let head = read_until(&mut socket, "\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 200 OK"), "{head}");
    world.feed(id, Input::Start).await;
    read_until(&mut socket, "event: action.queued").await;
    world.succeed(id, 0).await;
    read_until(&mut socket, "event: action.succeeded").await;

    world.shutdown.cancel();
    read_until(&mut socket, "0\r\n\r\n").await;
    timeout(LONG, server).await.expect("the server ends").unwrap().unwrap();
}
