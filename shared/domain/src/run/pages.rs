//! The actions of a run, in pages that are shared until they change.
//!
//! A decision copies a run, changes a few actions and is compared with what it came from: only the pages that
//! changed are copied, and only they are written.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::record::ActionState;
use crate::ids::ActionIndex;
use crate::limits::ACTIONS_PER_PAGE;

/// Up to [`ACTIONS_PER_PAGE`] neighbouring actions.
pub type Page = Vec<ActionState>;

/// Every action's state, by index.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Pages(Vec<Arc<Page>>);

impl Pages {
    /// That many actions, all waiting.
    pub fn new(actions: usize) -> Self {
        let full = Arc::new(vec![ActionState::default(); ACTIONS_PER_PAGE]);
        let mut pages = vec![full; actions / ACTIONS_PER_PAGE];
        let rest = actions % ACTIONS_PER_PAGE;
        if rest > 0 {
            pages.push(Arc::new(vec![ActionState::default(); rest]));
        }
        Self(pages)
    }

    /// The pages as they were read.
    pub fn from_pages(pages: Vec<Page>) -> Self {
        Self(pages.into_iter().map(Arc::new).collect())
    }

    /// The state of one action.
    ///
    /// # Panics
    /// If there is no such action: an index of another definition.
    pub fn get(&self, index: ActionIndex) -> &ActionState {
        let at = index.as_usize();
        &self.0[at / ACTIONS_PER_PAGE][at % ACTIONS_PER_PAGE]
    }

    /// The state of one action, to be changed; its page stops being shared.
    pub(crate) fn get_mut(&mut self, index: ActionIndex) -> &mut ActionState {
        let at = index.as_usize();
        &mut Arc::make_mut(&mut self.0[at / ACTIONS_PER_PAGE])[at % ACTIONS_PER_PAGE]
    }

    /// How many actions there are.
    pub fn len(&self) -> usize {
        self.0.iter().map(|page| page.len()).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Every action's state, in order.
    pub fn iter(&self) -> impl Iterator<Item = &ActionState> {
        self.0.iter().flat_map(|page| page.iter())
    }

    /// The pages, in order.
    pub fn pages(&self) -> impl ExactSizeIterator<Item = &Page> {
        self.0.iter().map(AsRef::as_ref)
    }

    /// The numbers of the pages that are not the same as in `before`.
    pub fn changed_since(&self, before: &Self) -> Vec<usize> {
        let same = |at: usize, page: &Arc<Page>| before.0.get(at).is_some_and(|old| Arc::ptr_eq(old, page));
        self.0.iter().enumerate().filter(|(at, page)| !same(*at, page)).map(|(at, _)| at).collect()
    }
}
