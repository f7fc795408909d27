//! Events out: what was accepted reaches a receiver at least once and in order for each document, whether
//! the receiver fails or is away, the server is killed, or the log drops what it has not had.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Deref;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;
use syncline_client::engine::document::{Counter, Target};
use syncline_client::{Client, Comments, Likes};
use syncline_engine::ids::{Address, Facet};
use syncline_engine::storage::LogStore;
use syncline_engine::wire::ServerFrame;
use syncline_server::store::{SledOptions, SledStore};
use syncline_tests::authority::Authority;
use syncline_tests::raw::RawDocument;
use syncline_tests::receiver::{Receiver, Reply};
use syncline_tests::web::Web;
use tempfile::tempdir;

use crate::support::{RawClient, ServerProcess, comment, confirmed, fresh_id, join, within};

/// A server that tells a receiver, with more settings for both.
async fn start(dir: &Path, receiver: &Receiver, webhook: &str, settings: &[&str]) -> ServerProcess {
    let file = dir.join("webhooks.toml");
    receiver.write_file(&file, webhook);
    let mut all = vec!["--webhooks", file.to_str().expect("a path in UTF-8")];
    all.extend_from_slice(settings);
    ServerProcess::start(&dir.join("server"), &all).await
}

/// A document, and the client that it ends with.
struct Open<T> {
    document: T,
    _client: Client,
}

impl<T> Deref for Open<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.document
    }
}

async fn comments(url: &str, user: &str, id: &str) -> Open<Comments> {
    let client = join(url, user).await;
    let comments = within(client.comments("town", id)).await.expect("it opens");
    Open { document: comments, _client: client }
}

async fn likes(url: &str, user: &str, id: &str) -> Open<Likes> {
    let client = join(url, user).await;
    let likes = within(client.likes("town", id)).await.expect("it opens");
    Open { document: likes, _client: client }
}

/// One after the other, each when the one before is in the log.
async fn add(comments: &Comments, from: usize, to: usize) {
    for n in from..to {
        confirmed(comments.add(None, &format!("comment {n}")).expect("taken").1).await;
    }
}

/// The events of each document, each event once, in the order in which it came first.
fn by_document(events: &[Value]) -> BTreeMap<String, Vec<Value>> {
    let mut documents: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for event in events {
        if seen.insert(event["id"].as_str().expect("an id").to_owned()) {
            let document = event["document"].as_str().expect("a document").to_owned();
            documents.entry(document).or_default().push(event.clone());
        }
    }
    documents
}

fn seq(event: &Value) -> u64 {
    event["seq"].as_u64().expect("a number")
}

/// The seqs of a document's events, which must ascend.
fn seqs(events: &[Value], document: &str) -> Vec<u64> {
    let all = by_document(events).remove(document).unwrap_or_default();
    let seqs: Vec<u64> = all.iter().map(seq).collect();
    assert!(seqs.is_sorted_by(|a, b| a < b), "out of order: {seqs:?}");
    seqs
}

fn kinds(events: &[Value]) -> Vec<&str> {
    let changes = events.iter().flat_map(|event| event["changes"].as_array().expect("a list"));
    changes.map(|change| change["type"].as_str().expect("a type")).collect()
}

/// The commands in a closed store's logs, as events name them, by document.
fn commands_in_log(data: &Path) -> BTreeMap<String, Vec<(u64, String)>> {
    let store = SledStore::open(data, &SledOptions::default()).expect("it opens");
    let mut logs = BTreeMap::new();
    for address in store.list(None, 1_000).expect("a list") {
        let records = store.read(&address, 1, usize::MAX).expect("records");
        let entries = records.iter().flat_map(|r| (r.first_seq..).zip(&r.entries));
        let commands = entries.filter_map(|(seq, entry)| {
            let command = entry.command?;
            Some((seq, format!("{}:{}", command.outbox, command.number)))
        });
        logs.insert(address.to_string(), commands.collect());
    }
    logs
}

fn commands_told(events: &[Value]) -> BTreeMap<String, Vec<(u64, String)>> {
    by_document(events)
        .into_iter()
        .map(|(document, events)| {
            let named = events
                .iter()
                .filter_map(|event| Some((seq(event), event["command"].as_str()?.to_owned())));
            (document, named.collect())
        })
        .collect()
}

