//! Scenarios that the software is judged by, on the decisions alone: no store, no queue, a clock that is set.

#![expect(clippy::expect_used, reason = "tests")]

use std::collections::BTreeSet;

use serde_json::json;
use windlass_domain::decide::{Command, Decision, Rejection};
use windlass_domain::definition::{Definition, Trigger};
use windlass_domain::ids::ActionIndex;
use windlass_domain::run::{
    ActionAt, ActionStatus, CancelCause, ErrorInfo, Event, EventKind, Input, Origin, Outcome, RunStatus, apply,
};
use windlass_domain::time::{Millis, Timestamp};
use windlass_testkit::generate::agent_of;
use windlass_testkit::sketch::{ActionSketch, NEVER_RETRIED, RETRIED, RetrySketch, Sketch};
use windlass_testkit::world::{World, performs};

fn world(sketch: &Sketch) -> World {
    World::new(sketch.definition(), Origin::Request, "scenario")
}

fn newest(world: &World, name: &str) -> ActionAt {
    let action = world.index(name);
    let state = world.run.action(action);
    ActionAt { action, attempt: state.attempt, fence: state.fence }
}

fn completed(world: &World, name: &str, outcome: Outcome) -> Input {
    Input::Completed { of: newest(world, name), agent: agent_of(0), started_at: world.now, outcome }
}

fn succeeded() -> Outcome {
    Outcome::Succeeded { output: json!("done") }
}

fn failed(kind: &str) -> Outcome {
    Outcome::Failed { error: ErrorInfo::new(kind, "it did not work") }
}

fn give(world: &mut World, input: &Input) -> Decision {
    world.give(input).expect("accepted")
}

fn started(world: &mut World, of: ActionAt) {
    let input = Input::Started { of, agent: agent_of(1), started_at: world.now };
    give(world, &input);
}

fn finish(world: &mut World, name: &str, outcome: Outcome) -> Decision {
    let input = completed(world, name, outcome);
    give(world, &input)
}

fn status(world: &World, name: &str) -> ActionStatus {
    world.run.action(world.index(name)).status
}

fn times(world: &World, kind: &str, name: Option<&str>) -> usize {
    let about = name.map(|name| world.index(name));
    let is_it = |event: &&Event| event.kind.name() == kind && event.kind.about().map(|of| of.action) == about;
    world.log.iter().filter(is_it).count()
}

fn diamond() -> Sketch {
    Sketch::of(vec![
        ActionSketch::default(),
        ActionSketch::needing([0]),
        ActionSketch { allow_failure: true, ..ActionSketch::needing([0]) },
        ActionSketch::needing([1, 2]),
    ])
}

/// Scenario 1.
#[test]
fn a_diamond_with_a_fault_that_is_allowed_overlaps_joins_once_and_says_so() {
    let mut world = world(&diamond());
    give(&mut world, &Input::Start);
    let both = finish(&mut world, "a0", succeeded());
    assert_eq!(performs(&both).len(), 2, "both branches are sent by one decision");
    finish(&mut world, "a2", failed(NEVER_RETRIED));
    assert_eq!(status(&world, "a3"), ActionStatus::Waiting);
    let join = finish(&mut world, "a1", succeeded());
    assert_eq!(performs(&join).len(), 1);
    finish(&mut world, "a3", succeeded());
    assert_eq!(world.run.status, RunStatus::SucceededWithFaults);
    assert_eq!(world.run.faults, 1);
    assert_eq!(times(&world, "action.queued", Some("a3")), 1);
    assert_eq!(times(&world, "run.succeeded_with_faults", None), 1);
}

fn of_one(retry: RetrySketch) -> Sketch {
    Sketch::of(vec![ActionSketch { retry, ..ActionSketch::default() }])
}

/// Scenario 7, its first part.
#[test]
fn a_wrong_password_has_one_attempt() {
    let mut world = world(&of_one(RetrySketch { attempts: None, ..RetrySketch::limited(1) }));
    give(&mut world, &Input::Start);
    finish(&mut world, "a0", failed(NEVER_RETRIED));
    assert_eq!((world.run.status, world.run.action(ActionIndex(0)).attempt), (RunStatus::Failed, 1));
}

