//! The client machine: one connection at a time, the documents that are open, their replicas and
//! their outboxes, and what of it is on the device's store.
//!
//! The session decides; a driver carries out. The way of a command through it: [`Input::Command`]
//! applies to the replica at once (the view changes in the same call); [`Effect::Write`] stores it;
//! once [`Input::Written`] says that it is stored, it is pushed; the server's acknowledgement
//! resolves it ([`Notice::Resolved`]), exactly once.
//!
//! The session must never know sockets, files, threads, clocks or random sources, and nothing of
//! the server but its frames.

mod config;
mod contact;
mod contract;
mod edits;
mod endings;
mod epochs;
mod feeds;
mod frames;
mod known;
mod layout;
mod link;
mod open;
mod presence;
mod random;
mod removal;
mod streams;
#[cfg(test)]
mod tests;
mod upkeep;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;

pub use self::config::Config;
pub use self::contract::{
    CommandId, ConnectionId, ConnectionStatus, DocumentStatus, Effect, Identity, Input, Notice,
    StoreToken, StoreWrite,
};
use self::edits::Typing;
pub use self::endings::Ending;
use self::endings::Endings;
use self::feeds::Followed;
pub use self::feeds::{FeedStatus, FeedView};
pub use self::known::Execution;
use self::known::Known;
use self::layout::Meta;
pub use self::layout::{DOCUMENTS_PREFIX, LayoutError, META_PREFIX, address_of_key};
use self::link::{Due, Link};
use self::open::{Body, OpenDocument};
use self::presence::Spaces;
pub use self::presence::{
    Counts, Device, Member, PresenceEvent, Saying, SpaceAct, SpaceNews, SpaceStatus,
};
use self::random::Random;
pub use self::streams::{InterruptId, ReaderId, ReaderState, StreamError, Taken, WriterState};
use crate::clock::Timestamp;
use crate::codes::Code;
use crate::document::{CommandError, Event, View};
use crate::ids::{ActorId, Address, OutboxId, SessionId, UserId};
use crate::machine::{Machine, Wake};
use crate::policy::Refusal;
use crate::replica::{Outcome, Pending, Replica, ReplicaError};
pub use crate::replica::{Resolution, UndoError};
use crate::wire::ClientFrame;
use crate::wire::frame::{Ping, Release, RequestLease, Unsubscribe};

/// A command was not taken on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExecuteError {
    /// The document is not open, or is still being read from the store.
    #[error("the document is not open")]
    NotOpen,
    /// The document can't be used; what is stored of it stays as it is.
    #[error("the document can't be used: {0}")]
    Broken(Code),
    /// The work that waits to be sent takes as many bytes as it may.
    #[error("work of {0} bytes waits to be sent, and no more may be kept on this device")]
    OutboxFull(u64),
    /// The command can't be carried out.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// There is nothing to undo or redo, or it can't be.
    #[error(transparent)]
    Undo(#[from] UndoError),
    /// The user may not do this.
    #[error(transparent)]
    Forbidden(#[from] Refusal),
}

impl ExecuteError {
    /// The stable code.
    #[must_use]
    pub const fn code(&self) -> Code {
        match self {
            Self::NotOpen => Code::NotFound,
            Self::Broken(code) => *code,
            Self::OutboxFull(_) => Code::OutboxFull,
            Self::Command(error) => error.code(),
            Self::Undo(error) => error.code(),
            Self::Forbidden(refusal) => refusal.code,
        }
    }
}

/// What a session has done so far, and what it holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Documents that are open or still have pending work.
    pub documents: usize,
    /// Of these, caught up with the server.
    pub live: usize,
    /// Commands without an end.
    pub pending: usize,
    /// Bytes of messages sent.
    pub bytes_sent: u64,
    /// Bytes of messages received.
    pub bytes_received: u64,
    /// Changes received from logs.
    pub changes_received: u64,
    /// Bytes of work that waits to be sent.
    pub outbox_bytes: u64,
    /// When the oldest command without an end was made.
    pub oldest_pending: Option<Timestamp>,
    /// When the next attempt to connect will be made.
    pub next_attempt: Option<Timestamp>,
    /// Commands that were rolled back and not dismissed.
    pub refused: usize,
}

