//! Attempts that have no message, and claims that come late.

use windlass_domain::decide::{Command, Rejection, repeat};
use windlass_domain::ids::ActionIndex;
use windlass_domain::limits::{CLOCKS_DIFFER_MS, LEASE_MS, MAX_LOSSES, SUSPECT_LOSSES, UNLEASED_MS};
use windlass_domain::run::{ActionAt, ActionStatus, CancelCause, Input, RunStatus};
use windlass_domain::time::Millis;
use windlass_testkit::generate::agent_of;
use windlass_testkit::sketch::RetrySketch;
use windlass_testkit::world::{World, performs};

use crate::steps::{completed, finish, give, newest, of_one, started, status, succeeded, world};

/// Until nobody but its agent may have a leased attempt.
const LEASE: Millis = Millis(LEASE_MS + CLOCKS_DIFFER_MS);
const ACTION: ActionIndex = ActionIndex(0);

fn renewed(world: &World, agent: u8) -> Input {
    Input::Renewed { of: newest(world, "a0"), agent: agent_of(agent), started_at: world.now }
}

fn claim(world: &World, agent: u8, (received, copy): (u32, u32)) -> Input {
    Input::Claim { of: newest(world, "a0"), agent: agent_of(agent), received, copy, again: false }
}

/// The same claim, whose answer was lost.
fn asked_again(claim: &Input) -> Input {
    let Input::Claim { of, agent, received, copy, again: _ } = claim.clone() else { unreachable!("it is a claim") };
    Input::Claim { of, agent, received, copy, again: true }
}

/// A run of one action, which agent 1 has leased.
fn leased() -> World {
    let mut world = world(&of_one(RetrySketch::limited(1)));
    give(&mut world, &Input::Start);
    let of = newest(&world, "a0");
    started(&mut world, of);
    let renewed = renewed(&world, 1);
    give(&mut world, &renewed);
    world
}

/// Its agent has died and its queue has lost the message: nobody else can have it by now, and no timeout ends it.
#[test]
fn what_runs_for_longer_than_a_message_is_hidden_is_sent_again_by_the_sweeper() {
    let mut world = world(&of_one(RetrySketch::limited(1)));
    give(&mut world, &Input::Start);
    let of = newest(&world, "a0");
    started(&mut world, of);
    let begun = world.now;
    world.pass(Millis(UNLEASED_MS - 1));
    assert_eq!(performs(&give(&mut world, &Input::Sweep { since: begun })), []);
    assert_eq!(status(&world, "a0"), ActionStatus::Running);
    world.pass(Millis(1));
    let decision = give(&mut world, &Input::Sweep { since: begun });
    let sent: Vec<_> = performs(&decision).iter().map(|perform| (perform.of.attempt, perform.claim)).collect();
    assert_eq!((status(&world, "a0"), sent), (ActionStatus::Queued, vec![(1, true)]));
    assert_eq!(world.run.action(ACTION).lost, [1]);
    // Whoever has a lease has it for as long as that is renewed.
    let mut leased = leased();
    let begun = leased.now;
    while leased.now.since(begun).0 < 2 * UNLEASED_MS {
        leased.pass(Millis(LEASE_MS));
        let renewed = renewed(&leased, 1);
        give(&mut leased, &renewed);
        give(&mut leased, &Input::Sweep { since: begun });
        assert_eq!(status(&leased, "a0"), ActionStatus::Running);
    }
}

/// Another message of the attempt is a dead letter: an old one, or one that an agent needs no more.
#[test]
fn a_dead_letter_ends_only_whoever_has_it() {
    let dead = |of, copy| Input::DeadLettered { of, copy, reason: "received too often".to_owned() };
    let mut world = world(&of_one(RetrySketch::limited(1)));
    give(&mut world, &Input::Start);
    let first = newest(&world, "a0");
    give(&mut world, &Input::HandedBack { of: first, agent: agent_of(1), copy: 0, checkpoint: None });
    let by_copy = claim(&world, 2, (1, 3));
    give(&mut world, &by_copy);
    assert_eq!(world.ask(&dead(first, 0)), Err(Rejection::Stale));
    assert_eq!(world.ask(&dead(first, 7)), Err(Rejection::Stale), "sent before the hand-back");
    assert_eq!(leased().ask(&dead(first, 0)), Err(Rejection::Stale));
    let sent = ActionAt { fence: first.fence + 1, ..first };
    give(&mut world, &dead(sent, 3));
    assert_eq!(status(&world, "a0"), ActionStatus::Failed);
    // Its lease is over, and it waits in another message.
    let mut world = leased();
    world.pass(LEASE);
    give(&mut world, &Input::Wake);
    assert_eq!(world.ask(&dead(first, 0)), Err(Rejection::Stale));
}

