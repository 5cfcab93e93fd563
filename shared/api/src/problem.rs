//! Problem documents (RFC 9457): every answer that is no success.

use axum::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

/// A problem, as it is answered: `application/problem+json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Problem {
    /// The page that explains problems of this kind.
    #[serde(rename = "type")]
    pub uri: String,
    /// The title of problems of this kind.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// The failure of this call.
    pub detail: String,
    /// The stable code, such as `WL0410`.
    pub code: String,
    /// The path of this API that the problem concerns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// Every fault that the host found in the request.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<Fault>,
}

/// One fault of the request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Fault {
    /// The stable code of this kind of fault.
    pub code: String,
    /// The fault in words.
    pub message: String,
    /// Where in the value: `actions.publish.needs[1]` in a definition, a JSON pointer in an input; empty: the whole.
    pub path: String,
    /// The line of the text, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    /// The character of the line, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<usize>,
    /// The way to mend it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
}

/// A kind of problem: its code has a page in `docs/errors`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Kind {
    pub(crate) code: &'static str,
    pub(crate) status: StatusCode,
    pub(crate) title: &'static str,
}

/// Where the pages of the codes are.
const PAGES: &str = concat!(env!("CARGO_PKG_REPOSITORY"), "/blob/main/docs/errors");

macro_rules! kinds {
    ($($name:ident = $code:literal, $status:ident, $title:literal;)*) => {
        impl Kind {
            $(pub(crate) const $name: Self = Self { code: $code, status: StatusCode::$status, title: $title };)*

            /// Every kind.
            #[cfg(test)]
            pub(crate) const ALL: &'static [&'static Self] = &[$(&Self::$name),*];
        }
    };
}

kinds! {
    UNAUTHENTICATED = "WL0401", UNAUTHORIZED, "No valid token";
    FOREIGN_HOST = "WL0402", FORBIDDEN, "Host not allowed";
    FOREIGN_ORIGIN = "WL0403", FORBIDDEN, "Origin not allowed";
    NO_ROUTE = "WL0404", NOT_FOUND, "No such route";
    NO_METHOD = "WL0405", METHOD_NOT_ALLOWED, "Method not allowed";
    MALFORMED_BODY = "WL0406", BAD_REQUEST, "Malformed body";
    BODY_TOO_LARGE = "WL0407", PAYLOAD_TOO_LARGE, "Body too large";
    MEDIA_TYPE = "WL0408", UNSUPPORTED_MEDIA_TYPE, "Media type not supported";
    INVALID_PATH = "WL0409", BAD_REQUEST, "Invalid name or id in the path";
    INVALID_PARAMETER = "WL0410", BAD_REQUEST, "Invalid parameter";
    UNKNOWN_TASK = "WL0411", NOT_FOUND, "No such task";
    UNKNOWN_VERSION = "WL0412", NOT_FOUND, "No such version";
    DELETED_TASK = "WL0413", GONE, "Task deleted";
    UNKNOWN_RUN = "WL0414", NOT_FOUND, "No such run";
    OTHER_NAME = "WL0415", UNPROCESSABLE_ENTITY, "Task name differs";
    DEFINITION_REFUSED = "WL0416", UNPROCESSABLE_ENTITY, "Definition refused";
    INPUT_REFUSED = "WL0417", UNPROCESSABLE_ENTITY, "Input refused";
    KEY_REUSED = "WL0418", UNPROCESSABLE_ENTITY, "Idempotency key reused";
    STATUS_FORBIDS = "WL0419", CONFLICT, "Not possible in this status";
    TOO_MANY_STREAMS = "WL0420", SERVICE_UNAVAILABLE, "Too many event streams";
    ANSWER_TOO_LARGE = "WL0421", INTERNAL_SERVER_ERROR, "Answer too large";
    UNKNOWN_AGENT = "WL0422", NOT_FOUND, "No such agent";
    UNKNOWN_ACTION = "WL0423", NOT_FOUND, "No such action";
    RUN_IS_NEEDED = "WL0424", CONFLICT, "Run still needed";
    BODY_TOO_SLOW = "WL0470", REQUEST_TIMEOUT, "Body too slow";
    INTERNAL = "WL0499", INTERNAL_SERVER_ERROR, "Internal error";
}

/// A handler's answer to a call that it refuses: a problem, and the headers that go with it.
#[derive(Debug)]
pub(crate) struct Refusal(Box<Parts>);

#[derive(Debug)]
struct Parts {
    problem: Problem,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Refusal {
    /// A problem of that kind, and what happened this time.
    pub(crate) fn new(kind: &Kind, detail: impl Into<String>) -> Self {
        Self::coded(kind.code, kind.status, kind.title, detail)
    }

    /// A problem whose code is another part's.
    pub(crate) fn coded(code: &str, status: StatusCode, title: &str, detail: impl Into<String>) -> Self {
        let problem = Problem {
            uri: format!("{PAGES}/{code}.md"),
            title: title.to_owned(),
            status: status.as_u16(),
            detail: detail.into(),
            code: code.to_owned(),
            instance: None,
            faults: Vec::new(),
        };
        Self(Box::new(Parts { problem, headers: Vec::new() }))
    }

    /// With the path of its subject.
    pub(crate) fn about(mut self, path: String) -> Self {
        self.0.problem.instance = Some(path);
        self
    }

    /// With the faults, one by one.
    pub(crate) fn with_faults(mut self, faults: Vec<Fault>) -> Self {
        self.0.problem.faults = faults;
        self
    }

    /// With the demand for a token.
    pub(crate) fn challenge(mut self, challenge: &'static str) -> Self {
        self.0.headers.push((WWW_AUTHENTICATE, HeaderValue::from_static(challenge)));
        self
    }

    /// With the seconds after which the same call may succeed.
    pub(crate) fn retry_after(mut self, seconds: u32) -> Self {
        self.0.headers.push((RETRY_AFTER, HeaderValue::from(seconds)));
        self
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let Parts { problem, headers } = *self.0;
        let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_string(&problem).expect("problems are maps with text keys");
        let mut response = (status, [(CONTENT_TYPE, "application/problem+json")], body).into_response();
        response.headers_mut().extend(headers);
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problem_has_its_own_code_and_page() {
        let mut codes: Vec<&str> = Kind::ALL.iter().map(|kind| kind.code).collect();
        codes.dedup();
        assert_eq!(codes.len(), Kind::ALL.len());
        for kind in Kind::ALL {
            let page = format!("{}/../../docs/errors/{}.md", env!("CARGO_MANIFEST_DIR"), kind.code);
            let text = std::fs::read_to_string(&page).unwrap_or_else(|error| panic!("{page}: {error}"));
            let title = format!("# {}: {}", kind.code, kind.title);
            assert!(text.starts_with(&title), "{page} begins with `{title}`");
        }
    }
}
