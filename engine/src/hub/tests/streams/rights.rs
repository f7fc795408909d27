//! Who may do what with a stream, and that it changes at once.

use super::super::rules::{self, Keeper};
use super::*;

#[test]
fn st1_only_its_maker_writes_a_stream_and_viewers_make_none() {
    let mut world = rules::world();
    let mut owner = Keeper::join(&mut world, 1);
    assert_eq!(owner.set(&mut world, "members", "user3", "viewer"), None);
    let (_agent, mut ada) = open_stream_by(&mut world, 5);
    ada.write(&mut world, true);
    assert_eq!(ada.refusals(), [(StreamAsk::Write, Code::NotProducer)]);
    ada.append(&mut world, 0, "x");
    ada.end(&mut world, 0, FINISHED);
    assert_eq!((ada.text.as_str(), ada.outcome()), ("", None), "who only reads is not heard");
    let mut eve = Talker::join(&mut world, 3);
    eve.write(&mut world, true);
    let (asked_by, address) = (None, "town/other/stream".to_owned());
    eve.say(&mut world, WriteStream { address, create: true, asked_by, since: 0 });
    let not = [(StreamAsk::Write, Code::NotProducer), (StreamAsk::Write, Code::Forbidden)];
    assert_eq!(eve.refusals(), not);
}

#[test]
fn st8_who_writes_it_asked_for_it_or_moderates_interrupts_and_nobody_else() {
    for (session, may) in [(5, true), (2, true), (3, true), (4, false)] {
        let mut world = rules::world();
        let mut owner = Keeper::join(&mut world, 1);
        assert_eq!(owner.set(&mut world, "members", "user3", "moderator"), None);
        let (_agent, _ada) = open_stream_by(&mut world, 5);
        let mut other = Talker::on(world.hello(session, 2));
        other.interrupt(&mut world);
        if may {
            assert_eq!((other.interrupted, other.refusals()), (1, vec![]), "{session}");
        } else {
            assert_eq!(other.refusals(), [(StreamAsk::Interrupt, Code::Forbidden)]);
        }
    }
}

#[test]
fn st10_who_may_read_or_write_no_more_is_told_at_once() {
    let mut world = rules::world();
    let mut owner = Keeper::join(&mut world, 1);
    let (mut agent, mut ada) = open_stream_by(&mut world, 5);
    agent.append(&mut world, 0, "so");
    ada.listen(&mut world);
    owner.ban(&mut world, "user2", true);
    ada.listen(&mut world);
    assert_eq!(ada.refusals(), [(StreamAsk::Read, Code::Forbidden)]);
    agent.append(&mut world, 2, " far");
    ada.listen(&mut world);
    assert_eq!(ada.text, "so");
    ada.read(&mut world, 0);
    assert_eq!(ada.refusals(), [(StreamAsk::Read, Code::Forbidden)]);
    assert_eq!(owner.set(&mut world, "members", "user5", "viewer"), None);
    agent.listen(&mut world);
    assert_eq!(agent.refusals(), [(StreamAsk::Write, Code::Forbidden)]);
    agent.append(&mut world, 6, "!");
    assert_eq!((agent.acked, agent.refusals()), (6, vec![]), "passed over (ST6)");
}

#[test]
fn st10_a_stream_in_a_space_whose_rules_are_not_read_yet_waits_for_them() {
    let mut world = rules::world();
    let mut owner = Keeper::join(&mut world, 1);
    let (_agent, _ada) = open_stream_by(&mut world, 5);
    owner.ban(&mut world, "user2", true);
    let identity = Identity { term: 2, digest_key: key() };
    world.hub = Hub::new(world.hub.config, identity);
    world.inbox.clear();
    let mut ada = Talker::join(&mut world, 2);
    ada.read(&mut world, 0);
    assert_eq!(ada.refusals(), [(StreamAsk::Read, Code::Forbidden)]);
    assert_eq!(world.hub.stats().streams, 0, "it was not even loaded");
    let mut agent = Talker::join(&mut world, 5);
    agent.write(&mut world, false);
    assert_eq!(agent.opened.len(), 1);
}
