//! Whatever is written is read back as the same, and nothing that is read can do harm.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;

use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use serde_json::Value;
use uuid::Uuid;
use windlass_contract::message::{
    ControlMessage, InboxMessage, MESSAGE_VERSION, Message, MessageError, PerformMessage, decode, encode,
};
use windlass_contract::record;
use windlass_domain::ids::{ActionIndex, ActionName, AgentId, RunId, TaskName};
use windlass_domain::limits::MAX_MESSAGE_BYTES;
use windlass_domain::run::{
    ActionAt, ActionState, ActionStatus, CancelCause, ErrorInfo, Input, Kill, Origin, Outcome, Page, Pages, Progress,
    Run, RunStatus, Unserved,
};
use windlass_domain::time::{Millis, Timestamp};
use windlass_domain::work::{ExecWork, HttpWork, NativeWork, Work};

fn run_id() -> impl Strategy<Value = RunId> {
    any::<u128>().prop_map(|id| RunId::from_uuid(Uuid::from_u128(id)))
}

fn name() -> impl Strategy<Value = String> {
    "[A-Za-z][A-Za-z0-9_-]{0,63}"
}

fn instant() -> impl Strategy<Value = Timestamp> {
    any::<i64>().prop_map(Timestamp::from_millis)
}

fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        (-1e300..1e300).prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            btree_map(any::<String>(), inner, 0..4).prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// Of an optional field `null` is read as absent, so only what is not `null` is written there.
fn some_json() -> impl Strategy<Value = Option<Value>> {
    option::of(json().prop_filter("null is absent", |value| !value.is_null()))
}

fn of() -> impl Strategy<Value = ActionAt> {
    (any::<u32>(), any::<u32>(), any::<u32>()).prop_map(|(action, attempt, fence)| ActionAt {
        action: ActionIndex(action),
        attempt,
        fence,
    })
}

fn agent() -> impl Strategy<Value = AgentId> {
    name().prop_map(|name| AgentId::new(&name).unwrap())
}

fn error() -> impl Strategy<Value = ErrorInfo> {
    (any::<String>(), any::<String>()).prop_map(|(kind, message)| ErrorInfo { kind, message })
}

fn progress() -> impl Strategy<Value = Progress> {
    (option::of(0.0..100.0), option::of(any::<String>())).prop_map(|(percent, message)| Progress { percent, message })
}

fn outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        json().prop_map(|output| Outcome::Succeeded { output }),
        error().prop_map(|error| Outcome::Failed { error }),
        error().prop_map(|error| Outcome::TimedOut { error }),
        Just(Outcome::Cancelled),
    ]
}

fn cause() -> impl Strategy<Value = CancelCause> {
    prop_oneof![Just(CancelCause::Request), Just(CancelCause::Deadline), Just(CancelCause::Overlap)]
}

fn input() -> impl Strategy<Value = Input> {
    prop_oneof![
        Just(Input::Start),
        (of(), agent(), instant()).prop_map(|(of, agent, started_at)| Input::Started { of, agent, started_at }),
        (of(), agent(), any::<u32>(), any::<u32>(), any::<bool>())
            .prop_map(|(of, agent, received, copy, again)| { Input::Claim { of, agent, received, copy, again } }),
        (of(), agent(), instant()).prop_map(|(of, agent, started_at)| Input::Renewed { of, agent, started_at }),
        (of(), any::<u32>(), progress(), some_json())
            .prop_map(|(of, number, progress, checkpoint)| { Input::Progressed { of, number, progress, checkpoint } }),
        (of(), agent(), any::<u32>(), some_json())
            .prop_map(|(of, agent, copy, checkpoint)| { Input::HandedBack { of, agent, copy, checkpoint } }),
        (of(), agent(), instant(), outcome(), some_json()).prop_map(|(of, agent, started_at, outcome, checkpoint)| {
            Input::Completed { of, agent, started_at, outcome, checkpoint }
        }),
        (of(), any::<u32>(), any::<String>()).prop_map(|(of, copy, reason)| Input::DeadLettered { of, copy, reason }),
        (any::<String>(), cause(), any::<u32>()).prop_map(|(reason, cause, retries)| Input::Cancel {
            reason,
            cause,
            retries
        }),
        any::<[u32; 2]>().prop_map(|[pauses, retries]| Input::Pause { pauses, retries }),
        any::<u32>().prop_map(|pauses| Input::Resume { pauses }),
        any::<u32>().prop_map(|retries| Input::Retry { retries }),
        Just(Input::Wake),
        instant().prop_map(|since| Input::Sweep { since }),
    ]
}

