//! The hub against a store in memory and clients made of automerge, with commits, reads and
//! compactions that a test can hold back.
#![expect(
    clippy::wildcard_enum_match_arm,
    clippy::cast_possible_truncation,
    reason = "a test picks the frames that it is about, and makes noise by cutting numbers"
)]

use std::collections::{BTreeMap, VecDeque};

use automerge::transaction::Transactable;
use automerge::{ActorId as Writer, AutoCommit, Change, ReadDoc};

use super::*;
use crate::document::genesis;
use crate::ids::{ActorId, ChangeHash, Tip};
use crate::storage::posts::Posts;
use crate::storage::record::DigestKey;
use crate::storage::{Rollover, Sealed, Snapshot, SnapshotHead};
use crate::wire::frame::{
    Blob, Bye, Compare, Hello, Ping, Proof, Push, Release, Renew, RequestLease, Restore, Resume,
    Subscribe, Subscribed, Unsubscribe, WireCursor, WireLease,
};
use crate::wire::{ClientFrame, ServerFrame, unpack};

mod counting;
mod feeds;
mod frames;
mod leases;
mod logs;
mod orders;
mod presence;
mod pushes;
mod quotas;
mod restores;
mod rollovers;
mod rules;
mod streams;

pub(super) fn key() -> DigestKey {
    DigestKey([7; 32])
}

const DOC: &str = "town/square/json";
const OUTBOX: [u8; 16] = [9; 16];

fn address() -> Address {
    DOC.parse().unwrap()
}

/// What a store has of one document.
#[derive(Debug, Clone)]
struct Log {
    epoch: Epoch,
    records: Vec<Record>,
    snapshot: Option<Snapshot>,
    sealed: Vec<(Sealed, Snapshot)>,
}

impl Log {
    fn head(&self) -> LogHead {
        let snapshot = self.snapshot.as_ref();
        let below = snapshot.map_or((0, Tip::EMPTY), |s| (s.cursor.seq, s.cursor.tip));
        let (seq, tip) = self.records.last().map_or(below, |r| (r.last_seq(), r.tip));
        LogHead {
            end: Cursor { epoch: self.epoch, seq, tip },
            snapshot: snapshot.map(|s| SnapshotHead {
                cursor: s.cursor,
                body_bytes: s.body.len() as u64,
                index: s.index.clone(),
            }),
            tail_from: self.records.first().map_or(seq + 1, |r| r.first_seq),
            tail_bytes: 0,
            sealed: self.sealed.iter().map(|(sealed, _)| *sealed).collect(),
        }
    }
}

/// A hub, its store, and what arrived at its connections.
struct World {
    hub: Hub,
    now: Timestamp,
    logs: BTreeMap<Address, Log>,
    posts: Posts,
    /// How often summaries were read.
    listings: usize,
    inbox: BTreeMap<u64, VecDeque<ServerFrame>>,
    /// Bytes sent on a connection since it last drained.
    unread: BTreeMap<u64, usize>,
    closed: BTreeMap<u64, CloseCode>,
    /// Connections that were not to be read for a while.
    holds: Vec<(u64, Duration)>,
    /// Connections that take nothing.
    stuck: Vec<u64>,
    hold_commits: bool,
    held_commit: Option<Vec<Append>>,
    hold_compactions: bool,
    held_compaction: Option<(Address, Cursor, u64)>,
    held_rollover: Option<(Address, Cursor, Timestamp)>,
    fail_loads: bool,
    reads: usize,
    compactions: usize,
    commits: usize,
    stopped: bool,
    orders: Vec<Effect>,
    connections: u64,
}

impl World {
    fn new() -> Self {
        Self::with(Config::default(), 1)
    }

    fn with(config: Config, term: u64) -> Self {
        Self {
            hub: Hub::new(config, Identity { term, digest_key: key() }),
            now: Timestamp(1_000),
            logs: BTreeMap::new(),
            posts: Posts::default(),
            listings: 0,
            inbox: BTreeMap::new(),
            unread: BTreeMap::new(),
            closed: BTreeMap::new(),
            holds: vec![],
            stuck: vec![],
            hold_commits: false,
            held_commit: None,
            hold_compactions: false,
            held_compaction: None,
            held_rollover: None,
            fail_loads: false,
            reads: 0,
            compactions: 0,
            commits: 0,
            stopped: false,
            orders: Vec::new(),
            connections: 0,
        }
    }

