//! Inside one process nobody waits for the watcher's next look at the file.

use std::time::{Duration, Instant};

use tempfile::TempDir;
use windlass_domain::ids::PoolName;
use windlass_embedded::{Role, Store};
use windlass_engine::ports::{Outgoing, PortError, QueueName, Queues};

const ROUNDS: usize = 200;
/// Half of the watcher's pause: were it needed, most rounds would take two pauses.
const MOST: Duration = Duration::from_millis(4);

async fn pass_on(store: &Store, from: &QueueName, to: &QueueName) -> Result<(), PortError> {
    let wait = Duration::from_secs(20);
    let received = store.receive(from, 10, wait, wait).await?;
    store.delete(from, received.into_iter().map(|delivery| delivery.receipt).collect()).await?;
    store.send(to, vec![Outgoing::now("ball".to_owned())]).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_there_and_back_takes_no_look_at_the_file() {
    let folder = TempDir::new().expect("a temporary folder can be made");
    let store = Store::open(folder.path(), Role::Host).expect("the folder is empty");
    let queue = |name| QueueName::Pool(PoolName::new(name).expect("it is a name"));
    let (there, back) = (queue("there"), queue("back"));
    store.send(&there, vec![Outgoing::now("ball".to_owned())]).await.expect("it can be written");
    let other = {
        let (store, there, back) = (store.clone(), there.clone(), back.clone());
        tokio::spawn(async move {
            for _ in 0..ROUNDS {
                pass_on(&store, &there, &back).await?;
            }
            Ok::<_, PortError>(())
        })
    };
    let mut took = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        let began = Instant::now();
        pass_on(&store, &back, &there).await.expect("it can be used");
        took.push(began.elapsed());
    }
    other.await.expect("it does not panic").expect("it can be used");
    took.sort_unstable();
    assert!(took[ROUNDS / 2] < MOST, "the median is {:?}", took[ROUNDS / 2]);
}
