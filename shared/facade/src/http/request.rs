//! The request of an attempt.

use reqwest::header::{
    AUTHORIZATION, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, HeaderMap, HeaderName, HeaderValue,
    PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use reqwest::{Client, Method, Request, Url};
use serde_json::Value;
use windlass_domain::work::HttpWork;

use super::secrets::Secrets;

/// Who sent a request before answers it in the same way: draft-ietf-httpapi-idempotency-key-header.
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// The trace context: W3C Trace Context, section 3.2.
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// Headers that say how a request travels (RFC 9110, 7.6.1): an author's would not be true of what is sent.
const OF_CONNECTION: [HeaderName; 9] = [
    CONNECTION,
    CONTENT_LENGTH,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
    HeaderName::from_static("http2-settings"),
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];
/// The names of headers for API keys, beside the standard ones.
const API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// The values of the headers that the agent adds to a request, unless the author has set them.
#[derive(Debug)]
pub(super) struct Ours<'a> {
    pub(super) idempotency_key: &'a str,
    pub(super) trace: Option<&'a str>,
}

/// A request that can be sent.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) request: Request,
    /// The method and the URL without user, query and fragment, for messages.
    pub(super) place: String,
    /// Values that must appear nowhere, should the endpoint send them back.
    pub(super) secrets: Secrets,
}

/// Makes the request, or says why there can be none. No value of a header is in that answer.
pub(super) fn prepare(client: &Client, work: &HttpWork, ours: &Ours<'_>) -> Result<Prepared, String> {
    let method = Method::from_bytes(work.method.as_bytes())
        .map_err(|_| format!("`{}` is not a method of HTTP", work.method.escape_debug()))?;
    let url = url(&work.url)?;
    let place = format!("{method} {}", place(&url));
    let mut headers = headers(work)?;
    if !headers.contains_key(IDEMPOTENCY_KEY) {
        headers.insert(IDEMPOTENCY_KEY, value("Idempotency-Key", ours.idempotency_key)?);
    }
    if let (Some(trace), false) = (ours.trace, headers.contains_key(TRACEPARENT)) {
        headers.insert(TRACEPARENT, value("traceparent", trace)?);
    }
    let mut secrets: Vec<_> = url.password().map(str::to_owned).into_iter().collect();
    // A user and a password in the URL become a header of the request, which the author's own header replaces.
    if is_empty(work.body.as_ref()) && matches!(method, Method::POST | Method::PUT | Method::PATCH) {
        // RFC 9110, 8.6. Some servers refuse a request of these methods that says nothing of its length.
        headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    }
    let mut request = client.request(method, url);
    if let Some(body) = &work.body {
        let (content_type, bytes) = match body.as_str() {
            Some(text) => ("text/plain; charset=utf-8", text.to_owned()),
            None => ("application/json", body.to_string()),
        };
        headers.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static(content_type));
        request = request.body(bytes);
    }
    let request = request.headers(headers).build().map_err(|error| error.without_url().to_string())?;
    secrets.extend(secrets_in(request.headers()));
    Ok(Prepared { request, place, secrets: Secrets::new(secrets) })
}

fn is_empty(body: Option<&Value>) -> bool {
    body.is_none_or(|body| body.as_str() == Some(""))
}

fn url(text: &str) -> Result<Url, String> {
    let url: Url = text.parse().map_err(|error| format!("the URL can not be read: {error}"))?;
    match url.scheme() {
        "http" | "https" if url.has_host() => Ok(url),
        other => Err(format!("a URL begins with http:// or https://, not with {other}:")),
    }
}

fn place(url: &Url) -> String {
    let mut shown = url.clone();
    // Neither fails for a URL that has a host.
    let _ = shown.set_username("");
    let _ = shown.set_password(None);
    shown.set_query(None);
    shown.set_fragment(None);
    shown.into()
}

fn headers(work: &HttpWork) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    for (name, text) in &work.headers {
        let header =
            HeaderName::try_from(name).map_err(|_| format!("`{}` is not the name of a header", name.escape_debug()))?;
        if OF_CONNECTION.contains(&header) {
            return Err(format!("the header `{header}` is of the connection, which the agent makes: leave it out"));
        }
        headers.insert(header, value(name, text)?);
    }
    Ok(headers)
}

fn value(name: &str, text: &str) -> Result<HeaderValue, String> {
    let mut value =
        HeaderValue::from_str(text).map_err(|_| format!("the header `{name}` has a character that none may have"))?;
    value.set_sensitive(true);
    Ok(value)
}

