//! Served over a socket: streams come as they happen, and a shutdown ends them.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use crate::world::{HOST, TOKEN, World};

/// Longer than any step here takes: a test that fails ends with an error instead of hanging.
const LONG: Duration = Duration::from_mins(1);

/// The text of a socket, in pieces that end where the test says.
struct Reader {
    socket: TcpStream,
    /// Read, and not yet asked for: the head of an answer may come with the first events.
    rest: String,
}

impl Reader {
    /// Reads on until the text has come; gives everything up to its end.
    async fn until(&mut self, wanted: &str) -> String {
        loop {
            if let Some(at) = self.rest.find(wanted) {
                let after = self.rest.split_off(at + wanted.len());
                return std::mem::replace(&mut self.rest, after);
            }
            let mut chunk = [0; 4096];
            let bytes = timeout(LONG, self.socket.read(&mut chunk)).await.expect("in time").unwrap();
            assert_ne!(bytes, 0, "the connection ended before `{wanted}`: {}", self.rest);
            self.rest.push_str(std::str::from_utf8(&chunk[..bytes]).unwrap());
        }
    }
}

#[tokio::test]
async fn stream_is_live_and_ends_with_a_shutdown() {
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
    let mut reader = Reader { socket, rest: String::new() };
    let head = reader.until("\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 200 OK"), "{head}");
    reader.until("event: action.queued").await;
    world.succeed(id, 0).await;
    let between = reader.until("event: action.succeeded").await;
    assert_eq!(between.matches("event: ").count(), 1, "what was told is not told again: {between}");
    reader.until("event: action.queued").await;

    world.shutdown.cancel();
    reader.until("0\r\n\r\n").await;
    timeout(LONG, server).await.expect("the server ends").unwrap().unwrap();
}
