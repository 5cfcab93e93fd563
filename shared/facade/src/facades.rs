//! The performer of a real agent: each attempt goes to the facade that its work names.

use std::sync::Arc;

use async_trait::async_trait;
use windlass_domain::run::{ErrorInfo, Outcome};
use windlass_domain::time::Millis;
use windlass_domain::work::Work;
use windlass_engine::perform::{Attempt, AttemptControl, Performer};
use windlass_engine::ports::Clock;

use crate::error::FacadeError;
use crate::exec::{Exec, ExecSettings};
use crate::http::{Http, HttpSettings};
use crate::kinds;
use crate::native::Handlers;
use crate::time::Time;

/// The settings of an agent's facades.
#[derive(Clone)]
pub struct FacadeSettings {
    /// The clock that measures deadlines.
    pub clock: Arc<dyn Clock>,
    /// How programs are run.
    pub exec: ExecSettings,
    /// How HTTP calls are made.
    pub http: HttpSettings,
    /// The handlers that are compiled into the agent.
    pub handlers: Handlers,
}

impl FacadeSettings {
    /// The default settings, for a host to change.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, exec: ExecSettings::default(), http: HttpSettings::default(), handlers: Handlers::new() }
    }
}

/// Every facade of an agent.
pub struct Facades {
    clock: Arc<dyn Clock>,
    exec: Exec,
    http: Http,
    handlers: Handlers,
}

impl Facades {
    /// Sets the facades up.
    pub fn new(settings: FacadeSettings) -> Result<Self, FacadeError> {
        let FacadeSettings { clock, exec, http, handlers } = settings;
        Ok(Self { clock, exec: Exec::new(exec)?, http: Http::new(&http)?, handlers })
    }
}

#[async_trait]
impl Performer for Facades {
    async fn perform(&self, attempt: Attempt, control: AttemptControl) -> Outcome {
        if control.stop.is_cancelled() {
            return Outcome::Cancelled;
        }
        let time = Time::of(&attempt, &self.clock);
        if time.left == Some(Millis(0)) {
            let error = ErrorInfo::new(kinds::TIMEOUT, "its time was over before it began");
            return Outcome::TimedOut { error };
        }
        match &attempt.work {
            Work::Exec(work) => self.exec.perform(work, &attempt, &time, &control).await,
            Work::Native(work) => self.handlers.perform(work.clone(), &time, &control).await,
            Work::Http(work) => self.http.perform(work, &attempt, &time, &control).await,
        }
    }
}
