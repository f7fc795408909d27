//! Gives space back. sled never makes its file smaller, and right after everything was copied into a
//! fresh one that is already twice as large as what is in it (docs/BENCHMARKS.md). So all values go, once
//! in a while, into one compact file, the next *base*, and a fresh sled takes what is written after:
//!
//! 1. *freeze*: a new, empty layer is put over the others, which never change from there on;
//! 2. *merge*: their values are written into the next base, a little at a time, at a bounded pace;
//!    nobody waits for that, and what is appended meanwhile goes into the new layer;
//! 3. *settle*: the base takes their place, and their files are removed.
//!
//! Steps 1 and 3 replace the file `format`, which says which layers are in use, and keep others waiting
//! for a few syncs. Wherever the process ends, the next one finds either the layers before or those after,
//! both whole; what was half made is removed when the directory is opened.

use std::io;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use syncline_engine::ids::Address;
use syncline_engine::storage::StoreError;

use super::base::{Base, BaseWriter};
use super::disk::Syncer;
use super::keeper::Shared;
use super::layout::Layout;
use super::log::Log;
use super::tree::TreeError;
use super::value::Document;
use super::{SledOptions, keys, open, value};

/// Bytes that are read and written in one step, during which nothing is closed or opened.
const STEP_BYTES: usize = 256 << 10;
/// Bytes of a new base after which it is synced, so that no commit's sync has to wait for more.
const SYNC_BYTES: u64 = 2 << 20;
/// The layers above a base are merged when they take this part of its size, so that the old and the new
/// base together with them stay below three times what is live.
const LAYERS_SHARE: u64 = 3;
/// They also are when this part of the base was removed.
const REMOVED_SHARE: u64 = 4;
/// Use of the store between two looks at its size.
const LOOK_BYTES: u64 = 1 << 20;
/// How long a snapshot waits at most for the merge under way.
const WAIT_MAX: Duration = Duration::from_secs(10);
/// How long after a failed merge the next is tried; doubled each time.
const RETRY: Duration = Duration::from_secs(10);
const RETRY_MAX: Duration = Duration::from_secs(3_600);

/// How far a merge has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Merging {
    /// Values written so far.
    pub values: u64,
    /// Their bytes, keys included.
    pub bytes: u64,
}

/// What a merge gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Renewed {
    /// Values in the new base.
    pub values: u64,
    /// Bytes that the store took on disk before.
    pub bytes_before: u64,
    /// Bytes that it takes after.
    pub bytes_after: u64,
}

/// What a store takes on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Sizes {
    /// Bytes of the base.
    pub base_bytes: u64,
    /// Bytes of the layers above it.
    pub layers_bytes: u64,
    /// Bytes of values that were removed since the uppermost layer was begun.
    pub removed_bytes: u64,
    /// Counts the layers that there ever were.
    pub generation: u64,
}

/// A merge did not come to its end. The store is as it was, unless it failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RenewError {
    /// The store failed, before or by this.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A stored value cannot be read, so that what it belongs to would be lost.
    #[error("the store cannot be merged: {0}")]
    Damaged(String),
    /// The file system refused.
    #[error("could not {doing}: {source}")]
    Io {
        /// What was to be done.
        doing: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// It was told to.
    #[error("the merge was stopped")]
    Stopped,
}

fn failed(doing: &'static str) -> impl Fn(io::Error) -> RenewError {
    move |source| RenewError::Io { doing, source }
}

impl From<TreeError> for RenewError {
    fn from(error: TreeError) -> Self {
        Self::Damaged(error.to_string())
    }
}

/// Is told how far a merge has come, and says whether it goes on. May take its time.
pub(super) type Pace<'a> = dyn FnMut(Merging) -> ControlFlow<()> + 'a;

