//! What takes one's own commands back: for each command of late, the commands that undo it where
//! nobody has touched it since. Kept in terms of what is shown, so that it does not matter which ids a
//! rebase gives. Must never undo what somebody else did.
//!
//! An entry says what its command did to the text as *stretches* that it inserted and *pieces* that it
//! removed, and follows every later edit of the text. What a later command of one's own removes of a
//! stretch is a *hole* in it, which is filled again when that command is undone. Everything that is not
//! text has a *guard*: the place that it changed. Once somebody else changed it, the entry is of no use.

use std::collections::VecDeque;

use automerge::{Automerge, TextEncoding};

use crate::clock::Timestamp;
use crate::codes::Code;
use crate::document::{
    Command, CommandError, CommentsCommand, Event, JsonCommand, LikesCommand, MarkName, MarkValue,
    PathSegment, PostCommand, PostView, Target, TextField, View, text_slice, width_of,
};
use crate::ids::{Ulid, UserId};

/// How many commands of one document can be undone, unless the app says otherwise.
pub const UNDO_MAX: usize = 100;

/// A command can't be undone or redone.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UndoError {
    /// There is no command left to undo or redo.
    #[error("there is nothing left to undo or redo")]
    Nothing,
    /// It is of a kind that can't be taken back, such as deleting a comment.
    #[error("{0} can't be taken back")]
    Final(&'static str),
    /// Somebody replaced or removed all that it did.
    #[error("others have changed it since")]
    Superseded,
    /// What would undo it can't be carried out.
    #[error(transparent)]
    Command(Box<CommandError>),
}

impl From<CommandError> for UndoError {
    fn from(error: CommandError) -> Self {
        Self::Command(Box::new(error))
    }
}

impl UndoError {
    /// The stable code.
    #[must_use]
    pub const fn code(&self) -> Code {
        match self {
            Self::Nothing => Code::NoEffect,
            Self::Final(_) => Code::BadCommand,
            Self::Superseded => Code::Superseded,
            Self::Command(error) => error.code(),
        }
    }
}

/// Where a piece of text went that a command removed: the command, and which of its pieces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Origin {
    command: Ulid,
    piece: usize,
}

/// Elements of a text, wherever they have moved.
#[derive(Debug, Clone, Default)]
struct Stretch {
    live: Vec<(usize, usize)>,
    /// Parts of it that own commands removed: of which piece, from where in it, how much.
    holes: Vec<(Origin, usize, usize)>,
}

/// A place between two elements.
#[derive(Debug, Clone)]
struct Spot {
    at: usize,
    /// Pieces around it that own commands removed, the last one last, and how far into each it was.
    within: Vec<(Origin, usize)>,
}

/// An edit of a text: where, how much went away, how much came.
#[derive(Debug, Clone, Copy)]
struct Edit {
    index: usize,
    delete: usize,
    insert: usize,
    /// The own command that removed something, if it was one's own.
    by: Option<Origin>,
}

impl Stretch {
    fn follow(&mut self, edit: Edit) {
        let (from, to) = (edit.index, edit.index + edit.delete);
        let mut live = Vec::with_capacity(self.live.len() + 1);
        for (start, end) in std::mem::take(&mut self.live) {
            let (gone_from, gone_to) = (start.max(from), end.min(to));
            if gone_from < gone_to
                && let Some(by) = edit.by
            {
                self.holes.push((by, gone_from - from, gone_to - gone_from));
            }
            let place =
                |at: usize| if at <= from { at } else { at.saturating_sub(edit.delete).max(from) };
            let (start, end) = (place(start), place(end));
            if start < from && from < end {
                live.push((start, from));
                live.push((from + edit.insert, end + edit.insert));
            } else if start >= from {
                live.push((start + edit.insert, end + edit.insert));
            } else {
                live.push((start, end));
            }
        }
        live.retain(|(start, end)| start < end);
        self.live = live;
    }

    /// A piece is back at `index`.
    fn fill(&mut self, origin: Origin, index: usize) {
        let live = &mut self.live;
        self.holes.retain(|(of, offset, length)| {
            let fits = *of == origin;
            if fits {
                live.push((index + offset, index + offset + length));
            }
            !fits
        });
    }

    /// Somebody else decided about these elements.
    fn lose(&mut self, from: usize, to: usize) {
        let live = std::mem::take(&mut self.live);
        let parts = live.into_iter().flat_map(|(start, end)| {
            [(start, end.min(from)), (start.max(to), end)].into_iter().filter(|(s, e)| s < e)
        });
        self.live = parts.collect();
    }

