//! `windlass backup`: the store of the data folder as one file, while its host works or not.

use std::process::ExitCode;

use serde_json::json;
use windlass_embedded::BackupError;

use crate::args::{BackupArgs, Globals};
use crate::connection::data_dir;
use crate::failure::{Exit, Failure};
use crate::render::{self, Ended};

pub(super) fn run(globals: &Globals, args: &BackupArgs) -> Ended {
    let data = data_dir(globals)?;
    let bytes = windlass_embedded::back_up(&data, &args.file).map_err(|error| failure(&error))?;
    if globals.json {
        render::print_json(&json!({ "data": data, "file": args.file, "bytes": bytes }));
    } else {
        let file = args.file.display();
        render::print(&format!("backup of {}: {file}, {}\n", data.display(), size(bytes)));
    }
    Ok(ExitCode::SUCCESS)
}

fn failure(error: &BackupError) -> Failure {
    let exit = match error {
        BackupError::Store(_) | BackupError::Copy { .. } => Exit::Unreachable,
        BackupError::Write { .. } => Exit::Usage,
    };
    Failure::new(error.code(), exit, format!("failed to {error}"))
        .help("run it as the user of the host, on the host's machine: windlass backup FILE --data DIR")
}

fn size(bytes: u64) -> String {
    let tenths = |unit: u64| format!("{}.{}", bytes / unit, bytes % unit * 10 / unit);
    match bytes {
        0..=999_999 => format!("{} kB", tenths(1_000)),
        1_000_000..=999_999_999 => format!("{} MB", tenths(1_000_000)),
        _ => format!("{} GB", tenths(1_000_000_000)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_a_unit() {
        for (bytes, shown) in [(4_096, "4.0 kB"), (1_250_000, "1.2 MB"), (12_300_000_000, "12.3 GB")] {
            assert_eq!(size(bytes), shown);
        }
    }
}
