//! Connections and sessions: greeting, heartbeat, replacement by a newer connection, leaving. What
//! is bounded per connection is bounded here. Must not know what a document contains.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;

use super::authenticate::Credentials;
use super::presence::GatheringHandle;
use super::quota::Returns;
use super::stream::Joined;
use super::timers::Timer;
use super::{ConnectionId, Effect, Handle, Hub, Phase, RequestId};
use crate::clock::Timestamp;
use crate::codes::Code;
use crate::ids::{SessionId, UserId};
use crate::wire::close::fatal;
use crate::wire::frame::{Error, Goodbye, Hello, Pong, ServerFrame, Welcome};
use crate::wire::{ClientFrame, CloseCode, DecodeError};

/// Nobody who is sent away comes back before this.
const RETURN_MS_MIN: u64 = 500;
/// Over how long those who are sent away come back, however few or many they are.
const RETURN_SPREAD_MS_MIN: u64 = 2_500;
const RETURN_SPREAD_MS_MAX: u64 = 300_000;

/// A session's short name inside the hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SessionKey(pub(super) u64);

/// A connection's place in [`Connections`]; used again after it is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Slot(usize);

/// A connection that may be gone, and its place if it is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Peer {
    pub(super) slot: Slot,
    pub(super) id: ConnectionId,
}

/// A connection from its first byte until the hub closes it, which forgets it at once.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) id: ConnectionId,
    pub(super) talk: Talk,
    /// When it was last heard of.
    heard: Timestamp,
    /// For when its timer is armed.
    wake: Timestamp,
    /// When it was last told that it goes too fast.
    pub(super) told_to_slow_down: Option<Timestamp>,
    /// Bytes sent since it last drained.
    pub(super) outstanding: usize,
    /// Bytes of its changes that are accepted and not durable yet.
    pub(super) pending: usize,
}

/// How far a connection is.
#[derive(Debug)]
pub(super) enum Talk {
    /// Only `Hello` is allowed.
    Greeting,
    /// The client said who it is.
    Open(Box<Open>),
}

/// What an open connection holds.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) session: SessionKey,
    pub(super) credentials: Credentials,
    /// Documents that it follows or is about to.
    pub(super) documents: BTreeSet<Handle>,
    /// Those of them that have something for it that it has not been sent.
    pub(super) news: BTreeSet<Handle>,
    /// Handles of documents that it followed until their epoch ended, the last few: what it said
    /// before it heard of that may still come.
    pub(super) closed: VecDeque<Handle>,
    /// Where the round over `news` goes on.
    pub(super) turn: Handle,
    /// The read that is under way for it; there is never more than one.
    pub(super) reading: Option<RequestId>,
    /// Spaces that it is in or is about to enter.
    pub(super) spaces: BTreeSet<GatheringHandle>,
    /// Up to when what it announced would have been allowed, had it come evenly.
    pub(super) paced_until: Timestamp,
    pub(super) streams: Joined,
    /// The spaces whose feeds it follows.
    pub(super) feeds: BTreeSet<String>,
    /// Lists of posts that it waits for.
    pub(super) listings: u32,
}

impl Open {
    fn new(session: SessionKey, credentials: Credentials) -> Self {
        Self {
            session,
            credentials,
            documents: BTreeSet::new(),
            closed: VecDeque::new(),
            news: BTreeSet::new(),
            turn: 0,
            reading: None,
            spaces: BTreeSet::new(),
            paced_until: Timestamp(0),
            streams: Joined::default(),
            feeds: BTreeSet::new(),
            listings: 0,
        }
    }
}

impl Connection {
    pub(super) fn open(&self) -> Option<&Open> {
        match &self.talk {
            Talk::Greeting => None,
            Talk::Open(open) => Some(open),
        }
    }

    pub(super) fn open_mut(&mut self) -> Option<&mut Open> {
        match &mut self.talk {
            Talk::Greeting => None,
            Talk::Open(open) => Some(open),
        }
    }
}

