//! The item that says that a task has runs. A list of all runs consists of the lists of these tasks. A deleted task
//! still has its runs.

use windlass_domain::ids::TaskName;

use super::{Damage, Item, SK, key, read_text};

/// The partition of these items.
pub(crate) const PARTITION: &str = "LISTS";

/// The item of a task, which is its key alone.
pub(crate) fn item(task: &TaskName) -> Item {
    key(PARTITION, task.as_str())
}

/// The task of an item.
pub(crate) fn decode(item: &Item) -> Result<TaskName, Damage> {
    TaskName::new(read_text(item, SK)?).map_err(Damage::broken)
}
