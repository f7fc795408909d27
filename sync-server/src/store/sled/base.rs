//! The base of a store: one file with its values as they were at one moment, in the order of their
//! keys, written once and never changed. It knows no document and no sled.
//!
//! ```text
//! 0      "syncline-base 1\n"
//! 16     blocks of about 32 KiB: entries, then a checksum (8) of the block and its place
//!        an entry: length of the key (2) and of the value (4), key, value
//!        the index, an entry for each block: length of a key (2), the first key, the block's
//!        place (8) and length (4)
//! -48    place (8) and length (8) of the index, number of entries (8), bytes of keys and values (8),
//!        checksum (8) of the index and these numbers, "base end"
//! ```
//! Numbers are little endian; checksums are the first 8 bytes of blake3.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use ::sled::IVec;

use super::tree::TreeError;

const MAGIC: &[u8; 16] = b"syncline-base 1\n";
const END: &[u8; 8] = b"base end";
const FOOTER_BYTES: u64 = 48;
const CHECKSUM_BYTES: usize = 8;
/// A block is closed when it has this much.
const BLOCK_BYTES: usize = 32 << 10;
/// No block is longer: the content of one value and a key are far below this.
const BLOCK_BYTES_MAX: u32 = 1 << 20;
/// Blocks that are kept after use: a reader goes through one value by value.
const BLOCKS_KEPT: usize = 64;

fn checksum(place: u64, content: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&place.to_le_bytes()).update(content);
    let mut out = [0; CHECKSUM_BYTES];
    out.copy_from_slice(&hasher.finalize().as_bytes()[..CHECKSUM_BYTES]);
    out
}

fn damaged(what: &str) -> TreeError {
    TreeError::Damaged(format!("the base file's {what}"))
}

/// Writes a base. Keys must come in ascending order.
#[derive(Debug)]
pub(super) struct BaseWriter {
    file: BufWriter<File>,
    at: u64,
    first: Vec<u8>,
    block: Vec<u8>,
    index: Vec<u8>,
    entries: u64,
    bytes: u64,
}

impl BaseWriter {
    pub(super) fn create(path: &Path) -> io::Result<Self> {
        let mut file = BufWriter::with_capacity(256 << 10, File::create(path)?);
        file.write_all(MAGIC)?;
        Ok(Self {
            file,
            at: MAGIC.len() as u64,
            first: Vec::new(),
            block: Vec::new(),
            index: Vec::new(),
            entries: 0,
            bytes: 0,
        })
    }

    pub(super) fn push(&mut self, key: &[u8], value: &[u8]) -> io::Result<()> {
        let too_long = |_| io::Error::new(io::ErrorKind::InvalidInput, "too long for a base");
        if self.block.is_empty() {
            key.clone_into(&mut self.first);
        }
        let key_bytes = u16::try_from(key.len()).map_err(too_long)?;
        let value_bytes = u32::try_from(value.len()).map_err(too_long)?;
        self.block.extend_from_slice(&key_bytes.to_le_bytes());
        self.block.extend_from_slice(&value_bytes.to_le_bytes());
        self.block.extend_from_slice(key);
        self.block.extend_from_slice(value);
        self.entries += 1;
        self.bytes += (key.len() + value.len()) as u64;
        if self.block.len() >= BLOCK_BYTES { self.close_block() } else { Ok(()) }
    }

    fn close_block(&mut self) -> io::Result<()> {
        if self.block.is_empty() {
            return Ok(());
        }
        let sum = checksum(self.at, &self.block);
        self.block.extend_from_slice(&sum);
        self.file.write_all(&self.block)?;
        let length = u32::try_from(self.block.len()).unwrap_or(u32::MAX);
        let key_bytes = u16::try_from(self.first.len()).unwrap_or(u16::MAX);
        self.index.extend_from_slice(&key_bytes.to_le_bytes());
        self.index.extend_from_slice(&self.first);
        self.index.extend_from_slice(&self.at.to_le_bytes());
        self.index.extend_from_slice(&length.to_le_bytes());
        self.at += u64::from(length);
        self.block.clear();
        Ok(())
    }

