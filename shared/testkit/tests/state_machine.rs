//! The state machine of a run against the reference model, over generated tasks and whatever may happen to them.
//!
//! The draws come from fixed seeds, so that a run of this test is the same everywhere. `WINDLASS_CASES=100000` draws
//! more, `WINDLASS_SEED=7` others. The table of transitions that were seen is written to `docs/transitions.md`
//! with `WINDLASS_BLESS=1`, and must be the one that is there without.

#![expect(clippy::expect_used, reason = "tests")]

#[path = "state_machine/coverage.rs"]
mod coverage;

use std::cell::RefCell;
use std::collections::BTreeSet;

use coverage::Coverage;
use proptest::prelude::*;
use proptest::test_runner::{Config, FileFailurePersistence, RngAlgorithm, TestCaseError, TestRng, TestRunner};
use uuid::Uuid;
use windlass_domain::decide::{Decision, decide};
use windlass_domain::ids::ActionIndex;
use windlass_domain::run::{ActionAt, Event, Input, Origin, Outcome, Run};
use windlass_domain::time::Millis;
use windlass_testkit::generate::{Move, agent_of, an_outcome, moves, sketches, unordered_sketches};
use windlass_testkit::model::Model;
use windlass_testkit::sketch::{Sketch, name_of};
use windlass_testkit::world::{World, performs};

/// Cases that are drawn if nobody says otherwise.
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
fn decisions_agree_with_the_model_and_keep_every_invariant() {
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
    if cases() == CASES && number_in("WINDLASS_SEED").is_none() {
        coverage.check_document();
    }
}

