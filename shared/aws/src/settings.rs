//! What the programs on AWS are told by their environment, read once, all faults reported together.
//!
//! | name | what | if absent |
//! |---|---|---|
//! | `WINDLASS_NAME` | the name of the stack, which its resources begin with | a fault |
//! | `AWS_REGION` | the region | `AWS_DEFAULT_REGION`, or else a fault |
//! | `WINDLASS_BUCKET` | the S3 bucket of large payloads | a fault |
//! | `WINDLASS_TABLE` | the `DynamoDB` table | `NAME` |
//! | `WINDLASS_BUS` | the event bus | `NAME` |
//! | `WINDLASS_QUEUE_PREFIX` | what the names of queues begin with | `NAME-` |
//! | `WINDLASS_SCHEDULE_GROUP` | the schedule group of the tasks | `NAME` |
//! | `WINDLASS_SCHEDULE_ROLE_ARN` | the role by which Scheduler sends to the inbox | a fault where schedules are written |
//! | `WINDLASS_INBOX_ARN` | the inbox, as the schedules' target | a fault where schedules are written |
//! | `AWS_ENDPOINT_URL` | where all services are, instead of AWS | AWS |
//! | `WINDLASS_METER_READS` | `reported`, or `sized`: see [`ReadUnits`] | `reported` |

use std::fmt;

use crate::meter::ReadUnits;

/// Characters of a stack's name. With the longest fixed part of a queue's name (`-pool-`, `-dlq`) this leaves 38 of
/// SQS's 80 for a pool's name.
const MAX_STACK_NAME_BYTES: usize = 32;

/// Whether a program writes the schedules of tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// It does: the coordinator, and whoever registers tasks.
    Schedules,
    /// It does not: agents.
    NoSchedules,
}

/// The settings of every program on AWS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The name of the stack.
    pub name: String,
    /// The region, such as `eu-central-1`.
    pub region: String,
    /// Where all services are, instead of AWS: the local stack.
    pub endpoint: Option<String>,
    /// The name of the table.
    pub table: String,
    /// The name of the bucket.
    pub bucket: String,
    /// The name of the bus.
    pub bus: String,
    /// What the names of queues begin with.
    pub queue_prefix: String,
    /// The schedule group of the tasks.
    pub schedule_group: String,
    /// What a schedule is made of beside its time; present if the program asked for it, or if it is set.
    pub schedule_target: Option<ScheduleTarget>,
    /// How the meter counts reads.
    pub meter_reads: ReadUnits,
}

/// Where schedules send, and as whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScheduleTarget {
    /// The role that Scheduler takes on.
    pub role_arn: String,
    /// The inbox.
    pub inbox_arn: String,
}

/// What is wrong with one setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingFault {
    /// Its name.
    pub name: &'static str,
    /// What was found there; absent: nothing. Only names and addresses are settings, no secrets.
    pub found: Option<String>,
    /// What is expected.
    pub expected: &'static str,
}

impl fmt::Display for SettingFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.found {
            None => write!(f, "{} is missing: set it to {}", self.name, self.expected),
            Some(found) => write!(f, "{} is `{found}`: it must be {}", self.name, self.expected),
        }
    }
}

/// Everything that is wrong with the settings.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("read the settings from the environment: {}", .faults.iter().map(SettingFault::to_string).collect::<Vec<_>>().join("; "))]
pub struct SettingsError {
    /// Every fault, in the order of the table above.
    pub faults: Vec<SettingFault>,
}

impl SettingsError {
    /// The stable code, with a page in `docs/errors`.
    pub fn code(&self) -> &'static str {
        "WL0801"
    }
}

impl Settings {
    /// Reads the settings of this process's environment.
    pub fn from_env(needs: Needs) -> Result<Self, SettingsError> {
        Self::read(|name| std::env::var(name).ok(), needs)
    }

