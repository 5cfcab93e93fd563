//! The one thread that writes. It takes all waiting requests and commits them together.
//!
//! The writer answers a request when its transaction is committed. It answers a durable request only when the log has
//! been synced after that. A receive, a delete and a send to a pool are not synced. The log is one file written in
//! order, so none of them can survive a power cut without all earlier writes. If the log loses its tail, messages come
//! again, and that is all. A thread of its own syncs, and the writer goes on with the next batch meanwhile.
//!
//! Work never waits in here for anything but the file: it must not block, and must not call back into the store.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use tokio::sync::oneshot;
use windlass_engine::ports::PortError;

use crate::condition::{Condition, not_synced, panicked, taken_away};
use crate::error::{Failure, closed, concerns_the_whole_file, port_error};
use crate::file_clock::FileClock;
use crate::folder::OpenFiles;
use crate::meter::{Meter, add};
use crate::session::{Known, Session, roll_back};
use crate::syncer::{Syncer, Unsynced};
use crate::watch::QueueWatch;

/// Requests of one transaction.
const MAX_BATCH_REQUESTS: usize = 256;
/// Pages that the log may grow by before they are copied to the file: 32 MiB.
const CHECKPOINT_PAGES: u64 = 8192;

/// How long pages may stand in the log alone. A file that gives pages back is shorter only once they are copied.
const CHECKPOINT_AFTER: Duration = Duration::from_mins(1);

/// How often the writer tests whether it can write while no request comes, and whether its files are still the same.
const TRY_EVERY: Duration = Duration::from_secs(5);

/// Whether an answer may go out before the log is synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Durability {
    /// The writer syncs it before it answers.
    Synced,
    /// A power cut may take it back, together with everything that came after it.
    Ordered,
}

