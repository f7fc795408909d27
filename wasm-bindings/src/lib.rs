//! The engine for JavaScript: the class `Document`. Only translates between JavaScript's values and
//! [`copy`]; decides nothing.
//!
//! Errors are JavaScript `Error`s whose message begins with the stable code's name, as in
//! `bad_change: …`. Positions count UTF-16 code units, as JavaScript does.

use serde_json::json;
use syncline_engine::clock::Timestamp;
use syncline_engine::document::{
    Command, CommentsCommand, LikesCommand, PostCommand, Target, TextField,
};
use syncline_engine::ids::{Ulid, UserId};
use wasm_bindgen::prelude::*;

pub mod copy;

use copy::{Copy, CopyError};

/// One copy of a document. Every method that changes it answers the change set that other copies
/// `apply` to follow.
#[wasm_bindgen]
#[derive(Debug)]
pub struct Document(Copy);

#[wasm_bindgen]
impl Document {
    /// A new copy of the document at `address` (`space/id/facet`) that writes under `actor`, 32
    /// hexadecimal digits that no other copy uses.
    ///
    /// # Errors
    /// If one of them is malformed.
    pub fn open(address: &str, actor: &str) -> Result<Self, JsError> {
        Copy::open(address, actor).map(Self).map_err(error)
    }

    /// A copy of what `save` wrote.
    ///
    /// # Errors
    /// If the bytes are no saved document.
    pub fn load(address: &str, actor: &str, saved: &[u8]) -> Result<Self, JsError> {
        Copy::load(address, actor, saved).map(Self).map_err(error)
    }

    /// Carries out any command, given as JSON, such as `{"post":{"add_tag":{"tag":"rust"}}}`.
    ///
    /// # Errors
    /// If it does not parse or is refused.
    pub fn command(&mut self, command: &str) -> Result<Vec<u8>, JsError> {
        let command = serde_json::from_str(command).map_err(|wrong| error(wrong.into()))?;
        self.run(Ok(command))
    }

    /// Likes `target`, which is `post` or the id of a comment. `id` is a new ULID.
    ///
    /// # Errors
    /// If an argument is malformed or this is no document of likes.
    pub fn like(
        &mut self,
        target: &str,
        reaction: &str,
        user: &str,
        id: &str,
    ) -> Result<Vec<u8>, JsError> {
        self.run(like(target, reaction, user, id))
    }

    /// Takes a like back.
    ///
    /// # Errors
    /// As for `like`.
    pub fn unlike(&mut self, target: &str, reaction: &str, user: &str) -> Result<Vec<u8>, JsError> {
        self.run(unlike(target, reaction, user))
    }

    /// Writes a comment with a new ULID as its id, at a time in milliseconds since 1970; `parent` is
    /// the comment that it answers.
    ///
    /// # Errors
    /// If an argument is malformed, the parent does not exist, or this is no document of comments.
    pub fn comment(
        &mut self,
        id: &str,
        author: &str,
        parent: Option<String>,
        body: &str,
        created_ms: f64,
    ) -> Result<Vec<u8>, JsError> {
        self.run(comment(id, author, parent.as_deref(), body, created_ms))
    }

    /// Replaces `delete` code units of the post's body from `index` on by `insert`.
    ///
    /// # Errors
    /// If the range lies outside or this is no post.
    pub fn splice(&mut self, index: u32, delete: u32, insert: &str) -> Result<Vec<u8>, JsError> {
        self.run(Ok(Command::Post(PostCommand::Splice {
            field: TextField::Body,
            index: index as usize,
            delete: delete as usize,
            insert: insert.to_owned(),
        })))
    }

    /// Takes a change set in; answers how many things changed in the view. Applying one twice does
    /// nothing the second time.
    ///
    /// # Errors
    /// If the bytes are no change set. Nothing was applied then.
    pub fn apply(&mut self, change_set: &[u8]) -> Result<usize, JsError> {
        self.0.apply(change_set).map_err(error)
    }

