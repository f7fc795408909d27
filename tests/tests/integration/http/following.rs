//! Events of documents and spaces: from where one was, whatever happened meanwhile.

use serde_json::{Value, json};
use syncline_tests::web::{Event, Events};
use tempfile::tempdir;

use super::{command, comment, create, server};
use crate::support::{confirmed, join, like, within};

const LIKES: &str = "/v1/documents/town/square/likes/events?user=bob";

#[tokio::test]
async fn a_reader_of_events_goes_on_where_it_was_after_a_kill_of_the_server() {
    let dir = tempdir().expect("a directory");
    let (mut server, web) = server(dir.path(), &[]).await;
    command(web, "town/square/likes", "ada", &like_it()).await.fine();
    let mut events = web.events(LIKES, &[]).await;
    assert_eq!(events.headers["cache-control"], "no-store");
    assert_eq!(events.headers["x-accel-buffering"], "no");
    let state = events.until("state").await;
    assert_eq!(state.json()["seq"], 1);
    assert_eq!(state.json()["summary"]["targets"], json!({"post": {"like": 1}}));
    let client = join(&server.url(), "eve").await;
    let address = "town/square/likes".parse().expect("an address");
    let likes = within(client.document(&address)).await.expect("it opens");
    confirmed(likes.command(like("eve")).expect("it can be done")).await;
    let change = events.until("change").await;
    assert_eq!(change.json()["changes"][0]["author"], "eve");
    assert_eq!(change.json()["summary"]["targets"], json!({"post": {"like": 2}}));
    let page = web.get("/v1/documents/town/square/likes?user=bob", &[]).await;
    assert_eq!(change.json()["etag"].as_str(), page.header("etag"));
    let last = change.id.expect("an id");

    server.kill().await;
    assert_eq!(events.next().await, None, "the server is gone");
    let _server = server.restart().await;
    for user in ["gil", "hal"] {
        command(web, "town/square/likes", user, &like_it()).await.fine();
    }
    let mut events = web.events(LIKES, &[("last-event-id", &last)]).await;
    let mut seen = Vec::new();
    while seen.len() < 2 {
        let change = events.next().await.expect("what was missed comes");
        assert_eq!(change.name, "change", "and nothing else");
        let changes = change.json()["changes"].as_array().expect("changes").clone();
        seen.extend(changes.iter().map(|c| (c["seq"].clone(), c["author"].clone())));
        assert_eq!(change.json()["summary"]["targets"], json!({"post": {"like": 4}}));
    }
    assert_eq!(seen, [(json!(3), json!("gil")), (json!(4), json!("hal"))]);

    for nowhere in ["nonsense", &last.replace(".2.", ".3."), &format!("0{}", &last[1..])] {
        if nowhere == last {
            continue;
        }
        let mut events = web.events(LIKES, &[("last-event-id", nowhere)]).await;
        let reset = events.next().await.expect("an event");
        assert_eq!((reset.name.as_str(), &reset.json()["seq"]), ("reset", &json!(4)), "{nowhere}");
    }
}

#[tokio::test]
async fn a_server_that_ends_says_so_and_when_to_come_back_gb1() {
    let dir = tempdir().expect("a directory");
    let (server, web) = server(dir.path(), &[]).await;
    let mut events = web.events(LIKES, &[]).await;
    events.until("state").await;
    let ending = tokio::spawn(server.terminate());
    let end = events.until("end").await;
    assert_eq!(end.json()["code"], "shutting_down");
    assert!(end.retry.is_some() && end.json()["retry_after_ms"].is_u64(), "{end:?}");
    assert_eq!(events.next().await, None);
    assert_eq!(within(ending).await.expect("it ends"), Some(0));
}

#[tokio::test]
async fn one_stream_follows_several_documents_of_a_space() {
    let dir = tempdir().expect("a directory");
    let (mut server, web) = server(dir.path(), &[]).await;
    command(web, "town/b/likes", "eve", &like_it()).await.fine();
    let path = "/v1/spaces/town/events?user=bob&documents=a/post,a/comments,b/likes";
    let mut events = web.events(path, &[]).await;
    for address in ["town/a/post", "town/a/comments", "town/b/likes"] {
        assert_eq!(events.until("state").await.json()["address"], address);
    }
    command(web, "town/a/comments", "ada", &comment("Hi")).await.fine();
    let change = events.until("change").await;
    assert_eq!(change.json()["address"], "town/a/comments");
    assert_eq!(change.json()["summary"], json!({"count": 1}));
    command(web, "town/a/post", "ada", &create("Title", "")).await.fine();
    let change = events.until("change").await;
    assert_eq!(change.json()["summary"]["title"], "Title");
    let last = change.id.expect("an id");
    server.kill().await;
    let _server = server.restart().await;
    command(web, "town/b/likes", "ada", &like_it()).await.fine();
    let mut events = web.events(path, &[("last-event-id", &last)]).await;
    let change = events.next().await.expect("an event");
    assert_eq!(
        (change.name.as_str(), &change.json()["address"]),
        ("change", &json!("town/b/likes"))
    );
    let many = (0..33).map(|n| format!("{n}/likes")).collect::<Vec<_>>().join(",");
    let many = web.get(&format!("/v1/spaces/town/events?user=bob&documents={many}"), &[]).await;
    assert_eq!(many.problem().0, 400);
}

