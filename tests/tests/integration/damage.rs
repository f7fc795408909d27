//! A stored record of one document is damaged: that document is unavailable, all others are served,
//! and nothing of what is stored is overwritten.

use std::collections::BTreeMap;
use std::path::Path;

use syncline_client::engine::document::Counter;
use syncline_client::engine::session::ConnectionStatus;
use syncline_engine::codes::Code;
use syncline_engine::wire::ServerFrame;
use syncline_engine::wire::frame::{Ping, Subscribe};
use syncline_server::store::{SledOptions, SledStore};
use tempfile::tempdir;

use crate::support::{
    RawClient, ServerProcess, confirmed, fresh_id, join, join_stored, synced, within,
};

/// Looks into the closed store with sled itself.
fn raw<T>(data: &Path, look: impl FnOnce(&sled::Db) -> T) -> T {
    // Not merged yet: all of it is in the first layer.
    let store = SledStore::open(data, &SledOptions::default()).expect("it opens");
    let path = store.path().join("log");
    drop(store);
    let db = sled::Config::new().path(path).open().expect("it is let go of");
    let seen = look(&db);
    db.flush().expect("flushed");
    seen
}

/// Everything that is stored of one document, what was set aside of it not counted.
fn stored_of(data: &Path, id: &str) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let name = [b"\0", id.as_bytes(), b"\0"].concat();
    raw(data, |db| {
        db.iter()
            .map(|pair| pair.expect("it reads"))
            .map(|(key, value)| (key.to_vec(), value.to_vec()))
            .filter(|(key, _)| key[0] != b'q' && key.windows(name.len()).any(|w| w == name))
            .collect()
    })
}

#[tokio::test]
async fn a_damaged_record_makes_its_document_unavailable_and_no_other_sub1() {
    let dir = tempdir().expect("a directory");
    let data = dir.path().join("server");
    let server = ServerProcess::start(&data, &[]).await;
    let alice = join_stored(&server.url(), "alice", &dir.path().join("alice"), true).await;
    for id in ["good", "bad"] {
        let likes = within(alice.likes("town", id)).await.expect("it opens");
        for _ in 0..5 {
            confirmed(likes.add(Counter::Shares, 1).expect("taken")).await;
        }
        synced(&alice).await;
    }
    alice.set_online(false);
    let hers = within(alice.likes("town", "bad")).await.expect("it opens");
    let pending = hers.add(Counter::Shares, 1).expect("taken");
    within(pending.stored()).await.expect("stored");
    let port = server.port();
    assert_eq!(server.terminate().await, Some(0));

    let (key, mut value) = stored_of(&data, "bad")
        .into_iter()
        .filter(|(key, _)| key[0] == b'r')
        .nth(2)
        .expect("it has records");
    let at = value.len() - 5;
    value[at] ^= 0x40;
    raw(&data, |db| db.insert(key, value).expect("it is written"));
    let before = stored_of(&data, "bad");

    let server = ServerProcess::try_start(&data, port, &[]).await.expect("it starts all the same");
    let mut reader = RawClient::hello(&server.url(), "reader", fresh_id(), 1).await;
    let address = "town/bad/likes".to_owned();
    for write in [false, true] {
        let outbox = fresh_id();
        reader.say(Subscribe { address: address.clone(), cursor: None, outbox, write }).await;
        let answer = reader.hear().await;
        let ServerFrame::Error(error) = answer else { panic!("{answer:?}") };
        assert_eq!(error.code, Code::DocumentUnavailable.number());
        assert_eq!((error.address.as_ref(), error.fatal), (Some(&address), false));
        reader.say(Ping { nonce: 1 }).await;
        assert!(matches!(reader.hear().await, ServerFrame::Pong(_)), "the connection goes on");
    }
    // A client with work for it hears why it does not get through, and keeps it.
    alice.set_online(true);
    let problem = within(alice.synced()).await.expect_err("the document is unavailable");
    assert_eq!(problem.code(), Code::DocumentUnavailable);
    assert_eq!((hers.share_counter(), hers.document().status().pending), (6, 1));
    assert_eq!(*alice.connection().borrow(), ConnectionStatus::Connected);

    let bob = join(&server.url(), "bob").await;
    let good = within(bob.likes("town", "good")).await.expect("it opens");
    within(good.document().live()).await.expect("in sync");
    confirmed(good.add(Counter::Shares, 1).expect("taken")).await;
    assert_eq!(good.share_counter(), 6);
    let log = server.log();
    assert!(log.contains("town/bad/likes") && log.contains("damaged"), "{log}");
    assert_eq!(server.terminate().await, Some(0));
    assert_eq!(stored_of(&data, "bad"), before, "what is stored is left as it was");
}
