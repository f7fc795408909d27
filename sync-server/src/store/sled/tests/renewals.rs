//! Layers and bases: what is merged is what was there, at any moment and after any interruption, and
//! the directory stays small.

use std::cell::Cell;
use std::ops::ControlFlow;

use super::*;

fn go_on(_: super::super::Merging) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

fn renew(store: &SledStore) {
    store.renew(&mut go_on).unwrap();
}

/// Names in the directory that are layers or bases.
fn layers(dir: &Path) -> Vec<String> {
    let names = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name());
    let names = names.map(|name| name.into_string().unwrap());
    let mut names: Vec<String> =
        names.filter(|name| name.starts_with("log") || name.starts_with("base")).collect();
    names.sort();
    names
}

fn bytes_on_disk(dir: &Path) -> u64 {
    let mut bytes = 0;
    let Ok(entries) = fs::read_dir(dir) else { return 0 };
    for entry in entries.flatten() {
        match entry.metadata() {
            Ok(found) if found.is_dir() => bytes += bytes_on_disk(&entry.path()),
            Ok(found) => bytes += found.len(),
            // It was removed meanwhile.
            Err(_) => {}
        }
    }
    bytes
}

fn live_bytes(store: &SledStore) -> u64 {
    let count = |log: &super::super::Log| {
        let all = log.tree.walk(keys::FIRST, keys::LAST).map(Result::unwrap);
        Ok(all.map(|(key, value)| (key.len() + value.len()) as u64).sum())
    };
    store.shared.with(count).unwrap()
}

/// A store whose layers change before each call: in turn a new one is begun, and all are merged.
struct Renewed {
    store: SledStore,
    turn: Cell<u32>,
}

impl Renewed {
    fn fresh(&self) -> &SledStore {
        let shared = &self.store.shared;
        // The store's own thread finishes what an opening finds unfinished.
        let one = shared.renewing.lock().unwrap();
        match self.turn.replace((self.turn.get() + 1) % 4) {
            0 => shared.freeze().unwrap(),
            1 => assert!(shared.reopen().is_some()),
            2 => drop(shared.merge_and_settle(&mut go_on).unwrap()),
            _ => drop(shared.renew_alone(&mut go_on).unwrap()),
        }
        drop(one);
        &self.store
    }
}

// The suite uses it from one thread at a time.
struct Turns(std::sync::Mutex<Renewed>);

impl Turns {
    fn with<T>(&self, call: impl FnOnce(&SledStore) -> T) -> T {
        let renewed = self.0.lock().unwrap();
        call(renewed.fresh())
    }
}

impl LogStore for Turns {
    fn append(&self, batch: &[Append]) -> Result<(), StoreError> {
        self.with(|store| store.append(batch))
    }

    fn head(&self, address: &Address) -> Result<Option<LogHead>, StoreError> {
        self.with(|store| store.head(address))
    }

    fn read(&self, at: &Address, from: u64, max: usize) -> Result<Vec<Record>, StoreError> {
        self.with(|store| store.read(at, from, max))
    }

    fn read_snapshot(
        &self,
        address: &Address,
        cursor: Cursor,
        offset: u64,
        bytes_max: usize,
    ) -> Result<Option<Bytes>, StoreError> {
        self.with(|store| store.read_snapshot(address, cursor, offset, bytes_max))
    }

    fn read_attribution(&self, at: &Address, to: Cursor) -> Result<Option<Bytes>, StoreError> {
        self.with(|store| store.read_attribution(at, to))
    }

    fn put_snapshot(&self, at: &Address, put: &Snapshot, keep: u64) -> Result<(), StoreError> {
        self.with(|store| store.put_snapshot(at, put, keep))
    }

    fn roll_over(&self, at: &Address, over: &Rollover, since: Timestamp) -> Result<(), StoreError> {
        self.with(|store| store.roll_over(at, over, since))
    }

    fn list(&self, after: Option<&Address>, limit: usize) -> Result<Vec<Address>, StoreError> {
        self.with(|store| store.list(after, limit))
    }

    fn posts(&self, space: &str, wanted: &PostsWanted) -> Result<Vec<Summary>, StoreError> {
        self.with(|store| store.posts(space, wanted))
    }

    fn put_summary(&self, at: &Address, brought: &Brought) -> Result<(), StoreError> {
        self.with(|store| store.put_summary(at, brought))
    }

