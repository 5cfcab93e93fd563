//! Queues: one table for the messages of all of them.

use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;
use windlass_domain::limits::{MAX_BATCH, MAX_DELAY_MS, MAX_MESSAGE_BYTES};
use windlass_domain::time::Timestamp;
use windlass_engine::ports::{ErrorClass, Outgoing, PortError, QueueName, Queues, Receipt, Received, Sender};

use crate::error::{Failure, OVER_LIMIT};
use crate::session::{NEVER_RECEIVED, Session};
use crate::store::Store;
use crate::writer::Durability;

#[async_trait]
impl Queues for Store {
    async fn send(&self, queue: &QueueName, batch: Vec<Outgoing>) -> Result<(), PortError> {
        check_batch(batch.len())?;
        batch.iter().try_for_each(check_message)?;
        let queue = queue.clone();
        let durability = durability_of(&queue);
        self.writer().write(durability, move |session| insert(session, &queue, &batch)).await
    }

    async fn make(&self, queue: &QueueName) -> Result<(), PortError> {
        let queue = queue.clone();
        let make = move |session: &mut Session<'_>| Ok(session.queue_or_make(&queue).map(drop)?);
        self.writer().write(Durability::Ordered, make).await
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
        let deadline = Instant::now() + wait;
        let waiter = self.queue_watch().wait(queue);
        loop {
            let received = self.take(queue, most, visibility).await?;
            if !received.is_empty() {
                if received.len() == most {
                    // There may be more messages, and the reader that was to be woken for them may have been busy.
                    self.queue_watch().filled(queue, 1);
                }
                return Ok(received);
            }
            if tokio::time::timeout_at(deadline, waiter.notify.notified()).await.is_err() {
                return Ok(Vec::new());
            }
        }
    }

    async fn extend(&self, queue: &QueueName, batch: Vec<(Receipt, Duration)>) -> Result<Vec<Receipt>, PortError> {
        check_batch(batch.len())?;
        let queue = queue.clone();
        self.writer().write(Durability::Ordered, move |session| hide(session, &queue, &batch)).await
    }

    async fn delete(&self, queue: &QueueName, batch: Vec<Receipt>) -> Result<(), PortError> {
        check_batch(batch.len())?;
        let queue = queue.clone();
        self.writer().write(Durability::Ordered, move |session| discard(session, &queue, &batch)).await
    }

    async fn remove(&self, queue: &QueueName) -> Result<(), PortError> {
        let queue = queue.clone();
        self.writer().write(Durability::Ordered, move |session| remove(session, &queue)).await
    }

    async fn depth(&self, queue: &QueueName) -> Result<u64, PortError> {
        let queue = queue.clone();
        let sql = "SELECT count(*) FROM messages
                   WHERE queue = (SELECT id FROM queues WHERE name = ?1) AND visible_at <= ?2";
        let now = self.clock().now_ms();
        let count = move |connection: &rusqlite::Connection| {
            let mut statement = connection.prepare_cached(sql)?;
            let count: i64 = statement.query_row((queue.to_string(), now), |row| row.get(0))?;
            Ok(count.unsigned_abs())
        };
        self.readers().read_aside(count).await
    }
}

impl Store {
    /// Receives the waiting messages; hands back those that come too late for the caller.
    async fn take(&self, queue: &QueueName, most: usize, visibility: Duration) -> Result<Vec<Received>, PortError> {
        let name = queue.clone();
        let take = move |session: &mut Session<'_>| take(session, &name, most, visibility);
        let (name, writer) = (queue.clone(), self.writer().clone());
        let hand_back = move |unheard: Vec<Received>| {
            if !unheard.is_empty() {
                writer.write_unheard(move |session| hand_back(session, &name, &unheard));
            }
        };
        self.writer().write_if_wanted(take, hand_back).await
    }
}

/// A message to the inbox stands nowhere else. A message to a pool or an agent follows from a durable record, and the
/// process manager resends it from there. A claim follows from a message of the pool; if both the claim and its agent are
/// lost with the power, that message comes again.
fn durability_of(queue: &QueueName) -> Durability {
    match queue {
        QueueName::Inbox | QueueName::DeadLetter => Durability::Synced,
        QueueName::Claims | QueueName::Pool(_) | QueueName::Control { .. } => Durability::Ordered,
    }
}

fn check_batch(entries: usize) -> Result<(), PortError> {
    if entries <= MAX_BATCH {
        return Ok(());
    }
    Err(over_limit(format!("use a queue: the batch has {entries} entries; at most {MAX_BATCH} are allowed")))
}

pub(crate) fn check_message(message: &Outgoing) -> Result<(), PortError> {
    let bytes = message.body.len();
    let cause = if bytes > MAX_MESSAGE_BYTES {
        format!("the message has {bytes} bytes; at most {MAX_MESSAGE_BYTES} are allowed")
    } else if message.delay.0 > MAX_DELAY_MS {
        format!("the delay is {} ms; at most {MAX_DELAY_MS} are allowed", message.delay.0)
    } else {
        return Ok(());
    };
    Err(over_limit(format!("send a message: {cause}")))
}

fn over_limit(message: String) -> PortError {
    PortError::new(ErrorClass::Reject, OVER_LIMIT, message)
}

