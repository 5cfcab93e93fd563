//! The file keeps the promises of the ports.

use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use tokio::sync::{Mutex, broadcast};
use windlass_contract::event::PublicEvent;
use windlass_embedded::{Role, Store};
use windlass_engine::Ports;
use windlass_testkit::conformance::{self, Subscriber, Timing};

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

/// A subscriber inside the process.
struct Receiver(Mutex<broadcast::Receiver<Arc<PublicEvent>>>);

#[async_trait::async_trait]
impl Subscriber for Receiver {
    async fn next(&self, at_most: Duration) -> Vec<PublicEvent> {
        let mut receiver = self.0.lock().await;
        let first = tokio::time::timeout(at_most, receiver.recv()).await;
        let mut events: Vec<PublicEvent> = first.into_iter().flatten().map(|event| event.as_ref().clone()).collect();
        while let Ok(event) = receiver.try_recv() {
            events.push(event.as_ref().clone());
        }
        events
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events() {
    let folder = TempDir::new().expect("a temporary folder can be made");
    let store = Store::open(folder.path(), Role::Host).expect("the folder is empty");
    let receiver = Receiver(Mutex::new(store.subscribe()));
    conformance::events(&store.ports(), &receiver, Timing::LOCAL).await;
}
