//! The objects of one document: what each is for, which operations stand at its keys and elements,
//! and which were superseded not long ago. Must never decide whether something is allowed.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::history::{History, Id, Past};
use super::schema::Place;
use super::sequence::Sequence;
use crate::change::{Action, Value};
use crate::ids::UserId;

/// What an operation left at a key or element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    Scalar,
    /// A counter, and how far it moved in all, either way: what bounds its value in every replica,
    /// whatever arrived there.
    Counter(u64),
    Object,
}

impl What {
    pub(super) fn of(action: &Action<'_>) -> Self {
        match action {
            Action::Set(Value::Counter(value)) => Self::Counter(value.unsigned_abs()),
            Action::MakeMap | Action::MakeList | Action::MakeText => Self::Object,
            Action::Set(_)
            | Action::Delete
            | Action::Increment(_)
            | Action::MarkBegin { .. }
            | Action::MarkEnd { .. } => Self::Scalar,
        }
    }
}

/// An operation at a key or element, and what superseded it.
#[derive(Debug, Clone)]
pub(super) struct Standing {
    id: Id,
    what: What,
    over: Vec<Id>,
}

/// The operations at one key or element that somebody may still have to name.
#[derive(Debug, Clone)]
pub(super) enum Cell {
    /// The one that stands.
    One(Id, What),
    Many(Vec<Standing>),
}

impl Cell {
    /// What those see here who had seen `past`.
    pub(super) fn seen(&self, history: &History, past: &Past) -> Vec<(Id, What)> {
        match self {
            Self::One(id, what) if history.covers(past, *id) => vec![(*id, *what)],
            Self::One(..) => Vec::new(),
            Self::Many(all) => all
                .iter()
                .filter(|one| history.covers(past, one.id))
                .filter(|one| !one.over.iter().any(|id| history.covers(past, *id)))
                .map(|one| (one.id, one.what))
                .collect(),
        }
    }

    /// Whether anything stands here for those who have seen everything.
    pub(super) fn stands(&self) -> bool {
        match self {
            Self::One(..) => true,
            Self::Many(all) => all.iter().any(|one| one.over.is_empty()),
        }
    }

    /// Carries out what was checked; says whether something was superseded.
    fn apply(&mut self, id: Id, action: &Action<'_>, preds: &[Id]) -> bool {
        // The usual case needs no list: what stands is replaced by what stands.
        let mut all = match std::mem::replace(self, Self::Many(Vec::new())) {
            Self::One(id, what) => vec![Standing { id, what, over: Vec::new() }],
            Self::Many(all) => all,
        };
        let mut superseded = false;
        for one in all.iter_mut().filter(|one| preds.contains(&one.id)) {
            match (action, &mut one.what) {
                (Action::Increment(by), What::Counter(moved)) => {
                    *moved = moved.saturating_add(by.unsigned_abs());
                }
                _ => {
                    one.over.push(id);
                    superseded = true;
                }
            }
        }
        if !matches!(action, Action::Delete | Action::Increment(_)) {
            all.push(Standing { id, what: What::of(action), over: Vec::new() });
        }
        *self = Self::from(all);
        superseded
    }

    /// Forgets what everybody has seen superseded.
    fn tidy(&mut self, history: &History) {
        if let Self::Many(all) = self {
            let mut all = std::mem::take(all);
            all.retain(|one| !one.over.iter().any(|id| history.is_below_floor(*id)));
            *self = Self::from(all);
        }
    }

    const fn is_empty(&self) -> bool {
        matches!(self, Self::Many(all) if all.is_empty())
    }
}

impl From<Vec<Standing>> for Cell {
    fn from(all: Vec<Standing>) -> Self {
        match all.as_slice() {
            [one] if one.over.is_empty() => Self::One(one.id, one.what),
            _ => Self::Many(all),
        }
    }
}

/// Where in its object something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Name<'a> {
    Key(&'a str),
    Element(Id),
}

#[derive(Debug)]
pub(super) enum Content {
    Map(BTreeMap<Box<str>, Cell>),
    /// The elements, and the cells of those that are not plain scalars as they were inserted.
    List(Sequence, BTreeMap<Id, Cell>),
    /// The elements, and those of them that are the ends of marks.
    Text(Sequence, BTreeSet<Id>),
}

impl Content {
    pub(super) fn of(action: &Action<'_>) -> Option<Self> {
        match action {
            Action::MakeMap => Some(Self::Map(BTreeMap::new())),
            Action::MakeList => Some(Self::List(Sequence::default(), BTreeMap::new())),
            Action::MakeText => Some(Self::Text(Sequence::default(), BTreeSet::new())),
            Action::Set(_)
            | Action::Delete
            | Action::Increment(_)
            | Action::MarkBegin { .. }
            | Action::MarkEnd { .. } => None,
        }
    }

    pub(super) const fn sequence(&self) -> Option<&Sequence> {
        match self {
            Self::Map(_) => None,
            Self::List(sequence, _) | Self::Text(sequence, _) => Some(sequence),
        }
    }
}

#[derive(Debug)]
pub(super) struct Object {
    pub(super) place: Place,
    pub(super) content: Content,
    /// Who wrote it, if it says so in a field that never changes.
    pub(super) author: Option<UserId>,
}

