//! A session's streams against a server that a test plays by hand.

use std::time::Duration;

use crate::codes::Code;
use crate::ids::{StreamAddress, UserId};
use crate::session::tests::{Bench, welcome};
use crate::session::{Input, ReaderId, StreamError};
use crate::stream::{Outcome, digest};
use crate::wire::ClientFrame;
use crate::wire::frame::{
    AppendStream, EndStream, InterruptStream, LeaveStream, ReadStream, StreamAck, StreamAsk,
    StreamInterrupted, StreamOpened, StreamOutcome, StreamRefused, StreamStatus, StreamText,
    WriteStream,
};

const FINISHED: StreamOutcome = StreamOutcome::Finished { result: None };

fn address() -> StreamAddress {
    "town/answer/stream".parse().unwrap()
}

fn opened(writes: bool, since: u64, at: u64, between: &str) -> StreamOpened {
    StreamOpened {
        address: address().to_string(),
        stream: 3,
        writes,
        at,
        since,
        digest: digest(between.as_bytes()),
        producer: "ada".to_owned(),
        asked_by: Some("bob".to_owned()),
        created_ms: 5,
        window_bytes: 100,
    }
}

fn status(end: u64, outcome: Option<StreamOutcome>) -> StreamStatus {
    StreamStatus { stream: 3, end, interrupted_by: None, stalled_since_ms: None, outcome }
}

fn refused(asked: StreamAsk, code: Code, retry_after_ms: Option<u32>) -> StreamRefused {
    let (address, message) = (address().to_string(), "no".to_owned());
    StreamRefused { address, asked, code: code.number(), message, retry_after_ms }
}

impl Bench {
    /// In contact, with nothing open.
    fn met() -> Self {
        let mut bench = Self::new();
        bench.store_all();
        bench.tell(Input::SetOnline(true));
        bench.meet_again();
        bench
    }

    /// Connects and is welcomed.
    fn meet_again(&mut self) {
        self.tell(Input::Connected { connection: self.connection });
        self.server_says(welcome());
        self.frames();
    }

    fn come_back(&mut self) {
        self.lose_connection();
        let before = self.connects;
        while self.connects == before {
            self.wake();
        }
        self.tell(Input::Connected { connection: self.connection });
        self.sent.clear();
        self.server_says(welcome());
    }

    /// What the session sent about streams.
    fn frames(&mut self) -> Vec<ClientFrame> {
        self.drain();
        let hello = |frame: &ClientFrame| matches!(frame, ClientFrame::Hello(_));
        self.sent.drain(..).filter(|frame| !hello(frame)).collect()
    }

    fn writes(&mut self) {
        self.session.write_stream(self.now, &address(), true, None).unwrap();
        let frame = WriteStream {
            address: address().to_string(),
            create: true,
            asked_by: None,
            since: u64::MAX,
        };
        assert_eq!(self.frames(), [frame.into()]);
        self.server_says(opened(true, 0, 0, ""));
    }

    fn append(&mut self, text: &str) -> usize {
        self.session.append_stream(self.now, &address(), text).unwrap()
    }

    fn reads(&mut self, from: u64) -> ReaderId {
        let id = self.session.read_stream(self.now, &address(), from);
        self.drain();
        id
    }

    fn takes(&mut self, id: ReaderId) -> Option<(u64, String, bool)> {
        let taken = self.session.take_text(self.now, id)?;
        Some((taken.offset, taken.text, taken.restarted))
    }

    fn text(&mut self, offset: u64, text: &str) {
        self.server_says(StreamText { stream: 3, offset, text: text.to_owned() });
    }
}

fn append(offset: u64, text: &str) -> ClientFrame {
    AppendStream { stream: 3, offset, text: text.to_owned() }.into()
}

fn read(from: u64, since: u64) -> ClientFrame {
    ReadStream { address: address().to_string(), from, since }.into()
}

#[test]
fn st4_the_app_is_ahead_by_a_window_and_what_is_small_waits_to_be_joined() {
    let mut bench = Bench::met();
    assert_eq!(bench.session.append_stream(bench.now, &address(), "x"), Err(StreamError::NotOpen));
    bench.writes();
    assert_eq!(bench.append("so "), 3);
    assert_eq!(bench.append("far "), 4);
    assert_eq!(bench.append(&"ü".repeat(60)), 92, "the window, between characters");
    assert_eq!(bench.append("x"), 1);
    assert_eq!(bench.append("x"), 0);
    assert_eq!(bench.frames(), [append(0, "so ")]);
    bench.server_says(StreamAck { stream: 3, end: 3 });
    let rest = format!("far {}x", "ü".repeat(46));
    assert_eq!(bench.frames(), [append(3, &rest)]);
    assert_eq!(bench.append("abcd"), 3);
    let state = bench.session.stream_writer(&address()).unwrap();
    assert_eq!((state.written, state.durable), (103, 3));
}

