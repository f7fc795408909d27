//! What a client that keeps to the protocol may rely on, frame by frame.

use syncline_engine::codes::Code;
use syncline_engine::document::{Command, JsonCommand};
use syncline_engine::ids::Address;
use syncline_engine::wire::frame::{Ping, Release, RequestLease, Resume, Unsubscribe};
use syncline_engine::wire::{CloseCode, ServerFrame};
use syncline_tests::raw::{RawDocument, changes_of, hello};
use tempfile::tempdir;

use crate::support::{RawClient, ServerProcess, fresh_id, like, like_a_comment};

fn address(name: &str) -> Address {
    name.parse().expect("an address")
}

#[tokio::test]
async fn terms_rise_with_every_start_and_leases_are_of_the_present_one_hs4_le2() {
    let dir = tempdir().expect("a directory");
    let place = address("town/square/likes");
    let mut server = ServerProcess::start(&dir.path().join("server"), &[]).await;
    let (mut last_term, mut actors) = (0, Vec::new());
    for _ in 0..3 {
        let mut client = RawClient::connect(&server.url()).await;
        client.say(hello("ada", fresh_id(), 1)).await;
        let welcome = client.hear().await;
        let ServerFrame::Welcome(welcome) = welcome else { panic!("{welcome:?}") };
        assert!(welcome.term > last_term);
        last_term = welcome.term;
        let opened = client.subscribe(&place, fresh_id(), true).await;
        let lease = opened.lease.expect("a lease was asked for");
        assert!(!actors.contains(&lease.actor));
        actors.push(lease.actor);
        server.kill().await;
        server = server.restart().await;
    }
}

#[tokio::test]
async fn the_author_is_who_said_hello_and_everyone_gets_the_same_bytes_hs3_ak2() {
    let dir = tempdir().expect("a directory");
    let place = address("town/square/likes");
    let server = ServerProcess::start(&dir.path().join("server"), &[]).await;
    let mut ada = RawClient::hello(&server.url(), "ada", fresh_id(), 1).await;
    let mut bob = RawClient::hello(&server.url(), "bob", fresh_id(), 1).await;
    bob.subscribe(&place, fresh_id(), false).await;
    let opened = ada.subscribe(&place, fresh_id(), true).await;
    let lease = opened.lease.expect("a lease was asked for");
    let changes = RawDocument::new(&place).write(&lease, &[like("ada")]);
    ada.push(opened.handle, 1, &changes).await;
    let mut seen = Vec::new();
    for client in [&mut ada, &mut bob] {
        let frame = client.hear_until(|frame| changes_of(&frame, opened.handle)).await;
        assert_eq!(frame.authors, ["ada"]);
        assert_eq!(frame.entries[0].change.0, changes[0].raw_bytes());
        seen.push(frame);
    }
    assert_eq!(seen[0], seen[1]);
}

#[tokio::test]
async fn a_lease_names_where_to_read_up_to_and_ends_with_unsubscribe_le1_le3_le4_le6_sub2_sub7() {
    let dir = tempdir().expect("a directory");
    let place = address("town/square/likes");
    let server = ServerProcess::start(&dir.path().join("server"), &[]).await;
    let mut ada = RawClient::hello(&server.url(), "ada", fresh_id(), 1).await;
    let opened = ada.subscribe(&place, fresh_id(), true).await;
    let lease = opened.lease.expect("a lease was asked for");
    assert_eq!((lease.next_seq, lease.after), (1, 0));
    let mut document = RawDocument::new(&place);
    let changes = document.write(&lease, &[like_a_comment("ada"), like_a_comment("ada")]);
    ada.push(opened.handle, 1, &changes).await;
    ada.acked(opened.handle, 2).await;

    // Another session at the same time has another actor, and has to read what is there.
    let mut bob = RawClient::hello(&server.url(), "bob", fresh_id(), 1).await;
    let his = bob.subscribe(&place, fresh_id(), false).await;
    assert_eq!((his.lease, his.end_seq), (None, 2));
    let read = bob.read(&place, &his).await;
    bob.say(RequestLease { handle: his.handle }).await;
    let leased = bob
        .hear_until(|frame| match frame {
            ServerFrame::Leased(leased) => Some(leased.lease),
            _ => None,
        })
        .await;
    assert_ne!(leased.actor, lease.actor);
    assert_eq!((leased.next_seq, leased.after), (1, 2));

    // A second subscription stands for the first: one handle, and from the cursor nothing is new.
    let again = bob.subscribe_at(&place, read.cursor, fresh_id(), true).await;
    assert_eq!((again.handle, again.resume), (his.handle, Resume::Cursor));
    assert!(again.lease_kept);
    let mut forged = read.cursor.expect("something was read");
    forged.tip[0] ^= 1;
    let from_forged = bob.subscribe_at(&place, Some(forged), fresh_id(), true).await;
    assert_eq!(from_forged.resume, Resume::Beginning);

    // An actor that was given back goes to the next who asks, from its next seq on; one that was
    // only left does not.
    ada.say(Release { handle: opened.handle }).await;
    bob.say(Unsubscribe { handle: his.handle }).await;
    ada.say(Unsubscribe { handle: opened.handle }).await;
    ada.push(opened.handle, 3, &changes).await;
    let code = ada
        .hear_until(|frame| match frame {
            ServerFrame::Error(error) => Some(error.code),
            _ => None,
        })
        .await;
    assert_eq!(code, Code::UnknownHandle.number());
    let mut eve = RawClient::hello(&server.url(), "eve", fresh_id(), 1).await;
    let hers = eve.subscribe(&place, fresh_id(), true).await.lease.expect("a lease");
    assert_eq!((hers.actor, hers.next_seq, hers.after), (lease.actor, 3, 2));
    let mut fay = RawClient::hello(&server.url(), "fay", fresh_id(), 1).await;
    let hers = fay.subscribe(&place, fresh_id(), true).await.lease.expect("a lease");
    assert!(hers.actor != leased.actor && hers.actor != lease.actor);
}

