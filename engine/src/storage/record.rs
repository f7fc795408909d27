//! The bytes of a stored [`Record`] and the running digest of a log. Pure: no store is known here,
//! and nothing about what a change contains beyond how automerge names it.
//!
//! A record's bytes, numbers little endian, *varint* meaning LEB128 in its shortest form:
//!
//! ```text
//! 0   version, 1
//! 1   checksum: the first 8 bytes of blake3 over the version and everything after the checksum
//! 9   first_seq (8), number of entries (4), tip_before (16), tip (16)
//! 53  authors: varint count, then each: length (1), name
//!     outboxes: varint count, then each: id (16)
//!     entries, each: varint author; varint time since the entry before (zigzag, the first since
//!     0); varint 0 or outbox + 1, then, if there is one, varint number; varint length, change
//! ```
//!
//! A change's hash is not stored: it is SHA-256 over the chunk after its magic and checksum.

use std::fmt;

use bytes::Bytes;
use sha2::{Digest, Sha256};

use crate::clock::Timestamp;
use crate::ids::{Address, ChangeHash, OutboxId, Tip, UserId};
use crate::limits::NAME_BYTES_MAX;
use crate::storage::{CommandRef, Entry, Record};

/// The version byte.
pub const VERSION: u8 = 1;
/// Bytes before the authors table; [`peek`] needs no more.
pub const HEAD_BYTES: usize = 53;

const CHECKSUM_AT: usize = 1;
const BODY_AT: usize = 9;
/// Magic (4) and checksum (4) of an automerge chunk, which its hash does not cover.
const CHUNK_PREFIX_BYTES: usize = 8;
/// The fewest bytes that an entry takes: four varints and an empty chunk.
const ENTRY_BYTES_MIN: usize = 4 + CHUNK_PREFIX_BYTES;

/// Bytes are not a record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// Too short for the fixed part.
    #[error("the record ends before its head does")]
    Short,
    /// Written by another version.
    #[error("the record is of version {0}")]
    Version(u8),
    /// A byte is not what was written.
    #[error("the record's checksum does not match")]
    Checksum,
    /// The checksum is right and the content is not: it was never a record.
    #[error("the record's {0} does not decode")]
    Malformed(&'static str),
}

/// The fixed part of a record's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordHead {
    /// The seq of the first entry.
    pub first_seq: u64,
    /// The seq of the last entry.
    pub last_seq: u64,
    /// The digest of the log before the first entry.
    pub tip_before: Tip,
    /// The digest after the last entry.
    pub tip: Tip,
}

/// The secret under which a store's tips are made. Only who holds it can make or check one.
#[derive(Clone, PartialEq, Eq)]
pub struct DigestKey(pub [u8; 32]);

impl fmt::Debug for DigestKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DigestKey(..)")
    }
}

/// The digest of a log after `entry`, from the digest before it: keyed blake3 over everything that
/// the entry says, cut to 16 bytes.
#[must_use]
pub fn advance(key: &DigestKey, tip: Tip, entry: &Entry) -> Tip {
    let mut hasher = blake3::Hasher::new_keyed(&key.0);
    hasher.update(&tip.0).update(&entry.hash.0).update(&entry.at.0.to_le_bytes());
    match &entry.command {
        None => hasher.update(&[0]),
        Some(command) => {
            hasher.update(&[1]).update(&command.outbox.0).update(&command.number.to_le_bytes())
        }
    };
    // Last, because it is the only part without a fixed length.
    hasher.update(entry.author.as_str().as_bytes());
    let mut out = [0; 16];
    out.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    Tip(out)
}

/// A proof that a document had certain heads, and with them everything that they build on: only who
/// holds the key can have made it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seal(pub [u8; 16]);

/// The proof that a document had these heads: keyed blake3 over its address and its heads in the order
/// of their hashes, cut to 16 bytes.
#[must_use]
pub fn seal(
    key: &DigestKey,
    address: &Address,
    heads: impl IntoIterator<Item = ChangeHash>,
) -> Seal {
    let mut hasher = blake3::Hasher::new_keyed(&key.0);
    // Heads have a fixed length, so this ends before the address begins.
    hasher.update(b"heads\0");
    let mut count = 0_u64;
    for head in heads {
        hasher.update(&head.0);
        count += 1;
    }
    hasher.update(&count.to_le_bytes()).update(address.to_string().as_bytes());
    let mut out = [0; 16];
    out.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    Seal(out)
}

/// The hash by which automerge names a change; `None` if the bytes are too short for a chunk.
fn hash_of(change: &[u8]) -> Option<ChangeHash> {
    let hashed = change.get(CHUNK_PREFIX_BYTES..)?;
    Some(ChangeHash(Sha256::digest(hashed).into()))
}

