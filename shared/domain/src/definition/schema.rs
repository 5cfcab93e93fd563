//! The published JSON Schema of a definition, and its verdicts in words.

use std::sync::LazyLock;

use jsonschema::error::{TypeKind, ValidationErrorKind};
use jsonschema::paths::LocationSegment;
use jsonschema::{ValidationError, Validator};
use serde_json::Value;

use super::code;
use super::fault::{At, Report, closest};
use super::path::{Path, Segment};
use crate::json_type::type_of;

/// The published JSON Schema of a definition (draft 2020-12), as text: what editors and the reader both use.
pub const TASK_SCHEMA: &str = include_str!("../../../../schemas/task.v1.schema.json");

static SCHEMA: LazyLock<Value> = LazyLock::new(|| serde_json::from_str(TASK_SCHEMA).expect("a test reads it"));
static VALIDATOR: LazyLock<Validator> = LazyLock::new(|| {
    let options = jsonschema::options().with_pattern_options(jsonschema::PatternOptions::regex());
    options.build(&SCHEMA).expect("a test builds it")
});

/// Reports everything in a definition that its schema refuses.
pub(super) fn check(source: &Value, report: &mut Report<'_>) {
    if VALIDATOR.is_valid(source) {
        return;
    }
    for error in VALIDATOR.iter_errors(source) {
        at_path(&error, &Path::ROOT, |path| Verdict { error: &error, path }.report(report));
    }
}

