//! Streams: what is taken, what is told and when, and what happens to one that nobody writes any more.

use std::time::Duration;

use super::*;
use crate::ids::StreamAddress;
use crate::limits::STREAM_PIECE_BYTES_MAX;
use crate::stream::{Outcome, digest};
use crate::wire::frame::{
    AppendStream, EndStream, InterruptStream, LeaveStream, ReadStream, StreamAsk, StreamOutcome,
    StreamRefused, StreamStatus, WriteStream,
};

mod limits;
mod rights;

const STREAM: &str = "town/answer/stream";
const FINISHED: StreamOutcome = StreamOutcome::Finished { result: None };

fn log_address() -> Address {
    STREAM.parse::<StreamAddress>().unwrap().log().clone()
}

/// A connection and what it knows of the stream.
struct Talker {
    connection: u64,
    stream: u32,
    /// Where what comes next belongs, and what has come.
    at: u64,
    text: String,
    acked: u64,
    status: Option<StreamStatus>,
    refused: Vec<StreamRefused>,
    interrupted: usize,
    opened: Vec<crate::wire::frame::StreamOpened>,
    /// How many frames of text it took.
    pieces: usize,
}

impl Talker {
    fn join(world: &mut World, session: u8) -> Self {
        Self::on(world.hello(session, 1))
    }

    fn on(connection: u64) -> Self {
        Self {
            connection,
            stream: 0,
            at: 0,
            text: String::new(),
            acked: 0,
            status: None,
            refused: Vec::new(),
            interrupted: 0,
            opened: Vec::new(),
            pieces: 0,
        }
    }

    fn say(&mut self, world: &mut World, frame: impl Into<ClientFrame>) {
        world.say(self.connection, frame);
        self.listen(world);
    }

    fn write(&mut self, world: &mut World, create: bool) {
        let (asked_by, since) = (Some("user2".to_owned()), 0);
        let address = STREAM.to_owned();
        self.say(world, WriteStream { address, create, asked_by, since });
    }

    fn read(&mut self, world: &mut World, from: u64) {
        (self.at, self.status) = (from, None);
        self.say(world, ReadStream { address: STREAM.to_owned(), from, since: 0 });
    }

    fn append(&mut self, world: &mut World, offset: u64, text: &str) {
        let (stream, text) = (self.stream, text.to_owned());
        self.say(world, AppendStream { stream, offset, text });
    }

    fn end(&mut self, world: &mut World, end: u64, outcome: StreamOutcome) {
        let stream = self.stream;
        self.say(world, EndStream { stream, end, outcome });
    }

    fn interrupt(&mut self, world: &mut World) {
        self.say(world, InterruptStream { address: STREAM.to_owned() });
    }

    fn listen(&mut self, world: &mut World) {
        for frame in world.heard(self.connection) {
            match frame {
                ServerFrame::StreamOpened(opened) => {
                    self.stream = opened.stream;
                    if !opened.writes {
                        self.at = opened.at;
                    }
                    self.opened.push(opened);
                }
                ServerFrame::StreamText(piece) => {
                    assert_eq!((piece.stream, piece.offset), (self.stream, self.at), "in order");
                    assert!(piece.text.len() <= STREAM_PIECE_BYTES_MAX);
                    self.at += piece.text.len() as u64;
                    self.text.push_str(&piece.text);
                    self.pieces += 1;
                }
                ServerFrame::StreamAck(ack) => {
                    assert!(ack.end >= self.acked, "acknowledgements do not go back");
                    self.acked = ack.end;
                }
                ServerFrame::StreamStatus(status) => self.status = Some(status),
                ServerFrame::StreamInterrupted(_) => self.interrupted += 1,
                ServerFrame::StreamRefused(refused) => self.refused.push(refused),
                other => panic!("{other:?}"),
            }
        }
    }

    fn outcome(&self) -> Option<Outcome> {
        let outcome = self.status.as_ref()?.outcome.as_ref()?;
        Some(Outcome::read(outcome).unwrap())
    }

    fn refusals(&mut self) -> Vec<(StreamAsk, Code)> {
        let all = std::mem::take(&mut self.refused);
        all.iter().map(|r| (r.asked, Code::from_number(r.code).unwrap())).collect()
    }
}

