//! Strategies of task definitions and of events in the lives of their runs.
//!
//! A strategy draws [`Move`]s, which name their target by a number. They become inputs only when the run is known. So
//! most of them hit an existing target, and the rest are wrong on purpose.

use proptest::collection::vec;
use proptest::option::weighted;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::Value;
use windlass_domain::delivery::Delivery;
use windlass_domain::ids::{ActionIndex, AgentId, PoolName};
use windlass_domain::limits::MAX_CHECKPOINT_BYTES;
use windlass_domain::run::{CancelCause, Claim, ErrorInfo, Input, Outcome, Progress, Report as Of, Run};
use windlass_domain::time::{Millis, Timestamp};

use crate::sketch::{NEVER_RETRIED, RETRIED, output};

mod tasks;

pub use tasks::{sketches, unordered_sketches};

/// Something that happens, after some time.
#[derive(Debug, Clone)]
pub struct Move {
    /// How much time passes before it.
    pub pass: Pass,
    /// The move.
    pub what: What,
}

/// Time that passes.
#[derive(Debug, Clone, Copy)]
pub enum Pass {
    /// That much.
    By(Millis),
    /// Until the run asks to be woken, if that is later.
    UntilWake,
}

/// A move in a run's life.
#[derive(Debug, Clone)]
pub enum What {
    /// An input that is about no action.
    Of(RunInput),
    /// A report of an attempt.
    Report {
        /// Which action: of those in flight if there are some, else of all.
        pick: Index,
        /// Which delivery of it.
        aim: Aim,
        /// The number of the agent that reports; none: its owner's agent, if it has an owner.
        agent: Option<u8>,
        /// It is another message than the owner's.
        is_twin: bool,
        /// The report.
        report: Report,
    },
}

/// An input that is about no action.
#[derive(Debug, Clone, Copy)]
pub enum RunInput {
    /// The run begins.
    Start,
    /// A caller, or the schedule, wants its end.
    Cancel(CancelCause, Asked),
    /// A caller kills one action, or an action that does not exist.
    Kill(Index, Asked),
    /// A pause, with the numbers of pauses and retries that its caller saw.
    Pause(Asked, Asked),
    /// A resume, with the number of pauses that its caller saw.
    Resume(Asked),
    /// It starts over.
    Retry(Asked),
    /// A timer has run down: of that action, or of the run.
    Wake(Option<Index>),
    /// The sweeper found it.
    Sweep,
    /// No agent has served the pool of the actions, or another pool, for so long.
    Unserved(bool, Millis),
}

/// The time of a request, by the pauses or retries that its caller saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// In this life of the run, and since it was paused last.
    Now,
    /// Before its newest retry or pause.
    Before,
    /// Before the one before that.
    LongBefore,
    /// After a pause or a retry that never was.
    Later,
}

/// Which delivery a report names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aim {
    /// The last one of an action in flight.
    InFlight,
    /// The last one of any action.
    Any,
    /// A later receive of the same message.
    Received(u32),
    /// A later message of the same attempt.
    Resent(u64),
    /// An earlier receive of the same message.
    OldReceive,
    /// The message before.
    OldIssue,
    /// The attempt before the newest.
    OldAttempt,
    /// An attempt that was never made.
    LaterAttempt,
    /// An action that the definition does not have.
    Unknown,
}

/// A report.
#[derive(Debug, Clone)]
pub enum Report {
    /// It has begun; that long ago.
    Started(Millis),
    /// An agent asks to own it, by its request of that number; it may ask twice in one message.
    Claim(u32, bool),
    /// Its agent keeps it without a message, by its renewal of that number; it has begun that long ago.
    Renewed(Millis, u32),
    /// It has come so far, in percent. The report has that number, and a checkpoint.
    Progressed(u8, u32, Option<Value>),
    /// Its agent gives it back.
    HandedBack(bool, Option<Value>),
    /// It has ended, and saved a checkpoint.
    Completed(Outcome, Option<Value>),
    /// No agent could perform it.
    DeadLettered,
}

