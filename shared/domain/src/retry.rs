//! After a failed attempt: whether another follows, and when.

use serde::{Deserialize, Serialize};

use crate::ids::{ActionIndex, RunId};
use crate::time::{Millis, Timestamp};

/// How often an action may be attempted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Attempts {
    /// At most that many, the first one included.
    Limited(u32),
    /// As often as it takes.
    Forever,
}

/// How the delay before the next attempt is spread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Jitter {
    /// Exactly the computed delay.
    None,
    /// Anything from zero to the computed delay (AWS Architecture Blog, "Exponential Backoff And Jitter").
    #[default]
    Full,
    /// Half of the computed delay, and anything up to the other half.
    Equal,
}

/// The retry policy of one action.
#[derive(Debug, Clone, PartialEq)]
pub struct RetryPolicy {
    /// How many attempts there may be.
    pub attempts: Attempts,
    /// The delay before the second attempt.
    pub delay: Millis,
    /// By how much each delay is longer than the one before.
    pub factor: f64,
    /// The longest delay.
    pub max_delay: Millis,
    /// How a delay is spread.
    pub jitter: Jitter,
    /// No attempt starts later than this after the first one was queued.
    pub max_age: Option<Millis>,
    /// Kinds of error that are never retried; `*` stands for any text.
    pub never: Vec<String>,
}

impl RetryPolicy {
    /// One attempt: the policy of an action that names none.
    pub fn once() -> Self {
        Self { attempts: Attempts::Limited(1), ..Self::default() }
    }

    /// How long after that attempt's end the next one is due, if there is one. The answer is always the same.
    pub(crate) fn delay(&self, failed: &FailedAttempt<'_>) -> Millis {
        self.delay_after(failed.spent, failed.seed())
    }

    /// When the next attempt is due after attempt number `failed` ended at `now` with an error of that kind;
    /// `None`: there is none.
    pub fn next_attempt(&self, failed: &FailedAttempt<'_>, now: Timestamp) -> Option<Timestamp> {
        if let Attempts::Limited(most) = self.attempts
            && failed.spent >= most
        {
            return None;
        }
        if is_permanent(failed.kind) || self.never.iter().any(|pattern| kind_matches(pattern, failed.kind)) {
            return None;
        }
        let due = now.plus(self.delay(failed));
        match self.max_age {
            Some(age) if due > failed.first_queued_at.plus(age) => None,
            _ => Some(due),
        }
    }

    /// The delay after that many attempts (1 or more), spread by the seed.
    fn delay_after(&self, spent: u32, seed: u64) -> Millis {
        if self.delay.0 == 0 {
            // Grown beyond all bounds, nothing would be no number.
            return Millis(0);
        }
        let exponent = i32::try_from(spent.saturating_sub(1)).unwrap_or(i32::MAX);
        #[expect(clippy::cast_precision_loss, reason = "spans are below 2^53 ms")]
        let grown = self.delay.0 as f64 * self.factor.powi(exponent);
        #[expect(clippy::cast_precision_loss, reason = "spans are below 2^53 ms")]
        let capped = grown.min(self.max_delay.0 as f64);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between zero and max_delay")]
        let delay = capped as u64;
        Millis(match self.jitter {
            Jitter::None => delay,
            Jitter::Full => scale(seed, delay),
            Jitter::Equal => delay - delay / 2 + scale(seed, delay / 2),
        })
    }
}

impl Default for RetryPolicy {
    /// The policy of `retry: {}`: three attempts, from one second doubling to one minute, fully spread.
    fn default() -> Self {
        Self {
            attempts: Attempts::Limited(3),
            delay: Millis::from_secs(1),
            factor: 2.0,
            max_delay: Millis::from_secs(60),
            jitter: Jitter::Full,
            max_age: None,
            never: Vec::new(),
        }
    }
}

/// The attempt whose end asks the policy.
#[derive(Debug, Clone, Copy)]
pub struct FailedAttempt<'a> {
    /// The run it was of.
    pub run: RunId,
    /// The action it was of.
    pub action: ActionIndex,
    /// Its number in the run, from 1.
    pub attempt: u32,
    /// Attempts that count against the policy; fewer than `attempt` after a retry by hand.
    pub spent: u32,
    /// The kind of its error.
    pub kind: &'a str,
    /// When the first attempt that counts was queued.
    pub first_queued_at: Timestamp,
}

