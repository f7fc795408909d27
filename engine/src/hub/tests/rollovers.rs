//! The end of an epoch: what the document shows, who may write and what is settled go on; who comes
//! with a cursor of the old one is brought to its end and told where the log goes on.

use std::time::Duration;

use super::*;
use crate::document::begin_epoch;
use crate::wire::frame::{Error, NextEpoch};

/// A new epoch with so many changes, of those that clients here write.
fn ends_after(changes: u64) -> World {
    let mut world = World::new();
    let mut ada = Client::join(&mut world, 1, true);
    ada.edit(&mut world, 1);
    let bytes = world.hub.documents.live(ada.handle).unwrap().index.bytes();
    World::with(Config { rollover_bytes: bytes * (2 * changes - 1) / 2, ..Config::default() }, 1)
}

/// The present epoch's number among the document's.
fn epochs(world: &World) -> usize {
    world.logs[&address()].sealed.len()
}

impl Client {
    fn was_told_to_open_again(&mut self) -> bool {
        let rolled_over = |frame: &ServerFrame| matches!(frame, ServerFrame::Error(Error { code, .. }) if *code == Code::RolledOver.number());
        self.news().iter().any(rolled_over)
    }

    /// Opens the document again, and once more for each epoch that has ended. Answers how it was
    /// brought to the end of each.
    fn follow_epochs(&mut self, world: &mut World, write: bool) -> Vec<Resume> {
        let mut resumes = Vec::new();
        loop {
            self.subscribe(world, write);
            let subscribed = self.subscribed();
            let Some(NextEpoch { start, head, at_ms }) = subscribed.next else { return resumes };
            assert_eq!(subscribed.lease, None);
            assert_eq!(self.cursor.unwrap().seq, subscribed.end_seq, "it was brought to the end");
            resumes.push(subscribed.resume);
            let (epoch, at) = (Epoch(start.epoch), Timestamp(at_ms));
            let next = begin_epoch(&address(), self.doc.document(), epoch, at).unwrap();
            self.doc = AutoCommit::load(&next.save()).unwrap();
            assert_eq!(hashes(&mut self.doc), [ChangeHash(head)]);
            self.cursor = Some(start);
        }
    }

    fn shows(&self) -> String {
        let keys: Vec<_> = self.doc.keys(root(&self.doc)).collect();
        let value = |key: &String| self.doc.get(root(&self.doc), key.as_str()).unwrap().unwrap().0;
        keys.iter().map(|key| format!("{key}: {:?}\n", value(key))).collect()
    }
}

/// A document whose fifth change ends its epoch, and a follower who heard of it.
fn rolled_over() -> (World, Client) {
    let mut world = ends_after(5);
    let mut ada = Client::join(&mut world, 1, true);
    ada.edit(&mut world, 2);
    for session in 2..=4 {
        let mut other = Client::join(&mut world, session, true);
        other.edit(&mut world, 1);
    }
    ada.listen(&mut world);
    assert!(ada.was_told_to_open_again());
    assert_eq!((epochs(&world), ada.seq()), (1, 5), "it was sent all before");
    (world, ada)
}

#[test]
fn who_is_up_to_date_makes_the_next_epochs_beginning_itself_ep1() {
    let (mut world, mut ada) = rolled_over();
    let (shown, actors) = (ada.shows(), world.logs[&address()].sealed[0].0.start);
    assert_eq!(ada.follow_epochs(&mut world, true), [Resume::Cursor]);
    assert_eq!((ada.shows(), ada.seq()), (shown, 5), "no seq goes back");
    assert_eq!(ada.cursor.unwrap().epoch, actors.cursor.epoch.0);
    // Its commands count on, and its actor is one that the old epoch did not have.
    assert!(ActorId(ada.lease.unwrap().actor).slot() > 4);
    ada.edit(&mut world, 2);
    assert_eq!((ada.acked, ada.seq()), (4, 7));
    let mut fresh = Client::join(&mut world, 9, false);
    assert!(matches!(fresh.subscribed().resume, Resume::Snapshot { .. }));
    assert_eq!(fresh.shows(), ada.shows());
    assert_eq!(fresh.seq(), 7);
    // What was settled in the old epoch is settled.
    let mut world = world.restarted();
    ada.reconnect(&mut world, 2, false);
    assert_eq!(ada.subscribed().settled, 4);
}

