//! What giving space back costs: how fast a store is merged, what its directory takes meanwhile, and what
//! that does to the commits beside it; and why it is not copied into a fresh sled instead.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use syncline_engine::ids::{Address, Epoch, Facet};
use syncline_engine::storage::LogStore;
use syncline_engine::storage::conformance::{LogWriter, made_up_snapshot};
use syncline_server::store::{SledOptions, SledStore};

const DOCUMENTS: usize = 200;
const ROUNDS: usize = 3_000;
const MB: f64 = 1_048_576.0;

fn main() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    steady(&dir.path().join("steady"));
    fresh_sled(&dir.path().join("sled"));
}

#[expect(clippy::cast_precision_loss, reason = "for people")]
fn mb(bytes: u64) -> f64 {
    bytes as f64 / MB
}

fn bytes_on_disk(dir: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(dir) else { return 0 };
    let sizes = entries.flatten().filter_map(|entry| {
        let found = entry.metadata().ok()?;
        Some(if found.is_dir() { bytes_on_disk(&entry.path()) } else { found.len() })
    });
    sizes.sum()
}

fn quantile(times: &mut [Duration], part: usize) -> f64 {
    times.sort_unstable();
    let at = (times.len() * part / 100).min(times.len().saturating_sub(1));
    times.get(at).map_or(0.0, |time| time.as_secs_f64() * 1e3)
}

/// Edits and snapshots of 200 documents, with the merges that they bring about, at their pace.
fn steady(dir: &Path) {
    let store = SledStore::open(dir, &SledOptions::default()).expect("a fresh store");
    let key = store.digest_key().clone();
    let address = |n| Address::new("bench", &format!("d{n}"), Facet::Json).expect("an address");
    let mut logs: Vec<LogWriter> =
        (0..DOCUMENTS).map(|n| LogWriter::new(address(n), Epoch([1; 16]), key.clone())).collect();
    for (n, log) in logs.iter_mut().enumerate() {
        store.append(&[log.next(&[500; 20])]).expect("it appends");
        store.put_snapshot(&address(n), &made_up_snapshot(log.end(), 200_000), 0).expect("it puts");
    }
    let begun = store.renew(&mut |_| ControlFlow::Continue(())).expect("it merges");
    let live = begun.bytes_after;
    let (mut quiet, mut merging, mut peak) = (Vec::new(), Vec::new(), 0);
    let first = store.sizes().expect("it is there").generation;
    for round in 0..ROUNDS {
        let n = round * 7 % DOCUMENTS;
        let append = logs[n].next(&[130; 10]);
        let is_merging = std::fs::read_dir(dir)
            .expect("it is there")
            .flatten()
            .any(|entry| entry.path().extension().is_some_and(|end| end == "new"));
        let began = Instant::now();
        store.append(&[append]).expect("it appends");
        if is_merging { &mut merging } else { &mut quiet }.push(began.elapsed());
        if round % 10 == 0 {
            let end = logs[n].end();
            let snapshot = made_up_snapshot(end, 200_000);
            store.put_snapshot(&address(n), &snapshot, end.seq - 20).expect("it puts");
            peak = peak.max(bytes_on_disk(dir));
        }
        // Some hundred commits a second: edits, not an import.
        std::thread::sleep(Duration::from_millis(4));
    }
    let generation = store.sizes().expect("it is there").generation;
    println!(
        "steady: {:.0} MB live, at most {:.0} MB on disk ({:.2}x), {} merges",
        mb(live),
        mb(peak),
        mb(peak) / mb(live),
        generation - first
    );
    println!(
        "  commit p50 / p99: {:.2} / {:.2} ms between merges ({}), {:.2} / {:.2} ms during ({})",
        quantile(&mut quiet, 50),
        quantile(&mut quiet, 99),
        quiet.len(),
        quantile(&mut merging, 50),
        quantile(&mut merging, 99),
        merging.len(),
    );
    let began = Instant::now();
    let longest = longest_wait(&store, &mut logs[0], || {
        store.renew(&mut |_| ControlFlow::Continue(())).expect("it merges");
    });
    let took = began.elapsed().as_secs_f64();
    let base = store.sizes().expect("it is there").base_bytes;
    println!(
        "  merge without pauses: {:.0} MB in {took:.2} s, {:.0} MB/s; longest commit beside it {longest:.1} ms",
        mb(base),
        mb(base) / took
    );
}

/// The longest commit while `work` runs, in ms.
fn longest_wait(store: &SledStore, log: &mut LogWriter, work: impl FnOnce()) -> f64 {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let committing = scope.spawn(|| {
            let mut longest = Duration::ZERO;
            while !done.load(Ordering::SeqCst) {
                let began = Instant::now();
                store.append(&[log.next(&[130])]).expect("it appends");
                longest = longest.max(began.elapsed());
            }
            longest.as_secs_f64() * 1e3
        });
        work();
        done.store(true, Ordering::SeqCst);
        committing.join().expect("it ends")
    })
}

/// The same bytes in a sled that was never written to, in the order of their keys.
fn fresh_sled(dir: &Path) {
    for (what, value_bytes) in
        [("records of 250 B", 250), ("records of 1 KB", 1_000), ("parts of 6 KiB", 6_152)]
    {
        for batch_bytes in [64 << 10, 1 << 20] {
            let at = dir.join(format!("{value_bytes} {batch_bytes}"));
            let db = sled::Config::new().path(&at).flush_every_ms(None).open().expect("it opens");
            let (mut live, mut in_batch, mut number) = (0_u64, 0, 0_u64);
            let mut batch = sled::Batch::default();
            while live < 32 << 20 {
                let key = [&[b'r'; 37][..], &number.to_be_bytes()].concat();
                let value: Vec<u8> = number
                    .wrapping_mul(0x9e37_79b9_7f4a_7c15)
                    .to_le_bytes()
                    .into_iter()
                    .cycle()
                    .take(value_bytes)
                    .collect();
                live += (key.len() + value.len()) as u64;
                in_batch += key.len() + value.len();
                number += 1;
                batch.insert(key, value);
                if in_batch >= batch_bytes {
                    db.apply_batch(std::mem::take(&mut batch)).expect("it writes");
                    in_batch = 0;
                }
            }
            db.apply_batch(batch).expect("it writes");
            db.flush().expect("it flushes");
            let disk = bytes_on_disk(&at);
            println!(
                "fresh sled, {what}, batches of {} KB: {:.2}x",
                batch_bytes >> 10,
                mb(disk) / mb(live)
            );
        }
    }
}
