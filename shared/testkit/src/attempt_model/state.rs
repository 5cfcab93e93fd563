//! The state of the model: small, and with one form for all states that behave alike.

use std::hash::{Hash, Hasher};

/// Between the numbers of two issues there is room for every wait.
pub(super) const ISSUE: u64 = 10_000_000;

/// A delivery of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(super) struct Key {
    pub(super) issue: u64,
    pub(super) receive: u8,
    pub(super) message: u8,
}

/// Until when the record keeps the attempt for its owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Lease {
    /// The owner has its message.
    None,
    Ahead,
    /// It ran out when this was the greatest issue that had been sent.
    Past {
        top: u64,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Owner {
    pub(super) agent: u8,
    pub(super) message: u8,
    pub(super) lease: Lease,
    pub(super) renewal: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Status {
    Queued,
    Running,
    Ended,
}

/// How long ago a caller killed the action.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Kill {
    None,
    Now,
    /// 30 s: a queued attempt ends.
    Grace,
    /// 120 s: an attempt that runs without a lease ends.
    Force,
}

/// The fields of the record that concern the attempt. Each decision turns them into a real record, and the result back
/// into them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Record {
    pub(super) status: Status,
    pub(super) last: (u64, u8),
    pub(super) owner: Option<Owner>,
    pub(super) fence: u64,
    pub(super) kill: Kill,
}

/// A word about the attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Said {
    /// An agent asks to own it.
    Claim,
    /// An agent began it unasked.
    Started,
    /// An agent asks for a lease.
    Renewed,
    /// An agent gives it back.
    HandedBack { kept: bool },
    /// It has ended.
    Completed,
    /// An agent stopped it, as it was told.
    Cancelled,
    /// A caller kills the action.
    Killed,
    /// The queue gave its message up.
    DeadLettered,
    /// The sweeper comes.
    Sweep,
}

/// A message of the inbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Word {
    pub(super) said: Said,
    pub(super) agent: u8,
    pub(super) key: Key,
    /// It was delivered before.
    pub(super) repeated: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Order {
    Confirm { fence: u64 },
    Leased,
    Leave { of_claim: bool },
    Delete { of_claim: bool },
    Report { of_claim: bool },
}

/// A message of a control queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Told {
    pub(super) agent: u8,
    pub(super) order: Order,
    pub(super) key: Key,
}

