//! What an operator orders while people are there: nothing is taken apart that is still on its way to the
//! store, everybody is told, and who asks meanwhile is refused or waits.

use super::*;
use crate::storage::Deletion;
use crate::wire::frame::{Enter, FollowFeed, WriteStream};

const TOWN: &str = "town";

fn deleted() -> Input {
    Input::SpaceDeleted { space: TOWN.to_owned() }
}

/// The codes of the frames that say why something is not to be had.
fn refusals(frames: &[ServerFrame]) -> Vec<Code> {
    let code = |frame: &ServerFrame| match frame {
        ServerFrame::Error(error) => Code::from_number(error.code),
        ServerFrame::SentAway(away) => Code::from_number(away.code),
        ServerFrame::FeedEnded(ended) => Code::from_number(ended.code),
        ServerFrame::StreamRefused(refused) => Code::from_number(refused.code),
        ServerFrame::Goodbye(goodbye) => Code::from_number(goodbye.code),
        _ => None,
    };
    frames.iter().filter_map(code).collect()
}

#[test]
fn a_space_is_emptied_once_nothing_of_it_is_under_way_and_all_are_told_dl1() {
    let mut world = World::new();
    let mut ada = Client::join(&mut world, 1, true);
    ada.edit(&mut world, 1);
    let space = TOWN.to_owned();
    world.say(ada.connection, Enter { space: space.clone(), visible: true, sayings: vec![] });
    world.say(ada.connection, FollowFeed { space, newest: 10 });
    let (address, asked_by) = ("town/answer/stream".to_owned(), None);
    world.say(ada.connection, WriteStream { address, create: true, asked_by, since: 0 });
    ada.listen(&mut world);
    ada.news();
    world.hold_commits = true;
    ada.edit(&mut world, 1);
    let assigned = world.hub.documents.live(ada.handle).unwrap().assigned.seq;

    world.tell(deleted());
    ada.listen(&mut world);
    assert_eq!(refusals(&ada.news()), [Code::SpaceDeleted; 4]);
    assert!(world.orders.is_empty(), "a commit is under way");
    // Nobody comes in, and what is said on the old handle is passed over.
    let mut bob = Client::join(&mut world, 2, false);
    assert_eq!(refusals(&bob.news()), [Code::SpaceDeleted]);
    ada.edit(&mut world, 1);
    assert!(refusals(&ada.news()).is_empty());

    world.release_commit();
    let [Effect::EmptySpace { space }] = &world.orders[..] else { panic!("{:?}", world.orders) };
    assert_eq!(space, TOWN);
    assert_eq!(
        world.logs[&super::address()].head().end.seq,
        assigned,
        "what was accepted is there"
    );
    let stats = world.hub.stats();
    assert_eq!((stats.documents, stats.streams, stats.feeds, stats.followers), (0, 0, 0, 0));
    world.tell(deleted());
    assert_eq!(world.orders.len(), 1, "it is asked for once");
    world.tell(Input::SpaceEmptied { space: TOWN.to_owned() });
    assert!(world.hub.spaces.is_empty(), "nothing is kept of it");
    assert_eq!(world.hub.stats().connections, 2, "and both are still there");
}

#[test]
fn a_deletion_in_the_store_stands_until_it_is_emptied_and_for_the_offline_window_dl3() {
    let window = Config::default().offline_window;
    let at = Timestamp(1_000);
    let open = Deletion { at, emptied: false };
    let done = Deletion { at, emptied: true };
    let (early, late) = (at + window, at + window + Duration::from_millis(1));
    assert!(open.stands(late, window) && done.stands(early, window));
    assert!(!done.stands(late, window));
}

#[test]
fn who_asks_for_what_is_written_anew_waits_and_who_has_it_opens_it_again_dl4() {
    let mut world = World::new();
    let mut ada = Client::join(&mut world, 1, true);
    ada.edit(&mut world, 1);
    world.hold_commits = true;
    ada.edit(&mut world, 1);
    world.tell(Input::Rewrite { address: address() });
    assert!(world.orders.is_empty(), "a commit is under way");
    ada.edit(&mut world, 1);
    assert_eq!(world.hub.documents.live(ada.handle).unwrap().assigned.seq, 2, "passed over");
    world.release_commit();
    assert!(matches!(world.orders[..], [Effect::Rewrite { .. }]));
    let mut bob = Client::join(&mut world, 2, false);
    assert!(bob.news().is_empty(), "he waits");
    ada.news();
    world.tell(Input::Rewritten { address: address(), result: Ok(None) });
    for client in [&mut ada, &mut bob] {
        client.listen(&mut world);
        assert_eq!(refusals(&client.news()), [Code::RolledOver]);
    }
    assert_eq!(world.hub.stats().documents, 0);
    bob.subscribe(&mut world, false);
    assert_eq!(bob.subscribed().end_seq, 2);
}

#[test]
fn what_is_not_in_memory_is_kept_from_it_while_it_is_written_anew() {
    let mut world = World::new();
    world.tell(Input::Rewrite { address: address() });
    assert!(matches!(world.orders[..], [Effect::Rewrite { .. }]));
    let mut bob = Client::join(&mut world, 2, false);
    assert!(bob.news().is_empty(), "he waits");
    world.tell(Input::Rewritten { address: address(), result: Ok(None) });
    bob.listen(&mut world);
    assert_eq!(bob.subscribed().end_seq, 0);
    world.tell(Input::Rewrite { address: "town/other/json".parse().unwrap() });
    let other = "town/other/json".parse().unwrap();
    world.tell(Input::Rewritten { address: other, result: Ok(None) });
    assert_eq!(world.hub.stats().documents, 1, "nobody wanted the other");
}

#[test]
fn a_user_who_is_forgotten_is_out_until_that_is_over_dl4() {
    let mut world = World::new();
    let mut ada = Client::join(&mut world, 1, true);
    world.hold_commits = true;
    ada.edit(&mut world, 1);
    let user = UserId::new(&hello_frame(1, 1).user).unwrap();
    world.tell(Input::UserLeaves { user });
    assert!(world.closed.contains_key(&ada.connection));
    assert!(world.orders.is_empty(), "what it wrote is not durable");
    world.release_commit();
    assert!(matches!(world.orders[..], [Effect::ForgetUser { .. }]));
    let again = world.open();
    world.say(again, hello_frame(1, 9));
    assert_eq!(refusals(&world.heard(again)), [Code::Unauthenticated]);
    world.tell(Input::UserForgotten);
    // It is welcome again, as `hello` sees to.
    world.hello(1, 10);
}
