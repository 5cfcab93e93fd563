//! Signing in to a host behind an issuer of tokens: OAuth 2.0 client credentials (RFC 6749, section 4.4).
//!
//! The client's secret goes to the issuer and nowhere else, over TLS or within this machine. It keeps the token until
//! shortly before it expires, in memory and in a file that only its owner can read.

mod cache;
mod token;

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use reqwest::header::{ACCEPT, CONTENT_TYPE};
use reqwest::{Response, Url, redirect};
use serde::Deserialize;
use tokio::sync::Mutex;

use crate::failure::{Exit, Failure};
use crate::loopback::is_loopback;
use cache::Cache;
use token::Token;

const CLIENT_ID: &str = "WINDLASS_CLIENT_ID";
const CLIENT_SECRET: &str = "WINDLASS_CLIENT_SECRET";
const TOKEN_URL: &str = "WINDLASS_TOKEN_URL";
const SCOPE: &str = "WINDLASS_SCOPE";

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const TIMEOUT: Duration = Duration::from_secs(20);
/// A token is not used in the last minute before it expires: clocks differ, and a call takes its time.
const MARGIN: Duration = Duration::from_mins(1);
/// A message quotes at most this many characters of each text that the issuer sends.
const MAX_TOLD_CHARS: usize = 300;

/// A client of an issuer.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct ClientCredentials {
    id: String,
    secret: String,
    token_url: Url,
    scope: Option<String>,
}

impl fmt::Debug for ClientCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientCredentials").field("token_url", &self.token_url.as_str()).finish_non_exhaustive()
    }
}

impl ClientCredentials {
    /// Reads this process's environment; `None` if it sets neither the client's id, nor its secret, nor the token URL.
    /// WL0617 if one of them is missing or the URL is invalid.
    pub(crate) fn from_env() -> Result<Option<Self>, Failure> {
        Self::read(|name| std::env::var(name).ok())
    }

    fn read(lookup: impl Fn(&str) -> Option<String>) -> Result<Option<Self>, Failure> {
        let set = |name: &'static str| lookup(name).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
        let (id, secret, token_url) = (set(CLIENT_ID), set(CLIENT_SECRET), set(TOKEN_URL));
        let (Some(id), Some(secret), Some(token_url)) = (&id, &secret, &token_url) else {
            let parts = [(CLIENT_ID, &id), (CLIENT_SECRET, &secret), (TOKEN_URL, &token_url)];
            let missing: Vec<&str> = parts.iter().filter(|(_, part)| part.is_none()).map(|(name, _)| *name).collect();
            if missing.len() == parts.len() {
                return Ok(None);
            }
            let message = format!("to sign in, {} must be set too", missing.join(" and "));
            return Err(unusable(message));
        };
        let token_url: Url = token_url.parse().map_err(|_| unusable(format!("{TOKEN_URL} is not a URL")))?;
        let is_safe = token_url.scheme() == "https" || (token_url.scheme() == "http" && is_loopback(&token_url));
        if !is_safe || token_url.host_str().is_none() {
            return Err(unusable(format!("{TOKEN_URL} must begin with https://, unless it is of this machine")));
        }
        Ok(Some(Self { id: id.clone(), secret: secret.clone(), token_url, scope: set(SCOPE) }))
    }
}

/// A client that signs in when it first needs a token.
pub(crate) struct SignIn {
    credentials: ClientCredentials,
    http: reqwest::Client,
    cache: Option<Cache>,
    /// Held while a token is fetched, so that it is fetched once.
    token: Mutex<Option<Token>>,
}

impl fmt::Debug for SignIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignIn").field("credentials", &self.credentials).finish_non_exhaustive()
    }
}

/// An issuer's answer with a token (RFC 6749, section 5.1).
#[derive(Deserialize)]
struct Granted {
    access_token: String,
    #[serde(default)]
    expires_in: Option<u64>,
}

/// An issuer's answer with an error (RFC 6749, section 5.2).
#[derive(Default, Deserialize)]
struct Refused {
    #[serde(default)]
    error: String,
    #[serde(default)]
    error_description: String,
}

impl SignIn {
    /// By these credentials, with a file for the token where there is a folder for it.
    pub(crate) fn new(credentials: ClientCredentials) -> Result<Self, Failure> {
        Self::with_cache(credentials, cache::default_folder())
    }

