//! One file for each form of item that was ever stored. A format that has been shipped keeps its files for ever.
//!
//! A file has the item, its body in base 64, and the JSON text that is packed there. The encoder must write the same
//! text as in the file, and the decoder must read every file. The packed bytes may differ with another version of the
//! deflate library. `UPDATE_GOLDEN=1 cargo test -p windlass-aws` writes files that are missing, and never one that
//! exists.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use aws_smithy_types::base64;
use serde_json::{Value, json};
use uuid::Uuid;
use windlass_domain::caller::{Caller, Way};
use windlass_domain::content::{Content, Values};
use windlass_domain::delivery::Delivery;
use windlass_domain::ids::{AgentId, RunId, TaskName};
use windlass_domain::run::{
    ActionState, ActionStatus, CancelCause, Cancellation, ErrorInfo, Origin, Owner, Pages, Progress, Run, RunStatus,
    Source,
};
use windlass_domain::time::Timestamp;

use super::columns::Columns;
use super::head::{Beside, decode, encode};
use super::held::Outgoing;
use super::place::Place;
use super::samples::incoming_of;
use super::{BODY, Item, list, mark, number, packing, page, text};

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/v1").join(format!("{name}.json"))
}

fn write(item: &Item) -> Value {
    let mut fields: BTreeMap<&str, Value> = BTreeMap::new();
    for (name, value) in item {
        let texts = (value.as_s(), value.as_n(), value.as_b());
        fields.insert(
            name,
            match texts {
                (Ok(text), ..) => json!({ "S": text }),
                (_, Ok(number), _) => json!({ "N": number }),
                (.., Ok(bytes)) => json!({ "B": base64::encode(bytes) }),
                _ => panic!("no item of ours has {value:?}"),
            },
        );
    }
    json!(fields)
}

fn read(item: &Value) -> Item {
    let attribute = |value: &Value| match value.as_object().unwrap().iter().next().unwrap() {
        (kind, Value::String(value)) if kind == "S" => text(value),
        (kind, Value::String(value)) if kind == "N" => number(value),
        (kind, Value::String(value)) if kind == "B" => AttributeValue::B(Blob::new(base64::decode(value).unwrap())),
        other => panic!("no item of ours has {other:?}"),
    };
    item.as_object().unwrap().iter().map(|(name, value)| (name.clone(), attribute(value))).collect()
}

fn packed_text(item: &Item) -> Value {
    let Some(AttributeValue::B(body)) = item.get(BODY) else { return Value::Null };
    Value::String(String::from_utf8(packing::unpack(body.as_ref()).unwrap()).unwrap())
}

/// Holds an item against its file; gives the item as the file has it.
fn check(name: &str, item: &Item) -> Item {
    let path = path(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() && !path.exists() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let file = json!({ "item": write(item), "text": packed_text(item) });
        std::fs::write(&path, format!("{file:#}\n")).unwrap();
    }
    let file: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    let stored = read(&file["item"]);
    assert_eq!(packed_text(&stored), file["text"], "{name}: its text is what is packed");
    let plain = |item: &Item| {
        let mut item = item.clone();
        item.remove(BODY);
        item
    };
    assert_eq!(plain(item), plain(&stored), "{name}: the attributes that are written today");
    assert_eq!(packed_text(item), file["text"], "{name}: what is packed today");
    stored
}

fn at(secs: i64) -> Timestamp {
    Timestamp::from_millis(1_764_000_000_000 + secs * 1000)
}

fn submitted() -> Run {
    let id = RunId::from_uuid(Uuid::from_u128(0x0199_0000_0000_7000_8000_0000_0000_0001));
    let task = TaskName::new("nightly-report").unwrap();
    Run::submitted(id, (task, 3), 5, json!({ "day": "today" }), Origin::Request, at(0))
}

/// A state of each kind that has fields of its own.
fn states() -> Vec<ActionState> {
    let agent = AgentId::new("agent-7").unwrap();
    let long = "x".repeat(1100);
    vec![
        ActionState {
            status: ActionStatus::Succeeded,
            last: Delivery { attempt: 2, issue: 0, receive: 1 },
            attempt_base: 1,
            fence: 3,
            owner: Some(Owner::of_end(agent.clone(), at(3))),
            first_queued_at: Some(at(1)),
            queued_at: Some(at(2)),
            finished_at: Some(at(4)),
            revision: 5,
            progress: Some(Progress { percent: Some(100.0), message: Some("done".into()) }),
            output: Some(Content::Here(json!({ "rows": [1, 2] }))),
            ..ActionState::default()
        },
        ActionState { ready: true, ..ActionState::default() },
        ActionState {
            status: ActionStatus::RetryWaiting,
            last: Delivery { attempt: 1, ..Delivery::default() },
            fence: 1,
            first_queued_at: Some(at(4)),
            queued_at: Some(at(4)),
            retry_at: Some(at(60)),
            revision: 6,
            error: Some(ErrorInfo::new("http.503", "the service is away")),
            ..ActionState::default()
        },
        ActionState {
            status: ActionStatus::Succeeded,
            output: Some(Values::default().hold(json!(long))),
            ..ActionState::default()
        },
        ActionState {
            status: ActionStatus::Failed,
            owner: Some(Owner::of_end(agent, at(3))),
            error: Some(ErrorInfo::new("exit.1", long)),
            ..ActionState::default()
        },
    ]
}

