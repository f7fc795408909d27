//! A live document: loading it, its index and position, who follows it, when it may leave memory.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::mem;

use super::commit::Committing;
use super::connection::{Peer, SessionKey, Slot};
use super::index::Index;
use super::lease::Leases;
use super::load::Loaded;
use super::relay::Ring;
use super::restore::Restoring;
use super::rollover::Ending;
use super::stored::StoredError;
use super::timers::Timer;
use super::{Effect, Handle, Hub, Phase};
use crate::change::reader::{self, Header, ReadError};
use crate::clock::Timestamp;
use crate::codes::Code;
use crate::document::genesis;
use crate::gate;
use crate::ids::{Address, ChangeHash, Cursor, Epoch, OutboxId, StreamAddress, Tip};
use crate::policy::Capabilities;
use crate::storage::record::{DigestKey, Seal, advance, seal};
use crate::storage::{Entry, LogHead, Record, Sealed, StoreError};
use crate::summary::Brought;
use crate::wire::frame::ServerFrame;

/// Times that a gate's index is made again because it was of another log than the document's.
const GATE_TRIES_MAX: u8 = 2;
/// Digests that are kept of one log; a cursor below them is served by a snapshot.
const TIPS: usize = 1 << 16;

/// What is stored of a document cannot be trusted.
#[derive(Debug, thiserror::Error)]
enum LoadError {
    #[error("{0}")]
    Store(#[from] StoreError),
    #[error("the snapshot's index does not decode: {0}")]
    Index(#[from] StoredError),
    #[error("the change with seq {seq} does not read: {error}")]
    Change { seq: u64, error: ReadError },
    #[error("the log does not hang together at seq {0}")]
    Broken(u64),
}

/// A request to follow a document.
#[derive(Debug, Clone, Copy)]
pub(super) struct Opening {
    pub(super) cursor: Option<Cursor>,
    pub(super) outbox: OutboxId,
    pub(super) write: bool,
    /// The log seq that must be durable before the answer.
    pub(super) barrier: u64,
}

/// Where a follower is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    /// It is being sent a snapshot.
    Snapshot { cursor: Cursor, bytes: u64, offset: u64 },
    /// It was sent the log up to here.
    Log { sent: u64 },
    /// It was sent all of an epoch that has ended.
    Ended,
}

/// A connection that follows a document.
#[derive(Debug)]
pub(super) struct Follower {
    pub(super) session: SessionKey,
    pub(super) outbox: OutboxId,
    pub(super) progress: Progress,
    /// Whether what it pushes is passed over until it has a new lease.
    pub(super) dropping: bool,
    /// Its resume is to start over once the log is durable up to here.
    pub(super) starts_over: Option<u64>,
    /// What it was told that it may do.
    pub(super) may: Capabilities,
    /// What it has handed back so far of what the server has lost.
    pub(super) restoring: Option<Restoring>,
}

impl Follower {
    pub(super) const fn new(
        session: SessionKey,
        outbox: OutboxId,
        progress: Progress,
        may: Capabilities,
    ) -> Self {
        let (dropping, starts_over, restoring) = (false, None, None);
        Self { session, outbox, progress, dropping, starts_over, may, restoring }
    }

    /// Whether it is being brought to the end of an epoch before the present one.
    pub(super) fn is_behind(&self, sealed: &[Sealed]) -> bool {
        match self.progress {
            Progress::Ended => true,
            Progress::Snapshot { cursor, .. } => sealed.iter().any(|sealed| sealed.end == cursor),
            Progress::Log { .. } => false,
        }
    }
}

/// An accepted change that no commit has taken up yet.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) entry: Entry,
    /// The digest after it.
    pub(super) tip: Tip,
    /// Who waits for it.
    pub(super) from: Option<Peer>,
    /// What the document brings to the summary of its post, where a record will be cut off here.
    pub(super) brought: Option<Brought>,
}

/// The commands of an outbox that are accepted and not durable.
#[derive(Debug, Clone, Copy)]
pub(super) struct InFlight {
    /// The highest number that is durable.
    pub(super) durable: u64,
    /// The log seq of the last.
    pub(super) last_seq: u64,
}

