//! One invocation handles a batch of messages of one queue. Each message is done, or comes again.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use aws_lambda_events::event::sqs::{SqsBatchResponse, SqsEvent, SqsMessage};
use lambda_runtime::Error;
use windlass_aws::due_of_dead_letter;
use windlass_aws::sender::{SENDER_ID, Sender};
use windlass_domain::ids::PoolName;
use windlass_domain::limits::MAX_BATCH;
use windlass_domain::time::Timestamp;
use windlass_engine::backoff::again_after;
use windlass_engine::ports::{self, QueueName, Receipt, Received};

use crate::context::Context;

/// How long before the invocation's deadline its work ends: it needs the rest to hand back unfinished messages, and to
/// answer.
const MARGIN: Duration = Duration::from_secs(2);
/// The longest wait for the hand-back.
const HAND_BACK: Duration = Duration::from_secs(1);

/// Where a batch comes from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Source {
    /// A queue of inputs.
    Inputs(QueueName),
    /// Messages that SQS took out of that queue after too many receives.
    Dead(QueueName),
    /// Due times that Scheduler could not bring to the inbox.
    Schedules,
    /// A queue that is none of the stack's.
    Foreign(String),
}

/// Handles a batch. The answer names the messages that failed or were not done in time, which come again; Lambda
/// deletes the rest. Lambda stops the process at `deadline`, in milliseconds since the epoch.
pub(crate) async fn handle(context: &Context, event: SqsEvent, deadline: u64) -> Result<SqsBatchResponse, Error> {
    let begun = Instant::now();
    let time = Duration::from_millis(deadline).saturating_sub(now(context)).saturating_sub(MARGIN);
    let mut answer = SqsBatchResponse::default();
    for (source, messages) in by_source(event.records, &context.queue_prefix) {
        tell_of_strangers(context, &source, &messages);
        let (ids, deliveries) = deliveries(context, &source, messages)?;
        let left = time.saturating_sub(begun.elapsed());
        let done = work(context, &source, &deliveries, left).await;
        let failed: Vec<usize> = (0..ids.len()).filter(|at| !done[*at]).collect();
        if let Source::Inputs(queue) = &source {
            hand_back(context, queue, failed.iter().map(|at| &deliveries[*at])).await;
        }
        context.figures.add(figure_of(&source), count(ids.len()));
        context.figures.add("Failures", count(failed.len()));
        for at in failed {
            answer.add_failure(&ids[at]);
        }
    }
    context.figures.add("InvocationMs", begun.elapsed().as_secs_f64() * 1000.0);
    Ok(answer)
}

/// Which deliveries are done: none, if the time is over before all are. Doing one again does no harm.
async fn work(context: &Context, source: &Source, deliveries: &[Received], time: Duration) -> Vec<bool> {
    let none = || vec![false; deliveries.len()];
    let until = Some(tokio::time::Instant::now() + time);
    let handled = async {
        match source {
            Source::Inputs(queue) => context.manager.handle(queue, deliveries, until).await,
            Source::Schedules => context.manager.handle(&QueueName::Inbox, deliveries, until).await,
            Source::Dead(queue) => context.manager.handle_dead(queue, deliveries).await,
            Source::Foreign(arn) => {
                tracing::error!(
                    queue.arn = arn,
                    "a queue that is not the stack's is an event source; nothing is taken"
                );
                none()
            }
        }
    };
    if time.is_zero() {
        return none();
    }
    tokio::time::timeout(time, handled).await.unwrap_or_else(|_| {
        tracing::warn!(messages = deliveries.len(), "the invocation's time is over; its messages come again");
        none()
    })
}

/// Makes failed inputs visible again soon, and later each time. A conflict is gone in a moment, so they need not wait
/// for the queue's visibility timeout.
async fn hand_back<'d>(context: &Context, queue: &QueueName, failed: impl Iterator<Item = &'d Received>) {
    let again = |delivery: &Received| (delivery.receipt.clone(), again_after(delivery.receive_count));
    let again: Vec<_> = failed.map(again).collect();
    let handing = futures::future::join_all(
        again.chunks(MAX_BATCH).map(|batch| context.ports.queues.extend(queue, batch.to_vec())),
    );
    let Ok(handed) = tokio::time::timeout(HAND_BACK, handing).await else {
        tracing::warn!("handing back inputs takes too long; they come again by themselves");
        return;
    };
    for error in handed.into_iter().filter_map(Result::err) {
        tracing::warn!(error.code = error.code, %error, "failed to hand back inputs; they come again by themselves");
    }
}

/// The messages of each queue. An event source mapping brings those of one.
fn by_source(messages: Vec<SqsMessage>, prefix: &str) -> BTreeMap<Source, Vec<SqsMessage>> {
    let mut sources: BTreeMap<Source, Vec<SqsMessage>> = BTreeMap::new();
    for message in messages {
        let source = source_of(message.event_source_arn.as_deref().unwrap_or_default(), prefix);
        sources.entry(source).or_default().push(message);
    }
    sources
}

