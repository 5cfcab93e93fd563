//! One version of a task's definition: written once, never changed, never deleted.

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use windlass_domain::content::Digest as Hash;
use windlass_domain::ids::{TaskName, TaskVersion};
use windlass_domain::time::Timestamp;
use windlass_engine::ports::VersionRecord;

use super::requests::{Expression, Query};
use super::{BODY, Damage, Item, PK, SK, key, number, read_bytes, read_number, read_text, text};

/// When it was written (N, milliseconds).
const CREATED_AT: &str = "c";
/// The sort keys of versions begin with this.
const VERSION: &str = "V#";
/// The hash of a definition that is in S3 (S).
const KEPT: &str = "k";

/// Bytes of a packed definition up to which it stands in its item. An item has at most 400 KB
/// (<https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html>).
pub(crate) const MAX_INLINE_BYTES: usize = 350 * 1024;

/// Where a packed definition is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// In the item, packed.
    Inline(Vec<u8>),
    /// In S3, under the SHA-256 of the packed bytes.
    Kept(Hash),
}

/// A version as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) created_at: Timestamp,
    pub(crate) source: Source,
}

/// The key of a version. Its number has eight digits at least, so that the order is that of the numbers.
pub(crate) fn version_key(task: &TaskName, version: TaskVersion) -> Item {
    key(format!("TASK#{task}"), format!("{VERSION}{version:08}"))
}

/// The attributes that a list of versions shows.
pub(crate) const LISTED: &str = "#sk, #c";
/// The greatest version of eight digits.
const MAX_VERSION: TaskVersion = 99_999_999;

/// The query of the versions below that number, the newest first.
pub(crate) fn below(task: &TaskName, below: Option<TaskVersion>, most: usize) -> Query {
    const FIRST: &str = "first";
    const LAST: &str = "last";
    let value = |version, name| version_key(task, version).remove(name).expect("a key has both");
    let last = below.map_or(MAX_VERSION, |below| below.saturating_sub(1).min(MAX_VERSION));
    Query {
        index: None,
        key: "#pk = :pk AND #sk BETWEEN :first AND :last",
        expression: Expression::names(&[PK, SK, CREATED_AT])
            .value(PK, value(0, PK))
            .value(FIRST, value(0, SK))
            .value(LAST, value(last, SK)),
        ascending: false,
        limit: Some(most),
        after: None,
    }
}

/// Reads a version of that list.
pub(crate) fn listed(item: &Item) -> Result<VersionRecord, Damage> {
    let number = read_text(item, SK)?.strip_prefix(VERSION).and_then(|number| number.parse().ok());
    let version = number.ok_or(Damage::Attribute(SK))?;
    Ok(VersionRecord { version, created_at: Timestamp::from_millis(read_number(item, CREATED_AT)?) })
}

/// The item of a version.
pub(crate) fn encode(task: &TaskName, version: TaskVersion, stored: &Stored) -> Item {
    let mut item = version_key(task, version);
    item.insert(CREATED_AT.to_owned(), number(stored.created_at.as_millis()));
    match &stored.source {
        Source::Inline(packed) => item.insert(BODY.to_owned(), AttributeValue::B(Blob::new(packed.clone()))),
        Source::Kept(hash) => item.insert(KEPT.to_owned(), text(hash.to_string())),
    };
    item
}

/// Reads a version.
pub(crate) fn decode(item: &Item) -> Result<Stored, Damage> {
    let source = if item.contains_key(KEPT) {
        Source::Kept(Hash::read(read_text(item, KEPT)?).ok_or(Damage::Attribute(KEPT))?)
    } else {
        Source::Inline(read_bytes(item, BODY)?.to_vec())
    };
    Ok(Stored { created_at: Timestamp::from_millis(read_number(item, CREATED_AT)?), source })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn task() -> TaskName {
        TaskName::new("nightly").unwrap()
    }

    proptest! {
        #[test]
        fn version_round_trips(
            version in any::<TaskVersion>(),
            created_at in any::<i64>(),
            packed in proptest::collection::vec(any::<u8>(), 0..500),
            is_kept in any::<bool>(),
        ) {
            let source = if is_kept { Source::Kept(Hash::of(&packed)) } else { Source::Inline(packed) };
            let stored = Stored { created_at: Timestamp::from_millis(created_at), source };
            prop_assert_eq!(decode(&encode(&task(), version, &stored)), Ok(stored));
        }

        #[test]
        fn versions_are_in_the_order_of_their_numbers(one in 0..100_000_000u32, other in 0..100_000_000u32) {
            let sort = |version| version_key(&task(), version)[SK].as_s().unwrap().clone();
            prop_assert_eq!(sort(one).cmp(&sort(other)), one.cmp(&other));
        }
    }

    #[test]
    fn version_is_listed_without_its_definition() {
        let stored = Stored { created_at: Timestamp::from_millis(7), source: Source::Inline(vec![1, 2]) };
        let mut item = encode(&task(), 12, &stored);
        item.remove(BODY);
        assert_eq!(listed(&item), Ok(VersionRecord { version: 12, created_at: Timestamp::from_millis(7) }));
        item.insert(SK.to_owned(), text("V#"));
        assert_eq!(listed(&item), Err(Damage::Attribute(SK)));
    }

    #[test]
    fn damaged_version_is_reported() {
        let mut item = version_key(&task(), 1);
        assert_eq!(decode(&item), Err(Damage::Attribute(BODY)));
        item.insert(KEPT.to_owned(), text("no hash"));
        assert_eq!(decode(&item), Err(Damage::Attribute(KEPT)));
    }
}
