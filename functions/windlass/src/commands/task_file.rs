//! Reading task files.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use windlass_domain::definition::{Definition, Faults};
use windlass_domain::limits::MAX_DEFINITION_BYTES;

use crate::failure::{Exit, Failure};
use crate::render::{self, faults};

/// The name of standard input.
pub(super) const STANDARD_INPUT: &str = "-";
/// How the names of task files in a folder end.
const ENDINGS: [&str; 3] = ["yaml", "yml", "json"];

/// A file and its faults.
#[derive(Debug)]
pub(super) struct FaultyFile {
    pub(super) file: String,
    pub(super) text: String,
    pub(super) faults: Faults,
}

/// The files that the arguments stand for: a folder stands for its own task files, by name. It names on standard error
/// what it passes over there. WL0611 if a folder has none.
pub(super) fn expand(arguments: &[PathBuf]) -> Result<Vec<PathBuf>, Failure> {
    let mut files = Vec::new();
    for path in arguments {
        if path.is_dir() { files.extend(task_files_in(path)?) } else { files.push(path.clone()) }
    }
    Ok(files)
}

fn task_files_in(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let failed = |error| Failure::file("read", folder, error);
    let entries = fs::read_dir(folder).and_then(Iterator::collect::<Result<Vec<_>, _>>).map_err(failed)?;
    let mut found: Vec<PathBuf> =
        entries.into_iter().map(|entry| entry.path()).filter(|path| is_candidate(path)).collect();
    found.sort();
    let (tasks, others): (Vec<_>, Vec<_>) = found.into_iter().partition(|path| is_task(path));
    for other in others {
        render::print_error(&format!("{}: passed over, since it has neither `task` nor `actions`\n", other.display()));
    }
    if tasks.is_empty() {
        let what = "it holds no task file: one that ends with .yaml, .yml or .json and has `task` and `actions`";
        return Err(Failure::file("read", folder, what));
    }
    Ok(tasks)
}

fn is_candidate(path: &Path) -> bool {
    path.is_file() && path.extension().is_some_and(|ending| ENDINGS.iter().any(|known| ending == *known))
}

/// Whether it is meant as a task. What can not be read is, so that its failure is told.
fn is_task(path: &Path) -> bool {
    let Ok(text) = text_of(path) else { return true };
    let has = |key: &str| {
        text.lines().any(|line| {
            let line = line.trim_start_matches('\u{feff}').trim_start_matches([' ', '\t', '{', '"']);
            line.strip_prefix(key).is_some_and(|rest| rest.trim_start_matches('"').trim_start().starts_with(':'))
        })
    };
    has("task") || has("actions")
}

/// The definition in a file, or its faults; `-` is standard input. WL0611 if the file cannot be read.
pub(super) fn read(path: &Path) -> Result<Result<Definition, FaultyFile>, Failure> {
    let text = text_of(path)?;
    Ok(Definition::from_text(&text).map_err(|faults| FaultyFile { file: path.display().to_string(), text, faults }))
}

fn text_of(path: &Path) -> Result<String, Failure> {
    let unreadable = |error: String| Failure::file("read", path, error);
    let bytes = if path == Path::new(STANDARD_INPUT) {
        let (mut bytes, most) = (Vec::new(), MAX_DEFINITION_BYTES as u64);
        std::io::stdin().take(most + 1).read_to_end(&mut bytes).map_err(|error| unreadable(error.to_string()))?;
        bytes
    } else {
        let meta = fs::metadata(path).map_err(|error| unreadable(error.to_string()))?;
        if meta.len() > MAX_DEFINITION_BYTES as u64 {
            let bytes = meta.len();
            return Err(unreadable(format!("it has {bytes} bytes; a definition has at most {MAX_DEFINITION_BYTES}")));
        }
        fs::read(path).map_err(|error| unreadable(error.to_string()))?
    };
    if bytes.len() > MAX_DEFINITION_BYTES {
        return Err(unreadable(format!("a definition has at most {MAX_DEFINITION_BYTES} bytes")));
    }
    String::from_utf8(bytes).map_err(|_| unreadable("it is not UTF-8 text".to_owned()))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folder_stands_for_its_task_files() {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).expect("written");
        write("b.yaml", "task: b\n");
        write("a.json", "{ \"actions\": {} }");
        write("c.yml", "# a comment\ntask : c\n");
        write("input.json", "{ \"day\": \"task\" }");
        write("notes.txt", "task: no\n");
        fs::create_dir(folder.path().join("sub.yaml")).expect("made");
        let names = |paths: Vec<PathBuf>| -> Vec<String> {
            paths.iter().map(|path| path.file_name().expect("a file").display().to_string()).collect()
        };
        let found = expand(&[folder.path().to_owned(), PathBuf::from("-")]).expect("some");
        assert_eq!(names(found[..3].to_vec()), ["a.json", "b.yaml", "c.yml"]);
        assert_eq!(found[3], PathBuf::from("-"));
        let empty = tempfile::tempdir().expect("a folder");
        assert!(expand(&[empty.path().to_owned()]).expect_err("none").to_string().contains("it holds no task file"));
    }
}
