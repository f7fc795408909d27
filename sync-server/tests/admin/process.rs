//! The binary: on closed directories, and on directories that a running server holds.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;
use syncline_engine::ids::Address;
use syncline_engine::storage::LogStore;

use crate::world::{Log, comment, fill, heads, is_anywhere, open, put, verify};

fn binary(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_syncline-server"));
    command.args(arguments).env_remove("SYNCLINE_DATA").env_remove("SYNCLINE_CONFIG");
    command.env_remove("SYNCLINE_LISTEN").stdin(Stdio::null());
    command
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Runs a subcommand on a directory and answers its exit code and output.
fn run(data: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } =
        binary(arguments).args(["--data", text(data)]).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code(), text(stdout), text(stderr))
}

/// Runs one that succeeds, and reads its JSON.
fn json(data: &Path, arguments: &[&str]) -> Value {
    let (code, out, complaint) = run(data, &[arguments, &["--json"]].concat());
    assert_eq!(code, Some(0), "{arguments:?}: {out}{complaint}");
    assert_eq!(out.lines().count(), 1, "{out}");
    serde_json::from_str(&out).unwrap()
}

/// A server that has said that it is ready; killed when it is dropped.
struct Running(Child);

impl Running {
    fn on(data: &Path) -> Self {
        let mut command = binary(&["--listen", "127.0.0.1:0", "--data", text(data)]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(line.contains("listening on"), "{line}");
        Self(child)
    }

    fn terminate(mut self) -> Option<i32> {
        let id = self.0.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
        self.0.wait().unwrap().code()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn subcommands_say_the_same_of_a_closed_directory_and_of_a_running_server() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    fill(&open(&data));
    let documents = |inspection: &Value| inspection["documents"].clone();
    let closed = json(&data, &["inspect"]);
    assert_eq!(closed["documents"].as_array().unwrap().len(), 5);

    let server = Running::on(&data);
    let socket = std::fs::metadata(data.join("admin.sock")).unwrap();
    assert_eq!(socket.permissions().mode() & 0o777, 0o600);
    let live = json(&data, &["inspect"]);
    assert_eq!(documents(&live), documents(&closed));
    let verified = json(&data, &["verify"]);
    assert_eq!((&verified["documents"], &verified["problems_total"]), (&5.into(), &0.into()));
    let compacted = json(&data, &["compact"]);
    assert_eq!(compacted["snapshots"], 0, "those are the server's business");
    assert!(json(&data, &["inspect"])["generation"].as_u64().unwrap() >= 1);
    let (backup, file) = (dir.path().join("backup"), dir.path().join("export.jsonl"));
    assert!(json(&data, &["backup", text(&backup)])["bytes"].as_u64().unwrap() > 0);
    assert_eq!(json(&data, &["export", text(&file)])["documents"], 5);
    assert_eq!(server.terminate(), Some(0));
    assert!(!data.join("admin.sock").exists(), "it is gone with the server");

    let restored = dir.path().join("restored");
    let verified = json(&restored, &["restore", text(&backup)]);
    assert_eq!((&verified["documents"], &verified["problems_total"]), (&5.into(), &0.into()));
    assert_eq!(documents(&json(&restored, &["inspect"])), documents(&closed));
    let imported = dir.path().join("imported");
    assert_eq!(json(&imported, &["import", text(&file)])["documents"], 5);
    assert_eq!(heads(&open(&imported)), heads(&open(&data)));
    assert_eq!(Running::on(&restored).terminate(), Some(0), "a restored store is served");
    assert_eq!(json(&data, &["delete-space", "town"])["documents"], 4);
    assert_eq!(json(&data, &["forget-user", "bob"])["documents"], 1);
    let (code, out, _) = run(&data, &["inspect"]);
    assert!(code == Some(0) && out.contains("village/board/json"), "{out}");
}

#[test]
fn what_is_no_data_directory_held_damaged_or_not_empty_is_said_with_its_exit_code() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("missing");
    let (code, _, complaint) = run(&missing, &["verify"]);
    assert!(code == Some(1) && complaint.contains("not a syncline store"), "{complaint}");
    assert!(!missing.exists(), "nothing was made");

    let data = dir.path().join("data");
    let store = open(&data);
    fill(&store);
    // This process is no server.
    let (code, _, complaint) = run(&data, &["inspect"]);
    assert!(code == Some(3) && complaint.contains("in use by another process"), "{complaint}");
    store.renew(&mut |_| std::ops::ControlFlow::Continue(())).unwrap();
    let mut spoiled = Log::new(&store, "town/spoiled/json");
    let entry = spoiled.entry("ada", &put("key", "value"));
    let append = spoiled.record(syncline_engine::ids::Tip([1; 16]), entry);
    store.append(&[append]).unwrap();
    drop(store);
    let (code, out, _) = run(&data, &["verify", "--json"]);
    let found: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &found["problems_total"]), (Some(7), &1.into()));
    assert_eq!(found["problems"][0]["address"], "town/spoiled/json");
    let (code, out, _) = run(&data, &["verify"]);
    assert!(code == Some(7) && out.contains("town/spoiled/json"), "{out}");

    let (code, _, complaint) = run(&data, &["restore", text(&dir.path().join("none"))]);
    assert!(code == Some(1) && complaint.contains("not a complete copy"), "{complaint}");
    let (code, _, complaint) = run(&data, &["backup", text(dir.path())]);
    assert!(code == Some(1) && complaint.contains("not an empty directory"), "{complaint}");

    let base = data.join("base-0");
    let mut bytes = std::fs::read(&base).unwrap();
    bytes[20] ^= 1;
    std::fs::write(&base, bytes).unwrap();
    let (code, _, complaint) = run(&data, &["verify"]);
    assert!(code == Some(7) && complaint.contains("damaged"), "{complaint}");
}

