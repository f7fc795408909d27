//! What each place of each kind of document holds, and which question an operation there puts to the
//! policy. Must never know who asks, nor which operations were seen.

use super::objects::Name;
use crate::change::{Action, Op, Value};
use crate::codes::Code;
use crate::document::{
    Command, Counter, JSON_DEPTH_MAX, MarkName, MarkValue, PostCommand, PostStatus, Target, bucket,
};
use crate::ids::{Facet, Ulid, UserId, check_reaction};
use crate::limits::{COMMENT_BYTES_MAX, COUNT_MAX, JSON_COUNTER_MAX, JSON_VALUE_BYTES_MAX};
use crate::policy::Refusal;

/// Bytes of a key in a schemaless document.
const JSON_KEY_BYTES_MAX: usize = 256;

/// What an object is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Root,
    Title,
    Body,
    Tags,
    Editors,
    LikeBuckets,
    Likes(u32),
    CommentBuckets,
    Comments(u32),
    Comment(Ulid),
    /// An object of a schemaless document, so many below its root map.
    Json(usize),
    /// Nothing that this version knows.
    Unknown,
}

impl Place {
    /// What an object is for that is made under `name` in a place.
    pub(super) fn child(self, facet: Facet, name: Name<'_>) -> Self {
        match (self, facet, name) {
            (Self::Root, Facet::Post, Name::Key("title")) => Self::Title,
            (Self::Root, Facet::Post, Name::Key("body")) => Self::Body,
            (Self::Root, Facet::Post, Name::Key("tags")) => Self::Tags,
            (Self::Root, Facet::Post, Name::Key("editors")) => Self::Editors,
            (Self::Root, Facet::Likes, Name::Key("likes")) => Self::LikeBuckets,
            (Self::Root, Facet::Comments, Name::Key("comments")) => Self::CommentBuckets,
            (Self::Root, Facet::Json, Name::Key("root")) => Self::Json(0),
            (Self::LikeBuckets, _, Name::Key(key)) => {
                u32::from_str_radix(key, 16).map_or(Self::Unknown, Self::Likes)
            }
            (Self::CommentBuckets, _, Name::Key(key)) => {
                u32::from_str_radix(key, 16).map_or(Self::Unknown, Self::Comments)
            }
            (Self::Comments(_), _, Name::Key(key)) => {
                key.parse().map_or(Self::Unknown, Self::Comment)
            }
            (Self::Json(depth), _, _) => Self::Json(depth + 1),
            _ => Self::Unknown,
        }
    }
}

/// What an operation asks of the policy, and what the structure must see to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ask {
    React(UserId),
    Count(i64),
    /// To write a field of a post that never changes; the author, if it is that.
    CreatePost(Option<UserId>),
    EditPost,
    SetEditors,
    SetStatus,
    /// To make a comment.
    MakeComment,
    /// To write a field of a comment that never changes; the author, if it is that.
    FillComment(Option<UserId>),
    /// As above, and the comment that it names must be there.
    ReplyTo(Ulid),
    EditComment,
    DeleteComment,
    EditJson,
}

fn refuse<T>(message: &str) -> Result<T, Refusal> {
    Err(Refusal::new(Code::NotInSchema, message))
}

