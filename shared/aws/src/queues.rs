//! Queues on SQS: standard queues, at least once and in no order.
//!
//! The inbox, the queue of claims, the pools and the dead letters are the stack's; a program never makes one. An agent
//! makes its control queue before it receives anything. A message to a control queue that no longer exists is dropped: its agent has ended.

mod batch;
mod names;
mod urls;

use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_sqs::types::{
    BatchResultErrorEntry, ChangeMessageVisibilityBatchRequestEntry, DeleteMessageBatchRequestEntry, Message,
    MessageSystemAttributeName, QueueAttributeName, SendMessageBatchRequestEntry, SendMessageBatchResultEntry,
};
use aws_smithy_types::error::operation::BuildError;
use md5::{Digest, Md5};
use windlass_domain::limits::{MAX_BATCH, MAX_DELAY_MS, MAX_MESSAGE_BYTES};
use windlass_domain::time::{Millis, Timestamp};
use windlass_engine::ports::{ErrorClass, Outgoing, PortError, QueueName, Queues, Receipt, Received, Sender};

use crate::clients::Clients;
use crate::error::{NO_QUEUE, OVER_LIMIT, UNEXPECTED, classify};
use crate::settings::Settings;

use batch::{Answer, settle};
use names::Names;
use urls::Urls;

/// The longest that a message can be hidden, 12 hours
/// (<https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_ChangeMessageVisibility.html>).
const MAX_VISIBILITY: Duration = Duration::from_hours(12);
/// The longest that a receive can wait
/// (<https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_ReceiveMessage.html>).
const MAX_WAIT: Duration = Duration::from_secs(20);

/// The queues of a stack.
#[derive(Debug)]
pub struct SqsQueues {
    clients: Clients,
    names: Names,
    urls: Urls,
}

impl SqsQueues {
    /// The queues of the stack that the settings name.
    pub fn new(clients: Clients, settings: &Settings) -> Self {
        let names = Names::new(&settings.queue_prefix);
        let urls = Urls::new(clients.sqs.clone(), &settings.name);
        Self { clients, names, urls }
    }

    /// The name of a queue in SQS.
    pub fn name(&self, queue: &QueueName) -> String {
        self.names.of(queue)
    }

    async fn url(&self, queue: &QueueName) -> Result<String, PortError> {
        self.urls.get(queue, &self.names.of(queue)).await
    }

    /// A failure with a queue. If the queue is missing, the next call looks it up again, because it may have been made
    /// since.
    fn failed(&self, queue: &QueueName, error: PortError) -> PortError {
        if error.code == NO_QUEUE {
            self.urls.forget(queue);
        }
        error
    }

    /// Sends messages whose bytes fit one request; says what became of each.
    async fn send_some(&self, queue: &QueueName, batch: &[Outgoing]) -> Result<Vec<Result<(), PortError>>, PortError> {
        const OPERATION: &str = "SendMessageBatch";
        let (url, name) = (self.url(queue).await?, self.names.of(queue));
        let settled = settle(OPERATION, &name, batch.len(), |left| async {
            let entries = left.into_iter().map(|place| send_entry(place, &batch[place]));
            let entries = entries.collect::<Result<Vec<_>, _>>().map_err(|error| unbuilt(OPERATION, &error))?;
            let request = self.clients.sqs.send_message_batch().queue_url(&url).set_entries(Some(entries));
            let answer = request.send().await.map_err(|error| classify(OPERATION, &name, &error))?;
            Ok(answer_to_send(batch, answer.successful, answer.failed))
        });
        let settled = settled.await.map_err(|error| self.failed(queue, error))?;
        Ok(settled.each(batch.len()))
    }

    async fn receive_some(
        &self,
        queue: &QueueName,
        most: usize,
        visibility: Duration,
        wait: Duration,
    ) -> Result<Vec<Received>, PortError> {
        let (url, name) = (self.url(queue).await?, self.names.of(queue));
        let request = self.clients.sqs_receive.receive_message();
        let answer = request
            .queue_url(url)
            .max_number_of_messages(i32::try_from(most).unwrap_or(i32::MAX))
            .visibility_timeout(whole_seconds(visibility.min(MAX_VISIBILITY)))
            .wait_time_seconds(whole_seconds(wait.min(MAX_WAIT)))
            .message_system_attribute_names(MessageSystemAttributeName::ApproximateReceiveCount)
            .message_system_attribute_names(MessageSystemAttributeName::SentTimestamp)
            .message_system_attribute_names(MessageSystemAttributeName::SenderId)
            .send()
            .await;
        let answer = answer.map_err(|error| self.failed(queue, classify("ReceiveMessage", &name, &error)))?;
        Ok(answer.messages.unwrap_or_default().into_iter().filter_map(|message| delivery(&name, message)).collect())
    }

