//! Finds the runs for the sweeper: due runs, and runs whose last write is a while ago.
//!
//! A run that lives for less than two minutes is never in the index of due runs. When an open run is two minutes old,
//! the sweeper finds it by its submission time and takes it into that index. It stays there, and from then on each
//! commit sets the time of its next wake. So the sweeper finds every open run in one place or the other, and most runs
//! cost it one read.

use futures::stream::{self, StreamExt, TryStreamExt};
use windlass_domain::ids::{RunId, TaskName};
use windlass_domain::run::Run;
use windlass_domain::time::{Millis, Timestamp};
use windlass_engine::ports::{LONGEST_REST, PortError};

use super::RunTable;
use super::layout::whole_minute;
use super::read::readable;
use crate::table::head::{DUE_SHARDS, Head, head_key, run_of, shard, shard_of};
use crate::table::mark::{self, mark_key};
use crate::table::requests::{Expression, Query, Reading};
use crate::table::{
    DUE_AT, DUE_INDEX, DUE_SHARD, Damage, EXPIRES_AT, LIST_KEY, PK, RUNS_INDEX, SUBMITTED_AT, number, read_number, text,
};

/// The shortest and the longest time before a look hands out the same run again. The longer ago its last write, the
/// longer this time.
const NEXT_LOOK: (Millis, Millis) = (Millis(2 * 60_000), Millis(15 * 60_000));
const _: () = assert!(NEXT_LOOK.1.0 as u128 <= LONGEST_REST.as_millis());
/// The age at which the sweeper takes an open run into the index of due runs.
const ADOPTED_AT_MS: i64 = 2 * 60_000;
/// Runs of one task that one look goes through: a look must end within its invocation, and the next goes on from there.
const MAX_LOOKED_AT: usize = 20_000;
/// Runs of one query.
const CHUNK: usize = 1000;
/// How far the index of runs may be behind the table, and how far the clocks of submitters may differ.
const OVERLAP_MS: i64 = 30_000;
/// Requests at a time.
const MAX_REQUESTS: usize = 32;

/// The times by which one look judges runs.
#[derive(Clone, Copy)]
struct Look {
    /// The engine's time: a run whose wake is not later is due.
    now: Timestamp,
    untouched_since: Timestamp,
    /// Runs that were submitted before are old enough for the index of due runs.
    adopted_until: Timestamp,
    /// The later one of `now` and the clock. A run that this look hands out is due again a while after it.
    clock: Timestamp,
}

impl Look {
    /// Whether the sweeper looks for this run.
    fn is_for(&self, head: &Head) -> bool {
        let run = head.bare();
        let due = run.wake_at.is_some_and(|at| at <= self.now);
        !run.status.is_final() && (due || head.committed_at < self.untouched_since)
    }

    /// Where the next look at young runs begins, if this one has seen all of them: a little before its end.
    fn next_from(&self) -> Timestamp {
        Timestamp::from_millis(self.adopted_until.as_millis() - OVERLAP_MS)
    }

    /// When the sweeper must look again at a run that this look handed out. It is soon if the run is due, in case its
    /// wake is never sent.
    fn next(&self, head: &Head) -> Timestamp {
        let is_due = head.bare().wake_at.is_some_and(|at| at <= self.now);
        let age = if is_due { Millis(0) } else { self.clock.since(head.committed_at) };
        let next = self.clock.plus(age.clamp(NEXT_LOOK.0, NEXT_LOOK.1));
        head.bare().wake_at.filter(|at| *at > self.clock).map_or(next, |at| at.min(next))
    }
}

impl RunTable {
    /// Up to `most` open runs that are due, or were last written before `untouched_since`.
    pub(super) async fn look(
        &self,
        now: Timestamp,
        untouched_since: Timestamp,
        most: usize,
    ) -> Result<Vec<RunId>, PortError> {
        let clock = self.clock.now();
        let old_enough = Timestamp::from_millis(clock.as_millis() - ADOPTED_AT_MS);
        let adopted_until = old_enough.max(untouched_since);
        let look = Look { now, untouched_since, adopted_until, clock: now.max(clock) };
        let mut found = self.look_at_due(look, most).await?;
        if found.len() < most {
            found.extend(self.look_at_young(look, most - found.len()).await?);
        }
        Ok(found)
    }

