//! Errors of the process manager's own, in words.

use super::draft::Draft;
use crate::attempt::{ActionState, ActionStatus, ErrorInfo};
use crate::ids::ActionIndex;
use crate::time::Timestamp;

/// Names the actions that failed the run: the first few, and how many more there are.
pub(super) fn failure(draft: &Draft<'_>) -> ErrorInfo {
    const NAMED: usize = 3;
    let is_fault = |state: &ActionState| state.status.is_failure() || state.status == ActionStatus::Cancelled;
    let failed = |action: &ActionIndex| is_fault(draft.state(*action)) && !draft.action(*action).allow_failure;
    let named: Vec<String> = draft
        .definition
        .indexes()
        .filter(failed)
        .take(NAMED)
        .map(|action| {
            let kind = draft.state(action).error.as_ref().map_or("unknown", |error| error.kind.as_str());
            format!("`{}` ({kind})", draft.action(action).name)
        })
        .collect();
    let more = (draft.run.failed as usize).saturating_sub(named.len());
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    ErrorInfo::new("action.failed", format!("failed: {}{more}", named.join(", ")))
}

/// Why no agent took a queued attempt in time, as far as is known.
pub(super) fn untaken(draft: &Draft<'_>, action: ActionIndex, due: Timestamp) -> String {
    let pool = &draft.action(action).pool;
    match draft.state(action).unserved {
        Some(unserved) => {
            let since = unserved.since;
            format!("no agent has served the pool `{pool}` since {since}; none took the attempt until {due}")
        }
        None => format!("no agent took the attempt from the pool `{pool}` until {due}"),
    }
}
