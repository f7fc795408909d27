//! Clients that mean harm: a true Hello, and after it whatever bytes they like. They have no session
//! and no manners; what they overhear of others they say again, whole or spoilt.
//! What they write themselves is honest but for one thing ([`crate::forged`]).

use std::collections::BTreeMap;

use automerge::{Automerge, Change, TextEncoding};
use bytes::Bytes;
use syncline_engine::clock::Timestamp;
use syncline_engine::document::genesis;
use syncline_engine::ids::{ActorId, Address, ChangeHash};
use syncline_engine::policy::Role;
use syncline_engine::wire::frame::{
    Blob, Bye, Compare, Hello, Ping, Proof, Push, Release, RequestLease, Restore, Resume,
    Subscribe, Unsubscribe, WireCursor, WireLease,
};
use syncline_engine::wire::{ClientFrame, ServerFrame};
use syncline_engine::{change, ids};

use crate::choices::Choices;
use crate::forged::{empty_change, reseal, written};
use crate::network::End;
use crate::tokens::Token;
use crate::world::World;

/// One hostile client.
#[derive(Debug, Default)]
pub(crate) struct Hostile {
    wire: Option<u64>,
    generation: u64,
    /// What it follows, with the last change that it heard of.
    follows: Vec<(u32, Option<ChangeHash>)>,
    lease: Option<(u32, WireLease)>,
    number: u64,
    /// What it has read of the documents that it follows from their beginning.
    read: BTreeMap<u32, (Address, Automerge)>,
}

/// What a hostile client may do.
const ATTACKS: &[fn(&mut World, usize, u64, &mut Choices)] = &[
    World::say_garbage,
    World::say_again,
    World::say_again_spoilt,
    World::say_again_short,
    World::push_anothers,
    World::push_forged,
    World::push_forged,
    World::push_resealed,
    World::push_resealed,
    World::push_bent,
    World::push_bent,
    World::push_bent,
    World::restore_forged,
    World::restore_anothers,
    World::name_unknown_handles,
    World::ask_nonsense,
    World::greet_again,
    World::flood,
    World::slip_away,
];

impl World {
    /// A hostile client connects, or does something if it is connected.
    pub(crate) fn attack(&mut self, who: usize, pick: u64) -> bool {
        if who >= self.hostile.len() || self.server.hub.is_none() || self.peace {
            return false;
        }
        let mut choices = Choices::new(pick);
        let Some(wire) = self.hostile[who].wire else {
            self.greet(who);
            return true;
        };
        let attack = ATTACKS[choices.index(ATTACKS.len())];
        attack(self, who, wire, &mut choices);
        true
    }

    fn greet(&mut self, who: usize) {
        let wire = self.open(End::Hostile(who));
        let user = ids::UserId::new(&format!("mallory{who}")).expect("a good name");
        let (name, expires) = (user.clone(), |ms| Timestamp(self.now + ms));
        let token = self
            .setup
            .token_ms
            .map(|ms| Token { user: name, role: Role::Member, expires: expires(ms) }.write());
        let hostile = &mut self.hostile[who];
        hostile.generation += 1;
        *hostile =
            Hostile { wire: Some(wire), generation: hostile.generation, ..Hostile::default() };
        let generation = hostile.generation;
        let session = [0xee; 16];
        let agent = "hostile".to_owned();
        self.utter(wire, Hello { session, generation, user: user.to_string(), token, agent });
        for address in self.documents.clone() {
            let (address, outbox) = (address.to_string(), [0xdd; 16]);
            self.utter(wire, Subscribe { address, cursor: None, outbox, write: true });
        }
    }

    fn utter(&mut self, wire: u64, frame: impl Into<ClientFrame>) {
        if let Ok(message) = frame.into().encode() {
            self.send(wire, true, message);
        }
    }

    pub(crate) fn hostile_hears(&mut self, who: usize, wire: u64, message: &Bytes) {
        let hostile = &mut self.hostile[who];
        if hostile.wire != Some(wire) {
            return;
        }
        match ServerFrame::decode(message) {
            Ok(ServerFrame::Subscribed(frame)) => {
                hostile.follows.push((frame.handle, None));
                hostile.read.remove(&frame.handle);
                if let (Resume::Beginning, Ok(address)) = (frame.resume, frame.address.parse()) {
                    let document = genesis::document(&address, TextEncoding::UnicodeCodePoint);
                    hostile.read.insert(frame.handle, (address, document));
                }
                if let Some(lease) = frame.lease {
                    hostile.lease = Some((frame.handle, lease));
                }
            }
            Ok(ServerFrame::Reject(_) | ServerFrame::LeaseEnded(_)) => hostile.lease = None,
            Ok(ServerFrame::Leased(frame)) => hostile.lease = Some((frame.handle, frame.lease)),
            Ok(ServerFrame::Changes(frame)) => {
                if let Some((_, document)) = hostile.read.get_mut(&frame.handle) {
                    let changes = frame.entries.iter();
                    let changes = changes.filter_map(|e| Change::try_from(&e.change.0[..]).ok());
                    // What it can't make sense of, it does without.
                    let _ = document.apply_changes(changes.collect::<Vec<_>>());
                }
                let last =
                    frame.entries.last().and_then(|entry| change::read(&entry.change.0).ok());
                let followed =
                    hostile.follows.iter_mut().find(|(handle, _)| *handle == frame.handle);
                if let (Some((_, heard)), Some(header)) = (followed, last) {
                    *heard = Some(header.hash);
                }
            }
            _ => {}
        }
    }

