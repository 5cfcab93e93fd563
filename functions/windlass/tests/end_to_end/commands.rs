//! The commands: their output and their exit codes.

use std::io::{Read, Write};

use crate::support::{Answer, Host, PROGRAM, windlass};
use serde_json::Value;

const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/nightly-report/nightly-report.yaml");
const TASKS: &str = "task: greet\ninput: { type: object, properties: { name: { type: string } }, required: [name] }\n\
                     actions:\n  say: { exec: [echo, \"hello ${{ input.name }}\"] }\n";

fn alone(arguments: &[&str]) -> Answer {
    let mut command = windlass();
    command.args(arguments);
    Answer::of(command)
}

#[test]
fn help_documents_the_exit_codes() {
    let help = alone(&["--help"]);
    assert_eq!(help.code, 0);
    for words in ["0  done", "1  a run that was waited for has failed", "3  the host can not be reached", "4  the time"]
    {
        assert!(help.output.contains(words), "{words}: {}", help.output);
    }
    assert_eq!(alone(&["run"]).code, 2, "bad usage");
}

#[test]
fn every_fault_is_shown_with_its_place() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("faulty.yaml");
    let text = "task: 9lives\nactions:\n  a: { exec: [] }\n  b: { need: a, exec: [true] }\n  c: { needs: [x], exec: [true] }\n";
    std::fs::write(&file, text).expect("written");
    let path = file.to_str().expect("text");
    let answer = alone(&["validate", path]);
    assert_eq!(answer.code, 2);
    for place in [":1:7]", ":3:14]", ":4:8]", ":5:16]"] {
        assert!(answer.errors.contains(place), "{place}: {}", answer.errors);
    }
    let json = alone(&["validate", path, EXAMPLE, "--json"]);
    assert_eq!(json.code, 2);
    let list: Value = serde_json::from_str(&json.output).expect("JSON");
    assert_eq!(list[0]["faults"].as_array().map(Vec::len), Some(4), "{list}");
    assert_eq!(list[0]["faults"][0]["place"]["line"], 1);
    assert_eq!(list[1]["valid"], true);
    assert!(answer.errors.contains("[WL0613]"), "{}", answer.errors);
}

#[test]
fn missing_file_is_named() {
    let answer = alone(&["validate", "/no/such/file.yaml"]);
    assert_eq!(answer.code, 2);
    assert!(answer.errors.contains("[WL0611]") && answer.errors.contains("/no/such/file.yaml"), "{}", answer.errors);
}

#[test]
fn errors_are_json_if_that_is_asked_for() {
    let answer = alone(&["runs", "--url", "http://127.0.0.1:1", "--token", "t", "--json"]);
    assert_eq!(answer.code, 3);
    let error: Value = serde_json::from_str(&answer.errors).expect("JSON");
    assert_eq!((&error["error"]["code"], &error["error"]["exit"]), (&"WL0601".into(), &3.into()));
}

/// Another program's server answers with HTML, or with JSON that no host sends.
#[test]
fn answer_of_another_server_is_refused() {
    for (kind, body) in [("text/html", "<p>It works!"), ("application/json", "{\"it\": \"works\"}")] {
        let server = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}", server.local_addr().expect("bound"));
        std::thread::spawn(move || {
            let (mut caller, _) = server.accept().expect("a caller");
            let mut asked = [0; 4096];
            let _read = caller.read(&mut asked).expect("a request");
            let length = body.len();
            write!(caller, "HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n\r\n{body}")
                .expect("told");
        });
        let answer = alone(&["runs", "--url", &url, "--token", "t"]);
        assert_eq!(answer.code, 3, "{}", answer.errors);
        assert!(answer.errors.contains("[WL0610]"), "{}", answer.errors);
    }
}

#[test]
fn wrong_usage_is_reported_in_json() {
    let answer = alone(&["show", "--json", "--nonsense"]);
    let told: serde_json::Value = serde_json::from_str(&answer.errors).expect("JSON");
    assert_eq!((answer.code, &told["error"]["code"], &told["error"]["exit"]), (2, &"WL0603".into(), &2.into()));
}

#[test]
fn a_bare_call_is_answered_with_the_help() {
    let mut command = windlass();
    command.env("WINDLASS_DATA", "/nowhere");
    let answer = Answer::of(command);
    assert_eq!((answer.code, answer.errors.contains("Usage: windlass")), (2, true), "{}", answer.errors);
    assert!(answer.errors.contains("Start with `windlass demo`"), "{}", answer.errors);
    assert!(!answer.errors.contains("exec-guard"), "{}", answer.errors);
}

