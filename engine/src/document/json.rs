//! A schemaless document: maps, lists, texts, counters and scalars under a root map that belongs to
//! the app. Must never know what any of it means.

use std::collections::BTreeMap;
use std::fmt;

use automerge::transaction::{Transactable, Transaction};
use automerge::{
    Automerge, ObjId, ObjType, Patch, PatchAction, Prop, ReadDoc, ScalarValue, TextEncoding, Value,
};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::Event;
use super::command::{CommandError, at_most, shortened};
use super::place;
use super::post::splice;
use super::text::{Splice, Text, split_chars, split_splice, text_slice, width_of};
use crate::limits::{CHANGE_BYTES_MAX, SPLICE_CHARS_MAX};

/// How many maps and lists lie in each other. What is deeper is neither written nor shown, so that
/// nothing that walks a document needs more stack than this.
pub const JSON_DEPTH_MAX: usize = 32;
/// The content's key at the root of the document.
const ROOT_KEY: &str = "root";
/// Bytes of one key.
const KEY_BYTES_MAX: usize = 256;

/// One step of a path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(untagged)]
pub enum PathSegment {
    /// Into a list.
    Index(usize),
    /// Into a map.
    Key(String),
}

impl From<&str> for PathSegment {
    fn from(key: &str) -> Self {
        Self::Key(key.to_owned())
    }
}

impl From<usize> for PathSegment {
    fn from(index: usize) -> Self {
        Self::Index(index)
    }
}

impl fmt::Display for PathSegment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(key) => f.write_str(key),
            Self::Index(index) => write!(f, "{index}"),
        }
    }
}

impl From<&PathSegment> for Prop {
    fn from(segment: &PathSegment) -> Self {
        match segment {
            PathSegment::Key(key) => Self::Map(key.clone()),
            PathSegment::Index(index) => Self::Seq(*index),
        }
    }
}

/// What a user does to a schemaless document.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JsonCommand {
    /// Puts a value in its place. Objects become maps, arrays lists, strings scalars that are
    /// replaced as a whole.
    Put {
        /// The place.
        path: Vec<PathSegment>,
        /// The value.
        value: Json,
    },
    /// Puts a text in its place that several can edit at once.
    PutText {
        /// The place.
        path: Vec<PathSegment>,
        /// Its first content.
        text: String,
    },
    /// Puts a counter in its place. Make counters before they are shared: of two that are made
    /// at the same time, one is lost with everything that was added to it.
    PutCounter {
        /// The place.
        path: Vec<PathSegment>,
        /// Its first value.
        value: i64,
    },
    /// Removes what is there; does nothing if that is nothing.
    Delete {
        /// The place.
        path: Vec<PathSegment>,
    },
    /// Inserts into a list.
    Insert {
        /// The list.
        path: Vec<PathSegment>,
        /// Before which element.
        index: usize,
        /// The value.
        value: Json,
    },
    /// Replaces a stretch of a text.
    Splice {
        /// The text.
        path: Vec<PathSegment>,
        /// At which position, in the units of the document's text encoding.
        index: usize,
        /// How much of what follows goes away.
        delete: usize,
        /// What comes instead.
        insert: String,
    },
    /// Adds to a counter, which must exist.
    Increment {
        /// The counter.
        path: Vec<PathSegment>,
        /// By how much.
        by: i64,
    },
}

fn check_key(key: &str) -> Result<(), CommandError> {
    if key.is_empty() {
        return Err(CommandError::Argument("a key needs at least one character"));
    }
    at_most(key.len(), KEY_BYTES_MAX, "a key", "bytes")
}

fn check_path(path: &[PathSegment]) -> Result<(), CommandError> {
    at_most(path.len(), JSON_DEPTH_MAX, "a path", "steps")?;
    path.iter().try_for_each(|segment| match segment {
        PathSegment::Key(key) => check_key(key),
        PathSegment::Index(_) => Ok(()),
    })
}