impl Stats {
    /// Counts a document that was in one state and is in another; `None` where it is not held.
    fn count(&mut self, before: Option<DocumentStatus>, after: Option<DocumentStatus>) {
        let of = |status: Option<DocumentStatus>| {
            status.map_or((0, 0), |status| (usize::from(status.live), status.pending))
        };
        let ((live, pending), (more_live, more_pending)) = (of(before), of(after));
        self.live = self.live + more_live - live;
        self.pending = self.pending + more_pending - pending;
    }
}

/// The client machine.
#[derive(Debug)]
pub struct Session {
    identity: Identity,
    config: Config,
    random: Random,
    session: SessionId,
    outbox: OutboxId,
    generation: u64,
    link: Link,
    documents: BTreeMap<Address, OpenDocument>,
    /// Handles of this connection.
    handles: BTreeMap<u32, Address>,
    reads: BTreeMap<StoreToken, Address>,
    /// Until when pushes are held back.
    gathered: BTreeMap<Address, Timestamp>,
    /// When to ask the app for a new token.
    token_wanted_at: Option<Timestamp>,
    /// When documents are looked after next.
    next_round: Timestamp,
    /// Bytes of commands in the store.
    outbox_bytes: u64,
    /// Documents with commands that have no end, by when the oldest was made.
    waiting_since: BTreeSet<(Timestamp, Address)>,
    /// When to subscribe again to documents that the server could not open.
    retries: BTreeMap<Address, Timestamp>,
    effects: VecDeque<Effect>,
    /// Writes gathered while an input is handled; they go out as one.
    writes: Vec<StoreWrite>,
    last_token: StoreToken,
    /// The token under which the gathered writes will go out, once somebody asked for it.
    gathering: Option<StoreToken>,
    last_write: StoreToken,
    durable: StoreToken,
    /// Documents of which something changed while an input is handled.
    touched: BTreeSet<Address>,
    /// Documents that may have an actor to give back.
    releasing: BTreeSet<Address>,
    /// The server's ownership term, as it said last.
    term: u64,
    /// Documents with commands that may not be on the device's disk yet.
    unstored: BTreeSet<Address>,
    /// The store holds this start's generation only from here on.
    identity_stored: StoreToken,
    told: Option<ConnectionStatus>,
    stopping: bool,
    /// Until this write is durable, the end of the app waits.
    leaving_after: Option<StoreToken>,
    stats: Stats,
    endings: Endings,
    known: Known,
    /// Documents in which somebody types.
    typing: BTreeMap<Address, Typing>,
    spaces: Spaces,
    /// By space.
    feeds: BTreeMap<String, Followed>,
    /// When the input that is being handled came.
    now: Timestamp,
    streams: streams::Streams,
}

impl Session {
    /// Begins a session from what the store holds under [`META_PREFIX`]. It begins disconnected.
    ///
    /// # Errors
    /// [`LayoutError`] if the store's identity can't be read.
    pub fn new(
        identity: Identity,
        config: Config,
        stored: &[(Vec<u8>, Bytes)],
    ) -> Result<Self, LayoutError> {
        let mut random = Random::new(identity.seed);
        let meta = layout::read_meta(stored)?.unwrap_or_else(|| Meta {
            session: SessionId(random.bytes()),
            outbox: OutboxId(random.bytes()),
            opened: 0,
            pending: Vec::new(),
            endings: Vec::new(),
        });
        let mut session = Self {
            identity,
            config,
            random,
            session: meta.session,
            outbox: meta.outbox,
            generation: meta.opened << 32,
            link: Link::new(),
            documents: BTreeMap::new(),
            handles: BTreeMap::new(),
            reads: BTreeMap::new(),
            gathered: BTreeMap::new(),
            token_wanted_at: None,
            next_round: Timestamp(0),
            outbox_bytes: 0,
            waiting_since: BTreeSet::new(),
            retries: BTreeMap::new(),
            effects: VecDeque::new(),
            writes: Vec::new(),
            last_token: StoreToken(0),
            gathering: None,
            last_write: StoreToken(0),
            durable: StoreToken(0),
            touched: BTreeSet::new(),
            releasing: BTreeSet::new(),
            term: 0,
            unstored: BTreeSet::new(),
            identity_stored: StoreToken(1),
            told: None,
            stopping: false,
            leaving_after: None,
            stats: Stats::default(),
            endings: Endings::new(meta.endings),
            known: Known::default(),
            typing: BTreeMap::new(),
            spaces: Spaces::default(),
            feeds: BTreeMap::new(),
            now: Timestamp(0),
            streams: streams::Streams::default(),
        };
        session.writes.push(layout::put_meta(meta.session, meta.outbox, meta.opened + 1));
        session.flush_writes();
        for address in meta.pending {
            session.open(&address);
        }
        Ok(session)
    }

