//! A hub over a log in memory, and devices that follow it under real leases. Messages are the real
//! bytes; only sockets and disks are missing.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use automerge::{Change, TextEncoding};
use bytes::Bytes;
use syncline_engine::clock::Timestamp;
use syncline_engine::document::Command;
use syncline_engine::hub::{
    Config, ConnectionId, Effect, Hub, Identity, Input, compact, index, load, roll_over, rules,
    summarise,
};
use syncline_engine::ids::{ActorId, Address, Cursor, Epoch, Lease, Tip, Ulid};
use syncline_engine::machine::Machine;
use syncline_engine::replica::Replica;
use syncline_engine::storage::record::DigestKey;
use syncline_engine::storage::{Append, LogHead, LogStore, Snapshot};
use syncline_engine::wire::frame::{
    Blob, Bye, Changes, Push, Release, Resume, Subscribe, Subscribed, WireCursor, WireLease,
};
use syncline_engine::wire::{ClientFrame, ServerFrame, unpack};
use syncline_server::store::MemoryStore;

use crate::raw::hello;

/// A hub, its store, and what arrived at its connections.
#[derive(Debug)]
pub struct World {
    /// The server machine.
    pub hub: Hub,
    /// Its log.
    pub store: MemoryStore,
    /// Time spent in the hub itself since this was last set.
    pub in_hub: Duration,
    /// Bytes sent to clients since this was last set.
    pub bytes_down: usize,
    /// Whether commits wait for [`World::commit`].
    pub hold_commits: bool,
    now: Timestamp,
    inbox: BTreeMap<ConnectionId, Vec<Bytes>>,
    unread: BTreeSet<ConnectionId>,
    held: Option<Vec<Append>>,
    connections: u64,
}

impl World {
    /// A hub on an empty log.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self {
            hub: Hub::new(config, Identity { term: 1, digest_key: DigestKey([7; 32]) }),
            store: MemoryStore::new(),
            in_hub: Duration::ZERO,
            bytes_down: 0,
            hold_commits: false,
            now: Timestamp(1_700_000_000_000),
            inbox: BTreeMap::new(),
            unread: BTreeSet::new(),
            held: None,
            connections: 0,
        }
    }

    /// A hub without documents in memory, on a copy of this log.
    #[must_use]
    pub fn restarted(&self, config: Config) -> Self {
        Self { store: self.store.copy(), ..Self::new(config) }
    }

    /// The time that this world has.
    #[must_use]
    pub const fn now(&self) -> Timestamp {
        self.now
    }

    /// Opens a connection.
    pub fn open(&mut self) -> ConnectionId {
        self.connections += 1;
        let connection = ConnectionId(self.connections);
        self.tell(Input::Opened { connection });
        connection
    }

    /// Sends a frame to the hub and lets it finish.
    ///
    /// # Panics
    /// If the frame is too large.
    pub fn say(&mut self, connection: ConnectionId, frame: impl Into<ClientFrame>) {
        let message = frame.into().encode().expect("a frame of a benchmark fits");
        self.receive(connection, message);
    }

    /// Hands the hub a message and lets it finish.
    pub fn receive(&mut self, connection: ConnectionId, message: Bytes) {
        self.tell(Input::Received { connection, message });
    }

    /// Takes what arrived at a connection.
    pub fn heard(&mut self, connection: ConnectionId) -> Vec<Bytes> {
        self.inbox.remove(&connection).unwrap_or_default()
    }

    /// Makes durable what was held back, until nothing is.
    pub fn commit(&mut self) {
        let hold = std::mem::replace(&mut self.hold_commits, false);
        if let Some(appends) = self.held.take() {
            let input = self.append(&appends);
            self.tell(input);
        }
        self.hold_commits = hold;
    }

    fn append(&self, appends: &[Append]) -> Input {
        Input::Committed { result: self.store.append(appends) }
    }

    fn tell(&mut self, input: Input) {
        self.handle(input);
        loop {
            while let Some(effect) = self.poll() {
                if let Some(answer) = self.carry_out(effect) {
                    self.handle(answer);
                }
            }
            // Every socket takes everything at once.
            let Some(connection) = self.unread.pop_first() else { break };
            self.handle(Input::Drained { connection });
        }
    }

    fn handle(&mut self, input: Input) {
        let begin = Instant::now();
        self.hub.handle(self.now, input);
        self.in_hub += begin.elapsed();
    }

    fn poll(&mut self) -> Option<Effect> {
        let begin = Instant::now();
        let effect = self.hub.poll_effect();
        self.in_hub += begin.elapsed();
        effect
    }

    fn carry_out(&mut self, effect: Effect) -> Option<Input> {
        match effect {
            Effect::Send { connection, message } => {
                self.bytes_down += message.len();
                self.inbox.entry(connection).or_default().push(message);
                self.unread.insert(connection);
                None
            }
            Effect::Close { connection, .. } => {
                self.unread.remove(&connection);
                None
            }
            Effect::Load { address } => {
                let loaded = load(&self.store, &address);
                Some(Input::Loaded { address, fresh_epoch: Epoch([5; 16]), loaded })
            }
            Effect::ReadRules { space } => {
                let rules = rules(&self.store, &space);
                Some(Input::RulesRead { space, rules })
            }
            Effect::Index { address } => {
                let gate = index(&self.store, &address);
                Some(Input::Indexed { address, gate })
            }
            Effect::Commit { appends } if self.hold_commits => {
                self.held = Some(appends);
                None
            }
            Effect::Commit { appends } => Some(self.append(&appends)),
            Effect::Read { request, address, from_seq, bytes_max } => {
                let result = self.store.read(&address, from_seq, bytes_max);
                Some(Input::RecordsRead { request, result })
            }
            Effect::ReadSnapshot { request, address, cursor, offset, bytes_max } => {
                let result = self.store.read_snapshot(&address, cursor, offset, bytes_max);
                Some(Input::SnapshotRead { request, result })
            }
            Effect::Compact { address, cursor, keep_from } => {
                let result = Ok(self.compact(&address, cursor, keep_from));
                Some(Input::Compacted { address, result })
            }
            Effect::RollOver { address, end, at, keep_since } => {
                let result = roll_over(&self.store, &address, end, Epoch([6; 16]), at, keep_since);
                Some(Input::RolledOver { address, result })
            }
            Effect::ReadPosts { request, space, wanted } => {
                let result = self.store.posts(&space, &wanted);
                Some(Input::PostsRead { request, result })
            }
            Effect::Summarise { space, after } => {
                let result = summarise(&self.store, &space, after);
                Some(Input::Summarised { space, result })
            }
            Effect::Hold { .. } | Effect::Stop => None,
            Effect::EmptySpace { .. } | Effect::ForgetUser { .. } | Effect::Rewrite { .. } => {
                unreachable!("no operator is in this world")
            }
        }
    }

    fn compact(&self, address: &Address, cursor: Cursor, keep_from: u64) -> LogHead {
        let store = &self.store;
        let head = store.head(address).ok().flatten().expect("a log to be compacted");
        let old = head.snapshot.as_ref().map(|old| Snapshot {
            cursor: old.cursor,
            body: store
                .read_snapshot(address, old.cursor, 0, usize::MAX)
                .ok()
                .flatten()
                .expect("the snapshot's body"),
            index: old.index.clone(),
            attribution: store
                .read_attribution(address, old.cursor)
                .ok()
                .flatten()
                .expect("the snapshot's attribution"),
        });
        let records = store.read(address, head.tail_from, usize::MAX).expect("a log in memory");
        let snapshot = compact(address, cursor, old.as_ref(), &records).expect("a good log");
        store.put_snapshot(address, &snapshot, keep_from).expect("a store in memory");
        store.head(address).ok().flatten().expect("a log that was compacted")
    }
}

