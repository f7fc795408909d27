//! What a driver makes of the store when the hub asks for it, off the hub's loop because it takes as
//! long as the document is large: its log in outline, and the gate's index of it.

use automerge::{Automerge, Change, TextEncoding};

use super::space::Rulebook;
use crate::document::genesis;
use crate::gate;
use crate::ids::{Address, Cursor};
use crate::storage::{LogHead, LogStore, Record, Snapshot, SnapshotHead, StoreError};

/// How much of a snapshot is read at a time.
const SNAPSHOT_PART_BYTES: usize = 4 << 20;

/// The outline of a document's log and the records of its tail; `None` if it has no log yet.
pub type Loaded = Option<(LogHead, Vec<Record>)>;

/// Reads what [`super::Effect::Load`] asks for.
///
/// # Errors
/// [`StoreError`] if the store fails or what it has is damaged.
pub fn load(store: &(impl LogStore + ?Sized), address: &Address) -> Result<Loaded, StoreError> {
    let Some(head) = store.head(address)? else { return Ok(None) };
    let records = store.read(address, head.tail_from, usize::MAX)?;
    Ok(Some((head, records)))
}

/// Reads what [`super::Effect::ReadRules`] asks for.
///
/// # Errors
/// [`StoreError`] if the store fails, or what it has is damaged or not what rules are.
pub fn rules(store: &(impl LogStore + ?Sized), space: &str) -> Result<Box<Rulebook>, StoreError> {
    let address = Address::rules_of(space).map_err(|e| StoreError::Failed(e.to_string()))?;
    let deletion = store.deletion(space)?;
    if deletion.is_some_and(|deletion| !deletion.emptied) {
        return Ok(Box::new(Rulebook::blank(&address).of(deletion)));
    }
    let Some((head, records)) = load(store, &address)? else {
        return Ok(Box::new(Rulebook::blank(&address).of(deletion)));
    };
    let body = head.snapshot.as_ref().map(|of| read_body(store, &address, of)).transpose()?;
    let rules = rulebook(&address, body.as_deref(), &records)?;
    Ok(Box::new(rules.of(deletion)))
}

/// The rules in a snapshot's body, if there is one, and the records above it.
pub(super) fn rulebook(
    address: &Address,
    body: Option<&[u8]>,
    records: &[Record],
) -> Result<Box<Rulebook>, StoreError> {
    let damaged = |what: String| StoreError::Damaged { address: address.clone(), what };
    let mut document = match body {
        Some(body) => Automerge::load(body).map_err(|e| damaged(e.to_string()))?,
        None => genesis::document(address, TextEncoding::UnicodeCodePoint),
    };
    let entries = records.iter().flat_map(|record| &record.entries);
    let changes: Result<Vec<_>, _> =
        entries.map(|entry| Change::try_from(&entry.change[..])).collect();
    let changes = changes.map_err(|error| damaged(error.to_string()))?;
    document.apply_changes(changes).map_err(|error| damaged(error.to_string()))?;
    Rulebook::read(document)
        .map(Box::new)
        .map_err(|error| damaged(format!("its content is not rules: {error}")))
}

/// Makes what [`super::Effect::Index`] asks for.
///
/// # Errors
/// [`StoreError`] if the store fails, or what it has is damaged or not what the gate lets in.
pub fn index(
    store: &(impl LogStore + ?Sized),
    address: &Address,
) -> Result<Box<gate::Index>, StoreError> {
    let head = store.head(address)?;
    let index = index_once(store, address);
    // A new snapshot may have taken the old one's place meanwhile.
    if index.is_err() && store.head(address)? != head {
        return index_once(store, address);
    }
    index
}

fn index_once(
    store: &(impl LogStore + ?Sized),
    address: &Address,
) -> Result<Box<gate::Index>, StoreError> {
    let Some((head, records)) = load(store, address)? else {
        return Ok(Box::new(gate::Index::new(address)));
    };
    let body = head.snapshot.as_ref().map(|of| read_body(store, address, of)).transpose()?;
    let snapshot = head.snapshot.as_ref().map(|of| of.cursor).zip(body.as_deref());
    index_of(address, snapshot, &records)
}

/// The gate's index of a log: of a snapshot's body, if there is one, and the records above it.
pub(super) fn index_of(
    address: &Address,
    snapshot: Option<(Cursor, &[u8])>,
    records: &[Record],
) -> Result<Box<gate::Index>, StoreError> {
    let damaged = |what: String| StoreError::Damaged { address: address.clone(), what };
    let mut index = Box::new(gate::Index::new(address));
    if let Some((_, body)) = snapshot {
        let document = Automerge::load(body)
            .map_err(|error| damaged(format!("the snapshot does not load: {error}")))?;
        let changes = document.get_changes(&[]);
        index
            .replay(changes.iter().map(Change::raw_bytes))
            .map_err(|refusal| damaged(format!("a change in the snapshot: {refusal}")))?;
    }
    let below = snapshot.map_or(0, |(cursor, _)| cursor.seq);
    for record in records {
        for (seq, entry) in (record.first_seq..).zip(&record.entries) {
            if seq > below {
                index
                    .replay([&entry.change[..]])
                    .map_err(|refusal| damaged(format!("the change with seq {seq}: {refusal}")))?;
            }
        }
    }
    Ok(index)
}

/// Reads all of the snapshot that is stored, to make the next one of it ([`super::compact`]). Only
/// whoever makes snapshots replaces them, so it stays while it is read.
///
/// # Errors
/// [`StoreError`] if the store fails or what it has is damaged.
pub fn snapshot(
    store: &(impl LogStore + ?Sized),
    address: &Address,
) -> Result<Option<Snapshot>, StoreError> {
    let Some(head) = store.head(address)?.and_then(|head| head.snapshot) else { return Ok(None) };
    let body = read_body(store, address, &head)?;
    let attribution = store.read_attribution(address, head.cursor)?.ok_or_else(|| {
        let what = "the snapshot says not who wrote it".to_owned();
        StoreError::Damaged { address: address.clone(), what }
    })?;
    Ok(Some(Snapshot { cursor: head.cursor, body: body.into(), index: head.index, attribution }))
}

fn read_body(
    store: &(impl LogStore + ?Sized),
    address: &Address,
    head: &SnapshotHead,
) -> Result<Vec<u8>, StoreError> {
    read_body_at(store, address, head.cursor, head.body_bytes)
}

/// Reads all of the body of the snapshot at `cursor`.
pub(super) fn read_body_at(
    store: &(impl LogStore + ?Sized),
    address: &Address,
    cursor: Cursor,
    body_bytes: u64,
) -> Result<Vec<u8>, StoreError> {
    let mut body = Vec::new();
    while (body.len() as u64) < body_bytes {
        let offset = body.len() as u64;
        match store.read_snapshot(address, cursor, offset, SNAPSHOT_PART_BYTES)? {
            Some(part) if !part.is_empty() => body.extend_from_slice(&part),
            _ => {
                let what = "the snapshot ends early".to_owned();
                return Err(StoreError::Damaged { address: address.clone(), what });
            }
        }
    }
    Ok(body)
}
