//! The saga record as it is stored: a head, and the pages of a run that has more than one.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use windlass_domain::caller::Caller;
use windlass_domain::ids::{RunId, TaskName, TaskVersion};
use windlass_domain::run::{Cancellation, ErrorInfo, Origin, Page, Pages, Run, RunStatus, Source};
use windlass_domain::time::Timestamp;

use crate::message::version_of;

/// The version of every record that is written.
pub const RECORD_VERSION: u32 = 1;

/// A record, ready to be stored. A run of one page stands whole in its head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredRun {
    /// The head, as JSON.
    pub head: String,
    /// Pages, as JSON, each with its number.
    pub pages: Vec<(usize, String)>,
}

/// Why a stored record cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// It is of a version that this reader does not know.
    #[error("the record is of version {0}; this reader knows version {RECORD_VERSION}")]
    UnknownVersion(u64),
    /// It is not JSON of the expected shape.
    #[error("the record is damaged: {0}")]
    Shape(#[from] serde_json::Error),
}

#[derive(Serialize)]
struct WholeHead<'a> {
    v: u32,
    run: &'a Run,
}

#[derive(Serialize)]
struct BareHead<'a> {
    v: u32,
    run: BareRun<'a>,
}

#[derive(Deserialize)]
struct HeadIn {
    v: u32,
    run: Run,
}

/// Writes the head and those pages that are not the same as in `before`.
///
/// # Panics
/// Never: records are maps whose keys are text.
pub fn encode(run: &Run, before: Option<&Run>) -> StoredRun {
    let json = |value: &Page| serde_json::to_string(value).expect("pages are plain data");
    if run.actions.pages().len() <= 1 {
        let head = serde_json::to_string(&WholeHead { v: RECORD_VERSION, run }).expect("records are plain data");
        return StoredRun { head, pages: Vec::new() };
    }
    let changed = match before {
        Some(before) => run.actions.changed_since(&before.actions),
        None => (0..run.actions.pages().len()).collect(),
    };
    let pages = run.actions.pages().enumerate().filter(|(at, _)| changed.contains(at));
    let pages = pages.map(|(at, page)| (at, json(page))).collect();
    let bare = BareHead { v: RECORD_VERSION, run: BareRun::of(run) };
    StoredRun { head: serde_json::to_string(&bare).expect("records are plain data"), pages }
}

/// Reads a head, and the pages of a run that has more than one, in order.
pub fn decode(head: &str, pages: &[String]) -> Result<Run, RecordError> {
    let mut run = match serde_json::from_str::<HeadIn>(head) {
        Ok(HeadIn { v: RECORD_VERSION, run }) => run,
        Ok(HeadIn { v, .. }) => return Err(RecordError::UnknownVersion(u64::from(v))),
        Err(error) => match version_of(head) {
            Some(v) if v != u64::from(RECORD_VERSION) => return Err(RecordError::UnknownVersion(v)),
            _ => return Err(error.into()),
        },
    };
    if !pages.is_empty() {
        let pages = pages.iter().map(|page| serde_json::from_str::<Page>(page));
        run.actions = Pages::from_pages(pages.collect::<Result<_, _>>()?);
    }
    Ok(run)
}

/// The head of a run whose actions stand in pages: borrowed, because its input and output can be large and a
/// transition writes the head each time.
#[derive(Serialize)]
struct BareRun<'a> {
    id: RunId,
    task: &'a TaskName,
    version: TaskVersion,
    revision: u64,
    origin: &'a Origin,
    caller: &'a Caller,
    status: RunStatus,
    input: &'a Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<&'a Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a ErrorInfo>,
    submitted_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    started_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    finished_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deadline: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    wake_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cancellation: Option<&'a Cancellation>,
    #[serde(skip_serializing_if = "is_zero")]
    retries: u32,
    #[serde(skip_serializing_if = "is_zero")]
    pauses: u32,
    status_revision: u64,
    #[serde(skip_serializing_if = "Source::is_itself")]
    status_source: Source,
    #[serde(skip_serializing_if = "Option::is_none")]
    status_caller: Option<&'a Caller>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retried_by: Option<&'a Caller>,
    start_revision: u64,
    open: u32,
    in_flight: u32,
    #[serde(skip_serializing_if = "is_zero")]
    ready: u32,
    #[serde(skip_serializing_if = "is_zero")]
    ready_from: u32,
    #[serde(skip_serializing_if = "is_zero")]
    failed: u32,
    #[serde(skip_serializing_if = "is_zero")]
    faults: u32,
    actions: [Page; 0],
}

impl<'a> BareRun<'a> {
    /// Takes the record apart field by field, so that a field that is added to it cannot be forgotten here.
    fn of(run: &'a Run) -> Self {
        let Run {
            id,
            task,
            version,
            revision,
            origin,
            caller,
            status,
            input,
            output,
            error,
            submitted_at,
            started_at,
            finished_at,
            deadline,
            wake_at,
            cancellation,
            retries,
            pauses,
            status_revision,
            status_source,
            status_caller,
            retried_by,
            start_revision,
            open,
            in_flight,
            ready,
            ready_from,
            failed,
            faults,
            actions: _,
        } = run;
        Self {
            id: *id,
            task,
            version: *version,
            revision: *revision,
            origin,
            caller,
            status: *status,
            input,
            output: output.as_ref(),
            error: error.as_ref(),
            submitted_at: *submitted_at,
            started_at: *started_at,
            finished_at: *finished_at,
            deadline: *deadline,
            wake_at: *wake_at,
            cancellation: cancellation.as_ref(),
            retries: *retries,
            pauses: *pauses,
            status_revision: *status_revision,
            status_source: *status_source,
            status_caller: status_caller.as_ref(),
            retried_by: retried_by.as_ref(),
            start_revision: *start_revision,
            open: *open,
            in_flight: *in_flight,
            ready: *ready,
            ready_from: *ready_from,
            failed: *failed,
            faults: *faults,
            actions: [],
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}
