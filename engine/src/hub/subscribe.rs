//! Opening and closing documents, resuming from a cursor, and granting and ending leases on behalf
//! of a connection. What is sent afterwards is the concern of [`super::follow`].

use std::collections::BTreeSet;

use super::connection::{SessionKey, Slot};
use super::document::{Follower, Gate, Live, Opening, Progress, State};
use super::timers::Timer;
use super::{Handle, Hub, Phase};
use crate::clock::Timestamp;
use crate::codes::Code;
use crate::ids::{Address, Cursor, Epoch, Lease, OutboxId, Tip, heads_digest};
use crate::policy::Capabilities;
use crate::storage::Sealed;
use crate::wire::frame::{
    Compare, Compared, LeaseEnded, Leased, NextEpoch, Resume, SettledAs, Subscribe, Subscribed,
    WireCursor, WireLease,
};

/// An address that does not parse is not worth echoing beyond this.
const ECHO_BYTES_MAX: usize = 256;

fn wire_cursor(cursor: Cursor) -> WireCursor {
    WireCursor { epoch: cursor.epoch.0, seq: cursor.seq, tip: cursor.tip.0 }
}

fn wire_lease(lease: Lease) -> WireLease {
    WireLease { actor: lease.actor.0, next_seq: lease.next_seq, after: lease.after }
}

impl Live {
    /// How a client that knows the log of an epoch that has ended up to `cursor` is brought to its end.
    fn resume_sealed(&self, cursor: Option<Cursor>) -> Option<(Resume, Progress, Sealed)> {
        let cursor = cursor.filter(|cursor| cursor.epoch != self.epoch)?;
        let sealed = self.sealed.iter().find(|sealed| sealed.end.epoch == cursor.epoch)?;
        let Sealed { end, body_bytes: bytes, .. } = *sealed;
        if cursor == end {
            return Some((Resume::Cursor, Progress::Ended, *sealed));
        }
        let progress = Progress::Snapshot { cursor: end, bytes, offset: 0 };
        Some((Resume::Snapshot { cursor: wire_cursor(end), bytes }, progress, *sealed))
    }

    /// How a client that knows the log up to `cursor` is brought up to date.
    fn resume(&self, cursor: Option<Cursor>) -> (Resume, Progress) {
        if let Some(cursor) = cursor
            && cursor.epoch == self.epoch
            && cursor.seq <= self.durable.seq
            && cursor.seq + 1 >= self.tail_from
            && self.tip_at(cursor.seq) == Some(cursor.tip)
        {
            return (Resume::Cursor, Progress::Log { sent: cursor.seq });
        }
        self.snapshot.map_or((Resume::Beginning, Progress::Log { sent: 0 }), |snapshot| {
            let (cursor, bytes) = (snapshot.cursor, snapshot.bytes);
            let progress = Progress::Snapshot { cursor, bytes, offset: 0 };
            (Resume::Snapshot { cursor: wire_cursor(cursor), bytes }, progress)
        })
    }

    fn lease_of(&self, session: SessionKey) -> Option<Lease> {
        self.leases.of(session).map(|held| Lease {
            actor: held.actor,
            next_seq: self.index.last_seq(held.actor) + 1,
            after: held.after,
        })
    }
}

