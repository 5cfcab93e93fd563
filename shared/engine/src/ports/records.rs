//! The records of aggregates: read, and written conditionally.

use async_trait::async_trait;
use windlass_contract::event::PublicEvent;
use windlass_domain::aggregate::Aggregate;
use windlass_domain::content::Wanted;

use super::PortError;

/// A record as a cheap read found it.
#[derive(Debug, Clone, PartialEq)]
pub struct Glance<A> {
    /// The record; none: it does not exist.
    pub record: Option<A>,
    /// Whether the read saw every write that was acknowledged before. A read that did not may give an older record, or
    /// none.
    pub is_newest: bool,
}

/// The records of one kind of aggregate, conditional on their revision.
#[async_trait]
pub trait Records<A: Aggregate>: Send + Sync {
    /// Reads a record, with every write that was acknowledged before, and without the values that stand apart from it.
    async fn load(&self, id: &A::Id) -> Result<Option<A>, PortError>;

    /// Reads a record as cheaply as the host can. It suits a caller that commits on the record next, because a commit
    /// proves that it was the newest. A caller that decides to change nothing must [`Records::load`] it first, unless the
    /// glance says that it is the newest. On `DynamoDB` an eventually consistent read costs half of a consistent one; the
    /// embedded host gives what it has in memory.
    async fn glance(&self, id: &A::Id) -> Result<Glance<A>, PortError> {
        Ok(Glance { record: self.load(id).await?, is_newest: true })
    }

    /// Reads the values of these places of a record into it. A conflict if the record is an old one and its host no longer
    /// has them. A kind of record that keeps no value apart has none to give.
    async fn fill(&self, _record: &mut A, _wanted: &Wanted) -> Result<(), PortError> {
        Err(PortError::conflict())
    }

    /// Replaces the record whose revision is that of `before` by `after`, whose revision is the next one. A kind of record
    /// with a log gets the events with it, in the same step. The host stores the values of references that are not in `before`. It is durable when this returns. Only what differs between
    /// the two needs to be written. A conflict if the stored revision is another one.
    async fn commit(&self, before: &A, after: &A, events: &[PublicEvent]) -> Result<(), PortError>;
}