/// A position in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct End {
    pub(super) seq: u64,
    pub(super) tip: Tip,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct SnapshotPlace {
    pub(super) cursor: Cursor,
    pub(super) bytes: u64,
}

/// What compaction needs to know.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tail {
    /// Where the last snapshot, or the last attempt at one, was asked for.
    pub(super) since: u64,
    /// Bytes of changes above that.
    pub(super) bytes: u64,
    /// Whether an attempt is under way.
    pub(super) compacting: bool,
}

/// The gate of a document, which is opened when somebody wants to write. Until then its readers are
/// served without a look at what the changes say.
#[derive(Debug)]
pub(super) enum Gate {
    Closed,
    /// Its index is being made; these wait for it with a question.
    Opening(BTreeMap<Slot, Asked>),
    Open(Box<gate::Index>),
}

/// What a follower asked for that has to wait for the gate.
#[derive(Debug, Default)]
pub(super) struct Asked {
    pub(super) lease: bool,
    pub(super) restore: Option<Restoring>,
}

#[derive(Debug)]
pub(super) struct Live {
    pub(super) epoch: Epoch,
    pub(super) index: Index,
    pub(super) gate: Gate,
    /// How often its index was asked for again.
    gate_tries: u8,
    /// The end of the log with everything that was accepted.
    pub(super) assigned: End,
    /// The end of the log on disk; nobody is told of anything above.
    pub(super) durable: End,
    /// The digests after seq `tips_from`, `tips_from + 1`, … up to the assigned end.
    tips: VecDeque<Tip>,
    tips_from: u64,
    pub(super) tail_from: u64,
    pub(super) snapshot: Option<SnapshotPlace>,
    /// The epochs before this one whose ends are kept.
    pub(super) sealed: Vec<Sealed>,
    pub(super) ending: Ending,
    /// How many bytes of changes there were when the epoch could not be ended.
    pub(super) ending_failed_at: u64,
    pub(super) tail: Tail,
    pub(super) pending: VecDeque<Pending>,
    /// Bytes of what is pending since the last place where a record will be cut off.
    pub(super) pending_uncut: usize,
    /// What the document was last said to bring to the summary of its post.
    pub(super) brought: Option<Brought>,
    pub(super) committing: Option<Committing>,
    pub(super) in_flight: BTreeMap<OutboxId, InFlight>,
    pub(super) ring: Ring,
    pub(super) leases: Leases,
    pub(super) followers: BTreeMap<Slot, Follower>,
    pub(super) openings: BTreeMap<Slot, Opening>,
    /// Followers that found what they read gone while a compaction is replacing it.
    pub(super) stalled: BTreeSet<Slot>,
    /// Answers that wait until the log is durable up to a seq.
    pub(super) notices: VecDeque<(u64, Peer, ServerFrame)>,
    idle_since: Timestamp,
}

#[derive(Debug)]
pub(super) enum State {
    Loading(BTreeMap<Slot, Opening>),
    Live(Box<Live>),
}

#[derive(Debug)]
pub(super) struct Document {
    pub(super) address: Address,
    pub(super) state: State,
    idle_armed: bool,
}

/// All documents in memory, by handle and by address.
#[derive(Debug, Default)]
pub(super) struct Documents {
    by_handle: BTreeMap<Handle, Document>,
    by_address: BTreeMap<Address, Handle>,
    last: Handle,
}

impl Documents {
    pub(super) fn get(&self, handle: Handle) -> Option<&Document> {
        self.by_handle.get(&handle)
    }

    pub(super) fn get_mut(&mut self, handle: Handle) -> Option<&mut Document> {
        self.by_handle.get_mut(&handle)
    }

    pub(super) fn live(&self, handle: Handle) -> Option<&Live> {
        match &self.by_handle.get(&handle)?.state {
            State::Live(live) => Some(live),
            State::Loading(_) => None,
        }
    }

    pub(super) fn live_mut(&mut self, handle: Handle) -> Option<&mut Live> {
        match &mut self.by_handle.get_mut(&handle)?.state {
            State::Live(live) => Some(live),
            State::Loading(_) => None,
        }
    }

    pub(super) fn handle(&self, address: &Address) -> Option<Handle> {
        self.by_address.get(address).copied()
    }