/// The values of the headers that carry secrets: each also without its scheme (`Bearer`), and each cookie by itself.
fn secrets_in(headers: &HeaderMap) -> impl Iterator<Item = String> {
    let value = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let whole = [AUTHORIZATION, PROXY_AUTHORIZATION, API_KEY].into_iter().filter_map(value);
    let whole = whole.flat_map(|text| [text, text.rsplit(' ').next().unwrap_or(text)]);
    let cookies = value(COOKIE).into_iter().flat_map(|cookies| cookies.split(';'));
    let cookies = cookies.map(|cookie| cookie.split_once('=').map_or(cookie, |(_, value)| value));
    whole.chain(cookies).map(|text| text.trim().trim_matches('"').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client() -> Client {
        crate::http_client().build().expect("a client can be made")
    }

    fn work(method: &str, url: &str, headers: &[(&str, &str)]) -> HttpWork {
        HttpWork {
            method: method.to_owned(),
            url: url.to_owned(),
            headers: headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            body: None,
        }
    }

    const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    const OURS: Ours<'_> = Ours { idempotency_key: "key", trace: Some(TRACE) };

    #[test]
    fn trace_is_sent_unless_the_author_sets_one() {
        let sent = |headers| prepare(&client(), &work("GET", "http://h/", headers), &OURS).expect("a request");
        assert_eq!(sent(&[]).request.headers()["traceparent"], TRACE);
        assert_eq!(sent(&[("Traceparent", "mine")]).request.headers()["traceparent"], "mine");
    }

    fn check_refused(work: &HttpWork, message: &str) {
        let why = prepare(&client(), work, &OURS).expect_err("must be refused");
        assert!(why.contains(message), "{why}");
        assert!(!why.contains("s3cret"), "{why}");
    }

    #[test]
    fn malformed_request_is_refused_without_its_secrets() {
        check_refused(&work("GE T", "http://h/", &[]), "`GE T` is not a method");
        check_refused(&work("", "http://h/", &[]), "not a method");
        check_refused(&work("GET", "/relative", &[]), "URL");
        check_refused(&work("GET", "http://", &[]), "URL");
        check_refused(&work("GET", "ftp://h/", &[]), "not with ftp:");
        check_refused(&work("GET", "file:///etc/passwd", &[]), "not with file:");
        check_refused(&work("GET", "http://h/", &[("a b", "x")]), "`a b` is not the name");
        for name in ["Content-Length", "transfer-encoding", "Connection", "Upgrade", "Keep-Alive", "TE"] {
            check_refused(&work("POST", "http://h/", &[(name, "5")]), "is of the connection");
        }
        check_refused(&work("GET", "http://h/", &[("Authorization", "s3cret\r\nX: y")]), "`Authorization`");
    }

    #[test]
    fn request_without_a_body_says_so() {
        for (method, body, length) in [
            ("POST", None, Some("0")),
            ("PUT", Some(""), Some("0")),
            ("PATCH", None, Some("0")),
            ("POST", Some("x"), None),
            ("GET", None, None),
            ("DELETE", Some(""), None),
        ] {
            let work = HttpWork { body: body.map(Value::from), ..work(method, "http://h/", &[]) };
            let request = prepare(&client(), &work, &OURS).expect("a request").request;
            let said = request.headers().get("content-length").map(|value| value.to_str().expect("text"));
            assert_eq!(said, length, "{method} {body:?}");
        }
    }

    #[test]
    fn a_place_shows_no_secret() {
        let prepared = prepare(&client(), &work("GET", "https://user:s3cret@h:8443/p/q?token=s3cret#f", &[]), &OURS);
        let prepared = prepared.expect("a request");
        assert_eq!(prepared.place, "GET https://h:8443/p/q");
        assert_eq!(prepared.secrets.list(), ["Basic dXNlcjpzM2NyZXQ=", "dXNlcjpzM2NyZXQ=", "s3cret"]);
        let headers = [
            ("authorization", "Bearer s3cret-token"),
            ("X-Api-Key", "s3cret-key"),
            ("Cookie", "a=1; session=s3cret-session ; b=\"s3cret-b\""),
        ];
        let prepared = prepare(&client(), &work("GET", "http://h/", &headers), &OURS).expect("a request");
        let expected = ["Bearer s3cret-token", "s3cret-session", "s3cret-token", "s3cret-key", "s3cret-b"];
        assert_eq!(prepared.secrets.list(), expected);
    }
}
