//! Spoilt records.

use serde_json::json;
use windlass_domain::ids::{ActionIndex, AgentId};
use windlass_domain::invariants::{Violation, check};
use windlass_domain::limits::{CANCEL_FORCE_MS, CANCEL_GRACE_MS, MAX_LOSSES, TIMEOUT_MARGIN_MS};
use windlass_domain::run::{ActionState, ActionStatus, CancelCause, ErrorInfo, Input, Pages, Run, RunStatus};
use windlass_domain::time::{Millis, Timestamp};
use windlass_testkit::sketch::{ActionSketch, RETRIED, RetrySketch, Sketch};
use windlass_testkit::world::World;

use crate::steps::{chain, diamond, failed, finish, give, newest, of_one, started, succeeded, world};

/// The names of what is broken, each once, in the order of the catalogue.
pub(crate) fn names(found: &[Violation]) -> String {
    let mut names: Vec<_> = found.iter().map(|violation| violation.invariant).collect();
    names.sort_by_key(|invariant| invariant.name[2..].parse::<u32>().expect("a number"));
    names.dedup();
    names.iter().map(|invariant| invariant.name).collect::<Vec<_>>().join(" ")
}

/// A record of that world breaks nothing; once it is spoilt, it breaks exactly these.
fn breaks(world: &World, expected: &str, spoil: impl FnOnce(&mut Run)) {
    assert_eq!(names(&check(&world.definition, &world.run)), "");
    let mut run = world.run.clone();
    spoil(&mut run);
    let found = check(&world.definition, &run);
    assert_eq!(names(&found), expected, "{found:#?}");
}

fn breaks_of(world: &World, expected: &str, at: u32, spoil: impl FnOnce(&mut ActionState)) {
    breaks(world, expected, |run| change(run, at, spoil));
}

pub(crate) fn change(run: &mut Run, at: u32, spoil: impl FnOnce(&mut ActionState)) {
    let mut state = run.action(ActionIndex(at)).clone();
    spoil(&mut state);
    run.actions.overlay([(ActionIndex(at), state)]).expect("an action");
}

fn begun(sketch: &Sketch) -> World {
    let mut world = world(sketch);
    give(&mut world, &Input::Start);
    world
}

/// Its only action runs.
fn running() -> World {
    let mut world = begun(&of_one(RetrySketch::limited(2)));
    let of = newest(&world, "a0");
    started(&mut world, of);
    world
}

/// Its only action waits for its second attempt.
fn retried() -> World {
    let mut world = begun(&of_one(RetrySketch::limited(2)));
    finish(&mut world, "a0", failed(RETRIED));
    world
}

fn ended(well: bool) -> World {
    let mut world = begun(&chain(1));
    finish(&mut world, "a0", if well { succeeded() } else { failed(RETRIED) });
    world
}

/// Two actions without needs, of which one has room.
fn full() -> World {
    begun(&Sketch { max_parallel: Some(1), ..Sketch::of(vec![ActionSketch::default(), ActionSketch::default()]) })
}

fn cancelling(mut world: World) -> World {
    let (reason, retries) = ("enough".to_owned(), 0);
    give(&mut world, &Input::Cancel { reason, cause: CancelCause::Request, retries });
    world
}

fn cancelled() -> World {
    let mut world = cancelling(begun(&chain(1)));
    world.pass(Millis(CANCEL_GRACE_MS));
    give(&mut world, &Input::Wake);
    world
}

fn timed_out() -> World {
    let mut world = begun(&Sketch { timeout: Some(Millis::from_secs(60)), ..chain(1) });
    world.pass(Millis::from_secs(60));
    give(&mut world, &Input::Wake);
    world.pass(Millis(CANCEL_GRACE_MS));
    give(&mut world, &Input::Wake);
    world
}

fn later(time: Option<Timestamp>) -> Option<Timestamp> {
    time.map(|time| time.plus(Millis(1)))
}

#[test]
fn actions_and_counters_are_those_of_the_definition() {
    let world = begun(&diamond());
    breaks(&world, "SG1", |run| run.actions = Pages::new(3));
    breaks(&world, "SG2", |run| run.open += 1);
    breaks(&world, "SG2", |run| run.in_flight += 1);
    breaks(&world, "SG2 SG8", |run| run.ready += 1);
    breaks(&world, "SG2", |run| run.failed += 1);
    breaks(&world, "SG2", |run| run.faults += 1);
    breaks(&full(), "SG2 SG3", |run| run.in_flight = 2);
    breaks(&full(), "SG2 SG8 SG12", |run| run.in_flight = 0);
    let mut wide = begun(&Sketch::of(vec![ActionSketch::default(), ActionSketch::default()]));
    wide.definition.max_parallel = Some(2);
    breaks(&wide, "", |_| {});
    wide.definition.max_parallel = Some(1);
    assert_eq!(names(&check(&wide.definition, &wide.run)), "SG3");
}