/// A stream that `user1` writes and `user2` reads.
fn open_stream(world: &mut World) -> (Talker, Talker) {
    open_stream_by(world, 1)
}

fn open_stream_by(world: &mut World, session: u8) -> (Talker, Talker) {
    let mut agent = Talker::join(world, session);
    agent.write(world, true);
    let mut ada = Talker::join(world, 2);
    ada.read(world, 0);
    (agent, ada)
}

#[test]
fn st3_text_is_acknowledged_and_shown_only_once_it_is_durable() {
    let mut world = World::new();
    let (mut agent, mut ada) = open_stream(&mut world);
    assert_eq!(agent.opened[0].producer, "user1");
    assert_eq!(ada.opened[0].asked_by.as_deref(), Some("user2"));
    world.hold_commits = true;
    agent.append(&mut world, 0, "Grüße");
    ada.listen(&mut world);
    assert_eq!((agent.acked, ada.text.as_str()), (0, ""));
    // What comes during a commit is one piece of the next.
    agent.append(&mut world, 7, " aus");
    agent.append(&mut world, 11, " Wien");
    world.release_commit();
    agent.listen(&mut world);
    ada.listen(&mut world);
    assert_eq!((agent.acked, ada.text.as_str()), (7, "Grüße"));
    world.release_commit();
    agent.listen(&mut world);
    ada.listen(&mut world);
    assert_eq!((agent.acked, ada.text.as_str(), ada.pieces), (16, "Grüße aus Wien", 2));
    let entries: usize = world.logs[&log_address()].records.iter().map(|r| r.entries.len()).sum();
    assert_eq!(entries, 3, "made, and two pieces");
    assert_eq!(world.hub.stats().pending_bytes, 0);
}

#[test]
fn st1_a_stream_is_there_once_it_is_durable_and_made_once() {
    let mut world = World::new();
    world.hold_commits = true;
    let mut agent = Talker::join(&mut world, 1);
    agent.write(&mut world, true);
    let mut ada = Talker::join(&mut world, 2);
    ada.read(&mut world, 0);
    assert!(agent.opened.is_empty() && ada.opened.is_empty());
    // Asked again, as after a lost answer.
    agent.write(&mut world, true);
    world.release_commit();
    agent.listen(&mut world);
    ada.listen(&mut world);
    assert_eq!((agent.opened.len(), ada.opened.len()), (1, 1));
    agent.write(&mut world, true);
    assert_eq!(agent.opened.len(), 2);
    assert_eq!(world.logs[&log_address()].records.len(), 1);
    assert_eq!(agent.opened[0].created_ms, agent.opened[1].created_ms);
}

#[test]
fn st1_a_writer_hears_of_all_of_its_text_before_it_goes_on() {
    let mut world = World::new();
    let (mut agent, _) = open_stream(&mut world);
    world.hold_commits = true;
    agent.append(&mut world, 0, "on its way");
    let leave = LeaveStream { stream: agent.stream, writes: true };
    agent.say(&mut world, leave);
    agent.write(&mut world, false);
    assert_eq!(agent.opened.len(), 1, "what it said may be durable in a moment");
    world.release_commit();
    agent.listen(&mut world);
    assert_eq!(agent.opened.last().map(|opened| opened.at), Some(10));
    assert_eq!(agent.acked, 0, "nobody wrote it when that became durable");
}

#[test]
fn st1_what_nobody_has_made_is_not_there_and_leaves_nothing() {
    let mut world = World::new();
    let mut ada = Talker::join(&mut world, 2);
    ada.read(&mut world, 0);
    ada.write(&mut world, false);
    ada.interrupt(&mut world);
    let all = [StreamAsk::Read, StreamAsk::Write, StreamAsk::Interrupt];
    assert_eq!(ada.refusals(), all.map(|asked| (asked, Code::NoStream)));
    assert_eq!(world.hub.stats().streams, 0);
    let address = "town/answer/json".to_owned();
    ada.say(&mut world, ReadStream { address, from: 0, since: 0 });
    assert_eq!(ada.refusals(), [(StreamAsk::Read, Code::BadAddress)]);
}

