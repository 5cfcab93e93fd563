//! Due times that Scheduler could not bring to the inbox, and put into their dead-letter queue instead.

use windlass_contract::message::{InboxMessage, encode};
use windlass_domain::ids::TaskName;
use windlass_domain::schedule::TaskInput;
use windlass_domain::time::Timestamp;

/// Scheduler's attributes of each message that it gives up
/// (<https://docs.aws.amazon.com/scheduler/latest/UserGuide/configuring-schedule-dlq.html>).
const SCHEDULE_ARN: &str = "SCHEDULE_ARN";
const SCHEDULED_TIME: &str = "SCHEDULED_TIME";

/// The due message of a dead letter of Scheduler, for the process manager to handle like one from the inbox.
///
/// The task and the nominal time are those of the attributes: Scheduler replaces the placeholder in a body for a
/// delivery, and AWS does not promise it for a dead letter. Without the attributes the body is given as it stands.
pub fn due_of_dead_letter<'a>(body: &str, attribute: impl Fn(&str) -> Option<&'a str>) -> String {
    let task = attribute(SCHEDULE_ARN).and_then(task_of);
    let nominal = attribute(SCHEDULED_TIME).and_then(Timestamp::parse_rfc3339);
    match (task, nominal) {
        (Some(task), Some(nominal)) => encode(&InboxMessage::of_task(task, TaskInput::Due { nominal })),
        _ => body.to_owned(),
    }
}

/// The schedule of a task has the task's name: `arn:aws:scheduler:REGION:ACCOUNT:schedule/GROUP/TASK`.
fn task_of(schedule_arn: &str) -> Option<TaskName> {
    let (_, group_and_name) = schedule_arn.split_once(":schedule/")?;
    let (_, name) = group_and_name.split_once('/')?;
    TaskName::new(name).ok()
}

#[cfg(test)]
mod tests {
    use windlass_contract::message::decode;

    use super::*;

    const ARN: &str = "arn:aws:scheduler:eu-central-1:123456789012:schedule/windlass/nightly";
    const TIME: &str = "2026-03-29T01:30:00Z";
    const UNREPLACED: &str =
        r#"{"type":"task","v":1,"task":"nightly","input":{"type":"due","nominal":"<aws.scheduler.scheduled-time>"}}"#;

    const REPLACED: &str =
        r#"{"type":"task","v":1,"task":"nightly","input":{"type":"due","nominal":"2026-03-29T01:30:00Z"}}"#;

    fn due(body: &str, attributes: &[(&str, &'static str)]) -> String {
        due_of_dead_letter(body, |name| attributes.iter().find(|(known, _)| *known == name).map(|(_, value)| *value))
    }

    fn check_due(body: &str, attributes: &[(&str, &'static str)]) {
        let task = TaskName::new("nightly").expect("a name");
        let nominal = Timestamp::parse_rfc3339(TIME).expect("an instant");
        let expected = InboxMessage::of_task(task, TaskInput::Due { nominal });
        assert_eq!(decode::<InboxMessage>(&due(body, attributes)).expect("it is one of ours"), expected, "{body}");
    }

    #[test]
    fn due_time_is_that_of_the_attributes() {
        let told = [
            ("SCHEDULE_ARN", ARN),
            ("SCHEDULED_TIME", TIME),
            ("ERROR_CODE", "AWS.SimpleQueueService.NonExistentQueue"),
        ];
        check_due(UNREPLACED, &told);
        check_due(REPLACED, &told);
        check_due(
            r#"{"MessageBody":"{}","QueueUrl":"https://sqs.eu-central-1.amazonaws.com/1/windlass-inbox"}"#,
            &told,
        );
        check_due("", &told);
    }

    #[test]
    fn body_stands_where_attributes_are_missing() {
        check_due(REPLACED, &[]);
        for told in [
            [("SCHEDULE_ARN", ARN), ("SCHEDULED_TIME", "at night")],
            [("SCHEDULE_ARN", "nightly"), ("SCHEDULED_TIME", TIME)],
            [("SCHEDULE_ARN", "arn:aws:scheduler:eu-central-1:1:schedule/windlass/a.b"), ("SCHEDULED_TIME", TIME)],
        ] {
            assert_eq!(due(UNREPLACED, &told), UNREPLACED);
        }
    }
}
