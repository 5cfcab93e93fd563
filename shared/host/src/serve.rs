//! Serves the API on a socket, with a bound on what callers can take: so many connections at a time, each of which must
//! soon ask for something. Whoever may connect could otherwise take every file descriptor of the host.
//! TLS, if it is spoken, counts as asking: a handshake has the same time.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use rustix::process::{Resource, getrlimit};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

/// The bounds on connections.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// So many at a time. Others wait until one ends.
    connections: usize,
    /// A connection that sends no head of a request within this time is closed, also one that waits for its next request.
    head_within: Duration,
}

/// What is spoken at an address.
#[derive(Clone)]
pub(crate) enum Door {
    Plain,
    Tls(TlsAcceptor),
}

impl Limits {
    /// The limits of each of so many addresses. Half of the files that the process may open stay for what it is there for.
    pub(crate) fn of_listeners(count: usize) -> Self {
        let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX) / 2;
        let connections = usize::try_from(files).unwrap_or(usize::MAX) / count.max(1);
        Self { connections: connections.clamp(1, MAX_CONNECTIONS), head_within: Duration::from_secs(10) }
    }

    /// How many of the connections of an address may be such that last: followers of events, and calls that wait. The others are for calls
    /// that are answered at once.
    pub(crate) fn lasting(self) -> usize {
        (self.connections / 4).max(1)
    }
}

/// Connections at a time, wherever the process may open so many files.
const MAX_CONNECTIONS: usize = 512;

/// How long a caller may leave unread what was sent.
#[cfg(target_os = "linux")]
const READ_WITHIN_MS: u32 = 30_000;
/// How long the host waits after it could not accept a connection. A lack of file descriptors does not end by itself.
const AFTER_REFUSAL: Duration = Duration::from_millis(100);

/// Serves until `stop`, then lets the requests that are under way end.
pub(crate) async fn serve(listener: TcpListener, door: Door, app: Router, limits: Limits, stop: &CancellationToken) {
    let (slots, graceful) = (Arc::new(Semaphore::new(limits.connections)), GracefulShutdown::new());
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(limits.head_within);
    while let Some((stream, slot)) = next(&listener, &slots, stop).await {
        let (door, stop) = (door.clone(), stop.clone());
        let (http, app, watcher) = (http.clone(), app.clone(), graceful.watcher());
        tokio::spawn(async move {
            match door {
                Door::Plain => answer(stream, http, app, watcher).await,
                Door::Tls(acceptor) => {
                    let greeted = tokio::time::timeout(limits.head_within, acceptor.accept(stream));
                    match stop.run_until_cancelled(greeted).await {
                        Some(Ok(Ok(stream))) => answer(stream, http, app, watcher).await,
                        Some(Ok(Err(error))) => tracing::debug!(%error, "a connection to the API speaks no TLS"),
                        Some(Err(_)) | None => {}
                    }
                }
            }
            drop(slot);
        });
    }
    drop(listener);
    graceful.shutdown().await;
}

/// Answers the requests of a connection until it ends.
async fn answer(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    http: http1::Builder,
    app: Router,
    watcher: Watcher,
) {
    let connection = watcher.watch(http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(app)));
    if let Err(error) = connection.await {
        tracing::debug!(%error, "a connection to the API has ended early");
    }
}

/// The next connection, and its place among those at a time; none once it is to stop.
async fn next(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
    stop: &CancellationToken,
) -> Option<(TcpStream, OwnedSemaphorePermit)> {
    let accepted = async {
        // The semaphore is never closed.
        let slot = slots.clone().acquire_owned().await.ok()?;
        let mut is_told = false;
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    end_when_unread(&stream);
                    return Some((stream, slot));
                }
                Err(error) => {
                    if !std::mem::replace(&mut is_told, true) {
                        tracing::warn!(%error, "the API can not accept a connection; it tries again");
                    }
                    tokio::time::sleep(AFTER_REFUSAL).await;
                }
            }
        }
    };
    tokio::select! {
        biased;
        () = stop.cancelled() => None,
        accepted = accepted => accepted,
    }
}

/// Has the system end a connection whose caller reads nothing of what was sent for so long. It would keep its place for ever.
#[cfg(target_os = "linux")]
fn end_when_unread(stream: &TcpStream) {
    if let Err(error) = rustix::net::sockopt::set_tcp_user_timeout(stream, READ_WITHIN_MS) {
        tracing::debug!(%error, "a connection has no bound on what is unread");
    }
}

#[cfg(not(target_os = "linux"))]
fn end_when_unread(_: &TcpStream) {}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    const LONG: Duration = Duration::from_mins(5);
    const ASK: &[u8] = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";

    async fn started(
        connections: usize,
        head_within: Duration,
    ) -> (std::net::SocketAddr, CancellationToken, tokio::task::JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let (address, stop) = (listener.local_addr().expect("an address"), CancellationToken::new());
        let (app, stopping) = (Router::new().route("/", get(|| async { "here" })), stop.clone());
        let limits = Limits { connections, head_within };
        let served = tokio::spawn(async move { serve(listener, Door::Plain, app, limits, &stopping).await });
        (address, stop, served)
    }

    async fn answer(stream: &mut TcpStream) -> String {
        let mut bytes = [0; 4096];
        let read = stream.read(&mut bytes).await.expect("read");
        String::from_utf8_lossy(&bytes[..read]).into_owned()
    }

    #[tokio::test]
    async fn connection_over_the_bound_waits_for_another_to_end() {
        let (address, ..) = started(2, LONG).await;
        let mut held: Vec<TcpStream> = Vec::new();
        for _ in 0..2 {
            let mut stream = TcpStream::connect(address).await.expect("connected");
            stream.write_all(ASK).await.expect("sent");
            assert!(answer(&mut stream).await.ends_with("here"));
            held.push(stream);
        }
        // The system takes the connection, and the host does not yet.
        let mut waiting = TcpStream::connect(address).await.expect("connected");
        waiting.write_all(ASK).await.expect("sent");
        let mut bytes = [0; 10];
        let early = tokio::time::timeout(Duration::from_millis(200), waiting.read(&mut bytes)).await;
        assert!(early.is_err(), "it is answered too early");
        held.pop();
        assert!(answer(&mut waiting).await.ends_with("here"));
    }

    #[tokio::test]
    async fn connection_that_asks_for_nothing_is_closed() {
        let (address, ..) = started(1, Duration::from_millis(300)).await;
        let mut silent = TcpStream::connect(address).await.expect("connected");
        silent.write_all(&ASK[..10]).await.expect("sent");
        let mut bytes = Vec::new();
        drop(silent.read_to_end(&mut bytes).await);
        assert!(!String::from_utf8_lossy(&bytes).contains("here"));
    }

    #[tokio::test]
    async fn http_2_is_not_spoken() {
        let (address, ..) = started(1, LONG).await;
        let mut stream = TcpStream::connect(address).await.expect("connected");
        stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.expect("sent");
        assert!(!answer(&mut stream).await.contains("here"));
    }

    #[tokio::test]
    async fn stop_ends_connections_that_wait() {
        let (address, stop, served) = started(5, LONG).await;
        let mut stream = TcpStream::connect(address).await.expect("connected");
        stream.write_all(ASK).await.expect("sent");
        assert!(answer(&mut stream).await.ends_with("here"));
        stop.cancel();
        served.await.expect("it has ended");
        assert_eq!(answer(&mut stream).await, "");
    }
}