    /// The same store under a hub of the next term.
    fn restarted(self) -> Self {
        let term = self.hub.identity.term + 1;
        Self { logs: self.logs, posts: self.posts, ..Self::with(self.hub.config, term) }
    }

    fn tell(&mut self, input: Input) {
        self.hub.handle(self.now, input);
        self.run();
    }

    fn run(&mut self) {
        while let Some(effect) = self.hub.poll_effect() {
            if let Some(answer) = self.carry_out(effect) {
                self.hub.handle(self.now, answer);
            }
        }
        let drained: Vec<u64> =
            self.unread.keys().copied().filter(|c| !self.stuck.contains(c)).collect();
        for connection in drained {
            self.drain(connection);
        }
    }

    fn drain(&mut self, connection: u64) {
        if self.unread.remove(&connection).is_some() {
            self.tell(Input::Drained { connection: ConnectionId(connection) });
        }
    }

    fn carry_out(&mut self, effect: Effect) -> Option<Input> {
        match effect {
            Effect::Send { connection, message } => {
                assert!(!self.closed.contains_key(&connection.0), "sent after close");
                *self.unread.entry(connection.0).or_default() += message.len();
                let frame = ServerFrame::decode(&message).unwrap();
                self.inbox.entry(connection.0).or_default().push_back(frame);
                None
            }
            Effect::Close { connection, code } => {
                self.closed.insert(connection.0, code);
                self.unread.remove(&connection.0);
                None
            }
            Effect::Hold { connection, pause } => {
                self.holds.push((connection.0, pause));
                None
            }
            Effect::Load { .. }
            | Effect::ReadRules { .. }
            | Effect::Index { .. }
            | Effect::ReadSnapshot { .. } => Some(self.read_log(effect)),
            Effect::Commit { appends } => {
                assert!(self.held_commit.is_none(), "one commit at a time");
                self.held_commit = Some(appends);
                if self.hold_commits { None } else { Some(self.commit()) }
            }
            Effect::Read { request, address, from_seq, bytes_max } => {
                self.reads += 1;
                let mut bytes = 0;
                let mut records = vec![];
                for record in self.logs.get(&address).map_or(&[][..], |log| &log.records) {
                    if record.last_seq() >= from_seq && (records.is_empty() || bytes < bytes_max) {
                        bytes += record.change_bytes();
                        records.push(record.clone());
                    }
                }
                Some(Input::RecordsRead { request, result: Ok(records) })
            }
            Effect::Compact { address, cursor, keep_from } => {
                self.held_compaction = Some((address, cursor, keep_from));
                if self.hold_compactions { None } else { Some(self.compact()) }
            }
            Effect::RollOver { address, end, at, keep_since: _ } => {
                self.held_rollover = Some((address, end, at));
                if self.hold_compactions { None } else { Some(self.roll_over()) }
            }
            Effect::ReadPosts { request, space, wanted } => {
                self.listings += 1;
                let result = if self.fail_loads {
                    Err(StoreError::Failed("gone".to_owned()))
                } else {
                    Ok(self.posts.posts(&space, &wanted))
                };
                Some(Input::PostsRead { request, result })
            }
            Effect::Summarise { space, after } => {
                let stored = feeds::Stored::of(self);
                let result = summarise(&stored, &space, after);
                self.posts = stored.into_posts();
                Some(Input::Summarised { space, result })
            }
            Effect::EmptySpace { .. } | Effect::ForgetUser { .. } | Effect::Rewrite { .. } => {
                self.orders.push(effect);
                None
            }
            Effect::Stop => {
                self.stopped = true;
                None
            }
        }
    }