fn checksum(version: u8, body: &[u8]) -> [u8; 8] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&[version]).update(body);
    let mut out = [0; 8];
    out.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
    out
}

/// The bytes to store for a record.
///
/// # Panics
/// If the record has no entries or a change does not have the hash that its entry says: the record
/// could not be read again, so it must not be acknowledged.
#[must_use]
pub fn encode(record: &Record) -> Vec<u8> {
    assert!(!record.entries.is_empty(), "a record has at least one entry");
    let mut authors: Vec<&UserId> = Vec::new();
    let mut outboxes: Vec<OutboxId> = Vec::new();
    let mut entries = Vec::new();
    let mut at_before = 0_u64;
    for entry in &record.entries {
        assert_eq!(hash_of(&entry.change), Some(entry.hash), "an entry's hash is its change's");
        put_varint(&mut entries, place(&mut authors, &entry.author));
        put_varint(&mut entries, zigzag(entry.at.0.wrapping_sub(at_before)));
        at_before = entry.at.0;
        match entry.command {
            None => put_varint(&mut entries, 0),
            Some(command) => {
                put_varint(&mut entries, place(&mut outboxes, command.outbox) + 1);
                put_varint(&mut entries, command.number);
            }
        }
        put_varint(&mut entries, entry.change.len() as u64);
        entries.extend_from_slice(&entry.change);
    }

    let mut out = Vec::with_capacity(HEAD_BYTES + 64 + entries.len());
    out.push(VERSION);
    out.extend_from_slice(&[0; BODY_AT - CHECKSUM_AT]);
    out.extend_from_slice(&record.first_seq.to_le_bytes());
    let count = u32::try_from(record.entries.len()).expect("a commit has fewer than 2^32 changes");
    out.extend_from_slice(&count.to_le_bytes());
    out.extend_from_slice(&record.tip_before.0);
    out.extend_from_slice(&record.tip.0);
    put_varint(&mut out, authors.len() as u64);
    for author in authors {
        let name = author.as_str().as_bytes();
        out.push(u8::try_from(name.len()).expect("a user name is checked when it is made"));
        out.extend_from_slice(name);
    }
    put_varint(&mut out, outboxes.len() as u64);
    for outbox in outboxes {
        out.extend_from_slice(&outbox.0);
    }
    out.extend_from_slice(&entries);
    let sum = checksum(VERSION, &out[BODY_AT..]);
    out[CHECKSUM_AT..BODY_AT].copy_from_slice(&sum);
    out
}

/// The index of `value` in `table`, after adding it if it is not there. A commit has few distinct
/// authors, so looking through them beats hashing.
fn place<T: PartialEq>(table: &mut Vec<T>, value: impl Into<T>) -> u64 {
    let value = value.into();
    let at = table.iter().rposition(|known| *known == value).unwrap_or_else(|| {
        table.push(value);
        table.len() - 1
    });
    at as u64
}

/// Reads the fixed part from the beginning of a record's bytes, which need not be complete. The
/// checksum is not looked at: the caller must know that these bytes are sound.
///
/// # Errors
/// [`RecordError`] if it is not the beginning of a record of this version.
pub fn peek(bytes: &[u8]) -> Result<RecordHead, RecordError> {
    let mut input = Input(bytes);
    let version = input.byte().ok_or(RecordError::Short)?;
    if version != VERSION {
        return Err(RecordError::Version(version));
    }
    let _checksum: [u8; 8] = input.array().ok_or(RecordError::Short)?;
    let first_seq = u64::from_le_bytes(input.array().ok_or(RecordError::Short)?);
    let count = u32::from_le_bytes(input.array().ok_or(RecordError::Short)?);
    let tip_before = Tip(input.array().ok_or(RecordError::Short)?);
    let tip = Tip(input.array().ok_or(RecordError::Short)?);
    let last_seq = u64::from(count)
        .checked_sub(1)
        .and_then(|more| first_seq.checked_add(more))
        .filter(|_| first_seq > 0)
        .ok_or(RecordError::Malformed("range of seqs"))?;
    Ok(RecordHead { first_seq, last_seq, tip_before, tip })
}

