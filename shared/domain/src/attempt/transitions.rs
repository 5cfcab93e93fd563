//! Writes `docs/transitions.md`: what each word about an attempt does, and each request to a run.
//!
//! [`judge`], [`standing`] and [`decide`] fill the page themselves, from the cases that are built here. No rule stands here.

#![expect(clippy::disallowed_methods, reason = "a test, and it reads a page of the documentation")]

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::table::{Standing, standing};
use super::{ActionState, ActionStatus, ErrorInfo, Fate, Outcome, Owner, Refused, Said, Verdict, Word, judge};
use crate::caller::Caller;
use crate::definition::Definition;
use crate::delivery::Delivery;
use crate::ids::{ActionIndex, AgentId, RunId, TaskName};
use crate::limits::CANCEL_GRACE_MS;
use crate::run::{CancelCause, Input, Origin, Report, Run, RunStatus, decide};
use crate::time::{Millis, Timestamp};

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/transitions.md");
const NOW: Timestamp = Timestamp::from_millis(1000);
const ATTEMPT: u32 = 2;
/// The hash of the id of the message that counts.
const MESSAGE: u32 = 7;
/// The number of the renewal that was counted last.
const RENEWAL: u32 = 5;

const WORDS: [(&str, Word); 8] = [
    ("claim", Word::Claim),
    ("started", Word::Started),
    ("renewal", Word::Renewal(RENEWAL + 1)),
    ("renewal that was counted", Word::Renewal(RENEWAL)),
    ("progress", Word::Progress),
    ("hand-back", Word::HandBack { kept: false }),
    ("hand-back, message kept", Word::HandBack { kept: true }),
    ("end", Word::End),
];

const STANDINGS: [(&str, Standing); 7] = [
    ("free", Standing::Free),
    ("the owner's, by its message", Standing::Owners { same_message: true, lapsed: false }),
    ("the owner's, by another message", Standing::Owners { same_message: false, lapsed: false }),
    ("a lapsed owner's, by its message", Standing::Owners { same_message: true, lapsed: true }),
    ("a lapsed owner's, by another message", Standing::Owners { same_message: false, lapsed: true }),
    ("displaces", Standing::Displaces),
    ("stale", Standing::Stale),
];

/// By what an attempt's owner has it.
#[derive(Clone, Copy, PartialEq)]
enum Held {
    ByNobody,
    ByMessage,
    Until(i64),
}

