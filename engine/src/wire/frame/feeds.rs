//! The bodies of the frames about the posts of a space. What a summary means is told in
//! [`crate::summary`].

use bincode::{Decode, Encode};

/// Asks for the most recently active posts of a space, and to be told what changes.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct FollowFeed {
    /// Which space.
    pub space: String,
    /// How many posts at most.
    pub newest: u16,
}

/// Asks not to be told any more.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct LeaveFeed {
    /// Of which space.
    pub space: String,
}

/// Asks once for posts of a space, by activity.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct ListPosts {
    /// Comes back in the answer.
    pub nonce: u64,
    /// Which space.
    pub space: String,
    /// Those that come after this one; from the beginning if `None`.
    pub after: Option<WirePlace>,
    /// How many at most.
    pub limit: u16,
}

/// A post's place in the order of its space.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct WirePlace {
    /// When it was last active, in milliseconds since the Unix epoch.
    pub active_ms: u64,
    /// Its id.
    pub id: String,
}

/// What a list shows of a post.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct PostSummary {
    /// Its id in its space.
    pub id: String,
    /// When a change of any of its documents was last accepted, in milliseconds since the Unix epoch,
    /// in whole seconds.
    pub active_ms: u64,
    /// Who created it.
    pub author: String,
    /// When, by its author's clock, in milliseconds since the Unix epoch.
    pub created_ms: u64,
    /// 0 published, 1 hidden, 2 deleted.
    pub status: u8,
    /// The beginning of its title; empty where it is hidden or deleted.
    pub title: String,
    /// Reactions to it, of all kinds.
    pub likes: u64,
    /// The most frequent of them.
    pub reactions: Vec<(String, u64)>,
    /// Comments that are not deleted.
    pub comments: u64,
    /// Comments that are.
    pub deleted: u64,
}

/// Answers `FollowFeed`: takes the place of all that was told before of the space.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Feed {
    /// Of which space.
    pub space: String,
    /// The posts, the most recently active first.
    pub posts: Vec<PostSummary>,
}

/// Posts that are new or have changed. One encoded frame serves every follower that was told the
/// same before.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct FeedChanged {
    /// Of which space.
    pub space: String,
    /// The posts as they are, in no order.
    pub posts: Vec<PostSummary>,
}

/// Answers `ListPosts`.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Posts {
    /// From the question.
    pub nonce: u64,
    /// The posts, the most recently active first.
    pub posts: Vec<PostSummary>,
    /// Whether there are more after them.
    pub more: bool,
}

/// A feed is not served, or not any more.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct FeedEnded {
    /// Of which space, as it was asked for.
    pub space: String,
    /// Why: a [`crate::codes::Code`].
    pub code: u16,
    /// A sentence that helps.
    pub message: String,
    /// When to ask again, if that makes sense.
    pub retry_after_ms: Option<u32>,
}

/// Answers `ListPosts` where there is no list.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct PostsRefused {
    /// From the question.
    pub nonce: u64,
    /// Why: a [`crate::codes::Code`].
    pub code: u16,
    /// A sentence that helps.
    pub message: String,
    /// When to ask again, if that makes sense.
    pub retry_after_ms: Option<u32>,
}