/// Fails the only action until it has ended; gives the delay before each next attempt.
fn fail_on(world: &mut World, most: usize) -> Vec<u64> {
    let mut delays = Vec::new();
    while delays.len() < most && !world.run.status.is_final() {
        finish(world, "a0", failed(RETRIED));
        let Some(due) = world.run.action(ActionIndex(0)).retry_at else { break };
        delays.push(due.since(world.now).0);
        world.now = due;
        give(world, &Input::Wake);
    }
    delays
}

/// Scenario 7, its second part, without jitter.
#[test]
fn a_connection_reset_is_retried_at_doubling_delays_up_to_the_cap() {
    let mut world = world(&of_one(RetrySketch::limited(9)));
    give(&mut world, &Input::Start);
    let seconds: Vec<u64> = fail_on(&mut world, 20).iter().map(|ms| ms / 1000).collect();
    assert_eq!(seconds, [1, 2, 4, 8, 16, 32, 60, 60]);
    assert_eq!((world.run.status, world.run.action(ActionIndex(0)).attempt), (RunStatus::Failed, 9));
}

/// Scenario 7, its second part, with jitter: the schedule is spread, and it is the same whenever it is decided.
#[test]
fn a_jittered_schedule_is_within_its_bounds_and_the_same_every_time() {
    let source = json!({ "task": "jitter", "actions": { "a0": {
        "native": { "handler": "test" },
        "retry": { "attempts": 9, "delay": "1s", "factor": 2, "max_delay": "1m", "jitter": "full" },
    } } });
    let schedule = |seed: &str| {
        let definition = Definition::from_source(&source).expect("valid");
        let mut world = World::new(definition, Origin::Request, seed);
        give(&mut world, &Input::Start);
        fail_on(&mut world, 20)
    };
    let caps = [1, 2, 4, 8, 16, 32, 60, 60].map(|seconds: u64| seconds * 1000);
    let delays = schedule("one");
    assert_eq!(delays.len(), caps.len());
    assert!(delays.iter().zip(caps).all(|(delay, cap)| *delay <= cap), "{delays:?}");
    assert_eq!(delays, schedule("one"), "the same run has the same schedule");
    assert_ne!(delays, schedule("two"), "another run has another");
}

/// Scenario 7, its third part.
#[test]
fn forever_survives_a_thousand_failures() {
    let mut world = world(&of_one(RetrySketch { attempts: None, ..RetrySketch::limited(1) }));
    give(&mut world, &Input::Start);
    assert_eq!(fail_on(&mut world, 1000).len(), 1000);
    finish(&mut world, "a0", succeeded());
    assert_eq!((world.run.status, world.run.action(ActionIndex(0)).attempt), (RunStatus::Succeeded, 1001));
}

fn chain(length: usize) -> Sketch {
    let needs = |at: usize| ActionSketch::needing(at.checked_sub(1).into_iter().collect::<Vec<_>>());
    Sketch::of((0..length).map(needs).collect())
}

/// Scenario 9, as far as it has no undo: whether the wake comes in time, or a report is there before it.
#[test]
fn nothing_starts_after_the_deadline() {
    for report_comes_first in [false, true] {
        let mut world = world(&Sketch { timeout: Some(Millis::from_secs(60)), ..chain(6) });
        give(&mut world, &Input::Start);
        for name in ["a0", "a1", "a2"] {
            world.pass(Millis::from_secs(10));
            finish(&mut world, name, succeeded());
        }
        let of = newest(&world, "a3");
        started(&mut world, of);
        world.now = world.run.deadline.expect("a deadline");
        if report_comes_first {
            let decision = finish(&mut world, "a3", succeeded());
            assert_eq!(performs(&decision), [], "the next step is due after the deadline");
            give(&mut world, &Input::Wake);
        } else {
            let decision = give(&mut world, &Input::Wake);
            assert!(decision.commands.contains(&Command::Stop { agent: agent_of(1), of }));
            finish(&mut world, "a3", Outcome::Cancelled);
        }
        assert_eq!(world.run.status, RunStatus::TimedOut);
        assert_eq!([times(&world, "action.queued", Some("a4")), times(&world, "action.queued", Some("a5"))], [0, 0]);
        assert_eq!(times(&world, "run.timed_out", None), 1);
    }
}

