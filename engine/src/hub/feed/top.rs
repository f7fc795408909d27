//! The most recently active posts of one space, with the version at which each last changed: from that
//! follows what somebody has to be told who was told everything up to some version. Knows no
//! connection and no store.

use std::collections::{BTreeMap, BTreeSet};

use crate::summary::{Place, Summary};
use crate::wire::frame::PostSummary;

#[derive(Debug)]
struct Post {
    summary: Summary,
    place: Place,
    version: u64,
}

/// A bounded number of posts.
#[derive(Debug, Default)]
pub(super) struct Top {
    posts_max: usize,
    by_id: BTreeMap<String, Post>,
    order: BTreeSet<Place>,
    /// The ids by version; each has one.
    changes: BTreeMap<u64, String>,
    /// Counts changes; the highest is the present.
    version: u64,
}

impl Top {
    pub(super) fn new(posts_max: usize) -> Self {
        Self { posts_max, ..Self::default() }
    }

    /// How many changes there were; whoever was told all of them is at this version.
    pub(super) const fn version(&self) -> u64 {
        self.version
    }

    /// Takes in what a post is. One that has not been created is not listed; one that is the same
    /// as before has not changed.
    pub(super) fn put(&mut self, summary: Summary) {
        let Some(place) = summary.place() else { return };
        let known = self.by_id.get(&summary.id);
        if known.is_some_and(|known| known.summary == summary) {
            return;
        }
        let last = self.order.last().filter(|_| self.order.len() >= self.posts_max);
        if known.is_none() && last.is_some_and(|last| place > *last) {
            return;
        }
        self.drop(&summary.id.clone());
        self.version += 1;
        self.changes.insert(self.version, summary.id.clone());
        self.order.insert(place.clone());
        let id = summary.id.clone();
        self.by_id.insert(id, Post { summary, place, version: self.version });
        while self.order.len() > self.posts_max
            && let Some(last) = self.order.last().cloned()
        {
            self.drop(last.id());
        }
    }

    fn drop(&mut self, id: &str) {
        if let Some(post) = self.by_id.remove(id) {
            self.order.remove(&post.place);
            self.changes.remove(&post.version);
        }
    }

    /// The first so many, in order.
    pub(super) fn first(&self, count: usize) -> Vec<PostSummary> {
        let posts = self.order.iter().take(count).filter_map(|place| self.by_id.get(place.id()));
        posts.filter_map(|post| post.summary.to_wire()).collect()
    }

    /// Those that changed after a version, the latest change last.
    pub(super) fn since(&self, version: u64) -> Vec<PostSummary> {
        let changed = self.changes.range(version + 1..);
        let posts = changed.filter_map(|(_, id)| self.by_id.get(id));
        posts.filter_map(|post| post.summary.to_wire()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::document::PostStatus;
    use crate::ids::UserId;
    use crate::summary::{Brought, Part, PostPart};

    fn summary(id: &str, at: u64) -> Summary {
        let part = Part::Post(PostPart {
            author: UserId::new("ada").unwrap(),
            created: Timestamp(1),
            status: PostStatus::Published,
            title: id.to_owned(),
        });
        let mut summary = Summary::new(id.to_owned());
        summary.take_in(&Brought { at: Timestamp(at * 1_000), part });
        summary
    }

    fn ids(posts: &[PostSummary]) -> Vec<&str> {
        posts.iter().map(|post| post.id.as_str()).collect()
    }

    #[test]
    fn the_least_active_leave_and_late_ones_come_in_only_where_they_belong() {
        let mut top = Top::new(3);
        for (id, at) in [("a", 1), ("b", 2), ("c", 3), ("d", 4)] {
            top.put(summary(id, at));
        }
        assert_eq!(ids(&top.first(9)), ["d", "c", "b"]);
        let version = top.version();
        top.put(summary("old", 1));
        assert_eq!((top.version(), ids(&top.first(9))), (version, vec!["d", "c", "b"]));
        top.put(summary("e", 3));
        assert_eq!(ids(&top.first(9)), ["d", "c", "e"]);
        top.put(summary("c", 9));
        assert_eq!(ids(&top.first(2)), ["c", "d"]);
    }

    #[test]
    fn each_is_told_once_what_it_was_not_told_and_what_is_the_same_is_no_change() {
        let mut top = Top::new(3);
        for (id, at) in [("a", 1), ("b", 2), ("c", 3)] {
            top.put(summary(id, at));
        }
        let told = top.version();
        assert!(top.since(told).is_empty());
        top.put(summary("b", 2));
        assert_eq!(top.version(), told);
        top.put(summary("a", 5));
        top.put(summary("b", 6));
        top.put(summary("a", 7));
        assert_eq!(ids(&top.since(told)), ["b", "a"]);
        assert_eq!(ids(&top.since(0)).len(), 3);
        assert_eq!(top.changes.len(), 3, "what was told of a post before is forgotten");
    }
}