impl Shared {
    /// What the store takes on disk.
    pub(super) fn sizes(&self) -> Result<Sizes, StoreError> {
        let layout = self.directory.layout();
        let bytes = |number| self.directory.log_bytes(number).unwrap_or(0);
        let layers_bytes = bytes(layout.active) + layout.frozen.map_or(0, bytes);
        self.with(|log| {
            Ok(Sizes {
                base_bytes: log.tree.base.as_ref().map_or(0, |base| base.file_bytes),
                layers_bytes,
                removed_bytes: log.tree.removed_bytes(),
                generation: layout.active,
            })
        })
    }

    /// Whether so much could be given back that it is worth a merge.
    fn is_worth_merging(&self) -> Result<bool, StoreError> {
        let Sizes { base_bytes, layers_bytes, removed_bytes, .. } = self.sizes()?;
        let slack = self.options.slack_bytes;
        let interrupted = self.directory.layout().frozen.is_some();
        Ok(interrupted
            || layers_bytes >= slack.max(base_bytes / LAYERS_SHARE)
            || removed_bytes >= slack.max(base_bytes / REMOVED_SHARE))
    }

    /// Whether what is written during a merge is about to be worth the next.
    fn is_overtaken(&self) -> bool {
        let written = self.directory.log_bytes(self.directory.layout().active).unwrap_or(0);
        let base = self.sizes().map_or(0, |sizes| sizes.base_bytes);
        written >= self.options.slack_bytes.max(base / LAYERS_SHARE) / 2
    }

    /// Merges all that is stored at this moment into one base.
    pub(super) fn renew(&self, pace: &mut Pace<'_>) -> Result<Renewed, RenewError> {
        let _one = self.renewing.lock().unwrap_or_else(PoisonError::into_inner);
        self.renew_alone(pace)
    }

    /// The same for who holds `renewing`.
    pub(super) fn renew_alone(&self, pace: &mut Pace<'_>) -> Result<Renewed, RenewError> {
        if self.directory.layout().frozen.is_some() {
            // An earlier merge was interrupted; what was written since is not in its layers.
            self.merge_and_settle(pace)?;
        }
        self.renew_once(pace)
    }

    /// Merges the layers that are frozen, or freezes and merges if there are none.
    fn renew_once(&self, pace: &mut Pace<'_>) -> Result<Renewed, RenewError> {
        let before = self.sizes()?;
        self.freeze()?;
        let values = self.merge_and_settle(pace)?;
        let after = self.sizes()?;
        Ok(Renewed {
            values,
            bytes_before: before.base_bytes + before.layers_bytes,
            bytes_after: after.base_bytes + after.layers_bytes,
        })
    }

    /// Begins a new layer, unless an earlier one still has to be merged.
    pub(super) fn freeze(&self) -> Result<(), RenewError> {
        let layout = self.directory.layout();
        if layout.frozen.is_some() {
            return Ok(());
        }
        let fresh = layout.active + 1;
        self.directory.clear();
        let path = self.directory.log(fresh);
        let db = open::start(self.path(), &path, &self.options).map_err(|error| {
            RenewError::Io { doing: "begin a new layer", source: io::Error::other(error) }
        })?;
        db.flush().map_err(|error| failed("begin a new layer")(io::Error::other(error)))?;
        let syncer = Syncer::open(&path).map_err(failed("sync a new layer"))?;

        let _putting = self.putting.lock().unwrap_or_else(PoisonError::into_inner);
        let mut slot = self.log.write().unwrap_or_else(PoisonError::into_inner);
        let log = usable(&mut slot)?;
        // Damage that was set aside is not on disk yet.
        log.make_durable()?;
        let layout = Layout { active: fresh, frozen: Some(layout.active), base: layout.base };
        self.switch(log, layout)?;
        log.tree.freeze(db);
        log.syncer = syncer;
        Ok(())
    }

    /// Makes other layers the ones in use. If that fails nobody knows which are, and what would be
    /// appended may be lost.
    fn switch(&self, log: &Log, layout: Layout) -> Result<(), StoreError> {
        let switched = self.directory.switch(layout);
        switched.map_err(|error| log.fail(format!("could not replace the file format: {error}")))
    }

