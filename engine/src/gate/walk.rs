//! The way of one change through the gate, operation by operation: everything that it names is
//! there, fits, and was seen by it, and what each operation asks of the policy is allowed. Reads the
//! index and changes nothing.

use std::collections::BTreeMap;

use super::Index;
use super::history::{Continuation, Id};
use super::objects::{Content, Name, Object, What};
use super::schema::{self, Ask, Place};
use super::sequence::{More, Order};
use crate::change::{Action, Header, Key, Op, OpId, Operations};
use crate::codes::Code;
use crate::document::{bucket, bucket_name};
use crate::ids::{Facet, Ulid, UserId};
use crate::policy::{Act, Principal, Refusal, decide};

/// How far a counter moves in all, so that no order of arrival overflows it or a difference of two
/// of its values.
const COUNTER_MOVES_MAX: u64 = 1 << 61;

/// What an operation of the change itself made.
#[derive(Debug, Clone, Copy)]
struct Made {
    /// The sequence of which it is an element.
    element_of: Option<Id>,
    /// Whether it is an end of a mark.
    mark: bool,
    what: What,
    object: Option<NewObject>,
}

#[derive(Debug, Clone, Copy)]
struct NewObject {
    kind: Kind,
    place: Place,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Map,
    List,
    Text,
}

impl Kind {
    const fn of(content: &Content) -> Self {
        match content {
            Content::Map(_) => Self::Map,
            Content::List(..) => Self::List,
            Content::Text(..) => Self::Text,
        }
    }

    const fn made_by(action: &Action<'_>) -> Option<Self> {
        match action {
            Action::MakeMap => Some(Self::Map),
            Action::MakeList => Some(Self::List),
            Action::MakeText => Some(Self::Text),
            Action::Set(_)
            | Action::Delete
            | Action::Increment(_)
            | Action::MarkBegin { .. }
            | Action::MarkEnd { .. } => None,
        }
    }
}

/// The object of an operation.
#[derive(Debug, Clone, Copy)]
struct Subject<'a> {
    id: Id,
    kind: Kind,
    place: Place,
    /// `None` if the change itself made it.
    known: Option<&'a Object>,
}

/// A mark that began with the operation before.
#[derive(Debug, Clone, Copy)]
struct Begun {
    id: Id,
    object: Id,
    after: Option<Id>,
}

type Seen = Vec<(Id, What)>;

/// One change on its way.
#[derive(Debug)]
pub(super) struct Walk<'a> {
    index: &'a Index,
    header: &'a Header,
    next: &'a Continuation,
    principal: Option<&'a Principal>,
    made: Vec<Made>,
    /// What is seen where the change itself has written.
    cells: BTreeMap<(Id, Name<'a>), Seen>,
    /// The elements that the change adds to the one text that has marks, if it has some.
    more: Option<More>,
    begun: Option<Begun>,
    creates_post: bool,
    preds: Vec<Id>,
}

fn refuse<T>(code: Code, message: &str) -> Result<T, Refusal> {
    Err(Refusal::new(code, message))
}

fn bad<T>(message: &str) -> Result<T, Refusal> {
    refuse(Code::BadStructure, message)
}

impl<'a> Walk<'a> {
    pub(super) fn new(
        index: &'a Index,
        header: &'a Header,
        next: &'a Continuation,
        principal: Option<&'a Principal>,
    ) -> Self {
        Self {
            index,
            header,
            next,
            principal,
            made: Vec::new(),
            cells: BTreeMap::new(),
            more: None,
            begun: None,
            creates_post: false,
            preds: Vec::new(),
        }
    }

    pub(super) fn run(mut self, ops: &'a Operations<'_>) -> Result<(), Refusal> {
        if ops.is_empty() && self.principal.is_some() {
            return refuse(Code::NoEffect, "the change does nothing");
        }
        self.made.reserve(ops.len());
        if ops.iter().any(|op| matches!(op.action, Action::MarkBegin { .. })) {
            self.more = Some(More::default());
        }
        if self.index.facet == Facet::Post {
            let author = |op: Op<'_>| op.obj.is_none() && op.key == Key::Map("author");
            self.creates_post = ops.iter().any(author);
            self.post_is_there()?;
        }
        let last = ops.len().saturating_sub(1);
        for (place, op) in ops.iter().enumerate() {
            self.step(&op, place == last)?;
        }
        if self.begun.is_some() {
            return bad("a mark does not end");
        }
        self.is_complete()
    }

