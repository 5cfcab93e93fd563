//! One host at a time: an exclusive lock of the operating system, which ends with the process, however that ends.

use std::fs::{File, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

use crate::error::OpenError;

/// The lock's file inside the data folder. It holds the process id of the host, for people.
const FILE_NAME: &str = "host.lock";

/// The lock, held until it is dropped.
pub(crate) struct HostLock {
    _file: File,
}

impl HostLock {
    pub(crate) fn take(folder: &Path) -> Result<Self, OpenError> {
        let failed = |error: std::io::Error| OpenError::Folder { path: folder.to_owned(), cause: error.to_string() };
        let path = folder.join(FILE_NAME);
        let options = File::options().read(true).write(true).create(true).truncate(false).open(path);
        let mut file = options.map_err(failed)?;
        match file.try_lock() {
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

/// Who holds the lock, by what it wrote down.
fn holder(file: &mut File) -> String {
    let mut text = String::new();
    let read = file.take(32).read_to_string(&mut text).is_ok();
    let text = text.trim();
    if read && !text.is_empty() { text.to_owned() } else { "unknown".to_owned() }
}
