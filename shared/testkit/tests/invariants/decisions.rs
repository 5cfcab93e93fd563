//! Spoilt decisions.

use serde_json::json;
use windlass_domain::decide::{Command, Decision};
use windlass_domain::definition::Definition;
use windlass_domain::ids::ActionIndex;
use windlass_domain::invariants::{EventIds, check_step};
use windlass_domain::limits::SUSPECT_LOSSES;
use windlass_domain::run::{
    ActionAt, ActionState, ActionStatus, CancelCause, Event, EventKind, Input, Origin, Progress, Run, RunStatus, apply,
};
use windlass_domain::time::{Millis, Timestamp};
use windlass_testkit::generate::agent_of;
use windlass_testkit::sketch::{RETRIED, RetrySketch};
use windlass_testkit::world::World;

use crate::records::{change, names};
use crate::steps::{chain, completed, diamond, failed, finish, give, newest, of_one, started, succeeded, world};

/// What stood before, what was asked, and what was decided.
pub(crate) struct Step {
    pub(crate) definition: Definition,
    pub(crate) before: Run,
    pub(crate) input: Input,
    pub(crate) decision: Decision,
}

impl Step {
    pub(crate) fn of(world: &World, input: Input) -> Self {
        let decision = world.ask(&input).expect("accepted");
        Self { definition: world.definition.clone(), before: world.run.clone(), input, decision }
    }

    pub(crate) fn broken(&self) -> String {
        names(&check_step(&self.definition, &self.before, &self.input, &self.decision))
    }

    /// The events, of which the record is made again.
    pub(crate) fn refold(&mut self) {
        let mut run = self.before.clone();
        self.decision.events.iter().for_each(|event| apply(&mut run, event));
        run.wake_at = self.decision.run.wake_at;
        self.decision.run = run;
    }

    pub(crate) fn before(&mut self, at: u32, spoil: impl FnOnce(&mut ActionState)) {
        change(&mut self.before, at, spoil);
    }

    pub(crate) fn push(&mut self, kind: EventKind) {
        let at = self.decision.events.last().expect("it decides something").at;
        self.decision.events.push(Event { at, kind });
    }

    pub(crate) fn event(&mut self, spoil: impl Fn(&mut EventKind)) {
        self.decision.events.iter_mut().for_each(|event| spoil(&mut event.kind));
    }
}

/// What is asked of that world breaks nothing; once it is spoilt, and its record made again of its events, it breaks
/// exactly these.
pub(crate) fn breaks(world: &World, input: &Input, expected: &str, spoil: impl FnOnce(&mut Step)) {
    let mut step = Step::of(world, input.clone());
    assert_eq!(step.broken(), "");
    spoil(&mut step);
    step.refold();
    assert_eq!(step.broken(), expected, "{:#?}", step.decision.events);
}

pub(crate) fn begun() -> World {
    let mut world = world(&diamond());
    give(&mut world, &Input::Start);
    world
}

pub(crate) fn running() -> World {
    let mut world = begun();
    let of = newest(&world, "a0");
    started(&mut world, of);
    world
}

pub(crate) fn first(world: &World) -> ActionAt {
    newest(world, "a0")
}

#[test]
fn the_record_is_what_its_events_make_of_it() {
    let mut step = Step::of(&begun(), completed(&begun(), "a0", succeeded()));
    step.decision.run.open += 1;
    assert_eq!(step.broken(), "SG20");
    let mut nothing = Step::of(&begun(), Input::Sweep { since: begun().now });
    assert_eq!(nothing.decision.events, []);
    nothing.decision.run.wake_at = Some(begun().now);
    assert_eq!(nothing.broken(), "");
    nothing.decision.run.open += 1;
    assert_eq!(nothing.broken(), "SG20 SG30");
}

