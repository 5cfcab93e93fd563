//! Who owns an attempt: claims, leases, lapses, losses, dead letters.

use windlass_domain::limits::{CLOCKS_DIFFER_MS, LEASE_MS, MAX_LOSSES, TIMEOUT_MARGIN_MS, UNLEASED_MS, VISIBILITY_MS};
use windlass_domain::run::{ActionStatus, Input, Rejection, Report, RunStatus};
use windlass_domain::time::{Millis, Timestamp};
use windlass_testkit::generate::agent_of;
use windlass_testkit::sketch::{ActionSketch, RetrySketch, Sketch};
use windlass_testkit::world::{World, performs};

use crate::steps::{
    WAKE, begun, cancel, claim, completed, confirms, finish, give, hand_back, kill, of_one, renewal, report, started,
    state, status, stops, succeeded, sweep, wake,
};

/// Until no other agent may have a leased attempt.
const LEASE: Millis = Millis(LEASE_MS + CLOCKS_DIFFER_MS);

fn one() -> World {
    begun(&of_one(RetrySketch::limited(1)))
}

/// A run of one action that agent 1 has leased, and its report.
fn leased() -> (World, Report) {
    let mut world = one();
    let of = started(&mut world, "a0");
    let renewal = renewal(&world, &of, 1);
    give(&mut world, &renewal);
    (world, of)
}

fn refused(world: &mut World, input: &Input) {
    assert_eq!(world.give(input).answer, Err(Rejection::Stale), "{input:?}");
}

fn losses(world: &World) -> Vec<String> {
    state(world, "a0").losses.iter().map(ToString::to_string).collect()
}

#[test]
fn claim_is_confirmed_with_a_greater_fence() {
    let mut world = one();
    let of = report("a0", "1.0.2", 2);
    let change = give(&mut world, &claim(&of, 5));
    let [confirm] = &confirms(&change)[..] else { panic!("{change:?}") };
    assert_eq!((confirm.asked, confirm.fence, confirm.until, confirm.losses), (5, 2, None, 1));
    // A claim that comes again because its answer was lost gets the same answer and changes nothing.
    let again = give(&mut world, &claim(&of, 5));
    assert_eq!((again.facts.len(), confirms(&again)), (0, vec![confirm.clone()]));
    let late = world.give(&claim(&report("a0", "1.0.1", 3), 1));
    assert_eq!((late.answer, confirms(&late)), (Err(Rejection::Stale), vec![]));
}

/// Defect (a) of the old core.
#[test]
fn completion_after_a_lapse_counts_while_unclaimed() {
    for is_claimed in [false, true] {
        let (mut world, of) = leased();
        world.pass(LEASE);
        let lapsed = give(&mut world, &wake("a0"));
        assert_eq!((status(&world, "a0"), performs(&lapsed.commands).len()), (ActionStatus::Queued, 1));
        let done = Input::Completed { of: of.clone(), started_at: world.now, outcome: succeeded(), checkpoint: None };
        if is_claimed {
            let other = report("a0", &format!("1.{}.1", performs(&lapsed.commands)[0].issue), 2);
            give(&mut world, &claim(&other, 1));
            refused(&mut world, &done);
        } else {
            give(&mut world, &done);
            assert_eq!(world.run.status, RunStatus::Succeeded);
        }
    }
}

#[test]
fn lapsed_owner_may_not_go_on_by_itself() {
    let (mut world, of) = leased();
    world.pass(LEASE);
    give(&mut world, &wake("a0"));
    let again = renewal(&world, &of, 2);
    refused(&mut world, &again);
    let input = Input::Started { of: of.clone(), started_at: world.now };
    refused(&mut world, &input);
    give(&mut world, &hand_back(&of));
    assert_eq!((status(&world, "a0"), state(&world, "a0").owner.clone()), (ActionStatus::Queued, None));
}

/// Defect (h) of the old core: the timeout counts from the moment at which the process manager got the agent's report.
#[test]
fn clock_of_an_agent_moves_no_timeout() {
    for hours in [-5_i64, 0, 5] {
        let timed = ActionSketch { timeout: Some(Millis::from_secs(60)), ..ActionSketch::default() };
        let mut world = begun(&Sketch::of(vec![timed]));
        let said = Timestamp::from_millis(world.now.as_millis() + hours * 3_600_000);
        world.pass(Millis(500));
        let of = report("a0", "1.0.1", 1);
        give(&mut world, &Input::Started { of, started_at: said });
        let due = world.now.plus(Millis(60_000 + TIMEOUT_MARGIN_MS));
        assert_eq!(world.run.wake_at, Some(due), "{hours} hours off");
        world.now = Timestamp::from_millis(due.as_millis() - 1);
        give(&mut world, &wake("a0"));
        assert_eq!(status(&world, "a0"), ActionStatus::Running, "{hours} hours off");
        world.now = due;
        give(&mut world, &wake("a0"));
        assert_eq!(status(&world, "a0"), ActionStatus::TimedOut, "{hours} hours off");
    }
}

