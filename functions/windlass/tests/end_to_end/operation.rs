//! What people who run a host need: its log, its runs by name, its return, and words for its errors.

use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

use crate::support::{Answer, Host, windlass};

const FAILS: &str = "task: fails\nactions:\n  calm: { exec: [\"true\"] }\n  breaks: { needs: [calm], exec: [\"false\"] }\n  \
                     allowed: { exec: [\"false\"], allow_failure: true }\n";
const SLEEPER: &str = "task: sleeper\nactions:\n  doze: { exec: [sleep, \"60\"] }\n";
const QUICK: &str = "task: quick\nactions:\n  greet: { exec: [echo, hello] }\n";

#[test]
fn log_names_failed_runs_and_what_was_stopped() {
    let host = Host::start(&[]);
    host.apply(FAILS);
    assert_eq!(host.ask(&["run", "fails", "--wait"]).code, 1);
    let log = host.until_logged("a run has failed");
    let line = log.lines().find(|line| line.contains("a run has failed")).expect("a line");
    for part in ["WARN", "task=fails", "action=\"breaks\"", "kind=\"exit.1\"", "run.id="] {
        assert!(line.contains(part), "{part}: {line}");
    }
    assert_eq!(log.matches("a run has failed").count(), 1, "{log}");
    host.apply(SLEEPER);
    let run = host.json(&["run", "sleeper"])["id"].as_str().expect("an id").to_owned();
    host.until_status(&run, "running");
    assert_eq!(host.ask(&["cancel", "latest:sleeper"]).code, 0);
    let log = host.until_logged("the attempt was told to stop");
    assert!(log.contains("action=doze"), "{log}");
}

#[test]
fn latest_run_of_a_task_is_found() {
    let host = Host::start(&[]);
    host.apply(QUICK);
    host.apply(&QUICK.replace("quick", "other"));
    let quick = host.json(&["run", "quick", "--wait"])["id"].clone();
    assert_eq!(host.ask(&["run", "other", "--wait"]).code, 0);
    assert_eq!(host.json(&["show", "latest:quick"])["id"], quick);
    let none = host.ask(&["show", "latest:none"]);
    assert_eq!(none.code, 2);
    assert!(none.errors.contains("there is no run of none yet"), "{}", none.errors);
}

#[test]
fn ambiguous_id_lists_its_candidates() {
    let host = Host::start(&["--no-agent"]);
    host.apply(QUICK);
    let ids: Vec<String> =
        (0..3).map(|_| host.json(&["run", "quick"])["id"].as_str().expect("an id").to_owned()).collect();
    // Ids begin with the time in milliseconds; its first eight digits change once in a minute.
    let prefix = &ids[0][..8];
    let answer = host.ask(&["show", prefix]);
    assert_eq!(answer.code, 2);
    for id in &ids {
        assert!(answer.errors.contains(&format!("  {id}  quick v1  ")), "{}", answer.errors);
    }
}

#[test]
fn waiting_for_a_run_shows_its_id_first_and_outlasts_a_restart() {
    let mut host = Host::start(&["--no-agent"]);
    host.apply(QUICK);
    let mut wait = host.command(&["run", "quick", "--wait"]).stdout(Stdio::piped()).spawn().expect("started");
    let mut lines = BufReader::new(wait.stdout.take().expect("piped")).lines();
    let first = lines.next().expect("a line").expect("text");
    let id = host.json(&["runs"])[0]["id"].as_str().expect("an id").to_owned();
    assert!(first.starts_with(&format!("run {id} of quick v1")), "{first}");
    host.kill_and_restart(&[]);
    assert_eq!(wait.wait().expect("ended").code(), Some(0));
    // For programs, too: no answer is lost with the host.
    let mut host = Host::start(&["--no-agent"]);
    host.apply(QUICK);
    let wait = host.command(&["run", "quick", "--wait", "--json"]).stdout(Stdio::piped()).spawn().expect("started");
    host.until(|| host.json(&["runs"]).as_array().is_some_and(|runs| runs.len() == 1));
    host.kill_and_restart(&[]);
    let ended = wait.wait_with_output().expect("ended");
    let run: serde_json::Value = serde_json::from_slice(&ended.stdout).expect("JSON");
    assert_eq!((ended.status.code(), &run["status"]), (Some(0), &serde_json::json!("succeeded")));
}

