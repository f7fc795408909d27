//! What people follow without opening it, and what that must show once it is quiet: what follows from
//! the documents themselves.

use std::collections::BTreeMap;

use syncline_engine::clock::Timestamp;
use syncline_engine::session::{FeedStatus, Input};
use syncline_engine::summary::{Brought, Part, Summary};
use syncline_engine::wire::frame::PostSummary;

use crate::choices::Choices;
use crate::world::World;

/// The space whose posts are followed.
const SPACE: &str = "sim";

impl World {
    /// Somebody follows the posts of a space, or leaves them.
    pub(crate) fn some_feed_act(&mut self, client: usize, pick: u64) -> bool {
        if !self.is_awake(client) {
            return false;
        }
        let mut choices = Choices::new(pick);
        if choices.per_mille(250) {
            self.report.count_act("feed_leave");
            self.clients[client].app.feeds.remove(SPACE);
            self.tell_client(client, Input::LeaveFeed { space: SPACE.to_owned() });
        } else {
            let newest = [1, 2, 50][choices.index(3)];
            self.report.count_act("feed_follow");
            self.clients[client].app.feeds.insert(SPACE.to_owned(), newest);
            self.tell_client(client, Input::FollowFeed { space: SPACE.to_owned(), newest });
        }
        true
    }

    /// The app begins again, and follows what it followed.
    pub(crate) fn return_to_feeds(&mut self, client: usize) {
        for (space, newest) in self.clients[client].app.feeds.clone() {
            self.tell_client(client, Input::FollowFeed { space, newest });
        }
    }

    /// Feeds that ended are followed again.
    pub(crate) fn follow_again(&mut self, client: usize) {
        let of = &self.clients[client];
        let ended = |(space, _): &(&String, &usize)| {
            let feed = of.session.feed(space);
            feed.is_some_and(|feed| matches!(feed.status(), FeedStatus::Ended { .. }))
        };
        let ended: Vec<(String, usize)> =
            of.app.feeds.iter().filter(ended).map(|(s, n)| (s.clone(), *n)).collect();
        for (space, newest) in ended {
            self.report.count_incident("feed_followed_again");
            self.tell_client(client, Input::FollowFeed { space, newest });
        }
    }

    /// Whether every feed that is followed shows what the server has.
    pub(crate) fn feeds_are_quiet(&self) -> bool {
        self.clients.iter().all(|client| {
            let live = |space: &String| {
                client.session.feed(space).is_some_and(|feed| *feed.status() == FeedStatus::Live)
            };
            client.app.feeds.keys().all(live)
        })
    }

    /// What every feed shows is what follows from the documents, which were judged before.
    pub(crate) fn judge_feeds(&mut self) {
        let mut summaries: BTreeMap<String, Summary> = BTreeMap::new();
        for (address, view) in self.views.iter().filter(|(at, _)| at.space() == SPACE) {
            let last_at = self.oracle.mirror.logs.get(address).map(|log| log.last_at);
            let (Some(part), Some(at)) = (Part::of_view(view), last_at) else { continue };
            let id = address.id().to_owned();
            let summary = summaries.entry(id.clone()).or_insert_with(|| Summary::new(id));
            summary.take_in(&Brought { at: Timestamp(at), part });
        }
        let mut listed: Vec<&Summary> =
            summaries.values().filter(|s| s.place().is_some()).collect();
        listed.sort_by_key(|summary| summary.place());
        let mut found = Vec::new();
        for client in &self.clients {
            for (space, newest) in &client.app.feeds {
                let Some(feed) = client.session.feed(space) else { continue };
                let shown: Vec<PostSummary> = feed
                    .posts()
                    .filter_map(Summary::to_wire)
                    .map(|p| self.without_time(p))
                    .collect();
                let first = listed.iter().take(*newest);
                let mut expected: Vec<PostSummary> =
                    first.filter_map(|s| s.to_wire()).map(|p| self.without_time(p)).collect();
                let mut same = shown == expected;
                if self.forgets_activity() {
                    // So the order is not known.
                    let all = listed.iter().filter_map(|s| s.to_wire());
                    expected = all.map(|p| self.without_time(p)).collect();
                    same = shown.len() == expected.len().min(*newest)
                        && shown.iter().all(|post| expected.contains(post));
                }
                if !same {
                    let number = client.number;
                    found.push(format!("client {number} sees {shown:?} instead of {expected:?}"));
                }
            }
        }
        for what in found {
            self.complain("feed", what);
        }
    }

    /// Whether the server may not know any more when a post was last active: something was lost, or
    /// its summaries were made anew from documents, of which an epoch says only when it began.
    const fn forgets_activity(&self) -> bool {
        self.destroyed || self.repaired
    }

    /// A summary, without when it was active where the server may not know that any more.
    fn without_time(&self, mut post: PostSummary) -> PostSummary {
        if self.forgets_activity() {
            post.active_ms = 0;
        }
        post
    }
}