#[test]
fn who_is_behind_is_brought_to_the_end_of_each_epoch_ep2() {
    let (mut world, mut ada) = rolled_over();
    let mut bob = Client::join(&mut world, 20, false);
    bob.news();
    let early = WireCursor { seq: 1, ..ada.cursor.unwrap() };
    // The next epoch ends as well.
    ada.follow_epochs(&mut world, true);
    for session in 5.. {
        let mut other = Client::join(&mut world, session, true);
        other.edit(&mut world, 1);
        if epochs(&world) == 2 {
            break;
        }
    }
    let mut world = world.restarted();
    for cursor in [early, ada.cursor.unwrap()] {
        let mut carl = Client::join(&mut world, 30, false);
        carl.news();
        carl.cursor = Some(cursor);
        carl.doc = ada.doc.fork();
        let resumes = carl.follow_epochs(&mut world, false);
        let sealed = |resume: &Resume| matches!(resume, Resume::Snapshot { .. });
        assert!(resumes.iter().all(sealed), "{resumes:?}");
        assert_eq!(resumes.len(), if cursor.epoch == early.epoch { 2 } else { 1 });
        let mut fresh = Client::join(&mut world, 31, false);
        fresh.news();
        assert_eq!(carl.shows(), fresh.shows());
        assert_eq!(hashes(&mut carl.doc), hashes(&mut fresh.doc));
        for client in [carl, fresh] {
            world.say(client.connection, Bye {});
        }
        world.pass(Duration::from_secs(31));
    }
    // Nothing that is pushed or asked for in a past epoch counts.
    let mut late = Client::join(&mut world, 40, false);
    late.news();
    late.cursor = Some(early);
    late.subscribe(&mut world, true);
    late.lease = Some(WireLease { actor: ActorId::leased(2, 1).0, next_seq: 1, after: 0 });
    late.news();
    let change = late.write();
    late.push(&mut world, vec![change]);
    world.say(late.connection, RequestLease { handle: late.handle });
    late.listen(&mut world);
    assert!(late.news().is_empty());
}

#[test]
fn what_is_pushed_while_an_epoch_ends_is_passed_over_and_taken_in_the_next_ep3() {
    let mut world = ends_after(4);
    world.hold_compactions = true;
    let mut ada = Client::join(&mut world, 1, true);
    ada.edit(&mut world, 1);
    let mut others: Vec<_> = (2..=4).map(|s| Client::join(&mut world, s, true)).collect();
    for other in &mut others[..2] {
        other.edit(&mut world, 1);
    }
    world.hold_commits = true;
    others[2].edit(&mut world, 1);
    world.release_commit();
    assert!(world.held_rollover.is_some());
    ada.listen(&mut world);
    let late = ada.write();
    ada.push(&mut world, vec![late]);
    assert!(world.held_commit.is_none(), "nothing is taken in");
    // Who comes now waits; the store has made the step, of which the hub has not heard.
    let mut bob = Client::join(&mut world, 5, true);
    let done = world.roll_over();
    assert!(bob.news().is_empty());
    world.tell(done);
    world.hold_commits = false;
    for client in [&mut ada, &mut bob] {
        client.listen(&mut world);
        assert!(client.was_told_to_open_again());
    }
    bob.subscribe(&mut world, true);
    assert!(matches!(bob.subscribed().resume, Resume::Snapshot { .. }));
    // The change was made in the old epoch: it is written anew.
    let document = world.logs[&address()].sealed[0].1.body.clone();
    ada.doc = AutoCommit::load(&document).unwrap();
    ada.follow_epochs(&mut world, true);
    let again = ada.write();
    world.say(ada.connection, Push { handle: ada.handle, first: 2, changes: vec![again] });
    ada.listen(&mut world);
    bob.listen(&mut world);
    assert_eq!((ada.acked, bob.shows()), (2, ada.shows()));
}

