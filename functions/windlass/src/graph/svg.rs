//! A picture: rounded boxes from left to right, curves between them. It brings its own colours for light and dark.

use std::fmt::Write;

use super::layout::{Layout, Point, lay_out};
use super::model::{Graph, Node};
use crate::failure::{Exit, Failure};

/// Above these the picture would be of no use, and slow to make.
const MAX_BOXES: usize = 500;
const MAX_ARROWS: usize = 3000;

const NAME_PX: f64 = 14.0;
const DETAIL_PX: f64 = 11.5;
const MARK_PX: f64 = 10.5;
const PADDING: f64 = 16.0;
const LEAST_WIDTH: f64 = 128.0;
const HEIGHT: f64 = 54.0;
const MARKS_HEIGHT: f64 = 24.0;
const MARK_GAP: f64 = 6.0;
const MARGIN: f64 = 20.0;
const TITLE_HEIGHT: f64 = 44.0;
const MAX_NAME_CHARS: usize = 34;
const MAX_DETAIL_CHARS: usize = 36;
const MAX_MARK_CHARS: usize = 44;

const STYLE: &str = "\
text{font-family:ui-sans-serif,system-ui,-apple-system,'Segoe UI','DejaVu Sans',sans-serif}
.title{font-size:16px;font-weight:600;fill:#6e7781}.when{font-size:12px;fill:#8b949e}
.box{fill:#fff;stroke:#d0d7de;stroke-width:1.2}.fallible{stroke:#bf8700;stroke-dasharray:5 4}
.name{font-size:14px;font-weight:600;fill:#1f2328}.detail{font-size:11.5px;fill:#656d76}
.mark rect{fill:#eaeef2}.mark text{font-size:10.5px;fill:#424a53}
.mark.may-fail rect{fill:#fff1c9}.mark.may-fail text{fill:#7d4e00}
.exec{fill:#2f81f7}.http{fill:#1a9e8f}.native{fill:#8957e5}
.edge{fill:none;stroke:#8b949e;stroke-width:1.4}.tip{fill:#8b949e}
@media(prefers-color-scheme:dark){.title{fill:#9da7b3}.box{fill:#1c2128;stroke:#444c56}.fallible{stroke:#c69026}
.name{fill:#e6edf3}.detail{fill:#9198a1}.mark rect{fill:#343b44}.mark text{fill:#c9d1d9}
.mark.may-fail rect{fill:#4b3a10}.mark.may-fail text{fill:#eac55f}}";

/// The graph as SVG. WL0609 if it is too large for a picture.
pub(crate) fn to_svg(graph: &Graph) -> Result<String, Failure> {
    if graph.nodes.len() > MAX_BOXES || graph.edges.len() > MAX_ARROWS {
        let size = format!("{} boxes and {} arrows", graph.nodes.len(), graph.edges.len());
        let message = format!("the graph has {size}; a picture has at most {MAX_BOXES} and {MAX_ARROWS}");
        return Err(Failure::new("WL0609", Exit::Usage, message)
            .help("`--format dot` writes it for Graphviz, whose `sfdp` draws graphs of any size"));
    }
    let sizes: Vec<_> = graph.nodes.iter().map(size_of).collect();
    let layout = lay_out(&sizes, &graph.edges);
    let mut svg = head_of(graph, &layout);
    for way in &layout.ways {
        writeln!(svg, r#"<path class="edge" d="{}" marker-end="url(#tip)"/>"#, path_of(way)).expect("text takes all");
    }
    for ((node, size), centre) in graph.nodes.iter().zip(&layout.sizes).zip(&layout.centres) {
        draw_box(&mut svg, node, *size, *centre);
    }
    Ok(svg + "</g>\n</svg>\n")
}

fn head_of(graph: &Graph, layout: &Layout) -> String {
    let schedule = graph.schedule.as_deref().unwrap_or_default();
    let titles = text_width(&graph.task, 16.0).max(text_width(schedule, 12.0));
    let width = (layout.width.max(titles) + MARGIN * 2.0).ceil();
    let height = (layout.height + TITLE_HEIGHT + MARGIN * 2.0).ceil();
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         viewBox=\"0 0 {width} {height}\" role=\"img\" aria-label=\"Graph of task {task}\">\n<style>{STYLE}</style>\n\
         <defs><marker id=\"tip\" viewBox=\"0 0 8 8\" refX=\"7\" refY=\"4\" markerWidth=\"7\" markerHeight=\"7\" \
         orient=\"auto\"><path class=\"tip\" d=\"M0 0.6 L8 4 L0 7.4 Z\"/></marker></defs>\n\
         <text class=\"title\" x=\"{MARGIN}\" y=\"32\">{task}</text>\n",
        task = escaped(&graph.task),
    );
    if !schedule.is_empty() {
        writeln!(svg, r#"<text class="when" x="{MARGIN}" y="50">{}</text>"#, escaped(schedule))
            .expect("text takes all");
    }
    let top = MARGIN + TITLE_HEIGHT;
    writeln!(svg, r#"<g transform="translate({MARGIN} {top})">"#).expect("text takes all");
    svg
}

fn draw_box(svg: &mut String, node: &Node, (width, height): (f64, f64), centre: Point) {
    let (x, y) = (centre.x - width / 2.0, centre.y - height / 2.0);
    let class = if node.allow_failure { "box fallible" } else { "box" };
    writeln!(svg, r#"<g transform="translate({x:.1} {y:.1})"><title>{}</title>"#, escaped(&full_text(node)))
        .expect("text takes all");
    let shape = format!(r#"width="{width:.1}" height="{height:.1}" rx="9""#);
    if node.count > 1 {
        for shift in [8, 4] {
            writeln!(svg, r#"<rect class="{class}" x="{shift}" y="{shift}" {shape}/>"#).expect("text takes all");
        }
    }
    writeln!(svg, r#"<rect class="{class}" {shape}/>"#).expect("text takes all");
    let bar = height - 20.0;
    writeln!(svg, r#"<rect class="{}" x="6" y="10" width="3" height="{bar:.1}" rx="1.5"/>"#, node.facade)
        .expect("text takes all");
    writeln!(svg, r#"<text class="name" x="{PADDING}" y="23">{}</text>"#, escaped(&name_of(node)))
        .expect("text takes all");
    writeln!(svg, r#"<text class="detail" x="{PADDING}" y="41">{}</text>"#, escaped(&detail_of(node)))
        .expect("text takes all");
    let mut at = PADDING;
    for mark in marks_of(node) {
        let class = if mark == "may fail" { "mark may-fail" } else { "mark" };
        let wide = text_width(&mark, MARK_PX) + 12.0;
        let text = escaped(&mark);
        writeln!(
            svg,
            r#"<g class="{class}"><rect x="{at:.1}" y="50" width="{wide:.1}" height="17" rx="8.5"/><text x="{:.1}" y="62">{text}</text></g>"#,
            at + 6.0
        )
        .expect("text takes all");
        at += wide + MARK_GAP;
    }
    svg.push_str("</g>\n");
}

/// A curve that leaves and enters every place on its way horizontally.
fn path_of(way: &[Point]) -> String {
    let mut path = format!("M{:.1} {:.1}", way[0].x, way[0].y);
    for pair in way.windows(2) {
        let (from, to) = (pair[0], pair[1]);
        let middle = f64::midpoint(from.x, to.x);
        write!(path, " C{middle:.1} {:.1} {middle:.1} {:.1} {:.1} {:.1}", from.y, to.y, to.x, to.y)
            .expect("text takes all");
    }
    path
}

fn size_of(node: &Node) -> (f64, f64) {
    let marks = marks_of(node);
    let marks_width: f64 = marks.iter().map(|mark| text_width(mark, MARK_PX) + 12.0 + MARK_GAP).sum();
    let texts = text_width(&name_of(node), NAME_PX) * 1.06;
    let width = texts.max(text_width(&detail_of(node), DETAIL_PX)).max(marks_width) + PADDING * 2.0;
    (width.max(LEAST_WIDTH).ceil(), if marks.is_empty() { HEIGHT } else { HEIGHT + MARKS_HEIGHT - 4.0 })
}

fn name_of(node: &Node) -> String {
    clipped(&node.name, MAX_NAME_CHARS)
}

fn detail_of(node: &Node) -> String {
    match node.count {
        1 => clipped(&format!("{} · {}", node.facade, node.detail), MAX_DETAIL_CHARS),
        count => format!("{} · {count} actions", node.facade),
    }
}

fn marks_of(node: &Node) -> Vec<String> {
    node.marks().iter().map(|mark| clipped(mark, MAX_MARK_CHARS)).collect()
}

fn full_text(node: &Node) -> String {
    let mut lines = vec![node.name.clone(), format!("{} {}", node.facade, node.detail)];
    lines.extend(node.marks());
    lines.join("\n")
}

fn clipped(text: &str, most: usize) -> String {
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if line.chars().count() <= most {
        return line;
    }
    line.chars().take(most - 1).chain(['…']).collect()
}

/// An upper bound of a text's width in the common fonts; the widest is `DejaVu` Sans.
fn text_width(text: &str, px: f64) -> f64 {
    let em = |c: char| match c {
        'i' | 'j' | 'l' | 'I' | '.' | ',' | ':' | ';' | '\'' | '|' | ' ' => 0.34,
        'f' | 'r' | 't' | '(' | ')' | '[' | ']' | '-' | '/' | '"' | '·' => 0.43,
        'm' | 'w' | 'M' | 'W' | '@' | '%' | '…' | '→' => 1.0,
        'A'..='Z' | '=' | '+' | '<' | '>' | '~' | '&' => 0.82,
        c if c.is_ascii() => 0.64,
        _ => 1.05,
    };
    text.chars().map(em).sum::<f64>() * px
}

fn escaped(text: &str) -> String {
    let mut safe = String::new();
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            // XML allows no other control characters, not even escaped.
            c if c.is_control() && c != '\n' => safe.push(' '),
            c => safe.push(c),
        }
    }
    safe
}
