//! Turns the endpoint's answer into the output of the attempt, or into its failure.

use reqwest::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap};
use reqwest::{Response, StatusCode};
use serde_json::Value;
use windlass_domain::limits::{MAX_ERROR_MESSAGE_BYTES, MAX_OUTPUT_BYTES};
use windlass_domain::run::ErrorInfo;

use super::network::network;
use super::secrets::Secrets;
use crate::bounded::{BYTE_ORDER_MARK, Head, cut_end, json_or_text};
use crate::kinds;

/// Reads the answer, up to the limit of an output. `has_body`: it is not the answer to a `HEAD`.
pub(super) async fn read(
    mut response: Response,
    has_body: bool,
    place: &str,
    secrets: &Secrets,
) -> Result<Value, ErrorInfo> {
    let status = response.status();
    let encoding = encoding(response.headers());
    if !status.is_success() {
        let body = match encoding {
            None => beginning(&mut response).await,
            Some(encoding) => format!("its body is encoded (`{encoding}`), which nobody asked for"),
        };
        return Err(refused(status, place, &secrets.without(body)));
    }
    let says_json = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).is_some_and(is_json);
    let mut body = Head::default();
    while let Some(chunk) = response.chunk().await.map_err(|error| network(place, error))? {
        body.push(&chunk);
        if body.overflowed() {
            return Err(too_large(place));
        }
    }
    if has_body
        && status != StatusCode::NO_CONTENT
        && let Some(missing) = missing(response.headers(), body.bytes().len())
    {
        let message =
            format!("{place}: the connection ended before the answer did: {missing} bytes of its body are missing");
        return Err(ErrorInfo::new(kinds::NETWORK_RESET, message));
    }
    if let Some(encoding) = encoding.filter(|_| !body.bytes().is_empty()) {
        let message =
            format!("{place} answered {status} with a body that is encoded (`{encoding}`), which nobody asked for");
        return Err(ErrorInfo::new(kinds::OUTPUT_INVALID, message));
    }
    let output = output(body.bytes(), says_json).map_err(|error| {
        ErrorInfo::new(
            kinds::OUTPUT_INVALID,
            format!("{place} answered {status} with a body that is not JSON: {error}"),
        )
    })?;
    if output.to_string().len() > MAX_OUTPUT_BYTES {
        return Err(too_large(place));
    }
    Ok(secrets.without_in(output))
}

/// How many bytes of the announced body did not come. HTTP/2 can end a stream early without an error (RFC 9113, 8.1.1).
fn missing(headers: &HeaderMap, received: usize) -> Option<u64> {
    let announced: u64 = headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()?;
    announced.checked_sub(received as u64).filter(|missing| *missing > 0)
}

/// Encodings that make other bytes of a body (RFC 9110, 8.4.1). Some servers say other things of a plain one.
const ENCODINGS: [&str; 7] = ["gzip", "x-gzip", "deflate", "compress", "x-compress", "br", "zstd"];

/// The encoding of the body. The request asked for none, and no encoded byte is an output.
fn encoding(headers: &HeaderMap) -> Option<&'static str> {
    let said = headers.get_all(CONTENT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    let mut said = said.flat_map(|value| value.split(',')).map(str::trim);
    said.find_map(|said| ENCODINGS.into_iter().find(|known| known.eq_ignore_ascii_case(said)))
}

fn output(body: &[u8], says_json: bool) -> serde_json::Result<Value> {
    let body = body.strip_prefix(BYTE_ORDER_MARK).unwrap_or(body);
    if says_json && !body.is_empty() { serde_json::from_slice(body) } else { Ok(json_or_text(body)) }
}

/// Whether a media type is JSON: `application/json`, `application/problem+json; charset=utf-8`.
fn is_json(media_type: &str) -> bool {
    let essence = media_type.split(';').next().unwrap_or(media_type).trim().to_ascii_lowercase();
    essence == "application/json" || essence.ends_with("+json")
}

/// The beginning of a body that is only shown; a connection that breaks there is not the failure that matters.
async fn beginning(response: &mut Response) -> String {
    let mut body = Vec::new();
    while body.len() < MAX_ERROR_MESSAGE_BYTES {
        match response.chunk().await {
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Ok(None) | Err(_) => break,
        }
    }
    String::from_utf8_lossy(&body).into_owned()
}

fn refused(status: StatusCode, place: &str, body: &str) -> ErrorInfo {
    let mut message = format!("{place} answered {status}");
    if status.is_redirection() {
        message.push_str("; redirects are not followed");
    }
    if !body.trim().is_empty() {
        message.push('\n');
        message.push_str(body.trim());
    }
    ErrorInfo::new(format!("http.{}", status.as_u16()), cut_end(&message, MAX_ERROR_MESSAGE_BYTES / 2))
}

fn too_large(place: &str) -> ErrorInfo {
    let message =
        format!("{place} answered with more than {MAX_OUTPUT_BYTES} bytes; have it answer with a place instead");
    ErrorInfo::new(kinds::OUTPUT_TOO_LARGE, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn body_that_is_shorter_than_announced_is_noticed() {
        let of =
            |announced: &'static str| [(CONTENT_LENGTH, announced.parse().expect("a value"))].into_iter().collect();
        assert_eq!(missing(&HeaderMap::new(), 5), None);
        for (announced, received, expected) in [("100", 5, Some(95)), ("5", 5, None), ("0", 0, None), ("x", 0, None)] {
            assert_eq!(missing(&of(announced), received), expected, "{announced}");
        }
    }

    #[test]
    fn media_types_of_json_are_known() {
        for yes in ["application/json", "Application/JSON; charset=utf-8", "application/problem+json"] {
            assert!(is_json(yes), "{yes}");
        }
        for no in ["text/plain", "application/jsonl", "application/xml", ""] {
            assert!(!is_json(no), "{no}");
        }
    }
}
