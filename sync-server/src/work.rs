//! Carries out what the hub asks of the store, off the loop: reads on the blocking pool, commits on
//! one thread, compaction on another. Every question is answered exactly once, whatever happens.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use syncline_engine::clock::Timestamp;
use syncline_engine::hub::{self, Input, Loaded, RequestId, RolledOver};
use syncline_engine::ids::{Address, Cursor, Epoch};
use syncline_engine::storage::{
    Append, LogHead, LogStore, PostsWanted, Record, Snapshot, StoreError,
};
use tokio::sync::{Semaphore, oneshot};
use tracing::Span;

use crate::mailbox::Mailbox;
use crate::metrics::{Meters, Task};
use crate::store::{Commit, Committer};

/// Reads that run at the same time; the rest waits its turn.
const READS_MAX: u32 = 16;
/// automerge recurses while it loads deep documents.
const COMPACT_STACK_BYTES: usize = 64 << 20;

/// Makes a snapshot from the one before it and the records above that. The error says what is
/// wrong with what is stored.
pub(crate) type MakeSnapshot =
    fn(&Address, Cursor, Option<&Snapshot>, &[Record]) -> Result<Snapshot, String>;

/// A snapshot to be made.
pub(crate) struct Compaction {
    pub(crate) address: Address,
    pub(crate) cursor: Cursor,
    pub(crate) keep_from: u64,
}

/// An epoch to be ended.
pub(crate) struct EpochEnd {
    pub(crate) address: Address,
    pub(crate) end: Cursor,
    pub(crate) fresh_epoch: Epoch,
    pub(crate) at: Timestamp,
    pub(crate) keep_since: Timestamp,
}

/// What rewrites all of a document: one after the other.
enum Rewrite {
    Compact(Compaction),
    RollOver(EpochEnd),
}

/// The hands of the hub's loop.
pub(crate) struct Work {
    store: Arc<dyn LogStore>,
    mailbox: Mailbox,
    reads: Arc<Semaphore>,
    meters: Arc<Meters>,
    committer: Committer,
    rewrites: std::sync::mpsc::Sender<Rewrite>,
}

/// Resolves when nothing of a [`Work`] that was dropped uses the store any more.
#[derive(Debug)]
pub(crate) struct WorkEnd {
    compactor: oneshot::Receiver<()>,
    reads: Arc<Semaphore>,
}

impl WorkEnd {
    /// Waits for the compactor and the reads that have begun; the committer ends with the [`Work`].
    pub(crate) async fn wait(self) {
        // Fails only when the semaphore is closed, which nobody does.
        let _ = self.reads.acquire_many(READS_MAX).await;
        // An error means that it is gone, which is what is waited for.
        let _ = self.compactor.await;
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
        meters: Arc<Meters>,
    ) -> std::io::Result<(Self, WorkEnd)> {
        let (rewrites, rewrites_out) = std::sync::mpsc::channel::<Rewrite>();
        let committer = Committer::start(Arc::clone(&store))?;
        let (compact_store, compact_mailbox) = (Arc::clone(&store), mailbox.clone());
        let compact_meters = Arc::clone(&meters);
        let (ended, compactor) = oneshot::channel();
        std::thread::Builder::new()
            .name("compactor".to_owned())
            .stack_size(COMPACT_STACK_BYTES)
            .spawn(move || {
                for rewrite in rewrites_out {
                    let began = Instant::now();
                    let meters = &compact_meters;
                    compact_mailbox.fact(match rewrite {
                        Rewrite::Compact(compaction) => {
                            let result = compact(&*compact_store, &compaction, make_snapshot);
                            meters.worked(Task::Compact, began.elapsed(), result.is_ok());
                            Input::Compacted { address: compaction.address, result }
                        }
                        Rewrite::RollOver(ends) => {
                            let result = roll_over(&*compact_store, &ends);
                            meters.worked(Task::RollOver, began.elapsed(), result.is_ok());
                            Input::RolledOver { address: ends.address, result }
                        }
                    });
                }
                drop(compact_store);
                // Nobody may be waiting for it.
                let _ = ended.send(());
            })?;
        let reads = Arc::new(Semaphore::new(READS_MAX as usize));
        let end = WorkEnd { compactor, reads: Arc::clone(&reads) };
        Ok((Self { store, mailbox, reads, meters, committer, rewrites }, end))
    }

    /// Makes appends durable; answers with [`Input::Committed`]. `span` lasts until then.
    pub(crate) fn commit(&self, appends: Vec<Append>, span: Span) {
        let (mailbox, meters, began) =
            (self.mailbox.clone(), Arc::clone(&self.meters), Instant::now());
        let changes = appends.iter().map(|append| append.record.entries.len()).sum();
        let bytes = appends.iter().map(|append| append.record.change_bytes()).sum();
        let done = Box::new(move |result: Result<(), StoreError>| {
            if result.is_ok() {
                meters.committed(began.elapsed(), changes, bytes);
            }
            drop(span);
            mailbox.fact(Input::Committed { result });
        });
        if let Err(error) = self.committer.submit(Commit { appends, done }) {
            let result = Err(StoreError::Failed(error.to_string()));
            self.mailbox.fact(Input::Committed { result });
        }
    }

    /// Makes a snapshot; answers with [`Input::Compacted`].
    pub(crate) fn compact(&self, compaction: Compaction) {
        self.rewrite(Rewrite::Compact(compaction));
    }

    /// Ends an epoch; answers with [`Input::RolledOver`].
    pub(crate) fn roll_over(&self, ends: EpochEnd) {
        self.rewrite(Rewrite::RollOver(ends));
    }

