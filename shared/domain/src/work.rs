//! The work that an agent performs: a facade and its arguments, every expression already evaluated.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One action's work, ready to be performed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(tag = "facade", rename_all = "snake_case")]
pub enum Work {
    /// Run a program.
    Exec(ExecWork),
    /// Call an HTTP endpoint.
    Http(HttpWork),
    /// Call a Rust handler that the agent registered.
    Native(NativeWork),
}

/// A program to run: argv, never a shell.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ExecWork {
    /// The program and its arguments.
    pub command: Vec<String>,
    /// The program's standard input, as JSON; absent: the context of the attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stdin: Option<Value>,
    /// Variables added to the program's environment.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// The folder it runs in; absent: the agent's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workdir: Option<String>,
    /// What its standard output is; absent: JSON if it reads as JSON, text otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<StandardOutput>,
}

/// What an author says that a program prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StandardOutput {
    /// One JSON value; anything else is a failure.
    Json,
    /// Text, also if it reads as JSON.
    Text,
    /// A log, which is no output.
    None,
}

/// An HTTP request to make.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct HttpWork {
    /// The method, in capitals: `GET`, `POST` and so on.
    pub method: String,
    /// The absolute URL, `http` or `https`.
    pub url: String,
    /// Headers of the request.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// The body: a string is sent as it stands, anything else as JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<Value>,
}

/// A call of a handler that is compiled into the agent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct NativeWork {
    /// The name under which the agent registered the handler.
    pub handler: String,
    /// The handler's input, as JSON.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub input: Value,
}
