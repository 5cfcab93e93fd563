//! The names that an expression refers to: variables, functions and, above all, actions.

use std::collections::BTreeSet;

use cel::IdedExpr;
use cel::common::ast::{EntryExpr, Expr, IdedEntryExpr, LiteralValue, operators};

use super::error::{ExpressionError, code};
use super::{functions, patterns};
use crate::limits::MAX_COMPREHENSION_DEPTH;

/// The variables that an expression sees.
const VARIABLES: [&str; 3] = ["input", "actions", "run"];
/// Names that stand for types, as in `type(input.day) == string`.
const TYPES: [&str; 10] = ["bool", "bytes", "double", "int", "list", "map", "null_type", "string", "type", "uint"];
/// CEL's own functions that are not operators, and its macros.
const FUNCTIONS: [&str; 18] = [
    "bool",
    "bytes",
    "contains",
    "double",
    "dyn",
    "endsWith",
    "int",
    "matches",
    "size",
    "startsWith",
    "string",
    "type",
    "uint",
    "all",
    "exists",
    "exists_one",
    "map",
    "filter",
];

/// How many unknown names an error tells of beside the first.
const MAX_UNKNOWN: usize = 20;

/// The names of the actions that an expression refers to. It is an error if the expression uses a name out of its
/// scope, or leaves open to which action it refers.
pub(super) fn find(ast: &IdedExpr, source: &str) -> Result<BTreeSet<String>, ExpressionError> {
    let mut search = Search { source, bound: Vec::new(), depth: 0, actions: BTreeSet::new(), unknown: Vec::new() };
    search.visit(ast)?;
    let mut unknown = search.unknown.into_iter();
    let Some((first, mut error)) = unknown.next() else { return Ok(search.actions) };
    let mut others: Vec<String> = Vec::new();
    for (name, _) in unknown {
        let name = format!("`{name}`");
        if name != format!("`{first}`") && !others.contains(&name) && others.len() < MAX_UNKNOWN {
            others.push(name);
        }
    }
    let others = match others.as_slice() {
        [] => String::new(),
        [one] => format!("; {one} is not known either"),
        more => format!("; {} are not known either", more.join(", ")),
    };
    error.message.push_str(&others);
    Err(error)
}

struct Search<'a> {
    source: &'a str,
    /// Variables of the comprehensions around.
    bound: Vec<&'a str>,
    depth: usize,
    actions: BTreeSet<String>,
    /// The names that are not known, each with what is wrong with it.
    unknown: Vec<(String, ExpressionError)>,
}

impl<'a> Search<'a> {
    fn visit(&mut self, expr: &'a IdedExpr) -> Result<(), ExpressionError> {
        match &expr.expr {
            Expr::Unspecified | Expr::Literal(_) => Ok(()),
            Expr::Ident(name) => self.variable(name),
            Expr::Select(select) if self.is_actions(&select.operand) => {
                self.actions.insert(select.field.clone());
                Ok(())
            }
            Expr::Select(select) => self.visit(&select.operand),
            Expr::Call(call) => {
                if call.func_name == operators::INDEX
                    && let [operand, key] = call.args.as_slice()
                    && self.is_actions(operand)
                {
                    return self.index_of_actions(key);
                }
                self.function(&call.func_name);
                patterns::check(call, self.source)?;
                call.target.iter().map(|target| &**target).chain(&call.args).try_for_each(|part| self.visit(part))
            }
            Expr::List(list) => list.elements.iter().try_for_each(|element| self.visit(element)),
            Expr::Map(map) => map.entries.iter().try_for_each(|entry| self.entry(entry)),
            Expr::Struct(message) => Err(ExpressionError::new(
                code::UNKNOWN_NAME,
                format!("there is no type `{}`; a mapping is written `{{\"key\": value}}`", message.type_name),
            )),
            Expr::Comprehension(comprehension) => {
                self.visit(&comprehension.iter_range)?;
                self.visit(&comprehension.accu_init)?;
                self.depth += 1;
                if self.depth > MAX_COMPREHENSION_DEPTH {
                    let message = format!(
                        "more than {MAX_COMPREHENSION_DEPTH} of `map`, `filter`, `all`, `exists` in one another"
                    );
                    return Err(ExpressionError::new(code::TOO_LARGE, message));
                }
                let before = self.bound.len();
                self.bound.extend([comprehension.iter_var.as_str(), comprehension.accu_var.as_str()]);
                self.bound.extend(comprehension.iter_var2.as_deref());
                let parts = [&comprehension.loop_cond, &comprehension.loop_step, &comprehension.result];
                let result = parts.into_iter().try_for_each(|part| self.visit(part));
                self.bound.truncate(before);
                self.depth -= 1;
                result
            }
        }
    }

