//! The server machine between clients who keep to the protocol, clients who do not, a store that
//! answers late or with an error, and a clock that leaps. Nothing panics; nothing is said on a
//! connection that was closed; nothing is acknowledged or shown that is not on disk; what it holds
//! is bounded; and every log that it leaves behind is one that the gate lets in, change by change,
//! that loads, and of which a snapshot can be made.

#![allow(
    clippy::cast_possible_truncation,
    clippy::disallowed_types,
    clippy::too_many_lines,
    clippy::wildcard_enum_match_arm,
    reason = "chance makes numbers and picks frames, and a store that is shared has a lock"
)]

#[allow(
    clippy::duplicate_mod,
    dead_code,
    reason = "each target is a crate with commands of its own; the test that replays them has all"
)]
#[path = "commands.rs"]
mod commands;
#[allow(clippy::duplicate_mod, reason = "as above")]
#[path = "forgeries.rs"]
mod forgeries;
#[path = "log.rs"]
mod log;
#[path = "peer.rs"]
mod peer;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use syncline_engine::clock::Timestamp;
use syncline_engine::gate;
use syncline_engine::hub::{self, Config, ConnectionId, Effect, Hub, Identity, Input};
use syncline_engine::ids::{Address, ChangeHash, Cursor, Epoch, Facet, OutboxId};
use syncline_engine::limits::PUSH_BYTES_MAX;
use syncline_engine::machine::Machine;
use syncline_engine::storage::record::{DigestKey, advance};
use syncline_engine::storage::{Append, LogHead, LogStore, StoreError};
use syncline_engine::wire::{ClientFrame, ServerFrame};

use self::commands::Choices;
use self::log::Logs;
use self::peer::Peer;

const STEPS_MAX: usize = 150;
const PEERS_MAX: usize = 4;
/// What one input may ask for at most: four clients are told, each about four documents.
const EFFECTS_MAX: usize = 400;
const TICKS_MAX: usize = 60;

/// One input: its bytes are the choices, in order; see [`Choices`].
pub(crate) fn run(data: &[u8]) {
    let mut choices = Choices(data);
    let mut world = World::new();
    world.most = choices.pick(256, "most");
    for _ in 0..STEPS_MAX {
        if choices.are_over() {
            break;
        }
        world.step(&mut choices);
    }
    world.end();
}

fn key() -> DigestKey {
    DigestKey([7; 32])
}

fn config() -> Config {
    Config {
        documents_max: 3,
        document_bytes_max: 30_000,
        actors_max: 8,
        outstanding_bytes_max: 4_000,
        unread_bytes_max: 60_000,
        ring_bytes_max: 2_000,
        connection_pending_bytes_max: 3_000,
        pending_bytes_max: 6_000,
        record_bytes_max: 600,
        compact_bytes: 1_500,
        compact_entries: 3,
        compact_keep: 2,
        rollover_actors: 5,
        rollover_bytes: 2_500,
        ..Config::default()
    }
}

/// What everybody may know of a document's log, whatever the hub says.
struct Durable {
    index: gate::Index,
    end: Option<Cursor>,
    settled: BTreeMap<OutboxId, u64>,
    changes: Vec<automerge::Change>,
}

struct World {
    hub: Hub,
    term: u64,
    now: Timestamp,
    logs: Logs,
    durable: BTreeMap<Address, Durable>,
    /// What the store was asked, of which commits are answered in order and all else in any.
    asked: VecDeque<Effect>,
    peers: Vec<Peer>,
    connections: u64,
    closed: BTreeSet<ConnectionId>,
    stopped: bool,
    /// Which document most is about.
    most: usize,
    /// Messages that may name documents that nobody knows.
    odd: usize,
}

pub(crate) fn addresses() -> Vec<Address> {
    let of = |facet| Address::new("town", "square", facet).expect("plain names");
    let mut all: Vec<_> = Facet::DOCUMENTS.into_iter().map(of).collect();
    all.push(Address::rules_of("town").expect("a plain name"));
    all
}

