//! What the hub keeps of one document beside the gate's index: its heads, where each actor stands,
//! which commands are settled, how large the log is. It judges nothing, and must never see an
//! operation or a connection.
//!
//! It is rebuilt from a snapshot's index and the log above it, so it is a function of the log alone:
//! [`Index::apply`] is the only way in.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::stored::{Reader, StoredError, Writer};
use crate::change::reader::Header;
use crate::clock::Timestamp;
use crate::ids::{ActorId, ChangeHash, OutboxId};
use crate::storage::CommandRef;

const VERSION: u8 = 3;

/// An actor's last change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Last {
    seq: u64,
    hash: ChangeHash,
}

/// An outbox's highest settled command, and enough of its change to know it again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Settled {
    pub(super) number: u64,
    digest: [u8; 8],
    at: Timestamp,
}

impl Settled {
    fn new(number: u64, hash: ChangeHash, at: Timestamp) -> Self {
        let mut digest = [0; 8];
        digest.copy_from_slice(&hash.0[..8]);
        Self { number, digest, at }
    }

    /// The first bytes of the hash of the settled command's change.
    pub(super) const fn digest(self) -> [u8; 8] {
        self.digest
    }

    /// Whether the settled command was made as this change.
    pub(super) fn was(&self, hash: ChangeHash) -> bool {
        hash.0[..8] == self.digest
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Index {
    /// The heads with their largest operation counter.
    heads: BTreeMap<ChangeHash, u64>,
    actors: BTreeMap<ActorId, Last>,
    settled: BTreeMap<OutboxId, Settled>,
    /// Bytes of all changes in the epoch's log.
    bytes: u64,
    /// How many of them the epoch began with.
    begun_with: u64,
}

impl Index {
    /// The index of an empty log: genesis alone is known.
    pub(super) fn new(genesis: ChangeHash, max_op: u64) -> Self {
        Self {
            heads: BTreeMap::from([(genesis, max_op)]),
            actors: BTreeMap::from([(ActorId::GENESIS, Last { seq: 1, hash: genesis })]),
            settled: BTreeMap::new(),
            bytes: 0,
            begun_with: 0,
        }
    }

    /// The index of an epoch that goes on from another: its first changes were all taken in.
    pub(super) fn begin(&mut self, before: &Self) {
        self.begun_with = self.bytes;
        self.settled.clone_from(&before.settled);
    }

    /// Forgets which commands are settled of those outboxes that have brought none since. Whoever
    /// comes back later knows its commands in the log by their hashes.
    pub(super) fn forget_settled_before(&mut self, since: Timestamp) {
        self.settled.retain(|_, settled| settled.at >= since);
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

    /// Bytes of the changes that the epoch began with.
    pub(super) fn begun_with(&self) -> u64 {
        self.begun_with
    }

    /// The first change of all, and whether the epoch began with others of which it is not the place
    /// to build on any more.
    pub(super) fn is_behind_the_start(&self, header: &Header) -> bool {
        let begun = self.actors.keys().nth(1).is_some_and(|first| first.is_rollover());
        let genesis = self.actors.get(&ActorId::GENESIS).map(|last| last.hash);
        begun && !header.actor.is_rollover() && genesis.is_some_and(|g| header.deps.contains(&g))
    }

    /// The highest slot of a term that has written.
    pub(super) fn slots_of_term(&self, term: u64) -> u32 {
        let first = ActorId::leased(term, 0);
        let of_term = self.actors.range(first..).take_while(|(actor, _)| actor.term() == term);
        of_term.map(|(actor, _)| actor.slot()).max().unwrap_or(0)
    }

    /// Whether nobody but this actor has written anything.
    pub(super) fn is_only_of(&self, actor: ActorId) -> bool {
        self.actors.keys().all(|known| *known == ActorId::GENESIS || *known == actor)
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
        header.seq <= self.last_seq(header.actor)
    }

    /// Takes the next change of the log in. It was checked, by this hub or by the one that wrote it.
    pub(super) fn apply(
        &mut self,
        header: &Header,
        bytes: usize,
        command: Option<CommandRef>,
        at: Timestamp,
    ) {
        let max_op = header.max_op();
        for dep in &header.deps {
            self.heads.remove(dep);
        }
        self.heads.insert(header.hash, max_op);
        self.actors.insert(header.actor, Last { seq: header.seq, hash: header.hash });
        if let Some(command) = command {
            self.settled.insert(command.outbox, Settled::new(command.number, header.hash, at));
        }
        self.bytes += bytes as u64;
    }

    pub(super) fn encode(&self) -> Bytes {
        let mut out = Writer::new(VERSION);
        out.uint(self.bytes);
        out.uint(self.begun_with);
        out.uint(self.heads.len() as u64);
        for (hash, max_op) in &self.heads {
            out.bytes(&hash.0);
            out.uint(*max_op);
        }
        out.uint(self.actors.len() as u64);
        for (actor, last) in &self.actors {
            out.bytes(&actor.0);
            out.uint(last.seq);
            out.bytes(&last.hash.0);
        }
        out.uint(self.settled.len() as u64);
        for (outbox, settled) in &self.settled {
            out.bytes(&outbox.0);
            out.uint(settled.number);
            out.bytes(&settled.digest);
            out.uint(settled.at.0);
        }
        out.finish()
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, StoredError> {
        let mut from = Reader::new(bytes, VERSION)?;
        let bytes = from.uint()?;
        let begun_with = from.uint()?;
        let mut heads = BTreeMap::new();
        for _ in 0..from.count(33)? {
            heads.insert(ChangeHash(from.array()?), from.uint()?);
        }
        let mut actors = BTreeMap::new();
        for _ in 0..from.count(49)? {
            let actor = ActorId(from.array()?);
            let seq = from.uint()?;
            actors.insert(actor, Last { seq, hash: ChangeHash(from.array()?) });
        }
        let mut settled = BTreeMap::new();
        for _ in 0..from.count(26)? {
            let outbox = OutboxId(from.array()?);
            let (number, digest) = (from.uint()?, from.array()?);
            settled.insert(outbox, Settled { number, digest, at: Timestamp(from.uint()?) });
        }
        from.finish()?;
        Ok(Self { heads, actors, settled, bytes, begun_with })
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

    #[test]
    fn the_encoded_index_comes_back_equal() {
        let mut index = Index::new(ChangeHash([0; 32]), 10);
        let command = CommandRef { outbox: OutboxId([5; 16]), number: 9 };
        index.apply(&header(1, 1, 11, &[0], 1), 100, Some(command), Timestamp(7));
        index.apply(&header(2, 1, 11, &[0], 2), 70, None, Timestamp(8));
        let bytes = index.encode();
        assert_eq!(Index::decode(&bytes), Ok(index.clone()));
        assert!(index.settled(OutboxId([5; 16])).was(ChangeHash([1; 32])));
        for len in 0..bytes.len() {
            assert!(Index::decode(&bytes[..len]).is_err(), "cut at {len}");
        }
        index.forget_settled_before(Timestamp(7));
        assert_eq!(index.settled(OutboxId([5; 16])).number, 9);
        index.forget_settled_before(Timestamp(8));
        assert_eq!(index.settled(OutboxId([5; 16])).number, 0);
    }
}
