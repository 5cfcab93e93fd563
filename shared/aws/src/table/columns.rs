//! States of actions, column by column: neighbouring numbers are alike, so they deflate to little.
//!
//! Each column is an array over the states, cut after its last value that is not the default. Times are in
//! milliseconds, each relative to the nearest other time. Agents are numbers into a list of names.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use windlass_domain::caller::Caller;
use windlass_domain::content::Apart;
use windlass_domain::delivery::Delivery;
use windlass_domain::ids::{ActionIndex, AgentId};
use windlass_domain::run::{ActionState, ActionStatus, ErrorInfo, Kill, Owner, Progress, Source, Unserved};
use windlass_domain::time::Timestamp;

use super::Damage;
use super::held::{Cell, Incoming, Outgoing, read_reference};

/// States, column by column.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Columns {
    /// How many states.
    #[serde(rename = "n")]
    count: usize,
    /// Indexes that are left out before each state's own.
    #[serde(rename = "i", skip_serializing_if = "Vec::is_empty")]
    gaps: Vec<u32>,
    #[serde(rename = "s", skip_serializing_if = "Vec::is_empty")]
    status: Vec<u8>,
    #[serde(rename = "r", skip_serializing_if = "Vec::is_empty")]
    ready: Vec<u8>,
    /// Of `last`: the attempt, the issue and the receive.
    #[serde(rename = "a", skip_serializing_if = "Vec::is_empty")]
    attempt: Vec<u32>,
    #[serde(rename = "k", skip_serializing_if = "Vec::is_empty")]
    issue: Vec<u64>,
    #[serde(rename = "R", skip_serializing_if = "Vec::is_empty")]
    receive: Vec<u32>,
    #[serde(rename = "b", skip_serializing_if = "Vec::is_empty")]
    attempt_base: Vec<u32>,
    /// Less the attempt.
    #[serde(rename = "f", skip_serializing_if = "Vec::is_empty")]
    fence: Vec<i64>,
    /// The names of the agents.
    #[serde(rename = "G", skip_serializing_if = "Vec::is_empty")]
    agents: Vec<String>,
    /// The place of the owner's agent in the names, from 1; 0: there is none.
    #[serde(rename = "g", skip_serializing_if = "Vec::is_empty")]
    agent: Vec<usize>,
    /// Since the last time in this column.
    #[serde(rename = "q", skip_serializing_if = "Vec::is_empty")]
    queued: Vec<Option<i64>>,
    /// Since `queued`.
    #[serde(rename = "l", skip_serializing_if = "Vec::is_empty")]
    first_queued: Vec<Option<i64>>,
    /// Since `queued`.
    #[serde(rename = "t", skip_serializing_if = "Vec::is_empty")]
    started: Vec<Option<i64>>,
    /// When the process manager got the owner's claim, since `started`.
    #[serde(rename = "h", skip_serializing_if = "Vec::is_empty")]
    heard: Vec<Option<i64>>,
    /// The hash of the owner's message.
    #[serde(rename = "m", skip_serializing_if = "Vec::is_empty")]
    message: Vec<u32>,
    /// The owner's renewals.
    #[serde(rename = "W", skip_serializing_if = "Vec::is_empty")]
    renewal: Vec<u32>,
    /// Since `started`, or `queued`.
    #[serde(rename = "e", skip_serializing_if = "Vec::is_empty")]
    finished: Vec<Option<i64>>,
    /// Since `queued`.
    #[serde(rename = "w", skip_serializing_if = "Vec::is_empty")]
    retry: Vec<Option<i64>>,
    /// Since the state before.
    #[serde(rename = "v", skip_serializing_if = "Vec::is_empty")]
    revision: Vec<i64>,
    /// The source of the last change.
    #[serde(rename = "y", skip_serializing_if = "Vec::is_empty")]
    source: Vec<Source>,
    #[serde(rename = "p", skip_serializing_if = "Vec::is_empty")]
    progress: Vec<Option<Progress>>,
    /// When, since `queued`, and the revision less the state's own.
    #[serde(rename = "u", skip_serializing_if = "Vec::is_empty")]
    unserved: Vec<Option<(i64, i64)>>,
    #[serde(rename = "N", skip_serializing_if = "Vec::is_empty")]
    progress_number: Vec<u32>,
    /// Cells, see [`super::held`].
    #[serde(rename = "c", skip_serializing_if = "Vec::is_empty")]
    checkpoint: Vec<Value>,
    /// The time since `queued`, the revision less the state's own, the reason, and the caller.
    #[serde(rename = "d", skip_serializing_if = "Vec::is_empty")]
    kill: Vec<Option<(i64, i64, String, Caller)>>,
    /// Since `queued`.
    #[serde(rename = "U", skip_serializing_if = "Vec::is_empty")]
    leased: Vec<Option<i64>>,
    #[serde(rename = "L", skip_serializing_if = "Vec::is_empty")]
    losses: Vec<Vec<Delivery>>,
    /// Cells, see [`super::held`].
    #[serde(rename = "o", skip_serializing_if = "Vec::is_empty")]
    output: Vec<Value>,
    /// Errors, see [`error_cell`].
    #[serde(rename = "x", skip_serializing_if = "Vec::is_empty")]
    error: Vec<Value>,
}

