//! Each invariant finds what it is for: a sound record or decision is spoilt in one place, and exactly what that breaks is
//! told. A judge that is deaf would let every other test pass.

#![expect(clippy::expect_used, reason = "tests")]

mod decisions;
mod kills;
mod owners;
mod records;
#[expect(dead_code, reason = "not every step is taken here")]
#[path = "../scenarios/steps.rs"]
mod steps;
mod triggers;
