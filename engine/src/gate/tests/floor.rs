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
    assert!(house.check("ann", forged.raw_bytes()).is_err());
}

fn path_of(doc: &Automerge) -> ObjId {
    path(doc, &["root"])
}
