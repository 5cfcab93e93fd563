//! Inputs that come again after time or people have moved the run on, and messages that are there twice.

use windlass_domain::decide::{Decision, Rejection, repeat};
use windlass_domain::ids::ActionIndex;
use windlass_domain::run::{ActionAt, ActionStatus, CancelCause, Input, RunStatus};
use windlass_domain::time::Millis;
use windlass_testkit::generate::agent_of;
use windlass_testkit::sketch::{NEVER_RETRIED, RetrySketch, Sketch};
use windlass_testkit::world::performs;

use crate::steps::{chain, failed, finish, give, newest, of_one, started, status, succeeded, world};

fn cancel(retries: u32) -> Input {
    Input::Cancel { reason: "enough".into(), cause: CancelCause::Request, retries }
}

/// The kinds of the events that are published again.
fn again(decision: &Decision) -> Vec<&'static str> {
    decision.again.iter().map(|event| event.kind.name()).collect()
}

/// The first message of an attempt may be begun by whoever gets it, as long as it is fresh: a copy that somebody got before
/// ends nothing. Later it does, and so does the first message itself when it comes again.
#[test]
fn a_fresh_copy_does_not_end_a_cancelled_action_before_its_first_message() {
    for (waited, redelivered, ends) in [(0, false, false), (12, false, false), (13, false, true), (0, true, true)] {
        let mut world = world(&of_one(RetrySketch::limited(1)));
        give(&mut world, &Input::Start);
        give(&mut world, &cancel(0));
        world.pass(Millis::from_secs(waited));
        let copy = u32::from(!redelivered);
        let claim = Input::Claim {
            of: newest(&world, "a0"),
            agent: agent_of(1),
            received: 1 + u32::from(redelivered),
            copy,
            again: false,
        };
        if ends {
            give(&mut world, &claim);
            assert_eq!(world.run.status, RunStatus::Cancelled, "after {waited} s, redelivered: {redelivered}");
        } else {
            assert_eq!(world.ask(&claim), Err(Rejection::Stale), "after {waited} s");
        }
    }
}

/// Nor does a hand-back of such a copy, by an agent that drained as it came. That of the first message does: nobody has it.
#[test]
fn a_fresh_copy_that_is_handed_back_does_not_end_a_cancelled_action_either() {
    for (waited, copy, ends) in [(0, 7, false), (12, 7, false), (13, 7, true), (0, 0, true)] {
        let mut world = world(&of_one(RetrySketch::limited(1)));
        give(&mut world, &Input::Start);
        give(&mut world, &cancel(0));
        world.pass(Millis::from_secs(waited));
        let back = Input::HandedBack { of: newest(&world, "a0"), agent: agent_of(1), copy, checkpoint: None };
        if ends {
            give(&mut world, &back);
            assert_eq!(world.run.status, RunStatus::Cancelled, "after {waited} s");
        } else {
            assert_eq!(world.ask(&back), Err(Rejection::Stale), "after {waited} s");
        }
    }
}

/// What an agent is known to have had ends at once, when it gives it back or another gets it.
#[test]
fn what_was_performed_in_a_cancelled_run_ends_with_its_hand_back() {
    let mut world = world(&of_one(RetrySketch::limited(1)));
    give(&mut world, &Input::Start);
    let of = newest(&world, "a0");
    started(&mut world, of);
    give(&mut world, &cancel(0));
    give(&mut world, &Input::HandedBack { of, agent: agent_of(1), copy: 0, checkpoint: None });
    assert_eq!(world.run.status, RunStatus::Cancelled);
}

#[test]
fn what_was_handed_back_before_its_run_was_cancelled_ends_with_its_next_claim() {
    let mut world = world(&of_one(RetrySketch::limited(1)));
    give(&mut world, &Input::Start);
    let back = Input::HandedBack { of: newest(&world, "a0"), agent: agent_of(1), copy: 0, checkpoint: None };
    let sent = give(&mut world, &back);
    give(&mut world, &cancel(0));
    let sent = &performs(&sent)[0];
    let claim = Input::Claim { of: sent.of, agent: agent_of(2), received: 1, copy: sent.copy, again: false };
    give(&mut world, &claim);
    assert_eq!(world.run.status, RunStatus::Cancelled);
}

#[test]
fn what_waits_in_a_cancelled_run_is_not_sent_again() {
    let mut world = world(&chain(2));
    give(&mut world, &Input::Start);
    let done = finish(&mut world, "a0", succeeded());
    assert_eq!(performs(&done).len(), 1);
    give(&mut world, &cancel(0));
    let of = ActionAt { action: ActionIndex(0), attempt: 1, fence: 1 };
    let outcome = succeeded();
    let report = Input::Completed { of, agent: agent_of(0), started_at: world.now, outcome, checkpoint: None };
    let decision = give(&mut world, &report);
    assert_eq!((performs(&decision), status(&world, "a1")), (vec![], ActionStatus::Queued));
}

/// The process manager died before it told of a cancellation, and got it again together with what then ended the run.
#[test]
fn a_cancellation_that_comes_again_with_the_end_is_told() {
    for status in [RunStatus::Cancelled, RunStatus::TimedOut] {
        let mut world = world(&Sketch { timeout: Some(Millis::from_secs(60)), ..chain(1) });
        give(&mut world, &Input::Start);
        let of = newest(&world, "a0");
        started(&mut world, of);
        if status == RunStatus::TimedOut {
            world.pass(Millis::from_secs(60));
            give(&mut world, &Input::Wake);
        } else {
            give(&mut world, &cancel(0));
        }
        let since = world.now;
        world.pass(Millis::from_secs(1));
        let mut ended = world.ask(&crate::steps::completed(&world, "a0", succeeded())).expect("accepted");
        ended.run.revision = world.run.revision;
        assert_eq!(ended.run.status, status);
        let told = repeat(&world.definition, &ended.run, since, world.now);
        assert!(again(&told).contains(&"run.cancelling"), "{:?}", again(&told));
        if status == RunStatus::Cancelled {
            let told = windlass_domain::decide::decide(&world.definition, &ended.run, &cancel(0), world.now);
            let told = told.expect("accepted");
            assert!(again(&told).contains(&"run.cancelling"), "{:?}", again(&told));
        }
    }
}

/// The process manager died before it told of a retry, and the run was cancelled before the request came again.
#[test]
fn a_retry_that_comes_again_after_a_cancellation_is_told() {
    let mut world = world(&of_one(RetrySketch::limited(1)));
    give(&mut world, &Input::Start);
    finish(&mut world, "a0", failed(NEVER_RETRIED));
    give(&mut world, &Input::Retry { retries: 0 });
    give(&mut world, &cancel(1));
    let decision = give(&mut world, &Input::Retry { retries: 0 });
    assert!(again(&decision).contains(&"run.retried"), "{:?}", again(&decision));
    assert_eq!(performs(&decision), []);
}