#[tokio::test]
async fn who_is_silent_for_two_heartbeats_is_given_up_and_who_pings_is_not_hb1() {
    let dir = tempdir().expect("a directory");
    let settings = ["--heartbeat-ms", "500"];
    let server = ServerProcess::start(&dir.path().join("server"), &settings).await;
    let mut silent = RawClient::hello(&server.url(), "silent", fresh_id(), 1).await;
    let mut lively = RawClient::hello(&server.url(), "lively", fresh_id(), 1).await;
    let closed = tokio::spawn(async move {
        loop {
            if let Err(close) = silent.hear_or_close().await {
                return close;
            }
        }
    });
    let mut nonce = 0;
    while !closed.is_finished() {
        nonce += 1;
        lively.say(Ping { nonce }).await;
        let pong = lively.hear().await;
        assert!(matches!(pong, ServerFrame::Pong(pong) if pong.nonce == nonce), "{pong:?}");
    }
    let close = closed.await.expect("it heard");
    assert_eq!(close, Some(CloseCode::of(Code::HeartbeatTimeout).0));
}

/// More than the kernel buffers between two sockets of one machine, in changes of this size.
const LONG_CHANGES: u64 = 600;
const LONG_CHANGE_BYTES: usize = 20_000;

#[tokio::test]
async fn a_slow_reader_costs_nothing_and_catches_up_in_larger_frames_sub4_sub6() {
    let dir = tempdir().expect("a directory");
    let place = address("town/square/json");
    let server = ServerProcess::start(&dir.path().join("server"), &[]).await;
    let mut slow = RawClient::hello(&server.url(), "slow", fresh_id(), 1).await;
    let following = slow.subscribe(&place, fresh_id(), false).await;
    let mut ada = RawClient::hello(&server.url(), "ada", fresh_id(), 1).await;
    let opened = ada.subscribe(&place, fresh_id(), true).await;
    let lease = opened.lease.expect("a lease was asked for");
    let mut document = RawDocument::new(&place);
    for n in 1..=LONG_CHANGES {
        let path = vec!["text".into()];
        let value = serde_json::Value::String(format!("{n} {}", "x".repeat(LONG_CHANGE_BYTES)));
        let changes = document.write(&lease, &[Command::Json(JsonCommand::Put { path, value })]);
        // Each is a commit of its own, and a frame to those who keep up.
        ada.push(opened.handle, n, &changes).await;
        ada.acked(opened.handle, n).await;
    }
    let (mut read, mut frames) = (RawDocument::new(&place), 0);
    while read.seq() < LONG_CHANGES {
        if let Some(changes) = changes_of(&slow.hear().await, following.handle) {
            read.apply(following.epoch, &changes);
            frames += 1;
        }
    }
    assert!(frames < LONG_CHANGES, "{frames} frames for {LONG_CHANGES} changes");
    assert_eq!(read.automerge.get_heads(), document.automerge.get_heads());
}