/// A cancelled run whose agents do not answer ends by itself, also while one of them reports all the time.
#[test]
fn a_cancelled_run_is_forced_to_end_while_an_agent_goes_on_reporting() {
    let mut world = world(&Sketch::of(vec![ActionSketch::default(), ActionSketch::default()]));
    give(&mut world, &Input::Start);
    let of = newest(&world, "a0");
    started(&mut world, of);
    give(&mut world, &Input::Cancel { reason: "enough".into(), cause: CancelCause::Request, retries: 0 });
    let mut seconds = 0;
    while !world.run.status.is_final() && seconds < 600 {
        world.pass(Millis::from_secs(1));
        seconds += 1;
        let progress = windlass_domain::run::Progress { percent: None, message: Some(seconds.to_string()) };
        give(&mut world, &Input::Progressed { of, progress });
        if world.run.wake_at.is_some_and(|wake| wake <= world.now) {
            give(&mut world, &Input::Wake);
        }
    }
    assert_eq!((world.run.status, seconds), (RunStatus::Cancelled, 120));
}

/// One row of the table of joins: the trigger, how the two needs end, and what becomes of the action that needs them
/// after the first and after the second.
type Join = (Trigger, [char; 2], [ActionStatus; 2]);

/// `s` succeeded, `f` failed, `a` failed where it is allowed, `t` timed out, `k` skipped by its condition.
fn join(trigger: Trigger, ends: [char; 2]) -> [ActionStatus; 2] {
    let need = |end: char| ActionSketch {
        allow_failure: end == 'a',
        when: if end == 'k' { windlass_testkit::sketch::When::False } else { windlass_testkit::sketch::When::Always },
        // A skipped need is settled when its own need is.
        needs: if end == 'k' { vec![3] } else { vec![] },
        ..ActionSketch::default()
    };
    let joined = ActionSketch { trigger, ..ActionSketch::needing([0, 1]) };
    let mut world = world(&Sketch::of(vec![need(ends[0]), need(ends[1]), joined, ActionSketch::default()]));
    give(&mut world, &Input::Start);
    let mut after = Vec::new();
    for (name, end) in ["a0", "a1"].into_iter().zip(ends) {
        match end {
            's' => finish(&mut world, name, succeeded()),
            'f' | 'a' => finish(&mut world, name, failed(NEVER_RETRIED)),
            't' => finish(&mut world, name, Outcome::TimedOut { error: ErrorInfo::new("timeout", "too long") }),
            _ => finish(&mut world, "a3", succeeded()),
        };
        after.push(status(&world, "a2"));
    }
    after.try_into().expect("two")
}

#[test]
fn joins() {
    use ActionStatus::{Queued as Q, Skipped as K, Waiting as W};
    use Trigger::{AllDone, AllSucceeded, AnyFailed, AnySucceeded, NoneFailed};
    let table: &[Join] = &[
        (AllSucceeded, ['s', 's'], [W, Q]),
        (AllSucceeded, ['s', 'a'], [W, Q]),
        (AllSucceeded, ['a', 's'], [W, Q]),
        (AllSucceeded, ['f', 's'], [K, K]),
        (AllSucceeded, ['s', 'f'], [W, K]),
        (AllSucceeded, ['t', 's'], [K, K]),
        (AllSucceeded, ['s', 'k'], [W, K]),
        (AllDone, ['s', 's'], [W, Q]),
        (AllDone, ['f', 't'], [W, Q]),
        (AllDone, ['f', 'k'], [W, Q]),
        (AnySucceeded, ['s', 's'], [Q, Q]),
        (AnySucceeded, ['f', 's'], [W, Q]),
        (AnySucceeded, ['f', 'f'], [W, K]),
        (AnySucceeded, ['a', 'k'], [W, K]),
        (AnyFailed, ['f', 's'], [Q, Q]),
        (AnyFailed, ['s', 't'], [W, Q]),
        (AnyFailed, ['a', 's'], [Q, Q]),
        (AnyFailed, ['s', 's'], [W, K]),
        (AnyFailed, ['s', 'k'], [W, K]),
        (NoneFailed, ['s', 's'], [W, Q]),
        (NoneFailed, ['s', 'k'], [W, Q]),
        (NoneFailed, ['a', 's'], [W, Q]),
        (NoneFailed, ['f', 's'], [K, K]),
        (NoneFailed, ['s', 't'], [W, K]),
    ];
    for (trigger, ends, expected) in table {
        assert_eq!(join(*trigger, *ends), *expected, "{trigger:?} {ends:?}");
    }
}

