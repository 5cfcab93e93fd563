//! Recently read or written records, so that the store need not read and decode a run again for each of its inputs. A
//! reader checks the revision of one against the file, and a writer lets its commit check it. Each is on the disk: if the
//! file has the same revision, the reader need not wait for a sync.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use windlass_domain::ids::RunId;
use windlass_domain::run::Run;

/// Bytes of JSON that the cached records would have; in memory they take a few times that.
const MAX_BYTES: usize = 32 * 1024 * 1024;

/// Records by id, the least recently used given up first.
#[derive(Default)]
pub(crate) struct RunCache {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    entries: HashMap<RunId, Entry>,
    by_use: BTreeMap<u64, RunId>,
    uses: u64,
    bytes: usize,
}

struct Entry {
    run: Run,
    bytes: usize,
    used: u64,
}

impl RunCache {
    pub(crate) fn get(&self, id: RunId) -> Option<Run> {
        let mut state = self.lock();
        state.uses += 1;
        let used = state.uses;
        let entry = state.entries.get_mut(&id)?;
        let before = std::mem::replace(&mut entry.used, used);
        let run = entry.run.clone();
        state.by_use.remove(&before);
        state.by_use.insert(used, id);
        Some(run)
    }

    /// Keeps a record, unless a later one is kept. `bytes`: of its whole form.
    pub(crate) fn put(&self, run: Run, bytes: usize) {
        let mut state = self.lock();
        if state.entries.get(&run.id).is_none_or(|entry| entry.is_no_later_than(&run)) {
            state.keep(run, bytes);
        }
    }

    /// Replaces a kept record by a later one, of which `bytes` were written: the pages that did not change count as before.
    /// A record that was given up meanwhile is not kept, because nobody knows the size of all its pages.
    pub(crate) fn replace(&self, run: Run, bytes: usize) {
        let mut state = self.lock();
        let before = state.entries.get(&run.id).filter(|entry| entry.is_no_later_than(&run));
        if let Some(before) = before.map(|entry| entry.bytes) {
            state.keep(run, before.max(bytes));
        }
    }

    /// Forgets a record that is gone.
    pub(crate) fn remove(&self, id: RunId) {
        self.lock().remove(id);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    /// An id comes again: a caller may use a key once more when the run is gone.
    fn is_no_later_than(&self, run: &Run) -> bool {
        (self.run.submitted_at, self.run.revision) <= (run.submitted_at, run.revision)
    }
}

impl State {
    fn keep(&mut self, run: Run, bytes: usize) {
        self.remove(run.id);
        self.uses += 1;
        let used = self.uses;
        self.bytes += bytes;
        self.by_use.insert(used, run.id);
        self.entries.insert(run.id, Entry { run, bytes, used });
        while self.bytes > MAX_BYTES
            && let Some((_, oldest)) = self.by_use.first_key_value()
        {
            let oldest = *oldest;
            self.remove(oldest);
        }
    }

    fn remove(&mut self, id: RunId) {
        if let Some(entry) = self.entries.remove(&id) {
            self.bytes -= entry.bytes;
            self.by_use.remove(&entry.used);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;
    use uuid::Uuid;
    use windlass_domain::ids::TaskName;
    use windlass_domain::run::Origin;
    use windlass_domain::time::Timestamp;

    use super::*;

    fn run(number: u128, revision: u64) -> Run {
        let task = TaskName::new("t").expect("a name");
        let id = RunId::from_uuid(Uuid::from_u128(number));
        let run = Run::submitted(id, (task, 1), 1, Value::Null, Origin::Request, Timestamp::from_millis(0));
        Run { revision, ..run }
    }

    #[test]
    fn older_record_does_not_replace_later_one() {
        let cache = RunCache::default();
        cache.put(run(1, 5), 10);
        cache.put(run(1, 4), 10);
        assert_eq!(cache.get(run(1, 0).id).map(|run| run.revision), Some(5));
    }

    #[test]
    fn record_that_was_given_up_is_not_kept_by_its_changed_pages() {
        let cache = RunCache::default();
        cache.replace(run(1, 1), 10);
        assert!(cache.get(run(1, 0).id).is_none(), "the size of the rest is unknown");
        cache.put(run(1, 1), 100);
        cache.replace(run(1, 2), 10);
        assert_eq!(cache.get(run(1, 0).id).map(|run| run.revision), Some(2));
        assert_eq!(cache.lock().bytes, 100);
    }

    #[test]
    fn the_least_recently_used_is_given_up() {
        let cache = RunCache::default();
        cache.put(run(1, 0), MAX_BYTES / 2);
        cache.put(run(2, 0), MAX_BYTES / 2);
        cache.get(run(1, 0).id);
        cache.put(run(3, 0), MAX_BYTES / 2);
        let kept = [1, 2, 3].map(|number| cache.get(run(number, 0).id).is_some());
        assert_eq!(kept, [true, false, true]);
        cache.put(run(4, 0), MAX_BYTES + 1);
        assert!(cache.get(run(4, 0).id).is_none(), "larger than the cache");
        let state = cache.lock();
        assert_eq!((state.bytes, state.entries.len(), state.by_use.len()), (0, 0, 0));
    }
}
