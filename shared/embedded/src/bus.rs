//! The event bus inside one process. A subscriber that must not miss an event reads the event log.

use std::sync::Arc;

use async_trait::async_trait;
use windlass_contract::event::PublicEvent;
use windlass_engine::ports::{Bus, PortError};

use crate::store::Store;

#[async_trait]
impl Bus for Store {
    async fn publish(&self, events: &[PublicEvent]) -> Result<(), PortError> {
        let bus = &self.shared().bus;
        if bus.receiver_count() > 0 {
            for event in events {
                // The last subscriber may have gone just now.
                drop(bus.send(Arc::new(event.clone())));
            }
        }
        Ok(())
    }
}
