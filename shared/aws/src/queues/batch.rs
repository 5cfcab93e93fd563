//! The entries of a batch. SQS answers each by itself. The adapter repeats only the entries that failed by no fault of
//! its own.

use std::collections::BTreeMap;
use std::time::Duration;

use aws_sdk_sqs::types::BatchResultErrorEntry;
use windlass_engine::ports::{ErrorClass, PortError};

use crate::error::classify_entry;

/// Requests for one batch.
const MAX_ROUNDS: u32 = 4;
/// The wait before the second of them; it doubles with each.
const FIRST_WAIT: Duration = Duration::from_millis(50);

/// SQS's answer for each entry, by its id: its place in the batch.
pub(super) struct Answer {
    /// The ids of the entries that succeeded.
    pub(super) done: Vec<String>,
    /// Those that were not.
    pub(super) failed: Vec<BatchResultErrorEntry>,
}

/// The result of a batch.
#[derive(Debug)]
pub(super) struct Settled {
    done: Vec<usize>,
    /// Those that SQS will never take, by their place.
    refused: BTreeMap<usize, PortError>,
    /// The failure of an entry without an answer after the last round.
    unsettled: Option<PortError>,
}

impl Settled {
    /// The result of each entry, in their order.
    pub(super) fn each(mut self, entries: usize) -> Vec<Result<(), PortError>> {
        let answer = |place| match (self.refused.remove(&place), &self.unsettled) {
            (Some(refusal), _) => Err(refusal),
            (None, Some(unsettled)) if !self.done.contains(&place) => Err(unsettled.clone()),
            (None, _) => Ok(()),
        };
        (0..entries).map(answer).collect()
    }

    /// The places of the entries that succeeded, without refused ones.
    pub(super) fn but_for_refused(self) -> Result<Vec<usize>, PortError> {
        self.unsettled.map_or(Ok(self.done), Err)
    }
}

/// Asks for the places of a batch until each is settled. The failure of a whole request ends it.
pub(super) async fn settle<F: Future<Output = Result<Answer, PortError>>>(
    operation: &str,
    subject: &str,
    entries: usize,
    ask: impl Fn(Vec<usize>) -> F,
) -> Result<Settled, PortError> {
    let mut left: Vec<usize> = (0..entries).collect();
    let mut settled = Settled { done: Vec::with_capacity(entries), refused: BTreeMap::new(), unsettled: None };
    let mut wait = FIRST_WAIT;
    for round in 1..=MAX_ROUNDS {
        let answer = ask(left.clone()).await?;
        let done = answer.done.iter().filter_map(|id| id.parse().ok()).filter(|place| left.contains(place));
        let done: Vec<usize> = done.collect();
        left.retain(|place| !done.contains(place));
        settled.done.extend(done);
        settled.unsettled = None;
        for entry in answer.failed {
            let cause = (Some(entry.code()), entry.message());
            let failure = classify_entry(operation, subject, entry.sender_fault, cause);
            if failure.class == ErrorClass::Retry {
                settled.unsettled = Some(failure);
            } else if let Some(place) = left.iter().position(|place| place.to_string() == entry.id) {
                settled.refused.insert(left.remove(place), failure);
            }
        }
        if left.is_empty() {
            settled.unsettled = None;
            return Ok(settled);
        }
        if round < MAX_ROUNDS {
            tokio::time::sleep(wait).await;
            wait *= 2;
        }
    }
    let unanswered = || classify_entry(operation, subject, false, (None, Some("some entries were not answered")));
    settled.unsettled.get_or_insert_with(unanswered);
    Ok(settled)
}