/// A write that waits for its turn.
trait Request: Unsynced {
    /// Whether the writer must still do it. False if its caller no longer waits and it may be left out.
    fn is_wanted(&self) -> bool;
    fn must_be_synced(&self) -> bool;
    /// Does the work. May be called again after a rollback.
    fn perform(&mut self, session: &mut Session<'_>) -> rusqlite::Result<()>;
}

struct Asked<T, W, A> {
    durability: Durability,
    droppable: bool,
    work: W,
    result: Option<Result<T, PortError>>,
    reply: oneshot::Sender<Result<T, PortError>>,
    answer: A,
}

impl<T, W, A> Request for Asked<T, W, A>
where
    T: Send,
    W: FnMut(&mut Session<'_>) -> Result<T, Failure> + Send,
    A: FnOnce(Result<T, PortError>, oneshot::Sender<Result<T, PortError>>) + Send,
{
    fn is_wanted(&self) -> bool {
        !(self.droppable && self.reply.is_closed())
    }

    /// Also if it was refused: its answer may rest on a commit that is not on the disk yet.
    fn must_be_synced(&self) -> bool {
        self.durability == Durability::Synced
    }

    fn perform(&mut self, session: &mut Session<'_>) -> rusqlite::Result<()> {
        self.result = match (self.work)(session) {
            Ok(value) => Some(Ok(value)),
            Err(Failure::Refused(error)) => Some(Err(error)),
            Err(Failure::Sqlite(error)) => return Err(error),
        };
        Ok(())
    }
}

impl<T, W, A> Unsynced for Asked<T, W, A>
where
    T: Send,
    W: FnMut(&mut Session<'_>) -> Result<T, Failure> + Send,
    A: FnOnce(Result<T, PortError>, oneshot::Sender<Result<T, PortError>>) + Send,
{
    /// Answers with the work's result, if `fate` is good.
    fn answer(self: Box<Self>, fate: Result<(), PortError>) {
        let Self { result, reply, answer, .. } = *self;
        let result = fate.and_then(|()| result.unwrap_or_else(|| Err(closed())));
        answer(result, reply);
    }
}

/// A result on its way. The caller may give up before it is sent, or after that and before it wakes.
struct Answer<T: Default, U: FnOnce(T)> {
    value: T,
    /// Gets the value if the caller never takes it.
    unheard: Option<U>,
}

impl<T: Default, U: FnOnce(T)> Answer<T, U> {
    fn take(mut self) -> T {
        self.unheard = None;
        std::mem::take(&mut self.value)
    }
}

impl<T: Default, U: FnOnce(T)> Drop for Answer<T, U> {
    fn drop(&mut self) {
        if let Some(unheard) = self.unheard.take() {
            unheard(std::mem::take(&mut self.value));
        }
    }
}

/// The way to the writer. It ends when the last handle is gone, or when it is closed.
#[derive(Clone)]
pub(crate) struct Writer {
    requests: Sender<Box<dyn Request>>,
    to_sync: Sender<Vec<Box<dyn Unsynced>>>,
}

/// The writer's threads, to be waited for.
pub(crate) struct WriterThreads(Mutex<Vec<JoinHandle<()>>>);

impl WriterThreads {
    /// Waits until the writer has written all requests and copied the log to the file.
    pub(crate) fn join(&self) {
        let threads = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            if thread.join().is_err() {
                tracing::error!("a thread of the store has panicked");
            }
        }
    }
}

impl Writer {
    /// Starts the threads.
    pub(crate) fn start(
        connection: Connection,
        syncer: Syncer,
        clock: FileClock,
        meter: Arc<Meter>,
        watch: Arc<QueueWatch>,
        (condition, files): (Arc<Condition>, OpenFiles),
    ) -> Result<(Self, WriterThreads), std::io::Error> {
        let (requests, waiting) = channel();
        let (to_sync, unsynced) = channel();
        let syncer = spawn("windlass-sync", &condition, move || syncer.run(&unsynced))?;
        let told = condition.clone();
        let mut worker = Worker::new(connection, to_sync.clone(), clock, meter, watch, (condition, files));
        let writer = spawn("windlass-write", &told, move || {
            if let Err(error) = worker.count_wal_pages() {
                tracing::warn!(error = %error, "the log's pages can not be counted");
            }
            worker.run(&waiting);
        })?;
        Ok((Self { requests, to_sync }, WriterThreads(Mutex::new(vec![writer, syncer]))))
    }

    /// Waits until all commits so far, of any process, are on the disk.
    pub(crate) async fn settled(&self) -> Result<(), PortError> {
        let (reply, answered) = oneshot::channel();
        self.to_sync.send(vec![Box::new(reply)]).map_err(|_| closed())?;
        answered.await.unwrap_or_else(|_| Err(closed()))
    }

    /// Does work in a transaction; gives its result once the transaction holds.
    pub(crate) async fn write<T: Send + 'static>(
        &self,
        durability: Durability,
        work: impl FnMut(&mut Session<'_>) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, PortError> {
        self.write_and(durability, work, |_| ()).await
    }

    /// Like `write`, and calls `then` with a good result before the answer, even if the caller no longer waits.
    pub(crate) async fn write_and<T: Send + 'static>(
        &self,
        durability: Durability,
        work: impl FnMut(&mut Session<'_>) -> Result<T, Failure> + Send + 'static,
        then: impl FnOnce(&T) + Send + 'static,
    ) -> Result<T, PortError> {
        let answer = move |result: Result<T, PortError>, reply: oneshot::Sender<_>| {
            if let Ok(value) = &result {
                then(value);
            }
            // The caller may have given up.
            drop(reply.send(result));
        };
        self.ask(durability, false, work, answer).await
    }

    /// Does the work only if the caller still waits for it; `unheard` gets a result that the caller did not take.
    pub(crate) async fn write_if_wanted<T: Default + Send + 'static, U: FnOnce(T) + Send + 'static>(
        &self,
        mut work: impl FnMut(&mut Session<'_>) -> Result<T, Failure> + Send + 'static,
        unheard: U,
    ) -> Result<T, PortError> {
        let work = move |session: &mut Session<'_>| work(session).map(|value| Answer { value, unheard: None });
        let answer = move |mut result: Result<Answer<T, U>, PortError>, reply: oneshot::Sender<_>| {
            if let Ok(answer) = &mut result {
                answer.unheard = Some(unheard);
            }
            drop(reply.send(result));
        };
        self.ask(Durability::Ordered, true, work, answer).await.map(Answer::take)
    }

    /// Has the writer do work without waiting for it; a failure is only logged.
    pub(crate) fn write_unheard(&self, work: impl FnMut(&mut Session<'_>) -> Result<(), Failure> + Send + 'static) {
        let (reply, _) = oneshot::channel();
        let answer = |result: Result<(), PortError>, _: oneshot::Sender<_>| {
            if let Err(error) = result {
                tracing::debug!(error = %error, "a write that nobody waited for failed");
            }
        };
        let asked = Asked { durability: Durability::Ordered, droppable: false, work, result: None, reply, answer };
        // A writer that has ended has nothing to do either.
        drop(self.requests.send(Box::new(asked)));
    }

    async fn ask<T: Send + 'static>(
        &self,
        durability: Durability,
        droppable: bool,
        work: impl FnMut(&mut Session<'_>) -> Result<T, Failure> + Send + 'static,
        answer: impl FnOnce(Result<T, PortError>, oneshot::Sender<Result<T, PortError>>) + Send + 'static,
    ) -> Result<T, PortError> {
        let (reply, answered) = oneshot::channel();
        let asked = Asked { durability, droppable, work, result: None, reply, answer };
        self.requests.send(Box::new(asked)).map_err(|_| closed())?;
        answered.await.unwrap_or_else(|_| Err(closed()))
    }
}

/// Starts a thread of the store. If it ever panics, the store takes nothing further and says so: a host without it would
/// answer no call, and look well.
pub(crate) fn spawn(
    name: &'static str,
    condition: &Arc<Condition>,
    run: impl FnOnce() + Send + 'static,
) -> std::io::Result<JoinHandle<()>> {
    let condition = condition.clone();
    std::thread::Builder::new().name(name.to_owned()).spawn(move || {
        if std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).is_err() {
            let why = panicked(name);
            tracing::error!(error = %why, "a thread of the store has panicked; it takes nothing further");
            condition.breaks(&why);
        }
    })
}

/// The writer's thread.
struct Worker {
    connection: Connection,
    known: Known,
    to_sync: Sender<Vec<Box<dyn Unsynced>>>,
    clock: FileClock,
    meter: Arc<Meter>,
    watch: Arc<QueueWatch>,
    condition: Arc<Condition>,
    files: OpenFiles,
    /// Pages in the log, as of the last commit.
    wal_pages: Arc<AtomicU64>,
    seen: u64,
    /// Pages in the log when it was last copied to the file.
    copied: u64,
    /// When that was.
    copied_at: Instant,
    /// When it was last known whether anything can be written.
    tried: Instant,
    /// When the files were last looked at.
    looked: Instant,
}

impl Worker {
    fn new(
        connection: Connection,
        to_sync: Sender<Vec<Box<dyn Unsynced>>>,
        clock: FileClock,
        meter: Arc<Meter>,
        watch: Arc<QueueWatch>,
        (condition, files): (Arc<Condition>, OpenFiles),
    ) -> Self {
        let (known, wal_pages, tried) = (Known::default(), Arc::default(), Instant::now());
        let (seen, copied, copied_at, looked) = (0, 0, tried, tried);
        Self {
            connection,
            known,
            to_sync,
            clock,
            meter,
            watch,
            condition,
            files,
            wal_pages,
            seen,
            copied,
            copied_at,
            tried,
            looked,
        }
    }

    fn count_wal_pages(&mut self) -> rusqlite::Result<()> {
        let pages = self.wal_pages.clone();
        self.connection.wal_hook(Some(move |_: &mut rusqlite::hooks::Wal, count: std::ffi::c_int| {
            pages.store(u64::try_from(count).unwrap_or(0), Ordering::Relaxed);
            Ok(())
        }))
    }

    fn run(mut self, waiting: &Receiver<Box<dyn Request>>) {
        let mut batch = Vec::with_capacity(MAX_BATCH_REQUESTS);
        while let Some(first) = self.next(waiting) {
            let began = Instant::now();
            batch.push(first);
            while batch.len() < MAX_BATCH_REQUESTS
                && let Ok(next) = waiting.try_recv()
            {
                batch.push(next);
            }
            self.write(std::mem::take(&mut batch));
            self.bound_the_log();
            add(&self.meter.busy_micros, u64::try_from(began.elapsed().as_micros()).unwrap_or(0));
        }
        if let Err(error) = self.checkpoint("TRUNCATE") {
            tracing::warn!(error = %error, "the log could not be copied to the file");
        }
    }

    /// The next request, or none once all handles to the writer are gone. If no write has happened for [`TRY_EVERY`],
    /// it tests whether it can write. A process that only reads would otherwise not learn of a full disk or a damaged
    /// file.
    fn next(&mut self, waiting: &Receiver<Box<dyn Request>>) -> Option<Box<dyn Request>> {
        loop {
            self.known.is_about(&self.clock);
            self.look_for_files();
            let left = TRY_EVERY.saturating_sub(self.tried.elapsed());
            match waiting.recv_timeout(left) {
                Ok(first) if !left.is_zero() => return Some(first),
                Err(RecvTimeoutError::Disconnected) => return None,
                received => {
                    self.try_to_write();
                    self.bound_the_log();
                    if let Ok(first) = received {
                        return Some(first);
                    }
                }
            }
        }
    }

    /// A file that was removed or replaced goes on to take writes, and they are gone when this process ends.
    fn look_for_files(&mut self) {
        if self.looked.elapsed() < TRY_EVERY {
            return;
        }
        self.looked = Instant::now();
        if let Some(path) = self.files.taken_away() {
            let why = taken_away(path);
            tracing::error!(error = %why, "the store is not what it was; it takes nothing further");
            self.condition.breaks(&why);
        }
    }

    /// Writes the mark of the file's clock, unless that could not tell anything.
    fn try_to_write(&mut self) {
        self.tried = Instant::now();
        if self.condition.stays() {
            return;
        }
        // A transaction like any other: the first that comes after the machine slept spares what ran out meanwhile.
        let marked = Session::begin(&self.connection, &mut self.known, &self.clock).and_then(|mut session| {
            self.clock.mark(&self.connection)?;
            session.commit()
        });
        if let Err(error) = marked {
            roll_back(&self.connection, &mut self.known);
            return self.condition.failed(&port_error(&error));
        }
        self.condition.wrote();
    }

    /// Commits a batch. The writer answers work that fails by itself alone, and does the rest again without it.
    fn write(&mut self, mut batch: Vec<Box<dyn Request>>) {
        batch.retain(|request| request.is_wanted());
        add(&self.meter.requests, batch.len() as u64);
        while !batch.is_empty() {
            let fate = self.condition.why_broken().map_or_else(|| self.commit(&mut batch), |why| Err((None, why)));
            match fate {
                Ok(()) => return self.answer(batch),
                Err((Some(culprit), error)) => batch.remove(culprit).answer(Err(error)),
                Err((None, error)) => {
                    self.condition.failed(&error);
                    return answer_all(batch, &Err(error));
                }
            }
        }
    }

    /// One transaction. If the others can be written without one request, the failure names that request.
    fn commit(&mut self, batch: &mut [Box<dyn Request>]) -> Result<(), (Option<usize>, PortError)> {
        let mut at = None;
        let committed = Session::begin(&self.connection, &mut self.known, &self.clock).and_then(|mut session| {
            for (position, request) in batch.iter_mut().enumerate() {
                at = Some(position);
                request.perform(&mut session)?;
            }
            at = None;
            session.commit()?;
            Ok((session.filled, session.rows))
        });
        match committed {
            Ok((filled, rows)) => {
                // One that had nothing to write says nothing about the disk.
                if rows > 0 {
                    self.condition.wrote();
                    self.tried = Instant::now();
                }
                self.count(rows);
                for (queue, messages) in filled {
                    self.watch.filled(&queue, messages);
                }
                Ok(())
            }
            Err(error) => {
                roll_back(&self.connection, &mut self.known);
                let culprit = at.filter(|_| !concerns_the_whole_file(&error));
                Err((culprit, port_error(&error)))
            }
        }
    }

    fn count(&mut self, rows: u64) {
        let pages = self.wal_pages.load(Ordering::Relaxed);
        // The log starts over from its beginning once all of it has been copied to the file.
        let (wrote, copied) = if pages < self.seen { (pages, 0) } else { (pages - self.seen, self.copied) };
        (self.seen, self.copied) = (pages, copied);
        add(&self.meter.commits, 1);
        add(&self.meter.rows, rows);
        add(&self.meter.wal_pages, wrote);
    }

    fn answer(&self, batch: Vec<Box<dyn Request>>) {
        let (durable, rest): (Vec<_>, Vec<_>) = batch.into_iter().partition(|request| request.must_be_synced());
        let durable: Vec<Box<dyn Unsynced>> = durable.into_iter().map(|request| request as _).collect();
        if !durable.is_empty()
            && let Err(unsent) = self.to_sync.send(durable)
        {
            for request in unsent.0 {
                request.answer(Err(not_synced()));
            }
        }
        answer_all(rest, &Ok(()));
    }

    /// Copies the log to the file when it has grown by so much, and now and then.
    fn bound_the_log(&mut self) {
        let is_long = self.seen >= self.copied + CHECKPOINT_PAGES;
        let is_old = self.seen > self.copied && self.copied_at.elapsed() >= CHECKPOINT_AFTER;
        if !is_long && !is_old {
            return;
        }
        // Tried again only after as many pages more, should readers keep the log from starting over.
        (self.copied, self.copied_at) = (self.seen, Instant::now());
        if let Err(error) = self.checkpoint("PASSIVE") {
            tracing::warn!(error = %error, "the log could not be copied to the file");
        }
    }

    fn checkpoint(&self, mode: &str) -> rusqlite::Result<()> {
        add(&self.meter.checkpoints, 1);
        self.connection.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |_| Ok(()))
    }
}

fn answer_all(batch: Vec<Box<dyn Request>>, fate: &Result<(), PortError>) {
    for request in batch {
        request.answer(fate.clone());
    }
}

#[cfg(test)]
mod tests;