#[test]
fn a_server_killed_during_backups_and_merges_leaves_a_sound_store() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let store = open(&data);
    fill(&store);
    for space in 0..4 {
        let mut board = Log::new(&store, &format!("load{space}/board/json"));
        for number in 0..10 {
            let set = put(&format!("key {number}"), &"large ".repeat(600));
            store.append(&[board.next("ada", &set)]).unwrap();
        }
    }
    let expected = heads(&store);
    drop(store);
    for round in 0..6 {
        let server = Running::on(&data);
        let target = dir.path().join(format!("backup {round}"));
        let mut client = binary(&["backup", text(&target), "--data", text(&data)])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // Somewhere on the way: while it is merged, or copied so far.
        let mut chance = [0; 1];
        getrandom::fill(&mut chance).unwrap();
        let copied = 700 * u64::from(chance[0]);
        let is_far = || {
            if round % 2 == 0 { is_merging(&data) } else { written(&target) >= copied }
        };
        while client.try_wait().unwrap().is_none() && !is_far() {}
        drop(server);
        let _ = client.wait().unwrap();
        let store = open(&data);
        assert_eq!(heads(&store), expected, "round {round}");
        let verified = verify(&store);
        assert!(verified.is_sound(), "round {round}: {verified:?}");
    }
}

#[test]
fn a_server_killed_while_it_deletes_or_forgets_has_not_begun_or_the_next_finishes_it() {
    let dir = tempfile::tempdir().unwrap();
    for round in 0..6 {
        let data = dir.path().join(format!("round {round}"));
        let store = open(&data);
        fill(&store);
        for post in 0..12 {
            let mut comments = Log::new(&store, &format!("town/post{post}/comments"));
            let said = comment(post, "ada", &format!("ada says number {post} apart"));
            store.append(&[comments.next("ada", &said)]).unwrap();
        }
        let before = heads(&store);
        drop(store);
        let deletes = round % 2 == 0;
        let order = if deletes { ["delete-space", "town"] } else { ["forget-user", "ada"] };
        let server = Running::on(&data);
        let mut client = binary(&[order[0], order[1], "--data", text(&data)])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // Somewhere on the way: early while documents are written anew, late while all is merged.
        let mut chance = [0; 2];
        getrandom::fill(&mut chance).unwrap();
        let begun = written(&data);
        let wanted = begun + u64::from(u16::from_le_bytes(chance)) * 2;
        while client.try_wait().unwrap().is_none() && written(&data) < wanted {}
        drop(server);
        let _ = client.wait().unwrap();

        let store = open(&data);
        let verified = verify(&store);
        assert!(verified.is_sound(), "round {round}: {verified:?}");
        let (deletions, forgetting) = (store.deletions().unwrap(), store.forgetting().unwrap());
        let is_open = deletions.iter().any(|(_, deletion)| !deletion.emptied);
        let untouched = heads(&store) == before;
        let others = |heads: &[(Address, _)]| -> Vec<_> {
            heads.iter().filter(|(address, _)| address.space() != "town").cloned().collect()
        };
        assert_eq!(others(&heads(&store)), others(&before), "round {round}");
        drop(store);
        let noted = !deletions.is_empty() || !forgetting.is_empty();
        assert!(untouched || noted || !deletes, "round {round}: what is begun is noted");
        if untouched && !noted {
            continue;
        }
        let server = Running::on(&data);
        if is_open {
            // It goes on by itself.
            while json(&data, &["inspect"])["deleted"][0]["emptied"] != true {}
        } else if deletes {
            assert_eq!(json(&data, &["inspect"])["deleted"][0]["emptied"], true);
        } else {
            // One order waits for the other, and finds nothing any more.
            let again = json(&data, &["forget-user", "ada"]);
            assert_eq!(again["failed"].as_array().map(Vec::len), Some(0), "{again}");
        }
        json(&data, &["compact"]);
        assert_eq!(server.terminate(), Some(0));
        let store = open(&data);
        let verified = verify(&store);
        assert!(verified.is_sound(), "round {round}: {verified:?}");
        assert_eq!(store.forgetting().unwrap(), Vec::<String>::new());
        drop(store);
        drop(open(&data));
        assert!(!is_anywhere(&data, "ada says number"), "round {round}");
    }
}

/// Whether a base is being written.
fn is_merging(data: &Path) -> bool {
    let entries = std::fs::read_dir(data).unwrap().flatten();
    entries.map(|entry| entry.path()).any(|path| path.extension().is_some_and(|end| end == "new"))
}

/// Bytes in the files of a directory.
fn written(dir: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(dir) else { return 0 };
    entries.flatten().filter_map(|entry| entry.metadata().ok()).map(|found| found.len()).sum()
}
