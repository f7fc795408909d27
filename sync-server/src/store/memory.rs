//! A log in memory, for tests and for servers that may forget. It knows no files.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use bytes::Bytes;
use syncline_engine::clock::Timestamp;
use syncline_engine::ids::{Address, Cursor, Epoch, Tip};
use syncline_engine::storage::posts::Posts;
use syncline_engine::storage::{
    Append, Deletion, LogHead, LogStore, PostsWanted, Record, Rollover, Sealed, Snapshot,
    SnapshotHead, StoreError,
};
use syncline_engine::summary::{Brought, Summary};

/// A [`LogStore`] that lasts as long as its last clone.
#[derive(Debug, Clone, Default)]
pub struct MemoryStore {
    logs: Arc<RwLock<BTreeMap<Address, Log>>>,
    posts: Arc<RwLock<Posts>>,
}

#[derive(Debug, Clone)]
struct Log {
    epoch: Epoch,
    /// By first seq.
    records: BTreeMap<u64, Record>,
    snapshot: Option<Snapshot>,
    /// With the last snapshot of each.
    sealed: Vec<(Sealed, Snapshot)>,
}

impl Log {
    const fn new(epoch: Epoch) -> Self {
        Self { epoch, records: BTreeMap::new(), snapshot: None, sealed: Vec::new() }
    }

    fn end(&self) -> Cursor {
        let begin = Cursor { epoch: self.epoch, seq: 0, tip: Tip::EMPTY };
        let snapshot = self.snapshot.as_ref().map_or(begin, |snapshot| snapshot.cursor);
        self.records.last_key_value().map_or(snapshot, |(_, record)| self.cursor_after(record))
    }

    fn cursor_after(&self, record: &Record) -> Cursor {
        Cursor { epoch: self.epoch, seq: record.last_seq(), tip: record.tip }
    }

    /// The first seq of the record that contains `seq`, or `seq` itself if none does.
    fn record_with(&self, seq: u64) -> u64 {
        let before = self.records.range(..=seq).next_back();
        before.filter(|(_, record)| record.last_seq() >= seq).map_or(seq, |(first, _)| *first)
    }
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A store of its own with the same logs, as a backup would be.
    #[must_use]
    pub fn copy(&self) -> Self {
        let logs = self.logs();
        let posts = self.posts.read().unwrap_or_else(PoisonError::into_inner).clone();
        Self { logs: Arc::new(RwLock::new(logs.clone())), posts: Arc::new(RwLock::new(posts)) }
    }

    // A panic while the lock is held cannot leave a log half changed: every method checks first
    // and then only moves values.
    fn logs(&self) -> RwLockReadGuard<'_, BTreeMap<Address, Log>> {
        self.logs.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn logs_mut(&self) -> RwLockWriteGuard<'_, BTreeMap<Address, Log>> {
        self.logs.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn posts_mut(&self) -> RwLockWriteGuard<'_, Posts> {
        self.posts.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn with_snapshot<T>(
        &self,
        address: &Address,
        cursor: Cursor,
        take: impl FnOnce(&Snapshot) -> T,
    ) -> Option<T> {
        let logs = self.logs();
        let Log { snapshot, sealed, .. } = logs.get(address)?;
        let mut all = snapshot.iter().chain(sealed.iter().map(|(_, last)| last));
        all.find(|snapshot| snapshot.cursor == cursor).map(take)
    }
}

impl LogStore for MemoryStore {
    fn append(&self, batch: &[Append]) -> Result<(), StoreError> {
        let mut logs = self.logs_mut();
        let mut ends: BTreeMap<&Address, Cursor> = BTreeMap::new();
        for Append { address, epoch, record, .. } in batch {
            let end = ends.entry(address).or_insert_with(|| {
                let fresh = Cursor { epoch: *epoch, seq: 0, tip: Tip::EMPTY };
                logs.get(address).map_or(fresh, Log::end)
            });
            if !record.continues(*end, *epoch) {
                return Err(StoreError::Conflict {
                    address: address.clone(),
                    end_seq: end.seq,
                    first_seq: record.first_seq,
                });
            }
            *end = Cursor { epoch: *epoch, seq: record.last_seq(), tip: record.tip };
        }
        for Append { address, epoch, record, .. } in batch {
            let log = logs.entry(address.clone()).or_insert_with(|| Log::new(*epoch));
            log.records.insert(record.first_seq, record.clone());
        }
        self.posts_mut().append(batch);
        Ok(())
    }

    fn head(&self, address: &Address) -> Result<Option<LogHead>, StoreError> {
        let logs = self.logs();
        Ok(logs.get(address).map(|log| LogHead {
            end: log.end(),
            snapshot: log.snapshot.as_ref().map(|snapshot| SnapshotHead {
                cursor: snapshot.cursor,
                body_bytes: snapshot.body.len() as u64,
                index: snapshot.index.clone(),
            }),
            tail_from: log.records.keys().next().copied().unwrap_or(log.end().seq + 1),
            tail_bytes: log.records.values().map(|record| record.change_bytes() as u64).sum(),
            sealed: log.sealed.iter().map(|(sealed, _)| *sealed).collect(),
        }))
    }

