//! Events that a log is about to drop while a receiver has not had them: in files, one for a stretch of
//! one document's log, deleted as soon as no receiver needs it. Bounded in bytes for each receiver.
//!
//! A file is lines of JSON: a head, then an event with its place each. It is complete and on disk before
//! it has its name, and the log drops nothing before that.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use syncline_engine::ids::{Address, ChangeHash, Epoch, Tip};

use super::event::Event;
use super::ledger::Place;

/// What a file costs at least, so that small ones count as well.
const FILE_BYTES_MIN: u64 = 4 << 10;

/// An entry as it is told, and the place behind it. No event: there is nothing to tell.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Told {
    pub(super) event: Option<Event>,
    pub(super) after: Place,
}

#[derive(Debug, Serialize, Deserialize)]
struct Head {
    document: String,
    epoch: String,
    first_seq: u64,
    last_seq: u64,
    entries: usize,
}

#[derive(Debug, Serialize, Deserialize)]
struct Line {
    seq: u64,
    tip: Option<String>,
    hash: Option<String>,
    event: Option<Event>,
}

#[derive(Debug)]
struct Stretch {
    number: u64,
    epoch: Epoch,
    first_seq: u64,
    last_seq: u64,
    bytes: u64,
    /// Receivers, by their index, that have not had it.
    needed: BTreeSet<usize>,
}

#[derive(Debug, Default)]
struct Index {
    stretches: BTreeMap<Address, Vec<Stretch>>,
    bytes: BTreeMap<usize, u64>,
    next: u64,
}

/// What the spool has behind a place.
#[derive(Debug, PartialEq)]
pub(super) enum Kept {
    /// What comes next.
    Next(Vec<Told>),
    /// Not what comes next, but what comes from this seq on.
    From(u64),
    /// Nothing.
    Nothing,
}

/// The spool's files and what is known of them.
#[derive(Debug)]
pub(super) struct Spool {
    dir: PathBuf,
    index: Mutex<Index>,
}

impl Spool {
    /// Opens a spool. `needing` says which receivers still need what ends at a seq of a document;
    /// files that nobody needs, or that do not read, are deleted.
    ///
    /// # Errors
    /// As the file system says.
    pub(super) fn open(
        dir: &Path,
        needing: impl Fn(&Address, u64) -> io::Result<BTreeSet<usize>>,
    ) -> io::Result<Self> {
        fs::create_dir_all(dir)?;
        let spool = Self { dir: dir.to_owned(), index: Mutex::new(Index::default()) };
        let mut index = spool.index();
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let number = name.strip_suffix(".jsonl").and_then(|n| u64::from_str_radix(n, 16).ok());
            let found = number.and_then(|number| Some((number, read_head(&entry.path())?)));
            let Some((number, (address, epoch, head))) = found else {
                if !name.ends_with(".new") {
                    tracing::error!(file = name, "a file of the spool does not read");
                }
                fs::remove_file(entry.path())?;
                continue;
            };
            index.next = index.next.max(number + 1);
            let needed = needing(&address, head.last_seq)?;
            if needed.is_empty() {
                fs::remove_file(entry.path())?;
                continue;
            }
            let bytes = entry.metadata()?.len().max(FILE_BYTES_MIN);
            let Head { first_seq, last_seq, .. } = head;
            let stretch = Stretch { number, epoch, first_seq, last_seq, bytes, needed };
            index.add(address, stretch);
        }
        drop(index);
        Ok(spool)
    }

    fn index(&self) -> MutexGuard<'_, Index> {
        // Nothing under it panics half way.
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn file(&self, number: u64) -> PathBuf {
        self.dir.join(format!("{number:016x}.jsonl"))
    }

    /// Bytes that are kept for a receiver.
    pub(super) fn bytes(&self, webhook: usize) -> u64 {
        self.index().bytes.get(&webhook).copied().unwrap_or(0)
    }

    /// The last seq of a document that is kept of an epoch.
    pub(super) fn last_seq(&self, address: &Address, epoch: Epoch) -> Option<u64> {
        let index = self.index();
        let of = index.stretches.get(address)?.iter().filter(|stretch| stretch.epoch == epoch);
        of.map(|stretch| stretch.last_seq).max()
    }

    /// Keeps a stretch for those receivers in `needing` that have room for it (by their index and their
    /// limit). Durable when it returns. Answers for whom there was none.
    ///
    /// # Errors
    /// As the file system says; nothing is kept then.
    pub(super) fn keep(
        &self,
        address: &Address,
        told: &[Told],
        needing: &BTreeMap<usize, u64>,
    ) -> io::Result<BTreeSet<usize>> {
        let (Some(first), Some(last)) = (told.first(), told.last()) else {
            return Ok(BTreeSet::new());
        };
        let (epoch, first_seq, last_seq) = (first.after.epoch, first.after.seq, last.after.seq);
        let text = write(address, told)?;
        let bytes = (text.len() as u64).max(FILE_BYTES_MIN);
        let mut index = self.index();
        let has_room = |(webhook, limit): &(&usize, &u64)| {
            index.bytes.get(*webhook).copied().unwrap_or(0) + bytes <= **limit
        };
        let needed: BTreeSet<usize> = needing.iter().filter(has_room).map(|(w, _)| *w).collect();
        let full = needing.keys().copied().filter(|webhook| !needed.contains(webhook)).collect();
        if needed.is_empty() {
            return Ok(full);
        }
        let number = index.next;
        index.next += 1;
        let path = self.file(number);
        let new = path.with_extension("new");
        let mut file = File::create(&new)?;
        file.write_all(&text)?;
        file.sync_all()?;
        fs::rename(&new, &path)?;
        sync_dir(&self.dir)?;
        index.add(address.clone(), Stretch { number, epoch, first_seq, last_seq, bytes, needed });
        Ok(full)
    }

    /// What is kept for a receiver behind a place in an epoch.
    pub(super) fn after(&self, webhook: usize, address: &Address, at: &Place) -> Kept {
        let mut later: Option<u64> = None;
        let found = {
            let index = self.index();
            let all = index.stretches.get(address).into_iter().flatten();
            let mut found = None;
            for stretch in all.filter(|s| s.epoch == at.epoch && s.needed.contains(&webhook)) {
                if stretch.first_seq > at.seq + 1 {
                    later = Some(later.map_or(stretch.first_seq, |seq| seq.min(stretch.first_seq)));
                } else if stretch.last_seq > at.seq {
                    found = Some((stretch.number, stretch.last_seq));
                }
            }
            found
        };
        let later = later.map_or(Kept::Nothing, Kept::From);
        let Some((number, last_seq)) = found else { return later };
        if let Some(told) = read(&self.file(number), at) {
            return Kept::Next(told);
        }
        tracing::error!(%address, number, "a file of the spool does not read");
        self.settle(webhook, address, last_seq);
        later
    }

    /// Notes that a receiver has had a document up to a seq, and deletes what nobody needs any more.
    pub(super) fn settle(&self, webhook: usize, address: &Address, seq: u64) {
        let mut index = self.index();
        let index = &mut *index;
        let Some(stretches) = index.stretches.get_mut(address) else { return };
        let mut gone = Vec::new();
        for stretch in stretches.iter_mut() {
            if stretch.last_seq <= seq && stretch.needed.remove(&webhook) {
                let bytes = index.bytes.entry(webhook).or_default();
                *bytes = bytes.saturating_sub(stretch.bytes);
                if stretch.needed.is_empty() {
                    gone.push(stretch.number);
                }
            }
        }
        stretches.retain(|stretch| !stretch.needed.is_empty());
        if stretches.is_empty() {
            index.stretches.remove(address);
        }
        for number in gone {
            if let Err(error) = fs::remove_file(self.file(number)) {
                tracing::warn!(%error, number, "a file of the spool stays until the next start");
            }
        }
    }
}

