//! The bytes of the values: each with a checksum that also covers its key, so that neither a
//! changed byte nor a value in another's place goes unnoticed. It knows no tree.

use syncline_engine::ids::{Cursor, Epoch, Tip};

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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Document {
    pub(super) epoch: Epoch,
    pub(super) snapshot: Option<SnapshotOutline>,
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

impl SnapshotOutline {
    pub(super) const fn cursor(&self, epoch: Epoch) -> Cursor {
        Cursor { epoch, seq: self.seq, tip: self.tip }
    }
}

const DOCUMENT_VERSION: u8 = 1;

impl Document {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = vec![DOCUMENT_VERSION];
        out.extend_from_slice(&self.epoch.0);
        if let Some(snapshot) = &self.snapshot {
            out.extend_from_slice(&snapshot.tip.0);
            for number in [
                snapshot.generation,
                snapshot.seq,
                snapshot.body_bytes,
                snapshot.index_bytes,
                snapshot.attribution_bytes,
            ] {
                out.extend_from_slice(&number.to_le_bytes());
            }
        }
        out
    }

    pub(super) fn decode(content: &[u8]) -> Option<Self> {
        let rest = content.strip_prefix(&[DOCUMENT_VERSION])?;
        let (epoch, rest) = rest.split_first_chunk::<16>()?;
        let epoch = Epoch(*epoch);
        if rest.is_empty() {
            return Some(Self { epoch, snapshot: None });
        }
        let (tip, rest) = rest.split_first_chunk::<16>()?;
        let (generation, rest) = number(rest)?;
        let (seq, rest) = number(rest)?;
        let (body_bytes, rest) = number(rest)?;
        let (index_bytes, rest) = number(rest)?;
        let (attribution_bytes, rest) = number(rest)?;
        let tip = Tip(*tip);
        let snapshot =
            SnapshotOutline { generation, seq, tip, body_bytes, index_bytes, attribution_bytes };
        rest.is_empty().then_some(Self { epoch, snapshot: Some(snapshot) })
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
        let bare = Document { epoch: Epoch([4; 16]), snapshot: None };
        let snapshot = SnapshotOutline {
            generation: 1,
            seq: 2,
            tip: Tip([3; 16]),
            body_bytes: 4,
            index_bytes: 5,
            attribution_bytes: 6,
        };
        for document in [bare, Document { snapshot: Some(snapshot), ..bare }] {
            let bytes = document.encode();
            assert_eq!(Document::decode(&bytes), Some(document));
            assert_eq!(Document::decode(&bytes[..bytes.len() - 1]), None);
        }
    }
}