    pub(super) fn insert(&mut self, address: &Address) -> Handle {
        loop {
            self.last = self.last.wrapping_add(1);
            if !self.by_handle.contains_key(&self.last) {
                break;
            }
        }
        let document = Document {
            address: address.clone(),
            state: State::Loading(BTreeMap::new()),
            idle_armed: false,
        };
        self.by_handle.insert(self.last, document);
        self.by_address.insert(address.clone(), self.last);
        self.last
    }

    pub(super) fn remove(&mut self, handle: Handle) -> Option<Document> {
        let document = self.by_handle.remove(&handle)?;
        self.by_address.remove(&document.address);
        Some(document)
    }

    pub(super) fn addresses(&self) -> impl Iterator<Item = (Handle, &Address)> {
        self.by_address.iter().map(|(address, handle)| (*handle, address))
    }

    pub(super) fn len(&self) -> usize {
        self.by_handle.len()
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Document> {
        self.by_handle.values()
    }
}

impl Live {
    fn new(address: &Address, epoch: Epoch, now: Timestamp) -> Self {
        let genesis = genesis::change(address);
        let start = End { seq: 0, tip: Tip::EMPTY };
        Self {
            epoch,
            index: Index::new(ChangeHash(genesis.hash().0), genesis.max_op()),
            gate: Gate::Closed,
            gate_tries: 0,
            assigned: start,
            durable: start,
            tips: VecDeque::from([Tip::EMPTY]),
            tips_from: 0,
            tail_from: 1,
            snapshot: None,
            sealed: Vec::new(),
            ending: Ending::Not,
            ending_failed_at: 0,
            tail: Tail { since: 0, bytes: 0, compacting: false },
            pending: VecDeque::new(),
            pending_uncut: 0,
            brought: None,
            committing: None,
            in_flight: BTreeMap::new(),
            ring: Ring::default(),
            leases: Leases::default(),
            followers: BTreeMap::new(),
            openings: BTreeMap::new(),
            stalled: BTreeSet::new(),
            notices: VecDeque::new(),
            idle_since: now,
        }
    }

    /// Rebuilds a document from its snapshot's index and its tail, and trusts neither.
    fn load(
        address: &Address,
        now: Timestamp,
        key: &DigestKey,
        head: &LogHead,
        records: &[Record],
    ) -> Result<Self, LoadError> {
        let mut live = Self::new(address, head.end.epoch, now);
        let mut indexed = 0;
        if let Some(snapshot) = &head.snapshot {
            live.index = Index::decode(&snapshot.index)?;
            indexed = snapshot.cursor.seq;
            live.snapshot =
                Some(SnapshotPlace { cursor: snapshot.cursor, bytes: snapshot.body_bytes });
            live.assigned = End { seq: indexed, tip: snapshot.cursor.tip };
        }
        if let Some(first) = records.first() {
            live.assigned = End { seq: first.first_seq.saturating_sub(1), tip: first.tip_before };
        }
        live.tail_from = live.assigned.seq + 1;
        live.tips_from = live.assigned.seq;
        live.tips = VecDeque::from([live.assigned.tip]);
        live.tail.since = indexed;
        // What is between the snapshot and the tail, or before a tail without a snapshot, is lost.
        if live.tail_from > indexed + 1 {
            return Err(LoadError::Broken(indexed + 1));
        }
        if live.tail_from == 1 && live.assigned.tip != Tip::EMPTY {
            return Err(LoadError::Broken(1));
        }
        for record in records {
            live.load_record(key, record, indexed)?;
        }
        let fits = |at: Cursor| {
            at.epoch == live.epoch && live.tip_at(at.seq).is_none_or(|tip| tip == at.tip)
        };
        if !live.snapshot.is_none_or(|snapshot| fits(snapshot.cursor)) {
            return Err(LoadError::Broken(indexed));
        }
        live.sealed.clone_from(&head.sealed);
        live.durable = live.assigned;
        if live.durable != (End { seq: head.end.seq, tip: head.end.tip }) {
            return Err(LoadError::Broken(head.end.seq));
        }
        Ok(live)
    }

