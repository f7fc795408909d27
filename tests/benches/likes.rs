//! One post, many users, fifty at a time: what a like costs when there are ten thousand of them.
//!
//! Fifty users join a hub and get real leases, each likes once without having seen the others of
//! the round, all hear of all, they leave, and fifty other users follow. A replica follows it all. Beside it the same likes in plain
//! automerge as it is usually done: one map, one actor for each user, the same concurrency.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use automerge::legacy::OpType as Action;
use automerge::transaction::Transactable;
use automerge::{Automerge, Change, ExpandedChange, ObjType, ROOT, ReadDoc};
use bytes::Bytes;
use syncline_engine::clock::Timestamp;
use syncline_engine::document::{Command, LikesCommand, Target, View, bucket};
use syncline_engine::hub::{Config, ConnectionId};
use syncline_engine::ids::{ActorId, Address, Cursor, Epoch, Facet, Lease, Tip, Ulid, UserId};
use syncline_engine::limits::BUCKETS;
use syncline_engine::replica::{Replica, Stored};
use syncline_engine::wire::ServerFrame;
use syncline_engine::wire::frame::{Blob, Bye, Push, Release, Subscribe, WireCursor, WireLease};
use syncline_tests::measure::{
    Device, Heap, Lanes, World, kb, median, row, size, table, times, us,
};

use syncline_tests::raw::hello;

#[global_allocator]
static HEAP: Heap = Heap::new();

const AT_A_TIME: usize = 50;
const ENCODING: automerge::TextEncoding = automerge::TextEncoding::UnicodeCodePoint;

/// A document at one of the sizes that are compared.
struct Stage {
    likes: usize,
    changes: Vec<Change>,
    saved: Vec<u8>,
    /// Time in the hub for each of the last likes, relaying included.
    hub: Duration,
    /// What the document that made it keeps, where it takes too long to grow another.
    heap: usize,
}

fn main() {
    let sizes = [size(1_000, 100), size(10_000, 200)];
    let leased = leased(sizes);
    let plain = plain(sizes);
    let columns = ["", "likes", "actors", "changes", "saved", "heap", "heap per like"];
    table("Documents", &columns);
    for stage in &leased {
        let (_replica, heap) = HEAP.of(|| grown(stage));
        documents("replica (document and view)", stage, heap);
        let (_document, heap) = HEAP.of(|| grown_document(stage));
        documents("its document alone", stage, heap);
    }
    for stage in &plain {
        documents("plain automerge, an actor per user", stage, stage.heap);
    }
    table("One more like", &["", "at 1,000", "at 10,000", "ratio"]);
    costs(&leased, &plain);
}

fn documents(what: &str, stage: &Stage, heap: usize) {
    let actors: BTreeSet<&[u8]> =
        stage.changes.iter().map(|change| change.actor_id().to_bytes()).collect();
    let each = format!("{} B", heap / stage.likes);
    let (actors, changes) = (actors.len(), stage.changes.len());
    row(&[&what, &stage.likes, &actors, &changes, &kb(stage.saved.len()), &kb(heap), &each]);
}

// Through the hub.

fn address() -> Address {
    Address::new("bench", "likes", Facet::Likes).expect("a good address")
}

fn like(user: &str, i: usize) -> (Ulid, Command) {
    let at = Ulid::new(Timestamp(1_700_000_000_000 + i as u64), i as u128 * 0x9e37_79b9);
    let user = UserId::new(user).expect("a good name");
    let reaction = "like".to_owned();
    (at, Command::Likes(LikesCommand::Like { target: Target::Post, reaction, user, at }))
}

