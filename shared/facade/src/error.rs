//! Why the facades of an agent could not be set up.

/// A failure while an agent starts. A failure of an attempt is an outcome, never one of these.
#[derive(Debug, thiserror::Error)]
pub enum FacadeError {
    /// The HTTP client could not be built: usually, no certificates were found.
    #[error("WL0501: set up the HTTP client: {0}")]
    HttpClient(#[source] reqwest::Error),
    /// The program that kills the agent's programs when the agent dies could not be started.
    #[error("WL0502: start the exec guard `{program}`: {source}")]
    Guard {
        /// The program that was tried.
        program: String,
        /// Why it did not start.
        source: std::io::Error,
    },
}

impl FacadeError {
    /// The stable code, with a page in `docs/errors`.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::HttpClient(_) => "WL0501",
            Self::Guard { .. } => "WL0502",
        }
    }
}
