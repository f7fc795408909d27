//! What the gate counts is what the documents show, whatever is done and in whatever order it
//! arrives. [`House::push`] holds the two against each other after every change.

use proptest::prelude::*;

use super::*;
use crate::document::PostStatus;
use crate::summary::{CommentsPart, LikesPart, REACTIONS_MAX, TITLE_CHARS_MAX};

/// What somebody does who has seen what was accepted some rounds ago.
#[derive(Debug, Clone)]
struct Step {
    who: u8,
    behind: usize,
    kind: u8,
    value: u8,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = (0_u8..4, 0_usize..4, any::<u8>(), any::<u8>());
    let step = step.prop_map(|(who, behind, kind, value)| Step { who, behind, kind, value });
    proptest::collection::vec(step, 1..40)
}

fn command(facet: Facet, step: &Step, number: u64) -> Command {
    let names = ["ann", "bob", "cay", "dan"];
    let name = names[usize::from(step.who)];
    let text = |value: u8| char::from(b'a' + value % 26).to_string();
    match facet {
        Facet::Likes => {
            let target = if step.kind % 8 == 7 { Target::Comment(id(3)) } else { Target::Post };
            let (reaction, user) = (text(step.value % 12), user(name));
            if step.kind.is_multiple_of(3) {
                LikesCommand::Unlike { target, reaction, user }.into()
            } else {
                LikesCommand::Like { target, reaction, user, at: id(number) }.into()
            }
        }
        Facet::Comments => {
            let known = id(1 + u64::from(step.value) % number);
            match step.kind % 3 {
                0 => CommentsCommand::Delete { id: known, at: Timestamp(number) }.into(),
                _ => comment(name, number).into(),
            }
        }
        Facet::Post => match step.kind % 4 {
            0 => {
                let all = [PostStatus::Published, PostStatus::Hidden, PostStatus::Deleted];
                PostCommand::SetStatus { status: all[usize::from(step.value % 3)] }.into()
            }
            1 => {
                let (index, delete) = (usize::from(step.value % 4), usize::from(step.kind / 4 % 3));
                PostCommand::Splice {
                    field: TextField::Title,
                    index,
                    delete,
                    insert: text(step.value).repeat(2),
                }
                .into()
            }
            _ => {
                let insert = text(step.value);
                PostCommand::Splice { field: TextField::Title, index: 0, delete: 0, insert }.into()
            }
        },
        Facet::Json | Facet::Stream => unreachable!("no summary counts it"),
    }
}

fn play(facet: Facet, steps: &[Step]) {
    let mut house = House::new(facet);
    for name in ["ann", "bob", "cay", "dan"] {
        house.rules.members.insert(user(name), Role::Owner);
    }
    if facet == Facet::Post {
        house.does("ann", post("ann")).unwrap();
    }
    let mut past = vec![house.server.clone()];
    for (number, step) in (1..).zip(steps) {
        let mut doc = past[past.len().saturating_sub(1 + step.behind)].clone();
        house.slots += 1;
        doc.set_actor(Actor::from(ActorId::leased(1, house.slots).0));
        let mut tx = doc.transaction();
        if command(facet, step, number).apply(&mut tx).is_err() {
            continue;
        }
        tx.commit();
        let Some(change) = doc.get_last_local_change().filter(|change| !change.is_empty()) else {
            continue;
        };
        let names = ["ann", "bob", "cay", "dan"];
        // What the gate refuses counts for nothing.
        let _ = house.push(names[usize::from(step.who)], &change);
        past.push(house.server.clone());
    }
    let mut index = Index::new(&address(facet));
    let changes = house.server.get_changes(&[]);
    index.replay(changes.iter().map(Change::raw_bytes)).unwrap();
    assert_eq!(index.part(), house.index.part(), "from the log as from the changes");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(48) })]

    #[test]
    fn fd4_the_tally_of_likes_is_what_is_shown(steps in steps()) {
        play(Facet::Likes, &steps);
    }

    #[test]
    fn fd4_the_tally_of_comments_is_what_is_shown(steps in steps()) {
        play(Facet::Comments, &steps);
    }

    #[test]
    fn fd4_the_title_and_status_of_a_post_are_what_is_shown(steps in steps()) {
        play(Facet::Post, &steps);
    }
}

#[test]
fn what_is_brought_is_bounded() {
    let mut house = House::new(Facet::Likes);
    for n in 0..20 {
        let (target, reaction, user) = (Target::Post, format!("r{n:02}"), user("ann"));
        house.does("ann", LikesCommand::Like { target, reaction, user, at: id(n) }).unwrap();
    }
    let last = LikesCommand::Like {
        target: Target::Post,
        reaction: "r15".to_owned(),
        user: user("bob"),
        at: id(99),
    };
    house.does("bob", last).unwrap();
    let Some(Part::Likes(LikesPart { likes, reactions })) = house.index.part() else {
        panic!("likes bring likes")
    };
    assert_eq!((likes, reactions.len()), (21, REACTIONS_MAX));
    assert_eq!(reactions[..2], [("r15".to_owned(), 2), ("r00".to_owned(), 1)]);

    let mut house = House::new(Facet::Post);
    assert_eq!(house.index.part(), None, "nothing before it is created");
    house.does("ann", post("ann")).unwrap();
    let splice = |insert: String| PostCommand::Splice {
        field: TextField::Title,
        index: 0,
        delete: 0,
        insert,
    };
    house.does("ann", splice("long ".repeat(100))).unwrap();
    let Some(Part::Post(part)) = house.index.part() else { panic!("a post brings a post") };
    assert_eq!(part.title.chars().count(), TITLE_CHARS_MAX);
}

#[test]
fn a_deleted_comment_is_counted_once_whoever_deletes_it() {
    let mut house = House::new(Facet::Comments);
    house.does("ann", comment("ann", 1)).unwrap();
    house.does("ann", comment("ann", 2)).unwrap();
    let (mut one, mut other) = (house.copy(), house.copy());
    let delete = |at| CommentsCommand::Delete { id: id(1), at: Timestamp(at) };
    let (first, second) = (change(&mut one, delete(5)), change(&mut other, delete(6)));
    house.push("ann", &first).unwrap();
    house.push("mod", &second).unwrap();
    let expected = CommentsPart { comments: 1, deleted: 1 };
    assert_eq!(house.index.part(), Some(Part::Comments(expected)));
}
