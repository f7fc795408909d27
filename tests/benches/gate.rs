//! What reading a pushed change costs the hub, against automerge's own reading of the same bytes,
//! which checks less (no checksum, no bounds).

use std::hint::black_box;
use std::time::Duration;

use automerge::Change;
use criterion::{BenchmarkId, Criterion, Throughput};
use syncline_engine::change::reader;
use syncline_engine::clock::Timestamp;
use syncline_engine::document::{
    Command, CommentsCommand, LikesCommand, PostCommand, Target, TextField, genesis,
};
use syncline_engine::ids::{ActorId, Address, Facet, Ulid, UserId};

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
    criterion.final_summary();
}