    /// Waits, if layers are being merged and as much was written since as is worth the next merge. Only
    /// for what nobody waits for, such as snapshots, of which most of what is written consists.
    pub(super) fn let_merge(&self) {
        let began = Instant::now();
        let (merging, merged) = &self.merging;
        let mut merging = merging.lock().unwrap_or_else(PoisonError::into_inner);
        while *merging && began.elapsed() < WAIT_MAX && self.is_overtaken() {
            let waited = merged.wait_timeout(merging, Duration::from_millis(100));
            merging = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn set_merging(&self, is_merging: bool) {
        *self.merging.0.lock().unwrap_or_else(PoisonError::into_inner) = is_merging;
        self.merging.1.notify_all();
    }

    pub(super) fn merge_and_settle(&self, pace: &mut Pace<'_>) -> Result<u64, RenewError> {
        let layout = self.directory.layout();
        let Some(frozen) = layout.frozen else { return Ok(0) };
        self.set_merging(true);
        let _over = Over(self);
        let path = self.directory.base(frozen);
        self.merge(&path, pace)?;
        let base = Base::open(&path)?;
        let values = base.entries;
        check(&base, pace)?;

        let layout = Layout { active: layout.active, frozen: None, base: Some(frozen) };
        let old = {
            let _putting = self.putting.lock().unwrap_or_else(PoisonError::into_inner);
            let mut slot = self.log.write().unwrap_or_else(PoisonError::into_inner);
            let log = usable(&mut slot)?;
            self.switch(log, layout)?;
            log.tree.settle(base)
        };
        // sled may panic as it is closed; it is not needed any more.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(old)));
        self.directory.clear();
        Ok(values)
    }

    /// Writes the values of the layers that never change into one file.
    fn merge(&self, path: &Path, pace: &mut Pace<'_>) -> Result<(), RenewError> {
        let unfinished = path.with_extension("new");
        if let Err(error) = self.merge_into(&unfinished, pace) {
            // A full disk is not kept full. What cannot be removed is so at the next opening.
            let _ = std::fs::remove_file(&unfinished);
            return Err(error);
        }
        std::fs::rename(&unfinished, path).map_err(failed("name a base"))?;
        self.directory.sync().map_err(failed("name a base"))
    }

    fn merge_into(&self, path: &Path, pace: &mut Pace<'_>) -> Result<(), RenewError> {
        let mut writer = BaseWriter::create(path).map_err(failed("create a base"))?;
        let (mut after, mut synced, mut reopened) = (Vec::new(), 0, 0);
        let mut so_far = Merging { values: 0, bytes: 0 };
        let mut used = Used::default();
        loop {
            let step = self.with(|log| Ok(guarded(|| read_step(log, &after, &mut used))))??;
            for (key, value) in &step.values {
                writer.push(key, value).map_err(failed("write a base"))?;
                so_far.values += 1;
                so_far.bytes += (key.len() + value.len()) as u64;
            }
            if so_far.bytes - synced >= SYNC_BYTES {
                writer.sync().map_err(failed("sync a base"))?;
                synced = so_far.bytes;
            }
            let Some(last) = step.go_on_after else { break };
            after = last;
            // sled keeps what it has read. What is in a base it does not, but only the first merge of an
            // older store has much to read that is not in one.
            if so_far.bytes - reopened >= self.options.cache_bytes && self.reads_much_sled() {
                self.reopen()
                    .ok_or_else(|| StoreError::Failed("it could not be reopened".to_owned()))?;
                reopened = so_far.bytes;
            }
            if pace(so_far).is_break() {
                return Err(RenewError::Stopped);
            }
        }
        writer.finish().map_err(failed("write a base"))
    }

    /// Whether a layer that is being merged is larger than what may be cached.
    fn reads_much_sled(&self) -> bool {
        let frozen = self.directory.layout().frozen;
        let bytes = frozen.and_then(|number| self.directory.log_bytes(number).ok());
        bytes.is_some_and(|bytes| bytes > self.options.cache_bytes)
    }
}

/// Says, dropped, that a merge is over, however it ended.
struct Over<'a>(&'a Shared);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.set_merging(false);
    }
}