/// A message of the pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Message {
    pub(super) id: u8,
    pub(super) issue: u64,
    pub(super) count: u8,
    pub(super) is_visible: bool,
    pub(super) fence: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Mode {
    Up,
    Paused,
    /// It woke too late: its message or its lease may be over.
    Late,
    /// It has crashed, or drained.
    Gone,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Phase {
    Idle,
    Got,
    Asks,
    Runs { renews: bool, is_leased: bool },
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Agent {
    pub(super) mode: Mode,
    pub(super) phase: Phase,
    pub(super) key: Key,
    /// The deliveries that it met, and whether it began them.
    pub(super) known: Vec<(Key, bool)>,
}

impl Agent {
    pub(super) fn is_up(&self) -> bool {
        self.mode == Mode::Up
    }

    pub(super) fn runs(&self) -> bool {
        matches!(self.phase, Phase::Runs { .. })
    }

    pub(super) fn is_leased(&self) -> bool {
        matches!(self.phase, Phase::Runs { is_leased: true, .. })
    }

    /// Whether it keeps that message hidden, if it is up.
    pub(super) fn holds(&self, message: u8) -> bool {
        self.phase != Phase::Idle && self.key.message == message && !self.is_leased()
    }

    /// Whether it asks for, or performs, that delivery.
    pub(super) fn is_of(&self, key: Key) -> bool {
        matches!(self.phase, Phase::Asks | Phase::Runs { .. }) && self.key == key
    }

    /// Whether the agent reacts to that message. It never asks for a delivery twice.
    fn minds(&self, told: Told) -> bool {
        let is_ignored = match told.order {
            Order::Confirm { .. } => !self.is_asking(told.key) && self.known.contains(&(told.key, true)),
            Order::Leased | Order::Leave { .. } | Order::Delete { .. } | Order::Report { .. } => !self.is_of(told.key),
        };
        self.mode != Mode::Gone && !is_ignored
    }

    pub(super) fn is_asking(&self, key: Key) -> bool {
        self.phase == Phase::Asks && self.key == key
    }

    pub(super) fn let_go(&mut self) {
        (self.phase, self.key) = (Phase::Idle, Key::default());
    }
}

/// A state of the model.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct State {
    pub(super) record: Record,
    pub(super) messages: Vec<Message>,
    pub(super) inbox: Vec<Word>,
    pub(super) control: Vec<Told>,
    pub(super) agents: Vec<Agent>,
    /// Of the first message: 0 fresh, 1 younger than the visibility timeout, 2 older, 3 old enough for a resend.
    pub(super) age: u8,
    pub(super) faults: u8,
    /// How often an agent may still hand back because it drains.
    pub(super) backs: u8,
    /// How often the sweeper may still send beside other messages.
    pub(super) resends: u8,
    /// How often an agent may still ask for a lease.
    pub(super) renewals: u8,
    /// How often a caller may still kill the action.
    pub(super) kills: u8,
    /// The greatest fence by which an agent began.
    pub(super) begun: u64,
    /// A fault happened under which two agents may perform at one time.
    pub(super) is_admitted: bool,
}

impl State {
    /// The greatest issue that is known anywhere.
    pub(super) fn top(&self) -> u64 {
        let known = self.agents.iter().flat_map(|agent| agent.known.iter().map(|known| known.0.issue));
        let said = self.inbox.iter().map(|word| word.key.issue).chain(self.control.iter().map(|told| told.key.issue));
        let sent = self.messages.iter().map(|message| message.issue);
        known.chain(said).chain(sent).chain([self.record.last.0]).max().unwrap_or(0)
    }

    pub(super) fn send(&mut self, issue: u64) {
        let known = self.agents.iter().flat_map(|agent| agent.known.iter().map(|known| known.0.message));
        let said =
            self.inbox.iter().map(|word| word.key.message).chain(self.control.iter().map(|told| told.key.message));
        let own = self.record.owner.map(|owner| owner.message);
        let sent = self.messages.iter().map(|message| message.id);
        let id = known.chain(said).chain(own).chain(sent).max().unwrap_or(0) + 1;
        let fence = if issue == 0 { self.record.fence } else { 0 };
        self.messages.push(Message { id, issue, count: 0, is_visible: true, fence });
    }

    pub(super) fn tell(&mut self, said: Said, agent: u8, key: Key) {
        self.inbox.push(Word { said, agent, key, repeated: false });
    }

    /// Whether another agent than this one is there.
    pub(super) fn has_another(&self, agent: usize) -> bool {
        self.agents.iter().enumerate().any(|(at, other)| at != agent && other.mode != Mode::Gone)
    }

    /// Whether the message is in the pool.
    pub(super) fn has(&self, message: u8) -> bool {
        self.messages.iter().any(|one| one.id == message)
    }

    /// Forgets parts that can no longer matter, and numbers issues, messages and fences without gaps.
    pub(super) fn tidy(&mut self) {
        let Self { agents, inbox, control, messages, faults, .. } = self;
        control.retain(|told| agents[usize::from(told.agent)].minds(*told));
        sort(control);
        sort(inbox);
        for (number, agent) in (0..).zip(agents.iter_mut()) {
            let key = agent.key;
            let is_told = |known: &Key| {
                inbox.iter().any(|word| word.agent == number && word.said == Said::Claim && word.key == *known)
                    || control.iter().any(|told| told.agent == number && told.key == *known)
            };
            // A message may come again under its count, or a lower one.
            let is_again = |one: &Message, known: &Key| one.id == known.message && known.receive + 1 >= one.count;
            let comes_again = |known: &Key| *faults > 0 && messages.iter().any(|one| is_again(one, known));
            let is_gone = agent.mode == Mode::Gone;
            agent.known.retain(|(known, _)| !is_gone && (*known == key || is_told(known) || comes_again(known)));
            sort(&mut agent.known);
        }
        self.renumber(|state, each| state.issues(each), ISSUE);
        self.renumber(|state, each| state.fences(each), 1);
        self.renumber_messages();
        self.messages.sort_unstable();
    }

    /// Numbers without gaps, in the same order; 0 stays 0.
    fn renumber(&mut self, numbers: impl Fn(&mut Self, &mut dyn FnMut(&mut u64)), step: u64) {
        let mut found = vec![0];
        numbers(self, &mut |number| found.push(*number));
        sort(&mut found);
        let rank = |number: u64| found.partition_point(|one| *one < number) as u64 * step;
        numbers(self, &mut |number| *number = rank(*number));
    }

    fn issues(&mut self, each: &mut dyn FnMut(&mut u64)) {
        each(&mut self.record.last.0);
        if let Some(Owner { lease: Lease::Past { top }, .. }) = &mut self.record.owner {
            each(top);
        }
        self.messages.iter_mut().for_each(|message| each(&mut message.issue));
        self.keys(&mut |key| each(&mut key.issue));
    }

    fn fences(&mut self, each: &mut dyn FnMut(&mut u64)) {
        each(&mut self.record.fence);
        each(&mut self.begun);
        self.messages.iter_mut().for_each(|message| each(&mut message.fence));
        for told in &mut self.control {
            if let Order::Confirm { fence } = &mut told.order {
                each(fence);
            }
        }
    }

    fn renumber_messages(&mut self) {
        let mut found = vec![0];
        self.message_ids(&mut |id| found.push(*id));
        sort(&mut found);
        self.message_ids(&mut |id| *id = (0..).zip(&found).find(|(_, one)| *one == id).map_or(0, |(rank, _)| rank));
    }

    fn message_ids(&mut self, each: &mut dyn FnMut(&mut u8)) {
        self.messages.iter_mut().for_each(|message| each(&mut message.id));
        self.record.owner.iter_mut().for_each(|owner| each(&mut owner.message));
        self.keys(&mut |key| each(&mut key.message));
    }

    fn keys(&mut self, each: &mut dyn FnMut(&mut Key)) {
        self.inbox.iter_mut().for_each(|word| each(&mut word.key));
        self.control.iter_mut().for_each(|told| each(&mut told.key));
        for agent in &mut self.agents {
            each(&mut agent.key);
            agent.known.iter_mut().for_each(|known| each(&mut known.0));
        }
    }

    /// One number for this state and for those in which the agents have changed places.
    pub(super) fn fingerprint(&self) -> u128 {
        let orders: &[&[u8]] = match self.agents.len() {
            2 => &[&[1, 0]],
            _ => &[&[0, 2, 1], &[1, 0, 2], &[1, 2, 0], &[2, 0, 1], &[2, 1, 0]],
        };
        orders.iter().map(|places| self.moved(places).print()).fold(self.print(), u128::min)
    }

    fn print(&self) -> u128 {
        let mut hasher = Print(0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7344);
        self.hash(&mut hasher);
        u128::from(hasher.0) << 64 | u128::from(hasher.finish())
    }

    /// Each agent in the place that `places` has for it.
    fn moved(&self, places: &[u8]) -> Self {
        let mut other = self.clone();
        let put = |agent: &mut u8| *agent = places.get(usize::from(*agent)).copied().unwrap_or(NOBODY);
        for (agent, place) in self.agents.iter().zip(places) {
            other.agents[usize::from(*place)].clone_from(agent);
        }
        other.record.owner.iter_mut().for_each(|owner| put(&mut owner.agent));
        other.inbox.iter_mut().for_each(|word| put(&mut word.agent));
        other.control.iter_mut().for_each(|told| put(&mut told.agent));
        sort(&mut other.inbox);
        sort(&mut other.control);
        other
    }
}

/// In the place of an agent: a queue, the sweeper or a caller says it.
pub(super) const NOBODY: u8 = u8::MAX;

fn sort<T: Ord>(list: &mut Vec<T>) {
    list.sort_unstable();
    list.dedup();
}

/// Two sums of 64 bits at once: fast, and wide enough that no two states have the same.
struct Print(u64, u64);

impl Print {
    fn mix(&mut self, number: u64) {
        let mixed = |sum: u64, factor: u64| {
            let product = (sum ^ number).wrapping_add(1).wrapping_mul(factor);
            product ^ product.rotate_left(29) >> 3
        };
        self.0 = mixed(self.0.rotate_left(23), 0x9e37_79b9_7f4a_7c15);
        self.1 = mixed(self.1.rotate_left(41), 0xc2b2_ae3d_27d4_eb4f);
    }
}

impl Hasher for Print {
    fn finish(&self) -> u64 {
        self.1
    }
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.mix(u64::from(*byte));
        }
    }
    fn write_u8(&mut self, number: u8) {
        self.mix(u64::from(number));
    }
    fn write_u64(&mut self, number: u64) {
        self.mix(number);
    }
    fn write_usize(&mut self, number: usize) {
        self.mix(number as u64);
    }
    fn write_isize(&mut self, number: isize) {
        self.mix(number.unsigned_abs() as u64);
    }
}
