//! The caller of a request: who asks, by which way, and why. Every input carries its caller, and so do the events that
//! follow from a caller's request.

use serde::{Deserialize, Serialize};

/// Who asks, by which way, and why.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Caller {
    /// The name of a person or a service, by the identity provider. Absent: the host, an agent, or the owner of the
    /// host's token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub who: Option<String>,
    /// By which way it came.
    #[serde(default)]
    pub way: Way,
    /// Why, in words; absent: the caller gave no reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// The way by which a request came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// The host itself: a timer, the sweeper, a queue that gave a message up.
    #[default]
    Host,
    /// An agent's report.
    Agent,
    /// A task's schedule.
    Schedule,
    /// A call of the API.
    Api,
}

impl Caller {
    /// The host itself.
    pub const HOST: Self = Self { who: None, way: Way::Host, why: None };

    /// Something that came that way.
    pub const fn by(way: Way) -> Self {
        Self { who: None, way, why: None }
    }

    /// The same caller, with a reason.
    #[must_use]
    pub fn because(self, why: impl Into<String>) -> Self {
        Self { why: Some(why.into()).filter(|why: &String| !why.is_empty()), ..self }
    }
}
