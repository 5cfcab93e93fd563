//! Records for the tests of encodings: drawn at random, and like those of real work.

use std::ops::RangeInclusive;
use std::sync::Arc;

use proptest::option::of;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};
use uuid::Uuid;
use windlass_domain::caller::{Caller, Way};
use windlass_domain::content::{Content, Values};
use windlass_domain::delivery::Delivery;
use windlass_domain::ids::{AgentId, RunId, TaskName};
use windlass_domain::keep::Keep;
use windlass_domain::limits::ACTIONS_PER_PAGE;
use windlass_domain::run::{
    ActionState, ActionStatus, CancelCause, Cancellation, ErrorInfo, Kill, Origin, Owner, Pages, Progress, Run,
    RunStatus, Source, Unserved,
};
use windlass_domain::time::{Millis, Timestamp};

use super::held::{Incoming, Outgoing};

/// The payloads, as a reader gets them from S3.
pub(crate) fn incoming_of(outgoing: &Outgoing) -> Incoming {
    let read = |text: &String| Arc::new(serde_json::from_str(text).expect("JSON"));
    outgoing.0.iter().map(|(hash, text)| (*hash, read(text))).collect()
}

fn a_time() -> impl Strategy<Value = Timestamp> {
    let times = prop_oneof![1_700_000_000_000..1_700_010_000_000_i64, any::<i64>()];
    times.prop_map(Timestamp::from_millis)
}

fn a_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        Just(json!(0)),
        any::<f64>().prop_map(|number| json!(number)),
        any::<i64>().prop_map(|number| json!({ "rows": number })),
        ".{0,40}".prop_map(|text| json!([text, "a"])),
        (1000..3000_usize, any::<char>()).prop_map(|(length, c)| json!(c.to_string().repeat(length))),
    ]
}

fn an_error() -> impl Strategy<Value = ErrorInfo> {
    let message = prop_oneof![4 => ".{0,60}", 1 => (1000..2000_usize).prop_map(|length| "ž".repeat(length))];
    ("[a-z.]{0,20}", message).prop_map(|(kind, message)| ErrorInfo { kind, message })
}

fn an_agent() -> impl Strategy<Value = AgentId> {
    "[a-z][a-z0-9-]{0,40}".prop_map(|name| AgentId::new(&name).expect("a name"))
}

fn a_caller() -> impl Strategy<Value = Caller> {
    let ways = select(vec![Way::Host, Way::Agent, Way::Schedule, Way::Api]);
    (of("[a-z@.]{1,20}"), ways, of(".{1,20}")).prop_map(|(who, way, why)| Caller { who, way, why })
}

fn an_owner() -> impl Strategy<Value = Owner> {
    let drawn = (an_agent(), a_time(), a_time(), any::<u32>(), of(a_time()), any::<u32>());
    drawn.prop_map(|(agent, started_at, since, message, until, renewal)| Owner {
        agent,
        started_at,
        since,
        message,
        until,
        renewal,
    })
}

/// Any state at all.
pub(crate) fn a_state() -> impl Strategy<Value = ActionState> {
    use ActionStatus::{Cancelled, Failed, Queued, RetryWaiting, Running, Skipped, Succeeded, TimedOut, Waiting};
    let statuses = vec![Waiting, Queued, Running, RetryWaiting, Succeeded, Failed, TimedOut, Skipped, Cancelled];
    let progress = (of(0.0..100.0), of(".{0,20}")).prop_map(|(percent, message)| Progress { percent, message });
    let numbers = (any::<u32>(), any::<u32>(), any::<u64>(), any::<u64>());
    let times = (of(a_time()), of(a_time()), of(a_time()), of(a_time()), of(a_time()));
    let unserved = (a_time(), any::<u64>()).prop_map(|(since, revision)| Unserved { since, revision });
    let values = (of(progress), of(a_value()), of(an_error()), of(unserved), of(a_value()));
    let kill = (a_time(), any::<u64>(), ".{0,20}", a_caller());
    let kill = kill.prop_map(|(at, revision, reason, caller)| Kill { at, reason, caller, revision });
    let drawn = (select(statuses), any::<bool>(), numbers, of(an_owner()), times, values, of(kill));
    let drawn = drawn.prop_map(|(status, ready, numbers, owner, times, values, kill)| ActionState {
        status,
        ready,
        last: Delivery::new(numbers.0, numbers.2 / 3, numbers.1 % 7),
        attempt_base: numbers.1,
        fence: numbers.2,
        revision: numbers.3,
        source: Source::from(numbers.0),
        owner,
        first_queued_at: times.0,
        queued_at: times.1,
        finished_at: times.3,
        retry_at: times.4,
        progress: values.0,
        progress_number: numbers.0 / 2,
        checkpoint: values.4,
        kill,
        losses: (0..numbers.2 % 5).map(|issue| Delivery::new(numbers.0, issue, 1)).collect(),
        output: values.1.map(|value| Values::default().hold(value)),
        error: values.2,
        unserved: values.3,
    });
    prop_oneof![1 => Just(ActionState::default()), 4 => drawn]
}

