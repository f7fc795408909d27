//! A client in a space: what it says and when, also after a lost connection; what it shows.
#![expect(clippy::wildcard_enum_match_arm, reason = "a test picks what it is about")]

use super::*;
use crate::presence::{IDLE, TYPING, typing_in};
use crate::wire::frame::{
    Announce, Crowd, Enter, Entered, Kick, Kicked, News, NotAnnounced, Presence, SentAway,
    WireSaying,
};

const TOWN: &str = "town";

impl Bench {
    /// In contact, and in the space with what is told of it.
    fn in_town() -> Self {
        let mut bench = Self::new();
        bench.store_all();
        bench.act(SpaceAct::Enter { visible: true });
        bench.tell(Input::SetOnline(true));
        bench.tell(Input::Connected { connection: bench.connection });
        bench.sent.clear();
        bench.server_says(welcome());
        assert_eq!(bench.entering().1, []);
        bench.let_in();
        bench
    }

    fn act(&mut self, act: SpaceAct) {
        self.tell(Input::Space { space: TOWN.to_owned(), act });
    }

    fn announce(&mut self, key: &str, value: Option<&str>, ttl_s: Option<u64>) {
        let (key, value) = (key.to_owned(), value.map(str::to_owned));
        self.act(SpaceAct::Announce { key, value, ttl: ttl_s.map(Duration::from_secs) });
    }

    /// Who is let in is there with bob.
    fn let_in(&mut self) {
        let (space, role) = (TOWN.to_owned(), "member".to_owned());
        let may = crate::policy::Role::Member.capabilities().bits();
        let device = Some(7);
        self.server_says(Entered { space, handle: 3, device, role, may, interval_ms: 100 });
        self.told(true, vec![came(7, "ada"), came(8, "bob")]);
    }

    fn told(&mut self, whole: bool, news: Vec<News>) {
        let now_ms = 900_000;
        self.server_says(Presence { handle: 3, version: 1, whole, more: false, now_ms, news });
    }

    /// What it enters with: whether seen, and what is announced, without the numbers.
    fn entering(&mut self) -> (bool, Vec<(String, Option<String>)>) {
        match self.sent.pop_front() {
            Some(ClientFrame::Enter(Enter { space, visible, sayings })) if space == TOWN => {
                (visible, sayings.into_iter().map(|s| (s.key, s.value)).collect())
            }
            other => panic!("{other:?}"),
        }
    }

    /// What it announced, and nothing else.
    fn announced(&mut self) -> Vec<WireSaying> {
        let frames = self.sent.drain(..);
        let sayings = frames.flat_map(|frame| match frame {
            ClientFrame::Announce(Announce { handle: 3, sayings }) => sayings,
            ClientFrame::Ping(_) => vec![],
            other => panic!("{other:?}"),
        });
        sayings.collect()
    }

    /// Goes on in time until then, as the machine asks to.
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while self.session.poll_timeout().is_some_and(|wake| wake.at <= end) {
            let waited = self.wake();
            let silent = self.session.link.up().is_some();
            assert!(waited > Duration::ZERO || silent, "it wakes again and again");
            self.server_says(Pong { nonce: 0 });
        }
        self.now = end;
        self.tell(Input::Tick);
    }

    fn events(&mut self) -> Vec<PresenceEvent> {
        let notices = std::mem::take(&mut self.notices).into_iter();
        let events = notices.filter_map(|notice| match notice {
            Notice::Space { news: SpaceNews::Changed(events), .. } => Some(events),
            _ => None,
        });
        events.flatten().collect()
    }
}

fn came(device: u64, user: &str) -> News {
    News::Came { device, user: user.to_owned(), role: "member".to_owned(), since_ms: 1 }
}

fn said(device: u64, key: &str, value: &str, until_ms: Option<u64>) -> News {
    News::Said { device, key: key.to_owned(), value: value.to_owned(), at_ms: 1, until_ms }
}

fn ada() -> UserId {
    UserId::new("ada").unwrap()
}

#[test]
fn a_clock_that_goes_back_does_not_keep_anybody_silent_pr2() {
    let mut bench = Bench::in_town();
    bench.pass(Duration::from_secs(1));
    bench.announce("k", Some("1"), None);
    assert_eq!(bench.announced().len(), 1);
    bench.now = Timestamp(bench.now.0 - 900);
    bench.announce("k", Some("2"), None);
    assert_eq!(bench.announced()[0].value.as_deref(), Some("2"));
    bench.announce("k", Some("3"), None);
    assert!(bench.announced().is_empty(), "one after the other all the same");
}