/// All connections, by number and by place.
#[derive(Debug, Default)]
pub(super) struct Connections {
    slots: Vec<Option<Connection>>,
    free: Vec<Slot>,
    by_id: BTreeMap<ConnectionId, Slot>,
}

impl Connections {
    fn insert(&mut self, connection: Connection) {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            Slot(self.slots.len() - 1)
        });
        self.by_id.insert(connection.id, slot);
        self.slots[slot.0] = Some(connection);
    }

    fn remove(&mut self, slot: Slot) -> Option<Connection> {
        let connection = self.slots.get_mut(slot.0)?.take()?;
        self.by_id.remove(&connection.id);
        self.free.push(slot);
        Some(connection)
    }

    pub(super) fn slot(&self, id: ConnectionId) -> Option<Slot> {
        self.by_id.get(&id).copied()
    }

    pub(super) fn get(&self, slot: Slot) -> Option<&Connection> {
        self.slots.get(slot.0)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, slot: Slot) -> Option<&mut Connection> {
        self.slots.get_mut(slot.0)?.as_mut()
    }

    pub(super) fn open(&self, slot: Slot) -> Option<&Open> {
        self.get(slot)?.open()
    }

    pub(super) fn open_mut(&mut self, slot: Slot) -> Option<&mut Open> {
        self.get_mut(slot)?.open_mut()
    }

    /// The connection if it is still the one that was there.
    pub(super) fn peer_mut(&mut self, peer: Peer) -> Option<&mut Connection> {
        self.get_mut(peer.slot).filter(|connection| connection.id == peer.id)
    }

    pub(super) fn peer(&self, slot: Slot) -> Option<Peer> {
        self.get(slot).map(|connection| Peer { slot, id: connection.id })
    }

    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Bytes that were sent and not taken, of all together.
    pub(super) fn outstanding(&self) -> usize {
        self.slots.iter().flatten().map(|connection| connection.outstanding).sum()
    }

    /// All places, in the order of the connections' numbers.
    fn all(&self) -> Vec<Slot> {
        self.by_id.values().copied().collect()
    }
}

/// The queue of effects, and what must happen once the input at hand is dealt with.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    pub(super) effects: VecDeque<Effect>,
    /// Connections that have to go because of what was sent on them.
    doomed: Vec<(Peer, Code)>,
}

impl Outgoing {
    pub(super) fn push(&mut self, effect: Effect) {
        self.effects.push_back(effect);
    }

    /// Sends bytes, which may be shared with others, and counts them.
    pub(super) fn send(
        &mut self,
        connection: &mut Connection,
        slot: Slot,
        message: Bytes,
        unread_bytes_max: usize,
    ) {
        let before = connection.outstanding;
        connection.outstanding += message.len();
        if connection.outstanding > unread_bytes_max && before <= unread_bytes_max {
            self.doomed.push((Peer { slot, id: connection.id }, Code::SlowReader));
        }
        self.effects.push_back(Effect::Send { connection: connection.id, message });
    }
}

/// A client's talk across its connections.
#[derive(Debug)]
pub(super) struct Session {
    id: SessionId,
    user: UserId,
    generation: u64,
    /// Its connection, or until when its leases are kept.
    place: Place,
    /// The documents in which it holds a lease, or a slot that nobody else may have.
    pub(super) slots: BTreeSet<Handle>,
}

#[derive(Debug, Clone, Copy)]
enum Place {
    Connected(Slot),
    Away(Timestamp),
}

impl Session {
    pub(super) fn slot(&self) -> Option<Slot> {
        match self.place {
            Place::Connected(slot) => Some(slot),
            Place::Away(_) => None,
        }
    }
}

/// All sessions that are connected or within their grace time.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    by_key: BTreeMap<SessionKey, Session>,
    /// By user too: a session id that somebody else guessed or copied is another session.
    by_name: BTreeMap<(SessionId, UserId), SessionKey>,
    last: u64,
}

impl Sessions {
    pub(super) fn get(&self, key: SessionKey) -> Option<&Session> {
        self.by_key.get(&key)
    }

