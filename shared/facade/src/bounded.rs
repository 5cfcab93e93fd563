//! Bytes and texts with a bound: they keep no more than that, however much comes.

use serde_json::Value;
use windlass_domain::limits::{MAX_ERROR_MESSAGE_BYTES, MAX_OUTPUT_BYTES};

/// What some systems put before a text in UTF-8. It is no part of the text.
pub(crate) const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
/// The mark in place of a text's cut part.
const ELLIPSIS: &str = "…";
/// Less of an output says nothing.
const MIN_TAIL_BYTES: usize = 64;

/// The beginning of a stream of bytes: as much as an output may have.
#[derive(Debug, Default)]
pub(crate) struct Head {
    bytes: Vec<u8>,
    overflowed: bool,
}

impl Head {
    /// Takes what still fits.
    pub(crate) fn push(&mut self, chunk: &[u8]) {
        let room = MAX_OUTPUT_BYTES - self.bytes.len();
        self.bytes.extend_from_slice(&chunk[..chunk.len().min(room)]);
        self.overflowed |= chunk.len() > room;
    }

    /// The bytes that were kept: at most `MAX_OUTPUT_BYTES`.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether more came than was kept.
    pub(crate) fn overflowed(&self) -> bool {
        self.overflowed
    }
}

/// The end of a stream of bytes: as much as a failure's message may have.
#[derive(Debug, Default)]
pub(crate) struct Tail {
    bytes: Vec<u8>,
    cut: bool,
}

impl Tail {
    /// Takes a chunk, and forgets bytes that are too far from the end.
    pub(crate) fn push(&mut self, chunk: &[u8]) {
        let skipped = chunk.len().saturating_sub(MAX_ERROR_MESSAGE_BYTES);
        if skipped > 0 {
            self.bytes.clear();
            self.cut = true;
        }
        self.bytes.extend_from_slice(&chunk[skipped..]);
        // Cut at twice the bound, so that a stream of short chunks is not moved by every one of them.
        if self.bytes.len() > 2 * MAX_ERROR_MESSAGE_BYTES {
            self.bytes.drain(..self.bytes.len() - MAX_ERROR_MESSAGE_BYTES);
            self.cut = true;
        }
    }

    /// The end as text, without white space around it; bytes that are not UTF-8 are replaced.
    pub(crate) fn text(&self) -> String {
        let text = String::from_utf8_lossy(&self.bytes);
        let text = text.trim();
        if self.cut { format!("{ELLIPSIS}{text}") } else { text.to_owned() }
    }
}

/// Reads bytes of an unnamed format: JSON if all of them are JSON, null if there are none, otherwise a text.
pub(crate) fn json_or_text(bytes: &[u8]) -> Value {
    let bytes = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes);
    if bytes.is_empty() {
        return Value::Null;
    }
    serde_json::from_slice(bytes).map_or_else(|_| text(bytes), |value| as_written(value, bytes))
}

/// The bytes as a text, without the line break at its end; null if there are none.
pub(crate) fn text(bytes: &[u8]) -> Value {
    let bytes = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes);
    if bytes.is_empty() {
        return Value::Null;
    }
    let text = String::from_utf8_lossy(bytes);
    let text = text.strip_suffix('\n').unwrap_or(&text);
    Value::from(text.strip_suffix('\r').unwrap_or(text))
}

/// The value that these bytes are. A bare number is the text of it where JSON would write another: `3.10` may be a version,
/// `1234e5` a hash and a number of 30 digits an id, and each is to reach the next program as it is.
pub(crate) fn as_written(value: Value, bytes: &[u8]) -> Value {
    let written = bytes.trim_ascii();
    if value.is_number() && value.to_string().as_bytes() != written {
        return Value::from(String::from_utf8_lossy(written));
    }
    value
}

/// A failure's message: the failure, and the end of the work's output as far as there is room. Each is cut at its front.
pub(crate) fn message_with_tail(what: &str, said: &str) -> String {
    let what = cut_front(what, MAX_ERROR_MESSAGE_BYTES);
    let room = MAX_ERROR_MESSAGE_BYTES.saturating_sub(what.len() + 1);
    if said.is_empty() || room < MIN_TAIL_BYTES {
        return what;
    }
    format!("{what}\n{}", cut_front(said, room))
}

