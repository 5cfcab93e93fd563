//! A task's graph, drawn: as Mermaid, as Graphviz and as a picture.

mod dot;
mod layout;
mod mermaid;
mod model;
mod svg;

pub(crate) use dot::to_dot;
pub(crate) use mermaid::to_mermaid;
pub(crate) use model::Graph;
pub(crate) use svg::to_svg;

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use windlass_domain::definition::Definition;

    use super::*;

    const NIGHTLY: &str = include_str!("../../../../examples/nightly-report/nightly-report.yaml");

    fn definition(text: &str) -> Definition {
        Definition::from_text(text).expect("a definition")
    }

    /// A task that splits, works on `wide` parts at once, and joins.
    fn fan(wide: usize) -> Definition {
        let names: Vec<_> = (0..wide).map(|part| format!("part-{part}")).collect();
        let mut text = "task: fan\nactions:\n  split: { exec: [split] }\n".to_owned();
        for name in &names {
            writeln!(text, "  {name}: {{ needs: split, exec: [work, {name}] }}").expect("text takes all");
        }
        definition(&format!("{text}  join: {{ needs: [{}], exec: [join] }}\n", names.join(", ")))
    }

    #[test]
    fn the_example_in_every_format() {
        let graph = Graph::stacked(&definition(NIGHTLY));
        insta::assert_snapshot!("nightly.mermaid", to_mermaid(&graph));
        insta::assert_snapshot!("nightly.dot", to_dot(&graph));
        insta::assert_snapshot!("nightly.svg", to_svg(&graph).expect("a picture"));
    }

    #[test]
    fn a_wide_fan_is_one_stack() {
        let graph = Graph::stacked(&fan(9_998));
        insta::assert_snapshot!("fan.mermaid", to_mermaid(&graph));
        insta::assert_snapshot!("fan.svg", to_svg(&graph).expect("a picture"));
        assert_eq!(Graph::of(&fan(20)).nodes.len(), 22, "Graphviz gets every action");
    }

    #[test]
    fn a_few_alike_actions_keep_their_boxes() {
        assert_eq!(Graph::stacked(&fan(model::STACK_FROM - 1)).nodes.len(), model::STACK_FROM + 1);
    }

    #[test]
    fn too_large_graph_is_refused() {
        let mut text = "task: large\nactions:\n".to_owned();
        for at in 0..600 {
            writeln!(text, "  a{at}: {{ exec: [work], pool: p{at} }}").expect("text takes all");
        }
        let refused = to_svg(&Graph::stacked(&definition(&text)));
        assert_eq!(refused.expect_err("too large").code(), "WL0609");
    }

    #[test]
    fn no_text_of_an_author_breaks_a_format() {
        let graph = Graph::of(&definition(
            "task: odd\nactions:\n  a:\n    exec: ['\"<&#`\\', \"new\\nline\\u0007\"]\n    when: \"'\\\"<b>&#' != 'x'\"\n",
        ));
        insta::assert_snapshot!("odd.mermaid", to_mermaid(&graph));
        insta::assert_snapshot!("odd.dot", to_dot(&graph));
        let svg = to_svg(&graph).expect("a picture");
        let text = svg.split("<g transform").last().expect("a box");
        assert!(!text.contains("<b>") && !text.contains('\u{7}'), "{text}");
    }
}
