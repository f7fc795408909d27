//! Undo and redo against the views from before and after, with others at work in between.

use proptest::prelude::*;

use super::*;
use crate::document::{Counter, JsonCommand, PathSegment, PostStatus, PostView};

const ENCODING: TextEncoding = TextEncoding::UnicodeCodePoint;

fn replica(facet: Facet, number: u64) -> Replica {
    let address = Address::new("test", "undo", facet).unwrap();
    Replica::new(address, ENCODING, ActorId::provisional(number))
}

fn id(number: u64) -> Ulid {
    Ulid::new(Timestamp(number), 1)
}

/// What is shown, without what tells when something was edited.
fn shown(view: &View) -> String {
    match view {
        View::Comments(view) => {
            let comment = |id, comment: &crate::document::Comment| {
                (id, comment.body.clone(), comment.deleted.is_some())
            };
            let all: Vec<_> = view.iter().map(|(id, c)| comment(id, c)).collect();
            format!("{all:?}")
        }
        View::Post(view) => format!(
            "{:?} {:?} {:?} {:?} {:?}",
            view.title(),
            view.spans(),
            view.tags(),
            view.editors(),
            view.status(),
        ),
        View::Likes(_) | View::Json(_) => format!("{view:?}"),
    }
}

fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![Just(String::new()), "[a-e]{1,6}", Just("é👍".to_owned())]
}

/// A command for what is shown, made of a few numbers.
fn made(facet: Facet, number: u64, (what, a, b): (u8, u8, u8), text: &str, view: &View) -> Command {
    let (a, b) = (usize::from(a), usize::from(b));
    match (facet, view) {
        (Facet::Post, View::Post(view)) => Command::Post(post(what, a, b, text, view)),
        (Facet::Likes, _) => {
            let target = Target::Post;
            let reaction = ["like", "wow"][a % 2].to_owned();
            let user = UserId::new("me").unwrap();
            Command::Likes(match what % 3 {
                0 => LikesCommand::Like { target, reaction, user, at: id(number) },
                1 => LikesCommand::Unlike { target, reaction, user },
                _ => LikesCommand::Count { counter: Counter::Views, by: b as i64 - 9 },
            })
        }
        (Facet::Comments, View::Comments(view)) => {
            let there: Vec<Ulid> = view.iter().map(|(id, _)| id).collect();
            Command::Comments(match (what % 4, there.get(a % there.len().max(1))) {
                (0, Some(id)) => CommentsCommand::Delete { id: *id, at: Timestamp(number) },
                (1, Some(id)) => {
                    let (body, edited) = (format!("b{text}"), Timestamp(number));
                    CommentsCommand::Edit { id: *id, body, edited }
                }
                _ => CommentsCommand::Add {
                    id: id(number),
                    author: UserId::new("me").unwrap(),
                    parent: None,
                    created: Timestamp(number),
                    body: format!("b{text}"),
                },
            })
        }
        _ => Command::Json(json(what, a, b, text)),
    }
}

fn post(what: u8, a: usize, b: usize, text: &str, view: &PostView) -> PostCommand {
    let length = view.body().chars().count();
    let (index, tag) = (a % (length + 1), ["x", "y"][a % 2].to_owned());
    let user = UserId::new(["u", "v"][a % 2]).unwrap();
    let name = MarkName::ALL[b % 3];
    match what % 10 {
        0..=3 => PostCommand::Splice {
            field: TextField::Body,
            index,
            delete: (b % 5).min(length - index),
            insert: text.to_owned(),
        },
        4 if index < length => PostCommand::Mark {
            start: index,
            end: (index + 1 + b % 4).min(length),
            name,
            value: MarkValue::Flag(true),
        },
        5 if index < length => {
            PostCommand::Unmark { start: index, end: (index + 1 + b % 4).min(length), name }
        }
        6 => PostCommand::AddTag { tag },
        7 => PostCommand::RemoveTag { tag },
        8 => PostCommand::AddEditor { user },
        _ => {
            let all = [PostStatus::Published, PostStatus::Hidden, PostStatus::Deleted];
            PostCommand::SetStatus { status: all[b % 3] }
        }
    }
}

fn json(what: u8, a: usize, b: usize, text: &str) -> JsonCommand {
    let key = |n: usize| PathSegment::from(["a", "b", "c"][n % 3]);
    let path = if b.is_multiple_of(2) { vec![key(a)] } else { vec![key(a), 0.into()] };
    match what % 8 {
        0 => JsonCommand::Put { path, value: serde_json::json!(a) },
        1 => JsonCommand::Put { path, value: serde_json::json!([a, { "n": text }, []]) },
        2 => JsonCommand::PutText { path, text: text.to_owned() },
        3 => JsonCommand::PutCounter { path, value: b as i64 },
        4 => JsonCommand::Delete { path },
        5 => JsonCommand::Insert { path, index: a % 3, value: serde_json::json!([text]) },
        6 => JsonCommand::Splice { path, index: a % 4, delete: b % 3, insert: text.to_owned() },
        _ => JsonCommand::Increment { path, by: a as i64 },
    }
}

