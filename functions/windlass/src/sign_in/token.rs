//! A token of an issuer.

/// A token, and until when it may be used, in seconds since the epoch; absent: the issuer did not say.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) text: String,
    pub(super) until: Option<u64>,
}