    /// Reads the settings. A value that is empty counts as absent, as a template has no other way to leave one out.
    pub fn read(lookup: impl Fn(&str) -> Option<String>, needs: Needs) -> Result<Self, SettingsError> {
        let mut reader = Reader { lookup, faults: Vec::new() };
        let name = reader.required("WINDLASS_NAME", STACK_NAME).unwrap_or_default();
        let settings = Self {
            region: reader.region(),
            bucket: reader.required("WINDLASS_BUCKET", BUCKET).unwrap_or_default(),
            table: reader.optional("WINDLASS_TABLE", TABLE).unwrap_or_else(|| name.clone()),
            bus: reader.optional("WINDLASS_BUS", BUS).unwrap_or_else(|| name.clone()),
            queue_prefix: reader.optional("WINDLASS_QUEUE_PREFIX", QUEUE_PREFIX).unwrap_or_else(|| format!("{name}-")),
            schedule_group: reader.optional("WINDLASS_SCHEDULE_GROUP", GROUP).unwrap_or_else(|| name.clone()),
            schedule_target: reader.schedule_target(needs),
            endpoint: reader.optional("AWS_ENDPOINT_URL", ENDPOINT),
            meter_reads: reader.meter_reads(),
            name,
        };
        if reader.faults.is_empty() { Ok(settings) } else { Err(SettingsError { faults: reader.faults }) }
    }
}

