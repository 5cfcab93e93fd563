//! The log of a world: its steps in order, each with its virtual time.

use std::fmt::{self, Write};
use std::hash::{DefaultHasher, Hasher};
use std::sync::{Mutex, PoisonError};

use tokio::time::Instant;

/// The log of one simulation: its fingerprint always, its lines only on request.
pub(super) struct Log {
    since: Instant,
    state: Mutex<State>,
}

struct State {
    hasher: DefaultHasher,
    line: String,
    kept: Option<Vec<String>>,
}

impl Log {
    pub(super) fn new(keeps_lines: bool) -> Self {
        let state = State { hasher: DefaultHasher::new(), line: String::new(), kept: keeps_lines.then(Vec::new) };
        Self { since: Instant::now(), state: Mutex::new(state) }
    }

    pub(super) fn note(&self, who: &str, what: fmt::Arguments<'_>) {
        let millis = self.since.elapsed().as_millis();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let State { hasher, line, kept } = &mut *state;
        line.clear();
        let (hours, minutes) = (millis / 3_600_000, millis / 60_000 % 60);
        let (secs, rest) = (millis / 1000 % 60, millis % 1000);
        let written = write!(line, "{hours:02}:{minutes:02}:{secs:02}.{rest:03} {who:<14} {what}");
        debug_assert!(written.is_ok(), "text takes whatever is written to it");
        hasher.write(line.as_bytes());
        if let Some(kept) = kept {
            kept.push(line.clone());
        }
    }

    /// The fingerprint of every line so far.
    pub(super) fn fingerprint(&self) -> u64 {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).hasher.finish()
    }

    pub(super) fn lines(&self) -> Vec<String> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).kept.clone().unwrap_or_default()
    }
}
