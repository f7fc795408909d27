//! Gives back the memory of pages that sled would keep: sled 0.34 evicts a page only after 64 uses
//! of pages in the same one of 256 shards, and counts a page as far less than it takes. So the
//! store is closed and opened again, with its directory locked all the while: when it is not used,
//! and under load when enough was used and the pause that this makes is rare.
//!
//! A pause is what it takes to free the pages and to read sled's newest segments, some 0.1 s for
//! 100 MB (docs/BENCHMARKS.md). Nobody is in the store meanwhile; whoever comes waits.

use std::fmt::Debug;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use syncline_engine::storage::StoreError;

use super::SledOptions;
use super::disk::Directory;
use super::log::{Landmark, Log};

/// What one call is taken to leave in memory beside the bytes that it is about: a leaf of 16 values
/// for each value.
const CALL_BYTES: u64 = 4 << 10;
/// Use below which an idle store is left alone.
const WORTH_BYTES: u64 = 1 << 20;
/// Under load, the store is open for at least this many times as long as it was closed, so that
/// pauses take at most half a percent of the time.
const OPEN_PER_PAUSE: u32 = 200;
/// A store that takes long to reopen is reopened only after this many times as long without use.
const QUIET_PER_PAUSE: u32 = 10;

/// The log that is open, and what stays when it is closed for a moment.
#[derive(Debug)]
pub(super) struct Shared {
    /// Used by many at a time, replaced by one. An error says why there is no log any more.
    // Dropped before the lock on its directory.
    pub(super) log: RwLock<Result<Log, String>>,
    /// Held while a snapshot is put, which takes long: the log is not replaced meanwhile, and nobody
    /// has to wait for that.
    pub(super) putting: Mutex<()>,
    /// Held while layers are merged or a backup is made of what was merged.
    pub(super) renewing: Mutex<()>,
    /// Whether layers are being merged, and tells when they no longer are.
    pub(super) merging: (Mutex<bool>, Condvar),
    pub(super) options: SledOptions,
    dir: PathBuf,
    pub(super) directory: Directory,
}

impl Shared {
    pub(super) fn new(dir: &Path, directory: Directory, options: &SledOptions, log: Log) -> Self {
        let (dir, options) = (dir.to_owned(), options.clone());
        let log = RwLock::new(Ok(log));
        let (putting, renewing) = (Mutex::new(()), Mutex::new(()));
        let merging = (Mutex::new(false), Condvar::new());
        Self { log, putting, renewing, merging, options, dir, directory }
    }

    pub(super) fn path(&self) -> &Path {
        &self.dir
    }

    /// Uses the log. Must not be called within itself.
    pub(super) fn with<T>(
        &self,
        work: impl FnOnce(&Log) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let log = self.log.read().unwrap_or_else(PoisonError::into_inner);
        work(log.as_ref().map_err(|why| StoreError::Failed(why.clone()))?)
    }

    /// Closes the log and opens it again. Answers how long that kept others waiting; `None` if the
    /// store has failed, before or by this.
    pub(super) fn reopen(&self) -> Option<Duration> {
        let _putting = self.putting.lock().unwrap_or_else(PoisonError::into_inner);
        let mut slot = self.log.write().unwrap_or_else(PoisonError::into_inner);
        let begun = Instant::now();
        // Damage that was set aside is not on disk yet.
        let log = slot.as_ref().ok()?;
        log.check_usable().and_then(|()| log.make_durable()).ok()?;
        let Ok(landmark) = log.landmark() else {
            // The document written last is damaged: it and all others stay as they are.
            return Some(begun.elapsed());
        };
        let log = std::mem::replace(&mut *slot, Err("the log is closed".to_owned()));
        *slot = self.replace(log, &landmark).inspect_err(|why| {
            tracing::error!(dir = %self.dir.display(), why, "the store failed");
        });
        slot.as_ref().ok().map(|_| begun.elapsed())
    }

    fn replace(&self, old: Result<Log, String>, landmark: &Landmark) -> Result<Log, String> {
        catch_unwind(AssertUnwindSafe(|| drop(old)))
            .map_err(|_| "sled panicked as it was closed".to_owned())?;
        let log = Log::open(&self.dir, &self.directory, &self.options);
        let log = log.map_err(|error| format!("could not reopen it: {error}"))?;
        match log.is_at(landmark) {
            Ok(true) => Ok(log),
            // sled takes a damaged end for a torn one. What was acknowledged would be gone, and
            // those who use the store could not know.
            Ok(false) => Err("it was reopened in another state than it was closed in".to_owned()),
            Err(error) => Err(format!("it was reopened and cannot be read: {error}")),
        }
    }
}

/// The thread that decides when to reopen. Dropping it ends the thread.
#[derive(Debug)]
pub(super) struct Keeper {
    used: Arc<AtomicU64>,
    cache_bytes: u64,
    wake: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Keeper {
    /// Starts the thread. `took` is how long it took to open the log.
    pub(super) fn start(
        shared: Arc<Shared>,
        options: &SledOptions,
        took: Duration,
    ) -> io::Result<Self> {
        let used = Arc::new(AtomicU64::new(0));
        let (wake, woken) = sync_channel(1);
        let watch = Watch { shared, used: Arc::clone(&used), woken, pause: took };
        let thread = std::thread::Builder::new().name("keeper".to_owned());
        let thread = thread.spawn(move || watch.run())?;
        let cache_bytes = options.cache_bytes;
        Ok(Self { used, cache_bytes, wake: Some(wake), thread: Some(thread) })
    }

    /// Notes a call about so many bytes.
    pub(super) fn note(&self, bytes: usize) {
        let cost = CALL_BYTES.saturating_add(bytes as u64);
        let before = self.used.fetch_add(cost, Ordering::Relaxed);
        let reached = |mark| before < mark && before.saturating_add(cost) >= mark;
        if (reached(WORTH_BYTES) || reached(self.cache_bytes))
            && let Some(wake) = &self.wake
        {
            // If it is full, or the thread has ended with the store's failure, so be it.
            let _ = wake.try_send(());
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.wake = None;
        if let Some(thread) = self.thread.take() {
            // A panic has been printed already.
            let _ = thread.join();
        }
    }
}

/// The thread's state.
struct Watch {
    shared: Arc<Shared>,
    used: Arc<AtomicU64>,
    woken: Receiver<()>,
    /// How long the last reopening took.
    pause: Duration,
}

impl Watch {
    fn run(mut self) {
        let mut opened = Instant::now();
        // Nothing needs to be watched until something was used.
        while self.woken.recv().is_ok() {
            if !self.wait(opened) {
                return;
            }
            let used = self.used.swap(0, Ordering::Relaxed);
            let Some(pause) = self.shared.reopen() else { return };
            self.pause = pause;
            opened = Instant::now();
            let ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
            tracing::debug!(used, ms, "store reopened to give its memory back");
        }
    }

    /// Waits until the log should be reopened. False if the store is being dropped.
    fn wait(&self, opened: Instant) -> bool {
        let options = &self.shared.options;
        loop {
            let before = self.used.load(Ordering::Relaxed);
            let quiet = options.cache_idle.max(self.pause * QUIET_PER_PAUSE);
            let woken = self.woken.recv_timeout(quiet);
            if woken == Err(RecvTimeoutError::Disconnected) {
                return false;
            }
            let used = self.used.load(Ordering::Relaxed);
            let is_idle = woken.is_err() && used == before;
            let is_rare = opened.elapsed() >= self.pause * OPEN_PER_PAUSE;
            if is_idle || (used >= options.cache_bytes && is_rare) {
                return true;
            }
        }
    }
}
