//! The promises of queues: at least once, hidden while a receiver holds them, bounded, and prompt.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::{Instant, sleep};
use windlass_domain::limits::{MAX_BATCH, MAX_DELAY_MS, MAX_MESSAGE_BYTES};
use windlass_domain::time::Millis;
use windlass_engine::Ports;
use windlass_engine::ports::{ErrorClass, Outgoing, PortError, QueueName, Receipt, Received};

use super::{
    CLOCK_SLACK, Case, Fault, HELD, PATIENCE, Timing, Verdict, WOKEN_WITHIN, cases, fresh_queue, holds, refused, run,
    same, some,
};

const CASES: &[Case] = cases![
    a_message_is_hidden_while_it_is_held_and_then_comes_again,
    a_message_comes_as_it_was_sent,
    a_hold_can_be_extended,
    a_message_handed_back_comes_again_at_once,
    a_replaced_receipt_is_good_for_nothing,
    an_expired_receipt_still_deletes,
    a_deleted_message_does_not_come_again,
    a_delayed_message_comes_on_time,
    each_message_of_a_batch_has_its_own_delay,
    a_batch_of_large_messages_comes_whole,
    a_batch_of_extensions_says_which_were_good,
    a_batch_of_deletions_leaves_what_is_not_held,
    batches_are_bounded,
    messages_are_bounded,
    a_refused_batch_sends_nothing,
    no_more_come_than_are_asked_for,
    concurrent_receivers_share_nothing,
    a_message_comes_to_one_of_many_receivers,
    a_waiting_receiver_is_woken_by_a_send,
    a_waiting_receiver_is_woken_when_a_hold_ends,
    every_waiting_receiver_is_woken,
    a_wait_ends_with_nothing,
    queues_are_separate,
    a_removed_queue_holds_nothing,
    depth_counts_what_waits,
];

/// The suite of `Queues`.
pub async fn queues(make: impl AsyncFn() -> Ports, timing: Timing) {
    run("queues", CASES, make, timing).await;
}

const NO_WAIT: Duration = Duration::ZERO;

/// A queue of its own for a case, with the calls that cases make.
#[derive(Clone)]
struct Bench {
    ports: Ports,
    queue: QueueName,
    visibility: Duration,
    timing: Timing,
}

impl Bench {
    /// A queue of an agent, which its first receive makes. A received message stays hidden for as long as the case
    /// runs.
    async fn new(ports: Ports, timing: Timing) -> Result<Self, Fault> {
        let bench = Self { ports, queue: fresh_queue(), visibility: HELD, timing };
        bench.nothing("a queue that has just been made").await?;
        Ok(bench)
    }

    /// The same queue; a received message stays hidden briefly.
    fn briefly(&self) -> Self {
        Self { visibility: self.timing.visibility, ..self.clone() }
    }

    async fn send(&self, bodies: &[&str]) -> Result<(), PortError> {
        self.ports.queues.send(&self.queue, bodies.iter().map(|body| Outgoing::now((*body).to_owned())).collect()).await
    }

    async fn receive(&self, most: usize, wait: Duration) -> Result<Vec<Received>, PortError> {
        self.ports.queues.receive(&self.queue, most, self.visibility, wait).await
    }

    /// The next message, which must come.
    async fn next(&self, what: &str) -> Result<Received, Fault> {
        some(what, self.receive(1, PATIENCE).await?.pop())
    }

    /// Nothing may be there.
    async fn nothing(&self, what: &str) -> Verdict {
        let found = self.receive(MAX_BATCH, NO_WAIT).await?;
        same(what, found.into_iter().map(|delivery| delivery.body).collect(), Vec::<String>::new())
    }

    /// Receives that many messages, in as many calls as it takes.
    async fn take(&self, count: usize) -> Result<Vec<Received>, Fault> {
        let mut taken = Vec::with_capacity(count);
        while taken.len() < count {
            let next = self.receive((count - taken.len()).min(MAX_BATCH), PATIENCE).await?;
            some("a message", next.first())?;
            taken.extend(next);
        }
        Ok(taken)
    }

