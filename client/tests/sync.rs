//! Clients and a real server in one process: what one writes, all see; what was written apart comes
//! together; what was interrupted goes on.

#![allow(clippy::unwrap_used, reason = "what a test can not do without fails it")]

use std::future::Future;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use syncline_client::engine::codes::Code;
use syncline_client::engine::document::{Target, TextField, View};
use syncline_client::engine::hub;
use syncline_client::engine::session::{Config as SessionConfig, ConnectionStatus, Resolution};
use syncline_client::{Builder, Client, Document};
use syncline_server::Server;
use syncline_server::config::{Config, Storage};

async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(60), future).await.expect("nothing happened")
}

async fn serve(listen: SocketAddr, storage: Storage) -> Server {
    within(Server::start(Config { listen, storage, ..Config::default() })).await.unwrap()
}

fn anywhere() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

/// Comes back quickly after a lost connection.
fn builder(server: &Server, user: &str) -> Builder {
    let soon = Duration::from_millis(20);
    let config = SessionConfig { backoff_min: soon, backoff_max: soon, ..SessionConfig::default() };
    Client::builder(server.url()).user(user).config(config)
}

async fn join(server: &Server, user: &str) -> Client {
    within(builder(server, user).in_memory().open()).await.unwrap()
}

async fn join_stored(server: &Server, user: &str, dir: &Path, online: bool) -> Client {
    within(builder(server, user).data_dir(dir).online(online).open()).await.unwrap()
}

/// Waits until a document shows something.
async fn shows(document: &Document, mut what: impl FnMut(&View) -> bool) {
    let mut changes = document.events();
    within(async {
        while !document.with_view(&mut what) {
            assert!(changes.next().await.is_some(), "the document was closed");
        }
    })
    .await;
}

/// Waits until two documents show the same.
async fn agree(one: &Document, other: &Document) {
    let (mut here, mut there) = (one.events(), other.events());
    within(async {
        while one.view() != other.view() {
            tokio::select! {
                change = here.next() => assert!(change.is_some()),
                change = there.next() => assert!(change.is_some()),
            }
        }
    })
    .await;
}

#[tokio::test]
async fn two_clients_see_what_either_writes() {
    let server = serve(anywhere(), Storage::Memory).await;
    let (alice, bob) = (join(&server, "alice").await, join(&server, "bob").await);
    let id = alice.new_id();
    let (hers, his) = (
        within(alice.likes("town", id)).await.unwrap(),
        within(bob.likes("town", id)).await.unwrap(),
    );
    within(his.document().live()).await.unwrap();
    assert_eq!(within(hers.like(Target::Post, "like").unwrap()).await, Ok(Resolution::Confirmed));
    shows(
        his.document(),
        |view| matches!(view, View::Likes(likes) if likes.count(Target::Post, "like") == 1),
    )
    .await;
    assert!(his.contains(Target::Post, "like", alice.user()));
    his.like(Target::Post, "like").unwrap();
    hers.unlike(Target::Post, "like").unwrap();
    within(alice.synced()).await.unwrap();
    within(bob.synced()).await.unwrap();
    agree(hers.document(), his.document()).await;
    assert!(!hers.contains(Target::Post, "like", alice.user()));
    assert!(hers.contains(Target::Post, "like", bob.user()));

    let hers = within(alice.comments("town", id)).await.unwrap();
    let his = within(bob.comments("town", id)).await.unwrap();
    let mut last = None;
    for n in 0..20 {
        hers.add(None, &format!("hers {n}")).unwrap();
        last = Some(his.add(None, &format!("his {n}")).unwrap().1);
    }
    assert_eq!(within(last.unwrap()).await, Ok(Resolution::Confirmed));
    within(alice.synced()).await.unwrap();
    agree(hers.document(), his.document()).await;
    assert_eq!(his.thread().len(), 40);
    let status = bob.status().borrow().clone();
    assert!(status.is_synced() && status.last_durable.is_some() && status.bytes_received > 0);
    within(alice.close()).await;
    within(bob.close()).await;
    within(server.shutdown()).await.unwrap();
}

#[tokio::test]
async fn what_two_clients_wrote_apart_comes_together() {
    let server = serve(anywhere(), Storage::Memory).await;
    let (alice, bob) = (join(&server, "alice").await, join(&server, "bob").await);
    let id = alice.new_id();
    let hers = within(alice.post("town", id)).await.unwrap();
    hers.create("Title", "one two three", &[]).unwrap();
    within(hers.add_editor(bob.user()).unwrap()).await.unwrap();
    let his = within(bob.post("town", id)).await.unwrap();
    within(his.document().live()).await.unwrap();
    shows(his.document(), |view| matches!(view, View::Post(post) if post.editors().len() == 1))
        .await;
    alice.set_online(false);
    bob.set_online(false);
    let mut pending = hers.edit(TextField::Body, "zero one two three").unwrap();
    pending.extend(hers.edit(TextField::Body, "zero one two three four").unwrap());
    pending.extend(his.edit(TextField::Body, "one 2 three").unwrap());
    pending.push(his.add_tag("numbers").unwrap());
    assert_eq!((hers.body(), his.body()), ("zero one two three four".into(), "one 2 three".into()));
    alice.set_online(true);
    bob.set_online(true);
    for pending in pending {
        assert_eq!(within(pending).await, Ok(Resolution::Confirmed));
    }
    within(alice.synced()).await.unwrap();
    within(bob.synced()).await.unwrap();
    agree(hers.document(), his.document()).await;
    assert_eq!(hers.body(), "zero one 2 three four");
    assert_eq!(hers.tags(), ["numbers"]);
}

