//! Bringing followers forward: at each commit the many who are up to date, and in turn those who
//! are behind, as far as each connection takes what it is sent. Nothing is queued for anybody; a
//! follower is a position.

use bytes::Bytes;

use super::connection::Slot;
use super::document::{Progress, State};
use super::relay::{Part, Press};
use super::{Effect, Handle, Hub, RequestId};
use crate::clock::Timestamp;
use crate::codes::Code;
use crate::ids::{Address, Cursor};
use crate::limits::PART_BYTES_MAX;
use crate::storage::{Record, StoreError};
use crate::wire::frame::{Blob, SnapshotPart};

/// A question to the store, and for whom.
#[derive(Debug, Clone, Copy)]
pub(super) struct Request {
    slot: Slot,
    handle: Handle,
    /// Where the follower was, to know an answer that came too late.
    progress: Progress,
}

/// What a follower needs next.
enum Step {
    Nothing,
    Send(Part),
    Read { from_seq: u64 },
    Restart,
    Snapshot { cursor: Cursor, offset: u64 },
}

impl Hub {
    /// Sends freshly committed parts to all who stand right before them. Who does not, or has too
    /// much under way, has news instead; returns those.
    pub(super) fn relay(&mut self, handle: Handle, parts: &[Part]) -> Vec<Slot> {
        let mut behind = Vec::new();
        let Some(live) = self.documents.live_mut(handle) else { return behind };
        let outstanding_max = self.config.outstanding_bytes_max;
        for (slot, follower) in &mut live.followers {
            let Some(connection) = self.connections.get_mut(*slot) else { continue };
            for part in parts {
                let here = Progress::Log { sent: part.first_seq - 1 };
                if follower.progress != here || connection.outstanding >= outstanding_max {
                    if let Some(open) = connection.open_mut() {
                        open.news.insert(handle);
                    }
                    behind.push(*slot);
                    break;
                }
                follower.progress = Progress::Log { sent: part.last_seq };
                let message = part.message.clone();
                self.out.send(connection, *slot, message, self.config.unread_bytes_max);
            }
        }
        behind
    }

    /// A follower may have something to be sent.
    pub(super) fn have_news(&mut self, handle: Handle, slot: Slot) {
        if let Some(open) = self.connections.open_mut(slot) {
            open.news.insert(handle);
            self.pump(slot);
        }
    }

    /// Sends a connection what its documents have for it, one frame of each in turn, until enough
    /// is under way or a read has to be waited for.
    pub(super) fn pump(&mut self, slot: Slot) {
        loop {
            let Some(connection) = self.connections.get_mut(slot) else { return };
            if connection.outstanding >= self.config.outstanding_bytes_max {
                return;
            }
            let Some(open) = connection.open_mut() else { return };
            if open.reading.is_some() {
                return;
            }
            let next = open.news.range(open.turn..).next().or_else(|| open.news.first()).copied();
            let Some(handle) = next else { return };
            open.turn = handle.wrapping_add(1);
            match self.step(handle, slot) {
                Step::Nothing => {
                    if let Some(open) = self.connections.open_mut(slot) {
                        open.news.remove(&handle);
                    }
                }
                Step::Send(part) => self.send_part(handle, slot, part),
                Step::Read { from_seq } => self.read(handle, slot, |request, address| {
                    let bytes_max = PART_BYTES_MAX;
                    Effect::Read { request, address, from_seq, bytes_max }
                }),
                Step::Snapshot { cursor, offset } => self.read(handle, slot, |request, address| {
                    let bytes_max = PART_BYTES_MAX;
                    Effect::ReadSnapshot { request, address, cursor, offset, bytes_max }
                }),
                Step::Restart => self.restart(handle, slot),
            }
        }
    }

    fn step(&mut self, handle: Handle, slot: Slot) -> Step {
        let Some(live) = self.documents.live_mut(handle) else { return Step::Nothing };
        let Some(follower) = live.followers.get_mut(&slot) else { return Step::Nothing };
        if live.stalled.contains(&slot) {
            return Step::Nothing;
        }
        if let Some(barrier) = follower.starts_over {
            return if barrier > live.durable.seq { Step::Nothing } else { Step::Restart };
        }
        if let Progress::Snapshot { cursor, bytes, offset } = follower.progress {
            let sealed = live.sealed.iter().any(|sealed| sealed.end == cursor);
            if offset < bytes {
                let current = live.snapshot.is_some_and(|snapshot| snapshot.cursor == cursor);
                let there = current || sealed;
                return if there { Step::Snapshot { cursor, offset } } else { Step::Restart };
            }
            follower.progress =
                if sealed { Progress::Ended } else { Progress::Log { sent: cursor.seq } };
        }
        match follower.progress {
            Progress::Log { sent } if sent >= live.durable.seq => Step::Nothing,
            Progress::Log { sent } if sent + 1 < live.tail_from => Step::Restart,
            Progress::Log { sent } => live
                .ring
                .after(sent)
                .map_or(Step::Read { from_seq: sent + 1 }, |part| Step::Send(part.clone())),
            Progress::Snapshot { .. } | Progress::Ended => Step::Nothing,
        }
    }