#[test]
fn st2_what_is_there_already_is_answered_and_what_differs_or_leaves_a_gap_is_refused() {
    let mut world = World::new();
    let (mut agent, mut ada) = open_stream(&mut world);
    agent.append(&mut world, 0, "Grüße");
    agent.append(&mut world, 0, "Grüße");
    agent.append(&mut world, 2, "üße aus");
    ada.listen(&mut world);
    assert_eq!((ada.text.as_str(), agent.acked), ("Grüße aus", 11));
    assert_eq!(agent.refusals(), []);
    for (offset, text, code) in [
        (12, "x", Code::StreamGap),
        (0, "Gruesse", Code::StreamConflict),
        (3, "x", Code::StreamConflict),
        (u64::MAX, "x", Code::StreamGap),
    ] {
        agent.append(&mut world, offset, text);
        assert_eq!(agent.refusals(), [(StreamAsk::Write, code)], "{offset} {text}");
        // What was said before it heard of that is passed over (ST6).
        agent.append(&mut world, 11, "!");
        assert_eq!(agent.refusals(), []);
        agent.write(&mut world, true);
    }
    ada.listen(&mut world);
    assert_eq!(ada.text, "Grüße aus");
}

#[test]
fn st2_text_that_is_repeated_before_it_is_durable_is_acknowledged_when_it_is() {
    let mut world = World::new();
    let (mut agent, _) = open_stream(&mut world);
    world.hold_commits = true;
    agent.append(&mut world, 0, "once");
    agent.append(&mut world, 0, "once");
    assert_eq!(agent.acked, 0);
    world.release_commit();
    agent.listen(&mut world);
    assert_eq!((agent.acked, world.held_commit.is_some()), (4, false));
}

#[test]
fn st5_a_reader_goes_on_from_its_offset_and_hears_how_things_stand_after_the_text() {
    let mut world = World::new();
    let (mut agent, mut ada) = open_stream(&mut world);
    assert_eq!(ada.status.as_ref().map(|status| status.end), Some(0));
    let long = "€".repeat(20_000);
    for part in 0..3 {
        agent.append(&mut world, part * 60_000, &long);
    }
    agent.end(&mut world, 180_000, FINISHED);
    ada.listen(&mut world);
    assert_eq!((ada.at, ada.outcome()), (180_000, Some(Outcome::Finished { result: None })));
    // Another one comes later, and one comes back.
    let mut bob = Talker::join(&mut world, 3);
    bob.read(&mut world, 0);
    assert_eq!((&bob.text, bob.outcome()), (&ada.text, ada.outcome()));
    assert_eq!(bob.pieces, 3, "as large as pieces may be");
    bob.read(&mut world, 150_000);
    assert_eq!((bob.opened[1].at, bob.at), (150_000, 180_000));
    assert_eq!(bob.opened[1].since, 0);
    assert_eq!(bob.opened[1].digest, digest(&ada.text.as_bytes()[..150_000]));
    // Between characters, and beyond the end, there is nothing to go on from.
    for from in [150_001, 180_001, u64::MAX] {
        bob.text.clear();
        bob.read(&mut world, from);
        assert_eq!((bob.opened.last().unwrap().at, bob.text.len()), (0, 180_000), "{from}");
    }
}

#[test]
fn st5_a_digest_is_never_of_more_than_a_window() {
    let config = Config { stream_window_bytes: 10, ..Config::default() };
    let mut world = World::with(config, 1);
    let (mut agent, _) = open_stream(&mut world);
    for at in 0..5 {
        agent.append(&mut world, at * 8, "abcdefgh");
    }
    agent.write(&mut world, true);
    let opened = agent.opened.last().unwrap();
    assert_eq!((opened.since, opened.at), (30, 40));
    assert_eq!(opened.digest, digest(b"ghabcdefgh"));
}

