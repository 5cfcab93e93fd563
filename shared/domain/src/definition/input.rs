//! A run's input: the check by the task's schema, and the schema's defaults.

use std::fmt;
use std::sync::Arc;

use jsonschema::Validator;
use jsonschema::error::ValidationErrorKind;
use serde::Serialize;
use serde_json::{Map, Value};

use super::code;
use super::fault::{At, Report};
use super::path::Path;
use crate::depth::is_too_deep;
use crate::json_type::type_of;
use crate::limits::{MAX_DEFINITION_DEPTH, MAX_FAULTS, MAX_INPUT_BYTES, MAX_INPUT_SCHEMA_NODES, MAX_VALUE_DEPTH};

/// One thing that is wrong with an input.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct InputFault {
    /// The stable code, such as `WL0210`.
    pub code: &'static str,
    /// Where in the input, as a JSON pointer (RFC 6901): `/day`; empty for the whole.
    pub pointer: String,
    /// A description of the fault, in one sentence.
    pub message: String,
}

impl fmt::Display for InputFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = if self.pointer.is_empty() { "" } else { " at " };
        write!(f, "the input{at}{}: {} [{}]", self.pointer, self.message, self.code)
    }
}

/// Everything that is wrong with an input; never empty.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct InputFaults {
    /// The faults, at most [`MAX_FAULTS`] of them.
    pub faults: Vec<InputFault>,
}

impl fmt::Display for InputFaults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, fault) in self.faults.iter().enumerate() {
            if at > 0 {
                f.write_str("\n")?;
            }
            fault.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for InputFaults {}

/// The schema of a task's input, compiled once.
#[derive(Clone)]
pub(crate) struct InputSchema {
    schema: Value,
    validator: Arc<Validator>,
}

impl fmt::Debug for InputSchema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "InputSchema({})", self.schema)
    }
}

/// Checks a run's input against the schema of its task, if it has one, and fills in the schema's defaults. Null is no input,
/// which is an empty mapping, unless the task takes null and no mapping.
pub(super) fn check(schema: Option<&InputSchema>, input: Value) -> Result<Value, InputFaults> {
    check_size(&input)?;
    let Some(schema) = schema else {
        return Ok(if input.is_null() { Value::Object(Map::new()) } else { input });
    };
    let is_absent = input.is_null();
    let mut input = if is_absent { Value::Object(Map::new()) } else { input };
    fill(&schema.schema, &schema.schema, &mut input, MAX_DEFINITION_DEPTH);
    check_size(&input)?;
    let errors: Vec<_> = schema.validator.iter_errors(&input).take(MAX_FAULTS).collect();
    if errors.is_empty() {
        return Ok(input);
    }
    // A task that takes no mapping, but null.
    if is_absent && errors.iter().any(is_about_the_whole) && schema.validator.is_valid(&Value::Null) {
        return Ok(Value::Null);
    }
    Err(InputFaults { faults: errors.iter().flat_map(in_words).collect() })
}

fn is_about_the_whole(error: &jsonschema::ValidationError<'_>) -> bool {
    use ValidationErrorKind as Kind;
    let is_whole = matches!(
        error.kind(),
        Kind::Type { .. } | Kind::AnyOf { .. } | Kind::OneOfNotValid { .. } | Kind::Enum { .. } | Kind::Constant { .. }
    );
    is_whole && error.instance_path().as_str().is_empty()
}

fn check_size(input: &Value) -> Result<(), InputFaults> {
    let bytes = input.to_string().len();
    let message = if is_too_deep(input) {
        format!("it is nested more than {MAX_VALUE_DEPTH} levels deep")
    } else if bytes > MAX_INPUT_BYTES {
        format!("it has {bytes} bytes as JSON; at most {MAX_INPUT_BYTES} are allowed")
    } else {
        return Ok(());
    };
    let fault = InputFault { code: code::INPUT_TOO_LARGE, pointer: String::new(), message };
    Err(InputFaults { faults: vec![fault] })
}

