//! From accepted to durable: what goes into a commit, and what may be said once it is on disk.

use std::collections::BTreeMap;
use std::mem;

use super::connection::Peer;
use super::document::{End, Gate, Live, Pending, State};
use super::relay::{Part, Press};
use super::{Effect, Handle, Hub, Phase};
use crate::clock::Timestamp;
use crate::codes::Code;
use crate::ids::{Address, OutboxId};
use crate::storage::record::{DigestKey, seal};
use crate::storage::{Append, Entry, Record, StoreError};
use crate::summary::Brought;
use crate::wire::frame::Ack;

/// A document's share of the commit under way.
#[derive(Debug)]
pub(super) struct Committing {
    end: End,
    /// The record as it will be relayed.
    parts: Vec<Part>,
    /// The highest number of each outbox, and who waits for it.
    numbers: BTreeMap<OutboxId, (u64, Option<Peer>)>,
    /// How much of it is whose.
    bytes: BTreeMap<Peer, usize>,
    bytes_all: usize,
    entries: usize,
    /// Whether it changes the summary of a post.
    summarised: bool,
}

impl Live {
    /// Notes what the document brings to the summary of its post, if the record that the last change
    /// will be in ends with it though more may come.
    pub(super) fn note_cut(&mut self, record_bytes_max: usize) {
        if self.pending.len() == 1 {
            self.pending_uncut = 0;
        }
        let Some(last) = self.pending.back_mut() else { return };
        self.pending_uncut += last.entry.change.len();
        if self.pending_uncut >= record_bytes_max
            && let Gate::Open(gate) = &self.gate
        {
            self.pending_uncut = 0;
            last.brought = gate.part().map(|part| Brought { at: last.entry.at, part });
        }
    }

    /// What the document brings to the summary of its post at the end of a record, if that is
    /// something else than before. `cut` is what was noted where more is pending.
    fn bring(&mut self, at: Timestamp, cut: Option<Brought>) -> Option<Brought> {
        let brought = match &self.gate {
            Gate::Open(gate) if self.pending.is_empty() => {
                gate.part().map(|part| Brought { at, part })
            }
            Gate::Open(_) | Gate::Opening(_) | Gate::Closed => cut,
        }?;
        if self.brought.as_ref().is_some_and(|known| known.says_as_much(&brought)) {
            return None;
        }
        self.brought = Some(brought.clone());
        Some(brought)
    }

    /// Takes up what is pending, as one record of bounded size, with what that brings to the summary
    /// of its post.
    fn take_record(
        &mut self,
        address: &Address,
        handle: Handle,
        key: &DigestKey,
        bytes_max: usize,
    ) -> Option<(Record, Option<Brought>)> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut numbers = BTreeMap::new();
        let mut bytes = BTreeMap::new();
        let mut bytes_all = 0;
        let End { seq: after, tip: tip_before } = self.durable;
        let (mut tip, mut cut) = (tip_before, None);
        while bytes_all < bytes_max
            && let Some(Pending { entry, tip: reached, from, brought }) = self.pending.pop_front()
        {
            (tip, cut) = (reached, brought);
            bytes_all += entry.change.len();
            if let Some(peer) = from {
                *bytes.entry(peer).or_default() += entry.change.len();
            }
            if let Some(command) = entry.command {
                numbers.insert(command.outbox, (command.number, from));
            }
            entries.push(entry);
        }
        let brought = self.bring(entries.last()?.at, cut);
        let summarised = brought.is_some();
        let record = Record { first_seq: after + 1, tip_before, tip, entries };
        let end = End { seq: record.last_seq(), tip };
        // The heads are those of the assigned end; what is cut off here has none to prove.
        let seal = (end == self.assigned).then(|| seal(key, address, self.index.heads()));
        let press = Press { handle, key, packed: false, seal };
        let parts = press.parts(std::slice::from_ref(&record), after, end.seq);
        let entries = record.entries.len();
        let done = Committing { end, parts, numbers, bytes, bytes_all, entries, summarised };
        self.committing = Some(done);
        Some((record, brought))
    }
}

