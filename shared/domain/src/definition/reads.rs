//! What expressions read, held against what there can be: a key that nothing can have would fail each run.

use serde_json::Value;

use super::code;
use super::fault::{Fault, Report};
use super::place::Place;
use crate::expression::Read;
use crate::limits::MAX_DEFINITION_DEPTH;

/// What an expression sees of an action, of its error, and of the run.
const ACTION: [&str; 3] = ["error", "output", "status"];
const ERROR: [&str; 2] = ["kind", "message"];
const RUN: [&str; 6] = ["id", "labels", "nominal_time", "submitted_at", "task", "version"];

/// The paths that the expressions of a definition read, each with the place of its text.
#[derive(Default)]
pub(super) struct Reads {
    found: Vec<(Read, String, Option<Place>)>,
}

/// A key that nothing at its place can have.
struct Missing<'k> {
    /// How much of the path there is.
    steps: usize,
    key: &'k str,
    /// The keys that there may be.
    known: Vec<&'k str>,
}

impl Reads {
    /// Keeps what an expression at this path of the definition reads.
    pub(super) fn add(&mut self, reads: Vec<Read>, path: &str, place: Option<Place>) {
        self.found.extend(reads.into_iter().map(|read| (read, path.to_owned(), place)));
    }

    /// Reports what can not be there, given the schema of the run's input.
    pub(super) fn check(&self, schema: Option<&Value>, report: &mut Report<'_>) {
        for (read, path, place) in &self.found {
            let Some(Missing { steps, key, known }) = missing(read, schema) else { continue };
            let help = report.suggest(key, known.iter().copied());
            let at = shown(read, steps);
            let keys = known.iter().map(|known| format!("`{known}`")).collect::<Vec<_>>().join(", ");
            let has = if known.is_empty() { "no keys".to_owned() } else { format!("{keys}, and no others") };
            let message = format!("the expression reads `{key}` of `{at}`, which has {has}");
            report.add_fault(Fault { code: code::NO_VALUE, message, help, path: path.clone(), place: *place });
        }
    }
}

fn missing<'k>(read: &'k Read, schema: Option<&'k Value>) -> Option<Missing<'k>> {
    let key = |at: usize| read.steps.get(at).and_then(Option::as_deref);
    let one_of = |at: usize, known: &[&'static str]| {
        let key = key(at).filter(|key| !known.contains(key))?;
        Some(Missing { steps: at, key, known: known.to_vec() })
    };
    match (read.variable.as_str(), key(1)) {
        ("actions", Some("error")) => one_of(2, &ERROR),
        ("actions", Some("status")) => one_of(2, &[]),
        ("actions", _) => one_of(1, &ACTION),
        ("run", _) => one_of(0, &RUN),
        _ => missing_of_input(read, schema?),
    }
}

/// A key that the schema of the input lets no input have.
fn missing_of_input<'k>(read: &'k Read, root: &'k Value) -> Option<Missing<'k>> {
    let mut schema = resolved(root, root)?;
    for (at, step) in read.steps.iter().enumerate() {
        let Some(key) = step else {
            if schema.get("prefixItems").is_some() {
                return None;
            }
            schema = resolved(root, schema.get("items")?)?;
            continue;
        };
        let properties = schema.get("properties").and_then(Value::as_object);
        if let Some(property) = properties.and_then(|properties| properties.get(key)) {
            schema = resolved(root, property)?;
            continue;
        }
        let is_closed = schema.get("additionalProperties") == Some(&Value::Bool(false));
        if !is_closed || schema.get("patternProperties").is_some() {
            return None;
        }
        let known = properties.into_iter().flat_map(|properties| properties.keys().map(String::as_str)).collect();
        return Some(Missing { steps: at, key, known });
    }
    None
}

/// The schema that a reference leads to, which has no other rules beside it, or the schema itself.
fn resolved<'s>(root: &'s Value, mut schema: &'s Value) -> Option<&'s Value> {
    for _ in 0..MAX_DEFINITION_DEPTH {
        let Some(reference) = schema.get("$ref").and_then(Value::as_str) else { return Some(schema) };
        if schema.get("properties").is_some() || schema.get("additionalProperties").is_some() {
            return None;
        }
        schema = root.pointer(reference.strip_prefix('#')?)?;
    }
    None
}

/// The beginning of a path, as its author would write it.
fn shown(read: &Read, steps: usize) -> String {
    let step = |step: &Option<String>| match step {
        Some(key) if key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') => format!(".{key}"),
        Some(key) => format!("[{key:?}]"),
        None => "[...]".to_owned(),
    };
    std::iter::once(read.variable.clone()).chain(read.steps.iter().take(steps).map(step)).collect()
}
