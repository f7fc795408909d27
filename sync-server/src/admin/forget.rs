//! Empties the documents of a space, or takes a user out of every document. Those in which they are named begin a new epoch, without history
//! and without the ends of earlier ones; the store is merged after that, so that nothing of it stays in
//! the files.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{SystemTime, UNIX_EPOCH};

use syncline_engine::clock::Timestamp;
use syncline_engine::hub;
use syncline_engine::ids::{Address, Epoch, StreamAddress, UserId};
use syncline_engine::storage::{LogHead, LogStore, StoreError};

use super::verify::Problem;
use super::{Listen, Report, TaskError, each_document, tell};
use crate::store::SledStore;

pub(super) fn forget(
    store: &SledStore,
    user: &str,
    listen: &mut Listen<'_>,
) -> Result<Report, TaskError> {
    let user = UserId::new(user).map_err(|_| TaskError::Name(user.to_owned()))?;
    let (mut documents, mut failed) = (0, Vec::new());
    each_document(store, "looking for the user", listen, &mut |address, _| {
        let epoch = fresh_epoch()?;
        let forgotten = catch_unwind(AssertUnwindSafe(|| forget_in(store, address, &user, epoch)));
        let panicked = || Err(damaged(address, "working with it panicked".to_owned()));
        match forgotten.unwrap_or_else(|_| panicked()) {
            Ok(was_there) => documents += u64::from(was_there),
            Err(StoreError::Failed(why)) => return Err(StoreError::Failed(why).into()),
            Err(error) => failed.push(Problem::of(address, &error)),
        }
        Ok(())
    })?;
    store.renew(&mut |so_far| tell(listen, "merging", so_far))?;
    Ok(Report::ForgetUser { documents, failed })
}

/// Empties all documents of a space. Each begins a new epoch in which there is nothing; one that is too
/// damaged to say where its log ends is removed whole.
pub(super) fn delete_space(
    store: &SledStore,
    space: &str,
    listen: &mut Listen<'_>,
) -> Result<Report, TaskError> {
    Address::rules_of(space).map_err(|_| TaskError::Name(space.to_owned()))?;
    let (mut documents, mut emptied) = (0, BTreeSet::new());
    each_document(store, "looking for the space", listen, &mut |address, _| {
        // Nobody hands a stream back, so nothing of it needs to stay.
        if address.space() != space || StreamAddress::of(address).is_some() {
            return Ok(());
        }
        let head = match store.head(address) {
            Ok(Some(head)) => head,
            Ok(None) | Err(StoreError::Damaged { .. }) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let first = hub::emptied(address, head.end, (fresh_epoch()?, now()));
        let first = first.map_err(|error| damaged(address, error.to_string()))?;
        store.begin_anew(address, head.end, &first)?;
        documents += 1;
        emptied.insert(address.clone());
        Ok(())
    })?;
    documents += store.delete_space(space, &emptied)?;
    // What was deleted is in the files until all else is in others.
    let renewed = store.renew(&mut |so_far| tell(listen, "merging", so_far))?;
    let (bytes_before, bytes_after) = (renewed.bytes_before, renewed.bytes_after);
    Ok(Report::DeleteSpace { documents, bytes_before, bytes_after })
}

fn fresh_epoch() -> Result<Epoch, TaskError> {
    let mut epoch = [0; 16];
    getrandom::fill(&mut epoch).map_err(|error| TaskError::Random(error.to_string()))?;
    Ok(Epoch(epoch))
}

fn forget_in(
    store: &SledStore,
    address: &Address,
    user: &UserId,
    epoch: Epoch,
) -> Result<bool, StoreError> {
    let Some(head) = store.head(address)? else { return Ok(false) };
    if StreamAddress::of(address).is_some() {
        return forget_stream(store, address, user, &head);
    }
    let old = hub::snapshot(store, address)?;
    let from_seq = old.as_ref().map_or(1, |old| old.cursor.seq + 1);
    let records = store.read(address, from_seq, usize::MAX)?;
    let made = hub::forget(address, head.end, old.as_ref(), &records, user, (epoch, now()));
    let made = made.map_err(|error| damaged(address, error.to_string()))?;
    let Some(first) = made else { return Ok(false) };
    store.begin_anew(address, head.end, &first)?;
    // It may show the user's name or words.
    store.drop_summary(address)?;
    Ok(true)
}

/// A stream is the text of one user: it goes as a whole, also where they only asked for it.
fn forget_stream(
    store: &SledStore,
    address: &Address,
    user: &UserId,
    head: &LogHead,
) -> Result<bool, StoreError> {
    let records = store.read(address, head.tail_from, usize::MAX)?;
    let stream = hub::read_stream(store.digest_key(), head, &records);
    let stream = stream.map_err(|error| damaged(address, error.to_string()))?;
    let names = stream.origin.producer == *user || stream.origin.asked_by.as_ref() == Some(user);
    if names {
        store.delete(address)?;
    }
    Ok(names)
}

fn now() -> Timestamp {
    let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}

fn damaged(address: &Address, what: String) -> StoreError {
    StoreError::Damaged { address: address.clone(), what }
}
