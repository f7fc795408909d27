//! When the hub wants to be woken, and for what. Knows no rule about what happens then.

use std::collections::BTreeSet;

use super::connection::SessionKey;
use super::feed::FeedKey;
use super::presence::GatheringHandle;
use super::stream::StreamHandle;
use super::{ConnectionId, Handle};
use crate::clock::Timestamp;
use crate::machine::Wake;

/// What a wake is for. One that comes early looks at the time again and arms itself anew, so that
/// nothing has to be moved here each time a frame arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// A connection may have fallen silent.
    Silence(ConnectionId),
    /// A session's grace time may be over.
    Grace(SessionKey),
    /// A lease may have gone unused for too long.
    Lease(Handle, SessionKey),
    /// A document may not be needed in memory.
    Idle(Handle),
    /// A connection's token has run out.
    Expiry(ConnectionId),
    /// Something in a space is to be told, lapses, or is over.
    Gathering(GatheringHandle),
    /// Something may be due for a stream.
    Stream(StreamHandle),
    /// A feed has something to tell.
    Feed(FeedKey),
}

#[derive(Debug, Default)]
pub(super) struct Timers(BTreeSet<(Timestamp, Timer)>);

impl Timers {
    pub(super) fn arm(&mut self, at: Timestamp, timer: Timer) {
        self.0.insert((at, timer));
    }

    pub(super) fn disarm(&mut self, at: Timestamp, timer: Timer) {
        self.0.remove(&(at, timer));
    }

    /// Takes the first timer that is due.
    pub(super) fn due(&mut self, now: Timestamp) -> Option<Timer> {
        let first = *self.0.first()?;
        if first.0 > now {
            return None;
        }
        self.0.pop_first().map(|(_, timer)| timer)
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    pub(super) fn next(&self) -> Option<Wake> {
        self.0.first().map(|(at, timer)| Wake {
            at: *at,
            why: match timer {
                Timer::Silence(_) => "heartbeat",
                Timer::Grace(_) => "grace",
                Timer::Lease(..) => "lease",
                Timer::Idle(_) => "eviction",
                Timer::Expiry(_) => "token",
                Timer::Gathering(_) => "presence",
                Timer::Stream(_) => "stream",
                Timer::Feed(_) => "feed",
            },
        })
    }
}
