//! A post: title, body with marks, tags, editors, status; its commands and its view. Must never know
//! who may edit it.

use std::collections::BTreeSet;

use automerge::marks::{ExpandMark, Mark};
use automerge::transaction::{Transactable, Transaction};
use automerge::{
    Automerge, ObjId, ObjType, Patch, PatchAction, ROOT, ReadDoc, TextEncoding, Value,
};
use serde::{Deserialize, Serialize};

use super::command::{CommandError, at_most, shortened};
use super::place::{self, Put};
use super::text::{
    MarkName, MarkValue, Marks, Span, Splice, Text, split_chars, split_splice, text_edit_in, width,
    width_of,
};
use super::{Event, saved};
use crate::clock::Timestamp;
use crate::ids::UserId;
use crate::limits::{NAME_BYTES_MAX, SPLICE_CHARS_MAX};

/// Characters of a title at creation; all of it goes into the first change.
const TITLE_CHARS_MAX: usize = 512;
/// Tags at creation; all of them go into the first change.
const TAGS_MAX: usize = 64;
/// Bytes of a link's URL.
const LINK_BYTES_MAX: usize = 2_048;

/// One of the two texts of a post.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TextField {
    /// The title.
    Title,
    /// The body.
    Body,
}

impl TextField {
    /// The key in the document.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Title => "title",
            Self::Body => "body",
        }
    }
}

/// Whether a post is to be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PostStatus {
    /// It is.
    #[default]
    Published,
    /// Only to those who may edit it.
    Hidden,
    /// It is gone, as far as readers are concerned.
    Deleted,
}

impl PostStatus {
    /// The word in the document.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Published => "published",
            Self::Hidden => "hidden",
            Self::Deleted => "deleted",
        }
    }

    /// Reads the word of a document.
    #[must_use]
    pub fn named(word: &str) -> Option<Self> {
        [Self::Published, Self::Hidden, Self::Deleted].into_iter().find(|s| s.as_str() == word)
    }
}

/// What a user does to a post. Positions are in the units of the document's text encoding.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PostCommand {
    /// Writes it for the first time. All other commands need a post that was created.
    Create {
        /// Who owns it; never changes.
        #[serde(with = "saved::user")]
        author: UserId,
        /// When.
        #[serde(with = "saved::millis")]
        created: Timestamp,
        /// The title.
        title: String,
        /// The body.
        body: String,
        /// Its first tags.
        tags: Vec<String>,
    },
    /// Replaces a stretch of text.
    Splice {
        /// Where.
        field: TextField,
        /// At which position.
        index: usize,
        /// How much of what follows goes away.
        delete: usize,
        /// What comes instead.
        insert: String,
    },
    /// Marks a stretch of the body.
    Mark {
        /// The first position.
        start: usize,
        /// The position behind the last.
        end: usize,
        /// As what.
        name: MarkName,
        /// With which value: `true`, or the URL of a link.
        value: MarkValue,
    },
    /// Takes a mark away from a stretch of the body.
    Unmark {
        /// The first position.
        start: usize,
        /// The position behind the last.
        end: usize,
        /// Which mark.
        name: MarkName,
    },
    /// Adds a tag.
    AddTag {
        /// Which.
        tag: String,
    },
    /// Removes a tag.
    RemoveTag {
        /// Which.
        tag: String,
    },
    /// Lets a user edit.
    AddEditor {
        /// Whom.
        #[serde(with = "saved::user")]
        user: UserId,
    },
    /// No longer lets a user edit.
    RemoveEditor {
        /// Whom.
        #[serde(with = "saved::user")]
        user: UserId,
    },
    /// Shows, hides or deletes it.
    SetStatus {
        /// Which of these.
        status: PostStatus,
    },
}

fn check_tag(tag: &str) -> Result<(), CommandError> {
    at_most(tag.len(), NAME_BYTES_MAX, "a tag", "bytes")?;
    if tag.is_empty() || tag.trim() != tag || tag.chars().any(char::is_control) {
        return Err(CommandError::Argument(
            "a tag is text without control characters and blanks around it",
        ));
    }
    Ok(())
}