    /// Who is here.
    #[must_use]
    pub const fn user(&self) -> &UserId {
        &self.identity.user
    }

    /// What the user sees of a document, if it is open and read.
    #[must_use]
    pub fn view(&self, address: &Address) -> Option<&View> {
        self.replica(address).map(Replica::view)
    }

    /// An open document's replica.
    #[must_use]
    pub fn replica(&self, address: &Address) -> Option<&Replica> {
        self.documents.get(address)?.replica()
    }

    /// Where an open document is.
    #[must_use]
    pub fn status(&self, address: &Address) -> Option<DocumentStatus> {
        self.documents.get(address).map(OpenDocument::status)
    }

    /// Where the connection is.
    #[must_use]
    pub fn connection(&self, now: Timestamp) -> ConnectionStatus {
        self.link.status(now)
    }

    /// What the session holds and has done.
    #[must_use]
    pub fn stats(&self) -> Stats {
        Stats {
            documents: self.documents.len(),
            outbox_bytes: self.outbox_bytes,
            next_attempt: self.link.next_attempt(),
            refused: self.endings.rolled_back(),
            oldest_pending: self.waiting_since.first().map(|(at, _)| *at),
            ..self.stats
        }
    }

    /// How many documents it holds, those included that the app has closed and that are still being
    /// sent. No notice tells that one of these is done with.
    #[must_use]
    pub fn documents(&self) -> usize {
        self.documents.len()
    }

    fn open(&mut self, address: &Address) {
        match self.documents.get(address).map(|document| &document.body) {
            Some(Body::Loading | Body::Ready(_)) => return,
            // Opening it again is how an app says: try again.
            Some(Body::Broken(_)) => self.forget(address),
            None => {}
        }
        self.documents.insert(address.clone(), OpenDocument::new(self.outbox));
        let token = self.next_token();
        self.reads.insert(token, address.clone());
        let prefix = layout::document_prefix(address);
        self.effects.push_back(Effect::Read { token, prefix });
    }

    fn read(
        &mut self,
        now: Timestamp,
        token: StoreToken,
        result: Result<Vec<(Vec<u8>, Bytes)>, String>,
    ) {
        let Some(address) = self.reads.remove(&token) else { return };
        match result {
            Ok(entries) => self.loaded(now, &address, &entries),
            Err(message) => {
                if let Some(document) = self.documents.get_mut(&address) {
                    document.body = Body::Broken(Code::LocalStore);
                }
                self.problem(Some(address), Code::LocalStore, message);
            }
        }
    }

