//! Writes a run: payloads and pages first, then the head, whose condition alone decides which writer wins.

use std::sync::Arc;

use futures::stream::{self, StreamExt, TryStreamExt};
use windlass_domain::run::{Page, Pages, Run};
use windlass_domain::time::Timestamp;
use windlass_engine::ports::PortError;

use super::layout::{Layout, columns, differing, due_at};
use super::{Known, RunTable};
use crate::meter::item_size::item_bytes;
use crate::table::columns::Columns;
use crate::table::head::{Beside, encode, head_key, subject};
use crate::table::held::Outgoing;
use crate::table::page::{self, page_key};
use crate::table::place::{Place, SLOTS};
use crate::table::requests::{Expression, Put};
use crate::table::{Damage, EXPIRES_AT, GENERATION, PK, REVISION, number};

/// By how much its pages outlive its head, in seconds: `DynamoDB` deletes within a few days of the time that is set
/// (<https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/TTL.html>), and a head without its pages could
/// not be read.
const PAGES_OUTLIVE_SECS: i64 = 7 * 86_400;
/// Pages that are written at a time.
const MAX_REQUESTS: usize = 16;

impl RunTable {
    /// Writes the run over `before`, or as a new run. False if another writer was faster.
    pub(super) async fn write(&self, before: Option<&Known>, after: &Run) -> Result<bool, PortError> {
        let now = self.clock.now();
        let (none, empty) = (Layout::default(), Pages::new(after.actions.len()));
        let (layout, actions) = before.map_or((&none, &empty), |known| (&known.layout, &known.run.actions));
        // `DynamoDB` may delete the pages of a run that had ended, so a run that goes on gets new ones.
        let reopened = before.is_some_and(|known| known.run.status.is_final()) && !after.status.is_final();
        let beside = |layout: &Layout, recent: Columns| Beside {
            directory: layout.directory(),
            recent,
            committed_at: now,
            due_at: due_at(after, now),
            expires_at: after.expires_at(self.retention).map(in_seconds),
        };
        let mut outgoing = fresh(before.map(|known| &known.run), after)?;
        let bare = encode(after, beside(layout, Columns::default()), &mut outgoing);
        let plan = layout.plan(after, differing(actions, &after.actions), reopened, item_bytes(&bare));
        let Some(pages) = self.write_pages(layout, after, &plan.pages, &mut outgoing).await? else {
            self.pass_revision(before).await?;
            return Ok(false);
        };
        let written = Layout { pages, recent: plan.recent };
        let recent = columns(after, &written.recent, &mut outgoing);
        let item = encode(after, beside(&written, recent), &mut outgoing);
        self.payloads.put(outgoing).await?;
        let put = match before {
            None => {
                // `DynamoDB` deletes an item some time after it has expired; until then readers ignore it.
                let expired = Expression::names(&[PK, EXPIRES_AT]).value(EXPIRES_AT, number(now.as_millis() / 1000));
                self.table.put(item, "attribute_not_exists(#pk) OR #expires_at <= :expires_at", expired).await?
            }
            Some(known) => {
                let expected = Expression::names(&[REVISION]).value(REVISION, number(known.run.revision));
                self.table.put(item, "#r = :r", expected).await?
            }
        };
        match put {
            Put::Refused => Ok(false),
            Put::Done => {
                let known = self.keep(Known { run: after.clone().bare(), layout: written });
                if after.status.is_final() {
                    self.expire_pages(&known, after.expires_at(self.retention)).await;
                }
                Ok(true)
            }
        }
    }

    /// Writes pages beside those that the head names; gives the places of all pages. None: other writers are at the
    /// same revision and have taken every slot.
    async fn write_pages(
        &self,
        layout: &Layout,
        run: &Run,
        numbers: &[usize],
        outgoing: &mut Outgoing,
    ) -> Result<Option<Vec<Option<(Place, Arc<Page>)>>>, PortError> {
        let mut pages = layout.pages.clone();
        pages.resize(run.actions.shared().len(), None);
        let writes = numbers.iter().map(|at| {
            let body = page::encode(&run.actions.shared()[*at], run.submitted_at, outgoing);
            (*at, pages[*at].as_ref().map(|(place, _)| *place), body)
        });
        let writes: Vec<_> = writes.collect();
        let write =
            |(at, taken, body)| async move { Ok::<_, PortError>((at, self.write_page(run, at, taken, body).await?)) };
        let written: Vec<(usize, Option<Place>)> =
            stream::iter(writes.into_iter().map(write)).buffer_unordered(MAX_REQUESTS).try_collect().await?;
        for (at, place) in written {
            let Some(place) = place else { return Ok(None) };
            pages[at] = Some((place, run.actions.shared()[at].clone()));
        }
        Ok(Some(pages))
    }

