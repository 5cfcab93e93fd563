//! An agent's performer for tests in which it performs nothing.

use async_trait::async_trait;
use windlass_domain::run::Outcome;
use windlass_engine::perform::{Attempt, AttemptControl, Performer};

/// Performs nothing: every attempt is cancelled at once.
pub struct Idle;

#[async_trait]
impl Performer for Idle {
    async fn perform(&self, _: Attempt, _: AttemptControl) -> Outcome {
        Outcome::Cancelled
    }
}
