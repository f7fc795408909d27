//! What people do at the same time, told as stories.

use super::*;

fn like(target: Target, name: &str, at: u64) -> Command {
    let reaction = "like".to_owned();
    Command::Likes(LikesCommand::Like { target, reaction, user: user(name), at: id(at) })
}

fn unlike(target: Target, name: &str) -> Command {
    let reaction = "like".to_owned();
    Command::Likes(LikesCommand::Unlike { target, reaction, user: user(name) })
}

fn comment(n: u64, parent: Option<u64>, body: &str) -> Command {
    Command::Comments(CommentsCommand::Add {
        id: id(n),
        author: user("ann"),
        parent: parent.map(id),
        created: Timestamp(n),
        body: body.to_owned(),
    })
}

fn create(title: &str, body: &str) -> Command {
    Command::Post(PostCommand::Create {
        author: user("ann"),
        created: Timestamp(7),
        title: title.to_owned(),
        body: body.to_owned(),
        tags: vec!["rust".to_owned()],
    })
}

fn splice(field: TextField, index: usize, delete: usize, insert: &str) -> Command {
    Command::Post(PostCommand::Splice { field, index, delete, insert: insert.to_owned() })
}

fn path(steps: &[&str]) -> Vec<PathSegment> {
    steps.iter().map(|step| PathSegment::from(*step)).collect()
}

#[test]
fn likes_and_counts_made_apart_all_count() {
    let mut copies: Vec<Copy> = (1..=3).map(|slot| Copy::new(Facet::Likes, slot, POINTS)).collect();
    for (n, copy) in copies.iter_mut().enumerate() {
        for k in 0..20 {
            copy.run(&like(Target::Post, &format!("user{n}-{k}"), k)).unwrap();
        }
        copy.run(&like(Target::Comment(id(5)), "ann", 900 + n as u64)).unwrap();
        let counter = Counter::Views;
        copy.run(&Command::Likes(LikesCommand::Count { counter, by: 10 })).unwrap();
    }
    let other = copies[1].clone();
    copies[0].pull(&other);
    let other = copies[2].clone();
    copies[0].pull(&other);
    let likes = copies[0].likes();
    assert_eq!(likes.count(Target::Post, "like"), 60);
    assert_eq!(likes.total(Target::Post), 60);
    assert_eq!(likes.count(Target::Comment(id(5)), "like"), 1, "one user counts once");
    assert_eq!(likes.counter(Counter::Views), 30);
    assert_eq!(likes.counter(Counter::Shares), 0);
    assert_eq!(likes.targets().collect::<Vec<_>>(), [Target::Post, Target::Comment(id(5))]);
    assert_eq!(likes.reactions(Target::Post).collect::<Vec<_>>(), [("like", 60)]);
}

#[test]
fn a_like_beats_an_unlike_made_at_the_same_time() {
    let mut phone = Copy::new(Facet::Likes, 1, POINTS);
    phone.run(&like(Target::Post, "ann", 1)).unwrap();
    let mut laptop = Copy::new(Facet::Likes, 2, POINTS);
    laptop.pull(&phone);
    // The laptop takes the like back and likes again; the phone only takes it back.
    laptop.run(&unlike(Target::Post, "ann")).unwrap();
    laptop.run(&like(Target::Post, "ann", 2)).unwrap();
    phone.run(&unlike(Target::Post, "ann")).unwrap();
    let (before_phone, before_laptop) = (phone.clone(), laptop.clone());
    phone.pull(&before_laptop);
    laptop.pull(&before_phone);
    for copy in [&phone, &laptop] {
        assert!(copy.likes().contains(Target::Post, "like", &user("ann")));
        assert_eq!(copy.likes().like(Target::Post, "like", &user("ann")), Some(id(2)));
    }
}

#[test]
fn a_second_like_and_a_second_unlike_make_no_operation() {
    let mut copy = Copy::new(Facet::Likes, 1, POINTS);
    assert_eq!(copy.run(&like(Target::Post, "ann", 1)).unwrap().len(), 1);
    let heads = copy.doc.get_heads();
    assert_eq!(copy.run(&like(Target::Post, "ann", 2)).unwrap(), []);
    assert_eq!(copy.run(&unlike(Target::Post, "bob")).unwrap(), []);
    assert_eq!(copy.doc.get_heads(), heads);
}

