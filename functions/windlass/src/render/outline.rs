//! The order and indentation in which a graph is listed as a tree.
//!
//! An action stands under the last action in which all paths to it come together. That is its immediate dominator
//! (Cooper, Harvey and Kennedy, "A Simple, Fast Dominance Algorithm"). Branches are indented. The join of branches
//! stands at the level of their fork. A chain is not indented at all.

use windlass_contract::view::RunView;
use windlass_domain::definition::Definition;
use windlass_domain::ids::ActionName;

/// The parts of a definition that the list of a run needs.
#[derive(Debug, Clone)]
pub(crate) struct Outline {
    /// The actions, in the author's order.
    pub(crate) actions: Vec<OutlineAction>,
    /// For each action, and last for the run itself, the actions under it.
    children: Vec<Children>,
}

/// An action, as it is listed.
#[derive(Debug, Clone)]
pub(crate) struct OutlineAction {
    pub(crate) name: ActionName,
    pub(crate) needs: Vec<usize>,
    pub(crate) allow_failure: bool,
    /// How many attempts its policy allows; `None`: no end, or not known.
    pub(crate) attempts: Option<u32>,
}

#[derive(Debug, Clone, Default)]
struct Children {
    /// They need only the action that they stand under.
    branches: Vec<usize>,
    /// Need several.
    joins: Vec<usize>,
}

/// A line of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    /// The tree's lines before it.
    pub(crate) lead: String,
    /// The tree's lines before the remarks that stand on lines of their own.
    pub(crate) rest: String,
    pub(crate) what: What,
}

/// The actions that a row stands for, by their indexes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum What {
    /// An action.
    Action(usize),
    /// Actions that are not listed one by one.
    Hidden(Vec<usize>),
}

impl Outline {
    /// Of a definition.
    pub(crate) fn of(definition: &Definition) -> Self {
        let actions = definition.actions.iter().map(|action| OutlineAction {
            name: action.name.clone(),
            needs: action.needs.iter().map(|need| need.as_usize()).collect(),
            allow_failure: action.allow_failure,
            attempts: attempts_of(action),
        });
        Self::new(actions.collect())
    }

    /// A plain list, of a run whose definition is out of reach.
    pub(crate) fn flat(view: &RunView) -> Self {
        let plain = |name: &ActionName| OutlineAction {
            name: name.clone(),
            needs: Vec::new(),
            allow_failure: false,
            attempts: None,
        };
        Self::new(view.actions.keys().map(plain).collect())
    }

    fn new(actions: Vec<OutlineAction>) -> Self {
        let children = children_of(&actions);
        Self { actions, children }
    }

    /// The lines, at most `most` branches of one fork one by one: those with the lowest `rank` first.
    pub(crate) fn rows(&self, most: usize, rank: impl Fn(usize) -> u8) -> Vec<Row> {
        let mut rows = Vec::new();
        let mut stack = self.under(self.actions.len(), "", most, &rank);
        while let Some(row) = stack.pop() {
            if let What::Action(at) = row.what {
                stack.extend(self.under(at, &row.rest, most, &rank));
            }
            rows.push(row);
        }
        rows
    }

    /// The lines directly under an action, the last one first.
    fn under(&self, at: usize, level: &str, most: usize, rank: &impl Fn(usize) -> u8) -> Vec<Row> {
        let Children { branches, joins } = &self.children[at];
        let same_level = |at: &usize| Row { lead: level.into(), rest: level.into(), what: What::Action(*at) };
        let is_chain = branches.len() + joins.len() == 1;
        if is_chain {
            return branches.iter().chain(joins).map(same_level).collect();
        }
        let (shown, hidden) = split(branches, most, rank);
        let mut whats: Vec<What> = shown.into_iter().map(What::Action).collect();
        if !hidden.is_empty() {
            whats.push(What::Hidden(hidden.into_iter().flat_map(|at| self.subtree(at)).collect()));
        }
        let last = whats.len().saturating_sub(1);
        let indented = whats.into_iter().enumerate().map(|(at, what)| Row {
            lead: format!("{level}{}", if at == last { "└─ " } else { "├─ " }),
            rest: format!("{level}{}", if at == last { "   " } else { "│  " }),
            what,
        });
        let mut rows: Vec<Row> = indented.chain(joins.iter().map(same_level)).collect();
        rows.reverse();
        rows
    }

    fn subtree(&self, at: usize) -> Vec<usize> {
        let mut all = Vec::new();
        let mut stack = vec![at];
        while let Some(at) = stack.pop() {
            all.push(at);
            stack.extend(self.children[at].branches.iter().chain(&self.children[at].joins));
        }
        all
    }
}