fn source_of(arn: &str, prefix: &str) -> Source {
    let name = arn.rsplit(':').next().unwrap_or_default().strip_prefix(prefix);
    let pool = |name: &str| PoolName::new(name.strip_prefix("pool-")?).ok().map(QueueName::Pool);
    match (name, name.and_then(|name| name.strip_suffix("-dlq"))) {
        (Some("inbox"), _) => Source::Inputs(QueueName::Inbox),
        (Some("claims"), _) => Source::Inputs(QueueName::Claims),
        (_, Some("inbox")) => Source::Dead(QueueName::Inbox),
        (_, Some("schedules")) => Source::Schedules,
        (_, Some(dead)) => pool(dead).map_or_else(|| Source::Foreign(arn.to_owned()), Source::Dead),
        (_, None) => Source::Foreign(arn.to_owned()),
    }
}

/// Who sent a message. Only Scheduler may send to the queue of the due times that it gives up.
fn sender_of(context: &Context, source: &Source, message: &SqsMessage) -> Sender {
    if *source == Source::Schedules {
        return Sender::Host;
    }
    context.senders.of(message.attributes.get(SENDER_ID).map(String::as_str))
}

/// Tells in the log of inputs whose sender is neither an agent nor a program of the host.
fn tell_of_strangers(context: &Context, source: &Source, messages: &[SqsMessage]) {
    let is_strange = |message: &&SqsMessage| sender_of(context, source, message) == Sender::Unknown;
    for message in messages.iter().filter(is_strange).filter(|_| matches!(source, Source::Inputs(_))) {
        let sender = message.attributes.get(SENDER_ID).map_or("", String::as_str);
        tracing::warn!(
            sender.id = sender,
            message.id = message.message_id,
            "the sender of an input is not of the stack"
        );
        context.figures.add("UnknownSenders", 1.0);
    }
}

/// The messages' ids, and the messages as the engine knows them. One without an id cannot be named in the answer: it
/// fails the batch, which then comes again as a whole.
fn deliveries(
    context: &Context,
    source: &Source,
    messages: Vec<SqsMessage>,
) -> Result<(Vec<String>, Vec<Received>), Error> {
    let mut read = (Vec::with_capacity(messages.len()), Vec::with_capacity(messages.len()));
    for message in messages {
        let attribute = |name: &str| message.attributes.get(name).and_then(|text| text.parse::<i64>().ok());
        // A message that says nothing of its past may have come before.
        let receive_count =
            attribute("ApproximateReceiveCount").and_then(|count| u32::try_from(count).ok()).unwrap_or(2);
        let sent_at = Timestamp::from_millis(attribute("SentTimestamp").unwrap_or_default());
        let body = body_of(source, &message);
        // Principals that the stack does not know are people of the account.
        let sender = match sender_of(context, source, &message) {
            Sender::AgentOf(pool) => ports::Sender::Agents(pool),
            Sender::Host | Sender::Unknown => ports::Sender::Host,
        };
        let (Some(id), Some(receipt)) = (message.message_id, message.receipt_handle) else {
            return Err("a message of the batch has no id or no receipt".into());
        };
        read.0.push(id.clone());
        read.1.push(Received { receipt: Receipt(receipt), id, sender, body, receive_count, sent_at });
    }
    Ok(read)
}

/// The input in a message. A dead letter of Scheduler is the input of its due time.
fn body_of(source: &Source, message: &SqsMessage) -> String {
    let body = message.body.as_deref().unwrap_or_default();
    if *source != Source::Schedules {
        return body.to_owned();
    }
    let told = |name: &str| message.message_attributes.get(name).and_then(|value| value.string_value.as_deref());
    tracing::warn!(
        schedule.arn = told("SCHEDULE_ARN"),
        nominal = told("SCHEDULED_TIME"),
        error.code = told("ERROR_CODE"),
        error.message = told("ERROR_MESSAGE"),
        "Scheduler gave up a due time; it is fired late"
    );
    due_of_dead_letter(body, told)
}

fn figure_of(source: &Source) -> &'static str {
    match source {
        Source::Schedules => "LateDueTimes",
        Source::Inputs(_) => "Inputs",
        Source::Dead(_) => "DeadLetters",
        Source::Foreign(_) => "ForeignMessages",
    }
}

#[expect(clippy::cast_precision_loss, reason = "a batch has at most 10,000 messages")]
fn count(messages: usize) -> f64 {
    messages as f64
}

fn now(context: &Context) -> Duration {
    Duration::from_millis(context.ports.clock.now().as_millis().max(0).unsigned_abs())
}

#[cfg(test)]
mod tests;
