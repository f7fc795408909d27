//! What was acknowledged survives the process: a child appends and puts snapshots as fast as it
//! can, says what was acknowledged, and is killed. SIGKILL shows that nothing is kept in the
//! process; it does not show that a power cut is survived, because the page cache outlives it. Layers are
//! begun, merged and put in use all the while.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "the helpers of a test fail it where they stand")]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::ops::ControlFlow;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use syncline_engine::ids::{Address, Epoch, Facet, Tip};
use syncline_engine::storage::conformance::{
    LogWriter, made_up_entry, made_up_snapshot, read_body, read_tail,
};
use syncline_engine::storage::record::advance;
use syncline_engine::storage::{Append, LogStore};
use syncline_server::store::{SledOptions, SledStore};

const DIR: &str = "SYNCLINE_CRASH_DIR";
const DOCUMENTS: usize = 6;
const ROUNDS: usize = 16;

fn address(number: usize) -> Address {
    Address::new("crash", &format!("d{number}"), Facet::Likes).unwrap()
}

fn open(dir: &Path) -> SledStore {
    let mut options = SledOptions::with_cache_bytes(8 << 20);
    // A merge follows the other.
    options.slack_bytes = 64 << 10;
    SledStore::open(dir, &options).unwrap()
}

/// How large the changes of a record are: from its first seq, so that the parent knows too.
fn sizes(document: usize, first_seq: u64) -> Vec<usize> {
    let salt = usize::try_from(first_seq % 97).unwrap() + document;
    let large = if salt.is_multiple_of(13) { 20_000 } else { 300 };
    (0..=salt % 3).map(|n| (salt * 31 + n * 7) % large).collect()
}

fn body_bytes(seq: u64) -> usize {
    usize::try_from(seq % 50).unwrap() * 1_000
}

/// Not a test by itself: it is the process that the test below kills.
#[test]
fn child() {
    let Some(dir) = std::env::var_os(DIR) else { return };
    let store = open(Path::new(&dir));
    let mut writers: Vec<LogWriter> = (0..DOCUMENTS)
        .map(|number| {
            let key = store.digest_key().clone();
            match store.head(&address(number)).unwrap() {
                None => LogWriter::new(address(number), Epoch([1; 16]), key),
                Some(head) => LogWriter::resume(address(number), head.end, key),
            }
        })
        .collect();
    // More than the parent ever waits for, and an end all the same if it died.
    for round in 0..100_000_usize {
        let batch: Vec<Append> = writers
            .iter_mut()
            .enumerate()
            .filter(|(number, _)| number % 3 != round % 3)
            .map(|(number, writer)| writer.next(&sizes(number, writer.end().seq + 1)))
            .collect();
        store.append(&batch).unwrap();
        for Append { address, record, .. } in &batch {
            println!("\nacked {} {} {}", address.id(), record.last_seq(), record.tip);
        }
        if round % 7 == 6 {
            let number = round / 7 % DOCUMENTS;
            let end = writers[number].end();
            let snapshot = made_up_snapshot(end, body_bytes(end.seq));
            store.put_snapshot(&address(number), &snapshot, end.seq.saturating_sub(40)).unwrap();
            println!("\nlayer {}", store.sizes().unwrap().generation);
            println!("\nsnapshot d{number} {} {}", end.seq, end.tip);
        }
    }
}

fn start(dir: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--nocapture", "--test-threads", "1"])
        .env(DIR, dir)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// What the child said, by document: the last position, and the last snapshot's.
#[derive(Default)]
struct Said {
    acked: BTreeMap<String, BTreeMap<u64, String>>,
    snapshots: BTreeMap<String, u64>,
    layers: u64,
}

impl Said {
    /// Reads a line; says whether it was one of the child's.
    fn hear(&mut self, line: &str) -> bool {
        // A line without its end was cut by the kill.
        let Some(line) = line.strip_suffix('\n') else { return false };
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["acked", id, seq, tip] => {
                let acked = self.acked.entry(id.to_owned()).or_default();
                acked.insert(seq.parse().unwrap(), tip.to_owned());
                true
            }
            ["snapshot", id, seq, _] => {
                self.snapshots.insert(id.to_owned(), seq.parse().unwrap());
                true
            }
            ["layer", number] => {
                self.layers = number.parse().unwrap();
                true
            }
            _ => false,
        }
    }
}