#[test]
fn failures_are_counted_apart_from_faults() {
    let mut world = begun(&diamond());
    for name in ["a0", "a1"] {
        finish(&mut world, name, succeeded());
    }
    finish(&mut world, "a2", failed(RETRIED));
    assert_eq!((world.run.failed, world.run.faults), (0, 1));
    breaks(&world, "SG2", |run| (run.failed, run.faults) = (1, 0));
    breaks(&world, "SG2", |run| run.faults = 0);
}

#[test]
fn the_end_of_a_run_is_its_end() {
    breaks(&ended(true), "SG4", |run| run.finished_at = None);
    breaks(&ended(true), "SG4", |run| run.wake_at = run.finished_at);
    breaks(&ended(true), "SG2 SG4", |run| run.open = 1);
    breaks(&running(), "SG2 SG4", |run| run.open = 0);
    breaks(&running(), "SG4", |run| run.finished_at = run.started_at);
    breaks(&running(), "SG4", |run| run.output = Some(json!(1)));
    breaks(&running(), "SG4", |run| run.error = Some(ErrorInfo::new("x", "x")));
}

#[test]
fn a_status_has_its_cause() {
    let submitted = world(&chain(1));
    let cause = |run: &mut Run, cause| run.cancellation.as_mut().expect("cancelled").cause = cause;
    let cancellation = cancelled().run.cancellation;
    breaks(&submitted, "SG14", |run| run.cancellation.clone_from(&cancellation));
    breaks(&submitted, "SG14", |run| run.started_at = Some(run.submitted_at));
    breaks(&submitted, "SG14", |run| run.revision = 1);
    breaks(&running(), "SG14", |run| run.cancellation.clone_from(&cancellation));
    breaks(&running(), "SG14", |run| run.started_at = None);
    breaks(&cancelling(running()), "SG14", |run| run.cancellation = None);
    breaks(&ended(true), "SG14", |run| run.cancellation.clone_from(&cancellation));
    breaks(&ended(true), "SG14", |run| run.error = Some(ErrorInfo::new("x", "x")));
    breaks(&ended(true), "SG2 SG14", |run| run.failed = 1);
    breaks(&ended(true), "SG2 SG14", |run| run.faults = 1);
    breaks(&ended(true), "SG14", |run| run.status = RunStatus::SucceededWithFaults);
    breaks(&ended(false), "SG14", |run| run.error = None);
    breaks(&ended(false), "SG14", |run| run.output = Some(json!(1)));
    breaks(&ended(false), "SG14", |run| run.cancellation.clone_from(&cancellation));
    breaks(&timed_out(), "SG14", |run| cause(run, CancelCause::Request));
    breaks(&timed_out(), "SG14", |run| run.deadline = None);
    breaks(&cancelled(), "SG14", |run| cause(run, CancelCause::Deadline));
    breaks(&cancelled(), "", |run| cause(run, CancelCause::Overlap));
    breaks(&cancelled(), "SG14", |run| run.cancellation = None);
    let mut with_faults = begun(&Sketch::of(vec![ActionSketch { allow_failure: true, ..ActionSketch::default() }]));
    finish(&mut with_faults, "a0", failed(RETRIED));
    breaks(&with_faults, "SG14", |run| run.status = RunStatus::Succeeded);
    breaks(&with_faults, "SG14", |run| run.cancellation.clone_from(&cancellation));
    breaks(&with_faults, "SG2 SG14", |run| run.failed = 1);
}

#[test]
fn nothing_is_stamped_later_than_the_next_commit() {
    let world = running();
    breaks(&world, "", |run| run.status_revision = run.revision + 1);
    breaks(&world, "SG15", |run| run.status_revision = run.revision + 2);
    let revision = world.run.revision;
    breaks_of(&world, "", 0, |state| state.revision = revision + 1);
    breaks_of(&world, "SG15", 0, |state| state.revision = revision + 2);
}

/// A killed action is waited for as that: a queued one for a grace, one that runs until it is forced to end or its
/// lease has run out. Neither waits for what it would have waited for otherwise.
#[test]
fn a_killed_action_is_awaited_in_time() {
    let patient = ActionSketch { queue_timeout: Some(Millis::from_secs(3600)), ..ActionSketch::default() };
    let killed = |mut world: World| {
        give(&mut world, &Input::Kill { action: ActionIndex(0), reason: "enough".to_owned(), retries: 0 });
        world
    };
    let grace = Millis(CANCEL_GRACE_MS);
    for (mut world, waits) in [
        (killed(begun(&chain(1))), grace),
        (killed(begun(&Sketch::of(vec![patient]))), grace),
        (killed(running()), Millis(CANCEL_FORCE_MS)),
    ] {
        let timer = world.now.plus(waits);
        world.run.wake_at = Some(timer);
        breaks(&world, "SG13", |run| run.wake_at = later(run.wake_at));
        breaks(&world, "", |run| run.wake_at = Some(Timestamp::from_millis(timer.as_millis() - 1)));
    }
}

