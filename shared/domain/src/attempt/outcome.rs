//! The reports of an attempt: how far it has come, and how it ended.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(tag = "result", rename_all = "snake_case")]
pub enum Outcome {
    /// Well.
    Succeeded {
        /// The action's output.
        output: Value,
    },
    /// With an error.
    Failed {
        /// Which.
        error: ErrorInfo,
    },
    /// It took longer than the attempt's timeout and was stopped.
    TimedOut {
        /// An error of the kind `timeout`; its message may quote the last output of the attempt.
        error: ErrorInfo,
    },
    /// It was stopped, or never begun, because its run is being cancelled, or it alone was killed.
    Cancelled,
}

/// How far an attempt has come.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Progress {
    /// From 0 to 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percent: Option<f64>,
    /// The step that it is at, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// A failure, for people and for policies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ErrorInfo {
    /// Its kind, dotted from the general to the special: `auth.password`. Policies decide by it.
    pub kind: String,
    /// The failure, in words.
    pub message: String,
}

impl ErrorInfo {
    /// An error of that kind.
    pub fn new(kind: impl Into<String>, message: impl Into<String>) -> Self {
        Self { kind: kind.into(), message: message.into() }
    }
}
