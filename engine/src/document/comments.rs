//! The comments of a post as threads. Must never know who may comment or moderate.
//!
//! The order is derived (thread, then id), the same on every replica. A deleted comment stays as a
//! tombstone that keeps its replies together.

use std::collections::{BTreeMap, BTreeSet};

use automerge::transaction::{Transactable, Transaction};
use automerge::{Automerge, ObjId, ObjType, Patch, ReadDoc, Value, ValueRef};
use serde::{Deserialize, Serialize};

use super::command::{CommandError, at_most, shortened};
use super::place::{self, Put, Spot, bucket, bucket_name};
use super::{Event, saved};
use crate::clock::Timestamp;
use crate::ids::{Ulid, UserId};
use crate::limits::COMMENT_BYTES_MAX;

/// The bucket maps' key at the root.
const SET: &str = "comments";

/// What a user does to the comments.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CommentsCommand {
    /// Writes a comment; does nothing if there is one with this id.
    Add {
        /// Its id, used once.
        #[serde(with = "saved::text")]
        id: Ulid,
        /// Who writes it; never changes.
        #[serde(with = "saved::user")]
        author: UserId,
        /// The comment that it answers, or `None` if it answers the post.
        #[serde(with = "saved::optional_ulid")]
        parent: Option<Ulid>,
        /// When.
        #[serde(with = "saved::millis")]
        created: Timestamp,
        /// The text.
        body: String,
    },
    /// Replaces the text of a comment.
    Edit {
        /// Which.
        #[serde(with = "saved::text")]
        id: Ulid,
        /// The new text.
        body: String,
        /// When.
        #[serde(with = "saved::millis")]
        edited: Timestamp,
    },
    /// Deletes a comment but not its replies.
    Delete {
        /// Which.
        #[serde(with = "saved::text")]
        id: Ulid,
        /// When.
        #[serde(with = "saved::millis")]
        at: Timestamp,
    },
}

fn check_body(body: &str) -> Result<(), CommandError> {
    if body.is_empty() {
        return Err(CommandError::Argument("a comment needs text"));
    }
    at_most(body.len(), COMMENT_BYTES_MAX, "a comment", "bytes")
}

impl CommentsCommand {
    pub(super) fn check(&self) -> Result<(), CommandError> {
        match self {
            Self::Add { id, parent, .. } if *parent == Some(*id) => {
                Err(CommandError::Argument("a comment can't answer itself"))
            }
            Self::Add { body, .. } | Self::Edit { body, .. } => check_body(body),
            Self::Delete { .. } => Ok(()),
        }
    }

    pub(super) fn apply(&self, tx: &mut Transaction<'_>) -> Result<(), CommandError> {
        match self {
            Self::Add { id, author, parent, created, body } => {
                let key = id.to_string();
                let bucket = place::bucket_of(tx, SET, &key)?;
                if tx.get(&bucket, key.as_str())?.is_some() {
                    return Ok(());
                }
                if let Some(parent) = parent {
                    find(tx, *parent, "the comment that this one answers")?;
                }
                let comment = tx.put_object(&bucket, key, ObjType::Map)?;
                tx.put(&comment, "author", author.as_str())?;
                if let Some(parent) = parent {
                    tx.put(&comment, "parent", parent.to_string())?;
                }
                tx.put(&comment, "created", place::time(*created))?;
                tx.put(&comment, "body", body.as_str())?;
                Ok(())
            }
            Self::Edit { id, body, edited } => {
                let comment = find(tx, *id, "the comment")?;
                if tx.get(&comment, "deleted")?.is_some() {
                    return Err(CommandError::Deleted);
                }
                if place::scalar(tx, &comment, "body").and_then(|b| b.into_string().ok()).as_ref()
                    != Some(body)
                {
                    tx.put(&comment, "body", body.as_str())?;
                    tx.put(&comment, "edited", place::time(*edited))?;
                }
                Ok(())
            }
            Self::Delete { id, at } => {
                let comment = find(tx, *id, "the comment")?;
                if tx.get(&comment, "deleted")?.is_none() {
                    tx.put(&comment, "deleted", place::time(*at))?;
                }
                Ok(())
            }
        }
    }

    pub(super) fn has_rivals(&self, doc: &Automerge) -> bool {
        match self {
            Self::Edit { id, .. } => {
                find(doc, *id, "the comment").is_ok_and(|id| place::is_contested(doc, &id, "body"))
            }
            Self::Add { .. } | Self::Delete { .. } => false,
        }
    }

    pub(super) fn summary(&self) -> String {
        match self {
            Self::Add { author, parent: None, body, .. } => {
                format!("{author} comments “{}”", shortened(body))
            }
            Self::Add { author, parent: Some(parent), body, .. } => {
                format!("{author} answers {parent} with “{}”", shortened(body))
            }
            Self::Edit { id, body, .. } => format!("edit comment {id} to “{}”", shortened(body)),
            Self::Delete { id, .. } => format!("delete comment {id}"),
        }
    }
}

