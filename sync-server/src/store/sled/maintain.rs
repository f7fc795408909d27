//! What operators do with a whole store: check each value, delete a space, copy the store elsewhere and
//! back, put documents in that were written down elsewhere. It knows no changes.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::PoisonError;

use syncline_engine::ids::{Address, Cursor, Epoch};
use syncline_engine::storage::{Record, Sealed, Snapshot, StoreError};

use super::base::Base;
use super::disk::{self, Syncer};
use super::layout::{Layout, base_name, log_name};
use super::log::Log;
use super::renew::{self, Merging, RenewError};
use super::tree::Values;
use super::value::{Document, SealedOutline, SnapshotOutline};
use super::{OpenError, SledOptions, SledStore, keys, open, value, write};

/// Bytes that are looked at before others get their turn.
const STEP_BYTES: usize = 1 << 20;
/// Bytes that are copied before whoever watches is told.
const COPY_BYTES: usize = 4 << 20;
/// Values that are damaged and named; there may be more.
const DAMAGED_NAMED_MAX: usize = 1_000;

/// What a check of each value found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct CheckedValues {
    /// Values that were read.
    pub values: u64,
    /// Their bytes, keys included.
    pub bytes: u64,
    /// Values that were damaged once and set aside.
    pub set_aside: u64,
    /// Values that fail their checksum.
    pub damaged: u64,
    /// To which documents they belong (`None` if to none), the first thousand.
    pub damaged_in: Vec<Option<Address>>,
}

/// A document as it is put into another store.
#[derive(Debug, Clone)]
pub struct Import {
    /// Which.
    pub address: Address,
    /// The incarnation of its log.
    pub epoch: Epoch,
    /// The ends of the epochs before, each with its last snapshot, the oldest first.
    pub sealed: Vec<(Sealed, Snapshot)>,
    /// Its snapshot.
    pub snapshot: Option<Snapshot>,
    /// Its records, which begin at 1 or reach the snapshot.
    pub records: Vec<Record>,
}

