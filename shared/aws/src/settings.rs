//! The settings of the programs on AWS. A program reads them once from its environment and reports all faults together.
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
//! | `WINDLASS_SCHEDULE_ROLE_ARN` | the role by which Scheduler sends to the inbox | a fault of the coordinator |
//! | `WINDLASS_INBOX_ARN` | the inbox, as the schedules' target | a fault of the coordinator |
//! | `WINDLASS_SCHEDULES_DLQ_ARN` | the queue of due times that Scheduler gives up | a fault of the coordinator |
//! | `WINDLASS_POOLS` | the pools of the stack, with commas | a fault of the coordinator and the process manager |
//! | `WINDLASS_AGENT_ROLE_POOL` | for each pool, in place of `POOL`, the id of its agents' role | a fault of the process manager |
//! | `WINDLASS_HOST_ROLES` | the ids of the roles of all other programs, with commas | a fault of the process manager |
//! | `AWS_ENDPOINT_URL` | where all services are, instead of AWS | AWS |
//! | `WINDLASS_KEEP` | how long a run is kept after its end whose definition does not say it | `90d` |
//! | `WINDLASS_METER_READS` | `reported`, or `sized`: see [`ReadUnits`] | `reported` |

use std::fmt;

use windlass_domain::ids::PoolName;
use windlass_domain::limits::{KEEP_MS, LOST_TURN_WITHIN_MS, MAX_SPAN_MS};
use windlass_domain::retention::Retention;
use windlass_domain::time::Millis;

use crate::meter::ReadUnits;
use crate::sender::Senders;

/// Characters of a stack's name. With the longest fixed part of a queue's name (`-pool-`, `-dlq`) this leaves 38 of
/// SQS's 80 for a pool's name.
const MAX_STACK_NAME_BYTES: usize = 32;

/// The least that the run of a due time is kept: a day longer than a due time that lost its turn is started for.
const SCHEDULED_KEPT: Millis = Millis(LOST_TURN_WITHIN_MS + 86_400_000);

/// Which program reads the settings: each needs some that others do not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// It writes the schedules of tasks, and lists agents.
    Coordinator,
    /// It lists agents, and asks who sent an input.
    ProcessManager,
    /// It needs the least.
    Agent,
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
    /// The prefix of all queue names.
    pub queue_prefix: String,
    /// The schedule group of the tasks.
    pub schedule_group: String,
    /// The target and role of every schedule. Present if the program needs it, or if the environment sets it.
    pub schedule_target: Option<ScheduleTarget>,
    /// The pools of the stack; empty if the environment does not set them.
    pub pools: Vec<PoolName>,
    /// The roles of the programs that send inputs; empty if the environment does not set them.
    pub senders: Senders,
    /// How long a run is kept after its end, unless its definition says it.
    pub keep: Millis,
    /// How the meter counts reads.
    pub meter_reads: ReadUnits,
}

/// Where schedules send, and by which role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScheduleTarget {
    /// The role that Scheduler takes on.
    pub role_arn: String,
    /// The inbox.
    pub inbox_arn: String,
    /// The queue of due times that Scheduler could not bring to the inbox.
    pub dead_letters_arn: String,
}

/// A setting that is missing or wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingFault {
    /// Its name.
    pub name: &'static str,
    /// The value in the environment; absent if there is none. Only names and addresses are settings, no secrets.
    pub found: Option<String>,
    /// The form that a valid value has, in words.
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
    pub fn from_env(program: Program) -> Result<Self, SettingsError> {
        Self::read(|name| std::env::var(name).ok(), program)
    }

    /// Reads the settings. A value that is empty counts as absent, as a template has no other way to leave one out.
    pub fn read(lookup: impl Fn(&str) -> Option<String>, program: Program) -> Result<Self, SettingsError> {
        let mut reader = Reader { lookup, faults: Vec::new() };
        let name = reader.required("WINDLASS_NAME", STACK_NAME).unwrap_or_default();
        let settings = Self {
            region: reader.region(),
            bucket: reader.required("WINDLASS_BUCKET", BUCKET).unwrap_or_default(),
            table: reader.optional("WINDLASS_TABLE", TABLE).unwrap_or_else(|| name.clone()),
            bus: reader.optional("WINDLASS_BUS", BUS).unwrap_or_else(|| name.clone()),
            queue_prefix: reader.optional("WINDLASS_QUEUE_PREFIX", QUEUE_PREFIX).unwrap_or_else(|| format!("{name}-")),
            schedule_group: reader.optional("WINDLASS_SCHEDULE_GROUP", GROUP).unwrap_or_else(|| name.clone()),
            schedule_target: reader.schedule_target(program),
            pools: reader.pools(program),
            senders: reader.senders(program),
            endpoint: reader.optional("AWS_ENDPOINT_URL", ENDPOINT),
            keep: reader.keep(),
            meter_reads: reader.meter_reads(),
            name,
        };
        if reader.faults.is_empty() { Ok(settings) } else { Err(SettingsError { faults: reader.faults }) }
    }

    /// How long the stack keeps runs after their end.
    pub fn retention(&self) -> Retention {
        Retention { default: self.keep, scheduled_at_least: SCHEDULED_KEPT }
    }
}

