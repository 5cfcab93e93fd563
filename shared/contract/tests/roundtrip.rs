//! A reader gets back the same message that the writer wrote, and no text makes a reader panic.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;

use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use serde_json::Value;
use uuid::Uuid;
use windlass_contract::message::{
    Confirmed, ControlMessage, InboxMessage, MESSAGE_VERSION, Message, MessageError, PerformMessage, Stopped, decode,
    encode, message_hash,
};
use windlass_contract::record;
use windlass_domain::attempt::{ActionState, ActionStatus, ErrorInfo, Fate, Kill, Owner, Unserved};
use windlass_domain::caller::{Caller, Way};
use windlass_domain::content::{Apart, Content, Values};
use windlass_domain::delivery::Delivery;
use windlass_domain::ids::{ActionIndex, ActionName, AgentId, RunId, TaskName};
use windlass_domain::limits::MAX_MESSAGE_BYTES;
use windlass_domain::run::{
    ActionAt, CancelCause, Cancellation, Claim, Input, Origin, Outcome, Page, Pages, Progress, Report, Run, RunStatus,
    Source,
};
use windlass_domain::schedule::TaskInput;
use windlass_domain::time::{Millis, Timestamp};
use windlass_domain::work::{ExecWork, HttpWork, NativeWork, StandardOutput, Work};

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

/// A reader takes `null` in an optional field as absent, so a writer writes only other values there.
fn some_json() -> impl Strategy<Value = Option<Value>> {
    option::of(json().prop_filter("null is absent", |value| !value.is_null()))
}

/// A value in its record, or the reference of one that stands apart.
fn held() -> impl Strategy<Value = Option<Content>> {
    (some_json(), any::<bool>()).prop_map(|(value, is_apart)| {
        let value = value?;
        Some(if is_apart { Content::Apart(Apart::of(&value.to_string())) } else { Values::default().hold(value) })
    })
}

fn of() -> impl Strategy<Value = ActionAt> {
    any::<(u32, u32)>().prop_map(|(action, attempt)| ActionAt { action: ActionIndex(action), attempt })
}

fn delivery() -> impl Strategy<Value = Delivery> {
    any::<(u32, u64, u32)>().prop_map(|(attempt, issue, receive)| Delivery::new(attempt, issue, receive))
}

fn report() -> impl Strategy<Value = Report> {
    (any::<(u32, u32)>(), delivery(), agent()).prop_map(|((action, message), delivery, agent)| Report {
        action: ActionIndex(action),
        delivery,
        message,
        agent,
    })
}

fn claim() -> impl Strategy<Value = Claim> {
    (any::<(u32, u32, u32)>(), delivery()).prop_map(|((action, message, asked), delivery)| Claim {
        action: ActionIndex(action),
        delivery,
        message,
        asked,
    })
}

