//! The item of a run: the fields that change, the states of actions that are newer than their page, and the places of
//! the pages.
//!
//! The packed body does not repeat the values of attributes: the run's id (`pk`), its task (`list_key`), its revision
//! (`r`) and its submission time (`submitted_at`).

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use windlass_domain::caller::Caller;
use windlass_domain::content::{Apart, Content};
use windlass_domain::ids::{RunId, TaskName};
use windlass_domain::keep::Keep;
use windlass_domain::limits::MAX_ACTIONS;
use windlass_domain::run::{CancelCause, Cancellation, ErrorInfo, Origin, Pages, Run, RunStatus, Source};
use windlass_domain::time::{Millis, Timestamp};

use super::columns::{Columns, Read, error_cell, fill_error, read_error};
use super::held::{Cell, Incoming, Outgoing};
use super::place::{Place, SLOTS};
use super::{
    BODY, DUE_AT, DUE_SHARD, Damage, EXPIRES_AT, Item, LIST_KEY, PK, REVISION, SUBMITTED_AT, key, number, packing,
    read_bytes, read_number, read_optional, read_text, text,
};

/// Shards of the index of due runs: each takes 1,000 write units a second
/// (<https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/bp-partition-key-design.html>).
pub(crate) const DUE_SHARDS: u8 = 8;

/// The sort key of a head.
pub(crate) const SORT: &str = "HEAD";
const PARTITION: &str = "RUN#";

/// The partition key of a run's items.
pub(crate) fn partition(id: RunId) -> String {
    format!("{PARTITION}{id}")
}

/// The key of a head.
pub(crate) fn head_key(id: RunId) -> Item {
    key(partition(id), SORT)
}

/// The name of a run in error messages.
pub(crate) fn subject(id: RunId) -> String {
    format!("run {id}")
}

/// The run whose item it is.
pub(crate) fn run_of(item: &Item) -> Result<RunId, Damage> {
    let id = read_text(item, PK)?.strip_prefix(PARTITION).and_then(|id| id.parse().ok());
    id.ok_or(Damage::Attribute(PK))
}

/// The shard of the index of due runs.
pub(crate) fn shard(number: u8) -> String {
    format!("D#{number}")
}

/// The shard that a run is in.
pub(crate) fn shard_of(id: RunId) -> String {
    shard(id.as_uuid().as_bytes()[15] % DUE_SHARDS)
}

/// The parts of a head beside the run's own fields.
pub(crate) struct Beside {
    /// Where each page is stored; none: all its states are the default, apart from the recent ones.
    pub(crate) directory: Vec<Option<Place>>,
    /// The states that are newer than their page.
    pub(crate) recent: Columns,
    /// When it is written.
    pub(crate) committed_at: Timestamp,
    /// When the sweeper must look at it; none: it is not in the index of due runs.
    pub(crate) due_at: Option<Timestamp>,
    /// When it may be deleted, in seconds since the epoch.
    pub(crate) expires_at: Option<i64>,
}

/// The item of a run. Values that are too long go to `outgoing`.
///
/// # Panics
/// Never: the body is plain data.
pub(crate) fn encode(run: &Run, beside: Beside, outgoing: &mut Outgoing) -> Item {
    let mut item = head_key(run.id);
    item.insert(LIST_KEY.to_owned(), text(run.task.as_str()));
    item.insert(SUBMITTED_AT.to_owned(), number(run.submitted_at.as_millis()));
    item.insert(REVISION.to_owned(), number(run.revision));
    if let Some(due_at) = beside.due_at {
        item.insert(DUE_SHARD.to_owned(), text(shard_of(run.id)));
        item.insert(DUE_AT.to_owned(), number(due_at.as_millis()));
    }
    if let Some(expires_at) = beside.expires_at {
        item.insert(EXPIRES_AT.to_owned(), number(expires_at));
    }
    let body = Body::of(run, beside, outgoing);
    let body = packing::pack(&serde_json::to_vec(&body).expect("bodies are plain data"));
    item.insert(BODY.to_owned(), AttributeValue::B(Blob::new(body)));
    item
}