/// Reads a record back. Time and memory are bounded by the length of `bytes`.
///
/// # Errors
/// [`RecordError`] if the bytes are not exactly what [`encode`] made.
pub fn decode(bytes: &[u8]) -> Result<Record, RecordError> {
    let head = peek(bytes)?;
    if bytes[CHECKSUM_AT..BODY_AT] != checksum(VERSION, &bytes[BODY_AT..]) {
        return Err(RecordError::Checksum);
    }
    // One copy for all changes; the entries share it.
    let whole = Bytes::copy_from_slice(bytes);
    let mut input = Input(&whole[HEAD_BYTES..]);
    let authors = authors(&mut input).ok_or(RecordError::Malformed("table of authors"))?;
    let outboxes = outboxes(&mut input).ok_or(RecordError::Malformed("table of outboxes"))?;
    let count = head.last_seq - head.first_seq + 1;
    if count > (input.0.len() / ENTRY_BYTES_MIN) as u64 {
        return Err(RecordError::Malformed("number of entries"));
    }
    let mut entries = Vec::new();
    let mut at = 0;
    for _ in 0..count {
        let entry = entry(&mut input, &whole, &authors, &outboxes, at)
            .ok_or(RecordError::Malformed("entry"))?;
        at = entry.at.0;
        entries.push(entry);
    }
    if !input.0.is_empty() {
        return Err(RecordError::Malformed("end"));
    }
    Ok(Record { first_seq: head.first_seq, tip_before: head.tip_before, tip: head.tip, entries })
}

fn authors(input: &mut Input<'_>) -> Option<Vec<UserId>> {
    let count = input.varint()?;
    let mut table = Vec::new();
    for _ in 0..count {
        let length = usize::from(input.byte()?);
        if length > NAME_BYTES_MAX {
            return None;
        }
        let name = std::str::from_utf8(input.take(length)?).ok()?;
        table.push(UserId::new(name).ok()?);
    }
    Some(table)
}

fn outboxes(input: &mut Input<'_>) -> Option<Vec<OutboxId>> {
    let count = input.varint()?;
    let mut table = Vec::new();
    for _ in 0..count {
        table.push(OutboxId(input.array()?));
    }
    Some(table)
}

fn entry(
    input: &mut Input<'_>,
    whole: &Bytes,
    authors: &[UserId],
    outboxes: &[OutboxId],
    at_before: u64,
) -> Option<Entry> {
    let author = authors.get(usize::try_from(input.varint()?).ok()?)?.clone();
    let at = Timestamp(at_before.wrapping_add(unzigzag(input.varint()?)));
    let command = match input.varint()?.checked_sub(1) {
        None => None,
        Some(place) => Some(CommandRef {
            outbox: *outboxes.get(usize::try_from(place).ok()?)?,
            number: input.varint()?,
        }),
    };
    let length = usize::try_from(input.varint()?).ok()?;
    let change = input.take(length)?;
    Some(Entry { author, at, command, hash: hash_of(change)?, change: whole.slice_ref(change) })
}

/// A difference as a number that is small if the difference is, in either direction.
const fn zigzag(difference: u64) -> u64 {
    let signed = difference.cast_signed();
    ((signed << 1) ^ (signed >> 63)).cast_unsigned()
}

const fn unzigzag(number: u64) -> u64 {
    (number >> 1) ^ (number & 1).wrapping_neg()
}

fn put_varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    out.push((number & 0x7f) as u8);
}

