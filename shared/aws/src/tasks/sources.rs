//! Stored definitions: packed, in the version's item, or in S3 if they are too long for an item.
//!
//! This program puts an object, under the hash of its bytes, before the item that names it. It never changes or deletes
//! the object: versions are for good.

use aws_sdk_s3::Client;
use aws_sdk_s3::operation::get_object::GetObjectError;
use aws_sdk_s3::primitives::ByteStream;
use serde_json::Value;
use windlass_domain::content::Digest as Hash;
use windlass_engine::ports::{ErrorClass, PortError};

use crate::error::{UNAVAILABLE, UNEXPECTED, classify};
use crate::table::packing;
use crate::table::task_version::{MAX_INLINE_BYTES, Source};
use crate::table::{Damage, UNREADABLE};

/// A definition is missing in the bucket, or has changed since it was put.
const LOST: &str = "WL0346";

/// The definitions of a stack.
pub(super) struct Sources {
    client: Client,
    bucket: String,
}

impl Sources {
    pub(super) fn new(client: Client, bucket: impl Into<String>) -> Self {
        Self { client, bucket: bucket.into() }
    }

    /// Packs a definition, and puts it in S3 if it must be there.
    pub(super) async fn put(&self, source: &Value) -> Result<Source, PortError> {
        let json = source.to_string();
        let packed = aside(move || packing::pack(json.as_bytes())).await?;
        if packed.len() <= MAX_INLINE_BYTES {
            return Ok(Source::Inline(packed));
        }
        let hash = Hash::of(&packed);
        let request = self.client.put_object().bucket(&self.bucket).key(key(hash)).body(ByteStream::from(packed));
        request.send().await.map_err(|error| classify("PutObject", &self.bucket, &error))?;
        Ok(Source::Kept(hash))
    }

    /// The definition; `subject` names its version.
    pub(super) async fn get(&self, source: Source, subject: &str) -> Result<Value, PortError> {
        let packed = match source {
            Source::Inline(packed) => packed,
            Source::Kept(hash) => self.read(hash, subject).await?,
        };
        let read = move || {
            let json = packing::unpack(&packed)?;
            serde_json::from_slice(&json).map_err(Damage::broken)
        };
        aside(read)
            .await?
            .map_err(|damage| PortError::new(ErrorClass::Bug, UNREADABLE, format!("read {subject}: {damage}")))
    }

    async fn read(&self, hash: Hash, subject: &str) -> Result<Vec<u8>, PortError> {
        let lost =
            |cause: &str| PortError::new(ErrorClass::Bug, LOST, format!("read {subject} in {}: {cause}", key(hash)));
        let answer = match self.client.get_object().bucket(&self.bucket).key(key(hash)).send().await {
            Ok(answer) => answer,
            Err(error) if error.as_service_error().is_some_and(GetObjectError::is_no_such_key) => {
                return Err(lost("it is not in the bucket"));
            }
            Err(error) => return Err(classify("GetObject", &self.bucket, &error)),
        };
        let broken = |error| {
            let message = format!("call GetObject on {}: the answer broke off ({error})", self.bucket);
            PortError::new(ErrorClass::Retry, UNAVAILABLE, message)
        };
        let packed = answer.body.collect().await.map_err(broken)?.to_vec();
        if Hash::of(&packed) == hash { Ok(packed) } else { Err(lost("it is not what was put")) }
    }
}

fn key(hash: Hash) -> String {
    format!("definition/{hash}")
}

/// Megabytes take their time to be packed, and other calls wait for the thread.
async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, PortError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| PortError::new(ErrorClass::Bug, UNEXPECTED, format!("pack a definition: {error}")))
}
