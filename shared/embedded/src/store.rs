//! The store: one data folder, opened by one process.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use tokio::sync::{broadcast, watch};
use windlass_contract::event::PublicEvent;
use windlass_engine::Ports;
use windlass_engine::ports::{OwnScheduler, PortError};

use crate::cache::RunCache;
use crate::clock::{Machine, SystemClock};
use crate::condition::Condition;
use crate::database::{Purpose, connect, open_or_make, storage, wal_path};
use crate::error::{Failure, OpenError};
use crate::file_clock::FileClock;
use crate::folder::{self, OpenFiles};
use crate::host_lock::{self, HostLock};
use crate::meter::{Meter, Written};
use crate::readers::Readers;
use crate::run_watch::RunWatch;
use crate::settled::SettledTasks;
use crate::syncer::{SyncLog, Syncer};
use crate::watch::QueueWatch;
use crate::writer::{Writer, WriterThreads, spawn};

/// The file's name inside the data folder.
pub const FILE_NAME: &str = "windlass.db";

/// Events that a subscriber may be behind before it misses some.
const BUS_EVENTS: usize = 4096;

/// The part of a process in a data folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It decides; there is one at a time.
    Host,
    /// It performs; there may be any number.
    Agent,
}

/// A data folder that is open. It is closed when the last clone is dropped.
#[derive(Clone)]
pub struct Store {
    open: Arc<Open>,
}

/// The sizes of the store's files, its messages, and the writes of this process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stats {
    /// Bytes of the database file.
    pub file_bytes: u64,
    /// Bytes of the write-ahead log.
    pub wal_bytes: u64,
    /// Messages by queue, the hidden ones included.
    pub messages: Vec<(String, u64)>,
    /// The writes of this process since it opened the store.
    pub written: Written,
}

/// The clocks and the disk that a store uses. A test replaces them.
pub(crate) struct Surroundings {
    pub(crate) machine: Arc<dyn Machine>,
    /// None: the log is synced as it is.
    pub(crate) sync_log: Option<SyncLog>,
}

impl Default for Surroundings {
    fn default() -> Self {
        Self { machine: Arc::new(SystemClock), sync_log: None }
    }
}

/// The caches and channels that the parts of an open store share.
pub(crate) struct Shared {
    pub(crate) run_cache: RunCache,
    pub(crate) settled_tasks: SettledTasks,
    pub(crate) run_watch: RunWatch,
    pub(crate) bus: broadcast::Sender<Arc<PublicEvent>>,
}

struct Open {
    path: PathBuf,
    page_bytes: u64,
    clock: FileClock,
    meter: Arc<Meter>,
    shared: Arc<Shared>,
    readers: Readers,
    queue_watch: Arc<QueueWatch>,
    watcher: Mutex<Option<JoinHandle<()>>>,
    writer: Option<Writer>,
    condition: Arc<Condition>,
    threads: WriterThreads,
    /// Let go last: the next host may only come when everything is closed.
    _host: Option<HostLock>,
}

impl Store {
    /// Opens a data folder. Makes the folder, for its owner alone, and the file, if they are missing. Blocks while
    /// another process makes or migrates the same file.
    pub fn open(data_dir: &Path, role: Role) -> Result<Self, OpenError> {
        Self::open_with(data_dir, role, None, Surroundings::default())
    }

    /// The same, with a bound on the file: the store refuses a write of this process beyond it as on a full disk.
    pub fn open_bounded(data_dir: &Path, role: Role, max_file_bytes: u64) -> Result<Self, OpenError> {
        Self::open_with(data_dir, role, Some(max_file_bytes), Surroundings::default())
    }

