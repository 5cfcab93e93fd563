//! Why a host does not start, or cannot go on.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use windlass_embedded::{OpenError, Store};
use windlass_engine::ports::PortError;
use windlass_facade::FacadeError;

/// A failure of a host or of a separate agent; its text fits after "failed to". Nothing that was accepted is lost by it.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// The data folder cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The database is empty, and there is a token beside it.
    #[error("use {}: it is empty, though a host has worked on this folder: all that it kept is gone", .0.display())]
    Emptied(PathBuf),
    /// A file of the data folder cannot be read or written.
    #[error("{doing} {}: {source}", .path.display())]
    Folder {
        /// The host's attempt, such as `keep the token in`.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// Other machines can reach the address, and [`HostBuilder::allow_remote`](crate::HostBuilder::allow_remote) does not
    /// stand.
    #[error("listen on {0}: other machines can reach it, and the API runs programs")]
    Remote(SocketAddr),
    /// Another program has the address, or it is not this machine's.
    #[error("listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why the system refused it.
        source: io::Error,
    },
    /// The certificate or its key cannot be used.
    #[error("use {} for TLS: {why}", .path.display())]
    Tls {
        /// The file.
        path: PathBuf,
        /// Why not.
        why: String,
    },
    /// The agents cannot perform anything.
    #[error("start an agent: {0}")]
    Agent(#[from] FacadeError),
    /// A fault of the program itself.
    #[error("go on: a part of the host has ended by itself; nothing that it had accepted is lost")]
    PartEnded,
    /// The store takes nothing further. A restarted host reads the disk and goes on.
    #[error(transparent)]
    Store(PortError),
}

impl HostError {
    /// The stable code; `docs/errors` has a page for each.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Open(error) => error.code(),
            Self::Emptied(_) => "WL0622",
            Self::Folder { .. } => "WL0611",
            Self::Remote(_) => "WL0607",
            Self::Listen { .. } => "WL0608",
            Self::Tls { .. } => "WL0620",
            Self::Agent(error) => error.code(),
            Self::PartEnded => "WL0604",
            Self::Store(error) => error.code,
        }
    }
}

/// Returns when the store takes nothing further.
pub(crate) async fn store_broken(store: &Store) -> HostError {
    let mut broken = store.broken();
    let reason = broken.wait_for(Option::is_some).await.ok().and_then(|reason| reason.clone());
    match reason {
        Some(reason) => HostError::Store(reason),
        // The store tells as long as it is open, and it is.
        None => std::future::pending().await,
    }
}