    /// Takes the head one revision on and changes nothing else. Writers that died may have taken every slot of the next
    /// revision; at the one after that all slots are free again. A writer that still works at this revision meets a
    /// conflict and decides again.
    async fn pass_revision(&self, before: Option<&Known>) -> Result<(), PortError> {
        const NEXT: &str = "next";
        let Some(known) = before else { return Ok(()) };
        let revision = known.run.revision;
        tracing::warn!(run.id = %known.run.id, revision, "every slot of a page is taken; the run goes on at the next revision");
        let expression =
            Expression::names(&[REVISION]).value(REVISION, number(revision)).value(NEXT, number(revision + 1));
        self.table.update(head_key(known.run.id), "SET #r = :next", "#r = :r", expression).await.map(drop)
    }

    /// Writes a page into a slot that the head does not name, unless something as late stands there.
    async fn write_page(
        &self,
        run: &Run,
        at: usize,
        taken: Option<Place>,
        body: aws_sdk_dynamodb::primitives::Blob,
    ) -> Result<Option<Place>, PortError> {
        let generation = run.revision + 1;
        for slot in (0..SLOTS).filter(|slot| taken.is_none_or(|taken| taken.slot != *slot)) {
            let place = Place { slot, generation };
            let item = page::item(run.id, at, place, body.clone());
            // A page that expires is of a run that has ended: this run may be a later one with the same id.
            let earlier = Expression::names(&[GENERATION, EXPIRES_AT]).value(GENERATION, number(generation));
            let condition = "attribute_not_exists(#g) OR #g < :g OR attribute_exists(#expires_at)";
            match self.table.put(item, condition, earlier).await? {
                Put::Done => return Ok(Some(place)),
                Put::Refused => {}
            }
        }
        Ok(None)
    }

    /// Lets `DynamoDB` delete the pages of a run that has ended, some time after its head. If this fails, the pages
    /// stay behind and do no harm.
    async fn expire_pages(&self, known: &Known, head_expires_at: Option<Timestamp>) {
        let Some(head_expires_at) = head_expires_at else { return };
        let expires_at = in_seconds(head_expires_at) + PAGES_OUTLIVE_SECS;
        let pages = known.layout.pages.iter().enumerate().filter_map(|(at, page)| Some((at, page.as_ref()?.0.slot)));
        // The other slot holds the page's last version.
        let keys = pages.flat_map(|(at, slot)| {
            let beside = u8::from(slot == 0);
            [slot, beside].map(|slot| page_key(known.run.id, at, slot))
        });
        // If a caller retries the run in the meantime, its new pages are of a later generation, and stay.
        let expire = |key| {
            let expression = Expression::names(&[EXPIRES_AT, GENERATION])
                .value(EXPIRES_AT, number(expires_at))
                .value(GENERATION, number(known.run.revision + 1));
            self.table.update(key, "SET #expires_at = :expires_at", "#g <= :g", expression)
        };
        let keys: Vec<_> = keys.collect();
        let expired = stream::iter(keys.into_iter().map(expire)).buffer_unordered(MAX_REQUESTS);
        let expired = expired.try_for_each(|_| std::future::ready(Ok(()))).await;
        if let Err(error) = expired {
            tracing::warn!(run.id = %known.run.id, error = %error, "failed to let pages expire; they stay behind");
        }
    }
}

/// The values of the references that are new to a record: its payloads must be there before it is.
fn fresh(before: Option<&Run>, after: &Run) -> Result<Outgoing, PortError> {
    let mut outgoing = Outgoing::default();
    for (place, apart) in after.apart_since(before) {
        let value = after.value(place).ok_or_else(|| {
            Damage::broken(format_args!("the value that {place:?} refers to is not in memory")).of(subject(after.id))
        })?;
        outgoing.0.insert(apart.digest, value.to_string());
    }
    Ok(outgoing)
}

/// Seconds since the epoch, as the table's time to live counts.
fn in_seconds(at: Timestamp) -> i64 {
    at.as_millis().div_euclid(1000)
}
