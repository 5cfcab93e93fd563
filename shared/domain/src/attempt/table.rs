//! The table: what a word about an attempt does, by where the attempt stands and whose word it is.

use super::loss::loss_by_claim;
use super::state::{ActionState, ActionStatus, Owner};
use crate::delivery::Delivery;
use crate::ids::AgentId;
use crate::limits::{CHECK_AFTER_MS, CLOCKS_DIFFER_MS};
use crate::time::Timestamp;

/// The kind of a report about an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word {
    /// An agent asks to own it.
    Claim,
    /// An agent began it a while ago, perhaps without asking.
    Started,
    /// An agent keeps it without its message: its renewal has that number.
    Renewal(u32),
    /// It has come further.
    Progress,
    /// Its agent has stopped it and gives it back, and has deleted its message or kept it.
    HandBack {
        /// The agent has kept it.
        kept: bool,
    },
    /// It has ended.
    End,
    /// A queue gave its message up.
    DeadLetter,
}

/// A report about an attempt: its kind, the delivery and message that it is about, and the agent that sent it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Said<'a> {
    /// The kind of the report.
    pub word: Word,
    /// Of which delivery.
    pub delivery: Delivery,
    /// A hash of the id of the message that was delivered; 0: not known.
    pub message: u32,
    /// Which agent says it; none: a queue gave the message up.
    pub agent: Option<&'a AgentId>,
}

/// How a report that counts changes the attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It counts.
    Counts,
    /// The agent becomes the owner, and then the word counts.
    Owns,
    /// The claim is confirmed: the agent becomes the owner, and another may have been lost.
    Confirmed {
        /// The delivery whose agent was lost.
        lost: Option<Delivery>,
    },
    /// It was said before, and what stands since is said again.
    Again,
}

/// How an agent treats the message of an attempt that it may not perform.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    /// It stops, and reports how the attempt ended: the attempt is its own. The engine's agent that only claims it lets the
    /// message be, as with `Leave`.
    Report,
    /// It lets the message be: it comes again, with a higher count.
    Leave,
    /// It deletes the message: no agent needs it any more.
    Delete,
}

/// A word that does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// The attempt has ended, or another has followed it.
    Over,
    /// Another delivery of the attempt counts by now.
    Replaced {
        /// What its agent does with its message.
        fate: Fate,
        /// The end or hand-back is of the owner's own message, which the agent has deleted: the owner has lost it.
        costs_owner: bool,
    },
    /// There is no such attempt yet.
    Unknown,
}

impl Refused {
    /// How the agent treats its message.
    pub const fn fate(self) -> Fate {
        match self {
            Self::Over => Fate::Delete,
            Self::Replaced { fate, .. } => fate,
            Self::Unknown => Fate::Leave,
        }
    }
}

/// How a delivery of an attempt in flight stands to what its record says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// The attempt has no owner, and the delivery is not below `last`.
    Free,
    /// It is the owner's own delivery, by the owner's own message or by another.
    Owners { same_message: bool, lapsed: bool },
    /// It is above `last`, and there is an owner that it would displace: its message was sent after the owner's lease ran
    /// out, or it is the owner's own, received once more.
    Displaces,
    /// Another delivery counts.
    Stale,
}