/// An agent makes its control queue. A message to an agent that has left is dropped: nobody would remove its queue.
pub(crate) fn insert(session: &mut Session<'_>, queue: &QueueName, batch: &[Outgoing]) -> Result<(), Failure> {
    let id = match queue {
        QueueName::Control { .. } => session.queue(queue)?,
        QueueName::Inbox | QueueName::Claims | QueueName::Pool(_) | QueueName::DeadLetter => {
            Some(session.queue_or_make(queue)?)
        }
    };
    let Some(id) = id else { return Ok(()) };
    let (now, sent_at) = (session.clock.now_ms(), session.clock.wall_ms());
    let sql = "INSERT INTO messages (id, queue, visible_at, receives, sent_at, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    let mut visible = 0;
    for message in batch {
        let message_id = session.next_message_id();
        let visible_at = later(now, message.delay.as_duration());
        session.write(sql, (message_id, id, visible_at, NEVER_RECEIVED, sent_at, &message.body))?;
        visible += usize::from(message.delay.0 == 0);
    }
    if visible > 0 {
        session.filled.push((queue.clone(), visible));
    }
    Ok(())
}

fn take(
    session: &mut Session<'_>,
    queue: &QueueName,
    most: usize,
    visibility: Duration,
) -> Result<Vec<Received>, Failure> {
    let id = match queue {
        QueueName::Control { .. } => Some(session.queue_or_make(queue)?),
        QueueName::Inbox | QueueName::Claims | QueueName::Pool(_) | QueueName::DeadLetter => session.queue(queue)?,
    };
    let Some(id) = id else { return Ok(Vec::new()) };
    let now = session.clock.now_ms();
    let sql = "UPDATE messages SET visible_at = ?1, receives = receives + 1
               WHERE id IN (SELECT id FROM messages WHERE queue = ?2 AND visible_at <= ?3
                            ORDER BY visible_at, id LIMIT ?4)
               RETURNING id, receives, sent_at, body";
    let mut statement = session.prepare(sql)?;
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    let rows = statement.query_map((later(now, visibility), id, now, most), |row| {
        let (message, receives): (i64, i64) = (row.get(0)?, row.get(1)?);
        let sent_at = Timestamp::from_millis(row.get(2)?);
        let receipt = Receipt(format!("{message}:{receives}"));
        let receive_count = u32::try_from(receives - NEVER_RECEIVED).unwrap_or(u32::MAX);
        let (id, sender) = (message.to_string(), Sender::Host);
        // What is no text, or no UTF-8, was not written here: its reader buries it.
        let body = row.get_ref(3)?.as_bytes().map(String::from_utf8_lossy).unwrap_or_default().into_owned();
        Ok((message, Received { receipt, id, sender, body, receive_count, sent_at }))
    })?;
    let mut received = rows.collect::<Result<Vec<_>, _>>()?;
    // The order of RETURNING is not promised.
    received.sort_unstable_by_key(|(message, _)| *message);
    session.rows += received.len() as u64;
    Ok(received.into_iter().map(|(_, delivery)| delivery).collect())
}

fn hide(session: &mut Session<'_>, queue: &QueueName, batch: &[(Receipt, Duration)]) -> Result<Vec<Receipt>, Failure> {
    let id = match queue {
        QueueName::Control { .. } => Some(session.queue_or_make(queue)?),
        QueueName::Inbox | QueueName::Claims | QueueName::Pool(_) | QueueName::DeadLetter => session.queue(queue)?,
    };
    let Some(id) = id else { return Ok(Vec::new()) };
    let now = session.clock.now_ms();
    // A receipt is good until the message is received again, as SQS has it; also when its time is over.
    let sql = "UPDATE messages SET visible_at = ?1 WHERE id = ?2 AND receives = ?3 AND queue = ?4";
    let mut good = Vec::with_capacity(batch.len());
    let mut visible = 0;
    for (receipt, visibility) in batch {
        let Some((message, receives)) = parts(receipt) else { continue };
        if session.write(sql, (later(now, *visibility), message, receives, id))? > 0 {
            good.push(receipt.clone());
            visible += usize::from(visibility.is_zero());
        }
    }
    if visible > 0 {
        session.filled.push((queue.clone(), visible));
    }
    Ok(good)
}

/// Hands back the messages of a reader that no longer waits. They are visible at once, and the receive does not count.
fn hand_back(session: &mut Session<'_>, queue: &QueueName, unheard: &[Received]) -> Result<(), Failure> {
    let sql = "UPDATE messages SET visible_at = ?1, receives = receives - 1 WHERE id = ?2 AND receives = ?3";
    let now = session.clock.now_ms();
    for delivery in unheard {
        let Some((message, receives)) = parts(&delivery.receipt) else { continue };
        session.write(sql, (now, message, receives))?;
    }
    session.filled.push((queue.clone(), unheard.len()));
    Ok(())
}

fn discard(session: &mut Session<'_>, queue: &QueueName, batch: &[Receipt]) -> Result<(), Failure> {
    let Some(id) = session.queue(queue)? else { return Ok(()) };
    let sql = "DELETE FROM messages WHERE id = ?1 AND receives = ?2 AND queue = ?3";
    for receipt in batch {
        let Some((message, receives)) = parts(receipt) else { continue };
        session.write(sql, (message, receives, id))?;
    }
    Ok(())
}

fn remove(session: &mut Session<'_>, queue: &QueueName) -> Result<(), Failure> {
    let Some(id) = session.queue(queue)? else { return Ok(()) };
    session.forget_queue(queue);
    session.write("DELETE FROM messages WHERE queue = ?1", [id])?;
    session.write("DELETE FROM queues WHERE id = ?1", [id])?;
    Ok(())
}

/// The message and the receipt's number that a receipt stands for; `None` if it is none of ours.
fn parts(receipt: &Receipt) -> Option<(i64, i64)> {
    let (message, receives) = receipt.0.split_once(':')?;
    Some((message.parse().ok()?, receives.parse().ok()?))
}

fn later(now: i64, span: Duration) -> i64 {
    now.saturating_add(i64::try_from(span.as_millis()).unwrap_or(i64::MAX))
}
