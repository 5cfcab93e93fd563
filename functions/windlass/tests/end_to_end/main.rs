//! The real program, driven as a person or a script drives it.

mod backup;
mod commands;
mod examples;
mod host;
mod inherited;
mod operation;
mod remote;
mod standby;
mod stopped;
mod support;