    async fn extend(&self, receipt: &Receipt, visibility: Duration) -> Result<Vec<Receipt>, PortError> {
        self.ports.queues.extend(&self.queue, vec![(receipt.clone(), visibility)]).await
    }

    async fn delete(&self, receipt: &Receipt) -> Result<(), PortError> {
        self.ports.queues.delete(&self.queue, vec![receipt.clone()]).await
    }
}

async fn a_message_is_hidden_while_it_is_held_and_then_comes_again(ports: Ports, timing: Timing) -> Verdict {
    let bench = Bench::new(ports, timing).await?;
    bench.send(&["a"]).await?;
    let received = Instant::now();
    let first = bench.briefly().next("the message").await?;
    same("the first count", first.receive_count, 1)?;
    let second = bench.next("the message again").await?;
    holds("it was hidden while it was held", received.elapsed() + CLOCK_SLACK >= timing.visibility)?;
    same("the second count", second.receive_count, 2)?;
    same("when it was sent", second.sent_at, first.sent_at)?;
    holds("each receipt is another one", first.receipt != second.receipt)?;
    bench.nothing("while it is held").await
}

async fn a_message_comes_as_it_was_sent(ports: Ports, timing: Timing) -> Verdict {
    let bench = Bench::new(ports, timing).await?;
    let largest = "x".repeat(MAX_MESSAGE_BYTES);
    for body in ["{\"a\": \"b\\u0000\"}", "line\nline", "žluťoučký 🐎", largest.as_str()] {
        let before = bench.ports.clock.now();
        bench.send(&[body]).await?;
        let after = bench.ports.clock.now();
        let found = bench.next("the message").await?;
        holds("the body is what was sent", found.body == body)?;
        let slack = Millis(u64::try_from(timing.prompt.as_millis()).unwrap_or(u64::MAX));
        holds("it says when it was sent", found.sent_at.plus(slack) >= before && found.sent_at <= after.plus(slack))?;
        bench.delete(&found.receipt).await?;
    }
    Ok(())
}

async fn a_hold_can_be_extended(ports: Ports, timing: Timing) -> Verdict {
    let bench = Bench::new(ports, timing).await?;
    let extended = extend_before_it_ends(&bench.briefly()).await?;
    same("the count", bench.next("the message again").await?.receive_count, 2)?;
    holds("it was hidden while the extension lasted", extended.elapsed() + CLOCK_SLACK >= timing.visibility * 3)
}

/// Extends a brief hold to three times its length; when that was. Where the machine was held up the hold may have ended
/// before: that shows nothing, and is played again.
async fn extend_before_it_ends(bench: &Bench) -> Result<Instant, Fault> {
    for _ in 0..20 {
        bench.send(&["a"]).await?;
        let received = Instant::now();
        let held = bench.next("the message").await?.receipt;
        let extended = Instant::now();
        let good = bench.extend(&held, bench.visibility * 3).await?;
        if received.elapsed() < bench.visibility {
            same("the receipts that were good", good, vec![held])?;
            return Ok(extended);
        }
        bench.delete(&held).await?;
    }
    Err(Fault("the machine was held up whenever a hold was to be extended".to_owned()))
}

async fn a_message_handed_back_comes_again_at_once(ports: Ports, timing: Timing) -> Verdict {
    let bench = Bench::new(ports, timing).await?;
    bench.send(&["a"]).await?;
    for count in 1..=3 {
        let held = bench.next("the message").await?;
        same("the count", held.receive_count, count)?;
        bench.nothing("while it is held").await?;
        same("the receipts that were good", bench.extend(&held.receipt, Duration::ZERO).await?.len(), 1)?;
    }
    Ok(())
}

