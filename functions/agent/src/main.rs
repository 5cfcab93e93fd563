//! The agent on AWS.

fn main() {}
