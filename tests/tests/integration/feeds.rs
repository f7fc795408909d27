//! Feeds as they are used: a page of posts that opens none of them, over sockets, by the command and by
//! HTTP, through kills of the server. PROTOCOL.md, FD1 to FD7.

use std::path::Path;

use serde_json::Value;
use syncline_client::Feed;
use syncline_client::engine::document::Target;
use syncline_client::engine::session::{FeedStatus, FeedView};
use syncline_engine::summary::Summary;
use syncline_tests::process::{run_json, syncline};
use tempfile::tempdir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use crate::support::{ServerProcess, confirmed, join, within};

/// Waits until a feed shows something.
async fn feed_shows(feed: &Feed, what: impl Fn(&FeedView) -> bool) {
    let mut changes = feed.changes();
    within(changes.wait_for(|view| what(view))).await.expect("the client is open");
}

fn counts(summary: &Summary) -> (u64, u64, u64) {
    let likes = summary.likes.as_ref().map_or(0, |likes| likes.likes);
    let comments = summary.comments.unwrap_or_default();
    (likes, comments.comments, comments.deleted)
}

/// A request without a body; answers the status and the body.
async fn http_get(port: u16, path: &str) -> (u16, String) {
    let mut stream = within(TcpStream::connect(("127.0.0.1", port))).await.expect("it listens");
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("it is taken");
    let mut answer = String::new();
    within(stream.read_to_string(&mut answer)).await.expect("text");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    (status.expect("a status"), body.to_owned())
}

async fn posts(port: u16, query: &str) -> Value {
    let (status, body) = http_get(port, &format!("/v1/spaces/town/posts?user=dan{query}")).await;
    assert_eq!(status, 200, "{body}");
    serde_json::from_str(&body).expect("JSON")
}

#[tokio::test]
async fn a_page_of_posts_is_told_live_and_survives_a_kill_fd1_fd2_fd6() {
    let dir = tempdir().expect("a directory");
    let mut server = ServerProcess::start(&dir.path().join("server"), &[]).await;
    let (ann, bob, cay) = (join(&server.url(), "ann").await, join(&server.url(), "bob").await, {
        join(&server.url(), "cay").await
    });
    let feed = cay.feed("town", 50).expect("a space");
    assert!(within(feed.live()).await.expect("it is served").is_empty());
    for id in ["first", "second"] {
        let post = within(ann.post("town", id)).await.expect("it opens");
        confirmed(post.create(&format!("The {id}"), "body", &[]).expect("taken")).await;
    }
    let likes = within(bob.likes("town", "first")).await.expect("it opens");
    confirmed(likes.like(Target::Post, "like").expect("taken")).await;
    let comments = within(bob.comments("town", "first")).await.expect("it opens");
    let (id, pending) = comments.add(None, "hm").expect("taken");
    confirmed(pending).await;
    confirmed(comments.add(None, "well").expect("taken").1).await;
    confirmed(comments.delete(id).expect("taken")).await;
    let all_there =
        |view: &FeedView| view.len() == 2 && view.post("first").map(counts) == Some((1, 1, 1));
    feed_shows(&feed, all_there).await;
    let first = feed.view().post("first").cloned().expect("it is listed");
    let post = first.post.expect("it was created");
    assert_eq!((post.title.as_str(), post.author.as_str()), ("The first", "ann"));
    assert_eq!(cay.status().borrow().open_documents, 0, "none was opened for it");

    server.kill().await;
    feed_shows(&feed, |view| *view.status() == FeedStatus::Waiting && view.len() == 2).await;
    let server = server.restart().await;
    feed_shows(&feed, |view| *view.status() == FeedStatus::Live && all_there(view)).await;
    let found = posts(server.port(), "").await;
    assert_eq!(found["posts"].as_array().map(Vec::len), Some(2), "{found}");
    assert_eq!(found["next"], Value::Null);
    confirmed(likes.like(Target::Post, "wow").expect("taken")).await;
    feed_shows(&feed, |view| view.post("first").map(counts) == Some((2, 1, 1))).await;
    let view = feed.view();
    assert_eq!(view.posts().next().map(|post| post.id.as_str()), Some("first"), "the latest first");
    assert_eq!(server.terminate().await, Some(0));
}