    async fn look_at_due(&self, look: Look, most: usize) -> Result<Vec<RunId>, PortError> {
        // A caller that sets `untouched_since` also wants runs whose wake is still ahead, so the look covers the whole
        // index.
        let is_due_asked = look.untouched_since.as_millis() <= 0;
        let until = if is_due_asked { look.now } else { Timestamp::from_millis(i64::MAX) };
        let shards = (0..DUE_SHARDS).map(|number| self.due_of_shard(shard(number), until, most));
        let found = futures::future::try_join_all(shards).await?.concat();
        let mut handed_out = Vec::new();
        for chunk in found.chunks(100) {
            let heads = self.heads(chunk.to_vec()).await?;
            let heads = heads.into_iter().filter(|head| look.is_for(head)).take(most - handed_out.len());
            let push = |head: Head| async move {
                let pushed = self.push(&head, look.next(&head)).await?;
                Ok::<_, PortError>(pushed.then_some(head.bare().id))
            };
            let pushed: Vec<Option<RunId>> =
                stream::iter(heads.map(push)).buffer_unordered(MAX_REQUESTS).try_collect().await?;
            handed_out.extend(pushed.into_iter().flatten());
            if handed_out.len() >= most {
                break;
            }
        }
        Ok(handed_out)
    }

    async fn due_of_shard(&self, shard: String, until: Timestamp, most: usize) -> Result<Vec<RunId>, PortError> {
        let expression = Expression::names(&[DUE_SHARD, DUE_AT]);
        let expression = expression.value(DUE_SHARD, text(shard)).value(DUE_AT, number(until.as_millis()));
        let key = "#due_shard = :due_shard AND #due_at <= :due_at";
        let query = Query { index: Some(DUE_INDEX), key, expression, ascending: true, limit: None, after: None };
        let items = self.table.query_all(query, most).await?;
        items.iter().map(|item| run_of(item).map_err(|damage| damage.of("a run in the index of what is due"))).collect()
    }

    async fn heads(&self, ids: Vec<RunId>) -> Result<Vec<Head>, PortError> {
        let keys = ids.into_iter().map(head_key).collect();
        Ok(readable(&self.table.get_all(keys, Reading::Eventual).await?))
    }

    /// Sets the time of the next look at a run, unless another writer has changed that time since it was read. The
    /// revision stays as it is, so that a process manager that decides about the run meets no conflict.
    async fn push(&self, head: &Head, next: Timestamp) -> Result<bool, PortError> {
        let id = head.bare().id;
        let expression = Expression::names(&[DUE_SHARD, DUE_AT])
            .value(DUE_SHARD, text(shard_of(id)))
            .value(DUE_AT, number(next.as_millis()))
            .value("seen", number(head.due_at.map_or(0, Timestamp::as_millis)));
        let update = "SET #due_shard = :due_shard, #due_at = :due_at";
        self.table.update(head_key(id), update, "#due_at = :seen", expression).await
    }

    /// Takes a run into the index of due runs, also if its revision has changed since. Does nothing if the run has
    /// ended, or is in the index already with a time that is no later.
    async fn adopt(&self, run: &Run, next: Timestamp) -> Result<(), PortError> {
        let expression = Expression::names(&[DUE_SHARD, DUE_AT, EXPIRES_AT, PK])
            .value(DUE_SHARD, text(shard_of(run.id)))
            .value(DUE_AT, number(next.as_millis()));
        let update = "SET #due_shard = :due_shard, #due_at = :due_at";
        let condition = "attribute_exists(#pk) AND attribute_not_exists(#expires_at) \
                         AND (attribute_not_exists(#due_at) OR #due_at > :due_at)";
        self.table.update(head_key(run.id), update, condition, expression).await?;
        Ok(())
    }