#[test]
fn keys_that_nobody_would_look_up_are_not_counted() {
    use automerge::transaction::Transactable as _;
    use automerge::{ROOT, ReadDoc as _};
    let mut copy = Copy::new(Facet::Likes, 1, POINTS);
    let set = copy.doc.get(ROOT, "likes").unwrap().unwrap().1;
    let wrong = bucket_name((bucket("post/like/ann", 64) + 1) % 64);
    let mut tx = copy.doc.transaction_log_patches(PatchLog::active()).unwrap();
    let elsewhere = tx.get(&set, wrong).unwrap().unwrap().1;
    tx.put(&elsewhere, "post/like/ann", id(1).to_string()).unwrap();
    for key in ["post", "post/like", "post/like/ann/x", "nothing/like/ann", "post//ann", "/"] {
        let right = tx.get(&set, bucket_name(bucket(key, 64))).unwrap().unwrap().1;
        tx.put(&right, key, id(1).to_string()).unwrap();
    }
    let right = tx.get(&set, bucket_name(bucket("post/like/bob", 64))).unwrap().unwrap().1;
    tx.put(&right, "post/like/bob", 7).unwrap();
    let (_, mut log) = tx.commit();
    assert_eq!(copy.follow(&mut log), []);
    assert_eq!(copy.likes().total(Target::Post), 0);
    // A real like takes the place of the malformed one.
    assert_eq!(copy.run(&like(Target::Post, "bob", 3)).unwrap().len(), 1);
}

#[test]
fn threads_are_read_depth_first_and_keep_their_tombstones() {
    let mut copy = Copy::new(Facet::Comments, 1, POINTS);
    for (n, parent) in
        [(10, None), (20, None), (30, Some(10)), (40, Some(20)), (50, Some(10)), (60, Some(30))]
    {
        copy.run(&comment(n, parent, "text")).unwrap();
    }
    let told =
        copy.run(&Command::Comments(CommentsCommand::Delete { id: id(10), at: Timestamp(99) }));
    assert_eq!(told.unwrap(), [Event::CommentDeleted { id: id(10) }]);
    let view = copy.comments();
    let order: Vec<_> = view.thread().map(|(depth, id, _)| (depth, id.timestamp().0)).collect();
    assert_eq!(order, [(0, 10), (1, 30), (2, 60), (1, 50), (0, 20), (1, 40)]);
    assert_eq!((view.live(), view.len()), (5, 6));
    let tombstone = view.comment(id(10)).unwrap();
    assert_eq!((tombstone.body.as_str(), tombstone.deleted), ("text", Some(Timestamp(99))));
    assert_eq!(view.replies(id(10)).count(), 2);
}

#[test]
fn comments_that_name_no_parent_or_each_other_appear_once_and_nothing_hangs() {
    use automerge::transaction::Transactable as _;
    use automerge::{ROOT, ReadDoc as _};
    let mut copy = Copy::new(Facet::Comments, 1, POINTS);
    for n in [10, 20, 30, 40] {
        copy.run(&comment(n, None, "text")).unwrap();
    }
    let set = copy.doc.get(ROOT, "comments").unwrap().unwrap().1;
    let mut tx = copy.doc.transaction_log_patches(PatchLog::active()).unwrap();
    for (n, parent) in [(10, 20), (20, 30), (30, 10), (40, 999)] {
        let key = id(n).to_string();
        let bucket = tx.get(&set, bucket_name(bucket(&key, 64))).unwrap().unwrap().1;
        let comment = tx.get(&bucket, key).unwrap().unwrap().1;
        tx.put(comment, "parent", id(parent).to_string()).unwrap();
    }
    let (_, mut log) = tx.commit();
    copy.follow(&mut log);
    let view = copy.comments();
    let order: Vec<_> = view.thread().map(|(depth, id, _)| (depth, id.timestamp().0)).collect();
    assert_eq!(order, [(0, 40), (0, 10), (1, 30), (2, 20)]);
    assert_eq!(view.roots().collect::<Vec<_>>(), [id(40)]);
}

