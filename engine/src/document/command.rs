//! What a user means, as a value that can be checked, stored, replayed and read by people. Must never
//! know whether anybody allows it: that is policy.

use automerge::transaction::Transaction;
use automerge::{Automerge, AutomergeError, TextEncoding};
use serde::{Deserialize, Serialize};

use super::{CommentsCommand, JsonCommand, LikesCommand, PostCommand};
use crate::codes::Code;
use crate::ids::{Facet, NameError};

/// One thing that a user does to one document.
///
/// ```
/// use syncline_engine::document::{Command, PostCommand};
/// let command = Command::Post(PostCommand::AddTag { tag: "rust".into() });
/// let saved = serde_json::to_string(&command)?;
/// assert_eq!(saved, r#"{"post":{"add_tag":{"tag":"rust"}}}"#);
/// assert_eq!(serde_json::from_str::<Command>(&saved)?, command);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    /// To a post.
    Post(PostCommand),
    /// To the likes of a post.
    Likes(LikesCommand),
    /// To the comments of a post.
    Comments(CommentsCommand),
    /// To a schemaless document.
    Json(JsonCommand),
}

impl From<PostCommand> for Command {
    fn from(command: PostCommand) -> Self {
        Self::Post(command)
    }
}

impl From<LikesCommand> for Command {
    fn from(command: LikesCommand) -> Self {
        Self::Likes(command)
    }
}

impl From<CommentsCommand> for Command {
    fn from(command: CommentsCommand) -> Self {
        Self::Comments(command)
    }
}

impl From<JsonCommand> for Command {
    fn from(command: JsonCommand) -> Self {
        Self::Json(command)
    }
}

