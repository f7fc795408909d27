//! The suite that every [`LogStore`] must pass, and the made-up logs that it is run with. It knows
//! the trait and nothing of any store; it panics where a store breaks its word.

use bytes::Bytes;
use sha2::{Digest, Sha256};

use crate::clock::Timestamp;
use crate::ids::{Address, ChangeHash, Cursor, Epoch, EpochStart, Facet, OutboxId, Tip, UserId};
use crate::storage::record::{DigestKey, advance};
use crate::storage::{
    Append, CommandRef, Deletion, Entry, LogHead, LogStore, Record, Rollover, Snapshot,
    SnapshotHead, StoreError,
};

mod posts;

/// Runs the whole suite. `open` opens the store, the same one each time; it is empty at first, and
/// what an earlier call gave is dropped before the next.
///
/// # Panics
/// If the store does not keep the contract of [`LogStore`].
pub fn check(open: &mut dyn FnMut() -> Box<dyn LogStore>) {
    an_unknown_document_has_nothing(&*open());
    what_is_appended_is_read_back(open);
    reading_starts_in_the_record_that_holds_the_seq(&*open());
    a_conflict_leaves_the_whole_batch_unwritten(open);
    a_batch_may_continue_a_log_twice(&*open());
    names_that_begin_alike_are_kept_apart(&*open());
    large_records_come_back_whole(open);
    a_snapshot_is_read_in_parts(open);
    a_snapshot_drops_only_what_lies_wholly_before(open);
    a_fully_truncated_log_goes_on(open);
    a_snapshot_must_end_at_a_record(&*open());
    an_epoch_ends_and_its_last_snapshot_stays(open);
    documents_are_listed_in_order(open);
    posts::summaries_are_kept_by_post_and_listed_by_activity(open);
    posts::a_conflict_leaves_summaries_as_they_were(open);
    posts::snapshots_and_the_ends_of_epochs_leave_summaries(open);
    posts::older_documents_are_summarised_unless_something_newer_is_there(open);
    posts::long_lists_are_read_in_pages(open);
    a_deletion_is_kept_until_it_is_taken_back(open);
}

fn a_deletion_is_kept_until_it_is_taken_back(open: &mut dyn FnMut() -> Box<dyn LogStore>) {
    let (space, other) = ("deleted", "deleted.x");
    let noted = |open: &mut dyn FnMut() -> Box<dyn LogStore>, space: &str| {
        open().deletion(space).expect("a read")
    };
    assert_eq!(noted(open, space), None);
    let begun = Deletion { at: Timestamp(7), emptied: false };
    open().set_deletion(space, Some(begun)).expect("a note");
    assert_eq!(noted(open, space), Some(begun));
    let done = Deletion { at: Timestamp(9), emptied: true };
    open().set_deletion(space, Some(done)).expect("a note");
    assert_eq!((noted(open, space), noted(open, other)), (Some(done), None));
    open().set_deletion(other, Some(begun)).expect("a note");
    open().set_deletion(space, None).expect("it is taken back");
    assert_eq!((noted(open, space), noted(open, other)), (None, Some(begun)));
    open().set_deletion(space, None).expect("nothing is there to take back");
}

/// Writes one made-up log: it counts seqs and tips as the hub does.
#[derive(Debug, Clone)]
pub struct LogWriter {
    address: Address,
    key: DigestKey,
    epoch: Epoch,
    seq: u64,
    tip: Tip,
}

impl LogWriter {
    /// Begins the log of a document that has none.
    #[must_use]
    pub const fn new(address: Address, epoch: Epoch, key: DigestKey) -> Self {
        Self { address, key, epoch, seq: 0, tip: Tip::EMPTY }
    }

    /// Goes on at the end of a stored log.
    #[must_use]
    pub const fn resume(address: Address, end: Cursor, key: DigestKey) -> Self {
        Self { address, key, epoch: end.epoch, seq: end.seq, tip: end.tip }
    }