/// A record of an attempt in flight: how it stands, its status, and by what its owner has it.
type Record = (&'static str, ActionStatus, Held);

const RECORDS: [Record; 5] = [
    ("queued, without an owner", ActionStatus::Queued, Held::ByNobody),
    ("queued again after its owner's lease", ActionStatus::Queued, Held::Until(NOW.as_millis() - 1)),
    ("running, its owner has a message", ActionStatus::Running, Held::ByMessage),
    ("running, its owner has a lease", ActionStatus::Running, Held::Until(NOW.as_millis() + 1)),
    ("running, its owner's lease ran out", ActionStatus::Running, Held::Until(NOW.as_millis())),
];

/// A message of an attempt: which, how much its issue is above that of the record, and the hash of its id.
type Message = (&'static str, i64, u32);

const MESSAGES: [Message; 4] = [
    ("the one that counts", 0, MESSAGE),
    ("another of its issue", 0, MESSAGE + 1),
    ("one of a lower issue", -1, MESSAGE + 1),
    ("one of a higher issue", 1, MESSAGE + 1),
];

const ANSWERS: &str = "\
| answer | what the process manager does |
|---|---|
| counts | it takes the word |
| owns | it makes the agent the owner, and takes the word |
| confirmed | it makes the agent the owner |
| confirmed with a loss | the same, and it counts another agent as lost |
| again | it has taken the word before, and answers as it did then |
| refused | it changes nothing; the agent stops if it performs the attempt |
| refused at a cost | the same, and it knows that the owner's message was deleted |
| over | it changes nothing: the attempt has ended, or another has followed it |
| unknown | it changes nothing: there is no such attempt |
";

type Cell = BTreeSet<&'static str>;

fn agent(name: &str) -> AgentId {
    AgentId::new(name).unwrap()
}

fn state(status: ActionStatus, last: Delivery, held: Held) -> ActionState {
    let until = if let Held::Until(at) = held { Some(Timestamp::from_millis(at)) } else { None };
    let owner = Owner { message: MESSAGE, until, renewal: RENEWAL, ..Owner::of_end(agent("owner"), NOW) };
    let owner = Some(owner).filter(|_| held != Held::ByNobody);
    ActionState { status, last, owner, ..ActionState::default() }
}

/// The states that a record of [`RECORDS`] stands for: of the attempt's first message, and of a later one.
fn states((_, status, held): Record) -> [ActionState; 2] {
    // Without an owner no receipt is known yet.
    let receive = if held == Held::ByNobody { 0 } else { 2 };
    [0, 4].map(|issue| state(status, Delivery::new(ATTEMPT, issue, receive), held))
}

/// Every word of that kind about that message: of each receipt, by the owner and by another agent.
fn each_said(state: &ActionState, word: Word, message: Message, mut look: impl FnMut(&Said<'_>)) {
    let (last, (_, above, message)) = (state.last, message);
    let Some(issue) = last.issue.checked_add_signed(above) else { return };
    for receive in last.receive.max(2) - 1..=last.receive + 2 {
        for agent in [agent("owner"), agent("other")] {
            let agent = Some(&agent).filter(|_| word != Word::DeadLetter);
            look(&Said { word, delivery: Delivery::new(ATTEMPT, issue, receive), message, agent });
        }
    }
}

fn answer(state: &ActionState, said: &Said<'_>) -> &'static str {
    match judge(state, said, NOW) {
        Ok(Verdict::Counts) => "counts",
        Ok(Verdict::Owns) => "owns",
        Ok(Verdict::Confirmed { lost: None }) => "confirmed",
        Ok(Verdict::Confirmed { lost: Some(_) }) => "confirmed with a loss",
        Ok(Verdict::Again) => "again",
        Err(Refused::Over) => "over",
        Err(Refused::Unknown) => "unknown",
        Err(Refused::Replaced { costs_owner: false, .. }) => "refused",
        Err(Refused::Replaced { costs_owner: true, .. }) => "refused at a cost",
    }
}

/// What that word does while the attempt has that status, by a delivery that stands so.
fn by_standing(status: ActionStatus, word: Word, stands: Standing) -> Cell {
    let mut found = Cell::new();
    for state in RECORDS.into_iter().filter(|record| record.1 == status).flat_map(states) {
        for message in MESSAGES {
            each_said(&state, word, message, |said| {
                if standing(&state, said, NOW) == stands {
                    found.insert(answer(&state, said));
                }
            });
        }
    }
    found
}

/// What an agent does with that message when its word is refused.
fn fate(state: &ActionState, message: Message) -> Cell {
    let mut found = Cell::new();
    for (_, word) in WORDS {
        each_said(state, word, message, |said| {
            if let Err(refused) = judge(state, said, NOW) {
                found.insert(if refused.fate() == Fate::Delete { "deletes it" } else { "leaves it" });
            }
        });
    }
    found
}

/// What follows if a queue gives that message up.
fn dead_letter(state: &ActionState, message: Message) -> Cell {
    let mut found = Cell::new();
    each_said(state, Word::DeadLetter, message, |said| {
        found.insert(answer(state, said));
    });
    found
}

/// What every word about the attempt of that number does.
fn by_number(status: ActionStatus, attempt: u32) -> Cell {
    let state = state(status, Delivery::new(ATTEMPT, 0, 0), Held::ByNobody);
    let said = |word| Said { word, delivery: Delivery::new(attempt, 0, 1), message: MESSAGE, agent: None };
    if attempt == ATTEMPT && status.is_in_flight() {
        return Cell::from(["as above"]);
    }
    WORDS.into_iter().map(|(_, word)| answer(&state, &said(word))).collect()
}

/// A run of two actions that was given those inputs, each so long after the one before.
fn run(definition: &Definition, inputs: &[(u64, Input)]) -> (Run, Timestamp) {
    let (id, task) = (RunId::from_uuid(uuid::Uuid::nil()), TaskName::new("t").unwrap());
    let mut run = Run::submitted(id, (task, 1), 2, serde_json::Value::Null, Origin::Request, NOW);
    let mut now = NOW;
    for (after, input) in inputs {
        now = now.plus(Millis(*after));
        let change = decide(definition, &run, input, &Caller::default(), now);
        assert_eq!(change.answer, Ok(()), "{input:?}");
        run = Run { revision: run.revision + 1, ..change.after };
    }
    (run, now)
}

fn ended(action: u32, is_good: bool) -> (u64, Input) {
    let of = Report {
        action: ActionIndex(action),
        delivery: Delivery::new(1, 0, 1),
        message: MESSAGE,
        agent: agent("owner"),
    };
    let error = ErrorInfo::new("exec.exit", "it failed");
    let outcome = if is_good { Outcome::Succeeded { output: true.into() } } else { Outcome::Failed { error } };
    (0, Input::Completed { of, started_at: NOW, outcome, checkpoint: None })
}

fn cancel() -> Input {
    Input::Cancel { reason: String::new(), cause: CancelCause::Request, retries: 0 }
}

/// What leads to that status.
fn way_to(status: RunStatus) -> Vec<(u64, Input)> {
    let start = || (0, Input::Start);
    let wake = |after| (after, Input::Wake { action: None });
    match status {
        RunStatus::Submitted => vec![],
        RunStatus::Running => vec![start()],
        RunStatus::Paused => vec![start(), (0, Input::Pause { pauses: 0, retries: 0 })],
        RunStatus::Cancelling => vec![start(), (0, cancel())],
        RunStatus::Succeeded => vec![start(), ended(0, true), ended(1, true)],
        RunStatus::SucceededWithFaults => vec![start(), ended(0, true), ended(1, false)],
        RunStatus::Failed => vec![start(), ended(0, false)],
        RunStatus::TimedOut => vec![start(), wake(3_600_000), wake(CANCEL_GRACE_MS)],
        RunStatus::Cancelled => vec![start(), (0, cancel()), wake(CANCEL_GRACE_MS)],
    }
}

/// What a request does to a run of that status. Its caller saw the run as it is.
fn by_request(definition: &Definition, status: RunStatus, request: &dyn Fn(u32, u32) -> Input) -> Cell {
    let (run, now) = run(definition, &way_to(status));
    assert_eq!(run.status, status);
    let change = decide(definition, &run, &request(run.pauses, run.retries), &Caller::default(), now);
    Cell::from([match change.answer {
        Err(_) => "refused",
        Ok(()) if change.facts.is_empty() => "no change",
        Ok(()) => change.after.status.as_str(),
    }])
}

fn requests() -> Vec<(&'static str, Vec<Cell>)> {
    let text =
        "task: t\ntimeout: 1h\nactions:\n  a: { exec: [x] }\n  b: { exec: [x], needs: a, allow_failure: true }\n";
    let definition = Definition::from_text(text).unwrap();
    let kill = |_, retries| Input::Kill { action: ActionIndex(1), reason: String::new(), retries };
    let requests: [(_, &dyn Fn(u32, u32) -> Input); 6] = [
        ("start", &|_, _| Input::Start),
        ("cancel", &|_, _| cancel()),
        ("kill of its second action", &kill),
        ("pause", &|pauses, retries| Input::Pause { pauses, retries }),
        ("resume", &|pauses, _| Input::Resume { pauses }),
        ("retry", &|_, retries| Input::Retry { retries }),
    ];
    let cells = |request| RunStatus::ALL.into_iter().map(|status| by_request(&definition, status, request)).collect();
    requests.into_iter().map(|(name, request)| (name, cells(request))).collect()
}

fn table(text: &mut String, corner: &str, columns: &[&str], rows: Vec<(&str, Vec<Cell>)>) {
    let _ = writeln!(text, "| {corner} | {} |\n|---|{}", columns.join(" | "), "---|".repeat(columns.len()));
    for (name, cells) in rows {
        let shown = |cell: Cell| cell.into_iter().collect::<Vec<_>>().join(" or ");
        let cells: Vec<String> = cells.into_iter().map(shown).collect();
        let _ = writeln!(text, "| {name} | {} |", cells.join(" | "));
    }
}

fn of_words(text: &mut String) {
    for status in [ActionStatus::Queued, ActionStatus::Running] {
        let reached = |(_, stands): &(_, Standing)| !by_standing(status, Word::Claim, *stands).is_empty();
        let standings: Vec<(&str, Standing)> = STANDINGS.into_iter().filter(reached).collect();
        let cells = |word| standings.iter().map(|(_, stands)| by_standing(status, word, *stands)).collect();
        let columns: Vec<&str> = standings.iter().map(|(name, _)| *name).collect();
        let rows = WORDS.map(|(name, word)| (name, cells(word)));
        let _ = writeln!(text, "\nThe attempt is {}:\n", status.as_str());
        table(text, "word \\ delivery", &columns, rows.into());
    }
}

fn of_messages(text: &mut String, of_message: fn(&ActionState, Message) -> Cell) {
    let of = |record, message| states(record).iter().flat_map(|state| of_message(state, message)).collect();
    let row = |record: Record| (record.0, MESSAGES.map(|message| of(record, message)).into());
    table(text, "record \\ message", &MESSAGES.map(|(name, ..)| name), RECORDS.map(row).into());
}

fn page() -> String {
    let mut text = format!(
        "# Transitions\n\nA test asks the rules for every answer on this page (`shared/domain/src/attempt/transitions.rs`). It \
         fails when the page is out of date, and writes it with `WINDLASS_BLESS=1`.\n\n## Words about an attempt in flight\n\nThe table of `shared/domain/src/attempt/table.rs` \
         decides what a word does, by how its delivery stands to the record:\n\
         - free: the attempt has no owner, and the record knows no newer delivery.\n\
         - the owner's: the owner says it of its own delivery. An owner has lapsed when its lease ran out.\n\
         - displaces: the delivery is newer than the owner's. The owner has lapsed, or its own message was received again.\n\
         - stale: another delivery counts.\n\n{ANSWERS}"
    );
    of_words(&mut text);
    text.push_str(
        "\n## Refused messages\n\nAn agent whose word is refused leaves its message to the queue, or deletes it. Where a cell is \
         empty, no word is refused.\n\n",
    );
    of_messages(&mut text, fate);
    text.push_str("\n## Dead letters\n\nA queue has given a message up. If that counts, the action fails.\n\n");
    of_messages(&mut text, dead_letter);
    text.push_str("\n## Other attempts and statuses\n\nEvery word about an attempt has the same answer.\n\n");
    let numbers =
        [("an earlier attempt", ATTEMPT - 1), ("the newest attempt", ATTEMPT), ("a later attempt", ATTEMPT + 1)];
    let row = |status: ActionStatus| (status.as_str(), numbers.map(|(_, number)| by_number(status, number)).into());
    table(&mut text, "status \\ attempt", &numbers.map(|(name, _)| name), ActionStatus::ALL.map(row).into());
    text.push_str(
        "\n## Requests to a run\n\nThe status of a run of two actions after a request of a caller who saw it as it is. Its first \
         action is in flight while the run is open, and the second one waits for it.\n\n",
    );
    table(&mut text, "request \\ run", &RunStatus::ALL.map(RunStatus::as_str), requests());
    text
}

/// With `WINDLASS_BLESS=1` it writes the page first.
#[test]
fn page_of_transitions_is_what_the_rules_say() {
    let page = page();
    if std::env::var_os("WINDLASS_BLESS").is_some() {
        std::fs::write(PAGE, &page).unwrap();
    }
    let written = std::fs::read_to_string(PAGE).unwrap_or_default();
    assert!(written == page, "docs/transitions.md is out of date: run this test with WINDLASS_BLESS=1\n{page}");
}
