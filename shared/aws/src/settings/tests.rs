//! Settings as the template gives them, and as a person may get them wrong.

use std::collections::BTreeMap;

use super::*;
use crate::sender::Sender;

const ROLE: &str = "arn:aws:iam::123456789012:role/windlass-scheduler";
const INBOX: &str = "arn:aws:sqs:eu-central-1:123456789012:windlass-inbox";
const DLQ: &str = "arn:aws:sqs:eu-central-1:123456789012:windlass-schedules-dlq";
const LEAST: [(&str, &str); 3] =
    [("WINDLASS_NAME", "prod"), ("AWS_REGION", "eu-central-1"), ("WINDLASS_BUCKET", "prod-payloads")];
const SCHEDULES: [(&str, &str); 3] =
    [("WINDLASS_SCHEDULE_ROLE_ARN", ROLE), ("WINDLASS_INBOX_ARN", INBOX), ("WINDLASS_SCHEDULES_DLQ_ARN", DLQ)];
const SENDERS: [(&str, &str); 4] = [
    ("WINDLASS_POOLS", "default,gpu"),
    ("WINDLASS_AGENT_ROLE_default", "AROAAGENTSOFDEFAULT01"),
    ("WINDLASS_AGENT_ROLE_gpu", "AROAAGENTSOFTHEGPU001"),
    ("WINDLASS_HOST_ROLES", "AROACOORDINATOR000001,AROAPROCESSMANAGER001"),
];

fn read(set: &[(&str, &str)], program: Program) -> Result<Settings, SettingsError> {
    let set: BTreeMap<&str, &str> = set.iter().copied().collect();
    Settings::read(|name| set.get(name).map(|value| (*value).to_owned()), program)
}

