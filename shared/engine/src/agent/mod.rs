//! The agent: takes attempts from its pool, performs them, reports.
//!
//! It never receives more than its free slots. It extends the messages that it holds in batches, and sends its reports
//! together. It writes no record: it claims by a message, and the process manager answers in its control queue. An
//! attempt that begins at once costs no read and no write.

mod admission;
mod asks;
mod attempt;
mod claim;
mod control;
mod gate;
mod hold;
mod keep;
mod known;
mod lease;
mod records;
mod reporter;

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use futures::future::join_all;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use windlass_domain::ids::{AgentId, PoolName};
use windlass_domain::limits::MAX_BATCH;

use crate::Ports;
use crate::backoff::Backoff;
use crate::definitions::Definitions;
use crate::perform::Performer;
use crate::ports::{AgentRecord, PortError, QueueName, REGISTER_EVERY, Received};

use asks::Asks;
use gate::Gate;
use hold::Held;
use known::Known;
use records::Records;
use reporter::Reporter;

/// How an agent works.
#[derive(Debug, Clone)]
pub struct AgentSettings {
    /// Who it is; made when its process starts.
    pub id: AgentId,
    /// The pool it consumes.
    pub pool: PoolName,
    /// How many attempts it performs at once.
    pub slots: u32,
    /// How long a message stays hidden without an extension. For so long the work of a dead agent stands still.
    pub visibility: Duration,
    /// The agent reports an attempt as started when it has run for this long.
    pub started_after: Duration,
    /// How long attempts may go on once the agent drains; it hands back the rest.
    pub drain_deadline: Duration,
    /// When an agent has held a message for this long, it asks for a lease instead. SQS hides a message for at most 12
    /// hours in all, however often an agent extends it. For the rest of them the record may be out of reach.
    pub lease_after: Duration,
    /// How many receives wait at once. One is enough but for very short attempts.
    pub receivers: usize,
    /// The version of its program.
    pub version: String,
    /// Its machine and process: `host/pid`.
    pub address: String,
}

impl AgentSettings {
    /// The settings of an agent that is not special.
    pub fn new(id: AgentId, pool: PoolName, slots: u32) -> Self {
        Self {
            id,
            pool,
            slots,
            visibility: Duration::from_secs(30),
            // By then the agent knows of early kills, and it still acknowledges each kill within two seconds.
            started_after: Duration::from_millis(1500),
            drain_deadline: Duration::from_mins(1),
            lease_after: Duration::from_hours(8),
            receivers: 1,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            address: String::new(),
        }
    }
}

/// An agent's load and state, for the supervisor of its process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AgentHealth {
    /// How many attempts it holds.
    pub busy: usize,
    /// How many it may hold.
    pub slots: u32,
    /// It takes nothing further.
    pub draining: bool,
    /// For how long every receive has failed; absent: the last one was answered, or none has been yet.
    pub failing_for: Option<Duration>,
}

/// How long a receive waits for the first attempt. SQS's longest is 20 s; a drain may have to wait for it.
const WAIT: Duration = Duration::from_secs(10);

/// An agent of one pool.
#[derive(Clone)]
pub struct Agent {
    inner: Arc<Inner>,
}

struct Inner {
    ports: Ports,
    definitions: Arc<Definitions>,
    performer: Arc<dyn Performer>,
    settings: AgentSettings,
    held: Arc<Held>,
    records: Records,
    asks: Asks,
    known: Known,
    reporter: Reporter,
    slots: Arc<Semaphore>,
    gate: Gate,
    attempts: TaskTracker,
    /// Cancelled when the agent takes nothing further.
    draining: CancellationToken,
    /// The deadline of a drain that a control message asked for.
    drain_within: OnceLock<Duration>,
    /// When the first of the receives failed that have failed since; absent: the last one was answered.
    failing_since: Mutex<Option<Duration>>,
}

