//! Pure decisions of Windlass: definitions and their validation, the state machine of a run, retry,
//! schedules, deadlines and expressions.
//!
//! Nothing here is async, does I/O, reads a clock or draws randomness: time comes in as a value, chance as a
//! seed. The same input gives the same decision on every host.

pub mod aggregate;
pub mod attempt;
pub mod caller;
pub mod content;
pub mod definition;
pub mod delivery;
pub mod depth;
pub mod expression;

pub mod history;
pub mod ids;
pub mod instant;
pub mod invariants;
mod json_type;
pub mod keep;
pub mod limits;
pub mod outstanding;
pub mod retention;
pub mod retry;
pub mod run;
pub mod schedule;
pub mod time;
mod told;
pub mod work;