fn usable(slot: &mut Result<Log, String>) -> Result<&mut Log, StoreError> {
    let log = slot.as_mut().map_err(|why| StoreError::Failed(why.clone()))?;
    log.check_usable()?;
    Ok(log)
}

/// sled panics on some damaged pages.
pub(super) fn guarded<T>(work: impl FnOnce() -> Result<T, RenewError>) -> Result<T, RenewError> {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|_| Err(RenewError::Damaged("sled panicked on its pages".to_owned())))
}

/// Some values to be written into the next base.
struct Step {
    values: Vec<(::sled::IVec, ::sled::IVec)>,
    /// The last key that was looked at; `None` if there are no more.
    go_on_after: Option<Vec<u8>>,
}

/// The document that was looked up last, and its outline if that could be read.
#[derive(Default)]
struct Used(Option<(Address, Option<Document>)>);

impl Used {
    /// Whether a value is of use: a part of a snapshot that was never finished is not.
    fn is_used(&mut self, log: &Log, key: &[u8]) -> Result<bool, TreeError> {
        if keys::REMOVED == key {
            return Ok(false);
        }
        let Some((address, generation)) = keys::snapshot_of(key) else { return Ok(true) };
        if self.0.as_ref().is_none_or(|(known, _)| *known != address) {
            let at = keys::document(&address);
            let found = log.tree.get_lower(&at)?;
            let outline = found.and_then(|found| Document::decode(value::unseal(&at, &found)?));
            self.0 = Some((address, outline));
        }
        // What a damaged outline names is not known.
        let outline = self.0.as_ref().and_then(|(_, outline)| outline.as_ref());
        Ok(outline.is_none_or(|outline| outline.uses(generation)))
    }
}

fn read_step(log: &Log, after: &[u8], used: &mut Used) -> Result<Step, RenewError> {
    log.check_usable()?;
    let mut from = after.to_vec();
    if !after.is_empty() {
        from.push(0);
    }
    let (mut values, mut bytes, mut last) = (Vec::new(), 0, None);
    for item in log.tree.walk_lower(&from, keys::LAST, false) {
        let (key, value) = item?;
        bytes += key.len() + value.len();
        last = Some(key.to_vec());
        if used.is_used(log, &key)? {
            values.push((key, value));
        }
        if bytes >= STEP_BYTES {
            return Ok(Step { values, go_on_after: last });
        }
    }
    // A damaged sled file can make a scan end early without a word, so the end is looked up from the
    // other side.
    let end = log.tree.walk_lower(keys::FIRST, keys::LAST, true).next().transpose()?;
    let reached = last.as_deref().unwrap_or(after);
    if end.is_some_and(|(end, _)| *end != *reached) {
        return Err(RenewError::Damaged("its last values cannot be reached".to_owned()));
    }
    Ok(Step { values, go_on_after: None })
}

/// Reads a new base back before anybody relies on it.
pub(super) fn check(base: &Base, pace: &mut Pace<'_>) -> Result<(), RenewError> {
    let mut so_far = Merging { values: 0, bytes: 0 };
    let mut told = 0;
    for item in base.walk(keys::FIRST, keys::LAST) {
        let (key, value) = item?;
        so_far.values += 1;
        so_far.bytes += (key.len() + value.len()) as u64;
        if so_far.bytes - told >= STEP_BYTES as u64 {
            told = so_far.bytes;
            if pace(so_far).is_break() {
                return Err(RenewError::Stopped);
            }
        }
    }
    if so_far.values == base.entries {
        return Ok(());
    }
    Err(RenewError::Damaged("a base read back is not what was written".to_owned()))
}

