//! Values that stand apart from their record: a host stores each once, and reads it when it is asked to.

use serde_json::Value;
use windlass_domain::caller::Caller;
use windlass_domain::content::{Place, Wanted};
use windlass_domain::ids::ActionIndex;
use windlass_domain::run::{ErrorInfo, FactKind, Run, RunStatus};
use windlass_engine::Ports;

use super::large::succeeded;
use super::steps::{changed, fresh_run, fresh_task, load, queued};
use crate::conformance::{Fault, Timing, Verdict, conflicts, holds, same, some};

/// A text of so many bytes, as JSON two more.
fn text(of: usize, bytes: usize) -> Value {
    let letter = |at: usize| char::from(b'a' + u8::try_from((at * at + of) % 26).unwrap_or(0));
    (0..bytes).map(letter).collect::<String>().into()
}

fn output(action: usize) -> Place {
    Place::Output(ActionIndex::from_usize(action))
}

/// The value of a place of a record that was read; it is loaded if it stands apart.
async fn read(ports: &Ports, run: &mut Run, place: Place) -> Result<Value, Fault> {
    if run.lacks(place) {
        ports.runs.fill(run, &Wanted::from([place])).await?;
    }
    some("the value", run.value(place).cloned())
}

/// Values of any size that is allowed, also those of errors and of the run as a whole.
pub(super) async fn large_values_are_read_as_they_were_committed(ports: Ports, _: Timing) -> Verdict {
    let mut run = fresh_run(&ports, &fresh_task(), 4);
    let input = text(1, 100_000);
    run.input = run.values.hold(input.clone());
    ports.runs.create(&run, &[], &[]).await?;
    let mut found = load(&ports, run.id).await?;
    same("the run", &found, &run)?;
    holds("its input is not loaded", found.lacks(Place::Input))?;
    same("its input", read(&ports, &mut found, Place::Input).await?, input)?;
    for (action, bytes) in [100, 1022, 1023, 120_000].into_iter().enumerate() {
        let after = queued(&run, ports.clock.now(), action);
        ports.runs.commit(&run, &after, &[]).await?;
        run = succeeded(&after, ports.clock.now(), &[action], &text(action, bytes));
        ports.runs.commit(&after, &run, &[]).await?;
        let mut found = load(&ports, run.id).await?;
        same("the run", &found, &run)?;
        same("whether its output stands apart", found.lacks(output(action)), bytes > 1022)?;
        same("the output", read(&ports, &mut found, output(action)).await?, text(action, bytes))?;
    }
    let (status, output) = (RunStatus::Failed, Some(text(7, 100_000)));
    let error = ErrorInfo::new("exit.1", text(8, 8000).to_string());
    let last = FactKind::RunFinished { status, output, error: Some(error) };
    let after = changed(&run, ports.clock.now(), vec![last]);
    ports.runs.commit(&run, &after, &[]).await?;
    same("the run", load(&ports, run.id).await?, after)
}

/// A process that has not loaded a value commits other changes: the value stays.
pub(super) async fn values_are_stored_once_and_stay(ports: Ports, _: Timing) -> Verdict {
    let run = fresh_run(&ports, &fresh_task(), 130);
    ports.runs.create(&run, &[], &[]).await?;
    let mut before = run;
    for action in [0, 1, 64, 129] {
        let now = ports.clock.now();
        let after = succeeded(&queued(&before, now, action), now, &[action], &text(action, 5000));
        let after = Run { revision: before.revision + 1, ..after };
        ports.runs.commit(&before, &after, &[]).await?;
        before = load(&ports, after.id).await?;
        holds("it is not loaded", before.lacks(output(action)))?;
    }
    let all = [0, 1, 64, 129].map(output);
    ports.runs.fill(&mut before, &Wanted::from(all)).await?;
    for action in [0, 1, 64, 129] {
        same("the value", before.value(output(action)), Some(&text(action, 5000)))?;
    }
    let again = load(&ports, before.id).await?;
    holds("who reads the record gets no value with it", all.iter().all(|place| again.lacks(*place)))
}

/// An action that was taken up again has another output. The record before it is filled with the value that it had, or not at
/// all.
pub(super) async fn values_of_an_old_record_are_its_own_or_none(ports: Ports, _: Timing) -> Verdict {
    let run = fresh_run(&ports, &fresh_task(), 1);
    ports.runs.create(&run, &[], &[]).await?;
    let now = ports.clock.now();
    let first = Run { revision: 1, ..succeeded(&queued(&run, now, 0), now, &[0], &text(1, 3000)) };
    ports.runs.commit(&run, &first, &[]).await?;
    let mut old = load(&ports, run.id).await?;
    let (actions, caller) = (vec![ActionIndex(0)], Caller::default());
    let retried = changed(&first, now, vec![FactKind::RunRetried { deadline: None, actions, caller }]);
    let second = Run { revision: 2, ..succeeded(&queued(&retried, now, 0), now, &[0], &text(2, 3000)) };
    ports.runs.commit(&first, &second, &[]).await?;
    match ports.runs.fill(&mut old, &Wanted::from([output(0)])).await {
        Ok(()) => same("the old value", old.value(output(0)), Some(&text(1, 3000)))?,
        Err(error) => holds("it says that the record is an old one", error.is_conflict())?,
    }
    let mut found = load(&ports, run.id).await?;
    same("the later value", read(&ports, &mut found, output(0)).await?, text(2, 3000))
}

pub(super) async fn lost_commit_keeps_no_value(ports: Ports, _: Timing) -> Verdict {
    let run = fresh_run(&ports, &fresh_task(), 1);
    ports.runs.create(&run, &[], &[]).await?;
    let now = ports.clock.now();
    let of = |number| Run { revision: 1, ..succeeded(&queued(&run, now, 0), now, &[0], &text(number, 3000)) };
    let (winner, loser) = (of(1), of(2));
    ports.runs.commit(&run, &winner, &[]).await?;
    conflicts("the loser", ports.runs.commit(&run, &loser, &[]).await)?;
    let mut found = load(&ports, run.id).await?;
    same("the value", read(&ports, &mut found, output(0)).await?, text(1, 3000))
}
