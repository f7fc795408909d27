//! A document as it is shown, kept up by what each change did, and what to tell whoever shows it.
//! Must never keep an object id: a rebase gives everything new ones.

use automerge::{Automerge, Patch, TextEncoding};

use super::json::PathSegment;
use super::likes::{Counter, Target};
use super::post::PostStatus;
use super::{CommentsView, JsonView, LikesView, PostView, genesis};
use crate::ids::{Address, Facet, Ulid, UserId};

/// A document as it is shown.
#[derive(Debug, Clone, PartialEq)]
pub enum View {
    /// A post.
    Post(PostView),
    /// Likes.
    Likes(LikesView),
    /// Comments.
    Comments(CommentsView),
    /// A schemaless document.
    Json(JsonView),
}

/// What changed for a reader. Positions and lengths are in the units of the document's text encoding,
/// and each one counts in the text as the events before it have left it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The post was written.
    PostCreated {
        /// By whom.
        author: UserId,
    },
    /// The writing of the post was rolled back.
    PostRemoved,
    /// The title changed.
    TitleSpliced {
        /// Where.
        index: usize,
        /// How much went away there.
        deleted: usize,
        /// What came instead.
        inserted: String,
    },
    /// The body changed.
    BodySpliced {
        /// Where.
        index: usize,
        /// How much went away there.
        deleted: usize,
        /// What came instead.
        inserted: String,
    },
    /// Marks in the body changed.
    MarksChanged {
        /// The first position.
        start: usize,
        /// The position behind the last.
        end: usize,
    },
    /// A tag was added.
    TagAdded {
        /// Which.
        tag: String,
    },
    /// A tag was removed.
    TagRemoved {
        /// Which.
        tag: String,
    },
    /// A user may edit.
    EditorAdded {
        /// Who.
        user: UserId,
    },
    /// A user may no longer edit.
    EditorRemoved {
        /// Who.
        user: UserId,
    },
    /// The post was shown, hidden or deleted.
    StatusChanged {
        /// Its status.
        status: PostStatus,
    },
    /// Somebody liked.
    LikeAdded {
        /// What.
        target: Target,
        /// How.
        reaction: String,
        /// Who.
        user: UserId,
    },
    /// Somebody took a like back.
    LikeRemoved {
        /// What.
        target: Target,
        /// How.
        reaction: String,
        /// Who.
        user: UserId,
    },
    /// A counter moved.
    CounterChanged {
        /// Which.
        counter: Counter,
        /// Its value.
        value: i64,
    },
    /// A comment appeared.
    CommentAdded {
        /// Its id.
        id: Ulid,
        /// What it answers.
        parent: Option<Ulid>,
        /// Who wrote it.
        author: UserId,
    },
    /// A comment changed (or, after a rollback, its deletion was taken back).
    CommentEdited {
        /// Which.
        id: Ulid,
    },
    /// A comment was deleted; its tombstone stays.
    CommentDeleted {
        /// Which.
        id: Ulid,
    },
    /// The writing of a comment was rolled back.
    CommentRemoved {
        /// Which.
        id: Ulid,
    },
    /// Something changed at or under a place in a schemaless document.
    JsonChanged {
        /// The place.
        path: Vec<PathSegment>,
    },
}

impl View {
    /// Reads the whole document.
    #[must_use]
    pub fn read(facet: Facet, doc: &Automerge) -> Self {
        match facet {
            Facet::Post => Self::Post(PostView::read(doc)),
            Facet::Likes => Self::Likes(LikesView::read(doc)),
            Facet::Comments => Self::Comments(CommentsView::read(doc)),
            Facet::Json | Facet::Stream => Self::Json(JsonView::read(doc)),
        }
    }

    /// What a document that holds its genesis and nothing else shows: the same as
    /// [`View::read`] of it.
    #[must_use]
    pub fn of_genesis(address: &Address, encoding: TextEncoding) -> Self {
        match address.facet() {
            Facet::Post => Self::Post(PostView::of_genesis(encoding)),
            Facet::Likes => Self::Likes(LikesView::of_genesis()),
            Facet::Comments => Self::Comments(CommentsView::default()),
            // It has maps from the beginning.
            Facet::Json if address.is_rules() => {
                Self::read(Facet::Json, &genesis::document(address, encoding))
            }
            Facet::Json | Facet::Stream => Self::Json(JsonView::of_genesis(encoding)),
        }
    }

    /// Which kind of document it shows.
    #[must_use]
    pub const fn facet(&self) -> Facet {
        match self {
            Self::Post(_) => Facet::Post,
            Self::Likes(_) => Facet::Likes,
            Self::Comments(_) => Facet::Comments,
            Self::Json(_) => Facet::Json,
        }
    }

    /// Whether it shows text with marks.
    pub(crate) fn has_marks(&self) -> bool {
        match self {
            Self::Post(post) => post.has_marks(),
            Self::Likes(_) | Self::Comments(_) | Self::Json(_) => false,
        }
    }

    /// Follows what changes did to the document, at a cost that depends on them alone.
    ///
    /// The view must show the state in which the patches begin, and `doc` be in the state in which
    /// they end.
    pub fn patch(&mut self, doc: &Automerge, patches: &[Patch]) -> Vec<Event> {
        if patches.is_empty() {
            return Vec::new();
        }
        match self {
            Self::Post(view) => view.patch(doc, patches),
            Self::Likes(view) => view.patch(doc, patches),
            Self::Comments(view) => view.patch(doc, patches),
            Self::Json(view) => view.patch(doc, patches),
        }
    }

    /// What a reader of this view has to be told to arrive at a newer one. A view of another facet
    /// has nothing in common with this one, and gives nothing.
    #[must_use]
    pub fn diff(&self, newer: &Self) -> Vec<Event> {
        match (self, newer) {
            (Self::Post(old), Self::Post(new)) => old.diff(new),
            (Self::Likes(old), Self::Likes(new)) => old.diff(new),
            (Self::Comments(old), Self::Comments(new)) => old.diff(new),
            (Self::Json(old), Self::Json(new)) => old.diff(new),
            (Self::Post(_) | Self::Likes(_) | Self::Comments(_) | Self::Json(_), _) => Vec::new(),
        }
    }
}
