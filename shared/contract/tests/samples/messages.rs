//! One of each message, with every field set, and one with those left out that may be absent.

use serde_json::{Value, json};
use windlass_contract::message::{ControlMessage, InboxMessage, MESSAGE_VERSION, PerformMessage};
use windlass_contract::trace::traceparent;
use windlass_domain::ids::{ActionIndex, ActionName, PoolName, TaskName};
use windlass_domain::run::{CancelCause, ErrorInfo, Input, Outcome, Progress};
use windlass_domain::time::Millis;
use windlass_domain::work::{ExecWork, HttpWork, NativeWork, Work};

use super::{agent, at, id, of};

/// One input of each kind, and its file's name. The match below names every kind there is.
fn inputs() -> Vec<(&'static str, Input)> {
    let ended =
        |outcome, checkpoint| Input::Completed { of: of(), agent: agent(), started_at: at(2), outcome, checkpoint };
    let completed = |outcome| ended(outcome, None);
    let checkpoint = || Some(json!({ "rows": 3 }));
    let error = || ErrorInfo::new("auth.password", "the password is wrong");
    let progress = || Progress { percent: Some(12.5), message: Some("reading".into()) };
    vec![
        ("start", Input::Start),
        ("started", Input::Started { of: of(), agent: agent(), started_at: at(2) }),
        ("claim", Input::Claim { of: of(), agent: agent(), received: 2, copy: 0, again: false }),
        ("claim_copy", Input::Claim { of: of(), agent: agent(), received: 1, copy: 6, again: false }),
        ("claim_again", Input::Claim { of: of(), agent: agent(), received: 1, copy: 6, again: true }),
        ("renewed", Input::Renewed { of: of(), agent: agent(), started_at: at(2) }),
        ("progressed", Input::Progressed { of: of(), number: 0, progress: progress(), checkpoint: None }),
        ("progressed_bare", Input::Progressed { of: of(), number: 0, progress: Progress::default(), checkpoint: None }),
        ("progressed_saved", Input::Progressed { of: of(), number: 7, progress: progress(), checkpoint: checkpoint() }),
        ("kill", Input::Kill { action: ActionIndex(2), reason: "it hangs".into(), retries: 1 }),
        ("handed_back", Input::HandedBack { of: of(), agent: agent(), copy: 0, checkpoint: None }),
        ("handed_back_copy", Input::HandedBack { of: of(), agent: agent(), copy: 6, checkpoint: None }),
        ("handed_back_saved", Input::HandedBack { of: of(), agent: agent(), copy: 0, checkpoint: checkpoint() }),
        ("failed_saved", ended(Outcome::Failed { error: error() }, checkpoint())),
        ("succeeded", completed(Outcome::Succeeded { output: json!({ "rows": 3, "mean": 0.1 }) })),
        ("failed", completed(Outcome::Failed { error: error() })),
        ("timed_out", completed(Outcome::TimedOut { error: error() })),
        ("cancelled", completed(Outcome::Cancelled)),
        ("dead_lettered", Input::DeadLettered { of: of(), copy: 0, reason: "received 20 times".into() }),
        ("dead_lettered_copy", Input::DeadLettered { of: of(), copy: 72_182, reason: "received 20 times".into() }),
        ("unserved", Input::Unserved { pool: PoolName::new("linux-gpu").expect("a name"), since: at(3) }),
        ("cancel", Input::Cancel { reason: "not needed".into(), cause: CancelCause::Request, retries: 1 }),
        ("pause", Input::Pause { pauses: 0, retries: 0 }),
        ("pause_again", Input::Pause { pauses: 2, retries: 1 }),
        ("resume", Input::Resume { pauses: 0 }),
        ("resume_first", Input::Resume { pauses: 1 }),
        ("retry", Input::Retry { retries: 1 }),
        ("wake", Input::Wake),
        ("sweep", Input::Sweep { since: at(9) }),
    ]
}

