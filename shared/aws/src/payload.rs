//! Payloads: JSON values that are too long for an item, in S3 under the SHA-256 of their text.
//!
//! This program puts a payload before the item that refers to it, and never changes or deletes it. Equal values share
//! one payload, such as the input of a schedule. A payload has no item of its own. Beyond 8 KB an item costs more to
//! write than an object, and an object may be as long as any input or output.

use std::collections::HashMap;
use std::sync::Arc;

use aws_sdk_s3::Client;
use aws_sdk_s3::operation::get_object::GetObjectError;
use aws_sdk_s3::primitives::ByteStream;
use futures::stream::{self, StreamExt, TryStreamExt};
use serde_json::Value;
use windlass_domain::content::{Apart, Digest};
use windlass_engine::ports::{ErrorClass, PortError};

use crate::error::{DENIED, UNAVAILABLE, classify};
use crate::recent::Recent;
use crate::table::held::{Incoming, Outgoing};

/// A payload is missing, or has changed since it was put.
const LOST: &str = "WL0346";

/// Bytes of JSON of the payloads in memory; their values take a few times that.
const MAX_CACHED_BYTES: usize = 16 * 1024 * 1024;
/// Requests at a time.
const MAX_REQUESTS: usize = 32;

/// The payloads of a stack.
pub(crate) struct Payloads {
    client: Client,
    bucket: String,
    /// Payloads that this process lately put or read. S3 has them, so the process neither puts nor reads them again.
    known: Recent<Digest, Arc<Value>>,
}

impl Payloads {
    pub(crate) fn new(client: Client, bucket: impl Into<String>) -> Self {
        Self { client, bucket: bucket.into(), known: Recent::new(MAX_CACHED_BYTES) }
    }

    /// Puts each payload that is not yet known to be in the bucket.
    pub(crate) async fn put(&self, outgoing: Outgoing) -> Result<(), PortError> {
        let fresh = outgoing.0.into_iter().filter(|(hash, _)| self.known.get(*hash).is_none());
        stream::iter(fresh.map(|(hash, text)| self.put_one(hash, text)))
            .buffer_unordered(MAX_REQUESTS)
            .try_collect::<()>()
            .await
    }

    async fn put_one(&self, hash: Digest, text: String) -> Result<(), PortError> {
        let value: Value = serde_json::from_str(&text).map_err(|error| lost(hash, &error))?;
        let bytes = text.len();
        let request = self.client.put_object().bucket(&self.bucket).key(key(hash)).content_type("application/json");
        let put = request.body(ByteStream::from(text.into_bytes())).send().await;
        put.map_err(|error| classify("PutObject", &self.bucket, &error))?;
        self.known.put(hash, Arc::new(value), bytes);
        Ok(())
    }

    /// Reads the payloads of these references.
    pub(crate) async fn get(&self, references: impl Iterator<Item = Apart>) -> Result<Incoming, PortError> {
        let (mut incoming, mut unknown) = (Incoming::new(), HashMap::new());
        for reference in references {
            match self.known.get(reference.digest) {
                Some(value) => drop(incoming.insert(reference.digest, value)),
                None => drop(unknown.insert(reference.digest, reference)),
            }
        }
        let read: Vec<(Digest, Arc<Value>)> =
            stream::iter(unknown.into_values().map(|reference| self.get_one(reference)))
                .buffer_unordered(MAX_REQUESTS)
                .try_collect()
                .await?;
        incoming.extend(read);
        Ok(incoming)
    }

    async fn get_one(&self, reference: Apart) -> Result<(Digest, Arc<Value>), PortError> {
        let hash = reference.digest;
        let answer = match self.client.get_object().bucket(&self.bucket).key(key(hash)).send().await {
            Ok(answer) => answer,
            Err(error) if error.as_service_error().is_some_and(GetObjectError::is_no_such_key) => {
                return Err(lost(hash, &"it is not in the bucket"));
            }
            // If the role may not list the bucket, S3 answers "access denied" for an object that does not exist
            // (<https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html>, "Permissions").
            Err(error) => {
                let error = classify("GetObject", &self.bucket, &error);
                let also = if error.code == DENIED { "; S3 says so too of an object that is not there" } else { "" };
                let message = format!("read the payload {hash}: {}{also}", error.message);
                return Err(PortError::new(error.class, error.code, message));
            }
        };
        let broken = |error| {
            let message = format!("call GetObject on {}: the answer broke off ({error})", self.bucket);
            PortError::new(ErrorClass::Retry, UNAVAILABLE, message)
        };
        let text = answer.body.collect().await.map_err(broken)?.into_bytes();
        if Digest::of(&text) != hash {
            return Err(lost(hash, &format_args!("it has {} other bytes of {}", text.len(), reference.bytes)));
        }
        let value: Arc<Value> = Arc::new(serde_json::from_slice(&text).map_err(|error| lost(hash, &error))?);
        self.known.put(hash, value.clone(), text.len());
        Ok((hash, value))
    }
}

fn key(hash: Digest) -> String {
    format!("payload/{hash}")
}

fn lost(hash: Digest, cause: &dyn std::fmt::Display) -> PortError {
    PortError::new(ErrorClass::Bug, LOST, format!("read the payload {hash}: {cause}"))
}