#[test]
fn st3_an_acknowledgement_of_what_was_not_sent_is_of_another_devices_text() {
    let mut bench = Bench::met();
    bench.writes();
    bench.append("mine");
    bench.frames();
    bench.server_says(StreamAck { stream: 3, end: 9 });
    assert_eq!(bench.frames(), [LeaveStream { stream: 3, writes: true }.into()]);
    let failed = bench.session.stream_writer(&address()).unwrap().failed;
    assert_eq!(failed.map(|error| error.code()), Some(Code::StreamConflict));
    assert_eq!(bench.hung_up, 0, "it is nobody's mistake");
}

#[test]
fn st5_a_writer_goes_on_from_where_the_server_is() {
    let mut bench = Bench::met();
    bench.writes();
    bench.append("The answer");
    bench.server_says(StreamAck { stream: 3, end: 4 });
    bench.append(" is 42");
    bench.come_back();
    let frames = bench.frames();
    let ClientFrame::WriteStream(frame) = &frames[0] else { panic!("{frames:?}") };
    assert_eq!(frame.since, 4, "the digest of what has no answer");
    bench.server_says(opened(true, 4, 10, "answer"));
    assert_eq!(bench.frames(), [append(10, " is 42")]);
    assert_eq!(bench.session.stream_writer(&address()).unwrap().durable, 10);
    bench.server_says(StreamAck { stream: 3, end: 16 });
    bench.session.end_stream(bench.now, &address(), Outcome::Finished { result: None }).unwrap();
    let end = EndStream { stream: 3, end: 16, outcome: FINISHED };
    assert_eq!(bench.frames(), [end.clone().into()]);
    // The answer is lost: it is said again.
    bench.come_back();
    bench.frames();
    bench.server_says(opened(true, 16, 16, ""));
    assert_eq!(bench.frames(), [end.into()]);
    bench.server_says(status(16, Some(FINISHED)));
    let state = bench.session.stream_writer(&address()).unwrap();
    assert_eq!(state.status.outcome, Some(Outcome::Finished { result: None }));
    let again = bench.session.append_stream(bench.now, &address(), "x");
    assert_eq!(again, Err(StreamError::Ended));
}

#[test]
fn st5_a_writer_that_finds_other_text_or_less_than_was_acknowledged_fails() {
    for (since, at, between, code) in [
        (4, 10, "rubbish", Code::StreamConflict),
        (4, 30, "answer", Code::StreamConflict),
        (5, 10, "nswer", Code::StreamConflict),
        (3, 3, "", Code::StreamGap),
    ] {
        let mut bench = Bench::met();
        bench.writes();
        bench.append("The answer");
        bench.server_says(StreamAck { stream: 3, end: 4 });
        bench.come_back();
        bench.server_says(opened(true, since, at, between));
        let error = bench.session.append_stream(bench.now, &address(), "x").unwrap_err();
        assert_eq!(error.code(), code, "{between}");
        assert_eq!(bench.session.stats().next_attempt, None, "the connection goes on");
    }
}

#[test]
fn st6_a_refused_writer_is_told_and_one_that_is_to_wait_comes_back() {
    let mut bench = Bench::met();
    bench.writes();
    bench.append("so");
    bench.frames();
    bench.server_says(refused(StreamAsk::Write, Code::Overloaded, Some(700)));
    assert_eq!(bench.append(" far"), 4);
    assert_eq!(bench.wake(), Duration::from_millis(700));
    assert!(matches!(bench.frames()[..], [ClientFrame::WriteStream(_)]));
    bench.server_says(opened(true, 0, 0, ""));
    assert_eq!(bench.frames(), [append(0, "so far")]);
    bench.server_says(refused(StreamAsk::Write, Code::StreamFull, None));
    let error = bench.session.append_stream(bench.now, &address(), "x").unwrap_err();
    assert_eq!(error.code(), Code::StreamFull);
    bench.come_back();
    assert_eq!(bench.frames(), [], "it is not opened again");
}

