//! Reading: records, heads, snapshots, the list. Every value is verified; a bad one is set aside
//! and reported, and the other documents go on being served.

use std::ops::ControlFlow;
use std::sync::{PoisonError, RwLockReadGuard};

use ::sled::IVec;
use bytes::Bytes;
use syncline_engine::ids::{Address, Cursor, Epoch, Tip};
use syncline_engine::storage::record::{self, RecordHead};
use syncline_engine::storage::{LogHead, Record, Sealed, SnapshotHead, StoreError};

use super::log::Log;
use super::tree::{TreeError, Values};
use super::value::{CHECKSUM_BYTES, CONTENT_BYTES_MAX, Document, RecordPrefix, SnapshotOutline};
use super::{keys, value};

/// A stored record in outline.
#[derive(Debug, Clone, Copy)]
pub(super) struct Outline {
    pub(super) head: RecordHead,
    pub(super) prefix: RecordPrefix,
}

/// Where a log ends, and how many bytes of changes its tail has.
#[derive(Debug, Clone, Copy)]
pub(super) struct End {
    pub(super) cursor: Cursor,
    pub(super) bytes: u64,
}

impl Log {
    pub(super) fn reading(&self) -> RwLockReadGuard<'_, ()> {
        // A panic under the lock poisons the store by itself.
        self.deleting.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// A read failed in a layer. If its own checksums do not match it is this document's damage; all
    /// else is the device's.
    pub(super) fn read_failed(&self, address: &Address, error: &TreeError) -> StoreError {
        match error {
            TreeError::Damaged(what) => {
                StoreError::Damaged { address: address.clone(), what: what.clone() }
            }
            TreeError::Failed(why) => self.fail(why.clone()),
        }
    }

    /// Sets a damaged value aside. It also stays where it is; the copy outlives its deletion.
    pub(super) fn damaged(
        &self,
        address: &Address,
        what: &str,
        value: Option<(&[u8], &[u8])>,
    ) -> StoreError {
        tracing::error!(%address, what, "a stored value is damaged");
        if let Some((key, value)) = value {
            let aside = keys::quarantined(key, value);
            // The key holds the value's digest, so what is there already is the same. It gets to
            // disk with the next commit at the latest, and the original is there until then.
            if let Err(error) = self.set_aside(aside, value) {
                return self.fail(error.to_string());
            }
        }
        StoreError::Damaged { address: address.clone(), what: what.to_owned() }
    }

    fn set_aside(&self, aside: Vec<u8>, value: &[u8]) -> Result<(), TreeError> {
        if self.tree.get(&aside)?.is_none() {
            let mut values = Values::default();
            values.insert(aside, value.to_vec());
            self.tree.apply(values)?;
        }
        Ok(())
    }