    /// Answers what the hub asks about a log.
    fn read_log(&self, effect: Effect) -> Input {
        match effect {
            Effect::ReadSnapshot { request, address, cursor, offset, bytes_max } => {
                let log = self.logs.get(&address);
                let sealed = log.iter().flat_map(|log| log.sealed.iter().map(|(_, last)| last));
                let mut all = sealed.chain(log.and_then(|log| log.snapshot.as_ref()));
                let part = all.find(|s| s.cursor == cursor).map(|s| {
                    let from = usize::try_from(offset).unwrap();
                    s.body.slice(from..s.body.len().min(from + bytes_max))
                });
                Input::SnapshotRead { request, result: Ok(part) }
            }
            Effect::Load { address } => {
                let fresh_epoch = Epoch([u8::try_from(self.commits % 200).unwrap() + 1; 16]);
                let loaded = if self.fail_loads {
                    Err(StoreError::Failed("gone".to_owned()))
                } else {
                    Ok(self.logs.get(&address).map(|log| (log.head(), log.records.clone())))
                };
                Input::Loaded { address, fresh_epoch, loaded }
            }
            Effect::ReadRules { space } => {
                let address = Address::rules_of(&space).unwrap();
                let rules = match self.logs.get(&address) {
                    None => Ok(Box::new(Rulebook::blank(&address))),
                    Some(log) => {
                        let body = log.snapshot.as_ref().map(|snapshot| &snapshot.body[..]);
                        load::rulebook(&address, body, &log.records)
                    }
                };
                Input::RulesRead { space, rules }
            }
            Effect::Index { address } => {
                let log = self.logs.get(&address);
                let snapshot = log.and_then(|log| log.snapshot.as_ref());
                let snapshot = snapshot.map(|snapshot| (snapshot.cursor, &snapshot.body[..]));
                let records = log.map_or(&[][..], |log| &log.records);
                let gate = load::index_of(&address, snapshot, records);
                Input::Indexed { address, gate }
            }
            other => panic!("{other:?}"),
        }
    }

    /// Makes the commit durable that the hub asked for.
    fn commit(&mut self) -> Input {
        self.commits += 1;
        let appends = self.held_commit.take().unwrap();
        self.posts.append(&appends);
        for append in appends {
            let Append { address, epoch, record, .. } = append;
            let log = self.logs.entry(address).or_insert(Log {
                epoch,
                records: vec![],
                snapshot: None,
                sealed: vec![],
            });
            let end = log.head().end;
            assert_eq!((record.first_seq, record.tip_before), (end.seq + 1, end.tip));
            assert_eq!(epoch, log.epoch);
            log.records.push(record);
        }
        Input::Committed { result: Ok(()) }
    }

    fn release_commit(&mut self) {
        let committed = self.commit();
        self.tell(committed);
    }

    /// Makes durable what was held back.
    fn finish_commit(&mut self) {
        while self.held_commit.is_some() {
            self.release_commit();
        }
    }

    /// Does the compaction that the hub asked for.
    fn compact(&mut self) -> Input {
        self.compactions += 1;
        let (address, cursor, keep_from) = self.held_compaction.take().unwrap();
        let log = self.logs.get_mut(&address).unwrap();
        let snapshot = compact(&address, cursor, log.snapshot.as_ref(), &log.records).unwrap();
        log.snapshot = Some(snapshot);
        log.records.retain(|record| record.last_seq() >= keep_from);
        let head = log.head();
        Input::Compacted { address, result: Ok(head) }
    }

    /// Ends the epoch that the hub wants ended.
    fn roll_over(&mut self) -> Input {
        let (address, end, at) = self.held_rollover.take().unwrap();
        let log = self.logs.get_mut(&address).unwrap();
        let epoch = Epoch([100 + u8::try_from(log.sealed.len()).unwrap(); 16]);
        let old = log.snapshot.as_ref();
        let made = rollover::make(&address, end, old, &log.records, epoch, at, Timestamp(0));
        let (Rollover { last, first, start }, rules) = made.unwrap();
        let body_bytes = last.body.len() as u64;
        log.sealed.push((Sealed { end, body_bytes, start }, last));
        *log = Log { epoch, records: vec![], snapshot: Some(first), sealed: log.sealed.clone() };
        Input::RolledOver { address, result: Ok(rules) }
    }