async fn a_replaced_receipt_is_good_for_nothing(ports: Ports, timing: Timing) -> Verdict {
    let bench = Bench::new(ports, timing).await?;
    bench.send(&["a"]).await?;
    let stale = bench.next("the message").await?.receipt;
    bench.extend(&stale, Duration::ZERO).await?;
    let held = bench.next("the message again").await?.receipt;
    same("what the stale receipt extends", bench.extend(&stale, Duration::ZERO).await?, Vec::new())?;
    bench.nothing("a stale receipt hands nothing back").await?;
    bench.delete(&stale).await?;
    same("the receipt that holds it", bench.extend(&held, Duration::ZERO).await?, vec![held])?;
    let last = bench.next("a stale receipt deletes nothing").await?.receipt;
    bench.delete(&last).await?;
    same("what the receipt of a deleted message extends", bench.extend(&last, Duration::ZERO).await?, Vec::new())?;
    bench.delete(&last).await?;
    Ok(())
}

/// SQS refuses to hide a message that is at large again (`MessageNotInflight` of `ChangeMessageVisibility`), and
/// deletes it all the same (`DeleteMessage`); other hosts do both. No caller may count on either.
async fn an_expired_receipt_still_deletes(ports: Ports, timing: Timing) -> Verdict {
    let bench = Bench::new(ports, timing).await?;
    bench.send(&["a"]).await?;
    let held = bench.briefly().next("the message").await?.receipt;
    sleep(timing.visibility + timing.prompt).await;
    let extended = bench.extend(&held, HELD).await?;
    holds("it extends the hold, or does nothing", extended.is_empty() || extended == [held.clone()])?;
    if !extended.is_empty() {
        bench.nothing("it is hidden again").await?;
    }
    bench.delete(&held).await?;
    same("what is left to extend", bench.extend(&held, Duration::ZERO).await?, Vec::new())?;
    bench.nothing("it is deleted").await
}

async fn a_deleted_message_does_not_come_again(ports: Ports, timing: Timing) -> Verdict {
    let bench = Bench::new(ports, timing).await?;
    bench.send(&["a", "b"]).await?;
    let first = bench.briefly().next("a message").await?;
    bench.delete(&first.receipt).await?;
    sleep(timing.visibility + timing.prompt).await;
    let second = bench.next("the other message").await?;
    holds("it is the other one", second.body != first.body)?;
    bench.nothing("the deleted one").await
}

fn delayed(body: &str, delay: Duration) -> Outgoing {
    Outgoing { body: body.to_owned(), delay: Millis(u64::try_from(delay.as_millis()).unwrap_or(u64::MAX)) }
}

async fn a_delayed_message_comes_on_time(ports: Ports, timing: Timing) -> Verdict {
    let bench = Bench::new(ports, timing).await?;
    let sent = Instant::now();
    bench.ports.queues.send(&bench.queue, vec![delayed("later", timing.visibility)]).await?;
    same("what comes", bench.next("the delayed one").await?.body, "later".to_owned())?;
    holds("it does not come early", sent.elapsed() + CLOCK_SLACK >= timing.visibility)
}

async fn each_message_of_a_batch_has_its_own_delay(ports: Ports, timing: Timing) -> Verdict {
    let bench = Bench::new(ports, timing).await?;
    let batch = vec![
        delayed("later", timing.visibility),
        Outgoing::now("now".to_owned()),
        delayed("much later", HELD),
        Outgoing::now("now".to_owned()),
    ];
    let sent = Instant::now();
    bench.ports.queues.send(&bench.queue, batch).await?;
    let mut come = Vec::new();
    for _ in 0..3 {
        let next = bench.next("a message").await?.body;
        let is_due = next == "now" || sent.elapsed() + CLOCK_SLACK >= timing.visibility;
        holds("it does not come early", is_due)?;
        come.push(next);
    }
    come.sort_unstable();
    same("what comes", come, ["later", "now", "now"].map(str::to_owned).to_vec())?;
    bench.nothing("the one that is delayed for longer").await
}

