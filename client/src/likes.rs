//! The likes of a post as an app sees them. Must never know how they are stored or sent.

use syncline_engine::document::{Command, Counter, LikesCommand, LikesView, Target, View};
use syncline_engine::ids::UserId;

use crate::document::{CommandError, Document, Pending};

/// The likes of a post and its comments, open.
#[derive(Debug, Clone)]
pub struct Likes {
    document: Document,
}

impl Likes {
    pub(crate) const fn new(document: Document) -> Self {
        Self { document }
    }

    /// The document behind it: its status, its events, its address.
    #[must_use]
    pub const fn document(&self) -> &Document {
        &self.document
    }

    /// Looks at the likes without a copy; see [`Document::with_view`].
    pub fn with<R>(&self, look: impl FnOnce(&LikesView) -> R) -> R {
        self.document.with_view(|view| match view {
            View::Likes(likes) => look(likes),
            View::Post(_) | View::Comments(_) | View::Json(_) => {
                unreachable!("the address says likes")
            }
        })
    }

    /// How many users reacted to this in this way.
    #[must_use]
    pub fn count(&self, target: Target, reaction: &str) -> usize {
        self.with(|likes| likes.count(target, reaction))
    }

    /// Whether a user reacted to this in this way.
    #[must_use]
    pub fn contains(&self, target: Target, reaction: &str, user: &UserId) -> bool {
        self.with(|likes| likes.contains(target, reaction, user))
    }

    /// The value of a counter.
    #[must_use]
    pub fn counter(&self, counter: Counter) -> i64 {
        self.with(|likes| likes.counter(counter))
    }

    /// How often the post was seen.
    #[must_use]
    pub fn view_counter(&self) -> i64 {
        self.counter(Counter::Views)
    }

    /// How often the post was passed on.
    #[must_use]
    pub fn share_counter(&self) -> i64 {
        self.counter(Counter::Shares)
    }

    /// Likes, as the client's user. Changes nothing if the user likes it already.
    ///
    /// # Errors
    /// If the reaction is not acceptable.
    pub fn like(&self, target: Target, reaction: &str) -> Result<Pending, CommandError> {
        let (user, reaction) = (self.document.user().clone(), reaction.to_owned());
        self.document.issue(|_, moment| {
            let at = moment.id_after(None);
            Command::Likes(LikesCommand::Like { target, reaction, user, at })
        })
    }

    /// Takes the client's user's like back. Changes nothing if there is none.
    ///
    /// # Errors
    /// If the reaction is not acceptable.
    pub fn unlike(&self, target: Target, reaction: &str) -> Result<Pending, CommandError> {
        let (user, reaction) = (self.document.user().clone(), reaction.to_owned());
        self.document.command(Command::Likes(LikesCommand::Unlike { target, reaction, user }))
    }

    /// Likes, or takes the like back: whatever is the opposite of what the view shows.
    ///
    /// # Errors
    /// If the reaction is not acceptable.
    pub fn toggle(&self, target: Target, reaction: &str) -> Result<Pending, CommandError> {
        let (user, reaction) = (self.document.user().clone(), reaction.to_owned());
        self.document.issue(|view, moment| {
            let liked =
                matches!(view, View::Likes(likes) if likes.contains(target, &reaction, &user));
            Command::Likes(if liked {
                LikesCommand::Unlike { target, reaction, user }
            } else {
                let at = moment.id_after(None);
                LikesCommand::Like { target, reaction, user, at }
            })
        })
    }

    /// Moves a counter.
    ///
    /// # Errors
    /// If `by` is larger than one command may move a counter.
    pub fn add(&self, counter: Counter, by: i64) -> Result<Pending, CommandError> {
        self.document.command(Command::Likes(LikesCommand::Count { counter, by }))
    }
}
