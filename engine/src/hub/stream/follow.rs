//! Bringing readers forward: at each commit the many who are up to date, with the same bytes, and in
//! turn those who are behind, as far as each connection takes what it is sent. A reader is an offset.

use bytes::Bytes;

use super::{Hub, StreamHandle};
use crate::hub::connection::Slot;
use crate::wire::frame::{ServerFrame, StreamStatus};

impl Hub {
    /// Sends text that has become durable to all who stand right before it. Who does not, or has too
    /// much under way, has news instead.
    pub(super) fn relay_text(&mut self, handle: StreamHandle, from: usize) {
        let Some(live) = self.streams.live_mut(handle) else { return };
        let outstanding_max = self.config.outstanding_bytes_max;
        let mut at = from;
        while at < live.durable.length
            && let Some(piece) = live.text.piece(handle, at, live.durable.length)
        {
            for (slot, follower) in &mut live.followers {
                let Some(connection) = self.connections.get_mut(*slot) else { continue };
                if follower.reads == Some(piece.from) && connection.outstanding < outstanding_max {
                    follower.reads = Some(piece.to);
                    let message = piece.message.clone();
                    self.out.send(connection, *slot, message, self.config.unread_bytes_max);
                }
            }
            at = piece.to;
        }
        let behind = live.followers.iter().filter(|(_, f)| f.reads.is_some_and(|sent| sent < at));
        let behind: Vec<Slot> = behind.map(|(slot, _)| *slot).collect();
        for slot in behind {
            self.have_stream_news(handle, slot);
        }
    }

    /// All who have a stream open may have something to be told.
    pub(super) fn tell_stream(&mut self, handle: StreamHandle) {
        let live = self.live_stream_mut(handle);
        let slots: Vec<Slot> =
            live.into_iter().flat_map(|live| live.followers.keys().copied()).collect();
        for slot in slots {
            self.have_stream_news(handle, slot);
        }
    }

    /// A connection may have something to be sent of a stream.
    pub(super) fn have_stream_news(&mut self, handle: StreamHandle, slot: Slot) {
        if let Some(open) = self.connections.open_mut(slot) {
            open.streams.news.insert(handle);
            self.pump_streams(slot);
        }
    }

    /// Sends a connection what its streams have for it, one frame of each in turn, until half of what
    /// may be under way to it is: the other half is for its documents.
    pub(in crate::hub) fn pump_streams(&mut self, slot: Slot) {
        loop {
            let Some(connection) = self.connections.get_mut(slot) else { return };
            if connection.outstanding >= self.config.outstanding_bytes_max / 2 {
                return;
            }
            let Some(open) = connection.open_mut() else { return };
            let Some(handle) = open.streams.next_news() else { return };
            if let Some(message) = self.next_of_stream(handle, slot) {
                if let Some(connection) = self.connections.get_mut(slot) {
                    self.out.send(connection, slot, message, self.config.unread_bytes_max);
                }
            } else if let Some(open) = self.connections.open_mut(slot) {
                open.streams.news.remove(&handle);
            }
        }
    }

    /// What a follower gets next, which then counts as sent: text, and at its end how things stand.
    fn next_of_stream(&mut self, handle: StreamHandle, slot: Slot) -> Option<Bytes> {
        let live = self.streams.live_mut(handle)?;
        let (end, status) = (live.durable.length, live.status());
        let follower = live.followers.get_mut(&slot)?;
        if let Some(at) = follower.reads.filter(|at| *at < end) {
            let piece = live.text.piece(handle, at, end)?;
            follower.reads = Some(piece.to);
            return Some(piece.message);
        }
        if follower.told == live.version {
            return None;
        }
        follower.told = live.version;
        let frame = StreamStatus {
            stream: handle.0,
            end: end as u64,
            interrupted_by: status.interrupted_by.map(|user| user.to_string()),
            stalled_since_ms: status.stalled_since.map(|at| at.0),
            outcome: status.outcome.map(|outcome| outcome.wire()),
        };
        ServerFrame::from(frame).encode().ok()
    }
}
