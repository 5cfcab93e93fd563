//! The beginning of a run: it is recorded as begun, with one write.
//!
//! Whoever records a run and dies before it has sent what follows leaves a run of which nothing is ever heard: who asks
//! for it again, and the sweeper, have it sent again.

use windlass_domain::definition::Definition;
use windlass_domain::limits::ACTIONS_PER_PAGE;
use windlass_domain::run::{Input, Run, RunStatus};
use windlass_domain::time::{Millis, Timestamp};

use crate::Ports;
use crate::advance::fold;
use crate::effects::Effects;
use crate::pools::Pools;
use crate::ports::{Created, PortError};

/// How long a begun run may be without any report before its start is sent again.
const UNHEARD_OF: Millis = Millis::from_secs(10);

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

/// Has the process manager send the start of a run again of which nothing has been heard: its recorder may have died.
/// Most likely it lives, and the first attempts are with their agents: a run that has begun is given time to be heard of.
pub(crate) async fn start_again(ports: &Ports, run: &Run) -> Result<(), PortError> {
    if !run.is_unheard_of() || !matches!(run.status, RunStatus::Submitted | RunStatus::Running) {
        return Ok(());
    }
    let mut effects = Effects::start_of(run);
    if let Some(begun) = run.started_at.filter(|_| run.status == RunStatus::Running) {
        let age = ports.clock.now().since(begun);
        let delay = Millis(UNHEARD_OF.0.saturating_sub(age.0));
        effects.messages.iter_mut().for_each(|(_, message)| message.delay = delay);
    }
    effects.send(ports).await
}
