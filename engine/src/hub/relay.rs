//! What goes out to followers: log entries cut into frames, and the ring of recent frames that
//! serves those who are a little behind. Knows no connection.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use super::Handle;
use crate::ids::{Tip, UserId};
use crate::limits::PART_BYTES_MAX;
use crate::storage::record::{DigestKey, Seal, advance};
use crate::storage::{Entry, Record};
use crate::wire::frame::{Blob, Changes, ServerFrame, WireEntry};
use crate::wire::pack;

/// What an entry takes beside its change, at most: a new author's name and three integers.
const ENTRY_BYTES: usize = 96;

/// An encoded part of a document's log.
#[derive(Debug, Clone)]
pub(super) struct Part {
    pub(super) first_seq: u64,
    pub(super) last_seq: u64,
    pub(super) message: Bytes,
}

/// How entries become frames.
#[derive(Debug, Clone, Copy)]
pub(super) struct Press<'a> {
    pub(super) handle: Handle,
    pub(super) key: &'a DigestKey,
    /// Whether frames are deflated where that pays: for one reader who is behind, not for the many
    /// who wait for a few bytes.
    pub(super) packed: bool,
    /// What goes into the last frame: a proof of the document's heads after it.
    pub(super) seal: Option<Seal>,
}

/// Consecutive entries that will be one frame.
#[derive(Default)]
struct Piece<'a> {
    first_seq: u64,
    last_seq: u64,
    tip: Option<Tip>,
    entries: Vec<&'a Entry>,
    bytes: usize,
}

impl<'a> Piece<'a> {
    fn add(&mut self, seq: u64, entry: &'a Entry) {
        if self.entries.is_empty() {
            self.first_seq = seq;
        }
        self.last_seq = seq;
        self.bytes += entry.change.len() + ENTRY_BYTES;
        self.entries.push(entry);
    }
}

impl Press<'_> {
    /// Encodes the entries of consecutive records that lie after `after` and up to `until`, in
    /// frames of about [`PART_BYTES_MAX`]. Empty if the records do not hold `after + 1`.
    pub(super) fn parts(self, records: &[Record], after: u64, until: u64) -> Vec<Part> {
        let mut parts = Vec::new();
        let mut piece = Piece::default();
        let mut next = after + 1;
        for record in records {
            if record.last_seq() < next || record.last_seq() > until {
                continue;
            }
            if record.first_seq > next {
                break;
            }
            let bytes: usize = record.entries.iter().map(|e| e.change.len() + ENTRY_BYTES).sum();
            let large = bytes > PART_BYTES_MAX;
            if !piece.entries.is_empty() && piece.bytes + bytes > PART_BYTES_MAX {
                parts.push(self.encode(std::mem::take(&mut piece), None));
            }
            let mut tip = record.tip_before;
            for (seq, entry) in (record.first_seq..).zip(&record.entries) {
                if large {
                    tip = advance(self.key, tip, entry);
                }
                if seq < next {
                    continue;
                }
                piece.add(seq, entry);
                if large && piece.bytes > PART_BYTES_MAX {
                    piece.tip = Some(tip);
                    parts.push(self.encode(std::mem::take(&mut piece), None));
                }
            }
            piece.tip = Some(record.tip);
            next = record.last_seq() + 1;
        }
        if !piece.entries.is_empty() {
            parts.push(self.encode(piece, self.seal));
        }
        parts
    }

    fn encode(self, piece: Piece<'_>, seal: Option<Seal>) -> Part {
        let Piece { first_seq, last_seq, tip, entries, .. } = piece;
        let mut places: BTreeMap<&UserId, u16> = BTreeMap::new();
        let mut authors = Vec::new();
        let mut out = Vec::with_capacity(entries.len());
        for entry in entries {
            let author = *places.entry(&entry.author).or_insert_with(|| {
                authors.push(entry.author.as_str().to_owned());
                // A piece has far fewer entries than this: each takes `ENTRY_BYTES` of it.
                u16::try_from(authors.len() - 1).unwrap_or(u16::MAX)
            });
            let change = Blob(entry.change.clone());
            out.push(WireEntry { author, at_ms: entry.at.0, change });
        }
        let tip = tip.unwrap_or(Tip::EMPTY).0;
        let (handle, seal) = (self.handle, seal.map(|seal| seal.0));
        let changes = Changes { handle, first_seq, tip, seal, authors, entries: out };
        let packed = if self.packed { pack(&changes) } else { None };
        let frame = packed.map_or_else(|| ServerFrame::from(changes), ServerFrame::from);
        // At most a part and one change more, and less than `ENTRY_BYTES` beside each.
        let message = frame.encode().expect("a part is cut well below a frame");
        Part { first_seq, last_seq, message }
    }
}

