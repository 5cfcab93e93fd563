//! The file keeps what the ports promise.

use tempfile::TempDir;
use windlass_embedded::{Role, Store};
use windlass_engine::Ports;
use windlass_testkit::conformance::{self, Timing};

/// One host for all cases of a suite, as they would share one on AWS.
fn host() -> (TempDir, Ports) {
    let folder = TempDir::new().expect("a temporary folder can be made");
    let ports = Store::open(folder.path(), Role::Host).expect("the folder is empty").ports();
    (folder, ports)
}

#[tokio::test(flavor = "multi_thread")]
async fn queues() {
    let (_folder, ports) = host();
    conformance::queues(async || ports.clone(), Timing::LOCAL).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn runs() {
    let (_folder, ports) = host();
    conformance::runs(async || ports.clone(), Timing::LOCAL).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks() {
    let (_folder, ports) = host();
    conformance::tasks(async || ports.clone(), Timing::LOCAL).await;
    conformance::due(async || ports.clone(), Timing::LOCAL).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn agents() {
    let (_folder, ports) = host();
    conformance::agents(async || ports.clone(), Timing::LOCAL).await;
}
