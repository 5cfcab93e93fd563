//! The ports: primitives that a host provides to the engine. Their semantics are those of SQS, DynamoDB and
//! EventBridge: at least once, in no order, conditional on a revision. `windlass-testkit` has one conformance suite for
//! each.

mod agents;
mod bus;
mod clock;
mod error;
mod queues;
mod records;
mod runs;
mod schedules;
mod tasks;

pub use agents::{AgentRecord, Agents, REGISTER_EVERY};
pub use bus::Bus;
pub use clock::Clock;
pub use error::{ErrorClass, PortError};
pub use queues::{Outgoing, QueueName, Queues, Receipt, Received, Sender};
pub use records::{Glance, Records};
pub use runs::{Created, EventCursor, LONGEST_REST, LoggedEvent, RunFilter, RunPage, Runs};
pub use schedules::{OwnScheduler, ScheduleRefusal, Schedules};
pub use tasks::{DueTask, PutTask, StoredVersion, Tasks, VersionRecord};
pub use windlass_domain::schedule::TaskRecord;
