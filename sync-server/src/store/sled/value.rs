//! The bytes of the values: each with a checksum that also covers its key, so that neither a
//! changed byte nor a value in another's place goes unnoticed. It knows no tree.

use syncline_engine::clock::Timestamp;
use syncline_engine::ids::{ChangeHash, Cursor, Epoch, EpochStart, Tip};
use syncline_engine::storage::Snapshot;

/// Content of one value. sled writes a page (up to 17 values here) that is larger than 128 KiB
/// into a file of its own, which it never syncs; values of this size keep every page below that.
pub(super) const CONTENT_BYTES_MAX: usize = 6 << 10;

/// What a value has beside its content.
pub(super) const CHECKSUM_BYTES: usize = 8;

fn checksum(key: &[u8], content: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&(key.len() as u64).to_le_bytes()).update(key).update(content);
    let mut out = [0; CHECKSUM_BYTES];
    out.copy_from_slice(&hasher.finalize().as_bytes()[..CHECKSUM_BYTES]);
    out
}

/// The value to store under `key`.
pub(super) fn seal(key: &[u8], content: &[u8]) -> Vec<u8> {
    let mut value = checksum(key, content).to_vec();
    value.extend_from_slice(content);
    value
}

/// The content of what was found under `key`; `None` if it is not what was stored there.
pub(super) fn unseal<'a>(key: &[u8], value: &'a [u8]) -> Option<&'a [u8]> {
    let (sum, content) = value.split_first_chunk::<CHECKSUM_BYTES>()?;
    (*sum == checksum(key, content)).then_some(content)
}

/// What stands before a record's bytes in its first part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RecordPrefix {
    /// Length of the record's bytes over all parts.
    pub(super) record_bytes: u64,
    /// Bytes of the changes in all records before this one since the tail was last empty. The
    /// difference between two records is what lies between them.
    pub(super) bytes_before: u64,
    /// Bytes of the changes in this record.
    pub(super) change_bytes: u64,
}

impl RecordPrefix {
    pub(super) const BYTES: usize = 24;

    pub(super) fn encode(self) -> Vec<u8> {
        let mut out = self.record_bytes.to_le_bytes().to_vec();
        out.extend_from_slice(&self.bytes_before.to_le_bytes());
        out.extend_from_slice(&self.change_bytes.to_le_bytes());
        out
    }

    /// Splits a first part's content into this and the beginning of the record.
    pub(super) fn split(content: &[u8]) -> Option<(Self, &[u8])> {
        let (record_bytes, rest) = number(content)?;
        let (bytes_before, rest) = number(rest)?;
        let (change_bytes, rest) = number(rest)?;
        Some((Self { record_bytes, bytes_before, change_bytes }, rest))
    }
}

/// What is stored once per document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Document {
    pub(super) epoch: Epoch,
    pub(super) snapshot: Option<SnapshotOutline>,
    /// The epochs before this one whose last snapshots are kept, the oldest first.
    pub(super) sealed: Vec<SealedOutline>,
}

/// Where the parts of a snapshot are and what they hold: body, index and attribution in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SnapshotOutline {
    /// Counts a document's snapshots, so that a new one never shares keys with the one before.
    pub(super) generation: u64,
    pub(super) seq: u64,
    pub(super) tip: Tip,
    pub(super) body_bytes: u64,
    pub(super) index_bytes: u64,
    pub(super) attribution_bytes: u64,
}

/// An epoch that has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SealedOutline {
    pub(super) epoch: Epoch,
    pub(super) last: SnapshotOutline,
    pub(super) start: EpochStart,
}

impl SnapshotOutline {
    pub(super) fn of(generation: u64, snapshot: &Snapshot) -> Self {
        Self {
            generation,
            seq: snapshot.cursor.seq,
            tip: snapshot.cursor.tip,
            body_bytes: snapshot.body.len() as u64,
            index_bytes: snapshot.index.len() as u64,
            attribution_bytes: snapshot.attribution.len() as u64,
        }
    }

    pub(super) const fn cursor(&self, epoch: Epoch) -> Cursor {
        Cursor { epoch, seq: self.seq, tip: self.tip }
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.tip.0);
        for number in
            [self.generation, self.seq, self.body_bytes, self.index_bytes, self.attribution_bytes]
        {
            out.extend_from_slice(&number.to_le_bytes());
        }
    }

    fn split(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let (tip, rest) = bytes.split_first_chunk::<16>()?;
        let (generation, rest) = number(rest)?;
        let (seq, rest) = number(rest)?;
        let (body_bytes, rest) = number(rest)?;
        let (index_bytes, rest) = number(rest)?;
        let (attribution_bytes, rest) = number(rest)?;
        let tip = Tip(*tip);
        Some((Self { generation, seq, tip, body_bytes, index_bytes, attribution_bytes }, rest))
    }
}