    fn open(&mut self) -> u64 {
        self.connections += 1;
        let connection = ConnectionId(self.connections);
        self.tell(Input::Opened { connection });
        self.connections
    }

    fn say(&mut self, connection: u64, frame: impl Into<ClientFrame>) {
        let message = frame.into().encode().unwrap();
        let connection = ConnectionId(connection);
        self.tell(Input::Received { connection, message });
    }

    fn hello(&mut self, session: u8, generation: u64) -> u64 {
        let connection = self.open();
        self.say(connection, hello_frame(session, generation));
        assert!(matches!(self.heard(connection)[..], [ServerFrame::Welcome(_)]));
        connection
    }

    /// Takes what arrived on a connection.
    fn heard(&mut self, connection: u64) -> Vec<ServerFrame> {
        self.inbox.remove(&connection).unwrap_or_default().into()
    }

    /// Lets time pass, waking the hub exactly when it asks for it.
    fn pass(&mut self, duration: Duration) {
        let end = self.now + duration;
        while let Some(wake) = self.hub.poll_timeout().filter(|wake| wake.at <= end) {
            self.now = self.now.max(wake.at);
            self.tell(Input::Tick);
        }
        self.now = end;
    }
}

fn hello_frame(session: u8, generation: u64) -> Hello {
    Hello {
        session: [session; 16],
        generation,
        user: format!("user{session}"),
        token: None,
        agent: "test".to_owned(),
    }
}

/// A client with one document.
struct Client {
    connection: u64,
    session: u8,
    handle: u32,
    doc: AutoCommit,
    cursor: Option<WireCursor>,
    lease: Option<WireLease>,
    number: u64,
    acked: u64,
    /// What arrived besides changes and acknowledgements.
    news: Vec<ServerFrame>,
    snapshot: Vec<u8>,
    written: usize,
    /// The last proof that the server gave.
    proof: Option<Proof>,
}

impl Client {
    /// Connects a new session and opens the document.
    fn join(world: &mut World, session: u8, write: bool) -> Self {
        let mut client = Self {
            connection: world.hello(session, 1),
            session,
            handle: 0,
            doc: blank(),
            cursor: None,
            lease: None,
            number: 0,
            acked: 0,
            news: vec![],
            snapshot: vec![],
            written: 0,
            proof: None,
        };
        client.subscribe(world, write);
        client
    }

    fn outbox(&self) -> [u8; 16] {
        let mut outbox = OUTBOX;
        outbox[0] = self.session;
        outbox
    }

    fn subscribe(&mut self, world: &mut World, write: bool) {
        let (outbox, cursor) = (self.outbox(), self.cursor);
        world.say(self.connection, Subscribe { address: DOC.to_owned(), cursor, outbox, write });
        self.listen(world);
    }

    fn reconnect(&mut self, world: &mut World, generation: u64, write: bool) {
        self.connection = world.hello(self.session, generation);
        self.subscribe(world, write);
    }

    /// Takes what arrived: changes into the document, in order and without gaps.
    fn listen(&mut self, world: &mut World) {
        for frame in world.heard(self.connection) {
            match frame {
                ServerFrame::Changes(changes) => self.apply(&changes),
                ServerFrame::PackedChanges(packed) => self.apply(&unpack(&packed).unwrap()),
                ServerFrame::Ack(ack) => {
                    assert_eq!(ack.handle, self.handle);
                    self.acked = ack.number;
                }
                ServerFrame::SnapshotPart(part) => {
                    assert_eq!(part.offset, self.snapshot.len() as u64);
                    self.snapshot.extend_from_slice(&part.bytes.0);
                    self.finish_snapshot();
                }
                ServerFrame::Subscribed(subscribed) => {
                    self.begin(&subscribed);
                    self.news.push(subscribed.into());
                }
                ServerFrame::Leased(leased) => {
                    self.lease = Some(leased.lease);
                    self.news.push(leased.into());
                }
                other => self.news.push(other),
            }
        }
    }

