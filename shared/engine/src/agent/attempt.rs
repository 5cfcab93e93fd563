//! One attempt, from its message to its report.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::Instrument;
use windlass_contract::message::{PerformMessage, decode};
use windlass_contract::trace::{is_traceparent, trace_id};
use windlass_domain::depth::is_too_deep;
use windlass_domain::ids::RunId;
use windlass_domain::limits::{CHECK_AFTER_MS, MAX_DELIVERIES, MAX_VALUE_DEPTH};
use windlass_domain::run::{ActionAt, ErrorInfo, Input, Outcome, Progress};
use windlass_domain::time::Timestamp;

use super::admission::{Admission, Right};
use super::apart::{Probation, losses};
use super::held::{Hold, Stopped};
use super::{Agent, Inner};
use crate::backoff::Backoff;
use crate::dead_letter::bury;
use crate::perform::{Attempt, AttemptControl, RightToBegin, idempotency_key};
use crate::ports::{Delivery, ErrorClass, PortError, QueueName};

/// The shortest time between two reports of progress.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);
/// What is known of an attempt when it has stopped.
struct Last {
    run: RunId,
    of: ActionAt,
    /// Which of the attempt's messages it was.
    copy: u32,
    started_at: Timestamp,
    /// What it saved last, if it saved anything.
    checkpoint: Option<Value>,
}

impl Agent {
    pub(super) async fn attempt(&self, delivery: Delivery, hold: Arc<Hold>) {
        let reporter = &self.inner.reporter;
        match decode::<PerformMessage>(&delivery.body) {
            Ok(message) if delivery.receive_count > MAX_DELIVERIES => {
                let times = delivery.receive_count - 1;
                let reason = format!("it was delivered to agents {times} times and none came to its end");
                self.bury(&delivery, &reason).await;
                reporter.report(message.run, Input::DeadLettered { of: message.of, copy: message.copy, reason }, None);
                self.give_up(&hold);
            }
            Ok(message) => self.admit(message, &delivery, &hold).await,
            Err(error) => {
                self.bury(&delivery, &error.to_string()).await;
                self.give_up(&hold);
            }
        }
    }

    async fn admit(&self, message: PerformMessage, delivery: &Delivery, hold: &Arc<Hold>) {
        let inner = &self.inner;
        let losses = self.losses(&message, delivery).await;
        // While it waits it is kept hidden, and a drain gives it back.
        let probation = tokio::select! {
            biased;
            probation = inner.gate.enter(losses) => probation,
            () = hold.stop.cancelled() => return self.give_back(delivery, hold).await,
        };
        match self.admission(&message, delivery.receive_count).await {
            Ok(Admission::Perform(of, checkpoint, right)) => {
                let span = tracing::info_span!("attempt", trace.id = trace_id(message.run), run.id = %message.run, action = %message.name, attempt = of.attempt);
                self.perform(message, (of, checkpoint), (probation, right), hold).instrument(span).await;
            }
            other => self.refuse(message.run, message.of, other, hold),
        }
    }

    /// What is not performed: it is answered, deleted, or left to come again.
    fn refuse(&self, run: RunId, of: ActionAt, admitted: Result<Admission, PortError>, hold: &Arc<Hold>) {
        match admitted {
            Ok(Admission::Cancelled) => {
                let started_at = self.inner.ports.clock.now();
                self.complete(Last { run, of, copy: 0, started_at, checkpoint: None }, Outcome::Cancelled, hold);
            }
            Ok(Admission::Leave) => self.inner.held.release(hold),
            // Whoever may have the message by now deletes it.
            Ok(Admission::Drop | Admission::Perform(..)) if !hold.is_safe_for(Duration::ZERO) => {
                self.inner.held.release(hold);
            }
            Ok(Admission::Drop | Admission::Perform(..)) => self.give_up(hold),
            Err(error) => {
                tracing::warn!(run.id = %run, error.code = error.code, error = %error, "failed to claim");
                self.inner.held.release(hold);
            }
        }
    }

    /// Gives back what was never begun here. What comes for the first time is handed back as what had begun is: it is
    /// sent again, and nobody was lost who had it. What came before is made visible: what became of its owner is for its
    /// next one to find out.
    pub(super) async fn give_back(&self, delivery: &Delivery, hold: &Arc<Hold>) {
        let Inner { ports, held, settings, .. } = &*self.inner;
        let message = decode::<PerformMessage>(&delivery.body).ok();
        if let Some(PerformMessage { run, of, copy, .. }) = message.filter(|_| delivery.receive_count == 1) {
            // It is not to be taken from this very agent.
            if !held.keep_beside(hold, run, of) {
                let started_at = ports.clock.now();
                self.hand_back(Last { run, of, copy, started_at, checkpoint: None }, hold);
            }
            return;
        }
        held.release(hold);
        if !hold.is_safe_for(Duration::ZERO) {
            // It has come back by itself.
            return;
        }
        let pool = QueueName::Pool(settings.pool.clone());
        if let Err(error) = ports.queues.extend(&pool, vec![(delivery.receipt.clone(), Duration::ZERO)]).await {
            tracing::warn!(error.code = error.code, error = %error, "failed to hand back; it comes back by itself");
        }
    }

