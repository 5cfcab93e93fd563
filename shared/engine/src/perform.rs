//! How the agent's loop has an attempt performed. `windlass-facade` does it with programs, HTTP calls and handlers; a
//! simulated world does it by script.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::Value;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use windlass_domain::ids::{ActionIndex, ActionName, RunId, TaskName, TaskVersion, derive};
use windlass_domain::run::{ActionAt, CheckpointError, Outcome, Progress, check_checkpoint};
use windlass_domain::time::{Millis, Timestamp};
use windlass_domain::work::Work;

/// One attempt, as its facade sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct Attempt {
    /// Its run.
    pub run: RunId,
    /// The task that the run is of.
    pub task: TaskName,
    /// The task's version that the run is pinned to.
    pub version: TaskVersion,
    /// The name of its action.
    pub name: ActionName,
    /// Its action's place and its number.
    pub of: ActionAt,
    /// A number that programs compare: a later owner has a greater one.
    pub fence: u64,
    /// The work, every expression evaluated.
    pub work: Work,
    /// How long it may take.
    pub timeout: Option<Millis>,
    /// When the run must have ended.
    pub deadline: Option<Timestamp>,
    /// The same for every attempt and every delivery of the action: see [`idempotency_key`].
    pub idempotency_key: String,
    /// Where the performer can take the work up, as an earlier attempt of the action or an earlier owner of this one
    /// saved it.
    pub checkpoint: Option<Value>,
    /// The attempt's trace context, a W3C `traceparent`, for the program or endpoint that performs it.
    pub trace: Option<String>,
}

impl Attempt {
    /// How long it may take when it begins at `now`: its own timeout, or the rest of its run's time if that is shorter.
    pub fn time_left(&self, now: Timestamp) -> Option<Millis> {
        let left = self.deadline.map(|deadline| deadline.since(now));
        match (self.timeout, left) {
            (Some(timeout), Some(left)) => Some(timeout.min(left)),
            (timeout, left) => timeout.or(left),
        }
    }
}

/// The key by which a receiver recognises the work of one action: it is the same in every attempt and delivery.
pub fn idempotency_key(run: RunId, action: ActionIndex) -> String {
    derive(&["idempotency", &run.to_string(), &action.0.to_string()]).to_string()
}

/// The right to begin an attempt: it passes while the attempt is prepared.
#[derive(Clone)]
pub struct RightToBegin {
    holds: Arc<dyn Fn() -> bool + Send + Sync>,
    missed: Arc<AtomicBool>,
}

impl RightToBegin {
    /// It may begin as long as that says so.
    pub fn new(holds: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self { holds: Arc::new(holds), missed: Arc::default() }
    }

    /// Whether a performer asked for the right after it had passed.
    pub fn was_missed(&self) -> bool {
        self.missed.load(Ordering::Relaxed)
    }

    fn holds(&self) -> bool {
        let holds = (self.holds)();
        if !holds {
            self.missed.store(true, Ordering::Relaxed);
        }
        holds
    }
}

impl fmt::Debug for RightToBegin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RightToBegin").field("missed", &self.missed).finish_non_exhaustive()
    }
}

/// How an attempt talks with its agent while it runs.
#[derive(Debug, Clone)]
pub struct AttemptControl {
    /// The agent cancels it when the attempt must end. The performer first asks the work to stop, and forces it after a
    /// grace.
    pub stop: CancellationToken,
    /// Cancelled when the agent takes nothing further. The attempt may go on until `stop`.
    pub draining: CancellationToken,
    /// How far the attempt has come; the agent sends it on when it changes.
    pub progress: watch::Sender<Option<Progress>>,
    checkpoint: watch::Sender<Option<Value>>,
    right: Option<RightToBegin>,
    /// How long the agent waits before it hands the attempt back; unset: it reports how the attempt ended.
    returned: Arc<OnceLock<Duration>>,
    note: Arc<OnceLock<String>>,
}

impl AttemptControl {
    /// A control without progress so far, and the receiver by which the agent sees the progress.
    pub fn new(stop: CancellationToken) -> (Self, watch::Receiver<Option<Progress>>) {
        let (progress, seen) = watch::channel(None);
        let (checkpoint, _) = watch::channel(None);
        let (draining, returned, note) = (CancellationToken::new(), Arc::default(), Arc::default());
        (Self { stop, draining, progress, checkpoint, right: None, returned, note }, seen)
    }

    /// The same control, of an agent that drains once this is cancelled.
    #[must_use]
    pub fn draining_by(self, draining: CancellationToken) -> Self {
        Self { draining, ..self }
    }

    /// The same control, of an attempt that may begin only by that right.
    #[must_use]
    pub fn beginning_by(self, right: RightToBegin) -> Self {
        Self { right: Some(right), ..self }
    }

