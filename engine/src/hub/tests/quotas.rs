//! What one user and one space may ask for: who goes too fast is held, who goes much too fast is sent
//! away, and nobody loses anything.

use super::*;

fn quotas(quotas: Quotas) -> Config {
    Config { quotas, ..Config::default() }
}

/// Ten changes a second, two seconds' worth at once, three seconds at most on hold.
fn ten_a_second() -> Quotas {
    Quotas {
        user_changes_per_s: 10,
        burst: Duration::from_secs(2),
        hold_max: Duration::from_secs(3),
        ..Quotas::none()
    }
}

fn goodbye(frames: &[ServerFrame]) -> (Code, Duration) {
    match frames {
        [.., ServerFrame::Goodbye(goodbye)] => {
            let wait = goodbye.retry_after_ms.expect("a time to come back");
            (Code::from_number(goodbye.code).unwrap(), Duration::from_millis(wait.into()))
        }
        other => panic!("{other:?}"),
    }
}

fn told(frames: &[ServerFrame]) -> Vec<Code> {
    let error = |frame: &ServerFrame| match frame {
        ServerFrame::Error(error) => Code::from_number(error.code),
        _ => None,
    };
    frames.iter().filter_map(error).collect()
}

#[test]
fn who_pushes_too_fast_is_held_and_loses_nothing_lm1() {
    let mut world = World::with(quotas(ten_a_second()), 1);
    let mut ada = Client::join(&mut world, 1, true);
    ada.news();
    ada.edit(&mut world, 20);
    assert!(world.holds.is_empty(), "a burst");
    ada.edit(&mut world, 5);
    assert_eq!(world.holds, [(ada.connection, Duration::from_millis(500))]);
    ada.edit(&mut world, 5);
    assert_eq!(world.holds[1..], [(ada.connection, Duration::from_secs(1))]);
    assert_eq!(ada.acked, 30, "all of it was taken in");
    assert_eq!(told(&ada.news()), [Code::RateLimited], "told once");
    world.pass(Duration::from_secs(2));
    ada.edit(&mut world, 1);
    assert_eq!(world.holds.len(), 2, "in time again");
}

#[test]
fn who_is_far_ahead_is_sent_away_and_may_come_back_later_lm2() {
    let mut world = World::with(quotas(ten_a_second()), 1);
    let mut ada = Client::join(&mut world, 1, true);
    ada.edit(&mut world, 100);
    assert_eq!(ada.acked, 100);
    assert_eq!(world.holds, [(ada.connection, Duration::from_secs(3))], "no longer than that");
    ada.news();
    let late = vec![ada.write()];
    ada.push(&mut world, late.clone());
    let (code, wait) = goodbye(&ada.news());
    assert!(code == Code::RateLimited && wait >= Duration::from_secs(8));
    assert_eq!(world.closed[&ada.connection], CloseCode::of(Code::RateLimited));
    assert!(CloseCode::of(Code::RateLimited).may_retry());
    // What was not looked at has no outcome, and another connection changes nothing.
    let again = world.open();
    world.say(again, hello_frame(1, 2));
    assert_eq!(goodbye(&world.heard(again)).0, Code::RateLimited);
    world.pass(wait);
    ada.number = 100;
    ada.reconnect(&mut world, 3, true);
    ada.push(&mut world, late);
    assert_eq!(ada.acked, 101);
}

#[test]
fn users_do_not_slow_each_other_down_but_a_space_has_a_pace_too() {
    let mut world = World::with(quotas(ten_a_second()), 1);
    let mut ada = Client::join(&mut world, 1, true);
    let mut bob = Client::join(&mut world, 2, true);
    ada.edit(&mut world, 40);
    bob.edit(&mut world, 20);
    assert!(world.holds.iter().all(|(held, _)| *held == ada.connection));

    let space = Quotas { user_changes_per_s: 0, space_changes_per_s: 10, ..ten_a_second() };
    let mut world = World::with(quotas(space), 1);
    let mut ada = Client::join(&mut world, 1, true);
    let mut bob = Client::join(&mut world, 2, true);
    ada.edit(&mut world, 20);
    bob.edit(&mut world, 5);
    assert_eq!(world.holds, [(bob.connection, Duration::from_millis(500))]);
}

