//! The embedded host: one process, one data folder, every loop of the engine.

mod folder;
mod parts;
mod signals;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use windlass_api::{AllowedHosts, ApiConfig, ApiState, Auth};
use windlass_domain::ids::PoolName;
use windlass_domain::time::Millis;
use windlass_embedded::{OpenError, Role, Store};
use windlass_engine::definitions::Definitions;
use windlass_facade::Credentials;

use crate::failure::{Exit, Failure};
pub(crate) use parts::{AgentPlan, run_agent};
use parts::{Parts, performer};
pub(crate) use signals::EndSignals;

/// Inputs that are decided at once.
const PROCESS_MANAGERS: usize = 4;
/// How often the due index is read: on one machine a look costs next to nothing.
const SWEEP_EVERY: Duration = Duration::from_millis(500);
/// How long open connections have to end.
const CLOSE_WITHIN: Duration = Duration::from_secs(2);

/// How a host is to work.
#[derive(Debug, Clone)]
pub(crate) struct HostPlan {
    /// The data folder, absolute.
    pub(crate) data: PathBuf,
    pub(crate) listen: SocketAddr,
    /// Pools that are worked on in this process, each with its slots.
    pub(crate) pools: Vec<(PoolName, u32)>,
    /// How long what is running may take when the host ends.
    pub(crate) drain: Millis,
    /// Whether programs get the credentials of this process.
    pub(crate) credentials: Credentials,
}

/// A host that runs.
pub(crate) struct Host {
    address: SocketAddr,
    folder: folder::DataFolder,
    agents: Parts,
    loops: Parts,
    api: Parts,
    store: Store,
}

impl Host {
    /// Opens the data folder and starts everything. When it returns, the API answers.
    pub(crate) async fn start(plan: HostPlan) -> Result<Self, Failure> {
        let store = open(&plan.data, Role::Host)?;
        let folder = folder::DataFolder::of(plan.data.clone());
        // What one that was killed has left: the folder has a host again, and somebody else may have that address.
        folder.remove_url();
        let token = folder.token()?;
        let listener = listen(plan.listen).await?;
        let address = listener.local_addr().map_err(|error| not_listening(plan.listen, &error))?;

        let ports = store.ports();
        let definitions = Arc::new(Definitions::new(ports.tasks.clone()));
        let mut loops = Parts::new();
        loops.start_engine(&ports, &definitions, PROCESS_MANAGERS, SWEEP_EVERY);

        let mut agents = Parts::new();
        if !plan.pools.is_empty() {
            let performer = performer(&ports, plan.credentials)?;
            for (pool, slots) in &plan.pools {
                let (drain, credentials) = (plan.drain, plan.credentials);
                let plan = AgentPlan { pool: pool.clone(), slots: *slots, drain, credentials };
                agents.start_agent(&ports, &definitions, &performer, plan);
            }
        }

        let mut api = Parts::new();
        let config = ApiConfig::new(Auth::token(token), allowed_hosts(address), api.shutdown().clone());
        let config = ApiConfig { failing: Some(store.failing()), ..config };
        api.serve(listener, windlass_api::app(ApiState::new(ports, definitions, config)), CLOSE_WITHIN);
        let host = Self { address, folder, agents, loops, api, store };
        host.folder.write_url(&host.url())?;
        Ok(host)
    }

    /// The address that the API answers on.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", reachable(self.address))
    }

    /// Returns when a part has ended that should not have, or the store takes nothing further: the host is of no use any
    /// more.
    pub(crate) async fn broken(&mut self) -> Failure {
        tokio::select! {
            () = self.agents.ended() => part_ended(),
            () = self.loops.ended() => part_ended(),
            () = self.api.ended() => part_ended(),
            failure = store_broken(&self.store) => failure,
        }
    }

    /// Ends in order: nothing further is asked for, what runs is finished or handed back, what was reported is decided.
    /// A store that takes nothing further lets nothing end in order: then all ends at once, and says so.
    pub(crate) async fn stop(self) -> Result<(), Failure> {
        let Self { folder, api, agents, loops, store, .. } = self;
        folder.remove_url();
        let in_order = async {
            api.stop().await;
            agents.stop().await;
            loops.stop().await;
        };
        tokio::select! {
            biased;
            () = in_order => Ok(()),
            failure = store_broken(&store) => Err(failure),
        }
    }
}

/// WL0604: a fault of the program itself.
fn part_ended() -> Failure {
    Failure::new(
        "WL0604",
        Exit::Unreachable,
        "a part of the host has ended by itself; nothing that it had accepted is lost",
    )
    .help("start it again; the log above says what happened")
}

/// Returns when the store takes nothing further.
pub(crate) async fn store_broken(store: &Store) -> Failure {
    let mut broken = store.broken();
    let Ok(reason) = broken.wait_for(Option::is_some).await.map(|reason| reason.clone()) else {
        // The store tells as long as it is there, and it is.
        return std::future::pending().await;
    };
    let code = reason.as_ref().map_or("WL0604", |error| error.code);
    let why = reason.map(|error| format!("failed to {error}")).unwrap_or_default();
    Failure::new(code, Exit::Unreachable, why)
        .help("start it again: it reads what is on the disk and goes on; what was accepted is not lost")
}

/// Opens a data folder. The codes are the store's; WL0311 is a second host.
pub(crate) fn open(data: &std::path::Path, role: Role) -> Result<Store, Failure> {
    Store::open(data, role).map_err(|error| {
        let help = match &error {
            OpenError::SecondHost { .. } => "the other commands talk to the host that runs: try `windlass runs`",
            OpenError::Folder { .. } => "name a folder that you may write: --data DIR",
            OpenError::Foreign { .. } => "choose another folder: --data DIR",
            OpenError::Newer { .. } => "use the newer version of windlass",
            OpenError::Storage { .. } => "docs/errors has a page for the code",
        };
        Failure::new(error.code(), Exit::Unreachable, format!("failed to {error}")).help(help)
    })
}

async fn listen(address: SocketAddr) -> Result<TcpListener, Failure> {
    TcpListener::bind(address).await.map_err(|error| not_listening(address, &error))
}

/// WL0608: the address is taken, or not this machine's.
fn not_listening(address: SocketAddr, error: &std::io::Error) -> Failure {
    Failure::new("WL0608", Exit::Usage, format!("failed to listen on {address}: {error}"))
        .help("choose another address: --listen 127.0.0.1:0 takes a free port")
}

/// The names that the API is reached by.
fn allowed_hosts(address: SocketAddr) -> AllowedHosts {
    AllowedHosts::loopback(address.port()).and(AllowedHosts::new([address.to_string()]))
}

/// An address that this machine's programs can connect to.
fn reachable(address: SocketAddr) -> SocketAddr {
    if !address.ip().is_unspecified() {
        return address;
    }
    match address {
        SocketAddr::V4(v4) => ([127, 0, 0, 1], v4.port()).into(),
        SocketAddr::V6(v6) => (std::net::Ipv6Addr::LOCALHOST, v6.port()).into(),
    }
}
