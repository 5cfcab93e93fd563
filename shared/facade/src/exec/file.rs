//! Files that a program has written. By the time that the agent reads one it may be anything: a pipe, a device, a link, a
//! file on a disk that does not answer.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::Duration;

use rustix::fs::OFlags;
use rustix::io::Errno;
use tokio::time::{Instant, sleep};

use crate::starved;

/// How long a read may take. The attempt goes on without the file then.
const PATIENCE: Duration = Duration::from_secs(5);

/// A part of a file.
#[derive(Debug)]
pub(super) struct Part {
    /// Where it begins.
    pub(super) start: u64,
    /// The length of the whole file.
    pub(super) length: u64,
    pub(super) bytes: Vec<u8>,
}

/// How long the agent waits for a free file descriptor. The program has done its work by then.
const DESCRIPTOR_WITHIN: Duration = Duration::from_mins(1);
/// How often it looks for one.
const DESCRIPTOR_POLL: Duration = Duration::from_millis(100);

/// Reads a regular file's first bytes. An agent without a free file descriptor waits until it has one.
pub(super) async fn read_patiently(path: &Path, most: u64) -> io::Result<Option<Part>> {
    let given_up = Instant::now() + DESCRIPTOR_WITHIN;
    loop {
        match read(path, most, |_| Some(0)).await {
            Err(error) if starved::is(&error) && Instant::now() < given_up => sleep(DESCRIPTOR_POLL).await,
            read => return read,
        }
    }
}

/// Reads a regular file from what `start` gives for its length, `most` bytes at most; nothing if that gives none.
pub(super) async fn read(
    path: &Path,
    most: u64,
    start: impl FnOnce(u64) -> Option<u64> + Send + 'static,
) -> io::Result<Option<Part>> {
    let path = path.to_owned();
    let work = move || {
        let mut file = open(&path)?;
        let length = file.metadata()?.len();
        let Some(start) = start(length) else { return Ok(None) };
        if start > 0 {
            file.seek(SeekFrom::Start(start))?;
        }
        let mut bytes = Vec::new();
        file.take(most).read_to_end(&mut bytes)?;
        Ok(Some(Part { start, length, bytes }))
    };
    match tokio::time::timeout(PATIENCE, tokio::task::spawn_blocking(work)).await {
        Ok(read) => read.unwrap_or_else(|error| Err(io::Error::other(error))),
        Err(_) => Err(io::Error::other(format!("it can not be read within {} s", PATIENCE.as_secs()))),
    }
}

/// Opens it if it is a regular file. The program may replace it at any moment, so the open file is asked, and no open waits:
/// that of a pipe would wait for whoever writes.
fn open(path: &Path) -> io::Result<File> {
    let flags = OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::NOCTTY | OFlags::CLOEXEC;
    let flags = i32::try_from(flags.bits()).map_err(io::Error::other)?;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(|error| {
        if error.raw_os_error() == Some(Errno::LOOP.raw_os_error()) { io::Error::other("it is a link") } else { error }
    })?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("it is not a regular file")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn refused(path: &Path) -> String {
        read(path, 10, |_| Some(0)).await.expect_err("it is refused").to_string()
    }

    #[tokio::test]
    async fn only_a_regular_file_is_read() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("file"), "0123456789abc").expect("written");
        let part = read(&at("file"), 10, |length| Some(length - 12)).await.expect("read").expect("a part");
        assert_eq!((part.start, part.bytes.as_slice()), (1, b"123456789a".as_slice()));
        assert!(read(&at("file"), 10, |_| None).await.expect("asked").is_none());

        rustix::fs::mkfifoat(rustix::fs::CWD, at("pipe"), rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR)
            .expect("made");
        std::os::unix::fs::symlink(at("file"), at("link")).expect("linked");
        std::os::unix::net::UnixListener::bind(at("socket")).expect("bound");
        assert_eq!(refused(&at("pipe")).await, "it is not a regular file");
        assert_eq!(refused(&at("link")).await, "it is a link");
        assert_eq!(refused(folder.path()).await, "it is not a regular file");
        assert_eq!(refused(Path::new("/dev/zero")).await, "it is not a regular file");
        assert!(read(&at("socket"), 10, |_| Some(0)).await.is_err());
        assert_eq!(read(&at("none"), 10, |_| Some(0)).await.expect_err("none").kind(), io::ErrorKind::NotFound);
    }
}
