//! Statuses: the meaning of each for a run or an action, by its stored and sent name.

use serde_json::json;
use windlass_domain::run::{ActionStatus, RunStatus};

const ACTIONS: [ActionStatus; 9] = [
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

#[test]
fn status_word_equals_the_stored_one() {
    for status in RunStatus::ALL {
        assert_eq!(serde_json::to_value(status).unwrap(), json!(status.as_str()));
    }
    for status in ACTIONS {
        assert_eq!(serde_json::to_value(status).unwrap(), json!(status.as_str()));
    }
}

#[test]
fn a_run_has_ended_and_has_ended_well() {
    let ended: Vec<_> = RunStatus::ALL.into_iter().filter(|status| status.is_final()).map(RunStatus::as_str).collect();
    assert_eq!(ended, ["succeeded", "succeeded_with_faults", "failed", "timed_out", "cancelled"]);
    let well: Vec<_> = RunStatus::ALL.into_iter().filter(|status| status.is_success()).map(RunStatus::as_str).collect();
    assert_eq!(well, ["succeeded", "succeeded_with_faults"]);
}

#[test]
fn action_status_is_waiting_in_flight_or_ended() {
    let those = |is: fn(ActionStatus) -> bool| -> Vec<_> {
        ACTIONS.into_iter().filter(|status| is(*status)).map(ActionStatus::as_str).collect()
    };
    assert_eq!(those(ActionStatus::is_in_flight), ["queued", "running"]);
    assert_eq!(those(ActionStatus::is_settled), ["succeeded", "failed", "timed_out", "skipped", "cancelled"]);
    assert_eq!(those(ActionStatus::is_failure), ["failed", "timed_out"]);
}