/// Checks a value that is to stand `depth` steps below the root, without recursion.
fn check_value(value: &Json, depth: usize) -> Result<(), CommandError> {
    let (mut nodes, mut bytes) = (0, 0);
    let mut stack = vec![(depth, value)];
    while let Some((depth, value)) = stack.pop() {
        nodes += 1;
        match value {
            Json::Array(items) => {
                at_most(depth, JSON_DEPTH_MAX, "a value", "levels")?;
                stack.extend(items.iter().map(|item| (depth + 1, item)));
            }
            Json::Object(entries) => {
                at_most(depth, JSON_DEPTH_MAX, "a value", "levels")?;
                for (key, item) in entries {
                    check_key(key)?;
                    bytes += key.len();
                    stack.push((depth + 1, item));
                }
            }
            Json::String(text) => bytes += text.len(),
            Json::Null | Json::Bool(_) | Json::Number(_) => {}
        }
    }
    at_most(nodes, SPLICE_CHARS_MAX, "a value", "parts")?;
    at_most(bytes, CHANGE_BYTES_MAX / 2, "a value", "bytes")
}

impl JsonCommand {
    /// The place that it is about.
    #[must_use]
    pub fn path(&self) -> &[PathSegment] {
        match self {
            Self::Put { path, .. }
            | Self::PutText { path, .. }
            | Self::PutCounter { path, .. }
            | Self::Delete { path }
            | Self::Insert { path, .. }
            | Self::Splice { path, .. }
            | Self::Increment { path, .. } => path,
        }
    }

    pub(super) fn check(&self) -> Result<(), CommandError> {
        let path = self.path();
        check_path(path)?;
        match self {
            Self::Insert { value, .. } => check_value(value, path.len() + 1),
            Self::Splice { .. } => Ok(()),
            _ if path.is_empty() => {
                Err(CommandError::Argument("the root can't be replaced, only what is in it"))
            }
            Self::Put { value, .. } => check_value(value, path.len()),
            Self::PutText { .. }
            | Self::PutCounter { .. }
            | Self::Delete { .. }
            | Self::Increment { .. } => Ok(()),
        }
    }

    /// Does what both do, if the two are one edit of a text.
    pub(super) fn join(&mut self, next: &Self, encoding: TextEncoding) -> bool {
        let Self::Splice { path: of_next, index, delete, insert } = next else { return false };
        let next = Splice { index: *index, delete: *delete, insert: insert.clone() };
        match self {
            Self::PutText { path, text } if path == of_next => {
                let own = Splice { index: 0, delete: 0, insert: text.clone() };
                let joined = own.joined(&next, encoding).filter(|joined| joined.delete == 0);
                let joined = joined.map(|joined| *text = joined.insert);
                joined.is_some()
            }
            Self::Splice { path, index, delete, insert } if path == of_next => {
                let own = Splice { index: *index, delete: *delete, insert: insert.clone() };
                let Some(joined) = own.joined(&next, encoding) else { return false };
                (*index, *delete, *insert) = (joined.index, joined.delete, joined.insert);
                true
            }
            Self::Put { .. }
            | Self::PutText { .. }
            | Self::PutCounter { .. }
            | Self::Delete { .. }
            | Self::Insert { .. }
            | Self::Splice { .. }
            | Self::Increment { .. } => false,
        }
    }

    pub(super) fn split(self, doc: &Automerge) -> Vec<Self> {
        let encoding = doc.text_encoding();
        match self {
            Self::PutText { path, text } => {
                let mut pieces = split_chars(&text).into_iter();
                let text = pieces.next().unwrap_or_default();
                let mut index = width_of(&text, encoding);
                let mut commands = vec![Self::PutText { path: path.clone(), text }];
                for insert in pieces {
                    let next = index + width_of(&insert, encoding);
                    commands.push(Self::Splice { path: path.clone(), index, delete: 0, insert });
                    index = next;
                }
                commands
            }
            Self::Splice { path, index, delete, insert } => {
                let text = || {
                    let (id, _) = find(doc, &path).ok()?;
                    doc.text(id).ok()
                };
                split_splice(index, delete, &insert, encoding, text)
                    .into_iter()
                    .map(|(index, delete, insert)| Self::Splice {
                        path: path.clone(),
                        index,
                        delete,
                        insert,
                    })
                    .collect()
            }
            Self::Put { .. }
            | Self::PutCounter { .. }
            | Self::Delete { .. }
            | Self::Insert { .. }
            | Self::Increment { .. } => vec![self],
        }
    }