impl Object {
    /// What those see at a key or element who had seen `past`.
    pub(super) fn seen(&self, name: Name<'_>, history: &History, past: &Past) -> Vec<(Id, What)> {
        match (&self.content, name) {
            (Content::Map(cells), Name::Key(key)) => {
                cells.get(key).map(|cell| cell.seen(history, past)).unwrap_or_default()
            }
            (Content::List(_, cells), Name::Element(id)) => cells
                .get(&id)
                .map_or_else(|| vec![(id, What::Scalar)], |cell| cell.seen(history, past)),
            (Content::Text(..), Name::Element(id)) => vec![(id, What::Scalar)],
            _ => Vec::new(),
        }
    }

    /// The cell of a map's key, if anything was ever there.
    pub(super) fn cell(&self, key: &str) -> Option<&Cell> {
        match &self.content {
            Content::Map(cells) => cells.get(key),
            Content::List(..) | Content::Text(..) => None,
        }
    }
}

/// A cell to be tidied once the change of this index lies below the floor.
#[derive(Debug)]
struct Retired {
    index: u64,
    object: Id,
    name: OwnedName,
}

#[derive(Debug)]
enum OwnedName {
    Key(Box<str>),
    Element(Id),
}

/// One operation with its names resolved.
#[derive(Debug, Clone, Copy)]
pub(super) struct Resolved<'a> {
    pub(super) id: Id,
    pub(super) object: Id,
    /// The key or the element that it is about; of an insertion, the new element.
    pub(super) name: Name<'a>,
    /// What an insertion comes after; `None` is the head.
    pub(super) after: Option<Id>,
    pub(super) insert: bool,
    pub(super) action: Action<'a>,
    pub(super) preds: &'a [Id],
}

#[derive(Debug)]
pub(super) struct Objects {
    all: BTreeMap<Id, Object>,
    retired: VecDeque<Retired>,
}

impl Objects {
    pub(super) fn new() -> Self {
        let root =
            Object { place: Place::Root, content: Content::Map(BTreeMap::new()), author: None };
        Self { all: BTreeMap::from([(Id::NONE, root)]), retired: VecDeque::new() }
    }

    pub(super) fn object(&self, id: Id) -> Option<&Object> {
        self.all.get(&id)
    }

    /// Whether anything stands at the key that an operation is about.
    pub(super) fn stands(&self, op: &Resolved<'_>) -> bool {
        let Name::Key(key) = op.name else { return false };
        self.object(op.object).and_then(|object| object.cell(key)).is_some_and(Cell::stands)
    }

    /// Carries out an operation of the change with this index.
    pub(super) fn apply(&mut self, index: u64, op: &Resolved<'_>, child: Option<Place>) {
        let Some(object) = self.all.get_mut(&op.object) else { return };
        if matches!(object.place, Place::Root | Place::Comment(_))
            && let (Action::Set(Value::Str(name)), Name::Key("author")) = (op.action, op.name)
        {
            object.author = object.author.take().or_else(|| UserId::new(name).ok());
        }
        let superseded = match (&mut object.content, op.name) {
            (Content::Map(cells), Name::Key(key)) => match cells.get_mut(key) {
                Some(cell) => cell.apply(op.id, &op.action, op.preds),
                None => {
                    cells.insert(key.into(), Cell::One(op.id, What::of(&op.action)));
                    false
                }
            },
            (Content::List(sequence, cells), Name::Element(element)) => {
                if op.insert {
                    sequence.insert(op.id, op.after);
                    let what = What::of(&op.action);
                    if what != What::Scalar {
                        cells.insert(op.id, Cell::One(op.id, what));
                    }
                    false
                } else {
                    let cell = cells.entry(element).or_insert(Cell::One(element, What::Scalar));
                    cell.apply(op.id, &op.action, op.preds)
                }
            }
            (Content::Text(sequence, marks), Name::Element(_)) => {
                if op.insert {
                    sequence.insert(op.id, op.after);
                }
                if matches!(op.action, Action::MarkBegin { .. } | Action::MarkEnd { .. }) {
                    marks.insert(op.id);
                }
                false
            }
            _ => false,
        };
        if superseded {
            let name = match op.name {
                Name::Key(key) => OwnedName::Key(key.into()),
                Name::Element(id) => OwnedName::Element(id),
            };
            self.retired.push_back(Retired { index, object: op.object, name });
        }
        if let (Some(content), Some(place)) = (Content::of(&op.action), child) {
            self.all.insert(op.id, Object { place, content, author: None });
        }
    }

    /// Forgets what was superseded below the floor.
    pub(super) fn tidy(&mut self, history: &History) {
        while self.retired.front().is_some_and(|retired| retired.index < history.floor()) {
            let Some(Retired { object, name, .. }) = self.retired.pop_front() else { return };
            let Some(object) = self.all.get_mut(&object) else { continue };
            match (&mut object.content, name) {
                (Content::Map(cells), OwnedName::Key(key)) => {
                    if let Some(cell) = cells.get_mut(&key) {
                        cell.tidy(history);
                        if cell.is_empty() {
                            cells.remove(&key);
                        }
                    }
                }
                // A dead element keeps an empty cell, which says that it is dead.
                (Content::List(_, cells), OwnedName::Element(id)) => {
                    if let Some(cell) = cells.get_mut(&id) {
                        cell.tidy(history);
                    }
                }
                _ => {}
            }
        }
    }
}
