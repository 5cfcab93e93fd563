//! `EventBridge` Scheduler keeps the due times. Each task has one schedule of its own name in the stack's group, which
//! sends the task's due message to the inbox.
//!
//! A due time reaches the inbox within a minute of its time, at least once (AWS: "60 second precision"). Its run is the
//! same however often it comes, because the run's id is derived from the nominal time in the message. If Scheduler
//! gives a due time up, it puts it into a dead-letter queue. The process manager fires it from there.

mod expression;
mod given_up;

use async_trait::async_trait;
use aws_sdk_scheduler::Client;
use aws_sdk_scheduler::operation::create_schedule::CreateScheduleError;
use aws_sdk_scheduler::operation::delete_schedule::DeleteScheduleError;
use aws_sdk_scheduler::operation::get_schedule::{GetScheduleError, GetScheduleOutput};
use aws_sdk_scheduler::operation::update_schedule::UpdateScheduleError;
use aws_sdk_scheduler::types::{
    DeadLetterConfig, FlexibleTimeWindow, FlexibleTimeWindowMode, RetryPolicy, ScheduleState, Target,
};
use aws_smithy_types::DateTime;
use aws_smithy_types::error::operation::BuildError;
use serde_json::json;
use windlass_contract::message::MESSAGE_VERSION;
use windlass_domain::definition::Schedule;
use windlass_domain::ids::TaskName;
use windlass_domain::time::{Millis, Timestamp};
use windlass_engine::ports::{ErrorClass, PortError, ScheduleRefusal, Schedules};

use crate::error::{UNEXPECTED, classify};
use crate::settings::{ScheduleTarget, Settings};
use expression::Expression;
pub use given_up::due_of_dead_letter;

/// The shortest and the longest time for which Scheduler tries to deliver (API reference, `RetryPolicy`).
const EVENT_AGE_SECS: std::ops::RangeInclusive<u64> = 60..=86_400;
/// The most attempts of one delivery (API reference, `RetryPolicy`); the age ends them.
const MAX_ATTEMPTS: i32 = 185;
/// Scheduler replaces this text by the nominal time, in RFC 3339.
/// <https://docs.aws.amazon.com/scheduler/latest/UserGuide/managing-schedule-context-attributes.html>
const NOMINAL: &str = "<aws.scheduler.scheduled-time>";
/// Turns of one put while others create and delete the same schedule.
const MAX_TURNS: usize = 8;

/// The schedules of a stack's tasks.
#[derive(Debug, Clone)]
pub struct AwsSchedules {
    client: Client,
    group: String,
    target: Option<ScheduleTarget>,
}

/// Everything that a schedule of ours says.
#[derive(Debug, Clone, PartialEq)]
struct Wanted {
    expression: Expression,
    target: Target,
}

impl AwsSchedules {
    /// The schedules in the group that the settings name. Without a target ([`Settings::schedule_target`]) it refuses
    /// every change, because the program should not make any.
    pub fn new(client: Client, settings: &Settings) -> Self {
        let (group, target) = (settings.schedule_group.clone(), settings.schedule_target.clone());
        Self { client, group, target }
    }

    fn wanted(&self, task: &TaskName, schedule: &Schedule) -> Result<Wanted, PortError> {
        let to = self.target.as_ref().ok_or_else(|| no_target(task))?;
        let refused = |refusal: ScheduleRefusal| PortError::new(ErrorClass::Reject, refusal.code, refusal.message);
        let expression = Expression::of(schedule).map_err(refused)?;
        let retry = RetryPolicy::builder()
            .maximum_event_age_in_seconds(event_age(schedule.catch_up.0))
            .maximum_retry_attempts(MAX_ATTEMPTS);
        let target = Target::builder()
            .arn(&to.inbox_arn)
            .role_arn(&to.role_arn)
            .input(due_message(task))
            .retry_policy(retry.build())
            .dead_letter_config(DeadLetterConfig::builder().arn(&to.dead_letters_arn).build())
            .build();
        Ok(Wanted { expression, target: target.map_err(|error| unbuilt(&error))? })
    }

    async fn get(&self, task: &TaskName) -> Result<Option<GetScheduleOutput>, PortError> {
        match self.client.get_schedule().group_name(&self.group).name(task.as_str()).send().await {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.as_service_error().is_some_and(GetScheduleError::is_resource_not_found_exception) => {
                Ok(None)
            }
            Err(error) => Err(classify("GetSchedule", &self.subject(task), &error)),
        }
    }

    /// Whether there was none.
    async fn create(&self, task: &TaskName, wanted: &Wanted, now: Timestamp) -> Result<bool, PortError> {
        let request = self.client.create_schedule().group_name(&self.group).name(task.as_str());
        let sent = request
            .schedule_expression(&wanted.expression.text)
            .schedule_expression_timezone(&wanted.expression.timezone)
            .set_start_date(wanted.expression.start(now).map(date))
            .flexible_time_window(no_window()?)
            .state(ScheduleState::Enabled)
            .target(wanted.target.clone());
        match sent.send().await {
            Ok(_) => Ok(true),
            Err(error) if error.as_service_error().is_some_and(CreateScheduleError::is_conflict_exception) => Ok(false),
            Err(error) => Err(classify("CreateSchedule", &self.subject(task), &error)),
        }
    }