#[tokio::test]
async fn what_is_accepted_is_told_and_what_is_refused_is_not() {
    let dir = tempdir().expect("a directory");
    let receiver = Receiver::start().await;
    let server = start(dir.path(), &receiver, "", &[]).await;
    let url = server.url();
    let ada = join(&url, "ada").await;
    let post = within(ada.post("town", "square")).await.expect("it opens");
    confirmed(post.create("Square", "Come in.", &["news"]).expect("taken")).await;
    let said = within(ada.comments("town", "square")).await.expect("it opens");
    let (id, pending) = said.add(None, "Hello\u{1f44b}").expect("taken");
    confirmed(pending).await;
    confirmed(said.edit(id, "Hello!").expect("taken")).await;
    let liked = likes(&url, "bob", "square").await;
    confirmed(liked.like(Target::Comment(id), "heart").expect("taken")).await;
    confirmed(liked.unlike(Target::Comment(id), "heart").expect("taken")).await;
    let json = within(ada.json("town", "board")).await.expect("it opens");
    confirmed(json.put(["tasks"], serde_json::json!(["a"])).expect("taken")).await;

    // A comment in somebody else's name.
    let address: Address = "town/square/comments".parse().expect("an address");
    let mut eve = RawClient::hello(&url, "eve", fresh_id(), 1).await;
    let opened = eve.subscribe(&address, fresh_id(), true).await;
    let mut document: RawDocument = eve.read(&address, &opened).await;
    let lease = opened.lease.expect("a lease was asked for");
    let forged = document.write(&lease, &[comment("ada", "I said this")]);
    eve.push(opened.handle, 1, &forged).await;
    eve.hear_until(|frame| matches!(frame, ServerFrame::Reject(_)).then_some(())).await;
    confirmed(said.delete(id).expect("taken")).await;

    let deleted = |events: &[Value]| kinds(events).contains(&"comments.deleted");
    let told_all = |events: &[Value]| deleted(events) && by_document(events).len() == 4;
    let events = receiver.took(told_all).await;
    let documents = by_document(&events);
    let of = |document: &str| kinds(&documents[document]);
    assert!(of("town/square/post").starts_with(&["post.created"]));
    assert!(of("town/square/post").contains(&"post.tagged"));
    let said = &documents["town/square/comments"];
    assert_eq!(kinds(said), ["comments.added", "comments.edited", "comments.deleted"]);
    assert_eq!(said.iter().map(seq).collect::<Vec<_>>(), [1, 2, 3], "the refused one has none");
    let added = &said[0];
    assert_eq!((&added["author"], &added["space"]), (&"ada".into(), &"town".into()));
    assert_eq!(added["changes"][0]["body"], "Hello\u{1f44b}");
    assert_eq!(added["changes"][0]["comment"], id.to_string());
    assert!(added["command"].is_string() && added["at"].is_u64(), "{added}");
    let liked = &documents["town/square/likes"];
    assert_eq!(kinds(liked), ["likes.liked", "likes.unliked"]);
    let like = &liked[0]["changes"][0];
    assert_eq!((&like["user"], &like["reaction"]), (&"bob".into(), &"heart".into()));
    let board = &documents["town/board/json"][0]["changes"][0];
    assert_eq!((&board["type"], &board["paths"][0][0]), (&"json.changed".into(), &"tasks".into()));
    assert!(!serde_json::to_string(&events).expect("JSON").contains("I said this"));
}

#[tokio::test]
async fn a_receiver_that_fails_holds_and_asks_for_time_gets_everything_in_order() {
    let dir = tempdir().expect("a directory");
    let receiver = Receiver::start().await;
    let mut number = 0;
    receiver.answer(move |_| {
        number += 1;
        match number % 5 {
            0 => Reply::Status(500),
            1 => Reply::Busy(503, 0),
            2 => Reply::Status(302),
            3 => Reply::Held,
            _ => Reply::Status(200),
        }
    });
    let server = start(dir.path(), &receiver, "batch_events = 3\nparallel = 2", &[]).await;
    let url = server.url();
    let mut writing = tokio::task::JoinSet::new();
    for id in ["a", "b", "c"] {
        let comments = comments(&url, "ada", id).await;
        writing.spawn(async move { add(&comments, 0, 20).await });
    }
    receiver.asked(4).await;
    receiver.open();
    while let Some(written) = writing.join_next().await {
        written.expect("it is written");
    }
    let events = receiver.took(|events| {
        ["a", "b", "c"].iter().all(|id| seqs(events, &format!("town/{id}/comments")).len() == 20)
    });
    let events = events.await;
    for id in ["a", "b", "c"] {
        let expected: Vec<u64> = (1..=20).collect();
        assert_eq!(seqs(&events, &format!("town/{id}/comments")), expected);
    }
    assert!(!kinds(&events).contains(&"gap"));
}

