//! Reads YAML (and JSON, which is YAML) into a tree of located values, with bounds on everything: bytes, depth,
//! what aliases stand for. Nothing here recurses deeper than [`MAX_DEFINITION_DEPTH`].

use std::collections::{BTreeMap, BTreeSet};

use granit_parser::{ErrorKind, Event, Marker, Parser, ScalarStyle, ScanError, Span, Tag};

use super::code;
use super::fault::Fault;
use super::place::Place;
use super::tree::{Content, Entry, Node};
use crate::limits::{MAX_ALIASED_NODES, MAX_DEFINITION_BYTES, MAX_DEFINITION_DEPTH, MAX_DEFINITION_VALUES};

/// A tree that could be read, and the faults that did not prevent it.
pub(super) struct Parsed {
    pub(super) root: Node,
    pub(super) faults: Vec<Found>,
}

/// Something that is wrong, and its place.
pub(super) struct Found {
    code: &'static str,
    message: String,
    place: Place,
}

impl From<Found> for Fault {
    fn from(found: Found) -> Self {
        let Found { code, message, place } = found;
        Self { code, message, help: None, path: String::new(), place: Some(place) }
    }
}

/// Reads a text of one document. An error is a fault that leaves nothing to look at.
pub(super) fn parse(text: &str) -> Result<Parsed, Found> {
    let start = Place { line: 1, column: 1, offset: 0, len: 0 };
    if text.len() > MAX_DEFINITION_BYTES {
        let message = format!("the definition has {} bytes; at most {MAX_DEFINITION_BYTES} are read", text.len());
        return Err(fault(code::TOO_LARGE, start, message));
    }
    let options = granit_parser::options! {
        emit_comments: false,
        flow_nesting_limit: MAX_DEFINITION_DEPTH + 1,
        block_nesting_limit: MAX_DEFINITION_DEPTH + 1,
    };
    let mut builder = Builder::new(text);
    for event in Parser::new_from_str_with_options(text, options) {
        let (event, span) = event.map_err(|error| builder.syntax(&error))?;
        builder.take(event, span)?;
    }
    let root = builder.root.ok_or_else(|| fault(code::SYNTAX, start, "the definition is empty"))?;
    Ok(Parsed { root, faults: builder.faults })
}

fn fault(code: &'static str, place: Place, message: impl Into<String>) -> Found {
    Found { code, message: message.into(), place }
}

/// A collection that is being read.
enum Open {
    Sequence { place: Place, anchor: usize, items: Vec<Node> },
    Mapping { place: Place, anchor: usize, entries: Vec<Entry>, seen: BTreeSet<String>, key: Option<(String, Place)> },
}

/// Stands for a key that the reader has reported as a fault: it skips the key and its value.
const SKIPPED: &str = "\u{0}skipped";

struct Builder<'t> {
    text: &'t str,
    open: Vec<Open>,
    anchors: BTreeMap<usize, (Node, usize, usize)>,
    /// Keys and values that were read; what aliases stand for is counted apart.
    values: usize,
    aliased: usize,
    aliased_bytes: usize,
    root: Option<Node>,
    faults: Vec<Found>,
}

impl<'t> Builder<'t> {
    fn new(text: &'t str) -> Self {
        Self {
            text,
            open: Vec::new(),
            anchors: BTreeMap::new(),
            values: 0,
            aliased: 0,
            aliased_bytes: 0,
            root: None,
            faults: Vec::new(),
        }
    }

    fn syntax(&self, error: &ScanError) -> Found {
        let place = self.place(*error.marker(), *error.marker());
        if *error.kind() == ErrorKind::RecursionLimitExceeded {
            return too_deep(place);
        }
        fault(code::SYNTAX, place, format!("this can not be read as YAML: {}", error.info()))
    }

