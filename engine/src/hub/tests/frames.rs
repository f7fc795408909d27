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

fn frame(pool: &[Blob]) -> impl Strategy<Value = ClientFrame> + use<> {
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
        1 => (0..3_u8, 0..4_u64).prop_map(|(s, g)| hello_frame(s, g).into()),
        4 => subscribe,
        1 => handle.clone().prop_map(|handle| Unsubscribe { handle }.into()),
        2 => handle.clone().prop_map(|handle| RequestLease { handle }.into()),
        6 => (handle.clone(), prop_oneof![0..5_u64, Just(u64::MAX)], changes())
            .prop_map(|(handle, first, changes)| Push { handle, first, changes }.into()),
        2 => handle.clone().prop_map(|handle| Release { handle }.into()),
        2 => (handle, any::<Option<[u8; 16]>>(), changes(), any::<bool>()).prop_map(
            |(handle, seal, changes, last)| {
                let proof = seal.map(|seal| Proof { heads: vec![[3; 32]], seal });
                Restore { handle, proof, changes, last }.into()
            }),
        1 => Just(Ping { nonce: 1 }.into()),
        1 => Just(Bye {}.into()),
    ]
}

/// What a hostile client does next.
#[derive(Debug, Clone)]
enum Step {
    /// Says something that was made up.
    Say(ClientFrame),
    /// Breaks its connection.
    Leave,
    /// Pushes or restores changes that may well be right, or nearly so.
    Write { fresh: bool, count: usize, skip: u64, restore: bool },
}

fn step(pool: &[Blob]) -> impl Strategy<Value = Step> + use<> {
    let write = (any::<bool>(), 1..4_usize, prop_oneof![4 => Just(0_u64), 1 => 0..3_u64]);
    prop_oneof![
        3 => frame(pool).prop_map(Step::Say),
        1 => Just(Step::Leave),
        4 => (write, prop::bool::weighted(0.2)).prop_map(|((fresh, count, skip), restore)| {
            Step::Write { fresh, count, skip, restore }
        }),
    ]
}

/// A client that knows the protocol well and does not keep to it.
struct Hostile {
    session: u8,
    generation: u64,
    connection: u64,
    handle: u32,
    lease: Option<WireLease>,
    settled: u64,
    doc: AutoCommit,
    written: u64,
}

impl Hostile {
    fn new(place: u8) -> Self {
        Self {
            session: 100 + place,
            generation: 100,
            connection: 0,
            handle: 0,
            lease: None,
            settled: 0,
            doc: blank(),
            written: 0,
        }
    }

    fn act(&mut self, world: &mut World, ada: &mut Client, step: Step) {
        if self.connection == 0 || world.closed.contains_key(&self.connection) {
            self.generation += 1;
            self.connection = world.hello(self.session, self.generation);
            let (address, outbox) = (DOC.to_owned(), [self.session; 16]);
            world.say(self.connection, Subscribe { address, cursor: None, outbox, write: true });
        }
        self.listen(world);
        match step {
            Step::Say(frame) => world.say(self.connection, frame),
            Step::Leave => {
                world.tell(Input::Closed { connection: ConnectionId(self.connection) });
                self.connection = 0;
            }
            Step::Write { fresh, count, skip, restore } => {
                if fresh {
                    self.doc = ada.doc.fork();
                }
                let term = if restore { 1 } else { 2 };
                let actor = self.lease.filter(|_| !restore).map(|lease| ActorId(lease.actor));
                let actor = actor.unwrap_or(ActorId::leased(term, u32::from(self.session)));
                let changes = (0..count).map(|_| self.write(actor)).collect();
                let handle = self.handle;
                let frame: ClientFrame = if restore {
                    Restore { handle, proof: None, changes, last: true }.into()
                } else {
                    Push { handle, first: self.settled.saturating_add(1 + skip), changes }.into()
                };
                world.say(self.connection, frame);
            }
        }
        self.listen(world);
    }

    fn write(&mut self, actor: ActorId) -> Blob {
        self.written += 1;
        self.doc.set_actor(Writer::from(actor.0));
        let value = format!("{actor:?} {}", self.written);
        let root = root(&self.doc);
        self.doc.put(root, "h", value).unwrap();
        self.doc.commit();
        Blob(self.doc.get_last_local_change().unwrap().raw_bytes().to_vec().into())
    }

    fn listen(&mut self, world: &mut World) {
        for frame in world.heard(self.connection) {
            match frame {
                ServerFrame::Subscribed(subscribed) => {
                    self.handle = subscribed.handle;
                    self.lease = subscribed.lease.or(self.lease);
                    self.settled = subscribed.settled;
                }
                ServerFrame::Leased(leased) => self.lease = Some(leased.lease),
                ServerFrame::Ack(ack) => self.settled = ack.number,
                ServerFrame::Reject(_) => {
                    world.say(self.connection, RequestLease { handle: self.handle });
                }
                _ => {}
            }
        }
    }
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
    #![proptest_config(ProptestConfig::with_cases(64))]

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
            prop::collection::vec((0..3_usize, step(&pool), 0..6_u8), 1..50)
        }
    ) {
        let config = Config { compact_entries: 7, compact_keep: 3, ..Config::default() };
        let mut world = World::with(config, 2);
        let mut ada = Client::join(&mut world, 1, true);
        let mut hostile: Vec<_> = (0..3).map(Hostile::new).collect();
        let mut generation = 1;
        for (who, step, mood) in steps {
            hostile[who].act(&mut world, &mut ada, step);
            match mood {
                0 => world.pass(Duration::from_secs(17)),
                1 => {
                    world.hold_commits = !world.hold_commits;
                    world.finish_commit();
                }
                2 => {
                    generation += 1;
                    world.tell(Input::Closed { connection: ConnectionId(ada.connection) });
                    ada.reconnect(&mut world, generation, true);
                    world.finish_commit();
                }
                _ => {}
            }
            // One who keeps to the rules gets through, whatever the others do.
            ada.listen(&mut world);
            ada.edit(&mut world, 1);
            for frame in ada.news() {
                prop_assert!(
                    matches!(
                        frame,
                        ServerFrame::Subscribed(_)
                            | ServerFrame::SettledAs(_)
                            | ServerFrame::Welcome(_)
                    ),
                    "{frame:?}"
                );
            }
        }
        world.hold_commits = false;
        world.finish_commit();
        ada.listen(&mut world);
        prop_assert_eq!(ada.acked, ada.number);
        prop_assert_eq!(world.hub.stats().pending_entries, 0);
        prop_assert_eq!(world.hub.stats().pending_bytes, 0);
        let end = world.logs[&address()].head().end.seq;
        let mut world = world.restarted();
        let mut reader = Client::join(&mut world, 2, true);
        prop_assert_eq!((reader.seq(), ada.seq()), (end, end));
        prop_assert_eq!(hashes(&mut reader.doc), hashes(&mut ada.doc));
        reader.edit(&mut world, 1);
        prop_assert_eq!(reader.acked, 1);
    }
}
