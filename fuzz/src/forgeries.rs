//! Changes that no client writes: an honest one with its operations turned into others, which name
//! what is there, and are spelled well.

use std::num::NonZeroU64;

use automerge::legacy::{ElementId, Key, MarkData, ObjectId, Op, OpId, OpType};
use automerge::{Automerge, Change, ExpandedChange, ObjType, ScalarValue};

use super::commands::Choices;

/// An operation that somebody wrote.
struct Known {
    id: OpId,
    op: Op,
}

fn known(change: &ExpandedChange) -> impl Iterator<Item = Known> {
    (change.start_op.get()..)
        .zip(&change.operations)
        .map(|(counter, op)| Known { id: OpId(counter, change.actor_id.clone()), op: op.clone() })
}

/// A forgery of `honest`, in which parts of what was `accepted` are named.
pub(crate) fn forge(honest: &Change, accepted: &[Change], choices: &mut Choices<'_>) -> Change {
    let own = choices.pick(3, "own") == 0;
    Forger::new(honest, accepted, own).forge(choices)
}

/// An honest change, and what forgeries of it can name.
pub(crate) struct Forger {
    honest: ExpandedChange,
    pool: Vec<Known>,
}

impl Forger {
    pub(crate) fn new(honest: &Change, accepted: &[Change], own: bool) -> Self {
        let honest = honest.decode();
        let mut pool: Vec<Known> =
            accepted.iter().flat_map(|c| known(&c.decode()).collect::<Vec<_>>()).collect();
        if own {
            pool.extend(known(&honest));
        }
        Self { honest, pool }
    }

    pub(crate) fn forge(&self, choices: &mut Choices<'_>) -> Change {
        let mut change = self.honest.clone();
        for _ in 0..=choices.pick(3, "forgeries") {
            forge_once(&mut change, &self.pool, choices);
        }
        change.hash = None;
        Change::from(change)
    }
}

/// The same operations, as if nothing had been seen but `past`.
#[allow(dead_code, reason = "not every target has somebody who has not seen everything")]
pub(crate) fn on_past(change: &Change, past: &Automerge) -> Change {
    let mut change = change.decode();
    let max_op = past.get_changes(&[]).iter().map(Change::max_op).max().unwrap_or(0);
    let Some(start_op) = NonZeroU64::new(max_op + 1) else { return change.into() };
    let (old, actor) = (change.start_op.get(), change.actor_id.clone());
    let moved = |id: &OpId| {
        let own = id.1 == actor && id.0 >= old;
        OpId(if own { id.0 - old + start_op.get() } else { id.0 }, id.1.clone())
    };
    for op in &mut change.operations {
        if let ObjectId::Id(id) = &op.obj {
            op.obj = ObjectId::Id(moved(id));
        }
        if let Key::Seq(ElementId::Id(id)) = &op.key {
            op.key = Key::Seq(ElementId::Id(moved(id)));
        }
        op.pred = op.pred.iter().map(moved).collect();
    }
    change.deps = past.get_heads();
    change.deps.sort_unstable();
    change.start_op = start_op;
    change.hash = None;
    change.into()
}

fn from_pool<'a>(pool: &'a [Known], choices: &mut Choices<'_>) -> &'a Known {
    // Genesis has many operations of the same kind; mostly take a later one.
    let late = choices.pick(4, "late") > 0 && pool.len() > 8;
    let from = if late { pool.len() - 8 } else { 0 };
    let high = choices.pick(256, "known, high") << 8;
    &pool[from + (high + choices.pick(256, "known")) % (pool.len() - from)]
}

fn scalar(choices: &mut Choices<'_>) -> ScalarValue {
    match choices.pick(12, "scalar") {
        0 => ScalarValue::Null,
        1 => ScalarValue::Boolean(true),
        2 => ScalarValue::Int(-7),
        3 => ScalarValue::Uint(7),
        4 => ScalarValue::F64(f64::NAN),
        5 => ScalarValue::Str("x".into()),
        6 => ScalarValue::Str("".into()),
        7 => ScalarValue::Str("eve".into()),
        8 => ScalarValue::counter(i64::MAX),
        9 => ScalarValue::counter(3),
        10 => ScalarValue::Timestamp(5),
        _ => ScalarValue::Bytes(vec![1, 2, 3]),
    }
}

fn action(choices: &mut Choices<'_>) -> OpType {
    match choices.pick(10, "action") {
        0 => OpType::Make(ObjType::Map),
        1 => OpType::Make(ObjType::List),
        2 => OpType::Make(ObjType::Text),
        3 => OpType::Delete,
        4 => OpType::Increment([1, -1, i64::MAX, i64::MIN][choices.pick(4, "by")]),
        5 => mark_begin(choices),
        6 => OpType::MarkEnd(true),
        _ => OpType::Put(scalar(choices)),
    }
}

