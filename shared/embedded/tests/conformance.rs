//! The file keeps the promises of the ports.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::{Mutex, broadcast};
use windlass_contract::event::PublicEvent;
use windlass_domain::ids::{AgentId, PoolName, RunId, TaskName};
use windlass_domain::run::{Origin, Run};
use windlass_embedded::{Role, Store};
use windlass_engine::Ports;
use windlass_engine::ports::{Outgoing, QueueName};
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

/// No one would remove the queue that such a message made.
#[tokio::test(flavor = "multi_thread")]
async fn message_to_a_left_agent_is_dropped() {
    let (_folder, ports) = host();
    let agent = AgentId::new("left").expect("a name");
    let control = QueueName::Control { pool: PoolName::default(), agent };
    let answer = || ports.queues.send(&control, vec![Outgoing::now("{}".to_owned())]);
    let come = async || ports.queues.receive(&control, 10, Duration::from_secs(30), Duration::ZERO).await;
    ports.queues.make(&control).await.expect("made");
    answer().await.expect("sent");
    assert_eq!(come().await.expect("received").len(), 1);
    ports.queues.remove(&control).await.expect("removed");
    answer().await.expect("dropped");
    assert_eq!(ports.queues.depth(&control).await.expect("counted"), 0);
    assert_eq!(come().await.expect("an agent that comes back makes its queue"), []);
}

/// Another process has written since. Only a load looks at the file.
#[tokio::test(flavor = "multi_thread")]
async fn glance_does_not_pass_for_the_newest_record() {
    let (folder, ports) = host();
    let other = Store::open(folder.path(), Role::Agent).expect("the host has made it").ports();
    let (task, now) = (TaskName::new("t").expect("a name"), ports.clock.now());
    let run = Run::submitted(RunId::from_key(&task, "k"), (task, 1), 1, Value::Null, Origin::Request, now);
    ports.runs.create(&run, &[], &[]).await.expect("written");
    let later = Run { revision: 1, ..run.clone() };
    other.runs.commit(&run, &later, &[]).await.expect("written");
    let glance = ports.runs.glance(&run.id).await.expect("read");
    assert_eq!((glance.record, glance.is_newest), (Some(run.clone()), false));
    assert_eq!(ports.runs.load(&run.id).await.expect("read"), Some(later.clone()));
    assert_eq!(ports.runs.glance(&run.id).await.expect("read").record, Some(later));
}