impl FailedAttempt<'_> {
    /// The seed of the jitter: of this attempt alone, so that a repeated decision gives the same delay.
    fn seed(&self) -> u64 {
        let (high, low) = self.run.as_uuid().as_u64_pair();
        mix(high ^ mix(low ^ mix(u64::from(self.action.0) << 32 | u64::from(self.attempt))))
    }
}

/// The finalizer of SplitMix64 (Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators", 2014).
fn mix(mut z: u64) -> u64 {
    z = z.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A number from zero to `most`, evenly spread over seeds.
fn scale(seed: u64, most: u64) -> u64 {
    let wide = u128::from(seed) * (u128::from(most) + 1);
    u64::try_from(wide >> 64).unwrap_or(most)
}

/// Kinds of error that a further attempt cannot mend; no policy can have them retried.
pub const PERMANENT_KINDS: &[&str] = &[
    "auth.*",
    "dead_letter",
    "exec.denied",
    "exec.invalid",
    "exec.not_found",
    "expression",
    "http.denied_address",
    "http.invalid_request",
    "native.unknown_handler",
    "output.*",
    "permanent.*",
    "poison",
    "work.too_large",
];

/// Whether a further attempt cannot mend that kind of error: one of [`PERMANENT_KINDS`], or an HTTP status that will be
/// the same again. Such a status is a redirection (3xx; agents do not follow them) or the caller's fault (4xx). Those
/// that ask for patience are not: 408, 425 and 429 (RFC 9110, RFC 8470, RFC 6585).
pub fn is_permanent(kind: &str) -> bool {
    let status = kind.strip_prefix("http.").and_then(|status| status.parse::<u16>().ok());
    let the_same_again =
        status.is_some_and(|status| (300..500).contains(&status) && ![408, 425, 429].contains(&status));
    the_same_again || PERMANENT_KINDS.iter().any(|pattern| kind_matches(pattern, kind))
}

/// Whether a kind such as `auth.password` fits a pattern such as `auth.*`; `*` stands for any text, also none.
pub fn kind_matches(pattern: &str, kind: &str) -> bool {
    let Some((head, mut rest)) = pattern.split_once('*') else {
        return pattern == kind;
    };
    let Some(mut kind) = kind.strip_prefix(head) else {
        return false;
    };
    while let Some((part, tail)) = rest.split_once('*') {
        let Some(at) = kind.find(part) else {
            return false;
        };
        kind = &kind[at + part.len()..];
        rest = tail;
    }
    kind.ends_with(rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn failed(spent: u32, kind: &str) -> FailedAttempt<'_> {
        FailedAttempt {
            run: RunId::from_uuid(uuid::Uuid::from_u128(7)),
            action: ActionIndex(3),
            attempt: spent,
            spent,
            kind,
            first_queued_at: Timestamp::from_millis(0),
        }
    }

    fn delays(policy: &RetryPolicy, most: u32) -> Vec<Option<i64>> {
        let now = Timestamp::from_millis(0);
        (1..=most).map(|n| policy.next_attempt(&failed(n, "io"), now).map(Timestamp::as_millis)).collect()
    }

    #[test]
    fn delays_without_jitter_double_up_to_the_cap() {
        let policy = RetryPolicy {
            attempts: Attempts::Limited(6),
            max_delay: Millis(5000),
            jitter: Jitter::None,
            ..RetryPolicy::default()
        };
        assert_eq!(delays(&policy, 6), [Some(1000), Some(2000), Some(4000), Some(5000), Some(5000), None]);
    }

    #[test]
    fn kinds_in_never_get_no_second_attempt() {
        let policy = RetryPolicy { never: vec!["auth.*".into()], ..RetryPolicy::default() };
        let now = Timestamp::from_millis(0);
        assert_eq!(policy.next_attempt(&failed(1, "auth.password"), now), None);
        assert!(policy.next_attempt(&failed(1, "network.reset"), now).is_some());
    }

    #[test]
    fn permanent_errors_are_not_retried() {
        for kind in
            ["auth.password", "http.301", "http.404", "http.401", "expression", "output.invalid", "permanent.gone"]
        {
            assert!(is_permanent(kind), "{kind}");
        }
        for kind in ["http.408", "http.425", "http.429", "http.500", "network.reset", "exit.1", "temporary", "timeout"]
        {
            assert!(!is_permanent(kind), "{kind}");
        }
    }

    #[test]
    fn nothing_starts_after_the_maximum_age() {
        let policy = RetryPolicy {
            attempts: Attempts::Forever,
            jitter: Jitter::None,
            factor: 1.0,
            max_age: Some(Millis(10_000)),
            ..RetryPolicy::default()
        };
        let ask = |at| policy.next_attempt(&failed(5, "io"), Timestamp::from_millis(at));
        assert_eq!(ask(9_000), Some(Timestamp::from_millis(10_000)));
        assert_eq!(ask(9_001), None);
    }

    #[test]
    fn forever_survives_a_thousand_failures() {
        let policy = RetryPolicy { attempts: Attempts::Forever, ..RetryPolicy::default() };
        assert!(delays(&policy, 1000).iter().all(|due| due.is_some_and(|ms| ms <= 60_000)));
    }

    #[test]
    fn zero_delay_stays_zero() {
        let policy = RetryPolicy { attempts: Attempts::Forever, delay: Millis(0), ..RetryPolicy::default() };
        assert!(delays(&policy, 2000).iter().all(|due| *due == Some(0)));
    }

    #[test]
    fn patterns() {
        assert!(kind_matches("auth.*", "auth.password"));
        assert!(kind_matches("*", ""));
        assert!(kind_matches("a*b*c", "axxbyyc"));
        assert!(!kind_matches("io.**.io", "io.io"));
        assert!(!kind_matches("*ab*ab", "ab"));
        assert!(!kind_matches("auth.*", "authority"));
        assert!(!kind_matches("auth", "auth.password"));
        assert!(!kind_matches("a*bc", "abcd"));
    }

    /// A later version that decides again must give the same delay, so these never change. Computed apart from this
    /// program.
    #[test]
    fn drawn_delay_is_equal_in_every_version() {
        let cases: [(u128, u32, u32, i64, i64); 5] = [
            (7, 3, 1, 82487, 91243),
            (7, 3, 2, 73579, 86789),
            (7, 4, 1, 9640, 54820),
            (0x0192_7abc_0011_7000_8000_1234_5678_9abc, 3, 1, 80327, 90163),
            (0x0192_7abc_0011_7000_8000_1234_5678_9abc, 0, 1000, 249, 50124),
        ];
        for (run, action, attempt, full, equal) in cases {
            let run = RunId::from_uuid(uuid::Uuid::from_u128(run));
            let at = FailedAttempt { run, action: ActionIndex(action), attempt, ..failed(1, "io") };
            let (attempts, delay) = (Attempts::Forever, Millis(99_999));
            let base = RetryPolicy { attempts, delay, max_delay: delay, ..RetryPolicy::default() };
            for (jitter, expected) in [(Jitter::None, 99_999), (Jitter::Full, full), (Jitter::Equal, equal)] {
                let next = RetryPolicy { jitter, ..base.clone() }.next_attempt(&at, Timestamp::from_millis(0));
                assert_eq!(next.map(Timestamp::as_millis), Some(expected), "{run} {action} {attempt} {jitter:?}");
            }
        }
    }

    #[test]
    fn without_a_policy_there_is_one_attempt() {
        let once = RetryPolicy::once();
        assert_eq!(once.next_attempt(&failed(1, "io"), Timestamp::from_millis(0)), None);
    }

    proptest! {
        #[test]
        fn jitter_stays_within_its_bounds(spent in 1u32..2000, run in any::<u128>(), delay in 0u64..100_000) {
            let base = RetryPolicy { attempts: Attempts::Forever, delay: Millis(delay), ..RetryPolicy::default() };
            let at = FailedAttempt { run: RunId::from_uuid(uuid::Uuid::from_u128(run)), ..failed(spent, "io") };
            let ask = |jitter| {
                RetryPolicy { jitter, ..base.clone() }
                    .next_attempt(&at, Timestamp::from_millis(0))
                    .map_or(0, Timestamp::as_millis)
            };
            let whole = ask(Jitter::None);
            prop_assert!((0..=whole).contains(&ask(Jitter::Full)));
            prop_assert!((whole / 2..=whole).contains(&ask(Jitter::Equal)));
        }
    }
}
