//! The state machine of a run against the model of a run as people see it, over drawn tasks and inputs.
//!
//! The draws come from fixed seeds, so that a run of this test is the same everywhere. `WINDLASS_CASES=100000` draws
//! more, `WINDLASS_SEED=7` others. Every input must meet every status.

#![expect(clippy::expect_used, reason = "tests")]

#[path = "state_machine/coverage.rs"]
mod coverage;

use std::cell::RefCell;
use std::collections::BTreeSet;

use coverage::Coverage;
use proptest::prelude::*;
use proptest::test_runner::{Config, FileFailurePersistence, RngAlgorithm, TestCaseError, TestRng, TestRunner};
use uuid::Uuid;
use windlass_domain::delivery::Delivery;
use windlass_domain::ids::ActionIndex;
use windlass_domain::outstanding::{self, Outstanding};
use windlass_domain::run::{
    ActionState, Change, Command, Fact, Input, Origin, Outcome, Pages, Report, Run, Source, decide,
};
use windlass_domain::time::{Millis, Timestamp};
use windlass_testkit::generate::{Move, agent_of, an_outcome, message_of, moves, sketches, unordered_sketches};
use windlass_testkit::model::Model;
use windlass_testkit::sketch::{Sketch, name_of};
use windlass_testkit::world::{World, performs};

/// Cases that are drawn by default.
const CASES: u32 = 10_000;
/// Inputs of one case at most.
const MOVES: usize = 40;
const THREADS: u64 = 2;

fn number_in(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

fn cases() -> u32 {
    number_in("WINDLASS_CASES").map_or(CASES, |cases| u32::try_from(cases).expect("fewer cases"))
}

fn runner(stream: u64, cases: u32) -> TestRunner {
    let regressions = concat!(env!("CARGO_MANIFEST_DIR"), "/proptest-regressions/state_machine.txt");
    let config = Config {
        cases,
        max_shrink_time: 20_000,
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(regressions))),
        ..Config::default()
    };
    let mut seed = [0; 32];
    seed[..8].copy_from_slice(&number_in("WINDLASS_SEED").unwrap_or(1).to_le_bytes());
    seed[8..16].copy_from_slice(&stream.to_le_bytes());
    TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &seed))
}

#[test]
fn decisions_agree_with_model_and_invariants() {
    let threads: Vec<_> = (0..THREADS)
        .map(|stream| {
            std::thread::spawn(move || {
                let coverage = RefCell::new(Coverage::default());
                let each = cases().div_ceil(u32::try_from(THREADS).expect("few"));
                let drawn = (sketches(), moves(MOVES));
                let result = runner(stream, each)
                    .run(&drawn, |(sketch, moves)| drive(&sketch, &moves, &mut coverage.borrow_mut()));
                (result.map_err(|error| error.to_string()), coverage.into_inner())
            })
        })
        .collect();
    let mut coverage = Coverage::default();
    for thread in threads {
        let (result, seen) = thread.join().expect("no panic");
        if let Err(error) = result {
            panic!("{error}");
        }
        coverage.merge(seen);
    }
    if cases() >= CASES {
        coverage.check_complete();
    }
}

