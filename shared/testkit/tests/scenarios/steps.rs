//! The steps of the scenarios.

use serde_json::json;
use windlass_domain::delivery::Delivery;
use windlass_domain::ids::ActionIndex;
use windlass_domain::outstanding::{self, Outstanding};
use windlass_domain::run::{
    ActionState, ActionStatus, CancelCause, Change, Claim, Command, Confirm, ErrorInfo, Fact, Input, Origin, Outcome,
    Report, Stop,
};
use windlass_testkit::generate::{agent_of, message_of};
use windlass_testkit::sketch::{ActionSketch, RetrySketch, Sketch};
use windlass_testkit::world::World;

pub(crate) fn world(sketch: &Sketch) -> World {
    World::new(sketch.definition(), Origin::Request, "scenario")
}

pub(crate) fn begun(sketch: &Sketch) -> World {
    let mut world = world(sketch);
    give(&mut world, &Input::Start);
    world
}

/// The action of a sketch that has that name.
fn action(name: &str) -> ActionIndex {
    ActionIndex(name[1..].parse().expect("a number"))
}

/// A report of that delivery by that agent. Each issue has a message of its own.
pub(crate) fn report(name: &str, delivery: &str, agent: u8) -> Report {
    let delivery: Delivery = delivery.parse().expect("a delivery");
    Report { action: action(name), delivery, message: message_of(delivery), agent: agent_of(agent) }
}

/// A report that counts: by the owner, or by an agent that began the newest message without asking.
pub(crate) fn counting(world: &World, name: &str) -> Report {
    let state = state(world, name);
    let delivery = Delivery { receive: state.last.receive.max(1), ..state.last };
    let agent = state.agent().cloned().unwrap_or_else(|| agent_of(0));
    Report { action: world.index(name), delivery, message: message_of(delivery), agent }
}

pub(crate) fn completed(world: &World, name: &str, outcome: Outcome) -> Input {
    Input::Completed { of: counting(world, name), started_at: world.now, outcome, checkpoint: None }
}

pub(crate) fn claim(of: &Report, asked: u32) -> Input {
    let Report { action, delivery, message, agent } = of.clone();
    Input::Claim { agent, claims: vec![Claim { action, delivery, message, asked }] }
}

pub(crate) fn hand_back(of: &Report) -> Input {
    Input::HandedBack { of: of.clone(), kept: false, checkpoint: None }
}

pub(crate) fn renewal(world: &World, of: &Report, number: u32) -> Input {
    Input::Renewed { of: of.clone(), started_at: world.now, number }
}

pub(crate) fn cancel(retries: u32) -> Input {
    Input::Cancel { reason: "enough".into(), cause: CancelCause::Request, retries }
}

pub(crate) fn kill(action: u32) -> Input {
    Input::Kill { action: ActionIndex(action), reason: "enough".to_owned(), retries: 0 }
}

pub(crate) fn wake(name: &str) -> Input {
    Input::Wake { action: Some(action(name)) }
}

pub(crate) const WAKE: Input = Input::Wake { action: None };

pub(crate) fn sweep(world: &mut World) -> Change {
    give(world, &Input::Sweep)
}

pub(crate) fn succeeded() -> Outcome {
    Outcome::Succeeded { output: json!("done") }
}

pub(crate) fn failed(kind: &str) -> Outcome {
    Outcome::Failed { error: ErrorInfo::new(kind, "it did not work") }
}

/// Gives an input that must be accepted.
pub(crate) fn give(world: &mut World, input: &Input) -> Change {
    let change = world.give(input);
    assert_eq!(change.answer, Ok(()), "{input:?}");
    change
}

/// Agent 1 began the first message of that attempt without asking.
pub(crate) fn started(world: &mut World, name: &str) -> Report {
    let of = Report { agent: agent_of(1), ..counting(world, name) };
    let input = Input::Started { of: of.clone(), started_at: world.now };
    give(world, &input);
    of
}

pub(crate) fn finish(world: &mut World, name: &str, outcome: Outcome) -> Change {
    let input = completed(world, name, outcome);
    give(world, &input)
}

pub(crate) fn state<'w>(world: &'w World, name: &str) -> &'w ActionState {
    world.run.action(world.index(name))
}

pub(crate) fn status(world: &World, name: &str) -> ActionStatus {
    state(world, name).status
}

pub(crate) fn times(world: &World, kind: &str, name: Option<&str>) -> usize {
    let about = name.map(|name| world.index(name));
    let is_it = |fact: &&Fact| fact.kind.name() == kind && fact.kind.about().map(|of| of.action) == about;
    world.log.iter().filter(is_it).count()
}

/// The commands and facts of a repeated input, which must change nothing: those of the first time.
pub(crate) fn repeated(world: &World, input: &Input) -> Outstanding {
    let change = world.ask(input);
    assert_eq!(change.facts, [], "{input:?} changes something the second time");
    outstanding_of(world, input)
}

/// The commands and facts that an input led to in the commits so far.
pub(crate) fn outstanding_of(world: &World, input: &Input) -> Outstanding {
    let mut found = Outstanding::default();
    for source in input.sources() {
        let of_source = outstanding::of_source(&world.definition, &world.run, source, world.run.revision, world.now);
        found.facts.extend(of_source.facts);
        found.commands.extend(of_source.commands);
    }
    found
}

pub(crate) fn kinds(facts: &[Fact]) -> Vec<&'static str> {
    facts.iter().map(|fact| fact.kind.name()).collect()
}

pub(crate) fn confirms(change: &Change) -> Vec<Confirm> {
    let of = |command: &Command| match command {
        Command::Confirm(confirm) => Some(confirm.as_ref().clone()),
        Command::Perform(_) | Command::Stop(_) | Command::Wake { .. } | Command::Ended => None,
    };
    change.commands.iter().filter_map(of).collect()
}

pub(crate) fn stops(commands: &[Command]) -> Vec<Stop> {
    let of = |command: &Command| match command {
        Command::Stop(stop) => Some(stop.as_ref().clone()),
        Command::Perform(_) | Command::Confirm(_) | Command::Wake { .. } | Command::Ended => None,
    };
    commands.iter().filter_map(of).collect()
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