    async fn extend_some(&self, queue: &QueueName, batch: &[(Receipt, Duration)]) -> Result<Vec<Receipt>, PortError> {
        const OPERATION: &str = "ChangeMessageVisibilityBatch";
        let (url, name) = (self.url(queue).await?, self.names.of(queue));
        let settled = settle(OPERATION, &name, batch.len(), |left| async {
            let entries = left.into_iter().map(|place| extend_entry(place, &batch[place]));
            let entries = entries.collect::<Result<Vec<_>, _>>().map_err(|error| unbuilt(OPERATION, &error))?;
            let request = self.clients.sqs.change_message_visibility_batch().queue_url(&url).set_entries(Some(entries));
            let answer = request.send().await.map_err(|error| classify(OPERATION, &name, &error))?;
            Ok(Answer { done: answer.successful.into_iter().map(|entry| entry.id).collect(), failed: answer.failed })
        });
        let settled = settled.await.map_err(|error| self.failed(queue, error))?;
        // A receipt that was replaced, a message that was deleted, is at large again, or was hidden for 12 hours.
        let done = settled.but_for_refused()?;
        Ok(done.into_iter().map(|place| batch[place].0.clone()).collect())
    }

    async fn delete_some(&self, queue: &QueueName, batch: &[Receipt]) -> Result<(), PortError> {
        const OPERATION: &str = "DeleteMessageBatch";
        let (url, name) = (self.url(queue).await?, self.names.of(queue));
        let settled = settle(OPERATION, &name, batch.len(), |left| async {
            let entries = left.into_iter().map(|place| delete_entry(place, &batch[place]));
            let entries = entries.collect::<Result<Vec<_>, _>>().map_err(|error| unbuilt(OPERATION, &error))?;
            let request = self.clients.sqs.delete_message_batch().queue_url(&url).set_entries(Some(entries));
            let answer = request.send().await.map_err(|error| classify(OPERATION, &name, &error))?;
            Ok(Answer { done: answer.successful.into_iter().map(|entry| entry.id).collect(), failed: answer.failed })
        });
        let settled = settled.await.map_err(|error| self.failed(queue, error))?;
        settled.but_for_refused().map(drop)
    }

    async fn remove_there(&self, queue: &QueueName) -> Result<(), PortError> {
        let (url, name) = (self.url(queue).await?, self.names.of(queue));
        let removed = self.clients.sqs.delete_queue().queue_url(url).send().await;
        removed.map(drop).map_err(|error| self.failed(queue, classify("DeleteQueue", &name, &error)))
    }

    async fn depth_there(&self, queue: &QueueName) -> Result<u64, PortError> {
        const OPERATION: &str = "GetQueueAttributes";
        let (url, name) = (self.url(queue).await?, self.names.of(queue));
        let waiting = QueueAttributeName::ApproximateNumberOfMessages;
        let request = self.clients.sqs.get_queue_attributes().queue_url(url).attribute_names(waiting.clone());
        let answer = request.send().await;
        let answer = answer.map_err(|error| self.failed(queue, classify(OPERATION, &name, &error)))?;
        let depth = answer.attributes().and_then(|attributes| attributes.get(&waiting)?.parse().ok());
        depth.ok_or_else(|| {
            let message = format!("call {OPERATION} on {name}: the answer has no number of messages");
            PortError::new(ErrorClass::Bug, UNEXPECTED, message)
        })
    }
}

#[async_trait]
impl Queues for SqsQueues {
    async fn send(&self, queue: &QueueName, batch: Vec<Outgoing>) -> Result<(), PortError> {
        check_batch(batch.len())?;
        let batch: Vec<Outgoing> = batch.into_iter().map(acceptable).collect();
        batch.iter().try_for_each(check_message)?;
        self.send_each(queue, batch).await.into_iter().collect()
    }

