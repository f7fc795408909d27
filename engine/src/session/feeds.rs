//! The feeds that the app follows: summaries of the posts of a space, kept in memory as the server
//! tells them. A feed survives the connection: what it shows stays while there is none, and the next
//! one begins with all of it anew. No document is opened for it and nothing of it is stored.

use std::collections::{BTreeMap, BTreeSet};

use super::{Notice, Session};
use crate::clock::Timestamp;
use crate::codes::Code;
use crate::limits::FEED_POSTS_MAX;
use crate::machine::Wake;
use crate::summary::{Place, Summary};
use crate::wire::frame::{Feed, FeedChanged, FeedEnded, FollowFeed, LeaveFeed, PostSummary};

/// Where a feed is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum FeedStatus {
    /// The server has not answered on this connection, or there is none. What is shown is what was
    /// told before.
    #[default]
    Waiting,
    /// It shows what the server has.
    Live,
    /// The server does not serve it.
    Ended {
        /// Why.
        code: Code,
        /// A sentence that helps.
        message: String,
    },
}

/// The most recently active posts of a space, as they were told last.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FeedView {
    newest: usize,
    by_id: BTreeMap<String, Summary>,
    order: BTreeSet<Place>,
    status: FeedStatus,
}

impl FeedView {
    fn new(newest: usize) -> Self {
        Self { newest: newest.clamp(1, FEED_POSTS_MAX), ..Self::default() }
    }

    /// Where it is.
    #[must_use]
    pub const fn status(&self) -> &FeedStatus {
        &self.status
    }

    /// How many posts it shows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// Whether it shows none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// The posts, the most recently active first.
    pub fn posts(&self) -> impl Iterator<Item = &Summary> {
        self.order.iter().filter_map(|place| self.by_id.get(place.id()))
    }

    /// The post with this id.
    #[must_use]
    pub fn post(&self, id: &str) -> Option<&Summary> {
        self.by_id.get(id)
    }

    fn clear(&mut self) {
        self.by_id.clear();
        self.order.clear();
    }

    /// Takes in what was told; answers which posts are something else than before. What does not read
    /// is passed over: it is nothing that a server says.
    fn take_in(&mut self, posts: Vec<PostSummary>) -> Vec<String> {
        let mut changed = Vec::new();
        for post in posts.into_iter().filter_map(Summary::of_wire) {
            let Some(place) = post.place() else { continue };
            if self.by_id.get(&post.id) == Some(&post) {
                continue;
            }
            let old = self.by_id.get(&post.id).and_then(Summary::place);
            old.map(|old| self.order.remove(&old));
            self.order.insert(place);
            changed.push(post.id.clone());
            self.by_id.insert(post.id.clone(), post);
        }
        while self.order.len() > self.newest
            && let Some(last) = self.order.pop_last()
        {
            self.by_id.remove(last.id());
        }
        changed
    }
}

/// A feed that the app follows.
#[derive(Debug)]
pub(super) struct Followed {
    view: FeedView,
    /// When to ask again.
    retry: Option<Timestamp>,
}

impl Session {
    /// What a feed shows that the app follows.
    #[must_use]
    pub fn feed(&self, space: &str) -> Option<&FeedView> {
        self.feeds.get(space).map(|followed| &followed.view)
    }

    pub(super) fn follow_feed(&mut self, space: &str, newest: usize) {
        let followed = Followed { view: FeedView::new(newest), retry: None };
        self.feeds.insert(space.to_owned(), followed);
        self.ask_feed(space);
    }

    pub(super) fn leave_feed(&mut self, space: String) {
        if self.feeds.remove(&space).is_some() && self.link.up().is_some() {
            self.send(LeaveFeed { space }.into());
        }
    }

    fn ask_feed(&mut self, space: &str) {
        let Some(followed) = self.feeds.get_mut(space) else { return };
        followed.retry = None;
        if self.link.up().is_some() {
            let newest = u16::try_from(followed.view.newest).unwrap_or(u16::MAX);
            self.send(FollowFeed { space: space.to_owned(), newest }.into());
        }
    }

    /// A connection is there.
    pub(super) fn ask_feeds(&mut self) {
        let spaces: Vec<String> = self.feeds.keys().cloned().collect();
        for space in spaces {
            self.ask_feed(&space);
        }
    }

    /// The connection is gone.
    pub(super) fn feeds_disconnected(&mut self) {
        let spaces: Vec<String> = self.feeds.keys().cloned().collect();
        for space in spaces {
            if let Some(followed) = self.feeds.get_mut(&space) {
                followed.retry = None;
            }
            self.feed_is(&space, FeedStatus::Waiting, Vec::new());
        }
    }

    fn feed_is(&mut self, space: &str, status: FeedStatus, changed: Vec<String>) {
        let Some(followed) = self.feeds.get_mut(space) else { return };
        let same = followed.view.status == status;
        followed.view.status = status;
        if !same || !changed.is_empty() {
            self.notify(Notice::Feed { space: space.to_owned(), changed });
        }
    }

    pub(super) fn feed_told(&mut self, frame: Feed) {
        let Some(followed) = self.feeds.get_mut(&frame.space) else { return };
        let mut before = std::mem::take(&mut followed.view.by_id);
        followed.view.clear();
        let told = followed.view.take_in(frame.posts);
        let is_other = |id: &String| before.remove(id).as_ref() != followed.view.post(id);
        let mut changed: Vec<String> = told.into_iter().filter(is_other).collect();
        changed.extend(before.into_keys());
        self.feed_is(&frame.space, FeedStatus::Live, changed);
    }

    pub(super) fn feed_changed(&mut self, frame: FeedChanged) {
        let Some(followed) = self.feeds.get_mut(&frame.space) else { return };
        // What comes before the answer is to an older question.
        if followed.view.status == FeedStatus::Live {
            let changed = followed.view.take_in(frame.posts);
            self.feed_is(&frame.space, FeedStatus::Live, changed);
        }
    }

    pub(super) fn feed_ended(&mut self, now: Timestamp, frame: FeedEnded) {
        let FeedEnded { space, code, message, retry_after_ms } = frame;
        let Some(followed) = self.feeds.get_mut(&space) else { return };
        followed.retry = retry_after_ms.map(|ms| now + std::time::Duration::from_millis(ms.into()));
        let code = Code::from_number(code).unwrap_or(Code::FeedUnavailable);
        let mut changed = Vec::new();
        if matches!(code, Code::Forbidden | Code::SpaceDeleted) {
            // What may not be read is not shown either.
            changed = followed.view.by_id.keys().cloned().collect();
            followed.view.clear();
        }
        self.feed_is(&space, FeedStatus::Ended { code, message }, changed);
    }

    pub(super) fn retry_feeds(&mut self, now: Timestamp) {
        let is_due = |followed: &Followed| followed.retry.is_some_and(|at| at <= now);
        let due: Vec<String> =
            self.feeds.iter().filter(|(_, f)| is_due(f)).map(|(space, _)| space.clone()).collect();
        for space in due {
            self.ask_feed(&space);
        }
    }

    pub(super) fn feeds_wake(&self) -> Option<Wake> {
        let at = self.feeds.values().filter_map(|followed| followed.retry).min()?;
        Some(Wake { at, why: "feed" })
    }
}
