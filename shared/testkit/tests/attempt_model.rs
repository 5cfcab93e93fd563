//! One attempt under every interleaving within bounds: the real rules hold, and the model finds each rule that is opened.
//!
//! An unoptimised build explores small bounds in seconds, an optimised one larger bounds in less than two minutes.
//! `WINDLASS_ATTEMPT_MODEL=FAULTS,BACKS,RESENDS,RENEWALS,INBOX,CONTROL,KILLS,AGENTS,SECONDS` explores those
//! bounds instead, for that long at most. `--nocapture` shows the bounds, the number of states, and the shortest way to the
//! promise that an opened rule breaks.

#![expect(clippy::print_stdout, reason = "tests")]

use std::time::Duration;

use windlass_testkit::attempt_model::{self, Bounds, Explored, Opened, TWO_PERFORM, WEDGED_FOR_HOURS};

/// Faults; hand-backs of agents that drain; resends beside other messages; leases; words in the inbox; messages in the
/// control queues; kills by a caller; agents.
type Row = [u8; 8];

/// Bounds within which the model is explored whole.
const WHOLE: &[Row] = if cfg!(debug_assertions) {
    &[[0, 0, 1, 1, 3, 2, 0, 2], [1, 0, 0, 0, 2, 2, 0, 2]]
} else {
    &[
        [0, 1, 1, 1, 3, 2, 0, 2],
        [1, 0, 0, 0, 3, 2, 0, 2],
        [1, 0, 0, 1, 3, 2, 0, 2],
        [1, 0, 1, 0, 2, 2, 0, 2],
        [1, 1, 0, 0, 2, 2, 0, 2],
        [1, 0, 1, 1, 1, 2, 0, 2],
        [2, 0, 0, 0, 1, 2, 0, 2],
        [0, 1, 0, 0, 2, 2, 1, 2],
        [0, 1, 0, 0, 2, 2, 0, 3],
    ]
};

const LOWER_FENCE: &str = "an agent begins by a fence that is not above an earlier one";

/// Each opened rule, the bounds in which the model finds it, and the promise that it breaks.
const OPENED: &[(Opened, Row, &str)] = &[
    (Opened::ClaimNotAboveLast, [1, 0, 0, 0, 3, 2, 0, 2], LOWER_FENCE),
    (Opened::ClaimUnderLease, [0, 0, 1, 1, 3, 2, 0, 2], TWO_PERFORM),
    (Opened::StaleReport, [1, 1, 0, 0, 2, 2, 0, 2], "a word of another than the owner counts"),
    (Opened::DeletesUnconfirmed, [1, 1, 0, 0, 2, 1, 0, 2], WEDGED_FOR_HOURS),
    (Opened::BeginsTwice, [2, 0, 0, 0, 2, 2, 0, 2], LOWER_FENCE),
    (Opened::OldBeginsUnasked, [2, 0, 0, 0, 2, 2, 0, 2], LOWER_FENCE),
    (Opened::LateRefusalStops, [1, 1, 1, 0, 1, 2, 0, 2], WEDGED_FOR_HOURS),
    (Opened::KeptMessageCostsOwner, [1, 1, 0, 0, 3, 2, 0, 2], TWO_PERFORM),
];

fn bounds([faults, backs, resends, renewals, inbox, control, kills, agents]: Row) -> Bounds {
    let (inbox, control) = (inbox.into(), control.into());
    Bounds { agents, faults, backs, resends, renewals, kills, receives: 2, messages: 3, inbox, control }
}

fn explore(row: Row, opened: Option<Opened>, most: Duration) -> Explored {
    let bounds = bounds(row);
    let explored = attempt_model::explore(&bounds, opened, most);
    let Explored { states, steps, depth, cut, is_whole, took, found } = &explored;
    let whole = if *is_whole { "all" } else { "not all" };
    println!("{bounds:?}, opened: {opened:?}");
    println!("  {states} states, {steps} steps, {depth} deep, {cut} cut off, {whole}, {took:.1?}");
    for (broken, trace) in found {
        println!("  {broken}, in {} steps:", trace.len());
        for (number, step) in (1..).zip(trace) {
            println!("    {number:2} {step}");
        }
    }
    explored
}

fn asked() -> Option<(Row, Duration)> {
    let text = std::env::var("WINDLASS_ATTEMPT_MODEL").ok()?;
    let numbers: Vec<u8> = text.split(',').filter_map(|number| number.parse().ok()).collect();
    let (row, seconds) = text.rsplit_once(',').map(|(_, seconds)| (numbers.first_chunk(), seconds)).unzip();
    let seconds = seconds.and_then(|seconds| seconds.parse().ok());
    let row = row.flatten().copied().zip(seconds);
    let (row, seconds) = row.expect("WINDLASS_ATTEMPT_MODEL is nine numbers");
    Some((row, Duration::from_secs(seconds)))
}

#[test]
fn real_rules_hold_in_every_interleaving() {
    if let Some((row, most)) = asked() {
        let explored = explore(row, None, most);
        assert!(explored.found.is_empty(), "{:?}", explored.found);
        return;
    }
    for row in WHOLE {
        let explored = explore(*row, None, Duration::from_mins(1));
        assert!(explored.found.is_empty(), "{row:?}: {:?}", explored.found);
        assert!(explored.is_whole, "{row:?} is explored whole");
    }
}

#[test]
fn each_opened_rule_is_found() {
    // These take seconds in an unoptimised build.
    let is_slow = |opened| {
        matches!(opened, Opened::DeletesUnconfirmed | Opened::LateRefusalStops | Opened::KeptMessageCostsOwner)
    };
    for (opened, row, expected) in OPENED.iter().filter(|row| !cfg!(debug_assertions) || !is_slow(row.0)) {
        let explored = explore(*row, Some(*opened), Duration::from_mins(1));
        assert!(explored.found.contains_key(expected), "{opened:?} breaks: {expected}");
    }
}
