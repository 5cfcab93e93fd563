//! The steps that scenarios are told in.

use serde_json::json;
use windlass_domain::decide::Decision;
use windlass_domain::run::{ActionAt, ActionStatus, ErrorInfo, Event, Input, Origin, Outcome};
use windlass_testkit::generate::agent_of;
use windlass_testkit::sketch::{ActionSketch, RetrySketch, Sketch};
use windlass_testkit::world::World;

pub(crate) fn world(sketch: &Sketch) -> World {
    World::new(sketch.definition(), Origin::Request, "scenario")
}

pub(crate) fn newest(world: &World, name: &str) -> ActionAt {
    let action = world.index(name);
    let state = world.run.action(action);
    ActionAt { action, attempt: state.attempt, fence: state.fence }
}

pub(crate) fn completed(world: &World, name: &str, outcome: Outcome) -> Input {
    let holder = world.run.action(world.index(name)).agent.clone();
    let agent = holder.unwrap_or_else(|| agent_of(0));
    Input::Completed { of: newest(world, name), agent, started_at: world.now, outcome, checkpoint: None }
}

pub(crate) fn succeeded() -> Outcome {
    Outcome::Succeeded { output: json!("done") }
}

pub(crate) fn failed(kind: &str) -> Outcome {
    Outcome::Failed { error: ErrorInfo::new(kind, "it did not work") }
}

pub(crate) fn give(world: &mut World, input: &Input) -> Decision {
    world.give(input).expect("accepted")
}

pub(crate) fn started(world: &mut World, of: ActionAt) {
    let input = Input::Started { of, agent: agent_of(1), started_at: world.now };
    give(world, &input);
}

pub(crate) fn finish(world: &mut World, name: &str, outcome: Outcome) -> Decision {
    let input = completed(world, name, outcome);
    give(world, &input)
}

pub(crate) fn status(world: &World, name: &str) -> ActionStatus {
    world.run.action(world.index(name)).status
}

pub(crate) fn times(world: &World, kind: &str, name: Option<&str>) -> usize {
    let about = name.map(|name| world.index(name));
    let is_it = |event: &&Event| event.kind.name() == kind && event.kind.about().map(|of| of.action) == about;
    world.log.iter().filter(is_it).count()
}

pub(crate) fn diamond() -> Sketch {
    Sketch::of(vec![
        ActionSketch::default(),
        ActionSketch::needing([0]),
        ActionSketch { allow_failure: true, ..ActionSketch::needing([0]) },
        ActionSketch::needing([1, 2]),
    ])
}

pub(crate) fn of_one(retry: RetrySketch) -> Sketch {
    Sketch::of(vec![ActionSketch { retry, ..ActionSketch::default() }])
}

pub(crate) fn chain(length: usize) -> Sketch {
    let needs = |at: usize| ActionSketch::needing(at.checked_sub(1).into_iter().collect::<Vec<_>>());
    Sketch::of((0..length).map(needs).collect())
}