fn check_faults(more: &[(&str, &str)], program: Program, expected: &[&str]) {
    let set: Vec<_> = LEAST.iter().chain(more).copied().collect();
    let faults = read(&set, program).map_or_else(
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
fn agent_needs_the_least() {
    let settings = read(&LEAST, Program::Agent).expect("nothing is missing");
    let names = [&settings.table, &settings.bus, &settings.queue_prefix, &settings.schedule_group];
    assert_eq!(names, ["prod", "prod", "prod-", "prod"]);
    assert_eq!((settings.schedule_target, settings.pools), (None, Vec::new()));
    assert_eq!(settings.meter_reads, ReadUnits::Reported);
}

#[test]
fn each_setting_is_read() {
    let more = [
        ("WINDLASS_TABLE", "table"),
        ("WINDLASS_BUS", "bus"),
        ("WINDLASS_QUEUE_PREFIX", "q_"),
        ("WINDLASS_SCHEDULE_GROUP", "group"),
        ("WINDLASS_POOLS", "default"),
        ("AWS_ENDPOINT_URL", "http://127.0.0.1:4566"),
        ("WINDLASS_KEEP", "30d"),
        ("WINDLASS_METER_READS", "sized"),
    ];
    let set = [LEAST.as_slice(), &SCHEDULES, &more].concat();
    let settings = read(&set, Program::Coordinator).expect("all is well");
    let target =
        ScheduleTarget { role_arn: ROLE.to_owned(), inbox_arn: INBOX.to_owned(), dead_letters_arn: DLQ.to_owned() };
    assert_eq!(settings.schedule_target, Some(target));
    assert_eq!(settings.endpoint.as_deref(), Some("http://127.0.0.1:4566"));
    assert_eq!((settings.queue_prefix.as_str(), settings.meter_reads), ("q_", ReadUnits::Sized));
    assert_eq!(settings.pools, [PoolName::default()]);
    assert_eq!(settings.senders, Senders::default(), "the coordinator asks for no sender");
}

#[test]
fn process_manager_knows_its_senders() {
    let settings = read(&[LEAST.as_slice(), &SENDERS].concat(), Program::ProcessManager).expect("all is well");
    let gpu = PoolName::new("gpu").expect("a name");
    assert_eq!(settings.pools, [PoolName::default(), gpu.clone()]);
    assert_eq!(settings.senders.of(Some("AROAAGENTSOFTHEGPU001:task")), Sender::AgentOf(gpu));
    assert_eq!(settings.senders.of(Some("AROAAGENTSOFDEFAULT01:task")), Sender::AgentOf(PoolName::default()));
    assert_eq!(settings.senders.of(Some("AROAPROCESSMANAGER001:x")), Sender::Host);
    assert_eq!(settings.senders.of(Some("AROASTRANGER000000001:x")), Sender::Unknown);
}

#[test]
fn pool_without_a_role_is_a_fault() {
    let program = Program::ProcessManager;
    check_faults(&SENDERS, program, &[]);
    check_faults(&SENDERS[1..], program, &["WINDLASS_POOLS"]);
    check_faults(&SENDERS[..3], program, &["WINDLASS_HOST_ROLES"]);
    let wrong = [SENDERS.as_slice(), &[("WINDLASS_HOST_ROLES", "AROACOORDINATOR000001,")]].concat();
    check_faults(&wrong, program, &["WINDLASS_HOST_ROLES"]);
    let without = [SENDERS[0], SENDERS[1], SENDERS[3]];
    check_faults(&without, program, &["WINDLASS_AGENT_ROLE_POOL"]);
    let error = read(&[LEAST.as_slice(), &without].concat(), program).expect_err("a fault").to_string();
    assert!(error.contains("WINDLASS_AGENT_ROLE_POOL is `gpu=`: it must be the id of the role"), "{error}");
}

#[test]
fn all_faults_are_reported_together() {
    let error = read(&[("WINDLASS_TABLE", "a b"), ("WINDLASS_NAME", "")], Program::Coordinator).expect_err("faults");
    let names: Vec<&str> = error.faults.iter().map(|fault| fault.name).collect();
    let expected = [
        "WINDLASS_NAME",
        "AWS_REGION",
        "WINDLASS_BUCKET",
        "WINDLASS_TABLE",
        "WINDLASS_SCHEDULE_ROLE_ARN",
        "WINDLASS_INBOX_ARN",
        "WINDLASS_SCHEDULES_DLQ_ARN",
        "WINDLASS_POOLS",
    ];
    assert_eq!(names, expected);
    let text = error.to_string();
    assert!(text.contains("WINDLASS_BUCKET is missing: set it to the name of an S3 bucket"), "{text}");
    assert!(text.contains("WINDLASS_TABLE is `a b`: it must be the name of a DynamoDB table"), "{text}");
}

#[test]
fn each_setting_is_checked() {
    let agent = Program::Agent;
    check_faults(&[], agent, &[]);
    check_faults(&[("WINDLASS_NAME", "1st")], agent, &["WINDLASS_NAME"]);
    check_faults(&[("WINDLASS_NAME", &"n".repeat(33))], agent, &["WINDLASS_NAME"]);
    check_faults(&[("AWS_REGION", "eu central")], agent, &["AWS_REGION"]);
    check_faults(&[("WINDLASS_BUCKET", "Upper")], agent, &["WINDLASS_BUCKET"]);
    check_faults(&[("WINDLASS_QUEUE_PREFIX", "a.b")], agent, &["WINDLASS_QUEUE_PREFIX"]);
    check_faults(&[("AWS_ENDPOINT_URL", "localhost:4566")], agent, &["AWS_ENDPOINT_URL"]);
    check_faults(&[("WINDLASS_METER_READS", "guessed")], agent, &["WINDLASS_METER_READS"]);
    check_faults(&[("WINDLASS_POOLS", "default,a b")], agent, &["WINDLASS_POOLS"]);
    let others = ["WINDLASS_SCHEDULE_ROLE_ARN", "WINDLASS_SCHEDULES_DLQ_ARN"];
    check_faults(&[("WINDLASS_INBOX_ARN", INBOX)], agent, &others);
    let swapped =
        [("WINDLASS_SCHEDULE_ROLE_ARN", INBOX), ("WINDLASS_INBOX_ARN", ROLE), ("WINDLASS_SCHEDULES_DLQ_ARN", DLQ)];
    check_faults(&swapped, agent, &["WINDLASS_SCHEDULE_ROLE_ARN", "WINDLASS_INBOX_ARN"]);
}

#[test]
fn default_region_will_do() {
    let set = [("WINDLASS_NAME", "prod"), ("AWS_DEFAULT_REGION", "us-east-1"), ("WINDLASS_BUCKET", "bucket")];
    assert_eq!(read(&set, Program::Agent).expect("it is set").region, "us-east-1");
}
