//! Reads the name of a run on the command line: its id, the beginning of its id, or `latest`.

use std::str::FromStr;

use crate::failure::{Exit, Failure};

const SHORTEST_PREFIX: usize = 4;

/// How a run is named on the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RunRef {
    /// The newest one.
    Latest,
    /// Its id, or the beginning of it: digits a to f and hyphens, in lower case.
    Prefix(String),
}

impl FromStr for RunRef {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if matches!(text, "latest" | "@last" | "@latest") {
            return Ok(Self::Latest);
        }
        let prefix = text.to_ascii_lowercase();
        let shaped = prefix.len() <= 36 && prefix.chars().all(|c| c.is_ascii_hexdigit() || c == '-');
        if shaped && prefix.len() >= SHORTEST_PREFIX {
            Ok(Self::Prefix(prefix))
        } else {
            Err(format!("a run is its id, at least {SHORTEST_PREFIX} characters of its beginning, or `latest`"))
        }
    }
}

/// WL0606: no run, or more than one, goes by that name.
pub(crate) fn no_such_run(message: impl Into<String>) -> Failure {
    Failure::new("WL0606", Exit::Usage, message).help("`windlass runs` lists them")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_named_by_prefix_or_latest() {
        assert_eq!("latest".parse(), Ok(RunRef::Latest));
        assert_eq!("019A".parse(), Ok(RunRef::Prefix("019a".into())));
        assert!("019".parse::<RunRef>().is_err());
        assert!("nightly".parse::<RunRef>().is_err());
    }
}
