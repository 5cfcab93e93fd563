//! Deadlines and cancelled runs.

use windlass_domain::run::{ErrorInfo, Input, Outcome, Progress, RunStatus};
use windlass_domain::time::Millis;
use windlass_testkit::sketch::{ActionSketch, Sketch};
use windlass_testkit::world::performs;

use crate::steps::{WAKE, cancel, chain, finish, give, started, stops, succeeded, times, world};

/// Scenario 9, as far as it has no undo: whether the wake comes in time, or a report is there before it.
#[test]
fn nothing_starts_after_the_deadline() {
    for report_comes_first in [false, true] {
        let mut world = world(&Sketch { timeout: Some(Millis::from_secs(60)), ..chain(6) });
        give(&mut world, &Input::Start);
        for name in ["a0", "a1", "a2"] {
            world.pass(Millis::from_secs(10));
            finish(&mut world, name, succeeded());
        }
        started(&mut world, "a3");
        world.now = world.run.deadline.expect("a deadline");
        if report_comes_first {
            let decision = finish(&mut world, "a3", succeeded());
            assert_eq!(performs(&decision.commands), [], "the next step is due after the deadline");
            give(&mut world, &WAKE);
        } else {
            let decision = give(&mut world, &WAKE);
            assert_eq!(stops(&decision.commands).len(), 1);
            finish(&mut world, "a3", Outcome::Cancelled);
        }
        assert_eq!(world.run.status, RunStatus::TimedOut);
        assert_eq!([times(&world, "action.queued", Some("a4")), times(&world, "action.queued", Some("a5"))], [0, 0]);
        assert_eq!(times(&world, "run.timed_out", None), 1);
    }
}

/// An agent keeps the run's deadline too, by its own clock, and may be faster than the wake. Then the deadline ends the
/// run: the action has not failed, and no attempt follows. An attempt that met its own timeout is another matter.
#[test]
fn attempt_that_met_the_deadline_ends_the_run() {
    let timed_out = || Outcome::TimedOut { error: ErrorInfo::new("timeout", "too long") };
    for (early, own, expected) in [
        (0, None, RunStatus::TimedOut),
        (3, None, RunStatus::TimedOut),
        (0, Some(600), RunStatus::TimedOut),
        (0, Some(5), RunStatus::Failed),
        (30, None, RunStatus::Failed),
    ] {
        let mut sketch = Sketch { timeout: Some(Millis::from_secs(60)), ..chain(3) };
        sketch.actions[0].timeout = own.map(Millis::from_secs);
        let mut world = world(&sketch);
        give(&mut world, &Input::Start);
        let of = started(&mut world, "a0");
        let (started_at, outcome) = (world.now, timed_out());
        world.pass(Millis::from_secs(60 - early));
        let decision = give(&mut world, &Input::Completed { of, started_at, outcome, checkpoint: None });
        assert_eq!(performs(&decision.commands), []);
        assert_eq!((world.run.status, early, own), (expected, early, own));
    }
}

/// A cancelled run whose agents do not stop ends by itself, also while one of them reports all the time.
#[test]
fn cancelled_run_ends_while_an_agent_reports() {
    let mut world = world(&Sketch::of(vec![ActionSketch::default(), ActionSketch::default()]));
    give(&mut world, &Input::Start);
    let of = started(&mut world, "a0");
    give(&mut world, &cancel(0));
    let mut seconds = 0;
    while !world.run.status.is_final() && seconds < 600 {
        world.pass(Millis::from_secs(1));
        seconds += 1;
        let progress = Progress { percent: None, message: Some(seconds.to_string()) };
        give(&mut world, &Input::Progressed { of: of.clone(), number: 0, progress, checkpoint: None });
        if world.run.wake_at.is_some_and(|wake| wake <= world.now) {
            give(&mut world, &WAKE);
        }
    }
    assert_eq!((world.run.status, seconds), (RunStatus::Cancelled, 120));
}
