//! An agent, by its own entry. The agents of a pool are one partition, the only one that they may write.

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use serde::{Deserialize, Serialize};
use windlass_domain::ids::{AgentId, PoolName};
use windlass_domain::time::Timestamp;
use windlass_engine::ports::AgentRecord;

use super::{BODY, Damage, EXPIRES_AT, Item, SK, key, number, packing, read_bytes, read_text};

/// The partition of a pool's agents. The role of the pool's agents names it in `infra/template.yaml`, as it names the
/// attributes of [`encode`].
pub(crate) fn partition(pool: &PoolName) -> String {
    format!("AGENTS#{pool}")
}

/// `DynamoDB` deletes an agent's record this long after the agent was last seen. It is the longest time that SQS keeps
/// a message (`MessageRetentionPeriod`), and far longer than the sweeper may stand still. The sweeper needs the record
/// to remove the agent's control queue.
const KEPT_FOR_SECS: i64 = 14 * 86_400;

/// The key of an agent.
pub(crate) fn agent_key(pool: &PoolName, agent: &AgentId) -> Item {
    key(partition(pool), agent.as_str())
}

/// The packed body. Times are in milliseconds since the epoch.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    #[serde(rename = "s")]
    slots: u32,
    #[serde(rename = "b")]
    busy: u32,
    #[serde(rename = "v")]
    version: String,
    #[serde(rename = "a")]
    address: String,
    #[serde(rename = "d", default, skip_serializing_if = "std::ops::Not::not")]
    draining: bool,
    #[serde(rename = "u")]
    started_at: i64,
    #[serde(rename = "t")]
    seen_at: i64,
}

/// The item of an agent.
///
/// # Panics
/// Never: the body is plain data.
pub(crate) fn encode(agent: &AgentRecord) -> Item {
    let body = Body {
        slots: agent.slots,
        busy: agent.busy,
        version: agent.version.clone(),
        address: agent.address.clone(),
        draining: agent.draining,
        started_at: agent.started_at.as_millis(),
        seen_at: agent.seen_at.as_millis(),
    };
    let packed = packing::pack(&serde_json::to_vec(&body).expect("bodies are plain data"));
    let mut item = agent_key(&agent.pool, &agent.id);
    item.insert(BODY.to_owned(), AttributeValue::B(Blob::new(packed)));
    let expires_at = agent.seen_at.as_millis().div_euclid(1000).saturating_add(KEPT_FOR_SECS);
    item.insert(EXPIRES_AT.to_owned(), number(expires_at));
    item
}

/// Reads an agent of the pool whose partition it is in.
pub(crate) fn decode(pool: &PoolName, item: &Item) -> Result<AgentRecord, Damage> {
    let json = packing::unpack(read_bytes(item, BODY)?)?;
    let body: Body = serde_json::from_slice(&json).map_err(Damage::broken)?;
    Ok(AgentRecord {
        id: AgentId::new(read_text(item, SK)?).map_err(Damage::broken)?,
        pool: pool.clone(),
        slots: body.slots,
        busy: body.busy,
        version: body.version,
        address: body.address,
        draining: body.draining,
        started_at: Timestamp::from_millis(body.started_at),
        seen_at: Timestamp::from_millis(body.seen_at),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    prop_compose! {
        fn agents()(
            (id, pool) in ("[a-zA-Z][a-zA-Z0-9_-]{0,63}", "[a-zA-Z][a-zA-Z0-9_-]{0,63}"),
            (slots, busy, draining) in any::<(u32, u32, bool)>(),
            (version, address) in ("\\PC{0,20}", "\\PC{0,40}"),
            (started_at, seen_at) in any::<(i64, i64)>(),
        ) -> AgentRecord {
            AgentRecord {
                id: AgentId::new(&id).unwrap(),
                pool: PoolName::new(&pool).unwrap(),
                slots,
                busy,
                version,
                address,
                draining,
                started_at: Timestamp::from_millis(started_at),
                seen_at: Timestamp::from_millis(seen_at),
            }
        }
    }

    proptest! {
        #[test]
        fn agent_round_trips(agent in agents()) {
            prop_assert_eq!(decode(&agent.pool, &encode(&agent)), Ok(agent));
        }
    }

    fn largest() -> AgentRecord {
        AgentRecord {
            id: AgentId::new(&"a".repeat(64)).unwrap(),
            pool: PoolName::new(&"p".repeat(64)).unwrap(),
            slots: 100,
            busy: 100,
            version: "10.20.30-beta+linux.arm64".to_owned(),
            address: format!("{}/4194304", "h".repeat(63)),
            draining: true,
            started_at: Timestamp::from_millis(1_800_000_000_000),
            seen_at: Timestamp::from_millis(1_800_000_000_999),
        }
    }

    /// The role of a pool's agents allows these, in `infra/template.yaml`.
    #[test]
    fn registration_has_the_attributes_of_the_role() {
        let item = encode(&largest());
        let mut names: Vec<&str> = item.keys().map(String::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["b", "expires_at", "pk", "sk"]);
        assert_eq!(item[crate::table::PK], crate::table::text(format!("AGENTS#{}", "p".repeat(64))));
    }

    #[test]
    fn an_agent_is_one_write_unit_and_expires() {
        let item = encode(&largest());
        assert!(crate::meter::item_size::item_bytes(&item) <= 1024);
        assert_eq!(item[EXPIRES_AT], number(1_801_209_600));
    }
}
