//! Doing for another, or to another's, what one may only do for oneself and to one's own, by every way
//! that the format offers.

use super::*;
use automerge::transaction::Transactable;

const EVE: &str = "eve";

fn like_key(who: &str) -> String {
    format!("post/like/{who}")
}

#[test]
fn nobody_likes_or_unlikes_for_another() {
    let mut house = House::new(Facet::Likes);
    assert_eq!(house.does(EVE, like("ann", 1)), Err(Code::NotAuthor));
    house.does("ann", like("ann", 1)).unwrap();
    let (target, reaction) = (Target::Post, "like".to_owned());
    let unlike = LikesCommand::Unlike { target, reaction, user: user("ann") };
    assert_eq!(house.does(EVE, unlike), Err(Code::NotAuthor));
    let key = like_key("ann");
    let likes = in_bucket(&house.server, "likes", &key);
    let standing = at(&house.server, &likes, &key);
    // Through a key of his own, in the same bucket or another.
    let own = (0..).map(|n| format!("post/r{n}/eve"));
    let own = own.into_iter().find(|own| bucket(own, BUCKETS) == bucket(&key, BUCKETS)).unwrap();
    let over = op(object(&likes), Key::Map(own.as_str().into()), vec![standing], OpType::Delete);
    assert_eq!(house.refuses(EVE, vec![over]), Code::BadStructure);
    // In a bucket where nobody looks, with parts that look alike, with a value that is none.
    let eve = like_key(EVE);
    let wrong = put(object(&likes), &eve, vec![], id(5).to_string());
    assert_eq!(house.refuses(EVE, vec![wrong]), Code::NotInSchema);
    for key in ["post/like/eve/ann", "post/like/eve ", "post//eve", "POST/like/eve", "eve"] {
        let place = object(&in_bucket(&house.server, "likes", key));
        let forged = put(place, key, vec![], id(5).to_string());
        assert_eq!(house.refuses(EVE, vec![forged]), Code::NotInSchema, "{key}");
    }
    let place = object(&in_bucket(&house.server, "likes", &eve));
    for value in [ScalarValue::Null, "yes".into(), ScalarValue::counter(9), 1.into()] {
        let forged = put(place.clone(), &eve, vec![], value);
        assert_eq!(house.refuses(EVE, vec![forged]), Code::NotInSchema);
    }
}

#[test]
fn a_like_that_somebody_cannot_see_is_not_taken_back() {
    let mut house = House::new(Facet::Likes);
    let before = house.server.clone();
    house.does("ann", like("ann", 1)).unwrap();
    let key = like_key("ann");
    let likes = in_bucket(&house.server, "likes", &key);
    let standing = at(&house.server, &likes, &key);
    let over = op(object(&likes), Key::Map(key.as_str().into()), vec![standing], OpType::Delete);
    let change = house.forged(Some(&before), vec![over]);
    // The reader sees that the counter is not of the past, or else the structure does.
    assert!(house.check("ann", change.raw_bytes()).is_err());
}

#[test]
fn counters_only_go_up_and_not_far() {
    let mut house = House::new(Facet::Likes);
    let count = |by| LikesCommand::Count { counter: crate::document::Counter::Views, by };
    assert_eq!(house.does("ann", count(3)), Ok(()));
    assert_eq!(house.does("ann", count(-1)), Err(Code::Forbidden));
    let views = at(&house.server, &ROOT, "views");
    let shares = at(&house.server, &ROOT, "shares");
    let add = |preds: Vec<OpId>, by| {
        op(ObjectId::Root, Key::Map("views".into()), preds, OpType::Increment(by))
    };
    assert_eq!(house.refuses("ann", vec![add(vec![views.clone()], i64::MAX)]), Code::NotInSchema);
    assert_eq!(house.refuses("ann", vec![add(vec![shares], 1)]), Code::BadStructure);
    let set = put(ObjectId::Root, "views", vec![views.clone()], ScalarValue::counter(1_000));
    assert_eq!(house.refuses("mod", vec![set]), Code::NotInSchema);
    let delete = op(ObjectId::Root, Key::Map("views".into()), vec![views], OpType::Delete);
    assert_eq!(house.refuses("mod", vec![delete]), Code::NotInSchema);
}

