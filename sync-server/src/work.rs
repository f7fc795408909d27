//! Carries out what the hub asks of the store, off the loop: reads on the blocking pool, commits on
//! one thread, compaction on another. Every question is answered exactly once, whatever happens.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use syncline_engine::hub::Input;
use syncline_engine::ids::{Address, Cursor, Epoch};
use syncline_engine::storage::{Append, LogHead, LogStore, Record, Snapshot, StoreError};
use tokio::sync::{Semaphore, oneshot};

use crate::mailbox::Mailbox;

/// Reads that run at the same time; the rest waits its turn.
const READS_MAX: usize = 16;
/// automerge recurses while it loads deep documents.
const COMPACT_STACK_BYTES: usize = 64 << 20;

/// Makes the snapshot of a log up to a position. A plain function, so that a test can put another
/// in its place.
pub(crate) type MakeSnapshot =
    fn(&dyn LogStore, &Address, Cursor) -> Result<Snapshot, StoreError>;

/// A snapshot to be made.
struct Compaction {
    address: Address,
    cursor: Cursor,
    keep_from: u64,
}

/// The hands of the hub's loop.
pub(crate) struct Work {
    store: Arc<dyn LogStore>,
    mailbox: Mailbox,
    reads: Arc<Semaphore>,
    commits: std::sync::mpsc::Sender<Vec<Append>>,
    compactions: std::sync::mpsc::Sender<Compaction>,
}

/// Resolves when the threads of a [`Work`] have ended, which they do when it is dropped.
#[derive(Debug)]
pub(crate) struct WorkEnd {
    threads: Vec<oneshot::Receiver<()>>,
}

impl WorkEnd {
    /// Waits for the threads.
    pub(crate) async fn wait(self) {
        for thread in self.threads {
            // An error means that it is gone, which is what is waited for.
            let _ = thread.await;
        }
    }
}

impl Work {
    /// Starts the threads.
    ///
    /// # Errors
    /// As the operating system says, if it has no more threads.
    pub(crate) fn start(
        store: Arc<dyn LogStore>,
        mailbox: Mailbox,
        make_snapshot: MakeSnapshot,
    ) -> std::io::Result<(Self, WorkEnd)> {
        let (commits, commits_out) = std::sync::mpsc::channel::<Vec<Append>>();
        let (compactions, compactions_out) = std::sync::mpsc::channel::<Compaction>();
        let (commit_store, commit_mailbox) = (Arc::clone(&store), mailbox.clone());
        let committer = thread("committer", None, move || {
            for appends in commits_out {
                let result = commit(commit_store.as_ref(), &appends);
                commit_mailbox.fact(Input::Committed { result });
            }
        })?;
        let (compact_store, compact_mailbox) = (Arc::clone(&store), mailbox.clone());
        let compactor = thread("compactor", Some(COMPACT_STACK_BYTES), move || {
            for compaction in compactions_out {
                let result = compact(compact_store.as_ref(), &compaction, make_snapshot);
                compact_mailbox.fact(Input::Compacted { address: compaction.address, result });
            }
        })?;
        let reads = Arc::new(Semaphore::new(READS_MAX));
        let end = WorkEnd { threads: vec![committer, compactor] };
        Ok((Self { store, mailbox, reads, commits, compactions }, end))
    }

    /// Makes appends durable; answers with [`Input::Committed`].
    pub(crate) fn commit(&self, appends: Vec<Append>) {
        if self.commits.send(appends).is_err() {
            let result = Err(StoreError::Failed("the committer has ended".to_owned()));
            self.mailbox.fact(Input::Committed { result });
        }
    }

    /// Makes a snapshot; answers with [`Input::Compacted`].
    pub(crate) fn compact(&self, address: Address, cursor: Cursor, keep_from: u64) {
        let compaction = Compaction { address, cursor, keep_from };
        if let Err(unsent) = self.compactions.send(compaction) {
            let result = Err(StoreError::Failed("the compactor has ended".to_owned()));
            self.mailbox.fact(Input::Compacted { address: unsent.0.address, result });
        }
    }

