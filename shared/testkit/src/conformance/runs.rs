//! The promises of the store of runs. A write is conditional on the revision, and the log has every event of every
//! write, in order.

use serde_json::Value;
use tokio::time::{Instant, sleep};
use windlass_contract::event::PublicEvent;
use windlass_contract::view::RunSummary;
use windlass_domain::content::Content;
use windlass_domain::ids::{RunId, TaskName};
use windlass_domain::limits::ACTIONS_PER_PAGE;
use windlass_domain::run::{Run, RunStatus};
use windlass_domain::time::Timestamp;
use windlass_engine::Ports;
use windlass_engine::ports::{Created, EventCursor, Outgoing, PortError, RunFilter};

use super::records::records;
use super::{
    Books, CLOCK_SLACK, Case, Fault, PATIENCE, Timing, Verdict, WOKEN_WITHIN, cases, conflicts, fresh_queue, holds,
    run, same, some,
};

mod deletion;
mod large;
pub(super) mod steps;
mod sweep;
mod values;

use deletion::{deleted_run_is_gone_and_its_id_is_free, run_that_has_changed_is_not_deleted};
use large::many_writers_of_a_large_run_lose_nothing;
use steps::{books_follow, event, finished, fresh_run, fresh_task, load, queued, started};
use sweep::{
    due_run_is_stale, run_written_all_the_time_is_woken, untouched_run_is_handed_out_now_and_then,
    untouched_run_is_stale,
};

use values::{
    large_values_are_read_as_they_were_committed, lost_commit_keeps_no_value, values_are_stored_once_and_stay,
    values_of_an_old_record_are_its_own_or_none,
};

const CASES: &[Case] = cases![
    a_run_is_read_as_it_was_created,
    a_run_is_created_once,
    messages_go_with_a_new_record_or_not_at_all,
    concurrent_creations_have_one_winner,
    concurrent_commits_have_one_winner,
    a_chain_of_commits_by_many_loses_none,
    a_large_run_is_read_as_it_was_committed,
    large_values_are_read_as_they_were_committed,
    values_are_stored_once_and_stay,
    values_of_an_old_record_are_its_own_or_none,
    lost_commit_keeps_no_value,
    many_writers_of_a_large_run_lose_nothing,
    a_lost_commit_changes_no_page,
    events_are_read_in_order_and_in_parts,
    many_events_of_one_commit_are_read,
    a_lost_commit_logs_nothing,
    a_change_wakes_who_waits_for_it,
    a_wait_for_a_change_ends,
    a_list_is_complete_and_the_newest_come_first,
    a_list_can_be_filtered,
    due_run_is_stale,
    run_written_all_the_time_is_woken,
    untouched_run_is_stale,
    untouched_run_is_handed_out_now_and_then,
    deleted_run_is_gone_and_its_id_is_free,
    run_that_has_changed_is_not_deleted,
];

/// The suite of `Runs`, and of the records of runs.
pub async fn runs(make: impl AsyncFn() -> Ports, timing: Timing) {
    records::<Run>("records of runs", &make, timing).await;
    run("runs", CASES, &make, timing).await;
}

/// The numbers of a run's events, read in parts of that many.
async fn logged(ports: &Ports, id: RunId, most: usize) -> Result<Vec<usize>, Fault> {
    let (mut numbers, mut cursor): (Vec<usize>, Option<EventCursor>) = (Vec::new(), None);
    loop {
        let part = ports.runs.events(id, cursor.clone(), most).await?;
        holds("no more come than are asked for", part.len() <= most)?;
        let Some(last) = part.last() else { return Ok(numbers) };
        cursor = Some(last.cursor.clone());
        for logged in part {
            let number = logged.event.data["number"].as_u64().and_then(|number| usize::try_from(number).ok());
            numbers.push(some("the event's number", number)?);
        }
    }
}

