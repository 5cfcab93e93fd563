//! The next steps of a state: time, the sweeper, the pool's queue and the process manager. `agents.rs` has the agents.

use std::fmt;

use super::bounds::{Bounds, TWO_PERFORM};
use super::case::{Case, Decided};
use super::opened::Opened;
use super::record::Rules;
use super::state::{Agent, Key, Kill, Lease, Mode, NOBODY, Phase, Said, State, Status, Word};

/// The name of a step.
#[derive(Debug, Clone, Copy)]
pub(super) struct Label {
    pub(super) what: &'static str,
    pub(super) said: Option<Said>,
    pub(super) agent: u8,
    pub(super) key: Key,
    pub(super) also: &'static str,
}

impl Label {
    pub(super) const fn of(what: &'static str) -> Self {
        let key = Key { issue: 0, receive: 0, message: 0 };
        Self { what, said: None, agent: NOBODY, key, also: "" }
    }

    pub(super) const fn by(what: &'static str, agent: u8, key: Key) -> Self {
        Self { agent, key, ..Self::of(what) }
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.agent != NOBODY {
            write!(f, "agent {} ", self.agent)?;
        }
        f.write_str(self.what)?;
        if let Some(said) = self.said {
            write!(f, " {said:?}")?;
        }
        if self.key.message > 0 {
            let Key { issue, receive, message } = self.key;
            write!(f, " (issue {}, receive {receive} of message {message})", issue / super::state::ISSUE)?;
        }
        f.write_str(self.also)
    }
}

/// One thing that happens.
pub(super) struct Step {
    pub(super) label: Label,
    pub(super) faults: u8,
    pub(super) next: State,
    pub(super) broken: Option<&'static str>,
    /// Only the term of 13 hours led to it.
    pub(super) is_backstop: bool,
}

/// All that may happen in one state.
pub(super) struct Steps<'a> {
    pub(super) of: &'a State,
    pub(super) bounds: &'a Bounds,
    pub(super) opened: Option<Opened>,
    pub(super) found: Vec<Step>,
    /// A bound has kept something from happening.
    pub(super) is_cut: bool,
}

impl<'a> Steps<'a> {
    pub(super) fn new(of: &'a State, bounds: &'a Bounds, opened: Option<Opened>) -> Self {
        Self { of, bounds, opened, found: Vec::new(), is_cut: false }
    }

    pub(super) fn add(&mut self, label: Label, faults: u8, next: State) {
        self.add_broken(label, faults, next, None);
    }

    pub(super) fn add_broken(&mut self, label: Label, faults: u8, mut next: State, broken: Option<&'static str>) {
        let Some(left) = next.faults.checked_sub(faults) else { return };
        next.faults = left;
        let faults = self.of.faults - left;
        next.tidy();
        let grows = |before: usize, after: usize, most: usize| after > most && after > before;
        let (told, is_told) = (self.of.control.len(), next.control.len());
        if grows(self.of.messages.len(), next.messages.len(), self.bounds.messages)
            || grows(told, is_told, self.bounds.control + 1)
        {
            self.is_cut = true;
            return;
        }
        // These wait until there is room: the process manager can always decide, and then the agents can hear.
        let decides = next.inbox.len() < self.of.inbox.len();
        if grows(self.of.inbox.len(), next.inbox.len(), self.bounds.inbox)
            || !decides && grows(told, is_told, self.bounds.control)
        {
            return;
        }
        let performing = next.agents.iter().filter(|agent| agent.is_up() && agent.runs()).count();
        let twice = performing > 1 && !next.is_admitted && next.record.status != Status::Ended;
        let broken = broken.or(twice.then_some(TWO_PERFORM));
        self.found.push(Step { label, faults, next, broken, is_backstop: false });
    }

    /// Everything.
    pub(super) fn all(&mut self, rules: &mut Rules) {
        self.time();
        self.lapses(rules);
        self.sweeps(rules);
        self.pool();
        self.decisions(rules);
        self.kills(rules);
        for agent in 0..self.bounds.agents {
            self.hears(agent);
            self.acts(agent);
        }
    }

    fn time(&mut self) {
        let s = self.of;
        if s.age >= 3 {
            return;
        }
        let is_first = |word: &Word| word.key.issue == 0 && word.key.receive == 1 && word.said != Said::Claim;
        let is_late = s.age == 2 && s.inbox.iter().any(is_first);
        let mut next = s.clone();
        next.age += 1;
        next.is_admitted |= is_late;
        let label = Label::of(match s.age {
            0 => "the first message is no longer fresh",
            1 => "the first message is older than the visibility timeout",
            _ if is_late => "ten minutes pass while the process manager has not decided what was said first",
            _ => "the first message is ten minutes old",
        });
        self.add(label, u8::from(is_late), next);
    }

