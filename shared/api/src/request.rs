//! Reads requests: names in the path, parameters, bodies. A reader that fails returns a problem with the fault's place.

use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{FromRequestParts, Path, Query};
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::request::Parts;
use futures::StreamExt;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, timeout};
use windlass_domain::ids::{ActionName, AgentId, RunId, TaskName, TaskVersion};
use windlass_domain::time::Millis;

use crate::operation::Operation;
use crate::problem::{Fault, Kind, Refusal};

/// The longest that a call may wait for the end of a run, if the host sets no lower limit.
/// A caller that asks for more waits this long.
pub(crate) const MAX_WAIT: Duration = Duration::from_mins(1);
/// The longest pause within a body. A caller that sends nothing would keep its connection from others.
const BODY_GOES_ON_WITHIN: Duration = Duration::from_secs(30);
/// How long a body may take as a whole.
const BODY_WITHIN: Duration = Duration::from_mins(1);
/// Entries of a list's page, if the caller does not say.
pub(crate) const DEFAULT_LIMIT: usize = 50;
/// The most entries that a list's page can have.
pub(crate) const MAX_LIMIT: usize = 500;

/// The task that the path names.
pub(crate) struct TaskPath(pub(crate) TaskName);

/// The version of a task that the path names.
pub(crate) struct VersionPath(pub(crate) TaskName, pub(crate) TaskVersion);

/// The run that the path names.
pub(crate) struct RunPath(pub(crate) RunId);

/// The run and its action that the path names.
pub(crate) struct ActionPath(pub(crate) RunId, pub(crate) ActionName);

impl<S: Send + Sync> FromRequestParts<S> for ActionPath {
    type Rejection = Refusal;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let Path((id, action)) = path::<(String, String), S>(parts, state).await?;
        Ok(Self(segment(&id, "the id of a run")?, segment(&action, "the name of an action")?))
    }
}

/// The agent that the path names.
pub(crate) struct AgentPath(pub(crate) AgentId);

impl<S: Send + Sync> FromRequestParts<S> for AgentPath {
    type Rejection = Refusal;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let Path(id) = path::<String, S>(parts, state).await?;
        Ok(Self(segment(&id, "the id of an agent")?))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for TaskPath {
    type Rejection = Refusal;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let Path(name) = path::<String, S>(parts, state).await?;
        Ok(Self(segment(&name, "the name of a task")?))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for VersionPath {
    type Rejection = Refusal;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let Path((name, version)) = path::<(String, String), S>(parts, state).await?;
        Ok(Self(segment(&name, "the name of a task")?, segment(&version, "the number of a version")?))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for RunPath {
    type Rejection = Refusal;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let Path(id) = path::<String, S>(parts, state).await?;
        Ok(Self(segment(&id, "the id of a run")?))
    }
}

async fn path<T, S>(parts: &mut Parts, state: &S) -> Result<Path<T>, Refusal>
where
    T: DeserializeOwned + Send,
    S: Send + Sync,
{
    let read = Path::<T>::from_request_parts(parts, state).await;
    read.map_err(|error| Refusal::new(&Kind::INVALID_PATH, error.to_string()))
}

fn segment<T: FromStr<Err: Display>>(text: &str, what: &str) -> Result<T, Refusal> {
    let refused = |error| Refusal::new(&Kind::INVALID_PATH, format!("`{text}` is not {what}: {error}"));
    text.parse().map_err(refused)
}

/// The parameters after the path's `?`.
pub(crate) struct Parameters(Vec<(String, String)>);

impl<S: Send + Sync> FromRequestParts<S> for Parameters {
    type Rejection = Refusal;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let read = Query::<Vec<(String, String)>>::from_request_parts(parts, state).await;
        let Query(pairs) = read.map_err(|error| Refusal::new(&Kind::INVALID_PARAMETER, error.to_string()))?;
        Ok(Self(pairs))
    }
}

impl Parameters {
    /// Checks that they are the operation's, each at most once.
    pub(crate) fn of(self, operation: Operation) -> Result<Self, Refusal> {
        let known: Vec<&str> = operation.parameters().iter().map(|parameter| parameter.name).collect();
        for (at, (name, _)) in self.0.iter().enumerate() {
            if !known.contains(&name.as_str()) {
                let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                return Err(parameter(format!("there is no parameter `{name}` here; those that are known: {known}")));
            }
            if self.0[..at].iter().any(|(before, _)| before == name) {
                return Err(parameter(format!("the parameter `{name}` is given twice")));
            }
        }
        Ok(self)
    }

