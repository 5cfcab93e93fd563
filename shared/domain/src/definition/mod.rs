//! Definitions of tasks: an author's text, read into a form that decisions can use.
//!
//! Windlass keeps a definition as its author wrote it (as JSON), and one reader reads it everywhere. So the published
//! schema is the only format. The reader reports every fault at once, each with its place.

mod action;
mod code;
mod fault;
mod graph;
mod input;
mod model;
mod path;
mod place;
mod reader;
mod reads;
mod references;
mod scalar;
mod schema;
mod span;
mod tree;
mod yaml;

pub use fault::{Fault, Faults};
pub use input::{InputFault, InputFaults};
pub use model::{
    Action, CatchUp, Definition, ExecFacade, Facade, HttpFacade, NativeFacade, Overlap, PublishedEvents, Schedule,
    ScheduleRule, Trigger,
};
pub use place::Place;
pub use schema::TASK_SCHEMA;
