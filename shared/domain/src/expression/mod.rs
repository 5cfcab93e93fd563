//! Expressions (CEL) and the templates that hold them.
//!
//! An expression sees `input`, `actions.NAME.{status,output,error}` and `run`. It has no clock and no chance, its
//! value is the same on every host, and it ends: what it may visit and make is bounded.

mod budget;
mod convert;
mod evaluate;
mod references;
mod scan;
mod template;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;

pub use template::{Part, Template, as_text};

/// The stable codes of expressions' errors; `docs/errors` has a page for each.
pub(crate) mod code {
    /// It can not be read.
    pub(crate) const SYNTAX: &str = "WL0201";
    /// A `${{` has no `}}`.
    pub(crate) const UNTERMINATED: &str = "WL0202";
    /// It is too long, or nests too deep.
    pub(crate) const TOO_LARGE: &str = "WL0203";
    /// It names a variable or function that does not exist.
    pub(crate) const UNKNOWN_NAME: &str = "WL0204";
    /// It does not say which action it refers to.
    pub(crate) const DYNAMIC_REFERENCE: &str = "WL0205";
    /// It has no value: a key is missing, or the types do not fit.
    pub(crate) const NO_VALUE: &str = "WL0208";
    /// Its value is too large, or takes too much work.
    pub(crate) const TOO_MUCH: &str = "WL0209";
}

/// What an expression may look at.
#[derive(Debug, Clone, Default)]
pub struct Scope {
    /// The run's input.
    pub input: Value,
    /// The run: `id`, `task`, `version`, `labels` and, if it was due, `nominal_time`.
    pub run: Value,
    /// The actions it refers to, by name: `status`, `output`, `error`.
    pub actions: BTreeMap<String, Value>,
}

/// Why an expression is not one, or gives no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ExpressionError {
    /// The stable code, such as `WL0201`.
    pub code: &'static str,
    /// What is wrong, in words.
    pub message: String,
    /// Where: bytes from the start of the text that it stands in, if it is known.
    pub offset: Option<usize>,
}

impl ExpressionError {
    fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), offset: None }
    }

    fn at(code: &'static str, offset: usize, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), offset: Some(offset) }
    }

    /// The same error, told from the start of a text in which the expression stands at an offset.
    fn inside(self, offset: usize) -> Self {
        Self { offset: Some(self.offset.unwrap_or(0) + offset), ..self }
    }
}

/// A compiled expression.
#[derive(Clone)]
pub struct Expression {
    source: Arc<str>,
    compiled: Arc<Compiled>,
}

struct Compiled {
    form: Form,
    actions: BTreeSet<String>,
}

enum Form {
    /// Nothing but a path: `input.day`.
    Path(evaluate::Steps),
    /// Any other expression, with the calls that bound its work put in.
    Program(evaluate::Program),
}

impl std::fmt::Debug for Expression {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Expression({})", self.source)
    }
}

impl PartialEq for Expression {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl Expression {
    /// Compiles an expression. Names that it can not see are refused here, not when it is evaluated.
    pub fn parse(source: &str) -> Result<Self, ExpressionError> {
        scan::check(source)?;
        let compiled = if let Some(path) = evaluate::Steps::read(source) {
            let actions = path.action()?.map(str::to_owned).into_iter().collect();
            Compiled { form: Form::Path(path), actions }
        } else {
            let ast = scan::parse(source)?;
            let actions = references::find(&ast, source)?;
            Compiled { form: Form::Program(evaluate::Program::new(ast)), actions }
        };
        Ok(Self { source: Arc::from(source), compiled: Arc::new(compiled) })
    }

    /// Compiles a condition: an expression, bare or as a whole in `${{ }}`.
    pub fn parse_condition(text: &str) -> Result<Self, ExpressionError> {
        let trimmed = text.trim();
        let start = text.len() - text.trim_start().len();
        let Some(inner) = trimmed.strip_prefix("${{") else {
            return Self::parse(text);
        };
        let Some(inner) = inner.strip_suffix("}}") else {
            return Err(ExpressionError::at(code::UNTERMINATED, start, "this `${{` has no `}}`"));
        };
        Self::parse(inner).map_err(|error| error.inside(start + 3))
    }

    /// The expression as it was written.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The names of the actions that it refers to.
    pub fn actions(&self) -> BTreeSet<String> {
        self.compiled.actions.clone()
    }

    /// Its value.
    pub fn evaluate(&self, scope: &Scope) -> Result<Value, ExpressionError> {
        match &self.compiled.form {
            Form::Path(path) => path.follow(scope),
            Form::Program(program) => program.run(&self.source, scope),
        }
    }
}
