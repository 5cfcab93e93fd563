//! The turns of a task's schedule: an aggregate. Each due time gets a run, waits for its turn, or is passed over.
//!
//! The record of the task keeps the turns. A run whose id is derived from its due time shows that this due time had its
//! turn. So a due time is neither lost nor run twice, however often its message comes.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::overlap::{self, Active, Fate, Turns};
use crate::aggregate::{Aggregate, Change};
use crate::attempt::ErrorInfo;
use crate::caller::Caller;
use crate::content::Wanted;
use crate::definition::{Definition, Overlap, Schedule};
use crate::ids::{TaskName, TaskVersion};
use crate::instant;
use crate::limits::LOST_TURN_WITHIN_MS;
use crate::time::{Millis, Timestamp};

/// What changes about a task: its newest version, its schedule's place, and whose turn it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskRecord {
    /// The task's name.
    pub name: TaskName,
    /// The number of writes of this record.
    pub revision: u64,
    /// The newest version; runs that name none are of this one.
    pub version: TaskVersion,
    /// It has been deleted: it starts no runs, and its open runs go on.
    #[serde(default)]
    pub deleted: bool,
    /// When the newest version was written.
    pub updated_at: Timestamp,
    /// The next due time of its schedule; absent: it has none, or none is left. Only the engine's own scheduler moves
    /// it on: where a service keeps the time, it stays as it was put, and what is shown is computed.
    #[serde(default)]
    pub next_due: Option<Timestamp>,
    /// The due time that had the last turn, under any policy but `allow`. Its run, whose id is derived from it, may
    /// have ended.
    #[serde(default)]
    pub active: Option<Timestamp>,
    /// Due times that wait for their turn, the earliest first.
    #[serde(default)]
    pub waiting: Vec<Timestamp>,
    /// Due times that were passed over, the earliest first: the newest of them, see [`Turns::passed_over`].
    #[serde(default)]
    pub passed_over: Vec<Timestamp>,
}

/// Something that happened to a task's schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum TaskInput {
    /// A due time has come.
    Due {
        /// Which, in milliseconds since the epoch or as RFC 3339, which is how `EventBridge` Scheduler writes
        /// `<aws.scheduler.scheduled-time>`.
        #[serde(deserialize_with = "instant::read")]
        #[schemars(with = "instant::Written")]
        nominal: Timestamp,
    },
    /// A run of the schedule has ended: the earliest due time that waits may have its turn.
    Ended,
}

/// What a decision about turns reads beside the record.
#[derive(Debug, Clone)]
pub struct Circumstances {
    /// The task's newest version.
    pub definition: Arc<Definition>,
    /// The runs of the due times that matter here: of the one with the last turn, and of those that come. A due time that
    /// is missing here has no run.
    pub runs: BTreeMap<Timestamp, DueRun>,
}

/// Where the run of a due time stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DueRun {
    /// It exists, and no agent has reported some attempt of its start, which began so long ago.
    Unheard(Option<Millis>),
    /// It goes on.
    Open,
    /// It has ended.
    Ended,
}

/// What was decided about a due time.
#[derive(Debug, Clone, PartialEq)]
pub struct TurnFact {
    /// When that was decided.
    pub at: Timestamp,
    /// The due time.
    pub nominal: Timestamp,
    /// What becomes of it.
    pub fate: Fate,
}

/// What a decision about turns sends. Sending it twice does no harm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TurnCommand {
    /// The process manager starts the run of this due time, unless it exists by now.
    Start {
        /// Which.
        nominal: Timestamp,
    },
    /// The run of this due time gets its start again: no agent has reported some attempt of it.
    StartAgain {
        /// Which.
        nominal: Timestamp,
        /// How long ago the run began; none: it has yet to begin.
        age: Option<Millis>,
    },
    /// This due time waits for the end of a run. If that run has ended meanwhile, the task gets the input
    /// [`TaskInput::Ended`].
    Follow {
        /// The due time of the open run.
        active: Timestamp,
        /// The due time that waits.
        nominal: Timestamp,
        /// Whether the open run is to be cancelled.
        cancel: bool,
    },
    /// The task gets this due time as an input of its own.
    Ask {
        /// Which.
        nominal: Timestamp,
    },
}

impl Aggregate for TaskRecord {
    type Id = TaskName;
    type Input = TaskInput;
    type Context = Circumstances;
    type Fact = TurnFact;
    type Command = TurnCommand;
    type Refusal = Infallible;

    fn id(&self) -> &TaskName {
        &self.name
    }

    fn revision(&self) -> u64 {
        self.revision
    }

    fn set_revision(&mut self, revision: u64) {
        self.revision = revision;
    }

    fn decide(&self, context: &Circumstances, input: &TaskInput, _: &Caller, now: Timestamp) -> Change<Self> {
        let mut draft = Draft { record: self.clone(), context, now, facts: Vec::new(), commands: Vec::new() };
        match (self.deleted, input) {
            // It starts nothing. What waits is dropped, so that it does not start if the task is put again.
            (true, _) => draft.record.waiting.clear(),
            (false, TaskInput::Due { nominal }) => draft.due(*nominal),
            (false, TaskInput::Ended) => draft.take_turns(None),
        }
        let Draft { record, facts, commands, .. } = draft;
        let (again, wanted) = (Vec::new(), Wanted::new());
        Change { after: record, facts, again, commands, evaluated: 0, wanted, answer: Ok(()) }
    }
}

