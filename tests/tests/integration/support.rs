//! How these tests open clients and wait for what they should show. Knows no single promise.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use syncline_client::engine::document::{Command, CommentsCommand, LikesCommand, Target, View};
use syncline_client::engine::session::{Config, Resolution};
use syncline_client::{Builder, Client, Document, Pending};
use syncline_engine::clock::Timestamp;
use syncline_engine::ids::{Ulid, UserId};
pub(crate) use syncline_tests::process::{PATIENCE, ServerProcess, within};
pub(crate) use syncline_tests::proxy::Proxy;
pub(crate) use syncline_tests::raw::RawClient;

/// A client that comes back quickly after a lost connection.
pub(crate) fn builder(url: &str, user: &str) -> Builder {
    let soon = Duration::from_millis(20);
    let config = Config { backoff_min: soon, backoff_max: soon, ..Config::default() };
    Client::builder(url).user(user).config(config)
}

/// A client that keeps nothing.
pub(crate) async fn join(url: &str, user: &str) -> Client {
    within(builder(url, user).in_memory().open()).await.expect("it opens")
}

/// A client with a store.
pub(crate) async fn join_stored(url: &str, user: &str, dir: &Path, online: bool) -> Client {
    let builder = builder(url, user).data_dir(dir).online(online);
    within(builder.open()).await.expect("it opens")
}

/// Waits until a document shows something.
pub(crate) async fn shows(document: &Document, mut what: impl FnMut(&View) -> bool) {
    let mut changes = document.events();
    within(async {
        while !document.with_view(&mut what) {
            assert!(changes.next().await.is_some(), "the document was closed");
        }
    })
    .await;
}

/// Waits until two documents show the same.
pub(crate) async fn agree(one: &Document, other: &Document) {
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

/// Waits until a client has sent everything and is caught up.
pub(crate) async fn synced(client: &Client) {
    match tokio::time::timeout(PATIENCE, client.synced()).await {
        Ok(synced) => synced.expect("nothing is in the way"),
        Err(_) => panic!("still not in sync: {:?}", *client.status().borrow()),
    }
}

/// Waits until a command is in the server's log.
pub(crate) async fn confirmed(pending: Pending) {
    assert_eq!(within(pending).await, Ok(Resolution::Confirmed));
}

/// A number that this process has not given before.
pub(crate) fn fresh() -> u64 {
    static LAST: AtomicU64 = AtomicU64::new(0);
    LAST.fetch_add(1, Ordering::Relaxed) + 1
}

/// A session or outbox that nobody else has.
pub(crate) fn fresh_id() -> [u8; 16] {
    let mut id = [0x5e; 16];
    id[..8].copy_from_slice(&fresh().to_be_bytes());
    id
}

pub(crate) fn ulid() -> Ulid {
    Ulid::new(Timestamp(1_700_000_000_000 + fresh()), u128::from(fresh()))
}

pub(crate) fn user(name: &str) -> UserId {
    UserId::new(name).expect("a name")
}

/// A like of the post.
pub(crate) fn like(name: &str) -> Command {
    let (reaction, at) = ("like".to_owned(), ulid());
    Command::Likes(LikesCommand::Like { target: Target::Post, reaction, user: user(name), at })
}

/// A like of some comment that nobody liked before.
pub(crate) fn like_a_comment(name: &str) -> Command {
    let (reaction, at, target) = ("like".to_owned(), ulid(), Target::Comment(ulid()));
    Command::Likes(LikesCommand::Like { target, reaction, user: user(name), at })
}

/// A comment on the post.
pub(crate) fn comment(author: &str, body: &str) -> Command {
    Command::Comments(CommentsCommand::Add {
        id: ulid(),
        author: user(author),
        parent: None,
        created: Timestamp(1_700_000_000_000),
        body: body.to_owned(),
    })
}