#[test]
fn an_open_run_is_awaited_in_time() {
    breaks(&retried(), "SG12 SG13", |run| run.wake_at = None);
    breaks(&retried(), "SG13", |run| run.wake_at = later(run.wake_at));
    breaks(&running(), "SG2 SG12", |run| run.in_flight = 0);
    let cancelling_early = cancelling(begun(&chain(1)));
    breaks(&cancelling_early, "SG12 SG13", |run| run.wake_at = None);
    let slow = Sketch::of(vec![ActionSketch {
        timeout: Some(Millis::from_secs(60)),
        queue_timeout: Some(Millis::from_secs(60)),
        ..ActionSketch::default()
    }]);
    let dated = Sketch { timeout: Some(Millis::from_secs(60)), ..chain(1) };
    let mut slow_and_begun = begun(&slow);
    let of = newest(&slow_and_begun, "a0");
    started(&mut slow_and_begun, of);
    let begun_at = slow_and_begun.now;
    let minute = |world: &World| world.now.plus(Millis::from_secs(60));
    for (mut world, timer) in [
        (begun(&slow), minute(&begun(&slow))),
        (begun(&dated), minute(&begun(&dated))),
        (slow_and_begun, begun_at.plus(Millis::from_secs(60)).plus(Millis(TIMEOUT_MARGIN_MS))),
        (cancelling(begun(&chain(1))), begun_at.plus(Millis(CANCEL_GRACE_MS))),
        (cancelling(running()), begun_at.plus(Millis(CANCEL_FORCE_MS))),
    ] {
        world.run.wake_at = Some(timer);
        breaks(&world, "SG13", |run| run.wake_at = later(run.wake_at));
        breaks(&world, "", |run| run.wake_at = Some(Timestamp::from_millis(timer.as_millis() - 1)));
        if world.run.status == RunStatus::Running {
            give(&mut world, &Input::Pause { pauses: 0, retries: 0 });
            breaks(&world, "SG13", |run| run.wake_at = Some(timer.plus(Millis(1))));
            breaks(&world, "", |run| run.wake_at = Some(timer));
        }
    }
}

#[test]
fn triggers_are_obeyed_and_nobody_is_overlooked() {
    let world = begun(&diamond());
    let queued = world.run.action(ActionIndex(0)).clone();
    breaks(&world, "SG5", |run| {
        run.in_flight = 2;
        change(run, 1, |state| *state = queued);
    });
    breaks(&world, "SG5 SG8", |run| {
        (run.ready, run.ready_from) = (1, 0);
        change(run, 1, |state| state.ready = true);
    });
    let mut further = begun(&diamond());
    finish(&mut further, "a0", succeeded());
    breaks(&further, "SG7", |run| {
        run.in_flight = 1;
        change(run, 1, |state| *state = ActionState::default());
    });
    give(&mut further, &Input::Pause { pauses: 0, retries: 0 });
    breaks(&further, "SG7", |run| {
        run.in_flight = 1;
        change(run, 1, |state| *state = ActionState::default());
    });
    let waits = full();
    breaks(&waits, "SG16", |run| run.ready_from = 2);
    breaks(&waits, "", |run| run.ready_from = 1);
}

/// After the deadline nothing is queued, so room may be left; in a run that is paused as well.
#[test]
fn no_room_is_left() {
    let mut paused = full();
    give(&mut paused, &Input::Pause { pauses: 0, retries: 0 });
    finish(&mut paused, "a0", succeeded());
    assert_eq!((paused.run.in_flight, paused.run.ready), (0, 1));
    breaks(&paused, "SG8 SG12", |run| run.status = RunStatus::Running);
    breaks(&paused, "", |run| {
        run.status = RunStatus::Running;
        (run.deadline, run.wake_at) = (Some(paused.now), Some(paused.now));
    });
}

#[test]
fn attempts_and_fences_are_numbered() {
    breaks_of(&running(), "", 0, |state| (state.attempt, state.fence) = (2, 2));
    breaks_of(&running(), "SG9", 0, |state| (state.attempt, state.fence) = (3, 3));
    breaks_of(&running(), "", 0, |state| (state.attempt, state.attempt_base, state.fence) = (3, 1, 3));
    breaks_of(&running(), "SG9", 0, |state| (state.attempt, state.fence) = (2, 1));
    breaks_of(&ended(true), "SG9", 0, |state| state.attempt_base = 2);
    breaks_of(&ended(true), "", 0, |state| state.attempt_base = 1);
}

