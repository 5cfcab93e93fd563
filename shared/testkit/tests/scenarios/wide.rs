//! A fan as wide as a task may be.

use std::collections::VecDeque;

use windlass_domain::definition::Definition;
use windlass_domain::run::{Input, Origin, Run, RunStatus};
use windlass_domain::time::Timestamp;
use windlass_testkit::generate::agent_of;
use windlass_testkit::sketch::{ActionSketch, Sketch};
use windlass_testkit::world::{World, performs};

use crate::steps::succeeded;

/// The time of a 10,000-wide fan against a 1,000-wide one, per action, in the orders in which reports may come. It is
/// printed, not asserted: machines differ.
#[test]
fn a_wide_fan_joins_once() {
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

/// Completes whatever is sent until nothing is, without checks on the way.
fn run_through(definition: &Definition, in_order: bool) -> Run {
    let mut world = World::new(definition.clone(), Origin::Request, "wide");
    let mut open: VecDeque<Input> = [Input::Start].into();
    while let Some(input) = if in_order { open.pop_front() } else { open.pop_back() } {
        let decision = world.ask(&input).expect("accepted");
        world.run = decision.run.clone();
        world.run.revision += 1;
        for sent in performs(&decision) {
            let outcome = succeeded();
            open.push_back(Input::Completed {
                of: sent.of,
                agent: agent_of(0),
                started_at: Timestamp::default(),
                outcome,
                checkpoint: None,
            });
        }
    }
    world.run
}