    fn rewrite(&self, rewrite: Rewrite) {
        let Err(unsent) = self.rewrites.send(rewrite) else { return };
        let gone = StoreError::Failed("the compactor has ended".to_owned());
        self.mailbox.fact(match unsent.0 {
            Rewrite::Compact(Compaction { address, .. }) => {
                Input::Compacted { address, result: Err(gone) }
            }
            Rewrite::RollOver(EpochEnd { address, .. }) => {
                Input::RolledOver { address, result: Err(gone) }
            }
        });
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
        let (started, meters) = (Instant::now(), Arc::clone(&self.meters));
        self.read(
            address,
            |store, address| hub::load(store, address),
            move |address, loaded| {
                meters.worked(Task::Load, started.elapsed(), loaded.is_ok());
                log_load(&address, &loaded, started);
                Input::Loaded { address, fresh_epoch, loaded }
            },
        );
    }

    /// Reads the rules of a space; answers with [`Input::RulesRead`].
    pub(crate) fn rules(&self, space: String) {
        let Ok(address) = Address::rules_of(&space) else {
            let rules = Err(StoreError::Failed(format!("{space} is not the name of a space")));
            return self.mailbox.fact(Input::RulesRead { space, rules });
        };
        let rules = |store: &dyn LogStore, address: &Address| hub::rules(store, address.space());
        self.read(address, rules, move |address, rules| {
            if let Err(error) = &rules {
                tracing::error!(%address, %error, "rules not read");
            }
            Input::RulesRead { space, rules }
        });
    }

    /// Reads summaries of posts; answers with [`Input::PostsRead`].
    pub(crate) fn posts(&self, request: RequestId, space: String, wanted: PostsWanted) {
        // The error of a panic names a document, so it is given the space's rules.
        let Ok(address) = Address::rules_of(&space) else {
            let result = Err(StoreError::Failed(format!("{space} is not the name of a space")));
            return self.mailbox.fact(Input::PostsRead { request, result });
        };
        self.read(
            address,
            move |store, address| store.posts(address.space(), &wanted),
            move |address, result| {
                if let Err(error) = &result {
                    tracing::error!(space = address.space(), %error, "posts not read");
                }
                Input::PostsRead { request, result }
            },
        );
    }

    /// Summarises some older documents of a space; answers with [`Input::Summarised`].
    pub(crate) fn summarise(&self, space: String, after: Option<Address>) {
        let Ok(address) = Address::rules_of(&space) else {
            let result = Err(StoreError::Failed(format!("{space} is not the name of a space")));
            return self.mailbox.fact(Input::Summarised { space, result });
        };
        self.read(
            address,
            move |store, address| hub::summarise(store, address.space(), after),
            move |_, result| {
                match &result {
                    Ok(step) if step.made + step.damaged > 0 => {
                        let (made, damaged) = (step.made, step.damaged);
                        tracing::info!(space, made, damaged, "older documents summarised");
                    }
                    Ok(_) => {}
                    Err(error) => tracing::error!(space, %error, "documents not summarised"),
                }
                Input::Summarised { space, result }
            },
        );
    }

    /// Makes a document's index for the gate; answers with [`Input::Indexed`].
    pub(crate) fn index(&self, address: Address) {
        let (started, meters) = (Instant::now(), Arc::clone(&self.meters));
        let index = |store: &dyn LogStore, address: &Address| hub::index(store, address);
        self.read(address, index, move |address, gate| {
            meters.worked(Task::OpenGate, started.elapsed(), gate.is_ok());
            let ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
            match &gate {
                Ok(index) => tracing::debug!(%address, changes = index.len(), ms, "gate opened"),
                Err(error) => tracing::error!(%address, %error, "gate not opened"),
            }
            Input::Indexed { address, gate }
        });
    }
}

/// A panic while one document is read concerns that document.
fn guarded<T>(
    address: &Address,
    work: impl FnOnce() -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|_| Err(damaged(address, "working with it panicked")))
}

fn compact(
    store: &dyn LogStore,
    compaction: &Compaction,
    make_snapshot: MakeSnapshot,
) -> Result<LogHead, StoreError> {
    let Compaction { address, cursor, keep_from } = compaction;
    let started = Instant::now();
    let compacted = guarded(address, || {
        let old = hub::snapshot(store, address)?;
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

fn roll_over(store: &dyn LogStore, ends: &EpochEnd) -> Result<RolledOver, StoreError> {
    let EpochEnd { address, end, fresh_epoch, at, keep_since } = ends;
    let started = Instant::now();
    let result =
        guarded(address, || hub::roll_over(store, address, *end, *fresh_epoch, *at, *keep_since));
    let ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    match &result {
        Ok(_) => tracing::info!(%address, seq = end.seq, ms, "document began a new epoch"),
        Err(error) => {
            tracing::error!(%address, seq = end.seq, %error, "document began no new epoch");
        }
    }
    result
}

fn damaged(address: &Address, what: &str) -> StoreError {
    StoreError::Damaged { address: address.clone(), what: what.to_owned() }
}

fn log_load(address: &Address, loaded: &Result<Loaded, StoreError>, started: Instant) {
    let ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    match loaded {
        Ok(Some((head, records))) => {
            let (seq, records) = (head.end.seq, records.len());
            tracing::debug!(%address, seq, records, ms, "document loaded");
        }
        Ok(None) => tracing::debug!(%address, ms, "document is new"),
        Err(error) => tracing::error!(%address, %error, "document not loaded"),
    }
}
