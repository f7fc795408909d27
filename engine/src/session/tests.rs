//! The session against a server that a test plays by hand. Whole days, with faults, are the
//! simulation's.

use std::time::Duration;

use super::*;
use crate::document::{Command, LikesCommand, PostCommand, Target, TextField};
use crate::ids::{Facet, Tip, Ulid};
use crate::wire::frame::{
    Ack, Compared, Goodbye, LeaseEnded, Leased, Pong, Reject, Resume, SettledAs, Subscribed,
    Welcome, WireCursor, WireLease,
};
use crate::wire::{CloseCode, ServerFrame};

mod feeds;
mod known;
mod presence;

pub(super) struct Bench {
    pub(super) session: Session,
    pub(super) now: Timestamp,
    pub(super) connection: ConnectionId,
    /// Frames that the session sent and nobody looked at yet.
    pub(super) sent: VecDeque<ClientFrame>,
    notices: Vec<Notice>,
    /// Writes that the disk has not finished.
    writing: Vec<(StoreToken, Vec<StoreWrite>)>,
    disk: BTreeMap<Vec<u8>, Bytes>,
    pub(super) connects: u64,
    pub(super) hung_up: u64,
}

fn address() -> Address {
    Address::new("test", "one", Facet::Likes).unwrap()
}

fn like(number: u64) -> Command {
    let user = UserId::new("ada").unwrap();
    let at = Ulid::new(Timestamp(number), 1);
    Command::Likes(LikesCommand::Like {
        target: Target::Post,
        reaction: format!("r{number}"),
        user,
        at,
    })
}

impl Bench {
    pub(super) fn new() -> Self {
        Self::on(BTreeMap::new(), 3)
    }

    /// A process on what a disk holds; the seed is the process's own.
    fn on(disk: BTreeMap<Vec<u8>, Bytes>, seed: u8) -> Self {
        let user = UserId::new("ada").unwrap();
        let identity = Identity { user, token: None, agent: "test".into(), seed: [seed; 32] };
        let stored: Vec<_> = disk.iter().map(|(k, v)| (k.clone(), v.clone())).collect();
        let meta: Vec<_> =
            stored.into_iter().filter(|(key, _)| key.starts_with(META_PREFIX)).collect();
        let session = Session::new(identity, Config::default(), &meta).unwrap();
        let mut bench = Self {
            session,
            now: Timestamp(1_000),
            connection: ConnectionId(0),
            sent: VecDeque::new(),
            notices: Vec::new(),
            writing: Vec::new(),
            disk,
            connects: 0,
            hung_up: 0,
        };
        bench.drain();
        bench
    }

    pub(super) fn tell(&mut self, input: Input) {
        self.session.handle(self.now, input);
        self.drain();
    }

    pub(super) fn drain(&mut self) {
        while let Some(effect) = self.session.poll_effect() {
            match effect {
                Effect::Connect { connection } => {
                    self.connects += 1;
                    self.connection = connection;
                }
                Effect::Send { message, .. } => {
                    self.sent.push_back(ClientFrame::decode(&message).unwrap());
                }
                Effect::Disconnect { .. } => self.hung_up += 1,
                Effect::Write { token, writes } => self.writing.push((token, writes)),
                Effect::Read { token, prefix } => {
                    let mut seen = self.disk.clone();
                    self.writing.iter().for_each(|(_, writes)| apply(&mut seen, writes));
                    let found = seen.into_iter().filter(|(key, _)| key.starts_with(&prefix));
                    let result = Ok(found.collect());
                    self.session.handle(self.now, Input::Read { token, result });
                }
                Effect::Notify(notice) => self.notices.push(notice),
                Effect::Stop => {}
            }
        }
    }

    pub(super) fn store_all(&mut self) {
        for (token, writes) in std::mem::take(&mut self.writing) {
            apply(&mut self.disk, &writes);
            self.tell(Input::Written { token, result: Ok(()) });
        }
    }

    pub(super) fn server_says(&mut self, frame: impl Into<ServerFrame>) {
        let message = frame.into().encode().unwrap();
        self.tell(Input::Received { connection: self.connection, message });
    }

    /// Connected, welcomed, and the document opened from its beginning, with or without a lease.
    fn live(write: bool) -> Self {
        let mut bench = Self::new();
        bench.go_live(write);
        bench
    }

    fn go_live(&mut self, write: bool) {
        self.meet(write);
        self.server_says(subscribed(write.then_some(lease(1, 1)), 0));
        self.sent.clear();
    }

