//! The summaries of posts: one value for each post, and an empty one that says where it is listed.
//! They are written in the batch of the records that changed them. What they mean is the engine's.
//!
//! Nothing is shown before it is synced, so whoever reads summaries waits for the batch that is on its
//! way to the disk, and keeps the next from beginning for as long as it takes to read some.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use ::sled::IVec;
use syncline_engine::ids::{Address, Facet};
use syncline_engine::storage::{Append, PostsWanted, StoreError};
use syncline_engine::summary::{Brought, Place, Summary, is_summarised};

use super::log::Log;
use super::tree::Values;
use super::{keys, value};

/// Summaries that are read while the next batch waits: some tenths of a millisecond.
const READ_AT_ONCE: usize = 64;

/// Summaries that a batch changes, each with what it was before.
#[derive(Default)]
pub(super) struct Changes(BTreeMap<(String, String), (Option<Place>, Summary)>);

impl Log {
    /// Adds what the appends of a batch bring to the batch. For who holds `writing`.
    pub(super) fn put_brought(
        &self,
        batch: &[Append],
        values: &mut Values,
    ) -> Result<(), StoreError> {
        let mut changes = Changes::default();
        for Append { address, brought, .. } in batch {
            if let Some(brought) = brought {
                self.change(&mut changes, address, brought)?;
            }
        }
        put_changes(changes, values);
        Ok(())
    }

    fn change(
        &self,
        changes: &mut Changes,
        address: &Address,
        brought: &Brought,
    ) -> Result<(), StoreError> {
        let name = (address.space().to_owned(), address.id().to_owned());
        if !changes.0.contains_key(&name) {
            let known = self.summary(address)?;
            let before = known.as_ref().and_then(Summary::place);
            let summary = known.unwrap_or_else(|| Summary::new(address.id().to_owned()));
            changes.0.insert(name.clone(), (before, summary));
        }
        if let Some((_, summary)) = changes.0.get_mut(&name) {
            summary.take_in(brought);
        }
        Ok(())
    }

    /// The summary of the post that a document belongs to. One that is damaged is set aside and taken
    /// for missing; the other documents of its post are summarised anew when their space is listed.
    fn summary(&self, address: &Address) -> Result<Option<Summary>, StoreError> {
        let key = keys::summary(address.space(), address.id());
        let found = self.tree.get(&key).map_err(|error| self.read_failed(address, &error))?;
        let Some(found) = found else { return Ok(None) };
        let summary = value::unseal(&key, &found).and_then(Summary::decode);
        if summary.is_none() {
            let error = self.damaged(address, "the post's summary", Some((&key, &found)));
            if let StoreError::Failed(_) = error {
                return Err(error);
            }
            let mut values = Values::default();
            self.not_summarised(address, &mut values)?;
            self.apply(values)?;
        }
        Ok(summary)
    }

    /// See [`syncline_engine::storage::LogStore::posts`].
    pub(super) fn posts(
        &self,
        space: &str,
        wanted: &PostsWanted,
    ) -> Result<Vec<Summary>, StoreError> {
        let of_post = |id: &str| {
            Address::new(space, id, Facet::Post).map_err(|e| StoreError::Failed(e.to_string()))
        };
        let mut found = Vec::new();
        match wanted {
            PostsWanted::Ids(ids) => {
                for some in ids.chunks(READ_AT_ONCE) {
                    let _writing = self.writing()?;
                    for id in some {
                        found.extend(self.summary(&of_post(id)?)?);
                    }
                }
            }
            PostsWanted::After(after, limit) => {
                let mut after = after.clone();
                let mut left = *limit;
                while left > 0 {
                    let count = left.min(READ_AT_ONCE);
                    let _writing = self.writing()?;
                    let places = self.places(space, after.as_ref(), count)?;
                    for place in &places {
                        found.extend(self.summary(&of_post(place.id())?)?);
                    }
                    if places.len() < count {
                        break;
                    }
                    left -= count;
                    after = places.into_iter().next_back();
                }
            }
        }
        Ok(found)
    }

