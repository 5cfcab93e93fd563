//! Messages and events of a repeated input: they go out again, because the first process manager may have died.

use windlass_domain::limits::TOLD_WITHIN_MS;
use windlass_domain::run::{ActionStatus, Command, Input, Origin, Rejection, RunStatus, decide};
use windlass_domain::time::{Millis, Timestamp};
use windlass_testkit::sketch::{ActionSketch, RETRIED, RetrySketch, Sketch, When};
use windlass_testkit::world::{World, performs};

use crate::steps::{
    begun, cancel, chain, claim, completed, counting, diamond, failed, finish, give, hand_back, kinds, of_one,
    repeated, report, started, status, stops, succeeded, world,
};

const SECOND: Millis = Millis::from_secs(1);

/// An agent that got the first message may have begun without asking. It says so before another message comes.
#[test]
fn resend_beside_a_first_message_is_held_back() {
    let mut world = begun(&of_one(RetrySketch::limited(1)));
    let delay = |world: &World| match &performs(&repeated(world, &Input::Start).commands)[..] {
        [again] => again.delay,
        other => panic!("one attempt is sent again: {other:?}"),
    };
    assert_eq!(delay(&world), Millis(TOLD_WITHIN_MS));
    world.pass(SECOND);
    assert_eq!(delay(&world), Millis(TOLD_WITHIN_MS - SECOND.0));
    world.pass(Millis(TOLD_WITHIN_MS));
    assert_eq!(delay(&world), Millis(0));
    let back = hand_back(&counting(&world, "a0"));
    let back = give(&mut world, &back);
    assert_eq!(performs(&back.commands)[0].delay, Millis(0), "no agent has what was handed back");
}

#[test]
fn repeated_report_resends_what_it_queued() {
    let mut world = begun(&diamond());
    let done = completed(&world, "a0", succeeded());
    let first = give(&mut world, &done);
    let again = repeated(&world, &done);
    assert_eq!(kinds(&again.facts), ["action.succeeded", "action.queued", "action.queued"]);
    let issues = |commands: &[Command]| performs(commands).iter().map(|sent| sent.issue).collect::<Vec<_>>();
    assert_eq!((issues(&first.commands), issues(&again.commands)), (vec![0, 0], vec![1, 1]));
    started(&mut world, "a1");
    assert_eq!(performs(&repeated(&world, &done).commands).len(), 1, "an agent has the other one");
}

/// Both come in one batch: the messages of the first one leave once the batch is committed.
#[test]
fn repeat_within_a_batch_sends_nothing_twice() {
    let world = begun(&diamond());
    let done = completed(&world, "a0", succeeded());
    let first = world.ask(&done);
    let second = decide(&world.definition, &first.after, &done, &world.caller, world.now);
    assert_eq!((second.facts, second.commands), (vec![], vec![]));
}

#[test]
fn retry_that_waits_has_its_timer_again() {
    let mut world = begun(&of_one(RetrySketch::limited(2)));
    let failure = completed(&world, "a0", failed(RETRIED));
    give(&mut world, &failure);
    let again = repeated(&world, &failure);
    let timer = Command::Wake { action: Some(world.index("a0")), at: world.now.plus(SECOND) };
    assert_eq!((kinds(&again.facts), again.commands), (vec!["action.retrying"], vec![timer]));
}

/// An agent that knows only the queues begins a handed-back attempt without a claim, and hands it back in its turn.
#[test]
fn hand_back_resends_under_a_new_issue() {
    let mut world = begun(&chain(1));
    let mut last = 0;
    for fence in 2..5 {
        let back = hand_back(&counting(&world, "a0"));
        let sent = performs(&give(&mut world, &back).commands);
        let again = performs(&repeated(&world, &back).commands);
        assert_eq!((sent.len(), again.len(), sent[0].fence), (1, 1, fence));
        assert!(sent[0].issue > last && again[0].issue >= sent[0].issue, "{sent:?}, {again:?}");
        last = sent[0].issue;
        let of = report("a0", &format!("1.{last}.1"), 2);
        let started = Input::Started { of, started_at: world.now };
        give(&mut world, &started);
        world.pass(SECOND);
    }
}

#[test]
fn repeated_cancellation_stops_agents_again() {
    let mut world = begun(&chain(1));
    started(&mut world, "a0");
    give(&mut world, &cancel(0));
    let again = repeated(&world, &cancel(0));
    assert_eq!((kinds(&again.facts), stops(&again.commands).len()), (vec!["run.cancelling"], 1));
}

#[test]
fn end_is_published_again() {
    for origin in [Origin::Request, Origin::Schedule { nominal: Timestamp::from_millis(0) }] {
        let is_scheduled = origin != Origin::Request;
        let mut world = World::new(chain(1).definition(), origin, "ended");
        give(&mut world, &Input::Start);
        let done = completed(&world, "a0", succeeded());
        give(&mut world, &done);
        let again = repeated(&world, &done);
        assert_eq!(kinds(&again.facts), ["action.succeeded", "run.succeeded"]);
        assert_eq!(again.commands.contains(&Command::Ended), is_scheduled);
    }
    let mut at_once = world(&Sketch::of(vec![ActionSketch { when: When::False, ..ActionSketch::default() }]));
    give(&mut at_once, &Input::Start);
    assert_eq!(kinds(&repeated(&at_once, &Input::Start).facts), ["run.started", "action.skipped", "run.succeeded"]);
}

/// A timer and a resumption may end a run, and their process manager may die.
#[test]
fn end_by_timer_or_resume_is_published_again() {
    let waits = ActionSketch { queue_timeout: Some(Millis::from_secs(60)), ..ActionSketch::default() };
    let mut late = begun(&Sketch::of(vec![waits]));
    late.pass(Millis::from_secs(60));
    let timer = crate::steps::wake("a0");
    give(&mut late, &timer);
    assert_eq!(kinds(&repeated(&late, &timer).facts), ["action.timed_out", "run.failed"]);
    let broken = ActionSketch { given: windlass_testkit::sketch::Given::Broken, ..ActionSketch::needing([0]) };
    let mut held = begun(&Sketch::of(vec![ActionSketch::default(), broken]));
    give(&mut held, &Input::Pause { pauses: 0, retries: 0 });
    finish(&mut held, "a0", succeeded());
    let resume = Input::Resume { pauses: 1 };
    give(&mut held, &resume);
    assert_eq!(kinds(&repeated(&held, &resume).facts), ["action.failed", "run.failed"]);
}

#[test]
fn fresh_resend_ends_no_cancelled_action() {
    for (waited, delivery, ends) in [(0, "1.7.1", false), (12, "1.7.1", false), (13, "1.7.1", true), (0, "1.0.2", true)]
    {
        for is_claim in [true, false] {
            let mut world = begun(&of_one(RetrySketch::limited(1)));
            give(&mut world, &cancel(0));
            world.pass(Millis::from_secs(waited));
            let of = report("a0", delivery, 1);
            let change = world.give(&if is_claim { claim(&of, 1) } else { hand_back(&of) });
            let expected = if ends { Ok(()) } else { Err(Rejection::Stale) };
            assert_eq!((change.answer, world.run.status.is_final()), (expected, ends), "{delivery} after {waited} s");
        }
    }
}

#[test]
fn cancelled_run_resends_nothing() {
    let mut world = begun(&chain(2));
    let done = completed(&world, "a0", succeeded());
    give(&mut world, &done);
    give(&mut world, &cancel(0));
    assert_eq!(performs(&repeated(&world, &done).commands), []);
    assert_eq!((status(&world, "a1"), world.run.status), (ActionStatus::Queued, RunStatus::Cancelling));
}
