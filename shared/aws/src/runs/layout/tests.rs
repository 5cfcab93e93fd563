use std::collections::VecDeque;

use serde_json::json;
use uuid::Uuid;
use windlass_domain::ids::{AgentId, RunId, TaskName};
use windlass_domain::run::{ActionAt, Fact, FactKind, Origin, Owner, RunStatus, apply};
use windlass_domain::time::Millis;

use super::*;
use crate::meter::item_size::{item_bytes, write_units};
use crate::table::head::{Beside, encode};
use crate::table::page;
use crate::table::samples::{noise, performed};

/// The bytes that one commit writes, by item.
struct Written {
    head_bytes: usize,
    page_bytes: Vec<usize>,
}

impl Written {
    fn units(&self) -> f64 {
        self.page_bytes.iter().chain([&self.head_bytes]).map(|bytes| write_units(*bytes)).sum()
    }
}

/// Writes as the adapter does, into nothing.
fn write(layout: &mut Layout, before: &Pages, after: &Run, all: bool) -> Written {
    let mut outgoing = Outgoing::default();
    let beside = |layout: &Layout, recent: Columns| Beside {
        directory: layout.directory(),
        recent,
        committed_at: after.submitted_at.plus(Millis(after.revision * 37)),
        due_at: due_at(after, after.submitted_at),
        expires_at: None,
    };
    let bare = item_bytes(&encode(after, beside(layout, Columns::default()), &mut outgoing));
    let plan = layout.plan(after, differing(before, &after.actions), all, bare);
    layout.pages.resize(after.actions.shared().len(), None);
    let mut page_bytes = Vec::new();
    for number in plan.pages {
        let body = page::encode(&after.actions.shared()[number], after.submitted_at, &mut outgoing);
        let slot = layout.pages[number].as_ref().map_or(0, |(place, _)| 1 - place.slot);
        let place = Place { slot, generation: after.revision + 1 };
        page_bytes.push(item_bytes(&page::item(after.id, number, place, body)));
        layout.pages[number] = Some((place, after.actions.shared()[number].clone()));
    }
    layout.recent = plan.recent;
    let recent = columns(after, &layout.recent, &mut outgoing);
    Written { head_bytes: item_bytes(&encode(after, beside(layout, recent), &mut outgoing)), page_bytes }
}

/// The states of the pages, and the newer ones of the head, together are the run.
fn check_whole(layout: &Layout, run: &Run) {
    let base = Pages::new(run.actions.len());
    let under = layout.pages.iter().zip(base.shared());
    let under = under.map(|(page, base)| page.as_ref().map_or_else(|| base.clone(), |(_, page)| page.clone()));
    let mut pages = Pages::from_shared(under.collect());
    let recent = layout.recent.iter().map(|at| ActionIndex::from_usize(*at));
    pages.overlay(recent.map(|index| (index, run.action(index).clone()))).expect("they are all there");
    assert_eq!(pages, run.actions);
}

#[test]
fn small_run_is_one_item_and_unit() {
    println!("actions  head bytes  pages  page bytes");
    for actions in [1, 5, 10, 50, 64, 100, 1000, 10_000] {
        let run = performed(actions);
        let mut layout = Layout::default();
        let written = write(&mut layout, &Pages::new(actions), &run, false);
        let pages: usize = written.page_bytes.iter().sum();
        println!("{actions:7}  {:10}  {:5}  {pages:10}", written.head_bytes, written.page_bytes.len());
        check_whole(&layout, &run);
        if actions <= 10 {
            assert!(written.head_bytes <= 1024, "{} bytes", written.head_bytes);
            assert!(written.page_bytes.is_empty());
        }
    }
}

#[test]
fn only_what_differs_is_found() {
    let before = performed(200);
    let mut after = before.clone();
    assert_eq!(differing(&before.actions, &after.actions), Vec::<usize>::new());
    for at in [3, 130] {
        let index = ActionIndex::from_usize(at);
        let state = windlass_domain::run::ActionState { revision: 9999, ..after.action(index).clone() };
        after.actions.overlay([(index, state)]).expect("it is there");
    }
    assert_eq!(differing(&before.actions, &after.actions), [3, 130]);
    assert_eq!(differing(&Pages::new(3), &performed(3).actions), [0, 1, 2]);
}

#[test]
fn retried_run_gets_new_pages() {
    let run = performed(300);
    let mut layout = Layout::default();
    write(&mut layout, &Pages::new(300), &run, false);
    let before: Vec<Option<Place>> = layout.pages.iter().map(|page| page.as_ref().map(|(place, _)| *place)).collect();
    assert!(before.iter().any(Option::is_some));
    let later = Run { revision: run.revision + 1, ..run.clone() };
    write(&mut layout, &run.actions, &later, true);
    for (before, page) in before.iter().zip(&layout.pages) {
        let after = page.as_ref().map(|(place, _)| *place);
        assert!(before.is_none() || *before != after, "{before:?} is still named");
    }
    check_whole(&layout, &later);
}

