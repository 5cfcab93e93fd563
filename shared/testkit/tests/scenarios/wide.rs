//! A fan as wide as a task may be.

use std::collections::VecDeque;

use windlass_domain::definition::Definition;
use windlass_domain::delivery::Delivery;
use windlass_domain::run::{ActionAt, Input, Origin, Report, Run, RunStatus};
use windlass_domain::time::Timestamp;
use windlass_testkit::generate::{agent_of, message_of};
use windlass_testkit::sketch::{ActionSketch, Sketch};
use windlass_testkit::world::{World, performs};

use crate::steps::{completed, give, repeated, report, succeeded};

/// The time of a 10,000-wide fan against a 1,000-wide one, per action, in the orders in which reports may come. It is
/// printed, not asserted: machines differ.
#[test]
fn wide_fan_joins_once() {
    let fan = |width: usize, max_parallel: Option<u32>| {
        let mut actions = vec![ActionSketch::default()];
        actions.extend(vec![ActionSketch::needing([0]); width]);
        actions.push(ActionSketch::needing((1..=width).collect::<Vec<_>>()));
        Sketch { max_parallel, ..Sketch::of(actions) }.definition()
    };
    for (what, max_parallel, in_order) in
        [("in order", None, true), ("in reverse", None, false), ("100 at once", Some(100), true)]
    {
        let per_action = |width: usize| {
            let definition = fan(width, max_parallel);
            let began = std::time::Instant::now();
            let run = run_through(&definition, in_order);
            assert_eq!((run.status, run.open), (RunStatus::Succeeded, 0));
            began.elapsed().as_secs_f64() * 1e6 / f64::from(u32::try_from(width).expect("small"))
        };
        let (narrow, wide) = (per_action(1000), per_action(10_000 - 2));
        println!("{what}: {narrow:.0} us an action of 1,000, {wide:.0} us of 10,000, {:.2} times", wide / narrow);
    }
}

/// The report of the agent that began the first message.
fn first_of(of: ActionAt) -> Report {
    let delivery = Delivery::new(of.attempt, 0, 1);
    Report { action: of.action, delivery, message: message_of(delivery), agent: agent_of(0) }
}

/// Completes all sent attempts, without checks on the way.
fn run_through(definition: &Definition, in_order: bool) -> Run {
    let mut world = World::new(definition.clone(), Origin::Request, "wide");
    let mut open: VecDeque<Input> = [Input::Start].into();
    while let Some(input) = if in_order { open.pop_front() } else { open.pop_back() } {
        let decision = world.ask(&input);
        world.run = decision.after.clone();
        world.run.revision += 1;
        for sent in performs(&decision.commands) {
            let outcome = succeeded();
            open.push_back(Input::Completed {
                of: first_of(sent.of),
                started_at: Timestamp::default(),
                outcome,
                checkpoint: None,
            });
        }
    }
    world.run
}

/// Defect (b) of the old core.
#[test]
fn repeated_input_of_a_fan_resends_its_own() {
    let mut actions = vec![ActionSketch::default(); 2];
    actions.extend(vec![ActionSketch::needing([0]); 10_000 - 3]);
    actions.push(ActionSketch::needing([1]));
    let mut world = World::new(Sketch::of(actions).definition(), Origin::Request, "wide");
    give(&mut world, &Input::Start);
    let done = Input::Completed {
        of: report("a0", "1.0.1", 0),
        started_at: world.now,
        outcome: succeeded(),
        checkpoint: None,
    };
    assert_eq!(performs(&give(&mut world, &done).commands).len(), 10_000 - 3);
    let last = completed(&world, "a1", succeeded());
    give(&mut world, &last);
    let names = |input: &Input| {
        let sent = performs(&repeated(&world, input).commands);
        sent.iter().map(|sent| sent.of.action.as_usize()).collect::<Vec<_>>()
    };
    assert_eq!(names(&last), [10_000 - 1], "the redelivered input resends what its own commit led to");
    assert_eq!(names(&done).len(), 10_000 - 3);
}
