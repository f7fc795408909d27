//! Large documents and many documents: what is served costs the server no decoding, and what was
//! served once is let go of.

use std::collections::BTreeSet;
use std::path::Path;

use bytes::Bytes;
use syncline_client::engine::document::Target;
use syncline_engine::clock::Timestamp;
use syncline_engine::codes::Code;
use syncline_engine::document::{Command, JsonCommand, View};
use syncline_engine::hub::compact;
use syncline_engine::ids::{ActorId, Address, ChangeHash, Cursor, Epoch, Facet, Tip};
use syncline_engine::storage::record::advance;
use syncline_engine::storage::{Append, Entry, LogStore, Record, Snapshot};
use syncline_engine::wire::ServerFrame;
use syncline_engine::wire::frame::{RequestLease, Resume, Unsubscribe, WireLease};
use syncline_server::store::{SledOptions, SledStore};
use syncline_tests::raw::RawDocument;
use tempfile::tempdir;

use crate::support::{
    RawClient, ServerProcess, comment, confirmed, fresh_id, join, like, user, within,
};

const LIKES: usize = 10_000;
const COMMENTS: usize = 2_000;
const EPOCH: Epoch = Epoch([7; 16]);
/// Changes in one record, as one busy group commit would have them.
const RECORD_ENTRIES: usize = 500;

/// The log that somebody's commands make.
fn records(store: &SledStore, address: &Address, commands: &[Command]) -> Vec<Record> {
    let actor = ActorId::leased(1, 1).0;
    let lease = WireLease { actor, next_seq: 1, after: 0 };
    let changes = RawDocument::new(address).write(&lease, commands);
    let (mut tip, mut first_seq) = (Tip::EMPTY, 1);
    let mut records = Vec::new();
    for changes in changes.chunks(RECORD_ENTRIES) {
        let entries: Vec<Entry> = changes
            .iter()
            .map(|change| Entry {
                author: user("ada"),
                at: Timestamp(1_700_000_000_000),
                command: None,
                hash: ChangeHash(change.hash().0),
                change: Bytes::copy_from_slice(change.raw_bytes()),
            })
            .collect();
        let tip_before = tip;
        for entry in &entries {
            tip = advance(store.digest_key(), tip, entry);
        }
        let count = entries.len() as u64;
        records.push(Record { first_seq, tip_before, tip, entries });
        first_seq += count;
    }
    records
}

fn append(store: &SledStore, address: &Address, records: &[Record]) -> Cursor {
    let appends: Vec<Append> = records
        .iter()
        .map(|record| Append {
            address: address.clone(),
            epoch: EPOCH,
            record: record.clone(),
            brought: None,
        })
        .collect();
    store.append(&appends).expect("it is stored");
    let last = records.last().expect("there is something to store");
    Cursor { epoch: EPOCH, seq: last.last_seq(), tip: last.tip }
}

/// Stores a document as the server's own compaction leaves it, its body passed through `edit`.
fn store_compacted(
    store: &SledStore,
    address: &Address,
    commands: &[Command],
    edit: impl FnOnce(Bytes) -> Bytes,
) -> Bytes {
    let records = records(store, address, commands);
    let end = append(store, address, &records);
    let made = compact(address, end, None, &records).expect("it compacts");
    let body = edit(made.body);
    let snapshot = Snapshot { body: body.clone(), ..made };
    store.put_snapshot(address, &snapshot, end.seq + 1).expect("it is stored");
    body
}

fn open(dir: &Path) -> SledStore {
    SledStore::open(dir, &SledOptions::default()).expect("it opens")
}

fn many_likes() -> Vec<Command> {
    (0..LIKES).map(|n| like(&format!("user{n}"))).collect()
}

