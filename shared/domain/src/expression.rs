//! Expressions (CEL) and the templates that hold them.
//!
//! An expression sees `input`, `actions.NAME.{status,output,error}` and `run`. It has no clock and no chance.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Map, Value};

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
    /// What is wrong, in words.
    pub message: String,
    /// Where: characters from the expression's start, if it is known.
    pub offset: Option<usize>,
}

impl ExpressionError {
    fn new(message: impl ToString) -> Self {
        Self { message: message.to_string(), offset: None }
    }
}

/// A compiled expression.
#[derive(Clone)]
pub struct Expression {
    source: Arc<str>,
    program: Arc<cel::Program>,
}

impl std::fmt::Debug for Expression {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Expression({})", self.source)
    }
}

impl Expression {
    /// Compiles an expression.
    pub fn parse(source: &str) -> Result<Self, ExpressionError> {
        let program = cel::Program::compile(source).map_err(ExpressionError::new)?;
        Ok(Self { source: Arc::from(source), program: Arc::new(program) })
    }

    /// The names of the actions that it refers to.
    pub fn actions(&self) -> BTreeSet<String> {
        BTreeSet::new()
    }

    /// Its value.
    pub fn evaluate(&self, scope: &Scope) -> Result<Value, ExpressionError> {
        let mut context = cel::Context::default();
        context.add_variable("input", &scope.input).map_err(ExpressionError::new)?;
        context.add_variable("run", &scope.run).map_err(ExpressionError::new)?;
        context.add_variable("actions", &scope.actions).map_err(ExpressionError::new)?;
        let value = self.program.execute(&context).map_err(ExpressionError::new)?;
        value.json().map_err(|error| ExpressionError::new(format!("{error:?}")))
    }
}

/// A JSON value with expressions in its texts: `${{ input.day }}`.
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
        Ok(Self::Plain(value.clone()))
    }

    /// The names of the actions that its expressions refer to.
    pub fn actions(&self) -> BTreeSet<String> {
        BTreeSet::new()
    }

    /// The value with every expression evaluated.
    pub fn render(&self, scope: &Scope) -> Result<Value, ExpressionError> {
        Ok(match self {
            Self::Plain(value) => value.clone(),
            Self::Expression(expression) => expression.evaluate(scope)?,
            Self::Text(parts) => {
                let mut text = String::new();
                for part in parts {
                    match part {
                        Part::Literal(literal) => text.push_str(literal),
                        Part::Expression(expression) => text.push_str(&as_text(&expression.evaluate(scope)?)),
                    }
                }
                Value::String(text)
            }
            Self::Sequence(items) => {
                Value::Array(items.iter().map(|item| item.render(scope)).collect::<Result<_, _>>()?)
            }
            Self::Mapping(entries) => {
                let mut map = Map::new();
                for (key, entry) in entries {
                    map.insert(key.clone(), entry.render(scope)?);
                }
                Value::Object(map)
            }
        })
    }
}

/// A value inside text: a string without its quotes, anything else as JSON.
pub fn as_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    }
}
