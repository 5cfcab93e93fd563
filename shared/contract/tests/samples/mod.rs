//! What the golden files hold.

mod events;
mod messages;
mod runs;

use windlass_domain::ids::{ActionIndex, AgentId, RunId};
use windlass_domain::run::ActionAt;
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
    ActionAt { action: ActionIndex(1), attempt: 2, fence: 3 }
}

fn agent() -> AgentId {
    AgentId::new("agent-1").expect("a name")
}