/// States that were read, some of whose values are in S3.
#[derive(Debug)]
pub(crate) struct Read {
    pub(crate) states: Vec<(ActionIndex, ActionState)>,
    wanted: Vec<(usize, Field, Apart)>,
}

/// A field whose value may be in S3.
#[derive(Debug, Clone, Copy)]
enum Field {
    Checkpoint,
    ErrorMessage,
}

impl Read {
    /// The values that must be read from S3.
    pub(crate) fn references(&self) -> impl Iterator<Item = Apart> {
        self.wanted.iter().map(|(.., reference)| *reference)
    }

    /// The states, with the values from S3 in their places.
    pub(crate) fn fill(mut self, incoming: &Incoming) -> Result<Vec<(ActionIndex, ActionState)>, Damage> {
        for (at, field, reference) in self.wanted {
            let value = incoming.get(&reference.digest).ok_or_else(|| Damage::broken("a payload was not read"))?;
            let state = &mut self.states[at].1;
            match field {
                Field::Checkpoint => state.checkpoint = Some(value.as_ref().clone()),
                Field::ErrorMessage => fill_error(state.error.as_mut(), value)?,
            }
        }
        Ok(self.states)
    }
}

/// Puts an error's message in its place.
pub(crate) fn fill_error(error: Option<&mut ErrorInfo>, message: &Value) -> Result<(), Damage> {
    let found = error.zip(message.as_str());
    let (error, message) = found.ok_or_else(|| Damage::broken("an error's message is not text"))?;
    message.clone_into(&mut error.message);
    Ok(())
}

/// An error as `0`, `[kind, message]`, or `[kind, hash, bytes]` when its message is in S3.
pub(crate) fn error_cell(error: Option<&ErrorInfo>, outgoing: &mut Outgoing) -> Value {
    let Some(ErrorInfo { kind, message }) = error else { return json!(0) };
    match outgoing.reference(&json!(message)) {
        Some(reference) => json!([kind, reference.digest.to_string(), reference.bytes]),
        None => json!([kind, message]),
    }
}

/// Reads an error; its message is empty if it must be read from S3 first.
pub(crate) fn read_error(cell: &Value) -> Result<(Option<ErrorInfo>, Option<Apart>), Damage> {
    if cell.as_u64() == Some(0) {
        return Ok((None, None));
    }
    let unknown = || Damage::broken("an error has an unknown form");
    let text = |value: &Value| value.as_str().map(str::to_owned).ok_or_else(unknown);
    match cell.as_array().map(Vec::as_slice) {
        Some([kind, message]) => Ok((Some(ErrorInfo { kind: text(kind)?, message: text(message)? }), None)),
        Some([kind, hash, bytes]) => {
            let error = ErrorInfo { kind: text(kind)?, message: String::new() };
            Ok((Some(error), Some(read_reference(hash, bytes)?)))
        }
        _ => Err(unknown()),
    }
}

impl Columns {
    /// Whether there is no state.
    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The columns of states, which come in the order of their indexes. Times are relative to `base`. Values that
    /// are too long go to `outgoing`.
    pub(crate) fn of<'a>(
        states: impl IntoIterator<Item = (usize, &'a ActionState)>,
        base: Timestamp,
        outgoing: &mut Outgoing,
    ) -> Self {
        let mut columns = Self::default();
        let mut writer = Writer { next: 0, queued: base, revision: 0 };
        for (index, state) in states {
            writer.push(&mut columns, index, state, outgoing);
        }
        columns.cut();
        columns
    }

