//! One client on one connection: what it knows of the documents that it opened, and what it says, by
//! the rules or not. Has no session.

use std::collections::{BTreeMap, BTreeSet};

use automerge::{Automerge, Change, TextEncoding};
use syncline_engine::document::{Command, CommentsCommand, LikesCommand, PostCommand, genesis};
use syncline_engine::hub::ConnectionId;
use syncline_engine::ids::{ActorId, Address, OutboxId, UserId, heads_digest};
use syncline_engine::wire::frame::{
    Blob, Bye, Changes, Compare, Hello, Ping, Proof, Push, Release, Renew, RequestLease, Restore,
    Resume, Subscribe, Unsubscribe, WireCursor, WireLease,
};
use syncline_engine::wire::{ClientFrame, ServerFrame, unpack};

use super::addresses;
use super::commands::{self, Choices};
use super::forgeries;

const ENCODING: TextEncoding = TextEncoding::UnicodeCodePoint;

/// A document as it knows it.
struct Known {
    handle: u32,
    epoch: [u8; 16],
    doc: Automerge,
    /// What it has of the log only.
    log: Automerge,
    cursor: Option<WireCursor>,
    snapshot: Option<(WireCursor, u64, Vec<u8>)>,
    lease: Option<WireLease>,
    number: u64,
    seal: Option<Proof>,
}

pub(crate) struct Peer {
    pub(crate) connection: ConnectionId,
    user: UserId,
    outbox: OutboxId,
    /// Those with which it asked for each document.
    outboxes: BTreeMap<Address, BTreeSet<OutboxId>>,
    known: BTreeMap<Address, Known>,
    chosen: Option<Address>,
    ticks: u64,
}

fn blob(change: &Change) -> Blob {
    Blob(change.raw_bytes().to_vec().into())
}

impl Known {
    fn start(&mut self, address: &Address) {
        self.doc = genesis::document(address, ENCODING);
        self.log = genesis::document(address, ENCODING);
        self.cursor = None;
        self.snapshot = None;
    }

    fn seq(&self) -> u64 {
        self.cursor.map_or(0, |cursor| cursor.seq)
    }

    /// Answers the seq up to which it was shown the log.
    fn apply(&mut self, frame: &Changes) -> u64 {
        assert_eq!(frame.first_seq, self.seq() + 1, "a gap or an overlap");
        let changes: Vec<Change> = frame
            .entries
            .iter()
            .map(|entry| Change::try_from(&entry.change.0[..]).expect("a server relays changes"))
            .collect();
        self.log.apply_changes(changes.clone()).expect("what is in the log applies");
        if self.doc.apply_changes(changes).is_err() {
            // What it forged stands against what is there.
            self.doc = self.log.clone();
        }
        let seq = frame.first_seq + frame.entries.len() as u64 - 1;
        self.cursor = Some(WireCursor { epoch: self.epoch, seq, tip: frame.tip });
        if let Some(seal) = frame.seal {
            let mut heads: Vec<_> = self.log.get_heads().iter().map(|head| head.0).collect();
            heads.sort_unstable();
            self.seal = Some(Proof { heads, seal });
        }
        seq
    }
}

impl Peer {
    /// Somebody, and how he greets, if he does.
    pub(crate) fn new(
        connection: ConnectionId,
        generation: u64,
        choices: &mut Choices<'_>,
    ) -> (Self, Option<Hello>) {
        let who = choices.pick(3, "who");
        let user = UserId::new(["ada", "bob", "eve"][who]).expect("a plain name");
        // Mostly a device of its own.
        let device = if choices.pick(5, "device") == 0 { 0 } else { (connection.0 % 60) as u8 };
        let name = [who as u8 + 1 + 4 * device; 16];
        let (session, outbox) = (name, OutboxId(name));
        let known = BTreeMap::new();
        let (user_known, outboxes, chosen) = (user.clone(), BTreeMap::new(), None);
        let peer = Self { connection, user: user_known, outbox, outboxes, known, chosen, ticks: 0 };
        let old = choices.pick(16, "generation") == 15;
        let hello = Hello {
            session,
            generation: if old { 1 } else { generation },
            user: user.to_string(),
            token: None,
            agent: "fuzz".to_owned(),
        };
        let greets = choices.pick(16, "greets") < 15;
        (peer, greets.then_some(hello))
    }

    /// Notes what it has said, also by mistake.
    pub(crate) fn note(&mut self, said: &ClientFrame) {
        if let ClientFrame::Subscribe(frame) = said
            && let Ok(address) = frame.address.parse::<Address>()
        {
            self.outboxes.entry(address).or_default().insert(OutboxId(frame.outbox));
        }
    }

    /// The document of a handle, and the outboxes that an answer may be about.
    pub(crate) fn outboxes_of(&self, handle: u32) -> Option<(&Address, &BTreeSet<OutboxId>)> {
        let (address, _) = self.known.iter().find(|(_, known)| known.handle == handle)?;
        self.outboxes.get(address).map(|outboxes| (address, outboxes))
    }

