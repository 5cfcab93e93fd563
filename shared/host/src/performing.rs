//! How the agents of this process perform attempts.

use std::ffi::OsString;
use std::sync::Arc;

use windlass_engine::perform::Performer;
use windlass_engine::ports::Clock;
use windlass_facade::{Credentials, ExecSettings, FacadeSettings, Facades, Handlers, HttpSettings, Targets};

use crate::error::HostError;

/// The performer of attempts.
#[derive(Clone, Default)]
pub(crate) struct Performing {
    pub(crate) handlers: Handlers,
    /// The command that ends programs whose agent was killed.
    pub(crate) guard: Option<Vec<OsString>>,
    pub(crate) credentials: Credentials,
    /// The only variables of this process that programs get; absent: all but credentials.
    pub(crate) env_allow: Option<Vec<String>>,
    /// The addresses that `http` actions may call.
    pub(crate) targets: Targets,
    /// Takes the place of everything else.
    pub(crate) performer: Option<Arc<dyn Performer>>,
}

impl Performing {
    pub(crate) fn performer(self, clock: Arc<dyn Clock>) -> Result<Arc<dyn Performer>, HostError> {
        if let Some(performer) = self.performer {
            return Ok(performer);
        }
        let exec = ExecSettings::passing(self.credentials).allowing(self.env_allow.as_deref());
        let exec = ExecSettings { guard: self.guard, ..exec };
        let http = HttpSettings { targets: self.targets, ..HttpSettings::default() };
        let settings = FacadeSettings { handlers: self.handlers, exec, http, ..FacadeSettings::new(clock) };
        Ok(Arc::new(Facades::new(settings)?))
    }
}