    /// The elements in order, none twice.
    fn ranges(&self) -> Vec<(usize, usize)> {
        let mut sorted = self.live.clone();
        sorted.sort_unstable();
        let mut ranges: Vec<(usize, usize)> = Vec::new();
        for (start, end) in sorted {
            match ranges.last_mut() {
                Some(last) if start <= last.1 => last.1 = last.1.max(end),
                _ => ranges.push((start, end)),
            }
        }
        ranges
    }
}

impl Spot {
    fn follow(&mut self, edit: Edit) {
        let (from, to) = (edit.index, edit.index + edit.delete);
        if from < self.at && self.at <= to {
            self.within.extend(edit.by.map(|by| (by, self.at - from)));
            self.at = from;
        } else if self.at > to {
            self.at = self.at - edit.delete + edit.insert;
        }
    }

    fn fill(&mut self, origin: Origin, index: usize) {
        if let Some((_, offset)) = self.within.pop_if(|(of, _)| *of == origin) {
            self.at = index + offset;
        }
    }
}

/// A mark on a stretch of removed text, counted from its beginning.
type Marked = (usize, usize, MarkName, MarkValue);

/// What a part of a command did.
#[derive(Debug, Clone)]
enum Deed {
    Inserted {
        field: TextField,
        stretch: Stretch,
    },
    Removed {
        field: TextField,
        spot: Spot,
        text: String,
        marks: Vec<Marked>,
        piece: usize,
    },
    /// Before, there was this mark on the stretch, or none of the name.
    Marked {
        stretch: Stretch,
        name: MarkName,
        before: Option<MarkValue>,
    },
    Guarded {
        guard: Option<Guard>,
        back: Vec<Command>,
        touched: bool,
    },
    Final(&'static str),
}

/// The place that a command changed.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Guard {
    Like(Target, String, UserId),
    Tag(String),
    Editor(UserId),
    Status,
    Comment(Ulid),
    Json(Vec<PathSegment>),
}

impl Guard {
    fn is_touched(&self, event: &Event) -> bool {
        match (self, event) {
            (
                Self::Like(target, reaction, user),
                Event::LikeAdded { target: t, reaction: r, user: u }
                | Event::LikeRemoved { target: t, reaction: r, user: u },
            ) => (target, reaction, user) == (t, r, u),
            (Self::Tag(tag), Event::TagAdded { tag: t } | Event::TagRemoved { tag: t }) => tag == t,
            (
                Self::Editor(user),
                Event::EditorAdded { user: u } | Event::EditorRemoved { user: u },
            ) => user == u,
            (Self::Status, Event::StatusChanged { .. }) => true,
            (
                Self::Comment(id),
                Event::CommentEdited { id: i }
                | Event::CommentDeleted { id: i }
                | Event::CommentRemoved { id: i },
            ) => id == i,
            (Self::Json(path), Event::JsonChanged { path: p }) => {
                path.starts_with(p) || p.starts_with(path)
            }
            _ => matches!(event, Event::PostRemoved),
        }
    }
}

/// What undoes one command.
#[derive(Debug, Clone)]
struct Entry {
    id: Ulid,
    deeds: Vec<Deed>,
}

impl Entry {
    fn follow(&mut self, of: TextField, edit: Edit) {
        for deed in &mut self.deeds {
            match deed {
                Deed::Inserted { field, stretch } if *field == of => stretch.follow(edit),
                Deed::Marked { stretch, .. } if of == TextField::Body => stretch.follow(edit),
                Deed::Removed { field, spot, .. } if *field == of => spot.follow(edit),
                Deed::Inserted { .. }
                | Deed::Marked { .. }
                | Deed::Removed { .. }
                | Deed::Guarded { .. }
                | Deed::Final(_) => {}
            }
        }
    }

    fn fill(&mut self, origin: Origin, index: usize) {
        for deed in &mut self.deeds {
            match deed {
                Deed::Inserted { stretch, .. } | Deed::Marked { stretch, .. } => {
                    stretch.fill(origin, index);
                }
                Deed::Removed { spot, .. } => spot.fill(origin, index),
                Deed::Guarded { .. } | Deed::Final(_) => {}
            }
        }
    }

    fn others(&mut self, event: &Event) {
        for deed in &mut self.deeds {
            match deed {
                Deed::Marked { stretch, .. } => {
                    if let Event::MarksChanged { start, end } = event {
                        stretch.lose(*start, *end);
                    }
                }
                Deed::Guarded { guard: Some(guard), touched, .. } => {
                    *touched |= guard.is_touched(event);
                }
                Deed::Guarded { .. }
                | Deed::Inserted { .. }
                | Deed::Removed { .. }
                | Deed::Final(_) => {}
            }
        }
    }
}