    pub(super) fn get_mut(&mut self, key: SessionKey) -> Option<&mut Session> {
        self.by_key.get_mut(&key)
    }

    fn remove(&mut self, key: SessionKey) -> Option<Session> {
        let session = self.by_key.remove(&key)?;
        self.by_name.remove(&(session.id, session.user.clone()));
        Some(session)
    }

    /// Whether a session was here before.
    fn returns(&self, name: &(SessionId, UserId)) -> Returns {
        let before = self.by_name.get(name).and_then(|key| self.get(*key));
        before.map_or(Returns::Not, |session| match session.place {
            Place::Connected(_) => Returns::InPlace,
            Place::Away(_) => Returns::Known,
        })
    }

    pub(super) fn len(&self) -> usize {
        self.by_key.len()
    }
}

impl Hub {
    pub(super) fn opened(&mut self, now: Timestamp, id: ConnectionId) {
        if self.connections.slot(id).is_some() {
            return;
        }
        let wake = now + self.config.greeting;
        self.connections.insert(Connection {
            id,
            talk: Talk::Greeting,
            heard: now,
            wake,
            told_to_slow_down: None,
            outstanding: 0,
            pending: 0,
        });
        self.timers.arm(wake, Timer::Silence(id));
        match self.phase {
            Phase::Running => {}
            Phase::Stopping | Phase::Stopped => {
                if let Some(slot) = self.connections.slot(id) {
                    self.dismiss(now, slot, Code::ShuttingDown);
                }
            }
        }
    }

    pub(super) fn received(&mut self, now: Timestamp, id: ConnectionId, message: &[u8]) {
        let Some(slot) = self.connections.slot(id) else { return };
        let Some(connection) = self.connections.get_mut(slot) else { return };
        let greeting = matches!(connection.talk, Talk::Greeting);
        if !greeting {
            connection.heard = now;
        }
        let frame = match ClientFrame::decode(message) {
            Ok(frame) => frame,
            Err(error) => {
                let code = match error {
                    DecodeError::TooLarge(_) => Code::FrameTooLarge,
                    DecodeError::Version(_) => Code::UnsupportedVersion,
                    DecodeError::Short
                    | DecodeError::UnknownType(_)
                    | DecodeError::Malformed
                    | DecodeError::TrailingBytes(_) => Code::BadFrame,
                };
                return self.fail(now, slot, code, &error.to_string());
            }
        };
        if !self.count(now, slot, &frame, message.len()) {
            return;
        }
        match frame {
            ClientFrame::Hello(hello) if greeting => self.hello(now, slot, &hello),
            ClientFrame::Hello(_) => {
                self.fail(now, slot, Code::OutOfProtocol, "Hello comes once, as the first frame");
            }
            _ if greeting => {
                self.fail(now, slot, Code::OutOfProtocol, "the first frame must be Hello");
            }
            ClientFrame::Subscribe(frame) => self.subscribe(now, slot, &frame),
            ClientFrame::Unsubscribe(frame) => self.unsubscribe(now, slot, frame.handle),
            ClientFrame::RequestLease(frame) => self.request_lease(now, slot, frame.handle),
            ClientFrame::Push(frame) => self.push(now, slot, frame),
            ClientFrame::Restore(frame) => self.restore(now, slot, frame),
            ClientFrame::Ping(frame) => self.send(slot, Pong { nonce: frame.nonce }),
            ClientFrame::Bye(_) => self.bye(now, slot),
            ClientFrame::Release(frame) => self.release(now, slot, frame.handle),
            ClientFrame::Compare(frame) => self.compare(slot, frame),
            ClientFrame::Renew(frame) => self.renew(now, slot, &frame),
            ClientFrame::Enter(frame) => self.enter(now, slot, frame),
            ClientFrame::Leave(frame) => self.leave(now, slot, frame.handle),
            ClientFrame::Announce(frame) => self.announce(now, slot, frame),
            ClientFrame::Kick(frame) => self.kick(now, slot, frame),
            ClientFrame::WriteStream(frame) => self.write_stream(now, slot, &frame),
            ClientFrame::ReadStream(frame) => self.read_stream(now, slot, &frame),
            ClientFrame::AppendStream(frame) => self.append_stream(now, slot, &frame),
            ClientFrame::EndStream(frame) => self.end_stream(now, slot, &frame),
            ClientFrame::InterruptStream(frame) => self.interrupt_stream(now, slot, &frame),
            ClientFrame::LeaveStream(frame) => self.leave_stream(now, slot, frame),
            ClientFrame::FollowFeed(frame) => self.follow_feed(slot, &frame),
            ClientFrame::LeaveFeed(frame) => self.leave_feed(slot, &frame.space),
            ClientFrame::ListPosts(frame) => self.list_posts(slot, frame),
        }
    }

