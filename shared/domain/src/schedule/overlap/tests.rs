use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

const POLICIES: [Overlap; 4] = [Overlap::Skip, Overlap::Queue, Overlap::Allow, Overlap::CancelPrevious];

fn at(minute: i64) -> Timestamp {
    Timestamp::from_millis(minute * 60_000)
}

fn turns(active: Option<(i64, bool)>, waiting: &[i64], passed_over: &[i64]) -> Turns {
    let times = |minutes: &[i64]| minutes.iter().copied().map(at).collect();
    Turns {
        active: active.map(|(nominal, open)| Active { nominal: at(nominal), open, is_ahead: false }),
        waiting: times(waiting),
        passed_over: times(passed_over),
    }
}

fn start(nominal: i64) -> Fate {
    Fate::Start { nominal: at(nominal), takes_turn: true }
}

fn wait(cancel_active: bool, superseded: &[i64]) -> Fate {
    Fate::Wait { cancel_active, superseded: superseded.iter().copied().map(at).collect() }
}

/// One situation, a due time, and its fate under skip, queue, allow and `cancel_previous`.
fn check(turns: &Turns, nominal: i64, fates: [Fate; 4]) {
    for (policy, fate) in POLICIES.into_iter().zip(fates) {
        assert_eq!(due(turns, policy, at(nominal)), fate, "{policy:?}: {nominal} in {turns:?}");
        let after = turns.after(at(nominal), &fate);
        assert_eq!(after.after(at(nominal), &fate), after, "{policy:?}: doing it again changes nothing");
    }
}

fn beside(nominal: i64) -> Fate {
    Fate::Start { nominal: at(nominal), takes_turn: false }
}

#[test]
fn a_free_turn_is_taken() {
    check(&turns(None, &[], &[]), 5, [start(5), start(5), beside(5), start(5)]);
    check(&turns(Some((4, false)), &[], &[]), 5, [start(5), start(5), beside(5), start(5)]);
    check(&turns(Some((6, false)), &[], &[]), 5, [start(5), start(5), beside(5), start(5)]);
}

#[test]
fn an_open_run_meets_the_policy() {
    check(&turns(Some((4, true)), &[], &[]), 5, [Fate::PassOver, wait(false, &[]), beside(5), wait(true, &[])]);
    check(&turns(Some((4, true)), &[5], &[]), 6, [Fate::PassOver, wait(false, &[]), beside(6), wait(true, &[5])]);
}

#[test]
fn a_late_one_cancels_nobody() {
    check(&turns(Some((6, true)), &[], &[]), 5, [Fate::PassOver, wait(false, &[]), beside(5), Fate::PassOver]);
    check(&turns(Some((4, true)), &[6], &[]), 5, [Fate::PassOver, wait(false, &[]), beside(5), Fate::PassOver]);
    check(&turns(Some((4, false)), &[6], &[]), 5, [start(5), start(5), beside(5), Fate::PassOver]);
}

#[test]
fn a_waiting_due_time_goes_first() {
    check(&turns(Some((3, false)), &[4], &[]), 5, [start(4), start(4), beside(5), start(4)]);
    check(&turns(Some((3, false)), &[5], &[]), 5, [start(5), start(5), beside(5), start(5)]);
}

#[test]
fn a_repeated_due_time_meets_the_same_fate() {
    let allowed = beside(5);
    check(&turns(Some((5, true)), &[], &[]), 5, [start(5), start(5), allowed.clone(), start(5)]);
    check(&turns(Some((4, true)), &[5], &[]), 5, [wait(false, &[]), wait(false, &[]), allowed, wait(true, &[])]);
    let passed = [Fate::PassOver, Fate::PassOver, Fate::PassOver, Fate::PassOver];
    check(&turns(Some((4, true)), &[], &[5]), 5, passed.clone());
    check(&turns(Some((4, false)), &[], &[5]), 5, passed);
}

#[test]
fn those_that_gave_way_are_named_again() {
    let after = turns(Some((4, true)), &[5], &[2]).after(at(6), &wait(true, &[5]));
    assert_eq!(after, turns(Some((4, true)), &[6], &[2, 5]));
    assert_eq!(due(&after, Overlap::CancelPrevious, at(6)), wait(true, &[5]));
}