/// The reports of one batch, in whatever order they are folded, leave the same run: if all may run at once, and no
/// expression looks at what has not been settled.
#[test]
fn the_order_of_a_batch_does_not_matter() {
    let outcomes = proptest::collection::vec(an_outcome(), 12);
    let order = Just((0..12).collect::<Vec<usize>>()).prop_shuffle();
    let drawn = (unordered_sketches(), moves(12), outcomes, order);
    let result = runner(99, cases().div_ceil(5)).run(&drawn, |(sketch, moves, outcomes, order)| {
        let mut world = World::new(sketch.definition(), Origin::Request, "drawn");
        for a_move in moves {
            world.now = a_move.pass.after(&world.run, world.now).plus(Millis(1));
            let _ = world.give(&a_move.what.input(&world.run, world.now));
        }
        let in_flight = world.definition.indexes().filter(|at| world.run.action(*at).status.is_in_flight());
        let report = |(action, outcome): (ActionIndex, &Outcome)| {
            let state = world.run.action(action);
            let of = ActionAt { action, attempt: state.attempt, fence: state.fence };
            Input::Completed {
                of,
                agent: agent_of(0),
                started_at: world.now,
                outcome: outcome.clone(),
                checkpoint: None,
            }
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

/// Folds a batch without a commit between, as the process manager does.
fn fold<'a>(world: &World, batch: impl Iterator<Item = &'a Input>) -> Run {
    batch.fold(world.run.clone(), |run, input| {
        let decided = decide(&world.definition, &run, input, world.now);
        decided.map(|decision| decision.run).unwrap_or(run)
    })
}

fn drive(sketch: &Sketch, moves: &[Move], coverage: &mut Coverage) -> Result<(), TestCaseError> {
    let definition = sketch.definition();
    let nominal = windlass_domain::time::Timestamp::from_millis(0);
    let origin = if moves.len().is_multiple_of(2) { Origin::Request } else { Origin::Schedule { nominal } };
    let mut world = World::new(definition, origin, "drawn");
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
    let asked = world.ask(input);
    prop_assert_eq!(&asked, &world.ask(input), "the same question has one answer");
    coverage.count(&before, input, &asked);
    let order = asked.as_ref().map(|decision| world.order_of(decision)).unwrap_or_default();
    let answer = model.take(input, world.now, before.revision + 1, &order);
    prop_assert_eq!(asked.as_ref().err().copied(), answer.refused, "refused: {:?} to {:?}", input, model.status);
    let Ok(decision) = asked else { return Ok(()) };
    let sent: BTreeSet<(ActionAt, bool)> = performs(&decision).iter().map(|sent| (sent.of, sent.claim)).collect();
    prop_assert_eq!(sent, answer.sent, "sent after {:?}", input);
    let broken = world.try_commit(input, &decision);
    prop_assert!(broken.is_empty(), "{}\nevents {:#?}", broken.join("\n"), decision.events);
    agree(world, model, input)?;
    repeat(world, input, &before, &decision)
}

fn agree(world: &World, model: &Model, input: &Input) -> Result<(), TestCaseError> {
    let (actual, expected) = ((world.run.status, world.run.pauses), (model.status, model.pauses));
    prop_assert_eq!(actual, expected, "the run after {:?}", input);
    for (at, state) in world.run.actions.iter().enumerate() {
        let row = &model.actions[&name_of(at)];
        let told = state.unserved.map(|unserved| unserved.since);
        prop_assert_eq!(told, row.unserved, "{} unserved after {:?}", name_of(at), input);
        let lost: Vec<u32> = row.lost.iter().copied().collect();
        prop_assert_eq!(state.leased_until, row.leased, "{} leased after {:?}", name_of(at), input);
        prop_assert_eq!(&state.lost, &lost, "{} lost after {:?}", name_of(at), input);
        let expected = (row.stand.status(), row.attempt, row.fence, row.handed_back, row.checkpoint.as_ref());
        let actual = (state.status, state.attempt, state.fence, state.handed_back, state.checkpoint.as_ref());
        let killed = state.kill.as_ref().map(|kill| kill.at);
        prop_assert_eq!(killed, row.killed, "{} killed after {:?}", name_of(at), input);
        prop_assert_eq!(actual, expected, "{} after {:?}: {:?} instead of {:?}", name_of(at), input, state, row);
    }
    Ok(())
}

/// The same input once more: whoever decided may have died before it sent anything.
fn repeat(world: &World, input: &Input, before: &Run, first: &Decision) -> Result<(), TestCaseError> {
    let repeated = asked_again(input);
    let again = world.ask(repeated.as_ref().unwrap_or(input));
    let Ok(again) = again else {
        // That an owner was not lost is said once, and nobody else hears of it.
        let is_inner = !first.events.is_empty() && first.events.iter().all(|event| !event.kind.is_public());
        prop_assert!(is_inner || !sends_again(input), "{:?} is refused the second time: {:?}", input, again);
        return Ok(());
    };
    prop_assert!(again.events.is_empty(), "{:?} the second time: {:?}", input, again.events);
    let has_ended = action_of(input).is_some_and(|action| world.run.action(action).status.is_settled());
    let is_sent_again =
        sends_again(input) || matches!(input, Input::HandedBack { .. }) || repeated.is_some() && has_ended;
    if !is_sent_again || first.events.is_empty() {
        return Ok(());
    }
    let sent: BTreeSet<ActionAt> = performs(first).iter().map(|sent| sent.of).collect();
    let sent_again: BTreeSet<ActionAt> = performs(&again).iter().map(|sent| sent.of).collect();
    prop_assert_eq!(&sent, &sent_again, "sent by {:?} the second time", input);
    let retries = (before.retries, world.run.retries);
    let published = ids(world, &first.events, retries.1);
    let published_again = ids(world, &again.again, retries.1);
    let lost: Vec<_> = published.difference(&published_again).collect();
    prop_assert!(lost.is_empty(), "{:?} publishes {:?}, then {:?}", input, first.events, again.again);
    let ends = |decision: &Decision| decision.commands.contains(&windlass_domain::decide::Command::Ended);
    prop_assert_eq!(ends(first), ends(&again), "the end is told again");
    Ok(())
}

/// A claim says itself that it is asked again.
fn asked_again(input: &Input) -> Option<Input> {
    let Input::Claim { of, agent, received, copy, again: _ } = input else { return None };
    Some(Input::Claim { of: *of, agent: agent.clone(), received: *received, copy: *copy, again: true })
}

/// Inputs whose repetition finds in the record what they sent.
fn sends_again(input: &Input) -> bool {
    match input {
        Input::Start
        | Input::Cancel { .. }
        | Input::Kill { .. }
        | Input::Retry { .. }
        | Input::Unserved { .. }
        | Input::Completed { .. }
        | Input::DeadLettered { .. }
        | Input::Pause { .. } => true,
        Input::Resume { .. }
        | Input::Wake
        | Input::Sweep { .. }
        | Input::Started { .. }
        | Input::Claim { .. }
        | Input::Renewed { .. }
        | Input::Progressed { .. }
        | Input::HandedBack { .. } => false,
    }
}

fn ids(world: &World, events: &[Event], retries: u32) -> BTreeSet<Uuid> {
    let is_published = |event: &&Event| event.kind.is_public();
    events.iter().filter(is_published).map(|event| event.kind.id(world.run.id, retries, event.at)).collect()
}

/// The state of the action that an input is about.
fn action_of(input: &Input) -> Option<ActionIndex> {
    match input {
        Input::Started { of, .. }
        | Input::Claim { of, .. }
        | Input::Renewed { of, .. }
        | Input::Progressed { of, .. }
        | Input::HandedBack { of, .. }
        | Input::Completed { of, .. }
        | Input::DeadLettered { of, .. } => Some(of.action),
        Input::Kill { action, .. } => Some(*action),
        Input::Start
        | Input::Cancel { .. }
        | Input::Pause { .. }
        | Input::Resume { .. }
        | Input::Retry { .. }
        | Input::Unserved { .. }
        | Input::Wake
        | Input::Sweep { .. } => None,
    }
}