    fn hello(&mut self, now: Timestamp, slot: Slot, hello: &Hello) {
        if !matches!(self.phase, Phase::Running) {
            return self.dismiss(now, slot, Code::ShuttingDown);
        }
        let token = hello.token.as_deref();
        let credentials = match self.authenticator.authenticate(now, &hello.user, token) {
            Ok(credentials) => credentials,
            Err(error) => return self.fail(now, slot, error.code, &error.message),
        };
        let user = credentials.user.clone();
        if self.orders.forgets(&user) {
            let why = "this user is being forgotten";
            return self.fail(now, slot, Code::Unauthenticated, why);
        }
        let name = (SessionId(hello.session), user);
        let returns = self.sessions.returns(&name);
        if let Some((code, wait)) = self.has_no_room_for(now, &name.1, returns) {
            return self.send_away(now, slot, code, wait);
        }
        let session = if let Some(key) = self.sessions.by_name.get(&name).copied() {
            let generation = self.sessions.get(key).map_or(0, |session| session.generation);
            if hello.generation <= generation {
                return self.fail(now, slot, Code::Replaced, "a newer connection was here");
            }
            self.take_over(now, key);
            key
        } else {
            self.sessions.last += 1;
            let key = SessionKey(self.sessions.last);
            self.sessions.by_name.insert(name.clone(), key);
            self.users.session_begun(&name.1);
            key
        };
        self.users.connected(&name.1, slot);
        let slots = self.sessions.by_key.remove(&session).map(|s| s.slots).unwrap_or_default();
        self.sessions.by_key.insert(
            session,
            Session {
                id: name.0,
                user: name.1,
                generation: hello.generation,
                place: Place::Connected(slot),
                slots,
            },
        );
        if let Some(connection) = self.connections.get_mut(slot) {
            connection.heard = now;
            connection.talk = Talk::Open(Box::new(Open::new(session, credentials.clone())));
        }
        self.send(
            slot,
            Welcome {
                term: self.identity.term,
                heartbeat_ms: u32::try_from(self.config.heartbeat.as_millis()).unwrap_or(u32::MAX),
                now_ms: now.0,
                documents_max: self.config.documents_max,
            },
        );
        self.credit(now, slot, credentials);
    }

    /// Makes room for a newer connection of a session: closes the older one, if it is still there,
    /// and leaves the leases alone.
    fn take_over(&mut self, now: Timestamp, key: SessionKey) {
        if let Some(old) = self.sessions.get(key).and_then(Session::slot) {
            self.dismiss(now, old, Code::Replaced);
        }
        // The grace time is over, also the one that has just begun.
        if let Some(Place::Away(until)) = self.sessions.get(key).map(|session| session.place) {
            self.timers.disarm(until, Timer::Grace(key));
        }
    }

    fn bye(&mut self, now: Timestamp, slot: Slot) {
        if let Some(session) = self.connections.open(slot).map(|open| open.session) {
            self.end_leases_of(now, session);
        }
        self.leave_all(now, slot);
        self.close(now, slot, CloseCode::NORMAL);
    }