#[test]
fn of_what_is_announced_in_quick_succession_the_last_goes_out_and_numbers_rise_pr2() {
    let mut bench = Bench::in_town();
    bench.pass(Duration::from_secs(1));
    bench.sent.clear();
    bench.announce("cursor", Some("1"), None);
    let first = bench.announced();
    assert_eq!(first.len(), 1, "at once");
    for value in ["2", "3", "4"] {
        bench.announce("cursor", Some(value), None);
    }
    bench.announce("other", Some("x"), None);
    assert_eq!(bench.announced(), []);
    assert_eq!(bench.wake(), Duration::from_millis(100));
    let then = bench.announced();
    let values: Vec<_> = then.iter().map(|s| (s.key.as_str(), s.value.as_deref())).collect();
    assert_eq!(values, [("cursor", Some("4")), ("other", Some("x"))]);
    assert!(then.iter().all(|saying| saying.seq > first[0].seq));
    bench.announce("cursor", Some("4"), None);
    bench.pass(Duration::from_secs(1));
    assert_eq!(bench.announced(), [], "nothing new");
    bench.announce("cursor", None, None);
    bench.announce("never said", None, None);
    bench.announce("other", None, None);
    bench.pass(Duration::from_secs(1));
    let gone: Vec<_> = bench.announced().into_iter().map(|s| (s.key, s.value)).collect();
    assert_eq!(gone, [("cursor".to_owned(), None), ("other".to_owned(), None)]);
}

#[test]
fn after_a_lost_connection_everything_that_stands_is_said_on_entering_pr1() {
    let mut bench = Bench::in_town();
    bench.announce("status", Some("\"busy\""), None);
    bench.announce("typing", Some("\"here\""), Some(6));
    bench.announce("gone", Some("1"), None);
    bench.pass(Duration::from_secs(1));
    bench.announce("gone", None, None);
    bench.lose_connection();
    assert_eq!(bench.session.space_status(TOWN), Some(&SpaceStatus::Apart));
    assert_eq!(bench.session.members(TOWN).len(), 2, "what was known stays to be seen");
    bench.announce("fields", Some("{}"), None);
    bench.pass(Duration::from_secs(7));
    bench.sent.clear();
    bench.tell(Input::Connected { connection: bench.connection });
    bench.sent.clear();
    bench.server_says(welcome());
    let expected = [("fields", "{}"), ("status", "\"busy\"")];
    let expected: Vec<_> =
        expected.map(|(key, value)| (key.to_owned(), Some(value.to_owned()))).into();
    assert_eq!(bench.entering(), (true, expected));
    bench.notices.clear();
    bench.let_in();
    assert_eq!(bench.events(), [], "nobody came or went");
    assert!(matches!(bench.session.space_status(TOWN), Some(SpaceStatus::Inside { .. })));
}

#[test]
fn typing_is_not_said_with_each_key_and_lapses_on_both_sides_pr4() {
    let mut bench = Bench::in_town();
    let document: Address = "town/square/comments".parse().unwrap();
    let here = typing_in(&document);
    bench.pass(Duration::from_secs(1));
    bench.sent.clear();
    for _ in 0..50 {
        bench.announce(TYPING, Some(&here), Some(6));
        bench.pass(Duration::from_millis(100));
    }
    let said = bench.announced();
    assert_eq!(said.len(), 2, "five seconds of keys");
    assert_eq!(said[0].ttl_ms, Some(6_000));

    bench.told(false, vec![said_typing(8, &here)]);
    let bob = UserId::new("bob").unwrap();
    assert_eq!(bench.session.typing(&document), std::slice::from_ref(&bob));
    bench.notices.clear();
    bench.pass(Duration::from_secs(6));
    assert!(bench.session.typing(&document).is_empty(), "without a word of the server");
    let (user, key) = (bob, TYPING.to_owned());
    assert_eq!(bench.events(), [PresenceEvent::Saying { user, device: 8, key }]);
    bench.announce(TYPING, None, Some(6));
    bench.pass(Duration::from_secs(1));
    assert_eq!(bench.announced(), [], "it has lapsed by itself");
}

