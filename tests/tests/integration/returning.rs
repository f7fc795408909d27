//! A client comes back to a server that is not as it left it, and ends in agreement, with every
//! change there exactly once. Counters show what happened twice or not at all: each increment is a
//! change of its own, and nothing merges two into one.

use std::path::Path;

use syncline_client::engine::document::{Counter, View};
use syncline_client::{Client, Likes};
use syncline_engine::ids::Address;
use syncline_engine::wire::frame::Resume;
use syncline_tests::process::copy_folder;
use tempfile::tempdir;

use crate::support::{
    Proxy, RawClient, ServerProcess, agree, confirmed, fresh_id, join, join_stored, shows, synced,
    within,
};

const ADDRESS: &str = "town/square/likes";

async fn likes(client: &Client) -> Likes {
    within(client.likes("town", "square")).await.expect("it opens")
}

async fn count(likes: &Likes, times: usize) {
    for _ in 0..times {
        let pending = likes.add(Counter::Shares, 1).expect("taken");
        within(pending.stored()).await.expect("stored");
    }
}

async fn live(likes: &Likes) {
    within(likes.document().live()).await.expect("in sync");
}

/// Counts online, to the end.
async fn count_confirmed(likes: &Likes, times: usize) {
    for _ in 0..times {
        confirmed(likes.add(Counter::Shares, 1).expect("taken")).await;
    }
}

/// Checks that all clients and one that is new agree on so many shares, and that the log holds each
/// command once and nothing else.
async fn all_have(url: &str, clients: &[&Likes], shares: i64) {
    let fresh = join(url, "carol").await;
    let seen = likes(&fresh).await;
    live(&seen).await;
    for likes in clients {
        shows(
            likes.document(),
            |view| matches!(view, View::Likes(view) if view.counter(Counter::Shares) == shares),
        )
        .await;
        agree(seen.document(), likes.document()).await;
        assert_eq!(likes.document().status().pending, 0);
    }
    assert_eq!(seen.share_counter(), shares);
    let seq = i64::try_from(seen.document().status().seq).expect("small");
    assert_eq!(seq, shares, "each change is in the log once");
    fresh.close().await;
}

/// Waits until the server serves a new reader by a snapshot that stands for `seq` or more.
async fn compacted(url: &str, seq: u64) {
    let address: Address = ADDRESS.parse().expect("an address");
    within(async {
        loop {
            let mut reader = RawClient::hello(url, "reader", fresh_id(), 1).await;
            let opened = reader.subscribe(&address, fresh_id(), false).await;
            match opened.resume {
                Resume::Snapshot { cursor, .. } if cursor.seq >= seq => return,
                Resume::Snapshot { .. } | Resume::Beginning | Resume::Cursor => {}
            }
        }
    })
    .await;
}

#[tokio::test]
async fn after_a_compaction_past_its_cursor_a_client_is_brought_up_by_snapshot_sub3() {
    let dir = tempdir().expect("a directory");
    let settings = ["--compact-entries", "20", "--compact-keep", "0", "--lease-grace-ms", "0"];
    let server = ServerProcess::start(&dir.path().join("server"), &settings).await;
    let (url, store) = (server.url(), dir.path().join("alice"));
    let alice = join_stored(&url, "alice", &store, true).await;
    let hers = likes(&alice).await;
    count_confirmed(&hers, 5).await;
    alice.set_online(false);
    count(&hers, 5).await;

    let bob = join(&url, "bob").await;
    let his = likes(&bob).await;
    count_confirmed(&his, 60).await;
    compacted(&url, 40).await;
    // Pending work also comes through a crash of the app meanwhile.
    drop(hers);
    alice.abort().await;
    let alice = join_stored(&url, "alice", &store, false).await;
    let hers = likes(&alice).await;
    count(&hers, 5).await;
    assert_eq!((hers.share_counter(), hers.document().status().pending), (15, 10));
    alice.set_online(true);
    all_have_after(&url, &alice, &[&hers, &his], 75).await;
}

/// [`all_have`] once a client has sent everything.
async fn all_have_after(url: &str, client: &Client, clients: &[&Likes], shares: i64) {
    synced(client).await;
    all_have(url, clients, shares).await;
}

#[tokio::test]
async fn a_client_with_a_stale_epoch_hands_back_what_a_new_server_lacks_rs1_rs2_rs3() {
    let dir = tempdir().expect("a directory");
    let server = ServerProcess::start(&dir.path().join("one"), &[]).await;
    let url = server.url();
    let alice = join_stored(&url, "alice", &dir.path().join("alice"), true).await;
    let bob = join_stored(&url, "bob", &dir.path().join("bob"), true).await;
    let (hers, his) = (likes(&alice).await, likes(&bob).await);
    count_confirmed(&hers, 10).await;
    count_confirmed(&his, 10).await;
    synced(&alice).await;
    agree(hers.document(), his.document()).await;
    alice.set_online(false);
    bob.set_online(false);
    count(&hers, 5).await;
    count(&his, 5).await;

    // The disk was replaced by an empty one, and somebody wrote there before the others came back.
    let server = server.restart_on(&dir.path().join("two")).await;
    let dora = join(&url, "dora").await;
    let another = likes(&dora).await;
    count_confirmed(&another, 5).await;
    // Both hand back the same twenty at the same time.
    alice.set_online(true);
    bob.set_online(true);
    synced(&alice).await;
    synced(&bob).await;
    all_have(&url, &[&hers, &his, &another], 35).await;
    drop(server);
}

async fn stopped_copy(server: ServerProcess, from: &Path, to: &Path) -> ServerProcess {
    let port = server.port();
    assert_eq!(server.terminate().await, Some(0));
    copy_folder(from, to);
    match ServerProcess::try_start(from, port, &[]).await {
        Ok(server) => server,
        Err(refused) => panic!("{refused:?}"),
    }
}

