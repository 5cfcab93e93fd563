//! Paths into a definition, kept on the stack: a path allocates only when the reader reports a fault.

use std::fmt;

/// One step of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Segment<'a> {
    /// An entry of a mapping.
    Key(&'a str),
    /// An element of a sequence.
    Index(usize),
}

/// Where something stands in a definition.
#[derive(Debug, Clone, Copy)]
pub(super) struct Path<'a> {
    parent: Option<&'a Path<'a>>,
    segment: Option<Segment<'a>>,
}

impl Path<'_> {
    /// The whole definition.
    pub(super) const ROOT: Path<'static> = Path { parent: None, segment: None };
}

impl<'a> Path<'a> {
    /// The entry of that key under this path.
    pub(super) fn key(&'a self, key: &'a str) -> Path<'a> {
        Path { parent: Some(self), segment: Some(Segment::Key(key)) }
    }

    /// The element of that index under this path.
    pub(super) fn index(&'a self, index: usize) -> Path<'a> {
        Path { parent: Some(self), segment: Some(Segment::Index(index)) }
    }

    /// The steps from the root.
    pub(super) fn segments(&self) -> Vec<Segment<'a>> {
        let mut segments = Vec::new();
        let mut at = Some(self);
        while let Some(path) = at {
            segments.extend(path.segment);
            at = path.parent;
        }
        segments.reverse();
        segments
    }
}

impl fmt::Display for Path<'_> {
    /// `actions.publish.needs[1]`; a key that is not a name is quoted: `labels["a b"]`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, segment) in self.segments().iter().enumerate() {
            match segment {
                Segment::Index(index) => write!(f, "[{index}]")?,
                Segment::Key(key) if is_name(key) => write!(f, "{}{key}", if at > 0 { "." } else { "" })?,
                Segment::Key(key) => write!(f, "[{key:?}]")?,
            }
        }
        Ok(())
    }
}

fn is_name(key: &str) -> bool {
    !key.is_empty() && key.chars().all(|c| c.is_alphanumeric() || matches!(c, '-' | '_' | '$'))
}
