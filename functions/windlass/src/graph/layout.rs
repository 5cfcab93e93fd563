//! Where the boxes stand and how the arrows go: layers from left to right.

use dagre::graph::{Graph as LayoutGraph, GraphOptions};
use dagre::{EdgeLabel, LayoutOptions, NodeLabel, RankDir};

/// Space between boxes above each other.
const GAP_ACROSS: f64 = 22.0;
/// Space between layers, where the arrows bend.
const GAP_ALONG: f64 = 72.0;
/// Space that an arrow keeps from the boxes it passes.
const CLEARANCE: f64 = 10.0;

/// A place, in pixels from the upper left.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Point {
    pub(super) x: f64,
    pub(super) y: f64,
}

/// Every box's centre and size and every arrow's way, in the order they were given in.
#[derive(Debug)]
pub(super) struct Layout {
    pub(super) centres: Vec<Point>,
    /// Width and height. All boxes of one layer are as wide as the widest of them.
    pub(super) sizes: Vec<(f64, f64)>,
    /// From the right side of a box to the left side of another, with the places between that it must go through.
    pub(super) ways: Vec<Vec<Point>>,
    pub(super) width: f64,
    pub(super) height: f64,
}

/// Lays out boxes of these sizes (width, height) and arrows between them.
pub(super) fn lay_out(sizes: &[(f64, f64)], edges: &[(usize, usize)]) -> Layout {
    let mut graph = LayoutGraph::with_options(GraphOptions { directed: true, multigraph: false, compound: false });
    for (at, (width, height)) in sizes.iter().enumerate() {
        graph.set_node(at.to_string(), Some(NodeLabel { width: *width, height: *height, ..NodeLabel::default() }));
    }
    for (from, to) in edges {
        graph.set_edge(from.to_string(), to.to_string(), Some(EdgeLabel::default()), None);
    }
    let options = LayoutOptions {
        rankdir: RankDir::LR,
        nodesep: GAP_ACROSS,
        edgesep: GAP_ACROSS,
        ranksep: GAP_ALONG,
        ..LayoutOptions::default()
    };
    dagre::layout(&mut graph, Some(options));

    let centre = |at: usize| {
        let node = graph.node(&at.to_string());
        let (x, y) = node.map(|node| (node.x, node.y)).unwrap_or_default();
        Point { x: x.unwrap_or_default(), y: y.unwrap_or_default() }
    };
    let mut centres: Vec<_> = (0..sizes.len()).map(centre).collect();
    let layers = Layers::of(sizes, &centres);
    let sizes: Vec<_> = sizes.iter().zip(&centres).map(|((_, height), at)| (layers.width_at(at.x), *height)).collect();
    let way = |(from, to): &(usize, usize)| {
        let label = graph.edge(&from.to_string(), &to.to_string(), None);
        let bends = label.map(|label| label.points.iter().map(|p| Point { x: p.x, y: p.y }).collect());
        let start = Point { x: centres[*from].x + sizes[*from].0 / 2.0, y: centres[*from].y };
        let end = Point { x: centres[*to].x - sizes[*to].0 / 2.0, y: centres[*to].y };
        layers.way(start, bends.unwrap_or_default(), end)
    };
    let mut ways: Vec<_> = edges.iter().map(way).collect();
    if is_upside_down(&centres) {
        centres.iter_mut().chain(ways.iter_mut().flatten()).for_each(|point| point.y = -point.y);
    }
    settle(sizes, centres, ways)
}

/// Whether most neighbours of a layer stand in the opposite of the order they were given in.
fn is_upside_down(centres: &[Point]) -> bool {
    let mut last_of_layer: Vec<Point> = Vec::new();
    let (mut up, mut down) = (0_u32, 0_u32);
    for point in centres {
        match last_of_layer.iter_mut().find(|last| (last.x - point.x).abs() < 1.0) {
            Some(last) => {
                if point.y < last.y {
                    up += 1;
                } else {
                    down += 1;
                }
                *last = *point;
            }
            None => last_of_layer.push(*point),
        }
    }
    up > down
}

