//! What a program is told: its environment and its standard input.

use std::collections::BTreeMap;
use std::ffi::OsString;

use serde_json::{Value, json};
use windlass_domain::run::ErrorInfo;
use windlass_domain::time::Timestamp;
use windlass_domain::work::ExecWork;
use windlass_engine::perform::Attempt;

use super::scratch::Scratch;
use crate::kinds;

/// What begins the name of every variable of ours, the API's token among them.
const RESERVED: &str = "WINDLASS_";

/// The variables of an agent that its programs may have.
pub(super) fn inheritable(variables: impl Iterator<Item = (OsString, OsString)>) -> BTreeMap<OsString, OsString> {
    variables.filter(|(name, _)| !name.as_encoded_bytes().starts_with(RESERVED.as_bytes())).collect()
}

/// Refuses what no system can give to a program.
pub(super) fn check(work: &ExecWork) -> Result<(), ErrorInfo> {
    let refuse = |message: String| Err(ErrorInfo::new(kinds::EXEC_INVALID, message));
    if let Some(place) = work.command.iter().position(|part| part.contains('\0')) {
        return refuse(format!("part {} of the command has a NUL character", place + 1));
    }
    if work.command.first().is_none_or(String::is_empty) {
        return refuse("the command is empty".to_owned());
    }
    for (name, value) in &work.env {
        if name.is_empty() || name.contains(['=', '\0']) {
            return refuse(format!("{name:?} can not be the name of a variable"));
        }
        if name.starts_with(RESERVED) {
            return refuse(format!("the variable `{name}`: names that begin with {RESERVED} are Windlass's own"));
        }
        if value.contains('\0') {
            return refuse(format!("the variable `{name}` has a NUL character"));
        }
    }
    Ok(())
}

/// The variables that tell a program what it performs.
pub(super) fn variables(attempt: &Attempt, until: Option<Timestamp>, scratch: &Scratch) -> Vec<(String, OsString)> {
    let mut variables = vec![
        ("RUN", attempt.run.to_string().into()),
        ("TASK", attempt.task.to_string().into()),
        ("VERSION", attempt.version.to_string().into()),
        ("ACTION", attempt.name.to_string().into()),
        ("ATTEMPT", attempt.of.attempt.to_string().into()),
        ("FENCE", attempt.of.fence.to_string().into()),
        ("IDEMPOTENCY_KEY", attempt.idempotency_key.clone().into()),
        ("OUTPUT", scratch.output().into_os_string()),
        ("ERROR", scratch.error().into_os_string()),
        ("PROGRESS", scratch.progress().into_os_string()),
    ];
    if let Some(checkpoint) = &attempt.checkpoint {
        // Its limit is far below what one variable may have: 128 KiB on Linux.
        variables.push(("CHECKPOINT", checkpoint.to_string().into()));
    }
    if let Some(until) = until {
        variables.push(("DEADLINE", until.to_string().into()));
    }
    variables.into_iter().map(|(name, value)| (format!("{RESERVED}{name}"), value)).collect()
}

/// What the program reads: what the author gave it, else the context of the attempt.
pub(super) fn stdin(work: &ExecWork, attempt: &Attempt, until: Option<Timestamp>) -> Vec<u8> {
    match &work.stdin {
        Some(Value::String(text)) => text.clone().into_bytes(),
        Some(value) => line(value),
        None => line(&json!({
            "run": attempt.run,
            "task": attempt.task,
            "version": attempt.version,
            "action": attempt.name,
            "attempt": attempt.of.attempt,
            "fence": attempt.of.fence,
            "idempotency_key": attempt.idempotency_key,
            "deadline": until.map(|until| until.to_string()),
            "checkpoint": attempt.checkpoint,
        })),
    }
}

fn line(value: &Value) -> Vec<u8> {
    format!("{value}\n").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn program_inherits_no_variable_of_windlass() {
        let all = [("PATH", "/bin"), ("WINDLASS_TOKEN", "secret"), ("WINDLASS_DATA", "/d"), ("LANG", "C")];
        let kept = inheritable(all.iter().map(|(name, value)| (name.into(), value.into())));
        assert_eq!(kept.keys().collect::<Vec<_>>(), ["LANG", "PATH"]);
    }

    fn check_refused(command: &[&str], env: &[(&str, &str)], expected: Option<&str>) {
        let work = ExecWork {
            command: command.iter().map(|part| (*part).to_owned()).collect(),
            stdin: None,
            env: env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            workdir: None,
        };
        match (check(&work), expected) {
            (Ok(()), None) => {}
            (Err(error), Some(expected)) => {
                assert_eq!(error.kind, kinds::EXEC_INVALID);
                assert!(error.message.contains(expected), "{}", error.message);
            }
            (got, expected) => panic!("{command:?} {env:?}: {got:?}, expected {expected:?}"),
        }
    }

    #[test]
    fn command_that_cannot_start_is_refused() {
        check_refused(&["true"], &[("A", "")], None);
        check_refused(&[], &[], Some("empty"));
        check_refused(&["", "x"], &[], Some("empty"));
        check_refused(&["a", "b\0c"], &[], Some("part 2"));
        check_refused(&["a"], &[("", "x")], Some("\"\""));
        check_refused(&["a"], &[("A=B", "x")], Some("A=B"));
        check_refused(&["a"], &[("A", "\0")], Some("`A`"));
        check_refused(&["a"], &[("WINDLASS_FENCE", "9")], Some("WINDLASS_FENCE"));
    }
}
