//! seam
use crate::{Ports, definitions::Definitions, ports::PortError};
use windlass_domain::{ids::TaskName, time::Timestamp};
/// seam
pub async fn handle_due(_: &Ports, _: &Definitions, _: &TaskName, _: Option<Timestamp>) -> Result<(), PortError> {
    Ok(())
}