    async fn send_each(&self, queue: &QueueName, batch: Vec<Outgoing>) -> Vec<Result<(), PortError>> {
        if let Err(error) = check_batch(batch.len()) {
            return vec![Err(error); batch.len()];
        }
        let batch: Vec<Outgoing> = batch.into_iter().map(acceptable).collect();
        let mut answers: Vec<Result<(), PortError>> = batch.iter().map(check_message).collect();
        let (places, good): (Vec<usize>, Vec<Outgoing>) =
            batch.into_iter().enumerate().filter(|(place, _)| answers[*place].is_ok()).unzip();
        let mut sent = Vec::with_capacity(good.len());
        while sent.len() < good.len() {
            let rest = &good[sent.len()..];
            let fits = &rest[..fitting(rest)];
            let answered = self.send_some(queue, fits).await.unwrap_or_else(|error| vec![Err(error); fits.len()]);
            sent.extend(answered.into_iter().map(|sent| unless_gone(queue, sent, ())));
        }
        for (place, sent) in places.into_iter().zip(sent) {
            answers[place] = sent;
        }
        answers
    }

    async fn receive(
        &self,
        queue: &QueueName,
        most: usize,
        visibility: Duration,
        wait: Duration,
    ) -> Result<Vec<Received>, PortError> {
        check_batch(most)?;
        if most == 0 {
            return Err(over_limit("receive messages: none are asked for".to_owned()));
        }
        let received = self.receive_some(queue, most, visibility, wait).await;
        match (received, queue) {
            (Err(error), QueueName::Control { .. }) if error.code == NO_QUEUE => {
                self.urls.make(queue, &self.names.of(queue)).await?;
                self.receive_some(queue, most, visibility, wait).await
            }
            (received, _) => received,
        }
    }

    async fn make(&self, queue: &QueueName) -> Result<(), PortError> {
        match queue {
            QueueName::Control { .. } => self.urls.make(queue, &self.names.of(queue)).await,
            QueueName::Inbox | QueueName::Claims | QueueName::Pool(_) | QueueName::DeadLetter => Ok(()),
        }
    }

    fn forgets_dropped_receives(&self) -> bool {
        false
    }

    async fn extend(&self, queue: &QueueName, batch: Vec<(Receipt, Duration)>) -> Result<Vec<Receipt>, PortError> {
        check_batch(batch.len())?;
        if batch.is_empty() {
            return Ok(Vec::new());
        }
        let extended = self.extend_some(queue, &batch).await;
        unless_gone(queue, extended, Vec::new())
    }

    async fn delete(&self, queue: &QueueName, batch: Vec<Receipt>) -> Result<(), PortError> {
        check_batch(batch.len())?;
        if batch.is_empty() {
            return Ok(());
        }
        let deleted = self.delete_some(queue, &batch).await;
        unless_gone(queue, deleted, ())
    }

    async fn remove(&self, queue: &QueueName) -> Result<(), PortError> {
        let removed = match self.remove_there(queue).await {
            Err(error) if error.code == NO_QUEUE => Ok(()),
            removed => removed,
        };
        self.urls.forget(queue);
        removed
    }

    async fn depth(&self, queue: &QueueName) -> Result<u64, PortError> {
        let depth = self.depth_there(queue).await;
        unless_gone(queue, depth, 0)
    }
}

/// Takes a missing control queue for no failure: its agent has ended.
fn unless_gone<T>(queue: &QueueName, done: Result<T, PortError>, gone: T) -> Result<T, PortError> {
    match (done, queue) {
        (Err(error), QueueName::Control { agent, .. }) if error.code == NO_QUEUE => {
            tracing::info!(agent.id = %agent, "the agent's control queue is gone");
            Ok(gone)
        }
        (done, _) => done,
    }
}

fn check_batch(entries: usize) -> Result<(), PortError> {
    if entries <= MAX_BATCH {
        return Ok(());
    }
    Err(over_limit(format!("use a queue: the batch has {entries} entries; at most {MAX_BATCH} are allowed")))
}

fn check_message(message: &Outgoing) -> Result<(), PortError> {
    let bytes = message.body.len();
    let cause = if bytes == 0 {
        "the message is empty".to_owned()
    } else if bytes > MAX_MESSAGE_BYTES {
        format!("the message has {bytes} bytes; at most {MAX_MESSAGE_BYTES} are allowed")
    } else if message.delay.0 > MAX_DELAY_MS {
        format!("the delay is {}; at most {} is allowed", message.delay, Millis(MAX_DELAY_MS))
    } else {
        return Ok(());
    };
    Err(over_limit(format!("send a message: {cause}")))
}

fn over_limit(message: String) -> PortError {
    PortError::new(ErrorClass::Reject, OVER_LIMIT, message)
}

fn unbuilt(operation: &str, error: &BuildError) -> PortError {
    PortError::new(ErrorClass::Bug, UNEXPECTED, format!("build an entry of {operation}: {error}"))
}