fn leased(sizes: [usize; 2]) -> [Stage; 2] {
    let mut world = World::new(Config::default());
    let mut reader = Device::new(address(), 0);
    reader.join(&mut world, "reader", u64::MAX);
    let templates = leased_templates(reader.replica.document());
    let mut chains = Chains::default();
    let mut likes = 0;
    sizes.map(|size| {
        let mut hub = Vec::new();
        while likes < size {
            world.in_hub = Duration::ZERO;
            likes += leased_round(&mut world, &mut reader, &templates, (&mut chains, likes));
            hub.push(world.in_hub / u32::try_from(AT_A_TIME).expect("fifty"));
        }
        let View::Likes(view) = reader.replica.view() else { panic!("likes were opened") };
        assert_eq!(view.count(Target::Post, "like"), size);
        let document = reader.replica.document();
        let (changes, saved) = (document.get_changes(&[]), document.save());
        let last = hub.len().saturating_sub(10);
        Stage { likes, changes, saved, hub: median(&hub[last..]), heap: 0 }
    })
}

/// A like in each of the buckets, as the engine makes it; those of a round differ from it only in
/// who writes what on top of what.
fn leased_templates(doc: &Automerge) -> BTreeMap<u32, ExpandedChange> {
    let mut templates = BTreeMap::new();
    for i in 0.. {
        let user = format!("user{i}");
        let place = bucket_of(&user);
        templates.entry(place).or_insert_with(|| {
            let mut doc = doc.clone().with_actor(user_actor(i));
            let mut tx = doc.transaction();
            like(&user, i).1.apply(&mut tx).expect("a good command");
            tx.commit();
            doc.get_last_local_change().expect("the first like").decode()
        });
        if templates.len() == BUCKETS as usize {
            break;
        }
    }
    templates
}

fn bucket_of(user: &str) -> u32 {
    bucket(&format!("post/like/{user}"), BUCKETS)
}

/// What the next changes build on: what was there when the round began, and the actor's own last.
#[derive(Default)]
struct Chains {
    heads: Vec<automerge::ChangeHash>,
    last: BTreeMap<[u8; 16], automerge::ChangeHash>,
}

impl Chains {
    fn deps(&self, actor: [u8; 16]) -> Vec<automerge::ChangeHash> {
        let mut deps = self.heads.clone();
        deps.extend(self.last.get(&actor));
        deps.sort_unstable();
        deps.dedup();
        deps
    }
}

/// A user with a lease on the document, who is where the reader is.
struct Guest {
    connection: ConnectionId,
    handle: u32,
    lease: WireLease,
}

impl Guest {
    fn arrive(world: &mut World, user: &str, session: u64, at: Cursor) -> Self {
        let connection = world.open();
        let mut id = [3; 16];
        id[..8].copy_from_slice(&session.to_be_bytes());
        world.say(connection, hello(user, id, 1));
        let cursor = Some(WireCursor { epoch: at.epoch.0, seq: at.seq, tip: at.tip.0 });
        let address = address().to_string();
        world.say(connection, Subscribe { address, cursor, outbox: id, write: true });
        for message in world.heard(connection) {
            if let Ok(ServerFrame::Subscribed(subscribed)) = ServerFrame::decode(&message) {
                let lease = subscribed.lease.expect("a lease with the answer");
                return Self { connection, handle: subscribed.handle, lease };
            }
        }
        panic!("the hub did not answer")
    }

    fn like(
        &self,
        world: &mut World,
        templates: &BTreeMap<u32, ExpandedChange>,
        i: usize,
        round: u64,
        chains: &mut Chains,
    ) {
        let user = format!("user{i}");
        let mut change = templates[&bucket_of(&user)].clone();
        change.actor_id = self.lease.actor.into();
        change.seq = self.lease.next_seq;
        change.start_op = change.start_op.saturating_add(round);
        change.deps = chains.deps(self.lease.actor);
        change.hash = None;
        change.operations[0].key = format!("post/like/{user}").into();
        change.operations[0].action = Action::Put(like(&user, i).0.to_string().into());
        let change = Change::from(change);
        chains.last.insert(self.lease.actor, change.hash());
        let bytes = Bytes::copy_from_slice(change.raw_bytes());
        let push = Push { handle: self.handle, first: 1, changes: vec![Blob(bytes)] };
        world.say(self.connection, push);
    }