fn caller() -> impl Strategy<Value = Caller> {
    let way = prop_oneof![Just(Way::Host), Just(Way::Agent), Just(Way::Schedule), Just(Way::Api)];
    (option::of(any::<String>()), way, option::of(any::<String>())).prop_map(|(who, way, why)| Caller { who, way, why })
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

fn reported() -> impl Strategy<Value = Input> {
    let dead = (any::<(u32, u32)>(), delivery(), any::<String>());
    prop_oneof![
        (report(), instant()).prop_map(|(of, started_at)| Input::Started { of, started_at }),
        (agent(), vec(claim(), 0..4)).prop_map(|(agent, claims)| Input::Claim { agent, claims }),
        (report(), instant(), any::<u32>()).prop_map(|(of, started_at, number)| Input::Renewed {
            of,
            started_at,
            number
        }),
        (report(), any::<u32>(), progress(), some_json())
            .prop_map(|(of, number, progress, checkpoint)| Input::Progressed { of, number, progress, checkpoint }),
        (report(), any::<bool>(), some_json()).prop_map(|(of, kept, checkpoint)| Input::HandedBack {
            of,
            kept,
            checkpoint
        }),
        (report(), instant(), outcome(), some_json()).prop_map(|(of, started_at, outcome, checkpoint)| {
            Input::Completed { of, started_at, outcome, checkpoint }
        }),
        dead.prop_map(|((action, message), delivery, reason)| Input::DeadLettered {
            action: ActionIndex(action),
            delivery,
            message,
            reason,
        }),
    ]
}

fn asked() -> impl Strategy<Value = Input> {
    prop_oneof![
        Just(Input::Start),
        (any::<String>(), cause(), any::<u32>()).prop_map(|(reason, cause, retries)| Input::Cancel {
            reason,
            cause,
            retries
        }),
        (any::<[u32; 2]>(), any::<String>()).prop_map(|([action, retries], reason)| Input::Kill {
            action: ActionIndex(action),
            reason,
            retries
        }),
        any::<[u32; 2]>().prop_map(|[pauses, retries]| Input::Pause { pauses, retries }),
        any::<u32>().prop_map(|pauses| Input::Resume { pauses }),
        any::<u32>().prop_map(|retries| Input::Retry { retries }),
        option::of(any::<u32>()).prop_map(|action| Input::Wake { action: action.map(ActionIndex) }),
        Just(Input::Sweep),
    ]
}

fn inbox_message() -> impl Strategy<Value = InboxMessage> {
    let input = prop_oneof![reported(), asked()];
    prop_oneof![
        (run_id(), input, caller()).prop_map(|(run, input, caller)| InboxMessage::Run {
            v: MESSAGE_VERSION,
            run,
            input,
            caller
        }),
        (name(), option::of(instant()), caller()).prop_map(|(task, nominal, caller)| InboxMessage::Task {
            v: MESSAGE_VERSION,
            task: TaskName::new(&task).unwrap(),
            input: nominal.map_or(TaskInput::Ended, |nominal| TaskInput::Due { nominal }),
            caller,
        }),
        instant().prop_map(|nominal| InboxMessage::Sweep { v: MESSAGE_VERSION, nominal }),
    ]
}

fn texts() -> impl Strategy<Value = BTreeMap<String, String>> {
    btree_map(any::<String>(), any::<String>(), 0..3)
}

fn standard_output() -> impl Strategy<Value = Option<StandardOutput>> {
    option::of(prop_oneof![Just(StandardOutput::Json), Just(StandardOutput::Text), Just(StandardOutput::None)])
}

fn work() -> impl Strategy<Value = Work> {
    prop_oneof![
        (vec(any::<String>(), 1..4), some_json(), texts(), option::of(any::<String>()), standard_output()).prop_map(
            |(command, stdin, env, workdir, output)| Work::Exec(ExecWork { command, stdin, env, workdir, output })
        ),
        (any::<String>(), texts(), some_json())
            .prop_map(|(url, headers, body)| { Work::Http(HttpWork { method: "POST".into(), url, headers, body }) }),
        (any::<String>(), json()).prop_map(|(handler, input)| Work::Native(NativeWork { handler, input })),
    ]
}

fn perform_message() -> impl Strategy<Value = PerformMessage> {
    let who = (run_id(), name(), any::<u32>(), name(), of());
    let numbers = any::<(u64, u64, usize)>();
    let what = (work(), option::of(any::<u64>()), option::of(instant()), instant(), numbers, some_json());
    (who, what).prop_map(
        |((run, task, version, name, of), (work, timeout, deadline, queued_at, numbers, checkpoint))| {
            let (issue, fence, losses) = numbers;
            PerformMessage {
                v: MESSAGE_VERSION,
                run,
                task: TaskName::new(&task).unwrap(),
                version,
                name: ActionName::new(&name).unwrap(),
                of,
                issue,
                fence,
                losses,
                work,
                timeout_ms: timeout.map(Millis),
                deadline,
                queued_at,
                checkpoint,
                trace: timeout.map(|_| windlass_contract::trace::traceparent(run, of)),
            }
        },
    )
}

fn confirmed() -> impl Strategy<Value = Confirmed> {
    let stands = (any::<(u32, usize, u64)>(), option::of(instant()), some_json());
    (any::<(u32, u32)>(), delivery(), stands).prop_map(
        |((action, message), delivery, ((asked, losses, fence), until, checkpoint))| Confirmed {
            action: ActionIndex(action),
            delivery,
            message,
            asked,
            until,
            checkpoint,
            losses,
            fence,
        },
    )
}

fn stopped() -> impl Strategy<Value = Stopped> {
    let fate = prop_oneof![Just(Fate::Report), Just(Fate::Leave), Just(Fate::Delete)];
    (any::<(u32, u32)>(), delivery(), option::of(any::<u32>()), fate, any::<String>()).prop_map(
        |((action, message), delivery, asked, fate, reason)| {
            let action = ActionIndex(action);
            Stopped { action, delivery, message, asked, fate, reason }
        },
    )
}

fn control_message() -> impl Strategy<Value = ControlMessage> {
    let v = MESSAGE_VERSION;
    prop_oneof![
        (run_id(), vec(confirmed(), 0..4)).prop_map(move |(run, confirmed)| ControlMessage::Confirm {
            v,
            run,
            confirmed
        }),
        (run_id(), vec(stopped(), 0..4)).prop_map(move |(run, stopped)| ControlMessage::Stop { v, run, stopped }),
        (any::<u64>(), agent()).prop_map(move |(deadline, agent)| ControlMessage::Drain {
            v,
            deadline_ms: Millis(deadline),
            agent,
        }),
    ]
}

fn owner() -> impl Strategy<Value = Owner> {
    let times = (instant(), instant(), option::of(instant()));
    (agent(), times, any::<(u32, u32)>()).prop_map(|(agent, (started_at, since, until), (message, renewal))| Owner {
        agent,
        started_at,
        since,
        message,
        until,
        renewal,
    })
}

fn kill() -> impl Strategy<Value = Kill> {
    (instant(), any::<String>(), caller(), any::<u64>()).prop_map(|(at, reason, caller, revision)| Kill {
        at,
        reason,
        caller,
        revision,
    })
}

fn action_state() -> impl Strategy<Value = ActionState> {
    let had = (delivery(), vec(delivery(), 0..3), option::of(owner()), option::of(kill()));
    let said = (option::of(progress()), some_json(), held(), option::of(error()));
    let numbers = any::<(bool, u32, u64, u64)>();
    (prop::sample::select(&ActionStatus::ALL[..]), numbers, option::of(instant()), had, said).prop_map(
        |(status, (ready, number, fence, revision), at, (last, losses, owner, kill), said)| {
            let (progress, checkpoint, output, error) = said;
            ActionState {
                status,
                ready,
                last,
                attempt_base: number / 2,
                fence,
                owner,
                first_queued_at: at,
                queued_at: at,
                finished_at: at,
                retry_at: at,
                revision,
                source: Source::from(number),
                progress,
                progress_number: number,
                unserved: at.map(|since| Unserved { since, revision }),
                checkpoint,
                kill,
                losses,
                output,
                error,
            }
        },
    )
}

fn cancellation() -> impl Strategy<Value = Cancellation> {
    (instant(), cause(), any::<String>(), caller(), any::<u64>()).prop_map(|(at, cause, reason, caller, revision)| {
        let source = Source::Sweep;
        Cancellation { at, cause, reason, caller, revision, source }
    })
}

fn run() -> impl Strategy<Value = Run> {
    let head = (run_id(), name(), json(), some_json(), option::of(error()), option::of(instant()));
    let asked = (caller(), option::of(caller()), option::of(cancellation()));
    (head, any::<(u32, u64)>(), asked, vec(action_state(), 1..4), 1usize..200).prop_map(
        |((id, task, input, output, error, at), (count, revision), asked, states, actions)| {
            let task = TaskName::new(&task).unwrap();
            let mut run = Run::submitted(id, (task, 3), actions, input, Origin::Request, Timestamp::from_millis(5));
            (run.output, run.error, run.revision) = (output, error, revision);
            (run.caller, run.status_caller, run.cancellation) = asked;
            run.retried_by.clone_from(&run.status_caller);
            (run.started_at, run.finished_at, run.deadline, run.wake_at) = (at, at, at, at);
            (run.status, run.status_revision, run.start_revision) = (RunStatus::Running, revision / 2, revision / 3);
            run.status_source = Source::from(count);
            (run.retries, run.ready, run.failed, run.faults) = (count, count / 2, count % 3, count % 2);
            (run.ready_from, run.pauses) = (count / 3, count % 5);
            run.keep.failed = (count % 2 == 0).then_some(Millis(revision));
            let all: Vec<ActionState> = states.iter().cycle().take(actions).cloned().collect();
            run.actions = Pages::from_pages(all.chunks(64).map(<[_]>::to_vec).collect::<Vec<Page>>());
            run
        },
    )
}

/// As records were written before long values stood apart.
#[test]
fn record_with_long_values_in_it_is_read() {
    let task = TaskName::new("old").unwrap();
    let id = RunId::from_key(&task, "a key");
    let mut run = Run::submitted(id, (task, 1), 1, Value::Null, Origin::Request, Timestamp::from_millis(0));
    let long = || Content::Here("x".repeat(5000).into());
    run.input = long();
    let state = ActionState { status: ActionStatus::Succeeded, output: Some(long()), ..ActionState::default() };
    run.actions = Pages::from_pages(vec![vec![state]]);
    let stored = record::encode(&run, None);
    assert!(stored.head.contains(&"x".repeat(5000)));
    assert_eq!(record::decode(&stored.head, &[]).unwrap(), run);
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

/// The published check value of CRC-32 is that of `123456789`. The CRC-32 of an empty text is 0.
#[test]
fn message_hash_is_crc_32_but_never_zero() {
    assert_eq!(message_hash("123456789"), 0xcbf4_3926);
    assert_eq!(message_hash(""), 1);
}

/// The next program gets the number that a program gave.
#[test]
fn numbers_keep_their_value() {
    for text in ["0.1", "0.30000000000000004", "1.7976931348623157e308", "5e-324", "2.2250738585072014e-308"] {
        let number: f64 = text.parse().unwrap();
        let read: Value = serde_json::from_str(text).unwrap();
        assert_eq!(read.as_f64().unwrap().to_bits(), number.to_bits(), "{text}");
    }
}

fn check_instant(nominal: &str, expected: Option<i64>) {
    let due =
        decode(&format!(r#"{{"type":"task","v":1,"task":"t","input":{{"type":"due","nominal":{nominal}}}}}"#)).ok();
    let due = due.map(|message| match message {
        InboxMessage::Task { input: TaskInput::Due { nominal }, .. } => Some(nominal.as_millis()),
        InboxMessage::Task { .. } | InboxMessage::Run { .. } | InboxMessage::Sweep { .. } => None,
    });
    assert_eq!(due.flatten(), expected, "{nominal}");
    let sweep = decode(&format!(r#"{{"type":"sweep","v":1,"nominal":{nominal}}}"#));
    assert_eq!(sweep.is_ok_and(|sweep: InboxMessage| matches!(sweep, InboxMessage::Sweep { .. })), expected.is_some());
}

#[test]
fn instant_is_a_number_or_rfc_3339() {
    check_instant("1774747800000", Some(1_774_747_800_000));
    check_instant("-1", Some(-1));
    check_instant("\"2026-03-29T01:30:00Z\"", Some(1_774_747_800_000));
    check_instant("\"<aws.scheduler.scheduled-time>\"", None);
    check_instant("18446744073709551615", None);
    check_instant("true", None);
}
