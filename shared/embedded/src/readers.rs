//! Connections that only read. They never wait for the writer.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;
use tokio::sync::Semaphore;
use windlass_engine::ports::PortError;

use crate::condition::Condition;
use crate::database::{Purpose, connect};
use crate::error::{Failure, closed};

/// Connections that are kept open.
const MAX_IDLE: usize = 8;
/// Reads that run aside at once.
const MAX_ASIDE: usize = 4;

/// A pool of reading connections.
#[derive(Clone)]
pub(crate) struct Readers {
    shared: Arc<Shared>,
}

struct Shared {
    path: PathBuf,
    condition: Arc<Condition>,
    idle: Mutex<Vec<Connection>>,
    aside: Semaphore,
}

impl Readers {
    pub(crate) fn new(path: PathBuf, condition: Arc<Condition>) -> Self {
        let shared = Shared { path, condition, idle: Mutex::default(), aside: Semaphore::new(MAX_ASIDE) };
        Self { shared: Arc::new(shared) }
    }

    /// Reads on the caller's thread: only for what takes microseconds.
    pub(crate) fn read<T>(&self, read: impl FnOnce(&Connection) -> Result<T, Failure>) -> Result<T, PortError> {
        let result = self.read_by_one(read).map_err(PortError::from);
        if let Err(error) = &result {
            self.shared.condition.failed_to_read(error);
        }
        result
    }

    fn read_by_one<T>(&self, read: impl FnOnce(&Connection) -> Result<T, Failure>) -> Result<T, Failure> {
        let idle = self.lock().pop();
        let connection = match idle {
            Some(connection) => connection,
            None => connect(&self.shared.path, Purpose::Read)?,
        };
        let result = read(&connection);
        let mut idle = self.lock();
        if idle.len() < MAX_IDLE {
            idle.push(connection);
        }
        result
    }

    /// Reads on a thread for blocking work.
    pub(crate) async fn read_aside<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, PortError> {
        let _permit = self.shared.aside.acquire().await.map_err(|_| closed())?;
        let readers = self.clone();
        tokio::task::spawn_blocking(move || readers.read(read)).await.unwrap_or_else(|_| Err(closed()))
    }

    /// Closes the connections that no reader uses.
    pub(crate) fn close(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        self.shared.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