/// Any run at all, of so many actions.
pub(crate) fn a_run(actions: RangeInclusive<usize>) -> impl Strategy<Value = Run> {
    let causes = select(vec![CancelCause::Request, CancelCause::Deadline, CancelCause::Overlap]);
    let cancellation = (a_time(), causes, ".{0,20}", a_caller(), 0u64..9);
    let cancellation = cancellation.prop_map(|(at, cause, reason, caller, revision)| Cancellation {
        at,
        cause,
        reason,
        caller,
        revision,
        source: Source::from(u32::try_from(revision).unwrap_or(0)),
    });
    let origin =
        of(a_time()).prop_map(|nominal| nominal.map_or(Origin::Request, |nominal| Origin::Schedule { nominal }));
    let times = (a_time(), of(a_time()), of(a_time()), of(a_time()), of(a_time()));
    let values = (a_value(), of(a_value()), of(an_error()), of(cancellation), a_caller(), of(a_caller()));
    let states = proptest::collection::vec(a_state(), actions);
    let numbers = proptest::collection::vec(any::<u32>(), 9);
    let drawn = (any::<u128>(), select(RunStatus::ALL.to_vec()), origin, times, values, states, numbers);
    drawn.prop_map(|(id, status, origin, times, values, states, numbers)| Run {
        id: RunId::from_uuid(Uuid::from_u128(id)),
        task: TaskName::new("nightly-report").expect("a name"),
        version: numbers[0],
        revision: u64::from(numbers[1]),
        origin,
        caller: values.4,
        status,
        input: Values::default().hold(values.0),
        output: values.1,
        error: values.2,
        submitted_at: times.0,
        clock: None,
        started_at: times.1,
        finished_at: times.2,
        deadline: times.3,
        wake_at: times.4,
        keep: Keep { succeeded: Some(Millis(u64::from(numbers[6]))), failed: None },
        cancellation: values.3,
        retries: numbers[2],
        pauses: numbers[8],
        status_revision: u64::from(numbers[3]),
        retried_by: values.5.clone(),
        status_caller: values.5,
        start_revision: u64::from(numbers[2]),
        status_source: Source::from(numbers[8] % 9),
        open: numbers[4],
        in_flight: numbers[5],
        ready: numbers[6],
        ready_from: numbers[7],
        failed: numbers[0],
        faults: numbers[1],
        actions: Pages::from_pages(states.chunks(ACTIONS_PER_PAGE).map(<[_]>::to_vec).collect()),
        values: Values::default(),
    })
}

/// A number below `of` that looks drawn at random, always the same for the same `at` (`SplitMix64`).
pub(crate) fn noise(at: usize, of: u64) -> u64 {
    let mixed = (at as u64).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (mixed ^ (mixed >> 31)) % of
}

/// A run of so many actions that have all succeeded, one after the other or side by side. Ten agents with names like
/// real ones performed them. Its numbers are as irregular as real ones.
pub(crate) fn performed(actions: usize) -> Run {
    let task = TaskName::new("nightly-report").expect("a name");
    let start = 1_764_000_123_456_i64;
    let at = |ms: u64| Timestamp::from_millis(start.saturating_add_unsigned(ms));
    let agent = |number: u64| {
        let name = format!(
            "a-ip-10-0-3-{}-default-{}-{:08x}",
            number * 7,
            11 + number,
            noise(usize::try_from(number).unwrap_or(0), 1 << 32)
        );
        AgentId::new(&name).expect("a name")
    };
    let state = |index: usize| {
        let queued = index as u64 * 40 + noise(index, 30);
        ActionState {
            status: ActionStatus::Succeeded,
            last: Delivery::none_of(1),
            fence: 1,
            owner: Some(Owner::of_end(agent(noise(index + 7, 10)), at(queued + 20 + noise(index + 1, 60)))),
            first_queued_at: Some(at(queued)),
            queued_at: Some(at(queued)),
            finished_at: Some(at(queued + 100 + noise(index + 2, 900))),
            revision: index as u64 * 2 + 3,
            output: Some(Content::Here(json!({ "rows": noise(index + 3, 10_000) }))),
            ..ActionState::default()
        }
    };
    let states: Vec<ActionState> = (0..actions).map(state).collect();
    let id =
        RunId::from_uuid(Uuid::from_u128(0x0199_0000_0000_7000_8000_0000_0000_0000 | u128::from(noise(1, u64::MAX))));
    let input = json!({ "day": "2026-11-21", "region": "eu-central-1" });
    let run = Run::submitted(id, (task, 3), actions, input, Origin::Schedule { nominal: at(0) }, at(57));
    Run {
        revision: actions as u64 * 2 + 1,
        status: RunStatus::Running,
        started_at: Some(at(60)),
        deadline: Some(at(3_600_060)),
        wake_at: Some(at(3_600_060)),
        status_revision: 1,
        start_revision: 1,
        open: 1,
        in_flight: 1,
        actions: Pages::from_pages(states.chunks(ACTIONS_PER_PAGE).map(<[_]>::to_vec).collect()),
        ..run
    }
}
