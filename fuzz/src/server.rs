//! A server without a gate, a disk or people: it accepts what it is given, relays it, and answers as
//! chance wants, mostly as it should. Knows no session.

use std::collections::BTreeMap;

use automerge::{Automerge, Change, ReadDoc as _, TextEncoding};
use syncline_engine::document::genesis;
use syncline_engine::ids::{ActorId, Address, Facet};
use syncline_engine::wire::frame::{
    Ack, Blob, Changes, Compared, Error, Goodbye, LeaseEnded, Leased, May, NextEpoch,
    PackedChanges, Pong, Push, Reject, Restored, Resume, SettledAs, SnapshotPart, Subscribe,
    Subscribed, TokenExpires, Welcome, WireCursor, WireEntry, WireLease,
};
use syncline_engine::wire::{ClientFrame, ServerFrame, pack};

use super::commands::{self, Choices};

/// A document with its log.
struct Served {
    handle: u32,
    doc: Automerge,
    log: Vec<Change>,
    settled: u64,
    lease: Option<ActorId>,
    follows: bool,
}

pub(crate) struct Server {
    documents: BTreeMap<Address, Served>,
    term: u64,
    slots: u32,
    ticks: u64,
}

const ALL_RIGHTS: u16 = u16::MAX;

fn entries(changes: &[Change]) -> Vec<WireEntry> {
    let entry = |change: &Change| WireEntry {
        author: 0,
        at_ms: 5,
        change: Blob(change.raw_bytes().to_vec().into()),
    };
    changes.iter().map(entry).collect()
}

impl Served {
    fn after(&self, seq: usize) -> Option<ServerFrame> {
        let changes = self.log.get(seq..).filter(|changes| !changes.is_empty())?;
        let frame = Changes {
            handle: self.handle,
            first_seq: seq as u64 + 1,
            tip: [1; 16],
            seal: (seq.is_multiple_of(2)).then_some([3; 16]),
            authors: vec!["bob".to_owned()],
            entries: entries(changes),
        };
        let packed = if seq.is_multiple_of(3) { pack(&frame) } else { None };
        Some(packed.map_or_else(|| frame.into(), ServerFrame::from))
    }

    fn wire_lease(&self, actor: ActorId) -> WireLease {
        let own = |change: &&Change| change.actor_id().to_bytes() == actor.0;
        let next_seq = self.log.iter().filter(own).count() as u64 + 1;
        WireLease { actor: actor.0, next_seq, after: self.log.len() as u64 }
    }
}

impl Server {
    pub(crate) fn new() -> Self {
        let documents = (1..)
            .zip(Facet::DOCUMENTS)
            .map(|(handle, facet)| {
                let address = Address::new("town", "square", facet).expect("plain names");
                let doc = genesis::document(&address, TextEncoding::UnicodeCodePoint);
                let (log, lease) = (Vec::new(), None);
                (address, Served { handle, doc, log, settled: 0, lease, follows: false })
            })
            .collect();
        Self { documents, term: 5, slots: 0, ticks: 0 }
    }

    pub(crate) fn forget_connection(&mut self) {
        self.documents.values_mut().for_each(|served| served.follows = false);
    }

    fn of_handle(&mut self, handle: u32) -> Option<&mut Served> {
        self.documents.values_mut().find(|served| served.handle == handle)
    }