#[tokio::test]
async fn changes_that_a_restored_server_lost_come_back_from_those_who_have_them_rs1_sub2() {
    let dir = tempdir().expect("a directory");
    let (data, backup) = (dir.path().join("server"), dir.path().join("backup"));
    let server = ServerProcess::start(&data, &[]).await;
    let url = server.url();
    let alice = join_stored(&url, "alice", &dir.path().join("alice"), true).await;
    let bob = join_stored(&url, "bob", &dir.path().join("bob"), true).await;
    let (hers, his) = (likes(&alice).await, likes(&bob).await);
    count_confirmed(&hers, 10).await;
    count_confirmed(&his, 10).await;

    let server = stopped_copy(server, &data, &backup).await;
    count_confirmed(&his, 10).await;
    count_confirmed(&hers, 10).await;
    synced(&bob).await;
    agree(hers.document(), his.document()).await;
    bob.set_online(false);
    alice.set_online(false);
    count(&his, 5).await;
    count(&hers, 5).await;

    let server = server.restart_on(&backup).await;
    // The restored log goes on with other changes at the positions that the lost ones had.
    let dora = join(&url, "dora").await;
    let another = likes(&dora).await;
    count_confirmed(&another, 30).await;
    alice.set_online(true);
    synced(&alice).await;
    bob.set_online(true);
    synced(&bob).await;
    all_have(&url, &[&hers, &his, &another], 80).await;
    drop(server);
}

/// Waits until the server has so many changes, as somebody else sees it.
async fn server_has(url: &str, shares: i64) {
    let observer = join(url, "observer").await;
    let seen = likes(&observer).await;
    shows(
        seen.document(),
        |view| matches!(view, View::Likes(view) if view.counter(Counter::Shares) >= shares),
    )
    .await;
    observer.close().await;
}

#[tokio::test]
async fn an_acknowledgement_that_was_cut_off_makes_nothing_twice_pu3_ak3_le4() {
    // With the grace time the lease is kept and the same bytes are sent again; without it the rest
    // is authored again under another lease.
    for grace in ["30000", "0"] {
        let dir = tempdir().expect("a directory");
        let settings = ["--lease-grace-ms", grace];
        let server = ServerProcess::start(&dir.path().join("server"), &settings).await;
        let proxy = Proxy::start(server.port()).await;
        let alice = join_stored(&proxy.url(), "alice", &dir.path().join("alice"), true).await;
        let hers = likes(&alice).await;
        count_confirmed(&hers, 3).await;
        let mut expected = 3;
        for _ in 0..3 {
            proxy.hold_down(true);
            count(&hers, 4).await;
            expected += 4;
            server_has(&server.url(), expected).await;
            assert!(hers.document().status().pending > 0, "nothing was acknowledged");
            // More is written that the server does not get in time.
            proxy.hold_up(true);
            count(&hers, 3).await;
            expected += 3;
            proxy.cut();
            proxy.hold_up(false);
            proxy.hold_down(false);
            synced(&alice).await;
        }
        all_have(&server.url(), &[&hers], expected).await;
    }
}

#[tokio::test]
async fn an_app_that_dies_before_it_hears_the_acknowledgement_makes_nothing_twice_pu3_ak3() {
    let dir = tempdir().expect("a directory");
    let mut server = ServerProcess::start(&dir.path().join("server"), &[]).await;
    let (proxy, store) = (Proxy::start(server.port()).await, dir.path().join("alice"));
    let mut expected = 0;
    let mut alice = join_stored(&proxy.url(), "alice", &store, true).await;
    for server_dies in [false, true, false] {
        let hers = likes(&alice).await;
        live(&hers).await;
        count_confirmed(&hers, 1).await;
        proxy.hold_down(true);
        count(&hers, 4).await;
        expected += 5;
        server_has(&server.url(), expected).await;
        drop(hers);
        alice.abort().await;
        proxy.hold_down(false);
        if server_dies {
            // Its leases are gone with it.
            server = server.restart().await;
        }
        alice = join_stored(&proxy.url(), "alice", &store, true).await;
        synced(&alice).await;
    }
    let hers = likes(&alice).await;
    all_have(&server.url(), &[&hers], expected).await;
}

#[tokio::test]
async fn a_slow_and_breaking_network_loses_and_repeats_nothing_pu3_sub4() {
    let dir = tempdir().expect("a directory");
    let data = dir.path().join("server");
    let settings = ["--compact-entries", "10", "--compact-keep", "5", "--lease-grace-ms", "200"];
    let mut server = ServerProcess::start(&data, &settings).await;
    let proxy = Proxy::start(server.port()).await;
    let alice = join_stored(&proxy.url(), "alice", &dir.path().join("alice"), true).await;
    let bob = join_stored(&proxy.url(), "bob", &dir.path().join("bob"), true).await;
    let (hers, his) = (likes(&alice).await, likes(&bob).await);
    let mut expected = 0;
    for round in 0..12 {
        proxy.hold_down(round % 3 == 0);
        proxy.hold_up(round % 4 == 1);
        count(&hers, 3).await;
        count(&his, 2).await;
        expected += 5;
        proxy.cut();
        if round % 5 == 4 {
            server = server.restart().await;
            proxy.retarget(server.port());
        }
    }
    proxy.hold_down(false);
    proxy.hold_up(false);
    synced(&alice).await;
    synced(&bob).await;
    let fresh = join(&server.url(), "carol").await;
    let seen = likes(&fresh).await;
    live(&seen).await;
    for likes in [&hers, &his] {
        agree(seen.document(), likes.document()).await;
    }
    assert_eq!(seen.share_counter(), expected);
}