    /// Reads from the store; answers with what `answer` makes of the result. `address` is for the
    /// error if the read panics.
    pub(crate) fn read<T: Send + 'static>(
        &self,
        address: Address,
        read: impl FnOnce(&dyn LogStore, &Address) -> Result<T, StoreError> + Send + 'static,
        answer: impl FnOnce(Address, Result<T, StoreError>) -> Input + Send + 'static,
    ) {
        let (store, mailbox) = (Arc::clone(&self.store), self.mailbox.clone());
        let reads = Arc::clone(&self.reads);
        tokio::spawn(async move {
            let turn = reads.acquire_owned().await;
            tokio::task::spawn_blocking(move || {
                let result = guarded(&address, || read(store.as_ref(), &address));
                drop(turn);
                // The store is let go of before the answer is out, so that whoever has all answers
                // may close it.
                drop(store);
                mailbox.fact(answer(address, result));
            });
        });
    }

    /// Reads a document's outline and tail; answers with [`Input::Loaded`].
    pub(crate) fn load(&self, address: Address, fresh_epoch: Epoch) {
        let started = Instant::now();
        self.read(address, load, move |address, log| {
            log_load(&address, &log, started);
            Input::Loaded { address, fresh_epoch, log }
        });
    }
}

fn thread(
    name: &str,
    stack_bytes: Option<usize>,
    body: impl FnOnce() + Send + 'static,
) -> std::io::Result<oneshot::Receiver<()>> {
    let (ended, end) = oneshot::channel();
    let mut builder = std::thread::Builder::new().name(format!("syncline-{name}"));
    if let Some(bytes) = stack_bytes {
        builder = builder.stack_size(bytes);
    }
    builder.spawn(move || {
        body();
        // Nobody may be waiting for it.
        let _ = ended.send(());
    })?;
    Ok(end)
}

fn commit(store: &dyn LogStore, appends: &[Append]) -> Result<(), StoreError> {
    catch_unwind(AssertUnwindSafe(|| store.append(appends)))
        .unwrap_or_else(|_| Err(StoreError::Failed("appending panicked".to_owned())))
}

/// A panic while one document is read concerns that document.
fn guarded<T>(
    address: &Address,
    work: impl FnOnce() -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
        Err(StoreError::Damaged {
            address: address.clone(),
            what: "working with it panicked".to_owned(),
        })
    })
}

fn load(
    store: &dyn LogStore,
    address: &Address,
) -> Result<Option<(LogHead, Vec<Record>)>, StoreError> {
    let Some(head) = store.head(address)? else { return Ok(None) };
    let records = store.read(address, head.tail_from, usize::MAX)?;
    Ok(Some((head, records)))
}

fn compact(
    store: &dyn LogStore,
    compaction: &Compaction,
    make_snapshot: MakeSnapshot,
) -> Result<LogHead, StoreError> {
    let Compaction { address, cursor, keep_from } = compaction;
    let started = Instant::now();
    let compacted = guarded(address, || {
        let snapshot = make_snapshot(store, address, *cursor)?;
        let bytes = snapshot.body.len();
        store.put_snapshot(address, &snapshot, *keep_from)?;
        let head = store.head(address)?.ok_or_else(|| StoreError::Damaged {
            address: address.clone(),
            what: "its log is gone after a snapshot was stored".to_owned(),
        })?;
        Ok((head, bytes))
    });
    let ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    match compacted {
        Ok((head, bytes)) => {
            tracing::info!(%address, seq = cursor.seq, bytes, ms, "document compacted");
            Ok(head)
        }
        Err(error) => {
            tracing::error!(%address, seq = cursor.seq, %error, "document not compacted");
            Err(error)
        }
    }
}

fn log_load(
    address: &Address,
    log: &Result<Option<(LogHead, Vec<Record>)>, StoreError>,
    started: Instant,
) {
    let ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    match log {
        Ok(Some((head, records))) => {
            let (seq, records) = (head.end.seq, records.len());
            tracing::debug!(%address, seq, records, ms, "document loaded");
        }
        Ok(None) => tracing::debug!(%address, ms, "document is new"),
        Err(error) => tracing::error!(%address, %error, "document not loaded"),
    }
}
