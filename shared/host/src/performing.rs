//! How the agents of this process perform attempts.

use std::ffi::OsString;
use std::sync::Arc;

use windlass_engine::perform::Performer;
use windlass_engine::ports::Clock;
use windlass_facade::{FacadeSettings, Facades, Handlers};

use crate::error::HostError;

/// What performs attempts.
#[derive(Clone, Default)]
pub(crate) struct Performing {
    pub(crate) handlers: Handlers,
    /// The command that ends programs whose agent was killed.
    pub(crate) guard: Option<Vec<OsString>>,
    /// Takes the place of everything else.
    pub(crate) performer: Option<Arc<dyn Performer>>,
}

impl Performing {
    pub(crate) fn performer(self, clock: Arc<dyn Clock>) -> Result<Arc<dyn Performer>, HostError> {
        if let Some(performer) = self.performer {
            return Ok(performer);
        }
        let mut settings = FacadeSettings { handlers: self.handlers, ..FacadeSettings::new(clock) };
        settings.exec.guard = self.guard;
        Ok(Arc::new(Facades::new(settings)?))
    }
}