fn find(doc: &impl ReadDoc, id: Ulid, what: &'static str) -> Result<ObjId, CommandError> {
    let key = id.to_string();
    let bucket = place::bucket_of(doc, SET, &key)?;
    place::object(doc, &bucket, key, ObjType::Map).ok_or(CommandError::NotFound { what })
}

/// A comment as it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Comment {
    /// Who wrote it.
    pub author: UserId,
    /// The comment that it answers.
    pub parent: Option<Ulid>,
    /// When it was written.
    pub created: Timestamp,
    /// The text. A deleted comment keeps it, as a post does; whoever shows comments leaves it out.
    pub body: String,
    /// When it was last edited.
    pub edited: Option<Timestamp>,
    /// When it was deleted.
    pub deleted: Option<Timestamp>,
}

/// A comment as it is in the document, where nothing is certain to be there.
#[derive(Debug, Clone, Default, PartialEq)]
struct Raw {
    author: Option<UserId>,
    parent: Option<Ulid>,
    created: Option<Timestamp>,
    body: Option<String>,
    edited: Option<Timestamp>,
    deleted: Option<Timestamp>,
}

impl Raw {
    fn set(&mut self, key: &str, value: Option<&Value<'_>>) {
        let word = || value.and_then(place::as_str);
        let time = || value.and_then(place::as_time);
        match key {
            "author" => self.author = word().and_then(|name| UserId::new(&name).ok()),
            "parent" => self.parent = word().and_then(|id| id.parse().ok()),
            "created" => self.created = time(),
            "body" => self.body = word(),
            "edited" => self.edited = time(),
            "deleted" => self.deleted = time(),
            _ => {}
        }
    }

    fn read(doc: &Automerge, comment: &ObjId) -> Self {
        let mut raw = Self::default();
        for field in doc.map_range(comment, ..) {
            raw.set(&field.key, Some(&field.value.into_value()));
        }
        raw
    }

    fn shown(&self) -> Option<Comment> {
        let body = self.body.as_ref()?;
        Some(Comment {
            author: self.author.clone()?,
            parent: self.parent,
            created: self.created?,
            body: body.clone(),
            edited: self.edited,
            deleted: self.deleted,
        })
    }
}

/// Comments as they are shown.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CommentsView {
    raw: BTreeMap<Ulid, Raw>,
    shown: BTreeMap<Ulid, Comment>,
    /// Under each parent that is named, whether it exists or not.
    children: BTreeMap<Option<Ulid>, BTreeSet<Ulid>>,
    live: usize,
}

impl CommentsView {
    /// The comment with this id, deleted ones included.
    #[must_use]
    pub fn comment(&self, id: Ulid) -> Option<&Comment> {
        self.shown.get(&id)
    }

    /// How many comments there are that were not deleted.
    #[must_use]
    pub const fn live(&self) -> usize {
        self.live
    }

