//! How long a run is kept after its end, and which may not be deleted.

use crate::limits::DUE_COMES_AGAIN_WITHIN_MS;
use crate::run::{Origin, Run};
use crate::time::{Millis, Timestamp};

/// How long a host keeps runs after their end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Runs whose definition does not say it.
    pub default: Millis,
    /// The least for the run of a due time. Its message may come again, and would start a run that is gone once more.
    pub scheduled_at_least: Millis,
}

impl Run {
    /// How long this run is kept after its end, if it has ended and its definition says it.
    pub fn own_keep(&self) -> Option<Millis> {
        let keep = if self.status.is_success() { self.keep.succeeded } else { self.keep.failed };
        keep.filter(|_| self.status.is_final())
    }

    /// When the host may delete this run; none while it has not ended.
    pub fn expires_at(&self, retention: Retention) -> Option<Timestamp> {
        let ended = self.finished_at.filter(|_| self.status.is_final())?;
        let keep = self.own_keep().unwrap_or(retention.default);
        Some(ended.plus(match self.origin {
            Origin::Request => keep,
            Origin::Schedule { .. } => keep.max(retention.scheduled_at_least),
        }))
    }
}

/// Why a run may not be deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Held {
    /// It has not ended.
    Open,
    /// It is the run of a due time whose message may come again until then, and would start it once more.
    ComesAgain {
        /// Until when.
        until: Timestamp,
    },
    /// It is the run of the due time that had its task's last turn. The next due time looks at it.
    LastTurn,
}

impl Run {
    /// Why this run may not be deleted now; none: it may. `last_turn` is the due time that had the task's last turn.
    pub fn held(&self, last_turn: Option<Timestamp>, now: Timestamp) -> Option<Held> {
        let Some(ended) = self.finished_at.filter(|_| self.status.is_final()) else { return Some(Held::Open) };
        let Origin::Schedule { nominal } = self.origin else { return None };
        if last_turn == Some(nominal) {
            return Some(Held::LastTurn);
        }
        let until = ended.plus(Millis(DUE_COMES_AGAIN_WITHIN_MS));
        (now < until).then_some(Held::ComesAgain { until })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;
    use uuid::Uuid;

    use super::*;
    use crate::ids::{RunId, TaskName};
    use crate::keep::Keep;
    use crate::run::RunStatus;

    const RETENTION: Retention =
        Retention { default: Millis::from_secs(50), scheduled_at_least: Millis::from_secs(1000) };

    fn run(origin: Origin, status: RunStatus) -> Run {
        let (id, task) = (RunId::from_uuid(Uuid::nil()), TaskName::new("t").expect("a name"));
        let run = Run::submitted(id, (task, 1), 1, Value::Null, origin, Timestamp::from_millis(0));
        let finished_at = status.is_final().then_some(Timestamp::from_millis(5_000));
        Run { status, finished_at, ..run }
    }

    fn kept_secs(run: &Run) -> Option<u64> {
        Some(run.expires_at(RETENTION)?.since(run.finished_at?).0 / 1000)
    }

    #[test]
    fn definition_says_how_long_a_run_is_kept_and_the_host_says_the_rest() {
        let keep = Keep { succeeded: Some(Millis::from_secs(7)), failed: None };
        for status in RunStatus::ALL {
            let expected = match (status.is_final(), status.is_success()) {
                (false, _) => None,
                (true, true) => Some(7),
                (true, false) => Some(50),
            };
            assert_eq!(kept_secs(&run(Origin::Request, status).kept(keep)), expected, "{status:?}");
        }
    }

    #[test]
    fn run_of_a_due_time_is_kept_until_its_message_has_gone() {
        let of = Origin::Schedule { nominal: Timestamp::from_millis(0) };
        let keep = Keep { succeeded: Some(Millis::from_secs(7)), failed: Some(Millis::from_secs(2000)) };
        assert_eq!(kept_secs(&run(of.clone(), RunStatus::Succeeded).kept(keep)), Some(1000));
        assert_eq!(kept_secs(&run(of, RunStatus::Failed).kept(keep)), Some(2000));
    }

    #[test]
    fn run_is_held_while_somebody_needs_it() {
        let nominal = Timestamp::from_millis(0);
        let soon = Timestamp::from_millis(6_000);
        let later = Timestamp::from_millis(5_000).plus(Millis(DUE_COMES_AGAIN_WITHIN_MS));
        let (asked, due) = (Origin::Request, Origin::Schedule { nominal });
        assert_eq!(run(asked.clone(), RunStatus::Running).held(None, later), Some(Held::Open));
        assert_eq!(run(asked, RunStatus::Failed).held(None, soon), None);
        let ended = run(due, RunStatus::Succeeded);
        assert_eq!(ended.held(None, soon), Some(Held::ComesAgain { until: later }));
        assert_eq!(ended.held(None, later), None);
        assert_eq!(ended.held(Some(nominal), later), Some(Held::LastTurn));
    }
}
