//! Deliberate bugs, by name. Each is a mistake that people make; the simulated world must find it (docs/sabotage.md).

macro_rules! bugs {
    ($($bug:ident: $name:literal, $wrong:literal;)*) => {
        /// A mistake.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[expect(missing_docs, reason = "each says by `wrong` what is done wrong")]
        pub enum Bug { $($bug,)* }

        impl Bug {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$bug,)*];

            /// Its name in commands.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$bug => $name,)* }
            }

            /// The bug in words.
            pub const fn wrong(self) -> &'static str {
                match self { $(Self::$bug => $wrong,)* }
            }
        }
    };
}

bugs! {
    AcknowledgeFirst: "acknowledge-first", "the process manager deletes an input when it receives it, before it commits anything";
    AcknowledgeFailed: "acknowledge-failed", "the process manager deletes an input that it could not handle";
    SendBeforeCommit: "send-before-commit", "the process manager sends what follows from a decision before the decision is committed";
    DropRepeats: "drop-repeats", "the process manager takes an input that comes again for a new one, and resends nothing";
    PublishUnawaited: "publish-unawaited", "the process manager publishes events in the background and does not wait";
    FreshEventIds: "fresh-event-ids", "an event gets a new id each time it is published";
    ForgetVersion: "forget-version", "a commit replaces whatever record is there";
    ConflictIsDone: "conflict-is-done", "the process manager takes a conflict for a sign that its write was made before";
    OldReads: "old-reads", "each read of a record may give an old one";
    CreateReplaces: "create-replaces", "a run that is created a second time replaces the first";
    OldDelivery: "old-delivery", "the process manager accepts the report of a delivery that another has replaced";
    OfAnotherAgent: "of-another-agent", "the process manager accepts a report of an agent that does not own the attempt";
    AnyClaim: "any-claim", "the process manager confirms a claim of a delivery that another has replaced";
    SameFence: "same-fence", "a confirmed claim leaves the fence as it is";
    LeaseForEver: "lease-for-ever", "a lease runs on for a day";
    BeginUnasked: "begin-unasked", "an agent begins an attempt that it receives again, without a claim";
    NeverLook: "never-look", "an agent begins an attempt that waited for long, without a look at its record";
    GoOnUnheld: "go-on-unheld", "an agent goes on with an attempt whose message it could not keep";
    AcknowledgeWork: "acknowledge-work", "an agent deletes the message of an attempt when it receives it";
    EarlyJoin: "early-join", "an action begins when the first of the actions that it needs has ended";
    TimerInQueue: "timer-in-queue", "a timer is a delayed message alone, and not in the record";
    SweepOff: "sweep-off", "nothing sweeps";
}
