//! The host in memory keeps what the ports promise.

use windlass_domain::time::Timestamp;
use windlass_engine::Ports;
use windlass_testkit::conformance::{self, Timing};
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
