//! The facts and messages that the record shows of one commit, and of a whole run.

use serde_json::{Value, json};

use super::*;
use crate::attempt::ErrorInfo;
use crate::caller::{Caller, Way};
use crate::delivery::Delivery;
use crate::history::history;
use crate::ids::{AgentId, RunId, TaskName};
use crate::run::{CancelCause, FactKind, Input, Outcome, Report, decide};

const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);
const CHAIN: &str = "{ a: { exec: [x] }, b: { exec: [x], needs: [a] } }";

/// A run that decides and commits its inputs one by one.
struct Life {
    definition: Definition,
    run: Run,
    now: Timestamp,
}

impl Life {
    fn submitted(actions: &str) -> Self {
        let definition = Definition::from_text(&format!("task: t\nactions: {actions}\n")).unwrap();
        let (id, task) = (RunId::from_uuid(uuid::Uuid::nil()), TaskName::new("t").unwrap());
        let count = definition.actions.len();
        let run = Run::submitted(id, (task, 1), count, Value::Null, Origin::Request, NOW);
        Self { definition, run, now: NOW }
    }

    fn begun(actions: &str) -> Self {
        let mut life = Self::submitted(actions);
        life.give(&Input::Start);
        life
    }

    /// Decides and commits, 10 ms after the input before.
    fn give(&mut self, input: &Input) {
        self.now = self.now.plus(Millis(10));
        let caller = Caller { who: Some("ann".to_owned()), way: Way::Api, why: None };
        let change = decide(&self.definition, &self.run, input, &caller, self.now);
        assert_eq!(change.answer, Ok(()), "{input:?}");
        self.run = change.after;
        self.run.revision += 1;
    }

    /// The kinds of the facts, each with its action, and how many attempts are sent as which issue.
    fn of(&self, input: &Input) -> (Vec<String>, Vec<u64>) {
        let found = self.outstanding(input);
        let issues = found.commands.iter().filter_map(|command| match command {
            Command::Perform(perform) => Some(perform.issue),
            Command::Confirm(_) | Command::Stop(_) | Command::Wake { .. } | Command::Ended => None,
        });
        (found.facts.iter().map(|fact| self.name(fact)).collect(), issues.collect())
    }

    fn outstanding(&self, input: &Input) -> Outstanding {
        of_source(&self.definition, &self.run, input.source(), self.run.revision, self.now)
    }

    fn name(&self, fact: &Fact) -> String {
        let about = fact.kind.about().map(|of| format!(" {}", self.definition.action(of.action).name));
        format!("{}{}", fact.kind.name(), about.unwrap_or_default())
    }

    fn history(&self) -> Vec<(u64, String)> {
        let placed = history(&self.definition, &self.run);
        assert!(placed.is_sorted_by(|one, next| one.place < next.place), "{placed:#?}");
        placed.iter().map(|placed| (placed.place, self.name(&placed.fact))).collect()
    }
}

fn report(action: u32) -> Report {
    Report {
        action: ActionIndex(action),
        delivery: Delivery::new(1, 0, 1),
        message: 7,
        agent: AgentId::new("ada").unwrap(),
    }
}

fn completed(action: u32, outcome: Outcome) -> Input {
    Input::Completed { of: report(action), started_at: NOW, outcome, checkpoint: None }
}

fn succeeded(action: u32) -> Input {
    completed(action, Outcome::Succeeded { output: json!(1) })
}

#[test]
fn repeated_input_finds_its_effects() {
    let mut life = Life::begun(CHAIN);
    assert_eq!(life.of(&Input::Start), (vec!["run.started".to_owned(), "action.queued a".to_owned()], vec![1]));
    life.give(&succeeded(0));
    assert_eq!(life.of(&Input::Start), (vec!["run.started".to_owned()], vec![]), "its attempt has ended since");
    let done = ["action.succeeded a", "action.queued b"].map(str::to_owned);
    assert_eq!(life.of(&succeeded(0)), (done.to_vec(), vec![1]));
    life.give(&succeeded(1));
    assert_eq!(life.of(&succeeded(0)), (done[..1].to_vec(), vec![]));
    let last = ["action.succeeded b", "run.succeeded"].map(str::to_owned);
    assert_eq!(life.of(&succeeded(1)), (last.to_vec(), vec![]));
    assert_eq!(life.of(&Input::Sweep), (vec!["run.started".to_owned()], vec![]));
}

/// The action whose report queued another may be retried many times: its report still leads to that queueing.
#[test]
fn repeated_input_finds_its_effects_after_retries() {
    let retried = "{ a: { exec: [x], retry: { attempts: 3, delay: 6s } }, b: { exec: [x] } }";
    let mut life = Life::begun(&format!("{retried}\nmax_parallel: 1"));
    let failure = completed(0, Outcome::Failed { error: ErrorInfo::new("network.reset", "gone") });
    life.give(&failure);
    assert_eq!(life.of(&failure).0, ["action.retrying a", "action.queued b"]);
    life.now = life.now.plus(Millis(6000));
    life.give(&Input::Wake { action: Some(ActionIndex(0)) });
    assert_eq!(life.of(&failure), (vec!["action.queued b".to_owned()], vec![6011]));
}