impl Hub {
    pub(super) fn subscribe(&mut self, now: Timestamp, slot: Slot, frame: &Subscribe) {
        let address = match frame.address.parse::<Address>() {
            Ok(address) => address,
            Err(error) => {
                let echo = Some(&frame.address).filter(|a| a.len() <= ECHO_BYTES_MAX).cloned();
                return self.complain(slot, Code::BadAddress, &error.to_string(), echo);
            }
        };
        if !matches!(self.phase, Phase::Running) {
            let why = "the server is going away for a moment";
            return self.complain(slot, Code::ShuttingDown, why, Some(frame.address.clone()));
        }
        let Some(open) = self.connections.open(slot) else { return };
        let known = self.documents.handle(&address).filter(|h| open.documents.contains(h));
        let full = open.documents.len() >= usize::try_from(self.config.documents_max).unwrap_or(0);
        if known.is_none() && full {
            let why = "close a document before opening another";
            return self.complain(slot, Code::TooManyDocuments, why, Some(frame.address.clone()));
        }
        if self.may_read(slot, address.space()) == Some(false) {
            if let Some(handle) = known {
                self.unsubscribe(now, slot, handle);
            }
            let (code, why) = self.no_entry(address.space(), "you may not read here");
            return self.complain(slot, code, why, Some(frame.address.clone()));
        }
        if known.is_none() && self.holds_too_many(&open.credentials.user) {
            let why = "you have as many documents open as one user may; close some";
            return self.complain(slot, Code::TooManyDocuments, why, Some(frame.address.clone()));
        }
        let crowded = self.documents.len() >= self.config.live_documents_max || self.is_strained();
        if crowded && self.documents.handle(&address).is_none() {
            let why = "the server has as much to do as it can; documents that are open go on";
            return self.complain(slot, Code::Overloaded, why, Some(frame.address.clone()));
        }
        let handle = self.handle_of(&address);
        if let Some(open) = self.connections.open_mut(slot) {
            open.documents.insert(handle);
            open.news.remove(&handle);
        }
        let cursor = frame.cursor.map(|cursor| Cursor {
            epoch: Epoch(cursor.epoch),
            seq: cursor.seq,
            tip: Tip(cursor.tip),
        });
        let (outbox, write) = (OutboxId(frame.outbox), frame.write);
        let mut opening = Opening { cursor, outbox, write, barrier: 0 };
        let Some(document) = self.documents.get_mut(handle) else { return };
        match &mut document.state {
            // A second request of a connection stands for the first.
            State::Loading(openings) => {
                openings.insert(slot, opening);
            }
            State::Live(live) => {
                live.followers.remove(&slot);
                live.stalled.remove(&slot);
                if let Gate::Opening(asked) = &mut live.gate {
                    asked.remove(&slot);
                }
                opening.barrier = live.assigned.seq;
                live.openings.insert(slot, opening);
                self.answer_openings(now, handle);
            }
        }
    }

    /// Answers each `Subscribe` whose barrier is durable; one who wants to write waits for the gate
    /// too.
    pub(super) fn answer_openings(&mut self, now: Timestamp, handle: Handle) {
        let Some(document) = self.documents.get(handle) else { return };
        let State::Live(live) = &document.state else { return };
        if live.is_ending() {
            return;
        }
        let readers: BTreeSet<Slot> = live
            .openings
            .keys()
            .copied()
            .filter(|slot| self.may_read(*slot, document.address.space()) == Some(true))
            .collect();
        let Some(live) = self.documents.live_mut(handle) else { return };
        let (durable, open) = (live.durable.seq, matches!(live.gate, Gate::Open(_)));
        let mut ready = Vec::new();
        live.openings.retain(|slot, opening| {
            let reads = readers.contains(slot);
            let waits = opening.barrier > durable || (opening.write && !open && reads);
            if !waits {
                ready.push((*slot, *opening));
            }
            waits
        });
        if !open && live.openings.values().any(|opening| opening.write) {
            self.open_gate(handle);
        }
        for (slot, opening) in ready {
            self.answer_opening(now, handle, slot, opening);
        }
    }

    fn answer_opening(&mut self, now: Timestamp, handle: Handle, slot: Slot, opening: Opening) {
        let Some(session) = self.connections.open(slot).map(|open| open.session) else { return };
        let Some(document) = self.documents.get(handle) else { return };
        let principal = self.principal(slot, document.address.space());
        let may = principal.map_or(Capabilities::NONE, |principal| principal.may);
        if !may.has(Capabilities::READ) {
            let address = document.address.clone();
            let (code, why) = self.no_entry(address.space(), "you may not read here");
            self.abandon(slot, handle, &address, code, why);
            return self.watch_idle(now, handle);
        }
        let Some(live) = self.documents.live_mut(handle) else { return };
        let outbox = opening.outbox;
        if let Some((resume, progress, sealed)) = live.resume_sealed(opening.cursor) {
            // Nothing that it has can be taken in before it has come to the present epoch.
            let follower =
                Follower { dropping: true, ..Follower::new(session, outbox, progress, may) };
            live.followers.insert(slot, follower);
            self.say_subscribed(handle, slot, resume, false, Some(sealed));
            return self.have_news(handle, slot);
        }
        let (resume, progress) = live.resume(opening.cursor);
        let follower = Follower::new(session, outbox, progress, may);
        live.followers.insert(slot, follower);
        let mut lease_kept = false;
        if let Some(held) = live.leases.of_mut(session) {
            held.next = None;
            lease_kept = resume == Resume::Cursor;
            if !lease_kept {
                // What it wrote was on another base, so this is a grant like a new one.
                held.after = live.assigned.seq;
            }
        } else if opening.write {
            self.grant(now, handle, session);
        }
        self.say_subscribed(handle, slot, resume, lease_kept, None);
        self.have_news(handle, slot);
    }

