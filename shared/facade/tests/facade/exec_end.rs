//! The end of programs, and that none of their processes is left.

use std::time::Duration;

use windlass_domain::run::Outcome;
use windlass_domain::time::Millis;
use windlass_domain::work::Work;
use windlass_engine::perform::Attempt;

use crate::bench::{Bench, NOW, all_dead, attempt, succeeded, timed, timed_out};

const SHORT: Duration = Duration::from_millis(200);

/// Starts the script, waits until it has written its process numbers to `pids`, stops it.
async fn stopped(bench: &Bench, script: &str) -> Outcome {
    let performing = bench.start(attempt(Work::Exec(bench.sh(script))));
    let numbers = bench.written("pids").await;
    performing.stop.cancel();
    let outcome = performing.end().await;
    all_dead(&numbers).await;
    assert!(bench.is_clean());
    outcome
}

#[tokio::test]
async fn a_stop_ends_a_program_that_listens() {
    let bench = Bench::new();
    assert_eq!(stopped(&bench, "echo $$ > pids; exec sleep 1000").await, Outcome::Cancelled);
}

#[tokio::test]
async fn stop_kills_program_that_ignores_sigterm() {
    let bench = Bench::new().with_exec(|exec| exec.grace = SHORT);
    let script = "trap '' TERM; echo $$ > pids; while :; do sleep 1; done";
    assert_eq!(stopped(&bench, script).await, Outcome::Cancelled);
}

#[tokio::test]
async fn a_stop_reaches_a_program_that_stands_still() {
    let bench = Bench::new();
    assert_eq!(stopped(&bench, "echo $$ > pids; kill -STOP $$").await, Outcome::Cancelled);
}

#[tokio::test]
async fn a_stop_reaches_the_whole_group() {
    let bench = Bench::new().with_exec(|exec| exec.grace = SHORT);
    let script = "trap '' TERM\n\
        sh -c 'echo $$ >> all; sleep 1000 & echo $! >> all; sleep 1000' & echo $! >> all\n\
        echo $$ >> all\n\
        while [ $(wc -l < all) -lt 4 ]; do sleep 0.02; done\n\
        mv all pids; wait";
    assert_eq!(stopped(&bench, script).await, Outcome::Cancelled);
}

#[tokio::test]
async fn the_whole_group_has_the_grace() {
    // The child may have closed the program's output.
    for output in ["", "> log 2>&1"] {
        let bench = Bench::new();
        // The shell that leads the group dies at once; its child cleans up.
        let script = format!(
            "( trap 'sleep 0.3; echo yes > cleaned; exit 0' TERM\n\
             echo ready > ready; while :; do sleep 0.05; done ) {output} &\n\
             while [ ! -e ready ]; do sleep 0.02; done; echo $$ $! > pids; wait"
        );
        assert_eq!(stopped(&bench, &script).await, Outcome::Cancelled);
        assert_eq!(std::fs::read_to_string(bench.path("cleaned")).expect("cleaned up"), "yes\n", "{output}");
    }
}

#[tokio::test]
async fn work_that_is_completed_all_the_same_counts() {
    let bench = Bench::new();
    let script = r#"trap 'echo "\"completed\"" > "$WINDLASS_OUTPUT"; exit 0' TERM
        echo $$ > pids; while :; do sleep 0.05; done"#;
    assert_eq!(succeeded(stopped(&bench, script).await), "completed");
}

#[tokio::test]
async fn an_orderly_exit_alone_is_no_completion() {
    let bench = Bench::new();
    let script = "trap 'echo bye; exit 0' TERM; echo $$ > pids; while :; do sleep 0.05; done";
    assert_eq!(stopped(&bench, script).await, Outcome::Cancelled);
}

#[tokio::test]
async fn a_stop_closes_the_input() {
    let bench = Bench::new();
    // It ignores SIGTERM, and ends when its input ends. Before that it reads no more of the input than a pipe holds.
    let script = "trap '' TERM; echo $$ > pids; sleep 0.3; cat > /dev/null; exit 1";
    let mut work = bench.sh(script);
    work.stdin = Some("x".repeat(4_000_000).into());
    let performing = bench.start(attempt(Work::Exec(work)));
    let numbers = bench.written("pids").await;
    performing.stop.cancel();
    assert_eq!(performing.end().await, Outcome::Cancelled);
    all_dead(&numbers).await;
}