/// A head as it was read.
#[derive(Debug)]
pub(crate) struct Head {
    /// The run, without its actions and without its values in S3.
    run: Run,
    /// How many actions it has.
    pub(crate) actions: usize,
    /// Where its pages are.
    pub(crate) directory: Vec<Option<Place>>,
    /// The states that are newer than their page.
    recent: Read,
    wanted: Vec<(Field, Apart)>,
    /// When it was written.
    pub(crate) committed_at: Timestamp,
    /// When the sweeper is to look at it.
    pub(crate) due_at: Option<Timestamp>,
    /// When it may be deleted, in seconds since the epoch.
    pub(crate) expires_at: Option<i64>,
}

/// A field whose value may be in S3.
#[derive(Debug, Clone, Copy)]
enum Field {
    Output,
    ErrorMessage,
}

/// Reads a head, without its values in S3.
pub(crate) fn decode(item: &Item) -> Result<Head, Damage> {
    let json = packing::unpack(read_bytes(item, BODY)?)?;
    let body: Body = serde_json::from_slice(&json).map_err(Damage::broken)?;
    body.read(item)
}

impl Head {
    /// The run's fields, without its actions and without its values in S3.
    pub(crate) fn bare(&self) -> &Run {
        &self.run
    }

    /// The values that must be read from S3.
    pub(crate) fn references(&self) -> impl Iterator<Item = Apart> {
        self.wanted.iter().map(|(_, reference)| *reference).chain(self.recent.references())
    }

    /// The run, with its pages laid under the recent states and with the values from S3 in their places. Also gives the
    /// indexes of the recent states.
    pub(crate) fn fill(self, mut pages: Pages, incoming: &Incoming) -> Result<(Run, Vec<usize>), Damage> {
        let mut run = self.run;
        for (field, reference) in self.wanted {
            let value = incoming.get(&reference.digest).ok_or_else(|| Damage::broken("a payload was not read"))?;
            match field {
                Field::Output => run.output = Some(value.as_ref().clone()),
                Field::ErrorMessage => fill_error(run.error.as_mut(), value)?,
            }
        }
        let recent = self.recent.fill(incoming)?;
        let indexes = recent.iter().map(|(index, _)| index.as_usize()).collect();
        let unknown = |index: windlass_domain::ids::ActionIndex| Damage::broken(format_args!("no action {}", index.0));
        pages.overlay(recent).map_err(unknown)?;
        run.actions = pages;
        Ok((run, indexes))
    }
}