    fn loaded(&mut self, now: Timestamp, address: &Address, entries: &[(Vec<u8>, Bytes)]) {
        let provisional = ActorId::provisional(self.random.number());
        let encoding = self.config.text_encoding;
        let Some(document) = self.documents.get_mut(address) else {
            return;
        };
        let loaded = layout::read_document(address, entries)
            .map_err(|error| error.to_string())
            .and_then(|layout::StoredDocument { replica: stored, tails, begun }| {
                let numbers: BTreeMap<u64, u64> =
                    stored.outbox.iter().map(|p| (p.number, stored_bytes(p))).collect();
                let replica = if stored.cursor.is_none() && stored.outbox.is_empty() {
                    Replica::new(address.clone(), encoding, provisional)
                } else {
                    Replica::load(address.clone(), encoding, provisional, stored)
                        .map_err(|error| error.to_string())?
                };
                Ok((replica, tails, numbers, begun))
            });
        match loaded {
            Ok((replica, tails, numbers, begun)) => {
                document.may = layout::read_may(address, entries);
                let mut replica = replica;
                replica.set_undo_max(self.config.undo_max);
                document.pushed = replica.settled();
                document.tails = tails;
                self.outbox_bytes += numbers.values().sum::<u64>();
                self.known.read(replica.pending(), self.config.known_max);
                document.stored_numbers = numbers;
                document.body = Body::Ready(Box::new(replica));
                self.resume_move(address, begun);
                self.touch(address);
                self.subscribe(now, address);
                self.release(address);
            }
            Err(message) => {
                document.body = Body::Broken(Code::LocalStore);
                self.problem(Some(address.clone()), Code::LocalStore, message);
            }
        }
    }

    /// Subscribes if there is a connection and the document is not subscribed yet.
    fn subscribe(&mut self, now: Timestamp, address: &Address) {
        let Some(document) = self.documents.get_mut(address) else {
            return;
        };
        if self.link.up().is_none() || !matches!(document.sync, open::Sync::Apart) {
            return;
        }
        if let Some(subscribe) = document.subscribe() {
            document.sync = open::Sync::Asked;
            document.lease_asked = subscribe.write;
            document.heard = now;
            self.send(subscribe.into());
        }
    }

    /// Asks for a lease if there is work for one and none is held or asked for.
    fn want_lease(&mut self, address: &Address) {
        let Some(document) = self.documents.get_mut(address) else {
            return;
        };
        let has_lease = document.granted.is_some()
            || document.begun.is_some()
            || document.lease_asked
            || document.replica().is_none_or(|r| r.lease().is_some() || r.unsettled() == 0);
        if has_lease {
            return;
        }
        if let Some(handle) = document.sync.handle() {
            document.lease_asked = true;
            self.send(RequestLease { handle }.into());
        }
    }

    /// Closes a document on both sides, whatever is pending in it; what is stored stays.
    fn forget(&mut self, address: &Address) {
        let Some(document) = self.documents.remove(address) else {
            return;
        };
        self.outbox_bytes -= document.stored_numbers.values().sum::<u64>();
        if let Some(at) = document.waiting_since {
            self.waiting_since.remove(&(at, address.clone()));
        }
        self.stats.count(document.told, None);
        if let Some(handle) = document.sync.handle() {
            self.handles.remove(&handle);
            if document.can_release(self.durable) {
                self.send(Release { handle }.into());
            }
            self.send(Unsubscribe { handle }.into());
        }
    }

    /// Gives the actors of ended leases back under which nothing is open any more.
    fn release_actors(&mut self) {
        for address in std::mem::take(&mut self.releasing) {
            let Some(document) = self.documents.get_mut(&address) else { continue };
            match document.sync.handle() {
                Some(handle) if document.owes && document.can_release(self.durable) => {
                    document.owes = false;
                    self.send(Release { handle }.into());
                }
                Some(_) if document.owes => {
                    self.releasing.insert(address.clone());
                }
                Some(_) | None => {}
            }
            self.release(&address);
        }
    }

    /// Drops documents that nobody wants and that have nothing left to send.
    fn release(&mut self, address: &Address) {
        let Some(document) = self.documents.get(address) else {
            return;
        };
        let idle = match &document.body {
            Body::Loading => false,
            Body::Ready(replica) => replica.pending().len() == 0,
            Body::Broken(_) => true,
        };
        if document.wanted || !idle {
            return;
        }
        // Who leaves without having given its actor back, costs the document that actor.
        let waits = document.holds_actor() && document.release_after > self.durable;
        if waits && document.sync.handle().is_some() {
            self.releasing.insert(address.clone());
            return;
        }
        // While Subscribe is unanswered, the answer would name a document that is gone.
        if !matches!(document.sync, open::Sync::Asked) {
            self.forget(address);
        }
    }

