//! The register of agents over the wire.

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use windlass_domain::ids::{AgentId, PoolName};
use windlass_domain::time::{Millis, Timestamp};
use windlass_engine::Ports;
use windlass_engine::ports::AgentRecord;
use windlass_engine::sweeper::Sweeper;
use windlass_testkit::conformance::{self, Timing};
use windlass_testkit::memory::MemoryHost;

use crate::stack::Stack;

#[tokio::test(flavor = "multi_thread")]
async fn the_suite() {
    let host = Stack::get().host().await;
    let others = MemoryHost::new(Timestamp::from_millis(0)).ports();
    let ports = Ports { agents: host.agents(), clock: host.clock(), ..others };
    conformance::agents(async || ports.clone(), Timing::WIRE).await;
}

fn agent(id: &str, seen_at: Timestamp) -> AgentRecord {
    AgentRecord {
        id: AgentId::new(id).expect("a name"),
        pool: PoolName::default(),
        slots: 4,
        busy: 1,
        version: "1.0.0".to_owned(),
        address: "host/1".to_owned(),
        draining: false,
        started_at: Timestamp::from_millis(1_800_000_000_000),
        seen_at,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn unchanged_agent_costs_one_write_a_minute() {
    let host = Stack::get().host().await;
    let (agents, start) = (host.agents(), host.clock().now());
    let before = host.meter().snapshot();
    for second in (0..120).step_by(10) {
        agents.register(&agent("steady", start.plus(Millis::from_secs(second)))).await.expect("it is registered");
    }
    let since = host.meter().snapshot().since(&before);
    assert_eq!(since.total("DynamoDB", "PutItem"), (2, 2.0), "{since:?}");
    agents.deregister(&agent("steady", start).id).await.expect("it is forgotten");
}

/// The agent's process was stopped for longer than the sweeper waits, and goes on.
#[tokio::test(flavor = "multi_thread")]
async fn reaped_agent_registers_again() {
    let host = Stack::get().host().await;
    // Long ago: all tests share the register, and no other test has an agent that is gone by then.
    let start = Timestamp::from_millis(host.clock().now().as_millis() - 86_400_000);
    let of_agent = host.agents();
    of_agent.register(&agent("stopped", start)).await.expect("it is registered");

    let sweepers = Stack::get().host().await;
    let others = MemoryHost::new(start).ports();
    let ports = Ports { agents: sweepers.agents(), queues: sweepers.queues(), clock: sweepers.clock(), ..others };
    let is_there = async || {
        let listed = ports.agents.list().await.expect("they are listed");
        listed.into_iter().any(|agent| agent.id.as_str() == "stopped")
    };
    let sweeper = Sweeper::new(ports.clone(), std::time::Duration::from_mins(1));
    let later = start.plus(Millis::from_secs(179));
    sweeper.reap(later).await.expect("nothing fails");
    assert!(is_there().await);
    sweeper.reap(start.plus(Millis::from_secs(180))).await.expect("nothing fails");
    assert!(!is_there().await);

    of_agent.register(&agent("stopped", start.plus(Millis::from_secs(190)))).await.expect("it is registered");
    assert!(is_there().await);
    of_agent.deregister(&agent("stopped", start).id).await.expect("it is forgotten");
}

#[tokio::test(flavor = "multi_thread")]
async fn agents_of_each_pool_are_listed() {
    let host = Stack::get().host().await;
    let (agents, now) = (host.agents(), host.clock().now());
    let other = PoolName::new("other").expect("a name");
    let of_each = [agent("listed-1", now), AgentRecord { pool: other.clone(), ..agent("listed-2", now) }];
    for agent in &of_each {
        agents.register(agent).await.expect("it is registered");
    }
    // Another program, such as the sweeper's, which wrote neither of them.
    let sweepers = Stack::get().host().await.agents();
    let mut listed = sweepers.list().await.expect("they are listed");
    listed.retain(|agent| agent.id.as_str().starts_with("listed-"));
    assert_eq!(listed, of_each);

    let pk = AttributeValue::S(format!("AGENTS#{other}"));
    let key = [("pk", pk), ("sk", AttributeValue::S("listed-2".to_owned()))];
    let key = key.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    sweepers.deregister(&of_each[1].id).await.expect("it is forgotten");
    let get = host.clients().dynamodb.get_item().table_name(&host.settings().table).set_key(Some(key)).send().await;
    assert_eq!(get.expect("it is read").item, None);
    agents.deregister(&of_each[0].id).await.expect("it is forgotten");
}

#[tokio::test(flavor = "multi_thread")]
async fn unreadable_registration_hides_no_other() {
    let host = Stack::get().host().await;
    let (agents, now) = (host.agents(), host.clock().now());
    agents.register(&agent("readable", now)).await.expect("it is registered");
    let item = [("pk", AttributeValue::S("AGENTS#default".to_owned())), ("sk", AttributeValue::S("broken".to_owned()))];
    let item = item.into_iter().chain([("b", AttributeValue::B(Blob::new([9, 1, 2])))]);
    let item = item.map(|(name, value)| (name.to_owned(), value)).collect();
    let put = host.clients().dynamodb.put_item().table_name(&host.settings().table).set_item(Some(item));
    put.send().await.expect("it is written");
    let listed = agents.list().await.expect("the others are listed");
    let ids: Vec<&str> = listed.iter().map(|agent| agent.id.as_str()).collect();
    assert!(ids.contains(&"readable") && !ids.contains(&"broken"), "{ids:?}");
}
