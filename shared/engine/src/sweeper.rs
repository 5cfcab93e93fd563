//! The sweeper: the periodic input that proves no open run is stuck. It also forgets agents that are gone.

mod reap;

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use windlass_contract::message::{InboxMessage, MESSAGE_VERSION, encode};
use windlass_domain::ids::RunId;
use windlass_domain::limits::{CLOCKS_DIFFER_MS, RESTART_AFTER_MS};
use windlass_domain::run::Input;
use windlass_domain::time::Timestamp;

use crate::Ports;
use crate::pools::{Served, silent_after};
use crate::ports::{LONGEST_REST, Outgoing, PortError, QueueName, REGISTER_EVERY};
use crate::send::send_all;

/// A run that nobody wrote to for this long is looked at a second time: by so much less than the time after which a
/// start is repeated that no round misses it because the run was recorded a little after its start was decided.
const UNTOUCHED: Duration = Duration::from_secs(100);
const _: () = assert!(UNTOUCHED.as_millis() + 10_000 < RESTART_AFTER_MS as u128);
/// By how much each look reaches back before the one before: who decides may have another clock.
const CLOCKS_DIFFER: Duration = Duration::from_millis(CLOCKS_DIFFER_MS);
/// How often runs are looked at a second time.
const SWEEP_EVERY: Duration = Duration::from_mins(1);
/// Runs of one round; the rest have their turn in the next.
const MAX_RUNS: usize = 10_000;

/// Inputs that wait in the inbox above which no run is woken.
const MAX_INBOX: u64 = 10_000;

/// Wakes runs that are due, and sweeps those that have not changed for a while.
pub struct Sweeper {
    ports: Ports,
    /// How often the due index is read: a second on one machine, a minute on AWS.
    every: Duration,
    served: Mutex<Served>,
}

impl Sweeper {
    /// A sweeper that reads the due index that often.
    pub fn new(ports: Ports, every: Duration) -> Self {
        Self { ports, every, served: Mutex::default() }
    }

    /// Works until it is told to stop.
    ///
    /// Its first look reaches back for ever: what fell due while nothing ran was sent by none.
    pub async fn run(&self, shutdown: &CancellationToken) {
        let mut swept = self.ports.clock.now();
        let (mut since, mut counted) = (Timestamp::from_millis(0), swept);
        loop {
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(self.every) => {}
            }
            let now = self.ports.clock.now();
            let mut untouched = UNTOUCHED;
            if now.since(counted).as_duration() >= REGISTER_EVERY {
                counted = now;
                if self.has_lost_a_pool().await {
                    untouched = Duration::ZERO;
                }
            }
            let is_sweep = now.since(swept).as_duration() >= SWEEP_EVERY || untouched.is_zero();
            let round = if is_sweep { self.look(now, since, untouched).await } else { self.wake(now).await };
            if is_sweep && round.is_ok() {
                swept = now;
                since = earlier(now, CLOCKS_DIFFER);
            }
            if let Err(error) = round {
                tracing::warn!(error.code = error.code, error = %error, "failed to sweep; the next round tries again");
            }
        }
    }

    /// One round, for a host that has no loop of its own: `nominal` is the minute whose turn it is. Not every round hands
    /// out every run, so each looks back as far as the round may lie that did: what fell due in between was sent by none.
    pub async fn round(&self, nominal: Timestamp) -> Result<(), PortError> {
        let since = earlier(nominal, LONGEST_REST + SWEEP_EVERY);
        let untouched = if self.has_lost_a_pool().await { Duration::ZERO } else { UNTOUCHED };
        self.look(nominal, since, untouched).await
    }

    /// Whether a pool has lost its last agent since this was asked before. What waits in it was sent when it had one, so
    /// every open run is to be looked at.
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
        let is_lost = served.look(&agents, self.ports.clock.now(), silent_after);
        if is_lost {
            tracing::info!("a pool has lost its last agent; every open run is looked at");
        }
        is_lost
    }

    /// Wakes the runs that are due by now, unless the inbox has more than is handled soon: it may hold the wakes of the
    /// rounds before, and each round would add as many again. That is asked first: a run that was handed out rests for a
    /// while.
    pub async fn wake(&self, now: Timestamp) -> Result<(), PortError> {
        if self.ports.queues.depth(&QueueName::Inbox).await? > MAX_INBOX {
            return Ok(());
        }
        let runs = self.ports.runs.stale(now, Timestamp::from_millis(i64::MIN), MAX_RUNS).await?;
        self.send(runs, &Input::Wake).await
    }

    /// Looks a second time at every open run that has not changed for a while, and for agents that are gone; `since` is
    /// when that was done last.
    pub async fn sweep(&self, now: Timestamp, since: Timestamp) -> Result<(), PortError> {
        self.look(now, since, UNTOUCHED).await
    }

    async fn look(&self, now: Timestamp, since: Timestamp, untouched: Duration) -> Result<(), PortError> {
        let runs = self.ports.runs.stale(now, earlier(now, untouched), MAX_RUNS).await?;
        self.send(runs, &Input::Sweep { since }).await?;
        self.reap(now).await
    }

    async fn send(&self, runs: Vec<RunId>, input: &Input) -> Result<(), PortError> {
        let message = |run| {
            let message = InboxMessage::Run { v: MESSAGE_VERSION, run, input: input.clone() };
            (QueueName::Inbox, Outgoing::now(encode(&message)))
        };
        let messages: Vec<_> = runs.into_iter().map(message).collect();
        send_all(self.ports.queues.as_ref(), &messages).await
    }
}

fn earlier(at: Timestamp, by: Duration) -> Timestamp {
    let by = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
    Timestamp::from_millis(at.as_millis().saturating_sub(by))
}
