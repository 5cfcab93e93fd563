//! Turns the engine's errors into problems.

use axum::http::StatusCode;
use windlass_domain::definition::{Faults, InputFaults};
use windlass_engine::control::{ControlError, DrainError};
use windlass_engine::ports::{ErrorClass, PortError, ScheduleRefusal};
use windlass_engine::registry::{DeleteError, PutError};
use windlass_engine::retention::DeleteRunError;
use windlass_engine::submit::StartError;

use crate::problem::{Fault, Kind, Refusal};

/// Seconds after which a caller may ask a busy host again.
const RETRY_AFTER_SECS: u32 = 1;

impl Refusal {
    /// The host cannot do its work now. The client may ask again.
    pub(crate) fn unavailable(error: &PortError) -> Self {
        let (status, detail) = (StatusCode::SERVICE_UNAVAILABLE, format!("failed to {error}"));
        Self::coded(error.code, status, "Temporarily unavailable", detail).retry_after(RETRY_AFTER_SECS)
    }
}

impl From<PortError> for Refusal {
    fn from(error: PortError) -> Self {
        let detail = format!("failed to {error}");
        match error.class {
            ErrorClass::Retry | ErrorClass::Conflict => {
                tracing::warn!(error.code = error.code, error = %error, "the host is not available");
                Self::unavailable(&error)
            }
            ErrorClass::Reject => Self::coded(error.code, StatusCode::BAD_REQUEST, "Request refused", detail),
            ErrorClass::Bug => {
                tracing::error!(error.code = error.code, error = %error, "stored data or this program is at fault");
                Self::coded(error.code, StatusCode::INTERNAL_SERVER_ERROR, "Internal error", detail)
            }
        }
    }
}

impl From<StartError> for Refusal {
    fn from(error: StartError) -> Self {
        let detail = error.to_string();
        match error {
            StartError::UnknownTask(_) => Self::new(&Kind::UNKNOWN_TASK, detail),
            StartError::DeletedTask(_) => Self::new(&Kind::DELETED_TASK, detail),
            StartError::UnknownVersion { .. } => Self::new(&Kind::UNKNOWN_VERSION, detail),
            StartError::Key(_) => Self::new(&Kind::INVALID_PARAMETER, detail),
            StartError::KeyReused { run, .. } => Self::new(&Kind::KEY_REUSED, detail).about(format!("/v1/runs/{run}")),
            StartError::Input(faults) => faults.into(),
            StartError::Port(error) => error.into(),
        }
    }
}

impl From<ControlError> for Refusal {
    fn from(error: ControlError) -> Self {
        let detail = error.to_string();
        match error {
            ControlError::UnknownRun(_) => Self::new(&Kind::UNKNOWN_RUN, detail),
            ControlError::Refused { .. } | ControlError::Settled { .. } => Self::new(&Kind::STATUS_FORBIDS, detail),
            ControlError::UnknownAction { .. } => Self::new(&Kind::UNKNOWN_ACTION, detail),
            ControlError::Reason(_) => Self::new(&Kind::INVALID_PARAMETER, detail),
            ControlError::Port(error) => error.into(),
        }
    }
}

impl From<DrainError> for Refusal {
    fn from(error: DrainError) -> Self {
        let detail = error.to_string();
        match error {
            DrainError::UnknownAgent(_) => Self::new(&Kind::UNKNOWN_AGENT, detail),
            DrainError::Port(error) => error.into(),
        }
    }
}

impl From<DeleteRunError> for Refusal {
    fn from(error: DeleteRunError) -> Self {
        let detail = error.to_string();
        match error {
            DeleteRunError::UnknownRun(_) => Self::new(&Kind::UNKNOWN_RUN, detail),
            DeleteRunError::Open(_) => Self::new(&Kind::STATUS_FORBIDS, detail),
            DeleteRunError::ComesAgain(_) | DeleteRunError::LastTurn => Self::new(&Kind::RUN_IS_NEEDED, detail),
            DeleteRunError::Port(error) => error.into(),
        }
    }
}

impl From<DeleteError> for Refusal {
    fn from(error: DeleteError) -> Self {
        let detail = error.to_string();
        match error {
            DeleteError::UnknownTask(_) => Self::new(&Kind::UNKNOWN_TASK, detail),
            DeleteError::Port(error) => error.into(),
        }
    }
}

impl From<PutError> for Refusal {
    fn from(error: PutError) -> Self {
        match error {
            PutError::Schedule(refusal) => refusal.into(),
            PutError::Port(error) => error.into(),
        }
    }
}

/// A fault of the definition like any other, which only this host finds.
impl From<ScheduleRefusal> for Refusal {
    fn from(refusal: ScheduleRefusal) -> Self {
        let ScheduleRefusal { code, path, message, help } = refusal;
        let fault = Fault { code: code.to_owned(), message, path: path.to_owned(), line: None, column: None, help };
        Self::new(&Kind::DEFINITION_REFUSED, counted("definition", 1)).with_faults(vec![fault])
    }
}

impl From<Faults> for Refusal {
    fn from(faults: Faults) -> Self {
        let count = faults.faults.len() + faults.more;
        let shown = faults.faults.into_iter().map(|fault| Fault {
            code: fault.code.to_owned(),
            message: fault.message,
            path: fault.path,
            line: fault.place.map(|place| place.line),
            column: fault.place.map(|place| place.column),
            help: fault.help,
        });
        Self::new(&Kind::DEFINITION_REFUSED, counted("definition", count)).with_faults(shown.collect())
    }
}

impl From<InputFaults> for Refusal {
    fn from(faults: InputFaults) -> Self {
        let count = faults.faults.len();
        let shown = faults.faults.into_iter().map(|fault| Fault {
            code: fault.code.to_owned(),
            message: fault.message,
            path: fault.pointer,
            line: None,
            column: None,
            help: None,
        });
        Self::new(&Kind::INPUT_REFUSED, counted("input", count)).with_faults(shown.collect())
    }
}

fn counted(what: &str, faults: usize) -> String {
    if faults == 1 { format!("the {what} has a fault") } else { format!("the {what} has {faults} faults") }
}
