//! The device's store: an ordered map of byte strings that survives a power cut, on sled or in
//! memory. Must never know what the bytes mean.
//!
//! A directory holds `LOCK` (held while the store is open), `FORMAT` (the version of what is in the
//! directory) and `sled/`. No sled type leaves this file.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use syncline_engine::session::StoreWrite;

/// The version of the directory's layout that this program writes.
pub const FORMAT: u32 = 1;

const FORMAT_NAME: &str = "syncline-client-store";
/// Memory for sled's pages. A device store is small; the replicas are what takes memory.
const CACHE_BYTES: u64 = 16 << 20;

/// A key with its value.
pub type Pair = (Vec<u8>, Bytes);

/// An ordered map of byte strings with durable, atomic commits.
pub trait Store: Send + 'static {
    /// Writes in order, all or nothing. When it returns `Ok`, everything is on disk.
    ///
    /// # Errors
    /// [`StoreError`] if the device failed; what became of the writes is then unknown, and the
    /// store must not be written again.
    fn commit(&mut self, writes: Vec<StoreWrite>) -> Result<(), StoreError>;

    /// The keys that begin with `prefix` and their values, in order.
    ///
    /// # Errors
    /// [`StoreError`] if the device failed.
    fn read(&self, prefix: &[u8]) -> Result<Vec<Pair>, StoreError>;

    /// The first key at or after `from`.
    ///
    /// # Errors
    /// [`StoreError`] if the device failed.
    fn key_from(&self, from: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;
}

/// The device failed.
#[derive(Debug, thiserror::Error)]
#[error("the store on this device failed: {0}")]
pub struct StoreError(pub String);

/// The store can't be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreOpenError {
    /// Another process, or another client in this one, has the store open.
    #[error(
        "the store {} is in use by another process; close it or choose another directory",
        dir.display()
    )]
    InUse {
        /// The store's directory.
        dir: PathBuf,
    },
    /// The store was written by a newer version of this program.
    #[error(
        "the store {} has format {found}, this program knows up to {known}; use a newer version",
        dir.display()
    )]
    Newer {
        /// The store's directory.
        dir: PathBuf,
        /// Its format.
        found: u32,
        /// The newest format that is known here.
        known: u32,
    },
    /// The directory holds something else.
    #[error("{} is not a syncline store: {why}", dir.display())]
    NotAStore {
        /// The directory.
        dir: PathBuf,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A file of the store can't be read or written.
    #[error("can't open the store {}", dir.display())]
    Io {
        /// The store's directory.
        dir: PathBuf,
        /// The failure.
        source: io::Error,
    },
    /// The data under the store can't be opened.
    #[error("can't open the store {}: {message}", dir.display())]
    Damaged {
        /// The store's directory.
        dir: PathBuf,
        /// What the database said.
        message: String,
    },
}

/// A store in a directory of its own.
#[derive(Debug)]
pub struct SledStore {
    db: sled::Db,
    files: Files,
    /// Released last: fields are dropped in order, and sled writes while it closes.
    _lock: File,
}

impl SledStore {
    /// Opens the store in `dir`, or makes one there.
    ///
    /// # Errors
    /// [`StoreOpenError::InUse`] while any other client has it open, [`StoreOpenError::Newer`] if
    /// its format is from the future.
    pub fn open(dir: &Path) -> Result<Self, StoreOpenError> {
        let failed = |source| StoreOpenError::Io { dir: dir.to_owned(), source };
        fs::create_dir_all(dir).map_err(failed)?;
        let lock = lock(dir)?;
        check_format(dir)?;
        let path = dir.join("sled");
        let db = sled::Config::new()
            .path(&path)
            .cache_capacity(CACHE_BYTES)
            .flush_every_ms(None)
            .open()
            .map_err(|e| StoreOpenError::Damaged { dir: dir.to_owned(), message: e.to_string() })?;
        let mut files = Files::open(&path).map_err(failed)?;
        // What the last process wrote but did not sync may be on its way to a server from here on.
        files.sync().map_err(failed)?;
        sync_dir(dir).map_err(failed)?;
        Ok(Self { db, files, _lock: lock })
    }
}