impl Agent {
    /// An agent over these ports that has attempts performed by `performer`.
    pub fn new(
        ports: Ports,
        definitions: Arc<Definitions>,
        performer: Arc<dyn Performer>,
        settings: AgentSettings,
    ) -> Self {
        let held = Arc::new(Held::new(settings.visibility, ports.clock.clone()));
        let pool = QueueName::Pool(settings.pool.clone());
        let reporter = Reporter::new(&ports.queues, &pool, &held);
        let (slots, gate) = (Arc::new(Semaphore::new(settings.slots as usize)), Gate::new(settings.slots));
        let (attempts, draining) = (TaskTracker::new(), CancellationToken::new());
        let drain_within = OnceLock::new();
        Self {
            inner: Arc::new(Inner {
                ports,
                definitions,
                performer,
                settings,
                held,
                records: Records::default(),
                asks: Asks::default(),
                known: Known::default(),
                reporter,
                slots,
                gate,
                attempts,
                draining,
                drain_within,
                failing_since: Mutex::default(),
            }),
        }
    }

    /// Works until `shutdown` or a drain message, and then drains. It finishes attempts within the drain deadline, and
    /// stops and hands back the rest. Then it sends its last reports and leaves the register.
    pub async fn run(&self, shutdown: &CancellationToken) {
        let ended = CancellationToken::new();
        let beside = TaskTracker::new();
        tokio::select! {
            biased;
            () = shutdown.cancelled() => return,
            () = self.make_control_queue() => {}
        }
        for receiver in 0..self.inner.settings.receivers {
            let agent = self.clone();
            self.inner.attempts.spawn(async move { agent.receive(receiver).await });
        }
        beside.spawn(self.clone().keep_held(ended.clone()));
        beside.spawn(self.clone().keep_leased(ended.clone()));
        beside.spawn(self.clone().obey(ended.clone()));
        beside.spawn(self.clone().keep_registered(ended.clone()));
        tokio::select! {
            biased;
            () = shutdown.cancelled() => self.inner.draining.cancel(),
            () = self.inner.draining.cancelled() => {}
        }
        self.drain().await;
        self.inner.reporter.finish().await;
        ended.cancel();
        beside.close();
        beside.wait().await;
        self.leave().await;
    }

    /// How it does at this moment.
    pub fn health(&self) -> AgentHealth {
        let failing_since = *self.inner.failing_since.lock().unwrap_or_else(PoisonError::into_inner);
        AgentHealth {
            busy: self.inner.held.len(),
            slots: self.inner.settings.slots,
            draining: self.inner.draining.is_cancelled(),
            failing_for: failing_since.map(|since| self.inner.ports.clock.elapsed().saturating_sub(since)),
        }
    }

    fn has_received(&self, answered: bool) {
        let mut failing_since = self.inner.failing_since.lock().unwrap_or_else(PoisonError::into_inner);
        if answered {
            *failing_since = None;
        } else {
            failing_since.get_or_insert_with(|| self.inner.ports.clock.elapsed());
        }
    }

    /// Makes the control queue before the agent receives anything: a message sent to a missing queue is lost.
    async fn make_control_queue(&self) {
        let mut backoff = Backoff::of_failures();
        while let Err(error) = self.inner.ports.queues.make(&self.control_queue()).await {
            tracing::warn!(error.code = error.code, error = %error, "failed to make the control queue");
            backoff.wait().await;
        }
    }

    /// Receives as long as there are free slots.
    async fn receive(&self, receiver: usize) {
        let mut backoff = Backoff::of_failures();
        let pool = QueueName::Pool(self.inner.settings.pool.clone());
        loop {
            let permits = tokio::select! {
                biased;
                () = self.inner.draining.cancelled() => return,
                permits = self.free_slots() => permits,
            };
            let visibility = self.inner.settings.visibility;
            let asked_at = self.inner.ports.clock.elapsed();
            // A message that comes at the end of the wait must be safe for long enough to begin it.
            let wait = WAIT.min(visibility / 3);
            let mut receiving = self.inner.ports.queues.receive(&pool, permits.len(), visibility, wait);
            let batch = tokio::select! {
                biased;
                () = self.inner.draining.cancelled() => return self.receive_last(receiving, asked_at, permits).await,
                batch = &mut receiving => batch,
            };
            self.has_received(batch.is_ok());
            match batch {
                Ok(deliveries) => {
                    backoff = Backoff::of_failures();
                    for (delivery, permit) in deliveries.into_iter().zip(permits) {
                        self.take(delivery, asked_at, permit);
                    }
                }
                Err(error) => {
                    tracing::warn!(receiver, error.code = error.code, error = %error, "failed to receive attempts");
                    backoff.wait().await;
                }
            }
        }
    }