#[test]
fn st5_many_readers_get_the_same_bytes_and_a_slow_one_holds_up_nobody() {
    let mut world = World::with(Config { outstanding_bytes_max: 64 << 10, ..Config::default() }, 1);
    let (mut agent, mut ada) = open_stream(&mut world);
    let mut slow = Talker::join(&mut world, 3);
    slow.read(&mut world, 0);
    world.stuck.push(slow.connection);
    let piece = "x".repeat(10_000);
    for at in 0..100_u64 {
        agent.append(&mut world, at * 10_000, &piece);
    }
    ada.listen(&mut world);
    assert_eq!((ada.at, agent.acked), (1_000_000, 1_000_000));
    slow.listen(&mut world);
    assert!(slow.at <= (64 << 10) + 10_000, "{} bytes are under way", slow.at);
    // It reads on where it was, in larger pieces.
    world.stuck.clear();
    world.drain(slow.connection);
    slow.listen(&mut world);
    assert!(slow.text == ada.text, "{} bytes have come", slow.text.len());
    assert!(slow.pieces < 30, "{} pieces", slow.pieces);
}

#[test]
fn a_stream_goes_on_after_a_restart_as_it_was() {
    let mut world = World::new();
    let (mut agent, _) = open_stream(&mut world);
    agent.append(&mut world, 0, "The answer ");
    let mut world = world.restarted();
    let mut agent = Talker::join(&mut world, 1);
    agent.write(&mut world, true);
    assert_eq!((agent.opened[0].at, agent.opened[0].digest), (11, digest(b"The answer ")));
    agent.append(&mut world, 11, "is 42");
    agent.end(&mut world, 16, FINISHED);
    let mut world = world.restarted();
    let mut ada = Talker::join(&mut world, 2);
    ada.read(&mut world, 4);
    assert_eq!((ada.text.as_str(), ada.at), ("answer is 42", 16));
    assert_eq!(ada.outcome(), Some(Outcome::Finished { result: None }));
}

#[test]
fn st8_an_interrupt_is_stored_and_heard_and_a_last_word_is_taken() {
    let mut world = World::new();
    let (mut agent, mut ada) = open_stream(&mut world);
    agent.append(&mut world, 0, "so");
    world.hold_commits = true;
    ada.interrupt(&mut world);
    agent.listen(&mut world);
    assert_eq!((ada.interrupted, &agent.status.as_ref().unwrap().interrupted_by), (0, &None));
    world.release_commit();
    agent.listen(&mut world);
    ada.listen(&mut world);
    world.hold_commits = false;
    let by = Some("user2".to_owned());
    assert_eq!((ada.interrupted, &agent.status.as_ref().unwrap().interrupted_by), (1, &by));
    assert_eq!(ada.status.as_ref().unwrap().interrupted_by, by);
    // Asked again it is answered again.
    ada.interrupt(&mut world);
    assert_eq!(ada.interrupted, 2);
    agent.append(&mut world, 2, " …");
    agent.end(&mut world, 6, StreamOutcome::Interrupted);
    ada.listen(&mut world);
    assert_eq!((ada.text.as_str(), ada.outcome()), ("so …", Some(Outcome::Interrupted)));
    ada.interrupt(&mut world);
    assert_eq!(ada.interrupted, 3, "after the end there is nothing to interrupt");
}

#[test]
fn st8_a_writer_that_comes_back_hears_of_the_interrupt_also_after_a_restart() {
    let mut world = World::new();
    let (agent, mut ada) = open_stream(&mut world);
    world.tell(Input::Closed { connection: ConnectionId(agent.connection) });
    ada.interrupt(&mut world);
    let mut world = world.restarted();
    let mut agent = Talker::join(&mut world, 1);
    agent.write(&mut world, false);
    assert_eq!(agent.status.unwrap().interrupted_by.as_deref(), Some("user2"));
}

#[test]
fn st8_an_interrupted_stream_that_goes_on_is_closed() {
    let mut world = World::new();
    let (mut agent, mut ada) = open_stream(&mut world);
    ada.interrupt(&mut world);
    agent.append(&mut world, 0, "and another thing");
    let grace = world.hub.config.stream_interrupt_grace;
    world.pass(grace - Duration::from_millis(1));
    ada.listen(&mut world);
    assert_eq!(ada.outcome(), None);
    world.pass(Duration::from_millis(1));
    ada.listen(&mut world);
    agent.listen(&mut world);
    assert_eq!(ada.outcome(), Some(Outcome::Interrupted));
    assert_eq!((ada.text.as_str(), agent.outcome()), ("and another thing", ada.outcome()));
    agent.append(&mut world, 17, "!");
    assert_eq!(agent.refusals(), [(StreamAsk::Write, Code::StreamEnded)]);
    // The same after a restart in which the time ran out.
    let mut world = World::new();
    let (_, mut ada) = open_stream(&mut world);
    ada.interrupt(&mut world);
    let mut world = world.restarted();
    world.now = world.now + grace;
    let mut ada = Talker::join(&mut world, 2);
    ada.read(&mut world, 0);
    assert_eq!(ada.outcome(), Some(Outcome::Interrupted));
}

