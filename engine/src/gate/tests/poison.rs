//! Changes that hang, kill or poison automerge 0.12 where nothing stands before it, each refused. Those
//! that the strict reader sees by itself are among its own tests.

use super::*;

/// A schemaless document with a map, a list, a text, a counter and a scalar.
fn house() -> House {
    let mut house = House::new(Facet::Json);
    let value = serde_json::json!({ "m": { "k": 1 }, "l": [1, 2, 3], "s": "x" });
    for (key, value) in value.as_object().unwrap().clone() {
        house.does("ann", JsonCommand::Put { path: vec![key.as_str().into()], value }).unwrap();
    }
    let path = vec!["t".into()];
    house.does("ann", JsonCommand::PutText { path, text: "text".into() }).unwrap();
    house.does("ann", JsonCommand::PutCounter { path: vec!["c".into()], value: 5 }).unwrap();
    house
}

fn root(house: &House) -> ObjId {
    path(&house.server, &["root"])
}

fn inner(house: &House, key: &str) -> ObjectId {
    object(&path(&house.server, &["root", key]))
}

/// An element of the list or text under a key.
fn element(house: &House, key: &str, index: usize) -> OpId {
    let list = path(&house.server, &["root", key]);
    op_id(&house.server.get(&list, index).unwrap().unwrap().1).unwrap()
}

fn standing(house: &House, key: &str) -> OpId {
    at(&house.server, &root(house), key)
}

const BAD: Code = Code::BadStructure;

/// An operation that nobody wrote, of an actor who wrote others.
fn nobody() -> OpId {
    OpId(1, Actor::from(ActorId::leased(1, 1).0))
}

#[test]
fn objects_that_are_not_there_or_no_objects() {
    let mut house = house();
    let missing = put(ObjectId::Id(nobody()), "k", vec![], 1);
    assert_eq!(house.refuses("ann", vec![missing]), BAD);
    let scalar = put(ObjectId::Id(standing(&house, "s")), "k", vec![], 1);
    assert_eq!(house.refuses("ann", vec![scalar]), BAD);
    let stranger = OpId(1, Actor::from([9; 16]));
    let unknown = put(ObjectId::Id(stranger), "k", vec![], 1);
    assert_eq!(house.refuses("ann", vec![unknown]), Code::UnknownDeps);
    let sibling = on(
        &house.server,
        ActorId::leased(1, 70),
        vec![put(inner(&house, "m"), "a", vec![], 1), put(ObjectId::Root, "b", vec![], 1)],
    );
    assert_eq!(house.check("ann", sibling.raw_bytes()), Err(Code::NotInSchema));
}

#[test]
fn keys_that_do_not_fit_their_object() {
    let mut house = house();
    let (map, list) = (inner(&house, "m"), inner(&house, "l"));
    let head = |obj| insert(obj, ElementId::Head, OpType::Put("x".into()));
    assert_eq!(house.refuses("ann", vec![head(map)]), BAD);
    assert_eq!(house.refuses("ann", vec![put(list, "k", vec![], 1)]), BAD);
    let text = inner(&house, "t");
    assert_eq!(house.refuses("ann", vec![put(text, "k", vec![], "x")]), BAD);
}

#[test]
fn elements_that_are_not_there_or_elsewhere() {
    let mut house = house();
    let list = inner(&house, "l");
    for after in [element(&house, "t", 0), nobody(), standing(&house, "s")] {
        let forged = insert(list.clone(), ElementId::Id(after.clone()), OpType::Put(1.into()));
        assert_eq!(house.refuses("ann", vec![forged]), BAD);
        let key = Key::Seq(ElementId::Id(after.clone()));
        let forged = op(list.clone(), key, vec![after], OpType::Put(1.into()));
        assert_eq!(house.refuses("ann", vec![forged]), BAD);
    }
}