    /// Everything after `heads` (32 bytes each, as `heads` gave them elsewhere) as a change set.
    ///
    /// # Errors
    /// If it is more than a change set may hold.
    #[wasm_bindgen(js_name = changesSince)]
    pub fn changes_since(&self, heads: &[u8]) -> Result<Vec<u8>, JsError> {
        let heads: Vec<_> = heads
            .chunks_exact(32)
            .filter_map(|hash| Some(automerge::ChangeHash(hash.try_into().ok()?)))
            .collect();
        self.0.changes_since(&heads).map(|set| set.to_vec()).map_err(error)
    }

    /// The whole document as bytes.
    #[must_use]
    pub fn save(&self) -> Vec<u8> {
        self.0.save()
    }

    /// The hashes of the newest changes, 32 bytes each, sorted: equal heads mean equal documents.
    #[must_use]
    pub fn heads(&self) -> Vec<u8> {
        let mut heads = self.0.heads();
        heads.sort_unstable();
        heads.into_iter().flat_map(|hash| hash.0).collect()
    }

    /// How many users reacted in this way to `post` or to the comment with this id.
    ///
    /// # Errors
    /// If the target is malformed or this is no document of likes.
    #[wasm_bindgen(js_name = likeCount)]
    pub fn like_count(&self, target: &str, reaction: &str) -> Result<usize, JsError> {
        let target: Target =
            target.parse().map_err(|wrong: syncline_engine::ids::NameError| error(wrong.into()))?;
        Ok(self.0.likes().map_err(error)?.count(target, reaction))
    }

    /// The body of the post.
    ///
    /// # Errors
    /// If this is no post.
    pub fn body(&self) -> Result<String, JsError> {
        Ok(self.0.post().map_err(error)?.body().to_owned())
    }

    /// The comments as JSON, in the order of the thread: an array of objects with `id`, `depth`,
    /// `author`, `parent`, `created`, `body`, `edited`, `deleted`.
    ///
    /// # Errors
    /// If this is no document of comments.
    pub fn comments(&self) -> Result<String, JsError> {
        let view = self.0.comments().map_err(error)?;
        let thread = view.thread().map(|(depth, id, comment)| {
            json!({
                "id": id.to_string(),
                "depth": depth,
                "author": comment.author.as_str(),
                "parent": comment.parent.map(|parent| parent.to_string()),
                "created": comment.created.0,
                // The text of a deleted comment stays in the document, and is not shown.
                "body": if comment.deleted.is_some() { "" } else { comment.body.as_str() },
                "edited": comment.edited.map(|at| at.0),
                "deleted": comment.deleted.map(|at| at.0),
            })
        });
        Ok(serde_json::Value::from_iter(thread).to_string())
    }

    fn run(&mut self, command: Result<Command, CopyError>) -> Result<Vec<u8>, JsError> {
        let set = command.and_then(|command| self.0.command(command)).map_err(error)?;
        Ok(set.to_vec())
    }
}

fn error(error: CopyError) -> JsError {
    JsError::new(&format!("{}: {error}", error.code()))
}

fn like(target: &str, reaction: &str, user: &str, id: &str) -> Result<Command, CopyError> {
    Ok(Command::Likes(LikesCommand::Like {
        target: target.parse()?,
        reaction: reaction.to_owned(),
        user: UserId::new(user)?,
        at: id.parse()?,
    }))
}

fn unlike(target: &str, reaction: &str, user: &str) -> Result<Command, CopyError> {
    Ok(Command::Likes(LikesCommand::Unlike {
        target: target.parse()?,
        reaction: reaction.to_owned(),
        user: UserId::new(user)?,
    }))
}

fn comment(
    id: &str,
    author: &str,
    parent: Option<&str>,
    body: &str,
    created_ms: f64,
) -> Result<Command, CopyError> {
    Ok(Command::Comments(CommentsCommand::Add {
        id: id.parse()?,
        author: UserId::new(author)?,
        parent: parent.map(str::parse::<Ulid>).transpose()?,
        created: Timestamp(whole_millis(created_ms)),
        body: body.to_owned(),
    }))
}

/// JavaScript has no integers for a `Date.now()`. What is no time at all becomes 0 or the largest.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` saturates")]
const fn whole_millis(millis: f64) -> u64 {
    millis as u64
}