    /// How many agents its action will have cost, as far as its record says. One that comes for the first time and need
    /// not be claimed is none that does.
    async fn losses(&self, message: &PerformMessage, delivery: &Delivery) -> usize {
        let redelivered = delivery.receive_count > 1;
        if !redelivered && !message.claim {
            return 0;
        }
        let run = self.inner.records.lately(self.inner.ports.runs.as_ref(), message.run).await;
        // Without the record it can not be claimed either.
        let run = run.ok().flatten().filter(|run| message.of.action.as_usize() < run.actions.len());
        run.map_or(0, |run| losses(run.action(message.of.action), &self.inner.settings.id, redelivered))
    }

    async fn perform(
        &self,
        message: PerformMessage,
        (of, mut given): (ActionAt, Option<Value>),
        (probation, mut right): (Probation, Right),
        hold: &Arc<Hold>,
    ) {
        let inner = &self.inner;
        let (run, copy) = (message.run, message.copy);
        let message = PerformMessage { of, ..message };
        if !inner.held.identify(hold, message.clone(), inner.ports.clock.now()) {
            tracing::info!("the attempt is performed here already; its message was delivered twice");
            return;
        }
        let mut probation = pin!(probation.pass());
        let (outcome, started_at, saved) = loop {
            let started_at = inner.ports.clock.now();
            let right_to_begin = self.right_to_begin(right, hold);
            let (control, progress) = AttemptControl::new(hold.stop.clone());
            let control = control.taking_up(given.clone()).beginning_by(right_to_begin.clone());
            let saved = control.saved();
            let watched = self.watch((run, of, started_at), progress, (given.clone(), saved.clone()));
            // Between the receive and this point the process may have been held up; the right to begin may be gone.
            let outcome = if control.may_begin() {
                let attempt = attempt_of(message.clone(), of, given.clone());
                tokio::select! {
                    biased;
                    outcome = inner.performer.perform(attempt, control) => outcome,
                    never = watched => match never {},
                    never = &mut probation => match never {},
                }
            } else {
                Outcome::Cancelled
            };
            if !right_to_begin.was_missed() || hold.stopped().is_some() {
                break (outcome, started_at, saved);
            }
            // Nothing has begun.
            if !hold.is_safe_for(inner.settings.visibility / 3) {
                self.let_go(Last { run, of, copy, started_at, checkpoint: None }, hold);
                return;
            }
            tracing::info!("the attempt could not begin in time; looking at its record again");
            match self.admission_again(run, of).await {
                Ok(Admission::Perform(_, checkpoint, again)) => (given, right) = (checkpoint, again),
                other => return self.refuse(run, of, other, hold),
            }
        };
        // What was given is known already.
        let checkpoint = saved.borrow().clone().filter(|checkpoint| given.as_ref() != Some(checkpoint));
        let last = Last { run, of, copy, started_at, checkpoint };
        match (hold.stopped(), &outcome) {
            (Some(Stopped::Lost), Outcome::Cancelled) => self.let_go(last, hold),
            (Some(Stopped::HandedBack), Outcome::Cancelled) => self.hand_back(last, hold),
            _ => self.complete(last, outcome, hold),
        }
    }

    /// The right to begin, as it holds from now on: by the agent's clock, and by one that goes on while its process is
    /// stopped.
    fn right_to_begin(&self, right: Right, hold: &Arc<Hold>) -> RightToBegin {
        let within = Duration::from_millis(CHECK_AFTER_MS);
        let (time, instant) = match right {
            Right::Fresh(until) => (Some(until), Some(Instant::now() + within)),
            Right::Read(at) => (None, Some(at + within)),
            Right::Claimed => (None, None),
        };
        let (hold, margin) = (hold.clone(), self.inner.settings.visibility / 3);
        let clock = self.inner.ports.clock.clone();
        RightToBegin::new(move || {
            let is_fresh = instant.is_none_or(|until| Instant::now() <= until);
            is_fresh && time.is_none_or(|until| clock.now() <= until) && hold.is_safe_for(margin)
        })
    }

