//! The default log: sled in one directory. No sled type leaves this module, and it knows nothing
//! of what changes and snapshots contain.
//!
//! Everything is in one tree, so that one batch (which sled recovers whole or not at all) can span
//! documents, records and snapshots. A record's bytes are cut into values of at most 6 KiB.
//! Nothing is shown before it is synced: while a batch is on its way to the disk its records are
//! in the tree, and readers cut them off.
//!
//! sled also keeps nearly every page in memory that it ever read or wrote, whatever its cache is set
//! to, so the store lets go of all of them from time to time: see `keeper`.
//!
//! What sled does not do, and is left to its successor here:
//! - its file never gets smaller: so once in a while everything goes into one compact file, the base,
//!   and a fresh sled above it takes what is written after (see `renew`);
//! - it moves values between segments by its own weaker idea of a sync, so a drive that loses its
//!   write cache in the very moment of a move may lose older values too;
//! - it takes a byte that rotted in its file for the torn end of its log and may open to an earlier
//!   state of all documents. Each is a whole prefix then; only who holds a later cursor notices.

mod base;
mod disk;
mod keeper;
mod keys;
mod layout;
mod log;
mod maintain;
mod open;
mod orders;
mod posts;
mod read;
mod renew;
mod tree;
mod value;
mod write;

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};

use bytes::Bytes;
use syncline_engine::clock::Timestamp;
use syncline_engine::ids::{Address, Cursor};
use syncline_engine::storage::record::DigestKey;
use syncline_engine::storage::{
    Append, Deletion, LogHead, LogStore, PostsWanted, Record, Rollover, Snapshot, StoreError,
};
use syncline_engine::summary::{Brought, Summary};

use keeper::{Keeper, Shared};
use log::Log;
pub use maintain::{CheckedValues, CopyError, Import};
pub use open::{OpenError, SledOptions};
use renew::Renewer;
pub use renew::{Merging, RenewError, Renewed, Sizes};

/// A [`LogStore`] in a directory of its own.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// use syncline_engine::storage::LogStore;
/// use syncline_server::store::{SledOptions, SledStore};
/// let store = SledStore::open(dir.path(), &SledOptions::default())?;
/// let term = store.begin_term(1_700_000_000_000)?;
/// assert!(store.list(None, 10)?.is_empty());
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct SledStore {
    // Dropped in this order: the threads have ended before the files are closed.
    keeper: Keeper,
    renewer: Renewer,
    shared: Arc<Shared>,
    digest_key: DigestKey,
}

impl SledStore {
    /// The secret under which this store's tips are made. It never changes and is in every copy of
    /// the directory.
    #[must_use]
    pub const fn digest_key(&self) -> &DigestKey {
        &self.digest_key
    }

    /// The store's directory.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.shared.path().to_owned()
    }

    /// Begins a new ownership term and returns it once it is on disk: larger than any before, and
    /// not below `now_ms` (milliseconds since the Unix epoch), so that also a store restored from
    /// an old backup never leases an actor id twice unless its clock went back with it.
    ///
    /// # Errors
    /// [`StoreError::Failed`] if it cannot be made durable or the last one is damaged.
    pub fn begin_term(&self, now_ms: u64) -> Result<u64, StoreError> {
        self.shared.with(|log| log.begin_term(now_ms))
    }

    /// What the store takes on disk.
    ///
    /// # Errors
    /// [`StoreError::Failed`] if the store has failed.
    pub fn sizes(&self) -> Result<Sizes, StoreError> {
        self.shared.sizes()
    }

    /// Removes the summary of the post that a document belongs to; it is made anew when its space is
    /// listed.
    ///
    /// # Errors
    /// As for [`LogStore::append`].
    pub fn drop_summary(&self, address: &Address) -> Result<(), StoreError> {
        self.shared.with(|log| log.drop_summary(address))
    }

    /// All spaces of which it is noted that they were deleted.
    ///
    /// # Errors
    /// [`StoreError::Failed`] if the store fails or what is noted is damaged.
    pub fn deletions(&self) -> Result<Vec<(String, Deletion)>, StoreError> {
        self.shared.with(Log::deletions)
    }

    /// Notes durably that a user is being forgotten, or that this is over.
    ///
    /// # Errors
    /// [`StoreError::Failed`] if the store fails.
    pub fn set_forgetting(&self, user: &str, is_so: bool) -> Result<(), StoreError> {
        self.shared.with(|log| log.set_forgetting(user, is_so))
    }

    /// All users of whom that is noted.
    ///
    /// # Errors
    /// [`StoreError::Failed`] if the store fails.
    pub fn forgetting(&self) -> Result<Vec<String>, StoreError> {
        self.shared.with(Log::forgetting)
    }

    /// Merges all that is stored at this moment into one compact file, so that what was overwritten and
    /// removed takes no space. Appends and reads go on meanwhile. `watch` is told how far it is, and
    /// may stop it, which leaves everything to the next merge.
    ///
    /// # Errors
    /// [`RenewError`]; the store goes on as it was unless it has failed.
    pub fn renew(
        &self,
        watch: &mut dyn FnMut(Merging) -> ControlFlow<()>,
    ) -> Result<Renewed, RenewError> {
        self.shared.renew(watch)
    }

    /// Closes sled and opens it again, which gives back the memory of all pages. Answers false if
    /// the store has failed, before or by this.
    #[cfg(test)]
    fn reopen(&self) -> bool {
        self.shared.reopen().is_some()
    }

    /// Reads from the log, and notes what that may have left in memory.
    fn read_with<T>(
        &self,
        address: &Address,
        read: impl FnOnce(&Log) -> Result<T, StoreError>,
        bytes: impl FnOnce(&T) -> usize,
    ) -> Result<T, StoreError> {
        let found = self.shared.with(|log| log.read_guarded(address, || read(log)))?;
        self.keeper.note(bytes(&found));
        Ok(found)
    }
}

