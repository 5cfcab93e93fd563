//! A crash after any commit.

use std::collections::BTreeSet;

use windlass_domain::delivery::Delivery;
use windlass_domain::run::{ActionStatus, Claim, Command, Fact, FactKind, Input, Outcome, Report, RunStatus};
use windlass_domain::time::Millis;
use windlass_testkit::generate::{agent_of, message_of};
use windlass_testkit::sketch::{NEVER_RETRIED, RETRIED, RetrySketch, Sketch};
use windlass_testkit::world::World;

use crate::steps::{chain, diamond, failed, outstanding_of, succeeded, world};

/// A host that loses the messages of one commit, delivers its input again, and goes on until nothing is left to do.
/// Every attempt that arrives is performed. A resend is claimed before, as an agent does it.
struct Faulty {
    world: World,
    outcomes: fn(&str, u32) -> Outcome,
    inbox: Vec<Input>,
    /// The number of the commit whose sends are lost.
    crash_at: usize,
    commits: usize,
    /// The input whose sends were lost: it comes again.
    lost: Option<Input>,
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
            lost: None,
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
        self.world.pass(Millis::from_secs(60));
        self.inbox.push(Input::Sweep);
    }

    fn handle(&mut self, input: &Input) {
        let mut decision = self.world.give(input);
        if !decision.facts.is_empty() {
            self.commits += 1;
            if self.commits == self.crash_at {
                // Dead before it sent anything: the input is not acknowledged and comes again.
                self.inbox.push(input.clone());
                self.lost = Some(input.clone());
                return;
            }
        }
        if self.lost.as_ref() == Some(input) {
            let found = outstanding_of(&self.world, input);
            decision.again.extend(found.facts);
            decision.commands.extend(found.commands);
        }
        let retries = self.world.run.retries;
        for event in decision.facts.iter().chain(&decision.again) {
            self.published.insert(event.kind.id(self.world.run.id, retries, event.at));
        }
        for command in decision.commands {
            self.act(command);
        }
    }

    fn act(&mut self, command: Command) {
        match command {
            Command::Perform(perform) => {
                let of = perform.of;
                let delivery = Delivery::new(of.attempt, perform.issue, 1);
                let (action, message, agent) = (of.action, message_of(delivery), agent_of(2));
                if perform.issue > 0 {
                    let claims = vec![Claim { action, delivery, message, asked: 1 }];
                    if self.world.give(&Input::Claim { agent: agent.clone(), claims }).answer.is_err() {
                        return;
                    }
                }
                let report = Report { action, delivery, message, agent };
                let name = self.world.definition.action(of.action).name.to_string();
                let outcome = (self.outcomes)(&name, of.attempt);
                let started_at = self.world.now;
                self.inbox.push(Input::Completed { of: report, started_at, outcome, checkpoint: None });
            }
            Command::Wake { action, at } => {
                self.world.now = self.world.now.max(at);
                self.inbox.push(Input::Wake { action });
            }
            Command::Confirm(_) | Command::Stop(_) | Command::Ended => {}
        }
    }

    /// The part of the world that no loss may change: the end of the run and of each action, and their attempts.
    fn end(&self) -> (RunStatus, Vec<(ActionStatus, u32)>) {
        let actions = self.world.run.actions.iter().map(|state| (state.status, state.attempt()));
        (self.world.run.status, actions.collect())
    }

    /// The lasting events, by kind and subject.
    fn ends_told(&self) -> BTreeSet<String> {
        let lasting = |event: &&Fact| match &event.kind {
            FactKind::RunStarted { .. }
            | FactKind::RunFinished { .. }
            | FactKind::ActionSucceeded { .. }
            | FactKind::ActionFailed { .. }
            | FactKind::ActionTimedOut { .. }
            | FactKind::ActionSkipped { .. } => true,
            FactKind::RunPaused { .. }
            | FactKind::RunResumed { .. }
            | FactKind::RunCancelling { .. }
            | FactKind::RunRetried { .. }
            | FactKind::ActionReady { .. }
            | FactKind::ActionQueued { .. }
            | FactKind::ActionStarted { .. }
            | FactKind::ActionProgressed { .. }
            | FactKind::ActionLost { .. }
            | FactKind::ActionLeased { .. }
            | FactKind::ActionLapsed { .. }
            | FactKind::ActionNotLost { .. }
            | FactKind::ActionCheckpointed { .. }
            | FactKind::ActionHandedBack { .. }
            | FactKind::ActionRetrying { .. }
            | FactKind::ActionUnserved { .. }
            | FactKind::ActionCancelling { .. }
            | FactKind::ActionCancelled { .. } => false,
        };
        let was_told = |event: &&Fact| {
            self.published.contains(&event.kind.id(self.world.run.id, self.world.run.retries, event.at))
        };
        let said = |event: &Fact| format!("{} {:?}", event.kind.name(), event.kind.about().map(|of| of.action));
        self.world.log.iter().filter(lasting).filter(was_told).map(said).collect()
    }
}

#[test]
fn crash_after_any_commit_leaves_no_trace() {
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
