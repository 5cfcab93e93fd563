//! Reading task files.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use windlass_domain::definition::{Definition, Faults};
use windlass_domain::limits::MAX_DEFINITION_BYTES;

use crate::failure::{Exit, Failure};
use crate::render::faults;

/// A file and its faults.
#[derive(Debug)]
pub(super) struct FaultyFile {
    pub(super) file: String,
    pub(super) text: String,
    pub(super) faults: Faults,
}

/// The definition in a file, or its faults. WL0611 if the file cannot be read.
pub(super) fn read(path: &Path) -> Result<Result<Definition, FaultyFile>, Failure> {
    let meta = fs::metadata(path).map_err(|error| Failure::file("read", path, error))?;
    if meta.len() > MAX_DEFINITION_BYTES as u64 {
        let what = format!("it has {} bytes; a definition has at most {MAX_DEFINITION_BYTES}", meta.len());
        return Err(Failure::file("read", path, what));
    }
    let bytes = fs::read(path).map_err(|error| Failure::file("read", path, error))?;
    let text = String::from_utf8(bytes).map_err(|_| Failure::file("read", path, "it is not UTF-8 text"))?;
    Ok(Definition::from_text(&text).map_err(|faults| FaultyFile { file: path.display().to_string(), text, faults }))
}

impl FaultyFile {
    /// The faults, for people.
    pub(super) fn rendered(&self) -> String {
        let text = faults::rendered(&self.file, &self.text, &self.faults.faults);
        match self.faults.more {
            0 => text,
            more => format!("{text}{}: and {more} more faults\n", self.file),
        }
    }

    /// The faults, for programs.
    pub(super) fn to_json(&self) -> Value {
        json!({ "file": self.file, "valid": false, "faults": self.faults.faults, "more": self.faults.more })
    }
}

/// WL0613: faulty files, told one by one already or in the details.
pub(super) fn faulty(refused: &[FaultyFile], files: usize) -> Failure {
    let count: usize = refused.iter().map(|file| file.faults.faults.len() + file.faults.more).sum();
    let word = if count == 1 { "fault" } else { "faults" };
    let message = format!("{count} {word} in {} of {files} files", refused.len());
    Failure::new("WL0613", Exit::Usage, message).details(refused.iter().map(FaultyFile::to_json).collect())
}
