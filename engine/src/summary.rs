//! What a list shows of a post without opening it: title, author, status, counts, last activity.
//! Values only; who makes them and who keeps them is elsewhere, and no document is known here.
//!
//! The three documents of a post each bring their [`Part`]; a [`Summary`] is what is known of all of
//! them. Its size is bounded, whatever the documents hold.

use crate::clock::Timestamp;
use crate::document::{PostStatus, Target, View};
use crate::ids::{Address, Facet, UserId, check_name};
use crate::wire::frame::PostSummary;
use crate::wire::{decode_stored, encode_stored};

/// Characters of a title that a summary shows.
pub const TITLE_CHARS_MAX: usize = 120;
/// A title of more characters is not put in order for a summary, because that takes time for each of
/// them: it is shown as empty.
pub const TITLE_ORDERED_MAX: usize = 1_024;
/// Reactions that a summary counts by name, the most frequent first.
pub const REACTIONS_MAX: usize = 8;
/// To what activity is told: a post that is written to all the time moves in its list once in this.
const ACTIVITY_MS: u64 = 1_000;
/// The version of the stored form.
const VERSION: u8 = 1;

/// What the post itself brings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostPart {
    /// Who created it.
    pub author: UserId,
    /// When, by its author's clock.
    pub created: Timestamp,
    /// Whether it is shown.
    pub status: PostStatus,
    /// The beginning of its title, at most [`TITLE_CHARS_MAX`] characters; empty where the post is
    /// hidden or deleted.
    pub title: String,
}

/// What its likes bring.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LikesPart {
    /// Reactions to the post, of all kinds.
    pub likes: u64,
    /// By reaction, the most frequent first and by name where they are equal, at most
    /// [`REACTIONS_MAX`].
    pub reactions: Vec<(String, u64)>,
}

/// What its comments bring.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CommentsPart {
    /// Comments that are not deleted.
    pub comments: u64,
    /// Comments that are.
    pub deleted: u64,
}

/// What one document brings to the summary of its post.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// Of the facet `post`.
    Post(PostPart),
    /// Of the facet `likes`.
    Likes(LikesPart),
    /// Of the facet `comments`.
    Comments(CommentsPart),
}

impl Part {
    /// What a document brings that is open, in the same words; `None` if it is a post that was not
    /// created, or no part of one.
    #[must_use]
    pub fn of_view(view: &View) -> Option<Self> {
        match view {
            View::Post(view) => {
                let is_short = view.title().chars().count() <= TITLE_ORDERED_MAX;
                let is_shown = is_short && view.status() == PostStatus::Published;
                let title = view.title().chars().take(if is_shown { TITLE_CHARS_MAX } else { 0 });
                Some(Self::Post(PostPart {
                    author: view.author()?.clone(),
                    created: view.created().unwrap_or_default(),
                    status: view.status(),
                    title: title.collect(),
                }))
            }
            View::Likes(view) => {
                let all = view.reactions(Target::Post);
                let mut reactions: Vec<(String, u64)> =
                    all.map(|(name, count)| (name.to_owned(), count as u64)).collect();
                // They come sorted by name.
                reactions.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
                reactions.truncate(REACTIONS_MAX);
                let likes = view.total(Target::Post) as u64;
                Some(Self::Likes(LikesPart { likes, reactions }))
            }
            View::Comments(view) => {
                let (all, comments) = (view.len() as u64, view.live() as u64);
                Some(Self::Comments(CommentsPart { comments, deleted: all - comments }))
            }
            View::Json(_) => None,
        }
    }
}

/// What one document brings, and when it last changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Brought {
    /// When its last change was accepted.
    pub at: Timestamp,
    /// What it brings.
    pub part: Part,
}

impl Brought {
    /// Whether another, brought later, makes no difference.
    pub(crate) fn says_as_much(&self, later: &Self) -> bool {
        self.part == later.part && self.at.0 / ACTIVITY_MS == later.at.0 / ACTIVITY_MS
    }
}

/// A post's place in the order of its space: the most recently active first, those of one moment by
/// their ids.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    // In this order; the field holds the time's complement, so that later comes first.
    before_ms: u64,
    id: String,
}

impl Place {
    /// The place of a post that was last active at a time.
    #[must_use]
    pub const fn new(active: Timestamp, id: String) -> Self {
        Self { before_ms: !active.0, id }
    }

    /// When the post was last active.
    #[must_use]
    pub const fn active(&self) -> Timestamp {
        Timestamp(!self.before_ms)
    }

