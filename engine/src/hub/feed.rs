//! The feeds of spaces: who follows the summaries of a space's posts, what each of them was told, and
//! lists that are asked for once. Opens no document: what is told is read from the store, where the
//! commits have put it ([`crate::storage::Append::brought`]), so it is durable and there after a
//! restart.
//!
//! A feed holds the most recently active posts, and each follower is a version of that. What changed
//! is read and told at most once in a while; who has not taken what it was sent stays where it is, and
//! is told the rest, as it is by then, once it has. Nothing is queued for anybody.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::connection::Slot;
use super::timers::Timer;
use super::{Effect, Hub, Phase, RequestId};
use crate::clock::Timestamp;
use crate::codes::Code;
use crate::ids::{Address, check_name};
use crate::limits::FEED_POSTS_MAX;
use crate::storage::{PostsWanted, StoreError};
use crate::summary::Summary;
use crate::wire::frame::{Feed as FeedFrame, FeedChanged, FeedEnded, FollowFeed, ServerFrame};

mod listing;
mod summarise;
mod top;

use listing::Listing;
pub use summarise::{Summarised, summarise};
use top::Top;

/// Characters of a space's name that does not parse which are worth an echo.
const ECHO_CHARS_MAX: usize = 80;

/// A feed's short name inside the hub, never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct FeedKey(u64);

/// Somebody who follows a feed.
#[derive(Debug)]
struct Follower {
    newest: usize,
    /// What it was told; `None` until it was answered.
    version: Option<u64>,
}

/// A space's posts, while somebody follows them.
#[derive(Debug)]
struct Feed {
    key: FeedKey,
    followers: BTreeMap<Slot, Follower>,
    /// `None` until they were read.
    top: Option<Top>,
    /// Posts that have changed since they were read.
    changed: BTreeSet<String>,
    /// Whether so many have that the beginning is read anew.
    all_changed: bool,
    reading: bool,
    /// For when its timer is armed.
    wake: Option<Timestamp>,
    /// When what changed was last read.
    ticked: Timestamp,
}

/// What a read of summaries was asked for.
#[derive(Debug)]
enum Question {
    /// What a feed begins with, or goes on with.
    Feed(String, FeedKey),
    Listing(Listing),
}

/// All feeds that somebody follows, and all lists that are being read.
#[derive(Debug, Default)]
pub(super) struct Feeds {
    by_space: BTreeMap<String, Feed>,
    by_key: BTreeMap<FeedKey, String>,
    last: u64,
    questions: BTreeMap<RequestId, Question>,
    /// Lists that wait for the rules of their spaces.
    waiting: BTreeMap<String, Vec<Listing>>,
    /// Spaces whose older documents are being summarised.
    summarising: BTreeSet<String>,
}

impl Feeds {
    /// The spaces whose feeds are followed.
    pub(super) fn followed(&self) -> Vec<String> {
        self.by_space.keys().cloned().collect()
    }

    /// Whether documents of a space, or of any, are being summarised.
    pub(super) fn is_summarising(&self, space: Option<&str>) -> bool {
        match space {
            Some(space) => self.summarising.contains(space),
            None => !self.summarising.is_empty(),
        }
    }

    /// How many there are, and how many follow them.
    pub(super) fn count(&self) -> (usize, usize) {
        (self.by_space.len(), self.by_space.values().map(|feed| feed.followers.len()).sum())
    }

    fn make(&mut self, space: &str) {
        self.last += 1;
        let key = FeedKey(self.last);
        self.by_key.insert(key, space.to_owned());
        let feed = Feed {
            key,
            followers: BTreeMap::new(),
            top: None,
            changed: BTreeSet::new(),
            all_changed: false,
            reading: false,
            wake: None,
            ticked: Timestamp(0),
        };
        self.by_space.insert(space.to_owned(), feed);
    }
}

impl Hub {
    pub(super) fn follow_feed(&mut self, slot: Slot, frame: &FollowFeed) {
        let space = frame.space.as_str();
        if let Err(error) = check_name("a space", space) {
            return self.end_feed(slot, space, Code::BadAddress, &error.to_string());
        }
        if !matches!(self.phase, Phase::Running) {
            let why = "the server is going away for a moment";
            return self.end_feed(slot, space, Code::ShuttingDown, why);
        }
        let Some(open) = self.connections.open(slot) else { return };
        let full = open.feeds.len() >= usize::try_from(self.config.feeds_max).unwrap_or(0);
        if full && !open.feeds.contains(space) {
            let why = "leave a feed before following another";
            return self.end_feed(slot, space, Code::TooManyFeeds, why);
        }
        if self.may_read(slot, space) == Some(false) {
            self.leave_feed(slot, space);
            let (code, why) = self.no_entry(space, "you may not read here");
            return self.end_feed(slot, space, code, why);
        }
        let newest = usize::from(frame.newest).clamp(1, FEED_POSTS_MAX);
        if let Some(open) = self.connections.open_mut(slot) {
            open.feeds.insert(space.to_owned());
        }
        let is_new = !self.feeds.by_space.contains_key(space);
        if is_new {
            self.feeds.make(space);
            self.hold_space(space);
        }
        if let Some(feed) = self.feeds.by_space.get_mut(space) {
            feed.followers.insert(slot, Follower { newest, version: None });
        }
        if is_new && self.rules_of(space).is_some() {
            self.read_feed(space, PostsWanted::After(None, FEED_POSTS_MAX));
        }
        self.answer_followers(space);
    }

