//! The item of a page: up to 64 neighbouring states of a large run.
//!
//! A page's key has a slot beside its number. So a writer can rewrite a page while the head still points to the old
//! one. The writer takes a slot that the head does not point to, and swings the head afterwards. Only a later
//! generation (the revision of the commit) overwrites a slot. So a writer that comes too late destroys nothing that a
//! head points to.

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use windlass_domain::ids::RunId;
use windlass_domain::limits::ACTIONS_PER_PAGE;
use windlass_domain::run::Page;
use windlass_domain::time::Timestamp;

use super::columns::{Columns, Read};
use super::head::partition;
use super::held::{Incoming, Outgoing};
use super::place::Place;
use super::{BODY, Damage, GENERATION, Item, key, number, packing, read_bytes, read_number};

/// The key of a page.
pub(crate) fn page_key(id: RunId, page: usize, slot: u8) -> Item {
    key(partition(id), sort(page, slot))
}

/// The sort key of a page.
pub(crate) fn sort(page: usize, slot: u8) -> String {
    format!("PAGE#{page}#{slot}")
}

/// The body of a page.
pub(crate) fn encode(page: &Page, base: Timestamp, outgoing: &mut Outgoing) -> Blob {
    let columns = Columns::of(page.iter().enumerate(), base, outgoing);
    Blob::new(packing::pack(&serde_json::to_vec(&columns).expect("columns are plain data")))
}

/// The item of a page.
pub(crate) fn item(id: RunId, page: usize, place: Place, body: Blob) -> Item {
    let mut item = page_key(id, page, place.slot);
    item.insert(GENERATION.to_owned(), number(place.generation));
    item.insert(BODY.to_owned(), AttributeValue::B(body));
    item
}

/// The generation of a page that was read.
pub(crate) fn generation(item: &Item) -> Result<u64, Damage> {
    read_number(item, GENERATION)
}

/// Reads a page, without its values in S3.
pub(crate) fn decode(item: &Item, base: Timestamp) -> Result<Read, Damage> {
    let json = packing::unpack(read_bytes(item, BODY)?)?;
    let columns: Columns = serde_json::from_slice(&json).map_err(Damage::broken)?;
    columns.read(base, ACTIONS_PER_PAGE)
}

/// The page, with the values from S3 in their places; it must have that many states.
pub(crate) fn fill(read: Read, states: usize, incoming: &Incoming) -> Result<Page, Damage> {
    let read = read.fill(incoming)?;
    let whole = read.len() == states && read.iter().enumerate().all(|(at, (index, _))| index.as_usize() == at);
    if !whole {
        return Err(Damage::broken(format_args!("a page has not the {states} states that it must have")));
    }
    Ok(read.into_iter().map(|(_, state)| state).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::super::samples::{a_state, incoming_of};
    use super::*;

    proptest! {
        #[test]
        fn page_round_trips(
            page in proptest::collection::vec(a_state(), 1..=ACTIONS_PER_PAGE),
            generation in 1..u64::MAX,
        ) {
            let (base, mut outgoing) = (Timestamp::from_millis(1_700_000_000_000), Outgoing::default());
            let body = encode(&page, base, &mut outgoing);
            let item = item(RunId::from_uuid(Uuid::nil()), 3, Place { slot: 1, generation }, body);
            prop_assert_eq!(super::generation(&item), Ok(generation));
            let read = decode(&item, base).unwrap();
            prop_assert_eq!(fill(read, page.len(), &incoming_of(&outgoing)), Ok(page));
        }
    }

    #[test]
    fn a_page_of_another_size_is_damage() {
        let page = vec![windlass_domain::run::ActionState::default(); 3];
        let mut outgoing = Outgoing::default();
        let body = encode(&page, Timestamp::from_millis(0), &mut outgoing);
        let item = item(RunId::from_uuid(Uuid::nil()), 0, Place { slot: 0, generation: 1 }, body);
        let read = decode(&item, Timestamp::from_millis(0)).unwrap();
        assert!(matches!(fill(read, 4, &Incoming::new()), Err(Damage::Broken(_))));
    }
}
