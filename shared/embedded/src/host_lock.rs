//! One host at a time: an exclusive lock of the operating system, which ends with the process, however that ends.

use std::fs::{File, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::OpenError;

/// The lock's file inside the data folder. It holds the process id of the host, for people.
const FILE_NAME: &str = "host.lock";

/// How long a look at the lock may take, and how often a host waits for one.
const LOOK: Duration = Duration::from_millis(10);
const LOOKS: usize = 10;

/// The lock, held until it is dropped.
pub(crate) struct HostLock {
    _file: File,
}

/// Where the lock of a folder is.
pub(crate) fn path(folder: &Path) -> PathBuf {
    folder.join(FILE_NAME)
}

/// Whether a host works on that folder now. To look at the lock is to take it for a moment. A host that starts just
/// then waits.
pub fn has_host(folder: &Path) -> bool {
    let Ok(file) = File::open(path(folder)) else { return false };
    matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock))
}

/// Takes the lock. Fails if another process holds it for longer than [`has_host`] does.
fn lock(file: &File) -> Result<(), TryLockError> {
    for _ in 0..LOOKS {
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => std::thread::sleep(LOOK),
            locked => return locked,
        }
    }
    file.try_lock()
}

impl HostLock {
    pub(crate) fn take(folder: &Path) -> Result<Self, OpenError> {
        let failed = |error: std::io::Error| OpenError::Folder { path: folder.to_owned(), cause: error.to_string() };
        let file = File::options().read(true).write(true).create(true).truncate(false).mode(0o600).open(path(folder));
        let mut file = file.map_err(failed)?;
        match lock(&file) {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(OpenError::SecondHost { path: folder.to_owned(), holder: holder(&mut file) });
            }
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        write_down(&mut file).map_err(failed)?;
        Ok(Self { _file: file })
    }
}

fn write_down(file: &mut File) -> std::io::Result<()> {
    file.set_len(0)?;
    file.seek(SeekFrom::Start(0))?;
    writeln!(file, "{}", std::process::id())
}

/// The holder of the lock, as it named itself.
fn holder(file: &mut File) -> String {
    let mut text = String::new();
    let read = file.take(32).read_to_string(&mut text).is_ok();
    let text = text.trim();
    if read && !text.is_empty() { text.to_owned() } else { "unknown".to_owned() }
}