impl Index {
    fn add(&mut self, address: Address, stretch: Stretch) {
        for webhook in &stretch.needed {
            *self.bytes.entry(*webhook).or_default() += stretch.bytes;
        }
        self.stretches.entry(address).or_default().push(stretch);
    }
}

fn write(address: &Address, told: &[Told]) -> io::Result<Vec<u8>> {
    let (Some(first), Some(last)) = (told.first(), told.last()) else { return Ok(Vec::new()) };
    let head = Head {
        document: address.to_string(),
        epoch: first.after.epoch.to_string(),
        first_seq: first.after.seq,
        last_seq: last.after.seq,
        entries: told.len(),
    };
    let mut out = serde_json::to_vec(&head)?;
    for Told { event, after } in told {
        out.push(b'\n');
        let (tip, hash) = (after.tip.map(|t| t.to_string()), after.hash.map(|h| h.to_string()));
        serde_json::to_writer(&mut out, &Line { seq: after.seq, tip, hash, event: event.clone() })?;
    }
    out.push(b'\n');
    Ok(out)
}

fn read_head(path: &Path) -> Option<(Address, Epoch, Head)> {
    let mut line = String::new();
    BufReader::new(File::open(path).ok()?).read_line(&mut line).ok()?;
    let head: Head = serde_json::from_str(&line).ok()?;
    Some((head.document.parse().ok()?, Epoch(bytes(&head.epoch)?), head))
}

/// The lines behind a place, if the file is whole and belongs to the same log.
fn read(path: &Path, at: &Place) -> Option<Vec<Told>> {
    let text = fs::read_to_string(path).ok()?;
    let mut lines = text.lines();
    let head: Head = serde_json::from_str(lines.next()?).ok()?;
    let epoch = Epoch(bytes(&head.epoch)?);
    let mut told = Vec::with_capacity(head.entries.min(text.len()));
    for (line, expected) in lines.zip(head.first_seq..) {
        let Line { seq, tip, hash, event } = serde_json::from_str(line).ok()?;
        let tip = tip.map(|tip| bytes(&tip)).map_or(Some(None), |tip| tip.map(|t| Some(Tip(t))))?;
        let hash = hash.map(|hash| bytes(&hash));
        let hash = hash.map_or(Some(None), |hash| hash.map(|h| Some(ChangeHash(h))))?;
        if seq != expected {
            return None;
        }
        told.push(Told { event, after: Place { epoch, seq, tip, hash } });
    }
    let whole = told.len() == head.entries && told.last()?.after.seq == head.last_seq;
    told.retain(|told| told.after.seq > at.seq);
    whole.then_some(told)
}

fn bytes<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut out = [0; N];
    hex::decode_to_slice(text, &mut out).ok()?;
    Some(out)
}

#[cfg(unix)]
fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// Elsewhere directories cannot be opened as files; their entries are journaled.
#[cfg(not(unix))]
fn sync_dir(_: &Path) -> io::Result<()> {
    Ok(())
}
