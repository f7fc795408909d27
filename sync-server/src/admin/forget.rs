//! Empties the documents of a space, or takes a user out of every document. Those in which they are named begin a new epoch, without history
//! and without the ends of earlier ones; the store is merged after that, so that nothing of it stays in
//! the files.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use syncline_engine::clock::Timestamp;
use syncline_engine::hub::{self, Input};
use syncline_engine::ids::{Address, Cursor, Epoch, StreamAddress, UserId};
use syncline_engine::storage::{Deletion, LogStore, Snapshot, StoreError};

use super::verify::Problem;
use super::{Listen, Report, Said, TaskError, each_document, tell};
use crate::orders::Orders;
use crate::store::SledStore;

/// Takes a user out of every document. That it is under way is noted first, so that it is finished after a
/// crash, and removed before the merge, so that the note is not in the files either.
pub(super) fn forget(
    store: &SledStore,
    name: &str,
    server: Option<&Orders>,
    listen: &mut Listen<'_>,
) -> Result<Report, TaskError> {
    let user = UserId::new(name).map_err(|_| TaskError::Name(name.to_owned()))?;
    let _one = server.map(Orders::one);
    store.set_forgetting(name, true)?;
    let hub = Told::of(server, Input::UserLeaves { user: user.clone() }, Input::UserForgotten)?;
    let (mut documents, mut failed) = (0, Vec::new());
    let listen = &mut steadily(server, listen);
    each_document(store, "looking for the user", listen, &mut |address, _| {
        match forget_beside(store, address, &user, server) {
            Ok(was_there) => documents += u64::from(was_there),
            Err(TaskError::Store(error @ StoreError::Damaged { .. })) => {
                failed.push(Problem::of(address, &error));
            }
            Err(error) => return Err(error),
        }
        Ok(())
    })?;
    store.set_forgetting(name, false)?;
    drop(hub);
    store.renew(&mut |so_far| tell(listen, "merging", so_far))?;
    Ok(Report::ForgetUser { documents, failed })
}

/// Takes a user out of a document. One that a server may have in memory is handed over by its hub for as
/// long as it takes, if the user is in it.
fn forget_beside(
    store: &SledStore,
    address: &Address,
    user: &UserId,
    server: Option<&Orders>,
) -> Result<bool, TaskError> {
    let Some(server) = server else {
        return Ok(guarded(address, || forget_in(store, address, user))?);
    };
    match guarded(address, || find_in(store, address, user)) {
        Ok(None) => return Ok(false),
        // What looks damaged may have been replaced while it was read.
        Ok(Some(_)) | Err(StoreError::Damaged { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    server.ask(Input::Rewrite { address: address.clone() })?;
    let done = guarded(address, || {
        let was_there = forget_in(store, address, user)?;
        let rules = address.is_rules().then(|| hub::rules(store, address.space())).transpose()?;
        Ok((was_there, rules))
    });
    let (was_there, result) = match done {
        Ok((was_there, rules)) => (Ok(was_there), Ok(rules)),
        Err(error) => {
            let what = error.to_string();
            (Err(error), Err(damaged(address, what)))
        }
    };
    server.tell(Input::Rewritten { address: address.clone(), result });
    Ok(was_there?)
}

/// Empties all documents of a space. Each begins a new epoch in which there is nothing; one that is too
/// damaged to say where its log ends is removed whole. From the first step on the space is deleted, whatever
/// happens to this process.
pub(super) fn delete_space(
    store: &SledStore,
    space: &str,
    server: Option<&Orders>,
    listen: &mut Listen<'_>,
) -> Result<Report, TaskError> {
    Address::rules_of(space).map_err(|_| TaskError::Name(space.to_owned()))?;
    let _one = server.map(Orders::one);
    let at = now();
    store.set_deletion(space, Some(Deletion { at, emptied: false }))?;
    let name = || space.to_owned();
    let hub = Told::of(
        server,
        Input::SpaceDeleted { space: name() },
        Input::SpaceEmptied { space: name() },
    )?;
    let (mut documents, mut emptied) = (0, BTreeSet::new());
    let listen = &mut steadily(server, listen);
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
        let first = hub::emptied(address, head.end, (fresh_epoch()?, at));
        let first = first.map_err(|error| damaged(address, error.to_string()))?;
        store.begin_anew(address, head.end, &first)?;
        documents += 1;
        emptied.insert(address.clone());
        Ok(())
    })?;
    documents += store.delete_space(space, &emptied)?;
    store.set_deletion(space, Some(Deletion { at, emptied: true }))?;
    drop(hub);
    // What was deleted is in the files until all else is in others.
    let renewed = store.renew(&mut |so_far| tell(listen, "merging", so_far))?;
    let (bytes_before, bytes_after) = (renewed.bytes_before, renewed.bytes_after);
    Ok(Report::DeleteSpace { documents, bytes_before, bytes_after })
}

/// Finishes what was begun before the server did.
pub(super) fn resume(
    store: &SledStore,
    server: &Orders,
    offline_window: Duration,
) -> Result<(), TaskError> {
    let mut listen = |_| ControlFlow::Continue(());
    for (space, deletion) in store.deletions()? {
        if !deletion.emptied {
            tracing::info!(space, "goes on with the deletion of a space");
            delete_space(store, &space, Some(server), &mut listen)?;
        } else if !deletion.stands(now(), offline_window) {
            store.set_deletion(&space, None)?;
        }
    }
    for user in store.forgetting()? {
        tracing::info!("goes on with forgetting a user");
        forget(store, &user, Some(server), &mut listen)?;
    }
    Ok(())
}

/// A hub that has let go of something, until this is dropped.
struct Told<'a> {
    server: Option<&'a Orders>,
    last: Option<Input>,
}