/// Sequences of what happens to one run, mostly starting with its start.
pub fn moves(most: usize) -> impl Strategy<Value = Vec<Move>> {
    let first = weighted(0.95, Just(Move { pass: Pass::By(Millis(10)), what: What::Of(RunInput::Start) }));
    (first, vec(a_move(), 1..most)).prop_map(|(first, rest)| first.into_iter().chain(rest).collect())
}

fn a_move() -> impl Strategy<Value = Move> {
    let pass = prop_oneof![
        4 => Just(Pass::By(Millis(0))),
        10 => (1..800_u64).prop_map(|ms| Pass::By(Millis(ms))),
        3 => (1..90_u64).prop_map(|secs| Pass::By(Millis::from_secs(secs))),
        3 => Just(Pass::UntilWake),
        1 => prop_oneof![9 => 10..90_u64, 1 => 13 * 60..15 * 60_u64]
            .prop_map(|minutes| Pass::By(Millis::from_secs(minutes * 60))),
    ];
    (pass, a_what()).prop_map(|(pass, what)| Move { pass, what })
}

fn a_what() -> impl Strategy<Value = What> {
    let cause = select(vec![CancelCause::Request, CancelCause::Overlap]);
    let ago = select(vec![60_u64, 600, 7200]).prop_map(Millis::from_secs);
    let unserved = (proptest::bool::weighted(0.8), ago).prop_map(|(own, ago)| RunInput::Unserved(own, ago));
    let of_run = prop_oneof![
        2 => Just(RunInput::Start),
        2 => (cause, asked()).prop_map(|(cause, asked)| RunInput::Cancel(cause, asked)),
        6 => (any::<Index>(), asked()).prop_map(|(pick, asked)| RunInput::Kill(pick, asked)),
        4 => (asked(), asked()).prop_map(|(pauses, retries)| RunInput::Pause(pauses, retries)),
        5 => asked().prop_map(RunInput::Resume),
        6 => asked().prop_map(RunInput::Retry),
        4 => Just(RunInput::Wake(None)),
        6 => any::<Index>().prop_map(|pick| RunInput::Wake(Some(pick))),
        6 => Just(RunInput::Sweep),
        4 => unserved,
    ];
    let agent = weighted(0.5, 0..3_u8);
    let report = (any::<Index>(), aims(), agent, prop::bool::weighted(0.1), a_report())
        .prop_map(|(pick, aim, agent, is_twin, report)| What::Report { pick, aim, agent, is_twin, report });
    prop_oneof![1 => of_run.prop_map(What::Of), 3 => report]
}

fn asked() -> impl Strategy<Value = Asked> {
    prop_oneof![
        8 => Just(Asked::Now),
        3 => Just(Asked::Before),
        1 => Just(Asked::LongBefore),
        1 => Just(Asked::Later),
    ]
}

fn aims() -> impl Strategy<Value = Aim> {
    prop_oneof![
        20 => Just(Aim::InFlight),
        3 => Just(Aim::Any),
        8 => (1..3_u32).prop_map(Aim::Received),
        3 => prop_oneof![1_u64..3, 600_000_u64..700_000].prop_map(Aim::Resent),
        1 => Just(Aim::OldReceive),
        1 => Just(Aim::OldIssue),
        1 => Just(Aim::OldAttempt),
        1 => Just(Aim::LaterAttempt),
        1 => Just(Aim::Unknown),
    ]
}

/// How an attempt may end: well, more often than not.
pub fn an_outcome() -> impl Strategy<Value = Outcome> {
    let error = |kind: &str| ErrorInfo::new(kind, "it did not work");
    prop_oneof![
        8 => (0..5_u32).prop_map(|number| Outcome::Succeeded { output: output(number) }),
        4 => Just(Outcome::Failed { error: error(RETRIED) }),
        1 => Just(Outcome::Failed { error: error(NEVER_RETRIED) }),
        2 => Just(Outcome::TimedOut { error: error("timeout.attempt") }),
        1 => Just(Outcome::Cancelled),
    ]
}