    /// Connected, welcomed, and the document asked for.
    fn meet(&mut self, write: bool) {
        self.store_all();
        self.tell(Input::Open { address: address(), write });
        self.tell(Input::SetOnline(true));
        self.tell(Input::Connected { connection: self.connection });
        self.server_says(welcome());
    }

    /// The process dies with the writes that are not finished, and another begins on its disk.
    fn die(self) -> Self {
        let now = self.now;
        let mut bench = Self::on(self.disk, 4);
        bench.now = now;
        bench
    }

    fn pushes(&mut self) -> Vec<(u64, usize)> {
        self.sent
            .drain(..)
            .filter_map(|frame| {
                let ClientFrame::Push(push) = frame else { return None };
                Some((push.first, push.changes.len()))
            })
            .collect()
    }

    fn resolutions(&self) -> Vec<Resolution> {
        self.notices
            .iter()
            .filter_map(|notice| {
                let Notice::Resolved { resolution, .. } = notice else { return None };
                Some(resolution.clone())
            })
            .collect()
    }

    /// Goes to the next moment at which the session wants to do something.
    pub(super) fn wake(&mut self) -> Duration {
        let wake = self.session.poll_timeout().expect("something is due");
        let waited = wake.at.since(self.now);
        self.now = wake.at;
        self.tell(Input::Tick);
        waited
    }

    pub(super) fn lose_connection(&mut self) {
        let connection = self.connection;
        self.tell(Input::Disconnected { connection, code: None, reason: "cut".into() });
    }
}

fn apply(disk: &mut BTreeMap<Vec<u8>, Bytes>, writes: &[StoreWrite]) {
    for write in writes {
        match write {
            StoreWrite::Put { key, value } => disk.insert(key.clone(), value.clone()),
            StoreWrite::Delete { key } => disk.remove(key),
        };
    }
}

pub(super) fn welcome() -> Welcome {
    Welcome { term: 5, heartbeat_ms: 30_000, now_ms: 1_000, documents_max: 10 }
}

fn lease(slot: u32, next_seq: u64) -> WireLease {
    WireLease { actor: ActorId::leased(5, slot).0, next_seq, after: 0 }
}

fn subscribed(lease: Option<WireLease>, settled: u64) -> Subscribed {
    Subscribed {
        address: address().to_string(),
        handle: 1,
        epoch: [8; 16],
        resume: Resume::Beginning,
        end_seq: 0,
        seal: None,
        may: crate::policy::Role::Member.capabilities().bits(),
        settled,
        lease,
        lease_kept: false,
        next: None,
    }
}

#[test]
fn a_session_that_waits_for_its_disk_to_end_does_not_wake_for_an_attempt_again_and_again() {
    let mut bench = Bench::live(false);
    bench.lose_connection();
    bench.tell(Input::Command {
        id: Ulid::new(bench.now, 1),
        address: address(),
        command: like(1),
    });
    bench.tell(Input::Shutdown);
    let connects = bench.connects;
    // Each is later than the one before.
    while bench.session.poll_timeout().is_some_and(|wake| wake.at < Timestamp(1_000_000)) {
        assert!(bench.wake() > Duration::ZERO);
    }
    assert_eq!(bench.connects, connects);
}

#[test]
fn nothing_is_said_before_the_stores_generation_is_on_disk() {
    let mut bench = Bench::new();
    bench.tell(Input::SetOnline(true));
    assert_eq!(bench.connects, 0);
    bench.store_all();
    assert_eq!(bench.connects, 1);
    bench.tell(Input::Connected { connection: bench.connection });
    let Some(ClientFrame::Hello(hello)) = bench.sent.pop_front() else {
        panic!("the first frame is Hello");
    };
    assert_eq!((hello.user.as_str(), hello.generation), ("ada", 1));
}

#[test]
fn a_command_is_pushed_only_when_it_is_stored() {
    let mut bench = Bench::live(true);
    bench.session.execute(bench.now, Ulid::new(bench.now, 1), &address(), like(1)).unwrap();
    bench.drain();
    assert_eq!(bench.pushes(), []);
    bench.store_all();
    assert_eq!(bench.pushes(), [(1, 1)]);
    assert_eq!(bench.resolutions(), []);
    bench.server_says(Ack { handle: 1, number: 1 });
    bench.server_says(Ack { handle: 1, number: 1 });
    assert_eq!(bench.resolutions(), [Resolution::Confirmed], "once, however often it is said");
}

