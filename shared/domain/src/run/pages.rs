//! The actions of a run, in pages that are shared until they change.
//!
//! A decision copies a run, changes a few actions and is compared with what it came from: only the pages that
//! changed are copied, and only they are written.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::attempt::ActionState;
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

    /// These pages. A page that another holder shares is copied when an action on it changes.
    pub fn from_shared(pages: Vec<Arc<Page>>) -> Self {
        Self(pages)
    }

    /// The pages, in order, to be shared.
    pub fn shared(&self) -> &[Arc<Page>] {
        &self.0
    }

    /// Puts states that were stored apart from their pages in their places; only the pages that get one stop being
    /// shared. Gives back the first index that is none of these actions.
    pub fn overlay(&mut self, states: impl IntoIterator<Item = (ActionIndex, ActionState)>) -> Result<(), ActionIndex> {
        for (index, state) in states {
            let at = index.as_usize();
            let page = self.0.get_mut(at / ACTIONS_PER_PAGE).ok_or(index)?;
            *Arc::make_mut(page).get_mut(at % ACTIONS_PER_PAGE).ok_or(index)? = state;
        }
        Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;

    fn numbered(revision: u64) -> ActionState {
        ActionState { revision, ..ActionState::default() }
    }

    #[test]
    fn an_overlay_copies_only_the_pages_it_touches() {
        let before = Pages::new(3 * ACTIONS_PER_PAGE + 1);
        let mut after = Pages::from_shared(before.shared().to_vec());
        assert!(after.changed_since(&before).is_empty());
        let places = [0, ACTIONS_PER_PAGE - 1, 3 * ACTIONS_PER_PAGE].map(ActionIndex::from_usize);
        after.overlay(places.map(|place| (place, numbered(7)))).expect("they are all there");
        assert_eq!(after.changed_since(&before), [0, 3]);
        assert!(places.iter().all(|place| *after.get(*place) == numbered(7)));
        assert_eq!(after.iter().filter(|state| **state != ActionState::default()).count(), 3);
        assert_eq!(before, Pages::new(3 * ACTIONS_PER_PAGE + 1), "what was shared is as it was");
    }

    #[test]
    fn an_overlay_of_an_unknown_action_is_refused() {
        let mut pages = Pages::new(ACTIONS_PER_PAGE + 2);
        for place in [ACTIONS_PER_PAGE + 2, 2 * ACTIONS_PER_PAGE] {
            let place = ActionIndex::from_usize(place);
            assert_eq!(pages.overlay([(place, numbered(1))]), Err(place));
        }
    }
}