impl World {
    fn new() -> Self {
        Self {
            hub: Hub::new(config(), Identity { term: 1, digest_key: key() }),
            term: 1,
            now: Timestamp(1_000_000),
            logs: Logs::default(),
            durable: BTreeMap::new(),
            asked: VecDeque::new(),
            peers: Vec::new(),
            connections: 0,
            closed: BTreeSet::new(),
            stopped: false,
            most: 0,
            odd: 0,
        }
    }

    fn step(&mut self, choices: &mut Choices<'_>) {
        if self.stopped {
            self.restart();
        }
        match choices.pick(24, "step") {
            0 => self.open(choices),
            1..=9 => self.speak(choices, false),
            10..=12 => self.speak(choices, true),
            13..=17 => self.store(choices),
            18 => self.pass(choices),
            19 => self.drained(choices),
            20 => self.leave(choices),
            21 => self.nonsense(choices),
            22 => self.late(choices),
            _ => match choices.pick(8, "end") {
                0 => self.tell(Input::Shutdown),
                1 => self.restart(),
                _ => self.open(choices),
            },
        }
    }

    fn peer(&self, choices: &mut Choices<'_>) -> Option<usize> {
        let at = choices.pick(self.peers.len(), "peer");
        (at < self.peers.len()).then_some(at)
    }

    /// Somebody connects and says hello, mostly.
    fn open(&mut self, choices: &mut Choices<'_>) {
        if self.peers.len() >= PEERS_MAX {
            return;
        }
        self.connections += 1;
        let connection = ConnectionId(self.connections);
        let (peer, hello) = Peer::new(connection, self.connections, choices);
        self.peers.push(peer);
        self.tell(Input::Opened { connection });
        if let Some(hello) = hello {
            self.say(connection, &hello.into());
        }
        // Most do not wait for anything before they open something.
        if choices.pick(4, "opens") > 0 {
            let at = self.peers.iter().position(|peer| peer.connection == connection);
            let frame = at.map(|at| self.peers[at].subscribe(self.most, choices));
            if let Some(frame) = frame {
                self.say(connection, &frame);
            }
        }
    }

    fn speak(&mut self, choices: &mut Choices<'_>, hostile: bool) {
        let Some(at) = self.peer(choices) else { return self.open(choices) };
        let connection = self.peers[at].connection;
        let accepted: Vec<_> = match self.peers[at].choose(choices) {
            Some(address) => {
                self.durable.get(&address).map(|d| d.changes.clone()).unwrap_or_default()
            }
            None => Vec::new(),
        };
        let frame = self.peers[at].frame(&accepted, self.most, hostile, choices);
        if let Some(frame) = frame {
            self.say(connection, &frame);
        }
        // The store is mostly quick, and the sockets too.
        if choices.pick(2, "quick") == 0 {
            while let Some(question) = self.asked.pop_front() {
                let answer = self.answer(question, false);
                self.tell(answer);
            }
            if self.peers.iter().any(|peer| peer.connection == connection) {
                self.tell(Input::Drained { connection });
            }
        }
    }

    fn say(&mut self, connection: ConnectionId, frame: &ClientFrame) {
        if let Ok(message) = frame.encode() {
            self.tell(Input::Received { connection, message });
        }
    }

    fn nonsense(&mut self, choices: &mut Choices<'_>) {
        let Some(at) = self.peer(choices) else { return };
        let connection = self.peers[at].connection;
        let Some(frame) = self.peers[at].frame(&[], self.most, true, choices) else { return };
        let mut message = frame.encode().expect("it fits").to_vec();
        for _ in 0..=choices.pick(3, "flips") {
            let high = choices.pick(256, "high") << 8;
            let place = (high + choices.pick(256, "at")) % message.len().max(1);
            match choices.pick(3, "how") {
                0 => message.truncate(place),
                1 => message.insert(place, choices.pick(256, "byte") as u8),
                _ => {
                    if let Some(byte) = message.get_mut(place) {
                        *byte ^= 1 << choices.pick(8, "bit");
                    }
                }
            }
        }
        self.odd += 1;
        self.tell(Input::Received { connection, message: message.into() });
    }

    fn drained(&mut self, choices: &mut Choices<'_>) {
        for peer in 0..self.peers.len() {
            if choices.pick(3, "drains") > 0 {
                let connection = self.peers[peer].connection;
                self.tell(Input::Drained { connection });
            }
            if peer + 1 >= self.peers.len() {
                return;
            }
        }
    }

