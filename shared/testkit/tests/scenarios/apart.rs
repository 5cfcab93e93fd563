//! Long values stand apart from the record: what a decision reads of them is named, and is little.

use serde_json::{Value, json};
use windlass_domain::caller::Caller;
use windlass_domain::content::{Place, Wanted};
use windlass_domain::definition::Definition;
use windlass_domain::ids::ActionIndex;
use windlass_domain::limits::MAX_STEP_READ_BYTES;
use windlass_domain::outstanding;
use windlass_domain::run::{ActionAt, Change, Command, FactKind, Input, Origin, Outcome, Run, Source, decide};
use windlass_domain::time::Timestamp;
use windlass_testkit::world::{World, performs};

use crate::steps::{completed, finish, give, succeeded};

const BYTES: usize = 100_000;

fn begun(actions: &str) -> World {
    let definition = Definition::from_text(&format!("task: t\nactions:\n{actions}")).expect("a sound definition");
    let mut world = World::new(definition, Origin::Request, "apart");
    let input = json!({ "word": "x", "long": "x".repeat(BYTES) });
    world.run.input = world.run.values.hold(input);
    give(&mut world, &Input::Start);
    world
}

fn long(of: usize) -> Outcome {
    Outcome::Succeeded { output: json!({ "of": of, "text": "x".repeat(BYTES) }) }
}

fn output(action: usize) -> Place {
    Place::Output(ActionIndex::from_usize(action))
}

/// Decides on the record as a host loads it.
fn asked(world: &World, run: &Run, input: &Input) -> Change {
    decide(&world.definition, run, input, &Caller::default(), world.now)
}

fn wanted(world: &World, input: &Input) -> Wanted {
    asked(world, &world.run.clone().bare(), input).wanted
}

#[test]
fn record_has_no_long_value() {
    let mut world = begun("  a: { exec: [x] }\n");
    finish(&mut world, "a", long(0));
    let record = serde_json::to_string(&(&world.run, &world.run.actions)).expect("it can be written");
    assert!(record.len() < 2000, "{} bytes", record.len());
    assert_eq!(world.run.value(output(0)).map(|output| &output["of"]), Some(&json!(0)));
}

#[test]
fn only_values_that_are_read_are_wanted() {
    let actions = "  a: { exec: [x] }\n  b: { exec: [x] }\n  s: { exec: [x] }\n";
    for (fields, expected) in [
        ("exec: [x]", vec![]),
        ("when: actions.a.status == 'succeeded' && actions.b.error == null, exec: [x]", vec![]),
        ("when: has(actions.a.error), exec: [x, \"${{ run.id }}\"]", vec![output(0)]),
        ("exec: [x, \"${{ actions.a.output.of }}\"]", vec![output(0)]),
        ("exec: [x, \"${{ actions.a.output.of + actions['b'].output.of }}\"]", vec![output(0), output(1)]),
        ("native: { handler: x, input: \"${{ actions.a }}\" }", vec![output(0)]),
        ("exec: [x], when: input.word == 'x' && actions.b.status == 'succeeded'", vec![Place::Input]),
    ] {
        let mut world = begun(&format!("{actions}  c: {{ needs: [a, b, s], {fields} }}\n"));
        finish(&mut world, "a", long(0));
        finish(&mut world, "b", long(1));
        let last = completed(&world, "s", succeeded());
        assert_eq!(wanted(&world, &last), expected.into_iter().collect(), "{fields}");
        finish(&mut world, "s", succeeded());
    }
}

/// The submitter may have died before it sent the first attempts: what they are given may stand apart.
#[test]
fn start_that_comes_again_wants_the_input() {
    let world = begun("  a: { exec: [x, \"${{ input.word }}\"] }\n");
    assert_eq!(wanted(&world, &Input::Start), Wanted::from([Place::Input]));
    assert_eq!(asked(&world, &world.run, &Input::Start).commands.len(), 1);
}

/// What a step has made itself it need not load.
#[test]
fn output_that_just_came_is_not_wanted() {
    let world = begun("  a: { exec: [x] }\n  b: { needs: [a], exec: [x, \"${{ actions.a.output.of }}\"] }\n");
    assert_eq!(wanted(&world, &completed(&world, "a", long(0))), Wanted::new());
}