    /// Starts a follower's resume over where what it was being sent is gone. Its base changes by
    /// that, so its lease ends and what it pushes meanwhile is passed over. What it pushed before is
    /// waited for, as with a `Subscribe`: it is written anew if it is not said to be settled.
    pub(super) fn restart(&mut self, handle: Handle, slot: Slot) {
        let Some(live) = self.documents.live_mut(handle) else { return };
        let (durable, assigned) = (live.durable.seq, live.assigned.seq);
        let (resume, progress) = live.resume(None);
        let Some(follower) = live.followers.get_mut(&slot) else { return };
        follower.dropping = true;
        let waits = *follower.starts_over.get_or_insert(assigned) > durable;
        if !waits {
            follower.starts_over = None;
            follower.progress = progress;
        }
        let session = follower.session;
        self.end_lease(handle, session);
        if waits {
            return;
        }
        self.say_subscribed(handle, slot, resume, false, None);
    }

    fn say_subscribed(
        &mut self,
        handle: Handle,
        slot: Slot,
        resume: Resume,
        lease_kept: bool,
        sealed: Option<Sealed>,
    ) {
        let Some(document) = self.documents.get(handle) else { return };
        let State::Live(live) = &document.state else { return };
        let Some(follower) = live.followers.get(&slot) else { return };
        let address = document.address.to_string();
        let last = live.index.settled(follower.outbox);
        let settled_as = (last.number > 0).then(|| SettledAs {
            address: address.clone(),
            number: last.number,
            digest: last.digest(),
        });
        let mut frame = Subscribed {
            address,
            handle,
            epoch: live.epoch.0,
            resume,
            end_seq: live.durable.seq,
            seal: live.seal(&self.identity.digest_key, &document.address).map(|seal| seal.0),
            may: follower.may.bits(),
            settled: live.settled(follower.outbox),
            lease: live.lease_of(follower.session).map(wire_lease),
            lease_kept,
            next: None,
        };
        if let Some(Sealed { end, start, .. }) = sealed {
            frame.epoch = end.epoch.0;
            frame.end_seq = end.seq;
            frame.seal = None;
            frame.lease = None;
            frame.next = Some(NextEpoch {
                start: wire_cursor(start.cursor),
                head: start.head.0,
                at_ms: start.at.0,
            });
        }
        if let Some(settled_as) = settled_as {
            self.send(slot, settled_as);
        }
        self.send(slot, frame);
    }

    pub(super) fn unsubscribe(&mut self, now: Timestamp, slot: Slot, handle: Handle) {
        let Some(open) = self.connections.open_mut(slot) else { return };
        let session = open.session;
        if !open.documents.remove(&handle) {
            return self.unknown_handle(slot, handle);
        }
        open.news.remove(&handle);
        self.end_lease(handle, session);
        self.forget_follower(now, handle, slot);
    }

    /// Says whether a follower has made of the log what this side has.
    pub(super) fn compare(&mut self, slot: Slot, frame: Compare) {
        let Compare { handle, seq, heads } = frame;
        let Some(live) = self.documents.live(handle).filter(|l| l.followers.contains_key(&slot))
        else {
            return self.unknown_handle(slot, handle);
        };
        let comparable = live.durable.seq == seq && live.assigned.seq == seq;
        let same = comparable.then(|| heads_digest(live.index.heads()) == heads);
        self.send(slot, Compared { handle, seq, same });
    }

    pub(super) fn unknown_handle(&mut self, slot: Slot, handle: Handle) {
        // It was said before the client heard that the document was taken out of its hands, or while it
        // is opening it anew.
        let closed = self.connections.open(slot).is_some_and(|open| open.closed.contains(&handle));
        let live = self.documents.live(handle);
        if closed || live.is_some_and(|live| live.openings.contains_key(&slot)) {
            return;
        }
        self.complain(slot, Code::UnknownHandle, "no document with this handle is open", None);
    }