    /// Tells a connection that it does not follow a feed, or not any more.
    fn end_feed(&mut self, slot: Slot, space: &str, code: Code, why: &str) {
        let space = space.chars().take(ECHO_CHARS_MAX).collect();
        let retry_after_ms = self.retry_after(slot, code);
        let message = why.to_owned();
        self.send(slot, FeedEnded { space, code: code.number(), message, retry_after_ms });
    }

    /// Takes a connection off a feed, and lets go of the feed with its last follower.
    pub(super) fn leave_feed(&mut self, slot: Slot, space: &str) {
        if let Some(open) = self.connections.open_mut(slot) {
            open.feeds.remove(space);
        }
        let Some(feed) = self.feeds.by_space.get_mut(space) else { return };
        feed.followers.remove(&slot);
        if !feed.followers.is_empty() {
            return;
        }
        if let Some(Feed { key, wake, .. }) = self.feeds.by_space.remove(space) {
            self.feeds.by_key.remove(&key);
            if let Some(at) = wake {
                self.timers.disarm(at, Timer::Feed(key));
            }
        }
        self.release_space(space);
    }

    /// The rules of a space are known, or can't be read: goes on with who waits for them.
    pub(super) fn feed_rules_read(&mut self, space: &str, failure: Option<&str>) {
        for listing in self.feeds.waiting.remove(space).unwrap_or_default() {
            match failure {
                None => self.judge_listing(listing),
                Some(why) => self.refuse_listing(listing, Code::FeedUnavailable, why),
            }
        }
        let feed = self.feeds.by_space.get(space);
        let Some(feed) = feed.filter(|feed| failure.is_some() || feed.top.is_none()) else {
            return;
        };
        let slots: Vec<Slot> = feed.followers.keys().copied().collect();
        let begun = feed.reading;
        for slot in slots {
            if let Some(why) = failure {
                self.leave_feed(slot, space);
                self.end_feed(slot, space, Code::FeedUnavailable, why);
            } else {
                self.judge_feed(slot, space);
            }
        }
        if !begun {
            self.read_feed(space, PostsWanted::After(None, FEED_POSTS_MAX));
        }
    }

    /// Sends a follower away who may not read in the space any more.
    fn judge_feed(&mut self, slot: Slot, space: &str) {
        if self.may_read(slot, space) == Some(false) {
            let (code, why) = self.no_entry(space, "you may not read here");
            self.leave_feed(slot, space);
            self.end_feed(slot, space, code, why);
        }
    }

    /// Has changed rules take effect on who follows the space.
    pub(super) fn judge_feed_of(&mut self, space: &str) {
        let feed = self.feeds.by_space.get(space);
        let slots: Vec<Slot> = feed.into_iter().flat_map(|f| f.followers.keys().copied()).collect();
        for slot in slots {
            self.judge_feed(slot, space);
        }
    }

    /// A connection has proved something else about itself.
    pub(super) fn judge_feeds_of(&mut self, slot: Slot) {
        let spaces = self.connections.open(slot).map(|open| open.feeds.clone());
        for space in spaces.unwrap_or_default() {
            self.judge_feed(slot, &space);
        }
    }

    fn ask_posts(&mut self, space: &str, wanted: PostsWanted, question: Question) {
        self.last_request += 1;
        let request = RequestId(self.last_request);
        self.feeds.questions.insert(request, question);
        self.out.push(Effect::ReadPosts { request, space: space.to_owned(), wanted });
    }

    fn read_feed(&mut self, space: &str, wanted: PostsWanted) {
        let Some(feed) = self.feeds.by_space.get_mut(space) else { return };
        feed.reading = true;
        let question = Question::Feed(space.to_owned(), feed.key);
        self.ask_posts(space, wanted, question);
        self.want_summaries(space);
    }

    pub(super) fn posts_read(
        &mut self,
        now: Timestamp,
        request: RequestId,
        result: Result<Vec<Summary>, StoreError>,
    ) {
        match self.feeds.questions.remove(&request) {
            None => {}
            Some(Question::Listing(listing)) => self.answer_listing(listing, result),
            Some(Question::Feed(space, key)) => {
                let feed = self.feeds.by_space.get_mut(&space);
                let Some(feed) = feed.filter(|feed| feed.key == key) else { return };
                feed.reading = false;
                match result {
                    Ok(posts) => {
                        let top = feed.top.get_or_insert_with(|| Top::new(FEED_POSTS_MAX));
                        posts.into_iter().for_each(|post| top.put(post));
                        self.answer_followers(&space);
                        self.tell_followers(&space);
                        self.arm_feed(now, &space);
                    }
                    Err(error) => self.give_up_feed(&space, &error.to_string()),
                }
            }
        }
    }

