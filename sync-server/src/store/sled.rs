//! The default log: sled in one directory. No sled type leaves this module, and it knows nothing
//! of what changes and snapshots contain.
//!
//! Everything is in one tree, so that one batch (which sled recovers whole or not at all) can span
//! documents, records and snapshots. A record's bytes are cut into values of at most 6 KiB.
//! Nothing is shown before it is synced: while a batch is on its way to the disk its records are
//! in the tree, and readers cut them off.
//!
//! What sled does not do, and is left to its successor here:
//! - its file never gets smaller: dropped records leave space that only later writes use;
//! - it moves values between segments by its own weaker idea of a sync, so a drive that loses its
//!   write cache in the very moment of a move may lose older values too;
//! - it takes a byte that rotted in its file for the torn end of its log and may open to an earlier
//!   state of all documents. Each is a whole prefix then; only who holds a later cursor notices.

mod disk;
mod keys;
mod open;
mod read;
mod value;
mod write;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError, RwLock};

use bytes::Bytes;
use syncline_engine::ids::{Address, Cursor};
use syncline_engine::storage::record::DigestKey;
use syncline_engine::storage::{Append, LogHead, LogStore, Record, Snapshot, StoreError};

use disk::{Directory, Syncer};
pub use open::{OpenError, SledOptions};

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
    // Dropped in this order: sled before the lock on its directory.
    db: ::sled::Db,
    syncer: Syncer,
    digest_key: DigestKey,
    /// Held from checking a batch until it is on disk.
    writing: Mutex<()>,
    /// Held while a snapshot is put, which takes long and mostly does not need `writing`.
    putting: Mutex<()>,
    /// Readers share it; taken alone while values are deleted, so that no scan sees half of that.
    deleting: RwLock<()>,
    /// By document, the first seq that is in the tree but perhaps not on disk.
    in_flight: Mutex<BTreeMap<Address, u64>>,
    /// Why the store refuses everything.
    failed: OnceLock<String>,
    directory: Directory,
}

impl SledStore {
    /// The secret under which this store's tips are made. It never changes and is in every copy of
    /// the directory.
    #[must_use]
    pub const fn digest_key(&self) -> &DigestKey {
        &self.digest_key
    }

    /// sled's directory, whose size on disk is what the store takes.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.directory.log.clone()
    }

    fn check_usable(&self) -> Result<(), StoreError> {
        match self.failed.get() {
            None => Ok(()),
            Some(why) => Err(StoreError::Failed(why.clone())),
        }
    }

    /// Refuses everything from here on: after a failed write or sync nobody knows what is on disk,
    /// and trying again may report success for data that is gone.
    fn fail(&self, why: String) -> StoreError {
        let why = self.failed.get_or_init(|| {
            tracing::error!(dir = %self.directory.log.display(), why, "the store failed");
            why
        });
        StoreError::Failed(why.clone())
    }

    /// Runs a read of one document. sled panics on some damaged pages; that must not take the other
    /// documents down.
    fn read_guarded<T>(
        &self,
        address: &Address,
        read: impl FnOnce() -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        catch_unwind(AssertUnwindSafe(read))
            .unwrap_or_else(|_| Err(self.damaged(address, "sled panicked on its pages", None)))
    }

    fn in_flight(&self) -> MutexGuard<'_, BTreeMap<Address, u64>> {
        // Only single inserts and removals happen under it.
        self.in_flight.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LogStore for SledStore {
    fn append(&self, batch: &[Append]) -> Result<(), StoreError> {
        self.append_batch(batch)
    }

    fn head(&self, address: &Address) -> Result<Option<LogHead>, StoreError> {
        self.read_guarded(address, || self.log_head(address))
    }

    fn read(
        &self,
        address: &Address,
        from_seq: u64,
        bytes_max: usize,
    ) -> Result<Vec<Record>, StoreError> {
        self.read_guarded(address, || self.read_records(address, from_seq, bytes_max))
    }

    fn read_snapshot(
        &self,
        address: &Address,
        cursor: Cursor,
        offset: u64,
        bytes_max: usize,
    ) -> Result<Option<Bytes>, StoreError> {
        self.read_guarded(address, || self.snapshot_body(address, cursor, offset, bytes_max))
    }

    fn read_attribution(
        &self,
        address: &Address,
        cursor: Cursor,
    ) -> Result<Option<Bytes>, StoreError> {
        self.read_guarded(address, || self.snapshot_attribution(address, cursor))
    }

    fn put_snapshot(
        &self,
        address: &Address,
        snapshot: &Snapshot,
        keep_from: u64,
    ) -> Result<(), StoreError> {
        self.replace_snapshot(address, snapshot, keep_from)
    }

    fn list(&self, after: Option<&Address>, limit: usize) -> Result<Vec<Address>, StoreError> {
        self.addresses(after, limit)
    }
}

#[cfg(test)]
mod tests;
