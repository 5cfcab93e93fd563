//! One of each message, with every field set, and one with those left out that may be absent.

use serde_json::{Value, json};
use windlass_contract::message::{Confirmed, ControlMessage, InboxMessage, MESSAGE_VERSION, PerformMessage, Stopped};
use windlass_contract::trace::traceparent;
use windlass_domain::attempt::{ErrorInfo, Fate};
use windlass_domain::caller::{Caller, Way};
use windlass_domain::delivery::Delivery;
use windlass_domain::ids::{ActionIndex, ActionName, PoolName, TaskName};
use windlass_domain::run::{CancelCause, Claim, Input, Outcome, Progress};
use windlass_domain::schedule::TaskInput;
use windlass_domain::time::Millis;
use windlass_domain::work::{ExecWork, HttpWork, NativeWork, StandardOutput, Work};

use super::{agent, at, id, message, of, person, report};

/// One input of each kind, and its file's name. The match below names every kind there is.
fn inputs() -> Vec<(&'static str, Input)> {
    reported().into_iter().chain(asked()).collect()
}

/// The inputs from agents, and from queues that gave a message up.
fn reported() -> Vec<(&'static str, Input)> {
    let ended = |outcome, checkpoint| Input::Completed { of: report(), started_at: at(2), outcome, checkpoint };
    let completed = |outcome| ended(outcome, None);
    let checkpoint = || Some(json!({ "rows": 3 }));
    let error = || ErrorInfo::new("auth.password", "the password is wrong");
    let progress = || Progress { percent: Some(12.5), message: Some("reading".into()) };
    let progressed = |number, progress, checkpoint| Input::Progressed { of: report(), number, progress, checkpoint };
    let (action, received) = (ActionIndex(1), Delivery::new(2, 0, 101));
    let claim = |action, delivery, asked| Claim { action: ActionIndex(action), delivery, message: message(), asked };
    let claims = |claims| Input::Claim { agent: agent(), claims };
    let (redelivered, resent) = (claim(1, Delivery::new(2, 0, 2), 1), claim(2, Delivery::new(1, 600_421, 1), 2));
    let reason = || "received 101 times".to_owned();
    vec![
        ("started", Input::Started { of: report(), started_at: at(2) }),
        ("claim", claims(vec![redelivered])),
        ("claim_two", claims(vec![redelivered, resent])),
        ("renewed", Input::Renewed { of: report(), started_at: at(2), number: 1 }),
        ("progressed", progressed(0, progress(), None)),
        ("progressed_bare", progressed(0, Progress::default(), None)),
        ("progressed_saved", progressed(7, progress(), checkpoint())),
        ("handed_back", Input::HandedBack { of: report(), kept: false, checkpoint: None }),
        ("handed_back_kept", Input::HandedBack { of: report(), kept: true, checkpoint: None }),
        ("handed_back_saved", Input::HandedBack { of: report(), kept: false, checkpoint: checkpoint() }),
        ("failed_saved", ended(Outcome::Failed { error: error() }, checkpoint())),
        ("succeeded", completed(Outcome::Succeeded { output: json!({ "rows": 3, "mean": 0.1 }) })),
        ("failed", completed(Outcome::Failed { error: error() })),
        ("timed_out", completed(Outcome::TimedOut { error: error() })),
        ("cancelled", completed(Outcome::Cancelled)),
        ("dead_lettered", Input::DeadLettered { action, delivery: received, message: message(), reason: reason() }),
        ("dead_lettered_bare", Input::DeadLettered { action, delivery: received, message: 0, reason: reason() }),
    ]
}

/// The inputs from callers and from the host itself.
fn asked() -> Vec<(&'static str, Input)> {
    vec![
        ("start", Input::Start),
        ("unserved", Input::Unserved { pool: PoolName::new("linux-gpu").expect("a name"), since: at(3) }),
        ("cancel", Input::Cancel { reason: "not needed".into(), cause: CancelCause::Request, retries: 1 }),
        ("kill", Input::Kill { action: ActionIndex(2), reason: "it hangs".into(), retries: 1 }),
        ("pause", Input::Pause { pauses: 0, retries: 0 }),
        ("pause_again", Input::Pause { pauses: 2, retries: 1 }),
        ("resume", Input::Resume { pauses: 0 }),
        ("resume_first", Input::Resume { pauses: 1 }),
        ("retry", Input::Retry { retries: 1 }),
        ("wake", Input::Wake { action: None }),
        ("wake_action", Input::Wake { action: Some(ActionIndex(1)) }),
        ("sweep", Input::Sweep),
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
        | Input::Wake { .. }
        | Input::Sweep => {}
    }
}

