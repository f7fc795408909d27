//! What gets into a log, and what is said about it.

use super::*;

#[test]
fn a_push_is_acked_and_relayed_only_once_it_is_durable() {
    let mut world = World::new();
    let mut ada = Client::join(&mut world, 1, true);
    let mut bob = Client::join(&mut world, 2, false);
    world.hold_commits = true;
    ada.edit(&mut world, 3);
    bob.listen(&mut world);
    assert_eq!((ada.acked, ada.seq(), bob.seq()), (0, 0, 0));
    assert_eq!(world.hub.stats().pending_entries, 3);
    world.release_commit();
    ada.listen(&mut world);
    bob.listen(&mut world);
    assert_eq!((ada.acked, ada.seq(), bob.seq()), (3, 3, 3));
    assert_eq!(hashes(&mut ada.doc), hashes(&mut bob.doc));
    assert_eq!(world.hub.stats().pending_bytes, 0);
    let entries = &world.logs[&address()].records[0].entries;
    assert!(entries.iter().all(|e| e.author.as_str() == "user1" && e.at == world.now));
}

#[test]
fn what_arrives_during_a_commit_goes_out_together_as_the_next() {
    let mut world = World::new();
    let mut writers: Vec<_> = (1..=4).map(|s| Client::join(&mut world, s, true)).collect();
    world.hold_commits = true;
    for writer in &mut writers {
        writer.edit(&mut world, 2);
    }
    world.release_commit();
    world.release_commit();
    assert_eq!(world.commits, 2);
    let mut heads = vec![];
    for writer in &mut writers {
        writer.listen(&mut world);
        assert_eq!((writer.acked, writer.seq()), (2, 8));
        heads.push(hashes(&mut writer.doc));
    }
    heads.dedup();
    assert_eq!(heads.len(), 1);
    let lens: Vec<_> = world.logs[&address()].records.iter().map(|r| r.entries.len()).collect();
    assert_eq!(lens, [2, 6]);
}

#[test]
fn a_repeated_push_is_answered_and_not_appended() {
    let mut world = World::new();
    let mut ada = Client::join(&mut world, 1, true);
    let changes = vec![ada.write(), ada.write()];
    ada.push(&mut world, changes.clone());
    assert_eq!(ada.acked, 2);
    (ada.number, ada.acked) = (0, 0);
    ada.push(&mut world, changes);
    assert_eq!((ada.acked, ada.seq()), (2, 2));
    assert_eq!(world.hub.stats().accepted_entries, 2);
    assert_eq!(ada.news().len(), 1, "nothing but Subscribed");
}

#[test]
fn a_repeated_push_is_not_answered_before_the_first_is_durable() {
    let mut world = World::new();
    let mut ada = Client::join(&mut world, 1, true);
    world.hold_commits = true;
    let changes = vec![ada.write()];
    ada.push(&mut world, changes.clone());
    ada.number = 0;
    ada.push(&mut world, changes);
    assert_eq!(ada.acked, 0);
    world.release_commit();
    ada.listen(&mut world);
    assert_eq!(ada.acked, 1);
}