#[test]
fn what_a_lost_term_left_open_goes_out_again_under_each_lease_until_it_is_answered_pu5() {
    let mut bench = Bench::live(true);
    bench.session.execute(bench.now, Ulid::new(bench.now, 1), &address(), like(1)).unwrap();
    bench.drain();
    bench.store_all();
    assert_eq!(bench.pushes(), [(1, 1)]);
    bench.lose_connection();
    bench.wake();
    bench.tell(Input::Connected { connection: bench.connection });
    bench.server_says(Welcome { term: 6, ..welcome() });
    let lease = WireLease { actor: ActorId::leased(6, 1).0, next_seq: 1, after: 0 };
    bench.server_says(subscribed(Some(lease), 0));
    assert_eq!(bench.pushes(), [(1, 1)]);
    // It came when the lease had ended, and was passed over.
    bench.server_says(LeaseEnded { handle: 1, code: Code::LeaseLost.number() });
    bench.sent.clear();
    bench.server_says(Leased { handle: 1, lease });
    assert_eq!(bench.pushes(), [(1, 1)]);
}

#[test]
fn work_without_a_lease_asks_for_one_and_goes_out_under_it() {
    let mut bench = Bench::live(false);
    bench.session.execute(bench.now, Ulid::new(bench.now, 1), &address(), like(1)).unwrap();
    bench.drain();
    bench.store_all();
    assert_eq!(bench.sent.pop_front(), Some(RequestLease { handle: 1 }.into()));
    bench.server_says(Leased { handle: 1, lease: lease(3, 1) });
    assert_eq!(bench.pushes(), [], "what was written down again is to be stored first");
    bench.store_all();
    assert_eq!(bench.pushes(), [(1, 1)]);
}

#[test]
fn who_has_written_in_an_empty_log_knows_its_epoch_after_a_crash_ep2() {
    // A command made under the lease, and one from before it.
    for early in [false, true] {
        let mut bench = Bench::live(!early);
        bench.session.execute(bench.now, Ulid::new(bench.now, 1), &address(), like(1)).unwrap();
        bench.drain();
        bench.store_all();
        if early {
            bench.server_says(Leased { handle: 1, lease: lease(3, 1) });
            bench.store_all();
        }
        assert_eq!(bench.pushes(), [(1, 1)]);
        let mut bench = bench.die();
        bench.meet(true);
        let asked = bench.sent.iter().find_map(|frame| {
            let ClientFrame::Subscribe(subscribe) = frame else { return None };
            Some(subscribe.cursor)
        });
        let begin = WireCursor { epoch: [8; 16], seq: 0, tip: Tip::EMPTY.0 };
        assert_eq!(asked, Some(Some(begin)));
    }
}

#[test]
fn a_refused_command_is_undone_and_the_rest_goes_out_under_a_new_lease() {
    let mut bench = Bench::live(true);
    for number in 1..=3 {
        let id = Ulid::new(bench.now, number.into());
        bench.session.execute(bench.now, id, &address(), like(number)).unwrap();
    }
    bench.drain();
    bench.store_all();
    assert_eq!(bench.pushes(), [(1, 1)]);
    bench.wake();
    assert_eq!(bench.pushes(), [(2, 2)], "gathered while the first was on its way");
    let code = Code::Forbidden.number();
    let reject = Reject { handle: 1, number: 2, code, message: "not here".into() };
    bench.server_says(reject);
    let Some(View::Likes(view)) = bench.session.view(&address()) else {
        panic!("the document is open");
    };
    let shown: Vec<u64> =
        (1..=3).map(|n| view.count(Target::Post, &format!("r{n}")) as u64).collect();
    assert_eq!(shown, [1, 0, 1]);
    bench.store_all();
    assert_eq!(bench.sent.pop_front(), Some(RequestLease { handle: 1 }.into()));
    bench.server_says(Leased { handle: 1, lease: lease(2, 1) });
    bench.store_all();
    assert_eq!(bench.pushes(), [(2, 1)], "the number that was refused is given again");
    let message = "not here".to_owned();
    let refused = Resolution::Refused { code: Code::Forbidden, message };
    assert_eq!(bench.resolutions(), [Resolution::Confirmed, refused]);
}

fn execute(bench: &mut Bench, numbers: std::ops::RangeInclusive<u64>) {
    for number in numbers {
        let id = Ulid::new(bench.now, number.into());
        bench.session.execute(bench.now, id, &address(), like(number)).unwrap();
        bench.drain();
        bench.store_all();
    }
}

