//! Finds repeated events: a log may hold an event twice, and a resumed stream may begin a little early.

use std::collections::{HashSet, VecDeque};

use uuid::Uuid;

/// Ids that are remembered. A repeat comes soon after the first: from one batch of the log to the next.
const MAX_REMEMBERED: usize = 4096;

/// The ids of the newest events that a reader has seen.
#[derive(Debug, Clone, Default)]
pub struct SeenEvents {
    known: HashSet<Uuid>,
    order: VecDeque<Uuid>,
}

impl SeenEvents {
    /// Whether the event's id is new. Adds it; beyond its limit, the set forgets the oldest id.
    pub fn is_first(&mut self, event: Uuid) -> bool {
        if !self.known.insert(event) {
            return false;
        }
        self.order.push_back(event);
        if self.order.len() > MAX_REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeated_event_is_dropped_within_bounded_memory() {
        let id = |number: usize| Uuid::from_u128(number as u128);
        let mut seen = SeenEvents::default();
        assert!(seen.is_first(id(0)));
        assert!(!seen.is_first(id(0)));
        for number in 1..=MAX_REMEMBERED {
            assert!(seen.is_first(id(number)));
        }
        assert!(!seen.is_first(id(1)), "still remembered");
        assert!(seen.is_first(id(0)), "long ago");
        assert_eq!(seen.known.len(), MAX_REMEMBERED);
    }
}