fn said_typing(device: u64, value: &str) -> News {
    said(device, TYPING, value, Some(906_000))
}

#[test]
fn who_does_nothing_is_shown_as_idle_until_something_is_done_pr10() {
    let mut bench = Bench::in_town();
    let entered = bench.now;
    bench.pass(Duration::from_secs(299));
    assert_eq!(bench.announced(), []);
    bench.pass(Duration::from_secs(2));
    let idle = bench.announced();
    assert_eq!((idle.len(), idle[0].key.as_str()), (1, IDLE));
    assert_eq!(idle[0].value, Some(entered.0.to_string()));
    bench.pass(Duration::from_secs(1_000));
    assert_eq!(bench.announced(), [], "once");
    bench.tell(Input::Active);
    let active = bench.announced();
    assert_eq!((active.len(), active[0].key.as_str(), &active[0].value), (1, IDLE, &None));
    bench.told(false, vec![said(8, IDLE, "5", None)]);
    let members = bench.session.members(TOWN);
    let active: Vec<bool> = members.iter().map(Member::is_active).collect();
    assert_eq!(active, [true, false]);
    assert_eq!(members[1].devices[0].idle_since(), Some(Timestamp(5)));
}

#[test]
fn who_was_sent_out_stays_out_until_asked_and_who_may_try_later_does_pr6() {
    let mut bench = Bench::in_town();
    let away = |code: Code| SentAway {
        space: TOWN.to_owned(),
        code: code.number(),
        message: "out".to_owned(),
        retry_after_ms: Some(5_000),
    };
    bench.server_says(away(Code::Kicked));
    let out = bench.session.space_status(TOWN);
    assert!(matches!(out, Some(SpaceStatus::Outside { code: Code::Kicked, .. })), "{out:?}");
    assert!(bench.session.members(TOWN).is_empty());
    bench.announce("status", Some("1"), None);
    bench.pass(Duration::from_secs(10));
    assert_eq!(bench.announced(), []);
    bench.act(SpaceAct::Enter { visible: false });
    let (visible, sayings) = bench.entering();
    assert!(visible && sayings.len() == 1, "seen, as before, and with what is announced");
    bench.server_says(away(Code::SpaceUnavailable));
    bench.pass(Duration::from_secs(4));
    assert_eq!(bench.announced(), []);
    bench.pass(Duration::from_secs(2));
    assert!(bench.entering().0);
}

#[test]
fn what_was_refused_for_its_rate_is_said_again_pr7() {
    let mut bench = Bench::in_town();
    bench.announce("status", Some("1"), None);
    bench.pass(Duration::from_secs(1));
    assert_eq!(bench.announced().len(), 1);
    let refusal = |code: Code, retry_after_ms| NotAnnounced {
        handle: 3,
        code: code.number(),
        message: String::new(),
        retry_after_ms,
    };
    bench.server_says(refusal(Code::TooManyAnnouncements, Some(3_000)));
    bench.pass(Duration::from_secs(2));
    assert_eq!(bench.announced(), []);
    bench.pass(Duration::from_secs(2));
    assert_eq!(bench.announced().len(), 1);
    bench.server_says(refusal(Code::BadPresence, None));
    bench.pass(Duration::from_secs(10));
    assert_eq!(bench.announced(), [], "which would be refused again");
}

#[test]
fn what_was_taken_back_or_has_lapsed_is_taken_back_again_where_that_did_not_count_pr7() {
    let mut bench = Bench::in_town();
    let wait = |bench: &mut Bench, ms| {
        bench.server_says(NotAnnounced {
            handle: 3,
            code: Code::TooManyAnnouncements.number(),
            message: String::new(),
            retry_after_ms: Some(ms),
        });
    };
    for key in ["a", "b", "c"] {
        bench.announce(key, Some("1"), None);
    }
    bench.pass(Duration::from_secs(1));
    assert_eq!(bench.announced().len(), 3);
    bench.announce("a", None, None);
    bench.announce("b", Some("2"), Some(2));
    bench.pass(Duration::from_secs(1));
    assert_eq!(bench.announced().len(), 2);
    wait(&mut bench, 3_000);
    // This one lapses before it can be said at all.
    bench.announce("c", Some("2"), Some(2));
    bench.pass(Duration::from_secs(4));
    let said: Vec<_> = bench.announced().into_iter().map(|s| (s.key, s.value)).collect();
    assert_eq!(said, ["a", "b", "c"].map(|key| (key.to_owned(), None)));
    bench.pass(Duration::from_secs(4));
    assert_eq!(bench.announced(), []);
}