    pub(crate) fn open_with(
        data_dir: &Path,
        role: Role,
        max_file_bytes: Option<u64>,
        surroundings: Surroundings,
    ) -> Result<Self, OpenError> {
        folder::make(data_dir)?;
        let host = match role {
            Role::Host => Some(HostLock::take(data_dir)?),
            Role::Agent => None,
        };
        let path = data_dir.join(FILE_NAME);
        let mut connection = open_or_make(&path, role == Role::Host)?;
        let failed = |error: rusqlite::Error| storage(&path, &error);
        let page_bytes = bound_pages(&connection, max_file_bytes).map_err(failed)?;
        let clock = FileClock::start(&mut connection, surroundings.machine).map_err(failed)?;
        let reading = || connect(&path, Purpose::Read).map_err(failed);
        let (watching, syncing) = (reading()?, reading()?);
        let sync_log = match surroundings.sync_log {
            Some(sync_log) => sync_log,
            None => sync_of_log(data_dir, &path)?,
        };

        let meter = Arc::new(Meter::default());
        let queue_watch = Arc::new(QueueWatch::default());
        let no_thread = |error: std::io::Error| folder::failed(data_dir, &error);
        let condition = Arc::<Condition>::default();
        let files = own_files(data_dir, &path, role)?;
        let syncer = Syncer::new(sync_log, syncing, meter.clone(), condition.clone());
        let (watch, shown) = (queue_watch.clone(), clock.clone());
        let (writer, threads) =
            Writer::start(connection, syncer, shown, meter.clone(), watch, (condition.clone(), files))
                .map_err(no_thread)?;
        let (watch, shown) = (queue_watch.clone(), clock.clone());
        let watcher = spawn("windlass-watch", &condition, move || watch.run(&watching, &shown)).map_err(no_thread)?;
        let shared = Shared {
            run_cache: RunCache::default(),
            settled_tasks: SettledTasks::default(),
            run_watch: RunWatch::default(),
            bus: broadcast::Sender::new(BUS_EVENTS),
        };
        let open = Open {
            readers: Readers::new(path.clone(), condition.clone()),
            path,
            page_bytes,
            clock,
            meter,
            shared: Arc::new(shared),
            queue_watch,
            watcher: Mutex::new(Some(watcher)),
            writer: Some(writer),
            condition,
            threads,
            _host: host,
        };
        Ok(Self { open: Arc::new(open) })
    }

    /// The store as everything that the engine's loops need of a host.
    pub fn ports(&self) -> Ports {
        let store = Arc::new(self.clone());
        Ports {
            queues: store.clone(),
            runs: store.clone(),
            tasks: store.clone(),
            bus: store.clone(),
            agents: store,
            schedules: Arc::new(OwnScheduler),
            clock: Arc::new(self.open.clock.clone()),
        }
    }

    /// Events that are published in this process from here on. A subscriber that falls far behind misses some. It
    /// learns so, and reads them from the event log.
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<PublicEvent>> {
        self.open.shared.bus.subscribe()
    }

    /// The sizes of the files, the messages by queue, and the writes of this process. Fails if the file is unreadable.
    pub async fn stats(&self) -> Result<Stats, PortError> {
        let messages = self.open.readers.read_aside(counts).await?;
        let bytes = |path: &Path| std::fs::metadata(path).map_or(0, |file| file.len());
        Ok(Stats {
            file_bytes: bytes(&self.open.path),
            wal_bytes: bytes(&wal_path(&self.open.path)),
            messages,
            written: self.written(),
        })
    }

    /// Gives the reason once the store could not sync the log. From then on it refuses every write, and every read of
    /// data that may not be on the disk. Only a process that opens the store again knows what is on the disk.
    pub fn broken(&self) -> watch::Receiver<Option<PortError>> {
        self.open.condition.broken.subscribe()
    }

    /// Gives the reason while the writes of this process fail: the disk is full, or the file is damaged. A damaged file
    /// stays damaged.
    pub fn failing(&self) -> watch::Receiver<Option<PortError>> {
        self.open.condition.failing.subscribe()
    }

    /// The writes of this process since it opened the store.
    pub fn written(&self) -> Written {
        self.open.meter.read(self.open.page_bytes)
    }

