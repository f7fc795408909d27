//! The summaries of posts, and which spaces are deleted, as a store in memory keeps them. Nothing here is
//! durable.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use super::{Append, Deletion, PostsWanted};
use crate::ids::Address;
use crate::summary::{Brought, Place, Summary, is_summarised};

/// The summaries of one space.
#[derive(Debug, Clone, Default)]
struct Space {
    by_id: BTreeMap<String, Summary>,
    listed: BTreeSet<Place>,
    /// Whether nothing is missing that was written before there were summaries.
    complete: bool,
}

/// The summaries of all spaces.
#[derive(Debug, Clone, Default)]
pub struct Posts {
    spaces: BTreeMap<String, Space>,
    deleted: BTreeMap<String, Deletion>,
}

impl Posts {
    /// Takes in what the appends of a commit bring.
    pub fn append(&mut self, batch: &[Append]) {
        for Append { address, brought, .. } in batch {
            if let Some(brought) = brought {
                self.take_in(address, brought);
            }
        }
    }

    /// Takes in what one document brings.
    pub fn take_in(&mut self, address: &Address, brought: &Brought) {
        let space = self.spaces.entry(address.space().to_owned()).or_default();
        let id = address.id().to_owned();
        let summary = space.by_id.entry(id.clone()).or_insert_with(|| Summary::new(id));
        let before = summary.place();
        summary.take_in(brought);
        let after = summary.place();
        if before != after {
            before.map(|place| space.listed.remove(&place));
            space.listed.extend(after);
        }
    }

    /// As [`super::LogStore::put_summary`].
    pub fn put(&mut self, address: &Address, brought: &Brought) {
        let known = self.spaces.get(address.space()).and_then(|s| s.by_id.get(address.id()));
        if is_summarised(address) && !known.is_some_and(|known| known.has(address.facet())) {
            self.take_in(address, brought);
        }
    }

    /// As [`super::LogStore::posts`].
    #[must_use]
    pub fn posts(&self, space: &str, wanted: &PostsWanted) -> Vec<Summary> {
        let Some(space) = self.spaces.get(space) else { return Vec::new() };
        let summary = |id: &str| space.by_id.get(id).cloned();
        match wanted {
            PostsWanted::After(after, limit) => {
                let from = after.clone().map_or(Bound::Unbounded, Bound::Excluded);
                let places = space.listed.range((from, Bound::Unbounded)).take(*limit);
                places.filter_map(|place| summary(place.id())).collect()
            }
            PostsWanted::Ids(ids) => ids.iter().filter_map(|id| summary(id)).collect(),
        }
    }

    /// As [`super::LogStore::is_summarised`].
    #[must_use]
    pub fn is_complete(&self, space: &str) -> bool {
        self.spaces.get(space).is_some_and(|space| space.complete)
    }

    /// As [`super::LogStore::set_summarised`].
    pub fn set_complete(&mut self, space: &str) {
        self.spaces.entry(space.to_owned()).or_default().complete = true;
    }

    /// As [`super::LogStore::deletion`].
    #[must_use]
    pub fn deletion(&self, space: &str) -> Option<Deletion> {
        self.deleted.get(space).copied()
    }

    /// As [`super::LogStore::set_deletion`].
    pub fn set_deletion(&mut self, space: &str, deletion: Option<Deletion>) {
        match deletion {
            Some(deletion) => self.deleted.insert(space.to_owned(), deletion),
            None => self.deleted.remove(space),
        };
    }
}
