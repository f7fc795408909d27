//! Commands by HTTP: once, durable, and judged like anyone's.

use std::sync::Arc;

use hyper::Method;
use serde_json::json;
use syncline_engine::ids::Address;
use tempfile::tempdir;

use super::{command, comment, create, read, server};
use crate::support::{RawClient, fresh_id};

const COMMENTS: &str = "/v1/documents/town/square/comments/commands?user=ada";

#[tokio::test]
async fn a_command_with_a_key_is_carried_out_once_also_across_a_kill_pu3() {
    let dir = tempdir().expect("a directory");
    let (mut server, web) = server(dir.path(), &[]).await;
    let key = ("idempotency-key", "k-1");
    let first = web.post(COMMENTS, &[key], &comment("Once")).await.fine();
    assert_eq!((&first["outcome"], &first["replayed"]), (&json!("confirmed"), &json!(false)));
    let again = web.post(COMMENTS, &[key], &comment("Once")).await.fine();
    assert_eq!((&again["outcome"], &again["replayed"]), (&json!("confirmed"), &json!(true)));
    server.kill().await;
    let _server = server.restart().await;
    let again = web.post(COMMENTS, &[key], &comment("Once")).await.fine();
    assert_eq!(again["replayed"], true, "the log remembers");
    let other = web.post(COMMENTS, &[key], &comment("Something else")).await;
    assert_eq!(other.problem(), (422, "key_reused".to_owned()));
    // Another user's key of the same name is another key.
    let bob = COMMENTS.replace("ada", "bob");
    assert_eq!(web.post(&bob, &[key], &comment("Once")).await.fine()["replayed"], false);
    assert_eq!(read(web, "town/square/comments", "ada").await["comments"]["count"], 2);
}

#[tokio::test]
async fn a_request_that_is_sent_many_times_at_once_counts_once() {
    let dir = tempdir().expect("a directory");
    let (_server, web) = server(dir.path(), &[]).await;
    let body = Arc::new(json!({"likes": {"count": {"counter": "views", "by": 1}}}));
    let mut asking = Vec::new();
    for number in 0..24 {
        let body = Arc::clone(&body);
        asking.push(tokio::spawn(async move {
            let key = format!("k-{}", number % 4);
            let path = "/v1/documents/town/square/likes/commands?user=ada";
            web.post(path, &[("idempotency-key", &key)], &body).await.fine()
        }));
    }
    for answer in asking {
        assert_eq!(answer.await.expect("it ends")["outcome"], "confirmed");
    }
    let shown = read(web, "town/square/likes", "ada").await;
    assert_eq!(shown["likes"]["counters"]["views"], 4);
}

#[tokio::test]
async fn commands_of_many_are_all_there_and_take_few_actors_le6() {
    let dir = tempdir().expect("a directory");
    let (server, web) = server(dir.path(), &[]).await;
    for round in 0..3 {
        let mut asking = Vec::new();
        for number in 0..8 {
            let user = format!("user{round}{number}");
            asking.push(tokio::spawn(async move {
                command(web, "town/square/likes", &user, &json!({"likes": {"like": {}}}))
                    .await
                    .fine()
            }));
        }
        for answer in asking {
            assert_eq!(answer.await.expect("it ends")["outcome"], "confirmed");
        }
    }
    let again = command(web, "town/square/likes", "user00", &json!({"likes": {"like": {}}})).await;
    assert_eq!(again.fine()["outcome"], "no_effect");
    let shown = read(web, "town/square/likes", "eve").await;
    assert_eq!(shown["likes"]["targets"]["post"]["like"], 24);
    let address: Address = "town/square/likes".parse().expect("an address");
    let mut raw = RawClient::hello(&server.url(), "eve", fresh_id(), 1).await;
    let opened = raw.subscribe(&address, fresh_id(), false).await;
    let actors = raw.read(&address, &opened).await.actors();
    assert!(actors <= 9, "{actors} actors for eight writers at a time");
}

#[tokio::test]
async fn what_a_client_could_not_do_is_refused_with_its_code() {
    let dir = tempdir().expect("a directory");
    let (_server, web) = server(dir.path(), &[]).await;
    command(web, "town/square/post", "ada", &create("Hello", "")).await.fine();
    let made = command(web, "town/square/comments", "ada", &comment("Mine")).await.fine();
    let edit = json!({"comments": {"edit": {"id": made["id"], "body": "Hers"}}});
    let eve = command(web, "town/square/comments", "eve", &edit).await;
    assert_eq!(eve.problem(), (403, "not_author".to_owned()));
    let forged = json!({"comments": {"add": {"body": "Hi", "author": "ada"}}});
    assert_eq!(command(web, "town/square/comments", "eve", &forged).await.status, 403);
    let nothing = json!({"comments": {"edit": {"id": "01J8ZQ4W5X6Y7Z8A9B0C1D2E3F", "body": "x"}}});
    let nothing = command(web, "town/square/comments", "ada", &nothing).await;
    assert_eq!(nothing.problem(), (404, "not_found".to_owned()));
    let mut bad = vec![json!(null), json!({}), json!({"comments": {"add": {}}}), comment("")];
    bad.extend([json!({"post": {"create": {"nonsense": 1}}}), create("Again", "")]);
    for bad in bad {
        let answer = command(web, "town/square/comments", "ada", &bad).await;
        assert_eq!(answer.problem(), (400, "bad_command".to_owned()), "{bad}");
    }
    let headers = [("content-type", "text/plain")];
    let plain = web.ask(Method::POST, COMMENTS, &headers, comment("x").to_string()).await;
    assert_eq!(plain.problem(), (415, "unsupported_media_type".to_owned()));
    assert_eq!(read(web, "town/square/comments", "ada").await["comments"]["count"], 1);
}
