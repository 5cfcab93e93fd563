//! Gives an expression its value.

use std::sync::{Arc, LazyLock};

use cel::{Context, Env, ExecutionError, IdedExpr};
use serde_json::Value;

use super::budget;
use super::error::{ExpressionError, code};
use super::scope::Scope;
use super::{convert, references};

/// The functions and macros of expressions: the standard ones, without time and without optional values.
pub(super) fn environment() -> &'static Arc<Env> {
    static ENVIRONMENT: LazyLock<Arc<Env>> = LazyLock::new(|| Arc::new(Env::stdlib().with_optional_support(false)));
    &ENVIRONMENT
}

/// The steps of an expression that is nothing but a path, such as `actions.extract.output.rows[0]`: most are. It is
/// read without the CEL parser and followed in the JSON itself: nothing is copied but the value, and keys keep their
/// order.
pub(super) struct Steps {
    root: String,
    steps: Vec<Step>,
}

enum Step {
    Key(String),
    Index(usize),
}

impl Steps {
    /// The steps, if an expression is a path: `input`, `run` or `actions` with `.name`, `["text"]` or `[7]` after it.
    pub(super) fn read(source: &str) -> Option<Self> {
        let source = source.trim();
        let end = source.find(['.', '[']).unwrap_or(source.len());
        let (root, mut rest) = source.split_at(end);
        if !matches!(root, "input" | "run" | "actions") {
            return None;
        }
        let mut steps = Vec::new();
        while !rest.is_empty() {
            let (step, after) = Step::read(rest)?;
            steps.push(step);
            rest = after;
        }
        Some(Self { root: root.to_owned(), steps })
    }

    /// The action that the path starts at: none if it starts at another variable, an error if it does not say which.
    pub(super) fn action(&self) -> Result<Option<&str>, ExpressionError> {
        match (self.root.as_str(), self.steps.first()) {
            ("actions", Some(Step::Key(name))) => Ok(Some(name)),
            ("actions", _) => Err(references::dynamic()),
            _ => Ok(None),
        }
    }

    /// The value at the end of the path.
    pub(super) fn follow(&self, scope: &Scope) -> Result<Value, ExpressionError> {
        let mut shown = self.root.clone();
        let (mut at, steps) = match (self.root.as_str(), self.steps.split_first()) {
            ("actions", Some((Step::Key(name), rest))) => {
                let action = scope.actions.get(name).ok_or_else(|| no_key(&shown, name))?;
                shown = step_shown(&shown, name);
                (action, rest)
            }
            ("run", _) => (&scope.run, self.steps.as_slice()),
            _ => (&scope.input, self.steps.as_slice()),
        };
        for step in steps {
            match step {
                Step::Key(key) => {
                    let map = at.as_object().ok_or_else(|| not_a(&shown, at, "mapping", &format!("key `{key}`")))?;
                    at = map.get(key).ok_or_else(|| no_key(&shown, key))?;
                    shown = step_shown(&shown, key);
                }
                Step::Index(index) => {
                    let list = at.as_array().ok_or_else(|| not_a(&shown, at, "list", &format!("entry {index}")))?;
                    at = list.get(*index).ok_or_else(|| {
                        let message = format!("`{shown}` has {} entries, and none of index {index}", list.len());
                        ExpressionError::new(code::NO_VALUE, message)
                    })?;
                    shown = format!("{shown}[{index}]");
                }
            }
        }
        scope.budget.copy(at);
        Ok(at.clone())
    }
}

impl Step {
    /// The first step of what follows a path's root, and what stands after it.
    fn read(rest: &str) -> Option<(Self, &str)> {
        if let Some(rest) = rest.strip_prefix('.') {
            let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(rest.len());
            let (name, rest) = rest.split_at(end);
            let named = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
            let keyword = matches!(name, "true" | "false" | "null" | "in");
            return (named && !keyword).then(|| (Self::Key(name.to_owned()), rest));
        }
        let rest = rest.strip_prefix('[')?;
        if let Some(quote) = rest.chars().next().filter(|c| matches!(c, '"' | '\'')) {
            let (key, rest) = rest[1..].split_once(quote)?;
            let rest = rest.strip_prefix(']')?;
            return (!key.is_empty() && !key.contains(['\\', '\n', '\r'])).then(|| (Self::Key(key.to_owned()), rest));
        }
        let (index, rest) = rest.split_once(']')?;
        let digits = !index.is_empty() && index.len() < 10 && index.bytes().all(|b| b.is_ascii_digit());
        digits.then(|| index.parse().ok()).flatten().map(|index| (Self::Index(index), rest))
    }
}

fn step_shown(path: &str, key: &str) -> String {
    let name = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if name { format!("{path}.{key}") } else { format!("{path}[{key:?}]") }
}

