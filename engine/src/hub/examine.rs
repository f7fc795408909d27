//! Looks at a stored document without serving it: what is in it, and whether all of it holds together.
//! For operators' tools; changes nothing.

use automerge::{Automerge, ChangeHash as AutomergeHash, ReadDoc};

use super::compact::{CompactError, Work};
use super::index::Index;
use super::load::{self, load};
use super::stream::read_stream;
use crate::change::reader;
use crate::document::genesis;
use crate::ids::{Address, ChangeHash, Cursor, StreamAddress, Tip};
use crate::storage::record::{DigestKey, advance};
use crate::storage::{Entry, LogHead, LogStore, Record, Snapshot, StoreError};

/// What is in a stored document.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Survey {
    /// Its log in outline.
    pub head: LogHead,
    /// The heads of the document at the end of its log, ascending.
    pub heads: Vec<ChangeHash>,
    /// Actors that have written in this epoch, genesis included.
    pub actors: usize,
    /// Bytes of all changes of this epoch, those below the snapshot included.
    pub bytes: u64,
}

fn damaged(address: &Address, what: impl Into<String>) -> StoreError {
    StoreError::Damaged { address: address.clone(), what: what.into() }
}

/// The log of a document in outline with all of its tail, of one moment: another snapshot may be put
/// while they are read.
fn read(
    store: &(impl LogStore + ?Sized),
    address: &Address,
) -> Result<Option<(LogHead, Vec<Record>)>, StoreError> {
    let Some((head, mut records)) = load(store, address)? else { return Ok(None) };
    records.retain(|record| record.last_seq() <= head.end.seq);
    Ok(Some((head, records)))
}

/// Reads what is in a stored document, from its log's outline, its index and the changes of its tail.
/// `None` if it has no log.
///
/// # Errors
/// [`StoreError`] if the store fails, or what it has does not read.
pub fn survey(
    store: &(impl LogStore + ?Sized),
    address: &Address,
) -> Result<Option<Survey>, StoreError> {
    let Some((head, records)) = read(store, address)? else { return Ok(None) };
    if StreamAddress::of(address).is_some() {
        // It has no heads: its text is what its entries say, one after the other.
        let bytes = records.iter().map(|record| record.change_bytes() as u64).sum();
        return Ok(Some(Survey { head, heads: Vec::new(), actors: 1, bytes }));
    }
    let (mut index, below) = match &head.snapshot {
        None => {
            let genesis = genesis::change(address);
            (Index::new(ChangeHash(genesis.hash().0), genesis.max_op()), 0)
        }
        Some(snapshot) => {
            let index = Index::decode(&snapshot.index);
            let index = index.map_err(|error| damaged(address, error.to_string()))?;
            (index, snapshot.cursor.seq)
        }
    };
    for (seq, entry) in numbered(&records).filter(|(seq, _)| *seq > below) {
        let header = reader::read(&entry.change);
        let header = header.map_err(|e| damaged(address, format!("the change at {seq}: {e}")))?;
        index.apply(&header, entry.change.len(), entry.command, entry.at);
    }
    let heads = index.heads().collect();
    Ok(Some(Survey { head, heads, actors: index.actors(), bytes: index.bytes() }))
}

fn numbered(records: &[Record]) -> impl Iterator<Item = (u64, &Entry)> {
    records.iter().flat_map(|record| (record.first_seq..).zip(&record.entries))
}

/// Checks everything about a stored document that can be checked: that its records are one chain under
/// the store's key, each change reads and is the one that its entry names, the snapshot loads and has
/// the heads of its index, it has all changes of the records that are kept below it, and is what these make where they
/// begin with the log; and that the log above it applies. Of a stream, that its log is one. `None` if it has no log.
///
/// # Errors
/// [`StoreError`] if the store fails; [`StoreError::Damaged`] with the first thing that is wrong.
pub fn verify(
    store: &(impl LogStore + ?Sized),
    address: &Address,
    key: &DigestKey,
) -> Result<Option<Survey>, StoreError> {
    let mut last = None;
    for _ in 0..3 {
        let before = store.head(address)?;
        let verified = verify_once(store, address, key);
        // A new snapshot may have taken the old one's place meanwhile.
        if verified.is_ok() || store.head(address)?.map(snapshot_of) == before.map(snapshot_of) {
            return verified;
        }
        last = Some(verified);
    }
    last.unwrap_or(Ok(None))
}

