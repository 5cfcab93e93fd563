//! The graph of a task as boxes and arrows. One box may stand for many alike actions of a wide fan.

use std::collections::BTreeMap;

use windlass_domain::definition::{Action, Definition, Facade, ScheduleRule, Trigger};
use windlass_domain::ids::ActionIndex;

/// From this many alike actions on, one box stands for all of them.
pub(crate) const STACK_FROM: usize = 13;

/// A task, ready to be drawn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Graph {
    pub(crate) task: String,
    /// The schedule in words, if there is one.
    pub(crate) schedule: Option<String>,
    pub(crate) nodes: Vec<Node>,
    /// From the needed box to its dependent, by position.
    pub(crate) edges: Vec<(usize, usize)>,
}

/// A box: one action, or several that are alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Node {
    /// The action's name; of several, the first and the last one's.
    pub(crate) name: String,
    /// How many actions stand in it.
    pub(crate) count: usize,
    pub(crate) facade: &'static str,
    /// The facade's work in short: the program, or the method and the URL.
    pub(crate) detail: String,
    /// The pool, unless it is the default one.
    pub(crate) pool: Option<String>,
    /// The trigger, unless it is the default one.
    pub(crate) trigger: Option<&'static str>,
    /// The condition as it was written.
    pub(crate) when: Option<String>,
    pub(crate) allow_failure: bool,
}

impl Graph {
    /// Every action in a box of its own.
    pub(crate) fn of(definition: &Definition) -> Self {
        let nodes = definition.actions.iter().map(|action| Node::of(definition, action)).collect();
        let edges = definition.indexes().flat_map(|index| {
            let needs = definition.action(index).needs.iter();
            needs.map(move |need| (need.as_usize(), index.as_usize()))
        });
        Self { task: definition.task.to_string(), schedule: schedule_of(definition), nodes, edges: edges.collect() }
    }

    /// With one box for [`STACK_FROM`] or more actions that need the same, are needed by the same and look the same.
    pub(crate) fn stacked(definition: &Definition) -> Self {
        let plain = Self::of(definition);
        let mut groups: BTreeMap<Alike<'_>, Vec<usize>> = BTreeMap::new();
        for (at, (node, action)) in plain.nodes.iter().zip(&definition.actions).enumerate() {
            groups.entry((node.look(), &action.needs, &action.dependents)).or_default().push(at);
        }
        // Which action stands for each one: itself, or the first of its group.
        let mut stands_for: Vec<usize> = (0..plain.nodes.len()).collect();
        let mut nodes = plain.nodes.clone();
        for members in groups.values().filter(|members| members.len() >= STACK_FROM) {
            let (first, last) = (members[0], members[members.len() - 1]);
            for member in members {
                stands_for[*member] = first;
            }
            nodes[first].name = format!("{} … {}", plain.nodes[first].name, plain.nodes[last].name);
            nodes[first].count = members.len();
            nodes[first].detail.clear();
        }
        plain.merged(&stands_for, nodes)
    }

    fn merged(&self, stands_for: &[usize], nodes: Vec<Node>) -> Self {
        let kept: Vec<usize> = (0..nodes.len()).filter(|at| stands_for[*at] == *at).collect();
        let place: BTreeMap<usize, usize> = kept.iter().enumerate().map(|(to, from)| (*from, to)).collect();
        let end = |at: usize| place[&stands_for[at]];
        let mut edges: Vec<_> = self.edges.iter().map(|(from, to)| (end(*from), end(*to))).collect();
        edges.sort_unstable();
        edges.dedup();
        let nodes = nodes.into_iter().enumerate().filter(|(at, _)| place.contains_key(at)).map(|(_, node)| node);
        Self { nodes: nodes.collect(), edges, ..self.clone() }
    }
}

/// Two actions with the same key stand in one box: the same look, needs and dependents.
type Alike<'a> = (Look<'a>, &'a [ActionIndex], &'a [ActionIndex]);

/// Two boxes with the same key look alike, but for their names.
type Look<'a> = (&'static str, Option<&'a str>, Option<&'static str>, Option<&'a str>, bool);

impl Node {
    fn of(definition: &Definition, action: &Action) -> Self {
        let (facade, detail) = facade_of(definition, action);
        let written = &definition.source["actions"][action.name.as_str()];
        Self {
            name: action.name.to_string(),
            count: 1,
            facade,
            detail,
            pool: (action.pool.as_str() != "default").then(|| action.pool.to_string()),
            trigger: (action.trigger != Trigger::default()).then(|| trigger_word(action.trigger)),
            when: written["when"].as_str().map(str::to_owned),
            allow_failure: action.allow_failure,
        }
    }

    fn look(&self) -> Look<'_> {
        (self.facade, self.pool.as_deref(), self.trigger, self.when.as_deref(), self.allow_failure)
    }

    /// The settings that are not the default, in words: pool, trigger, condition, allowed failure.
    pub(crate) fn marks(&self) -> Vec<String> {
        let pool = self.pool.as_ref().map(|pool| format!("pool {pool}"));
        let trigger = self.trigger.map(str::to_owned);
        let when = self.when.as_ref().map(|when| format!("when {when}"));
        let allowed = self.allow_failure.then(|| "may fail".to_owned());
        [pool, trigger, when, allowed].into_iter().flatten().collect()
    }
}

const fn trigger_word(trigger: Trigger) -> &'static str {
    match trigger {
        Trigger::AllSucceeded => "all succeeded",
        Trigger::AllDone => "all done",
        Trigger::AnySucceeded => "any succeeded",
        Trigger::AnyFailed => "any failed",
        Trigger::NoneFailed => "none failed",
    }
}

fn facade_of(definition: &Definition, action: &Action) -> (&'static str, String) {
    let written = &definition.source["actions"][action.name.as_str()];
    match &action.facade {
        Facade::Exec(_) => {
            let words = written["exec"].as_array().or_else(|| written["exec"]["command"].as_array());
            let words = words.into_iter().flatten().filter_map(|word| word.as_str());
            ("exec", words.collect::<Vec<_>>().join(" "))
        }
        Facade::Http(http) => {
            let url = written["http"]["url"].as_str().unwrap_or_default();
            ("http", format!("{} {url}", http.method))
        }
        Facade::Native(native) => ("native", native.handler.clone()),
    }
}

fn schedule_of(definition: &Definition) -> Option<String> {
    let schedule = definition.schedule.as_ref()?;
    Some(match &schedule.rule {
        ScheduleRule::Cron(cron) => format!("{cron} · {}", schedule.timezone),
        ScheduleRule::Every(span) => format!("every {span}"),
    })
}
