//! Where the states of a run stand: in its head or in pages. This module is pure: it plans the writes, and writes
//! nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use windlass_domain::ids::ActionIndex;
use windlass_domain::limits::ACTIONS_PER_PAGE;
use windlass_domain::run::{Page, Pages, Run};
use windlass_domain::time::Timestamp;

use crate::table::columns::Columns;
use crate::table::held::Outgoing;
use crate::table::packing;
use crate::table::place::Place;

/// How much of a run's states may stand in its head.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Room {
    /// Packed bytes of the states.
    bytes: usize,
    /// States, however little they pack to: each is decoded with every load.
    states: usize,
}

impl Room {
    /// Bytes that are written for one unit
    /// (<https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/read-write-operations.html>).
    const UNIT_BYTES: usize = 1024;
    /// With less room than this, states would be spilled to their pages with nearly every transition.
    const LEAST_BYTES: usize = 450;
    const MAX_STATES: usize = 256;

    /// The room beside the other parts of the head: the rest of its unit, or of the next. A head that fills one unit
    /// was the cheapest in the measurements (`a_wide_fan_costs_little`). Every transition writes the head, so a larger
    /// one costs more. A smaller one writes pages too often.
    fn beside(bytes: usize) -> Self {
        let whole = (bytes + Self::LEAST_BYTES).div_ceil(Self::UNIT_BYTES) * Self::UNIT_BYTES;
        Self { bytes: whole - bytes, states: Self::MAX_STATES }
    }

    fn half(self) -> Self {
        Self { bytes: self.bytes / 2, states: self.states / 2 }
    }

    /// Whether these states are more than there is room for.
    fn is_over(self, run: &Run, recent: &BTreeSet<usize>) -> bool {
        recent.len() > self.states || packed_bytes(run, recent) > self.bytes
    }
}

/// Where the states of a run stand.
#[derive(Debug, Clone, Default)]
pub(crate) struct Layout {
    /// For each page, its place and its stored contents; none: it was never stored.
    pub(crate) pages: Vec<Option<(Place, Arc<Page>)>>,
    /// The states that are newer than their stored page.
    pub(crate) recent: BTreeSet<usize>,
}

/// The parts of a run that one commit writes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Pages to be written.
    pub(crate) pages: Vec<usize>,
    /// The states that then stand in the head.
    pub(crate) recent: BTreeSet<usize>,
}

/// The states that are not the same in both.
pub(crate) fn differing(before: &Pages, after: &Pages) -> Vec<usize> {
    let mut differing = Vec::new();
    for (number, page) in after.shared().iter().enumerate() {
        let old = before.shared().get(number);
        if old.is_some_and(|old| Arc::ptr_eq(old, page)) {
            continue;
        }
        let changed = page.iter().enumerate().filter(|(at, state)| old.and_then(|old| old.get(*at)) != Some(*state));
        differing.extend(changed.map(|(at, _)| number * ACTIONS_PER_PAGE + at));
    }
    differing
}

/// The columns of those states.
pub(crate) fn columns(run: &Run, states: &BTreeSet<usize>, outgoing: &mut Outgoing) -> Columns {
    let states = states.iter().map(|at| (*at, run.action(ActionIndex::from_usize(*at))));
    Columns::of(states, run.submitted_at, outgoing)
}

impl Layout {
    /// Where each page is stored.
    pub(crate) fn directory(&self) -> Vec<Option<Place>> {
        self.pages.iter().map(|page| page.as_ref().map(|(place, _)| *place)).collect()
    }

    /// Plans the write of `after`. `changed` lists the states that differ, `bytes_beside` is the head's size without
    /// any state. With `all`, the plan rewrites every stored page.
    pub(crate) fn plan(&self, after: &Run, changed: Vec<usize>, all: bool, bytes_beside: usize) -> Plan {
        let room = Room::beside(bytes_beside);
        let mut recent = self.recent.clone();
        recent.extend(changed);
        let stored = self.pages.iter().enumerate().filter(|(_, page)| all && page.is_some());
        let mut plan = Plan { pages: stored.map(|(number, _)| number).collect(), recent };
        plan.recent.retain(|at| !plan.pages.contains(&(at / ACTIONS_PER_PAGE)));
        if room.is_over(after, &plan.recent) {
            plan.spill(after, room.half());
        }
        plan.pages.sort_unstable();
        plan
    }
}

fn packed_bytes(run: &Run, recent: &BTreeSet<usize>) -> usize {
    if recent.is_empty() {
        return 0;
    }
    let columns = columns(run, recent, &mut Outgoing::default());
    packing::pack(&serde_json::to_vec(&columns).unwrap_or_default()).len()
}

impl Plan {
    /// Moves states to their pages until the rest fits the head. It begins with the pages that have the most settled
    /// states, then takes those with the most states.
    fn spill(&mut self, run: &Run, room: Room) {
        let mut pages: BTreeMap<usize, (usize, usize)> = BTreeMap::new();
        for at in &self.recent {
            let weight = pages.entry(at / ACTIONS_PER_PAGE).or_default();
            weight.0 += usize::from(run.action(ActionIndex::from_usize(*at)).status.is_settled());
            weight.1 += 1;
        }
        let mut pages: Vec<(usize, (usize, usize))> = pages.into_iter().collect();
        pages.sort_by_key(|(_, weight)| *weight);
        while room.is_over(run, &self.recent) {
            // Measuring packs the rest, so it happens once for each quarter that leaves.
            let enough = (self.recent.len() * 3 / 4).min(self.recent.len() - 1);
            while self.recent.len() > enough
                && let Some((page, _)) = pages.pop()
            {
                self.recent.retain(|at| at / ACTIONS_PER_PAGE != page);
                self.pages.push(page);
            }
        }
    }
}

/// When the sweeper must look at the written run; none: the sweeper finds it otherwise, or need not look.
///
/// The sweeper finds a young run by its submission time in the index of runs. So most runs, which end soon, are never
/// in this index. An older run stands at the minute of its wake, so that transitions in one minute do not write the
/// entry again.
pub(crate) fn due_at(run: &Run, now: Timestamp) -> Option<Timestamp> {
    if run.status.is_final() {
        return None;
    }
    if now.since(run.submitted_at).0 >= YOUNG_MS {
        return run.wake_at.map(whole_minute);
    }
    run.wake_at.filter(|at| at.since(now).0 > windlass_domain::limits::MAX_DELAY_MS)
}

/// The first whole minute that is not before that.
pub(crate) fn whole_minute(at: Timestamp) -> Timestamp {
    const MINUTE_MS: i64 = 60_000;
    let minutes = at.as_millis().saturating_add(MINUTE_MS - 1).div_euclid(MINUTE_MS);
    Timestamp::from_millis(minutes.saturating_mul(MINUTE_MS))
}

/// Runs younger than this are not in the index of due runs. The sweeper looks at a run when it is two minutes old. The
/// margin is for a writer whose clock is some seconds behind.
const YOUNG_MS: u64 = 100_000;

#[cfg(test)]
mod tests;