/// The packed body. Times are in milliseconds since the run was submitted.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    #[serde(rename = "v")]
    version: u32,
    /// The nominal time of a run that its schedule asked for.
    #[serde(rename = "o", default, skip_serializing_if = "Option::is_none")]
    nominal: Option<i64>,
    #[serde(rename = "s")]
    status: u8,
    /// A cell, see [`super::held`].
    #[serde(rename = "i")]
    input: Value,
    /// A cell.
    #[serde(rename = "u", default = "absent", skip_serializing_if = "is_absent")]
    output: Value,
    /// An error, see [`error_cell`].
    #[serde(rename = "x", default = "absent", skip_serializing_if = "is_absent")]
    error: Value,
    #[serde(rename = "b", default, skip_serializing_if = "Option::is_none")]
    started: Option<i64>,
    #[serde(rename = "e", default, skip_serializing_if = "Option::is_none")]
    finished: Option<i64>,
    #[serde(rename = "d", default, skip_serializing_if = "Option::is_none")]
    deadline: Option<i64>,
    #[serde(rename = "w", default, skip_serializing_if = "Option::is_none")]
    wake: Option<i64>,
    /// How long it is kept after its end: succeeded, failed.
    #[serde(rename = "K", default, skip_serializing_if = "Option::is_none")]
    keep: Option<(Option<Millis>, Option<Millis>)>,
    #[serde(rename = "c", default, skip_serializing_if = "Option::is_none")]
    cancellation: Option<(i64, u8, String, Caller, u64, Source)>,
    /// Who asked for the run; absent: the host.
    #[serde(rename = "C", default, skip_serializing_if = "Option::is_none")]
    caller: Option<Caller>,
    #[serde(rename = "S", default, skip_serializing_if = "Option::is_none")]
    status_caller: Option<Caller>,
    #[serde(rename = "R", default, skip_serializing_if = "Option::is_none")]
    retried_by: Option<Caller>,
    #[serde(rename = "y", default, skip_serializing_if = "is_zero")]
    retries: u32,
    #[serde(rename = "j", default, skip_serializing_if = "is_zero")]
    pauses: u32,
    #[serde(rename = "z", default, skip_serializing_if = "is_zero_revision")]
    status_revision: u64,
    #[serde(rename = "t", default, skip_serializing_if = "is_zero_revision")]
    start_revision: u64,
    #[serde(rename = "P", default, skip_serializing_if = "Source::is_itself")]
    status_source: Source,
    #[serde(rename = "p", default, skip_serializing_if = "is_zero")]
    open: u32,
    #[serde(rename = "q", default, skip_serializing_if = "is_zero")]
    in_flight: u32,
    #[serde(rename = "r", default, skip_serializing_if = "is_zero")]
    ready: u32,
    #[serde(rename = "f", default, skip_serializing_if = "is_zero")]
    ready_from: u32,
    #[serde(rename = "l", default, skip_serializing_if = "is_zero")]
    failed: u32,
    #[serde(rename = "m", default, skip_serializing_if = "is_zero")]
    faults: u32,
    #[serde(rename = "k")]
    committed: i64,
    #[serde(rename = "n")]
    actions: usize,
    /// The generations of the pages, each less the one before; a page that was never written has 0.
    #[serde(rename = "g", default, skip_serializing_if = "Vec::is_empty")]
    generations: Vec<i64>,
    /// The slots of the pages.
    #[serde(rename = "h", default, skip_serializing_if = "Vec::is_empty")]
    slots: Vec<u8>,
    #[serde(rename = "a", default, skip_serializing_if = "Columns::is_empty")]
    recent: Columns,
}

fn absent() -> Value {
    json!(0)
}