async fn a_run_is_read_as_it_was_created(ports: Ports, _: Timing) -> Verdict {
    for actions in [1, 5, ACTIONS_PER_PAGE, ACTIONS_PER_PAGE + 1, 1000] {
        let run = fresh_run(&ports, &fresh_task(), actions);
        same("an unknown run", ports.runs.load(&run.id).await?, None)?;
        same("its creation", ports.runs.create(&run, &[], &[]).await?, Created::New)?;
        same("the run", load(&ports, run.id).await?, run)?;
    }
    Ok(())
}

/// A host that sends with the record does so once, for the creation that made it; any other leaves the messages alone.
async fn messages_go_with_a_new_record_or_not_at_all(ports: Ports, timing: Timing) -> Verdict {
    let (run, queue) = (fresh_run(&ports, &fresh_task(), 1), fresh_queue());
    ports.queues.make(&queue).await?;
    let messages = [(queue.clone(), Outgoing::now("begin".to_owned()))];
    same("the first creation", ports.runs.create(&run, &[], &messages).await?, Created::New)?;
    same("the second creation", ports.runs.create(&run, &[], &messages).await?, Created::Existing)?;
    let mut come = Vec::new();
    let until = Instant::now() + timing.prompt;
    while Instant::now() < until {
        let received = ports.queues.receive(&queue, 10, PATIENCE, timing.prompt / 4).await?;
        come.extend(received.into_iter().map(|message| message.body));
    }
    ports.queues.remove(&queue).await?;
    let expected = if ports.runs.sends_with_record() { vec!["begin".to_owned()] } else { Vec::new() };
    same("what came", come, expected)
}

async fn a_run_is_created_once(ports: Ports, _: Timing) -> Verdict {
    let run = fresh_run(&ports, &fresh_task(), 3);
    ports.runs.create(&run, &[], &[]).await?;
    let after = started(&run, ports.clock.now());
    ports.runs.commit(&run, &after, &[]).await?;
    let again = Run { input: Content::Here(Value::Null), ..run };
    same("the second creation", ports.runs.create(&again, &[], &[]).await?, Created::Existing)?;
    same("the run", load(&ports, after.id).await?, after)
}

async fn concurrent_creations_have_one_winner(ports: Ports, _: Timing) -> Verdict {
    let run = fresh_run(&ports, &fresh_task(), 1);
    let creations = (0..10).map(|_| {
        let (ports, run) = (ports.clone(), run.clone());
        tokio::spawn(async move { ports.runs.create(&run, &[], &[]).await })
    });
    let mut winners = 0;
    for creation in creations.collect::<Vec<_>>() {
        let created = creation.await.map_err(|error| Fault(error.to_string()))??;
        winners += u32::from(created == Created::New);
    }
    same("winners", winners, 1)
}

async fn concurrent_commits_have_one_winner(ports: Ports, timing: Timing) -> Verdict {
    const WRITERS: usize = 40;
    let run = fresh_run(&ports, &fresh_task(), WRITERS);
    ports.runs.create(&run, &[], &[]).await?;
    let commits = (0..WRITERS).map(|writer| {
        let (ports, run) = (ports.clone(), run.clone());
        tokio::spawn(async move {
            let after = queued(&run, ports.clock.now(), writer);
            let done = ports.runs.commit(&run, &after, &[event(&run, writer)]).await;
            (writer, after, done)
        })
    });
    let mut winners = Vec::new();
    for commit in commits.collect::<Vec<_>>() {
        match commit.await.map_err(|error| Fault(error.to_string()))? {
            (writer, after, Ok(())) => winners.push((writer, after)),
            (_, _, lost) => conflicts("a lost commit", lost)?,
        }
    }
    same("winners", winners.len(), 1)?;
    let (winner, after) = winners.remove(0);
    same("the run is the winner's", load(&ports, run.id).await?, after)?;
    if timing.books == Books::Behind {
        return Ok(());
    }
    same("the events are the winner's", logged(&ports, run.id, 10).await?, vec![winner])
}

