//! Reads a definition: text to tree, tree to JSON, JSON against the published schema, then the rules that no schema can
//! express. It goes on after each fault as far as that makes sense, so that an author sees them all in one go.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::action::{self, Defaults};
use super::fault::{At, Fault, Faults, Report};
use super::model::{CatchUp, Definition, Overlap, PublishedEvents, Schedule, ScheduleRule};
use super::path::Path;
use super::references::Expressions;
use super::scalar::{scalar, text};
use super::span::{self, Zero};
use super::{code, input, schema, yaml};
use crate::ids::{ActionIndex, PoolName, TaskName};
use crate::keep::Keep;
use crate::limits::MAX_DEFINITION_DEPTH;
use crate::schedule::{ScheduleError, check};

impl Definition {
    /// Reads a definition as an author writes it, in YAML or JSON. Every fault has its place in the text.
    pub fn from_text(text: &str) -> Result<Self, Faults> {
        let yaml::Parsed { root, faults } = yaml::parse(text).map_err(|found| only(found.into()))?;
        let source = root.to_json(&Path::ROOT).map_err(|error| {
            let (code, help) = (code::SYNTAX, Some("write it in quotes if it is meant as text".to_owned()));
            only(Fault { code, message: error.message, help, path: error.path, place: Some(error.place) })
        })?;
        let mut report = Report::new(Some((text, &root)));
        for fault in faults {
            report.add_fault(fault.into());
        }
        read(source, report)
    }

    /// Reads a definition as it is stored. Faults have a path and no place.
    pub fn from_source(source: &Value) -> Result<Self, Faults> {
        if !nests_at_most(source, MAX_DEFINITION_DEPTH) {
            let message = format!("the definition nests deeper than {MAX_DEFINITION_DEPTH} levels");
            let fault = Fault { code: code::TOO_LARGE, message, help: None, path: String::new(), place: None };
            return Err(only(fault));
        }
        read(source.clone(), Report::new(None))
    }

    /// A definition as one line of JSON with sorted keys, except that actions keep their order: the same text for
    /// the same content.
    pub fn canonical(source: &Value) -> String {
        sorted(source, 0).to_string()
    }
}

fn only(fault: Fault) -> Faults {
    Faults { faults: vec![fault], more: 0 }
}

fn nests_at_most(value: &Value, depth: usize) -> bool {
    let inside = |child: &Value| depth.checked_sub(1).is_some_and(|depth| nests_at_most(child, depth));
    match value {
        Value::Array(items) => depth > 0 && items.iter().all(inside),
        Value::Object(map) => depth > 0 && map.values().all(inside),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => true,
    }
}

