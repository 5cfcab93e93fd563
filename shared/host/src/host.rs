//! The host: how a program sets it up, starts it, asks it and ends it.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use windlass_api::{ApiConfig, ApiState, Auth};
use windlass_domain::ids::{PoolName, RunId};
use windlass_domain::limits::KEEP_MS;
use windlass_domain::run::Run;
use windlass_domain::time::Millis;
use windlass_embedded::{OpenError, Role, Store};
use windlass_engine::Ports;
use windlass_engine::control::Control;
use windlass_engine::definitions::Definitions;
use windlass_engine::perform::Performer;
use windlass_engine::ports::PortError;
use windlass_engine::registry::Registry;
use windlass_engine::submit::Starter;
use windlass_facade::{Credentials, Handlers, Targets};

use crate::error::{HostError, store_broken};
use crate::folder::DataFolder;
use crate::listen::ListenPlan;
use crate::parts::{AgentPlan, Parts};
use crate::performing::Performing;
use crate::tls::TlsFiles;

/// How many batches of each queue of inputs the host decides at once.
const PROCESS_MANAGERS: usize = 4;
/// How often the sweeper reads the due index: on one machine a look costs next to nothing.
const SWEEP_EVERY: Duration = Duration::from_millis(500);
/// How often a standby looks whether the folder has a host.
const STAND_BY_LOOK: Duration = Duration::from_millis(100);
/// How long running attempts may take when the host ends, unless its program says otherwise.
const DRAIN: Millis = Millis::from_secs(10);
/// Slots of the default pool for each core.
const SLOTS_PER_CORE: usize = 4;
/// How long one look at a run lasts, while a caller waits for the run.
const LOOK: Duration = Duration::from_secs(30);

/// The settings of a host. Each has a default, which the program may replace.
pub struct HostBuilder {
    data: PathBuf,
    listen: ListenPlan,
    stands_by: bool,
    pools: Vec<(PoolName, u32)>,
    drain: Millis,
    keep: Millis,
    has_agents: bool,
    performing: Performing,
}

impl HostBuilder {
    /// The address of the API; port 0 takes a free one. A free port of this machine unless said.
    #[must_use]
    pub fn listen(mut self, address: SocketAddr) -> Self {
        self.listen.address = address;
        self
    }

    /// Allows an address that other machines can reach. The API runs programs. Without [`HostBuilder::tls`] its token
    /// travels in the clear. Calls may name the host by any of its IP addresses.
    #[must_use]
    pub fn allow_remote(mut self) -> Self {
        self.listen.allow_remote = true;
        self
    }

    /// A name that callers may call this host by, beside those of this machine: `windlass.example.com` with any port,
    /// `windlass.example.com:8443` with that one. The API refuses calls to other names.
    #[must_use]
    pub fn host_name(mut self, name: impl Into<String>) -> Self {
        self.listen.names.push(name.into());
        self
    }

    /// Speaks TLS at its address, with this certificate (its chain) and its key: files in PEM, which it reads again when
    /// they change. Programs of this machine then have an address of their own, without TLS: [`Host::url`].
    #[must_use]
    pub fn tls(mut self, certificate: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        self.listen.tls = Some(TlsFiles { certificate: certificate.into(), key: key.into() });
        self
    }

    /// If another host works on the folder, waits for its end and takes over. It touches no other file before.
    #[must_use]
    pub fn stand_by(mut self) -> Self {
        self.stands_by = true;
        self
    }

    /// A pool that this process works for, and how many of its actions it performs at once. The pool `default` with
    /// four slots a core unless a pool is named.
    #[must_use]
    pub fn pool(mut self, pool: PoolName, slots: u32) -> Self {
        self.pools.push((pool, slots));
        self
    }

    /// Performs nothing in this process: separate agents do.
    #[must_use]
    pub fn without_agents(mut self) -> Self {
        self.has_agents = false;
        self
    }

    /// How long running attempts may take when the host ends; it hands back the rest. 10 seconds unless said.
    #[must_use]
    pub fn drain(mut self, drain: Millis) -> Self {
        self.drain = drain;
        self
    }

    /// How long a run is kept after its end, if its definition does not say it. 90 days unless said.
    #[must_use]
    pub fn keep(mut self, keep: Millis) -> Self {
        self.keep = keep;
        self
    }

