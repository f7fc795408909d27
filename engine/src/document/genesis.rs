//! The first change of every document: the same bytes everywhere, derived from the address and the
//! schema version alone. Must never know who opens the document or when.
//!
//! Two replicas that create a document while apart share its root objects only because both start
//! from this change. Its bytes are pinned by `vectors/genesis.hex`; they never change.

use std::sync::OnceLock;

use automerge::transaction::{CommitOptions, Transactable, Transaction};
use automerge::{Automerge, AutomergeError, Change, ObjType, ROOT, ScalarValue, TextEncoding};
use sha2::{Digest, Sha256};

use super::likes::Counter;
use super::place::bucket_name;
use crate::ids::{ActorId, Address, Facet};
use crate::limits::BUCKETS;

/// What automerge's chunks begin with; then come a checksum, the type and the body's length.
const MAGIC: [u8; 4] = [0x85, 0x6f, 0x4a, 0x83];
const CHECKSUM_BYTES: usize = 4;
const CHANGE_CHUNK: u8 = 1;

/// The version of the shape that genesis makes.
pub const SCHEMA: u32 = 1;

/// The first change of the document at `address`.
#[must_use]
#[expect(clippy::expect_used, reason = "bytes that automerge made, but for the message")]
pub fn change(address: &Address) -> Change {
    static TEMPLATES: [OnceLock<Template>; 5] = [const { OnceLock::new() }; 5];
    let template = &TEMPLATES[match address.facet() {
        Facet::Post => 0,
        Facet::Likes => 1,
        Facet::Comments => 2,
        Facet::Json if address.is_rules() => 4,
        // A stream is no document and nobody asks for its genesis.
        Facet::Json | Facet::Stream => 3,
    }];
    let template = template.get_or_init(|| Template::of(address));
    let bytes = template.with_message(&message(address));
    Change::try_from(bytes.as_slice()).expect("a change that differs in its message reads")
}

/// The first change of the document at `address` with `buckets` maps for its keyed set, for an epoch
/// that begins with more of them. Only likes and comments have buckets.
#[must_use]
#[expect(clippy::expect_used, reason = "a change made of constants on an empty document")]
pub fn change_with_buckets(address: &Address, buckets: u32) -> Change {
    let mut doc = Automerge::new().with_actor(automerge::ActorId::from(ActorId::GENESIS.0));
    let mut tx = doc.transaction();
    fill(&mut tx, address, buckets).expect("genesis writes to an empty root");
    tx.commit_with(CommitOptions::default().with_message(message(address)).with_time(0));
    doc.get_last_local_change().expect("genesis has operations")
}

/// What makes the first changes of two documents differ.
fn message(address: &Address) -> String {
    format!("syncline/{SCHEMA} {address}")
}

/// The first change of a facet's documents, cut around its message: the operations are the same in
/// all of them, and making them anew costs a hundred times as much as these bytes.
#[derive(Debug)]
struct Template {
    /// The chunk's body up to the message's length.
    before: Vec<u8>,
    /// Its body behind the message.
    after: Vec<u8>,
}

impl Template {
    #[expect(clippy::expect_used, reason = "automerge's own bytes of a change that has a message")]
    fn of(address: &Address) -> Self {
        let change = change_with_buckets(address, BUCKETS);
        let (bytes, message) = (change.raw_bytes(), message(address));
        let mut marked = Vec::new();
        push_uint(&mut marked, message.len());
        marked.extend_from_slice(message.as_bytes());
        let mut places = bytes.windows(marked.len());
        let at = places.position(|place| place == marked).expect("the message is in the change");
        let length_at = MAGIC.len() + CHECKSUM_BYTES + 1;
        let length = bytes.iter().skip(length_at).take_while(|byte| **byte >= 0x80).count() + 1;
        Self {
            before: bytes[length_at + length..at].to_vec(),
            after: bytes[at + marked.len()..].to_vec(),
        }
    }

    fn with_message(&self, message: &str) -> Vec<u8> {
        let mut body = self.before.clone();
        push_uint(&mut body, message.len());
        body.extend_from_slice(message.as_bytes());
        body.extend_from_slice(&self.after);
        let mut hashed = vec![CHANGE_CHUNK];
        push_uint(&mut hashed, body.len());
        hashed.append(&mut body);
        let hash = Sha256::digest(&hashed);
        [MAGIC.as_slice(), &hash[..CHECKSUM_BYTES], &hashed].concat()
    }
}

/// Appends LEB128.
fn push_uint(out: &mut Vec<u8>, value: usize) {
    let mut value = value as u64;
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push((value & 0x7f) as u8);
}

/// A document that holds its first change and nothing else.
///
/// Whoever is going to write sets an actor of its own first.
#[must_use]
pub fn document(address: &Address, encoding: TextEncoding) -> Automerge {
    document_from(change(address), encoding)
}

/// A document that holds its first change and `rest`, applied in one go.
///
/// # Errors
/// What automerge refused.
pub fn document_with(
    address: &Address,
    rest: Vec<Change>,
    encoding: TextEncoding,
) -> Result<Automerge, AutomergeError> {
    let mut doc = empty(encoding);
    doc.apply_changes(std::iter::once(change(address)).chain(rest))?;
    Ok(doc)
}

/// A document that holds `first` and nothing else.
#[must_use]
#[expect(clippy::expect_used, reason = "genesis has no dependencies and was made by automerge")]
pub fn document_from(first: Change, encoding: TextEncoding) -> Automerge {
    let mut doc = empty(encoding);
    doc.apply_changes([first]).expect("genesis applies to an empty document");
    doc
}

fn empty(encoding: TextEncoding) -> Automerge {
    let unused = automerge::ActorId::from(ActorId::provisional(0).0);
    Automerge::new_with_encoding(encoding).with_actor(unused)
}

fn fill(tx: &mut Transaction<'_>, address: &Address, buckets: u32) -> Result<(), AutomergeError> {
    match address.facet() {
        Facet::Post => {
            tx.put_object(ROOT, "title", ObjType::Text)?;
            tx.put_object(ROOT, "body", ObjType::Text)?;
            tx.put_object(ROOT, "tags", ObjType::Map)?;
            tx.put_object(ROOT, "editors", ObjType::Map)?;
        }
        Facet::Likes => {
            fill_buckets(tx, "likes", buckets)?;
            for counter in Counter::ALL {
                tx.put(ROOT, counter.as_str(), ScalarValue::counter(0))?;
            }
        }
        Facet::Comments => fill_buckets(tx, "comments", buckets)?,
        Facet::Json | Facet::Stream => {
            let root = tx.put_object(ROOT, "root", ObjType::Map)?;
            if address.is_rules() {
                for part in ["members", "banned", "roles"] {
                    tx.put_object(&root, part, ObjType::Map)?;
                }
            }
        }
    }
    Ok(())
}

fn fill_buckets(tx: &mut Transaction<'_>, key: &str, buckets: u32) -> Result<(), AutomergeError> {
    let set = tx.put_object(ROOT, key, ObjType::Map)?;
    for index in 0..buckets {
        tx.put_object(&set, bucket_name(index), ObjType::Map)?;
    }
    Ok(())
}