    /// What it says to a frame; `honest` for nothing but what it should.
    pub(crate) fn answer(
        &mut self,
        frame: &ClientFrame,
        choices: &mut Choices<'_>,
        honest: bool,
    ) -> Vec<ServerFrame> {
        let odd = if honest { 0 } else { choices.pick(48, "odd") };
        match odd {
            47 => return Vec::new(),
            46 => return vec![self.anything(choices)],
            _ => {}
        }
        let twist = odd >= 42;
        match frame {
            ClientFrame::Hello(_) => {
                let heartbeat_ms = if twist { number(choices) as u32 } else { 30_000 };
                self.term += u64::from(twist);
                let term = self.term;
                vec![Welcome { term, heartbeat_ms, now_ms: 1, documents_max: 10 }.into()]
            }
            ClientFrame::Subscribe(subscribe) => self.subscribe(subscribe, twist, choices),
            ClientFrame::Push(push) => self.push(push, twist, choices),
            ClientFrame::RequestLease(frame) => {
                self.slots += 1;
                let actor = ActorId::leased(self.term, self.slots);
                let Some(served) = self.of_handle(frame.handle) else { return Vec::new() };
                served.lease = Some(actor);
                vec![Leased { handle: frame.handle, lease: served.wire_lease(actor) }.into()]
            }
            ClientFrame::Unsubscribe(frame) => {
                let Some(served) = self.of_handle(frame.handle) else { return Vec::new() };
                served.follows = false;
                served.lease = None;
                Vec::new()
            }
            ClientFrame::Release(frame) => {
                let Some(served) = self.of_handle(frame.handle) else { return Vec::new() };
                served.lease = None;
                Vec::new()
            }
            ClientFrame::Restore(frame) => {
                let (accepted, refused) = (0, twist.then_some(31));
                vec![Restored { handle: frame.handle, accepted, refused }.into()]
            }
            ClientFrame::Ping(frame) => vec![Pong { nonce: frame.nonce }.into()],
            ClientFrame::Compare(frame) => {
                let same = [Some(true), Some(false), None][choices.pick(3, "same")];
                let same = if twist { same } else { Some(true) };
                vec![Compared { handle: frame.handle, seq: frame.seq, same }.into()]
            }
            ClientFrame::Renew(_) => vec![TokenExpires { in_ms: number(choices) }.into()],
            // The fuzzed sessions open no streams and enter no spaces and follow no feeds.
            ClientFrame::WriteStream(_)
            | ClientFrame::ReadStream(_)
            | ClientFrame::AppendStream(_)
            | ClientFrame::EndStream(_)
            | ClientFrame::InterruptStream(_)
            | ClientFrame::LeaveStream(_)
            | ClientFrame::Bye(_)
            | ClientFrame::Enter(_)
            | ClientFrame::Leave(_)
            | ClientFrame::Announce(_)
            | ClientFrame::Kick(_)
            | ClientFrame::FollowFeed(_)
            | ClientFrame::LeaveFeed(_)
            | ClientFrame::ListPosts(_) => Vec::new(),
        }
    }

    fn subscribe(
        &mut self,
        frame: &Subscribe,
        twist: bool,
        choices: &mut Choices<'_>,
    ) -> Vec<ServerFrame> {
        let Ok(address) = frame.address.parse::<Address>() else { return Vec::new() };
        let (term, slot) = (self.term, self.slots + 1);
        let Some(served) = self.documents.get_mut(&address) else { return Vec::new() };
        served.follows = true;
        let keeps = served.lease.is_some() && choices.pick(2, "lease kept") == 1;
        if frame.write && !keeps {
            self.slots = slot;
            served.lease = Some(ActorId::leased(term, slot));
        }
        let end_seq = served.log.len() as u64;
        let known = frame.cursor.filter(|cursor| cursor.seq <= end_seq && cursor.epoch == [8; 16]);
        let (resume, from) = match known {
            Some(cursor) if choices.pick(5, "resume") > 0 => (Resume::Cursor, cursor.seq as usize),
            Some(_) | None if choices.pick(3, "snapshot") > 0 => (Resume::Beginning, 0),
            Some(_) | None => {
                let cursor = WireCursor { epoch: [8; 16], seq: end_seq, tip: [1; 16] };
                let bytes = served.doc.save().len() as u64;
                (Resume::Snapshot { cursor, bytes }, served.log.len())
            }
        };
        let mut answer = Subscribed {
            address: frame.address.clone(),
            handle: served.handle,
            epoch: [8; 16],
            resume,
            end_seq,
            seal: Some([3; 16]),
            may: ALL_RIGHTS,
            settled: served.settled,
            lease: served.lease.map(|actor| served.wire_lease(actor)),
            lease_kept: keeps && resume == Resume::Cursor,
            next: None,
        };
        if twist {
            match choices.pick(5, "twist") {
                0 => answer.settled = number(choices),
                1 => answer.end_seq = number(choices),
                2 => answer.lease_kept = true,
                3 => answer.may = choices.pick(16, "may") as u16,
                _ => answer.epoch = [9; 16],
            }
        }
        let mut frames = Vec::new();
        if choices.pick(4, "settled as") > 0 {
            let (address, number, digest) = (frame.address.clone(), answer.settled, [0; 8]);
            frames.push(SettledAs { address, number, digest }.into());
        }
        frames.push(answer.into());
        if matches!(resume, Resume::Snapshot { .. }) {
            let body = served.doc.save();
            let cut = choices.pick(body.len(), "cut");
            for (offset, part) in [(0, &body[..cut]), (cut, &body[cut..])] {
                let (handle, bytes) = (served.handle, Blob(part.to_vec().into()));
                frames.push(SnapshotPart { handle, offset: offset as u64, bytes }.into());
            }
        }
        frames.extend(served.after(from));
        frames
    }