#[test]
fn later_resend_has_a_higher_issue() {
    let mut life = Life::begun(CHAIN);
    assert_eq!(life.of(&Input::Start).1, [1]);
    life.now = life.now.plus(Millis(500));
    assert_eq!(life.of(&Input::Start).1, [501]);
}

/// A sweep that resent an attempt at its mark leaves no trace of that but the next mark.
#[test]
fn repeated_sweep_resends_what_is_past_its_mark() {
    let mut life = Life::begun(CHAIN);
    life.now = life.now.plus(Millis(crate::limits::REISSUE_QUEUED_AFTER_MS - 1));
    assert_eq!(life.of(&Input::Sweep).1.len(), 0);
    life.now = life.now.plus(Millis(1));
    life.give(&Input::Sweep);
    assert_eq!(life.of(&Input::Sweep).1.len(), 1);
    life.now = life.now.plus(Millis(SWEPT_AGAIN_WITHIN_MS));
    assert_eq!(life.of(&Input::Sweep).1.len(), 0);
}

#[test]
fn pause_is_published_again_with_its_caller() {
    let mut life = Life::begun(CHAIN);
    let pause = Input::Pause { pauses: 0, retries: 0 };
    life.give(&pause);
    let found = life.outstanding(&pause);
    let [Fact { kind: FactKind::RunPaused { number: 1, caller }, .. }] = &found.facts[..] else {
        panic!("{:?}", found.facts)
    };
    assert_eq!(caller.who.as_deref(), Some("ann"));
}

/// A retried run may be paused and resumed: each request tells its own fact.
#[test]
fn resume_of_retried_run_is_published_again() {
    let mut life = Life::begun(CHAIN);
    life.give(&completed(0, Outcome::Failed { error: ErrorInfo::new("network.reset", "gone") }));
    let (retry, resume) = (Input::Retry { retries: 0 }, Input::Resume { pauses: 1 });
    life.give(&retry);
    assert_eq!(life.of(&retry).0, ["run.retried", "action.queued a"]);
    life.give(&Input::Pause { pauses: 0, retries: 1 });
    life.give(&resume);
    assert_eq!(life.of(&resume).0, ["run.resumed"]);
}

#[test]
fn cancellation_stops_the_owner_again() {
    let mut life = Life::begun(CHAIN);
    life.give(&Input::Started { of: report(0), started_at: NOW });
    let cancel = Input::Cancel { reason: "enough".to_owned(), cause: CancelCause::Request, retries: 0 };
    life.give(&cancel);
    let found = life.outstanding(&cancel);
    let agents = found.commands.iter().filter_map(|command| match command {
        Command::Stop(stop) => Some((stop.agent.as_str(), stop.delivery, stop.message, stop.fate)),
        Command::Perform(_) | Command::Confirm(_) | Command::Wake { .. } | Command::Ended => None,
    });
    assert_eq!(agents.collect::<Vec<_>>(), [("ada", Delivery::new(1, 0, 1), 7, Fate::Report)]);
    assert_eq!(life.of(&cancel).0, ["action.cancelled b", "run.cancelling"]);
}

#[test]
fn history_of_later_commits_has_higher_places() {
    let mut life = Life::submitted(CHAIN);
    assert_eq!(life.history(), []);
    life.give(&Input::Start);
    let mut told = life.history();
    assert_eq!(told.iter().map(|(_, name)| name.as_str()).collect::<Vec<_>>(), ["run.started", "action.queued a"]);
    for (action, expected) in [
        (0, ["action.queued a", "action.started a", "action.succeeded a", "action.queued b"]),
        (1, ["action.queued b", "action.started b", "action.succeeded b", "run.succeeded"]),
    ] {
        life.give(&succeeded(action));
        let after = told.last().unwrap().0;
        told = life.history();
        let newer: Vec<_> = told.iter().filter(|(place, _)| *place > after).map(|(_, name)| name.as_str()).collect();
        assert_eq!(newer, expected);
    }
}

#[test]
fn history_shows_retry_at_its_failure() {
    let mut life = Life::begun("{ a: { exec: [x], retry: { attempts: 3, delay: 6s } } }");
    life.now = life.now.plus(Millis(1234));
    life.give(&completed(0, Outcome::Failed { error: ErrorInfo::new("network.reset", "gone") }));
    let told = history(&life.definition, &life.run);
    let retrying = told.iter().find(|placed| placed.fact.kind.name() == "action.retrying").unwrap();
    assert_eq!(retrying.fact.at, life.now);
}
