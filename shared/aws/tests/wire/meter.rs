//! The meter against the emulator: the emulator reports the units of writes, and the meter computes those of reads.

use aws_sdk_dynamodb::types::AttributeValue;
use windlass_aws::AwsHost;
use windlass_aws::meter::{ReadUnits, Snapshot};

use crate::stack::Stack;

fn text(value: impl Into<String>) -> AttributeValue {
    AttributeValue::S(value.into())
}

async fn put(host: &AwsHost, key: &str, bytes: usize) {
    let put = host.clients().dynamodb.put_item().table_name(&host.settings().table);
    let put = put.item("pk", text(key)).item("sk", text("meter")).item("body", text("x".repeat(bytes)));
    put.send().await.expect("it is written");
}

async fn get(host: &AwsHost, key: &str, consistent: bool) {
    let get = host.clients().dynamodb.get_item().table_name(&host.settings().table).consistent_read(consistent);
    get.key("pk", text(key)).key("sk", text("meter")).send().await.expect("it is read");
}

fn check(found: &Snapshot, operation: &str, requests: u64, units: f64) {
    let total = found.total("DynamoDB", operation);
    assert!(total.0 == requests && (total.1 - units).abs() < 0.1, "{operation}: {total:?} of {found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_count_as_reported_reads_by_size() {
    let host = Stack::get().host().await;
    assert_eq!(host.meter().reads(), ReadUnits::Sized);
    put(&host, "meter-small", 100).await;
    put(&host, "meter-large", 9000).await;
    get(&host, "meter-small", true).await;
    get(&host, "meter-large", true).await;
    get(&host, "meter-large", false).await;
    get(&host, "meter-absent", true).await;
    let found = host.meter().snapshot();
    check(&found, "PutItem", 2, 1.0 + 9.0);
    check(&found, "GetItem", 4, 1.0 + 3.0 + 1.5 + 1.0);
}