#[test]
fn st9_a_stream_without_its_writer_stalls_and_is_in_the_end_abandoned() {
    let mut world = World::new();
    let (mut agent, mut ada) = open_stream(&mut world);
    agent.append(&mut world, 0, "so");
    ada.listen(&mut world);
    assert_eq!(ada.status.as_ref().unwrap().stalled_since_ms, None);
    let left = world.now;
    world.tell(Input::Closed { connection: ConnectionId(agent.connection) });
    ada.listen(&mut world);
    let status = ada.status.clone().unwrap();
    // A disconnect never interrupts (ST8).
    assert_eq!((status.stalled_since_ms, status.interrupted_by), (Some(left.0), None));
    let mut agent = Talker::on(world.hello(1, 2));
    agent.write(&mut world, false);
    ada.listen(&mut world);
    assert_eq!(ada.status.as_ref().unwrap().stalled_since_ms, None);
    let stream = agent.stream;
    agent.say(&mut world, LeaveStream { stream, writes: true });
    ada.listen(&mut world);
    assert!(ada.status.as_ref().unwrap().stalled_since_ms.is_some());
    // Nobody looks when its time is up; who looks later finds it ended.
    let mut world = world.restarted();
    world.now = world.now + world.hub.config.stream_abandon_after;
    let mut ada = Talker::join(&mut world, 2);
    ada.read(&mut world, 0);
    assert_eq!((ada.text.as_str(), ada.outcome()), ("so", Some(Outcome::Abandoned)));
    let mut agent = Talker::join(&mut world, 1);
    agent.write(&mut world, true);
    assert_eq!(agent.outcome(), Some(Outcome::Abandoned));
}

#[test]
fn st9_a_stream_that_somebody_watches_is_abandoned_in_time() {
    let abandon = Duration::from_secs(50);
    let config = Config { stream_abandon_after: abandon, ..Config::default() };
    let mut world = World::with(config, 1);
    let (agent, mut ada) = open_stream(&mut world);
    world.tell(Input::Closed { connection: ConnectionId(agent.connection) });
    world.pass(abandon);
    ada.listen(&mut world);
    assert_eq!(ada.outcome(), Some(Outcome::Abandoned));
}

#[test]
fn st7_a_stream_ends_where_its_writer_says_and_only_once() {
    let mut world = World::new();
    let (mut agent, mut ada) = open_stream(&mut world);
    agent.append(&mut world, 0, "so");
    let failed = || StreamOutcome::Failed { reason: "out of power".to_owned() };
    for (end, outcome, code) in [
        (3, FINISHED, Code::StreamGap),
        (1, FINISHED, Code::StreamConflict),
        (2, StreamOutcome::Interrupted, Code::BadCommand),
        (2, StreamOutcome::Abandoned, Code::BadCommand),
    ] {
        agent.end(&mut world, end, outcome);
        assert_eq!(agent.refusals(), [(StreamAsk::Write, code)], "{end}");
        agent.write(&mut world, true);
    }
    agent.end(&mut world, 2, failed());
    ada.listen(&mut world);
    let outcome = Some(Outcome::Failed { reason: "out of power".to_owned() });
    assert_eq!((ada.outcome(), agent.outcome()), (outcome.clone(), outcome.clone()));
    // The answer was lost, and it is said again.
    agent.status = None;
    agent.end(&mut world, 2, failed());
    assert_eq!((agent.outcome(), agent.refusals()), (outcome, vec![]));
    agent.end(&mut world, 2, FINISHED);
    assert_eq!(agent.refusals(), [(StreamAsk::Write, Code::StreamEnded)]);
    assert_eq!(world.logs[&log_address()].records.len(), 3);
}
