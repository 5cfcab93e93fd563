//! The register of tasks and the schedules that follow it.

use std::sync::Arc;

use async_trait::async_trait;
use windlass_domain::definition::{Definition, Schedule, ScheduleRule};
use windlass_domain::ids::TaskName;
use windlass_domain::time::{Millis, Timestamp};
use windlass_engine::Ports;
use windlass_engine::definitions::Definitions;
use windlass_engine::ports::{PortError, ScheduleRefusal, Schedules};
use windlass_engine::registry::{PutError, Registry};
use windlass_testkit::faults::{FaultyHost, Moment};
use windlass_testkit::memory::MemoryHost;

const START: Timestamp = Timestamp::from_millis(1_800_000_000_000);

fn registry(ports: &Ports) -> Registry {
    Registry::new(ports.clone(), Arc::new(Definitions::new(ports.tasks.clone())))
}

/// A task that is due every so many minutes, or never.
fn every(minutes: u64) -> Definition {
    let schedule = if minutes == 0 { String::new() } else { format!("schedule: {{ every: {minutes}m }}\n") };
    Definition::from_text(&format!("task: t\n{schedule}actions: {{ a: {{ exec: [\"true\"] }} }}\n")).expect("good")
}

fn name() -> TaskName {
    TaskName::new("t").expect("a name")
}

fn rule(host: &MemoryHost) -> Option<ScheduleRule> {
    host.schedule_of(&name()).map(|schedule| schedule.rule)
}

fn minutes(count: u64) -> ScheduleRule {
    ScheduleRule::Every(Millis::from_secs(60 * count))
}

#[tokio::test]
async fn the_schedule_follows_the_newest_version() {
    let host = MemoryHost::new(START);
    let registry = registry(&host.ports());
    registry.put(&every(1)).await.unwrap();
    assert_eq!(rule(&host), Some(minutes(1)));
    registry.put(&every(2)).await.unwrap();
    assert_eq!(rule(&host), Some(minutes(2)));
    registry.put(&every(0)).await.unwrap();
    assert_eq!(rule(&host), None);
    registry.put(&every(2)).await.unwrap();
    registry.delete(&name()).await.unwrap();
    assert_eq!(rule(&host), None);
    registry.put(&every(2)).await.unwrap();
    assert_eq!(rule(&host), Some(minutes(2)));
}

#[tokio::test]
async fn applying_or_deleting_again_mends_a_crash() {
    for moment in [Moment::Before, Moment::After, Moment::Twice] {
        for call in 0.. {
            let host = MemoryHost::new(START);
            let ports = host.ports();
            registry(&ports).put(&every(1)).await.unwrap();
            let dying = FaultyHost::crashing(ports.clone(), call, moment).ports();
            let put = self::registry(&dying).put(&every(2)).await;
            registry(&ports).put(&every(2)).await.unwrap();
            assert_eq!(rule(&host), Some(minutes(2)), "call {call}, {moment:?}");

            let dying = FaultyHost::crashing(ports.clone(), call, moment).ports();
            let deleted = self::registry(&dying).delete(&name()).await;
            let record = ports.tasks.load(&name()).await.unwrap().expect("a record");
            assert!(record.deleted || rule(&host) == Some(minutes(2)), "a task that is not deleted is due");
            registry(&ports).delete(&name()).await.unwrap();
            assert_eq!(rule(&host), None, "call {call}, {moment:?}");
            if put.is_ok() && deleted.is_ok() {
                break;
            }
        }
    }
}

/// The callers may write in any order: in the end the schedule is that of the record.
#[tokio::test]
async fn concurrent_changes_leave_the_schedule_of_the_record() {
    for seed in 0..300 {
        let host = MemoryHost::new(START);
        let ports = FaultyHost::interleaving(host.ports(), seed).ports();
        registry(&ports).put(&every(9)).await.unwrap();
        let put = |minutes| {
            let registry = registry(&ports);
            async move { registry.put(&every(minutes)).await.map(|_| ()) }
        };
        let delete = async { registry(&ports).delete(&name()).await };
        let (one, two, deleted) = tokio::join!(put(1), put(2), delete);
        one.unwrap();
        two.unwrap();
        deleted.unwrap();
        let record = host.ports().tasks.load(&name()).await.unwrap().expect("a record");
        let newest = registry(&host.ports()).get(&name()).await.unwrap().expect("a task");
        let expected = newest.definition.schedule.as_ref().filter(|_| !record.deleted);
        assert_eq!(rule(&host), expected.map(|schedule| schedule.rule.clone()), "seed {seed}");
    }
}

/// A host that keeps no schedule.
struct Refusing;

#[async_trait]
impl Schedules for Refusing {
    fn check(&self, _: &Schedule) -> Result<(), ScheduleRefusal> {
        let message = "not here".to_owned();
        Err(ScheduleRefusal { code: "WL0340", path: "schedule.every", message, help: None })
    }
    async fn put(&self, _: &TaskName, _: &Schedule, _: Timestamp) -> Result<(), PortError> {
        panic!("a refused schedule is put")
    }
    async fn remove(&self, _: &TaskName) -> Result<(), PortError> {
        Ok(())
    }
}

#[tokio::test]
async fn refused_schedule_leaves_no_trace() {
    let host = MemoryHost::new(START);
    let ports = Ports { schedules: Arc::new(Refusing), ..host.ports() };
    let refused = registry(&ports).put(&every(1)).await;
    assert!(matches!(refused, Err(PutError::Schedule(refusal)) if refusal.path == "schedule.every"));
    assert_eq!(ports.tasks.load(&name()).await.unwrap(), None);
    registry(&ports).put(&every(0)).await.unwrap();
}