    fn load_record(
        &mut self,
        key: &DigestKey,
        record: &Record,
        indexed: u64,
    ) -> Result<(), LoadError> {
        let start = End { seq: record.first_seq.saturating_sub(1), tip: record.tip_before };
        if start != self.assigned {
            return Err(LoadError::Broken(record.first_seq));
        }
        for entry in &record.entries {
            self.step(key, entry);
            let seq = self.assigned.seq;
            if seq <= indexed {
                continue;
            }
            let header =
                reader::read(&entry.change).map_err(|error| LoadError::Change { seq, error })?;
            if header.hash != entry.hash {
                return Err(LoadError::Broken(seq));
            }
            self.index.apply(&header, entry.change.len(), entry.command, entry.at);
            self.tail.bytes += entry.change.len() as u64;
        }
        if self.assigned.tip != record.tip {
            return Err(LoadError::Broken(record.last_seq()));
        }
        Ok(())
    }

    /// Moves the assigned end over an entry.
    fn step(&mut self, key: &DigestKey, entry: &Entry) {
        let tip = advance(key, self.assigned.tip, entry);
        self.assigned = End { seq: self.assigned.seq + 1, tip };
        self.tips.push_back(tip);
        if self.tips.len() > TIPS {
            self.tips.pop_front();
            self.tips_from += 1;
        }
    }

    /// Gives a checked change its place in the log.
    pub(super) fn append(
        &mut self,
        key: &DigestKey,
        header: &Header,
        entry: Entry,
        from: Option<Peer>,
    ) {
        if let Some(command) = entry.command {
            let durable = self.index.settled(command.outbox).number;
            let last_seq = self.assigned.seq + 1;
            self.in_flight
                .entry(command.outbox)
                .or_insert(InFlight { durable, last_seq })
                .last_seq = last_seq;
        }
        self.step(key, &entry);
        self.index.apply(header, entry.change.len(), entry.command, entry.at);
        self.pending.push_back(Pending { entry, tip: self.assigned.tip, from, brought: None });
    }

    /// The digest after `seq`, if it is remembered.
    pub(super) fn tip_at(&self, seq: u64) -> Option<Tip> {
        let place = usize::try_from(seq.checked_sub(self.tips_from)?).ok()?;
        self.tips.get(place).copied()
    }

    /// The tail begins later than before.
    pub(super) fn cut_tail(&mut self, tail_from: u64) {
        self.tail_from = tail_from;
        while self.tips_from + 1 < tail_from && self.tips.pop_front().is_some() {
            self.tips_from += 1;
        }
    }

    /// The highest number of an outbox that is durable.
    pub(super) fn settled(&self, outbox: OutboxId) -> u64 {
        let in_flight = self.in_flight.get(&outbox).map(|in_flight| in_flight.durable);
        in_flight.unwrap_or_else(|| self.index.settled(outbox).number)
    }

    fn is_idle(&self) -> bool {
        self.is_quiet() && self.leases.is_idle()
    }

    /// Whether nobody follows it, and nothing of it is on its way to or from the store.
    pub(super) fn is_quiet(&self) -> bool {
        self.followers.is_empty()
            && self.openings.is_empty()
            && self.pending.is_empty()
            && self.committing.is_none()
            && !self.tail.compacting
            && !self.is_ending()
            && !matches!(self.gate, Gate::Opening(_))
    }

    /// The proof that the document had these heads, if they are those of the durable end.
    pub(super) fn seal(&self, key: &DigestKey, address: &Address) -> Option<Seal> {
        (self.durable == self.assigned).then(|| seal(key, address, self.index.heads()))
    }
}

impl Hub {
    pub(super) fn loaded(
        &mut self,
        now: Timestamp,
        address: &Address,
        fresh_epoch: Epoch,
        loaded: Result<Loaded, StoreError>,
    ) {
        if let Some(stream) = StreamAddress::of(address) {
            return self.stream_loaded(now, &stream, fresh_epoch, loaded);
        }
        let Some(handle) = self.documents.handle(address) else { return };
        let Some(document) = self.documents.get_mut(handle) else { return };
        let State::Loading(openings) = &mut document.state else { return };
        let openings = mem::take(openings);
        let live = match loaded {
            Ok(None) => Ok(Live::new(address, fresh_epoch, now)),
            Ok(Some((head, records))) => {
                Live::load(address, now, &self.identity.digest_key, &head, &records)
            }
            Err(error) => Err(error.into()),
        };
        match live {
            Ok(mut live) => {
                live.leases = Leases::above(self.slots_spent);
                live.openings = openings;
                document.state = State::Live(Box::new(live));
                self.answer_openings(now, handle);
                self.consider_compaction(now, handle);
                self.watch_idle(now, handle);
            }
            Err(error) => {
                document.state = State::Loading(openings);
                self.give_up_loading(handle, &error.to_string());
            }
        }
    }

