//! The programs themselves: killed in the middle, started again on what they left, two of them on
//! one directory, asked to end.

use std::path::{Path, PathBuf};

use serde_json::Value;
use syncline_client::engine::document::{Counter, View};
use syncline_tests::process::{run, run_json, syncline};
use tempfile::tempdir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use crate::support::{Proxy, RawClient, ServerProcess, confirmed, fresh_id, join, shows, within};

fn text(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

fn sample(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("data").join(name)
}

#[tokio::test]
async fn a_replay_goes_through_two_kills_of_the_server_ak1_ak2_pu3() {
    let dir = tempdir().expect("a directory");
    let importer = ["--importers", "replay"];
    let mut server = ServerProcess::start(&dir.path().join("server"), &importer).await;
    let proxy = Proxy::start(server.port()).await;
    let (file, url) = (sample("tiny.jsonl"), proxy.url());
    let mut replay = syncline(&["replay", text(&file), "--server", &url, "--json"]);
    replay.args(["--clients", "3", "--offline-share", "0.3", "--seed", "7"]);
    let replay = replay.spawn().expect("it starts");
    for bytes in [10_000, 30_000] {
        let mut uploaded = proxy.watch_bytes_up();
        within(uploaded.wait_for(|up| *up >= bytes)).await.expect("the proxy runs");
        server.kill().await;
        server = server.restart().await;
    }
    let at_last_kill = proxy.bytes_up();
    let output = within(replay.wait_with_output()).await.expect("it ends");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(proxy.bytes_up() > at_last_kill, "it was killed in the middle");
    let report: Value = serde_json::from_str(said.lines().last().expect("a report")).expect("JSON");
    let expected = std::fs::read_to_string(sample("tiny.expect.json")).expect("it is there");
    let expected: Value = serde_json::from_str(&expected).expect("JSON");
    assert_eq!(report["converged"], true, "{report}");
    assert_eq!(report["state_matches"], true, "{report}");
    assert_eq!((&report["lost"], &report["duplicated"]), (&0.into(), &0.into()));
    assert_eq!(report["state_sha256"], expected["state_sha256"]);
    assert_eq!(report["live_likes"], expected["live_likes"]);
    assert_eq!(server.terminate().await, Some(0));
}

/// `syncline` as alice on a store of hers.
fn alice(arguments: &[&str], store: &Path, url: &str) -> Command {
    let mut command = syncline(arguments);
    command.args(["--user", "alice", "--json", "--server", url, "--data"]).arg(store);
    command
}

/// The texts of the comments that somebody new sees.
async fn comments(url: &str) -> Vec<String> {
    let fresh = join(url, "carol").await;
    let comments = within(fresh.comments("town", "square")).await.expect("it opens");
    within(comments.document().live()).await.expect("in sync");
    let mut texts: Vec<String> =
        comments.thread().into_iter().map(|(_, _, comment)| comment.body).collect();
    texts.sort();
    texts
}

#[tokio::test]
async fn a_client_killed_after_it_said_that_work_is_stored_sends_it_once_later() {
    let dir = tempdir().expect("a directory");
    let server = ServerProcess::start(&dir.path().join("server"), &[]).await;
    let (url, store) = (server.url(), dir.path().join("alice"));
    let mut expected = Vec::new();
    for n in 0..4 {
        let body = format!("offline {n}");
        let mut child = alice(&["comment", "town/square", &body, "--offline"], &store, &url)
            .spawn()
            .expect("it starts");
        let stdout = child.stdout.take().expect("it is piped");
        let said = within(BufReader::new(stdout).lines().next_line()).await.expect("text");
        let said: Value = serde_json::from_str(&said.expect("a line")).expect("JSON");
        assert_eq!(said["state"], "pending", "{said}");
        // It may be on its way out already; its store must be fine either way.
        within(child.kill()).await.expect("it can be killed");
        expected.push(body);
    }
    for _ in 0..2 {
        let said = run_json(alice(&["sync"], &store, &url)).await;
        assert_eq!((&said["synced"], &said["pending"]), (&true.into(), &0.into()), "{said}");
    }
    assert_eq!(comments(&url).await, expected);
    let said = run_json(alice(&["status"], &store, &url)).await;
    assert_eq!((&said["pending"], &said["connected"]), (&0.into(), &true.into()), "{said}");
}

#[tokio::test]
async fn a_client_killed_as_its_work_arrives_does_not_send_it_twice_pu3_ak3() {
    let dir = tempdir().expect("a directory");
    let server = ServerProcess::start(&dir.path().join("server"), &[]).await;
    let (url, store) = (server.url(), dir.path().join("alice"));
    run_json(alice(&["post", "town/square", "Hello"], &store, &url)).await;
    let observer = join(&url, "observer").await;
    let seen = within(observer.comments("town", "square")).await.expect("it opens");
    let mut expected = Vec::new();
    for n in 0..4 {
        let body = format!("comment {n}");
        let mut child =
            alice(&["comment", "town/square", &body], &store, &url).spawn().expect("it starts");
        // What others see is acknowledged in the same moment: the client may have heard or not.
        shows(seen.document(), |view| match view {
            View::Comments(view) => view.iter().any(|(_, comment)| comment.body == body),
            View::Post(_) | View::Likes(_) | View::Json(_) => false,
        })
        .await;
        within(child.kill()).await.expect("it can be killed");
        expected.push(body);
    }
    let said = run_json(alice(&["sync"], &store, &url)).await;
    assert_eq!((&said["synced"], &said["pending"]), (&true.into(), &0.into()), "{said}");
    assert_eq!(comments(&url).await, expected);
    assert_eq!(seen.document().status().seq, 4, "each is in the log once");
}

#[tokio::test]
async fn a_client_killed_while_it_watches_leaves_its_store_usable() {
    let dir = tempdir().expect("a directory");
    let server = ServerProcess::start(&dir.path().join("server"), &[]).await;
    let (url, store) = (server.url(), dir.path().join("alice"));
    run_json(alice(&["post", "town/square", "Hello"], &store, &url)).await;
    let mut child = alice(&["watch", "town/square"], &store, &url).spawn().expect("it starts");
    let stdout = child.stdout.take().expect("it is piped");
    let mut lines = BufReader::new(stdout).lines();
    assert!(within(lines.next_line()).await.expect("text").is_some());
    // A store has one owner at a time.
    let second = run(alice(&["sync"], &store, &url)).await;
    assert!(!second.status.success());
    let complaint = String::from_utf8_lossy(&second.stderr);
    assert!(complaint.contains("in use"), "{complaint}");
    run_json(alice(&["comment", "town/square", "seen"], &dir.path().join("phone"), &url)).await;
    assert!(
        within(lines.next_line()).await.expect("text").is_some_and(|line| line.contains("seen"))
    );
    within(child.kill()).await.expect("it can be killed");
    let said = run_json(alice(&["sync"], &store, &url)).await;
    assert_eq!(said["synced"], true, "{said}");
    for place in [&["show", "town/square"][..], &["show", "town/square", "--offline"]] {
        let shown = run_json(alice(place, &store, &url)).await;
        assert!(shown.to_string().contains("seen"), "{shown}");
    }
}

#[tokio::test]
async fn of_two_servers_on_one_directory_the_second_refuses_and_the_first_goes_on() {
    const DATA_HELD: i32 = 3;
    let dir = tempdir().expect("a directory");
    let data = dir.path().join("server");
    let mut server = ServerProcess::start(&data, &[]).await;
    let ada = join(&server.url(), "ada").await;
    let likes = within(ada.likes("town", "square")).await.expect("it opens");
    confirmed(likes.add(Counter::Views, 1).expect("taken")).await;
    let refused = ServerProcess::try_start(&data, 0, &[]).await.expect_err("it is held");
    assert_eq!(refused.code, Some(DATA_HELD), "{refused:?}");
    let clear = refused.said.contains("in use by another process");
    assert!(clear && refused.said.contains(text(&data)), "{refused:?}");
    confirmed(likes.add(Counter::Views, 1).expect("taken")).await;
    // One that was killed holds nothing.
    server.kill().await;
    let server = server.restart().await;
    confirmed(likes.add(Counter::Views, 1).expect("taken")).await;
    assert_eq!(likes.view_counter(), 3);
    assert_eq!(server.terminate().await, Some(0));
}

#[tokio::test]
async fn on_sigterm_everyone_is_sent_away_and_everything_acknowledged_is_there_gb1_ak1() {
    let dir = tempdir().expect("a directory");
    let data = dir.path().join("server");
    let server = ServerProcess::start(&data, &[]).await;
    let port = server.port();
    let mut idle = RawClient::hello(&server.url(), "idle", fresh_id(), 1).await;
    let ada = join(&server.url(), "ada").await;
    let likes = within(ada.likes("town", "square")).await.expect("it opens");
    let pending: Vec<_> = (0..100).map(|_| likes.add(Counter::Views, 1).expect("taken")).collect();
    let ending = tokio::spawn(server.terminate());
    let goodbye = idle.hear().await;
    assert!(matches!(goodbye, syncline_engine::wire::ServerFrame::Goodbye(_)), "{goodbye:?}");
    assert_eq!(within(ending).await.expect("it ends"), Some(0));
    let server = ServerProcess::try_start(&data, port, &[]).await.expect("it starts again");
    for pending in pending {
        confirmed(pending).await;
    }
    let fresh = join(&server.url(), "carol").await;
    let seen = within(fresh.likes("town", "square")).await.expect("it opens");
    within(seen.document().live()).await.expect("in sync");
    assert_eq!((seen.view_counter(), seen.document().status().seq), (100, 100));
}
