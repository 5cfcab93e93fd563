//! A model of one attempt under the real rules: every interleaving within bounds, breadth first.
//!
//! One run has one action, and the domain's own `decide` answers each word about it. Two agents follow the rules of the
//! engine's agent. The pool's queue delivers a message again when no agent keeps it hidden. The inbox and the control queues
//! lose nothing, and give what they have in any order. Time is coarse: four ages of the first message, and a lease that is
//! ahead or past.
//!
//! A fault costs one of the state's faults. Faults are: an agent crashes, pauses, or can not keep its right; a count
//! repeats or goes back; a queue shows one message to two agents; a delete fails; a word or an answer comes twice; the
//! process manager dies before it sends; a clock is behind; what was said first stays undecided for ten minutes.
//!
//! Three things are admitted to let two agents perform: a message that is shown to two, and a word that stays undecided.
//! After one of these the model does not ask that one agent performs, nor for greater fences.
//!
//! Not modelled: cancellation, retries, progress, losses, several slots of one agent, and agents that come back under their
//! name.

mod agents;
mod explore;
mod opened;
mod record;
mod state;
mod steps;

use std::collections::BTreeMap;
use std::time::Duration;

pub use opened::Opened;
use state::{Agent, Key, Mode, Phase, Record, State};

/// No end can be reached without a further fault.
pub const WEDGED: &str = "no end can be reached";
/// Only the term of an owner without a lease leads to an end.
pub const WEDGED_FOR_HOURS: &str = "no end can be reached before the term of 13 hours";

/// How far the model goes.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Faults of one history.
    pub faults: u8,
    /// How often an agent hands back because it drains.
    pub backs: u8,
    /// How often the sweeper sends the attempt beside other messages of it. With none in the pool it always may.
    pub resends: u8,
    /// How often an agent asks for a lease.
    pub renewals: u8,
    /// Receipts of a message before the queue gives it up.
    pub receives: u8,
    /// Messages in the pool.
    pub messages: usize,
    /// Words in the inbox.
    pub inbox: usize,
    /// Messages in the control queues.
    pub control: usize,
}

/// What was explored.
#[derive(Debug)]
pub struct Explored {
    /// Different states.
    pub states: usize,
    /// Steps between them.
    pub steps: u64,
    /// Steps of the longest of the shortest ways.
    pub depth: usize,
    /// States in which the bound of messages has kept a step from happening: nothing is asked of how they end.
    pub cut: usize,
    /// All was explored.
    pub is_whole: bool,
    /// How long that took.
    pub took: Duration,
    /// What is broken, and the shortest way there.
    pub found: BTreeMap<&'static str, Vec<String>>,
}

impl Bounds {
    /// Explores all within these bounds, for that long at most.
    ///
    /// # Panics
    /// If there are more states than 2^32.
    pub fn explore(&self, opened: Option<Opened>, most: Duration) -> Explored {
        explore::explore(self, opened, most)
    }

    fn start(&self, record: Record) -> State {
        let agent = Agent { mode: Mode::Up, phase: Phase::Idle, key: Key::default(), known: Vec::new() };
        let mut state = State {
            record,
            messages: Vec::new(),
            inbox: Vec::new(),
            control: Vec::new(),
            agents: [agent.clone(), agent],
            age: 0,
            faults: self.faults,
            backs: self.backs,
            resends: self.resends,
            renewals: self.renewals,
            begun: 0,
            is_admitted: false,
        };
        state.send(0);
        state.tidy();
        state
    }
}