fn inbox_message() -> impl Strategy<Value = InboxMessage> {
    prop_oneof![
        (run_id(), input()).prop_map(|(run, input)| InboxMessage::Run { v: MESSAGE_VERSION, run, input }),
        (name(), option::of(instant())).prop_map(|(task, nominal)| InboxMessage::Due {
            v: MESSAGE_VERSION,
            task: TaskName::new(&task).unwrap(),
            nominal,
        }),
        instant().prop_map(|nominal| InboxMessage::Sweep { v: MESSAGE_VERSION, nominal }),
    ]
}

fn texts() -> impl Strategy<Value = BTreeMap<String, String>> {
    btree_map(any::<String>(), any::<String>(), 0..3)
}

fn work() -> impl Strategy<Value = Work> {
    prop_oneof![
        (vec(any::<String>(), 1..4), some_json(), texts(), option::of(any::<String>()))
            .prop_map(|(command, stdin, env, workdir)| Work::Exec(ExecWork { command, stdin, env, workdir })),
        (any::<String>(), texts(), some_json())
            .prop_map(|(url, headers, body)| { Work::Http(HttpWork { method: "POST".into(), url, headers, body }) }),
        (any::<String>(), json()).prop_map(|(handler, input)| Work::Native(NativeWork { handler, input })),
    ]
}

fn perform_message() -> impl Strategy<Value = PerformMessage> {
    let who = (run_id(), name(), any::<u32>(), name(), of());
    let what = (work(), option::of(any::<u64>()), option::of(instant()), instant(), any::<bool>(), some_json());
    (who, what).prop_map(|((run, task, version, name, of), (work, timeout, deadline, queued_at, claim, checkpoint))| {
        PerformMessage {
            v: MESSAGE_VERSION,
            run,
            task: TaskName::new(&task).unwrap(),
            version,
            name: ActionName::new(&name).unwrap(),
            of,
            work,
            timeout_ms: timeout.map(Millis),
            deadline,
            queued_at,
            claim,
            copy: of.fence / 2,
            checkpoint,
            trace: timeout.map(|_| windlass_contract::trace::traceparent(run, of)),
        }
    })
}

fn control_message() -> impl Strategy<Value = ControlMessage> {
    prop_oneof![
        (run_id(), of()).prop_map(|(run, of)| ControlMessage::Stop { v: MESSAGE_VERSION, run, of }),
        (any::<u64>(), agent()).prop_map(|(deadline, agent)| ControlMessage::Drain {
            v: MESSAGE_VERSION,
            deadline_ms: Millis(deadline),
            agent,
        }),
    ]
}

fn action_state() -> impl Strategy<Value = ActionState> {
    let status = prop_oneof![
        Just(ActionStatus::Waiting),
        Just(ActionStatus::Queued),
        Just(ActionStatus::Running),
        Just(ActionStatus::RetryWaiting),
        Just(ActionStatus::Succeeded),
        Just(ActionStatus::Failed),
        Just(ActionStatus::Skipped),
    ];
    let said = (option::of(agent()), option::of(progress()), some_json(), some_json(), option::of(error()));
    (status, any::<(bool, u32, u32, u64)>(), option::of(instant()), said).prop_map(
        |(status, (ready, attempt, fence, revision), at, (agent, progress, checkpoint, output, error))| ActionState {
            status,
            ready,
            attempt,
            attempt_base: attempt / 2,
            fence,
            agent,
            first_queued_at: at,
            queued_at: at,
            started_at: at,
            finished_at: at,
            retry_at: at,
            revision,
            progress,
            unserved: at.map(|since| Unserved { since, revision }),
            progress_number: fence / 2,
            checkpoint,
            handed_back: ready,
            kill: at.map(|at| Kill { at, reason: "r".repeat(fence as usize % 4), revision }),
            copy: attempt / 3,
            received: attempt / 2,
            leased_until: at,
            lost: (0..attempt % 4).collect(),
            output,
            error,
        },
    )
}

fn run() -> impl Strategy<Value = Run> {
    let head = (run_id(), name(), json(), some_json(), option::of(error()), option::of(instant()));
    (head, any::<(u32, u64)>(), vec(action_state(), 1..4), 1usize..200).prop_map(
        |((id, task, input, output, error, at), (count, revision), states, actions)| {
            let task = TaskName::new(&task).unwrap();
            let mut run = Run::submitted(id, (task, 3), actions, input, Origin::Request, Timestamp::from_millis(5));
            run.output = output;
            run.error = error;
            run.revision = revision;
            (run.started_at, run.deadline, run.wake_at) = (at, at, at);
            run.status = RunStatus::Running;
            (run.retries, run.ready, run.failed, run.faults) = (count, count / 2, count % 3, count % 2);
            run.ready_from = count / 3;
            let all: Vec<ActionState> = states.iter().cycle().take(actions).cloned().collect();
            run.actions = Pages::from_pages(all.chunks(64).map(<[_]>::to_vec).collect::<Vec<Page>>());
            run
        },
    )
}