#[test]
fn st5_a_reader_goes_on_from_its_offset_after_each_reconnect() {
    let mut bench = Bench::met();
    let id = bench.reads(0);
    assert_eq!(bench.frames(), [read(0, 0)]);
    bench.server_says(opened(false, 0, 0, ""));
    bench.text(0, "The answer");
    bench.server_says(status(10, None));
    assert_eq!(bench.session.stream_reader(id).unwrap().status, None, "the text comes first");
    assert_eq!(bench.takes(id), Some((0, "The answer".to_owned(), false)));
    assert_eq!(bench.takes(id), None);
    assert!(bench.session.stream_reader(id).unwrap().status.is_some());
    bench.come_back();
    assert_eq!(bench.frames(), [read(10, 0)]);
    bench.server_says(opened(false, 0, 10, "The answer"));
    bench.text(10, " is 42");
    bench.server_says(status(16, Some(FINISHED)));
    // It has all, and so leaves, and does not come back.
    assert_eq!(bench.frames(), [LeaveStream { stream: 3, writes: false }.into()]);
    bench.come_back();
    assert_eq!(bench.frames(), []);
    assert_eq!(bench.takes(id), Some((10, " is 42".to_owned(), false)));
    let state = bench.session.stream_reader(id).unwrap();
    assert_eq!(state.status.unwrap().outcome, Some(Outcome::Finished { result: None }));
    assert_eq!(state.origin.unwrap().asked_by, Some(UserId::new("bob").unwrap()));
}

#[test]
fn st5_a_reader_that_has_other_text_than_the_server_begins_anew() {
    for answer in [opened(false, 0, 10, "Gibberish!"), opened(false, 0, 0, "")] {
        let mut bench = Bench::met();
        let id = bench.reads(0);
        bench.server_says(opened(false, 0, 0, ""));
        bench.text(0, "The answer");
        bench.takes(id);
        bench.come_back();
        bench.frames();
        let at = answer.at;
        bench.server_says(answer);
        if at > 0 {
            assert_eq!(bench.frames(), [read(0, 0)]);
            bench.server_says(opened(false, 0, 0, ""));
        }
        bench.text(0, "Something");
        assert_eq!(bench.takes(id), Some((0, "Something".to_owned(), true)));
        bench.text(9, " else");
        assert_eq!(bench.takes(id), Some((9, " else".to_owned(), false)));
        assert_eq!(bench.hung_up, 0);
    }
}

#[test]
fn st5_a_reader_ahead_of_another_begins_anew_where_the_server_has_less_or_other_text() {
    for text in ["", "The", "Something else"] {
        let mut bench = Bench::met();
        let ahead = bench.reads(0);
        bench.server_says(opened(false, 0, 0, ""));
        bench.text(0, "The answer");
        assert_eq!(bench.takes(ahead), Some((0, "The answer".to_owned(), false)));
        let behind = bench.reads(0);
        bench.come_back();
        // The question is about the place of the hindmost, and its answer says nothing of the other's.
        assert_eq!(bench.frames(), [read(0, 0)]);
        bench.server_says(opened(false, 0, 0, ""));
        let told = |bench: &mut Bench| {
            if !text.is_empty() {
                bench.text(0, text);
            }
            bench.server_says(status(text.len() as u64, None));
        };
        told(&mut bench);
        if !text.is_empty() {
            assert_eq!(bench.frames(), [read(0, 0)], "{text}");
            bench.server_says(opened(false, 0, 0, ""));
            told(&mut bench);
            assert_eq!(bench.takes(behind), Some((0, text.to_owned(), false)));
        }
        assert_eq!(bench.takes(ahead), Some((0, text.to_owned(), true)));
        assert_eq!((bench.takes(ahead), bench.takes(behind)), (None, None));
        assert!(bench.session.stream_reader(ahead).unwrap().status.is_some());
        bench.text(text.len() as u64, "!");
        assert_eq!(bench.takes(ahead), Some((text.len() as u64, "!".to_owned(), false)));
        assert_eq!((bench.frames(), bench.hung_up), (Vec::new(), 0));
    }
}