    fn send_part(&mut self, handle: Handle, slot: Slot, part: Part) {
        if let Some(live) = self.documents.live_mut(handle)
            && let Some(follower) = live.followers.get_mut(&slot)
            && let Some(connection) = self.connections.get_mut(slot)
        {
            follower.progress = Progress::Log { sent: part.last_seq };
            self.out.send(connection, slot, part.message, self.config.unread_bytes_max);
        }
    }

    fn read(
        &mut self,
        handle: Handle,
        slot: Slot,
        effect: impl FnOnce(RequestId, Address) -> Effect,
    ) {
        let Some(document) = self.documents.get(handle) else { return };
        let State::Live(live) = &document.state else { return };
        let Some(follower) = live.followers.get(&slot) else { return };
        self.last_request += 1;
        let request = RequestId(self.last_request);
        let progress = follower.progress;
        self.requests.insert(request, Request { slot, handle, progress });
        if let Some(open) = self.connections.open_mut(slot) {
            open.reading = Some(request);
        }
        self.out.push(effect(request, document.address.clone()));
    }

    /// Takes an answer's question off the books. `None` if the follower is gone or elsewhere.
    fn answered(&mut self, request: RequestId) -> Option<(Request, bool)> {
        let question = self.requests.remove(&request)?;
        let open = self.connections.open_mut(question.slot)?;
        open.reading = None;
        let live = self.documents.live(question.handle);
        let follower = live.and_then(|live| live.followers.get(&question.slot));
        Some((question, follower.is_some_and(|f| f.progress == question.progress)))
    }

    pub(super) fn records_read(
        &mut self,
        now: Timestamp,
        request: RequestId,
        result: Result<Vec<Record>, StoreError>,
    ) {
        let Some((Request { slot, handle, progress }, current)) = self.answered(request) else {
            return;
        };
        if let (true, Progress::Log { sent }) = (current, progress) {
            match result {
                Ok(records) => self.send_records(now, handle, slot, sent, &records),
                Err(_) => self.give_up(now, handle, slot),
            }
        }
        self.pump(slot);
    }

    fn send_records(
        &mut self,
        now: Timestamp,
        handle: Handle,
        slot: Slot,
        sent: u64,
        records: &[Record],
    ) {
        let Some(live) = self.documents.live(handle) else { return };
        let press = Press { handle, key: &self.identity.digest_key, packed: true, seal: None };
        // The store may be ahead of what this hub knows to be durable.
        let parts = press.parts(records, sent, live.durable.seq);
        if parts.is_empty() {
            return self.gone(now, handle, slot);
        }
        for part in parts {
            let full = self
                .connections
                .get(slot)
                .is_none_or(|c| c.outstanding >= self.config.outstanding_bytes_max);
            if full {
                break;
            }
            self.send_part(handle, slot, part);
        }
    }

    pub(super) fn snapshot_read(
        &mut self,
        now: Timestamp,
        request: RequestId,
        result: Result<Option<Bytes>, StoreError>,
    ) {
        let Some((Request { slot, handle, progress }, current)) = self.answered(request) else {
            return;
        };
        if let (true, Progress::Snapshot { cursor, bytes, offset }) = (current, progress) {
            match result {
                Ok(Some(part)) if !part.is_empty() && part.len() <= 2 * PART_BYTES_MAX => {
                    let next = offset + part.len() as u64;
                    if let Some(live) = self.documents.live_mut(handle)
                        && let Some(follower) = live.followers.get_mut(&slot)
                    {
                        follower.progress = Progress::Snapshot { cursor, bytes, offset: next };
                    }
                    self.send(slot, SnapshotPart { handle, offset, bytes: Blob(part) });
                }
                Ok(None) => self.gone(now, handle, slot),
                Ok(Some(_)) | Err(_) => self.give_up(now, handle, slot),
            }
        }
        self.pump(slot);
    }

    /// The store does not have what a follower was to be sent: a compaction replaced it, of which
    /// the hub may not have heard the end.
    fn gone(&mut self, now: Timestamp, handle: Handle, slot: Slot) {
        let Some(live) = self.documents.live_mut(handle) else { return };
        if live.tail.compacting || live.is_ending() {
            live.stalled.insert(slot);
        } else if matches!(self.step(handle, slot), Step::Restart) {
            self.restart(handle, slot);
        } else {
            self.give_up(now, handle, slot);
        }
    }

    /// What a follower needs cannot be read.
    fn give_up(&mut self, now: Timestamp, handle: Handle, slot: Slot) {
        let Some(document) = self.documents.get(handle) else { return };
        let address = document.address.clone();
        self.forget_follower(now, handle, slot);
        let why = "a stored part of the document cannot be read";
        self.abandon(slot, handle, &address, Code::DocumentUnavailable, why);
    }
}
