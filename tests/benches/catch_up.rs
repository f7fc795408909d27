//! A reader who comes late to a document with ten thousand small changes: what travels, what it
//! costs the server's hub and the client's session, from the log and from a snapshot with its tail.
//! Beside it what automerge alone needs for the same content. No sockets, no disks.

use std::time::{Duration, Instant};

use automerge::{Automerge, Change, LoadOptions};
use bytes::Bytes;
use syncline_engine::clock::Timestamp;
use syncline_engine::document::{Command, CommentsCommand, PostCommand, TextField};
use syncline_engine::hub;
use syncline_engine::ids::{Address, Facet, Ulid, UserId};
use syncline_engine::machine::Machine;
use syncline_engine::session::{Config, Effect, Identity, Input, Session};
use syncline_engine::wire::frame::{Hello, Subscribe};
use syncline_tests::measure::{Device, Lanes, World, kb, row, size, table, times};

const ENCODING: automerge::TextEncoding = automerge::TextEncoding::UnicodeCodePoint;
const WRITERS: usize = 8;
/// Changes that one writer makes before it is the next one's turn.
const RUN: usize = 25;
const NOW: Timestamp = Timestamp(1_700_000_000_000);

fn main() {
    table(
        "A late reader",
        &["document", "way", "bytes", "of plain", "hub, cold", "hub, warm", "session", "of plain"],
    );
    let changes = size(10_000, 400);
    for (what, facet) in [("10,000 characters typed", Facet::Post), ("comments", Facet::Comments)] {
        from_log_and_snapshot(what, facet, changes);
    }
}

fn address(facet: Facet) -> Address {
    Address::new("bench", "late", facet).expect("a good address")
}

fn from_log_and_snapshot(what: &str, facet: Facet, count: usize) {
    let never = hub::Config {
        compact_entries: u64::MAX,
        compact_bytes: u64::MAX,
        ..hub::Config::default()
    };
    let (log, changes, saved) = written(facet, count, never);
    let often = hub::Config { compact_entries: (count / 5) as u64, ..hub::Config::default() };
    let (compacted, ..) = written(facet, count, often);
    let bytes_all: usize = changes.iter().map(|change| change.raw_bytes().len()).sum();

    let mut lanes = Lanes::new(8);
    let mut sizes = [0; 2];
    for _ in 0..size(7, 1) {
        for (at, (world, config)) in [(&log, never), (&compacted, often)].into_iter().enumerate() {
            let mut world = world.restarted(config);
            let messages = served(&mut world, facet);
            lanes.push(at, world.in_hub);
            let again = served(&mut world, facet);
            lanes.push(2 + at, world.in_hub);
            assert_eq!(again.len(), messages.len());
            sizes[at] = world.bytes_down;
            lanes.push(4 + at, followed(facet, &messages, changes.len() - 1));
        }
        lanes.time(6, || applied(&changes));
        lanes.time(7, || {
            let options = LoadOptions::new().text_encoding(ENCODING);
            Automerge::load_with_options(&saved, options).expect("a saved document")
        });
    }
    let ms = |lane| format!("{:.1} ms", lanes.median_us(lane) / 1e3);
    for (at, way, plain_bytes) in
        [(0, "from the log", bytes_all), (1, "from snapshot and tail", saved.len())]
    {
        #[expect(clippy::cast_precision_loss, reason = "a ratio for people")]
        let of = times(sizes[at] as f64 / plain_bytes as f64);
        let ratio = times(lanes.ratio(4 + at, 6 + at));
        let (cold, warm, session) = (ms(at), ms(2 + at), ms(4 + at));
        row(&[&what, &way, &kb(sizes[at]), &of, &cold, &warm, &session, &ratio]);
    }
    for (way, bytes, lane) in [
        ("plain automerge: parse and apply all changes", bytes_all, 6),
        ("plain automerge: load", saved.len(), 7),
    ] {
        row(&[&what, &way, &kb(bytes), &"1.00x", &"", &"", &ms(lane), &"1.00x"]);
    }
}