#[test]
fn a_comment_is_written_once_and_only_where_its_parent_is() {
    let mut copy = Copy::new(Facet::Comments, 1, POINTS);
    assert_eq!(copy.run(&comment(2, Some(1), "reply")).unwrap_err().code(), Code::NotFound);
    copy.run(&comment(1, None, "first")).unwrap();
    assert_eq!(copy.run(&comment(1, None, "again")).unwrap(), []);
    assert_eq!(copy.comments().comment(id(1)).unwrap().body, "first");
    let edit = |n, body: &str| {
        Command::Comments(CommentsCommand::Edit {
            id: id(n),
            body: body.into(),
            edited: Timestamp(5),
        })
    };
    assert_eq!(copy.run(&edit(9, "x")).unwrap_err().code(), Code::NotFound);
    assert_eq!(copy.run(&edit(1, "first")).unwrap(), [], "the same text is no edit");
    assert_eq!(copy.run(&edit(1, "better")).unwrap(), [Event::CommentEdited { id: id(1) }]);
    copy.run(&Command::Comments(CommentsCommand::Delete { id: id(1), at: Timestamp(6) })).unwrap();
    assert!(matches!(copy.run(&edit(1, "late")), Err(CommandError::Deleted)));
    assert_eq!(comment(3, Some(3), "x").check().unwrap_err().code(), Code::BadCommand);
}

#[test]
fn an_edit_made_during_a_deletion_does_not_bring_the_comment_back() {
    let mut one = Copy::new(Facet::Comments, 1, POINTS);
    one.run(&comment(1, None, "secret")).unwrap();
    let mut two = Copy::new(Facet::Comments, 2, POINTS);
    two.pull(&one);
    one.run(&Command::Comments(CommentsCommand::Delete { id: id(1), at: Timestamp(6) })).unwrap();
    let body = "still here".to_owned();
    two.run(&Command::Comments(CommentsCommand::Edit { id: id(1), body, edited: Timestamp(6) }))
        .unwrap();
    let (before_one, before_two) = (one.clone(), two.clone());
    one.pull(&before_two);
    two.pull(&before_one);
    for copy in [one, two] {
        assert_eq!(copy.comments().comment(id(1)).unwrap().body, "still here");
        assert_eq!(copy.comments().live(), 0);
    }
}

#[test]
fn a_post_is_created_once_and_edited_only_then() {
    let mut copy = Copy::new(Facet::Post, 1, POINTS);
    let early = copy.run(&splice(TextField::Body, 0, 0, "x"));
    assert_eq!(early.unwrap_err().code(), Code::NotFound);
    let told = copy.run(&create("Hello", "world")).unwrap();
    assert_eq!(told[0], Event::PostCreated { author: user("ann") });
    assert_eq!(copy.run(&create("Hello", "world")).unwrap(), [], "the same create again");
    let other = Command::Post(PostCommand::Create {
        author: user("bob"),
        created: Timestamp(8),
        title: "Mine".into(),
        body: String::new(),
        tags: vec![],
    });
    assert_eq!(copy.run(&other).unwrap_err().code(), Code::NoEffect);
    assert_eq!((copy.post().title(), copy.post().body()), ("Hello", "world"));
    assert!(copy.post().tags().contains("rust"));
    let told = copy.run(&splice(TextField::Body, 0, 1, "W")).unwrap();
    assert!(!told.is_empty());
    assert_eq!(copy.post().body(), "World");
    let far = copy.run(&splice(TextField::Body, 3, 4, ""));
    assert!(matches!(far, Err(CommandError::OutOfRange { index: 7, length: 5 })));
}

#[test]
fn a_long_post_is_written_in_several_changes_within_the_limits() {
    for encoding in [POINTS, UTF16] {
        let mut copy = Copy::new(Facet::Post, 1, encoding);
        let body = "Grüße 👍🏽 ".repeat(1_200);
        copy.run(&create("Long", &body)).unwrap();
        assert_eq!(copy.post().body(), body);
        let (index, delete, insert) =
            text_edit_in(encoding, &body, &format!("G{}!", "ü".repeat(9_000))).unwrap();
        copy.run(&splice(TextField::Body, index, delete, &insert)).unwrap();
        assert_eq!(copy.post().body(), format!("G{}!", "ü".repeat(9_000)));
        for change in copy.doc.get_changes(&[]) {
            assert!(change.len() <= crate::limits::CHANGE_OPS_MAX, "{} operations", change.len());
            assert!(change.raw_bytes().len() <= crate::limits::CHANGE_BYTES_MAX);
        }
    }
}

