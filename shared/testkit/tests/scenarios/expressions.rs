//! Expressions of a task, as its run meets them.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use windlass_domain::definition::Definition;
use windlass_domain::limits::MAX_WORK_BYTES;
use windlass_domain::run::{ActionStatus, Input, Origin, Outcome, RunStatus};
use windlass_domain::work::{ExecWork, Work};
use windlass_testkit::world::{World, performs};

use crate::steps::{finish, give, status, succeeded};

fn begun(definition: &str) -> World {
    let definition = Definition::from_text(definition).expect("a sound definition");
    let mut world = World::new(definition, Origin::Request, "expressions");
    give(&mut world, &Input::Start);
    world
}

fn check_output(output: &str, given: Value, expected: Result<Value, &str>) {
    let mut world = begun(&format!("task: t\noutput: {output}\nactions:\n  a: {{ native: {{ handler: a }} }}\n"));
    finish(&mut world, "a", Outcome::Succeeded { output: given });
    match expected {
        Ok(value) => assert_eq!((world.run.status, &world.run.output), (RunStatus::Succeeded, &Some(value))),
        Err(words) => {
            let error = world.run.error.as_ref().expect("it failed");
            assert_eq!((world.run.status, &world.run.output), (RunStatus::Failed, &None));
            assert_eq!(error.kind, "expression");
            assert!(error.message.contains("`output`") && error.message.contains(words), "{error:?}");
        }
    }
}

#[test]
fn run_output_is_evaluated_at_its_end() {
    check_output("\"${{ actions.a.output.rows }}\"", json!({ "rows": 7 }), Ok(json!(7)));
    check_output("{ of: \"${{ actions.a.status }}\" }", json!(null), Ok(json!({ "of": "succeeded" })));
    check_output("\"${{ actions.a.output.rows }}\"", json!({ "lines": 7 }), Err("rows"));
}

/// Another attempt would find the same, so there is none.
#[test]
fn expression_without_a_value_fails_its_action() {
    let retry = "retry: { attempts: 9, delay: 1s }";
    let cases = [
        ("when: actions.a.output.go", "exec: [\"true\"]", "`when`"),
        ("when: \"'text'\"", "exec: [\"true\"]", "`when`"),
        ("pool: default", "exec: [echo, \"${{ actions.a.output.go }}\"]", "`exec.command`"),
        ("pool: default", "http: { url: \"http://h/${{ actions.a.output.go }}\" }", "`http.url`"),
        ("pool: default", "native: { handler: b, input: \"${{ actions.a.output.go }}\" }", "`native.input`"),
    ];
    for (more, facade, place) in cases {
        let mut world = begun(&format!(
            "task: t\nactions:\n  a: {{ native: {{ handler: a }} }}\n  b:\n    needs: a\n    {retry}\n    {more}\n    {facade}\n"
        ));
        finish(&mut world, "a", succeeded());
        let state = world.run.action(world.index("b"));
        let error = state.error.as_ref().expect("it failed");
        assert_eq!(
            (status(&world, "b"), error.kind.as_str(), state.attempt()),
            (ActionStatus::Failed, "expression", 0)
        );
        assert!(error.message.contains(place), "{error:?}");
        assert_eq!(world.run.status, RunStatus::Failed);
    }
}

/// The second of two actions, as it is sent once the first has given `x`.
fn given(facade: &str) -> Option<Value> {
    let text = format!("task: t\nactions:\n  a: {{ native: {{ handler: a }} }}\n  b: {{ needs: a, {facade} }}\n");
    let mut world = begun(&text);
    let decision = finish(&mut world, "a", Outcome::Succeeded { output: json!("x") });
    performs(&decision.commands).first().map(|perform| serde_json::to_value(&perform.work).expect("JSON"))
}

#[test]
fn work_of_an_action_is_rendered() {
    let exec =
        given("exec: { command: [say, \"${{ actions.a.output }}\"], env: { OF: \"a ${{ actions.a.output }}\" } }");
    let exec = exec.expect("it is sent");
    assert_eq!((&exec["command"], &exec["env"]), (&json!(["say", "x"]), &json!({ "OF": "a x" })));
    let http =
        given("http: { url: \"http://h/${{ actions.a.output }}\", headers: { Of: \"${{ actions.a.output }}\" } }");
    let http = http.expect("it is sent");
    assert_eq!((&http["url"], &http["headers"]), (&json!("http://h/x"), &json!({ "Of": "x" })));
}

/// The folder of an action, and that of its task, which each action reads for itself.
#[test]
fn workdir_is_rendered() {
    let own = given("exec: { command: [say], workdir: \"/d/${{ actions.a.output }}\" }").expect("it is sent");
    assert_eq!(own["workdir"], "/d/x");
    let of_task =
        "exec: [say] }\n  c: { needs: a, exec: { command: [say], workdir: /own } }\n  d: { needs: a, exec: [say]";
    let text = format!(
        "task: t\nworkdir: \"/${{{{ run.task }}}}\"\nactions:\n  a: {{ native: {{ handler: a }} }}\n  b: {{ needs: a, {of_task} }}\n"
    );
    let decision = finish(&mut begun(&text), "a", Outcome::Succeeded { output: json!("x") });
    let folder = |work: &Work| serde_json::to_value(work).expect("JSON")["workdir"].clone();
    let folders: Vec<Value> = performs(&decision.commands).iter().map(|perform| folder(&perform.work)).collect();
    assert_eq!(folders, ["/sketch", "/own", "/sketch"]);
    let unknown = "task: t\nworkdir: \"/${{ env.HOME }}\"\nactions: { a: { exec: [say] }, b: { exec: [say] } }\n";
    let faults = Definition::from_text(unknown).expect_err("a fault").to_string();
    assert_eq!(faults.lines().count(), 1, "{faults}");
    assert!(faults.starts_with("2:16: `env` is not known"), "{faults}");
}

/// Rendered work must fit into the message that carries it; constants were measured when the definition was read.
#[test]
fn rendered_work_fits_into_its_message() {
    let part = "${{ actions.a.output }}";
    let text = format!(
        "task: t\nactions:\n  a: {{ native: {{ handler: a }} }}\n  b:\n    needs: a\n    exec: [say, \"{part}\", \"{part}\", \"{part}\"]\n"
    );
    let rendered = |bytes: usize| {
        let mut world = begun(&text);
        finish(&mut world, "a", Outcome::Succeeded { output: json!("x".repeat(bytes)) });
        let error = world.run.action(world.index("b")).error.clone();
        (status(&world, "b"), error.map(|error| (error.kind, error.message)))
    };
    let work = Work::Exec(ExecWork {
        command: vec!["say".to_owned(), String::new(), String::new(), String::new()],
        stdin: None,
        env: BTreeMap::new(),
        workdir: None,
        output: None,
    });
    let around = serde_json::to_string(&work).expect("JSON").len();
    let most = (MAX_WORK_BYTES - around) / 3;
    assert_eq!(rendered(most), (ActionStatus::Queued, None));
    let bytes = around + 3 * (most + 1);
    let message = format!("what the action is given has {bytes} bytes; at most {MAX_WORK_BYTES} can be sent");
    assert_eq!(rendered(most + 1), (ActionStatus::Failed, Some(("work.too_large".to_owned(), message))));
}
