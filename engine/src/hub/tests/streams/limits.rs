//! What streams may take, and that nothing stays when everybody has left.

use super::*;

#[test]
fn st4_more_than_a_window_ahead_of_the_disk_is_refused() {
    let config = Config { stream_window_bytes: 100, ..Config::default() };
    let mut world = World::with(config, 1);
    let (mut agent, mut ada) = open_stream(&mut world);
    assert_eq!(agent.opened[0].window_bytes, 100);
    world.hold_commits = true;
    agent.append(&mut world, 0, &"x".repeat(60));
    agent.append(&mut world, 60, &"x".repeat(40));
    assert_eq!(agent.refusals(), []);
    agent.append(&mut world, 100, "x");
    assert_eq!(agent.refusals(), [(StreamAsk::Write, Code::StreamWindow)]);
    world.finish_commit();
    world.hold_commits = false;
    agent.write(&mut world, true);
    agent.append(&mut world, 100, &"x".repeat(100));
    ada.listen(&mut world);
    assert_eq!((ada.at, agent.refusals()), (200, vec![]));
    agent.append(&mut world, 200, &"x".repeat(STREAM_PIECE_BYTES_MAX + 1));
    assert_eq!(agent.refusals(), [(StreamAsk::Write, Code::StreamWindow)]);
}

#[test]
fn st4_a_stream_has_so_many_bytes_and_pieces_and_no_more() {
    let config = Config { stream_bytes_max: 10, stream_pieces_max: 4, ..Config::default() };
    let mut world = World::with(config, 1);
    let (mut agent, _) = open_stream(&mut world);
    agent.append(&mut world, 0, "0123456789");
    agent.append(&mut world, 10, "x");
    assert_eq!(agent.refusals(), [(StreamAsk::Write, Code::StreamFull)]);
    agent.write(&mut world, true);
    agent.end(&mut world, 10, FINISHED);
    assert_eq!(agent.outcome(), Some(Outcome::Finished { result: None }));
    let mut world = World::with(config, 1);
    let (mut agent, _) = open_stream(&mut world);
    for at in 0..4 {
        agent.append(&mut world, at, "x");
    }
    assert_eq!((agent.acked, agent.refusals()), (4, vec![]));
    agent.append(&mut world, 4, "x");
    assert_eq!(agent.refusals(), [(StreamAsk::Write, Code::StreamFull)]);
}

#[test]
fn st4_a_connection_has_so_many_streams_open() {
    let mut world = World::with(Config { streams_max: 2, ..Config::default() }, 1);
    let mut agent = Talker::join(&mut world, 1);
    let open = |agent: &mut Talker, world: &mut World, id: u8| {
        let (address, asked_by) = (format!("town/answer{id}/stream"), None);
        agent.say(world, WriteStream { address, create: true, asked_by, since: 0 });
    };
    open(&mut agent, &mut world, 1);
    open(&mut agent, &mut world, 2);
    open(&mut agent, &mut world, 2);
    assert_eq!(agent.refusals(), []);
    open(&mut agent, &mut world, 3);
    assert_eq!(agent.refusals(), [(StreamAsk::Write, Code::TooManyStreams)]);
    let stream = agent.stream;
    agent.say(&mut world, LeaveStream { stream, writes: true });
    open(&mut agent, &mut world, 3);
    assert_eq!(agent.refusals(), []);
    // A question that is answered holds nothing open.
    let mut ada = Talker::join(&mut world, 2);
    for id in 0..9 {
        let address = format!("town/none{id}/stream");
        ada.say(&mut world, InterruptStream { address });
    }
    assert_eq!(ada.refusals(), [(StreamAsk::Interrupt, Code::NoStream); 9]);
}

#[test]
fn streams_that_nobody_uses_leave_memory_and_sooner_where_it_is_scarce() {
    let config = Config { live_stream_bytes_max: 100, ..Config::default() };
    let mut world = World::with(config, 1);
    let (mut agent, ada) = open_stream(&mut world);
    agent.append(&mut world, 0, &"x".repeat(200));
    // No room for what is not there yet, as long as this one is used.
    let mut bob = Talker::join(&mut world, 3);
    let other = || ReadStream { address: "town/other/stream".to_owned(), from: 0, since: 0 };
    bob.say(&mut world, other());
    assert_eq!(bob.refusals(), [(StreamAsk::Read, Code::Overloaded)]);
    agent.append(&mut world, 200, "x");
    let refused = agent.refused.last().unwrap();
    assert!(refused.retry_after_ms.is_some());
    assert_eq!(agent.refusals(), [(StreamAsk::Write, Code::Overloaded)]);
    for connection in [agent.connection, ada.connection] {
        world.tell(Input::Closed { connection: ConnectionId(connection) });
    }
    assert_eq!(world.hub.stats().streams, 1);
    bob.say(&mut world, other());
    assert_eq!(bob.refusals(), [(StreamAsk::Read, Code::NoStream)]);
    assert_eq!((world.hub.stats().streams, world.hub.stats().stream_bytes), (0, 0));
    // With time, all of it goes.
    let mut world = World::new();
    let (mut agent, ada) = open_stream(&mut world);
    agent.append(&mut world, 0, "so");
    for connection in [agent.connection, ada.connection] {
        world.tell(Input::Closed { connection: ConnectionId(connection) });
    }
    let day = Duration::from_secs(24 * 60 * 60);
    world.pass(day);
    let stats = world.hub.stats();
    assert_eq!((stats.streams, stats.stream_bytes, stats.stream_followers), (0, 0, 0));
    assert!(world.hub.spaces.is_empty() && world.hub.poll_timeout().is_none());
}

#[test]
fn a_stream_whose_log_does_not_read_is_left_as_it_is() {
    let mut world = World::new();
    let (_agent, _ada) = open_stream(&mut world);
    let mut world = world.restarted();
    let log = world.logs.get_mut(&log_address()).unwrap();
    log.records[0].entries[0].at = Timestamp(77);
    let before = log.records.clone();
    let mut agent = Talker::join(&mut world, 1);
    agent.write(&mut world, true);
    assert!(agent.refused[0].retry_after_ms.is_some());
    assert_eq!(agent.refusals(), [(StreamAsk::Write, Code::DocumentUnavailable)]);
    assert_eq!((&world.logs[&log_address()].records, world.hub.stats().streams), (&before, 0));
}

#[test]
fn what_is_accepted_when_the_server_ends_is_made_durable_first() {
    let mut world = World::new();
    let (mut agent, mut ada) = open_stream(&mut world);
    world.hold_commits = true;
    agent.append(&mut world, 0, "so");
    agent.append(&mut world, 2, " far");
    world.tell(Input::Shutdown);
    assert!(!world.stopped);
    world.finish_commit();
    assert!(world.stopped);
    let heard = world.heard(agent.connection);
    let acked = heard.iter().filter_map(|frame| match frame {
        ServerFrame::StreamAck(ack) => Some(ack.end),
        _ => None,
    });
    assert_eq!(acked.last(), Some(6));
    let seen = world.heard(ada.connection);
    assert!(matches!(seen.last(), Some(ServerFrame::Goodbye(_))));
    ada.connection = 0;
}
