//! What it means that the reader and automerge agree on a change.

use automerge::legacy::{self, ElementId, ObjectId, OpType};
use automerge::{Change, ObjType, ScalarValue};
use syncline_engine::change::{Action, Header, Key, Op, OpId, Value, operations, read};

fn id(header: &Header, id: OpId) -> legacy::OpId {
    let actor = header.actor_at(id.actor).expect("the reader checks indices");
    legacy::OpId(id.counter, automerge::ActorId::from(&actor.0))
}

fn value(value: Value<'_>) -> ScalarValue {
    match value {
        Value::Null => ScalarValue::Null,
        Value::Bool(value) => ScalarValue::Boolean(value),
        Value::Uint(value) => ScalarValue::Uint(value),
        Value::Int(value) => ScalarValue::Int(value),
        Value::Float(value) => ScalarValue::F64(value),
        Value::Str(value) => ScalarValue::Str(value.into()),
        Value::Bytes(value) => ScalarValue::Bytes(value.to_vec()),
        Value::Counter(value) => ScalarValue::counter(value),
        Value::Timestamp(value) => ScalarValue::Timestamp(value),
    }
}

fn same_value(mine: Value<'_>, theirs: &ScalarValue) -> bool {
    match (mine, theirs) {
        // What is not a number equals nothing, so its bits are compared.
        (Value::Float(mine), ScalarValue::F64(theirs)) => mine.to_bits() == theirs.to_bits(),
        _ => value(mine) == *theirs,
    }
}

fn same_action(mine: Action<'_>, theirs: &OpType) -> bool {
    match (mine, theirs) {
        (Action::MakeMap, OpType::Make(ObjType::Map))
        | (Action::MakeList, OpType::Make(ObjType::List))
        | (Action::MakeText, OpType::Make(ObjType::Text))
        | (Action::Delete, OpType::Delete) => true,
        (Action::Set(mine), OpType::Put(theirs)) => same_value(mine, theirs),
        (Action::Increment(mine), OpType::Increment(theirs)) => mine == *theirs,
        (Action::MarkBegin { name, value, expand }, OpType::MarkBegin(theirs)) => {
            name == theirs.name.as_str()
                && same_value(value, &theirs.value)
                && expand == theirs.expand
        }
        (Action::MarkEnd { expand }, OpType::MarkEnd(theirs)) => expand == *theirs,
        _ => false,
    }
}

fn same_op(header: &Header, mine: &Op<'_>, theirs: &legacy::Op) {
    let obj = mine.obj.map_or(ObjectId::Root, |obj| ObjectId::Id(id(header, obj)));
    let key = match mine.key {
        Key::Map(key) => legacy::Key::Map(key.into()),
        Key::Head => legacy::Key::Seq(ElementId::Head),
        Key::Element(element) => legacy::Key::Seq(ElementId::Id(id(header, element))),
    };
    assert_eq!(obj, theirs.obj);
    assert_eq!(key, theirs.key);
    assert_eq!(mine.insert, theirs.insert);
    assert!(same_action(mine.action, &theirs.action), "{mine:?} is not {theirs:?}");
    let preds: Vec<_> = mine.preds.iter().map(|pred| id(header, *pred)).collect();
    assert_eq!(preds, theirs.pred.clone().into_iter().collect::<Vec<_>>());
}

/// Checks that automerge takes what the reader takes, sees the same in it, and would write it
/// anew with the same bytes. Returns whether the reader takes it.
pub(crate) fn accepted_and_agreed(bytes: &[u8]) -> bool {
    let Ok((header, ops)) = operations(bytes) else {
        assert!(read(bytes).is_err());
        return false;
    };
    assert_eq!(read(bytes).as_ref(), Ok(&header));
    let change = Change::try_from(bytes).expect("automerge reads what the reader reads");
    assert_eq!(header.hash.0, change.hash().0);
    assert_eq!(header.actor.0, change.actor_id().to_bytes());
    assert_eq!((header.seq, header.start_op), (change.seq(), change.start_op().get()));
    assert_eq!(header.max_op(), change.max_op());
    assert_eq!(header.time, change.timestamp());
    assert!(header.deps.iter().map(|dep| dep.0).eq(change.deps().iter().map(|dep| dep.0)));
    assert!(
        header
            .others
            .iter()
            .map(|a| &a.0[..])
            .eq(change.other_actor_ids().iter().map(|a| a.to_bytes()))
    );
    let expanded = change.decode();
    assert_eq!(ops.len(), expanded.operations.len());
    assert_eq!(ops.len(), header.ops as usize);
    for ((mine, theirs), counter) in ops.iter().zip(&expanded.operations).zip(header.start_op..) {
        assert_eq!(mine.id, counter);
        same_op(&header, &mine, theirs);
    }
    assert_eq!(Change::from(expanded).raw_bytes(), bytes, "the spelling is automerge's own");
    true
}
