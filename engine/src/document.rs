//! What users edit: the shape of the four kinds of document, the commands that change them and the
//! views that show them. Must never know the network, the log, leases or who may do what.
//!
//! | facet | root |
//! |---|---|
//! | post | `title`, `body` (Text), `tags`, `editors` (maps), and once created `author` (Str), `created` (Timestamp), `status` (Str) |
//! | likes | `likes`: bucket maps of `target/reaction/user` -> the like's ULID (Str); `views`, `shares` (Counter) |
//! | comments | `comments`: bucket maps of comment id -> map of `author` (Str), `parent` (Str, if it is a reply), `created` (Timestamp), `body` (Str), `edited`, `deleted` (Timestamp) |
//! | json | `root`: a map whose content belongs to the app |
//!
//! Everything that two replicas could otherwise both create is in [`genesis`]; everything else is a
//! scalar under a flat key, or a map under a key that only one command ever makes.

mod caret;
mod command;
mod comments;
mod forget;
pub mod genesis;
mod json;
mod likes;
mod patches;
mod place;
mod post;
mod rollover;
mod saved;
mod short;
pub mod shown;
mod text;
mod view;

#[cfg(test)]
mod tests;

pub use caret::{NotATextPlace, TextPlace};
pub(crate) use caret::{caret, caret_index};
pub use command::{Command, CommandError};
pub use comments::{Comment, CommentsCommand, CommentsView};
pub use forget::{FORGOTTEN, forget};
pub use json::{JSON_DEPTH_MAX, JsonCommand, JsonView, PathSegment};
pub use likes::{Counter, LikeKey, LikesCommand, LikesView, Target};
pub(crate) use patches::take_in;
pub use place::{bucket, bucket_name};
pub(crate) use post::expand_of;
pub use post::{PostCommand, PostStatus, PostView, TextField};
pub use rollover::{begin_epoch, same_places};
pub use short::fill_in;
pub use text::{MarkName, MarkValue, Span, text_edit, text_edit_in};
pub(crate) use text::{marks_of, text_slice, width_of};
pub use view::{Event, View};