/// The listed branches, in their order, and the others.
fn split(branches: &[usize], most: usize, rank: &impl Fn(usize) -> u8) -> (Vec<usize>, Vec<usize>) {
    if branches.len() <= most {
        return (branches.to_vec(), Vec::new());
    }
    let mut by_rank: Vec<usize> = branches.to_vec();
    by_rank.sort_by_key(|at| rank(*at));
    let mut shown = by_rank.drain(..most).collect::<Vec<_>>();
    shown.sort_unstable();
    by_rank.sort_unstable();
    (shown, by_rank)
}

fn attempts_of(action: &windlass_domain::definition::Action) -> Option<u32> {
    match action.retry.attempts {
        windlass_domain::retry::Attempts::Limited(attempts) => Some(attempts),
        windlass_domain::retry::Attempts::Forever => None,
    }
}

fn children_of(actions: &[OutlineAction]) -> Vec<Children> {
    let root = actions.len();
    let order = in_order(actions);
    let mut parent = vec![root; root + 1];
    let mut depth = vec![0_usize; root + 1];
    for at in order.iter().copied() {
        let mut needs = actions[at].needs.iter().copied();
        let first = needs.next().unwrap_or(root);
        parent[at] = needs.fold(first, |a, b| meeting(a, b, &parent, &depth));
        depth[at] = depth[parent[at]] + 1;
    }
    let mut children = vec![Children::default(); root + 1];
    for at in order {
        let under = &mut children[parent[at]];
        if actions[at].needs.len() > 1 { under.joins.push(at) } else { under.branches.push(at) }
    }
    children
}

/// Where the ways up from two actions meet.
fn meeting(mut a: usize, mut b: usize, parent: &[usize], depth: &[usize]) -> usize {
    while a != b {
        if depth[a] >= depth[b] { a = parent[a] } else { b = parent[b] }
    }
    a
}

/// Every action after its needs, else in the author's order.
fn in_order(actions: &[OutlineAction]) -> Vec<usize> {
    let mut missing: Vec<usize> = actions.iter().map(|action| action.needs.len()).collect();
    let mut dependents = vec![Vec::new(); actions.len()];
    for (at, action) in actions.iter().enumerate() {
        action.needs.iter().for_each(|need| dependents[*need].push(at));
    }
    let mut ready: std::collections::BTreeSet<usize> = (0..actions.len()).filter(|at| missing[*at] == 0).collect();
    let mut order = Vec::with_capacity(actions.len());
    while let Some(at) = ready.pop_first() {
        order.push(at);
        for dependent in &dependents[at] {
            missing[*dependent] -= 1;
            if missing[*dependent] == 0 {
                ready.insert(*dependent);
            }
        }
    }
    order
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// An outline of actions, each with its needs.
    pub(crate) fn outline(actions: &[(&str, &[&str])]) -> Outline {
        let place = |name: &str| actions.iter().position(|(other, _)| *other == name).expect("known");
        let action = |(name, needs): &(&str, &[&str])| OutlineAction {
            name: ActionName::new(name).expect("a name"),
            needs: needs.iter().map(|need| place(need)).collect(),
            allow_failure: false,
            attempts: Some(1),
        };
        Outline::new(actions.iter().map(action).collect())
    }

    fn check(actions: &[(&str, &[&str])], most: usize, expected: &[&str]) {
        let outline = outline(actions);
        let line = |row: Row| match row.what {
            What::Action(at) => format!("{}{}", row.lead, outline.actions[at].name),
            What::Hidden(hidden) => format!("{}+{}", row.lead, hidden.len()),
        };
        let lines: Vec<_> = outline.rows(most, |_| 0).into_iter().map(line).collect();
        assert_eq!(lines, expected);
    }

    #[test]
    fn a_chain_is_not_indented() {
        check(&[("a", &[]), ("b", &["a"]), ("c", &["b"])], 9, &["a", "b", "c"]);
    }

    #[test]
    fn branches_are_indented_and_joins_come_back() {
        check(&[("a", &[]), ("b", &["a"]), ("c", &["a"]), ("d", &["b", "c"])], 9, &["a", "├─ b", "└─ c", "d"]);
    }

    #[test]
    fn forks_nest() {
        check(
            &[("a", &[]), ("b", &["a"]), ("c", &["b"]), ("d", &["b"]), ("e", &["c", "d"]), ("f", &["a"])],
            9,
            &["a", "├─ b", "│  ├─ c", "│  └─ d", "│  e", "└─ f"],
        );
    }

    #[test]
    fn several_beginnings_are_branches_of_the_run() {
        check(&[("a", &[]), ("b", &[]), ("c", &["b", "a"])], 9, &["├─ a", "└─ b", "c"]);
    }

    #[test]
    fn an_action_may_stand_before_what_it_needs() {
        check(&[("late", &["early"]), ("early", &[])], 9, &["early", "late"]);
    }

    #[test]
    fn a_wide_fan_is_cut() {
        check(
            &[("a", &[]), ("b", &["a"]), ("c", &["a"]), ("c2", &["c"]), ("d", &["a"]), ("e", &["b", "c2", "d"])],
            1,
            &["a", "├─ b", "└─ +3", "e"],
        );
    }
}