/// Moves everything so that it begins at 0, and measures it.
fn settle(sizes: Vec<(f64, f64)>, mut centres: Vec<Point>, mut ways: Vec<Vec<Point>>) -> Layout {
    let corners = centres.iter().zip(&sizes).flat_map(|(centre, (width, height))| {
        let (dx, dy) = (width / 2.0, height / 2.0);
        [Point { x: centre.x - dx, y: centre.y - dy }, Point { x: centre.x + dx, y: centre.y + dy }]
    });
    let all: Vec<Point> = corners.chain(ways.iter().flatten().copied()).collect();
    let least = |of: fn(&Point) -> f64| all.iter().map(of).fold(f64::INFINITY, f64::min);
    let most = |of: fn(&Point) -> f64| all.iter().map(of).fold(f64::NEG_INFINITY, f64::max);
    let (left, top) = (least(|p| p.x), least(|p| p.y));
    let (width, height) = (most(|p| p.x) - left, most(|p| p.y) - top);
    for point in centres.iter_mut().chain(ways.iter_mut().flatten()) {
        point.x -= left;
        point.y -= top;
    }
    Layout { centres, sizes, ways, width, height }
}

/// The columns that the boxes stand in: where each one's middle is, and half the width of its widest box.
struct Layers(Vec<(f64, f64)>);

impl Layers {
    fn of(sizes: &[(f64, f64)], centres: &[Point]) -> Self {
        let mut layers: Vec<(f64, f64)> = Vec::new();
        for (centre, (width, _)) in centres.iter().zip(sizes) {
            match layers.iter_mut().find(|(x, _)| (x - centre.x).abs() < 1.0) {
                Some((_, half)) => *half = half.max(width / 2.0),
                None => layers.push((centre.x, width / 2.0)),
            }
        }
        Self(layers)
    }

    /// The width of the layer there.
    fn width_at(&self, x: f64) -> f64 {
        self.0.iter().find(|(middle, _)| (middle - x).abs() < 1.0).map_or(0.0, |(_, half)| half * 2.0)
    }

    /// An arrow bends only between columns: through a column it goes straight, clear of the boxes.
    fn way(&self, start: Point, bends: Vec<Point>, end: Point) -> Vec<Point> {
        let mut way = vec![start];
        for bend in bends.into_iter().filter(|bend| bend.x > start.x && bend.x < end.x) {
            if let Some((x, half)) = self.0.iter().find(|(x, _)| (x - bend.x).abs() < 1.0) {
                way.push(Point { x: x - half - CLEARANCE, y: bend.y });
                way.push(Point { x: x + half + CLEARANCE, y: bend.y });
            }
        }
        way.push(end);
        way
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOX: (f64, f64) = (100.0, 40.0);

    #[test]
    fn needed_boxes_stand_to_the_left() {
        let layout = lay_out(&[BOX; 4], &[(0, 1), (0, 2), (1, 3), (2, 3)]);
        let x: Vec<_> = layout.centres.iter().map(|p| p.x).collect();
        assert!(x[0] < x[1] && x[1] < x[3] && (x[1] - x[2]).abs() < 1.0, "{x:?}");
        assert!(layout.centres[2].y - layout.centres[1].y >= BOX.1, "in the order they were given in");
    }

    #[test]
    fn boxes_of_a_layer_have_one_width() {
        let layout = lay_out(&[BOX, (60.0, 40.0), (180.0, 40.0)], &[(0, 1), (0, 2)]);
        assert_eq!(layout.sizes, [BOX, (180.0, 40.0), (180.0, 40.0)]);
    }

    #[test]
    fn an_arrow_over_several_layers_passes_no_box() {
        let layout = lay_out(&[BOX; 3], &[(0, 1), (1, 2), (0, 2)]);
        let (way, middle) = (&layout.ways[2], layout.centres[1]);
        let beside = way.iter().filter(|p| (p.x - middle.x).abs() <= BOX.0 / 2.0 + CLEARANCE + 0.5);
        assert!(beside.clone().count() == 2 && beside.clone().all(|p| (p.y - middle.y).abs() > BOX.1 / 2.0), "{way:?}");
    }

    #[test]
    fn boxes_without_arrows_are_laid_out_too() {
        let layout = lay_out(&[BOX; 2], &[]);
        assert!(layout.width >= BOX.0 && layout.height >= BOX.1 * 2.0);
    }
}
