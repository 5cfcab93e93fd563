//! SQS's rare answers: part of a batch fails, or a queue is gone.

use serde_json::{Value, json};
use windlass_domain::ids::PoolName;

use super::*;
use crate::scripted::{Asked, Scripted, error, settings};

fn queues(script: &Scripted) -> SqsQueues {
    SqsQueues::new(script.clients(1).0, &settings())
}

/// Answers for the address of any queue, and by `rest` for everything else.
fn script(mut rest: impl FnMut(&str, &Value) -> (u16, Value) + Send + 'static) -> Scripted {
    Scripted::new(move |operation, input| match operation {
        "GetQueueUrl" => {
            (200, json!({ "QueueUrl": format!("https://sqs/1/{}", input["QueueName"].as_str().unwrap()) }))
        }
        _ => rest(operation, input),
    })
}

/// An answer for each entry: `done`, or why not.
fn per_entry(input: &Value, verdict: impl Fn(&str) -> Option<(&'static str, bool)>) -> (u16, Value) {
    let (mut successful, mut failed) = (Vec::new(), Vec::new());
    for entry in input["Entries"].as_array().expect("it is a batch") {
        let id = entry["Id"].as_str().expect("it has an id");
        let md5 = digest(entry["MessageBody"].as_str().unwrap_or_default());
        match verdict(id) {
            None => successful.push(json!({ "Id": id, "MessageId": id, "MD5OfMessageBody": md5 })),
            Some(("damaged", _)) => successful.push(json!({ "Id": id, "MessageId": id, "MD5OfMessageBody": "0" })),
            Some(("unanswered", _)) => {}
            Some((code, ours)) => failed.push(json!({ "Id": id, "Code": code, "SenderFault": ours, "Message": "m" })),
        }
    }
    (200, json!({ "Successful": successful, "Failed": failed }))
}

/// The ids in each request of that operation.
fn ids(asked: &[Asked], operation: &str) -> Vec<Vec<String>> {
    let inputs = asked.iter().filter(|(asked, _)| asked == operation).map(|(_, input)| input);
    let ids = |input: &Value| {
        let entries = input["Entries"].as_array().into_iter().flatten();
        entries.map(|entry| entry["Id"].as_str().unwrap_or_default().to_owned()).collect()
    };
    inputs.map(ids).collect()
}

fn bodies(count: usize) -> Vec<Outgoing> {
    (0..count).map(|number| Outgoing::now(format!("{{\"n\":{number}}}"))).collect()
}

/// Sends four messages. One meets `code` in the first `rounds` requests.
async fn check_send(code: &'static str, ours: bool, rounds: usize, requests: usize, class: Option<ErrorClass>) {
    let mut round = 0;
    let script = script(move |_, input| {
        round += 1;
        per_entry(input, |id| (id == "2" && round <= rounds).then_some((code, ours)))
    });
    let sent = queues(&script).send(&QueueName::Inbox, bodies(4)).await;
    assert_eq!(sent.err().map(|error| error.class), class, "{code}");
    let mut expected = vec![vec!["0", "1", "2", "3"]];
    expected.resize(requests, vec!["2"]);
    assert_eq!(ids(&script.asked(), "SendMessageBatch"), expected, "{code}");
}

#[tokio::test]
async fn only_failed_messages_are_sent_again() {
    check_send("InternalError", false, 1, 2, None).await;
    check_send("RequestThrottled", true, 3, 4, None).await;
    check_send("unanswered", false, 1, 2, None).await;
    check_send("damaged", false, 1, 2, None).await;
    check_send("InternalError", false, 9, 4, Some(ErrorClass::Retry)).await;
    check_send("damaged", false, 9, 4, Some(ErrorClass::Retry)).await;
    check_send("InvalidMessageContents", true, 9, 1, Some(ErrorClass::Reject)).await;
    check_send("SomethingOfNextYear", true, 9, 1, Some(ErrorClass::Reject)).await;
}

#[tokio::test]
async fn refused_message_does_not_stop_the_others() {
    let mut round = 0;
    let script = script(move |_, input| {
        round += 1;
        per_entry(input, |id| match id {
            "0" => Some(("InvalidMessageContents", true)),
            "1" if round == 1 => Some(("InternalError", false)),
            _ => None,
        })
    });
    let refused = queues(&script).send(&QueueName::Inbox, bodies(3)).await.expect_err("one is refused");
    assert_eq!((refused.class, refused.code), (ErrorClass::Reject, "WL0333"));
    assert_eq!(ids(&script.asked(), "SendMessageBatch"), [vec!["0", "1", "2"], vec!["1"]]);
}

/// No message is sent a second time because of another one.
#[tokio::test]
async fn each_message_is_answered_for() {
    let script = script(|_, input| per_entry(input, |id| (id == "1").then_some(("InvalidMessageContents", true))));
    let too_large = Outgoing::now("x".repeat(MAX_MESSAGE_BYTES + 1));
    let batch = bodies(3).into_iter().chain([too_large]).chain(bodies(1)).collect();
    let sent = queues(&script).send_each(&QueueName::Inbox, batch).await;
    let codes: Vec<_> = sent.into_iter().map(|sent| sent.err().map(|error| error.code)).collect();
    assert_eq!(codes, [None, Some("WL0333"), None, Some(OVER_LIMIT), None]);
    assert_eq!(ids(&script.asked(), "SendMessageBatch"), [vec!["0", "1", "2", "3"]]);
}

#[tokio::test]
async fn delays_are_whole_seconds_and_not_shorter() {
    let script = script(|_, input| per_entry(input, |_| None));
    let delayed = |millis| Outgoing { body: "{}".to_owned(), delay: Millis(millis) };
    let batch = vec![delayed(0), delayed(1), delayed(1000), delayed(1001), delayed(MAX_DELAY_MS)];
    queues(&script).send(&QueueName::Inbox, batch).await.expect("all are sent");
    let (_, input) = script.asked().pop().expect("it was sent");
    let delays = input["Entries"].as_array().into_iter().flatten().map(|entry| entry["DelaySeconds"].clone());
    assert_eq!(delays.collect::<Vec<_>>(), [0, 1, 1, 2, 900]);
}

#[tokio::test]
async fn extension_is_repeated_without_stale_receipts() {
    let mut round = 0;
    let script = script(move |_, input| {
        round += 1;
        per_entry(input, |id| match id {
            "0" => Some(("ReceiptHandleIsInvalid", true)),
            "1" => Some(("MessageNotInflight", true)),
            // SQS's answer for a message that was deleted, or held for 12 hours.
            "2" => Some(("InvalidParameterValue", true)),
            "3" if round == 1 => Some(("InternalError", false)),
            _ => None,
        })
    });
    let receipts: Vec<Receipt> = (0..5).map(|number| Receipt(number.to_string())).collect();
    let batch = receipts.iter().map(|receipt| (receipt.clone(), Duration::from_millis(1500))).collect();
    let mut good = queues(&script).extend(&QueueName::Inbox, batch).await.expect("the rest is good");
    good.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(good, receipts[3..]);
    let asked = script.asked();
    assert_eq!(ids(&asked, "ChangeMessageVisibilityBatch"), [vec!["0", "1", "2", "3", "4"], vec!["3"]]);
    assert_eq!(asked[1].1["Entries"][0]["VisibilityTimeout"], 2);
}

#[tokio::test]
async fn deletions_are_asked_again_alone() {
    let mut round = 0;
    let script = script(move |_, input| {
        round += 1;
        per_entry(input, |id| match id {
            "0" => Some(("ReceiptHandleIsInvalid", true)),
            "1" if round < 3 => Some(("InternalError", false)),
            _ => None,
        })
    });
    let receipts = (0..3).map(|number| Receipt(number.to_string())).collect();
    queues(&script).delete(&QueueName::Inbox, receipts).await.expect("stale ones are no error");
    assert_eq!(ids(&script.asked(), "DeleteMessageBatch"), [vec!["0", "1", "2"], vec!["1"], vec!["1"]]);
}

#[tokio::test]
async fn message_with_a_wrong_digest_stays_queued() {
    let script = script(|_, _| {
        let message = |body: &str, md5: &str| {
            let attributes = json!({ "ApproximateReceiveCount": "3", "SentTimestamp": "1800000000123" });
            json!({ "Body": body, "MD5OfBody": md5, "ReceiptHandle": body, "MessageId": "m", "Attributes": attributes })
        };
        (200, json!({ "Messages": [message("whole", &digest("whole")), message("part", &digest("whole"))] }))
    });
    let (queues, wait) = (queues(&script), Duration::from_millis(1500));
    let found = queues.receive(&QueueName::Inbox, 10, Duration::from_secs(30), wait).await.expect("something came");
    let whole = Received {
        receipt: Receipt("whole".to_owned()),
        id: "m".to_owned(),
        sender: Sender::Host,
        body: "whole".to_owned(),
        receive_count: 3,
        sent_at: Timestamp::from_millis(1_800_000_000_123),
    };
    assert_eq!(found, [whole]);
    let (_, input) = script.asked().pop().expect("it was asked");
    let asked = [&input["MaxNumberOfMessages"], &input["VisibilityTimeout"], &input["WaitTimeSeconds"]];
    assert_eq!(asked, [&json!(10), &json!(30), &json!(2)]);
    let attributes = ["ApproximateReceiveCount", "SentTimestamp", "SenderId"];
    assert_eq!(input["MessageSystemAttributeNames"], json!(attributes));
}

#[tokio::test]
async fn deleted_queue_is_looked_up_again() {
    let mut sends = 0;
    let script = script(move |_, input| {
        sends += 1;
        if sends == 2 { error(400, "QueueDoesNotExist") } else { per_entry(input, |_| None) }
    });
    let (queues, pool) = (queues(&script), QueueName::Pool(PoolName::default()));
    queues.send(&pool, bodies(1)).await.expect("it is there");
    let gone = queues.send(&pool, bodies(1)).await.expect_err("it is gone");
    assert_eq!((gone.class, gone.code), (ErrorClass::Reject, NO_QUEUE));
    assert!(gone.message.contains("prod-pool-default"), "{}", gone.message);
    queues.send(&pool, bodies(1)).await.expect("it is there again");
    queues.send(&pool, bodies(1)).await.expect("it is there still");
    let operations: Vec<String> = script.asked().into_iter().map(|(operation, _)| operation).collect();
    let send = "SendMessageBatch";
    assert_eq!(operations, ["GetQueueUrl", send, send, "GetQueueUrl", send, send]);
}

#[tokio::test]
async fn a_failure_of_the_whole_request_is_classified() {
    for (status, code, class, ours) in [
        (403, "AccessDeniedException", ErrorClass::Retry, "WL0332"),
        (500, "InternalError", ErrorClass::Retry, "WL0330"),
    ] {
        let script = script(move |_, _| error(status, code));
        let failed = queues(&script).send(&QueueName::Inbox, bodies(1)).await.expect_err("it fails");
        assert_eq!((failed.class, failed.code), (class, ours));
    }
}