/// A run with an attempt that saved a checkpoint, and one that was handed back.
fn taken_up() -> Run {
    let running = ActionState {
        status: ActionStatus::Running,
        last: Delivery { attempt: 1, issue: 0, receive: 1 },
        fence: 2,
        owner: Some(Owner { since: at(4), message: 77, ..Owner::of_end(AgentId::new("agent-7").unwrap(), at(3)) }),
        first_queued_at: Some(at(1)),
        queued_at: Some(at(1)),
        revision: 3,
        progress_number: 7,
        checkpoint: Some(json!({ "rows": 3 })),
        ..ActionState::default()
    };
    let handed_back = ActionState {
        status: ActionStatus::Queued,
        last: Delivery { attempt: 1, issue: 2001, receive: 0 },
        owner: None,
        progress_number: 0,
        checkpoint: Some(json!("x".repeat(1100))),
        ..running.clone()
    };
    let actions = vec![running, handed_back, ActionState::default(), ActionState::default(), ActionState::default()];
    let run = submitted();
    let (status, status_revision) = (RunStatus::Running, 1);
    Run { revision: 4, status, status_revision, in_flight: 2, actions: Pages::from_pages(vec![actions]), ..run }
}

fn ended() -> Run {
    Run {
        revision: 7,
        origin: Origin::Schedule { nominal: at(-1) },
        status: RunStatus::Failed,
        output: Some(json!(null)),
        error: Some(ErrorInfo::new("run.failed", "an action failed")),
        started_at: Some(at(1)),
        finished_at: Some(at(70)),
        deadline: Some(at(7200)),
        wake_at: Some(at(60)),
        cancellation: Some(Cancellation {
            at: at(65),
            cause: CancelCause::Overlap,
            reason: "not needed".into(),
            caller: Caller::by(Way::Api),
            revision: 6,
            source: Source::Cancel,
        }),
        retries: 1,
        status_revision: 7,
        open: 2,
        in_flight: 1,
        ready: 1,
        ready_from: 1,
        failed: 1,
        faults: 1,
        actions: Pages::from_pages(vec![states()]),
        ..submitted()
    }
}

fn check_head(name: &str, run: &Run, pages: Pages, (directory, recent): (Vec<Option<Place>>, &[usize])) {
    let mut outgoing = Outgoing::default();
    let states: Vec<&ActionState> = run.actions.iter().collect();
    let recent = Columns::of(recent.iter().map(|at| (*at, states[*at])), run.submitted_at, &mut outgoing);
    let (due_at, expires_at) = if run.status.is_final() { (None, Some(1_771_776_070)) } else { (Some(at(180)), None) };
    let beside = Beside { directory: directory.clone(), recent, committed_at: at(71), due_at, expires_at };
    let head = decode(&check(name, &encode(run, beside, &mut outgoing))).unwrap();
    assert_eq!((head.committed_at, head.due_at, head.expires_at), (at(71), due_at, expires_at));
    assert_eq!(head.directory, directory);
    let (read, _) = head.fill(pages, &incoming_of(&outgoing)).unwrap();
    assert_eq!(read, *run, "{name}");
}

#[test]
fn heads() {
    check_head("head-submitted", &submitted(), Pages::new(5), (vec![], &[]));
    check_head("head-taken-up", &taken_up(), Pages::new(5), (vec![], &[0, 1, 2, 3, 4]));
    let mut claimed: Vec<ActionState> = taken_up().actions.iter().cloned().collect();
    let lost = |receive| Delivery { attempt: 1, issue: 0, receive };
    (claimed[0].fence, claimed[0].losses, claimed[0].last) = (5, vec![lost(1), lost(2)], lost(3));
    let lost = Run { actions: Pages::from_pages(vec![claimed]), ..taken_up() };
    check_head("head-lost", &lost, Pages::new(5), (vec![], &[0, 1, 2, 3, 4]));
    let mut leased: Vec<ActionState> = lost.actions.iter().cloned().collect();
    leased[0].owner = leased[0].owner.take().map(|owner| Owner { until: Some(at(190)), renewal: 2, ..owner });
    let leased = Run { actions: Pages::from_pages(vec![leased]), ..taken_up() };
    check_head("head-leased", &leased, Pages::new(5), (vec![], &[0, 1, 2, 3, 4]));
    let paused = Run { status: RunStatus::Paused, pauses: 2, ..lost };
    check_head("head-paused", &paused, Pages::new(5), (vec![], &[0, 1, 2, 3, 4]));
    check_head("head-ended", &ended(), Pages::new(5), (vec![], &[0, 1, 2, 3, 4]));
    let states: Vec<ActionState> = states().into_iter().cycle().take(200).collect();
    let pages = Pages::from_pages(states.chunks(64).map(<[_]>::to_vec).collect());
    let large = Run { status: RunStatus::Running, actions: pages.clone(), ..ended() };
    let place = |slot, generation| Some(Place { slot, generation });
    check_head("head-large", &large, pages, (vec![place(1, 7), None, place(0, 3), place(3, 8)], &[64, 100, 199]));
}

#[test]
fn pages() {
    let (states, mut outgoing) = (states(), Outgoing::default());
    let body = page::encode(&states, at(0), &mut outgoing);
    let item = page::item(submitted().id, 12, Place { slot: 1, generation: 7 }, body);
    let stored = check("page", &item);
    assert_eq!(page::generation(&stored), Ok(7));
    let read = page::decode(&stored, at(0)).unwrap();
    assert_eq!(page::fill(read, states.len(), &incoming_of(&outgoing)), Ok(states));
}

#[test]
fn lists_and_marks() {
    let task = TaskName::new("nightly-report").unwrap();
    assert_eq!(list::decode(&check("list", &list::item(&task))), Ok(task));
    assert_eq!(mark::decode(&check("mark", &mark::item(at(5)))), Ok(at(5)));
}
