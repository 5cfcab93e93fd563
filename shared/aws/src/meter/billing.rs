//! The billed units of each attempt of a request. The meter notes the request before the SDK serialises it, and counts
//! it with the answer. The meter does not count a request without an answer, because it may not have arrived.

use aws_sdk_dynamodb::operation as dynamodb;
use aws_sdk_dynamodb::types::{ConsumedCapacity, KeysAndAttributes, ReturnConsumedCapacity, TransactWriteItem};
use aws_sdk_eventbridge::operation::put_events::{PutEventsInput, PutEventsOutput};
use aws_sdk_eventbridge::types::PutEventsRequestEntry;
use aws_sdk_sqs::operation::receive_message::ReceiveMessageOutput;
use aws_sdk_sqs::operation::send_message::SendMessageInput;
use aws_sdk_sqs::operation::send_message_batch::SendMessageBatchInput;
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::Intercept;
use aws_smithy_runtime_api::client::interceptors::context::{
    BeforeSerializationInterceptorContextMut, FinalizerInterceptorContextRef, Input, Output,
};
use aws_smithy_runtime_api::client::orchestrator::Metadata;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::config_bag::{ConfigBag, Storable, StoreReplace};

use super::item_size::{Item, item_bytes, read_units, write_units};
use super::{Meter, ReadUnits};

/// Bytes of one unit of SQS and of `EventBridge`.
const CHUNK_BYTES: usize = 64 * 1024;

/// Error of a write whose condition did not hold, which is billed as the write would have been.
const CONDITION_FAILED: &str = "ConditionalCheckFailedException";

/// The part of a request that the bill depends on.
#[derive(Debug, Clone)]
enum Asked {
    /// A fixed number of units, with any answer, even an error.
    Units(f64),
    /// Messages: the units depend on the answer.
    Messages,
    /// Events, each with its units. AWS bills those that it takes.
    Events(Vec<f64>),
    /// A read.
    Read { consistent: bool },
    /// A write; so many units if its condition does not hold.
    Write { refused: f64 },
}

impl Storable for Asked {
    type Storer = StoreReplace<Self>;
}

impl Intercept for Meter {
    fn name(&self) -> &'static str {
        "Meter"
    }

    fn modify_before_serialization(
        &self,
        context: &mut BeforeSerializationInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        bag: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let asked = note(context.input_mut());
        bag.interceptor_state().store_put(asked);
        Ok(())
    }

    fn read_after_attempt(
        &self,
        context: &FinalizerInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        bag: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let (Some(metadata), Some(_)) = (bag.load::<Metadata>(), context.response()) else {
            return Ok(());
        };
        let (service, operation) = (metadata.service(), metadata.name());
        let Some(asked) = bag.load::<Asked>() else { return Ok(()) };
        let output = context.output_or_error().and_then(Result::ok);
        match (asked, output) {
            (Asked::Units(units), _) => self.count(service, operation, 1, *units),
            (Asked::Messages, output) => self.count(service, operation, 1, output.map_or(1.0, units_of_messages)),
            (Asked::Events(units), output) => {
                self.count(service, operation, 1, output.map_or(0.0, |output| units_of_taken(units, output)));
            }
            (Asked::Read { consistent }, Some(output)) if self.reads() == ReadUnits::Sized => {
                self.count(service, operation, 1, units_of_read(output, *consistent));
            }
            (Asked::Read { .. } | Asked::Write { .. }, Some(output)) => {
                self.count(service, operation, 1, 0.0);
                for capacity in capacities(output) {
                    self.add_capacity(service, operation, capacity);
                }
            }
            (Asked::Read { .. }, None) => self.count(service, operation, 1, 0.0),
            (Asked::Write { refused }, None) => {
                let units = if is_condition_failure(context) { *refused } else { 0.0 };
                self.count(service, operation, 1, units);
            }
        }
        Ok(())
    }
}

impl Meter {
    /// Counts the units that an answer reports, the table apart from each index.
    fn add_capacity(&self, service: &str, operation: &str, capacity: &ConsumedCapacity) {
        let indexes = [capacity.global_secondary_indexes(), capacity.local_secondary_indexes()];
        let mut of_indexes = 0.0;
        for (index, part) in indexes.into_iter().flatten().flatten() {
            let units = part.capacity_units().unwrap_or(0.0);
            of_indexes += units;
            self.add(service, operation, Some(index), 0, units);
        }
        let of_table = capacity.table().and_then(aws_sdk_dynamodb::types::Capacity::capacity_units);
        let total = capacity.capacity_units().unwrap_or(0.0);
        self.add(service, operation, None, 0, of_table.unwrap_or(total - of_indexes));
    }
}