impl LogStore for SledStore {
    fn append(&self, batch: &[Append]) -> Result<(), StoreError> {
        self.shared.with(|log| log.append_batch(batch))?;
        for append in batch {
            self.keeper.note(append.record.change_bytes());
            self.renewer.note(append.record.change_bytes());
        }
        Ok(())
    }

    fn head(&self, address: &Address) -> Result<Option<LogHead>, StoreError> {
        self.read_with(
            address,
            |log| log.log_head(address),
            |head| {
                let snapshot = head.as_ref().and_then(|head| head.snapshot.as_ref());
                snapshot.map_or(0, |snapshot| snapshot.index.len())
            },
        )
    }

    fn read(
        &self,
        address: &Address,
        from_seq: u64,
        bytes_max: usize,
    ) -> Result<Vec<Record>, StoreError> {
        self.read_with(
            address,
            |log| log.read_records(address, from_seq, bytes_max),
            |records| records.iter().map(Record::change_bytes).sum(),
        )
    }

    fn read_snapshot(
        &self,
        address: &Address,
        cursor: Cursor,
        offset: u64,
        bytes_max: usize,
    ) -> Result<Option<Bytes>, StoreError> {
        self.read_with(
            address,
            |log| log.snapshot_body(address, cursor, offset, bytes_max),
            |part| part.as_ref().map_or(0, Bytes::len),
        )
    }

    fn read_attribution(
        &self,
        address: &Address,
        cursor: Cursor,
    ) -> Result<Option<Bytes>, StoreError> {
        self.read_with(
            address,
            |log| log.snapshot_attribution(address, cursor),
            |bytes| bytes.as_ref().map_or(0, Bytes::len),
        )
    }

    fn put_snapshot(
        &self,
        address: &Address,
        snapshot: &Snapshot,
        keep_from: u64,
    ) -> Result<(), StoreError> {
        self.shared.let_merge();
        let _putting = self.shared.putting.lock().unwrap_or_else(PoisonError::into_inner);
        self.shared.with(|log| log.replace_snapshot(address, snapshot, keep_from))?;
        let Snapshot { body, index, attribution, .. } = snapshot;
        self.keeper.note(body.len() + index.len() + attribution.len());
        self.renewer.note(body.len() + index.len() + attribution.len());
        Ok(())
    }

    fn roll_over(
        &self,
        address: &Address,
        rollover: &Rollover,
        keep_since: Timestamp,
    ) -> Result<(), StoreError> {
        self.shared.let_merge();
        let _putting = self.shared.putting.lock().unwrap_or_else(PoisonError::into_inner);
        self.shared.with(|log| log.end_epoch(address, rollover, keep_since))?;
        self.keeper.note(rollover.last.body.len() + rollover.first.body.len());
        self.renewer.note(rollover.last.body.len() + rollover.first.body.len());
        Ok(())
    }

    fn list(&self, after: Option<&Address>, limit: usize) -> Result<Vec<Address>, StoreError> {
        let found = self.shared.with(|log| log.addresses(after, limit))?;
        self.keeper.note(0);
        Ok(found)
    }

    fn posts(&self, space: &str, wanted: &PostsWanted) -> Result<Vec<Summary>, StoreError> {
        let found = self.shared.with(|log| log.posts_guarded(|| log.posts(space, wanted)))?;
        found.iter().for_each(|_| self.keeper.note(0));
        Ok(found)
    }

    fn put_summary(&self, address: &Address, brought: &Brought) -> Result<(), StoreError> {
        self.shared.with(|log| log.put_summary(address, brought))?;
        self.keeper.note(0);
        Ok(())
    }

    fn is_summarised(&self, space: &str) -> Result<bool, StoreError> {
        self.shared.with(|log| log.is_summarised(space))
    }

    fn set_summarised(&self, space: &str) -> Result<(), StoreError> {
        self.shared.with(|log| log.set_summarised(space))
    }

    fn deletion(&self, space: &str) -> Result<Option<Deletion>, StoreError> {
        self.shared.with(|log| log.deletion(space))
    }

    fn set_deletion(&self, space: &str, deletion: Option<Deletion>) -> Result<(), StoreError> {
        self.shared.with(|log| log.set_deletion(space, deletion))
    }
}

#[cfg(test)]
mod tests;