impl Hub {
    /// Starts a commit of everything that is pending, unless one is under way.
    pub(super) fn flush(&mut self) {
        let clean = self.dirty.is_empty() && !self.streams.are_dirty();
        if self.committing || clean || matches!(self.phase, Phase::Stopped) {
            return;
        }
        let mut appends = Vec::with_capacity(self.dirty.len());
        for handle in mem::take(&mut self.dirty) {
            let Some(document) = self.documents.get_mut(handle) else { continue };
            let State::Live(live) = &mut document.state else { continue };
            let (key, bytes_max) = (&self.identity.digest_key, self.config.record_bytes_max);
            if let Some((record, brought)) =
                live.take_record(&document.address, handle, key, bytes_max)
            {
                let (address, epoch) = (document.address.clone(), live.epoch);
                appends.push(Append { address, epoch, record, brought });
                self.in_commit.push(handle);
            }
        }
        self.take_stream_records(&mut appends);
        if !appends.is_empty() {
            self.committing = true;
            self.out.push(Effect::Commit { appends });
        }
    }

    pub(super) fn committed(&mut self, now: Timestamp, result: &Result<(), StoreError>) {
        if !mem::take(&mut self.committing) {
            return;
        }
        if result.is_err() {
            return self.stop(now, Code::StoreFailed);
        }
        for handle in mem::take(&mut self.in_commit) {
            self.settle(now, handle);
        }
        self.settle_streams(now);
    }

    /// A document's record is durable: tells its authors, its followers and whoever waited for it.
    fn settle(&mut self, now: Timestamp, handle: Handle) {
        let Some(live) = self.documents.live_mut(handle) else { return };
        let Some(done) = live.committing.take() else { return };
        live.durable = done.end;
        live.leases.advance(done.end.seq);
        live.tail.bytes += done.bytes_all as u64;
        self.pending_bytes -= done.bytes_all;
        self.pending_entries -= done.entries;
        if !live.pending.is_empty() {
            self.dirty.insert(handle);
        }
        let mut acks = Vec::with_capacity(done.numbers.len());
        for (outbox, (number, peer)) in done.numbers {
            if let Some(in_flight) = live.in_flight.get_mut(&outbox) {
                in_flight.durable = number;
                if in_flight.last_seq <= done.end.seq {
                    live.in_flight.remove(&outbox);
                }
            }
            let follows =
                |p: &Peer| live.followers.get(&p.slot).is_some_and(|f| f.outbox == outbox);
            if let Some(peer) = peer.filter(follows) {
                acks.push((peer, number));
            }
        }
        for (peer, bytes) in done.bytes {
            if let Some(connection) = self.connections.peer_mut(peer) {
                connection.pending = connection.pending.saturating_sub(bytes);
            }
        }
        for (peer, number) in acks {
            if self.connections.peer_mut(peer).is_some() {
                self.send(peer.slot, Ack { handle, number });
            }
        }
        let behind = self.relay(handle, &done.parts);
        if let Some(live) = self.documents.live_mut(handle) {
            for part in done.parts {
                live.ring.push(part, self.config.ring_bytes_max);
            }
        }
        if done.summarised
            && let Some(address) = self.documents.get(handle).map(|document| &document.address)
        {
            self.feed_changed(now, &address.clone());
        }
        self.settle_waiting(now, handle);
        for slot in behind {
            self.pump(slot);
        }
        self.make_next_epoch(now, handle);
        self.consider_compaction(now, handle);
        self.watch_idle(now, handle);
    }

    /// Answers what waited for the log to be durable up to some seq.
    fn settle_waiting(&mut self, now: Timestamp, handle: Handle) {
        let Some(live) = self.documents.live_mut(handle) else { return };
        let durable = live.durable.seq;
        let ready = live.notices.partition_point(|(seq, ..)| *seq <= durable);
        let notices: Vec<_> = live.notices.drain(..ready).collect();
        for (_, peer, frame) in notices {
            if self.connections.peer_mut(peer).is_some() {
                self.send(peer.slot, frame);
            }
        }
        self.answer_openings(now, handle);
    }
}
