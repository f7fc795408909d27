//! Makes a document anew without a user, or without anything: a new epoch, without history, of what it shows
//! once they are taken out. Pure functions for an operator's tool; no hub may have the document in memory.

use automerge::{Automerge, TextEncoding};

use super::attribution::Attribution;
use super::compact::{CompactError, compact};
use super::index::Index;
use super::rollover::begin;
use super::stored::StoredError;
use crate::clock::Timestamp;
use crate::document::{forget as take_out, genesis};
use crate::ids::{Address, ChangeHash, Cursor, Epoch, UserId};
use crate::storage::{Record, Snapshot};

/// The first snapshot of a document's next epoch, without a user; `None` if they are neither in what it
/// shows nor known as the author of any change. `end` is where its log ends, `old` its snapshot, and
/// `records` those above. `epoch` must be random. The ends of earlier epochs must go as well.
///
/// # Errors
/// [`CompactError`] says which part is damaged, missing or not accepted by automerge.
pub fn forget(
    address: &Address,
    end: Cursor,
    old: Option<&Snapshot>,
    records: &[Record],
    user: &UserId,
    (epoch, at): (Epoch, Timestamp),
) -> Result<Option<Snapshot>, CompactError> {
    let last = compact(address, end, old, records)?;
    let body = |error: automerge::AutomergeError| CompactError::Body(error.to_string());
    let mut shown = Automerge::load(&last.body).map_err(body)?;
    let was_shown = take_out(address, &mut shown, user, at).map_err(body)?;
    if !was_shown && !wrote(&last, user)? {
        return Ok(None);
    }
    // What is settled of outboxes names nobody.
    let (first, _, _) = begin(address, &shown, &last, epoch, at, Timestamp(0))?;
    Ok(Some(first))
}

/// The first snapshot of a document's next epoch, in which there is nothing. It takes a deleted document's
/// place, because clients that come back with the old one would hand it back to a log that knows of no
/// later epoch. `end` is where its log ends. `epoch` must be random.
///
/// # Errors
/// [`CompactError`] if automerge refuses, which it does not.
pub fn emptied(
    address: &Address,
    end: Cursor,
    (epoch, at): (Epoch, Timestamp),
) -> Result<Snapshot, CompactError> {
    let blank = genesis::document(address, TextEncoding::UnicodeCodePoint);
    let first = genesis::change(address);
    let index = Index::new(ChangeHash(first.hash().0), first.max_op()).encode();
    let attribution = Attribution::default().encode();
    let last = Snapshot { cursor: end, body: blank.save().into(), index, attribution };
    let (first, _, _) = begin(address, &blank, &last, epoch, at, at)?;
    Ok(first)
}

fn wrote(last: &Snapshot, user: &UserId) -> Result<bool, StoredError> {
    Ok(Attribution::decode(&last.attribution)?.names(user))
}
