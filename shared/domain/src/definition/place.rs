//! Where in the text of a definition something stands.

use serde::Serialize;

/// A place in the text of a definition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Place {
    /// The line, from 1.
    pub line: usize,
    /// The character of the line, from 1.
    pub column: usize,
    /// Bytes from the text's start.
    pub offset: usize,
    /// Bytes that are meant; it may be 0.
    pub len: usize,
}
