//! The names of queues in SQS.

use sha2::{Digest, Sha256};
use windlass_engine::ports::QueueName;

/// Characters of a queue's name
/// (<https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_CreateQueue.html>).
const MAX_QUEUE_NAME_BYTES: usize = 80;
/// Hexadecimal digits of the hash in a name that was shortened.
const HASH_DIGITS: usize = 16;

/// How the queues of one stack are named: `PREFIXinbox`, `PREFIXpool-POOL`, `PREFIXcontrol-AGENT`,
/// `PREFIXdead-letters`. Names of pools and agents have only letters, digits, `-` and `_`, as those of queues.
#[derive(Debug, Clone)]
pub(super) struct Names {
    prefix: String,
}

impl Names {
    pub(super) fn new(prefix: &str) -> Self {
        Self { prefix: prefix.to_owned() }
    }

    pub(super) fn of(&self, queue: &QueueName) -> String {
        let prefix = &self.prefix;
        shortened(match queue {
            QueueName::Inbox => format!("{prefix}inbox"),
            QueueName::Pool(pool) => format!("{prefix}pool-{pool}"),
            QueueName::Control(agent) => format!("{prefix}control-{agent}"),
            QueueName::DeadLetter => format!("{prefix}dead-letters"),
        })
    }
}

/// A name that would be too long ends with a hash of the whole, and is the same each time.
fn shortened(name: String) -> String {
    use std::fmt::Write;
    if name.len() <= MAX_QUEUE_NAME_BYTES {
        return name;
    }
    let mut short: String = name.chars().take(MAX_QUEUE_NAME_BYTES - HASH_DIGITS - 1).collect();
    short.push('-');
    for byte in Sha256::digest(name.as_bytes()).iter().take(HASH_DIGITS / 2) {
        write!(short, "{byte:02x}").unwrap_or_default();
    }
    short
}

#[cfg(test)]
mod tests {
    use windlass_domain::ids::AgentId;

    use super::*;

    #[test]
    fn long_names_are_shortened_and_stay_apart() {
        let names = Names::new(&"p".repeat(40));
        let of = |last: &str| names.of(&QueueName::Control(AgentId::new(&("a".repeat(63) + last)).unwrap()));
        assert_eq!(of("x").len(), MAX_QUEUE_NAME_BYTES);
        assert_eq!(of("x"), of("x"));
        assert_ne!(of("x"), of("y"));
        assert!(of("x").chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_'));
    }
}
