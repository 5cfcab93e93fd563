//! The host in memory keeps the promises of the ports.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use windlass_contract::event::PublicEvent;
use windlass_domain::time::Timestamp;
use windlass_engine::Ports;
use windlass_testkit::conformance::{self, Subscriber, Timing};
use windlass_testkit::memory::MemoryHost;

fn host() -> Ports {
    MemoryHost::new(Timestamp::from_millis(1_800_000_000_000)).ports()
}

#[tokio::test(start_paused = true)]
async fn queues() {
    let ports = host();
    conformance::queues(async || ports.clone(), Timing::LOCAL).await;
}

#[tokio::test(start_paused = true)]
async fn runs() {
    let ports = host();
    conformance::runs(async || ports.clone(), Timing::LOCAL).await;
}

#[tokio::test(start_paused = true)]
async fn tasks() {
    let ports = host();
    conformance::tasks(async || ports.clone(), Timing::LOCAL).await;
    conformance::due(async || ports.clone(), Timing::LOCAL).await;
}

#[tokio::test(start_paused = true)]
async fn agents() {
    let ports = host();
    conformance::agents(async || ports.clone(), Timing::LOCAL).await;
}

#[tokio::test(start_paused = true)]
async fn schedules() {
    let host = MemoryHost::new(Timestamp::from_millis(1_800_000_000_000));
    let kept = async |task: &_| host.schedule_of(task).map(|schedule| format!("{schedule:?}"));
    conformance::schedules(&host.ports(), kept).await;
}

/// Reads the events that were published since it read last.
struct Reader {
    host: MemoryHost,
    read: AtomicUsize,
}

#[async_trait::async_trait]
impl Subscriber for Reader {
    async fn next(&self, at_most: Duration) -> Vec<PublicEvent> {
        tokio::time::sleep(at_most / 10).await;
        let published = self.host.published();
        let read = self.read.swap(published.len(), Ordering::Relaxed);
        published[read..].to_vec()
    }
}

#[tokio::test(start_paused = true)]
async fn events() {
    let host = MemoryHost::new(Timestamp::from_millis(1_800_000_000_000));
    let reader = Reader { host: host.clone(), read: AtomicUsize::new(0) };
    conformance::events(&host.ports(), &reader, Timing::LOCAL).await;
}
