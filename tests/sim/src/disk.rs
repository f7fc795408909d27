//! The server's disk: logs as the bytes that the engine's record codec makes, so that a torn or
//! corrupt record means here what it means on a real one. Knows no time and no chance.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use syncline_engine::clock::Timestamp;
use syncline_engine::ids::{Address, Cursor, Epoch, Tip};
use syncline_engine::storage::posts::Posts;
use syncline_engine::storage::{
    Append, LogHead, LogStore, PostsWanted, Record, Rollover, Sealed, Snapshot, SnapshotHead,
    StoreError, record,
};
use syncline_engine::summary::{Brought, Summary};

/// A log store whose every byte can be spoilt. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Disk {
    logs: Arc<Mutex<BTreeMap<Address, Log>>>,
    posts: Arc<Mutex<Posts>>,
}

#[derive(Debug, Clone)]
struct Log {
    epoch: Epoch,
    /// Encoded, by first seq.
    records: BTreeMap<u64, Bytes>,
    snapshot: Option<Stored>,
    /// With the last snapshot of each.
    sealed: Vec<(Sealed, Stored)>,
}

/// A snapshot and the checksum over all of it.
#[derive(Debug, Clone)]
struct Stored {
    snapshot: Snapshot,
    sum: u64,
}

impl Stored {
    fn new(snapshot: Snapshot) -> Self {
        let sum = sum_of(&snapshot);
        Self { snapshot, sum }
    }

    fn read(&self, address: &Address) -> Result<&Snapshot, StoreError> {
        if sum_of(&self.snapshot) == self.sum {
            return Ok(&self.snapshot);
        }
        Err(damaged(address, "the snapshot's checksum does not match"))
    }
}

