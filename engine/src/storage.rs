//! What the server's log and the client's store must offer, and the values that they keep. No
//! store lives here; a conformance suite that every store must pass does ([`conformance`]).
//!
//! Words: a *record* holds all changes of one document that one group commit made durable; its
//! *entries* are the single changes. A *snapshot* stands for all entries up to its cursor. An epoch
//! that was rolled over into another is *sealed*: its last snapshot is kept, and where it went on.

use std::time::Duration;

use bytes::Bytes;

use crate::clock::Timestamp;
use crate::codes::Code;
use crate::ids::{Address, ChangeHash, Cursor, Epoch, EpochStart, OutboxId, Tip, UserId};
use crate::summary::{Brought, Place, Summary};

pub mod conformance;
pub mod posts;
pub mod record;

/// One accepted change in a log, with who wrote it, when it was accepted, and which command of
/// which outbox it settled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Who wrote it, as the server authenticated them.
    pub author: UserId,
    /// When the server accepted it.
    pub at: Timestamp,
    /// The command that it is, or `None` for the server's own merges and for restored changes.
    pub command: Option<CommandRef>,
    /// The change's hash.
    pub hash: ChangeHash,
    /// The change, as automerge's raw bytes.
    pub change: Bytes,
}

/// A command by its number in its outbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct CommandRef {
    /// Whose queue.
    pub outbox: OutboxId,
    /// Which in it; the first is 1.
    pub number: u64,
}

/// Consecutive entries of one document's log, as one commit wrote them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The seq of the first entry.
    pub first_seq: u64,
    /// The digest of the log before the first entry.
    pub tip_before: Tip,
    /// The digest after the last entry.
    pub tip: Tip,
    /// The entries, at least one.
    pub entries: Vec<Entry>,
}

impl Record {
    /// The seq of the last entry.
    #[must_use]
    pub fn last_seq(&self) -> u64 {
        self.first_seq + self.entries.len() as u64 - 1
    }

    /// Bytes of its changes.
    #[must_use]
    pub fn change_bytes(&self) -> usize {
        self.entries.iter().map(|entry| entry.change.len()).sum()
    }

    /// Whether it goes on, in this epoch, exactly where a log ends.
    #[must_use]
    pub fn continues(&self, end: Cursor, epoch: Epoch) -> bool {
        end.epoch == epoch
            && end.seq.checked_add(1) == Some(self.first_seq)
            && end.tip == self.tip_before
            && !self.entries.is_empty()
    }
}

/// One document's share of a group commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Append {
    /// Which document.
    pub address: Address,
    /// The incarnation of its log. The first append of a document creates the log with it; later
    /// ones must match.
    pub epoch: Epoch,
    /// What to append; its `first_seq` must follow the log's end and its `tip_before` must be the
    /// log's tip, else the whole batch fails as [`StoreError::Conflict`].
    pub record: Record,
    /// What the document brings to the summary of its post once the record is there; `None` leaves the
    /// summary as it is.
    pub brought: Option<Brought>,
}

/// Which summaries are asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PostsWanted {
    /// Those that are listed after a place, or from the beginning, in order, so many at most.
    After(Option<Place>, usize),
    /// Those of these posts, listed or not.
    Ids(Vec<String>),
}

/// A document's log in outline, and everything that the hub needs to go on with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogHead {
    /// The end of the log.
    pub end: Cursor,
    /// The snapshot below the tail, if there is one.
    pub snapshot: Option<SnapshotHead>,
    /// The first seq that can still be read as a record; `end.seq + 1` if none.
    pub tail_from: u64,
    /// Bytes of the changes in the tail.
    pub tail_bytes: u64,
    /// The epochs before this one whose ends are kept, the oldest first.
    pub sealed: Vec<Sealed>,
}

/// The end of an epoch that was rolled over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sealed {
    /// Where it ended. Its last snapshot stands for this.
    pub end: Cursor,
    /// Length of that snapshot's body in bytes.
    pub body_bytes: u64,
    /// Where the log went on.
    pub start: EpochStart,
}

