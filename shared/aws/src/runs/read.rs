//! Reading a run: its head, and those of its pages that are not in memory.

use std::sync::Arc;

use windlass_domain::content::Content;
use windlass_domain::ids::RunId;
use windlass_domain::limits::ACTIONS_PER_PAGE;
use windlass_domain::run::{Page, Pages, Run};
use windlass_engine::ports::PortError;

use super::layout::Layout;
use super::{Known, RunTable};
use crate::table::columns::Read;
use crate::table::head::{Head, decode, head_key, run_of, subject};
use crate::table::page::{decode as decode_page, fill, generation, page_key, sort};
use crate::table::place::Place;
use crate::table::requests::Reading;
use crate::table::{Damage, EXPIRES_AT, Item, REVISION, SK, SUBMITTED_AT, read_number, read_optional, read_text};

/// How often a load reads a head again because its pages were replaced meanwhile.
const MAX_ROUNDS: usize = 8;

/// A page that must be read: its number and where it is.
type Wanted = (usize, Place);

impl RunTable {
    /// The run, and where its states stand.
    pub(super) async fn read(&self, id: RunId, mut reading: Reading) -> Result<Option<Arc<Known>>, PortError> {
        for _ in 0..MAX_ROUNDS {
            let Some(item) = self.table.get(head_key(id), reading).await? else { return Ok(None) };
            let revision: u64 = read_number(&item, REVISION).map_err(|damage| damage.of(subject(id)))?;
            // An id comes again when its key is used again after the run has expired.
            let submitted_at: i64 = read_number(&item, SUBMITTED_AT).map_err(|damage| damage.of(subject(id)))?;
            if self.is_over(read_optional(&item, EXPIRES_AT).map_err(|damage| damage.of(subject(id)))?) {
                return Ok(None);
            }
            let known = self.known.get(id).filter(|known| known.run.submitted_at.as_millis() == submitted_at);
            if let Some(known) = known.as_ref().filter(|known| known.run.revision >= revision) {
                // A revision is written once. A known run is never older than the last acknowledged write.
                return Ok(Some(known.clone()));
            }
            let head = decode(&item).map_err(|damage| damage.of(subject(id)))?;
            if let Some(read) = self.assemble(id, head, known.as_deref()).await? {
                return Ok(Some(self.keep(read)));
            }
            reading = Reading::Consistent;
        }
        Err(Damage::broken("a page that its head names is not there").of(subject(id)))
    }

    /// Whether the time of a head is over: `DynamoDB` deletes it some time later, and nobody sees it meanwhile.
    pub(super) fn is_over(&self, expires_at: Option<i64>) -> bool {
        expires_at.is_some_and(|at| at <= self.clock.now().as_millis() / 1000)
    }

    /// Puts a run together; none if a page has been replaced in the meantime.
    async fn assemble(&self, id: RunId, head: Head, known: Option<&Known>) -> Result<Option<Known>, PortError> {
        let of = |damage: Damage| damage.of(subject(id));
        let base = Pages::new(head.actions);
        let wanted = wanted(&head, known).map_err(of)?;
        let Some(read) = self.read_pages(id, &wanted, &head).await? else { return Ok(None) };
        let references = read.iter().flat_map(|(_, page)| page.references()).chain(head.references());
        let incoming = self.payloads.get(references.collect::<Vec<_>>().into_iter()).await?;
        let mut pages: Vec<Option<(Place, Arc<Page>)>> = vec![None; base.shared().len()];
        for (number, place) in head.directory.iter().enumerate() {
            pages[number] = place.and_then(|place| known_page(known, number, place).map(|page| (place, page)));
        }
        for ((number, place), page) in read {
            let states = base.shared()[number].len();
            pages[number] = Some((place, Arc::new(fill(page, states, &incoming).map_err(of)?)));
        }
        let under = pages.iter().zip(base.shared());
        let under = under.map(|(page, base)| page.as_ref().map_or_else(|| base.clone(), |(_, page)| page.clone()));
        let (run, recent) = head.fill(Pages::from_shared(under.collect()), &incoming).map_err(of)?;
        Ok(Some(Known { run, layout: Layout { pages, recent: recent.into_iter().collect() } }))
    }