pub(crate) fn inbox() -> Vec<(&'static str, InboxMessage)> {
    let run = |(name, input)| (name, InboxMessage::of_run(id(), input));
    let cancel = || Input::Cancel { reason: "not needed".into(), cause: CancelCause::Request, retries: 0 };
    let asked = |caller| InboxMessage::Run { v: MESSAGE_VERSION, run: id(), input: cancel(), caller };
    let task = || TaskName::new("nightly-report").expect("a name");
    let of_task = |input| InboxMessage::of_task(task(), input);
    let sweep = InboxMessage::Sweep { v: MESSAGE_VERSION, nominal: at(60) };
    inputs()
        .into_iter()
        .map(run)
        .chain([("cancel_by_person", asked(person())), ("cancel_by_schedule", asked(Caller::by(Way::Schedule)))])
        .chain([("due", of_task(TaskInput::Due { nominal: at(0) })), ("turn_ended", of_task(TaskInput::Ended))])
        .chain([("sweep_minute", sweep)])
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
        issue: 72_182,
        fence: 3,
        losses: 1,
        work,
        timeout_ms: Some(Millis(600_000)),
        deadline: Some(at(7200)),
        queued_at: at(1),
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
        output: None,
    };
    let bare = ExecWork { command: vec!["true".into()], stdin: None, env: [].into(), workdir: None, output: None };
    let json = ExecWork { output: Some(StandardOutput::Json), ..bare.clone() };
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
    let least = performed(Work::Exec(bare));
    let least = PerformMessage { issue: 0, losses: 0, timeout_ms: None, deadline: None, ..least };
    let traced = PerformMessage { trace: Some(traceparent(id(), of())), ..performed(Work::Exec(exec.clone())) };
    let taken_up = PerformMessage { checkpoint: Some(json!({ "rows": 3 })), ..performed(Work::Exec(exec.clone())) };
    vec![
        ("exec_taken_up", taken_up),
        ("exec", performed(Work::Exec(exec))),
        ("exec_traced", traced),
        ("exec_bare", least),
        ("exec_json", performed(Work::Exec(json))),
        ("http", performed(Work::Http(http))),
        ("http_bare", performed(Work::Http(bare_http))),
        ("native", performed(Work::Native(native))),
        ("native_bare", performed(Work::Native(bare_native))),
    ]
}

pub(crate) fn control() -> Vec<(&'static str, ControlMessage)> {
    let drain = ControlMessage::Drain { v: MESSAGE_VERSION, deadline_ms: Millis(30_000), agent: agent() };
    let (v, run) = (MESSAGE_VERSION, id());
    let confirm = |confirmed| ControlMessage::Confirm { v, run, confirmed };
    let stop = |stopped| ControlMessage::Stop { v, run, stopped };
    let (delivery, message) = (Delivery::new(2, 0, 2), message());
    let stopped = |asked, fate, reason: &str| Stopped {
        action: ActionIndex(1),
        delivery,
        message,
        asked,
        fate,
        reason: reason.into(),
    };
    let begins = Confirmed {
        action: ActionIndex(1),
        delivery,
        message,
        asked: 1,
        until: None,
        checkpoint: None,
        losses: 0,
        fence: 4,
    };
    let checkpoint = || Some(json!({ "rows": 3 }));
    let taken_up = Confirmed {
        action: ActionIndex(2),
        delivery: Delivery::new(1, 600_421, 1),
        asked: 2,
        checkpoint: checkpoint(),
        losses: 1,
        ..begins.clone()
    };
    let renewed = Confirmed { until: Some(at(610)), checkpoint: checkpoint(), ..begins.clone() };
    let cancelled = stopped(None, Fate::Report, "its run is being cancelled, or it alone was killed");
    let replaced = stopped(Some(1), Fate::Leave, "another attempt or delivery has replaced it");
    let ended = stopped(Some(1), Fate::Delete, "the action has ended");
    vec![
        ("confirm", confirm(vec![begins.clone()])),
        ("confirm_two", confirm(vec![begins, taken_up])),
        ("confirm_renewed", confirm(vec![renewed])),
        ("stop_report", stop(vec![cancelled.clone()])),
        ("stop_leave", stop(vec![replaced])),
        ("stop_delete", stop(vec![ended.clone()])),
        ("stop_two", stop(vec![cancelled, Stopped { action: ActionIndex(2), ..ended }])),
        ("drain", drain),
    ]
}