    /// Makes what was pushed so far durable, so that no sync has much to do at once.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        self.file.flush()?;
        self.file.get_ref().sync_data()
    }

    /// Closes the file, which is on disk when this returns; its name may not be.
    pub(super) fn finish(mut self) -> io::Result<()> {
        self.close_block()?;
        let mut footer = Vec::new();
        for number in [self.at, self.index.len() as u64, self.entries, self.bytes] {
            footer.extend_from_slice(&number.to_le_bytes());
        }
        self.index.extend_from_slice(&footer);
        self.file.write_all(&self.index)?;
        self.file.write_all(&checksum(self.at, &self.index))?;
        self.file.write_all(END)?;
        self.file.flush()?;
        self.file.get_ref().sync_all()
    }
}

#[derive(Debug)]
struct Place {
    first: Box<[u8]>,
    at: u64,
    length: u32,
}

/// A block's entries: where each begins, and the lengths of its key and value.
#[derive(Debug)]
struct Block {
    bytes: Vec<u8>,
    entries: Vec<(usize, usize, usize)>,
}

impl Block {
    fn key(&self, entry: usize) -> &[u8] {
        let (at, key, _) = self.entries[entry];
        &self.bytes[at..at + key]
    }

    fn value(&self, entry: usize) -> &[u8] {
        let (at, key, value) = self.entries[entry];
        &self.bytes[at + key..at + key + value]
    }

    /// How many of its entries have a key below this one.
    fn below(&self, key: &[u8]) -> usize {
        self.entries.partition_point(|(at, length, _)| &self.bytes[*at..at + length] < key)
    }
}

/// A base that is open for reading.
#[derive(Debug)]
pub(super) struct Base {
    file: File,
    places: Vec<Place>,
    kept: Mutex<VecDeque<(usize, Arc<Block>)>>,
    /// Number of values.
    pub(super) entries: u64,
    /// Length of the file.
    pub(super) file_bytes: u64,
}

impl Base {
    /// Opens a base and reads its index.
    pub(super) fn open(path: &Path) -> Result<Self, TreeError> {
        let file = File::open(path)?;
        let file_bytes = file.metadata()?.len();
        let footer_at = file_bytes.checked_sub(FOOTER_BYTES).ok_or_else(|| damaged("end"))?;
        let mut magic = [0; 16];
        read_at(&file, 0, &mut magic)?;
        let mut footer = [0; 48];
        read_at(&file, footer_at, &mut footer)?;
        if magic != *MAGIC || footer[40..] != *END {
            return Err(damaged("beginning or end is not a base's"));
        }
        let numbers: Vec<u64> =
            footer[..32].as_chunks::<8>().0.iter().map(|n| u64::from_le_bytes(*n)).collect();
        let [index_at, index_bytes, entries, _] = numbers[..] else { return Err(damaged("end")) };
        if index_at.checked_add(index_bytes) != Some(footer_at) {
            return Err(damaged("end"));
        }
        let length = usize::try_from(index_bytes).map_err(|_| damaged("index"))?;
        let mut index = vec![0; length];
        read_at(&file, index_at, &mut index)?;
        index.extend_from_slice(&footer[..32]);
        if footer[32..40] != checksum(index_at, &index) {
            return Err(damaged("index fails its checksum"));
        }
        let places = places(&index[..length]).ok_or_else(|| damaged("index does not decode"))?;
        Ok(Self { file, places, kept: Mutex::default(), entries, file_bytes })
    }