/// Each of many writers adds its own action, and reads again after a conflict: the end has all of them.
async fn a_chain_of_commits_by_many_loses_none(ports: Ports, timing: Timing) -> Verdict {
    const WRITERS: usize = 20;
    let run = fresh_run(&ports, &fresh_task(), WRITERS);
    ports.runs.create(&run, &[], &[]).await?;
    let id = run.id;
    let writers = (0..WRITERS).map(|writer| {
        let ports = ports.clone();
        tokio::spawn(async move {
            loop {
                let before = load(&ports, id).await?;
                let after = queued(&before, ports.clock.now(), writer);
                match ports.runs.commit(&before, &after, &[event(&before, writer)]).await {
                    Err(error) if error.is_conflict() => {}
                    other => return other.map_err(Fault::from),
                }
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.map_err(|error| Fault(error.to_string()))??;
    }
    let found = load(&ports, id).await?;
    same("the revision", found.revision, WRITERS as u64)?;
    holds("every action is queued", found.actions.iter().all(|action| action.attempt() == 1))?;
    if timing.books == Books::Behind {
        return Ok(());
    }
    let mut events = logged(&ports, id, 7).await?;
    events.sort_unstable();
    same("the events", events, (0..WRITERS).collect())
}

async fn a_large_run_is_read_as_it_was_committed(ports: Ports, _: Timing) -> Verdict {
    const ACTIONS: usize = 1000;
    let mut run = fresh_run(&ports, &fresh_task(), ACTIONS);
    ports.runs.create(&run, &[], &[]).await?;
    for action in [0, 1, ACTIONS - 1, 500, ACTIONS_PER_PAGE, ACTIONS_PER_PAGE - 1] {
        let after = queued(&run, ports.clock.now(), action);
        ports.runs.commit(&run, &after, &[]).await?;
        run = after;
        same("the run", load(&ports, run.id).await?, run.clone())?;
    }
    Ok(())
}

async fn a_lost_commit_changes_no_page(ports: Ports, _: Timing) -> Verdict {
    let run = fresh_run(&ports, &fresh_task(), 200);
    ports.runs.create(&run, &[], &[]).await?;
    let winner = queued(&run, ports.clock.now(), 0);
    ports.runs.commit(&run, &winner, &[]).await?;
    conflicts("the loser", ports.runs.commit(&run, &queued(&run, ports.clock.now(), 150), &[]).await)?;
    same("the run", load(&ports, run.id).await?, winner)
}

async fn events_are_read_in_order_and_in_parts(ports: Ports, timing: Timing) -> Verdict {
    if timing.books == Books::Behind {
        return Ok(());
    }
    let task = fresh_task();
    let (mut run, mut other) = (fresh_run(&ports, &task, 50), fresh_run(&ports, &task, 50));
    ports.runs.create(&run, &[], &[]).await?;
    ports.runs.create(&other, &[], &[]).await?;
    same("a run without events", logged(&ports, run.id, 10).await?, Vec::new())?;
    let mut expected = Vec::new();
    for commit in 0..10 {
        // None, one, two or three events of each commit; the other run's come in between.
        let numbers: Vec<usize> = (0..commit % 4).map(|at| commit * 10 + at).collect();
        let events: Vec<PublicEvent> = numbers.iter().map(|number| event(&run, *number)).collect();
        run = commit_next(&ports, &run, commit, &events).await?;
        other = commit_next(&ports, &other, commit, &[event(&other, 1000 + commit)]).await?;
        expected.extend(numbers);
    }
    for most in [1, 2, 5, 100] {
        same("the events", logged(&ports, run.id, most).await?, expected.clone())?;
    }
    let all = ports.runs.events(run.id, None, 100).await?;
    holds("cursors grow", all.is_sorted_by(|one, next| one.cursor < next.cursor))?;
    same("an event is as it was committed", &all[0].event, &event(&run, expected[0]))?;
    let last = all.last().map(|last| last.cursor.clone());
    same("after the last", ports.runs.events(run.id, last.clone(), 10).await?, Vec::new())?;
    run = commit_next(&ports, &run, 10, &[event(&run, 7777)]).await?;
    let further = ports.runs.events(run.id, last, 10).await?;
    same("what came after the last", further.len(), 1)
}

async fn commit_next(ports: &Ports, run: &Run, action: usize, events: &[PublicEvent]) -> Result<Run, PortError> {
    let after = queued(run, ports.clock.now(), action);
    ports.runs.commit(run, &after, events).await?;
    Ok(after)
}

async fn many_events_of_one_commit_are_read(ports: Ports, timing: Timing) -> Verdict {
    const EVENTS: usize = 1000;
    if timing.books == Books::Behind {
        return Ok(());
    }
    let run = fresh_run(&ports, &fresh_task(), 2);
    ports.runs.create(&run, &[], &[]).await?;
    let events: Vec<PublicEvent> = (0..EVENTS).map(|number| event(&run, number)).collect();
    let after = commit_next(&ports, &run, 0, &events).await?;
    commit_next(&ports, &after, 1, &[event(&run, EVENTS)]).await?;
    for most in [99, 255, 256, 5000] {
        same("the events", logged(&ports, run.id, most).await?, (0..=EVENTS).collect())?;
    }
    Ok(())
}

async fn a_lost_commit_logs_nothing(ports: Ports, timing: Timing) -> Verdict {
    if timing.books == Books::Behind {
        return Ok(());
    }
    let run = fresh_run(&ports, &fresh_task(), 2);
    ports.runs.create(&run, &[], &[]).await?;
    commit_next(&ports, &run, 0, &[event(&run, 1)]).await?;
    conflicts("the loser", commit_next(&ports, &run, 1, &[event(&run, 2)]).await)?;
    same("the events", logged(&ports, run.id, 10).await?, vec![1])
}

async fn a_change_wakes_who_waits_for_it(ports: Ports, timing: Timing) -> Verdict {
    let run = fresh_run(&ports, &fresh_task(), 2);
    ports.runs.create(&run, &[], &[]).await?;
    let (waiting, id) = (ports.clone(), run.id);
    let waiting = tokio::spawn(async move {
        let found = waiting.runs.changed(id, 0, PATIENCE).await;
        (found, Instant::now())
    });
    sleep(timing.prompt).await;
    holds("it waits", !waiting.is_finished())?;
    let committed = Instant::now();
    let after = started(&run, ports.clock.now());
    ports.runs.commit(&run, &after, &[]).await?;
    let (found, at) = waiting.await.map_err(|error| Fault(error.to_string()))?;
    same("the run", found?, Some(after.clone()))?;
    holds("it was woken", at.duration_since(committed) < WOKEN_WITHIN)?;
    let began = Instant::now();
    same("a change that has been", ports.runs.changed(id, 0, PATIENCE).await?, Some(after))?;
    holds("it is seen at once", began.elapsed() < WOKEN_WITHIN)
}

async fn a_wait_for_a_change_ends(ports: Ports, timing: Timing) -> Verdict {
    let run = fresh_run(&ports, &fresh_task(), 2);
    ports.runs.create(&run, &[], &[]).await?;
    let began = Instant::now();
    same("the run", ports.runs.changed(run.id, 0, timing.prompt).await?, Some(run))?;
    holds("it waited", began.elapsed() + CLOCK_SLACK >= timing.prompt)?;
    holds("it did not wait for long", began.elapsed() < timing.prompt + WOKEN_WITHIN)?;
    let unknown = fresh_run(&ports, &fresh_task(), 1).id;
    same("an unknown run", ports.runs.changed(unknown, 0, timing.prompt).await?, None)
}

/// Every page of a list.
async fn listed(ports: &Ports, filter: RunFilter) -> Result<Vec<RunSummary>, Fault> {
    let (limit, mut filter, mut runs) = (filter.limit, filter, Vec::new());
    loop {
        let page = ports.runs.list(&filter).await?;
        holds("no more come than are asked for", page.runs.len() <= limit)?;
        runs.extend(page.runs);
        match page.next {
            Some(next) => filter.cursor = Some(next),
            None => return Ok(runs),
        }
    }
}

/// Runs that were submitted one after the other, a millisecond apart.
async fn submitted(ports: &Ports, task: &TaskName, runs: i64) -> Result<Vec<Run>, PortError> {
    let base = ports.clock.now().as_millis();
    let mut submitted = Vec::new();
    for number in 0..runs {
        let run = Run { submitted_at: Timestamp::from_millis(base + number), ..fresh_run(ports, task, 2) };
        ports.runs.create(&run, &[], &[]).await?;
        submitted.push(run);
    }
    Ok(submitted)
}

async fn a_list_is_complete_and_the_newest_come_first(ports: Ports, timing: Timing) -> Verdict {
    let task = fresh_task();
    let runs = submitted(&ports, &task, 23).await?;
    books_follow(timing).await;
    let expected: Vec<RunId> = runs.iter().rev().map(|run| run.id).collect();
    for limit in [1, 5, 23, 100] {
        let filter = RunFilter { task: Some(task.clone()), limit, ..RunFilter::default() };
        let found = listed(&ports, filter).await?.into_iter().map(|run| run.id).collect();
        same("the runs", found, expected.clone())?;
    }
    let filter = RunFilter { task: Some(task.clone()), limit: 10, ..RunFilter::default() };
    let first = ports.runs.list(&filter).await?;
    same("a summary", &first.runs[0], &RunSummary::of(&runs[22]))?;
    submitted(&ports, &task, 3).await?;
    let second = ports.runs.list(&RunFilter { cursor: first.next, ..filter }).await?;
    let second: Vec<RunId> = second.runs.into_iter().map(|run| run.id).collect();
    same("runs that come in between move nothing", second, expected[10..20].to_vec())?;
    let everything = listed(&ports, RunFilter { limit: 50, ..RunFilter::default() }).await?;
    holds("they are in the list of all", expected.iter().all(|id| everything.iter().any(|run| run.id == *id)))
}

async fn a_list_can_be_filtered(ports: Ports, timing: Timing) -> Verdict {
    let (task, other) = (fresh_task(), fresh_task());
    let mut runs = submitted(&ports, &task, 9).await?;
    submitted(&ports, &other, 2).await?;
    for (number, run) in runs.iter_mut().enumerate() {
        if number % 3 > 0 {
            *run = commit_of(&ports, run, started(run, ports.clock.now())).await?;
        }
        if number % 3 > 1 {
            *run = commit_of(&ports, run, finished(run, ports.clock.now(), &Value::Null)).await?;
        }
    }
    books_follow(timing).await;
    for (remainder, status) in [(0, RunStatus::Submitted), (1, RunStatus::Running), (2, RunStatus::Succeeded)] {
        let filter = RunFilter { task: Some(task.clone()), status: Some(status), limit: 2, ..RunFilter::default() };
        let of_status = runs.iter().rev().filter(|run| run.status == status);
        let expected: Vec<RunSummary> = of_status.map(RunSummary::of).collect();
        same("how many are expected", expected.len(), 3)?;
        same(&format!("the runs of remainder {remainder}"), listed(&ports, filter).await?, expected)?;
        let filter = RunFilter { status: Some(status), limit: 100, ..RunFilter::default() };
        holds("of that status alone", listed(&ports, filter).await?.iter().all(|run| run.status == status))?;
    }
    let none = RunFilter { task: Some(other), status: Some(RunStatus::Failed), limit: 5, ..RunFilter::default() };
    same("of a status that no run has", ports.runs.list(&none).await?.runs, Vec::new())
}

async fn commit_of(ports: &Ports, before: &Run, after: Run) -> Result<Run, PortError> {
    ports.runs.commit(before, &after, &[]).await?;
    Ok(after)
}
