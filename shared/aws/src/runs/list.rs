//! Lists of runs, the newest first: the runs of a task from the index, those of all tasks merged.
//!
//! The order is by when a run was submitted, then by its task, then as the index has them. A cursor is the place of the
//! last run that a page looked at in this order. So runs that come in between move nothing. An index follows the table
//! within a second or so (<https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/GSI.html>), and so does the
//! list.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};

use aws_smithy_types::base64;
use futures::stream::{self, StreamExt, TryStreamExt};
use serde_json::json;
use windlass_contract::view::RunSummary;
use windlass_domain::ids::{RunId, TaskName};
use windlass_domain::limits::MAX_LISTED;
use windlass_engine::ports::{ErrorClass, PortError, RunFilter, RunPage};

use super::RunTable;
use super::read::readable;
use crate::table::head::{head_key, run_of};
use crate::table::requests::{Expression, Query, Reading};
use crate::table::{
    Damage, Item, LIST_KEY, PK, RUNS_INDEX, SUBMITTED_AT, list as list_item, number, read_number, text,
};

/// No list gave this cursor.
const CURSOR: &str = "WL0315";
/// Runs that one call looks at. A call that filters by status may give fewer than asked for, and a cursor.
const MAX_LOOKED_AT: usize = 1000;
/// Runs of one query, if the list is of one task.
const CHUNK_OF_ONE: usize = 100;
/// Runs of one query when a page merges several tasks; most of them add none.
const CHUNK_OF_MANY: usize = 16;
/// Queries at a time.
const MAX_REQUESTS: usize = 32;

/// A run's place in the order.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    submitted_at: i64,
    task: TaskName,
    id: RunId,
}

impl Place {
    fn read(item: &Item) -> Result<Self, Damage> {
        let task = crate::table::read_text(item, LIST_KEY)?;
        Ok(Self {
            submitted_at: read_number(item, SUBMITTED_AT)?,
            task: TaskName::new(task).map_err(Damage::broken)?,
            id: run_of(item)?,
        })
    }

    /// The key of the run in the index.
    fn index_key(&self) -> Item {
        let mut key = head_key(self.id);
        key.insert(LIST_KEY.to_owned(), text(self.task.as_str()));
        key.insert(SUBMITTED_AT.to_owned(), number(self.submitted_at));
        key
    }

    fn to_cursor(&self) -> String {
        base64::encode(json!([1, self.submitted_at, self.task, self.id]).to_string())
    }

    fn from_cursor(cursor: &str) -> Option<Self> {
        let cursor: (u8, i64, TaskName, RunId) = serde_json::from_slice(&base64::decode(cursor).ok()?).ok()?;
        (cursor.0 == 1).then_some(Self { submitted_at: cursor.1, task: cursor.2, id: cursor.3 })
    }
}

/// The runs of one task, read as they are needed.
struct Stream {
    ahead: VecDeque<Place>,
    /// Where the next query goes on; none: there is nothing more.
    next: Option<Query>,
}

impl RunTable {
    pub(super) async fn list_page(&self, filter: &RunFilter) -> Result<RunPage, PortError> {
        let limit = filter.limit.clamp(1, MAX_LISTED);
        let after = filter.cursor.as_deref().map(read_cursor).transpose()?;
        let tasks = match &filter.task {
            Some(task) => vec![task.clone()],
            None => self.tasks_with_runs().await?,
        };
        let chunk = if tasks.len() > 1 { CHUNK_OF_MANY } else { (limit + 1).min(CHUNK_OF_ONE) };
        let streams = tasks.into_iter().map(|task| {
            let query = query_of(&task, after.as_ref(), chunk);
            (task, Stream { ahead: VecDeque::new(), next: Some(query) })
        });
        let mut merge = Merge { list: self, streams: streams.collect(), heads: BinaryHeap::new() };
        merge.begin().await?;
        self.fill_page(filter, limit, &mut merge).await
    }

    /// Looks at one run after the other until the page is full, or there is no further one.
    async fn fill_page(&self, filter: &RunFilter, limit: usize, merge: &mut Merge<'_>) -> Result<RunPage, PortError> {
        let (mut runs, mut last, mut looked_at) = (Vec::new(), None, 0);
        while looked_at < MAX_LOOKED_AT {
            let places = merge.take((limit - runs.len()).min(MAX_LOOKED_AT - looked_at)).await?;
            looked_at += places.len();
            let mut summaries = self.summaries(&places).await?;
            // A run that only the index still has is expired.
            let found = places.iter().filter_map(|place| summaries.remove(&place.id));
            runs.extend(found.filter(|run| filter.status.is_none_or(|status| run.status == status)));
            last = places.into_iter().next_back().or(last);
            if merge.heads.is_empty() {
                return Ok(RunPage { runs, next: None });
            }
            if runs.len() >= limit {
                break;
            }
        }
        Ok(RunPage { runs, next: last.map(|last| last.to_cursor()) })
    }