#[test]
fn actions_without_needs_begin_in_the_authors_order_and_room_goes_to_the_first_that_is_ready() {
    let mut world = world(&Sketch { max_parallel: Some(2), ..Sketch::of(vec![ActionSketch::default(); 5]) });
    let sent = |decision: &Decision| performs(decision).iter().map(|sent| sent.of.action.0).collect::<Vec<_>>();
    let decision = give(&mut world, &Input::Start);
    assert_eq!(sent(&decision), [0, 1]);
    let decision = finish(&mut world, "a1", succeeded());
    assert_eq!(sent(&decision), [2]);
    give(&mut world, &Input::Pause);
    for name in ["a0", "a2"] {
        let decision = finish(&mut world, name, succeeded());
        assert_eq!(sent(&decision), [] as [u32; 0], "nothing is queued while the run is paused");
    }
    let decision = give(&mut world, &Input::Resume);
    assert_eq!(sent(&decision), [3, 4]);
}

#[test]
fn a_retry_by_hand_starts_over_what_failed_and_all_that_needs_it_and_nothing_else() {
    let mut world = world(&diamond());
    give(&mut world, &Input::Start);
    finish(&mut world, "a0", succeeded());
    finish(&mut world, "a1", failed(RETRIED));
    finish(&mut world, "a2", succeeded());
    assert_eq!((world.run.status, status(&world, "a3")), (RunStatus::Failed, ActionStatus::Skipped));
    let decision = give(&mut world, &Input::Retry { retries: 0 });
    let sent: Vec<ActionAt> = performs(&decision).iter().map(|sent| sent.of).collect();
    assert_eq!(sent, [ActionAt { action: ActionIndex(1), attempt: 2, fence: 2 }]);
    finish(&mut world, "a1", succeeded());
    finish(&mut world, "a3", succeeded());
    assert_eq!(world.run.status, RunStatus::Succeeded);
    assert_eq!(times(&world, "action.queued", Some("a2")), 1);
}

/// A request that is delivered again after the run was retried is not a request of this life of it.
#[test]
fn a_request_that_comes_again_after_a_retry_changes_nothing() {
    let mut world = world(&of_one(RetrySketch::limited(1)));
    let cancel = |retries| Input::Cancel { reason: "enough".into(), cause: CancelCause::Request, retries };
    give(&mut world, &Input::Start);
    finish(&mut world, "a0", failed(NEVER_RETRIED));
    give(&mut world, &Input::Retry { retries: 0 });
    finish(&mut world, "a0", failed(NEVER_RETRIED));
    let late = give(&mut world, &Input::Retry { retries: 0 });
    assert_eq!((late.events.len(), world.run.status, world.run.retries), (0, RunStatus::Failed, 1));

    give(&mut world, &Input::Retry { retries: 1 });
    for late in [cancel(0), cancel(1), Input::Retry { retries: 0 }] {
        let decision = give(&mut world, &late);
        assert!(decision.events.is_empty() && decision.commands.is_empty(), "{late:?}: {decision:?}");
    }
    assert_eq!((world.run.status, world.run.retries), (RunStatus::Running, 2));
    for early in [cancel(3), Input::Retry { retries: 3 }] {
        assert_eq!(world.ask(&early), Err(Rejection::Stale), "{early:?}");
    }
    give(&mut world, &cancel(2));
    assert_eq!(world.run.status, RunStatus::Cancelling);
}

