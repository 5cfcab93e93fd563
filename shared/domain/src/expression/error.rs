//! Why an expression is refused, or has no value.

/// The stable codes of expressions' errors; `docs/errors` has a page for each.
pub(super) mod code {
    /// It cannot be read.
    pub(crate) const SYNTAX: &str = "WL0201";
    /// A `${{` has no `}}`.
    pub(crate) const UNTERMINATED: &str = "WL0202";
    /// It is too long, or nests too deep.
    pub(crate) const TOO_LARGE: &str = "WL0203";
    /// It names a variable or function that does not exist.
    pub(crate) const UNKNOWN_NAME: &str = "WL0204";
    /// It does not say which action it refers to.
    pub(crate) const DYNAMIC_REFERENCE: &str = "WL0205";
    /// It has no value: a key is missing, or the types do not fit.
    pub(crate) const NO_VALUE: &str = "WL0208";
    /// Its value is too large, or takes too much work.
    pub(crate) const TOO_MUCH: &str = "WL0209";
}

/// Why an expression is not one, or gives no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ExpressionError {
    /// The stable code, such as `WL0201`.
    pub code: &'static str,
    /// A description of the fault for the author.
    pub message: String,
    /// Where: bytes from the start of the text that it stands in, if it is known.
    pub offset: Option<usize>,
}

impl ExpressionError {
    pub(super) fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), offset: None }
    }

    pub(super) fn at(code: &'static str, offset: usize, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), offset: Some(offset) }
    }

    /// The same error, with the text of the expression that has no value.
    pub(super) fn of(self, source: &str) -> Self {
        const MOST: usize = 100;
        let source = source.trim();
        let cut = source.floor_char_boundary(MOST);
        let more = if cut < source.len() { "..." } else { "" };
        Self { message: format!("{}, in `{}{more}`", self.message, &source[..cut]), ..self }
    }

    /// The same error, told from the start of a text in which the expression stands at an offset.
    pub(super) fn inside(self, offset: usize) -> Self {
        Self { offset: Some(self.offset.unwrap_or(0) + offset), ..self }
    }
}
