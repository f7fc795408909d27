//! A network address has a pace by HTTP as by WebSocket, and is told when it may ask again.

use hyper::Method;
use serde_json::json;
use syncline_tests::web::Answer;
use tempfile::tempdir;

use super::{command, comment, server};

const POST: &str = "/v1/documents/town/square/post?user=ada";
const EVENTS: &str = "/v1/spaces/town/events?user=ada";

/// An answer that says when to come back, if it is one that sends away.
fn sent_away(answer: &Answer) -> Option<u64> {
    if answer.status.is_success() {
        return None;
    }
    assert_eq!(answer.problem(), (429, "too_many_connections".to_owned()));
    let wait = answer.header("retry-after").and_then(|wait| wait.parse().ok());
    let wait: u64 = wait.expect("it is said when to come back");
    assert!(wait >= 1, "{answer:?}");
    Some(wait)
}

#[tokio::test]
async fn an_address_asks_so_often_and_then_is_told_when_to_come_back() {
    let dir = tempdir().expect("a directory");
    // What was not used of twenty seconds may be used at once.
    let (_server, web) = server(dir.path(), &["--address-connects-per-s", "1"]).await;
    let mut served = 0;
    while sent_away(&web.get(POST, &[]).await).is_none() {
        served += 1;
        assert!(served < 10_000, "it never ends");
    }
    assert!(served >= 20, "{served}");
    // Who brings a document, or wants a connection, waits as well; how the server is anybody may ask.
    let like = json!({"likes": {"like": {}}});
    let answers = [
        web.get(EVENTS, &[]).await,
        web.get("/v1/spaces/town/posts?user=ada", &[]).await,
        command(web, "town/square/likes", "ada", &like).await,
        web.ask(Method::POST, "/v1/connections", &[], "").await,
    ];
    // Time passes: one of them may be the next that is served.
    assert!(answers.iter().filter_map(sent_away).count() >= 2, "{answers:?}");
    assert_eq!(web.get("/healthz", &[]).await.status, 200);
}

#[tokio::test]
async fn streams_hold_connections_of_their_address_until_they_end() {
    let dir = tempdir().expect("a directory");
    let (_server, web) = server(dir.path(), &["--address-connections-max", "2"]).await;
    let one = web.events(EVENTS, &[]).await;
    let two = web.events("/v1/documents/town/square/post/events?user=ada", &[]).await;
    assert!(sent_away(&web.get(POST, &[]).await).is_some());
    drop((one, two));
    // The server notices when it does.
    while sent_away(&web.get(POST, &[]).await).is_some() {}
}

#[tokio::test]
async fn bodies_count_as_bytes_of_their_address() {
    let dir = tempdir().expect("a directory");
    let (_server, web) = server(dir.path(), &["--address-bytes-per-s", "1000"]).await;
    let mut sent = 0;
    let wait = loop {
        let body = comment(&"a".repeat(6_000));
        let answer = command(web, "town/square/comments", "ada", &body).await;
        if let Some(wait) = sent_away(&answer) {
            break wait;
        }
        sent += 6_000;
        assert!(sent < 10_000_000, "it never ends");
    };
    assert!(sent >= 18_000 && wait <= 30, "{sent} {wait}");
}