fn check_range(start: usize, end: usize) -> Result<(), CommandError> {
    if start < end {
        return Ok(());
    }
    Err(CommandError::Argument("a mark needs at least one character"))
}

/// How the mark with this name in a document grows, whoever made it.
pub(crate) fn expand_of(name: &str) -> ExpandMark {
    MarkName::named(name).map_or(ExpandMark::After, expand)
}

/// Text typed at the end of a mark joins it, except at the end of a link.
const fn expand(name: MarkName) -> ExpandMark {
    match name {
        MarkName::Bold | MarkName::Italic | MarkName::Code => ExpandMark::After,
        MarkName::Link => ExpandMark::None,
    }
}

impl PostCommand {
    pub(super) fn check(&self) -> Result<(), CommandError> {
        match self {
            Self::Create { title, tags, .. } => {
                at_most(title.chars().count(), TITLE_CHARS_MAX, "a new title", "characters")?;
                at_most(tags.len(), TAGS_MAX, "a new post", "tags")?;
                tags.iter().try_for_each(|tag| check_tag(tag))
            }
            Self::Mark { start, end, name, value } => {
                check_range(*start, *end)?;
                match (name, value) {
                    (MarkName::Link, MarkValue::Text(url)) => {
                        at_most(url.len(), LINK_BYTES_MAX, "a link", "bytes")
                    }
                    (MarkName::Link, MarkValue::Flag(_)) => {
                        Err(CommandError::Argument("the value of a link is its URL"))
                    }
                    (_, MarkValue::Flag(true)) => Ok(()),
                    _ => Err(CommandError::Argument("the value of this mark is true")),
                }
            }
            Self::Unmark { start, end, .. } => check_range(*start, *end),
            Self::AddTag { tag } | Self::RemoveTag { tag } => check_tag(tag),
            Self::Splice { .. }
            | Self::AddEditor { .. }
            | Self::RemoveEditor { .. }
            | Self::SetStatus { .. } => Ok(()),
        }
    }

    /// Does what both do, if the two are one edit of a text.
    pub(super) fn join(&mut self, next: &Self, encoding: TextEncoding) -> bool {
        let Self::Splice { field: of_next, index, delete, insert } = next else { return false };
        let next = Splice { index: *index, delete: *delete, insert: insert.clone() };
        match self {
            Self::Create { body, .. } if *of_next == TextField::Body => {
                let own = Splice { index: 0, delete: 0, insert: body.clone() };
                let joined = own.joined(&next, encoding).filter(|joined| joined.delete == 0);
                let joined = joined.map(|joined| *body = joined.insert);
                joined.is_some()
            }
            Self::Splice { field, index, delete, insert } if field == of_next => {
                let own = Splice { index: *index, delete: *delete, insert: insert.clone() };
                let Some(joined) = own.joined(&next, encoding) else { return false };
                (*index, *delete, *insert) = (joined.index, joined.delete, joined.insert);
                true
            }
            Self::Create { .. }
            | Self::Splice { .. }
            | Self::Mark { .. }
            | Self::Unmark { .. }
            | Self::AddTag { .. }
            | Self::RemoveTag { .. }
            | Self::AddEditor { .. }
            | Self::RemoveEditor { .. }
            | Self::SetStatus { .. } => false,
        }
    }

    pub(super) fn split(self, doc: &Automerge) -> Vec<Self> {
        let encoding = doc.text_encoding();
        match self {
            Self::Splice { field, index, delete, insert } => {
                let text = || {
                    let id = place::object(doc, &ROOT, field.as_str(), ObjType::Text)?;
                    doc.text(id).ok()
                };
                split_splice(index, delete, &insert, encoding, text)
                    .into_iter()
                    .map(|(index, delete, insert)| Self::Splice { field, index, delete, insert })
                    .collect()
            }
            Self::Create { author, created, title, body, tags } => {
                let mut pieces = split_chars(&body).into_iter();
                let body = pieces.next().unwrap_or_default();
                let mut index = width_of(&body, encoding);
                let mut commands = vec![Self::Create { author, created, title, body, tags }];
                for insert in pieces {
                    let next = index + width_of(&insert, encoding);
                    commands.push(Self::Splice {
                        field: TextField::Body,
                        index,
                        delete: 0,
                        insert,
                    });
                    index = next;
                }
                commands
            }
            Self::Mark { .. }
            | Self::Unmark { .. }
            | Self::AddTag { .. }
            | Self::RemoveTag { .. }
            | Self::AddEditor { .. }
            | Self::RemoveEditor { .. }
            | Self::SetStatus { .. } => vec![self],
        }
    }