/// FNV-1a, enough to notice what this file spoils.
fn sum_of(snapshot: &Snapshot) -> u64 {
    let parts = [&snapshot.body, &snapshot.index, &snapshot.attribution];
    let bytes = parts.into_iter().flat_map(|part| part.iter());
    bytes.fold(0xcbf2_9ce4_8422_2325, |sum, byte| {
        (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

fn damaged(address: &Address, what: impl ToString) -> StoreError {
    StoreError::Damaged { address: address.clone(), what: what.to_string() }
}

impl Log {
    const fn new(epoch: Epoch) -> Self {
        Self { epoch, records: BTreeMap::new(), snapshot: None, sealed: Vec::new() }
    }

    fn end(&self, address: &Address) -> Result<Cursor, StoreError> {
        if let Some((_, bytes)) = self.records.last_key_value() {
            return Ok(self.cursor_after(&decode(address, bytes)?));
        }
        let begin = Cursor { epoch: self.epoch, seq: 0, tip: Tip::EMPTY };
        self.snapshot.as_ref().map_or(Ok(begin), |stored| Ok(stored.read(address)?.cursor))
    }

    fn stored_at(&self, cursor: Cursor) -> Option<&Stored> {
        let mut all = self.snapshot.iter().chain(self.sealed.iter().map(|(_, last)| last));
        all.find(|stored| stored.snapshot.cursor == cursor)
    }

    fn cursor_after(&self, record: &Record) -> Cursor {
        Cursor { epoch: self.epoch, seq: record.last_seq(), tip: record.tip }
    }
}

fn decode(address: &Address, bytes: &Bytes) -> Result<Record, StoreError> {
    record::decode(bytes).map_err(|error| damaged(address, error))
}

impl Disk {
    /// An empty disk.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A disk of its own with the same bytes, as a backup is.
    #[must_use]
    pub fn copy(&self) -> Self {
        let (logs, posts) = (self.logs().clone(), self.all_posts().clone());
        Self { logs: Arc::new(Mutex::new(logs)), posts: Arc::new(Mutex::new(posts)) }
    }

    // A panic while the lock is held cannot leave a log half changed: every method checks first.
    fn logs(&self) -> MutexGuard<'_, BTreeMap<Address, Log>> {
        self.logs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn all_posts(&self) -> MutexGuard<'_, Posts> {
        self.posts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The documents of which something cannot be read.
    #[must_use]
    pub fn damage(&self) -> Vec<Address> {
        let logs = self.logs();
        let sound = |address: &Address, log: &Log| {
            log.snapshot.as_ref().is_none_or(|stored| stored.read(address).is_ok())
                && log.records.values().all(|bytes| decode(address, bytes).is_ok())
                && log.sealed.iter().all(|(_, stored)| stored.read(address).is_ok())
        };
        logs.iter().filter(|(at, log)| !sound(at, log)).map(|(at, _)| at.clone()).collect()
    }

    /// Spoils one stored value: a record or the snapshot, cut short if `torn` and with one bit
    /// changed otherwise. Answers whether there was anything to spoil.
    pub fn spoil(&self, address: &Address, pick: u64, torn: bool) -> bool {
        let mut logs = self.logs();
        let Some(log) = logs.get_mut(address) else { return false };
        let place = usize::try_from(pick >> 32).unwrap_or(0);
        let values = log.records.len() + usize::from(log.snapshot.is_some());
        if values == 0 {
            return false;
        }
        if let Some(bytes) = log.records.values_mut().nth(place % values) {
            *bytes = spoilt(bytes, pick, torn);
        } else if let Some(stored) = &mut log.snapshot {
            stored.snapshot.body = spoilt(&stored.snapshot.body, pick, torn);
        }
        true
    }

    /// Puts a document's log of another disk in the place of this one's, or removes it if the other
    /// has none.
    pub fn restore(&self, address: &Address, from: &Self) {
        let log = from.logs().get(address).cloned();
        match log {
            Some(log) => self.logs().insert(address.clone(), log),
            None => self.logs().remove(address),
        };
        // Summaries of what is not there any more are made anew when somebody asks for them.
        *self.all_posts() = Posts::default();
    }

    /// The stored bytes of a document, to see whether anything wrote over them.
    #[must_use]
    pub fn bytes_of(&self, address: &Address) -> Vec<(u64, Bytes)> {
        let logs = self.logs();
        let log = logs.get(address);
        log.into_iter().flat_map(|log| log.records.iter().map(|(at, b)| (*at, b.clone()))).collect()
    }
}

fn spoilt(bytes: &Bytes, pick: u64, torn: bool) -> Bytes {
    let at = usize::try_from(pick & 0xffff_ffff).unwrap_or(0) % bytes.len().max(1);
    if torn {
        return bytes.slice(..at);
    }
    let mut copy = bytes.to_vec();
    if let Some(byte) = copy.get_mut(at) {
        *byte ^= 1 << (pick >> 61);
    }
    copy.into()
}

impl LogStore for Disk {
    fn append(&self, batch: &[Append]) -> Result<(), StoreError> {
        let mut logs = self.logs();
        let mut ends: BTreeMap<&Address, Cursor> = BTreeMap::new();
        for Append { address, epoch, record, .. } in batch {
            let fresh = Cursor { epoch: *epoch, seq: 0, tip: Tip::EMPTY };
            let end = match ends.get(address) {
                Some(end) => *end,
                None => logs.get(address).map_or(Ok(fresh), |log| log.end(address))?,
            };
            if !record.continues(end, *epoch) {
                return Err(StoreError::Conflict {
                    address: address.clone(),
                    end_seq: end.seq,
                    first_seq: record.first_seq,
                });
            }
            ends.insert(address, Cursor { epoch: *epoch, seq: record.last_seq(), tip: record.tip });
        }
        for Append { address, epoch, record, .. } in batch {
            let log = logs.entry(address.clone()).or_insert_with(|| Log::new(*epoch));
            log.records.insert(record.first_seq, record::encode(record).into());
        }
        self.all_posts().append(batch);
        Ok(())
    }

    fn head(&self, address: &Address) -> Result<Option<LogHead>, StoreError> {
        let logs = self.logs();
        let Some(log) = logs.get(address) else { return Ok(None) };
        let end = log.end(address)?;
        let snapshot = match &log.snapshot {
            None => None,
            Some(stored) => {
                let snapshot = stored.read(address)?;
                Some(SnapshotHead {
                    cursor: snapshot.cursor,
                    body_bytes: snapshot.body.len() as u64,
                    index: snapshot.index.clone(),
                })
            }
        };
        let mut tail_bytes = 0;
        for bytes in log.records.values() {
            tail_bytes += decode(address, bytes)?.change_bytes() as u64;
        }
        let tail_from = log.records.keys().next().copied().unwrap_or(end.seq + 1);
        let sealed = log.sealed.iter().map(|(sealed, _)| *sealed).collect();
        Ok(Some(LogHead { end, snapshot, tail_from, tail_bytes, sealed }))
    }

    fn read(
        &self,
        address: &Address,
        from_seq: u64,
        bytes_max: usize,
    ) -> Result<Vec<Record>, StoreError> {
        let logs = self.logs();
        let Some(log) = logs.get(address) else { return Ok(Vec::new()) };
        let begin = log.records.range(..=from_seq).next_back().map_or(from_seq, |(at, _)| *at);
        let mut read: Vec<Record> = Vec::new();
        let mut bytes = 0;
        for stored in log.records.range(begin..).map(|(_, stored)| stored) {
            let record = decode(address, stored)?;
            if record.last_seq() < from_seq {
                continue;
            }
            bytes += record.change_bytes();
            if bytes > bytes_max && !read.is_empty() {
                break;
            }
            read.push(record);
        }
        Ok(read)
    }

    fn read_snapshot(
        &self,
        address: &Address,
        cursor: Cursor,
        offset: u64,
        bytes_max: usize,
    ) -> Result<Option<Bytes>, StoreError> {
        let logs = self.logs();
        let stored = logs.get(address).and_then(|log| log.stored_at(cursor));
        let Some(stored) = stored else { return Ok(None) };
        let body = &stored.read(address)?.body;
        let from = usize::try_from(offset).unwrap_or(usize::MAX).min(body.len());
        Ok(Some(body.slice(from..from.saturating_add(bytes_max).min(body.len()))))
    }

    fn read_attribution(
        &self,
        address: &Address,
        cursor: Cursor,
    ) -> Result<Option<Bytes>, StoreError> {
        let logs = self.logs();
        let stored = logs.get(address).and_then(|log| log.stored_at(cursor));
        let Some(stored) = stored else { return Ok(None) };
        Ok(Some(stored.read(address)?.attribution.clone()))
    }

    fn put_snapshot(
        &self,
        address: &Address,
        snapshot: &Snapshot,
        keep_from: u64,
    ) -> Result<(), StoreError> {
        let mut logs = self.logs();
        let cursor = snapshot.cursor;
        let conflict = |end_seq| StoreError::Conflict {
            address: address.clone(),
            end_seq,
            first_seq: cursor.seq.saturating_add(1),
        };
        let log = logs.get_mut(address).ok_or_else(|| conflict(0))?;
        let current = log.snapshot.as_ref().map(|stored| stored.snapshot.cursor);
        let mut ends = None;
        if let Some((_, bytes)) = log.records.range(..=cursor.seq).next_back() {
            ends = Some(log.cursor_after(&decode(address, bytes)?));
        }
        let goes_back = current.is_some_and(|current| cursor.seq < current.seq);
        if current != Some(cursor) && (goes_back || ends != Some(cursor)) {
            return Err(conflict(log.end(address)?.seq));
        }
        let keep_from = keep_from.min(cursor.seq + 1);
        let mut kept = BTreeMap::new();
        for (first, bytes) in &log.records {
            if decode(address, bytes)?.last_seq() >= keep_from {
                kept.insert(*first, bytes.clone());
            }
        }
        log.records = kept;
        log.snapshot = Some(Stored::new(snapshot.clone()));
        Ok(())
    }

    fn roll_over(
        &self,
        address: &Address,
        rollover: &Rollover,
        keep_since: Timestamp,
    ) -> Result<(), StoreError> {
        let mut logs = self.logs();
        let end = rollover.last.cursor;
        let conflict = |end_seq| StoreError::Conflict {
            address: address.clone(),
            end_seq,
            first_seq: end.seq.saturating_add(1),
        };
        let log = logs.get_mut(address).ok_or_else(|| conflict(0))?;
        for bytes in log.records.values() {
            decode(address, bytes)?;
        }
        let stored_end = log.end(address)?;
        if stored_end != end {
            return Err(conflict(stored_end.seq));
        }
        let body_bytes = rollover.last.body.len() as u64;
        let sealed = Sealed { end, body_bytes, start: rollover.start };
        log.sealed.retain(|(sealed, _)| sealed.start.at >= keep_since);
        log.sealed.push((sealed, Stored::new(rollover.last.clone())));
        log.epoch = rollover.start.cursor.epoch;
        log.records.clear();
        log.snapshot = Some(Stored::new(rollover.first.clone()));
        Ok(())
    }

    fn posts(&self, space: &str, wanted: &PostsWanted) -> Result<Vec<Summary>, StoreError> {
        Ok(self.all_posts().posts(space, wanted))
    }

    fn put_summary(&self, address: &Address, brought: &Brought) -> Result<(), StoreError> {
        self.all_posts().put(address, brought);
        Ok(())
    }

    fn is_summarised(&self, space: &str) -> Result<bool, StoreError> {
        Ok(self.all_posts().is_complete(space))
    }

    fn set_summarised(&self, space: &str) -> Result<(), StoreError> {
        self.all_posts().set_complete(space);
        Ok(())
    }

    fn list(&self, after: Option<&Address>, limit: usize) -> Result<Vec<Address>, StoreError> {
        let logs = self.logs();
        let later = logs.keys().filter(|address| after.is_none_or(|after| *address > after));
        Ok(later.take(limit).cloned().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_passes_the_suite() {
        let disk = Disk::new();
        syncline_engine::storage::conformance::check(&mut || Box::new(disk.clone()));
    }
}
