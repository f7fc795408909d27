//! How much one user, and one space, may ask of a hub: connections, documents, and rates. Counts and
//! times only; must not know what is asked for.
//!
//! Who exceeds a rate loses nothing. The connection is not read for as long as it has gone too fast
//! ([`Effect::Hold`]), so that the pressure reaches the client by itself; who is further ahead than
//! that is sent away with the time after which there is room again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::connection::Slot;
use super::{Effect, Hub};
use crate::clock::Timestamp;
use crate::codes::Code;
use crate::ids::UserId;
use crate::policy::Capabilities;
use crate::rate::Rate;
use crate::wire::ClientFrame;

/// What a frame costs at least, in bytes: it is work for the hub however short it is.
const FRAME_COST_MIN: u64 = 128;
/// How often at most a client is told that it goes too fast.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// How much one user, and one space, may ask of a hub. A zero stands for no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quotas {
    /// Connections that one user may have at a time.
    pub user_connections: u32,
    /// Documents that one user may hold open, over all connections.
    pub user_documents: u32,
    /// Documents that one user may open in a second.
    pub user_opens_per_s: u32,
    /// Changes that one user may push in a second. Who may import is exempt.
    pub user_changes_per_s: u32,
    /// Bytes of frames that one user may send in a second.
    pub user_bytes_per_s: u32,
    /// Changes that may be pushed in one space in a second.
    pub space_changes_per_s: u32,
    /// Bytes of frames with changes that may be sent for one space in a second.
    pub space_bytes_per_s: u32,
    /// What was not asked for in this time may be asked for at once.
    pub burst: Duration,
    /// The longest for which a connection is not read. Must be well below the heartbeat, because
    /// nothing is heard of the client meanwhile.
    pub hold_max: Duration,
}

impl Default for Quotas {
    fn default() -> Self {
        Self {
            user_connections: 200,
            user_documents: 20_000,
            user_opens_per_s: 500,
            user_changes_per_s: 1_000,
            user_bytes_per_s: 8 << 20,
            space_changes_per_s: 20_000,
            space_bytes_per_s: 64 << 20,
            burst: Duration::from_secs(20),
            hold_max: Duration::from_secs(10),
        }
    }
}

impl Quotas {
    /// No limits, for benchmarks and for embedding where somebody else sets them.
    #[must_use]
    pub fn none() -> Self {
        Self {
            user_connections: 0,
            user_documents: 0,
            user_opens_per_s: 0,
            user_changes_per_s: 0,
            user_bytes_per_s: 0,
            space_changes_per_s: 0,
            space_bytes_per_s: 0,
            ..Self::default()
        }
    }
}

/// What somebody has asked for of late.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Pace {
    changes: Rate,
    bytes: Rate,
    opens: Rate,
}

impl Pace {
    fn ahead(&self, now: Timestamp, burst: Duration) -> Duration {
        let rates = [self.changes, self.bytes, self.opens];
        rates.into_iter().map(|rate| rate.ahead(now, burst)).max().unwrap_or_default()
    }
}

/// What a user has at the moment.
#[derive(Debug, Default)]
struct Use {
    /// Sessions that are connected or within their grace time; without one this is forgotten.
    sessions: u32,
    connections: BTreeSet<Slot>,
    pace: Pace,
}

/// All users with a session.
#[derive(Debug, Default)]
pub(super) struct Users(BTreeMap<UserId, Use>);

impl Users {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn session_begun(&mut self, user: &UserId) {
        self.0.entry(user.clone()).or_default().sessions += 1;
    }

    pub(super) fn session_over(&mut self, user: &UserId) {
        if let Some(of) = self.0.get_mut(user) {
            of.sessions = of.sessions.saturating_sub(1);
            if of.sessions == 0 {
                self.0.remove(user);
            }
        }
    }

    pub(super) fn connected(&mut self, user: &UserId, slot: Slot) {
        self.0.entry(user.clone()).or_default().connections.insert(slot);
    }

    pub(super) fn disconnected(&mut self, user: &UserId, slot: Slot) {
        if let Some(of) = self.0.get_mut(user) {
            of.connections.remove(&slot);
        }
    }

    pub(super) fn connections(&self, user: &UserId) -> impl Iterator<Item = Slot> {
        self.0.get(user).into_iter().flat_map(|of| of.connections.iter().copied())
    }
}

/// Whether who says hello was here before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Returns {
    Not,
    /// Within the grace time.
    Known,
    /// In the place of a connection that is still there.
    InPlace,
}

/// What a frame asks for.
struct Cost {
    bytes: u64,
    changes: u64,
    opens: u64,
    /// The space that it writes in.
    space: Option<String>,
}

