//! The requests of the table, as the adapters make them. This module splits batches into requests, repeats the entries
//! that a request left undone, and classifies failures. The client's meter counts the units of each request.

mod removal;
mod transaction;

use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::{AttributeValue, KeysAndAttributes};
use futures::future::try_join_all;
use windlass_engine::ports::{ErrorClass, PortError};

use super::Item;
use crate::error::{UNAVAILABLE, classify};

pub(crate) use transaction::ConditionalPut;

/// Keys of one batch of reads
/// (<https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchGetItem.html>).
const MAX_BATCH_KEYS: usize = 100;
/// Requests for the entries that a batch left undone.
const MAX_ROUNDS: u32 = 8;
/// The wait before the first of them; each is twice as long as the one before.
const FIRST_WAIT: Duration = Duration::from_millis(20);

/// The table.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    client: Client,
    name: String,
}

/// The result of a conditional write.
#[derive(Debug)]
pub(crate) enum Put {
    /// It was written.
    Done,
    /// The condition does not hold.
    Refused,
}

/// How fresh a read is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reading {
    /// With every write that was acknowledged before.
    Consistent,
    /// As it was some time ago, usually less than a second, at half the price
    /// (<https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/HowItWorks.ReadConsistency.html>).
    Eventual,
}

/// A condition or an update, with its names and values. Each name stands as `#name` in it, each value as `:name`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Expression {
    names: Vec<&'static str>,
    values: Vec<(&'static str, AttributeValue)>,
}

impl Expression {
    pub(crate) fn names(names: &[&'static str]) -> Self {
        Self { names: names.to_vec(), values: Vec::new() }
    }

    pub(crate) fn value(mut self, name: &'static str, value: AttributeValue) -> Self {
        self.values.push((name, value));
        self
    }

    fn name_map(&self) -> Option<std::collections::HashMap<String, String>> {
        let names = self.names.iter().map(|name| (format!("#{name}"), (*name).to_owned()));
        (!self.names.is_empty()).then(|| names.collect())
    }

    fn value_map(&self) -> Option<Item> {
        let values = self.values.iter().map(|(name, value)| (format!(":{name}"), value.clone()));
        (!self.values.is_empty()).then(|| values.collect())
    }
}

/// A query of the table or of one of its indexes.
#[derive(Debug, Clone)]
pub(crate) struct Query {
    pub(crate) index: Option<&'static str>,
    /// The condition on the key.
    pub(crate) key: &'static str,
    pub(crate) expression: Expression,
    pub(crate) ascending: bool,
    /// Items at most; none: as many as one answer has.
    pub(crate) limit: Option<usize>,
    /// The key after which to go on.
    pub(crate) after: Option<Item>,
}

/// One answer of a query.
#[derive(Debug, Default)]
pub(crate) struct Page {
    pub(crate) items: Vec<Item>,
    /// Where to go on; none: that was the last.
    pub(crate) next: Option<Item>,
}

impl Table {
    pub(crate) fn new(client: Client, name: impl Into<String>) -> Self {
        Self { client, name: name.into() }
    }

    /// Reads one item.
    pub(crate) async fn get(&self, key: Item, reading: Reading) -> Result<Option<Item>, PortError> {
        let request = self.client.get_item().table_name(&self.name).set_key(Some(key));
        let request = request.consistent_read(reading == Reading::Consistent);
        let answer = request.send().await.map_err(|error| classify("GetItem", &self.name, &error))?;
        Ok(answer.item)
    }

    /// Writes one item if the condition holds.
    pub(crate) async fn put(
        &self,
        item: Item,
        condition: &'static str,
        expression: Expression,
    ) -> Result<Put, PortError> {
        let request = self.client.put_item().table_name(&self.name).set_item(Some(item));
        let request = request
            .condition_expression(condition)
            .set_expression_attribute_names(expression.name_map())
            .set_expression_attribute_values(expression.value_map());
        match request.send().await {
            Ok(_) => Ok(Put::Done),
            Err(error) => match error.as_service_error() {
                Some(PutItemError::ConditionalCheckFailedException(_)) => Ok(Put::Refused),
                _ => Err(classify("PutItem", &self.name, &error)),
            },
        }
    }

    /// Writes one item without a condition, over any item with the same key.
    pub(crate) async fn replace(&self, item: Item) -> Result<(), PortError> {
        let request = self.client.put_item().table_name(&self.name).set_item(Some(item));
        request.send().await.map_err(|error| classify("PutItem", &self.name, &error))?;
        Ok(())
    }