    pub(super) fn apply(&self, tx: &mut Transaction<'_>) -> Result<(), CommandError> {
        match self {
            Self::Put { path, value } => {
                let (parent, last) = find_parent(tx, path)?;
                let depth = path.len();
                if read(tx, &parent, &last, depth) == Some(Node::from_json(value)) {
                    return Ok(());
                }
                put(tx, &parent, last, false, value)
            }
            Self::PutText { path, text } => {
                let (parent, last) = find_parent(tx, path)?;
                let id = tx.put_object(parent, last, ObjType::Text)?;
                splice(tx, &id, 0, 0, text)
            }
            Self::PutCounter { path, value } => {
                let (parent, last) = find_parent(tx, path)?;
                Ok(tx.put(parent, last, ScalarValue::counter(*value))?)
            }
            Self::Delete { path } => {
                let (parent, last) = find_parent(tx, path)?;
                if tx.get(&parent, last.clone())?.is_some() {
                    tx.delete(parent, last)?;
                }
                Ok(())
            }
            Self::Insert { path, index, value } => {
                let (list, kind) = find(tx, path)?;
                if kind != ObjType::List {
                    return Err(CommandError::WrongType { expected: "list" });
                }
                check_index(*index, tx.length(&list))?;
                put(tx, &list, Prop::Seq(*index), true, value)
            }
            Self::Splice { path, index, delete, insert } => {
                let (text, kind) = find(tx, path)?;
                if kind != ObjType::Text {
                    return Err(CommandError::WrongType { expected: "text" });
                }
                splice(tx, &text, *index, *delete, insert)
            }
            Self::Increment { path, by } => {
                let (parent, last) = find_parent(tx, path)?;
                match place::scalar(tx, &parent, last.clone()) {
                    Some(ScalarValue::Counter(_)) if *by == 0 => Ok(()),
                    Some(ScalarValue::Counter(_)) => Ok(tx.increment(parent, last, *by)?),
                    Some(_) => Err(CommandError::WrongType { expected: "counter" }),
                    None => Err(CommandError::NotFound { what: "the counter" }),
                }
            }
        }
    }

    pub(super) fn has_rivals(&self, doc: &Automerge) -> bool {
        match self {
            Self::Put { path, .. }
            | Self::PutText { path, .. }
            | Self::PutCounter { path, .. }
            | Self::Delete { path } => find_parent(doc, path)
                .is_ok_and(|(parent, last)| place::is_contested(doc, &parent, last)),
            Self::Insert { .. } | Self::Splice { .. } | Self::Increment { .. } => false,
        }
    }

    pub(super) fn summary(&self) -> String {
        let path = self.path().iter().map(ToString::to_string).collect::<Vec<_>>().join("/");
        let path = shortened(&path);
        match self {
            Self::Put { value, .. } => format!("put {} at {path}", shortened(&value.to_string())),
            Self::PutText { text, .. } => format!("put the text “{}” at {path}", shortened(text)),
            Self::PutCounter { value, .. } => format!("put a counter of {value} at {path}"),
            Self::Delete { .. } => format!("delete {path}"),
            Self::Insert { index, value, .. } => {
                format!("insert {} into {path} at {index}", shortened(&value.to_string()))
            }
            Self::Splice { index, delete, insert, .. } => {
                format!("edit {path} at {index}: remove {delete}, insert “{}”", shortened(insert))
            }
            Self::Increment { by, .. } => format!("add {by:+} to {path}"),
        }
    }
}

const fn check_index(index: usize, length: usize) -> Result<(), CommandError> {
    if index <= length { Ok(()) } else { Err(CommandError::OutOfRange { index, length }) }
}

