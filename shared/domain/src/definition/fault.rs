//! Faults of a definition: the fault, its place, and the way to mend it.

use std::fmt;

use serde::Serialize;

use super::path::{Path, Segment};
use super::place::Place;
use super::tree::Node;
use crate::limits::MAX_FAULTS;

/// One thing that is wrong with a definition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// The stable code, such as `WL0104`; `docs/errors` has a page for each.
    pub code: &'static str,
    /// A description of the fault, in one sentence.
    pub message: String,
    /// The way to mend it, if that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
    /// Where in the definition: `actions.publish.needs[1]`; empty for the whole.
    pub path: String,
    /// Where in the text; absent for a definition that was not read from text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<Place>,
}

impl fmt::Display for Fault {
    /// `4:9: unknown key `need` (did you mean `needs`?) [WL0104]`; without a place, the path stands in its stead.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Some(place) => write!(f, "{}:{}: ", place.line, place.column)?,
            None if self.path.is_empty() => {}
            None => write!(f, "{}: ", self.path)?,
        }
        f.write_str(&self.message)?;
        if let Some(help) = &self.help {
            write!(f, " ({help})")?;
        }
        write!(f, " [{}]", self.code)
    }
}

/// Everything that is wrong with a definition, in the order of the text. It is never empty.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Faults {
    /// The faults, at most [`MAX_FAULTS`] of them.
    pub faults: Vec<Fault>,
    /// How many more there are.
    pub more: usize,
}

impl Faults {
    /// The faults, in the order of the text.
    pub fn iter(&self) -> std::slice::Iter<'_, Fault> {
        self.faults.iter()
    }
}

impl<'a> IntoIterator for &'a Faults {
    type Item = &'a Fault;
    type IntoIter = std::slice::Iter<'a, Fault>;
    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for Faults {
    /// One fault a line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, fault) in self.faults.iter().enumerate() {
            if at > 0 {
                f.write_str("\n")?;
            }
            fault.fmt(f)?;
        }
        if self.more > 0 {
            write!(f, "\nand {} more", self.more)?;
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}

/// Which part of an entry a fault is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum At {
    /// Its key: the entry as a whole, or a key that should not be there.
    Key,
    /// Its value.
    Value,
    /// So many bytes into its value, which is text.
    Text(usize),
}

/// Faults as they are found.
pub(super) struct Report<'a> {
    text: Option<(&'a str, &'a Node)>,
    faults: Vec<Fault>,
    more: usize,
    suggestions: usize,
}

/// How many faults of one definition get a "did you mean": each looks at every name there is.
const MAX_SUGGESTIONS: usize = 50;

impl<'a> Report<'a> {
    /// A report about a text, if there is one.
    pub(super) fn new(text: Option<(&'a str, &'a Node)>) -> Self {
        Self { text, faults: Vec::new(), more: 0, suggestions: 0 }
    }

    /// Whether the definition is one that an author writes, and not one that a host has taken before.
    pub(super) fn is_of_text(&self) -> bool {
        self.text.is_some()
    }

    /// Records a fault at a path.
    pub(super) fn add(&mut self, code: &'static str, path: &Path<'_>, at: At, message: impl Into<String>) {
        self.add_with_help(code, path, at, message, None);
    }

    /// Records a fault at a path, and what would mend it.
    pub(super) fn add_with_help(
        &mut self,
        code: &'static str,
        path: &Path<'_>,
        at: At,
        message: impl Into<String>,
        help: Option<String>,
    ) {
        if self.faults.len() >= MAX_FAULTS {
            self.more += 1;
            return;
        }
        let place = self.place(&path.segments(), at);
        self.faults.push(Fault { code, message: message.into(), help, path: path.to_string(), place });
    }

    /// Records a fault whose place is known already.
    pub(super) fn add_fault(&mut self, fault: Fault) {
        if self.faults.len() >= MAX_FAULTS {
            self.more += 1;
            return;
        }
        self.faults.push(fault);
    }

    /// "did you mean `needs`?", if one of the candidates is close.
    pub(super) fn suggest<'n>(&mut self, word: &str, candidates: impl Iterator<Item = &'n str>) -> Option<String> {
        if self.suggestions >= MAX_SUGGESTIONS {
            return None;
        }
        self.suggestions += 1;
        closest(word, candidates).map(|name| format!("did you mean `{name}`?"))
    }

    /// The faults, sorted by place; `None` if there are none.
    pub(super) fn finish(mut self) -> Option<Faults> {
        if self.faults.is_empty() {
            return None;
        }
        self.faults.sort_by_key(|fault| fault.place.map_or(0, |place| place.offset));
        self.faults.dedup();
        Some(Faults { faults: self.faults, more: self.more })
    }

    /// Where the value at a path stands.
    pub(super) fn place_of(&self, path: &Path<'_>) -> Option<Place> {
        self.place(&path.segments(), At::Value)
    }

    fn place(&self, path: &[Segment<'_>], at: At) -> Option<Place> {
        let (text, root) = self.text?;
        let (key, node) = root.find(path);
        Some(match at {
            At::Key => key,
            At::Value => node.place,
            At::Text(offset) => node.place_in_text(text, offset),
        })
    }
}

/// The candidate that a misspelt word most likely stands for.
pub(super) fn closest<'n>(word: &str, candidates: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    let word: String = word.chars().take(64).collect();
    let most = (word.chars().count() / 3).clamp(1, 3);
    candidates
        .filter(|candidate| candidate.len().abs_diff(word.len()) <= most)
        .map(|candidate| (strsim::damerau_levenshtein(&word, candidate), candidate))
        .filter(|(distance, _)| *distance <= most)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}