    pub(super) fn apply(&self, tx: &mut Transaction<'_>) -> Result<(), CommandError> {
        if let Self::Create { author, created, title, body, tags } = self {
            return create(tx, author, *created, title, body, tags);
        }
        if place::scalar(tx, &ROOT, "author").is_none() {
            place::root(tx, "body", ObjType::Text)?;
            return Err(CommandError::NotFound { what: "the post" });
        }
        match self {
            Self::Create { .. } => Ok(()),
            Self::Splice { field, index, delete, insert } => {
                let text = place::root(tx, field.as_str(), ObjType::Text)?;
                splice(tx, &text, *index, *delete, insert)
            }
            Self::Mark { start, end, name, value } => {
                let body = marked_range(tx, *end)?;
                if !read_marks(tx, &body).covers(*name, *start, *end, value) {
                    let mark = Mark::new(name.as_str().into(), value.scalar(), *start, *end);
                    tx.mark(&body, mark, expand(*name))?;
                }
                Ok(())
            }
            Self::Unmark { start, end, name } => {
                let body = marked_range(tx, *end)?;
                if read_marks(tx, &body).touches(*name, *start, *end) {
                    tx.unmark(&body, name.as_str(), *start, *end, expand(*name))?;
                }
                Ok(())
            }
            Self::AddTag { tag } => add(tx, "tags", tag),
            Self::RemoveTag { tag } => remove(tx, "tags", tag),
            Self::AddEditor { user } => add(tx, "editors", user.as_str()),
            Self::RemoveEditor { user } => remove(tx, "editors", user.as_str()),
            Self::SetStatus { status } => Ok(tx.put(ROOT, "status", status.as_str())?),
        }
    }

    pub(super) fn has_rivals(&self, doc: &Automerge) -> bool {
        let in_set = |set: &str, key: &str| {
            place::object(doc, &ROOT, set, ObjType::Map)
                .is_some_and(|set| place::is_contested(doc, &set, key))
        };
        match self {
            Self::AddTag { tag } | Self::RemoveTag { tag } => in_set("tags", tag),
            Self::AddEditor { user } | Self::RemoveEditor { user } => {
                in_set("editors", user.as_str())
            }
            Self::SetStatus { .. } => place::is_contested(doc, &ROOT, "status"),
            Self::Create { .. } | Self::Splice { .. } | Self::Mark { .. } | Self::Unmark { .. } => {
                false
            }
        }
    }

    pub(super) fn summary(&self) -> String {
        match self {
            Self::Create { author, title, .. } => {
                format!("create the post “{}” by {author}", shortened(title))
            }
            Self::Splice { field, index, delete, insert } => format!(
                "edit the {} at {index}: remove {delete}, insert “{}”",
                field.as_str(),
                shortened(insert)
            ),
            Self::Mark { start, end, name, .. } => {
                format!("mark {start} to {end} as {}", name.as_str())
            }
            Self::Unmark { start, end, name } => {
                format!("remove {} from {start} to {end}", name.as_str())
            }
            Self::AddTag { tag } => format!("add the tag {tag}"),
            Self::RemoveTag { tag } => format!("remove the tag {tag}"),
            Self::AddEditor { user } => format!("let {user} edit"),
            Self::RemoveEditor { user } => format!("no longer let {user} edit"),
            Self::SetStatus { status } => format!("set the status to {}", status.as_str()),
        }
    }
}

