//! Wakes readers that wait for a run to change. Changes by other processes they look for themselves.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use windlass_domain::ids::RunId;

/// Who waits for which run.
#[derive(Default)]
pub(crate) struct RunWatch {
    runs: Mutex<HashMap<RunId, (Arc<Notify>, usize)>>,
}

/// A reader that waits for a run. Dropping it ends the wait.
pub(crate) struct RunWaiter<'a> {
    watch: &'a RunWatch,
    id: RunId,
    pub(crate) notify: Arc<Notify>,
}

impl RunWatch {
    pub(crate) fn wait(&self, id: RunId) -> RunWaiter<'_> {
        let mut runs = self.lock();
        let (notify, waiters) = runs.entry(id).or_default();
        *waiters += 1;
        RunWaiter { watch: self, id, notify: notify.clone() }
    }

    /// Wakes all readers that wait for the run.
    pub(crate) fn changed(&self, id: RunId) {
        if let Some((notify, _)) = self.lock().get(&id) {
            notify.notify_waiters();
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<RunId, (Arc<Notify>, usize)>> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for RunWaiter<'_> {
    fn drop(&mut self) {
        let mut runs = self.watch.lock();
        if let Some((_, waiters)) = runs.get_mut(&self.id) {
            *waiters -= 1;
            if *waiters == 0 {
                runs.remove(&self.id);
            }
        }
    }
}