    pub(crate) fn hostile_lost(&mut self, who: usize, wire: u64) {
        if self.hostile[who].wire == Some(wire) {
            self.report.count_incident("hostile_sent_away");
            self.hostile[who].wire = None;
        }
        if let Some(wire) = self.network.wires.get_mut(&wire) {
            wire.carries = false;
        }
    }

    /// All hostile clients go.
    pub(crate) fn banish(&mut self) {
        for hostile in 0..self.hostile.len() {
            if let Some(wire) = self.hostile[hostile].wire.take() {
                self.cut(wire, Some(1), None);
            }
        }
    }

    fn overheard(&self, choices: &mut Choices) -> Option<Bytes> {
        let heard = &self.oracle.overheard;
        (!heard.is_empty()).then(|| heard[choices.index(heard.len())].clone())
    }

    fn overheard_push(&self, choices: &mut Choices) -> Option<Push> {
        match ClientFrame::decode(&self.overheard(choices)?) {
            Ok(ClientFrame::Push(push)) => Some(push),
            _ => None,
        }
    }

    fn say_garbage(&mut self, _: usize, wire: u64, choices: &mut Choices) {
        let length = choices.index(80);
        let mut message: Vec<u8> = (0..length).flat_map(|_| choices.bytes()).collect();
        if let [version, kind, ..] = message.as_mut_slice() {
            *version = 1;
            *kind = 1 + *kind % 11;
        }
        self.send(wire, true, message.into());
    }

    fn say_again(&mut self, _: usize, wire: u64, choices: &mut Choices) {
        if let Some(message) = self.overheard(choices) {
            self.send(wire, true, message);
        }
    }

    fn say_again_spoilt(&mut self, _: usize, wire: u64, choices: &mut Choices) {
        if let Some(message) = self.overheard(choices) {
            let mut message = message.to_vec();
            for _ in 0..=choices.index(3) {
                let at = choices.index(message.len());
                message[at] ^= 1 << choices.below(8);
            }
            // Hello under another's name is what tokens are for.
            if message.get(1) != Some(&1) {
                self.send(wire, true, message.into());
            }
        }
    }

    fn say_again_short(&mut self, _: usize, wire: u64, choices: &mut Choices) {
        if let Some(message) = self.overheard(choices) {
            let end = choices.index(message.len());
            self.send(wire, true, message.slice(..end));
        }
    }

    fn push_anothers(&mut self, who: usize, wire: u64, choices: &mut Choices) {
        if let Some(mut push) = self.overheard_push(choices) {
            self.hostile[who].number += 1;
            push.first = self.hostile[who].number;
            self.utter(wire, push);
        }
    }

    /// A change of its own making, with or without operations, that may or may not be in order.
    fn push_forged(&mut self, who: usize, wire: u64, choices: &mut Choices) {
        let hostile = &mut self.hostile[who];
        let Some((handle, lease)) = hostile.lease else {
            if let Some((handle, _)) = hostile.follows.first().copied() {
                self.utter(wire, RequestLease { handle });
            }
            return;
        };
        hostile.number += 1;
        let number = hostile.number;
        let heard = hostile.follows.iter().find(|(known, _)| *known == handle);
        let dep = heard.and_then(|(_, hash)| *hash).unwrap_or(ChangeHash([7; 32]));
        let actor = match choices.index(4) {
            0 => ActorId::leased(
                ActorId(lease.actor).term(),
                1 + u32::try_from(choices.below(6)).unwrap_or(0),
            ),
            1 => ActorId::provisional(choices.number()),
            _ => ActorId(lease.actor),
        };
        let seq = lease.next_seq + [0, 0, 1, 7][choices.index(4)];
        let start_op = 1 + choices.below(400);
        if let Some(change) = empty_change(actor, seq, start_op, dep) {
            self.utter(wire, Push { handle, first: number, changes: vec![Blob(change)] });
        }
    }

