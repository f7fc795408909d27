//! Telling from logs that are compacted, replaced and begun anew, without a network.

use std::path::Path;
use std::sync::Arc;

use automerge::{Automerge, TextEncoding};
use serde_json::Value;
use syncline_engine::clock::Timestamp;
use syncline_engine::document::{Command, Counter, LikesCommand, genesis};
use syncline_engine::hub;
use syncline_engine::ids::{ActorId, Address, ChangeHash, Cursor, Epoch, OutboxId, Tip, UserId};
use syncline_engine::storage::record::{DigestKey, advance};
use syncline_engine::storage::{Append, CommandRef, Entry, LogStore, Record};

use super::teller::{Batch, Teller};
use super::{Prepared, Webhook};
use crate::store::MemoryStore;

/// Writes a log of changes of a counter, one in each record.
struct Author {
    address: Address,
    document: Automerge,
    end: Cursor,
}

impl Author {
    fn new(epoch: u8) -> Self {
        let address: Address = "town/square/likes".parse().unwrap();
        let actor = ActorId::leased(1, u32::from(epoch)).0.as_slice().into();
        let document =
            genesis::document(&address, TextEncoding::UnicodeCodePoint).with_actor(actor);
        let end = Cursor { epoch: Epoch([epoch; 16]), seq: 0, tip: Tip::EMPTY };
        Self { address, document, end }
    }

    fn append(&mut self, store: &dyn LogStore, count: usize) {
        for _ in 0..count {
            let command = Command::Likes(LikesCommand::Count { counter: Counter::Views, by: 1 });
            let mut transaction = self.document.transaction();
            command.apply(&mut transaction).unwrap();
            transaction.commit();
            let change = self.document.get_last_local_change().unwrap();
            let (tip_before, first_seq) = (self.end.tip, self.end.seq + 1);
            let entry = Entry {
                author: UserId::new("ada").unwrap(),
                at: Timestamp(first_seq),
                command: Some(CommandRef { outbox: OutboxId([5; 16]), number: first_seq }),
                hash: ChangeHash(change.hash().0),
                change: change.raw_bytes().to_vec().into(),
            };
            let tip = advance(&DigestKey([1; 32]), tip_before, &entry);
            let record = Record { first_seq, tip_before, tip, entries: vec![entry] };
            self.end = Cursor { seq: first_seq, tip, ..self.end };
            let (address, epoch) = (self.address.clone(), self.end.epoch);
            store.append(&[Append { address, epoch, record, brought: None }]).unwrap();
        }
    }

    fn compact(&self, store: &dyn LogStore, keep_from: u64) {
        let old = hub::snapshot(store, &self.address).unwrap();
        let records = store.read(&self.address, 1, usize::MAX).unwrap();
        let snapshot = hub::compact(&self.address, self.end, old.as_ref(), &records).unwrap();
        store.put_snapshot(&self.address, &snapshot, keep_from).unwrap();
    }

    fn roll_over(&self, store: &dyn LogStore, epoch: u8) {
        let (fresh, at) = (Epoch([epoch; 16]), Timestamp(1_000));
        hub::roll_over(store, &self.address, self.end, fresh, at, Timestamp(0)).unwrap();
    }
}

fn prepare(data: &Path, store: &MemoryStore, settings: &str) -> Prepared {
    let file = data.join("webhooks.toml");
    let text = format!(
        "[[webhook]]\nname = \"a\"\nurl = \"http://127.0.0.1:9/\"\n\
         secrets = [\"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\"]\n{settings}\n"
    );
    std::fs::write(&file, text).unwrap();
    Prepared::open(Webhook::read(&file).unwrap(), data, Arc::new(store.clone())).unwrap()
}

fn events(batch: &Batch) -> Vec<Value> {
    let body: Value = serde_json::from_slice(&batch.body).unwrap();
    body["events"].as_array().unwrap().clone()
}

/// Takes everything that there is. For a gap, its kind and bounds; else the seq.
async fn take(teller: &Teller, address: &Address) -> Vec<String> {
    let mut told = Vec::new();
    while let Some(batch) = teller.next(0, address, usize::MAX).await.unwrap() {
        for event in events(&batch) {
            let change = &event["changes"][0];
            told.push(match change["type"].as_str() {
                Some("gap") => {
                    format!("{} {}-{}", change["reason"], change["from_seq"], change["to_seq"])
                }
                _ => event["seq"].to_string(),
            });
        }
        teller.had(0, address, batch.to).await.unwrap();
    }
    told
}

fn seqs(from: u64, to: u64) -> Vec<String> {
    (from..=to).map(|seq| seq.to_string()).collect()
}

