//! One expression: read once, with its names checked, and evaluated as often as a run needs it.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::Value;

use super::error::{ExpressionError, code};
use super::evaluate::Program;
use super::path::{Read, Steps};
use super::scope::{Reads, Scope};
use super::{references, scan};

/// A compiled expression.
#[derive(Clone)]
pub struct Expression {
    source: Arc<str>,
    compiled: Arc<Compiled>,
}

struct Compiled {
    form: Form,
    reads: Reads,
}

enum Form {
    /// Nothing but a path: `input.day`.
    Path(Steps),
    /// Any other expression, with the calls that bound its work put in.
    Program(Program),
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
    /// Compiles an expression. Names that it cannot see are refused here, not when it is evaluated.
    pub fn parse(source: &str) -> Result<Self, ExpressionError> {
        scan::check(source)?;
        let compiled = if let Some(path) = Steps::read(source) {
            path.action()?;
            let mut reads = Reads::default();
            path.note(&mut reads);
            Compiled { form: Form::Path(path), reads }
        } else {
            let ast = scan::parse(source)?;
            let actions = references::find(&ast, source)?;
            let program = Program::new(ast);
            let reads = program.reads(actions);
            Compiled { form: Form::Program(program), reads }
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
        self.compiled.reads.actions.clone()
    }

    /// What it sees of a run.
    pub fn sees(&self) -> Reads {
        self.compiled.reads.clone()
    }

    /// The paths that it reads, as far as they are known before it is evaluated.
    pub(crate) fn reads(&self) -> Vec<Read> {
        let paths = match &self.compiled.form {
            Form::Path(path) => std::slice::from_ref(path),
            Form::Program(program) => program.paths(),
        };
        paths.iter().map(Steps::keys).collect()
    }

    /// Its value.
    pub fn evaluate(&self, scope: &Scope) -> Result<Value, ExpressionError> {
        let value = match &self.compiled.form {
            Form::Path(path) => path.follow(scope),
            Form::Program(program) => program.run(&self.source, scope),
        };
        scope.budget.check()?;
        value
    }
}
