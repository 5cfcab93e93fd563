//! What the loop needs to know of each kind of aggregate, beside its decisions.

use std::sync::Arc;

use async_trait::async_trait;
use windlass_contract::event::PublicEvent;
use windlass_domain::aggregate::Aggregate;
use windlass_domain::caller::Caller;
use windlass_domain::content::Wanted;
use windlass_domain::time::{Millis, Timestamp};

use crate::Ports;
use crate::definitions::Definitions;
use crate::effects::Effects;
use crate::pools::Pools;
use crate::ports::{Clock, PortError, Records, Sender};

/// What the loop works with.
#[derive(Clone)]
pub struct Engine {
    /// The host.
    pub ports: Ports,
    /// The definitions of its tasks.
    pub definitions: Arc<Definitions>,
    /// Which of its pools have an agent.
    pub pools: Arc<Pools>,
}

impl Engine {
    /// The engine of that host.
    pub fn new(ports: Ports, definitions: Arc<Definitions>) -> Self {
        let pools = Arc::new(Pools::new(&ports));
        Self { ports, definitions, pools }
    }
}

/// An input, and how it came.
#[derive(Debug, Clone, PartialEq)]
pub struct Given<I> {
    /// What happened.
    pub input: I,
    /// Who asks for it.
    pub caller: Caller,
    /// Who sent it, as far as the host can prove it.
    pub sender: Sender,
    /// It was delivered before: the process that handled it then may have died before it sent what followed.
    pub repeated: bool,
}

impl<I> Given<I> {
    /// An input of the host's own that comes for the first time.
    pub fn new(input: I) -> Self {
        Self { input, caller: Caller::HOST, sender: Sender::Host, repeated: false }
    }
}

/// What becomes of inputs whose record does not exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Missing {
    /// It may still come to be: the inputs come again.
    Awaited,
    /// Its submitter never wrote it, and has told its caller so: the inputs are done.
    NeverWritten,
    /// Nothing can be done with the inputs, for this reason.
    Unknown(String),
}

/// What repeated inputs led to.
pub struct Outstanding<A: Aggregate> {
    /// Facts whose events are published again.
    pub facts: Vec<A::Fact>,
    /// Messages that are sent again.
    pub commands: Vec<A::Command>,
    /// Places whose values these tell and that are not loaded.
    pub wanted: Wanted,
}

/// A kind of aggregate that the loop serves.
#[async_trait]
pub trait Subject: Aggregate {
    /// The span of a record's decisions in the log.
    fn span(id: &Self::Id) -> tracing::Span;

    /// The record, with the clock that its times are of, and what that clock shows.
    fn timed(self, clock: &dyn Clock) -> (Self, Timestamp) {
        let now = clock.now();
        (self, now)
    }

    /// Its records on that host.
    fn records(ports: &Ports) -> &dyn Records<Self>;

    /// What decisions about these inputs read beside the record. It is read after the record, so that a commit proves
    /// that the record did not change in between.
    async fn context(&self, engine: &Engine, inputs: &[Given<Self::Input>]) -> Result<Self::Context, PortError>;

    /// Whether the sender may say this.
    fn may_say(context: &Self::Context, given: &Given<Self::Input>) -> bool;

    /// Takes a step of this record. One that may take long holds up no other call.
    fn step<T>(_context: &Self::Context, step: impl FnOnce() -> T) -> T
    where
        Self: Sized,
    {
        step()
    }

    /// The events of a fact of this record.
    fn events(&self, context: &Self::Context, fact: &Self::Fact) -> Vec<PublicEvent>;

    /// What repeated inputs led to, up to that revision. Nothing, if deciding an input again decides the same again.
    fn outstanding(
        &self,
        _context: &Self::Context,
        _repeated: &[&Self::Input],
        _committed: u64,
        _now: Timestamp,
    ) -> Outstanding<Self> {
        Outstanding { facts: Vec::new(), commands: Vec::new(), wanted: Wanted::new() }
    }

    /// What follows from a step of this record: the commands as messages, and the events that are published.
    fn effects(
        &self,
        context: &Self::Context,
        inputs: &[Given<Self::Input>],
        commands: Vec<Self::Command>,
        events: Vec<PublicEvent>,
        now: Timestamp,
    ) -> Effects;

    /// Whether these inputs mean nothing to this record, nor to any later state of it. Only then a record that may be an old
    /// one answers them.
    fn is_beyond(&self, _inputs: &[Given<Self::Input>]) -> bool {
        false
    }

    /// What becomes of inputs, the oldest of that age, whose record does not exist.
    fn missing(id: &Self::Id, inputs: &[Given<Self::Input>], age: Millis) -> Missing;

    /// Tells people who watch the host of committed events that they would want to hear of.
    fn tell(&self, _context: &Self::Context, _events: &[PublicEvent]) {}

    /// Counts what a step meant for people who watch the host: it decided that many events and commands.
    fn observe(&self, _inputs: &[Given<Self::Input>], _decided: (usize, usize), _now: Timestamp) {}
}
