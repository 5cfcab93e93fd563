//! The real decision: the model's record becomes a real one, `decide` answers, and the real record becomes the model's.

use std::collections::HashMap;

use serde_json::Value;
use windlass_domain::attempt::{self, ActionState, ActionStatus, Fate, Outcome};
use windlass_domain::caller::Caller;
use windlass_domain::definition::Definition;
use windlass_domain::delivery::Delivery;
use windlass_domain::ids::{ActionIndex, RunId, TaskName};
use windlass_domain::limits::{CANCEL_FORCE_MS, CANCEL_GRACE_MS, LEASE_MS, REISSUE_QUEUED_AFTER_MS, UNLEASED_MS};
use windlass_domain::outstanding;
use windlass_domain::run::{Claim, Command, Input, Origin, Report, Run, Source, decide};
use windlass_domain::time::{Millis, Timestamp};

use super::case::{Case, Decided};
use super::opened::Opened;
use super::state::{Key, Kill, Lease, NOBODY, Order, Owner, Record, Said, Status, Told, Word};
use crate::generate::agent_of;
use crate::sketch::{self, ActionSketch, Sketch};

const NOW: Timestamp = Timestamp::from_millis(1_000_000_000_000);
const ACTION: ActionIndex = ActionIndex(0);
/// How long the attempt has waited at each age.
const AGES: [u64; 4] = [1_000, 20_000, 60_000, REISSUE_QUEUED_AFTER_MS];
/// The number of a claim; a renewal has 1.
const CLAIM: u32 = 1_000;

/// The real rules, and which of them is open.
pub(super) struct Rules {
    definition: Definition,
    start: Run,
    opened: Option<Opened>,
    known: HashMap<Case, Decided>,
}

impl Rules {
    pub(super) fn new(opened: Option<Opened>) -> Self {
        let definition = Sketch::of(vec![ActionSketch::default()]).definition();
        let task = TaskName::new("model").expect("a valid name");
        let id = RunId::from_key(&task, "model");
        let run = Run::submitted(id, (task, 1), 1, sketch::input(), Origin::Request, NOW);
        let mut start = decide(&definition, &run, &Input::Start, &Caller::default(), NOW).after;
        start.revision = 1;
        Self { definition, start, opened, known: HashMap::new() }
    }

    /// The record after the start of the run.
    pub(super) fn record(&self) -> Record {
        let state = self.start.action(ACTION);
        Record { status: Status::Queued, last: (0, 0), owner: None, fence: state.fence, kill: Kill::None }
    }

    pub(super) fn decide(&mut self, case: Case) -> Decided {
        if let Some(decided) = self.known.get(&case) {
            return decided.clone();
        }
        let decided = match self.opened {
            Some(opened) => opened.around(case, |case| self.really(case)),
            None => self.really(case),
        };
        self.known.insert(case, decided.clone());
        decided
    }

    fn really(&self, case: Case) -> Decided {
        let (run, input) = (self.run(case), input(case.word));
        let change = decide(&self.definition, &run, &input, &Caller::default(), NOW);
        let mut commands = change.commands;
        if case.word.repeated {
            let source = Source::Action(ACTION);
            let again = outstanding::of_source(&self.definition, &change.after, source, run.revision, NOW);
            commands.extend(again.commands);
        }
        let mut sent = Vec::new();
        let mut told = Vec::new();
        for command in commands {
            match command {
                Command::Perform(perform) => sent.push(perform.issue),
                Command::Confirm(confirm) => {
                    let fence = confirm.fence;
                    let order = if confirm.until.is_some() { Order::Leased } else { Order::Confirm { fence } };
                    let key = key_of(confirm.delivery, confirm.message);
                    told.push(Told { agent: number_of(confirm.agent.as_str()), order, key });
                }
                Command::Stop(stop) => {
                    let of_claim = stop.asked == Some(CLAIM);
                    let order = match stop.fate {
                        Fate::Leave => Order::Leave { of_claim },
                        Fate::Report => Order::Report { of_claim },
                        Fate::Delete => Order::Delete { of_claim },
                    };
                    let key = key_of(stop.delivery, stop.message);
                    told.push(Told { agent: number_of(stop.agent.as_str()), order, key });
                }
                Command::Wake { .. } | Command::Ended => {}
            }
        }
        sent.sort_unstable();
        sent.dedup();
        let record = self.read(&change.after);
        Decided { record, is_accepted: change.answer.is_ok(), told, sent }
    }