#[tokio::test]
async fn attempt_stopped_early_does_not_begin() {
    let bench = Bench::new();
    let performing = bench.start(attempt(Work::Exec(bench.sh("echo yes > begun"))));
    performing.stop.cancel();
    assert_eq!(performing.end().await, Outcome::Cancelled);
    assert!(!bench.path("begun").exists());
}

#[tokio::test]
async fn a_timeout_ends_the_program() {
    let bench = Bench::new().with_exec(|exec| exec.grace = SHORT);
    let script = "trap '' TERM; sleep 1000 & echo working >&2; echo $$ $! > pids; wait; sleep 1000";
    let performing = bench.start(timed(Work::Exec(bench.sh(script)), 600_000));
    let numbers = bench.written("pids").await;
    // However long the program took to come so far.
    tokio::time::pause();
    tokio::time::advance(Duration::from_mins(10)).await;
    tokio::time::resume();
    let error = timed_out(performing.end().await);
    assert_eq!(error.kind, "timeout");
    assert_eq!(error.message, "took longer than 10m and was stopped\nworking");
    all_dead(&numbers).await;
    assert!(bench.is_clean());
}

#[tokio::test]
async fn timeout_stands_though_the_program_exits_well() {
    let bench = Bench::new();
    let script = "trap 'exit 0' TERM; while :; do sleep 0.05; done";
    assert_eq!(timed_out(bench.perform(timed(Work::Exec(bench.sh(script)), 300)).await).kind, "timeout");
}

#[tokio::test]
async fn the_deadline_of_the_run_is_kept() {
    let bench = Bench::new();
    let until = |deadline| Attempt { deadline: Some(deadline), ..timed(Work::Exec(bench.sh("sleep 1000")), 900_000) };
    let error = timed_out(bench.perform(until(NOW.plus(Millis(300)))).await);
    assert!(error.message.starts_with("took longer than 300ms"), "{}", error.message);
    let error = timed_out(bench.perform(until(NOW)).await);
    assert_eq!(error.message, "its time was over before it began");
}

#[tokio::test]
async fn background_program_ends_with_its_attempt() {
    let bench = Bench::new().with_exec(|exec| exec.linger = SHORT);
    assert_eq!(bench.output("sleep 1000 & echo $! > pids; echo done").await, "done");
    all_dead(&bench.written("pids").await).await;
    // One that has let go of the pipes.
    assert_eq!(bench.output("sleep 1000 > /dev/null 2>&1 & echo $! > pids; echo done").await, "done");
    all_dead(&bench.written("pids").await).await;
}

#[tokio::test]
async fn daemon_with_open_output_does_not_hang_attempt() {
    let bench = Bench::new().with_exec(|exec| exec.linger = SHORT);
    let script = "setsid sh -c 'echo $$ > pids; exec sleep 1000' & while [ ! -s pids ]; do sleep 0.02; done; echo done";
    assert_eq!(bench.output(script).await, "done");
    // The daemon has left the group, so the agent lets it run, and the test kills it.
    let numbers = bench.written("pids").await;
    std::process::Command::new("kill").arg(numbers.trim()).status().expect("killed");
    all_dead(&numbers).await;
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn stop_reaches_processes_outside_the_group() {
    let bench = Bench::new().with_exec(|exec| exec.grace = SHORT);
    // Two forks and a session of its own, deaf to SIGTERM, with the output held and let go.
    let script = "for out in /dev/stdout /dev/null; do\n\
        sh -c \"setsid sh -c 'trap \\\"\\\" TERM HUP; echo \\$\\$ >> all; while :; do sleep 0.1; done' > $out 2>&1 &\"\n\
        done\n\
        while [ $(wc -l < all) -lt 2 ]; do sleep 0.02; done\n\
        echo $$ >> all; mv all pids; sleep 1000";
    assert_eq!(stopped(&bench, script).await, Outcome::Cancelled);
}

#[tokio::test]
async fn output_from_the_background_is_waited_for() {
    let bench = Bench::new().with_exec(|exec| exec.linger = Duration::from_secs(30));
    assert_eq!(bench.output("(sleep 0.3; echo late) & echo early").await, "early\nlate");
}

#[tokio::test]
async fn an_attempt_that_is_dropped_leaves_nothing() {
    let bench = Bench::new();
    let script = "trap '' TERM; sleep 1000 & echo $$ $! > pids; sleep 1000";
    let performing = bench.start(attempt(Work::Exec(bench.sh(script))));
    let numbers = bench.written("pids").await;
    performing.task.abort();
    assert!(performing.task.await.expect_err("aborted").is_cancelled());
    all_dead(&numbers).await;
    assert!(bench.is_clean());
}
