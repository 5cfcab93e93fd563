//! The event bus.

use async_trait::async_trait;
use windlass_contract::event::PublicEvent;

use super::PortError;

/// Where events are published, at least once and in no order.
#[async_trait]
pub trait Bus: Send + Sync {
    /// Publishes up to [`windlass_domain::limits::MAX_BATCH`] events.
    async fn publish(&self, events: &[PublicEvent]) -> Result<(), PortError>;
}