    fn leave(self, world: &mut World) {
        // As a session does that has nothing open under its lease.
        world.say(self.connection, Release { handle: self.handle });
        world.say(self.connection, Bye {});
        let heard = world.heard(self.connection);
        let frames: Vec<_> = heard.iter().map(|bytes| ServerFrame::decode(bytes)).collect();
        let acked = frames.iter().any(|frame| matches!(frame, Ok(ServerFrame::Ack(_))));
        assert!(acked, "the like was not accepted: {frames:?}");
    }
}

fn leased_round(
    world: &mut World,
    reader: &mut Device,
    templates: &BTreeMap<u32, ExpandedChange>,
    (chains, before): (&mut Chains, usize),
) -> usize {
    let at = reader.replica.cursor().expect("it has joined");
    let guests: Vec<Guest> = (before..before + AT_A_TIME)
        .map(|i| Guest::arrive(world, &format!("user{i}"), i as u64, at))
        .collect();
    // Nothing becomes durable before all of them have liked: they are truly concurrent.
    world.hold_commits = true;
    chains.heads = reader.replica.document().get_heads();
    for (number, guest) in guests.iter().enumerate() {
        let round = (before / AT_A_TIME) as u64;
        guest.like(world, templates, before + number, round, chains);
    }
    world.commit();
    world.hold_commits = false;
    reader.listen(world);
    guests.into_iter().for_each(|guest| guest.leave(world));
    AT_A_TIME
}

fn cursor(seq: usize) -> Cursor {
    Cursor { epoch: Epoch([1; 16]), seq: seq as u64, tip: Tip::EMPTY }
}

/// A replica that has followed the log from its beginning.
fn grown(stage: &Stage) -> Replica {
    let mut replica = Replica::new(address(), ENCODING, ActorId::provisional(1));
    replica.start_over(None, cursor(0)).expect("nothing to merge");
    for (i, changes) in stage.changes[1..].chunks(AT_A_TIME).enumerate() {
        replica.accept(changes.to_vec(), cursor(i + 1)).expect("they fit");
    }
    replica
}

fn grown_document(stage: &Stage) -> Automerge {
    let mut doc = Automerge::new();
    for changes in stage.changes.chunks(AT_A_TIME) {
        doc.apply_changes(changes.to_vec()).expect("they fit");
    }
    doc
}

// Plain automerge.

fn user_actor(i: usize) -> automerge::ActorId {
    // As random as those that automerge draws, and the same in every run.
    let mut state = i as u64 + 1;
    let mut bytes = [0; 16];
    for half in bytes.chunks_mut(8) {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        half.copy_from_slice(&(mixed ^ (mixed >> 31)).to_be_bytes());
    }
    automerge::ActorId::from(bytes)
}

fn plain(sizes: [usize; 2]) -> [Stage; 2] {
    let mut doc = Automerge::new().with_actor(user_actor(usize::MAX - 1));
    let mut tx = doc.transaction();
    tx.put_object(ROOT, "likes", ObjType::Map).expect("an empty root");
    tx.commit();
    let template = plain_template(&doc);
    let mut changes = doc.get_changes(&[]);
    let (mut likes, mut heap) = (0, 0_usize);
    sizes.map(|size| {
        while likes < size {
            let round = plain_round(&doc, &template, likes);
            likes += round.len();
            let before = HEAP.used();
            doc.apply_changes(round.clone()).expect("they fit");
            heap = heap.wrapping_add(HEAP.used()).wrapping_sub(before);
            changes.extend(round);
        }
        let saved = doc.save();
        Stage { likes, changes: changes.clone(), saved, hub: Duration::ZERO, heap }
    })
}

fn plain_template(doc: &Automerge) -> ExpandedChange {
    let mut doc = doc.clone().with_actor(user_actor(usize::MAX - 2));
    plain_like(&mut doc, "template").decode()
}

