//! How commands end, over real sockets: refused ones keep their content, every ending is told once
//! although the app dies, and two copies of one store make everything exactly once.

use std::path::Path;

use futures_util::StreamExt as _;
use syncline_client::engine::codes::Code;
use syncline_client::engine::document::{Command, Counter, View};
use syncline_client::engine::session::{Ending, Notice, Resolution};
use syncline_client::{Client, Document, Likes};
use syncline_engine::ids::{Address, Facet};
use syncline_tests::process::copy_folder;
use tempfile::tempdir;

use crate::support::{
    Proxy, ServerProcess, agree, builder, comment, confirmed, join, join_stored, shows, synced,
    within,
};

async fn comments(client: &Client) -> Document {
    let address = Address::new("town", "square", Facet::Comments).expect("an address");
    within(client.document(&address)).await.expect("it opens")
}

async fn likes(client: &Client) -> Likes {
    within(client.likes("town", "square")).await.expect("it opens")
}

async fn by_hand(url: &str, user: &str, dir: &Path, online: bool) -> Client {
    let builder = builder(url, user).data_dir(dir).online(online).endings_by_hand();
    within(builder.open()).await.expect("it opens")
}

fn told(endings: &[Ending]) -> Vec<(Command, Resolution)> {
    endings.iter().map(|ending| (ending.command.clone(), ending.resolution.clone())).collect()
}

#[tokio::test]
async fn an_ending_is_told_until_it_is_taken_although_the_app_dies_in_between() {
    let dir = tempdir().expect("a directory");
    let server = ServerProcess::start(&dir.path().join("server"), &[]).await;
    let (proxy, store) = (Proxy::start(server.port()).await, dir.path().join("alice"));
    let alice = by_hand(&proxy.url(), "alice", &store, true).await;
    let hers = comments(&alice).await;
    let command = comment("alice", "was it heard?");
    let pending = hers.command(command.clone()).expect("taken");
    let id = pending.id();
    confirmed(pending).await;
    let expected = [(command, Resolution::Confirmed)];
    assert_eq!(told(&alice.endings()), expected);
    // The record reaches the disk with the next write at the latest.
    within(alice.dismiss(id)).await.expect("stored");
    drop(hers);
    alice.abort().await;

    let alice = by_hand(&proxy.url(), "alice", &store, true).await;
    assert_eq!(told(&alice.endings()), expected, "nobody took it");
    within(alice.take(id)).await.expect("stored");
    alice.abort().await;
    let alice = by_hand(&proxy.url(), "alice", &store, true).await;
    assert_eq!(told(&alice.endings()), []);
    let hers = comments(&alice).await;
    within(hers.live()).await.expect("in sync");
    assert_eq!(told(&alice.endings()), [], "also when the server says again what it settled");
}

#[tokio::test]
async fn who_reads_notices_hears_what_ended_while_nobody_listened_and_only_once() {
    let dir = tempdir().expect("a directory");
    let server = ServerProcess::start(&dir.path().join("server"), &[]).await;
    let store = dir.path().join("alice");
    let alice = join_stored(&server.url(), "alice", &store, false).await;
    let hers = comments(&alice).await;
    let command = comment("alice", "offline");
    drop(hers.command(command.clone()).expect("taken"));
    alice.set_online(true);
    synced(&alice).await;
    drop(hers);
    alice.close().await;

    let alice = join_stored(&server.url(), "alice", &store, false).await;
    let first = within(alice.notices().next()).await;
    let Some(Notice::Resolved { command: heard, resolution, .. }) = first else {
        panic!("{first:?}");
    };
    assert_eq!((heard, resolution), (command, Resolution::Confirmed));
    alice.close().await;
    let alice = join_stored(&server.url(), "alice", &store, false).await;
    assert_eq!(alice.endings(), []);
}

/// Everybody's counter of shares, and that of one who reads the log from its beginning.
async fn all_count(url: &str, likes: &[&Likes], shares: i64) {
    let carol = join(url, "carol").await;
    let fresh = within(carol.likes("town", "square")).await.expect("it opens");
    within(fresh.document().live()).await.expect("in sync");
    for likes in likes {
        shows(
            likes.document(),
            |view| matches!(view, View::Likes(view) if view.counter(Counter::Shares) == shares),
        )
        .await;
        agree(fresh.document(), likes.document()).await;
    }
    assert_eq!(fresh.share_counter(), shares);
    let seq = i64::try_from(fresh.document().status().seq).expect("small");
    assert_eq!(seq, shares, "each command is in the log once");
    carol.close().await;
}