impl<'a> Told<'a> {
    fn of(server: Option<&'a Orders>, first: Input, last: Input) -> Result<Self, TaskError> {
        let told = Self { server, last: Some(last) };
        if let Some(server) = server {
            server.ask(first)?;
        }
        Ok(told)
    }
}

impl Drop for Told<'_> {
    fn drop(&mut self) {
        if let (Some(server), Some(last)) = (self.server, self.last.take()) {
            server.tell(last);
        }
    }
}

/// Goes on when nobody listens any more: what was begun is finished, unless the server ends.
fn steadily<'a>(
    server: Option<&'a Orders>,
    listen: &'a mut Listen<'_>,
) -> impl FnMut(Said) -> ControlFlow<()> + 'a {
    move |said| match (listen(said), server) {
        (_, Some(server)) if server.is_over() => ControlFlow::Break(()),
        (ControlFlow::Break(()), Some(_)) => ControlFlow::Continue(()),
        (flow, _) => flow,
    }
}

/// A panic while one document is worked with concerns that document.
fn guarded<T>(
    address: &Address,
    work: impl FnOnce() -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    let panicked = || Err(damaged(address, "working with it panicked".to_owned()));
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| panicked())
}

fn fresh_epoch() -> Result<Epoch, TaskError> {
    let mut epoch = [0; 16];
    getrandom::fill(&mut epoch).map_err(|error| TaskError::Random(error.to_string()))?;
    Ok(Epoch(epoch))
}

/// A document or stream in which a user is named.
enum Named {
    /// What the document begins anew with, and where its log ends.
    Document(Snapshot, Cursor),
    /// The text of one user goes as a whole, also where they only asked for it.
    Stream,
}

fn find_in(
    store: &SledStore,
    address: &Address,
    user: &UserId,
) -> Result<Option<Named>, StoreError> {
    let Some(head) = store.head(address)? else { return Ok(None) };
    if StreamAddress::of(address).is_some() {
        let records = store.read(address, head.tail_from, usize::MAX)?;
        let stream = hub::read_stream(store.digest_key(), &head, &records);
        let origin = stream.map_err(|error| damaged(address, error.to_string()))?.origin;
        let names = origin.producer == *user || origin.asked_by.as_ref() == Some(user);
        return Ok(names.then_some(Named::Stream));
    }
    let epoch = fresh_epoch().map_err(|error| StoreError::Failed(error.to_string()))?;
    let old = hub::snapshot(store, address)?;
    let from_seq = old.as_ref().map_or(1, |old| old.cursor.seq + 1);
    let records = store.read(address, from_seq, usize::MAX)?;
    let made = hub::forget(address, head.end, old.as_ref(), &records, user, (epoch, now()));
    let made = made.map_err(|error| damaged(address, error.to_string()))?;
    Ok(made.map(|first| Named::Document(first, head.end)))
}

fn forget_in(store: &SledStore, address: &Address, user: &UserId) -> Result<bool, StoreError> {
    match find_in(store, address, user)? {
        None => return Ok(false),
        Some(Named::Stream) => store.delete(address)?,
        Some(Named::Document(first, end)) => {
            store.begin_anew(address, end, &first)?;
            // It may show the user's name or words.
            store.drop_summary(address)?;
        }
    }
    Ok(true)
}

fn now() -> Timestamp {
    let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}

fn damaged(address: &Address, what: String) -> StoreError {
    StoreError::Damaged { address: address.clone(), what }
}
