//! Deletion of an item.

use aws_sdk_dynamodb::operation::delete_item::DeleteItemError;
use windlass_engine::ports::PortError;

use super::{Expression, Table};
use crate::error::classify;
use crate::table::Item;

impl Table {
    /// Deletes one item; it is no error if it is not there.
    pub(crate) async fn remove(&self, key: Item) -> Result<(), PortError> {
        let request = self.client.delete_item().table_name(&self.name).set_key(Some(key));
        request.send().await.map_err(|error| classify("DeleteItem", &self.name, &error))?;
        Ok(())
    }

    /// Deletes one item if the condition holds of it; gives whether it did.
    pub(crate) async fn remove_if(&self, key: Item, condition: &str, of: Expression) -> Result<bool, PortError> {
        let request = self.client.delete_item().table_name(&self.name).set_key(Some(key));
        let request = request.condition_expression(condition).set_expression_attribute_names(of.name_map());
        match request.set_expression_attribute_values(of.value_map()).send().await {
            Ok(_) => Ok(true),
            Err(error)
                if error.as_service_error().is_some_and(DeleteItemError::is_conditional_check_failed_exception) =>
            {
                Ok(false)
            }
            Err(error) => Err(classify("DeleteItem", &self.name, &error)),
        }
    }
}