    fn unsealed<'a>(
        &self,
        address: &Address,
        what: &str,
        key: &[u8],
        value: &'a [u8],
    ) -> Result<&'a [u8], StoreError> {
        value::unseal(key, value).ok_or_else(|| {
            self.damaged(address, &format!("{what} fails its checksum"), Some((key, value)))
        })
    }

    /// What is stored once per document; `None` if it has no log yet, on disk or on its way there.
    pub(super) fn document(&self, address: &Address) -> Result<Option<Document>, StoreError> {
        let key = keys::document(address);
        let found = self.tree.get(&key).map_err(|error| self.read_failed(address, &error))?;
        let Some(found) = found else { return Ok(None) };
        let content = self.unsealed(address, "the document's outline", &key, &found)?;
        Document::decode(content).map(Some).ok_or_else(|| {
            self.damaged(address, "the document's outline does not decode", Some((&key, &found)))
        })
    }

    /// The first seq of a document that must not be shown, because it may not be on disk.
    ///
    /// Looked up after a scan: what the scan saw was put into the tree before, and announced here
    /// before that.
    fn hidden_from(&self, address: &Address) -> u64 {
        self.in_flight().get(address).copied().unwrap_or(u64::MAX)
    }

    /// The outline of a record from its first part.
    fn outline(
        &self,
        address: &Address,
        first_seq: u64,
        key: &[u8],
        value: &[u8],
    ) -> Result<Outline, StoreError> {
        let what = format!("the record at {first_seq}");
        let content = self.unsealed(address, &what, key, value)?;
        RecordPrefix::split(content)
            .and_then(|(prefix, rest)| Some(Outline { head: record::peek(rest).ok()?, prefix }))
            .filter(|outline| outline.head.first_seq == first_seq)
            .ok_or_else(|| {
                self.damaged(address, &format!("{what} does not decode"), Some((key, value)))
            })
    }

    /// The outline of the record that begins at `first_seq`, of which some part was found.
    fn outline_at(&self, address: &Address, first_seq: u64) -> Result<Outline, StoreError> {
        let key = keys::record_part(address, first_seq, 0);
        match self.tree.get(&key).map_err(|error| self.read_failed(address, &error))? {
            Some(value) => self.outline(address, first_seq, &key, &value),
            None => {
                let what = format!("the first part of the record at {first_seq} is missing");
                Err(self.damaged(address, &what, None))
            }
        }
    }

    /// The first seq of the first or last record that begins at or after `from` and before
    /// `before`.
    pub(super) fn record_between(
        &self,
        address: &Address,
        (from, before): (u64, u64),
        last: bool,
    ) -> Result<Option<u64>, StoreError> {
        let from = keys::record_part(address, from, 0);
        let before = keys::record_part(address, before, 0);
        let found = if last {
            self.tree.walk_back(&from, &before).next()
        } else {
            self.tree.walk(&from, &before).next()
        };
        let found = found.transpose().map_err(|error| self.read_failed(address, &error))?;
        Ok(found.and_then(|(key, _)| keys::numbers(&key)).map(|(first_seq, _)| first_seq))
    }

    /// The outlines of the first and the last record that begin before `before`.
    fn tail(
        &self,
        address: &Address,
        before: u64,
    ) -> Result<Option<(Outline, Outline)>, StoreError> {
        let Some(first) = self.record_between(address, (0, before), false)? else {
            return Ok(None);
        };
        let first = self.outline_at(address, first)?;
        let last = self.record_between(address, (0, before), true)?;
        let last = last.map_or(Ok(first), |last| self.outline_at(address, last))?;
        Ok(Some((first, last)))
    }

    /// Where the log ends, for who holds `writing`: nothing is on its way to the disk then.
    pub(super) fn end(&self, address: &Address, document: &Document) -> Result<End, StoreError> {
        let last = self.record_between(address, (0, u64::MAX), true)?;
        let last = last.map(|last| self.outline_at(address, last)).transpose()?;
        self.end_after(address, document, last)
    }

    fn end_after(
        &self,
        address: &Address,
        document: &Document,
        last: Option<Outline>,
    ) -> Result<End, StoreError> {
        let snapshot = document.snapshot.map(|snapshot| snapshot.cursor(document.epoch));
        let Some(Outline { head, prefix }) = last else {
            // A log is never without records and without a snapshot.
            let cursor =
                snapshot.ok_or_else(|| self.damaged(address, "all records are missing", None))?;
            return Ok(End { cursor, bytes: 0 });
        };
        if snapshot.is_some_and(|snapshot| snapshot.seq > head.last_seq) {
            return Err(self.damaged(address, "records up to the snapshot are missing", None));
        }
        let cursor = Cursor { epoch: document.epoch, seq: head.last_seq, tip: head.tip };
        Ok(End { cursor, bytes: prefix.bytes_before + prefix.change_bytes })
    }

    /// The end of the record that contains `seq`, as a cursor, and its first seq; `None` if no
    /// record does.
    pub(super) fn record_with(
        &self,
        address: &Address,
        epoch: Epoch,
        seq: u64,
    ) -> Result<Option<(u64, Cursor)>, StoreError> {
        let up_to = seq.saturating_add(1);
        let Some(first_seq) = self.record_between(address, (0, up_to), true)? else {
            return Ok(None);
        };
        let head = self.outline_at(address, first_seq)?.head;
        let cursor = Cursor { epoch, seq: head.last_seq, tip: head.tip };
        Ok((head.last_seq >= seq).then_some((first_seq, cursor)))
    }

    pub(super) fn log_head(&self, address: &Address) -> Result<Option<LogHead>, StoreError> {
        self.check_usable()?;
        let _reading = self.reading();
        let Some(document) = self.document(address)? else { return Ok(None) };
        let mut tail = self.tail(address, u64::MAX)?;
        let hidden_from = self.hidden_from(address);
        if hidden_from == 1 {
            return Ok(None);
        }
        if tail.is_some_and(|(_, last)| last.head.first_seq >= hidden_from) {
            tail = self.tail(address, hidden_from)?;
        }
        let end = self.end_after(address, &document, tail.map(|(_, last)| last))?;
        let (tail_from, tail_bytes) = match tail {
            None => (end.cursor.seq + 1, 0),
            Some((first, _)) => {
                (first.head.first_seq, end.bytes.saturating_sub(first.prefix.bytes_before))
            }
        };
        let reaches = document.snapshot.map_or(1, |snapshot| snapshot.seq + 1);
        if tail_from > reaches {
            return Err(self.damaged(address, "records after the snapshot are missing", None));
        }
        let snapshot = document.snapshot.map(|outline| {
            let from = outline.body_bytes;
            let to = from + outline.index_bytes;
            Ok(SnapshotHead {
                cursor: outline.cursor(document.epoch),
                body_bytes: outline.body_bytes,
                index: self.snapshot_bytes(address, &outline, from, to)?.into(),
            })
        });
        let snapshot = snapshot.transpose()?;
        let sealed = document.sealed.iter().map(|sealed| Sealed {
            end: sealed.last.cursor(sealed.epoch),
            body_bytes: sealed.last.body_bytes,
            start: sealed.start,
        });
        let sealed = sealed.collect();
        Ok(Some(LogHead { end: end.cursor, snapshot, tail_from, tail_bytes, sealed }))
    }

    pub(super) fn read_records(
        &self,
        address: &Address,
        from_seq: u64,
        bytes_max: usize,
    ) -> Result<Vec<Record>, StoreError> {
        self.check_usable()?;
        let _reading = self.reading();
        // The record with `from_seq` may begin before it.
        let up_to = from_seq.saturating_add(1);
        let begin = self.record_between(address, (0, up_to), true)?.unwrap_or(0);
        // A damaged sled file can make a scan end early without a word, so the end is looked up
        // from the other side, and before the scan: what is appended meanwhile may be seen or not.
        let Some(last) = self.record_between(address, (0, u64::MAX), true)? else {
            return Ok(Vec::new());
        };
        let mut scan = Scan::new(self, address, from_seq, bytes_max);
        let begin = keys::record_part(address, begin, 0);
        for item in self.tree.walk(&begin, &keys::record_part(address, u64::MAX, 0)) {
            let (key, value) = item.map_err(|error| self.read_failed(address, &error))?;
            if scan.take(&key, &value)?.is_break() {
                return Ok(scan.into_shown());
            }
        }
        scan.finish(last)
    }

    /// Bytes `from..to` of a snapshot's body, index and attribution in a row.
    pub(super) fn snapshot_bytes(
        &self,
        address: &Address,
        outline: &SnapshotOutline,
        from: u64,
        to: u64,
    ) -> Result<Vec<u8>, StoreError> {
        let mut bytes = Vec::new();
        let mut at = from;
        while at < to {
            let part_bytes = CONTENT_BYTES_MAX as u64;
            let (part, skip) = (at / part_bytes, at % part_bytes);
            let missing = || {
                let what = format!("part {part} of the snapshot at {} is missing", outline.seq);
                self.damaged(address, &what, None)
            };
            let number = u32::try_from(part).map_err(|_| missing())?;
            let key = keys::snapshot_part(address, outline.generation, number);
            let found = self.tree.get(&key).map_err(|error| self.read_failed(address, &error))?;
            let found = found.ok_or_else(missing)?;
            let what = format!("part {part} of the snapshot at {}", outline.seq);
            let content = self.unsealed(address, &what, &key, &found)?;
            let left = usize::try_from(skip).ok().and_then(|skip| content.get(skip..));
            let left = left.filter(|left| !left.is_empty()).ok_or_else(missing)?;
            let wanted = usize::try_from(to - at).unwrap_or(usize::MAX).min(left.len());
            bytes.extend_from_slice(&left[..wanted]);
            at += wanted as u64;
        }
        Ok(bytes)
    }

    /// The snapshot at `cursor`, if it is the current one or the last of a sealed epoch.
    fn snapshot_at(
        &self,
        address: &Address,
        cursor: Cursor,
    ) -> Result<Option<SnapshotOutline>, StoreError> {
        self.check_usable()?;
        let document = self.document(address)?;
        Ok(document.and_then(|document| {
            let sealed = document.sealed.iter().map(|sealed| (sealed.epoch, sealed.last));
            let current = document.snapshot.map(|snapshot| (document.epoch, snapshot));
            let found = sealed.chain(current).find(|(epoch, last)| last.cursor(*epoch) == cursor);
            found.map(|(_, outline)| outline)
        }))
    }

    pub(super) fn snapshot_body(
        &self,
        address: &Address,
        cursor: Cursor,
        offset: u64,
        bytes_max: usize,
    ) -> Result<Option<Bytes>, StoreError> {
        let _reading = self.reading();
        let Some(outline) = self.snapshot_at(address, cursor)? else { return Ok(None) };
        let from = offset.min(outline.body_bytes);
        let to = from.saturating_add(bytes_max as u64).min(outline.body_bytes);
        Ok(Some(self.snapshot_bytes(address, &outline, from, to)?.into()))
    }

    pub(super) fn snapshot_attribution(
        &self,
        address: &Address,
        cursor: Cursor,
    ) -> Result<Option<Bytes>, StoreError> {
        let _reading = self.reading();
        let Some(outline) = self.snapshot_at(address, cursor)? else { return Ok(None) };
        let from = outline.body_bytes + outline.index_bytes;
        let to = from + outline.attribution_bytes;
        Ok(Some(self.snapshot_bytes(address, &outline, from, to)?.into()))
    }

    pub(super) fn addresses(
        &self,
        after: Option<&Address>,
        limit: usize,
    ) -> Result<Vec<Address>, StoreError> {
        self.check_usable()?;
        let mut begin = after.map_or_else(|| keys::DOCUMENTS.to_vec(), keys::document);
        if after.is_some() {
            begin.push(0);
        }
        let mut addresses = Vec::new();
        for item in self.tree.walk(&begin, keys::DOCUMENTS_END) {
            if addresses.len() >= limit {
                break;
            }
            let (key, _) = item.map_err(|error| self.fail(error.to_string()))?;
            match keys::address_of_document(&key) {
                Some(address) if self.hidden_from(&address) == 1 => {}
                Some(address) => addresses.push(address),
                None => tracing::error!(?key, "a document's key does not name a document"),
            }
        }
        Ok(addresses)
    }
}

