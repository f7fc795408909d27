//! From accepted to durable: what of streams goes into a commit, and what may be said once it is on
//! disk.

use std::collections::BTreeMap;
use std::mem;

use super::entry::Event;
use super::{Facts, Hub, Live, Pending, State, StreamHandle, What};
use crate::clock::Timestamp;
use crate::hub::connection::Peer;
use crate::hub::document::End;
use crate::storage::record::{DigestKey, advance};
use crate::storage::{Append, Entry, Record};
use crate::wire::frame::StreamAck;

/// A stream's share of the commit under way.
#[derive(Debug)]
pub(super) struct Committing {
    end: End,
    /// The stream as it is then.
    facts: Facts,
    load: BTreeMap<Peer, usize>,
}

impl Live {
    /// Takes up what is pending. The window of the writer bounds it.
    fn take_record(&mut self, key: &DigestKey) -> Option<Record> {
        let End { seq, tip: tip_before } = self.end;
        let (mut offset, mut tip) = (self.durable.length, tip_before);
        let mut entries: Vec<Entry> = Vec::with_capacity(self.pending.len());
        for Pending { author, at, what } in self.pending.drain(..) {
            let event = match what {
                What::Made { asked_by } => Event::Made { asked_by },
                What::Text(bytes) => {
                    let from = offset;
                    offset += bytes;
                    Event::Text { offset: from as u64, text: self.text.slice(from, offset) }
                }
                What::Interrupted => Event::Interrupted,
                What::Ended(outcome) => Event::Ended(outcome),
            };
            let entry = event.entry(author, at);
            tip = advance(key, tip, &entry);
            entries.push(entry);
        }
        if entries.is_empty() {
            return None;
        }
        let record = Record { first_seq: seq + 1, tip_before, tip, entries };
        self.committing = Some(Committing {
            end: End { seq: record.last_seq(), tip },
            facts: self.assigned.clone(),
            load: mem::take(&mut self.load),
        });
        Some(record)
    }
}

impl Hub {
    /// Adds what is pending in streams to a commit.
    pub(in crate::hub) fn take_stream_records(&mut self, appends: &mut Vec<Append>) {
        for handle in mem::take(&mut self.streams.dirty) {
            let Some(stream) = self.streams.by_handle.get_mut(&handle) else { continue };
            let State::Live(live) = &mut stream.state else { continue };
            if let Some(record) = live.take_record(&self.identity.digest_key) {
                let (address, epoch) = (stream.address.log().clone(), live.epoch);
                appends.push(Append { address, epoch, record, brought: None });
                self.streams.in_commit.push(handle);
            }
        }
    }

    /// What was committed of streams is durable.
    pub(in crate::hub) fn settle_streams(&mut self, now: Timestamp) {
        for handle in mem::take(&mut self.streams.in_commit) {
            self.settle_stream(now, handle);
        }
    }

    /// Tells whoever waited for it, and the readers.
    fn settle_stream(&mut self, now: Timestamp, handle: StreamHandle) {
        let Some(live) = self.live_stream_mut(handle) else { return };
        let Some(Committing { end, facts, load }) = live.committing.take() else { return };
        let before = mem::replace(&mut live.durable, facts);
        live.end = end;
        let length = live.durable.length;
        let changed = live.durable.interrupted.is_some() != before.interrupted.is_some()
            || live.durable.outcome.is_some() != before.outcome.is_some();
        if changed {
            live.version += 1;
        }
        let writers: Vec<_> =
            live.followers.iter().filter(|(_, f)| f.writes).map(|(slot, _)| *slot).collect();
        for (peer, bytes) in load {
            self.pending_bytes -= bytes;
            if let Some(connection) = self.connections.peer_mut(peer) {
                connection.pending = connection.pending.saturating_sub(bytes);
            }
        }
        if length > before.length {
            for slot in writers {
                self.send(slot, StreamAck { stream: handle.0, end: length as u64 });
            }
            self.relay_text(handle, before.length);
        }
        if changed {
            self.tell_stream(handle);
        }
        self.answer_stream_asks(now, handle);
    }
}