#[test]
fn nobody_writes_edits_or_deletes_the_comment_of_another() {
    let mut house = House::new(Facet::Comments);
    assert_eq!(house.does(EVE, comment("ann", 1)), Err(Code::NotAuthor));
    house.does("ann", comment("ann", 1)).unwrap();
    let edit = CommentsCommand::Edit { id: id(1), body: "lies".into(), edited: Timestamp(2) };
    let delete = CommentsCommand::Delete { id: id(1), at: Timestamp(3) };
    assert_eq!(house.does(EVE, edit.clone()), Err(Code::NotAuthor));
    assert_eq!(house.does(EVE, delete.clone()), Err(Code::NotAuthor));
    assert_eq!(house.does("mod", edit.clone()), Err(Code::NotAuthor));
    assert_eq!(house.does("ann", edit), Ok(()));
    assert_eq!(house.does("mod", delete), Ok(()));
}

#[test]
fn a_comment_is_not_overwritten_by_its_key() {
    let mut house = House::new(Facet::Comments);
    let before = house.server.clone();
    house.does("ann", comment("ann", 1)).unwrap();
    let key = id(1).to_string();
    let bucket = in_bucket(&house.server, "comments", &key);
    let standing = at(&house.server, &bucket, &key);
    let name = || Key::Map(key.as_str().into());
    let make = |preds| op(object(&bucket), name(), preds, OpType::Make(ObjType::Map));
    for who in [EVE, "ann", "mod"] {
        let over = make(vec![standing.clone()]);
        assert_eq!(house.refuses(who, vec![over]), Code::NoEffect, "seen and overwritten");
        let beside = make(vec![]);
        assert_eq!(house.refuses(who, vec![beside]), Code::BadStructure, "seen and left standing");
        let text = put(object(&bucket), &key, vec![standing.clone()], "gone");
        assert_eq!(house.refuses(who, vec![text]), Code::NotInSchema);
        let gone = op(object(&bucket), name(), vec![standing.clone()], OpType::Delete);
        assert_eq!(house.refuses(who, vec![gone]), Code::NotInSchema);
    }
    // Through a concurrent branch, from which the comment can't be seen.
    let mut apart = before;
    apart.set_actor(Actor::from(ActorId::leased(1, 77).0));
    let again = change(&mut apart, comment(EVE, 1));
    assert_eq!(house.push(EVE, &again), Err(Code::NoEffect));
    // The bucket itself, and the set of buckets.
    let set = path(&house.server, &["comments"]);
    let index = bucket_name(crate::document::bucket(&key, BUCKETS));
    let maker = at(&house.server, &set, &index);
    let gone = op(object(&set), Key::Map(index.as_str().into()), vec![maker], OpType::Delete);
    assert_eq!(house.refuses("mod", vec![gone]), Code::NotInSchema);
    let maker = at(&house.server, &ROOT, "comments");
    let gone = op(ObjectId::Root, Key::Map("comments".into()), vec![maker], OpType::Delete);
    assert_eq!(house.refuses("mod", vec![gone]), Code::NotInSchema);
}