    /// A parameter's text.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// A parameter's value; `expected` says what it must be.
    pub(crate) fn read<T>(
        &self,
        name: &str,
        expected: &str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, Refusal> {
        let Some(text) = self.get(name) else {
            return Ok(None);
        };
        let refused = || parameter(format!("the parameter `{name}` must be {expected}; `{text}` is not"));
        read(text).map(Some).ok_or_else(refused)
    }

    /// How many entries a page of a list should have.
    pub(crate) fn limit(&self) -> Result<usize, Refusal> {
        let in_range = |text: &str| text.parse().ok().filter(|limit| (1..=MAX_LIMIT).contains(limit));
        let limit = self.read("limit", &format!("a number from 1 to {MAX_LIMIT}"), in_range)?;
        Ok(limit.unwrap_or(DEFAULT_LIMIT))
    }

    /// How long the call is to wait, at most [`MAX_WAIT`].
    pub(crate) fn wait(&self) -> Result<Duration, Refusal> {
        let wait = self.read("wait", "a span of time such as `20s`", Millis::parse)?;
        Ok(wait.unwrap_or_default().as_duration().min(MAX_WAIT))
    }
}

pub(crate) fn parameter(detail: String) -> Refusal {
    Refusal::new(&Kind::INVALID_PARAMETER, detail)
}

/// The value of a header that may stand once.
pub(crate) fn header<'h>(headers: &'h HeaderMap, name: &str) -> Result<Option<&'h str>, Refusal> {
    let mut values = headers.get_all(name).iter();
    let (first, second) = (values.next(), values.next());
    if second.is_some() {
        return Err(parameter(format!("the header `{name}` is given twice")));
    }
    let refused = || parameter(format!("the header `{name}` has characters that are not visible ASCII"));
    first.map(|value| value.to_str().map_err(|_| refused())).transpose()
}

/// The media type that curl's `-d` and other clients send by default; it says nothing about the body.
/// A browser lets a page of another origin send it without a preflight request. The page gains nothing: every call
/// needs the token.
const NAMED_BY_DEFAULT: &str = "application/x-www-form-urlencoded";

/// Refuses a body whose media type is not allowed. A call without a type passes, and so does a client's default type.
pub(crate) fn check_media_type(headers: &HeaderMap, allowed: &[&str]) -> Result<(), Refusal> {
    let Some(value) = headers.get(CONTENT_TYPE) else {
        return Ok(());
    };
    let text = value.to_str().unwrap_or_default();
    let media_type = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if media_type == NAMED_BY_DEFAULT || allowed.contains(&media_type.as_str()) {
        return Ok(());
    }
    let detail = format!("`{media_type}` is not read here; send `Content-Type: {}`", allowed.join("` or `"));
    Err(Refusal::new(&Kind::MEDIA_TYPE, detail))
}

/// The body, if it has at most `most` bytes.
pub(crate) async fn body(headers: &HeaderMap, body: Body, most: usize) -> Result<Bytes, Refusal> {
    let too_large = || Refusal::new(&Kind::BODY_TOO_LARGE, format!("the body has more than {most} bytes"));
    let announced = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|length| length > most) {
        return Err(too_large());
    }
    let end = Instant::now() + BODY_WITHIN;
    let mut read = Vec::new();
    let mut chunks = body.into_data_stream();
    loop {
        let within = BODY_GOES_ON_WITHIN.min(end.saturating_duration_since(Instant::now()));
        let next = timeout(within, chunks.next()).await.map_err(|_| too_slow())?;
        let Some(chunk) = next else { break };
        let chunk = chunk.map_err(|_| malformed("the body broke off".to_owned()))?;
        if read.len() + chunk.len() > most {
            return Err(too_large());
        }
        read.extend_from_slice(&chunk);
    }
    Ok(read.into())
}

fn too_slow() -> Refusal {
    let (silent, whole) = (BODY_GOES_ON_WITHIN.as_secs(), BODY_WITHIN.as_secs());
    let detail = format!("the body must go on within {silent} s and be whole within {whole} s");
    Refusal::new(&Kind::BODY_TOO_SLOW, detail)
}

/// A body of JSON; an empty one means the default.
pub(crate) async fn json<T: DeserializeOwned + Default>(
    headers: &HeaderMap,
    given: Body,
    most: usize,
) -> Result<T, Refusal> {
    check_media_type(headers, &["application/json"])?;
    let bytes = body(headers, given, most).await?;
    if bytes.is_empty() {
        return Ok(T::default());
    }
    // Serde reads a struct from a sequence too. The order of its values would be a second, unwritten format.
    if bytes.iter().find(|byte| !byte.is_ascii_whitespace()) != Some(&b'{') {
        return Err(malformed("the body is not a JSON object".to_owned()));
    }
    serde_json::from_slice(&bytes).map_err(|error| {
        let fault = Fault {
            code: Kind::MALFORMED_BODY.code.to_owned(),
            message: error.to_string(),
            path: String::new(),
            line: Some(error.line()),
            column: Some(error.column()),
            help: None,
        };
        malformed(format!("the body is not the JSON that is read here: {error}")).with_faults(vec![fault])
    })
}

pub(crate) fn malformed(detail: String) -> Refusal {
    Refusal::new(&Kind::MALFORMED_BODY, detail)
}