/// Everybody's change builds on what all of the rounds before have made.
fn plain_round(doc: &Automerge, template: &ExpandedChange, before: usize) -> Vec<Change> {
    let deps = doc.get_heads();
    let start_op = template.start_op.saturating_add((before / AT_A_TIME) as u64);
    (before..before + AT_A_TIME)
        .map(|i| {
            let mut change = template.clone();
            change.actor_id = user_actor(i);
            change.deps.clone_from(&deps);
            change.start_op = start_op;
            change.hash = None;
            change.operations[0].key = format!("user{i}").into();
            Change::from(change)
        })
        .collect()
}

fn plain_like(doc: &mut Automerge, user: &str) -> Change {
    let likes = doc.get(ROOT, "likes").ok().flatten().expect("made first").1;
    let mut tx = doc.transaction();
    tx.put(&likes, user, true).expect("a map");
    tx.commit();
    doc.get_last_local_change().expect("the put is new")
}

// What one more costs.

fn costs(leased: &[Stage; 2], plain: &[Stage; 2]) {
    let turns = size(100, 2);
    let mut lanes = Lanes::new(8);
    for (at, stage) in leased.iter().enumerate() {
        leased_turns(stage, turns, &mut lanes, at);
    }
    for (at, stage) in plain.iter().enumerate() {
        // A first edit of a new actor is slow here; fewer turns tell enough.
        plain_turns(stage, turns / 10 + 1, &mut lanes, 4 + at);
    }
    let rows = [
        ("leased, made here", 0),
        ("leased, made elsewhere", 2),
        ("plain, made here", 4),
        ("plain, made elsewhere", 6),
    ];
    for (what, lane) in rows {
        let (small, large) = (lanes.median_us(lane), lanes.median_us(lane + 1));
        row(&[&what, &us(small), &us(large), &times(large / small)]);
    }
    let [small, large] = [&leased[0], &leased[1]].map(|stage| stage.hub.as_secs_f64() * 1e6);
    let what = "in the hub, relayed to 50";
    row(&[&what, &us(small), &us(large), &times(large / small)]);
}

fn leased_turns(stage: &Stage, turns: usize, lanes: &mut Lanes, at: usize) {
    let stored =
        || Stored { base: Some(stage.saved.clone()), cursor: Some(cursor(1)), ..Stored::default() };
    let load = |number| {
        let provisional = ActorId::provisional(number);
        Replica::load(address(), ENCODING, provisional, stored()).expect("a saved document")
    };
    let (mut writer, mut reader) = (load(1), load(2));
    // A user who comes now gets the lowest slot; its next seq follows its last.
    let actor = ActorId::leased(1, 1);
    let written = stage.changes.iter().filter(|c| c.actor_id().to_bytes() == actor.0).count();
    let lease = Lease { actor, next_seq: written as u64 + 1, after: 0 };
    writer.adopt(lease).expect("the actor's next seq");
    for i in 0..turns {
        let (id, command) = like(&format!("late{i}"), stage.likes + i);
        lanes.time(at, || writer.execute(id.timestamp(), id, command)).expect("a good command");
        let change = writer.pending().next_back().expect("one is pending").change.clone();
        writer.accept(vec![change.clone()], cursor(i + 2)).expect("its own");
        lanes.time(2 + at, || reader.accept(vec![change], cursor(i + 2))).expect("it fits");
    }
}

fn plain_turns(stage: &Stage, turns: usize, lanes: &mut Lanes, at: usize) {
    let mut writer = Automerge::load(&stage.saved).expect("a saved document");
    let mut reader = writer.clone();
    for i in 0..turns {
        writer.set_actor(user_actor(1_000_000 + i));
        let change = lanes.time(at, || plain_like(&mut writer, &format!("late{i}")));
        lanes.time(2 + at, || reader.apply_changes([change])).expect("it fits");
    }
}