    /// A post must be created before anything else is done to it.
    fn post_is_there(&self) -> Result<(), Refusal> {
        let root = self.index.objects.object(Id::NONE);
        let seen =
            root.map(|root| root.seen(Name::Key("author"), &self.index.history, &self.next.past));
        if self.creates_post || seen.is_some_and(|seen| !seen.is_empty()) {
            return Ok(());
        }
        // The server's own merges have no operations; they get here without a judge.
        if self.principal.is_none() && self.header.ops == 0 {
            return Ok(());
        }
        refuse(Code::NotFound, "the post was not created yet")
    }

    /// A post and a comment come with all that they need.
    fn is_complete(&self) -> Result<(), Refusal> {
        let filled = |object: Id, fields: &[&str]| {
            fields.iter().all(|field| self.cells.contains_key(&(object, Name::Key(field))))
        };
        if self.creates_post && !filled(Id::NONE, &["author", "created", "status"]) {
            return refuse(Code::NotInSchema, "a post needs author, created and status");
        }
        for (offset, made) in self.made.iter().enumerate() {
            if let Some(NewObject { place: Place::Comment(_), .. }) = made.object
                && !filled(self.own(offset), &["author", "created", "body"])
            {
                return refuse(Code::NotInSchema, "a comment needs author, created and body");
            }
        }
        Ok(())
    }

    /// The operation at a place of the change.
    fn own(&self, offset: usize) -> Id {
        Id::new(self.header.start_op + offset as u64, self.writer(0))
    }

    fn writer(&self, actor: u8) -> u32 {
        self.next.writers.get(usize::from(actor)).copied().unwrap_or(u32::MAX)
    }

    fn id(&self, id: OpId) -> Id {
        Id::new(id.counter, self.writer(id.actor))
    }

    /// What the change itself made under this name, if it is one of its operations.
    fn made(&self, id: OpId) -> Option<Option<&Made>> {
        let offset = id.counter.checked_sub(self.header.start_op)?;
        let is_own = id.actor == 0;
        is_own.then(|| usize::try_from(offset).ok().and_then(|offset| self.made.get(offset)))
    }

