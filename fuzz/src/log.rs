//! Logs in memory, as a store keeps them. Knows no hub.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

use syncline_engine::clock::Timestamp;
use syncline_engine::ids::{Address, Cursor, Epoch, Tip};
use syncline_engine::storage::posts::Posts;
use syncline_engine::storage::{
    Append, Deletion, LogHead, LogStore, PostsWanted, Record, Rollover, Sealed, Snapshot,
    SnapshotHead, StoreError,
};
use syncline_engine::summary::{Brought, Summary};

#[derive(Default)]
pub(crate) struct Logs {
    logs: Mutex<BTreeMap<Address, Log>>,
    posts: Mutex<Posts>,
}

struct Log {
    epoch: Epoch,
    records: Vec<Record>,
    snapshot: Option<Snapshot>,
    /// With the last snapshot of each.
    sealed: Vec<(Sealed, Snapshot)>,
}

impl Log {
    fn end(&self) -> Cursor {
        let begin = Cursor { epoch: self.epoch, seq: 0, tip: Tip::EMPTY };
        let below = self.snapshot.as_ref().map_or(begin, |snapshot| snapshot.cursor);
        self.records.last().map_or(below, |record| Cursor {
            epoch: self.epoch,
            seq: record.last_seq(),
            tip: record.tip,
        })
    }
}

impl Logs {
    fn logs(&self) -> MutexGuard<'_, BTreeMap<Address, Log>> {
        self.logs.lock().expect("nobody panics while it is held")
    }

    fn posts(&self) -> MutexGuard<'_, Posts> {
        self.posts.lock().expect("nobody panics while it is held")
    }

    /// Something of the snapshot that stands for `cursor`, if there is that one.
    fn of_snapshot<T>(
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

impl LogStore for Logs {
    fn append(&self, batch: &[Append]) -> Result<(), StoreError> {
        let mut logs = self.logs();
        for Append { address, epoch, record, .. } in batch {
            let log = logs.entry(address.clone()).or_insert_with(|| Log {
                epoch: *epoch,
                records: Vec::new(),
                snapshot: None,
                sealed: Vec::new(),
            });
            assert!(record.continues(log.end(), *epoch), "{record:?}");
            log.records.push(record.clone());
        }
        self.posts().append(batch);
        Ok(())
    }

    fn head(&self, address: &Address) -> Result<Option<LogHead>, StoreError> {
        Ok(self.logs().get(address).map(|log| LogHead {
            end: log.end(),
            snapshot: log.snapshot.as_ref().map(|snapshot| SnapshotHead {
                cursor: snapshot.cursor,
                body_bytes: snapshot.body.len() as u64,
                index: snapshot.index.clone(),
            }),
            tail_from: log.records.first().map_or(log.end().seq + 1, |record| record.first_seq),
            tail_bytes: log.records.iter().map(|record| record.change_bytes() as u64).sum(),
            sealed: log.sealed.iter().map(|(sealed, _)| *sealed).collect(),
        }))
    }

    fn read(
        &self,
        address: &Address,
        from_seq: u64,
        bytes_max: usize,
    ) -> Result<Vec<Record>, StoreError> {
        let (logs, mut bytes) = (self.logs(), 0);
        let records = logs.get(address).map_or(&[][..], |log| &log.records);
        let after = records.iter().filter(|record| record.last_seq() >= from_seq);
        let fits = after.take_while(|record| {
            let fits = bytes == 0 || bytes < bytes_max;
            bytes += record.change_bytes();
            fits
        });
        Ok(fits.cloned().collect())
    }

    fn read_snapshot(
        &self,
        address: &Address,
        cursor: Cursor,
        offset: u64,
        bytes_max: usize,
    ) -> Result<Option<bytes::Bytes>, StoreError> {
        Ok(self.of_snapshot(address, cursor, |snapshot| {
            let from = snapshot.body.len().min(usize::try_from(offset).unwrap_or(usize::MAX));
            snapshot.body.slice(from..snapshot.body.len().min(from.saturating_add(bytes_max)))
        }))
    }

    fn read_attribution(
        &self,
        address: &Address,
        cursor: Cursor,
    ) -> Result<Option<bytes::Bytes>, StoreError> {
        Ok(self.of_snapshot(address, cursor, |snapshot| snapshot.attribution.clone()))
    }

    fn put_snapshot(
        &self,
        address: &Address,
        snapshot: &Snapshot,
        keep_from: u64,
    ) -> Result<(), StoreError> {
        let mut logs = self.logs();
        let log = logs.get_mut(address).expect("there is a log of what is compacted");
        assert_eq!(snapshot.cursor.epoch, log.epoch);
        let keep_from = keep_from.min(snapshot.cursor.seq + 1);
        log.records.retain(|record| record.last_seq() >= keep_from);
        log.snapshot = Some(snapshot.clone());
        Ok(())
    }

    fn roll_over(
        &self,
        address: &Address,
        rollover: &Rollover,
        keep_since: Timestamp,
    ) -> Result<(), StoreError> {
        let mut logs = self.logs();
        let log = logs.get_mut(address).expect("there is a log of what is rolled over");
        let Rollover { last, first, start } = rollover;
        assert_eq!(last.cursor, log.end());
        log.sealed.retain(|(sealed, _)| sealed.start.at >= keep_since);
        let body_bytes = last.body.len() as u64;
        let sealed = Sealed { end: last.cursor, body_bytes, start: *start };
        log.sealed.push((sealed, last.clone()));
        log.epoch = start.cursor.epoch;
        log.records.clear();
        log.snapshot = Some(first.clone());
        Ok(())
    }

    fn list(&self, _: Option<&Address>, _: usize) -> Result<Vec<Address>, StoreError> {
        Ok(self.logs().keys().cloned().collect())
    }

    fn posts(&self, space: &str, wanted: &PostsWanted) -> Result<Vec<Summary>, StoreError> {
        Ok(self.posts().posts(space, wanted))
    }

    fn put_summary(&self, address: &Address, brought: &Brought) -> Result<(), StoreError> {
        self.posts().put(address, brought);
        Ok(())
    }

    fn is_summarised(&self, space: &str) -> Result<bool, StoreError> {
        Ok(self.posts().is_complete(space))
    }

    fn set_summarised(&self, space: &str) -> Result<(), StoreError> {
        self.posts().set_complete(space);
        Ok(())
    }

    fn deletion(&self, space: &str) -> Result<Option<Deletion>, StoreError> {
        Ok(self.posts().deletion(space))
    }

    fn set_deletion(&self, space: &str, deletion: Option<Deletion>) -> Result<(), StoreError> {
        self.posts().set_deletion(space, deletion);
        Ok(())
    }
}