#[test]
fn attempts_and_fences_grow_one_by_one() {
    let spoilt = |spoil: fn(&mut ActionState)| {
        let mut step = Step::of(&begun(), completed(&begun(), "a0", succeeded()));
        change(&mut step.decision.run, 3, spoil);
        step.broken()
    };
    assert_eq!(spoilt(|state| state.attempt += 1), "SG20");
    assert_eq!(spoilt(|state| state.fence += 1), "SG20");
    assert_eq!(spoilt(|state| state.attempt += 2), "SG20 SG23");
    assert_eq!(spoilt(|state| state.fence += 2), "SG20 SG23");
}

/// Whoever stands in a record that was never queued has nothing to stop.
#[test]
fn nobody_stops_an_attempt_that_never_was() {
    let input = completed(&begun(), "a0", succeeded());
    breaks(&begun(), &input, "SG26", |step| {
        step.before(3, |state| state.agent = Some(agent_of(1)));
        let of = ActionAt { action: ActionIndex(3), attempt: 0, fence: 0 };
        step.decision.commands.push(Command::Stop { agent: agent_of(1), of });
    });
}

#[test]
fn what_has_ended_changes_by_a_retry_alone() {
    let mut ended = world(&chain(2));
    give(&mut ended, &Input::Start);
    finish(&mut ended, "a0", failed(RETRIED));
    let retry = Input::Retry { retries: 0 };
    breaks(&ended, &retry, "SG21 SG22", |step| step.input = Input::Retry { retries: 1 });
    breaks(&ended, &retry, "SG21 SG22", |step| step.input = Input::Start);
    let mut half = begun();
    finish(&mut half, "a0", succeeded());
    let input = completed(&half, "a1", succeeded());
    let mut step = Step::of(&half, input);
    change(&mut step.decision.run, 0, |state| state.progress_number = 1);
    assert_eq!(step.broken(), "SG20 SG22");
    let ready = EventKind::ActionReady { action: ActionIndex(2) };
    let input = completed(&half, "a1", succeeded());
    breaks(&half, &input, "SG22", |step| step.push(ready));
}

#[test]
fn who_is_ready_was_waiting() {
    let input = completed(&begun(), "a0", succeeded());
    let ready = || EventKind::ActionReady { action: ActionIndex(3) };
    breaks(&begun(), &input, "", |step| step.push(ready()));
    breaks(&begun(), &input, "SG22", |step| {
        step.push(ready());
        step.push(ready());
    });
}

#[test]
fn attempts_are_queued_when_they_may_be() {
    let world = begun();
    let input = completed(&world, "a0", succeeded());
    let now = world.now;
    breaks(&world, &input, "", |step| step.definition.max_parallel = Some(2));
    breaks(&world, &input, "SG24", |step| step.definition.max_parallel = Some(1));
    breaks(&world, &input, "", |step| step.before.deadline = Some(now.plus(Millis(1))));
    breaks(&world, &input, "SG24", |step| step.before.deadline = Some(now));
    breaks(&world, &input, "SG24", |step| step.before.status = RunStatus::Paused);
    breaks(&world, &input, "SG24", |step| step.decision.events.rotate_left(1));
    breaks(&world, &input, "SG23 SG24", |step| {
        let last = step.decision.events.last().expect("an event").kind.clone();
        step.push(last);
    });
}

#[test]
fn a_decision_makes_one_attempt_and_one_fence() {
    let world = begun();
    let input = completed(&world, "a0", succeeded());
    let queued = |attempt, fence| {
        move |kind: &mut EventKind| {
            if let EventKind::ActionQueued { of } = kind
                && of.action == ActionIndex(1)
            {
                (of.attempt, of.fence) = (attempt, fence);
            }
        }
    };
    breaks(&world, &input, "", |step| step.event(queued(1, 1)));
    breaks(&world, &input, "SG23 SG25 SG26", |step| step.event(queued(2, 1)));
    breaks(&world, &input, "SG23 SG25 SG26", |step| step.event(queued(1, 2)));
}