/// The object at a path.
pub(super) fn find(
    doc: &impl ReadDoc,
    path: &[PathSegment],
) -> Result<(ObjId, ObjType), CommandError> {
    let mut at = (place::root(doc, ROOT_KEY, ObjType::Map)?, ObjType::Map);
    for segment in path {
        let prop = step(at.1, segment)?;
        at = match doc.get(&at.0, prop)? {
            Some((Value::Object(kind), id)) => (id, kind),
            Some(_) => return Err(CommandError::WrongType { expected: "map or list" }),
            None => return Err(CommandError::NotFound { what: "the path" }),
        };
    }
    Ok(at)
}

/// The object that holds a place, and the place in it. An element of a list must exist.
fn find_parent(doc: &impl ReadDoc, path: &[PathSegment]) -> Result<(ObjId, Prop), CommandError> {
    let Some((last, parents)) = path.split_last() else {
        return Err(CommandError::Argument("the root can't be replaced, only what is in it"));
    };
    let (parent, kind) = find(doc, parents)?;
    let prop = step(kind, last)?;
    if let Prop::Seq(index) = prop {
        check_index(index.saturating_add(1), doc.length(&parent))?;
    }
    Ok((parent, prop))
}

fn step(kind: ObjType, segment: &PathSegment) -> Result<Prop, CommandError> {
    match (kind, segment) {
        (ObjType::Map, PathSegment::Key(_)) | (ObjType::List, PathSegment::Index(_)) => {
            Ok(segment.into())
        }
        (ObjType::List, PathSegment::Key(_)) => Err(CommandError::WrongType { expected: "map" }),
        _ => Err(CommandError::WrongType { expected: "list" }),
    }
}

/// Writes a value; its depth was checked.
fn put(
    tx: &mut Transaction<'_>,
    parent: &ObjId,
    prop: Prop,
    insert: bool,
    value: &Json,
) -> Result<(), CommandError> {
    let kind = match value {
        Json::Object(_) => ObjType::Map,
        Json::Array(_) => ObjType::List,
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => {
            return match prop {
                Prop::Seq(index) if insert => Ok(tx.insert(parent, index, scalar(value))?),
                prop @ (Prop::Seq(_) | Prop::Map(_)) => Ok(tx.put(parent, prop, scalar(value))?),
            };
        }
    };
    let id = match prop {
        Prop::Seq(index) if insert => tx.insert_object(parent, index, kind)?,
        prop @ (Prop::Seq(_) | Prop::Map(_)) => tx.put_object(parent, prop, kind)?,
    };
    match value {
        Json::Object(entries) => entries
            .iter()
            .try_for_each(|(key, item)| put(tx, &id, Prop::Map(key.clone()), false, item)),
        Json::Array(items) => items
            .iter()
            .enumerate()
            .try_for_each(|(index, item)| put(tx, &id, Prop::Seq(index), true, item)),
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => Ok(()),
    }
}

fn scalar(value: &Json) -> ScalarValue {
    match value {
        Json::Bool(flag) => ScalarValue::Boolean(*flag),
        Json::String(text) => ScalarValue::from(text.as_str()),
        Json::Number(number) => number
            .as_i64()
            .map(ScalarValue::Int)
            .or_else(|| number.as_u64().map(ScalarValue::Uint))
            .or_else(|| number.as_f64().map(ScalarValue::F64))
            .unwrap_or(ScalarValue::Null),
        Json::Null | Json::Array(_) | Json::Object(_) => ScalarValue::Null,
    }
}

/// A part of a schemaless document, with what its JSON does not tell.
#[derive(Debug, Clone, PartialEq)]
enum Node {
    Map(BTreeMap<String, Self>),
    List(Vec<Self>),
    Text(Text),
    Counter(i64),
    Scalar(Json),
}

impl Node {
    /// What a document shows for a value before the patches that fill it.
    fn from_value(value: &Value<'_>) -> Self {
        match value {
            Value::Object(ObjType::Map | ObjType::Table) => Self::Map(BTreeMap::new()),
            Value::Object(ObjType::List) => Self::List(Vec::new()),
            Value::Object(ObjType::Text) => Self::Text(Text::default()),
            Value::Scalar(value) => Self::from_scalar(value),
        }
    }