/// The end of one epoch and the beginning of the next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rollover {
    /// The ending epoch's last snapshot, at the end of its log.
    pub last: Snapshot,
    /// The beginning epoch's first snapshot, at `start.cursor`.
    pub first: Snapshot,
    /// Where the log goes on.
    pub start: EpochStart,
}

/// A snapshot without its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotHead {
    /// The position that it stands for.
    pub cursor: Cursor,
    /// Length of the body (automerge's saved form) in bytes.
    pub body_bytes: u64,
    /// The gate's index at `cursor`, encoded by the hub; opaque to the store.
    pub index: Bytes,
}

/// A snapshot to be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The position that it stands for; must be at or before the log's end, on a record boundary.
    pub cursor: Cursor,
    /// The document in automerge's saved form.
    pub body: Bytes,
    /// The gate's index at `cursor`.
    pub index: Bytes,
    /// Who wrote what up to `cursor`, encoded by the hub; opaque to the store.
    pub attribution: Bytes,
}

/// That an operator has deleted a space.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deletion {
    /// When.
    pub at: Timestamp,
    /// Whether all that was in it is gone. As long as it is not, the space stays deleted.
    pub emptied: bool,
}

impl Deletion {
    /// Whether nobody may use the space: until it is emptied, and for as long after as clients may come
    /// back that have not heard of it.
    #[must_use]
    pub fn stands(&self, now: Timestamp, offline_window: Duration) -> bool {
        !self.emptied || self.at >= now.before(offline_window)
    }
}

/// A store operation failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The log is not where the caller thinks. Nothing of the batch was written.
    #[error("the log of {address} ends at {end_seq}, the append starts at {first_seq}")]
    Conflict {
        /// Whose log.
        address: Address,
        /// Where it ends.
        end_seq: u64,
        /// Where the append starts.
        first_seq: u64,
    },
    /// A stored value failed its checksum or does not decode. It was set aside, not deleted.
    #[error("a stored value of {address} is damaged: {what}")]
    Damaged {
        /// Whose.
        address: Address,
        /// Which value and how.
        what: String,
    },
    /// The device or the file system failed. Whether the last write is durable is unknown; the
    /// store refuses everything from here on.
    #[error("the store failed: {0}")]
    Failed(String),
}

impl StoreError {
    /// The code under which it is reported.
    #[must_use]
    pub const fn code(&self) -> Code {
        match self {
            Self::Conflict { .. } | Self::Failed(_) => Code::StoreFailed,
            Self::Damaged { .. } => Code::DamagedRecord,
        }
    }
}

/// The server's durable log of all documents.
///
/// Reads may run on any thread while one thread appends. No method has a default: a store around another
/// must pass on every one of them.
pub trait LogStore: Send + Sync {
    /// Appends the records of several documents as one group commit. When it returns `Ok`,
    /// everything in the batch is on disk and survives a power cut; all of it or nothing is.
    ///
    /// A batch may hold several records of one document if each continues the one before it.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] if an append does not continue its log, and
    /// [`StoreError::Damaged`] if the end of one of the logs cannot be trusted: nothing of the
    /// batch was written. [`StoreError::Failed`] if the device fails, after which nothing more is
    /// accepted.
    fn append(&self, batch: &[Append]) -> Result<(), StoreError>;

    /// The outline of a document's log; `None` if the document has none yet.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] if what is stored cannot be trusted.
    fn head(&self, address: &Address) -> Result<Option<LogHead>, StoreError>;

    /// Records from the one that contains `from_seq` on, until about `bytes_max` bytes of changes
    /// are read (at least one record if there is any). Empty at the end of the log. If the log was
    /// truncated past `from_seq` meanwhile, the first record starts later: compare its `first_seq`.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] if a record fails its checksum.
    fn read(
        &self,
        address: &Address,
        from_seq: u64,
        bytes_max: usize,
    ) -> Result<Vec<Record>, StoreError>;