fn sorted(value: &Value, level: usize) -> Value {
    match value {
        Value::Array(items) => Value::Array(items.iter().map(|item| sorted(item, level + 1)).collect()),
        Value::Object(map) => {
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_by_key(|(key, _)| *key);
            let entries = entries.into_iter().map(|(key, value)| {
                // The order of actions is part of the content: it numbers them.
                let keep = level == 0 && key == "actions";
                let value = match value.as_object() {
                    Some(actions) if keep => {
                        Value::Object(actions.iter().map(|(name, action)| (name.clone(), sorted(action, 2))).collect())
                    }
                    _ => sorted(value, level + 1),
                };
                (key.clone(), value)
            });
            Value::Object(entries.collect::<Map<_, _>>())
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    }
}

fn read(source: Value, mut report: Report<'_>) -> Result<Definition, Faults> {
    schema::check(&source, &mut report);
    let definition = read_model(&source, &mut report);
    match (report.finish(), definition) {
        (None, Some(definition)) => {
            Ok(Definition { may_take_long: calls_something(&source, false), source, ..definition })
        }
        (Some(faults), _) => Err(faults),
        (None, None) => {
            let message = "the definition can not be read".to_owned();
            Err(only(Fault { code: code::WRONG_TYPE, message, help: None, path: String::new(), place: None }))
        }
    }
}

/// The definition, as far as its parts have the right shape. It is whole if nothing was reported.
fn read_model(source: &Value, report: &mut Report<'_>) -> Option<Definition> {
    let root = &Path::ROOT;
    let empty = Map::new();
    let written = source.get("actions").and_then(Value::as_object).unwrap_or(&empty);
    let defaults = read_defaults(source, report);
    let (actions, mut references) = action::read_all(written, &defaults, report);
    let output_key = root.key("output");
    let output = source.get("output");
    let output = output.map(|output| Expressions::of_output(report, &mut references).template(output, &output_key));
    let schedule = read_schedule(source, report);
    let timeout = span::read(source, "timeout", Zero::Refused, root, report);
    let keep = read_keep(source, report);
    let input_key = root.key("input");
    let input = source.get("input");
    let input_schema = input.and_then(|schema| input::compile(schema, &input_key, report));
    references.check(&actions, report);
    // A version that a host has taken goes on as it did: only a run shows whether it ever reads such a key.
    if report.is_of_text() {
        references.reads.check(source.get("input").filter(|_| input_schema.is_some()), report);
    }
    let by_name = actions.iter().enumerate();
    let by_name = by_name.map(|(at, action)| (action.name.clone(), ActionIndex::from_usize(at))).collect();
    Some(Definition {
        task: TaskName::new(source.get("task")?.as_str()?).ok()?,
        description: text(source, "description"),
        labels: read_labels(source),
        schedule,
        timeout,
        max_parallel: source.get("max_parallel").and_then(Value::as_f64).map(whole),
        keep,
        events: read_events(source),
        input: input.cloned(),
        actions,
        output,
        source: Value::Null,
        may_take_long: false,
        by_name,
        input_schema,
    })
}

/// Whether an expression of the definition has a bracket, without which nothing is called. Where a text is a condition, it is
/// an expression without `${{`.
fn calls_something(value: &Value, is_condition: bool) -> bool {
    match value {
        Value::String(text) => (is_condition || text.contains("${{")) && text.contains('('),
        Value::Array(items) => items.iter().any(|item| calls_something(item, false)),
        Value::Object(entries) => entries.iter().any(|(key, value)| calls_something(value, key == "when")),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// A number that the schema has found whole and in bounds.
fn whole(number: f64) -> u32 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the cast stops at the bounds of u32")]
    let number = number as u32;
    number
}

fn read_labels(source: &Value) -> BTreeMap<String, String> {
    let labels = source.get("labels").and_then(Value::as_object).into_iter().flatten();
    labels.filter_map(|(key, value)| Some((key.clone(), scalar(value)?))).collect()
}

fn read_events(source: &Value) -> PublishedEvents {
    let written = source.get("events").cloned();
    written.and_then(|written| serde_json::from_value(written).ok()).unwrap_or_default()
}

fn read_defaults(source: &Value, report: &mut Report<'_>) -> Defaults {
    let root = &Path::ROOT;
    let path = root.key("defaults");
    let defaults = source.get("defaults").unwrap_or(&Value::Null);
    Defaults {
        pool: defaults.get("pool").and_then(Value::as_str).and_then(|pool| PoolName::new(pool).ok()),
        timeout: span::read(defaults, "timeout", Zero::Refused, &path, report),
        queue_timeout: span::read(defaults, "queue_timeout", Zero::Refused, &path, report),
        retry: span::read_retry(defaults, &path, report),
        workdir: source.get("workdir").cloned(),
    }
}

/// How long runs are kept: one span for all of them, or a mapping.
fn read_keep(source: &Value, report: &mut Report<'_>) -> Keep {
    let root = &Path::ROOT;
    let Some(keep) = source.get("keep").filter(|keep| keep.is_object()) else {
        let every = span::read(source, "keep", Zero::Refused, root, report);
        return Keep { succeeded: every, failed: every };
    };
    let path = root.key("keep");
    let mut of = |key| span::read(keep, key, Zero::Refused, &path, report);
    Keep { succeeded: of("succeeded"), failed: of("failed") }
}

fn read_schedule(source: &Value, report: &mut Report<'_>) -> Option<Schedule> {
    let schedule = source.get("schedule")?;
    let root = &Path::ROOT;
    let path = root.key("schedule");
    let catch_up = span::read(schedule, "catch_up", Zero::Allowed, &path, report).map(CatchUp).unwrap_or_default();
    let every = span::read(schedule, "every", Zero::Refused, &path, report);
    let (rule, key) = match (schedule.get("cron").and_then(Value::as_str), every) {
        (Some(cron), _) => (ScheduleRule::Cron(cron.to_owned()), "cron"),
        (None, every) => (ScheduleRule::Every(every?), "every"),
    };
    let timezone = text(schedule, "timezone").unwrap_or_else(|| "UTC".to_owned());
    let mut checked = check(&rule, &timezone);
    if let Err(error @ ScheduleError::UnknownTimezone { .. }) = checked {
        report.add(code::SCHEDULE, &path.key("timezone"), At::Value, error.to_string());
        // The rule can be wrong as well, in any zone.
        checked = check(&rule, "UTC");
    }
    if let Err(error) = checked {
        report.add(code::SCHEDULE, &path.key(key), At::Value, error.to_string());
    }
    let overlap: Option<Overlap> = schedule.get("overlap").and_then(|value| serde_json::from_value(value.clone()).ok());
    Some(Schedule { rule, timezone, overlap: overlap.unwrap_or_default(), catch_up })
}
