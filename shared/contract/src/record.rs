//! The saga record as it is stored: a head, and the pages of a run that has more than one.

use serde::{Deserialize, Serialize};
use windlass_domain::run::{Page, Pages, Run};

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

/// Why a stored record can not be read: it is damaged, or of a version this reader does not know.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// It is of a version that this reader does not know.
    #[error("the record is of version {0}; this reader knows version {RECORD_VERSION}")]
    UnknownVersion(u32),
    /// It is not JSON of the expected shape.
    #[error("the record is damaged: {0}")]
    Shape(#[from] serde_json::Error),
}

#[derive(Serialize)]
struct HeadOut<'a> {
    v: u32,
    run: &'a Run,
}

#[derive(Deserialize)]
struct HeadIn {
    v: u32,
    run: Run,
}

/// Writes the head and those pages that are not the same as in `before`.
pub fn encode(run: &Run, before: Option<&Run>) -> StoredRun {
    let json = |value: &Page| serde_json::to_string(value).expect("pages are plain data");
    let head = |run: &Run| serde_json::to_string(&HeadOut { v: RECORD_VERSION, run }).expect("records are plain data");
    if run.actions.pages().len() <= 1 {
        return StoredRun { head: head(run), pages: Vec::new() };
    }
    let changed = match before {
        Some(before) => run.actions.changed_since(&before.actions),
        None => (0..run.actions.pages().len()).collect(),
    };
    let pages = run.actions.pages().enumerate().filter(|(at, _)| changed.contains(at));
    let pages = pages.map(|(at, page)| (at, json(page))).collect();
    let bare = Run { actions: Pages::default(), ..run.clone() };
    StoredRun { head: head(&bare), pages }
}

/// Reads a head, and the pages of a run that has more than one, in order.
pub fn decode(head: &str, pages: &[String]) -> Result<Run, RecordError> {
    let HeadIn { v, mut run } = serde_json::from_str(head)?;
    if v != RECORD_VERSION {
        return Err(RecordError::UnknownVersion(v));
    }
    if !pages.is_empty() {
        let pages = pages.iter().map(|page| serde_json::from_str::<Page>(page));
        run.actions = Pages::from_pages(pages.collect::<Result<_, _>>()?);
    }
    Ok(run)
}