    fn tick(&mut self, now: Timestamp) {
        match self.link.due(now, &self.config) {
            // What it is called is not on disk yet, or it is only waiting for the disk to end.
            Some(Due::Connect) if self.stopping || self.durable < self.identity_stored => {
                self.link.wait(now, &self.config, &mut self.random);
            }
            Some(Due::Connect) => self.connect(now),
            Some(Due::GiveUp) => self.hang_up(now),
            Some(Due::Rest) => self.turn(now),
            Some(Due::Ping) => self.send(Ping { nonce: now.0 }.into()),
            None => {}
        }
        let due: Vec<Address> =
            self.retries.iter().filter(|(_, at)| **at <= now).map(|(a, _)| a.clone()).collect();
        for address in due {
            self.retries.remove(&address);
            self.subscribe(now, &address);
        }
        if self.token_wanted_at.is_some_and(|at| at <= now) {
            self.token_wanted_at = None;
            self.notify(Notice::TokenWanted);
        }
        self.flush_due(now);
        self.go_on_with_streams(now);
        self.push_gathered(now);
        self.retry_feeds(now);
        self.make_round(now);
        self.pass_time_in_spaces(now);
    }

    fn written(&mut self, now: Timestamp, token: StoreToken, result: Result<(), String>) {
        if let Err(message) = result {
            self.problem(None, Code::LocalStore, message.clone());
            self.hang_up(now);
            self.link.fail(Code::LocalStore, message);
            return;
        }
        let was_unknown = self.durable < self.identity_stored;
        // Nothing is durable that was not asked for.
        self.durable = self.durable.max(token.min(self.last_write));
        self.tell_stored_endings();
        for address in std::mem::take(&mut self.unstored) {
            if let Some(document) = self.documents.get_mut(&address) {
                document.stored(token);
                if !document.unstored.is_empty() {
                    self.unstored.insert(address.clone());
                }
                self.touched.insert(address);
            }
        }
        if was_unknown && self.durable >= self.identity_stored {
            self.turn(now);
        }
    }

    /// What follows from every input: push what can be, store what was gathered, tell the status.
    fn settle(&mut self, now: Timestamp) {
        for address in std::mem::take(&mut self.touched) {
            self.push(now, &address);
            if let Some(document) = self.documents.get_mut(&address) {
                let status = document.status();
                if document.told != Some(status) {
                    self.stats.count(document.told, Some(status));
                    document.told = Some(status);
                    self.notify(Notice::Document { address: address.clone(), status });
                }
            }
            self.note_waiting(address);
        }
        self.leave_if_stored(now);
        self.release_actors();
        self.flush_writes();
        self.tell_connection(now);
        if self.stopping && self.leaving_after.is_none() && self.durable >= self.last_write {
            self.stopping = false;
            self.effects.push_back(Effect::Stop);
        }
    }

    /// Keeps count of since when a document has commands without an end.
    fn note_waiting(&mut self, address: Address) {
        let Some(document) = self.documents.get_mut(&address) else { return };
        let since = document.replica().and_then(Replica::oldest_unsettled);
        let before = std::mem::replace(&mut document.waiting_since, since);
        if before != since {
            if let Some(at) = before {
                self.waiting_since.remove(&(at, address.clone()));
            }
            self.waiting_since.extend(since.map(|at| (at, address)));
        }
    }

    fn push(&mut self, now: Timestamp, address: &Address) {
        if self.link.up().is_none() {
            return;
        }
        let (changes_max, in_flight_max) =
            (self.config.push_changes_max, self.config.in_flight_max);
        self.gathered.remove(address);
        while let Some(document) = self.documents.get_mut(address) {
            if let Some(until) = document.gathers_until(now, &self.config) {
                self.gathered.insert(address.clone(), until);
                return;
            }
            if !document.awaits_answer() {
                document.heard = now;
            }
            let Some(push) = document.next_push(changes_max, in_flight_max) else { return };
            document.pushed_at = now;
            self.send(push.into());
        }
    }