    fn subject(&self, object: Option<OpId>) -> Result<Subject<'a>, Refusal> {
        let id = object.map_or(Id::NONE, |object| self.id(object));
        if let Some(made) = object.and_then(|object| self.made(object)) {
            let Some(NewObject { kind, place }) = made.and_then(|made| made.object) else {
                return bad("the change writes into something that is no object");
            };
            return Ok(Subject { id, kind, place, known: None });
        }
        let Some(known) = self.index.objects.object(id) else {
            return bad("the change writes into an object that does not exist");
        };
        if object.is_some() && !self.index.history.covers(&self.next.past, id) {
            return bad("the change writes into an object that it has not seen");
        }
        Ok(Subject { id, kind: Kind::of(&known.content), place: known.place, known: Some(known) })
    }

    /// The element of a sequence that an operation names.
    fn element(&self, subject: &Subject<'_>, id: OpId) -> Result<Id, Refusal> {
        let element = self.id(id);
        let is_there = match self.made(id) {
            Some(made) => made.is_some_and(|made| made.element_of == Some(subject.id)),
            None => {
                let sequence = subject.known.and_then(|object| object.content.sequence());
                sequence.is_some_and(|sequence| sequence.contains(element))
                    && self.index.history.covers(&self.next.past, element)
            }
        };
        if is_there { Ok(element) } else { bad("the change names an element that is not there") }
    }

    fn step(&mut self, op: &Op<'a>, is_last: bool) -> Result<(), Refusal> {
        let subject = self.subject(op.obj)?;
        let own = self.own(self.made.len());
        let mut after = None;
        let name = match (op.key, subject.kind, op.insert) {
            (Key::Map(key), Kind::Map, _) => Name::Key(key),
            (Key::Head, Kind::List | Kind::Text, true) => Name::Element(own),
            (Key::Element(id), Kind::List | Kind::Text, true) => {
                after = Some(self.element(&subject, id)?);
                Name::Element(own)
            }
            (Key::Element(id), Kind::List | Kind::Text, false) => {
                Name::Element(self.element(&subject, id)?)
            }
            _ => return bad("the key does not fit the object"),
        };
        let is_text = subject.kind == Kind::Text;
        let Index { facet, buckets, .. } = *self.index;
        let ask = schema::ask(subject.place, is_text, facet, buckets, name, op)?;
        let mut kept = Seen::new();
        if op.insert {
            self.mark(&subject, own, after, &op.action)?;
        } else {
            self.resolve_preds(op);
            if is_text {
                self.deletes_a_character(&subject, op)?;
            } else {
                kept = self.overwrite(&subject, name, op)?;
            }
        }
        self.judge(&ask, &subject, name, !kept.is_empty(), op)?;
        self.note(&subject, own, name, after, op);
        if !op.insert && !is_text && (!is_last || self.must_be_complete(&subject)) {
            if !matches!(op.action, Action::Delete | Action::Increment(_)) {
                kept.push((own, What::of(&op.action)));
            }
            self.cells.insert((subject.id, name), kept);
        }
        Ok(())
    }

    /// Whether somebody will ask which fields were written.
    fn must_be_complete(&self, subject: &Subject<'_>) -> bool {
        self.creates_post || (subject.known.is_none() && self.index.facet == Facet::Comments)
    }

    fn resolve_preds(&mut self, op: &Op<'_>) {
        let mut preds = std::mem::take(&mut self.preds);
        preds.clear();
        preds.extend(op.preds.iter().map(|pred| self.id(*pred)));
        self.preds = preds;
    }

    /// A text's elements are only ever deleted, by the name of their insertion.
    fn deletes_a_character(&self, subject: &Subject<'_>, op: &Op<'_>) -> Result<(), Refusal> {
        let Key::Element(id) = op.key else { return bad("the key does not fit the object") };
        let element = self.id(id);
        let is_mark = match (self.made(id), subject.known.map(|object| &object.content)) {
            (Some(made), _) => made.is_none_or(|made| made.mark),
            (None, Some(Content::Text(_, marks))) => marks.contains(&element),
            (None, _) => true,
        };
        if is_mark || self.preds != [element] || op.action != Action::Delete {
            return bad("a character is deleted as it was inserted, and not otherwise changed");
        }
        Ok(())
    }

    /// What is seen at a key or element before an operation of the change.
    fn seen(&self, subject: &Subject<'_>, name: Name<'a>) -> Seen {
        if let Some(seen) = self.cells.get(&(subject.id, name)) {
            return seen.clone();
        }
        let (history, past) = (&self.index.history, &self.next.past);
        match (subject.known, name) {
            // An element that the change itself made is in an object that may be older.
            (_, Name::Element(id)) if self.is_own(id) => {
                let offset = u64::from(id.counter) - self.header.start_op;
                let made = usize::try_from(offset).ok().and_then(|offset| self.made.get(offset));
                made.map(|made| vec![(id, made.what)]).unwrap_or_default()
            }
            (Some(object), _) => object.seen(name, history, past),
            (None, _) => Seen::new(),
        }
    }

    fn is_own(&self, id: Id) -> bool {
        id.writer == self.writer(0) && u64::from(id.counter) >= self.header.start_op
    }

    /// Checks that an operation overwrites exactly what it sees, as automerge does, and returns
    /// what stays.
    fn overwrite(
        &self,
        subject: &Subject<'_>,
        name: Name<'a>,
        op: &Op<'_>,
    ) -> Result<Seen, Refusal> {
        let seen = self.seen(subject, name);
        let (mut over, mut kept): (Seen, Seen) =
            seen.into_iter().partition(|(id, _)| self.preds.contains(id));
        if over.len() != self.preds.len() {
            return bad("the change overwrites something that does not stand there");
        }
        let winner_alone = || {
            let [(winner, _)] = kept.as_slice() else { return false };
            over.iter()
                .all(|(id, _)| self.index.history.compare(*id, *winner, self.header.actor).is_lt())
        };
        // Setting the value that won a conflict is written as the deletion of those that lost.
        if !(kept.is_empty() || op.action == Action::Delete && winner_alone()) {
            return bad("the change leaves standing what it should overwrite");
        }
        if let Action::Increment(by) = op.action {
            over.retain(|(_, what)| matches!(what, What::Counter(_)));
            if over.is_empty() {
                return bad("there is no counter to move");
            }
            for (_, what) in &mut over {
                let What::Counter(moved) = what else { continue };
                *moved = moved.saturating_add(by.unsigned_abs());
                if *moved > COUNTER_MOVES_MAX {
                    return bad("the counter has moved as far as it may");
                }
            }
            kept = over;
        }
        Ok(kept)
    }

    /// Checks that marks come as pairs of a beginning and, right after it, an end behind it.
    fn mark(
        &mut self,
        subject: &Subject<'_>,
        own: Id,
        after: Option<Id>,
        action: &Action<'_>,
    ) -> Result<(), Refusal> {
        let begun = self.begun.take();
        match (action, begun) {
            (Action::MarkBegin { .. }, None) => {
                self.begun = Some(Begun { id: own, object: subject.id, after });
                Ok(())
            }
            (Action::MarkEnd { .. }, Some(begun)) => {
                let in_order =
                    after == Some(begun.id) || self.precedes(subject, begun.after, after);
                if begun.object == subject.id && in_order {
                    Ok(())
                } else {
                    bad("a mark must end behind its beginning")
                }
            }
            (Action::MarkBegin { .. } | Action::MarkEnd { .. }, _) => {
                bad("the beginning and the end of a mark follow each other")
            }
            (_, Some(_)) => bad("a mark does not end"),
            (_, None) => Ok(()),
        }
    }

    fn precedes(&self, subject: &Subject<'_>, first: Option<Id>, second: Option<Id>) -> bool {
        let Some(base) = subject.known.and_then(|object| object.content.sequence()) else {
            return false;
        };
        let author = self.header.actor;
        let order = Order { base, more: self.more.as_ref() };
        order.precedes(first, second, |a, b| self.index.history.compare(a, b, author))
    }

    /// Notes what an operation made, for those after it.
    fn note(
        &mut self,
        subject: &Subject<'a>,
        own: Id,
        name: Name<'_>,
        after: Option<Id>,
        op: &Op<'_>,
    ) {
        let kind = Kind::made_by(&op.action);
        let place = || subject.place.child(self.index.facet, name);
        let object = kind.map(|kind| NewObject { kind, place: place() });
        self.made.push(Made {
            element_of: op.insert.then_some(subject.id),
            mark: matches!(op.action, Action::MarkBegin { .. } | Action::MarkEnd { .. }),
            what: What::of(&op.action),
            object,
        });
        if op.insert
            && subject.place == Place::Body
            && let Some(more) = &mut self.more
            && let Some(base) = subject.known.and_then(|object| object.content.sequence())
        {
            more.insert(base, own, after);
        }
    }

    /// Checks what the structure alone can't say, and puts the question to the policy.
    fn judge(
        &self,
        ask: &Ask,
        subject: &Subject<'a>,
        name: Name<'a>,
        stands: bool,
        op: &Op<'_>,
    ) -> Result<(), Refusal> {
        let is_new = subject.known.is_none();
        let untouched = || match (name, subject.known) {
            (Name::Key(key), Some(object)) => {
                object.cell(key).is_none() && !self.cells.contains_key(&(subject.id, name))
            }
            _ => !self.cells.contains_key(&(subject.id, name)),
        };
        match ask {
            Ask::CreatePost(_) | Ask::MakeComment if !untouched() => {
                return refuse(Code::NoEffect, "it was written already, and is not written twice");
            }
            Ask::CreatePost(_) if !self.creates_post => {
                return refuse(Code::NotInSchema, "a post is created in one change");
            }
            Ask::FillComment(_) | Ask::ReplyTo(_) if !(is_new && untouched()) => {
                return refuse(Code::NotInSchema, "this field of a comment never changes");
            }
            Ask::ReplyTo(parent) if !self.comment_is_there(*parent, subject.id) => {
                return refuse(Code::NotFound, "the comment that this one answers is not there");
            }
            Ask::SetStatus | Ask::EditComment | Ask::DeleteComment
                if op.action == Action::Delete && !stands =>
            {
                return refuse(Code::NotInSchema, "this field can't be removed");
            }
            Ask::React(_)
            | Ask::Count(_)
            | Ask::CreatePost(_)
            | Ask::EditPost
            | Ask::SetEditors
            | Ask::SetStatus
            | Ask::MakeComment
            | Ask::FillComment(_)
            | Ask::ReplyTo(_)
            | Ask::EditComment
            | Ask::DeleteComment
            | Ask::EditJson => {}
        }
        let Some(Principal { user, may, .. }) = self.principal else { return Ok(()) };
        // What is filled into a comment that is being made is decided where its author is named.
        let author = || if is_new { Some(user) } else { subject.known?.author.as_ref() };
        let act = match ask {
            Ask::React(user) => Act::React { user },
            Ask::Count(by) => Act::Count { by: *by },
            Ask::CreatePost(author) => Act::CreatePost { author: author.as_ref().unwrap_or(user) },
            Ask::EditPost => {
                let editor = |author| author != user && self.index.is_editor(user);
                return self.judge_post(|author| Act::EditPost { author, editor: editor(author) });
            }
            Ask::SetEditors => return self.judge_post(|author| Act::SetEditors { author }),
            Ask::SetStatus => return self.judge_post(|author| Act::SetStatus { author }),
            Ask::MakeComment | Ask::ReplyTo(_) | Ask::FillComment(None) => {
                Act::AddComment { author: user }
            }
            Ask::FillComment(Some(author)) => Act::AddComment { author },
            Ask::EditComment | Ask::DeleteComment => {
                let Some(author) = author() else {
                    return refuse(Code::NotAuthor, "the comment has no author");
                };
                if *ask == Ask::EditComment {
                    Act::EditComment { author }
                } else {
                    Act::DeleteComment { author }
                }
            }
            Ask::EditJson if self.index.rules => Act::Manage,
            Ask::EditJson => Act::EditJson,
        };
        decide(user, *may, act)
    }

    fn judge_post(&self, what: impl FnOnce(&'a UserId) -> Act<'a>) -> Result<(), Refusal> {
        let Some(Principal { user, may, .. }) = self.principal else { return Ok(()) };
        if self.creates_post {
            return decide(user, *may, Act::CreatePost { author: user });
        }
        let root = self.index.objects.object(Id::NONE);
        let Some(author) = root.and_then(|root| root.author.as_ref()) else {
            return refuse(Code::NotFound, "the post was not created yet");
        };
        decide(user, *may, what(author))
    }

    /// Whether a comment was there before another, so that no two answer each other.
    fn comment_is_there(&self, id: Ulid, before: Id) -> bool {
        let key = id.to_string();
        let is_it =
            |made: &Made| made.object.is_some_and(|object| object.place == Place::Comment(id));
        if let Some(offset) = self.made.iter().position(is_it) {
            return self.own(offset) < before;
        }
        let buckets = self.index.buckets;
        let child = |parent: Id, key: &str| {
            let parent = self.index.objects.object(parent)?;
            let seen = parent.seen(Name::Key(key), &self.index.history, &self.next.past);
            seen.first().map(|(id, _)| *id)
        };
        child(Id::NONE, "comments")
            .and_then(|set| child(set, &bucket_name(bucket(&key, buckets))))
            .and_then(|bucket| child(bucket, &key))
            .is_some()
    }
}
