//! Opening a store: claim the directory, start sled, sync what the last process left, find or make
//! the store's own values. Nothing is served before that.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use syncline_engine::storage::StoreError;
use syncline_engine::storage::record::DigestKey;

use super::base::Base;
use super::disk::{Directory, Syncer, claim};
use super::keeper::{Keeper, Shared};
use super::layout::log_name;
use super::log::Log;
use super::renew::Renewer;
use super::tree::{Tree, Values};
use super::{SledStore, keys, value};

/// How a store is opened.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SledOptions {
    /// Memory for cached pages, in bytes. sled exceeds what it is told, so after the use of this
    /// much the store lets go of all of them.
    pub cache_bytes: u64,
    /// After how long without use the store lets go of its cached pages.
    pub cache_idle: Duration,
    /// Bytes that may be on disk beside the live ones whatever these are: below this nothing is
    /// merged.
    pub slack_bytes: u64,
    /// Bytes per second that a merge in the background may write.
    pub merge_bytes_per_second: u64,
}

impl SledOptions {
    /// The default memory for cached pages, in bytes.
    pub const CACHE_BYTES: u64 = 64 << 20;
    /// The default time without use after which cached pages are let go of.
    pub const CACHE_IDLE: Duration = Duration::from_secs(2);

    /// The default for [`SledOptions::slack_bytes`].
    pub const SLACK_BYTES: u64 = 8 << 20;
    /// The default for [`SledOptions::merge_bytes_per_second`].
    pub const MERGE_BYTES_PER_SECOND: u64 = 32 << 20;

    /// The defaults with this much memory for cached pages.
    #[must_use]
    pub const fn with_cache_bytes(cache_bytes: u64) -> Self {
        Self {
            cache_bytes,
            cache_idle: Self::CACHE_IDLE,
            slack_bytes: Self::SLACK_BYTES,
            merge_bytes_per_second: Self::MERGE_BYTES_PER_SECOND,
        }
    }
}

impl Default for SledOptions {
    fn default() -> Self {
        Self::with_cache_bytes(Self::CACHE_BYTES)
    }
}

/// A store could not be opened. Nothing in its directory was changed, save where sled itself
/// repairs its files.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Two processes on one log would destroy it.
    #[error("the directory {} is in use by another process", dir.display())]
    InUse {
        /// Which.
        dir: PathBuf,
    },
    /// Another version of the program made it.
    #[error(
        "the store in {} has format {found}, this program reads and writes format {known} only; \
         use the version of the program that made it",
        dir.display()
    )]
    OtherFormat {
        /// Which.
        dir: PathBuf,
        /// The format of what is there.
        found: u32,
        /// The format that this program knows.
        known: u32,
    },
    /// There are files and they are not ours.
    #[error("the directory {} is not empty and not a syncline store", dir.display())]
    NotAStore {
        /// Which.
        dir: PathBuf,
    },
    /// The file system refused.
    #[error("could not {doing} of {}", dir.display())]
    Io {
        /// Which directory.
        dir: PathBuf,
        /// What was to be done.
        doing: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// The files are there and cannot be used.
    #[error(
        "the store in {} is damaged ({what}); it was left as it is, restore a backup or copy the \
         directory away for repair",
        dir.display()
    )]
    Damaged {
        /// Which directory.
        dir: PathBuf,
        /// What is wrong.
        what: String,
    },
}

/// sled closes its file from threads of its own some time after the last handle is dropped.
/// Within the lock on the directory, only such a leftover of this process can be in the way.
const LEFTOVER_TRIES: u32 = 200;
const LEFTOVER_WAIT: Duration = Duration::from_millis(10);

impl SledStore {
    /// Opens the store in a directory, or makes one in a directory that is empty or does not
    /// exist. Returns after everything in it is known to be on disk.
    ///
    /// # Errors
    /// [`OpenError`]; the directory is named in it.
    pub fn open(dir: impl AsRef<Path>, options: &SledOptions) -> Result<Self, OpenError> {
        let dir = dir.as_ref();
        let directory = claim(dir)?;
        let begun = Instant::now();
        let log = Log::open(dir, &directory, options)?;
        let took = begun.elapsed();
        let digest_key = log.find_or_make_key(dir, &directory)?;
        let shared = Arc::new(Shared::new(dir, directory, options, log));
        let no_thread = |source| OpenError::Io {
            dir: dir.to_owned(),
            doing: "start a thread for the store",
            source,
        };
        let keeper = Keeper::start(Arc::clone(&shared), options, took).map_err(no_thread)?;
        let renewer = Renewer::start(Arc::clone(&shared), options).map_err(no_thread)?;
        Ok(Self { keeper, renewer, shared, digest_key })
    }
}

