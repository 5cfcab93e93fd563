//! The place of a page of a large run, as its head names it.

/// Slots of one page: two in turn, and more only while two writers meet.
pub(crate) const SLOTS: u8 = 64;

/// Where a page is stored, and which of its writings is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) slot: u8,
    /// The revision whose commit wrote it, from 1.
    pub(crate) generation: u64,
}
