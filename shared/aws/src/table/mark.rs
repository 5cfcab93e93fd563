//! The item that says up to which submission runs have been looked at by the sweeper. Without it, a run that was
//! submitted just before the sweeper stood still for a while would never be looked at.

use windlass_domain::time::Timestamp;

use super::{Damage, Item, key, number, read_number};

const SWEPT_UNTIL: &str = "u";

/// The key of the mark.
pub(crate) fn mark_key() -> Item {
    key("SWEEP", "MARK")
}

/// The mark.
pub(crate) fn item(swept_until: Timestamp) -> Item {
    let mut item = mark_key();
    item.insert(SWEPT_UNTIL.to_owned(), number(swept_until.as_millis()));
    item
}

/// Up to which submission runs have been looked at.
pub(crate) fn decode(item: &Item) -> Result<Timestamp, Damage> {
    read_number(item, SWEPT_UNTIL).map(Timestamp::from_millis)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_mark_is_read_as_it_was_written(millis in any::<i64>()) {
            let mark = Timestamp::from_millis(millis);
            prop_assert_eq!(decode(&item(mark)), Ok(mark));
        }
    }
}