    /// How many comments there are, deleted ones included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shown.len()
    }

    /// Whether there is none at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.shown.is_empty()
    }

    /// Every comment by id.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (Ulid, &Comment)> {
        self.shown.iter().map(|(id, comment)| (*id, comment))
    }

    /// The comments that answer the post, by id, and those whose parent is not there.
    pub fn roots(&self) -> impl Iterator<Item = Ulid> {
        let mut roots = self.children.get(&None).cloned().unwrap_or_default();
        for (parent, orphans) in &self.children {
            if parent.is_some_and(|parent| !self.shown.contains_key(&parent)) {
                roots.extend(orphans);
            }
        }
        roots.into_iter()
    }

    /// The comments that answer this one, by id.
    pub fn replies(&self, id: Ulid) -> impl DoubleEndedIterator<Item = Ulid> {
        self.children.get(&Some(id)).into_iter().flatten().copied()
    }

    /// Every comment in the order in which it is read (depth first, siblings by id) with its depth, 0
    /// at the root. Comments whose parents form a circle are shown where the circle is cut, at the
    /// comment with the smallest id, so that each comment appears once.
    pub fn thread(&self) -> impl Iterator<Item = (usize, Ulid, &Comment)> {
        let mut order = Vec::with_capacity(self.shown.len());
        let mut seen = BTreeSet::new();
        self.descend(self.roots().collect(), &mut order, &mut seen);
        if seen.len() < self.shown.len() {
            for id in self.shown.keys() {
                if !seen.contains(id) {
                    self.descend(vec![*id], &mut order, &mut seen);
                }
            }
        }
        order.into_iter().filter_map(|(depth, id)| Some((depth, id, self.shown.get(&id)?)))
    }

    fn descend(&self, from: Vec<Ulid>, order: &mut Vec<(usize, Ulid)>, seen: &mut BTreeSet<Ulid>) {
        let mut stack: Vec<(usize, Ulid)> = from.into_iter().rev().map(|id| (0, id)).collect();
        while let Some((depth, id)) = stack.pop() {
            if seen.insert(id) {
                order.push((depth, id));
                stack.extend(self.replies(id).rev().map(|reply| (depth + 1, reply)));
            }
        }
    }

    pub(super) fn read(doc: &Automerge) -> Self {
        let mut view = Self::default();
        let count = place::bucket_count(doc, SET);
        place::walk(doc, SET, |spot, entry| match spot {
            Spot::Root | Spot::Set => {}
            Spot::Bucket(name) => {
                if let Some(id) = in_bucket(&entry.key, name, count)
                    && matches!(entry.value, ValueRef::Object(ObjType::Map))
                {
                    view.raw.insert(id, Raw::default());
                }
            }
            Spot::Entry { bucket, key } => {
                if let Some(id) = in_bucket(key, bucket, count)
                    && let Some(raw) = view.raw.get_mut(&id)
                {
                    raw.set(&entry.key, Some(&entry.value.into_value()));
                }
            }
        });
        let ids: Vec<Ulid> = view.raw.keys().copied().collect();
        for id in ids {
            view.refresh(id);
        }
        view
    }

    /// Shows what is known of a comment; says what that changes for a reader.
    fn refresh(&mut self, id: Ulid) -> Option<Event> {
        let new = self.raw.get(&id).and_then(Raw::shown);
        let old = self.shown.remove(&id);
        if let Some(old) = &old {
            let siblings = self.children.entry(old.parent).or_default();
            siblings.remove(&id);
            if siblings.is_empty() {
                self.children.remove(&old.parent);
            }
            self.live -= usize::from(old.deleted.is_none());
        }
        let event = event(id, old.as_ref(), new.as_ref());
        if let Some(new) = new {
            self.children.entry(new.parent).or_default().insert(id);
            self.live += usize::from(new.deleted.is_none());
            self.shown.insert(id, new);
        }
        event
    }

    pub(super) fn patch(&mut self, doc: &Automerge, patches: &[Patch]) -> Vec<Event> {
        let count = place::bucket_count(doc, SET);
        let mut touched = BTreeSet::new();
        for patch in patches {
            let put = place::map_put(patch);
            match place::keys(patch).as_deref() {
                Some([]) if matches!(put, Put::Value(SET, _) | Put::Gone(SET)) => {
                    touched.extend(std::mem::take(&mut self.raw).into_keys());
                }
                Some([SET]) => {
                    let (Put::Value(name, _) | Put::Gone(name)) = put else { continue };
                    self.raw.retain(|id, _| {
                        let stays = bucket_name(bucket(&id.to_string(), count)) != name;
                        if !stays {
                            touched.insert(*id);
                        }
                        stays
                    });
                }
                Some([SET, name]) => {
                    let Some(key) = put.key() else { continue };
                    let Some(id) = in_bucket(key, name, count) else { continue };
                    touched.insert(id);
                    self.patch_comment(id, doc, patch, put);
                }
                Some([SET, name, key]) => {
                    let Some(id) = in_bucket(key, name, count) else { continue };
                    touched.insert(id);
                    let raw = self.raw.entry(id).or_default();
                    match put {
                        Put::Value(field, value) => raw.set(field, Some(value)),
                        Put::Gone(field) => raw.set(field, None),
                        Put::Unclear(field) => {
                            raw.set(field, place::value(doc, patch, field).as_ref());
                        }
                        Put::Nothing => {}
                    }
                }
                _ => {}
            }
        }
        touched.into_iter().filter_map(|id| self.refresh(id)).collect()
    }

    /// Follows a patch about the key of a comment. The patches that fill a new one come after it.
    fn patch_comment(&mut self, id: Ulid, doc: &Automerge, patch: &Patch, put: Put<'_>) {
        let raw = match put {
            Put::Value(_, Value::Object(ObjType::Map)) => Some(Raw::default()),
            Put::Unclear(key) => place::object(doc, &patch.obj, key, ObjType::Map)
                .map(|comment| Raw::read(doc, &comment)),
            Put::Value(..) | Put::Gone(_) | Put::Nothing => None,
        };
        match raw {
            Some(raw) => self.raw.insert(id, raw),
            None => self.raw.remove(&id),
        };
    }

    pub(super) fn diff(&self, newer: &Self) -> Vec<Event> {
        let ids: BTreeSet<Ulid> = self.shown.keys().chain(newer.shown.keys()).copied().collect();
        ids.into_iter()
            .filter_map(|id| event(id, self.shown.get(&id), newer.shown.get(&id)))
            .collect()
    }
}

fn event(id: Ulid, old: Option<&Comment>, new: Option<&Comment>) -> Option<Event> {
    match (old, new) {
        (None, Some(new)) => {
            Some(Event::CommentAdded { id, parent: new.parent, author: new.author.clone() })
        }
        (Some(_), None) => Some(Event::CommentRemoved { id }),
        (Some(old), Some(new)) if old.deleted.is_none() && new.deleted.is_some() => {
            Some(Event::CommentDeleted { id })
        }
        (Some(old), Some(new)) => (old != new).then_some(Event::CommentEdited { id }),
        (None, None) => None,
    }
}

/// Reads a key, unless it is malformed or lies in a bucket where nobody would look for it.
fn in_bucket(key: &str, name: &str, count: u32) -> Option<Ulid> {
    if place::is_bucket_name(name, bucket(key, count)) { key.parse().ok() } else { None }
}
