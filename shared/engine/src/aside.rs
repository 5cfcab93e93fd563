//! Work that may take long and never waits. The threads of the runtime serve every other call; while one of them does such work,
//! another takes over what it served.

use tokio::runtime::{Handle, RuntimeFlavor};
use windlass_domain::definition::Definition;

/// Decides. Most decisions take microseconds, and are taken where they are; one that calls functions of expressions may take
/// as long as the bound on their work.
pub(crate) fn decide<T>(definition: &Definition, decide: impl FnOnce() -> T) -> T {
    if definition.may_take_long { long(decide) } else { decide() }
}

/// Does work that may take long. A runtime of one thread has no other that could take over.
pub(crate) fn long<T>(work: impl FnOnce() -> T) -> T {
    match Handle::try_current().map(|runtime| runtime.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(work),
        Ok(_) | Err(_) => work(),
    }
}