#[tokio::test]
async fn a_reader_follows_a_document_into_its_next_epoch_and_not_where_it_may_not_ep3_pol2() {
    let dir = tempdir().expect("a directory");
    let settings = ["--rollover-bytes", "600", "--owners", "ada"];
    let (_server, web) = server(dir.path(), &settings).await;
    let path = "/v1/documents/town/square/comments/events?user=bob";
    let mut events = web.events(path, &[]).await;
    events.until("state").await;
    for number in 0..12 {
        command(web, "town/square/comments", "ada", &comment(&format!("{number}"))).await.fine();
    }
    let mut count = json!(0);
    let mut begun = false;
    while count != 12 {
        let event = events.next().await.expect("it goes on");
        begun |= event.name == "reset";
        count = event.json()["summary"]["count"].clone();
    }
    assert!(begun, "it has begun another epoch");
    let private = json!({"json": {"put": {"path": ["private"], "value": true}}});
    command(web, "town/rules/json", "ada", &private).await.fine();
    assert_eq!(events.until("end").await.json()["code"], "forbidden");
    assert_eq!(events.next().await, None);
}

const SPACE: &str = "/v1/spaces/town/events?user=bob";

fn like_it() -> Value {
    json!({"likes": {"like": {}}})
}

/// The posts that an event tells: each one's id and its likes.
fn likes(event: &Event) -> Vec<(String, u64)> {
    let posts = event.json()["posts"].as_array().expect("posts").clone();
    let of = |post: &Value| {
        let likes = post["likes"].as_u64().expect("a number");
        (post["id"].as_str().expect("an id").to_owned(), likes)
    };
    posts.iter().map(of).collect()
}

/// Hears events of a space until a post has so many likes.
async fn until_liked(events: &mut Events, id: &str, count: u64) -> Event {
    loop {
        let change = events.until("change").await;
        if likes(&change).contains(&(id.to_owned(), count)) {
            return change;
        }
    }
}

#[tokio::test]
async fn a_space_tells_its_posts_and_each_that_is_new_or_changes_and_opens_none() {
    let dir = tempdir().expect("a directory");
    let (server, web) = server(dir.path(), &[]).await;
    for id in ["one", "two"] {
        command(web, &format!("town/{id}/post"), "ada", &create(id, "")).await.fine();
    }
    command(web, "elsewhere/three/post", "ada", &create("three", "")).await.fine();
    let mut events = web.events(SPACE, &[]).await;
    assert_eq!(events.headers["cache-control"], "no-store");
    assert_eq!(events.headers["x-accel-buffering"], "no");
    let state = events.next().await.expect("an event");
    let mut told = likes(&state);
    told.sort();
    assert_eq!(told, [("one".to_owned(), 0), ("two".to_owned(), 0)]);
    assert_eq!((state.name.as_str(), &state.json()["space"]), ("state", &json!("town")));
    let few = web.events(&format!("{SPACE}&limit=1"), &[]).await.until("state").await;
    assert_eq!(likes(&few).len(), 1);
    command(web, "town/one/likes", "eve", &like_it()).await.fine();
    until_liked(&mut events, "one", 1).await;
    command(web, "town/four/post", "ada", &create("four", "")).await.fine();
    until_liked(&mut events, "four", 0).await;
    // By WebSocket too.
    let client = join(&server.url(), "gil").await;
    let address = "town/two/likes".parse().expect("an address");
    let two = within(client.document(&address)).await.expect("it opens");
    confirmed(two.command(like("gil")).expect("it can be done")).await;
    until_liked(&mut events, "two", 1).await;
}

#[tokio::test]
async fn a_reader_of_a_space_resumes_in_the_same_run_and_begins_anew_in_another() {
    let dir = tempdir().expect("a directory");
    let (mut server, web) = server(dir.path(), &[]).await;
    command(web, "town/one/post", "ada", &create("one", "")).await.fine();
    let mut events = web.events(SPACE, &[]).await;
    let last = events.until("state").await.id.expect("an id");
    drop(events);
    command(web, "town/one/likes", "eve", &like_it()).await.fine();
    let mut events = web.events(SPACE, &[("last-event-id", &last)]).await;
    let change = events.next().await.expect("what was missed comes");
    assert_eq!((change.name.as_str(), likes(&change)), ("change", vec![("one".to_owned(), 1)]));
    let last = change.id.expect("an id");
    // One that has nothing to do with this space or server.
    let mut lost = web.events(SPACE, &[("last-event-id", "nonsense")]).await;
    assert_eq!(lost.next().await.expect("an event").name, "reset");

    server.kill().await;
    let _server = server.restart().await;
    let mut events = web.events(SPACE, &[("last-event-id", &last)]).await;
    let reset = events.next().await.expect("an event");
    assert_eq!((reset.name.as_str(), likes(&reset)), ("reset", vec![("one".to_owned(), 1)]));
    command(web, "town/one/likes", "gil", &like_it()).await.fine();
    until_liked(&mut events, "one", 2).await;
}

#[tokio::test]
async fn who_may_not_read_a_space_any_more_is_told_so_and_no_more_pol2() {
    let dir = tempdir().expect("a directory");
    let (_server, web) = server(dir.path(), &["--owners", "ada"]).await;
    let mut events = web.events(SPACE, &[]).await;
    events.until("state").await;
    let private = json!({"json": {"put": {"path": ["private"], "value": true}}});
    command(web, "town/rules/json", "ada", &private).await.fine();
    assert_eq!(events.until("end").await.json()["code"], "forbidden");
    assert_eq!(events.next().await, None);
    assert_eq!(web.get(SPACE, &[]).await.problem(), (403, "forbidden".to_owned()));
}
