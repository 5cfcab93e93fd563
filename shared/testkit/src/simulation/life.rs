//! One life of one process. The world may hold it up, cut it off and kill it, at any await.
//!
//! Every effect of a process on the world is a call of its host, and each call passes here. A dead process makes no
//! further call, wherever its tasks stand. Other processes can see no more of a death.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

pub(super) struct Life {
    pub(super) name: String,
    /// How far its wall clock is from the world's, in milliseconds.
    pub(super) skew: i64,
    state: Mutex<State>,
    died: Notify,
}

struct State {
    dead: bool,
    held_up_until: Instant,
    cut_off_until: Instant,
}

impl Life {
    pub(super) fn new(name: String, skew: i64) -> Self {
        let now = Instant::now();
        let state = State { dead: false, held_up_until: now, cut_off_until: now };
        Self { name, skew, state: Mutex::new(state), died: Notify::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// As by kill -9 or a power cut.
    pub(super) fn kill(&self) {
        self.state().dead = true;
        self.died.notify_one();
    }

    /// As by SIGSTOP, or a machine that is suspended.
    pub(super) fn hold_up(&self, span: Duration) {
        self.state().held_up_until = Instant::now() + span;
    }

    /// As by a partition of the network.
    pub(super) fn cut_off(&self, span: Duration) {
        self.state().cut_off_until = Instant::now() + span;
    }

    pub(super) fn is_dead(&self) -> bool {
        self.state().dead
    }

    pub(super) fn is_cut_off(&self) -> bool {
        self.state().cut_off_until > Instant::now()
    }

    /// Returns when it has been killed.
    pub(super) async fn death(&self) {
        self.died.notified().await;
    }

    /// Lets a living process pass, a held-up one later, a dead one never.
    pub(super) async fn gate(&self) {
        loop {
            let held_up_until = {
                let state = self.state();
                if state.dead { None } else { Some(state.held_up_until) }
            };
            match held_up_until {
                None => std::future::pending().await,
                Some(until) if until > Instant::now() => tokio::time::sleep_until(until).await,
                Some(_) => return,
            }
        }
    }
}
