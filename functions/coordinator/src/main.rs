//! The coordinator on AWS.

fn main() {}
