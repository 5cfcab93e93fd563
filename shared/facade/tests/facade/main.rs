//! The facades with real programs and real connections. Every test has its own folder, port and processes.

mod asleep;
mod bench;
mod exec_end;
mod exec_result;
mod exec_rough;
mod guard;
mod http;
mod native;