    /// Where the log ends if everything handed out was appended.
    #[must_use]
    pub const fn end(&self) -> Cursor {
        Cursor { epoch: self.epoch, seq: self.seq, tip: self.tip }
    }

    /// The next append: one entry for each of `sizes`, whose change has that many bytes beside its
    /// header. What is in it follows from its seq.
    pub fn next(&mut self, sizes: &[usize]) -> Append {
        let (first_seq, tip_before) = (self.seq + 1, self.tip);
        let mut entries = Vec::new();
        for size in sizes {
            self.seq += 1;
            let entry = made_up_entry(self.seq, *size);
            self.tip = advance(&self.key, self.tip, &entry);
            entries.push(entry);
        }
        let record = Record { first_seq, tip_before, tip: self.tip, entries };
        Append { address: self.address.clone(), epoch: self.epoch, record, brought: None }
    }
}

/// An entry that follows from its seq, with a change of `size` bytes and a header of 8.
#[must_use]
pub fn made_up_entry(seq: u64, size: usize) -> Entry {
    let mut change = vec![0x85, 0x6f, 0x4a, 0x83];
    let content: Vec<u8> = seq.to_le_bytes().into_iter().cycle().take(size).collect();
    let hash: [u8; 32] = Sha256::digest(&content).into();
    change.extend_from_slice(&hash[..4]);
    change.extend_from_slice(&content);
    let author = if seq.is_multiple_of(2) { "ada" } else { "bob" };
    Entry {
        author: UserId::new(author).expect("a fixed name"),
        at: Timestamp(1_700_000_000_000 + seq),
        command: (!seq.is_multiple_of(5))
            .then_some(CommandRef { outbox: OutboxId([7; 16]), number: seq }),
        hash: ChangeHash(hash),
        change: change.into(),
    }
}

/// A snapshot whose content follows from its cursor.
#[must_use]
pub fn made_up_snapshot(cursor: Cursor, body_bytes: usize) -> Snapshot {
    let fill = |salt: u64, length: usize| -> Bytes {
        (0_u64..).flat_map(|n| (n ^ cursor.seq ^ salt).to_le_bytes()).take(length).collect()
    };
    Snapshot {
        cursor,
        body: fill(1, body_bytes),
        index: fill(2, body_bytes / 3),
        attribution: fill(3, body_bytes / 5),
    }
}

/// Everything that the store still holds of a document's tail, read a little at a time and checked
/// to be one chain.
///
/// # Panics
/// If it is not, or if a read fails.
#[must_use]
pub fn read_tail(store: &dyn LogStore, address: &Address, head: &LogHead) -> Vec<Record> {
    let mut records: Vec<Record> = Vec::new();
    let mut from = head.tail_from;
    loop {
        let read = store.read(address, from, 1_000).expect("a read of a sound log");
        let Some(last) = read.last() else { break };
        from = last.last_seq() + 1;
        records.extend(read);
    }
    for pair in records.windows(2) {
        assert_eq!(pair[0].last_seq() + 1, pair[1].first_seq, "{address}: seqs are contiguous");
        assert_eq!(pair[0].tip, pair[1].tip_before, "{address}: tips are contiguous");
    }
    assert_eq!(from, head.end.seq + 1, "{address}: the tail reaches the end");
    if let Some(last) = records.last() {
        assert_eq!(
            records[0].first_seq, head.tail_from,
            "{address}: the tail begins where it says"
        );
        assert_eq!(last.tip, head.end.tip, "{address}: the head has the last tip");
    }
    let bytes: usize = records.iter().flat_map(|r| &r.entries).map(|e| e.change.len()).sum();
    assert_eq!(bytes as u64, head.tail_bytes, "{address}: the head counts the tail's bytes");
    records
}

