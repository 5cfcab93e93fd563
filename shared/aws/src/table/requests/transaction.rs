//! Writes that are done together or not at all. Each costs twice its units, so they are for rare writes.

use aws_sdk_dynamodb::types::{Put, TransactWriteItem};
use windlass_engine::ports::{ErrorClass, PortError};

use super::{Expression, Table};
use crate::error::{UNEXPECTED, classify_transaction};
use crate::table::Item;

/// One write of a transaction, and the condition without which none of them is done.
pub(crate) struct ConditionalPut {
    pub(crate) item: Item,
    pub(crate) condition: &'static str,
    pub(crate) expression: Expression,
}

impl Table {
    /// Writes all of them, if every condition holds; a conflict if one does not.
    pub(crate) async fn put_together(&self, puts: Vec<ConditionalPut>) -> Result<(), PortError> {
        let puts: Result<Vec<TransactWriteItem>, _> = puts.into_iter().map(|put| self.part(put)).collect();
        let request = self.client.transact_write_items().set_transact_items(Some(puts?));
        request.send().await.map_err(|error| classify_transaction(&self.name, &error))?;
        Ok(())
    }

    fn part(&self, put: ConditionalPut) -> Result<TransactWriteItem, PortError> {
        let built = Put::builder()
            .table_name(&self.name)
            .set_item(Some(put.item))
            .condition_expression(put.condition)
            .set_expression_attribute_names(put.expression.name_map())
            .set_expression_attribute_values(put.expression.value_map())
            .build();
        let built = built.map_err(|error| PortError::new(ErrorClass::Bug, UNEXPECTED, error.to_string()))?;
        Ok(TransactWriteItem::builder().put(built).build())
    }
}
