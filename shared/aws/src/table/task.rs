//! A task's record. The records of all tasks, deleted ones included, are one partition in the order of their names, so
//! that a list is a query. There are some thousands of tasks, and each is written a few times a minute at most. A
//! partition takes 1,000 writes a second, which is far more.

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use serde::{Deserialize, Serialize};
use windlass_domain::ids::{TaskName, TaskVersion};
use windlass_domain::time::Timestamp;
use windlass_engine::ports::TaskRecord;

use super::{BODY, Damage, Item, REVISION, SK, key, number, packing, read_bytes, read_number, read_text};

/// The partition of the records.
pub(crate) const PARTITION: &str = "TASKS";

/// The key of a task's record.
pub(crate) fn task_key(task: &TaskName) -> Item {
    key(PARTITION, task.as_str())
}

/// The packed body. Times are in milliseconds since the epoch.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    #[serde(rename = "v")]
    version: TaskVersion,
    #[serde(rename = "x", default, skip_serializing_if = "std::ops::Not::not")]
    deleted: bool,
    #[serde(rename = "u")]
    updated_at: i64,
    #[serde(rename = "n", default, skip_serializing_if = "Option::is_none")]
    next_due: Option<i64>,
    #[serde(rename = "a", default, skip_serializing_if = "Option::is_none")]
    active: Option<i64>,
    #[serde(rename = "w", default, skip_serializing_if = "Vec::is_empty")]
    waiting: Vec<i64>,
    #[serde(rename = "p", default, skip_serializing_if = "Vec::is_empty")]
    passed_over: Vec<i64>,
}

/// The item of a record.
///
/// # Panics
/// Never: the body is plain data.
pub(crate) fn encode(record: &TaskRecord) -> Item {
    let millis = |times: &[Timestamp]| times.iter().map(|time| time.as_millis()).collect();
    let body = Body {
        version: record.version,
        deleted: record.deleted,
        updated_at: record.updated_at.as_millis(),
        next_due: record.next_due.map(Timestamp::as_millis),
        active: record.active.map(Timestamp::as_millis),
        waiting: millis(&record.waiting),
        passed_over: millis(&record.passed_over),
    };
    let packed = packing::pack(&serde_json::to_vec(&body).expect("bodies are plain data"));
    let mut item = task_key(&record.name);
    item.insert(REVISION.to_owned(), number(record.revision));
    item.insert(BODY.to_owned(), AttributeValue::B(Blob::new(packed)));
    item
}

/// Reads a record.
pub(crate) fn decode(item: &Item) -> Result<TaskRecord, Damage> {
    let json = packing::unpack(read_bytes(item, BODY)?)?;
    let body: Body = serde_json::from_slice(&json).map_err(Damage::broken)?;
    let times = |millis: Vec<i64>| millis.into_iter().map(Timestamp::from_millis).collect();
    Ok(TaskRecord {
        name: TaskName::new(read_text(item, SK)?).map_err(Damage::broken)?,
        revision: read_number(item, REVISION)?,
        version: body.version,
        deleted: body.deleted,
        updated_at: Timestamp::from_millis(body.updated_at),
        next_due: body.next_due.map(Timestamp::from_millis),
        active: body.active.map(Timestamp::from_millis),
        waiting: times(body.waiting),
        passed_over: times(body.passed_over),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn times(most: usize) -> impl Strategy<Value = Vec<Timestamp>> {
        proptest::collection::vec(any::<i64>().prop_map(Timestamp::from_millis), 0..most)
    }

    prop_compose! {
        fn records()(
            name in "[a-zA-Z][a-zA-Z0-9_-]{0,63}",
            (revision, version, deleted) in any::<(u64, TaskVersion, bool)>(),
            (updated_at, next_due, active) in any::<(i64, Option<i64>, Option<i64>)>(),
            (waiting, passed_over) in (times(100), times(32)),
        ) -> TaskRecord {
            TaskRecord {
                name: TaskName::new(&name).unwrap(),
                revision,
                version,
                deleted,
                updated_at: Timestamp::from_millis(updated_at),
                next_due: next_due.map(Timestamp::from_millis),
                active: active.map(Timestamp::from_millis),
                waiting,
                passed_over,
            }
        }
    }

    proptest! {
        #[test]
        fn record_round_trips(record in records()) {
            prop_assert_eq!(decode(&encode(&record)), Ok(record));
        }
    }

    #[test]
    fn a_record_is_one_write_unit() {
        let minute = |at: i64| Timestamp::from_millis(1_800_000_000_000 + at * 60_000);
        let record = TaskRecord {
            name: TaskName::new(&"n".repeat(64)).unwrap(),
            revision: 1_000_000,
            version: 1000,
            deleted: false,
            updated_at: minute(0),
            next_due: Some(minute(1)),
            active: Some(minute(0)),
            waiting: (0..100).map(minute).collect(),
            passed_over: (0..32).map(minute).collect(),
        };
        assert!(crate::meter::item_size::item_bytes(&encode(&record)) <= 1024);
    }

    #[test]
    fn damaged_record_is_reported() {
        let mut item = task_key(&TaskName::new("t").unwrap());
        assert_eq!(decode(&item), Err(Damage::Attribute(BODY)));
        item.insert(BODY.to_owned(), AttributeValue::B(Blob::new(packing::pack(b"{\"v\":1}"))));
        assert!(matches!(decode(&item), Err(Damage::Broken(_))));
    }
}
