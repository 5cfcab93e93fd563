//! The sender of a message, as SQS names it.
//!
//! SQS gives with each message the id of the principal that sent it: `ROLE-ID:SESSION` for a role, the id of a user, or
//! the number of the account
//! (<https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_ReceiveMessage.html>). A sender chooses
//! the session's name and nothing else. So by the role the process manager knows the agents of each pool, and the host.

use std::collections::BTreeMap;

use windlass_domain::ids::PoolName;

/// The system attribute of a message that names its sender.
pub const SENDER_ID: &str = "SenderId";

/// Who sent a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sender {
    /// An agent of that pool.
    AgentOf(PoolName),
    /// The coordinator, the process manager, or a schedule of theirs.
    Host,
    /// An unknown principal, or none: SQS did not name the sender.
    Unknown,
}

/// The roles of a stack, by their ids.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Senders {
    roles: BTreeMap<String, Sender>,
}

impl Senders {
    /// The roles of the host, and of each pool the role of its agents. A role that stands for both is an agent's, so that
    /// a mistake in the settings gives an agent no more rights.
    pub fn new(hosts: impl IntoIterator<Item = String>, agents: impl IntoIterator<Item = (PoolName, String)>) -> Self {
        let hosts = hosts.into_iter().map(|role| (role, Sender::Host));
        let agents = agents.into_iter().map(|(pool, role)| (role, Sender::AgentOf(pool)));
        Self { roles: hosts.chain(agents).collect() }
    }

    /// The sender that a message's attribute [`SENDER_ID`] names.
    pub fn of(&self, sender_id: Option<&str>) -> Sender {
        let role = sender_id.and_then(|id| id.split_once(':')).map(|(role, _session)| role);
        role.and_then(|role| self.roles.get(role)).cloned().unwrap_or(Sender::Unknown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AGENT: &str = "AROAAGENTSOFDEFAULT01";
    const GPU: &str = "AROAAGENTSOFTHEGPU001";
    const HOST: &str = "AROACOORDINATOR000001";

    fn pool(name: &str) -> PoolName {
        PoolName::new(name).expect("a name")
    }

    fn check(sender_id: Option<&str>, expected: &Sender) {
        let agents = [(pool("default"), AGENT.to_owned()), (pool("gpu"), GPU.to_owned())];
        let senders = Senders::new([HOST.to_owned()], agents);
        assert_eq!(senders.of(sender_id), *expected, "{sender_id:?}");
        assert_eq!(Senders::default().of(sender_id), Sender::Unknown, "{sender_id:?}");
    }

    #[test]
    fn sender_is_known_by_its_role() {
        check(Some("AROAAGENTSOFDEFAULT01:task-1"), &Sender::AgentOf(pool("default")));
        check(Some("AROAAGENTSOFTHEGPU001:task-1"), &Sender::AgentOf(pool("gpu")));
        check(Some("AROACOORDINATOR000001:windlass-coordinator"), &Sender::Host);
    }

    #[test]
    fn session_name_gives_no_rights() {
        check(Some("AROAAGENTSOFDEFAULT01:AROACOORDINATOR000001"), &Sender::AgentOf(pool("default")));
        check(Some("AROAAGENTSOFDEFAULT01:x:AROACOORDINATOR000001"), &Sender::AgentOf(pool("default")));
        check(Some("AROASTRANGER000000001:AROACOORDINATOR000001"), &Sender::Unknown);
        check(Some(":AROACOORDINATOR000001"), &Sender::Unknown);
    }

    #[test]
    fn other_principals_are_unknown() {
        check(None, &Sender::Unknown);
        check(Some(""), &Sender::Unknown);
        check(Some("123456789012"), &Sender::Unknown);
        check(Some("AIDASTRANGER000000001"), &Sender::Unknown);
        check(Some("AROACOORDINATOR000001"), &Sender::Unknown);
        check(Some("aroacoordinator000001:x"), &Sender::Unknown);
    }

    #[test]
    fn role_of_host_and_pool_is_an_agent() {
        let senders = Senders::new([AGENT.to_owned()], [(pool("default"), AGENT.to_owned())]);
        assert_eq!(senders.of(Some("AROAAGENTSOFDEFAULT01:x")), Sender::AgentOf(pool("default")));
    }
}
