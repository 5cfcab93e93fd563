//! The saga record.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::input::CancelCause;
use super::pages::Pages;
use super::source::Source;
use crate::attempt::{ActionState, ActionStatus, ErrorInfo};
use crate::caller::Caller;
use crate::content::{Apart, Content, Place, Values, Wanted};
use crate::ids::{ActionIndex, RunId, TaskName, TaskVersion};
use crate::keep::Keep;
use crate::limits::{ACTIONS_PER_PAGE, START_AGAIN_AFTER_MS};
use crate::retry::FailedAttempt;
use crate::time::{Millis, Timestamp};

/// The saved state of one run. Its head holds no list that grows with the task; its actions stand in pages.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// Who it is.
    pub id: RunId,
    /// The task it is of.
    pub task: TaskName,
    /// The task's version that it is pinned to.
    pub version: TaskVersion,
    /// The number of commits of this record; 0 is the record as it was created. Writes are conditional on it.
    pub revision: u64,
    /// What asked for it.
    pub origin: Origin,
    /// Who asked for it.
    #[serde(default)]
    pub caller: Caller,
    /// Where it stands.
    pub status: RunStatus,
    /// The checked input, defaults filled in.
    pub input: Content,
    /// The output, once it has succeeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<Value>,
    /// Why the run as a whole did not succeed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<ErrorInfo>,
    /// When it was recorded.
    pub submitted_at: Timestamp,
    /// How far the wall clock was ahead of the host's steady clock when the run was recorded, in milliseconds. All times
    /// of the run are of the steady clock plus this. None: they are of the wall clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock: Option<i64>,
    /// When its first actions were let go.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Timestamp>,
    /// When it must have ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Timestamp>,
    /// When time alone may change this run; never later than the true instant, but it may be earlier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wake_at: Option<Timestamp>,
    /// How long it is kept after its end, as its definition says.
    #[serde(default, skip_serializing_if = "Keep::is_default")]
    pub keep: Keep,
    /// Set once a caller, or the deadline, has cancelled it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancellation: Option<Cancellation>,
    /// How often it was retried by hand.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub retries: u32,
    /// How often it was paused, in all its lives.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub pauses: u32,
    /// Revision of the last change of the run's own status: start, pause, resume, cancel, retry, end.
    #[serde(default)]
    pub status_revision: u64,
    /// What led to that change.
    #[serde(default, skip_serializing_if = "Source::is_itself")]
    pub status_source: Source,
    /// Who asked for that change, if it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_caller: Option<Caller>,
    /// Who asked for the newest retry by hand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retried_by: Option<Caller>,
    /// Revision of its start, or of the newest retry by hand, which starts it again; 0: it has not begun.
    #[serde(default, skip_serializing_if = "is_zero_64")]
    pub start_revision: u64,
    /// Actions that are not settled.
    pub open: u32,
    /// Actions that are queued or running.
    pub in_flight: u32,
    /// Actions that are ready and held back by `max_parallel` or a pause, or left to the next step.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub ready: u32,
    /// No action before this one is ready; 0 while none is. Room is given from here on, so that it costs no look at
    /// every action.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub ready_from: u32,
    /// Actions that failed, timed out or were killed where that is not allowed.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub failed: u32,
    /// Actions that failed, timed out or were killed where that is allowed.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub faults: u32,
    /// The actions, in the definition's order. They are stored beside the rest.
    #[serde(skip)]
    pub actions: Pages,
    /// Those of its values in memory that stand apart from it.
    #[serde(skip)]
    pub values: Values,
}

/// What asked for a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(tag = "by", rename_all = "snake_case")]
pub enum Origin {
    /// A call of the API.
    Request,
    /// The task's schedule.
    Schedule {
        /// The due time that this run stands for, in milliseconds since the epoch.
        nominal: Timestamp,
    },
}

/// Where a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RunStatus {
    /// Recorded, not begun.
    Submitted,
    /// Under way.
    Running,
    /// Under way, but nothing further is queued.
    Paused,
    /// Ending early: waiting for what is queued or running to be answered.
    Cancelling,
    /// Ended: every action succeeded or was skipped.
    Succeeded,
    /// Ended: something failed that was allowed to.
    SucceededWithFaults,
    /// Ended: something failed.
    Failed,
    /// Ended: its deadline passed.
    TimedOut,
    /// Ended: a caller, or its schedule, cancelled it.
    Cancelled,
}

