//! What the engine adds to automerge: commands on a replica, against automerge alone on an equal
//! document, taking turns.
//!
//! Three lanes. *Engine*: [`Replica::execute`] or [`Replica::accept`], which leaves a checked
//! command, a change ready to be sent, an updated view and the events for it. *Same calls*: what
//! the engine asks of automerge for that, by hand: the same look-ups and writes, commit, the
//! change's bytes, the patches. *Writes only*: known object ids, no look-ups, no patches, which is
//! the least that makes the same change.

use automerge::transaction::{CommitOptions, Transactable, Transaction};
use automerge::{Automerge, Change, LoadOptions, ObjId, ObjType, PatchLog, ROOT, ReadDoc};
use syncline_engine::clock::Timestamp;
use syncline_engine::document::{
    Command, CommentsCommand, LikesCommand, PostCommand, Target, TextField, bucket, bucket_name,
    genesis,
};
use syncline_engine::ids::{ActorId, Address, Cursor, Epoch, Facet, Lease, Tip, Ulid, UserId};
use syncline_engine::limits::BUCKETS;
use syncline_engine::replica::{Replica, Stored};
use syncline_tests::measure::{Lanes, row, size, table, times, us};

const ENCODING: automerge::TextEncoding = automerge::TextEncoding::UnicodeCodePoint;
const NOW: Timestamp = Timestamp(1_700_000_000_000);
const WRITERS: u32 = 16;
const COMMENT: &str = "I have been using this for a year in production, and I can only say that \
                       the part about backups deserves to be read twice.";

fn main() {
    local();
    remote();
}

/// A document with so many likes, comments or characters, one change each but for the text, by
/// sixteen writers in turn.
fn filled(facet: Facet, count: usize) -> Automerge {
    let mut doc = genesis::document(&address(facet), ENCODING);
    match facet {
        Facet::Likes | Facet::Comments | Facet::Json | Facet::Stream => {
            for i in 0..count {
                carry_out(&mut doc, i, &command(facet, i));
            }
        }
        Facet::Post => {
            carry_out(&mut doc, 0, &create(""));
            for from in (0..count).step_by(1_000) {
                let insert = "the quick brown fox ".repeat(1_000.min(count - from) / 20);
                let field = TextField::Body;
                let splice = PostCommand::Splice { field, index: from, delete: 0, insert };
                carry_out(&mut doc, from, &Command::Post(splice));
            }
        }
    }
    doc
}

/// Carries a command out as one of the sixteen writers.
fn carry_out(doc: &mut Automerge, turn: usize, command: &Command) -> Change {
    let slot = 1 + u32::try_from(turn).expect("few turns") % WRITERS;
    doc.set_actor(ActorId::leased(1, slot).0.into());
    let mut tx = doc.transaction();
    command.apply(&mut tx).expect("a good command");
    tx.commit();
    doc.get_last_local_change().expect("the command wrote something")
}

fn address(facet: Facet) -> Address {
    Address::new("bench", "one", facet).expect("a good address")
}

fn id(i: usize) -> Ulid {
    Ulid::new(Timestamp(NOW.0 + i as u64), i as u128 * 0x9e37_79b9_7f4a_7c15)
}

fn user(i: usize) -> UserId {
    UserId::new(&format!("user{i}")).expect("a good name")
}

fn command(facet: Facet, i: usize) -> Command {
    match facet {
        Facet::Likes => Command::Likes(LikesCommand::Like {
            target: Target::Post,
            reaction: "like".to_owned(),
            user: user(i),
            at: id(i),
        }),
        Facet::Comments => Command::Comments(CommentsCommand::Add {
            id: id(i),
            author: user(i % 500),
            parent: None,
            created: NOW,
            body: COMMENT.to_owned(),
        }),
        // Runs of twenty characters, each run somewhere else.
        Facet::Post | Facet::Json | Facet::Stream => Command::Post(PostCommand::Splice {
            field: TextField::Body,
            index: (i / 20 * 37) % 900 + i % 20,
            delete: 0,
            insert: "x".to_owned(),
        }),
    }
}

fn create(body: &str) -> Command {
    Command::Post(PostCommand::Create {
        author: user(0),
        created: NOW,
        title: "A conversation, end to end".to_owned(),
        body: body.to_owned(),
        tags: vec!["rust".to_owned(), "crdt".to_owned()],
    })
}

fn cursor(seq: usize) -> Cursor {
    Cursor { epoch: Epoch([1; 16]), seq: seq as u64, tip: Tip::EMPTY }
}

fn writer() -> ActorId {
    ActorId::leased(1, WRITERS + 1)
}

fn replica(facet: Facet, saved: &[u8]) -> Replica {
    let stored =
        Stored { base: Some(saved.to_vec()), cursor: Some(cursor(1)), ..Stored::default() };
    let provisional = ActorId::provisional(1);
    let mut replica =
        Replica::load(address(facet), ENCODING, provisional, stored).expect("a saved document");
    let lease = Lease { actor: writer(), next_seq: 1, after: 0 };
    replica.adopt(lease).expect("an actor that has not written yet");
    replica
}

