//! The progress file of a program: lines that it appends while it runs.

use std::io;
use std::path::PathBuf;

use serde::Deserialize;
use serde_json::Value;
use windlass_domain::limits::MAX_PROGRESS_MESSAGE_BYTES;
use windlass_domain::run::Progress;
use windlass_engine::perform::AttemptControl;

use super::file::{self, Part};
use crate::bounded::cut_end;

/// Bytes of the file that are read at once. Of a file that grows faster only the end is read: the newest line counts.
const WINDOW_BYTES: u64 = 64 * 1024;

/// A progress file that is followed.
pub(super) struct ProgressFile<'a> {
    path: PathBuf,
    /// The agent has read everything before this.
    offset: u64,
    to: &'a AttemptControl,
}

impl<'a> ProgressFile<'a> {
    pub(super) fn new(path: PathBuf, to: &'a AttemptControl) -> Self {
        Self { path, offset: 0, to }
    }

    /// Reads the appended lines, reports their newest progress and saves their newest checkpoint. An unreadable file is
    /// no progress, and no failure either. If the checkpoint is refused, the progress says so instead of its message.
    pub(super) async fn read(&mut self) {
        let Ok(Some(appended)) = self.appended().await else { return };
        let text = String::from_utf8_lossy(&appended);
        let lines: Vec<Line> = text.lines().rev().map(parse).collect();
        let checkpoint = lines.iter().find_map(|line| line.checkpoint.clone());
        let mut progress = lines.into_iter().find_map(|line| line.progress);
        if let Some(Err(refused)) = checkpoint.map(|checkpoint| self.to.save(checkpoint)) {
            tracing::warn!(error = %refused, "a program's checkpoint was refused");
            progress.get_or_insert_default().message = Some(refused.to_string());
        }
        if let Some(progress) = progress {
            self.to.progress.send_if_modified(|last| {
                let changed = last.as_ref() != Some(&progress);
                *last = Some(progress);
                changed
            });
        }
    }

    /// The whole lines since the last time, no more than a window of them.
    async fn appended(&mut self) -> io::Result<Option<Vec<u8>>> {
        let known = self.offset;
        // A file that became shorter was begun again.
        let after = move |length: u64| if length < known { 0 } else { known };
        let start =
            move |length: u64| (length != known).then(|| after(length).max(length.saturating_sub(WINDOW_BYTES)));
        let Some(Part { start, bytes, length }) = file::read(&self.path, WINDOW_BYTES, start).await? else {
            return Ok(None);
        };
        self.offset = after(length);
        let Some(last) = bytes.iter().rposition(|byte| *byte == b'\n') else {
            return Ok(None);
        };
        // The part that the agent skipped may end within a line.
        let first =
            if start == self.offset { 0 } else { bytes.iter().position(|byte| *byte == b'\n').map_or(0, |at| at + 1) };
        self.offset = start + last as u64 + 1;
        let too_long = || format!("a line of more than {WINDOW_BYTES} bytes was not read").into_bytes();
        Ok(Some(bytes.get(first..last).map_or_else(too_long, <[u8]>::to_vec)))
    }
}

/// The content of one line; an empty line has none.
#[derive(Debug, Default, PartialEq)]
struct Line {
    progress: Option<Progress>,
    checkpoint: Option<Value>,
}

/// A line in JSON.
#[derive(Deserialize)]
struct JsonLine {
    #[serde(default)]
    percent: Option<f64>,
    #[serde(default)]
    message: Option<String>,
    #[serde(default)]
    checkpoint: Option<Value>,
}

/// Reads `{"percent": 42, "message": "rows", "checkpoint": {"row": 7}}`, or a line of text.
fn parse(line: &str) -> Line {
    let line = line.trim();
    if line.starts_with('{')
        && let Ok(JsonLine { percent, message, checkpoint }) = serde_json::from_str(line)
    {
        return Line { progress: progress(percent, message.as_deref()), checkpoint };
    }
    Line { progress: parse_text(line), checkpoint: None }
}