    fn give_up_feed(&mut self, space: &str, why: &str) {
        let feed = self.feeds.by_space.get(space);
        let slots: Vec<Slot> = feed.into_iter().flat_map(|f| f.followers.keys().copied()).collect();
        for slot in slots {
            self.leave_feed(slot, space);
            self.end_feed(slot, space, Code::FeedUnavailable, why);
        }
    }

    /// Sends the posts to those who have asked for them and were not answered yet, if they take them.
    fn answer_followers(&mut self, space: &str) {
        let Some(feed) = self.feeds.by_space.get_mut(space) else { return };
        let Some(top) = &feed.top else { return };
        let mut pages: BTreeMap<usize, Bytes> = BTreeMap::new();
        for (slot, follower) in &mut feed.followers {
            let newest = follower.newest;
            if follower.version.is_some() {
                continue;
            }
            let Some(connection) = self.connections.get_mut(*slot) else { continue };
            if connection.outstanding >= self.config.outstanding_bytes_max {
                continue;
            }
            let page = pages.entry(newest).or_insert_with(|| {
                encoded(FeedFrame { space: space.to_owned(), posts: top.first(newest) })
            });
            follower.version = Some(top.version());
            self.out.send(connection, *slot, page.clone(), self.config.unread_bytes_max);
        }
    }

    /// Tells everyone who takes it what has changed since it was told.
    fn tell_followers(&mut self, space: &str) {
        let Some(feed) = self.feeds.by_space.get_mut(space) else { return };
        let Some(top) = &feed.top else { return };
        let mut told: BTreeMap<u64, Bytes> = BTreeMap::new();
        for (slot, follower) in &mut feed.followers {
            let Some(version) = follower.version.filter(|version| *version < top.version()) else {
                continue;
            };
            let Some(connection) = self.connections.get_mut(*slot) else { continue };
            if connection.outstanding >= self.config.outstanding_bytes_max {
                continue;
            }
            let message = told.entry(version).or_insert_with(|| {
                encoded(FeedChanged { space: space.to_owned(), posts: top.since(version) })
            });
            follower.version = Some(top.version());
            self.out.send(connection, *slot, message.clone(), self.config.unread_bytes_max);
        }
    }

    /// A connection has taken what it was sent: tells it what its feeds have for it.
    pub(super) fn pump_feeds(&mut self, slot: Slot) {
        let Some(open) = self.connections.open(slot) else { return };
        let behind = |space: &&String| {
            let feed = self.feeds.by_space.get(*space);
            feed.and_then(|feed| Some((feed.followers.get(&slot)?.version, feed.top.as_ref()?)))
                .is_some_and(|(version, top)| version.is_none_or(|told| told < top.version()))
        };
        let spaces: Vec<String> = open.feeds.iter().filter(behind).cloned().collect();
        for space in spaces {
            self.answer_followers(&space);
            self.tell_followers(&space);
        }
    }

    /// What a document brings to the summary of its post is durable.
    pub(super) fn feed_changed(&mut self, now: Timestamp, address: &Address) {
        let Some(feed) = self.feeds.by_space.get_mut(address.space()) else { return };
        feed.changed.insert(address.id().to_owned());
        if feed.changed.len() > FEED_POSTS_MAX {
            feed.changed.clear();
            feed.all_changed = true;
        }
        self.arm_feed(now, address.space());
    }

    /// Sees to it that what has changed is read and told, but not too often.
    fn arm_feed(&mut self, now: Timestamp, space: &str) {
        let Some(feed) = self.feeds.by_space.get_mut(space) else { return };
        let waits = feed.all_changed || !feed.changed.is_empty();
        if waits && feed.wake.is_none() && !feed.reading && feed.top.is_some() {
            let at = now.max(feed.ticked + self.config.feed_interval);
            feed.wake = Some(at);
            self.timers.arm(at, Timer::Feed(feed.key));
        }
    }

    pub(super) fn feed_due(&mut self, now: Timestamp, key: FeedKey) {
        let Some(space) = self.feeds.by_key.get(&key).cloned() else { return };
        let Some(feed) = self.feeds.by_space.get_mut(&space) else { return };
        feed.wake = None;
        feed.ticked = now;
        let changed = std::mem::take(&mut feed.changed);
        let wanted = if std::mem::take(&mut feed.all_changed) {
            PostsWanted::After(None, FEED_POSTS_MAX)
        } else {
            PostsWanted::Ids(changed.into_iter().collect())
        };
        self.read_feed(&space, wanted);
    }
}

/// A frame about posts: their number and what each takes is bounded well below a frame.
fn encoded(frame: impl Into<ServerFrame>) -> Bytes {
    frame.into().encode().expect("a page is well below a frame")
}
