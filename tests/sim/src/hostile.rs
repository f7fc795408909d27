//! Clients that mean harm: a true Hello, and after it whatever bytes they like. They have no session
//! and no manners; what they overhear of others they say again, whole or spoilt. Policy is where a
//! forbidden operation would be tried here too: see `ATTACKS`.

use bytes::Bytes;
use syncline_engine::clock::Timestamp;
use syncline_engine::ids::{ActorId, ChangeHash};
use syncline_engine::policy::Role;
use syncline_engine::wire::frame::{
    Blob, Bye, Compare, Hello, Ping, Push, Release, RequestLease, Restore, Subscribe, Unsubscribe,
    WireCursor, WireLease,
};
use syncline_engine::wire::{ClientFrame, ServerFrame};
use syncline_engine::{change, ids};

use crate::choices::Choices;
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
                if let Some(lease) = frame.lease {
                    hostile.lease = Some((frame.handle, lease));
                }
            }
            Ok(ServerFrame::Leased(frame)) => hostile.lease = Some((frame.handle, frame.lease)),
            Ok(ServerFrame::Changes(frame)) => {
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

/// A change without operations.
fn empty_change(actor: ActorId, seq: u64, start_op: u64, dep: ChangeHash) -> Option<Bytes> {
    let change = automerge::Change::from(automerge::ExpandedChange {
        operations: vec![],
        actor_id: automerge::ActorId::from(&actor.0[..]),
        author: None,
        hash: None,
        time: 0,
        deps: vec![automerge::ChangeHash(dep.0)],
        seq,
        start_op: std::num::NonZeroU64::new(start_op)?,
        extra_bytes: vec![],
        message: None,
    });
    Some(change.raw_bytes().to_vec().into())
}

/// Puts the right checksum on a chunk: the first four bytes of what follows it, hashed.
fn reseal(bytes: &mut [u8]) {
    use sha2::Digest as _;
    let sum = sha2::Sha256::digest(&bytes[8..]);
    bytes[4..8].copy_from_slice(&sum[..4]);
}
