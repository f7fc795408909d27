//! The header-level index of one document: which changes a new one may depend on, where each actor
//! stands, which commands are settled. It must never see an operation or a connection.
//!
//! It is rebuilt from a snapshot's index and the log above it, so it is a function of the log alone:
//! [`Index::apply`] is the only way in.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use super::stored::{Reader, StoredError, Writer};
use crate::change::reader::Header;
use crate::codes::Code;
use crate::ids::{ActorId, ChangeHash, OutboxId};
use crate::limits::OP_COUNTER_MAX;
use crate::storage::CommandRef;

/// Recent changes that a new one may depend on; whoever depends on an older one, which is neither a
/// head nor its actor's last, is asked to rebase.
const WINDOW: usize = 8_192;
const VERSION: u8 = 1;

/// Why a change may not enter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) code: Code,
    pub(super) message: String,
}

impl Refusal {
    pub(super) fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

/// An actor's last change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Last {
    seq: u64,
    max_op: u64,
    hash: ChangeHash,
}

/// An outbox's highest settled command, and enough of its change to know it again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Settled {
    pub(super) number: u64,
    digest: [u8; 8],
}

impl Settled {
    fn new(number: u64, hash: ChangeHash) -> Self {
        let mut digest = [0; 8];
        digest.copy_from_slice(&hash.0[..8]);
        Self { number, digest }
    }

