//! Documents that were written before there were summaries: they are summarised a few at a time, when
//! the posts of their space are first asked for.

use std::collections::BTreeSet;

use super::{Effect, Hub, Phase};
use crate::clock::Timestamp;
use crate::hub::Attribution;
use crate::hub::load;
use crate::ids::{Address, Facet};
use crate::storage::{LogStore, PostsWanted, StoreError};
use crate::summary::{Brought, Summary, is_summarised};

/// Documents that are looked at in one step.
const STEP_DOCUMENTS: usize = 64;

/// How far a step has come.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Summarised {
    /// How many documents were summarised.
    pub made: usize,
    /// How many are damaged, and were left as they are.
    pub damaged: usize,
    /// The last document that was looked at; `None` if there are no more.
    pub after: Option<Address>,
}

/// Carries out one step of what [`super::Effect::Summarise`] asks for.
///
/// # Errors
/// [`StoreError::Failed`] if the store fails. A damaged document is passed over.
pub fn summarise(
    store: &(impl LogStore + ?Sized),
    space: &str,
    after: Option<Address>,
) -> Result<Summarised, StoreError> {
    let mut step = Summarised::default();
    if after.is_none() && store.is_summarised(space)? {
        return Ok(step);
    }
    let found = match &after {
        Some(after) => store.list(Some(after), STEP_DOCUMENTS)?,
        None => {
            // No name sorts before this one; whether there is such a document is seen when it is read.
            let first = Address::new(space, "-", Facet::Post);
            let first = first.map_err(|error| StoreError::Failed(error.to_string()))?;
            let mut found = store.list(Some(&first), STEP_DOCUMENTS)?;
            found.insert(0, first);
            found
        }
    };
    let is_last = found.last().is_none_or(|last| last.space() != space);
    let here = found.iter().take_while(|address| address.space() == space);
    let documents: Vec<&Address> = here.filter(|address| is_summarised(address)).collect();
    let ids: BTreeSet<String> = documents.iter().map(|address| address.id().to_owned()).collect();
    let known = store.posts(space, &PostsWanted::Ids(ids.into_iter().collect()))?;
    let is_known = |address: &Address| {
        let mut of_post = known.iter().filter(|summary: &&Summary| summary.id == address.id());
        of_post.any(|summary| summary.has(address.facet()))
    };
    for address in documents.into_iter().filter(|address| !is_known(address)) {
        match brought(store, address) {
            Ok(Some(brought)) => {
                store.put_summary(address, &brought)?;
                step.made += 1;
            }
            Ok(None) => {}
            Err(StoreError::Failed(why)) => return Err(StoreError::Failed(why)),
            Err(_) => step.damaged += 1,
        }
    }
    if is_last {
        store.set_summarised(space)?;
    } else {
        step.after = found.into_iter().next_back();
    }
    Ok(step)
}

/// What a stored document brings to the summary of its post.
fn brought(
    store: &(impl LogStore + ?Sized),
    address: &Address,
) -> Result<Option<Brought>, StoreError> {
    let Some((head, records)) = load(store, address)? else { return Ok(None) };
    let Some(part) = load::index(store, address)?.part() else { return Ok(None) };
    let last = records.last().and_then(|record| record.entries.last());
    let at = match (last, head.snapshot) {
        (Some(entry), _) => entry.at,
        (None, Some(snapshot)) => {
            let attribution = store.read_attribution(address, snapshot.cursor)?;
            let attribution = attribution.and_then(|bytes| Attribution::decode(&bytes).ok());
            attribution.and_then(|attribution| attribution.latest()).unwrap_or_default()
        }
        (None, None) => Timestamp(0),
    };
    Ok(Some(Brought { at, part }))
}

impl Hub {
    /// Has the documents of a space summarised that were written before there were summaries, unless
    /// that has been seen to.
    pub(in crate::hub) fn want_summaries(&mut self, space: &str) {
        let seen_to = self.spaces.get(space).is_none_or(|space| space.summarised || space.deleted);
        let seen_to = seen_to || self.orders.is_forgetting();
        if !seen_to && self.feeds.summarising.insert(space.to_owned()) {
            self.out.push(Effect::Summarise { space: space.to_owned(), after: None });
        }
    }

    pub(in crate::hub) fn summarised(
        &mut self,
        now: Timestamp,
        space: String,
        result: Result<Summarised, StoreError>,
    ) {
        if !self.feeds.summarising.contains(&space) {
            return;
        }
        let (made, after) = match result {
            Ok(step) => (step.made, step.after),
            // It is tried again when somebody asks for the space again.
            Err(_) => (0, None),
        };
        if made > 0
            && let Some(feed) = self.feeds.by_space.get_mut(&space)
        {
            feed.all_changed = true;
            self.arm_feed(now, &space);
        }
        let goes_on = !self.spaces.get(&space).is_some_and(|space| space.deleted)
            && !self.orders.is_forgetting();
        if !goes_on {
            self.feeds.summarising.remove(&space);
            return;
        }
        if after.is_some() && matches!(self.phase, Phase::Running) {
            return self.out.push(Effect::Summarise { space, after });
        }
        self.feeds.summarising.remove(&space);
        if let Some(space) = self.spaces.get_mut(&space) {
            space.summarised = true;
        }
    }
}