/// A second message of what its agent began by the first one, however often it comes: its agent lives, as far as is known.
#[test]
fn a_later_copy_takes_nothing_from_who_began_by_an_earlier_one() {
    let mut world = world(&of_one(RetrySketch::limited(1)));
    give(&mut world, &Input::Start);
    let of = newest(&world, "a0");
    started(&mut world, of);
    for by in [(1, 5), (2, 5), (9, 5)] {
        assert_eq!(world.ask(&claim(&world, 2, by)), Err(Rejection::Stale), "{by:?}");
    }
    let dead = Input::DeadLettered { of, copy: 5, reason: "received too often".to_owned() };
    assert_eq!(world.ask(&dead), Err(Rejection::Stale));
    // Its own message comes to another: it is lost.
    let own = claim(&world, 2, (2, 0));
    give(&mut world, &own);
    assert_eq!(world.run.action(ACTION).lost, [1]);
}

/// Two messages of one number, for a send that was answered too late: one is claimed, and then the other comes to the very
/// same agent.
#[test]
fn a_twin_of_the_message_that_was_claimed_is_good_for_nothing() {
    let mut world = world(&of_one(RetrySketch::limited(1)));
    give(&mut world, &Input::Start);
    let twin = claim(&world, 1, (1, 4));
    give(&mut world, &twin);
    assert_eq!(world.ask(&twin), Err(Rejection::Stale));
    give(&mut world, &Input::Cancel { reason: "enough".into(), cause: CancelCause::Request, retries: 0 });
    assert_eq!(world.ask(&twin), Err(Rejection::Stale));
    assert_eq!(status(&world, "a0"), ActionStatus::Running);
}

/// A claim that ends its action, because nobody is to begin it any more: what follows is sent again when it is asked again.
#[test]
fn a_claim_that_ended_its_action_is_told_again() {
    let mut world = world(&of_one(RetrySketch::limited(1)));
    give(&mut world, &Input::Start);
    give(&mut world, &Input::Cancel { reason: "enough".into(), cause: CancelCause::Request, retries: 0 });
    world.pass(Millis::from_secs(20));
    let claimed = claim(&world, 1, (1, 4));
    let first = give(&mut world, &claimed);
    assert_eq!((world.run.status, first.events.len()), (RunStatus::Cancelled, 2));
    assert_eq!(world.ask(&claimed), Err(Rejection::RunEnded));
    let again = world.ask(&asked_again(&claimed)).expect("it is told again");
    let told = |events: &[windlass_domain::run::Event]| -> std::collections::BTreeSet<_> {
        events.iter().map(|event| event.kind.name()).collect()
    };
    assert!(again.events.is_empty() && told(&again.again).is_superset(&told(&first.events)), "{:?}", again.again);
}

