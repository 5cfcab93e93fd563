//! Rules that the model opens again, to show that it finds the faults that they prevent. The wrapper changes the record
//! or the word around `decide`; the domain stays as it is.

use super::case::{Case, Decided};
use super::state::{Key, Lease, Said, Word};

/// A rule that does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opened {
    /// A claim is confirmed though its delivery is not above `last`.
    ClaimNotAboveLast,
    /// Another agent is confirmed while a lease runs.
    ClaimUnderLease,
    /// An end or a hand-back counts though its delivery is below `last`.
    StaleReport,
    /// An agent deletes the message of a claim that is not confirmed, when it hands back.
    DeletesUnconfirmed,
    /// An agent begins a delivery again that it began before.
    BeginsTwice,
    /// A first message begins unasked however old it is.
    OldBeginsUnasked,
    /// An agent whose claim was confirmed obeys a refusal of the same claim that comes later.
    LateRefusalStops,
    /// A refused hand-back costs the owner its term although its agent has kept the message.
    KeptMessageCostsOwner,
}

impl Opened {
    /// Every rule.
    pub const ALL: [Self; 8] = [
        Self::ClaimNotAboveLast,
        Self::ClaimUnderLease,
        Self::StaleReport,
        Self::DeletesUnconfirmed,
        Self::BeginsTwice,
        Self::OldBeginsUnasked,
        Self::LateRefusalStops,
        Self::KeptMessageCostsOwner,
    ];

    pub(super) fn around(self, case: Case, decide: impl Fn(Case) -> Decided) -> Decided {
        let Case { record, word, .. } = case;
        let delivery = (word.key.issue, word.key.receive);
        let is_report = matches!(word.said, Said::HandedBack { .. } | Said::Completed | Said::Cancelled);
        match self {
            Self::ClaimNotAboveLast if word.said == Said::Claim && delivery <= record.last && delivery.1 > 0 => {
                let mut lower = case;
                lower.record.last = (delivery.0, delivery.1 - 1);
                let mut decided = decide(lower);
                // A refusal leaves the record as it was.
                decided.record.last = decided.record.last.max(record.last);
                decided
            }
            Self::ClaimUnderLease if word.said == Said::Claim => {
                let mut lapsed = case;
                if let Some(owner) = lapsed.record.owner.as_mut().filter(|owner| owner.agent != word.agent) {
                    owner.lease = Lease::Past { top: record.last.0 };
                }
                let decided = decide(lapsed);
                if decided.record == lapsed.record { decide(case) } else { decided }
            }
            Self::StaleReport if is_report && delivery < record.last => match record.owner {
                Some(owner) => {
                    let key = Key { issue: record.last.0, receive: record.last.1, message: owner.message };
                    decide(Case { word: Word { agent: owner.agent, key, ..word }, ..case })
                }
                None => decide(case),
            },
            Self::KeptMessageCostsOwner if matches!(word.said, Said::HandedBack { kept: true }) => {
                decide(Case { word: Word { said: Said::HandedBack { kept: false }, ..word }, ..case })
            }
            Self::ClaimNotAboveLast
            | Self::ClaimUnderLease
            | Self::StaleReport
            | Self::DeletesUnconfirmed
            | Self::BeginsTwice
            | Self::OldBeginsUnasked
            | Self::LateRefusalStops
            | Self::KeptMessageCostsOwner => decide(case),
        }
    }
}