/// One step of an undo.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Back {
    /// A command, and the piece of text that it brings back, if it is one.
    Do { command: Command, fills: Option<Origin> },
    /// Text that was brought back is to carry these marks and no others.
    Remark { index: usize, length: usize, marks: Vec<Marked> },
}

impl Back {
    /// The commands that the step is, in front of what is shown by then.
    pub(super) fn commands(self, view: &View) -> Vec<(Command, Option<Origin>)> {
        match self {
            Self::Do { command, fills } => vec![(command, fills)],
            Self::Remark { index, length, marks } => {
                let View::Post(view) = view else { return Vec::new() };
                let here = marks_in(view, index, length);
                let surplus = here.iter().filter(|mark| !marks.contains(mark)).map(|mark| {
                    PostCommand::Unmark { start: index + mark.0, end: index + mark.1, name: mark.2 }
                });
                let missing = marks.iter().filter(|mark| !here.contains(mark)).map(|mark| {
                    let (start, end) = (index + mark.0, index + mark.1);
                    PostCommand::Mark { start, end, name: mark.2, value: mark.3.clone() }
                });
                surplus.chain(missing).map(|command| (Command::Post(command), None)).collect()
            }
        }
    }
}

/// The marks on a part of a body, counted from its beginning.
fn marks_in(view: &PostView, index: usize, length: usize) -> Vec<Marked> {
    if !view.has_marks() {
        return Vec::new();
    }
    let (mut at, mut found) = (0_usize, Vec::<Marked>::new());
    for span in view.spans() {
        let end = at + width_of(&span.text, view.encoding());
        let (from, to) = (at.max(index), end.min(index + length));
        if from < to {
            for (name, value) in span.marks {
                let joins = |last: &&mut Marked| {
                    last.2 == name && last.3 == value && last.1 == from - index
                };
                match found.iter_mut().find(joins) {
                    Some(last) => last.1 = to - index,
                    None => found.push((from - index, to - index, name, value)),
                }
            }
        }
        at = end;
    }
    found
}

/// What a part that is about to be carried out will do.
#[derive(Debug)]
pub(super) struct Plan {
    deeds: Vec<Deed>,
    edit: Option<(TextField, Edit)>,
}

/// On which side a command counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// The user did something new: what was undone can't be redone any more.
    Forth,
    /// It undoes the last command.
    Undo,
    /// It does again what was undone last.
    Redo,
}

/// What can be undone and redone.
#[derive(Debug, Clone)]
pub(super) struct History {
    max: usize,
    undo: VecDeque<Entry>,
    redo: VecDeque<Entry>,
}

impl Default for History {
    fn default() -> Self {
        Self { max: UNDO_MAX, undo: VecDeque::new(), redo: VecDeque::new() }
    }
}

impl History {
    pub(super) fn set_max(&mut self, max: usize) {
        self.max = max;
        self.trim();
    }

    pub(super) fn lengths(&self) -> (usize, usize) {
        (self.undo.len(), self.redo.len())
    }

    fn trim(&mut self) {
        while self.undo.len() > self.max {
            self.undo.pop_front();
        }
        while self.redo.len() > self.max {
            self.redo.pop_front();
        }
    }

    fn all(&mut self) -> impl Iterator<Item = &mut Entry> {
        self.undo.iter_mut().chain(&mut self.redo)
    }

    /// Begins a command: its parts follow, then [`History::end`].
    pub(super) fn begin(&mut self, id: Ulid, way: Way) {
        let entry = Entry { id, deeds: Vec::new() };
        match way {
            Way::Forth | Way::Redo => self.undo.push_back(entry),
            Way::Undo => self.redo.push_back(entry),
        }
    }

    /// Ends a command; one that did nothing leaves no trace.
    pub(super) fn end(&mut self, way: Way) {
        let side = self.side(way);
        if side.back().is_some_and(|entry| entry.deeds.is_empty()) {
            side.pop_back();
        } else if way == Way::Forth {
            self.redo.clear();
        }
        self.trim();
    }

    /// Where a command goes.
    fn side(&mut self, way: Way) -> &mut VecDeque<Entry> {
        match way {
            Way::Forth | Way::Redo => &mut self.undo,
            Way::Undo => &mut self.redo,
        }
    }