#[test]
fn a_comment_is_not_changed_by_the_name_of_its_object() {
    let mut house = House::new(Facet::Comments);
    let before = house.server.clone();
    house.does("ann", comment("ann", 1)).unwrap();
    let key = id(1).to_string();
    let bucket = in_bucket(&house.server, "comments", &key);
    let it = house.server.get(&bucket, key.as_str()).unwrap().unwrap().1;
    let body = at(&house.server, &it, "body");
    let lies = put(object(&it), "body", vec![body.clone()], "lies");
    assert_eq!(house.refuses(EVE, vec![lies.clone()]), Code::NotAuthor);
    // Beside a comment of his own, made in the same change.
    let own = id(2).to_string();
    let place = in_bucket(&house.server, "comments", &own);
    let max_op = house.server.get_changes(&[]).iter().map(Change::max_op).max().unwrap();
    let mine = ObjectId::Id(OpId(max_op + 1, Actor::from(ActorId::leased(1, 9).0)));
    let ops = vec![
        op(object(&place), Key::Map(own.as_str().into()), vec![], OpType::Make(ObjType::Map)),
        put(mine.clone(), "author", vec![], EVE),
        put(mine.clone(), "created", vec![], ScalarValue::Timestamp(5)),
        put(mine, "body", vec![], "me"),
    ];
    let honest = on(&house.server, ActorId::leased(1, 9), ops.clone());
    assert_eq!(house.check(EVE, honest.raw_bytes()), Ok(()));
    let both = on(&house.server, ActorId::leased(1, 9), [ops.clone(), vec![lies]].concat());
    assert_eq!(house.check(EVE, both.raw_bytes()), Err(Code::NotAuthor));
    let short = on(&house.server, ActorId::leased(1, 9), ops[..3].to_vec());
    assert_eq!(house.check(EVE, short.raw_bytes()), Err(Code::NotInSchema), "without a body");
    // With an object that one has not seen.
    let hidden = put(object(&it), "deleted", vec![], ScalarValue::Timestamp(1));
    let hidden = house.forged(Some(&before), vec![hidden]);
    assert!(house.check("ann", hidden.raw_bytes()).is_err());
    // As a list, as a counter, with marks.
    let element = ElementId::Id(body.clone());
    let insert = insert(object(&it), element, OpType::Put("x".into()));
    assert_eq!(house.refuses("ann", vec![insert]), Code::BadStructure);
    let add = op(object(&it), Key::Map("body".into()), vec![body.clone()], OpType::Increment(1));
    assert_eq!(house.refuses("ann", vec![add]), Code::NotInSchema);
    let marks = vec![
        super::insert(object(&it), ElementId::Head, mark("bold")),
        super::insert(object(&it), ElementId::Head, OpType::MarkEnd(false)),
    ];
    assert_eq!(house.refuses("ann", marks), Code::BadStructure);
    // A field that is none, a body that is empty, gone, or of another type.
    let values: [(&str, ScalarValue); 3] =
        [("body", "".into()), ("body", 7.into()), ("rank", "first".into())];
    for (field, value) in values {
        let preds = if field == "body" { vec![body.clone()] } else { vec![] };
        let forged = put(object(&it), field, preds, value);
        assert_eq!(house.refuses("ann", vec![forged]), Code::NotInSchema);
    }
    let gone = op(object(&it), Key::Map("body".into()), vec![body], OpType::Delete);
    assert_eq!(house.refuses("ann", vec![gone]), Code::NotInSchema);
}

#[test]
fn what_never_changes_never_changes() {
    let mut comments = House::new(Facet::Comments);
    comments.does("ann", comment("ann", 1)).unwrap();
    let key = id(1).to_string();
    let bucket = in_bucket(&comments.server, "comments", &key);
    let it = comments.server.get(&bucket, key.as_str()).unwrap().unwrap().1;
    for (field, value) in
        [("author", ScalarValue::from(EVE)), ("created", ScalarValue::Timestamp(9))]
    {
        let standing = at(&comments.server, &it, field);
        let name = || Key::Map(field.into());
        let over = put(object(&it), field, vec![standing.clone()], value.clone());
        assert_eq!(comments.refuses("ann", vec![over]), Code::NotInSchema);
        let gone = op(object(&it), name(), vec![standing], OpType::Delete);
        assert_eq!(comments.refuses("ann", vec![gone]), Code::NotInSchema);
        let beside = put(object(&it), field, vec![], value);
        assert_eq!(comments.refuses("ann", vec![beside]), Code::BadStructure);
    }
    let parent = put(object(&it), "parent", vec![], id(7).to_string());
    assert_eq!(comments.refuses("ann", vec![parent]), Code::NotInSchema);

    let mut posts = House::new(Facet::Post);
    let before = posts.server.clone();
    posts.does("ann", post("ann")).unwrap();
    let author = at(&posts.server, &ROOT, "author");
    let over = put(ObjectId::Root, "author", vec![author.clone()], EVE);
    for who in ["ann", EVE, "mod"] {
        assert_eq!(posts.refuses(who, vec![over.clone()]), Code::NoEffect);
    }
    let gone = op(ObjectId::Root, Key::Map("author".into()), vec![author], OpType::Delete);
    assert_eq!(posts.refuses("ann", vec![gone]), Code::NotInSchema);
    let mut apart = before;
    apart.set_actor(Actor::from(ActorId::leased(1, 88).0));
    let again = change(&mut apart, post(EVE));
    assert_eq!(posts.push(EVE, &again), Err(Code::NoEffect), "created at the same time");
}