    /// The owner's term ends: a lease, or the 13 hours of an owner without one.
    fn lapses(&mut self, rules: &mut Rules) {
        let s = self.of;
        let Some(owner) = s.record.owner.filter(|_| s.record.status == Status::Running) else { return };
        let agent = &s.agents[usize::from(owner.agent)];
        let is_owners = |key: Key| (key.issue, key.receive) == s.record.last && key.message == owner.message;
        let works = agent.is_up() && agent.is_of(agent.key) && is_owners(agent.key);
        // An owner that does not know its term goes on as long as it has its message.
        let is_unaware = owner.renewal == 0 && s.has(owner.message) && !agent.is_leased();
        // No word stays undecided, and no agent that is up leaves an answer unread, for so long without a fault.
        let is_unread = agent.is_up() && s.control.iter().any(|told| told.agent == owner.agent && is_owners(told.key));
        let is_heard = !is_unread && !s.inbox.iter().any(|word| word.agent == owner.agent && is_owners(word.key));
        let mut next = s.clone();
        if is_owners(agent.key) {
            is_late(&mut next.agents[usize::from(owner.agent)]);
        }
        match owner.lease {
            Lease::Ahead if !works || is_unaware => {
                next.record.owner = Some(super::state::Owner { lease: Lease::Past { top: s.top() }, ..owner });
                let also = if is_heard { "" } else { ", and a word or an answer is late" };
                self.add(Label { also, ..Label::of("the owner's lease runs out") }, u8::from(!is_heard), next);
            }
            Lease::None if !works && is_heard => {
                let word = sweep();
                let decided = rules.decide(self.case(word, false));
                apply(&mut next, &decided, true);
                let before = self.found.len();
                self.add(Label::of("13 hours pass, and the sweeper comes"), 0, next);
                self.found.iter_mut().skip(before).for_each(|step| step.is_backstop = true);
            }
            Lease::None | Lease::Ahead | Lease::Past { .. } => {}
        }
    }

    fn sweeps(&mut self, rules: &mut Rules) {
        let s = self.of;
        let is_due = match (s.record.status, s.record.owner) {
            (Status::Queued, None) => s.age == 3,
            (Status::Queued, Some(_)) => true,
            (Status::Running, Some(owner)) => matches!(owner.lease, Lease::Past { .. }),
            (Status::Running | Status::Ended, _) => false,
        };
        let lapses = s.record.status == Status::Running;
        let is_beside = !s.messages.is_empty() && !lapses;
        if !is_due || is_beside && s.resends == 0 {
            return;
        }
        for is_behind in [false, true] {
            if is_behind && s.top() <= s.record.last.0 {
                continue;
            }
            let decided = rules.decide(self.case(sweep(), is_behind));
            let mut next = s.clone();
            next.resends -= u8::from(is_beside);
            apply(&mut next, &decided, true);
            let also = if is_behind { ", by a clock that is behind" } else { "" };
            let label = Label { also, ..Label::of("the sweeper sends the attempt again") };
            self.add(label, u8::from(is_behind), next);
            if lapses && !is_behind {
                let mut next = s.clone();
                next.record = decided.record;
                self.add(Label { also: ", but dies before it sends", ..label }, 1, next);
            }
        }
    }

    /// A caller kills the action, time goes by, and the sweeper comes.
    fn kills(&mut self, rules: &mut Rules) {
        let s = self.of;
        let mut next = s.clone();
        let (what, said) = match s.record.kill {
            Kill::None if s.kills == 0 => return,
            Kill::None => {
                next.kills -= 1;
                ("a caller kills the action", Said::Killed)
            }
            Kill::Now => {
                next.record.kill = Kill::Grace;
                ("30 s have gone by since the kill", Said::Sweep)
            }
            Kill::Grace => {
                next.record.kill = Kill::Force;
                ("120 s have gone by since the kill", Said::Sweep)
            }
            Kill::Force => ("the sweeper looks at the killed action", Said::Sweep),
        };
        let case = Case { record: next.record, ..self.case(Word { said, ..sweep() }, false) };
        let decided = rules.decide(case);
        apply(&mut next, &decided, true);
        self.add(Label::of(what), 0, next);
    }

    fn pool(&mut self) {
        let s = self.of;
        for at in 0..s.messages.len() {
            let message = s.messages[at];
            let key = Key { issue: message.issue, receive: message.count, message: message.id };
            if !message.is_visible {
                self.shows(at, key);
            } else if message.count >= self.bounds.receives {
                let mut next = s.clone();
                next.messages.remove(at);
                next.tell(Said::DeadLettered, NOBODY, key);
                self.add(Label { key, ..Label::of("the queue gives up") }, 0, next);
                continue;
            }
            for agent in 0..self.bounds.agents {
                if s.agents[usize::from(agent)].is_up() && s.agents[usize::from(agent)].phase == Phase::Idle {
                    self.receives(at, agent);
                }
            }
        }
    }

    fn shows(&mut self, at: usize, key: Key) {
        let s = self.of;
        if s.age < 2 || s.agents.iter().any(|agent| agent.is_up() && agent.holds(key.message)) {
            return;
        }
        let mut next = s.clone();
        next.messages[at].is_visible = true;
        next.agents.iter_mut().filter(|agent| agent.holds(key.message)).for_each(is_late);
        self.add(Label { key, ..Label::of("the queue shows again") }, 0, next);
    }

