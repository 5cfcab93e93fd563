//! The end of a world, held against the end of the same world without faults.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;
use windlass_domain::content::Content;
use windlass_domain::ids::{ActionIndex, RunId};
use windlass_domain::limits::CHECK_AFTER_MS;
use windlass_domain::run::{ActionStatus, RunStatus};

use super::catalogue::{SW10, SW11, SW19};
use super::witness::{Performed, Seen};
use super::world::Simulation;

/// How a run ended, as far as faults must not change it.
#[derive(Debug, PartialEq)]
struct End {
    status: RunStatus,
    output: Option<Value>,
    actions: Vec<(ActionStatus, u32, Option<Content>)>,
}

impl End {
    fn of(seen: &Seen) -> Self {
        let run = &seen.record;
        let action = |at| {
            let state = run.action(ActionIndex::from_usize(at));
            (state.status, state.attempt(), state.output.clone())
        };
        Self { status: run.status, output: run.output.clone(), actions: (0..run.actions.len()).map(action).collect() }
    }
}

/// Whether faults have cost an action so many agents that it was given up as poison: that is a promise, too.
fn is_quarantined(seen: &Seen) -> bool {
    let states = (0..seen.record.actions.len()).map(|at| seen.record.action(ActionIndex::from_usize(at)));
    states.filter_map(|state| state.error.as_ref()).any(|error| error.kind == "poison")
}

/// The events of a run, without those that name an attempt's agent and its time.
fn events(seen: &Seen) -> BTreeSet<String> {
    let passing = ["action.started", "action.progressed", "action.unserved"];
    let kept = seen.log.iter().filter(|event| !passing.contains(&event.kind.as_str()));
    kept.map(|event| format!("{} {:?} {:?} {}", event.kind, event.action, event.attempt, event.id)).collect()
}

/// Without faults everything holds, and nothing begins twice that did not wait; whether something was broken.
pub(super) fn look_at_calm(simulation: &Arc<Simulation>, calm: &Arc<Simulation>) -> bool {
    let (broken, again) = {
        let mut calm = calm.witness();
        (std::mem::take(&mut calm.broken), begun_again(&calm.performed))
    };
    let is_broken = !broken.is_empty() || again.is_some();
    let mut witness = simulation.witness();
    for broken in broken {
        witness.breaks(broken.invariant, format!("without faults: {}", broken.detail));
    }
    if let Some(again) = again {
        witness.breaks(SW19, again);
    }
    is_broken
}

/// An attempt that began twice, the first time while its message was too fresh for its agent to read the record.
fn begun_again(performed: &[Performed]) -> Option<String> {
    let is_at_once = |one: &Performed| one.queued.is_some_and(|at| one.began.since(at).0 <= CHECK_AFTER_MS);
    let mut first = BTreeMap::new();
    let mut again = performed.iter().filter(|one| {
        let before = first.entry((one.run, one.of.action, one.of.attempt)).or_insert(*one);
        !std::ptr::eq(*before, *one) && is_at_once(before)
    });
    again.next().map(|one| format!("run {}: {:?} begins again", one.run, one.of))
}

pub(super) fn compare(simulation: &Arc<Simulation>, calm: &Arc<Simulation>) {
    let mut found = Vec::new();
    {
        let given_up = simulation.host.limits_met().given_up;
        // An attempt whose queue gave its message up has failed for that. This is a promise, too.
        let is_given_up = |id: &RunId| given_up.iter().any(|body| body.contains(&id.to_string()));
        let (witness, calm) = (simulation.witness(), calm.witness());
        let ended = |runs: &BTreeMap<RunId, Seen>| runs.keys().copied().collect::<BTreeSet<_>>();
        for id in ended(&witness.runs).symmetric_difference(&ended(&calm.runs)) {
            found.push((SW10, format!("run {id} is in one of the worlds only")));
        }
        for (id, seen) in &witness.runs {
            let Some(other) = calm.runs.get(id).filter(|_| !is_quarantined(seen) && !is_given_up(id)) else { continue };
            let (is, would) = (End::of(seen), End::of(other));
            if is != would {
                found.push((SW10, format!("run {id} ends as {is:?}; without faults as {would:?}")));
            }
            let (are, would) = (events(seen), events(other));
            let (more, fewer): (Vec<_>, Vec<_>) = (are.difference(&would).collect(), would.difference(&are).collect());
            if !more.is_empty() || !fewer.is_empty() {
                found.push((SW11, format!("run {id} has {more:?} and lacks {fewer:?}")));
            }
        }
    }
    let mut witness = simulation.witness();
    for (invariant, detail) in found {
        witness.breaks(invariant, detail);
    }
}