#[test]
fn while_an_answer_is_awaited_what_comes_is_gathered_until_it_fills_a_push_or_time_is_up() {
    let mut bench = Bench::live(true);
    execute(&mut bench, 1..=4);
    assert_eq!(bench.pushes(), [(1, 1)], "the first is not held back");
    bench.server_says(Ack { handle: 1, number: 1 });
    assert_eq!(bench.pushes(), [(2, 3)]);
    execute(&mut bench, 5..=6);
    assert_eq!(bench.wake(), Config::default().push_interval);
    assert_eq!(bench.pushes(), [(5, 2)]);
    let full = 6 + Config::default().push_changes_max as u64;
    execute(&mut bench, 7..=full);
    assert_eq!(bench.pushes(), [(7, Config::default().push_changes_max)]);
}

#[test]
fn who_gets_no_answer_asks_again_and_then_gives_the_connection_up() {
    let mut bench = Bench::live(true);
    execute(&mut bench, 1..=1);
    assert_eq!(bench.pushes(), [(1, 1)]);
    let asked_at = bench.now;
    let subscribe = loop {
        bench.wake();
        bench.tell(Input::Received {
            connection: bench.connection,
            message: ServerFrame::from(Pong { nonce: 0 }).encode().unwrap(),
        });
        let asked = bench.sent.drain(..).find_map(|frame| {
            let ClientFrame::Subscribe(subscribe) = frame else { return None };
            Some(subscribe)
        });
        if let Some(subscribe) = asked {
            break subscribe;
        }
    };
    let waited = bench.now.since(asked_at);
    let timeout = Config::default().answer_timeout;
    assert!(waited >= timeout && waited <= 2 * timeout, "{waited:?}");
    assert_eq!(bench.resolutions(), [], "its outcome is unknown, so it is neither");
    assert!(subscribe.cursor.is_some());

    let kept =
        Subscribed { resume: Resume::Cursor, lease_kept: true, ..subscribed(Some(lease(1, 1)), 0) };
    bench.server_says(kept);
    assert_eq!(bench.pushes(), [(1, 1)], "the same again");
    while bench.hung_up == 0 {
        bench.wake();
        bench.server_says(Pong { nonce: 0 });
    }
}

#[test]
fn a_document_that_is_not_what_the_log_makes_is_read_anew_once_sub9() {
    let mut bench = Bench::live(false);
    let compare = |bench: &mut Bench| loop {
        if let Some(ClientFrame::Compare(compare)) = bench.sent.pop_front() {
            return compare;
        }
        bench.wake();
        bench.server_says(Pong { nonce: 0 });
    };
    let asked = compare(&mut bench);
    let heads = bench.session.replica(&address()).unwrap().heads_digest();
    assert_eq!((asked.seq, asked.heads), (0, heads));
    bench.server_says(Compared { handle: 1, seq: 0, same: Some(false) });
    let Some(ClientFrame::Subscribe(subscribe)) = bench.sent.pop_front() else {
        panic!("it reads the document anew");
    };
    let cursor = subscribe.cursor.unwrap();
    assert_eq!((cursor.epoch, cursor.tip), ([8; 16], Tip::NOWHERE.0), "no place to go on from");
    bench.server_says(subscribed(None, 0));
    assert!(bench.session.status(&address()).unwrap().live);
    bench.server_says(Compared { handle: 1, seq: 0, same: Some(false) });
    let document = &bench.session.documents[&address()];
    assert!(matches!(document.body, Body::Broken(Code::Diverged)));
}

#[test]
fn work_beyond_the_quota_is_refused_and_nothing_of_it_stays() {
    let mut bench = Bench::live(false);
    bench.session.config.outbox_bytes_max = 1_000;
    let mut number = 0;
    let refused = loop {
        number += 1;
        let id = Ulid::new(bench.now, number.into());
        match bench.session.execute(bench.now, id, &address(), like(number)) {
            Ok(_) => bench.drain(),
            Err(refused) => break refused,
        }
    };
    assert_eq!(refused.code(), Code::OutboxFull);
    let stats = bench.session.stats();
    assert_eq!(stats.pending as u64, number - 1);
    assert!(stats.outbox_bytes >= 1_000 && stats.outbox_bytes < 2_000);
    assert_eq!(stats.oldest_pending, Some(bench.now));
    bench.store_all();
    bench.server_says(Leased { handle: 1, lease: lease(3, 1) });
    bench.store_all();
    bench.server_says(Ack { handle: 1, number: number - 1 });
    assert_eq!(bench.session.stats().pending, 0);
}

