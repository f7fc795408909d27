//! The store's directory: who may use it, which format is in it, and when it is really on disk.
//! It knows where sled keeps its files and nothing of what is in them.
//!
//! ```text
//! <dir>/format   which layers are in use (see `layout`); replaced in one step
//! <dir>/lock     locked by the process that uses the store
//! <dir>/log/     sled's: db (everything), conf, snap.* (caches for opening), blobs/
//! <dir>/log-N/   the same, of a later layer
//! <dir>/base-N   the values of earlier layers in one file
//! ```

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use fs4::fs_std::FileExt;

use super::OpenError;
use super::layout::{self, FIRST_FORMAT, FORMAT, FORMAT_NAME, Layout};

const UNFINISHED: &str = "unfinished";

/// A locked directory of the right format.
#[derive(Debug)]
pub(super) struct Directory {
    /// Whether no store was ever finished in it. In any other, what is missing is lost.
    pub(super) is_fresh: bool,
    dir: PathBuf,
    layout: Mutex<Layout>,
    /// Unlocks when it is closed.
    _lock: File,
}

impl Directory {
    /// Notes that the store is complete.
    pub(super) fn finish(&self) -> Result<(), OpenError> {
        write_format(&self.dir, &self.layout().text())
    }

    /// Which layers are in use.
    pub(super) fn layout(&self) -> Layout {
        *self.layout.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// sled's directory of a layer.
    pub(super) fn log(&self, number: u64) -> PathBuf {
        self.dir.join(layout::log_name(number))
    }

    /// The file of a base.
    pub(super) fn base(&self, number: u64) -> PathBuf {
        self.dir.join(layout::base_name(number))
    }

    /// Uses other layers from here on. Whatever fails, it is unknown which are in use then.
    pub(super) fn switch(&self, layout: Layout) -> io::Result<()> {
        replace_format(&self.dir, &layout.text())?;
        *self.layout.lock().unwrap_or_else(PoisonError::into_inner) = layout;
        Ok(())
    }

    /// Makes the names in the directory survive a power cut.
    pub(super) fn sync(&self) -> io::Result<()> {
        sync_dir(&self.dir)
    }

    /// Bytes that the files of a layer take.
    pub(super) fn log_bytes(&self, number: u64) -> io::Result<u64> {
        let mut bytes = 0;
        for entry in fs::read_dir(self.log(number))? {
            match entry?.metadata() {
                Ok(found) if found.is_file() => bytes += found.len(),
                // sled removes files of its own accord.
                Ok(_) | Err(_) => {}
            }
        }
        Ok(bytes)
    }

    /// Removes layers that are not in use. What cannot be removed is tried again another time.
    pub(super) fn clear(&self) {
        let layout = self.layout();
        let Ok(entries) = fs::read_dir(&self.dir) else { return };
        for entry in entries.flatten() {
            if !entry.file_name().to_str().is_some_and(|name| layout.is_leftover(name)) {
                continue;
            }
            let path = entry.path();
            let removed =
                if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            if let Err(error) = removed {
                tracing::debug!(path = %path.display(), %error, "a layer is not removed yet");
            }
        }
    }
}

/// Locks a directory and checks its format, or makes a new store in an empty one.
pub(super) fn claim(dir: &Path) -> Result<Directory, OpenError> {
    let failed = |doing: &'static str| {
        move |source: io::Error| OpenError::Io { dir: dir.to_owned(), doing, source }
    };
    fs::create_dir_all(dir).map_err(failed("create the directory"))?;
    // Before the lock too: what a newer program made is not touched, not even locked.
    check_format(dir)?;
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).write(true);
    let lock = options.open(dir.join("lock")).map_err(failed("open the lock file"))?;
    if !FileExt::try_lock_exclusive(&lock).map_err(failed("lock the lock file"))? {
        return Err(OpenError::InUse { dir: dir.to_owned() });
    }
    // Again, because whoever held the lock may have upgraded the store.
    let found = check_format(dir)?;
    if found == Found::Nothing {
        write_format(dir, &format!("{FORMAT_NAME} {FIRST_FORMAT} {UNFINISHED}\n"))?;
    }
    let (is_fresh, layout) = match found {
        Found::Nothing | Found::Unfinished => (true, Layout::default()),
        Found::Store(layout) => (false, layout),
    };
    let layout = Mutex::new(layout);
    let directory = Directory { is_fresh, dir: dir.to_owned(), layout, _lock: lock };
    directory.clear();
    Ok(directory)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    Nothing,
    Unfinished,
    Store(Layout),
}