#[test]
fn what_is_taken_back_does_not_pile_up_pr7() {
    let mut bench = Bench::in_town();
    for number in 0..100 {
        let key = format!("k{number}");
        bench.announce(&key, Some("1"), None);
        bench.announce(&key, None, None);
        bench.pass(Duration::from_millis(200));
    }
    bench.sent.clear();
    bench.server_says(NotAnnounced {
        handle: 3,
        code: Code::TooManyAnnouncements.number(),
        message: String::new(),
        retry_after_ms: Some(1),
    });
    bench.pass(Duration::from_secs(1));
    assert!((1..=17).contains(&bench.announced().len()), "the last ones");
}

#[test]
fn what_can_not_be_announced_is_refused_here_pr7() {
    let mut bench = Bench::in_town();
    for number in 0..16 {
        bench.announce(&format!("k{number}"), Some("1"), None);
    }
    bench.notices.clear();
    bench.announce("one-more", Some("1"), None);
    bench.announce("No Key", Some("1"), None);
    bench.announce("k1", Some(&"v".repeat(2_000)), None);
    let refused = bench.notices.iter().filter(|notice| {
        let bad = Code::BadPresence;
        matches!(notice, Notice::Space { news: SpaceNews::NotAnnounced { code, .. }, .. } if *code == bad)
    });
    assert_eq!(refused.count(), 3);
    bench.pass(Duration::from_secs(1));
    assert!(bench.announced().iter().all(|saying| saying.value.as_deref() == Some("1")));
}

#[test]
fn in_a_crowd_one_knows_how_many_there_are_and_oneself_pr8() {
    let mut bench = Bench::in_town();
    bench.announce("status", Some("\"busy\""), None);
    bench.server_says(Crowd {
        handle: 3,
        version: 9,
        now_ms: 1,
        devices: 500,
        users: 400,
        idle: 3,
        typing: 2,
        sample: vec![came(9, "eve"), said(9, "status", "1", None)],
    });
    let crowd = bench.session.space_crowd(TOWN);
    assert_eq!(crowd, Some(Counts { devices: 500, users: 400, idle: 3, typing: 2 }));
    let members = bench.session.members(TOWN);
    let names: Vec<&str> = members.iter().map(|member| member.user.as_str()).collect();
    assert_eq!(names, ["ada", "eve"]);
    assert_eq!((&members[0].user, members[0].says("status")), (&ada(), Some("\"busy\"")));
    bench.notices.clear();
    bench.told(true, vec![came(7, "ada"), came(8, "bob")]);
    assert!(bench.events().contains(&PresenceEvent::Crowd));
    assert_eq!((bench.session.space_crowd(TOWN), bench.session.members(TOWN).len()), (None, 2));
}

#[test]
fn a_kick_is_answered_and_fails_at_once_without_contact_pr6() {
    let mut bench = Bench::in_town();
    let user = UserId::new("bob").unwrap();
    let kick = SpaceAct::Kick { user, wait: Duration::from_secs(60) };
    bench.act(kick.clone());
    let frame = Kick { handle: 3, user: "bob".to_owned(), for_ms: 60_000 };
    assert_eq!(bench.sent.pop_back(), Some(frame.into()));
    bench.server_says(Kicked { handle: 3, user: "bob".to_owned(), devices: 1, refused: None });
    bench.lose_connection();
    bench.act(kick);
    let kicked = bench.notices.iter().filter_map(|notice| match notice {
        Notice::Space { news: SpaceNews::Kicked { devices, refused, .. }, .. } => {
            Some((*devices, *refused))
        }
        _ => None,
    });
    let kicked: Vec<_> = kicked.collect();
    assert_eq!(kicked, [(1, None), (0, Some(Code::ShuttingDown))]);
}

#[test]
fn nonsense_about_a_space_ends_the_connection() {
    let mut bench = Bench::in_town();
    bench.told(false, vec![came(9, "no name at all")]);
    assert_eq!(bench.hung_up, 1);
    assert_eq!(bench.session.space_status(TOWN), Some(&SpaceStatus::Apart));
}