#[test]
fn a_hidden_app_pauses_and_one_without_a_network_is_offline() {
    let mut bench = Bench::live(false);
    bench.tell(Input::SetVisible(false));
    while bench.hung_up == 0 {
        bench.wake();
        bench.server_says(Pong { nonce: 0 });
    }
    assert_eq!(bench.session.connection(bench.now), ConnectionStatus::Paused);
    assert_eq!(bench.session.poll_timeout(), None, "a paused app wakes nobody");
    let before = bench.connects;
    bench.tell(Input::SetVisible(true));
    assert_eq!(bench.connects, before + 1);
    bench.tell(Input::SetNetwork(false));
    assert_eq!(bench.session.connection(bench.now), ConnectionStatus::Offline);
    bench.tell(Input::SetNetwork(true));
    assert_eq!(bench.connects, before + 2);
    bench.tell(Input::SetOnline(false));
    assert_eq!(bench.session.connection(bench.now), ConnectionStatus::Idle);
}

#[test]
fn a_lost_connection_is_tried_again_after_a_growing_bounded_wait() {
    let mut bench = Bench::live(false);
    for attempt in 0..10_u32 {
        bench.lose_connection();
        let before = bench.connects;
        let waited = bench.wake();
        let bound = Duration::from_secs((1 << attempt).min(30));
        assert!(waited <= bound, "attempt {attempt} waited {waited:?}");
        assert_eq!(bench.connects, before + 1);
    }
}

#[test]
fn the_server_can_ask_to_be_left_alone_for_a_while() {
    let mut bench = Bench::live(false);
    let code = Code::ShuttingDown.number();
    bench.server_says(Goodbye { code, retry_after_ms: Some(90_000) });
    bench.lose_connection();
    assert!(bench.wake() >= Duration::from_secs(90));
}

#[test]
fn silence_is_asked_about_and_then_given_up() {
    let mut bench = Bench::live(false);
    while !matches!(bench.sent.pop_front(), Some(ClientFrame::Ping(_))) {
        bench.wake();
    }
    while bench.hung_up == 0 {
        bench.wake();
    }
    assert_eq!(bench.now.since(Timestamp(1_000)), Duration::from_secs(60));
}

#[test]
fn a_close_that_would_repeat_itself_ends_the_attempts() {
    let mut bench = Bench::live(false);
    let code = Some(CloseCode::of(Code::Unauthenticated));
    let connection = bench.connection;
    bench.tell(Input::Disconnected { connection, code, reason: "who are you".into() });
    assert_eq!(bench.session.poll_timeout(), None);
    let status = bench.session.connection(bench.now);
    assert!(matches!(status, ConnectionStatus::Failed { code: Code::Unauthenticated, .. }));
}

#[test]
fn news_of_an_older_connection_changes_nothing() {
    let mut bench = Bench::live(false);
    let old = bench.connection;
    bench.lose_connection();
    bench.wake();
    bench.tell(Input::Connected { connection: bench.connection });
    bench.server_says(welcome());
    bench.tell(Input::Disconnected { connection: old, code: None, reason: "late".into() });
    assert_eq!(bench.session.connection(bench.now), ConnectionStatus::Connected);
}

fn endings(bench: &Bench) -> Vec<(Ulid, Resolution)> {
    bench.session.endings().map(|ending| (ending.id, ending.resolution.clone())).collect()
}

fn refusal() -> Resolution {
    Resolution::Refused { code: Code::Forbidden, message: "not here".into() }
}

/// Two commands pushed, of which the server takes the first and refuses the second.
fn one_taken_one_refused() -> Bench {
    let mut bench = Bench::live(true);
    execute(&mut bench, 1..=2);
    bench.wake();
    bench.server_says(Ack { handle: 1, number: 1 });
    let code = Code::Forbidden.number();
    bench.server_says(Reject { handle: 1, number: 2, code, message: "not here".into() });
    bench
}

#[test]
fn a_rollback_is_told_once_the_store_holds_it() {
    let mut bench = one_taken_one_refused();
    assert_eq!(bench.resolutions(), [Resolution::Confirmed]);
    // Had the process died here, the command would be sent again and might end otherwise.
    let again = Bench::on(bench.disk.clone(), 4);
    assert_eq!(endings(&again), []);
    assert_eq!(again.session.stats().pending, 2);
    bench.store_all();
    assert_eq!(bench.resolutions(), [Resolution::Confirmed, refusal()]);
}