/// The thread that decides when to merge. Dropping it ends the thread, and a merge at its next step.
#[derive(Debug)]
pub(super) struct Renewer {
    wake: Option<SyncSender<()>>,
    written: std::sync::atomic::AtomicU64,
    thread: Option<JoinHandle<()>>,
}

impl Renewer {
    pub(super) fn start(shared: Arc<Shared>, options: &SledOptions) -> io::Result<Self> {
        let (wake, woken) = sync_channel(1);
        let per_second = options.merge_bytes_per_second.max(1);
        let thread = std::thread::Builder::new().name("renewer".to_owned());
        let thread = thread.spawn(move || run(&shared, &woken, per_second))?;
        // What the last process left is looked at once.
        let _ = wake.try_send(());
        Ok(Self { wake: Some(wake), written: 0.into(), thread: Some(thread) })
    }

    /// Notes that so many bytes were written.
    pub(super) fn note(&self, bytes: usize) {
        use std::sync::atomic::Ordering::Relaxed;
        let bytes = bytes as u64 + 1_024;
        let before = self.written.fetch_add(bytes, Relaxed);
        if before / LOOK_BYTES != before.wrapping_add(bytes) / LOOK_BYTES
            && let Some(wake) = &self.wake
        {
            // If it is full it will look anyway.
            let _ = wake.try_send(());
        }
    }
}

impl Drop for Renewer {
    fn drop(&mut self) {
        self.wake = None;
        if let Some(thread) = self.thread.take() {
            // A panic has been printed already.
            let _ = thread.join();
        }
    }
}

fn run(shared: &Shared, woken: &Receiver<()>, per_second: u64) {
    let mut retry = RETRY;
    while woken.recv().is_ok() {
        let began = Instant::now();
        let outcome = {
            let _one = shared.renewing.lock().unwrap_or_else(PoisonError::into_inner);
            match shared.is_worth_merging() {
                Ok(true) => shared.renew_once(&mut paced(shared, woken, per_second)),
                Ok(false) => continue,
                Err(_) => return,
            }
        };
        let ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        match outcome {
            Ok(Renewed { values, bytes_before, bytes_after }) => {
                retry = RETRY;
                tracing::info!(values, bytes_before, bytes_after, ms, "store merged");
            }
            Err(RenewError::Stopped) => return,
            Err(RenewError::Store(error)) => {
                tracing::error!(%error, "store not merged");
                return;
            }
            Err(error) => {
                tracing::error!(%error, retry_s = retry.as_secs(), "store not merged");
                if wait(woken, retry).is_break() {
                    return;
                }
                retry = (retry * 2).min(RETRY_MAX);
            }
        }
    }
}

/// Keeps a merge below so many bytes a second, and at rest for at least half of the time; unless more
/// is written meanwhile than is given back.
fn paced<'a>(
    shared: &'a Shared,
    woken: &'a Receiver<()>,
    per_second: u64,
) -> impl FnMut(Merging) -> ControlFlow<()> + 'a {
    let (mut since, mut bytes_then, mut steps) = (Instant::now(), 0, 0_u32);
    let mut hurry = false;
    move |Merging { bytes, .. }| {
        let step = bytes.saturating_sub(bytes_then);
        bytes_then = bytes;
        if steps.is_multiple_of(16) {
            hurry = shared.is_overtaken();
        }
        steps = steps.wrapping_add(1);
        let due = Duration::from_micros(step.saturating_mul(1_000_000) / per_second);
        let took = since.elapsed();
        let rest = if hurry { Duration::ZERO } else { due.saturating_sub(took).max(took) };
        let rest = wait(woken, rest);
        since = Instant::now();
        rest
    }
}

/// Waits, unless the store is being dropped.
fn wait(woken: &Receiver<()>, time: Duration) -> ControlFlow<()> {
    let until = Instant::now() + time;
    loop {
        match woken.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Err(RecvTimeoutError::Disconnected) => return ControlFlow::Break(()),
            Err(RecvTimeoutError::Timeout) => return ControlFlow::Continue(()),
            Ok(()) => {}
        }
    }
}