    /// Whether the work may still begin. A performer asks at the last moment, when its slow preparations are done. If
    /// not, the attempt answers [`Outcome::Cancelled`] and has done nothing; its agent looks at the record again.
    pub fn may_begin(&self) -> bool {
        !self.stop.is_cancelled() && self.right.as_ref().is_none_or(RightToBegin::holds)
    }

    /// The answer of a performer whose agent, and not the work, is why the attempt did not come to its end. The agent waits
    /// for the pause, and hands the attempt back: it spends none, and comes to an agent again.
    pub fn hand_back(&self, pause: Duration) -> Outcome {
        self.returned.get_or_init(|| pause);
        Outcome::Cancelled
    }

    /// Adds a word to the success of the attempt, for people. The record keeps it as the attempt's last progress.
    pub fn note(&self, text: String) {
        self.note.get_or_init(|| text);
    }

    /// That word.
    pub fn noted(&self) -> Option<&str> {
        self.note.get().map(String::as_str)
    }

    /// The pause, if the performer has the attempt handed back.
    pub fn handed_back(&self) -> Option<Duration> {
        self.returned.get().copied()
    }

    /// The same control, of an attempt that takes up work at this checkpoint.
    #[must_use]
    pub fn taking_up(self, checkpoint: Option<Value>) -> Self {
        self.checkpoint.send_replace(checkpoint);
        self
    }

    /// The same control with a stop of its own.
    #[must_use]
    pub fn stopped_by(&self, stop: CancellationToken) -> Self {
        Self { stop, ..self.clone() }
    }

    /// The last checkpoint, of this attempt or of one before it.
    pub fn checkpoint(&self) -> Option<Value> {
        self.checkpoint.borrow().clone()
    }

    /// Saves a checkpoint for the next owner of the attempt, or for the next attempt. The agent sends it on within a
    /// second or so, and before it hands the attempt back.
    ///
    /// # Errors
    /// If it is larger than [`windlass_domain::limits::MAX_CHECKPOINT_BYTES`] as JSON, or nested too deeply. The
    /// checkpoint before it stays.
    pub fn save(&self, checkpoint: Value) -> Result<(), CheckpointError> {
        check_checkpoint(&checkpoint)?;
        self.checkpoint.send_replace(Some(checkpoint));
        Ok(())
    }

    /// The saved checkpoint, as it changes.
    pub fn saved(&self) -> watch::Receiver<Option<Value>> {
        self.checkpoint.subscribe()
    }
}

/// Performs attempts.
#[async_trait]
pub trait Performer: Send + Sync {
    /// Performs one attempt to its end.
    ///
    /// It keeps the attempt's time ([`Attempt::time_left`]) and answers [`Outcome::TimedOut`] when that is over. After
    /// `control.stop` it answers [`Outcome::Cancelled`], unless the work ended by itself all the same. If its agent is
    /// the cause of an early end, it answers by [`AttemptControl::hand_back`]. It does not panic, and nothing of the attempt runs any more when it returns. It prepares the work first, and then calls
    /// [`AttemptControl::may_begin`]. A caller that drops the future instead of waiting for it has the work killed
    /// without a grace.
    async fn perform(&self, attempt: Attempt, control: AttemptControl) -> Outcome;
}

#[cfg(test)]
mod tests {
    use super::*;
    use windlass_domain::work::NativeWork;

    fn check(timeout: Option<u64>, deadline: Option<i64>, expected: Option<u64>) {
        let run = RunId::from_key(&TaskName::new("t").expect("a name"), "k");
        let attempt = Attempt {
            run,
            task: TaskName::new("t").expect("a name"),
            version: 1,
            name: ActionName::new("a").expect("a name"),
            of: ActionAt { action: ActionIndex(0), attempt: 1 },
            fence: 1,
            work: Work::Native(NativeWork { handler: "h".into(), input: serde_json::Value::Null }),
            timeout: timeout.map(Millis),
            deadline: deadline.map(Timestamp::from_millis),
            idempotency_key: idempotency_key(run, ActionIndex(0)),
            checkpoint: None,
            trace: None,
        };
        assert_eq!(attempt.time_left(Timestamp::from_millis(1000)), expected.map(Millis));
    }

    #[test]
    fn the_shorter_time_counts() {
        check(None, None, None);
        check(Some(50), None, Some(50));
        check(None, Some(1300), Some(300));
        check(Some(50), Some(1300), Some(50));
        check(Some(500), Some(1300), Some(300));
        check(Some(500), Some(900), Some(0));
    }

    #[test]
    fn keys_tell_actions_and_runs_apart() {
        let task = TaskName::new("t").expect("a name");
        let (one, two) = (RunId::from_key(&task, "1"), RunId::from_key(&task, "2"));
        assert_eq!(idempotency_key(one, ActionIndex(3)), idempotency_key(one, ActionIndex(3)));
        assert_ne!(idempotency_key(one, ActionIndex(3)), idempotency_key(one, ActionIndex(4)));
        assert_ne!(idempotency_key(one, ActionIndex(3)), idempotency_key(two, ActionIndex(3)));
    }
}