#[test]
fn an_ending_that_the_app_did_not_take_is_there_after_a_restart_and_one_that_it_took_is_not() {
    let mut bench = one_taken_one_refused();
    bench.store_all();
    let first = Ulid::new(Timestamp(1_000), 1);
    let second = Ulid::new(Timestamp(1_000), 2);
    let mut bench = bench.die();
    assert_eq!(endings(&bench), [(first, Resolution::Confirmed), (second, refusal())]);
    bench.tell(Input::Taken { id: first });
    bench.tell(Input::Taken { id: second });
    let mut unstored = Bench::on(bench.disk.clone(), 5);
    assert_eq!(endings(&unstored).len(), 2, "what is not on disk did not happen");
    bench.store_all();
    let mut bench = bench.die();
    assert_eq!(endings(&bench), []);
    for bench in [&mut unstored, &mut bench] {
        bench.meet(false);
        bench.server_says(subscribed(None, 1));
        bench.store_all();
        assert_eq!(bench.resolutions(), [], "the server says again what it settled");
    }
}

#[test]
fn what_was_refused_is_kept_with_its_content_until_it_is_dismissed() {
    let mut bench = one_taken_one_refused();
    bench.store_all();
    let id = Ulid::new(Timestamp(1_000), 2);
    bench.tell(Input::Taken { id });
    bench.store_all();
    let mut bench = bench.die();
    let elsewhere = Address::new("test", "two", Facet::Likes).unwrap();
    assert_eq!(bench.session.refused(Some(&elsewhere)).count(), 0);
    let refused: Vec<Ending> = bench.session.refused(Some(&address())).cloned().collect();
    assert_eq!(refused.len(), 1);
    assert_eq!((refused[0].id, &refused[0].command), (id, &like(2)));
    assert_eq!((&refused[0].resolution, refused[0].at), (&refusal(), bench.now));
    bench.tell(Input::Dismissed { id });
    bench.store_all();
    assert_eq!(bench.die().session.refused(None).count(), 0);
}

#[test]
fn of_more_refused_commands_than_may_be_kept_the_oldest_are_dropped_aloud() {
    let mut bench = Bench::live(true);
    bench.session.config.refused_max = 2;
    execute(&mut bench, 1..=4);
    for slot in 2..=5 {
        let code = Code::Forbidden.number();
        bench.server_says(Reject { handle: 1, number: 1, code, message: "no".into() });
        bench.server_says(Leased { handle: 1, lease: lease(slot, 1) });
        bench.store_all();
    }
    let kept: Vec<Command> = bench.session.refused(None).map(|e| e.command.clone()).collect();
    assert_eq!(kept, [like(3), like(4)]);
    let dropped: Vec<&Command> = bench
        .notices
        .iter()
        .filter_map(|notice| {
            let Notice::Dropped { command, .. } = notice else { return None };
            Some(command)
        })
        .collect();
    assert_eq!(dropped, [&like(1), &like(2)]);
    assert_eq!(bench.die().session.refused(None).count(), 2);
}

/// The session and outbox under which the document is asked for on a new connection.
fn introduces_itself(bench: &mut Bench) -> ([u8; 16], [u8; 16]) {
    while bench.sent.iter().all(|frame| !matches!(frame, ClientFrame::Hello(_))) {
        bench.wake();
        bench.store_all();
        bench.tell(Input::Connected { connection: bench.connection });
    }
    bench.server_says(welcome());
    let mut name = None;
    for frame in bench.sent.drain(..) {
        if let ClientFrame::Hello(hello) = frame {
            name = Some(hello.session);
        } else if let ClientFrame::Subscribe(subscribe) = frame {
            return (name.unwrap(), subscribe.outbox);
        }
    }
    panic!("it asks for the document");
}

#[test]
fn numbers_that_are_settled_otherwise_move_into_a_new_outbox_under_a_new_name_ak4() {
    let mut bench = Bench::new();
    let (old_name, old_outbox) = (bench.session.session.0, bench.session.outbox.0);
    bench.store_all();
    bench.tell(Input::Open { address: address(), write: false });
    execute(&mut bench, 1..=3);
    bench.meet(true);
    bench.sent.clear();
    let other = SettledAs { address: address().to_string(), number: 2, digest: [9; 8] };
    bench.server_says(other.clone());
    bench.server_says(subscribed(Some(lease(1, 1)), 2));
    assert_eq!((bench.hung_up, bench.resolutions()), (1, vec![]));
    let (name, outbox) = introduces_itself(&mut bench);
    assert_ne!(name, old_name);
    assert_eq!(outbox, old_outbox, "what became of the old numbers is asked first");
    // The process may die at any point of the way.
    let mut bench = bench.die();
    bench.meet(true);
    assert_eq!(bench.session.session.0, name);
    bench.sent.clear();
    bench.server_says(other);
    bench.server_says(subscribed(Some(lease(1, 1)), 2));
    assert_eq!(bench.pushes(), [], "not before the moved commands are stored");
    assert_eq!(bench.session.stats().pending, 3);
    bench.store_all();
    let new_outbox = bench.session.outbox.0;
    assert_ne!(new_outbox, old_outbox);
    assert_eq!(bench.session.documents[&address()].outbox.0, new_outbox);
    bench.server_says(subscribed(Some(lease(2, 1)), 0));
    bench.store_all();
    assert_eq!(bench.pushes(), [(1, 3)]);
    bench.server_says(Ack { handle: 1, number: 3 });
    assert_eq!(bench.resolutions(), vec![Resolution::Confirmed; 3]);
    bench.store_all();
    let mut bench = bench.die();
    bench.meet(false);
    let asked = bench.sent.drain(..).find_map(|frame| {
        let ClientFrame::Subscribe(subscribe) = frame else { return None };
        Some(subscribe.outbox)
    });
    assert_eq!(asked, Some(new_outbox));
}

