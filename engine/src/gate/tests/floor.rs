//! What is forgotten, and what a change must have seen.

use super::*;

#[test]
fn who_has_not_seen_what_is_long_gone_is_stale_and_nobody_else() {
    let index = Index::with_window(&address(Facet::Likes), 8);
    let mut house = House::with_index(Facet::Likes, index);
    let mut old = house.copy();
    let mut lagging = house.copy();
    for n in 0..30 {
        if n == 26 {
            lagging.apply_changes(house.server.get_changes(&[])).unwrap();
        }
        house.does(&format!("u{n}"), like(&format!("u{n}"), n)).unwrap();
    }
    let late = change(&mut old, like("ann", 50));
    assert_eq!(house.push("ann", &late), Err(Code::Stale));
    let later = change(&mut lagging, like("ann", 50));
    assert_eq!(house.push("ann", &later), Ok(()), "four behind");
    assert_eq!(house.does("bob", like("bob", 51)), Ok(()));
}

#[test]
fn an_actor_goes_on_from_his_last_change_however_old() {
    let index = Index::with_window(&address(Facet::Likes), 8);
    let mut house = House::with_index(Facet::Likes, index);
    let mut ann = house.copy();
    let first = change(&mut ann, like("ann", 1));
    house.push("ann", &first).unwrap();
    for n in 0..40 {
        house.does(&format!("u{n}"), like(&format!("u{n}"), n)).unwrap();
    }
    ann.merge(&mut house.server.clone()).unwrap();
    let (target, reaction) = (Target::Post, "like".to_owned());
    let second = change(&mut ann, LikesCommand::Unlike { target, reaction, user: user("ann") });
    assert_eq!(house.push("ann", &second), Ok(()));
}

#[test]
fn what_was_superseded_is_known_as_long_as_somebody_may_name_it() {
    let index = Index::with_window(&address(Facet::Json), 8);
    let mut house = House::with_index(Facet::Json, index);
    let write = |n: i64| JsonCommand::Put { path: vec!["k".into()], value: n.into() };
    house.does("ann", write(0)).unwrap();
    let (mut bob, mut eve) = (house.copy(), house.copy());
    house.does("ann", write(1)).unwrap();
    house.does("ann", write(2)).unwrap();
    // He overwrites what two others have overwritten since.
    let apart = change(&mut bob, write(3));
    assert_eq!(house.push("bob", &apart), Ok(()));
    for n in 4..40 {
        house.does("ann", write(n)).unwrap();
    }
    let too_late = change(&mut eve, write(99));
    assert_eq!(house.push("eve", &too_late), Err(Code::Stale));
    let root = path(&house.server, &["root"]);
    let root = op_id(&root).unwrap();
    let writer = |n: u64| Id { counter: u32::try_from(n).unwrap(), writer: 0 };
    let object = house.index.objects.object(writer(root.0)).unwrap();
    let objects::Content::Map(cells) = &object.content else { panic!("a map") };
    let objects::Cell::Many(standing) = &cells["k"] else { panic!("some were superseded") };
    assert!(standing.len() <= 10, "the rest is forgotten: {}", standing.len());
}

#[test]
fn deep_concurrency_is_followed_exactly() {
    // Three who never read each other, then one who reads all.
    let mut house = House::new(Facet::Json);
    let mut docs: Vec<_> = (0..3).map(|_| house.copy()).collect();
    for n in 0..30 {
        let which = n % 3;
        let path = vec![format!("k{which}").as_str().into()];
        let value = i64::try_from(n).unwrap().into();
        let change = change(&mut docs[which], JsonCommand::Put { path, value });
        assert_eq!(house.push("ann", &change), Ok(()));
    }
    let value = serde_json::json!(100);
    let path = vec!["k1".into()];
    assert_eq!(house.does("bob", JsonCommand::Put { path, value }), Ok(()));
    // What another branch holds can't be named from this one.
    let hidden = at(&docs[1], &path_of(&docs[1]), "k1");
    let root = object(&path_of(&docs[0]));
    let forged = put(root, "k1", vec![hidden], 1);
    let forged = house.forged(Some(&docs[0]), vec![forged]);
    assert_eq!(house.check("ann", forged.raw_bytes()), Err(Code::BadStructure));
}

#[test]
fn nothing_of_another_branch_can_be_named_though_its_counters_are_low() {
    let mut house = House::new(Facet::Json);
    let (mut far, mut near) = (house.copy(), house.copy());
    let put = |key: &str, value| JsonCommand::Put { path: vec![key.into()], value };
    for (key, value) in [("l", serde_json::json!([1, 2])), ("m", serde_json::json!({ "k": 1 }))] {
        house.push("ann", &change(&mut near, put(key, value))).unwrap();
    }
    let long = JsonCommand::PutText { path: vec!["t".into()], text: "long ".repeat(20) };
    house.push("bob", &change(&mut far, long)).unwrap();
    let (list, map) = (path(&near, &["root", "l"]), path(&near, &["root", "m"]));
    let first = op_id(&near.get(&list, 0).unwrap().unwrap().1).unwrap();
    let key = Key::Seq(ElementId::Id(first.clone()));
    let standing = at(&near, &path_of(&near), "m");
    for op in [
        super::put(object(&map), "k", vec![], 2),
        super::put(object(&path_of(&far)), "m", vec![standing], 2),
        op(object(&list), key, vec![first.clone()], OpType::Delete),
        insert(object(&list), ElementId::Id(first), OpType::Put(1.into())),
    ] {
        let forged = house.forged(Some(&far), vec![op.clone()]);
        assert_eq!(house.check("bob", forged.raw_bytes()), Err(Code::BadStructure), "{op:?}");
    }
    // Not even an element, where the list itself is known.
    let mut joined = house.copy();
    let append = |doc: &mut Automerge| {
        let path = vec!["l".into()];
        change(doc, JsonCommand::Insert { path, index: 2, value: serde_json::json!(3) })
    };
    let (mut left, right) = (house.copy(), house.copy());
    house.push("ann", &append(&mut left)).unwrap();
    let third = op_id(&left.get(&list, 2).unwrap().unwrap().1).unwrap();
    joined.set_actor(Actor::from(ActorId::leased(1, 90).0));
    for n in 0..5 {
        house.push("bob", &change(&mut joined, put("n", n.into()))).unwrap();
    }
    let beyond = insert(object(&list), ElementId::Id(third), OpType::Put(1.into()));
    let forged = house.forged(Some(&joined), vec![beyond]);
    assert_eq!(house.check("bob", forged.raw_bytes()), Err(Code::BadStructure));
    assert!(right.get_heads() != joined.get_heads());
}

fn path_of(doc: &Automerge) -> ObjId {
    path(doc, &["root"])
}
