//! What is sent and told again for an input that was delivered before, when nobody knows what came of its first time.

use std::collections::BTreeSet;

use windlass_domain::decide::{Command, Decision, decide, repeat};
use windlass_domain::limits::TOLD_WITHIN_MS;
use windlass_domain::run::{ActionAt, CancelCause, Input, Origin};
use windlass_domain::time::{Millis, Timestamp};
use windlass_testkit::generate::agent_of;
use windlass_testkit::sketch::{ActionSketch, RETRIED, RetrySketch, Sketch, When};
use windlass_testkit::world::{World, performs};

use crate::steps::{chain, completed, diamond, failed, finish, give, newest, of_one, started, succeeded, world};

const SECOND: Millis = Millis::from_secs(1);

/// Whoever got the first message may have begun without a claim: what is sent beside it comes when that has been told.
#[test]
fn what_is_sent_again_gives_the_first_one_time_to_be_heard_of() {
    let mut world = world(&of_one(RetrySketch::limited(1)));
    let begun = world.now;
    give(&mut world, &Input::Start);
    let delay = |world: &World| match &performs(&repeat(&world.definition, &world.run, begun, world.now))[..] {
        [again] => again.delay,
        other => panic!("one attempt is sent again: {other:?}"),
    };
    assert_eq!(delay(&world), Millis(TOLD_WITHIN_MS));
    world.pass(SECOND);
    assert_eq!(delay(&world), Millis(TOLD_WITHIN_MS - SECOND.0));
    world.pass(Millis(TOLD_WITHIN_MS));
    assert_eq!(delay(&world), Millis(0));
    // What is handed back nobody has, and nobody begins it without a claim.
    let of = newest(&world, "a0");
    let back = give(&mut world, &Input::HandedBack { of, agent: agent_of(1), copy: 0, checkpoint: None });
    assert_eq!(performs(&back)[0].delay, Millis(0));
}

/// What is told again: the kind of each event, and its action. What is told twice has one id, and is here once.
fn told(world: &World, decision: &Decision) -> Vec<String> {
    let name = |of: ActionAt| world.definition.action(of.action).name.to_string();
    let told = |event: &windlass_domain::run::Event| {
        let about = event.kind.about().map(|of| format!(" {}", name(of)));
        format!("{}{}", event.kind.name(), about.unwrap_or_default())
    };
    let mut met = BTreeSet::new();
    decision.again.iter().map(told).filter(|told| met.insert(told.clone())).collect()
}

/// What is told again of what was decided since then, and which attempts are sent, all of them to be claimed.
fn check(world: &World, since: Timestamp, expected_told: &[&str], expected_sent: &[&str]) -> Decision {
    let decision = repeat(&world.definition, &world.run, since, world.now);
    assert_eq!(decision.events, []);
    assert_eq!(decision.run, world.run);
    assert_eq!(told(world, &decision), expected_told, "since {since}");
    let sent = performs(&decision);
    assert!(sent.iter().all(|perform| perform.claim));
    let names: Vec<String> = sent.iter().map(|sent| world.definition.action(sent.of.action).name.to_string()).collect();
    assert_eq!(names, expected_sent, "since {since}");
    decision
}

#[test]
fn only_what_was_decided_since_then_is_repeated() {
    let mut world = world(&diamond());
    let begun = world.now;
    give(&mut world, &Input::Start);
    check(&world, begun, &["action.queued a0", "run.started"], &["a0"]);
    check(&world, begun.plus(Millis(1)), &[], &[]);
    world.pass(SECOND);
    let further = world.now;
    let of = newest(&world, "a0");
    started(&mut world, of);
    check(&world, begun, &["action.queued a0", "run.started"], &[]);
    finish(&mut world, "a0", succeeded());
    let queued = ["action.queued a1", "action.queued a2"];
    check(&world, further, &[&["action.succeeded a0"], &queued[..]].concat(), &["a1", "a2"]);
    let all = [&["action.queued a0", "action.succeeded a0"], &queued[..], &["run.started"]].concat();
    check(&world, begun, &all, &["a1", "a2"]);
    check(&world, further.plus(Millis(1)), &[], &[]);
}

/// What one batch has decided and not committed is not sent before it is.
#[test]
fn what_is_not_committed_is_not_repeated() {
    let mut world = world(&diamond());
    let begun = world.now;
    let start = world.ask(&Input::Start).expect("accepted");
    let uncommitted = repeat(&world.definition, &start.run, begun, begun);
    assert_eq!((uncommitted.again.len(), uncommitted.commands.len()), (0, 0));
    give(&mut world, &Input::Start);
    world.pass(SECOND);
    let done = world.ask(&completed(&world, "a0", succeeded())).expect("accepted");
    let uncommitted = repeat(&world.definition, &done.run, world.now, world.now);
    assert_eq!((uncommitted.again.len(), uncommitted.commands.len()), (0, 0));
}

/// Two deliveries of an input in one batch: what the first one sends has not been sent yet, and will be.
#[test]
fn a_repeat_within_a_batch_sends_nothing_twice() {
    let mut world = world(&diamond());
    give(&mut world, &Input::Start);
    let input = completed(&world, "a0", succeeded());
    let first = world.ask(&input).expect("accepted");
    let second = decide(&world.definition, &first.run, &input, world.now).expect("accepted");
    assert_eq!((performs(&first).len(), second.again, second.commands), (2, vec![], vec![]));
}

