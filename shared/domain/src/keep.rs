//! What a definition says about how long its runs are kept.

use serde::{Deserialize, Serialize};

use crate::time::Millis;

/// How long the runs of a definition are kept after their end. The host says it for what the definition leaves out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Keep {
    /// Runs that ended well, faults or none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub succeeded: Option<Millis>,
    /// Runs that failed, timed out or were cancelled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<Millis>,
}

impl Keep {
    /// Whether the definition said nothing.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}
