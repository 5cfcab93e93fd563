//! Who may call: a bearer token (RFC 6750), compared in constant time.

use std::fmt;

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use subtle::ConstantTimeEq;

use crate::problem::{Kind, Refusal};

/// How callers prove who they are. Tokens of an identity provider (OIDC) are to be a second variant.
#[derive(Debug, Clone)]
pub enum Auth {
    /// Whoever has this token may do everything.
    Token(Token),
}

/// A secret that callers send as `Authorization: Bearer ...`. It is never shown.
#[derive(Clone)]
pub struct Token(String);

/// Who calls, as far as it is known: for the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Caller(pub(crate) &'static str);

impl Auth {
    /// Admission by one shared token.
    pub fn token(token: impl Into<String>) -> Self {
        Self::Token(Token::from(token.into()))
    }

    /// Who calls, or a refusal that says how to prove it.
    pub(crate) fn check(&self, headers: &HeaderMap) -> Result<Caller, Refusal> {
        let given = bearer(headers)?;
        match self {
            Self::Token(expected) if expected.matches(given) => Ok(Caller("token")),
            Self::Token(_) => Err(Refusal::new(&Kind::UNAUTHENTICATED, "the token is not the one that is wanted")
                .challenge("Bearer realm=\"windlass\", error=\"invalid_token\"")),
        }
    }
}

impl Token {
    /// An empty token matches nothing: a host that failed to make one must not stand open.
    fn matches(&self, given: &str) -> bool {
        !self.0.is_empty() && bool::from(self.0.as_bytes().ct_eq(given.as_bytes()))
    }
}

impl From<String> for Token {
    fn from(token: String) -> Self {
        Self(token)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

fn bearer(headers: &HeaderMap) -> Result<&str, Refusal> {
    let missing = |detail: &str| Refusal::new(&Kind::UNAUTHENTICATED, detail).challenge("Bearer realm=\"windlass\"");
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return Err(missing("the call has no token: send one as `Authorization: Bearer TOKEN`"));
    };
    let scheme_and_token = value.to_str().ok().and_then(|value| value.split_once(' '));
    match scheme_and_token {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Ok(token.trim()),
        Some(_) | None => Err(missing("the `Authorization` header is not of the form `Bearer TOKEN`")),
    }
}