    /// Part of the body of the current snapshot, or of a sealed epoch's last.
    ///
    /// `Ok(None)` if none of them is at `cursor` (any more).
    ///
    /// # Errors
    /// [`StoreError::Damaged`] if the part fails its checksum.
    fn read_snapshot(
        &self,
        address: &Address,
        cursor: Cursor,
        offset: u64,
        bytes_max: usize,
    ) -> Result<Option<Bytes>, StoreError>;

    /// The current snapshot's [`Snapshot::attribution`].
    ///
    /// `Ok(None)` if the current snapshot is no longer the one at `cursor`.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] if it fails its checksum.
    fn read_attribution(
        &self,
        address: &Address,
        cursor: Cursor,
    ) -> Result<Option<Bytes>, StoreError>;

    /// Stores a snapshot durably, reads it back, then drops the records that lie wholly before
    /// `keep_from`; those after the snapshot's cursor stay whatever `keep_from` says. A crash in
    /// between leaves either the old or the new snapshot, never none.
    ///
    /// # Errors
    /// As for [`LogStore::append`]; [`StoreError::Conflict`] if the snapshot's cursor is neither
    /// the end of a stored record nor the current snapshot's own.
    fn put_snapshot(
        &self,
        address: &Address,
        snapshot: &Snapshot,
        keep_from: u64,
    ) -> Result<(), StoreError>;

    /// Ends an epoch: from here on the log is that of the next, whose first snapshot stands for all
    /// of it, and the ending epoch's records and snapshots are gone except for its last, which is
    /// kept and listed in [`LogHead::sealed`]. Epochs that were sealed before are kept if that was
    /// not before `keep_since`. All of it is durable when this returns; a crash before leaves the
    /// log as it was.
    ///
    /// # Errors
    /// As for [`LogStore::append`]; [`StoreError::Conflict`] if the log does not end where the
    /// ending epoch's last snapshot stands.
    fn roll_over(
        &self,
        address: &Address,
        rollover: &Rollover,
        keep_since: Timestamp,
    ) -> Result<(), StoreError>;

    /// The addresses of stored documents that sort after `after`, at most `limit`.
    ///
    /// # Errors
    /// [`StoreError::Failed`] if the device fails.
    fn list(&self, after: Option<&Address>, limit: usize) -> Result<Vec<Address>, StoreError>;

    /// Summaries of the posts of a space, made of what the appends brought ([`Append::brought`]). Only
    /// what is on disk is shown.
    ///
    /// # Errors
    /// [`StoreError::Failed`] if the device fails. A damaged summary is left out.
    fn posts(&self, space: &str, wanted: &PostsWanted) -> Result<Vec<Summary>, StoreError>;

    /// Stores durably what a document brings that was written before there were summaries. Does
    /// nothing if an append has brought something since.
    ///
    /// # Errors
    /// [`StoreError::Failed`] if the device fails.
    fn put_summary(&self, address: &Address, brought: &Brought) -> Result<(), StoreError>;

    /// Whether [`Self::set_summarised`] was called for a space.
    ///
    /// # Errors
    /// [`StoreError::Failed`] if the device fails.
    fn is_summarised(&self, space: &str) -> Result<bool, StoreError>;

    /// Notes durably that all documents of a space have been summarised.
    ///
    /// # Errors
    /// [`StoreError::Failed`] if the device fails.
    fn set_summarised(&self, space: &str) -> Result<(), StoreError>;

    /// What [`Self::set_deletion`] noted of a space last.
    ///
    /// # Errors
    /// [`StoreError::Failed`] if the device fails or what is noted is damaged.
    fn deletion(&self, space: &str) -> Result<Option<Deletion>, StoreError>;

    /// Notes durably that a space is deleted, or that nothing is known of that any more. Removes nothing
    /// of what is in it.
    ///
    /// # Errors
    /// [`StoreError::Failed`] if the device fails.
    fn set_deletion(&self, space: &str, deletion: Option<Deletion>) -> Result<(), StoreError>;
}