    /// The Rust functions that `native` actions call.
    #[must_use]
    pub fn handlers(mut self, handlers: Handlers) -> Self {
        self.performing.handlers = handlers;
        self
    }

    /// A command that calls [`run_guard`](crate::run_guard): it ends the programs of `exec` actions when this process is
    /// killed. [`guard_command`](crate::guard_command) gives one to a program that calls `run_guard` when its first
    /// argument is [`GUARD_COMMAND`](crate::GUARD_COMMAND). Without a guard such programs outlive this process.
    #[must_use]
    pub fn guard(mut self, command: Option<Vec<OsString>>) -> Self {
        self.performing.guard = command;
        self
    }

    /// Whether `exec` programs get the `AWS_` and `ECS_` variables of this process. They do not unless said.
    #[must_use]
    pub fn credentials(mut self, credentials: Credentials) -> Self {
        self.performing.credentials = credentials;
        self
    }

    /// The only variables of this process that `exec` programs get. A name may end in `*`. All but credentials unless said.
    #[must_use]
    pub fn env_allow(mut self, names: Option<Vec<String>>) -> Self {
        self.performing.env_allow = names;
        self
    }

    /// The addresses that `http` actions may call. All but link-local ones unless said.
    #[must_use]
    pub fn targets(mut self, targets: Targets) -> Self {
        self.performing.targets = targets;
        self
    }

    /// Performs every attempt by this performer, in place of programs, HTTP calls and handlers.
    #[must_use]
    pub fn performer(mut self, performer: Arc<dyn Performer>) -> Self {
        self.performing.performer = Some(performer);
        self
    }

    /// Opens the data folder and starts everything. When it returns, the API answers.
    pub async fn start(self) -> Result<Host, HostError> {
        self.listen.check()?;
        let folder = DataFolder::of(self.data.clone());
        folder.check_not_emptied()?;
        let store = if self.stands_by { stand_by(&self.data).await? } else { Store::open(&self.data, Role::Host)? };
        // A host that was killed has left its address, and another program may have that address by now.
        folder.remove_url();
        let token = folder.token()?;
        let listening = self.listen.open(self.stands_by).await?;

        let ports = store.ports();
        let definitions = Arc::new(Definitions::new(ports.tasks.clone()));
        let mut loops = Parts::new();
        loops.start_engine(&ports, &definitions, PROCESS_MANAGERS, SWEEP_EVERY, self.keep);

        let pools = if self.has_agents { pools_of(self.pools) } else { Vec::new() };
        let mut agents = Parts::new();
        if !pools.is_empty() {
            let performer = self.performing.performer(ports.clock.clone())?;
            for (pool, slots) in &pools {
                let plan = AgentPlan { pool: pool.clone(), slots: *slots, drain: self.drain };
                agents.start_agent(&ports, &definitions, &performer, plan);
            }
        }

        let mut api = Parts::new();
        let config = ApiConfig::new(Auth::token(token.clone()), listening.hosts(), api.shutdown().clone());
        let config = ApiConfig { failing: Some(store.failing()), max_lasting: listening.lasting(), ..config };
        let state = ApiState::new(ports.clone(), definitions.clone(), config);
        let (address, url, has_tls) = (listening.address(), listening.url().to_owned(), listening.has_tls());
        listening.serve(&mut api, &windlass_api::app(state));
        let reached = Reached { address, url, has_tls };
        let host = Host { reached, token, pools, folder, agents, loops, api, ports, definitions, store };
        host.folder.write_url(host.url())?;
        Ok(host)
    }
}

/// Where the API is.
struct Reached {
    address: SocketAddr,
    url: String,
    has_tls: bool,
}

/// A host that runs. A program that drops it without [`Host::shutdown`] loses nothing: the next host goes on from the
/// disk, as after a crash.
pub struct Host {
    reached: Reached,
    token: String,
    pools: Vec<(PoolName, u32)>,
    folder: DataFolder,
    agents: Parts,
    loops: Parts,
    api: Parts,
    ports: Ports,
    definitions: Arc<Definitions>,
    store: Store,
}

impl Host {
    /// A host on that data folder; makes the folder if it is missing. A folder has one host at a time.
    pub fn builder(data: impl Into<PathBuf>) -> HostBuilder {
        HostBuilder {
            data: data.into(),
            listen: ListenPlan::new(),
            stands_by: false,
            pools: Vec::new(),
            drain: DRAIN,
            keep: Millis(KEEP_MS),
            has_agents: true,
            performing: Performing::default(),
        }
    }