    /// Reads the whole file and checks that it is sound; takes its time.
    pub async fn check(&self) -> Result<(), PortError> {
        let check = |connection: &rusqlite::Connection| {
            let verdict: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
            if verdict == "ok" { Ok(()) } else { Err(Failure::from(crate::error::damaged(&verdict))) }
        };
        self.open.readers.read_aside(check).await
    }

    pub(crate) fn writer(&self) -> &Writer {
        self.open.writer.as_ref().expect("the writer is taken only when the last clone of the store is dropped")
    }

    pub(crate) fn readers(&self) -> &Readers {
        &self.open.readers
    }

    /// Reads, and waits until the commits that it read are on the disk: a power cut can still take back a visible
    /// commit. Answers to callers about runs and tasks use this.
    pub(crate) async fn read_settled<T: Send + 'static>(
        &self,
        read: impl FnOnce(&rusqlite::Connection) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, PortError> {
        let found = self.readers().read_aside(read).await?;
        self.writer().settled().await?;
        Ok(found)
    }

    pub(crate) fn clock(&self) -> &FileClock {
        &self.open.clock
    }

    pub(crate) fn queue_watch(&self) -> &QueueWatch {
        &self.open.queue_watch
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.open.shared
    }
}

#[cfg(test)]
impl Store {
    /// Ends the thread that looks at the file for waiting readers.
    pub(crate) fn stop_watching(&self) {
        self.open.queue_watch.close();
        let watcher = self.open.watcher.lock().expect("not poisoned").take();
        watcher.expect("it watches").join().expect("it does not panic");
    }
}

impl Drop for Open {
    /// All requests are written before this returns.
    fn drop(&mut self) {
        self.queue_watch.close();
        let watcher = self.watcher.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        if watcher.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread that watches the queues has panicked");
        }
        self.readers.close();
        drop(self.writer.take());
        self.threads.join();
    }
}

/// Bounds the file, and gives how many bytes a page of it has.
fn bound_pages(connection: &rusqlite::Connection, max_file_bytes: Option<u64>) -> rusqlite::Result<u64> {
    let page_bytes = connection.query_row("PRAGMA page_size", [], |row| row.get::<_, i64>(0))?.unsigned_abs();
    if let Some(bound) = max_file_bytes {
        let pages = i64::try_from(bound / page_bytes).unwrap_or(i64::MAX);
        connection.query_row(&format!("PRAGMA max_page_count = {pages}"), [], |_| Ok(()))?;
    }
    Ok(page_bytes)
}

/// The files that must stay as long as the store is open, made private.
fn own_files(folder: &Path, path: &Path, role: Role) -> Result<OpenFiles, OpenError> {
    let lock = (role == Role::Host).then(|| host_lock::path(folder));
    let files: Vec<PathBuf> = lock.into_iter().chain([path.to_owned(), wal_path(path)]).collect();
    files.iter().try_for_each(|file| folder::make_private(file))?;
    OpenFiles::at(files).map_err(|error| folder::failed(folder, &error))
}

/// Syncs the log. Its name in the folder is synced here once, since `SQLite` does so only with a sync of its own. The
/// file stays the same one while this process has it open.
fn sync_of_log(folder: &Path, path: &Path) -> Result<SyncLog, OpenError> {
    let failed = |error: std::io::Error| folder::failed(folder, &error);
    let wal = File::open(wal_path(path)).map_err(failed)?;
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)?;
    Ok(Box::new(move || wal.sync_data()))
}

/// How many messages each queue holds, the hidden ones included.
fn counts(connection: &rusqlite::Connection) -> Result<Vec<(String, u64)>, Failure> {
    let sql = "SELECT name, (SELECT count(*) FROM messages WHERE queue = queues.id) FROM queues ORDER BY name";
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get::<_, i64>(1)?.unsigned_abs())))?;
    Ok(rows.collect::<Result<_, _>>()?)
}
