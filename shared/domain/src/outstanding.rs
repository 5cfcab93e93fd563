//! The effects of inputs, read from the record: events to publish and messages to resend. This module decides nothing.
//!
//! Every part of the record is stamped with the commit that changed it last, and with the source of that change. So the
//! record shows the effects of an input until a later input changes the same part. This serves inputs that come again,
//! the sweeper, and the history that a host without a log of events shows ([`crate::history`]).

use crate::attempt::{ActionStatus, Fate, Kill, Wait};
use crate::definition::Definition;
use crate::ids::ActionIndex;
use crate::limits::{CANCEL_GRACE_MS, MAX_DELAY_MS, SWEPT_AGAIN_WITHIN_MS};
use crate::run::{CANCELLED, Command, Fact, Origin, Phase, Reading, Run, Source, Stop, next_mark, resend};
use crate::time::{Millis, Timestamp};
use crate::told::{kill_of, lacking, of_action, of_cancellation, of_kill, of_start, of_status, of_unserved};

/// The events to publish again, and the messages to resend.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Outstanding {
    /// Facts whose events must be published.
    pub facts: Vec<Fact>,
    /// The messages to resend, timers and stops among them.
    pub commands: Vec<Command>,
    /// Places whose values these tell and that are not loaded. If there is one, they are found again once it is.
    pub wanted: crate::content::Wanted,
}

impl Outstanding {
    /// The message of an action, or its timer.
    fn send_of(&mut self, definition: &Definition, run: &Run, action: ActionIndex, now: Timestamp) {
        let (state, mut reading) = (run.action(action), Reading::default());
        // No agent is to begin it any more; if none answers it, time ends it.
        let is_stopping = run.status.phase() == Phase::Ending || state.kill.is_some();
        self.commands.extend(match state.wait() {
            Some(Wait::Timer(at)) => wake(Some(action), at, now),
            Some(Wait::Pool) if !is_stopping => resend(definition, run, action, now, &mut reading),
            Some(Wait::Pool) | None => None,
        });
        self.wanted.extend(reading.wanted);
    }
}

/// The effects of an input with that source that still stand, of commits up to `committed`.
pub fn of_source(definition: &Definition, run: &Run, source: Source, committed: u64, now: Timestamp) -> Outstanding {
    let is_committed = |revision: u64| (1..=committed).contains(&revision);
    let swept_since = now.minus(Millis(SWEPT_AGAIN_WITHIN_MS));
    let mut found = Outstanding::default();
    if matches!(source, Source::Start | Source::Sweep | Source::Retry) && is_committed(run.start_revision) {
        found.facts.extend(of_start(run));
        found.commands.extend(run.deadline.and_then(|at| wake(None, at, now)));
    }
    for action in definition.indexes() {
        let state = run.action(action);
        let is_of_kill = |kill: &&Kill| source == Source::Action(action) && is_committed(kill.revision);
        if let Some(kill) = kill_of(run, action).filter(is_of_kill) {
            found.facts.push(of_kill(run, action, kill));
            let grace = kill.at.plus(Millis(CANCEL_GRACE_MS));
            found.commands.extend(stop(definition, run, action).into_iter().chain(wake(Some(action), grace, now)));
        }
        if source == Source::Unserved && state.unserved.is_some_and(|unserved| is_committed(unserved.revision)) {
            found.facts.extend(of_unserved(definition, run, action));
        }
        let is_its = state.source == source.seen_by(action) && is_committed(state.revision);
        // A sweep that resent an attempt changed nothing about it.
        let is_marked = |since| next_mark(since, swept_since) <= now;
        if is_its || source == Source::Sweep && state.waits_since().is_some_and(is_marked) {
            found.facts.extend(of_action(definition, run, action));
            found.send_of(definition, run, action, now);
        }
    }
    let cancelled = run.cancellation.as_ref().filter(|why| why.source == source && is_committed(why.revision));
    found.facts.extend(cancelled.map(of_cancellation));
    if run.status_source == source && is_committed(run.status_revision) {
        found.facts.extend(of_status(run));
        found.commands.extend(sends_of_status(definition, run, now));
    }
    found.wanted.extend(lacking(run, &found.facts));
    found
}

fn sends_of_status(definition: &Definition, run: &Run, now: Timestamp) -> Vec<Command> {
    match run.status.phase() {
        Phase::Ending => {
            let grace = run.cancellation.as_ref().map(|why| why.at.plus(Millis(CANCEL_GRACE_MS)));
            let stops = definition.indexes().filter_map(|action| stop(definition, run, action));
            stops.chain(grace.and_then(|at| wake(None, at, now))).collect()
        }
        Phase::Ended if matches!(run.origin, Origin::Schedule { .. }) => vec![Command::Ended],
        Phase::Open | Phase::Ended => Vec::new(),
    }
}

/// The stop for the owner of an attempt that must not go on.
fn stop(definition: &Definition, run: &Run, action: ActionIndex) -> Option<Command> {
    let is_performed = run.action(action).status == ActionStatus::Running;
    let stop = Stop::of_owner(definition, run, action, Fate::Report, CANCELLED).filter(|_| is_performed);
    Some(Command::Stop(Box::new(stop?)))
}

fn wake(action: Option<ActionIndex>, at: Timestamp, now: Timestamp) -> Option<Command> {
    (at.since(now).0 <= MAX_DELAY_MS).then_some(Command::Wake { action, at })
}

#[cfg(test)]
mod tests;