impl TaskRecord {
    /// The record after its clock was set back: its place in the schedule is where it was moved by a clock that was ahead.
    /// The next due time counts again, and nothing that was decided about one that has yet to come; one that has its run keeps
    /// it. None: nothing is to be set right.
    pub fn put_back(&self, schedule: &Schedule, now: Timestamp) -> Option<Self> {
        let next_due = schedule.next_after(now).filter(|due| self.next_due.is_some_and(|place| *due < place))?;
        let come = |times: &[Timestamp]| times.iter().copied().filter(|time| *time <= now).collect();
        let (waiting, passed_over) = (come(&self.waiting), come(&self.passed_over));
        Some(Self { next_due: Some(next_due), waiting, passed_over, revision: self.revision + 1, ..self.clone() })
    }
}

/// One decision in the making.
struct Draft<'a> {
    record: TaskRecord,
    context: &'a Circumstances,
    now: Timestamp,
    facts: Vec<TurnFact>,
    commands: Vec<TurnCommand>,
}

impl Draft<'_> {
    fn due(&mut self, nominal: Timestamp) {
        match self.context.runs.get(&nominal) {
            // It had its turn.
            Some(DueRun::Unheard(age)) => self.commands.push(TurnCommand::StartAgain { nominal, age: *age }),
            Some(DueRun::Open | DueRun::Ended) => {}
            None => self.take_turns(Some(nominal)),
        }
    }

    /// Decides about the due time that is asked about, and before it about those that wait. None: about those alone.
    fn take_turns(&mut self, asked: Option<Timestamp>) {
        if scheduled_input(&self.context.definition).is_err() {
            return self.pass_over(asked);
        }
        self.begin_active(asked);
        let policy = overlap_of(&self.context.definition);
        // Each round but the last starts the run of a due time that waited.
        for _ in 0..self.record.waiting.len() + 2 {
            let turns = self.turns();
            let fate = asked.map_or_else(|| overlap::next(&turns), |nominal| overlap::due(&turns, policy, nominal));
            let about = match (&fate, asked) {
                (Fate::Start { nominal, .. }, _) => *nominal,
                (Fate::Wait { .. } | Fate::PassOver, Some(nominal)) => nominal,
                (Fate::Wait { .. } | Fate::PassOver, None) | (Fate::Nothing, _) => return,
            };
            self.decided(about, fate);
            if asked == Some(about) {
                return;
            }
        }
    }

    /// No run of this version starts by itself. Each due time is passed over by an input of its own, which comes again
    /// until its event is published.
    fn pass_over(&mut self, asked: Option<Timestamp>) {
        if let Some(nominal) = asked {
            self.emit(nominal, Fate::PassOver);
        }
        let lost = self.record.active.filter(|active| self.is_lost(*active));
        let next = lost.or_else(|| self.record.waiting.first().copied());
        self.commands.extend(next.map(|nominal| TurnCommand::Ask { nominal }));
    }

    /// A process may have taken the last turn and died before it wrote the run, or before it sent its start. Then it is
    /// done here, whether or not that process's message comes again.
    fn begin_active(&mut self, asked: Option<Timestamp>) {
        let Some(nominal) = self.record.active.filter(|active| Some(*active) != asked) else { return };
        match self.context.runs.get(&nominal) {
            None if self.is_lost(nominal) => self.decided(nominal, Fate::Start { nominal, takes_turn: true }),
            Some(DueRun::Unheard(age)) => self.commands.push(TurnCommand::StartAgain { nominal, age: *age }),
            None | Some(DueRun::Open | DueRun::Ended) => {}
        }
    }

    /// Whether a due time had its turn and has yet to have a run. The run of an older turn has ended, and was deleted.
    fn is_lost(&self, active: Timestamp) -> bool {
        let age = self.now.since(active);
        !self.context.runs.contains_key(&active) && age < Millis(LOST_TURN_WITHIN_MS)
    }

    fn decided(&mut self, nominal: Timestamp, fate: Fate) {
        let command = match &fate {
            Fate::Start { .. } => Some(TurnCommand::Start { nominal }),
            Fate::Wait { cancel_active, .. } => {
                let follow = |active| TurnCommand::Follow { active, nominal, cancel: *cancel_active };
                self.record.active.map(follow)
            }
            Fate::PassOver | Fate::Nothing => None,
        };
        self.commands.extend(command);
        self.emit(nominal, fate);
    }

    fn emit(&mut self, nominal: Timestamp, fate: Fate) {
        let fact = TurnFact { at: self.now, nominal, fate };
        let Turns { active, waiting, passed_over } = self.turns().after(nominal, &fact.fate);
        let record = &mut self.record;
        (record.active, record.waiting, record.passed_over) =
            (active.map(|active| active.nominal), waiting, passed_over);
        self.facts.push(fact);
    }

    /// The turns as they stand. A run that is not there yet counts as open.
    fn turns(&self) -> Turns {
        let is_open = |nominal: Timestamp| match self.context.runs.get(&nominal) {
            Some(DueRun::Unheard(_) | DueRun::Open) => true,
            Some(DueRun::Ended) => false,
            None => self.is_lost(nominal),
        };
        let active =
            self.record.active.map(|nominal| Active { nominal, open: is_open(nominal), is_ahead: nominal > self.now });
        let (waiting, passed_over) = (self.record.waiting.clone(), self.record.passed_over.clone());
        Turns { active, waiting, passed_over }
    }
}

/// What becomes of a due time while an earlier run of the task is open.
pub fn overlap_of(definition: &Definition) -> Overlap {
    definition.schedule.as_ref().map_or(Overlap::default(), |schedule| schedule.overlap)
}

/// The input of a scheduled run: the schema's defaults. An error says why no due time of this version can start.
pub fn scheduled_input(definition: &Definition) -> Result<Value, ErrorInfo> {
    if definition.schedule.is_none() {
        return Err(ErrorInfo::new("schedule.removed", "the task's newest version has no schedule"));
    }
    definition.check_input(json!({})).map_err(|faults| ErrorInfo::new("input.invalid", faults.to_string()))
}
