//! Where the pages of a run are kept: all pages of one run are neighbours.

/// The id of a page of the run of that number.
pub(crate) fn page_id(seq: i64, page: usize) -> i64 {
    first_page(seq) | i64::try_from(page).unwrap_or(0xffff).min(0xffff)
}

/// The first id that a page of the run of that number may have.
pub(crate) fn first_page(seq: i64) -> i64 {
    seq << 16
}
