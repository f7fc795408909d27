//! What operators do with the data of a server: look at it, check it, make it small, copy it, write it
//! down, delete from it. Works on an open store, whether a server runs on it or not; over the socket of a
//! running one ([`socket`]) it is the same code. Prints nothing and knows no command line.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use syncline_engine::hub;
use syncline_engine::ids::{Address, StreamAddress};
use syncline_engine::storage::{LogStore, StoreError};

use crate::orders::{Ended, Orders};
use crate::store::{CopyError, Merging, OpenError, RenewError, SledStore};

mod export;
mod forget;
mod import;
mod inspect;
#[cfg(unix)]
pub mod socket;
mod verify;

pub use import::{ImportError, Imported, import};
pub use inspect::{DeletedSpace, DocumentSize, Inspection};
pub use verify::{Problem, Verification};

/// Addresses that are read from the store at a time.
const LISTED_AT_ONCE: usize = 1_000;

/// Something to be done with the data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "task", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Task {
    /// Say what is there.
    Inspect,
    /// Check everything.
    Verify,
    /// Make a snapshot of every document and merge the store. A running server makes the snapshots
    /// itself, so there only the second is done.
    Compact {
        /// Changes that stay readable below a snapshot.
        keep: u64,
    },
    /// Copy the store as it is at one moment into an empty directory.
    Backup {
        /// Which.
        target: PathBuf,
    },
    /// Write everything down, a line for each entry and snapshot.
    Export,
    /// Empty all documents of a space, and let nobody use it for as long as clients may come back that have
    /// not heard of it.
    DeleteSpace {
        /// Which.
        space: String,
    },
    /// Take what a user said, and that it was them, out of every document.
    ForgetUser {
        /// Whom.
        user: String,
    },
}

/// How a task ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "task", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Report {
    /// What is there.
    Inspect(Inspection),
    /// What was checked, and what is wrong.
    Verify(Verification),
    /// What became smaller.
    Compact {
        /// Documents that got a new snapshot.
        snapshots: u64,
        /// Documents that are damaged or whose snapshot could not be made: they are as they were.
        failed: Vec<Problem>,
        /// Bytes on disk before.
        bytes_before: u64,
        /// Bytes on disk after.
        bytes_after: u64,
    },
    /// What was copied.
    Backup {
        /// Where to.
        target: PathBuf,
        /// Bytes of the copy.
        bytes: u64,
    },
    /// What was written down.
    Export {
        /// Documents.
        documents: u64,
        /// Entries of their logs.
        entries: u64,
    },
    /// What was deleted.
    DeleteSpace {
        /// Documents.
        documents: u64,
        /// Bytes on disk before.
        bytes_before: u64,
        /// Bytes on disk after.
        bytes_after: u64,
    },
    /// What was taken out.
    ForgetUser {
        /// Documents in which the user was named as an author of changes or content.
        documents: u64,
        /// Documents that could not be read, and are as they were.
        failed: Vec<Problem>,
    },
}

impl Report {
    /// Whether all is well.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        match self {
            Self::Verify(verification) => verification.is_sound(),
            Self::Compact { failed, .. } | Self::ForgetUser { failed, .. } => failed.is_empty(),
            Self::Inspect(inspection) => inspection.damaged.is_empty(),
            Self::Backup { .. } | Self::Export { .. } | Self::DeleteSpace { .. } => true,
        }
    }
}

/// How far a task is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// What is being done.
    pub doing: String,
    /// How many documents or bytes are done.
    pub done: u64,
    /// What is counted.
    pub unit: String,
}

/// What a task says on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// How far it is.
    Progress(Progress),
    /// A line of an export.
    Line(String),
}

/// Hears what a task says, and may stop it.
pub type Listen<'a> = dyn FnMut(Said) -> ControlFlow<()> + 'a;

/// A task did not come to its end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TaskError {
    /// The store failed or could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The store could not be merged.
    #[error(transparent)]
    Renew(RenewError),
    /// The copy could not be made.
    #[error(transparent)]
    Copy(CopyError),
    /// The directory cannot be used.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// No random bytes are to be had.
    #[error("the operating system gives no random bytes: {0}")]
    Random(String),
    /// No space or user can have this name.
    #[error("{0:?} is no name")]
    Name(String),
    /// The server ended in the middle.
    #[error("the server ended before it was done; the next one finishes it")]
    Ended,
    /// Whoever listens had enough.
    #[error("stopped")]
    Stopped,
}

impl From<Ended> for TaskError {
    fn from(Ended: Ended) -> Self {
        Self::Ended
    }
}

impl From<RenewError> for TaskError {
    fn from(error: RenewError) -> Self {
        match error {
            RenewError::Stopped => Self::Stopped,
            RenewError::Store(error) => Self::Store(error),
            RenewError::Damaged(_) | RenewError::Io { .. } => Self::Renew(error),
        }
    }
}

