//! A model of one attempt under the real rules: every interleaving within bounds, breadth first.
//!
//! One run has one action, and the domain's own `decide` answers each word about it. Two or three agents follow the rules of
//! the engine's agent. The pool's queue delivers a message again when no agent keeps it hidden. The inbox and the control
//! queues lose nothing, and deliver in any order. Time is coarse: four ages of the first message, and a lease that is
//! ahead or past.
//!
//! A fault costs one of the state's faults:
//! - an agent crashes, pauses, or cannot keep its right;
//! - a count repeats or goes back, or a queue shows one message to two agents;
//! - a delete fails;
//! - a word or an answer comes twice, or the first word stays undecided for ten minutes;
//! - the process manager dies before it sends;
//! - a clock is behind.
//!
//! In three cases two agents may perform, and their fences may be equal:
//! - a queue showed a message to two agents;
//! - a word stayed undecided;
//! - a refused hand-back set a term, and the term ended an owner that still has its message (it gets a Stop).
//!
//! The model leaves out retries, progress, losses, several slots of one agent, and agents that come back under their name.

mod agents;
mod bounds;
mod case;
mod explore;
mod opened;
mod record;
mod state;
mod steps;

pub use bounds::{Bounds, Explored, TWO_PERFORM, WEDGED, WEDGED_FOR_HOURS};
pub use explore::explore;
pub use opened::Opened;
