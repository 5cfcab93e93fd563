//! The variables that an expression can read.

use std::collections::BTreeMap;

use serde_json::Value;

use super::budget::Budget;

/// The values of an expression's variables, as JSON, and the work that all evaluations with them may do together.
#[derive(Debug, Default)]
pub struct Scope {
    /// The run's input.
    pub input: Value,
    /// The run: `id`, `task`, `version`, `labels` and, if it was due, `nominal_time`.
    pub run: Value,
    /// The actions it refers to, by name: `status`, `output`, `error`.
    pub actions: BTreeMap<String, Value>,
    /// What is left of that work.
    pub budget: Budget,
}
