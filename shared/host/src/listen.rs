//! Where the API is reached: the address that was asked for, and, if TLS is spoken there, one of this machine beside it.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use tokio::net::TcpListener;
use windlass_api::AllowedHosts;

use crate::error::HostError;
use crate::parts::Parts;
use crate::serve::{Door, Limits};
use crate::tls::{Certificate, TlsFiles};

/// How long open connections have to end.
const CLOSE_WITHIN: Duration = Duration::from_secs(2);
/// How long a host that takes over waits for the address of the one before it. The system lets it go an instant after the
/// lock of the folder.
const FREE_WITHIN: Duration = Duration::from_secs(1);
const TRY_EVERY: Duration = Duration::from_millis(10);

/// What was asked for.
#[derive(Debug, Clone)]
pub(crate) struct ListenPlan {
    pub(crate) address: SocketAddr,
    pub(crate) allow_remote: bool,
    /// The names that callers may call it by, beside those of this machine.
    pub(crate) names: Vec<String>,
    pub(crate) tls: Option<TlsFiles>,
}

/// The addresses, which are taken and not served yet.
pub(crate) struct Listening {
    address: SocketAddr,
    url: String,
    doors: Vec<(TcpListener, Door)>,
    certificate: Option<Arc<Certificate>>,
    hosts: AllowedHosts,
}

impl ListenPlan {
    pub(crate) fn new() -> Self {
        Self { address: (Ipv4Addr::LOCALHOST, 0).into(), allow_remote: false, names: Vec::new(), tls: None }
    }

    /// Refuses an address that other machines reach, unless that is meant.
    pub(crate) fn check(&self) -> Result<(), HostError> {
        if self.is_remote() && !self.allow_remote { Err(HostError::Remote(self.address)) } else { Ok(()) }
    }

    fn is_remote(&self) -> bool {
        !self.address.ip().is_loopback()
    }

    /// Takes the addresses. A host that takes over waits for them.
    pub(crate) async fn open(self, takes_over: bool) -> Result<Listening, HostError> {
        let certificate = self.tls.clone().map(Certificate::read).transpose()?;
        let listener = bind(self.address, takes_over).await?;
        let address = listener.local_addr().map_err(|source| HostError::Listen { address: self.address, source })?;
        let mut hosts = AllowedHosts::loopback(address.port()).and(AllowedHosts::new(&self.names));
        if !address.ip().is_unspecified() {
            hosts = hosts.and(AllowedHosts::new([address.to_string()]));
        }
        if self.is_remote() {
            hosts = hosts.and(AllowedHosts::any_address());
        }
        let (doors, url) = match &certificate {
            None => {
                if self.is_remote() {
                    tracing::warn!(
                        "other machines reach the API without TLS: the token, and what runs are given and give, travel \
                         in the clear"
                    );
                }
                (vec![(listener, Door::Plain)], format!("http://{}", reachable(address)))
            }
            Some(certificate) => {
                let own = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
                let beside = bind(own, false).await?;
                let own = beside.local_addr().map_err(|source| HostError::Listen { address: own, source })?;
                hosts = hosts.and(AllowedHosts::loopback(own.port()));
                let doors = vec![(listener, Door::Tls(certificate.acceptor()?)), (beside, Door::Plain)];
                (doors, format!("http://{own}"))
            }
        };
        Ok(Listening { address, url, doors, certificate, hosts })
    }
}

impl Listening {
    /// The address that was asked for.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address for programs of this machine. They need no certificate: nothing leaves the machine.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Whether the address that was asked for speaks TLS.
    pub(crate) fn has_tls(&self) -> bool {
        self.certificate.is_some()
    }

    /// The names that the API is reached by.
    pub(crate) fn hosts(&self) -> AllowedHosts {
        self.hosts.clone()
    }

    /// How many event streams and waiting calls there may be: a quarter of the connections of one address.
    pub(crate) fn lasting(&self) -> usize {
        Limits::of_listeners(self.doors.len()).lasting()
    }

    /// Serves the app at all of them.
    pub(crate) fn serve(self, parts: &mut Parts, app: &Router) {
        let limits = Limits::of_listeners(self.doors.len());
        for (listener, door) in self.doors {
            parts.serve(listener, door, limits, app.clone(), CLOSE_WITHIN);
        }
        if let Some(certificate) = self.certificate {
            parts.spawn(|stop| certificate.renew(stop));
        }
    }
}

async fn bind(address: SocketAddr, is_waiting: bool) -> Result<TcpListener, HostError> {
    let since = Instant::now();
    loop {
        match TcpListener::bind(address).await {
            Err(error) if is_waiting && error.kind() == io::ErrorKind::AddrInUse && since.elapsed() < FREE_WITHIN => {
                tokio::time::sleep(TRY_EVERY).await;
            }
            bound => return bound.map_err(|source| HostError::Listen { address, source }),
        }
    }
}

/// An address that this machine's programs can connect to.
fn reachable(address: SocketAddr) -> SocketAddr {
    if !address.ip().is_unspecified() {
        return address;
    }
    match address {
        SocketAddr::V4(v4) => (Ipv4Addr::LOCALHOST, v4.port()).into(),
        SocketAddr::V6(v6) => (Ipv6Addr::LOCALHOST, v6.port()).into(),
    }
}
