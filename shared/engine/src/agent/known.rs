//! The deliveries that an agent began or claimed: it does neither twice.
//!
//! A queue may deliver a message again under the same count, and a Confirm may be shown twice. The agent remembers only
//! the newest deliveries. The process manager refuses its reports of a delivery that it forgot.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use super::hold::Key;

/// Deliveries that are remembered.
const MAX_KNOWN: usize = 65_536;

/// The deliveries that this agent has received, at most `MAX_KNOWN`; the oldest is forgotten first.
#[derive(Debug, Default)]
pub(super) struct Known(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// Whether the delivery began here.
    began: HashMap<Key, bool>,
    order: VecDeque<Key>,
}

impl Known {
    /// Takes note of a delivery; whether it is met for the first time.
    pub(super) fn meets(&self, key: Key) -> bool {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if inner.began.contains_key(&key) {
            return false;
        }
        if inner.order.len() >= MAX_KNOWN
            && let Some(oldest) = inner.order.pop_front()
        {
            inner.began.remove(&oldest);
        }
        inner.began.insert(key, false);
        inner.order.push_back(key);
        true
    }

    /// The delivery begins here.
    pub(super) fn begins(&self, key: Key) {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(began) = inner.began.get_mut(&key) {
            *began = true;
        }
    }

    /// Whether it was met here, and began.
    pub(super) fn has_begun(&self, key: &Key) -> bool {
        let inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        inner.began.get(key).copied().unwrap_or(false)
    }
}
