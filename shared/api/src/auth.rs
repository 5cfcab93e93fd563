//! Admits callers that send the host's token (RFC 6750) or that a gateway has verified. The token is compared in
//! constant time.

use std::fmt;

use axum::http::header::AUTHORIZATION;
use axum::http::{Extensions, HeaderMap};
use subtle::ConstantTimeEq;
use windlass_domain::caller::{Caller, Way};

use crate::problem::{Kind, Refusal};

/// Characters of a caller's name that are kept.
const MAX_CALLER_CHARS: usize = 128;

/// How callers prove their identity.
#[derive(Debug, Clone)]
pub enum Auth {
    /// Every caller that sends this token may do everything.
    Token(Token),
    /// A gateway before this API has verified the call's token (OIDC). The host hands over the token's subject as a
    /// [`Verified`] extension of the request. A call without one did not come through the gateway, and the API refuses
    /// it.
    Gateway,
}

/// The caller that a gateway has verified. The host makes it from the gateway's word, never from the caller's request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// The token's subject, or the client that it was issued to.
    pub subject: String,
}

/// A secret that callers send as `Authorization: Bearer ...`. It is never shown.
#[derive(Clone)]
pub struct Token(String);

impl Auth {
    /// Admission by one shared token.
    pub fn token(token: impl Into<String>) -> Self {
        Self::Token(Token::from(token.into()))
    }

    /// Who calls, or a refusal that says how to prove it.
    pub(crate) fn check(&self, headers: &HeaderMap, extensions: &Extensions) -> Result<Caller, Refusal> {
        match self {
            Self::Token(expected) if expected.matches(bearer(headers)?) => Ok(Caller::by(Way::Api)),
            Self::Token(_) => Err(Refusal::new(&Kind::UNAUTHENTICATED, "the token is not the one that is wanted")
                .challenge("Bearer realm=\"windlass\", error=\"invalid_token\"")),
            Self::Gateway => verified(extensions),
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

fn verified(extensions: &Extensions) -> Result<Caller, Refusal> {
    let subject = extensions.get::<Verified>().map(|verified| verified.subject.as_str()).unwrap_or_default();
    if subject.is_empty() {
        return Err(Refusal::new(&Kind::UNAUTHENTICATED, "the call has no token that a gateway has verified")
            .challenge("Bearer realm=\"windlass\""));
    }
    let who = subject.chars().filter(|c| !c.is_control()).take(MAX_CALLER_CHARS).collect();
    Ok(Caller { who: Some(who), ..Caller::by(Way::Api) })
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
