//! A signal to every process of the host at once, as systemd stops a service by default: host, guard, programs.

use std::process::Child;

use rustix::process::{Pid, Signal, kill_process, test_kill_process};

use crate::support::{Host, eventually};

/// Programs that end on SIGTERM in every way. Each leaves a mark when it runs first, and succeeds when it runs again.
const TASK: &str = r#"
task: stopped
actions:
  killed: { exec: [sh, -c, '[ -e killed ] && exit 0; touch killed; exec sleep 1000'] }
  with-child: { exec: [sh, -c, '[ -e child ] && exit 0; touch child; sleep 1000; exit 7'] }
  says-143: { exec: [sh, -c, '[ -e says ] && exit 0; trap "exit 143" TERM INT; touch says; while :; do sleep 1000; done'] }
  says-1: { exec: [sh, -c, '[ -e fails ] && exit 0; trap "exit 1" TERM INT; touch fails; while :; do sleep 1000; done'] }
  completes:
    exec: [sh, -c, 'touch completes; trap "" TERM INT; while [ ! -e go ]; do sleep 0.02; done; echo 42 > "$WINDLASS_OUTPUT"']
"#;
const MARKS: [&str; 5] = ["killed", "child", "says", "fails", "completes"];
/// One more, whose exit code alone does not show that it was asked to end. The agent must hear of the stop before.
const SAYS_0: &str = r#"
  says-0: { exec: [sh, -c, '[ -e fine ] && echo whole && exit 0; trap "exit 0" TERM INT; touch fine; while :; do sleep 1000; done'] }
output: '${{ actions["says-0"].output }}'
"#;

/// Starts a run of those programs, has the host end that way, and looks at what became of the run.
fn check_nothing_fails(more: &str, end: impl FnOnce(&Processes<'_>, &mut Child)) {
    let mut host = Host::start(&["--pool", "default=8"]);
    host.apply(&format!("{TASK}{}", more.trim_start_matches('\n')));
    let run = host.json(&["run", "stopped"])["id"].as_str().expect("an id").to_owned();
    let files = host.files().to_owned();
    eventually("every program has begun", || {
        MARKS.iter().all(|mark| files.join(mark).exists()) && (more.is_empty() || files.join("fine").exists())
    });
    let mut before = host.descendants();
    let guard = before.iter().position(|pid| is_guard(*pid)).expect("a guard");
    let all = Processes { guard: before.swap_remove(guard), programs: before, files: &files };
    let code = host.end_and_restart(|process| end(&all, process), &[]);
    assert_eq!(code, Some(0), "the host ends in order");
    let ended = host.ask(&["watch", &run]);
    let shown = host.ask(&["show", &run]).output;
    assert_eq!(ended.code, 0, "{}{}\n{shown}", ended.output, ended.errors);
    let view = host.json(&["show", &run]);
    assert_eq!(view["actions"]["completes"]["output"], 42, "its work is not repeated: {view}");
    assert!(more.is_empty() || view["output"] == "whole", "{view}");
    for (name, action) in view["actions"].as_object().expect("actions") {
        assert_eq!(action["attempts"], 1, "{name} spent an attempt: {view}");
    }
    let events = host.ask(&["events", &run]).output;
    assert!(!events.contains("failed") && !events.contains("retry"), "{events}");
}

/// The processes of a host that are to be asked to end.
struct Processes<'a> {
    guard: Pid,
    programs: Vec<Pid>,
    files: &'a std::path::Path,
}

impl Processes<'_> {
    fn ask_programs(&self, signal: Signal) {
        for program in &self.programs {
            // One may have ended with another.
            let _ = kill_process(*program, signal);
        }
    }

    fn ask_guard(&self, signal: Signal) {
        kill_process(self.guard, signal).expect("it lives");
    }

    /// Lets the program that ignores signals complete its work.
    fn go(&self) {
        std::fs::write(self.files.join("go"), "").expect("written");
    }
}

fn is_guard(pid: Pid) -> bool {
    begins(pid, b"exec-guard\0")
}

/// Whether the command line of the process begins like that.
fn begins(pid: Pid, line: &[u8]) -> bool {
    std::fs::read(format!("/proc/{}/cmdline", pid.as_raw_nonzero())).is_ok_and(|found| found.starts_with(line))
}

fn ask(host: &Child, signal: Signal) {
    kill_process(Pid::from_child(host), signal).expect("it lives");
}

#[test]
fn stop_of_all_processes_fails_nothing() {
    check_nothing_fails(SAYS_0, |all, host| {
        ask(host, Signal::TERM);
        all.ask_guard(Signal::TERM);
        all.ask_programs(Signal::TERM);
        all.go();
    });
}

#[test]
fn stop_that_reaches_host_last_fails_nothing() {
    check_nothing_fails("", |all, host| {
        all.ask_guard(Signal::TERM);
        all.ask_programs(Signal::TERM);
        eventually("a program has ended", || all.programs.iter().any(|pid| test_kill_process(*pid).is_err()));
        ask(host, Signal::TERM);
        all.go();
    });
}

#[test]
fn interrupt_of_all_processes_fails_nothing() {
    check_nothing_fails("", |all, host| {
        all.ask_programs(Signal::INT);
        all.ask_guard(Signal::INT);
        ask(host, Signal::INT);
        all.go();
    });
}

#[test]
fn signal_to_program_alone_fails_its_action() {
    let host = Host::start(&[]);
    host.apply("task: alone\nactions:\n  doze: { exec: [sleep, \"1000\"] }\n");
    let run = host.json(&["run", "alone"])["id"].as_str().expect("an id").to_owned();
    let program = || host.descendants().into_iter().find(|pid| begins(*pid, b"sleep\0"));
    eventually("the program runs", || program().is_some());
    kill_process(program().expect("there"), Signal::TERM).expect("it lives");
    assert_eq!(host.ask(&["watch", &run]).code, 1);
    assert_eq!(host.json(&["show", &run])["actions"]["doze"]["error"]["kind"], "signal.SIGTERM");
}

#[test]
fn guard_outlives_signals_that_ask_for_an_end() {
    let host = Host::start(&[]);
    let guard = host.descendants().into_iter().find(|pid| is_guard(*pid)).expect("a guard");
    for signal in [Signal::TERM, Signal::INT, Signal::HUP, Signal::QUIT] {
        kill_process(guard, signal).expect("it lives");
    }
    host.apply("task: quick\nactions:\n  greet: { exec: [echo, hello] }\noutput: \"${{ actions.greet.output }}\"\n");
    assert_eq!(host.ask(&["run", "quick", "--wait"]).code, 0);
    assert_eq!(host.descendants(), [guard], "it is the same one");
}