    /// Has the gate of a document opened, if that has not begun.
    pub(super) fn open_gate(&mut self, handle: Handle) -> Option<&mut BTreeMap<Slot, Asked>> {
        let document = self.documents.get_mut(handle)?;
        let State::Live(live) = &mut document.state else { return None };
        if matches!(live.gate, Gate::Closed) {
            live.gate = Gate::Opening(BTreeMap::new());
            self.out.push(Effect::Index { address: document.address.clone() });
        }
        match &mut live.gate {
            Gate::Opening(asked) => Some(asked),
            Gate::Closed | Gate::Open(_) => None,
        }
    }

    pub(super) fn indexed(
        &mut self,
        now: Timestamp,
        address: &Address,
        gate: Result<Box<gate::Index>, StoreError>,
    ) {
        let Some(handle) = self.documents.handle(address) else { return };
        let Some(live) = self.documents.live_mut(handle) else { return };
        if !matches!(live.gate, Gate::Opening(_)) {
            return;
        }
        // One that was asked for in the epoch before, of which this may be the index.
        let is_other = |gate: &gate::Index| !gate.heads().eq(live.index.heads());
        if gate.as_ref().is_ok_and(|gate| is_other(gate)) && live.gate_tries < GATE_TRIES_MAX {
            live.gate_tries += 1;
            return self.out.push(Effect::Index { address: address.clone() });
        }
        let Gate::Opening(asked) = mem::replace(&mut live.gate, Gate::Closed) else { return };
        if live.is_ending() {
            // Who waits for it is told to open the document again.
            return;
        }
        let gate = gate.map_err(LoadError::from).and_then(|gate| {
            // Nothing was appended meanwhile: whatever is, comes through the gate.
            let same = gate.heads().eq(live.index.heads());
            if same { Ok(gate) } else { Err(LoadError::Broken(live.durable.seq)) }
        });
        match gate {
            Ok(gate) => {
                live.gate = Gate::Open(gate);
                for (slot, asked) in asked {
                    if asked.lease {
                        self.request_lease(now, slot, handle);
                    }
                    if let Some(restoring) = asked.restore {
                        self.take_back(now, slot, handle, restoring);
                    }
                }
                self.answer_openings(now, handle);
            }
            Err(error) => {
                let mut writers: BTreeSet<Slot> = asked.into_keys().collect();
                writers
                    .extend(live.openings.iter().filter(|(_, o)| o.write).map(|(slot, _)| *slot));
                for slot in writers {
                    self.forget_follower(now, handle, slot);
                    let (code, why) = (Code::DocumentUnavailable, error.to_string());
                    self.abandon(slot, handle, address, code, &why);
                }
            }
        }
        self.watch_idle(now, handle);
    }

    /// Tells a connection that a document cannot be served, and that it does not follow it.
    pub(super) fn abandon(
        &mut self,
        slot: Slot,
        handle: Handle,
        address: &Address,
        code: Code,
        why: &str,
    ) {
        if let Some(open) = self.connections.open_mut(slot) {
            open.documents.remove(&handle);
            open.news.remove(&handle);
        }
        self.complain(slot, code, why, Some(address.to_string()));
    }

    /// Notes that a document may have become idle.
    pub(super) fn watch_idle(&mut self, now: Timestamp, handle: Handle) {
        let Some(document) = self.documents.get_mut(handle) else { return };
        let State::Live(live) = &mut document.state else { return };
        if !live.is_idle() {
            return;
        }
        // Of what nobody has written there is nothing to keep.
        if live.assigned.seq == 0 && !document.idle_armed {
            return self.let_go(handle);
        }
        live.idle_since = now;
        if !document.idle_armed {
            document.idle_armed = true;
            self.timers.arm(now + self.config.document_idle, Timer::Idle(handle));
        }
    }

