//! Group commit through the store on disk, against the least that is durable: the same bytes
//! appended to one file and synced. Every writer has one append under way; all that wait go into
//! the next commit, as the hub does it.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use syncline_engine::ids::{Address, Epoch, Facet};
use syncline_engine::storage::conformance::LogWriter;
use syncline_engine::storage::{Append, LogStore};
use syncline_server::store::{SledOptions, SledStore};
use syncline_tests::measure::{Lanes, kb, row, size, table, times};

/// A like or a character, with its header.
const CHANGE_BYTES: usize = 130;

fn main() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    appends(dir.path());
    reads(dir.path());
}

fn writer(store: &SledStore, id: &str) -> LogWriter {
    let address = Address::new("bench", id, Facet::Json).expect("a good address");
    LogWriter::new(address, Epoch([1; 16]), store.digest_key().clone())
}

fn appends(dir: &Path) {
    table(
        "Group commit",
        &[
            "writers",
            "in",
            "p50",
            "p99",
            "appends/s",
            "raw file p50",
            "p99",
            "appends/s",
            "p50 ratio",
        ],
    );
    for (writers, documents, turns) in [
        (1, 1, size(400, 3)),
        (64, 1, size(200, 3)),
        (64, 64, size(200, 3)),
        (1_024, 1, size(60, 2)),
        (1_024, 1_024, size(60, 2)),
    ] {
        let at = dir.join(format!("{writers}-{documents}"));
        let store = SledStore::open(&at, &SledOptions::default()).expect("a fresh store");
        let mut file = File::create(dir.join("raw")).expect("a fresh file");
        let mut logs: Vec<LogWriter> =
            (0..documents).map(|number| writer(&store, &format!("d{number}"))).collect();
        let mut lanes = Lanes::new(2);
        for _ in 0..turns {
            let sizes = vec![CHANGE_BYTES - 8; writers / documents];
            let batch: Vec<Append> = logs.iter_mut().map(|log| log.next(&sizes)).collect();
            let raw: Vec<u8> = batch
                .iter()
                .flat_map(|append| &append.record.entries)
                .flat_map(|entry| entry.change.iter().copied())
                .collect();
            lanes.time(0, || store.append(&batch)).expect("it appends");
            lanes
                .time(1, || file.write_all(&raw).and_then(|()| file.sync_data()))
                .expect("it appends");
        }
        let place = if documents == 1 { "one document" } else { "a document each" };
        report(writers, place, &lanes);
    }
}

#[expect(clippy::cast_precision_loss, reason = "for people")]
fn report(writers: usize, place: &str, lanes: &Lanes) {
    let ms = |micros: f64| format!("{:.2} ms", micros / 1e3);
    let p50 = |lane| ms(lanes.median_us(lane));
    let p99 = |lane| ms(lanes.quantile_us(lane, 0.99));
    let rate = |lane| format!("{:.0}", writers as f64 / lanes.mean_us(lane) * 1e6);
    let ratio = times(lanes.ratio(0, 1));
    row(&[&writers, &place, &p50(0), &p99(0), &rate(0), &p50(1), &p99(1), &rate(1), &ratio]);
}

/// What a late reader makes the store do.
fn reads(dir: &Path) {
    let columns = ["10,000 changes in", "bytes", "store", "raw file", "ratio"];
    table("Reading a log", &columns);
    for per_record in [1, 25] {
        let at = dir.join(format!("read-{per_record}"));
        let store = SledStore::open(&at, &SledOptions::default()).expect("a fresh store");
        let mut log = writer(&store, "read");
        let address = Address::new("bench", "read", Facet::Json).expect("a good address");
        let count = size(10_000, 100);
        let mut raw = Vec::new();
        let records: Vec<Append> = (0..count / per_record)
            .map(|_| log.next(&vec![CHANGE_BYTES - 8; per_record]))
            .collect();
        for batch in records.chunks(500) {
            store.append(batch).expect("it appends");
            let entries = batch.iter().flat_map(|append| &append.record.entries);
            entries.for_each(|entry| raw.extend_from_slice(&entry.change));
        }
        let file = dir.join("raw-read");
        std::fs::write(&file, &raw).expect("it writes");
        let mut lanes = Lanes::new(2);
        for _ in 0..size(20, 1) {
            let read = lanes.time(0, || {
                let (mut next, mut read) = (1, 0);
                loop {
                    let records = store.read(&address, next, 256 << 10).expect("it reads");
                    let Some(last) = records.last() else { break read };
                    next = last.last_seq() + 1;
                    read += records.iter().map(|record| record.entries.len()).sum::<usize>();
                }
            });
            assert_eq!(read, count);
            lanes.time(1, || std::fs::read(&file)).expect("it reads");
        }
        let ms = |lane| format!("{:.2} ms", lanes.median_us(lane) / 1e3);
        let what = if per_record == 1 { "a record each" } else { "records of 25" };
        row(&[&what, &kb(raw.len()), &ms(0), &ms(1), &times(lanes.ratio(0, 1))]);
    }
}
