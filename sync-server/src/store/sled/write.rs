//! Writing: batches of appends and snapshots. A batch is checked, put into the tree in one piece,
//! flushed and synced; any failure after the first of these ends the store.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{MutexGuard, PoisonError};

use syncline_engine::clock::Timestamp;
use syncline_engine::ids::{Address, Cursor, Tip};
use syncline_engine::storage::{Append, Record, Rollover, Snapshot, StoreError, record};

use super::log::Log;
use super::read::End;
use super::tree::Values;
use super::value::{CONTENT_BYTES_MAX, Document, RecordPrefix, SealedOutline, SnapshotOutline};
use super::{keys, value};

/// Values of a snapshot that go into the tree at once: about 1.5 MB, so that the committer never
/// waits long for its turn.
const SNAPSHOT_VALUES_PER_BATCH: usize = 256;

impl Log {
    /// Takes the right to write, for one batch.
    pub(super) fn writing(&self) -> Result<MutexGuard<'_, ()>, StoreError> {
        let guard = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        // Whoever had it before may have failed.
        self.check_usable()?;
        Ok(guard)
    }

    /// Runs a step of a write; if it fails or panics, so has the store.
    fn step<E: std::fmt::Display>(
        &self,
        what: &str,
        step: impl FnOnce() -> Result<(), E>,
    ) -> Result<(), StoreError> {
        match catch_unwind(AssertUnwindSafe(step)) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(self.fail(format!("{what}: {error}"))),
            Err(_) => Err(self.fail(format!("{what}: sled panicked"))),
        }
    }

    pub(super) fn apply(&self, values: Values) -> Result<(), StoreError> {
        self.step("could not write", || self.tree.apply(values))
    }

    pub(super) fn make_durable(&self) -> Result<(), StoreError> {
        self.step("could not flush", || self.tree.active.flush().map(|_| ()))?;
        self.step("could not sync", || self.syncer.sync())
    }

    /// Writes a batch and returns when it is on disk.
    pub(super) fn commit(&self, values: Values) -> Result<(), StoreError> {
        self.apply(values)?;
        self.make_durable()
    }

    pub(super) fn append_batch(&self, batch: &[Append]) -> Result<(), StoreError> {
        self.check_usable()?;
        if batch.is_empty() {
            return Ok(());
        }
        let _writing = self.writing()?;
        let mut values = Values::default();
        let mut ends: BTreeMap<&Address, End> = BTreeMap::new();
        let mut firsts: BTreeMap<Address, u64> = BTreeMap::new();
        for append in batch {
            let Append { address, epoch, record, .. } = append;
            let end = match ends.get(address) {
                Some(end) => *end,
                None => self.end_or_begin(append, &mut values)?,
            };
            if !record.continues(end.cursor, *epoch) {
                return Err(StoreError::Conflict {
                    address: address.clone(),
                    end_seq: end.cursor.seq,
                    first_seq: record.first_seq,
                });
            }
            firsts.entry(address.clone()).or_insert(record.first_seq);
            let bytes = put_record(&mut values, address, end.bytes, record);
            let cursor = Cursor { epoch: *epoch, seq: record.last_seq(), tip: record.tip };
            ends.insert(address, End { cursor, bytes });
        }
        self.put_brought(batch, &mut values)?;
        *self.in_flight() = firsts;
        // If this fails nothing is shown any more, so what is hidden may stay so.
        self.commit(values)?;
        self.in_flight().clear();
        if let Some(append) = batch.last() {
            self.written(&append.address);
        }
        Ok(())
    }

    /// The end of a document's log. If it has none, puts into `values` that it begins.
    fn end_or_begin(&self, append: &Append, values: &mut Values) -> Result<End, StoreError> {
        let Append { address, epoch, .. } = append;
        if let Some(document) = self.document(address)? {
            return self.end(address, &document);
        }
        if self.record_between(address, (0, u64::MAX), true)?.is_some() {
            return Err(self.damaged(address, "the document's outline is missing", None));
        }
        put_document(values, address, &Document::new(*epoch));
        Ok(End { cursor: Cursor { epoch: *epoch, seq: 0, tip: Tip::EMPTY }, bytes: 0 })
    }

    pub(super) fn replace_snapshot(
        &self,
        address: &Address,
        snapshot: &Snapshot,
        keep_from: u64,
    ) -> Result<(), StoreError> {
        let document = self.document_for_snapshot(address, snapshot.cursor)?;
        let outline = SnapshotOutline::of(document.generation() + 1, snapshot);
        self.write_snapshot(address, &outline, snapshot)?;

        let _writing = self.writing()?;
        let keep_from = keep_from.min(snapshot.cursor.seq.saturating_add(1));
        let holder = self.record_with(address, document.epoch, keep_from)?;
        let kept_from = holder.map_or(keep_from, |(first_seq, _)| first_seq);
        let document = Document { snapshot: Some(outline), ..document };
        self.keep_only(address, &document, kept_from)
    }

    /// Ends an epoch: see [`syncline_engine::storage::LogStore::roll_over`].
    pub(super) fn end_epoch(
        &self,
        address: &Address,
        rollover: &Rollover,
        keep_since: Timestamp,
    ) -> Result<(), StoreError> {
        let Rollover { last, first, start } = rollover;
        let document = self.document_that_ends_at(address, last.cursor)?;
        let generation = document.generation();
        let last_outline = SnapshotOutline::of(generation + 1, last);
        let first_outline = SnapshotOutline::of(generation + 2, first);
        self.write_snapshot(address, &last_outline, last)?;
        self.write_snapshot(address, &first_outline, first)?;

        let _writing = self.writing()?;
        let mut sealed = document.sealed;
        sealed.retain(|sealed| sealed.start.at >= keep_since);
        sealed.push(SealedOutline { epoch: document.epoch, last: last_outline, start: *start });
        let epoch = start.cursor.epoch;
        let document = Document { epoch, snapshot: Some(first_outline), sealed };
        self.keep_only(address, &document, u64::MAX)
    }

    /// Replaces all of a document by the first snapshot of another epoch.
    pub(super) fn begin_anew(
        &self,
        address: &Address,
        end: Cursor,
        first: &Snapshot,
    ) -> Result<(), StoreError> {
        let document = self.document_that_ends_at(address, end)?;
        let outline = SnapshotOutline::of(document.generation() + 1, first);
        self.write_snapshot(address, &outline, first)?;
        let _writing = self.writing()?;
        let mut document = Document::new(first.cursor.epoch);
        document.snapshot = Some(outline);
        self.keep_only(address, &document, u64::MAX)
    }

    /// Puts a document's outline, and drops the snapshots that it does not name and the records below
    /// a seq, in one batch. For who holds `writing`.
    fn keep_only(
        &self,
        address: &Address,
        document: &Document,
        kept_from: u64,
    ) -> Result<(), StoreError> {
        let mut values = Values::default();
        put_document(&mut values, address, document);
        let snapshots = (
            keys::snapshot_part(address, 0, 0),
            keys::snapshot_part(address, document.generation(), 0),
        );
        for item in self.tree.walk(&snapshots.0, &snapshots.1) {
            let (key, value) = item.map_err(|error| self.fail(error.to_string()))?;
            if keys::numbers(&key).is_none_or(|(generation, _)| !document.uses(generation)) {
                values.remove(&key, &value);
            }
        }
        let from = keys::record_part(address, 0, 0);
        for item in self.tree.walk(&from, &keys::record_part(address, kept_from, 0)) {
            let (key, value) = item.map_err(|error| self.fail(error.to_string()))?;
            values.remove(&key, &value);
        }
        self.delete(values)?;
        self.written(address);
        Ok(())
    }

    /// Commits values of which some are removed, so that no scan sees half of that.
    pub(super) fn delete(&self, values: Values) -> Result<(), StoreError> {
        {
            let _alone = self.deleting.write().unwrap_or_else(PoisonError::into_inner);
            self.apply(values)?;
        }
        self.make_durable()
    }

    /// The document's outline, if its log ends at `cursor`.
    fn document_that_ends_at(
        &self,
        address: &Address,
        cursor: Cursor,
    ) -> Result<Document, StoreError> {
        let _writing = self.writing()?;
        let conflict = |end_seq| StoreError::Conflict {
            address: address.clone(),
            end_seq,
            first_seq: cursor.seq.saturating_add(1),
        };
        let document = self.document(address)?.ok_or_else(|| conflict(0))?;
        let end = self.end(address, &document)?.cursor;
        if end == cursor { Ok(document) } else { Err(conflict(end.seq)) }
    }

    /// The document's outline, if a snapshot at `cursor` may be put.
    fn document_for_snapshot(
        &self,
        address: &Address,
        cursor: Cursor,
    ) -> Result<Document, StoreError> {
        // Nothing is on its way to the disk meanwhile, so the snapshot stands for durable records.
        let _writing = self.writing()?;
        let conflict = |end_seq| StoreError::Conflict {
            address: address.clone(),
            end_seq,
            first_seq: cursor.seq.saturating_add(1),
        };
        let document = self.document(address)?.ok_or_else(|| conflict(0))?;
        let current = document.snapshot.map(|snapshot| snapshot.cursor(document.epoch));
        let goes_back = current.is_some_and(|current| cursor.seq < current.seq);
        let holder = self.record_with(address, document.epoch, cursor.seq)?;
        let ends_a_record = holder.is_some_and(|(_, end)| end == cursor);
        if current != Some(cursor) && (goes_back || !ends_a_record) {
            return Err(conflict(self.end(address, &document)?.cursor.seq));
        }
        Ok(document)
    }

    /// Puts the parts of a snapshot on disk, to which nothing points yet, and reads them back.
    pub(super) fn write_snapshot(
        &self,
        address: &Address,
        outline: &SnapshotOutline,
        snapshot: &Snapshot,
    ) -> Result<(), StoreError> {
        let generation = outline.generation;
        // A put that a crash cut short leaves parts of this very generation.
        let from = keys::snapshot_part(address, generation, 0);
        let to = keys::snapshot_part(address, generation + 1, 0);
        let mut values = Values::default();
        for item in self.tree.walk(&from, &to) {
            let (key, value) = item.map_err(|error| self.fail(error.to_string()))?;
            values.remove(&key, &value);
        }
        if !values.is_empty() {
            self.apply(values)?;
        }

        let whole = [&snapshot.body[..], &snapshot.index, &snapshot.attribution].concat();
        let mut parts = (0_u32..).zip(whole.chunks(CONTENT_BYTES_MAX)).peekable();
        while parts.peek().is_some() {
            let mut values = Values::default();
            for (part, content) in parts.by_ref().take(SNAPSHOT_VALUES_PER_BATCH) {
                let key = keys::snapshot_part(address, generation, part);
                let value = value::seal(&key, content);
                values.insert(key, value);
            }
            self.apply(values)?;
        }
        self.make_durable()?;
        // Much of this comes from sled's cache: it proves the keys and the tree, not the device.
        if self.snapshot_bytes(address, outline, 0, whole.len() as u64)? == whole {
            return Ok(());
        }
        Err(self.damaged(address, "a snapshot read back is not what was written", None))
    }
}

pub(super) fn put_document(values: &mut Values, address: &Address, document: &Document) {
    let key = keys::document(address);
    let value = value::seal(&key, &document.encode());
    values.insert(key, value);
}

/// Puts a record's parts and returns the bytes of changes up to its end.
pub(super) fn put_record(
    values: &mut Values,
    address: &Address,
    bytes_before: u64,
    record: &Record,
) -> u64 {
    let bytes = record::encode(record);
    let change_bytes: u64 = record.entries.iter().map(|entry| entry.change.len() as u64).sum();
    let prefix = RecordPrefix { record_bytes: bytes.len() as u64, bytes_before, change_bytes };
    let whole = [prefix.encode(), bytes].concat();
    for (part, content) in (0_u32..).zip(whole.chunks(CONTENT_BYTES_MAX)) {
        let key = keys::record_part(address, record.first_seq, part);
        let value = value::seal(&key, content);
        values.insert(key, value);
    }
    bytes_before + change_bytes
}
