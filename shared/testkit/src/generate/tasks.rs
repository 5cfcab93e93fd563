//! Strategies of task definitions.

use proptest::collection::vec;
use proptest::option::weighted;
use proptest::prelude::*;
use proptest::sample::select;
use windlass_domain::definition::Trigger;
use windlass_domain::time::Millis;

use crate::sketch::{ActionSketch, Given, RetrySketch, Sketch, When};

/// Actions of the largest task that is drawn: more than one page of a run's record.
const WIDE: usize = 72;

/// Tasks of every shape, with every policy.
pub fn sketches() -> impl Strategy<Value = Sketch> {
    (shapes().prop_flat_map(actions), limits()).prop_map(|(actions, limits)| with_limits(actions, limits))
}

/// Tasks in which the order of reports cannot matter: as many at once as there are, no expression that looks at
/// actions, and no deadline.
pub fn unordered_sketches() -> impl Strategy<Value = Sketch> {
    sketches().prop_map(|mut sketch| {
        sketch.max_parallel = None;
        // A timeout that was the run's deadline ends the run, also when a later input of the batch would end it
        // otherwise.
        sketch.timeout = None;
        for action in &mut sketch.actions {
            if matches!(action.when, When::Succeeded(_)) {
                action.when = When::Always;
            }
            if matches!(action.given, Given::OutputOf(_)) {
                action.given = Given::Nothing;
            }
        }
        sketch
    })
}

/// The needs of each action. An action may come before its needs in the author's order.
fn shapes() -> impl Strategy<Value = Vec<Vec<usize>>> {
    prop_oneof![
        3 => (1..6_usize).prop_map(chain),
        2 => (1..8_usize).prop_map(|width| fan(width, true)),
        2 => Just(vec![vec![], vec![0], vec![0], vec![1, 2]]),
        2 => (2..5_usize).prop_map(ladder),
        8 => (2..=12_usize).prop_flat_map(acyclic),
        1 => any::<bool>().prop_map(|joined| fan(WIDE, joined)),
    ]
}

fn chain(length: usize) -> Vec<Vec<usize>> {
    (0..length).map(|at| at.checked_sub(1).into_iter().collect()).collect()
}

fn fan(width: usize, joined: bool) -> Vec<Vec<usize>> {
    let mut needs = vec![vec![]];
    needs.extend(vec![vec![0]; width]);
    if joined {
        needs.push((1..=width).collect());
    }
    needs
}

/// Two chains. Each rung needs both actions of the rung before.
fn ladder(rungs: usize) -> Vec<Vec<usize>> {
    (0..rungs * 2).map(|at| if at < 2 { vec![] } else { vec![at / 2 * 2 - 2, at / 2 * 2 - 1] }).collect()
}

/// A random graph, its actions shuffled: needs point both ways in the author's order.
fn acyclic(actions: usize) -> impl Strategy<Value = Vec<Vec<usize>>> {
    let edges = vec(0..10_u8, actions * actions);
    let order = Just((0..actions).collect::<Vec<_>>()).prop_shuffle();
    (edges, order).prop_map(move |(edges, order)| {
        let mut needs = vec![vec![]; actions];
        for from in 0..actions {
            for to in 0..from {
                if edges[from * actions + to] >= 7 {
                    needs[order[from]].push(order[to]);
                }
            }
        }
        needs
    })
}

fn actions(needs: Vec<Vec<usize>>) -> impl Strategy<Value = Vec<ActionSketch>> {
    needs.into_iter().map(action).collect::<Vec<_>>()
}

fn action(needs: Vec<usize>) -> impl Strategy<Value = ActionSketch> {
    let of_need = |of: fn(usize) -> When| needs.first().map_or(When::True, |need| of(*need));
    let when = prop_oneof![
        12 => Just(When::Always),
        2 => Just(When::True),
        1 => Just(When::False),
        2 => Just(of_need(When::Succeeded)),
        1 => select(vec![When::Broken, When::Number]),
    ];
    let given_of_need = needs.last().map_or(Given::Constant(7), |need| Given::OutputOf(*need));
    let given = prop_oneof![
        8 => Just(Given::Nothing),
        4 => Just(Given::Constant(42)),
        4 => Just(given_of_need),
        1 => Just(Given::Broken),
    ];
    let timeouts = (weighted(0.3, spans()), weighted(0.3, spans()));
    (triggers(!needs.is_empty()), when, given, weighted(0.25, Just(())), retries(), timeouts).prop_map(
        move |(trigger, when, given, allowed, retry, (timeout, queue_timeout))| ActionSketch {
            needs: needs.clone(),
            trigger,
            when,
            given,
            allow_failure: allowed.is_some(),
            retry,
            timeout,
            queue_timeout,
        },
    )
}

fn triggers(has_needs: bool) -> impl Strategy<Value = Trigger> {
    use Trigger::{AllDone, AllSucceeded, AnyFailed, AnySucceeded, NoneFailed};
    let all = vec![AllSucceeded, AllSucceeded, AllSucceeded, AllDone, AnySucceeded, AnyFailed, NoneFailed];
    select(if has_needs { all } else { vec![AllSucceeded] })
}

fn spans() -> impl Strategy<Value = Millis> {
    select(vec![Millis(500), Millis::from_secs(5), Millis::from_secs(90), Millis::from_secs(1800)])
}

fn retries() -> impl Strategy<Value = RetrySketch> {
    let attempts = prop_oneof![4 => Just(Some(1)), 4 => (2..5_u32).prop_map(Some), 1 => Just(None)];
    let max_age = weighted(0.1, Just(Millis::from_secs(600)));
    (attempts, select(vec![1_u64, 1000, 30_000]), max_age).prop_map(|(attempts, delay, max_age)| RetrySketch {
        attempts,
        delay: Millis(delay),
        max_delay: Millis::from_secs(60),
        max_age,
    })
}

type Limits = (Option<u32>, Option<Millis>, u8);

fn limits() -> impl Strategy<Value = Limits> {
    let timeout = weighted(0.3, select(vec![Millis::from_secs(60), Millis::from_secs(3600)]));
    (weighted(0.5, 1..4_u32), timeout, 0..8_u8)
}

fn with_limits(actions: Vec<ActionSketch>, (max_parallel, timeout, output): Limits) -> Sketch {
    let output = match output {
        0..=3 => Given::Nothing,
        4 | 5 => Given::Constant(1),
        6 => Given::OutputOf(actions.len() - 1),
        _ => Given::Broken,
    };
    Sketch { actions, max_parallel, timeout, output }
}
