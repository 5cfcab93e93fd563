//! The saga record as it is stored: a head, and the pages of a run that has more than one.

use serde::{Deserialize, Serialize};
use windlass_domain::run::{Page, Pages, Run};

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
struct HeadOut<'a> {
    v: u32,
    run: &'a Run,
    /// Of a run of one page.
    #[serde(skip_serializing_if = "Option::is_none")]
    actions: Option<&'a Pages>,
}

#[derive(Deserialize)]
struct HeadIn {
    v: u32,
    run: Run,
    #[serde(default)]
    actions: Pages,
}

/// Writes the head and those pages that are not the same as in `before`.
///
/// # Panics
/// Never: records are maps whose keys are text.
pub fn encode(run: &Run, before: Option<&Run>) -> StoredRun {
    let head = |actions| {
        let head = HeadOut { v: RECORD_VERSION, run, actions };
        serde_json::to_string(&head).expect("records are plain data")
    };
    if run.actions.pages().len() <= 1 {
        return StoredRun { head: head(Some(&run.actions)), pages: Vec::new() };
    }
    let changed = match before {
        Some(before) => run.actions.changed_since(&before.actions),
        None => (0..run.actions.pages().len()).collect(),
    };
    let json = |page: &Page| serde_json::to_string(page).expect("pages are plain data");
    let pages = run.actions.pages().enumerate().filter(|(at, _)| changed.contains(at));
    StoredRun { head: head(None), pages: pages.map(|(at, page)| (at, json(page))).collect() }
}

/// Reads a head, and the pages of a run that has more than one, in order.
pub fn decode(head: &str, pages: &[String]) -> Result<Run, RecordError> {
    let mut run = match serde_json::from_str::<HeadIn>(head) {
        Ok(HeadIn { v: RECORD_VERSION, run, actions }) => Run { actions, ..run },
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