#[test]
fn event_that_is_told_again_wants_its_output() {
    let mut world = begun("  a: { exec: [x] }\n  b: { needs: [a], exec: [x] }\n");
    let done = completed(&world, "a", long(0));
    give(&mut world, &done);
    let again = |run: &Run| {
        let source = Source::Action(ActionIndex(0));
        outstanding::of_source(&world.definition, run, source, run.revision, world.now)
    };
    assert_eq!(again(&world.run.clone().bare()).wanted, Wanted::from([output(0)]));
    let told = again(&world.run);
    assert_eq!(told.wanted, Wanted::new());
    let output = told.facts.iter().find_map(|fact| {
        let FactKind::ActionSucceeded { output, .. } = &fact.kind else { return None };
        Some(output)
    });
    assert_eq!(output.map(|output| output["of"].clone()), Some(json!(0)));
}

/// Many actions wait for one, and each reads the long output of another: a step loads only so much, and the next one goes on.
#[test]
fn step_reads_no_more_than_its_bound() {
    const FAN: usize = 400;
    const _: () = assert!((FAN * BYTES) as u64 > MAX_STEP_READ_BYTES);
    let sources: Vec<String> = (0..FAN).map(|at| format!("  x{at}: {{ exec: [x] }}\n")).collect();
    let sources = sources.concat();
    let readers = (0..FAN)
        .map(|at| format!("  y{at}: {{ needs: [x{at}, last], exec: [x, \"${{{{ actions.x{at}.output.of }}}}\"] }}\n"));
    let world = begun(&format!("{sources}  last: {{ exec: [x] }}\n{}", readers.collect::<String>()));
    let mut run = world.run.clone();
    for at in 0..FAN {
        let of = ActionAt { action: ActionIndex::from_usize(at), attempt: 1 };
        let Outcome::Succeeded { output } = long(at) else { continue };
        windlass_domain::run::apply(&mut run, &fact(world.now, FactKind::ActionSucceeded { of, by: None, output }));
    }
    let last = completed(&world, "last", succeeded());
    let wanted = asked(&world, &run.clone().bare(), &last).wanted;
    let bytes: u64 = wanted.iter().filter_map(|place| run.apart(*place)).map(|apart| apart.bytes).sum();
    assert!(bytes > MAX_STEP_READ_BYTES && bytes < MAX_STEP_READ_BYTES + 2 * BYTES as u64, "{bytes}");
    let change = asked(&world, &run, &last);
    assert_eq!(change.wanted, Wanted::new());
    assert_eq!(performs(&change.commands).len(), wanted.len(), "all that was loaded was read");
    assert!(change.commands.iter().any(|command| matches!(command, Command::Wake { .. })), "the next step goes on");
    // The next step wants the rest, and only that.
    let rest = asked(&world, &change.after.clone().bare(), &Input::Wake { action: None }).wanted;
    assert_eq!((rest.len(), rest.is_disjoint(&wanted)), (FAN - wanted.len(), true));
}

fn fact(at: Timestamp, kind: FactKind) -> windlass_domain::run::Fact {
    windlass_domain::run::Fact::told(at, kind)
}

/// More than any expression could visit is not loaded at all.
#[test]
fn expression_that_reads_too_much_fails_without_it() {
    const FAN: usize = 800;
    let sources: Vec<String> = (0..FAN).map(|at| format!("  x{at}: {{ exec: [x] }}\n")).collect();
    let sources = sources.concat();
    let parts: Vec<String> = (0..FAN).map(|at| format!("\"${{{{ actions.x{at}.output.of }}}}\"")).collect();
    let needs: Vec<String> = (0..FAN).map(|at| format!("x{at}")).collect();
    let join = format!("  all: {{ needs: [{}], exec: [x, {}] }}\n", needs.join(", "), parts.join(", "));
    let world = begun(&format!("{sources}{join}"));
    let mut run = world.run.clone();
    let output: Value = "x".repeat(BYTES).into();
    for at in 0..FAN - 1 {
        let of = ActionAt { action: ActionIndex::from_usize(at), attempt: 1 };
        windlass_domain::run::apply(
            &mut run,
            &fact(world.now, FactKind::ActionSucceeded { of, by: None, output: output.clone() }),
        );
    }
    let change = asked(&world, &run.bare(), &completed(&world, &format!("x{}", FAN - 1), succeeded()));
    assert_eq!(change.wanted, Wanted::new());
    let error = change.after.action(world.index("all")).error.clone().expect("it has failed");
    assert_eq!((error.kind.as_str(), error.message.contains("in `exec`")), ("expression", true), "{}", error.message);
}
