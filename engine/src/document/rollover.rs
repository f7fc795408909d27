//! The first changes of a new epoch: what a document shows at the end of the old one, written down
//! again on genesis, by one actor and without the history that led there. Must never know why an epoch
//! ends or who asks.
//!
//! The result follows from what the old document shows, the new epoch and the time alone: a server and
//! every replica that has read the old log to its end make the same changes, byte for byte. So nobody
//! who is up to date has to be sent anything, and what was pending on the old document finds its places
//! in the new one ([`same_places`]).
//!
//! The order is part of the protocol, and so are the limits below. Of a map first the scalars, then the
//! objects, each in the order of their keys; what genesis made already is filled and not made again.
//! Comments come last, each in one change and after what it answers: by their depth in the thread, then
//! by id. A text is written in pieces and then marked, stretch by stretch. A change is closed before what
//! would make it larger than `OPS` or `BYTES`. All have the time at which the epoch begins.

use std::collections::BTreeMap;

use automerge::transaction::{CommitOptions, Transactable};
use automerge::{
    AutoCommit, Automerge, AutomergeError, ObjId, ObjType, Prop, ROOT, ReadDoc, ScalarValue, Value,
    ValueRef,
};

use super::post::expand_of;
use super::text::marks_of;
use super::{genesis, width_of};
use crate::clock::Timestamp;
use crate::ids::{ActorId, Address, Epoch, Facet};
use crate::limits::{CHANGE_BYTES_MAX, CHANGE_OPS_MAX, COUNT_MAX, JSON_COUNTER_MAX};

/// Operations after which a change is closed.
const OPS: usize = CHANGE_OPS_MAX / 8;
/// Bytes of values after which a change is closed: a single value of any size then still fits.
const BYTES: usize = CHANGE_BYTES_MAX / 4;
/// Characters of a text that are written at once.
const CHARS: usize = 512;

/// The document with which an epoch begins, where the one before it ended as `old`.
///
/// # Errors
/// What automerge refused.
pub fn begin_epoch(
    address: &Address,
    old: &Automerge,
    epoch: Epoch,
    at: Timestamp,
) -> Result<Automerge, AutomergeError> {
    let mut document = AutoCommit::new_with_encoding(old.text_encoding());
    document.apply_changes([genesis::change(address)])?;
    document.set_actor(automerge::ActorId::from(ActorId::rollover(epoch).0));
    let time = i64::try_from(at.0).unwrap_or(i64::MAX);
    let comments = (address.facet() == Facet::Comments).then(Vec::new);
    let mut scribe = Scribe { old, document, time, bytes: 0, whole: false, comments };
    scribe.fill_map(&ROOT, &ROOT)?;
    scribe.write_comments()?;
    scribe.close();
    // An epoch begins with a change of its own also where there is nothing to write.
    if scribe.document.get_changes(&[]).len() == 1 {
        scribe.document.empty_change(scribe.options());
    }
    Ok(scribe.document.document().clone())
}

/// For each object of a document that shows the same as another, the object in its place there. Only
/// those are named whose names differ.
#[must_use]
pub fn same_places(from: &Automerge, to: &Automerge) -> BTreeMap<ObjId, ObjId> {
    let mut places = BTreeMap::new();
    let mut open = vec![(ROOT, ROOT)];
    while let Some((here, there)) = open.pop() {
        let mut pair = |key: Prop, object: ObjId| {
            if let Ok(Some((Value::Object(_), other))) = to.get(&there, key) {
                open.push((object, other));
            }
        };
        match from.object_type(&here) {
            Ok(ObjType::Map | ObjType::Table) => {
                for item in from.map_range(&here, ..) {
                    if matches!(item.value, ValueRef::Object(_)) {
                        pair(Prop::Map(item.key.to_string()), item.id());
                    }
                }
            }
            Ok(ObjType::List) => {
                for item in from.list_range(&here, ..) {
                    if matches!(item.value, ValueRef::Object(_)) {
                        pair(Prop::Seq(item.index), item.id());
                    }
                }
            }
            Ok(ObjType::Text) | Err(_) => {}
        }
        if here != there {
            places.insert(here, there);
        }
    }
    places
}

