//! The comments of a post as an app sees them. Must never know how they are stored or sent.

use syncline_engine::document::{Command, Comment, CommentsCommand, CommentsView, View};
use syncline_engine::ids::Ulid;

use crate::document::{CommandError, Document, Pending};

/// The comments of a post, open.
#[derive(Debug, Clone)]
pub struct Comments {
    document: Document,
}

impl Comments {
    pub(crate) const fn new(document: Document) -> Self {
        Self { document }
    }

    /// The document behind it: its status, its events, its address.
    #[must_use]
    pub const fn document(&self) -> &Document {
        &self.document
    }

    /// Looks at the comments without a copy; see [`Document::with_view`].
    pub fn with<R>(&self, look: impl FnOnce(&CommentsView) -> R) -> R {
        self.document.with_view(|view| match view {
            View::Comments(comments) => look(comments),
            View::Post(_) | View::Likes(_) | View::Json(_) => {
                unreachable!("the address says comments")
            }
        })
    }

    /// Every comment in the order in which it is read, with how deep it lies (0: answers the post)
    /// and its id. Deleted ones stay in their place.
    #[must_use]
    pub fn thread(&self) -> Vec<(usize, Ulid, Comment)> {
        self.with(|comments| {
            comments.thread().map(|(depth, id, comment)| (depth, id, comment.clone())).collect()
        })
    }

    /// Comments as the client's user. The id sorts after every comment seen so far, whatever the
    /// clock says.
    ///
    /// # Errors
    /// If the body is empty or too long, or the parent does not exist.
    pub fn add(&self, parent: Option<Ulid>, body: &str) -> Result<(Ulid, Pending), CommandError> {
        let (author, body) = (self.document.user().clone(), body.to_owned());
        let mut drawn = None;
        let pending = self.document.issue(|view, moment| {
            let largest = match view {
                View::Comments(comments) => comments.iter().map(|(id, _)| id).max(),
                View::Post(_) | View::Likes(_) | View::Json(_) => None,
            };
            let (id, created) = (moment.id_after(largest), moment.now);
            drawn = Some(id);
            Command::Comments(CommentsCommand::Add { id, author, parent, created, body })
        })?;
        match drawn {
            Some(id) => Ok((id, pending)),
            None => unreachable!("a command was made"),
        }
    }

    /// Comments under a given id. A comment that has it already stays as it is.
    ///
    /// # Errors
    /// As for [`add`](Self::add).
    pub fn add_as(
        &self,
        id: Ulid,
        parent: Option<Ulid>,
        body: &str,
    ) -> Result<Pending, CommandError> {
        let (author, body) = (self.document.user().clone(), body.to_owned());
        self.document.issue(|_, moment| {
            let created = moment.now;
            Command::Comments(CommentsCommand::Add { id, author, parent, created, body })
        })
    }

    /// Replaces the text of a comment.
    ///
    /// # Errors
    /// If there is no such comment, it was deleted, or the body is empty or too long.
    pub fn edit(&self, id: Ulid, body: &str) -> Result<Pending, CommandError> {
        let body = body.to_owned();
        self.document.issue(|_, moment| {
            let edited = moment.now;
            Command::Comments(CommentsCommand::Edit { id, body, edited })
        })
    }

    /// Deletes a comment but not its replies.
    ///
    /// # Errors
    /// If there is no such comment.
    pub fn delete(&self, id: Ulid) -> Result<Pending, CommandError> {
        self.document
            .issue(|_, moment| Command::Comments(CommentsCommand::Delete { id, at: moment.now }))
    }
}
