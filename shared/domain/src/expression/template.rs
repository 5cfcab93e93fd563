//! Values with expressions in their texts: `${{ input.day }}`.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::compiled::Expression;
use super::convert::as_text;
use super::error::{ExpressionError, code};
use super::path::Read;
use super::scan;
use super::scope::{Reads, Scope};
use crate::limits::MAX_OUTPUT_BYTES;

/// A JSON value with expressions in its texts: `${{ input.day }}`. `$${{` stands for `${{` itself.
#[derive(Debug, Clone)]
pub enum Template {
    /// A value without expressions.
    Plain(Value),
    /// One expression alone: its value keeps its type.
    Expression(Expression),
    /// Text with expressions between.
    Text(Vec<Part>),
    /// A sequence.
    Sequence(Vec<Template>),
    /// A mapping.
    Mapping(BTreeMap<String, Template>),
}

/// A part of a text.
#[derive(Debug, Clone)]
pub enum Part {
    /// Literal text.
    Literal(String),
    /// An expression, shown as text.
    Expression(Expression),
}

impl Template {
    /// Finds and compiles the expressions of a value.
    pub fn parse(value: &Value) -> Result<Self, ExpressionError> {
        Ok(match value {
            Value::String(text) => Self::parse_text(text)?,
            Value::Array(items) => Self::sequence(items.iter().map(Self::parse).collect::<Result<_, _>>()?),
            Value::Object(map) => {
                let entries = map.iter().map(|(key, item)| Ok((key.clone(), Self::parse(item)?)));
                Self::mapping(entries.collect::<Result<_, ExpressionError>>()?)
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => Self::Plain(value.clone()),
        })
    }

    /// Finds and compiles the expressions of a text.
    pub fn parse_text(text: &str) -> Result<Self, ExpressionError> {
        Self::parse_whole_text(text).map_err(|mut faults| faults.swap_remove(0))
    }

    /// The same, with the fault of each expression that has one; there is at least one.
    pub(crate) fn parse_whole_text(text: &str) -> Result<Self, Vec<ExpressionError>> {
        let mut faults = Vec::new();
        let mut parts = split(text, &mut faults);
        if !faults.is_empty() {
            return Err(faults);
        }
        if let [Part::Expression(_)] = parts.as_slice()
            && let Some(Part::Expression(expression)) = parts.pop()
        {
            return Ok(Self::Expression(expression));
        }
        if parts.iter().any(|part| matches!(part, Part::Expression(_))) {
            return Ok(Self::Text(parts));
        }
        let literal = parts.into_iter().map(|part| match part {
            Part::Literal(literal) => literal,
            Part::Expression(_) => String::new(),
        });
        Ok(Self::Plain(Value::String(literal.collect())))
    }

    /// A sequence; plain if every item is.
    pub fn sequence(items: Vec<Self>) -> Self {
        if !items.iter().all(Self::is_plain) {
            return Self::Sequence(items);
        }
        Self::Plain(Value::Array(items.into_iter().filter_map(Self::into_plain).collect()))
    }

    /// A mapping; plain if every entry is.
    pub fn mapping(entries: BTreeMap<String, Self>) -> Self {
        if !entries.values().all(Self::is_plain) {
            return Self::Mapping(entries);
        }
        let plain = entries.into_iter().filter_map(|(key, entry)| Some((key, entry.into_plain()?)));
        Self::Plain(Value::Object(plain.collect()))
    }

    fn is_plain(&self) -> bool {
        matches!(self, Self::Plain(_))
    }

    fn into_plain(self) -> Option<Value> {
        match self {
            Self::Plain(value) => Some(value),
            Self::Expression(_) | Self::Text(_) | Self::Sequence(_) | Self::Mapping(_) => None,
        }
    }

    /// The names of the actions that its expressions refer to.
    pub fn actions(&self) -> BTreeSet<String> {
        self.sees().actions
    }

    /// What its expressions see of a run.
    pub fn sees(&self) -> Reads {
        let mut reads = Reads::default();
        self.note(&mut reads);
        reads
    }

    fn note(&self, reads: &mut Reads) {
        match self {
            Self::Plain(_) => {}
            Self::Expression(expression) => reads.add(expression.sees()),
            Self::Text(parts) => parts.iter().for_each(|part| match part {
                Part::Literal(_) => {}
                Part::Expression(expression) => reads.add(expression.sees()),
            }),
            Self::Sequence(items) => items.iter().for_each(|item| item.note(reads)),
            Self::Mapping(entries) => entries.values().for_each(|entry| entry.note(reads)),
        }
    }

    /// The paths that the expressions of this text read.
    pub(crate) fn reads_of_text(&self) -> Vec<Read> {
        match self {
            Self::Expression(expression) => expression.reads(),
            Self::Text(parts) => {
                let reads = |part: &Part| match part {
                    Part::Literal(_) => Vec::new(),
                    Part::Expression(expression) => expression.reads(),
                };
                parts.iter().flat_map(reads).collect()
            }
            Self::Plain(_) | Self::Sequence(_) | Self::Mapping(_) => Vec::new(),
        }
    }

    /// The value with every expression evaluated; at most [`MAX_OUTPUT_BYTES`] as JSON where there is one.
    pub fn render(&self, scope: &Scope) -> Result<Value, ExpressionError> {
        let mut left = MAX_OUTPUT_BYTES;
        self.render_within(scope, &mut left)
    }

    fn render_within(&self, scope: &Scope, left: &mut usize) -> Result<Value, ExpressionError> {
        Ok(match self {
            Self::Plain(value) => value.clone(),
            Self::Expression(expression) => {
                let value = expression.evaluate(scope)?;
                take(left, &value)?;
                value
            }
            Self::Text(parts) => Value::String(render_text(parts, scope, left)?),
            Self::Sequence(items) => {
                Value::Array(items.iter().map(|item| item.render_within(scope, left)).collect::<Result<_, _>>()?)
            }
            Self::Mapping(entries) => {
                let mut map = Map::new();
                for (key, entry) in entries {
                    map.insert(key.clone(), entry.render_within(scope, left)?);
                }
                Value::Object(map)
            }
        })
    }
}

fn render_text(parts: &[Part], scope: &Scope, left: &mut usize) -> Result<String, ExpressionError> {
    let mut text = String::new();
    for part in parts {
        match part {
            Part::Literal(literal) => text.push_str(literal),
            Part::Expression(expression) => {
                let value = expression.evaluate(scope)?;
                take(left, &value)?;
                text.push_str(&as_text(&value));
            }
        }
    }
    Ok(text)
}

fn take(left: &mut usize, value: &Value) -> Result<(), ExpressionError> {
    let bytes = match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 8,
        Value::String(text) => text.len(),
        Value::Array(_) | Value::Object(_) => value.to_string().len(),
    };
    *left = left.checked_sub(bytes).ok_or_else(|| {
        let message = format!("the value of the expressions has more than {MAX_OUTPUT_BYTES} bytes");
        ExpressionError::new(code::TOO_MUCH, message)
    })?;
    Ok(())
}