/// The whole body of a snapshot, read `part_bytes` at a time.
///
/// # Panics
/// If a read fails or the snapshot is not the current one.
#[must_use]
pub fn read_body(
    store: &dyn LogStore,
    address: &Address,
    snapshot: &SnapshotHead,
    part_bytes: usize,
) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let part = store
            .read_snapshot(address, snapshot.cursor, body.len() as u64, part_bytes)
            .expect("a read of a sound snapshot")
            .expect("the snapshot is the current one");
        if part.is_empty() {
            assert_eq!(body.len() as u64, snapshot.body_bytes, "{address}: the body's length");
            return body;
        }
        assert!(part.len() <= part_bytes, "{address}: a part is not larger than asked for");
        body.extend_from_slice(&part);
    }
}

const KEY: DigestKey = DigestKey([3; 32]);

fn address(id: &str) -> Address {
    Address::new("conformance", id, Facet::Likes).expect("a fixed name")
}

fn writer(id: &str) -> LogWriter {
    LogWriter::new(address(id), Epoch([1; 16]), KEY)
}

fn head(store: &dyn LogStore, address: &Address) -> LogHead {
    store.head(address).expect("a sound log has a head").expect("the document has a log")
}

fn append(store: &dyn LogStore, batch: &[Append]) {
    store.append(batch).expect("an append that continues its log");
}

fn records(batch: &[Append]) -> Vec<Record> {
    batch.iter().map(|append| append.record.clone()).collect()
}

fn an_unknown_document_has_nothing(store: &dyn LogStore) {
    let (address, cursor) = (address("unknown"), writer("unknown").end());
    assert_eq!(store.head(&address).expect("a head"), None);
    assert_eq!(store.read(&address, 1, 1_000).expect("a read"), []);
    assert_eq!(store.read_snapshot(&address, cursor, 0, 10).expect("a read"), None);
    assert_eq!(store.read_attribution(&address, cursor).expect("a read"), None);
    append(store, &[]);
    let refused = store.put_snapshot(&address, &made_up_snapshot(cursor, 10), 0);
    assert!(matches!(refused, Err(StoreError::Conflict { .. })), "{refused:?}");
}

fn what_is_appended_is_read_back(open: &mut dyn FnMut() -> Box<dyn LogStore>) {
    let (mut one, mut two) = (writer("back-1"), writer("back-2"));
    let first = [one.next(&[10, 20, 30]), two.next(&[5])];
    let second = [one.next(&[0])];
    {
        let store = open();
        append(&*store, &first);
        append(&*store, &second);
    }
    for round in 0..2 {
        let store = open();
        let of_one = head(&*store, &address("back-1"));
        assert_eq!(of_one.end, one.end(), "round {round}");
        assert_eq!((of_one.tail_from, &of_one.snapshot), (1, &None));
        let expected = [first[0].record.clone(), second[0].record.clone()];
        assert_eq!(read_tail(&*store, &address("back-1"), &of_one), expected);
        let of_two = head(&*store, &address("back-2"));
        assert_eq!(read_tail(&*store, &address("back-2"), &of_two), [first[1].record.clone()]);
    }
}

fn reading_starts_in_the_record_that_holds_the_seq(store: &dyn LogStore) {
    let mut writer = writer("cuts");
    let batch = [writer.next(&[10, 10, 10]), writer.next(&[10]), writer.next(&[10, 10])];
    for append_one in &batch {
        append(store, std::slice::from_ref(append_one));
    }
    let at = address("cuts");
    let firsts = |from, bytes_max| -> Vec<u64> {
        let read = store.read(&at, from, bytes_max).expect("a read");
        read.iter().map(|record| record.first_seq).collect()
    };
    for from in 0..=3 {
        assert_eq!(firsts(from, 1_000_000), [1, 4, 5], "from {from}");
    }
    assert_eq!(firsts(4, 1_000_000), [4, 5]);
    assert_eq!(firsts(6, 1_000_000), [5]);
    assert_eq!(firsts(7, 1_000_000), [0; 0], "the end of the log");
    assert_eq!(firsts(u64::MAX, 1_000_000), [0; 0], "far past the end");
    assert_eq!(firsts(1, 0), [1], "at least one record");
    assert_eq!(firsts(2, 1), [1], "no more than about what was asked for");
}

