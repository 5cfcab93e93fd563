//! The history of a run, as far as its record tells: for hosts that keep no log of events.

use crate::attempt::ActionStatus;
use crate::content::Wanted;
use crate::definition::Definition;
use crate::ids::ActionIndex;
use crate::run::{Fact, FactKind, Run};
use crate::told::{at, kill_of, lacking, of_action, of_cancellation, of_kill, of_start, of_status, of_unserved};

/// A fact, and its place: facts that later commits add have higher places. A changed fact moves to the place of its
/// commit, so a reader may meet it twice, with the same id.
#[derive(Debug, Clone, PartialEq)]
pub struct Placed {
    /// The revision of the commit that last changed the fact's subject, and that subject.
    pub place: u64,
    /// The fact.
    pub fact: Fact,
}

/// Actions of one revision: more than there may be.
const PLACES: u64 = 1 << 20;
/// More than the number of facts that the record holds of one action's newest attempt.
const KINDS: u64 = 1 << 2;

/// The facts of a run that its record still holds. The record keeps only the newest attempt of each action, so the
/// facts of earlier attempts are missing.
pub fn history(definition: &Definition, run: &Run) -> Vec<Placed> {
    let mut placed = Vec::new();
    let mut put = |base: u64, facts: Vec<Fact>| {
        placed.extend((base..).zip(facts).map(|(place, fact)| Placed { place, fact }));
    };
    for action in definition.indexes() {
        let state = run.action(action);
        put(state.revision * PLACES + u64::from(action.0 + 1) * KINDS, life_of(definition, run, action));
        if let Some(unserved) = state.unserved {
            // After that it was queued: the same commit may have said both.
            let place = unserved.revision * PLACES + u64::from(action.0 + 2) * KINDS - 1;
            put(place, of_unserved(definition, run, action).into_iter().collect());
        }
    }
    if let Some(at) = run.started_at {
        let fact = Fact::told(at, FactKind::RunStarted { deadline: run.deadline });
        // A retried run does not keep the revision of its first start, which was among the first.
        let revision = if run.retries == 0 { run.start_revision } else { 1 };
        put(revision * PLACES, vec![fact]);
    }
    if run.retries > 0 {
        put(run.start_revision * PLACES + PLACES - 2 * KINDS, of_start(run).into_iter().collect());
    }
    if let Some(why) = &run.cancellation {
        put(why.revision * PLACES + PLACES - KINDS, vec![of_cancellation(why)]);
    }
    put(run.status_revision * PLACES + PLACES - KINDS + 1, of_status(run).into_iter().collect());
    placed.sort_by_key(|placed| placed.place);
    placed
}

/// The places whose values these facts tell and that are not loaded. Until they are, the facts tell none.
pub fn wanted(run: &Run, facts: &[Placed]) -> Wanted {
    lacking(run, facts.iter().map(|placed| &placed.fact)).collect()
}

/// The facts of the newest attempt: that it was queued, that it began, that a caller killed it, how it ended.
fn life_of(definition: &Definition, run: &Run, action: ActionIndex) -> Vec<Fact> {
    let state = run.action(action);
    let of = at(run, action);
    let mut facts = Vec::new();
    if let Some(at) = state.queued_at.filter(|_| state.status != ActionStatus::Queued) {
        facts.push(Fact::told(at, FactKind::ActionQueued { of, issue: 0 }));
    }
    if let Some(owner) = state.owner.clone().filter(|_| state.status != ActionStatus::Running) {
        let (at, delivery, fence) = (owner.started_at, state.last, state.fence);
        facts.push(Fact::told(at, FactKind::ActionStarted { of, delivery, owner, fence }));
    }
    facts.extend(kill_of(run, action).map(|kill| of_kill(run, action, kill)));
    facts.extend(of_action(definition, run, action));
    facts
}