fn is_absent(cell: &Value) -> bool {
    *cell == absent()
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
fn is_zero_revision(number: &u64) -> bool {
    *number == 0
}

/// The due time of a run that a schedule has started.
fn nominal_of(origin: &Origin) -> Option<Timestamp> {
    match origin {
        Origin::Request => None,
        Origin::Schedule { nominal } => Some(*nominal),
    }
}

impl Body {
    fn of(run: &Run, beside: Beside, outgoing: &mut Outgoing) -> Self {
        let since = |at: Timestamp| at.as_millis().wrapping_sub(run.submitted_at.as_millis());
        let (generations, slots) = write_directory(&beside.directory);
        let cancelled = |of: &Cancellation| {
            (since(of.at), cause_number(of.cause), of.reason.clone(), of.caller.clone(), of.revision, of.source)
        };
        Self {
            version: run.version,
            nominal: nominal_of(&run.origin).map(since),
            status: status_number(run.status),
            input: outgoing.held(&run.input),
            output: run.output.as_ref().map_or_else(absent, |output| outgoing.cell(output)),
            error: error_cell(run.error.as_ref(), outgoing),
            started: run.started_at.map(since),
            finished: run.finished_at.map(since),
            deadline: run.deadline.map(since),
            wake: run.wake_at.map(since),
            keep: Some((run.keep.succeeded, run.keep.failed)).filter(|_| !run.keep.is_default()),
            cancellation: run.cancellation.as_ref().map(cancelled),
            caller: Some(run.caller.clone()).filter(|caller| *caller != Caller::HOST),
            status_caller: run.status_caller.clone(),
            retried_by: run.retried_by.clone(),
            retries: run.retries,
            pauses: run.pauses,
            status_revision: run.status_revision,
            start_revision: run.start_revision,
            status_source: run.status_source,
            open: run.open,
            in_flight: run.in_flight,
            ready: run.ready,
            ready_from: run.ready_from,
            failed: run.failed,
            faults: run.faults,
            committed: since(beside.committed_at),
            actions: run.actions.len(),
            generations,
            slots,
            recent: beside.recent,
        }
    }

    fn read(self, item: &Item) -> Result<Head, Damage> {
        if self.actions > MAX_ACTIONS {
            return Err(Damage::broken(format_args!("it has {} actions", self.actions)));
        }
        let submitted_at = Timestamp::from_millis(read_number(item, SUBMITTED_AT)?);
        let after = |span: i64| Timestamp::from_millis(submitted_at.as_millis().wrapping_add(span));
        let Values { input, output, error, wanted } = Values::read(self.input, self.output, &self.error)?;
        let cancelled = |(at, cause, reason, caller, revision, source): (i64, u8, String, Caller, u64, Source)| {
            Ok::<_, Damage>(Cancellation { at: after(at), cause: cause_of(cause)?, reason, caller, revision, source })
        };
        let run = Run {
            id: run_of(item)?,
            task: TaskName::new(read_text(item, LIST_KEY)?).map_err(Damage::broken)?,
            version: self.version,
            revision: read_number(item, REVISION)?,
            origin: self.nominal.map_or(Origin::Request, |nominal| Origin::Schedule { nominal: after(nominal) }),
            caller: self.caller.unwrap_or(Caller::HOST),
            status: status_of(self.status)?,
            input,
            output,
            error,
            submitted_at,
            clock: None,
            started_at: self.started.map(after),
            finished_at: self.finished.map(after),
            deadline: self.deadline.map(after),
            wake_at: self.wake.map(after),
            keep: self.keep.map_or_else(Keep::default, |(succeeded, failed)| Keep { succeeded, failed }),
            cancellation: self.cancellation.map(cancelled).transpose()?,
            retries: self.retries,
            pauses: self.pauses,
            status_revision: self.status_revision,
            status_caller: self.status_caller,
            retried_by: self.retried_by,
            start_revision: self.start_revision,
            status_source: self.status_source,
            open: self.open,
            in_flight: self.in_flight,
            ready: self.ready,
            ready_from: self.ready_from,
            failed: self.failed,
            faults: self.faults,
            actions: Pages::default(),
            values: windlass_domain::content::Values::default(),
        };
        Ok(Head {
            run,
            actions: self.actions,
            directory: read_directory(&self.generations, &self.slots)?,
            recent: self.recent.read(submitted_at, self.actions)?,
            wanted,
            committed_at: after(self.committed),
            due_at: read_optional(item, DUE_AT)?.map(Timestamp::from_millis),
            expires_at: read_optional(item, EXPIRES_AT)?,
        })
    }
}

/// Notes a value that must be read first; its place is empty until then.
fn keep(wanted: &mut Vec<(Field, Apart)>, field: Field, reference: Apart) -> Option<Value> {
    wanted.push((field, reference));
    None
}

/// The columns of a directory, cut after the last page that was written.
fn write_directory(directory: &[Option<Place>]) -> (Vec<i64>, Vec<u8>) {
    let written = directory.iter().rposition(Option::is_some).map_or(0, |at| at + 1);
    let mut before = 0_u64;
    let relative = |place: &Option<Place>| {
        let generation = place.map_or(0, |place| place.generation);
        generation.wrapping_sub(std::mem::replace(&mut before, generation)).cast_signed()
    };
    let generations = directory[..written].iter().map(relative).collect();
    let mut slots: Vec<u8> = directory[..written].iter().map(|place| place.map_or(0, |place| place.slot)).collect();
    slots.truncate(slots.iter().rposition(|slot| *slot > 0).map_or(0, |at| at + 1));
    (generations, slots)
}

fn read_directory(generations: &[i64], slots: &[u8]) -> Result<Vec<Option<Place>>, Damage> {
    let mut generation = 0_u64;
    let place = |(at, since): (usize, &i64)| {
        generation = generation.wrapping_add(since.cast_unsigned());
        let slot = slots.get(at).copied().unwrap_or_default();
        if slot >= SLOTS {
            return Err(Damage::broken(format_args!("page {at} has the slot {slot}")));
        }
        Ok((generation > 0).then_some(Place { slot, generation }))
    };
    generations.iter().enumerate().map(place).collect()
}

/// The values of a run that may be kept beside its record.
struct Values {
    input: Content,
    output: Option<Value>,
    error: Option<ErrorInfo>,
    /// Values that must be read first; their places are empty until then.
    wanted: Vec<(Field, Apart)>,
}

impl Values {
    fn read(input: Value, output: Value, error: &Value) -> Result<Self, Damage> {
        let mut wanted = Vec::new();
        let input = Cell::read(input)?.held().ok_or_else(|| Damage::broken("it has no input"))?;
        let output = match Cell::read(output)? {
            Cell::Absent => None,
            Cell::Inline(output) => Some(output),
            Cell::Kept(reference) => keep(&mut wanted, Field::Output, reference),
        };
        let (error, message) = read_error(error)?;
        wanted.extend(message.map(|reference| (Field::ErrorMessage, reference)));
        Ok(Self { input, output, error, wanted })
    }
}

/// A cause as it is stored. These numbers never change.
fn cause_number(cause: CancelCause) -> u8 {
    match cause {
        CancelCause::Request => 0,
        CancelCause::Deadline => 1,
        CancelCause::Overlap => 2,
    }
}

fn cause_of(number: u8) -> Result<CancelCause, Damage> {
    let all = [CancelCause::Request, CancelCause::Deadline, CancelCause::Overlap];
    let found = all.into_iter().find(|cause| cause_number(*cause) == number);
    found.ok_or_else(|| Damage::broken(format_args!("it was cancelled for the unknown cause {number}")))
}

/// A status as it is stored: its place in the order of a run's life. These numbers never change.
fn status_number(status: RunStatus) -> u8 {
    match status {
        RunStatus::Submitted => 0,
        RunStatus::Running => 1,
        RunStatus::Paused => 2,
        RunStatus::Cancelling => 3,
        RunStatus::Succeeded => 4,
        RunStatus::SucceededWithFaults => 5,
        RunStatus::Failed => 6,
        RunStatus::TimedOut => 7,
        RunStatus::Cancelled => 8,
    }
}

fn status_of(number: u8) -> Result<RunStatus, Damage> {
    let found = RunStatus::ALL.into_iter().find(|status| status_number(*status) == number);
    found.ok_or_else(|| Damage::broken(format_args!("it has the unknown status {number}")))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::samples::{a_run, incoming_of};
    use super::*;

    fn a_place() -> impl Strategy<Value = Option<Place>> {
        proptest::option::of((0..SLOTS, 1..u64::MAX).prop_map(|(slot, generation)| Place { slot, generation }))
    }

    proptest! {
        #[test]
        fn run_round_trips(
            run in a_run(1..=200),
            directory in proptest::collection::vec(a_place(), 0..4),
            due_at in proptest::option::of(any::<i64>().prop_map(Timestamp::from_millis)),
            expires_at in proptest::option::of(any::<i64>()),
        ) {
            let mut outgoing = Outgoing::default();
            let recent = Columns::of(run.actions.iter().enumerate(), run.submitted_at, &mut outgoing);
            let committed_at = run.submitted_at;
            let beside = Beside { directory: directory.clone(), recent, committed_at, due_at, expires_at };
            let item = encode(&run, beside, &mut outgoing);
            let head = decode(&item).unwrap();
            prop_assert_eq!((head.due_at, head.expires_at, head.committed_at), (due_at, expires_at, committed_at));
            let written = directory.iter().rposition(Option::is_some).map_or(0, |at| at + 1);
            prop_assert_eq!(&head.directory, &directory[..written]);
            prop_assert_eq!(head.references().count() > 0, !outgoing.0.is_empty());
            let pages = Pages::new(head.actions);
            let (read, recent) = head.fill(pages, &incoming_of(&outgoing)).unwrap();
            prop_assert_eq!(recent.len(), run.actions.len());
            prop_assert_eq!(read, run);
        }
    }
}
