//! The agent reads these variables, beside those that every program on AWS reads.
//!
//! | name | what | if absent |
//! |---|---|---|
//! | `WINDLASS_POOL` | the pool it takes work from | a fault |
//! | `WINDLASS_SLOTS` | how many attempts it performs at once, 1 to 10000 | 4 |
//! | `WINDLASS_VERSION` | its version, as the register of agents shows it | Windlass's own |
//! | `WINDLASS_DRAIN` | how long attempts may go on once it is asked to end | `100s`: ECS kills 120 s after it asks |
//! | `WINDLASS_HEALTH_ADDR` | where it tells how it does | `127.0.0.1:8081` |
//! | `WINDLASS_CREDENTIALS` | `inherit`: its programs get its credentials of AWS; the option `--credentials` wins | `none` |
//! | `WINDLASS_ENV_ALLOW` | the only variables of its own that its programs get, such as `PATH,LC_*` | all but credentials |
//! | `WINDLASS_HTTP_DENY` | networks that `http` actions may not call, such as `10.0.0.0/8,127.0.0.1` | none but link-local ones |
//! | `WINDLASS_HTTP_ALLOW` | networks that they may call though they are refused otherwise | none |
//! | `ECS_AGENT_URI` | set by ECS: where its task is protected | no protection |

use std::net::SocketAddr;
use std::time::Duration;

use windlass_aws::settings::SettingFault;
use windlass_aws::{Program, Settings, SettingsError};
use windlass_domain::ids::PoolName;
use windlass_domain::time::Millis;
use windlass_facade::{Credentials, IpNet, Targets};

const POOL: &str = "the name of a pool: letters, digits, `-` and `_`, a letter first";
const SLOTS: &str = "a number of slots from 1 to 10000";
const DRAIN: &str = "a span of time with its unit, such as `100s`";
const CREDENTIALS: &str = "`none` or `inherit`";
const NETWORKS: &str = "networks or addresses with commas between, such as `10.0.0.0/8,127.0.0.1`";
const HEALTH: &str = "an address and a port, such as `127.0.0.1:8081`";

const DEFAULT_SLOTS: u32 = 4;
const MOST_SLOTS: u32 = 10_000;
const DEFAULT_DRAIN: Millis = Millis::from_secs(100);
const DEFAULT_HEALTH: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 8081);
const HEALTH_ADDR: &str = "WINDLASS_HEALTH_ADDR";
const CREDENTIALS_OF: &str = "WINDLASS_CREDENTIALS";

/// The settings of an agent's program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AgentProgram {
    pub(crate) aws: Settings,
    pub(crate) pool: PoolName,
    pub(crate) slots: u32,
    pub(crate) version: String,
    pub(crate) drain: Duration,
    pub(crate) health: SocketAddr,
    /// Whether programs get the agent's credentials.
    pub(crate) credentials: Credentials,
    /// The only variables of its own that programs get; absent: all but credentials.
    pub(crate) env_allow: Option<Vec<String>>,
    /// The addresses that `http` actions may call.
    pub(crate) targets: Targets,
    /// The address of ECS's agent, if this is a task of ECS.
    pub(crate) ecs_agent: Option<String>,
}

impl AgentProgram {
    /// Reads this process's environment; the command line's `--credentials` wins.
    pub(crate) fn from_env(credentials: Option<&str>) -> Result<Self, SettingsError> {
        Self::read(|name| {
            credentials.filter(|_| name == CREDENTIALS_OF).map(str::to_owned).or_else(|| std::env::var(name).ok())
        })
    }

