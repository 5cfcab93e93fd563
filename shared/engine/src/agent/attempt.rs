//! One attempt, from its message to its report.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::watch;
use tracing::Instrument;
use windlass_contract::message::{PerformMessage, decode, message_hash};
use windlass_contract::trace::{is_traceparent, trace_id};
use windlass_domain::attempt::Fate;
use windlass_domain::delivery::Delivery;
use windlass_domain::depth::is_too_deep;
use windlass_domain::limits::{CHECK_AFTER_MS, MAX_DELIVERIES, MAX_VALUE_DEPTH};
use windlass_domain::run::{ErrorInfo, Input, Outcome, Progress, Report};
use windlass_domain::time::Timestamp;

use super::admission::{Admission, Right};
use super::gate::Probation;
use super::hold::{Answer, Hold, Key, Stopped};
use super::{Agent, Inner};
use crate::backoff::Backoff;
use crate::dead_letter::bury;
use crate::perform::{Attempt, AttemptControl, RightToBegin, idempotency_key};
use crate::ports::{Clock, ErrorClass, QueueName, Receipt, Received};

/// The shortest time between two reports of progress.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);

/// The start of an attempt: its fence, checkpoint and right.
struct Beginning {
    fence: u64,
    checkpoint: Option<Value>,
    right: Right,
}

/// How an attempt came to its end here.
struct Ended {
    outcome: Outcome,
    started_at: Timestamp,
    /// The last checkpoint that the performer saved; absent if the record has it already.
    checkpoint: Option<Value>,
    /// The performer wants the attempt handed back after this pause.
    returned: Option<Duration>,
    /// The performer's word on its success.
    note: Option<String>,
}

impl Agent {
    pub(super) async fn attempt(&self, received: Received, hold: Arc<Hold>) {
        let message = match decode::<PerformMessage>(&received.body) {
            Ok(message) => message,
            Err(error) => {
                self.bury(&received, &error.to_string()).await;
                return self.give_up(&hold);
            }
        };
        let delivery = Delivery::new(message.of.attempt, message.issue, received.receive_count);
        let key = Key { run: message.run, action: message.of.action, delivery, message: message_hash(&received.id) };
        if received.receive_count > MAX_DELIVERIES {
            let times = received.receive_count - 1;
            let reason = format!("it was delivered to agents {times} times and none came to its end");
            self.bury(&received, &reason).await;
            let input = Input::DeadLettered { action: key.action, delivery, message: key.message, reason };
            self.inner.reporter.report(message.run, input, None);
            return self.give_up(&hold);
        }
        if !self.inner.held.identify(&hold, key) {
            tracing::info!(run.id = %key.run, delivery = %delivery, "the attempt is here already; another message of it is let be");
            return;
        }
        self.admit(&message, key, &received, &hold).await;
    }

    async fn admit(&self, message: &PerformMessage, key: Key, received: &Received, hold: &Arc<Hold>) {
        let inner = &self.inner;
        let losses = self.losses(message, key).await;
        // While it waits, the agent keeps its message hidden, and a drain gives it back.
        let probation = tokio::select! {
            biased;
            probation = inner.gate.enter(losses) => probation,
            () = hold.stop.cancelled() => return self.give_back(key, received, hold).await,
        };
        if !inner.known.meets(key) {
            tracing::info!(run.id = %key.run, delivery = %key.delivery, "a delivery came twice; its message is let be");
            return inner.held.release(hold);
        }
        if let Some(beginning) = self.beginning(message, key, hold).await {
            self.perform(message, key, beginning, (probation, hold)).await;
        }
    }

    /// What the attempt begins with; none: it does not begin here, and what follows has been done.
    async fn beginning(&self, message: &PerformMessage, key: Key, hold: &Arc<Hold>) -> Option<Beginning> {
        match self.admission(message, key).await {
            Ok(Admission::Begin(fence, checkpoint, right)) => return Some(Beginning { fence, checkpoint, right }),
            Ok(Admission::Claim) => return self.claimed(key, hold).await,
            Ok(Admission::Cancelled) => {
                let started_at = self.inner.ports.clock.now();
                let ended =
                    Ended { outcome: Outcome::Cancelled, started_at, checkpoint: None, returned: None, note: None };
                self.complete(key, ended, hold);
            }
            Ok(Admission::Delete) => self.give_up_if_held(hold),
            Err(error) => {
                tracing::warn!(run.id = %key.run, error.code = error.code, error = %error, "failed to look at a record");
                self.inner.held.release(hold);
            }
        }
        None
    }

