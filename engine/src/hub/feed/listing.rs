//! Lists of posts that are asked for once, page by page. Nothing of them is kept.

use super::{Hub, Phase, Question, Slot};
use crate::clock::Timestamp;
use crate::codes::Code;
use crate::hub::connection::Peer;
use crate::ids::check_name;
use crate::limits::{FEED_POSTS_MAX, LISTINGS_MAX};
use crate::storage::{PostsWanted, StoreError};
use crate::summary::{Place, Summary};
use crate::wire::frame::{ListPosts, Posts, PostsRefused};

/// A list that somebody waits for. The space is held until it is answered.
#[derive(Debug)]
pub(super) struct Listing {
    peer: Peer,
    nonce: u64,
    space: String,
    after: Option<Place>,
    limit: usize,
}

impl Hub {
    pub(in crate::hub) fn list_posts(&mut self, slot: Slot, frame: ListPosts) {
        let ListPosts { nonce, space, after, limit } = frame;
        let named = after.as_ref().map_or(Ok(()), |after| check_name("a document id", &after.id));
        if let Err(error) = check_name("a space", &space).and(named) {
            return self.no_posts(slot, nonce, Code::BadAddress, &error.to_string());
        }
        if !matches!(self.phase, Phase::Running) {
            let why = "the server is going away for a moment";
            return self.no_posts(slot, nonce, Code::ShuttingDown, why);
        }
        let Some(peer) = self.connections.peer(slot) else { return };
        let Some(open) = self.connections.open_mut(slot) else { return };
        if open.listings >= LISTINGS_MAX {
            let why = "wait for the lists that you have asked for";
            return self.no_posts(slot, nonce, Code::Overloaded, why);
        }
        open.listings += 1;
        let after = after.map(|place| Place::new(Timestamp(place.active_ms), place.id));
        let limit = usize::from(limit).clamp(1, FEED_POSTS_MAX);
        self.hold_space(&space);
        let known = self.rules_of(&space).is_some();
        let listing = Listing { peer, nonce, space, after, limit };
        if known {
            self.judge_listing(listing);
        } else {
            self.feeds.waiting.entry(listing.space.clone()).or_default().push(listing);
        }
    }

    fn no_posts(&mut self, slot: Slot, nonce: u64, code: Code, why: &str) {
        let retry_after_ms = self.retry_after(slot, code);
        let (code, message) = (code.number(), why.to_owned());
        self.send(slot, PostsRefused { nonce, code, message, retry_after_ms });
    }

    /// The rules are known: has the list read, if it may be.
    pub(super) fn judge_listing(&mut self, listing: Listing) {
        if self.connections.peer_mut(listing.peer).is_none() {
            return self.release_space(&listing.space);
        }
        if self.may_read(listing.peer.slot, &listing.space) != Some(true) {
            let (code, why) = self.no_entry(&listing.space, "you may not read here");
            return self.refuse_listing(listing, code, why);
        }
        let space = listing.space.clone();
        if listing.after.is_none() {
            self.want_summaries(&space);
        }
        // One more tells whether there are more.
        let wanted = PostsWanted::After(listing.after.clone(), listing.limit + 1);
        self.ask_posts(&space, wanted, Question::Listing(listing));
    }

    pub(super) fn refuse_listing(&mut self, listing: Listing, code: Code, why: &str) {
        let Listing { peer, nonce, space, .. } = listing;
        if self.end_listing(peer, &space) {
            self.no_posts(peer.slot, nonce, code, why);
        }
    }

    pub(super) fn answer_listing(
        &mut self,
        listing: Listing,
        result: Result<Vec<Summary>, StoreError>,
    ) {
        // The rules may have changed meanwhile.
        if self.may_read(listing.peer.slot, &listing.space) != Some(true) {
            let (code, why) = self.no_entry(&listing.space, "you may not read here");
            return self.refuse_listing(listing, code, why);
        }
        match result {
            Err(error) => self.refuse_listing(listing, Code::FeedUnavailable, &error.to_string()),
            Ok(found) => {
                let Listing { peer, nonce, space, limit, .. } = listing;
                if self.end_listing(peer, &space) {
                    let more = found.len() > limit;
                    let posts = found.iter().take(limit).filter_map(Summary::to_wire).collect();
                    self.send(peer.slot, Posts { nonce, posts, more });
                }
            }
        }
    }

    /// Says whether there still is somebody to answer.
    fn end_listing(&mut self, peer: Peer, space: &str) -> bool {
        self.release_space(space);
        let connection = self.connections.peer_mut(peer);
        let Some(open) = connection.and_then(|connection| connection.open_mut()) else {
            return false;
        };
        open.listings = open.listings.saturating_sub(1);
        true
    }
}