#[test]
fn sweeper_resends_what_runs_longer_than_hidden() {
    let mut world = one();
    started(&mut world, "a0");
    world.pass(Millis(UNLEASED_MS - 1));
    assert_eq!(performs(&sweep(&mut world).commands), []);
    world.pass(Millis(1));
    let sent = performs(&sweep(&mut world).commands);
    assert_eq!((status(&world, "a0"), sent.len(), sent[0].of.attempt), (ActionStatus::Queued, 1, 1));
    assert!(sent[0].issue > 0, "it must be claimed");
    // A lease that is renewed goes on for any time.
    let (mut world, of) = leased();
    for number in 2..200 {
        world.pass(Millis(LEASE_MS));
        let renewal = renewal(&world, &of, number);
        give(&mut world, &renewal);
        sweep(&mut world);
        assert_eq!(status(&world, "a0"), ActionStatus::Running);
    }
}

#[test]
fn leased_attempt_is_confirmed_to_no_other_agent() {
    let (mut world, of) = leased();
    for delivery in ["1.0.2", "1.0.9", "1.5.1"] {
        let claimed = claim(&report("a0", delivery, 2), 1);
        let change = world.give(&claimed);
        assert_eq!((change.answer, stops(&change.commands).len()), (Err(Rejection::Stale), 1), "{delivery}");
    }
    let others = Report { agent: agent_of(2), ..of.clone() };
    let renewal = renewal(&world, &others, 9);
    refused(&mut world, &renewal);
    world.pass(LEASE);
    // A message from before may be gone, and its claim may be shown once more.
    for delivery in ["1.0.2", "1.5.1"] {
        let claimed = claim(&report("a0", delivery, 2), 1);
        refused(&mut world, &claimed);
    }
    let resent = performs(&sweep(&mut world).commands)[0].issue;
    let claimed = claim(&report("a0", &format!("1.{resent}.1"), 2), 1);
    give(&mut world, &claimed);
    assert_eq!((state(&world, "a0").agent(), losses(&world)), (Some(&agent_of(2)), vec!["1.0.1".to_owned()]));
}

#[test]
fn renewal_that_comes_again_extends_nothing() {
    let (mut world, of) = leased();
    let until = state(&world, "a0").owner.as_ref().expect("an owner").until;
    world.pass(Millis::from_secs(60));
    let late = renewal(&world, &of, 1);
    let change = give(&mut world, &late);
    assert_eq!((change.facts.len(), confirms(&change)[0].until), (0, until));
}

#[test]
fn refused_end_gives_the_owner_time() {
    let mut world = one();
    started(&mut world, "a0");
    let twin = report("a0", "1.0.1", 2);
    let input = Input::Completed { of: twin, started_at: world.now, outcome: succeeded(), checkpoint: None };
    refused(&mut world, &input);
    world.pass(Millis(2 * VISIBILITY_MS - 1));
    give(&mut world, &wake("a0"));
    assert_eq!(status(&world, "a0"), ActionStatus::Running);
    world.pass(Millis(1));
    let lapsed = give(&mut world, &wake("a0"));
    assert_eq!((status(&world, "a0"), performs(&lapsed.commands).len()), (ActionStatus::Queued, 1));
}

#[test]
fn word_of_lost_agent_takes_back_the_loss() {
    let mut world = one();
    let first = started(&mut world, "a0");
    let second = report("a0", "1.0.2", 2);
    give(&mut world, &claim(&second, 1));
    assert_eq!(losses(&world), ["1.0.1"]);
    refused(&mut world, &hand_back(&first));
    assert_eq!(losses(&world), [] as [&str; 0]);
    finish(&mut world, "a0", succeeded());
    assert_eq!(world.run.status, RunStatus::Succeeded);
}