#[tokio::test]
async fn what_was_written_before_a_crash_is_sent_once_after_it() {
    let server = serve(anywhere(), Storage::Memory).await;
    let dir = tempfile::tempdir().unwrap();
    let alice = join_stored(&server, "alice", dir.path(), false).await;
    let id = alice.new_id();
    let comments = within(alice.comments("town", id)).await.unwrap();
    for n in 0..50 {
        let (_, pending) = comments.add(None, &format!("comment {n}")).unwrap();
        within(pending.stored()).await.unwrap();
    }
    // The device "crashes" here: this image of its store is all that is left of it.
    let image = tempfile::tempdir().unwrap();
    copy(dir.path(), image.path());
    drop((comments, alice));

    let alice = join_stored(&server, "alice", image.path(), true).await;
    assert_eq!(within(alice.pending_documents()).await.unwrap().len(), 1);
    within(alice.synced()).await.unwrap();
    let comments = within(alice.comments("town", id)).await.unwrap();
    assert_eq!(comments.thread().len(), 50);
    drop(comments);
    within(alice.close()).await;

    let alice = join_stored(&server, "alice", image.path(), true).await;
    let bob = join(&server, "bob").await;
    let hers = within(alice.comments("town", id)).await.unwrap();
    let his = within(bob.comments("town", id)).await.unwrap();
    within(his.document().live()).await.unwrap();
    within(hers.document().live()).await.unwrap();
    agree(hers.document(), his.document()).await;
    assert_eq!(his.thread().len(), 50);
    assert_eq!(his.document().status().seq, 50);
}

#[tokio::test]
async fn clients_outlive_a_restart_of_the_server() {
    let dir = tempfile::tempdir().unwrap();
    let storage = || Storage::Directory(dir.path().to_owned());
    let server = serve(anywhere(), storage()).await;
    let listen = server.local_addr();
    let (alice, bob) = (join(&server, "alice").await, join(&server, "bob").await);
    let (hers, his) = (
        within(alice.json("town", "board")).await.unwrap(),
        within(bob.json("town", "board")).await.unwrap(),
    );
    assert_eq!(within(hers.put(["a"], 1).unwrap()).await, Ok(Resolution::Confirmed));
    within(server.shutdown()).await.unwrap();
    let away = |status: &ConnectionStatus| *status != ConnectionStatus::Connected;
    within(alice.connection().wait_for(away)).await.unwrap();
    let meanwhile = [hers.put(["b"], 2).unwrap(), his.put(["c"], 3).unwrap()];
    let server = serve(listen, storage()).await;
    for pending in meanwhile {
        assert_eq!(within(pending).await, Ok(Resolution::Confirmed));
    }
    shows(
        his.document(),
        |view| matches!(view, View::Json(json) if json.at(&["b".into()]).is_some()),
    )
    .await;
    agree(hers.document(), his.document()).await;
    assert_eq!(his.value(), serde_json::json!({ "a": 1, "b": 2, "c": 3 }));
    within(server.shutdown()).await.unwrap();
}

#[tokio::test]
async fn what_the_server_refuses_is_undone_in_the_view() {
    let hub = hub::Config { document_bytes_max: 8_192, ..hub::Config::default() };
    let (listen, storage) = (anywhere(), Storage::Memory);
    let server = Server::start(Config { listen, storage, hub, ..Config::default() });
    let server = within(server).await.unwrap();
    let (alice, bob) = (join(&server, "alice").await, join(&server, "bob").await);
    let hers = within(alice.json("town", "board")).await.unwrap();
    let his = within(bob.json("town", "board")).await.unwrap();
    let text = "x".repeat(1_000);
    let pending: Vec<_> = (0..20)
        .map(|n| (n.to_string(), hers.put([n.to_string().as_str()], text.clone()).unwrap()))
        .collect();
    let mut confirmed = serde_json::Map::new();
    let mut refused = 0;
    for (key, pending) in pending {
        match within(pending).await.unwrap() {
            Resolution::Confirmed => {
                confirmed.insert(key, text.clone().into());
            }
            Resolution::Refused { code, .. } => {
                assert_eq!(code, Code::DocumentFull);
                refused += 1;
            }
            other @ (Resolution::NoEffect | Resolution::Superseded) => panic!("{other:?}"),
        }
    }
    assert!(!confirmed.is_empty() && refused > 0, "{refused}");
    within(alice.synced()).await.unwrap();
    assert_eq!(hers.value(), serde_json::Value::Object(confirmed));
    agree(hers.document(), his.document()).await;
}

fn copy(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            std::fs::create_dir_all(&target).unwrap();
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}