#[test]
fn readers_of_one_stream_share_it_and_one_that_takes_nothing_is_waited_for() {
    let mut bench = Bench::met();
    let slow = bench.reads(0);
    bench.server_says(opened(false, 0, 0, ""));
    let piece = "x".repeat(60_000);
    bench.text(0, &piece);
    let quick = bench.reads(60_000);
    bench.frames();
    for at in 1..10 {
        bench.text(at * 60_000, &piece);
        assert_eq!(bench.takes(quick).map(|(offset, ..)| offset), Some(at * 60_000));
    }
    assert_eq!(bench.frames(), [], "the quick one goes on");
    let (offset, text, _) = bench.takes(slow).unwrap();
    assert_eq!((offset, text.len()), (0, 300_000));
    // Now it has room again, and the stream is read again from where it is.
    assert_eq!(bench.frames(), [read(300_000, 300_000 - 1_024)]);
    bench.server_says(opened(false, 300_000 - 1_024, 300_000, &"x".repeat(1_024)));
    for at in 5..10 {
        bench.text(at * 60_000, &piece);
    }
    assert_eq!(bench.takes(quick), None, "what it has it does not get again");
    assert_eq!(bench.takes(slow).unwrap().1.len(), 300_000);
    // With none that has room it is left.
    bench.session.leave_reading(bench.now, quick);
    for at in 10..15 {
        bench.text(at * 60_000, &piece);
    }
    assert_eq!(bench.frames(), [LeaveStream { stream: 3, writes: false }.into()]);
    bench.text(900_000, "y");
    assert_eq!(bench.takes(slow).unwrap().1.len(), 300_000);
    assert!(matches!(bench.frames()[..], [ClientFrame::ReadStream(_)]));
    assert_eq!(bench.hung_up, 0);
}

#[test]
fn a_gap_in_a_streams_text_ends_the_connection() {
    let mut bench = Bench::met();
    let id = bench.reads(0);
    bench.server_says(opened(false, 0, 0, ""));
    bench.text(0, "so");
    bench.text(3, "x");
    assert_eq!(bench.hung_up, 1);
    assert_eq!(bench.takes(id), Some((0, "so".to_owned(), false)));
}

#[test]
fn st8_an_interrupt_is_asked_again_until_there_is_an_answer() {
    let mut bench = Bench::met();
    let ask: ClientFrame = InterruptStream { address: address().to_string() }.into();
    let id = bench.session.interrupt_stream(bench.now, &address());
    assert_eq!(bench.frames(), std::slice::from_ref(&ask));
    bench.come_back();
    assert_eq!(bench.frames(), std::slice::from_ref(&ask));
    assert_eq!(bench.session.interrupt_answer(id), None);
    bench.server_says(StreamInterrupted { address: address().to_string() });
    assert_eq!(bench.session.interrupt_answer(id), Some(Ok(())));
    let second = bench.session.interrupt_stream(bench.now, &address());
    bench.server_says(refused(StreamAsk::Interrupt, Code::Forbidden, None));
    let answer = bench.session.interrupt_answer(second).unwrap();
    assert_eq!(answer.unwrap_err().code(), Code::Forbidden);
    assert_eq!(bench.session.interrupt_answer(id), Some(Ok(())), "each has its own");
    bench.session.leave_interrupt(id);
    assert_eq!(bench.session.interrupt_answer(id), None);
    // The writer hears of it with how the stream stands.
    bench.frames();
    bench.writes();
    bench.server_says(StreamStatus { interrupted_by: Some("bob".to_owned()), ..status(0, None) });
    let state = bench.session.stream_writer(&address()).unwrap();
    assert_eq!(state.status.interrupted_by, Some(UserId::new("bob").unwrap()));
}

#[test]
fn who_leaves_says_so_and_what_is_answered_late_is_left_too() {
    let mut bench = Bench::met();
    bench.writes();
    bench.session.leave_writing(&address());
    assert_eq!(bench.frames(), [LeaveStream { stream: 3, writes: true }.into()]);
    let id = bench.reads(0);
    bench.session.leave_reading(bench.now, id);
    bench.frames();
    bench.server_says(opened(false, 0, 0, ""));
    assert_eq!(bench.frames(), [LeaveStream { stream: 3, writes: false }.into()]);
    bench.text(0, "so");
    bench.server_says(refused(StreamAsk::Read, Code::Forbidden, None));
    let gone = bench.reads(0);
    bench.server_says(refused(StreamAsk::Read, Code::NoStream, None));
    let state = bench.session.stream_reader(gone).unwrap();
    assert_eq!(state.failed.map(|error| error.code()), Some(Code::NoStream));
}