#[test]
fn what_is_queued_is_sent_once_and_whole() {
    let world = begun();
    let input = completed(&world, "a0", succeeded());
    let performed = |spoil: fn(&mut windlass_domain::decide::Perform)| {
        move |step: &mut Step| {
            for command in &mut step.decision.commands {
                if let Command::Perform(perform) = command {
                    spoil(perform);
                }
            }
        }
    };
    let other = "elsewhere".parse().expect("a pool");
    breaks(&world, &input, "SG25", |step| step.decision.commands.truncate(1));
    breaks(&world, &input, "SG25", |step| step.decision.commands.extend_from_within(..1));
    breaks(&world, &input, "SG25", performed(|perform| perform.claim = true));
    breaks(&world, &input, "SG26", |step| {
        let Some(Command::Perform(perform)) = step.decision.commands.first_mut() else { panic!("it is sent") };
        perform.pool = other;
    });
    breaks(&world, &input, "SG26", performed(|perform| perform.timeout = Some(Millis(1))));
    breaks(&world, &input, "SG26", performed(|perform| perform.queued_at = Timestamp::from_millis(1)));
    // One that cost agents is to be claimed.
    let lost = |number: usize| (1..).take(number).collect::<Vec<u32>>();
    for (number, expected) in [(SUSPECT_LOSSES - 1, ""), (SUSPECT_LOSSES, "SG25"), (SUSPECT_LOSSES + 1, "SG25")] {
        breaks(&world, &input, expected, |step| step.before(1, |state| state.lost = lost(number)));
    }
}

#[test]
fn what_is_sent_again_is_queued_and_to_be_claimed() {
    let mut world = begun();
    let mut later = completed(&world, "a0", succeeded());
    give(&mut world, &later);
    world.pass(Millis::from_secs(3600));
    let since = world.now;
    world.pass(Millis::from_secs(3600));
    later = Input::Sweep { since };
    let claims = |claim| {
        move |step: &mut Step| {
            assert!(!step.decision.commands.is_empty());
            for command in &mut step.decision.commands {
                if let Command::Perform(perform) = command {
                    perform.claim = claim;
                }
            }
        }
    };
    breaks(&world, &later, "", claims(true));
    breaks(&world, &later, "SG25", claims(false));
    breaks(&world, &later, "SG25", |step| {
        step.before(1, |state| {
            (state.status, state.started_at, state.agent) = (ActionStatus::Running, Some(since), Some(agent_of(1)));
        });
    });
    breaks(&world, &later, "SG26", |step| step.before(1, |state| state.fence += 1));
}

#[test]
fn a_stop_is_of_who_has_the_attempt() {
    let world = running();
    let cancel = Input::Cancel { reason: "enough".to_owned(), cause: CancelCause::Request, retries: 0 };
    let stop = |spoil: fn(&mut ActionAt, &mut windlass_domain::ids::AgentId)| {
        move |step: &mut Step| {
            let stops = step.decision.commands.iter_mut().filter_map(|command| match command {
                Command::Stop { agent, of } => Some((of, agent)),
                Command::Perform(_) | Command::Wake { .. } | Command::Ended => None,
            });
            let told = stops.map(|(of, agent)| spoil(of, agent)).count();
            assert_eq!(told, 1);
        }
    };
    breaks(&world, &cancel, "", stop(|_, _| {}));
    breaks(&world, &cancel, "SG26", stop(|_, agent| *agent = agent_of(9)));
    breaks(&world, &cancel, "SG26", stop(|of, _| of.attempt = 0));
    breaks(&world, &cancel, "SG26", stop(|of, _| of.fence += 1));
    // Who lost the attempt by this decision is told as well.
    let claim = Input::Claim { of: first(&world), agent: agent_of(2), received: 2, copy: 0, again: false };
    breaks(&world, &claim, "", stop(|_, _| {}));
    breaks(&world, &claim, "", stop(|of, agent| (of.fence, *agent) = (2, agent_of(2))));
    breaks(&world, &claim, "SG26", stop(|_, agent| *agent = agent_of(9)));
}