    /// Whether there was one. All of it is replaced: AWS sets each value that a request leaves out to its default.
    async fn update(&self, task: &TaskName, wanted: &Wanted, now: Timestamp) -> Result<bool, PortError> {
        let request = self.client.update_schedule().group_name(&self.group).name(task.as_str());
        let sent = request
            .schedule_expression(&wanted.expression.text)
            .schedule_expression_timezone(&wanted.expression.timezone)
            .set_start_date(wanted.expression.start(now).map(date))
            .flexible_time_window(no_window()?)
            .state(ScheduleState::Enabled)
            .target(wanted.target.clone());
        match sent.send().await {
            Ok(_) => Ok(true),
            Err(error)
                if error.as_service_error().is_some_and(UpdateScheduleError::is_resource_not_found_exception) =>
            {
                Ok(false)
            }
            Err(error) => Err(classify("UpdateSchedule", &self.subject(task), &error)),
        }
    }

    fn subject(&self, task: &TaskName) -> String {
        format!("schedule {}/{task}", self.group)
    }
}

#[async_trait]
impl Schedules for AwsSchedules {
    fn check(&self, schedule: &Schedule) -> Result<(), ScheduleRefusal> {
        Expression::of(schedule).map(|_| ())
    }

    /// Leaves a schedule alone that is already right: writing a rate's start date again would put off a time that is
    /// just due.
    async fn put(&self, task: &TaskName, schedule: &Schedule, now: Timestamp) -> Result<(), PortError> {
        let wanted = self.wanted(task, schedule)?;
        for _ in 0..MAX_TURNS {
            let done = match self.get(task).await? {
                Some(found) if wanted.is_kept_by(&found) => true,
                Some(_) => self.update(task, &wanted, now).await?,
                None => self.create(task, &wanted, now).await?,
            };
            if done {
                return Ok(());
            }
        }
        Err(PortError::conflict())
    }

    async fn remove(&self, task: &TaskName) -> Result<(), PortError> {
        // A program that may not make schedules has made none.
        self.target.as_ref().ok_or_else(|| no_target(task))?;
        match self.client.delete_schedule().group_name(&self.group).name(task.as_str()).send().await {
            Ok(_) => Ok(()),
            Err(error)
                if error.as_service_error().is_some_and(DeleteScheduleError::is_resource_not_found_exception) =>
            {
                Ok(())
            }
            Err(error) => Err(classify("DeleteSchedule", &self.subject(task), &error)),
        }
    }
}

impl Wanted {
    /// Whether the stored schedule fires the same times, at the same place, with the same message. A rate that began
    /// at another multiple of its period goes on at the same times.
    fn is_kept_by(&self, found: &GetScheduleOutput) -> bool {
        let starts_well = match (self.expression.period, found.start_date()) {
            (Some(period), Some(start)) => is_multiple(start, period),
            (Some(_), None) => false,
            (None, start) => start.is_none(),
        };
        starts_well
            && found.schedule_expression() == Some(&self.expression.text)
            && found.schedule_expression_timezone() == Some(&self.expression.timezone)
            && found.state() == Some(&ScheduleState::Enabled)
            && found.end_date().is_none()
            && found.flexible_time_window().map(FlexibleTimeWindow::mode) == Some(&FlexibleTimeWindowMode::Off)
            && found.target() == Some(&self.target)
    }
}

fn is_multiple(start: &DateTime, period: Millis) -> bool {
    let millis = start.to_millis().ok().and_then(|millis| u64::try_from(millis).ok());
    millis.is_some_and(|millis| millis.is_multiple_of(period.0))
}

fn date(at: Timestamp) -> DateTime {
    DateTime::from_millis(at.as_millis())
}

/// Scheduler delivers a due time late, rather than not, within the definition's catch-up window and AWS's limits.
fn event_age(catch_up: Millis) -> i32 {
    let seconds = catch_up.0.div_ceil(1000).clamp(*EVENT_AGE_SECS.start(), *EVENT_AGE_SECS.end());
    i32::try_from(seconds).unwrap_or(i32::MAX)
}

/// The due message of the contract, with AWS's placeholder for the nominal time.
fn due_message(task: &TaskName) -> String {
    let input = json!({ "type": "due", "nominal": NOMINAL });
    json!({ "type": "task", "v": MESSAGE_VERSION, "task": task.as_str(), "input": input }).to_string()
}

fn no_window() -> Result<FlexibleTimeWindow, PortError> {
    let window = FlexibleTimeWindow::builder().mode(FlexibleTimeWindowMode::Off).build();
    window.map_err(|error| unbuilt(&error))
}

fn unbuilt(error: &BuildError) -> PortError {
    PortError::new(ErrorClass::Bug, UNEXPECTED, format!("make a request for a schedule: {error}"))
}

fn no_target(task: &TaskName) -> PortError {
    let message = format!(
        "change the schedule of task `{task}`: this program was started without WINDLASS_SCHEDULE_ROLE_ARN, \
         WINDLASS_INBOX_ARN and WINDLASS_SCHEDULES_DLQ_ARN"
    );
    PortError::new(ErrorClass::Reject, "WL0341", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn catch_up_window_stays_within_bounds_of_aws() {
        let cases = [(0, 60), (59_000, 60), (60_001, 61), (3_600_000, 3600), (u64::MAX, 86_400)];
        for (window, expected) in cases {
            assert_eq!(event_age(Millis(window)), expected, "{window}");
        }
    }

    #[test]
    fn a_start_counts_from_the_epoch() {
        let minute = Millis::from_secs(60);
        assert!(is_multiple(&DateTime::from_secs(1_800_000_000), minute));
        assert!(!is_multiple(&DateTime::from_secs(1_800_000_001), minute));
        assert!(!is_multiple(&DateTime::from_secs_f64(1_800_000_000.5), minute));
        assert!(!is_multiple(&DateTime::from_secs(-60), minute));
    }
}