fn a_conflict_leaves_the_whole_batch_unwritten(open: &mut dyn FnMut() -> Box<dyn LogStore>) {
    let mut one = writer("conflict-1");
    let first = one.next(&[10]);
    append(&*open(), std::slice::from_ref(&first));
    let before = head(&*open(), &address("conflict-1"));

    let is_unchanged = |store: &dyn LogStore, why: &str| {
        assert_eq!(head(store, &address("conflict-1")), before, "{why}");
        assert_eq!(store.head(&address("conflict-2")).expect("a head"), None, "{why}");
        assert_eq!(store.head(&address("conflict-3")).expect("a head"), None, "{why}");
    };

    let good = writer("conflict-2").next(&[10]);
    let next = one.next(&[10]);
    let (mut gap, mut fork, mut other_log) = (next.clone(), next.clone(), next.clone());
    gap.record.first_seq += 1;
    fork.record.tip_before = Tip([9; 16]);
    other_log.epoch = Epoch([9; 16]);
    let mut unborn = writer("conflict-3").next(&[1]);
    unborn.record.first_seq = 2;
    let again = first;
    for (why, bad) in [
        ("a gap", gap),
        ("another tip", fork),
        ("another epoch", other_log),
        ("a log that does not begin at 1", unborn),
        ("the same again", again),
    ] {
        for batch in [[good.clone(), bad.clone()], [bad.clone(), good.clone()]] {
            {
                let store = open();
                let refused = store.append(&batch);
                assert!(matches!(refused, Err(StoreError::Conflict { .. })), "{why}: {refused:?}");
                is_unchanged(&*store, why);
            }
            is_unchanged(&*open(), why);
        }
    }
    append(&*open(), &[good, next]);
}

fn a_batch_may_continue_a_log_twice(store: &dyn LogStore) {
    let (mut one, mut two) = (writer("twice-1"), writer("twice-2"));
    let batch = [one.next(&[3]), two.next(&[4]), one.next(&[5, 6])];
    append(store, &batch);
    let head = head(store, &address("twice-1"));
    let expected = [batch[0].record.clone(), batch[2].record.clone()];
    assert_eq!(read_tail(store, &address("twice-1"), &head), expected);
}

fn names_that_begin_alike_are_kept_apart(store: &dyn LogStore) {
    let mut writers = Vec::new();
    for (space, id) in [("a", "b"), ("a", "b-c"), ("a", "bc"), ("ab", "c"), ("a-b", "c")] {
        for facet in Facet::ALL {
            let address = Address::new(space, id, facet).expect("a fixed name");
            writers.push(LogWriter::new(address, Epoch([7; 16]), KEY));
        }
    }
    let mut expected = vec![Vec::new(); writers.len()];
    for round in 1..=3 {
        let batch: Vec<Append> =
            writers.iter_mut().enumerate().map(|(n, w)| w.next(&[n + round])).collect();
        append(store, &batch);
        for (all, append) in expected.iter_mut().zip(batch) {
            all.push(append.record);
        }
    }
    for (writer, expected) in writers.iter().zip(expected) {
        let head = head(store, &writer.address);
        assert_eq!(head.end, writer.end());
        assert_eq!(read_tail(store, &writer.address, &head), expected);
    }
}

