//! Paths, such as `actions.extract.output.rows[0]`. Most expressions are one, and most others are made of some.

use std::collections::BTreeSet;

use cel::IdedExpr;
use cel::common::ast::{EntryExpr, Expr, LiteralValue, operators};
use serde_json::Value;

use super::error::{ExpressionError, code};
use super::references;
use super::scope::{Reads, Scope};
use crate::json_type::type_of;

/// The steps of an expression that is nothing but a path, such as `actions.extract.output.rows[0]`: most are. It is
/// read without the CEL parser and followed in the JSON itself: nothing is copied but the value, and keys keep their
/// order.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Steps {
    root: String,
    steps: Vec<Step>,
}

/// A path that an expression reads, such as `input.files[0].name`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Read {
    /// `input`, `run` or `actions`.
    pub(crate) variable: String,
    /// The keys after it; none for an entry of a list.
    pub(crate) steps: Vec<Option<String>>,
}

#[derive(Debug, Clone, PartialEq)]
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
        if !is_variable(root) {
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

    /// The path as a step after another, from its variable on; none for an entry of a list.
    pub(super) fn keys(&self) -> Read {
        let key = |step: &Step| match step {
            Step::Key(key) => Some(key.clone()),
            Step::Index(_) => None,
        };
        Read { variable: self.root.clone(), steps: self.steps.iter().map(key).collect() }
    }

    /// The action that the path starts at: none if it starts at another variable, an error if it does not say which.
    pub(super) fn action(&self) -> Result<Option<&str>, ExpressionError> {
        match (self.root.as_str(), self.steps.first()) {
            ("actions", Some(Step::Key(name))) => Ok(Some(name)),
            ("actions", _) => Err(references::dynamic()),
            _ => Ok(None),
        }
    }

    /// Adds what the path reads.
    pub(super) fn note(&self, reads: &mut Reads) {
        let is_output = |step: Option<&Step>| step.is_none_or(|step| *step == Step::Key("output".to_owned()));
        match (self.root.as_str(), self.steps.split_first()) {
            ("actions", Some((Step::Key(name), rest))) => {
                reads.actions.insert(name.clone());
                if is_output(rest.first()) {
                    reads.outputs.insert(name.clone());
                }
            }
            ("input", _) => reads.input = true,
            _ => {}
        }
    }

    /// The value at the end of the path, which is copied.
    pub(super) fn follow(&self, scope: &Scope) -> Result<Value, ExpressionError> {
        let found = self.find(scope)?;
        scope.budget.copy(found);
        Ok(found.clone())
    }

    /// The value at the end of the path. An error names the first step that leads nowhere.
    pub(super) fn find<'s>(&self, scope: &'s Scope) -> Result<&'s Value, ExpressionError> {
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
        Ok(at)
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

fn is_variable(name: &str) -> bool {
    matches!(name, "input" | "run" | "actions")
}

fn step_shown(path: &str, key: &str) -> String {
    let name = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if name { format!("{path}.{key}") } else { format!("{path}[{key:?}]") }
}

fn no_key(path: &str, key: &str) -> ExpressionError {
    ExpressionError::new(code::NO_VALUE, format!("`{path}` has no key `{key}`"))
}

fn not_a(path: &str, value: &Value, wanted: &str, what: &str) -> ExpressionError {
    let is = type_of(value);
    ExpressionError::new(code::NO_VALUE, format!("`{path}` is {is}, not a {wanted}: it has no {what}"))
}

/// The paths that were taken out of an expression, each by the number in its variable's name, and the variables that it
/// still reads as a whole.
#[derive(Debug, Default)]
pub(super) struct Paths {
    pub(super) paths: Vec<Steps>,
    pub(super) whole: BTreeSet<String>,
}

impl Paths {
    /// Takes each path out of an expression and puts a variable in its place. So only the value at the end of the path is
    /// copied, and a path that leads nowhere can be named.
    pub(super) fn take_from(expr: &mut IdedExpr) -> Self {
        let mut taken = Self::default();
        taken.visit(expr, &mut Vec::new());
        taken
    }

    /// The variable that stands for a path. No author can write it.
    pub(super) fn variable(number: usize) -> String {
        format!("@p{number}")
    }

