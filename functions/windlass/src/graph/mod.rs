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