    fn from_scalar(value: &ScalarValue) -> Self {
        Self::Scalar(match value {
            ScalarValue::Counter(_) => return Self::Counter(value.as_i64().unwrap_or(0)),
            ScalarValue::Bytes(bytes) => hex::encode(bytes).into(),
            ScalarValue::Str(text) => text.as_str().into(),
            ScalarValue::Int(number) | ScalarValue::Timestamp(number) => (*number).into(),
            ScalarValue::Uint(number) => (*number).into(),
            ScalarValue::F64(number) => (*number).into(),
            ScalarValue::Boolean(flag) => (*flag).into(),
            ScalarValue::Unknown { .. } | ScalarValue::Null => Json::Null,
        })
    }

    /// What putting a value makes; its depth was checked.
    fn from_json(value: &Json) -> Self {
        match value {
            Json::Object(entries) => Self::Map(
                entries.iter().map(|(key, item)| (key.clone(), Self::from_json(item))).collect(),
            ),
            Json::Array(items) => Self::List(items.iter().map(Self::from_json).collect()),
            Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => {
                Self::Scalar(value.clone())
            }
        }
    }

    fn to_json(&self) -> Json {
        match self {
            Self::Map(entries) => Json::Object(
                entries.iter().map(|(key, node)| (key.clone(), node.to_json())).collect(),
            ),
            Self::List(items) => Json::Array(items.iter().map(Self::to_json).collect()),
            Self::Text(text) => text.as_str().into(),
            Self::Counter(value) => (*value).into(),
            Self::Scalar(value) => value.clone(),
        }
    }

    fn child(&self, segment: &PathSegment) -> Option<&Self> {
        match (self, segment) {
            (Self::Map(entries), PathSegment::Key(key)) => entries.get(key),
            (Self::List(items), PathSegment::Index(index)) => items.get(*index),
            _ => None,
        }
    }

    fn child_mut(&mut self, segment: &PathSegment) -> Option<&mut Self> {
        match (self, segment) {
            (Self::Map(entries), PathSegment::Key(key)) => entries.get_mut(key),
            (Self::List(items), PathSegment::Index(index)) => items.get_mut(*index),
            _ => None,
        }
    }

    /// Reads from the document what a patch about this node, at `path`, does not tell. Answers which
    /// place was read.
    fn read_again(
        &mut self,
        doc: &Automerge,
        patch: &Patch,
        path: &[PathSegment],
    ) -> Option<Vec<PathSegment>> {
        let mut place = path.to_vec();
        let inner = inner(&patch.action);
        match (&mut *self, &inner, &patch.action) {
            (Self::Map(entries), Some(prop @ Prop::Map(key)), _) => {
                match read(doc, &patch.obj, prop, path.len() + 1) {
                    Some(node) => entries.insert(key.clone(), node),
                    None => entries.remove(key),
                };
                place.push(segment(prop));
            }
            (Self::List(items), Some(prop @ Prop::Seq(index)), PatchAction::Increment { .. }) => {
                *items.get_mut(*index)? = read(doc, &patch.obj, prop, path.len() + 1)?;
                place.push(segment(prop));
            }
            // Which element it is can't be said: the patches after it may still move it.
            (Self::List(_), ..) => {
                *self = read_object(doc, &patch.obj, ObjType::List, path.len());
            }
            _ => return None,
        }
        Some(place)
    }