    fn leave(&mut self, choices: &mut Choices<'_>) {
        let Some(at) = self.peer(choices) else { return };
        let connection = self.peers.remove(at).connection;
        self.tell(Input::Closed { connection });
        self.closed.insert(connection);
    }

    /// Facts about who is gone, and answers to what nobody asked.
    fn late(&mut self, choices: &mut Choices<'_>) {
        let connection = ConnectionId(choices.pick(8, "connection") as u64);
        if self.peers.iter().any(|peer| peer.connection == connection) {
            return;
        }
        let request = hub::RequestId(choices.pick(40, "request") as u64 + 1_000_000);
        let address = addresses()[choices.pick(5, "address")].clone();
        let message = vec![1, 7, 0].into();
        self.tell(match choices.pick(6, "late") {
            0 => Input::Received { connection, message },
            1 => Input::Drained { connection },
            2 => Input::Closed { connection },
            3 => Input::RecordsRead { request, result: Ok(Vec::new()) },
            4 => Input::SnapshotRead { request, result: Ok(None) },
            _ => Input::Indexed { address, gate: Err(failed()) },
        });
    }

    fn pass(&mut self, choices: &mut Choices<'_>) {
        let leap = [0, 1, 999, 20_000, 31_000, 61_000, 600_000];
        match choices.pick(leap.len() + 4, "time") {
            n if n < leap.len() => self.now = self.now + Duration::from_millis(leap[n]),
            n if n == leap.len() => self.now = self.now - Duration::from_secs(40),
            _ => {
                let wake = self.hub.poll_timeout();
                self.now = wake.map_or(self.now, |wake| wake.at.max(self.now));
            }
        }
        self.tell(Input::Tick);
        for _ in 0..TICKS_MAX {
            match self.hub.poll_timeout() {
                Some(wake) if wake.at <= self.now => self.tell(Input::Tick),
                Some(_) | None => return,
            }
        }
        panic!("{:?} has come at {} and stays", self.hub.poll_timeout(), self.now);
    }

    /// The store answers one question or some.
    fn store(&mut self, choices: &mut Choices<'_>) {
        for _ in 0..=choices.pick(4, "answers") {
            if self.asked.is_empty() {
                return;
            }
            let at = choices.pick(self.asked.len().min(3), "which");
            let fails = choices.pick(40, "fails") == 39;
            let Some(question) = self.asked.remove(at) else { return };
            let answer = self.answer(question, fails);
            self.tell(answer);
        }
    }

    fn answer(&mut self, question: Effect, fails: bool) -> Input {
        match question {
            Effect::ReadRules { space } => {
                let rules = if fails { Err(failed()) } else { hub::rules(&self.logs, &space) };
                Input::RulesRead { space, rules }
            }
            Effect::Load { address } => {
                let fresh_epoch = Epoch([self.connections as u8 + 1; 16]);
                let loaded = if fails { Err(failed()) } else { hub::load(&self.logs, &address) };
                Input::Loaded { address, fresh_epoch, loaded }
            }
            Effect::Index { address } => {
                let gate = if fails { Err(failed()) } else { hub::index(&self.logs, &address) };
                assert!(fails || gate.is_ok(), "what was committed does not load: {gate:?}");
                Input::Indexed { address, gate }
            }
            Effect::Commit { appends } => {
                // An error says nothing about what is on disk.
                let written = !fails || appends.len() % 2 == 0;
                if written {
                    self.logs.append(&appends).expect("it takes what follows");
                    appends.iter().for_each(|append| self.commit(append));
                }
                Input::Committed { result: if fails { Err(failed()) } else { Ok(()) } }
            }
            Effect::Read { request, address, from_seq, bytes_max } => {
                let result = self.logs.read(&address, from_seq, bytes_max);
                Input::RecordsRead { request, result: if fails { Err(failed()) } else { result } }
            }
            Effect::ReadSnapshot { request, address, cursor, offset, bytes_max } => {
                let result = self.logs.read_snapshot(&address, cursor, offset, bytes_max);
                Input::SnapshotRead { request, result: if fails { Err(failed()) } else { result } }
            }
            Effect::Compact { address, cursor, keep_from } => {
                let result =
                    if fails { Err(failed()) } else { self.compact(&address, cursor, keep_from) };
                Input::Compacted { address, result }
            }
            Effect::RollOver { address, end, at, keep_since } => {
                let epoch = Epoch([self.connections as u8 | 0x80; 16]);
                let result = if fails {
                    Err(failed())
                } else {
                    hub::roll_over(&self.logs, &address, end, epoch, at, keep_since)
                };
                assert!(fails || result.is_ok(), "{address} does not begin anew: {result:?}");
                if !fails {
                    self.begin_epoch(&address);
                }
                Input::RolledOver { address, result }
            }
            Effect::ReadPosts { request, space, wanted } => {
                let result = if fails { Err(failed()) } else { self.logs.posts(&space, &wanted) };
                Input::PostsRead { request, result }
            }
            Effect::Summarise { space, after } => {
                let result =
                    if fails { Err(failed()) } else { hub::summarise(&self.logs, &space, after) };
                Input::Summarised { space, result }
            }
            other => panic!("that is no question: {other:?}"),
        }
    }

