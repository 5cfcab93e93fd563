//! The time to read a definition grows as its length does, whatever makes it long.

use std::fmt::Write as _;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use windlass_domain::definition::Definition;

/// Parts of the short text; the long one has [`TIMES`] as many.
const PARTS: usize = 400;
const TIMES: usize = 8;
/// Between what a linear reader takes (8 times as long) and what a quadratic one takes (64 times).
const MOST: u32 = 16;

fn actions(count: usize, line_end: &str) -> String {
    let mut text = format!("{{task: t,{line_end} actions: {{{line_end}");
    for n in 0..count {
        write!(text, " a{n}: {{exec: [echo, 'é ${{{{ input.x{n} }}}}']}},{line_end}").unwrap();
    }
    text + "}}"
}

fn list(count: usize, item: &str) -> String {
    format!("task: t\ninput: {{enum: [{}1]}}\nactions: {{x: {{exec: [a]}}}}", format!("{item},").repeat(count * 20))
}

/// Texts of so many parts, by what they are made of.
fn texts(count: usize) -> Vec<(&'static str, String)> {
    let chain = |n: usize| if n == 0 { String::new() } else { format!(", needs: [a{}]", n - 1) };
    let all = |line: &dyn Fn(usize) -> String| (0..count).map(line).collect::<Vec<_>>().concat();
    let block = all(&|n| format!("  a{n}: {{exec: [a]{}}}\n", chain(n)));
    let wide = all(&|n| format!("a{n}, "));
    let join = all(&|n| format!("  a{n}: {{exec: [a]}}\n"));
    let unknown = all(&|n| format!("  a{n}: {{exce: [a]}}\n"));
    let comment = format!("# {}\n", "é".repeat(60)).repeat(count * 4);
    let holes = "${{ input.x }} ".repeat(count.min(600));
    vec![
        ("actions on one line", actions(count, "")),
        ("actions in lines", actions(count, "\n")),
        ("a chain", format!("task: t\nactions:\n{block}")),
        ("a join", format!("task: t\nactions:\n{join}  join: {{needs: [{wide}], exec: [a]}}\n")),
        ("lists on one line", list(count, "[]")),
        ("mappings on one line", list(count, "{}")),
        ("texts on one line", list(count, "'éé'")),
        ("aliases", list(count, "1").replace("[1,", "[&a 1,").replace(",1,1", ",*a ,1")),
        ("comments", format!("task: t\n{comment}actions: {{x: {{exec: [a]}}}}\n")),
        ("one text", format!("task: t\nactions: {{x: {{exec: ['{}']}}}}\n", "é ".repeat(count * 20))),
        ("holes in one text", format!("task: t\nactions: {{x: {{exec: ['{holes}']}}}}\n")),
        ("faults", format!("task: t\nactions:\n{unknown}")),
    ]
}

/// The processor time of this thread: other work of the machine does not count.
fn now() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap()
}

fn time(text: &str) -> Duration {
    let one = || {
        let began = now();
        // Whether it is sound does not matter here.
        drop(Definition::from_text(text));
        now().saturating_sub(began)
    };
    (0..3).map(|_| one()).min().unwrap_or_default()
}

#[test]
fn reading_takes_time_in_proportion() {
    for ((what, short), (_, long)) in texts(PARTS).into_iter().zip(texts(PARTS * TIMES)) {
        let (short, long) = (time(&short), time(&long));
        assert!(long < short * MOST + Duration::from_millis(5), "{what}: {short:?}, {TIMES} times as long: {long:?}");
    }
}