    async fn summaries(&self, places: &[Place]) -> Result<BTreeMap<RunId, RunSummary>, PortError> {
        let keys = places.iter().map(|place| head_key(place.id)).collect();
        let items = self.table.get_all(keys, Reading::Eventual).await?;
        let heads = readable(&items);
        let kept = heads.iter().filter(|head| !self.is_over(head.expires_at));
        Ok(kept.map(|head| (head.bare().id, RunSummary::of(head.bare()))).collect())
    }

    /// Every task that has, or had, runs.
    pub(super) async fn tasks_with_runs(&self) -> Result<Vec<TaskName>, PortError> {
        let query = Query {
            index: None,
            key: "#pk = :pk",
            expression: Expression::names(&[PK]).value(PK, text(list_item::PARTITION)),
            ascending: true,
            limit: None,
            after: None,
        };
        let items = self.table.query_all(query, usize::MAX).await?;
        let decode = |item: &Item| list_item::decode(item).map_err(|damage| damage.of("the list of lists"));
        items.iter().map(decode).collect()
    }
}

/// The runs of a task after that place of the order.
fn query_of(task: &TaskName, after: Option<&Place>, limit: usize) -> Query {
    let of_task = Expression::names(&[LIST_KEY]).value(LIST_KEY, text(task.as_str()));
    let (key, expression, after) = match after {
        None => ("#list_key = :list_key", of_task, None),
        Some(after) if after.task == *task => ("#list_key = :list_key", of_task, Some(after.index_key())),
        Some(after) => {
            let mut expression = Expression::names(&[LIST_KEY, SUBMITTED_AT]);
            expression = expression.value(LIST_KEY, text(task.as_str()));
            let expression = expression.value(SUBMITTED_AT, number(after.submitted_at));
            // Of one millisecond, tasks come in the order of their names.
            let key = if *task < after.task {
                "#list_key = :list_key AND #submitted_at < :submitted_at"
            } else {
                "#list_key = :list_key AND #submitted_at <= :submitted_at"
            };
            (key, expression, None)
        }
    };
    Query { index: Some(RUNS_INDEX), key, expression, ascending: false, limit: Some(limit), after }
}

fn read_cursor(cursor: &str) -> Result<Place, PortError> {
    let unknown = || PortError::new(ErrorClass::Reject, CURSOR, "read the cursor of a list of runs: no list gave it");
    Place::from_cursor(cursor).ok_or_else(unknown)
}

/// The runs of several tasks in one order.
struct Merge<'a> {
    list: &'a RunTable,
    streams: BTreeMap<TaskName, Stream>,
    /// The next run of each task that has a further one.
    heads: BinaryHeap<(i64, Reverse<TaskName>)>,
}

impl Merge<'_> {
    async fn begin(&mut self) -> Result<(), PortError> {
        let list = self.list;
        let streams = std::mem::take(&mut self.streams);
        let begun = streams.into_iter().map(|(task, mut stream)| async move {
            list.read_ahead(&mut stream).await?;
            Ok::<_, PortError>((task, stream))
        });
        self.streams = stream::iter(begun).buffer_unordered(MAX_REQUESTS).try_collect().await?;
        for (task, stream) in &self.streams {
            self.heads.extend(stream.ahead.front().map(|place| (place.submitted_at, Reverse(task.clone()))));
        }
        Ok(())
    }

    /// The next runs, at most so many.
    async fn take(&mut self, most: usize) -> Result<Vec<Place>, PortError> {
        let mut taken = Vec::new();
        while taken.len() < most
            && let Some((_, Reverse(task))) = self.heads.pop()
        {
            let Some(stream) = self.streams.get_mut(&task) else { continue };
            taken.extend(stream.ahead.pop_front());
            self.list.read_ahead(stream).await?;
            self.heads.extend(stream.ahead.front().map(|place| (place.submitted_at, Reverse(task))));
        }
        Ok(taken)
    }
}

impl RunTable {
    /// Reads on, if none of the read runs is left.
    async fn read_ahead(&self, stream: &mut Stream) -> Result<(), PortError> {
        while stream.ahead.is_empty()
            && let Some(query) = stream.next.take()
        {
            let page = self.table.query(query.clone()).await?;
            let place = |item: &Item| Place::read(item).map_err(|damage| damage.of("a run in the index of runs"));
            stream.ahead = page.items.iter().map(place).collect::<Result<_, _>>()?;
            stream.next = page.next.map(|next| Query { after: Some(next), ..query });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn cursor_round_trips() {
        let place = Place {
            submitted_at: 1_764_000_123_456,
            task: TaskName::new("nightly-report").unwrap(),
            id: RunId::from_uuid(Uuid::from_u128(7)),
        };
        assert_eq!(Place::from_cursor(&place.to_cursor()), Some(place));
        for other in ["", "r1f", "WzIsMCwieCIsMF0=", "ž"] {
            assert_eq!(read_cursor(other).unwrap_err().class, ErrorClass::Reject, "{other}");
        }
    }
}
