//! The first change of every document: the same bytes everywhere, derived from the address and the
//! schema version alone. Must never know who opens the document or when.
//!
//! Two replicas that create a document while apart share its root objects only because both start
//! from this change. Its bytes are pinned by `vectors/genesis.hex`; they never change.

use automerge::transaction::{CommitOptions, Transactable, Transaction};
use automerge::{Automerge, AutomergeError, Change, ObjType, ROOT, ScalarValue, TextEncoding};

use super::likes::Counter;
use super::place::bucket_name;
use crate::ids::{ActorId, Address, Facet};
use crate::limits::BUCKETS;

/// The version of the shape that genesis makes.
pub const SCHEMA: u32 = 1;

/// The first change of the document at `address`.
#[must_use]
pub fn change(address: &Address) -> Change {
    change_with_buckets(address, BUCKETS)
}

/// The first change of the document at `address` with `buckets` maps for its keyed set, for an epoch
/// that begins with more of them. Only likes and comments have buckets.
#[must_use]
#[expect(clippy::expect_used, reason = "a change made of constants on an empty document")]
pub fn change_with_buckets(address: &Address, buckets: u32) -> Change {
    let mut doc = Automerge::new().with_actor(automerge::ActorId::from(ActorId::GENESIS.0));
    let mut tx = doc.transaction();
    fill(&mut tx, address.facet(), buckets).expect("genesis writes to an empty root");
    let message = format!("syncline/{SCHEMA} {address}");
    tx.commit_with(CommitOptions::default().with_message(message).with_time(0));
    doc.get_last_local_change().expect("genesis has operations")
}

/// A document that holds its first change and nothing else.
///
/// Whoever is going to write sets an actor of its own first.
#[must_use]
pub fn document(address: &Address, encoding: TextEncoding) -> Automerge {
    document_from(change(address), encoding)
}

/// A document that holds `first` and nothing else.
#[must_use]
#[expect(clippy::expect_used, reason = "genesis has no dependencies and was made by automerge")]
pub fn document_from(first: Change, encoding: TextEncoding) -> Automerge {
    let unused = automerge::ActorId::from(ActorId::provisional(0).0);
    let mut doc = Automerge::new_with_encoding(encoding).with_actor(unused);
    doc.apply_changes([first]).expect("genesis applies to an empty document");
    doc
}

fn fill(tx: &mut Transaction<'_>, facet: Facet, buckets: u32) -> Result<(), AutomergeError> {
    match facet {
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
        Facet::Json => {
            tx.put_object(ROOT, "root", ObjType::Map)?;
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