    /// Whether the settled command was made as this change.
    pub(super) fn was(&self, hash: ChangeHash) -> bool {
        Self::new(self.number, hash) == *self
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Index {
    window_max: usize,
    /// The changes of the window with their largest operation counter.
    window: BTreeMap<ChangeHash, u64>,
    /// The same changes, oldest first.
    order: VecDeque<ChangeHash>,
    heads: BTreeMap<ChangeHash, u64>,
    actors: BTreeMap<ActorId, Last>,
    settled: BTreeMap<OutboxId, Settled>,
    /// Bytes of all changes in the log.
    bytes: u64,
    /// Changes that left the window.
    below: u64,
}

impl Index {
    /// The index of an empty log: genesis alone is known.
    pub(super) fn new(genesis: ChangeHash, max_op: u64) -> Self {
        Self::with_window(genesis, max_op, WINDOW)
    }

    fn with_window(genesis: ChangeHash, max_op: u64, window_max: usize) -> Self {
        Self {
            window_max,
            window: BTreeMap::from([(genesis, max_op)]),
            order: VecDeque::from([genesis]),
            heads: BTreeMap::from([(genesis, max_op)]),
            actors: BTreeMap::from([(ActorId::GENESIS, Last { seq: 1, max_op, hash: genesis })]),
            settled: BTreeMap::new(),
            bytes: 0,
            below: 0,
        }
    }

    pub(super) fn last_seq(&self, actor: ActorId) -> u64 {
        self.actors.get(&actor).map_or(0, |last| last.seq)
    }

    pub(super) fn settled(&self, outbox: OutboxId) -> Settled {
        self.settled.get(&outbox).copied().unwrap_or_default()
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn actors(&self) -> usize {
        self.actors.len()
    }

    pub(super) fn knows_actor(&self, actor: ActorId) -> bool {
        self.actors.contains_key(&actor)
    }

    /// The heads in the order of their hashes.
    pub(super) fn heads(&self) -> impl ExactSizeIterator<Item = ChangeHash> {
        self.heads.keys().copied()
    }

    /// The deps of a change that `actor` would make on all heads, sorted: automerge lists the
    /// actor's own last change also where it is not a head.
    pub(super) fn deps_on_heads(&self, actor: ActorId) -> Vec<ChangeHash> {
        let mut deps: Vec<_> = self.heads().collect();
        if let Some(last) = self.actors.get(&actor)
            && let Err(place) = deps.binary_search(&last.hash)
        {
            deps.insert(place, last.hash);
        }
        deps
    }

    /// The largest operation counter of all.
    pub(super) fn max_op(&self) -> u64 {
        self.heads.values().copied().max().unwrap_or(0)
    }

    /// Whether the log has the change, or another by the same actor in its place.
    pub(super) fn has(&self, header: &Header) -> bool {
        header.seq <= self.last_seq(header.actor) || self.window.contains_key(&header.hash)
    }

    /// Whether a change may come next.
    pub(super) fn check(&self, header: &Header) -> Result<(), Refusal> {
        let last = self.actors.get(&header.actor);
        let next_seq = last.map_or(0, |last| last.seq) + 1;
        if header.seq != next_seq {
            return Err(Refusal::new(
                Code::WrongSeq,
                format!("the actor's next seq is {next_seq}, not {}", header.seq),
            ));
        }
        let max_op = self.max_op_of_deps(&header.deps, last)?;
        if header.start_op != max_op + 1 {
            return Err(Refusal::new(
                Code::WrongStartOp,
                format!("on these deps start_op is {}, not {}", max_op + 1, header.start_op),
            ));
        }
        if header.max_op() > OP_COUNTER_MAX {
            return Err(Refusal::new(Code::DocumentFull, "the operation counter is used up"));
        }
        if !header.others.iter().all(|other| self.actors.contains_key(other)) {
            return Err(Refusal::new(
                Code::UnknownDeps,
                "the change names an actor that never wrote this document",
            ));
        }
        Ok(())
    }

    fn max_op_of_deps(&self, deps: &[ChangeHash], last: Option<&Last>) -> Result<u64, Refusal> {
        // An actor's changes form a chain. Were one allowed beside its predecessor, it could use
        // the predecessor's operation ids again.
        let chained = last.is_none_or(|last| deps.contains(&last.hash));
        if deps.is_empty() || !chained {
            return Err(Refusal::new(
                Code::UnknownDeps,
                "the change must depend on its actor's last change, or on genesis at least",
            ));
        }
        let known = |dep: &ChangeHash| {
            let of_actor = last.filter(|last| last.hash == *dep).map(|last| last.max_op);
            of_actor.or_else(|| self.heads.get(dep).or_else(|| self.window.get(dep)).copied())
        };
        let mut max_op = 0;
        for dep in deps {
            let Some(of_dep) = known(dep) else {
                return Err(if self.below > 0 {
                    Refusal::new(Code::Stale, "a dependency is too old; rebase and send again")
                } else {
                    Refusal::new(Code::UnknownDeps, format!("dependency {dep} is not known"))
                });
            };
            max_op = max_op.max(of_dep);
        }
        Ok(max_op)
    }

    /// Takes the next change of the log in. It was checked, by this hub or by the one that wrote it.
    pub(super) fn apply(&mut self, header: &Header, bytes: usize, command: Option<CommandRef>) {
        let max_op = header.max_op();
        for dep in &header.deps {
            self.heads.remove(dep);
        }
        self.heads.insert(header.hash, max_op);
        self.window.insert(header.hash, max_op);
        self.order.push_back(header.hash);
        if self.order.len() > self.window_max
            && let Some(oldest) = self.order.pop_front()
        {
            self.window.remove(&oldest);
            self.below += 1;
        }
        self.actors.insert(header.actor, Last { seq: header.seq, max_op, hash: header.hash });
        if let Some(command) = command {
            self.settled.insert(command.outbox, Settled::new(command.number, header.hash));
        }
        self.bytes += bytes as u64;
    }

    pub(super) fn encode(&self) -> Bytes {
        let mut out = Writer::new(VERSION);
        out.uint(self.bytes);
        out.uint(self.below);
        out.uint(self.order.len() as u64);
        for hash in &self.order {
            out.bytes(&hash.0);
            out.uint(self.window.get(hash).copied().unwrap_or(0));
        }
        out.uint(self.heads.len() as u64);
        for (hash, max_op) in &self.heads {
            out.bytes(&hash.0);
            out.uint(*max_op);
        }
        out.uint(self.actors.len() as u64);
        for (actor, last) in &self.actors {
            out.bytes(&actor.0);
            out.uint(last.seq);
            out.uint(last.max_op);
            out.bytes(&last.hash.0);
        }
        out.uint(self.settled.len() as u64);
        for (outbox, settled) in &self.settled {
            out.bytes(&outbox.0);
            out.uint(settled.number);
            out.bytes(&settled.digest);
        }
        out.finish()
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, StoredError> {
        let mut from = Reader::new(bytes, VERSION)?;
        let (bytes, below) = (from.uint()?, from.uint()?);
        let (mut window, mut order) = (BTreeMap::new(), VecDeque::new());
        for _ in 0..from.count(33)? {
            let hash = ChangeHash(from.array()?);
            window.insert(hash, from.uint()?);
            order.push_back(hash);
        }
        if window.len() != order.len() {
            return Err(StoredError::OutOfRange("window"));
        }
        let mut heads = BTreeMap::new();
        for _ in 0..from.count(33)? {
            heads.insert(ChangeHash(from.array()?), from.uint()?);
        }
        let mut actors = BTreeMap::new();
        for _ in 0..from.count(50)? {
            let actor = ActorId(from.array()?);
            let (seq, max_op) = (from.uint()?, from.uint()?);
            actors.insert(actor, Last { seq, max_op, hash: ChangeHash(from.array()?) });
        }
        let mut settled = BTreeMap::new();
        for _ in 0..from.count(25)? {
            let outbox = OutboxId(from.array()?);
            settled.insert(outbox, Settled { number: from.uint()?, digest: from.array()? });
        }
        from.finish()?;
        Ok(Self { window_max: WINDOW, window, order, heads, actors, settled, bytes, below })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(actor: u32, seq: u64, start_op: u64, deps: &[u8], hash: u8) -> Header {
        Header {
            hash: ChangeHash([hash; 32]),
            actor: ActorId::leased(1, actor),
            seq,
            start_op,
            ops: 1,
            deps: deps.iter().map(|d| ChangeHash([*d; 32])).collect(),
            others: vec![],
            time: 0,
        }
    }

    fn genesis(window: usize) -> Index {
        Index::with_window(ChangeHash([0; 32]), 10, window)
    }

    fn code(result: Result<(), Refusal>) -> Option<Code> {
        result.err().map(|refusal| refusal.code)
    }

    #[test]
    fn a_change_must_continue_its_actor_and_its_deps() {
        let mut index = genesis(100);
        let first = header(1, 1, 11, &[0], 1);
        assert_eq!(code(index.check(&first)), None);
        assert_eq!(code(index.check(&header(1, 2, 11, &[0], 1))), Some(Code::WrongSeq));
        assert_eq!(code(index.check(&header(1, 1, 12, &[0], 1))), Some(Code::WrongStartOp));
        assert_eq!(code(index.check(&header(1, 1, 11, &[9], 1))), Some(Code::UnknownDeps));
        assert_eq!(code(index.check(&header(1, 1, 11, &[], 1))), Some(Code::UnknownDeps));
        let stranger = Header { others: vec![ActorId::leased(1, 7)], ..first.clone() };
        assert_eq!(code(index.check(&stranger)), Some(Code::UnknownDeps));
        index.apply(&first, 100, None);
        // Beside its own last change an actor would use operation ids twice.
        assert_eq!(code(index.check(&header(1, 2, 11, &[0], 2))), Some(Code::UnknownDeps));
        assert_eq!(code(index.check(&header(1, 2, 12, &[1], 2))), None);
    }

    #[test]
    fn below_the_window_only_heads_and_the_own_last_change_are_known() {
        let mut index = genesis(3);
        index.apply(&header(1, 1, 11, &[0], 1), 1, None);
        index.apply(&header(2, 1, 11, &[0], 2), 1, None);
        for (seq, hash) in (2..8).zip(3..) {
            index.apply(&header(2, seq, 10 + seq, &[hash - 1], hash), 1, None);
        }
        assert_eq!(code(index.check(&header(3, 1, 11, &[0], 90))), Some(Code::Stale));
        assert_eq!(code(index.check(&header(3, 1, 12, &[1], 90))), None, "a head, though old");
        index.apply(&header(3, 1, 18, &[1, 8], 91), 1, None);
        assert_eq!(code(index.check(&header(1, 2, 19, &[1, 91], 92))), None, "its own last");
        assert_eq!(code(index.check(&header(4, 1, 12, &[1], 92))), Some(Code::Stale));
    }

    #[test]
    fn the_encoded_index_comes_back_equal() {
        let mut index = genesis(WINDOW);
        let command = CommandRef { outbox: OutboxId([5; 16]), number: 9 };
        index.apply(&header(1, 1, 11, &[0], 1), 100, Some(command));
        index.apply(&header(2, 1, 11, &[0], 2), 70, None);
        let bytes = index.encode();
        assert_eq!(Index::decode(&bytes), Ok(index.clone()));
        assert!(index.settled(OutboxId([5; 16])).was(ChangeHash([1; 32])));
        for len in 0..bytes.len() {
            assert!(Index::decode(&bytes[..len]).is_err(), "cut at {len}");
        }
    }
}