    /// Marks a document as one to push and to report on when this input is done with.
    fn touch(&mut self, address: &Address) {
        self.touched.insert(address.clone());
    }

    /// Tells and stores what a step of a replica did.
    fn absorb(&mut self, address: &Address, outcome: Outcome, local: bool) {
        self.touch(address);
        if !self.documents.contains_key(address) {
            return;
        }
        if outcome.left_behind {
            let message = "the document went on for too long without this device; what was pending \
                           here is kept as refused";
            self.problem(Some(address.clone()), Code::TooOld, message.to_owned());
        }
        self.store_outbox(address, outcome.rewritten, !outcome.ended.is_empty());
        self.tell_changed(address, outcome.events, local);
        self.record_all(address, outcome.ended, outcome.rewritten);
    }

    /// Brings the stored outbox in line with the replica's.
    fn store_outbox(&mut self, address: &Address, rewritten: bool, ended: bool) {
        let token = self.write_token();
        let Some(document) = self.documents.get_mut(address) else {
            return;
        };
        let Body::Ready(replica) = &document.body else {
            return;
        };
        let was_empty = document.stored_numbers.is_empty();
        let gone: Vec<u64> = if rewritten {
            let numbers = replica.pending().map(|p| (p.number, stored_bytes(p))).collect();
            self.outbox_bytes -= document.stored_numbers.values().sum::<u64>();
            let stored = std::mem::replace(&mut document.stored_numbers, numbers);
            self.outbox_bytes += document.stored_numbers.values().sum::<u64>();
            stored.into_keys().filter(|n| !document.stored_numbers.contains_key(n)).collect()
        } else {
            // Otherwise what is pending only ever ends in its order.
            let first = replica.pending().next().map_or(u64::MAX, |first| first.number);
            let rest = document.stored_numbers.split_off(&first);
            let gone = std::mem::replace(&mut document.stored_numbers, rest);
            self.outbox_bytes -= gone.values().sum::<u64>();
            gone.into_keys().collect()
        };
        let mut writes: Vec<StoreWrite> =
            gone.iter().map(|number| layout::delete_command(address, *number)).collect();
        if rewritten {
            document.pushed = replica.settled();
            document.unstored.clear();
            for pending in replica.pending() {
                writes.push(layout::put_command(address, pending));
                document.unstored.push_back((pending.number, token));
            }
        }
        if was_empty != document.stored_numbers.is_empty() {
            writes.push(layout::mark_pending(address, was_empty));
        }
        if rewritten || ended || !gone.is_empty() {
            writes.push(layout::put_settled(address, replica.settled()));
            // Whoever starts again on a store that does not say what is settled goes on under the
            // actor where that has ended, so nobody else may have it by then.
            document.release_after = token;
        }
        if !document.unstored.is_empty() {
            self.unstored.insert(address.clone());
        }
        self.writes.extend(writes);
    }

    fn tell_changed(&mut self, address: &Address, events: Vec<Event>, local: bool) {
        if !events.is_empty() {
            self.notify(Notice::Changed { address: address.clone(), events, local });
        }
    }

    /// The replica can't go on: its stored data stays, and the document is not synced further.
    fn broken(&mut self, address: &Address, error: &ReplicaError) {
        if let Some(document) = self.documents.get_mut(address) {
            document.body = Body::Broken(Code::DocumentUnavailable);
        }
        self.touch(address);
        let message = match std::error::Error::source(error) {
            Some(source) => format!("{error}: {source}"),
            None => error.to_string(),
        };
        self.problem(Some(address.clone()), Code::DocumentUnavailable, message);
    }

    fn problem(&mut self, address: Option<Address>, code: Code, message: String) {
        self.notify(Notice::Problem { address, code, message });
    }

    fn notify(&mut self, notice: Notice) {
        self.effects.push_back(Effect::Notify(notice));
    }