    /// The post's id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }
}

/// What is known of one post.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// Its id in its space.
    pub id: String,
    /// When a change of any of its documents was last accepted, in whole seconds.
    pub active: Timestamp,
    /// What the post brings; `None` if it has not been created or not been summarised.
    pub post: Option<PostPart>,
    /// What its likes bring.
    pub likes: Option<LikesPart>,
    /// What its comments bring.
    pub comments: Option<CommentsPart>,
}

impl Summary {
    /// Of a post of which nothing is known.
    #[must_use]
    pub const fn new(id: String) -> Self {
        Self { id, active: Timestamp(0), post: None, likes: None, comments: None }
    }

    /// Takes in what a document brings.
    pub fn take_in(&mut self, brought: &Brought) {
        let Brought { at, part } = brought;
        self.active = self.active.max(Timestamp(at.0 - at.0 % ACTIVITY_MS));
        match part {
            Part::Post(part) => self.post = Some(part.clone()),
            Part::Likes(part) => self.likes = Some(part.clone()),
            Part::Comments(part) => self.comments = Some(*part),
        }
    }

    /// Whether it has what a document of this facet brings.
    #[must_use]
    pub const fn has(&self, facet: Facet) -> bool {
        match facet {
            Facet::Post => self.post.is_some(),
            Facet::Likes => self.likes.is_some(),
            Facet::Comments => self.comments.is_some(),
            Facet::Json | Facet::Stream => true,
        }
    }

    /// Where it is listed: nowhere until the post has been created.
    #[must_use]
    pub fn place(&self) -> Option<Place> {
        self.post.as_ref().map(|_| Place::new(self.active, self.id.clone()))
    }

    /// What travels; `None` until the post has been created.
    #[must_use]
    pub fn to_wire(&self) -> Option<PostSummary> {
        self.post.as_ref().map(|_| self.all())
    }

    /// All that is known, with nothing in the place of what is not.
    fn all(&self) -> PostSummary {
        let post = self.post.as_ref();
        let likes = self.likes.clone().unwrap_or_default();
        let comments = self.comments.unwrap_or_default();
        PostSummary {
            id: self.id.clone(),
            active_ms: self.active.0,
            author: post.map(|post| post.author.to_string()).unwrap_or_default(),
            created_ms: post.map_or(0, |post| post.created.0),
            status: match post.map(|post| post.status) {
                Some(PostStatus::Published) | None => 0,
                Some(PostStatus::Hidden) => 1,
                Some(PostStatus::Deleted) => 2,
            },
            title: post.map(|post| post.title.clone()).unwrap_or_default(),
            likes: likes.likes,
            reactions: likes.reactions,
            comments: comments.comments,
            deleted: comments.deleted,
        }
    }

    /// As JSON, for people and for programs that don't speak frames, times in milliseconds since 1970;
    /// `null` until the post has been created.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        let Some(post) = &self.post else { return serde_json::Value::Null };
        let likes = self.likes.clone().unwrap_or_default();
        let comments = self.comments.unwrap_or_default();
        let reactions: serde_json::Map<_, _> =
            likes.reactions.into_iter().map(|(name, count)| (name, count.into())).collect();
        serde_json::json!({
            "id": self.id,
            "active": self.active.0,
            "author": post.author.as_str(),
            "created": post.created.0,
            "status": post.status.as_str(),
            "title": post.title,
            "likes": likes.likes,
            "reactions": reactions,
            "comments": comments.comments,
            "deleted": comments.deleted,
        })
    }

    /// Reads what travelled; `None` if it is not what a server sends.
    #[must_use]
    pub fn of_wire(wire: PostSummary) -> Option<Self> {
        Self::of(wire, true)
    }

    fn of(wire: PostSummary, created: bool) -> Option<Self> {
        check_name("a document id", &wire.id).ok()?;
        let status = match wire.status {
            0 => PostStatus::Published,
            1 => PostStatus::Hidden,
            2 => PostStatus::Deleted,
            _ => return None,
        };
        let post = if created {
            let author = UserId::new(&wire.author).ok()?;
            Some(PostPart {
                author,
                created: Timestamp(wire.created_ms),
                status,
                title: wire.title,
            })
        } else {
            None
        };
        let likes = LikesPart { likes: wire.likes, reactions: wire.reactions };
        let comments = CommentsPart { comments: wire.comments, deleted: wire.deleted };
        Some(Self {
            id: wire.id,
            active: Timestamp(wire.active_ms),
            post,
            likes: Some(likes),
            comments: Some(comments),
        })
    }

    /// The bytes that a store keeps: a version, which parts there are, and what would travel.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let parts = [self.post.is_some(), self.likes.is_some(), self.comments.is_some()];
        let bits = (0..).zip(parts).map(|(bit, there)| u8::from(there) << bit);
        let mut out = vec![VERSION, bits.sum()];
        out.extend(encode_stored(&self.all()));
        out
    }

    /// Reads what [`Self::encode`] wrote; `None` if it is not that.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let [VERSION, bits @ 0..8, wire @ ..] = bytes else { return None };
        let has = |bit: u8| bits & (1 << bit) != 0;
        let mut summary = Self::of(decode_stored(wire).ok()?, has(0))?;
        summary.likes = summary.likes.filter(|_| has(1));
        summary.comments = summary.comments.filter(|_| has(2));
        Some(summary)
    }
}

