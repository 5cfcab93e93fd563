//! A schedule's events: they report due times that have no run, under the id that their run would have.

use serde_json::{Value, json};
use windlass_contract::event::{EVENT_VERSION, PublicEvent};
use windlass_domain::definition::Definition;
use windlass_domain::ids::{RunId, TaskVersion, derive};
use windlass_domain::time::Timestamp;

/// A due time was passed over, as the schedule's `overlap` says.
pub(crate) const SKIPPED: &str = "schedule.skipped";
/// A due time cannot start: the task has no schedule any more, or its input has a required field without a default.
pub(crate) const REFUSED: &str = "schedule.refused";
/// Due times are older than the schedule's `catch_up` and are not fired.
pub(crate) const MISSED: &str = "schedule.missed";

/// What became of a due time: the kind of the event, which due time, and why. The same fate has the same id.
pub(crate) fn of(
    definition: &Definition,
    version: TaskVersion,
    (kind, nominal, reason): (&'static str, Timestamp, Value),
    at: Timestamp,
) -> PublicEvent {
    let task = definition.task.clone();
    let run = RunId::from_nominal_time(&task, nominal);
    if kind == SKIPPED {
        tracing::debug!(task = %task, nominal = %nominal, kind, "a due time was passed over");
    } else {
        tracing::warn!(task = %task, nominal = %nominal, kind, "a due time has no run");
    }
    PublicEvent {
        v: EVENT_VERSION,
        id: derive(&["event", kind, &run.to_string()]),
        kind: kind.to_owned(),
        time: at.to_string(),
        run,
        task,
        version,
        labels: definition.labels.clone(),
        action: None,
        attempt: None,
        data: json!({ "nominal_time": nominal.to_string(), "reason": reason }),
    }
}