fn large_records_come_back_whole(open: &mut dyn FnMut() -> Box<dyn LogStore>) {
    let mut writer = writer("large");
    let mut expected = Vec::new();
    for sizes in [&[70_000, 1, 70_000][..], &[5_000], &[6_100, 6_200], &[100_000; 12], &[1]] {
        let batch = [writer.next(sizes)];
        append(&*open(), &batch);
        expected.extend(records(&batch));
    }
    let store = open();
    let head = head(&*store, &address("large"));
    assert_eq!(read_tail(&*store, &address("large"), &head), expected);
    let from_the_middle = store.read(&address("large"), 6, 1).expect("a read");
    assert_eq!(from_the_middle, expected[2..3]);
}

fn a_snapshot_is_read_in_parts(open: &mut dyn FnMut() -> Box<dyn LogStore>) {
    let (mut writer, at) = (writer("snapshot"), address("snapshot"));
    let first = writer.next(&[10, 10]);
    append(&*open(), &[first]);
    let middle = writer.end();
    let second = writer.next(&[10]);
    append(&*open(), &[second]);

    for (cursor, body_bytes) in [(middle, 100_000), (middle, 0), (writer.end(), 20_001)] {
        let snapshot = made_up_snapshot(cursor, body_bytes);
        open().put_snapshot(&at, &snapshot, 0).expect("a snapshot at the end of a record");
        let store = open();
        let stored = head(&*store, &at).snapshot.expect("the snapshot that was put");
        assert_eq!(stored.cursor, cursor);
        assert_eq!(stored.index, snapshot.index);
        for part_bytes in [1_000, 6_144, 7_000, 1_000_000] {
            assert_eq!(read_body(&*store, &at, &stored, part_bytes), snapshot.body);
        }
        let past = store.read_snapshot(&at, cursor, u64::MAX, 10).expect("a read");
        assert_eq!(past, Some(Bytes::new()), "past the end there is nothing");
        let attribution = store.read_attribution(&at, cursor).expect("a read");
        assert_eq!(attribution, Some(snapshot.attribution));
    }
    let store = open();
    assert_eq!(store.read_snapshot(&at, middle, 0, 10).expect("a read"), None, "it was replaced");
    assert_eq!(store.read_attribution(&at, middle).expect("a read"), None, "it was replaced");
    let kept = head(&*store, &at);
    assert_eq!(kept.tail_from, 1, "nothing was to be dropped");
    assert_eq!(read_tail(&*store, &at, &kept).len(), 2);
}

fn a_snapshot_drops_only_what_lies_wholly_before(open: &mut dyn FnMut() -> Box<dyn LogStore>) {
    let (mut writer, at) = (writer("truncate"), address("truncate"));
    let mut expected = Vec::new();
    let mut cursors = Vec::new();
    for sizes in [&[10, 10][..], &[9_000, 10], &[10, 10], &[10]] {
        let batch = [writer.next(sizes)];
        append(&*open(), &batch);
        expected.extend(records(&batch));
        cursors.push(writer.end());
    }
    // (cursor, keep_from, the first seq that is left)
    for (cursor, keep_from, left) in
        [(cursors[1], 2, 1), (cursors[1], 4, 3), (cursors[2], 5, 5), (cursors[2], u64::MAX, 7)]
    {
        open().put_snapshot(&at, &made_up_snapshot(cursor, 50), keep_from).expect("a snapshot");
        let store = open();
        let head = head(&*store, &at);
        assert_eq!((head.tail_from, head.end), (left, writer.end()), "keep from {keep_from}");
        let kept: Vec<Record> =
            expected.iter().filter(|record| record.first_seq >= left).cloned().collect();
        assert_eq!(read_tail(&*store, &at, &head), kept);
        let read = store.read(&at, 1, 1_000_000).expect("a read below the tail");
        assert_eq!(read, kept, "what is left is read");
    }
    append(&*open(), &[writer.next(&[10])]);
    let store = open();
    let head = head(&*store, &at);
    assert_eq!(read_tail(&*store, &at, &head).len(), 2);
}

