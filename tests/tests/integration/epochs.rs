//! A document that gets too many writers or too long a history begins a new epoch: online, offline and
//! far behind, everybody ends there with nothing lost and nothing twice, and sees no difference.

use std::path::Path;

use syncline_client::engine::document::{Counter, TextField, View};
use syncline_client::{Client, Likes, Post};
use syncline_engine::codes::Code;
use syncline_engine::session::Resolution;
use syncline_engine::storage::LogStore;
use syncline_server::store::{SledOptions, SledStore};
use tempfile::tempdir;

use crate::support::{
    ServerProcess, agree, confirmed, join, join_stored, shows, synced, user, within,
};

/// A new epoch after a handful of writers, or some dozens of small changes.
const SOON: &[&str] = &["--rollover-actors=3", "--rollover-bytes=6000"];

async fn post(client: &Client) -> Post {
    within(client.post("town", "square")).await.expect("it opens")
}

async fn likes(client: &Client) -> Likes {
    within(client.likes("town", "square")).await.expect("it opens")
}

/// How often a closed store's documents have begun anew, all together.
fn epochs(data: &Path) -> usize {
    let store = SledStore::open(data, &SledOptions::default()).expect("it opens");
    let addresses = store.list(None, 100).expect("a list");
    let heads = addresses.iter().map(|at| store.head(at).expect("a head").expect("a log"));
    heads.map(|head| head.sealed.len()).sum()
}

async fn type_at_the_end(post: &Post, text: &str) -> syncline_client::Pending {
    let end = post.body().chars().count();
    let pending = post.splice(TextField::Body, end, 0, text).expect("taken");
    within(pending.stored()).await.expect("stored");
    pending
}

async fn may_edit(post: &Post) {
    let both = |view: &View| matches!(view, View::Post(view) if view.editors().len() == 2);
    shows(post.document(), both).await;
}

#[tokio::test]
async fn online_offline_and_far_behind_all_end_in_the_present_epoch_ep1_ep2() {
    let dir = tempdir().expect("a directory");
    let data = dir.path().join("server");
    let server = ServerProcess::start(&data, SOON).await;
    let url = server.url();
    let store = |name: &str| dir.path().join(name);
    let alice = join(&url, "alice").await;
    let bob = join_stored(&url, "bob", &store("bob"), true).await;
    let carol = join_stored(&url, "carol", &store("carol"), true).await;
    let (hers, his, carols) = (post(&alice).await, post(&bob).await, post(&carol).await);
    confirmed(hers.create("Square", "", &[]).expect("taken")).await;
    for name in ["bob", "carol"] {
        confirmed(hers.add_editor(&user(name)).expect("taken")).await;
    }
    let counts = likes(&carol).await;
    for client in [&bob, &carol] {
        synced(client).await;
    }
    for post in [&his, &carols] {
        may_edit(post).await;
    }
    // Carol leaves before the first epoch ends, with work in two documents.
    carol.set_online(false);
    let mut pending = Vec::new();
    for round in 0..5 {
        pending.push(type_at_the_end(&carols, &format!("[carol {round}]")).await);
        pending.push(counts.add(Counter::Shares, 1).expect("taken"));
    }
    let mut expected: Vec<String> = (0..5).map(|round| format!("[carol {round}]")).collect();
    for round in 0..60 {
        // Bob is there for every other ten, and works all the time.
        if round % 10 == 0 {
            bob.set_online(round % 20 == 0);
        }
        let (a, b) = (format!("[alice {round}]"), format!("[bob {round}]"));
        confirmed(type_at_the_end(&hers, &a).await).await;
        pending.push(type_at_the_end(&his, &b).await);
        let shares = likes(&alice).await;
        confirmed(shares.add(Counter::Shares, 1).expect("taken")).await;
        expected.extend([a, b]);
    }
    // Her app is started again while it is offline.
    drop((carols, counts));
    carol.close().await;
    let carol = join_stored(&url, "carol", &store("carol"), false).await;
    for client in [&bob, &carol] {
        client.set_online(true);
        synced(client).await;
    }
    let fresh = join(&url, "dora").await;
    let (seen, carols) = (post(&fresh).await, post(&carol).await);
    within(seen.document().live()).await.expect("in sync");
    for post in [&hers, &his, &carols] {
        agree(seen.document(), post.document()).await;
    }
    for text in &expected {
        assert_eq!(seen.body().matches(text.as_str()).count(), 1, "{text} in {}", seen.body());
    }
    let seen = likes(&fresh).await;
    within(seen.document().live()).await.expect("in sync");
    assert_eq!(seen.share_counter(), 65);
    for pending in pending {
        // Those of the process that ended tell nobody.
        if let Ok(end) = within(pending).await {
            assert_eq!(end, Resolution::Confirmed);
        }
    }
    for client in [alice, bob, carol, fresh] {
        client.close().await;
    }
    assert_eq!(server.terminate().await, Some(0));
    let epochs = epochs(&data);
    assert!(epochs >= 4, "{epochs} epochs have ended");
}