/// The text, or as much of its beginning as fits into that many bytes together with a mark of the cut.
pub(crate) fn cut_end(text: &str, most: usize) -> String {
    if text.len() <= most {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(most.saturating_sub(ELLIPSIS.len()));
    format!("{}{ELLIPSIS}", &text[..end])
}

/// The text, or as much of its end as fits into that many bytes together with a mark of the cut.
fn cut_front(text: &str, most: usize) -> String {
    if text.len() <= most {
        return text.to_owned();
    }
    let start = text.ceil_char_boundary(text.len() + ELLIPSIS.len() - most);
    format!("{ELLIPSIS}{}", &text[start..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn head_keeps_the_beginning_and_notes_overflow() {
        let mut head = Head::default();
        head.push(&vec![b'a'; MAX_OUTPUT_BYTES - 1]);
        head.push(b"b");
        assert!(!head.overflowed());
        head.push(b"c");
        assert!(head.overflowed());
        assert_eq!(head.bytes().len(), MAX_OUTPUT_BYTES);
        assert_eq!(head.bytes().last(), Some(&b'b'));
    }

    #[test]
    fn a_tail_keeps_the_end_whatever_the_chunks() {
        for chunk in [1, 7, 1000, MAX_ERROR_MESSAGE_BYTES, 5 * MAX_ERROR_MESSAGE_BYTES] {
            let all: Vec<u8> = (0..100_000u32).flat_map(|n| n.to_string().into_bytes()).collect();
            let mut tail = Tail::default();
            for part in all.chunks(chunk) {
                tail.push(part);
                assert!(tail.bytes.len() <= 2 * MAX_ERROR_MESSAGE_BYTES);
            }
            assert!(tail.bytes.len() >= MAX_ERROR_MESSAGE_BYTES);
            assert!(all.ends_with(&tail.bytes));
            assert!(tail.text().starts_with(ELLIPSIS));
        }
    }

    #[test]
    fn messages_are_cut_between_characters() {
        for padding in 0..4 {
            let said = format!("{}{}", "x".repeat(padding), "ä€😀".repeat(5000));
            let message = message_with_tail("exited with code 1", &said);
            assert!(message.len() <= MAX_ERROR_MESSAGE_BYTES);
            assert!(message.len() > MAX_ERROR_MESSAGE_BYTES - 8);
            assert!(message.starts_with("exited with code 1\n…"));
            assert!(message.ends_with("ä€😀"));
            assert!(message_with_tail(&said, &said).len() <= MAX_ERROR_MESSAGE_BYTES);
        }
        let long = "y".repeat(MAX_ERROR_MESSAGE_BYTES - 10);
        assert_eq!(message_with_tail(&long, "said"), long);
        let longer = format!("begin{long}{long}end");
        assert!(message_with_tail(&longer, "said").ends_with("yend"));
        assert_eq!(message_with_tail("a", ""), "a");
        assert_eq!(message_with_tail("a", "b"), "a\nb");
    }

    fn check_value(bytes: &[u8], expected: impl Into<serde_json::Value>) {
        assert_eq!(json_or_text(bytes), expected.into(), "{bytes:?}");
    }

    #[test]
    fn output_is_json_or_else_text() {
        check_value(b"", serde_json::Value::Null);
        check_value(b" {\"a\": [1]}\n", serde_json::json!({"a": [1]}));
        check_value(b"42\n", 42);
        check_value(b"\xef\xbb\xbf{\"a\": 1}", serde_json::json!({"a": 1}));
        check_value(b"\xef\xbb\xbf", serde_json::Value::Null);
        check_value(b"\xef\xbb\xbfdone\r\n", "done");
        check_value(b"{\"a\":1}\n{\"a\":2}\n", "{\"a\":1}\n{\"a\":2}");
        check_value(b"done\n", "done");
        check_value(b"done\r\n", "done");
        check_value(b"done\n\n", "done\n");
        check_value(b"\n", "");
        check_value(b"\xff\n", "\u{fffd}");
    }

    #[test]
    fn bare_number_keeps_its_digits() {
        for number in ["0", "-7", "42", "2.5", "100.0", "9223372036854775807", "18446744073709551615"] {
            let value = json_or_text(number.as_bytes());
            assert!(value.is_number(), "{number}: {value}");
            assert_eq!(value.to_string(), number);
        }
        for text in ["3.10", "1.20", "1234e5", "12345678901234567890123", "0.50", "1E3", "-0", "1e-05"] {
            check_value(text.as_bytes(), text);
            check_value(format!("  {text}\n").as_bytes(), text);
        }
        check_value(b"[3.10]", serde_json::json!([3.1]));
        check_value(b"\"3.10\"", "3.10");
    }

    #[test]
    fn tail_replaces_bytes_that_are_no_text() {
        let mut tail = Tail::default();
        tail.push(b"caf\xe9\xff done\n");
        assert_eq!(tail.text(), "caf\u{fffd}\u{fffd} done");
    }
}
