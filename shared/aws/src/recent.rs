//! Recently used values, bounded in bytes. It drops the least recently used value first.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Values by key, shared by all holders.
pub(crate) struct Recent<K, V> {
    most_bytes: usize,
    state: Mutex<State<K, V>>,
}

struct State<K, V> {
    entries: HashMap<K, Entry<V>>,
    by_use: BTreeMap<u64, K>,
    uses: u64,
    bytes: usize,
}

struct Entry<V> {
    value: V,
    bytes: usize,
    used: u64,
}

impl<K: Hash + Eq + Copy, V: Clone> Recent<K, V> {
    pub(crate) fn new(most_bytes: usize) -> Self {
        let state = State { entries: HashMap::new(), by_use: BTreeMap::new(), uses: 0, bytes: 0 };
        Self { most_bytes, state: Mutex::new(state) }
    }

    pub(crate) fn get(&self, key: K) -> Option<V> {
        let mut state = self.lock();
        state.uses += 1;
        let used = state.uses;
        let entry = state.entries.get_mut(&key)?;
        let before = std::mem::replace(&mut entry.used, used);
        let value = entry.value.clone();
        state.by_use.remove(&before);
        state.by_use.insert(used, key);
        Some(value)
    }

    /// Keeps a value of about so many bytes, unless `keeps` says that the present value should stay.
    pub(crate) fn put_unless(&self, key: K, value: V, bytes: usize, keeps: impl FnOnce(&V) -> bool) {
        let mut state = self.lock();
        if state.entries.get(&key).is_some_and(|entry| keeps(&entry.value)) {
            return;
        }
        state.remove(&key);
        state.uses += 1;
        let used = state.uses;
        state.bytes += bytes;
        state.by_use.insert(used, key);
        state.entries.insert(key, Entry { value, bytes, used });
        while state.bytes > self.most_bytes
            && let Some((_, oldest)) = state.by_use.first_key_value()
        {
            let oldest = *oldest;
            state.remove(&oldest);
        }
    }

    /// Keeps a value of about so many bytes.
    pub(crate) fn put(&self, key: K, value: V, bytes: usize) {
        self.put_unless(key, value, bytes, |_| false);
    }

    fn lock(&self) -> MutexGuard<'_, State<K, V>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Hash + Eq, V> State<K, V> {
    fn remove(&mut self, key: &K) {
        if let Some(entry) = self.entries.remove(key) {
            self.bytes -= entry.bytes;
            self.by_use.remove(&entry.used);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_recently_used_is_given_up() {
        let recent = Recent::new(100);
        recent.put(1, 'a', 50);
        recent.put(2, 'b', 50);
        recent.get(1);
        recent.put(3, 'c', 50);
        assert_eq!([1, 2, 3].map(|key| recent.get(key)), [Some('a'), None, Some('c')]);
        recent.put(4, 'd', 101);
        assert_eq!(recent.get(4), None, "larger than all there may be");
        let state = recent.lock();
        assert_eq!((state.bytes, state.entries.len(), state.by_use.len()), (0, 0, 0));
    }

    #[test]
    fn a_value_may_stay() {
        let recent = Recent::new(100);
        recent.put(1, 5, 10);
        recent.put_unless(1, 4, 10, |there| *there > 4);
        assert_eq!(recent.get(1), Some(5));
        recent.put_unless(1, 6, 20, |there| *there > 6);
        assert_eq!((recent.get(1), recent.lock().bytes), (Some(6), 20));
    }
}