/// The validator's error in the product's words: one fault for each key that is not known, otherwise one in all.
#[expect(clippy::wildcard_enum_match_arm, reason = "the library has a message for each of the others")]
fn in_words(error: &jsonschema::ValidationError<'_>) -> Vec<InputFault> {
    let at = |message: String| InputFault { code: code::INPUT, pointer: error.instance_path().to_string(), message };
    match error.kind() {
        ValidationErrorKind::AdditionalProperties { unexpected } => {
            unexpected.iter().map(|key| at(format!("the key `{key}` is not known"))).collect()
        }
        ValidationErrorKind::Required { property } => {
            vec![at(format!("the key `{}` is missing", property.as_str().unwrap_or_default()))]
        }
        ValidationErrorKind::Type { kind } => {
            vec![at(format!("it must be {}, not {}", super::schema::types(kind), type_of(error.instance())))]
        }
        _ => vec![at(error.to_string())],
    }
}

/// Fills the defaults of properties into a value, also of mappings inside.
fn fill(root: &Value, schema: &Value, value: &mut Value, depth: usize) {
    let (Some(rules), Some(depth)) = (schema.as_object(), depth.checked_sub(1)) else { return };
    if let Some(target) = rules.get("$ref").and_then(Value::as_str).and_then(|at| resolve(root, at)) {
        fill(root, target, value, depth);
    }
    for part in rules.get("allOf").and_then(Value::as_array).into_iter().flatten() {
        fill(root, part, value, depth);
    }
    match value {
        Value::Object(map) => {
            for (key, property) in rules.get("properties").and_then(Value::as_object).into_iter().flatten() {
                if !map.contains_key(key)
                    && let Some(default) = default_of(root, property)
                {
                    map.insert(key.clone(), default.clone());
                }
                if let Some(value) = map.get_mut(key) {
                    fill(root, property, value, depth);
                }
            }
        }
        Value::Array(items) => {
            if let Some(rule) = rules.get("items") {
                for item in items {
                    fill(root, rule, item, depth);
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn default_of<'v>(root: &'v Value, property: &'v Value) -> Option<&'v Value> {
    let target = || property.get("$ref").and_then(Value::as_str).and_then(|at| resolve(root, at));
    property.get("default").or_else(|| target().and_then(|target| target.get("default")))
}

/// The schema that a local reference such as `#/$defs/day` stands for.
fn resolve<'v>(root: &'v Value, reference: &str) -> Option<&'v Value> {
    root.pointer(reference.strip_prefix('#')?)
}

/// Checks and compiles the schema of a task's input.
pub(super) fn compile(schema: &Value, path: &Path<'_>, report: &mut Report<'_>) -> Option<InputSchema> {
    if let Err(message) = bounded(schema) {
        report.add(code::INPUT_SCHEMA, path, At::Key, message);
        return None;
    }
    let options = jsonschema::options()
        .with_draft(jsonschema::Draft::Draft202012)
        .with_pattern_options(jsonschema::PatternOptions::regex().size_limit(1 << 20))
        .offline();
    let mut sound = true;
    for error in jsonschema::draft202012::meta::validator().iter_errors(schema) {
        sound = false;
        let message = format!("this is not a JSON Schema (draft 2020-12): {error}");
        super::schema::at_path(&error, path, |path| report.add(code::INPUT_SCHEMA, path, At::Value, message));
    }
    if !sound {
        return None;
    }
    let validator = match options.build(schema) {
        Ok(validator) => Arc::new(validator),
        Err(error) => {
            report.add(code::INPUT_SCHEMA, path, At::Key, format!("the input's schema can not be used: {error}"));
            return None;
        }
    };
    let compiled = InputSchema { schema: schema.clone(), validator };
    if has_default(schema)
        && let Ok(validators) = options.build_map(schema)
    {
        check_defaults(&validators, schema, path, "#", report);
    }
    Some(compiled)
}

/// Every schema inside a schema: with its key, and its index or name under it.
fn children(schema: &Value) -> Vec<(&str, Option<Step<'_>>, &Value)> {
    let mut found = Vec::new();
    for (key, value) in schema.as_object().into_iter().flatten() {
        match (key.as_str(), value) {
            ("properties" | "patternProperties" | "$defs" | "definitions" | "dependentSchemas", Value::Object(map)) => {
                found.extend(map.iter().map(|(name, child)| (key.as_str(), Some(Step::Key(name)), child)));
            }
            ("allOf" | "anyOf" | "oneOf" | "prefixItems", Value::Array(items)) => {
                let items = items.iter().enumerate();
                found.extend(items.map(|(index, child)| (key.as_str(), Some(Step::Index(index)), child)));
            }
            (
                "items"
                | "contains"
                | "additionalProperties"
                | "propertyNames"
                | "not"
                | "if"
                | "then"
                | "else"
                | "unevaluatedItems"
                | "unevaluatedProperties"
                | "contentSchema",
                child @ (Value::Object(_) | Value::Bool(_)),
            ) => found.push((key.as_str(), None, child)),
            _ => {}
        }
    }
    found
}

enum Step<'a> {
    Key(&'a str),
    Index(usize),
}

/// Whether a schema can be checked in bounded time: with every reference put in its place it must be finite and
/// small. So no schema may contain itself, and references must be local.
fn bounded(schema: &Value) -> Result<(), String> {
    if parts(schema) > MAX_INPUT_SCHEMA_NODES {
        return Err(format!("the input's schema has more than {MAX_INPUT_SCHEMA_NODES} parts"));
    }
    let mut left = MAX_INPUT_SCHEMA_NODES;
    count(schema, schema, &mut left, MAX_DEFINITION_DEPTH * 2, true)
}

fn parts(schema: &Value) -> usize {
    1 + children(schema).iter().map(|(_, _, child)| parts(child)).sum::<usize>()
}

fn count(root: &Value, schema: &Value, left: &mut usize, depth: usize, top: bool) -> Result<(), String> {
    let Some(depth) = depth.checked_sub(1) else {
        return Err("the input's schema must not contain itself by `$ref`, or nest so deep".to_owned());
    };
    *left = left.checked_sub(1).ok_or_else(|| {
        format!("the input's schema has more than {MAX_INPUT_SCHEMA_NODES} parts, with every `$ref` put in its place")
    })?;
    for key in ["$dynamicRef", "$recursiveRef", "$dynamicAnchor", "$anchor", "$vocabulary"] {
        if schema.get(key).is_some() {
            return Err(format!("`{key}` can not be used in the input's schema; use `$ref: \"#/$defs/NAME\"`"));
        }
    }
    if !top && schema.get("$id").is_some() {
        return Err("`$id` can not be used inside the input's schema".to_owned());
    }
    if let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
        let target = resolve(root, reference).ok_or_else(|| {
            format!("`$ref: {reference}` leads nowhere; references look like `#/$defs/NAME`, in this schema")
        })?;
        count(root, target, left, depth, false)?;
    }
    for (key, _, child) in children(schema) {
        // A schema under `$defs` counts where a `$ref` names it.
        if !matches!(key, "$defs" | "definitions") {
            count(root, child, left, depth, false)?;
        }
    }
    Ok(())
}

/// Reports defaults that their own schema refuses.
fn check_defaults(
    validators: &jsonschema::ValidatorMap,
    schema: &Value,
    path: &Path<'_>,
    pointer: &str,
    report: &mut Report<'_>,
) {
    if let Some(default) = schema.get("default")
        && let Some(validator) = validators.get(pointer)
    {
        for error in validator.iter_errors(default) {
            let message = format!("this default does not fit its own schema: {error}");
            report.add(code::DEFAULT, &path.key("default"), At::Value, message);
        }
    }
    for (key, step, child) in children(schema) {
        let under = path.key(key);
        match step {
            None => check_defaults(validators, child, &under, &format!("{pointer}/{key}"), report),
            Some(Step::Key(name)) => {
                let escaped = name.replace('~', "~0").replace('/', "~1");
                let pointer = format!("{pointer}/{key}/{escaped}");
                check_defaults(validators, child, &under.key(name), &pointer, report);
            }
            Some(Step::Index(index)) => {
                let pointer = format!("{pointer}/{key}/{index}");
                check_defaults(validators, child, &under.index(index), &pointer, report);
            }
        }
    }
}

/// Whether there is a default to check at all.
fn has_default(schema: &Value) -> bool {
    schema.get("default").is_some() || children(schema).iter().any(|(_, _, child)| has_default(child))
}