    /// The slots that are free, at most as many as a receive may bring attempts, once there is one.
    async fn free_slots(&self) -> Vec<OwnedSemaphorePermit> {
        let slots = &self.inner.slots;
        // `acquire_owned` fails only on a closed semaphore, and the agent never closes this one.
        let first = slots.clone().acquire_owned().await;
        let mut permits: Vec<_> = first.into_iter().collect();
        while permits.len() < MAX_BATCH {
            let Ok(permit) = slots.clone().try_acquire_owned() else { break };
            permits.push(permit);
        }
        permits
    }

    /// Ends a receive of an agent that takes nothing further. The queue may still find messages for it, and hide them
    /// from all other agents. So the agent waits for them and gives them back.
    async fn receive_last(
        &self,
        receiving: impl Future<Output = Result<Vec<Received>, PortError>>,
        asked_at: Duration,
        permits: Vec<OwnedSemaphorePermit>,
    ) {
        if self.inner.ports.queues.forgets_dropped_receives() {
            return;
        }
        let late = receiving.await.unwrap_or_default();
        let holds = late.into_iter().zip(permits).map(|(delivery, permit)| {
            let hold = self.inner.held.take(&delivery, asked_at, permit);
            self.give_back_unread(delivery, hold)
        });
        join_all(holds).await;
    }

    fn take(&self, delivery: Received, asked_at: Duration, slot: OwnedSemaphorePermit) {
        if delivery.receive_count == 1 {
            let waited = self.inner.ports.clock.now().since(delivery.sent_at);
            tracing::trace!(metric = "QueueWaitMs", value = waited.0);
        }
        let hold = self.inner.held.take(&delivery, asked_at, slot);
        let agent = self.clone();
        self.inner.attempts.spawn(async move {
            let attempted = AssertUnwindSafe(agent.attempt(delivery, hold.clone())).catch_unwind().await;
            if attempted.is_err() {
                tracing::error!("an attempt panicked; its message will be redelivered");
                agent.inner.held.release(&hold);
            }
        });
    }

    /// Waits for running attempts; at the deadline it stops the rest, and only then hands them back.
    async fn drain(&self) {
        let inner = &self.inner;
        inner.attempts.close();
        let within = *inner.drain_within.get().unwrap_or(&inner.settings.drain_deadline);
        if tokio::time::timeout(within, inner.attempts.wait()).await.is_ok() {
            return;
        }
        tracing::info!(attempts = inner.held.len(), "the drain deadline has passed; handing back");
        inner.held.hand_back_all();
        inner.attempts.wait().await;
    }

    async fn keep_registered(self, ended: CancellationToken) {
        let started_at = self.inner.ports.clock.now();
        loop {
            let record = self.record(started_at);
            if let Err(error) = self.inner.ports.agents.register(&record).await {
                tracing::warn!(error.code = error.code, error = %error, "failed to register");
            }
            let changed = async {
                if self.inner.draining.is_cancelled() {
                    std::future::pending::<()>().await;
                }
                self.inner.draining.cancelled().await;
            };
            tokio::select! {
                biased;
                () = ended.cancelled() => return,
                () = changed => {}
                () = tokio::time::sleep(REGISTER_EVERY) => {}
            }
        }
    }

    fn record(&self, started_at: windlass_domain::time::Timestamp) -> AgentRecord {
        let settings = &self.inner.settings;
        AgentRecord {
            id: settings.id.clone(),
            pool: settings.pool.clone(),
            slots: settings.slots,
            busy: u32::try_from(self.inner.held.len()).unwrap_or(u32::MAX),
            version: settings.version.clone(),
            address: settings.address.clone(),
            draining: self.inner.draining.is_cancelled(),
            started_at,
            seen_at: self.inner.ports.clock.now(),
        }
    }

    async fn leave(&self) {
        let Ports { queues, agents, .. } = &self.inner.ports;
        // The queue first: the sweeper finds what is left of an agent by its entry.
        let left = match queues.remove(&self.control_queue()).await {
            Ok(()) => agents.deregister(&self.inner.settings.id).await,
            Err(error) => Err(error),
        };
        if let Err(error) = left {
            tracing::warn!(error.code = error.code, error = %error, "failed to leave the register");
        }
    }
}
