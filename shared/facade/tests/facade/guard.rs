//! An agent that is killed takes its programs with it.
//!
//! The agent and its guard are processes of this same test binary. Each runs one of the two `as_a_process` tests below,
//! which do nothing when they run as tests.

use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use windlass_domain::work::Work;
use windlass_facade::{FacadeError, Facades, run_guard};

use crate::bench::{Bench, all_dead, attempt, eventually};

/// The folder that an agent of these tests works in.
const FOLDER: &str = "FACADE_TEST_FOLDER";

fn this_binary(test: &str) -> Vec<std::ffi::OsString> {
    let binary = std::env::current_exe().expect("a test binary").into_os_string();
    vec![binary, test.into(), "--exact".into(), "--nocapture".into()]
}

/// Programs that do not end by themselves: a shell, its child, and a process that has left the group.
const SCRIPT: &str = "trap '' TERM\n\
    sleep 1000 & echo $! >> all\n\
    setsid sh -c 'echo $$ >> all; exec sleep 1000' &\n\
    echo $$ >> all\n\
    while [ $(wc -l < all) -lt 3 ]; do sleep 0.02; done\n\
    mv all \"$FACADE_TEST_FOLDER/pids\"; wait; sleep 1000";

#[tokio::test]
async fn agent_as_a_process() {
    let Ok(folder) = std::env::var(FOLDER) else { return };
    let bench = Bench::new().with_exec(|exec| {
        exec.guard = Some(this_binary("guard::guard_as_a_process"));
        exec.scratch = Some(PathBuf::from(&folder).join("scratch"));
    });
    let mut work = bench.sh(SCRIPT);
    work.workdir = Some(folder);
    bench.perform(attempt(Work::Exec(work))).await;
}

#[test]
fn guard_as_a_process() {
    if std::env::var(FOLDER).is_ok() {
        run_guard();
    }
}

#[tokio::test]
async fn a_killed_agent_leaves_nothing() {
    let bench = Bench::new();
    let command = this_binary("guard::agent_as_a_process");
    let mut agent = Command::new(&command[0])
        .args(&command[1..])
        .env(FOLDER, bench.path(""))
        .stdout(Stdio::null())
        .spawn()
        .expect("an agent");
    let numbers = bench.written("pids").await;
    assert!(!bench.is_clean());
    agent.kill().expect("killed");
    assert_eq!(agent.wait().expect("an end").signal(), Some(9));
    all_dead(&numbers).await;
    eventually("the attempt's folder is removed", || bench.is_clean()).await;
}

#[tokio::test]
async fn work_continues_without_its_guard() {
    let bench = Bench::new().with_exec(|exec| exec.guard = Some(this_binary("guard::guard_as_a_process")));
    // It does not find the folder's variable and ends without reading.
    for _ in 0..3 {
        assert_eq!(bench.output("echo fine").await, "fine");
    }
    assert!(bench.is_clean());
}

#[test]
fn missing_guard_program_is_an_error() {
    let bench = Bench::new().with_exec(|exec| exec.guard = Some(vec!["/no/such/guard".into()]));
    match Facades::new(bench.settings) {
        Err(error @ FacadeError::Guard { .. }) => {
            assert_eq!(error.code(), "WL0502");
            assert!(error.to_string().starts_with("WL0502: start the exec guard `/no/such/guard`:"), "{error}");
        }
        Err(other) => panic!("another error: {other}"),
        Ok(_) => panic!("no error"),
    }
}