struct Scribe<'a> {
    old: &'a Automerge,
    document: AutoCommit,
    time: i64,
    /// Bytes of values in the change that is open.
    bytes: usize,
    /// Whether what is being written must be one change.
    whole: bool,
    /// In a document of comments, those that are still to be written.
    comments: Option<Vec<Comment>>,
}

/// A comment, the bucket that it is to stand in, and under which key.
struct Comment {
    from: ObjId,
    bucket: ObjId,
    key: String,
}

impl Scribe<'_> {
    fn options(&self) -> CommitOptions {
        CommitOptions::default().with_time(self.time)
    }

    fn close(&mut self) {
        let options = self.options();
        self.document.commit_with(options);
        self.bytes = 0;
    }

    /// Makes room for a value of so many bytes.
    fn room(&mut self, bytes: usize) {
        let full = self.bytes + bytes > BYTES || self.document.pending_ops() >= OPS;
        if full && !self.whole && self.document.pending_ops() > 0 {
            self.close();
        }
        self.bytes += bytes;
    }

    fn fill_map(&mut self, from: &ObjId, to: &ObjId) -> Result<(), AutomergeError> {
        let old = self.old;
        let stale: Vec<String> = self.document.keys(to).collect();
        for key in stale {
            if old.get(from, key.as_str())?.is_none() {
                self.document.delete(to, key.as_str())?;
            }
        }
        // What says whose a post is stands in one change, before anything is in it.
        for item in old.map_range(from, ..) {
            if let Value::Scalar(value) = item.value.clone().into_value() {
                self.put(to, &item.key, value.into_owned())?;
            }
        }
        for item in old.map_range(from, ..) {
            let ValueRef::Object(kind) = item.value else { continue };
            let key: &str = &item.key;
            let standing = self.document.get(to, key)?;
            if let Some((Value::Object(made), there)) = standing
                && made == kind
            {
                self.fill(&item.id(), &there, kind)?;
            } else if let Some(comments) = &mut self.comments {
                let key = key.to_owned();
                comments.push(Comment { from: item.id(), bucket: to.clone(), key });
            } else {
                self.room(key.len());
                let made = self.document.put_object(to, key, kind)?;
                self.fill(&item.id(), &made, kind)?;
            }
        }
        Ok(())
    }

    fn put(&mut self, to: &ObjId, key: &str, value: ScalarValue) -> Result<(), AutomergeError> {
        self.room(key.len() + bytes_of(&value));
        match (self.document.get(to, key)?, &value) {
            (Some((Value::Scalar(there), _)), _) if *there == value => Ok(()),
            (Some((Value::Scalar(there), _)), ScalarValue::Counter(_))
                if matches!(*there, ScalarValue::Counter(_)) =>
            {
                let by = value.as_i64().unwrap_or(0).wrapping_sub(there.as_i64().unwrap_or(0));
                self.count(to, &Prop::from(key), by, COUNT_MAX)
            }
            (_, ScalarValue::Counter(_)) => {
                let (first, rest) = counts(&value);
                self.document.put(to, key, ScalarValue::counter(first))?;
                self.count(to, &Prop::from(key), rest, JSON_COUNTER_MAX)
            }
            _ => self.document.put(to, key, value),
        }
    }

    /// Moves a counter, by no more at once than the gate lets in: never more often than it was moved.
    fn count(&mut self, of: &ObjId, prop: &Prop, by: i64, most: u64) -> Result<(), AutomergeError> {
        let (most, mut left) = (most.cast_signed(), by);
        while left != 0 {
            self.room(0);
            let step = left.clamp(-most, most);
            self.document.increment(of, prop.clone(), step)?;
            left -= step;
        }
        Ok(())
    }

    /// Writes the comments, each after the one that it answers and in one change.
    fn write_comments(&mut self) -> Result<(), AutomergeError> {
        let Some(mut comments) = self.comments.take() else { return Ok(()) };
        let mut parents = BTreeMap::new();
        for comment in &comments {
            let parent = self.old.get(&comment.from, "parent")?;
            let parent = parent.and_then(|(value, _)| value.as_str().map(str::to_owned));
            parents.insert(comment.key.clone(), parent);
        }
        let depths = depths(&parents);
        let depth = |comment: &Comment| depths.get(&comment.key).copied().unwrap_or(usize::MAX);
        comments.sort_by_cached_key(|comment| (depth(comment), comment.key.clone()));
        for Comment { from, bucket, key } in comments {
            self.room(key.len());
            self.whole = true;
            let made = self.document.put_object(&bucket, key, ObjType::Map)?;
            self.fill_map(&from, &made)?;
            self.whole = false;
        }
        Ok(())
    }

    fn fill(&mut self, from: &ObjId, to: &ObjId, kind: ObjType) -> Result<(), AutomergeError> {
        match kind {
            ObjType::Map | ObjType::Table => self.fill_map(from, to),
            ObjType::List => self.fill_list(from, to),
            ObjType::Text => self.fill_text(from, to),
        }
    }

    fn fill_list(&mut self, from: &ObjId, to: &ObjId) -> Result<(), AutomergeError> {
        let old = self.old;
        for (index, item) in old.list_range(from, ..).enumerate() {
            match item.value.clone().into_value() {
                Value::Object(kind) => {
                    self.room(0);
                    let made = self.document.insert_object(to, index, kind)?;
                    self.fill(&item.id(), &made, kind)?;
                }
                Value::Scalar(value) => {
                    self.room(bytes_of(&value));
                    if let ScalarValue::Counter(_) = &*value {
                        let (first, rest) = counts(&value);
                        self.document.insert(to, index, ScalarValue::counter(first))?;
                        self.count(to, &Prop::from(index), rest, JSON_COUNTER_MAX)?;
                    } else {
                        self.document.insert(to, index, value.into_owned())?;
                    }
                }
            }
        }
        Ok(())
    }

    fn fill_text(&mut self, from: &ObjId, to: &ObjId) -> Result<(), AutomergeError> {
        let encoding = self.old.text_encoding();
        let text = self.old.text(from)?;
        let mut rest = text.as_str();
        let mut index = 0;
        while !rest.is_empty() {
            let cut = rest.char_indices().nth(CHARS).map_or(rest.len(), |(at, _)| at);
            let (part, after) = rest.split_at(cut);
            self.room(part.len());
            self.document.splice_text(to, index, 0, part)?;
            index += width_of(part, encoding);
            rest = after;
        }
        for mark in marks_of(self.old, from)? {
            self.room(mark.name().len() + mark.value().as_str().map_or(8, str::len));
            let expand = expand_of(mark.name());
            self.document.mark(to, mark, expand)?;
        }
        Ok(())
    }
}

