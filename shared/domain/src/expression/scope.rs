//! The variables that an expression can read.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::budget::Budget;

/// What expressions read of a run.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reads {
    /// Whether they read the input.
    pub input: bool,
    /// The names of the actions that they refer to.
    pub actions: BTreeSet<String>,
    /// The names of those whose output they read.
    pub outputs: BTreeSet<String>,
}

impl Reads {
    /// What these read, and the others.
    pub fn add(&mut self, other: Self) {
        self.input |= other.input;
        self.actions.extend(other.actions);
        self.outputs.extend(other.outputs);
    }
}

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