/// What is left to read.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn byte(&mut self) -> Option<u8> {
        self.array().map(|[byte]| byte)
    }

    /// Reads the shortest form only, so that one record has one spelling.
    fn varint(&mut self) -> Option<u64> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return None;
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                return (byte != 0 || shift == 0).then_some(number);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VECTORS: &str = include_str!("../../vectors/record.hex");

    fn entry(author: &str, at: u64, command: Option<(u8, u64)>, content: &[u8]) -> Entry {
        let mut change = vec![0x85, 0x6f, 0x4a, 0x83, 1, 2, 3, 4];
        change.extend_from_slice(content);
        Entry {
            author: UserId::new(author).unwrap(),
            at: Timestamp(at),
            command: command
                .map(|(outbox, number)| CommandRef { outbox: OutboxId([outbox; 16]), number }),
            hash: hash_of(&change).unwrap(),
            change: change.into(),
        }
    }

    fn key() -> DigestKey {
        DigestKey(std::array::from_fn(|i| u8::try_from(i).unwrap()))
    }

    fn record() -> Record {
        let entries = vec![
            entry("ada", 1_700_000_000_000, Some((7, 1)), b"first"),
            entry("ada", 1_700_000_000_000, Some((7, 2)), b"second"),
            entry("bob", 1_699_999_999_990, Some((8, 300)), &[9; 200]),
            entry("server", 1_700_000_000_005, None, b""),
        ];
        let tip_before = Tip([5; 16]);
        let tip = entries.iter().fold(tip_before, |tip, entry| advance(&key(), tip, entry));
        Record { first_seq: 41, tip_before, tip, entries }
    }

    fn vector(name: &str) -> Vec<u8> {
        let line = VECTORS.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        hex::decode(line.trim()).unwrap()
    }

    #[test]
    fn a_record_and_its_tips_have_the_bytes_of_the_golden_vector() {
        assert_eq!(hex::encode(encode(&record())), hex::encode(vector("record ")));
        assert_eq!(decode(&vector("record ")), Ok(record()));
        let first = advance(&key(), Tip::EMPTY, &record().entries[0]);
        let merge = advance(&key(), Tip::EMPTY, &record().entries[3]);
        assert_eq!(hex::encode(first.0), hex::encode(vector("tip-of-a-command ")));
        assert_eq!(hex::encode(merge.0), hex::encode(vector("tip-of-a-merge ")));
    }

    #[test]
    fn a_changed_byte_anywhere_is_noticed() {
        let good = encode(&record());
        for at in 0..good.len() {
            for flip in [1, 0x80, 0xff] {
                let mut bad = good.clone();
                bad[at] ^= flip;
                assert!(decode(&bad).is_err(), "byte {at} ^ {flip}");
            }
        }
    }

    #[test]
    fn a_cut_or_longer_record_is_noticed() {
        let good = encode(&record());
        for length in 0..good.len() {
            assert!(decode(&good[..length]).is_err(), "{length} bytes");
        }
        let mut longer = good;
        longer.push(0);
        assert_eq!(decode(&longer), Err(RecordError::Checksum));
    }

    #[test]
    fn the_head_is_read_from_the_first_bytes_alone() {
        let bytes = encode(&record());
        let head = peek(&bytes[..HEAD_BYTES]).unwrap();
        let RecordHead { first_seq, last_seq, tip_before, tip } = head;
        assert_eq!((first_seq, last_seq), (41, 44));
        assert_eq!((tip_before, tip), (record().tip_before, record().tip));
        assert_eq!(peek(&bytes[..HEAD_BYTES - 1]), Err(RecordError::Short));
    }

    #[test]
    fn a_tip_depends_on_everything_that_the_entry_says() {
        let base = entry("ada", 5, Some((1, 1)), b"x");
        let others = [
            entry("adb", 5, Some((1, 1)), b"x"),
            entry("ada", 6, Some((1, 1)), b"x"),
            entry("ada", 5, Some((2, 1)), b"x"),
            entry("ada", 5, Some((1, 2)), b"x"),
            entry("ada", 5, None, b"x"),
            entry("ada", 5, Some((1, 1)), b"y"),
        ];
        let tip = advance(&key(), Tip::EMPTY, &base);
        for other in others {
            assert_ne!(advance(&key(), Tip::EMPTY, &other), tip, "{other:?}");
        }
        assert_ne!(advance(&DigestKey([0; 32]), Tip::EMPTY, &base), tip);
        assert_ne!(advance(&key(), Tip([1; 16]), &base), tip);
    }

    /// Puts the right checksum on arbitrary bytes, to get past it.
    fn with_checksum(mut bytes: Vec<u8>) -> Vec<u8> {
        if bytes.len() >= BODY_AT {
            bytes[0] = VERSION;
            let sum = checksum(VERSION, &bytes[BODY_AT..]);
            bytes[CHECKSUM_AT..BODY_AT].copy_from_slice(&sum);
        }
        bytes
    }

    proptest::proptest! {
        #[test]
        fn what_was_encoded_decodes_to_the_same(
            entries in proptest::collection::vec(
                ("[a-z]{1,8}", proptest::num::u64::ANY,
                 proptest::option::of((0_u8..4, proptest::num::u64::ANY)),
                 proptest::collection::vec(proptest::num::u8::ANY, 0..64)),
                1..20,
            ),
            first_seq in 1_u64..u64::MAX - 20,
        ) {
            let entries: Vec<Entry> = entries
                .iter()
                .map(|(author, at, command, content)| entry(author, *at, *command, content))
                .collect();
            let record = Record { first_seq, tip_before: Tip([1; 16]), tip: Tip([2; 16]), entries };
            proptest::prop_assert_eq!(decode(&encode(&record)), Ok(record));
        }

        #[test]
        fn arbitrary_bytes_behind_a_right_checksum_do_not_panic(
            bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..300),
        ) {
            let _ = decode(&with_checksum(bytes));
        }

        #[test]
        fn a_mangled_record_behind_a_right_checksum_decodes_to_its_own_bytes_or_not_at_all(
            at in 9_usize..200, to in proptest::num::u8::ANY,
        ) {
            let mut bytes = encode(&record());
            bytes[at] = to;
            let bytes = with_checksum(bytes);
            if let Ok(read) = decode(&bytes) {
                // A table may hold what no entry names, or in another order; all else is one spelling.
                proptest::prop_assert_eq!(decode(&encode(&read)), Ok(read));
            }
        }
    }
}