impl Log {
    fn find_or_make_key(&self, dir: &Path, directory: &Directory) -> Result<DigestKey, OpenError> {
        let damaged = |what: String| OpenError::Damaged { dir: dir.to_owned(), what };
        let found = self.meta(keys::DIGEST_KEY).map_err(|error| damaged(error.to_string()))?;
        if let Some(found) = found {
            let key =
                found.try_into().map_err(|_| damaged("its secret is too short".to_owned()))?;
            if directory.is_fresh {
                directory.finish()?;
            }
            return Ok(DigestKey(key));
        }
        if !directory.is_fresh {
            return Err(damaged("its secret is missing, so other values may be too".to_owned()));
        }
        let failed = |doing, source| OpenError::Io { dir: dir.to_owned(), doing, source };
        let mut key = [0; 32];
        getrandom::fill(&mut key)
            .map_err(|error| failed("draw the secret", io::Error::other(error)))?;
        self.put_meta(keys::DIGEST_KEY, &key)
            .map_err(|error| failed("write the secret", io::Error::other(error)))?;
        directory.finish()?;
        Ok(DigestKey(key))
    }

    pub(super) fn begin_term(&self, now_ms: u64) -> Result<u64, StoreError> {
        self.check_usable()?;
        let _writing = self.writing()?;
        let last = match self.meta(keys::TERM)? {
            None => 0,
            Some(found) => u64::from_be_bytes(found.try_into().map_err(|_| {
                StoreError::Failed("the ownership term has a wrong length".to_owned())
            })?),
        };
        let term = last
            .checked_add(1)
            .ok_or_else(|| StoreError::Failed("there are no ownership terms left".to_owned()))?
            .max(now_ms);
        self.put_meta(keys::TERM, &term.to_be_bytes())?;
        Ok(term)
    }

    /// One of the store's own values.
    pub(super) fn meta(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let found = self.tree.get(key).map_err(|error| self.fail(error.to_string()))?;
        let Some(found) = found else { return Ok(None) };
        match value::unseal(key, &found) {
            Some(content) => Ok(Some(content.to_vec())),
            None => Err(StoreError::Failed("one of the store's own values is damaged".to_owned())),
        }
    }

    fn put_meta(&self, key: &[u8], content: &[u8]) -> Result<(), StoreError> {
        let mut values = Values::default();
        values.insert(key.to_vec(), value::seal(key, content));
        self.commit(values)
    }
}

/// Opens all layers that are in use, and syncs what the last process wrote to them.
pub(super) fn layers(
    dir: &Path,
    directory: &Directory,
    options: &SledOptions,
) -> Result<(Tree, Syncer), OpenError> {
    let damaged = |what: String| OpenError::Damaged { dir: dir.to_owned(), what };
    let layout = directory.layout();
    let (active, syncer) = layer(dir, directory, layout.active, options)?;
    let frozen = layout.frozen.map(|number| layer(dir, directory, number, options)).transpose()?;
    let base = layout.base.map(|number| Base::open(&directory.base(number))).transpose();
    let base = base.map_err(|error| damaged(error.to_string()))?;
    let tree = Tree::new(active, frozen.map(|(db, _)| db), base);
    Ok((tree.map_err(|error| damaged(error.to_string()))?, syncer))
}

/// Opens one of sled's layers and syncs all of it.
fn layer(
    dir: &Path,
    directory: &Directory,
    number: u64,
    options: &SledOptions,
) -> Result<(::sled::Db, Syncer), OpenError> {
    let path = directory.log(number);
    if !directory.is_fresh && !path.join("db").exists() {
        // sled would begin an empty one.
        let what = format!("the file {}/db is missing", log_name(number));
        return Err(OpenError::Damaged { dir: dir.to_owned(), what });
    }
    let db = start(dir, &path, options)?;
    let syncer = Syncer::open(&path).map_err(|source| OpenError::Io {
        dir: dir.to_owned(),
        doing: "sync the files",
        source,
    })?;
    Ok((db, syncer))
}

/// Starts sled on the files in `path`, which belong to the store in `dir`.
pub(super) fn start(
    dir: &Path,
    path: &Path,
    options: &SledOptions,
) -> Result<::sled::Db, OpenError> {
    let damaged = |what: String| OpenError::Damaged { dir: dir.to_owned(), what };
    let mut tries = 0;
    loop {
        let config = ::sled::Config::new()
            .path(path)
            .cache_capacity(options.cache_bytes)
            .flush_every_ms(None);
        // sled panics on some damaged files.
        match catch_unwind(AssertUnwindSafe(|| config.open())) {
            Ok(Ok(db)) => return Ok(db),
            Ok(Err(::sled::Error::Io(source))) => {
                let is_leftover = source.to_string().contains("could not acquire lock");
                if !is_leftover || tries == LEFTOVER_TRIES {
                    let doing = "start sled on the files";
                    return Err(OpenError::Io { dir: dir.to_owned(), doing, source });
                }
            }
            Ok(Err(other)) => return Err(damaged(other.to_string())),
            Err(_) => return Err(damaged("sled panicked on its files".to_owned())),
        }
        tries += 1;
        std::thread::sleep(LEFTOVER_WAIT);
    }
}