/// Splits a text at its `${{ }}`, as far as they have no fault.
fn split(text: &str, faults: &mut Vec<ExpressionError>) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut literal = String::new();
    let mut at = 0;
    while let Some(found) = text[at..].find("${{") {
        let start = at + found;
        if let Some(before) = text[at..start].strip_suffix('$') {
            literal.push_str(before);
            literal.push_str("${{");
            at = start + 3;
            continue;
        }
        literal.push_str(&text[at..start]);
        let inside = start + 3;
        let Some(length) = end_of_hole(&text[inside..]) else {
            faults.push(ExpressionError::at(code::UNTERMINATED, start, "this `${{` has no `}}`"));
            return parts;
        };
        if !literal.is_empty() {
            parts.push(Part::Literal(std::mem::take(&mut literal)));
        }
        match Expression::parse(&text[inside..inside + length]) {
            Ok(expression) => parts.push(Part::Expression(expression)),
            Err(error) => faults.push(error.inside(inside)),
        }
        at = inside + length + 2;
    }
    literal.push_str(&text[at..]);
    if !literal.is_empty() {
        parts.push(Part::Literal(literal));
    }
    parts
}

/// Bytes up to the `}}` that ends a hole: not one inside a string, nor one that closes mappings of the expression.
fn end_of_hole(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut braces = 0_usize;
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'"' | b'\'' => {
                at = scan::end_of_string(bytes, at);
                continue;
            }
            b'{' => braces += 1,
            b'}' if braces > 0 => braces -= 1,
            b'}' if bytes.get(at + 1) == Some(&b'}') => return Some(at),
            _ => {}
        }
        at += 1;
    }
    None
}