    /// Looks at runs that were submitted since the last time, and are old enough by now.
    async fn look_at_young(&self, look: Look, most: usize) -> Result<Vec<RunId>, PortError> {
        let mark = self.table.get(mark_key(), Reading::Consistent).await?;
        let mark =
            mark.map(|item| mark::decode(&item)).transpose().map_err(|damage| damage.of("the sweeper's mark"))?;
        let from = mark.map_or(Timestamp::from_millis(0), |mark| mark.min(look.adopted_until));
        let tasks = self.tasks_with_runs().await?;
        let of_task = |task: TaskName| self.look_at_task(task, from, look);
        let looks: Vec<(Vec<RunId>, Timestamp)> =
            stream::iter(tasks.into_iter().map(of_task)).buffer_unordered(MAX_REQUESTS).try_collect().await?;
        let reached = looks.iter().map(|(_, reached)| *reached).min().unwrap_or(look.next_from());
        if mark.is_none_or(|mark| mark < reached) {
            self.table.replace(mark::item(reached)).await?;
        }
        let mut found: Vec<RunId> = looks.into_iter().flat_map(|(found, _)| found).collect();
        // The rest is in the index of due runs, and has its turn there.
        found.truncate(most);
        Ok(found)
    }

    /// The stale runs of a task among those submitted since then, and the submission time from which the next look
    /// begins. Every open run before that time is then in the index of due runs.
    async fn look_at_task(
        &self,
        task: TaskName,
        from: Timestamp,
        look: Look,
    ) -> Result<(Vec<RunId>, Timestamp), PortError> {
        let expression = Expression::names(&[LIST_KEY, SUBMITTED_AT])
            .value(LIST_KEY, text(task.as_str()))
            .value("from", number(from.as_millis()))
            .value("until", number(look.adopted_until.as_millis()));
        let key = "#list_key = :list_key AND #submitted_at BETWEEN :from AND :until";
        let limit = Some(CHUNK);
        let mut query = Query { index: Some(RUNS_INDEX), key, expression, ascending: true, limit, after: None };
        let (mut stale, mut looked_at, mut reached) = (Vec::new(), 0, from);
        while looked_at < MAX_LOOKED_AT {
            let page = self.table.query(query.clone()).await?;
            looked_at += page.items.len();
            let damaged = |damage: Damage| damage.of("a run in the index of runs");
            if let Some(last) = page.items.last() {
                reached = Timestamp::from_millis(read_number(last, SUBMITTED_AT).map_err(damaged)?);
            }
            let ids: Vec<RunId> = page.items.iter().map(run_of).collect::<Result<_, _>>().map_err(damaged)?;
            stale.extend(self.adopt_stale(ids, look).await?);
            let Some(next) = page.next else { return Ok((stale, look.next_from())) };
            query.after = Some(next);
        }
        Ok((stale, reached.min(look.next_from())))
    }

    /// Puts the open ones of these runs into the index of due runs; gives the stale ones.
    async fn adopt_stale(&self, ids: Vec<RunId>, look: Look) -> Result<Vec<RunId>, PortError> {
        let open = self.heads(ids).await?.into_iter().filter(|head| !head.bare().status.is_final());
        let adopt = |head: Head| async move {
            let is_stale = look.is_for(&head);
            let wake = head.bare().wake_at.map(whole_minute);
            let Some(next) = (if is_stale { Some(look.next(&head)) } else { wake }) else { return Ok(None) };
            if head.due_at.is_some_and(|due_at| due_at <= next) {
                return Ok(None);
            }
            self.adopt(head.bare(), next).await?;
            Ok::<_, PortError>(is_stale.then_some(head.bare().id))
        };
        let stale: Vec<Option<RunId>> =
            stream::iter(open.map(adopt)).buffer_unordered(MAX_REQUESTS).try_collect().await?;
        Ok(stale.into_iter().flatten().collect())
    }
}

#[cfg(test)]
mod tests;