#[tokio::test]
async fn a_server_killed_at_any_point_tells_everything_that_is_in_its_log() {
    let dir = tempdir().expect("a directory");
    let receiver = Receiver::start().await;
    let mut number = 0;
    receiver.answer(move |_| {
        number += 1;
        if number % 3 == 0 { Reply::Status(500) } else { Reply::Status(200) }
    });
    let mut server = start(dir.path(), &receiver, "batch_events = 2", &[]).await;
    let url = server.url();
    let hers = comments(&url, "ada", "square").await;
    let his = likes(&url, "bob", "square").await;
    let mut pending = Vec::new();
    for round in 0..4 {
        let asked = receiver.requests();
        for n in 0..15 {
            let body = format!("round {round} comment {n}");
            pending.push(hers.add(None, &body).expect("taken").1);
            pending.push(his.add(Counter::Views, 1).expect("taken"));
        }
        // In the middle of telling, a little further each time.
        receiver.asked(asked + 1 + 2 * round).await;
        server.kill().await;
        server = server.restart().await;
    }
    for pending in pending {
        confirmed(pending).await;
    }
    let enough = |events: &[Value]| {
        let told = commands_told(events);
        told.values().map(Vec::len).sum::<usize>() >= 120
    };
    let events = receiver.took(enough).await;
    assert_eq!(server.terminate().await, Some(0));
    assert_eq!(commands_told(&events), commands_in_log(&dir.path().join("server")));
    assert_eq!(seqs(&events, "town/square/comments").len(), 60);
}

