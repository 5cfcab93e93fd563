//! Attempts of actions that cost agents before are begun with few others, so that what kills its agent does not take
//! others along for ever.
//!
//! Every attempt is on probation when it begins, and takes a part of the agent's room for that: the more agents its action
//! has cost, the larger, and all of it if one more loss would make it poison. So of those that went down together again
//! and again ever fewer begin together, those that end are cleared, and what is taken for poison was alone when it killed
//! its last agent. A suspect is held back before it is claimed: what waits when the agent dies has not cost an agent.
//! Probation is short, so that a suspect neither waits long for others nor holds them up for long; what kills its agent
//! later than that is not kept apart.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use windlass_domain::limits::{MAX_LOSSES, SUSPECT_LOSSES};

/// How long an attempt is on probation.
const PROBATION: Duration = Duration::from_secs(30);
/// With each loss fewer attempts by that factor are on probation together: sixteen, four, and then one.
const FEWER: u32 = 4;

/// The room for attempts on probation: one place for each slot, so that those that cost no agents always find one. Who
/// waits first is let in first.
#[derive(Debug, Clone)]
pub(super) struct Gate {
    places: Arc<Semaphore>,
    slots: u32,
}

/// Its places on probation; it ends when this is dropped.
#[derive(Debug)]
pub(super) struct Probation(#[expect(dead_code, reason = "it is held")] Option<OwnedSemaphorePermit>);

impl Gate {
    pub(super) fn new(slots: u32) -> Self {
        Self { places: Arc::new(Semaphore::new(slots as usize)), slots }
    }

    /// Waits until an attempt may begin whose action will have cost so many agents.
    pub(super) async fn enter(&self, losses: usize) -> Probation {
        // Nobody closes the semaphore.
        Probation(self.places.clone().acquire_many_owned(places(self.slots, losses)).await.ok())
    }
}

impl Probation {
    /// Ends after its time, and then never returns.
    pub(super) async fn pass(self) -> std::convert::Infallible {
        tokio::time::sleep(PROBATION).await;
        drop(self);
        std::future::pending().await
    }
}

/// How many of an agent's places such an attempt takes.
fn places(slots: u32, losses: usize) -> u32 {
    // What has cost too many is given up by its claim, and not begun.
    if !(SUSPECT_LOSSES..MAX_LOSSES).contains(&losses) {
        return 1;
    }
    let further = MAX_LOSSES - 1 - losses;
    slots.div_ceil(FEWER.saturating_pow(u32::try_from(further).unwrap_or(u32::MAX))).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn with_each_loss_it_takes_more_room_and_the_last_time_all() {
        let of = |slots| (0..=MAX_LOSSES).map(|losses| places(slots, losses)).collect::<Vec<_>>();
        assert_eq!(of(60), [1, 1, 4, 15, 60, 1]);
        assert_eq!(of(10), [1, 1, 1, 3, 10, 1]);
        assert_eq!(of(1), [1, 1, 1, 1, 1, 1]);
    }
}
