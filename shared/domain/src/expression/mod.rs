//! Expressions (CEL) and the templates that hold them.
//!
//! An expression sees `input`, `actions.NAME.{status,output,error}` and `run`. It has no clock and no chance, its
//! value is the same on every host, and it ends: what it may visit and make is bounded.

mod budget;
mod compiled;
mod convert;
mod error;
mod evaluate;
mod functions;
mod path;
mod patterns;
mod references;
mod scan;
mod scope;
mod template;

pub use budget::Budget;
pub use compiled::Expression;
pub use convert::as_text;
pub use error::ExpressionError;
pub(crate) use path::Read;
pub use scope::{Reads, Scope};
pub use template::{Part, Template};
