//! The host's files beside the database in its data folder: its token and its address.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::error::HostError;

/// The file in a data folder that holds the token of its host.
pub const TOKEN_FILE: &str = "token";
/// The file in a data folder that holds the address of its host while it runs.
pub const URL_FILE: &str = "url";

const TOKEN_BYTES: usize = 32;
const OWNER_ONLY: u32 = 0o600;

/// A data folder that exists.
pub(crate) struct DataFolder {
    path: PathBuf,
}

impl DataFolder {
    pub(crate) fn of(path: PathBuf) -> Self {
        Self { path }
    }

    /// The token: 256 random bits, made once and kept. Only its owner may read it.
    pub(crate) fn token(&self) -> Result<String, HostError> {
        let path = self.path.join(TOKEN_FILE);
        let token = match fs::read_to_string(&path) {
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
}
