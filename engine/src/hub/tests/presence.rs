//! Who is in a space: that everybody there sees the same, that what lapses, vanishes or is sent out is
//! gone at once, and that neither a slow reader nor a crowd nor a long history costs more than it must.

use std::sync::Arc;
use std::time::Duration;

use super::rules::{Keeper, OneOwner};
use super::*;
use crate::hub::presence::PresenceConfig;
use crate::wire::frame::{
    Announce, Crowd, Enter, Entered, Kick, Kicked, Leave, News, NotAnnounced, SentAway, WireSaying,
};

const TICK: Duration = Duration::from_millis(100);

fn world_with(config: PresenceConfig) -> World {
    let config = Config { presence: config, ..Config::default() };
    let mut world = World::with(config, 1);
    let identity = world.hub.identity.clone();
    world.hub = Hub::new(config, identity).with_authenticator(Arc::new(OneOwner));
    world
}

fn world() -> World {
    world_with(PresenceConfig::default())
}

fn saying(key: &str, seq: u64, value: &str) -> WireSaying {
    WireSaying { key: key.to_owned(), seq, value: Some(value.to_owned()), ttl_ms: None }
}

/// Somebody in a space, who takes in what is said of it in the simplest way.
#[derive(Debug)]
struct Guest {
    connection: u64,
    handle: u32,
    device: Option<u64>,
    version: u64,
    devices: BTreeMap<u64, (String, String)>,
    said: BTreeMap<(u64, String), String>,
    seen: BTreeSet<String>,
    crowd: Option<Crowd>,
    /// `Presence` and `Crowd` frames that came.
    frames: usize,
    news: Vec<ServerFrame>,
}

impl Guest {
    fn at(connection: u64) -> Self {
        Self {
            connection,
            handle: 0,
            device: None,
            version: 0,
            devices: BTreeMap::new(),
            said: BTreeMap::new(),
            seen: BTreeSet::new(),
            crowd: None,
            frames: 0,
            news: vec![],
        }
    }

    fn join(world: &mut World, session: u8) -> Self {
        let mut guest = Self::at(world.hello(session, 1));
        guest.enter(world, true, vec![]);
        guest
    }

    fn enter(&mut self, world: &mut World, visible: bool, sayings: Vec<WireSaying>) {
        world.say(self.connection, Enter { space: "town".to_owned(), visible, sayings });
        self.listen(world);
    }

    fn say(&mut self, world: &mut World, sayings: Vec<WireSaying>) {
        world.say(self.connection, Announce { handle: self.handle, sayings });
    }

    fn listen(&mut self, world: &mut World) {
        for frame in world.heard(self.connection) {
            match frame {
                ServerFrame::Entered(Entered { handle, device, .. }) => {
                    (self.handle, self.device) = (handle, device);
                    self.version = 0;
                }
                ServerFrame::Presence(frame) => {
                    assert_eq!(frame.handle, self.handle);
                    assert!(frame.version >= self.version && frame.now_ms <= world.now.0);
                    self.version = frame.version;
                    self.frames += 1;
                    self.crowd = None;
                    if frame.whole {
                        self.devices.clear();
                        self.said.clear();
                        self.seen.clear();
                    }
                    frame.news.into_iter().for_each(|news| self.take(news));
                }
                ServerFrame::Crowd(crowd) => {
                    self.frames += 1;
                    self.crowd = Some(crowd);
                }
                other => self.news.push(other),
            }
        }
    }

    fn take(&mut self, news: News) {
        match news {
            News::Came { device, user, role, .. } => {
                self.seen.remove(&user);
                self.devices.insert(device, (user, role));
            }
            News::Left { device } => {
                self.devices.remove(&device);
                self.said.retain(|(of, _), _| *of != device);
            }
            News::Said { device, key, value, .. } => {
                self.said.insert((device, key), value);
            }
            News::Unsaid { device, key } => {
                self.said.remove(&(device, key));
            }
            News::Seen { user, .. } => {
                self.seen.insert(user);
            }
            News::Forgotten { user } => {
                self.seen.remove(&user);
            }
        }
    }

    fn users(&self) -> Vec<&str> {
        let mut users: Vec<&str> = self.devices.values().map(|(user, _)| user.as_str()).collect();
        users.sort_unstable();
        users
    }

