//! The steps of an agent: it receives one message at a time, asks or begins, and ends, as the engine's agent does.

use super::opened::Opened;
use super::state::{Key, Mode, Order, Phase, Said, State, Status, Told, Word};
use super::steps::{Label, Steps};

impl Steps<'_> {
    /// A message of the process manager reaches the agent, if it is up.
    pub(super) fn hears(&mut self, number: u8) {
        if !self.of.agents[usize::from(number)].is_up() {
            return;
        }
        for at in 0..self.of.control.len() {
            let told = self.of.control[at];
            if told.agent == number {
                self.hear(at, told, false);
                // The queue shows the control message again.
                self.hear(at, told, true);
            }
        }
    }

    fn hear(&mut self, at: usize, told: Told, is_shown_again: bool) {
        let Told { agent: number, order, key } = told;
        let mut next = self.of.clone();
        if is_shown_again {
            // A fault: it is paid for here, so that each outcome costs it.
            let Some(left) = next.faults.checked_sub(1) else { return };
            next.faults = left;
        } else {
            next.control.remove(at);
        }
        let agent = &self.of.agents[usize::from(number)];
        match order {
            Order::Confirm { fence } if agent.is_asking(key) => {
                self.begin(number, next, fence, "begins, as it is confirmed");
            }
            Order::Confirm { .. } if agent.known.contains(&(key, true)) => {
                self.add(Label::by("ignores a Confirm of what it began:", number, key), 0, next);
            }
            Order::Confirm { .. } => {
                next.tell(Said::HandedBack { kept: true }, number, key);
                self.add(Label::by("is confirmed too late, and hands back", number, key), 0, next);
            }
            Order::Leased => match agent.phase {
                Phase::Runs { renews: true, is_leased: false } if agent.is_of(key) => {
                    next.agents[usize::from(number)].phase = Phase::Runs { renews: true, is_leased: true };
                    self.deletes(Label::by("has a lease", number, key), next, key);
                }
                Phase::Idle | Phase::Got | Phase::Asks | Phase::Runs { .. } => {
                    self.add(Label::by("ignores a lease", number, key), 0, next);
                }
            },
            Order::Leave { of_claim } | Order::Delete { of_claim } | Order::Report { of_claim } => {
                self.hear_stop(at, (told, of_claim), next);
            }
        }
    }

    /// The agent gets a Stop.
    fn hear_stop(&mut self, at: usize, (told, of_claim): (Told, bool), mut next: State) {
        let Told { agent: number, order, key } = told;
        let agent = &self.of.agents[usize::from(number)];
        // The process manager may refuse a repeated claim and then confirm it, and the answers may come in the other
        // order.
        let stops = agent.runs() && (!of_claim || self.opened == Some(Opened::LateRefusalStops));
        let is_refused = agent.phase == Phase::Asks && of_claim;
        if !agent.is_of(key) || !stops && !is_refused {
            return self.add(Label::by("ignores a Stop", number, key), 0, next);
        }
        next.agents[usize::from(number)].let_go();
        match order {
            // The process manager may still confirm the claim of an agent that asked twice.
            Order::Delete { .. } if is_refused && self.has_asked_again(at, told) => {
                self.add(Label::by("asked twice, is refused, and lets the message be", number, key), 0, next);
            }
            Order::Delete { .. } => {
                self.deletes(Label::by("is told to stop and to delete", number, key), next, key);
            }
            Order::Report { .. } if stops => {
                next.tell(Said::Cancelled, number, key);
                self.deletes(Label::by("is told to stop and to report", number, key), next, key);
            }
            Order::Confirm { .. } | Order::Leased | Order::Leave { .. } | Order::Report { .. } => {
                self.add(Label::by("is told to stop, and lets the message be", number, key), 0, next);
            }
        }
    }

    /// Whether the agent has asked again since the request that this answers: another request of it, or an answer to one, is
    /// under way. Where none is, nothing can be confirmed any more.
    fn has_asked_again(&self, at: usize, told: Told) -> bool {
        let is_its = |word: &Word| word.said == Said::Claim && word.agent == told.agent && word.key == told.key;
        let is_answer = |other: &Told| other.agent == told.agent && other.key == told.key;
        let mut others = self.of.control.iter().enumerate().filter(|(place, _)| *place != at);
        self.of.inbox.iter().any(is_its) || others.any(|(_, other)| is_answer(other))
    }

    /// The agent deletes the message, or the delete fails.
    fn deletes(&mut self, label: Label, next: State, key: Key) {
        let mut gone = next.clone();
        gone.messages.retain(|message| message.id != key.message);
        let can_fail = gone.messages.len() < next.messages.len();
        self.add(Label { also: ", and the message is gone", ..label }, 0, gone);
        if can_fail {
            self.add(Label { also: ", and the delete fails", ..label }, 1, next);
        }
    }

    fn begin(&mut self, number: u8, mut next: State, fence: u64, how: &'static str) {
        let agent = &mut next.agents[usize::from(number)];
        let key = agent.key;
        agent.phase = Phase::Runs { renews: false, is_leased: false };
        agent.known.retain(|known| known.0 != key);
        agent.known.push((key, true));
        if how.ends_with("unasked") {
            next.tell(Said::Started, number, key);
        }
        let is_lower = fence <= self.of.begun && !self.of.is_admitted;
        next.begun = next.begun.max(fence);
        let broken = is_lower.then_some("an agent begins by a fence that is not above an earlier one");
        self.add_broken(Label::by(how, number, key), 0, next, broken);
    }

    /// The steps that the agent takes by itself.
    pub(super) fn acts(&mut self, number: u8) {
        let agent = &self.of.agents[usize::from(number)];
        match (agent.mode, agent.phase) {
            (Mode::Gone, _) | (_, Phase::Idle) => {}
            (Mode::Paused, _) => {
                let mut next = self.of.clone();
                next.agents[usize::from(number)].mode = Mode::Up;
                self.add(Label::by("wakes in time", number, agent.key), 0, next);
            }
            (Mode::Late, phase) => self.wakes_late(number, phase),
            (Mode::Up, phase) => {
                self.fails(number);
                match phase {
                    Phase::Idle => {}
                    Phase::Got => self.admits(number),
                    Phase::Asks => self.asks(number),
                    Phase::Runs { renews, is_leased } => self.runs(number, renews, is_leased),
                }
            }
        }
    }

    /// The agent crashes or pauses.
    fn fails(&mut self, number: u8) {
        let at = usize::from(number);
        let key = self.of.agents[at].key;
        let mut paused = self.of.clone();
        paused.agents[at].mode = Mode::Paused;
        self.add(Label::by("pauses", number, key), 1, paused);
        if !self.of.has_another(at) {
            return;
        }
        let mut gone = self.of.clone();
        gone.agents[at].let_go();
        gone.agents[at].mode = Mode::Gone;
        let mut untold = gone.clone();
        untold.inbox.retain(|word| word.said != Said::Started || word.agent != number);
        if untold.inbox.len() < gone.inbox.len() {
            self.add(Label::by("crashes before it says that it began", number, key), 1, untold);
        }
        self.add(Label::by("crashes", number, key), 1, gone);
    }

    fn wakes_late(&mut self, number: u8, phase: Phase) {
        let at = usize::from(number);
        let key = self.of.agents[at].key;
        let mut next = self.of.clone();
        next.agents[at].let_go();
        next.agents[at].mode = Mode::Up;
        if phase == Phase::Got {
            return self.wakes_late_with_news(number, key, next);
        }
        let mut back = next.clone();
        back.tell(Said::HandedBack { kept: true }, number, key);
        self.add(Label::by("wakes late, stops and hands back", number, key), 0, back);
        if matches!(phase, Phase::Runs { .. }) {
            next.tell(Said::Completed, number, key);
            // Its receipt deletes nothing once the message was received under a higher count.
            let is_anothers = self.of.messages.iter().any(|one| one.id == key.message && one.count > key.receive);
            let label = Label::by("wakes late at the end of its work", number, key);
            if is_anothers {
                self.add(label, 0, next);
            } else {
                self.deletes(label, next, key);
            }
        }
    }

    /// The agent claims or gives back a message that it has just received. It leaves a message that it met before.
    fn wakes_late_with_news(&mut self, number: u8, key: Key, mut next: State) {
        let at = usize::from(number);
        if next.agents[at].known.iter().any(|known| known.0 == key) {
            return self.add(Label::by("wakes late and lets the message be", number, key), 0, next);
        }
        next.agents[at].known.push((key, false));
        let mut back = next.clone();
        back.tell(Said::HandedBack { kept: true }, number, key);
        self.add(Label::by("wakes late and hands back what it received", number, key), 0, back);
        let agent = &mut next.agents[at];
        (agent.mode, agent.phase, agent.key) = (Mode::Late, Phase::Asks, key);
        next.tell(Said::Claim, number, key);
        self.add(Label::by("wakes late and claims", number, key), 0, next);
    }

    /// The agent begins the attempt that it received, or asks first.
    fn admits(&mut self, number: u8) {
        let (s, at) = (self.of, usize::from(number));
        let (agent, record) = (&s.agents[at], s.record);
        let key = agent.key;
        let mut next = s.clone();
        if agent.known.iter().any(|known| known.0 == key) && self.opened != Some(Opened::BeginsTwice) {
            next.agents[at].let_go();
            return self.add(Label::by("had it before, and lets it be:", number, key), 0, next);
        }
        next.agents[at].known.push((key, false));
        let is_first = key.issue == 0 && key.receive == 1;
        let fence = s.messages.iter().find(|message| message.id == key.message).map_or(0, |message| message.fence);
        if is_first && (s.age == 0 || self.opened == Some(Opened::OldBeginsUnasked)) {
            return self.begin(number, next, fence, "begins unasked");
        }
        let is_wanted = record.status == Status::Queued && record.owner.is_none() && record.last <= (0, 1);
        if is_first && s.age == 1 && is_wanted {
            return self.begin(number, next, record.fence, "looks at the record and begins unasked");
        }
        next.agents[at].phase = Phase::Asks;
        next.tell(Said::Claim, number, key);
        self.add(Label::by("claims", number, key), 0, next);
    }

    fn asks(&mut self, number: u8) {
        let key = self.of.agents[usize::from(number)].key;
        let mut next = self.of.clone();
        next.tell(Said::Claim, number, key);
        if !self.of.inbox.iter().any(|word| word.said == Said::Claim && word.agent == number && word.key == key) {
            self.add(Label::by("asks again", number, key), 0, next);
        }
        let idle = {
            let mut next = self.of.clone();
            next.agents[usize::from(number)].let_go();
            next
        };
        let mut next = idle.clone();
        next.tell(Said::HandedBack { kept: true }, number, key);
        let is_gone = !self.of.has(key.message);
        let label = Label::by("can not keep what it asks for, and hands back", number, key);
        self.add(label, u8::from(!is_gone), next);
        if self.of.backs > 0 {
            let mut next = idle;
            let kept = self.opened != Some(Opened::DeletesUnconfirmed);
            next.tell(Said::HandedBack { kept }, number, key);
            next.backs -= 1;
            if !kept {
                next.messages.retain(|message| message.id != key.message);
            }
            let shown = next.messages.iter_mut().filter(|message| message.id == key.message);
            shown.for_each(|message| message.is_visible = true);
            self.drains(Label::by("drains while it asks, and hands back", number, key), next);
        }
    }

    /// The agent goes on, or has gone.
    fn drains(&mut self, label: Label, next: State) {
        let at = usize::from(label.agent);
        if self.of.has_another(at) {
            let mut gone = next.clone();
            gone.agents[at].mode = Mode::Gone;
            self.add(Label { also: ", and is gone", ..label }, 0, gone);
        }
        self.add(label, 0, next);
    }

    fn runs(&mut self, number: u8, renews: bool, is_leased: bool) {
        let (s, at) = (self.of, usize::from(number));
        let key = s.agents[at].key;
        let mut idle = s.clone();
        idle.agents[at].let_go();
        let mut done = idle.clone();
        done.tell(Said::Completed, number, key);
        self.deletes(Label::by("completes", number, key), done, key);
        if s.backs > 0 {
            let mut back = idle.clone();
            back.tell(Said::HandedBack { kept: false }, number, key);
            back.backs -= 1;
            back.messages.retain(|message| message.id != key.message);
            self.drains(Label::by("drains, and hands back", number, key), back);
        }
        idle.tell(Said::HandedBack { kept: true }, number, key);
        let is_gone = !is_leased && !s.has(key.message);
        self.add(Label::by("can not keep its right, stops and hands back", number, key), u8::from(!is_gone), idle);
        let is_asked = s.inbox.iter().any(|word| word.said == Said::Renewed && word.agent == number);
        if is_leased || is_asked || !renews && s.renewals == 0 {
            return;
        }
        let mut next = s.clone();
        next.renewals -= u8::from(!renews);
        next.agents[at].phase = Phase::Runs { renews: true, is_leased: false };
        next.tell(Said::Renewed, number, key);
        self.add(Label::by("asks for a lease", number, key), 0, next);
    }
}