    /// What the expression reads, if it refers to these actions.
    pub(super) fn reads(&self, actions: BTreeSet<String>) -> Reads {
        let outputs = if self.whole.contains("actions") { actions.clone() } else { BTreeSet::new() };
        let mut reads = Reads { input: self.whole.contains("input"), actions, outputs };
        self.paths.iter().for_each(|path| path.note(&mut reads));
        reads
    }

    /// The path that a variable stands for.
    pub(super) fn of_variable(&self, name: &str) -> Option<&Steps> {
        self.paths.get(name.strip_prefix("@p")?.parse::<usize>().ok()?)
    }

    /// `bound`: the variables of the comprehensions around.
    fn visit(&mut self, expr: &mut IdedExpr, bound: &mut Vec<String>) {
        if let Some((root, steps)) = chain(expr)
            && is_variable(root)
            && !bound.iter().any(|name| name == root)
        {
            if steps.is_empty() {
                self.whole.insert(root.to_owned());
                return;
            }
            let path = Steps { root: root.to_owned(), steps };
            let number = self.paths.iter().position(|known| *known == path).unwrap_or(self.paths.len());
            if number == self.paths.len() {
                self.paths.push(path);
            }
            expr.expr = Expr::Ident(Self::variable(number));
            return;
        }
        self.visit_parts(expr, bound);
    }

    fn visit_parts(&mut self, expr: &mut IdedExpr, bound: &mut Vec<String>) {
        match &mut expr.expr {
            Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) => {}
            Expr::Select(select) => self.visit(&mut select.operand, bound),
            Expr::List(list) => list.elements.iter_mut().for_each(|element| self.visit(element, bound)),
            Expr::Map(map) => map.entries.iter_mut().for_each(|entry| self.visit_entry(&mut entry.expr, bound)),
            Expr::Struct(message) => {
                message.entries.iter_mut().for_each(|entry| self.visit_entry(&mut entry.expr, bound));
            }
            Expr::Call(call) => {
                call.target.iter_mut().for_each(|target| self.visit(target, bound));
                call.args.iter_mut().for_each(|arg| self.visit(arg, bound));
            }
            Expr::Comprehension(comprehension) => {
                self.visit(&mut comprehension.iter_range, bound);
                self.visit(&mut comprehension.accu_init, bound);
                let before = bound.len();
                bound.extend([comprehension.iter_var.clone(), comprehension.accu_var.clone()]);
                bound.extend(comprehension.iter_var2.clone());
                self.visit(&mut comprehension.loop_cond, bound);
                self.visit(&mut comprehension.loop_step, bound);
                self.visit(&mut comprehension.result, bound);
                bound.truncate(before);
            }
        }
    }

    fn visit_entry(&mut self, entry: &mut EntryExpr, bound: &mut Vec<String>) {
        match entry {
            EntryExpr::StructField(field) => self.visit(&mut field.value, bound),
            EntryExpr::MapEntry(entry) => {
                self.visit(&mut entry.key, bound);
                self.visit(&mut entry.value, bound);
            }
        }
    }
}

/// The name that a chain of keys and indexes starts at, and its steps; nothing if the expression is more than that.
fn chain(expr: &IdedExpr) -> Option<(&str, Vec<Step>)> {
    match &expr.expr {
        Expr::Ident(name) => Some((name, Vec::new())),
        Expr::Select(select) if !select.test => {
            let (root, mut steps) = chain(&select.operand)?;
            steps.push(Step::Key(select.field.clone()));
            Some((root, steps))
        }
        Expr::Call(call) if call.func_name == operators::INDEX && call.target.is_none() => {
            let [operand, IdedExpr { expr: Expr::Literal(key), .. }] = call.args.as_slice() else { return None };
            let (root, mut steps) = chain(operand)?;
            steps.push(literal_step(key)?);
            Some((root, steps))
        }
        Expr::Unspecified
        | Expr::Literal(_)
        | Expr::Select(_)
        | Expr::Call(_)
        | Expr::List(_)
        | Expr::Map(_)
        | Expr::Struct(_)
        | Expr::Comprehension(_) => None,
    }
}

fn literal_step(key: &LiteralValue) -> Option<Step> {
    match key {
        LiteralValue::String(name) => Some(Step::Key(name.inner().to_owned())),
        LiteralValue::Int(index) => usize::try_from(*index.inner()).ok().map(Step::Index),
        LiteralValue::Boolean(_)
        | LiteralValue::Bytes(_)
        | LiteralValue::Double(_)
        | LiteralValue::Null
        | LiteralValue::UInt(_) => None,
    }
}