fn a_fully_truncated_log_goes_on(open: &mut dyn FnMut() -> Box<dyn LogStore>) {
    let (mut writer, at) = (writer("emptied"), address("emptied"));
    append(&*open(), &[writer.next(&[10, 10]), writer.next(&[10])]);
    let snapshot = made_up_snapshot(writer.end(), 500);
    open().put_snapshot(&at, &snapshot, u64::MAX).expect("a snapshot at the end");
    {
        let store = open();
        let head = head(&*store, &at);
        assert_eq!((head.end, head.tail_from, head.tail_bytes), (writer.end(), 4, 0));
        assert_eq!(store.read(&at, 1, 1_000).expect("a read"), []);
        assert_eq!(read_tail(&*store, &at, &head), []);
    }
    let next = [writer.next(&[20])];
    append(&*open(), &next);
    let store = open();
    let head = head(&*store, &at);
    assert_eq!((head.end, head.tail_from, head.tail_bytes), (writer.end(), 4, 28));
    assert_eq!(read_tail(&*store, &at, &head), records(&next));
    let stored = head.snapshot.expect("the snapshot that was put");
    assert_eq!(read_body(&*store, &at, &stored, 64), snapshot.body);
}

fn a_snapshot_must_end_at_a_record(store: &dyn LogStore) {
    let (mut writer, at) = (writer("boundary"), address("boundary"));
    let empty = writer.end();
    append(store, &[writer.next(&[10, 10])]);
    let first = writer.end();
    append(store, &[writer.next(&[10, 10])]);
    let good = writer.end();
    let between = Cursor { seq: 3, ..good };
    let past = Cursor { seq: 5, ..good };
    let other_tip = Cursor { tip: Tip([8; 16]), ..good };
    let other_epoch = Cursor { epoch: Epoch([8; 16]), ..good };
    for cursor in [empty, between, past, other_tip, other_epoch] {
        let refused = store.put_snapshot(&at, &made_up_snapshot(cursor, 10), u64::MAX);
        assert!(matches!(refused, Err(StoreError::Conflict { .. })), "{cursor:?}: {refused:?}");
    }
    assert_eq!(head(store, &at).snapshot, None);
    store.put_snapshot(&at, &made_up_snapshot(good, 10), 0).expect("a snapshot at the end");
    let refused = store.put_snapshot(&at, &made_up_snapshot(first, 10), 0);
    assert!(matches!(refused, Err(StoreError::Conflict { .. })), "back: {refused:?}");
    assert_eq!(read_tail(store, &at, &head(store, &at)).len(), 2);
}

/// A made-up beginning of another epoch at the same seq.
fn made_up_rollover(end: Cursor, epoch: u8, at: u64) -> Rollover {
    let cursor = Cursor { epoch: Epoch([epoch; 16]), seq: end.seq, tip: Tip([epoch; 16]) };
    let start = EpochStart { cursor, head: ChangeHash([epoch; 32]), at: Timestamp(at) };
    let (last, first) = (made_up_snapshot(end, 9_000), made_up_snapshot(cursor, 7_000));
    Rollover { last, first, start }
}