#[test]
fn marks_hold_on_to_their_text() {
    let mut one = Copy::new(Facet::Post, 1, POINTS);
    one.run(&create("T", "a bold word")).unwrap();
    let mut two = Copy::new(Facet::Post, 2, UTF16);
    two.pull(&one);
    let bold = |start, end| {
        let (name, value) = (MarkName::Bold, MarkValue::Flag(true));
        Command::Post(PostCommand::Mark { start, end, name, value })
    };
    one.run(&bold(2, 6)).unwrap();
    let heads = one.doc.get_heads();
    assert_eq!(one.run(&bold(3, 5)).unwrap(), [], "it is bold there already");
    assert_eq!(one.doc.get_heads(), heads);
    two.run(&splice(TextField::Body, 0, 0, "👍 ")).unwrap();
    let before = one.clone();
    one.pull(&two);
    two.pull(&before);
    let expected = [("👍 a ", 0), ("bold", 1), (" word", 0)];
    for copy in [&one, &two] {
        let spans = copy.post().spans();
        let seen: Vec<_> = spans.iter().map(|s| (s.text.as_str(), s.marks.len())).collect();
        assert_eq!(seen, expected);
    }
    let name = MarkName::Bold;
    one.run(&Command::Post(PostCommand::Unmark { start: 0, end: 13, name })).unwrap();
    assert_eq!(one.post().spans().len(), 1);
    let link = Command::Post(PostCommand::Mark {
        start: 0,
        end: 1,
        name: MarkName::Link,
        value: MarkValue::Flag(true),
    });
    assert_eq!(link.check().unwrap_err().code(), Code::BadCommand);
}

#[test]
fn a_schemaless_document_holds_any_json_and_counts_and_edits_text() {
    let mut copy = Copy::new(Facet::Json, 1, POINTS);
    let value =
        serde_json::json!({"n": 1, "list": [1, {"x": null}, "s"], "big": u64::MAX, "f": 0.5});
    let put = Command::Json(JsonCommand::Put { path: path(&["a"]), value: value.clone() });
    copy.run(&put).unwrap();
    assert_eq!(copy.run(&put).unwrap(), [], "the same value again");
    copy.run(&Command::Json(JsonCommand::PutCounter { path: path(&["c"]), value: 3 })).unwrap();
    copy.run(&Command::Json(JsonCommand::Increment { path: path(&["c"]), by: -5 })).unwrap();
    copy.run(&Command::Json(JsonCommand::PutText { path: path(&["t"]), text: "hello".into() }))
        .unwrap();
    let edit = JsonCommand::Splice { path: path(&["t"]), index: 0, delete: 1, insert: "J".into() };
    copy.run(&Command::Json(edit)).unwrap();
    let mut list = path(&["a", "list"]);
    copy.run(&Command::Json(JsonCommand::Insert {
        path: list.clone(),
        index: 0,
        value: true.into(),
    }))
    .unwrap();
    list.push(3.into());
    let told = copy.run(&Command::Json(JsonCommand::Delete { path: list })).unwrap();
    assert_eq!(told, [Event::JsonChanged { path: path(&["a", "list"]) }]);
    let shown = copy.json().value();
    assert_eq!(shown["a"]["list"], serde_json::json!([true, 1, {"x": null}]));
    assert_eq!((&shown["c"], &shown["t"]), (&(-2).into(), &"Jello".into()));
    assert_eq!(shown["a"]["big"], value["big"]);
    assert_eq!(copy.json().text(&path(&["t"])), Some("Jello"));
}

