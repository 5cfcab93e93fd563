//! Reads the name of a run on the command line: its id, the beginning of its id, or `latest`, also of a task.

use std::str::FromStr;

use windlass_contract::view::RunSummary;
use windlass_domain::ids::TaskName;

use crate::failure::{Exit, Failure};

const SHORTEST_PREFIX: usize = 4;

/// How a run is named on the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RunRef {
    /// The newest one, of that task if there is one.
    Latest(Option<TaskName>),
    /// Its id, or the beginning of it: digits a to f and hyphens, in lower case.
    Prefix(String),
}

impl FromStr for RunRef {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if matches!(text, "latest" | "@last" | "@latest") {
            return Ok(Self::Latest(None));
        }
        if let Some(task) = text.strip_prefix("latest:") {
            return task.parse().map(|task| Self::Latest(Some(task))).map_err(|error| format!("`{task}`: {error}"));
        }
        let prefix = text.to_ascii_lowercase();
        let shaped = prefix.len() <= 36 && prefix.chars().all(|c| c.is_ascii_hexdigit() || c == '-');
        if shaped && prefix.len() >= SHORTEST_PREFIX {
            Ok(Self::Prefix(prefix))
        } else {
            Err(format!(
                "a run is its id, at least {SHORTEST_PREFIX} characters of its beginning, `latest`, or `latest:TASK`"
            ))
        }
    }
}

/// WL0606: no run, or more than one, goes by that name.
pub(crate) fn no_such_run(message: impl Into<String>) -> Failure {
    Failure::new("WL0606", Exit::Usage, message).help("`windlass runs` lists them")
}

/// WL0606: more than one run goes by that name. The newest of them are listed.
pub(crate) fn ambiguous(prefix: &str, runs: &[RunSummary]) -> Failure {
    let line = |run: &RunSummary| format!("  {}  {} v{}  {}", run.id, run.task, run.version, run.status.as_str());
    let listed: Vec<String> = runs.iter().map(line).collect();
    let ids: Vec<String> = runs.iter().map(|run| run.id.to_string()).collect();
    let message = format!("more than one run's id begins with `{prefix}`");
    Failure::new("WL0606", Exit::Usage, message)
        .help(format!("name one of them with more of its id:\n{}", listed.join("\n")))
        .details(serde_json::json!({ "runs": ids }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_named_by_prefix_or_latest() {
        assert_eq!("latest".parse(), Ok(RunRef::Latest(None)));
        assert_eq!("latest:a-b".parse(), Ok(RunRef::Latest(Some("a-b".parse().expect("a name")))));
        assert!("latest:".parse::<RunRef>().is_err());
        assert!("latest:a b".parse::<RunRef>().is_err());
        assert_eq!("019A".parse(), Ok(RunRef::Prefix("019a".into())));
        assert!("019".parse::<RunRef>().is_err());
        assert!("nightly".parse::<RunRef>().is_err());
    }
}
