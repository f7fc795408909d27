//! Hostile clients: whatever they send, the hub stands, and others do not notice.

use proptest::prelude::*;

use super::*;

fn change(pool: &[Blob]) -> impl Strategy<Value = Blob> + use<> {
    let pool = pool.to_vec();
    prop_oneof![
        4 => proptest::sample::select(pool.clone()),
        1 => (proptest::sample::select(pool), any::<prop::sample::Index>(), any::<u8>())
            .prop_map(|(blob, at, byte)| {
                let mut bytes = blob.0.to_vec();
                let at = at.index(bytes.len());
                bytes[at] = byte;
                Blob(bytes.into())
            }),
        1 => prop::collection::vec(any::<u8>(), 0..60).prop_map(|bytes| Blob(bytes.into())),
    ]
}

fn frame(pool: &[Blob]) -> impl Strategy<Value = Option<ClientFrame>> + use<> {
    let handle = 0..4_u32;
    let changes = || prop::collection::vec(change(pool), 0..4);
    let cursor =
        proptest::option::of((0..2_u8, 0..6_u64, 0..2_u8).prop_map(|(e, seq, t)| WireCursor {
            epoch: [e; 16],
            seq,
            tip: [t; 16],
        }));
    let address = prop_oneof![Just(DOC.to_owned()), Just("town/b/likes".to_owned()), ".{0,12}"];
    let subscribe =
        (address, cursor, 0..2_u8, any::<bool>()).prop_map(|(address, cursor, o, write)| {
            Subscribe { address, cursor, outbox: [o; 16], write }.into()
        });
    prop_oneof![
        1 => (0..3_u8, 0..4_u64).prop_map(|(s, g)| Some(hello_frame(s, g).into())),
        4 => subscribe.prop_map(Some),
        1 => handle.clone().prop_map(|handle| Some(Unsubscribe { handle }.into())),
        2 => handle.clone().prop_map(|handle| Some(RequestLease { handle }.into())),
        6 => (handle.clone(), prop_oneof![0..5_u64, Just(u64::MAX)], changes())
            .prop_map(|(handle, first, changes)| Some(Push { handle, first, changes }.into())),
        2 => (handle, changes())
            .prop_map(|(handle, changes)| Some(Restore { handle, changes }.into())),
        1 => Just(Some(Ping { nonce: 1 }.into())),
        1 => Just(Some(Bye {}.into())),
        1 => Just(None),
    ]
}

/// Changes that fit here and there.
fn pool() -> Vec<Blob> {
    let mut world = World::with(Config::default(), 2);
    let mut ada = Client::join(&mut world, 1, true);
    let mut pool = vec![];
    for actor in [ActorId::leased(2, 1), ActorId::leased(2, 1), ActorId::leased(1, 1)] {
        pool.push(ada.write_as(actor));
    }
    ada.doc = blank();
    pool.push(ada.write_as(ActorId::leased(2, 2)));
    ada.doc = blank();
    pool.push(ada.write_as(ActorId::leased(1, 3)));
    pool
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn random_bytes_close_only_their_own_connection(
        messages in prop::collection::vec(
            prop_oneof![
                prop::collection::vec(any::<u8>(), 0..40),
                (1..9_u8, prop::collection::vec(any::<u8>(), 0..40))
                    .prop_map(|(kind, body)| [vec![1, kind], body].concat()),
            ],
            1..20,
        )
    ) {
        let mut world = World::new();
        let mut ada = Client::join(&mut world, 1, true);
        for (place, message) in messages.into_iter().enumerate() {
            let open = if place % 2 == 0 { world.open() } else { world.hello(200, 1_000 + place as u64) };
            let connection = ConnectionId(open);
            world.tell(Input::Received { connection, message: message.into() });
        }
        ada.edit(&mut world, 1);
        prop_assert_eq!((ada.acked, ada.seq()), (1, 1));
    }

    #[test]
    fn frames_in_any_order_leave_a_log_that_loads(
        steps in {
            let pool = pool();
            prop::collection::vec((0..3_u64, frame(&pool), 0..3_u8), 1..60)
        }
    ) {
        let mut world = World::with(Config { compact_entries: 3, compact_keep: 1, ..Config::default() }, 2);
        let mut connections = [0; 3];
        let mut generation = 10;
        for (who, frame, mood) in steps {
            let place = usize::try_from(who).unwrap();
            if connections[place] == 0 || world.closed.contains_key(&connections[place]) {
                generation += 1;
                connections[place] = world.hello(u8::try_from(who).unwrap() + 100, generation);
            }
            let connection = connections[place];
            match frame {
                Some(frame) => world.say(connection, frame),
                None => {
                    world.tell(Input::Closed { connection: ConnectionId(connection) });
                    connections[place] = 0;
                }
            }
            match mood {
                0 => world.pass(std::time::Duration::from_secs(17)),
                1 => {
                    world.hold_commits = !world.hold_commits;
                    if !world.hold_commits && world.held_commit.is_some() {
                        world.release_commit();
                    }
                }
                _ => {}
            }
        }
        if world.held_commit.is_some() {
            world.hold_commits = false;
            world.release_commit();
        }
        let end = world.logs.get(&address()).map_or(0, |log| log.head().end.seq);
        prop_assert_eq!(world.hub.stats().pending_entries, 0);
        prop_assert_eq!(world.hub.stats().pending_bytes, 0);
        let mut world = world.restarted();
        let mut reader = Client::join(&mut world, 1, true);
        prop_assert_eq!(reader.seq(), end);
        reader.edit(&mut world, 1);
        prop_assert_eq!(reader.acked, 1);
    }
}
