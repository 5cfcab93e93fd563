//! Programs that behave badly: floods, garbage, full disks, children that stay, and an agent at its limits.

use std::process::Command;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use windlass_domain::limits::MAX_ERROR_MESSAGE_BYTES;
use windlass_domain::run::Outcome;
use windlass_domain::work::{ExecWork, HttpWork, Work};
use windlass_engine::perform::{AttemptControl, Performer as _};
use windlass_facade::Facades;

use crate::bench::{Bench, all_dead, attempt, eventually, failed, succeeded, timed, timed_out};

const SHORT: Duration = Duration::from_millis(200);
/// Set for a process that runs one of these tests alone, with few file descriptors.
const ALONE: &str = "TEST_ALONE";

/// The most memory that this process has had resident so far, in KiB (`VmHWM`, proc(5)).
fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux has it");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

/// Runs one test of this file again, in a process of its own that `prlimit` starts with these limits.
fn alone(test: &str, limits: &str) -> bool {
    let program = std::env::current_exe().expect("this program");
    let mut command = Command::new("prlimit");
    command.arg(limits).arg(program).args(["--exact", &format!("exec_rough::{test}"), "--nocapture"]).env(ALONE, "1");
    let ended = command.output().expect("prlimit is there");
    let said = String::from_utf8_lossy(&ended.stdout).into_owned() + &String::from_utf8_lossy(&ended.stderr);
    assert!(said.contains("1 passed"), "{said}");
    ended.status.success()
}

fn is_alone() -> bool {
    std::env::var_os(ALONE).is_some()
}

/// Gigabytes on both pipes leave the agent as small as it was: in a process of its own, so that nothing else counts.
#[tokio::test]
async fn flood_on_both_pipes_stays_within_bounds() {
    if !is_alone() {
        assert!(alone("flood_on_both_pipes_stays_within_bounds", "--core=0"));
        return;
    }
    let bench = Bench::new();
    assert_eq!(bench.output("echo small").await, "small");
    let before = peak_kib();
    let script = "head -c 1500000000 /dev/zero & head -c 1500000000 /dev/zero >&2 & wait; echo last >&2; exit 4";
    let error = bench.failure(script).await;
    assert_eq!(error.kind, "exit.4");
    assert!(error.message.len() <= MAX_ERROR_MESSAGE_BYTES && error.message.ends_with("last"));
    let grown = peak_kib() - before;
    assert!(grown < 8 * 1024, "3 GB of output took {grown} KiB more");
    println!("3 GB of output took {grown} KiB more");
}

#[tokio::test]
async fn a_flood_without_end_ends_with_its_time() {
    let bench = Bench::new().with_exec(|exec| exec.grace = SHORT);
    let script = "trap '' TERM; yes a line & yes >&2 & echo $$ $! > pids; cat /dev/zero; wait";
    let error = timed_out(bench.perform(timed(Work::Exec(bench.sh(script)), 500)).await);
    assert!(error.message.len() <= MAX_ERROR_MESSAGE_BYTES);
    all_dead(&bench.written("pids").await).await;
    assert!(bench.is_clean());
}

#[tokio::test]
async fn garbage_in_output_is_reported_as_text() {
    let bench = Bench::new();
    let error = bench.failure("head -c 3000000 /dev/urandom >&2; exit 5").await;
    assert_eq!(error.kind, "exit.5");
    assert!(error.message.len() <= MAX_ERROR_MESSAGE_BYTES, "{}", error.message.len());
    let error = bench.failure("head -c 3000000 /dev/zero | tr '\\0' x >&2; exit 6").await;
    assert!(error.message.len() <= MAX_ERROR_MESSAGE_BYTES && error.message.ends_with("xxx"), "{}", error.message);
    // Output that is not UTF-8 becomes a text with replacement characters.
    let output = bench.output("printf 'a\\377\\376b'").await;
    assert_eq!(output, "a\u{fffd}\u{fffd}b");
    assert_eq!(bench.output("head -c 100000 /dev/urandom").await, serde_json::Value::Null, "as JSON it is too long");
}

#[tokio::test]
async fn flood_of_progress_does_not_delay_the_end() {
    let bench = Bench::new().with_exec(|exec| exec.progress_every = Duration::from_millis(5));
    let script =
        "yes '{\"percent\": 7}' | head -c 20000000 >> $WINDLASS_PROGRESS; printf '\\n99\\n' >> $WINDLASS_PROGRESS";
    let performing = bench.start(attempt(Work::Exec(bench.sh(script))));
    let progress = performing.progress.clone();
    succeeded(performing.end().await);
    assert_eq!(progress.borrow().as_ref().and_then(|last| last.percent), Some(99.0));
}