    fn says(&self, guest: &Self, key: &str) -> Option<&str> {
        self.said.get(&(guest.device.unwrap(), key.to_owned())).map(String::as_str)
    }

    fn sent_away(&mut self) -> Option<(Code, Option<u32>)> {
        match &std::mem::take(&mut self.news)[..] {
            [] => None,
            [ServerFrame::SentAway(SentAway { code, retry_after_ms, .. })] => {
                Some((Code::from_number(*code).unwrap(), *retry_after_ms))
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn who_comes_is_given_the_whole_picture_and_the_others_what_is_new_pr1_pr3() {
    let mut world = world();
    let mut ada = Guest::join(&mut world, 1);
    ada.say(&mut world, vec![saying("status", 1, "\"busy\"")]);
    let bob = Guest::join(&mut world, 2);
    assert_eq!(bob.users(), ["user1", "user2"], "at once, without waiting for the next time");
    assert_eq!(bob.says(&ada, "status"), Some("\"busy\""));
    assert_eq!(bob.devices[&ada.device.unwrap()].1, "owner");
    assert_eq!(bob.devices[&bob.device.unwrap()].1, "member");
    world.pass(TICK);
    ada.listen(&mut world);
    assert_eq!(ada.users(), ["user1", "user2"]);

    // Who only looks sees and is not seen.
    let mut eve = Guest::at(world.hello(3, 1));
    eve.enter(&mut world, false, vec![]);
    assert_eq!((eve.users(), eve.device), (vec!["user1", "user2"], None));
    world.pass(TICK);
    ada.listen(&mut world);
    assert_eq!(ada.users(), ["user1", "user2"]);
    eve.say(&mut world, vec![saying("status", 1, "1")]);
    eve.listen(&mut world);
    assert!(matches!(
        eve.news[..],
        [ServerFrame::NotAnnounced(NotAnnounced { code, .. })] if code == Code::BadPresence.number()
    ));

    world.say(bob.connection, Leave { handle: bob.handle });
    world.pass(TICK);
    ada.listen(&mut world);
    assert_eq!(ada.users(), ["user1"]);
    assert!(ada.seen.contains("user2"), "seen last");
}

#[test]
fn the_last_value_counts_by_its_number_and_not_by_when_it_came_pr2() {
    let mut world = world();
    let (mut ada, mut bob) = (Guest::join(&mut world, 1), Guest::join(&mut world, 2));
    ada.say(&mut world, vec![saying("cursor", 5, "new")]);
    ada.say(&mut world, vec![saying("cursor", 4, "old")]);
    ada.say(&mut world, vec![saying("other", 3, "of another key")]);
    world.pass(TICK);
    bob.listen(&mut world);
    assert_eq!(bob.says(&ada, "cursor"), Some("new"));
    assert_eq!(bob.says(&ada, "other"), Some("of another key"));
    // Nor does it come back once it is taken back, or has lapsed.
    let taken_back = WireSaying { value: None, ..saying("cursor", 7, "") };
    ada.say(&mut world, vec![taken_back, saying("cursor", 6, "late")]);
    let lapses = WireSaying { ttl_ms: Some(1_000), ..saying("typing", 9, "x") };
    ada.say(&mut world, vec![lapses]);
    world.pass(TICK);
    bob.listen(&mut world);
    assert_eq!((bob.says(&ada, "cursor"), bob.says(&ada, "typing")), (None, Some("x")));
    world.pass(Duration::from_secs(2));
    ada.say(&mut world, vec![saying("typing", 8, "late")]);
    world.pass(TICK);
    bob.listen(&mut world);
    assert_eq!(bob.says(&ada, "typing"), None);
    // Another connection numbers anew, and says everything that stands.
    world.tell(Input::Closed { connection: ConnectionId(ada.connection) });
    ada.connection = world.hello(1, 2);
    ada.enter(&mut world, true, vec![saying("cursor", 1, "again")]);
    world.pass(TICK);
    bob.listen(&mut world);
    assert_eq!((bob.says(&ada, "cursor"), bob.says(&ada, "other")), (Some("again"), None));
}

#[test]
fn typing_ends_by_itself_and_with_the_typist_pr4() {
    let mut world = world();
    let (mut ada, mut bob) = (Guest::join(&mut world, 1), Guest::join(&mut world, 2));
    let typing = |seq| WireSaying { ttl_ms: Some(6_000), ..saying("typing", seq, "\"here\"") };
    ada.say(&mut world, vec![typing(1)]);
    world.pass(Duration::from_secs(4));
    ada.say(&mut world, vec![typing(2)]);
    world.pass(Duration::from_secs(4));
    bob.listen(&mut world);
    assert_eq!(bob.says(&ada, "typing"), Some("\"here\""), "said again, it stands for longer");
    world.pass(Duration::from_secs(3));
    bob.listen(&mut world);
    assert_eq!(bob.says(&ada, "typing"), None);

    ada.say(&mut world, vec![WireSaying { ttl_ms: Some(60_000), ..typing(3) }]);
    world.tell(Input::Closed { connection: ConnectionId(ada.connection) });
    world.pass(Duration::from_secs(4));
    bob.listen(&mut world);
    assert_eq!(bob.users(), ["user1", "user2"], "who comes back soon does not flicker");
    let frames = bob.frames;
    ada.connection = world.hello(1, 2);
    ada.enter(&mut world, true, vec![saying("status", 1, "1")]);
    world.pass(Duration::from_secs(10));
    bob.listen(&mut world);
    assert_eq!((bob.users(), bob.says(&ada, "status")), (vec!["user1", "user2"], Some("1")));
    assert_eq!(bob.frames, frames + 1);

    world.tell(Input::Closed { connection: ConnectionId(ada.connection) });
    world.pass(Duration::from_secs(6));
    bob.listen(&mut world);
    assert_eq!(bob.users(), ["user2"], "who does not is gone with all that it said");
    assert!(bob.said.is_empty());
}

#[test]
fn who_says_goodbye_is_gone_at_once_pr4() {
    let mut world = world();
    let (ada, mut bob) = (Guest::join(&mut world, 1), Guest::join(&mut world, 2));
    world.say(ada.connection, Bye {});
    world.pass(TICK);
    bob.listen(&mut world);
    assert_eq!(bob.users(), ["user2"]);
}

#[test]
fn a_ban_takes_effect_at_once_also_on_one_whose_connection_is_gone_pr5() {
    let mut world = world();
    let mut keeper = Keeper::join(&mut world, 1);
    let mut owner = Guest::at(keeper.connection);
    owner.enter(&mut world, true, vec![]);
    let (mut bob, eve) = (Guest::join(&mut world, 2), Guest::join(&mut world, 3));
    world.tell(Input::Closed { connection: ConnectionId(eve.connection) });
    assert_eq!(keeper.set(&mut world, "members", "user2", "moderator"), None);
    bob.listen(&mut world);
    assert!(matches!(&bob.news[..], [ServerFrame::Standing(s)] if s.role == "moderator"));
    bob.news.clear();
    keeper.ban(&mut world, "user3", true);
    keeper.ban(&mut world, "user2", true);
    bob.listen(&mut world);
    assert_eq!(bob.sent_away(), Some((Code::Forbidden, None)));
    assert_eq!((world.hub.stats().present, world.hub.stats().present_users), (1, 1));
    bob.enter(&mut world, true, vec![]);
    assert_eq!(bob.sent_away(), Some((Code::Forbidden, None)));
    keeper.ban(&mut world, "user2", false);
    bob.enter(&mut world, true, vec![]);
    assert_eq!((bob.sent_away(), bob.users()), (None, vec!["user1", "user2"]));
}

#[test]
fn a_moderator_sends_a_user_out_for_a_while_with_all_devices_pr6() {
    let mut world = world();
    let mut owner = Guest::join(&mut world, 1);
    let mut bob = Guest::join(&mut world, 2);
    let mut again = Guest::at(world.open());
    let frame = Hello { user: "user2".to_owned(), ..hello_frame(20, 1) };
    world.say(again.connection, frame);
    again.enter(&mut world, true, vec![]);
    assert_eq!(again.users(), ["user1", "user2", "user2"]);

    let kick = |guest: &Guest, user: &str| Kick {
        handle: guest.handle,
        user: user.to_owned(),
        for_ms: 60_000,
    };
    let outcome = |guest: &mut Guest, world: &mut World| {
        guest.listen(world);
        match &std::mem::take(&mut guest.news)[..] {
            [ServerFrame::Kicked(Kicked { devices, refused, .. })] => (*devices, *refused),
            other => panic!("{other:?}"),
        }
    };
    world.say(bob.connection, kick(&bob, "user1"));
    assert_eq!(outcome(&mut bob, &mut world), (0, Some(Code::Forbidden.number())));
    world.say(owner.connection, kick(&owner, "user2"));
    assert_eq!(outcome(&mut owner, &mut world), (2, None));
    bob.listen(&mut world);
    again.news.clear();
    again.listen(&mut world);
    assert_eq!(bob.sent_away(), Some((Code::Kicked, Some(60_000))));
    assert_eq!(again.sent_away(), Some((Code::Kicked, Some(60_000))));
    world.pass(Duration::from_secs(59));
    bob.enter(&mut world, true, vec![]);
    assert_eq!(bob.sent_away(), Some((Code::Kicked, Some(1_000))));
    world.pass(Duration::from_secs(1));
    bob.enter(&mut world, true, vec![]);
    assert_eq!(bob.users(), ["user1", "user2"]);
}

#[test]
fn a_slow_reader_costs_nothing_and_is_told_the_latest_only_pr3() {
    let mut world = world();
    let (mut ada, mut bob) = (Guest::join(&mut world, 1), Guest::join(&mut world, 2));
    world.pass(TICK);
    bob.listen(&mut world);
    world.stuck.push(bob.connection);
    let before = bob.frames;
    for seq in 1..=200 {
        let value = format!("{seq}{}", "x".repeat(900));
        ada.say(&mut world, vec![saying("cursor", seq, &value)]);
        world.pass(TICK);
    }
    assert!(world.unread[&bob.connection] < 2_000, "one frame waits, whatever is said");
    world.stuck.clear();
    world.drain(bob.connection);
    bob.listen(&mut world);
    assert_eq!(bob.frames, before + 2);
    assert!(bob.says(&ada, "cursor").unwrap().starts_with("200x"));
    // The same for many removals, of which not all are remembered.
    world.stuck.push(bob.connection);
    for round in 1..=100 {
        let pairs = (0..16).flat_map(|n| {
            let seq = 1_000 + 100 * round + 2 * n;
            let off = WireSaying { value: None, ..saying("flag", seq + 1, "") };
            [saying("flag", seq, "1"), off]
        });
        ada.say(&mut world, pairs.collect());
        world.pass(TICK);
    }
    let last = vec![WireSaying { value: None, ..saying("cursor", 90_000, "") }];
    ada.say(&mut world, last);
    world.pass(TICK);
    world.stuck.clear();
    world.drain(bob.connection);
    bob.listen(&mut world);
    ada.listen(&mut world);
    assert_eq!((&bob.devices, &bob.said), (&ada.devices, &ada.said));
    assert!(bob.said.is_empty());
}

#[test]
fn many_announcements_within_one_interval_go_out_once_and_as_the_same_bytes_pr3() {
    let mut world = world();
    let mut guests: Vec<Guest> = (1..=20).map(|n| Guest::join(&mut world, n)).collect();
    world.pass(Duration::from_secs(1));
    for guest in &mut guests {
        guest.listen(&mut world);
        guest.frames = 0;
    }
    for seq in 1..=10 {
        for guest in &mut guests {
            guest.say(&mut world, vec![saying("cursor", seq, &seq.to_string())]);
        }
    }
    world.pass(Duration::from_secs(1));
    let expected: Vec<ServerFrame> = world.heard(guests[0].connection);
    assert!(expected.len() <= 2, "{}", expected.len());
    for guest in &guests[1..] {
        assert_eq!(world.heard(guest.connection), expected);
    }
}

#[test]
fn too_much_is_refused_with_a_word_and_costs_nobody_else_pr7() {
    let mut world = world();
    let (mut ada, mut bob) = (Guest::join(&mut world, 1), Guest::join(&mut world, 2));
    let refusal = |guest: &mut Guest, world: &mut World| {
        guest.listen(world);
        std::mem::take(&mut guest.news).into_iter().find_map(|frame| match frame {
            ServerFrame::NotAnnounced(NotAnnounced { code, retry_after_ms, .. }) => {
                Some((Code::from_number(code).unwrap(), retry_after_ms))
            }
            _ => None,
        })
    };
    let bad = Some((Code::BadPresence, None));
    for sayings in [
        vec![saying("No Key", 1, "1")],
        vec![saying("k", 1, &"v".repeat(1_025))],
        (0..17).map(|n| saying(&format!("k{n}"), n + 1, "1")).collect(),
    ] {
        ada.say(&mut world, sayings);
        assert_eq!(refusal(&mut ada, &mut world), bad);
    }
    world.pass(TICK);
    bob.listen(&mut world);
    assert!(bob.said.is_empty(), "nothing of a refused announcement counts");
    // Keys that come and go do not add up.
    for round in 0..30 {
        world.pass(Duration::from_secs(1));
        let key = format!("k{round}");
        ada.say(&mut world, vec![saying(&key, 2 * round + 1, "1")]);
        ada.say(&mut world, vec![WireSaying { value: None, ..saying(&key, 2 * round + 2, "") }]);
        assert_eq!(refusal(&mut ada, &mut world), None);
    }
    for seq in 100..200 {
        ada.say(&mut world, vec![saying("k", seq, "1")]);
    }
    let Some((Code::TooManyAnnouncements, Some(wait))) = refusal(&mut ada, &mut world) else {
        panic!("a hundred at once are too many");
    };
    world.pass(Duration::from_millis(wait.into()));
    ada.say(&mut world, vec![saying("k", 200, "last")]);
    assert_eq!(refusal(&mut ada, &mut world), None);
    world.pass(TICK);
    bob.listen(&mut world);
    assert_eq!(bob.says(&ada, "k"), Some("last"));
}

#[test]
fn one_connection_may_be_in_so_many_spaces_and_one_space_hold_so_many_pr7() {
    let config = PresenceConfig { spaces_max: 2, members_max: 2, ..PresenceConfig::default() };
    let mut world = world_with(config);
    let (mut ada, _bob) = (Guest::join(&mut world, 1), Guest::join(&mut world, 2));
    let mut carol = Guest::join(&mut world, 3);
    assert_eq!(carol.sent_away(), Some((Code::SpaceFull, None)));
    carol.enter(&mut world, false, vec![]);
    assert_eq!((carol.sent_away(), carol.users().len()), (None, 2), "looking is free");
    for (space, code) in
        [("one", None), ("two", Some(Code::TooManySpaces)), ("a b", Some(Code::BadAddress))]
    {
        let space = space.to_owned();
        world.say(ada.connection, Enter { space, visible: true, sayings: vec![] });
        let heard = world.heard(ada.connection);
        let refused = heard.iter().find_map(|frame| match frame {
            ServerFrame::SentAway(away) => Code::from_number(away.code),
            _ => None,
        });
        assert_eq!(refused, code);
    }
    ada.news.clear();
}

#[test]
fn a_crowd_is_told_counts_and_a_few_and_becomes_a_picture_again_pr8() {
    let config = PresenceConfig { full_max: 10, sample: 3, ..PresenceConfig::default() };
    let mut world = world_with(config);
    let mut guests: Vec<Guest> = (1..=10).map(|n| Guest::join(&mut world, n)).collect();
    world.pass(TICK);
    let mut last = Guest::join(&mut world, 11);
    world.pass(Duration::from_secs(1));
    guests[0].listen(&mut world);
    last.listen(&mut world);
    let crowd = guests[0].crowd.clone().unwrap();
    assert_eq!((crowd.devices, crowd.users, crowd.idle), (11, 11, 0));
    assert_eq!(last.crowd.as_ref(), Some(&crowd));
    let named = |crowd: &Crowd| -> Vec<String> {
        let came = crowd.sample.iter();
        came.filter_map(|news| match news {
            News::Came { user, .. } => Some(user.clone()),
            _ => None,
        })
        .collect()
    };
    guests[4].say(&mut world, vec![saying("typing", 1, "\"here\"")]);
    guests[5].say(&mut world, vec![saying("idle", 1, "0")]);
    world.pass(Duration::from_secs(1));
    guests[0].listen(&mut world);
    let crowd = guests[0].crowd.clone().unwrap();
    assert_eq!((crowd.idle, crowd.typing), (1, 1));
    assert_eq!(named(&crowd), ["user5", "user11", "user10"], "who did something last");
    // Fewer, but not so few that it goes back and forth.
    world.say(last.connection, Bye {});
    world.pass(Duration::from_secs(1));
    guests[0].listen(&mut world);
    assert_eq!(guests[0].crowd.as_ref().unwrap().devices, 10);
    for guest in guests.drain(8..) {
        world.say(guest.connection, Bye {});
    }
    world.pass(Duration::from_secs(1));
    for guest in &mut guests {
        guest.listen(&mut world);
        assert_eq!((guest.crowd.is_none(), guest.users().len()), (true, 8));
    }
    assert_eq!(guests[1].says(&guests[4], "typing"), Some("\"here\""));
}

/// Joins many sessions, has all of them announce for some seconds, and counts frames and bytes.
fn bustle(members: usize) -> (usize, usize) {
    let mut world = world();
    let mut guests = Vec::new();
    for n in 0..members {
        let mut session = [0; 16];
        session[..8].copy_from_slice(&(n as u64).to_le_bytes());
        let connection = world.open();
        let hello = Hello { session, user: format!("u{n}"), ..hello_frame(1, 1) };
        world.say(connection, hello);
        world.heard(connection);
        let mut guest = Guest::at(connection);
        guest.enter(&mut world, true, vec![]);
        guests.push(guest);
    }
    world.pass(Duration::from_secs(30));
    for guest in &guests {
        world.heard(guest.connection);
    }
    let (mut frames, mut bytes) = (0, 0);
    for seq in 1..=20 {
        for guest in &mut guests {
            guest.say(&mut world, vec![saying("cursor", seq, &format!("{seq:0100}"))]);
        }
        world.pass(Duration::from_millis(500));
        for guest in &guests {
            for frame in world.heard(guest.connection) {
                frames += 1;
                bytes += frame.encode().unwrap().len();
            }
        }
    }
    (frames, bytes)
}

/// PR8. Ten times as many members are not a hundred times as many bytes.
#[test]
fn what_a_space_sends_does_not_grow_with_the_square_of_its_members_pr8() {
    let (_, bytes_full) = bustle(90);
    let (frames, bytes) = bustle(900);
    assert!(bytes < 4 * bytes_full, "{bytes} against {bytes_full}");
    // Each is told once in nine intervals at most: ten seconds have a hundred intervals.
    assert!(frames <= 900 * 12, "{frames}");
}

#[test]
fn when_all_have_left_everything_is_gone_after_a_while_pr9() {
    let mut world = world();
    let mut guests: Vec<Guest> = (1..=5).map(|n| Guest::join(&mut world, n)).collect();
    for guest in &mut guests {
        guest.say(&mut world, vec![saying("status", 1, "1")]);
    }
    assert_eq!((world.hub.stats().spaces, world.hub.stats().present), (1, 5));
    for guest in &guests {
        world.tell(Input::Closed { connection: ConnectionId(guest.connection) });
    }
    world.pass(Duration::from_secs(29 * 60));
    assert_eq!((world.hub.stats().spaces, world.hub.stats().present), (1, 0));
    let mut back = Guest::join(&mut world, 1);
    assert_eq!(back.seen.len(), 4, "who was there is known for half an hour");
    back.listen(&mut world);
    world.say(back.connection, Bye {});
    world.pass(Duration::from_secs(31 * 60));
    let stats = world.hub.stats();
    assert_eq!((stats.spaces, stats.present, stats.sessions, stats.connections), (0, 0, 0, 0));
    assert_eq!((world.hub.spaces.len(), world.hub.poll_timeout()), (0, None));
}

#[test]
fn empty_spaces_make_room_and_spaces_with_people_do_not_pr9() {
    let config = PresenceConfig { live_max: 3, ..PresenceConfig::default() };
    let mut world = world_with(config);
    let connection = world.hello(1, 1);
    let enter = |world: &mut World, space: &str| {
        world.say(connection, Enter { space: space.to_owned(), visible: true, sayings: vec![] });
        match &world.heard(connection)[..] {
            [ServerFrame::Entered(entered), ServerFrame::Presence(_)] => Ok(entered.handle),
            [ServerFrame::SentAway(away)] => Err(Code::from_number(away.code).unwrap()),
            other => panic!("{other:?}"),
        }
    };
    for n in 0..20 {
        let handle = enter(&mut world, &format!("s{n}")).unwrap();
        world.say(connection, Leave { handle });
        world.pass(Duration::from_secs(1));
        world.heard(connection);
    }
    assert_eq!(world.hub.stats().spaces, 3);
    for n in 0..3 {
        enter(&mut world, &format!("t{n}")).unwrap();
    }
    assert_eq!(enter(&mut world, "t3"), Err(Code::Overloaded));
}