impl From<CopyError> for TaskError {
    fn from(error: CopyError) -> Self {
        match error {
            CopyError::Renew(error) => error.into(),
            CopyError::Open(error) => error.into(),
            CopyError::NotEmpty(_) | CopyError::Incomplete(_) | CopyError::Io { .. } => {
                Self::Copy(error)
            }
        }
    }
}

/// Does a task on a store on which no server runs.
///
/// # Errors
/// [`TaskError`] if it could not be done to its end. What is damaged is in the report.
pub fn perform(
    store: &SledStore,
    task: &Task,
    listen: &mut Listen<'_>,
) -> Result<Report, TaskError> {
    perform_beside(store, task, None, listen)
}

/// Finishes what was ordered of a server before this one, and forgets deletions that nobody needs to know of
/// any more.
pub(crate) fn resume(store: &SledStore, orders: &Orders, offline_window: Duration) {
    if let Err(error) = forget::resume(store, orders, offline_window) {
        tracing::error!(%error, "what was ordered before the last end is not finished");
    }
}

/// Does a task on a store, beside the server that runs on it if there is one.
fn perform_beside(
    store: &SledStore,
    task: &Task,
    server: Option<&Orders>,
    listen: &mut Listen<'_>,
) -> Result<Report, TaskError> {
    match task {
        Task::Inspect => inspect::inspect(store, listen).map(Report::Inspect),
        Task::Verify => verify::verify(store, listen).map(Report::Verify),
        Task::Compact { keep } => compact(store, *keep, server.is_some(), listen),
        Task::Backup { target } => {
            let bytes = store.backup(target, &mut |so_far| tell(listen, "copying", so_far))?;
            Ok(Report::Backup { target: target.clone(), bytes })
        }
        Task::Export => export::export(store, listen),
        Task::DeleteSpace { space } => forget::delete_space(store, space, server, listen),
        Task::ForgetUser { user } => forget::forget(store, user, server, listen),
    }
}

fn compact(
    store: &SledStore,
    keep: u64,
    is_live: bool,
    listen: &mut Listen<'_>,
) -> Result<Report, TaskError> {
    let (mut snapshots, mut failed) = (0, Vec::new());
    if !is_live {
        each_document(store, "making snapshots", listen, &mut |address, _| {
            match snapshot(store, address, keep) {
                Ok(made) => snapshots += u64::from(made),
                Err(StoreError::Failed(why)) => return Err(StoreError::Failed(why).into()),
                Err(error) => failed.push(Problem::of(address, &error)),
            }
            Ok(())
        })?;
    }
    let renewed = store.renew(&mut |so_far| tell(listen, "merging", so_far))?;
    let (bytes_before, bytes_after) = (renewed.bytes_before, renewed.bytes_after);
    Ok(Report::Compact { snapshots, failed, bytes_before, bytes_after })
}

/// Makes a snapshot of a document if its log goes on above the one that there is. Says whether.
fn snapshot(store: &SledStore, address: &Address, keep: u64) -> Result<bool, StoreError> {
    if StreamAddress::of(address).is_some() {
        return Ok(false);
    }
    let Some(head) = store.head(address)? else { return Ok(false) };
    let old = hub::snapshot(store, address)?;
    let kept_from = head.end.seq.saturating_add(1).saturating_sub(keep);
    if old.as_ref().is_some_and(|old| old.cursor == head.end) && head.tail_from >= kept_from {
        return Ok(false);
    }
    let from_seq = old.as_ref().map_or(1, |old| old.cursor.seq + 1);
    let records = store.read(address, from_seq, usize::MAX)?;
    let made = hub::compact(address, head.end, old.as_ref(), &records);
    let made = made.map_err(|error| StoreError::Damaged {
        address: address.clone(),
        what: error.to_string(),
    })?;
    store.put_snapshot(address, &made, kept_from)?;
    Ok(true)
}

/// Passes on how far a walk over all values is.
fn tell(listen: &mut Listen<'_>, doing: &str, so_far: Merging) -> ControlFlow<()> {
    let (doing, unit) = (doing.to_owned(), "bytes".to_owned());
    listen(Said::Progress(Progress { doing, done: so_far.bytes, unit }))
}

/// Does something with each document in the order of their addresses.
fn each_document(
    store: &SledStore,
    doing: &str,
    listen: &mut Listen<'_>,
    work: &mut dyn FnMut(&Address, &mut Listen<'_>) -> Result<(), TaskError>,
) -> Result<u64, TaskError> {
    let (mut after, mut done) = (None, 0);
    loop {
        let addresses = store.list(after.as_ref(), LISTED_AT_ONCE)?;
        let Some(last) = addresses.last() else { return Ok(done) };
        after = Some(last.clone());
        for address in &addresses {
            work(address, listen)?;
            done += 1;
            let (doing, unit) = (doing.to_owned(), "documents".to_owned());
            if listen(Said::Progress(Progress { doing, done, unit })).is_break() {
                return Err(TaskError::Stopped);
            }
        }
    }
}

/// The bytes of an identifier or of a hash, as they are written down.
fn hex(bytes: &[u8]) -> String {
    hex::encode(bytes)
}