fn an_epoch_ends_and_its_last_snapshot_stays(open: &mut dyn FnMut() -> Box<dyn LogStore>) {
    let (mut writer, at) = (writer("rolled"), address("rolled"));
    append(&*open(), &[writer.next(&[10, 10])]);
    let middle = writer.end();
    append(&*open(), &[writer.next(&[7_000])]);
    open().put_snapshot(&at, &made_up_snapshot(middle, 500), 0).expect("a snapshot");
    for elsewhere in [middle, Cursor { epoch: Epoch([7; 16]), ..writer.end() }] {
        let refused = open().roll_over(&at, &made_up_rollover(elsewhere, 8, 1), Timestamp(0));
        assert!(matches!(refused, Err(StoreError::Conflict { .. })), "{refused:?}");
    }
    let mut sealed = Vec::new();
    // The first is dropped with the third, which keeps what was sealed since 2.
    for (round, keep_since) in [(1, 0), (2, 0), (3, 2)] {
        let rollover = made_up_rollover(writer.end(), 10 + round, u64::from(round));
        open().roll_over(&at, &rollover, Timestamp(keep_since)).expect("an epoch's end");
        sealed.push(rollover);
        sealed.retain(|rollover| rollover.start.at.0 >= keep_since);
        let old = writer;
        writer = LogWriter::resume(at.clone(), sealed.last().expect("one").start.cursor, KEY);
        let stale = open().append(&[old.clone().next(&[10])]);
        assert!(matches!(stale, Err(StoreError::Conflict { .. })), "{stale:?}");
        {
            let store = open();
            let head = head(&*store, &at);
            assert_eq!((head.end, head.tail_from), (writer.end(), writer.end().seq + 1));
            assert_eq!(read_tail(&*store, &at, &head), []);
        }
        let next = [writer.next(&[20, 5])];
        append(&*open(), &next);
        let store = open();
        let head = head(&*store, &at);
        assert_eq!(read_tail(&*store, &at, &head), records(&next));
        let first = &sealed.last().expect("one").first;
        let stored = head.snapshot.as_ref().expect("the epoch's first snapshot");
        assert_eq!((stored.cursor, &stored.index), (first.cursor, &first.index));
        assert_eq!(read_body(&*store, &at, stored, 1_000), first.body);
        assert_eq!(head.sealed.len(), sealed.len());
        for (outline, rollover) in head.sealed.iter().zip(&sealed) {
            let Rollover { last, start, .. } = rollover;
            assert_eq!((outline.end, outline.start), (last.cursor, *start));
            let body = store.read_snapshot(&at, outline.end, 0, usize::MAX).expect("a read");
            assert_eq!(body.as_ref(), Some(&last.body), "round {round}");
            assert_eq!(outline.body_bytes, last.body.len() as u64);
        }
    }
    // A snapshot of the epoch that goes on leaves the ends of the others.
    let snapshot = made_up_snapshot(writer.end(), 800);
    open().put_snapshot(&at, &snapshot, u64::MAX).expect("a snapshot");
    let store = open();
    for rollover in &sealed {
        let cursor = rollover.last.cursor;
        let body = store.read_snapshot(&at, cursor, 0, usize::MAX).expect("a read");
        assert_eq!(body.as_ref(), Some(&rollover.last.body));
    }
    let first = sealed.last().expect("one").first.cursor;
    assert_eq!(store.read_snapshot(&at, first, 0, 10).expect("a read"), None, "it was replaced");
}

fn documents_are_listed_in_order(open: &mut dyn FnMut() -> Box<dyn LogStore>) {
    let mut added = Vec::new();
    for (space, id) in [("list", "b"), ("list", "a"), ("list.x", "a"), ("list-x", "a")] {
        for facet in [Facet::Json, Facet::Post] {
            let address = Address::new(space, id, facet).expect("a fixed name");
            let mut writer = LogWriter::new(address.clone(), Epoch([1; 16]), KEY);
            append(&*open(), &[writer.next(&[1])]);
            added.push(address);
        }
    }
    let store = open();
    let mut all: Vec<Address> = Vec::new();
    loop {
        let page = store.list(all.last(), 3).expect("a list");
        assert!(page.len() <= 3);
        if page.is_empty() {
            break;
        }
        all.extend(page);
    }
    assert!(all.is_sorted_by(|a, b| a < b), "sorted and without doubles: {all:?}");
    added.sort();
    let listed: Vec<Address> =
        all.iter().filter(|address| address.space().starts_with("list")).cloned().collect();
    assert_eq!(listed, added);
    assert_eq!(store.list(None, 1_000).expect("a list"), all);
    assert_eq!(store.list(None, 0).expect("a list"), []);
    assert_eq!(store.list(all.last(), 5).expect("a list"), []);
}
