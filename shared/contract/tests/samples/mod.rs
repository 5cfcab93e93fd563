//! The samples that the golden files hold.

mod events;
mod messages;
mod runs;

use windlass_domain::attempt::Owner;
use windlass_domain::caller::{Caller, Way};
use windlass_domain::delivery::Delivery;
use windlass_domain::ids::{ActionIndex, AgentId, RunId};
use windlass_domain::run::{ActionAt, Report};
use windlass_domain::time::Timestamp;

pub(crate) use events::events;
pub(crate) use messages::{control, inbox, perform};
pub(crate) use runs::{definition, records, run, submitted, unserved};

/// So many seconds after 2026-01-01T00:00:00Z.
fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(1_767_225_600_000 + seconds * 1000)
}

fn id() -> RunId {
    "01937b5c-0000-7000-8000-000000000001".parse().expect("a UUID")
}

fn of() -> ActionAt {
    ActionAt { action: ActionIndex(1), attempt: 2 }
}

/// The hash of the message's id `4ef4a9a0-3f52-4b3c-9a55-6d0a1b7e0d11`, which the protocol's page has as its example.
fn message() -> u32 {
    windlass_contract::message::message_hash("4ef4a9a0-3f52-4b3c-9a55-6d0a1b7e0d11")
}

/// A report of the first receipt of an attempt's first message.
fn report() -> Report {
    Report { action: ActionIndex(1), delivery: Delivery::new(2, 0, 1), message: message(), agent: agent() }
}

fn agent() -> AgentId {
    AgentId::new("agent-1").expect("a name")
}

/// The agent that has an attempt by its message.
fn owner() -> Owner {
    Owner { agent: agent(), started_at: at(2), since: at(3), message: message(), until: None, renewal: 0 }
}

/// A person, who asked by the API and gave a reason.
fn person() -> Caller {
    Caller { who: Some("ada@example.com".into()), ..Caller::by(Way::Api) }.because("the supplier called")
}