/// One replica behind one connection at a time, with different users in turn.
#[derive(Debug)]
pub struct Device {
    /// The copy of the document.
    pub replica: Replica,
    outbox: [u8; 16],
    connection: ConnectionId,
    handle: u32,
    lease: Option<Lease>,
    pushed: u64,
    commands: u128,
}

impl Device {
    /// A device that knows nothing of the document yet.
    #[must_use]
    pub fn new(address: Address, number: u64) -> Self {
        let mut outbox = [9; 16];
        outbox[..8].copy_from_slice(&number.to_be_bytes());
        let provisional = ActorId::provisional(number);
        Self {
            replica: Replica::new(address, TextEncoding::UnicodeCodePoint, provisional),
            outbox,
            connection: ConnectionId(0),
            handle: 0,
            lease: None,
            pushed: 0,
            commands: 0,
        }
    }

    /// A user arrives: connects, opens the document, catches up and gets a lease.
    ///
    /// # Panics
    /// If the hub answers with anything else.
    pub fn join(&mut self, world: &mut World, user: &str, session: u64) {
        self.connection = world.open();
        let mut id = [3; 16];
        id[..8].copy_from_slice(&session.to_be_bytes());
        world.say(self.connection, hello(user, id, 1));
        let subscribe = Subscribe {
            address: self.replica.address().to_string(),
            cursor: self.replica.cursor().map(wire_cursor),
            outbox: self.outbox,
            write: true,
        };
        world.say(self.connection, subscribe);
        self.listen(world);
        let lease = self.lease.take().expect("a lease with the answer");
        self.replica.adopt(lease).expect("a lease that fits the log");
    }

    /// The user leaves for good; the lease ends.
    pub fn leave(&mut self, world: &mut World) {
        // As a session does that has nothing open under its lease.
        world.say(self.connection, Release { handle: self.handle });
        world.say(self.connection, Bye {});
        world.heard(self.connection);
        self.replica.fall_back().expect("nothing is pending");
    }

