//! Deletion of an item.

use windlass_engine::ports::PortError;

use super::Table;
use crate::error::classify;
use crate::table::Item;

impl Table {
    /// Deletes one item; it is no error if it is not there.
    pub(crate) async fn remove(&self, key: Item) -> Result<(), PortError> {
        let request = self.client.delete_item().table_name(&self.name).set_key(Some(key));
        request.send().await.map_err(|error| classify("DeleteItem", &self.name, &error))?;
        Ok(())
    }
}
