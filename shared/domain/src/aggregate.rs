//! An aggregate: a record that decides alone about every input that reaches it.
//!
//! One loop serves all of them: it loads the record, decides, commits with one conditional write, sends, and acknowledges.
//! Two records agree by messages alone, which may come twice; no write spans them.

use std::fmt::{Debug, Display};
use std::hash::Hash;

use crate::caller::Caller;
use crate::content::Wanted;
use crate::time::Timestamp;

/// A record that decides alone.
pub trait Aggregate: Clone + Debug + PartialEq + Send + Sync + 'static {
    /// Names one record.
    type Id: Clone + Debug + Display + Hash + Ord + Send + Sync;
    /// Something that happened to it. Any input may come twice, late, or out of order.
    type Input: Clone + Debug + PartialEq + Send + Sync;
    /// What a decision reads beside the record: definitions, and what other records say.
    type Context: Send + Sync;
    /// What a decision changes about the record.
    type Fact: Debug + Send + Sync;
    /// What a decision sends, once its facts are committed.
    type Command: Debug + Send + Sync;
    /// Why an input is refused.
    type Refusal: Debug + Display + PartialEq + Send + Sync;

    /// Which record it is.
    fn id(&self) -> &Self::Id;

    /// How often the record was written.
    fn revision(&self) -> u64;

    /// The same record, as its next commit writes it.
    fn set_revision(&mut self, revision: u64);

    /// Decides what an input of that caller does to the record at `now`. It reads no clock and draws no chance.
    fn decide(&self, context: &Self::Context, input: &Self::Input, caller: &Caller, now: Timestamp) -> Change<Self>;

    /// Whether anything about it has to be written, compared with the record as it was read.
    fn differs_from(&self, before: &Self) -> bool {
        self != before
    }
}

/// The effect of an input on a record.
#[derive(Debug, Clone, PartialEq)]
pub struct Change<A: Aggregate> {
    /// The record with the facts folded in.
    pub after: A,
    /// The facts that were decided, in order; empty: the input changes nothing.
    pub facts: Vec<A::Fact>,
    /// Facts of earlier commits whose events are published again. They are not folded.
    pub again: Vec<A::Fact>,
    /// The messages that the loop sends once it has committed the facts.
    pub commands: Vec<A::Command>,
    /// The values that expressions have visited and made for it.
    pub evaluated: u64,
    /// Places of the record whose values it reads and that are not loaded. If there is one, nothing was decided: whoever
    /// asked loads them and asks again.
    pub wanted: Wanted,
    /// Whether the input was accepted. A refusal may send, too.
    pub answer: Result<(), A::Refusal>,
}
