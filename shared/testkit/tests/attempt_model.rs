use std::time::Duration;
use windlass_testkit::attempt_model::{Bounds, Opened};
#[test]
fn try_all() {
    let n = |name: &str, or: u8| std::env::var(name).ok().and_then(|t| t.parse().ok()).unwrap_or(or);
    let bounds = Bounds {
        faults: n("F", 0),
        backs: n("B", 0),
        resends: n("S", 1),
        renewals: n("R", 1),
        receives: n("N", 2),
        messages: n("M", 3).into(),
        inbox: n("I", 3).into(),
        control: 2,
    };
    let opened = std::env::var("O").ok().and_then(|t| t.parse::<usize>().ok()).map(|i| Opened::ALL[i]);
    let e = bounds.explore(opened, Duration::from_secs(n("T", 60).into()));
    println!(
        "{bounds:?} {opened:?}: {} states, {} steps, depth {}, cut {}, whole {}, {:?}",
        e.states, e.steps, e.depth, e.cut, e.is_whole, e.took
    );
    for (b, t) in e.found {
        println!("  {b}");
        for (i, s) in t.iter().enumerate() {
            println!("    {:2} {s}", i + 1);
        }
    }
}
