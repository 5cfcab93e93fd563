//! A schedule's events: they report due times that have no run, under the id that their run would have.

use serde_json::{Value, json};
use windlass_contract::event::{EVENT_VERSION, PublicEvent};
use windlass_domain::definition::Definition;
use windlass_domain::ids::{RunId, TaskVersion, derive};
use windlass_domain::time::Timestamp;

use crate::Ports;
use crate::ports::PortError;

/// A due time was passed over, as the schedule's `overlap` says.
pub(crate) const SKIPPED: &str = "schedule.skipped";
/// A due time cannot start: the task has no schedule any more, or its input has a required field without a default.
pub(crate) const REFUSED: &str = "schedule.refused";
/// Due times are older than the schedule's `catch_up` and are not fired.
pub(crate) const MISSED: &str = "schedule.missed";

/// Publishes what became of a due time. The same fate published twice has the same id.
pub(crate) async fn publish(
    ports: &Ports,
    definition: &Definition,
    version: TaskVersion,
    kind: &'static str,
    nominal: Timestamp,
    reason: Value,
) -> Result<(), PortError> {
    let task = definition.task.clone();
    let run = RunId::from_nominal_time(&task, nominal);
    if kind == SKIPPED {
        tracing::debug!(task = %task, nominal = %nominal, kind, "a due time was passed over");
    } else {
        tracing::warn!(task = %task, nominal = %nominal, kind, "a due time has no run");
    }
    let event = PublicEvent {
        v: EVENT_VERSION,
        id: derive(&["event", kind, &run.to_string()]),
        kind: kind.to_owned(),
        time: ports.clock.now().to_string(),
        run,
        task,
        version,
        labels: definition.labels.clone(),
        action: None,
        attempt: None,
        data: json!({ "nominal_time": nominal.to_string(), "reason": reason }),
    };
    ports.bus.publish(&[event]).await
}
