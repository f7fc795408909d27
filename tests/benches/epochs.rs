//! What the end of an epoch costs and what it gives: documents with many writers and a long history,
//! before and after. The beginning is made by the server and by each client that was up to date; its
//! baseline is loading the old document, which every fresh reader does.

use automerge::{Automerge, ROOT, ReadDoc, TextEncoding};
use syncline_engine::clock::Timestamp;
use syncline_engine::document::{
    Command, CommentsCommand, LikesCommand, PostCommand, Target, TextField, View, begin_epoch,
    genesis,
};
use syncline_engine::ids::{ActorId, Address, Epoch, Facet, Ulid, UserId};
use syncline_tests::measure::{Heap, Lanes, kb, row, size, table, times, us};

#[global_allocator]
static HEAP: Heap = Heap::new();

const NOW: Timestamp = Timestamp(1_700_000_000_000);

fn main() {
    table(
        "The end of an epoch",
        &[
            "document",
            "",
            "changes",
            "actors",
            "saved",
            "heap",
            "load",
            "one more edit",
            "begin",
            "of load",
        ],
    );
    let actors = size(1_000, 20);
    of("2,000 likes", Facet::Likes, actors, size(2_000, 40), &|_, at| {
        let user = UserId::new(&format!("user{at}")).expect("a good name");
        let (target, reaction) = (Target::Post, "like".to_owned());
        Command::Likes(LikesCommand::Like { target, reaction, user, at: id(at) })
    });
    let words = size(20_000, 200);
    of("text written over again and again", Facet::Post, 50, words, &|doc, at| {
        if at == 0 {
            let (author, created) = (user(), NOW);
            let (title, body, tags) = (String::new(), String::new(), Vec::new());
            return Command::Post(PostCommand::Create { author, created, title, body, tags });
        }
        let body = doc.get(ROOT, "body").ok().flatten().map(|(_, body)| body);
        let length = body.map_or(0, |body| doc.length(body));
        let delete = if length > 2_000 { 40 } else { 0 };
        let (field, index, insert) = (TextField::Body, at * 7_919 % (length - delete + 1), "word ");
        Command::Post(PostCommand::Splice { field, index, delete, insert: insert.to_owned() })
    });
    let comments = size(500, 20);
    of("500 comments, each edited nine times", Facet::Comments, 50, comments * 10, &|_, at| {
        let body = format!("what somebody says in comment {at}, and a few words more");
        let comment = id(at % comments);
        Command::Comments(if at < comments {
            let (author, parent, created) = (user(), None, NOW);
            CommentsCommand::Add { id: comment, author, parent, created, body }
        } else {
            CommentsCommand::Edit { id: comment, body, edited: NOW }
        })
    });
}

fn user() -> UserId {
    UserId::new("ada").expect("a good name")
}

fn id(at: usize) -> Ulid {
    Ulid::new(NOW, at as u128)
}

/// Carries commands out in turn under so many actors, and ends the epoch.
fn of(
    what: &str,
    facet: Facet,
    actors: usize,
    commands: usize,
    command: &dyn Fn(&Automerge, usize) -> Command,
) {
    let address = Address::new("bench", "epochs", facet).expect("a good address");
    let mut old = genesis::document(&address, TextEncoding::UnicodeCodePoint);
    for at in 0..commands {
        let slot = u32::try_from(at % actors + 1).expect("few");
        let command = command(&old, at);
        write(&mut old, slot, &command);
    }
    let begin = || begin_epoch(&address, &old, Epoch([7; 16]), NOW).expect("it begins");
    let new = begin();
    assert_eq!(View::read(facet, &new), View::read(facet, &old));
    let mut lanes = Lanes::new(5);
    let saved = [old.save(), new.save()];
    for _ in 0..size(7, 1) {
        lanes.time(0, begin);
        for (lane, (doc, saved)) in [(&old, &saved[0]), (&new, &saved[1])].into_iter().enumerate() {
            lanes.time(1 + lane, || Automerge::load(saved).expect("it loads"));
            let mut doc = doc.clone();
            let edit = command(&doc, commands);
            lanes.time(3 + lane, || write(&mut doc, u32::MAX, &edit));
        }
    }
    for (lane, saved) in saved.iter().enumerate() {
        let (doc, heap) = HEAP.of(|| Automerge::load(saved).expect("it loads"));
        let metas = doc.get_changes_meta(&[]);
        let writers: std::collections::BTreeSet<_> = metas.iter().map(|m| &m.actor).collect();
        let (load, edit) = (us(lanes.median_us(1 + lane)), us(lanes.median_us(3 + lane)));
        let begin = if lane == 0 { us(lanes.median_us(0)) } else { String::new() };
        let ratio = if lane == 0 { times(lanes.ratio(0, 1)) } else { String::new() };
        row(&[
            &if lane == 0 { what } else { "" },
            &["before", "after"][lane],
            &metas.len(),
            &writers.len(),
            &kb(saved.len()),
            &kb(heap),
            &load,
            &edit,
            &begin,
            &ratio,
        ]);
    }
}

fn write(doc: &mut Automerge, slot: u32, command: &Command) {
    doc.set_actor(automerge::ActorId::from(ActorId::leased(1, slot).0));
    let mut tx = doc.transaction();
    command.apply(&mut tx).expect("a good command");
    tx.commit();
}