/// Makes the request report its consumed capacity, if it has one; gives the base of the bill.
fn note(input: &mut Input) -> Asked {
    if let Some(asked) = note_write(input) {
        return asked;
    }
    if let Some(consistent) = note_read(input) {
        return Asked::Read { consistent };
    }
    if let Some(input) = input.downcast_ref::<SendMessageBatchInput>() {
        let bytes = input.entries().iter().map(|entry| entry.message_body().len()).sum();
        return Asked::Units(chunks(bytes));
    }
    if let Some(input) = input.downcast_ref::<SendMessageInput>() {
        return Asked::Units(chunks(input.message_body().map_or(0, str::len)));
    }
    if input.downcast_ref::<aws_sdk_sqs::operation::receive_message::ReceiveMessageInput>().is_some() {
        return Asked::Messages;
    }
    if let Some(input) = input.downcast_ref::<PutEventsInput>() {
        return Asked::Events(input.entries().iter().map(|entry| chunks(entry_bytes(entry))).collect());
    }
    Asked::Units(1.0)
}

/// Whether the request is a read of `DynamoDB`; makes it report its capacity.
fn note_read(input: &mut Input) -> Option<bool> {
    const CAPACITY: ReturnConsumedCapacity = ReturnConsumedCapacity::Indexes;
    if let Some(read) = input.downcast_mut::<dynamodb::get_item::GetItemInput>() {
        read.return_consumed_capacity.get_or_insert(CAPACITY);
        return Some(read.consistent_read().unwrap_or(false));
    }
    if let Some(read) = input.downcast_mut::<dynamodb::query::QueryInput>() {
        read.return_consumed_capacity.get_or_insert(CAPACITY);
        return Some(read.consistent_read().unwrap_or(false));
    }
    if let Some(read) = input.downcast_mut::<dynamodb::scan::ScanInput>() {
        read.return_consumed_capacity.get_or_insert(CAPACITY);
        return Some(read.consistent_read().unwrap_or(false));
    }
    if let Some(read) = input.downcast_mut::<dynamodb::batch_get_item::BatchGetItemInput>() {
        read.return_consumed_capacity.get_or_insert(CAPACITY);
        let mut tables = read.request_items().into_iter().flat_map(|tables| tables.values());
        return Some(tables.any(|keys: &KeysAndAttributes| keys.consistent_read().unwrap_or(false)));
    }
    if let Some(read) = input.downcast_mut::<dynamodb::transact_get_items::TransactGetItemsInput>() {
        read.return_consumed_capacity.get_or_insert(CAPACITY);
        return Some(true);
    }
    None
}

/// Whether the request is a write of `DynamoDB`; makes it report its capacity. AWS bills a write whose condition does
/// not hold by the larger of the two items. For an update the meter does not know the stored item, and counts one unit.
fn note_write(input: &mut Input) -> Option<Asked> {
    const CAPACITY: ReturnConsumedCapacity = ReturnConsumedCapacity::Indexes;
    let mut refused = 1.0;
    if let Some(write) = input.downcast_mut::<dynamodb::put_item::PutItemInput>() {
        write.return_consumed_capacity.get_or_insert(CAPACITY);
        refused = write.item().map_or(1.0, |item| write_units(item_bytes(item)));
    } else if let Some(write) = input.downcast_mut::<dynamodb::update_item::UpdateItemInput>() {
        write.return_consumed_capacity.get_or_insert(CAPACITY);
    } else if let Some(write) = input.downcast_mut::<dynamodb::delete_item::DeleteItemInput>() {
        write.return_consumed_capacity.get_or_insert(CAPACITY);
    } else if let Some(write) = input.downcast_mut::<dynamodb::batch_write_item::BatchWriteItemInput>() {
        write.return_consumed_capacity.get_or_insert(CAPACITY);
    } else if let Some(write) = input.downcast_mut::<dynamodb::transact_write_items::TransactWriteItemsInput>() {
        write.return_consumed_capacity.get_or_insert(CAPACITY);
        refused = write.transact_items().iter().map(units_in_transaction).sum();
    } else {
        return None;
    }
    Some(Asked::Write { refused })
}

/// A transaction prepares each write and commits it: two writes.
fn units_in_transaction(item: &TransactWriteItem) -> f64 {
    let put = item.put().map(|put| write_units(item_bytes(put.item())));
    2.0 * put.unwrap_or(1.0)
}

