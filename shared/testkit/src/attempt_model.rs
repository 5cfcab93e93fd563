//! A model of one attempt under the real rules: every interleaving within bounds, breadth first.
//!
//! One run has one action, and the domain's own `decide` answers each word about it. Two agents follow the rules of the
//! engine's agent. The pool's queue delivers a message again when no agent keeps it hidden. The inbox and the control queues
//! lose nothing, and give what they have in any order. Time is coarse: four ages of the first message, and a lease that is
//! ahead or past.
//!
//! A fault costs one of the state's faults. Faults are: an agent crashes, pauses, or cannot keep its right; a count
//! repeats or goes back; a queue shows one message to two agents; a delete fails; a word or an answer comes twice; the
//! process manager dies before it sends; a clock is behind; what was said first stays undecided for ten minutes.
//!
//! After three things two agents may perform, and no fence need be greater: a message was shown to two; a word stayed
//! undecided; the term that a refused hand-back set has ended an owner that has its message still (it hears a Stop).
//!
//! Not modelled: cancellation, retries, progress, losses, several slots of one agent, and agents that come back under their
//! name.

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
