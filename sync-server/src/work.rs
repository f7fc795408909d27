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
const READS_MAX: u32 = 16;
/// How much of a snapshot is read at a time.
const SNAPSHOT_PART_BYTES: usize = 4 << 20;
/// automerge recurses while it loads deep documents.
const COMPACT_STACK_BYTES: usize = 64 << 20;

/// Makes a snapshot from the one before it and the records above that. The error says what is
/// wrong with what is stored.
pub(crate) type MakeSnapshot =
    fn(&Address, Cursor, Option<&Snapshot>, &[Record]) -> Result<Snapshot, String>;

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

/// Resolves when nothing of a [`Work`] that was dropped uses the store any more.
#[derive(Debug)]
pub(crate) struct WorkEnd {
    threads: Vec<oneshot::Receiver<()>>,
    reads: Arc<Semaphore>,
}

impl WorkEnd {
    /// Waits for the threads and the reads that have begun.
    pub(crate) async fn wait(self) {
        // Fails only when the semaphore is closed, which nobody does.
        let _ = self.reads.acquire_many(READS_MAX).await;
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
        let reads = Arc::new(Semaphore::new(READS_MAX as usize));
        let end = WorkEnd { threads: vec![committer, compactor], reads: Arc::clone(&reads) };
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
                // In this order, so that who has all turns knows that nobody has the store.
                drop(store);
                drop(turn);
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
        Err(damaged(address, "working with it panicked"))
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
        let old = old_snapshot(store, address)?;
        let from_seq = old.as_ref().map_or(1, |old| old.cursor.seq + 1);
        let records = store.read(address, from_seq, usize::MAX)?;
        let snapshot = make_snapshot(address, *cursor, old.as_ref(), &records)
            .map_err(|what| damaged(address, &what))?;
        let bytes = snapshot.body.len();
        store.put_snapshot(address, &snapshot, *keep_from)?;
        let head = store.head(address)?.ok_or_else(|| damaged(address, "its log is gone"))?;
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

/// The whole snapshot that is stored. Only the compactor replaces it, so it stays while it is read.
fn old_snapshot(store: &dyn LogStore, address: &Address) -> Result<Option<Snapshot>, StoreError> {
    let Some(head) = store.head(address)?.and_then(|head| head.snapshot) else { return Ok(None) };
    let mut body = Vec::new();
    while (body.len() as u64) < head.body_bytes {
        let offset = body.len() as u64;
        match store.read_snapshot(address, head.cursor, offset, SNAPSHOT_PART_BYTES)? {
            Some(part) if !part.is_empty() => body.extend_from_slice(&part),
            _ => return Err(damaged(address, "its snapshot ends early")),
        }
    }
    let attribution = store
        .read_attribution(address, head.cursor)?
        .ok_or_else(|| damaged(address, "its snapshot says not who wrote it"))?;
    Ok(Some(Snapshot { cursor: head.cursor, body: body.into(), index: head.index, attribution }))
}

fn damaged(address: &Address, what: &str) -> StoreError {
    StoreError::Damaged { address: address.clone(), what: what.to_owned() }
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