    /// Claims the attempt, and does as the answer says.
    async fn claimed(&self, key: Key, hold: &Arc<Hold>) -> Option<Beginning> {
        match self.claim(key, hold).await {
            Some(Answer::Confirmed(confirmed)) => {
                let (fence, checkpoint) = (confirmed.fence, confirmed.checkpoint);
                return Some(Beginning { fence, checkpoint, right: Right::Confirmed });
            }
            Some(Answer::Refused(fate)) => self.let_go(fate, hold),
            None => self.take_back(key, hold).await,
        }
        None
    }

    /// Lets go of a message as the process manager says.
    fn let_go(&self, fate: Fate, hold: &Arc<Hold>) {
        match fate {
            Fate::Delete => self.give_up_if_held(hold),
            Fate::Report | Fate::Leave => self.inner.held.release(hold),
        }
    }

    /// Gives back a message that this agent neither began nor claimed. It hands back the first receipt of a first
    /// message as it does a begun attempt. The process manager resends it, and counts no loss. It makes any other
    /// message visible, because another agent may own the attempt; the next agent claims it.
    pub(super) async fn give_back(&self, key: Key, received: &Received, hold: &Arc<Hold>) {
        if key.delivery.is_first() {
            return self.hand_back(key, None, hold);
        }
        self.show(received.receipt.clone(), hold).await;
    }

    /// Gives back an attempt whose claim is not answered yet. The process manager may get the claim after the
    /// hand-back, and confirm it. So the agent keeps the message for the next agent.
    async fn take_back(&self, key: Key, hold: &Arc<Hold>) {
        let input = Input::HandedBack { of: self.report_of(key), kept: true, checkpoint: None };
        self.inner.reporter.report(key.run, input, None);
        match hold.receipt() {
            Some(receipt) => self.show(receipt, hold).await,
            None => self.inner.held.release(hold),
        }
    }

    /// Makes a message visible to the next agent, unless it has become visible by itself.
    async fn show(&self, receipt: Receipt, hold: &Arc<Hold>) {
        let Inner { ports, held, settings, .. } = &*self.inner;
        held.release(hold);
        if !hold.is_safe_for(Duration::ZERO) {
            return;
        }
        let pool = QueueName::Pool(settings.pool.clone());
        if let Err(error) = ports.queues.extend(&pool, vec![(receipt, Duration::ZERO)]).await {
            tracing::warn!(error.code = error.code, error = %error, "failed to hand back; it comes back by itself");
        }
    }

    /// Gives back a message that came too late, because the agent drains.
    pub(super) async fn give_back_unread(&self, received: Received, hold: Arc<Hold>) {
        let Ok(message) = decode::<PerformMessage>(&received.body) else { return self.inner.held.release(&hold) };
        let delivery = Delivery::new(message.of.attempt, message.issue, received.receive_count);
        let key = Key { run: message.run, action: message.of.action, delivery, message: message_hash(&received.id) };
        if self.inner.held.identify(&hold, key) {
            self.give_back(key, &received, &hold).await;
        }
    }

    async fn perform(
        &self,
        message: &PerformMessage,
        key: Key,
        beginning: Beginning,
        (probation, hold): (Probation, &Arc<Hold>),
    ) {
        let span = tracing::info_span!("attempt", trace.id = trace_id(key.run), run.id = %key.run, action = %message.name, attempt = key.delivery.attempt);
        let ended = self.perform_to_end(message, key, beginning, (probation, hold)).instrument(span.clone()).await;
        let Some(ended) = ended else { return };
        if let Some(pause) = ended.returned.filter(|_| ended.outcome == Outcome::Cancelled) {
            self.pause(pause, hold).await;
            if hold.stopped().is_none() {
                return self.hand_back(key, ended.checkpoint, hold);
            }
        }
        if let Some(Stopped::Told(_)) = hold.stopped() {
            span.in_scope(|| tracing::info!(delivery = %key.delivery, "the attempt was told to stop, and has ended"));
        }
        match (hold.stopped(), &ended.outcome) {
            (Some(Stopped::Lost), Outcome::Cancelled) => self.hand_back_unheld(key, ended.checkpoint, hold),
            (Some(Stopped::HandedBack), Outcome::Cancelled) => self.hand_back(key, ended.checkpoint, hold),
            (Some(Stopped::Told(fate @ (Fate::Leave | Fate::Delete))), Outcome::Cancelled) => self.let_go(fate, hold),
            _ => self.complete(key, ended, hold),
        }
    }

