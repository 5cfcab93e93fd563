//! The host's files beside the database in its data folder: its token and its address.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

use crate::error::HostError;

/// The file in a data folder that holds the token of its host.
pub const TOKEN_FILE: &str = "token";
/// The file in a data folder that holds the address of its host while it runs.
pub const URL_FILE: &str = "url";

const TOKEN_BYTES: usize = 32;
/// Bytes of a token's file that are read. One that has more holds no token.
const MAX_READ: u64 = 1024;
const OWNER_ONLY: u32 = 0o600;

/// A data folder that exists.
pub(crate) struct DataFolder {
    path: PathBuf,
}

impl DataFolder {
    pub(crate) fn of(path: PathBuf) -> Self {
        Self { path }
    }

    /// Refuses a folder whose database was emptied: beside a token there was a host, and all that it kept is gone. A host that
    /// began anew there would hide that.
    pub(crate) fn check_not_emptied(&self) -> Result<(), HostError> {
        let path = self.path.join(windlass_embedded::FILE_NAME);
        let is_empty = fs::metadata(&path).is_ok_and(|found| found.is_file() && found.len() == 0);
        if is_empty && self.path.join(TOKEN_FILE).exists() { Err(HostError::Emptied(path)) } else { Ok(()) }
    }

    /// The token: 256 random bits, made once and kept. Only its owner may read it.
    pub(crate) fn token(&self) -> Result<String, HostError> {
        let path = self.path.join(TOKEN_FILE);
        let token = match read_small(&path) {
            Ok(text) if is_token(text.trim()) => keep(&path, text.trim()),
            Ok(_) => make(&path),
            Err(error) if error.kind() == io::ErrorKind::NotFound => make(&path),
            Err(error) => Err(error),
        };
        token.map_err(|source| HostError::Folder { doing: "keep the token in", path, source })
    }

    /// Writes the address down, for commands that know the folder.
    pub(crate) fn write_url(&self, url: &str) -> Result<(), HostError> {
        let path = self.path.join(URL_FILE);
        replace(&path, &format!("{url}\n")).map_err(|source| HostError::Folder { doing: "write", path, source })
    }

    /// Takes the address away: no host answers there from here on.
    pub(crate) fn remove_url(&self) {
        drop(fs::remove_file(self.path.join(URL_FILE)));
    }
}

/// Reads the beginning of a file, of which a token is no more. Something else in its place, such as a FIFO, is an error: to open
/// it could take for ever.
fn read_small(path: &Path) -> io::Result<String> {
    let flags = OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::open(path, OFlags::RDONLY | flags, Mode::empty())?);
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is no regular file: remove it, and the host makes a token anew"));
    }
    let mut bytes = Vec::new();
    file.take(MAX_READ).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn is_token(text: &str) -> bool {
    text.len() == TOKEN_BYTES * 2 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Keeps a token; if others could read it, its permissions are mended. Another user's token is replaced: that user knows it.
fn keep(path: &Path, token: &str) -> io::Result<String> {
    let found = fs::metadata(path)?;
    // The store has opened the folder, and refuses the folder of another user.
    if path.parent().is_some_and(|folder| fs::metadata(folder).is_ok_and(|folder| folder.uid() != found.uid())) {
        tracing::warn!("another user owns the token; it is made anew");
        return make(path);
    }
    if found.mode() & 0o077 != 0 {
        tracing::warn!("other users could read the token; its permissions are mended");
        fs::set_permissions(path, fs::Permissions::from_mode(OWNER_ONLY))?;
    }
    Ok(token.to_owned())
}

fn make(path: &Path) -> io::Result<String> {
    let mut bytes = [0; TOKEN_BYTES];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    let token = format!("{:032x}{:032x}", half(&bytes[..16]), half(&bytes[16..]));
    replace(path, &format!("{token}\n"))?;
    Ok(token)
}

fn half(bytes: &[u8]) -> u128 {
    bytes.iter().fold(0, |all, byte| all << 8 | u128::from(*byte))
}

/// Writes a file that only its owner may read, whole or not at all.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let draft = path.with_extension("new");
    drop(fs::remove_file(&draft));
    let mut file: File = OpenOptions::new().write(true).create_new(true).mode(OWNER_ONLY).open(&draft)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&draft, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode_of(path: &Path) -> u32 {
        fs::metadata(path).expect("there").permissions().mode() & 0o777
    }

    #[test]
    fn token_is_made_private_or_replaced_if_broken() {
        let dir = tempfile::tempdir().expect("a folder");
        let folder = DataFolder::of(dir.path().to_owned());
        let path = dir.path().join(TOKEN_FILE);
        let token = folder.token().expect("made");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("set");
        assert_eq!(folder.token().expect("kept"), token);
        assert_eq!(mode_of(&path), 0o600);
        fs::write(&path, "").expect("written");
        assert_ne!(folder.token().expect("made anew"), token);
    }
    /// To open a FIFO waits for a writer, and to read a sparse file of gigabytes takes as much memory.
    #[test]
    fn token_that_is_no_small_file_is_refused_or_replaced() {
        let dir = tempfile::tempdir().expect("a folder");
        let folder = DataFolder::of(dir.path().to_owned());
        let path = dir.path().join(TOKEN_FILE);
        rustix::fs::mkfifoat(rustix::fs::CWD, &path, Mode::RUSR | Mode::WUSR).expect("made");
        let refused = folder.token().expect_err("it is a FIFO").to_string();
        assert!(refused.contains("no regular file"), "{refused}");
        fs::remove_file(&path).expect("removed");
        File::create(&path).and_then(|file| file.set_len(1 << 40)).expect("a sparse file");
        assert!(is_token(&folder.token().expect("made anew")));
    }

    #[test]
    fn emptied_database_beside_a_token_is_refused() {
        let dir = tempfile::tempdir().expect("a folder");
        let folder = DataFolder::of(dir.path().to_owned());
        let path = dir.path().join(windlass_embedded::FILE_NAME);
        File::create(&path).expect("made");
        folder.check_not_emptied().expect("there never was a host");
        folder.token().expect("made");
        let refused = folder.check_not_emptied().expect_err("it was emptied");
        assert_eq!(refused.code(), "WL0622");
        fs::write(&path, "something").expect("written");
        folder.check_not_emptied().expect("it is not empty");
    }
}