    /// An honest change of its own, bent: with a seq left out, on what is not there, or as if it had
    /// seen less. Now and then it is straight.
    fn push_bent(&mut self, who: usize, wire: u64, choices: &mut Choices) {
        let now = Timestamp(self.now);
        let hostile = &mut self.hostile[who];
        let Some((handle, lease)) = hostile.lease.take() else {
            if let Some((handle, _)) = hostile.follows.first().copied() {
                self.utter(wire, RequestLease { handle });
            }
            return;
        };
        let Some((address, document)) = hostile.read.get(&handle) else { return };
        let actor = ActorId(lease.actor);
        let name = format!("mallory{who}");
        let Some(honest) = written(address, document, actor, &name, now, choices) else { return };
        let mut bent = honest.decode();
        match choices.index(5) {
            0 => bent.seq += 1,
            1 => bent.deps.push(automerge::ChangeHash([3; 32])),
            2 => bent.deps.truncate(1),
            3 => bent.start_op = bent.start_op.saturating_add(5),
            _ => {}
        }
        bent.deps.sort();
        bent.hash = None;
        hostile.number += 1;
        let first = hostile.number;
        let changes = vec![Blob(Change::from(bent).raw_bytes().to_vec().into())];
        self.utter(wire, Push { handle, first, changes });
    }

    /// Hands back what was never there, in the name of somebody else and as an actor of long ago.
    fn restore_forged(&mut self, who: usize, wire: u64, choices: &mut Choices) {
        // Where names are believed, so is this.
        if self.setup.token_ms.is_none() {
            return;
        }
        let now = Timestamp(self.now);
        let hostile = &self.hostile[who];
        let Some((handle, _)) = hostile.follows.first().copied() else { return };
        let Some((address, document)) = hostile.read.get(&handle) else { return };
        let actor = ActorId::leased(1, 7 + u32::try_from(choices.below(3)).unwrap_or(0));
        let Some(change) = written(address, document, actor, "user0", now, choices) else { return };
        let seal = choices.bytes();
        let heads = vec![change.hash().0];
        let proof = choices.per_mille(500).then_some(Proof { heads, seal });
        let changes = vec![Blob(change.raw_bytes().to_vec().into())];
        self.utter(wire, Restore { handle, proof, changes, last: true });
    }

    /// Another's change with a byte changed and its checksum put right again.
    fn push_resealed(&mut self, who: usize, wire: u64, choices: &mut Choices) {
        let Some(mut push) = self.overheard_push(choices) else { return };
        self.hostile[who].number += 1;
        push.first = self.hostile[who].number;
        for blob in &mut push.changes {
            let mut bytes = blob.0.to_vec();
            if bytes.len() > 12 {
                let at = 10 + choices.index(bytes.len() - 10);
                bytes[at] ^= 1 << choices.below(8);
                reseal(&mut bytes);
            }
            blob.0 = bytes.into();
        }
        self.utter(wire, push);
    }

    fn restore_anothers(&mut self, _: usize, wire: u64, choices: &mut Choices) {
        if let Some(Push { handle, changes, .. }) = self.overheard_push(choices) {
            self.utter(wire, Restore { handle, proof: None, changes, last: true });
        }
    }

    fn name_unknown_handles(&mut self, _: usize, wire: u64, choices: &mut Choices) {
        let handle = 1_000_000 + u32::try_from(choices.below(1_000)).unwrap_or(0);
        match choices.index(4) {
            0 => self.utter(wire, Unsubscribe { handle }),
            1 => self.utter(wire, Release { handle }),
            2 => self.utter(wire, RequestLease { handle }),
            _ => self.utter(wire, Push { handle, first: 1, changes: Vec::new() }),
        }
    }

    fn ask_nonsense(&mut self, who: usize, wire: u64, choices: &mut Choices) {
        let handle = self.hostile[who].follows.first().map_or(0, |(handle, _)| *handle);
        match choices.index(4) {
            0 => {
                self.utter(wire, Compare { handle, seq: choices.number(), heads: choices.bytes() });
            }
            1 => self
                .utter(wire, Push { handle, first: u64::MAX, changes: vec![Blob::default(); 2] }),
            2 => {
                let cursor = Some(WireCursor {
                    epoch: choices.bytes(),
                    seq: choices.below(100),
                    tip: choices.bytes(),
                });
                let address = self.documents[choices.index(self.documents.len())].to_string();
                self.utter(
                    wire,
                    Subscribe { address, cursor, outbox: choices.bytes(), write: true },
                );
            }
            _ => {
                let address = "a/../b".to_owned();
                self.utter(
                    wire,
                    Subscribe { address, cursor: None, outbox: [0; 16], write: false },
                );
            }
        }
    }

    fn greet_again(&mut self, who: usize, wire: u64, choices: &mut Choices) {
        let (user, agent) = (format!("mallory{who}"), "again".to_owned());
        let (session, generation) = (choices.bytes(), choices.number());
        self.utter(wire, Hello { session, generation, user, token: None, agent });
    }

    fn flood(&mut self, _: usize, wire: u64, choices: &mut Choices) {
        for _ in 0..choices.index(50) {
            self.utter(wire, Ping { nonce: choices.number() });
        }
    }

    fn slip_away(&mut self, who: usize, wire: u64, choices: &mut Choices) {
        if choices.per_mille(500) {
            self.utter(wire, Bye {});
        } else {
            self.cut(wire, Some(10), None);
            self.hostile[who].wire = None;
        }
    }
}