/// That a run was cancelled, and by what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cancellation {
    /// When.
    pub at: Timestamp,
    /// By what.
    pub cause: CancelCause,
    /// Why, in words.
    pub reason: String,
    /// Who asked for it.
    #[serde(default)]
    pub caller: Caller,
    /// The revision whose commit said so.
    pub revision: u64,
    /// What led to it.
    #[serde(default, skip_serializing_if = "Source::is_itself")]
    pub source: Source,
}

/// The phases of a run's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Submitted, under way or held.
    Open,
    /// It takes up nothing further, and waits for what is queued or running.
    Ending,
    /// Over, unless it is retried by hand.
    Ended,
}

impl Run {
    /// The record of a run that has been asked for and not begun.
    pub fn submitted(
        id: RunId,
        (task, version): (TaskName, TaskVersion),
        actions: usize,
        input: Value,
        origin: Origin,
        now: Timestamp,
    ) -> Self {
        let mut values = Values::default();
        Self {
            id,
            task,
            version,
            revision: 0,
            origin,
            caller: Caller::default(),
            status: RunStatus::Submitted,
            input: values.hold(input),
            output: None,
            error: None,
            submitted_at: now,
            clock: None,
            started_at: None,
            finished_at: None,
            deadline: None,
            wake_at: Some(now.plus(Millis(START_AGAIN_AFTER_MS))),
            keep: Keep::default(),
            cancellation: None,
            retries: 0,
            pauses: 0,
            status_revision: 0,
            status_source: Source::default(),
            status_caller: None,
            retried_by: None,
            start_revision: 0,
            open: u32::try_from(actions).unwrap_or(u32::MAX),
            in_flight: 0,
            ready: 0,
            ready_from: 0,
            failed: 0,
            faults: 0,
            actions: Pages::new(actions),
            values,
        }
    }

    /// The same record, with its times on the steady clock of a host that has one. At this instant that clock and the wall
    /// clock show these times. A run that has a clock keeps it.
    #[must_use]
    pub fn on_clock(self, wall: Timestamp, steady: Option<Timestamp>) -> Self {
        let ahead = steady.map(|steady| wall.as_millis().saturating_sub(steady.as_millis()));
        Self { clock: self.clock.or(ahead), ..self }
    }

    /// What the clock of this run shows at that instant: nothing that sets the wall clock moves its timers.
    pub fn time(&self, wall: Timestamp, steady: Option<Timestamp>) -> Timestamp {
        let of_run =
            |(ahead, steady): (i64, Timestamp)| Timestamp::from_millis(steady.as_millis().saturating_add(ahead));
        self.clock.zip(steady).map_or(wall, of_run)
    }

    /// A time of this run, as the host's steady clock shows it; the same, if the host has none.
    pub fn steady(&self, at: Timestamp) -> Timestamp {
        Timestamp::from_millis(at.as_millis().saturating_sub(self.clock.unwrap_or(0)))
    }

    /// The same record, which that caller asked for.
    #[must_use]
    pub fn asked_by(self, caller: Caller) -> Self {
        Self { caller, ..self }
    }

    /// The same record, kept after its end as its definition says.
    #[must_use]
    pub fn kept(self, keep: Keep) -> Self {
        Self { keep, ..self }
    }

    /// The state of one action.
    pub fn action(&self, index: ActionIndex) -> &ActionState {
        self.actions.get(index)
    }

    /// What stands in a place; none: the action has no output.
    pub fn content(&self, place: Place) -> Option<&Content> {
        match place {
            Place::Input => Some(&self.input),
            Place::Output(action) => self.action(action).output.as_ref(),
        }
    }

    /// The reference in a place, if its value stands apart.
    pub fn apart(&self, place: Place) -> Option<Apart> {
        self.content(place)?.apart()
    }

    /// The value of a place; none: there is none, or it stands apart and is not loaded.
    pub fn value(&self, place: Place) -> Option<&Value> {
        self.values.get(self.content(place)?)
    }

    /// Whether the value of a place must be loaded before it can be read.
    pub fn lacks(&self, place: Place) -> bool {
        self.content(place).is_some_and(|content| self.values.get(content).is_none())
    }