/// Mostly none, or one of a few; now and then a too large one.
fn a_checkpoint() -> impl Strategy<Value = Option<Value>> {
    prop_oneof![
        4 => Just(None),
        4 => (0..3_i64).prop_map(|rows| Some(rows.into())),
        1 => Just(Some("x".repeat(MAX_CHECKPOINT_BYTES).into())),
    ]
}

fn a_report() -> impl Strategy<Value = Report> {
    prop_oneof![
        3 => (0..3000_u64).prop_map(|ms| Report::Started(Millis(ms))),
        6 => (1..4_u32, prop::bool::weighted(0.1)).prop_map(|(asked, twice)| Report::Claim(asked, twice)),
        2 => (0..3000_u64, 1..4_u32).prop_map(|(ms, number)| Report::Renewed(Millis(ms), number)),
        2 => (0..100_u8, 0..4_u32, a_checkpoint())
            .prop_map(|(percent, number, checkpoint)| Report::Progressed(percent, number, checkpoint)),
        2 => (any::<bool>(), a_checkpoint()).prop_map(|(kept, checkpoint)| Report::HandedBack(kept, checkpoint)),
        8 => (an_outcome(), a_checkpoint()).prop_map(|(outcome, saved)| Report::Completed(outcome, saved)),
        1 => Just(Report::DeadLettered),
    ]
}

impl Pass {
    /// The instant after this much time has passed for that run.
    pub fn after(self, run: &Run, now: Timestamp) -> Timestamp {
        match self {
            Self::By(span) => now.plus(span),
            Self::UntilWake => run.wake_at.map_or(now, |wake| wake.max(now)),
        }
    }
}

impl What {
    /// The input that this is for that run at `now`.
    pub fn input(&self, run: &Run, now: Timestamp) -> Input {
        match self {
            Self::Of(of) => of.input(run, now),
            Self::Report { pick, aim, agent, is_twin, report } => {
                report.input(aim.report(run, *pick, (*agent, *is_twin)), now)
            }
        }
    }
}

impl RunInput {
    fn input(self, run: &Run, now: Timestamp) -> Input {
        match self {
            Self::Start => Input::Start,
            Self::Cancel(cause, asked) => {
                Input::Cancel { reason: "a test asked for it".into(), cause, retries: asked.number(run.retries) }
            }
            Self::Kill(pick, asked) => {
                let action = ActionIndex::from_usize(pick.index(run.actions.len() + 1));
                let reason = if action.0.is_multiple_of(2) { "a test asked for it" } else { "" };
                Input::Kill { action, reason: reason.into(), retries: asked.number(run.retries) }
            }
            Self::Pause(pauses, retries) => {
                Input::Pause { pauses: pauses.number(run.pauses), retries: retries.number(run.retries) }
            }
            Self::Resume(asked) => Input::Resume { pauses: asked.number(run.pauses) },
            Self::Retry(asked) => Input::Retry { retries: asked.number(run.retries) },
            Self::Wake(pick) => {
                let action = pick.map(|pick| ActionIndex::from_usize(pick.index(run.actions.len() + 1)));
                Input::Wake { action }
            }
            Self::Unserved(own, ago) => {
                let pool = if own { PoolName::default() } else { elsewhere() };
                Input::Unserved { pool, since: earlier(now, ago) }
            }
            Self::Sweep => Input::Sweep,
        }
    }
}

impl Asked {
    /// How often the run had been retried, or paused, that now has been so often.
    fn number(self, now: u32) -> u32 {
        match self {
            Self::Now => now,
            Self::Before => now.saturating_sub(1),
            Self::LongBefore => now.saturating_sub(2),
            Self::Later => now + 1,
        }
    }
}