#[test]
fn each_status_has_what_belongs_to_it() {
    let at = running().now;
    let queued = begun(&chain(1));
    breaks_of(&running(), "SG2 SG10", 0, |state| state.ready = true);
    breaks_of(&running(), "SG10", 0, |state| state.retry_at = Some(at));
    breaks_of(&retried(), "SG10", 0, |state| state.retry_at = None);
    breaks_of(&running(), "SG10", 0, |state| state.finished_at = Some(at));
    breaks_of(&ended(true), "SG10", 0, |state| state.finished_at = None);
    breaks_of(&queued, "SG10", 0, |state| state.queued_at = None);
    breaks_of(&queued, "SG10", 0, |state| state.first_queued_at = None);
    breaks_of(&running(), "SG10", 0, |state| state.started_at = None);
    breaks_of(&running(), "SG10", 0, |state| state.agent = None);
    breaks_of(&queued, "SG10", 0, |state| state.attempt_base = 1);
    breaks_of(&running(), "SG10", 0, |state| state.output = Some(json!(1)));
    breaks_of(&ended(true), "SG10", 0, |state| state.output = None);
    breaks_of(&ended(false), "SG10", 0, |state| state.error = None);
    breaks_of(&retried(), "SG10", 0, |state| state.error = None);
    let mut unserved = begun(&chain(1));
    let pool = unserved.definition.action(ActionIndex(0)).pool.clone();
    give(&mut unserved, &Input::Unserved { pool, since: at });
    let mark = unserved.run.action(ActionIndex(0)).unserved;
    assert!(mark.is_some());
    breaks_of(&unserved, "", 0, |_| {});
    breaks_of(&running(), "SG10", 0, |state| state.unserved = mark);
}

#[test]
fn what_is_kept_is_kept_for_its_time() {
    let saved = Some(json!({ "row": 7 }));
    let agent = AgentId::new("agent-1").ok();
    breaks_of(&running(), "", 0, |state| state.checkpoint.clone_from(&saved));
    breaks_of(&running(), "SG17", 0, |state| state.checkpoint = Some(json!("x".repeat(10_000))));
    breaks_of(&ended(true), "SG17", 0, |state| state.checkpoint.clone_from(&saved));
    breaks_of(&running(), "SG17", 0, |state| state.handed_back = true);
    let queued = begun(&chain(1));
    breaks_of(&queued, "", 0, |state| state.handed_back = true);
    breaks_of(&queued, "SG17", 0, |state| (state.handed_back, state.agent) = (true, agent));
    let fenced = |lost: &[u32], fence: u32| {
        let lost = lost.to_vec();
        move |state: &mut ActionState| (state.lost, state.fence) = (lost, fence)
    };
    breaks_of(&running(), "", 0, fenced(&[1, 2, 4], 5));
    breaks_of(&running(), "SG18", 0, fenced(&[1, 2, 5], 5));
    breaks_of(&running(), "SG18", 0, fenced(&[2, 1], 5));
    breaks_of(&running(), "SG18", 0, fenced(&[2, 2], 5));
    breaks_of(&ended(true), "SG18", 0, fenced(&[1], 5));
    let most: Vec<u32> = (1..).take(MAX_LOSSES).collect();
    breaks_of(&running(), "SG18", 0, fenced(&most, 9));
    breaks_of(&running(), "", 0, fenced(&most[1..], 9));
}

#[test]
fn actions_fit_the_status_of_their_run() {
    breaks_of(&world(&chain(1)), "SG6", 0, |state| state.progress_number = 1);
    let mut further = begun(&chain(2));
    finish(&mut further, "a0", succeeded());
    let mut paused = begun(&chain(2));
    finish(&mut paused, "a0", succeeded());
    give(&mut paused, &Input::Pause { pauses: 0, retries: 0 });
    for world in [further, paused] {
        breaks_of(&world, "SG5 SG10 SG11", 0, |state| state.status = ActionStatus::Cancelled);
    }
    breaks_of(&ended(true), "SG10 SG11", 0, |state| state.status = ActionStatus::Cancelled);
    breaks_of(&ended(false), "SG2 SG11", 0, |state| state.status = ActionStatus::Cancelled);
    breaks_of(&cancelling(begun(&chain(2))), "SG2 SG11", 1, |state| {
        (state.status, state.finished_at) = (ActionStatus::Waiting, None);
    });
}