/// Whether a write was refused because of its condition.
fn is_condition_failure(context: &FinalizerInterceptorContextRef<'_>) -> bool {
    use aws_smithy_types::error::metadata::ProvideErrorMetadata;
    let Some(Err(error)) = context.output_or_error() else { return false };
    let Some(error) = error.as_operation_error() else { return false };
    let code = if let Some(error) = error.downcast_ref::<dynamodb::put_item::PutItemError>() {
        error.code()
    } else if let Some(error) = error.downcast_ref::<dynamodb::update_item::UpdateItemError>() {
        error.code()
    } else if let Some(error) = error.downcast_ref::<dynamodb::delete_item::DeleteItemError>() {
        error.code()
    } else if let Some(error) = error.downcast_ref::<dynamodb::transact_write_items::TransactWriteItemsError>() {
        return error.is_transaction_canceled_exception();
    } else {
        None
    };
    code == Some(CONDITION_FAILED)
}

/// The consumed capacities that an answer of `DynamoDB` reports.
fn capacities(output: &Output) -> Vec<&ConsumedCapacity> {
    macro_rules! one {
        ($($kind:ty),+ $(,)?) => {
            $(if let Some(output) = output.downcast_ref::<$kind>() {
                return output.consumed_capacity().into_iter().collect();
            })+
        };
    }
    macro_rules! several {
        ($($kind:ty),+ $(,)?) => {
            $(if let Some(output) = output.downcast_ref::<$kind>() {
                return output.consumed_capacity().iter().collect();
            })+
        };
    }
    one![
        dynamodb::put_item::PutItemOutput,
        dynamodb::update_item::UpdateItemOutput,
        dynamodb::delete_item::DeleteItemOutput,
        dynamodb::get_item::GetItemOutput,
        dynamodb::query::QueryOutput,
        dynamodb::scan::ScanOutput,
    ];
    several![
        dynamodb::batch_write_item::BatchWriteItemOutput,
        dynamodb::batch_get_item::BatchGetItemOutput,
        dynamodb::transact_write_items::TransactWriteItemsOutput,
        dynamodb::transact_get_items::TransactGetItemsOutput,
    ];
    Vec::new()
}

/// The units of a read by the size of its answer: each item by itself, or all items of a query together.
fn units_of_read(output: &Output, consistent: bool) -> f64 {
    let together = |items: &[Item]| read_units(items.iter().map(item_bytes).sum(), consistent);
    let each = |item: &Item| read_units(item_bytes(item), consistent);
    if let Some(output) = output.downcast_ref::<dynamodb::get_item::GetItemOutput>() {
        return output.item().map_or(read_units(0, consistent), each);
    }
    if let Some(output) = output.downcast_ref::<dynamodb::query::QueryOutput>() {
        return together(output.items());
    }
    if let Some(output) = output.downcast_ref::<dynamodb::scan::ScanOutput>() {
        return together(output.items());
    }
    if let Some(output) = output.downcast_ref::<dynamodb::batch_get_item::BatchGetItemOutput>() {
        return output.responses().into_iter().flat_map(|tables| tables.values().flatten()).map(each).sum();
    }
    if let Some(output) = output.downcast_ref::<dynamodb::transact_get_items::TransactGetItemsOutput>() {
        let bytes = output.responses().iter().map(|response| response.item().map_or(0, item_bytes));
        return bytes.map(|bytes| 2.0 * read_units(bytes, true)).sum();
    }
    0.0
}

fn units_of_messages(output: &Output) -> f64 {
    let messages = output.downcast_ref::<ReceiveMessageOutput>().map(ReceiveMessageOutput::messages);
    let bytes = messages.into_iter().flatten().map(|message| message.body().map_or(0, str::len));
    chunks(bytes.sum())
}

fn units_of_taken(units: &[f64], output: &Output) -> f64 {
    let results = output.downcast_ref::<PutEventsOutput>().map(PutEventsOutput::entries).unwrap_or_default();
    units.iter().zip(results).filter(|(_, result)| result.event_id().is_some()).map(|(units, _)| units).sum()
}

/// The bytes of an event, as
/// <https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-putevent-size.html> counts them.
pub(crate) fn entry_bytes(entry: &PutEventsRequestEntry) -> usize {
    const TIME_BYTES: usize = 14;
    let texts = [entry.source(), entry.detail_type(), entry.detail()];
    let texts: usize = texts.into_iter().flatten().map(str::len).sum();
    let resources: usize = entry.resources().iter().map(String::len).sum();
    texts + resources + if entry.time().is_some() { TIME_BYTES } else { 0 }
}

