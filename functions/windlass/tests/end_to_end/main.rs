//! The real program, driven as a person or a script drives it.

mod commands;
mod examples;
mod host;
mod remote;
mod standby;
mod support;