#[test]
fn a_lease_that_is_renewed_goes_on_and_one_that_is_not_is_sent_again() {
    let mut world = leased();
    for _ in 0..5 {
        world.pass(Millis(LEASE.0 - 1));
        assert_eq!(give(&mut world, &Input::Wake).events, []);
        let renewed = renewed(&world, 1);
        give(&mut world, &renewed);
        assert_eq!(world.run.wake_at, Some(world.now.plus(LEASE)));
    }
    let late = [renewed(&world, 1), completed(&world, "a0", succeeded())];
    world.pass(LEASE);
    let decision = give(&mut world, &Input::Wake);
    assert_eq!(performs(&decision).len(), 1);
    let told = decision.commands.iter().filter(|command| matches!(command, Command::Stop { .. })).count();
    assert_eq!((status(&world, "a0"), told), (ActionStatus::Queued, 1));
    assert_eq!((world.run.action(ACTION).attempt, &world.run.action(ACTION).lost[..]), (1, &[1][..]));
    // Whoever decided it may have died before it was sent.
    let again = repeat(&world.definition, &world.run, world.now, world.now);
    assert_eq!(performs(&again).len(), 1);
    // Its agent is there after all, and has nothing to say any more but that.
    assert_eq!(world.ask(&late[0]), Err(Rejection::Stale));
    give(&mut world, &late[1]);
    assert_eq!((status(&world, "a0"), &world.run.action(ACTION).lost[..]), (ActionStatus::Queued, &[][..]));
    // The new message and the first one: whichever is claimed first.
    let copy = performs(&decision)[0].copy;
    let first = claim(&world, 2, (1, copy));
    give(&mut world, &first);
    finish(&mut world, "a0", succeeded());
    assert_eq!(world.run.status, RunStatus::Succeeded);
}

/// Under the fence of a lapse nobody has had it, however often its message has been received.
#[test]
fn nobody_is_lost_between_a_lapse_and_the_next_claim() {
    let mut world = leased();
    world.pass(LEASE);
    give(&mut world, &Input::Wake);
    let claimed = claim(&world, 2, (3, 0));
    give(&mut world, &claimed);
    assert_eq!(world.run.action(ACTION).lost, [1]);
    // That agent is lost as any other.
    let claimed = claim(&world, 3, (4, 0));
    give(&mut world, &claimed);
    assert_eq!(world.run.action(ACTION).lost, [1, 3]);
}

/// The wake that is due by then is not put off: whoever sends it finds that nothing is to be done.
#[test]
fn a_lease_that_is_renewed_late_leaves_the_wake_that_is_due() {
    for late in [0, 1] {
        let mut world = leased();
        let due = world.run.wake_at;
        world.pass(Millis(LEASE.0 + late));
        let renewed = renewed(&world, 1);
        give(&mut world, &renewed);
        assert_eq!(world.run.wake_at, due, "{late} ms late");
        assert_eq!(give(&mut world, &Input::Wake).events, []);
        assert_eq!(world.run.wake_at, Some(world.now.plus(LEASE)));
    }
}

#[test]
fn no_message_is_good_for_a_claim_while_the_attempt_is_leased() {
    let mut world = leased();
    for by in [(1, 0), (7, 0), (1, 5), (2, 5)] {
        assert_eq!(world.ask(&claim(&world, 2, by)), Err(Rejection::Stale), "{by:?}");
    }
    assert_eq!(world.ask(&renewed(&world, 2)), Err(Rejection::Stale), "another agent");
    // Its agent has died, and its message was not deleted.
    world.pass(LEASE);
    let claimed = claim(&world, 2, (2, 0));
    give(&mut world, &claimed);
    let state = world.run.action(ACTION);
    assert_eq!((state.agent.clone(), state.leased_until), (Some(agent_of(2)), None));
}

#[test]
fn an_attempt_that_is_lost_with_its_message_again_and_again_is_poison() {
    let mut world = world(&of_one(RetrySketch::limited(1)));
    give(&mut world, &Input::Start);
    let of = newest(&world, "a0");
    started(&mut world, of);
    for number in 1..=MAX_LOSSES {
        assert_eq!(world.run.status, RunStatus::Running, "{number}");
        let begun = world.now;
        world.pass(Millis(UNLEASED_MS));
        let decision = give(&mut world, &Input::Sweep { since: begun });
        if let [sent] = &performs(&decision)[..] {
            let claimed = claim(&world, 1, (1, sent.copy));
            give(&mut world, &claimed);
        }
    }
    let error = world.run.action(ACTION).error.clone().expect("it failed");
    assert_eq!((error.kind.as_str(), world.run.status), ("poison", RunStatus::Failed));
}