impl Store for SledStore {
    fn commit(&mut self, writes: Vec<StoreWrite>) -> Result<(), StoreError> {
        let mut batch = sled::Batch::default();
        for write in writes {
            match write {
                StoreWrite::Put { key, value } => batch.insert(key, value.as_ref()),
                StoreWrite::Delete { key } => batch.remove(key),
            }
        }
        self.db.apply_batch(batch).map_err(|e| StoreError(e.to_string()))?;
        self.db.flush().map_err(|e| StoreError(e.to_string()))?;
        self.files.sync().map_err(|e| StoreError(e.to_string()))
    }

    fn read(&self, prefix: &[u8]) -> Result<Vec<Pair>, StoreError> {
        self.db
            .scan_prefix(prefix)
            .map(|pair| match pair {
                Ok((key, value)) => Ok((key.to_vec(), Bytes::copy_from_slice(&value))),
                Err(e) => Err(StoreError(e.to_string())),
            })
            .collect()
    }

    fn key_from(&self, from: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        match self.db.range(from..).next() {
            None => Ok(None),
            Some(Ok((key, _))) => Ok(Some(key.to_vec())),
            Some(Err(e)) => Err(StoreError(e.to_string())),
        }
    }
}

/// Takes the lock, which ends with the process whatever happens to it.
fn lock(dir: &Path) -> Result<File, StoreOpenError> {
    let failed = |source| StoreOpenError::Io { dir: dir.to_owned(), source };
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(dir.join("LOCK"))
        .map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreOpenError::InUse { dir: dir.to_owned() }),
        Err(TryLockError::Error(source)) => Err(failed(source)),
    }
}

/// Reads the format, or writes it into a directory that has no store yet.
fn check_format(dir: &Path) -> Result<(), StoreOpenError> {
    let failed = |source| StoreOpenError::Io { dir: dir.to_owned(), source };
    let not_a_store = |why| StoreOpenError::NotAStore { dir: dir.to_owned(), why };
    let path = dir.join("FORMAT");
    match fs::read_to_string(&path) {
        Ok(text) => {
            let found = text
                .trim_end()
                .strip_prefix(FORMAT_NAME)
                .and_then(|rest| rest.trim().parse::<u32>().ok())
                .ok_or_else(|| not_a_store("its FORMAT file says something else"))?;
            if found > FORMAT {
                return Err(StoreOpenError::Newer { dir: dir.to_owned(), found, known: FORMAT });
            }
            Ok(())
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            if dir.join("sled").exists() {
                return Err(not_a_store("it has data but no FORMAT file"));
            }
            write_format(dir, &path).map_err(failed)
        }
        Err(e) => Err(failed(e)),
    }
}

fn write_format(dir: &Path, path: &Path) -> io::Result<()> {
    let draft = dir.join("FORMAT.new");
    let mut file = File::create(&draft)?;
    writeln!(file, "{FORMAT_NAME} {FORMAT}")?;
    file.sync_all()?;
    fs::rename(&draft, path)?;
    sync_dir(dir)
}

fn sync_dir(dir: &Path) -> io::Result<()> {
    // Directories can be opened and synced on Unix only; elsewhere the file system sees to it.
    if cfg!(unix) { File::open(dir)?.sync_all() } else { Ok(()) }
}

/// What sled itself leaves to the operating system's caches: its flush calls no fsync on Linux, and
/// values too large for a page go to files of their own that it never syncs.
#[derive(Debug)]
struct Files {
    db: File,
    blobs: PathBuf,
    synced: BTreeSet<OsString>,
}

impl Files {
    fn open(sled: &Path) -> io::Result<Self> {
        let db = OpenOptions::new().read(true).write(true).open(sled.join("db"))?;
        Ok(Self { db, blobs: sled.join("blobs"), synced: BTreeSet::new() })
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_blobs()?;
        self.db.sync_data()
    }

    /// Syncs blob files that are new since the last time; they are written once.
    fn sync_blobs(&mut self) -> io::Result<()> {
        let entries = match fs::read_dir(&self.blobs) {
            Ok(entries) => entries,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(e) => return Err(e),
        };
        let mut present = BTreeSet::new();
        let mut fresh = false;
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name();
            if !self.synced.contains(&name) {
                match OpenOptions::new().write(true).open(entry.path()) {
                    Ok(file) => file.sync_all()?,
                    // sled removes blobs that nothing refers to any more.
                    Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                    Err(e) => return Err(e),
                }
                fresh = true;
            }
            present.insert(name);
        }
        self.synced = present;
        if fresh { sync_dir(&self.blobs) } else { Ok(()) }
    }
}