#[test]
fn a_closed_pipe_is_no_error() {
    let script = format!("{PROGRAM} man | head -c 10 >/dev/null");
    let output = std::process::Command::new("sh").args(["-c", &script]).output().expect("started");
    assert!(output.status.success() && output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn completions_and_pages_are_generated() {
    assert!(alone(&["completions", "bash"]).output.contains("windlass"));
    let folder = tempfile::tempdir().expect("a folder");
    assert_eq!(alone(&["man", "--dir", folder.path().to_str().expect("text")]).code, 0);
    assert!(folder.path().join("windlass-run.1").exists());
}

#[test]
fn a_graph_needs_no_host_for_a_file() {
    let answer = alone(&["graph", EXAMPLE, "--format", "mermaid"]);
    assert_eq!(answer.code, 0, "{}", answer.errors);
    assert!(answer.output.contains("flowchart LR"));
}

#[test]
fn runs_are_started_named_and_shown() {
    let host = Host::start(&[]);
    host.apply(TASKS);
    let input = ["--input", r#"{"name": "you"}"#];
    let run = host.json(&[&["run", "greet", "--wait", "--key", "k1"], &input[..]].concat());
    assert_eq!(run["status"], "succeeded");
    assert_eq!(run["actions"]["say"]["output"], "hello you");
    let again = host.json(&[&["run", "greet", "--wait", "--key", "k1"], &input[..]].concat());
    assert_eq!(again["id"], run["id"], "the same key is the same run");

    let id = run["id"].as_str().expect("an id");
    assert_eq!(host.json(&["show", &id[..8]]), run);
    assert_eq!(host.json(&["show", "latest"]), run);
    assert_eq!(host.json(&["runs", "--task", "greet", "--status", "succeeded"]).as_array().map(Vec::len), Some(1));
    let tree = host.ask(&["show", id]);
    assert!(tree.output.contains("✓ say") && tree.output.contains("1 of 1 done"), "{}", tree.output);
    let events = host.ask(&["events", id, "--follow"]);
    assert!(events.output.contains("run.started") && events.output.trim_end().ends_with("run.succeeded"));
    assert!(host.ask(&["graph", "greet", "--format", "svg"]).output.starts_with("<svg"));
    assert_eq!(host.ask(&["delete", "greet"]).code, 0);
    assert_eq!(host.json(&["tasks"]), serde_json::json!([]));
}

/// Its answers leave the actions out; the command line reads them in pages, and one with its whole output.
#[test]
fn large_run_is_shown_with_all_its_actions() {
    let host = Host::start(&[]);
    let actions: Vec<String> = (0..1001).map(|at| format!("  a{at}: {{ exec: [\"true\"] }}\n")).collect();
    host.apply(&format!("task: wide\nmax_parallel: 2\nactions:\n{}", actions.concat()));
    let started = host.json(&["run", "wide"]);
    assert_eq!((&started["left_out"], &started["actions"]), (&"actions".into(), &serde_json::json!({})));
    let id = started["id"].as_str().expect("an id");
    let cancelled = host.json(&["cancel", id]);
    assert_eq!(cancelled["left_out"], "actions");
    assert_eq!(host.ask(&["watch", id]).code, 1);
    let shown = host.json(&["show", id]);
    assert_eq!(
        (shown["actions"].as_object().map(serde_json::Map::len), shown.get("action_counts")),
        (Some(1001), None)
    );
    let one = host.json(&["show", id, "a1000"]);
    assert_eq!((&one["name"], one["status"].is_string()), (&"a1000".into(), true));
    let text = host.ask(&["show", id, "a1000"]);
    assert!(text.output.starts_with("a1000 · "), "{}", text.output);
    let none = host.ask(&["show", id, "none"]);
    assert!(none.code == 2 && none.errors.contains("[WL0423]"), "{}", none.errors);
}

#[test]
fn refusal_of_the_host_shows_its_code() {
    let host = Host::start(&[]);
    host.apply(TASKS);
    for (arguments, words) in [
        (&["run", "nothing"][..], "nothing"),
        (&["run", "greet", "--input", "{}"], "name"),
        (&["run", "greet", "--input", "{name"], "[WL0603]"),
        (&["show", "01234567"], "[WL0606]"),
        (&["show", "01a1fff9-78c7-7548-aa54-fd0b61568edc"], "01a1fff9"),
        (&["graph", "nothing"], "nothing"),
    ] {
        let answer = host.ask(arguments);
        assert_eq!(answer.code, 2, "{arguments:?}: {}", answer.errors);
        assert!(answer.errors.contains("[WL0") && answer.errors.contains(words), "{arguments:?}: {}", answer.errors);
    }
}

#[test]
fn failed_run_exits_1_and_shows_stderr() {
    let host = Host::start(&[]);
    host.apply("task: breaks\nactions:\n  a: { exec: [sh, -c, \"echo oh no >&2; exit 3\"] }\n  b: { needs: a, exec: [true] }\n");
    let answer = host.ask(&["run", "breaks", "--wait"]);
    assert_eq!(answer.code, 1);
    assert!(answer.output.contains("✗ a") && answer.output.contains("oh no"), "{}", answer.output);
    assert!(answer.output.contains("– b"), "{}", answer.output);
}

#[test]
fn a_definition_without_a_folder_gets_its_files() {
    let host = Host::start(&[]);
    let file = host.files().join("task.yaml");
    std::fs::write(&file, "task: here\nactions:\n  a: { exec: [pwd] }\n").expect("written");
    let path = file.to_str().expect("text");
    assert_eq!(host.json(&["apply", path, "--no-workdir"])[0]["workdir"], Value::Null);
    let applied = host.json(&["apply", path]);
    assert_eq!((&applied[0]["version"], &applied[0]["created"]), (&2.into(), &true.into()));
    assert_eq!(host.json(&["apply", path])[0]["created"], false, "the same again is no version");
    let run = host.json(&["run", "here", "--wait"]);
    let folder = host.files().canonicalize().expect("there");
    assert_eq!(run["actions"]["a"]["output"], folder.to_str().expect("text"));
}

#[test]
fn the_demo_shows_everything_and_ends_well() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = windlass();
    command.args(["demo", "--data"]).arg(folder.path().join("demo"));
    let answer = Answer::of(command);
    assert_eq!(answer.code, 0, "{}{}", answer.output, answer.errors);
    for words in ["nightly-report", "✓ rank", "\"requests\": 2400000", "run.succeeded", "How to go on", "serve"] {
        assert!(answer.output.contains(words), "{words}: {}", answer.output);
    }
    assert!(folder.path().join("demo/examples/log-pipeline/count.py").exists());
}