impl Hub {
    /// Why a user gets no (further) connection, and after how long there may be room for one.
    pub(super) fn has_no_room_for(
        &self,
        now: Timestamp,
        user: &UserId,
        returns: Returns,
    ) -> Option<(Code, Duration)> {
        let quotas = &self.config.quotas;
        let of = self.users.0.get(user);
        let ahead = of.map_or(Duration::ZERO, |of| of.pace.ahead(now, quotas.burst));
        if ahead > quotas.hold_max {
            return Some((Code::RateLimited, ahead));
        }
        let connections = of.map_or(0, |of| of.connections.len());
        let most = usize::try_from(quotas.user_connections).unwrap_or(usize::MAX);
        if most > 0 && connections >= most && returns != Returns::InPlace {
            return Some((Code::TooManyConnections, quotas.hold_max));
        }
        // Those who are known go on; whoever is new can wait until there is less to do.
        if returns == Returns::Not && self.is_strained() {
            return Some((Code::Overloaded, quotas.hold_max));
        }
        None
    }

    /// Whether so much waits for the disk that nothing new should be begun.
    pub(super) const fn is_strained(&self) -> bool {
        self.pending_bytes > self.config.pending_bytes_max / 2
    }

    /// Whether a user has as many documents open as one may.
    pub(super) fn holds_too_many(&self, user: &UserId) -> bool {
        let most = usize::try_from(self.config.quotas.user_documents).unwrap_or(usize::MAX);
        let held = |slot| self.connections.open(slot).map_or(0, |open| open.documents.len());
        most > 0 && self.users.connections(user).map(held).sum::<usize>() >= most
    }

    /// Counts a frame that is about to be dealt with. Answers whether the connection is still there:
    /// one who is too far ahead is sent away, and what it said is not looked at.
    pub(super) fn count(
        &mut self,
        now: Timestamp,
        slot: Slot,
        frame: &ClientFrame,
        bytes: usize,
    ) -> bool {
        let quotas = self.config.quotas;
        let Some(user) = self.connections.open(slot).map(|open| open.credentials.user.clone())
        else {
            return true;
        };
        let cost = self.cost_of(slot, frame, bytes);
        let mut ahead = Duration::ZERO;
        if let Some(of) = self.users.0.get_mut(&user) {
            ahead = of.pace.ahead(now, quotas.burst);
            of.pace.bytes.take(now, cost.bytes, quotas.user_bytes_per_s);
            of.pace.changes.take(now, cost.changes, quotas.user_changes_per_s);
            of.pace.opens.take(now, cost.opens, quotas.user_opens_per_s);
        }
        let mut hold = self.users.0.get(&user).map_or(ahead, |of| of.pace.ahead(now, quotas.burst));
        if let Some(space) = cost.space.and_then(|space| self.spaces.get_mut(&space)) {
            ahead = ahead.max(space.pace.ahead(now, quotas.burst));
            space.pace.changes.take(now, cost.changes, quotas.space_changes_per_s);
            space.pace.bytes.take(now, cost.bytes, quotas.space_bytes_per_s);
            hold = hold.max(space.pace.ahead(now, quotas.burst));
        }
        if ahead > quotas.hold_max {
            self.send_away(now, slot, Code::RateLimited, ahead);
            return false;
        }
        if hold > Duration::ZERO {
            self.hold(now, slot, hold.min(quotas.hold_max));
        }
        true
    }

    fn cost_of(&self, slot: Slot, frame: &ClientFrame, bytes: usize) -> Cost {
        let bytes = (bytes as u64).max(FRAME_COST_MIN);
        let (mut changes, mut opens, mut space) = (0, 0, None);
        if let ClientFrame::Push(push) = frame {
            let address = self.documents.get(push.handle).map(|document| &document.address);
            let name = address.map(|address| address.space().to_owned());
            let principal = name.as_deref().and_then(|name| self.principal(slot, name));
            if principal.is_some_and(|principal| principal.may.has(Capabilities::IMPORT)) {
                // Data that is carried over from elsewhere comes as fast as the disk takes it.
                return Cost { bytes: 0, changes: 0, opens: 0, space: None };
            }
            (changes, space) = (push.changes.len() as u64, name);
        } else if matches!(frame, ClientFrame::Subscribe(_)) {
            opens = 1;
        }
        Cost { bytes, changes, opens, space }
    }

    /// Does not listen to a connection for a while, and says so now and then.
    fn hold(&mut self, now: Timestamp, slot: Slot, pause: Duration) {
        let Some(connection) = self.connections.get_mut(slot) else { return };
        let tell = connection.told_to_slow_down.is_none_or(|at| now >= at + TELL_EVERY);
        let id = connection.id;
        if tell {
            connection.told_to_slow_down = Some(now);
            let why =
                "you ask for more than this server takes in such a time; it goes on more slowly";
            self.complain_for(slot, Code::RateLimited, why, pause);
        }
        self.out.push(Effect::Hold { connection: id, pause });
    }
}