#[test]
fn an_epoch_that_can_not_be_ended_goes_on_and_is_tried_again_when_it_has_doubled_ep4() {
    let mut world = ends_after(4);
    world.hold_compactions = true;
    let mut clients: Vec<_> = (1..=4).map(|s| Client::join(&mut world, s, true)).collect();
    for client in &mut clients {
        client.edit(&mut world, 1);
    }
    let (address, ..) = world.held_rollover.take().unwrap();
    let result = Err(StoreError::Failed("full".to_owned()));
    world.tell(Input::RolledOver { address, result });
    for client in &mut clients {
        client.listen(&mut world);
        assert!(client.was_told_to_open_again());
        client.subscribe(&mut world, true);
        assert_eq!(client.subscribed().resume, Resume::Cursor);
    }
    assert!(world.held_rollover.is_none());
    for _ in 0..8 {
        for client in &mut clients {
            client.edit(&mut world, 1);
        }
    }
    assert!(world.held_rollover.is_some());
}

#[test]
fn a_long_history_ends_an_epoch_and_what_it_began_with_does_not_ep1() {
    let mut world = World::with(Config { rollover_bytes: 20_000, ..Config::default() }, 1);
    let mut ada = Client::join(&mut world, 1, true);
    let mut rounds = 0;
    // Each writes over one value of its own: the history grows, what is shown does not.
    while epochs_or_none(&world) < 3 {
        let actor = ActorId(ada.lease.unwrap().actor);
        let change = ada.write_sized(actor, 1_000);
        ada.push(&mut world, vec![change]);
        rounds += 1;
        if ada.was_told_to_open_again() {
            ada.follow_epochs(&mut world, true);
        }
        assert!(rounds < 300);
    }
    assert!(rounds > 30, "an epoch lasts: {rounds}");
}

fn epochs_or_none(world: &World) -> usize {
    world.logs.get(&address()).map_or(0, |log| log.sealed.len())
}

#[test]
fn a_server_that_has_lost_a_document_takes_its_epoch_back_but_nothing_of_an_older_one_ep6() {
    let (mut world, mut ada) = rolled_over();
    let mut old = ada.doc.fork();
    ada.follow_epochs(&mut world, true);
    ada.edit(&mut world, 3);
    let mut world = world.restarted();
    world.logs.clear();
    let restored = |world: &mut World, client: &mut Client, doc: &mut AutoCommit| {
        let (proof, connection) = (client.proof.clone(), client.connection);
        let mut changes: Vec<_> = doc.get_changes(&[]).split_off(1);
        changes.reverse();
        let changes = changes.iter().map(|c| Blob(c.raw_bytes().to_vec().into())).collect();
        world.say(connection, Restore { handle: client.handle, proof, changes, last: true });
        client.listen(world);
        // It is as long as it was, so it begins anew at once.
        let answer = client.news().into_iter().next();
        let Some(ServerFrame::Restored(restored)) = answer else { panic!("{answer:?}") };
        restored.refused.and_then(Code::from_number)
    };
    let mut whole = ada.doc.fork();
    ada.reconnect(&mut world, 2, false);
    assert_eq!(ada.subscribed().resume, Resume::Beginning);
    let count = whole.get_changes(&[]).len() as u64 - 1;
    assert_eq!(restored(&mut world, &mut ada, &mut whole), None);
    assert_eq!(world.logs[&address()].head().end.seq, count);
    let mut bob = Client::join(&mut world, 8, false);
    bob.news();
    assert_eq!(restored(&mut world, &mut bob, &mut old), Some(Code::Stale));
    assert_eq!(world.logs[&address()].head().end.seq, count);
}

#[test]
fn past_writers_end_an_epoch_and_present_ones_do_not_ep1() {
    let config = Config { rollover_actors: 3, ..Config::default() };
    let mut world = World::with(config, 1);
    let mut present: Vec<_> = (1..=6).map(|s| Client::join(&mut world, s, true)).collect();
    for client in &mut present {
        client.edit(&mut world, 1);
    }
    assert_eq!(epochs(&world), 0);
    // Those who go without a word take their actors with them.
    for client in &present[..4] {
        world.tell(Input::Closed { connection: ConnectionId(client.connection) });
    }
    world.pass(Duration::from_secs(31));
    assert_eq!(epochs(&world), 0, "it is looked at when something is written");
    present[5].edit(&mut world, 1);
    assert_eq!(epochs(&world), 1);
}
