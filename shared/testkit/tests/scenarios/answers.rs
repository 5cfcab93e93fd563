//! What whoever is refused is told.

use windlass_domain::decide::{Command, Rejection};
use windlass_domain::ids::ActionIndex;
use windlass_domain::run::{ActionAt, RunStatus};
use windlass_testkit::generate::agent_of;

/// Whose attempt is none any more stops it; who came too early, or was overtaken, has nothing to stop.
#[test]
fn an_agent_that_performs_in_vain_is_told_to_stop() {
    let (agent, of) = (agent_of(1), ActionAt { action: ActionIndex(2), attempt: 3, fence: 4 });
    let answered = |rejection| Command::answer_to(rejection, &agent, of);
    for rejection in [Rejection::RunEnded, Rejection::Stale, Rejection::Settled] {
        assert_eq!(answered(rejection), Some(Command::Stop { agent: agent.clone(), of }), "{rejection:?}");
    }
    for rejection in [Rejection::RunStatus(RunStatus::Submitted), Rejection::Redelivered, Rejection::UnknownAction] {
        assert_eq!(answered(rejection), None, "{rejection:?}");
    }
}