    /// Changes some attributes of an item; says whether the condition held.
    pub(crate) async fn update(
        &self,
        key: Item,
        update: &'static str,
        condition: &'static str,
        expression: Expression,
    ) -> Result<bool, PortError> {
        let request = self.client.update_item().table_name(&self.name).set_key(Some(key));
        let request = request
            .update_expression(update)
            .condition_expression(condition)
            .set_expression_attribute_names(expression.name_map())
            .set_expression_attribute_values(expression.value_map());
        match request.send().await {
            Ok(_) => Ok(true),
            Err(error) => match error.as_service_error() {
                Some(UpdateItemError::ConditionalCheckFailedException(_)) => Ok(false),
                _ => Err(classify("UpdateItem", &self.name, &error)),
            },
        }
    }

    /// Reads items by their keys, which must differ, in no order. Leaves out missing items.
    pub(crate) async fn get_all(&self, keys: Vec<Item>, reading: Reading) -> Result<Vec<Item>, PortError> {
        let batches = keys.chunks(MAX_BATCH_KEYS).map(|batch| self.get_batch(batch.to_vec(), reading));
        Ok(try_join_all(batches).await?.into_iter().flatten().collect())
    }

    async fn get_batch(&self, mut keys: Vec<Item>, reading: Reading) -> Result<Vec<Item>, PortError> {
        let mut items = Vec::with_capacity(keys.len());
        for round in 0..MAX_ROUNDS {
            if round > 0 {
                tokio::time::sleep(FIRST_WAIT * 2_u32.pow(round - 1)).await;
            }
            let asked = KeysAndAttributes::builder()
                .set_keys(Some(keys))
                .consistent_read(reading == Reading::Consistent)
                .build()
                .map_err(|error| PortError::new(ErrorClass::Bug, crate::error::UNEXPECTED, error.to_string()))?;
            let request = self.client.batch_get_item().request_items(&self.name, asked);
            let answer = request.send().await.map_err(|error| classify("BatchGetItem", &self.name, &error))?;
            let found = answer.responses.into_iter().flatten();
            items.extend(found.filter(|(table, _)| *table == self.name).flat_map(|(_, items)| items));
            let left = answer.unprocessed_keys.into_iter().flatten().find(|(table, _)| *table == self.name);
            keys = left.map(|(_, keys)| keys.keys).unwrap_or_default();
            if keys.is_empty() {
                return Ok(items);
            }
        }
        let message = format!("call BatchGetItem on {}: {} keys were left undone", self.name, keys.len());
        Err(PortError::new(ErrorClass::Retry, UNAVAILABLE, message))
    }

    /// One answer of a query; it may be shorter than its limit although more follow.
    pub(crate) async fn query(&self, query: Query) -> Result<Page, PortError> {
        self.query_with(query, None).await
    }

    /// Those attributes of every item of a query of the table, at most so many items, with every write that was
    /// acknowledged before.
    pub(crate) async fn query_shown(
        &self,
        query: Query,
        shown: &'static str,
        most: usize,
    ) -> Result<Vec<Item>, PortError> {
        self.all(query, Some(shown), most).await
    }

    async fn query_with(&self, query: Query, shown: Option<&'static str>) -> Result<Page, PortError> {
        let request = self.client.query().table_name(&self.name).key_condition_expression(query.key);
        let request = request
            .set_index_name(query.index.map(str::to_owned))
            .set_projection_expression(shown.map(str::to_owned))
            .set_consistent_read(shown.map(|_| true))
            .set_expression_attribute_names(query.expression.name_map())
            .set_expression_attribute_values(query.expression.value_map())
            .scan_index_forward(query.ascending)
            .set_limit(query.limit.map(|limit| i32::try_from(limit).unwrap_or(i32::MAX)))
            .set_exclusive_start_key(query.after);
        let answer = request.send().await.map_err(|error| classify("Query", &self.name, &error))?;
        Ok(Page { items: answer.items.unwrap_or_default(), next: answer.last_evaluated_key })
    }

    /// Every item of a query, at most so many.
    pub(crate) async fn query_all(&self, query: Query, most: usize) -> Result<Vec<Item>, PortError> {
        self.all(query, None, most).await
    }

    async fn all(&self, mut query: Query, shown: Option<&'static str>, most: usize) -> Result<Vec<Item>, PortError> {
        let mut items = Vec::new();
        loop {
            let page = self.query_with(query.clone(), shown).await?;
            items.extend(page.items);
            match page.next {
                Some(next) if items.len() < most => query.after = Some(next),
                Some(_) | None => break,
            }
        }
        items.truncate(most);
        Ok(items)
    }
}