    /// Leaves out defaults at the end of each column.
    fn cut(&mut self) {
        fn cut<T: PartialEq>(column: &mut Vec<T>, default: &T) {
            let kept = column.iter().rposition(|value| value != default).map_or(0, |at| at + 1);
            column.truncate(kept);
        }
        cut(&mut self.gaps, &0);
        cut(&mut self.status, &0);
        cut(&mut self.ready, &0);
        cut(&mut self.attempt, &0);
        cut(&mut self.issue, &0);
        cut(&mut self.receive, &0);
        cut(&mut self.attempt_base, &0);
        cut(&mut self.fence, &0);
        cut(&mut self.agent, &0);
        cut(&mut self.queued, &None);
        cut(&mut self.first_queued, &None);
        cut(&mut self.started, &None);
        cut(&mut self.heard, &None);
        cut(&mut self.message, &0);
        cut(&mut self.renewal, &0);
        cut(&mut self.finished, &None);
        cut(&mut self.retry, &None);
        cut(&mut self.revision, &0);
        cut(&mut self.source, &Source::Itself);
        cut(&mut self.progress, &None);
        cut(&mut self.unserved, &None);
        cut(&mut self.progress_number, &0);
        cut(&mut self.checkpoint, &json!(0));
        cut(&mut self.kill, &None);
        cut(&mut self.leased, &None);
        cut(&mut self.losses, &Vec::new());
        cut(&mut self.output, &json!(0));
        cut(&mut self.error, &json!(0));
    }

    /// Reads the states; `most` is how many there can be.
    pub(crate) fn read(self, base: Timestamp, most: usize) -> Result<Read, Damage> {
        if self.count > most {
            return Err(Damage::broken(format_args!("it has {} states of {most} actions", self.count)));
        }
        let mut reader = Reader { columns: self, next: 0, queued: base, revision: 0 };
        let mut read = Read { states: Vec::with_capacity(reader.columns.count), wanted: Vec::new() };
        for at in 0..reader.columns.count {
            reader.read(at, &mut read)?;
        }
        Ok(read)
    }
}

/// The values of the state before, to which those of the next state are relative.
struct Writer {
    next: usize,
    queued: Timestamp,
    revision: u64,
}

fn since(at: Timestamp, base: Timestamp) -> i64 {
    at.as_millis().wrapping_sub(base.as_millis())
}

fn after(base: Timestamp, span: i64) -> Timestamp {
    Timestamp::from_millis(base.as_millis().wrapping_add(span))
}

impl Writer {
    fn push(&mut self, columns: &mut Columns, index: usize, state: &ActionState, outgoing: &mut Outgoing) {
        columns.count += 1;
        columns.gaps.push(u32::try_from(index - self.next).unwrap_or(u32::MAX));
        self.next = index + 1;
        columns.status.push(status_number(state.status));
        columns.ready.push(u8::from(state.ready));
        columns.attempt.push(state.last.attempt);
        columns.issue.push(state.last.issue);
        columns.receive.push(state.last.receive);
        columns.attempt_base.push(state.attempt_base);
        columns.fence.push(state.fence.cast_signed().wrapping_sub(i64::from(state.last.attempt)));
        columns.queued.push(state.queued_at.map(|at| since(at, self.queued)));
        self.queued = state.queued_at.unwrap_or(self.queued);
        self.push_owner(columns, state.owner.as_ref());
        let began = state.owner.as_ref().map_or(self.queued, |owner| owner.started_at);
        columns.first_queued.push(state.first_queued_at.map(|at| since(at, self.queued)));
        columns.finished.push(state.finished_at.map(|at| since(at, began)));
        columns.retry.push(state.retry_at.map(|at| since(at, self.queued)));
        self.push_marks(columns, state.revision, state.unserved.as_ref(), state.kill.as_ref());
        columns.revision.push(state.revision.wrapping_sub(self.revision).cast_signed());
        self.revision = state.revision;
        columns.source.push(state.source);
        columns.progress.push(state.progress.clone());
        columns.progress_number.push(state.progress_number);
        let mut cell = |value: &Option<Value>| value.as_ref().map_or(json!(0), |value| outgoing.cell(value));
        columns.checkpoint.push(cell(&state.checkpoint));
        columns.losses.push(state.losses.clone());
        columns.output.push(state.output.as_ref().map_or(json!(0), |output| outgoing.held(output)));
        columns.error.push(error_cell(state.error.as_ref(), outgoing));
    }

    fn push_owner(&self, columns: &mut Columns, owner: Option<&Owner>) {
        columns.agent.push(owner.map_or(0, |owner| place_of(&mut columns.agents, owner.agent.as_str())));
        columns.started.push(owner.map(|owner| since(owner.started_at, self.queued)));
        let heard = owner.filter(|owner| owner.since.as_millis() != 0);
        columns.heard.push(heard.map(|owner| since(owner.since, owner.started_at)));
        columns.message.push(owner.map_or(0, |owner| owner.message));
        columns.leased.push(owner.and_then(|owner| owner.until).map(|at| since(at, self.queued)));
        columns.renewal.push(owner.map_or(0, |owner| owner.renewal));
    }

