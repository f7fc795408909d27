//! Tests of the gate as a whole: people with documents of their own, one index, and changes as bytes.

use automerge::legacy::{ElementId, Key, MarkData, ObjectId, Op, OpId, OpType};
use automerge::{
    ActorId as Actor, Automerge, Change, ExpandedChange, ObjId, ObjType, ROOT, ReadDoc,
    ScalarValue, TextEncoding,
};

use super::*;
use crate::clock::Timestamp;
use crate::codes::Code;
use crate::document::{
    Command, CommentsCommand, JsonCommand, LikesCommand, MarkName, MarkValue, PostCommand, Target,
    TextField, View, bucket, bucket_name,
};
use crate::ids::{ActorId, Ulid};
use crate::policy::Role;
use crate::policy::Rules;

mod floor;
mod forgeries;
mod poison;
mod tallies;

fn user(name: &str) -> UserId {
    UserId::new(name).unwrap()
}

fn id(n: u64) -> Ulid {
    Ulid::new(Timestamp(n), u128::from(n))
}

/// One document behind the gate, with a plain copy of what was accepted.
struct House {
    index: Index,
    rules: Rules,
    server: Automerge,
    slots: u32,
}

impl House {
    fn new(facet: Facet) -> Self {
        Self::with_index(facet, Index::new(&address(facet)))
    }

    fn with_index(facet: Facet, index: Index) -> Self {
        let mut rules = Rules::default();
        rules.members.insert(user("mod"), Role::Moderator);
        rules.members.insert(user("vic"), Role::Viewer);
        let server = genesis::document(&address(facet), TextEncoding::UnicodeCodePoint);
        Self { index, rules, server, slots: 0 }
    }

    /// A copy of what the server has, under an actor of its own.
    fn copy(&mut self) -> Automerge {
        let mut doc = self.server.clone();
        self.slots += 1;
        doc.set_actor(Actor::from(ActorId::leased(1, self.slots).0));
        doc
    }

    fn check(&self, who: &str, bytes: &[u8]) -> Result<(), Code> {
        let principal = self.rules.principal(&user(who), None);
        let checked = self.index.check(bytes, &principal);
        checked.map(drop).map_err(|refusal| refusal.code)
    }

    /// Hands a change in; what is accepted is applied everywhere.
    fn push(&mut self, who: &str, change: &Change) -> Result<(), Code> {
        self.check(who, change.raw_bytes())?;
        let checked = self.index.check_structure(change.raw_bytes()).unwrap();
        self.index.apply(&checked);
        self.server.apply_changes([change.clone()]).unwrap();
        let loaded = Automerge::load(&self.server.save()).unwrap();
        assert_eq!(loaded.get_heads(), self.server.get_heads());
        let shown = Part::of_view(&View::read(self.index.facet, &loaded));
        assert_eq!(self.index.part(), shown, "the tally is what is shown");
        Ok(())
    }

    /// Somebody who has seen everything does something.
    fn does(&mut self, who: &str, command: impl Into<Command>) -> Result<(), Code> {
        let mut doc = self.copy();
        let change = change(&mut doc, command);
        self.push(who, &change)
    }

    /// A change with these operations, on what the server has or on `seen`.
    fn forged(&mut self, seen: Option<&Automerge>, ops: Vec<Op>) -> Change {
        let base = seen.unwrap_or(&self.server).clone();
        self.slots += 1;
        on(&base, ActorId::leased(1, self.slots), ops)
    }

    fn refuses(&mut self, who: &str, ops: Vec<Op>) -> Code {
        let change = self.forged(None, ops);
        self.check(who, change.raw_bytes()).unwrap_err()
    }
}

fn address(facet: Facet) -> Address {
    Address::new("town", "square", facet).unwrap()
}

/// A change with these operations by an actor who has seen a document.
fn on(base: &Automerge, actor: ActorId, operations: Vec<Op>) -> Change {
    let deps = base.get_heads();
    let max_op = base.get_changes(&[]).iter().map(Change::max_op).max().unwrap_or(0);
    Change::from(ExpandedChange {
        operations,
        actor_id: Actor::from(actor.0),
        author: None,
        hash: None,
        time: 0,
        deps: {
            let mut deps = deps;
            deps.sort();
            deps
        },
        seq: 1,
        start_op: std::num::NonZeroU64::new(max_op + 1).unwrap(),
        extra_bytes: vec![],
        message: None,
    })
}

fn change(doc: &mut Automerge, command: impl Into<Command>) -> Change {
    let mut tx = doc.transaction();
    command.into().apply(&mut tx).unwrap();
    tx.commit();
    doc.get_last_local_change().unwrap()
}

fn like(who: &str, n: u64) -> LikesCommand {
    let (target, reaction) = (Target::Post, "like".to_owned());
    LikesCommand::Like { target, reaction, user: user(who), at: id(n) }
}

