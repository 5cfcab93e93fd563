//! The agent's reports. The reporter sends them together, and only then deletes the messages that they answer. Each queue
//! of inputs has a worker of its own, so that a claim does not wait until reports are sent.

use std::sync::Arc;

use futures::future::join;
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::task::JoinHandle;
use windlass_contract::message::{InboxMessage, encode};
use windlass_domain::ids::RunId;
use windlass_domain::limits::MAX_BATCH;
use windlass_domain::run::Input;

use crate::backoff::Backoff;
use crate::ports::{Outgoing, QueueName, Queues};

use super::hold::{Held, Hold};
use crate::send::send_each;

/// One piece of work for the reporter's worker.
enum Report {
    Send { body: String, answers: Option<Arc<Hold>> },
    Tell { body: String, sent: oneshot::Sender<()> },
    Acknowledge(Arc<Hold>),
    Finish(oneshot::Sender<()>),
}

/// Sends reports as they come; while one batch is on its way the next one gathers.
pub(super) struct Reporter {
    inbox: Line,
    claims: Line,
}

/// The way to one queue of inputs.
struct Line {
    reports: mpsc::UnboundedSender<Report>,
    worker: Mutex<Option<JoinHandle<()>>>,
}

impl Reporter {
    pub(super) fn new(queues: &Arc<dyn Queues>, pool: &QueueName, held: &Arc<Held>) -> Self {
        let line = |queue| Line::new((queues.clone(), queue), pool.clone(), held.clone());
        Self { inbox: line(QueueName::Inbox), claims: line(QueueName::Claims) }
    }

    /// Reports to the process manager. Once the report is sent, the reporter deletes the message that it answers.
    pub(super) fn report(&self, run: RunId, input: Input, answers: Option<Arc<Hold>>) {
        self.line_of(&input).push(Report::Send { body: body_of(run, input), answers });
    }

    /// Reports to the process manager, and waits until the report is sent.
    pub(super) async fn tell(&self, run: RunId, input: Input) {
        let (sent, wait) = oneshot::channel();
        self.line_of(&input).push(Report::Tell { body: body_of(run, input), sent });
        // The channel closes without an answer only if the worker has ended; then no task is left to send the report.
        let _ended = wait.await;
    }

    /// Deletes a message that needs no answer.
    pub(super) fn acknowledge(&self, hold: Arc<Hold>) {
        self.inbox.push(Report::Acknowledge(hold));
    }

    /// Waits until everything has been sent.
    pub(super) async fn finish(&self) {
        join(self.inbox.finish(), self.claims.finish()).await;
    }

    fn line_of(&self, input: &Input) -> &Line {
        let is_of_claims = matches!(input, Input::Claim { .. } | Input::Renewed { .. } | Input::HandedBack { .. });
        if is_of_claims { &self.claims } else { &self.inbox }
    }
}

impl Line {
    fn new(to: (Arc<dyn Queues>, QueueName), pool: QueueName, held: Arc<Held>) -> Self {
        // Bounded by the agent's slots: an attempt keeps its slot until its end has been sent. Before that it sends one
        // report at a time. An attempt whose message is gone sends one report more.
        let (reports, waiting) = mpsc::unbounded_channel();
        let worker = tokio::spawn(work(to, pool, held, waiting));
        Self { reports, worker: Mutex::new(Some(worker)) }
    }

    async fn finish(&self) {
        let (done, wait) = oneshot::channel();
        self.push(Report::Finish(done));
        // The worker drops its end only when it has ended, and then there is nothing to wait for.
        let _ended = wait.await;
        if let Some(worker) = self.worker.lock().await.take() {
            let _ended = worker.await;
        }
    }

    fn push(&self, report: Report) {
        if self.reports.send(report).is_err() {
            tracing::error!("a report came after the agent had ended; its message will be redelivered");
        }
    }
}

fn body_of(run: RunId, input: Input) -> String {
    encode(&InboxMessage::of_run(run, input))
}

async fn work(
    (queues, to): (Arc<dyn Queues>, QueueName),
    pool: QueueName,
    held: Arc<Held>,
    mut waiting: mpsc::UnboundedReceiver<Report>,
) {
    let mut gathered = Vec::with_capacity(MAX_BATCH);
    while waiting.recv_many(&mut gathered, MAX_BATCH).await > 0 {
        let (mut messages, mut answered, mut told, mut finish) = (Vec::new(), Vec::new(), Vec::new(), None);
        for report in gathered.drain(..) {
            match report {
                Report::Send { body, answers } => {
                    messages.push((to.clone(), Outgoing::now(body)));
                    answered.extend(answers);
                }
                Report::Tell { body, sent } => {
                    messages.push((to.clone(), Outgoing::now(body)));
                    told.push(sent);
                }
                Report::Acknowledge(answer) => answered.push(answer),
                Report::Finish(done) => finish = Some(done),
            }
        }
        send(queues.as_ref(), messages).await;
        for sent in told {
            // The waiting task may have ended meanwhile.
            let _nobody_waits = sent.send(());
        }
        let released = answered.iter().inspect(|hold| held.release(hold));
        let receipts: Vec<_> = released.filter_map(|hold| hold.receipt()).collect();
        drop(answered);
        for batch in receipts.chunks(MAX_BATCH) {
            if let Err(error) = queues.delete(&pool, batch.to_vec()).await {
                tracing::warn!(error.code = error.code, error = %error, "failed to acknowledge; it will be redelivered");
            }
        }
        if let Some(done) = finish {
            let _nobody_waits = done.send(());
            return;
        }
    }
}

/// Resends until the queue has taken every report: a lost report is work done in vain. It logs a report that its queue
/// will never take; the attempt's timeout or redelivery then ends the attempt.
async fn send(queues: &dyn Queues, mut messages: Vec<(QueueName, Outgoing)>) {
    let mut backoff = Backoff::of_failures();
    loop {
        let sent = send_each(queues, &messages).await;
        let mut left = Vec::new();
        for (message, sent) in messages.into_iter().zip(sent) {
            match sent {
                Ok(()) => {}
                Err(error) if error.is_lasting() => {
                    tracing::error!(error.code = error.code, error = %error, queue = %message.0, "the queue does not take a report; it is dropped");
                }
                Err(error) => {
                    tracing::warn!(error.code = error.code, error = %error, "failed to report; trying again");
                    left.push(message);
                }
            }
        }
        if left.is_empty() {
            return;
        }
        messages = left;
        backoff.wait().await;
    }
}