    fn place(&self, start: Marker, end: Marker) -> Place {
        let offset = self.text.floor_char_boundary(start.byte_offset().unwrap_or(0));
        let end = self.text.floor_char_boundary(end.byte_offset().unwrap_or(offset)).max(offset);
        Place { line: start.line(), column: start.col() + 1, offset, len: end - offset }
    }

    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), Found> {
        let place = self.place(span.start, span.end);
        match event {
            Event::DocumentStart(..) if self.root.is_some() => {
                return Err(fault(code::SYNTAX, place, "a file holds one definition; here a second document starts"));
            }
            Event::Scalar(text, style, anchor, tag) => {
                let content = self.scalar(text.into_owned(), style, tag.as_deref(), place);
                self.close(Node { place, content }, anchor, 1)?;
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.check_tag(tag.as_deref(), "seq", place);
                self.open(Open::Sequence { place, anchor, items: Vec::new() }, place)?;
            }
            Event::MappingStart(_, anchor, tag) => {
                self.check_tag(tag.as_deref(), "map", place);
                let open = Open::Mapping { place, anchor, entries: Vec::new(), seen: BTreeSet::new(), key: None };
                self.open(open, place)?;
            }
            Event::SequenceEnd | Event::MappingEnd => self.end()?,
            Event::Alias(anchor) => self.alias(anchor, place)?,
            Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(..)
            | Event::DocumentEnd
            | Event::Anchor(..)
            | Event::UnresolvedAlias(_)
            | _ => {}
        }
        Ok(())
    }

    fn scalar(&mut self, text: String, style: ScalarStyle, tag: Option<&Tag>, place: Place) -> Content {
        match tag {
            Some(tag) if is_core(tag, "str") || tag.to_string() == "!" => Content::Text(text),
            Some(tag) => {
                let known = ["int", "float", "bool", "null"].iter().any(|name| is_core(tag, name));
                if !known {
                    self.faults.push(fault(code::SYNTAX, place, format!("the tag `{tag}` is not known here")));
                }
                Content::Plain(text)
            }
            None if matches!(style, ScalarStyle::Plain) => Content::Plain(text),
            None => Content::Text(text),
        }
    }

    fn check_tag(&mut self, tag: Option<&Tag>, kind: &str, place: Place) {
        if let Some(tag) = tag
            && !is_core(tag, kind)
        {
            self.faults.push(fault(code::SYNTAX, place, format!("the tag `{tag}` is not known here")));
        }
    }

    fn open(&mut self, open: Open, place: Place) -> Result<(), Found> {
        if self.open.len() >= MAX_DEFINITION_DEPTH {
            return Err(too_deep(place));
        }
        self.open.push(open);
        Ok(())
    }

    fn end(&mut self) -> Result<(), Found> {
        let (node, anchor) = match self.open.pop() {
            Some(Open::Sequence { place, anchor, items }) => {
                (Node { place: self.first_line(place), content: Content::Sequence(items) }, anchor)
            }
            Some(Open::Mapping { place, anchor, entries, .. }) => {
                (Node { place: self.first_line(place), content: Content::Mapping(entries) }, anchor)
            }
            None => return Ok(()),
        };
        let weight = if anchor > 0 { node.weight() } else { 0 };
        self.close(node, anchor, weight)
    }

    /// A collection is shown by its first line alone. Nothing beyond its place is looked at: the whole text may be one line.
    fn first_line(&self, place: Place) -> Place {
        let rest = self.text.get(place.offset..).unwrap_or_default();
        let first = rest.chars().next().map_or(0, char::len_utf8);
        let shown = rest.get(..place.len.max(first)).unwrap_or(rest);
        Place { len: shown.lines().next().unwrap_or_default().trim_end().len(), ..place }
    }

    fn alias(&mut self, anchor: usize, place: Place) -> Result<(), Found> {
        let Some((node, weight, depth)) = self.anchors.get(&anchor) else {
            return Err(fault(code::SYNTAX, place, "an alias must not stand inside what it stands for"));
        };
        if self.open.len() + depth > MAX_DEFINITION_DEPTH {
            return Err(too_deep(place));
        }
        let (weight, bytes) = (*weight, node.bytes());
        let node = Node { place, content: node.content.clone() };
        self.charge(weight, bytes, place)?;
        self.put(node)
    }

    /// Counts values that are copied, for an alias or for an anchor that waits for one.
    fn charge(&mut self, weight: usize, bytes: usize, place: Place) -> Result<(), Found> {
        self.aliased += weight;
        self.aliased_bytes += bytes;
        if self.aliased > MAX_ALIASED_NODES || self.aliased_bytes > MAX_DEFINITION_BYTES {
            let message = format!("the anchors and aliases up to here stand for more than {MAX_ALIASED_NODES} values");
            return Err(fault(code::TOO_LARGE, place, message));
        }
        Ok(())
    }

    fn close(&mut self, node: Node, anchor: usize, weight: usize) -> Result<(), Found> {
        if anchor > 0 {
            let depth = node.depth();
            self.charge(weight, node.bytes(), node.place)?;
            self.anchors.insert(anchor, (node.clone(), weight, depth));
        }
        self.put(node)
    }

    /// Puts a whole node into the collection that is open, as an item, a key or a value.
    fn put(&mut self, node: Node) -> Result<(), Found> {
        self.values += 1;
        if self.values > MAX_DEFINITION_VALUES {
            let message = format!("the definition has more than {MAX_DEFINITION_VALUES} keys and values up to here");
            return Err(fault(code::TOO_LARGE, node.place, message));
        }
        match self.open.last_mut() {
            None => self.root = Some(node),
            Some(Open::Sequence { items, .. }) => items.push(node),
            Some(Open::Mapping { entries, seen, key, .. }) => match key.take() {
                None => {
                    let place = node.place;
                    let (Content::Plain(name) | Content::Text(name)) = node.content else {
                        return Err(fault(code::SYNTAX, place, "a key must be text"));
                    };
                    if name == "<<" {
                        let message = "merge keys (`<<`) are not read; write the entries out, or use `defaults`";
                        self.faults.push(fault(code::SYNTAX, place, message));
                        *key = Some((SKIPPED.to_owned(), place));
                    } else if seen.insert(name.clone()) {
                        *key = Some((name, place));
                    } else {
                        let message = format!("the key `{name}` stands here a second time");
                        self.faults.push(fault(code::DUPLICATE_KEY, place, message));
                        *key = Some((SKIPPED.to_owned(), place));
                    }
                }
                Some((name, _)) if name == SKIPPED => {}
                Some((key, key_place)) => entries.push(Entry { key, key_place, value: node }),
            },
        }
        Ok(())
    }
}