#[test]
fn a_retry_is_awaited() {
    let mut world = world(&of_one(RetrySketch::limited(2)));
    give(&mut world, &Input::Start);
    let input = completed(&world, "a0", failed(RETRIED));
    let due = |step: &Step| step.decision.run.action(ActionIndex(0)).retry_at.expect("it is retried");
    breaks(&world, &input, "", |step| step.decision.commands.clear());
    breaks(&world, &input, "", |step| step.decision.run.wake_at = None);
    breaks(&world, &input, "SG27", |step| {
        step.decision.commands.clear();
        step.decision.run.wake_at = None;
    });
    breaks(&world, &input, "SG27", |step| {
        step.decision.commands.clear();
        step.decision.run.wake_at = Some(due(step).plus(Millis(1)));
    });
    breaks(&world, &input, "SG27", |step| {
        step.decision.commands = vec![Command::Wake { at: due(step).plus(Millis(1)) }];
        step.decision.run.wake_at = None;
    });
}

#[test]
fn an_attempt_has_one_end_under_its_newest_fence() {
    let world = running();
    // What waits for a retry may fail before it is queued; it can not succeed.
    for (outcome, of_a_retry) in [(succeeded(), "SG28"), (failed(RETRIED), "")] {
        let input = completed(&world, "a0", outcome);
        breaks(&world, &input, "SG28", |step| step.before(0, |state| state.fence = 2));
        breaks(&world, &input, "SG28", |step| step.before(0, |state| state.attempt = 2));
        breaks(&world, &input, of_a_retry, |step| {
            step.before(0, |state| state.status = ActionStatus::RetryWaiting);
        });
    }
    let progressed = Input::Progressed {
        of: first(&world),
        number: 1,
        progress: Progress { percent: Some(7.0), message: None },
        checkpoint: Some(json!(7)),
    };
    breaks(&world, &progressed, "SG28", |step| step.before(0, |state| state.status = ActionStatus::Queued));
    breaks(&world, &progressed, "SG28 SG32", |step| step.before(0, |state| state.fence = 2));
    breaks(&world, &progressed, "SG28 SG32", |step| step.before(0, |state| state.status = ActionStatus::RetryWaiting));
    let begun = begun();
    let pool = begun.definition.action(ActionIndex(0)).pool.clone();
    let unserved = Input::Unserved { pool, since: begun.now };
    breaks(&begun, &unserved, "SG28", |step| step.before(0, |state| state.status = ActionStatus::Running));
    breaks(&begun, &unserved, "SG28", |step| step.before(0, |state| state.fence = 2));
    breaks(&begun, &unserved, "SG28", |step| {
        let told = step.decision.events[0].clone();
        step.decision.events.push(told);
    });
}

#[test]
fn a_run_is_paused_and_resumed_as_its_asker_saw_it() {
    let mut world = begun();
    let pause = |pauses, retries| Input::Pause { pauses, retries };
    let number = |to: u32| {
        move |step: &mut Step| {
            step.event(|kind| {
                if let EventKind::RunPaused { number } | EventKind::RunResumed { number } = kind {
                    *number = to;
                }
            });
        }
    };
    breaks(&world, &pause(0, 0), "SG35", |step| step.input = pause(1, 0));
    breaks(&world, &pause(0, 0), "SG35", |step| step.input = pause(0, 1));
    breaks(&world, &pause(0, 0), "SG35", |step| step.input = Input::Wake);
    breaks(&world, &pause(0, 0), "SG35", |step| step.before.status = RunStatus::Submitted);
    breaks(&world, &pause(0, 0), "SG35", number(2));
    give(&mut world, &pause(0, 0));
    let resume = |pauses| Input::Resume { pauses };
    breaks(&world, &resume(1), "SG35", |step| step.input = resume(0));
    breaks(&world, &resume(1), "SG35", |step| step.input = Input::Wake);
    breaks(&world, &resume(1), "SG35", |step| step.before.status = RunStatus::Cancelling);
    breaks(&world, &resume(1), "SG35", number(2));
}