    fn push(&mut self, frame: &Push, twist: bool, choices: &mut Choices<'_>) -> Vec<ServerFrame> {
        let Some(served) = self.of_handle(frame.handle) else { return Vec::new() };
        let (handle, before) = (frame.handle, served.log.len());
        let mut refused = None;
        for (number, blob) in (frame.first..).zip(&frame.changes) {
            if number <= served.settled {
                continue;
            }
            let change = Change::try_from(&blob.0[..]).expect("a client writes changes");
            let leased = served.lease.is_some_and(|actor| change.actor_id().to_bytes() == actor.0);
            let known = |dep| served.doc.get_change_by_hash(dep).is_some();
            let fits = leased && change.deps().iter().all(known);
            if !fits || (twist && choices.pick(2, "refused") == 1) {
                refused = Some(number);
                served.lease = None;
                break;
            }
            if served.doc.apply_changes([change.clone()]).is_err() {
                refused = Some(number);
                break;
            }
            served.log.push(change);
            served.settled = number;
        }
        let mut frames: Vec<ServerFrame> = Vec::new();
        frames.extend(served.after(before));
        let number = served.settled;
        if choices.pick(8, "acknowledged") > 0 {
            frames.push(Ack { handle, number }.into());
        }
        if let Some(number) = refused {
            let (code, message) = (30 + choices.pick(20, "code") as u16, "no".to_owned());
            frames.push(Reject { handle, number, code, message }.into());
        }
        if choices.pick(2, "order") == 1 {
            frames.reverse();
        }
        frames
    }

    /// Somebody else writes. The frame if it is relayed.
    pub(crate) fn write(
        &mut self,
        address: &Address,
        choices: &mut Choices<'_>,
    ) -> Option<ServerFrame> {
        self.ticks += 1;
        let command = commands::command(address.facet(), 100_000 + self.ticks, choices);
        let (term, served) = (self.term, self.documents.get_mut(address)?);
        let before = served.log.len();
        served.doc.set_actor(ActorId::leased(term, 900).0[..].into());
        let mut transaction = served.doc.transaction();
        if command.apply(&mut transaction).is_err() {
            transaction.rollback();
            return None;
        }
        transaction.commit().0?;
        served.log.push(served.doc.get_last_local_change()?);
        served.follows.then(|| served.after(before)).flatten()
    }