fn no_key(path: &str, key: &str) -> ExpressionError {
    ExpressionError::new(code::NO_VALUE, format!("`{path}` has no key `{key}`"))
}

fn not_a(path: &str, value: &Value, wanted: &str, what: &str) -> ExpressionError {
    let is = match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a mapping",
    };
    ExpressionError::new(code::NO_VALUE, format!("`{path}` is {is}, not a {wanted}: it has no {what}"))
}

/// An expression that is more than a path, ready to be evaluated.
pub(super) struct Program {
    ast: IdedExpr,
    /// Bytes of stack that its evaluation may need.
    stack: usize,
}

/// Bytes of stack that the evaluator needs for one node below another: measured, with a margin, in optimised builds,
/// which need more than others because everything is inlined.
const STACK_OF_NODE: usize = 96 * 1024;

impl Program {
    /// The expression, with the calls of [`super::budget`] in it.
    pub(super) fn new(ast: IdedExpr) -> Self {
        let ast = budget::instrument(ast);
        let stack = (budget::depth(&ast) + 4) * STACK_OF_NODE;
        Self { ast, stack }
    }

    /// Its value. An expression that nests deep is evaluated on a stack of its own.
    pub(super) fn run(&self, source: &str, scope: &Scope) -> Result<Value, ExpressionError> {
        stacker::maybe_grow(self.stack, self.stack, || run(&self.ast, source, scope))
    }
}

fn run(program: &IdedExpr, source: &str, scope: &Scope) -> Result<Value, ExpressionError> {
    let mut context = Context::with_env(Arc::clone(environment()));
    let budget = &scope.budget;
    budget
        .install(&mut context)
        .map_err(|error| ExpressionError::new(code::NO_VALUE, format!("the expression can not run: {error}")))?;
    for (name, value) in [("input", &scope.input), ("run", &scope.run)] {
        if source.contains(name) {
            budget.copy(value);
            context.add_variable_from_value(name, convert::to_cel(value));
        }
    }
    if source.contains("actions") {
        scope.actions.values().for_each(|value| budget.copy(value));
        context.add_variable_from_value("actions", convert::mapping(scope.actions.iter()));
    }
    let value = cel::Value::resolve_val(program, &context).map_err(|error| in_words(&error))?;
    convert::to_json(value.as_ref())
}

/// What went wrong, without the values: they may be long, and may be secret.
#[expect(clippy::wildcard_enum_match_arm, reason = "the library's enum grows; the rest is about its own types")]
fn in_words(error: &ExecutionError) -> ExpressionError {
    let message = match error {
        ExecutionError::NoSuchKey(key) => format!("there is no key `{key}`"),
        ExecutionError::UndeclaredReference(name) => format!("`{name}` is not known"),
        ExecutionError::NoSuchOverload(overload) if overload.argument_types().is_empty() => {
            format!("{} needs an argument", operation(overload.function()))
        }
        ExecutionError::NoSuchOverload(overload) => {
            let types = overload.argument_types().join(" and ");
            format!("{} can not be applied to {types}", operation(overload.function()))
        }
        ExecutionError::UnexpectedType { got, want } => {
            let got: String = got.chars().take(40).collect();
            format!("expected {want}, got {got}")
        }
        ExecutionError::ValuesNotComparable(..) => "the values can not be compared".to_owned(),
        ExecutionError::UnsupportedBinaryOperator(operator, ..) => {
            format!("{} can not be applied to these values", operation(operator))
        }
        ExecutionError::DivisionByZero(_) | ExecutionError::RemainderByZero(_) => "division by zero".to_owned(),
        ExecutionError::Overflow(operator, ..) => {
            format!("{} gives a number that is too large", operation(operator))
        }
        ExecutionError::IndexOutOfBounds(_) => "the list has no entry of that index".to_owned(),
        ExecutionError::DuplicateKey(_) => "a mapping names a key twice".to_owned(),
        ExecutionError::FunctionError { function, message } => {
            let message: String = message.chars().take(200).collect();
            format!("{}: {message}", operation(function))
        }
        ExecutionError::InvalidArgumentCount { expected, actual } => {
            format!("a function takes {expected} arguments, not {actual}")
        }
        _ => "the types in the expression do not fit".to_owned(),
    };
    ExpressionError::new(code::NO_VALUE, message)
}

/// `_+_` as `` `+` ``, `_._` as `.`, a function's name as it is.
fn operation(name: &str) -> String {
    match name {
        "_._" | "_[_]" => "taking a key or an entry".to_owned(),
        "_?_:_" => "`? :`".to_owned(),
        "@in" => "`in`".to_owned(),
        "add" => "`+`".to_owned(),
        "sub" => "`-`".to_owned(),
        "mul" => "`*`".to_owned(),
        "div" => "`/`".to_owned(),
        "rem" => "`%`".to_owned(),
        _ => format!("`{}`", name.trim_matches('_')),
    }
}