fn snapshot_of(head: LogHead) -> (Option<Cursor>, u64) {
    (head.snapshot.map(|snapshot| snapshot.cursor), head.tail_from)
}

fn verify_once(
    store: &(impl LogStore + ?Sized),
    address: &Address,
    key: &DigestKey,
) -> Result<Option<Survey>, StoreError> {
    let Some(survey) = survey(store, address)? else { return Ok(None) };
    let (records, snapshot) = (read(store, address)?, load::snapshot(store, address)?);
    let Some((head, records)) = records else { return Ok(None) };
    check_chain(address, &head, &records, key)?;
    if StreamAddress::of(address).is_some() {
        let read = read_stream(key, &head, &records);
        return read.map(|_| Some(survey)).map_err(|e| damaged(address, e.to_string()));
    }
    for sealed in &head.sealed {
        let body = load::read_body_at(store, address, sealed.end, sealed.body_bytes)?;
        let loaded = Automerge::load(&body);
        loaded
            .map_err(|e| damaged(address, format!("the end of epoch {}: {e}", sealed.end.epoch)))?;
    }
    let wrong = |error: CompactError| damaged(address, error.to_string());
    if let Some(snapshot) = &snapshot {
        check_below(address, snapshot, &records).map_err(wrong)??;
    }
    let mut work = Work::start(address, snapshot.as_ref()).map_err(wrong)?;
    let below = snapshot.as_ref().map_or(0, |snapshot| snapshot.cursor.seq);
    for record in records.iter().filter(|record| record.first_seq > below) {
        work.add(record).map_err(wrong)?;
    }
    work.body().map_err(wrong)?;
    // What the gate would not let in, nobody could write to.
    load::index(store, address)?;
    Ok(Some(survey))
}

/// Checks that records follow each other and that their digests are those of what they say.
fn check_chain(
    address: &Address,
    head: &LogHead,
    records: &[Record],
    key: &DigestKey,
) -> Result<(), StoreError> {
    let mut end: Option<(u64, Tip)> = None;
    if head.tail_from == 1 {
        end = Some((0, Tip::EMPTY));
    }
    for record in records {
        let first = record.first_seq;
        if let Some((seq, tip)) = end
            && (first != seq + 1 || record.tip_before != tip)
        {
            return Err(damaged(address, format!("the record at {first} does not follow {seq}")));
        }
        let tip = record.entries.iter().fold(record.tip_before, |tip, e| advance(key, tip, e));
        if tip != record.tip {
            let what = format!("the digest of the record at {first} is not that of its entries");
            return Err(damaged(address, what));
        }
        end = Some((record.last_seq(), tip));
        if let Some(snapshot) = &head.snapshot
            && snapshot.cursor.seq == record.last_seq()
            && snapshot.cursor.tip != tip
        {
            return Err(damaged(address, "the snapshot's digest is not that of the log"));
        }
    }
    match end {
        Some(end) if end != (head.end.seq, head.end.tip) => Err(damaged(
            address,
            format!("the records end at {}, the log at {}", end.0, head.end.seq),
        )),
        _ => Ok(()),
    }
}

/// Checks a snapshot against what is kept of the log below it.
fn check_below(
    address: &Address,
    snapshot: &Snapshot,
    records: &[Record],
) -> Result<Result<(), StoreError>, CompactError> {
    let body = |e: automerge::AutomergeError| CompactError::Body(e.to_string());
    let document = Automerge::load(&snapshot.body).map_err(body)?;
    let below = numbered(records).filter(|(seq, _)| *seq <= snapshot.cursor.seq);
    for (seq, entry) in below {
        if document.get_change_by_hash(&AutomergeHash(entry.hash.0)).is_none() {
            return Ok(Err(damaged(address, format!("the snapshot lacks the change at {seq}"))));
        }
    }
    if records.first().is_some_and(|record| record.first_seq == 1) {
        let mut work = Work::start(address, None)?;
        for record in records.iter().filter(|record| record.last_seq() <= snapshot.cursor.seq) {
            work.add(record)?;
        }
        let mut heads: Vec<_> = document.get_heads().iter().map(|h| ChangeHash(h.0)).collect();
        heads.sort_unstable();
        if !work.heads().eq(heads) {
            return Ok(Err(damaged(address, "the snapshot is not what the log below it makes")));
        }
    }
    Ok(Ok(()))
}
