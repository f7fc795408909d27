//! Leaving commands out equals never having made them, for edits that do not overlap: two worlds, of
//! which one makes all commands and has some refused, and the other never makes those.

use proptest::prelude::*;

use super::*;
use crate::document::Counter;

/// A command of both worlds, or of the first alone.
type Step = (bool, u8, u16, u16);

fn me() -> UserId {
    UserId::new("me").unwrap()
}

fn name(number: u64) -> Ulid {
    Ulid::new(Timestamp(number), 1)
}

fn client(facet: Facet) -> Client {
    Client::new(&Address::new("test", "out", facet).unwrap(), 1)
}

fn run(client: &mut Client, number: u64, command: Command) {
    let outcome = client.replica.execute(Timestamp(number), name(number), command).unwrap();
    client.take(outcome);
}

fn letters(client: &Client) -> Vec<char> {
    let View::Post(view) = client.replica.view() else { panic!("a post") };
    view.body().chars().collect()
}

/// A letter that is the command's own.
fn letter(number: u64) -> char {
    char::from_u32(0x4e00 + u32::try_from(number).unwrap()).unwrap()
}

/// An edit of a text beside letters that both worlds have, for one of the worlds.
fn edit(client: &Client, number: u64, (_, what, a, b): Step, common: &[char]) -> PostCommand {
    let here = letters(client);
    let place = |choice: u16| {
        let letter = common.get(usize::from(choice) % common.len().max(1))?;
        here.iter().position(|here| here == letter)
    };
    match (what % 6, place(a), place(b)) {
        (0, Some(index), _) => splice(index, 1, ""),
        (1, Some(a), Some(b)) => mark(a.min(b), a.max(b) + 1, MarkName::Bold),
        (_, place, _) => splice(place.map_or(0, |at| at + 1), 0, &letter(number).to_string()),
    }
}

/// Makes the same in both worlds, and more in the first, beside it.
fn text(steps: &[Step], all: &mut Client, without: &mut Client) -> Vec<u64> {
    let mut common = Vec::new();
    let mut refused = Vec::new();
    for world in [&mut *all, &mut *without] {
        run(world, 1, Command::Post(create("")));
    }
    for (number, step) in (2..).zip(steps) {
        let (is_refused, ..) = *step;
        if is_refused {
            refused.push(number);
            // It inserts, or removes what it alone has inserted.
            let insert = (false, 2, step.2, step.3);
            run(all, number, Command::Post(edit(all, number, insert, &common)));
            continue;
        }
        for world in [&mut *all, &mut *without] {
            let command = edit(world, number, *step, &common);
            run(world, number, Command::Post(command));
        }
        common = letters(without);
    }
    refused
}

fn other(facet: Facet, steps: &[Step], all: &mut Client, without: &mut Client) -> Vec<u64> {
    let mut refused = Vec::new();
    let mut comments: Vec<Ulid> = Vec::new();
    for (number, (is_refused, what, a, _)) in (2..).zip(steps) {
        let reaction = format!("r{}{}", u8::from(*is_refused), a % 3);
        let (target, user) = (Target::Post, me());
        let known = comments.get(usize::from(*a) % comments.len().max(1)).copied();
        let command = match (facet, what % 4, known) {
            (Facet::Likes, 0, _) => {
                Command::Likes(LikesCommand::Count { counter: Counter::Shares, by: (*a).into() })
            }
            (Facet::Likes, 1, _) => Command::Likes(LikesCommand::Unlike { target, reaction, user }),
            (Facet::Likes, ..) => {
                let at = name(number);
                Command::Likes(LikesCommand::Like { target, reaction, user, at })
            }
            (_, 0, Some(id)) if !is_refused => {
                let (body, edited) = (format!("edited {number}"), Timestamp(number));
                Command::Comments(CommentsCommand::Edit { id, body, edited })
            }
            (_, _, parent) => Command::Comments(CommentsCommand::Add {
                id: name(number),
                author: user,
                parent,
                created: Timestamp(number),
                body: format!("comment {number}"),
            }),
        };
        let before = all.replica.pending().len();
        run(all, number, command.clone());
        if *is_refused {
            if all.replica.pending().len() > before {
                refused.push(number);
            }
            continue;
        }
        run(without, number, command);
        if facet == Facet::Comments && what % 4 != 0 {
            comments.push(name(number));
        }
    }
    refused
}

/// Has the server refuse some commands, one after the other, each under a lease of its own.
fn refuse(all: &mut Client, refused: &[u64]) {
    let mut log = Log::default();
    for number in refused {
        // What builds on a refused command is refused with it.
        let is_it = |pending: &&Pending| pending.id == name(*number);
        if all.replica.pending().find(is_it).is_none() {
            continue;
        }
        all.adopt(0, &mut log);
        let place = all.replica.pending().find(is_it).map(|p| p.number);
        let outcome = all.replica.refuse(place.unwrap(), Code::Forbidden, "no").unwrap();
        // What was before it is accepted, and comes in the log.
        let settled = all.replica.settled();
        let accepted = all.replica.pending().filter(|p| p.number <= settled);
        log.changes.extend(accepted.map(|p| p.change.clone()));
        log.leases.clear();
        all.take(outcome);
        all.read_to(&log, log.changes.len());
    }
    // A mark that showed on a refused letter alone does nothing without it: more may have ended.
    for number in refused {
        let ends = all.ended.iter().filter(|(id, _)| *id == name(*number));
        let ends: Vec<&Resolution> = ends.map(|(_, end)| end).collect();
        assert!(matches!(ends[..], [Resolution::Refused { .. }]), "{number} ended {ends:?}");
    }
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec(any::<Step>(), 1..30)
}

#[test]
fn what_overwrites_a_refused_edit_stands() {
    for (refused, left) in [(&[2][..], "edit 4"), (&[2, 4], "edit 3"), (&[3, 4], "edit 2")] {
        let mut all = client(Facet::Comments);
        let body = "first".to_owned();
        let (id, author, created) = (name(1), me(), Timestamp(1));
        let add = CommentsCommand::Add { id, author, parent: None, created, body };
        run(&mut all, 1, Command::Comments(add));
        for number in 2..=4 {
            let (body, edited) = (format!("edit {number}"), Timestamp(number));
            run(&mut all, number, Command::Comments(CommentsCommand::Edit { id, body, edited }));
        }
        refuse(&mut all, refused);
        let View::Comments(view) = all.replica.view() else { panic!("comments") };
        assert_eq!(view.comment(id).unwrap().body, left);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn leaving_out_edits_of_a_text_equals_never_having_made_them(steps in steps()) {
        let (mut all, mut without) = (client(Facet::Post), client(Facet::Post));
        let refused = text(&steps, &mut all, &mut without);
        refuse(&mut all, &refused);
        prop_assert_eq!(all.replica.view(), without.replica.view());
    }

    #[test]
    fn leaving_out_likes_and_comments_equals_never_having_made_them(steps in steps()) {
        for facet in [Facet::Likes, Facet::Comments] {
            let (mut all, mut without) = (client(facet), client(facet));
            let refused = other(facet, &steps, &mut all, &mut without);
            refuse(&mut all, &refused);
            prop_assert_eq!(all.replica.view(), without.replica.view());
        }
    }
}