    /// A frame of any kind, right or wrong.
    pub(crate) fn anything(&mut self, choices: &mut Choices<'_>) -> ServerFrame {
        let followed: Vec<u32> =
            self.documents.values().filter(|served| served.follows).map(|s| s.handle).collect();
        let handle = match choices.pick(16, "handle") {
            15 => u32::MAX,
            14 => 6,
            n if followed.is_empty() => n as u32,
            n => followed[n % followed.len()],
        };
        let address = self.documents.keys().nth(choices.pick(5, "address"));
        let address = address.map_or_else(|| "no address".to_owned(), ToString::to_string);
        let code = choices.pick(80, "code") as u16;
        let lease = WireLease {
            actor: ActorId::leased(number(choices) >> 8, number(choices) as u32).0,
            next_seq: number(choices),
            after: number(choices),
        };
        let message = String::new();
        let cursor = WireCursor { epoch: [8; 16], seq: number(choices), tip: [1; 16] };
        // Some end the connection whatever is in them.
        let kind = match choices.pick(20, "kind") {
            0 | 5 | 13 if choices.pick(4, "worse") > 0 => 1 + choices.pick(4, "kind") * 2,
            kind => kind,
        };
        match kind {
            0 => {
                let (term, heartbeat_ms) = (number(choices), number(choices) as u32);
                Welcome { term, heartbeat_ms, now_ms: 0, documents_max: 1 }.into()
            }
            1 => Subscribed {
                address,
                handle,
                epoch: [8; 16],
                resume: match choices.pick(3, "resume") {
                    0 => Resume::Cursor,
                    1 => Resume::Beginning,
                    _ => Resume::Snapshot { cursor, bytes: number(choices) },
                },
                end_seq: number(choices),
                seal: None,
                may: ALL_RIGHTS,
                settled: number(choices),
                lease: (choices.pick(2, "lease") == 1).then_some(lease),
                lease_kept: choices.pick(2, "kept") == 1,
                next: (choices.pick(4, "next") == 3).then_some(NextEpoch {
                    start: cursor,
                    head: [9; 32],
                    at_ms: number(choices),
                }),
            }
            .into(),
            2 => {
                let (offset, bytes) = (number(choices), Blob(vec![7; 20].into()));
                SnapshotPart { handle, offset, bytes }.into()
            }
            3 | 4 => {
                let log = self.of_handle(handle).map(|served| entries(&served.log));
                let mut entries = log.unwrap_or_default();
                let from = choices.pick(entries.len() + 1, "from");
                entries.drain(..from);
                if choices.pick(3, "reversed") == 0 {
                    entries.reverse();
                }
                Changes {
                    handle,
                    first_seq: [from as u64 + 1, number(choices)][choices.pick(2, "first")],
                    tip: [2; 16],
                    seal: None,
                    authors: vec![],
                    entries,
                }
                .into()
            }
            5 => PackedChanges { bytes: number(choices) as u32, deflated: Blob(vec![3; 9].into()) }
                .into(),
            6 => Ack { handle, number: number(choices) }.into(),
            7 => Reject { handle, number: number(choices), code, message }.into(),
            8 => Leased { handle, lease }.into(),
            9 => LeaseEnded { handle, code }.into(),
            10 => {
                Restored { handle, accepted: 1, refused: (code.is_multiple_of(2)).then_some(code) }
                    .into()
            }
            11 => Pong { nonce: number(choices) }.into(),
            12 => Error {
                code,
                message,
                address: (choices.pick(2, "of one") == 1).then_some(address),
                fatal: choices.pick(4, "fatal") == 0,
                retry_after_ms: [None, Some(0), Some(u32::MAX), Some(50)][choices.pick(4, "retry")],
            }
            .into(),
            13 => Goodbye { code, retry_after_ms: Some(number(choices) as u32) }.into(),
            14 => {
                let same = [Some(true), Some(false), None][choices.pick(3, "same")];
                Compared { handle, seq: number(choices), same }.into()
            }
            15 => match choices.pick(2, "which") {
                0 => TokenExpires { in_ms: number(choices) }.into(),
                _ => SettledAs { address, number: number(choices), digest: [5; 8] }.into(),
            },
            _ => May { handle, may: code }.into(),
        }
    }
}

/// Mostly a small one.
fn number(choices: &mut Choices<'_>) -> u64 {
    match choices.pick(12, "number") {
        11 => u64::MAX,
        10 => u64::MAX - 1,
        9 => 1 << 32,
        small => small as u64,
    }
}
