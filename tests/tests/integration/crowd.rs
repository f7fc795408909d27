//! The number of actors in a document follows how many write at the same time, not how many ever
//! wrote.

use std::sync::Arc;

use syncline_client::engine::document::Target;
use syncline_engine::document::View;
use syncline_engine::ids::Address;
use tempfile::tempdir;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::support::{RawClient, ServerProcess, confirmed, fresh_id, join, within};

const USERS: usize = 1_000;
const AT_A_TIME: usize = 50;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_users_fifty_at_a_time_need_about_fifty_actors_le2_le4() {
    let dir = tempdir().expect("a directory");
    let settings = ["--compact-entries", "100", "--compact-keep", "0"];
    let server = ServerProcess::start(&dir.path().join("server"), &settings).await;
    let (url, seats) = (server.url(), Arc::new(Semaphore::new(AT_A_TIME)));
    let mut users = JoinSet::new();
    for n in 0..USERS {
        let (url, seats) = (url.clone(), Arc::clone(&seats));
        users.spawn(async move {
            let seat = seats.acquire_owned().await.expect("nobody closes it");
            let client = join(&url, &format!("user{n}")).await;
            let likes = within(client.likes("town", "square")).await.expect("it opens");
            confirmed(likes.like(Target::Post, "like").expect("taken")).await;
            drop(likes);
            client.close().await;
            drop(seat);
        });
    }
    while let Some(done) = users.join_next().await {
        done.expect("everybody gets through");
    }
    let address: Address = "town/square/likes".parse().expect("an address");
    let mut reader = RawClient::hello(&url, "reader", fresh_id(), 1).await;
    let opened = reader.subscribe(&address, fresh_id(), false).await;
    let document = reader.read(&address, &opened).await;
    let View::Likes(view) = View::read(address.facet(), &document.automerge) else {
        panic!("they are likes")
    };
    assert_eq!(view.count(Target::Post, "like"), USERS);
    // The server's own merges have an actor too, and a goodbye may arrive after the next hello.
    let actors = document.actors();
    assert!(actors <= AT_A_TIME + AT_A_TIME / 5, "{actors} actors");
    assert_eq!(server.terminate().await, Some(0));
}