    /// Reports that the attempt has begun, when it has run for a while, and then its progress whenever it changes. One
    /// report at a time: while it can not be sent, the next one is what was said last.
    async fn watch(
        &self,
        (run, of, started_at): (RunId, ActionAt, Timestamp),
        mut progress: watch::Receiver<Option<Progress>>,
        (mut known, mut saved): (Option<Value>, watch::Receiver<Option<Value>>),
    ) -> std::convert::Infallible {
        let inner = &self.inner;
        tokio::time::sleep(inner.settings.started_after).await;
        let agent = inner.settings.id.clone();
        inner.reporter.tell(run, Input::Started { of, agent, started_at }).await;
        for number in 1.. {
            let said = progress.borrow_and_update().clone();
            let newest = saved.borrow_and_update().clone();
            let checkpoint = newest.clone().filter(|_| newest != known);
            known = newest;
            if said.is_some() || checkpoint.is_some() {
                let progress = said.unwrap_or_default();
                inner.reporter.tell(run, Input::Progressed { of, number, progress, checkpoint }).await;
            }
            tokio::time::sleep(PROGRESS_EVERY).await;
            let changed = tokio::select! {
                biased;
                changed = progress.changed() => changed,
                changed = saved.changed() => changed,
            };
            if changed.is_err() {
                break;
            }
        }
        std::future::pending().await
    }

    fn complete(&self, last: Last, outcome: Outcome, hold: &Arc<Hold>) {
        let Last { run, of, started_at, checkpoint, .. } = last;
        let checkpoint = checkpoint.filter(|_| !matches!(outcome, Outcome::Succeeded { .. }));
        let outcome = readable(outcome);
        tracing::trace!(metric = "Attempts");
        if matches!(outcome, Outcome::Failed { .. } | Outcome::TimedOut { .. }) {
            tracing::trace!(metric = "Failures");
        }
        let agent = self.inner.settings.id.clone();
        let input = Input::Completed { of, agent, started_at, outcome, checkpoint };
        self.inner.reporter.report(run, input, Some(hold.clone()));
    }

    /// The message is of no use: it is deleted.
    fn give_up(&self, hold: &Arc<Hold>) {
        self.inner.reporter.acknowledge(hold.clone());
    }

    /// Gives the attempt back: it goes on elsewhere, and none is spent. Its message is deleted, and whoever decides the
    /// report sends another, so that nobody can claim the attempt before the record has its last checkpoint.
    fn hand_back(&self, last: Last, hold: &Arc<Hold>) {
        if !hold.is_safe_for(Duration::ZERO) {
            return self.let_go(last, hold);
        }
        let Last { run, of, copy, checkpoint, .. } = last;
        let agent = self.inner.settings.id.clone();
        let input = Input::HandedBack { of, agent, copy, checkpoint };
        self.inner.reporter.report(run, input, Some(hold.clone()));
    }

    /// The message may be with another agent, or will be soon, or it is gone: it is left to itself. The attempt has been
    /// stopped, so nobody was lost: that is told, before or after the next agent's claim.
    fn let_go(&self, last: Last, hold: &Hold) {
        let Last { run, of, copy, checkpoint, .. } = last;
        let agent = self.inner.settings.id.clone();
        self.inner.reporter.report(run, Input::HandedBack { of, agent, copy, checkpoint }, None);
        self.inner.held.release(hold);
    }

    /// Puts a message that can not be performed where a person finds it, with the reason.
    async fn bury(&self, delivery: &Delivery, reason: &str) {
        tracing::error!(reason, "an attempt can not be performed; its message goes to the dead-letter queue");
        let queues = self.inner.ports.queues.as_ref();
        let pool = QueueName::Pool(self.inner.settings.pool.clone());
        let mut backoff = Backoff::of_failures();
        while let Err(error) = bury(queues, &pool, &delivery.body, reason).await {
            tracing::warn!(error.code = error.code, error = %error, "failed to bury a message");
            if error.class == ErrorClass::Reject {
                return;
            }
            backoff.wait().await;
        }
    }
}

/// An output that no reader could read again is a failure, told while there is still somebody to tell it.
fn readable(outcome: Outcome) -> Outcome {
    match outcome {
        Outcome::Succeeded { output } if is_too_deep(&output) => {
            let message = format!("the output is nested more than {MAX_VALUE_DEPTH} levels deep");
            Outcome::Failed { error: ErrorInfo::new("output.too_deep", message) }
        }
        Outcome::Succeeded { .. } | Outcome::Failed { .. } | Outcome::TimedOut { .. } | Outcome::Cancelled => outcome,
    }
}

fn attempt_of(message: PerformMessage, of: ActionAt, checkpoint: Option<Value>) -> Attempt {
    Attempt {
        idempotency_key: idempotency_key(message.run, of.action),
        run: message.run,
        task: message.task,
        version: message.version,
        name: message.name,
        of,
        work: message.work,
        timeout: message.timeout_ms,
        deadline: message.deadline,
        checkpoint,
        // What is passed on to programs and endpoints has a known shape, whatever the message has.
        trace: message.trace.filter(|trace| is_traceparent(trace)),
    }
}
