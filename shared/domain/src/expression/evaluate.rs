//! Gives an expression its value.

use std::collections::BTreeSet;
use std::sync::{Arc, LazyLock};

use cel::{Context, Env, ExecutionError, IdedExpr};
use serde_json::Value;

use super::budget;
use super::error::{ExpressionError, code};
use super::path::{Paths, Steps};
use super::scope::{Reads, Scope};
use super::{convert, functions, patterns};

/// The functions and macros of expressions: the standard ones, without time and without optional values.
pub(super) fn environment() -> &'static Arc<Env> {
    static ENVIRONMENT: LazyLock<Arc<Env>> = LazyLock::new(|| Arc::new(Env::stdlib().with_optional_support(false)));
    &ENVIRONMENT
}

/// An expression that is more than a path, ready to be evaluated.
pub(super) struct Program {
    /// Without its paths, for which variables stand.
    ast: IdedExpr,
    paths: Paths,
    /// Bytes of stack that its evaluation may need.
    stack: usize,
}

/// Bytes of stack that the evaluator needs for one node below another: measured, with a margin, in optimised builds,
/// which need more than others because everything is inlined.
const STACK_OF_NODE: usize = 96 * 1024;

impl Program {
    /// The expression, with the calls of [`super::budget`] in it.
    pub(super) fn new(mut ast: IdedExpr) -> Self {
        let paths = Paths::take_from(&mut ast);
        let ast = budget::instrument(ast);
        let stack = (budget::depth(&ast) + 4) * STACK_OF_NODE;
        Self { ast, paths, stack }
    }

    /// What it reads, if it refers to these actions.
    pub(super) fn reads(&self, actions: BTreeSet<String>) -> Reads {
        self.paths.reads(actions)
    }

    /// The paths that it reads.
    pub(super) fn paths(&self) -> &[Steps] {
        &self.paths.paths
    }

    /// Its value. An expression that nests deep is evaluated on a stack of its own.
    pub(super) fn run(&self, source: &str, scope: &Scope) -> Result<Value, ExpressionError> {
        stacker::maybe_grow(self.stack, self.stack, || self.run_here(source, scope)).map_err(|error| error.of(source))
    }

    fn run_here(&self, source: &str, scope: &Scope) -> Result<Value, ExpressionError> {
        let mut context = Context::with_env(Arc::clone(environment()));
        let budget = &scope.budget;
        let installed = budget
            .install(&mut context)
            .and_then(|()| patterns::install(budget, &mut context))
            .and_then(|()| functions::install(source, budget, &mut context));
        installed
            .map_err(|error| ExpressionError::new(code::NO_VALUE, format!("the expression can not run: {error}")))?;
        for name in &self.paths.whole {
            match name.as_str() {
                "actions" => {
                    scope.actions.values().for_each(|value| budget.copy(value));
                    context.add_variable_from_value("actions", convert::mapping(scope.actions.iter()));
                }
                name => {
                    let value = if name == "run" { &scope.run } else { &scope.input };
                    budget.copy(value);
                    context.add_variable_from_value(name, convert::to_cel(value));
                }
            }
        }
        // A path that leads nowhere is an error only where its value is needed.
        for (number, path) in self.paths.paths.iter().enumerate() {
            if let Ok(value) = path.find(scope) {
                budget.copy(value);
                context.add_variable_from_value(Paths::variable(number), convert::to_cel(value));
            }
        }
        let value = cel::Value::resolve_val(&self.ast, &context).map_err(|error| self.in_words(&error, scope))?;
        convert::to_json(value.as_ref())
    }

    fn in_words(&self, error: &ExecutionError, scope: &Scope) -> ExpressionError {
        if let ExecutionError::UndeclaredReference(name) = error
            && let Some(Err(error)) = self.paths.of_variable(name).map(|path| path.find(scope))
        {
            return error;
        }
        in_words(error)
    }
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