    /// The real run of the model's record.
    fn run(&self, case: Case) -> Run {
        let Case { record, word, age, top, is_behind } = case;
        let mut run = self.start.clone();
        if record.status == Status::Ended {
            let of = Report { action: ACTION, delivery: Delivery::new(1, 0, 1), message: 0, agent: agent_of(0) };
            let input = completed(of, Outcome::Succeeded { output: Value::Null });
            run = decide(&self.definition, &run, &input, &Caller::default(), NOW).after;
            return run;
        }
        let beside = top - record.last.0;
        // It waited for that long until its owner's lease ran out.
        let had_waited = match record.owner {
            Some(Owner { lease: Lease::Past { top }, .. }) => Some(top - record.last.0),
            _ => None,
        };
        let waited = if is_behind { beside.saturating_sub(1) } else { beside + AGES[usize::from(age)] };
        let least = had_waited.map_or(0, |had| if is_behind { had } else { had + LEASE_MS });
        let queued_at = before(waited.max(least));
        let since = match record.owner {
            Some(Owner { lease: Lease::None, .. }) if word.said == Said::Sweep => before(UNLEASED_MS),
            _ => before(1_000),
        };
        let lapsed_at = queued_at.plus(Millis(had_waited.unwrap_or(0)));
        let owner = record.owner.map(|owner| real_owner(owner, since, lapsed_at));
        let source = match (record.status, &owner) {
            (Status::Queued, Some(_)) => Source::Sweep,
            (Status::Queued, None) if record.last == (0, 0) => Source::Start,
            (Status::Queued | Status::Running | Status::Ended, _) => Source::Itself,
        };
        let is_running = record.status == Status::Running;
        let state = ActionState {
            status: if is_running { ActionStatus::Running } else { ActionStatus::Queued },
            last: Delivery::new(1, record.last.0, u32::from(record.last.1)),
            fence: record.fence,
            queued_at: Some(queued_at),
            source,
            owner,
            kill: real_kill(record.kill),
            ..run.action(ACTION).clone()
        };
        let waits_since = state.waits_since().unwrap_or(queued_at);
        run.wake_at = Some(if is_running || record.kill != Kill::None {
            NOW
        } else {
            waits_since.plus(Millis(REISSUE_QUEUED_AFTER_MS)).min(NOW)
        });
        run.actions.overlay([(ACTION, state)]).expect("the run has the action");
        run
    }

    fn read(&self, run: &Run) -> Record {
        let state = run.action(ACTION);
        let status = match state.status {
            ActionStatus::Queued => Status::Queued,
            ActionStatus::Running => Status::Running,
            ActionStatus::Waiting
            | ActionStatus::RetryWaiting
            | ActionStatus::Succeeded
            | ActionStatus::Failed
            | ActionStatus::TimedOut
            | ActionStatus::Skipped
            | ActionStatus::Cancelled => return Record { status: Status::Ended, ..self.record() },
        };
        let owner = state.owner.as_ref().map(|owner| Owner {
            agent: number_of(owner.agent.as_str()),
            message: u8::try_from(owner.message).unwrap_or(0),
            lease: match owner.until {
                None => Lease::None,
                Some(until) if until > NOW => Lease::Ahead,
                Some(until) => {
                    let had_waited = state.queued_at.map_or(0, |queued_at| until.since(queued_at).0);
                    Lease::Past { top: state.last.issue + had_waited }
                }
            },
            renewal: u8::try_from(owner.renewal).unwrap_or(0),
        });
        let last = (state.last.issue, u8::try_from(state.last.receive).unwrap_or(u8::MAX));
        let kill = match state.kill.as_ref().map(|kill| NOW.since(kill.at).0) {
            None => Kill::None,
            Some(CANCEL_FORCE_MS..) => Kill::Force,
            Some(CANCEL_GRACE_MS..) => Kill::Grace,
            Some(_) => Kill::Now,
        };
        Record { status, last, owner, fence: state.fence, kill }
    }
}

fn real_kill(kill: Kill) -> Option<attempt::Kill> {
    let since = match kill {
        Kill::None => return None,
        Kill::Now => 0,
        Kill::Grace => CANCEL_GRACE_MS,
        Kill::Force => CANCEL_FORCE_MS,
    };
    Some(attempt::Kill { at: before(since), reason: String::new(), caller: Caller::default(), revision: 1 })
}

fn real_owner(owner: Owner, since: Timestamp, lapsed_at: Timestamp) -> windlass_domain::attempt::Owner {
    let until = match owner.lease {
        Lease::None => None,
        Lease::Ahead => Some(NOW.plus(Millis(LEASE_MS))),
        Lease::Past { .. } => Some(lapsed_at),
    };
    let (message, renewal) = (u32::from(owner.message), u32::from(owner.renewal));
    let agent = agent_of(owner.agent);
    windlass_domain::attempt::Owner { agent, started_at: since, since, message, until, renewal }
}

fn input(word: Word) -> Input {
    let Word { said, agent, key, .. } = word;
    let (delivery, message) = (Delivery::new(1, key.issue, u32::from(key.receive)), u32::from(key.message));
    let agent = if agent == NOBODY { agent_of(0) } else { agent_of(agent) };
    let of = Report { action: ACTION, delivery, message, agent: agent.clone() };
    match said {
        Said::Claim => Input::Claim { agent, claims: vec![Claim { action: ACTION, delivery, message, asked: CLAIM }] },
        Said::Started => Input::Started { of, started_at: NOW },
        Said::Renewed => Input::Renewed { of, started_at: NOW, number: 1 },
        Said::HandedBack { kept } => Input::HandedBack { of, kept, checkpoint: None },
        Said::Completed => completed(of, Outcome::Succeeded { output: Value::Null }),
        Said::Cancelled => completed(of, Outcome::Cancelled),
        Said::Killed => Input::Kill { action: ACTION, reason: String::new(), retries: 0 },
        Said::DeadLettered => Input::DeadLettered { action: ACTION, delivery, message, reason: "full".to_owned() },
        Said::Sweep => Input::Sweep,
    }
}

fn completed(of: Report, outcome: Outcome) -> Input {
    Input::Completed { of, started_at: NOW, outcome, checkpoint: None }
}

fn before(span: u64) -> Timestamp {
    Timestamp::from_millis(NOW.as_millis() - i64::try_from(span).unwrap_or(0))
}

fn key_of(delivery: Delivery, message: u32) -> Key {
    let receive = u8::try_from(delivery.receive).unwrap_or(u8::MAX);
    Key { issue: delivery.issue, receive, message: u8::try_from(message).unwrap_or(0) }
}

fn number_of(agent: &str) -> u8 {
    (0..3).find(|number| agent_of(*number).as_str() == agent).unwrap_or(NOBODY)
}