    /// Every place whose value must be loaded before it can be read.
    pub fn lacking(&self) -> Wanted {
        let outputs = (0..self.actions.len()).map(|action| Place::Output(ActionIndex::from_usize(action)));
        outputs.chain([Place::Input]).filter(|place| self.lacks(*place)).collect()
    }

    /// The same record, without the values that stand apart from it.
    #[must_use]
    pub fn bare(self) -> Self {
        Self { values: Values::default(), ..self }
    }

    /// The references that are not in `before`: their values are in memory, and their host has yet to store them.
    pub fn apart_since(&self, before: Option<&Self>) -> Vec<(Place, Apart)> {
        let input = self.input.apart().filter(|_| before.is_none()).map(|apart| (Place::Input, apart));
        let pages = match before {
            Some(before) => self.actions.changed_since(&before.actions),
            None => (0..self.actions.shared().len()).collect(),
        };
        let all = self.actions.len();
        let of_page = |page: usize| page * ACTIONS_PER_PAGE..all.min((page + 1) * ACTIONS_PER_PAGE);
        let actions = pages.into_iter().flat_map(of_page).map(ActionIndex::from_usize);
        let fresh = actions.filter_map(|action| {
            let apart = self.action(action).output.as_ref()?.apart()?;
            let old = before.and_then(|before| before.action(action).output.as_ref()?.apart());
            (old != Some(apart)).then_some((Place::Output(action), apart))
        });
        input.into_iter().chain(fresh).collect()
    }

    /// Whether its start is sent again: the submitter may have died before it sent all of it. No agent has reported some
    /// attempt that the start queued. A run of more actions begins by an input, which comes again by itself.
    pub fn needs_start_again(&self) -> bool {
        let is_unheard = |state: &ActionState| state.status == ActionStatus::Queued && state.source == Source::Start;
        let is_small = self.actions.len() <= ACTIONS_PER_PAGE && self.status.phase() == Phase::Open;
        self.status == RunStatus::Submitted || is_small && self.actions.iter().any(is_unheard)
    }

    /// The newest attempt of an action as its policy looks at it, after an error of that kind.
    pub(crate) fn failed_attempt<'k>(&self, action: ActionIndex, kind: &'k str) -> FailedAttempt<'k> {
        let state = self.action(action);
        FailedAttempt {
            run: self.id,
            action,
            attempt: state.attempt(),
            spent: state.attempt() - state.attempt_base,
            kind,
            first_queued_at: state.first_queued_at.unwrap_or(self.submitted_at),
        }
    }

    /// The first action, in the author's order, that waits for room.
    pub fn first_ready(&self) -> Option<ActionIndex> {
        if self.ready == 0 {
            return None;
        }
        let from = self.ready_from as usize;
        (from..self.actions.len()).map(ActionIndex::from_usize).find(|action| self.action(*action).ready)
    }
}

impl RunStatus {
    /// Every status, in the order of a run's life.
    pub const ALL: [Self; 9] = [
        Self::Submitted,
        Self::Running,
        Self::Paused,
        Self::Cancelling,
        Self::Succeeded,
        Self::SucceededWithFaults,
        Self::Failed,
        Self::TimedOut,
        Self::Cancelled,
    ];

    /// Which phase of its life that is.
    pub const fn phase(self) -> Phase {
        match self {
            Self::Submitted | Self::Running | Self::Paused => Phase::Open,
            Self::Cancelling => Phase::Ending,
            Self::Succeeded | Self::SucceededWithFaults | Self::Failed | Self::TimedOut | Self::Cancelled => {
                Phase::Ended
            }
        }
    }

    /// Whether the run has ended.
    pub const fn is_final(self) -> bool {
        matches!(self.phase(), Phase::Ended)
    }

    /// Whether actions are taken up, or held for a while.
    pub const fn goes_on(self) -> bool {
        matches!(self, Self::Running | Self::Paused)
    }

    /// Whether the run has ended well.
    pub const fn is_success(self) -> bool {
        matches!(self, Self::Succeeded | Self::SucceededWithFaults)
    }

    /// The status as it stands in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Submitted => "submitted",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Cancelling => "cancelling",
            Self::Succeeded => "succeeded",
            Self::SucceededWithFaults => "succeeded_with_faults",
            Self::Failed => "failed",
            Self::TimedOut => "timed_out",
            Self::Cancelled => "cancelled",
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
fn is_zero_64(number: &u64) -> bool {
    *number == 0
}