#[test]
fn action_that_costs_five_agents_is_poison() {
    let mut world = one();
    started(&mut world, "a0");
    for number in 1..=MAX_LOSSES {
        assert_eq!(world.run.status, RunStatus::Running, "{number}");
        let agent = u8::try_from(number + 1).expect("few");
        let of = report("a0", &format!("1.0.{}", number + 1), agent);
        give(&mut world, &claim(&of, 1));
    }
    let error = state(&world, "a0").error.clone().expect("it failed");
    let message = "5 agents were lost one after the other while they performed it; the last one was `agent-5`";
    assert_eq!((error.kind.as_str(), error.message.as_str()), ("poison", message));
    assert_eq!(world.run.status, RunStatus::Failed);
}

#[test]
fn agent_that_renews_clears_the_losses() {
    let mut world = one();
    started(&mut world, "a0");
    for receive in 2..=MAX_LOSSES {
        let agent = u8::try_from(receive).expect("few");
        let of = report("a0", &format!("1.0.{receive}"), agent);
        give(&mut world, &claim(&of, 1));
    }
    assert_eq!(losses(&world).len(), MAX_LOSSES - 1);
    let of = crate::steps::counting(&world, "a0");
    let renewal = renewal(&world, &of, 1);
    give(&mut world, &renewal);
    assert_eq!(losses(&world).len(), 0);
}

#[test]
fn suspect_is_sent_to_be_claimed() {
    for (losses, expected) in [(0, 0), (1, 0), (2, 1), (3, 1)] {
        let timed = ActionSketch {
            retry: RetrySketch::limited(2),
            timeout: Some(Millis::from_secs(60)),
            ..ActionSketch::default()
        };
        let mut world = begun(&Sketch::of(vec![timed]));
        started(&mut world, "a0");
        for receive in (2_u8..).take(losses) {
            let of = report("a0", &format!("1.0.{receive}"), receive);
            give(&mut world, &claim(&of, 1));
        }
        world.now = world.run.wake_at.expect("its timeout");
        give(&mut world, &wake("a0"));
        assert_eq!(status(&world, "a0"), ActionStatus::RetryWaiting);
        world.now = world.run.wake_at.expect("its retry");
        let change = give(&mut world, &wake("a0"));
        assert_eq!(performs(&change.commands)[0].issue, expected, "{losses} losses");
    }
}

/// Other messages of the attempt may become dead letters: no agent needs them.
#[test]
fn dead_letter_ends_only_the_message_that_counts() {
    let dead = |of: &Report| Input::DeadLettered {
        action: of.action,
        delivery: of.delivery,
        message: of.message,
        reason: "received too often".to_owned(),
    };
    let mut world = one();
    let first = report("a0", "1.0.1", 1);
    let back = give(&mut world, &hand_back(&first));
    refused(&mut world, &dead(&first));
    let issue = performs(&back.commands)[0].issue;
    let of = report("a0", &format!("1.{issue}.1"), 2);
    give(&mut world, &claim(&of, 1));
    let many = report("a0", &format!("1.{issue}.100"), 2);
    give(&mut world, &dead(&many));
    assert_eq!(status(&world, "a0"), ActionStatus::Failed);
    let (mut world, of) = leased();
    refused(&mut world, &dead(&of));
}

#[test]
fn forced_end_waits_for_the_lease() {
    for asked in [cancel(0), kill(0)] {
        let (mut world, of) = leased();
        let over = world.now.plus(LEASE);
        world.pass(Millis(7_777));
        give(&mut world, &asked);
        let renewal = renewal(&world, &of, 2);
        let change = give(&mut world, &renewal);
        assert_eq!((change.facts.len(), stops(&change.commands).len()), (0, 1), "it is not extended any more");
        while !world.run.status.is_final() {
            let next = world.run.wake_at.expect("it is looked at again");
            assert!(next > world.now && next <= over, "{asked:?}: woken at {next}, over at {over}");
            world.now = next;
            let timer = if asked == kill(0) { wake("a0") } else { WAKE };
            give(&mut world, &timer);
        }
        assert_eq!((status(&world, "a0"), world.now), (ActionStatus::Cancelled, over), "{asked:?}");
    }
}

#[test]
fn faster_completion_stands_before_a_cancellation() {
    let mut world = one();
    started(&mut world, "a0");
    give(&mut world, &cancel(0));
    let done = completed(&world, "a0", succeeded());
    give(&mut world, &done);
    assert_eq!((status(&world, "a0"), world.run.status), (ActionStatus::Succeeded, RunStatus::Cancelled));
}