/// The cursor follows the first ready action, whoever is ready before or after it, and whichever way one stops to be.
#[test]
fn room_is_looked_for_from_the_first_ready_action_on() {
    let action = ActionSketch { retry: RetrySketch::limited(3), ..ActionSketch::default() };
    let mut world = world(&Sketch { max_parallel: Some(1), ..Sketch::of(vec![action; 5]) });
    let cursor = |world: &World| (world.run.ready, world.run.ready_from, world.run.first_ready());
    give(&mut world, &Input::Start);
    assert_eq!(cursor(&world), (4, 1, Some(ActionIndex(1))));
    finish(&mut world, "a0", succeeded());
    finish(&mut world, "a1", failed(RETRIED));
    assert_eq!(cursor(&world), (2, 3, Some(ActionIndex(3))));
    world.now = world.run.action(ActionIndex(1)).retry_at.expect("it is retried");
    give(&mut world, &Input::Wake);
    assert_eq!(cursor(&world), (3, 1, Some(ActionIndex(1))), "an earlier one waits for room again");
    let mut run = world.run.clone();
    let cancelled = |of: ActionAt| Event { at: world.now, kind: EventKind::ActionCancelled { of } };
    for (action, expected) in [(4, (2, 1)), (1, (1, 2)), (3, (0, 0))] {
        apply(&mut run, &cancelled(ActionAt { action: ActionIndex(action), attempt: 0, fence: 0 }));
        assert_eq!((run.ready, run.ready_from), expected, "{action} is cancelled");
    }
    finish(&mut world, "a2", succeeded());
    finish(&mut world, "a1", succeeded());
    finish(&mut world, "a3", succeeded());
    assert_eq!(cursor(&world), (0, 0, None));
}

/// A host that loses whatever one commit sends, delivers its input again, and goes on until nothing is left to do.
/// Every attempt that arrives is performed; a repeated one must be claimed, as an agent would.
struct Faulty {
    world: World,
    outcomes: fn(&str, u32) -> Outcome,
    inbox: Vec<Input>,
    /// The number of the commit whose sends are lost.
    crash_at: usize,
    commits: usize,
    published: BTreeSet<uuid::Uuid>,
}

impl Faulty {
    fn run(sketch: &Sketch, outcomes: fn(&str, u32) -> Outcome, crash_at: usize) -> Self {
        let mut host = Self {
            world: world(sketch),
            outcomes,
            inbox: vec![Input::Start],
            crash_at,
            commits: 0,
            published: BTreeSet::new(),
        };
        for _ in 0..500 {
            if host.world.run.status.is_final() && host.inbox.is_empty() {
                break;
            }
            if host.inbox.is_empty() {
                host.pass();
            }
            let input = host.inbox.remove(0);
            host.handle(&input);
        }
        host
    }

    /// Nothing has come: the due index and the sweeper do their rounds.
    fn pass(&mut self) {
        let before = self.world.now;
        self.world.pass(Millis::from_secs(60));
        self.inbox.push(Input::Sweep { since: before });
    }

    fn handle(&mut self, input: &Input) {
        let Ok(decision) = self.world.give(input) else { return };
        if !decision.events.is_empty() {
            self.commits += 1;
            if self.commits == self.crash_at {
                // Dead before it sent anything: the input is not acknowledged and comes again.
                self.inbox.push(input.clone());
                return;
            }
        }
        let retries = self.world.run.retries;
        for event in decision.events.iter().chain(&decision.again) {
            self.published.insert(event.kind.id(self.world.run.id, retries, event.at));
        }
        for command in decision.commands {
            self.act(command);
        }
    }

    fn act(&mut self, command: Command) {
        match command {
            Command::Perform(perform) => {
                let mut of = perform.of;
                if perform.claim {
                    let claim = Input::Claim { of, agent: agent_of(2), redelivered: false };
                    if self.world.give(&claim).is_err() {
                        return;
                    }
                    of.fence = self.world.run.action(of.action).fence;
                }
                let name = self.world.definition.action(of.action).name.to_string();
                let outcome = (self.outcomes)(&name, of.attempt);
                let started_at = self.world.now;
                self.inbox.push(Input::Completed { of, agent: agent_of(2), started_at, outcome });
            }
            Command::Wake { at } => {
                self.world.now = self.world.now.max(at);
                self.inbox.push(Input::Wake);
            }
            Command::Stop { .. } | Command::Ended => {}
        }
    }

    /// What must be the same whatever was lost: the end of the run and of each action, and their attempts.
    fn end(&self) -> (RunStatus, Vec<(ActionStatus, u32)>) {
        let actions = self.world.run.actions.iter().map(|state| (state.status, state.attempt));
        (self.world.run.status, actions.collect())
    }