    /// Keeps the attempt and its slot for that long, unless it is to stop or the agent drains.
    async fn pause(&self, pause: Duration, hold: &Hold) {
        tokio::select! {
            biased;
            () = hold.stop.cancelled() => {}
            () = self.inner.draining.cancelled() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }

    /// Performs the attempt; none: its right to begin was over, and what followed has been done.
    async fn perform_to_end(
        &self,
        message: &PerformMessage,
        key: Key,
        mut beginning: Beginning,
        (probation, hold): (Probation, &Arc<Hold>),
    ) -> Option<Ended> {
        let inner = &self.inner;
        let mut probation = pin!(probation.pass());
        loop {
            let started_at = inner.ports.clock.now();
            let right_to_begin = self.right_to_begin(beginning.right, hold);
            let given = beginning.checkpoint.clone();
            let (control, progress) = AttemptControl::new(hold.stop.clone());
            let control = control.taking_up(given.clone()).beginning_by(right_to_begin.clone());
            let control = control.draining_by(inner.draining.clone());
            let (saved, answered) = (control.saved(), control.clone());
            // Between the receive and this point the process may have been held up; the right to begin may be gone.
            let outcome = if control.may_begin() {
                inner.known.begins(key);
                hold.begins(started_at);
                let watched = self.watch((key, started_at), progress, (given.clone(), saved.clone()));
                let attempt = attempt_of(message.clone(), beginning.fence, given.clone(), inner.ports.clock.as_ref());
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
                let checkpoint = saved.borrow().clone();
                let (returned, note) = (answered.handed_back(), answered.noted().map(str::to_owned));
                return Some(Ended { outcome, started_at, checkpoint, returned, note });
            }
            // Nothing has begun.
            if beginning.right == Right::Confirmed || !hold.is_safe_for(inner.settings.visibility / 3) {
                self.hand_back_unheld(key, None, hold);
                return None;
            }
            tracing::info!("the attempt could not begin in time; it is claimed");
            beginning = self.claimed(key, hold).await?;
        }
    }

    /// The right to begin, as it holds from now on: by the agent's clock, and by one that goes on while its process is
    /// stopped.
    fn right_to_begin(&self, right: Right, hold: &Arc<Hold>) -> RightToBegin {
        let within = Duration::from_millis(CHECK_AFTER_MS);
        let clock = self.inner.ports.clock.clone();
        let (time, elapsed) = match right {
            Right::Fresh(until) => (Some(until), Some(clock.elapsed() + within)),
            Right::Read(at) => (None, Some(at + within)),
            Right::Confirmed => (None, None),
        };
        let (hold, margin) = (hold.clone(), self.inner.settings.visibility / 3);
        RightToBegin::new(move || {
            let is_fresh = elapsed.is_none_or(|until| clock.elapsed() <= until);
            is_fresh && time.is_none_or(|until| clock.stamp() <= until) && hold.is_safe_for(margin)
        })
    }

    /// Reports that the attempt has begun, when it has run for a while, and then its progress whenever it changes. One
    /// report at a time. While it cannot be sent, a newer one replaces the next.
    async fn watch(
        &self,
        (key, started_at): (Key, Timestamp),
        mut progress: watch::Receiver<Option<Progress>>,
        (mut known, mut saved): (Option<Value>, watch::Receiver<Option<Value>>),
    ) -> std::convert::Infallible {
        let inner = &self.inner;
        tokio::time::sleep(inner.settings.started_after).await;
        inner.reporter.tell(key.run, Input::Started { of: self.report_of(key), started_at }).await;
        for number in 1.. {
            let said = progress.borrow_and_update().clone();
            let newest = saved.borrow_and_update().clone();
            let checkpoint = newest.clone().filter(|_| newest != known);
            known = newest;
            if said.is_some() || checkpoint.is_some() {
                let progress = said.unwrap_or_default();
                let of = self.report_of(key);
                inner.reporter.tell(key.run, Input::Progressed { of, number, progress, checkpoint }).await;
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

    fn report_of(&self, key: Key) -> Report {
        let agent = self.inner.settings.id.clone();
        Report { action: key.action, delivery: key.delivery, message: key.message, agent }
    }

    fn complete(&self, key: Key, ended: Ended, hold: &Arc<Hold>) {
        let Ended { outcome, started_at, checkpoint, note, .. } = ended;
        let checkpoint = checkpoint.filter(|_| !matches!(outcome, Outcome::Succeeded { .. }));
        let outcome = readable(outcome);
        tracing::trace!(metric = "Attempts");
        if matches!(outcome, Outcome::Failed { .. } | Outcome::TimedOut { .. }) {
            tracing::trace!(metric = "Failures");
        }
        if let (Outcome::Succeeded { .. }, Some(note)) = (&outcome, note) {
            // A short attempt has not been told of yet, and it began when it began.
            self.inner.reporter.report(key.run, Input::Started { of: self.report_of(key), started_at }, None);
            // It is the last one, whatever the attempt has reported.
            let (number, progress) = (u32::MAX, Progress { percent: None, message: Some(note) });
            let input = Input::Progressed { of: self.report_of(key), number, progress, checkpoint: None };
            self.inner.reporter.report(key.run, input, None);
        }
        let input = Input::Completed { of: self.report_of(key), started_at, outcome, checkpoint };
        self.inner.reporter.report(key.run, input, Some(hold.clone()));
    }

    /// Deletes a message that no agent needs.
    fn give_up(&self, hold: &Arc<Hold>) {
        self.inner.reporter.acknowledge(hold.clone());
    }

    /// Deletes a message that no agent needs, unless another agent may have it by now.
    fn give_up_if_held(&self, hold: &Arc<Hold>) {
        if hold.is_safe_for(Duration::ZERO) {
            self.give_up(hold);
        } else {
            self.inner.held.release(hold);
        }
    }

    /// Hands the attempt back, which spends none. The agent deletes its message, and the process manager that decides
    /// the report sends another. So no agent gets the attempt before the record has its last checkpoint.
    fn hand_back(&self, key: Key, checkpoint: Option<Value>, hold: &Arc<Hold>) {
        if !hold.is_safe_for(Duration::ZERO) {
            return self.hand_back_unheld(key, checkpoint, hold);
        }
        let input = Input::HandedBack { of: self.report_of(key), kept: false, checkpoint };
        self.inner.reporter.report(key.run, input, Some(hold.clone()));
    }

    /// Hands back an attempt whose message this agent may not delete: another agent may have it, or it is gone. The
    /// agent reports that it has stopped the attempt, so the record counts no lost agent. The report may come before or
    /// after the next agent's claim.
    fn hand_back_unheld(&self, key: Key, checkpoint: Option<Value>, hold: &Hold) {
        let input = Input::HandedBack { of: self.report_of(key), kept: true, checkpoint };
        self.inner.reporter.report(key.run, input, None);
        self.inner.held.release(hold);
    }

    /// Puts a message that cannot be performed where a person finds it, with the reason.
    async fn bury(&self, received: &Received, reason: &str) {
        tracing::error!(reason, "an attempt cannot be performed; its message goes to the dead-letter queue");
        let queues = self.inner.ports.queues.as_ref();
        let pool = QueueName::Pool(self.inner.settings.pool.clone());
        let mut backoff = Backoff::of_failures();
        while let Err(error) = bury(queues, &pool, &received.body, reason).await {
            tracing::warn!(error.code = error.code, error = %error, "failed to bury a message");
            if error.class != ErrorClass::Retry {
                return;
            }
            backoff.wait().await;
        }
    }
}

/// An output that no reader could read again is a failure, told while there is still an agent to tell it.
fn readable(outcome: Outcome) -> Outcome {
    match outcome {
        Outcome::Succeeded { output } if is_too_deep(&output) => {
            let message = format!("the output is nested more than {MAX_VALUE_DEPTH} levels deep");
            Outcome::Failed { error: ErrorInfo::new("output.too_deep", message) }
        }
        Outcome::Succeeded { .. } | Outcome::Failed { .. } | Outcome::TimedOut { .. } | Outcome::Cancelled => outcome,
    }
}

fn attempt_of(message: PerformMessage, fence: u64, checkpoint: Option<Value>, clock: &dyn Clock) -> Attempt {
    let ahead = clock.now().as_millis().saturating_sub(clock.stamp().as_millis());
    Attempt {
        idempotency_key: idempotency_key(message.run, message.of.action),
        run: message.run,
        task: message.task,
        version: message.version,
        name: message.name,
        of: message.of,
        fence,
        work: message.work,
        timeout: message.timeout_ms,
        // The wall clock of this machine, as it is set now, shows that time at the deadline.
        deadline: message.deadline.map(|at| Timestamp::from_millis(at.as_millis().saturating_add(ahead))),
        checkpoint,
        // The message may have any text as its trace; programs and endpoints get only a valid `traceparent`.
        trace: message.trace.filter(|trace| is_traceparent(trace)),
    }
}