    /// What a part of the command that was begun last will do to what `view` shows.
    pub(super) fn plan(&mut self, id: Ulid, part: &Command, view: &View, way: Way) -> Plan {
        let deeds = self.side(way).back().map_or(&[][..], |entry| &entry.deeds);
        let piece = deeds.iter().filter(|deed| matches!(deed, Deed::Removed { .. })).count();
        plan(Origin { command: id, piece }, part, view)
    }

    /// A part of the command that was begun last was carried out.
    pub(super) fn done(&mut self, id: Ulid, plan: Plan, fills: Option<Origin>, way: Way) {
        let Plan { deeds, edit } = plan;
        if let Some((field, edit)) = edit {
            for entry in self.all() {
                entry.follow(field, edit);
            }
            if let Some(origin) = fills {
                for entry in self.all() {
                    entry.fill(origin, edit.index);
                }
            }
        }
        if let Some(entry) = self.side(way).back_mut().filter(|entry| entry.id == id) {
            entry.deeds.extend(deeds);
        }
    }

    /// What others did, or a rebase.
    pub(super) fn others(&mut self, events: &[Event], encoding: TextEncoding) {
        for event in events {
            let edit = if let Event::TitleSpliced { index, deleted, inserted } = event {
                Some((TextField::Title, *index, *deleted, inserted))
            } else if let Event::BodySpliced { index, deleted, inserted } = event {
                Some((TextField::Body, *index, *deleted, inserted))
            } else {
                None
            };
            for entry in self.undo.iter_mut().chain(&mut self.redo) {
                if let Some((field, index, delete, inserted)) = edit {
                    let insert = width_of(inserted, encoding);
                    entry.follow(field, Edit { index, delete, insert, by: None });
                }
                entry.others(event);
            }
        }
    }

    /// A command was rolled back, and the view shows that: there is nothing of it to undo, and what it
    /// removed is back.
    pub(super) fn rolled_back(&mut self, id: Ulid, view: &View) {
        let mut gone = Vec::new();
        for side in [&mut self.undo, &mut self.redo] {
            gone.extend(side.iter().filter(|entry| entry.id == id).cloned());
            side.retain(|entry| entry.id != id);
        }
        let View::Post(view) = view else { return };
        for deed in gone.iter().flat_map(|entry| &entry.deeds) {
            let Deed::Removed { field, spot, text, piece, .. } = deed else { continue };
            let standing = match field {
                TextField::Title => view.title(),
                TextField::Body => view.body(),
            };
            let length = width_of(text, view.encoding());
            if text_slice(standing, spot.at, length, view.encoding()) == text {
                let origin = Origin { command: id, piece: *piece };
                self.all().for_each(|entry| entry.fill(origin, spot.at));
            }
        }
    }

    /// Takes the last entry, and answers what undoes it.
    ///
    /// # Errors
    /// [`UndoError`]; the entry is gone all the same, so that the one before it comes next.
    pub(super) fn take(
        &mut self,
        way: Way,
        now: Timestamp,
        doc: &Automerge,
    ) -> Result<Vec<Back>, UndoError> {
        let side = match way {
            Way::Undo => &mut self.undo,
            Way::Forth | Way::Redo => &mut self.redo,
        };
        let entry = side.pop_back().ok_or(UndoError::Nothing)?;
        entry.back(now, doc)
    }
}

impl Entry {
    /// What takes it back where nobody touched it.
    fn back(mut self, now: Timestamp, doc: &Automerge) -> Result<Vec<Back>, UndoError> {
        let mut backs = Vec::new();
        for deed in self.deeds.iter().rev() {
            match deed {
                Deed::Final(what) => return Err(UndoError::Final(what)),
                Deed::Guarded { back, touched: false, .. } => {
                    if back.iter().any(|command| command.has_rivals(doc)) {
                        continue;
                    }
                    let timed = back.iter().map(|command| at_time(command.clone(), now));
                    backs.extend(timed.map(|command| Back::Do { command, fills: None }));
                }
                Deed::Marked { stretch, name, before } => {
                    let marks = stretch.ranges().into_iter().map(|(start, end)| match before {
                        Some(value) => {
                            let (name, value) = (*name, value.clone());
                            PostCommand::Mark { start, end, name, value }
                        }
                        None => PostCommand::Unmark { start, end, name: *name },
                    });
                    backs.extend(
                        marks.map(|command| Back::Do {
                            command: Command::Post(command),
                            fills: None,
                        }),
                    );
                }
                Deed::Guarded { .. } | Deed::Inserted { .. } | Deed::Removed { .. } => {}
            }
        }
        self.take_text_out(&mut backs);
        self.put_text_back(&mut backs, doc.text_encoding());
        if backs.is_empty() { Err(UndoError::Superseded) } else { Ok(backs) }
    }