#[test]
fn numbers_beyond_its_own_tell_an_old_copy_of_the_store() {
    let mut bench = Bench::live(true);
    let old_outbox = bench.session.outbox.0;
    execute(&mut bench, 1..=1);
    bench.server_says(Ack { handle: 1, number: 1 });
    bench.store_all();
    bench.lose_connection();
    introduces_itself(&mut bench);
    // Nothing is pending but what is acknowledged, and the server knows of more.
    bench.server_says(subscribed(None, 7));
    assert_eq!(bench.hung_up, 1);
    let (_, outbox) = introduces_itself(&mut bench);
    assert_eq!(outbox, old_outbox, "the log has not brought the first one yet");
    assert_ne!(bench.session.outbox.0, old_outbox);
}

#[test]
fn its_own_numbers_are_known_by_their_content_ak4() {
    let mut bench = Bench::live(true);
    execute(&mut bench, 1..=2);
    bench.wake();
    let hash = bench.session.replica(&address()).unwrap().pending().nth(1).unwrap().change.hash();
    let mut digest = [0; 8];
    digest.copy_from_slice(&hash.0[..8]);
    let mut bench = bench.die();
    bench.meet(false);
    bench.server_says(SettledAs { address: address().to_string(), number: 2, digest });
    bench.server_says(subscribed(None, 2));
    assert_eq!(bench.hung_up, 0);
    assert_eq!(bench.resolutions(), [Resolution::Confirmed, Resolution::Confirmed]);
}

#[test]
fn who_is_replaced_by_another_copy_goes_on_under_another_name() {
    let mut bench = Bench::live(false);
    let old = (bench.session.session, bench.session.outbox);
    let (connection, code) = (bench.connection, Some(CloseCode::of(Code::Replaced)));
    bench.tell(Input::Disconnected { connection, code, reason: "replaced".into() });
    let before = bench.connects;
    while bench
        .session
        .poll_timeout()
        .is_some_and(|wake| wake.at < bench.now + Duration::from_secs(9))
    {
        bench.wake();
    }
    assert_eq!(bench.connects, before, "not before the new name is on disk");
    bench.store_all();
    let (name, outbox) = introduces_itself(&mut bench);
    assert_ne!((SessionId(name), OutboxId(outbox)), old);
    let kept = Bench::on(bench.disk.clone(), 9);
    assert_eq!((kept.session.session.0, kept.session.outbox.0), (name, outbox));
}

fn post() -> Address {
    Address::new("test", "one", Facet::Post).unwrap()
}

fn key(index: usize, insert: &str) -> Command {
    let (field, insert) = (TextField::Body, insert.to_owned());
    Command::Post(PostCommand::Splice { field, index, delete: 0, insert })
}

/// A post that was written, offline.
fn written() -> Bench {
    let mut bench = Bench::new();
    bench.store_all();
    bench.tell(Input::Open { address: post(), write: false });
    let create = Command::Post(PostCommand::Create {
        author: UserId::new("ada").unwrap(),
        created: bench.now,
        title: String::new(),
        body: String::new(),
        tags: Vec::new(),
    });
    bench.session.execute(bench.now, Ulid::new(bench.now, 1), &post(), create).unwrap();
    bench.drain();
    bench
}

fn types(bench: &mut Bench, text: &str, from: usize) {
    for (place, letter) in text.chars().enumerate() {
        let id = Ulid::new(bench.now, 100 + (from + place) as u128);
        let typed = key(from + place, &letter.to_string());
        bench.session.execute_typed(bench.now, id, &post(), typed).unwrap();
        bench.drain();
    }
}

fn body(bench: &Bench) -> String {
    let Some(View::Post(view)) = bench.session.view(&post()) else { panic!("a post") };
    view.body().to_owned()
}