/// A log of so many small changes by eight writers in turn, and the same as automerge has it.
fn written(facet: Facet, count: usize, config: hub::Config) -> (World, Vec<Change>, Vec<u8>) {
    let mut world = World::new(config);
    let mut devices: Vec<Device> =
        (0..WRITERS as u64).map(|number| Device::new(address(facet), number)).collect();
    for (number, device) in devices.iter_mut().enumerate() {
        device.join(&mut world, &format!("user{number}"), number as u64);
    }
    let mut made = 0;
    if facet == Facet::Post {
        let create = PostCommand::Create {
            author: user(0),
            created: NOW,
            title: "A post".to_owned(),
            body: String::new(),
            tags: vec![],
        };
        let add = |number| Command::Post(PostCommand::AddEditor { user: user(number) });
        let mut commands = vec![Command::Post(create)];
        commands.extend((1..WRITERS).map(add));
        turn(&mut world, &mut devices, 0, commands);
        made = 1;
    }
    while made < count {
        let number = made / RUN % WRITERS;
        let end = count.min(made - made % RUN + RUN);
        let commands = (made..end).map(|i| small(facet, number, i)).collect();
        turn(&mut world, &mut devices, number, commands);
        made = end;
    }
    let document = devices[0].replica.document();
    let (changes, saved) = (document.get_changes(&[]), document.save());
    (world, changes, saved)
}

fn turn(world: &mut World, devices: &mut [Device], number: usize, commands: Vec<Command>) {
    devices[number].execute_all(world, commands);
    for device in devices {
        device.listen(world);
    }
}

fn user(number: usize) -> UserId {
    UserId::new(&format!("user{number}")).expect("a good name")
}

fn small(facet: Facet, number: usize, i: usize) -> Command {
    if facet == Facet::Post {
        let index = (i / RUN * 37) % (i - i % RUN).max(1) + i % RUN;
        // The letters of a text in which nothing repeats for long.
        let letter = (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) % 27;
        let insert = "etaoin shrdlucmfwypvbgkqjxz"[letter..=letter].to_owned();
        let field = TextField::Body;
        return Command::Post(PostCommand::Splice {
            field,
            index: index.min(i - 1),
            delete: 0,
            insert,
        });
    }
    Command::Comments(CommentsCommand::Add {
        id: Ulid::new(Timestamp(NOW.0 + i as u64), i as u128 * 0x9e37_79b9_7f4a_7c15),
        author: user(number),
        parent: None,
        created: Timestamp(NOW.0 + i as u64),
        body: format!("comment number {i} says that it agrees"),
    })
}

/// A connection that knows nothing opens the document; what it hears.
fn served(world: &mut World, facet: Facet) -> Vec<Bytes> {
    world.in_hub = Duration::ZERO;
    world.bytes_down = 0;
    let connection = world.open();
    let hello = Hello {
        session: [77; 16],
        generation: connection.0,
        user: "reader".to_owned(),
        token: None,
        agent: "bench".to_owned(),
    };
    world.say(connection, hello);
    let address = address(facet).to_string();
    world.say(connection, Subscribe { address, cursor: None, outbox: [77; 16], write: false });
    world.heard(connection)
}

/// A session without a store hears it; the time that it takes in all.
fn followed(facet: Facet, messages: &[Bytes], count: usize) -> Duration {
    let identity =
        Identity { user: user(99), token: None, agent: "bench".to_owned(), seed: [8; 32] };
    let begin = Instant::now();
    let mut session = Session::new(identity, Config::default(), &[]).expect("an empty store");
    let mut connected = None;
    let mut tell = |session: &mut Session, input| {
        session.handle(NOW, input);
        while let Some(effect) = session.poll_effect() {
            match effect {
                Effect::Connect { connection } => {
                    connected = Some(connection);
                    session.handle(NOW, Input::Connected { connection });
                }
                Effect::Write { token, .. } => {
                    session.handle(NOW, Input::Written { token, result: Ok(()) });
                }
                Effect::Read { token, .. } => {
                    session.handle(NOW, Input::Read { token, result: Ok(Vec::new()) });
                }
                Effect::Send { .. } | Effect::Disconnect { .. } | Effect::Notify(_) => {}
                Effect::Stop => {}
            }
        }
        connected
    };
    tell(&mut session, Input::Open { address: address(facet), write: false });
    let connection = tell(&mut session, Input::SetOnline(true)).expect("it wants to connect");
    for message in messages {
        tell(&mut session, Input::Received { connection, message: message.clone() });
    }
    let took = begin.elapsed();
    let status = session.status(&address(facet)).expect("an open document");
    assert!(status.live && status.seq == count as u64, "caught up: {status:?}");
    took
}

/// What a reader without an engine does with the same changes.
fn applied(changes: &[Change]) -> Automerge {
    let mut doc = Automerge::new_with_encoding(ENCODING);
    let parsed: Vec<Change> = changes
        .iter()
        .map(|change| Change::try_from(change.raw_bytes()).expect("a change of automerge's own"))
        .collect();
    doc.apply_changes(parsed).expect("they fit");
    doc
}
