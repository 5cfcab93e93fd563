//! A token in a file that only its owner can read.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use windlass_domain::ids::derive;

use super::token::Token;

const FOLDER_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;
/// The mode bits that grant access to users other than the owner.
const OTHERS: u32 = 0o077;

/// The file of one client of one issuer.
pub(super) struct Cache {
    path: PathBuf,
}

#[derive(Serialize, Deserialize)]
struct Kept {
    access_token: String,
    /// In seconds since the epoch.
    expires_at: u64,
}

/// The folder of such files: `windlass` in `$XDG_CACHE_HOME` or `~/.cache`.
pub(super) fn default_folder() -> Option<PathBuf> {
    let set = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = set("XDG_CACHE_HOME").or_else(|| set("HOME").map(|home| home.join(".cache")))?;
    Some(base.join("windlass"))
}

impl Cache {
    /// A hash of the key, so that the key itself does not appear in the file's name.
    pub(super) fn new(folder: &Path, key: &[&str]) -> Self {
        let name = derive(&[&["token"], key].concat());
        Self { path: folder.join(format!("token-{}.json", name.simple())) }
    }

    /// The cached token, if no other user could read it or put it there.
    pub(super) fn read(&self) -> Option<Token> {
        let kept = fs::metadata(&self.path).ok()?;
        let is_private = kept.is_file() && kept.mode() & OTHERS == 0;
        let text = is_private.then(|| fs::read(&self.path).ok()).flatten()?;
        let Kept { access_token, expires_at } = serde_json::from_slice(&text).ok()?;
        Some(Token { text: access_token, until: Some(expires_at) })
    }

    /// Writes a token that says when it expires. If the write fails, the next command fetches its own token.
    pub(super) fn write(&self, token: &Token) {
        if let Some(expires_at) = token.until {
            let kept = Kept { access_token: token.text.clone(), expires_at };
            drop(self.try_write(&kept));
        }
    }

    fn try_write(&self, kept: &Kept) -> io::Result<()> {
        let folder = self.path.parent().ok_or(io::ErrorKind::NotFound)?;
        DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(folder)?;
        // Commands may run at once: each writes a file of its own and puts it in place whole.
        let draft = self.path.with_extension(format!("{}.new", std::process::id()));
        drop(fs::remove_file(&draft));
        let mut file = OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(&draft)?;
        file.write_all(&serde_json::to_vec(kept)?)?;
        fs::rename(&draft, &self.path)
    }
}