/// Ten messages that together are far above the limit of one request of SQS.
async fn a_batch_of_large_messages_comes_whole(ports: Ports, timing: Timing) -> Verdict {
    let bench = Bench::new(ports, timing).await?;
    let bodies: Vec<String> =
        (0..MAX_BATCH).map(|number| format!("{number}{}", "x".repeat(number * MAX_MESSAGE_BYTES / 16))).collect();
    bench.send(&bodies.iter().map(String::as_str).collect::<Vec<_>>()).await?;
    let mut found: Vec<String> = bench.take(MAX_BATCH).await?.into_iter().map(|delivery| delivery.body).collect();
    found.sort_unstable();
    holds("each came as it was sent", found == bodies)
}

async fn a_batch_of_extensions_says_which_were_good(ports: Ports, timing: Timing) -> Verdict {
    let bench = Bench::new(ports, timing).await?;
    bench.send(&["a"; MAX_BATCH]).await?;
    let held: Vec<Receipt> = bench.take(MAX_BATCH).await?.into_iter().map(|delivery| delivery.receipt).collect();
    bench.delete(&held[2]).await?;
    bench.extend(&held[5], Duration::ZERO).await?;
    bench.next("the one that was handed back").await?;
    let batch = held.iter().map(|receipt| (receipt.clone(), timing.visibility)).collect();
    let mut good = bench.ports.queues.extend(&bench.queue, batch).await?;
    let mut expected: Vec<Receipt> =
        held.iter().enumerate().filter(|(place, _)| ![2, 5].contains(place)).map(|(_, held)| held.clone()).collect();
    good.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    expected.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    same("the receipts that were good", good, expected)
}

async fn a_batch_of_deletions_leaves_what_is_not_held(ports: Ports, timing: Timing) -> Verdict {
    let bench = Bench::new(ports, timing).await?;
    bench.send(&["a"; MAX_BATCH]).await?;
    let held: Vec<Receipt> = bench.take(MAX_BATCH).await?.into_iter().map(|delivery| delivery.receipt).collect();
    bench.extend(&held[7], Duration::ZERO).await?;
    let again = bench.next("the one that was handed back").await?.receipt;
    bench.ports.queues.delete(&bench.queue, held).await?;
    bench.extend(&again, Duration::ZERO).await?;
    same("what is left", bench.next("the one that was held again").await?.receive_count, 3)?;
    bench.nothing("the others are deleted").await
}

async fn batches_are_bounded(ports: Ports, timing: Timing) -> Verdict {
    let bench = Bench::new(ports, timing).await?;
    let bodies: Vec<String> = (0..=MAX_BATCH).map(|number| number.to_string()).collect();
    let bodies: Vec<&str> = bodies.iter().map(String::as_str).collect();
    refused("a send of 11", bench.send(&bodies).await)?;
    bench.nothing("what was refused").await?;
    bench.send(&bodies[..MAX_BATCH]).await?;
    let receipt = bench.next("a message").await?.receipt;
    let eleven = vec![receipt; MAX_BATCH + 1];
    let extensions = eleven.iter().map(|receipt| (receipt.clone(), Duration::ZERO)).collect();
    refused("an extension of 11", bench.ports.queues.extend(&bench.queue, extensions).await)?;
    refused("a deletion of 11", bench.ports.queues.delete(&bench.queue, eleven).await)?;
    refused("a receive of 11", bench.receive(MAX_BATCH + 1, NO_WAIT).await)?;
    refused("a receive of none", bench.receive(0, NO_WAIT).await)
}

async fn messages_are_bounded(ports: Ports, timing: Timing) -> Verdict {
    let bench = Bench::new(ports, timing).await?;
    refused("a message that is too large", bench.send(&[&"x".repeat(MAX_MESSAGE_BYTES + 1)]).await)?;
    let longest = Duration::from_millis(MAX_DELAY_MS);
    let too_long = vec![delayed("a", longest + Duration::from_millis(1))];
    refused("a delay that is too long", bench.ports.queues.send(&bench.queue, too_long).await)?;
    bench.ports.queues.send(&bench.queue, vec![delayed("a", longest)]).await?;
    bench.nothing("the delayed one").await
}

