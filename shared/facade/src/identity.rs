//! The identity of an agent's process, and the guard that it starts from its own program.

use std::ffi::OsString;

use windlass_domain::ids::{AgentId, PoolName};

/// The argument that makes an agent's program run as the guard: see [`run_guard`](crate::run_guard).
pub const GUARD_COMMAND: &str = "exec-guard";

/// Characters of the machine's name in an agent's name. From 80 characters on, the name of a control queue ends with a
/// hash. With pools of up to eight characters, it is shorter even in a stack on AWS with the longest name.
const MACHINE_CHARS: usize = 8;
/// Characters of the pool's name in an agent's name.
const POOL_CHARS: usize = 8;

/// The command that runs this program as the guard, which ends the programs of a killed agent.
/// `None` if the system does not give the path of this program's file.
pub fn guard_command() -> Option<Vec<OsString>> {
    let program = std::env::current_exe().ok()?;
    Some(vec![program.into_os_string(), GUARD_COMMAND.into()])
}

/// The machine and the process, as the register of agents shows them: `host/pid`.
pub fn address() -> String {
    format!("{}/{}", machine_name(), std::process::id())
}

/// A name for an agent that no other has, nor had: process ids come again, and a control queue must not.
pub fn made_id(pool: &PoolName) -> AgentId {
    id_of(&machine_name(), std::process::id(), pool)
}

fn id_of(machine: &str, process: u32, pool: &PoolName) -> AgentId {
    let chance = getrandom::u32().expect("the system gives random bytes");
    let letters = |text: &str, most: usize| -> String {
        text.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).take(most).collect()
    };
    let machine = letters(machine.split('.').next().unwrap_or_default(), MACHINE_CHARS);
    let name = format!("a-{machine}-{}-{process}-{chance:08x}", letters(pool.as_str(), POOL_CHARS));
    AgentId::new(&name).unwrap_or_else(|_| AgentId::new("agent").expect("a name"))
}

fn machine_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn made_names_are_names_and_differ() {
        let pool = PoolName::new("a_pool-of-many").expect("a name");
        let machine = "machine-with-a-very-long-name.example.org";
        let (one, other) = (id_of(machine, u32::MAX, &pool), id_of(machine, u32::MAX, &pool));
        assert_ne!(one, other);
        assert!(one.as_str().starts_with("a-machine--a-pool-o-4294967295-"), "{one}");
        let queue = format!("{}-control-{}-{one}", "s".repeat(20), "p".repeat(8));
        assert!(queue.len() < 80, "{queue}");
    }
}
