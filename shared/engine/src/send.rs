//! Sending many messages, in batches that a queue takes.

use std::collections::BTreeMap;

use futures::stream::{self, StreamExt};
use windlass_domain::limits::{MAX_BATCH, MAX_MESSAGE_BYTES};

use crate::ports::{Outgoing, PortError, QueueName, Queues};

/// Requests that one process has under way at a time, for one batch of inputs.
const MAX_REQUESTS: usize = 32;

/// Awaits all futures, [`MAX_REQUESTS`] at a time; gives their outputs in order.
pub(crate) async fn together<F: Future>(futures: Vec<F>) -> Vec<F::Output> {
    stream::iter(futures).buffered(MAX_REQUESTS).collect().await
}

/// Sends every message to its queue: batches of at most ten messages and one message's bytes (SQS bounds both).
pub(crate) async fn send_all(queues: &dyn Queues, outgoing: &[(QueueName, Outgoing)]) -> Result<(), PortError> {
    send_each(queues, outgoing).await.into_iter().collect()
}

/// Sends every message to its queue; gives for each, in order, whether it was sent. A queue that fails does not keep
/// the others from being sent to.
pub(crate) async fn send_each(queues: &dyn Queues, outgoing: &[(QueueName, Outgoing)]) -> Vec<Result<(), PortError>> {
    let mut by_queue: BTreeMap<&QueueName, Vec<usize>> = BTreeMap::new();
    for (place, (queue, _)) in outgoing.iter().enumerate() {
        by_queue.entry(queue).or_default().push(place);
    }
    let mut requests = Vec::new();
    for (queue, places) in &by_queue {
        let messages: Vec<&Outgoing> = places.iter().map(|place| &outgoing[*place].1).collect();
        let mut places = places.as_slice();
        for batch in batches(&messages) {
            let (own, after) = places.split_at(batch.len());
            places = after;
            requests.push((*queue, own, batch.iter().map(|message| (*message).clone()).collect()));
        }
    }
    let sends = requests.into_iter().map(|(queue, places, batch)| async move {
        let sent = queues.send_each(queue, batch).await;
        places.iter().copied().zip(sent).collect::<Vec<_>>()
    });
    let mut sent = together(sends.collect()).await.concat();
    sent.sort_unstable_by_key(|(place, _)| *place);
    sent.into_iter().map(|(_, sent)| sent).collect()
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
    use std::cell::Cell;

    use super::*;

    fn check(sizes: &[usize], expected: &[usize]) {
        let messages: Vec<Outgoing> = sizes.iter().map(|size| Outgoing::now("x".repeat(*size))).collect();
        let messages: Vec<&Outgoing> = messages.iter().collect();
        assert_eq!(batches(&messages).map(<[&Outgoing]>::len).collect::<Vec<_>>(), expected);
    }

    #[tokio::test]
    async fn requests_under_way_are_bounded() {
        let (under_way, most) = (Cell::new(0), Cell::new(0));
        let request = |_| async {
            under_way.set(under_way.get() + 1);
            most.set(most.get().max(under_way.get()));
            tokio::task::yield_now().await;
            under_way.set(under_way.get() - 1);
        };
        together((0..1000).map(request).collect()).await;
        assert_eq!(most.get(), MAX_REQUESTS);
    }

    #[test]
    fn batches_are_bounded_in_number_and_bytes() {
        check(&[], &[]);
        check(&[1; 25], &[10, 10, 5]);
        check(&[MAX_MESSAGE_BYTES, 1], &[1, 1]);
        check(&[MAX_MESSAGE_BYTES / 2; 3], &[2, 1]);
    }
}