/// Puts the parts of consecutive records together and checks that they are one chain.
struct Scan<'a> {
    store: &'a Log,
    address: &'a Address,
    from_seq: u64,
    bytes_max: usize,
    bytes: usize,
    records: Vec<Record>,
    /// The seq and tip that the next record must go on from.
    after: Option<(u64, Tip)>,
    /// Of the record under way: its parts so far, and its outline.
    parts: Vec<(IVec, IVec)>,
    outline: Option<Outline>,
    stored_bytes: u64,
}

impl<'a> Scan<'a> {
    const fn new(store: &'a Log, address: &'a Address, from_seq: u64, bytes_max: usize) -> Self {
        Self {
            store,
            address,
            from_seq,
            bytes_max,
            bytes: 0,
            records: Vec::new(),
            after: None,
            parts: Vec::new(),
            outline: None,
            stored_bytes: 0,
        }
    }

    /// Something is wrong with the record under way: all its parts are set aside.
    fn damaged(&self, first_seq: u64, how: &str) -> StoreError {
        let what = format!("the record at {first_seq} {how}");
        for (key, value) in &self.parts {
            self.store.damaged(self.address, &what, Some((key, value)));
        }
        self.store.damaged(self.address, &what, None)
    }

    fn take(&mut self, key: &IVec, value: &IVec) -> Result<ControlFlow<()>, StoreError> {
        let (first_seq, part) =
            keys::numbers(key).ok_or_else(|| self.damaged(0, "has a malformed key"))?;
        let expected = u32::try_from(self.parts.len()).unwrap_or(u32::MAX);
        let begun = self.outline.map_or(first_seq, |outline| outline.head.first_seq);
        if part != expected || first_seq != begun {
            return Err(self.damaged(begun, &format!("lacks part {expected}")));
        }
        let outline = match self.outline {
            Some(outline) => outline,
            None => {
                let outline = self.store.outline(self.address, first_seq, key, value)?;
                self.check_order(&outline)?;
                let bytes = usize::try_from(outline.prefix.change_bytes).unwrap_or(usize::MAX);
                self.bytes = self.bytes.saturating_add(bytes);
                if self.bytes > self.bytes_max && !self.records.is_empty() {
                    return Ok(ControlFlow::Break(()));
                }
                self.outline = Some(outline);
                outline
            }
        };
        self.stored_bytes += (value.len() as u64).saturating_sub(CHECKSUM_BYTES as u64);
        self.parts.push((key.clone(), value.clone()));
        let all = outline.prefix.record_bytes.saturating_add(RecordPrefix::BYTES as u64);
        if self.stored_bytes >= all {
            self.complete(first_seq)?;
        }
        Ok(ControlFlow::Continue(()))
    }