fn create(
    tx: &mut Transaction<'_>,
    author: &UserId,
    created: Timestamp,
    title: &str,
    body: &str,
    tags: &[String],
) -> Result<(), CommandError> {
    if let Some(owner) = place::scalar(tx, &ROOT, "author") {
        // A create that arrives a second time is the same create.
        let since = place::scalar(tx, &ROOT, "created");
        let again = owner.as_str() == Some(author.as_str()) && since == Some(place::time(created));
        return if again { Ok(()) } else { Err(CommandError::Exists) };
    }
    let title_id = place::root(tx, "title", ObjType::Text)?;
    let body_id = place::root(tx, "body", ObjType::Text)?;
    tx.put(ROOT, "author", author.as_str())?;
    tx.put(ROOT, "created", place::time(created))?;
    tx.put(ROOT, "status", PostStatus::Published.as_str())?;
    splice(tx, &title_id, 0, 0, title)?;
    splice(tx, &body_id, 0, 0, body)?;
    tags.iter().try_for_each(|tag| add(tx, "tags", tag))
}

/// Replaces text, within the bounds of the text and of one change.
pub(super) fn splice(
    tx: &mut Transaction<'_>,
    text: &ObjId,
    index: usize,
    delete: usize,
    insert: &str,
) -> Result<(), CommandError> {
    // Where characters are wider than a unit, a deletion that was split is at most this wide.
    let widest = width('\u{1f44d}', tx.text_encoding());
    at_most(delete, widest * SPLICE_CHARS_MAX, "a deletion", "units (split it)")?;
    at_most(insert.chars().count(), SPLICE_CHARS_MAX, "an insertion", "characters (split it)")?;
    let length = tx.length(text);
    let end = index.saturating_add(delete);
    if end > length {
        return Err(CommandError::OutOfRange { index: end, length });
    }
    if delete > 0 || !insert.is_empty() {
        tx.splice_text(text, index, isize::try_from(delete).unwrap_or(isize::MAX), insert)?;
    }
    Ok(())
}

fn marked_range(tx: &Transaction<'_>, end: usize) -> Result<ObjId, CommandError> {
    let body = place::root(tx, "body", ObjType::Text)?;
    let length = tx.length(&body);
    if end > length {
        return Err(CommandError::OutOfRange { index: end, length });
    }
    Ok(body)
}

fn add(tx: &mut Transaction<'_>, set: &'static str, key: &str) -> Result<(), CommandError> {
    let set = place::root(tx, set, ObjType::Map)?;
    Ok(tx.put(set, key, true)?)
}

fn remove(tx: &mut Transaction<'_>, set: &'static str, key: &str) -> Result<(), CommandError> {
    let set = place::root(tx, set, ObjType::Map)?;
    if tx.get(&set, key)?.is_some() {
        tx.delete(set, key)?;
    }
    Ok(())
}

/// Reads the marks of the body. Not by `marks()`, which in automerge 0.12 overlooks marks that begin
/// between the same two characters as others.
fn read_marks(doc: &impl ReadDoc, body: &ObjId) -> Marks {
    let mut marks = Marks::default();
    let mut start = 0;
    for span in doc.spans(body).into_iter().flatten() {
        let (length, set) = match &span {
            automerge::Span::Text { text, marks } => {
                (width_of(text, doc.text_encoding()), marks.as_ref())
            }
            automerge::Span::Block(_) => (1, None),
        };
        for (name, value) in set.iter().flat_map(|set| set.iter()) {
            if let Some(name) = MarkName::named(name) {
                marks.set(name, start, start + length, MarkValue::from_scalar(value));
            }
        }
        start += length;
    }
    marks
}

/// A post as it is shown.
#[derive(Debug, Clone, PartialEq)]
pub struct PostView {
    encoding: TextEncoding,
    title: Text,
    body: Text,
    marks: Marks,
    author: Option<UserId>,
    created: Option<Timestamp>,
    tags: BTreeSet<String>,
    editors: BTreeSet<UserId>,
    status: PostStatus,
}