fn comment(who: &str, n: u64) -> CommentsCommand {
    let (author, created) = (user(who), Timestamp(n));
    CommentsCommand::Add { id: id(n), author, parent: None, created, body: "hm".into() }
}

fn post(who: &str) -> PostCommand {
    PostCommand::Create {
        author: user(who),
        created: Timestamp(1),
        title: "A title".into(),
        body: "0123456789".into(),
        tags: vec!["rust".into()],
    }
}

/// The name of an object, as operations spell it.
fn object(id: &ObjId) -> ObjectId {
    op_id(id).map_or(ObjectId::Root, ObjectId::Id)
}

fn op_id(id: &ObjId) -> Option<OpId> {
    match id {
        ObjId::Root => None,
        ObjId::Id(counter, actor, _) => Some(OpId(*counter, actor.clone())),
    }
}

/// What stands at a key.
fn at(doc: &Automerge, obj: &ObjId, key: &str) -> OpId {
    op_id(&doc.get(obj, key).unwrap().unwrap().1).unwrap()
}

/// The objects along a path of keys.
fn path(doc: &Automerge, keys: &[&str]) -> ObjId {
    keys.iter().fold(ROOT, |at, key| doc.get(&at, *key).unwrap().unwrap().1)
}

fn in_bucket(doc: &Automerge, set: &str, key: &str) -> ObjId {
    path(doc, &[set, &bucket_name(bucket(key, BUCKETS))])
}

fn op(obj: ObjectId, key: Key, pred: Vec<OpId>, action: OpType) -> Op {
    Op { action, obj, key, pred: pred.into(), insert: false }
}

fn put(obj: ObjectId, key: &str, pred: Vec<OpId>, value: impl Into<ScalarValue>) -> Op {
    op(obj, Key::Map(key.into()), pred, OpType::Put(value.into()))
}

fn insert(obj: ObjectId, after: ElementId, action: OpType) -> Op {
    Op { insert: true, ..op(obj, Key::Seq(after), vec![], action) }
}

fn mark(name: &str) -> OpType {
    let value = ScalarValue::Boolean(true);
    OpType::MarkBegin(MarkData { name: name.into(), value, expand: false })
}

#[test]
fn the_bytes_of_anything_else_are_refused_by_the_reader() {
    let house = House::new(Facet::Likes);
    assert_eq!(house.check("ann", b"nonsense"), Err(Code::BadChange));
    assert_eq!(house.check("ann", &[0; 100_000]), Err(Code::ChangeTooLarge));
}

#[test]
fn a_change_for_one_document_does_not_enter_another() {
    let (mut likes, facet) = (House::new(Facet::Likes), Facet::Likes);
    let mut doc = likes.copy();
    let change = change(&mut doc, like("ann", 1));
    let elsewhere = Index::new(&Address::new("town", "circle", facet).unwrap());
    let elsewhere = House { index: elsewhere, ..House::new(facet) };
    assert_eq!(elsewhere.check("ann", change.raw_bytes()), Err(Code::UnknownDeps));
    assert_eq!(House::new(Facet::Json).check("ann", change.raw_bytes()), Err(Code::UnknownDeps));
    assert_eq!(likes.push("ann", &change), Ok(()));
    assert_eq!(likes.push("ann", &change), Err(Code::WrongSeq), "nor twice");
}

#[test]
fn an_index_from_a_snapshot_goes_on_like_the_one_that_saw_the_log() {
    let mut house = House::new(Facet::Comments);
    for n in 1..20 {
        house.does("ann", comment("ann", n)).unwrap();
    }
    let loaded = Automerge::load(&house.server.save()).unwrap();
    let changes = loaded.get_changes(&[]);
    let mut index = Index::new(&address(Facet::Comments));
    index.replay(changes.iter().map(Change::raw_bytes)).unwrap();
    assert_eq!(index.len(), house.index.len());
    house.index = index;
    house.does("bob", comment("bob", 30)).unwrap();
    let edit = CommentsCommand::Edit { id: id(3), body: "x".into(), edited: Timestamp(9) };
    assert_eq!(house.does("bob", edit.clone()), Err(Code::NotAuthor));
    assert_eq!(house.does("ann", edit), Ok(()));
}

#[test]
fn rules_are_asked_at_each_change() {
    let mut house = House::new(Facet::Likes);
    assert_eq!(house.does("vic", like("vic", 1)), Err(Code::Forbidden));
    assert_eq!(house.does("ann", like("ann", 2)), Ok(()));
    house.rules.banned.insert(user("ann"));
    let unlike =
        LikesCommand::Unlike { target: Target::Post, reaction: "like".into(), user: user("ann") };
    assert_eq!(house.does("ann", unlike), Err(Code::Forbidden));
    house.rules.private = true;
    assert_eq!(house.does("bob", like("bob", 3)), Err(Code::Forbidden));
}
