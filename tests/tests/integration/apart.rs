//! What was made apart comes together whole, because both sides began from the same genesis (SUB8).

use syncline_client::engine::document::{Counter, Target};
use tempfile::tempdir;

use crate::support::{ServerProcess, agree, confirmed, join, join_stored, synced, within};

#[tokio::test]
async fn two_clients_that_create_the_same_documents_apart_lose_nothing_sub8() {
    let dir = tempdir().expect("a directory");
    let server = ServerProcess::start(&dir.path().join("server"), &[]).await;
    let url = server.url();
    let alice = join_stored(&url, "alice", &dir.path().join("alice"), false).await;
    let bob = join_stored(&url, "bob", &dir.path().join("bob"), false).await;
    let id = alice.new_id();
    let (her_likes, his_likes) = (
        within(alice.likes("town", id)).await.expect("it opens"),
        within(bob.likes("town", id)).await.expect("it opens"),
    );
    let (her_comments, his_comments) = (
        within(alice.comments("town", id)).await.expect("it opens"),
        within(bob.comments("town", id)).await.expect("it opens"),
    );
    let mut pending = Vec::new();
    for (likes, comments) in [(&her_likes, &her_comments), (&his_likes, &his_comments)] {
        pending.push(likes.like(Target::Post, "like").expect("taken"));
        pending.push(likes.like(Target::Post, "heart").expect("taken"));
        pending.push(likes.add(Counter::Shares, 3).expect("taken"));
        for n in 0..10 {
            let (top, first) = comments.add(None, &format!("comment {n}")).expect("taken");
            pending.extend([first, comments.add(Some(top), "a reply").expect("taken").1]);
        }
    }
    alice.set_online(true);
    bob.set_online(true);
    for pending in pending {
        confirmed(pending).await;
    }
    synced(&alice).await;
    synced(&bob).await;
    let fresh = join(&url, "carol").await;
    let likes = within(fresh.likes("town", id)).await.expect("it opens");
    let comments = within(fresh.comments("town", id)).await.expect("it opens");
    within(likes.document().live()).await.expect("in sync");
    within(comments.document().live()).await.expect("in sync");
    for (count, reaction) in [(2, "like"), (2, "heart")] {
        assert_eq!(likes.count(Target::Post, reaction), count);
    }
    assert_eq!((likes.share_counter(), comments.thread().len()), (6, 40));
    for other in [&her_likes, &his_likes] {
        agree(likes.document(), other.document()).await;
    }
    for other in [&her_comments, &his_comments] {
        agree(comments.document(), other.document()).await;
    }
}

#[tokio::test]
async fn a_like_from_two_devices_of_one_user_counts_once() {
    let dir = tempdir().expect("a directory");
    let server = ServerProcess::start(&dir.path().join("server"), &[]).await;
    let url = server.url();
    let phone = join_stored(&url, "alice", &dir.path().join("phone"), false).await;
    let laptop = join_stored(&url, "alice", &dir.path().join("laptop"), false).await;
    let on_phone = within(phone.likes("town", "square")).await.expect("it opens");
    let on_laptop = within(laptop.likes("town", "square")).await.expect("it opens");
    on_phone.like(Target::Post, "like").expect("taken");
    on_laptop.like(Target::Post, "like").expect("taken");
    for device in [&phone, &laptop] {
        device.set_online(true);
        synced(device).await;
    }
    agree(on_phone.document(), on_laptop.document()).await;
    assert_eq!(on_phone.count(Target::Post, "like"), 1);
    assert!(on_laptop.contains(Target::Post, "like", laptop.user()));
    // Whichever like of the two is shown, taking it back takes back both.
    confirmed(on_phone.unlike(Target::Post, "like").expect("taken")).await;
    synced(&laptop).await;
    agree(on_phone.document(), on_laptop.document()).await;
    assert_eq!(on_laptop.count(Target::Post, "like"), 0);
}

#[tokio::test]
async fn a_like_against_a_concurrent_unlike_ends_as_liked_everywhere() {
    let dir = tempdir().expect("a directory");
    let server = ServerProcess::start(&dir.path().join("server"), &[]).await;
    let url = server.url();
    // Whichever of the two comes back first.
    for (round, like_first) in [("one", true), ("two", false)] {
        let phone = join_stored(&url, "alice", &dir.path().join(round), true).await;
        let laptop = join(&url, "alice").await;
        let on_phone = within(phone.likes("town", round)).await.expect("it opens");
        let on_laptop = within(laptop.likes("town", round)).await.expect("it opens");
        confirmed(on_phone.like(Target::Post, "like").expect("taken")).await;
        synced(&laptop).await;
        agree(on_phone.document(), on_laptop.document()).await;
        phone.set_online(false);
        laptop.set_online(false);
        // The phone takes the like back and sets a new one; the laptop only takes the old one back.
        on_phone.unlike(Target::Post, "like").expect("taken");
        on_phone.like(Target::Post, "like").expect("taken");
        on_laptop.unlike(Target::Post, "like").expect("taken");
        let (first, second) = if like_first { (&phone, &laptop) } else { (&laptop, &phone) };
        first.set_online(true);
        synced(first).await;
        second.set_online(true);
        synced(second).await;
        agree(on_phone.document(), on_laptop.document()).await;
        let fresh = join(&url, "carol").await;
        let seen = within(fresh.likes("town", round)).await.expect("it opens");
        within(seen.document().live()).await.expect("in sync");
        agree(seen.document(), on_phone.document()).await;
        assert!(seen.contains(Target::Post, "like", phone.user()), "{round}");
    }
}