impl PostView {
    /// The title.
    #[must_use]
    pub fn title(&self) -> &str {
        self.title.as_str()
    }

    /// The body without its marks.
    #[must_use]
    pub fn body(&self) -> &str {
        self.body.as_str()
    }

    pub(crate) fn has_marks(&self) -> bool {
        self.marks != Marks::default()
    }

    /// The body in stretches under the same marks.
    #[must_use]
    pub fn spans(&self) -> Vec<Span> {
        self.marks.spans(self.body.as_str(), self.encoding)
    }

    /// Who created it; `None` before it is created.
    #[must_use]
    pub const fn author(&self) -> Option<&UserId> {
        self.author.as_ref()
    }

    /// When it was created.
    #[must_use]
    pub const fn created(&self) -> Option<Timestamp> {
        self.created
    }

    /// Its tags, sorted.
    #[must_use]
    pub const fn tags(&self) -> &BTreeSet<String> {
        &self.tags
    }

    /// Who may edit besides its author, sorted.
    #[must_use]
    pub const fn editors(&self) -> &BTreeSet<UserId> {
        &self.editors
    }

    /// Whether it is to be shown.
    #[must_use]
    pub const fn status(&self) -> PostStatus {
        self.status
    }

    /// The units in which its positions count.
    #[must_use]
    pub const fn encoding(&self) -> TextEncoding {
        self.encoding
    }

    pub(super) fn read(doc: &Automerge) -> Self {
        let text = |key| {
            let id = place::object(doc, &ROOT, key, ObjType::Text);
            Text::new(id.and_then(|id| doc.text(id).ok()).unwrap_or_default())
        };
        let set = |key| {
            place::object(doc, &ROOT, key, ObjType::Map)
                .map(|id| doc.keys(id).collect::<Vec<_>>())
                .unwrap_or_default()
        };
        let body = place::object(doc, &ROOT, "body", ObjType::Text);
        let mut view = Self {
            encoding: doc.text_encoding(),
            title: text("title"),
            body: text("body"),
            marks: body.map(|id| read_marks(doc, &id)).unwrap_or_default(),
            author: None,
            created: None,
            tags: set("tags").into_iter().collect(),
            editors: set("editors").iter().filter_map(|name| UserId::new(name).ok()).collect(),
            status: PostStatus::default(),
        };
        for key in ["author", "created", "status"] {
            if let Ok(Some((value, _))) = doc.get(ROOT, key) {
                view.set_field(key, Some(&value));
            }
        }
        view
    }

    /// What a document that holds its genesis alone shows.
    pub(super) fn of_genesis(encoding: TextEncoding) -> Self {
        Self {
            encoding,
            title: Text::default(),
            body: Text::default(),
            marks: Marks::default(),
            author: None,
            created: None,
            tags: BTreeSet::new(),
            editors: BTreeSet::new(),
            status: PostStatus::default(),
        }
    }

    fn set_field(&mut self, key: &str, value: Option<&Value<'_>>) {
        let word = value.and_then(place::as_str);
        match key {
            "author" => self.author = word.and_then(|name| UserId::new(&name).ok()),
            "created" => self.created = value.and_then(place::as_time),
            "status" => {
                self.status = word.and_then(|word| PostStatus::named(&word)).unwrap_or_default();
            }
            _ => {}
        }
    }

    pub(super) fn patch(&mut self, doc: &Automerge, patches: &[Patch]) -> Vec<Event> {
        let mut events = Vec::new();
        let (author, status) = (self.author.clone(), self.status);
        let mut doubtful = false;
        for patch in patches {
            doubtful |= self.is_doubtful(patch);
            match place::keys(patch).as_deref() {
                Some([]) => self.patch_root(doc, patch, &mut events),
                Some(["title"]) => self.patch_text(TextField::Title, patch, &mut events),
                Some(["body"]) => self.patch_text(TextField::Body, patch, &mut events),
                Some(["tags"]) => self.patch_tags(doc, patch, &mut events),
                Some(["editors"]) => self.patch_editors(doc, patch, &mut events),
                _ => {}
            }
        }
        if doubtful {
            self.read_marks_again(doc, &mut events);
        }
        self.push_fields(author.as_ref(), status, &mut events);
        events
    }