    fn block(&self, number: usize) -> Result<Arc<Block>, TreeError> {
        // Only whole pairs go in and out under it.
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, block)) = kept.iter().find(|(kept, _)| *kept == number) {
            return Ok(Arc::clone(block));
        }
        drop(kept);
        let block = Arc::new(self.read_block(&self.places[number])?);
        kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= BLOCKS_KEPT {
            kept.pop_front();
        }
        kept.push_back((number, Arc::clone(&block)));
        Ok(block)
    }

    fn read_block(&self, place: &Place) -> Result<Block, TreeError> {
        let wrong = |what: &str| damaged(&format!("block at {} {what}", place.at));
        let mut bytes = vec![0; place.length as usize];
        read_at(&self.file, place.at, &mut bytes)?;
        let content = bytes.len().checked_sub(CHECKSUM_BYTES).ok_or_else(|| wrong("is short"))?;
        if bytes[content..] != checksum(place.at, &bytes[..content]) {
            return Err(wrong("fails its checksum"));
        }
        bytes.truncate(content);
        let entries = entries(&bytes).ok_or_else(|| wrong("does not decode"))?;
        Ok(Block { bytes, entries })
    }

    pub(super) fn get(&self, key: &[u8]) -> Result<Option<IVec>, TreeError> {
        let after = self.places.partition_point(|place| &*place.first <= key);
        let Some(number) = after.checked_sub(1) else { return Ok(None) };
        let block = self.block(number)?;
        let entry = block.below(key);
        let found = entry < block.entries.len() && block.key(entry) == key;
        Ok(found.then(|| IVec::from(block.value(entry))))
    }

    /// The entries from `lo` on and below `hi`, ascending.
    pub(super) fn walk(&self, lo: &[u8], hi: &[u8]) -> Walk<'_> {
        let after = self.places.partition_point(|place| &*place.first <= lo);
        let number = after.saturating_sub(1);
        Walk {
            base: self,
            at: Start::From(number, lo.to_owned()),
            bound: hi.to_owned(),
            back: false,
        }
    }

    /// The same, descending.
    pub(super) fn walk_back(&self, lo: &[u8], hi: &[u8]) -> Walk<'_> {
        let after = self.places.partition_point(|place| &*place.first < hi);
        let at = match after.checked_sub(1) {
            None => Start::Over,
            Some(number) => Start::From(number, hi.to_owned()),
        };
        Walk { base: self, at, bound: lo.to_owned(), back: true }
    }
}

fn places(index: &[u8]) -> Option<Vec<Place>> {
    let mut places: Vec<Place> = Vec::new();
    let mut rest = index;
    while !rest.is_empty() {
        let (key_bytes, after) = rest.split_first_chunk::<2>()?;
        let (first, after) = after.split_at_checked(u16::from_le_bytes(*key_bytes).into())?;
        let (at, after) = after.split_first_chunk::<8>()?;
        let (length, after) = after.split_first_chunk::<4>()?;
        let length = u32::from_le_bytes(*length);
        if length > BLOCK_BYTES_MAX {
            return None;
        }
        places.push(Place { first: first.into(), at: u64::from_le_bytes(*at), length });
        rest = after;
    }
    Some(places)
}

fn entries(content: &[u8]) -> Option<Vec<(usize, usize, usize)>> {
    let mut entries = Vec::new();
    let mut rest = content;
    while !rest.is_empty() {
        let (key, after) = rest.split_first_chunk::<2>()?;
        let (value, after) = after.split_first_chunk::<4>()?;
        let (key, value) =
            (usize::from(u16::from_le_bytes(*key)), u32::from_le_bytes(*value) as usize);
        entries.push((content.len() - after.len(), key, value));
        rest = after.get(key.checked_add(value)?..)?;
    }
    Some(entries)
}

/// Where a walk stands.
#[derive(Debug)]
enum Start {
    /// In this block, at the key that it begins with or stays below.
    From(usize, Vec<u8>),
    /// In this block, before (or, going back, after) this entry.
    In(usize, Arc<Block>, usize),
    Over,
}

/// Entries of a base in order.
#[derive(Debug)]
pub(super) struct Walk<'a> {
    base: &'a Base,
    at: Start,
    bound: Vec<u8>,
    back: bool,
}

impl Walk<'_> {
    fn step(&mut self) -> Result<Option<(IVec, IVec)>, TreeError> {
        loop {
            let (number, block, entry) = match std::mem::replace(&mut self.at, Start::Over) {
                Start::Over => return Ok(None),
                Start::From(number, key) if number < self.base.places.len() => {
                    let block = self.base.block(number)?;
                    let entry = block.below(&key);
                    (number, block, entry)
                }
                Start::From(..) => return Ok(None),
                Start::In(number, block, entry) => (number, block, entry),
            };
            let there = if self.back { entry.checked_sub(1) } else { Some(entry) };
            let Some(there) = there.filter(|there| *there < block.entries.len()) else {
                let next = if self.back { number.checked_sub(1) } else { Some(number + 1) };
                if let Some(next) = next.filter(|next| *next < self.base.places.len()) {
                    let block = self.base.block(next)?;
                    let entry = if self.back { block.entries.len() } else { 0 };
                    self.at = Start::In(next, block, entry);
                }
                continue;
            };
            let key = block.key(there);
            let is_over = if self.back { key < &self.bound[..] } else { key >= &self.bound[..] };
            if is_over {
                return Ok(None);
            }
            let item = (IVec::from(key), IVec::from(block.value(there)));
            self.at = Start::In(number, block, if self.back { there } else { there + 1 });
            return Ok(Some(item));
        }
    }
}