/// What goes on for months loses an agent now and then, and is no poison for that.
#[test]
fn an_agent_that_renews_has_survived_what_cost_others() {
    let mut world = leased();
    for life in 0..3 {
        for number in 1..MAX_LOSSES {
            world.pass(LEASE);
            let agent = u8::try_from(life * MAX_LOSSES + number + 1).expect("few");
            let claimed = claim(&world, agent, (u32::from(agent), 0));
            give(&mut world, &claimed);
        }
        assert_eq!(world.run.action(ACTION).lost.len(), MAX_LOSSES - 1, "{life}");
        let agent = world.run.action(ACTION).agent.clone().expect("it runs");
        let renewed = Input::Renewed { of: newest(&world, "a0"), agent, started_at: world.now };
        give(&mut world, &renewed);
        assert!(world.run.action(ACTION).lost.is_empty(), "{life}");
    }
    assert_eq!(status(&world, "a0"), ActionStatus::Running);
}

/// The agent that received the message the second time took long to claim, and the third has it.
#[test]
fn a_claim_of_a_message_that_was_delivered_again_since_takes_nothing() {
    let mut world = world(&of_one(RetrySketch::limited(1)));
    give(&mut world, &Input::Start);
    let (second, third) = (claim(&world, 2, (2, 0)), claim(&world, 3, (3, 0)));
    give(&mut world, &third);
    assert_eq!(world.ask(&second), Err(Rejection::Redelivered));
    // Its own, asked again because the answer was lost, is answered as it was, and changes nothing.
    assert_eq!(world.ask(&third), Err(Rejection::Redelivered), "another message of the same number");
    let again = world.ask(&asked_again(&third)).expect("it has it");
    assert_eq!((again.events, again.commands, &again.run), (vec![], vec![], &world.run));
    assert_eq!(world.ask(&claim(&world, 2, (3, 0))), Err(Rejection::Redelivered));
    finish(&mut world, "a0", succeeded());
    assert_eq!(world.run.status, RunStatus::Succeeded);
}

/// An agent that has a lease may still perform the attempt, however long ago its run was cancelled, or it alone was killed.
#[test]
fn an_end_that_is_forced_waits_for_the_lease() {
    let cancel = Input::Cancel { reason: "enough".into(), cause: CancelCause::Request, retries: 0 };
    let kill = Input::Kill { action: ACTION, reason: "enough".into(), retries: 0 };
    for asked in [cancel, kill] {
        let mut world = leased();
        let over = world.now.plus(LEASE);
        world.pass(Millis(7_777));
        give(&mut world, &asked);
        assert_eq!(world.ask(&renewed(&world, 1)), Err(Rejection::Stale), "it is not renewed any more");
        while !world.run.status.is_final() {
            let next = world.run.wake_at.expect("it is looked at again");
            assert!(next > world.now && next <= over, "{asked:?}: woken at {next}, over at {over}");
            world.pass(next.since(world.now));
            give(&mut world, &Input::Wake);
        }
        assert_eq!((status(&world, "a0"), world.now), (ActionStatus::Cancelled, over), "{asked:?}");
    }
}

/// Its agents may have been lost because of it: nobody begins it before they have looked at its record.
#[test]
fn an_attempt_after_agents_were_lost_is_claimed() {
    for losses in 0..MAX_LOSSES {
        let mut sketch = of_one(RetrySketch::limited(2));
        sketch.actions[0].timeout = Some(Millis::from_secs(60));
        let mut world = world(&sketch);
        give(&mut world, &Input::Start);
        let of = newest(&world, "a0");
        started(&mut world, of);
        for (agent, received) in (2..).zip(2..).take(losses) {
            let claimed = claim(&world, agent, (received, 0));
            give(&mut world, &claimed);
        }
        assert_eq!(world.run.action(ACTION).lost.len(), losses);
        world.now = world.run.wake_at.expect("its timeout");
        give(&mut world, &Input::Wake);
        assert_eq!(status(&world, "a0"), ActionStatus::RetryWaiting);
        world.now = world.run.wake_at.expect("its retry");
        let sent = performs(&give(&mut world, &Input::Wake));
        assert_eq!((sent.len(), sent[0].claim), (1, losses >= SUSPECT_LOSSES), "{losses} losses");
    }
}
