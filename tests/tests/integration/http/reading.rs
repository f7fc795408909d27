//! Documents as JSON, as they are and as they were.

use hyper::Method;
use serde_json::json;
use syncline_client::engine::document::{PostCommand, TextField};
use tempfile::tempdir;

use super::{command, comment, create, read, server};
use crate::support::{confirmed, join, like, within};

const POST: &str = "/v1/documents/town/square/post?user=bob";

#[tokio::test]
async fn a_document_is_read_with_a_tag_that_changes_when_it_does() {
    let dir = tempdir().expect("a directory");
    let (server, web) = server(dir.path(), &[]).await;
    let empty = web.get(POST, &[]).await;
    assert_eq!(empty.fine()["seq"], 0, "nobody has written it");
    let made = command(web, "town/square/post", "ada", &create("Hello", "Some text")).await;
    assert_eq!(made.fine()["outcome"], "confirmed");

    let first = web.get(POST, &[]).await;
    let etag = first.header("etag").expect("a tag").to_owned();
    assert_eq!(made.header("etag"), Some(etag.as_str()));
    assert_ne!(empty.header("etag"), Some(etag.as_str()));
    assert_eq!(first.header("cache-control"), Some("private, no-cache"));
    let shown = first.fine();
    assert_eq!((&shown["seq"], &shown["address"]), (&json!(1), &json!("town/square/post")));
    let post = &shown["post"];
    assert_eq!((&post["title"], &post["author"]), (&json!("Hello"), &json!("ada")));
    assert_eq!(post["spans"], json!([{"text": "Some text", "marks": {}}]));

    let same = web.get(POST, &[("if-none-match", &etag)]).await;
    assert_eq!((same.status.as_u16(), same.body.len()), (304, 0));
    assert_eq!(same.header("etag"), Some(etag.as_str()));
    let head = web.ask(Method::HEAD, POST, &[], "").await;
    assert_eq!((head.status.as_u16(), head.body.len()), (200, 0));
    assert_eq!(head.header("etag"), Some(etag.as_str()));

    // What a client by WebSocket does shows at once to who asks again.
    let client = join(&server.url(), "ada").await;
    let post = within(client.document(&"town/square/post".parse().expect("an address"))).await;
    let post = post.expect("it opens");
    within(post.live()).await.expect("it comes");
    let marked = PostCommand::Mark {
        start: 0,
        end: 4,
        name: syncline_client::engine::document::MarkName::Bold,
        value: syncline_client::engine::document::MarkValue::Flag(true),
    };
    confirmed(post.command(marked.into()).expect("it can be done")).await;
    let second = web.get(POST, &[("if-none-match", &etag)]).await;
    assert_ne!(second.header("etag"), Some(etag.as_str()));
    let spans = json!([{"text": "Some", "marks": {"bold": true}}, {"text": " text", "marks": {}}]);
    assert_eq!(second.fine()["post"]["spans"], spans);
}

#[tokio::test]
async fn every_version_is_read_that_the_log_remembers_also_after_compaction() {
    let dir = tempdir().expect("a directory");
    let settings = ["--compact-entries", "3", "--compact-keep", "1", "--evict-idle-ms", "50"];
    let (server, web) = server(dir.path(), &settings).await;
    command(web, "town/square/post", "ada", &create("", "")).await.fine();
    let mut heads = Vec::new();
    for letter in ["a", "b", "c", "d", "e", "f", "g", "h"] {
        let (field, insert) = (TextField::Title, letter.to_owned());
        let splice = PostCommand::Splice { field, index: heads.len(), delete: 0, insert };
        let splice = json!({ "post": splice });
        command(web, "town/square/post", "ada", &splice).await.fine();
        let shown = read(web, "town/square/post", "bob").await;
        heads.push(shown["heads"][0].as_str().expect("a head").to_owned());
    }
    // Whatever was kept in memory, it is read from the disk now.
    let server = server.restart().await;
    assert!(server.log().contains("document compacted"), "it was to be put in order");
    for (place, head) in heads.iter().enumerate() {
        let title = &"abcdefgh"[..=place];
        let seq = place + 2;
        let past = web.get(&format!("{POST}&at={seq}"), &[]).await;
        let tag = past.header("etag").map(str::to_owned);
        let past = past.fine();
        assert_eq!((&past["post"]["title"], &past["seq"]), (&json!(title), &json!(seq)));
        assert_eq!(past["heads"], json!([head]));
        let same = web.get(&format!("{POST}&heads={head}"), &[]).await;
        assert_eq!(same.header("etag").map(str::to_owned), tag);
        assert_eq!(same.fine()["post"], past["post"]);
    }
    let later = web.get(&format!("{POST}&at=10"), &[]).await;
    assert_eq!(later.problem(), (404, "version_unknown".to_owned()));
    let unknown = web.get(&format!("{POST}&heads={}", "ab".repeat(32)), &[]).await;
    assert_eq!(unknown.problem(), (410, "version_gone".to_owned()));
}