    /// Removes what is left of what it inserted, from the end to the beginning.
    fn take_text_out(&mut self, backs: &mut Vec<Back>) {
        let last = |deed: &Deed| match deed {
            Deed::Inserted { field, stretch } => {
                stretch.ranges().last().map(|(start, end)| (*field, *start, *end))
            }
            Deed::Removed { .. } | Deed::Marked { .. } | Deed::Guarded { .. } | Deed::Final(_) => {
                None
            }
        };
        while let Some((field, start, end)) = self.deeds.iter().rev().find_map(last) {
            let (index, delete) = (start, end - start);
            backs.push(splice(field, index, delete, String::new(), None));
            self.follow(field, Edit { index, delete, insert: 0, by: None });
        }
    }

    /// Brings back what it removed, the last piece first.
    fn put_text_back(&mut self, backs: &mut Vec<Back>, encoding: TextEncoding) {
        for at in (0..self.deeds.len()).rev() {
            let Some(Deed::Removed { field, spot, text, marks, piece }) = self.deeds.get(at) else {
                continue;
            };
            let (field, index, insert) = (*field, spot.at, width_of(text, encoding));
            let origin = Origin { command: self.id, piece: *piece };
            backs.push(splice(field, index, 0, text.clone(), Some(origin)));
            if field == TextField::Body {
                backs.push(Back::Remark { index, length: insert, marks: marks.clone() });
            }
            self.follow(field, Edit { index, delete: 0, insert, by: None });
        }
    }
}

fn splice(
    field: TextField,
    index: usize,
    delete: usize,
    insert: String,
    fills: Option<Origin>,
) -> Back {
    let command = Command::Post(PostCommand::Splice { field, index, delete, insert });
    Back::Do { command, fills }
}

/// A command that says when it was made is made now.
fn at_time(mut command: Command, now: Timestamp) -> Command {
    match &mut command {
        Command::Comments(
            CommentsCommand::Edit { edited: at, .. } | CommentsCommand::Delete { at, .. },
        ) => *at = now,
        Command::Comments(CommentsCommand::Add { .. })
        | Command::Post(_)
        | Command::Likes(_)
        | Command::Json(_) => {}
    }
    command
}

fn guarded(guard: Guard, back: Command) -> Plan {
    Plan {
        deeds: vec![Deed::Guarded { guard: Some(guard), back: vec![back], touched: false }],
        edit: None,
    }
}

fn unguarded(back: Command) -> Plan {
    Plan {
        deeds: vec![Deed::Guarded { guard: None, back: vec![back], touched: false }],
        edit: None,
    }
}

fn finally(what: &'static str) -> Plan {
    Plan { deeds: vec![Deed::Final(what)], edit: None }
}

fn plan(origin: Origin, part: &Command, view: &View) -> Plan {
    match (part, view) {
        (Command::Post(part), View::Post(view)) => post(origin, part, view),
        (Command::Likes(part), View::Likes(view)) => match part {
            LikesCommand::Like { target, reaction, user, .. } => {
                let (target, reaction, user) = (*target, reaction.clone(), user.clone());
                let guard = Guard::Like(target, reaction.clone(), user.clone());
                guarded(guard, Command::Likes(LikesCommand::Unlike { target, reaction, user }))
            }
            LikesCommand::Unlike { target, reaction, user } => {
                let Some(at) = view.like(*target, reaction, user) else {
                    return finally("this");
                };
                let (target, reaction, user) = (*target, reaction.clone(), user.clone());
                let guard = Guard::Like(target, reaction.clone(), user.clone());
                guarded(guard, Command::Likes(LikesCommand::Like { target, reaction, user, at }))
            }
            LikesCommand::Count { counter, by } => {
                let (counter, by) = (*counter, by.saturating_neg());
                unguarded(Command::Likes(LikesCommand::Count { counter, by }))
            }
        },
        (Command::Comments(part), View::Comments(view)) => match part {
            CommentsCommand::Add { id, created, .. } => {
                let back = CommentsCommand::Delete { id: *id, at: *created };
                guarded(Guard::Comment(*id), Command::Comments(back))
            }
            CommentsCommand::Edit { id, edited, .. } => {
                let Some(body) = view.comment(*id).map(|comment| comment.body.clone()) else {
                    return finally("this");
                };
                let back = CommentsCommand::Edit { id: *id, body, edited: *edited };
                guarded(Guard::Comment(*id), Command::Comments(back))
            }
            CommentsCommand::Delete { .. } => finally("deleting a comment"),
        },
        (Command::Json(part), View::Json(view)) => {
            let back = view.inverse(part).into_iter().map(Command::Json).collect::<Vec<_>>();
            let guard = match part {
                JsonCommand::Increment { path, .. } => {
                    // What others add to a counter is theirs; what the counter lies in is not.
                    path.split_last().map(|(_, parents)| parents.to_vec()).filter(|p| !p.is_empty())
                }
                JsonCommand::Delete { path }
                    if matches!(path.last(), Some(PathSegment::Index(_))) =>
                {
                    path.split_last().map(|(_, list)| list.to_vec())
                }
                JsonCommand::Put { path, .. }
                | JsonCommand::PutText { path, .. }
                | JsonCommand::PutCounter { path, .. }
                | JsonCommand::Delete { path }
                | JsonCommand::Insert { path, .. }
                | JsonCommand::Splice { path, .. } => Some(path.clone()),
            };
            let guard = guard.map(Guard::Json);
            Plan { deeds: vec![Deed::Guarded { guard, back, touched: false }], edit: None }
        }
        (Command::Post(_) | Command::Likes(_) | Command::Comments(_) | Command::Json(_), _) => {
            finally("this")
        }
    }
}

