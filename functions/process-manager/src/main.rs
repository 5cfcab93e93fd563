//! The process manager on AWS.

fn main() {}
