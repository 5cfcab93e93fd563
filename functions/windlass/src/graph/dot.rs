//! Graphviz.

use std::fmt::Write;

use super::model::{Graph, Node};

/// The graph in Graphviz's language, from left to right.
pub(crate) fn to_dot(graph: &Graph) -> String {
    let mut text = format!("digraph {} {{\n", quoted(&graph.task));
    text += "  rankdir=LR;\n  bgcolor=transparent;\n";
    text += "  node [shape=box, style=rounded, fontname=\"Helvetica\", color=\"#7d8590\"];\n";
    text += "  edge [color=\"#7d8590\", arrowsize=0.7];\n";
    for node in &graph.nodes {
        let style = if node.allow_failure { ", style=\"rounded,dashed\"" } else { "" };
        writeln!(text, "  {} [label={}{style}];", quoted(&node.name), quoted(&label_of(node))).expect("text takes all");
    }
    for (from, to) in &graph.edges {
        let (from, to) = (&graph.nodes[*from].name, &graph.nodes[*to].name);
        writeln!(text, "  {} -> {};", quoted(from), quoted(to)).expect("text takes all");
    }
    text + "}\n"
}

fn label_of(node: &Node) -> String {
    let mut lines = vec![node.name.clone(), node.facade.to_owned()];
    lines.extend(node.marks());
    lines.join("\n")
}

/// A quoted text; a line's end becomes Graphviz's escape for it.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}
