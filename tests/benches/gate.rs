//! What a pushed change costs the hub: reading it, against automerge's own reading of the same bytes,
//! which checks less (no checksum, no bounds); and the whole gate, on a document that has grown,
//! against applying the same change with automerge.

use std::hint::black_box;
use std::time::Duration;

use automerge::{Automerge, Change};
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput};
use syncline_engine::change::reader;
use syncline_engine::clock::Timestamp;
use syncline_engine::document::{
    Command, CommentsCommand, LikesCommand, PostCommand, Target, TextField, genesis,
};
use syncline_engine::gate::Index;
use syncline_engine::ids::{ActorId, Address, Facet, Ulid, UserId};
use syncline_engine::policy::Rules;

/// Writers of a document that has grown.
const WRITERS: u64 = 16;
/// What it holds: likes, comments, or pieces of text.
const GROWN: u64 = 3_000;

/// The change that a command makes on a document with one other writer before it.
fn change(facet: Facet, commands: &[Command]) -> Vec<u8> {
    let address = Address::new("bench", "gate", facet).expect("a good address");
    let mut doc = genesis::document(&address, automerge::TextEncoding::UnicodeCodePoint);
    for (slot, command) in (1..).zip(commands) {
        doc.set_actor(ActorId::leased(1_700_000_000_000, slot).0.into());
        let mut tx = doc.transaction();
        command.apply(&mut tx).expect("a good command");
        tx.commit();
    }
    doc.get_last_local_change().expect("the command wrote something").raw_bytes().to_vec()
}

fn changes() -> Vec<(&'static str, Vec<u8>)> {
    let now = Timestamp(1_700_000_000_000);
    let user = UserId::new("somebody").expect("a good name");
    let at = Ulid::new(now, 77);
    let create = Command::Post(PostCommand::Create {
        author: user.clone(),
        created: now,
        title: "A post".to_owned(),
        body: "It begins.".to_owned(),
        tags: vec![],
    });
    let splice = |insert: String| {
        Command::Post(PostCommand::Splice { field: TextField::Body, index: 5, delete: 0, insert })
    };
    let like = Command::Likes(LikesCommand::Like {
        target: Target::Post,
        reaction: "like".to_owned(),
        user: user.clone(),
        at,
    });
    let body = "A comment of a hundred and twenty bytes, which is about what people write under \
                a post when they have something to add."
        .to_owned();
    let comment = Command::Comments(CommentsCommand::Add {
        id: at,
        author: user,
        parent: None,
        created: now,
        body,
    });
    let paste =
        splice("the quick brown fox jumps over the lazy dog, ".repeat(92)[..4_096].to_owned());
    vec![
        ("character", change(Facet::Post, &[create.clone(), splice("x".to_owned())])),
        ("like", change(Facet::Likes, &[like])),
        ("comment", change(Facet::Comments, &[comment])),
        ("paste of 4,096", change(Facet::Post, &[create, paste])),
    ]
}

/// A document of many writers, and one change more.
struct Grown {
    address: Address,
    doc: Automerge,
    changes: Vec<Change>,
    next: Change,
}

fn execute(doc: &mut Automerge, slot: u64, command: &Command) -> Change {
    let slot = u32::try_from(slot).expect("a small number");
    doc.set_actor(ActorId::leased(1_700_000_000_000, slot).0.into());
    let mut tx = doc.transaction();
    command.apply(&mut tx).expect("a good command");
    tx.commit();
    doc.get_last_local_change().expect("the command wrote something")
}

fn grown(facet: Facet, command: impl Fn(u64) -> Command) -> Grown {
    let address = Address::new("bench", "gate", facet).expect("a good address");
    let mut doc = genesis::document(&address, automerge::TextEncoding::UnicodeCodePoint);
    for n in 0..GROWN {
        execute(&mut doc, n % WRITERS + 1, &command(n));
    }
    let next = execute(&mut doc.clone(), 1, &command(GROWN));
    Grown { changes: doc.get_changes(&[]), address, doc, next }
}