/// What is asked by an operation in a place, if documents hold such a thing there. Whether its
/// object, element and predecessors are there is for the structure.
pub(super) fn ask(
    place: Place,
    is_text: bool,
    facet: Facet,
    buckets: u32,
    name: Name<'_>,
    op: &Op<'_>,
) -> Result<Ask, Refusal> {
    match (place, name) {
        (Place::Title, _) => text(&op.action, false).map(|()| Ask::EditPost),
        (Place::Body, _) => text(&op.action, true).map(|()| Ask::EditPost),
        (Place::Json(_), _) if is_text => text(&op.action, false).map(|()| Ask::EditJson),
        (Place::Json(depth), _) => json(depth, name, &op.action).map(|()| Ask::EditJson),
        (Place::Root, Name::Key(key)) => root(facet, key, &op.action),
        (Place::Tags, Name::Key(key)) => {
            let tag = PostCommand::AddTag { tag: key.to_owned() };
            fits(Command::Post(tag).check().is_ok() && member(&op.action), Ask::EditPost)
        }
        (Place::Editors, Name::Key(key)) => {
            fits(UserId::new(key).is_ok() && member(&op.action), Ask::SetEditors)
        }
        (Place::Likes(index), Name::Key(key)) => like(index, buckets, key, &op.action),
        (Place::Comments(index), Name::Key(key)) => {
            let good = key.parse::<Ulid>().is_ok() && bucket(key, buckets) == index;
            fits(good && op.action == Action::MakeMap, Ask::MakeComment)
        }
        (Place::Comment(id), Name::Key(key)) => comment(id, key, &op.action),
        _ => refuse("nothing may be written there"),
    }
}

fn fits(good: bool, ask: Ask) -> Result<Ask, Refusal> {
    if good { Ok(ask) } else { refuse("a document of this kind does not hold that there") }
}

/// Whether an operation on a flat set adds or removes.
fn member(action: &Action<'_>) -> bool {
    matches!(action, Action::Set(Value::Bool(true)) | Action::Delete)
}

const fn is_time(value: Value<'_>) -> bool {
    matches!(value, Value::Timestamp(0..))
}

fn root(facet: Facet, key: &str, action: &Action<'_>) -> Result<Ask, Refusal> {
    match (facet, key, *action) {
        (Facet::Post, "author", Action::Set(Value::Str(name))) => UserId::new(name)
            .map(|author| Ask::CreatePost(Some(author)))
            .or_else(|_| refuse("the author is not a user name")),
        (Facet::Post, "created", Action::Set(value)) => fits(is_time(value), Ask::CreatePost(None)),
        (Facet::Post, "status", Action::Set(Value::Str(word))) => {
            fits(PostStatus::named(word).is_some(), Ask::SetStatus)
        }
        (Facet::Post, "status", Action::Delete) => Ok(Ask::SetStatus),
        (Facet::Likes, _, Action::Increment(by)) => {
            let known = Counter::ALL.iter().any(|counter| counter.as_str() == key);
            fits(known && by.unsigned_abs() <= COUNT_MAX && by != 0, Ask::Count(by))
        }
        _ => refuse("nothing else may be written at the root"),
    }
}

fn like(index: u32, buckets: u32, key: &str, action: &Action<'_>) -> Result<Ask, Refusal> {
    let mut parts = key.split('/');
    let (Some(target), Some(reaction), Some(user), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return refuse("the key of a like is target/reaction/user");
    };
    let (Ok(_), Ok(()), Ok(user)) =
        (target.parse::<Target>(), check_reaction(reaction), UserId::new(user))
    else {
        return refuse("the key of a like is target/reaction/user");
    };
    if bucket(key, buckets) != index {
        return refuse("the like belongs into another bucket");
    }
    match action {
        Action::Set(Value::Str(id)) => fits(id.parse::<Ulid>().is_ok(), Ask::React(user)),
        Action::Delete => Ok(Ask::React(user)),
        Action::MakeMap
        | Action::MakeList
        | Action::MakeText
        | Action::Set(_)
        | Action::Increment(_)
        | Action::MarkBegin { .. }
        | Action::MarkEnd { .. } => refuse("the value of a like is its id"),
    }
}