#[test]
fn predecessors_that_do_not_stand_there() {
    let mut house = house();
    let root = object(&root(&house));
    let (scalar, counter) = (standing(&house, "s"), standing(&house, "c"));
    for preds in [vec![counter.clone()], vec![nobody()], vec![], vec![scalar, counter]] {
        let forged = put(root.clone(), "s", preds, "y");
        assert!(house.forged(None, vec![forged.clone()]).len() == 1);
        assert_eq!(house.refuses("ann", vec![forged]), BAD);
    }
    let (first, second) = (element(&house, "l", 0), element(&house, "l", 1));
    let key = Key::Seq(ElementId::Id(first.clone()));
    let list = inner(&house, "l");
    let other = op(list.clone(), key.clone(), vec![second.clone()], OpType::Delete);
    assert_eq!(house.refuses("ann", vec![other]), BAD);
    let too_many = op(list, key, vec![first, second], OpType::Delete);
    assert_eq!(house.refuses("ann", vec![too_many]), BAD);
}

#[test]
fn what_was_deleted_or_is_a_deletion_or_an_increment_is_no_predecessor() {
    let mut house = house();
    let (root, scalar) = (object(&root(&house)), standing(&house, "s"));
    house.does("ann", JsonCommand::Delete { path: vec!["s".into()] }).unwrap();
    let deletion = house.server.get_last_local_change();
    assert!(deletion.is_none(), "the server writes nothing");
    let max_op = house.server.get_changes(&[]).iter().map(Change::max_op).max().unwrap();
    let actor = house.slots;
    let deletion = OpId(max_op, Actor::from(ActorId::leased(1, actor).0));
    for pred in [scalar, deletion] {
        let forged = put(root.clone(), "s", vec![pred], "y");
        assert_eq!(house.refuses("ann", vec![forged]), BAD);
    }
    house.does("ann", JsonCommand::Increment { path: vec!["c".into()], by: 2 }).unwrap();
    let increment = OpId(max_op + 1, Actor::from(ActorId::leased(1, house.slots).0));
    let forged = op(root, Key::Map("c".into()), vec![increment], OpType::Delete);
    assert_eq!(house.refuses("ann", vec![forged]), BAD);
}

#[test]
fn increments_of_what_is_no_counter_and_counters_that_overflow() {
    let mut house = house();
    let root = object(&root(&house));
    let (scalar, counter) = (standing(&house, "s"), standing(&house, "c"));
    let add = |key: &str, pred: &OpId, by| {
        op(root.clone(), Key::Map(key.into()), vec![pred.clone()], OpType::Increment(by))
    };
    assert_eq!(house.refuses("ann", vec![add("s", &scalar, 1)]), BAD);
    for by in [i64::MAX, i64::MIN, (1 << 53) + 1] {
        assert_eq!(house.refuses("ann", vec![add("c", &counter, by)]), Code::NotInSchema);
    }
    let many = vec![add("c", &counter, 1 << 53); 257];
    assert_eq!(house.refuses("ann", many), BAD);
    let most = vec![add("c", &counter, 1 << 53); 255];
    let change = house.forged(None, most);
    assert_eq!(house.push("ann", &change), Ok(()));
    assert_eq!(house.refuses("ann", vec![add("c", &counter, -(1 << 53))]), BAD);
    let new = put(root.clone(), "new", vec![], ScalarValue::counter(i64::MAX));
    assert_eq!(house.refuses("ann", vec![new]), Code::NotInSchema);
}

#[test]
fn texts_hold_characters_only() {
    let mut house = house();
    let text = inner(&house, "t");
    let first = element(&house, "t", 0);
    for action in [
        OpType::Put("".into()),
        OpType::Put("xy".into()),
        OpType::Put(1.into()),
        OpType::Make(ObjType::Map),
        mark("bold"),
    ] {
        let forged = insert(text.clone(), ElementId::Head, action);
        assert_eq!(house.refuses("ann", vec![forged]), Code::NotInSchema);
    }
    let key = Key::Seq(ElementId::Id(first.clone()));
    let forged = op(text, key, vec![first], OpType::Put("x".into()));
    assert_eq!(house.refuses("ann", vec![forged]), BAD);
}

