//! Wakes readers that wait for messages. A message of this process wakes them at once, one of another process within
//! [`POLL_MS`]. One that becomes visible by itself wakes them on time.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::{Connection, OptionalExtension};
use tokio::sync::Notify;
use windlass_engine::ports::QueueName;

use crate::database::data_version;
use crate::file_clock::FileClock;

/// The time between two checks whether the file has changed, in milliseconds; checks run only while a reader waits.
const POLL_MS: i64 = 8;

/// The readers that wait for messages.
#[derive(Default)]
pub(crate) struct QueueWatch {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    gates: HashMap<QueueName, Gate>,
    /// A reader waits at a queue that the watching thread has not looked at yet.
    unseen: bool,
    closed: bool,
}

#[derive(Default)]
struct Gate {
    notify: Arc<Notify>,
    waiters: usize,
}

/// A reader that waits at a queue. Dropping it ends the wait.
pub(crate) struct Waiter<'a> {
    watch: &'a QueueWatch,
    queue: &'a QueueName,
    /// Holds a permit when messages have come since the last one was taken.
    pub(crate) notify: Arc<Notify>,
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        let mut state = self.watch.lock();
        if let Some(gate) = state.gates.get_mut(self.queue) {
            gate.waiters -= 1;
            if gate.waiters == 0 {
                state.gates.remove(self.queue);
            }
        }
    }
}

impl QueueWatch {
    /// Begins to wait at a queue; messages that come from here on are not missed.
    pub(crate) fn wait<'a>(&'a self, queue: &'a QueueName) -> Waiter<'a> {
        let mut state = self.lock();
        let was_idle = state.gates.is_empty();
        if !state.gates.contains_key(queue) {
            state.unseen = true;
            state.gates.insert(queue.clone(), Gate::default());
        }
        let notify = match state.gates.get_mut(queue) {
            Some(gate) => {
                gate.waiters += 1;
                gate.notify.clone()
            }
            None => Arc::default(),
        };
        drop(state);
        if was_idle {
            self.changed.notify_one();
        }
        Waiter { watch: self, queue, notify }
    }

    /// Wakes as many as there are messages.
    pub(crate) fn filled(&self, queue: &QueueName, messages: usize) {
        let state = self.lock();
        if let Some(gate) = state.gates.get(queue) {
            for _ in 0..messages.min(gate.waiters) {
                gate.notify.notify_one();
            }
        }
    }

    /// Wakes everybody for good.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_one();
    }

    /// Watches the file, on a thread of its own, until it is closed. Sleeps while no reader waits.
    pub(crate) fn run(&self, connection: &Connection, clock: &FileClock) {
        let mut seen = None;
        let mut look_at = i64::MAX;
        while let Some(turn) = self.next_turn(look_at.saturating_sub(clock.now_ms())) {
            let version = data_version(connection);
            if version.is_some() && version == seen && !turn.unseen && clock.now_ms() < look_at {
                continue;
            }
            seen = version;
            let now = clock.now_ms();
            look_at = self.wake_those_with_messages(connection, &turn.queues, now).unwrap_or_else(|error| {
                tracing::warn!(error = %error, "failed to watch the queues");
                now + POLL_MS
            });
        }
    }

    /// Wakes readers of queues with visible messages. Gives the time at which the next message becomes visible without
    /// a write, or `i64::MAX`.
    fn wake_those_with_messages(
        &self,
        connection: &Connection,
        queues: &[QueueName],
        now: i64,
    ) -> rusqlite::Result<i64> {
        let mut look_at = i64::MAX;
        for queue in queues {
            let Some(at) = earliest(connection, queue)? else { continue };
            if at <= now {
                self.filled(queue, 1);
            }
            look_at = look_at.min(at.max(now + POLL_MS));
        }
        Ok(look_at)
    }

    /// Sleeps until it is time to look again, in so many milliseconds at most; `None` at the end.
    fn next_turn(&self, left: i64) -> Option<Turn> {
        let left = u64::try_from(left).unwrap_or(0).clamp(1, POLL_MS.unsigned_abs());
        let deadline = Instant::now() + Duration::from_millis(left);
        let mut state = self.lock();
        loop {
            if state.closed {
                return None;
            }
            if state.gates.is_empty() {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let unseen = std::mem::take(&mut state.unseen);
                return Some(Turn { queues: state.gates.keys().cloned().collect(), unseen });
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The queues at which readers wait.
struct Turn {
    queues: Vec<QueueName>,
    unseen: bool,
}

/// When the queue's earliest message is visible.
fn earliest(connection: &Connection, queue: &QueueName) -> rusqlite::Result<Option<i64>> {
    let sql = "SELECT visible_at FROM messages WHERE queue = (SELECT id FROM queues WHERE name = ?1)
               ORDER BY visible_at LIMIT 1";
    connection.prepare_cached(sql)?.query_row([queue.to_string()], |row| row.get(0)).optional()
}

#[cfg(test)]
mod tests {
    use windlass_domain::ids::PoolName;
    use windlass_engine::ports::{Outgoing, PortError, Queues};

    use crate::{Role, Store};

    use super::*;

    /// A reader that is not woken waits this long and gets no message.
    const WAIT: Duration = Duration::from_secs(20);

    async fn pass_on(store: &Store, from: &QueueName, to: &QueueName) -> Result<(), PortError> {
        let received = store.receive(from, 10, WAIT, WAIT).await?;
        assert_eq!(received.len(), 1, "it was woken");
        store.delete(from, received.into_iter().map(|delivery| delivery.receipt).collect()).await?;
        store.send(to, vec![Outgoing::now("ball".to_owned())]).await
    }

    /// A reader gets a message from its own process without a look at the file: no thread looks at it here.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn message_in_one_process_needs_no_polling() {
        const ROUNDS: usize = 200;
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::open(folder.path(), Role::Host).expect("the folder is empty");
        store.stop_watching();
        let queue = |name| QueueName::Pool(PoolName::new(name).expect("a name"));
        let (there, back) = (queue("there"), queue("back"));
        let other = {
            let (store, there, back) = (store.clone(), there.clone(), back.clone());
            tokio::spawn(async move {
                for _ in 0..ROUNDS {
                    pass_on(&store, &there, &back).await.expect("it can be used");
                }
            })
        };
        store.send(&there, vec![Outgoing::now("ball".to_owned())]).await.expect("it can be written");
        for _ in 0..ROUNDS {
            pass_on(&store, &back, &there).await.expect("it can be used");
        }
        other.await.expect("it does not panic");
    }
}