/// Disks are full for programs (`/dev/full`), for their files (`RLIMIT_FSIZE`), and for the agent's own folder.
#[tokio::test]
async fn full_disk_fails_with_its_reason() {
    let bench = Bench::new();
    let error = bench.failure("head -c 10 /dev/zero > /dev/full").await;
    assert!(error.kind.starts_with("exit.") && error.message.contains("No space left"), "{error:?}");
    // Half an output is none.
    let half = "trap '' XFSZ; ulimit -f 1; printf '[\"%2000s\"]' x > $WINDLASS_OUTPUT 2> /dev/null; exit 0";
    assert_eq!(bench.failure(half).await.kind, "output.invalid");
    let killed = bench.failure("ulimit -f 1; exec head -c 100000 /dev/zero > file").await;
    assert_eq!(killed.kind, "signal.SIGXFSZ", "{}", killed.message);
    // A program that cannot write its progress file does not fail for that.
    assert_eq!(bench.output("trap '' XFSZ; ulimit -f 0; echo 5 >> $WINDLASS_PROGRESS; echo done").await, "done");

    let nowhere = bench.path("no-such-folder");
    let bench = bench.with_exec(|exec| exec.scratch = Some(nowhere));
    let error = bench.failure("echo never").await;
    assert_eq!(error.kind, "agent.io", "{}", error.message);
}

/// A process that writes to the output without end, after the program's exit, does not delay the attempt's end.
#[tokio::test]
async fn flood_after_exit_does_not_delay_the_end() {
    let bench = Bench::new().with_exec(|exec| exec.linger = SHORT);
    let begun = Instant::now();
    // In the group; in a session of its own; and a grandchild whose parent is gone.
    for script in [
        "yes >&2 & echo $! > pids; echo done",
        "setsid sh -c 'echo $$ > pids; exec yes >&2' & while [ ! -s pids ]; do sleep 0.01; done; echo done",
        "( sh -c 'echo $$ > pids; exec yes >&2' & ) ; while [ ! -s pids ]; do sleep 0.01; done; echo done",
    ] {
        assert_eq!(bench.output(script).await, "done");
        // The agent has closed its end of the pipe: SIGPIPE ends a daemon that writes on.
        all_dead(&bench.written("pids").await).await;
        std::fs::remove_file(bench.path("pids")).expect("there");
    }
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn orphaned_children_leave_no_trace() {
    let bench = Bench::new().with_exec(|exec| exec.linger = SHORT);
    // Each ends before its parent, which never waits for it.
    let script = "for n in 1 2 3 4 5 6 7 8 9; do sh -c ':' & done; exec sleep 0.2";
    for _ in 0..3 {
        bench.output(script).await;
    }
    eventually("the agent has no zombie of its own", || {
        let children = std::fs::read_to_string("/proc/thread-self/children").unwrap_or_default();
        children.split_whitespace().all(|child| {
            std::fs::read_to_string(format!("/proc/{child}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
        })
    })
    .await;
}

#[tokio::test]
async fn input_closed_at_once_is_no_failure() {
    let bench = Bench::new();
    let mut work = bench.sh("exec 0<&-; sleep 0.2; echo read nothing");
    work.stdin = Some("x".repeat(4_000_000).into());
    assert_eq!(succeeded(bench.perform(attempt(Work::Exec(work))).await), "read nothing");
}

#[tokio::test]
async fn too_large_environment_is_a_failure() {
    let bench = Bench::new();
    let with = |bytes: usize, variables: usize| {
        let env = (0..variables).map(|number| (format!("V{number}"), "x".repeat(bytes))).collect();
        ExecWork { env, ..bench.sh("echo ${#V0}") }
    };
    assert_eq!(succeeded(bench.perform(attempt(Work::Exec(with(100_000, 4)))).await), 100_000);
    // One string has at most 128 KiB. The stack's limit bounds all of them together (execve(2)).
    for work in [with(200_000, 1), with(100_000, 100)] {
        let error = failed(bench.perform(attempt(Work::Exec(work))).await);
        assert_eq!(error.kind, "exec.invalid", "{}", error.message);
    }
    assert!(bench.is_clean());
}

/// An agent without a file descriptor left hands attempts back, and goes on when it has some.
#[tokio::test]
async fn agent_without_file_descriptors_hands_back() {
    if !is_alone() {
        assert!(alone("agent_without_file_descriptors_hands_back", "--nofile=64"));
        return;
    }
    let bench = Bench::new();
    let facades = Facades::new(bench.settings.clone()).expect("facades");
    let perform = async |work: Work| {
        let (control, _progress) = AttemptControl::new(CancellationToken::new());
        let outcome = facades.perform(attempt(work), control.clone()).await;
        (outcome, control.handed_back())
    };
    let program = |script: &str| Work::Exec(bench.sh(script));
    let url = "http://127.0.0.1:9/".to_owned();
    let call = HttpWork { method: "GET".to_owned(), url, headers: [].into(), body: None };
    assert_eq!(succeeded(perform(program("echo before")).await.0), "before");
    let mut held = Vec::new();
    while let Ok(file) = std::fs::File::open("/dev/null") {
        held.push(file);
    }
    let (outcome, pause) = perform(Work::Http(call.clone())).await;
    assert!(outcome == Outcome::Cancelled && pause.is_some(), "{outcome:?}");
    let mut handed_back = 0;
    for freed in 0..20 {
        match perform(program("echo tried")).await {
            (Outcome::Cancelled, Some(_)) => handed_back += 1,
            (Outcome::Succeeded { output }, None) => assert_eq!(output, "tried", "with {freed} freed"),
            other => panic!("{other:?}"),
        }
        held.pop();
    }
    assert!((1..20).contains(&handed_back), "{handed_back}");
    assert_eq!(succeeded(perform(program("echo after")).await.0), "after");
    assert_eq!(failed(perform(Work::Http(call)).await.0).kind, "network.connect");
    drop(held);
    assert!(bench.is_clean());
}