#[test]
fn frames_and_openings_have_a_pace_as_well() {
    let few = Quotas { user_changes_per_s: 0, user_bytes_per_s: 1_280, ..ten_a_second() };
    let mut world = World::with(quotas(few), 1);
    let ada = world.hello(1, 1);
    for nonce in 0..20 {
        world.say(ada, Ping { nonce });
    }
    assert!(world.holds.is_empty());
    world.say(ada, Ping { nonce: 20 });
    assert_eq!(world.holds.len(), 1, "the shortest frame is work, too");

    let few = Quotas { user_changes_per_s: 0, user_opens_per_s: 10, ..ten_a_second() };
    let mut world = World::with(quotas(few), 1);
    let ada = world.hello(1, 1);
    for number in 0..21 {
        let address = format!("town/n{number}/json");
        let frame = Subscribe { address, cursor: None, outbox: OUTBOX, write: false };
        world.say(ada, frame);
    }
    assert_eq!(world.holds.len(), 1);
}

#[test]
fn a_user_has_a_number_of_connections_and_a_returning_one_takes_its_own_place_lm3() {
    let two = Quotas { user_connections: 2, ..Quotas::none() };
    let mut world = World::with(quotas(two), 1);
    let say = |world: &mut World, session: u8, generation| {
        let connection = world.open();
        let user = "ada".to_owned();
        world.say(connection, Hello { user, ..hello_frame(session, generation) });
        (connection, world.heard(connection))
    };
    let (first, _) = say(&mut world, 1, 1);
    let (_, second) = say(&mut world, 2, 1);
    assert!(matches!(second[..], [ServerFrame::Welcome(_)]));
    let (_, third) = say(&mut world, 3, 1);
    assert_eq!(goodbye(&third).0, Code::TooManyConnections);
    let (_, instead) = say(&mut world, 1, 2);
    assert!(matches!(instead[..], [ServerFrame::Welcome(_)]), "in the place of the first");
    assert_eq!(world.closed[&first], CloseCode::of(Code::Replaced));
    world.hello(9, 1);
}

#[test]
fn a_user_holds_a_number_of_documents_over_all_connections() {
    let two = Quotas { user_documents: 2, ..Quotas::none() };
    let mut world = World::with(quotas(two), 1);
    let mut open = |session: u8, name: &str| {
        let connection = world.open();
        world.say(connection, Hello { user: "ada".to_owned(), ..hello_frame(session, 1) });
        world.heard(connection);
        let address = format!("town/{name}/json");
        world.say(connection, Subscribe { address, cursor: None, outbox: OUTBOX, write: false });
        told(&world.heard(connection))
    };
    assert_eq!((open(1, "a"), open(2, "b")), (vec![], vec![]));
    assert_eq!(open(3, "c"), [Code::TooManyDocuments]);
}

#[test]
fn a_strained_hub_lets_go_on_what_is_there_and_nobody_new() {
    let config = Config { pending_bytes_max: 2_000, ..Config::default() };
    let mut world = World::with(config, 1);
    let mut ada = Client::join(&mut world, 1, true);
    let bob = world.hello(2, 1);
    world.hold_commits = true;
    ada.edit(&mut world, 12);
    let new = world.open();
    world.say(new, hello_frame(3, 1));
    assert_eq!(goodbye(&world.heard(new)).0, Code::Overloaded);
    let address = "town/another/json".to_owned();
    world.say(bob, Subscribe { address, cursor: None, outbox: OUTBOX, write: false });
    assert_eq!(told(&world.heard(bob)), [Code::Overloaded]);
    let address = DOC.to_owned();
    world.say(bob, Subscribe { address, cursor: None, outbox: OUTBOX, write: false });
    world.tell(Input::Closed { connection: ConnectionId(bob) });
    let back = world.open();
    world.say(back, hello_frame(2, 2));
    assert!(matches!(world.heard(back)[..], [ServerFrame::Welcome(_)]), "who is known goes on");
    world.hold_commits = false;
    world.finish_commit();
    world.hello(4, 1);
}

#[test]
fn nothing_is_kept_of_users_who_have_left() {
    let mut world = World::with(quotas(ten_a_second()), 1);
    for session in 1..=5 {
        let connection = world.hello(session, 1);
        world.say(connection, Bye {});
    }
    assert_eq!(world.hub.stats().users, 5, "within the grace time");
    world.pass(Duration::from_secs(31));
    assert_eq!(world.hub.stats().users, 0);
}
