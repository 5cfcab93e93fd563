//! Queues over the wire.

use std::time::Duration;

use windlass_domain::ids::{AgentId, PoolName};
use windlass_domain::time::Timestamp;
use windlass_engine::Ports;
use windlass_engine::ports::{ErrorClass, Outgoing, QueueName};
use windlass_testkit::conformance::{self, Timing};
use windlass_testkit::memory::MemoryHost;

use crate::stack::Stack;

const MINUTE: Duration = Duration::from_mins(1);

#[tokio::test(flavor = "multi_thread")]
async fn the_suite() {
    let host = Stack::get().host().await;
    let others = MemoryHost::new(Timestamp::from_millis(0)).ports();
    let ports = Ports { queues: host.queues(), clock: host.clock(), ..others };
    conformance::queues(async || ports.clone(), Timing::WIRE).await;
}

fn pool(name: &str) -> QueueName {
    QueueName::Pool(PoolName::new(name).expect("a name"))
}

fn message(body: &str) -> Vec<Outgoing> {
    vec![Outgoing::now(body.to_owned())]
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_pool_is_named_until_it_exists() {
    let host = Stack::get().host().await;
    let (queues, queue) = (host.queues(), pool("made-later"));
    let missing = [
        queues.send(&queue, message("a")).await.expect_err("there is no such pool"),
        queues.receive(&queue, 1, MINUTE, Duration::ZERO).await.expect_err("there is no such pool"),
        queues.depth(&queue).await.expect_err("there is no such pool"),
    ];
    for error in missing {
        assert_eq!((error.class, error.code), (ErrorClass::Reject, "WL0331"));
        assert!(error.message.contains("wire-pool-made-later"), "{}", error.message);
    }
    let made = host.clients().sqs.create_queue().queue_name("wire-pool-made-later").send().await;
    let url = made.expect("it is made").queue_url.expect("it has an address");
    queues.send(&queue, message("b")).await.expect("it is found");

    // Deletes the queue without the adapter, which still knows the queue's address.
    host.clients().sqs.delete_queue().queue_url(url).send().await.expect("it is deleted");
    assert_eq!(queues.send(&queue, message("c")).await.expect_err("it is gone").code, "WL0331");
    // SQS lets a name rest for 60 s after a deletion (`DeleteQueue`); the emulator does not.
    host.clients().sqs.create_queue().queue_name("wire-pool-made-later").send().await.expect("it is made again");
    queues.send(&queue, message("d")).await.expect("it is found again");
}

#[tokio::test(flavor = "multi_thread")]
async fn control_queue_is_made_by_its_first_receive() {
    let host = Stack::get().host().await;
    let (queues, queue) = (
        host.queues(),
        QueueName::Control { pool: PoolName::default(), agent: AgentId::new("agent-7").expect("a name") },
    );
    queues.send(&queue, message("nobody hears it")).await.expect("it is dropped");
    assert_eq!(queues.depth(&queue).await.expect("nothing is there"), 0);
    let first = queues.receive(&queue, 1, MINUTE, Duration::ZERO).await.expect("the queue is made");
    assert!(first.is_empty());

    let sqs = &host.clients().sqs;
    let url =
        sqs.get_queue_url().queue_name("wire-control-default-agent-7").send().await.expect("it is there").queue_url;
    let tags = sqs.list_queue_tags().set_queue_url(url.clone()).send().await.expect("it has tags").tags;
    let tags = tags.expect("it has tags");
    assert_eq!(tags.get("windlass:stack").map(String::as_str), Some("wire"));
    assert_eq!(tags.get("windlass:agent").map(String::as_str), Some("agent-7"));
    let all = aws_sdk_sqs::types::QueueAttributeName::All;
    let attributes = sqs.get_queue_attributes().set_queue_url(url).attribute_names(all).send().await;
    let attributes = attributes.expect("it has attributes").attributes.expect("it has attributes");
    let retention = attributes.get(&aws_sdk_sqs::types::QueueAttributeName::MessageRetentionPeriod);
    assert_eq!(retention.map(String::as_str), Some("3600"));

    queues.send(&queue, message("heard")).await.expect("it is there");
    let heard = queues.receive(&queue, 1, MINUTE, Duration::from_secs(5)).await.expect("it is there");
    assert_eq!(heard.len(), 1);
    queues.remove(&queue).await.expect("it is removed");
    let gone = heard.into_iter().map(|delivery| delivery.receipt).collect::<Vec<_>>();
    queues.delete(&queue, gone.clone()).await.expect("it is no error that it is gone");
    let extended = queues.extend(&queue, gone.into_iter().map(|receipt| (receipt, MINUTE)).collect()).await;
    assert_eq!(extended.expect("it is no error that it is gone"), Vec::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn large_messages_are_split_over_requests() {
    let host = Stack::get().host().await;
    let (queues, queue) = (host.queues(), QueueName::DeadLetter);
    let body = "x".repeat(400 * 1024);
    let before = host.meter().snapshot();
    queues.send(&queue, vec![Outgoing::now(body.clone()); 5]).await.expect("all are sent");
    let sent = host.meter().snapshot().since(&before);
    // Two of 400 KB fit 1 MiB, and are 13 units of 64 KB together; one alone is 7.
    assert_eq!(sent.total("SQS", "SendMessageBatch"), (3, 33.0));

    let mut found = 0;
    while found < 5 {
        let received = queues.receive(&queue, 10, MINUTE, Duration::from_secs(5)).await.expect("they are there");
        assert!(!received.is_empty(), "{found} of 5 came");
        assert!(received.iter().all(|delivery| delivery.body == body));
        found += received.len();
        queues.delete(&queue, received.into_iter().map(|delivery| delivery.receipt).collect()).await.expect("deleted");
    }
    let received = host.meter().snapshot().since(&before).total("SQS", "ReceiveMessage").1;
    assert!(received >= 32.0, "{received}");
}

#[tokio::test(flavor = "multi_thread")]
async fn characters_that_sqs_refuses_are_escaped() {
    let host = Stack::get().host().await;
    let queues = host.queues();
    queues.send(&pool("default"), message("\"a\u{ffff}b\u{fffe}\"")).await.expect("it is sent");
    let found = queues.receive(&pool("default"), 1, MINUTE, Duration::from_secs(5)).await.expect("it is there");
    let text: String = serde_json::from_str(&found[0].body).expect("it is JSON");
    assert_eq!(text, "a\u{ffff}b\u{fffe}");
}
