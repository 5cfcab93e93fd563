//! The state that all handlers share.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use windlass_domain::run::Run;
use windlass_engine::Ports;
use windlass_engine::control::Control;
use windlass_engine::definitions::Definitions;
use windlass_engine::ports::PortError;
use windlass_engine::registry::Registry;
use windlass_engine::retention::Pruner;
use windlass_engine::submit::Starter;

use crate::auth::Auth;
use crate::hosts::AllowedHosts;
use crate::request::MAX_WAIT;

/// Calls that may wait for the end of a run at once, and event streams that may be open at once, if the host sets no lower
/// limit.
const MAX_LASTING: usize = 1000;

/// Definitions that are read at once. Each takes up to a hundred times its own size while it is read.
const MAX_READING: usize = 2;

/// The settings of the API that the host decides.
#[derive(Debug, Clone)]
pub struct ApiConfig {
    /// How callers prove their identity.
    pub auth: Auth,
    /// The names that the API is reached by.
    pub hosts: AllowedHosts,
    /// Cancelled when the host shuts down: the API answers waiting calls, and event streams end.
    pub shutdown: CancellationToken,
    /// The longest that a call may wait for the end of a run. A caller that asks for more waits this long.
    pub max_wait: Duration,
    /// How long an event stream without events lasts. A stream that has sent events ends once no further event is
    /// there. Its reader resumes it. For hosts whose answers reach the caller only when they are whole. Absent: a
    /// stream lasts until its run has ended.
    pub stream_for: Option<Duration>,
    /// The most bytes of an answer's body that the host can hand over. The API refuses a larger one with a problem
    /// (WL0421). Not to be set where streams have no end.
    pub max_answer: Option<usize>,
    /// The most event streams that may be open at once, and as many calls may wait for the end of a run: the host keeps the
    /// rest of its connections for other calls. The API refuses one more stream (WL0420), and answers one more call at once,
    /// as if it had not asked to wait.
    pub max_lasting: usize,
    /// Holds an error while the host cannot do its work; `/healthz` then answers with it as a problem. Absent: the host
    /// has no such state.
    pub failing: Option<watch::Receiver<Option<PortError>>>,
}

impl ApiConfig {
    /// How an API is set up whose answers reach the caller as they come: waits of a minute, streams without an end.
    pub fn new(auth: Auth, hosts: AllowedHosts, shutdown: CancellationToken) -> Self {
        Self {
            auth,
            hosts,
            shutdown,
            max_wait: MAX_WAIT,
            stream_for: None,
            max_answer: None,
            max_lasting: MAX_LASTING,
            failing: None,
        }
    }
}

/// The state that all handlers share; a clone shares it too.
#[derive(Clone)]
pub struct ApiState(Arc<Shared>);

struct Shared {
    ports: Ports,
    definitions: Arc<Definitions>,
    starter: Starter,
    registry: Registry,
    control: Control,
    pruner: Pruner,
    config: ApiConfig,
    waits: Semaphore,
    streams: Arc<Semaphore>,
    reading: Semaphore,
}

impl ApiState {
    /// The state of an API on that host.
    pub fn new(ports: Ports, definitions: Arc<Definitions>, config: ApiConfig) -> Self {
        Self(Arc::new(Shared {
            starter: Starter::new(ports.clone(), definitions.clone()),
            registry: Registry::new(ports.clone(), definitions.clone()),
            control: Control::new(ports.clone(), definitions.clone()),
            pruner: Pruner::new(ports.clone()),
            ports,
            definitions,
            waits: Semaphore::new(config.max_lasting),
            streams: Arc::new(Semaphore::new(config.max_lasting)),
            reading: Semaphore::new(MAX_READING),
            config,
        }))
    }

    pub(crate) fn ports(&self) -> &Ports {
        &self.0.ports
    }

    pub(crate) fn definitions(&self) -> &Definitions {
        &self.0.definitions
    }

    pub(crate) fn starter(&self) -> &Starter {
        &self.0.starter
    }

    pub(crate) fn registry(&self) -> &Registry {
        &self.0.registry
    }

    pub(crate) fn control(&self) -> &Control {
        &self.0.control
    }

    pub(crate) fn pruner(&self) -> &Pruner {
        &self.0.pruner
    }

    pub(crate) fn auth(&self) -> &Auth {
        &self.0.config.auth
    }

    pub(crate) fn hosts(&self) -> &AllowedHosts {
        &self.0.config.hosts
    }

    pub(crate) fn shutdown(&self) -> &CancellationToken {
        &self.0.config.shutdown
    }

    pub(crate) fn stream_for(&self) -> Option<Duration> {
        self.0.config.stream_for
    }

    pub(crate) fn max_answer(&self) -> Option<usize> {
        self.0.config.max_answer
    }

    /// The error that keeps the host from its work at present.
    pub(crate) fn failing(&self) -> Option<PortError> {
        self.0.config.failing.as_ref().and_then(|failing| failing.borrow().clone())
    }

    /// Its permits are for reading definitions.
    pub(crate) fn reading(&self) -> &Semaphore {
        &self.0.reading
    }

    pub(crate) fn max_lasting(&self) -> usize {
        self.0.config.max_lasting
    }

    pub(crate) fn streams(&self) -> &Arc<Semaphore> {
        &self.0.streams
    }

    /// The run once it has ended, or as it stands when the time is over, the host shuts down or too many wait. The
    /// run is recorded, so a failure while waiting is no failure of the call.
    pub(crate) async fn wait_for_end(&self, mut run: Run, wait: Duration) -> Run {
        let Ok(_permit) = self.0.waits.try_acquire() else {
            return run;
        };
        let end = Instant::now() + wait.min(self.0.config.max_wait);
        while !run.status.is_final() {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let changed = self.0.ports.runs.changed(run.id, run.revision, left);
            let changed = tokio::select! {
                biased;
                () = self.shutdown().cancelled() => break,
                changed = changed => changed,
            };
            match changed {
                Ok(Some(later)) => run = later,
                Ok(None) => break,
                Err(error) => {
                    tracing::warn!(run.id = %run.id, error.code = error.code, error = %error, "failed to wait for a run");
                    break;
                }
            }
        }
        run
    }
}