/// Runs a child until it has said `lines` things, kills it and hears out what it had said.
fn run_and_kill(dir: &Path, lines: usize, said: &mut Said) {
    let mut child = start(dir);
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let (mut heard, mut line) = (0, String::new());
    while heard < lines {
        line.clear();
        assert_ne!(out.read_line(&mut line).unwrap(), 0, "the child ended by itself");
        heard += usize::from(said.hear(&line));
    }
    child.kill().unwrap();
    loop {
        line.clear();
        if out.read_line(&mut line).unwrap() == 0 {
            break;
        }
        said.hear(&line);
    }
    assert!(!child.wait().unwrap().success(), "it was killed");
}

fn check(dir: &Path, said: &Said) {
    let store = open(dir);
    assert!(store.sizes().unwrap().generation >= said.layers, "an earlier layer is in use");
    let checked = store.check_values(&mut |_| ControlFlow::Continue(())).unwrap();
    assert_eq!((checked.damaged, checked.set_aside), (0, 0));
    for number in 0..DOCUMENTS {
        let at = address(number);
        let Some(head) = store.head(&at).unwrap() else {
            assert!(!said.acked.contains_key(at.id()), "{at} is gone");
            continue;
        };
        let mut tips: BTreeMap<u64, Tip> = BTreeMap::new();
        for record in read_tail(&store, &at, &head) {
            let mut tip = record.tip_before;
            let expected = sizes(number, record.first_seq);
            assert_eq!(record.entries.len(), expected.len(), "{at}: a record is whole");
            for ((seq, size), entry) in (record.first_seq..).zip(expected).zip(&record.entries) {
                assert_eq!(*entry, made_up_entry(seq, size), "{at}: the entry at {seq}");
                tip = advance(store.digest_key(), tip, entry);
            }
            assert_eq!(tip, record.tip, "{at}: the tip after {}", record.last_seq());
            tips.insert(record.last_seq(), tip);
        }
        let acked = said.acked.get(at.id()).cloned().unwrap_or_default();
        for (seq, tip) in acked.range(head.tail_from..) {
            let stored = tips.get(seq).unwrap_or_else(|| panic!("{at}: acked seq {seq} is gone"));
            assert_eq!(stored.to_string(), *tip, "{at}: the tip at {seq}");
        }
        let snapshot = head.snapshot.as_ref();
        let snapshot_seq = snapshot.map_or(0, |snapshot| snapshot.cursor.seq);
        assert!(snapshot_seq >= said.snapshots.get(at.id()).copied().unwrap_or(0), "{at}");
        assert!(head.tail_from <= snapshot_seq + 1, "{at}: nothing below the tail is lost");
        if let Some(stored) = snapshot {
            let expected = made_up_snapshot(stored.cursor, body_bytes(stored.cursor.seq));
            assert_eq!(read_body(&store, &at, stored, 10_000), expected.body, "{at}");
            assert_eq!(stored.index, expected.index, "{at}");
            let attribution = store.read_attribution(&at, stored.cursor).unwrap();
            assert_eq!(attribution, Some(expected.attribution), "{at}");
        }
    }
}

#[test]
fn everything_acknowledged_survives_a_kill_at_any_point() {
    let dir = tempfile::tempdir().unwrap();
    let mut said = Said::default();
    for round in 0..ROUNDS {
        let mut random = [0; 2];
        getrandom::fill(&mut random).unwrap();
        let lines = usize::from(u16::from_le_bytes(random)) % 900;
        println!("round {round}: killed after {lines} lines");
        run_and_kill(dir.path(), lines, &mut said);
        check(dir.path(), &said);
    }
    let acked: usize = said.acked.values().map(BTreeMap::len).sum();
    assert!(said.layers >= 2, "{} layers", said.layers);
    println!("{} layers", said.layers);
    println!("{acked} records and {} snapshots were acknowledged", said.snapshots.len());
}
