//! Schedules over the wire: the requests to `EventBridge` Scheduler. The end-to-end tests on the local stack show that
//! schedules fire.

use aws_sdk_scheduler::operation::get_schedule::{GetScheduleError, GetScheduleOutput};
use aws_sdk_scheduler::types::{DeadLetterConfig, FlexibleTimeWindowMode, RetryPolicy, ScheduleState};
use serde_json::{Value, json};
use windlass_aws::{AwsHost, Settings};
use windlass_domain::definition::{CatchUp, Overlap, Schedule, ScheduleRule};
use windlass_domain::ids::TaskName;
use windlass_domain::time::{Millis, Timestamp};
use windlass_engine::Ports;
use windlass_engine::ports::ErrorClass;
use windlass_testkit::conformance;
use windlass_testkit::memory::MemoryHost;

use crate::stack::Stack;

async fn get(host: &AwsHost, task: &TaskName) -> Option<GetScheduleOutput> {
    let group = &host.settings().schedule_group;
    let get = host.clients().scheduler.get_schedule().group_name(group).name(task.as_str()).send().await;
    match get {
        Ok(found) => Some(found),
        Err(error) if error.as_service_error().is_some_and(GetScheduleError::is_resource_not_found_exception) => None,
        Err(error) => panic!("{error:?}"),
    }
}

/// A stored schedule as text, without the time of its put.
fn shown(found: &GetScheduleOutput) -> String {
    let target = found.target().expect("it has a target");
    let age = target.retry_policy().and_then(RetryPolicy::maximum_event_age_in_seconds);
    format!("{:?} {:?} {age:?}", found.schedule_expression(), found.schedule_expression_timezone())
}

fn task(name: &str) -> TaskName {
    TaskName::new(name).expect("a name")
}

fn cron(rule: &str, timezone: &str) -> Schedule {
    Schedule {
        rule: ScheduleRule::Cron(rule.to_owned()),
        timezone: timezone.to_owned(),
        overlap: Overlap::default(),
        catch_up: CatchUp(Millis::from_secs(2 * 3600)),
    }
}

fn every(millis: u64) -> Schedule {
    Schedule { rule: ScheduleRule::Every(Millis(millis)), ..cron("", "UTC") }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_suite() {
    let host = Stack::get().host().await;
    let others = MemoryHost::new(Timestamp::from_millis(0)).ports();
    let ports = Ports { schedules: host.schedules(), clock: host.clock(), ..others };
    let kept = async |task: &TaskName| get(&host, task).await.as_ref().map(shown);
    conformance::schedules(&ports, kept).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn schedule_sends_due_message_to_the_inbox() {
    let host = Stack::get().host().await;
    let (task, now) = (task("nightly"), host.clock().now());
    host.schedules().put(&task, &cron("30 2 * * MON-FRI", "Europe/Berlin"), now).await.expect("it is put");

    let found = get(&host, &task).await.expect("it is there");
    assert_eq!(found.schedule_expression(), Some("cron(30 2 ? * MON-FRI *)"));
    assert_eq!(found.schedule_expression_timezone(), Some("Europe/Berlin"));
    assert_eq!(found.start_date(), None);
    assert_eq!(found.state(), Some(&ScheduleState::Enabled));
    assert_eq!(found.flexible_time_window().map(|window| window.mode().clone()), Some(FlexibleTimeWindowMode::Off));
    let target = found.target().expect("it has a target");
    let expected = host.settings().schedule_target.clone().expect("the stack has one");
    assert_eq!((target.arn(), target.role_arn()), (expected.inbox_arn.as_str(), expected.role_arn.as_str()));
    let dead_letters = target.dead_letter_config().and_then(DeadLetterConfig::arn);
    assert_eq!(dead_letters, Some("arn:aws:sqs:eu-central-1:000000000000:wire-schedules-dlq"));
    assert_eq!(target.retry_policy().and_then(RetryPolicy::maximum_event_age_in_seconds), Some(7200));
    let message: Value = serde_json::from_str(target.input().expect("it has a message")).expect("it is JSON");
    let nominal = "<aws.scheduler.scheduled-time>";
    assert_eq!(
        message,
        json!({ "type": "task", "v": 1, "task": "nightly", "input": { "type": "due", "nominal": nominal } })
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn rate_starts_at_next_due_time_only_once() {
    let host = Stack::get().host().await;
    let (schedules, task) = (host.schedules(), task("each-minute"));
    // Five minutes ahead: AWS refuses a start that is long past.
    let now = host.clock().now().plus(Millis::from_secs(300));
    schedules.put(&task, &every(60_000), now).await.expect("it is put");
    let first = get(&host, &task).await.expect("it is there");
    assert_eq!(first.schedule_expression(), Some("rate(1 minute)"));
    let start = first.start_date().expect("it has a start").to_millis().expect("in range");
    assert_eq!(every(60_000).next_after(now), Some(Timestamp::from_millis(start)));

    let before = host.meter().snapshot();
    schedules.put(&task, &every(60_000), now.plus(Millis::from_secs(600))).await.expect("it is put");
    let since = host.meter().snapshot().since(&before);
    assert_eq!(since.total("Scheduler", "UpdateSchedule").0, 0, "{since:?}");
    assert_eq!(get(&host, &task).await.expect("it is there").start_date(), first.start_date());

    schedules.put(&task, &every(90 * 60_000), now).await.expect("it is put");
    let changed = get(&host, &task).await.expect("it is there");
    assert_eq!(changed.schedule_expression(), Some("rate(90 minutes)"));
    let start = changed.start_date().expect("it has a start").to_millis().expect("in range");
    assert_eq!(every(90 * 60_000).next_after(now), Some(Timestamp::from_millis(start)));
}

#[tokio::test(flavor = "multi_thread")]
async fn unsupported_schedule_is_refused_and_changes_nothing() {
    let host = Stack::get().host().await;
    let (schedules, task, now) = (host.schedules(), task("too-often"), host.clock().now());
    for millis in [1000, 30_000, 90_000] {
        let refusal = schedules.check(&every(millis)).expect_err("too often, or no whole minutes");
        assert_eq!((refusal.code, refusal.path), ("WL0340", "schedule.every"));
        let refused = schedules.put(&task, &every(millis), now).await.expect_err("it is not put");
        assert_eq!((refused.class, refused.code), (ErrorClass::Reject, "WL0340"));
    }
    assert!(get(&host, &task).await.is_none());
    schedules.check(&every(60_000)).expect("a minute can be kept");
}

/// Only the coordinator has a target for schedules. The adapter refuses the calls of any other program before it asks
/// AWS.
#[tokio::test]
async fn a_program_without_a_target_changes_no_schedule() {
    let stack = Stack::get();
    let host = stack.host_with(Settings { schedule_target: None, ..stack.settings(&[]) }).await;
    let put = host.schedules().put(&task("aimless"), &every(60_000), host.clock().now()).await;
    let removed = host.schedules().remove(&task("aimless")).await;
    for refused in [put.err(), removed.err()] {
        let refused = refused.expect("there is no target");
        assert_eq!((refused.class, refused.code), (ErrorClass::Reject, "WL0341"), "{refused}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_group_is_reported() {
    let stack = Stack::get();
    let host = stack.host_with(stack.settings(&[("WINDLASS_SCHEDULE_GROUP", "nobody-made-it")])).await;
    let put = host.schedules().put(&task("lost"), &every(60_000), host.clock().now()).await;
    let error = put.expect_err("there is no such group");
    assert_eq!(error.class, ErrorClass::Reject);
    assert!(error.message.contains("nobody-made-it"), "{error}");
}
