//! The shapes of work that are measured.

use serde_json::{Map, Value, json};

/// A shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Workload {
    /// Five actions, one after the other; 50 runs in flight.
    Chain,
    /// A thousand actions at once, and their join; one run after the other.
    Fan,
    /// One, then two at once, then one; 50 runs in flight.
    Diamond,
    /// One action, one run after the other: the time that a caller waits.
    Single,
}

/// How wide a fan is.
const FAN: usize = 1000;

impl Workload {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Chain => "chain",
            Self::Fan => "fan",
            Self::Diamond => "diamond",
            Self::Single => "single",
        }
    }

    /// The number of runs to measure if the command line names none.
    pub(crate) const fn default_runs(self) -> usize {
        match self {
            Self::Chain | Self::Diamond => 2000,
            Self::Fan => 20,
            Self::Single => 1000,
        }
    }

    pub(super) const fn warm_up(self) -> usize {
        match self {
            Self::Chain | Self::Diamond | Self::Single => 100,
            Self::Fan => 1,
        }
    }

    pub(crate) const fn in_flight(self) -> usize {
        match self {
            Self::Chain | Self::Diamond => 50,
            Self::Fan | Self::Single => 1,
        }
    }

    pub(super) fn definition(self) -> Value {
        let edges: Vec<(String, Vec<String>)> = match self {
            Self::Single => vec![("a".into(), vec![])],
            Self::Chain => {
                (0..5).map(|n| (format!("a{n}"), (0..n).rev().take(1).map(|n| format!("a{n}")).collect())).collect()
            }
            Self::Diamond => vec![
                ("a".into(), vec![]),
                ("b".into(), vec!["a".into()]),
                ("c".into(), vec!["a".into()]),
                ("d".into(), vec!["b".into(), "c".into()]),
            ],
            Self::Fan => {
                let wide: Vec<String> = (0..FAN).map(|n| format!("a{n}")).collect();
                let join = ("join".to_owned(), wide.clone());
                wide.into_iter().map(|name| (name, vec![])).chain([join]).collect()
            }
        };
        let action = |(name, needs): (String, Vec<String>)| {
            (name, json!({ "needs": needs, "native": { "handler": "nothing" } }))
        };
        let actions: Map<String, Value> = edges.into_iter().map(action).collect();
        json!({ "task": format!("bench-{}", self.name()), "actions": actions })
    }
}
