//! The search: breadth first, each state once, by its fingerprint.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use super::bounds::{Bounds, Explored, WEDGED, WEDGED_FOR_HOURS};
use super::opened::Opened;
use super::record::Rules;
use super::state::{Agent, Key, Mode, Phase, Record, State, Status};
use super::steps::{Step, Steps};

struct Search<'a> {
    bounds: &'a Bounds,
    opened: Option<Opened>,
    rules: Rules,
    seen: HashMap<u128, u32>,
    /// For each state, the state before it.
    parents: Vec<u32>,
    prints: Vec<u128>,
    /// From, to, and whether only the term of 13 hours led there. No fault happened on the way.
    edges: Vec<(u32, u32, bool)>,
    /// Ended, or cut off by a bound: the model does not judge them.
    is_left: Vec<bool>,
    found: BTreeMap<&'static str, Vec<String>>,
    steps: u64,
    cut: usize,
}

/// Explores all interleavings within the bounds, for that long at most. An opened rule stops the search at the promise
/// that it breaks.
///
/// # Panics
/// If there are more states than 2^32.
pub fn explore(bounds: &Bounds, opened: Option<Opened>, most: Duration) -> Explored {
    let began = Instant::now();
    let rules = Rules::new(opened);
    let start = start(bounds, rules.record());
    let (seen, prints) = (HashMap::from([(start.fingerprint(), 0)]), vec![start.fingerprint()]);
    let (parents, is_left) = (vec![0], vec![false]);
    let (edges, found) = (Vec::new(), BTreeMap::new());
    let mut search = Search { bounds, opened, rules, seen, parents, prints, edges, is_left, found, steps: 0, cut: 0 };
    let mut level = vec![(0, start)];
    let (mut depth, mut is_whole) = (0, true);
    while !level.is_empty() {
        let mut next = Vec::new();
        for (number, state) in level {
            if began.elapsed() > most || opened.is_some() && !search.found.is_empty() {
                is_whole = false;
                break;
            }
            search.expand(number, &state, &mut next);
        }
        if !is_whole {
            break;
        }
        depth += 1;
        level = next;
    }
    if is_whole {
        search.wedges();
    }
    let (states, steps) = (search.parents.len(), search.steps);
    Explored { states, steps, depth, cut: search.cut, is_whole, took: began.elapsed(), found: search.found }
}

impl Search<'_> {
    fn expand(&mut self, number: u32, state: &State, next: &mut Vec<(u32, State)>) {
        let mut steps = Steps::new(state, self.bounds, self.opened);
        if state.record.status == Status::Ended {
            self.is_left[number as usize] = true;
            if let Some(broken) = steps.after_the_end(&mut self.rules) {
                self.breaks(broken, number, None);
            }
            return;
        }
        steps.all(&mut self.rules);
        let Steps { found, is_cut, .. } = steps;
        if is_cut {
            self.is_left[number as usize] = true;
            self.cut += 1;
        }
        for step in found {
            self.steps += 1;
            if let Some(broken) = step.broken {
                self.breaks(broken, number, Some(&step));
                continue;
            }
            let print = step.next.fingerprint();
            let new = u32::try_from(self.parents.len()).expect("fewer states than 2^32");
            let to = *self.seen.entry(print).or_insert(new);
            if step.faults == 0 {
                self.edges.push((number, to, step.is_backstop));
            }
            if to == new {
                self.parents.push(number);
                self.prints.push(print);
                self.is_left.push(false);
                next.push((new, step.next));
            }
        }
    }

    fn breaks(&mut self, broken: &'static str, number: u32, step: Option<&Step>) {
        if self.found.contains_key(broken) {
            return;
        }
        let mut trace = self.trace(number);
        trace.extend(step.map(|step| step.label.to_string()));
        self.found.insert(broken, trace);
    }

    /// From each state an end can be reached without a further fault: ever, and without the term of 13 hours.
    fn wedges(&mut self) {
        for (broken, with_backstop) in [(WEDGED, true), (WEDGED_FOR_HOURS, false)] {
            let mut into: Vec<Vec<u32>> = vec![Vec::new(); self.parents.len()];
            for (from, to, _) in self.edges.iter().filter(|edge| with_backstop || !edge.2) {
                into[*to as usize].push(*from);
            }
            let mut reaches = self.is_left.clone();
            let mut todo: Vec<u32> = (0..).zip(&reaches).filter(|(_, left)| **left).map(|(number, _)| number).collect();
            while let Some(number) = todo.pop() {
                for from in &into[number as usize] {
                    if !std::mem::replace(&mut reaches[*from as usize], true) {
                        todo.push(*from);
                    }
                }
            }
            if let Some((stuck, _)) = (0..).zip(&reaches).find(|(_, reaches)| !**reaches) {
                self.breaks(broken, stuck, None);
            }
        }
    }

    /// The steps to that state, found again from the start.
    fn trace(&mut self, number: u32) -> Vec<String> {
        let mut path = Vec::new();
        let mut at = number;
        while at != 0 {
            path.push(self.prints[at as usize]);
            at = self.parents[at as usize];
        }
        let mut state = start(self.bounds, self.rules.record());
        let mut trace = Vec::new();
        for print in path.into_iter().rev() {
            let mut steps = Steps::new(&state, self.bounds, self.opened);
            steps.all(&mut self.rules);
            let step = steps.found.into_iter().find(|step| step.next.fingerprint() == print);
            let step = step.expect("the state was found by one of these steps");
            trace.push(step.label.to_string());
            state = step.next;
        }
        trace
    }
}

fn start(bounds: &Bounds, record: Record) -> State {
    let agent = Agent { mode: Mode::Up, phase: Phase::Idle, key: Key::default(), known: Vec::new() };
    let mut state = State {
        record,
        messages: Vec::new(),
        inbox: Vec::new(),
        control: Vec::new(),
        agents: vec![agent; usize::from(bounds.agents)],
        age: 0,
        faults: bounds.faults,
        backs: bounds.backs,
        resends: bounds.resends,
        renewals: bounds.renewals,
        kills: bounds.kills,
        begun: 0,
        is_admitted: false,
    };
    state.send(0);
    state.tidy();
    state
}