    /// The pages, without their values in S3; none if another commit has replaced one meanwhile.
    async fn read_pages(
        &self,
        id: RunId,
        wanted: &[Wanted],
        head: &Head,
    ) -> Result<Option<Vec<(Wanted, Read)>>, PortError> {
        let (mut read, mut left) = (Vec::with_capacity(wanted.len()), wanted.to_vec());
        // A page never changes once it is written. An old answer lacks it, or has an earlier generation.
        for reading in [Reading::Eventual, Reading::Consistent] {
            let keys = left.iter().map(|(number, place)| page_key(id, *number, place.slot)).collect();
            let items = self.table.get_all(keys, reading).await?;
            let of = |damage: Damage| damage.of(format_args!("a page of {}", subject(id)));
            for item in &items {
                let found = take(&mut left, item).map_err(of)?;
                if let Some(wanted) = found {
                    read.push((wanted, decode_page(item, head.bare().submitted_at).map_err(of)?));
                }
            }
            if left.is_empty() {
                return Ok(Some(read));
            }
        }
        Ok(None)
    }

    /// Keeps the read or written run, unless a later one is kept; gives the kept one.
    pub(super) fn keep(&self, known: Known) -> Arc<Known> {
        let (id, revision, bytes) = (known.run.id, known.run.revision, known.bytes());
        let known = Arc::new(known);
        let submitted_at = known.run.submitted_at;
        let is_later = |there: &Arc<Known>| there.run.submitted_at >= submitted_at && there.run.revision > revision;
        self.known.put_unless(id, known.clone(), bytes, is_later);
        known
    }
}

/// The heads among items that were read in a batch. This logs an unreadable head and leaves it out, so that lists and
/// the sweeper go on for all other runs. A caller that loads that run gets the error.
pub(super) fn readable(items: &[Item]) -> Vec<Head> {
    let read = |item: &Item| {
        let subject = run_of(item).map_or_else(|_| "a run".to_owned(), subject);
        let head = decode(item).map_err(|damage| damage.of(subject));
        head.inspect_err(|error| tracing::error!(error.code = error.code, error = %error, "left out a run")).ok()
    };
    items.iter().filter_map(read).collect()
}

/// The pages that are not known.
fn wanted(head: &Head, known: Option<&Known>) -> Result<Vec<Wanted>, Damage> {
    if head.directory.len() > head.actions.div_ceil(ACTIONS_PER_PAGE) {
        return Err(Damage::broken(format_args!("it has {} pages of {} actions", head.directory.len(), head.actions)));
    }
    let places = head.directory.iter().enumerate().filter_map(|(number, place)| Some((number, (*place)?)));
    Ok(places.filter(|(number, place)| known_page(known, *number, *place).is_none()).collect())
}

fn known_page(known: Option<&Known>, number: usize, place: Place) -> Option<Arc<Page>> {
    let (there, page) = known?.layout.pages.get(number)?.as_ref()?;
    (*there == place).then(|| page.clone())
}

/// The number of the page, if the item has the right generation; takes the page off the list.
fn take(left: &mut Vec<Wanted>, item: &Item) -> Result<Option<Wanted>, Damage> {
    let (key, generation) = (read_text(item, SK)?, generation(item)?);
    let is = |(number, place): &Wanted| place.generation == generation && key == sort(*number, place.slot);
    let Some(at) = left.iter().position(is) else { return Ok(None) };
    Ok(Some(left.swap_remove(at)))
}

impl Known {
    /// About the bytes that it takes in memory.
    fn bytes(&self) -> usize {
        let of_states =
            |page: &Arc<Page>| page.iter().map(|state| state.output.as_ref().map_or(0, held_bytes)).sum::<usize>();
        let pages: usize = self.run.actions.shared().iter().map(of_states).sum();
        let states = self.run.actions.len() * size_of::<windlass_domain::run::ActionState>();
        size_of::<Run>() + held_bytes(&self.run.input) + states + pages
    }
}

fn held_bytes(held: &Content) -> usize {
    match held {
        Content::Here(value) => value_bytes(value),
        Content::Apart(_) => size_of::<Content>(),
    }
}

fn value_bytes(value: &serde_json::Value) -> usize {
    use serde_json::Value::{Array, Bool, Null, Number, Object, String};
    size_of::<serde_json::Value>()
        + match value {
            Null | Bool(_) | Number(_) => 0,
            String(text) => text.len(),
            Array(values) => values.iter().map(value_bytes).sum(),
            Object(fields) => fields.iter().map(|(name, value)| 48 + name.len() + value_bytes(value)).sum(),
        }
}