#[test]
fn a_repeated_retry_is_told_however_far_the_run_has_come() {
    let mut world = world(&chain(2));
    give(&mut world, &Input::Start);
    finish(&mut world, "a0", failed(RETRIED));
    let retry = Input::Retry { retries: 0 };
    give(&mut world, &retry);
    let told_of = |world: &World| {
        let decision = world.ask(&retry).expect("accepted");
        assert_eq!(decision.events, []);
        told(world, &decision)
    };
    assert_eq!(told_of(&world), ["run.retried", "action.queued a0"]);
    finish(&mut world, "a0", failed(RETRIED));
    assert_eq!(told_of(&world), ["run.retried", "action.failed a0", "action.skipped a1", "run.failed"]);
}

#[test]
fn a_retry_that_waits_is_waited_for_again() {
    let mut world = world(&of_one(RetrySketch::limited(2)));
    give(&mut world, &Input::Start);
    finish(&mut world, "a0", failed(RETRIED));
    let due = world.now.plus(SECOND);
    let started = ["run.started"];
    let told = [&["action.queued a0", "action.retrying a0"], &started[..]].concat();
    let repeated = check(&world, world.now, &told, &[]);
    assert_eq!(repeated.commands, [Command::Wake { at: due }]);
}

/// Somebody had it, so it was sent; that it is sent again is for the input that handed it back.
#[test]
fn what_was_handed_back_is_not_sent_by_others() {
    let mut world = world(&chain(1));
    give(&mut world, &Input::Start);
    let of = newest(&world, "a0");
    started(&mut world, of);
    let back = Input::HandedBack { of, agent: agent_of(1), copy: 0, checkpoint: None };
    give(&mut world, &back);
    check(&world, world.now, &["run.started"], &[]);
}

/// An agent that knows only the queues begins what was handed back without a claim, and hands it back in its turn.
#[test]
fn what_was_handed_back_is_handed_back_again() {
    let mut world = world(&chain(1));
    give(&mut world, &Input::Start);
    let mut of = newest(&world, "a0");
    for number in 1..4 {
        let back = Input::HandedBack { of, agent: agent_of(number), copy: 0, checkpoint: None };
        let decision = world.ask(&back).expect("accepted");
        let sent: Vec<ActionAt> = performs(&decision).iter().map(|perform| perform.of).collect();
        give(&mut world, &back);
        of = ActionAt { fence: of.fence + 1, ..of };
        assert_eq!(sent, [of], "sent again, under a new fence");
    }
}

#[test]
fn a_cancellation_is_told_again_and_who_runs_is_stopped_again() {
    let mut world = world(&chain(1));
    let begun = world.now;
    give(&mut world, &Input::Start);
    let of = newest(&world, "a0");
    started(&mut world, of);
    world.pass(SECOND);
    let cancel = Input::Cancel { reason: "enough".to_owned(), cause: CancelCause::Request, retries: 0 };
    give(&mut world, &cancel);
    let repeated = check(&world, world.now, &["run.cancelling"], &[]);
    assert_eq!(repeated.commands, [Command::Stop { agent: agent_of(1), of }]);
    check(&world, begun, &["action.queued a0", "run.started", "run.cancelling"], &[]);
    check(&world, world.now.plus(Millis(1)), &[], &[]);
}

#[test]
fn an_end_is_told_again() {
    for origin in [Origin::Request, Origin::Schedule { nominal: Timestamp::from_millis(0) }] {
        let is_scheduled = origin != Origin::Request;
        let mut world = World::new(chain(1).definition(), origin, "ended");
        give(&mut world, &Input::Start);
        world.pass(SECOND);
        finish(&mut world, "a0", succeeded());
        let repeated = check(&world, world.now, &["action.succeeded a0", "run.succeeded"], &[]);
        assert_eq!(repeated.commands.contains(&Command::Ended), is_scheduled);
    }
    // The end may be of the very write that began the run.
    let mut at_once = world(&Sketch::of(vec![ActionSketch { when: When::False, ..ActionSketch::default() }]));
    give(&mut at_once, &Input::Start);
    let told = ["action.skipped a0", "run.started", "run.succeeded"];
    check(&at_once, at_once.now, &told, &[]);
}

/// What a retry by hand left alone belongs to the life before it.
#[test]
fn a_retry_by_hand_tells_nothing_of_an_earlier_life() {
    let skipped = ActionSketch { when: When::False, ..ActionSketch::default() };
    let mut world = world(&Sketch::of(vec![ActionSketch::default(), skipped]));
    let begun = world.now;
    give(&mut world, &Input::Start);
    finish(&mut world, "a0", failed(RETRIED));
    let told = ["action.queued a0", "action.failed a0", "action.skipped a1", "run.started", "run.failed"];
    check(&world, begun, &told, &[]);
    give(&mut world, &Input::Retry { retries: 0 });
    let told = ["action.queued a0", "run.retried"];
    check(&world, begun, &told, &["a0"]);
}