#[test]
fn a_schemaless_document_refuses_what_is_too_deep_missing_or_of_another_type() {
    let mut copy = Copy::new(Facet::Json, 1, POINTS);
    let mut deep = serde_json::json!(1);
    for _ in 0..JSON_DEPTH_MAX {
        deep = serde_json::json!([deep]);
    }
    let fits = Command::Json(JsonCommand::Put { path: path(&["a"]), value: deep.clone() });
    copy.run(&fits).unwrap();
    assert_eq!(copy.json().at(&path(&["a"])), Some(deep.clone()));
    let mut deeper = deep;
    for _ in 0..100 {
        deeper = serde_json::json!([deeper]);
    }
    let refused = |copy: &mut Copy, command: JsonCommand| {
        copy.run(&Command::Json(command)).unwrap_err().code()
    };
    let put = |path: &[&str], value| JsonCommand::Put { path: self::path(path), value };
    assert_eq!(refused(&mut copy, put(&["b"], deeper)), Code::BadCommand);
    assert_eq!(refused(&mut copy, put(&[], 1.into())), Code::BadCommand);
    assert_eq!(refused(&mut copy, put(&["x", "y"], 1.into())), Code::NotFound);
    assert_eq!(refused(&mut copy, put(&["a", "y"], 1.into())), Code::BadCommand);
    assert_eq!(refused(&mut copy, put(&[""], 1.into())), Code::BadCommand);
    let by = JsonCommand::Increment { path: path(&["none"]), by: 1 };
    assert_eq!(refused(&mut copy, by), Code::NotFound);
}

#[test]
fn a_command_for_another_facet_is_refused() {
    let mut commands = vec![like(Target::Post, "ann", 1), comment(1, None, "x"), create("t", "b")];
    commands.push(Command::Json(JsonCommand::Put { path: path(&["a"]), value: 1.into() }));
    for facet in Facet::DOCUMENTS {
        let mut copy = Copy::new(facet, 1, POINTS);
        for command in &commands {
            let outcome = copy.run(command);
            if command.facet() == facet {
                outcome.unwrap();
            } else {
                assert_eq!(outcome.unwrap_err().code(), Code::BadCommand);
            }
        }
    }
}

#[test]
fn a_saved_command_reads_back_and_bad_names_do_not() {
    let commands = [
        like(Target::Comment(id(4)), "ann", 1),
        comment(1, Some(2), "x"),
        comment(1, None, "x"),
        create("t", "b"),
        Command::Json(JsonCommand::Delete { path: vec!["a".into(), 3.into()] }),
    ];
    for command in commands {
        let saved = serde_json::to_string(&command).unwrap();
        assert_eq!(serde_json::from_str::<Command>(&saved).unwrap(), command);
        assert!(!command.summary().contains('\n'));
    }
    let bad = r#"{"likes":{"unlike":{"target":"post","reaction":"like","user":"a/b"}}}"#;
    assert!(serde_json::from_str::<Command>(bad).is_err());
}

/// The value that is shown goes, and another comes from somebody who knew none of the three that stand
/// there: what is shown then is neither new nor gone, and automerge's patches do not tell it.
#[test]
fn what_comes_to_light_under_a_key_is_shown_though_a_lower_value_came_along() {
    let put = |key: &str, value: i64| {
        Command::Json(JsonCommand::Put { path: path(&[key]), value: value.into() })
    };
    let mut copies: Vec<Copy> = (1..=5).map(|slot| Copy::new(Facet::Json, slot, POINTS)).collect();
    let mut reader = copies.remove(4);
    // Who did more before writes the higher value.
    for (before, copy) in copies.iter_mut().take(3).enumerate() {
        for n in 0..before {
            copy.run(&put(&format!("other{n}"), 0)).unwrap();
        }
        copy.run(&put("key", before as i64)).unwrap();
        reader.pull(copy);
    }
    assert_eq!(reader.json().at(&path(&["key"])), Some(2.into()));
    let [_, _, highest, late] = &mut copies[..] else { unreachable!() };
    highest.run(&Command::Json(JsonCommand::Delete { path: path(&["key"]) })).unwrap();
    late.run(&put("key", 9)).unwrap();
    late.pull(highest);
    let events = reader.pull(late);
    assert_eq!(reader.json().at(&path(&["key"])), Some(1.into()));
    assert_eq!(events, [Event::JsonChanged { path: path(&["key"]) }]);
}
