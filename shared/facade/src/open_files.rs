//! How many files this process may open. Each connection, program and call takes some, and systems start a process with a low
//! bound for programs from a time when more than 1,024 were a fault (`select`). A process that knows better raises it itself.

use std::io;
use std::sync::OnceLock;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

static BEFORE: OnceLock<Rlimit> = OnceLock::new();

/// Raises the bound to the highest that this process may set. A program calls this when it starts, before it opens anything.
///
/// # Errors
/// If the system refuses: then the bound is as it was.
pub(crate) fn raise_open_files() -> io::Result<()> {
    let before = getrlimit(Resource::Nofile);
    BEFORE.get_or_init(|| before);
    let highest = Rlimit { current: before.maximum, maximum: before.maximum };
    setrlimit(Resource::Nofile, highest).map_err(io::Error::from)
}

/// The bound as it was before [`raise_open_files`], for programs that this process starts; none if it was not raised.
pub(crate) fn open_files_before() -> Option<Rlimit> {
    BEFORE.get().copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bound_is_raised_and_the_one_before_is_known() {
        let before = getrlimit(Resource::Nofile);
        raise_open_files().expect("a process may raise it up to its maximum");
        let raised = getrlimit(Resource::Nofile);
        assert_eq!((raised.current, raised.maximum), (before.maximum, before.maximum));
        raise_open_files().expect("it may be called again");
        assert_eq!(open_files_before().map(|limit| limit.current), Some(before.current));
    }
}