fn comment(id: Ulid, key: &str, action: &Action<'_>) -> Result<Ask, Refusal> {
    match (key, *action) {
        ("author", Action::Set(Value::Str(name))) => UserId::new(name)
            .map(|author| Ask::FillComment(Some(author)))
            .or_else(|_| refuse("the author is not a user name")),
        ("created", Action::Set(value)) => fits(is_time(value), Ask::FillComment(None)),
        ("parent", Action::Set(Value::Str(parent))) => match parent.parse::<Ulid>() {
            Ok(parent) if parent != id => Ok(Ask::ReplyTo(parent)),
            _ => refuse("the parent of a comment is another comment"),
        },
        ("body", Action::Set(Value::Str(body))) => {
            fits((1..=COMMENT_BYTES_MAX).contains(&body.len()), Ask::EditComment)
        }
        ("edited", Action::Set(value)) => fits(is_time(value), Ask::EditComment),
        ("deleted", Action::Set(value)) => fits(is_time(value), Ask::DeleteComment),
        // What remains of a conflict: the structure sees to it that something does.
        ("body" | "edited", Action::Delete) => Ok(Ask::EditComment),
        ("deleted", Action::Delete) => Ok(Ask::DeleteComment),
        _ => refuse("a comment has no such field"),
    }
}

/// A text holds single characters, and marks where it may.
fn text(action: &Action<'_>, marks: bool) -> Result<(), Refusal> {
    match action {
        Action::Set(Value::Str(text)) if text.chars().count() == 1 => Ok(()),
        Action::Delete => Ok(()),
        Action::MarkBegin { name, value, .. } if marks => mark(name, value),
        Action::MarkEnd { .. } if marks => Ok(()),
        Action::MakeMap
        | Action::MakeList
        | Action::MakeText
        | Action::Set(_)
        | Action::Increment(_)
        | Action::MarkBegin { .. }
        | Action::MarkEnd { .. } => {
            refuse("a text holds single characters, and the body of a post marks")
        }
    }
}

fn mark(name: &str, value: &Value<'_>) -> Result<(), Refusal> {
    let value = match value {
        Value::Null => None,
        Value::Bool(flag) => Some(MarkValue::Flag(*flag)),
        Value::Str(text) => Some(MarkValue::Text((*text).to_owned())),
        Value::Uint(_)
        | Value::Int(_)
        | Value::Float(_)
        | Value::Bytes(_)
        | Value::Counter(_)
        | Value::Timestamp(_) => return refuse("a mark has no such value"),
    };
    let Some(name) = MarkName::named(name) else { return refuse("there is no such mark") };
    let Some(value) = value else { return Ok(()) };
    let (start, end) = (0, 1);
    let command = Command::Post(PostCommand::Mark { start, end, name, value });
    command.check().or_else(|_| refuse("a mark has no such value"))
}

fn json(depth: usize, name: Name<'_>, action: &Action<'_>) -> Result<(), Refusal> {
    if let Name::Key(key) = name
        && !(1..=JSON_KEY_BYTES_MAX).contains(&key.len())
    {
        return refuse("a key has 1 to 256 bytes");
    }
    match action {
        Action::MakeMap | Action::MakeList | Action::MakeText if depth >= JSON_DEPTH_MAX => {
            refuse("maps and lists lie at most 32 deep")
        }
        Action::Set(Value::Counter(by)) | Action::Increment(by)
            if by.unsigned_abs() > JSON_COUNTER_MAX =>
        {
            refuse("a counter begins and moves within 2^53")
        }
        Action::Set(Value::Str(text)) if text.len() > JSON_VALUE_BYTES_MAX => {
            refuse("a value has at most 60 KiB")
        }
        Action::Set(Value::Bytes(bytes)) if bytes.len() > JSON_VALUE_BYTES_MAX => {
            refuse("a value has at most 60 KiB")
        }
        Action::Set(Value::Float(number)) if !number.is_finite() => {
            refuse("a number must be finite")
        }
        Action::MarkBegin { .. } | Action::MarkEnd { .. } => refuse("only texts have marks"),
        Action::MakeMap
        | Action::MakeList
        | Action::MakeText
        | Action::Set(_)
        | Action::Delete
        | Action::Increment(_) => Ok(()),
    }
}