    fn begin(&mut self, subscribed: &Subscribed) {
        self.handle = subscribed.handle;
        self.lease = subscribed.lease;
        match subscribed.resume {
            Resume::Cursor => {}
            Resume::Beginning => {
                self.doc = blank();
                self.cursor = Some(WireCursor { epoch: subscribed.epoch, seq: 0, tip: [0; 16] });
            }
            Resume::Snapshot { cursor, .. } => {
                self.snapshot.clear();
                self.cursor = Some(cursor);
            }
        }
    }

    fn finish_snapshot(&mut self) {
        if let Ok(doc) = AutoCommit::load(&self.snapshot) {
            self.doc = doc;
        }
    }

    fn apply(&mut self, changes: &crate::wire::frame::Changes) {
        assert_eq!(changes.handle, self.handle);
        let cursor = self.cursor.as_mut().unwrap();
        assert_eq!(changes.first_seq, cursor.seq + 1, "no gap and no overlap");
        cursor.seq += changes.entries.len() as u64;
        cursor.tip = changes.tip;
        let seal = changes.seal;
        let entries = changes.entries.iter();
        let changes: Vec<_> = entries.map(|e| Change::try_from(&e.change.0[..]).unwrap()).collect();
        self.doc.apply_changes(changes).unwrap();
        if let Some(seal) = seal {
            let heads = hashes(&mut self.doc).iter().map(|head| head.0).collect();
            self.proof = Some(Proof { heads, seal });
        }
        assert!(self.doc.get_missing_deps(&[]).is_empty());
    }

    fn seq(&self) -> u64 {
        self.cursor.map_or(0, |cursor| cursor.seq)
    }

    /// Writes a change under the lease.
    fn write(&mut self) -> Blob {
        let lease = self.lease.expect("a lease");
        self.write_as(ActorId(lease.actor))
    }

    fn write_as(&mut self, actor: ActorId) -> Blob {
        self.write_sized(actor, 10)
    }

    fn write_sized(&mut self, actor: ActorId, bytes: usize) -> Blob {
        self.doc.set_actor(Writer::from(actor.0));
        // A value that was there already would make no operation.
        self.written += 1;
        let letters = (0..bytes).map(|i| char::from(b'a' + (i * i % 23) as u8));
        let value = format!("{actor:?} {} {}", self.written, letters.collect::<String>());
        let root = root(&self.doc);
        self.doc.put(root, format!("k{}", self.session), value).unwrap();
        self.doc.commit();
        Blob(self.doc.get_last_local_change().unwrap().raw_bytes().to_vec().into())
    }

    fn push(&mut self, world: &mut World, changes: Vec<Blob>) {
        let (handle, first) = (self.handle, self.number + 1);
        self.number += changes.len() as u64;
        world.say(self.connection, Push { handle, first, changes });
        self.listen(world);
    }

    /// Writes and pushes some changes.
    fn edit(&mut self, world: &mut World, count: usize) {
        let changes = (0..count).map(|_| self.write()).collect();
        self.push(world, changes);
    }

    fn news(&mut self) -> Vec<ServerFrame> {
        std::mem::take(&mut self.news)
    }

    fn subscribed(&mut self) -> Subscribed {
        match &self.news()[..] {
            [ServerFrame::Subscribed(subscribed)]
            | [ServerFrame::SettledAs(_), ServerFrame::Subscribed(subscribed)] => {
                subscribed.clone()
            }
            other => panic!("{other:?}"),
        }
    }

    fn rejection(&mut self) -> (u64, Code) {
        match &self.news()[..] {
            [ServerFrame::Reject(reject)] => {
                (reject.number, Code::from_number(reject.code).unwrap())
            }
            other => panic!("{other:?}"),
        }
    }
}

/// Where a schemaless document is written.
fn root(doc: &AutoCommit) -> automerge::ObjId {
    doc.get(automerge::ROOT, "root").unwrap().unwrap().1
}

fn blank() -> AutoCommit {
    let mut doc = AutoCommit::new();
    doc.apply_changes([genesis::change(&address())]).unwrap();
    doc
}

fn hashes(doc: &mut AutoCommit) -> Vec<ChangeHash> {
    let mut heads: Vec<_> = doc.get_heads().iter().map(|h| ChangeHash(h.0)).collect();
    heads.sort_unstable();
    heads
}