    fn receives(&mut self, at: usize, agent: u8) {
        let message = self.of.messages[at];
        let (count, visible) = (message.count, message.is_visible);
        let mut counts = vec![(count, 1, if visible { ", under the same count" } else { ", as another agent did" })];
        if visible {
            counts.push((count + 1, 0, ""));
            counts.push((count.saturating_sub(1), 1, ", under a lower count"));
        }
        for (receive, faults, also) in counts.into_iter().filter(|(receive, ..)| *receive > 0) {
            let mut next = self.of.clone();
            (next.messages[at].count, next.messages[at].is_visible) = (receive, false);
            next.is_admitted |= !visible;
            let key = Key { issue: message.issue, receive, message: message.id };
            let receiver = &mut next.agents[usize::from(agent)];
            (receiver.phase, receiver.key) = (Phase::Got, key);
            self.add(Label { also, ..Label::by("receives", agent, key) }, faults, next);
        }
    }

    fn decisions(&mut self, rules: &mut Rules) {
        let s = self.of;
        for at in 0..s.inbox.len() {
            let word = s.inbox[at];
            for is_behind in [false, true] {
                if is_behind && (!matches!(word.said, Said::HandedBack { .. }) || s.top() <= s.record.last.0) {
                    continue;
                }
                let decided = rules.decide(self.case(word, is_behind));
                let broken = self.broken_by(word, &decided);
                let also = match (decided.is_accepted, is_behind) {
                    (true, false) => ": accepted",
                    (false, false) => ": refused",
                    (true, true) => ": accepted, by a clock that is behind",
                    (false, true) => ": refused, by a clock that is behind",
                };
                let label = Label { said: Some(word.said), also, ..Label::by("is heard:", word.agent, word.key) };
                let mut next = s.clone();
                apply(&mut next, &decided, true);
                let mut twice = next.clone();
                twice.inbox[at].repeated = true;
                next.inbox.remove(at);
                self.add_broken(label, u8::from(is_behind), next, broken);
                let label = Label { what: "is heard, and the word comes again:", ..label };
                self.add_broken(label, 1 + u8::from(is_behind), twice, broken);
                if !decided.told.is_empty() || !decided.sent.is_empty() {
                    let mut unsent = s.clone();
                    apply(&mut unsent, &decided, false);
                    unsent.inbox[at].repeated = true;
                    let label = Label { what: "is heard, but the process manager dies before it sends:", ..label };
                    self.add_broken(label, 1 + u8::from(is_behind), unsent, broken);
                }
            }
        }
    }

    /// The rules that a decision breaks.
    fn broken_by(&self, word: Word, decided: &Decided) -> Option<&'static str> {
        let s = self.of;
        let Word { said, agent, key, .. } = word;
        let delivery = (key.issue, key.receive);
        let is_owners = |owner: super::state::Owner| owner.agent == agent && delivery == s.record.last;
        let is_end = matches!(said, Said::Completed | Said::Cancelled);
        let is_report = is_end || matches!(said, Said::HandedBack { .. });
        if s.record.status != Status::Ended && decided.record.status != Status::Ended {
            if decided.record.fence < s.record.fence {
                return Some("a fence decreases");
            }
            let is_other = decided.record.owner.map(|owner| owner.agent) != s.record.owner.map(|owner| owner.agent);
            let is_displaced = is_other && s.record.owner.is_some();
            if is_displaced && decided.record.fence <= s.record.fence {
                return Some("a later owner has no greater fence");
            }
        }
        if is_report && decided.is_accepted && s.record.owner.is_some_and(|owner| !is_owners(owner)) {
            return Some("a word of another than the owner counts");
        }
        let by_message = |owner: super::state::Owner| is_owners(owner) && owner.message == key.message;
        if is_end && !decided.is_accepted && s.record.owner.is_some_and(by_message) {
            return Some("the owner's end is lost");
        }
        let performs = s.agents.iter().any(|agent| agent.is_up() && agent.runs());
        if said == Said::DeadLettered && decided.is_accepted && performs && !s.is_admitted {
            return Some("a dead letter ends what an agent performs");
        }
        None
    }

    fn case(&self, word: Word, is_behind: bool) -> Case {
        Case { record: self.of.record, word, age: self.of.age, top: self.of.top(), is_behind }
    }

    /// A word after the end changes nothing.
    pub(super) fn after_the_end(&self, rules: &mut Rules) -> Option<&'static str> {
        let counts = |word: &Word| {
            let decided = rules.decide(self.case(*word, false));
            decided.is_accepted || decided.record != self.of.record || !decided.sent.is_empty()
        };
        self.of.inbox.iter().any(counts).then_some("a second end is accepted")
    }
}

fn sweep() -> Word {
    Word { said: Said::Sweep, agent: NOBODY, key: Key::default(), repeated: false }
}

fn apply(next: &mut State, decided: &Decided, sends: bool) {
    next.record = decided.record;
    if !sends {
        return;
    }
    for issue in &decided.sent {
        next.send(*issue);
    }
    next.control.extend(&decided.told);
}

fn is_late(agent: &mut Agent) {
    if agent.mode == Mode::Paused {
        agent.mode = Mode::Late;
    }
}
