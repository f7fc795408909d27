//! Who may hand back what the server has lost, and what.

use std::sync::Arc;

use super::*;
use crate::hub::{AuthenticateError, Authenticator, Credentials};

/// Believes names, but not that what somebody hands back was once in the log.
#[derive(Debug)]
struct Doubts;

impl Authenticator for Doubts {
    fn authenticate(
        &self,
        now: Timestamp,
        claimed: &str,
        token: Option<&str>,
    ) -> Result<Credentials, AuthenticateError> {
        let credentials = TakesNames.authenticate(now, claimed, token)?;
        Ok(Credentials { believed: false, ..credentials })
    }
}

fn doubting(mut world: World) -> World {
    world.hub =
        Hub::new(world.hub.config, world.hub.identity.clone()).with_authenticator(Arc::new(Doubts));
    world
}

/// A server that has lost the last two of five changes, and who still has them, newest first.
fn after_a_loss() -> (World, Client, Vec<Blob>) {
    let mut world = doubting(World::new());
    let mut ada = Client::join(&mut world, 1, true);
    let early: Vec<_> = (0..3).map(|_| ada.write()).collect();
    ada.push(&mut world, early);
    let backup = world.logs.clone();
    let mut late: Vec<_> = (0..2).map(|_| ada.write()).collect();
    ada.push(&mut world, late.clone());
    let mut bob = Client::join(&mut world, 2, false);
    assert_eq!(bob.seq(), 5);
    world.logs = backup;
    let mut world = doubting(world.restarted());
    let (proof, doc) = (ada.proof.clone(), ada.doc.fork());
    bob.reconnect(&mut world, 2, false);
    bob.news();
    (bob.proof, bob.doc) = (proof, doc);
    late.reverse();
    (world, bob, late)
}

fn restore(
    world: &mut World,
    client: &mut Client,
    proof: Option<Proof>,
    changes: Vec<Blob>,
) -> (u32, Option<Code>) {
    let handle = client.handle;
    let (first, rest) = changes.split_at(changes.len().min(1));
    let first = Restore { handle, proof, changes: first.to_vec(), last: false };
    world.say(client.connection, first);
    assert!(client.news().is_empty());
    world.say(
        client.connection,
        Restore { handle, proof: None, changes: rest.to_vec(), last: true },
    );
    client.listen(world);
    match &client.news()[..] {
        [ServerFrame::Restored(restored)] => {
            (restored.accepted, restored.refused.and_then(Code::from_number))
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn who_proves_the_heads_hands_back_what_others_wrote_rs3() {
    let (mut world, mut bob, late) = after_a_loss();
    let proof = bob.proof.clone();
    assert_eq!(restore(&mut world, &mut bob, proof, late), (2, None));
    let log = &world.logs[&address()].records;
    let heads = log.last().unwrap().entries.last().unwrap().hash;
    assert_eq!(hashes(&mut bob.doc), [heads]);
}

#[test]
fn without_a_proof_of_this_document_nothing_is_taken_back_rs3() {
    let (mut world, mut bob, late) = after_a_loss();
    let good = bob.proof.clone().unwrap();
    let other: Address = "town/elsewhere/json".parse().unwrap();
    let elsewhere =
        crate::storage::record::seal(&key(), &other, good.heads.iter().map(|h| ChangeHash(*h)));
    let proofs = [
        None,
        Some(Proof { seal: [1; 16], ..good.clone() }),
        Some(Proof { heads: vec![], ..good.clone() }),
        Some(Proof { heads: vec![good.heads[0], [9; 32]], ..good.clone() }),
        Some(Proof { seal: elsewhere.0, ..good.clone() }),
    ];
    for proof in proofs {
        let answer = restore(&mut world, &mut bob, proof, late.clone());
        assert_eq!(answer, (0, Some(Code::Unproven)));
    }
    // What the proof does not cover stays out, beside what it covers.
    let mut forged = bob.doc.fork();
    forged.set_actor(Writer::from(ActorId::leased(1, 7).0));
    let root = root(&forged);
    forged.put(root, "forged", 1).unwrap();
    forged.commit();
    let forged = Blob(forged.get_last_local_change().unwrap().raw_bytes().to_vec().into());
    let mut changes = vec![forged];
    changes.extend(late);
    assert_eq!(restore(&mut world, &mut bob, Some(good), changes), (2, Some(Code::Unproven)));
}

#[test]
fn what_the_server_has_is_not_staged_rs2() {
    let mut world = doubting(World::new());
    let mut ada = Client::join(&mut world, 1, true);
    let mut changes: Vec<_> =
        (0..200).map(|_| ada.write_sized(ActorId(ada.lease.unwrap().actor), 4_000)).collect();
    for part in changes.chunks(100) {
        ada.push(&mut world, part.to_vec());
    }
    let proof = ada.proof.clone();
    let mut bob = Client::join(&mut world, 2, false);
    bob.news();
    changes.reverse();
    let (handle, mut proof) = (bob.handle, proof);
    for part in changes.chunks(100) {
        world.say(
            bob.connection,
            Restore { handle, proof: proof.take(), changes: part.to_vec(), last: false },
        );
    }
    let live = world.hub.documents.live(handle).unwrap();
    let text = live
        .followers
        .values()
        .find_map(|f| f.restoring.as_ref())
        .map_or(0, |r| format!("{r:?}").len());
    assert!(text < 10_000, "some {text} letters of changes are kept that the server has");
}