    fn read(
        &self,
        address: &Address,
        from_seq: u64,
        bytes_max: usize,
    ) -> Result<Vec<Record>, StoreError> {
        let logs = self.logs();
        let Some(log) = logs.get(address) else { return Ok(Vec::new()) };
        let mut read: Vec<Record> = Vec::new();
        let mut bytes = 0;
        for record in log.records.range(log.record_with(from_seq)..).map(|(_, record)| record) {
            bytes += record.change_bytes();
            if bytes > bytes_max && !read.is_empty() {
                break;
            }
            read.push(record.clone());
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
        Ok(self.with_snapshot(address, cursor, |snapshot| {
            let body = &snapshot.body;
            let from = usize::try_from(offset).unwrap_or(usize::MAX).min(body.len());
            body.slice(from..from.saturating_add(bytes_max).min(body.len()))
        }))
    }

    fn read_attribution(
        &self,
        address: &Address,
        cursor: Cursor,
    ) -> Result<Option<Bytes>, StoreError> {
        Ok(self.with_snapshot(address, cursor, |snapshot| snapshot.attribution.clone()))
    }

    fn put_snapshot(
        &self,
        address: &Address,
        snapshot: &Snapshot,
        keep_from: u64,
    ) -> Result<(), StoreError> {
        let mut logs = self.logs_mut();
        let cursor = snapshot.cursor;
        let conflict = |end_seq| StoreError::Conflict {
            address: address.clone(),
            end_seq,
            first_seq: cursor.seq.saturating_add(1),
        };
        let log = logs.get_mut(address).ok_or_else(|| conflict(0))?;
        let current = log.snapshot.as_ref().map(|snapshot| snapshot.cursor);
        let ends_a_record = || {
            let (_, record) = log.records.range(..=cursor.seq).next_back()?;
            Some(log.cursor_after(record))
        };
        let goes_back = current.is_some_and(|current| cursor.seq < current.seq);
        if current != Some(cursor) && (goes_back || ends_a_record() != Some(cursor)) {
            return Err(conflict(log.end().seq));
        }
        let keep_from = keep_from.min(cursor.seq + 1);
        log.records.retain(|_, record| record.last_seq() >= keep_from);
        log.snapshot = Some(snapshot.clone());
        Ok(())
    }

    fn roll_over(
        &self,
        address: &Address,
        rollover: &Rollover,
        keep_since: Timestamp,
    ) -> Result<(), StoreError> {
        let mut logs = self.logs_mut();
        let end = rollover.last.cursor;
        let conflict = |end_seq| StoreError::Conflict {
            address: address.clone(),
            end_seq,
            first_seq: end.seq.saturating_add(1),
        };
        let log = logs.get_mut(address).ok_or_else(|| conflict(0))?;
        if log.end() != end {
            return Err(conflict(log.end().seq));
        }
        let body_bytes = rollover.last.body.len() as u64;
        let sealed = Sealed { end, body_bytes, start: rollover.start };
        log.sealed.retain(|(sealed, _)| sealed.start.at >= keep_since);
        log.sealed.push((sealed, rollover.last.clone()));
        log.epoch = rollover.start.cursor.epoch;
        log.records.clear();
        log.snapshot = Some(rollover.first.clone());
        Ok(())
    }

    fn list(&self, after: Option<&Address>, limit: usize) -> Result<Vec<Address>, StoreError> {
        let after = after.map_or(Bound::Unbounded, Bound::Excluded);
        let logs = self.logs();
        Ok(logs.range((after, Bound::Unbounded)).take(limit).map(|(at, _)| at.clone()).collect())
    }

    fn posts(&self, space: &str, wanted: &PostsWanted) -> Result<Vec<Summary>, StoreError> {
        Ok(self.posts.read().unwrap_or_else(PoisonError::into_inner).posts(space, wanted))
    }

    fn put_summary(&self, address: &Address, brought: &Brought) -> Result<(), StoreError> {
        self.posts_mut().put(address, brought);
        Ok(())
    }

    fn is_summarised(&self, space: &str) -> Result<bool, StoreError> {
        Ok(self.posts.read().unwrap_or_else(PoisonError::into_inner).is_complete(space))
    }

    fn set_summarised(&self, space: &str) -> Result<(), StoreError> {
        self.posts_mut().set_complete(space);
        Ok(())
    }

    fn deletion(&self, space: &str) -> Result<Option<Deletion>, StoreError> {
        Ok(self.posts.read().unwrap_or_else(PoisonError::into_inner).deletion(space))
    }

    fn set_deletion(&self, space: &str, deletion: Option<Deletion>) -> Result<(), StoreError> {
        self.posts_mut().set_deletion(space, deletion);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_passes_the_suite() {
        let store = MemoryStore::new();
        syncline_engine::storage::conformance::check(&mut || Box::new(store.clone()));
    }
}
