//! The actions of a run, in pages of a fixed size.

use windlass_domain::ids::ActionIndex;
use windlass_domain::limits::ACTIONS_PER_PAGE;
use windlass_domain::run::{ActionState, Pages};

#[test]
fn pages_hold_as_many_actions_as_there_are() {
    for (actions, pages) in [
        (0, 0),
        (1, 1),
        (ACTIONS_PER_PAGE - 1, 1),
        (ACTIONS_PER_PAGE, 1),
        (ACTIONS_PER_PAGE + 1, 2),
        (3 * ACTIONS_PER_PAGE, 3),
    ] {
        let all = Pages::new(actions);
        assert_eq!((all.len(), all.is_empty(), all.pages().len()), (actions, actions == 0, pages));
        assert!(all.pages().all(|page| page.len() <= ACTIONS_PER_PAGE));
        assert_eq!(all.iter().count(), actions);
        for at in 0..actions {
            assert_eq!(all.get(ActionIndex::from_usize(at)), &ActionState::default());
        }
    }
}
