//! Connections, sessions and leases over time.

use std::time::Duration;

use super::*;

fn error_of(world: &mut World, connection: u64) -> (Code, bool) {
    match &world.heard(connection)[..] {
        [ServerFrame::Error(error)] => (Code::from_number(error.code).unwrap(), error.fatal),
        other => panic!("{other:?}"),
    }
}

#[test]
fn only_hello_opens_a_connection_and_it_comes_once() {
    let mut world = World::new();
    let early = world.open();
    world.say(early, Ping { nonce: 1 });
    assert_eq!(error_of(&mut world, early), (Code::OutOfProtocol, true));
    assert_eq!(world.closed[&early], CloseCode::of(Code::OutOfProtocol));

    let nameless = world.open();
    world.say(nameless, Hello { user: "a b".to_owned(), ..hello_frame(1, 1) });
    assert_eq!(error_of(&mut world, nameless), (Code::Unauthenticated, true));

    let twice = world.hello(1, 1);
    world.say(twice, Ping { nonce: 5 });
    assert!(matches!(&world.heard(twice)[..], [ServerFrame::Pong(pong)] if pong.nonce == 5));
    world.say(twice, hello_frame(1, 2));
    assert_eq!(error_of(&mut world, twice), (Code::OutOfProtocol, true));
    assert_eq!(world.hub.stats().connections, 0);
}

