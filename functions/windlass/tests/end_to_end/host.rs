//! The host as a process: its folder, its token, its end, its agents.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use crate::support::{Answer, Host, terminate, windlass};

const SLEEPER: &str = "task: sleeper\nactions:\n  doze: { exec: [sleep, \"60\"] }\n";
const QUICK: &str =
    "task: quick\nactions:\n  greet: { exec: [echo, hello] }\noutput: \"${{ actions.greet.output }}\"\n";

#[test]
fn a_second_host_on_the_folder_is_refused() {
    let host = Host::start(&[]);
    let mut second = windlass();
    second.args(["serve", "--listen", "127.0.0.1:0", "--data"]).arg(host.data());
    let second = Answer::of(second);
    assert_eq!(second.code, 3, "{}", second.errors);
    assert!(second.errors.contains("[WL0311]") && second.errors.contains("another host"), "{}", second.errors);
    assert_eq!(host.ask(&["runs"]).code, 0, "the first one is not disturbed");
}

#[test]
fn the_token_is_its_owners_and_is_kept() {
    let mut host = Host::start(&[]);
    let path = host.data().join("token");
    let token = fs::read_to_string(&path).expect("a token");
    assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
    assert_eq!(token.trim().len(), 64);
    host.kill_and_restart(&[]);
    assert_eq!(fs::read_to_string(&path).expect("a token"), token);
    let wrong = host.ask(&["runs", "--token", "wrong"]);
    assert_eq!(wrong.code, 3);
    assert!(wrong.errors.contains("[WL0602]"), "{}", wrong.errors);
}

#[test]
fn orderly_end_exits_0_and_removes_address() {
    let mut host = Host::start(&[]);
    assert!(host.data().join("url").exists());
    assert_eq!(host.terminate(), Some(0));
    assert!(!host.data().join("url").exists());
    let answer = host.ask(&["runs", "--url", "http://127.0.0.1:1"]);
    assert_eq!(answer.code, 3);
    assert!(answer.errors.contains("[WL0601]") && answer.errors.contains("windlass serve"), "{}", answer.errors);
}

#[test]
fn remote_address_is_refused_without_its_flag() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = windlass();
    command.args(["serve", "--listen", "0.0.0.0:0", "--data"]).arg(folder.path());
    let answer = Answer::of(command);
    assert_eq!(answer.code, 2);
    assert!(answer.errors.contains("[WL0607]"), "{}", answer.errors);
}

#[test]
fn taken_address_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = windlass();
    command.args(["serve", "--listen", &address, "--data"]).arg(folder.path());
    let answer = Answer::of(command);
    assert_eq!(answer.code, 2);
    assert!(answer.errors.contains("[WL0608]") && answer.errors.contains(&address), "{}", answer.errors);
}

#[test]
fn a_run_survives_the_death_of_its_host() {
    let mut host = Host::start(&["--no-agent"]);
    host.apply(QUICK);
    let run = host.json(&["run", "quick"])["id"].as_str().expect("an id").to_owned();
    // The host decides the start before its end. Otherwise the run would wait for the dead host's receipt to run out.
    host.until_status(&run, "running");
    host.kill_and_restart(&[]);
    let ended = host.ask(&["watch", &run]);
    assert_eq!(ended.code, 0, "{}{}", ended.output, ended.errors);
    assert!(ended.output.contains("run.succeeded"), "{}", ended.output);
}

#[test]
fn watch_continues_when_the_host_returns() {
    let mut host = Host::start(&["--no-agent"]);
    host.apply(QUICK);
    let run = host.json(&["run", "quick"])["id"].as_str().expect("an id").to_owned();
    host.until_status(&run, "running");
    let mut watch = host.command(&["watch", &run]).stdout(Stdio::piped()).spawn().expect("started");
    let mut lines = BufReader::new(watch.stdout.take().expect("piped")).lines();
    let first = lines.next().expect("a line").expect("text");
    assert!(first.contains("run.started"), "{first}");
    host.kill_and_restart(&[]);
    let rest: Vec<String> = lines.map(|line| line.expect("text")).collect();
    assert_eq!(watch.wait().expect("ended").code(), Some(0), "{rest:?}");
    let all = rest.join("\n");
    assert!(!all.contains("run.started") && all.matches("action.succeeded").count() == 1, "each event once: {all}");
    assert!(all.trim_end().ends_with("run.succeeded"), "{all}");
}