fn check_format(dir: &Path) -> Result<Found, OpenError> {
    let not_a_store = || OpenError::NotAStore { dir: dir.to_owned() };
    let failed =
        |source| OpenError::Io { dir: dir.to_owned(), doing: "read the format file", source };
    let text = match fs::read(dir.join("format")) {
        Ok(bytes) => String::from_utf8(bytes).map_err(|_| not_a_store())?,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            for entry in fs::read_dir(dir).map_err(failed)? {
                let name = entry.map_err(failed)?.file_name();
                // What an interrupted first opening leaves.
                if name != "lock" && name != "format.new" {
                    return Err(not_a_store());
                }
            }
            return Ok(Found::Nothing);
        }
        Err(error) => return Err(failed(error)),
    };
    let mut lines = text.lines();
    let mut words = lines.next().unwrap_or_default().split_whitespace();
    let (Some(FORMAT_NAME), Some(Ok(found))) = (words.next(), words.next().map(str::parse::<u32>))
    else {
        return Err(not_a_store());
    };
    match (found, words.next()) {
        (FIRST_FORMAT, None) => Ok(Found::Store(Layout::default())),
        (FIRST_FORMAT, Some(UNFINISHED)) => Ok(Found::Unfinished),
        (FORMAT, None) => Layout::read(lines).map(Found::Store).ok_or_else(not_a_store),
        (FIRST_FORMAT | FORMAT, Some(_)) => Err(not_a_store()),
        _ => Err(OpenError::OtherFormat { dir: dir.to_owned(), found, known: FORMAT }),
    }
}

pub(super) fn write_format(dir: &Path, text: &str) -> Result<(), OpenError> {
    replace_format(dir, text).map_err(|source| OpenError::Io {
        dir: dir.to_owned(),
        doing: "write the format file",
        source,
    })
}

fn replace_format(dir: &Path, text: &str) -> io::Result<()> {
    let new = dir.join("format.new");
    let mut file = File::create(&new)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&new, dir.join("format"))?;
    sync_dir(dir)?;
    // The directory itself may be new; its name is kept by the one above.
    match dir.canonicalize()?.parent() {
        Some(parent) => sync_dir(parent),
        None => Ok(()),
    }
}

#[cfg(unix)]
pub(super) fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// Elsewhere directories cannot be opened as files; their entries are journaled.
#[cfg(not(unix))]
pub(super) fn sync_dir(_: &Path) -> io::Result<()> {
    Ok(())
}

/// Makes what sled has written survive a power cut, which sled's own flush does not: on Linux it
/// is `sync_file_range`, which reaches neither the file's length nor the drive's cache, and files
/// in `blobs/` are not synced at all.
#[derive(Debug)]
pub(super) struct Syncer {
    log: PathBuf,
    /// A handle of our own, open all the time so that no write error is missed.
    db: File,
    /// Blobs never change; these are on disk.
    blobs: Mutex<BTreeSet<OsString>>,
}

impl Syncer {
    /// Opens the files that sled has made in `log` and syncs all of them, whoever wrote them last.
    pub(super) fn open(log: &Path) -> io::Result<Self> {
        let db = OpenOptions::new().read(true).write(true).open(log.join("db"))?;
        for entry in fs::read_dir(log)? {
            let entry = entry?;
            if entry.file_type()?.is_file() {
                sync_if_there(&entry.path())?;
            }
        }
        sync_dir(log)?;
        if let Some(dir) = log.parent() {
            sync_dir(dir)?;
        }
        let syncer = Self { log: log.to_owned(), db, blobs: Mutex::new(BTreeSet::new()) };
        syncer.sync()?;
        Ok(syncer)
    }

    /// Syncs everything that was flushed before the call.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.sync_blobs()?;
        self.db.sync_data()
    }

    /// Values are small enough that there are no blobs; if sled makes one after all, it must be on
    /// disk before the page that points at it.
    fn sync_blobs(&self) -> io::Result<()> {
        let dir = self.log.join("blobs");
        let mut synced = self.blobs.lock().unwrap_or_else(PoisonError::into_inner);
        let mut there = BTreeSet::new();
        let mut is_new = false;
        for entry in fs::read_dir(&dir)? {
            let entry = entry?;
            let name = entry.file_name();
            if !synced.contains(&name) {
                sync_if_there(&entry.path())?;
                is_new = true;
            }
            there.insert(name);
        }
        if is_new {
            sync_dir(&dir)?;
        }
        *synced = there;
        Ok(())
    }
}

/// sled removes files of its own accord.
fn sync_if_there(path: &Path) -> io::Result<()> {
    match OpenOptions::new().read(true).write(true).open(path) {
        Ok(file) => file.sync_all(),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}