async fn a_refused_batch_sends_nothing(ports: Ports, timing: Timing) -> Verdict {
    let bench = Bench::new(ports, timing).await?;
    refused("a batch with one too large", bench.send(&["a", &"x".repeat(MAX_MESSAGE_BYTES + 1), "b"]).await)?;
    bench.nothing("the others of the batch").await
}

async fn no_more_come_than_are_asked_for(ports: Ports, timing: Timing) -> Verdict {
    let bench = Bench::new(ports, timing).await?;
    for _ in 0..3 {
        bench.send(&["a"; MAX_BATCH]).await?;
    }
    for most in [1, 3, MAX_BATCH] {
        let found = bench.receive(most, PATIENCE).await?.len();
        holds("between one and as many as asked for", (1..=most).contains(&found))?;
    }
    Ok(())
}

/// Every message comes to one receiver, once, as long as no receiver holds one for too long.
async fn concurrent_receivers_share_nothing(ports: Ports, timing: Timing) -> Verdict {
    const MESSAGES: usize = 200;
    let bench = Bench::new(ports, timing).await?;
    let receivers = receivers_of(&bench, MESSAGES);
    for number in 0..MESSAGES {
        bench.send(&[number.to_string().as_str()]).await?;
    }
    let mut found = all_of(receivers).await?;
    found.sort_by_key(|body| body.parse::<usize>().unwrap_or(usize::MAX));
    same("every message, once", found, (0..MESSAGES).map(|number| number.to_string()).collect())
}

async fn a_message_comes_to_one_of_many_receivers(ports: Ports, timing: Timing) -> Verdict {
    let bench = Bench::new(ports, timing).await?;
    let receivers = receivers_of(&bench, 1);
    bench.send(&["a"]).await?;
    same("who has it", all_of(receivers).await?, vec!["a".to_owned()])
}

type Receiving = tokio::task::JoinHandle<Result<Vec<String>, PortError>>;

/// Eight receivers that go on until that many messages have come, or nothing comes any more. Each of them asks once
/// more after the last one, which it must not get again.
fn receivers_of(bench: &Bench, messages: usize) -> Vec<Receiving> {
    let come = Arc::new(AtomicUsize::new(0));
    let receive = |bench: Bench, come: Arc<AtomicUsize>| async move {
        let (mut bodies, mut last) = (Vec::new(), Instant::now());
        loop {
            let is_over = come.load(Ordering::SeqCst) >= messages || last.elapsed() > PATIENCE;
            let received = bench.receive(MAX_BATCH, bench.timing.prompt).await?;
            if received.is_empty() && is_over {
                return Ok::<_, PortError>(bodies);
            } else if !received.is_empty() {
                come.fetch_add(received.len(), Ordering::SeqCst);
                last = Instant::now();
                let receipts = received.iter().map(|delivery| delivery.receipt.clone()).collect();
                bodies.extend(received.into_iter().map(|delivery| delivery.body));
                bench.ports.queues.delete(&bench.queue, receipts).await?;
            }
        }
    };
    (0..8).map(|_| tokio::spawn(receive(bench.clone(), come.clone()))).collect()
}

async fn all_of(receivers: Vec<Receiving>) -> Result<Vec<String>, Fault> {
    let mut found = Vec::new();
    for receiver in receivers {
        found.extend(receiver.await.map_err(|error| Fault(error.to_string()))??);
    }
    Ok(found)
}

