//! When a join is ready, and which actions get room.

use windlass_domain::definition::Trigger;
use windlass_domain::ids::ActionIndex;
use windlass_domain::run::{
    ActionAt, ActionStatus, Change, ErrorInfo, Fact, FactKind, Input, Outcome, RunStatus, apply,
};
use windlass_testkit::sketch::{ActionSketch, NEVER_RETRIED, RETRIED, RetrySketch, Sketch};
use windlass_testkit::world::{World, performs};

use crate::steps::{diamond, failed, finish, give, status, succeeded, times, wake, world};

/// Scenario 1.
#[test]
fn diamond_with_an_allowed_fault_joins_once() {
    let mut world = world(&diamond());
    give(&mut world, &Input::Start);
    let both = finish(&mut world, "a0", succeeded());
    assert_eq!(performs(&both.commands).len(), 2, "both branches are sent by one decision");
    finish(&mut world, "a2", failed(NEVER_RETRIED));
    assert_eq!(status(&world, "a3"), ActionStatus::Waiting);
    let join = finish(&mut world, "a1", succeeded());
    assert_eq!(performs(&join.commands).len(), 1);
    finish(&mut world, "a3", succeeded());
    assert_eq!(world.run.status, RunStatus::SucceededWithFaults);
    assert_eq!(world.run.faults, 1);
    assert_eq!(times(&world, "action.queued", Some("a3")), 1);
    assert_eq!(times(&world, "run.succeeded_with_faults", None), 1);
}

/// One row of the table of joins: the trigger, the ends of the two needs, and their dependent's status after each of
/// these ends.
type Join = (Trigger, [char; 2], [ActionStatus; 2]);

/// `s` succeeded, `f` failed, `a` failed and was allowed to, `t` timed out, `k` skipped by its condition.
fn join(trigger: Trigger, ends: [char; 2]) -> [ActionStatus; 2] {
    let need = |end: char| ActionSketch {
        allow_failure: end == 'a',
        when: if end == 'k' { windlass_testkit::sketch::When::False } else { windlass_testkit::sketch::When::Always },
        // A skipped need is settled when its own need is.
        needs: if end == 'k' { vec![3] } else { vec![] },
        ..ActionSketch::default()
    };
    let joined = ActionSketch { trigger, ..ActionSketch::needing([0, 1]) };
    let mut world = world(&Sketch::of(vec![need(ends[0]), need(ends[1]), joined, ActionSketch::default()]));
    give(&mut world, &Input::Start);
    let mut after = Vec::new();
    for (name, end) in ["a0", "a1"].into_iter().zip(ends) {
        match end {
            's' => finish(&mut world, name, succeeded()),
            'f' | 'a' => finish(&mut world, name, failed(NEVER_RETRIED)),
            't' => finish(&mut world, name, Outcome::TimedOut { error: ErrorInfo::new("timeout", "too long") }),
            _ => finish(&mut world, "a3", succeeded()),
        };
        after.push(status(&world, "a2"));
    }
    after.try_into().expect("two")
}

#[test]
fn trigger_decides_what_a_join_waits_for() {
    use ActionStatus::{Queued as Q, Skipped as K, Waiting as W};
    use Trigger::{AllDone, AllSucceeded, AnyFailed, AnySucceeded, NoneFailed};
    let table: &[Join] = &[
        (AllSucceeded, ['s', 's'], [W, Q]),
        (AllSucceeded, ['s', 'a'], [W, Q]),
        (AllSucceeded, ['a', 's'], [W, Q]),
        (AllSucceeded, ['f', 's'], [K, K]),
        (AllSucceeded, ['s', 'f'], [W, K]),
        (AllSucceeded, ['t', 's'], [K, K]),
        (AllSucceeded, ['s', 'k'], [W, K]),
        (AllDone, ['s', 's'], [W, Q]),
        (AllDone, ['f', 't'], [W, Q]),
        (AllDone, ['f', 'k'], [W, Q]),
        (AnySucceeded, ['s', 's'], [Q, Q]),
        (AnySucceeded, ['f', 's'], [W, Q]),
        (AnySucceeded, ['f', 'f'], [W, K]),
        (AnySucceeded, ['a', 'k'], [W, K]),
        (AnyFailed, ['f', 's'], [Q, Q]),
        (AnyFailed, ['s', 't'], [W, Q]),
        (AnyFailed, ['a', 's'], [Q, Q]),
        (AnyFailed, ['s', 's'], [W, K]),
        (AnyFailed, ['s', 'k'], [W, K]),
        (NoneFailed, ['s', 's'], [W, Q]),
        (NoneFailed, ['s', 'k'], [W, Q]),
        (NoneFailed, ['a', 's'], [W, Q]),
        (NoneFailed, ['f', 's'], [K, K]),
        (NoneFailed, ['s', 't'], [W, K]),
    ];
    for (trigger, ends, expected) in table {
        assert_eq!(join(*trigger, *ends), *expected, "{trigger:?} {ends:?}");
    }
}

#[test]
fn room_goes_to_actions_in_author_order() {
    let mut world = world(&Sketch { max_parallel: Some(2), ..Sketch::of(vec![ActionSketch::default(); 5]) });
    let sent = |decision: &Change| performs(&decision.commands).iter().map(|sent| sent.of.action.0).collect::<Vec<_>>();
    let decision = give(&mut world, &Input::Start);
    assert_eq!(sent(&decision), [0, 1]);
    let decision = finish(&mut world, "a1", succeeded());
    assert_eq!(sent(&decision), [2]);
    give(&mut world, &Input::Pause { pauses: 0, retries: 0 });
    for name in ["a0", "a2"] {
        let decision = finish(&mut world, name, succeeded());
        assert_eq!(sent(&decision), [] as [u32; 0], "nothing is queued while the run is paused");
    }
    let decision = give(&mut world, &Input::Resume { pauses: 1 });
    assert_eq!(sent(&decision), [3, 4]);
}

/// The cursor follows the first ready action.
#[test]
fn room_is_given_from_the_first_ready_action() {
    let action = ActionSketch { retry: RetrySketch::limited(3), ..ActionSketch::default() };
    let mut world = world(&Sketch { max_parallel: Some(1), ..Sketch::of(vec![action; 5]) });
    let cursor = |world: &World| (world.run.ready, world.run.ready_from, world.run.first_ready());
    give(&mut world, &Input::Start);
    assert_eq!(cursor(&world), (4, 1, Some(ActionIndex(1))));
    finish(&mut world, "a0", succeeded());
    finish(&mut world, "a1", failed(RETRIED));
    assert_eq!(cursor(&world), (2, 3, Some(ActionIndex(3))));
    world.now = world.run.action(ActionIndex(1)).retry_at.expect("it is retried");
    give(&mut world, &wake("a1"));
    assert_eq!(cursor(&world), (3, 1, Some(ActionIndex(1))), "an earlier one waits for room again");
    let mut run = world.run.clone();
    let kind = |of| FactKind::ActionCancelled { of, agent: None, error: None, allowed: false };
    let cancelled = |of: ActionAt| Fact::told(world.now, kind(of));
    for (action, expected) in [(4, (2, 1)), (1, (1, 2)), (3, (0, 0))] {
        apply(&mut run, &cancelled(ActionAt { action: ActionIndex(action), attempt: 0 }));
        assert_eq!((run.ready, run.ready_from), expected, "{action} is cancelled");
    }
    finish(&mut world, "a2", succeeded());
    finish(&mut world, "a1", succeeded());
    finish(&mut world, "a3", succeeded());
    assert_eq!(cursor(&world), (0, 0, None));
}