/// The most recent parts of a log, consecutive, bounded in bytes.
#[derive(Debug, Default)]
pub(super) struct Ring {
    parts: VecDeque<Part>,
    bytes: usize,
}

impl Ring {
    pub(super) fn push(&mut self, part: Part, bytes_max: usize) {
        self.bytes += part.message.len();
        self.parts.push_back(part);
        while self.bytes > bytes_max
            && let Some(oldest) = self.parts.pop_front()
        {
            self.bytes -= oldest.message.len();
        }
    }

    /// The part that begins right after `seq`.
    pub(super) fn after(&self, seq: u64) -> Option<&Part> {
        let place = self.parts.binary_search_by_key(&(seq + 1), |part| part.first_seq).ok()?;
        self.parts.get(place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::ids::ChangeHash;

    fn records(sizes: &[&[usize]], key: &DigestKey) -> Vec<Record> {
        let (mut seq, mut tip) = (1, Tip::EMPTY);
        let mut all = Vec::new();
        for sizes in sizes {
            let (first_seq, tip_before) = (seq, tip);
            let mut entries = Vec::new();
            for size in *sizes {
                let entry = Entry {
                    author: UserId::new(&format!("user{}", seq % 3)).unwrap(),
                    at: Timestamp(seq),
                    command: None,
                    hash: ChangeHash([u8::try_from(seq).unwrap(); 32]),
                    change: (0..*size).map(|i| i.to_le_bytes()[0]).collect::<Vec<_>>().into(),
                };
                tip = advance(key, tip, &entry);
                entries.push(entry);
                seq += 1;
            }
            all.push(Record { first_seq, tip_before, tip, entries });
        }
        all
    }

    fn decode(part: &Part) -> Changes {
        let frame = ServerFrame::decode(&part.message).unwrap();
        if let ServerFrame::PackedChanges(packed) = &frame {
            return crate::wire::unpack(packed).unwrap();
        }
        let ServerFrame::Changes(changes) = frame else { panic!("{}", frame.name()) };
        changes
    }

    #[test]
    fn frames_follow_each_other_and_carry_the_tip_at_their_end() {
        let key = super::super::tests::key();
        let big = [60_000; 12];
        let records = records(&[&[10, 20], &[30], &big, &[5], &[6, 7]], &key);
        let mut tips = vec![Tip::EMPTY];
        for entry in records.iter().flat_map(|r| &r.entries) {
            tips.push(advance(&key, tips[tips.len() - 1], entry));
        }
        for packed in [false, true] {
            for after in 0..17 {
                let press = Press { handle: 4, key: &key, packed, seal: None };
                let parts = press.parts(&records, after, 16);
                let mut next = after + 1;
                for part in &parts {
                    let changes = decode(part);
                    assert_eq!((changes.first_seq, part.first_seq), (next, next));
                    next += changes.entries.len() as u64;
                    assert_eq!(part.last_seq, next - 1);
                    assert_eq!(changes.tip, tips[usize::try_from(next - 1).unwrap()].0);
                    for (seq, entry) in (changes.first_seq..).zip(&changes.entries) {
                        assert_eq!(entry.at_ms, seq);
                        assert_eq!(
                            changes.authors[usize::from(entry.author)],
                            format!("user{}", seq % 3)
                        );
                    }
                }
                // What is above 16 belongs to a record that is not wholly allowed yet.
                assert_eq!(next, after.max(16) + 1);
            }
        }
    }

    #[test]
    fn the_ring_forgets_the_oldest() {
        let mut ring = Ring::default();
        for seq in 1..=5 {
            let message = Bytes::from_static(&[0; 40]);
            ring.push(Part { first_seq: seq, last_seq: seq, message }, 100);
        }
        assert!(ring.after(2).is_none());
        assert_eq!(ring.after(3).map(|p| p.first_seq), Some(4));
        assert!(ring.after(5).is_none());
    }
}