    /// Follows one patch about this very node.
    fn patch(&mut self, action: &PatchAction, encoding: TextEncoding) {
        match (self, action) {
            (Self::Map(entries), PatchAction::PutMap { key, value, .. }) => {
                entries.insert(key.clone(), Self::from_value(&value.0));
            }
            (Self::Map(entries), PatchAction::DeleteMap { key }) => {
                entries.remove(key);
            }
            (Self::List(items), PatchAction::PutSeq { index, value, .. }) => {
                if let Some(item) = items.get_mut(*index) {
                    *item = Self::from_value(&value.0);
                }
            }
            (Self::List(items), PatchAction::Insert { index, values }) => {
                let at = (*index).min(items.len());
                items.splice(at..at, values.iter().map(|(value, ..)| Self::from_value(value)));
            }
            (Self::List(items), PatchAction::DeleteSeq { index, length }) => {
                let start = (*index).min(items.len());
                items.drain(start..start.saturating_add(*length).min(items.len()));
            }
            (Self::Text(text), PatchAction::SpliceText { index, value, .. }) => {
                text.splice(*index, 0, &value.make_string(), encoding);
            }
            (Self::Text(text), PatchAction::DeleteSeq { index, length }) => {
                text.splice(*index, *length, "", encoding);
            }
            _ => {}
        }
    }

    /// Whether its JSON tells all of it.
    fn is_plain(&self) -> bool {
        match self {
            Self::Map(entries) => entries.values().all(Self::is_plain),
            Self::List(items) => items.iter().all(Self::is_plain),
            Self::Text(_) | Self::Counter(_) => false,
            Self::Scalar(_) => true,
        }
    }

    /// The commands that put it where something else stands, or, in a map, nothing.
    fn put_back(&self, path: &[PathSegment], commands: &mut Vec<JsonCommand>) {
        let path = path.to_vec();
        match self {
            Self::Text(text) => {
                commands.push(JsonCommand::PutText { path, text: text.as_str().to_owned() });
            }
            Self::Counter(value) => {
                commands.push(JsonCommand::PutCounter { path, value: *value });
            }
            _ if self.is_plain() => {
                commands.push(JsonCommand::Put { path, value: self.to_json() });
            }
            Self::Map(entries) => {
                let value = Json::Object(serde_json::Map::new());
                commands.push(JsonCommand::Put { path: path.clone(), value });
                for (key, node) in entries {
                    let place = [path.as_slice(), &[PathSegment::Key(key.clone())]].concat();
                    node.put_back(&place, commands);
                }
            }
            Self::List(items) => {
                let value = Json::Array(Vec::new());
                commands.push(JsonCommand::Put { path: path.clone(), value });
                for (index, node) in items.iter().enumerate() {
                    node.insert_back(&path, index, commands);
                }
            }
            Self::Scalar(_) => {}
        }
    }

    /// The commands that insert it into a list.
    fn insert_back(&self, list: &[PathSegment], index: usize, commands: &mut Vec<JsonCommand>) {
        let plain = self.is_plain();
        let value = if plain { self.to_json() } else { Json::Null };
        commands.push(JsonCommand::Insert { path: list.to_vec(), index, value });
        if !plain {
            self.put_back(&[list, &[PathSegment::Index(index)]].concat(), commands);
        }
    }

    fn diff(&self, newer: &Self, path: &mut Vec<PathSegment>, events: &mut Vec<Event>) {
        let (Self::Map(old), Self::Map(new)) = (self, newer) else {
            if self != newer {
                events.push(Event::JsonChanged { path: path.clone() });
            }
            return;
        };
        let fresh = new.keys().filter(|key| !old.contains_key(*key));
        for key in old.keys().chain(fresh) {
            path.push(PathSegment::Key(key.clone()));
            match (old.get(key), new.get(key)) {
                (Some(old), Some(new)) => old.diff(new, path, events),
                _ => events.push(Event::JsonChanged { path: path.clone() }),
            }
            path.pop();
        }
    }
}

/// Reads a part of a document that stands `depth` steps below the root.
fn read(doc: &impl ReadDoc, parent: &ObjId, prop: &Prop, depth: usize) -> Option<Node> {
    match doc.get(parent, prop.clone()) {
        Ok(Some((Value::Object(kind), id))) => Some(read_object(doc, &id, kind, depth)),
        Ok(Some((Value::Scalar(value), _))) => Some(Node::from_scalar(&value)),
        Ok(None) | Err(_) => None,
    }
}

