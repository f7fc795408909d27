//! The tasks themselves, on stores that nobody else uses.

use std::fs;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use syncline_engine::document::View;
use syncline_engine::hub;
use syncline_engine::ids::{Address, Tip};
use syncline_engine::storage::{LogStore, Snapshot};
use syncline_server::admin::{self, ImportError, Report, Task, TaskError};
use syncline_server::store::{CopyError, SledStore};

use crate::world::{Log, comment, export, fill, heads, is_anywhere, open, perform, put, verify};

fn go_on(_: syncline_server::store::Merging) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

fn import(store: &SledStore, lines: &[String]) -> Result<admin::Imported, ImportError> {
    let text = lines.join("\n");
    admin::import(store, &mut text.as_bytes(), &mut |_| ControlFlow::Continue(()))
}

fn says(store: &SledStore, address: &str, what: &str) {
    let found = verify(store);
    let named = found
        .problems
        .iter()
        .any(|problem| problem.address.as_deref() == Some(address) && problem.what.contains(what));
    assert!(named, "{address} {what}: {found:?}");
    assert!(!found.is_sound());
}

#[test]
fn a_sound_store_is_inspected_verified_and_made_small() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    fill(&store);
    let verified = verify(&store);
    assert!(verified.is_sound(), "{verified:?}");
    assert_eq!(verified.documents, 5);
    let inspect = || {
        let report = perform(&store, &Task::Inspect).unwrap();
        let Report::Inspect(inspection) = report else { panic!("{report:?}") };
        inspection
    };
    let found = inspect();
    let sizes: Vec<_> = found
        .documents
        .iter()
        .map(|d| (&d.address[..], d.seq, d.tail_from, d.snapshot_seq, d.sealed_epochs, d.actors))
        .collect();
    assert_eq!(
        sizes,
        [
            ("town/board/json", 10, 11, Some(10), 1, 2),
            ("town/square/post", 1, 1, None, 0, 2),
            ("town/square/likes", 20, 1, None, 0, 2),
            ("town/square/comments", 20, 9, Some(13), 0, 2),
            ("village/board/json", 10, 1, None, 0, 2),
        ]
    );
    let before = heads(&store);
    let compacted = perform(&store, &Task::Compact { keep: 3 }).unwrap();
    let Report::Compact { snapshots: 4, failed, .. } = &compacted else { panic!("{compacted:?}") };
    assert!(failed.is_empty(), "{failed:?}");
    assert_eq!(heads(&store), before);
    assert!(verify(&store).is_sound());
    let found = inspect();
    let comments = &found.documents[3];
    assert_eq!((comments.tail_from, comments.snapshot_seq), (18, Some(20)));
    assert!(found.base_bytes > 0 && found.generation == 1, "{found:?}");
    let again = perform(&store, &Task::Compact { keep: 3 }).unwrap();
    assert!(matches!(again, Report::Compact { snapshots: 0, .. }), "{again:?}");
}

#[test]
fn a_flipped_byte_is_found_in_either_kind_of_file() {
    let dir = tempfile::tempdir().unwrap();
    fill(&open(dir.path()));
    let key = b"rtown\0square\0\x02\0\0\0\0\0\0\0\x05\0\0\0\0";
    raw(dir.path(), |db| {
        let mut value = db.get(key).unwrap().unwrap().to_vec();
        value[40] ^= 1;
        db.insert(key, value).unwrap();
    });
    says(&open(dir.path()), "town/square/likes", "fails its checksum");

    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    fill(&store);
    let mut large = Log::new(&store, "zoo/board/json");
    for number in 0..40 {
        let set = put(&format!("key {number}"), &"large ".repeat(500));
        store.append(&[large.next("ada", &set)]).unwrap();
    }
    store.renew(&mut go_on).unwrap();
    drop(store);
    let file = dir.path().join("base-0");
    let mut bytes = fs::read(&file).unwrap();
    let late = bytes.len() / 4 * 3;
    bytes[late] ^= 1;
    fs::write(&file, bytes).unwrap();
    says(&open(dir.path()), "zoo/board/json", "fails its checksum");
}

