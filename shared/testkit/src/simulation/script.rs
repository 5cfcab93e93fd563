//! The work of attempts. Its length and its end depend only on the seed, the run, the action and the attempt. So an
//! attempt that two agents perform does the same twice.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use windlass_domain::run::{ErrorInfo, Outcome, Progress};
use windlass_domain::time::Millis;
use windlass_engine::perform::{Attempt, AttemptControl, Performer};

use super::chance::{Chance, mixed};
use super::life::Life;
use super::plan::Act;
use super::world::Simulation;
use crate::sketch::{NEVER_RETRIED, RETRIED, output};

/// Attempts after which one succeeds despite its script: a policy may say `forever`.
const LAST_TO_FAIL: u32 = 6;

impl Act {
    fn of(seed: u64, attempt: &Attempt) -> Self {
        let who = (seed, attempt.run.to_string(), attempt.of.action.0, attempt.of.attempt);
        let chance = Chance::of(mixed(&who), "script");
        let takes = match chance.between(0..20) {
            0..12 => chance.span(ms(1)..ms(1500)),
            12..17 => chance.span(ms(1500)..ms(20_000)),
            17..19 => chance.span(ms(20_000)..ms(90_000)),
            _ => chance.span(ms(90_000)..ms(1_200_000)),
        };
        let failure = |kind| ErrorInfo::new(kind, "it did not work");
        let ends = match chance.between(0..20) {
            0..5 if attempt.of.attempt < LAST_TO_FAIL => Outcome::Failed { error: failure(RETRIED) },
            5 => Outcome::Failed { error: failure(NEVER_RETRIED) },
            6 if attempt.of.attempt < LAST_TO_FAIL => Outcome::TimedOut { error: failure("timeout.attempt") },
            _ => Outcome::Succeeded { output: output(attempt.of.action.0) },
        };
        let stops_within = if chance.hits(700_000) { chance.span(ms(1)..ms(500)) } else { ms(10_000) };
        Self { takes, stops_within, says_progress: chance.hits(300_000), ends }
    }
}

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Performs scripts in one life of an agent.
pub(super) struct Scripted {
    pub(super) simulation: Arc<Simulation>,
    pub(super) life: Arc<Life>,
}

#[async_trait]
impl Performer for Scripted {
    async fn perform(&self, attempt: Attempt, control: AttemptControl) -> Outcome {
        self.life.gate().await;
        if !control.may_begin() {
            return Outcome::Cancelled;
        }
        let (run, of) = (attempt.run, attempt.of);
        let name = &attempt.name;
        self.simulation.note(
            &self.life.name,
            format_args!("begins {name} of {run}, attempt {} fence {}", of.attempt, attempt.fence),
        );
        let place = self.simulation.witness().begins(&attempt, &self.life.name, self.simulation.now());
        self.simulation.witness().keeping.performs(&self.life, &attempt, &control);
        let act = self.simulation.plan.acts.unwrap_or(Act::of);
        let script = act(self.simulation.plan.seed, &attempt);
        let left = attempt.time_left(self.simulation.now_of(&self.life)).map(Millis::as_duration);
        let times_out = left.is_some_and(|left| left < script.takes);
        let work = async {
            let takes = left.unwrap_or(script.takes).min(script.takes);
            if script.says_progress {
                tokio::time::sleep(takes / 2).await;
                let progress = Progress { percent: Some(50.0), ..Progress::default() };
                control.progress.send_replace(Some(progress));
                tokio::time::sleep(takes / 2).await;
            } else {
                tokio::time::sleep(takes).await;
            }
        };
        let outcome = tokio::select! {
            biased;
            () = control.stop.cancelled() => {
                tokio::time::sleep(script.stops_within).await;
                Outcome::Cancelled
            }
            () = work => if times_out {
                Outcome::TimedOut { error: ErrorInfo::new("timeout.attempt", "it took too long") }
            } else {
                script.ends
            },
        };
        self.simulation.witness().keeping.has_performed(&self.life, &attempt);
        self.life.gate().await;
        self.simulation.witness().performed[place].ended = Some(self.simulation.now());
        self.simulation.note(
            &self.life.name,
            format_args!("ends {name} of {run}, attempt {} fence {}: {}", of.attempt, attempt.fence, name_of(&outcome)),
        );
        outcome
    }
}

fn name_of(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Succeeded { .. } => "succeeded",
        Outcome::Failed { .. } => "failed",
        Outcome::TimedOut { .. } => "timed out",
        Outcome::Cancelled => "stopped",
    }
}