#[test]
fn error_codes_are_explained() {
    let explain = |code: &str| {
        let mut command = windlass();
        command.args(["explain", code]);
        Answer::of(command)
    };
    assert!(explain("WL0104").output.starts_with("# WL0104: Unknown key"));
    assert_eq!(explain("wl0104").output, explain("WL0104").output);
    let unknown = explain("WL9999");
    assert_eq!(unknown.code, 2);
    assert!(unknown.errors.contains("no error has the code `WL9999`"), "{}", unknown.errors);
}

#[test]
fn version_tells_the_version_of_the_time_zones() {
    let mut command = windlass();
    command.arg("--version");
    let version = Answer::of(command).output;
    assert!(version.starts_with(concat!("windlass ", env!("CARGO_PKG_VERSION"), "\ntime zones 20")), "{version}");
}

#[test]
fn folders_and_standard_input_are_task_files() {
    let host = Host::start(&[]);
    let folder = host.files().join("tasks");
    std::fs::create_dir(&folder).expect("made");
    for name in ["one", "two"] {
        std::fs::write(folder.join(format!("{name}.yaml")), QUICK.replace("quick", name)).expect("written");
    }
    std::fs::write(folder.join("input.json"), "{}").expect("written");
    let applied = host.ask(&["apply", &folder.display().to_string()]);
    assert_eq!(applied.code, 0, "{}", applied.errors);
    assert!(applied.errors.contains("input.json: passed over"), "{}", applied.errors);
    assert_eq!(host.ask(&["run", "one", "--wait"]).code, 0);
    assert_eq!(host.ask(&["run", "two", "--wait"]).code, 0);
    let piped = |arguments: &[&str], text: &str| {
        let mut command = host.command(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = command.spawn().expect("started");
        process.stdin.take().expect("piped").write_all(text.as_bytes()).expect("written");
        process.wait_with_output().expect("ended")
    };
    assert_eq!(piped(&["validate", "-"], QUICK).status.code(), Some(0));
    let faulty = piped(&["validate", "-"], "task: 9\n");
    assert_eq!(faulty.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&faulty.stderr).contains("[-:1:7]"), "{faulty:?}");
    assert_eq!(piped(&["apply", "-"], QUICK).status.code(), Some(0));
    assert_eq!(host.ask(&["run", "quick", "--wait"]).code, 0);
}

#[test]
fn folder_that_may_not_be_read_is_told_as_such() {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::process::CommandExt;
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    std::fs::create_dir(&data).expect("made");
    let open = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(folder.path(), open).expect("set");
    std::fs::set_permissions(&data, std::fs::Permissions::from_mode(0o000)).expect("set");
    // Root may read everything, so another user asks then. That user needs a program that it may enter.
    let program = folder.path().join("windlass");
    std::fs::copy(crate::support::PROGRAM, &program).expect("copied");
    let ask = |arguments: &[&str]| {
        let mut command = std::process::Command::new(&program);
        command.args(arguments).arg("--data").arg(&data).env_clear();
        if rustix::process::geteuid().is_root() {
            command.uid(65_534).gid(65_534).current_dir("/");
        }
        Answer::of(command)
    };
    let (runs, backup) = (ask(&["runs"]), ask(&["backup", "/tmp/no-backup.db"]));
    std::fs::set_permissions(&data, std::fs::Permissions::from_mode(0o700)).expect("set");
    assert_eq!(runs.code, 2, "{}", runs.errors);
    assert!(runs.errors.contains("this user may not read it"), "{}", runs.errors);
    assert_eq!(backup.code, 3, "{}", backup.errors);
    assert!(backup.errors.contains("Permission denied"), "{}", backup.errors);
}