/// Opens sled itself on a closed store that was never merged.
fn raw(dir: &Path, edit: impl FnOnce(&sled::Db)) {
    let db = loop {
        // sled closes its file some time after the last handle is gone.
        if let Ok(db) = sled::open(dir.join("log")) {
            break db;
        }
    };
    edit(&db);
    db.flush().unwrap();
    let lock = dir.join("log/db");
    drop(db);
    assert!(lock.exists());
}

#[test]
fn a_missing_record_a_missing_part_and_a_missing_snapshot_are_found() {
    for (address, key, what) in [
        (
            "town/square/likes",
            &b"rtown\0square\0\x02\0\0\0\0\0\0\0\x05\0\0\0\0"[..],
            "does not continue",
        ),
        ("town/square/likes", b"rtown\0square\0\x02\0\0\0\0\0\0\0\x01\0\0\0\0", "records after"),
        ("town/square/comments", b"stown\0square\0\x03\0\0\0\0\0\0\0\x01\0\0\0\0", "is missing"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        fill(&open(dir.path()));
        raw(dir.path(), |db| drop(db.remove(key).unwrap().unwrap()));
        says(&open(dir.path()), address, what);
    }
}

#[test]
fn a_bad_snapshot_and_a_digest_of_another_secret_are_found() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let (mut one, mut other) =
        (Log::new(&store, "town/one/json"), Log::new(&store, "town/two/json"));
    for number in 0..5 {
        let set = put("key", &format!("value {number}"));
        store.append(&[one.next("ada", &set), other.next("ada", &put("k", "v"))]).unwrap();
    }
    // A snapshot that loads and is of another log.
    let records = store.read(&other.address, 1, usize::MAX).unwrap();
    let wrong = hub::compact(&other.address, other.end(), None, &records).unwrap();
    let wrong = Snapshot { cursor: one.end(), ..wrong };
    store.put_snapshot(&one.address, &wrong, 0).unwrap();
    says(&store, "town/one/json", "the snapshot lacks the change at 1");
    // One that does not load.
    let wrong = Snapshot { body: vec![7; 100].into(), ..wrong };
    store.put_snapshot(&one.address, &wrong, 0).unwrap();
    says(&store, "town/one/json", "does not load");

    let entry = other.entry("eve", &put("k", "w"));
    let append = other.record(Tip([1; 16]), entry);
    store.append(&[append]).unwrap();
    says(&store, "town/two/json", "digest");
}

#[test]
fn what_is_exported_and_imported_has_the_same_heads_and_goes_on() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store = open(dir.path());
    fill(&store);
    let lines = export(&store);
    let copy = open(other.path());
    assert_ne!(copy.digest_key(), store.digest_key());
    let imported = import(&copy, &lines).unwrap();
    assert_eq!((imported.documents, imported.entries), (5, 12 + 20 + 1 + 10));
    assert_eq!(heads(&copy), heads(&store));
    let verified = verify(&copy);
    assert!(verified.is_sound(), "{verified:?}");
    let secret: String = store.digest_key().0.iter().map(|byte| format!("{byte:02x}")).collect();
    assert!(!lines.iter().any(|line| line.contains(&secret)));

    // The second export differs in digests only.
    let without_tips = |lines: Vec<String>| -> Vec<serde_json::Value> {
        let strip = |line: &String| {
            let mut line: serde_json::Value = serde_json::from_str(line).unwrap();
            for name in ["tip", "tip_before"] {
                line.as_object_mut().unwrap().remove(name);
            }
            line
        };
        lines.iter().map(strip).collect()
    };
    assert_eq!(without_tips(export(&copy)), without_tips(lines.clone()));
    let again = import(&copy, &lines);
    assert!(matches!(again, Err(ImportError::Exists(_))), "{again:?}");
}

#[test]
fn an_export_that_was_cut_or_changed_is_refused_by_its_line() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    fill(&store);
    let lines = export(&store);
    let fresh = || open(tempfile::tempdir().unwrap().keep().as_path());
    let cut = import(&fresh(), &lines[..lines.len() - 1]);
    assert!(matches!(cut, Err(ImportError::Incomplete)), "{cut:?}");
    let entry = lines.iter().position(|line| line.contains("\"entry\"")).unwrap();
    let mut without = lines.clone();
    without.remove(entry + 3);
    let refused = import(&fresh(), &without);
    assert!(matches!(refused, Err(ImportError::Line { .. })), "{refused:?}");
    let mut changed = lines.clone();
    let mut line: serde_json::Value = serde_json::from_str(&lines[entry]).unwrap();
    line["hash"] = "00".repeat(32).into();
    changed[entry] = line.to_string();
    let refused = import(&fresh(), &changed);
    let names_it =
        matches!(&refused, Err(ImportError::Line { line, .. }) if *line == entry as u64 + 1);
    assert!(names_it, "{refused:?}");
}