#[test]
fn typing_becomes_few_changes_and_the_first_key_is_not_held_back() {
    let mut bench = written();
    let window = Config::default().typing_window;
    types(&mut bench, "hello", 0);
    assert_eq!((body(&bench).as_str(), bench.session.stats().pending), ("h", 2));
    bench.tell(Input::Tick);
    assert_eq!(body(&bench), "h", "the time is not up");
    assert_eq!(bench.wake(), window);
    assert_eq!((body(&bench).as_str(), bench.session.stats().pending), ("hello", 3));
    // The typing goes on: what follows is gathered from its first key on.
    types(&mut bench, " world", 5);
    assert_eq!(body(&bench), "hello");
    assert_eq!(bench.wake(), window);
    assert_eq!((body(&bench).as_str(), bench.session.stats().pending), ("hello world", 4));
    // It paused for a window: the next key is a first one again.
    assert_eq!(bench.wake(), window);
    assert_eq!(bench.session.poll_timeout(), None);
    types(&mut bench, "!", 11);
    assert_eq!((body(&bench).as_str(), bench.session.stats().pending), ("hello world!", 5));
}

#[test]
fn what_was_typed_is_carried_out_before_anything_else() {
    let mut bench = written();
    types(&mut bench, "abc", 0);
    let far = Ulid::new(bench.now, 900);
    types(&mut bench, "def", 3);
    bench.session.execute_typed(bench.now, far, &post(), key(0, ">")).unwrap();
    assert_eq!(body(&bench), ">abcdef", "an edit elsewhere does not wait");
    types(&mut bench, "gh", 7);
    assert_eq!(body(&bench), ">abcdef");
    bench.session.flush(bench.now, &post());
    assert_eq!(body(&bench), ">abcdefgh");
    types(&mut bench, "ij", 9);
    bench.session.undo(bench.now, Ulid::new(bench.now, 901), &post()).unwrap();
    assert_eq!(body(&bench), ">abcdefghi", "what was gathered is one command to undo");
    // Other names than before.
    bench.now = bench.now + Duration::from_millis(1);
    types(&mut bench, "jk", 10);
    bench.tell(Input::Shutdown);
    assert_eq!(body(&bench), ">abcdefghijk");
}

#[test]
fn typing_that_can_not_be_kept_is_handed_back() {
    let mut bench = written();
    types(&mut bench, "ab", 0);
    bench.session.config.outbox_bytes_max = 0;
    bench.wake();
    assert_eq!(body(&bench), "a");
    let refused: Vec<Command> = bench.session.refused(None).map(|e| e.command.clone()).collect();
    assert_eq!(refused, [key(1, "b")]);
    bench.store_all();
    let told = bench.resolutions();
    assert!(matches!(&told[..], [Resolution::Refused { code: Code::OutboxFull, .. }]), "{told:?}");
}

#[test]
fn a_command_is_undone_and_done_again_as_a_command_like_any_other() {
    let mut bench = Bench::live(true);
    execute(&mut bench, 1..=1);
    let likes = |bench: &Bench| {
        let Some(View::Likes(view)) = bench.session.view(&address()) else { panic!("likes") };
        view.count(Target::Post, "r1")
    };
    assert_eq!((likes(&bench), bench.session.undoable(&address())), (1, (1, 0)));
    let name = |number| Ulid::new(Timestamp(5_000), number);
    bench.session.undo(bench.now, name(1), &address()).unwrap();
    assert_eq!((likes(&bench), bench.session.undoable(&address())), (0, (0, 1)));
    bench.session.redo(bench.now, name(2), &address()).unwrap();
    assert_eq!(likes(&bench), 1);
    let nothing = bench.session.redo(bench.now, name(3), &address()).unwrap_err();
    assert_eq!(nothing.code(), Code::NoEffect);
    bench.drain();
    bench.store_all();
    bench.server_says(Ack { handle: 1, number: 1 });
    bench.store_all();
    assert_eq!(bench.pushes(), [(1, 1), (2, 2)]);
    bench.server_says(Ack { handle: 1, number: 3 });
    assert_eq!(bench.resolutions(), vec![Resolution::Confirmed; 3]);
    // Only what the user may do can be undone.
    let may = crate::policy::Capabilities::default();
    bench.session.documents.get_mut(&address()).unwrap().may = Some(may);
    let forbidden = bench.session.undo(bench.now, name(4), &address()).unwrap_err();
    assert!(matches!(forbidden, ExecuteError::Forbidden(_)), "{forbidden}");
    assert_eq!(bench.session.undoable(&address()), (1, 0));
}
