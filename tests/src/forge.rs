//! Changes made operation by operation, as no client of ours makes them. Knows how automerge spells
//! operations, and nothing about who may do what.

use automerge::{
    Automerge, Change, ExpandedChange, ObjId, ROOT, ReadDoc, ScalarValue,
    legacy::{ElementId, Key, ObjectId, Op, OpId, OpType},
};
use syncline_engine::document::{bucket, bucket_name};
use syncline_engine::limits::BUCKETS;

/// A change with these operations on top of what `seen` has, by an actor whose `seq`th it is.
///
/// # Panics
/// If there is no room for more operations.
#[must_use]
pub fn change(seen: &Automerge, actor: &[u8], seq: u64, operations: Vec<Op>) -> Change {
    let max_op = seen.get_changes(&[]).iter().map(Change::max_op).max().unwrap_or(0);
    let mut deps = seen.get_heads();
    let own = seen.get_changes(&[]).into_iter().rfind(|c| c.actor_id().to_bytes() == actor);
    deps.extend(own.map(|change| change.hash()).filter(|hash| !seen.get_heads().contains(hash)));
    deps.sort();
    Change::from(ExpandedChange {
        operations,
        actor_id: actor.into(),
        author: None,
        hash: None,
        time: 0,
        deps,
        seq,
        start_op: std::num::NonZeroU64::new(max_op + 1).expect("above zero"),
        extra_bytes: vec![],
        message: None,
    })
}

/// The name of an object, as operations spell it.
#[must_use]
pub fn object(id: &ObjId) -> ObjectId {
    op_id(id).map_or(ObjectId::Root, ObjectId::Id)
}

fn op_id(id: &ObjId) -> Option<OpId> {
    match id {
        ObjId::Root => None,
        ObjId::Id(counter, actor, _) => Some(OpId(*counter, actor.clone())),
    }
}

/// What stands at a key.
///
/// # Panics
/// If nothing does.
#[must_use]
pub fn at(doc: &Automerge, obj: &ObjId, key: &str) -> OpId {
    let (_, id) = doc.get(obj, key).expect("a map").expect("something stands there");
    op_id(&id).expect("values have ids")
}

/// The object along a path of keys.
///
/// # Panics
/// If there is none.
#[must_use]
pub fn path(doc: &Automerge, keys: &[&str]) -> ObjId {
    keys.iter().fold(ROOT, |at, key| doc.get(&at, *key).expect("a map").expect("an object").1)
}

/// The bucket of a key in a keyed set.
#[must_use]
pub fn in_bucket(doc: &Automerge, set: &str, key: &str) -> ObjId {
    path(doc, &[set, &bucket_name(bucket(key, BUCKETS))])
}

/// An operation at a key of a map.
#[must_use]
pub fn op(obj: ObjectId, key: &str, pred: Vec<OpId>, action: OpType) -> Op {
    Op { action, obj, key: Key::Map(key.into()), pred: pred.into(), insert: false }
}

/// A value at a key of a map.
#[must_use]
pub fn put(obj: ObjectId, key: &str, pred: Vec<OpId>, value: impl Into<ScalarValue>) -> Op {
    op(obj, key, pred, OpType::Put(value.into()))
}

/// Something inserted into a sequence.
#[must_use]
pub fn insert(obj: ObjectId, after: ElementId, action: OpType) -> Op {
    Op { action, obj, key: Key::Seq(after), pred: vec![].into(), insert: true }
}
