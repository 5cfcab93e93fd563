//! Chance, from a seed.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Range;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// A stream of chance. Streams of one seed do not touch each other: the draws of one part change nothing for another.
pub(super) struct Chance(Mutex<fastrand::Rng>);

impl Chance {
    pub(super) fn of(seed: u64, stream: &str) -> Self {
        Self(Mutex::new(fastrand::Rng::with_seed(mixed(&(seed, stream)))))
    }

    fn draw<T>(&self, draw: impl FnOnce(&mut fastrand::Rng) -> T) -> T {
        draw(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// True that often in a million times.
    pub(super) fn hits(&self, in_a_million: u32) -> bool {
        in_a_million > 0 && self.draw(|chance| chance.u32(0..1_000_000)) < in_a_million
    }

    pub(super) fn between(&self, range: Range<u64>) -> u64 {
        self.draw(|chance| chance.u64(range))
    }

    /// A span, each order of magnitude of milliseconds as likely as another.
    pub(super) fn span(&self, range: Range<Duration>) -> Duration {
        let (least, most) = (range.start.as_secs_f64().max(0.001).ln(), range.end.as_secs_f64().max(0.001).ln());
        let drawn = self.draw(fastrand::Rng::f64);
        whole_millis((least + (most - least) * drawn).exp())
    }

    pub(super) fn pick<'a, T>(&self, of: &'a [T]) -> &'a T {
        &of[self.draw(|chance| chance.usize(0..of.len()))]
    }

    pub(super) fn bytes(&self) -> [u8; 32] {
        std::array::from_fn(|_| self.draw(|chance| chance.u8(..)))
    }
}

/// Spans are whole milliseconds, as tokio's clock has them.
fn whole_millis(secs: f64) -> Duration {
    Duration::from_millis(Duration::from_secs_f64(secs).as_millis().try_into().unwrap_or(u64::MAX))
}

/// A number that depends on nothing but the value.
pub(super) fn mixed(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}