#[test]
fn bad_bytes_close_the_connection_with_the_code_that_fits() {
    let mut world = World::new();
    let cases: [(&'static [u8], Code); 4] = [
        (&[], Code::BadFrame),
        (&[9, 1], Code::UnsupportedVersion),
        (&[1, 99], Code::BadFrame),
        (&[1, 1, 0], Code::BadFrame),
    ];
    for (bytes, code) in cases {
        let connection = world.open();
        let message = Bytes::from_static(bytes);
        world.tell(Input::Received { connection: ConnectionId(connection), message });
        assert_eq!(error_of(&mut world, connection), (code, true));
        assert_eq!(world.closed[&connection], CloseCode::of(code));
    }
}

#[test]
fn silence_ends_a_connection() {
    let mut world = World::new();
    let greeting = world.open();
    let open = world.hello(1, 1);
    world.pass(Duration::from_secs(19));
    assert!(world.closed.is_empty());
    world.pass(Duration::from_secs(1));
    assert_eq!(world.closed[&greeting], CloseCode::of(Code::HeartbeatTimeout));
    world.say(open, Ping { nonce: 0 });
    world.pass(Duration::from_secs(59));
    assert!(!world.closed.contains_key(&open));
    world.pass(Duration::from_secs(1));
    assert_eq!(world.closed[&open], CloseCode::of(Code::HeartbeatTimeout));
    world.pass(Duration::from_secs(100));
    assert_eq!(world.hub.stats(), Stats::default());
    assert_eq!(world.hub.poll_timeout(), None);
}

#[test]
fn a_newer_connection_of_a_session_replaces_the_older() {
    let mut world = World::new();
    let mut ada = Client::join(&mut world, 1, true);
    ada.news();
    let old = ada.connection;
    let pushed_late = ada.write();
    ada.connection = world.hello(1, 2);
    assert!(
        matches!(&world.heard(old)[..], [ServerFrame::Goodbye(bye)] if bye.code == Code::Replaced.number())
    );
    assert_eq!(world.closed[&old], CloseCode::of(Code::Replaced));
    let handle = ada.handle;
    world.say(old, Push { handle, first: 1, changes: vec![pushed_late] });
    assert_eq!(world.hub.stats().accepted_entries, 0);
    ada.subscribe(&mut world, true);
    assert!(ada.subscribed().lease_kept);

    for generation in [1, 2] {
        let stale = world.open();
        world.say(stale, hello_frame(1, generation));
        assert_eq!(error_of(&mut world, stale), (Code::Replaced, true));
    }
    // Another user with the same session id is somebody else.
    let other = world.open();
    world.say(other, Hello { user: "eve".to_owned(), ..hello_frame(1, 9) });
    assert!(matches!(&world.heard(other)[..], [ServerFrame::Welcome(_)]));
    assert!(!world.closed.contains_key(&ada.connection));
}

#[test]
fn a_subscription_is_answered_only_after_older_pushes_are_durable() {
    let mut world = World::new();
    let mut ada = Client::join(&mut world, 1, true);
    ada.news();
    world.hold_commits = true;
    ada.edit(&mut world, 2);
    ada.reconnect(&mut world, 2, true);
    assert!(ada.news().is_empty());
    world.release_commit();
    ada.listen(&mut world);
    let subscribed = ada.subscribed();
    assert_eq!((subscribed.settled, subscribed.end_seq, subscribed.lease_kept), (2, 2, true));
    assert_eq!(subscribed.lease.unwrap().next_seq, 3);
    assert_eq!(ada.seq(), 2);
}

#[test]
fn a_lease_outlives_a_broken_connection_by_the_grace_time() {
    for (away, kept) in [(29, true), (31, false)] {
        let mut world = World::new();
        let mut ada = Client::join(&mut world, 1, true);
        ada.edit(&mut world, 1);
        ada.news();
        let unsent = ada.write();
        world.tell(Input::Closed { connection: ConnectionId(ada.connection) });
        world.pass(Duration::from_secs(away));
        assert_eq!(world.hub.stats().leases, usize::from(kept));
        let mut bob = Client::join(&mut world, 2, true);
        let slot = ActorId(bob.lease.unwrap().actor).slot();
        // Also when the grace time is over: what ada has under her actor may turn up in a later
        // term, and must not be another change than bob's.
        assert_eq!((slot, bob.lease.unwrap().next_seq), (2, 1));
        bob.edit(&mut world, 1);
        ada.reconnect(&mut world, 2, true);
        assert_eq!(ada.subscribed().lease_kept, kept);
        if kept {
            ada.push(&mut world, vec![unsent]);
            assert_eq!((ada.acked, ada.seq()), (2, 3));
        }
    }
}

#[test]
fn an_actor_that_was_given_back_is_leased_again_and_goes_on_from_its_next_seq() {
    let mut world = World::new();
    let mut ada = Client::join(&mut world, 1, true);
    ada.edit(&mut world, 1);
    ada.news();
    world.say(ada.connection, Release { handle: ada.handle });
    assert_eq!(world.hub.stats().leases, 0);
    let bob = Client::join(&mut world, 2, true);
    let lease = bob.lease.unwrap();
    assert_eq!((ActorId(lease.actor).slot(), lease.next_seq), (1, 2));
    ada.edit(&mut world, 1);
    assert!(ada.news().is_empty(), "it gave the lease back");
    assert_eq!(world.hub.stats().accepted_entries, 1);
    world.say(ada.connection, Release { handle: 77 });
    assert_eq!(error_of(&mut world, ada.connection).0, Code::UnknownHandle);
}

#[test]
fn an_actor_that_nobody_gave_back_is_not_leased_again_after_an_eviction_le6() {
    let mut world = World::new();
    let mut ada = Client::join(&mut world, 1, true);
    ada.edit(&mut world, 1);
    ada.news();
    world.tell(Input::Closed { connection: ConnectionId(ada.connection) });
    world.pass(Duration::from_secs(1_000));
    assert_eq!(world.hub.stats().documents, 0);
    let bob = Client::join(&mut world, 2, true);
    assert_eq!(ActorId(bob.lease.unwrap().actor).slot(), 2);
}

/// Proves whatever is said, for as many milliseconds as the token says.
#[derive(Debug)]
struct ForAWhile;

impl Authenticator for ForAWhile {
    fn authenticate(
        &self,
        now: Timestamp,
        claimed: &str,
        token: Option<&str>,
    ) -> Result<Credentials, AuthenticateError> {
        let lasts = Duration::from_millis(token.unwrap_or("0").parse().unwrap());
        let credentials = TakesNames.authenticate(now, claimed, None)?;
        Ok(Credentials { expires: Some(now + lasts), ..credentials })
    }
}

#[test]
fn a_token_that_was_renewed_or_left_behind_wakes_nobody_hs5() {
    let mut world = World::new();
    world.hub = Hub::new(Config::default(), Identity { term: 1, digest_key: key() })
        .with_authenticator(Arc::new(ForAWhile));
    let hello =
        |session, lasts: &str| Hello { token: Some(lasts.to_owned()), ..hello_frame(session, 1) };
    let (renewed, expired, left) = (world.open(), world.open(), world.open());
    world.say(renewed, hello(1, "10000"));
    world.say(expired, hello(2, "10000"));
    world.say(left, hello(3, "3600000"));
    world.say(renewed, Renew { token: "50000".to_owned() });
    world.tell(Input::Closed { connection: ConnectionId(left) });
    world.pass(Duration::from_secs(20));
    assert_eq!(world.closed[&expired], CloseCode::of(Code::TokenExpired));
    assert!(!world.closed.contains_key(&renewed));
    world.pass(Duration::from_secs(30));
    assert_eq!(world.closed[&renewed], CloseCode::of(Code::TokenExpired));
    world.pass(Duration::from_secs(100));
    assert_eq!(world.hub.poll_timeout(), None, "nothing is kept of who is gone");
}

#[test]
fn leaving_and_closing_a_document_end_leases_at_once() {
    let mut world = World::new();
    let mut ada = Client::join(&mut world, 1, true);
    let bob = Client::join(&mut world, 2, true);
    world.say(bob.connection, Unsubscribe { handle: bob.handle });
    assert_eq!((world.hub.stats().leases, world.hub.stats().followers), (1, 1));
    world.say(bob.connection, Unsubscribe { handle: bob.handle });
    assert_eq!(error_of(&mut world, bob.connection).0, Code::UnknownHandle);
    world.say(ada.connection, Bye {});
    assert_eq!(world.hub.stats().leases, 0);
    assert_eq!(world.closed[&ada.connection], CloseCode::NORMAL);
    ada.reconnect(&mut world, 2, true);
}

#[test]
fn an_unused_lease_ends_and_what_was_on_its_way_is_dropped() {
    let mut world = World::new();
    let mut ada = Client::join(&mut world, 1, true);
    world.pass(Duration::from_secs(30));
    ada.edit(&mut world, 1);
    ada.news();
    world.pass(Duration::from_secs(59));
    world.say(ada.connection, Ping { nonce: 0 });
    ada.listen(&mut world);
    assert!(matches!(&ada.news()[..], [ServerFrame::Pong(_)]));
    world.pass(Duration::from_secs(1));
    ada.listen(&mut world);
    assert!(
        matches!(&ada.news()[..], [ServerFrame::LeaseEnded(e)] if e.code == Code::LeaseLost.number())
    );
    ada.edit(&mut world, 1);
    assert!(ada.news().is_empty());
    assert_eq!(world.hub.stats().accepted_entries, 1);
}

#[test]
fn documents_per_connection_are_bounded() {
    let mut world = World::with(Config { documents_max: 2, ..Config::default() }, 1);
    let connection = world.hello(1, 1);
    for (id, fits) in [("a", true), ("b", true), ("c", false), ("a", true)] {
        let address = format!("town/{id}/json");
        world.say(connection, Subscribe { address, cursor: None, outbox: OUTBOX, write: false });
        match &world.heard(connection)[..] {
            [ServerFrame::Subscribed(_)] => assert!(fits),
            [ServerFrame::Error(error)] => {
                assert_eq!(error.code, Code::TooManyDocuments.number());
                assert!(!fits);
            }
            other => panic!("{other:?}"),
        }
    }
    let address = "x".repeat(100_000);
    world.say(connection, Subscribe { address, cursor: None, outbox: OUTBOX, write: false });
    assert_eq!(error_of(&mut world, connection), (Code::BadAddress, false));
}

#[test]
fn who_asks_and_never_reads_is_closed() {
    let mut world = World::with(Config { unread_bytes_max: 1_000, ..Config::default() }, 1);
    let connection = world.hello(1, 1);
    world.stuck.push(connection);
    for nonce in 0..1_000 {
        world.say(connection, Ping { nonce });
    }
    assert_eq!(world.closed[&connection], CloseCode::of(Code::SlowReader));
    assert_eq!(world.hub.stats().connections, 0);
}