fn read_object(doc: &impl ReadDoc, id: &ObjId, kind: ObjType, depth: usize) -> Node {
    if depth > JSON_DEPTH_MAX {
        return Node::from_value(&Value::Object(kind));
    }
    let node = |value: &Value<'_>, id: &ObjId| match value {
        Value::Object(kind) => read_object(doc, id, *kind, depth + 1),
        Value::Scalar(value) => Node::from_scalar(value),
    };
    match kind {
        ObjType::Map | ObjType::Table => Node::Map(
            doc.map_range(id, ..)
                .map(|item| {
                    let id = item.id();
                    (item.key.to_string(), node(&item.value.into_value(), &id))
                })
                .collect(),
        ),
        ObjType::List => Node::List(
            doc.list_range(id, ..)
                .map(|item| {
                    let id = item.id();
                    node(&item.value.into_value(), &id)
                })
                .collect(),
        ),
        ObjType::Text => Node::Text(Text::new(doc.text(id).unwrap_or_default())),
    }
}

/// A schemaless document as it is shown.
#[derive(Debug, Clone, PartialEq)]
pub struct JsonView {
    encoding: TextEncoding,
    root: Node,
}

impl JsonView {
    /// What a document that holds its genesis alone shows.
    pub(super) const fn of_genesis(encoding: TextEncoding) -> Self {
        Self { encoding, root: Node::Map(BTreeMap::new()) }
    }

    /// The whole content, with counters as numbers and texts as strings. Builds it: costs as much as
    /// the document is large.
    #[must_use]
    pub fn value(&self) -> Json {
        self.root.to_json()
    }

    /// The content at a path, if there is any.
    #[must_use]
    pub fn at(&self, path: &[PathSegment]) -> Option<Json> {
        path.iter().try_fold(&self.root, |node, segment| node.child(segment)).map(Node::to_json)
    }

    /// The text at a path, if there is one that several can edit.
    #[must_use]
    pub fn text(&self, path: &[PathSegment]) -> Option<&str> {
        match path.iter().try_fold(&self.root, |node, segment| node.child(segment))? {
            Node::Text(text) => Some(text.as_str()),
            Node::Map(_) | Node::List(_) | Node::Counter(_) | Node::Scalar(_) => None,
        }
    }

    /// The units in which positions in its texts count.
    #[must_use]
    pub const fn encoding(&self) -> TextEncoding {
        self.encoding
    }

    fn node(&self, path: &[PathSegment]) -> Option<&Node> {
        path.iter().try_fold(&self.root, |node, segment| node.child(segment))
    }

    /// The commands that take `command` back once it was carried out on what is shown.
    pub(crate) fn inverse(&self, command: &JsonCommand) -> Vec<JsonCommand> {
        let mut back = Vec::new();
        match command {
            JsonCommand::Put { path, .. }
            | JsonCommand::PutText { path, .. }
            | JsonCommand::PutCounter { path, .. } => match self.node(path) {
                Some(node) => node.put_back(path, &mut back),
                None => back.push(JsonCommand::Delete { path: path.clone() }),
            },
            JsonCommand::Delete { path } => {
                if let (Some(node), Some((last, list))) = (self.node(path), path.split_last()) {
                    match last {
                        PathSegment::Index(index) => node.insert_back(list, *index, &mut back),
                        PathSegment::Key(_) => node.put_back(path, &mut back),
                    }
                }
            }
            JsonCommand::Insert { path, index, .. } => {
                let path = [path.as_slice(), &[PathSegment::Index(*index)]].concat();
                back.push(JsonCommand::Delete { path });
            }
            JsonCommand::Splice { path, index, delete, insert } => {
                if let Some(text) = self.text(path) {
                    let gone = text_slice(text, *index, *delete, self.encoding);
                    back.push(JsonCommand::Splice {
                        path: path.clone(),
                        index: *index,
                        delete: width_of(insert, self.encoding),
                        insert: gone.to_owned(),
                    });
                }
            }
            JsonCommand::Increment { path, by } => {
                back.push(JsonCommand::Increment { path: path.clone(), by: by.saturating_neg() });
            }
        }
        back
    }