    /// Takes a connection off a document.
    pub(super) fn forget_follower(&mut self, now: Timestamp, handle: Handle, slot: Slot) {
        let Some(document) = self.documents.get_mut(handle) else { return };
        match &mut document.state {
            State::Loading(openings) => {
                openings.remove(&slot);
            }
            State::Live(live) => {
                live.followers.remove(&slot);
                live.openings.remove(&slot);
                live.stalled.remove(&slot);
                if let Gate::Opening(asked) = &mut live.gate {
                    asked.remove(&slot);
                }
                self.watch_idle(now, handle);
            }
        }
    }

    pub(super) fn request_lease(&mut self, now: Timestamp, slot: Slot, handle: Handle) {
        let Some(live) = self.documents.live_mut(handle) else {
            return self.unknown_handle(slot, handle);
        };
        let ending = live.is_ending();
        let Some(follower) = live.followers.get_mut(&slot) else {
            return self.unknown_handle(slot, handle);
        };
        if ending || follower.is_behind(&live.sealed) {
            return;
        }
        if !matches!(live.gate, Gate::Open(_)) {
            if let Some(asked) = self.open_gate(handle) {
                asked.entry(slot).or_default().lease = true;
            }
            return;
        }
        follower.dropping = false;
        let session = follower.session;
        // One who asks again while it holds a lease has given up what it wrote under that. The
        // actor stays: a change of it that the server has not seen, nobody else has.
        if let Some(held) = live.leases.of_mut(session) {
            held.after = live.assigned.seq;
            held.used = now;
            held.next = None;
        } else {
            self.grant(now, handle, session);
        }
        let lease = self.documents.live(handle).and_then(|live| live.lease_of(session));
        if let Some(lease) = lease.map(wire_lease) {
            self.send(slot, Leased { handle, lease });
        }
    }

    fn grant(&mut self, now: Timestamp, handle: Handle, session: SessionKey) {
        let Some(live) = self.documents.live_mut(handle) else { return };
        let wake = now + self.config.lease_idle;
        live.leases.grant(session, self.identity.term, live.assigned.seq, now, wake);
        self.timers.arm(wake, Timer::Lease(handle, session));
        if let Some(session) = self.sessions.get_mut(session) {
            session.slots.insert(handle);
        }
    }

    /// Ends a session's lease on a document, if it holds one, without a word. Its slot stays its.
    pub(super) fn end_lease(&mut self, handle: Handle, session: SessionKey) {
        if let Some(live) = self.documents.live_mut(handle)
            && let Some(held) = live.leases.end(session)
        {
            self.timers.disarm(held.wake, Timer::Lease(handle, session));
        }
    }

    /// A session gives its lease back, or the slot that it kept from an earlier one.
    pub(super) fn release(&mut self, now: Timestamp, slot: Slot, handle: Handle) {
        let Some(live) = self.documents.live_mut(handle) else {
            return self.unknown_handle(slot, handle);
        };
        let Some(follower) = live.followers.get_mut(&slot) else {
            return self.unknown_handle(slot, handle);
        };
        follower.dropping = true;
        let (session, durable) = (follower.session, live.durable.seq);
        self.end_lease(handle, session);
        if let Some(live) = self.documents.live_mut(handle) {
            live.leases.release(session, durable);
        }
        if let Some(session) = self.sessions.get_mut(session) {
            session.slots.remove(&handle);
        }
        self.watch_idle(now, handle);
    }

    /// A lease may have gone unused for too long.
    pub(super) fn lease_idle(&mut self, now: Timestamp, handle: Handle, session: SessionKey) {
        let Some(live) = self.documents.live_mut(handle) else { return };
        let durable = live.durable.seq;
        let Some(held) = live.leases.of_mut(session) else { return };
        let deadline = held.used + self.config.lease_idle;
        let in_flight = held.written > durable;
        if now < deadline || in_flight {
            held.wake = if in_flight { now + self.config.lease_idle } else { deadline };
            let wake = held.wake;
            return self.timers.arm(wake, Timer::Lease(handle, session));
        }
        self.end_lease(handle, session);
        let slot = self.sessions.get(session).and_then(super::connection::Session::slot);
        if let Some(slot) = slot
            && let Some(live) = self.documents.live_mut(handle)
            && let Some(follower) = live.followers.get_mut(&slot)
        {
            follower.dropping = true;
            self.send(slot, LeaseEnded { handle, code: Code::LeaseLost.number() });
        }
        self.watch_idle(now, handle);
    }
}