#[tokio::test]
async fn a_version_before_the_epoch_is_gone() {
    let dir = tempdir().expect("a directory");
    let settings = ["--rollover-bytes", "600", "--evict-idle-ms", "50"];
    let (_server, web) = server(dir.path(), &settings).await;
    let path = "/v1/documents/town/square/comments?user=bob";
    for number in 0..12 {
        command(web, "town/square/comments", "ada", &comment(&format!("Number {number}")))
            .await
            .fine();
    }
    let shown = read(web, "town/square/comments", "bob").await;
    assert_eq!(shown["comments"]["count"], 12);
    let gone = web.get(&format!("{path}&at=1"), &[]).await;
    assert_eq!(gone.problem(), (410, "version_gone".to_owned()));
}

#[tokio::test]
async fn likes_comments_and_json_are_shown_as_pages_need_them() {
    let dir = tempdir().expect("a directory");
    let (server, web) = server(dir.path(), &[]).await;
    let client = join(&server.url(), "ada").await;
    let address = "town/square/likes".parse().expect("an address");
    let likes = within(client.document(&address)).await.expect("it opens");
    confirmed(likes.command(like("ada")).expect("it can be done")).await;
    let first = command(web, "town/square/comments", "ada", &comment("One")).await.fine();
    let first = first["id"].as_str().expect("an id").to_owned();
    let reply = json!({"comments": {"add": {"body": "Two", "parent": first}}});
    command(web, "town/square/comments", "bob", &reply).await.fine();
    let heart = json!({"likes": {"like": {"reaction": "❤", "target": {"comment": first}}}});
    command(web, "town/square/likes", "bob", &heart).await.fine();
    let seen = json!({"likes": {"count": {"counter": "views", "by": 3}}});
    command(web, "town/square/likes", "bob", &seen).await.fine();
    let delete = json!({"comments": {"delete": {"id": first}}});
    command(web, "town/square/comments", "ada", &delete).await.fine();
    let put = json!({"json": {"put": {"path": ["colour"], "value": {"r": 255}}}});
    command(web, "town/square/json", "bob", &put).await.fine();

    let likes = read(web, "town/square/likes", "eve").await;
    assert_eq!(likes["likes"]["targets"], json!({"post": {"like": 1}, (&first): {"❤": 1}}));
    assert_eq!(likes["likes"]["counters"], json!({"views": 3, "shares": 0}));
    let comments = read(web, "town/square/comments", "eve").await;
    assert_eq!(comments["comments"]["count"], 1);
    let thread = comments["comments"]["thread"].as_array().expect("a thread");
    let of = |name: &str| thread.iter().map(|c| c[name].clone()).collect::<Vec<_>>();
    assert_eq!(of("depth"), [0, 1]);
    assert_eq!(of("body"), [json!(null), json!("Two")], "what is deleted is not shown");
    assert_eq!(of("parent"), [json!(null), json!(first)]);
    assert_eq!(read(web, "town/square/json", "eve").await["json"], json!({"colour": {"r": 255}}));
}

#[tokio::test]
async fn a_post_that_is_hidden_or_deleted_shows_nothing_but_that() {
    let dir = tempdir().expect("a directory");
    let (_server, web) = server(dir.path(), &[]).await;
    command(web, "town/square/post", "ada", &create("Secret", "Text")).await.fine();
    for status in ["hidden", "deleted"] {
        let set = json!({"post": {"set_status": {"status": status}}});
        command(web, "town/square/post", "ada", &set).await.fine();
        let shown = web.get(POST, &[]).await;
        assert_eq!(shown.fine()["post"]["status"], status);
        let said = String::from_utf8_lossy(&shown.body);
        assert!(!said.contains("Secret") && !said.contains("Text"), "{said}");
    }
}