    fn compact(
        &self,
        address: &Address,
        cursor: Cursor,
        keep_from: u64,
    ) -> Result<LogHead, StoreError> {
        let old = hub::snapshot(&self.logs, address)?;
        let records = self.logs.read(address, 0, usize::MAX)?;
        let new = hub::compact(address, cursor, old.as_ref(), &records);
        let new = new.unwrap_or_else(|error| panic!("{address} can't be compacted: {error}"));
        self.logs.put_snapshot(address, &new, keep_from)?;
        Ok(self.logs.head(address)?.expect("there is a log"))
    }

    /// Something is on disk: it is what the gate lets in, and it goes on where the log ended.
    fn commit(&mut self, append: &Append) {
        let Append { address, epoch, record, .. } = append;
        let durable = self.durable.entry(address.clone()).or_insert_with(|| Durable {
            index: gate::Index::new(address),
            end: None,
            settled: BTreeMap::new(),
            changes: Vec::new(),
        });
        let mut tip = record.tip_before;
        for entry in &record.entries {
            let checked = durable.index.check_structure(&entry.change);
            let checked =
                checked.unwrap_or_else(|e| panic!("{address} has what does not fit: {e}"));
            durable.index.apply(&checked);
            let change = automerge::Change::try_from(&entry.change[..]).expect("it reads");
            assert_eq!(ChangeHash(change.hash().0), entry.hash);
            durable.changes.push(change);
            tip = advance(&key(), tip, entry);
            if let Some(command) = entry.command {
                let before = durable.settled.insert(command.outbox, command.number);
                assert!(before.is_none_or(|before| before < command.number), "settled twice");
            }
        }
        assert_eq!(tip, record.tip);
        durable.end = Some(Cursor { epoch: *epoch, seq: record.last_seq(), tip });
    }

    /// A document is on disk as the next epoch begins it, and everything settled before is settled.
    fn begin_epoch(&mut self, address: &Address) {
        let head = self.logs.head(address).expect("a head").expect("there is a log");
        let first = head.snapshot.expect("an epoch begins with a snapshot");
        let body = self.logs.read_snapshot(address, first.cursor, 0, usize::MAX);
        let body = body.expect("a read").expect("its body");
        let document = automerge::Automerge::load(&body).expect("it loads");
        let durable = self.durable.get_mut(address).expect("it was written");
        durable.index = *hub::index(&self.logs, address).expect("it has an index");
        durable.end = Some(head.end);
        durable.changes = document.get_changes(&[]).split_off(1);
    }

    /// The process ends without a word. What was being written may be on disk.
    fn restart(&mut self) {
        self.term += 1;
        self.hub = Hub::new(config(), Identity { term: self.term, digest_key: key() });
        self.asked.clear();
        self.closed.extend(self.peers.drain(..).map(|peer| peer.connection));
        self.stopped = false;
    }