#[test]
fn a_post_is_edited_by_its_author_and_editors() {
    let mut house = House::new(Facet::Post);
    let splice = |insert: &str| PostCommand::Splice {
        field: TextField::Body,
        index: 2,
        delete: 1,
        insert: insert.into(),
    };
    assert_eq!(house.does(EVE, post("ann")), Err(Code::NotAuthor));
    house.does("ann", post("ann")).unwrap();
    let add = PostCommand::AddEditor { user: user(EVE) };
    let mark =
        PostCommand::Mark { start: 1, end: 4, name: MarkName::Bold, value: MarkValue::Flag(true) };
    assert_eq!(house.does(EVE, splice("x")), Err(Code::NotAuthor));
    assert_eq!(house.does(EVE, mark.clone()), Err(Code::NotAuthor));
    assert_eq!(house.does(EVE, PostCommand::AddTag { tag: "spam".into() }), Err(Code::NotAuthor));
    assert_eq!(house.does(EVE, add.clone()), Err(Code::NotAuthor));
    let hide = PostCommand::SetStatus { status: crate::document::PostStatus::Hidden };
    assert_eq!(house.does(EVE, hide.clone()), Err(Code::NotAuthor));
    house.does("ann", add).unwrap();
    assert_eq!(house.does(EVE, splice("x")), Ok(()));
    assert_eq!(house.does(EVE, mark), Ok(()));
    assert_eq!(house.does(EVE, hide.clone()), Err(Code::NotAuthor));
    // What he wrote while he was an editor comes too late, even if he had not seen the end of it.
    let mut apart = house.copy();
    let late = change(&mut apart, splice("late"));
    house.does("ann", PostCommand::RemoveEditor { user: user(EVE) }).unwrap();
    assert_eq!(house.push(EVE, &late), Err(Code::NotAuthor));
    assert_eq!(house.does("mod", hide), Ok(()));
    assert_eq!(house.does("mod", splice("mod")), Err(Code::NotAuthor));
}

#[test]
fn nothing_is_done_to_a_post_before_it_is_created() {
    let mut house = House::new(Facet::Post);
    let body = path(&house.server, &["body"]);
    let text = insert(object(&body), ElementId::Head, OpType::Put("x".into()));
    assert_eq!(house.refuses("ann", vec![text.clone()]), Code::NotFound);
    let author = put(ObjectId::Root, "author", vec![], "ann");
    assert_eq!(house.refuses("ann", vec![author, text]), Code::NotInSchema, "half a creation");
}

#[test]
fn comments_that_answer_each_other_are_refused() {
    let house = House::new(Facet::Comments);
    let mut doc =
        house.server.clone().with_actor(automerge::ActorId::from(ActorId::leased(1, 9).0));
    let (one, two) = (id(1).to_string(), id(2).to_string());
    let buckets = [&one, &two].map(|key| in_bucket(&doc, "comments", key));
    let mut tx = doc.transaction();
    let made = [(&buckets[0], &one), (&buckets[1], &two)]
        .map(|(bucket, key)| tx.put_object(bucket, key.as_str(), ObjType::Map).unwrap());
    for (comment, parent) in [(&made[0], &two), (&made[1], &one)] {
        tx.put(comment, "author", "ann").unwrap();
        tx.put(comment, "created", ScalarValue::Timestamp(1)).unwrap();
        tx.put(comment, "body", "hello").unwrap();
        tx.put(comment, "parent", parent.as_str()).unwrap();
    }
    tx.commit();
    let change = doc.get_last_local_change().unwrap();
    assert_eq!(house.check("ann", change.raw_bytes()), Err(Code::NotFound));
}

#[test]
fn a_value_that_could_not_be_written_anew_is_refused() {
    let house = House::new(Facet::Json);
    let root = path(&house.server, &["root"]);
    let mut doc =
        house.server.clone().with_actor(automerge::ActorId::from(ActorId::leased(1, 9).0));
    let mut tx = doc.transaction();
    tx.put(&root, "long", "x".repeat(62 << 10)).unwrap();
    tx.commit();
    let change = doc.get_last_local_change().unwrap();
    assert_eq!(house.check("ann", change.raw_bytes()), Err(Code::NotInSchema));
}