    /// Which document what it says next will be about.
    pub(crate) fn choose(&mut self, choices: &mut Choices<'_>) -> Option<Address> {
        let at = choices.pick(self.known.len(), "document");
        self.chosen = self.known.keys().nth(at).cloned();
        self.chosen.clone()
    }

    /// Opens a document, mostly the one that most are about.
    pub(crate) fn subscribe(&mut self, most: usize, choices: &mut Choices<'_>) -> ClientFrame {
        let all = addresses();
        let at = choices.pick(4 * all.len(), "address");
        let address = all[if at < all.len() { at } else { most % all.len() }].clone();
        let cursor = self.known.get(&address).and_then(|known| known.cursor);
        let cursor = match choices.pick(8, "cursor") {
            0..=4 => cursor,
            5 => None,
            6 => Some(WireCursor { epoch: [1; 16], seq: 1, tip: [0; 16] }),
            _ => cursor.map(|cursor| WireCursor { seq: u64::MAX, ..cursor }),
        };
        let write = choices.pick(4, "write") > 0;
        let mut other = self.outbox;
        other.0[1] ^= u8::from(choices.pick(16, "outbox") == 15);
        let outbox = self.outboxes.get(&address).and_then(|all| all.first().copied());
        let outbox = outbox.unwrap_or(other);
        Subscribe { address: address.to_string(), cursor, outbox: outbox.0, write }.into()
    }

    /// Takes in what is said. Answers up to where it was shown a log.
    pub(crate) fn hear(&mut self, frame: &ServerFrame) -> Option<(Address, u64)> {
        match frame {
            ServerFrame::Subscribed(frame) => {
                let address: Address = frame.address.parse().expect("a server names documents");
                let known = self.known.entry(address.clone()).or_insert_with(|| Known {
                    handle: frame.handle,
                    epoch: frame.epoch,
                    doc: genesis::document(&address, ENCODING),
                    log: genesis::document(&address, ENCODING),
                    cursor: None,
                    snapshot: None,
                    lease: None,
                    number: 0,
                    seal: None,
                });
                known.handle = frame.handle;
                known.epoch = frame.epoch;
                known.lease = frame.lease;
                known.number = frame.settled;
                match frame.resume {
                    Resume::Cursor => {}
                    Resume::Beginning => known.start(&address),
                    Resume::Snapshot { cursor, bytes } => {
                        known.start(&address);
                        known.snapshot = Some((cursor, bytes, Vec::new()));
                    }
                }
                known.doc = known.log.clone();
                Some((address, frame.end_seq))
            }
            ServerFrame::SnapshotPart(part) => {
                let (address, known) = self.of_handle(part.handle)?;
                let (cursor, bytes, body) = known.snapshot.as_mut()?;
                assert_eq!(part.offset, body.len() as u64);
                body.extend_from_slice(&part.bytes.0);
                if (body.len() as u64) < *bytes {
                    return None;
                }
                known.log = Automerge::load(body).expect("a snapshot loads");
                known.doc = known.log.clone();
                known.cursor = Some(*cursor);
                let seq = cursor.seq;
                known.snapshot = None;
                Some((address, seq))
            }
            ServerFrame::Changes(frame) => {
                let (address, known) = self.of_handle(frame.handle)?;
                Some((address, known.apply(frame)))
            }
            ServerFrame::PackedChanges(packed) => {
                let frame = unpack(packed).expect("it unpacks");
                let (address, known) = self.of_handle(frame.handle)?;
                Some((address, known.apply(&frame)))
            }
            ServerFrame::Leased(frame) => {
                let (_, known) = self.of_handle(frame.handle)?;
                known.lease = Some(frame.lease);
                known.doc = known.log.clone();
                None
            }
            ServerFrame::LeaseEnded(frame) => {
                self.of_handle(frame.handle)?.1.lease = None;
                None
            }
            ServerFrame::Reject(frame) => {
                let (_, known) = self.of_handle(frame.handle)?;
                known.lease = None;
                if frame.number <= known.number {
                    known.number = frame.number;
                }
                None
            }
            _ => None,
        }
    }

    fn of_handle(&mut self, handle: u32) -> Option<(Address, &mut Known)> {
        let known = self.known.iter_mut().find(|(_, known)| known.handle == handle);
        known.map(|(address, known)| (address.clone(), known))
    }