async fn a_waiting_receiver_is_woken_by_a_send(ports: Ports, timing: Timing) -> Verdict {
    let bench = Bench::new(ports, timing).await?;
    let waiting = bench.clone();
    let waiting = tokio::spawn(async move {
        let found = waiting.receive(1, PATIENCE).await;
        (found, Instant::now())
    });
    sleep(timing.prompt).await;
    let sent = Instant::now();
    bench.send(&["a"]).await?;
    let (found, at) = waiting.await.map_err(|error| Fault(error.to_string()))?;
    same("what came", found?.len(), 1)?;
    holds("it was woken", at.duration_since(sent) < WOKEN_WITHIN)
}

async fn a_waiting_receiver_is_woken_when_a_hold_ends(ports: Ports, timing: Timing) -> Verdict {
    let bench = Bench::new(ports, timing).await?;
    bench.send(&["a"]).await?;
    bench.briefly().next("the message").await?;
    let held = Instant::now();
    let again = bench.receive(1, PATIENCE).await?;
    same("what came again", again.len(), 1)?;
    holds("it was woken", held.elapsed() < timing.visibility + WOKEN_WITHIN)
}

async fn every_waiting_receiver_is_woken(ports: Ports, timing: Timing) -> Verdict {
    const RECEIVERS: usize = 5;
    let bench = Bench::new(ports, timing).await?;
    let waiting = |bench: Bench| tokio::spawn(async move { bench.receive(1, PATIENCE).await });
    let waiting: Vec<_> = (0..RECEIVERS).map(|_| waiting(bench.clone())).collect();
    sleep(timing.prompt).await;
    bench.send(&["a"; RECEIVERS]).await?;
    let sent = Instant::now();
    for receiver in waiting {
        let found = receiver.await.map_err(|error| Fault(error.to_string()))??;
        same("one for each", found.len(), 1)?;
    }
    holds("all were woken", sent.elapsed() < WOKEN_WITHIN)
}

async fn a_wait_ends_with_nothing(ports: Ports, timing: Timing) -> Verdict {
    let bench = Bench::new(ports, timing).await?;
    let began = Instant::now();
    same("what came", bench.receive(1, timing.prompt).await?, Vec::new())?;
    holds("it waited", began.elapsed() + CLOCK_SLACK >= timing.prompt)?;
    holds("it did not wait for long", began.elapsed() < timing.prompt + WOKEN_WITHIN)
}

async fn queues_are_separate(ports: Ports, timing: Timing) -> Verdict {
    let (one, other) = (Bench::new(ports.clone(), timing).await?, Bench::new(ports, timing).await?);
    one.send(&["a"]).await?;
    other.nothing("another queue's message").await?;
    one.next("the message").await.map(drop)
}

/// Hosts differ in how soon the name is free again: SQS lets it rest for 60 s (`DeleteQueue`), with a passing error.
async fn a_removed_queue_holds_nothing(ports: Ports, timing: Timing) -> Verdict {
    let bench = Bench::new(ports, timing).await?;
    bench.send(&["a", "b"]).await?;
    let held = bench.next("a message").await?.receipt;
    bench.ports.queues.remove(&bench.queue).await?;
    bench.ports.queues.remove(&bench.queue).await?;
    same("what is left to extend", bench.extend(&held, Duration::ZERO).await?, Vec::new())?;
    bench.delete(&held).await?;
    match bench.receive(MAX_BATCH, NO_WAIT).await {
        Err(error) => same("how it fails", error.class, ErrorClass::Retry),
        Ok(found) => same("the messages of a removed queue", found, Vec::new()),
    }
}

async fn depth_counts_what_waits(ports: Ports, timing: Timing) -> Verdict {
    let bench = Bench::new(ports, timing).await?;
    let depth = || bench.ports.queues.depth(&bench.queue);
    same("of an empty queue", depth().await?, 0)?;
    bench.send(&["a", "b", "c"]).await?;
    same("of a full queue", depth().await?, 3)?;
    let held = bench.next("a message").await?;
    same("without the hidden ones", depth().await?, 2)?;
    bench.extend(&held.receipt, Duration::ZERO).await?;
    same("with one handed back", depth().await?, 3)
}