fn mark_begin(choices: &mut Choices<'_>) -> OpType {
    let name = ["bold", "link", "other"][choices.pick(3, "mark")];
    let value = [ScalarValue::Boolean(true), ScalarValue::Null][choices.pick(2, "value")].clone();
    OpType::MarkBegin(MarkData { name: name.into(), value, expand: choices.pick(2, "expand") == 1 })
}

/// The place of an operation, as one names it to change what stands there.
fn place(known: &Known) -> Key {
    if known.op.insert { Key::Seq(ElementId::Id(known.id.clone())) } else { known.op.key.clone() }
}

fn plain(known: &Known, key: Key, action: OpType) -> Op {
    Op { action, obj: known.op.obj.clone(), key, pred: vec![].into(), insert: false }
}

/// An operation that goes together, on something that somebody wrote.
fn coherent(pool: &[Known], start_op: u64, choices: &mut Choices<'_>) -> Vec<Op> {
    let known = from_pool(pool, choices);
    let value = match choices.pick(3, "whose value") {
        0 => scalar(choices),
        1 => ScalarValue::Str("y".into()),
        _ => {
            let other = &from_pool(pool, choices).op.action;
            if let OpType::Put(value) = other { value.clone() } else { scalar(choices) }
        }
    };
    let over =
        |action| Op { pred: vec![known.id.clone()].into(), ..plain(known, place(known), action) };
    let is_element = matches!(place(known), Key::Seq(_));
    match choices.pick(8, "coherent") {
        0 => vec![over(OpType::Delete)],
        1 => vec![over(OpType::Put(value))],
        2 => vec![over(OpType::Increment([1, 5, -1, i64::MAX][choices.pick(4, "by")]))],
        3 => vec![over(OpType::Make(
            [ObjType::Map, ObjType::List, ObjType::Text][choices.pick(3, "type")],
        ))],
        4 | 5 if is_element => {
            vec![Op { insert: true, ..plain(known, place(known), OpType::Put(value)) }]
        }
        6 if is_element => {
            let other = from_pool(pool, choices);
            let begin = Op { insert: true, ..plain(known, place(known), mark_begin(choices)) };
            let end = Op { insert: true, ..plain(known, place(other), OpType::MarkEnd(true)) };
            vec![begin, end]
        }
        7 => {
            // Something inside of what the change itself makes.
            let make = over(OpType::Make(ObjType::Map));
            let obj = ObjectId::Id(OpId(start_op, pool[pool.len() - 1].id.1.clone()));
            vec![
                make,
                Op {
                    obj,
                    pred: vec![].into(),
                    key: Key::Map("k".into()),
                    insert: false,
                    action: OpType::Put(value),
                },
            ]
        }
        _ => vec![plain(known, known.op.key.clone(), OpType::Put(value))],
    }
}

fn forge_once(change: &mut ExpandedChange, pool: &[Known], choices: &mut Choices<'_>) {
    if choices.pick(3, "kind") > 0 {
        let next = change.start_op.get() + change.operations.len() as u64;
        if choices.pick(3, "alone") > 0 {
            change.operations.clear();
        }
        let ops = coherent(pool, next, choices);
        change.operations.extend(ops);
        return;
    }
    let known = from_pool(pool, choices);
    let ops = &mut change.operations;
    let at = choices.pick(ops.len(), "operation");
    if choices.pick(4, "add") == 0 {
        let insert = choices.pick(2, "insert") == 1;
        let pred = if choices.pick(2, "pred") == 1 { vec![known.id.clone()] } else { vec![] };
        let op = plain(known, place(known), action(choices));
        ops.push(Op { insert, pred: pred.into(), ..op });
        return;
    }
    let Some(op) = ops.get_mut(at) else { return };
    match choices.pick(10, "change") {
        0 => op.obj = known.op.obj.clone(),
        1 => op.key = place(known),
        2 => op.pred = vec![known.id.clone()].into(),
        3 => op.pred = vec![].into(),
        4 => op.action = action(choices),
        5 => op.insert = !op.insert,
        6 => {
            let op = op.clone();
            ops.insert(at, op);
        }
        7 => {
            ops.remove(at);
        }
        8 => op.obj = ObjectId::Id(known.id.clone()),
        _ => {
            let other = from_pool(pool, choices);
            op.pred = vec![known.id.clone(), other.id.clone()].into();
        }
    }
}
