//! Why a call had no answer.

use std::io;

use windlass_domain::run::ErrorInfo;

use super::targets::Denied;
use crate::kinds;
use crate::starved;

/// A failure without an answer, or with half of one.
pub(super) fn network(place: &str, error: reqwest::Error) -> ErrorInfo {
    if let Some(denied) = denied(&error) {
        return denied_address(place, denied);
    }
    let (kind, what) = if error.is_dns() {
        (kinds::NETWORK_DNS, "the host's name is not known")
    } else if error.is_connect() {
        (kinds::NETWORK_CONNECT, "no connection")
    } else if error.is_timeout() {
        (kinds::NETWORK_TIMEOUT, "no answer in time")
    } else if error.is_builder() {
        (kinds::HTTP_INVALID_REQUEST, "the request can not be sent")
    } else {
        (kinds::NETWORK_RESET, "the connection ended before the answer did")
    };
    // The URL may hold a secret in its query.
    let causes = chain(&error.without_url());
    ErrorInfo::new(kind, format!("{place}: {what}: {causes}"))
}

/// The failure of a call of an address that the agent does not call.
pub(super) fn denied_address(place: &str, denied: Denied) -> ErrorInfo {
    ErrorInfo::new(kinds::HTTP_DENIED_ADDRESS, format!("{place}: {denied}"))
}

fn denied(error: &reqwest::Error) -> Option<Denied> {
    let mut causes = std::iter::successors(Some(error as &dyn std::error::Error), |error| error.source());
    causes.find_map(|cause| cause.downcast_ref::<Denied>().copied())
}

/// The lack of the agent's that kept it from opening the connection, if that is the first cause.
pub(super) fn starvation(error: &reqwest::Error) -> Option<io::Error> {
    if !error.is_connect() {
        return None;
    }
    let mut causes = std::iter::successors(Some(error as &dyn std::error::Error), |error| error.source());
    let lack = causes.find_map(|cause| cause.downcast_ref::<io::Error>().filter(|cause| starved::is(cause)))?;
    lack.raw_os_error().map(io::Error::from_raw_os_error)
}

/// The error and its causes in one line, from the outermost to the first.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