impl Aim {
    fn report(self, run: &Run, pick: Index, (agent, is_twin): (Option<u8>, bool)) -> Of {
        let count = run.actions.len();
        let in_flight = |at: &usize| run.action(ActionIndex::from_usize(*at)).status.is_in_flight();
        let candidates: Vec<usize> = match self {
            Self::InFlight | Self::Received(_) | Self::Resent(_) | Self::OldReceive | Self::OldIssue => {
                (0..count).filter(in_flight).collect()
            }
            Self::Any | Self::OldAttempt | Self::LaterAttempt => Vec::new(),
            Self::Unknown => vec![count],
        };
        let at = if candidates.is_empty() { pick.index(count) } else { candidates[pick.index(candidates.len())] };
        let action = ActionIndex::from_usize(at);
        let twin = if is_twin { 5000 } else { 0 };
        if at >= count {
            return Of { action, delivery: Delivery::new(1, 0, 1), message: 1, agent: agent_of(agent.unwrap_or(0)) };
        }
        let state = run.action(action);
        let delivery = self.delivery(state.last);
        let agent = match (agent, &state.owner) {
            (None, Some(owner)) => owner.agent.clone(),
            (number, _) => agent_of(number.unwrap_or(0)),
        };
        Of { action, delivery, message: message_of(delivery) + twin, agent }
    }

    fn delivery(self, last: Delivery) -> Delivery {
        let Delivery { attempt, issue, receive } = last;
        match self {
            Self::InFlight | Self::Any | Self::Unknown => Delivery::new(attempt, issue, receive.max(1)),
            Self::Received(by) => Delivery::new(attempt, issue, receive + by),
            Self::Resent(by) => Delivery::new(attempt, issue + by, 1),
            Self::OldReceive => Delivery::new(attempt, issue, receive.saturating_sub(1).max(1)),
            Self::OldIssue => Delivery::new(attempt, issue.saturating_sub(1), receive.max(1)),
            Self::OldAttempt => Delivery::new(attempt.saturating_sub(1), issue, receive.max(1)),
            Self::LaterAttempt => Delivery::new(attempt + 1, 0, 1),
        }
    }
}

/// A hash of the id of the message by which that delivery came.
pub fn message_of(delivery: Delivery) -> u32 {
    1 + u32::try_from(delivery.issue % 1000).unwrap_or_default()
}

impl Report {
    fn input(&self, of: Of, now: Timestamp) -> Input {
        match self {
            Self::Started(ago) => Input::Started { of, started_at: earlier(now, *ago) },
            Self::Claim(asked, is_twice) => {
                let Of { action, delivery, message, agent } = of;
                let claim = Claim { action, delivery, message, asked: *asked };
                let again = Claim { asked: asked + 1, ..claim };
                Input::Claim { agent, claims: if *is_twice { vec![claim, again] } else { vec![claim] } }
            }
            Self::Renewed(ago, number) => Input::Renewed { of, started_at: earlier(now, *ago), number: *number },
            Self::Progressed(percent, number, checkpoint) => {
                let percent = Some(f64::from(*percent)).filter(|percent| *percent > 0.0);
                let progress = Progress { percent, message: None };
                Input::Progressed { of, number: *number, progress, checkpoint: checkpoint.clone() }
            }
            Self::HandedBack(kept, checkpoint) => Input::HandedBack { of, kept: *kept, checkpoint: checkpoint.clone() },
            Self::Completed(outcome, checkpoint) => {
                let (outcome, checkpoint) = (outcome.clone(), checkpoint.clone());
                Input::Completed { of, started_at: now, outcome, checkpoint }
            }
            Self::DeadLettered => {
                let Of { action, delivery, message, .. } = of;
                Input::DeadLettered { action, delivery, message, reason: "twenty deliveries".into() }
            }
        }
    }
}

/// The agent of that number.
///
/// # Panics
/// Never: the name is valid.
pub fn agent_of(number: u8) -> AgentId {
    AgentId::new(&format!("agent-{number}")).expect("a valid name")
}

/// A pool that no drawn action is of.
fn elsewhere() -> PoolName {
    PoolName::new("elsewhere").expect("a valid name")
}

fn earlier(now: Timestamp, ago: Millis) -> Timestamp {
    Timestamp::from_millis(now.as_millis().saturating_sub_unsigned(ago.0))
}