/// A message as SQS takes it. SQS refuses some characters
/// (<https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessageBatch.html>). JSON escapes
/// all of them but the last two of the first plane. In JSON these can stand only inside a text, where an escape means
/// the same.
fn acceptable(message: Outgoing) -> Outgoing {
    if !message.body.contains(['\u{fffe}', '\u{ffff}']) {
        return message;
    }
    let body = message.body.replace('\u{fffe}', "\\ufffe").replace('\u{ffff}', "\\uffff");
    Outgoing { body, ..message }
}

/// How many messages from the first one on fit one request: SQS bounds all bodies of a batch together as it does one,
/// by 1 MiB since August 2025
/// (<https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessageBatch.html>).
fn fitting(messages: &[Outgoing]) -> usize {
    let mut bytes = 0;
    let fits = |message: &&Outgoing| {
        bytes += message.body.len();
        bytes <= MAX_MESSAGE_BYTES
    };
    messages.iter().take_while(fits).count().max(1).min(messages.len())
}

fn send_entry(place: usize, message: &Outgoing) -> Result<SendMessageBatchRequestEntry, BuildError> {
    SendMessageBatchRequestEntry::builder()
        .id(place.to_string())
        .message_body(&message.body)
        .delay_seconds(whole_seconds(message.delay.as_duration()))
        .build()
}

fn extend_entry(
    place: usize,
    (receipt, visibility): &(Receipt, Duration),
) -> Result<ChangeMessageVisibilityBatchRequestEntry, BuildError> {
    ChangeMessageVisibilityBatchRequestEntry::builder()
        .id(place.to_string())
        .receipt_handle(&receipt.0)
        .visibility_timeout(whole_seconds((*visibility).min(MAX_VISIBILITY)))
        .build()
}

fn delete_entry(place: usize, receipt: &Receipt) -> Result<DeleteMessageBatchRequestEntry, BuildError> {
    DeleteMessageBatchRequestEntry::builder().id(place.to_string()).receipt_handle(&receipt.0).build()
}

/// Counts a message as done if SQS reports the digest of the body that was sent. The caller resends the others.
fn answer_to_send(
    batch: &[Outgoing],
    sent: Vec<SendMessageBatchResultEntry>,
    failed: Vec<BatchResultErrorEntry>,
) -> Answer {
    let is_whole = |entry: &SendMessageBatchResultEntry| {
        let body = entry.id.parse().ok().and_then(|place: usize| batch.get(place)).map(|message| &message.body);
        body.is_some_and(|body| digest(body) == entry.md5_of_message_body)
    };
    Answer { done: sent.into_iter().filter(is_whole).map(|entry| entry.id).collect(), failed }
}

/// A message as it was received. A message that did not arrive as SQS has it stays in its queue, and comes again.
fn delivery(queue: &str, message: Message) -> Option<Received> {
    let id = message.message_id.clone().unwrap_or_default();
    let delivery = whole(message);
    if delivery.is_none() {
        tracing::error!(queue.name = queue, message.id = id, "a message did not arrive as SQS has it");
    }
    delivery
}

fn whole(message: Message) -> Option<Received> {
    let attribute = |name| message.attributes().and_then(|attributes| attributes.get(&name));
    let receive_count = attribute(MessageSystemAttributeName::ApproximateReceiveCount)?.parse().ok()?;
    let sent_at = Timestamp::from_millis(attribute(MessageSystemAttributeName::SentTimestamp)?.parse().ok()?);
    let (receipt, id, body) = (Receipt(message.receipt_handle?), message.message_id?, message.body?);
    let is_whole = message.md5_of_body.is_some_and(|expected| expected == digest(&body));
    // Only the queues of inputs have several senders, and their messages come by the process manager's event sources.
    is_whole.then_some(Received { receipt, id, sender: Sender::Host, body, receive_count, sent_at })
}

/// The MD5 of a body in hexadecimal digits, which SQS gives with each message. It guards against accidents only.
fn digest(body: &str) -> String {
    use std::fmt::Write;
    let mut text = String::with_capacity(32);
    for byte in Md5::digest(body.as_bytes()) {
        write!(text, "{byte:02x}").unwrap_or_default();
    }
    text
}

/// SQS counts in whole seconds. Rounds up, since a caller asks for at least `span`.
fn whole_seconds(span: Duration) -> i32 {
    let seconds = span.as_secs() + u64::from(span.subsec_nanos() > 0);
    i32::try_from(seconds).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests;