    fn places(
        &self,
        space: &str,
        after: Option<&Place>,
        count: usize,
    ) -> Result<Vec<Place>, StoreError> {
        let end = keys::listed_end(space);
        let mut begin = keys::listed(space, after);
        if after.is_some() {
            begin.push(0);
        }
        let mut places = Vec::with_capacity(count);
        for item in self.tree.walk(&begin, &end).take(count) {
            let (key, _) = item.map_err(|error| StoreError::Failed(error.to_string()))?;
            places.extend(keys::place_of_listed(space, &key));
        }
        Ok(places)
    }

    /// See [`syncline_engine::storage::LogStore::put_summary`].
    pub(super) fn put_summary(
        &self,
        address: &Address,
        brought: &Brought,
    ) -> Result<(), StoreError> {
        let _writing = self.writing()?;
        let known = self.summary(address)?;
        if !is_summarised(address) || known.is_some_and(|known| known.has(address.facet())) {
            return Ok(());
        }
        let (mut changes, mut values) = (Changes::default(), Values::default());
        self.change(&mut changes, address, brought)?;
        put_changes(changes, &mut values);
        self.commit(values)
    }

    /// See [`syncline_engine::storage::LogStore::is_summarised`].
    pub(super) fn is_summarised(&self, space: &str) -> Result<bool, StoreError> {
        self.check_usable()?;
        let found = self.tree.get(&keys::summarised(space));
        found.map(|found| found.is_some()).map_err(|error| StoreError::Failed(error.to_string()))
    }

    /// Removes the summary of the post that a document belongs to. It is made anew from what the
    /// documents show when their space is listed.
    pub(super) fn drop_summary(&self, address: &Address) -> Result<(), StoreError> {
        let _writing = self.writing()?;
        let mut values = Values::default();
        if let Some(place) = self.summary(address)?.as_ref().and_then(Summary::place) {
            self.remove(address, &keys::listed(address.space(), Some(&place)), &mut values)?;
        }
        self.remove(address, &keys::summary(address.space(), address.id()), &mut values)?;
        self.not_summarised(address, &mut values)?;
        self.commit(values)
    }

    /// Notes that not all documents of a space are summarised.
    fn not_summarised(&self, address: &Address, values: &mut Values) -> Result<(), StoreError> {
        self.remove(address, &keys::summarised(address.space()), values)
    }

    fn remove(&self, address: &Address, key: &[u8], values: &mut Values) -> Result<(), StoreError> {
        let found = self.tree.get(key).map_err(|error| self.read_failed(address, &error))?;
        if let Some(found) = found {
            values.remove(&IVec::from(key), &found);
        }
        Ok(())
    }

    /// See [`syncline_engine::storage::LogStore::set_summarised`].
    pub(super) fn set_summarised(&self, space: &str) -> Result<(), StoreError> {
        let _writing = self.writing()?;
        let key = keys::summarised(space);
        let mut values = Values::default();
        let sealed = value::seal(&key, &[]);
        values.insert(key, sealed);
        self.commit(values)
    }

    /// Runs a read of summaries. sled panics on some damaged pages.
    pub(super) fn posts_guarded<T>(
        &self,
        read: impl FnOnce() -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|_| {
            Err(StoreError::Failed("sled panicked on the pages of summaries".to_owned()))
        })
    }
}

fn put_changes(changes: Changes, values: &mut Values) {
    for ((space, id), (before, summary)) in changes.0 {
        let key = keys::summary(&space, &id);
        let sealed = value::seal(&key, &summary.encode());
        values.insert(key, sealed);
        let after = summary.place();
        if before != after {
            if let Some(before) = before {
                let key = keys::listed(&space, Some(&before));
                let sealed = value::seal(&key, &[]);
                values.remove(&IVec::from(key), &IVec::from(sealed));
            }
            if let Some(after) = after {
                let key = keys::listed(&space, Some(&after));
                let sealed = value::seal(&key, &[]);
                values.insert(key, sealed);
            }
        }
    }
}