    /// Reads the settings. The error lists every fault, not only the first. An empty value counts as absent.
    fn read(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, SettingsError> {
        let mut faults = Vec::new();
        let aws = Settings::read(&lookup, Program::Agent).map_err(|error| faults.extend(error.faults)).ok();
        let set = |name: &str| lookup(name).filter(|text| !text.is_empty());
        let mut one = |name, expected, fits: &dyn Fn(&str) -> bool, required| {
            let found = set(name);
            let wrong = match &found {
                Some(text) => !fits(text),
                None => required,
            };
            if wrong {
                faults.push(SettingFault { name, found: found.clone(), expected });
            }
            found.filter(|_| !wrong)
        };
        let pool = one("WINDLASS_POOL", POOL, &|text| PoolName::new(text).is_ok(), true);
        let slots = one("WINDLASS_SLOTS", SLOTS, &|text| slots_of(text).is_some(), false);
        let drain = one("WINDLASS_DRAIN", DRAIN, &|text| Millis::parse(text).is_some(), false);
        let health = one(HEALTH_ADDR, HEALTH, &|text| text.parse::<SocketAddr>().is_ok(), false);
        let credentials = one(CREDENTIALS_OF, CREDENTIALS, &|text| Credentials::parse(text).is_some(), false);
        let deny = one("WINDLASS_HTTP_DENY", NETWORKS, &|text| networks_of(text).is_some(), false);
        let allow = one("WINDLASS_HTTP_ALLOW", NETWORKS, &|text| networks_of(text).is_some(), false);
        let networks = |text: Option<String>| text.and_then(|text| networks_of(&text)).unwrap_or_default();
        let targets = Targets::with(networks(deny), networks(allow));
        let pool = pool.and_then(|text| PoolName::new(&text).ok());
        let (Some(aws), Some(pool), true) = (aws, pool, faults.is_empty()) else {
            return Err(SettingsError { faults });
        };
        Ok(Self {
            aws,
            pool,
            slots: slots.and_then(|text| slots_of(&text)).unwrap_or(DEFAULT_SLOTS),
            version: set("WINDLASS_VERSION").unwrap_or_else(|| env!("CARGO_PKG_VERSION").to_owned()),
            drain: drain.and_then(|text| Millis::parse(&text)).unwrap_or(DEFAULT_DRAIN).as_duration(),
            health: health.and_then(|text| text.parse().ok()).unwrap_or(DEFAULT_HEALTH),
            credentials: credentials.and_then(|text| Credentials::parse(&text)).unwrap_or_default(),
            env_allow: lookup("WINDLASS_ENV_ALLOW").map(|names| parts(&names).map(str::to_owned).collect()),
            targets,
            ecs_agent: set("ECS_AGENT_URI"),
        })
    }
}

/// Where the agent of this environment tells how it does.
pub(crate) fn health_address() -> SocketAddr {
    std::env::var(HEALTH_ADDR).ok().and_then(|text| text.parse().ok()).unwrap_or(DEFAULT_HEALTH)
}

fn networks_of(text: &str) -> Option<Vec<IpNet>> {
    parts(text).map(Targets::network).collect()
}

/// What stands between the commas.
fn parts(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|part| !part.is_empty())
}

fn slots_of(text: &str) -> Option<u32> {
    text.parse().ok().filter(|slots| (1..=MOST_SLOTS).contains(slots))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAST: [(&str, &str); 4] = [
        ("WINDLASS_NAME", "windlass"),
        ("AWS_REGION", "eu-central-1"),
        ("WINDLASS_BUCKET", "bucket-of-windlass"),
        ("WINDLASS_POOL", "default"),
    ];

    fn read(set: &[(&str, &str)]) -> Result<AgentProgram, SettingsError> {
        let value = |name: &str| set.iter().rev().find(|(known, _)| *known == name).map(|(_, text)| (*text).to_owned());
        AgentProgram::read(value)
    }

    #[test]
    fn defaults_fill_in_optional_settings() {
        let program = read(&LEAST).expect("whole");
        assert_eq!((program.slots, program.drain), (4, Duration::from_secs(100)));
        assert_eq!((program.health, program.ecs_agent), (DEFAULT_HEALTH, None));
        assert_eq!(program.credentials, Credentials::None);
        let more = [
            ("WINDLASS_SLOTS", "20"),
            ("WINDLASS_DRAIN", "1m30s"),
            ("WINDLASS_HEALTH_ADDR", "0.0.0.0:9000"),
            ("WINDLASS_CREDENTIALS", "inherit"),
            ("WINDLASS_ENV_ALLOW", "PATH, LC_*"),
            ("WINDLASS_HTTP_DENY", "10.0.0.0/8,127.0.0.1"),
        ];
        let program = read(&[LEAST.as_slice(), &more].concat()).expect("whole");
        assert_eq!((program.slots, program.drain), (20, Duration::from_secs(90)));
        assert_eq!((program.health.port(), program.credentials), (9000, Credentials::Inherit));
        assert_eq!(program.env_allow, Some(vec!["PATH".to_owned(), "LC_*".to_owned()]));
        assert_eq!(program.targets, Targets::with(networks_of("10.0.0.0/8,127.0.0.1/32").expect("networks"), []));
    }

    #[test]
    fn all_faults_are_reported_together() {
        let names = |set: &[(&str, &str)]| -> Vec<&str> {
            read(set).expect_err("faults").faults.iter().map(|fault| fault.name).collect()
        };
        assert_eq!(names(&[]), ["WINDLASS_NAME", "AWS_REGION", "WINDLASS_BUCKET", "WINDLASS_POOL"]);
        let wrong = [
            ("WINDLASS_POOL", "a pool"),
            ("WINDLASS_SLOTS", "0"),
            ("WINDLASS_DRAIN", "100"),
            ("WINDLASS_HEALTH_ADDR", "here"),
            ("WINDLASS_CREDENTIALS", "all"),
            ("WINDLASS_HTTP_DENY", "10.0.0.0/33"),
            ("WINDLASS_HTTP_ALLOW", "all"),
        ];
        let all = wrong.map(|(name, _)| name);
        assert_eq!(names(&[LEAST.as_slice(), &wrong].concat()), all);
    }
}