    fn is_summarised(&self, space: &str) -> Result<bool, StoreError> {
        self.with(|store| store.is_summarised(space))
    }

    fn set_summarised(&self, space: &str) -> Result<(), StoreError> {
        self.with(|store| store.set_summarised(space))
    }

    fn deletion(&self, space: &str) -> Result<Option<Deletion>, StoreError> {
        self.with(|store| store.deletion(space))
    }

    fn set_deletion(&self, space: &str, deletion: Option<Deletion>) -> Result<(), StoreError> {
        self.with(|store| store.set_deletion(space, deletion))
    }
}

#[test]
fn with_other_layers_at_each_call_it_passes_the_suite() {
    let dir = tempfile::tempdir().unwrap();
    conformance::check(&mut || {
        let renewed = Renewed { store: store(dir.path()), turn: Cell::new(0) };
        Box::new(Turns(std::sync::Mutex::new(renewed)))
    });
}

#[test]
fn while_it_is_merged_all_the_time_it_passes_the_suite() {
    let dir = tempfile::tempdir().unwrap();
    let done = AtomicBool::new(false);
    let merges = std::sync::atomic::AtomicU32::new(0);
    let open = std::sync::Mutex::new(None::<std::sync::Weak<SledStore>>);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::SeqCst) {
                let store = open.lock().unwrap().clone();
                if let Some(store) = store.and_then(|store| store.upgrade()) {
                    renew(&store);
                    merges.fetch_add(1, Ordering::SeqCst);
                }
            }
        });
        conformance::check(&mut || {
            *open.lock().unwrap() = None;
            let fresh = loop {
                // The thread may still hold the one before.
                match SledStore::open(dir.path(), &SledOptions::default()) {
                    Ok(store) => break std::sync::Arc::new(store),
                    Err(OpenError::InUse { .. }) => std::thread::yield_now(),
                    Err(other) => panic!("{other}"),
                }
            };
            *open.lock().unwrap() = Some(std::sync::Arc::downgrade(&fresh));
            Box::new(Held(fresh))
        });
        done.store(true, Ordering::SeqCst);
    });
    assert!(merges.load(Ordering::SeqCst) > 5);
}

struct Held(std::sync::Arc<SledStore>);

impl LogStore for Held {
    fn append(&self, batch: &[Append]) -> Result<(), StoreError> {
        self.0.append(batch)
    }

    fn head(&self, address: &Address) -> Result<Option<LogHead>, StoreError> {
        self.0.head(address)
    }

    fn read(&self, at: &Address, from: u64, max: usize) -> Result<Vec<Record>, StoreError> {
        self.0.read(at, from, max)
    }

    fn read_snapshot(
        &self,
        address: &Address,
        cursor: Cursor,
        offset: u64,
        bytes_max: usize,
    ) -> Result<Option<Bytes>, StoreError> {
        self.0.read_snapshot(address, cursor, offset, bytes_max)
    }

    fn read_attribution(&self, at: &Address, to: Cursor) -> Result<Option<Bytes>, StoreError> {
        self.0.read_attribution(at, to)
    }

    fn put_snapshot(&self, at: &Address, put: &Snapshot, keep: u64) -> Result<(), StoreError> {
        self.0.put_snapshot(at, put, keep)
    }

    fn roll_over(&self, at: &Address, over: &Rollover, since: Timestamp) -> Result<(), StoreError> {
        self.0.roll_over(at, over, since)
    }

    fn list(&self, after: Option<&Address>, limit: usize) -> Result<Vec<Address>, StoreError> {
        self.0.list(after, limit)
    }

    fn posts(&self, space: &str, wanted: &PostsWanted) -> Result<Vec<Summary>, StoreError> {
        self.0.posts(space, wanted)
    }

    fn put_summary(&self, at: &Address, brought: &Brought) -> Result<(), StoreError> {
        self.0.put_summary(at, brought)
    }

    fn is_summarised(&self, space: &str) -> Result<bool, StoreError> {
        self.0.is_summarised(space)
    }

    fn set_summarised(&self, space: &str) -> Result<(), StoreError> {
        self.0.set_summarised(space)
    }

    fn deletion(&self, space: &str) -> Result<Option<Deletion>, StoreError> {
        self.0.deletion(space)
    }

    fn set_deletion(&self, space: &str, deletion: Option<Deletion>) -> Result<(), StoreError> {
        self.0.set_deletion(space, deletion)
    }
}

