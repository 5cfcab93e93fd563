//! The due times that a task passed over, when its memory of them is full.

use windlass_domain::definition::Overlap;
use windlass_domain::limits::MAX_PASSED_OVER_KEPT;
use windlass_domain::schedule::overlap::{Active, Fate, Turns, due};
use windlass_domain::time::Timestamp;

const POLICIES: [Overlap; 3] = [Overlap::Skip, Overlap::Queue, Overlap::CancelPrevious];

fn at(minute: i64) -> Timestamp {
    Timestamp::from_millis(minute * 60_000)
}

/// It has passed over minutes 100, 101 and so on: that many.
fn turns(passed_over: usize, active: i64, waiting: &[i64]) -> Turns {
    let last = i64::try_from(passed_over).expect("few");
    Turns {
        active: Some(Active { nominal: at(active), open: true, is_ahead: false }),
        waiting: waiting.iter().copied().map(at).collect(),
        passed_over: (100..100 + last).map(at).collect(),
    }
}

fn check(turns: &Turns, nominal: i64, is_passed_over: bool) {
    for policy in POLICIES {
        let fate = due(turns, policy, at(nominal));
        assert_eq!(fate == Fate::PassOver, is_passed_over, "{policy:?}: {nominal} is {fate:?} in {turns:?}");
    }
    let beside = due(turns, Overlap::Allow, at(nominal));
    let is_remembered = turns.passed_over.contains(&at(nominal));
    assert_eq!(beside == Fate::PassOver, is_remembered, "runs beside one another are not passed over");
}

/// It was handled, and then forgotten: nothing else can make it so late.
#[test]
fn due_time_older_than_memory_is_passed_over() {
    check(&turns(MAX_PASSED_OVER_KEPT, 99, &[]), 98, true);
    check(&turns(MAX_PASSED_OVER_KEPT, 99, &[]), 100, true);
}

/// A due time that has the turn or waits for it was not passed over, however old it is.
#[test]
fn waiting_or_active_due_time_is_remembered() {
    check(&turns(MAX_PASSED_OVER_KEPT, 98, &[]), 98, false);
    check(&turns(MAX_PASSED_OVER_KEPT, 97, &[98]), 98, false);
}

/// A due time takes a free turn unless a full memory begins after it.
#[test]
fn partly_full_memory_forgets_nothing() {
    for (passed_over, expected) in [(MAX_PASSED_OVER_KEPT - 1, false), (MAX_PASSED_OVER_KEPT, true)] {
        let free = Turns { active: None, ..turns(passed_over, 99, &[]) };
        check(&free, 98, expected);
    }
}

#[test]
fn the_newest_are_kept() {
    let full = turns(MAX_PASSED_OVER_KEPT, 99, &[]);
    let after = full.after(at(500), &Fate::PassOver);
    assert_eq!(after.passed_over.len(), MAX_PASSED_OVER_KEPT);
    assert_eq!((after.passed_over.first(), after.passed_over.last()), (Some(&at(101)), Some(&at(500))));
}