proptest! {
    #[test]
    fn inbox_messages(message in inbox_message()) {
        prop_assert_eq!(decode::<InboxMessage>(&encode(&message)).unwrap(), message);
    }

    #[test]
    fn perform_messages(message in perform_message()) {
        prop_assert_eq!(decode::<PerformMessage>(&encode(&message)).unwrap(), message);
    }

    #[test]
    fn control_messages(message in control_message()) {
        prop_assert_eq!(decode::<ControlMessage>(&encode(&message)).unwrap(), message);
    }

    #[test]
    fn records(run in run()) {
        let stored = record::encode(&run, None);
        let pages: Vec<String> = stored.pages.into_iter().map(|(_, page)| page).collect();
        prop_assert_eq!(record::decode(&stored.head, &pages).unwrap(), run);
    }

    /// The head of a run with pages is that of the run without its actions, field by field.
    #[test]
    fn bare_heads(run in run()) {
        let stored = record::encode(&run, None);
        if !stored.pages.is_empty() {
            let bare = Run { actions: Pages::default(), ..run };
            let expected = serde_json::json!({ "v": record::RECORD_VERSION, "run": bare });
            prop_assert_eq!(serde_json::from_str::<Value>(&stored.head).unwrap(), expected);
        }
    }
}

fn refused<M: Message>(body: &str) -> MessageError {
    decode::<M>(body).err().expect("it is refused")
}

#[test]
fn message_of_another_version_is_refused() {
    let id = "00000000-0000-0000-0000-000000000001";
    let same_shape = format!(r#"{{"type":"run","v":2,"run":"{id}","input":{{"type":"start"}}}}"#);
    for body in [same_shape.as_str(), r#"{"v":2,"body":[]}"#] {
        assert!(matches!(refused::<InboxMessage>(body), MessageError::UnknownVersion(2)), "{body}");
        assert!(matches!(refused::<PerformMessage>(body), MessageError::UnknownVersion(2)), "{body}");
        assert!(matches!(refused::<ControlMessage>(body), MessageError::UnknownVersion(2)), "{body}");
    }
}

#[test]
fn malformed_messages_are_refused() {
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    for body in ["", "{", "null", "[]", r#"{"v":1}"#, r#"{"v":1,"type":"other"}"#, r#"{"v":"1"}"#, &deep] {
        assert!(matches!(refused::<InboxMessage>(body), MessageError::Shape(_)));
    }
    let large = " ".repeat(MAX_MESSAGE_BYTES + 1);
    assert!(matches!(refused::<InboxMessage>(&large), MessageError::TooLarge(n) if n == large.len()));
}

#[test]
fn record_of_another_version_is_refused() {
    let task = TaskName::new("t").unwrap();
    let id = RunId::from_key(&task, "k");
    let run = Run::submitted(id, (task, 1), 2, Value::Null, Origin::Request, Timestamp::from_millis(0));
    let same_shape = record::encode(&run, None).head.replacen(r#""v":1"#, r#""v":7"#, 1);
    for head in [same_shape.as_str(), r#"{"v":7,"saga":{}}"#] {
        assert!(matches!(record::decode(head, &[]), Err(record::RecordError::UnknownVersion(7))), "{head}");
    }
    for head in ["", "{}", r#"{"v":1,"run":{}}"#] {
        assert!(matches!(record::decode(head, &[]), Err(record::RecordError::Shape(_))), "{head}");
    }
    let pages = vec!["[{}]".to_owned()];
    assert!(matches!(record::decode(&record::encode(&run, None).head, &pages), Err(record::RecordError::Shape(_))));
}

/// A number that a program gave is the number that the next one gets.
#[test]
fn numbers_keep_their_value() {
    for text in ["0.1", "0.30000000000000004", "1.7976931348623157e308", "5e-324", "2.2250738585072014e-308"] {
        let number: f64 = text.parse().unwrap();
        let read: Value = serde_json::from_str(text).unwrap();
        assert_eq!(read.as_f64().unwrap().to_bits(), number.to_bits(), "{text}");
    }
}