/// A copy of a store could not be made or put back.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CopyError {
    /// What is there would be mixed with the copy.
    #[error("{} is not an empty directory", .0.display())]
    NotEmpty(PathBuf),
    /// There is no complete store to be copied.
    #[error("{} is not a complete copy of a store", .0.display())]
    Incomplete(PathBuf),
    /// The directory cannot be used.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The store could not be merged first.
    #[error(transparent)]
    Renew(#[from] RenewError),
    /// The file system refused.
    #[error("could not copy to {}: {source}", path.display())]
    Io {
        /// Where to.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

impl SledStore {
    /// Reads every value and checks its checksum.
    ///
    /// # Errors
    /// [`RenewError`] if the store fails, its files cannot be read on, or `watch` stops it.
    pub fn check_values(
        &self,
        watch: &mut dyn FnMut(Merging) -> ControlFlow<()>,
    ) -> Result<CheckedValues, RenewError> {
        let mut checked = CheckedValues::default();
        let mut from = Vec::new();
        loop {
            let step = self
                .shared
                .with(|log| Ok(renew::guarded(|| check_step(log, &from, &mut checked))))??;
            let Some(last) = step else { return Ok(checked) };
            from = last;
            from.push(0);
            let so_far = Merging { values: checked.values, bytes: checked.bytes };
            if watch(so_far).is_break() {
                return Err(RenewError::Stopped);
            }
        }
    }

    /// Deletes everything that belongs to a space, save the documents to be kept. Its bytes are in the files
    /// until the next merge. Nobody may use its documents meanwhile. Answers how many were deleted. One
    /// that was interrupted is finished by the next.
    ///
    /// # Errors
    /// [`StoreError::Failed`] if the store fails.
    pub fn delete_space(&self, space: &str, keep: &BTreeSet<Address>) -> Result<u64, StoreError> {
        let _putting = self.shared.putting.lock().unwrap_or_else(PoisonError::into_inner);
        let deleted = self.shared.with(|log| log.delete_space(space, keep))?;
        self.renewer.note(0);
        Ok(deleted)
    }

    /// Removes all that there is of one document or stream.
    ///
    /// # Errors
    /// As for [`syncline_engine::storage::LogStore::append`].
    pub fn delete(&self, address: &Address) -> Result<(), StoreError> {
        let _putting = self.shared.putting.lock().unwrap_or_else(PoisonError::into_inner);
        self.shared.with(|log| {
            let _writing = log.writing()?;
            log.delete_document(address)
        })
    }

    /// Copies the store, as it is at this moment, into an empty directory. Appends and reads go on
    /// meanwhile. It is complete once it can be opened. Answers the bytes of the copy.
    ///
    /// # Errors
    /// [`CopyError`]; what was copied so far is no store.
    pub fn backup(
        &self,
        target: &Path,
        watch: &mut dyn FnMut(Merging) -> ControlFlow<()>,
    ) -> Result<u64, CopyError> {
        make_empty(target)?;
        let shared = &self.shared;
        // The base that is copied is not replaced meanwhile.
        let _one = shared.renewing.lock().unwrap_or_else(PoisonError::into_inner);
        shared.renew_alone(watch)?;
        let Some(number) = shared.directory.layout().base else {
            return Err(CopyError::Incomplete(target.to_owned()));
        };
        let path = target.join(base_name(number));
        let bytes = copy_file(&shared.directory.base(number), &path, watch)?;
        let base = Base::open(&path).map_err(RenewError::from)?;
        renew::check(&base, watch)?;
        let layout = Layout { active: number + 1, frozen: None, base: Some(number) };
        let log = target.join(log_name(layout.active));
        let db = open::start(target, &log, &SledOptions::default())?;
        let failed = |source| CopyError::Io { path: log.clone(), source };
        db.flush().map_err(|error| failed(io::Error::other(error)))?;
        Syncer::open(&log).map_err(failed)?;
        drop(db);
        disk::write_format(target, &layout.text())?;
        Ok(bytes)
    }

    /// Copies a store that nobody uses, such as a backup, into an empty directory. Answers the bytes of
    /// the copy.
    ///
    /// # Errors
    /// [`CopyError`]; what was copied so far is no store.
    pub fn restore(
        backup: &Path,
        target: &Path,
        watch: &mut dyn FnMut(Merging) -> ControlFlow<()>,
    ) -> Result<u64, CopyError> {
        if !backup.join("format").is_file() {
            return Err(CopyError::Incomplete(backup.to_owned()));
        }
        let source = disk::claim(backup)?;
        if source.is_fresh {
            return Err(CopyError::Incomplete(backup.to_owned()));
        }
        make_empty(target)?;
        let layout = source.layout();
        let mut bytes = 0;
        for number in [Some(layout.active), layout.frozen].into_iter().flatten() {
            bytes += copy_dir(&source.log(number), &target.join(log_name(number)), watch)?;
        }
        if let Some(number) = layout.base {
            bytes += copy_file(&source.base(number), &target.join(base_name(number)), watch)?;
        }
        disk::write_format(target, &layout.text())?;
        Ok(bytes)
    }

    /// Puts a snapshot in the place of all that is stored of a document whose log ends at `end`, the ends of
    /// earlier epochs included. Nobody may use the document meanwhile. A crash leaves one or the other.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] if the log does not end there; else as for any write.
    pub fn begin_anew(
        &self,
        address: &Address,
        end: Cursor,
        first: &Snapshot,
    ) -> Result<(), StoreError> {
        let _putting = self.shared.putting.lock().unwrap_or_else(PoisonError::into_inner);
        self.shared.with(|log| log.begin_anew(address, end, first))?;
        self.keeper.note(first.body.len());
        self.renewer.note(first.body.len());
        Ok(())
    }

    /// Puts a document in that is not there.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] if it is there; [`StoreError::Failed`] if the store fails.
    pub fn import(&self, document: &Import) -> Result<(), StoreError> {
        let _putting = self.shared.putting.lock().unwrap_or_else(PoisonError::into_inner);
        self.shared.with(|log| log.import(document))?;
        self.keeper.note(0);
        self.renewer.note(document.records.iter().map(Record::change_bytes).sum());
        Ok(())
    }
}

fn check_step(
    log: &Log,
    from: &[u8],
    checked: &mut CheckedValues,
) -> Result<Option<Vec<u8>>, RenewError> {
    let _reading = log.reading();
    let mut bytes = 0;
    for item in log.tree.walk(from, keys::LAST) {
        let (key, value) = item?;
        bytes += key.len() + value.len();
        checked.values += 1;
        checked.bytes += (key.len() + value.len()) as u64;
        let is_sound = match keys::set_aside(&key) {
            // It is kept because it is damaged.
            Some(_) => {
                checked.set_aside += 1;
                true
            }
            None => value::unseal(&key, &value).is_some(),
        };
        if !is_sound {
            checked.damaged += 1;
            if checked.damaged_in.len() < DAMAGED_NAMED_MAX {
                checked.damaged_in.push(keys::address_of(&key));
            }
        }
        if bytes >= STEP_BYTES {
            return Ok(Some(key.to_vec()));
        }
    }
    let end = log.tree.walk_back(from, keys::LAST).next().transpose()?;
    if bytes == 0 && end.is_some() {
        return Err(RenewError::Damaged("its last values cannot be reached".to_owned()));
    }
    Ok(None)
}

fn make_empty(target: &Path) -> Result<(), CopyError> {
    let failed = |source| CopyError::Io { path: target.to_owned(), source };
    fs::create_dir_all(target).map_err(failed)?;
    match fs::read_dir(target).map_err(failed)?.next() {
        None => Ok(()),
        Some(_) => Err(CopyError::NotEmpty(target.to_owned())),
    }
}

fn copy_dir(
    from: &Path,
    to: &Path,
    watch: &mut dyn FnMut(Merging) -> ControlFlow<()>,
) -> Result<u64, CopyError> {
    let failed = |source| CopyError::Io { path: to.to_owned(), source };
    fs::create_dir_all(to).map_err(failed)?;
    let mut bytes = 0;
    for entry in fs::read_dir(from).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let target = to.join(entry.file_name());
        bytes += if entry.file_type().map_err(failed)?.is_dir() {
            copy_dir(&entry.path(), &target, watch)?
        } else {
            copy_file(&entry.path(), &target, watch)?
        };
    }
    disk::sync_dir(to).map_err(failed)?;
    Ok(bytes)
}

fn copy_file(
    from: &Path,
    to: &Path,
    watch: &mut dyn FnMut(Merging) -> ControlFlow<()>,
) -> Result<u64, CopyError> {
    let failed = |source| CopyError::Io { path: to.to_owned(), source };
    let mut source = File::open(from).map_err(failed)?;
    let mut target = File::create_new(to).map_err(failed)?;
    let (mut part, mut bytes) = (vec![0; COPY_BYTES], 0);
    loop {
        let read = source.read(&mut part).map_err(failed)?;
        if read == 0 {
            break;
        }
        target.write_all(&part[..read]).map_err(failed)?;
        target.sync_data().map_err(failed)?;
        bytes += read as u64;
        if watch(Merging { values: 0, bytes }).is_break() {
            return Err(RenewError::Stopped.into());
        }
    }
    target.sync_all().map_err(failed)?;
    Ok(bytes)
}

impl Log {
    fn delete_space(&self, space: &str, keep: &BTreeSet<Address>) -> Result<u64, StoreError> {
        let failed = |error: super::tree::TreeError| self.fail(error.to_string());
        let (mut documents, mut rest) = (0, Vec::new());
        loop {
            // One document at a time, whole: whatever is deleted is deleted, the rest is as it was.
            let _writing = self.writing()?;
            let Some(address) = self.first_in(space, keep)? else { break };
            self.delete_document(&address)?;
            documents += 1;
        }
        let _writing = self.writing()?;
        for (from, to) in keys::of_space_all(space) {
            for item in self.tree.walk(&from, &to) {
                let (key, value) = item.map_err(failed)?;
                if keys::address_of(&key).is_none_or(|address| !keep.contains(&address)) {
                    rest.push((key, value));
                }
            }
        }
        for item in self.tree.walk(keys::SET_ASIDE.0, keys::SET_ASIDE.1) {
            let (key, value) = item.map_err(failed)?;
            let address = keys::set_aside(&key).and_then(keys::address_of);
            if address.is_some_and(|address| address.space() == space) {
                rest.push((key, value));
            }
        }
        let mut values = Values::default();
        rest.iter().for_each(|(key, value)| values.remove(key, value));
        self.delete(values)?;
        Ok(documents)
    }

    /// For who holds `writing`.
    fn delete_document(&self, address: &Address) -> Result<(), StoreError> {
        let mut values = Values::default();
        for (from, to) in keys::of_document_all(address) {
            for item in self.tree.walk(&from, &to) {
                let (key, value) = item.map_err(|error| self.fail(error.to_string()))?;
                values.remove(&key, &value);
            }
        }
        self.delete(values)
    }

    fn first_in(
        &self,
        space: &str,
        but: &BTreeSet<Address>,
    ) -> Result<Option<Address>, StoreError> {
        let (from, to) = keys::documents_of_space(space);
        for item in self.tree.walk(&from, &to) {
            let (key, _) = item.map_err(|error| self.fail(error.to_string()))?;
            let address = keys::address_of_document(&key);
            if let Some(address) = address.filter(|address| !but.contains(address)) {
                return Ok(Some(address));
            }
        }
        Ok(None)
    }

    fn import(&self, document: &Import) -> Result<(), StoreError> {
        let Import { address, epoch, sealed, snapshot, records } = document;
        {
            let _writing = self.writing()?;
            if self.document(address)?.is_some() {
                return Err(StoreError::Conflict {
                    address: address.clone(),
                    end_seq: 0,
                    first_seq: 1,
                });
            }
        }
        let mut outline = Document::new(*epoch);
        for (generation, (end, last)) in (1..).zip(sealed) {
            let last_outline = SnapshotOutline::of(generation, last);
            self.write_snapshot(address, &last_outline, last)?;
            let start = end.start;
            outline.sealed.push(SealedOutline { epoch: end.end.epoch, last: last_outline, start });
        }
        if let Some(snapshot) = snapshot {
            let current = SnapshotOutline::of(sealed.len() as u64 + 1, snapshot);
            self.write_snapshot(address, &current, snapshot)?;
            outline.snapshot = Some(current);
        }
        let _writing = self.writing()?;
        let (mut bytes, mut in_batch) = (0, 0);
        let mut values = Values::default();
        for record in records {
            bytes = write::put_record(&mut values, address, bytes, record);
            in_batch += record.change_bytes();
            if in_batch >= STEP_BYTES {
                self.commit(std::mem::take(&mut values))?;
                in_batch = 0;
            }
        }
        // Last, so that there is no document as long as part of it is missing.
        write::put_document(&mut values, address, &outline);
        self.commit(values)?;
        self.written(address);
        Ok(())
    }
}