/// Holds a word against the record.
///
/// # Errors
/// If the word does not count.
pub fn judge(state: &ActionState, said: &Said<'_>, now: Timestamp) -> Result<Verdict, Refused> {
    if said.delivery.attempt > state.attempt() || said.delivery.attempt == 0 {
        return Err(Refused::Unknown);
    }
    if said.delivery.attempt < state.attempt() || !state.status.is_in_flight() {
        return Err(Refused::Over);
    }
    match (said.word, standing(state, said, now)) {
        (Word::Claim, Standing::Free | Standing::Displaces) => {
            Ok(Verdict::Confirmed { lost: said.agent.and_then(|agent| loss_by_claim(state, said.delivery, agent)) })
        }
        (Word::Started | Word::Renewal(_) | Word::Progress, Standing::Free) => Ok(Verdict::Owns),
        (Word::Claim, Standing::Owners { same_message: true, .. })
        | (Word::Started, Standing::Owners { lapsed: false, .. }) => Ok(Verdict::Again),
        (Word::Renewal(number), Standing::Owners { lapsed: false, .. }) => {
            let counted = state.owner.as_ref().map_or(0, |owner| owner.renewal);
            Ok(if number > counted { Verdict::Counts } else { Verdict::Again })
        }
        (Word::HandBack { .. } | Word::End, Standing::Free)
        | (Word::Progress | Word::HandBack { .. } | Word::End, Standing::Owners { .. }) => Ok(Verdict::Counts),
        (Word::HandBack { .. } | Word::End, Standing::Displaces | Standing::Stale) => {
            let is_deleted = said.word != Word::HandBack { kept: true };
            let is_owners = |owner: &Owner| owner.message == said.message && owner.until.is_none();
            let costs_owner = is_deleted && said.delivery == state.last && state.owner.as_ref().is_some_and(is_owners);
            Err(Refused::Replaced { fate: fate(state, said, now), costs_owner })
        }
        (Word::DeadLetter, _) if ends_by_dead_letter(state, said, now) => Ok(Verdict::Counts),
        (
            Word::Claim | Word::Started | Word::Renewal(_) | Word::Progress | Word::DeadLetter,
            Standing::Free | Standing::Owners { .. } | Standing::Displaces | Standing::Stale,
        ) => Err(Refused::Replaced { fate: fate(state, said, now), costs_owner: false }),
    }
}

pub(super) fn standing(state: &ActionState, said: &Said<'_>, now: Timestamp) -> Standing {
    let Some(owner) = &state.owner else {
        return if said.delivery >= state.last { Standing::Free } else { Standing::Stale };
    };
    let lapsed = state.has_lapsed() || owner.until.is_some_and(|until| until <= now);
    let same_message = owner.message == said.message;
    if said.delivery == state.last && said.agent == Some(&owner.agent) {
        return Standing::Owners { same_message, lapsed };
    }
    let received_again = same_message && said.delivery.issue == state.last.issue && owner.until.is_none();
    let displaces = received_again || lapsed && is_sent_since_lapse(state, owner, said.delivery);
    if said.delivery > state.last && displaces { Standing::Displaces } else { Standing::Stale }
}

/// Whether a message was sent when the owner's lease had run out: its issue tells how long the attempt had waited by then.
/// While the owner had the attempt, an agent may have been told to delete any other message, and the queue may show the claim
/// that was refused once more. So a claim by an older message may be one of a message that is gone.
fn is_sent_since_lapse(state: &ActionState, owner: &Owner, delivery: Delivery) -> bool {
    let had_waited = owner.until.zip(state.queued_at).map_or(0, |(until, queued_at)| until.since(queued_at).0);
    delivery.issue >= state.last.next_issue(had_waited)
}

/// An agent deletes its message only if no agent can need it any more. That is so if an agent holds a lease of the
/// attempt, the owner holds another message, or a hand-back has replaced this one. The queue delivers any other message
/// again, with a higher count.
fn fate(state: &ActionState, said: &Said<'_>, now: Timestamp) -> Fate {
    let is_anothers = |owner: &Owner| owner.message != said.message || owner.until.is_some_and(|until| now < until);
    let is_replaced = said.delivery.issue < state.last.issue;
    if is_replaced || state.owner.as_ref().is_some_and(is_anothers) { Fate::Delete } else { Fate::Leave }
}

fn ends_by_dead_letter(state: &ActionState, said: &Said<'_>, now: Timestamp) -> bool {
    let is_owners = state.owner.as_ref().is_none_or(|owner| owner.message == said.message);
    said.delivery.issue == state.last.issue && is_owners && state.leased_until(now).is_none()
}

/// Whether another message of the attempt, its first, may still begin without a look at the record: the action must not end
/// before, and its run with it.
pub fn may_begin_unasked(state: &ActionState, now: Timestamp) -> bool {
    let waited = state.queued_at.map_or(0, |at| now.since(at).0);
    let is_untouched = state.status == ActionStatus::Queued && state.last == Delivery::none_of(state.attempt());
    is_untouched && state.owner.is_none() && waited <= CHECK_AFTER_MS + CLOCKS_DIFFER_MS
}