#[tokio::test]
async fn what_logs_drop_while_the_receiver_is_away_is_kept_for_it() {
    let dir = tempdir().expect("a directory");
    let mut receiver = Receiver::start().await;
    let soon = ["--compact-entries=8", "--compact-keep=0", "--rollover-bytes=5000"];
    let mut server = start(dir.path(), &receiver, "", &soon).await;
    let url = server.url();
    let square = comments(&url, "ada", "square").await;
    add(&square, 0, 2).await;
    receiver.took(|events| seqs(events, "town/square/comments").len() == 2).await;
    receiver.leave();
    add(&square, 2, 30).await;
    // More and more, so that the epoch ends.
    for n in 0..6 {
        let other = comments(&url, &format!("user{n}"), "square").await;
        confirmed(other.add(None, "passing by").expect("taken").1).await;
    }
    within(async {
        while !server.log().contains("document began a new epoch") {
            let other = comments(&url, "late", "square").await;
            confirmed(other.add(None, "still here").expect("taken").1).await;
        }
    })
    .await;
    assert!(server.log().contains("document compacted"));
    server.kill().await;
    let server = server.restart().await;
    let again = comments(&server.url(), "ada", "square").await;
    confirmed(again.add(None, "the end").expect("taken").1).await;
    receiver.come_back().await;
    let is_last = |event: &Value| event["changes"][0]["body"] == "the end";
    let events = receiver.took(|events| events.iter().any(is_last)).await;
    let told = seqs(&events, "town/square/comments");
    assert!(told.len() > 30 + 6, "what was written before the epoch ended, and after it");
    let expected: Vec<u64> = (1..=told.len()).map(|seq| seq as u64).collect();
    assert_eq!(told, expected);
    assert!(kinds(&events).iter().all(|kind| *kind == "comments.added"), "{:?}", kinds(&events));
    let bodies: BTreeSet<&str> =
        events.iter().filter_map(|event| event["changes"][0]["body"].as_str()).collect();
    assert!((0..30).all(|n| bodies.contains(format!("comment {n}").as_str())));
    let spool = dir.path().join("server/webhooks/spool");
    within(async {
        while std::fs::read_dir(&spool).expect("a folder").count() > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn where_there_is_no_room_to_keep_events_gaps_name_them() {
    let dir = tempdir().expect("a directory");
    let mut receiver = Receiver::start().await;
    let soon = ["--compact-entries=8", "--compact-keep=0"];
    let server = start(dir.path(), &receiver, "spool_bytes = 0", &soon).await;
    let square = comments(&server.url(), "ada", "square").await;
    add(&square, 0, 1).await;
    receiver.took(|events| events.len() == 1).await;
    receiver.leave();
    add(&square, 1, 40).await;
    within(async {
        while !server.log().contains("the spool is full") {
            tokio::task::yield_now().await;
        }
    })
    .await;
    receiver.come_back().await;
    let document = "town/square/comments";
    let events = receiver.took(|events| seqs(events, document).last() == Some(&40)).await;
    let (mut covered, mut gaps) = (BTreeSet::new(), 0);
    for event in &by_document(&events)[document] {
        let change = &event["changes"][0];
        if change["type"] == "gap" {
            assert_eq!(change["reason"], "dropped");
            let bound = |name: &str| change[name].as_u64().expect("a number");
            covered.extend(bound("from_seq")..=bound("to_seq"));
            gaps += 1;
        } else {
            assert!(covered.insert(seq(event)), "told, and said to be gone: {event}");
        }
    }
    assert!(gaps > 0, "nothing was dropped");
    assert_eq!(covered, (1..=40).collect(), "each is told or named as gone");
}

#[tokio::test]
async fn an_event_that_is_refused_for_good_is_put_aside_and_the_others_go_on() {
    let dir = tempdir().expect("a directory");
    let receiver = Receiver::start().await;
    static REFUSED: AtomicUsize = AtomicUsize::new(0);
    receiver.answer(|events| {
        let is_bad = |event: &Value| event["changes"][0]["body"] == "comment 3";
        if events.iter().any(is_bad) {
            REFUSED.fetch_add(1, Ordering::Relaxed);
            return Reply::Status(422);
        }
        Reply::Status(200)
    });
    let server = start(dir.path(), &receiver, "dead_after = 3", &[]).await;
    let (bad, good) =
        (comments(&server.url(), "ada", "bad").await, comments(&server.url(), "ada", "good").await);
    add(&bad, 0, 10).await;
    add(&good, 0, 3).await;
    let events = receiver
        .took(|events| {
            seqs(events, "town/bad/comments").len() == 9
                && seqs(events, "town/good/comments").len() == 3
        })
        .await;
    assert_eq!(seqs(&events, "town/bad/comments"), [1, 2, 3, 5, 6, 7, 8, 9, 10]);
    assert!(REFUSED.load(Ordering::Relaxed) >= 3);
    let dead = std::fs::read_to_string(dir.path().join("server/webhooks/dead/receiver.jsonl"));
    let dead = dead.expect("it was put aside");
    let dead: Vec<Value> =
        dead.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(dead.len(), 1);
    assert_eq!(dead[0]["events"].as_array().map(Vec::len), Some(1));
    assert_eq!(dead[0]["events"][0]["seq"], 4);
    assert!(server.log().contains("was put aside"));
}

#[tokio::test]
async fn a_receiver_chooses_spaces_and_kinds_and_begins_with_its_first_start() {
    let dir = tempdir().expect("a directory");
    let receiver = Receiver::start().await;
    let data = dir.path().join("server");
    let server = ServerProcess::start(&data, &[]).await;
    add(&comments(&server.url(), "ada", "square").await.document, 0, 3).await;
    assert_eq!(server.terminate().await, Some(0));
    let chosen = "spaces = [\"to*\"]\nevents = [\"comments.*\"]";
    let server = start(dir.path(), &receiver, chosen, &[]).await;
    let url = server.url();
    let traveller = join(&url, "ada").await;
    let elsewhere = within(traveller.comments("city", "x")).await.expect("it opens");
    add(&elsewhere, 0, 2).await;
    let liked = likes(&url, "ada", "square").await;
    confirmed(liked.like(Target::Post, "like").expect("taken")).await;
    add(&comments(&url, "ada", "square").await.document, 3, 5).await;
    let events = receiver.took(|events| events.len() >= 2).await;
    assert_eq!(seqs(&events, "town/square/comments"), [4, 5]);
    assert_eq!(by_document(&events).len(), 1);
    // Another folder, restored or new, is another log.
    assert_eq!(server.terminate().await, Some(0));
    let address = Address::new("town", "square", Facet::Comments).expect("an address");
    std::fs::remove_dir_all(data.join("log")).expect("removed");
    std::fs::remove_file(data.join("format")).expect("removed");
    std::fs::rename(data.join("webhooks"), dir.path().join("kept")).expect("moved");
    let server = ServerProcess::start(&data, &[]).await;
    add(&comments(&server.url(), "ada", "square").await.document, 0, 6).await;
    assert_eq!(server.terminate().await, Some(0));
    std::fs::rename(dir.path().join("kept"), data.join("webhooks")).expect("moved");
    let server = start(dir.path(), &receiver, chosen, &[]).await;
    add(&comments(&server.url(), "ada", "square").await.document, 6, 7).await;
    let document = address.to_string();
    let events = receiver
        .took(|events| {
            events.iter().any(|event| event["seq"] == 7 && event["changes"][0]["type"] != "gap")
                || events.iter().any(|event| event["changes"][0]["to_seq"] == 7)
        })
        .await;
    let gap = events.iter().find(|event| event["changes"][0]["type"] == "gap").expect("a gap");
    assert_eq!(
        (&gap["changes"][0]["reason"], &gap["document"]),
        (&"replaced".into(), &document.into())
    );
}

#[tokio::test]
async fn over_https_only_whom_the_named_authority_vouches_for_is_told_anything() {
    let dir = tempdir().expect("a directory");
    let ours = Authority::new(&dir.path().join("ours.pem"));
    let other = Authority::new(&dir.path().join("other.pem"));
    let receiver = Receiver::start_with_tls(&ours.vouches()).await;
    let named = |authority: &Authority| format!("ca = {:?}", authority.file);
    // Whoever else it may be that listens there hears nothing, and misses nothing later.
    let mut server = start(dir.path(), &receiver, &named(&other), &[]).await;
    let square = comments(&server.url(), "ada", "square").await;
    add(&square, 0, 3).await;
    within(async { while !server.log().contains("does not take events") {} }).await;
    assert_eq!(receiver.requests(), 0);
    server.kill().await;
    receiver.write_file(&dir.path().join("webhooks.toml"), &named(&ours));
    let _server = server.restart().await;
    let events = receiver.took(|events| seqs(events, "town/square/comments").len() == 3).await;
    assert_eq!(kinds(&events), ["comments.added"; 3]);
}

/// What the metrics say of the receiver.
async fn metric(server: &ServerProcess, name: &str) -> f64 {
    let text = Web::new(server.port()).get("/metrics", &[]).await.body;
    let text = String::from_utf8_lossy(&text).into_owned();
    let begin = format!("syncline_webhook_{name} ");
    let line = text.lines().find_map(|line| line.strip_prefix(&begin));
    line.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no {name} in {text}"))
}

#[tokio::test]
async fn what_a_receiver_took_and_what_fails_is_in_the_metrics() {
    let dir = tempdir().expect("a directory");
    let receiver = Receiver::start().await;
    let server = start(dir.path(), &receiver, "", &[]).await;
    let square = comments(&server.url(), "ada", "square").await;
    add(&square, 0, 3).await;
    let until = async |name: &str, enough: fn(f64) -> bool| {
        within(async { while !enough(metric(&server, name).await) {} }).await;
    };
    until("events_total{webhook=\"receiver\"}", |events| events == 3.0).await;
    assert_eq!(metric(&server, "retrying_documents{webhook=\"receiver\"}").await, 0.0);
    receiver.answer(|_| Reply::Status(503));
    add(&square, 3, 4).await;
    until("requests_total{outcome=\"failed\",webhook=\"receiver\"}", |failed| failed > 0.0).await;
    until("retrying_documents{webhook=\"receiver\"}", |documents| documents == 1.0).await;
    until("failing_seconds{webhook=\"receiver\"}", |seconds| seconds > 0.0).await;
    receiver.answer(|_| Reply::Status(200));
    until("events_total{webhook=\"receiver\"}", |events| events == 4.0).await;
    until("retrying_documents{webhook=\"receiver\"}", |documents| documents == 0.0).await;
    until("failing_seconds{webhook=\"receiver\"}", |seconds| seconds == 0.0).await;
}
