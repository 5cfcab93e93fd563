//! A Mermaid flowchart.

use std::fmt::Write;

use super::model::{Graph, Node};

/// The graph as a Mermaid flowchart from left to right. Ids are positions, so that no name can break the syntax.
pub(crate) fn to_mermaid(graph: &Graph) -> String {
    let mut text = format!("---\ntitle: {}\n---\nflowchart LR\n", graph.task);
    for (at, node) in graph.nodes.iter().enumerate() {
        let (open, close) = if node.count > 1 { ("[[", "]]") } else { ("(", ")") };
        writeln!(text, "  n{at}{open}\"{}\"{close}", label_of(node)).expect("text takes all");
    }
    for (from, to) in &graph.edges {
        let arrow = if graph.nodes[*from].allow_failure { "-.->" } else { "-->" };
        writeln!(text, "  n{from} {arrow} n{to}").expect("text takes all");
    }
    let fallible: Vec<_> =
        (0..graph.nodes.len()).filter(|at| graph.nodes[*at].allow_failure).map(|at| format!("n{at}")).collect();
    if !fallible.is_empty() {
        writeln!(text, "  classDef fallible stroke-dasharray: 5 4").expect("text takes all");
        writeln!(text, "  class {} fallible", fallible.join(",")).expect("text takes all");
    }
    text
}

fn label_of(node: &Node) -> String {
    let count = if node.count > 1 { format!(" × {}", node.count) } else { String::new() };
    let mut lines = vec![format!("<b>{}</b>{count}", escaped(&node.name)), node.facade.to_owned()];
    lines.extend(node.marks().iter().map(|mark| format!("<i>{}</i>", escaped(mark))));
    lines.join("<br/>")
}

/// Mermaid's own entities: a quote would end the label, a hash would begin an entity.
fn escaped(text: &str) -> String {
    let mut safe = String::new();
    for c in text.chars() {
        match c {
            '"' => safe.push_str("#quot;"),
            '#' => safe.push_str("#35;"),
            '<' => safe.push_str("#lt;"),
            '>' => safe.push_str("#gt;"),
            '&' => safe.push_str("#amp;"),
            '`' => safe.push_str("#96;"),
            '\n' | '\r' => safe.push(' '),
            other => safe.push(other),
        }
    }
    safe
}