#[tokio::test]
async fn the_command_lists_and_goes_on_with_what_changes_fd3() {
    let dir = tempdir().expect("a directory");
    let server = ServerProcess::start(&dir.path().join("server"), &[]).await;
    let ann = join(&server.url(), "ann").await;
    let post = within(ann.post("town", "first")).await.expect("it opens");
    confirmed(post.create("A day", "body", &[]).expect("taken")).await;
    let (url, store) = (server.url(), dir.path().join("eve"));
    let watching = |store: &Path, more: &[&str]| {
        let mut command = syncline(&["feed", "town", "--json", "--user", "eve", "--server", &url]);
        command.args(more).arg("--data").arg(store);
        command
    };
    let once = run_json(watching(&store, &[])).await;
    assert_eq!(once["posts"][0]["title"], "A day", "{once}");
    let mut child = watching(&store, &["--watch"]).spawn().expect("it starts");
    let stdout = child.stdout.take().expect("it is piped");
    let mut lines = BufReader::new(stdout).lines();
    let first = within(lines.next_line()).await.expect("text").expect("a line");
    assert!(first.contains("A day"), "{first}");
    let likes = within(ann.likes("town", "first")).await.expect("it opens");
    for reaction in ["like", "wow", "heart"] {
        confirmed(likes.like(Target::Post, reaction).expect("taken")).await;
    }
    let mut told = 0;
    loop {
        let line = within(lines.next_line()).await.expect("text").expect("a line");
        let line: Value = serde_json::from_str(&line).expect("JSON");
        told += 1;
        if line["posts"][0]["likes"] == 3 {
            break;
        }
    }
    assert!(told <= 3, "{told} lines for three likes");
    within(child.kill()).await.expect("it can be killed");
}

#[tokio::test]
async fn lists_over_http_go_page_by_page_and_say_what_is_wrong_fd7() {
    let dir = tempdir().expect("a directory");
    let server = ServerProcess::start(&dir.path().join("server"), &[]).await;
    let ann = join(&server.url(), "ann").await;
    for n in 0..5 {
        let post = within(ann.post("town", format!("p{n}"))).await.expect("it opens");
        confirmed(post.create(&format!("Number {n}"), "", &[]).expect("taken")).await;
    }
    let (port, mut next, mut ids) = (server.port(), String::new(), Vec::new());
    loop {
        let query =
            if next.is_empty() { "&limit=2".to_owned() } else { format!("&limit=2&before={next}") };
        let page = posts(port, &query).await;
        let found = page["posts"].as_array().cloned().unwrap_or_default();
        ids.extend(found.iter().map(|post| post["id"].as_str().unwrap_or_default().to_owned()));
        match page["next"].as_str() {
            Some(more) => next = more.to_owned(),
            None => break,
        }
    }
    assert_eq!(ids.len(), 5, "{ids:?}");
    ids.sort();
    assert_eq!(ids, ["p0", "p1", "p2", "p3", "p4"]);
    for (path, status, code) in [
        ("/v1/spaces/town/posts", 401, "unauthenticated"),
        ("/v1/spaces/town/posts?user=dan&limit=0", 400, "bad_request"),
        ("/v1/spaces/town/posts?user=dan&limit=501", 400, "bad_request"),
        ("/v1/spaces/town/posts?user=dan&before=x", 400, "bad_request"),
        ("/v1/spaces/town/posts?user=dan&unknown=x", 400, "bad_request"),
        ("/v1/spaces/a%2Fb/posts?user=dan", 400, "bad_address"),
        ("/v1/spaces/../posts?user=dan", 400, "bad_address"),
        ("/v1/spaces/town/posts?user=a%20b", 401, "unauthenticated"),
    ] {
        let (found, body) = http_get(port, path).await;
        assert_eq!(found, status, "{path}: {body}");
        assert!(body.contains(code), "{path}: {body}");
    }
}

#[tokio::test]
async fn a_replayed_discussion_has_the_counts_of_its_expected_state_fd4() {
    let dir = tempdir().expect("a directory");
    let server = ServerProcess::start(&dir.path().join("server"), &["--importers", "replay"]).await;
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("data");
    let (file, url) = (data.join("tiny.jsonl"), server.url());
    let file = file.to_str().expect("a path in UTF-8");
    let replay = syncline(&["replay", file, "--server", &url, "--space", "town", "--json"]);
    let report = run_json(replay).await;
    assert_eq!(report["state_matches"], true, "{report}");
    let text = std::fs::read_to_string(data.join("tiny.expect.json")).expect("it is there");
    let expected: Value = serde_json::from_str(&text).expect("JSON");
    // The replay gives posts other ids, so they are compared as a whole.
    let all = expected["posts"].as_object().expect("posts");
    let mut expected: Vec<_> = all
        .iter()
        .map(|(id, post)| {
            let of_post = expected["item_likes"][id].as_u64().unwrap_or(0);
            (of_post, post["comments"].as_u64(), post["deleted"].as_u64())
        })
        .collect();
    let found = posts(server.port(), "").await;
    let mut found: Vec<_> = found["posts"]
        .as_array()
        .expect("posts")
        .iter()
        .map(|post| {
            let of_post = post["likes"].as_u64().unwrap_or(0);
            (of_post, post["comments"].as_u64(), post["deleted"].as_u64())
        })
        .collect();
    expected.sort_unstable();
    found.sort_unstable();
    assert_eq!(found, expected);
}