/// Reads `42 rows`, `42% rows`, `42` or `rows`.
fn parse_text(line: &str) -> Option<Progress> {
    let (first, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    match first.strip_suffix('%').unwrap_or(first).parse::<f64>() {
        Ok(percent) if percent.is_finite() => progress(Some(percent), Some(rest)),
        _ => progress(None, Some(line)),
    }
}

fn progress(percent: Option<f64>, message: Option<&str>) -> Option<Progress> {
    let percent = percent.map(|percent| percent.clamp(0.0, 100.0));
    // Terminals show it: a control character would be obeyed there.
    let message = message.map(|text| text.replace(char::is_control, " ").trim().to_owned());
    let message = message.filter(|text| !text.is_empty()).map(|text| cut_end(&text, MAX_PROGRESS_MESSAGE_BYTES));
    (percent.is_some() || message.is_some()).then_some(Progress { percent, message })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use tokio_util::sync::CancellationToken;

    fn check(line: &str, percent: Option<f64>, message: Option<&str>) {
        let expected = Progress { percent, message: message.map(str::to_owned) };
        let progress = (percent.is_some() || message.is_some()).then_some(expected);
        assert_eq!(parse(line), Line { progress, checkpoint: None }, "{line:?}");
    }

    #[test]
    fn lines_are_read() {
        check("42", Some(42.0), None);
        check("42%", Some(42.0), None);
        check("42.5 rows\r", Some(42.5), Some("rows"));
        check("42%  of the rows", Some(42.0), Some("of the rows"));
        check("reading", None, Some("reading"));
        check("3rd part", None, Some("3rd part"));
        check("nan", None, Some("nan"));
        check("inf", None, Some("inf"));
        check("120 over", Some(100.0), Some("over"));
        check("-3", Some(0.0), None);
        check("", None, None);
        check("  ", None, None);
        check("a\u{1b}[31mb", None, Some("a [31mb"));
        check(r#"{"percent": 7, "message": "m", "more": 1}"#, Some(7.0), Some("m"));
        check(r#"{"message": "m"}"#, None, Some("m"));
        check("{}", None, None);
        check("{broken", None, Some("{broken"));
    }

    #[test]
    fn a_long_message_is_cut() {
        let said = parse(&"x".repeat(10_000)).progress;
        let message = said.and_then(|progress| progress.message).expect("a message");
        assert!(message.len() <= MAX_PROGRESS_MESSAGE_BYTES);
    }

    /// Appends each part in turn and reads after each. The last report must be the one beside the part.
    async fn follow(parts: &[(&str, Option<&str>)]) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("progress");
        let (to, seen) = AttemptControl::new(CancellationToken::new());
        let mut file = ProgressFile::new(path.clone(), &to);
        let mut text = String::new();
        for (part, expected) in parts {
            text.push_str(part);
            std::fs::write(&path, &text).expect("written");
            file.read().await;
            let last = seen.borrow().clone().and_then(|progress: Progress| progress.message);
            assert_eq!(last.as_deref(), *expected, "after {:?}", &part[..part.len().min(40)]);
        }
    }

    #[tokio::test]
    async fn a_line_counts_when_it_is_whole() {
        follow(&[("", None), ("fir", None), ("st\n", Some("first")), ("a\nb\nc", Some("b")), ("\n\n", Some("c"))])
            .await;
    }

    #[tokio::test]
    async fn newest_line_of_a_flood_counts() {
        let flood = "a line of the flood\n".repeat(100_000);
        let endless = "x".repeat(100_000);
        follow(&[(&flood, Some("a line of the flood")), (&endless, Some("a line of the flood"))]).await;
        follow(&[(&endless, None), ("\nlast\n", Some("last"))]).await;
        follow(&[(&endless, None), ("\n", Some("a line of more than 65536 bytes was not read"))]).await;
    }

    /// Checks the saved checkpoint and the progress message after each part of the file.
    #[tokio::test]
    async fn checkpoints_are_saved_and_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("progress");
        let (to, seen) = AttemptControl::new(CancellationToken::new());
        let mut file = ProgressFile::new(path.clone(), &to);
        let (mut text, large) = (String::new(), "x".repeat(9000));
        let too_large = format!(r#"{{"percent": 4, "checkpoint": "{large}"}}"#);
        for (part, saved, said) in [
            (r#"{"percent": 1, "checkpoint": {"row": 1}}"#, json!({ "row": 1 }), None),
            ("2 reading", json!({ "row": 1 }), Some("reading")),
            (r#"{"checkpoint": [2]}"#, json!([2]), Some("reading")),
            ("{\"checkpoint\": [3]}\n3 writing", json!([3]), Some("writing")),
            (r#"{"checkpoint": null}"#, json!([3]), Some("writing")),
            (
                &too_large,
                json!([3]),
                Some("the checkpoint was refused: it has 9002 bytes as JSON; at most 8192 are kept"),
            ),
        ] {
            text.push_str(part);
            text.push('\n');
            std::fs::write(&path, &text).expect("written");
            file.read().await;
            assert_eq!(to.checkpoint(), Some(saved), "after {part:.40}");
            let message = seen.borrow().clone().and_then(|progress: Progress| progress.message);
            assert_eq!(message.as_deref(), said, "after {part:.40}");
        }
    }

    #[tokio::test]
    async fn truncated_file_is_read_from_its_start() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("progress");
        let (to, seen) = AttemptControl::new(CancellationToken::new());
        let mut file = ProgressFile::new(path.clone(), &to);
        for (text, percent) in [("10 a longer line\n", 10.0), ("20\n", 20.0)] {
            std::fs::write(&path, text).expect("written");
            file.read().await;
            assert_eq!(seen.borrow().as_ref().and_then(|progress: &Progress| progress.percent), Some(percent));
        }
    }
}