    /// Whether what a patch says about marks need not be true: automerge 0.12 is mistaken about
    /// marks that others set at the same time, and about text at the border of a mark.
    fn is_doubtful(&self, patch: &Patch) -> bool {
        if place::keys(patch).as_deref() != Some(&["body"]) {
            return false;
        }
        match &patch.action {
            PatchAction::Mark { .. } => true,
            PatchAction::SpliceText { index, .. } => self.marks.has_border_in(*index, *index),
            PatchAction::DeleteSeq { index, length } => {
                self.marks.has_border_in(*index, *index + *length)
            }
            PatchAction::PutMap { .. }
            | PatchAction::PutSeq { .. }
            | PatchAction::Insert { .. }
            | PatchAction::Increment { .. }
            | PatchAction::Conflict { .. }
            | PatchAction::DeleteMap { .. } => false,
        }
    }

    fn read_marks_again(&mut self, doc: &Automerge, events: &mut Vec<Event>) {
        let body = place::object(doc, &ROOT, "body", ObjType::Text);
        let marks = body.map(|body| read_marks(doc, &body)).unwrap_or_default();
        if marks != self.marks {
            self.marks = marks;
            let end = width_of(self.body.as_str(), self.encoding);
            events.push(Event::MarksChanged { start: 0, end });
        }
    }

    /// Says what became of the plain fields, once per batch.
    fn push_fields(&self, author: Option<&UserId>, status: PostStatus, events: &mut Vec<Event>) {
        if self.author.as_ref() != author {
            events.insert(
                0,
                match &self.author {
                    Some(author) => Event::PostCreated { author: author.clone() },
                    None => Event::PostRemoved,
                },
            );
        }
        if self.status != status {
            events.push(Event::StatusChanged { status: self.status });
        }
    }

    fn patch_root(&mut self, doc: &Automerge, patch: &Patch, events: &mut Vec<Event>) {
        match place::map_put(patch) {
            Put::Value("title", _) | Put::Gone("title") => self.clear(TextField::Title, events),
            Put::Value("body", _) | Put::Gone("body") => self.clear(TextField::Body, events),
            Put::Value("tags", _) | Put::Gone("tags") => {
                let gone = std::mem::take(&mut self.tags);
                events.extend(gone.into_iter().map(|tag| Event::TagRemoved { tag }));
            }
            Put::Value("editors", _) | Put::Gone("editors") => {
                let gone = std::mem::take(&mut self.editors);
                events.extend(gone.into_iter().map(|user| Event::EditorRemoved { user }));
            }
            Put::Value(key, value) => self.set_field(key, Some(value)),
            Put::Gone(key) => self.set_field(key, None),
            Put::Unclear(key) => self.set_field(key, place::value(doc, patch, key).as_ref()),
            Put::Nothing => {}
        }
    }

    fn clear(&mut self, field: TextField, events: &mut Vec<Event>) {
        let text = match field {
            TextField::Title => std::mem::take(&mut self.title),
            TextField::Body => {
                self.marks = Marks::default();
                std::mem::take(&mut self.body)
            }
        };
        let deleted = width_of(text.as_str(), self.encoding);
        if deleted > 0 {
            events.push(spliced(field, 0, deleted, String::new()));
        }
    }

