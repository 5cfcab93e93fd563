//! Dead letters: messages that no process could read or perform, and events that the bus does not take, kept with the
//! reason where a person finds them.

use std::fmt::Display;

use serde_json::json;

use crate::ports::{Outgoing, PortError, QueueName, Queues};

/// Bytes of a message that a dead letter keeps: its escaped text and the rest of the dead letter fit into one message.
const MAX_KEPT_BYTES: usize = 128 * 1024;

/// Puts a message of `queue` into the dead-letter queue, or an event that the bus does not take.
pub(crate) async fn bury(
    queues: &dyn Queues,
    queue: &(dyn Display + Sync),
    body: &str,
    reason: &str,
) -> Result<(), PortError> {
    let kept = &body[..body.floor_char_boundary(MAX_KEPT_BYTES)];
    let letter = json!({
        "v": 1,
        "queue": queue.to_string(),
        "reason": reason,
        "bytes": body.len(),
        "body": kept,
    });
    queues.send(&QueueName::DeadLetter, vec![Outgoing::now(letter.to_string())]).await
}
