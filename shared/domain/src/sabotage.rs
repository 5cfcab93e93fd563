//! Deliberate bugs: mistakes that people make, to be switched on one at a time, so that the simulated world shows that it
//! would find them. `docs/sabotage.md` is their list.
//!
//! The feature `sabotage` is for that alone, and no crate that is shipped asks for it. Without it [`sabotaged`] is a
//! constant, and nothing of what depends on it is left in a program.

macro_rules! bugs {
    ($($bug:ident: $name:literal, $sentence:literal;)*) => {
        /// A mistake.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Bug {
            $(#[doc = $sentence] $bug,)*
        }

        #[cfg(feature = "sabotage")]
        impl Bug {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$bug),*];

            /// How it is called in commands.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$bug => $name,)* }
            }

            /// What is done wrong.
            pub const fn sentence(self) -> &'static str {
                match self { $(Self::$bug => $sentence,)* }
            }
        }
    };
}

bugs! {
    AcknowledgeFirst: "acknowledge-first", "inputs are acknowledged when they are received, before anything is committed";
    AcknowledgeFailed: "acknowledge-failed", "an input that could not be handled is acknowledged with the rest of its batch";
    SendBeforeCommit: "send-before-commit", "what follows from a decision is sent before the decision is committed";
    PublishUnawaited: "publish-unawaited", "events are published in the background, and nobody waits for it";
    FreshEventIds: "fresh-event-ids", "events get new ids each time they are published";
    ForgetVersion: "forget-version", "a commit replaces whatever is there, not the version that it was decided on";
    ConflictIsDone: "conflict-is-done", "a conflict is taken for a sign that the write was made before";
    PartOfWrite: "part-of-write", "after a conflict, a part of the write that is found in the record is taken for all of it";
    OldReads: "old-reads", "every read of a record may be an old one";
    CreateReplaces: "create-replaces", "a run that is created a second time replaces the first";
    DropRepeats: "drop-repeats", "an input that comes again leads to nothing, because it was handled";
    OldFence: "old-fence", "the end of an attempt is accepted under an old fence, of whoever had it before";
    OfAnotherAgent: "of-another-agent", "the end of an attempt is accepted of an agent that does not have it";
    SameFence: "same-fence", "a claim leaves the fence as it is";
    LateClaim: "late-claim", "a claim is good however often the message has been delivered since";
    LeaseForEver: "lease-for-ever", "a lease that nobody renews runs on";
    CountRedeliveries: "count-redeliveries", "each delivery of an attempt is counted as an attempt";
    BeginUnasked: "begin-unasked", "an attempt that is delivered again begins without a claim";
    NeverLook: "never-look", "an attempt that waited for long begins without a look at its record";
    GoOnUnheld: "go-on-unheld", "an agent goes on with an attempt whose message it could not keep";
    AcknowledgeWork: "acknowledge-work", "an agent deletes the message of an attempt when it receives it";
    RetryInEnding: "retry-in-ending", "a failed attempt of a run that is being cancelled is tried again";
    EarlyJoin: "early-join", "an action begins when the first of those that it needs has ended";
    TimerInQueue: "timer-in-queue", "a timer is a delayed message alone, and not in the record";
    NoTurn: "no-turn", "a scheduled run starts without taking the turn of its task";
    SweepOff: "sweep-off", "nothing sweeps";
}

/// Whether that bug is on.
#[cfg(not(feature = "sabotage"))]
#[inline]
pub const fn sabotaged(_: Bug) -> bool {
    false
}

#[cfg(feature = "sabotage")]
pub use switch::{sabotage, sabotaged};

#[cfg(feature = "sabotage")]
mod switch {
    use std::cell::Cell;

    use super::Bug;

    thread_local! {
        static ON: Cell<Option<Bug>> = const { Cell::new(None) };
    }

    /// Switches a bug on in this thread, and the one before it off.
    pub fn sabotage(bug: Option<Bug>) {
        ON.set(bug);
    }

    /// Whether that bug is on in this thread.
    pub fn sabotaged(bug: Bug) -> bool {
        ON.get() == Some(bug)
    }
}