    /// The other marks of the action, relative to its queueing and to the state's own revision.
    fn push_marks(&self, columns: &mut Columns, own: u64, unserved: Option<&Unserved>, kill: Option<&Kill>) {
        let later = |revision: u64| revision.wrapping_sub(own).cast_signed();
        columns.unserved.push(unserved.map(|told| (since(told.since, self.queued), later(told.revision))));
        let kill = kill
            .map(|kill| (since(kill.at, self.queued), later(kill.revision), kill.reason.clone(), kill.caller.clone()));
        columns.kill.push(kill);
    }
}

/// The place of a name in the list, from 1; it is added if it is not there.
fn place_of(names: &mut Vec<String>, name: &str) -> usize {
    let place = names.iter().position(|known| known == name).unwrap_or_else(|| {
        names.push(name.to_owned());
        names.len() - 1
    });
    place + 1
}

struct Reader {
    columns: Columns,
    next: usize,
    queued: Timestamp,
    revision: u64,
}

impl Reader {
    fn read(&mut self, at: usize, read: &mut Read) -> Result<(), Damage> {
        let columns = &mut self.columns;
        let index = self.next.saturating_add(value(&columns.gaps, at) as usize);
        self.next = index.saturating_add(1);
        let span = |column: &[Option<i64>]| column.get(at).copied().flatten();
        let queued_at = span(&columns.queued).map(|span| after(self.queued, span));
        self.queued = queued_at.unwrap_or(self.queued);
        let owner = read_owner(columns, at, self.queued)?;
        let began = owner.as_ref().map_or(self.queued, |owner| owner.started_at);
        self.revision = self.revision.wrapping_add(value(&columns.revision, at).cast_unsigned());
        let (unserved, kill) = read_marks(columns, at, self.queued, self.revision);
        let attempt = value(&columns.attempt, at);
        let fence = value(&columns.fence, at).wrapping_add(i64::from(attempt)).cast_unsigned();
        let mut held = |column: &mut Vec<Value>, field| match column.get_mut(at).map(Value::take).map(Cell::read) {
            None | Some(Ok(Cell::Absent)) => Ok(None),
            Some(Ok(Cell::Inline(value))) => Ok(Some(value)),
            Some(Ok(Cell::Kept(reference))) => {
                read.wanted.push((at, field, reference));
                Ok(None)
            }
            Some(Err(damage)) => Err(damage),
        };
        let checkpoint = held(&mut columns.checkpoint, Field::Checkpoint)?;
        let output = columns.output.get_mut(at).map(Value::take).map(Cell::read).transpose()?.and_then(Cell::held);
        let (error, message) = columns.error.get(at).map_or(Ok((None, None)), read_error)?;
        read.wanted.extend(message.map(|reference| (at, Field::ErrorMessage, reference)));
        let state = ActionState {
            status: status_of(value(&columns.status, at))?,
            ready: value(&columns.ready, at) > 0,
            last: Delivery::new(attempt, value(&columns.issue, at), value(&columns.receive, at)),
            attempt_base: value(&columns.attempt_base, at),
            fence,
            owner,
            first_queued_at: span(&columns.first_queued).map(|span| after(self.queued, span)),
            queued_at,
            finished_at: span(&columns.finished).map(|span| after(began, span)),
            retry_at: span(&columns.retry).map(|span| after(self.queued, span)),
            revision: self.revision,
            source: columns.source.get(at).copied().unwrap_or_default(),
            progress: columns.progress.get_mut(at).and_then(Option::take),
            unserved,
            progress_number: value(&columns.progress_number, at),
            checkpoint,
            kill,
            losses: columns.losses.get_mut(at).map(std::mem::take).unwrap_or_default(),
            output,
            error,
        };
        read.states.push((ActionIndex::from_usize(index), state));
        Ok(())
    }
}

/// The marks that `push_marks` wrote.
fn read_marks(columns: &mut Columns, at: usize, queued: Timestamp, own: u64) -> (Option<Unserved>, Option<Kill>) {
    let revision = |later: i64| own.wrapping_add(later.cast_unsigned());
    let unserved = columns.unserved.get(at).copied().flatten();
    let unserved = unserved.map(|(span, later)| Unserved { since: after(queued, span), revision: revision(later) });
    let kill = columns.kill.get_mut(at).and_then(Option::take);
    let kill = kill.map(|(span, later, reason, caller)| {
        let (at, revision) = (after(queued, span), revision(later));
        Kill { at, revision, reason, caller }
    });
    (unserved, kill)
}