#[test]
fn a_store_of_one_layer_becomes_one_of_a_base_and_keeps_all_that_it_has() {
    let dir = tempfile::tempdir().unwrap();
    two_long_logs(dir.path());
    let key = store(dir.path()).digest_key().clone();
    assert_eq!(fs::read_to_string(dir.path().join("format")).unwrap(), "syncline-store 1\n");
    assert_eq!(layers(dir.path()), ["log"]);
    let term = store(dir.path()).begin_term(1).unwrap();
    renew(&store(dir.path()));
    assert_eq!(layers(dir.path()), ["base-0", "log-1"]);
    assert_eq!(serve(dir.path()), "150 and 150");
    assert_eq!(*store(dir.path()).digest_key(), key);
    assert_eq!(store(dir.path()).begin_term(1).unwrap(), term + 1);
    renew(&store(dir.path()));
    assert_eq!(layers(dir.path()), ["base-1", "log-2"]);
    assert_eq!(serve(dir.path()), "150 and 150");
}

#[test]
fn a_merge_that_was_interrupted_is_finished_and_what_it_left_is_removed() {
    let dir = tempfile::tempdir().unwrap();
    two_long_logs(dir.path());
    for stop_after in [0, 1, 3] {
        let mut steps = 0;
        let stopped = store(dir.path()).renew(&mut |_| {
            steps += 1;
            if steps > stop_after { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        assert!(matches!(stopped, Err(super::super::RenewError::Stopped)), "{stopped:?}");
        assert_eq!(serve(dir.path()), "150 and 150");
    }
    // What a process leaves that ends between two steps of a merge.
    fs::create_dir(dir.path().join("log-90")).unwrap();
    fs::write(dir.path().join("base-89.new"), "half").unwrap();
    fs::write(dir.path().join("base-88"), "not in use").unwrap();
    renew(&store(dir.path()));
    let left = layers(dir.path());
    assert_eq!(left.len(), 2, "{left:?}");
    assert_eq!(serve(dir.path()), "150 and 150");
}

#[test]
fn the_directory_stays_within_three_times_what_is_live_and_a_constant() {
    let slack_bytes = 512 << 10;
    let options = SledOptions { slack_bytes, ..SledOptions::default() };
    let dir = tempfile::tempdir().unwrap();
    let mut store = SledStore::open(dir.path(), &options).unwrap();
    let mut writers: Vec<_> = (0..20).map(|n| writer(&store, &format!("d{n}"))).collect();
    let mut largest = 0.0_f64;
    let (mut written, mut peak) = (0, 0);
    for round in 0..1_200 {
        let number = round * 7 % writers.len();
        let sizes = [round % 300, 400, 4_000 * usize::from(round % 5 == 0)];
        let append = writers[number].next(&sizes);
        written += append.record.change_bytes();
        store.append(&[append]).unwrap();
        if round % 3 == 0 {
            let end = writers[number].end();
            let snapshot = made_up_snapshot(end, 60_000 + round * 30);
            written += 100_000;
            store.put_snapshot(&address(&format!("d{number}")), &snapshot, end.seq - 2).unwrap();
        }
        if round % 400 == 399 {
            drop(store);
            store = SledStore::open(dir.path(), &options).unwrap();
        }
        if round % 5 != 0 {
            continue;
        }
        let (on_disk, live) = (bytes_on_disk(dir.path()), live_bytes(&store));
        // sled makes its file larger by half a megabyte at a time, and there are two of it.
        let constant = 6 * slack_bytes + (2 << 20);
        assert!(on_disk <= 3 * live + constant, "round {round}: {on_disk} for {live}");
        peak = peak.max(on_disk);
        #[expect(clippy::cast_precision_loss, reason = "for people")]
        let ratio = on_disk as f64 / live as f64;
        largest = if round > 300 { largest.max(ratio) } else { 0.0 };
    }
    let generation = store.sizes().unwrap().generation;
    println!("{written} bytes in {generation} layers, at most {peak} on disk, {largest:.2} times");
    assert!(generation >= 10, "{generation}");
    for writer in &writers {
        let at = writer.end();
        let head = (0..writers.len()).find_map(|n| {
            let head = store.head(&address(&format!("d{n}"))).unwrap().unwrap();
            (head.end == at).then_some((n, head))
        });
        let (n, head) = head.unwrap();
        let snapshot = head.snapshot.clone().unwrap();
        let body = read_body(&store, &address(&format!("d{n}")), &snapshot, 50_000);
        assert!(body.len() >= 60_000);
        let _ = read_tail(&store, &address(&format!("d{n}")), &head);
    }
}

#[test]
fn a_merge_of_more_than_may_be_cached_lets_go_of_it_on_the_way() {
    let dir = tempfile::tempdir().unwrap();
    two_long_logs(dir.path());
    let options = SledOptions::with_cache_bytes(100 << 10);
    let store = SledStore::open(dir.path(), &options).unwrap();
    // sled writes one of these each time that it is opened after something was written.
    let (mut before, mut reopened) = (Vec::new(), 0);
    store
        .renew(&mut |_| {
            let files = fs::read_dir(dir.path().join("log-1")).unwrap();
            let names = files.map(|file| file.unwrap().file_name());
            let names: Vec<_> =
                names.filter(|name| name.to_string_lossy().starts_with("snap.")).collect();
            reopened += u32::from(std::mem::replace(&mut before, names.clone()) != names);
            let mut writer = writer(&store, &format!("meanwhile{reopened}"));
            if store.head(&address(&format!("meanwhile{reopened}"))).unwrap().is_none() {
                store.append(&[writer.next(&[10])]).unwrap();
            }
            ControlFlow::Continue(())
        })
        .unwrap();
    assert!(reopened >= 2, "{reopened}");
    drop(store);
    assert_eq!(serve(dir.path()), "150 and 150");
}

#[test]
fn half_a_snapshot_is_not_merged_and_the_used_ones_are() {
    let dir = tempfile::tempdir().unwrap();
    let [bad, _] = two_documents(dir.path());
    let snapshot = made_up_snapshot(bad.end(), 30_000);
    store(dir.path()).put_snapshot(&address("bad"), &snapshot, 0).unwrap();
    raw(dir.path(), |db| {
        for part in 0..20 {
            db.insert(keys::snapshot_part(&address("bad"), 2, part), &b"half"[..]).unwrap();
            db.insert(keys::snapshot_part(&address("good"), 1, part), &b"half"[..]).unwrap();
        }
    });
    let store = store(dir.path());
    let before = live_bytes(&store);
    renew(&store);
    let half = keys::snapshot_part(&address("bad"), 2, 0).len() + 4;
    let half_good = keys::snapshot_part(&address("good"), 1, 0).len() + 4;
    assert_eq!(live_bytes(&store), before - 20 * (half + half_good) as u64);
    let head = store.head(&address("bad")).unwrap().unwrap().snapshot.unwrap();
    assert_eq!(read_body(&store, &address("bad"), &head, 4_000), snapshot.body);
    let attribution = store.read_attribution(&address("bad"), bad.end()).unwrap();
    assert_eq!(attribution, Some(snapshot.attribution));
    assert_eq!(tail(&store, "good"), 3);
}

#[test]
fn damage_in_the_base_is_that_of_the_documents_there_and_never_merged_away() {
    let dir = tempfile::tempdir().unwrap();
    two_long_logs(dir.path());
    renew(&store(dir.path()));
    let file = dir.path().join("base-0");
    let bytes = fs::read(&file).unwrap();
    let mut bad = bytes.clone();
    bad[bytes.len() / 4] ^= 1;
    fs::write(&file, &bad).unwrap();
    let served = serve(dir.path());
    assert!(served.contains("damaged") && served.contains("150"), "{served}");
    let refused = store(dir.path()).renew(&mut go_on);
    assert!(matches!(refused, Err(super::super::RenewError::Damaged(_))), "{refused:?}");
    assert_eq!(serve(dir.path()), served, "the others go on");
    assert_eq!(fs::read(&file).unwrap(), bad, "it is kept for repair");

    let mut bad = bytes.clone();
    bad[bytes.len() - 100] ^= 1;
    fs::write(&file, &bad).unwrap();
    let refused = SledStore::open(dir.path(), &SledOptions::default()).unwrap_err();
    assert!(matches!(refused, OpenError::Damaged { .. }), "{refused}");
    fs::remove_file(&file).unwrap();
    let refused = SledStore::open(dir.path(), &SledOptions::default()).unwrap_err();
    assert!(matches!(refused, OpenError::Damaged { .. }), "{refused}");
}