    fn with_cache(credentials: ClientCredentials, folder: Option<std::path::PathBuf>) -> Result<Self, Failure> {
        let mut builder = windlass_facade::http_client()
            .user_agent(concat!("windlass/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(TIMEOUT)
            // A redirect would take the secret along.
            .redirect(redirect::Policy::none());
        if is_loopback(&credentials.token_url) {
            builder = builder.no_proxy();
        }
        let http = builder.build().map_err(|error| away(&credentials.token_url, &error.to_string()))?;
        let key = [credentials.token_url.as_str(), &credentials.id, credentials.scope.as_deref().unwrap_or_default()];
        let cache = folder.map(|folder| Cache::new(&folder, &key));
        Ok(Self { credentials, http, cache, token: Mutex::default() })
    }

    /// A token that may be used. WL0615 if the issuer refuses the client, WL0616 if it does not answer as it should.
    pub(crate) async fn token(&self) -> Result<String, Failure> {
        let mut held = self.token.lock().await;
        let now = now();
        let usable = |token: &Token| token.until.is_none_or(|until| now + MARGIN.as_secs() < until);
        if held.is_none() {
            *held = self.cache.as_ref().and_then(Cache::read);
        }
        match &*held {
            Some(token) if usable(token) => Ok(token.text.clone()),
            Some(_) | None => self.fetch(&mut held).await,
        }
    }

    /// Another token than the refused one.
    pub(crate) async fn renewed(&self, refused: &str) -> Result<String, Failure> {
        let mut held = self.token.lock().await;
        match &*held {
            Some(token) if token.text != refused => Ok(token.text.clone()),
            Some(_) | None => self.fetch(&mut held).await,
        }
    }

    async fn fetch(&self, held: &mut Option<Token>) -> Result<String, Failure> {
        *held = None;
        let asked_at = now();
        let granted = self.ask().await?;
        let token =
            Token { text: granted.access_token, until: granted.expires_in.map(|span| asked_at.saturating_add(span)) };
        if let Some(cache) = &self.cache {
            cache.write(&token);
        }
        Ok(held.insert(token).text.clone())
    }

    async fn ask(&self) -> Result<Granted, Failure> {
        let ClientCredentials { id, secret, token_url, scope } = &self.credentials;
        let mut form = vec![("grant_type", "client_credentials")];
        form.extend(scope.as_deref().map(|scope| ("scope", scope)));
        let request = self
            .http
            .post(token_url.clone())
            // RFC 6749, section 2.3.1: both are encoded before they become a user and a password.
            .basic_auth(encoded(id), Some(encoded(secret)))
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(ACCEPT, "application/json")
            .body(form_of(&form));
        let response = request.send().await.map_err(|error| away(token_url, &cause(&error)))?;
        if response.status().is_success() {
            let granted: Result<Granted, _> = response.json().await;
            let granted = granted.ok().filter(|granted| !granted.access_token.is_empty());
            return granted.ok_or_else(|| away(token_url, "its answer has no `access_token`"));
        }
        Err(refused(token_url, response).await)
    }
}

/// WL0615 if the issuer refuses the client, WL0616 if the issuer fails.
async fn refused(token_url: &Url, response: Response) -> Failure {
    let status = response.status();
    let Refused { error, error_description } = response.json().await.unwrap_or_default();
    let words: String = [error.as_str(), &error_description]
        .iter()
        .filter(|text| !text.is_empty())
        .map(|text| text.chars().filter(|c| !c.is_control()).take(MAX_TOLD_CHARS).collect::<String>())
        .collect::<Vec<_>>()
        .join(": ");
    if !status.is_client_error() {
        return away(token_url, &format!("it answered {status}"));
    }
    let words = if words.is_empty() { status.to_string() } else { words };
    let message = format!("the issuer at {} refuses the client: {words}", place(token_url));
    Failure::new("WL0615", Exit::Unreachable, message)
        .help(format!("{CLIENT_ID}, {CLIENT_SECRET} and {SCOPE} must be those of a client of this issuer"))
}

/// WL0616: the client cannot reach the issuer, or the answer holds no token.
fn away(token_url: &Url, what: &str) -> Failure {
    let message = format!("failed to get a token from the issuer at {}: {what}", place(token_url));
    Failure::new("WL0616", Exit::Unreachable, message).help(format!("is {TOKEN_URL} its token endpoint?"))
}

/// WL0617: the variables for signing in are incomplete or invalid.
fn unusable(message: String) -> Failure {
    Failure::new("WL0617", Exit::Usage, message)
        .help("a client signs in by WINDLASS_CLIENT_ID, WINDLASS_CLIENT_SECRET and WINDLASS_TOKEN_URL")
}

/// The URL without its parts that may be secret.
fn place(url: &Url) -> String {
    format!("{}{}", url.origin().ascii_serialization(), url.path())
}

fn cause(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "it did not answer in time".to_owned();
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

fn form_of(pairs: &[(&str, &str)]) -> String {
    let mut url = Url::parse("http://form/").expect("a URL");
    url.query_pairs_mut().extend_pairs(pairs);
    url.query().unwrap_or_default().to_owned()
}

fn encoded(text: &str) -> String {
    form_of(&[("", text)]).trim_start_matches('=').to_owned()
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests;