    fn check_order(&mut self, outline: &Outline) -> Result<(), StoreError> {
        let RecordHead { first_seq, last_seq, tip_before, tip } = outline.head;
        if let Some((seq, tip)) = self.after
            && (seq.checked_add(1), tip) != (Some(first_seq), tip_before)
        {
            return Err(self.damaged(first_seq, &format!("does not continue the one up to {seq}")));
        }
        self.after = Some((last_seq, tip));
        Ok(())
    }

    fn complete(&mut self, first_seq: u64) -> Result<(), StoreError> {
        let mut bytes = Vec::new();
        for (key, value) in &self.parts {
            let what = format!("the record at {first_seq}");
            bytes.extend_from_slice(self.store.unsealed(self.address, &what, key, value)?);
        }
        let record = record::decode(bytes.get(RecordPrefix::BYTES..).unwrap_or_default())
            .map_err(|error| self.damaged(first_seq, &format!("does not decode: {error}")))?;
        if record.last_seq() < self.from_seq {
            // The record that begins at or before `from_seq` need not reach it.
            self.bytes = 0;
        } else {
            self.records.push(record);
        }
        self.parts.clear();
        self.outline = None;
        self.stored_bytes = 0;
        Ok(())
    }

    /// The scan came to the end of the log, whose last record began at `last` or later.
    fn finish(self, last: u64) -> Result<Vec<Record>, StoreError> {
        if let Some(outline) = self.outline {
            return Err(self.damaged(outline.head.first_seq, "ends early"));
        }
        if self.after.is_none_or(|(seq, _)| seq < last) {
            return Err(self.damaged(last, "cannot be reached from the ones before it"));
        }
        Ok(self.into_shown())
    }

    fn into_shown(mut self) -> Vec<Record> {
        let hidden_from = self.store.hidden_from(self.address);
        self.records.retain(|record| record.first_seq < hidden_from);
        self.records
    }
}