/// The form of a valid value, in words and as a check.
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
// Names of queues have 80 characters (`CreateQueue`); this leaves room after the prefix.
const QUEUE_PREFIX: Expected =
    ("what the names of queues begin with: 1 to 40 letters, digits, `_` and `-`", |text| of(text, 1..=40, "_-"));
// https://docs.aws.amazon.com/scheduler/latest/APIReference/API_CreateScheduleGroup.html
const GROUP: Expected =
    ("the name of a schedule group: 1 to 64 letters, digits, `_`, `.` and `-`", |text| of(text, 1..=64, "_.-"));
const ROLE_ARN: Expected =
    ("the ARN of a role, such as `arn:aws:iam::123456789012:role/NAME`", |text| is_arn(text, "iam"));
const QUEUE_ARN: Expected =
    ("the ARN of a queue, such as `arn:aws:sqs:eu-central-1:123456789012:NAME`", |text| is_arn(text, "sqs"));
const POOLS: Expected =
    ("the pools of the stack, with commas between them, such as `default,gpu`", |text| pools_of(text).is_some());
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html
const AGENT_ROLE: Expected = (
    "the id of the role of the pool's agents, such as `AROACKCEVSQ6C2EXAMPLE`; `POOL` stands for the pool's name",
    is_role_id,
);
const HOST_ROLES: Expected =
    ("the ids of the roles of the host's programs, with commas between them", |text| text.split(',').all(is_role_id));
const ENDPOINT: Expected = ("an address that begins with `http://` or `https://`", is_address);
const KEEP: Expected = ("a time with its unit, from `1s` to `366d`, such as `90d`", |text| keep_of(text).is_some());
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

fn is_role_id(text: &str) -> bool {
    of(text, 16..=128, "")
}

fn pools_of(text: &str) -> Option<Vec<PoolName>> {
    text.split(',').map(|name| PoolName::new(name).ok()).collect()
}

fn keep_of(text: &str) -> Option<Millis> {
    Millis::parse(text).filter(|keep| (1000..=MAX_SPAN_MS).contains(&keep.0))
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

    /// One of the three without the others is a fault of each program.
    fn schedule_target(&mut self, program: Program) -> Option<ScheduleTarget> {
        const NAMES: [(&str, Expected); 3] = [
            ("WINDLASS_SCHEDULE_ROLE_ARN", ROLE_ARN),
            ("WINDLASS_INBOX_ARN", QUEUE_ARN),
            ("WINDLASS_SCHEDULES_DLQ_ARN", QUEUE_ARN),
        ];
        let is_set = |name| (self.lookup)(name).is_some_and(|value| !value.is_empty());
        if program != Program::Coordinator && !NAMES.iter().any(|(name, _)| is_set(name)) {
            return None;
        }
        let read = NAMES.map(|(name, expected)| self.required(name, expected).unwrap_or_default());
        let [role_arn, inbox_arn, dead_letters_arn] = read;
        Some(ScheduleTarget { role_arn, inbox_arn, dead_letters_arn })
    }

    fn pools(&mut self, program: Program) -> Vec<PoolName> {
        let told = match program {
            Program::Coordinator | Program::ProcessManager => self.required("WINDLASS_POOLS", POOLS),
            Program::Agent => self.optional("WINDLASS_POOLS", POOLS),
        };
        told.and_then(|text| pools_of(&text)).unwrap_or_default()
    }

    fn senders(&mut self, program: Program) -> Senders {
        if program != Program::ProcessManager {
            return Senders::default();
        }
        let pools = (self.lookup)("WINDLASS_POOLS").and_then(|text| pools_of(&text)).unwrap_or_default();
        let agents: Vec<(PoolName, String)> =
            pools.into_iter().filter_map(|pool| Some((pool.clone(), self.agent_role(&pool)?))).collect();
        let hosts = self.required("WINDLASS_HOST_ROLES", HOST_ROLES).unwrap_or_default();
        Senders::new(hosts.split(',').map(str::to_owned), agents)
    }

    /// The id of the role of a pool's agents.
    fn agent_role(&mut self, pool: &PoolName) -> Option<String> {
        let found = (self.lookup)(&format!("WINDLASS_AGENT_ROLE_{pool}")).unwrap_or_default();
        if !is_role_id(&found) {
            let (name, found) = ("WINDLASS_AGENT_ROLE_POOL", Some(format!("{pool}={found}")));
            self.faults.push(SettingFault { name, found, expected: AGENT_ROLE.0 });
            return None;
        }
        Some(found)
    }

    fn keep(&mut self) -> Millis {
        self.optional("WINDLASS_KEEP", KEEP).and_then(|text| keep_of(&text)).unwrap_or(Millis(KEEP_MS))
    }

    fn meter_reads(&mut self) -> ReadUnits {
        match self.optional("WINDLASS_METER_READS", READS).as_deref() {
            Some("sized") => ReadUnits::Sized,
            _ => ReadUnits::Reported,
        }
    }
}

#[cfg(test)]
mod tests;