#[test]
fn maps_in_maps_without_end() {
    let mut house = house();
    let mut obj = inner(&house, "m");
    let max_op = house.server.get_changes(&[]).iter().map(Change::max_op).max().unwrap();
    let actor = ActorId::leased(1, 50);
    let mut ops = Vec::new();
    for n in 0..4_000 {
        ops.push(op(obj, Key::Map("d".into()), vec![], OpType::Make(ObjType::Map)));
        obj = ObjectId::Id(OpId(max_op + 1 + n, Actor::from(actor.0)));
    }
    let deep = on(&house.server, actor, ops.clone());
    assert_eq!(house.check("ann", deep.raw_bytes()), Err(Code::NotInSchema));
    // One below the root there is room for 31 more.
    let fits = on(&house.server, actor, ops[..31].to_vec());
    assert_eq!(house.push("ann", &fits), Ok(()));
    ops.truncate(32);
    let deep = on(&house.server, ActorId::leased(1, 51), ops);
    assert!(house.check("ann", deep.raw_bytes()).is_err());
}

#[test]
fn the_commands_of_a_schemaless_document_have_the_same_limits() {
    let key =
        |length: usize| vec![std::iter::repeat_n('k', length).collect::<String>().as_str().into()];
    for (length, fits) in [(0, false), (1, true), (256, true), (257, false)] {
        let value = serde_json::Value::Null;
        let command = Command::Json(JsonCommand::Put { path: key(length), value });
        assert_eq!(command.check().is_ok(), fits);
        let mut house = House::new(Facet::Json);
        let root = object(&root(&house));
        let name = "k".repeat(length);
        let change = house.forged(None, vec![put(root, &name, vec![], ScalarValue::Null)]);
        assert_eq!(house.check("ann", change.raw_bytes()).is_ok(), fits, "{length}");
    }
}

#[test]
fn sequence_numbers_operation_counters_and_deps_that_do_not_follow() {
    type Edit = fn(&mut ExpandedChange);
    let mut house = house();
    let honest = house.forged(None, vec![put(inner(&house, "m"), "n", vec![], 1)]);
    let with = |edit: Edit| {
        let mut expanded = honest.decode();
        edit(&mut expanded);
        expanded.hash = None;
        Change::from(expanded)
    };
    assert_eq!(house.check("ann", honest.raw_bytes()), Ok(()));
    let cases: [(Edit, Code); 5] = [
        (|c| c.seq = 2, Code::WrongSeq),
        (|c| c.seq = 5, Code::WrongSeq),
        (|c| c.deps = vec![automerge::ChangeHash([7; 32])], Code::UnknownDeps),
        (|c| c.deps.clear(), Code::UnknownDeps),
        (|c| c.start_op = c.start_op.saturating_add(1), Code::WrongStartOp),
    ];
    for (edit, code) in cases {
        assert_eq!(house.check("ann", with(edit).raw_bytes()), Err(code));
    }
    let low = with(|c| c.start_op = std::num::NonZeroU64::new(c.start_op.get() - 1).unwrap());
    assert!(house.check("ann", low.raw_bytes()).is_err());
}

#[test]
fn numbers_that_are_none() {
    let mut house = house();
    let root = object(&root(&house));
    for number in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let forged = put(root.clone(), "n", vec![], ScalarValue::F64(number));
        assert_eq!(house.refuses("ann", vec![forged]), Code::NotInSchema);
    }
}

/// A post with a body of ten digits.
fn post_house() -> (House, ObjectId, Vec<OpId>) {
    let mut house = House::new(Facet::Post);
    house.does("ann", post("ann")).unwrap();
    let body = path(&house.server, &["body"]);
    let elements = (0..10).map(|n| op_id(&house.server.get(&body, n).unwrap().unwrap().1).unwrap());
    let elements = elements.collect();
    (house, object(&body), elements)
}

