//! How far the model goes, and its findings.

use std::collections::BTreeMap;
use std::time::Duration;

/// Two agents perform the attempt at one time, where the rules let one.
pub const TWO_PERFORM: &str = "two agents perform the attempt, each by its right";
/// No end can be reached without a further fault.
pub const WEDGED: &str = "no end can be reached";
/// Only the term of an owner without a lease leads to an end.
pub const WEDGED_FOR_HOURS: &str = "no end can be reached before the term of 13 hours";

/// How far the model goes.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Agents, at most 3.
    pub agents: u8,
    /// Faults of one history.
    pub faults: u8,
    /// How often an agent hands back because it drains.
    pub backs: u8,
    /// How often the sweeper sends the attempt beside other messages of it. With none in the pool it always may.
    pub resends: u8,
    /// How often an agent asks for a lease.
    pub renewals: u8,
    /// How often a caller kills the action.
    pub kills: u8,
    /// Receipts of a message before the queue gives it up.
    pub receives: u8,
    /// Messages in the pool.
    pub messages: usize,
    /// Words in the inbox.
    pub inbox: usize,
    /// Messages in the control queues.
    pub control: usize,
}

/// The result of an exploration.
#[derive(Debug)]
pub struct Explored {
    /// Different states.
    pub states: usize,
    /// Steps between them.
    pub steps: u64,
    /// Steps of the longest of the shortest ways.
    pub depth: usize,
    /// States in which the bound of messages has prevented a step. The model does not judge their ends.
    pub cut: usize,
    /// All was explored.
    pub is_whole: bool,
    /// How long that took.
    pub took: Duration,
    /// The broken rule, and the shortest way there.
    pub found: BTreeMap<&'static str, Vec<String>>,
}
