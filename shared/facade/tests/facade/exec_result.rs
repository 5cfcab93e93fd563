//! The environment and input of programs, and their output.

use serde_json::{Value, json};
use windlass_domain::limits::{MAX_ERROR_MESSAGE_BYTES, MAX_OUTPUT_BYTES};
use windlass_domain::run::Outcome;
use windlass_domain::work::{ExecWork, StandardOutput, Work};
use windlass_engine::perform::Attempt;

use crate::bench::{Bench, NOW, TRACE, attempt, eventually, failed, succeeded};

async fn check_output(script: &str, expected: impl Into<Value>) {
    let bench = Bench::new();
    assert_eq!(bench.output(script).await, expected.into(), "{script}");
    assert!(bench.is_clean(), "{script}");
}

async fn check_failure(script: &str, kind: &str, message: &str) {
    let bench = Bench::new();
    let error = bench.failure(script).await;
    assert_eq!((error.kind.as_str(), error.message.as_str()), (kind, message), "{script}");
    assert!(bench.is_clean(), "{script}");
}

#[tokio::test]
async fn standard_output_is_the_output() {
    check_output("true", Value::Null).await;
    check_output("echo done", "done").await;
    check_output("printf 'two\\nlines\\n'", "two\nlines").await;
    check_output(r#"echo '{"rows": 3}'; echo noise >&2"#, json!({"rows": 3})).await;
    check_output(r"printf '\377\376'", "\u{fffd}\u{fffd}").await;
}

#[tokio::test]
async fn written_output_file_is_the_output() {
    check_output(r#"echo chatter; echo '[1, 2]' > "$WINDLASS_OUTPUT""#, json!([1, 2])).await;
    check_output(r#"echo said; : > "$WINDLASS_OUTPUT""#, "said").await;
    // A long log on the standard output is no obstacle then.
    check_output(r#"head -c 1000000 /dev/zero; echo '"short"' > "$WINDLASS_OUTPUT""#, "short").await;
}

#[tokio::test]
async fn invalid_output_is_a_failure() {
    let bench = Bench::new();
    for (script, kind) in [
        (r#"echo 'not json' > "$WINDLASS_OUTPUT""#, "output.invalid"),
        (r#"printf '"\377"' > "$WINDLASS_OUTPUT""#, "output.invalid"),
        (r#"mkdir "$WINDLASS_OUTPUT""#, "output.invalid"),
        (r#"mkfifo "$WINDLASS_OUTPUT""#, "output.invalid"),
        (r#"head -c 200000 /dev/zero > "$WINDLASS_OUTPUT""#, "output.too_large"),
    ] {
        assert_eq!(bench.failure(script).await.kind, kind, "{script}");
    }
    assert!(bench.is_clean());
}

/// Performs a program whose author says that of its standard output; gives how it ended, and the note.
async fn ended(script: &str, output: Option<StandardOutput>) -> (Outcome, Option<String>) {
    let bench = Bench::new();
    let performing = bench.start(attempt(Work::Exec(ExecWork { output, ..bench.sh(script) })));
    let control = performing.control.clone();
    (performing.end().await, control.noted().map(str::to_owned))
}

#[tokio::test]
async fn long_standard_output_is_no_failure() {
    let fitting = MAX_OUTPUT_BYTES - 2;
    let print = |bytes: usize| format!("head -c {bytes} /dev/zero | tr '\\0' x");
    let (outcome, note) = ended(&print(fitting), None).await;
    assert_eq!((succeeded(outcome).as_str().map(str::len), note), (Some(fitting), None));
    let zeros = "head -c 100000 /dev/zero".to_owned();
    let number = "seq -s '' 1 40000".to_owned();
    // Each zero is six bytes in JSON.
    for script in [print(fitting + 1), "yes flood | head -c 50000000".to_owned(), zeros, number] {
        for said in [None, Some(StandardOutput::Text)] {
            let (outcome, note) = ended(&script, said).await;
            assert_eq!(succeeded(outcome), Value::Null, "{script} {said:?}");
            assert_eq!(note.expect("a note"), "the standard output has more than 131072 bytes, so the output is null");
        }
        let (outcome, note) = ended(&script, Some(StandardOutput::None)).await;
        assert_eq!((succeeded(outcome), note), (Value::Null, None), "{script}");
        let kind = failed(ended(&script, Some(StandardOutput::Json)).await.0).kind;
        assert!(["output.too_large", "output.invalid"].contains(&kind.as_str()), "{kind}");
    }
}

#[tokio::test]
async fn author_says_what_is_printed() {
    let check = async |script: &str, said, expected: Value| {
        let (outcome, note) = ended(script, Some(said)).await;
        assert_eq!((succeeded(outcome), note), (expected, None), "{script} {said:?}");
    };
    check("echo '[1, 2]'", StandardOutput::Json, json!([1, 2])).await;
    check("echo 3.10", StandardOutput::Json, json!(3.1)).await;
    check("echo '[1, 2]'", StandardOutput::Text, json!("[1, 2]")).await;
    check("echo 42", StandardOutput::Text, json!("42")).await;
    check("true", StandardOutput::Text, Value::Null).await;
    check("echo log", StandardOutput::None, Value::Null).await;
    for said in [StandardOutput::Json, StandardOutput::Text, StandardOutput::None] {
        check(r#"echo log; echo '[7]' > "$WINDLASS_OUTPUT""#, said, json!([7])).await;
    }
    for script in ["echo log", "true", "echo '{}{}'"] {
        let error = failed(ended(script, Some(StandardOutput::Json)).await.0);
        assert_eq!(error.kind, "output.invalid", "{script}");
        assert!(error.message.starts_with("the standard output is not JSON: "), "{}", error.message);
    }
}

#[tokio::test]
async fn bare_number_arrives_as_it_was_printed() {
    for number in ["3.10", "1.20", "1234e5", "12345678901234567890123"] {
        check_output(&format!("echo {number}"), number).await;
        check_output(&format!(r#"echo {number} > "$WINDLASS_OUTPUT""#), number).await;
    }
    check_output("echo 42", 42).await;
}

#[tokio::test]
async fn a_flood_is_read_and_dropped() {
    let bench = Bench::new();
    let error = bench.failure("yes flood | head -c 50000000 >&2; echo last >&2; exit 3").await;
    assert_eq!(error.kind, "exit.3");
    assert!(error.message.len() <= MAX_ERROR_MESSAGE_BYTES);
    assert!(error.message.starts_with("`/bin/sh` exited with code 3\n…"), "{}", error.message);
    assert!(error.message.ends_with("flood\nflolast") || error.message.ends_with("last"), "{}", error.message);
}

#[tokio::test]
async fn exit_codes_have_kinds() {
    check_failure("exit 1", "exit.1", "`/bin/sh` exited with code 1").await;
    check_failure("exit 75", "temporary", "`/bin/sh` exited with code 75").await;
    check_failure("exit 77", "auth.denied", "`/bin/sh` exited with code 77").await;
    check_failure("kill -KILL $$", "signal.SIGKILL", "`/bin/sh` was killed by SIGKILL").await;
    check_failure("kill -TERM $$", "signal.SIGTERM", "`/bin/sh` was killed by SIGTERM").await;
    check_failure("kill -40 $$", "signal.40", "`/bin/sh` was killed by 40").await;
}

#[tokio::test]
async fn a_failure_has_the_last_words() {
    check_failure("echo out; echo err >&2; exit 2", "exit.2", "`/bin/sh` exited with code 2\nerr").await;
    check_failure("echo out; exit 2", "exit.2", "`/bin/sh` exited with code 2\nout").await;
    check_failure(r"printf 'caf\351' >&2; exit 2", "exit.2", "`/bin/sh` exited with code 2\ncaf\u{fffd}").await;
}

#[tokio::test]
async fn a_program_can_name_its_failure() {
    let both = r#"echo '{"kind": "auth.password", "message": "wrong password"}' > "$WINDLASS_ERROR"; exit 1"#;
    check_failure(both, "auth.password", "wrong password").await;
    let said = r#"echo '{"kind": "db.locked"}' > "$WINDLASS_ERROR"; echo trace >&2; exit 4"#;
    check_failure(said, "db.locked", "`/bin/sh` exited with code 4\ntrace").await;
    let text = r#"echo 'no such day' > "$WINDLASS_ERROR"; echo trace >&2; exit 75"#;
    check_failure(text, "temporary", "no such day\ntrace").await;
    let bad_kind = r#"echo '{"kind": "no kind", "message": "m"}' > "$WINDLASS_ERROR"; exit 4"#;
    check_failure(bad_kind, "exit.4", "m").await;
    let killed = r#"echo '{"kind": "mem"}' > "$WINDLASS_ERROR"; kill -KILL $$"#;
    check_failure(killed, "mem", "`/bin/sh` was killed by SIGKILL").await;
    // The agent ignores the error file of a program that succeeded.
    check_output(r#"echo 'oh' > "$WINDLASS_ERROR"; echo fine"#, "fine").await;
}

/// The kind decides about retries. The message keeps its end, where most programs say what went wrong.
#[tokio::test]
async fn kind_counts_however_long_its_message_is() {
    let bench = Bench::new();
    for digits in [6_000, 100_000, 3_000_000] {
        let json =
            format!(r#"printf '{{"kind": "permanent.bad", "message": "%0{digits}d"}}' 7 > "$WINDLASS_ERROR"; exit 1"#);
        let error = failed(bench.perform(attempt(Work::Exec(bench.sh(&json)))).await);
        assert_eq!((error.kind.as_str(), error.message.ends_with("0007")), ("permanent.bad", true), "{digits}");
        assert!(error.message.len() >= digits.min(8000) && error.message.len() <= 8192, "{}", error.message.len());
        let text = format!(r#"printf '%0{digits}d' 7 > "$WINDLASS_ERROR"; exit 1"#);
        let error = failed(bench.perform(attempt(Work::Exec(bench.sh(&text)))).await);
        assert!(error.message.ends_with("0007") && error.message.len() >= digits.min(8000), "{digits}");
    }
    let endless = r#"truncate -s 1G "$WINDLASS_ERROR"; exit 1"#;
    check_failure(endless, "exit.1", "`/bin/sh` exited with code 1; the file $WINDLASS_ERROR is too long to be read")
        .await;
    let pipe = r#"mkfifo "$WINDLASS_ERROR"; exit 1"#;
    let unread = "the file $WINDLASS_ERROR can not be read: it is not a regular file";
    check_failure(pipe, "exit.1", &format!("`/bin/sh` exited with code 1; {unread}")).await;
}

/// Some systems put a byte order mark before each text that they write.
#[tokio::test]
async fn byte_order_mark_is_no_part_of_what_a_program_says() {
    check_output(r#"printf '\357\273\277{"a": 1}'"#, json!({ "a": 1 })).await;
    check_output(r#"printf '\357\273\277{"a": 1}' > "$WINDLASS_OUTPUT""#, json!({ "a": 1 })).await;
    check_output(r#"printf '\357\273\277\n' > "$WINDLASS_OUTPUT"; echo said"#, "said").await;
    check_failure(r#"printf '\357\273\277{"kind": "a.b", "message": "m"}' > "$WINDLASS_ERROR"; exit 1"#, "a.b", "m")
        .await;
}

#[tokio::test]
async fn programs_that_do_not_start_are_failures() {
    let bench = Bench::new();
    std::fs::write(bench.path("plain"), "no program").expect("written");
    let at = |command: &[&str], workdir: Option<&str>| ExecWork {
        command: command.iter().map(|part| (*part).to_owned()).collect(),
        workdir: workdir.map(str::to_owned),
        ..bench.sh("")
    };
    let plain = bench.path("plain").to_str().expect("UTF-8").to_owned();
    let too_long = "x".repeat(4_000_000);
    for (work, kind) in [
        (at(&["no-such-program-anywhere"], None), "exec.not_found"),
        (at(&["/no/such/program"], None), "exec.not_found"),
        (at(&[&plain], None), "exec.denied"),
        (at(&["/bin"], None), "exec.denied"),
        (at(&["true"], Some("/no/such/folder")), "exec.workdir"),
        (at(&["true", &too_long], None), "exec.invalid"),
        (at(&["tr\0ue"], None), "exec.invalid"),
        (at(&[], None), "exec.invalid"),
    ] {
        let error = failed(bench.perform(attempt(Work::Exec(work))).await);
        assert_eq!(error.kind, kind, "{}", error.message);
        assert!(error.message.len() < MAX_ERROR_MESSAGE_BYTES);
    }
    assert!(bench.is_clean());
}

#[tokio::test]
async fn arguments_are_never_read_by_a_shell() {
    let bench = Bench::new();
    let command = ["printf", "%s|", "$HOME", "a b", "`id`", "*", ""].map(str::to_owned).to_vec();
    let outcome = bench.perform(attempt(Work::Exec(ExecWork { command, ..bench.sh("") }))).await;
    assert_eq!(succeeded(outcome), "$HOME|a b|`id`|*||");
}

#[tokio::test]
async fn program_knows_its_run_action_and_attempt() {
    let bench = Bench::new().with_exec(|exec| {
        exec.env = [("PATH".into(), "/usr/bin:/bin".into()), ("KEPT".into(), "kept".into())].into();
    });
    let script = r#"env | grep -v -e ^PWD= -e ^SHLVL= -e ^_= | sed "s|=.*/windlass-[^/]*/|=PRIVATE/|" | sort"#;
    let work = ExecWork { env: [("OWN".into(), "a=b c".into())].into(), ..bench.sh(script) };
    let deadline = Some(NOW.plus(windlass_domain::time::Millis(60_000)));
    let attempt = Attempt { deadline, ..attempt(Work::Exec(work)) };
    let (run, key) = (attempt.run, attempt.idempotency_key.clone());
    let expected = format!(
        "KEPT=kept\nOWN=a=b c\nPATH=/usr/bin:/bin\nTRACEPARENT={TRACE}\nWINDLASS_ACTION=extract\nWINDLASS_ATTEMPT=3\n\
         WINDLASS_DEADLINE=2026-03-29T01:31:00.000Z\nWINDLASS_ERROR=PRIVATE/error\nWINDLASS_FENCE=5\n\
         WINDLASS_IDEMPOTENCY_KEY={key}\nWINDLASS_OUTPUT=PRIVATE/output\nWINDLASS_PROGRESS=PRIVATE/progress\n\
         WINDLASS_RUN={run}\nWINDLASS_TASK=nightly\nWINDLASS_VERSION=7"
    );
    assert_eq!(succeeded(bench.perform(attempt).await), expected.as_str());
}

#[tokio::test]
async fn the_private_folder_is_private() {
    check_output(r#"ls -ld "${WINDLASS_OUTPUT%/*}" | cut -c 1-10"#, "drwx------").await;
}

#[tokio::test]
async fn program_reads_its_context_or_stdin() {
    let bench = Bench::new();
    let context = attempt(Work::Exec(bench.sh("cat")));
    let expected = json!({
        "run": context.run, "task": "nightly", "version": 7, "action": "extract", "attempt": 3, "fence": 5,
        "idempotency_key": context.idempotency_key, "deadline": null, "checkpoint": null,
    });
    assert_eq!(succeeded(bench.perform(context).await), expected);
    for (stdin, seen) in [
        (json!("as it\nstands"), json!("as it\nstands")),
        (json!({"a": [1, "ä"]}), json!({"a": [1, "ä"]})),
        (json!(null), json!(null)),
        (json!(""), json!(null)),
    ] {
        let work = ExecWork { stdin: Some(stdin), ..bench.sh("cat") };
        assert_eq!(succeeded(bench.perform(attempt(Work::Exec(work))).await), seen);
    }
}

#[tokio::test]
async fn a_program_need_not_read_its_input() {
    let bench = Bench::new();
    let long = || Some(Value::from("x".repeat(4_000_000)));
    for (script, seen) in
        [("echo unread", "unread"), ("exec 0<&-; sleep 0.2; echo closed", "closed"), ("head -c 3", "xxx")]
    {
        let work = ExecWork { stdin: long(), ..bench.sh(script) };
        assert_eq!(succeeded(bench.perform(attempt(Work::Exec(work))).await), seen);
    }
    // Input and output that are both longer than a pipe do not wait for each other.
    let work = ExecWork { stdin: long(), ..bench.sh("cat | tail -c 5") };
    assert_eq!(succeeded(bench.perform(attempt(Work::Exec(work))).await), "xxxxx");
}

#[tokio::test]
async fn progress_is_seen_while_the_program_runs() {
    let bench = Bench::new();
    let script = r#"echo '25 quarter' >> "$WINDLASS_PROGRESS"
        while [ ! -e seen ]; do sleep 0.02; done
        echo '{"percent": 100, "message": "all"}' >> "$WINDLASS_PROGRESS""#;
    let performing = bench.start(attempt(Work::Exec(bench.sh(script))));
    let progress = performing.progress.clone();
    eventually("the first line is seen", || {
        progress
            .borrow()
            .as_ref()
            .is_some_and(|seen| seen.percent == Some(25.0) && seen.message.as_deref() == Some("quarter"))
    })
    .await;
    std::fs::write(bench.path("seen"), "").expect("written");
    assert_eq!(performing.end().await, Outcome::Succeeded { output: Value::Null });
    assert_eq!(progress.borrow().as_ref().and_then(|seen| seen.percent), Some(100.0));
}

/// The first block of code in that language after the examples' heading of `docs/exec.md`.
fn documented(language: &str) -> String {
    let page = include_str!("../../../../docs/exec.md");
    let (_, examples) = page.split_once("## Examples").expect("examples");
    let (_, block) = examples.split_once(&format!("```{language}\n")).expect("a block");
    block.split_once("```").expect("its end").0.to_owned()
}

#[tokio::test]
async fn the_documented_shell_script_works() {
    let bench = Bench::new();
    std::fs::write(bench.path("lines"), "1\n2\n3\n").expect("written");
    let script = documented("sh");
    let of = |file: &str| {
        let command = ["/bin/sh", "-c", &script, "sh", file].map(str::to_owned).to_vec();
        attempt(Work::Exec(ExecWork { command, ..bench.sh("") }))
    };
    assert_eq!(succeeded(bench.perform(of("lines")).await), json!({"lines": 3}));
    let error = failed(bench.perform(of("missing")).await);
    assert_eq!((error.kind.as_str(), error.message.as_str()), ("input.missing", "no such file"));
}

#[tokio::test]
async fn the_documented_python_program_works() {
    let bench = Bench::new();
    let command = ["python3", "-c", &documented("python")].map(str::to_owned).to_vec();
    let stdin = Some(json!([{"name": "a", "amount": 1}, {"name": "b", "amount": 2}]));
    let performing = bench.start(attempt(Work::Exec(ExecWork { command, stdin, ..bench.sh("") })));
    let progress = performing.progress.clone();
    assert_eq!(succeeded(performing.end().await), json!({"total": 3}));
    assert_eq!(progress.borrow().as_ref().and_then(|seen| seen.percent), Some(100.0));
}

#[tokio::test]
async fn a_program_takes_up_work_and_saves_it() {
    let bench = Bench::new();
    let script = r#"echo '{"percent": 50, "checkpoint": {"row": 8}}' >> "$WINDLASS_PROGRESS"
        echo "60 further" >> "$WINDLASS_PROGRESS"; echo "${WINDLASS_CHECKPOINT-none}"; cat"#;
    for (given, told) in [
        (None, json!(null)),
        (Some(json!({ "row": 7, "of": "it's \"all\"" })), json!({ "row": 7, "of": "it's \"all\"" })),
    ] {
        let performing = bench.start(Attempt { checkpoint: given.clone(), ..attempt(Work::Exec(bench.sh(script))) });
        let (saved, progress) = (performing.saved.clone(), performing.progress.clone());
        let output = succeeded(performing.end().await);
        let (variable, context) = output.as_str().and_then(|text| text.split_once('\n')).expect("two lines");
        assert_eq!(variable, given.map_or("none".to_owned(), |given| given.to_string()));
        let context: Value = serde_json::from_str(context).expect("JSON");
        assert_eq!(context["checkpoint"], told);
        assert_eq!(*saved.borrow(), Some(json!({ "row": 8 })));
        let message = progress.borrow().clone().and_then(|progress| progress.message);
        assert_eq!(message.as_deref(), Some("further"));
    }
}
