//! The examples, inside the program: the demo works from any folder.

use std::fs;
use std::path::{Path, PathBuf};

use crate::failure::Failure;

macro_rules! example {
    ($path:literal) => {
        ($path, include_str!(concat!("../../../examples/", $path)))
    };
}

/// Every file of `examples/`, by its path there.
const FILES: [(&str, &str); 26] = [
    example!("README.md"),
    example!("backup/README.md"),
    example!("backup/backup.yaml"),
    example!("backup/check.sh"),
    example!("backup/pack.sh"),
    example!("backup/rotate.sh"),
    example!("csv-join/README.md"),
    example!("csv-join/csv-join.yaml"),
    example!("csv-join/fetch.py"),
    example!("csv-join/join.py"),
    example!("health-check/README.md"),
    example!("health-check/alarm.py"),
    example!("health-check/disk.py"),
    example!("health-check/health-check.yaml"),
    example!("health-check/note.py"),
    example!("log-pipeline/README.md"),
    example!("log-pipeline/count.py"),
    example!("log-pipeline/generate.py"),
    example!("log-pipeline/log-pipeline.yaml"),
    example!("log-pipeline/rank.py"),
    example!("nightly-report/README.md"),
    example!("nightly-report/charts_server.py"),
    example!("nightly-report/extract.py"),
    example!("nightly-report/nightly-report.yaml"),
    example!("nightly-report/publish.py"),
    example!("nightly-report/totals.py"),
];

/// Writes the examples into a folder and gives the paths of the task files. A file that is there already is replaced.
pub(crate) fn write_to(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let mut tasks = Vec::new();
    for (name, text) in FILES {
        let path = folder.join(name);
        let parent = path.parent().unwrap_or(folder);
        fs::create_dir_all(parent).map_err(|error| Failure::file("make", parent, error))?;
        fs::write(&path, text).map_err(|error| Failure::file("write", &path, error))?;
        if path.extension().is_some_and(|extension| extension == "yaml") {
            tasks.push(path);
        }
    }
    Ok(tasks)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files_under(folder: &Path, base: &Path, found: &mut Vec<String>) {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            let name = path.file_name().and_then(|name| name.to_str()).expect("a name");
            // Those in `aws` need a deployed stack.
            if path.is_dir() && !["aws", "out", "__pycache__"].contains(&name) {
                files_under(&path, base, found);
            } else if path.is_file() {
                found.push(path.strip_prefix(base).expect("under it").display().to_string());
            }
        }
    }

    #[test]
    fn every_example_is_inside() {
        let base = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples"));
        let mut found = Vec::new();
        files_under(base, base, &mut found);
        found.sort();
        let mut inside: Vec<_> = FILES.iter().map(|(name, _)| (*name).to_owned()).collect();
        inside.sort();
        assert_eq!(inside, found);
    }
}