fn post(origin: Origin, part: &PostCommand, view: &PostView) -> Plan {
    let back = |guard, command| guarded(guard, Command::Post(command));
    match part {
        PostCommand::Create { .. } => finally("writing a post"),
        PostCommand::Splice { field, index, delete, insert } => {
            text(origin, *field, (*index, *delete, insert), view)
        }
        PostCommand::Mark { start, end, name, .. } | PostCommand::Unmark { start, end, name } => {
            let standing = marks_in(view, *start, end - start);
            let mut free = Stretch { live: vec![(*start, *end)], ..Stretch::default() };
            let mut deeds = Vec::new();
            for (from, to, of, value) in standing.into_iter().filter(|mark| mark.2 == *name) {
                let (from, to) = (start + from, start + to);
                free.lose(from, to);
                let stretch = Stretch { live: vec![(from, to)], ..Stretch::default() };
                deeds.push(Deed::Marked { stretch, name: of, before: Some(value) });
            }
            deeds.push(Deed::Marked { stretch: free, name: *name, before: None });
            Plan { deeds, edit: None }
        }
        PostCommand::AddTag { tag } => {
            back(Guard::Tag(tag.clone()), PostCommand::RemoveTag { tag: tag.clone() })
        }
        PostCommand::RemoveTag { tag } => {
            back(Guard::Tag(tag.clone()), PostCommand::AddTag { tag: tag.clone() })
        }
        PostCommand::AddEditor { user } => {
            back(Guard::Editor(user.clone()), PostCommand::RemoveEditor { user: user.clone() })
        }
        PostCommand::RemoveEditor { user } => {
            back(Guard::Editor(user.clone()), PostCommand::AddEditor { user: user.clone() })
        }
        PostCommand::SetStatus { .. } => {
            back(Guard::Status, PostCommand::SetStatus { status: view.status() })
        }
    }
}

fn text(
    origin: Origin,
    field: TextField,
    (index, delete, insert): (usize, usize, &str),
    view: &PostView,
) -> Plan {
    let encoding = view.encoding();
    let standing = match field {
        TextField::Title => view.title(),
        TextField::Body => view.body(),
    };
    let gone = text_slice(standing, index, delete, encoding);
    let (delete, inserted) = (width_of(gone, encoding), width_of(insert, encoding));
    let mut deeds = Vec::new();
    if delete > 0 {
        let marks = match field {
            TextField::Body => marks_in(view, index, delete),
            TextField::Title => Vec::new(),
        };
        let (spot, piece) = (Spot { at: index, within: Vec::new() }, origin.piece);
        deeds.push(Deed::Removed { field, spot, text: gone.to_owned(), marks, piece });
    }
    if inserted > 0 {
        let live = vec![(index, index + inserted)];
        let stretch = Stretch { live, ..Stretch::default() };
        deeds.push(Deed::Inserted { field, stretch });
    }
    let edit = Edit { index, delete, insert: inserted, by: Some(origin) };
    Plan { deeds, edit: Some((field, edit)) }
}
