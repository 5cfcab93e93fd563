//! The graph of `needs`: its cycles, and the order of its actions.

use std::collections::{BTreeSet, VecDeque};

use petgraph::algo::kosaraju_scc;
use petgraph::graph::{DiGraph, NodeIndex};

/// The graph of a definition's actions. An edge goes from an action to each of its needs.
pub(super) struct Needs<'a> {
    needs: &'a [Vec<usize>],
}

impl<'a> Needs<'a> {
    /// A graph of each action's needs, by index.
    pub(super) fn new(needs: &'a [Vec<usize>]) -> Self {
        Self { needs }
    }

    /// One shortest cycle of every knot of actions that need one another, the first action not repeated.
    pub(super) fn cycles(&self) -> Vec<Vec<usize>> {
        let mut graph = DiGraph::<(), (), u32>::with_capacity(self.needs.len(), 0);
        for _ in self.needs {
            graph.add_node(());
        }
        for (from, needs) in self.needs.iter().enumerate() {
            for to in needs {
                graph.add_edge(NodeIndex::new(from), NodeIndex::new(*to), ());
            }
        }
        let knots = kosaraju_scc(&graph).into_iter().filter(|knot| knot.len() > 1);
        let mut cycles: Vec<_> = knots
            .filter_map(|knot| {
                let knot: BTreeSet<usize> = knot.into_iter().map(NodeIndex::index).collect();
                self.shortest_cycle(&knot)
            })
            .collect();
        cycles.sort_unstable();
        cycles
    }

    /// The shortest way within a knot from its first action back to itself.
    fn shortest_cycle(&self, knot: &BTreeSet<usize>) -> Option<Vec<usize>> {
        let start = *knot.first()?;
        let mut came_from = vec![None; self.needs.len()];
        let mut queue = VecDeque::from([start]);
        while let Some(at) = queue.pop_front() {
            for &next in self.needs[at].iter().filter(|next| knot.contains(next)) {
                if next == start {
                    return Some(way(&came_from, start, at));
                }
                if came_from[next].is_none() {
                    came_from[next] = Some(at);
                    queue.push_back(next);
                }
            }
        }
        None
    }

    /// For each action, the set of all actions before it. The graph must not have cycles.
    pub(super) fn ancestors(&self) -> Ancestors {
        let words = self.needs.len().div_ceil(64);
        let mut rows: Vec<Vec<u64>> = vec![Vec::new(); self.needs.len()];
        for at in self.order() {
            let mut row = vec![0; words];
            for &need in &self.needs[at] {
                row[need / 64] |= 1 << (need % 64);
                for (word, more) in row.iter_mut().zip(&rows[need]) {
                    *word |= more;
                }
            }
            rows[at] = row;
        }
        Ancestors { rows }
    }

    /// The actions, each after its needs.
    fn order(&self) -> Vec<usize> {
        let mut dependents = vec![Vec::new(); self.needs.len()];
        for (at, needs) in self.needs.iter().enumerate() {
            for &need in needs {
                dependents[need].push(at);
            }
        }
        let mut open: Vec<usize> = self.needs.iter().map(Vec::len).collect();
        let mut order: Vec<usize> = (0..self.needs.len()).filter(|at| open[*at] == 0).collect();
        let mut next = 0;
        while let Some(&at) = order.get(next) {
            next += 1;
            for &dependent in &dependents[at] {
                open[dependent] -= 1;
                if open[dependent] == 0 {
                    order.push(dependent);
                }
            }
        }
        order
    }
}

fn way(came_from: &[Option<usize>], start: usize, end: usize) -> Vec<usize> {
    let mut way = vec![end];
    let mut at = end;
    while at != start {
        let Some(before) = came_from[at] else { break };
        way.push(before);
        at = before;
    }
    way.reverse();
    way
}

/// Who comes before whom, as one bit for each pair.
pub(super) struct Ancestors {
    rows: Vec<Vec<u64>>,
}

impl Ancestors {
    /// Whether `before` is settled when `action` starts, because it is needed directly or by way of others.
    pub(super) fn contains(&self, action: usize, before: usize) -> bool {
        self.rows[action].get(before / 64).is_some_and(|word| word & (1 << (before % 64)) != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(needs: &[&[usize]], cycles: &[&[usize]]) {
        let needs: Vec<Vec<usize>> = needs.iter().map(|needs| needs.to_vec()).collect();
        assert_eq!(Needs::new(&needs).cycles(), cycles);
    }

    #[test]
    fn each_cycle_is_shown_by_its_shortest_way() {
        check(&[&[], &[0], &[0, 1]], &[]);
        check(&[&[1], &[0]], &[&[0, 1]]);
        check(&[&[1], &[2], &[0, 1]], &[&[0, 1, 2]]);
        check(&[&[1], &[0], &[3], &[2], &[0, 2]], &[&[0, 1], &[2, 3]]);
    }

    #[test]
    fn ancestors_are_transitive() {
        let needs = [vec![], vec![0], vec![1], vec![]];
        let ancestors = Needs::new(&needs).ancestors();
        assert!(ancestors.contains(2, 0) && ancestors.contains(2, 1) && ancestors.contains(1, 0));
        assert!(!ancestors.contains(0, 2) && !ancestors.contains(3, 0) && !ancestors.contains(2, 2));
    }

    #[test]
    fn long_chain_needs_no_deep_stack() {
        let needs: Vec<Vec<usize>> = (0..10_000_usize).map(|at| at.checked_sub(1).into_iter().collect()).collect();
        assert!(Needs::new(&needs).cycles().is_empty());
        assert!(Needs::new(&needs).ancestors().contains(9_999, 0));
    }
}
