//! The command line and the embedded host of Windlass.
fn main() {}