#[test]
fn an_agent_of_its_own_performs_and_drains() {
    let host = Host::start(&["--no-agent"]);
    host.apply(QUICK);
    let waiting = host.ask(&["run", "quick", "--wait=200ms"]);
    assert_eq!(waiting.code, 4, "nobody performs it yet: {}", waiting.errors);
    assert!(waiting.errors.contains("[WL0605]"), "{}", waiting.errors);
    let mut command = host.command(&["agent", "--slots", "2"]);
    let mut agent = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("started");
    assert_eq!(host.ask(&["watch", "latest"]).code, 0);
    let run = host.json(&["show", "latest"]);
    let known = &host.json(&["agents"])[0];
    assert_eq!(run["actions"]["greet"]["agent"], known["id"]);
    let address = known["address"].as_str().expect("known");
    assert!(address.ends_with(&format!("/{}", agent.id())), "{address}");
    terminate(&agent);
    assert_eq!(agent.wait().expect("ended").code(), Some(0));
    assert_eq!(host.json(&["agents"]), serde_json::json!([]), "it has left the register");
}

/// As under `ulimit -f`: the host loses nothing that it acknowledged, and the process does not end without a word.
#[test]
fn host_continues_after_a_refused_write() {
    let host = Host::start(&[]);
    host.apply(QUICK);
    host.limit_files(Some(1024));
    let refused = host.ask(&["run", "quick"]);
    assert!(refused.errors.contains("[WL0304]"), "{}", refused.errors);
    host.limit_files(None);
    assert_eq!(host.ask(&["run", "quick", "--wait"]).code, 0);
}

#[test]
fn kill_ends_one_action_of_a_run() {
    let host = Host::start(&[]);
    host.apply(SLEEPER);
    let run = host.json(&["run", "sleeper"])["id"].as_str().expect("an id").to_owned();
    host.until_status(&run, "running");
    assert_eq!(host.ask(&["kill", &run, "nobody"]).code, 2);
    let action =
        host.json(&["show", &run])["actions"].as_object().expect("actions").keys().next().expect("one").clone();
    let asked = host.ask(&["kill", &run, &action, "--reason", "a test"]);
    assert_eq!(asked.code, 0, "{}", asked.errors);
    assert!(asked.output.starts_with(&format!("asked to kill {action} of run ")), "{}", asked.output);
    assert_eq!(host.ask(&["watch", &run]).code, 1);
    let shown = host.ask(&["show", &run]);
    assert!(shown.output.contains("killed: a test"), "{}", shown.output);
    assert_eq!(host.json(&["show", &run])["actions"][&action]["status"], "cancelled");
    assert_eq!(host.ask(&["kill", &run, &action]).code, 0, "it was killed, as is asked again");
    host.apply(QUICK);
    assert_eq!(host.ask(&["run", "quick", "--wait=20s"]).code, 0);
    let late = host.ask(&["kill", "latest", "greet"]);
    assert_eq!(late.code, 2, "{}", late.errors);
    assert!(late.errors.contains("[WL0419]"), "{}", late.errors);
}

#[test]
fn a_run_is_cancelled_and_taken_up_again() {
    let host = Host::start(&[]);
    host.apply(SLEEPER);
    let run = host.json(&["run", "sleeper"])["id"].as_str().expect("an id").to_owned();
    host.until_status(&run, "running");
    assert_eq!(host.ask(&["pause", &run]).code, 0);
    host.until_status(&run, "paused");
    assert_eq!(host.ask(&["resume", &run]).code, 0);
    assert_eq!(host.ask(&["cancel", &run, "--reason", "a test"]).code, 0);
    let ended = host.ask(&["watch", &run]);
    assert_eq!(ended.code, 1, "{}", ended.errors);
    assert!(ended.output.contains("a test"), "{}", ended.output);
    assert_eq!(host.ask(&["retry", &run]).code, 0);
    host.until_status(&run, "running");
}