type Step = ((u8, u8, u8), String);

fn any_steps() -> impl Strategy<Value = (usize, Vec<Step>)> {
    (
        0..4_usize,
        prop::collection::vec(((any::<u8>(), any::<u8>(), any::<u8>()), any_text()), 1..30),
    )
}

fn begin(facet: Facet, number: u64) -> Replica {
    let mut replica = replica(facet, number);
    if facet == Facet::Post {
        let create = Command::Post(create("the quick brown fox"));
        replica.execute(Timestamp(1), id(1), create).unwrap();
    }
    replica
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn undoing_all_shows_what_was_shown_before_and_redoing_all_what_was_after((facet, steps) in any_steps()) {
        let facet = Facet::DOCUMENTS[facet];
        let mut replica = begin(facet, 1);
        let mut views = vec![shown(replica.view())];
        let mut number = 10;
        let ends = |replica: &Replica| replica.undoable().0;
        for (what, text) in &steps {
            number += 1;
            let command = made(facet, number, *what, text, replica.view());
            // What can't be taken back is not part of this.
            let is_final = matches!(
                command,
                Command::Comments(CommentsCommand::Add { .. } | CommentsCommand::Delete { .. })
            ) && number > 13;
            if is_final {
                continue;
            }
            let before = ends(&replica);
            let _ = replica.execute(Timestamp(number), id(number), command);
            if ends(&replica) > before {
                views.push(shown(replica.view()));
            }
        }
        let mut undone = 0;
        for expected in views.iter().rev().skip(1) {
            number += 1;
            match replica.undo(Timestamp(number), id(number)) {
                Ok(_) => {}
                Err(UndoError::Final(_)) => break,
                Err(other) => return Err(TestCaseError::fail(other.to_string())),
            }
            // To undo a comment is to delete it.
            if facet == Facet::Comments && shown(replica.view()) != *expected {
                break;
            }
            undone += 1;
            prop_assert_eq!(&shown(replica.view()), expected);
            prop_assert!(*replica.view() == View::read(facet, replica.document()));
        }
        if facet == Facet::Comments {
            return Ok(());
        }
        for expected in views.iter().skip(views.len() - undone) {
            number += 1;
            replica.redo(Timestamp(number), id(number)).unwrap();
            prop_assert_eq!(&shown(replica.view()), expected);
        }
        prop_assert_eq!(replica.redo(Timestamp(99), id(99)).unwrap_err().code(), Code::NoEffect);
    }

    #[test]
    fn an_undo_takes_back_only_what_is_ones_own((facet, steps) in any_steps()) {
        let facet = Facet::DOCUMENTS[facet];
        let (mut mine, mut theirs) = (begin(facet, 1), replica(facet, 2));
        let mut read = 0;
        let deliver = |mine: &mut Replica, theirs: &mut Replica, read: &mut u64| {
            let changes: Vec<Change> = theirs.pending().map(|p| p.change.clone()).collect();
            let fresh = changes[usize::try_from(*read).unwrap()..].to_vec();
            *read = changes.len() as u64;
            let cursor = Cursor { epoch: Epoch([7; 16]), seq: *read, tip: Tip([1; 16]) };
            mine.accept(fresh, cursor).unwrap();
        };
        if facet == Facet::Post {
            let common: Vec<Change> = mine.pending().map(|p| p.change.clone()).collect();
            let cursor = Cursor { epoch: Epoch([7; 16]), seq: 1, tip: Tip([1; 16]) };
            theirs.accept(common, cursor).unwrap();
        }
        let mut number = 10;
        for ((what, a, b), text) in &steps {
            number += 1;
            let (now, name) = (Timestamp(number), id(number));
            match what % 5 {
                0 => {
                    let text = text.to_uppercase();
                    let command = made(facet, number, (*a, *b, *what), &text, theirs.view());
                    let _ = theirs.execute(now, name, command);
                    deliver(&mut mine, &mut theirs, &mut read);
                }
                1 => drop(mine.undo(now, name)),
                2 => drop(mine.redo(now, name)),
                _ => {
                    let command = made(facet, number, (*a, *b, *what), text, mine.view());
                    let _ = mine.execute(now, name, command);
                }
            }
            prop_assert!(*mine.view() == View::read(facet, mine.document()));
        }
        // Letters of theirs that mine never removed itself are all there at the end of all undoing.
        let kept = |view: &View| match view {
            View::Post(view) => view.body().chars().filter(|c| c.is_ascii_uppercase()).count(),
            View::Likes(_) | View::Comments(_) | View::Json(_) => 0,
        };
        let before = kept(mine.view());
        for _ in 0..2 * steps.len() {
            number += 1;
            let _ = mine.undo(Timestamp(number), id(number));
            prop_assert!(kept(mine.view()) >= before, "an undo brings back, and removes nothing of others");
        }
    }
}

fn body(replica: &Replica) -> String {
    let View::Post(view) = replica.view() else { panic!("a post") };
    view.body().to_owned()
}