#[tokio::test]
async fn what_a_log_drops_comes_from_the_spool_and_the_rest_from_the_log() {
    let (dir, memory, mut author) =
        (tempfile::tempdir().unwrap(), MemoryStore::new(), Author::new(1));
    let prepared = prepare(dir.path(), &memory, "batch_events = 3");
    let store = prepared.store();
    author.append(&*store, 10);
    author.compact(&*store, 8);
    author.append(&*store, 3);
    author.roll_over(&*store, 2);
    let spool = Arc::clone(&prepared.0.source.spool);
    assert!(spool.bytes(0) > 0);
    let (teller, ended) = Teller::start(Arc::clone(&prepared.0)).unwrap();
    assert_eq!(take(&teller, &author.address).await, seqs(1, 13));
    assert_eq!(spool.bytes(0), 0, "what was had is not kept");
    assert_eq!(std::fs::read_dir(dir.path().join("webhooks/spool")).unwrap().count(), 0);
    drop(teller);
    ended.await.unwrap();
}

#[tokio::test]
async fn a_spool_outlives_the_process_and_a_full_one_leaves_one_gap() {
    let (dir, memory, mut author) =
        (tempfile::tempdir().unwrap(), MemoryStore::new(), Author::new(1));
    let prepared = prepare(dir.path(), &memory, "spool_bytes = 4096");
    let store = prepared.store();
    author.append(&*store, 5);
    author.compact(&*store, 6);
    author.append(&*store, 5);
    author.compact(&*store, 11);
    author.append(&*store, 2);
    drop((prepared, store));
    let prepared = prepare(dir.path(), &memory, "spool_bytes = 4096");
    let (teller, _ended) = Teller::start(Arc::clone(&prepared.0)).unwrap();
    let mut expected = seqs(1, 5);
    expected.push("\"dropped\" 6-10".to_owned());
    expected.extend(seqs(11, 12));
    assert_eq!(take(&teller, &author.address).await, expected);
}

#[tokio::test]
async fn a_log_that_is_another_one_is_told_as_replaced_and_then_goes_on() {
    let (dir, memory, mut author) =
        (tempfile::tempdir().unwrap(), MemoryStore::new(), Author::new(1));
    let prepared = prepare(dir.path(), &memory, "");
    author.append(&*prepared.store(), 4);
    let backup = memory.copy();
    let mut restored = Author { document: author.document.fork(), ..Author::new(1) };
    restored.end = author.end;
    author.append(&*prepared.store(), 2);
    let (teller, ended) = Teller::start(Arc::clone(&prepared.0)).unwrap();
    assert_eq!(take(&teller, &author.address).await, seqs(1, 6));
    drop((teller, prepared));
    ended.await.unwrap();

    // The same epoch from a backup, in which other changes have the same seqs.
    restored.document.set_actor(ActorId::leased(9, 1).0.as_slice().into());
    let prepared = prepare(dir.path(), &backup, "");
    restored.append(&*prepared.store(), 2);
    let (teller, ended) = Teller::start(Arc::clone(&prepared.0)).unwrap();
    assert_eq!(take(&teller, &author.address).await, ["\"replaced\" 1-6"]);
    restored.append(&*prepared.store(), 1);
    assert_eq!(take(&teller, &author.address).await, ["7"]);
    drop((teller, prepared));
    ended.await.unwrap();

    // A new directory.
    let (fresh, mut anew) = (MemoryStore::new(), Author::new(3));
    let prepared = prepare(dir.path(), &fresh, "");
    anew.append(&*prepared.store(), 3);
    let (teller, _ended) = Teller::start(Arc::clone(&prepared.0)).unwrap();
    assert_eq!(take(&teller, &author.address).await, ["\"replaced\" 1-3"]);
    anew.append(&*prepared.store(), 1);
    assert_eq!(take(&teller, &author.address).await, ["4"]);
}

#[tokio::test]
async fn a_batch_that_was_not_had_is_told_again_the_same_and_is_bounded() {
    let (dir, memory, mut author) =
        (tempfile::tempdir().unwrap(), MemoryStore::new(), Author::new(1));
    let prepared = prepare(dir.path(), &memory, "batch_bytes = 1024");
    author.append(&*prepared.store(), 20);
    let (teller, _ended) = Teller::start(Arc::clone(&prepared.0)).unwrap();
    let first = teller.next(0, &author.address, usize::MAX).await.unwrap().unwrap();
    assert!(first.events > 1 && first.body.len() <= 1024, "{}", first.events);
    author.append(&*prepared.store(), 1);
    let again = teller.next(0, &author.address, usize::MAX).await.unwrap().unwrap();
    assert_eq!((&first.id, &first.body), (&again.id, &again.body));
    let one = teller.next(0, &author.address, 1).await.unwrap().unwrap();
    assert_eq!(events(&one), events(&first)[..1]);
    assert_eq!(take(&teller, &author.address).await, seqs(1, 21));
}