#[test]
fn the_next_is_the_earliest_once_the_turn_is_free() {
    assert_eq!(next(&turns(Some((4, true)), &[5, 6], &[])), Fate::Nothing);
    assert_eq!(next(&turns(Some((4, false)), &[5, 6], &[])), start(5));
    assert_eq!(next(&turns(None, &[5], &[])), start(5));
    assert_eq!(next(&turns(Some((4, false)), &[], &[])), Fate::Nothing);
    assert_eq!(next(&Turns::default()), Fate::Nothing);
}

#[test]
fn turns_keep_a_bounded_number_of_due_times() {
    let full = i64::try_from(MAX_QUEUED_DUE).expect("small");
    let mut queued = turns(Some((0, true)), &[], &[]);
    for minute in 1..=full {
        queued = queued.after(at(minute), &due(&queued, Overlap::Queue, at(minute)));
    }
    assert_eq!(due(&queued, Overlap::Queue, at(full + 1)), Fate::PassOver);
    assert_eq!(due(&queued, Overlap::Queue, at(full)), wait(false, &[]), "it waits already");

    let mut skipped = turns(Some((100, true)), &[], &[]);
    for minute in 101..=300 {
        skipped = skipped.after(at(minute), &Fate::PassOver);
    }
    assert_eq!(skipped.passed_over.len(), MAX_PASSED_OVER_KEPT);
    let ended = Turns { active: Some(Active { nominal: at(100), open: false, is_ahead: false }), ..skipped };
    assert_eq!(due(&ended, Overlap::Skip, at(150)), Fate::PassOver, "it was passed over, and forgotten");
    assert_eq!(due(&ended, Overlap::Skip, at(301)), start(301));
    assert_eq!(due(&ended, Overlap::Allow, at(150)), beside(150));
}

/// An event of a task: a due time comes, or the oldest open run ends and the host asks for the next.
#[derive(Debug, Clone)]
enum Happening {
    Due(i64),
    End,
}

fn happenings() -> impl Strategy<Value = Vec<Happening>> {
    let one = prop_oneof![3 => (0i64..20).prop_map(Happening::Due), 2 => Just(Happening::End)];
    proptest::collection::vec(one, 0..80)
}

/// A task as a host keeps it: the turns, and which runs exist and which of them are open.
#[derive(Default)]
struct World {
    turns: Turns,
    started: BTreeSet<Timestamp>,
    open: BTreeSet<Timestamp>,
    passed_over: BTreeSet<Timestamp>,
}

impl World {
    fn seen(&self) -> Turns {
        let active = self.turns.active.map(|active| Active { open: self.open.contains(&active.nominal), ..active });
        Turns { active, ..self.turns.clone() }
    }

    fn deliver(&mut self, policy: Overlap, nominal: Timestamp) {
        while !self.started.contains(&nominal) {
            let (turns, fate) = (self.seen(), due(&self.seen(), policy, nominal));
            self.turns = turns.after(nominal, &fate);
            match fate {
                Fate::Start { nominal, .. } => self.start(nominal),
                Fate::Wait { superseded, .. } => return self.passed_over.extend(superseded),
                Fate::PassOver => {
                    self.passed_over.insert(nominal);
                    return;
                }
                Fate::Nothing => return,
            }
        }
    }

    fn start(&mut self, nominal: Timestamp) {
        assert!(self.started.insert(nominal), "{nominal} started twice");
        self.open.insert(nominal);
    }

    fn end(&mut self) {
        self.open.pop_first();
        let fate = next(&self.seen());
        if let Fate::Start { nominal, .. } = fate {
            self.turns = self.seen().after(nominal, &fate);
            self.start(nominal);
        }
    }
}

proptest! {
    #[test]
    fn no_two_are_open_and_none_is_lost(happenings in happenings(), policy in proptest::sample::select(POLICIES.to_vec())) {
        let mut world = World::default();
        let mut delivered = BTreeSet::new();
        for happening in happenings {
            match happening {
                Happening::Due(minute) => {
                    delivered.insert(at(minute));
                    world.deliver(policy, at(minute));
                }
                Happening::End => world.end(),
            }
            prop_assert!(policy == Overlap::Allow || world.open.len() <= 1, "{:?}", world.open);
            for time in &delivered {
                let fates = [world.started.contains(time), world.turns.waits(*time), world.passed_over.contains(time)];
                prop_assert_eq!(fates.iter().filter(|is| **is).count(), 1, "{}: {:?}", time, fates);
            }
        }
        while !world.open.is_empty() {
            world.end();
        }
        prop_assert!(world.turns.waiting.is_empty());
        prop_assert!(policy != Overlap::Queue || world.started == delivered);
        prop_assert!(policy != Overlap::Allow || world.started == delivered);
    }
}