#[test]
fn a_settled_number_with_other_content_means_a_cloned_store() {
    let mut world = World::new();
    let mut ada = Client::join(&mut world, 1, true);
    ada.edit(&mut world, 1);
    ada.news();
    ada.number = 0;
    ada.edit(&mut world, 1);
    match &ada.news()[..] {
        [ServerFrame::Error(error)] => {
            assert_eq!(error.code, Code::OutboxReused.number());
            assert_eq!(error.address.as_deref(), Some(DOC));
            assert!(!error.fatal);
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(ada.seq(), 1);
}

#[test]
fn a_change_that_does_not_fit_is_refused_with_its_code() {
    type Spoil = fn(&mut Client) -> Blob;
    let cases: [(Code, Spoil); 5] = [
        (Code::WrongActor, |c| c.write_as(ActorId::leased(1, 9))),
        (Code::WrongSeq, |c| {
            c.write();
            c.write()
        }),
        (Code::UnknownDeps, |c| {
            c.write_as(ActorId::leased(1, 9));
            c.write()
        }),
        (Code::WrongStartOp, |c| start_op_of(&c.write(), 77)),
        (Code::BadChange, |_| Blob(Bytes::from_static(b"\x85\x6f\x4a\x83nonsense"))),
    ];
    for (code, spoil) in cases {
        let mut world = World::new();
        let mut ada = Client::join(&mut world, 1, true);
        ada.edit(&mut world, 1);
        ada.news();
        let bad = spoil(&mut ada);
        ada.push(&mut world, vec![bad]);
        assert_eq!(ada.rejection(), (2, code));
        assert_eq!(world.hub.stats().leases, 0);
        assert_eq!(world.hub.stats().accepted_entries, 1);
    }
}

/// The same change with another start op.
fn start_op_of(change: &Blob, start_op: u64) -> Blob {
    let mut change = Change::try_from(&change.0[..]).unwrap().decode();
    change.start_op = start_op.try_into().unwrap();
    Blob(Change::from(change).raw_bytes().to_vec().into())
}

#[test]
fn numbers_follow_each_other_within_a_lease() {
    let mut world = World::new();
    let mut ada = Client::join(&mut world, 1, true);
    ada.edit(&mut world, 1);
    ada.news();
    ada.number = 2;
    ada.edit(&mut world, 1);
    assert_eq!(ada.rejection(), (3, Code::NumberGap));
}

#[test]
fn after_a_refusal_everything_is_dropped_until_there_is_a_new_lease() {
    let mut world = World::new();
    let mut ada = Client::join(&mut world, 1, true);
    ada.news();
    world.hold_commits = true;
    let good = ada.write();
    let mut scratch = ada.doc.fork();
    let bad = start_op_of(&ada.write(), 99);
    let later = ada.write();
    ada.push(&mut world, vec![good, bad]);
    ada.push(&mut world, vec![later]);
    assert!(ada.news().is_empty(), "the refusal comes after what was accepted before it");
    world.hold_commits = false;
    world.release_commit();
    ada.listen(&mut world);
    assert_eq!(ada.acked, 1);
    assert_eq!(ada.rejection(), (2, Code::WrongStartOp));
    assert_eq!(world.hub.stats().accepted_entries, 1);

    std::mem::swap(&mut ada.doc, &mut scratch);
    world.say(ada.connection, RequestLease { handle: ada.handle });
    ada.listen(&mut world);
    let lease = ada.lease.unwrap();
    assert_eq!((ActorId(lease.actor), lease.next_seq), (ActorId::leased(1, 1), 2));
    ada.edit(&mut world, 1);
    assert_eq!((ada.acked, ada.seq()), (4, 2), "the refused number is passed over");
}

#[test]
fn a_push_without_a_lease_is_refused_once() {
    let mut world = World::new();
    let mut ada = Client::join(&mut world, 1, false);
    ada.news();
    let (one, two) = (ada.write_as(ActorId::leased(1, 1)), ada.write_as(ActorId::leased(1, 1)));
    ada.push(&mut world, vec![one]);
    ada.push(&mut world, vec![two]);
    assert_eq!(ada.rejection(), (1, Code::LeaseLost));
}

#[test]
fn a_full_document_takes_no_more() {
    let config = Config { document_bytes_max: 300, ..Config::default() };
    let mut world = World::with(config, 1);
    let mut ada = Client::join(&mut world, 1, true);
    ada.news();
    ada.edit(&mut world, 4);
    let (number, code) = ada.rejection();
    assert_eq!(code, Code::DocumentFull);
    assert!(number > 1 && ada.acked == number - 1);
}

#[test]
fn too_many_concurrent_heads_are_merged_in_the_same_commit() {
    let mut world = World::new();
    let mut writers: Vec<_> = (1..=17).map(|s| Client::join(&mut world, s, true)).collect();
    world.hold_commits = true;
    for writer in &mut writers {
        writer.edit(&mut world, 1);
    }
    assert_eq!(world.hub.stats().pending_entries, 18);
    world.hold_commits = false;
    world.release_commit();
    let mut reader = Client::join(&mut world, 99, true);
    assert_eq!(reader.seq(), 18);
    assert_eq!(hashes(&mut reader.doc).len(), 1);
    for writer in &mut writers {
        writer.listen(&mut world);
        assert_eq!((writer.acked, writer.seq()), (1, 18));
    }
    let merge = world.logs[&address()].records.last().unwrap().entries.last().unwrap().clone();
    assert_eq!((merge.author.as_str(), merge.command), ("server", None));
    // The document goes on from the merge, and merges again: the second lists the first.
    reader.edit(&mut world, 1);
    for _ in 0..2 {
        for writer in &mut writers {
            writer.listen(&mut world);
        }
        let changes: Vec<_> = writers.iter_mut().map(Client::write).collect();
        for (writer, change) in writers.iter_mut().zip(changes) {
            writer.push(&mut world, vec![change]);
            assert!(writer.news().iter().all(|f| !matches!(f, ServerFrame::Reject(_))));
        }
    }
    reader.listen(&mut world);
    assert_eq!(reader.seq(), 19 + 2 * 18);
    assert!(hashes(&mut reader.doc).len() <= 2);
}

#[test]
fn lost_changes_are_restored_by_who_still_has_them() {
    let mut world = World::new();
    let mut ada = Client::join(&mut world, 1, true);
    let first: Vec<_> = (0..3).map(|_| ada.write()).collect();
    ada.push(&mut world, first);
    let backup = world.logs.clone();
    let late: Vec<_> = (0..2).map(|_| ada.write()).collect();
    ada.push(&mut world, late.clone());
    assert_eq!(ada.seq(), 5);

    world.logs = backup;
    let mut world = world.restarted();
    let mut local = ada.doc.fork();
    ada.reconnect(&mut world, 2, true);
    let subscribed = ada.news().into_iter().rev().find_map(|f| match f {
        ServerFrame::Subscribed(s) => Some(s),
        _ => None,
    });
    let subscribed = subscribed.unwrap();
    assert_eq!(subscribed.resume, Resume::Beginning, "the cursor is past the end");
    assert_eq!((subscribed.settled, ada.seq()), (3, 3));

    let known = world.logs[&address()].records[0].entries[2].change.clone();
    let mut changes = vec![Blob(known)];
    changes.extend(late);
    changes.push(ada.write());
    changes.reverse();
    world.hold_commits = true;
    let (handle, proof) = (ada.handle, None);
    world.say(ada.connection, Restore { handle, proof, changes, last: true });
    ada.listen(&mut world);
    assert!(ada.news().is_empty());
    world.release_commit();
    ada.listen(&mut world);
    match &ada.news()[..] {
        [ServerFrame::Restored(restored)] => {
            assert_eq!(restored.accepted, 2);
            assert_eq!(restored.refused, Some(Code::WrongActor.number()), "a leasable actor");
        }
        other => panic!("{other:?}"),
    }
    let heads = world.logs[&address()].records.last().unwrap().entries.last().unwrap().hash;
    assert_eq!(hashes(&mut local), [heads]);
}

#[test]
fn commands_of_an_earlier_term_are_taken_as_they_were_made_and_once_pu5() {
    let mut world = World::new();
    let mut ada = Client::join(&mut world, 1, true);
    let backup = world.logs.clone();
    let commands: Vec<_> = (0..2).map(|_| ada.write()).collect();
    ada.push(&mut world, commands.clone());
    let mut bob = Client::join(&mut world, 2, true);
    assert_eq!(bob.seq(), 2);

    // The server loses both, and ada never heard that they were taken. Bob brings back the first.
    world.logs = backup;
    let mut world = world.restarted();
    bob.reconnect(&mut world, 2, true);
    let (handle, changes) = (bob.handle, commands[..1].to_vec());
    world.say(bob.connection, Restore { handle, proof: None, changes, last: true });
    ada.reconnect(&mut world, 2, true);
    ada.news();
    world.say(ada.connection, Push { handle: ada.handle, first: 1, changes: commands.clone() });
    ada.listen(&mut world);
    assert_eq!((ada.acked, ada.news().len()), (2, 0));
    let log = &world.logs[&address()].records;
    let entries: Vec<_> = log.iter().flat_map(|r| &r.entries).map(|e| &e.change).collect();
    assert_eq!(entries, [&commands[0].0, &commands[1].0]);
    // The same once more is answered, and what was never leased is refused.
    world.say(
        ada.connection,
        Push { handle: ada.handle, first: 2, changes: commands[1..].to_vec() },
    );
    ada.listen(&mut world);
    assert_eq!((ada.acked, ada.news().len()), (2, 0));
    let change = ada.write_as(ActorId::leased(9, 1));
    world.say(ada.connection, Push { handle: ada.handle, first: 3, changes: vec![change] });
    ada.listen(&mut world);
    assert_eq!(ada.rejection(), (3, Code::WrongActor));
}

#[test]
fn who_hands_in_more_than_the_disk_takes_is_sent_away_and_keeps_its_lease() {
    let config = Config { connection_pending_bytes_max: 100_000, ..Config::default() };
    let mut world = World::with(config, 1);
    let mut ada = Client::join(&mut world, 1, true);
    world.hold_commits = true;
    let actor = ActorId(ada.lease.unwrap().actor);
    for _ in 0..3 {
        let change = ada.write_sized(actor, 40_000);
        ada.push(&mut world, vec![change]);
    }
    assert_eq!(world.closed[&ada.connection], CloseCode::of(Code::Overloaded));
    world.hold_commits = false;
    world.release_commit();
    ada.reconnect(&mut world, 2, true);
    let kept = ada.news().into_iter().rev().find_map(|f| match f {
        ServerFrame::Subscribed(s) => Some((s.settled, s.lease_kept)),
        _ => None,
    });
    assert_eq!(kept, Some((3, true)));
}

#[test]
fn shutdown_finishes_what_was_accepted_and_sends_everybody_away() {
    let mut world = World::new();
    let mut ada = Client::join(&mut world, 1, true);
    let mut bob = Client::join(&mut world, 2, true);
    world.hold_commits = true;
    ada.edit(&mut world, 1);
    bob.edit(&mut world, 1);
    world.tell(Input::Shutdown);
    assert!(!world.stopped);
    let late = world.open();
    assert_eq!(world.closed[&late], CloseCode::of(Code::ShuttingDown));
    ada.edit(&mut world, 1);
    world.release_commit();
    assert!(!world.stopped, "bob's change is not durable yet");
    world.release_commit();
    assert!(world.stopped);
    for client in [&mut ada, &mut bob] {
        client.listen(&mut world);
        assert_eq!(client.acked, 1);
        let Some(ServerFrame::Goodbye(bye)) = client.news().pop() else { panic!() };
        assert_eq!(bye.code, Code::ShuttingDown.number());
        assert!(bye.retry_after_ms.is_some_and(|ms| (500..=3_000).contains(&ms)));
        assert_eq!(world.closed[&client.connection], CloseCode::of(Code::ShuttingDown));
    }
    assert_eq!(world.hub.poll_timeout(), None);
    assert_eq!(world.logs[&address()].head().end.seq, 2);
}

#[test]
fn a_failed_commit_ends_the_hub_and_acknowledges_nothing() {
    let mut world = World::new();
    let mut ada = Client::join(&mut world, 1, true);
    ada.news();
    world.hold_commits = true;
    ada.edit(&mut world, 1);
    world.tell(Input::Committed { result: Err(StoreError::Failed("disk".to_owned())) });
    ada.listen(&mut world);
    assert_eq!((ada.acked, ada.seq()), (0, 0));
    assert!(
        matches!(&ada.news()[..], [ServerFrame::Goodbye(bye)] if bye.code == Code::StoreFailed.number())
    );
    assert!(world.stopped);
}
