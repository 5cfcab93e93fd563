//! A crash after any commit.

use std::collections::BTreeSet;

use windlass_domain::decide::Command;
use windlass_domain::run::{ActionStatus, Event, EventKind, Input, Outcome, RunStatus};
use windlass_domain::time::Millis;
use windlass_testkit::generate::agent_of;
use windlass_testkit::sketch::{NEVER_RETRIED, RETRIED, RetrySketch, Sketch};
use windlass_testkit::world::World;

use crate::steps::{chain, diamond, failed, succeeded, world};

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
                    let claim = Input::Claim { of, agent: agent_of(2), received: 1, copy: 0, again: false };
                    if self.world.give(&claim).is_err() {
                        return;
                    }
                    of.fence = self.world.run.action(of.action).fence;
                }
                let name = self.world.definition.action(of.action).name.to_string();
                let outcome = (self.outcomes)(&name, of.attempt);
                let started_at = self.world.now;
                self.inbox.push(Input::Completed { of, agent: agent_of(2), started_at, outcome, checkpoint: None });
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
            EventKind::RunPaused { .. }
            | EventKind::RunResumed { .. }
            | EventKind::RunCancelling { .. }
            | EventKind::RunRetried { .. }
            | EventKind::ActionReady { .. }
            | EventKind::ActionQueued { .. }
            | EventKind::ActionStarted { .. }
            | EventKind::ActionProgressed { .. }
            | EventKind::ActionLost { .. }
            | EventKind::ActionLeased { .. }
            | EventKind::ActionLapsed { .. }
            | EventKind::ActionNotLost { .. }
            | EventKind::ActionCheckpointed { .. }
            | EventKind::ActionHandedBack { .. }
            | EventKind::ActionRetrying { .. }
            | EventKind::ActionUnserved { .. }
            | EventKind::ActionCancelling { .. }
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