    fn patch_text(&mut self, field: TextField, patch: &Patch, events: &mut Vec<Event>) {
        let encoding = self.encoding;
        let (text, marks) = match field {
            TextField::Title => (&mut self.title, None),
            TextField::Body => (&mut self.body, Some(&mut self.marks)),
        };
        match &patch.action {
            PatchAction::SpliceText { index, value, marks: set } => {
                let value = value.make_string();
                text.splice(*index, 0, &value, encoding);
                if let Some(marks) = marks {
                    let length = width_of(&value, encoding);
                    marks.inserted(*index, length);
                    for (name, value) in set.iter().flat_map(|set| set.iter()) {
                        if let Some(name) = MarkName::named(name) {
                            let value = MarkValue::from_scalar(value);
                            marks.set(name, *index, *index + length, value);
                        }
                    }
                }
                events.push(spliced(field, *index, 0, value));
            }
            PatchAction::DeleteSeq { index, length } => {
                text.splice(*index, *length, "", encoding);
                if let Some(marks) = marks {
                    marks.deleted(*index, *length);
                }
                events.push(spliced(field, *index, *length, String::new()));
            }
            PatchAction::Mark { marks: set } => {
                let Some(marks) = marks else { return };
                for mark in set {
                    if let Some(name) = MarkName::named(&mark.name) {
                        let value = MarkValue::from_scalar(&mark.value);
                        marks.set(name, mark.start, mark.end, value);
                        events.push(Event::MarksChanged { start: mark.start, end: mark.end });
                    }
                }
            }
            PatchAction::PutMap { .. }
            | PatchAction::PutSeq { .. }
            | PatchAction::Insert { .. }
            | PatchAction::Increment { .. }
            | PatchAction::Conflict { .. }
            | PatchAction::DeleteMap { .. } => {}
        }
    }

    fn patch_tags(&mut self, doc: &Automerge, patch: &Patch, events: &mut Vec<Event>) {
        let Some((tag, there)) = member(doc, patch) else { return };
        let tag = tag.to_owned();
        if there {
            if self.tags.insert(tag.clone()) {
                events.push(Event::TagAdded { tag });
            }
        } else if self.tags.remove(&tag) {
            events.push(Event::TagRemoved { tag });
        }
    }

    fn patch_editors(&mut self, doc: &Automerge, patch: &Patch, events: &mut Vec<Event>) {
        let Some((name, there)) = member(doc, patch) else { return };
        let Ok(user) = UserId::new(name) else { return };
        if there {
            if self.editors.insert(user.clone()) {
                events.push(Event::EditorAdded { user });
            }
        } else if self.editors.remove(&user) {
            events.push(Event::EditorRemoved { user });
        }
    }

    pub(super) fn diff(&self, newer: &Self) -> Vec<Event> {
        let mut events = Vec::new();
        for (field, old, new) in [
            (TextField::Title, &self.title, &newer.title),
            (TextField::Body, &self.body, &newer.body),
        ] {
            let edit = text_edit_in(newer.encoding, old.as_str(), new.as_str());
            events.extend(
                edit.map(|(index, deleted, insert)| spliced(field, index, deleted, insert)),
            );
        }
        if self.marks != newer.marks {
            let end = width_of(newer.body(), newer.encoding);
            events.push(Event::MarksChanged { start: 0, end });
        }
        let tag = |tag: &String| tag.clone();
        events.extend(
            self.tags.difference(&newer.tags).map(tag).map(|tag| Event::TagRemoved { tag }),
        );
        events
            .extend(newer.tags.difference(&self.tags).map(tag).map(|tag| Event::TagAdded { tag }));
        let gone = self.editors.difference(&newer.editors).cloned();
        events.extend(gone.map(|user| Event::EditorRemoved { user }));
        let come = newer.editors.difference(&self.editors).cloned();
        events.extend(come.map(|user| Event::EditorAdded { user }));
        newer.push_fields(self.author.as_ref(), self.status, &mut events);
        events
    }
}

/// Of which member of a flat set a patch tells, and whether it is in the set.
fn member<'a>(doc: &Automerge, patch: &'a Patch) -> Option<(&'a str, bool)> {
    match place::map_put(patch) {
        Put::Value(key, _) => Some((key, true)),
        Put::Gone(key) => Some((key, false)),
        Put::Unclear(key) => Some((key, place::value(doc, patch, key).is_some())),
        Put::Nothing => None,
    }
}

const fn spliced(field: TextField, index: usize, deleted: usize, inserted: String) -> Event {
    match field {
        TextField::Title => Event::TitleSpliced { index, deleted, inserted },
        TextField::Body => Event::BodySpliced { index, deleted, inserted },
    }
}
