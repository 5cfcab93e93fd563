//! The data folder and its files: they belong to the user of this process alone, and stay the same ones while they are open.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::error::OpenError;

/// The rights of everybody but the owner.
const OF_OTHERS: u32 = 0o077;
/// The right to write of everybody but the owner.
const WRITING_OF_OTHERS: u32 = 0o022;

/// Makes the folder for its owner alone, if it is missing. Refuses one that another user owns or may write: that user could
/// put a token, a database or a program there.
pub(crate) fn make(path: &Path) -> Result<(), OpenError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.and_then(|()| check(path)).map_err(|error| failed(path, &error))
}

fn check(path: &Path) -> io::Result<()> {
    let found = fs::metadata(path)?;
    check_owner(&found)?;
    if found.mode() & WRITING_OF_OTHERS != 0 {
        let mode = found.mode() & 0o777;
        return Err(io::Error::other(format!("other users may write there (mode {mode:o}): `chmod go-w` mends that")));
    }
    Ok(())
}

/// Takes the rights of others on a file away, if there is one. A copy or a restored backup may have come with them. Refuses a
/// file of another user, who could write it.
pub(crate) fn make_private(path: &Path) -> Result<(), OpenError> {
    let Ok(found) = fs::metadata(path) else { return Ok(()) };
    check_owner(&found).map_err(|error| failed(path, &error))?;
    if found.mode() & OF_OTHERS == 0 {
        return Ok(());
    }
    let mode = Permissions::from_mode(found.mode() & 0o777 & !OF_OTHERS);
    match fs::set_permissions(path, mode) {
        Ok(()) => tracing::warn!(file = %path.display(), "other users could read a file of the store; no longer"),
        Err(error) => tracing::warn!(file = %path.display(), %error, "other users may read a file of the store"),
    }
    Ok(())
}

fn check_owner(found: &fs::Metadata) -> io::Result<()> {
    let own = rustix::process::geteuid().as_raw();
    if found.uid() == own {
        return Ok(());
    }
    Err(io::Error::other(format!("it belongs to the user {}, and this process runs as {own}", found.uid())))
}

pub(crate) fn failed(path: &Path, error: &io::Error) -> OpenError {
    OpenError::Folder { path: path.to_owned(), cause: error.to_string() }
}

/// Files that are open, by what tells one file from another.
#[derive(Debug, Default)]
pub(crate) struct OpenFiles(Vec<(PathBuf, (u64, u64))>);

impl OpenFiles {
    /// The files that are at these paths now.
    pub(crate) fn at(paths: impl IntoIterator<Item = PathBuf>) -> io::Result<Self> {
        let known = |path: PathBuf| identity(&path).map(|identity| (path, identity));
        paths.into_iter().map(known).collect::<io::Result<_>>().map(Self)
    }

    /// The first path at which there is no file any more, or another one. What is written to the open file then is lost with
    /// the process. A path that can not be looked at says nothing.
    pub(crate) fn taken_away(&self) -> Option<&Path> {
        let is_other = |path: &Path, known: (u64, u64)| match identity(path) {
            Ok(found) => found != known,
            Err(error) => error.kind() == io::ErrorKind::NotFound,
        };
        self.0.iter().find(|(path, known)| is_other(path, *known)).map(|(path, _)| path.as_path())
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::metadata(path).map(|found| (found.dev(), found.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(path: &Path) -> String {
        match make(path) {
            Err(OpenError::Folder { cause, .. }) => cause,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn folder_that_others_may_write_is_refused() {
        let parent = tempfile::tempdir().expect("a folder");
        let path = parent.path().join("data");
        make(&path).expect("it is made");
        assert_eq!(fs::metadata(&path).expect("there").mode() & 0o777, 0o700);
        for (mode, is_right) in [(0o755, true), (0o700, true), (0o770, false), (0o777, false), (0o702, false)] {
            fs::set_permissions(&path, Permissions::from_mode(mode)).expect("set");
            assert_eq!(make(&path).is_ok(), is_right, "{mode:o}");
        }
        assert!(refused(&path).contains("other users may write there (mode 702)"));
    }

    #[test]
    fn folder_of_another_user_is_refused() {
        // Root owns it; a test that runs as root gives one of its own away.
        let parent = tempfile::tempdir().expect("a folder");
        let path = if rustix::process::geteuid().is_root() {
            std::os::unix::fs::chown(parent.path(), Some(12_345), None).expect("root may");
            parent.path().to_owned()
        } else {
            PathBuf::from("/")
        };
        assert!(refused(&path).contains("it belongs to the user "), "{}", refused(&path));
    }

    #[test]
    fn file_of_the_store_is_made_private() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("file");
        fs::write(&path, "").expect("written");
        fs::set_permissions(&path, Permissions::from_mode(0o644)).expect("set");
        make_private(&path).expect("it is ours");
        make_private(&folder.path().join("none")).expect("none is made");
        assert_eq!(fs::metadata(&path).expect("there").mode() & 0o777, 0o600);
    }

    #[test]
    fn file_that_is_removed_or_replaced_is_noticed() {
        let folder = tempfile::tempdir().expect("a folder");
        let (kept, other) = (folder.path().join("kept"), folder.path().join("other"));
        for path in [&kept, &other] {
            fs::write(path, "").expect("written");
        }
        let files = OpenFiles::at([kept.clone()]).expect("there");
        fs::write(&kept, "more").expect("written");
        assert_eq!(files.taken_away(), None);
        fs::rename(&other, &kept).expect("replaced");
        assert_eq!(files.taken_away(), Some(kept.as_path()));
        let files = OpenFiles::at([kept.clone()]).expect("there");
        fs::remove_file(&kept).expect("removed");
        assert_eq!(files.taken_away(), Some(kept.as_path()));
    }
}