impl SealedOutline {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.epoch.0);
        self.last.encode(out);
        let EpochStart { cursor, head, at } = self.start;
        out.extend_from_slice(&cursor.epoch.0);
        out.extend_from_slice(&cursor.seq.to_le_bytes());
        out.extend_from_slice(&cursor.tip.0);
        out.extend_from_slice(&head.0);
        out.extend_from_slice(&at.0.to_le_bytes());
    }

    fn split(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let (epoch, rest) = bytes.split_first_chunk::<16>()?;
        let (last, rest) = SnapshotOutline::split(rest)?;
        let (next, rest) = rest.split_first_chunk::<16>()?;
        let (seq, rest) = number(rest)?;
        let (tip, rest) = rest.split_first_chunk::<16>()?;
        let (head, rest) = rest.split_first_chunk::<32>()?;
        let (at, rest) = number(rest)?;
        let cursor = Cursor { epoch: Epoch(*next), seq, tip: Tip(*tip) };
        let start = EpochStart { cursor, head: ChangeHash(*head), at: Timestamp(at) };
        Some((Self { epoch: Epoch(*epoch), last, start }, rest))
    }
}

/// Of documents that were never rolled over.
const FIRST_VERSION: u8 = 1;
/// The same with sealed epochs at the end.
const SECOND_VERSION: u8 = 2;

impl Document {
    /// One whose log has not begun.
    pub(super) const fn new(epoch: Epoch) -> Self {
        Self { epoch, snapshot: None, sealed: Vec::new() }
    }

    /// The highest generation of snapshots that are in use.
    pub(super) fn generation(&self) -> u64 {
        let sealed = self.sealed.iter().map(|sealed| sealed.last.generation);
        let all = sealed.chain(self.snapshot.iter().map(|snapshot| snapshot.generation));
        all.max().unwrap_or(0)
    }

    /// Whether the parts of a snapshot with this generation are in use.
    pub(super) fn uses(&self, generation: u64) -> bool {
        self.snapshot.is_some_and(|snapshot| snapshot.generation == generation)
            || self.sealed.iter().any(|sealed| sealed.last.generation == generation)
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let version = if self.sealed.is_empty() { FIRST_VERSION } else { SECOND_VERSION };
        let mut out = vec![version];
        out.extend_from_slice(&self.epoch.0);
        if let Some(snapshot) = &self.snapshot {
            snapshot.encode(&mut out);
        }
        for sealed in &self.sealed {
            sealed.encode(&mut out);
        }
        out
    }

    pub(super) fn decode(content: &[u8]) -> Option<Self> {
        let (version, rest) = content.split_first()?;
        let (epoch, mut rest) = rest.split_first_chunk::<16>()?;
        let mut document = Self::new(Epoch(*epoch));
        if !rest.is_empty() {
            let (snapshot, after) = SnapshotOutline::split(rest)?;
            document.snapshot = Some(snapshot);
            rest = after;
        }
        while *version == SECOND_VERSION && !rest.is_empty() {
            let (sealed, after) = SealedOutline::split(rest)?;
            document.sealed.push(sealed);
            rest = after;
        }
        (rest.is_empty() && matches!(*version, FIRST_VERSION | SECOND_VERSION)).then_some(document)
    }
}

fn number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (number, rest) = bytes.split_first_chunk::<8>()?;
    Some((u64::from_le_bytes(*number), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_under_another_key_or_with_another_byte_is_refused() {
        let value = seal(b"key", b"content");
        assert_eq!(unseal(b"key", &value), Some(&b"content"[..]));
        assert_eq!(unseal(b"kez", &value), None);
        for at in 0..value.len() {
            let mut bad = value.clone();
            bad[at] ^= 0x10;
            assert_eq!(unseal(b"key", &bad), None, "byte {at}");
        }
        assert_eq!(unseal(b"key", &value[..value.len() - 1]), None);
    }

    #[test]
    fn a_documents_value_reads_back_with_and_without_a_snapshot() {
        let bare = Document::new(Epoch([4; 16]));
        let snapshot = SnapshotOutline {
            generation: 1,
            seq: 2,
            tip: Tip([3; 16]),
            body_bytes: 4,
            index_bytes: 5,
            attribution_bytes: 6,
        };
        let cursor = Cursor { epoch: Epoch([8; 16]), seq: 9, tip: Tip([10; 16]) };
        let start = EpochStart { cursor, head: ChangeHash([11; 32]), at: Timestamp(12) };
        let sealed = SealedOutline { epoch: Epoch([7; 16]), last: snapshot, start };
        let mut with_snapshot = bare.clone();
        with_snapshot.snapshot = Some(snapshot);
        let mut rolled = with_snapshot.clone();
        rolled.sealed = vec![sealed, sealed];
        for document in [bare, with_snapshot, rolled] {
            let bytes = document.encode();
            assert_eq!(Document::decode(&bytes).as_ref(), Some(&document));
            assert_ne!(Document::decode(&bytes[..bytes.len() - 1]).as_ref(), Some(&document));
        }
    }
}
