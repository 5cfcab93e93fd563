//! What one step of a run evaluates is bounded: what is too much for it is done in the next ones, and is decided the same.

use std::collections::VecDeque;

use serde_json::json;
use windlass_domain::definition::Definition;
use windlass_domain::ids::ActionIndex;
use windlass_domain::limits::{MAX_EXPRESSION_WORK, MAX_STEP_WORK, REISSUE_QUEUED_AFTER_MS};
use windlass_domain::outstanding;
use windlass_domain::run::{ActionStatus, Change, Command, Input, Origin, RunStatus, Source};
use windlass_domain::time::Millis;
use windlass_testkit::world::{World, performs};

use crate::steps::{completed, finish, give, renewal, started, state, status, succeeded, sweep};

/// Letters of the text that each costly expression looks at, and how often. It costs a step for each 16 of them, so two such
/// expressions are too much for one place.
const LETTERS: usize = 100_000;
const TIMES: usize = 50;
const _: () = assert!((LETTERS / 16 * TIMES * 2) as u64 > MAX_EXPRESSION_WORK);
const COSTLY: &str = "input.times.exists(time, size(input.letters) == time)";
/// How many of them are more than one step evaluates, and not twice as many.
const FAN: usize = 7;

/// A task whose actions have those fields; they are named `a0`, `a1` and so on.
fn fan(top: &str, actions: &[String]) -> World {
    let action = |(at, fields): (usize, &String)| format!("  a{at}: {{ {fields} }}\n");
    let actions: String = actions.iter().enumerate().map(action).collect();
    let definition =
        Definition::from_text(&format!("task: t\n{top}\nactions:\n{actions}")).expect("a sound definition");
    let mut world = World::new(definition, Origin::Request, "bounded");
    let input = json!({ "letters": "x".repeat(LETTERS), "times": (0..TIMES).collect::<Vec<_>>() });
    world.run.input = world.run.values.hold(input);
    world
}

/// A fan whose conditions are costly, and hold for every action but `a2`.
fn conditions() -> Vec<String> {
    let when = |at: usize| if at == 2 { COSTLY.to_owned() } else { format!("!{COSTLY}") };
    (0..FAN).map(|at| format!("exec: [x], when: \"{}\"", when(at))).collect()
}

/// A fan whose conditions are cheap, and what its actions are given costly.
fn arguments() -> Vec<String> {
    (0..FAN).map(|_| format!("exec: [x, \"${{{{ {COSTLY} }}}}\"]")).collect()
}

fn names(change: &Change) -> Vec<usize> {
    performs(&change.commands).iter().map(|sent| sent.of.action.as_usize()).collect()
}

fn wakes(change: &Change) -> Vec<Input> {
    let of = |command: &Command| match command {
        Command::Wake { action, .. } => Some(Input::Wake { action: *action }),
        Command::Perform(_) | Command::Confirm(_) | Command::Stop(_) | Command::Ended => None,
    };
    change.commands.iter().filter_map(of).collect()
}

/// Gives the input, and every Wake that follows from it; gives what each step queued.
fn steps(world: &mut World, input: Input) -> Vec<Vec<usize>> {
    let (mut open, mut steps) = (VecDeque::from([input]), Vec::new());
    while let Some(input) = open.pop_front() {
        let change = give(world, &input);
        assert!(change.evaluated <= MAX_STEP_WORK, "{input:?} evaluates {}", change.evaluated);
        let next = wakes(&change);
        if !next.is_empty() {
            assert_eq!((next.len(), world.run.wake_at), (1, Some(world.now)), "{input:?}");
        }
        open.extend(next);
        steps.push(names(&change));
        assert!(steps.len() <= 2 * FAN, "{steps:?}");
    }
    steps
}

/// In the first step the last condition is the one too many: its action is ready, and is queued by the next step.
#[test]
fn one_step_takes_up_no_more_than_its_bound() {
    let mut world = fan("", &conditions());
    assert_eq!(steps(&mut world, Input::Start), [vec![0, 1], vec![3, 4, 5, 6]]);
    assert_eq!(status(&world, "a2"), ActionStatus::Skipped);
    let mut world = fan("", &arguments());
    assert_eq!(steps(&mut world, Input::Start), [vec![0, 1, 2, 3], vec![4, 5, 6]]);
    // Each was queued, so the next look is at their mark.
    assert_eq!(world.run.wake_at, Some(world.now.plus(Millis(REISSUE_QUEUED_AFTER_MS))));
}