    /// Says something, mostly about the document that was chosen.
    pub(crate) fn frame(
        &mut self,
        accepted: &[Change],
        most: usize,
        hostile: bool,
        choices: &mut Choices<'_>,
    ) -> Option<ClientFrame> {
        self.ticks += 1;
        let chosen = self.chosen.clone();
        let Some(address) = chosen.filter(|_| choices.pick(16, "another") > 0) else {
            return Some(self.subscribe(most, choices));
        };
        if hostile {
            return self.wrong(&address, accepted, choices);
        }
        let known = self.known.get(&address)?;
        let (handle, leased) = (known.handle, known.lease.is_some());
        Some(match choices.pick(24, "says") {
            0..=16 if leased => return self.push(&address, choices),
            0..=17 => RequestLease { handle }.into(),
            18 => Release { handle }.into(),
            19 if choices.pick(3, "leaves") == 0 => Unsubscribe { handle }.into(),
            20 => self.compare(&address, choices),
            21 => Ping { nonce: self.ticks }.into(),
            22 if choices.pick(8, "bye") == 0 => Bye {}.into(),
            _ => return self.push(&address, choices),
        })
    }

    fn compare(&self, address: &Address, choices: &mut Choices<'_>) -> ClientFrame {
        let known = &self.known[address];
        let mut heads: Vec<_> =
            known.log.get_heads().iter().map(|h| syncline_engine::ids::ChangeHash(h.0)).collect();
        heads.sort_unstable();
        let seq = if choices.pick(4, "seq") == 0 { self.ticks } else { known.seq() };
        Compare { handle: known.handle, seq, heads: heads_digest(heads) }.into()
    }

    /// Its own doing, mostly in its own name.
    fn write(&mut self, address: &Address, choices: &mut Choices<'_>) -> Option<Change> {
        let tick = self.connection.0 * 1_000 + self.ticks;
        let mut command = commands::command(address.facet(), tick, choices);
        if choices.pick(4, "own name") > 0 {
            let own = self.user.clone();
            if let Command::Likes(
                LikesCommand::Like { user, .. } | LikesCommand::Unlike { user, .. },
            )
            | Command::Comments(CommentsCommand::Add { author: user, .. })
            | Command::Post(PostCommand::Create { author: user, .. }) = &mut command
            {
                *user = own;
            }
        }
        let known = self.known.get_mut(address)?;
        let actor = known.lease.map_or_else(|| ActorId::provisional(7).0, |lease| lease.actor);
        known.doc.set_actor(actor[..].into());
        let mut transaction = known.doc.transaction();
        if command.apply(&mut transaction).is_err() {
            transaction.rollback();
            return None;
        }
        transaction.commit().0?;
        known.doc.get_last_local_change()
    }

    fn push(&mut self, address: &Address, choices: &mut Choices<'_>) -> Option<ClientFrame> {
        let mut changes = Vec::new();
        for _ in 0..=choices.pick(3, "changes") {
            changes.extend(self.write(address, choices));
            self.ticks += 1;
        }
        let known = self.known.get_mut(address)?;
        let first = known.number.saturating_add(1);
        known.number = known.number.saturating_add(changes.len() as u64);
        let changes = changes.iter().map(blob).collect();
        Some(Push { handle: known.handle, first, changes }.into())
    }

    /// What no client says.
    fn wrong(
        &mut self,
        address: &Address,
        accepted: &[Change],
        choices: &mut Choices<'_>,
    ) -> Option<ClientFrame> {
        let known = self.known.get(address)?;
        let (handle, number, seal) = (known.handle, known.number, known.seal.clone());
        let first = match choices.pick(6, "number") {
            0..=2 => number.saturating_add(1),
            3 => number,
            4 => number.saturating_add(2),
            _ => [0, u64::MAX][choices.pick(2, "extreme")],
        };
        Some(match choices.pick(8, "wrong") {
            0..=2 => {
                let honest = self.write(address, choices)?;
                let mut pool = vec![genesis::change(address)];
                pool.extend_from_slice(accepted);
                let forged = forgeries::forge(&honest, &pool, choices);
                Push { handle, first, changes: vec![blob(&forged)] }.into()
            }
            3 => {
                let change = accepted.get(choices.pick(accepted.len(), "again"))?;
                Push { handle, first, changes: vec![blob(change); 1 + choices.pick(2, "twice")] }
                    .into()
            }
            4 => {
                let honest = self.write(address, choices)?;
                Push { handle, first, changes: vec![blob(&honest)] }.into()
            }
            5 => Push { handle, first, changes: vec![Blob(vec![7; 30].into())] }.into(),
            6 => {
                let proof = match choices.pick(3, "proof") {
                    0 => None,
                    1 => seal,
                    _ => Some(Proof { heads: vec![[4; 32]; 2], seal: [9; 16] }),
                };
                let from = choices.pick(accepted.len() + 1, "from");
                let changes: Vec<Blob> = accepted[from..].iter().rev().map(blob).collect();
                Restore { handle, proof, changes, last: choices.pick(4, "last") > 0 }.into()
            }
            _ => match choices.pick(4, "odd") {
                0 => RequestLease { handle: handle + 1 }.into(),
                1 => Renew { token: "x".to_owned() }.into(),
                2 => Release { handle: u32::MAX }.into(),
                _ => Subscribe {
                    address: "no/such".to_owned(),
                    cursor: None,
                    outbox: [0; 16],
                    write: true,
                }
                .into(),
            },
        })
    }
}