/// Fails to compile when a kind is added: give it a sample above, then name it here.
#[expect(dead_code, reason = "it is for the compiler")]
fn every_input_has_a_sample(input: &Input) {
    match input {
        Input::Start
        | Input::Started { .. }
        | Input::Claim { .. }
        | Input::Renewed { .. }
        | Input::Progressed { .. }
        | Input::HandedBack { .. }
        | Input::Completed { .. }
        | Input::DeadLettered { .. }
        | Input::Unserved { .. }
        | Input::Cancel { .. }
        | Input::Kill { .. }
        | Input::Pause { .. }
        | Input::Resume { .. }
        | Input::Retry { .. }
        | Input::Wake
        | Input::Sweep { .. } => {}
    }
}

pub(crate) fn inbox() -> Vec<(&'static str, InboxMessage)> {
    let run = |(name, input)| (name, InboxMessage::Run { v: MESSAGE_VERSION, run: id(), input });
    let task = || TaskName::new("nightly-report").expect("a name");
    let due = |nominal| InboxMessage::Due { v: MESSAGE_VERSION, task: task(), nominal };
    let sweep = InboxMessage::Sweep { v: MESSAGE_VERSION, nominal: at(60) };
    inputs()
        .into_iter()
        .map(run)
        .chain([("due", due(Some(at(0)))), ("due_next", due(None)), ("sweep_minute", sweep)])
        .collect()
}

fn performed(work: Work) -> PerformMessage {
    PerformMessage {
        v: MESSAGE_VERSION,
        run: id(),
        task: TaskName::new("nightly-report").expect("a name"),
        version: 3,
        name: ActionName::new("extract").expect("a name"),
        of: of(),
        work,
        timeout_ms: Some(Millis(600_000)),
        deadline: Some(at(7200)),
        queued_at: at(1),
        claim: true,
        copy: 0,
        checkpoint: None,
        trace: None,
    }
}

pub(crate) fn perform() -> Vec<(&'static str, PerformMessage)> {
    let exec = ExecWork {
        command: vec!["python3".into(), "extract.py".into()],
        stdin: Some(json!([1, 2])),
        env: [("DAY".to_owned(), "today".to_owned())].into(),
        workdir: Some("reports".into()),
    };
    let bare = ExecWork { command: vec!["true".into()], stdin: None, env: [].into(), workdir: None };
    let http = HttpWork {
        method: "POST".into(),
        url: "http://127.0.0.1:9000/charts".into(),
        headers: [("accept".to_owned(), "application/json".to_owned())].into(),
        body: Some(json!({ "rows": 3 })),
    };
    let bare_http =
        HttpWork { method: "GET".into(), url: "https://example.com/".into(), headers: [].into(), body: None };
    let native = NativeWork { handler: "noop".into(), input: json!("text") };
    let bare_native = NativeWork { handler: "noop".into(), input: Value::Null };
    let least = PerformMessage { timeout_ms: None, deadline: None, claim: false, ..performed(Work::Exec(bare)) };
    let traced = PerformMessage { trace: Some(traceparent(id(), of())), ..performed(Work::Exec(exec.clone())) };
    let taken_up = PerformMessage { checkpoint: Some(json!({ "rows": 3 })), ..performed(Work::Exec(exec.clone())) };
    vec![
        ("exec_taken_up", taken_up),
        ("exec_copy", PerformMessage { copy: 6, ..performed(Work::Exec(exec.clone())) }),
        ("exec", performed(Work::Exec(exec))),
        ("exec_traced", traced),
        ("exec_bare", least),
        ("http", performed(Work::Http(http))),
        ("http_bare", performed(Work::Http(bare_http))),
        ("native", performed(Work::Native(native))),
        ("native_bare", performed(Work::Native(bare_native))),
    ]
}

pub(crate) fn control() -> Vec<(&'static str, ControlMessage)> {
    let drain = ControlMessage::Drain { v: MESSAGE_VERSION, deadline_ms: Millis(30_000), agent: agent() };
    let stop = ControlMessage::Stop { v: MESSAGE_VERSION, run: id(), of: of() };
    vec![("stop", stop), ("drain", drain)]
}