fn name(n: u64) -> UserId {
    UserId::new(&format!("user{n}")).expect("a good name")
}

fn documents() -> Vec<(&'static str, UserId, Grown)> {
    let now = Timestamp(1_700_000_000_000);
    let at = |n: u64| Ulid::new(now, u128::from(n));
    let like = |n: u64| {
        let (target, reaction) = (Target::Post, "like".to_owned());
        Command::Likes(LikesCommand::Like { target, reaction, user: name(n), at: at(n) })
    };
    let comment = |n: u64| {
        let body = "A comment of some sixty bytes, which is short for a comment.".to_owned();
        let (author, parent, created) = (name(n), None, now);
        Command::Comments(CommentsCommand::Add { id: at(n), author, parent, created, body })
    };
    let text = |insert: &str, n: u64| {
        let (field, index) = (TextField::Body, usize::try_from(n).unwrap_or(0) / 2);
        Command::Post(PostCommand::Splice { field, index, delete: 0, insert: insert.to_owned() })
    };
    let create = || {
        let (author, created, title) = (name(0), now, "A post".to_owned());
        let body = "It begins.".to_owned();
        Command::Post(PostCommand::Create { author, created, title, body, tags: vec![] })
    };
    let paste = "the quick brown fox jumps over the lazy dog, ".repeat(92)[..4_096].to_owned();
    let typed = |n| if n == 0 { create() } else { text("x", n) };
    let pasted = |n| if n == GROWN { text(&paste, n) } else { typed(n) };
    vec![
        ("like", name(GROWN), grown(Facet::Likes, like)),
        ("comment", name(GROWN), grown(Facet::Comments, comment)),
        ("character", name(0), grown(Facet::Post, typed)),
        ("paste of 4,096", name(0), grown(Facet::Post, pasted)),
    ]
}

fn gate(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("gate");
    for (what, user, grown) in documents() {
        let principal = Rules::default().principal(&user, None);
        let fresh = || {
            let mut index = Index::new(&grown.address);
            let all = grown.changes.iter().map(Change::raw_bytes);
            index.replay(all).expect("what was written fits");
            index
        };
        let mut index = fresh();
        let bytes = grown.next.raw_bytes();
        group.bench_function(BenchmarkId::new("check", what), |b| {
            b.iter(|| {
                let checked = index.check(black_box(bytes), &principal);
                checked.map(drop).expect("a good change");
            });
        });
        group.bench_function(BenchmarkId::new("automerge apply", what), |b| {
            b.iter_batched_ref(
                || (grown.doc.clone(), grown.next.clone()),
                |(doc, next)| doc.apply_changes([next.clone()]).expect("a good change"),
                BatchSize::LargeInput,
            );
        });
        group.bench_function(BenchmarkId::new("rebuild from 3,000 changes", what), |b| {
            b.iter(|| black_box(fresh()));
        });
        let checked = index.check(bytes, &principal).expect("a good change");
        index.apply(&checked);
    }
    group.finish();
}

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_secs(1))
        .sample_size(30)
        .without_plots()
        .configure_from_args();
    let mut group = criterion.benchmark_group("read");
    for (what, bytes) in changes() {
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        group.bench_with_input(BenchmarkId::new("header", what), &bytes, |b, bytes| {
            b.iter(|| reader::read(black_box(bytes)).expect("a good change"));
        });
        group.bench_with_input(BenchmarkId::new("operations", what), &bytes, |b, bytes| {
            b.iter(|| reader::operations(black_box(bytes)).expect("a good change"));
        });
        group.bench_with_input(BenchmarkId::new("automerge try_from", what), &bytes, |b, bytes| {
            b.iter(|| Change::try_from(&black_box(bytes)[..]).expect("a good change"));
        });
        group.bench_with_input(BenchmarkId::new("automerge decode", what), &bytes, |b, bytes| {
            b.iter(|| Change::try_from(&black_box(bytes)[..]).expect("a good change").decode());
        });
    }
    group.finish();
    gate(&mut criterion);
    criterion.final_summary();
}