/// With what a counter of a schemaless document begins, and how much is left to count.
fn counts(value: &ScalarValue) -> (i64, i64) {
    let whole = value.as_i64().unwrap_or(0);
    let most = JSON_COUNTER_MAX.cast_signed();
    let first = whole.clamp(-most, most);
    (first, whole.wrapping_sub(first))
}

/// How deep in its thread each comment is, from what each answers. Comments that answer each other in a
/// circle, which the gate lets nobody make, are in no thread.
fn depths(parents: &BTreeMap<String, Option<String>>) -> BTreeMap<String, usize> {
    let mut replies: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let mut level: Vec<&str> = Vec::new();
    for (id, parent) in parents {
        match parent.as_deref().filter(|parent| parents.contains_key(*parent)) {
            Some(parent) => replies.entry(parent).or_default().push(id),
            None => level.push(id),
        }
    }
    let mut depths = BTreeMap::new();
    let mut depth = 0;
    while !level.is_empty() {
        let next = level.iter().filter_map(|id| replies.get(id)).flatten().copied().collect();
        depths.extend(level.into_iter().map(|id| (id.to_owned(), depth)));
        (level, depth) = (next, depth + 1);
    }
    depths
}

fn bytes_of(value: &ScalarValue) -> usize {
    match value {
        ScalarValue::Str(text) => text.len(),
        ScalarValue::Bytes(bytes) => bytes.len(),
        ScalarValue::Int(_)
        | ScalarValue::Uint(_)
        | ScalarValue::F64(_)
        | ScalarValue::Counter(_)
        | ScalarValue::Timestamp(_)
        | ScalarValue::Boolean(_)
        | ScalarValue::Unknown { .. }
        | ScalarValue::Null => 8,
    }
}
