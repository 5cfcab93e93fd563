//! One decision of the real rules, and its effects on the state.

use super::state::{Record, Told, Word};

/// The record, a word about the attempt, and how old the attempt is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Case {
    pub(super) record: Record,
    pub(super) word: Word,
    pub(super) age: u8,
    /// The greatest issue that exists: a later one is above it.
    pub(super) top: u64,
    /// The process manager's clock is behind: it gives the number that another process manager gave before.
    pub(super) is_behind: bool,
}

/// The record after a decision, and the messages that it sends.
#[derive(Debug, Clone)]
pub(super) struct Decided {
    pub(super) record: Record,
    pub(super) is_accepted: bool,
    pub(super) told: Vec<Told>,
    /// The issues that are sent.
    pub(super) sent: Vec<u64>,
}