#[test]
fn an_end_is_the_last_and_is_said_where_a_turn_waits_for_it() {
    let mut plain = world(&chain(1));
    give(&mut plain, &Input::Start);
    let mut scheduled = plain_of_schedule();
    give(&mut scheduled, &Input::Start);
    let input = completed(&plain, "a0", succeeded());
    breaks(&plain, &input, "SG29", |step| step.decision.commands.push(Command::Ended));
    breaks(&scheduled, &input, "SG29", |step| step.decision.commands.retain(|command| *command != Command::Ended));
    breaks(&scheduled, &input, "SG29", |step| step.decision.commands.push(Command::Ended));
    for world in [&plain, &scheduled] {
        breaks(world, &input, "SG29 SG35", |step| step.push(EventKind::RunResumed { number: 0 }));
        breaks(world, &input, "SG29", |step| {
            let end = step.decision.events.last().expect("an end").clone();
            step.decision.events.push(end);
        });
    }
    // Before its end it is not said.
    let started = Input::Started { of: first(&scheduled), agent: agent_of(1), started_at: scheduled.now };
    breaks(&scheduled, &started, "SG29", |step| step.decision.commands.push(Command::Ended));
    // After its end it may be said again, once.
    give(&mut scheduled, &input);
    let again = Step::of(&scheduled, input.clone());
    assert_eq!((again.decision.events.len(), again.broken().as_str()), (0, ""));
    assert!(again.decision.commands.contains(&Command::Ended));
    breaks(&scheduled, &input, "SG29", |step| step.decision.commands.push(Command::Ended));
}

fn plain_of_schedule() -> World {
    World::new(chain(1).definition(), Origin::Schedule { nominal: Timestamp::from_millis(0) }, "scheduled")
}

#[test]
fn a_run_is_cancelled_by_who_asks_for_this_life_of_it() {
    let world = running();
    let cancel = Input::Cancel { reason: "enough".to_owned(), cause: CancelCause::Request, retries: 0 };
    let other = |cause, retries| Input::Cancel { reason: "enough".to_owned(), cause, retries };
    breaks(&world, &cancel, "SG31", |step| step.input = other(CancelCause::Overlap, 0));
    breaks(&world, &cancel, "SG31", |step| step.input = other(CancelCause::Request, 1));
    breaks(&world, &cancel, "SG31", |step| step.input = Input::Wake);
    breaks(&world, &cancel, "", |step| {
        step.input = Input::Wake;
        step.event(|kind| {
            if let EventKind::RunCancelling { cause, .. } = kind {
                *cause = CancelCause::Deadline;
            }
        });
    });
}

#[test]
fn no_two_events_have_one_id() {
    let world = begun();
    let input = completed(&world, "a0", succeeded());
    let decision = world.ask(&input).expect("accepted");
    let mut ids = EventIds::default();
    assert_eq!(ids.check_decision(&world.run, &decision), []);
    let found = ids.check_decision(&world.run, &decision);
    assert_eq!((names(&found).as_str(), found.len()), ("SG40", decision.events.len()));
    // What nobody is told of has no id of its own.
    let claim = Input::Claim { of: first(&running()), agent: agent_of(2), received: 2, copy: 0, again: false };
    let mut step = Step::of(&running(), claim);
    step.decision.events.retain(|event| !event.kind.is_public());
    assert_eq!(step.decision.events.len(), 1);
    for _ in 0..2 {
        assert_eq!(ids.check_decision(&step.before, &step.decision), []);
    }
}
