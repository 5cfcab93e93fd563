//! The sweeper: the periodic input that proves no open run is stuck. It also forgets dead agents.

mod reap;

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use windlass_domain::ids::RunId;
use windlass_domain::run::Input;
use windlass_domain::time::{Millis, Timestamp};

use crate::Ports;
use crate::effects::to_run;
use crate::pools::{Served, silent_after};
use crate::ports::{AgentRecord, PortError, QueueName, REGISTER_EVERY};
use crate::send::send_all;

/// A look that is late by so much was held up: the machine slept, or the process was stopped. The agents slept as well.
const HELD_UP: Duration = Duration::from_secs(5);
/// For so long the sweeper judges nothing then: every agent says within [`REGISTER_EVERY`] that it is there, and keeps what
/// it holds.
const TIME_TO_SPEAK: Duration = Duration::from_secs(15);

/// Runs of one round; the rest have their turn in the next.
const MAX_RUNS: usize = 10_000;

/// Before every run: the sweeper asks only for due runs.
const NEVER: Timestamp = Timestamp::from_millis(i64::MIN);
/// Inputs that wait in the inbox above which no run is swept.
const MAX_INBOX: u64 = 10_000;

/// Finds the runs that are due. Every open run has a time of its next wake ([`Run::wake_at`]), so the sweeper misses
/// none. Only a paused run with nothing in flight waits for a person.
///
/// [`Run::wake_at`]: windlass_domain::run::Run::wake_at
pub struct Sweeper {
    ports: Ports,
    /// How often it reads the due index: each second on one machine, each minute on AWS.
    every: Duration,
    served: Mutex<Served>,
}

impl Sweeper {
    /// A sweeper that reads the due index that often.
    pub fn new(ports: Ports, every: Duration) -> Self {
        Self { ports, every, served: Mutex::default() }
    }

    /// Sweeps until `shutdown` is cancelled.
    pub async fn run(&self, shutdown: &CancellationToken) {
        let mut counted = self.ports.clock.elapsed();
        let (mut looked, mut swept, mut judges_from) = (counted, counted, counted);
        loop {
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(self.every) => {}
            }
            let (now, elapsed) = (self.ports.clock.now(), self.ports.clock.elapsed());
            // Once it waits, another hold-up makes it wait no longer: a host that is slow all the time sweeps, too.
            if elapsed.saturating_sub(looked) >= self.every + HELD_UP && judges_from <= swept {
                tracing::info!("the machine slept, or this process was held up; agents get time to speak");
                judges_from = elapsed + TIME_TO_SPEAK;
            }
            looked = elapsed;
            if elapsed < judges_from {
                continue;
            }
            let is_count = elapsed.saturating_sub(counted) >= REGISTER_EVERY;
            let round = if is_count { self.round(now).await } else { self.sweep(now).await };
            if is_count {
                counted = elapsed;
            }
            if let Err(error) = round {
                tracing::warn!(error.code = error.code, error = %error, "failed to sweep; the next round tries again");
            }
            (looked, swept) = (self.ports.clock.elapsed(), elapsed);
        }
    }

    /// One round: the runs that are due at `nominal`, and the dead agents. If a pool has lost its last agent, the round
    /// looks at every open run. The attempts that wait there were sent when the pool had an agent.
    pub async fn round(&self, nominal: Timestamp) -> Result<(), PortError> {
        let everything = self.has_lost_a_pool().await;
        self.look(nominal, if everything { nominal } else { NEVER }).await?;
        self.reap(nominal).await
    }

    /// Whether a pool has lost its last agent since the last call. The attempts that wait in it were sent when it had
    /// one, so the sweeper must look at every open run.
    async fn has_lost_a_pool(&self) -> bool {
        let agents = match self.ports.agents.list().await {
            Ok(agents) => agents,
            Err(error) => {
                tracing::warn!(error.code = error.code, error = %error, "failed to read which pools have an agent");
                return false;
            }
        };
        let silent_after = silent_after(self.ports.agents.as_ref());
        let mut served = self.served.lock().unwrap_or_else(PoisonError::into_inner);
        // The clock of what is remembered from look to look.
        let (now, stamp) = (self.ports.clock.now(), self.ports.clock.stamp());
        let stamped = |agent: AgentRecord| {
            let [seen_at, started_at] = [agent.seen_at, agent.started_at].map(|at| stamp.minus(now.since(at)));
            AgentRecord { started_at, seen_at, ..agent }
        };
        let agents: Vec<_> = agents.into_iter().map(stamped).collect();
        let is_lost = served.look(&agents, stamp, silent_after);
        if is_lost {
            tracing::info!("a pool has lost its last agent; every open run is looked at");
        }
        is_lost
    }

    /// Sweeps every run that is due by now.
    pub async fn sweep(&self, now: Timestamp) -> Result<(), PortError> {
        self.look(now, NEVER).await
    }

    /// Sweeps nothing while the inbox is long: it may hold the sweeps of the rounds before, and each round would add as
    /// many again. It looks at the inbox first, because a run that the store has handed out rests for a while.
    async fn look(&self, now: Timestamp, untouched_since: Timestamp) -> Result<(), PortError> {
        if self.ports.queues.depth(&QueueName::Inbox).await? > MAX_INBOX {
            return Ok(());
        }
        let runs = self.ports.runs.stale(now, untouched_since, MAX_RUNS).await?;
        let message = |run: RunId| to_run(run, Input::Sweep, Millis(0));
        let messages: Vec<_> = runs.into_iter().map(message).collect();
        send_all(self.ports.queues.as_ref(), &messages).await
    }
}