    fn end_leases_of(&mut self, now: Timestamp, session: SessionKey) {
        let slots = self.sessions.get(session).map(|s| s.slots.clone()).unwrap_or_default();
        for handle in slots {
            self.end_lease(handle, session);
            self.watch_idle(now, handle);
        }
    }

    /// The grace time of a session may be over.
    pub(super) fn grace_over(&mut self, now: Timestamp, session: SessionKey) {
        if self.sessions.get(session).is_some_and(|s| s.slot().is_none()) {
            self.end_leases_of(now, session);
            let Some(session_over) = self.sessions.remove(session) else { return };
            self.users.session_over(&session_over.user);
            for handle in session_over.slots {
                if let Some(live) = self.documents.live_mut(handle) {
                    live.leases.forfeit(session);
                }
            }
        }
    }

    /// A connection may have been silent for too long.
    pub(super) fn silence(&mut self, now: Timestamp, id: ConnectionId) {
        let Some(slot) = self.connections.slot(id) else { return };
        let Some(connection) = self.connections.get_mut(slot) else { return };
        let patience = match connection.talk {
            Talk::Greeting => self.config.greeting,
            Talk::Open(_) => self.config.heartbeat * 2,
        };
        let deadline = connection.heard + patience;
        if now < deadline {
            connection.wake = deadline;
            self.timers.arm(deadline, Timer::Silence(id));
        } else {
            self.dismiss(now, slot, Code::HeartbeatTimeout);
        }
    }

    /// Sends a frame on a connection.
    pub(super) fn send(&mut self, slot: Slot, frame: impl Into<ServerFrame>) {
        let Some(connection) = self.connections.get_mut(slot) else { return };
        match frame.into().encode() {
            Ok(message) => {
                self.out.send(connection, slot, message, self.config.unread_bytes_max);
            }
            // Every frame is built to fit. Were one not, its reader could not go on without it.
            Err(_) => {
                self.out.doomed.push((Peer { slot, id: connection.id }, Code::FrameTooLarge));
            }
        }
    }

    /// Tells a connection what was wrong and goes on with it.
    pub(super) fn complain(
        &mut self,
        slot: Slot,
        code: Code,
        message: &str,
        address: Option<String>,
    ) {
        let retry_after_ms = self.retry_after(slot, code);
        let message = message.to_owned();
        let frame = Error { code: code.number(), message, address, fatal: false, retry_after_ms };
        self.send(slot, frame);
    }

    /// Tells a connection that something takes longer.
    pub(super) fn complain_for(&mut self, slot: Slot, code: Code, message: &str, wait: Duration) {
        let message = message.to_owned();
        let (address, retry_after_ms) = (None, Some(millis(wait)));
        let frame = Error { code: code.number(), message, address, fatal: false, retry_after_ms };
        self.send(slot, frame);
    }

    /// When a connection should ask again for what it was refused for this.
    pub(super) fn retry_after(&self, slot: Slot, code: Code) -> Option<u32> {
        let later = matches!(
            code,
            Code::ShuttingDown
                | Code::DocumentUnavailable
                | Code::Overloaded
                | Code::FeedUnavailable
        );
        let connection = self.connections.get(slot).filter(|_| later);
        connection.map(|connection| self.return_after(connection.id))
    }

    /// Tells a connection what was wrong and ends it.
    pub(super) fn fail(&mut self, now: Timestamp, slot: Slot, code: Code, message: &str) {
        let message = message.to_owned();
        let retry_after_ms = None;
        let frame = Error {
            code: code.number(),
            message,
            address: None,
            fatal: fatal(code),
            retry_after_ms,
        };
        self.send(slot, frame);
        self.close(now, slot, CloseCode::of(code));
    }

    /// Says goodbye to a connection and ends it.
    pub(super) fn dismiss(&mut self, now: Timestamp, slot: Slot, code: Code) {
        let Some(id) = self.connections.get(slot).map(|connection| connection.id) else { return };
        let retry_after_ms = if fatal(code) { None } else { Some(self.return_after(id)) };
        self.send(slot, Goodbye { code: code.number(), retry_after_ms });
        self.close(now, slot, CloseCode::of(code));
    }