    pub(super) fn read(doc: &Automerge) -> Self {
        let root = read(doc, &automerge::ROOT, &Prop::Map(ROOT_KEY.to_owned()), 0);
        let root = root.unwrap_or_else(|| Node::Map(BTreeMap::new()));
        Self { encoding: doc.text_encoding(), root }
    }

    pub(super) fn patch(&mut self, doc: &Automerge, patches: &[Patch]) -> Vec<Event> {
        let mut events = Vec::new();
        // Places that were read anew from the document, which is ahead of the patches.
        let mut settled: Vec<Vec<PathSegment>> = Vec::new();
        for patch in patches {
            let Some(((_, first), steps)) = patch.path.split_first() else {
                if matches!(&patch.action, PatchAction::PutMap { key, .. } if key == ROOT_KEY) {
                    self.root = Node::Map(BTreeMap::new());
                    push(&mut events, Vec::new());
                }
                continue;
            };
            if *first != Prop::Map(ROOT_KEY.to_owned()) || steps.len() > JSON_DEPTH_MAX {
                continue;
            }
            let object: Vec<PathSegment> = steps.iter().map(|(_, prop)| segment(prop)).collect();
            let at: Vec<PathSegment> =
                object.iter().cloned().chain(inner(&patch.action).as_ref().map(segment)).collect();
            if settled.iter().any(|place| at.starts_with(place)) {
                continue;
            }
            let found = object.iter().try_fold(&mut self.root, |node, step| node.child_mut(step));
            let Some(node) = found else { continue };
            if is_unclear(&patch.action) {
                settled.extend(node.read_again(doc, patch, &object));
            } else {
                node.patch(&patch.action, self.encoding);
            }
            if !matches!(patch.action, PatchAction::Mark { .. }) {
                push(&mut events, at);
            }
        }
        events
    }

    pub(super) fn diff(&self, newer: &Self) -> Vec<Event> {
        let mut events = Vec::new();
        self.root.diff(&newer.root, &mut Vec::new(), &mut events);
        events
    }
}

/// Whether a patch does not tell what the document shows. automerge 0.12 reports some changes of a
/// value as a mere conflict, and counters that moved while there was a conflict with a wrong value.
fn is_unclear(action: &PatchAction) -> bool {
    let counter = |value: &Value<'_>| matches!(value.as_scalar(), Some(ScalarValue::Counter(_)));
    match action {
        PatchAction::Conflict { .. } | PatchAction::Increment { .. } => true,
        PatchAction::PutMap { value, .. } | PatchAction::PutSeq { value, .. } => counter(&value.0),
        PatchAction::Insert { values, .. } => values.iter().any(|(value, ..)| counter(value)),
        PatchAction::SpliceText { .. }
        | PatchAction::DeleteMap { .. }
        | PatchAction::DeleteSeq { .. }
        | PatchAction::Mark { .. } => false,
    }
}

/// Which part of the patched object a patch is about, if it is one that stays in its place.
fn inner(action: &PatchAction) -> Option<Prop> {
    match action {
        PatchAction::PutMap { key, .. } | PatchAction::DeleteMap { key } => {
            Some(Prop::Map(key.clone()))
        }
        PatchAction::Increment { prop, .. }
        | PatchAction::Conflict { prop: prop @ Prop::Map(_) } => Some(prop.clone()),
        PatchAction::PutSeq { index, .. } => Some(Prop::Seq(*index)),
        PatchAction::Conflict { .. }
        | PatchAction::Insert { .. }
        | PatchAction::SpliceText { .. }
        | PatchAction::DeleteSeq { .. }
        | PatchAction::Mark { .. } => None,
    }
}

fn segment(prop: &Prop) -> PathSegment {
    match prop {
        Prop::Map(key) => PathSegment::Key(key.clone()),
        Prop::Seq(index) => PathSegment::Index(*index),
    }
}

/// Adds an event, unless the one before it covers the place already.
fn push(events: &mut Vec<Event>, path: Vec<PathSegment>) {
    if let Some(Event::JsonChanged { path: before }) = events.last()
        && path.starts_with(before)
    {
        return;
    }
    events.push(Event::JsonChanged { path });
}