    fn send(&mut self, frame: ClientFrame) {
        let Some(connection) = self.link.current() else {
            return;
        };
        match frame.encode() {
            Ok(message) => {
                self.stats.bytes_sent += message.len() as u64;
                self.effects.push_back(Effect::Send { connection, message });
            }
            Err(error) => self.problem(None, Code::FrameTooLarge, error.to_string()),
        }
    }

    fn next_token(&mut self) -> StoreToken {
        self.last_token.0 += 1;
        self.last_token
    }

    /// The token of the write that this input's changes to the store will be part of.
    fn write_token(&mut self) -> StoreToken {
        if let Some(token) = self.gathering {
            return token;
        }
        let token = self.next_token();
        self.gathering = Some(token);
        token
    }

    fn flush_writes(&mut self) {
        if self.writes.is_empty() {
            return;
        }
        let token = self.write_token();
        self.gathering = None;
        self.last_write = token;
        let writes = std::mem::take(&mut self.writes);
        self.effects.push_back(Effect::Write { token, writes });
    }
}

/// About how many bytes a command takes in the store.
fn stored_bytes(pending: &Pending) -> u64 {
    // The command itself is about as long as what it changes.
    2 * pending.change.raw_bytes().len() as u64
}

impl Machine for Session {
    type Input = Input;
    type Effect = Effect;

    fn handle(&mut self, now: Timestamp, input: Input) {
        self.now = now;
        match input {
            Input::SetOnline(online) => {
                self.link.want(online);
                self.turn(now);
                if online {
                    self.connect(now);
                }
            }
            Input::SetNetwork(network) => {
                self.link.set_network(network);
                self.turn(now);
            }
            Input::SetVisible(visible) => {
                self.link.set_visible(now, visible);
                self.turn(now);
                if visible {
                    self.user_did_something(now);
                }
            }
            Input::Active => self.user_did_something(now),
            Input::Space { space, act } => self.act(now, &space, act),
            Input::Reconnect => {
                // Who asks by hand looks at the app, and may know better than the platform.
                self.link.set_network(true);
                self.link.set_visible(now, true);
                self.connect(now);
            }
            Input::SetToken(token) => self.set_token(now, token),
            Input::Open { address, write } => {
                self.open(&address);
                if let Some(document) = self.documents.get_mut(&address) {
                    document.wanted = true;
                    document.write |= write;
                }
            }
            Input::Close { address } => {
                self.flush_typing(&address);
                if let Some(document) = self.documents.get_mut(&address) {
                    document.wanted = false;
                    document.write = false;
                }
                self.release(&address);
            }
            Input::FollowFeed { space, newest } => self.follow_feed(&space, newest),
            Input::LeaveFeed { space } => self.leave_feed(space),
            Input::Command { id, address, command } => {
                if let Err(error) = self.execute(now, id, &address, command.clone()) {
                    let resolution =
                        Resolution::Refused { code: error.code(), message: error.to_string() };
                    self.notify(Notice::Resolved { id, address, command, resolution });
                }
            }
            Input::Taken { id } => self.taken(id),
            Input::Dismissed { id } => self.dismissed(id),
            Input::Connected { connection } => self.opened(connection),
            Input::Received { connection, message } => self.received(now, connection, &message),
            Input::Disconnected { connection, code, reason } => {
                self.disconnected(now, connection, code, reason);
            }
            Input::Written { token, result } => self.written(now, token, result),
            Input::Read { token, result } => self.read(now, token, result),
            Input::Tick => self.tick(now),
            Input::Shutdown => self.shutdown(now),
        }
        self.settle(now);
    }

    fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    fn poll_timeout(&self) -> Option<Wake> {
        let wake = Wake::earlier(self.link.wake(&self.config), self.upkeep_wake());
        let apart = Wake::earlier(self.spaces_wake(), self.streams_wake());
        let wake = Wake::earlier(wake, self.feeds_wake());
        Wake::earlier(Wake::earlier(wake, self.typing_wake()), apart)
    }
}