    /// The lasting events, by what they say of whom.
    fn ends_told(&self) -> BTreeSet<String> {
        let lasting = |event: &&Event| match &event.kind {
            EventKind::RunStarted { .. }
            | EventKind::RunFinished { .. }
            | EventKind::ActionSucceeded { .. }
            | EventKind::ActionFailed { .. }
            | EventKind::ActionTimedOut { .. }
            | EventKind::ActionSkipped { .. } => true,
            EventKind::RunPaused
            | EventKind::RunResumed
            | EventKind::RunCancelling { .. }
            | EventKind::RunRetried { .. }
            | EventKind::ActionReady { .. }
            | EventKind::ActionQueued { .. }
            | EventKind::ActionStarted { .. }
            | EventKind::ActionProgressed { .. }
            | EventKind::ActionRetrying { .. }
            | EventKind::ActionCancelled { .. } => false,
        };
        let was_told = |event: &&Event| {
            self.published.contains(&event.kind.id(self.world.run.id, self.world.run.retries, event.at))
        };
        let said = |event: &Event| format!("{} {:?}", event.kind.name(), event.kind.about().map(|of| of.action));
        self.world.log.iter().filter(lasting).filter(was_told).map(said).collect()
    }
}

#[test]
fn a_crash_after_any_commit_leaves_no_trace_in_the_end() {
    let flaky: fn(&str, u32) -> Outcome = |name, attempt| match (name, attempt) {
        ("a1", 1 | 2) => failed(RETRIED),
        ("a2", _) => failed(NEVER_RETRIED),
        _ => succeeded(),
    };
    let retried = |mut sketch: Sketch| {
        for action in &mut sketch.actions {
            action.retry = RetrySketch::limited(3);
        }
        sketch
    };
    let narrow = Sketch { max_parallel: Some(1), ..retried(diamond()) };
    for sketch in [retried(diamond()), retried(chain(5)), narrow] {
        let whole = Faulty::run(&sketch, flaky, 0);
        assert!(whole.world.run.status.is_final());
        for crash_at in 1..=whole.commits {
            let crashed = Faulty::run(&sketch, flaky, crash_at);
            assert_eq!(crashed.end(), whole.end(), "crash after commit {crash_at}");
            assert_eq!(crashed.ends_told(), whole.ends_told(), "crash after commit {crash_at}");
        }
    }
}

/// The time of a 10,000-wide fan against a 1,000-wide one, per action, in the orders in which reports may come. It is
/// printed, not asserted: machines differ.
#[test]
fn a_wide_fan_joins_once() {
    let fan = |width: usize, max_parallel: Option<u32>| {
        let mut actions = vec![ActionSketch::default()];
        actions.extend(vec![ActionSketch::needing([0]); width]);
        actions.push(ActionSketch::needing((1..=width).collect::<Vec<_>>()));
        Sketch { max_parallel, ..Sketch::of(actions) }.definition()
    };
    for (what, max_parallel, in_order) in
        [("in order", None, true), ("in reverse", None, false), ("100 at once", Some(100), true)]
    {
        let per_action = |width: usize| {
            let definition = fan(width, max_parallel);
            let began = std::time::Instant::now();
            let run = run_through(&definition, in_order);
            assert_eq!((run.status, run.open), (RunStatus::Succeeded, 0));
            began.elapsed().as_secs_f64() * 1e6 / f64::from(u32::try_from(width).expect("small"))
        };
        let (narrow, wide) = (per_action(1000), per_action(10_000 - 2));
        println!("{what}: {narrow:.0} us an action of 1,000, {wide:.0} us of 10,000, {:.2} times", wide / narrow);
    }
}

/// Completes whatever is sent until nothing is, without checks on the way.
fn run_through(definition: &Definition, in_order: bool) -> windlass_domain::run::Run {
    let mut world = World::new(definition.clone(), Origin::Request, "wide");
    let mut open: std::collections::VecDeque<Input> = [Input::Start].into();
    while let Some(input) = if in_order { open.pop_front() } else { open.pop_back() } {
        let decision = world.ask(&input).expect("accepted");
        world.run = decision.run.clone();
        world.run.revision += 1;
        for sent in performs(&decision) {
            let outcome = succeeded();
            open.push_back(Input::Completed {
                of: sent.of,
                agent: agent_of(0),
                started_at: Timestamp::default(),
                outcome,
            });
        }
    }
    world.run
}
