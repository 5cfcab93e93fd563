//! The invariants of every simulation.

use windlass_domain::invariants::{CATALOGUE as OF_RUNS, Invariant};

macro_rules! catalogue {
    ($($name:ident: $sentence:literal;)*) => {
        $(
            #[doc = $sentence]
            pub(super) const $name: Invariant = Invariant { name: stringify!($name), sentence: $sentence };
        )*
        /// The invariants that the world checks in every simulation, beside the invariants of runs.
        pub const CATALOGUE: &[Invariant] = &[$($name),*];
    };
}

catalogue! {
    SW1: "a commit replaces the very record that it was decided on";
    SW2: "what has ended stays as it is, attempts and fences never decrease, and a later delivery has a higher fence";
    SW3: "an attempt has one accepted end, of the agent that has it";
    SW4: "the log of a run is a legal history, and has each event once";
    SW5: "no action begins before what it needs has ended";
    SW6: "no attempt begins for the first time after its run has ended, or unasked long after it was cancelled";
    SW7: "attempts that begin stay within the policy";
    SW8: "an input is acknowledged after what follows from it, and every open run has a message, a timer or a lease";
    SW9: "what was accepted exists and ends, soon after the last fault";
    SW10: "the end of a run, of its actions and its output are what they are without faults";
    SW11: "the events of a run are what they are without faults";
    SW12: "the bus gets how runs and actions end, and no event that is not in the log";
    SW13: "nothing becomes a dead letter because of faults but what its queue gave up";
    SW14: "a due time is one run, and no two runs of a task overlap whose schedule forbids it";
    SW15: "no task of a process panics";
    SW16: "what was lost, or is due, is sent again within the sweeper's time";
    SW17: "an agent stops an attempt before its message can be with another, or its lease is over";
    SW18: "no claim takes an attempt from the agent that its message was delivered to last";
    SW19: "without faults an attempt that is begun at once is begun once";
}

/// Every invariant that a simulation is held to.
pub fn invariants() -> impl Iterator<Item = &'static Invariant> {
    OF_RUNS.iter().chain(CATALOGUE)
}
