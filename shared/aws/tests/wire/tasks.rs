//! Tasks over the wire.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::json;
use windlass_aws::AwsHost;
use windlass_domain::ids::TaskName;
use windlass_domain::time::Timestamp;
use windlass_engine::Ports;
use windlass_engine::ports::{ErrorClass, TaskRecord, Tasks};
use windlass_testkit::conformance::{self, Timing};
use windlass_testkit::memory::MemoryHost;

use crate::stack::Stack;

#[tokio::test(flavor = "multi_thread")]
async fn the_suite() {
    let host = Stack::get().host().await;
    let others = MemoryHost::new(Timestamp::from_millis(0)).ports();
    let ports = Ports { tasks: host.tasks(), clock: host.clock(), ..others };
    conformance::tasks(async || ports.clone(), Timing::WIRE).await;
}

fn name(text: &str) -> TaskName {
    TaskName::new(text).expect("a name")
}

async fn put(host: &AwsHost, tasks: &dyn Tasks, text: &str) -> TaskName {
    let name = name(text);
    tasks.put(&name, &json!({ "task": text }), None, host.clock().now()).await.expect("it is put");
    name
}

fn key(pk: &str, sk: &str) -> HashMap<String, AttributeValue> {
    let text = |value: &str| AttributeValue::S(value.to_owned());
    HashMap::from([("pk".to_owned(), text(pk)), ("sk".to_owned(), text(sk))])
}

/// One answer of a query has at most 1 MB
/// (<https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Query.Pagination.html>). The test makes twelve
/// records 100 KB long each, so they come in several answers.
#[tokio::test(flavor = "multi_thread")]
async fn list_continues_over_several_query_answers() {
    let host = Stack::get().host().await;
    let (tasks, dynamodb, table) = (host.tasks(), &host.clients().dynamodb, &host.settings().table);
    let mut names = Vec::new();
    for number in 0..12 {
        let name = put(&host, tasks.as_ref(), &format!("long-{number:02}")).await;
        let get = dynamodb.get_item().table_name(table).set_key(Some(key("TASKS", name.as_str())));
        let mut item = get.send().await.expect("it is read").item.expect("it is there");
        item.insert("ballast".to_owned(), AttributeValue::S("x".repeat(100_000)));
        dynamodb.put_item().table_name(table).set_item(Some(item)).send().await.expect("it is written");
        names.push(name);
    }
    let listed = tasks.list(Some(&name("long-")), 12).await.expect("they are listed");
    assert_eq!(listed.into_iter().map(|record| record.name).collect::<Vec<_>>(), names);
}

#[tokio::test(flavor = "multi_thread")]
async fn page_is_full_despite_deleted_tasks() {
    let host = Stack::get().host().await;
    let tasks = host.tasks();
    for number in 0..9 {
        let name = put(&host, tasks.as_ref(), &format!("gone-{number}")).await;
        if number % 4 != 0 {
            let record = tasks.load(&name).await.expect("it is read").expect("it is there");
            let after = TaskRecord { deleted: true, revision: record.revision + 1, ..record.clone() };
            tasks.commit(&record, &after, &[]).await.expect("it is written");
        }
    }
    let listed = tasks.list(Some(&name("gone-")), 3).await.expect("they are listed");
    let listed: Vec<_> = listed.into_iter().map(|record| record.name.to_string()).collect();
    assert_eq!(listed, ["gone-0", "gone-4", "gone-8"]);
}

/// A definition that is too long for an item is in S3, once. If S3 has lost the object, the reader gets an error.
#[tokio::test(flavor = "multi_thread")]
async fn a_long_definition_is_kept_in_the_bucket() {
    let host = Stack::get().host().await;
    let (tasks, now) = (host.tasks(), host.clock().now());
    let mut state = 7u64;
    let mut letter = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        char::from(b'!' + u8::try_from((state >> 33) % 90).expect("small"))
    };
    let source = json!({ "task": "long", "description": (0..700_000).map(|_| letter()).collect::<String>() });
    let long = name("long-definition");
    tasks.put(&long, &source, None, now).await.expect("it is put");
    let stored = tasks.version(&long, 1).await.expect("it is read").expect("it is there");
    assert!(stored.source == source, "it comes back whole");

    let (s3, bucket) = (&host.clients().s3, &host.settings().bucket);
    let listed = s3.list_objects_v2().bucket(bucket).prefix("definition/").send().await.expect("it is listed");
    let get = host.clients().dynamodb.get_item().table_name(&host.settings().table);
    let item = get.set_key(Some(key("TASK#long-definition", "V#00000001"))).send().await.expect("it is read").item;
    let hash = item.expect("it is there")["k"].as_s().expect("a hash").clone();
    let object = format!("definition/{hash}");
    assert!(listed.contents().iter().any(|found| found.key() == Some(object.as_str())), "{object}");
    s3.delete_object().bucket(bucket).key(&object).send().await.expect("it is deleted");
    let lost = tasks.version(&long, 1).await.expect_err("it is lost");
    assert_eq!((lost.class, lost.code), (ErrorClass::Bug, "WL0346"));
    assert!(lost.message.contains(&object), "{lost}");
}

/// A record costs one write unit, however large the definition is.
#[tokio::test(flavor = "multi_thread")]
async fn turn_of_schedule_is_one_write_unit() {
    let host = Stack::get().host().await;
    let tasks = host.tasks();
    let name = put(&host, tasks.as_ref(), "turning").await;
    let record = tasks.load(&name).await.expect("it is read").expect("it is there");
    let before = host.meter().snapshot();
    let active = Some(Timestamp::from_millis(1_800_000_000_000));
    let after = TaskRecord { active, revision: record.revision + 1, ..record.clone() };
    tasks.commit(&record, &after, &[]).await.expect("it is written");
    let since = host.meter().snapshot().since(&before);
    assert_eq!(since.total("DynamoDB", "PutItem"), (1, 1.0), "{since:?}");
}