/// The reports of one batch leave the same run in any order: if all may run at once, and no expression looks at actions.
#[test]
fn the_order_of_a_batch_does_not_matter() {
    let outcomes = proptest::collection::vec(an_outcome(), 12);
    let order = Just((0..12).collect::<Vec<usize>>()).prop_shuffle();
    let drawn = (unordered_sketches(), moves(12), outcomes, order);
    let result = runner(99, cases().div_ceil(5)).run(&drawn, |(sketch, moves, outcomes, order)| {
        let mut world = World::new(sketch.definition(), Origin::Request, "drawn");
        for a_move in moves {
            world.now = a_move.pass.after(&world.run, world.now).plus(Millis(1));
            world.give(&a_move.what.input(&world.run, world.now));
        }
        let in_flight = world.definition.indexes().filter(|at| world.run.action(*at).status.is_in_flight());
        let report = |(action, outcome): (ActionIndex, &Outcome)| Input::Completed {
            of: of_owner(&world.run, action),
            started_at: world.now,
            outcome: outcome.clone(),
            checkpoint: None,
        };
        let batch: Vec<Input> = in_flight.zip(&outcomes).map(report).collect();
        let shuffled: Vec<&Input> = order.iter().filter_map(|at| batch.get(*at)).collect();
        prop_assert_eq!(fold(&world, batch.iter()), fold(&world, shuffled.into_iter()));
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
}

/// A report that counts: of the owner, or of an agent that began the last message without asking.
fn of_owner(run: &Run, action: ActionIndex) -> Report {
    let state = run.action(action);
    let delivery = Delivery { receive: state.last.receive.max(1), ..state.last };
    let agent = state.agent().cloned().unwrap_or_else(|| agent_of(0));
    Report { action, delivery, message: message_of(delivery), agent }
}

/// Folds a batch without a commit between, as the process manager does.
/// The run after those inputs, without what led to each change: the last action that is needed may be any.
fn fold<'a>(world: &World, batch: impl Iterator<Item = &'a Input>) -> Run {
    let decided = |run: Run, input| decide(&world.definition, &run, input, &world.caller, world.now).after;
    let mut run = batch.fold(world.run.clone(), decided);
    let without = |state: &ActionState| ActionState { source: Source::default(), ..state.clone() };
    run.actions = Pages::from_pages(vec![run.actions.iter().map(without).collect()]);
    Run { status_source: Source::default(), ..run }
}

fn drive(sketch: &Sketch, moves: &[Move], coverage: &mut Coverage) -> Result<(), TestCaseError> {
    let nominal = Timestamp::from_millis(0);
    let origin = if moves.len().is_multiple_of(2) { Origin::Request } else { Origin::Schedule { nominal } };
    let mut world = World::new(sketch.definition(), origin, "drawn");
    let mut model = Model::new(sketch);
    for a_move in moves {
        world.now = a_move.pass.after(&world.run, world.now);
        let input = a_move.what.input(&world.run, world.now);
        step(&mut world, &mut model, &input, coverage)?;
    }
    Ok(())
}

fn step(world: &mut World, model: &mut Model, input: &Input, coverage: &mut Coverage) -> Result<(), TestCaseError> {
    let before = world.run.clone();
    let change = world.ask(input);
    prop_assert_eq!(&change, &world.ask(input), "the same question has one answer");
    coverage.count(&before, input, &change);
    let broken = world.try_commit(input, &change);
    prop_assert!(broken.is_empty(), "{}\nfacts {:#?}", broken.join("\n"), change.facts);
    for fact in &change.facts {
        let told = model.follow(fact);
        prop_assert!(told.is_ok(), "{:?}: {:?}", input, told);
    }
    let told = model.check_whole(input, world.now);
    prop_assert!(told.is_ok(), "{:?}: {:?}", input, told);
    agree(world, model, input)?;
    repeat(world, input, &change)
}

fn agree(world: &World, model: &Model, input: &Input) -> Result<(), TestCaseError> {
    prop_assert_eq!(world.run.status, model.status, "the run after {:?}", input);
    for (at, (state, row)) in world.run.actions.iter().zip(&model.actions).enumerate() {
        let (actual, expected) = ((state.status, state.attempt()), (row.status, row.attempt));
        prop_assert_eq!(actual, expected, "{} after {:?}", name_of(at), input);
    }
    Ok(())
}

/// Repeats the input, as after a process manager that died before it sent anything. The input changes nothing, and the
/// record gives the messages and events of the first time.
fn repeat(world: &World, input: &Input, first: &Change) -> Result<(), TestCaseError> {
    let again = world.ask(input);
    prop_assert!(again.facts.is_empty(), "{:?} the second time: {:?}", input, again.facts);
    let public: BTreeSet<Uuid> = ids(world, &first.facts);
    if public.is_empty() || !is_resent(input, first) {
        return Ok(());
    }
    let found = outstanding_of(world, input);
    let told = ids(world, &[&again.again[..], &found.facts[..]].concat());
    let lost: Vec<_> = public.difference(&told).collect();
    prop_assert!(lost.is_empty(), "{:?} publishes {:?}, then {:?}", input, first.facts, found.facts);
    // An attempt that a sweep resends because it has waited for long is no change of the record.
    let changed: BTreeSet<_> = first.facts.iter().filter_map(|fact| fact.kind.about()).map(|of| of.action).collect();
    let sent: BTreeSet<_> = attempts(&first.commands).into_iter().filter(|(at, _)| changed.contains(at)).collect();
    // An earlier input about the same may have sent more that still waits.
    let resent = attempts(&[found.commands.clone(), again.commands].concat());
    prop_assert!(sent.is_subset(&resent), "{:?} sends {:?}, then {:?}", input, sent, resent);
    let ends = |commands: &[Command]| commands.contains(&Command::Ended);
    prop_assert_eq!(ends(&first.commands), ends(&found.commands), "the end is said again");
    Ok(())
}

/// The commands and facts that an input led to in the commits so far.
fn outstanding_of(world: &World, input: &Input) -> Outstanding {
    let of = |source| outstanding::of_source(&world.definition, &world.run, source, world.run.revision, world.now);
    input.sources().into_iter().map(of).fold(Outstanding::default(), |mut all, found| {
        all.facts.extend(found.facts);
        all.commands.extend(found.commands);
        all
    })
}

fn attempts(commands: &[Command]) -> BTreeSet<(ActionIndex, u32)> {
    performs(commands).iter().map(|sent| (sent.of.action, sent.of.attempt)).collect()
}

/// Whether the commit of that input is found when the input comes again. The begin of an attempt is published only
/// once.
fn is_resent(input: &Input, first: &Change) -> bool {
    let is_way = matches!(input, Input::Started { .. } | Input::Renewed { .. } | Input::Progressed { .. });
    let begins = |fact: &Fact| fact.kind.name() == "action.started";
    !(is_way || matches!(input, Input::Claim { .. }) && first.facts.iter().any(begins))
}

/// The ids of the facts that are published again. A request that ended its run at once is known by that end.
fn ids(world: &World, facts: &[Fact]) -> BTreeSet<Uuid> {
    let has_ended = world.run.status.is_final();
    let is_way = |name: &str| name == "action.progressed" || has_ended && matches!(name, "run.retried" | "run.resumed");
    let is_lasting = |fact: &&Fact| fact.kind.is_public() && !is_way(fact.kind.name());
    facts.iter().filter(is_lasting).map(|fact| fact.kind.id(world.run.id, world.run.retries, fact.at)).collect()
}

/// The action that an input is about.
fn action_of(input: &Input) -> Option<ActionIndex> {
    match input {
        Input::Claim { claims, .. } => claims.first().map(|claim| claim.action),
        Input::Started { of, .. }
        | Input::Renewed { of, .. }
        | Input::Progressed { of, .. }
        | Input::HandedBack { of, .. }
        | Input::Completed { of, .. } => Some(of.action),
        Input::DeadLettered { action, .. } | Input::Kill { action, .. } => Some(*action),
        Input::Start
        | Input::Cancel { .. }
        | Input::Pause { .. }
        | Input::Resume { .. }
        | Input::Retry { .. }
        | Input::Unserved { .. }
        | Input::Wake { .. }
        | Input::Sweep => None,
    }
}
