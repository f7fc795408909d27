//! A client that never reaches a server: everything works from the first start, and survives.

#![allow(clippy::unwrap_used, reason = "what a test can not do without fails it")]

use std::future::Future;
use std::time::Duration;

use syncline_client::engine::codes::Code;
use syncline_client::engine::document::{
    Command, CommentsCommand, Event, LikesCommand, PostCommand, Target, TextField, View,
};
use syncline_client::engine::ids::{Address, Ulid};
use syncline_client::engine::session::{Config, ConnectionStatus, Resolution};
use syncline_client::store::StoreOpenError;
use syncline_client::{Client, CommandError, OpenError};

/// Fails a test that waits for something that does not happen.
async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(30), future).await.expect("nothing happened")
}

/// Nobody listens on port 9 of this machine, and nobody is asked: the client begins offline.
async fn offline(dir: &std::path::Path) -> Result<Client, OpenError> {
    within(Client::builder("ws://127.0.0.1:9").user("alice").data_dir(dir).online(false).open())
        .await
}

#[tokio::test]
async fn commands_show_at_once_and_survive_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let client = offline(dir.path()).await.unwrap();
    let id = client.new_id();
    let post = within(client.post("town", id)).await.unwrap();
    post.create("Hello", "wrld", &["first"]).unwrap();
    assert_eq!(post.title(), "Hello");
    let edits = post.edit(TextField::Body, "world").unwrap();
    assert_eq!(post.body(), "world");
    assert!(post.edit(TextField::Body, "world").unwrap().is_empty());

    let likes = within(client.likes("town", id)).await.unwrap();
    likes.toggle(Target::Post, "like").unwrap();
    assert_eq!(likes.count(Target::Post, "like"), 1);
    likes.toggle(Target::Post, "like").unwrap();
    assert_eq!(likes.count(Target::Post, "like"), 0);
    likes.like(Target::Post, "❤").unwrap();

    let comments = within(client.comments("town", id)).await.unwrap();
    let (first, _) = comments.add(None, "first").unwrap();
    let (reply, _) = comments.add(Some(first), "reply").unwrap();
    assert!(reply > first);

    let widget = within(client.json("town", "widget")).await.unwrap();
    widget.put(["title"], "Sales").unwrap();
    let last = widget.put(["rows"], serde_json::json!([1, 2])).unwrap();
    within(last.stored()).await.unwrap();
    within(edits[0].stored()).await.unwrap();
    assert!(client.status().borrow().pending >= 9);
    within(client.close()).await;

    let client = offline(dir.path()).await.unwrap();
    let stored = within(client.stored_documents()).await.unwrap();
    let pending = within(client.pending_documents()).await.unwrap();
    assert_eq!(stored.len(), 4);
    assert_eq!(pending, stored);
    let post = within(client.post("town", id)).await.unwrap();
    assert_eq!((post.title(), post.body()), ("Hello".into(), "world".into()));
    assert_eq!(post.tags(), ["first"]);
    let likes = within(client.likes("town", id)).await.unwrap();
    assert!(likes.contains(Target::Post, "❤", client.user()));
    let comments = within(client.comments("town", id)).await.unwrap();
    let thread: Vec<_> =
        comments.thread().into_iter().map(|(depth, id, c)| (depth, id, c.body)).collect();
    assert_eq!(thread, [(0, first, "first".into()), (1, reply, "reply".into())]);
    let widget = within(client.json("town", "widget")).await.unwrap();
    assert_eq!(widget.value(), serde_json::json!({ "title": "Sales", "rows": [1, 2] }));
    assert_eq!(widget.document().status().pending, 2);
}

#[tokio::test]
async fn what_is_stored_survives_a_client_that_is_never_closed() {
    let dir = tempfile::tempdir().unwrap();
    let client = offline(dir.path()).await.unwrap();
    let widget = within(client.json("town", "widget")).await.unwrap();
    within(widget.put(["a"], 1).unwrap().stored()).await.unwrap();
    // The process "dies": what its store holds at this moment is all that is left.
    let image = tempfile::tempdir().unwrap();
    copy(dir.path(), image.path());
    let client = offline(image.path()).await.unwrap();
    let widget = within(client.json("town", "widget")).await.unwrap();
    assert_eq!(widget.value(), serde_json::json!({ "a": 1 }));
}

