//! The names of queues in SQS.

use sha2::{Digest, Sha256};
use windlass_domain::ids::{AgentId, PoolName};
use windlass_engine::ports::QueueName;

/// Characters of a queue's name
/// (<https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_CreateQueue.html>).
const MAX_QUEUE_NAME_BYTES: usize = 80;
/// Hexadecimal digits of the hash in a name that was shortened.
const HASH_DIGITS: usize = 16;

/// How the queues of one stack are named: `PREFIXinbox`, `PREFIXclaims`, `PREFIXpool-POOL`,
/// `PREFIXcontrol-POOL-AGENT`, `PREFIXdead-letters`. Names of pools and agents have only letters, digits, `-`
/// and `_`, as those of queues.
///
/// A name of 80 characters or more becomes its first 63, a hyphen and a hash. So two queues never share a name: a
/// shortened name has 80 characters, any other has fewer. The template takes stacks of at most 20 and pools of at most
/// 32 characters, so the 63 contain the whole `NAME-control-POOL-`. So the role of a pool covers shortened names too.
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
        match queue {
            QueueName::Inbox => shortened(format!("{prefix}inbox")),
            QueueName::Claims => shortened(format!("{prefix}claims")),
            QueueName::Pool(pool) => shortened(format!("{prefix}pool-{pool}")),
            QueueName::Control { pool, agent } => self.control(pool, agent),
            QueueName::DeadLetter => shortened(format!("{prefix}dead-letters")),
        }
    }

    /// The control queue of an agent. The role of the pool `a` uses `PREFIXcontrol-a-*`, so the pool's part of the name
    /// has no hyphen. In that part `-` becomes `_h`, and `_` becomes `__`. Pools of the template have only letters and
    /// digits.
    pub(super) fn control(&self, pool: &PoolName, agent: &AgentId) -> String {
        let pool = pool.as_str().replace('_', "__").replace('-', "_h");
        shortened(format!("{}control-{pool}-{agent}", self.prefix))
    }
}

/// A name that would be too long ends with a hash of the whole, and is the same each time.
fn shortened(name: String) -> String {
    use std::fmt::Write;
    if name.len() < MAX_QUEUE_NAME_BYTES {
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
    use std::collections::HashMap;

    use super::*;

    fn check(queue: &QueueName, expected: &str) {
        assert_eq!(Names::new("prod-").of(queue), expected);
    }

    fn pool(name: &str) -> PoolName {
        PoolName::new(name).unwrap()
    }

    fn agent(name: &str) -> AgentId {
        AgentId::new(name).unwrap()
    }

    fn check_control(of_pool: &str, of_agent: &str, expected: &str) {
        assert_eq!(Names::new("prod-").control(&pool(of_pool), &agent(of_agent)), expected);
    }

    #[test]
    fn each_queue_has_its_name() {
        check(&QueueName::Inbox, "prod-inbox");
        check(&QueueName::Claims, "prod-claims");
        check(&QueueName::DeadLetter, "prod-dead-letters");
        check(&QueueName::Pool(pool("linux_x86")), "prod-pool-linux_x86");
        check_control("gpu", "agent-1", "prod-control-gpu-agent-1");
        check_control("a-b_c", "d_e-f", "prod-control-a_hb__c-d_e-f");
    }

    #[test]
    fn control_queues_of_two_agents_differ() {
        let pools =
            ["a", "a-b", "a_b", "a_hb", "a__b", "a_", "a-", &"p".repeat(32), &"p".repeat(64), &("p".repeat(63) + "q")];
        let agents = ["b", "b-c", "c", "b-b", "hb", &"x".repeat(64), &("x".repeat(63) + "y"), &"b".repeat(60)];
        let mut seen = HashMap::new();
        for prefix in ["s-", &"s".repeat(40)] {
            for (of_pool, of_agent) in
                pools.iter().flat_map(|of_pool| agents.iter().map(move |of_agent| (of_pool, of_agent)))
            {
                let name = Names::new(prefix).control(&pool(of_pool), &agent(of_agent));
                assert!(name.len() <= MAX_QUEUE_NAME_BYTES, "{name}");
                assert!(name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_'), "{name}");
                assert_eq!(seen.insert(name, (prefix, of_pool, of_agent)), None, "{prefix} {of_pool} {of_agent}");
            }
        }
    }

    /// The pattern of the pool's role, `NAME-control-POOL-*`, with the longest name and the longest pool of the template.
    #[test]
    fn role_covers_control_queues_of_its_pool() {
        let (prefix, longest) = (format!("{}-", "s".repeat(20)), "p".repeat(32));
        let of_role = format!("{prefix}control-{longest}-");
        for of_agent in ["a", &"a".repeat(64)] {
            let name = Names::new(&prefix).control(&pool(&longest), &agent(of_agent));
            assert!(name.starts_with(&of_role), "{name}");
        }
        for other in [format!("{longest}-x"), format!("{longest}_"), "p".repeat(33), "p".repeat(31)] {
            let name = Names::new(&prefix).control(&pool(&other), &agent("a"));
            assert!(!name.starts_with(&of_role), "{name}");
        }
    }

    #[test]
    fn names_of_80_characters_are_shortened() {
        let name_of = |length: usize| Names::new("").of(&QueueName::Pool(pool(&"p".repeat(length))));
        assert_eq!(name_of(64), format!("pool-{}", "p".repeat(64)));
        let control = |letters: usize| Names::new(&"s".repeat(40)).control(&pool("gpu"), &agent(&"a".repeat(letters)));
        // The prefix, `control-gpu-` and the agent.
        assert_eq!(control(27), format!("{}control-gpu-{}", "s".repeat(40), "a".repeat(27)));
        let shortened = control(28);
        assert_eq!(shortened.len(), MAX_QUEUE_NAME_BYTES);
        assert_eq!(shortened, control(28));
        assert!(shortened.starts_with(&"s".repeat(40)), "{shortened}");
        assert_ne!(shortened, format!("{}control-gpu-{}", "s".repeat(40), "a".repeat(28)));
    }
}