    fn entry(&mut self, entry: &'a IdedEntryExpr) -> Result<(), ExpressionError> {
        match &entry.expr {
            EntryExpr::StructField(field) => self.visit(&field.value),
            EntryExpr::MapEntry(entry) => {
                self.visit(&entry.key)?;
                self.visit(&entry.value)
            }
        }
    }

    fn is_actions(&self, expr: &IdedExpr) -> bool {
        matches!(&expr.expr, Expr::Ident(name) if name == "actions" && !self.bound.contains(&"actions"))
    }

    fn index_of_actions(&mut self, key: &IdedExpr) -> Result<(), ExpressionError> {
        if let Expr::Literal(LiteralValue::String(name)) = &key.expr {
            self.actions.insert(name.inner().to_owned());
            return Ok(());
        }
        Err(dynamic())
    }

    fn variable(&mut self, name: &str) -> Result<(), ExpressionError> {
        if name.starts_with('@') || self.bound.contains(&name) || TYPES.contains(&name) {
            return Ok(());
        }
        match name {
            "actions" => Err(dynamic()),
            "input" | "run" => Ok(()),
            _ => {
                let mut message = format!("`{name}` is not known; an expression sees `input`, `actions` and `run`");
                if self.has_hyphenated_action() {
                    message.push_str("; an action whose name has a `-` is written `actions[\"the-name\"]`");
                } else if let Some(near) = closest(name, &VARIABLES) {
                    message = format!("`{name}` is not known; did you mean `{near}`?");
                }
                self.not_known(name, message);
                Ok(())
            }
        }
    }

    fn function(&mut self, name: &str) {
        let operator = !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        let known: Vec<&str> = FUNCTIONS.into_iter().chain(functions::names()).collect();
        if operator || known.contains(&name) {
            return;
        }
        let help = closest(name, &known)
            .map_or_else(|| format!("known are {}", known.join(", ")), |near| format!("did you mean `{near}`?"));
        self.not_known(name, format!("there is no function `{name}`; {help}"));
    }

    fn not_known(&mut self, name: &str, message: String) {
        let error = ExpressionError { code: code::UNKNOWN_NAME, message, offset: self.source.find(name) };
        self.unknown.push((name.to_owned(), error));
    }

    /// Whether it has something like `actions.load-data`, which CEL reads as a difference.
    fn has_hyphenated_action(&self) -> bool {
        self.source
            .split("actions.")
            .skip(1)
            .any(|rest| rest.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || c == '_').starts_with('-'))
    }
}

/// The error of an expression that leaves open to which action it refers.
pub(super) fn dynamic() -> ExpressionError {
    let message = "say which action is meant: `actions.NAME` or `actions[\"NAME\"]`; \
                   one that is only known when the run is under way can not be checked";
    ExpressionError::new(code::DYNAMIC_REFERENCE, message)
}

fn closest<'n>(word: &str, names: &[&'n str]) -> Option<&'n str> {
    let near = names.iter().map(|name| (strsim::damerau_levenshtein(word, name), *name)).min()?;
    (near.0 <= 2 && near.0 * 2 < word.len()).then_some(near.1)
}
