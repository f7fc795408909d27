//! What whoever writes a stream says: text, and its end. Text that is there already is answered and
//! not taken again; what leaves a gap or differs is refused, and with it what follows.

use super::open::No;
use super::{Hub, What};
use super::{Live, StreamHandle};
use crate::clock::Timestamp;
use crate::codes::Code;
use crate::hub::connection::Slot;
use crate::hub::push::SERVER;
use crate::hub::{Config, Phase};
use crate::ids::UserId;
use crate::limits::STREAM_PIECE_BYTES_MAX;
use crate::stream::Outcome;
use crate::wire::frame::{AppendStream, EndStream, StreamAck, StreamAsk};

impl Live {
    /// How much of an append is new.
    fn fresh<'a>(&self, config: &Config, frame: &'a AppendStream) -> Result<&'a str, No> {
        if frame.text.len() > STREAM_PIECE_BYTES_MAX {
            return Err(No(Code::StreamWindow, "this is too much for one append"));
        }
        let at = usize::try_from(frame.offset).unwrap_or(usize::MAX);
        if at > self.text.len() {
            return Err(No(Code::StreamGap, "the stream does not reach to there yet"));
        }
        let known = self.text.is_boundary(at).then(|| self.text.overlap(at, &frame.text));
        let Some(known) = known.flatten() else {
            return Err(No(Code::StreamConflict, "the stream has other text there"));
        };
        let fresh = &frame.text[known..];
        if fresh.is_empty() {
            return Ok(fresh);
        }
        if self.assigned.outcome.is_some() {
            return Err(No(Code::StreamEnded, "the stream has ended"));
        }
        let length = self.text.len() + fresh.len();
        if length as u64 > config.stream_bytes_max || self.pieces >= config.stream_pieces_max {
            return Err(No(Code::StreamFull, "the stream is as long as it may be"));
        }
        if length - self.durable.length > config.stream_window_bytes {
            return Err(No(Code::StreamWindow, "wait for acknowledgements before sending more"));
        }
        Ok(fresh)
    }

    /// Whether the stream may end so.
    fn may_end(&self, frame: &EndStream, outcome: &Outcome) -> Result<(), No> {
        if let Some(before) = &self.assigned.outcome {
            let same = before == outcome && frame.end == self.text.len() as u64;
            return if same { Ok(()) } else { Err(No(Code::StreamEnded, "the stream has ended")) };
        }
        match frame.end.cmp(&(self.text.len() as u64)) {
            std::cmp::Ordering::Greater => {
                return Err(No(Code::StreamGap, "the stream does not reach to there yet"));
            }
            std::cmp::Ordering::Less => {
                return Err(No(Code::StreamConflict, "the stream goes on there"));
            }
            std::cmp::Ordering::Equal => {}
        }
        let allowed = match outcome {
            Outcome::Finished { .. } | Outcome::Failed { .. } => true,
            Outcome::Interrupted => self.assigned.interrupted.is_some(),
            Outcome::Abandoned => false,
        };
        if allowed { Ok(()) } else { Err(No(Code::BadCommand, "the stream can't end like that")) }
    }
}

impl Hub {
    pub(in crate::hub) fn append_stream(
        &mut self,
        now: Timestamp,
        slot: Slot,
        frame: &AppendStream,
    ) {
        if !matches!(self.phase, Phase::Running) {
            return;
        }
        let handle = StreamHandle(frame.stream);
        let Some(user) = self.stream_writer(handle, slot) else { return };
        let crowded = self.streams.bytes > self.config.live_stream_bytes_max
            && !self.make_room_for_streams(now);
        let (config, streams) = (&self.config, &mut self.streams);
        let Some(live) = streams.live_mut(handle) else { return };
        let fresh = match live.fresh(config, frame) {
            Ok(fresh) if crowded && !fresh.is_empty() => {
                let no = No(Code::Overloaded, "the server has as much of streams open as it may");
                return self.stop_writing(now, handle, slot, &no);
            }
            Ok(fresh) => fresh,
            Err(no) => return self.stop_writing(now, handle, slot, &no),
        };
        let (end, bytes) = (live.durable.length as u64, fresh.len());
        if bytes == 0 {
            // What is on its way to the disk is acknowledged with the rest of it.
            if frame.offset + frame.text.len() as u64 <= end {
                self.send(slot, StreamAck { stream: handle.0, end });
            }
            return;
        }
        live.text.push(fresh);
        live.accept(user, now, What::Text(bytes));
        streams.bytes += bytes;
        streams.dirty.insert(handle);
        let Some(peer) = self.connections.peer(slot) else { return };
        if let Some(live) = self.streams.live_mut(handle) {
            *live.load.entry(peer).or_default() += bytes;
        }
        self.pending_bytes += bytes;
        if let Some(connection) = self.connections.get_mut(slot) {
            connection.pending += bytes;
        }
        self.check_pending(now, slot);
    }

    pub(in crate::hub) fn end_stream(&mut self, now: Timestamp, slot: Slot, frame: &EndStream) {
        if !matches!(self.phase, Phase::Running) {
            return;
        }
        let handle = StreamHandle(frame.stream);
        let Some(user) = self.stream_writer(handle, slot) else { return };
        let Some(live) = self.live_stream_mut(handle) else { return };
        let outcome = Outcome::read(&frame.outcome)
            .map_err(|_| No(Code::BadCommand, "this is no end of a stream"))
            .and_then(|outcome| live.may_end(frame, &outcome).map(|()| outcome));
        match outcome {
            Ok(_) if live.assigned.outcome.is_some() => {
                if let Some(follower) = live.followers.get_mut(&slot) {
                    follower.told = 0;
                }
                self.have_stream_news(handle, slot);
            }
            Ok(outcome) => self.conclude_stream(now, handle, user, outcome),
            Err(no) => self.stop_writing(now, handle, slot, &no),
        }
    }

    /// Ends a stream.
    pub(super) fn conclude_stream(
        &mut self,
        now: Timestamp,
        handle: StreamHandle,
        by: UserId,
        outcome: Outcome,
    ) {
        if let Some(live) = self.live_stream_mut(handle) {
            live.accept(by, now, What::Ended(outcome));
            self.streams.dirty.insert(handle);
        }
    }

    /// Ends a stream in the name of the server.
    pub(super) fn close_stream(&mut self, now: Timestamp, handle: StreamHandle, outcome: Outcome) {
        if let Ok(server) = UserId::new(SERVER) {
            self.conclude_stream(now, handle, server, outcome);
        }
    }

    /// Who writes a stream on a connection, if anybody does. What else comes was said before the
    /// connection heard that it does not write the stream any more.
    fn stream_writer(&mut self, handle: StreamHandle, slot: Slot) -> Option<UserId> {
        self.live_stream_mut(handle).filter(|live| live.is_written_by(slot))?;
        self.connections.open(slot).map(|open| open.credentials.user.clone())
    }

    /// Refuses what was said and passes over what follows until the stream is opened anew.
    fn stop_writing(&mut self, now: Timestamp, handle: StreamHandle, slot: Slot, no: &No) {
        let Some(name) = self.streams.address(handle).map(|address| address.to_string()) else {
            return;
        };
        let live = self.live_stream_mut(handle);
        if let Some(follower) = live.and_then(|live| live.followers.get_mut(&slot)) {
            follower.writes = false;
        }
        self.refuse_stream(slot, &name, StreamAsk::Write, no);
        self.unjoin_if_done(slot, handle);
        self.watch_stream(now, handle);
    }
}
