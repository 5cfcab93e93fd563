//! Sending many messages, in batches that a queue takes.

use std::collections::BTreeMap;

use futures::future::join_all;
use windlass_domain::limits::{MAX_BATCH, MAX_MESSAGE_BYTES};

use crate::ports::{ErrorClass, Outgoing, PortError, QueueName, Queues};

/// A message that its queue will never take.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) queue: QueueName,
    pub(crate) message: Outgoing,
    pub(crate) error: PortError,
}

/// Sends every message to its queue: batches of at most ten messages and one message's bytes (SQS bounds both).
pub(crate) async fn send_all(queues: &dyn Queues, outgoing: &[(QueueName, Outgoing)]) -> Result<(), PortError> {
    match send_or_refuse(queues, outgoing).await?.into_iter().next() {
        Some(refused) => Err(refused.error),
        None => Ok(()),
    }
}

/// Sends every message to its queue; gives those that their queue will never take. A queue that fails does not keep the
/// others from being sent to.
pub(crate) async fn send_or_refuse(
    queues: &dyn Queues,
    outgoing: &[(QueueName, Outgoing)],
) -> Result<Vec<Refused>, PortError> {
    let mut by_queue: BTreeMap<&QueueName, Vec<&Outgoing>> = BTreeMap::new();
    for (queue, message) in outgoing {
        by_queue.entry(queue).or_default().push(message);
    }
    let batches = by_queue.iter().flat_map(|(queue, messages)| batches(messages).map(move |batch| (*queue, batch)));
    let sent = join_all(batches.map(|(queue, batch)| send_batch(queues, queue, batch))).await;
    let refused: Vec<Vec<Refused>> = sent.into_iter().collect::<Result<_, _>>()?;
    Ok(refused.into_iter().flatten().collect())
}

/// Of a batch that is refused, each message is tried alone: one of them may be the fault.
async fn send_batch(queues: &dyn Queues, queue: &QueueName, batch: &[&Outgoing]) -> Result<Vec<Refused>, PortError> {
    let owned = |batch: &[&Outgoing]| batch.iter().map(|message| (*message).clone()).collect();
    let refused = match queues.send(queue, owned(batch)).await {
        Err(error) if error.class == ErrorClass::Reject => error,
        Err(error) => return Err(error),
        Ok(()) => return Ok(Vec::new()),
    };
    let refused_one = |message: &Outgoing, error| Refused { queue: queue.clone(), message: message.clone(), error };
    if let [message] = batch {
        return Ok(vec![refused_one(message, refused)]);
    }
    let mut all = Vec::new();
    for message in batch {
        match queues.send(queue, owned(&[message])).await {
            Ok(()) => {}
            Err(error) if error.class == ErrorClass::Reject => all.push(refused_one(message, error)),
            Err(error) => return Err(error),
        }
    }
    Ok(all)
}

fn batches<'a, 'm>(messages: &'a [&'m Outgoing]) -> impl Iterator<Item = &'a [&'m Outgoing]> {
    let mut rest = messages;
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let fits = |message: &&&Outgoing| {
            bytes += message.body.len();
            bytes <= MAX_MESSAGE_BYTES
        };
        let count = rest.iter().take(MAX_BATCH).take_while(fits).count().max(1);
        let (batch, after) = rest.split_at(count.min(rest.len()));
        rest = after;
        (!batch.is_empty()).then_some(batch)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(sizes: &[usize], expected: &[usize]) {
        let messages: Vec<Outgoing> = sizes.iter().map(|size| Outgoing::now("x".repeat(*size))).collect();
        let messages: Vec<&Outgoing> = messages.iter().collect();
        assert_eq!(batches(&messages).map(<[&Outgoing]>::len).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn batches_are_bounded_in_number_and_bytes() {
        check(&[], &[]);
        check(&[1; 25], &[10, 10, 5]);
        check(&[MAX_MESSAGE_BYTES, 1], &[1, 1]);
        check(&[MAX_MESSAGE_BYTES / 2; 3], &[2, 1]);
    }
}