#[test]
fn what_others_wrote_into_it_stays_and_a_rebase_changes_nothing() {
    let mut log = Log::default();
    let address = Address::new("test", "undo", Facet::Post).unwrap();
    let (mut me, mut other) = (Client::new(&address, 1), Client::new(&address, 2));
    let run = |client: &mut Client, number: u64, command: PostCommand| {
        let command = Command::Post(command);
        let outcome = client.replica.execute(Timestamp(number), id(number), command).unwrap();
        client.take(outcome);
    };
    run(&mut me, 1, create("hello"));
    me.adopt(0, &mut log);
    me.push(0, &mut log, 1, true);
    me.read_to(&log, 1);
    other.read_to(&log, 1);
    me.come_back(0, &mut log);
    run(&mut me, 2, splice(5, 0, " world"));
    run(&mut me, 3, splice(0, 5, "HI"));
    run(&mut other, 4, splice(2, 0, "<they>"));
    other.adopt(1, &mut log);
    other.push(1, &mut log, 1, true);
    // Its own work is written down anew under a lease, on top of theirs.
    me.adopt(0, &mut log);
    let with_theirs = body(&me.replica);
    assert!(with_theirs.contains("<they>") && with_theirs.contains("HI"), "{with_theirs}");
    me.replica.undo(Timestamp(5), id(5)).unwrap();
    let back = body(&me.replica);
    assert!(back.contains("<they>") && back.ends_with(" world") && !back.contains("HI"), "{back}");
    assert_eq!(back.replace("<they>", ""), "hello world");
    me.replica.undo(Timestamp(6), id(6)).unwrap();
    assert_eq!(body(&me.replica).replace("<they>", ""), "hello");
    let last = me.replica.undo(Timestamp(7), id(7)).unwrap_err();
    assert!(matches!(last, UndoError::Final(_)), "{last}");
    me.replica.redo(Timestamp(8), id(8)).unwrap();
    me.replica.redo(Timestamp(9), id(9)).unwrap();
    let again = body(&me.replica);
    assert!(
        again.contains("HI") && again.contains("<they>") && again.ends_with(" world"),
        "{again}"
    );
}

#[test]
fn what_somebody_replaced_since_is_not_undone_and_a_deletion_never() {
    let mut mine = begin(Facet::Post, 1);
    let hide = Command::Post(PostCommand::SetStatus { status: PostStatus::Hidden });
    mine.execute(Timestamp(2), id(2), hide).unwrap();
    let mut theirs = replica(Facet::Post, 2);
    let common: Vec<Change> = mine.pending().map(|p| p.change.clone()).collect();
    let cursor = |seq| Cursor { epoch: Epoch([7; 16]), seq, tip: Tip([1; 16]) };
    theirs.accept(common, cursor(1)).unwrap();
    let delete = Command::Post(PostCommand::SetStatus { status: PostStatus::Deleted });
    theirs.execute(Timestamp(3), id(3), delete).unwrap();
    let news = theirs.pending().map(|p| p.change.clone()).collect();
    mine.accept(news, cursor(2)).unwrap();
    let refused = mine.undo(Timestamp(4), id(4)).unwrap_err();
    assert_eq!(refused.code(), Code::Superseded);

    let mut mine = begin(Facet::Comments, 1);
    let (created, body) = (Timestamp(2), "said".to_owned());
    let author = UserId::new("me").unwrap();
    let add = CommentsCommand::Add { id: id(2), author, parent: None, created, body };
    mine.execute(Timestamp(2), id(2), Command::Comments(add)).unwrap();
    mine.undo(Timestamp(3), id(3)).unwrap();
    let View::Comments(view) = mine.view() else { panic!("comments") };
    assert!(view.comment(id(2)).unwrap().deleted.is_some());
    assert!(matches!(mine.redo(Timestamp(4), id(4)), Err(UndoError::Final(_))));
}

#[test]
fn a_refused_command_is_not_there_to_undo_and_the_number_of_undos_is_bounded() {
    let mut log = Log::default();
    let address = Address::new("test", "undo", Facet::Post).unwrap();
    let mut me = Client::new(&address, 1);
    me.replica.execute(Timestamp(1), id(1), Command::Post(create("hello"))).unwrap();
    me.adopt(0, &mut log);
    for number in 2..=3 {
        let command = Command::Post(splice(0, 1, "x"));
        me.replica.execute(Timestamp(number), id(number), command).unwrap();
    }
    let outcome = me.replica.refuse(3, Code::Forbidden, "no").unwrap();
    me.take(outcome);
    assert_eq!((body(&me.replica).as_str(), me.replica.undoable()), ("xello", (2, 0)));
    me.replica.undo(Timestamp(4), id(4)).unwrap();
    assert_eq!((body(&me.replica).as_str(), me.replica.undoable()), ("hello", (1, 1)));
    me.replica.set_undo_max(3);
    for number in 5..=9 {
        let command = Command::Post(splice(0, 0, "y"));
        me.replica.execute(Timestamp(number), id(number), command).unwrap();
    }
    assert_eq!(me.replica.undoable(), (3, 0));
}
