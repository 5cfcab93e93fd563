//! The event bus.

use async_trait::async_trait;
use windlass_contract::event::PublicEvent;

use super::PortError;

/// Where events are published, at least once and in no order.
#[async_trait]
pub trait Bus: Send + Sync {
    /// Publishes events, in as many requests as they need. After an error some of them may have been published, and are
    /// again when the caller repeats it. An event that is too large for the bus is published without its data, which
    /// then says so; none is lost silently.
    async fn publish(&self, events: &[PublicEvent]) -> Result<(), PortError>;
}