async fn count(likes: &Likes, times: usize) {
    for _ in 0..times {
        let pending = likes.add(Counter::Shares, 1).expect("taken");
        within(pending.stored()).await.expect("stored");
    }
}

#[tokio::test]
async fn two_copies_of_a_store_make_everything_once_ak4() {
    // Work that is common to both is known again in the log, so one has to bring it there first.
    for (common, together) in [(3, false), (0, true)] {
        let dir = tempdir().expect("a directory");
        let settings = ["--lease-grace-ms", "0"];
        let server = ServerProcess::start(&dir.path().join("server"), &settings).await;
        let (url, store) = (server.url(), dir.path().join("one"));
        let one = join_stored(&url, "alice", &store, true).await;
        let first = likes(&one).await;
        count(&first, 2).await;
        synced(&one).await;
        one.set_online(false);
        count(&first, common).await;
        drop(first);
        one.close().await;
        copy_folder(&store, &dir.path().join("two"));
        let one = join_stored(&url, "alice", &store, false).await;
        let two = join_stored(&url, "alice", &dir.path().join("two"), false).await;
        let (first, second) = (likes(&one).await, likes(&two).await);
        count(&first, 4).await;
        count(&second, 2).await;
        one.set_online(true);
        if !together {
            synced(&one).await;
        }
        two.set_online(true);
        synced(&one).await;
        synced(&two).await;
        count(&first, 1).await;
        count(&second, 1).await;
        synced(&one).await;
        synced(&two).await;
        let shares = i64::try_from(2 + common + 4 + 2 + 2).expect("small");
        all_count(&url, &[&first, &second], shares).await;
    }
}

#[tokio::test]
async fn an_old_copy_of_a_store_loses_and_repeats_nothing_ak4() {
    let dir = tempdir().expect("a directory");
    let server = ServerProcess::start(&dir.path().join("server"), &[]).await;
    let (url, store, backup) = (server.url(), dir.path().join("one"), dir.path().join("backup"));
    let one = join_stored(&url, "alice", &store, true).await;
    let first = likes(&one).await;
    count(&first, 3).await;
    synced(&one).await;
    one.set_online(false);
    count(&first, 2).await;
    drop(first);
    one.close().await;
    copy_folder(&store, &backup);
    let one = join_stored(&url, "alice", &store, true).await;
    let first = likes(&one).await;
    count(&first, 6).await;
    synced(&one).await;
    drop(first);
    one.close().await;
    // The device is lost; its backup has two of the commands still pending.
    let one = join_stored(&url, "alice", &backup, false).await;
    let first = likes(&one).await;
    count(&first, 4).await;
    one.set_online(true);
    synced(&one).await;
    all_count(&url, &[&first], 3 + 2 + 6 + 4).await;
}

#[tokio::test]
async fn what_the_server_refuses_is_rolled_back_and_its_text_stays_until_dismissed() {
    let dir = tempdir().expect("a directory");
    let settings = ["--document-bytes-max", "4000"];
    let server = ServerProcess::start(&dir.path().join("server"), &settings).await;
    let store = dir.path().join("alice");
    let alice = join_stored(&server.url(), "alice", &store, true).await;
    let hers = comments(&alice).await;
    confirmed(hers.command(comment("alice", "small")).expect("taken")).await;
    let shown = hers.view();
    let large = comment("alice", &"much to say ".repeat(500));
    let refused = hers.command(large.clone()).expect("taken");
    let (id, after) = (refused.id(), hers.command(comment("alice", "after it")).expect("taken"));
    let Ok(Resolution::Refused { code, message }) = within(refused).await else {
        panic!("the document is full");
    };
    assert_eq!(code, Code::DocumentFull);
    confirmed(after).await;
    let View::Comments(before) = &*shown else { unreachable!("comments") };
    shows(&hers, |view| matches!(view, View::Comments(now) if now.len() == before.len() + 1)).await;
    within(alice.take(id)).await.expect("stored");
    drop(hers);
    alice.abort().await;

    let alice = join_stored(&server.url(), "alice", &store, false).await;
    let elsewhere = Address::new("town", "elsewhere", Facet::Comments).expect("an address");
    assert_eq!(alice.refused(Some(&elsewhere)), []);
    let kept = alice.refused(None);
    assert_eq!(kept.len(), 1);
    assert_eq!((kept[0].id, &kept[0].command, kept[0].taken), (id, &large, true));
    assert_eq!(kept[0].resolution, Resolution::Refused { code, message });
    within(alice.dismiss(id)).await.expect("stored");
    alice.abort().await;
    let alice = join_stored(&server.url(), "alice", &store, false).await;
    assert_eq!(alice.refused(None), []);
}