/// The owner that `push_owner` wrote.
fn read_owner(columns: &Columns, at: usize, queued: Timestamp) -> Result<Option<Owner>, Damage> {
    let Some(agent) = agent_of(&columns.agents, value(&columns.agent, at))? else { return Ok(None) };
    let span = |column: &[Option<i64>]| column.get(at).copied().flatten();
    let started_at = after(queued, span(&columns.started).unwrap_or_default());
    Ok(Some(Owner {
        agent,
        started_at,
        since: span(&columns.heard).map_or(Timestamp::from_millis(0), |span| after(started_at, span)),
        message: value(&columns.message, at),
        until: span(&columns.leased).map(|span| after(queued, span)),
        renewal: value(&columns.renewal, at),
    }))
}

fn value<T: Copy + Default>(column: &[T], at: usize) -> T {
    column.get(at).copied().unwrap_or_default()
}

fn agent_of(names: &[String], place: usize) -> Result<Option<AgentId>, Damage> {
    let Some(place) = place.checked_sub(1) else { return Ok(None) };
    let name = names.get(place).ok_or_else(|| Damage::broken("an agent has no name"))?;
    AgentId::new(name).map(Some).map_err(Damage::broken)
}

/// A status as it is stored. These numbers never change.
fn status_number(status: ActionStatus) -> u8 {
    match status {
        ActionStatus::Waiting => 0,
        ActionStatus::Queued => 1,
        ActionStatus::Running => 2,
        ActionStatus::RetryWaiting => 3,
        ActionStatus::Succeeded => 4,
        ActionStatus::Failed => 5,
        ActionStatus::TimedOut => 6,
        ActionStatus::Skipped => 7,
        ActionStatus::Cancelled => 8,
    }
}

fn status_of(number: u8) -> Result<ActionStatus, Damage> {
    const ALL: [ActionStatus; 9] = [
        ActionStatus::Waiting,
        ActionStatus::Queued,
        ActionStatus::Running,
        ActionStatus::RetryWaiting,
        ActionStatus::Succeeded,
        ActionStatus::Failed,
        ActionStatus::TimedOut,
        ActionStatus::Skipped,
        ActionStatus::Cancelled,
    ];
    let found = ALL.into_iter().find(|status| status_number(*status) == number);
    found.ok_or_else(|| Damage::broken(format_args!("an action has the unknown status {number}")))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::samples::{a_state, incoming_of};
    use super::*;

    proptest! {
        #[test]
        fn states_round_trip(
            states in proptest::collection::btree_map(0..10_000_usize, a_state(), 0..80),
            base in any::<i64>(),
        ) {
            let (base, mut outgoing) = (Timestamp::from_millis(base), Outgoing::default());
            let columns = Columns::of(states.iter().map(|(at, state)| (*at, state)), base, &mut outgoing);
            let text = serde_json::to_string(&columns).unwrap();
            let columns: Columns = serde_json::from_str(&text).unwrap();
            let read = columns.read(base, 10_000).unwrap().fill(&incoming_of(&outgoing)).unwrap();
            let read: Vec<_> = read.into_iter().map(|(index, state)| (index.as_usize(), state)).collect();
            prop_assert_eq!(read, states.into_iter().collect::<Vec<_>>());
        }
    }

    #[test]
    fn defaults_take_no_room() {
        let (state, mut outgoing) = (ActionState::default(), Outgoing::default());
        let columns = Columns::of((0..64).map(|at| (at, &state)), Timestamp::from_millis(0), &mut outgoing);
        assert_eq!(serde_json::to_string(&columns).unwrap(), r#"{"n":64}"#);
    }

    #[test]
    fn damaged_columns_are_reported() {
        let check = |text: &str| {
            let columns: Columns = serde_json::from_str(text).unwrap();
            let read = columns.read(Timestamp::from_millis(0), 10);
            assert!(matches!(read, Err(Damage::Broken(_))), "{text}: {read:?}");
        };
        check(r#"{"n":11}"#);
        check(r#"{"n":1,"s":[9]}"#);
        check(r#"{"n":1,"g":[1]}"#);
        check(r#"{"n":1,"G":["not a name"],"g":[1]}"#);
        check(r#"{"n":1,"c":[[]]}"#);
        check(r#"{"n":1,"o":[[]]}"#);
        check(r#"{"n":1,"x":[["kind"]]}"#);
        assert!(serde_json::from_str::<Columns>(r#"{"n":1,"later":[1]}"#).is_err(), "a field of a later version");
    }
}