/// A store that ends with the process.
#[derive(Debug, Default)]
pub struct MemoryStore(BTreeMap<Vec<u8>, Bytes>);

impl Store for MemoryStore {
    fn commit(&mut self, writes: Vec<StoreWrite>) -> Result<(), StoreError> {
        for write in writes {
            match write {
                StoreWrite::Put { key, value } => self.0.insert(key, value),
                StoreWrite::Delete { key } => self.0.remove(&key),
            };
        }
        Ok(())
    }

    fn read(&self, prefix: &[u8]) -> Result<Vec<Pair>, StoreError> {
        Ok(self
            .0
            .range(prefix.to_vec()..)
            .take_while(|(key, _)| key.starts_with(prefix))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect())
    }

    fn key_from(&self, from: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.0.range(from.to_vec()..).next().map(|(key, _)| key.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(key: &str, value: &str) -> StoreWrite {
        StoreWrite::Put { key: key.into(), value: Bytes::copy_from_slice(value.as_bytes()) }
    }

    fn read(store: &impl Store, prefix: &str) -> Vec<(String, String)> {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let pairs = store.read(prefix.as_bytes()).unwrap();
        pairs.iter().map(|(key, value)| (text(key), text(value))).collect()
    }

    fn writes_are_read_by_prefix_in_order(store: &mut impl Store) {
        store.commit(vec![put("a/2", "two"), put("a/1", "one"), put("b/1", "other")]).unwrap();
        store.commit(vec![put("a/1", "uno"), StoreWrite::Delete { key: b"a/2".into() }]).unwrap();
        store.commit(vec![StoreWrite::Delete { key: b"absent".into() }]).unwrap();
        assert_eq!(read(store, "a/"), [("a/1".into(), "uno".into())]);
        assert_eq!(read(store, "").len(), 2);
        assert_eq!(read(store, "c"), []);
        assert_eq!(store.key_from(b"a/2").unwrap().as_deref(), Some(b"b/1".as_slice()));
        assert_eq!(store.key_from(b"c").unwrap(), None);
    }

    #[test]
    fn both_stores_read_by_prefix_in_order() {
        let dir = tempfile::tempdir().unwrap();
        writes_are_read_by_prefix_in_order(&mut MemoryStore::default());
        writes_are_read_by_prefix_in_order(&mut SledStore::open(dir.path()).unwrap());
    }

    #[test]
    fn a_reopened_store_has_everything_large_values_included() {
        let dir = tempfile::tempdir().unwrap();
        let large = "x".repeat(3 << 20);
        let mut store = SledStore::open(dir.path()).unwrap();
        store.commit(vec![put("large", &large), put("small", "s")]).unwrap();
        drop(store);
        let store = SledStore::open(dir.path()).unwrap();
        assert_eq!(read(&store, "large"), [("large".into(), large)]);
        assert_eq!(read(&store, "small"), [("small".into(), "s".into())]);
    }

    #[test]
    fn a_large_value_is_a_file_that_gets_synced() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = SledStore::open(dir.path()).unwrap();
        store.commit(vec![put("large", &"x".repeat(3 << 20))]).unwrap();
        assert!(!store.files.synced.is_empty());
    }

    #[test]
    fn a_second_open_is_refused_and_names_the_directory() {
        let dir = tempfile::tempdir().unwrap();
        let first = SledStore::open(dir.path()).unwrap();
        let refused = SledStore::open(dir.path()).unwrap_err();
        assert!(matches!(refused, StoreOpenError::InUse { .. }));
        assert!(refused.to_string().contains(&dir.path().display().to_string()));
        drop(first);
        SledStore::open(dir.path()).unwrap();
    }

    #[test]
    fn a_store_from_the_future_and_a_strange_directory_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        drop(SledStore::open(dir.path()).unwrap());
        fs::write(dir.path().join("FORMAT"), "syncline-client-store 99\n").unwrap();
        let newer = SledStore::open(dir.path()).unwrap_err();
        assert!(matches!(newer, StoreOpenError::Newer { found: 99, .. }));
        fs::write(dir.path().join("FORMAT"), "something else").unwrap();
        let strange = SledStore::open(dir.path()).unwrap_err();
        assert!(matches!(strange, StoreOpenError::NotAStore { .. }));
        fs::remove_file(dir.path().join("FORMAT")).unwrap();
        let strange = SledStore::open(dir.path()).unwrap_err();
        assert!(matches!(strange, StoreOpenError::NotAStore { .. }));
    }
}
