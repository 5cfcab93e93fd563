//! The delivery of an attempt's message, which fences one agent off from another.
//!
//! An attempt may have several messages, and a queue may deliver each of them several times. A [`Delivery`] names one
//! of these deliveries. They are ordered by the attempt, then by the **issue** (which message of the attempt), then by
//! the **receive** (which receipt of that message).
//!
//! The record of an action keeps `last`, the greatest delivery that has begun, that the process manager confirmed, or that
//! a hand-back reserved. Two rules follow from that, and they are the whole fence:
//!
//! - An agent that claims an attempt gets it only by a delivery above `last`. After a lease has run out, it gets it only by
//!   a message that was sent since.
//! - A report counts only if its delivery is `last` and it comes from the owner, once there is one.
//!
//! Issue 0 is the attempt's first message. Its first receipt may begin without asking while it is fresh; every other
//! delivery must claim. A resent message has a higher issue than any that the record knows, plus the milliseconds that
//! the attempt has waited. So a resend needs no write, and later messages have higher issues.
//!
//! SQS counts receipts only approximately ("`ApproximateReceiveCount`", Amazon SQS API Reference), so two receipts may have
//! one number. That is why the owner's entry in the record also has a hash of the message's id.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// One delivery of one attempt's message. Written as `ATTEMPT.ISSUE.RECEIVE`, such as `1.0.1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Delivery {
    /// The attempt's number, from 1; 0: the action has had none.
    pub attempt: u32,
    /// Which of the attempt's messages: 0 is the first.
    pub issue: u64,
    /// How often that message had been received, this time included; 0: not at all.
    pub receive: u32,
}

/// A hand-back reserves this issue or a higher one. The first message of an attempt is issue 0 or 1, so the record shows
/// whether an agent has had the attempt.
pub const FIRST_HANDED_BACK: u64 = 2;

/// A text that names no delivery.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a delivery is written ATTEMPT.ISSUE.RECEIVE, three whole numbers such as 1.0.1")]
pub struct DeliveryError;

impl Delivery {
    /// That delivery.
    pub const fn new(attempt: u32, issue: u64, receive: u32) -> Self {
        Self { attempt, issue, receive }
    }

    /// Before any message of that attempt was received.
    pub const fn none_of(attempt: u32) -> Self {
        Self::new(attempt, 0, 0)
    }

    /// Whether no agent has had the attempt, if this is the greatest delivery that counts.
    pub const fn is_of_none(self) -> bool {
        self.receive == 0 && self.issue < FIRST_HANDED_BACK
    }

    /// Whether this is the first receipt of the attempt's first message.
    pub const fn is_first(self) -> bool {
        self.issue == 0 && self.receive == 1
    }

    /// The issue of a message beside or after this delivery, when the attempt has waited for that long.
    pub const fn next_issue(self, waited_ms: u64) -> u64 {
        self.issue.saturating_add(1).saturating_add(waited_ms)
    }
}

impl fmt::Display for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.attempt, self.issue, self.receive)
    }
}

impl FromStr for Delivery {
    type Err = DeliveryError;
    fn from_str(text: &str) -> Result<Self, DeliveryError> {
        fn number<N: FromStr>(part: Option<&str>) -> Result<N, DeliveryError> {
            let is_plain = |part: &&str| part.bytes().all(|byte| byte.is_ascii_digit());
            part.filter(is_plain).and_then(|part| part.parse().ok()).ok_or(DeliveryError)
        }
        let mut parts = text.split('.');
        let delivery = Self::new(number(parts.next())?, number(parts.next())?, number(parts.next())?);
        if parts.next().is_none() { Ok(delivery) } else { Err(DeliveryError) }
    }
}

impl TryFrom<String> for Delivery {
    type Error = DeliveryError;
    fn try_from(text: String) -> Result<Self, DeliveryError> {
        text.parse()
    }
}

impl From<Delivery> for String {
    fn from(delivery: Delivery) -> Self {
        delivery.to_string()
    }
}

impl schemars::JsonSchema for Delivery {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Delivery".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "pattern": "^[0-9]+\\.[0-9]+\\.[0-9]+$",
            "description": "ATTEMPT.ISSUE.RECEIVE: the attempt's number, which of its messages (0: the first), and how \
                            often that message has been received, this time included.",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn text_reads_back_as_the_same_delivery(attempt: u32, issue: u64, receive: u32) {
            let delivery = Delivery::new(attempt, issue, receive);
            prop_assert_eq!(delivery.to_string().parse(), Ok(delivery));
        }
    }

    #[test]
    fn other_texts_are_refused() {
        for text in ["", "1", "1.0", "1.0.1.0", "1..1", "+1.0.1", "1.0.-1", " 1.0.1", "4294967296.0.1"] {
            assert_eq!(text.parse::<Delivery>(), Err(DeliveryError), "{text}");
        }
    }

    #[test]
    fn deliveries_are_ordered_by_attempt_issue_receive() {
        let ordered = ["1.0.0", "1.0.1", "1.0.2", "1.1.0", "1.7.1", "2.0.1"].map(str::parse::<Delivery>);
        assert!(ordered.is_sorted_by(|one, next| one.clone().expect("valid") < next.clone().expect("valid")));
        assert!(Delivery::none_of(1) < Delivery::new(1, 0, 1));
        assert_eq!(Delivery::new(1, 3, 2).next_issue(5), 9);
    }
}