    fn tell(&mut self, input: Input) {
        if let Input::Received { connection, message } = &input
            && let Ok(frame) = ClientFrame::decode(message)
        {
            let mut peers = self.peers.iter_mut();
            let peer = peers.find(|peer| peer.connection == *connection);
            peer.into_iter().for_each(|peer| peer.note(&frame));
        }
        self.hub.handle(self.now, input);
        let mut count = 0;
        while let Some(effect) = self.hub.poll_effect() {
            count += 1;
            assert!(count <= EFFECTS_MAX, "one input asks for more and more: {effect:?}");
            self.carry_out(effect);
        }
        self.check();
    }

    fn carry_out(&mut self, effect: Effect) {
        assert!(!self.stopped, "after its end: {effect:?}");
        match effect {
            Effect::Send { connection, message } => {
                assert!(!self.closed.contains(&connection), "said after the end");
                let frame = ServerFrame::decode(&message).expect("a server says frames");
                let at = self.peers.iter().position(|peer| peer.connection == connection);
                let at = at.expect("said to somebody");
                self.hear(at, &frame);
            }
            Effect::Close { connection, .. } => {
                assert!(self.closed.insert(connection), "closed twice");
                self.peers.retain(|peer| peer.connection != connection);
            }
            Effect::Hold { connection, .. } => {
                assert!(!self.closed.contains(&connection), "held after the end");
            }
            Effect::Stop => self.stopped = true,
            Effect::Commit { .. } => {
                let other = self.asked.iter().any(|asked| matches!(asked, Effect::Commit { .. }));
                assert!(!other, "one commit at a time");
                self.asked.push_back(effect);
            }
            Effect::ReadRules { .. }
            | Effect::Load { .. }
            | Effect::Index { .. }
            | Effect::Read { .. }
            | Effect::ReadSnapshot { .. }
            | Effect::Compact { .. }
            | Effect::RollOver { .. }
            | Effect::ReadPosts { .. }
            | Effect::Summarise { .. } => self.asked.push_back(effect),
            Effect::EmptySpace { .. } | Effect::ForgetUser { .. } | Effect::Rewrite { .. } => {
                panic!("no operator is in this world")
            }
        }
    }

    /// Nothing is shown or acknowledged that is not on disk.
    fn hear(&mut self, at: usize, frame: &ServerFrame) {
        if let Some((address, seq)) = self.peers[at].hear(frame) {
            let end = self.durable.get(&address).and_then(|durable| durable.end);
            assert!(end.map_or(0, |end| end.seq) >= seq, "{address} is shown up to {seq}");
        }
        if let ServerFrame::Ack(ack) = frame
            && let Some((address, outboxes)) = self.peers[at].outboxes_of(ack.handle)
        {
            let durable = self.durable.get(address);
            let settled = |outbox| durable.and_then(|durable| durable.settled.get(outbox).copied());
            let most = outboxes.iter().filter_map(settled).max().unwrap_or(0);
            assert!(most >= ack.number, "{ack:?} with {most} on disk");
        }
    }

    /// What holds whenever the hub waits.
    fn check(&self) {
        let (stats, documents) = (self.hub.stats(), addresses().len() + self.odd);
        assert!(stats.connections <= self.peers.len(), "{stats:?}");
        assert!(stats.documents <= documents, "{stats:?}");
        assert!(stats.followers <= stats.connections * documents, "{stats:?}");
        assert!(stats.leases <= stats.sessions * documents, "{stats:?}");
        let most = config().pending_bytes_max + PUSH_BYTES_MAX;
        assert!(stats.pending_bytes <= most, "{stats:?}");
        let asked = self.asked.len();
        assert!(asked <= 3 * documents + PEERS_MAX + 2, "{asked} questions at once");
    }

    /// Everything that was left behind can be read, and made a snapshot of.
    fn end(mut self) {
        for (address, durable) in std::mem::take(&mut self.durable) {
            let index = hub::index(&self.logs, &address).expect("what was committed loads");
            assert!(index.heads().eq(durable.index.heads()), "{address} has other heads");
            if let Some(end) = durable.end {
                self.compact(&address, end, 0).expect("it can be compacted");
                let index = hub::index(&self.logs, &address).expect("a snapshot loads");
                assert!(index.heads().eq(durable.index.heads()), "{address} has other heads");
            }
        }
    }
}

fn failed() -> StoreError {
    StoreError::Failed("the disk is gone".to_owned())
}