#[test]
fn a_backup_under_load_is_one_moment_of_all_documents() {
    let dir = tempfile::tempdir().unwrap();
    let (copies, store) = (tempfile::tempdir().unwrap(), open(dir.path()));
    fill(&store);
    let done = AtomicBool::new(false);
    let (mut one, mut two) = (Log::new(&store, "load/one/json"), Log::new(&store, "load/two/json"));
    let backups = std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            while !done.load(Ordering::SeqCst) {
                let set = put("key", &format!("value {}", one.end().seq));
                // In this order: no moment has more of the second than of the first.
                store.append(&[one.next("ada", &set)]).unwrap();
                store.append(&[two.next("ada", &set)]).unwrap();
            }
        });
        let mut backups = Vec::new();
        for number in 0..4 {
            let before = store.head(&"load/one/json".parse().unwrap()).unwrap();
            let target = copies.path().join(format!("backup {number}"));
            let bytes = store.backup(&target, &mut go_on).unwrap();
            assert!(bytes > 0);
            backups.push((target, before.map_or(0, |head| head.end.seq)));
        }
        done.store(true, Ordering::SeqCst);
        writer.join().unwrap();
        backups
    });
    assert!(verify(&store).is_sound());
    for (number, (backup, at_least)) in backups.iter().enumerate() {
        let target = copies.path().join(format!("restored {number}"));
        SledStore::restore(backup, &target, &mut go_on).unwrap();
        let restored = open(&target);
        let verified = verify(&restored);
        assert!(verified.is_sound(), "{verified:?}");
        assert_eq!(restored.digest_key(), store.digest_key(), "cursors go on being known");
        let seq = |id: &str| {
            let head = restored.head(&format!("load/{id}/json").parse().unwrap()).unwrap();
            head.map_or(0, |head| head.end.seq)
        };
        let (first, second) = (seq("one"), seq("two"));
        assert!(first == second || first == second + 1, "{first} and {second}");
        assert!(first >= *at_least, "what was there before the backup is in it");
        for id in ["one", "two"] {
            let address: Address = format!("load/{id}/json").parse().unwrap();
            let (here, there) =
                (store.read(&address, 1, usize::MAX), restored.read(&address, 1, usize::MAX));
            let there = there.unwrap();
            assert_eq!(here.unwrap()[..there.len()], there[..], "a prefix");
        }
        assert!(restored.begin_term(1).unwrap() >= 1);
    }
    let refused = SledStore::restore(&backups[0].0, dir.path(), &mut go_on);
    assert!(matches!(refused, Err(CopyError::NotEmpty(_))), "{refused:?}");
    let refused = store.backup(&backups[0].0, &mut go_on);
    assert!(matches!(refused, Err(CopyError::NotEmpty(_))), "{refused:?}");
    let refused = SledStore::restore(dir.path(), &copies.path().join("x"), &mut go_on);
    assert!(matches!(refused, Err(CopyError::Open(_))), "it is in use: {refused:?}");
}

#[test]
fn a_backup_that_was_stopped_is_no_store() {
    let dir = tempfile::tempdir().unwrap();
    let (copies, store) = (tempfile::tempdir().unwrap(), open(dir.path()));
    fill(&store);
    let target = copies.path().join("half");
    let mut steps = 0;
    let stopped = store.backup(&target, &mut |_| {
        steps += 1;
        ControlFlow::Break(())
    });
    assert!(stopped.is_err() && steps == 1, "{stopped:?}");
    let refused = SledStore::restore(&target, &copies.path().join("x"), &mut go_on);
    assert!(matches!(refused, Err(CopyError::Incomplete(_))), "{refused:?}");
    assert!(verify(&store).is_sound());
}