#[tokio::test]
async fn ten_thousand_likes_and_two_thousand_comments_are_served_without_being_decoded_sub3_sub5() {
    let dir = tempdir().expect("a directory");
    let data = dir.path().join("server");
    let likes: Address = "town/square/likes".parse().expect("an address");
    let comments = likes.with_facet(Facet::Comments);
    let opaque: Address = "town/opaque/likes".parse().expect("an address");
    let store = open(&data);
    store_compacted(&store, &likes, &many_likes(), |body| body);
    let talk: Vec<Command> = (0..COMMENTS)
        .map(|n| comment(&format!("user{n}"), &format!("What I think of it, number {n}.")))
        .collect();
    store_compacted(&store, &comments, &talk, |body| body);
    // The same size and outline with a body in which automerge would find nothing: who decodes it
    // anywhere on its way fails.
    let noise = store_compacted(&store, &opaque, &many_likes(), |body| {
        body.iter().map(|byte| byte.wrapping_mul(31) ^ 0xa5).collect::<Vec<u8>>().into()
    });
    assert!(automerge::Automerge::load(&noise).is_err());
    drop(store);

    let server = ServerProcess::start(&data, &[]).await;
    let mut reader = RawClient::hello(&server.url(), "reader", fresh_id(), 1).await;
    for (address, live) in [(&likes, LIKES), (&comments, COMMENTS)] {
        let opened = reader.subscribe(address, fresh_id(), false).await;
        let document = reader.read(address, &opened).await;
        assert!(
            document.snapshot_bytes > 0 && document.hashes.is_empty(),
            "a snapshot and no tail"
        );
        let shown = match View::read(address.facet(), &document.automerge) {
            View::Likes(view) => view.count(Target::Post, "like"),
            View::Comments(view) => view.live(),
            View::Post(_) | View::Json(_) => 0,
        };
        assert_eq!((shown, opened.end_seq), (live, live as u64));
    }

    let opened = reader.subscribe(&opaque, fresh_id(), false).await;
    let Resume::Snapshot { bytes, .. } = opened.resume else { panic!("{opened:?}") };
    let mut served = Vec::new();
    while (served.len() as u64) < bytes {
        if let ServerFrame::SnapshotPart(part) = reader.hear().await {
            served.extend_from_slice(&part.bytes.0);
        }
    }
    assert!(served == noise, "the stored body, byte for byte");
    // Whoever wants to write there has the server look into it.
    reader.say(RequestLease { handle: opened.handle }).await;
    let error = reader
        .hear_until(|frame| match frame {
            ServerFrame::Error(error) => Some(error),
            _ => None,
        })
        .await;
    assert_eq!(error.code, Code::DocumentUnavailable.number(), "{error:?}");

    let ada = join(&server.url(), "ada").await;
    let hers = within(ada.likes("town", "square")).await.expect("it opens");
    within(hers.document().live()).await.expect("in sync");
    confirmed(hers.like(Target::Post, "like").expect("taken")).await;
    assert_eq!(hers.count(Target::Post, "like"), LIKES + 1);
    assert_eq!(server.terminate().await, Some(0));
}

/// How many documents are served once, and how much each has to say.
const DOCUMENTS: usize = 2_000;
const DOCUMENT_COMMANDS: usize = 12;
const TEXT_BYTES: usize = 2_000;

#[tokio::test]
async fn a_server_lets_go_of_documents_that_it_served_once() {
    let dir = tempdir().expect("a directory");
    let data = dir.path().join("server");
    let address = |n: usize| -> Address { format!("town/d{n}/json").parse().expect("an address") };
    let store = open(&data);
    let commands: Vec<Command> = (0..DOCUMENT_COMMANDS)
        .map(|n| {
            let path = vec![format!("key{n}").as_str().into()];
            let value = serde_json::Value::String("x".repeat(TEXT_BYTES));
            Command::Json(JsonCommand::Put { path, value })
        })
        .collect();
    for batch in (0..DOCUMENTS).collect::<Vec<_>>().chunks(100) {
        let appends: Vec<Append> = batch
            .iter()
            .flat_map(|n| {
                let address = address(*n);
                records(&store, &address, &commands).into_iter().map(move |record| Append {
                    address: address.clone(),
                    epoch: EPOCH,
                    record,
                    brought: None,
                })
            })
            .collect();
        store.append(&appends).expect("it is stored");
    }
    drop(store);

    let server = ServerProcess::start(&data, &["--evict-idle-ms", "50"]).await;
    let mut reader = RawClient::hello(&server.url(), "reader", fresh_id(), 1).await;
    let (mut handles, mut sizes) = (BTreeSet::new(), Vec::new());
    for pass in 1..=2 {
        for n in 0..DOCUMENTS {
            let opened = reader.subscribe(&address(n), fresh_id(), false).await;
            reader.read(&address(n), &opened).await;
            reader.say(Unsubscribe { handle: opened.handle }).await;
            handles.insert(opened.handle);
        }
        // A handle is a document's name while it is in memory and is not given out again: one for
        // each time that a document was served means that it was let go of in between.
        assert_eq!(handles.len(), pass * DOCUMENTS);
        sizes.extend(server.resident_bytes());
    }
    // What the first pass leaves is the store's pages: sled frees none before it has counted 64
    // accesses in each of its 256 shards, whatever the size of its cache.
    if let [first, second] = sizes[..] {
        let served = (DOCUMENTS * DOCUMENT_COMMANDS * TEXT_BYTES) as u64;
        assert!(second < first + served / 2, "from {first} to {second} bytes");
    }
    assert_eq!(server.terminate().await, Some(0));
}
