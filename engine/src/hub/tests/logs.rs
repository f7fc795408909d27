//! Resuming, catching up, compacting, evicting and loading.

use std::time::Duration;

use super::*;

#[test]
fn a_follower_hears_whether_it_made_the_same_of_the_log_sub9() {
    let mut world = World::new();
    let mut ada = Client::join(&mut world, 1, true);
    ada.edit(&mut world, 2);
    ada.news();
    let right = crate::ids::heads_digest(hashes(&mut ada.doc));
    for (seq, heads, same) in
        [(2, right, Some(true)), (2, [1; 16], Some(false)), (1, right, None), (9, right, None)]
    {
        world.say(ada.connection, Compare { handle: ada.handle, seq, heads });
        match &world.heard(ada.connection)[..] {
            [ServerFrame::Compared(answer)] => assert_eq!((answer.seq, answer.same), (seq, same)),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_cursor_on_the_log_is_served_from_there() {
    let mut world = World::new();
    let mut ada = Client::join(&mut world, 1, true);
    let mut bob = Client::join(&mut world, 2, false);
    ada.edit(&mut world, 3);
    bob.listen(&mut world);
    bob.news();
    world.tell(Input::Closed { connection: ConnectionId(bob.connection) });
    ada.edit(&mut world, 2);
    ada.edit(&mut world, 2);
    bob.reconnect(&mut world, 2, false);
    let subscribed = bob.subscribed();
    assert_eq!((subscribed.resume, subscribed.end_seq), (Resume::Cursor, 7));
    assert_eq!(bob.seq(), 7);
    assert_eq!(hashes(&mut ada.doc), hashes(&mut bob.doc));
    // A cursor in the middle of a record is as good as any other.
    let log = &world.logs[&address()];
    let record = &log.records[0];
    let tip = crate::storage::record::advance(&key(), Tip::EMPTY, &record.entries[0]);
    let mut carl = Client::join(&mut world, 3, false);
    carl.cursor = Some(WireCursor { epoch: carl.cursor.unwrap().epoch, seq: 1, tip: tip.0 });
    carl.news();
    world.say(carl.connection, Unsubscribe { handle: carl.handle });
    carl.subscribe(&mut world, false);
    assert_eq!((carl.subscribed().resume, carl.seq()), (Resume::Cursor, 7));
}

#[test]
fn a_cursor_that_is_not_on_the_log_begins_anew() {
    let mut world = World::new();
    let mut ada = Client::join(&mut world, 1, true);
    ada.edit(&mut world, 3);
    let good = ada.cursor.unwrap();
    let bad = [
        None,
        Some(WireCursor { epoch: [0xee; 16], ..good }),
        Some(WireCursor { seq: 4, ..good }),
        Some(WireCursor { tip: [0xee; 16], ..good }),
        Some(WireCursor { seq: u64::MAX, ..good }),
    ];
    for cursor in bad {
        let mut bob = Client::join(&mut world, 2, false);
        bob.cursor = cursor;
        bob.news();
        bob.subscribe(&mut world, false);
        assert_eq!(bob.subscribed().resume, Resume::Beginning);
        assert_eq!(bob.seq(), 3);
        assert_eq!(hashes(&mut ada.doc), hashes(&mut bob.doc));
        world.say(bob.connection, Bye {});
        world.pass(Duration::from_secs(31));
    }
}

#[test]
fn a_slow_reader_gets_bounded_bytes_and_catches_up_by_reading() {
    let config = Config { ring_bytes_max: 60_000, compact_bytes: u64::MAX, ..Config::default() };
    let mut world = World::with(config, 1);
    let mut ada = Client::join(&mut world, 1, true);
    let mut slow = Client::join(&mut world, 2, false);
    world.stuck.push(slow.connection);
    let actor = ActorId(ada.lease.unwrap().actor);
    for _ in 0..60 {
        let change = ada.write_sized(actor, 30_000);
        ada.push(&mut world, vec![change]);
    }
    assert_eq!(ada.seq(), 60);
    let unread = world.unread[&slow.connection];
    assert!(unread < (256 << 10) + 40_000, "{unread}");
    assert_eq!(world.reads, 0);
    slow.listen(&mut world);
    assert!(slow.seq() < 12);
    for _ in 0..60 {
        world.drain(slow.connection);
        assert!(world.unread.get(&slow.connection).is_none_or(|b| *b < 600_000));
        slow.listen(&mut world);
    }
    assert_eq!(slow.seq(), 60);
    assert!(world.reads > 0);
    assert_eq!(hashes(&mut ada.doc), hashes(&mut slow.doc));
}

#[test]
fn a_large_commit_reaches_everybody_in_frames_of_bounded_size() {
    let mut world = World::new();
    let mut ada = Client::join(&mut world, 1, true);
    let mut bob = Client::join(&mut world, 2, false);
    let actor = ActorId(ada.lease.unwrap().actor);
    let changes = (0..14).map(|_| ada.write_sized(actor, 60_000)).collect();
    ada.push(&mut world, changes);
    for _ in 0..4 {
        ada.listen(&mut world);
        bob.listen(&mut world);
    }
    assert_eq!((ada.seq(), bob.seq()), (14, 14));
    // Reading the same record from anywhere in it works as well.
    let mut carl = Client::join(&mut world, 3, false);
    carl.cursor = bob.cursor;
    assert_eq!(carl.seq(), 14);
}

fn small() -> Config {
    Config { compact_entries: 20, compact_keep: 5, ..Config::default() }
}

#[test]
fn a_log_that_grew_is_compacted_and_new_readers_get_the_snapshot() {
    let mut world = World::with(small(), 1);
    let mut ada = Client::join(&mut world, 1, true);
    let behind = ada.cursor;
    for _ in 0..33 {
        ada.edit(&mut world, 1);
    }
    assert_eq!(world.compactions, 1);
    let log = &world.logs[&address()];
    assert_eq!(log.snapshot.as_ref().unwrap().cursor.seq, 20);
    assert_eq!(log.head().tail_from, 16);
    let attribution = Attribution::decode(&log.snapshot.as_ref().unwrap().attribution).unwrap();
    let (author, _) = attribution.of(ActorId::leased(1, 1), 20).unwrap();
    assert_eq!(author.as_str(), "user1");

    let mut bob = Client::join(&mut world, 2, false);
    assert!(matches!(bob.subscribed().resume, Resume::Snapshot { cursor, .. } if cursor.seq == 20));
    assert_eq!(bob.seq(), 33);
    assert_eq!(hashes(&mut ada.doc), hashes(&mut bob.doc));

    let mut carl = Client::join(&mut world, 3, true);
    carl.cursor = behind;
    carl.news();
    carl.subscribe(&mut world, true);
    assert!(matches!(carl.subscribed().resume, Resume::Snapshot { .. }), "below the tail");
    carl.edit(&mut world, 1);
    assert_eq!((carl.acked, carl.seq()), (1, 34));
}

#[test]
fn a_snapshot_that_is_replaced_while_it_is_streamed_starts_over() {
    let mut world = World::with(small(), 1);
    let mut ada = Client::join(&mut world, 1, true);
    let actor = ActorId(ada.lease.unwrap().actor);
    // Values that do not compress away, so that the snapshot has several parts.
    for i in 0..20_u64 {
        ada.doc.set_actor(Writer::from(actor.0));
        let noise: Vec<u8> = (0..30_000_u64)
            .scan(i + 1, |x, _| {
                *x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695);
                Some((*x >> 56) as u8)
            })
            .collect();
        let root = root(&ada.doc);
        ada.doc.put(root, format!("n{i}"), noise).unwrap();
        ada.doc.commit();
        let change = ada.doc.get_last_local_change().unwrap().raw_bytes().to_vec();
        ada.push(&mut world, vec![Blob(change.into())]);
    }
    assert_eq!(world.compactions, 1, "after half a megabyte");
    let connection = world.hello(2, 1);
    world.stuck.push(connection);
    world.say(
        connection,
        Subscribe { address: DOC.to_owned(), cursor: None, outbox: [2; 16], write: true },
    );
    ada.edit(&mut world, 20);
    assert_eq!(world.compactions, 2);
    world.stuck.clear();
    world.drain(connection);
    world.run();
    let frames = world.heard(connection);
    let begins: Vec<_> = frames
        .iter()
        .filter_map(|frame| match frame {
            ServerFrame::Subscribed(s) => match s.resume {
                Resume::Snapshot { cursor, .. } => Some((cursor.seq, s.lease.is_some())),
                Resume::Cursor | Resume::Beginning => panic!(),
            },
            _ => None,
        })
        .collect();
    assert_eq!(begins, [(18, true), (40, false)], "its base changed, so its lease ended");
    let restart = frames.iter().rposition(|f| matches!(f, ServerFrame::Subscribed(_))).unwrap();
    let mut body = vec![];
    for frame in &frames[restart + 1..] {
        let ServerFrame::SnapshotPart(part) = frame else { panic!("{}", frame.name()) };
        assert_eq!(part.offset, body.len() as u64);
        body.extend_from_slice(&part.bytes.0);
    }
    let mut doc = AutoCommit::load(&body).unwrap();
    assert_eq!(hashes(&mut doc), hashes(&mut ada.doc));
}

#[test]
fn a_resume_that_starts_over_says_what_became_of_the_pushes_before_ak3() {
    let config = Config { outstanding_bytes_max: 1, ring_bytes_max: 0, ..small() };
    let mut world = World::with(config, 1);
    let mut ada = Client::join(&mut world, 1, true);
    let mut bob = Client::join(&mut world, 2, true);
    bob.news();
    world.stuck.push(bob.connection);
    for _ in 0..33 {
        ada.edit(&mut world, 1);
    }
    assert_eq!(world.compactions, 1);
    world.hold_commits = true;
    bob.edit(&mut world, 2);
    world.stuck.clear();
    world.drain(bob.connection);
    bob.listen(&mut world);
    assert!(bob.news().is_empty(), "it is not known yet");
    bob.edit(&mut world, 1);
    ada.edit(&mut world, 1);
    world.release_commit();
    bob.listen(&mut world);
    let begun = bob.subscribed();
    assert!(matches!(begun.resume, Resume::Snapshot { cursor, .. } if cursor.seq == 20));
    assert_eq!((begun.settled, begun.lease), (2, None), "its base changed, so its lease ended");
    world.finish_commit();
    bob.listen(&mut world);
    assert_eq!((bob.acked, bob.seq()), (2, 36), "what came after that was passed over");
    ada.listen(&mut world);
    assert_eq!(hashes(&mut bob.doc), hashes(&mut ada.doc));
}

#[test]
fn a_reader_whose_records_vanish_during_a_compaction_waits_for_its_end() {
    let mut world = World::with(Config { ring_bytes_max: 0, ..small() }, 1);
    let mut ada = Client::join(&mut world, 1, true);
    let mut slow = Client::join(&mut world, 2, false);
    slow.news();
    world.tell(Input::Closed { connection: ConnectionId(slow.connection) });
    world.hold_compactions = true;
    ada.edit(&mut world, 1);
    for _ in 0..30 {
        ada.edit(&mut world, 1);
    }
    // The store has done it, the hub has not heard of it yet.
    let done = world.compact();
    slow.reconnect(&mut world, 2, false);
    assert_eq!(slow.subscribed().resume, Resume::Cursor);
    assert_eq!(slow.seq(), 0);
    ada.edit(&mut world, 1);
    slow.listen(&mut world);
    assert!(slow.news().is_empty());
    world.tell(done);
    slow.listen(&mut world);
    assert!(matches!(slow.subscribed().resume, Resume::Snapshot { .. }));
    assert_eq!(slow.seq(), 32);
    assert_eq!(hashes(&mut ada.doc), hashes(&mut slow.doc));
}

#[test]
fn an_idle_document_leaves_memory_and_comes_back_the_same() {
    let mut world = World::with(small(), 1);
    let mut ada = Client::join(&mut world, 1, true);
    let mut bob = Client::join(&mut world, 2, true);
    for _ in 0..15 {
        let (a, b) = (ada.write(), bob.write());
        ada.push(&mut world, vec![a]);
        bob.push(&mut world, vec![b]);
        ada.listen(&mut world);
        bob.listen(&mut world);
    }
    let handle = ada.handle;
    let before = world.hub.documents.live(handle).unwrap().index.clone();
    let end = world.hub.documents.live(handle).unwrap().durable;
    world.say(ada.connection, Bye {});
    world.tell(Input::Closed { connection: ConnectionId(bob.connection) });
    world.pass(Duration::from_secs(59));
    assert_eq!(world.hub.stats().documents, 1, "bob's grace time came first");
    world.pass(Duration::from_secs(32));
    assert_eq!(world.hub.stats().documents, 0);
    assert_eq!(world.hub.poll_timeout(), None);

    ada.news();
    ada.reconnect(&mut world, 2, true);
    let live = world.hub.documents.live(ada.handle).unwrap();
    assert_eq!((&live.index, live.durable), (&before, end));
    let subscribed = ada.subscribed();
    assert_eq!((subscribed.resume, subscribed.settled), (Resume::Cursor, 15));
    ada.edit(&mut world, 1);
    assert_eq!(ada.acked, 16);
    assert_ne!(ada.handle, handle);
}

#[test]
fn a_document_that_does_not_load_is_unavailable_and_tried_again() {
    let mut world = World::new();
    let mut ada = Client::join(&mut world, 1, true);
    ada.edit(&mut world, 4);
    let mut world = world.restarted();
    let connection = world.hello(7, 1);
    let subscribe =
        || Subscribe { address: DOC.to_owned(), cursor: None, outbox: OUTBOX, write: true };
    let good = world.logs.clone();
    type Damage = fn(&mut World);
    let damages: [Damage; 4] = [
        |world| world.fail_loads = true,
        |world| {
            let record = &mut world.logs.get_mut(&address()).unwrap().records[0];
            let mut bytes = record.entries[2].change.to_vec();
            bytes[40] ^= 1;
            record.entries[2].change = bytes.into();
        },
        |world| world.logs.get_mut(&address()).unwrap().records[0].tip = Tip([1; 16]),
        |world| world.logs.get_mut(&address()).unwrap().records[0].first_seq = 2,
    ];
    for damage in damages {
        damage(&mut world);
        world.say(connection, subscribe());
        match &world.heard(connection)[..] {
            [ServerFrame::Error(error)] => {
                assert_eq!(error.code, Code::DocumentUnavailable.number());
                assert_eq!(error.address.as_deref(), Some(DOC));
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(world.hub.stats().documents, 0);
        world.logs = good.clone();
        world.fail_loads = false;
    }
    world.say(connection, subscribe());
    assert!(matches!(&world.heard(connection)[0], ServerFrame::Subscribed(s) if s.end_seq == 4));
}

#[test]
fn compaction_in_steps_ends_like_compaction_at_once() {
    let mut world = World::with(Config { compact_entries: u64::MAX, ..Config::default() }, 1);
    let mut ada = Client::join(&mut world, 1, true);
    let mut bob = Client::join(&mut world, 2, true);
    for _ in 0..6 {
        let (a, b) = (ada.write(), bob.write());
        ada.push(&mut world, vec![a]);
        bob.push(&mut world, vec![b]);
        ada.listen(&mut world);
        bob.listen(&mut world);
    }
    let log = &world.logs[&address()];
    let at = |place: usize| {
        let record = &log.records[place];
        Cursor { epoch: log.epoch, seq: record.last_seq(), tip: record.tip }
    };
    let half = compact(&address(), at(4), None, &log.records).unwrap();
    let whole = compact(&address(), at(11), None, &log.records).unwrap();
    let stepped = compact(&address(), at(11), Some(&half), &log.records).unwrap();
    assert_eq!(stepped, whole);

    let gap = compact(&address(), at(11), None, &log.records[1..]);
    assert!(matches!(gap, Err(CompactError::Gap { .. })));
    let wrong_tip = Cursor { tip: Tip([3; 16]), ..at(11) };
    let gap = compact(&address(), wrong_tip, None, &log.records);
    assert!(matches!(gap, Err(CompactError::Gap { .. })));
    let cut = Snapshot { body: half.body.slice(..half.body.len() - 3), ..half.clone() };
    let body = compact(&address(), at(11), Some(&cut), &log.records);
    assert!(matches!(body, Err(CompactError::Body(_))));
    let other = Snapshot { body: whole.body, ..half };
    let body = compact(&address(), at(11), Some(&other), &log.records);
    assert!(matches!(body, Err(CompactError::Body(_))));
}

#[test]
fn the_longer_a_log_the_rarer_its_snapshots() {
    let mut world = World::with(small(), 1);
    let mut ada = Client::join(&mut world, 1, true);
    let mut taken = vec![];
    while ada.seq() < 200 {
        ada.edit(&mut world, 1);
        taken.extend(world.logs[&address()].snapshot.as_ref().map(|s| s.cursor.seq));
    }
    taken.dedup();
    assert_eq!(taken, [20, 40, 60, 90, 135]);
}