/// A fan of that many actions from its creation to its end. The run queues all actions at once, and so many agents
/// perform them at a time. Ten reports are one transition. Gives the write units of an action.
fn fan(actions: usize, slots: usize) -> f64 {
    let draw = |at: usize, of: usize| usize::try_from(noise(at, of as u64)).unwrap_or(0);
    let task = TaskName::new("fan").expect("a name");
    let submitted_at = Timestamp::from_millis(1_764_000_000_123);
    let id = RunId::from_uuid(Uuid::from_u128(0x0199_aaaa_bbbb_7ccc_8ddd_eeee_ffff_0123));
    let input = json!({ "day": "2026-11-21" });
    let mut run = Run::submitted(id, (task, 1), actions, input, Origin::Request, submitted_at);
    let at = |index: usize| ActionAt { action: ActionIndex::from_usize(index), attempt: 1 };
    let (mut layout, mut units) = (Layout::default(), 0.0);
    let mut commit = |run: &mut Run, events: Vec<Fact>| {
        let before = run.actions.clone();
        run.revision += 1;
        for event in &events {
            apply(run, event);
        }
        units += write(&mut layout, &before, run, false).units();
        check_whole(&layout, run);
    };
    let queued = (0..actions).map(|index| FactKind::ActionQueued { of: at(index), issue: 0 });
    let begun = std::iter::once(FactKind::RunStarted { deadline: None }).chain(queued);
    commit(&mut run, begun.map(|kind| Fact::told(submitted_at, kind)).collect());
    let (mut next, mut performing, mut now) = (0, VecDeque::new(), submitted_at);
    while next < actions || !performing.is_empty() {
        let mut events = Vec::new();
        for _ in 0..10 {
            while next < actions && performing.len() < slots {
                performing.push_back((next, now));
                next += 1;
            }
            let Some((index, since)) =
                performing.swap_remove_back(draw(next + performing.len(), performing.len().max(1)))
            else {
                break;
            };
            let agent = AgentId::new(&format!("a-ip-10-0-3-{}-default-{}-{:08x}", index % 10, 7, 0x9e37_79b9_u32));
            let kind = FactKind::ActionSucceeded {
                of: at(index),
                by: agent.ok().map(|agent| Owner::of_end(agent, since)),
                output: json!({ "rows": noise(index, 10_000) }),
            };
            now = now.plus(Millis(3 + noise(index, 9)));
            events.push(Fact::told(now, kind));
        }
        commit(&mut run, events);
    }
    let end = FactKind::RunFinished { status: RunStatus::Succeeded, output: None, error: None };
    commit(&mut run, vec![Fact::told(now, end)]);
    #[expect(clippy::cast_precision_loss, reason = "ten thousand at most")]
    let each = units / actions as f64;
    each
}

#[test]
fn a_wide_fan_costs_little() {
    let narrow = fan(100, 100);
    let wide = fan(1000, 100);
    println!("write units of an action: {narrow:.3} of 100 actions, {wide:.3} of 1,000");
    // An action's 0.6 requests of SQS cost $0.24 a million, a write unit $0.625 a million.
    let dollars = |units: f64| 0.24 + 0.625 * units;
    assert!(dollars(wide) <= 1.2 * dollars(narrow), "a wide fan costs more than a narrow one");
    assert!(dollars(wide) <= 0.40, "{}", dollars(wide));
}

#[test]
fn due_time_of_a_run_follows_its_timers() {
    let submitted_at = Timestamp::from_millis(1_764_000_030_000);
    let after = |secs: u64| submitted_at.plus(Millis::from_secs(secs));
    let check = |age: u64, wake: Option<u64>, expected: Option<u64>| {
        let run = Run { wake_at: wake.map(after), submitted_at, ..performed(1) };
        assert_eq!(due_at(&run, after(age)), expected.map(after), "after {age} s, to be woken after {wake:?} s");
    };
    // The sweeper finds a young run by its submission time, and a message wakes it.
    check(0, None, None);
    check(99, Some(120), None);
    check(10, Some(10 + 900), None);
    // A message is never delayed for longer than 15 minutes.
    check(10, Some(10 + 901), Some(10 + 901));
    // It was submitted in the middle of a minute.
    check(100, None, None);
    check(149, Some(5000), Some(5010));
    // However often it is written, its wake is at a whole minute.
    check(150, Some(211), Some(270));
    check(150, Some(210), Some(210));
    check(150, Some(331), Some(390));
    check(150, Some(100), Some(150));
    let ended = Run { status: RunStatus::Failed, submitted_at, ..performed(1) };
    assert_eq!(due_at(&ended, after(5000)), None);
}
