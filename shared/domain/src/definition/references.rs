//! The references in a definition's expressions: whether each action exists, and has ended when the expression is
//! evaluated.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::code;
use super::fault::{At, Fault, Report};
use super::graph::Needs;
use super::model::Action;
use super::path::Path;
use super::place::Place;
use super::reads::Reads;
use super::scalar::text_of;
use crate::expression::{Expression, ExpressionError, Read, Template};

/// A name of an action in an expression.
struct Reference {
    /// The action whose expression it is; none: the run's output.
    of: Option<usize>,
    name: String,
    path: String,
    place: Option<Place>,
}

/// The actions that the expressions of a definition refer to, each with the place of its reference.
#[derive(Default)]
pub(super) struct References {
    found: Vec<Reference>,
    /// What else the expressions read.
    pub(super) reads: Reads,
}

impl References {
    /// Reports references to actions that do not exist, or that may not have ended when the expression is evaluated. An
    /// action sees the actions that it needs, directly or by way of others. The run's output sees all.
    pub(super) fn check(&self, actions: &[Action], report: &mut Report<'_>) {
        let names: BTreeMap<&str, usize> = actions.iter().enumerate().map(|(at, a)| (a.name.as_str(), at)).collect();
        let mut unclear = Vec::new();
        for reference in &self.found {
            let name = &reference.name;
            match (names.get(name.as_str()), reference.of) {
                (None, _) => {
                    let help = report.suggest(name, names.keys().copied());
                    let message = format!("the expression refers to `{name}`, which is not an action of this task");
                    reference.report(code::UNKNOWN_REFERENCE, message, help, report);
                }
                (Some(_), None) => {}
                (Some(&to), Some(of)) => {
                    if !actions[of].needs.iter().any(|need| need.as_usize() == to) {
                        unclear.push((reference, of, to));
                    }
                }
            }
        }
        check_settled(&unclear, actions, report);
    }
}

/// Reports each of these references whose action need not have ended: neither `needs` nor the needs of needs name it.
fn check_settled(unclear: &[(&Reference, usize, usize)], actions: &[Action], report: &mut Report<'_>) {
    if unclear.is_empty() {
        return;
    }
    let needs: Vec<Vec<usize>> =
        actions.iter().map(|action| action.needs.iter().map(|need| need.as_usize()).collect()).collect();
    let needs = Needs::new(&needs);
    if !needs.cycles().is_empty() {
        return;
    }
    let ancestors = needs.ancestors();
    for (reference, of, to) in unclear {
        if ancestors.contains(*of, *to) {
            continue;
        }
        let (of, name) = (&actions[*of].name, &reference.name);
        let (message, help) = if of.as_str() == name {
            (format!("the expression of `{of}` refers to `{name}` itself, which has not run by then"), None)
        } else {
            let help = format!("add `{name}` to the `needs` of `{of}`");
            (
                format!("the expression refers to `{name}`, which `{of}` does not need: it may not have run by then"),
                Some(help),
            )
        };
        reference.report(code::UNSETTLED_REFERENCE, message, help, report);
    }
}

impl Reference {
    fn report(&self, code: &'static str, message: String, help: Option<String>, report: &mut Report<'_>) {
        report.add_fault(Fault { code, message, help, path: self.path.clone(), place: self.place });
    }
}

/// Reads the expressions of one action, or of the run's output.
pub(super) struct Expressions<'r, 'a> {
    pub(super) report: &'r mut Report<'a>,
    references: &'r mut References,
    of: Option<usize>,
}

impl<'r, 'a> Expressions<'r, 'a> {
    /// The expressions of an action.
    pub(super) fn of_action(of: usize, report: &'r mut Report<'a>, references: &'r mut References) -> Self {
        Self { report, references, of: Some(of) }
    }

    /// The expressions of the run's output.
    pub(super) fn of_output(report: &'r mut Report<'a>, references: &'r mut References) -> Self {
        Self { report, references, of: None }
    }

    /// A condition: an expression, bare or in `${{ }}`, or `true` or `false`.
    pub(super) fn condition(&mut self, value: &Value, path: &Path<'_>) -> Option<Expression> {
        let text = match value {
            Value::String(text) => text.clone(),
            Value::Bool(value) => value.to_string(),
            Value::Null | Value::Number(_) | Value::Array(_) | Value::Object(_) => return None,
        };
        match Expression::parse_condition(&text) {
            Ok(expression) => {
                self.refer(expression.actions(), expression.reads(), path);
                Some(expression)
            }
            Err(error) => {
                self.fault(&error, path);
                None
            }
        }
    }

    /// A scalar that becomes text.
    pub(super) fn text(&mut self, value: &Value, path: &Path<'_>) -> Template {
        self.template(&text_of(value), path)
    }

    /// A value with expressions in its texts; each faulty one is reported where it stands.
    pub(super) fn template(&mut self, value: &Value, path: &Path<'_>) -> Template {
        match value {
            Value::Array(items) => {
                let items = items.iter().enumerate();
                Template::sequence(items.map(|(at, item)| self.template(item, &path.index(at))).collect())
            }
            Value::Object(map) => {
                let entries = map.iter().map(|(key, item)| (key.clone(), self.template(item, &path.key(key))));
                Template::mapping(entries.collect::<BTreeMap<_, _>>())
            }
            Value::String(text) => match Template::parse_whole_text(text) {
                Ok(template) => {
                    self.refer(template.actions(), template.reads_of_text(), path);
                    template
                }
                Err(faults) => {
                    for error in &faults {
                        self.fault(error, path);
                    }
                    Template::Plain(Value::Null)
                }
            },
            Value::Null | Value::Bool(_) | Value::Number(_) => Template::Plain(value.clone()),
        }
    }

    fn refer(&mut self, names: BTreeSet<String>, reads: Vec<Read>, path: &Path<'_>) {
        if names.is_empty() && reads.is_empty() {
            return;
        }
        let (path, place) = (path.to_string(), self.report.place_of(path));
        self.references.reads.add(reads, &path, place);
        for name in names {
            self.references.found.push(Reference { of: self.of, name, path: path.clone(), place });
        }
    }

    fn fault(&mut self, error: &ExpressionError, path: &Path<'_>) {
        let at = error.offset.map_or(At::Value, At::Text);
        self.report.add(error.code, path, at, error.message.clone());
    }
}