    /// Does something and hands it in.
    ///
    /// # Panics
    /// If the command can't be carried out.
    pub fn execute(&mut self, world: &mut World, id: Ulid, command: Command) {
        self.replica.execute(world.now(), id, command).expect("a good command");
        self.push(world);
    }

    /// Does several things and hands them in together.
    ///
    /// # Panics
    /// If one of the commands can't be carried out.
    pub fn execute_all(&mut self, world: &mut World, commands: Vec<Command>) {
        for command in commands {
            self.commands += 1;
            let id = Ulid::new(world.now(), self.commands);
            self.replica.execute(world.now(), id, command).expect("a good command");
        }
        self.push(world);
    }

    /// Hands in what was not.
    pub fn push(&mut self, world: &mut World) {
        let fresh: Vec<_> =
            self.replica.pending().filter(|pending| pending.number > self.pushed).collect();
        let (Some(first), Some(last)) = (fresh.first(), fresh.last()) else { return };
        self.pushed = last.number;
        let changes = fresh
            .iter()
            .map(|pending| Blob(Bytes::copy_from_slice(pending.change.raw_bytes())))
            .collect();
        let push = Push { handle: self.handle, first: first.number, changes };
        world.say(self.connection, push);
    }

    /// Takes what arrived.
    ///
    /// # Panics
    /// If it is a refusal, or does not fit.
    pub fn listen(&mut self, world: &mut World) {
        for message in world.heard(self.connection) {
            match ServerFrame::decode(&message).expect("the hub's own frame") {
                ServerFrame::Subscribed(subscribed) => self.begin(&subscribed),
                ServerFrame::Changes(changes) => self.accept(&changes),
                ServerFrame::PackedChanges(packed) => {
                    self.accept(&unpack(&packed).expect("the hub's own frame"));
                }
                ServerFrame::Ack(ack) => {
                    self.replica.acknowledge(ack.number);
                }
                ServerFrame::Welcome(_) | ServerFrame::SettledAs(_) => {}
                other @ (ServerFrame::SnapshotPart(_)
                | ServerFrame::Reject(_)
                | ServerFrame::Leased(_)
                | ServerFrame::LeaseEnded(_)
                | ServerFrame::Restored(_)
                | ServerFrame::Pong(_)
                | ServerFrame::Error(_)
                | ServerFrame::Goodbye(_)
                | ServerFrame::Compared(_)
                | ServerFrame::May(_)
                | ServerFrame::Entered(_)
                | ServerFrame::Presence(_)
                | ServerFrame::Crowd(_)
                | ServerFrame::Standing(_)
                | ServerFrame::SentAway(_)
                | ServerFrame::NotAnnounced(_)
                | ServerFrame::Kicked(_)
                | ServerFrame::StreamOpened(_)
                | ServerFrame::StreamText(_)
                | ServerFrame::StreamAck(_)
                | ServerFrame::StreamStatus(_)
                | ServerFrame::StreamInterrupted(_)
                | ServerFrame::StreamRefused(_)
                | ServerFrame::Feed(_)
                | ServerFrame::FeedChanged(_)
                | ServerFrame::Posts(_)
                | ServerFrame::FeedEnded(_)
                | ServerFrame::PostsRefused(_)
                | ServerFrame::TokenExpires(_)) => panic!("not expected: {other:?}"),
            }
        }
    }

    fn begin(&mut self, subscribed: &Subscribed) {
        self.handle = subscribed.handle;
        self.lease = subscribed.lease.map(lease);
        match subscribed.resume {
            Resume::Cursor => {}
            Resume::Beginning => {
                let epoch = Epoch(subscribed.epoch);
                let begin = Cursor { epoch, seq: 0, tip: Tip::EMPTY };
                self.replica.start_over(None, begin).expect("nothing to merge");
            }
            Resume::Snapshot { .. } => panic!("a device keeps up"),
        }
    }

    fn accept(&mut self, changes: &Changes) {
        let before = self.replica.cursor().expect("a cursor since the beginning");
        let seq = before.seq + changes.entries.len() as u64;
        assert_eq!(changes.first_seq, before.seq + 1, "no gap and no overlap");
        let cursor = Cursor { epoch: before.epoch, seq, tip: Tip(changes.tip) };
        self.replica.accept(changes_of(changes), cursor).expect("changes that fit");
    }
}

fn changes_of(changes: &Changes) -> Vec<Change> {
    let parse = |bytes: &[u8]| Change::try_from(bytes).expect("an accepted change");
    changes.entries.iter().map(|entry| parse(&entry.change.0)).collect()
}

fn wire_cursor(cursor: Cursor) -> WireCursor {
    WireCursor { epoch: cursor.epoch.0, seq: cursor.seq, tip: cursor.tip.0 }
}

fn lease(lease: WireLease) -> Lease {
    Lease { actor: ActorId(lease.actor), next_seq: lease.next_seq, after: lease.after }
}