#[test]
fn a_deleted_space_is_gone_from_the_files_and_no_other_is_touched() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    fill(&store);
    let mut near = Log::new(&store, "town-hall/a/json");
    store.append(&[near.next("ada", &put("key", "in the town hall"))]).unwrap();
    let kept: Vec<_> =
        heads(&store).into_iter().filter(|(address, _)| address.space() != "town").collect();
    assert_eq!(kept.len(), 2);
    let deleted = perform(&store, &Task::DeleteSpace { space: "town".to_owned() }).unwrap();
    assert!(matches!(deleted, Report::DeleteSpace { documents: 4, .. }), "{deleted:?}");
    let mut left = heads(&store);
    left.retain(|(address, _)| address.space() != "town");
    assert_eq!(left, kept);
    let verified = verify(&store);
    assert!(verified.is_sound(), "{verified:?}");
    for facet in ["post", "likes", "comments"] {
        let address: Address = format!("town/square/{facet}").parse().unwrap();
        let head = store.head(&address).unwrap().unwrap();
        assert!(head.sealed.is_empty() && head.tail_from == head.end.seq + 1, "{head:?}");
        // Whoever comes back with the old one must see that there is a later epoch.
        let snapshot = hub::snapshot(&store, &address).unwrap().unwrap();
        let document = automerge::Automerge::load(&snapshot.body).unwrap();
        let blank =
            syncline_engine::document::genesis::document(&address, document.text_encoding());
        let (shown, nothing) =
            (View::read(address.facet(), &document), View::read(address.facet(), &blank));
        assert_eq!(shown, nothing);
        assert_eq!(document.get_changes(&[]).len(), 2, "genesis and a beginning");
    }
    drop(store);
    // sled removes its directory some time after it was closed.
    let store = open(dir.path());
    assert!(!is_anywhere(dir.path(), "a value in town/board"));
    assert!(!is_anywhere(dir.path(), "Adas title"));
    assert!(is_anywhere(dir.path(), "in the town hall"));
    // The space may be used again.
    let mut again = Log::new(&store, "town/square/json");
    store.append(&[again.next("ada", &put("key", "again"))]).unwrap();
    let refused = perform(&store, &Task::DeleteSpace { space: "no/space".to_owned() });
    assert!(matches!(refused, Err(TaskError::Name(_))), "{refused:?}");
}

#[test]
fn a_forgotten_user_is_gone_from_content_log_and_files_and_others_are_not() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    fill(&store);
    let mut only_bob = Log::new(&store, "village/square/comments");
    store.append(&[only_bob.next("bob", &comment(1, "bob", "only bob"))]).unwrap();
    let before = heads(&store);
    let report = perform(&store, &Task::ForgetUser { user: "ada".to_owned() }).unwrap();
    let Report::ForgetUser { documents: 3, failed } = &report else { panic!("{report:?}") };
    assert!(failed.is_empty(), "{failed:?}");
    let verified = verify(&store);
    assert!(verified.is_sound(), "{verified:?}");
    for (address, heads) in heads(&store) {
        let was = before.iter().find(|(known, _)| *known == address).unwrap();
        let is_touched = address.space() == "town" && address.id() == "square";
        assert_eq!(heads != was.1, is_touched, "{address}");
    }
    let shown = |address: &str| {
        let address: Address = address.parse().unwrap();
        let snapshot = hub::snapshot(&store, &address).unwrap().unwrap();
        let document = automerge::Automerge::load(&snapshot.body).unwrap();
        format!("{:?}", View::read(address.facet(), &document))
    };
    let comments = shown("town/square/comments");
    assert!(comments.contains("bob says number 1") && comments.contains("forgotten"), "{comments}");
    assert!(!comments.contains("ada"), "{comments}");
    let likes = shown("town/square/likes");
    assert!(likes.contains("bob") && !likes.contains("ada"), "{likes}");
    let post = shown("town/square/post");
    assert!(!post.contains("Ada") && post.contains("forgotten"), "{post}");
    drop(store);
    let store = open(dir.path());
    for said in ["ada says number", "Adas title", "a body of Adas", "post/like/ada"] {
        assert!(!is_anywhere(dir.path(), said), "{said}");
    }
    // Nobody is there any more.
    let again = perform(&store, &Task::ForgetUser { user: "ada".to_owned() }).unwrap();
    assert!(matches!(again, Report::ForgetUser { documents: 0, .. }), "{again:?}");
}