/// The end of one action lets all others follow.
#[test]
fn wide_dependents_follow_in_several_steps() {
    let mut actions = vec!["exec: [x]".to_owned()];
    actions.extend(arguments().iter().map(|action| format!("{action}, needs: a0")));
    let mut world = fan("", &actions);
    give(&mut world, &Input::Start);
    let done = completed(&world, "a0", succeeded());
    assert_eq!(steps(&mut world, done.clone()), [vec![1, 2, 3, 4], vec![5, 6, 7]]);
    // Each input resends only its own, so what it renders again is bounded, too.
    let resent = |source: Source| {
        let of_source = outstanding::of_source(&world.definition, &world.run, source, world.run.revision, world.now);
        performs(&of_source.commands).iter().map(|sent| sent.of.action.as_usize()).collect::<Vec<_>>()
    };
    let wake = Input::Wake { action: Some(ActionIndex(5)) };
    assert_eq!((resent(done.source()), resent(wake.source())), (vec![1, 2, 3, 4], vec![5, 6, 7]));
}

/// The message that was to wake the run is lost.
#[test]
fn sweep_goes_on_with_what_a_step_left() {
    let mut world = fan("", &conditions());
    let first = give(&mut world, &Input::Start);
    assert_eq!((names(&first), wakes(&first).len()), (vec![0, 1], 1));
    world.pass(Millis(1));
    // No report puts the run's wake off.
    let of = started(&mut world, "a0");
    let renewed = renewal(&world, &of, 1);
    give(&mut world, &renewed);
    assert!(world.run.wake_at.is_some_and(|at| at < world.now));
    assert_eq!(names(&sweep(&mut world)), [3, 4, 5, 6]);
}

/// A pause holds back what is to be queued; it never held back what is skipped.
#[test]
fn conditions_are_evaluated_during_a_pause() {
    let when = format!("exec: [x], when: \"!{COSTLY}\", needs: a0");
    let mut actions = vec!["exec: [x]".to_owned()];
    actions.extend(vec![when; FAN]);
    let mut world = fan("", &actions);
    give(&mut world, &Input::Start);
    give(&mut world, &Input::Pause { pauses: 0, retries: 0 });
    let done = completed(&world, "a0", succeeded());
    assert_eq!(steps(&mut world, done), [vec![0; 0], vec![]]);
    assert_eq!((world.run.status, world.run.ready as usize), (RunStatus::Paused, FAN));
    assert_eq!(steps(&mut world, Input::Resume { pauses: 1 }), [(1..=FAN).collect::<Vec<_>>()]);
}

/// Of seven resends at a mark, a sweep does those that were due first; the next sweep goes on from there.
#[test]
fn sweep_resends_what_was_due_first() {
    let mut actions = vec!["exec: [x]".to_owned(); 2];
    actions.extend(
        arguments().iter().enumerate().map(|(at, action)| format!("{action}, needs: a{}", usize::from(at < 3))),
    );
    let mut world = fan("", &actions);
    give(&mut world, &Input::Start);
    finish(&mut world, "a0", succeeded());
    let began = world.now;
    world.pass(Millis(1));
    finish(&mut world, "a1", succeeded());
    world.now = began.plus(Millis(REISSUE_QUEUED_AFTER_MS + 1));
    assert_eq!(names(&sweep(&mut world)), [5, 6, 7, 8]);
    assert_eq!(world.run.wake_at, Some(world.now));
    world.pass(Millis::from_secs(60));
    assert_eq!(names(&sweep(&mut world)), [2, 3, 4]);
    assert_eq!(names(&sweep(&mut world)), [0; 0]);
}

/// Else the sweep after it would begin with the same attempts again.
#[test]
fn sweep_resends_all_that_is_due_at_one_instant() {
    let mut world = fan("", &arguments());
    steps(&mut world, Input::Start);
    world.pass(Millis(REISSUE_QUEUED_AFTER_MS));
    assert_eq!(names(&sweep(&mut world)), (0..FAN).collect::<Vec<_>>());
}

/// Another attempt would find the same, so there is none.
#[test]
fn action_that_evaluates_too_much_fails() {
    let twice =
        format!("exec: [x, \"${{{{ {COSTLY} }}}}\", \"${{{{ {COSTLY} }}}}\"], retry: {{ attempts: 9, delay: 1s }}");
    let mut world = fan("", &[twice]);
    give(&mut world, &Input::Start);
    let error = state(&world, "a0").error.as_ref().expect("it failed");
    assert_eq!((status(&world, "a0"), error.kind.as_str()), (ActionStatus::Failed, "expression"));
    assert!(error.message.contains("the expression and those beside it visit or make more than"), "{error:?}");
    // The output of a run has a bound of its own.
    let mut world = fan(&format!("output: \"${{{{ {COSTLY} }}}}\""), &arguments()[..1]);
    give(&mut world, &Input::Start);
    finish(&mut world, "a0", succeeded());
    assert_eq!((world.run.status, world.run.output), (RunStatus::Succeeded, Some(json!(false))));
}