fn plain(saved: &[u8]) -> Automerge {
    let options = LoadOptions::new().text_encoding(ENCODING);
    let doc = Automerge::load_with_options(saved, options).expect("a saved document");
    doc.with_actor(writer().0.into())
}

/// Commits by hand as the engine does; the change's bytes are what would be sent.
fn finish(doc: &mut Automerge, write: impl FnOnce(&mut Transaction<'_>)) -> Change {
    let mut tx = doc.transaction();
    write(&mut tx);
    tx.commit_with(CommitOptions::default().with_time(1));
    doc.get_last_local_change().expect("something was written")
}

/// The same with patches, which is what a view needs.
fn finish_with_patches(doc: &mut Automerge, write: impl FnOnce(&mut Transaction<'_>)) -> Change {
    let mut tx = doc.transaction_log_patches(PatchLog::active()).expect("a fresh log");
    write(&mut tx);
    let (_, mut log) = tx.commit_with(CommitOptions::default().with_time(1));
    std::hint::black_box(doc.make_patches(&mut log));
    doc.get_last_local_change().expect("something was written")
}

fn object(doc: &impl ReadDoc, parent: &ObjId, key: &str) -> ObjId {
    doc.get(parent, key).ok().flatten().expect("genesis makes it").1
}

fn bucket_of(doc: &impl ReadDoc, set: &str, key: &str) -> ObjId {
    object(doc, &object(doc, &ROOT, set), &bucket_name(bucket(key, BUCKETS)))
}

/// The writes of a command, in known objects.
fn write(tx: &mut Transaction<'_>, command: &Command, key: &str, object: &ObjId) {
    let written = match command {
        Command::Likes(LikesCommand::Like { at, .. }) => tx.put(object, key, at.to_string()),
        Command::Comments(CommentsCommand::Add { author, created, body, .. }) => {
            let time = i64::try_from(created.0).expect("a time of today");
            tx.put_object(object, key, ObjType::Map).and_then(|comment| {
                tx.put(&comment, "author", author.as_str())?;
                tx.put(&comment, "created", automerge::ScalarValue::Timestamp(time))?;
                tx.put(&comment, "body", body.as_str())
            })
        }
        Command::Post(PostCommand::Splice { index, insert, .. }) => {
            tx.splice_text(object, *index, 0, insert)
        }
        Command::Post(PostCommand::Create { .. }) => write_post(tx, object),
        Command::Likes(_) | Command::Comments(_) | Command::Post(_) | Command::Json(_) => Ok(()),
    };
    written.expect("a good write");
}

fn write_post(tx: &mut Transaction<'_>, body: &ObjId) -> Result<(), automerge::AutomergeError> {
    let title = object(tx, &ROOT, "title");
    let tags = object(tx, &ROOT, "tags");
    tx.put(ROOT, "author", "user0")?;
    tx.put(ROOT, "created", automerge::ScalarValue::Timestamp(1_700_000_000_000))?;
    tx.put(ROOT, "status", "published")?;
    tx.splice_text(&title, 0, 0, "A conversation, end to end")?;
    tx.splice_text(body, 0, 0, &COMMENT.repeat(3))?;
    tx.put(&tags, "rust", true)?;
    tx.put(&tags, "crdt", true)
}

/// The key that a command writes under.
fn key(command: &Command) -> String {
    match command {
        Command::Likes(LikesCommand::Like { user, .. }) => format!("post/like/{user}"),
        Command::Comments(CommentsCommand::Add { id, .. }) => id.to_string(),
        Command::Likes(_) | Command::Comments(_) | Command::Post(_) | Command::Json(_) => {
            "body".to_owned()
        }
    }
}

fn place(doc: &impl ReadDoc, command: &Command, key: &str) -> ObjId {
    match command {
        Command::Likes(_) => bucket_of(doc, "likes", key),
        Command::Comments(_) => bucket_of(doc, "comments", key),
        Command::Post(_) | Command::Json(_) => object(doc, &ROOT, "body"),
    }
}

const COLUMNS: [&str; 8] = [
    "what",
    "in a document of",
    "engine",
    "same calls",
    "ratio",
    "p99 ratio",
    "writes only",
    "ratio",
];

fn report(what: &str, of: &str, lanes: &Lanes, per: f64) {
    let cell = |lane| us(lanes.median_us(lane) / per);
    let p99 = lanes.quantile_us(0, 0.99) / lanes.quantile_us(1, 0.99);
    let (same, least) = (times(lanes.ratio(0, 1)), times(lanes.ratio(0, 2)));
    row(&[&what, &of, &cell(0), &cell(1), &same, &times(p99), &cell(2), &least]);
}

fn local() {
    table("Local commands under a lease", &COLUMNS);
    let rounds = size(1_000, 3);
    for (what, facet, sizes, unit) in [
        ("like", Facet::Likes, [100, 10_000], "likes"),
        ("comment, 120 bytes", Facet::Comments, [20, 2_000], "comments"),
        ("one character", Facet::Post, [1_000, 10_000], "characters"),
    ] {
        for count in sizes.map(|count| size(count, count.min(1_000))) {
            let saved = filled(facet, count).save();
            let lanes = local_rounds(facet, &saved, count, rounds);
            report(what, &format!("{count} {unit}"), &lanes, 1.0);
        }
    }
    report("create a post, 360 bytes", "genesis", &creations(size(300, 3)), 1.0);
}

fn local_rounds(facet: Facet, saved: &[u8], count: usize, rounds: usize) -> Lanes {
    let (mut replica, mut same, mut least) = (replica(facet, saved), plain(saved), plain(saved));
    let mut lanes = Lanes::new(3);
    for i in 0..rounds {
        let command = command(facet, count + i);
        let key = key(&command);
        let known = place(&least, &command, &key);
        let issued = command.clone();
        lanes.time(0, || replica.execute(NOW, id(i), issued)).expect("a good command");
        let made = replica.pending().next_back().expect("one is pending").change.clone();
        // The log brings it back, as it would: nothing stays pending.
        replica.accept(vec![made], cursor(i + 2)).expect("its own change");
        lanes.time(1, || {
            finish_with_patches(&mut same, |tx| {
                let place = place(tx, &command, &key);
                if facet != Facet::Post {
                    assert!(tx.get(&place, key.as_str()).is_ok_and(|found| found.is_none()));
                }
                write(tx, &command, &key, &place);
            })
        });
        lanes.time(2, || finish(&mut least, |tx| write(tx, &command, &key, &known)));
    }
    assert_eq!(replica.document().get_heads().len(), 1);
    lanes
}

fn creations(rounds: usize) -> Lanes {
    let saved = genesis::document(&address(Facet::Post), ENCODING).save();
    let mut lanes = Lanes::new(3);
    for i in 0..rounds {
        let (mut replica, mut same, mut least) =
            (replica(Facet::Post, &saved), plain(&saved), plain(&saved));
        let command = create(&COMMENT.repeat(3));
        let known = object(&least, &ROOT, "body");
        let issued = command.clone();
        lanes.time(0, || replica.execute(NOW, id(i), issued)).expect("a good command");
        lanes.time(1, || {
            finish_with_patches(&mut same, |tx| {
                let body = object(tx, &ROOT, "body");
                assert!(tx.get(ROOT, "author").is_ok_and(|found| found.is_none()));
                write(tx, &command, "body", &body);
            })
        });
        lanes.time(2, || finish(&mut least, |tx| write(tx, &command, "body", &known)));
    }
    lanes
}

fn remote() {
    table("Changes of others, per change", &COLUMNS);
    let rounds = size(200, 3);
    for (what, facet, sizes, unit) in [
        ("like", Facet::Likes, [100, 10_000], "likes"),
        ("comment", Facet::Comments, [20, 2_000], "comments"),
        ("character", Facet::Post, [1_000, 10_000], "characters"),
    ] {
        for count in sizes.map(|count| size(count, count.min(1_000))) {
            let doc = filled(facet, count);
            let saved = doc.save();
            for batch in [1_u16, 50] {
                let turns = rounds / usize::from(batch).min(4);
                let lanes = remote_rounds(facet, &doc, &saved, count, (turns, batch.into()));
                let what = if batch == 1 { what } else { &format!("{what}, 50 at once") };
                report(what, &format!("{count} {unit}"), &lanes, batch.into());
            }
        }
    }
}

fn remote_rounds(
    facet: Facet,
    doc: &Automerge,
    saved: &[u8],
    count: usize,
    (rounds, batch): (usize, usize),
) -> Lanes {
    let mut source = doc.clone();
    let (mut replica, mut same, mut least) = (replica(facet, saved), plain(saved), plain(saved));
    let mut lanes = Lanes::new(3);
    for round in 0..rounds {
        let changes: Vec<Change> = (0..batch)
            .map(|i| count + round * batch + i)
            .map(|i| carry_out(&mut source, i, &command(facet, i)))
            .collect();
        let [mine, by_hand, at_least] = [changes.clone(), changes.clone(), changes];
        lanes.time(0, || replica.accept(mine, cursor(round + 2))).expect("they fit");
        lanes.time(1, || {
            let mut log = PatchLog::active();
            same.apply_changes_log_patches(by_hand, &mut log).expect("they fit");
            same.make_patches(&mut log)
        });
        lanes.time(2, || least.apply_changes(at_least)).expect("they fit");
    }
    assert_eq!(replica.document().get_heads(), same.get_heads());
    lanes
}