#[expect(clippy::cast_precision_loss, reason = "a request has at most some megabytes")]
fn chunks(bytes: usize) -> f64 {
    bytes.div_ceil(CHUNK_BYTES).max(1) as f64
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::scripted::{Scripted, error};

    fn check(meter: &Meter, service: &str, operation: &str, requests: u64, units: f64) {
        let total = meter.snapshot().total(service, operation);
        assert!(total.0 == requests && (total.1 - units).abs() < 0.1, "{operation}: {total:?}");
    }

    #[tokio::test]
    async fn each_attempt_of_the_sdk_is_a_request() {
        let mut attempt = 0;
        let script = Scripted::new(move |_, _| {
            attempt += 1;
            if attempt < 3 { error(500, "InternalError") } else { (200, json!({ "MessageId": "m" })) }
        });
        let (clients, meter) = script.clients(3);
        let body = "x".repeat(CHUNK_BYTES + 1);
        clients.sqs.send_message().queue_url("https://sqs/1/q").message_body(body).send().await.expect("it is sent");
        check(&meter, "SQS", "SendMessage", 3, 6.0);
    }

    #[tokio::test]
    async fn a_receive_is_billed_by_what_came() {
        let mut bodies = vec![json!({}), json!({ "Messages": [{ "Body": "x".repeat(CHUNK_BYTES) }, { "Body": "y" }] })];
        let script = Scripted::new(move |_, _| (200, bodies.pop().unwrap_or_default()));
        let (clients, meter) = script.clients(1);
        let receive = || clients.sqs_receive.receive_message().queue_url("https://sqs/1/q").send();
        receive().await.expect("two came");
        check(&meter, "SQS", "ReceiveMessage", 1, 2.0);
        receive().await.expect("none came");
        check(&meter, "SQS", "ReceiveMessage", 2, 3.0);
    }

    #[tokio::test]
    async fn only_accepted_events_are_billed() {
        let answer =
            json!({ "FailedEntryCount": 1, "Entries": [{ "EventId": "e" }, { "ErrorCode": "InternalFailure" }] });
        let script = Scripted::new(move |_, _| (200, answer.clone()));
        let (clients, meter) = script.clients(1);
        let entry = |bytes| PutEventsRequestEntry::builder().source("s").detail("x".repeat(bytes)).build();
        let put = clients.eventbridge.put_events().entries(entry(CHUNK_BYTES)).entries(entry(1));
        put.send().await.expect("one is taken");
        check(&meter, "EventBridge", "PutEvents", 1, 2.0);
    }

    async fn check_write(answer: (u16, Value), table: f64, index: f64) {
        let script = Scripted::new(move |_, _| answer.clone());
        let (clients, meter) = script.clients(1);
        let text = aws_sdk_dynamodb::types::AttributeValue::S("x".repeat(2000));
        let put = clients.dynamodb.put_item().table_name("t").item("pk", text);
        put.condition_expression("attribute_not_exists(pk)").send().await.ok();
        let entries = meter.snapshot().entries;
        let units = |index: Option<&str>| -> f64 {
            entries.iter().filter(|entry| entry.index.as_deref() == index).map(|entry| entry.units).sum()
        };
        assert!((units(None) - table).abs() < 0.1 && (units(Some("due")) - index).abs() < 0.1, "{entries:?}");
        assert_eq!(entries.iter().map(|entry| entry.requests).sum::<u64>(), 1);
        let (_, input) = script.asked().remove(0);
        assert_eq!(input["ReturnConsumedCapacity"], "INDEXES");
    }

    #[tokio::test]
    async fn writes_are_billed_as_reported() {
        let by_part = json!({ "CapacityUnits": 5.0, "Table": { "CapacityUnits": 3.0 },
            "GlobalSecondaryIndexes": { "due": { "CapacityUnits": 2.0 } } });
        check_write((200, json!({ "ConsumedCapacity": by_part })), 3.0, 2.0).await;
        check_write((200, json!({ "ConsumedCapacity": { "CapacityUnits": 5.0 } })), 5.0, 0.0).await;
        // Of 2,002 bytes.
        check_write(error(400, "ConditionalCheckFailedException"), 2.0, 0.0).await;
        check_write(error(400, "ThrottlingException"), 0.0, 0.0).await;
    }
}