fn copy(from: &std::path::Path, to: &std::path::Path) {
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

#[tokio::test]
async fn a_store_has_one_client_and_one_user() {
    let dir = tempfile::tempdir().unwrap();
    let client = offline(dir.path()).await.unwrap();
    let second = offline(dir.path()).await.unwrap_err();
    assert!(matches!(second, OpenError::Store(StoreOpenError::InUse { .. })), "{second}");
    assert!(second.to_string().contains(&dir.path().display().to_string()));
    within(client.close()).await;
    let bob = Client::builder("ws://127.0.0.1:9").user("bob").data_dir(dir.path()).online(false);
    let refused = within(bob.open()).await.unwrap_err();
    assert!(matches!(refused, OpenError::OtherUser { .. }), "{refused}");
    offline(dir.path()).await.unwrap();
}

#[tokio::test]
async fn dropping_the_client_closes_its_store_and_its_documents() {
    let dir = tempfile::tempdir().unwrap();
    let client = offline(dir.path()).await.unwrap();
    let document = within(client.document(&"town/square/json".parse().unwrap())).await.unwrap();
    let mut events = document.events();
    drop(client);
    assert_eq!(within(events.next()).await, None);
    assert!(within(document.live()).await.is_err());
    let command = Command::Post(PostCommand::AddTag { tag: "late".into() });
    assert!(matches!(document.command(command), Err(CommandError::Closed(_))));
    // The store is closed by its own thread, soon after.
    within(async {
        while let Err(refused) = offline(dir.path()).await {
            assert!(matches!(refused, OpenError::Store(StoreOpenError::InUse { .. })), "{refused}");
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn what_can_not_be_opened_says_why() {
    let open = |builder: syncline_client::Builder| within(builder.open());
    let builder = || Client::builder("ws://127.0.0.1:9").user("alice");
    assert!(matches!(open(builder()).await, Err(OpenError::NoStore)));
    assert!(matches!(open(builder().user("a b").in_memory()).await, Err(OpenError::User(_))));
    let nowhere = Client::builder("nowhere").user("alice").in_memory();
    assert!(matches!(open(nowhere).await, Err(OpenError::Endpoint(_))));
    let client = open(builder().in_memory().online(false)).await.unwrap();
    assert!(within(client.post("no/space", "x")).await.is_err());
}

#[tokio::test]
async fn a_command_that_makes_no_sense_is_refused_at_once_and_changes_nothing() {
    let client = Client::builder("ws://127.0.0.1:9").user("alice").in_memory().online(false);
    let client = within(client.open()).await.unwrap();
    let id = client.new_id();
    let comments = within(client.comments("town", id)).await.unwrap();
    let missing: Ulid = "01ARZ3NDEKTSV4RRFFQ69G5FAV".parse().unwrap();
    let refused = comments.edit(missing, "new").unwrap_err();
    assert_eq!(refused.code(), Some(Code::NotFound));
    let refused = comments.add(None, "").unwrap_err();
    assert_eq!(refused.code(), Some(Code::BadCommand));
    let likes = within(client.likes("town", id)).await.unwrap();
    let strange =
        Command::Comments(CommentsCommand::Delete { id: missing, at: missing.timestamp() });
    assert!(likes.document().command(strange).is_err());
    assert_eq!(client.status().borrow().pending, 0);
    let nothing = likes.unlike(Target::Post, "like").unwrap();
    assert_eq!(within(nothing).await, Ok(Resolution::NoEffect));
}

#[tokio::test]
async fn readers_hear_what_changes_and_the_view_is_copied_once() {
    let client = Client::builder("ws://127.0.0.1:9").user("alice").in_memory().online(false);
    let client = within(client.open()).await.unwrap();
    let address: Address = "town/square/likes".parse().unwrap();
    let document = within(client.document_for_writing(&address)).await.unwrap();
    let mut events = document.events();
    let user = client.user().clone();
    let (target, reaction) = (Target::Post, "like".to_owned());
    let like = LikesCommand::Like { target, reaction, user: user.clone(), at: client.new_id() };
    document.command(Command::Likes(like)).unwrap();
    let change = within(events.next()).await.unwrap();
    assert!(change.local && change.missed == 0);
    let (target, reaction) = (Target::Post, "like".to_owned());
    assert_eq!(change.events, [Event::LikeAdded { target, reaction, user }]);
    let view = document.view();
    assert!(std::sync::Arc::ptr_eq(&view, &document.view()));
    assert!(matches!(&*view, View::Likes(likes) if likes.total(Target::Post) == 1));
}

#[tokio::test]
async fn a_reader_that_lags_is_told_how_much_it_missed() {
    let client = Client::builder("ws://127.0.0.1:9").user("alice").in_memory().online(false);
    let client = within(client.open()).await.unwrap();
    let widget = within(client.json("town", "widget")).await.unwrap();
    let mut events = widget.document().events();
    for n in 0..1_000 {
        widget.put(["n"], n).unwrap();
    }
    let first = within(events.next()).await.unwrap();
    assert!(first.missed > 0 && first.events.is_empty());
    assert!(within(events.next()).await.is_some_and(|change| change.missed == 0));
}

#[tokio::test]
async fn a_document_closes_with_its_last_handle_and_opens_again_with_its_content() {
    let client = Client::builder("ws://127.0.0.1:9").user("alice").in_memory().online(false);
    let client = within(client.open()).await.unwrap();
    let widget = within(client.json("town", "widget")).await.unwrap();
    let other = within(client.json("town", "widget")).await.unwrap();
    widget.put(["a"], 1).unwrap();
    drop(widget);
    let mut events = other.document().events();
    other.put(["b"], 2).unwrap();
    assert!(within(events.next()).await.is_some());
    drop(other);
    assert_eq!(within(events.next()).await, None);
    let again = within(client.json("town", "widget")).await.unwrap();
    assert_eq!(again.value(), serde_json::json!({ "a": 1, "b": 2 }));
}

#[tokio::test]
async fn the_connection_is_idle_until_it_is_asked_for() {
    let hour = Duration::from_secs(3_600);
    let config = Config { backoff_min: hour, backoff_max: hour, ..Config::default() };
    let client = Client::builder("ws://127.0.0.1:9").user("alice").in_memory().online(false);
    let client = within(client.config(config).open()).await.unwrap();
    let mut connection = client.connection();
    assert_eq!(*connection.borrow(), ConnectionStatus::Idle);
    client.set_online(true);
    let waits = |status: &ConnectionStatus| matches!(status, ConnectionStatus::Reconnecting { .. });
    within(connection.wait_for(waits)).await.unwrap();
    client.set_online(false);
    let idle = |status: &ConnectionStatus| *status == ConnectionStatus::Idle;
    within(connection.wait_for(idle)).await.unwrap();
}

#[tokio::test]
async fn what_was_typed_becomes_one_command_and_is_undone_as_one() {
    let dir = tempfile::tempdir().unwrap();
    let config = Config { typing_window: Duration::from_secs(3_600), ..Config::default() };
    let builder = Client::builder("ws://127.0.0.1:9").user("alice").data_dir(dir.path());
    let client = within(builder.online(false).config(config).open()).await.unwrap();
    let post = within(client.post("town", client.new_id())).await.unwrap();
    post.create("", "", &[]).unwrap();
    let first = post.splice_typed(TextField::Body, 0, 0, "h").unwrap();
    let second = post.splice_typed(TextField::Body, 1, 0, "e").unwrap();
    let third = post.splice_typed(TextField::Body, 2, 0, "y").unwrap();
    assert_eq!((first == second, second == third), (false, true));
    assert_eq!(post.body(), "h", "an editor that types holds its text itself");
    post.document().flush();
    assert_eq!(post.body(), "hey");
    let pending = post.document().undo().unwrap();
    assert_eq!(post.body(), "h");
    within(pending.stored()).await.unwrap();
    post.document().redo().unwrap();
    assert_eq!((post.body().as_str(), post.document().undoable()), ("hey", (3, 0)));
    assert_eq!(post.document().redo().unwrap_err().code(), Some(Code::NoEffect));
    assert_eq!(client.status().borrow().pending, 5);
    within(client.close()).await;
}