/// What one setting must be, in words and as a check.
type Expected = (&'static str, fn(&str) -> bool);

const STACK_NAME: Expected =
    ("the name of the stack: 1 to 32 letters, digits and `-`, a letter first, such as `windlass`", is_stack_name);
const REGION: Expected = ("a region of AWS, such as `eu-central-1`", |text| of(text, 1..=32, "-"));
// https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html
const BUCKET: Expected = ("the name of an S3 bucket: 3 to 63 lowercase letters, digits, `.` and `-`", is_bucket);
// https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/HowItWorks.NamingRulesDataTypes.html
const TABLE: Expected =
    ("the name of a DynamoDB table: 3 to 255 letters, digits, `_`, `.` and `-`", |text| of(text, 3..=255, "_.-"));
// https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_CreateEventBus.html
const BUS: Expected =
    ("the name of an event bus: 1 to 256 letters, digits, `_`, `.` and `-`", |text| of(text, 1..=256, "_.-"));
// Names of queues have 80 characters (CreateQueue); this leaves room for what follows the prefix.
const QUEUE_PREFIX: Expected =
    ("what the names of queues begin with: 1 to 40 letters, digits, `_` and `-`", |text| of(text, 1..=40, "_-"));
// https://docs.aws.amazon.com/scheduler/latest/APIReference/API_CreateScheduleGroup.html
const GROUP: Expected =
    ("the name of a schedule group: 1 to 64 letters, digits, `_`, `.` and `-`", |text| of(text, 1..=64, "_.-"));
const ROLE_ARN: Expected =
    ("the ARN of a role, such as `arn:aws:iam::123456789012:role/NAME`", |text| is_arn(text, "iam"));
const QUEUE_ARN: Expected =
    ("the ARN of a queue, such as `arn:aws:sqs:eu-central-1:123456789012:NAME`", |text| is_arn(text, "sqs"));
const ENDPOINT: Expected = ("an address that begins with `http://` or `https://`", is_address);
const READS: Expected = ("`reported` or `sized`", |text| matches!(text, "reported" | "sized"));

fn of(text: &str, lengths: std::ops::RangeInclusive<usize>, beside: &str) -> bool {
    lengths.contains(&text.len()) && text.chars().all(|c| c.is_ascii_alphanumeric() || beside.contains(c))
}

fn is_stack_name(text: &str) -> bool {
    of(text, 1..=MAX_STACK_NAME_BYTES, "-") && text.starts_with(|c: char| c.is_ascii_alphabetic())
}

fn is_bucket(text: &str) -> bool {
    of(text, 3..=63, ".-") && !text.contains(|c: char| c.is_ascii_uppercase())
}

fn is_arn(text: &str, service: &str) -> bool {
    let parts: Vec<&str> = text.split(':').collect();
    parts.len() == 6 && parts[0] == "arn" && parts[2] == service && !parts[5].is_empty()
}

fn is_address(text: &str) -> bool {
    let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    rest.is_some_and(|rest| !rest.is_empty() && !rest.contains(char::is_whitespace))
}

struct Reader<L> {
    lookup: L,
    faults: Vec<SettingFault>,
}

impl<L: Fn(&str) -> Option<String>> Reader<L> {
    fn optional(&mut self, name: &'static str, (expected, fits): Expected) -> Option<String> {
        let value = (self.lookup)(name).filter(|value| !value.is_empty())?;
        if !fits(&value) {
            self.faults.push(SettingFault { name, found: Some(value.clone()), expected });
        }
        Some(value)
    }

    fn required(&mut self, name: &'static str, expected: Expected) -> Option<String> {
        let value = self.optional(name, expected);
        if value.is_none() {
            self.faults.push(SettingFault { name, found: None, expected: expected.0 });
        }
        value
    }

    fn region(&mut self) -> String {
        let region = match self.optional("AWS_REGION", REGION) {
            None if (self.lookup)("AWS_DEFAULT_REGION").is_some() => self.optional("AWS_DEFAULT_REGION", REGION),
            None => self.required("AWS_REGION", REGION),
            region => region,
        };
        region.unwrap_or_default()
    }

    /// One without the other is a fault, whatever the program needs.
    fn schedule_target(&mut self, needs: Needs) -> Option<ScheduleTarget> {
        const NAMES: [(&str, Expected); 2] =
            [("WINDLASS_SCHEDULE_ROLE_ARN", ROLE_ARN), ("WINDLASS_INBOX_ARN", QUEUE_ARN)];
        let is_set = |name| (self.lookup)(name).is_some_and(|value| !value.is_empty());
        if needs == Needs::NoSchedules && !NAMES.iter().any(|(name, _)| is_set(name)) {
            return None;
        }
        let [role_arn, inbox_arn] = NAMES.map(|(name, expected)| self.required(name, expected).unwrap_or_default());
        Some(ScheduleTarget { role_arn, inbox_arn })
    }

    fn meter_reads(&mut self) -> ReadUnits {
        match self.optional("WINDLASS_METER_READS", READS).as_deref() {
            Some("sized") => ReadUnits::Sized,
            _ => ReadUnits::Reported,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    const ROLE: &str = "arn:aws:iam::123456789012:role/windlass-scheduler";
    const INBOX: &str = "arn:aws:sqs:eu-central-1:123456789012:windlass-inbox";
    const LEAST: [(&str, &str); 3] =
        [("WINDLASS_NAME", "prod"), ("AWS_REGION", "eu-central-1"), ("WINDLASS_BUCKET", "prod-payloads")];

    fn read(set: &[(&str, &str)], needs: Needs) -> Result<Settings, SettingsError> {
        let set: BTreeMap<&str, &str> = set.iter().copied().collect();
        Settings::read(|name| set.get(name).map(|value| (*value).to_owned()), needs)
    }

    fn check_faults(more: &[(&str, &str)], needs: Needs, expected: &[&str]) {
        let set: Vec<_> = LEAST.iter().chain(more).copied().collect();
        let faults = read(&set, needs).map_or_else(
            |error| {
                assert_eq!(error.code(), "WL0801");
                error.faults
            },
            |_| Vec::new(),
        );
        let names: Vec<&str> = faults.iter().map(|fault| fault.name).collect();
        assert_eq!(names, expected, "{more:?}");
    }

    #[test]
    fn the_least_is_enough_for_an_agent() {
        let settings = read(&LEAST, Needs::NoSchedules).expect("nothing is missing");
        let names = [&settings.table, &settings.bus, &settings.queue_prefix, &settings.schedule_group];
        assert_eq!(names, ["prod", "prod", "prod-", "prod"]);
        assert_eq!(settings.schedule_target, None);
        assert_eq!(settings.meter_reads, ReadUnits::Reported);
    }

    #[test]
    fn everything_can_be_set() {
        let more = [
            ("WINDLASS_TABLE", "table"),
            ("WINDLASS_BUS", "bus"),
            ("WINDLASS_QUEUE_PREFIX", "q_"),
            ("WINDLASS_SCHEDULE_GROUP", "group"),
            ("WINDLASS_SCHEDULE_ROLE_ARN", ROLE),
            ("WINDLASS_INBOX_ARN", INBOX),
            ("AWS_ENDPOINT_URL", "http://127.0.0.1:4566"),
            ("WINDLASS_METER_READS", "sized"),
        ];
        let set: Vec<_> = LEAST.iter().chain(&more).copied().collect();
        let settings = read(&set, Needs::Schedules).expect("all is well");
        let target = ScheduleTarget { role_arn: ROLE.to_owned(), inbox_arn: INBOX.to_owned() };
        assert_eq!(settings.schedule_target, Some(target));
        assert_eq!(settings.endpoint.as_deref(), Some("http://127.0.0.1:4566"));
        assert_eq!((settings.queue_prefix.as_str(), settings.meter_reads), ("q_", ReadUnits::Sized));
    }

    #[test]
    fn all_faults_are_reported_together() {
        let error = read(&[("WINDLASS_TABLE", "a b"), ("WINDLASS_NAME", "")], Needs::Schedules).expect_err("faults");
        let names: Vec<&str> = error.faults.iter().map(|fault| fault.name).collect();
        let expected = [
            "WINDLASS_NAME",
            "AWS_REGION",
            "WINDLASS_BUCKET",
            "WINDLASS_TABLE",
            "WINDLASS_SCHEDULE_ROLE_ARN",
            "WINDLASS_INBOX_ARN",
        ];
        assert_eq!(names, expected);
        let text = error.to_string();
        assert!(text.contains("WINDLASS_BUCKET is missing: set it to the name of an S3 bucket"), "{text}");
        assert!(text.contains("WINDLASS_TABLE is `a b`: it must be the name of a DynamoDB table"), "{text}");
    }

    #[test]
    fn each_setting_is_checked() {
        let agent = Needs::NoSchedules;
        check_faults(&[], agent, &[]);
        check_faults(&[("WINDLASS_NAME", "1st")], agent, &["WINDLASS_NAME"]);
        check_faults(&[("WINDLASS_NAME", &"n".repeat(33))], agent, &["WINDLASS_NAME"]);
        check_faults(&[("AWS_REGION", "eu central")], agent, &["AWS_REGION"]);
        check_faults(&[("WINDLASS_BUCKET", "Upper")], agent, &["WINDLASS_BUCKET"]);
        check_faults(&[("WINDLASS_QUEUE_PREFIX", "a.b")], agent, &["WINDLASS_QUEUE_PREFIX"]);
        check_faults(&[("AWS_ENDPOINT_URL", "localhost:4566")], agent, &["AWS_ENDPOINT_URL"]);
        check_faults(&[("WINDLASS_METER_READS", "guessed")], agent, &["WINDLASS_METER_READS"]);
        check_faults(&[("WINDLASS_INBOX_ARN", INBOX)], agent, &["WINDLASS_SCHEDULE_ROLE_ARN"]);
        let swapped = [("WINDLASS_SCHEDULE_ROLE_ARN", INBOX), ("WINDLASS_INBOX_ARN", ROLE)];
        check_faults(&swapped, agent, &["WINDLASS_SCHEDULE_ROLE_ARN", "WINDLASS_INBOX_ARN"]);
    }

    #[test]
    fn the_default_region_will_do() {
        let set = [("WINDLASS_NAME", "prod"), ("AWS_DEFAULT_REGION", "us-east-1"), ("WINDLASS_BUCKET", "bucket")];
        assert_eq!(read(&set, Needs::NoSchedules).expect("it is set").region, "us-east-1");
    }
}