    /// Says goodbye to a connection that may come back after a while.
    pub(super) fn send_away(&mut self, now: Timestamp, slot: Slot, code: Code, wait: Duration) {
        let Some(id) = self.connections.get(slot).map(|connection| connection.id) else { return };
        let retry_after_ms = Some(millis(wait).saturating_add(self.return_after(id)));
        self.send(slot, Goodbye { code: code.number(), retry_after_ms });
        self.close(now, slot, CloseCode::of(code));
    }

    pub(super) fn dismiss_all(&mut self, now: Timestamp, code: Code) {
        for slot in self.connections.all() {
            self.dismiss(now, slot, code);
        }
    }

    /// Ends the connections that took too little of what they were sent.
    pub(super) fn dismiss_doomed(&mut self, now: Timestamp) {
        while let Some((peer, code)) = self.out.doomed.pop() {
            if self.connections.peer_mut(peer).is_some() {
                self.dismiss(now, peer.slot, code);
            }
        }
    }

    fn close(&mut self, now: Timestamp, slot: Slot, code: CloseCode) {
        if let Some(connection) = self.connections.get(slot) {
            self.out.push(Effect::Close { connection: connection.id, code });
            self.part(now, slot);
        }
    }

    pub(super) fn closed(&mut self, now: Timestamp, id: ConnectionId) {
        if let Some(slot) = self.connections.slot(id) {
            self.part(now, slot);
        }
    }

    /// Forgets a connection. Its session's leases are kept for the grace time.
    fn part(&mut self, now: Timestamp, slot: Slot) {
        let Some(connection) = self.connections.remove(slot) else { return };
        self.timers.disarm(connection.wake, Timer::Silence(connection.id));
        let Talk::Open(open) = connection.talk else { return };
        self.users.disconnected(&open.credentials.user, slot);
        if let Some(at) = open.credentials.expires {
            self.timers.disarm(at, Timer::Expiry(connection.id));
        }
        if let Some(request) = open.reading {
            self.requests.remove(&request);
        }
        for handle in open.documents {
            self.forget_follower(now, handle, slot);
        }
        self.gone_from(now, slot, open.spaces);
        for stream in open.streams.handles() {
            self.part_from_stream(now, stream, slot);
        }
        for space in open.feeds {
            self.leave_feed(slot, &space);
        }
        if let Some(session) = self.sessions.get_mut(open.session)
            && session.slot() == Some(slot)
        {
            let until = now + self.config.grace;
            session.place = Place::Away(until);
            self.timers.arm(until, Timer::Grace(open.session));
        }
    }

    pub(super) fn drained(&mut self, now: Timestamp, id: ConnectionId) {
        if let Some(slot) = self.connections.slot(id) {
            if let Some(connection) = self.connections.get_mut(slot) {
                connection.outstanding = 0;
            }
            self.catch_up_everywhere(now, slot);
            self.pump_streams(slot);
            self.pump(slot);
            self.pump_feeds(slot);
        }
    }
}

fn millis(wait: Duration) -> u32 {
    u32::try_from(wait.as_millis()).unwrap_or(u32::MAX)
}

impl Hub {
    /// When a connection is to come back: drawn over a time that grows with how many sessions there
    /// are, so that not all come at once.
    pub(super) fn return_after(&self, id: ConnectionId) -> u32 {
        // Sessions stay for their grace time, so that all who are sent away together count alike.
        let sessions = self.sessions.len() as u64;
        let rate = u64::from(self.config.returns_per_second.max(1));
        let spread = (sessions * 1_000 / rate).clamp(RETURN_SPREAD_MS_MIN, RETURN_SPREAD_MS_MAX);
        let after = RETURN_MS_MIN + mix(self.jitter ^ id.0) % (spread + 1);
        u32::try_from(after).unwrap_or(u32::MAX)
    }
}

/// The finalizer of SplitMix64: neighbouring numbers become numbers that look drawn at random.
const fn mix(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