fn too_deep(place: Place) -> Found {
    let message = format!("the definition nests deeper than {MAX_DEFINITION_DEPTH} levels here");
    fault(code::TOO_LARGE, place, message)
}

fn is_core(tag: &Tag, name: &str) -> bool {
    tag.core_suffix() == Some(name)
}

impl Node {
    fn children(&self) -> Box<dyn Iterator<Item = &Node> + '_> {
        match &self.content {
            Content::Plain(_) | Content::Text(_) => Box::new(std::iter::empty()),
            Content::Sequence(items) => Box::new(items.iter()),
            Content::Mapping(entries) => Box::new(entries.iter().map(|entry| &entry.value)),
        }
    }

    /// How many values it holds, itself included.
    fn weight(&self) -> usize {
        1 + self.children().map(Node::weight).sum::<usize>()
    }

    /// How many collections it nests, itself included.
    fn depth(&self) -> usize {
        match &self.content {
            Content::Plain(_) | Content::Text(_) => 0,
            Content::Sequence(_) | Content::Mapping(_) => 1 + self.children().map(Node::depth).max().unwrap_or(0),
        }
    }

    /// How many bytes of text it holds.
    fn bytes(&self) -> usize {
        match &self.content {
            Content::Plain(text) | Content::Text(text) => text.len(),
            Content::Sequence(items) => items.iter().map(Node::bytes).sum(),
            Content::Mapping(entries) => entries.iter().map(|entry| entry.key.len() + entry.value.bytes()).sum(),
        }
    }
}
