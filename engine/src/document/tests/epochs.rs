//! The beginning of an epoch: the same everywhere, within the limits, let in by the gate, and showing
//! what was shown at the end of the one before.

use automerge::{ObjId, ObjType, ReadDoc};

use super::random::shown;
use super::*;
use crate::document::{begin_epoch, same_places};
use crate::gate;
use crate::ids::Epoch;
use crate::limits::{CHANGE_BYTES_MAX, CHANGE_OPS_MAX};

/// Who has read a log to its end begins the next epoch with the same changes as everybody, and they
/// show what the old ones showed.
pub(super) fn begins_with_what_was_shown(copies: &[Copy]) {
    let Copy { facet, doc, view } = &copies[0];
    let address = Address::new("town", "square", *facet).unwrap();
    let begun =
        |copy: &Copy| begin_epoch(&address, &copy.doc, Epoch([7; 16]), Timestamp(5)).unwrap();
    let new = begun(&copies[0]);
    assert!(copies.iter().all(|copy| begun(copy).get_heads() == new.get_heads()));
    assert_eq!(new.get_heads().len(), 1);
    assert_eq!(shown(&View::read(*facet, &new)), shown(view));
    let outline = |doc: &Automerge, object: &ObjId| {
        let kind = doc.object_type(object).unwrap();
        let shown = match kind {
            ObjType::Text => doc.text(object).unwrap(),
            ObjType::List => doc.length(object).to_string(),
            ObjType::Map | ObjType::Table => doc.keys(object).collect(),
        };
        (kind, shown)
    };
    for (here, there) in same_places(doc, &new) {
        assert_eq!(outline(doc, &here), outline(&new, &there));
    }
    let changes = new.get_changes(&[]);
    for change in &changes[1..] {
        assert!(change.len() <= CHANGE_OPS_MAX && change.raw_bytes().len() <= CHANGE_BYTES_MAX);
    }
    let gate = |changes: &[Change]| {
        gate::Index::new(&address).replay(changes[1..].iter().map(Change::raw_bytes))
    };
    // Some of what is played here would never have been let in.
    if gate(&doc.get_changes(&[])).is_ok() {
        gate(&changes).expect("the gate lets it in");
    }
    // Whoever reads it in the snapshot shows the same.
    let again = Automerge::load(&new.save()).unwrap();
    assert_eq!(shown(&View::read(*facet, &again)), shown(view));
}

#[test]
fn a_long_post_with_marks_begins_anew() {
    let mut copy = Copy::new(Facet::Post, 1, POINTS);
    let body = "Grüße an alle 👍🏽 ".repeat(1_000);
    copy.run(&Command::Post(PostCommand::Create {
        author: user("ann"),
        created: Timestamp(1),
        title: "Long".to_owned(),
        body,
        tags: vec!["x".to_owned()],
    }))
    .unwrap();
    for start in (0..15_000).step_by(400) {
        let (name, value) = (MarkName::Bold, MarkValue::Flag(true));
        let end = start + 150;
        copy.run(&Command::Post(PostCommand::Mark { start, end, name, value })).unwrap();
    }
    begins_with_what_was_shown(&[copy]);
}

#[test]
fn many_likes_and_threads_begin_anew() {
    let mut likes = Copy::new(Facet::Likes, 1, POINTS);
    let mut comments = Copy::new(Facet::Comments, 1, UTF16);
    for number in 7..400 {
        let (target, reaction) = (Target::Post, "like".to_owned());
        let user = user(&format!("user{number}"));
        let like = LikesCommand::Like { target, reaction, user: user.clone(), at: id(number) };
        likes.run(&Command::Likes(like)).unwrap();
        // Ids that sort before what they answer.
        comments
            .run(&Command::Comments(CommentsCommand::Add {
                id: id(10_000 - number),
                author: user,
                parent: (number % 7 > 0).then(|| id(10_001 - number)),
                created: Timestamp(number),
                body: "word ".repeat(usize::try_from(number % 900).unwrap() + 1),
            }))
            .unwrap();
    }
    begins_with_what_was_shown(&[likes]);
    begins_with_what_was_shown(&[comments]);
}

#[test]
fn counters_of_any_size_begin_anew() {
    let mut likes = Copy::new(Facet::Likes, 1, POINTS);
    for by in [1 << 32, 1 << 32, 7] {
        likes.run(&Command::Likes(LikesCommand::Count { counter: Counter::Views, by })).unwrap();
    }
    begins_with_what_was_shown(&[likes]);
    let mut json = Copy::new(Facet::Json, 1, POINTS);
    let path = || vec!["c".into()];
    json.run(&Command::Json(JsonCommand::PutCounter { path: path(), value: -(1 << 53) })).unwrap();
    for by in [-(1 << 53), -1] {
        json.run(&Command::Json(JsonCommand::Increment { path: path(), by })).unwrap();
    }
    begins_with_what_was_shown(&[json]);
}

/// The heads with which epochs begin after these commands: whoever makes others can't follow.
#[test]
fn an_epoch_begins_as_it_always_did() {
    let ada = user("ada");
    let mut post = Copy::new(Facet::Post, 1, UTF16);
    post.run(&Command::Post(PostCommand::Create {
        author: ada.clone(),
        created: Timestamp(1),
        title: "Title".to_owned(),
        body: "Grüße 👍 an alle".to_owned(),
        tags: vec!["a".to_owned(), "b".to_owned()],
    }))
    .unwrap();
    for (start, end, name) in [(2, 7, MarkName::Bold), (4, 9, MarkName::Italic)] {
        let value = MarkValue::Flag(true);
        post.run(&Command::Post(PostCommand::Mark { start, end, name, value })).unwrap();
    }
    let mut likes = Copy::new(Facet::Likes, 1, POINTS);
    let (target, reaction) = (Target::Post, "like".to_owned());
    let like = LikesCommand::Like { target, reaction, user: ada.clone(), at: id(1) };
    likes.run(&Command::Likes(like)).unwrap();
    let count = LikesCommand::Count { counter: Counter::Views, by: 7 };
    likes.run(&Command::Likes(count)).unwrap();
    let mut comments = Copy::new(Facet::Comments, 1, POINTS);
    for (number, parent) in [(9, None), (3, Some(9)), (5, Some(3))] {
        let (parent, created) = (parent.map(id), Timestamp(number));
        let (author, body) = (ada.clone(), format!("comment {number}"));
        let add = CommentsCommand::Add { id: id(number), author, parent, created, body };
        comments.run(&Command::Comments(add)).unwrap();
    }
    let mut json = Copy::new(Facet::Json, 1, POINTS);
    let value = serde_json::json!({"n": null, "l": [1, -2, 2.5, "x", {"k": [true]}], "m": {}});
    json.run(&Command::Json(JsonCommand::Put { path: vec!["a".into()], value })).unwrap();
    let text = JsonCommand::PutText { path: vec!["t".into()], text: "text".to_owned() };
    json.run(&Command::Json(text)).unwrap();
    let counter = JsonCommand::PutCounter { path: vec!["c".into()], value: -4 };
    json.run(&Command::Json(counter)).unwrap();
    let heads = [post, likes, comments, json].map(|copy| {
        let address = Address::new("town", "square", copy.facet).unwrap();
        let begun = begin_epoch(&address, &copy.doc, Epoch([7; 16]), Timestamp(5)).unwrap();
        let head = begun.get_heads()[0];
        begins_with_what_was_shown(&[copy]);
        format!("{address} {}\n", hex::encode(head.0))
    });
    expect_test::expect_file!["../../../vectors/epochs.hex"].assert_eq(&heads.concat());
}