/// Calls back with the path of an error under a path. Paths live on the stack: this recurses, a level a segment.
pub(super) fn at_path(error: &ValidationError<'_>, under: &Path<'_>, then: impl FnOnce(&Path<'_>)) {
    let segments: Vec<LocationSegment<'_>> = error.instance_path().segments().collect();
    let mut then = Some(then);
    walk(&segments, under, &mut |path| {
        if let Some(then) = then.take() {
            then(path);
        }
    });
}

fn walk(segments: &[LocationSegment<'_>], path: &Path<'_>, then: &mut dyn FnMut(&Path<'_>)) {
    match segments.split_first() {
        None => then(path),
        Some((LocationSegment::Property(key), rest)) => walk(rest, &path.key(key), then),
        Some((LocationSegment::Index(index), rest)) => walk(rest, &path.index(*index), then),
    }
}

/// The keys whose values are spans of time.
const SPANS: [&str; 10] =
    ["timeout", "queue_timeout", "delay", "max_delay", "max_age", "every", "catch_up", "keep", "succeeded", "failed"];

/// Keys of other products' definitions, the key of ours that does the same, and how it is written.
const ELSEWHERE: [(&str, &str, &str); 14] = [
    ("retries", "retry", "write `retry: 4` for 3 retries: it counts all attempts"),
    ("max_retries", "retry", "write `retry: 4` for 3 retries: it counts all attempts"),
    ("max_attempts", "retry", "write `retry`: it counts all attempts"),
    ("depends_on", "needs", "write `needs`"),
    ("dependencies", "needs", "write `needs`"),
    ("run", "exec", "write `exec: [sh, -c, \"...\"]`, or name the program: `exec: [program, argument]`"),
    ("script", "exec", "write `exec: [sh, -c, \"...\"]`, or name the program: `exec: [program, argument]`"),
    ("command", "exec", "write `exec: [program, argument]`"),
    ("if", "when", "write `when`"),
    ("continue_on_error", "allow_failure", "write `allow_failure: true`"),
    ("inputs", "input", "write `input`: the JSON Schema of the run's input"),
    ("retention", "keep", "write `keep: 30d`, or `keep: { succeeded: 7d, failed: 90d }`"),
    ("ttl", "keep", "write `keep: 30d`, or `keep: { succeeded: 7d, failed: 90d }`"),
    ("cron", "schedule", "write `schedule: { cron: \"...\" }`"),
];

struct Verdict<'a> {
    error: &'a ValidationError<'a>,
    path: &'a Path<'a>,
}

impl Verdict<'_> {
    #[expect(clippy::wildcard_enum_match_arm, reason = "the rest are bounds, and are matched there")]
    fn report(&self, report: &mut Report<'_>) {
        use ValidationErrorKind as Kind;
        match self.error.kind() {
            Kind::AdditionalProperties { unexpected } => self.unknown_keys(unexpected, report),
            Kind::Required { property } => {
                let key = property.as_str().unwrap_or_default();
                let message = format!("{} needs the key `{key}`", self.subject());
                report.add(code::MISSING_KEY, self.path, At::Key, message);
            }
            Kind::OneOfNotValid { .. } | Kind::OneOfMultipleValid { .. } => self.exactly_one(report),
            Kind::Type { kind } => {
                let message = format!("{} must be {}, not {}", self.subject(), types(kind), type_of(self.instance()));
                report.add_with_help(code::WRONG_TYPE, self.path, At::Value, message, self.right_type());
            }
            Kind::Enum { options } => self.not_one_of(options, report),
            Kind::Pattern { pattern } => self.pattern(pattern, report),
            Kind::PropertyNames { error } => {
                let name = error.instance().as_str().unwrap_or_default().to_owned();
                let message = format!("`{name}` can not be a key here: {}", self.key_rule());
                report.add(code::NAME, &self.path.key(&name), At::Key, message);
            }
            kind => {
                let (code, message) = self.bound(kind);
                report.add(code, self.path, At::Value, message);
            }
        }
    }

    fn instance(&self) -> &Value {
        self.error.instance()
    }

    /// The subject of a fault's message, in the author's words, such as "the action `extract`".
    fn subject(&self) -> String {
        match self.path.segments().as_slice() {
            [] => "a definition".to_owned(),
            [Segment::Key("actions"), Segment::Key(name)] => format!("the action `{name}`"),
            [.., Segment::Key(key)] => format!("`{key}`"),
            [.., Segment::Key(key), Segment::Index(index)] => format!("entry {} of `{key}`", index + 1),
            [.., Segment::Index(index)] => format!("entry {}", index + 1),
        }
    }

    /// How a value of the wrong type is written rightly, where its author's intent is plain.
    fn right_type(&self) -> Option<String> {
        let segments = self.path.segments();
        let is_named_freely = matches!(segments.as_slice(), [.., Segment::Key("labels" | "env" | "headers"), _]);
        match (segments.last()?, self.instance()) {
            (Segment::Key(key), Value::Number(number)) if SPANS.contains(key) && !is_named_freely => {
                Some(format!("a span of time has a unit: `{number}s` are seconds"))
            }
            (Segment::Key("schedule"), Value::String(rule)) if segments.len() == 1 => {
                Some(format!("write `schedule: {{ cron: \"{rule}\" }}`"))
            }
            _ => None,
        }
    }

    fn unknown_keys(&self, unexpected: &[String], report: &mut Report<'_>) {
        let known = known_keys(self.error);
        for key in unexpected {
            let elsewhere = ELSEWHERE.iter().find(|(other, ours, _)| other == key && known.contains(ours));
            let help = elsewhere.map(|(_, _, help)| (*help).to_owned());
            let help = help.or_else(|| report.suggest(key, known.iter().copied()));
            let help = help.or_else(|| Some(format!("the keys here are {}", list(known.iter().copied()))));
            let message = format!("unknown key `{key}`");
            report.add_with_help(code::UNKNOWN_KEY, &self.path.key(key), At::Key, message, help);
        }
    }

    fn exactly_one(&self, report: &mut Report<'_>) {
        let Some(map) = self.instance().as_object() else { return };
        let choices: &[&str] = match self.path.segments().as_slice() {
            [Segment::Key("schedule")] => &["cron", "every"],
            _ => &["exec", "http", "native"],
        };
        let present: Vec<&str> = choices.iter().copied().filter(|choice| map.contains_key(*choice)).collect();
        let misspelt =
            |key: &String| closest(key, choices.iter().copied()).is_some() && !choices.contains(&key.as_str());
        if present.is_empty() && map.keys().any(misspelt) {
            return;
        }
        let has =
            if present.is_empty() { "it has none".to_owned() } else { format!("it has {}", list(present.into_iter())) };
        let message = format!("{} has exactly one of {}; {has}", self.subject(), list(choices.iter().copied()));
        report.add(code::EXACTLY_ONE, self.path, At::Key, message);
    }

    fn not_one_of(&self, options: &Value, report: &mut Report<'_>) {
        let options: Vec<&str> = options.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let given = self.instance().as_str();
        let help = given.and_then(|given| {
            let same = options.iter().find(|option| option.eq_ignore_ascii_case(given));
            same.map(|same| format!("did you mean `{same}`?"))
                .or_else(|| report.suggest(given, options.iter().copied()))
        });
        let message =
            format!("{} must be one of {}, not {}", self.subject(), list(options.into_iter()), self.instance());
        report.add_with_help(code::NOT_ALLOWED, self.path, At::Value, message, help);
    }

    fn pattern(&self, pattern: &str, report: &mut Report<'_>) {
        let given = self.instance();
        let subject = self.subject();
        // The pattern tells which rule it is: there are three in the schema, and a test holds them together.
        if pattern.contains("ms|s|m|h|d") {
            let message =
                format!("{subject} must be a span of time such as `500ms`, `20s`, `10m` or `1h30m`, not {given}");
            report.add(code::SPAN, self.path, At::Value, message);
        } else if pattern.contains("forever") {
            let message = format!("{subject} must be a number of attempts or `forever`, not {given}");
            report.add(code::RETRY, self.path, At::Value, message);
        } else {
            let rule = "it starts with a letter and has only letters, digits, `-` and `_`";
            report.add(code::NAME, self.path, At::Value, format!("{given} is not a name: {rule}"));
        }
    }

    fn key_rule(&self) -> &'static str {
        match self.path.segments().last() {
            Some(Segment::Key("actions")) => {
                "a name starts with a letter, has only letters, digits, `-` and `_`, and at most 64 of them"
            }
            Some(Segment::Key("env")) => "a variable has letters, digits and `_`, and does not start with a digit",
            Some(Segment::Key("headers")) => "a header has letters, digits and `-`",
            _ => "it must have 1 to 256 characters",
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "the published schema has no other keywords")]
    fn bound(&self, kind: &ValidationErrorKind) -> (&'static str, String) {
        use ValidationErrorKind as Kind;
        let subject = self.subject();
        match kind {
            Kind::MinItems { .. } => (code::FACADE, format!("{subject} must not be empty")),
            Kind::MaxItems { limit } => (code::TOO_LARGE, format!("{subject} has more than {limit} entries")),
            Kind::MinProperties { .. } => (code::MISSING_KEY, format!("{subject} must not be empty")),
            Kind::MaxProperties { limit } => {
                let count = self.instance().as_object().map_or(0, serde_json::Map::len);
                (code::TOO_LARGE, format!("{subject} has {count} entries; at most {limit} are allowed"))
            }
            Kind::MinLength { .. } => (code::NOT_ALLOWED, format!("{subject} must not be empty")),
            Kind::MaxLength { limit } => (code::TOO_LARGE, format!("{subject} has more than {limit} characters")),
            Kind::Minimum { limit } => {
                (code::NOT_ALLOWED, format!("{subject} must be at least {limit}, not {}", self.instance()))
            }
            Kind::Maximum { limit } => {
                (code::NOT_ALLOWED, format!("{subject} must be at most {limit}, not {}", self.instance()))
            }
            _ => (code::NOT_ALLOWED, format!("{subject}: {}", self.error)),
        }
    }
}

/// The keys that the schema allows where an unknown one was found.
fn known_keys(error: &ValidationError<'_>) -> Vec<&'static str> {
    let pointer = error.schema_path().as_str();
    let schema = pointer.rsplit_once('/').map_or("", |(parent, _)| parent);
    let properties = SCHEMA.pointer(schema).and_then(|schema| schema.get("properties")).and_then(Value::as_object);
    properties.into_iter().flatten().map(|(key, _)| key.as_str()).collect()
}

fn list<'n>(names: impl Iterator<Item = &'n str>) -> String {
    names.map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// Types, in the words of [`type_of`].
pub(super) fn types(kind: &TypeKind) -> String {
    let name = |kind: jsonschema::JsonType| match kind.to_string().as_str() {
        "object" => "a mapping",
        "array" => "a list",
        "string" => "text",
        "integer" => "a whole number",
        "number" => "a number",
        "boolean" => "true or false",
        _ => "null",
    };
    match kind {
        TypeKind::Single(kind) => name(*kind).to_owned(),
        TypeKind::Multiple(kinds) => kinds.iter().map(name).collect::<Vec<_>>().join(" or "),
    }
}
