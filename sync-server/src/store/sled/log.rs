//! A store's layers, open on its files, with the locks and notes that its use needs. It knows nothing of
//! how long it will stay open.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError, RwLock};

use syncline_engine::ids::Address;
use syncline_engine::storage::{LogHead, StoreError};

use super::disk::{Directory, Syncer};
use super::tree::Tree;
use super::{OpenError, SledOptions, keys, open};

/// An open log.
#[derive(Debug)]
pub(super) struct Log {
    pub(super) tree: Tree,
    /// Of the layer that takes all writes.
    pub(super) syncer: Syncer,
    /// Held from checking a batch until it is on disk.
    pub(super) writing: Mutex<()>,
    /// Readers share it; taken alone while values are deleted, so that no scan sees half of that.
    pub(super) deleting: RwLock<()>,
    /// By document, the first seq that is in the tree but perhaps not on disk.
    in_flight: Mutex<BTreeMap<Address, u64>>,
    /// A document of the last batch.
    written_last: Mutex<Option<Address>>,
    /// Why the store refuses everything.
    failed: OnceLock<String>,
    path: PathBuf,
}

/// The store's secret, and the document written last as it is. A log that has both is not an earlier
/// state of itself.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Landmark {
    secret: Option<Vec<u8>>,
    written_last: Option<(Address, Option<LogHead>)>,
}

impl Log {
    /// Opens the layers of a directory. Returns after everything in them is known to be on
    /// disk.
    pub(super) fn open(
        dir: &Path,
        directory: &Directory,
        options: &SledOptions,
    ) -> Result<Self, OpenError> {
        let (tree, syncer) = open::layers(dir, directory, options)?;
        Ok(Self {
            tree,
            syncer,
            writing: Mutex::new(()),
            deleting: RwLock::new(()),
            in_flight: Mutex::new(BTreeMap::new()),
            written_last: Mutex::new(None),
            failed: OnceLock::new(),
            path: dir.to_owned(),
        })
    }

    pub(super) fn check_usable(&self) -> Result<(), StoreError> {
        match self.failed.get() {
            None => Ok(()),
            Some(why) => Err(StoreError::Failed(why.clone())),
        }
    }

    /// Refuses everything from here on: after a failed write or sync nobody knows what is on disk,
    /// and trying again may report success for data that is gone.
    pub(super) fn fail(&self, why: String) -> StoreError {
        let why = self.failed.get_or_init(|| {
            tracing::error!(dir = %self.path.display(), why, "the store failed");
            why
        });
        StoreError::Failed(why.clone())
    }

    /// Runs a read of one document. sled panics on some damaged pages; that must not take the other
    /// documents down.
    pub(super) fn read_guarded<T>(
        &self,
        address: &Address,
        read: impl FnOnce() -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        catch_unwind(AssertUnwindSafe(read))
            .unwrap_or_else(|_| Err(self.damaged(address, "sled panicked on its pages", None)))
    }

    pub(super) fn in_flight(&self) -> MutexGuard<'_, BTreeMap<Address, u64>> {
        // Only single inserts and removals happen under it.
        self.in_flight.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that a document was written and is on disk.
    pub(super) fn written(&self, address: &Address) {
        let mut last = self.written_last.lock().unwrap_or_else(PoisonError::into_inner);
        *last = Some(address.clone());
    }

    /// By what this log is recognised after it was closed and opened. Nothing may be on its way to
    /// the disk.
    pub(super) fn landmark(&self) -> Result<Landmark, StoreError> {
        let last = self.written_last.lock().unwrap_or_else(PoisonError::into_inner).clone();
        self.landmark_of(last)
    }

    fn landmark_of(&self, last: Option<Address>) -> Result<Landmark, StoreError> {
        let written_last = match last {
            None => None,
            Some(at) => {
                let head = self.read_guarded(&at, || self.log_head(&at))?;
                Some((at, head))
            }
        };
        Ok(Landmark { secret: self.meta(keys::DIGEST_KEY)?, written_last })
    }

    /// Whether this log is at a landmark, and if so goes on from it.
    pub(super) fn is_at(&self, landmark: &Landmark) -> Result<bool, StoreError> {
        let last = landmark.written_last.as_ref().map(|(address, _)| address.clone());
        if let Some(address) = &last {
            self.written(address);
        }
        Ok(self.landmark_of(last)? == *landmark)
    }
}