fn pair(body: &ObjectId, begin: ElementId, end: ElementId) -> Vec<Op> {
    vec![
        insert(body.clone(), begin, mark("bold")),
        insert(body.clone(), end, OpType::MarkEnd(true)),
    ]
}

#[test]
fn marks_end_behind_their_beginning() {
    let (mut house, body, at) = post_house();
    let after = |n: usize| ElementId::Id(at[n].clone());
    for (begin, end) in [(5, 2), (3, 3), (9, 0)] {
        assert_eq!(house.refuses("ann", pair(&body, after(begin), after(end))), BAD);
    }
    assert_eq!(house.refuses("ann", pair(&body, after(0), ElementId::Head)), BAD);
    assert_eq!(house.refuses("ann", pair(&body, ElementId::Head, ElementId::Head)), BAD);
    for (begin, end) in [(0, 1), (2, 9)] {
        let change = house.forged(None, pair(&body, after(begin), after(end)));
        assert_eq!(house.push("ann", &change), Ok(()));
    }
    let change = house.forged(None, pair(&body, ElementId::Head, after(0)));
    assert_eq!(house.push("ann", &change), Ok(()));
}

#[test]
fn marks_over_characters_of_the_same_change_are_in_order_too() {
    let (mut house, body, at) = post_house();
    let max_op = house.server.get_changes(&[]).iter().map(Change::max_op).max().unwrap();
    let actor = ActorId::leased(1, 60);
    let own = |n: u64| ElementId::Id(OpId(max_op + n, Actor::from(actor.0)));
    let typed = |after| insert(body.clone(), after, OpType::Put("x".into()));
    let middle = ElementId::Id(at[4].clone());
    let typing = vec![typed(middle.clone()), typed(own(1))];
    let good = [typing.clone(), pair(&body, own(1), own(2))].concat();
    let bad = [typing.clone(), pair(&body, own(2), own(1))].concat();
    let upwards = [typing.clone(), pair(&body, own(1), middle.clone())].concat();
    let around = [typing, pair(&body, middle, own(2))].concat();
    for (ops, fits) in [(bad, false), (upwards, false), (good, true)] {
        let change = on(&house.server, actor, ops);
        assert_eq!(house.check("ann", change.raw_bytes()).is_ok(), fits);
    }
    let around = on(&house.server, actor, around);
    assert_eq!(house.push("ann", &around), Ok(()));
}

#[test]
fn marks_are_pairs_that_are_never_deleted_nor_anywhere_else() {
    let (mut house, body, at) = post_house();
    let after = |n: usize| ElementId::Id(at[n].clone());
    let [begin, end]: [Op; 2] = pair(&body, after(1), after(3)).try_into().unwrap();
    let typed = insert(body.clone(), after(0), OpType::Put("x".into()));
    for ops in [
        vec![begin.clone()],
        vec![end.clone()],
        vec![begin.clone(), begin.clone(), end.clone()],
        vec![begin.clone(), typed, end.clone()],
        vec![end.clone(), begin.clone()],
    ] {
        assert_eq!(house.refuses("ann", ops), BAD);
    }
    let title = object(&path(&house.server, &["title"]));
    let elsewhere = Op { obj: title.clone(), key: Key::Seq(ElementId::Head), ..end.clone() };
    assert_eq!(house.refuses("ann", vec![begin.clone(), elsewhere]), Code::NotInSchema);
    let in_title = pair(&title, ElementId::Head, ElementId::Head);
    assert_eq!(house.refuses("ann", in_title), Code::NotInSchema);
    let other = Op { action: mark("shadow"), ..begin.clone() };
    assert_eq!(house.refuses("ann", vec![other, end.clone()]), Code::NotInSchema);
    let change = house.forged(None, vec![begin, end]);
    let first = OpId(change.start_op().get(), change.actor_id().clone());
    house.push("ann", &change).unwrap();
    let key = Key::Seq(ElementId::Id(first.clone()));
    let delete = op(body, key, vec![first], OpType::Delete);
    assert_eq!(house.refuses("ann", vec![delete]), BAD);
}
