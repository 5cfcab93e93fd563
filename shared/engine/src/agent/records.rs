//! Records that an agent read a moment ago: one read serves all attempts of a run that the agent looks up together.
//!
//! Such a record may only ever be a reason to perform an attempt, or to perform it with fewer others. It may be older
//! than the message. So an agent that would not perform because of it reads the record again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex as Lock, PoisonError};
use std::time::Duration;

use tokio::sync::Mutex;
use windlass_domain::ids::RunId;
use windlass_domain::run::Run;

use crate::Ports;
use crate::ports::PortError;

/// How long a record counts as read a moment ago. A fresh message needs no look at the record for two seconds, and this
/// is far less.
const FRESH: Duration = Duration::from_secs(1);
/// Runs that are remembered; when more come, all are forgotten, and read again.
const MAX_RUNS: usize = 64;

/// When a record was read, by the clock that goes on, and the run in it.
pub(super) type Lately = (Duration, Arc<Run>);

type Slot = Arc<Mutex<Option<Lately>>>;

/// The records of a few runs.
#[derive(Debug, Default)]
pub(super) struct Records {
    slots: Lock<HashMap<RunId, Slot>>,
}

impl Records {
    /// The run as it was a moment ago, and when that was. Attempts that ask at the same time wait for one read.
    pub(super) async fn lately(&self, ports: &Ports, id: RunId) -> Result<Option<Lately>, PortError> {
        let slot = self.slot(id);
        let mut kept = slot.lock().await;
        let asked_at = ports.clock.elapsed();
        if let Some((read_at, _)) = kept.as_ref()
            && asked_at.saturating_sub(*read_at) < FRESH
        {
            return Ok(kept.clone());
        }
        *kept = ports.runs.load(&id).await?.map(|run| (asked_at, Arc::new(run)));
        Ok(kept.clone())
    }

    fn slot(&self, id: RunId) -> Slot {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        if slots.len() >= MAX_RUNS && !slots.contains_key(&id) {
            slots.clear();
        }
        slots.entry(id).or_default().clone()
    }
}
