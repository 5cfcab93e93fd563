//! The item that says from which submission on the sweeper has to look at runs. Without it, the sweeper would never
//! look at a run that was submitted just before it stood still for a while.

use windlass_domain::time::Timestamp;

use super::{Damage, Item, key, number, read_number};

const SWEEP_FROM: &str = "u";

/// The key of the mark.
pub(crate) fn mark_key() -> Item {
    key("SWEEP", "MARK")
}

/// The mark.
pub(crate) fn item(from: Timestamp) -> Item {
    let mut item = mark_key();
    item.insert(SWEEP_FROM.to_owned(), number(from.as_millis()));
    item
}

/// The submission time from which on the sweeper must look at runs.
pub(crate) fn decode(item: &Item) -> Result<Timestamp, Damage> {
    read_number(item, SWEEP_FROM).map(Timestamp::from_millis)
}