/// Whether a document brings anything to the summary of a post.
#[must_use]
pub fn is_summarised(address: &Address) -> bool {
    address.facet() != Facet::Json
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::{FEED_POSTS_MAX, FRAME_BYTES_MAX, NAME_BYTES_MAX, REACTION_BYTES_MAX};
    use crate::wire::ServerFrame;
    use crate::wire::frame::Feed;

    fn post() -> Brought {
        let part = PostPart {
            author: UserId::new("ada").unwrap(),
            created: Timestamp(1_500),
            status: PostStatus::Hidden,
            title: String::new(),
        };
        Brought { at: Timestamp(2_999), part: Part::Post(part) }
    }

    #[test]
    fn every_mixture_of_parts_comes_back_from_its_stored_form() {
        let likes =
            LikesPart { likes: 3, reactions: vec![("👍".to_owned(), 2), ("x".to_owned(), 1)] };
        let likes = Brought { at: Timestamp(1_000), part: Part::Likes(likes) };
        let comments = CommentsPart { comments: 7, deleted: 1 };
        let comments = Brought { at: Timestamp(9_001), part: Part::Comments(comments) };
        let all = [post(), likes, comments];
        for mask in 0..8_usize {
            let mut summary = Summary::new("one".to_owned());
            for (place, brought) in all.iter().enumerate() {
                if mask & (1 << place) != 0 {
                    summary.take_in(brought);
                }
            }
            assert_eq!(summary.place().is_some(), mask & 1 != 0);
            let bytes = summary.encode();
            assert_eq!(Summary::decode(&bytes), Some(summary), "mask {mask}");
            for len in 0..bytes.len() {
                assert_eq!(Summary::decode(&bytes[..len]), None);
            }
        }
    }

    #[test]
    fn a_full_page_of_the_largest_summaries_is_well_below_a_frame() {
        let largest = PostSummary {
            id: "i".repeat(NAME_BYTES_MAX),
            active_ms: u64::MAX,
            author: "a".repeat(NAME_BYTES_MAX),
            created_ms: u64::MAX,
            status: 2,
            title: "\u{1f600}".repeat(TITLE_CHARS_MAX),
            likes: u64::MAX,
            reactions: vec![("r".repeat(REACTION_BYTES_MAX), u64::MAX); REACTIONS_MAX],
            comments: u64::MAX,
            deleted: u64::MAX,
        };
        let space = "s".repeat(NAME_BYTES_MAX);
        let page = Feed { space, posts: vec![largest; FEED_POSTS_MAX] };
        let message = ServerFrame::from(page.clone()).encode().unwrap();
        assert!(message.len() < FRAME_BYTES_MAX / 2 + 1_000, "{} bytes", message.len());
        assert_eq!(ServerFrame::decode(&message), Ok(page.into()));
    }

    #[test]
    fn activity_is_told_in_whole_seconds_and_never_goes_back() {
        let mut summary = Summary::new("one".to_owned());
        summary.take_in(&post());
        assert_eq!(summary.active, Timestamp(2_000));
        summary
            .take_in(&Brought { at: Timestamp(10), part: Part::Comments(CommentsPart::default()) });
        assert_eq!(summary.active, Timestamp(2_000));
    }

    #[test]
    fn later_activity_comes_first() {
        let place = |at, id: &str| Place::new(Timestamp(at), id.to_owned());
        let mut places = vec![place(1, "a"), place(2, "b"), place(2, "a"), place(3, "z")];
        places.sort();
        assert_eq!(places, [place(3, "z"), place(2, "a"), place(2, "b"), place(1, "a")]);
        assert_eq!(places[0].active(), Timestamp(3));
    }
}