/// A command can't be carried out on this document.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommandError {
    /// A name in it is not acceptable.
    #[error(transparent)]
    Name(#[from] NameError),
    /// Something in it is too long or too large.
    #[error("{what} may have at most {max} {unit}")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// The most that is allowed.
        max: usize,
        /// Of what.
        unit: &'static str,
    },
    /// An argument breaks a rule.
    #[error("{0}")]
    Argument(&'static str),
    /// The document does not have the part that the command is about: it is of another facet.
    #[error("this document has no {0}")]
    NotSuchADocument(&'static str),
    /// The thing that it names is not there (any more).
    #[error("{what} does not exist")]
    NotFound {
        /// What was looked for.
        what: &'static str,
    },
    /// The comment was deleted.
    #[error("the comment was deleted")]
    Deleted,
    /// The post was created already, by somebody else or at another time.
    #[error("the post exists already")]
    Exists,
    /// A position lies behind the end.
    #[error("position {index} lies behind the end, {length}")]
    OutOfRange {
        /// The position.
        index: usize,
        /// The length of the text or list.
        length: usize,
    },
    /// A path leads through or to something of another type.
    #[error("a {expected} was expected there")]
    WrongType {
        /// What was expected.
        expected: &'static str,
    },
    /// The library under it refused.
    #[error("the document refused the command")]
    Document(#[from] AutomergeError),
}

impl CommandError {
    /// The stable code.
    #[must_use]
    pub const fn code(&self) -> Code {
        match self {
            Self::Name(_)
            | Self::TooLarge { .. }
            | Self::Argument(_)
            | Self::NotSuchADocument(_)
            | Self::OutOfRange { .. }
            | Self::WrongType { .. }
            | Self::Document(_) => Code::BadCommand,
            Self::NotFound { .. } | Self::Deleted => Code::NotFound,
            Self::Exists => Code::NoEffect,
        }
    }
}

impl Command {
    /// Which kind of document it is for.
    #[must_use]
    pub const fn facet(&self) -> Facet {
        match self {
            Self::Post(_) => Facet::Post,
            Self::Likes(_) => Facet::Likes,
            Self::Comments(_) => Facet::Comments,
            Self::Json(_) => Facet::Json,
        }
    }

    /// Checks what can be checked without the document: lengths and alphabets.
    ///
    /// # Errors
    /// Which rule is broken. A command that is merely too long for one change passes, because
    /// [`Command::split`] takes care of it.
    pub fn check(&self) -> Result<(), CommandError> {
        match self {
            Self::Post(command) => command.check(),
            Self::Likes(command) => command.check(),
            Self::Comments(command) => command.check(),
            Self::Json(command) => command.check(),
        }
    }

    /// Cuts a command that is too large for one change into several that do the same in order.
    ///
    /// The document is the one in front of which the command was issued: it tells in which units
    /// text is counted, and where a long deletion may be cut without halving a character.
    #[must_use]
    pub fn split(self, doc: &Automerge) -> Vec<Self> {
        match self {
            Self::Post(command) => command.split(doc).into_iter().map(Self::Post).collect(),
            Self::Json(command) => command.split(doc).into_iter().map(Self::Json).collect(),
            Self::Likes(_) | Self::Comments(_) => vec![self],
        }
    }

    /// Carries the command out, with no operation at all if there is nothing to do.
    ///
    /// # Errors
    /// Why it can't be done here. The transaction may then hold part of it: roll it back.
    pub fn apply(&self, tx: &mut Transaction<'_>) -> Result<(), CommandError> {
        self.check()?;
        match self {
            Self::Post(command) => command.apply(tx),
            Self::Likes(command) => command.apply(tx),
            Self::Comments(command) => command.apply(tx),
            Self::Json(command) => command.apply(tx),
        }
    }

    /// Makes of this command one that does what both do, if `next` is about the same text and touches
    /// what this one changed; otherwise it stays as it is. Answers whether it was joined.
    ///
    /// What comes of it may be longer than one change can be: [`Command::split`] takes care of that.
    ///
    /// ```
    /// use automerge::TextEncoding;
    /// use syncline_engine::document::{Command, PostCommand, TextField};
    /// let splice = |index, delete, insert: &str| {
    ///     let (field, insert) = (TextField::Body, insert.to_owned());
    ///     Command::Post(PostCommand::Splice { field, index, delete, insert })
    /// };
    /// let mut typed = splice(4, 0, "wo");
    /// assert!(typed.join(&splice(6, 0, "rlx"), TextEncoding::UnicodeCodePoint));
    /// assert!(typed.join(&splice(8, 1, "d"), TextEncoding::UnicodeCodePoint));
    /// assert_eq!(typed, splice(4, 0, "world"));
    /// assert!(!typed.join(&splice(0, 0, "far away"), TextEncoding::UnicodeCodePoint));
    /// ```
    pub fn join(&mut self, next: &Self, encoding: TextEncoding) -> bool {
        match (self, next) {
            (Self::Post(command), Self::Post(next)) => command.join(next, encoding),
            (Self::Json(command), Self::Json(next)) => command.join(next, encoding),
            (Self::Post(_) | Self::Json(_) | Self::Likes(_) | Self::Comments(_), _) => false,
        }
    }

    /// Whether it replaces a stretch of a text.
    #[must_use]
    pub const fn is_text_edit(&self) -> bool {
        matches!(
            self,
            Self::Post(PostCommand::Splice { .. }) | Self::Json(JsonCommand::Splice { .. })
        )
    }

    /// Whether more than one value stands, made at the same time, where the command would write: to
    /// remove or replace one is to remove all.
    pub(crate) fn has_rivals(&self, doc: &Automerge) -> bool {
        match self {
            Self::Post(command) => command.has_rivals(doc),
            Self::Likes(command) => command.has_rivals(doc),
            Self::Comments(command) => command.has_rivals(doc),
            Self::Json(command) => command.has_rivals(doc),
        }
    }

    /// One line for people.
    #[must_use]
    pub fn summary(&self) -> String {
        match self {
            Self::Post(command) => command.summary(),
            Self::Likes(command) => command.summary(),
            Self::Comments(command) => command.summary(),
            Self::Json(command) => command.summary(),
        }
    }
}

/// The beginning of a text, for a summary.
pub(super) fn shortened(text: &str) -> String {
    let mut chars = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    let mut short: String = chars.by_ref().take(40).collect();
    if chars.next().is_some() {
        short.push('…');
    }
    short
}

/// Refuses what is larger than allowed.
pub(super) fn at_most(
    size: usize,
    max: usize,
    what: &'static str,
    unit: &'static str,
) -> Result<(), CommandError> {
    if size <= max { Ok(()) } else { Err(CommandError::TooLarge { what, max, unit }) }
}
