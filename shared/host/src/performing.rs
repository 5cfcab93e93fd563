//! How the agents of this process perform attempts.

use std::ffi::OsString;
use std::sync::Arc;

use windlass_engine::perform::Performer;
use windlass_engine::ports::Clock;
use windlass_facade::{Credentials, ExecSettings, FacadeSettings, Facades, Handlers};

use crate::error::HostError;

/// The performer of attempts.
#[derive(Clone, Default)]
pub(crate) struct Performing {
    pub(crate) handlers: Handlers,
    /// The command that ends programs whose agent was killed.
    pub(crate) guard: Option<Vec<OsString>>,
    pub(crate) credentials: Credentials,
    /// Takes the place of everything else.
    pub(crate) performer: Option<Arc<dyn Performer>>,
}

impl Performing {
    pub(crate) fn performer(self, clock: Arc<dyn Clock>) -> Result<Arc<dyn Performer>, HostError> {
        if let Some(performer) = self.performer {
            return Ok(performer);
        }
        let exec = ExecSettings { guard: self.guard, ..ExecSettings::passing(self.credentials) };
        let settings = FacadeSettings { handlers: self.handlers, exec, ..FacadeSettings::new(clock) };
        Ok(Arc::new(Facades::new(settings)?))
    }
}
