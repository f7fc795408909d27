//! What the hub counts, how far behind it says that followers are, and over what time it spreads
//! those whom it sends away.

use super::*;

#[test]
fn a_follower_that_takes_nothing_is_behind_by_what_it_was_not_sent_and_then_is_not() {
    let config = Config { outstanding_bytes_max: 1, ..Config::default() };
    let mut world = World::with(config, 1);
    let mut ada = Client::join(&mut world, 1, true);
    let bob = Client::join(&mut world, 2, false);
    world.stuck.push(bob.connection);
    ada.edit(&mut world, 3);
    ada.edit(&mut world, 2);
    let stats = world.hub.stats();
    assert!(stats.outstanding_bytes > 0);
    // The first record filled what may be under way.
    assert_eq!((stats.behind, stats.lag_entries, stats.lag_entries_max), (1, 2, 2));
    world.stuck.clear();
    world.drain(bob.connection);
    let stats = world.hub.stats();
    assert_eq!((stats.behind, stats.lag_entries, stats.outstanding_bytes), (0, 0, 0));
}

#[test]
fn what_is_accepted_and_evicted_is_counted_for_good() {
    let mut world = World::new();
    let mut ada = Client::join(&mut world, 1, true);
    ada.edit(&mut world, 3);
    world.say(ada.connection, Bye {});
    world.pass(Duration::from_secs(300));
    assert_eq!(world.hub.stats().documents, 0);
    let Counters { accepted_entries, accepted_bytes, accepted_ops, evictions } =
        world.hub.counters();
    assert_eq!((accepted_entries, accepted_ops, evictions), (3, 3, 1));
    let stored: usize = world.logs[&address()].records.iter().map(Record::change_bytes).sum();
    assert_eq!(accepted_bytes, stored as u64);
}

/// When everybody is told to come back by a hub that sends so many away.
fn returns(count: u8, jitter: u64) -> Vec<u32> {
    let config = Config { returns_per_second: 10, ..Config::default() };
    let mut world = World::with(config, 1);
    world.hub.jitter = jitter;
    let connections: Vec<u64> = (1..=count).map(|session| world.hello(session, 1)).collect();
    world.tell(Input::Shutdown);
    assert!(world.stopped);
    let goodbye = |connection| match world.heard(connection).pop() {
        Some(ServerFrame::Goodbye(goodbye)) => goodbye.retry_after_ms.unwrap(),
        other => panic!("{other:?}"),
    };
    connections.into_iter().map(goodbye).collect()
}

#[test]
fn the_more_are_sent_away_the_longer_they_are_spread_gb1() {
    let few = returns(5, 7);
    assert!(few.iter().all(|ms| (500..=3_000).contains(ms)), "{few:?}");
    let many = returns(200, 7);
    // 200 at 10 a second.
    assert!(many.iter().all(|ms| (500..=20_500).contains(ms)), "{many:?}");
    for quarter in 0..4 {
        let from = 500 + quarter * 5_000;
        let there = many.iter().filter(|ms| (from..from + 5_000).contains(*ms)).count();
        assert!((25..=75).contains(&there), "{there} of 200 come in quarter {quarter}");
    }
    assert_eq!(many, returns(200, 7), "the same number draws the same");
    assert_ne!(many, returns(200, 8));
}
