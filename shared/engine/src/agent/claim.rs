//! Claims: an agent gathers them by run, sends them to the process manager, and repeats them until it has an answer.
//!
//! After a deployment, an agent gets many attempts of one run at once. Then one message carries up to 64 claims: one
//! write of the run's record, and one answer.

use std::sync::Arc;
use std::time::Duration;

use windlass_domain::attempt::Fate;
use windlass_domain::ids::RunId;
use windlass_domain::limits::MAX_CLAIMS;
use windlass_domain::run::{Claim, Input};

use super::Agent;
use super::hold::{Answer, Hold, Key};

/// How long claims of one run gather.
const GATHER: Duration = Duration::from_millis(50);
/// How often the agent repeats a claim, under the same number.
const ASK_EVERY: Duration = Duration::from_secs(5);

impl Agent {
    /// Claims the held attempt, and asks again until it has an answer; none: the attempt was stopped before. `ClaimMs`
    /// counts from the first request, so it has the gathering and every repetition.
    pub(super) async fn claim(&self, key: Key, hold: &Arc<Hold>) -> Option<Answer> {
        let (asked, clock) = (self.inner.asks.number(), &self.inner.ports.clock);
        tracing::trace!(metric = "Claims", run.id = %key.run, asked);
        let began = clock.elapsed();
        let answer = self.ask_until_answered(key, hold, asked).await?;
        let took = clock.elapsed().saturating_sub(began);
        let took = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        tracing::trace!(metric = "ClaimMs", value = took, run.id = %key.run, asked);
        Some(answer)
    }

    async fn ask_until_answered(&self, key: Key, hold: &Arc<Hold>, asked: u32) -> Option<Answer> {
        let mut answered = hold.claims(asked);
        let Key { run, action, delivery, message } = key;
        for asks in 1.. {
            self.ask(run, Claim { action, delivery, message, asked });
            tokio::select! {
                biased;
                // The process manager may still confirm a repeated claim, so the agent keeps its message for the next
                // agent.
                answer = &mut answered => return match answer.ok()? {
                    Answer::Refused(Fate::Delete) if asks > 1 => Some(Answer::Refused(Fate::Leave)),
                    answer @ (Answer::Confirmed(_) | Answer::Refused(_)) => Some(answer),
                },
                () = hold.stop.cancelled() => return None,
                () = tokio::time::sleep(ASK_EVERY) => {}
            }
        }
        None
    }

    async fn send_claims(&self, run: RunId, claims: &[Claim]) {
        for claim in claims {
            tracing::trace!(run.id = %run, asked = claim.asked, "a claim is sent");
        }
        let input = Input::Claim { agent: self.inner.settings.id.clone(), claims: claims.to_vec() };
        self.inner.reporter.tell(run, input).await;
    }

    fn ask(&self, run: RunId, claim: Claim) {
        if !self.inner.asks.push(run, claim) {
            return;
        }
        let agent = self.clone();
        // In a task of its own: if the first attempt ends early, the claims of the others must still be sent.
        tokio::spawn(async move {
            tokio::time::sleep(GATHER).await;
            while let Some(claims) = agent.inner.asks.take(run) {
                for claims in claims.chunks(MAX_CLAIMS) {
                    agent.send_claims(run, claims).await;
                }
                tokio::time::sleep(GATHER).await;
            }
        });
    }
}