    /// The address that the API listens on.
    pub fn address(&self) -> SocketAddr {
        self.reached.address
    }

    /// The address that programs of this machine reach the API by.
    pub fn url(&self) -> &str {
        &self.reached.url
    }

    /// Whether [`Host::address`] speaks TLS.
    pub fn has_tls(&self) -> bool {
        self.reached.has_tls
    }

    /// The proof of an API caller's identity: `Authorization: Bearer TOKEN`.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// The pools that this process works for, each with its slots.
    pub fn pools(&self) -> &[(PoolName, u32)] {
        &self.pools
    }

    /// Puts, shows and deletes tasks, without a detour by the API.
    pub fn registry(&self) -> Registry {
        Registry::new(self.ports.clone(), self.definitions.clone())
    }

    /// Starts runs. A program keeps the one it gets: it sees to it that runs are listed in the order of their start.
    pub fn starter(&self) -> Starter {
        Starter::new(self.ports.clone(), self.definitions.clone())
    }

    /// Cancels, pauses, resumes, retries and kills.
    pub fn control(&self) -> Control {
        Control::new(self.ports.clone(), self.definitions.clone())
    }

    /// Loads the values of a run that are longer than 1 KiB, its input and the outputs of its actions: they stand apart from
    /// its record. `run.value(place)` then has all of them.
    pub async fn load_values(&self, run: &mut Run) -> Result<(), PortError> {
        let lacking = run.lacking();
        if lacking.is_empty() { Ok(()) } else { self.ports.runs.fill(run, &lacking).await }
    }

    /// The run once it has ended, without its longer values; none if there is no such run.
    pub async fn wait_for_end(&self, id: RunId) -> Result<Option<Run>, PortError> {
        let mut run = self.ports.runs.load(&id).await?;
        while let Some(known) = run.as_ref().filter(|run| !run.status.is_final()) {
            run = self.ports.runs.changed(id, known.revision, LOOK).await?;
        }
        Ok(run)
    }

    /// Returns when a part has ended that should not have, or the store takes nothing further: the host is of no use any
    /// more.
    pub async fn broken(&mut self) -> HostError {
        tokio::select! {
            () = self.agents.ended() => HostError::PartEnded,
            () = self.loops.ended() => HostError::PartEnded,
            () = self.api.ended() => HostError::PartEnded,
            broken = store_broken(&self.store) => broken,
        }
    }

    /// Ends in order. The host takes nothing further, finishes or hands back its attempts, and decides the last
    /// reports. A store that takes nothing further lets nothing end in order: then all ends at once, and says so.
    pub async fn shutdown(self) -> Result<(), HostError> {
        let Self { folder, api, agents, loops, store, .. } = self;
        folder.remove_url();
        // At once: the same signal may have ended programs of theirs.
        agents.shutdown().cancel();
        let in_order = async {
            api.stop().await;
            agents.stop().await;
            loops.stop().await;
        };
        tokio::select! {
            biased;
            () = in_order => Ok(()),
            broken = store_broken(&store) => Err(broken),
        }
    }
}

/// The default pool, unless others were named.
fn pools_of(named: Vec<(PoolName, u32)>) -> Vec<(PoolName, u32)> {
    if !named.is_empty() {
        return named;
    }
    let cores = std::thread::available_parallelism().map_or(2, usize::from);
    vec![(PoolName::default(), u32::try_from(cores * SLOTS_PER_CORE).unwrap_or(u32::MAX))]
}

/// The store, once no other host works on its folder.
async fn stand_by(data: &Path) -> Result<Store, HostError> {
    let mut is_told = false;
    loop {
        // Another standby may be faster: then that one is the host.
        let holder = match Store::open(data, Role::Host) {
            Err(OpenError::SecondHost { holder, .. }) => holder,
            opened => {
                if is_told && opened.is_ok() {
                    tracing::info!("the other host has ended; this one takes over");
                }
                return Ok(opened?);
            }
        };
        if !std::mem::replace(&mut is_told, true) {
            tracing::info!(holder, "another host works on the data folder; this one stands by until that one ends");
        }
        while windlass_embedded::has_host(data) {
            tokio::time::sleep(STAND_BY_LOOK).await;
        }
    }
}