#[tokio::test]
async fn a_server_that_is_killed_again_and_again_while_epochs_end_loses_nothing_ep3() {
    let dir = tempdir().expect("a directory");
    let data = dir.path().join("server");
    let soon: &[&str] = &["--rollover-bytes=1500"];
    let mut server = ServerProcess::start(&data, soon).await;
    let alice = join_stored(&server.url(), "alice", &dir.path().join("alice"), true).await;
    let bob = join(&server.url(), "bob").await;
    let (hers, his) = (likes(&alice).await, likes(&bob).await);
    let mut shares = 0;
    for round in 0..12 {
        let mut pending = Vec::new();
        for _ in 0..15 {
            pending.push(hers.add(Counter::Shares, 1).expect("taken"));
            pending.push(his.add(Counter::Shares, 1).expect("taken"));
            shares += 2;
        }
        if round % 2 == 0 {
            // Whatever it is doing by then.
            within(pending.swap_remove(round)).await.expect("it ends");
            server = server.restart().await;
        }
        for pending in pending {
            confirmed(pending).await;
        }
    }
    for client in [&alice, &bob] {
        synced(client).await;
    }
    let fresh = join(&server.url(), "carol").await;
    let seen = likes(&fresh).await;
    within(seen.document().live()).await.expect("in sync");
    for likes in [&hers, &his] {
        agree(seen.document(), likes.document()).await;
    }
    assert_eq!(seen.share_counter(), shares);
    for client in [alice, bob, fresh] {
        client.close().await;
    }
    assert_eq!(server.terminate().await, Some(0));
    assert!(epochs(&data) >= 3);
}

#[tokio::test]
async fn who_was_away_for_longer_than_an_epochs_end_is_kept_gets_the_work_back_ep5() {
    let dir = tempdir().expect("a directory");
    let data = dir.path().join("server");
    let settings: &[&str] = &["--rollover-bytes=1500", "--offline-window-ms=0"];
    let server = ServerProcess::start(&data, settings).await;
    let store = dir.path().join("alice");
    let alice = join_stored(&server.url(), "alice", &store, true).await;
    let hers = likes(&alice).await;
    confirmed(hers.add(Counter::Views, 1).expect("taken")).await;
    synced(&alice).await;
    alice.set_online(false);
    let late = hers.add(Counter::Views, 1).expect("taken");
    let bob = join(&server.url(), "bob").await;
    let his = likes(&bob).await;
    for _ in 0..150 {
        confirmed(his.add(Counter::Shares, 1).expect("taken")).await;
    }
    alice.set_online(true);
    let end = within(late).await.expect("it ends");
    assert!(matches!(end, Resolution::Refused { code: Code::TooOld, .. }), "{end:?}");
    within(hers.document().live()).await.expect("in sync");
    agree(hers.document(), his.document()).await;
    assert_eq!((hers.share_counter(), his.view_counter()), (150, 1));
    let kept = alice.refused(None);
    assert_eq!(kept.len(), 1, "it is kept for its user");
    // From here on all is as it was.
    confirmed(hers.add(Counter::Views, 1).expect("taken")).await;
    drop(server);
}
