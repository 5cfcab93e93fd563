//! Checkpoints: an attempt saves the state of its work, for the attempt that goes on with its action.

use serde_json::Value;

use crate::depth::is_too_deep;
use crate::limits::{MAX_CHECKPOINT_BYTES, MAX_VALUE_DEPTH};

/// Why a checkpoint is not taken. The one before it stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// It is too long.
    #[error("the checkpoint was refused: it has {0} bytes as JSON; at most {MAX_CHECKPOINT_BYTES} are kept")]
    TooLarge(usize),
    /// It is nested too deeply to be read again.
    #[error("the checkpoint was refused: it is nested more than {MAX_VALUE_DEPTH} levels deep")]
    TooDeep,
}

/// Whether a checkpoint is within its limits.
pub fn check_checkpoint(checkpoint: &Value) -> Result<(), CheckpointError> {
    if is_too_deep(checkpoint) {
        return Err(CheckpointError::TooDeep);
    }
    let bytes = match checkpoint {
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
        Value::String(_) | Value::Array(_) | Value::Object(_) => checkpoint.to_string().len(),
    };
    if bytes > MAX_CHECKPOINT_BYTES { Err(CheckpointError::TooLarge(bytes)) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_limits_are_exact() {
        let text = |bytes: usize| json!("x".repeat(bytes - 2));
        assert_eq!(check_checkpoint(&text(MAX_CHECKPOINT_BYTES)), Ok(()));
        let over = MAX_CHECKPOINT_BYTES + 1;
        assert_eq!(check_checkpoint(&text(over)), Err(CheckpointError::TooLarge(over)));
        let nested = |levels: usize| (0..levels).fold(json!(1), |inner, _| json!([inner]));
        assert_eq!(check_checkpoint(&nested(MAX_VALUE_DEPTH)), Ok(()));
        assert_eq!(check_checkpoint(&nested(MAX_VALUE_DEPTH + 1)), Err(CheckpointError::TooDeep));
    }
}