impl Iterator for Walk<'_> {
    type Item = Result<(IVec, IVec), TreeError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.step().transpose()
    }
}

#[cfg(unix)]
fn read_at(file: &File, at: u64, bytes: &mut [u8]) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, bytes, at)
}

#[cfg(not(unix))]
fn read_at(file: &File, at: u64, bytes: &mut [u8]) -> io::Result<()> {
    use std::io::{Read as _, Seek as _, SeekFrom};
    // A handle has one place, so two readers must take turns.
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let mut file = file;
    file.seek(SeekFrom::Start(at))?;
    file.read_exact(bytes)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn write(path: &Path, values: &BTreeMap<Vec<u8>, Vec<u8>>) {
        let mut writer = BaseWriter::create(path).unwrap();
        for (key, value) in values {
            writer.push(key, value).unwrap();
        }
        writer.finish().unwrap();
    }

    fn values(count: u32) -> BTreeMap<Vec<u8>, Vec<u8>> {
        let value = |n: u32| vec![n.to_le_bytes()[0]; n as usize * 37 % 7_000];
        (0..count).map(|n| ((n * 2).to_be_bytes().to_vec(), value(n))).collect()
    }

    fn all(walk: Walk<'_>) -> Vec<(Vec<u8>, Vec<u8>)> {
        walk.map(|item| item.map(|(key, value)| (key.to_vec(), value.to_vec())).unwrap()).collect()
    }

    #[test]
    fn what_was_written_is_found_by_key_and_in_order_from_both_ends() {
        let dir = tempfile::tempdir().unwrap();
        for count in [0, 1, 2, 500] {
            let (path, values) = (dir.path().join("base"), values(count));
            write(&path, &values);
            let base = Base::open(&path).unwrap();
            assert_eq!(base.entries, u64::from(count));
            for n in 0..=2 * count + 1 {
                let key = n.to_be_bytes();
                let found = base.get(&key).unwrap().map(|value| value.to_vec());
                assert_eq!(found, values.get(&key[..]).cloned());
                for to in [0, n, n + 1, n + 90, u32::MAX] {
                    let hi = to.to_be_bytes().to_vec();
                    let expected: Vec<_> = values
                        .iter()
                        .filter(|(at, _)| at[..] >= key[..] && **at < hi)
                        .map(|(key, value)| (key.clone(), value.clone()))
                        .collect();
                    assert_eq!(all(base.walk(&key, &hi)), expected);
                    let backwards = expected.into_iter().rev().collect::<Vec<_>>();
                    assert_eq!(all(base.walk_back(&key, &hi)), backwards);
                }
            }
        }
    }

    #[test]
    fn a_changed_byte_and_a_cut_are_noticed_wherever_they_are() {
        let dir = tempfile::tempdir().unwrap();
        let (path, values) = (dir.path().join("base"), values(40));
        write(&path, &values);
        let bytes = std::fs::read(&path).unwrap();
        let is_sound = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            let Ok(base) = Base::open(&path) else { return false };
            base.walk(&[], &[0xff; 5]).all(|item| item.is_ok())
        };
        assert!(is_sound(&bytes));
        for at in (0..bytes.len()).step_by(101).chain(bytes.len() - 200..bytes.len()) {
            let mut bad = bytes.clone();
            bad[at] ^= 0x20;
            assert!(!is_sound(&bad), "byte {at}");
        }
        for length in (0..bytes.len()).step_by(997) {
            assert!(!is_sound(&bytes[..length]), "cut to {length}");
        }
    }
}
