//! The claims of an agent, committed together: of one run there is one write at a time, and while it is under way the
//! next claims gather.
//!
//! Where many attempts of a run come to an agent at once, as after a deployment, one write each would have them all meet
//! at the run's record, and wait for each other.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::FutureExt;
use tokio::sync::oneshot;
use windlass_domain::decide::Rejection;
use windlass_domain::ids::RunId;
use windlass_domain::run::{Input, Run};

use crate::Ports;
use crate::advance::{Advanced, Delivered, settle};
use crate::backoff::Backoff;
use crate::definitions::Definitions;
use crate::ports::{ErrorClass, PortError};

/// How often a write that failed is tried again before the claims are given up, with waits of half a second in all.
const TRIES: usize = 3;

/// What became of a claim.
#[derive(Debug, Clone)]
pub(super) struct Claimed {
    /// The run as it is since.
    pub(super) run: Arc<Run>,
    /// Why it was refused, if it was.
    pub(super) refused: Option<Rejection>,
    /// Whether all that the claims of that write led to has been sent. Whoever has an attempt by them has it either way.
    pub(super) told: Result<(), PortError>,
}

/// Nothing: there is no such run.
type Answer = Result<Option<Claimed>, PortError>;

/// Claims that wait for the write that is under way. A run is in it as long as somebody commits its claims.
#[derive(Debug, Default, Clone)]
pub(super) struct Claims {
    waiting: Arc<Mutex<BTreeMap<RunId, Vec<Waiting>>>>,
}

#[derive(Debug)]
struct Waiting {
    claim: Input,
    answer: oneshot::Sender<Answer>,
}

impl Claims {
    /// Commits a claim, with others of its run if there are any.
    pub(super) async fn commit(
        &self,
        ports: &Ports,
        definitions: &Arc<Definitions>,
        run: RunId,
        claim: Input,
    ) -> Answer {
        let (answer, answered) = oneshot::channel();
        let is_first = self.push(run, Waiting { claim, answer });
        if is_first {
            // On its own, so that the others have their answers whatever becomes of who was first.
            let (claims, ports, definitions) = (self.clone(), ports.clone(), definitions.clone());
            tokio::spawn(async move { claims.commit_all(&ports, &definitions, run).await });
        }
        answered.await.unwrap_or_else(|_| Err(PortError::panicked()))
    }

    /// Whether nobody commits the claims of that run yet.
    fn push(&self, run: RunId, waiting: Waiting) -> bool {
        let mut all = self.waiting();
        let is_first = !all.contains_key(&run);
        all.entry(run).or_default().push(waiting);
        is_first
    }

    /// The claims of that run that have gathered. If there are none, it is nobody's any more.
    fn take(&self, run: RunId) -> Vec<Waiting> {
        let mut all = self.waiting();
        let gathered = all.get_mut(&run).map(std::mem::take).unwrap_or_default();
        if gathered.is_empty() {
            all.remove(&run);
        }
        gathered
    }

    fn waiting(&self) -> MutexGuard<'_, BTreeMap<RunId, Vec<Waiting>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn commit_all(&self, ports: &Ports, definitions: &Definitions, run: RunId) {
        loop {
            let (claims, answers): (Vec<_>, Vec<_>) =
                self.take(run).into_iter().map(|waiting| (waiting.claim, waiting.answer)).unzip();
            if claims.is_empty() {
                return;
            }
            let committing = AssertUnwindSafe(commit_surely(ports, definitions, run, claims)).catch_unwind();
            let committed = committing.await.unwrap_or_else(|_| Err(PortError::panicked()));
            let claimed = committed.unwrap_or_else(|error| vec![Err(error); answers.len()]);
            for (answer, claimed) in answers.into_iter().zip(claimed) {
                // Whoever does not wait any more has no use for it.
                let _nobody_waits = answer.send(claimed);
            }
        }
    }
}

/// Tries again for a moment what failed: it may have been committed, and then the record counts on this agent.
async fn commit_surely(
    ports: &Ports,
    definitions: &Definitions,
    run: RunId,
    mut claims: Vec<Input>,
) -> Result<Vec<Answer>, PortError> {
    let mut committed = commit_together(ports, definitions, run, &claims).await;
    let mut backoff = Backoff::of_failures();
    for _ in 0..TRIES {
        if !committed.as_ref().is_err_and(|error| error.class == ErrorClass::Retry) {
            break;
        }
        backoff.wait().await;
        for claim in &mut claims {
            if let Input::Claim { again, .. } = claim {
                *again = true;
            }
        }
        committed = commit_together(ports, definitions, run, &claims).await;
    }
    committed
}

/// Commits claims of one run with one write, and gives the answer to each.
async fn commit_together(
    ports: &Ports,
    definitions: &Definitions,
    run: RunId,
    claims: &[Input],
) -> Result<Vec<Answer>, PortError> {
    let (advanced, effects) = settle(ports, definitions, run, claims, Delivered::default()).await?;
    let Advanced::Decided { run, answers } = advanced else { return Ok(vec![Ok(None); claims.len()]) };
    let (run, told) = (Arc::from(run), effects.send(ports).await);
    let claimed = |refused| Claimed { run: Arc::clone(&run), refused, told: told.clone() };
    Ok(answers.into_iter().map(|refused| Ok(Some(claimed(refused)))).collect())
}