    /// A document may have been idle for long enough.
    pub(super) fn idle(&mut self, now: Timestamp, handle: Handle) {
        let Some(document) = self.documents.get_mut(handle) else { return };
        document.idle_armed = false;
        let State::Live(live) = &document.state else { return };
        if !live.is_idle() {
            return;
        }
        let deadline = live.idle_since + self.config.document_idle;
        if now < deadline {
            document.idle_armed = true;
            self.timers.arm(deadline, Timer::Idle(handle));
        } else {
            self.let_go(handle);
        }
    }

    /// Takes an idle document out of memory.
    fn let_go(&mut self, handle: Handle) {
        let Some(live) = self.documents.live(handle) else { return };
        if let Some(spent) = live.leases.spent() {
            self.slots_spent = self.slots_spent.max(spent);
        }
        for session in live.leases.owing() {
            if let Some(session) = self.sessions.get_mut(session) {
                session.slots.remove(&handle);
            }
        }
        self.wanting_compaction.remove(&handle);
        self.counters.evictions += 1;
        self.remove_document(handle);
    }

    /// Asks for a new snapshot if the log above the last one has grown enough, or for a new epoch.
    pub(super) fn consider_compaction(&mut self, now: Timestamp, handle: Handle) {
        let Some(document) = self.documents.get(handle) else { return };
        let State::Live(live) = &document.state else { return };
        if live.tail.compacting || live.is_ending() {
            return;
        }
        // A snapshot costs what all of the log costs, so the longer the log, the longer the wait:
        // making snapshots then takes a fixed share of the work however fast the log grows.
        let entries = live.durable.seq.saturating_sub(live.tail.since);
        let bytes = live.tail.bytes;
        let below = live.index.bytes().saturating_sub(bytes);
        let grown = entries >= self.config.compact_entries.max(live.tail.since / 2)
            || bytes >= self.config.compact_bytes.max(below / 2);
        let due = grown && live.durable.seq > live.tail.since;
        if due || self.outgrew_epoch(&document.address, live) {
            self.wanting_compaction.insert(handle);
            self.start_compaction(now);
        }
    }

    /// Has the next document compacted or rolled over that wants it.
    pub(super) fn start_compaction(&mut self, now: Timestamp) {
        if self.compacting || !matches!(self.phase, Phase::Running) {
            return;
        }
        while let Some(handle) = self.wanting_compaction.pop_first() {
            let Some(document) = self.documents.get(handle) else { continue };
            let State::Live(live) = &document.state else { continue };
            if self.outgrew_epoch(&document.address, live) {
                self.compacting = true;
                return self.begin_ending(now, handle);
            }
            let Some(document) = self.documents.get_mut(handle) else { continue };
            let State::Live(live) = &mut document.state else { continue };
            let End { seq, tip } = live.durable;
            live.tail = Tail { since: seq, bytes: 0, compacting: true };
            self.compacting = true;
            let keep_from = (seq + 1).saturating_sub(self.config.compact_keep).max(1);
            return self.out.push(Effect::Compact {
                address: document.address.clone(),
                cursor: Cursor { epoch: live.epoch, seq, tip },
                keep_from,
            });
        }
    }

    pub(super) fn compacted(
        &mut self,
        now: Timestamp,
        address: &Address,
        result: Result<LogHead, StoreError>,
    ) {
        let Some(handle) = self.documents.handle(address) else { return };
        let Some(live) = self.documents.live_mut(handle) else { return };
        if !mem::take(&mut live.tail.compacting) {
            return;
        }
        self.compacting = false;
        let stalled = mem::take(&mut live.stalled);
        // After an error the next attempt comes when the log has grown as much again.
        if let Ok(LogHead { snapshot: Some(snapshot), tail_from, .. }) = result {
            live.snapshot =
                Some(SnapshotPlace { cursor: snapshot.cursor, bytes: snapshot.body_bytes });
            live.cut_tail(tail_from);
        }
        for slot in stalled {
            self.have_news(handle, slot);
        }
        self.watch_idle(now, handle);
        self.start_compaction(now);
    }
}
