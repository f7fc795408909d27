//! The contract of the two protocol machines, and nothing of either.
//!
//! A machine is driven by a thin loop around it: hand it what happened ([`Machine::handle`]), carry
//! out everything it asks for ([`Machine::poll_effect`] until it answers `None`), then sleep until
//! something happens or until [`Machine::poll_timeout`] says, whichever is first, and call
//! [`Machine::handle`] again. The loop owns sockets, disks and the clock; the machine owns every
//! decision.

use crate::clock::Timestamp;

/// A deterministic state machine: the same inputs at the same times give the same effects.
pub trait Machine {
    /// Everything the world can say.
    type Input;
    /// Everything the machine can ask, in one ordered queue.
    type Effect;

    /// Takes one fact in. Facts that arrive late (about a connection that is gone, say) are ignored.
    fn handle(&mut self, now: Timestamp, input: Self::Input);

    /// Takes the next effect out, oldest first.
    fn poll_effect(&mut self) -> Option<Self::Effect>;

    /// Says when the machine next wants a tick if nothing else happens before. Going straight to
    /// that time must end like ticking all the way there.
    fn poll_timeout(&self) -> Option<Wake>;
}

/// The next moment at which a machine has something to do by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wake {
    /// When.
    pub at: Timestamp,
    /// What for, for logs and the simulator.
    pub why: &'static str,
}

impl Wake {
    /// The earlier of two optional wakes.
    #[must_use]
    pub fn earlier(a: Option<Self>, b: Option<Self>) -> Option<Self> {
        match (a, b) {
            (Some(a), Some(b)) => Some(if b.at < a.at { b } else { a }),
            (one, other) => one.or(other),
        }
    }
}
