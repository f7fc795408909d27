//! A post as an app sees it. Must never know how it is stored or sent.

use syncline_engine::document::{
    Command, MarkName, MarkValue, PostCommand, PostStatus, PostView, TextField, View, text_edit_in,
};
use syncline_engine::ids::UserId;
use syncline_engine::session::CommandId;

use crate::document::{CommandError, Document, Pending};

/// An open post. Positions in texts count Unicode code points.
#[derive(Debug, Clone)]
pub struct Post {
    document: Document,
}

impl Post {
    pub(crate) const fn new(document: Document) -> Self {
        Self { document }
    }

    /// The document behind it: its status, its events, its address.
    #[must_use]
    pub const fn document(&self) -> &Document {
        &self.document
    }

    /// Looks at the post without a copy; see [`Document::with_view`].
    pub fn with<R>(&self, look: impl FnOnce(&PostView) -> R) -> R {
        self.document.with_view(|view| match view {
            View::Post(post) => look(post),
            View::Likes(_) | View::Comments(_) | View::Json(_) => {
                unreachable!("the address says post")
            }
        })
    }

    /// Whether it was created.
    #[must_use]
    pub fn exists(&self) -> bool {
        self.with(|post| post.author().is_some())
    }

    /// Who owns it, once it was created.
    #[must_use]
    pub fn author(&self) -> Option<UserId> {
        self.with(|post| post.author().cloned())
    }

    /// Its title.
    #[must_use]
    pub fn title(&self) -> String {
        self.with(|post| post.title().to_owned())
    }

    /// Its body without marks.
    #[must_use]
    pub fn body(&self) -> String {
        self.with(|post| post.body().to_owned())
    }

    /// Its tags, sorted.
    #[must_use]
    pub fn tags(&self) -> Vec<String> {
        self.with(|post| post.tags().iter().cloned().collect())
    }

    /// Whether it is to be shown.
    #[must_use]
    pub fn status(&self) -> PostStatus {
        self.with(PostView::status)
    }

    fn command(&self, command: PostCommand) -> Result<Pending, CommandError> {
        self.document.command(Command::Post(command))
    }

    /// Writes it for the first time, as the client's user.
    ///
    /// # Errors
    /// If it exists already, or title, body or tags are not acceptable.
    pub fn create(&self, title: &str, body: &str, tags: &[&str]) -> Result<Pending, CommandError> {
        let author = self.document.user().clone();
        let (title, body) = (title.to_owned(), body.to_owned());
        let tags = tags.iter().map(|tag| (*tag).to_owned()).collect();
        self.document.issue(|_, moment| {
            let created = moment.now;
            Command::Post(PostCommand::Create { author, created, title, body, tags })
        })
    }

    /// Turns a text into `new_text` with the smallest single edit; what others write meanwhile stays.
    /// No command at all if it is that text already.
    ///
    /// # Errors
    /// If the post does not exist.
    pub fn edit(&self, field: TextField, new_text: &str) -> Result<Vec<Pending>, CommandError> {
        let edit = self.document.issue_if(|view, _| {
            let View::Post(post) = view else {
                return None;
            };
            let old = match field {
                TextField::Title => post.title(),
                TextField::Body => post.body(),
            };
            let (index, delete, insert) = text_edit_in(post.encoding(), old, new_text)?;
            Some(Command::Post(PostCommand::Splice { field, index, delete, insert }))
        })?;
        Ok(edit.into_iter().collect())
    }

    /// Replaces a stretch of text.
    ///
    /// # Errors
    /// If the position lies behind the end.
    pub fn splice(
        &self,
        field: TextField,
        index: usize,
        delete: usize,
        insert: &str,
    ) -> Result<Pending, CommandError> {
        self.command(PostCommand::Splice { field, index, delete, insert: insert.to_owned() })
    }

    /// Replaces a stretch of text as one of many edits that follow each other, as when somebody types;
    /// see [`Document::command_typed`].
    ///
    /// # Errors
    /// If the position lies behind the end.
    pub fn splice_typed(
        &self,
        field: TextField,
        index: usize,
        delete: usize,
        insert: &str,
    ) -> Result<CommandId, CommandError> {
        let insert = insert.to_owned();
        let splice = PostCommand::Splice { field, index, delete, insert };
        self.document.command_typed(Command::Post(splice))
    }

    /// Marks a stretch of the body.
    ///
    /// # Errors
    /// If the stretch is empty or lies behind the end.
    pub fn mark(
        &self,
        start: usize,
        end: usize,
        name: MarkName,
        value: MarkValue,
    ) -> Result<Pending, CommandError> {
        self.command(PostCommand::Mark { start, end, name, value })
    }

    /// Takes a mark away from a stretch of the body.
    ///
    /// # Errors
    /// If the stretch is empty or lies behind the end.
    pub fn unmark(
        &self,
        start: usize,
        end: usize,
        name: MarkName,
    ) -> Result<Pending, CommandError> {
        self.command(PostCommand::Unmark { start, end, name })
    }

    /// Adds a tag.
    ///
    /// # Errors
    /// If the tag is not acceptable.
    pub fn add_tag(&self, tag: &str) -> Result<Pending, CommandError> {
        self.command(PostCommand::AddTag { tag: tag.to_owned() })
    }

    /// Removes a tag.
    ///
    /// # Errors
    /// If the post does not exist.
    pub fn remove_tag(&self, tag: &str) -> Result<Pending, CommandError> {
        self.command(PostCommand::RemoveTag { tag: tag.to_owned() })
    }

    /// Lets a user edit.
    ///
    /// # Errors
    /// If the post does not exist.
    pub fn add_editor(&self, user: &UserId) -> Result<Pending, CommandError> {
        self.command(PostCommand::AddEditor { user: user.clone() })
    }

    /// No longer lets a user edit.
    ///
    /// # Errors
    /// If the post does not exist.
    pub fn remove_editor(&self, user: &UserId) -> Result<Pending, CommandError> {
        self.command(PostCommand::RemoveEditor { user: user.clone() })
    }

    /// Shows, hides or deletes it.
    ///
    /// # Errors
    /// If the post does not exist.
    pub fn set_status(&self, status: PostStatus) -> Result<Pending, CommandError> {
        self.command(PostCommand::SetStatus { status })
    }
}
