//! The beginning of a run: it is recorded as begun, with one write.
//!
//! Whoever records a run and dies before it has sent what follows leaves a run of which nothing is ever heard: who asks
//! for it again, and the sweeper, have it sent again.

use windlass_domain::definition::Definition;
use windlass_domain::limits::ACTIONS_PER_PAGE;
use windlass_domain::run::{Input, Run, RunStatus};
use windlass_domain::time::Timestamp;

use crate::Ports;
use crate::advance::fold;
use crate::effects::Effects;
use crate::pools::Pools;
use crate::ports::{Created, PortError};

/// A run that was recorded, or was there.
pub(crate) struct Begun {
    pub(crate) created: Created,
    /// As it was recorded by this call; of no use if it was there.
    pub(crate) run: Run,
    /// What is to be sent, if this call recorded it.
    pub(crate) effects: Effects,
}

/// Records a submitted run. One of a few actions begins at once. The start of a large one, which may have to send
/// thousands of messages, is left to the process manager; so is a start that ends an action, or the whole run: an attempt
/// that was not sent is found by the sweeper, but nobody looks again for an end that was not told, so it must be somebody's
/// to tell before it is recorded.
pub(crate) async fn begin(
    ports: &Ports,
    definition: &Definition,
    submitted: Run,
    now: Timestamp,
) -> Result<Begun, PortError> {
    let is_small = definition.actions.len() <= ACTIONS_PER_PAGE;
    let folded = is_small.then(|| fold(now, definition, &submitted, &[Input::Start], None));
    let Some(folded) = folded.filter(|folded| folded.run.open as usize == definition.actions.len()) else {
        let created = ports.runs.create(&submitted, &[]).await?;
        let effects = Effects::start_of(&submitted);
        return Ok(Begun { created, run: submitted, effects });
    };
    let created = ports.runs.create(&folded.run, &folded.events).await?;
    let effects = Effects::of(now, definition, &folded.run, &folded.commands, folded.events);
    Ok(Begun { created, run: folded.run, effects })
}

impl Begun {
    /// Sends what follows from the start, what is to be published first: once an attempt has been reported, nobody looks
    /// again at what the start had to tell.
    pub(crate) async fn send(mut self, ports: &Ports, pools: &Pools) -> Result<(), PortError> {
        self.effects.look_for_agents(pools).await;
        self.effects.publish(ports).await?;
        self.effects.send(ports).await
    }
}

/// Whether nothing has been heard of the run since it was recorded: its recorder may have died.
pub(crate) fn is_unheard_of(run: &Run) -> bool {
    run.is_unheard_of() && matches!(run.status, RunStatus::Submitted | RunStatus::Running)
}
