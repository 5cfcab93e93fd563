//! Failures of a host, classified once.

/// How a caller reacts to a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorClass {
    /// Try again later: busy, throttled, out of reach, disk full.
    Retry,
    /// Another writer has written in between: read again and decide again.
    Conflict,
    /// The request is wrong and will be wrong the next time.
    Reject,
    /// Stored data is damaged or of an unknown version, or our own code is wrong: a person must look.
    Bug,
}

/// A failure of a host's primitive.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct PortError {
    /// How a caller reacts to it.
    pub class: ErrorClass,
    /// A stable code with a page in `docs/errors`, such as `WL0301`.
    pub code: &'static str,
    /// What happened, in words that fit after "failed to".
    pub message: String,
}

impl PortError {
    /// A failure of that class.
    pub fn new(class: ErrorClass, code: &'static str, message: impl Into<String>) -> Self {
        Self { class, code, message: message.into() }
    }

    /// The revision on which a write was conditional is not the stored one.
    pub fn conflict() -> Self {
        Self::new(ErrorClass::Conflict, "WL0302", "write: the record has been changed in between")
    }

    /// What decides an input has panicked.
    pub(crate) fn panicked() -> Self {
        Self::new(ErrorClass::Bug, "WL0703", "handle an input: the code that decides has panicked")
    }

    /// Whether the same request will fail in the same way.
    pub fn is_lasting(&self) -> bool {
        matches!(self.class, ErrorClass::Reject | ErrorClass::Bug)
    }

    /// Whether another writer has written in between.
    pub fn is_conflict(&self) -> bool {
        self.class == ErrorClass::Conflict
    }
}
